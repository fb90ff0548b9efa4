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
 * Y3  When none stands for anything the next one goes to the start again, where
 *     there are zeros until then.
 * Y4  A file of this name has its whole size.
 */
#include "fs/view_synced.h"

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

#define NEW_NAME "scratch/synced.new"
#define SMALL_SIZE (512u << 10) /* of it, where only records without data go */
#define ZEROS (64u << 10)
#define TRIES 3

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
make_blocks(int fd)
{
	uint8_t *zeros = calloc(1, ZEROS);
	int error = zeros == NULL ? -ENOMEM : 0;

	for (uint64_t at = 0; error == 0 && at < SYNCED_SIZE; at += ZEROS)
		error = scratch_put_all(fd, zeros, ZEROS, at);
	free(zeros);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	return (error);
}

/* One that waits for the next mount stays. */
static int
make_file(struct view *v, int fd)
{
	struct stat st;
	int error;

	if (fstatat(v->dir, SYNCED_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return (-EEXIST);
	if ((error = make_blocks(fd)) != 0)
		return (error);
	if (renameat(v->dir, NEW_NAME, v->dir, SYNCED_NAME) != 0)
		return (-errno);
	return (scratch_sync_path(v, "scratch"));
}

static int
make(struct view *v)
{
	struct synced *y = calloc(1, sizeof(*y));
	int error;

	if (y == NULL)
		return (-ENOMEM);
	y->fd = openat(v->dir, NEW_NAME,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (y->fd < 0) {
		error = -errno;
		free(y);
		return (error);
	}
	if ((error = new_generation(y)) != 0 ||
	    (error = make_file(v, y->fd)) != 0) {
		(void)unlinkat(v->dir, NEW_NAME, 0);
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
	const uint64_t room = SYNCED_SIZE - SMALL_SIZE;
	struct buf b = BUF_INIT;
	size_t len = strlen(name), n = m == NULL ? 0 : m->len;
	int error;

	if (y->broken)
		return (-EIO);
	if (kind == RECORD_FILE &&
	    y->end + SYNCED_HEAD + len + n + SYNCED_SUM + 8 > room)
		return (-ENOSPC);
	if (y->end + SYNCED_HEAD + len + SYNCED_SUM + 8 > SYNCED_SIZE)
		return (-ENOSPC);
	buf_put_le32(&b, SYNCED_MAGIC);
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
		log_error(SYNCED_NAME ": %s; what is fsynced in tmp goes to a file of "
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
			view_await_sync(v);
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

int
synced_to_disk(struct view *v, struct scratch *s)
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
			return (synced_to_disk(v, s));
		error = put(v, s);
	}
	if (s->unlinked)
		return (0);
	return (error == 0 ? synced_flush(v) : synced_to_disk(v, s));
}

void
synced_end(struct view *v)
{
	struct synced *y = v->synced_file;

	if (y == NULL)
		return;
	/* Else the next mount needs it. */
	if (y->files == 0 && y->n_saved == 0)
		(void)unlinkat(v->dir, SYNCED_NAME, 0);
	(void)close(y->fd);
	free(y->saved);
	free(y);
	v->synced_file = NULL;
}
