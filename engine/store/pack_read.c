/*
 * pack_read -- reading bodies out of packs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "base/digest.h"
#include "base/log.h"
#include "store/pack_internal.h"

#define HEAD_MAX (16u << 10)

struct pack_reader {
	struct packs *p; /* borrowed */
	struct pack_file *file; /* owned; NULL: f is another's */
	struct os_file *f; /* borrowed, mostly from file */
	struct body_ref ref;
	uint64_t at; /* where in the file it is */
	struct entry e;
	/* owned: the first bytes of the entry, mostly all of it */
	uint8_t *head;
	size_t head_len;
	uint8_t *table; /* owned */
	/* owned: place of each block in the file */
	uint64_t *start;
	uint64_t loaded; /* block in raw, plus 1 */
	uint64_t wanted; /* block that was asked for last */
	size_t raw_len;
	/* owned: the largest block of this body */
	uint8_t *raw, *stored;
	ZSTD_DCtx *z; /* owned; NULL until it is needed */
};

int
pack_header_check(
    const uint8_t *h, size_t n, uint32_t id, struct pack_head *out)
{
	uint8_t c[16];
	struct rd r;

	*out = (struct pack_head){ .version = 0 };
	if (n < PACK_HEADER || memcmp(h, PACK_MAGIC, 7) != 0)
		return (-EBADMSG);
	out->version = h[7];
	out->hint = h[PACK_HINT] != 0;
	memcpy(c, h, sizeof(c));
	c[PACK_HINT] = 0;
	rd_init(&r, h + 16, 8);
	if (rd_le64(&r) != xxh3_64(c, sizeof(c)))
		return (-EBADMSG);
	if (h[7] != PACK_VERSION && h[7] != PACK_SQUEEZED)
		return (-EPROTONOSUPPORT);
	rd_init(&r, c + 8, 8);
	return (rd_le32(&r) == id && rd_le32(&r) == 0 ? 0 : -EBADMSG);
}

int
entry_decode(const uint8_t h[ENTRY_HEADER], uint32_t id, uint64_t place,
    uint64_t room, struct entry *e)
{
	struct rd r;
	const uint8_t *hash;
	uint32_t pack, at;
	uint64_t table;

	rd_init(&r, h, ENTRY_HEADER);
	if (rd_le32(&r) != ENTRY_MAGIC)
		return (-EBADMSG);
	e->blocks = rd_le32(&r);
	e->size = rd_le64(&r);
	e->stored = rd_le64(&r);
	hash = rd_bytes(&r, 16);
	e->table_sum = rd_le64(&r);
	pack = rd_le32(&r);
	at = rd_le32(&r);
	if (rd_le64(&r) != xxh3_64(h, 56) || pack != id ||
	    at != (uint32_t)(place / 8))
		return (-EBADMSG);
	memcpy(e->hash, hash, 16);
	e->place = place;
	table = (uint64_t)e->blocks * ENTRY_BLOCK;
	if (e->blocks != entry_blocks(e->size) || table > room ||
	    e->stored > room - table || e->stored > e->size)
		return (-EBADMSG);
	return (0);
}

uint64_t
entry_place(const uint8_t h[ENTRY_HEADER])
{
	struct rd r;

	rd_init(&r, h + 52, 4);
	return ((uint64_t)rd_le32(&r) * 8);
}

uint64_t
entry_len(const struct entry *e)
{
	return (ENTRY_HEADER + (uint64_t)e->blocks * ENTRY_BLOCK + e->stored);
}

/* ---- one body ---- */

static int
read_exact(
    struct packs *p, struct os_file *f, void *buf, size_t n, uint64_t off)
{
	ssize_t got = p->os->ops->pread(f, buf, n, off);

	if (got < 0)
		return ((int)got);
	return ((size_t)got == n ? 0 : -EBADMSG);
}

/* Of the reader's own entry: from its head where that has it. */
static int
read_entry(struct pack_reader *r, void *buf, size_t n, uint64_t off)
{
	uint64_t at = off - r->at;

	if (at > r->head_len || n > r->head_len - at)
		return (read_exact(r->p, r->f, buf, n, off));
	memcpy(buf, r->head + at, n);
	return (0);
}

static int
load_table(struct pack_reader *r)
{
	size_t n = (size_t)r->e.blocks * ENTRY_BLOCK;
	uint64_t at = r->at + ENTRY_HEADER + n, sum = 0;
	int error;

	if ((r->table = malloc(n + 1)) == NULL ||
	    (r->start = malloc((r->e.blocks + 1) * sizeof(*r->start))) == NULL)
		return (-ENOMEM);
	if ((error = read_entry(r, r->table, n, r->at + ENTRY_HEADER)) != 0)
		return (error);
	if (xxh3_64(r->table, n) != r->e.table_sum)
		return (-EBADMSG);
	for (uint32_t i = 0; i < r->e.blocks; i++) {
		struct rd t;
		uint32_t len;

		rd_init(&t, r->table + (size_t)i * ENTRY_BLOCK, ENTRY_BLOCK);
		len = rd_le32(&t) & ~BLOCK_ZSTD;
		if (len > PACK_BLOCK || len > r->e.stored - sum)
			return (-EBADMSG);
		r->start[i] = at + sum;
		sum += len;
	}
	return (sum == r->e.stored ? 0 : -EBADMSG);
}

/* ---- the pack of a body ---- */

void
pack_file_close(struct packs *p, struct pack_file *file)
{
	if (file == NULL)
		return;
	if (file->f != NULL)
		p->os->ops->close(file->f);
	pack_table_free(file->table);
	free(file);
}

static int
pack_file_open(struct packs *p, uint32_t id, struct pack_file **out)
{
	struct pack_file *file = calloc(1, sizeof(*file));
	uint8_t h[PACK_HEADER];
	struct pack_head head;
	char path[PACK_PATH];
	int error;

	if (file == NULL)
		return (-ENOMEM);
	file->id = id;
	file->replaced = atomic_load(&p->replaced);
	pack_path(p, id, path);
	error = p->os->ops->open(p->os, path, OS_READ, &file->f);
	if (error != 0)
		file->f = NULL;
	if (error == 0)
		error = read_exact(p, file->f, h, sizeof(h), 0);
	if (error == 0)
		error = pack_header_check(h, sizeof(h), id, &head);
	/* Entries say themselves where they belong, so it costs nothing. */
	file->header_bad = file->f != NULL && error == -EBADMSG;
	if (file->header_bad)
		error = 0;
	if (error == 0 &&
	    (file->header_bad || head.version == PACK_SQUEEZED)) {
		file->squeezed = true;
		/* Without a table it is walked over. */
		error = pack_table_read(p->os, file->f, id, &file->table);
		if (error != 0)
			file->table = NULL;
		error = error == -ENOMEM ? error : 0;
	}
	if (error != 0)
		pack_file_close(p, file);
	else
		*out = file;
	return (error);
}

int
pack_file_place(
    struct packs *p, struct pack_file *file, uint64_t place, uint64_t *at)
{
	int error = -EBADMSG;

	if (!file->squeezed) {
		*at = place;
		return (0);
	}
	if (file->table != NULL)
		error = pack_table_find(p->os, file->f, file->table, place, at);
	if (error == 0 || error == -ENOENT)
		return (error == 0 ? 0 : -EBADMSG);
	if (!atomic_exchange(&p->table_said, true))
		log_warning("%s/%s/%08" PRIx32 ".pack: its %s is "
			    "damaged, so its bodies are found by reading all "
			    "of it; dsyncfs-sync compact makes it anew",
		    p->os->ops->label(p->os), p->dir, file->id,
		    file->header_bad ? "header" : "table of places");
	return (pack_walk_find(p, file, place, at));
}

struct pack_file *
pack_file_spare(struct packs *p, uint32_t id)
{
	for (size_t i = 0; i < SPARE_FILES; i++) {
		struct pack_file *file =
		    atomic_exchange(&p->spare_file[i], NULL);

		if (file != NULL && file->id == id)
			return (file);
		if (file != NULL)
			pack_file_close(
			    p, atomic_exchange(&p->spare_file[i], file));
	}
	return (NULL);
}

void
pack_file_give(struct packs *p, struct pack_file *file)
{
	/* Another file may have its name by now: its room is wanted. */
	if (file->replaced == atomic_load(&p->replaced))
		for (size_t i = 0; i < SPARE_FILES && file != NULL; i++)
			file = atomic_exchange(&p->spare_file[i], file);
	pack_file_close(p, file);
}

void
pack_file_drop_spares(struct packs *p)
{
	for (size_t i = 0; i < SPARE_FILES; i++)
		pack_file_close(p, atomic_exchange(&p->spare_file[i], NULL));
}

/* One that was used before will do. */
static int
pack_file_take(struct packs *p, uint32_t id, bool fresh, struct pack_file **out)
{
	if (!fresh && (*out = pack_file_spare(p, id)) != NULL)
		return (0);
	return (pack_file_open(p, id, out));
}

/* The entry at r->at: its head, and whether it is the one. */
static int
reader_head(struct pack_reader *r)
{
	uint64_t want = ENTRY_HEADER + entry_blocks(r->ref.size) * ENTRY_BLOCK +
	    r->ref.size;
	ssize_t got;
	int error;

	/* It never takes more than what it is of: one read for all. */
	want = want < HEAD_MAX ? want : HEAD_MAX;
	if ((r->head = malloc((size_t)want)) == NULL)
		return (-ENOMEM);
	got = r->p->os->ops->pread(r->f, r->head, (size_t)want, r->at);
	if (got < 0)
		return ((int)got);
	if (got < (ssize_t)ENTRY_HEADER)
		return (-EBADMSG);
	r->head_len = (size_t)got;
	/* What lies behind the end of the file is missed when it is read. */
	error = entry_decode(r->head, r->ref.pack, r->ref.offset,
	    UINT64_MAX - r->at - ENTRY_HEADER, &r->e);
	if (error == 0 &&
	    (r->e.size != r->ref.size ||
		memcmp(r->e.hash, r->ref.hash, 16) != 0))
		error = -EBADMSG;
	return (error);
}

static int
reader_open(struct pack_reader *r, bool fresh)
{
	int error = pack_file_take(r->p, r->ref.pack, fresh, &r->file);

	if (error != 0)
		return (error);
	r->f = r->file->f;
	if (r->ref.offset < PACK_HEADER || r->ref.offset % 8 != 0)
		return (-EBADMSG);
	if ((error = pack_file_place(r->p, r->file, r->ref.offset, &r->at)) !=
	    0)
		return (error);
	return (reader_head(r));
}

int
pack_reader_new(struct packs *p, const struct body_ref *ref, bool fresh,
    struct pack_reader **out, const char **why)
{
	struct pack_reader *r = calloc(1, sizeof(*r));
	int error;

	if (r == NULL)
		return (-ENOMEM);
	r->p = p;
	r->ref = *ref;
	if ((error = reader_open(r, fresh)) == 0)
		error = load_table(r);
	if (error == 0) {
		*out = r;
		return (0);
	}
	*why = error == -ENOENT ? "the pack is missing"
	    : error == -EBADMSG
	    ? "the entry is not there or its checksum is wrong"
	    : strerror(-error);
	pack_reader_close(r);
	return (error);
}

int
pack_reader_open(
    struct packs *p, const struct body_ref *ref, struct pack_reader **out)
{
	const char *why = "";
	int error = pack_reader_new(p, ref, false, out, &why);

	if (error == 0 || error == -ENOMEM)
		return (error);
	log_error("%s/%s/%08" PRIx32 ".pack: body at byte %" PRIu64
		  ": %s; run dsyncfs-sync verify",
	    p->os->ops->label(p->os), p->dir, ref->pack, ref->offset, why);
	return (error == -EMFILE || error == -ENFILE ? error : -EIO);
}

void
pack_reader_close(struct pack_reader *r)
{
	if (r == NULL)
		return;
	if (r->file != NULL)
		pack_file_give(r->p, r->file);
	free(r->head);
	if (r->z != NULL)
		ZSTD_freeDCtx(atomic_exchange(&r->p->spare, r->z));
	free(r->table);
	free(r->start);
	free(r->raw);
	free(r->stored);
	free(r);
}

static int
block_memory(struct pack_reader *r)
{
	/* A body of one block needs no more than its size. */
	size_t n = r->e.size < PACK_BLOCK ? (size_t)r->e.size : PACK_BLOCK;

	if (r->raw == NULL && (r->raw = malloc(n)) == NULL)
		return (-ENOMEM);
	/* A block that would not have become smaller is stored as it was. */
	if (r->stored == NULL && (r->stored = malloc(n)) == NULL)
		return (-ENOMEM);
	return (0);
}

static int
unpack(struct pack_reader *r, size_t want, size_t len)
{
	if (r->z == NULL)
		r->z = atomic_exchange(&r->p->spare, NULL);
	if (r->z == NULL && (r->z = ZSTD_createDCtx()) == NULL)
		return (-ENOMEM);
	return (ZSTD_decompressDCtx(r->z, r->raw, want, r->stored, len) == want
		? 0
		: -EBADMSG);
}

/*
 * Block i into r->raw; nothing of it is handed out before its checksum was
 * right (P2).
 */
static int
load_block(struct pack_reader *r, uint64_t i)
{
	struct rd t;
	uint32_t len;
	uint64_t sum, left = r->e.size - i * PACK_BLOCK;
	size_t want = left < PACK_BLOCK ? (size_t)left : PACK_BLOCK;
	bool packed;
	int error;

	r->wanted = i;
	if (r->loaded == i + 1)
		return (0);
	if ((error = block_memory(r)) != 0)
		return (error);
	r->loaded = 0;
	rd_init(&t, r->table + i * ENTRY_BLOCK, ENTRY_BLOCK);
	len = rd_le32(&t);
	sum = rd_le64(&t);
	packed = (len & BLOCK_ZSTD) != 0;
	len &= ~BLOCK_ZSTD;
	if (len > want)
		return (-EBADMSG);
	if ((error = read_entry(r, r->stored, len, r->start[i])) != 0)
		return (error);
	if (xxh3_64(r->stored, len) != sum || (!packed && len != want))
		return (-EBADMSG);
	if (!packed)
		memcpy(r->raw, r->stored, len);
	else if ((error = unpack(r, want, len)) != 0)
		return (error);
	r->raw_len = want;
	r->loaded = i + 1;
	return (0);
}

ssize_t
pack_reader_get(struct pack_reader *r, void *buf, size_t n, uint64_t off)
{
	uint8_t *out = buf;
	size_t done = 0;
	int error;

	if (off >= r->e.size)
		return (0);
	if (n > r->e.size - off)
		n = (size_t)(r->e.size - off);
	while (done < n) {
		uint64_t i = (off + done) / PACK_BLOCK;
		size_t at = (size_t)((off + done) % PACK_BLOCK), m;

		if ((error = load_block(r, i)) != 0)
			return (error);
		m = r->raw_len - at < n - done ? r->raw_len - at : n - done;
		memcpy(out + done, r->raw + at, m);
		done += m;
	}
	return ((ssize_t)n);
}

ssize_t
pack_reader_kept(void *arg, uint64_t i, uint8_t out[PACK_BLOCK])
{
	struct pack_reader *r = arg;
	struct rd t;
	uint32_t len;
	int error;

	if ((error = load_block(r, i)) != 0)
		return (error);
	rd_init(&t, r->table + i * ENTRY_BLOCK, ENTRY_BLOCK);
	len = rd_le32(&t);
	if ((len & BLOCK_ZSTD) == 0)
		return (0);
	len &= ~BLOCK_ZSTD;
	memcpy(out, r->stored, len);
	return (len);
}

ssize_t
pack_read(struct pack_reader *r, void *buf, size_t n, uint64_t off)
{
	ssize_t got = pack_reader_get(r, buf, n, off);

	if (got >= 0 || got == -ENOMEM)
		return (got);
	log_error("%s/%s/%08" PRIx32 ".pack: body at byte %" PRIu64
		  ": block %" PRIu64
		  " is damaged (%s); run dsyncfs-sync verify",
	    r->p->os->ops->label(r->p->os), r->p->dir, r->ref.pack,
	    r->ref.offset, r->wanted,
	    got == -EBADMSG ? "wrong checksum" : strerror((int)-got));
	return (-EIO);
}

int
pack_reader_check(struct pack_reader *r)
{
	struct digest *d;
	uint8_t hash[16];
	int error;

	if ((error = digest_new(DIGEST_XXH3_128, &d)) != 0)
		return (error);
	for (uint64_t i = 0; i < r->e.blocks && error == 0; i++)
		if ((error = load_block(r, i)) == 0)
			error = digest_add(d, r->raw, r->raw_len);
	if (error == 0)
		error = digest_final(d, hash);
	digest_free(d);
	if (error == 0 && memcmp(hash, r->e.hash, sizeof(hash)) != 0)
		error = -EBADMSG;
	return (error);
}

int
packs_check(struct packs *p, const struct body_ref *ref)
{
	struct pack_reader *r = NULL;
	const char *why;
	int error;

	if ((error = pack_reader_new(p, ref, true, &r, &why)) == 0)
		error = pack_reader_check(r);
	pack_reader_close(r);
	return (error);
}

int
pack_reader_at(struct packs *p, struct os_file *f, uint64_t at,
    const struct body_ref *ref, struct pack_reader **out)
{
	struct pack_reader *r = calloc(1, sizeof(*r));
	int error;

	if (r == NULL)
		return (-ENOMEM);
	r->p = p;
	r->ref = *ref;
	r->f = f;
	r->at = at;
	if ((error = reader_head(r)) == 0)
		error = load_table(r);
	if (error != 0)
		pack_reader_close(r);
	else
		*out = r;
	return (error);
}
