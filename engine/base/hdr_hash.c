/*
 * hdr_hash -- dsync's hash of a message's header, byte by byte.
 *
 * state   the line so far           byte that comes next
 * START   nothing                   '\n' ends the header; a space or TAB goes
 *                                   on with the line before, kept or not
 * NAME    its first bytes, in name  ':' decides whether it is kept
 * KEEP    is hashed                 is hashed
 * SKIP    is not                    is not
 * END     the header is over        does not matter
 */
#include "base/hdr_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/digest.h"

enum line { START, NAME, KEEP, SKIP, END };

struct hdr_hash {
	unsigned version;
	const char *const *names;
	size_t n_names;
	struct digest *md5;
	int error; /* the first that the digest gave */
	enum line line;
	bool first; /* no line is over yet */
	bool kept; /* the line before START */
	bool cr; /* one is held back, it may belong to a CRLF */
	bool question; /* the byte before was hashed as '?' */
	uint32_t seen; /* bytes of the header */
	/* A name, and blanks between it and its colon. */
	size_t len;
	char name[HDR_HASH_NAME_MAX + 1];
	size_t held;
	uint8_t out[512]; /* on its way to the digest */
};

int
hdr_hash_new(
    unsigned version, const char *const *names, size_t n, struct hdr_hash **out)
{
	struct hdr_hash *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return (-ENOMEM);
	h->version = version;
	h->names = names;
	h->n_names = n;
	h->first = true;
	rc = digest_new(DIGEST_MD5, &h->md5);
	if (rc != 0) {
		hdr_hash_free(h);
		return (rc);
	}
	*out = h;
	return (0);
}

void
hdr_hash_free(struct hdr_hash *h)
{
	if (h == NULL)
		return;
	digest_free(h->md5);
	free(h);
}

/* ---- what is hashed ---- */

static void
flush(struct hdr_hash *h)
{
	if (h->error == 0)
		h->error = digest_add(h->md5, h->out, h->held);
	h->held = 0;
}

static void
put(struct hdr_hash *h, uint8_t c)
{
	if (h->held == sizeof(h->out))
		flush(h);
	h->out[h->held++] = c;
}

static void
keep(struct hdr_hash *h, uint8_t c)
{
	bool strange =
	    (c < 0x20 && c != '\t' && c != '\n') || c >= 0x7f || c == '?';

	if (h->version == 1) {
		put(h, c);
		return;
	}
	if (strange && !h->question)
		put(h, '?');
	else if (!strange && !(c == ' ' && h->version >= 3))
		put(h, c);
	h->question = strange;
}

/* ---- lines ---- */

static bool
is_blank(uint8_t c)
{
	return (c == ' ' || c == '\t');
}

/* The bytes before a colon, up to a NUL, as Dovecot compares them. */
static bool
is_listed(const struct hdr_hash *h)
{
	size_t len = h->len;

	while (len > 0 && is_blank((uint8_t)h->name[len - 1]))
		len--;
	len = strnlen(h->name, len);
	for (size_t i = 0; i < h->n_names && len > 0; i++)
		if (strlen(h->names[i]) == len &&
		    strncasecmp(h->names[i], h->name, len) == 0)
			return (true);
	return (false);
}

static void
name_byte(struct hdr_hash *h, uint8_t c)
{
	if (c == ':' && is_listed(h)) {
		for (size_t i = 0; i < h->len; i++)
			keep(h, (uint8_t)h->name[i]);
		keep(h, c);
		h->line = KEEP;
	} else if (c == ':' || h->len == sizeof(h->name)) {
		h->line = SKIP;
	} else {
		h->name[h->len++] = (char)c;
	}
}

static void
line_byte(struct hdr_hash *h, uint8_t c)
{
	if (h->line == START && c == '\n') {
		h->line = END;
		return;
	}
	if (h->line == START && is_blank(c) && !h->first) {
		h->line = h->kept ? KEEP : SKIP;
	} else if (h->line == START) {
		h->line = NAME;
		h->len = 0;
	}
	if (h->line == KEEP)
		keep(h, c);
	if (c == '\n') {
		h->kept = h->line == KEEP;
		h->first = false;
		h->line = START;
	} else if (h->line == NAME) {
		name_byte(h, c);
	}
}

static void
add_byte(struct hdr_hash *h, uint8_t c)
{
	if (h->line == END)
		return;
	if (++h->seen <= HDR_HASH_HEADER_MAX) {
		line_byte(h, c);
		return;
	}
	if (h->line == KEEP)
		keep(h, '\n');
	h->line = END;
}

int
hdr_hash_add(struct hdr_hash *h, const void *p, size_t n)
{
	const uint8_t *in = p;

	for (size_t i = 0; i < n && h->line != END; i++) {
		if (h->cr && in[i] != '\n')
			add_byte(h, '\r');
		h->cr = in[i] == '\r';
		if (!h->cr)
			add_byte(h, in[i]);
	}
	return (h->error != 0 ? h->error : h->line == END);
}

int
hdr_hash_final(struct hdr_hash *h, char out[HDR_HASH_LEN + 1])
{
	uint8_t sum[MD5_LEN];
	int rc;

	if (h->cr)
		add_byte(h, '\r');
	if (h->line == KEEP)
		keep(h, '\n');
	keep(h, '\n');
	flush(h);
	rc = h->error;
	if (rc == 0)
		rc = digest_final(h->md5, sum);
	if (rc == 0)
		hex_encode(sum, sizeof(sum), out);
	return (rc);
}

int
hdr_hash_stream(unsigned version, const char *const *names, size_t n,
    struct stream *in, char out[HDR_HASH_LEN + 1])
{
	uint8_t chunk[4096];
	struct hdr_hash *h;
	ssize_t got;
	int rc = hdr_hash_new(version, names, n, &h);

	if (rc != 0)
		return (rc);
	do {
		got = stream_read(in, chunk, sizeof(chunk));
		rc = got < 0 ? (int)got : hdr_hash_add(h, chunk, (size_t)got);
	} while (got > 0 && rc == 0);
	if (rc >= 0)
		rc = hdr_hash_final(h, out);
	hdr_hash_free(h);
	return (rc);
}
