/*
 * view_scratch_io -- the bytes of files that are being written: in memory or in
 * a real file.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int
scratch_real(struct view *v, struct scratch *s, struct stat *real)
{
	int fd;

	if (s->memory != NULL) {
		memset(real, 0, sizeof(*real));
		real->st_size = (off_t)s->memory->len;
		real->st_blocks = (blkcnt_t)((s->memory->len + 511) / 512);
		real->st_mtim = real->st_ctim = s->memory->changed;
		return (0);
	}
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	return (fstat(fd, real) == 0 ? 0 : -errno);
}

int
scratch_stat(struct view *v, struct scratch *s, struct stat *st)
{
	struct arena a = ARENA_INIT;
	struct stat real;
	struct msg m;
	unsigned n = 0;
	int error = 0;

	if (s->kind == SCRATCH_SAVED) {
		error = msg_by_ino(v, &a, s->node, NULL, &m, &n);
		if (error == 0)
			stat_msg(v, &m, n + 1, st);
		arena_fini(&a);
		if (error != -ENOENT)
			return (error);
	}
	if ((error = scratch_real(v, s, &real)) != 0)
		return (error);
	if (s->kind == SCRATCH_DIRTY) {
		(void)msg_by_ino(v, &a, s->node, NULL, &m, &n);
		arena_fini(&a);
	}
	memset(st, 0, sizeof(*st));
	st->st_ino = s->node;
	st->st_mode = S_IFREG | (0666 & ~v->o.umask);
	st->st_nlink = s->unlinked ? 0 : n > 0 ? n : 1;
	st->st_uid = v->o.uid;
	st->st_gid = v->o.gid;
	st->st_size = real.st_size;
	st->st_blksize = 4096;
	st->st_blocks = real.st_blocks;
	st->st_atim = st->st_mtim = real.st_mtim;
	st->st_ctim = real.st_ctim;
	return (0);
}

ssize_t
scratch_read(
    struct view *v, struct scratch *s, void *p, size_t n, uint64_t off)
{
	ssize_t got;
	int fd;

	if (s->memory != NULL)
		return (memory_read(s->memory, p, n, off));
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	do
		got = pread(fd, p, n, (off_t)off);
	while (got < 0 && errno == EINTR);
	return (got < 0 ? -errno : got);
}

ssize_t
scratch_write(
    struct view *v, struct scratch *s, const void *p, size_t n, uint64_t off)
{
	ssize_t put;
	int fd, error;

	if ((error = memory_room(v, s, off + n)) != 0)
		return (error);
	s->touched_ms = view_now_ms(v);
	s->as_synced = false;
	if (s->memory != NULL)
		return (memory_write(s->memory, p, n, off));
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	do
		put = pwrite(fd, p, n, (off_t)off);
	while (put < 0 && errno == EINTR);
	return (put < 0 ? -errno : put);
}

/* A short write is followed by one that says why. */
int
scratch_put_all(int fd, const void *p, size_t n, uint64_t off)
{
	const uint8_t *b = p;

	while (n > 0) {
		ssize_t put = pwrite(fd, b, n, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return (put == 0 ? -EIO : -errno);
		b += put;
		off += (uint64_t)put;
		n -= (size_t)put;
	}
	return (0);
}

/* Holes and the like are a real file system's. */
int
scratch_fallocate(
    struct view *v, struct scratch *s, int mode, uint64_t off, uint64_t len)
{
	int fd = scratch_fd(v, s);

	if (fd < 0)
		return (fd);
	return (
	    fallocate(fd, mode, (off_t)off, (off_t)len) == 0 ? 0 : -errno);
}

int
scratch_setattr(struct view *v, struct scratch *s, const struct view_set *set)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, set->mtime };
	int fd, error;

	if ((set->what & SET_OWNER) != 0 &&
	    ((set->uid != (uid_t)-1 && set->uid != v->o.uid) ||
		(set->gid != (gid_t)-1 && set->gid != v->o.gid)))
		return (-EPERM);
	if ((set->what & SET_SIZE) != 0 &&
	    (error = memory_room(v, s, set->size)) != 0)
		return (error);
	s->touched_ms = view_now_ms(v);
	s->as_synced = false;
	if (s->memory != NULL) {
		if ((set->what & SET_SIZE) != 0 &&
		    (error = memory_resize(s->memory, set->size)) != 0)
			return (error);
		if ((set->what & SET_MTIME) != 0)
			s->memory->changed = set->mtime;
		return (0);
	}
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	if ((set->what & SET_SIZE) != 0 && ftruncate(fd, (off_t)set->size) != 0)
		return (-errno);
	if ((set->what & SET_MTIME) != 0 && futimens(fd, ts) != 0)
		return (-errno);
	return (0);
}

/* ---- to a message ---- */

struct file_stream {
	struct stream stream;
	int fd; /* borrowed */
	off_t at;
};

static ssize_t
file_read(struct stream *st, void *p, size_t n)
{
	struct file_stream *f = (struct file_stream *)st;
	ssize_t got;

	do
		got = pread(f->fd, p, n, f->at);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return (-errno);
	f->at += got;
	return (got);
}

static void
file_close(struct stream *st)
{
	(void)st;
}

static const struct stream_ops file_ops = { file_read, file_close };

/* The file's bytes go into a pack; dates come from the file. */
int
scratch_body(struct view *v, struct scratch *s, struct msg *m)
{
	struct file_stream f = { { &file_ops, STREAM_SIZE_UNKNOWN }, -1, 0 };
	struct stat st;
	int error;

	if ((error = scratch_real(v, s, &st)) != 0)
		return (error);
	m->received = st.st_mtim.tv_sec;
	m->mtime = st.st_mtim.tv_sec;
	m->mtime_nsec = (uint32_t)st.st_mtim.tv_nsec;
	m->saved = store_now(v->store);
	if (s->memory != NULL)
		return (store_body_from_memory(v->store, s->memory->p,
		    s->memory->len, true, &m->body, &m->vsize));
	f.fd = s->fd;
	f.stream.size = (uint64_t)st.st_size;
	return (store_body_later(v->store, &f.stream, &m->body, &m->vsize));
}
