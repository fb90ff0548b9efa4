/*
 * pack -- writing bodies: the set of packs, appending, making durable.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/log.h"
#include "store/pack_internal.h"

void
pack_path(const struct packs *p, uint32_t id, char out[PACK_PATH])
{
	(void)snprintf(out, PACK_PATH, "%s/%08" PRIx32 ".pack", p->dir, id);
}

void
pack_complain(const struct packs *p, uint32_t id, const char *what, int error)
{
	log_error("%s/%s/%08" PRIx32 ".pack: %s: %s", p->os->ops->label(p->os),
	    p->dir, id, what, strerror(-error));
}

static bool
pack_name(const char *name, uint32_t *id)
{
	uint32_t v = 0;

	if (strlen(name) != 13 || strcmp(name + 8, ".pack") != 0)
		return (false);
	for (size_t i = 0; i < 8; i++) {
		const char *digit = strchr("0123456789abcdef", name[i]);

		if (digit == NULL)
			return (false);
		v = v << 4 | (uint32_t)(digit - "0123456789abcdef");
	}
	*id = v;
	return (v != 0);
}

/* ---- the set ---- */

static int
find_last(void *arg, const struct os_dirent *e)
{
	struct packs *p = arg;
	uint32_t id;

	if (e->type == OS_FILE && pack_name(e->name, &id) && id > p->last)
		p->last = id;
	return (0);
}

/*
 * Every body of a pack of a newer version would be refused one by one: better
 * said once.  Whoever writes such packs gives them the highest numbers.
 */
static int
check_version(struct packs *p)
{
	struct os *os = p->os;
	uint8_t h[PACK_HEADER];
	struct pack_head head;
	struct os_file *f;
	char path[PACK_PATH];
	ssize_t n;

	if (p->last == 0)
		return (0);
	pack_path(p, p->last, path);
	if (os->ops->open(os, path, OS_READ, &f) != 0)
		return (0);
	n = os->ops->pread(f, h, sizeof(h), 0);
	os->ops->close(f);
	if (n < 0 ||
	    pack_header_check(h, (size_t)n, p->last, &head) != -EPROTONOSUPPORT)
		return (0);
	log_error("%s/%s: pack of version %u, this program knows %u: a newer "
		  "dsyncfs made it",
	    os->ops->label(os), path, head.version, PACK_SQUEEZED);
	return (-EPROTONOSUPPORT);
}

int
packs_open(struct os *os, const char *dir, int zstd_level, bool rdonly,
    struct packs **out)
{
	struct packs *p = calloc(1, sizeof(*p));
	int error;

	if (p == NULL)
		return (-ENOMEM);
	p->os = os;
	p->level = zstd_level;
	p->rdonly = rdonly;
	if (strlen(dir) > 200 || (p->dir = strdup(dir)) == NULL) {
		error = p->dir == NULL ? -ENOMEM : -ENAMETOOLONG;
		goto fail;
	}
	if (!rdonly && (error = os_mkdirs(os, dir)) != 0)
		goto report;
	if ((error = os->ops->list(os, dir, find_last, p)) != 0 &&
	    error != -ENOENT)
		goto report;
	if ((error = check_version(p)) != 0)
		goto fail;
	p->last_old = p->last;
	*out = p;
	return (0);
report:
	log_error("%s/%s: cannot be used: %s", os->ops->label(os), dir,
	    strerror(-error));
fail:
	packs_close(p);
	return (error);
}

static void
close_files(struct packs *p)
{
	if (p->file != NULL)
		p->os->ops->close(p->file);
	/*
	 * Of several packs closed during one sync only the first is the one
	 * being synced.
	 */
	if (p->sync_file != NULL && p->syncing && p->retired == NULL)
		p->retired = p->sync_file;
	else if (p->sync_file != NULL)
		p->os->ops->close(p->sync_file);
	if (p->raw > 0)
		pack_waiting_add(p, p->pack, p->raw);
	p->file = p->sync_file = NULL;
	p->end = p->durable = p->raw = 0;
	p->new_file = p->hinted = false;
}

void
packs_close(struct packs *p)
{
	if (p == NULL)
		return;
	close_files(p);
	if (p->retired != NULL)
		p->os->ops->close(p->retired);
	if (p->renew_file != NULL)
		p->os->ops->close(p->renew_file);
	pack_tools_free(p->tools);
	ZSTD_freeDCtx(atomic_load(&p->spare));
	pack_file_drop_spares(p);
	free(p->waiting);
	free(p->old);
	free(p->dir);
	free(p);
}

/* ---- the pack being written ---- */

/*
 * The name of a new pack, and of the directory, which may have been made right
 * before.
 */
static int
sync_names(struct packs *p)
{
	int error = p->os->ops->sync_dir(p->os, p->dir);

	return (error != 0 ? error : p->os->ops->sync_dir(p->os, ""));
}

/*
 * What is in the present pack becomes durable, then the next append begins a
 * new one.
 */
static int
retire_pack(struct packs *p)
{
	int error = 0;

	if (p->file == NULL)
		return (0);
	if (p->durable < p->end) {
		error = p->os->ops->sync(p->file);
		if (error == 0 && p->new_file)
			error = sync_names(p);
		if (error != 0) {
			p->poisoned = true;
			pack_complain(
			    p, p->pack, "cannot be made durable", error);
			return (error);
		}
	}
	close_files(p);
	return (0);
}

int
packs_seal(struct packs *p)
{
	return (p->rdonly ? -EROFS : p->poisoned ? -EIO : retire_pack(p));
}

void
pack_header_put(struct buf *b, unsigned version, uint32_t id, bool hint)
{
	size_t at = b->len;

	buf_put(b, PACK_MAGIC, 7);
	buf_put_u8(b, (uint8_t)version);
	buf_put_le32(b, id);
	buf_put_le32(b, 0);
	if (b->error != 0)
		return;
	buf_put_le64(b, xxh3_64(b->data + at, 16));
	if (b->error == 0)
		b->data[at + PACK_HINT] = hint;
}

static int
begin_pack(struct packs *p, bool hint)
{
	char path[PACK_PATH];
	struct buf b = BUF_INIT;
	struct os_file *f = NULL, *f2 = NULL;
	uint32_t id = p->last + 1;
	int error;

	if (p->last == UINT32_MAX)
		return (-ENOSPC);
	pack_header_put(&b, PACK_VERSION, id, hint);
	pack_path(p, id, path);
	if ((error = b.error) == 0)
		error = p->os->ops->open(
		    p->os, path, OS_WRITE | OS_CREATE | OS_EXCL, &f);
	if (error == 0)
		error = p->os->ops->open(p->os, path, OS_WRITE, &f2);
	if (error == 0)
		error = p->os->ops->pwrite(f, b.data, b.len, 0);
	buf_fini(&b);
	if (error != 0) {
		pack_complain(p, id, "cannot begin a pack", error);
		if (f2 != NULL)
			p->os->ops->close(f2);
		if (f != NULL) {
			p->os->ops->close(f);
			(void)p->os->ops->unlink(p->os, path);
		}
		/* A name that stayed is never taken for a new pack again. */
		p->last = id;
		return (error);
	}
	p->file = f;
	p->sync_file = f2;
	p->pack = p->last = id;
	p->end = PACK_HEADER;
	p->durable = 0;
	p->new_file = true;
	p->hinted = hint;
	return (0);
}

/*
 * A write failed (a full disk): the rest of the entry is no entry, since its
 * header is missing.  The handle is poisoned: what was appended before is made
 * durable by another one, and a new pack is begun.
 */
static void
abandon_pack(struct packs *p)
{
	char path[PACK_PATH];
	struct os_file *f;
	int error = 0;

	pack_path(p, p->pack, path);
	if (p->end == PACK_HEADER) {
		close_files(p);
		(void)p->os->ops->unlink(p->os, path);
		return;
	}
	if (p->durable < p->end) {
		if ((error = p->os->ops->open(p->os, path, OS_WRITE, &f)) ==
		    0) {
			error = p->os->ops->sync(f);
			p->os->ops->close(f);
		}
		if (error == 0 && p->new_file)
			error = sync_names(p);
		if (error != 0) {
			p->poisoned = true;
			pack_complain(
			    p, p->pack, "cannot be made durable", error);
			return;
		}
	}
	close_files(p);
}

/* ---- what the process before this one wrote ---- */

static int
renew_end(struct packs *p)
{
	int error = 0;

	if (p->renew_file == NULL)
		return (0);
	if ((error = p->os->ops->sync(p->renew_file)) != 0)
		pack_complain(
		    p, p->renew_pack, "cannot be made durable", error);
	p->os->ops->close(p->renew_file);
	p->renew_file = NULL;
	return (error);
}

static int
renew_begin(struct packs *p, uint32_t id)
{
	char path[PACK_PATH];
	int error = renew_end(p);

	if (error != 0)
		return (error);
	pack_path(p, id, path);
	error = p->os->ops->open(p->os, path, OS_WRITE, &p->renew_file);
	if (error != 0) {
		p->renew_file = NULL;
		pack_complain(p, id, "cannot be opened for writing", error);
	}
	p->renew_pack = id;
	return (error);
}

/* The pack's header too: the pack may be new. */
static int
write_again(struct packs *p, uint64_t off, uint64_t n)
{
	uint8_t *buf = malloc(PACK_BLOCK);
	int error = buf == NULL ? -ENOMEM : 0;

	while (error == 0 && n > 0) {
		size_t want = n < PACK_BLOCK ? (size_t)n : PACK_BLOCK;
		ssize_t got = p->os->ops->pread(p->renew_file, buf, want, off);

		if (got <= 0)
			error = got < 0 ? (int)got : -EIO;
		else
			error = p->os->ops->pwrite(
			    p->renew_file, buf, (size_t)got, off);
		off += got > 0 ? (uint64_t)got : 0;
		n -= got > 0 ? (uint64_t)got : 0;
	}
	free(buf);
	if (error != 0)
		pack_complain(
		    p, p->renew_pack, "cannot be written again", error);
	return (error);
}

int
packs_renew(struct packs *p, const struct body_ref *ref)
{
	uint8_t h[ENTRY_HEADER];
	struct pack_head head;
	struct entry e;
	ssize_t got;
	int error = 0;

	if (p->renew_file == NULL || p->renew_pack != ref->pack) {
		if ((error = renew_begin(p, ref->pack)) != 0)
			return (error);
		got = p->os->ops->pread(p->renew_file, h, PACK_HEADER, 0);
		if (got < 0)
			return ((int)got);
		error =
		    pack_header_check(h, (size_t)got, ref->pack, &head);
		/* It has its name since all of it is durable (P4). */
		p->renew_none = error == 0
		    ? head.version == PACK_SQUEEZED
		    : pack_has_table(p->os, p->renew_file, ref->pack);
		if (!p->renew_none &&
		    (error = write_again(p, 0, PACK_HEADER)) != 0)
			return (error);
	}
	if (p->renew_none)
		return (0);
	got = p->os->ops->pread(p->renew_file, h, sizeof(h), ref->offset);
	if (got != (ssize_t)sizeof(h))
		return (got < 0 ? (int)got : -EIO);
	error = entry_decode(h, ref->pack, ref->offset, UINT64_MAX / 2, &e);
	return (
	    error != 0 ? error : write_again(p, ref->offset, entry_len(&e)));
}

int
packs_renewed(struct packs *p)
{
	bool any = p->renew_file != NULL;
	int error = renew_end(p);

	return (
	    error != 0 || !any ? error : p->os->ops->sync_dir(p->os, p->dir));
}

/* ---- appending ---- */

static int
ready_pack(struct packs *p, bool later)
{
	const uint8_t hint = 1;
	int error;

	if (p->rdonly)
		return (-EROFS);
	if (p->poisoned)
		return (-EIO);
	if (p->end >= PACK_MAX_BYTES && !p->syncing &&
	    (error = retire_pack(p)) != 0)
		return (error);
	if (p->tools == NULL && (error = pack_tools_new(&p->tools)) != 0)
		return (error);
	if (p->file == NULL)
		return (begin_pack(p, later));
	if (!later || p->hinted)
		return (0);
	error = p->os->ops->pwrite(p->file, &hint, 1, PACK_HINT);
	if (error != 0) {
		pack_complain(p, p->pack, "cannot write a body", error);
		abandon_pack(p);
	} else
		p->hinted = true;
	return (error);
}

int
packs_append(struct packs *p, uint64_t size, const uint8_t hash[16], bool later,
    pack_raw_fn *raw, void *arg, struct body_ref *ref)
{
	struct entry_out o = { .os = p->os, .size = size, .hash = hash };
	uint64_t len;
	int error;

	if (size > (uint64_t)PACK_BLOCK * (UINT32_MAX / 2))
		return (-EFBIG);
	later = later && p->level > 0 && size > 0;
	if ((error = ready_pack(p, later)) != 0)
		return (error);
	o.f = p->file;
	o.at = o.place = p->end;
	o.pack = p->pack;
	o.level = later ? 0 : p->level;
	if ((error = entry_write(&o, p->tools, raw, arg, &len)) != 0) {
		if (error != -ENOMEM)
			pack_complain(p, p->pack, "cannot write a body", error);
		abandon_pack(p);
	} else {
		struct body_ref out = {
			.size = size, .offset = p->end, .pack = p->pack
		};

		memcpy(out.hash, hash, sizeof(out.hash));
		*ref = out;
		p->end += (len + 7) & ~(uint64_t)7;
		p->raw += later ? size : 0;
		p->appended++;
	}
	return (error);
}

/* ---- durability ---- */

bool
packs_dirty(const struct packs *p)
{
	return (p->file != NULL && p->durable < p->end && p->end > PACK_HEADER);
}

void
packs_sync_begin(struct packs *p, struct packs_sync *s)
{
	memset(s, 0, sizeof(*s));
	if (!packs_dirty(p))
		return;
	s->file = p->sync_file;
	s->pack = p->pack;
	s->end = p->end;
	s->new_file = p->new_file;
	p->syncing = true;
}

int
packs_sync_run(struct packs *p, struct packs_sync *s)
{
	int error;

	if (s->file == NULL)
		return (0);
	if ((error = p->os->ops->sync(s->file)) != 0)
		return (error);
	return (s->new_file ? sync_names(p) : 0);
}

void
packs_sync_done(struct packs *p, const struct packs_sync *s, int error)
{
	p->syncing = false;
	if (p->retired != NULL)
		p->os->ops->close(p->retired);
	p->retired = NULL;
	if (error != 0) {
		if (s->file != NULL && !p->poisoned)
			pack_complain(
			    p, s->pack, "cannot be made durable", error);
		p->poisoned = true;
		return;
	}
	if (s->file == NULL || s->pack != p->pack || p->file == NULL)
		return;
	if (s->end > p->durable)
		p->durable = s->end;
	p->new_file = false;
}

/* ---- all of them ---- */

struct id_list {
	uint32_t *v;
	size_t n, cap;
};

static int
list_one(void *arg, const struct os_dirent *e)
{
	struct id_list *l = arg;
	uint32_t id, *v;

	if (e->type != OS_FILE || !pack_name(e->name, &id))
		return (0);
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 16 : l->cap * 2;

		if ((v = realloc(l->v, cap * sizeof(*v))) == NULL)
			return (-ENOMEM);
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = id;
	return (0);
}

static int
cmp_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x < y ? -1 : x > y);
}

int
packs_list(struct packs *p, uint32_t **ids, size_t *n)
{
	struct id_list l = { NULL, 0, 0 };
	int error;

	if ((error = p->os->ops->list(p->os, p->dir, list_one, &l)) != 0 &&
	    error != -ENOENT) {
		log_error("%s/%s: cannot be listed: %s",
		    p->os->ops->label(p->os), p->dir, strerror(-error));
		free(l.v);
		return (error);
	}
	if (l.n > 1)
		qsort(l.v, l.n, sizeof(*l.v), cmp_id);
	*ids = l.v;
	*n = l.n;
	return (0);
}

bool
packs_have(struct packs *p, uint32_t id)
{
	struct pack_file *file = pack_file_spare(p, id);
	char path[PACK_PATH];
	struct os_stat st;

	if (file != NULL) {
		pack_file_give(p, file);
		return (true);
	}
	pack_path(p, id, path);
	return (p->os->ops->stat(p->os, path, &st) == 0);
}

int
packs_drop(struct packs *p, uint32_t id)
{
	char path[PACK_PATH];
	int error;

	if (p->rdonly)
		return (-EROFS);
	if (p->file != NULL && p->pack == id)
		close_files(p);
	pack_waiting_drop(p, id);
	/* what is open keeps its room */
	atomic_fetch_add(&p->replaced, 1);
	pack_file_drop_spares(p);
	pack_path(p, id, path);
	if ((error = p->os->ops->unlink(p->os, path)) != 0 &&
	    error != -ENOENT) {
		pack_complain(p, id, "cannot be removed", error);
		return (error);
	}
	return (0);
}

uint64_t
packs_bytes(struct packs *p)
{
	uint32_t *ids = NULL;
	size_t n = 0;
	uint64_t sum = 0;
	char path[PACK_PATH];
	struct os_stat st;

	if (packs_list(p, &ids, &n) != 0)
		return (0);
	for (size_t i = 0; i < n; i++) {
		pack_path(p, ids[i], path);
		if (p->os->ops->stat(p->os, path, &st) == 0)
			sum += st.size;
	}
	free(ids);
	return (sum);
}
