/*
 * os_posix -- struct os on a real directory.
 *
 * The tree is held by an O_PATH descriptor.  A path of one level is used on it
 * directly, with O_NOFOLLOW; for a longer one the parent is opened by openat2,
 * which neither leaves the tree nor follows a link, and the last level is used
 * on that. So no component of a path is ever resolved by the plain rules, and a
 * directory moved by others takes us nowhere else.
 */
#include "backends/os_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backends/trees.h"

struct os_posix {
	struct os os; /* first */
	int fd; /* owned, O_PATH */
	char *label; /* owned */
	/* the directory, which label names, goes with the tree */
	bool temporary;
};

struct os_file {
	int fd; /* owned */
	/* a write or sync failed: what is on disk is not known */
	bool poisoned;
};

/* The directory that holds a path's last level. */
struct place {
	int fd; /* owned when own */
	bool own;
	const char *last; /* borrowed from the path */
};

static const struct os_ops posix_ops;

static struct os_posix *
self(struct os *os)
{
	return ((struct os_posix *)os);
}

/* Relative, no empty level, no "." and no "..". */
static bool
path_ok(const char *path)
{
	size_t n;

	if (strnlen(path, PATH_MAX) >= PATH_MAX)
		return (false);
	for (;; path += n + 1) {
		n = strcspn(path, "/");
		if (n == 0 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return (false);
		if (path[n] == 0)
			return (true);
	}
}

/* For kernels and sandboxes without openat2: level by level, no link followed.
 */
static int
walk_beneath(int root, const char *path, int flags)
{
	char level[NAME_MAX + 1];
	int fd = root, next;
	size_t n;

	for (;; path += n + 1) {
		n = strcspn(path, "/");
		if (n > NAME_MAX) {
			next = -1;
			errno = ENAMETOOLONG;
		} else {
			memcpy(level, path, n);
			level[n] = 0;
			next = openat(fd, level,
			    (path[n] == 0 ? flags : O_PATH) | O_DIRECTORY |
				O_NOFOLLOW | O_CLOEXEC);
		}
		if (fd != root) {
			int saved = errno;

			(void)close(fd);
			errno = saved;
		}
		if (next < 0)
			return (-errno);
		if (path[n] == 0)
			return (next);
		fd = next;
	}
}

/*
 * Opens a directory of the tree; a descriptor or -errno.  flags: O_PATH or
 * O_RDONLY.
 */
static int
dir_beneath(int root, const char *path, int flags)
{
	struct open_how how;
	long fd;

	if (*path == 0) {
		fd = openat(root, ".", flags | O_DIRECTORY | O_CLOEXEC);
		return (fd < 0 ? -errno : (int)fd);
	}
	if (!path_ok(path))
		return (-EINVAL);
	memset(&how, 0, sizeof(how));
	how.flags = (unsigned)(flags | O_DIRECTORY | O_CLOEXEC);
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	if (fd < 0 && errno == ENOSYS)
		return (walk_beneath(root, path, flags));
	return (fd < 0 ? -errno : (int)fd);
}

static int
place_of(struct os *os, const char *path, struct place *at)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	int fd;

	if (!path_ok(path))
		return (-EINVAL);
	at->fd = self(os)->fd;
	at->own = false;
	at->last = path;
	if (slash == NULL)
		return (0);
	if ((dir = strndup(path, (size_t)(slash - path))) == NULL)
		return (-ENOMEM);
	fd = dir_beneath(self(os)->fd, dir, O_PATH);
	free(dir);
	if (fd < 0)
		return (fd);
	at->fd = fd;
	at->own = true;
	at->last = slash + 1;
	return (0);
}

static void
place_done(struct place *at)
{
	if (at->own)
		(void)close(at->fd);
}

/* Ends an operation on one place: the call's result as 0 or -errno. */
static int
done(struct place *at, int rc)
{
	int err = rc < 0 ? -errno : 0;

	place_done(at);
	return (err);
}

static int
posix_open(
    struct os *os, const char *path, unsigned flags, struct os_file **out)
{
	/*
	 * O_NONBLOCK: a fifo that somebody put there must not make us wait; for
	 * files it means nothing.
	 */
	int how = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, fd = -1, rc;
	struct os_file *f = NULL;
	struct place at;
	struct stat st;

	how |= (flags & OS_WRITE) != 0 ? O_RDWR : O_RDONLY;
	how |= (flags & OS_CREATE) != 0 ? O_CREAT : 0;
	how |= (flags & OS_EXCL) != 0 ? O_EXCL : 0;
	how |= (flags & OS_TRUNC) != 0 ? O_TRUNC : 0;
	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	do {
		fd = openat(at.fd, at.last, how, 0600);
	} while (fd < 0 && errno == EINTR);
	if ((rc = done(&at, fd)) != 0)
		return (rc);
	if (fstat(fd, &st) != 0) {
		rc = -errno;
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		goto fail;
	}
	if ((f = malloc(sizeof(*f))) == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	f->fd = fd;
	f->poisoned = false;
	*out = f;
	return (0);
fail:
	(void)close(fd);
	return (rc);
}

static ssize_t
posix_pread(struct os_file *f, void *p, size_t n, uint64_t off)
{
	size_t got = 0;
	ssize_t k;

	if (n > SSIZE_MAX || off > INT64_MAX - n)
		return (-EINVAL);
	while (got < n) {
		k = pread(f->fd, (char *)p + got, n - got, (off_t)(off + got));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return (-errno);
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return ((ssize_t)got);
}

static int
poison(struct os_file *f, int rc)
{
	f->poisoned = true;
	return (rc);
}

static int
posix_pwrite(struct os_file *f, const void *p, size_t n, uint64_t off)
{
	size_t put = 0;
	ssize_t k;

	if (f->poisoned)
		return (-EIO);
	if (n > SSIZE_MAX || off > INT64_MAX - n)
		return (-EFBIG);
	while (put < n) {
		k = pwrite(
		    f->fd, (const char *)p + put, n - put, (off_t)(off + put));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return (poison(f, -errno));
		if (k == 0)
			return (poison(f, -EIO));
		put += (size_t)k;
	}
	return (0);
}

static int
posix_truncate(struct os_file *f, uint64_t size)
{
	int rc;

	if (f->poisoned)
		return (-EIO);
	if (size > INT64_MAX)
		return (-EFBIG);
	do {
		rc = ftruncate(f->fd, (off_t)size);
	} while (rc != 0 && errno == EINTR);
	return (rc == 0 ? 0 : poison(f, -errno));
}

static int
posix_sync(struct os_file *f)
{
	if (f->poisoned)
		return (-EIO);
	/*
	 * Never tried again: after a failure the kernel holds the pages for
	 * clean.
	 */
	return (fdatasync(f->fd) == 0 ? 0 : poison(f, -errno));
}

static enum os_type
type_of(mode_t mode)
{
	return (S_ISREG(mode)   ? OS_FILE
		: S_ISDIR(mode) ? OS_DIR
		: S_ISLNK(mode) ? OS_SYMLINK
				: OS_OTHER);
}

static void
stat_put(const struct stat *st, struct os_stat *out)
{
	out->type = type_of(st->st_mode);
	out->size = (uint64_t)st->st_size;
	out->ino = st->st_ino;
	out->dev = st->st_dev;
	out->nlink = (uint32_t)st->st_nlink;
	out->mode = st->st_mode & 07777;
	out->mtime = st->st_mtim.tv_sec;
	out->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	out->ctime = st->st_ctim.tv_sec;
	out->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
}

static int
posix_fstat(struct os_file *f, struct os_stat *out)
{
	struct stat st;

	if (fstat(f->fd, &st) != 0)
		return (-errno);
	stat_put(&st, out);
	return (0);
}

static int
posix_lock(struct os_file *f)
{
	struct flock fl;

	memset(&fl, 0, sizeof(fl));
	fl.l_type = F_WRLCK;
	fl.l_whence = SEEK_SET;
	if (fcntl(f->fd, F_OFD_SETLK, &fl) == 0)
		return (0);
	return (errno == EACCES ? -EAGAIN : -errno);
}

static void
posix_close(struct os_file *f)
{
	if (f == NULL)
		return;
	(void)close(f->fd);
	free(f);
}

static int
posix_stat(struct os *os, const char *path, struct os_stat *out)
{
	struct place at;
	struct stat st;
	int rc;

	if (*path == 0) {
		if (fstatat(self(os)->fd, "", &st, AT_EMPTY_PATH) != 0)
			return (-errno);
		stat_put(&st, out);
		return (0);
	}
	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	if ((rc = done(
		 &at, fstatat(at.fd, at.last, &st, AT_SYMLINK_NOFOLLOW))) == 0)
		stat_put(&st, out);
	return (rc);
}

static enum os_type
type_of_dirent(int dirfd, const struct dirent *e)
{
	struct stat st;

	switch (e->d_type) {
	case DT_REG:
		return (OS_FILE);
	case DT_DIR:
		return (OS_DIR);
	case DT_LNK:
		return (OS_SYMLINK);
	case DT_UNKNOWN:
		/*
		 * Some file systems do not say; what has gone meanwhile is
		 * nothing we know.
		 */
		if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return (type_of(st.st_mode));
		return (OS_OTHER);
	default:
		return (OS_OTHER);
	}
}

static int
posix_list(struct os *os, const char *path, os_list_fn *fn, void *arg)
{
	struct os_dirent out;
	struct dirent *e;
	int fd, rc = 0;
	DIR *d;

	if ((fd = dir_beneath(self(os)->fd, path, O_RDONLY)) < 0)
		return (fd);
	if ((d = fdopendir(fd)) == NULL) {
		rc = -errno;
		(void)close(fd);
		return (rc);
	}
	while (rc == 0) {
		errno = 0;
		if ((e = readdir(d)) == NULL) {
			rc = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		out.name = e->d_name;
		out.type = type_of_dirent(fd, e);
		out.ino = e->d_ino;
		rc = fn(arg, &out);
	}
	(void)closedir(d);
	return (rc);
}

static int
posix_mkdir(struct os *os, const char *path)
{
	struct place at;
	int rc;

	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	return (done(&at, mkdirat(at.fd, at.last, 0700)));
}

static int
posix_rmdir(struct os *os, const char *path)
{
	struct place at;
	int rc;

	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	return (done(&at, unlinkat(at.fd, at.last, AT_REMOVEDIR)));
}

static int
posix_unlink(struct os *os, const char *path)
{
	struct place at;
	int rc;

	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	return (done(&at, unlinkat(at.fd, at.last, 0)));
}

static int
do_rename(const struct place *a, const struct place *b)
{
	return (renameat(a->fd, a->last, b->fd, b->last));
}

static int
do_link(const struct place *a, const struct place *b)
{
	return (linkat(a->fd, a->last, b->fd, b->last, 0));
}

static int
do_rename_excl(const struct place *a, const struct place *b)
{
	int saved;

	if (renameat2(a->fd, a->last, b->fd, b->last, RENAME_NOREPLACE) == 0)
		return (0);
	if (errno != EINVAL && errno != ENOSYS)
		return (-1);
	/*
	 * The file system cannot; a link refuses to replace as well, and there
	 * is no moment without a name.
	 */
	if (do_link(a, b) != 0)
		return (-1);
	if (unlinkat(a->fd, a->last, 0) == 0)
		return (0);
	saved = errno;
	(void)unlinkat(b->fd, b->last, 0);
	errno = saved;
	return (-1);
}

static int
with_two(struct os *os, const char *from, const char *to,
    int (*fn)(const struct place *, const struct place *))
{
	struct place a, b;
	int rc;

	if ((rc = place_of(os, from, &a)) != 0)
		return (rc);
	if ((rc = place_of(os, to, &b)) == 0)
		rc = done(&b, fn(&a, &b));
	place_done(&a);
	return (rc);
}

static int
posix_rename(struct os *os, const char *from, const char *to)
{
	return (with_two(os, from, to, do_rename));
}

static int
posix_rename_excl(struct os *os, const char *from, const char *to)
{
	return (with_two(os, from, to, do_rename_excl));
}

static int
posix_link(struct os *os, const char *from, const char *to)
{
	return (with_two(os, from, to, do_link));
}

static int
posix_utimes(struct os *os, const char *path, int64_t mtime, uint32_t nsec)
{
	struct timespec ts[2];
	struct place at;
	int rc;

	if ((rc = place_of(os, path, &at)) != 0)
		return (rc);
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_sec = mtime;
	/* larger ones mean "now" and "not" */
	ts[1].tv_nsec = nsec < 1000000000 ? (long)nsec : 999999999;
	return (done(&at, utimensat(at.fd, at.last, ts, AT_SYMLINK_NOFOLLOW)));
}

static int
posix_sync_dir(struct os *os, const char *path)
{
	int fd, rc = 0;

	if ((fd = dir_beneath(self(os)->fd, path, O_RDONLY)) < 0)
		return (fd);
	if (fsync(fd) != 0)
		rc = -errno;
	(void)close(fd);
	return (rc);
}

static void
posix_now(struct os *os, int64_t *sec, uint32_t *nsec)
{
	struct timespec ts;

	(void)os;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	*sec = ts.tv_sec;
	*nsec = (uint32_t)ts.tv_nsec;
}

static uint64_t
posix_mono_ms(struct os *os)
{
	struct timespec ts;

	(void)os;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

static int
posix_random(struct os *os, void *p, size_t n)
{
	size_t got = 0;
	ssize_t k;

	(void)os;
	while (got < n) {
		k = getrandom((char *)p + got, n - got, 0);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return (-errno);
		got += (size_t)k;
	}
	return (0);
}

/* Takes fd and label over, also on failure. */
static int
tree_new(int fd, char *label, struct os **out)
{
	struct os_posix *t = NULL;

	if (label == NULL || (t = malloc(sizeof(*t))) == NULL ||
	    trees_add(fd) != 0) {
		free(t);
		free(label);
		(void)close(fd);
		return (-ENOMEM);
	}
	t->os.ops = &posix_ops;
	t->fd = fd;
	t->label = label;
	t->temporary = false;
	*out = &t->os;
	return (0);
}

static int
posix_sub(struct os *os, const char *path, struct os **out)
{
	char *label = NULL;
	int fd;

	if ((fd = dir_beneath(self(os)->fd, path, O_PATH)) < 0)
		return (fd);
	if (asprintf(
		&label, *path == 0 ? "%s" : "%s/%s", self(os)->label, path) < 0)
		label = NULL;
	return (tree_new(fd, label, out));
}

static const char *
posix_label(struct os *os)
{
	return (self(os)->label);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	/* remove() tries unlink first, which a closed process may not do here */
	(void)(type == FTW_DP ? rmdir(path) : unlink(path));
	return (0);
}

static void
posix_close_tree(struct os *os)
{
	struct os_posix *t;

	if (os == NULL)
		return;
	t = self(os);
	trees_remove(t->fd);
	(void)close(t->fd);
	if (t->temporary)
		(void)nftw(t->label, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(t->label);
	free(t);
}

static const struct os_ops posix_ops = {
	.open = posix_open,
	.pread = posix_pread,
	.pwrite = posix_pwrite,
	.truncate = posix_truncate,
	.sync = posix_sync,
	.fstat = posix_fstat,
	.lock = posix_lock,
	.close = posix_close,
	.stat = posix_stat,
	.list = posix_list,
	.mkdir = posix_mkdir,
	.rmdir = posix_rmdir,
	.rename = posix_rename,
	.rename_excl = posix_rename_excl,
	.link = posix_link,
	.unlink = posix_unlink,
	.utimes = posix_utimes,
	.sync_dir = posix_sync_dir,
	.now = posix_now,
	.mono_ms = posix_mono_ms,
	.random = posix_random,
	.sub = posix_sub,
	.label = posix_label,
	.close_tree = posix_close_tree,
};

/*
 * The new directory's name must survive a power cut as what is put into it
 * does.
 */
static int
sync_parent(int fd)
{
	int up, rc = 0;

	if ((up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		/*
		 * One may be allowed to make names in a directory that one
		 * cannot read: nothing to sync with then.
		 */
		return (errno == EACCES ? 0 : -errno);
	if (fsync(up) != 0)
		rc = -errno;
	(void)close(up);
	return (rc);
}

int
os_posix_open(const char *path, bool create, struct os **out)
{
	bool made = false;
	char *label;
	int fd, rc;

	if (create && mkdir(path, 0700) == 0)
		made = true;
	else if (create && errno != EEXIST)
		return (-errno);
	if ((fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return (-errno);
	if (made && (rc = sync_parent(fd)) != 0) {
		(void)close(fd);
		return (rc);
	}
	if ((label = realpath(path, NULL)) == NULL)
		label = strdup(path);
	return (tree_new(fd, label, out));
}

bool
os_posix_can_make(const char *path)
{
	char *copy = strdup(path);
	bool there = copy != NULL && access(dirname(copy), W_OK | X_OK) == 0;

	free(copy);
	return (there);
}

int
os_posix_temp(struct os **out)
{
	const char *dir = getenv("TMPDIR");
	char *path = NULL;
	int rc;

	if (dir == NULL || *dir != '/')
		dir =
		    access("/var/tmp", W_OK | X_OK) == 0 ? "/var/tmp" : "/tmp";
	if (asprintf(&path, "%s/dsyncfs-XXXXXX", dir) < 0)
		return (-ENOMEM);
	if (mkdtemp(path) == NULL) {
		rc = -errno;
		goto out;
	}
	rc = os_posix_open(path, false, out);
	if (rc == 0) {
		self(*out)->temporary = true;
		trees_temporary(self(*out)->fd);
	} else
		(void)rmdir(path);
out:
	free(path);
	return (rc);
}

int
os_posix_dirfd(struct os *os)
{
	return (self(os)->fd);
}
