/*
 * pack_squeeze -- compressing what was appended raw: a whole pack is written
 * anew beside the old file and takes its name (pack.h, P4).
 *
 * state x fields: from begin on id; while entries are copied (until copied) in,
 * out, tools; after run has given 0 the new file is whole and durable and has
 * its temporary name; after swap it has the pack's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "store/pack_internal.h"

struct packs_squeeze {
	struct packs *p; /* borrowed */
	uint32_t id;
	atomic_bool stop;
	bool copied, swapped;
	int error; /* of run */
	struct os_file *in, *out; /* owned */
	uint64_t size, at; /* of the old file; where in it */
	uint64_t end; /* of the new one */
	struct pack_tools *tools; /* owned */
	struct buf places;
	char path[PACK_PATH]; /* of the new file, until swap */
};

/* ---- what waits ---- */

void
pack_waiting_add(struct packs *p, uint32_t id, uint64_t raw)
{
	struct pack_waiting *v = p->waiting;

	if (p->n_waiting == p->cap_waiting) {
		size_t cap = p->cap_waiting == 0 ? 8 : p->cap_waiting * 2;

		if ((v = realloc(v, cap * sizeof(*v))) == NULL)
			return;
		p->waiting = v;
		p->cap_waiting = cap;
	}
	v[p->n_waiting++] = (struct pack_waiting){ .id = id, .raw = raw };
}

void
pack_waiting_drop(struct packs *p, uint32_t id)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_waiting; i++)
		if (p->waiting[i].id != id)
			p->waiting[n++] = p->waiting[i];
	p->n_waiting = n;
}

void
packs_raw(const struct packs *p, struct packs_raw *out)
{
	*out = (struct packs_raw){ .appended = p->appended };
	for (size_t i = 0; i < p->n_waiting; i++)
		out->sealed += p->waiting[i].raw;
	out->bytes = out->sealed + p->raw;
}

/* *size: of the file, when the hint is set; else 0. */
static int
look(struct packs *p, uint32_t id, uint64_t *size)
{
	struct os *os = p->os;
	uint8_t h[PACK_HEADER];
	struct pack_head head;
	struct os_file *f;
	struct os_stat st;
	char path[PACK_PATH];
	ssize_t n;
	int error;

	*size = 0;
	pack_path(p, id, path);
	if ((error = os->ops->open(os, path, OS_READ, &f)) != 0)
		return (error == -ENOENT ? 0 : error);
	if ((n = os->ops->pread(f, h, sizeof(h), 0)) < 0)
		error = (int)n;
	else if (pack_header_check(h, (size_t)n, id, &head) == 0 && head.hint &&
	    head.version != PACK_SQUEEZED &&
	    (error = os->ops->fstat(f, &st)) == 0)
		*size = st.size;
	os->ops->close(f);
	return (error);
}

bool
packs_raw_hint(struct packs *p, uint32_t id)
{
	uint64_t size;

	return (look(p, id, &size) == 0 && size > 0);
}

int
packs_raw_look(struct packs *p)
{
	uint64_t size;
	uint32_t id;
	int error;

	if (!p->listed_old) {
		if ((error = packs_list(p, &p->old, &p->n_old)) != 0)
			return (error);
		p->listed_old = true;
	}
	if (p->at_old < p->n_old && p->old[p->at_old] <= p->last_old) {
		id = p->old[p->at_old++];
		if ((error = look(p, id, &size)) != 0)
			return (error);
		if (size > 0)
			pack_waiting_add(p, id, size);
		return (1);
	}
	free(p->old);
	p->old = NULL;
	p->n_old = p->at_old = 0;
	return (0);
}

/* ---- begin ---- */

/* The one with the most; 0: none. */
static uint32_t
choose(const struct packs *p)
{
	uint64_t most = p->raw;
	uint32_t id = p->raw > 0 ? p->pack : 0;

	for (size_t i = 0; i < p->n_waiting; i++)
		if (p->waiting[i].raw >= most) {
			most = p->waiting[i].raw;
			id = p->waiting[i].id;
		}
	return (id);
}

int
packs_squeeze_begin(struct packs *p, struct packs_squeeze **out)
{
	struct packs_squeeze *q;
	uint32_t id = choose(p);
	int error;

	if (p->rdonly || p->poisoned)
		return (p->rdonly ? -EROFS : -EIO);
	if (p->squeeze != NULL)
		return (-EBUSY);
	if (id == 0)
		return (-EALREADY);
	if (p->file != NULL && p->pack == id) {
		if (p->syncing || packs_dirty(p))
			return (-EAGAIN);
		if ((error = packs_seal(p)) != 0)
			return (error);
	}
	if ((q = calloc(1, sizeof(*q))) == NULL)
		return (-ENOMEM);
	if ((error = pack_tools_new(&q->tools)) != 0) {
		free(q);
		return (error);
	}
	q->p = p;
	q->id = id;
	(void)snprintf(
	    q->path, sizeof(q->path), "%s/%s", p->dir, PACK_SQUEEZE_PATH);
	p->squeeze = q;
	*out = q;
	return (0);
}

void
packs_squeeze_stop(struct packs *p)
{
	if (p->squeeze != NULL)
		atomic_store(&p->squeeze->stop, true);
}

/* ---- run ---- */

static int
open_files(struct packs_squeeze *q)
{
	struct packs *p = q->p;
	struct buf b = BUF_INIT;
	struct os_stat st;
	char path[PACK_PATH];
	int error;

	pack_path(p, q->id, path);
	if ((error = p->os->ops->open(p->os, path, OS_READ, &q->in)) != 0) {
		q->in = NULL;
		return (error);
	}
	if ((error = p->os->ops->fstat(q->in, &st)) != 0)
		return (error);
	/* Places are 32 bits in the table and in an entry's header. */
	if (st.size / 8 >= UINT32_MAX)
		return (-EBADMSG);
	q->size = st.size;
	error = p->os->ops->open(
	    p->os, q->path, OS_WRITE | OS_CREATE | OS_TRUNC, &q->out);
	if (error != 0) {
		q->out = NULL;
		return (error);
	}
	pack_header_put(&b, PACK_SQUEEZED, q->id, false);
	if ((error = b.error) == 0)
		error = p->os->ops->pwrite(q->out, b.data, b.len, 0);
	buf_fini(&b);
	q->at = q->end = PACK_HEADER;
	return (error);
}

static int
raw_of(void *arg, void *buf, size_t n, uint64_t off)
{
	ssize_t got = pack_reader_get(arg, buf, n, off);

	return (got < 0 ? (int)got : (size_t)got == n ? 0 : -EBADMSG);
}

/* The entry at q->at, all of whose bytes have to be right. */
static int
copy_entry(struct packs_squeeze *q, uint64_t *bytes)
{
	struct packs *p = q->p;
	struct entry_out o = { .os = p->os,
		.f = q->out,
		.at = q->end,
		.pack = q->id,
		.place = q->at,
		.level = p->level,
		.kept = pack_reader_kept };
	struct pack_reader *r;
	struct body_ref ref = { .offset = q->at, .pack = q->id };
	uint8_t h[ENTRY_HEADER];
	struct entry e;
	uint64_t len;
	ssize_t got;
	int error;

	if ((got = p->os->ops->pread(q->in, h, sizeof(h), q->at)) < 0)
		return ((int)got);
	if (got != (ssize_t)sizeof(h) ||
	    entry_decode(h, q->id, q->at, q->size - q->at - ENTRY_HEADER, &e) !=
		0)
		return (-EBADMSG);
	ref.size = o.size = e.size;
	memcpy(ref.hash, e.hash, sizeof(ref.hash));
	o.hash = ref.hash;
	if ((error = pack_reader_at(p, q->in, q->at, &ref, &r)) != 0)
		return (error);
	if ((error = pack_reader_check(r)) == 0)
		error = entry_write(&o, q->tools, raw_of, r, &len);
	pack_reader_close(r);
	if (error != 0)
		return (error);
	pack_table_add(&q->places, q->at, q->end);
	q->at += (entry_len(&e) + 7) & ~(uint64_t)7;
	q->end += (len + 7) & ~(uint64_t)7;
	*bytes = entry_len(&e);
	return (q->places.error);
}

static int
finish_file(struct packs_squeeze *q)
{
	struct buf b = BUF_INIT;
	int error;

	pack_table_put(&b, &q->places, q->id, q->end);
	if ((error = b.error) == 0)
		error = q->p->os->ops->pwrite(q->out, b.data, b.len, q->end);
	buf_fini(&b);
	return (error != 0 ? error : q->p->os->ops->sync(q->out));
}

static void
close_copying(struct packs_squeeze *q)
{
	if (q->in != NULL)
		q->p->os->ops->close(q->in);
	if (q->out != NULL)
		q->p->os->ops->close(q->out);
	q->in = q->out = NULL;
	pack_tools_free(q->tools);
	q->tools = NULL;
	buf_fini(&q->places);
}

static int
run(struct packs_squeeze *q, uint64_t bytes)
{
	uint64_t done = 0, n = 0;
	int error;

	if (q->in == NULL && (error = open_files(q)) != 0)
		return (error);
	while (q->at < q->size && done < bytes) {
		if (atomic_load(&q->stop))
			return (-ECANCELED);
		if ((error = copy_entry(q, &n)) != 0)
			return (error);
		done += n;
	}
	if (q->at < q->size)
		return (1);
	return (finish_file(q));
}

/* The pack stays as it is. */
static void
give_up(struct packs_squeeze *q, int error)
{
	struct packs *p = q->p;

	q->error = error;
	if (q->out != NULL)
		(void)p->os->ops->unlink(p->os, q->path);
	if (error == -EBADMSG)
		log_debug("%s/%s/%08" PRIx32 ".pack: at byte %" PRIu64
			  ": damaged, so it is not compressed",
		    p->os->ops->label(p->os), p->dir, q->id, q->at);
	else if (error != -ECANCELED && error != -ENOMEM && !p->squeeze_said) {
		pack_complain(p, q->id,
		    "cannot be compressed, is tried again later", error);
		p->squeeze_said = true;
	}
}

int
packs_squeeze_run(struct packs_squeeze *q, uint64_t bytes)
{
	int error;

	if (q->error != 0 || q->copied)
		return (q->error);
	if ((error = run(q, bytes)) == 1)
		return (1);
	/* A compaction that came meanwhile has removed it. */
	if (error != 0 && atomic_load(&q->stop))
		error = -ECANCELED;
	if (error != 0)
		give_up(q, error);
	close_copying(q);
	q->copied = error == 0;
	return (error);
}

/* ---- swap, end ---- */

int
packs_squeeze_swap(struct packs_squeeze *q)
{
	struct packs *p = q->p;
	char path[PACK_PATH];
	int error = q->error;

	p->squeeze = NULL;
	if (error == 0 && (!q->copied || atomic_load(&q->stop)))
		error = -ECANCELED;
	if (error == -EBADMSG)
		pack_waiting_drop(p, q->id);
	if (error != 0)
		return (error);
	pack_path(p, q->id, path);
	if ((error = p->os->ops->rename(p->os, q->path, path)) != 0) {
		if (!p->squeeze_said)
			pack_complain(p, q->id,
			    "cannot be replaced, is tried again later", error);
		p->squeeze_said = true;
		return (error);
	}
	q->swapped = true;
	p->squeeze_said = false;
	pack_waiting_drop(p, q->id);
	/* Files that are open are as good, but take room. */
	atomic_fetch_add(&p->replaced, 1);
	pack_file_drop_spares(p);
	return (0);
}

int
packs_squeeze_end(struct packs_squeeze *q)
{
	struct packs *p = q->p;
	int error = 0;

	/*
	 * Either file would do after a loss of power, but one of them has to be
	 * there, also on a disk that does not keep an order.
	 */
	if (q->swapped)
		error = p->os->ops->sync_dir(p->os, p->dir);
	else if (q->copied || q->out != NULL)
		(void)p->os->ops->unlink(p->os, q->path);
	if (error != 0)
		pack_complain(p, q->id, "cannot be made durable", error);
	close_copying(q);
	free(q);
	return (error);
}
