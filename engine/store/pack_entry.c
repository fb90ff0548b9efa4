/*
 * pack_entry -- writing one entry of a pack (pack_internal.h has its bytes).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/pack_internal.h"

uint64_t
entry_blocks(uint64_t size)
{
	return (size / PACK_BLOCK + (size % PACK_BLOCK != 0));
}

#define HEAD (ENTRY_HEADER + ENTRY_BLOCK)

/*
 * A block at HEAD, with room for all that comes before it, so that an entry of
 * one block is one piece.
 */
struct piece {
	uint8_t b[HEAD + ZSTD_COMPRESSBOUND(PACK_BLOCK)];
};

struct pack_tools {
	ZSTD_CCtx *z; /* owned; NULL until something is compressed */
	struct piece raw, packed;
};

int
pack_tools_new(struct pack_tools **out)
{
	struct pack_tools *t = malloc(sizeof(*t));

	if (t == NULL)
		return (-ENOMEM);
	t->z = NULL;
	*out = t;
	return (0);
}

void
pack_tools_free(struct pack_tools *t)
{
	if (t == NULL)
		return;
	ZSTD_freeCCtx(t->z);
	free(t);
}

struct writing {
	const struct entry_out *o; /* borrowed */
	struct pack_tools *t; /* borrowed */
	struct buf table;
	struct piece
	    *last; /* borrowed from t: the block that was packed last */
	size_t last_len;
	uint64_t at, stored;
};

/* t->raw holds n bytes, or t->packed what they have become: to be stored. */
static void
choose_piece(struct writing *w, size_t n)
{
	const struct entry_out *o = w->o;
	struct pack_tools *t = w->t;
	size_t got;

	w->last = &t->raw;
	w->last_len = n;
	if (o->level == 0 || n < 64)
		return;
	got = ZSTD_compressCCtx(t->z, t->packed.b + HEAD,
	    sizeof(t->packed.b) - HEAD, t->raw.b + HEAD, n, o->level);
	if (!ZSTD_isError(got) && got < n - n / 16) {
		w->last = &t->packed;
		w->last_len = got;
	}
}

static int
pack_block(struct writing *w, uint64_t i, size_t n, pack_raw_fn *raw, void *arg)
{
	const struct entry_out *o = w->o;
	struct pack_tools *t = w->t;
	ssize_t kept = 0;
	int error;

	if (o->level > 0 && t->z == NULL && (t->z = ZSTD_createCCtx()) == NULL)
		return (-ENOMEM);
	if (o->kept != NULL && (kept = o->kept(arg, i, t->packed.b + HEAD)) < 0)
		return ((int)kept);
	if (kept > 0) {
		w->last = &t->packed;
		w->last_len = (size_t)kept;
	} else {
		error = raw(arg, t->raw.b + HEAD, n, i * PACK_BLOCK);
		if (error != 0)
			return (error);
		choose_piece(w, n);
	}
	buf_put_le32(&w->table,
	    (uint32_t)w->last_len | (w->last == &t->packed ? BLOCK_ZSTD : 0));
	buf_put_le64(&w->table, xxh3_64(w->last->b + HEAD, w->last_len));
	w->stored += w->last_len;
	return (w->table.error);
}

static int
put_block(struct writing *w)
{
	int error = w->o->os->ops->pwrite(
	    w->o->f, w->last->b + HEAD, w->last_len, w->at);

	w->at += w->last_len;
	return (error);
}

/* The header, the table and, when it is alone, the block. */
static int
put_head(struct writing *w, bool alone)
{
	const struct entry_out *o = w->o;
	struct buf b = BUF_INIT;
	int error;

	buf_put_le32(&b, ENTRY_MAGIC);
	buf_put_le32(&b, (uint32_t)entry_blocks(o->size));
	buf_put_le64(&b, o->size);
	buf_put_le64(&b, w->stored);
	buf_put(&b, o->hash, 16);
	buf_put_le64(&b, xxh3_64(w->table.data, w->table.len));
	buf_put_le32(&b, o->pack);
	buf_put_le32(&b, (uint32_t)(o->place / 8));
	if (b.error == 0)
		buf_put_le64(&b, xxh3_64(b.data, b.len));
	buf_put(&b, w->table.data, w->table.len);
	if ((error = b.error) == 0 && alone) {
		memcpy(w->last->b, b.data, HEAD);
		error = o->os->ops->pwrite(
		    o->f, w->last->b, HEAD + w->last_len, o->at);
	} else if (error == 0)
		error = o->os->ops->pwrite(o->f, b.data, b.len, o->at);
	buf_fini(&b);
	return (error);
}

int
entry_write(const struct entry_out *o, struct pack_tools *t, pack_raw_fn *raw,
    void *arg, uint64_t *len)
{
	struct writing w = { .o = o, .t = t };
	uint64_t blocks = entry_blocks(o->size);
	int error = 0;

	w.at = o->at + ENTRY_HEADER + blocks * ENTRY_BLOCK;
	for (uint64_t i = 0; i < blocks && error == 0; i++) {
		uint64_t left = o->size - i * PACK_BLOCK;
		size_t n = left < PACK_BLOCK ? (size_t)left : PACK_BLOCK;

		error = pack_block(&w, i, n, raw, arg);
		if (error == 0 && blocks > 1)
			error = put_block(&w);
	}
	if (error == 0 && (error = put_head(&w, blocks == 1)) == 0)
		*len = ENTRY_HEADER + w.table.len + w.stored;
	buf_fini(&w.table);
	return (error);
}
