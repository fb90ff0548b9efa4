/*
 * buf -- a growing byte buffer, and a bounded reader over bytes that nobody
 * trusts.
 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 64

void
buf_init(struct buf *b)
{
	memset(b, 0, sizeof(*b));
}

void
buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->error = 0;
}

int
buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap;
	uint8_t *p;

	if (b->error != 0)
		return (b->error);
	if (more <= b->cap - b->len)
		return (0);
	if (more > SIZE_MAX / 2 - b->len)
		goto fail;
	if (cap == 0)
		cap = BUF_FIRST;
	while (cap < b->len + more)
		cap *= 2;
	if ((p = realloc(b->data, cap)) == NULL)
		goto fail;
	b->data = p;
	b->cap = cap;
	return (0);
fail:
	b->error = -ENOMEM;
	return (-ENOMEM);
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || buf_reserve(b, n) != 0)
		return;
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

void
buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

static void
put_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t raw[8];
	size_t i;

	for (i = 0; i < n; i++, v >>= 8)
		raw[i] = (uint8_t)(v & 0xff);
	buf_put(b, raw, n);
}

void
buf_put_le16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void
buf_put_le32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void
buf_put_le64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void
buf_put_varint(struct buf *b, uint64_t v)
{
	uint8_t raw[10];
	size_t n = 0;

	while (v >= 0x80) {
		raw[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	raw[n++] = (uint8_t)v;
	buf_put(b, raw, n);
}

void
buf_put_svarint(struct buf *b, int64_t v)
{
	uint64_t u = (uint64_t)v << 1;

	buf_put_varint(b, v < 0 ? ~u : u);
}

void
buf_put_bytes(struct buf *b, const void *p, size_t n)
{
	buf_put_varint(b, n);
	buf_put(b, p, n);
}

void
buf_put_str(struct buf *b, const char *s)
{
	buf_put_bytes(b, s, s == NULL ? 0 : strlen(s));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->error = -ENOMEM;
		return;
	}
	if (buf_reserve(b, (size_t)n + 1) != 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

const char *
buf_cstr(struct buf *b)
{
	if (buf_reserve(b, 1) != 0)
		return (NULL);
	b->data[b->len] = 0;
	return ((const char *)b->data);
}

void
rd_init(struct rd *r, const void *p, size_t n)
{
	r->p = p;
	r->end = n == 0 ? r->p : r->p + n;
	r->bad = false;
}

size_t
rd_left(const struct rd *r)
{
	return (r->bad || r->p == r->end ? 0 : (size_t)(r->end - r->p));
}

const uint8_t *
rd_bytes(struct rd *r, size_t n)
{
	static const uint8_t nothing[1];
	const uint8_t *p;

	if (r->bad || n > rd_left(r)) {
		r->bad = true;
		return (NULL);
	}
	if (n == 0)
		return (r->p != NULL ? r->p : nothing);
	p = r->p;
	r->p += n;
	return (p);
}

static uint64_t
get_le(struct rd *r, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);
	uint64_t v = 0;

	if (p == NULL)
		return (0);
	while (n-- > 0)
		v = v << 8 | p[n];
	return (v);
}

uint8_t
rd_u8(struct rd *r)
{
	return ((uint8_t)get_le(r, 1));
}

uint16_t
rd_le16(struct rd *r)
{
	return ((uint16_t)get_le(r, 2));
}

uint32_t
rd_le32(struct rd *r)
{
	return ((uint32_t)get_le(r, 4));
}

uint64_t
rd_le64(struct rd *r)
{
	return (get_le(r, 8));
}

/*
 * Only the shortest form is taken: one value, one encoding, so that bytes can
 * be compared instead of values and a checksum cannot be met twice.
 */
uint64_t
rd_varint(struct rd *r)
{
	uint64_t v = 0;
	unsigned shift;
	uint8_t c;

	for (shift = 0; shift < 70; shift += 7) {
		c = rd_u8(r);
		if (r->bad)
			return (0);
		if ((shift == 63 && c > 1) || (shift > 0 && c == 0))
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if ((c & 0x80) == 0)
			return (v);
	}
	r->bad = true;
	return (0);
}

int64_t
rd_svarint(struct rd *r)
{
	uint64_t u = rd_varint(r);

	return ((int64_t)((u >> 1) ^ (0 - (u & 1))));
}

uint32_t
rd_varint32(struct rd *r)
{
	uint64_t v = rd_varint(r);

	if (v > UINT32_MAX) {
		r->bad = true;
		return (0);
	}
	return ((uint32_t)v);
}

const uint8_t *
rd_blob(struct rd *r, size_t *n)
{
	uint64_t len = rd_varint(r);

	*n = 0;
	if (r->bad || len > rd_left(r)) {
		r->bad = true;
		return (NULL);
	}
	*n = (size_t)len;
	return (rd_bytes(r, (size_t)len));
}
