/*
 * os -- all that the core asks of the machine: one directory tree, a clock,
 * random bytes.
 *
 * A `struct os` is an opened directory; every path is relative to it, uses '/',
 * holds no "." or ".." level and never leaves the tree: symbolic links in it
 * are not followed (openat2, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
 * backends/os_posix.c is the real one; tests have one in memory that loses
 * power and fails on demand.
 *
 * Each member gives 0 or -errno unless it says otherwise.  Members report
 * nothing: the caller knows what the file was for. A failed write or sync
 * poisons the file: later writes and syncs on the handle give -EIO (STYLE.md
 * 12). Calls may come from several threads; one file handle is used by one
 * thread at a time, except pread.
 */
#ifndef DSYNCFS_BASE_OS_H
#define DSYNCFS_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct os;
struct os_file;

enum os_open {
	OS_READ = 0,
	OS_WRITE = 1, /* read and write */
	OS_CREATE = 2, /* make it when missing, mode 0600 */
	OS_EXCL = 4, /* with OS_CREATE: -EEXIST when there */
	OS_TRUNC = 8
};

enum os_type { OS_FILE, OS_DIR, OS_SYMLINK, OS_OTHER };

struct os_stat {
	enum os_type type;
	uint64_t size;
	uint64_t ino;
	uint64_t dev;
	uint32_t nlink;
	uint32_t mode; /* permission bits */
	int64_t mtime, ctime; /* seconds */
	uint32_t mtime_nsec, ctime_nsec;
};

struct os_dirent {
	const char *name; /* lent until the callback returns */
	enum os_type type;
	uint64_t ino;
};

/* Non-zero stops the listing and is returned. */
typedef int os_list_fn(void *arg, const struct os_dirent *e);

struct os_ops {
	int (*open)(struct os *os, const char *path, unsigned flags,
	    struct os_file **out);
	/* Bytes read, less than n only at the end of the file; -errno. */
	ssize_t (*pread)(struct os_file *f, void *p, size_t n, uint64_t off);
	/* all of it, or an error */
	int (*pwrite)(struct os_file *f, const void *p, size_t n, uint64_t off);
	int (*truncate)(struct os_file *f, uint64_t size);
	/* data and size are durable (fdatasync) */
	int (*sync)(struct os_file *f);
	int (*fstat)(struct os_file *f, struct os_stat *st);
	/*
	 * Exclusive open-file-description lock, not waiting: -EAGAIN when
	 * another holds it.  Given up by close.
	 */
	int (*lock)(struct os_file *f);
	void (*close)(struct os_file *f);

	/* of a symbolic link: the link */
	int (*stat)(struct os *os, const char *path, struct os_stat *st);
	/* "" is the tree's root; no . and .. */
	int (*list)(struct os *os, const char *path, os_list_fn *fn, void *arg);
	int (*mkdir)(struct os *os, const char *path); /* mode 0700 */
	int (*rmdir)(struct os *os, const char *path);
	/* replaces */
	int (*rename)(struct os *os, const char *from, const char *to);
	/* -EEXIST instead of replacing */
	int (*rename_excl)(struct os *os, const char *from, const char *to);
	int (*link)(struct os *os, const char *from, const char *to);
	int (*unlink)(struct os *os, const char *path);
	int (*utimes)(
	    struct os *os, const char *path, int64_t mtime, uint32_t nsec);
	/* names in it are durable */
	int (*sync_dir)(struct os *os, const char *path);

	/* real time */
	void (*now)(struct os *os, int64_t *sec, uint32_t *nsec);
	/* monotonic milliseconds */
	uint64_t (*mono_ms)(struct os *os);
	int (*random)(struct os *os, void *p, size_t n);
	/*
	 * The same tree's sub-directory as an os of its own (clock and random
	 * included); closed by the caller.
	 */
	int (*sub)(struct os *os, const char *path, struct os **out);
	/*
	 * Name of the tree for messages (an absolute path where there is one);
	 * lent by the os.
	 */
	const char *(*label)(struct os *os);
	/* every file of it has been closed */
	void (*close_tree)(struct os *os);
};

struct os {
	const struct os_ops *ops;
};

/* Convenience, in os.c: whole small files. */
/*
 * Reads up to max bytes; a larger file is -EFBIG.  *p is malloc'd with a NUL
 * after the n bytes.
 */
int os_read_file(
    struct os *os, const char *path, size_t max, char **p, size_t *n);
/* Writes path + ".tmp", syncs it, renames it over path, syncs the directory. */
int os_replace_file(struct os *os, const char *path, const void *p, size_t n);
/* with parents; present is fine */
int os_mkdirs(struct os *os, const char *path);
int os_guid(struct os *os, void *guid16); /* random, never zero */

#endif
