/*
 * view_aux_open -- descriptors on files that are not mail, by the names that
 * lead to them.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct aux *
aux_find(struct view *v, uint64_t node)
{
	struct aux *x;

	HASH_FIND(hh, v->aux, &node, sizeof(node), x);
	return (x);
}

/* The directory of a mailbox's files; false: node is no folder. */
static bool
folder_path(struct view *v, uint64_t node, char out[32])
{
	struct box *b = box_of_folder(v, node);

	if (b == NULL && node != NODE_ROOT)
		return (false);
	(void)snprintf(out, 32, "aux/%" PRIu32, b != NULL ? b->id : v->inbox);
	return (true);
}

/* From the store's directory, malloc'd; of any length. */
static int
node_path(struct view *v, uint64_t node, char **out)
{
	uint64_t n = node;
	char top[32], *path, *at;
	struct aux *x;
	size_t len = 0;

	while (!folder_path(v, n, top)) {
		if ((x = aux_find(v, n)) == NULL || x->name == NULL)
			return (-ESTALE);
		len += strlen(x->name) + 1;
		n = x->parent;
	}
	len += strlen(top);
	if ((path = malloc(len + 1)) == NULL)
		return (-ENOMEM);
	at = path + len;
	*at = '\0';
	for (n = node; (x = aux_find(v, n)) != NULL && !folder_path(v, n, top);
	     n = x->parent) {
		len = strlen(x->name);
		at -= len;
		memcpy(at, x->name, len);
		*--at = '/';
	}
	memcpy(path, top, (size_t)(at - path));
	*out = path;
	return (0);
}

static int
open_piece(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return (fd < 0 ? -errno : (int)fd);
}

/* A path may be longer than the system takes at once: piece by piece. */
static int
open_beneath(struct view *v, const char *path, int flags)
{
	char piece[PATH_MAX];
	int dir = v->dir, next;
	size_t n;

	while (strlen(path) >= PATH_MAX) {
		for (n = PATH_MAX - 1; path[n] != '/'; n--)
			;
		memcpy(piece, path, n);
		piece[n] = '\0';
		path += n + 1;
		next = open_piece(dir, piece, O_PATH | O_DIRECTORY);
		if (dir != v->dir)
			(void)close(dir);
		if (next < 0)
			return (next);
		dir = next;
	}
	next = open_piece(dir, path, flags);
	if (dir != v->dir)
		(void)close(dir);
	return (next);
}

int
aux_open_dir(struct view *v, uint64_t node)
{
	const int flags = O_RDONLY | O_DIRECTORY;
	char path[32];
	int fd;

	if (!folder_path(v, node, path))
		return (aux_open(v, node, flags));
	fd = open_beneath(v, path, flags);
	if (fd != -ENOENT)
		return (fd);
	if (mkdirat(v->dir, path, 0700) != 0 && errno != EEXIST)
		return (-errno);
	return (open_beneath(v, path, flags));
}

/*
 * By a descriptor on the file itself (O_PATH).  Requests say nothing of the
 * program's descriptor behind them, and this process must pass the test of the
 * file's mode anew, where a program passes it once: who makes a file with mode
 * 0444 may write it, and whose file becomes 0444 meanwhile goes on.  What
 * somebody may still have been granted is given for the moment of opening.
 */
static int
open_itself(int path, mode_t granted, int flags)
{
	mode_t need = (flags & O_ACCMODE) == O_RDONLY ? S_IRUSR
	    : (flags & O_ACCMODE) == O_WRONLY         ? S_IWUSR
						      : S_IRUSR | S_IWUSR;
	char self[64];
	struct stat st;
	int fd, error;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	fd = open(self, flags | O_CLOEXEC);
	if (fd >= 0)
		return (fd);
	error = errno;
	if (error != EACCES || (granted & need) != need ||
	    fstat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
	    chmod(self, (st.st_mode & 07777) | need) != 0)
		return (-error);
	fd = open(self, flags | O_CLOEXEC);
	error = errno;
	(void)chmod(self, st.st_mode & 07777);
	return (fd < 0 ? -error : fd);
}

int
aux_open(struct view *v, uint64_t node, int flags)
{
	struct aux *x = aux_find(v, node);
	char *path;
	int fd, itself;

	if (x == NULL)
		return (-ESTALE);
	if (x->fd >= 0) {
		/* It has no name that leads to it. */
		if ((flags & O_PATH) == 0)
			return (open_itself(x->fd, x->granted, flags));
		fd = fcntl(x->fd, F_DUPFD_CLOEXEC, 0);
		return (fd < 0 ? -errno : fd);
	}
	if (x->aside) {
		if ((path = malloc(48)) == NULL)
			return (-ENOMEM);
		scratch_gone_path(node, path);
	} else if ((fd = node_path(v, node, &path)) != 0)
		return (fd);
	fd = open_beneath(v, path, flags);
	if (fd == -EACCES && !x->dir) {
		itself = open_beneath(v, path, O_PATH | O_NOFOLLOW);
		if (itself >= 0) {
			fd = open_itself(itself, x->granted, flags);
			(void)close(itself);
		}
	}
	free(path);
	return (fd);
}
