/*
 * store_body -- bodies: collecting, sharing equal ones, reading.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/store_internal.h"

#define MEMORY_MAX (1u << 20)
#define CANDIDATES                                                             \
	8 /* bodies of one hash and size that are compared; more are an attack \
	   */

struct body_writer {
	struct store *s; /* borrowed */
	struct buf mem; /* what is not in the spool file */
	struct os_file *spool; /* owned, NULL while small */
	char path[48];
	struct digest *hash; /* owned */
	bool later; /* compressing */
	uint64_t spooled, size, bare;
	uint8_t last;
};

int
body_writer_new(struct store *s, struct body_writer **out)
{
	struct body_writer *w;
	int error;

	if ((error = store_writable(s)) != 0)
		return (error);
	if (s->packs == NULL)
		return (-EINVAL);
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return (-ENOMEM);
	w->s = s;
	buf_init(&w->mem);
	if ((error = digest_new(DIGEST_XXH3_128, &w->hash)) != 0) {
		free(w);
		return (error);
	}
	*out = w;
	return (0);
}

void
body_writer_free(struct body_writer *w)
{
	if (w == NULL)
		return;
	if (w->spool != NULL) {
		w->s->os->ops->close(w->spool);
		(void)w->s->os->ops->unlink(w->s->os, w->path);
	}
	digest_free(w->hash);
	buf_fini(&w->mem);
	free(w);
}

static int
spool_flush(struct body_writer *w)
{
	struct os *os = w->s->os;
	int error = 0;

	if (w->spool == NULL) {
		(void)snprintf(w->path, sizeof(w->path), "spool/%016" PRIx64,
		    w->s->spool_next++);
		if ((error = os_mkdirs(os, "spool")) == 0)
			error = os->ops->open(os, w->path,
			    OS_WRITE | OS_CREATE | OS_TRUNC, &w->spool);
		if (error != 0)
			w->spool = NULL;
	}
	if (error == 0)
		error = os->ops->pwrite(
		    w->spool, w->mem.data, w->mem.len, w->spooled);
	if (error != 0) {
		log_error("%s/%s: cannot hold a message: %s", store_label(w->s),
		    w->path, strerror(-error));
		return (error);
	}
	w->spooled += w->mem.len;
	buf_reset(&w->mem);
	return (0);
}

/* Lines that end without a CR: vsize counts one for them. */
static void
count_bare(struct body_writer *w, const uint8_t *b, size_t n)
{
	for (const uint8_t *q = b, *end = b + n;
	     n > 0 && (q = memchr(q, '\n', (size_t)(end - q))) != NULL; q++) {
		uint8_t before = q > b ? q[-1] : w->last;

		if (before != '\r')
			w->bare++;
		if (q + 1 == end)
			break;
	}
	if (n > 0)
		w->last = b[n - 1];
}

int
body_writer_add(struct body_writer *w, const void *p, size_t n)
{
	const uint8_t *b = p;
	int error;

	count_bare(w, b, n);
	if ((error = digest_add(w->hash, p, n)) != 0)
		return (error);
	w->size += n;
	while (n > 0) {
		size_t m =
		    MEMORY_MAX - w->mem.len < n ? MEMORY_MAX - w->mem.len : n;

		buf_put(&w->mem, b, m);
		if (w->mem.error != 0)
			return (w->mem.error);
		b += m;
		n -= m;
		if (w->mem.len == MEMORY_MAX && (error = spool_flush(w)) != 0)
			return (error);
	}
	return (0);
}

static int
raw_read(void *arg, void *p, size_t n, uint64_t off)
{
	struct body_writer *w = arg;
	uint8_t *out = p;
	ssize_t got;

	if (off < w->spooled) {
		size_t m =
		    w->spooled - off < n ? (size_t)(w->spooled - off) : n;

		if ((got = w->s->os->ops->pread(w->spool, out, m, off)) < 0 ||
		    (size_t)got != m) {
			log_error("%s/%s: cannot be read back: %s",
			    store_label(w->s), w->path,
			    got < 0 ? strerror((int)-got) : "it is too short");
			return (got < 0 ? (int)got : -EIO);
		}
		out += m;
		off += m;
		n -= m;
	}
	if (n > 0)
		memcpy(out, w->mem.data + (off - w->spooled), n);
	return (0);
}

/* ---- sharing ---- */

/* 1: the same bytes; 0: others, or not readable. */
static int
same_bytes(struct body_writer *w, const struct body_ref *ref)
{
	struct pack_reader *r = NULL;
	uint8_t *a = NULL;
	int same = 1;

	if (packs_check(w->s->packs, ref) != 0 ||
	    pack_reader_open(w->s->packs, ref, &r) != 0)
		return (0);
	if ((a = malloc(2 * (size_t)PACK_BLOCK)) == NULL)
		same = -ENOMEM;
	for (uint64_t off = 0; same == 1 && off < w->size; off += PACK_BLOCK) {
		size_t n = w->size - off < PACK_BLOCK ? (size_t)(w->size - off)
						      : PACK_BLOCK;

		if (raw_read(w, a, n, off) != 0 ||
		    pack_read(r, a + PACK_BLOCK, n, off) != (ssize_t)n ||
		    memcmp(a, a + PACK_BLOCK, n) != 0)
			same = 0;
	}
	free(a);
	pack_reader_close(r);
	return (same);
}

static void
ref_from_key(const struct btree_cursor *c, struct body_ref *ref)
{
	memcpy(ref->hash, c->key + 1, 16);
	ref->size = get_be64(c->key + 17);
	ref->pack = get_be32(c->key + 25);
	ref->offset = get_be64(c->key + 29);
}

static int
candidates(struct store *s, const struct body_ref *like,
    struct body_ref out[CANDIDATES], size_t *n)
{
	struct btree_cursor c;
	struct key k;
	int error;

	*n = 0;
	key_table(&k, T_BODY);
	key_bytes(&k, like->hash, sizeof(like->hash));
	key_u64(&k, like->size);
	for (error = idx_seek(&s->st, &k, &c);
	     error == 0 && idx_under(&c, &k) && c.klen == 37 && *n < CANDIDATES;
	     error = idx_next(&s->st, &c))
		ref_from_key(&c, &out[(*n)++]);
	return (error);
}

static int
find_same(
    struct body_writer *w, const struct body_ref *like, struct body_ref *ref)
{
	struct body_ref list[CANDIDATES];
	struct pending *p;
	size_t n;
	int error, same;

	HASH_FIND(hh, w->s->pending, like->hash, sizeof(like->hash), p);
	if (p != NULL && p->ref.size == like->size &&
	    same_bytes(w, &p->ref) == 1) {
		*ref = p->ref;
		return (0);
	}
	if ((error = candidates(w->s, like, list, &n)) != 0)
		return (error);
	for (size_t i = 0; i < n; i++) {
		if ((same = same_bytes(w, &list[i])) < 0)
			return (same);
		if (same) {
			*ref = list[i];
			return (0);
		}
	}
	return (-ENOENT);
}

static void
place_key(const struct body_ref *ref, uint8_t out[12])
{
	memcpy(out, &ref->pack, 4);
	memcpy(out + 4, &ref->offset, 8);
}

static int
pending_add(struct store *s, const struct body_ref *ref)
{
	struct pending *p;
	uint8_t place[12];

	place_key(ref, place);
	HASH_FIND(hh_place, s->pending_place, place, sizeof(place), p);
	if (p != NULL)
		return (0);
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return (-ENOMEM);
	p->ref = *ref;
	place_key(ref, p->place);
	HASH_ADD(hh, s->pending, ref.hash, sizeof(p->ref.hash), p);
	if (p->hh.tbl != NULL)
		HASH_ADD(
		    hh_place, s->pending_place, place, sizeof(p->place), p);
	if (p->hh.tbl == NULL || p->hh_place.tbl == NULL) {
		if (p->hh.tbl != NULL)
			HASH_DELETE(hh, s->pending, p);
		free(p);
		return (-ENOMEM);
	}
	return (0);
}

static void
pending_free(struct store *s, struct pending *p)
{
	HASH_DELETE(hh, s->pending, p);
	HASH_DELETE(hh_place, s->pending_place, p);
	free(p);
}

void
pending_drop(struct store *s, const struct body_ref *ref)
{
	uint8_t place[12];
	struct pending *p;

	place_key(ref, place);
	HASH_FIND(hh_place, s->pending_place, place, sizeof(place), p);
	if (p != NULL)
		pending_free(s, p);
}

void
pending_clear(struct store *s)
{
	struct pending *p, *next;

	HASH_ITER (hh, s->pending, p, next)
		pending_free(s, p);
}

bool
pending_in_pack(struct store *s, uint32_t pack)
{
	struct pending *p, *next;

	HASH_ITER (hh, s->pending, p, next)
		if (p->ref.pack == pack)
			return (true);
	return (false);
}

static int
append(struct body_writer *w, const struct body_ref *like, struct body_ref *ref,
    uint64_t *vsize)
{
	struct body_ref out = *like;
	int error;

	if ((error = store_writable(w->s)) != 0)
		return (error);
	error = find_same(w, like, &out);
	if (error == -ENOENT)
		error = packs_append(w->s->packs, w->size, like->hash, w->later,
		    raw_read, w, &out);
	/*
	 * Until a frame names it, a compaction must not drop it, whether it is
	 * new or shared.
	 */
	if (error == 0)
		error = pending_add(w->s, &out);
	if (error != 0)
		return (error);
	*ref = out;
	if (vsize != NULL)
		*vsize = w->size + w->bare;
	return (0);
}

int
body_writer_finish(struct body_writer *w, struct body_ref *ref, uint64_t *vsize)
{
	struct body_ref like = { .size = w->size };
	int error = digest_final(w->hash, like.hash);

	return (error != 0 ? error : append(w, &like, ref, vsize));
}

int
store_body_from_memory(struct store *s, const void *p, size_t n, bool later,
    struct body_ref *ref, uint64_t *vsize)
{
	/* Its bytes are lent. */
	struct body_writer w = { .s = s,
		.mem = { .data = (uint8_t *)(uintptr_t)p, .len = n },
		.later = later,
		.size = n };
	struct body_ref like = { .size = n };

	if (s->packs == NULL)
		return (-EINVAL);
	count_bare(&w, p, n);
	xxh3_128(p, n, like.hash);
	return (append(&w, &like, ref, vsize));
}

static int
from_stream(struct store *s, struct stream *in, bool later,
    struct body_ref *ref, uint64_t *vsize)
{
	struct body_writer *w = NULL;
	size_t chunk = stream_chunk(in);
	uint8_t *b = malloc(chunk);
	ssize_t n = 0;
	int error;

	error = b == NULL ? -ENOMEM : body_writer_new(s, &w);
	if (error == 0)
		w->later = later;
	while (error == 0 && (n = stream_read(in, b, chunk)) > 0)
		error = body_writer_add(w, b, (size_t)n);
	if (error == 0 && n < 0)
		error = (int)n;
	if (error == 0)
		error = body_writer_finish(w, ref, vsize);
	body_writer_free(w);
	free(b);
	return (error);
}

int
store_body_from_stream(
    struct store *s, struct stream *in, struct body_ref *ref, uint64_t *vsize)
{
	return (from_stream(s, in, false, ref, vsize));
}

int
store_body_later(
    struct store *s, struct stream *in, struct body_ref *ref, uint64_t *vsize)
{
	return (from_stream(s, in, true, ref, vsize));
}

/* ---- reading ---- */

struct body {
	struct pack_reader *r; /* owned */
};

int
body_open(struct store *s, const struct body_ref *ref, struct body **out)
{
	struct body_ref list[CANDIDATES];
	struct body *b;
	size_t n = 0;
	int error;

	if (s->packs == NULL || ref->pack == 0)
		return (-ENOENT);
	if ((b = calloc(1, sizeof(*b))) == NULL)
		return (-ENOMEM);
	/* A compaction may have moved it since the caller looked. */
	if (packs_have(s->packs, ref->pack) ||
	    candidates(s, ref, list, &n) != 0 || n == 0)
		error = pack_reader_open(s->packs, ref, &b->r);
	else
		error = pack_reader_open(s->packs, &list[0], &b->r);
	if (error != 0) {
		free(b);
		return (error);
	}
	*out = b;
	return (0);
}

ssize_t
body_read(struct body *b, void *p, size_t n, uint64_t off)
{
	return (pack_read(b->r, p, n, off));
}

void
body_close(struct body *b)
{
	if (b == NULL)
		return;
	pack_reader_close(b->r);
	free(b);
}

struct body_stream {
	struct stream stream;
	struct body *body;
	uint64_t at;
};

static ssize_t
bs_read(struct stream *st, void *p, size_t n)
{
	struct body_stream *b = (struct body_stream *)st;
	ssize_t got = body_read(b->body, p, n, b->at);

	if (got > 0)
		b->at += (uint64_t)got;
	return (got);
}

static void
bs_close(struct stream *st)
{
	struct body_stream *b = (struct body_stream *)st;

	body_close(b->body);
	free(b);
}

static const struct stream_ops bs_ops = { bs_read, bs_close };

int
body_stream(struct store *s, const struct body_ref *ref, struct stream **out)
{
	struct body_stream *b = calloc(1, sizeof(*b));
	int error;

	if (b == NULL)
		return (-ENOMEM);
	if ((error = body_open(s, ref, &b->body)) != 0) {
		free(b);
		return (error);
	}
	b->stream.ops = &bs_ops;
	b->stream.size = ref->size;
	*out = &b->stream;
	return (0);
}
