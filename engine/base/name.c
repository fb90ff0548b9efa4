/*
 * name -- mailbox names: the canonical form, and IMAP's modified UTF-7.
 *
 * Control characters are C0 and DEL, what Dovecot refuses or repairs too; C1 is
 * left alone, since a name that one side changes and the other does not would
 * be renamed to and fro.
 */
#include "base/name.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define LEVEL_MAX_BYTES 255
#define CUT_ROOM                                                               \
	8 /* a level is cut to fit the whole only when this much is left, so   \
	     never to "." or ".." */

static const char b64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/*
 * One character; its bytes, or 0 when it is not valid (overlong, surrogate, too
 * large, cut off).
 */
static size_t
utf8_get(const unsigned char *p, size_t n, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len, i;
	uint32_t c;

	if (n == 0)
		return (0);
	if (p[0] < 0x80) {
		*out = p[0];
		return (1);
	}
	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return (0);
	c = p[0] & (0xffu >> (len + 1));
	for (i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return (0);
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return (0);
	*out = c;
	return (len);
}

/* Bytes written to out, which holds 4; c is a valid code point. */
static size_t
utf8_put(uint32_t c, char *out)
{
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (i = len; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(first[len] | c);
	return (len);
}

bool
utf8_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c;
	size_t len;

	for (; n > 0; p += len, n -= len)
		if ((len = utf8_get(p, n, &c)) == 0)
			return (false);
	return (true);
}

static bool
is_control(uint32_t c)
{
	return (c < 0x20 || c == 0x7f);
}

static bool
is_direct(uint32_t c)
{
	return (c >= 0x20 && c <= 0x7e);
}

/*
 * How many bytes of valid UTF-8 (all, or up to the end of a character) make a
 * level of permitted length.
 */
static size_t
level_fit(const char *s, size_t n, size_t max)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t off = 0, out = 0, units = 0, len;
	uint32_t c;

	while (off < n && (len = utf8_get(p + off, n - off, &c)) != 0) {
		if (is_direct(c)) {
			out += units == 0 ? 0 : 2 + (units * 16 + 5) / 6;
			units = 0;
			out += c == '&' ? 2 : 1;
		} else {
			units += c >= 0x10000 ? 2 : 1;
		}
		if (off + len > max ||
		    out + (units == 0 ? 0 : 2 + (units * 16 + 5) / 6) >
			LEVEL_MAX_BYTES)
			break;
		off += len;
	}
	return (off);
}

/* "." or ".." or nothing. */
static bool
is_forbidden(const char *s, size_t n)
{
	return (n == 0 || (n == 1 && s[0] == '.') ||
	    (n == 2 && s[0] == '.' && s[1] == '.'));
}

static bool
is_inbox(const char *s, size_t n)
{
	return (n == 5 && strncasecmp(s, "INBOX", 5) == 0);
}

static bool
level_valid(const char *s, size_t n, bool first)
{
	size_t i;

	if (is_forbidden(s, n) || !utf8_valid(s, n) ||
	    level_fit(s, n, LEVEL_MAX_BYTES) != n)
		return (false);
	for (i = 0; i < n; i++)
		if (is_control((unsigned char)s[i]))
			return (false);
	if (first &&
	    (s[0] == '~' || (is_inbox(s, n) && memcmp(s, "INBOX", 5) != 0)))
		return (false);
	return (true);
}

bool
name_valid(const char *name)
{
	const char *p = name;
	size_t n;

	if (strnlen(name, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
		return (false);
	for (;; p += n + 1) {
		n = strcspn(p, "/");
		if (!level_valid(p, n, p == name))
			return (false);
		if (p[n] == 0)
			return (true);
	}
}

/* A repaired level at out, which has room for 2n + 2 bytes; returns its length.
 */
static size_t
level_fix(const char *s, size_t n, bool first, char alt, char *out)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t off, len, used = 0;
	uint32_t c;

	/* As Dovecot does: kept, but not in front. */
	if (first && n > 0 && s[0] == '~')
		out[used++] = alt;
	for (off = 0; off < n; off += len) {
		if ((len = utf8_get(p + off, n - off, &c)) == 0 ||
		    is_control(c)) {
			out[used++] = alt;
			len = 1;
		} else {
			memcpy(out + used, s + off, len);
			used += len;
		}
	}
	if (is_forbidden(out, used)) {
		if (used == 0)
			used = 1;
		memset(out, alt, used);
	}
	if (first && is_inbox(out, used))
		memcpy(out, "INBOX", 5);
	return (used);
}

/* What replaces must itself be harmless anywhere in a name. */
static bool
alt_usable(char alt)
{
	return (is_direct((unsigned char)alt) && strchr("/.~&", alt) == NULL);
}

char *
name_fix(struct arena *a, const char *name, char alt)
{
	size_t total = strlen(name), used = 0, n, len, room;
	const char *p = name;
	char *out, *level;

	if (!alt_usable(alt))
		alt = '_';
	if (total > 4 * NAME_MAX_BYTES)
		/* what lies behind cannot get in */
		total = 4 * NAME_MAX_BYTES;
	if ((out = arena_alloc(a, NAME_MAX_BYTES + 1)) == NULL ||
	    (level = arena_alloc(a, total + 8)) == NULL)
		return (NULL);
	for (;; p += n + 1) {
		n = strcspn(p, "/");
		len =
		    level_fix(p, n < total ? n : total, p == name, alt, level);
		room = NAME_MAX_BYTES - used - (used > 0);
		if (len > room && room < CUT_ROOM)
			break;
		len = level_fit(level, len,
		    room < LEVEL_MAX_BYTES ? room : LEVEL_MAX_BYTES);
		if (used > 0)
			out[used++] = NAME_SEP;
		memcpy(out + used, level, len);
		used += len;
		if (p[n] == 0 || NAME_MAX_BYTES - used < 2)
			break;
	}
	out[used] = 0;
	return (out);
}

struct base64 {
	char *out;
	uint32_t bits;
	/* bits pending, less than 6 between calls */
	unsigned n;
};

static void
base64_unit(struct base64 *b, uint32_t unit)
{
	b->bits = (b->bits << 16 | unit) & 0x3fffff;
	for (b->n += 16; b->n >= 6; b->n -= 6)
		*b->out++ = b64[b->bits >> (b->n - 6) & 63];
}

static void
base64_end(struct base64 *b)
{
	if (b->n > 0)
		*b->out++ = b64[b->bits << (6 - b->n) & 63];
	b->n = 0;
	*b->out++ = '-';
}

char *
mutf7_encode(struct arena *a, const char *utf8)
{
	const unsigned char *p = (const unsigned char *)utf8;
	size_t n = strlen(utf8), len;
	struct base64 b = { NULL, 0, 0 };
	bool coded = false;
	uint32_t c;
	char *start;

	/* At worst "&", three digits and "-" for one byte of input. */
	if (n > SIZE_MAX / 8 || (start = arena_alloc(a, 5 * n + 1)) == NULL)
		return (NULL);
	for (b.out = start; n > 0; p += len, n -= len) {
		if ((len = utf8_get(p, n, &c)) == 0)
			return (NULL);
		if (is_direct(c) == coded) {
			if (coded)
				base64_end(&b);
			else
				*b.out++ = '&';
			coded = !coded;
		}
		if (!coded) {
			*b.out++ = (char)c;
			if (c == '&')
				*b.out++ = '-';
		} else if (c >= 0x10000) {
			base64_unit(&b, 0xd800 + ((c - 0x10000) >> 10));
			base64_unit(&b, 0xdc00 + ((c - 0x10000) & 0x3ff));
		} else {
			base64_unit(&b, c);
		}
	}
	if (coded)
		base64_end(&b);
	*b.out = 0;
	return (start);
}

/*
 * Text between '&' and '-' into *out; false when it is not UTF-16 in base64.
 * What is not the one form is seen later.
 */
static bool
decode_run(const char *s, size_t n, char **out)
{
	uint32_t bits = 0, unit, high = 0;
	unsigned have = 0;
	const char *d;
	size_t i;

	for (i = 0; i < n; i++) {
		if (s[i] == 0 || (d = strchr(b64, s[i])) == NULL)
			return (false);
		bits = (bits << 6 | (uint32_t)(d - b64)) & 0x3fffff;
		if ((have += 6) < 16)
			continue;
		have -= 16;
		unit = bits >> have & 0xffff;
		if (high != 0) {
			if (unit < 0xdc00 || unit > 0xdfff)
				return (false);
			*out += utf8_put(
			    0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00),
			    *out);
			high = 0;
		} else if (unit >= 0xd800 && unit <= 0xdbff) {
			high = unit;
		} else if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
			return (false);
		} else {
			*out += utf8_put(unit, *out);
		}
	}
	return (high == 0);
}

/*
 * Decoded loosely, then encoded again: valid is what comes out the same.  That
 * refuses padding bits, runs that should be one and encoded ASCII in one
 * stroke, so no two spellings of a name exist.
 */
char *
mutf7_decode(struct arena *a, const char *mutf7)
{
	const char *p = mutf7;
	char *start, *out, *again;
	size_t n;

	/* Eight base64 digits hold three units, of at most three bytes each. */
	if ((start = out = arena_alloc(a, 2 * strlen(mutf7) + 4)) == NULL)
		return (NULL);
	while (*p != 0) {
		if (*p != '&') {
			*out++ = *p++;
			continue;
		}
		n = strcspn(++p, "-");
		if (p[n] == 0)
			return (NULL);
		if (n == 0)
			*out++ = '&';
		else if (!decode_run(p, n, &out))
			return (NULL);
		p += n + 1;
	}
	*out = 0;
	if ((again = mutf7_encode(a, start)) == NULL ||
	    strcmp(again, mutf7) != 0)
		return (NULL);
	return (start);
}

bool
name_is_child(const char *parent, const char *child)
{
	size_t n = strlen(parent);

	return (strncmp(parent, child, n) == 0 &&
	    (child[n] == 0 || child[n] == NAME_SEP));
}
