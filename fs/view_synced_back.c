/*
 * view_synced_back -- what a mount that ended without its end has left in
 * scratch/synced: files are in tmp again, messages delivered again.
 *
 * A record that is damaged costs what it says and no more: the next one of its
 * generation is looked for.  What may have been lost with it is said, and the
 * file set aside.
 */
#include "fs/view_synced.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"

#define RESUME_TRIES 1000 /* what only looks like a record is in mails */
#define ASIDE_MAX 100

struct found {
	uint64_t ino;
	uint32_t box;
	struct timespec changed;
	const uint8_t *name, *data; /* borrowed */
	size_t name_len, len;
	/* where it was saved to, PART_TMP: nowhere; borrowed */
	enum box_part part;
	uint32_t saved_box;
	const uint8_t *saved;
	size_t saved_len;
	unsigned gaps; /* before it */
	UT_hash_handle hh;
};

/* A generation's records, one after the other. */
struct reading {
	const uint8_t *p; /* borrowed */
	size_t n, at;
	uint64_t generation, number; /* of the next; 0: not known yet */
	/* How often records had to be left out. */
	unsigned gaps;
	/* The file is cut, or ends in what looks like a record. */
	bool broken;
	/* The first is left out: are these of the last generation? */
	bool unsure;
};

struct place {
	uint64_t generation, number;
	size_t len;
};

/* What is there, right or not; false: no room for a record. */
static bool
head_at(const struct reading *r, size_t at, struct place *w, uint32_t *kind,
    struct found *f)
{
	struct rd b;

	if (at > r->n || r->n - at < SYNCED_HEAD + SYNCED_SUM)
		return (false);
	rd_init(&b, r->p + at, SYNCED_HEAD);
	w->len = rd_le32(&b) == SYNCED_MAGIC;
	*kind = rd_le32(&b);
	f->len = rd_le32(&b);
	f->name_len = rd_le32(&b);
	w->generation = rd_le64(&b);
	w->number = rd_le64(&b);
	f->ino = rd_le64(&b);
	f->changed.tv_sec = (time_t)rd_le64(&b);
	f->changed.tv_nsec = (long)rd_le32(&b);
	f->box = rd_le32(&b);
	f->name = r->p + at + SYNCED_HEAD;
	f->data = f->name + f->name_len;
	return (true);
}

/* Whether the record at a place is whole; w->len is its length then. */
static bool
whole_at(const struct reading *r, size_t at, struct place *w,
    const struct found *f)
{
	uint64_t all = (uint64_t)SYNCED_HEAD + f->name_len + f->len;
	struct rd b;

	if (w->len == 0 || all > r->n - at - SYNCED_SUM)
		return (false);
	rd_init(&b, r->p + at + all, SYNCED_SUM);
	if (rd_le64(&b) != xxh3_64(r->p + at, (size_t)all))
		return (false);
	all = (all + SYNCED_SUM + 7) & ~(uint64_t)7;
	w->len = all > r->n - at ? r->n - at : (size_t)all;
	return (true);
}

static bool
begins_with_zeros(const struct reading *r)
{
	static const uint8_t none[8];

	return (r->n < sizeof(none) || memcmp(r->p, none, sizeof(none)) == 0);
}

/*
 * Behind a record that is bad: the next good one of its generation.  Of what a
 * bad first one says something is right, unless all of it is gone.
 */
static bool
resume(struct reading *r, uint32_t *kind, struct found *f)
{
	struct place bad = { 0 }, w;
	struct found b = { 0 };
	unsigned tries = 0;
	uint32_t ignored;
	size_t at, end;

	if (!head_at(r, r->at, &bad, &ignored, &b))
		return (false);
	end = r->at + ((SYNCED_HEAD + b.name_len + b.len + SYNCED_SUM + 7) & ~(size_t)7);
	for (at = r->at + 8; head_at(r, at, &w, kind, f); at += 8) {
		if (w.len == 0 || w.number <= r->number ||
		    (r->at > 0 && w.generation != r->generation) ||
		    tries++ > RESUME_TRIES || !whole_at(r, at, &w, f))
			continue;
		r->unsure = r->at == 0 && w.generation != bad.generation &&
		    !(at == end && w.number == 1);
		r->gaps++;
		r->at = at + w.len;
		r->generation = w.generation;
		r->number = w.number + 1;
		return (true);
	}
	/* An older generation's, where this one has ended (Y1). */
	if (r->at > 0 && bad.generation != r->generation &&
	    whole_at(r, r->at, &bad, &b))
		return (false);
	/* A write that was not finished, or the last one is damaged. */
	r->broken = r->broken || r->at == 0 ||
	    (bad.len != 0) + (bad.generation == r->generation) +
		    (bad.number == r->number) > 1;
	return (false);
}

/* false: there is none. */
static bool
next_record(struct reading *r, uint32_t *kind, struct found *f)
{
	struct place w;

	if (r->at == 0 && begins_with_zeros(r))
		return (false);
	if (!head_at(r, r->at, &w, kind, f))
		return (false);
	if (w.number != r->number ||
	    (r->at > 0 && w.generation != r->generation) ||
	    !whole_at(r, r->at, &w, f))
		return (resume(r, kind, f));
	r->at += w.len;
	r->generation = w.generation;
	r->number++;
	return (true);
}

static bool
is_name(const uint8_t *p, size_t n)
{
	return (n > 0 && n <= NAME_MAX && memchr(p, '/', n) == NULL &&
	    memchr(p, '\0', n) == NULL && !(n == 1 && p[0] == '.') &&
	    !(n == 2 && p[0] == '.' && p[1] == '.'));
}

static char *
text(struct arena *a, const uint8_t *p, size_t n)
{
	return (is_name(p, n) ? arena_strndup(a, (const char *)p, n) : NULL);
}

struct back {
	unsigned delivered, in_tmp;
};

/* In memory, as it was. */
static int
make_again(struct view *v, const struct found *f, uint32_t box,
    const char *name, struct scratch **out)
{
	char *path = scratch_path(box, 't', name);
	struct scratch *s;
	ssize_t put;
	int error;

	error = scratch_new(v, f->ino, SCRATCH_FILE, box, path, &s);
	if (error != 0)
		return (error);
	if ((s->memory = memory_take(v)) == NULL)
		error = -ENOMEM;
	else if ((put = memory_write(s->memory, f->data, f->len, 0)) < 0)
		error = (int)put;
	else
		error = scratch_take_name(v, s, box, PART_TMP, name);
	if (error != 0) {
		scratch_drop(v, s, true);
		return (error);
	}
	s->memory->changed = f->changed;
	*out = s;
	return (0);
}

/* A real file in tmp, unless there is one of that name: it is not older. */
static int
leave_in_tmp(struct view *v, struct scratch *s)
{
	struct stat st;

	return (fstatat(v->dir, s->path, &st, AT_SYMLINK_NOFOLLOW) == 0
		? 0
		: synced_to_disk(v, s));
}

static int
recover_one(struct view *v, const struct found *f, struct back *back)
{
	struct arena a = ARENA_INIT;
	uint32_t box = box_by_id(v, f->box) != NULL ? f->box : v->inbox;
	char *name = text(&a, f->name, f->name_len), *saved = NULL;
	struct scratch *s;
	int error = 0;

	if (f->part != PART_TMP && box_by_id(v, f->saved_box) != NULL)
		saved = text(&a, f->saved, f->saved_len);
	if (name == NULL || (error = make_again(v, f, box, name, &s)) != 0)
		goto out;
	/* Renaming it drops it; a name that is taken leaves it in tmp. */
	if (saved != NULL &&
	    scratch_rename(v, s, f->saved_box, f->part, saved) == 0)
		back->delivered++;
	else {
		if ((error = leave_in_tmp(v, s)) == 0)
			back->in_tmp++;
		scratch_drop(v, s, true);
	}
out:
	arena_fini(&a);
	return (error);
}

static void
forget(struct found **all, uint64_t ino)
{
	struct found *f;

	HASH_FIND(hh, *all, &ino, sizeof(ino), f);
	if (f == NULL)
		return;
	HASH_DEL(*all, f);
	free(f);
}

/*
 * Where records were left out before it says so, what was saved may have been
 * something else: it is left in tmp.
 */
static int
take_record(struct found **all, const struct reading *r, uint32_t kind,
    const struct found *here)
{
	struct found *f;

	if (kind == RECORD_SAVED_CUR || kind == RECORD_SAVED_NEW) {
		HASH_FIND(hh, *all, &here->ino, sizeof(here->ino), f);
		if (f == NULL || f->gaps != r->gaps || r->unsure)
			return (0);
		f->part = kind == RECORD_SAVED_NEW ? PART_NEW : PART_CUR;
		f->saved_box = here->box;
		f->saved = here->name;
		f->saved_len = here->name_len;
		return (0);
	}
	forget(all, here->ino);
	if (kind != RECORD_FILE)
		return (0);
	if ((f = malloc(sizeof(*f))) == NULL)
		return (-ENOMEM);
	*f = *here;
	f->part = PART_TMP;
	f->gaps = r->gaps;
	HASH_ADD(hh, *all, ino, sizeof(f->ino), f);
	return (0);
}

static int
forget_expunged(void *arg, const struct expunged *e)
{
	struct found **all = arg;

	forget(all, e->msg.ino);
	return (*all == NULL ? 1 : 0);
}

/* Those that the log knows of (Y2). */
static int
forget_known(struct view *v, struct found **all)
{
	struct found *f, *next;
	int error = 0;
	unsigned n;

	HASH_ITER (hh, *all, f, next) {
		store_reserve_ino(v->store, f->ino);
		error = store_count_ino(v->store, f->ino, &n);
		if (error != 0)
			return (error);
		if (n > 0)
			forget(all, f->ino);
	}
	if (*all != NULL)
		error = store_expunged_list(v->store, 0, forget_expunged, all);
	return (error < 0 ? error : 0);
}

static int
recover_all(struct view *v, struct reading *r)
{
	struct found *all = NULL, *f, *next, here = { 0 };
	struct back back = { 0, 0 };
	uint32_t kind;
	int error = 0;

	while (error == 0 && next_record(r, &kind, &here))
		error = take_record(&all, r, kind, &here);
	if (error == 0)
		error = forget_known(v, &all);
	HASH_ITER (hh, all, f, next) {
		if (error == 0)
			error = recover_one(v, f, &back);
		HASH_DEL(all, f);
		free(f);
	}
	/* What was delivered again has to be as durable as it was. */
	if (error == 0) {
		view_lock(v);
		error = view_sync_locked(v);
		view_unlock(v);
	}
	if (back.delivered > 0 || back.in_tmp > 0)
		log_warning("the last mount ended without its end: of what was "
			    "fsynced, %u messages are delivered again and %u "
			    "files are in tmp again",
		    back.delivered, back.in_tmp);
	return (error);
}

/* For whoever can read more out of it than we. */
static int
set_aside(struct view *v)
{
	struct stat st;
	char to[32];
	unsigned i = 0;

	if (mkdirat(v->dir, "damaged", 0700) != 0 && errno != EEXIST)
		return (-errno);
	do
		(void)snprintf(to, sizeof(to), "damaged/synced-%u", ++i);
	while (i < ASIDE_MAX &&
	    fstatat(v->dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0);
	if (renameat(v->dir, SYNCED_NAME, v->dir, to) != 0)
		return (-errno);
	log_error(SYNCED_NAME ": damaged: what was fsynced in tmp, or delivered "
			      "since, may not all be back; it is set aside as %s",
	    to);
	return (0);
}

static int
read_all(int fd, uint8_t *p, size_t *n)
{
	ssize_t got;

	*n = 0;
	while (*n < SYNCED_SIZE) {
		got = pread(fd, p + *n, SYNCED_SIZE - *n, (off_t)*n);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return (-errno);
		*n += got > 0 ? (size_t)got : 0;
	}
	return (0);
}

/* What cannot be brought back now waits for the next mount. */
void
synced_recover(struct view *v)
{
	struct reading r = { 0 };
	uint8_t *p = NULL;
	int fd, error = 0;

	fd = openat(v->dir, SYNCED_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		error = -errno;
	else if ((p = malloc(SYNCED_SIZE)) == NULL)
		error = -ENOMEM;
	else
		error = read_all(fd, p, &r.n);
	if (fd >= 0)
		(void)close(fd);
	r.p = p;
	r.broken =
	    r.n < SYNCED_SIZE && (r.n < 8 || !begins_with_zeros(&r)); /* Y4 */
	if (error == 0)
		error = recover_all(v, &r);
	free(p);
	if (error == 0 && (r.broken || r.gaps > 0))
		error = set_aside(v);
	else if (error == 0 && unlinkat(v->dir, SYNCED_NAME, 0) != 0)
		error = -errno;
	if (error != 0)
		log_error(SYNCED_NAME ": what was fsynced in tmp cannot be brought "
				    "back: %s; the next mount tries again",
		    strerror(-error));
}
