/*
 * dump -- all mail state of a replica as sorted text, and two replicas compared
 * line by line.
 *
 * Bytes that would make a line ambiguous (control characters, space, '"', '\',
 * and ',' in a keyword) are written as \ooo.  size and sha1 are of the body
 * with every CRLF turned into LF, so that they do not depend on how a location
 * keeps line ends.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"

/*
 * Gives a replica's lines one after the other, in the order (mailbox name,
 * UID).
 */
struct cursor {
	struct replica *r; /* NULL: the lines come from reader */
	const struct dump_reader *reader;
	const char *label;
	struct dump_options o;
	struct arena names;
	struct mailbox *box; /* owned; names in the arena */
	/* at: the next mailbox whose line is due */
	size_t n, cap, at;
	bool in_box;
	uint32_t next_uid;
	struct arena arena; /* of the batch */
	struct msg msg[BATCH];
	size_t n_msg, next_msg;
	unsigned problems;
	struct buf line;
	/* key of the line: mailbox and UID (0: the mailbox itself) */
	const char *name;
	uint32_t uid;
};

static void
put_escaped(struct buf *b, const char *s, const char *also)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= ' ' || c == 0x7f || c == '"' || c == '\\' ||
		    strchr(also, c) != NULL)
			buf_printf(b, "\\%03o", c);
		else
			buf_put_u8(b, c);
	}
}

static int
on_mailbox(void *arg, const struct mailbox *m)
{
	struct cursor *c = arg;

	if (!m->subscribed && !(m->exists && m->selectable))
		return (0);
	if (c->n == c->cap) {
		size_t cap = c->cap == 0 ? 16 : c->cap * 2;
		struct mailbox *p = reallocarray(c->box, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		c->box = p;
		c->cap = cap;
	}
	c->box[c->n] = *m;
	c->box[c->n].name = arena_strdup(&c->names, m->name);
	return (c->box[c->n++].name == NULL ? -ENOMEM : 0);
}

static void
cursor_fini(struct cursor *c)
{
	free(c->box);
	arena_fini(&c->names);
	arena_fini(&c->arena);
	buf_fini(&c->line);
}

static int
cursor_init(struct cursor *c, struct replica *r, const struct dump_options *o)
{
	int rc;

	memset(c, 0, sizeof(*c));
	c->r = r;
	c->label = r->label;
	c->o = *o;
	r->ops->lock(r);
	rc = r->ops->refresh(r, NULL, &c->problems);
	if (rc == 0)
		rc = store_mailboxes(r->store, on_mailbox, c);
	r->ops->unlock(r);
	if (rc != 0)
		cursor_fini(c);
	return (rc);
}

/* ---- lines ---- */

static void
box_line(struct cursor *c, const struct mailbox *m)
{
	char hex[GUID_HEX_LEN + 1];
	struct buf *b = &c->line;

	buf_printf(
	    b, m->exists && m->selectable ? "mailbox " : "subscription ");
	put_escaped(b, m->name, "");
	if (!m->exists || !m->selectable)
		return;
	buf_printf(b, " guid=%s uidvalidity=%" PRIu32 " uidnext=%" PRIu32,
	    guid_hex(&m->guid, hex), m->uidvalidity, m->uidnext);
	if (c->o.modseqs)
		buf_printf(b, " highestmodseq=%" PRIu64, m->highestmodseq);
	buf_printf(b, " subscribed=%d", m->subscribed);
}

/*
 * Size and SHA-1 with LF line ends; a CR that ends a block waits for what
 * follows it.
 */
static int
digest_body(struct stream *s, uint64_t *size, uint8_t sum[SHA1_LEN])
{
	uint8_t in[16384], out[sizeof(in) + 1];
	struct digest *d;
	bool cr = false;
	ssize_t n;
	int rc = digest_new(DIGEST_SHA1, &d);

	*size = 0;
	while (rc == 0 && (n = stream_read(s, in, sizeof(in))) != 0) {
		size_t used = 0;

		if (n < 0) {
			rc = (int)n;
			break;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (cr && in[i] != '\n')
				out[used++] = '\r';
			cr = in[i] == '\r';
			if (!cr)
				out[used++] = in[i];
		}
		*size += used;
		rc = digest_add(d, out, used);
	}
	if (rc == 0 && cr) {
		(*size)++;
		rc = digest_add(d, "\r", 1);
	}
	if (rc == 0)
		rc = digest_final(d, sum);
	digest_free(d);
	return (rc);
}

static void
put_flags(struct buf *b, uint8_t flags)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} sorted[] = {
		{ MAIL_ANSWERED, "\\Answered" },
		{ MAIL_DELETED, "\\Deleted" },
		{ MAIL_DRAFT, "\\Draft" },
		{ MAIL_FLAGGED, "\\Flagged" },
		{ MAIL_SEEN, "\\Seen" },
	};
	const char *comma = "";

	for (size_t i = 0; i < sizeof(sorted) / sizeof(sorted[0]); i++)
		if (flags & sorted[i].bit) {
			buf_printf(b, "%s%s", comma, sorted[i].name);
			comma = ",";
		}
}

static int
msg_line(struct cursor *c, const struct mailbox *box, const struct msg *m)
{
	struct buf *b = &c->line;
	uint8_t sum[SHA1_LEN];
	char hex[2 * SHA1_LEN + 1];
	struct stream *s;
	uint64_t size;
	int rc;

	c->r->ops->lock(c->r);
	rc = c->r->ops->body(c->r, box->id, m->uid, &s);
	c->r->ops->unlock(c->r);
	if (rc == -ENOENT)
		return (1); /* expunged meanwhile */
	if (rc == 0) {
		rc = digest_body(s, &size, sum);
		stream_close(s);
	}
	if (rc == -ENOMEM)
		return (rc);
	buf_printf(b, "%" PRIu32, m->uid);
	if (!c->o.no_guids) {
		buf_printf(b, " guid=");
		put_escaped(b, m->guid, "");
	}
	if (c->o.modseqs)
		buf_printf(b, " modseq=%" PRIu64, m->modseq);
	buf_printf(b, " flags=");
	put_flags(b, m->flags);
	buf_printf(b, " keywords=");
	for (size_t i = 0; i < m->keywords.n; i++) {
		if (i > 0)
			buf_put_u8(b, ',');
		put_escaped(b, m->keywords.name[i], ",");
	}
	buf_printf(b, " received=%" PRId64, m->received);
	if (rc != 0) {
		c->problems++;
		buf_printf(b, " size=? sha1=?");
	} else {
		hex_encode(sum, sizeof(sum), hex);
		buf_printf(b, " size=%" PRIu64 " sha1=%s", size, hex);
	}
	return (b->error);
}

static int
on_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct cursor *c = arg;
	struct msg *to = &c->msg[c->n_msg];
	int rc;

	(void)mailbox;
	*to = *m;
	to->guid = arena_strdup(&c->arena, m->guid);
	rc = keywords_copy(&c->arena, &m->keywords, &to->keywords);
	if (rc != 0 || to->guid == NULL)
		return (-ENOMEM);
	c->next_uid = m->uid + 1;
	return (++c->n_msg == BATCH);
}

/* In place; what is no escape stays as it is. */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++)
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 +
			    (s[3] - '0'));
			s += 3;
		} else
			*to++ = *s;
	*to = '\0';
}

static int
read_line(struct cursor *c)
{
	char *line, *uid, *end;
	int rc = c->reader->next(c->reader->arg, &line);

	if (rc != 0)
		return (rc);
	uid = strchr(line, ' ');
	if (uid == NULL || uid[1] < '0' || uid[1] > '9')
		return (-EPROTO);
	*uid++ = '\0';
	c->uid = (uint32_t)strtoul(uid, &end, 10);
	if (*end != ' ')
		return (-EPROTO);
	unescape(line);
	c->name = line;
	buf_put(&c->line, end + 1, strlen(end + 1));
	return (c->line.error);
}

/* The next line in c->line; 1: none. */
static int
cursor_next(struct cursor *c)
{
	int rc;

	for (;;) {
		buf_reset(&c->line);
		if (c->reader != NULL)
			return (read_line(c));
		if (c->in_box && c->next_msg < c->n_msg) {
			const struct msg *m = &c->msg[c->next_msg++];

			c->uid = m->uid;
			rc = msg_line(c, &c->box[c->at - 1], m);
			if (rc != 1)
				return (rc);
			continue;
		}
		if (c->in_box) {
			arena_fini(&c->arena);
			c->n_msg = c->next_msg = 0;
			c->r->ops->lock(c->r);
			rc = store_msgs(c->r->store, c->box[c->at - 1].id,
			    c->next_uid, on_msg, c);
			c->r->ops->unlock(c->r);
			if (rc < 0)
				return (rc);
			c->in_box = c->n_msg > 0;
			continue;
		}
		if (c->at == c->n)
			return (1);
		c->name = c->box[c->at].name;
		c->uid = 0;
		c->next_uid = 1;
		c->in_box = c->box[c->at].exists && c->box[c->at].selectable;
		box_line(c, &c->box[c->at++]);
		return (c->line.error);
	}
}

/* NULL: no memory. */
static const char *
keyed(struct cursor *c, struct buf *b)
{
	const char *line = buf_cstr(&c->line);

	buf_reset(b);
	put_escaped(b, c->name, "");
	buf_printf(b, " %" PRIu32 " %s", c->uid, line != NULL ? line : "");
	return (line == NULL ? NULL : buf_cstr(b));
}

int
replica_dump(struct replica *r, const struct dump_options *o, dump_line_fn *fn,
    void *arg, unsigned *problems)
{
	struct buf key = BUF_INIT;
	struct cursor c;
	int rc = cursor_init(&c, r, o);

	if (rc != 0)
		return (rc);
	while ((rc = cursor_next(&c)) == 0) {
		const char *line = o->keys ? keyed(&c, &key) : buf_cstr(&c.line);

		rc = line == NULL ? -ENOMEM : fn(arg, line);
		if (rc != 0)
			break;
	}
	buf_fini(&key);
	if (problems != NULL)
		*problems += c.problems;
	cursor_fini(&c);
	return (rc == 1 ? 0 : rc);
}

/* ---- comparing ---- */

struct compare {
	struct cursor c[2];
	bool done[2];
	dump_line_fn *fn;
	void *arg;
	uint64_t differences;
};

static int
compare_next(struct compare *x, int side)
{
	int rc = cursor_next(&x->c[side]);

	x->done[side] = rc == 1;
	return (rc == 1 ? 0 : rc);
}

static int
tell(struct compare *x, int side)
{
	struct cursor *c = &x->c[side];
	struct buf b = BUF_INIT;
	const char *line = buf_cstr(&c->line);
	int rc;

	buf_printf(&b, "%s: ", c->label);
	if (c->uid != 0) {
		put_escaped(&b, c->name, "");
		buf_put_u8(&b, ' ');
	}
	buf_printf(&b, "%s", line == NULL ? "" : line);
	line = buf_cstr(&b);
	rc = line == NULL ? -ENOMEM : x->fn == NULL ? 0 : x->fn(x->arg, line);
	buf_fini(&b);
	return (rc);
}

static int
compare_order(const struct compare *x)
{
	int c;

	if (x->done[0] || x->done[1])
		return (x->done[0] ? 1 : -1);
	c = strcmp(x->c[0].name, x->c[1].name);
	if (c != 0)
		return (c);
	return (x->c[0].uid < x->c[1].uid ? -1 : x->c[0].uid > x->c[1].uid);
}

static int
compare_all(struct compare *x)
{
	int rc = compare_next(x, 0);

	if (rc == 0)
		rc = compare_next(x, 1);
	while (rc == 0 && !(x->done[0] && x->done[1])) {
		int order = compare_order(x);
		bool differ = order != 0 ||
		    strcmp(buf_cstr(&x->c[0].line), buf_cstr(&x->c[1].line)) !=
			0;

		if (differ)
			x->differences++;
		for (int s = 0; s < 2 && rc == 0; s++) {
			if (order != 0 && s != (order > 0))
				continue;
			if (differ)
				rc = tell(x, s);
			if (rc == 0)
				rc = compare_next(x, s);
		}
	}
	return (rc);
}

int
replica_compare(struct replica *a, struct replica *b, dump_line_fn *fn,
    void *arg, uint64_t *differences)
{
	/* Where one side cannot keep the other's, GUIDs differ anyway. */
	struct dump_options o = { .no_guids = (a->ops->caps & b->ops->caps &
						  REPLICA_SAVE_GUIDS) == 0 };
	struct compare x = { .fn = fn, .arg = arg };
	int rc = cursor_init(&x.c[0], a, &o);

	if (rc != 0)
		return (rc);
	rc = cursor_init(&x.c[1], b, &o);
	if (rc == 0) {
		rc = compare_all(&x);
		cursor_fini(&x.c[1]);
	}
	x.differences += x.c[0].problems + x.c[1].problems;
	cursor_fini(&x.c[0]);
	if (rc == 0)
		*differences = x.differences;
	return (rc);
}

int
replica_compare_dump(struct replica *a, const struct dump_reader *b,
    dump_line_fn *fn, void *arg, uint64_t *differences)
{
	struct dump_options o = { .no_guids = b->no_guids };
	struct compare x = { .fn = fn, .arg = arg };
	int rc = cursor_init(&x.c[0], a, &o);

	if (rc != 0)
		return (rc);
	x.c[1].reader = b;
	x.c[1].label = b->label;
	rc = compare_all(&x);
	*differences = x.differences + x.c[0].problems;
	cursor_fini(&x.c[1]);
	cursor_fini(&x.c[0]);
	return (rc);
}
