/*
 * value -- what stands in a column: tab-escaped text, numbers, excerpts for
 * messages.
 */
#include "backends/dsync/dsync_internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define ESCAPE 0x01
#define NULL_MARK 0x02 /* alone: no value */

static uint8_t
escape_letter(uint8_t c)
{
	switch (c) {
	case 0:
		return ('0');
	case ESCAPE:
		return ('1');
	case '\t':
		return ('t');
	case '\r':
		return ('r');
	case '\n':
		return ('n');
	default:
		return (0);
	}
}

static uint8_t
escaped_by(uint8_t letter)
{
	switch (letter) {
	case '0':
		return (0);
	case '1':
		return (ESCAPE);
	case 't':
		return ('\t');
	case 'r':
		return ('\r');
	case 'n':
		return ('\n');
	default:
		return (letter);
	}
}

void
value_put(struct buf *out, const void *p, size_t n)
{
	const uint8_t *s = p;
	size_t i, from = 0;

	for (i = 0; i < n; i++) {
		uint8_t letter = escape_letter(s[i]);

		if (letter == 0)
			continue;
		buf_put(out, s + from, i - from);
		buf_put_u8(out, ESCAPE);
		buf_put_u8(out, letter);
		from = i + 1;
	}
	if (from < n)
		buf_put(out, s + from, n - from);
}

void
value_put_text(struct buf *out, const void *p, size_t n)
{
	if (n > 0 && *(const uint8_t *)p == NULL_MARK)
		buf_put_u8(out, NULL_MARK);
	value_put(out, p, n);
}

int
value_unescape(char *s, size_t n, size_t *len)
{
	size_t i, at = 0;
	uint8_t c;

	for (i = 0; i < n; i++) {
		c = (uint8_t)s[i];
		if (c == ESCAPE) {
			if (++i == n || s[i] == '\t')
				return (-EINVAL);
			c = escaped_by((uint8_t)s[i]);
		}
		if (c == 0)
			return (-EINVAL);
		s[at++] = (char)c;
	}
	s[at] = '\0';
	*len = at;
	return (0);
}

static int
digit(char c, unsigned base)
{
	int v = -1;

	if (c >= '0' && c <= '9')
		v = c - '0';
	else if (c >= 'a' && c <= 'f')
		v = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		v = c - 'A' + 10;
	return (v < (int)base ? v : -1);
}

int
value_u64(const char *s, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (*s == '\0')
		return (-EINVAL);
	for (; *s != '\0'; s++) {
		int d = digit(*s, base);

		if (d < 0 || v > (UINT64_MAX - (uint64_t)d) / base)
			return (-EINVAL);
		v = v * base + (uint64_t)d;
	}
	if (v > max)
		return (-EINVAL);
	*out = v;
	return (0);
}

int
value_seconds(const char *s, int64_t *out)
{
	bool minus = *s == '-';
	uint64_t v;
	int rc = value_u64(s + minus, 10, INT64_MAX, &v);

	if (rc == 0)
		*out = minus ? -(int64_t)v : (int64_t)v;
	return (rc);
}

const char *
value_excerpt(const void *p, size_t n, char out[EXCERPT_BYTES])
{
	const uint8_t *s = p;
	size_t i, shown = n < EXCERPT_BYTES - 1 ? n : EXCERPT_BYTES - 4;

	for (i = 0; i < shown; i++)
		out[i] = s[i] >= 0x20 && s[i] < 0x7f ? (char)s[i] : '?';
	out[i] = '\0';
	if (shown < n)
		memcpy(out + i, "...", 4);
	return (out);
}
