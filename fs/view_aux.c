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
#define OTHERS_MAX 16

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

bool
view_for_root(void)
{
	return (!caller.set || caller.uid == 0);
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

/*
 * The caller's mask has been applied by the kernel; ours is no business of his.
 * Nor is it that a set-user-ID bit goes when the owner changes.
 */
static int
full_mode(int dir, const char *name, mode_t mode)
{
	char self[32];
	struct stat st;
	int fd, error;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return (-errno);
	if ((mode & ~st.st_mode) == 0)
		return (0);
	/* Somebody may have put a link in its place meanwhile. */
	if ((fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return (-errno);
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	error = fstat(fd, &st) != 0 ||
		(!S_ISLNK(st.st_mode) &&
		    chmod(self, mode | (st.st_mode & 07777)) != 0)
	    ? -errno
	    : 0;
	(void)close(fd);
	return (error);
}

/* ---- names ---- */

/* It is found by a name (again), or by nobody. */
static void
release(struct view *v, struct aux *x)
{
	char path[48];

	if (x->fd >= 0) {
		(void)close(x->fd);
		x->fd = -1;
		v->held--;
	}
	if (x->aside) {
		scratch_gone_path(x->node, path);
		(void)unlinkat(v->dir, path, 0);
		x->aside = false;
	}
}

static void
drop_other(struct aux *x, uint64_t parent, const char *name)
{
	struct aux_name **at = &x->other, *o;

	while ((o = *at) != NULL)
		if (o->parent == parent && strcmp(o->name, name) == 0) {
			*at = o->next;
			free(o->name);
			free(o);
		} else
			at = &o->next;
}

static bool
known_as(const struct aux *x, uint64_t parent, const char *name)
{
	return (x->name != NULL && x->parent == parent &&
	    strcmp(x->name, name) == 0);
}

/* The name that it was known by becomes one of the others. */
static void
keep_other(struct aux *x)
{
	struct aux_name *o;
	size_t n = 0;

	drop_other(x, x->parent, x->name);
	for (o = x->other; o != NULL; o = o->next)
		n++;
	if (n >= OTHERS_MAX || (o = calloc(1, sizeof(*o))) == NULL) {
		free(x->name);
		return;
	}
	o->parent = x->parent;
	o->name = x->name;
	o->next = x->other;
	x->other = o;
}

static int
remember(struct view *v, uint64_t node, uint64_t parent, const char *name,
    const struct stat *real)
{
	struct aux *x = aux_find(v, node);
	char *copy;

	if (x != NULL && known_as(x, parent, name))
		goto known;
	if ((copy = strdup(name)) == NULL)
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
	drop_other(x, parent, name);
	if (x->name != NULL && real->st_nlink > 1 && !S_ISDIR(real->st_mode) &&
	    x->fd < 0 && !x->aside)
		keep_other(x);
	else
		free(x->name);
	x->name = copy;
	x->parent = parent;
known:
	release(v, x);
	x->dir = S_ISDIR(real->st_mode);
	x->granted |= real->st_mode & (S_IRUSR | S_IWUSR);
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
	error = remember(v, node, parent, name, &real);
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
	if (error == 0) {
		real.st_nlink -= x != NULL && x->aside;
		to_stat(v, &real, node, st);
	}
	return (error);
}

/*
 * mode says what: a file, a directory, a fifo, a device (the kernel lets only
 * root ask for one); target: a symbolic link.
 */
int
aux_create(struct view *v, uint64_t parent, const char *name, mode_t mode,
    dev_t rdev, const char *target, struct stat *st)
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
	} else if (mknodat(dir, name, mode, rdev) != 0)
		error = -errno;
	if (error == 0)
		error = give_away(dir, name);
	if (error == 0 && target == NULL)
		error = full_mode(dir, name, mode & 07777);
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

/* ---- names that go ---- */

static bool
still_there(struct view *v, const struct aux *x, const struct aux_name *o)
{
	int dir = aux_open_dir(v, o->parent);
	struct stat real;
	bool same;

	if (dir < 0)
		return (false);
	same = fstatat(dir, o->name, &real, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (NODE_AUX | real.st_ino) == x->node;
	(void)close(dir);
	return (same);
}

/* From now on it is known by another name, if one is known. */
static bool
change_name(struct view *v, struct aux *x)
{
	struct aux_name *o;

	while ((o = x->other) != NULL) {
		x->other = o->next;
		if (!still_there(v, x, o)) {
			free(o->name);
			free(o);
			continue;
		}
		keep_other(x);
		x->parent = o->parent;
		x->name = o->name;
		free(o);
		return (true);
	}
	return (false);
}

enum kept { KEPT_AS_IT_IS, KEPT_HELD, KEPT_ASIDE };

/*
 * The name of a file is about to go.  Where that is the only one by which it is
 * known here, it is held by a descriptor (also so that its inode's number is
 * given to nobody else), or moved aside when there are too many of them.
 */
static int
keep(struct view *v, int dir, uint64_t parent, const char *name, enum kept *how,
    struct aux **out)
{
	struct stat real;
	struct aux *x;
	char path[48];

	*how = KEPT_AS_IT_IS;
	*out = NULL;
	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0)
		return (-errno);
	*out = x = aux_find(v, NODE_AUX | real.st_ino);
	if (x == NULL || x->fd >= 0 || x->aside)
		return (0);
	if (real.st_nlink > 1 && !S_ISDIR(real.st_mode) &&
	    (!known_as(x, parent, name) || change_name(v, x)))
		return (0);
	if (v->held >= v->held_max && !S_ISDIR(real.st_mode)) {
		scratch_gone_path(x->node, path);
		if (renameat(dir, name, v->dir, path) != 0)
			return (-errno);
		x->aside = true;
		*how = KEPT_ASIDE;
		return (0);
	}
	x->fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (x->fd < 0)
		return (-errno);
	v->held++;
	*how = KEPT_HELD;
	return (0);
}

/* It stays after all. */
static void
undo_keep(
    struct view *v, int dir, const char *name, enum kept how, struct aux *x)
{
	char path[48];

	if (how == KEPT_ASIDE) {
		scratch_gone_path(x->node, path);
		(void)renameat(v->dir, path, dir, name);
		x->aside = false;
	} else if (how == KEPT_HELD)
		release(v, x);
}

int
aux_unlink(struct view *v, uint64_t parent, const char *name, bool is_dir)
{
	int dir = aux_open_dir(v, parent), error;
	struct stat real;
	enum kept how;
	struct aux *x;

	if (dir < 0)
		return (dir);
	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0)
		error = -errno;
	else if (is_dir != S_ISDIR(real.st_mode))
		error = is_dir ? -ENOTDIR : -EISDIR;
	else if ((error = keep(v, dir, parent, name, &how, &x)) == 0) {
		if (how != KEPT_ASIDE &&
		    unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0) != 0) {
			error = -errno;
			undo_keep(v, dir, name, how, x);
		} else if (x != NULL)
			drop_other(x, parent, name);
	}
	(void)close(dir);
	return (error);
}

/* What is there under that name has had the other one before. */
static int
has_moved(struct view *v, int dir, uint64_t parent, const char *name,
    uint64_t old_parent, const char *old_name)
{
	struct stat real, st;
	struct aux *x;
	int error;

	if (fstatat(dir, name, &real, AT_SYMLINK_NOFOLLOW) != 0 ||
	    (x = aux_find(v, NODE_AUX | real.st_ino)) == NULL)
		return (0);
	error = stat_at(v, dir, parent, name, &st);
	drop_other(x, old_parent, old_name);
	return (error);
}

/* Onto a name that may be there: what has it is kept. */
static int
rename_onto(struct view *v, int a, const char *name, int b, uint64_t to,
    const char *new_name)
{
	enum kept how = KEPT_AS_IT_IS;
	struct aux *x = NULL;
	struct stat st;
	int error;

	if (fstatat(a, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return (-errno);
	/* A directory takes no file's place, so none is moved aside. */
	if (S_ISDIR(st.st_mode) &&
	    fstatat(b, new_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(st.st_mode))
		return (-ENOTDIR);
	error = keep(v, b, to, new_name, &how, &x);
	if (error != 0 && error != -ENOENT)
		return (error);
	if (renameat(a, name, b, new_name) != 0) {
		error = -errno;
		undo_keep(v, b, new_name, how, x);
		return (error);
	}
	if (x != NULL)
		drop_other(x, to, new_name);
	return (0);
}

int
aux_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name, unsigned flags)
{
	int a = aux_open_dir(v, from), b, error = 0;

	if (a < 0)
		return (a);
	if ((b = aux_open_dir(v, to)) < 0) {
		(void)close(a);
		return (b);
	}
	if (flags == 0)
		error = rename_onto(v, a, name, b, to, new_name);
	else if (renameat2(a, name, b, new_name, flags) != 0)
		error = -errno;
	if (error == 0)
		error = has_moved(v, b, to, new_name, from, name);
	if (error == 0 && flags == RENAME_EXCHANGE)
		error = has_moved(v, a, from, name, to, new_name);
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
		error =
		    remember(v, NODE_AUX | real.st_ino, node, d->d_name, &real);
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
	struct aux_name *o;

	aux_drop_handles(v, x->node);
	release(v, x);
	HASH_DEL(v->aux, x);
	while ((o = x->other) != NULL) {
		x->other = o->next;
		free(o->name);
		free(o);
	}
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
	struct stat real;
	int dir = aux_open_dir(v, node), to, error = 0;

	/* It is there now, if only empty. */
	if (dir < 0)
		return (dir);
	(void)close(dir);
	if ((to = aux_open_dir(v, parent)) < 0)
		return (to);
	(void)snprintf(from, sizeof(from), "aux/%" PRIu32, b->id);
	if (renameat(v->dir, from, to, name) != 0 ||
	    fstatat(to, name, &real, AT_SYMLINK_NOFOLLOW) != 0)
		error = -errno;
	(void)close(to);
	return (error != 0 ? error : remember(v, node, parent, name, &real));
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
