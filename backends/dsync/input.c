/*
 * input -- what comes from the peer: opening lines, records, bodies.
 *
 * One buffer, filled from the link and consumed from its front; a record is
 * decoded where it lies, a body is handed from it to whoever reads the body.
 * So a record costs its own length, once, and a body nothing.
 */
#include "backends/dsync/dsync_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CHUNK ((size_t)64 * 1024)
/* What opens with more than this without a newline is no dsync. */
#define OPENING_MAX ((size_t)8192)
#define HEADER_LINES_MAX 1000
/* Of a body that nobody reads, at a time. */
#define SKIP_CHUNKS 64

/* ---- the buffer ---- */

static size_t
buffered(const struct dsync *d)
{
	return (d->in.len - d->in_at);
}

/* NULL while there never was anything */
static uint8_t *
front(const struct dsync *d)
{
	return (d->in.data == NULL ? NULL : d->in.data + d->in_at);
}

static void
consume(struct dsync *d, size_t n)
{
	d->in_at += n;
	d->scanned = d->in_at;
	if (d->in_at < d->in.len)
		return;
	d->in_at = d->scanned = 0;
	buf_reset(&d->in);
	/* one long line must not cost its memory for ever */
	if (d->in.cap > 4 * CHUNK)
		buf_fini(&d->in);
}

/* 0 something came, -EAGAIN, or why nothing will any more. */
static int
fill(struct dsync *d)
{
	ssize_t n;

	if (d->read_rc != 0)
		return (d->read_rc);
	if (d->in_at > d->in.cap / 2) {
		memmove(d->in.data, d->in.data + d->in_at, buffered(d));
		d->in.len -= d->in_at;
		d->scanned -= d->in_at;
		d->in_at = 0;
	}
	if (buf_reserve(&d->in, CHUNK) != 0)
		return (d->read_rc = -ENOMEM);
	n = d->l->ops->read(
	    d->l, d->in.data + d->in.len, d->in.cap - d->in.len);
	if (n == -EAGAIN)
		return (-EAGAIN);
	d->ended = n == 0;
	/* -EPIPE says of a link what it has reported; of a channel that it ends
	 */
	if (n == -EPIPE)
		n = -ECONNRESET;
	if (n <= 0)
		return (d->read_rc = n == 0 ? -EPIPE : (int)n);
	if (d->o.raw != NULL)
		d->o.raw(
		    d->o.raw_arg, false, d->in.data + d->in.len, (size_t)n);
	d->in.len += (size_t)n;
	d->c.received += (uint64_t)n;
	return (0);
}

void
dsync_read_ahead(struct dsync *d)
{
	if (d->in_rc == 0 && buffered(d) < CHUNK && !d->c.deaf)
		(void)fill(d);
}

/* ---- lines ---- */

static size_t
line_limit(const struct dsync *d, const char *line)
{
	enum record r;

	if (d->in_state == IN_VERSION)
		return (OPENING_MAX);
	r = d->in_state == IN_ITEMS ? record_of(line[0]) : RECORDS;
	if (r != RECORDS && record_types[r].long_line)
		return (d->o.max_long_line);
	return (d->o.max_line);
}

static int
not_dsync(struct dsync *d, const char *said, size_t n)
{
	char text[EXCERPT_BYTES];

	log_error(
	    "%s: what answers there is no dsync; it says '%s'. If that is a "
	    "greeting, the login must not print it for commands; if not, see "
	    "that the command runs a dsync server",
	    d->c.peer, value_excerpt(said, n, text));
	return (-EBADMSG);
}

static int
too_long(struct dsync *d, const char *line, size_t n)
{
	if (d->in_state == IN_VERSION)
		return (not_dsync(d, line, n));
	log_error("%s: breaks the protocol: a line that begins with '%c' is "
		  "longer than %zu bytes",
	    d->c.peer, line[0], line_limit(d, line));
	return (-EBADMSG);
}

static int
cut_off(struct dsync *d)
{
	const char *line = (const char *)front(d);
	size_t n = buffered(d);

	if (!d->ended || n == 0)
		return (d->read_rc);
	if (d->in_state == IN_VERSION &&
	    strncmp(line, "VERSION\t", n < 8 ? n : 8) != 0)
		return (not_dsync(d, line, n));
	log_error("%s: the connection ended within a line that begins with "
		  "'%c'",
	    d->c.peer, line[0]);
	return (-EPIPE);
}

/*
 * The next line without its end, in the buffer, one writable byte behind it;
 * consumed by *whole bytes.  -EAGAIN.
 */
static int
next_line(struct dsync *d, char **line, size_t *n, size_t *whole)
{
	char *start, *lf;
	int rc;

	for (;;) {
		start = (char *)front(d);
		lf = d->scanned == d->in.len
		    ? NULL
		    : memchr(d->in.data + d->scanned, '\n',
			  d->in.len - d->scanned);
		d->scanned = d->in.len;
		*n = lf == NULL ? buffered(d) : (size_t)(lf - start);
		if (*n > 0 && *n > line_limit(d, start))
			return (too_long(d, start, *n));
		if (lf != NULL)
			break;
		rc = fill(d);
		if (rc == -EAGAIN)
			return (rc);
		if (rc != 0)
			return (cut_off(d));
	}
	*whole = *n + 1;
	if (*n > 0 && start[*n - 1] == '\r')
		(*n)--;
	*line = start;
	start[*n] = '\0';
	return (0);
}

/* ---- opening ---- */

static int
version_line(struct dsync *d, const char *line, size_t n)
{
	char text[EXCERPT_BYTES];
	const char *tab;
	uint64_t minor;

	/* as there are between two syncs of one connection */
	if (n == 0 && d->header_lines++ < HEADER_LINES_MAX)
		return (0);
	if (strncmp(line, "VERSION\t", 8) != 0)
		return (not_dsync(d, line, n));
	if (strncmp(line + 8, "dsync\t", 6) != 0) {
		log_error("%s: speaks '%s', not dsync", d->c.peer,
		    value_excerpt(line + 8, n - 8, text));
		return (-EBADMSG);
	}
	line += 14;
	n -= 14;
	tab = strchr(line, '\t');
	if (tab != line + 1 || line[0] != '3' ||
	    value_u64(tab + 1, 10, INT32_MAX, &minor) != 0) {
		log_error("%s: speaks version '%s' of dsync, which is not "
			  "known here; 3 is",
		    d->c.peer, value_excerpt(line, n, text));
		return (-EBADMSG);
	}
	d->k.minor = (unsigned)minor;
	d->in_state = IN_HEADER;
	return (0);
}

static int
header_line(struct dsync *d, char *line, size_t n)
{
	int rc;

	if (n == 1 && line[0] == '.') {
		rc = columns_check(&d->k);
		if (rc != 0)
			return (rc);
		d->in_state = IN_ITEMS;
		/* what waited for the peer's columns can go */
		rc = dsync_pump(d);
		return (rc == -EAGAIN ? 0 : rc);
	}
	if (d->header_lines++ == HEADER_LINES_MAX) {
		log_error("%s: breaks the protocol: its opening has no end",
		    d->c.peer);
		return (-EBADMSG);
	}
	return (columns_take_header(&d->k, line, n));
}

/* ---- bodies ---- */

static int
body_ended(struct dsync *d, enum dots how)
{
	d->in_state = IN_ITEMS;
	d->body = NULL;
	if (how == DOTS_END)
		return (0);
	log_error("%s: could not read a mail that it was sending", d->c.peer);
	return (-EIO);
}

/*
 * Bytes of the body that is coming; 0 at its end, -EAGAIN, -EIO the peer gave
 * it up, -EPIPE and others: the connection is dead (reported).
 */
static ssize_t
take_body(struct dsync *d, void *p, size_t n)
{
	const uint8_t *from;
	size_t left, got;
	enum dots how;
	int rc;

	for (;;) {
		from = front(d);
		left = buffered(d);
		how = dots_in_take(&d->dots_in, &from, &left, p, n, &got);
		consume(d, buffered(d) - left);
		/* the end, if it was there, is told by the next call */
		if (got > 0)
			return ((ssize_t)got);
		if (how != DOTS_MORE)
			return (body_ended(d, how));
		rc = fill(d);
		if (rc == -EAGAIN)
			return (rc);
		if (d->ended)
			log_error("%s: the connection ended within a mail",
			    d->c.peer);
		if (rc != 0)
			return (d->in_rc = rc);
	}
}

static ssize_t
body_read(struct stream *s, void *p, size_t n)
{
	struct body *b = (struct body *)(void *)s;
	ssize_t got;

	if (b->ended || n == 0)
		return (b->rc);
	if (b->d == NULL)
		return (-EPIPE);
	got = take_body(b->d, p, n);
	if (got <= 0 && got != -EAGAIN) {
		b->ended = true;
		b->rc = (int)got;
	}
	return (got);
}

static void
body_close(struct stream *s)
{
	struct body *b = (struct body *)(void *)s;

	if (b->d != NULL && b->d->body == b)
		b->d->body = NULL;
	free(b);
}

static const struct stream_ops body_ops = { body_read, body_close };

static int
body_begin(struct dsync *d, struct item *i)
{
	struct body *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return (-ENOMEM);
	b->s.ops = &body_ops;
	b->s.size = STREAM_SIZE_UNKNOWN;
	b->d = d;
	d->body = b;
	dots_in_begin(&d->dots_in, codec_to_dsyncfs(&d->k));
	d->in_state = IN_BODY;
	if (i->type == ITEM_MAIL)
		i->u.mail.body = &b->s;
	else
		i->u.attribute.stream = &b->s;
	return (0);
}

/* The rest of a body that nobody wants.  0 at its end. */
static int
skip_body(struct dsync *d)
{
	uint8_t waste[4096];
	uint64_t from = d->c.received;
	ssize_t n;

	do {
		n = take_body(d, waste, sizeof(waste));
		/*
		 * Nothing of what was taken in is left then, so whoever waits
		 * for the link wakes up.
		 */
		if (n > 0 && buffered(d) == 0 && d->dots_in.pendings == 0 &&
		    d->dots_in.result == DOTS_MORE &&
		    d->c.received - from > SKIP_CHUNKS * CHUNK)
			return (-EAGAIN);
	} while (n > 0);
	/* a mail that was not wanted need not be whole */
	return (d->in_state == IN_ITEMS ? 0 : (int)n);
}

/* ---- items ---- */

static int
take_item(struct dsync *d, char *line, size_t n, struct item **out)
{
	struct item *i;
	bool stream;
	int rc = dsync_decode(&d->k, line, n, &i, &stream);

	if (rc == 0 && stream) {
		rc = body_begin(d, i);
		if (rc != 0)
			item_free(i);
	}
	if (rc == 0)
		*out = i;
	return (rc);
}

/* 1: an item. */
static int
recv_one(struct dsync *d, struct item **out)
{
	enum in_state was = d->in_state;
	size_t n = 0, whole = 0;
	char *line = NULL;
	int rc;

	if (was == IN_BODY)
		return (d->body != NULL ? -EAGAIN : skip_body(d));
	rc = next_line(d, &line, &n, &whole);
	if (rc != 0)
		return (rc);
	if (was == IN_VERSION)
		rc = version_line(d, line, n);
	else if (was == IN_HEADER)
		rc = header_line(d, line, n);
	else
		rc = take_item(d, line, n, out);
	consume(d, whole);
	return (rc != 0 ? rc : was == IN_ITEMS);
}

int
dsync_recv(struct channel *c, struct item **out)
{
	struct dsync *d = (struct dsync *)(void *)c;
	int rc;

	(void)dsync_pump(d);
	if (d->out_rc != 0)
		return (d->out_rc);
	if (d->in_rc != 0)
		return (d->in_rc);
	do
		rc = recv_one(d, out);
	while (rc == 0);
	if (rc == 1)
		return (0);
	if (rc != -EAGAIN)
		d->in_rc = rc;
	return (rc);
}

void
dsync_input_fini(struct dsync *d)
{
	if (d->body != NULL)
		d->body->d = NULL;
	buf_fini(&d->in);
}
