/*
 * view_aux_io -- reading and writing files that are not mail, and their
 * attributes.
 *
 * A descriptor that a request has opened is kept for those that follow.  The
 * view's lock is given up while it is used: a slow disk stops only whoever
 * waits for it.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* More than requests that can be under way at once. */
#define HANDLES 48

struct aux_handles {
	struct aux_handle {
		uint64_t node; /* 0: nothing, or to be closed at once */
		int flags; /* O_RDONLY, O_WRONLY */
		int fd; /* owned, -1 */
		unsigned users;
		uint64_t used;
	} at[HANDLES];
	uint64_t clock;
};

static void
close_handle(struct aux_handle *h)
{
	if (h->fd >= 0)
		(void)close(h->fd);
	h->fd = -1;
	h->node = 0;
}

static struct aux_handle *
find_handle(struct view *v, uint64_t node, int flags)
{
	struct aux_handle *h, *oldest = NULL;
	size_t i;

	if (v->handles == NULL) {
		if ((v->handles = calloc(1, sizeof(*v->handles))) == NULL)
			return (NULL);
		for (i = 0; i < HANDLES; i++)
			v->handles->at[i].fd = -1;
	}
	for (i = 0; i < HANDLES; i++) {
		h = &v->handles->at[i];
		if (h->node == node && h->flags == flags)
			return (h);
		if (h->users == 0 && (oldest == NULL || h->used < oldest->used))
			oldest = h;
	}
	if (oldest != NULL)
		close_handle(oldest);
	return (oldest);
}

/* To be given back, both with the lock. */
static int
take(struct view *v, uint64_t node, int flags, struct aux_handle **out)
{
	struct aux_handle *h;
	int fd;

	if (flags != O_RDONLY && v->o.readonly)
		return (-EROFS);
	if ((h = find_handle(v, node, flags)) == NULL)
		return (-ENOMEM);
	if (h->fd < 0) {
		if ((fd = aux_open(v, node, flags)) < 0)
			return (fd);
		h->fd = fd;
		h->node = node;
		h->flags = flags;
	}
	h->used = ++v->handles->clock;
	h->users++;
	*out = h;
	return (0);
}

static void
give(struct aux_handle *h)
{
	if (--h->users == 0 && h->node == 0)
		close_handle(h);
}

void
aux_drop_handles(struct view *v, uint64_t node)
{
	struct aux_handle *h;
	size_t i;

	for (i = 0; v->handles != NULL && i < HANDLES; i++) {
		h = &v->handles->at[i];
		if (h->node != node)
			continue;
		h->node = 0;
		if (h->users == 0)
			close_handle(h);
	}
}

void
aux_free_handles(struct view *v)
{
	size_t i;

	for (i = 0; v->handles != NULL && i < HANDLES; i++)
		close_handle(&v->handles->at[i]);
	free(v->handles);
	v->handles = NULL;
}

ssize_t
aux_read(struct view *v, uint64_t node, void *p, size_t n, uint64_t off)
{
	struct aux_handle *h;
	ssize_t got = take(v, node, O_RDONLY, &h);

	if (got != 0)
		return (got);
	view_unlock(v);
	do
		got = pread(h->fd, p, n, (off_t)off);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		got = -errno;
	view_lock(v);
	give(h);
	return (got);
}

/*
 * Who is not root takes a file its set-ID bits by writing to it.  The kernel
 * leaves that to the mount (loop.c), and does it itself where that is not
 * root's.
 */
static bool
drop_set_ids(int fd)
{
	const mode_t group = S_ISGID | S_IXGRP;
	struct stat st;

	if (view_for_root() || geteuid() != 0 || fstat(fd, &st) != 0)
		return (false);
	if ((st.st_mode & S_ISUID) == 0 && (st.st_mode & group) != group)
		return (false);
	st.st_mode &= 07777 & ~(mode_t)S_ISUID;
	if ((st.st_mode & group) == group)
		st.st_mode &= ~(mode_t)S_ISGID;
	return (fchmod(fd, st.st_mode) == 0);
}

ssize_t
aux_write(struct view *v, uint64_t node, const void *p, size_t n, uint64_t off)
{
	struct aux_handle *h;
	ssize_t put = take(v, node, O_WRONLY, &h);
	bool changed = false;

	if (put != 0)
		return (put);
	view_unlock(v);
	do
		put = pwrite(h->fd, p, n, (off_t)off);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		put = -errno;
	else
		changed = drop_set_ids(h->fd);
	view_lock(v);
	give(h);
	if (changed)
		view_tell(v, FORGET_ATTR, node, NULL);
	return (put);
}

int
aux_fallocate(
    struct view *v, uint64_t node, int mode, uint64_t off, uint64_t len)
{
	struct aux_handle *h;
	int error = take(v, node, O_WRONLY, &h);

	if (error != 0)
		return (error);
	view_unlock(v);
	while (fallocate(h->fd, mode, (off_t)off, (off_t)len) != 0) {
		if (errno == EINTR)
			continue;
		error = -errno;
		break;
	}
	if (error == 0)
		(void)drop_set_ids(h->fd);
	view_lock(v);
	give(h);
	return (error);
}

/* Never tried again: what failed is not on the disk. */
int
aux_fsync(struct view *v, uint64_t node)
{
	struct aux *x = aux_find(v, node);
	struct aux_handle *h;
	int error = -EACCES;

	if (x != NULL && !x->dir && !v->o.readonly)
		error = take(v, node, O_WRONLY, &h);
	if (error == -EACCES)
		error = take(v, node, O_RDONLY, &h);
	if (error != 0)
		return (error);
	view_unlock(v);
	if (fsync(h->fd) != 0)
		error = -errno;
	view_lock(v);
	give(h);
	return (error);
}

int
aux_folder_fd(struct view *v, uint64_t folder)
{
	struct box *b = box_of_folder(v, folder);
	char path[64];

	if (b == NULL)
		return (-1);
	(void)snprintf(path, sizeof(path), "aux/%" PRIu32, b->id);
	return (openat(v->dir, path,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

static int
set_size(struct view *v, uint64_t node, uint64_t size)
{
	struct aux_handle *h;
	int error = take(v, node, O_WRONLY, &h);

	if (error != 0)
		return (error);
	view_unlock(v);
	while (ftruncate(h->fd, (off_t)size) != 0) {
		if (errno == EINTR)
			continue;
		error = -errno;
		break;
	}
	if (error == 0)
		(void)drop_set_ids(h->fd);
	view_lock(v);
	give(h);
	return (error);
}

/* Also of a symbolic link: fd is O_PATH. */
static int
set_times(int fd, const struct view_set *set)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_nsec = UTIME_OMIT } };

	if ((set->what & SET_ATIME) != 0)
		ts[0] = set->atime;
	if ((set->what & SET_MTIME) != 0)
		ts[1] = set->mtime;
	return (utimensat(fd, "", ts, AT_EMPTY_PATH) == 0 ? 0 : -errno);
}

int
aux_setattr(struct view *v, uint64_t node, const struct view_set *set)
{
	struct aux *x;
	char self[64];
	struct stat st;
	int fd, error = 0;

	if ((set->what & SET_OWNER) != 0 && geteuid() != 0 &&
	    ((set->uid != (uid_t)-1 && set->uid != v->o.uid) ||
		(set->gid != (gid_t)-1 && set->gid != v->o.gid)))
		return (-EPERM);
	if ((set->what & SET_SIZE) != 0 &&
	    (error = set_size(v, node, set->size)) != 0)
		return (error);
	if ((fd = aux_open(v, node, O_PATH | O_NOFOLLOW)) < 0)
		return (fd);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) != 0)
		error = -errno;
	else if ((set->what & SET_OWNER) != 0 && geteuid() == 0 &&
	    fchownat(fd, "", set->uid, set->gid, AT_EMPTY_PATH) != 0)
		error = -errno;
	else if (S_ISLNK(st.st_mode))
		error = 0;
	else if ((set->what & SET_MODE) != 0 &&
	    chmod(self, set->mode & 07777) != 0)
		error = -errno;
	if (error == 0 && (set->what & SET_MODE) != 0 &&
	    (x = aux_find(v, node)) != NULL)
		x->granted |= set->mode & (S_IRUSR | S_IWUSR);
	if (error == 0 && (set->what & (SET_ATIME | SET_MTIME)) != 0)
		error = set_times(fd, set);
	(void)close(fd);
	return (error);
}
