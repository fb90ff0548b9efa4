/*
 * view_aux -- files that are not mail: real files under aux/, one directory a
 * mailbox (aux/BOX), whatever the mailbox is called.
 *
 * A node is known by its parent and name, so that no descriptor is held for it;
 * a file that is unlinked while the kernel knows it keeps one until it is
 * forgotten.
 */
#include "fs/view_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"

#define REAL_OFF ((uint64_t)1 << 33) /* offsets of real entries begin here */

int
aux_init(struct view *v)
{
	if (v->o.readonly || mkdirat(v->dir, "aux", 0700) == 0 ||
	    errno == EEXIST)
		return (0);
	return (-errno);
}

static void
to_stat(struct view *v, const struct stat *real, uint64_t node, struct stat *st)
{
	*st = *real;
	st->st_ino = node;
	if (S_ISDIR(real->st_mode) && v->o.layout == LAYOUT_FS)
		st->st_nlink += count_children(v, node);
	/* Root's mount shows real owners; anybody else can only have his own.
	 */
	if (geteuid() != 0) {
		st->st_uid = v->o.uid;
		st->st_gid = v->o.gid;
	}
}

static _Thread_local struct {
	bool set;
	uid_t uid;
	gid_t gid;
} caller;

void
view_as(uid_t uid, gid_t gid)
{
	caller.set = true;
	caller.uid = uid;
	caller.gid = gid;
}

/*
 * What root's mount makes for somebody is his; a set-group-ID directory's
 * group stays.
 */
static int
give_away(int dir, const char *name)
{
	struct stat st;
	bool inherit;

	if (!caller.set || geteuid() != 0)
		return (0);
	if (fstat(dir, &st) != 0)
		return (-errno);
	inherit = (st.st_mode & S_ISGID) != 0;
	return (fchownat(dir, name, caller.uid,
		    inherit ? (gid_t)-1 : caller.gid, AT_SYMLINK_NOFOLLOW) == 0
		? 0
		: -errno);
}

static int
remember(struct view *v, uint64_t node, uint64_t parent, const char *name,
    mode_t mode)
{
	struct aux *x = aux_find(v, node);
	char *copy = strdup(name);

	if (copy == NULL)
		return (-ENOMEM);
	if (x == NULL) {
		if ((x = calloc(1, sizeof(*x))) == NULL) {
			free(copy);
			return (-ENOMEM);
		}
		x->node = node;
		x->fd = -1;
		HASH_ADD(hh, v->aux, node, sizeof(x->node), x);
	}
	/* It has a name (again): no handle is needed to find it. */
	if (x->fd >= 0)
		(void)close(x->fd);
	x->fd = -1;
	free(x->name);
	x->name = copy;
	x->parent = parent;
	x->dir = S_ISDIR(mode);
	x->granted |= mode & (S_IRUSR | S_IWUSR);
	return (0);
}

static int
stat_at(
    struct view *v, int dir, uint64_t parent, const char *name, struct stat *st)
{
	struct stat real;
	uint64_t node;
	int error;

	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0)
		return (-errno);
	node = NODE_AUX | real.st_ino;
	error = remember(v, node, parent, name, real.st_mode);
	if (error == 0)
		to_stat(v, &real, node, st);
	return (error);
}

int
aux_lookup(struct view *v, uint64_t parent, const char *name, struct stat *st)
{
	int dir = aux_open_dir(v, parent), error;
	struct aux *x;

	if (dir < 0)
		return (dir == -ESTALE ? -ENOENT : dir);
	error = stat_at(v, dir, parent, name, st);
	(void)close(dir);
	if (error == 0 && (x = aux_find(v, st->st_ino)) != NULL)
		x->lookups++;
	return (error);
}

bool
aux_exists(struct view *v, uint64_t parent, const char *name)
{
	int dir = aux_open_dir(v, parent);
	struct stat real;
	bool there;

	if (dir < 0)
		return (false);
	there = fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) == 0;
	(void)close(dir);
	return (there);
}

int
aux_getattr(struct view *v, uint64_t node, struct stat *st)
{
	struct stat real;
	struct aux *x = aux_find(v, node);
	int fd, error = 0;

	fd = x != NULL && x->fd >= 0 ? x->fd
				     : aux_open(v, node, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return (fd == -ENOENT ? -ESTALE : fd);
	if (fstat(fd, &real) != 0)
		error = -errno;
	if (x == NULL || fd != x->fd)
		(void)close(fd);
	if (error == 0)
		to_stat(v, &real, node, st);
	return (error);
}

/* mode says what: a file, a directory, a fifo; target: a symbolic link. */
int
aux_create(struct view *v, uint64_t parent, const char *name, mode_t mode,
    const char *target, struct stat *st)
{
	int dir = aux_open_dir(v, parent), fd, error = 0;
	struct aux *x;

	if (dir < 0)
		return (dir);
	if (target != NULL) {
		if (symlinkat(target, dir, name) != 0)
			error = -errno;
	} else if (S_ISDIR(mode)) {
		if (mkdirat(dir, name, mode & 07777) != 0)
			error = -errno;
	} else if (S_ISREG(mode)) {
		fd = openat(dir, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    mode & 07777);
		if (fd < 0)
			error = -errno;
		else
			(void)close(fd);
	} else if (S_ISFIFO(mode) || S_ISSOCK(mode)) {
		if (mknodat(dir, name, mode, 0) != 0)
			error = -errno;
	} else
		error = -EPERM;
	if (error == 0)
		error = give_away(dir, name);
	if (error == 0)
		error = stat_at(v, dir, parent, name, st);
	(void)close(dir);
	if (error == 0 && (x = aux_find(v, st->st_ino)) != NULL) {
		x->lookups++;
		/* Whoever made it may write, whatever mode he gave it. */
		if (S_ISREG(mode))
			x->granted = S_IRUSR | S_IWUSR;
	}
	return (error);
}

/*
 * The last name of a file that the kernel still knows is about to go, or the
 * only one by which it is known here.
 */
static int
keep_open(struct view *v, int dir, uint64_t parent, const char *name)
{
	struct stat real;
	struct aux *x;
	int fd;

	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0)
		return (-errno);
	x = aux_find(v, NODE_AUX | real.st_ino);
	if (x == NULL || x->fd >= 0)
		return (0);
	if (real.st_nlink > 1 && !S_ISDIR(real.st_mode) &&
	    (x->name == NULL || x->parent != parent ||
		strcmp(x->name, name) != 0))
		return (0);
	/* A held inode's number is given to nobody else meanwhile. */
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return (-errno);
	x->fd = fd;
	return (0);
}

/* It stays after all. */
static void
let_go(struct view *v, int dir, const char *name)
{
	struct stat real;
	struct aux *x;

	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0 ||
	    (x = aux_find(v, NODE_AUX | real.st_ino)) == NULL || x->fd < 0)
		return;
	(void)close(x->fd);
	x->fd = -1;
}

int
aux_unlink(struct view *v, uint64_t parent, const char *name, bool is_dir)
{
	int dir = aux_open_dir(v, parent), error;

	if (dir < 0)
		return (dir);
	error = keep_open(v, dir, parent, name);
	if (error == 0 && unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0) != 0) {
		error = -errno;
		let_go(v, dir, name);
	}
	(void)close(dir);
	return (error);
}

int
aux_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name, unsigned flags)
{
	int a = aux_open_dir(v, from), b, error = 0;
	struct stat real, st;

	if (a < 0)
		return (a);
	if ((b = aux_open_dir(v, to)) < 0) {
		(void)close(a);
		return (b);
	}
	if (flags == 0 && (error = keep_open(v, b, to, new_name)) == -ENOENT)
		error = 0;
	if (error == 0 && renameat2(a, name, b, new_name, flags) != 0)
		error = -errno;
	if (error == 0 &&
	    fstatat(b, new_name, &real, AT_SYMLINK_NOFOLLOW) == 0 &&
	    aux_find(v, NODE_AUX | real.st_ino) != NULL)
		error = stat_at(v, b, to, new_name, &st);
	if (error == 0 && flags == RENAME_EXCHANGE)
		(void)stat_at(v, a, from, name, &st);
	(void)close(a);
	(void)close(b);
	return (error);
}

int
aux_link(struct view *v, uint64_t node, uint64_t parent, const char *name,
    struct stat *st)
{
	int fd = aux_open(v, node, O_PATH | O_NOFOLLOW), dir, error = 0;
	char self[64];
	struct aux *x;

	if (fd < 0)
		return (fd);
	if ((dir = aux_open_dir(v, parent)) < 0) {
		(void)close(fd);
		return (dir);
	}
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) != 0)
		error = -errno;
	if (error == 0)
		error = stat_at(v, dir, parent, name, st);
	if (error == 0 && (x = aux_find(v, st->st_ino)) != NULL)
		x->lookups++;
	(void)close(dir);
	(void)close(fd);
	return (error);
}

int
aux_readlink(struct view *v, uint64_t node, char *out, size_t size)
{
	int fd = aux_open(v, node, O_PATH | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return (fd);
	n = readlinkat(fd, "", out, size - 1);
	(void)close(fd);
	if (n < 0)
		return (-errno);
	out[n] = '\0';
	return (0);
}

static uint64_t
off_out(off_t real)
{
	return (real > (off_t)(INT64_MAX - (int64_t)REAL_OFF)
		? (uint64_t)INT64_MAX
		: (uint64_t)real + REAL_OFF);
}

/*
 * Offsets of real entries are the file system's own, moved up (stable while
 * names come and go).
 */
int
aux_readdir(
    struct view *v, uint64_t node, uint64_t off, view_dir_fn *fn, void *arg)
{
	int fd = aux_open_dir(v, node), error = 0;
	struct stat real, st;
	struct dirent *d;
	struct aux *x;
	DIR *dir;

	if (fd < 0)
		return (fd == -ENOENT ? 0 : fd);
	if ((dir = fdopendir(fd)) == NULL) {
		error = -errno;
		(void)close(fd);
		return (error);
	}
	if (off >= REAL_OFF)
		seekdir(dir,
		    off == (uint64_t)INT64_MAX ? INT64_MAX
					       : (long)(off - REAL_OFF));
	while (error == 0 && (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (fstatat(fd, d->d_name, &real, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		error = remember(
		    v, NODE_AUX | real.st_ino, node, d->d_name, real.st_mode);
		to_stat(v, &real, NODE_AUX | real.st_ino, &st);
		if (error == 0 &&
		    (error = fn(arg, d->d_name, &st, off_out(d->d_off))) == 0 &&
		    (x = aux_find(v, st.st_ino)) != NULL)
			x->lookups++;
	}
	(void)closedir(dir);
	return (error);
}

static void
drop(struct view *v, struct aux *x)
{
	aux_drop_handles(v, x->node);
	HASH_DEL(v->aux, x);
	if (x->fd >= 0)
		(void)close(x->fd);
	free(x->name);
	free(x);
}

void
aux_free(struct view *v)
{
	struct aux *x, *next;

	HASH_ITER (hh, v->aux, x, next)
		drop(v, x);
	aux_free_handles(v);
}

void
aux_forget(struct view *v, uint64_t node, uint64_t count)
{
	struct aux *x = aux_find(v, node);

	if (x == NULL)
		return;
	x->lookups -= count < x->lookups ? count : x->lookups;
	if (x->lookups > 0)
		return;
	/* Directories stay known: others are found through them. */
	if (x->dir && x->fd < 0)
		return;
	drop(v, x);
}

int
aux_becomes_box(struct view *v, uint64_t node, uint32_t id)
{
	struct aux *x = aux_find(v, node);
	char to[64];
	int parent, error = 0;

	if (x == NULL)
		return (-ESTALE);
	if ((parent = aux_open_dir(v, x->parent)) < 0)
		return (parent);
	(void)snprintf(to, sizeof(to), "aux/%" PRIu32, id);
	if (renameat(parent, x->name, v->dir, to) != 0)
		error = -errno;
	(void)close(parent);
	if (error == 0)
		drop(v, x);
	return (error);
}

int
aux_leave_dir(
    struct view *v, const struct box *b, uint64_t parent, const char *name)
{
	char from[64];
	uint64_t node = b->folder;
	int dir = aux_open_dir(v, node), to, error = 0;

	/* It is there now, if only empty. */
	if (dir < 0)
		return (dir);
	(void)close(dir);
	if ((to = aux_open_dir(v, parent)) < 0)
		return (to);
	(void)snprintf(from, sizeof(from), "aux/%" PRIu32, b->id);
	if (renameat(v->dir, from, to, name) != 0)
		error = -errno;
	(void)close(to);
	return (error != 0 ? error : remember(v, node, parent, name, S_IFDIR));
}

int
aux_box_gone(struct view *v, uint32_t id)
{
	char path[64];

	/* What is not mail outlives its mailbox; an empty space goes. */
	(void)snprintf(path, sizeof(path), "aux/%" PRIu32, id);
	(void)unlinkat(v->dir, path, AT_REMOVEDIR);
	return (0);
}

int
aux_mkdirs(struct view *v, const char *canonical)
{
	struct arena a = ARENA_INIT;
	char *copy = arena_strdup(&a, canonical), *level, *save, *enc;
	int dir = aux_open_dir(v, NODE_ROOT), next, error = 0;

	if (dir < 0 || copy == NULL) {
		arena_fini(&a);
		return (dir < 0 ? dir : -ENOMEM);
	}
	for (level = strtok_r(copy, "/", &save); level != NULL && error == 0;
	     level = strtok_r(NULL, "/", &save)) {
		if ((enc = mutf7_encode(&a, level)) == NULL) {
			error = -ENOMEM;
			break;
		}
		if (mkdirat(dir, enc, 0700) != 0 && errno != EEXIST) {
			error = -errno;
			break;
		}
		next = openat(
		    dir, enc, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0) {
			error = -errno;
			break;
		}
		(void)close(dir);
		dir = next;
	}
	(void)close(dir);
	arena_fini(&a);
	return (error);
}

unsigned
aux_subdirs(struct view *v, uint64_t folder, struct timespec *mtime)
{
	struct box *b = box_of_folder(v, folder);
	struct stat st;
	char path[64];

	if (b == NULL)
		return (0);
	(void)snprintf(path, sizeof(path), "aux/%" PRIu32, b->id);
	if (fstatat(v->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return (0);
	*mtime = st.st_mtim;
	return (st.st_nlink > 2 ? (unsigned)st.st_nlink - 2 : 0);
}

static int
stop_at_first(void *arg, const char *name, const struct stat *st, uint64_t next)
{
	(void)arg;
	(void)name;
	(void)st;
	(void)next;
	return (1);
}

bool
aux_empty(struct view *v, uint64_t folder)
{
	return (aux_readdir(v, folder, 0, stop_at_first, NULL) == 0);
}
