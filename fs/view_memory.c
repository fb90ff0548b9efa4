/*
 * view_memory -- files in tmp that nobody has asked to be durable: they are in
 * memory, since most are a message a moment later, or gone.
 *
 * They go to the disk with fsync, when they are large, when there are many, when
 * they have been quiet for some seconds, and when the mount ends.  Who has not
 * called fsync was promised nothing: a delivery's bytes are in a pack before its
 * rename is answered.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define LARGE (256u << 10)
#define QUIET_MS 5000
#define CHUNK (64u << 10)

int
memory_take(struct view *v)
{
	int fd;

	if (v->n_memory > 0)
		return (v->memory[--v->n_memory]);
	fd = memfd_create("dsyncfs-tmp", MFD_CLOEXEC);
	return (fd < 0 ? -errno : fd);
}

/* Making one costs more than emptying it. */
void
memory_give(struct view *v, int fd)
{
	if (v->n_memory < MEMORY_SPARE && ftruncate(fd, 0) == 0)
		v->memory[v->n_memory++] = fd;
	else
		(void)close(fd);
}

void
memory_free(struct view *v)
{
	while (v->n_memory > 0)
		(void)close(v->memory[--v->n_memory]);
}

/* A short write is followed by one that says why. */
static int
copy(int from, int to)
{
	char *p = malloc(CHUNK);
	off_t at = 0;
	ssize_t got;
	int error = p == NULL ? -ENOMEM : 0;

	while (error == 0 && (got = pread(from, p, CHUNK, at)) != 0) {
		if (got > 0)
			got = pwrite(to, p, (size_t)got, at);
		if (got > 0)
			at += got;
		else if (got == 0 || errno != EINTR)
			error = got == 0 ? -EIO : -errno;
	}
	free(p);
	return (error);
}

int
memory_to_disk(struct view *v, struct scratch *s)
{
	struct timespec ts[2];
	struct stat st;
	int fd, error;

	if (!s->in_memory)
		return (0);
	if ((error = scratch_box_dir(v, s->box, 't')) != 0)
		return (error);
	fd = openat(v->dir, s->path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return (-errno);
	error = copy(s->fd, fd);
	if (error == 0 && fstat(s->fd, &st) != 0)
		error = -errno;
	if (error == 0) {
		ts[0] = st.st_atim;
		ts[1] = st.st_mtim;
		if (ftruncate(fd, st.st_size) != 0 || futimens(fd, ts) != 0)
			error = -errno;
	}
	if (error != 0 || s->unlinked)
		(void)unlinkat(v->dir, s->path, 0);
	if (error != 0) {
		(void)close(fd);
		return (error);
	}
	memory_give(v, s->fd);
	s->fd = fd;
	s->in_memory = false;
	return (0);
}

int
memory_room(struct view *v, struct scratch *s, uint64_t end)
{
	return (s->in_memory && end > LARGE ? memory_to_disk(v, s) : 0);
}

void
memory_tick(struct view *v)
{
	uint64_t now = view_now_ms(v);

	for (struct scratch *s = v->scratch; s != NULL; s = s->next)
		if (s->in_memory && !s->unlinked &&
		    now - s->touched_ms >= QUIET_MS)
			(void)memory_to_disk(v, s);
}

/* ---- when tmp changed ---- */

void
memory_tmp_changed(struct view *v, uint32_t box)
{
	struct box *b = box_by_id(v, box);

	if (b != NULL)
		(void)clock_gettime(CLOCK_REALTIME_COARSE, &b->tmp_changed);
}

void
memory_end(struct view *v)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT } };
	struct box *b, *next;
	char dir[64];
	int error;

	for (struct scratch *s = v->scratch; s != NULL; s = s->next)
		if (s->in_memory && !s->unlinked &&
		    (error = memory_to_disk(v, s)) != 0)
			log_error("tmp/%s: cannot be kept: %s", s->name,
			    strerror(-error));
	HASH_ITER (hh_id, v->by_id, b, next) {
		if (b->tmp_changed.tv_sec == 0 ||
		    scratch_box_dir(v, b->id, 't') != 0)
			continue;
		ts[1] = b->tmp_changed;
		(void)snprintf(
		    dir, sizeof(dir), "scratch/%" PRIu32 ".t", b->id);
		(void)utimensat(v->dir, dir, ts, AT_SYMLINK_NOFOLLOW);
	}
}
