/*
 * pack_walk -- finding the entries of packs without the index, and without the
 * tables of squeezed ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "store/pack_internal.h"

struct walk {
	struct packs *p;
	uint32_t id;
	struct os_file *f;
	uint64_t size; /* where the entries end, or the file */
	/* table: there is none, or it is right */
	bool squeezed, header, table, check;
	pack_entry_fn *fn;
	void *arg;
	/* owned, PACK_BLOCK bytes: searched for a header */
	uint8_t *chunk;
};

static int
read_exact(struct walk *w, void *buf, size_t n, uint64_t off)
{
	ssize_t got = w->p->os->ops->pread(w->f, buf, n, off);

	if (got < 0)
		return ((int)got);
	return ((size_t)got == n ? 0 : -EBADMSG);
}

/* A squeezed pack's entry has come nearer to the file's beginning (P4). */
static int
decode_at(const struct walk *w, const uint8_t h[ENTRY_HEADER], uint64_t off,
    struct entry *e)
{
	uint64_t place = w->squeezed ? entry_place(h) : off;

	if (place < off)
		return (-EBADMSG);
	return (entry_decode(h, w->id, place, w->size - off - ENTRY_HEADER, e));
}

static int
entry_at(struct walk *w, uint64_t off, struct entry *e)
{
	uint8_t h[ENTRY_HEADER];
	int error;

	if (w->size < ENTRY_HEADER || off > w->size - ENTRY_HEADER)
		return (-EBADMSG);
	if ((error = read_exact(w, h, sizeof(h), off)) != 0)
		return (error);
	return (decode_at(w, h, off, e));
}

/*
 * The next place at or behind off where an entry's header is right; the file's
 * size when there is none.
 */
static int
find_entry(struct walk *w, uint64_t off, uint64_t *found)
{
	struct entry e;
	ssize_t got;

	while (off + ENTRY_HEADER <= w->size) {
		if ((got = w->p->os->ops->pread(
			 w->f, w->chunk, PACK_BLOCK, off)) < 0)
			return ((int)got);
		if (got < (ssize_t)ENTRY_HEADER)
			break;
		for (size_t i = 0; i + ENTRY_HEADER <= (size_t)got; i += 8) {
			if (off + i + ENTRY_HEADER <= w->size &&
			    decode_at(w, w->chunk + i, off + i, &e) == 0) {
				*found = off + i;
				return (0);
			}
		}
		off += ((uint64_t)got - ENTRY_HEADER + 8) & ~(uint64_t)7;
	}
	*found = w->size;
	return (0);
}

/* Where header and table cannot tell, the walk does. */
static int
check_entry(struct walk *w, uint64_t off, const struct body_ref *ref)
{
	struct pack_reader *r;
	int error;

	if (w->header && w->table)
		return (packs_check(w->p, ref));
	if ((error = pack_reader_at(w->p, w->f, off, ref, &r)) != 0)
		return (error);
	error = pack_reader_check(r);
	pack_reader_close(r);
	return (error);
}

static int
walk_entry(struct walk *w, uint64_t off, const struct entry *e)
{
	struct pack_entry out = { .good = true, .why = "" };
	int error;

	out.ref = (struct body_ref){
		.size = e->size, .offset = e->place, .pack = w->id
	};
	memcpy(out.ref.hash, e->hash, 16);
	out.stored = entry_len(e);
	if (w->check && (error = check_entry(w, off, &out.ref)) != 0) {
		if (error != -EBADMSG)
			return (error);
		out.good = false;
		out.why = "a block's checksum is wrong";
	}
	return (w->fn(w->arg, &out));
}

static int
walk_bad(struct walk *w, uint64_t off, uint64_t stored, bool torn)
{
	struct pack_entry out = {
		.good = false, .torn = torn, .stored = stored
	};

	out.why = off == 0 ? "the pack's header is damaged"
	    : torn         ? "unfinished entry at the end"
			   : "no entry begins here";
	out.ref.pack = w->id;
	out.ref.offset = off;
	return (w->fn(w->arg, &out));
}

static int
walk_table_bad(struct walk *w)
{
	struct pack_entry out = { .good = false,
		.table = true,
		.ref = { .pack = w->id, .offset = w->size },
		.why = "the table of places is damaged; compact makes "
		       "it anew" };

	return (w->fn(w->arg, &out));
}

/*
 * What the header and the table say, and where the entries end.  Without a
 * header it may be squeezed or not: what holds of those that are does of all.
 */
static int
walk_begin(struct walk *w)
{
	uint8_t h[PACK_HEADER];
	struct pack_head head;
	struct pack_table *t = NULL;
	int error = read_exact(w, h, sizeof(h), 0);

	memset(&head, 0, sizeof(head));
	if (error == 0)
		error = pack_header_check(h, sizeof(h), w->id, &head);
	if (error != 0 && error != -EBADMSG)
		return (error);
	w->header = error == 0;
	w->table = true;
	w->squeezed = !w->header || head.version == PACK_SQUEEZED;
	if (!w->squeezed)
		return (0);
	error = pack_table_read(w->p->os, w->f, w->id, &t);
	if (error == 0) {
		w->size = pack_table_start(t);
		error = pack_table_check(w->p->os, w->f, t);
		pack_table_free(t);
	}
	w->table = error == 0 || !w->header;
	return (error == -EBADMSG ? 0 : error);
}

static int
walk_pack(struct walk *w)
{
	uint64_t off = PACK_HEADER, next = 0;
	struct entry e;
	int error;

	if ((error = walk_begin(w)) != 0)
		return (error);
	if (!w->header) {
		/*
		 * A pack that was just being begun when the power went holds
		 * nothing.
		 */
		if ((error = find_entry(w, off, &next)) != 0 ||
		    (error = walk_bad(w, 0, next, next >= w->size)) != 0)
			return (error);
		if (next >= w->size)
			return (0);
	}
	if (!w->table && (error = walk_table_bad(w)) != 0)
		return (error);
	while (off < w->size) {
		if ((error = entry_at(w, off, &e)) == 0) {
			if ((error = walk_entry(w, off, &e)) != 0)
				return (error);
			off += (entry_len(&e) + 7) & ~(uint64_t)7;
			continue;
		}
		if (error != -EBADMSG)
			return (error);
		if ((error = find_entry(w, off + 8, &next)) != 0)
			return (error);
		/* That is the table. */
		if (!w->table && next >= w->size)
			return (0);
		/* What no entry follows may be a write that was never
		 * acknowledged (P1): if a message misses it, that shows there.
		 */
		if ((error = walk_bad(w, off, next - off, next >= w->size)) !=
		    0)
			return (error);
		off = next;
	}
	return (0);
}

int
pack_walk_find(
    struct packs *p, struct pack_file *file, uint64_t place, uint64_t *at)
{
	struct walk w = {
		.p = p, .id = file->id, .f = file->f, .squeezed = file->squeezed
	};
	uint64_t off = PACK_HEADER;
	struct os_stat st;
	struct entry e;
	int error;

	if ((error = p->os->ops->fstat(file->f, &st)) != 0)
		return (error);
	w.size = st.size;
	if ((w.chunk = malloc(PACK_BLOCK)) == NULL)
		return (-ENOMEM);
	for (error = -EBADMSG; off < w.size; error = -EBADMSG) {
		if ((error = entry_at(&w, off, &e)) == 0 && e.place == place) {
			*at = off;
			break;
		}
		if (error == 0)
			off += (entry_len(&e) + 7) & ~(uint64_t)7;
		else if (error != -EBADMSG ||
		    (error = find_entry(&w, off + 8, &off)) != 0)
			break;
	}
	free(w.chunk);
	return (error);
}

int
packs_walk(struct packs *p, bool check_blocks, pack_entry_fn *fn, void *arg)
{
	struct walk w = { .p = p, .check = check_blocks, .fn = fn, .arg = arg };
	uint32_t *ids = NULL;
	size_t n = 0;
	char path[PACK_PATH];
	struct os_stat st;
	int error;

	if ((error = packs_list(p, &ids, &n)) != 0)
		return (error);
	if ((w.chunk = malloc(PACK_BLOCK)) == NULL)
		error = -ENOMEM;
	for (size_t i = 0; i < n && error == 0; i++) {
		w.id = ids[i];
		pack_path(p, w.id, path);
		if ((error = p->os->ops->open(p->os, path, OS_READ, &w.f)) ==
		    0) {
			if ((error = p->os->ops->fstat(w.f, &st)) == 0) {
				w.size = st.size;
				error = walk_pack(&w);
			}
			p->os->ops->close(w.f);
		}
		if (error < 0 && error != -ENOMEM)
			log_error("%s/%s: cannot be read: %s",
			    p->os->ops->label(p->os), path, strerror(-error));
	}
	free(w.chunk);
	free(ids);
	return (error);
}
