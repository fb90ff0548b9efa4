/*
 * ops -- FUSE requests, each one call of the view.
 */
#ifndef DSYNCFS_FS_OPS_H
#define DSYNCFS_FS_OPS_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "fs/ahead.h"
#include "fs/listing.h"
#include "fs/view.h"

/* Requests that are counted, one line each in .dsyncfs/status. */
#define FS_COUNTS(X)                                                           \
	X(LOOKUP, lookup)                                                      \
	X(FORGET, forget)                                                      \
	X(FORGET_MULTI, forget_multi)                                          \
	X(GETATTR, getattr)                                                    \
	X(SETATTR, setattr)                                                    \
	X(READLINK, readlink)                                                  \
	X(MKNOD, mknod)                                                        \
	X(MKDIR, mkdir)                                                        \
	X(SYMLINK, symlink)                                                    \
	X(UNLINK, unlink)                                                      \
	X(RMDIR, rmdir)                                                        \
	X(RENAME, rename)                                                      \
	X(LINK, link)                                                          \
	X(OPEN, open)                                                          \
	X(CREATE, create)                                                      \
	X(FLUSH, flush)                                                        \
	X(READ, read)                                                          \
	X(WRITE, write)                                                        \
	X(FSYNC, fsync)                                                        \
	X(FALLOCATE, fallocate)                                                \
	X(OPENDIR, opendir)                                                    \
	X(READDIR, readdir)                                                    \
	X(READDIRPLUS, readdirplus)                                            \
	X(STATFS, statfs)                                                      \
	X(GETXATTR, getxattr)                                                  \
	X(LISTXATTR, listxattr)                                                \
	X(SETXATTR, setxattr)                                                  \
	X(REMOVEXATTR, removexattr)

enum fs_count {
#define COUNT_MEMBER(upper, lower) COUNT_##upper,
	FS_COUNTS(COUNT_MEMBER)
#undef COUNT_MEMBER
	    COUNTS
};

/* What the session's userdata points to; filled in by main. */
struct fs {
	struct view *view;
	bool readonly;
	/* whose requests only repeat what is done (view_nudge_*); -1: nobody */
	pid_t helper;
	/* the kernel has said hello; may be NULL */
	void (*ready)(void *arg);
	void *ready_arg;
	atomic_ullong counts[COUNTS];
	struct ahead *ahead; /* NULL: nothing is read ahead */
	struct listing *listing;
};

/* "requests_lookup 12" and so on, a line each. */
void fs_put_counts(const struct fs *fs, struct buf *b);

extern const struct fuse_lowlevel_ops fs_ops;

#endif
