/*
 * buf -- a growing byte buffer, and a bounded reader over bytes that nobody
 * trusts.
 *
 * Both carry a sticky error, so that an encoder or decoder is written without a
 * check after each step and checked once at its end.  Fixed integers are
 * little-endian; varints are LEB128 of at most 10 bytes (64 bits); the reader
 * takes only the shortest form of a value, so that a value has one encoding.
 */
#ifndef DSYNCFS_BASE_BUF_H
#define DSYNCFS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned; NULL while cap is 0 */
	size_t len;
	size_t cap;
	int error; /* 0 or -ENOMEM; once set, puts do nothing */
};

#define BUF_INIT                                                               \
	{                                                                      \
		NULL, 0, 0, 0                                                  \
	}

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
/* len = 0, error = 0, memory kept */
void buf_reset(struct buf *b);
int buf_reserve(struct buf *b, size_t more); /* 0 or -ENOMEM */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_le16(struct buf *b, uint16_t v);
void buf_put_le32(struct buf *b, uint32_t v);
void buf_put_le64(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_svarint(struct buf *b, int64_t v); /* zigzag */
/* varint length, then the bytes */
void buf_put_bytes(struct buf *b, const void *p, size_t n);
/* as buf_put_bytes; NULL is written as "" */
void buf_put_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/*
 * NUL-terminates (not counted in len) and returns the text, lent until the next
 * put; NULL after an error.
 */
const char *buf_cstr(struct buf *b);

struct rd {
	const uint8_t *p; /* borrowed */
	const uint8_t *end;
	/* a read went past the end or was malformed; all later reads give 0 */
	bool bad;
};

void rd_init(struct rd *r, const void *p, size_t n);
size_t rd_left(const struct rd *r);
uint8_t rd_u8(struct rd *r);
uint16_t rd_le16(struct rd *r);
uint32_t rd_le32(struct rd *r);
uint64_t rd_le64(struct rd *r);
uint64_t rd_varint(struct rd *r);
int64_t rd_svarint(struct rd *r);
/* bad when it does not fit 32 bits */
uint32_t rd_varint32(struct rd *r);
/* borrowed; NULL when bad */
const uint8_t *rd_bytes(struct rd *r, size_t n);
/* varint length + bytes; *n gets the length.  Borrowed from the input. */
const uint8_t *rd_blob(struct rd *r, size_t *n);

#endif
