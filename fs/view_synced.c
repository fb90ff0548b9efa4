/*
 * view_synced -- files in tmp that were fsynced and are still in memory: what
 * they held then is in one file for all of them, scratch/synced.
 *
 * A file for each would have to be made, named and removed again, and its
 * fsync writes its bytes, its inode and its directory.  Here an fsync is one
 * write into blocks that the file has already, and one flush for all who wait.
 *
 * And a delivery is durable by it: where nothing else has changed, the fsync of
 * a directory is one more record, and neither pack nor log is flushed for it.
 *
 * The file: records from the start on, each at a multiple of 8.
 *
 *	"SYN1" (le32), kind (le32): 1 file, 2 drop, 3 and 4 saved in cur, new,
 *	length of data (le32), of the name (le32), generation (le64), number of
 *	the record (le64), inode number (le64), seconds (le64) and nanoseconds
 *	(le32) of the time of change, mailbox (le32); name, in tmp or as saved;
 *	data; XXH3-64 of all that (le64); zeros.
 *
 * Y1  What follows the last record of a generation has another one, a random
 *     number: old records, or bytes of a mail.
 * Y2  A record stands for its file, or for its delivery, until a later one of
 *     that inode number, or a drop, or until the log has that number: of a
 *     message, or of one that was expunged.
 * Y3  When none stands for anything the next one goes to the start again.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"

#define FILE_NAME "scratch/synced"
#define FILE_SIZE (8u << 20)
#define SMALL_SIZE (512u << 10) /* of it, where only records without data go */
#define ZEROS (64u << 10)
#define RECORD_MAGIC 0x314e5953u /* "SYN1" */
#define HEAD 56u
#define SUM 8u
#define TRIES 3

enum record_kind {
	RECORD_FILE = 1,
	RECORD_DROP,
	RECORD_SAVED_CUR,
	RECORD_SAVED_NEW
};

struct synced {
	int fd; /* owned */
	uint64_t generation, number, end;
	size_t files; /* scratch files with synced set */
	/* owned: inode numbers of messages that are not yet durable */
	uint64_t *saved;
	size_t n_saved, cap_saved;
	/* Records put so far, and of them those that are durable. */
	uint64_t put, durable;
	uint64_t wanted, finished; /* group commit */
	bool flushing, broken;
	int error;
};

/* ---- the file ---- */

static int
new_generation(struct synced *y)
{
	y->end = 0;
	y->number = 0;
	return (getrandom(&y->generation, sizeof(y->generation), 0) ==
		    (ssize_t)sizeof(y->generation)
		? 0
		: -EIO);
}

/* Its blocks are written once, so that a flush has nothing else to write. */
static int
make_blocks(struct view *v, int fd)
{
	uint8_t *zeros = calloc(1, ZEROS);
	int error = zeros == NULL ? -ENOMEM : 0;

	for (uint64_t at = 0; error == 0 && at < FILE_SIZE; at += ZEROS)
		error = scratch_put_all(fd, zeros, ZEROS, at);
	free(zeros);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	return (error != 0 ? error : scratch_sync_path(v, "scratch"));
}

static int
make(struct view *v)
{
	struct synced *y = calloc(1, sizeof(*y));
	int error;

	if (y == NULL)
		return (-ENOMEM);
	y->fd = openat(v->dir, FILE_NAME,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (y->fd < 0) {
		error = -errno;
		free(y);
		return (error);
	}
	if ((error = make_blocks(v, y->fd)) != 0 ||
	    (error = new_generation(y)) != 0) {
		(void)unlinkat(v->dir, FILE_NAME, 0);
		(void)close(y->fd);
		free(y);
		return (error);
	}
	v->synced_file = y;
	return (0);
}

static int
put_record(struct synced *y, enum record_kind kind, uint64_t ino, uint32_t box,
    const char *name, const struct memory *m)
{
	const uint64_t room = FILE_SIZE - SMALL_SIZE;
	struct buf b = BUF_INIT;
	size_t len = strlen(name), n = m == NULL ? 0 : m->len;
	int error;

	if (y->broken)
		return (-EIO);
	if (kind == RECORD_FILE && y->end + HEAD + len + n + SUM + 8 > room)
		return (-ENOSPC);
	if (y->end + HEAD + len + SUM + 8 > FILE_SIZE)
		return (-ENOSPC);
	buf_put_le32(&b, RECORD_MAGIC);
	buf_put_le32(&b, kind);
	buf_put_le32(&b, (uint32_t)n);
	buf_put_le32(&b, (uint32_t)len);
	buf_put_le64(&b, y->generation);
	buf_put_le64(&b, y->number);
	buf_put_le64(&b, ino);
	buf_put_le64(&b, m == NULL ? 0 : (uint64_t)m->changed.tv_sec);
	buf_put_le32(&b, m == NULL ? 0 : (uint32_t)m->changed.tv_nsec);
	buf_put_le32(&b, box);
	buf_put(&b, name, len);
	if (n > 0)
		buf_put(&b, m->p, n);
	if (b.error == 0)
		buf_put_le64(&b, xxh3_64(b.data, b.len));
	while (b.error == 0 && b.len % 8 != 0)
		buf_put_u8(&b, 0);
	if ((error = b.error) == 0)
		error = scratch_put_all(y->fd, b.data, b.len, y->end);
	if (error == 0) {
		y->end += b.len;
		y->number++;
		y->put++;
	}
	buf_fini(&b);
	return (error);
}

/* ---- what need not be kept any more ---- */

/* After an error what it holds is not to be trusted; all else is as before. */
static void
give_up(struct synced *y, int error)
{
	if (!y->broken)
		log_error(FILE_NAME ": %s; what is fsynced in tmp goes to a file of "
				    "its own", strerror(-error));
	y->broken = true;
}

static void
drop(struct view *v, uint64_t ino)
{
	static const uint8_t none[8];
	struct synced *y = v->synced_file;
	int error;

	if (y->broken)
		return;
	if (y->files == 0 && y->n_saved == 0) {
		error = scratch_put_all(y->fd, none, sizeof(none), 0);
		if (error == 0)
			error = new_generation(y);
	} else
		error = put_record(y, RECORD_DROP, ino, 0, "", NULL);
	if (error != 0)
		give_up(y, error);
}

void
synced_drop(struct view *v, struct scratch *s)
{
	if (!s->synced)
		return;
	s->synced = false;
	v->synced_file->files--;
	drop(v, s->node);
}

void
synced_named(struct view *v, const struct scratch *s, uint32_t box,
    enum box_part part, const char *name)
{
	if (put_record(v->synced_file,
		part == PART_NEW ? RECORD_SAVED_NEW : RECORD_SAVED_CUR, s->node,
		box, name, NULL) != 0)
		v->changed = true;
}

void
synced_saved(struct view *v, struct scratch *s)
{
	struct synced *y = v->synced_file;
	uint64_t *grown;
	size_t cap;

	s->synced = false;
	y->files--;
	if (y->n_saved == y->cap_saved) {
		cap = y->cap_saved == 0 ? 64 : y->cap_saved * 2;
		grown = realloc(y->saved, cap * sizeof(*grown));
		if (grown == NULL) {
			/* The record just stays. */
			y->broken = true;
			return;
		}
		y->saved = grown;
		y->cap_saved = cap;
	}
	y->saved[y->n_saved++] = s->node;
}

size_t
synced_waiting(const struct view *v)
{
	return (v->synced_file == NULL ? 0 : v->synced_file->n_saved);
}

void
synced_durable(struct view *v, size_t n)
{
	struct synced *y = v->synced_file;

	if (n == 0)
		return;
	if (y->files == 0 && y->n_saved == n) {
		y->n_saved = 0;
		drop(v, 0);
		return;
	}
	for (size_t i = 0; i < n; i++)
		drop(v, y->saved[i]);
	y->n_saved -= n;
	memmove(y->saved, y->saved + n, y->n_saved * sizeof(*y->saved));
}

/* ---- fsync ---- */

static int
flush_once(struct view *v, struct synced *y)
{
	uint64_t wanted = y->wanted, put = y->put;
	int error = 0;

	y->flushing = true;
	view_unlock(v);
	if (fdatasync(y->fd) != 0)
		error = -errno;
	view_lock(v);
	if (error == 0)
		y->durable = put;
	else
		give_up(y, error);
	y->error = error;
	y->finished = wanted;
	y->flushing = false;
	pthread_cond_broadcast(&v->synced);
	return (error);
}

int
synced_flush(struct view *v)
{
	struct synced *y = v->synced_file;
	uint64_t mine;
	int error = 0;

	if (y->broken)
		return (-EIO);
	if (y->durable == y->put)
		return (0);
	mine = ++y->wanted;
	while (y->finished < mine) {
		if (y->flushing) {
			pthread_cond_wait(&v->synced, &v->lock);
			error = y->error;
		} else
			error = flush_once(v, y);
	}
	return (error);
}

bool
synced_covers(const struct view *v)
{
	return (v->synced_file != NULL && !v->synced_file->broken);
}

static int
put(struct view *v, struct scratch *s)
{
	int error;

	if (v->synced_file == NULL) {
		if (v->no_synced_file)
			return (-EIO);
		/* A full disk: not again for each fsync. */
		if ((error = make(v)) != 0) {
			v->no_synced_file = true;
			return (error);
		}
	}
	error = put_record(v->synced_file, RECORD_FILE, s->node, s->box,
	    s->name, s->memory);
	if (error != 0)
		return (error);
	if (!s->synced)
		v->synced_file->files++;
	s->synced = s->as_synced = true;
	return (0);
}

/* It is full.  What still lies in tmp is quiet, and there is not much of it. */
static int
make_room(struct view *v)
{
	for (struct scratch *s = v->scratch; s != NULL; s = s->next)
		if (s->synced)
			(void)memory_to_disk(v, s);
	return (view_sync_locked(v));
}

static int
to_disk(struct view *v, struct scratch *s)
{
	int error = memory_to_disk(v, s);

	if (error == 0 && fsync(s->fd) != 0)
		error = -errno;
	return (error != 0 ? error : scratch_sync_dir(v, s->box));
}

int
synced_fsync(struct view *v, struct scratch *s)
{
	uint64_t node = s->node;
	int error = s->unlinked ? 0 : put(v, s);

	for (int i = 0; i < TRIES && error == -ENOSPC &&
	     v->synced_file != NULL; i++) {
		if ((error = make_room(v)) != 0)
			return (error);
		/* Meanwhile it may have become anything. */
		s = scratch_by_node(v, node);
		if (s == NULL || s->unlinked || s->kind != SCRATCH_FILE)
			return (view_sync_locked(v));
		if (s->memory == NULL)
			return (to_disk(v, s));
		error = put(v, s);
	}
	if (s->unlinked)
		return (0);
	return (error == 0 ? synced_flush(v) : to_disk(v, s));
}

/* ---- after a crash ---- */

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
	UT_hash_handle hh;
};

/* The record at p; the length of it, 0: there is none. */
static size_t
parse(const uint8_t *p, size_t n, uint64_t *generation, uint64_t number,
    enum record_kind *kind, struct found *f)
{
	struct rd r;
	uint64_t gen, all;

	if (n < HEAD + SUM)
		return (0);
	rd_init(&r, p, HEAD);
	if (rd_le32(&r) != RECORD_MAGIC)
		return (0);
	*kind = (enum record_kind)rd_le32(&r);
	f->len = rd_le32(&r);
	f->name_len = rd_le32(&r);
	gen = rd_le64(&r);
	if ((number != 0 && gen != *generation) || rd_le64(&r) != number)
		return (0);
	f->ino = rd_le64(&r);
	f->changed.tv_sec = (time_t)rd_le64(&r);
	f->changed.tv_nsec = (long)rd_le32(&r);
	f->box = rd_le32(&r);
	all = (uint64_t)HEAD + f->name_len + f->len;
	if (all > n - SUM)
		return (0);
	rd_init(&r, p + all, SUM);
	if (rd_le64(&r) != xxh3_64(p, (size_t)all))
		return (0);
	f->name = p + HEAD;
	f->data = f->name + f->name_len;
	*generation = gen;
	all = (all + SUM + 7) & ~(uint64_t)7;
	return (all > n ? n : (size_t)all);
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
		: to_disk(v, s));
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

static int
take_record(
    struct found **all, enum record_kind kind, const struct found *here)
{
	struct found *f;

	if (kind == RECORD_SAVED_CUR || kind == RECORD_SAVED_NEW) {
		HASH_FIND(hh, *all, &here->ino, sizeof(here->ino), f);
		if (f == NULL)
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
recover_all(struct view *v, const uint8_t *p, size_t n)
{
	struct found *all = NULL, *f, *next, here = { 0 };
	struct back back = { 0, 0 };
	uint64_t generation = 0, number = 0;
	enum record_kind kind;
	size_t at = 0, len;
	int error = 0;

	while (error == 0 &&
	    (len = parse(
		 p + at, n - at, &generation, number, &kind, &here)) != 0) {
		at += len;
		number++;
		error = take_record(&all, kind, &here);
	}
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

/* What cannot be brought back now waits for the next mount. */
void
synced_recover(struct view *v)
{
	uint8_t *p = NULL;
	size_t n = 0;
	ssize_t got;
	int fd, error = 0;

	fd = openat(v->dir, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		error = -errno;
	else if ((p = malloc(FILE_SIZE)) == NULL)
		error = -ENOMEM;
	while (error == 0 && n < FILE_SIZE) {
		got = pread(fd, p + n, FILE_SIZE - n, (off_t)n);
		if (got < 0 && errno != EINTR)
			error = -errno;
		else if (got == 0)
			break;
		else if (got > 0)
			n += (size_t)got;
	}
	if (fd >= 0)
		(void)close(fd);
	if (error == 0)
		error = recover_all(v, p, n);
	free(p);
	if (error == 0 && unlinkat(v->dir, FILE_NAME, 0) != 0)
		error = -errno;
	if (error != 0)
		log_error(FILE_NAME ": what was fsynced in tmp cannot be brought "
				    "back: %s; the next mount tries again",
		    strerror(-error));
}

void
synced_end(struct view *v)
{
	struct synced *y = v->synced_file;

	if (y == NULL)
		return;
	/* Else the next mount needs it. */
	if (y->files == 0 && y->n_saved == 0)
		(void)unlinkat(v->dir, FILE_NAME, 0);
	(void)close(y->fd);
	free(y->saved);
	free(y);
	v->synced_file = NULL;
}
