/*
 * view_memory -- files in tmp that nobody has asked to be durable: they are in
 * memory, since most are a message a moment later, or gone.
 *
 * They go to the disk when they are large, when there are many, when they have
 * been quiet for some seconds, and when the mount ends; what an fsync promises
 * is view_synced.c's.  Who has not called fsync was promised nothing: a
 * delivery's bytes are in a pack before its rename is answered.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define LARGE (256u << 10)
#define FIRST (16u << 10)
#define SPARE_MAX (64u << 10) /* of one that is kept for the next file */
#define QUIET_MS 5000

static void
changed_now(struct memory *m)
{
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &m->changed);
}

struct memory *
memory_take(struct view *v)
{
	struct memory *m = v->n_memory > 0 ? v->memory[--v->n_memory]
					   : calloc(1, sizeof(*m));

	if (m != NULL)
		changed_now(m);
	return (m);
}

static void
discard(struct memory *m)
{
	free(m->p);
	free(m);
}

void
memory_give(struct view *v, struct memory *m)
{
	if (m == NULL)
		return;
	m->len = 0;
	if (v->n_memory < MEMORY_SPARE && m->cap <= SPARE_MAX)
		v->memory[v->n_memory++] = m;
	else
		discard(m);
}

void
memory_free(struct view *v)
{
	while (v->n_memory > 0)
		discard(v->memory[--v->n_memory]);
}

/* ---- its bytes ---- */

ssize_t
memory_read(const struct memory *m, void *p, size_t n, uint64_t off)
{
	if (off >= m->len)
		return (0);
	if (n > m->len - off)
		n = m->len - (size_t)off;
	memcpy(p, m->p + off, n);
	return ((ssize_t)n);
}

static int
reserve(struct memory *m, uint64_t size)
{
	size_t cap = m->cap == 0 ? FIRST : m->cap;
	uint8_t *p;

	if (size > LARGE)
		return (-EFBIG);
	while (cap < size)
		cap *= 2;
	if (cap > m->cap) {
		if ((p = realloc(m->p, cap)) == NULL)
			return (-ENOMEM);
		m->p = p;
		m->cap = cap;
	}
	return (0);
}

ssize_t
memory_write(struct memory *m, const void *p, size_t n, uint64_t off)
{
	int error;

	if (n == 0)
		return (0);
	if ((error = reserve(m, off + n)) != 0)
		return (error);
	if (off > m->len)
		memset(m->p + m->len, 0, (size_t)off - m->len);
	memcpy(m->p + off, p, n);
	if (off + n > m->len)
		m->len = (size_t)off + n;
	changed_now(m);
	return ((ssize_t)n);
}

int
memory_resize(struct memory *m, uint64_t size)
{
	int error;

	if ((error = reserve(m, size)) != 0)
		return (error);
	if (size > m->len)
		memset(m->p + m->len, 0, (size_t)size - m->len);
	m->len = (size_t)size;
	changed_now(m);
	return (0);
}

/* ---- to the disk ---- */

int
memory_to_disk(struct view *v, struct scratch *s)
{
	struct timespec ts[2];
	int fd, error;

	if (s->memory == NULL)
		return (0);
	if ((error = scratch_box_dir(v, s->box, 't')) != 0)
		return (error);
	fd = openat(v->dir, s->path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return (-errno);
	ts[0] = ts[1] = s->memory->changed;
	if ((error = scratch_put_all(fd, s->memory->p, s->memory->len, 0)) == 0 && futimens(fd, ts) != 0)
		error = -errno;
	/* What was promised of it goes along. */
	if (error == 0 && s->synced && !s->unlinked)
		error = fsync(fd) != 0 ? -errno : scratch_sync_dir(v, s->box);
	if (error != 0 || s->unlinked)
		(void)unlinkat(v->dir, s->path, 0);
	if (error != 0) {
		(void)close(fd);
		return (error);
	}
	synced_drop(v, s);
	memory_give(v, s->memory);
	s->memory = NULL;
	s->fd = fd;
	return (0);
}

int
memory_room(struct view *v, struct scratch *s, uint64_t end)
{
	return (s->memory != NULL && end > LARGE ? memory_to_disk(v, s) : 0);
}

void
memory_tick(struct view *v)
{
	uint64_t now = view_now_ms(v);

	for (struct scratch *s = v->scratch; s != NULL; s = s->next)
		if (s->memory != NULL && !s->unlinked && !s->synced &&
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
		if (s->memory != NULL && !s->unlinked &&
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
