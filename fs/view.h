/*
 * view -- a store as a Maildir: inodes, names, and what a program does to them.
 *
 * Includes no FUSE header and is tested without a mount.  Every node has a
 * number, looked up in tables and never a pointer:
 *
 *	1			the root, which is INBOX's folder too
 *	NODE_BOX | id<<2 | k	a mailbox's cur, new, tmp, folder (k = 0..3)
 *	NODE_AUX | n		a real file or directory under aux/
 *	NODE_SPECIAL | n	subscriptions, dovecot-keywords, .dsyncfs/...
 *	NODE_STALE | n		message n, under the name that it had before
 *	anything else		a message or a scratch file: its inode number
 *
 * V1  What a reader sees of a message is its state before or after a change.
 * V2  A scratch file's bytes that somebody made durable stay on disk until a
 *     durable frame names them.
 * V3  The lock is never held while the disk is waited for in a sync.
 *
 * All calls take the view's lock themselves, give 0 or -errno, and set their
 * results on success only.
 */
#ifndef DSYNCFS_FS_VIEW_H
#define DSYNCFS_FS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "base/buf.h"
#include "store/store.h"

#define NODE_ROOT 1u
#define NODE_BOX ((uint64_t)1 << 60)
#define NODE_SPECIAL ((uint64_t)1 << 61)
#define NODE_AUX ((uint64_t)1 << 62)
#define NODE_STALE ((uint64_t)1 << 59)

enum box_part { PART_CUR = 0, PART_NEW = 1, PART_TMP = 2, PART_FOLDER = 3 };

enum view_layout { LAYOUT_MAILDIRPP, LAYOUT_FS };

struct view_options {
	enum view_layout layout;
	bool readonly;
	uid_t uid; /* owner shown for every node */
	gid_t gid;
	mode_t umask; /* default 077 */
	unsigned stale_names; /* seconds */
	/* puts the first lines of .dsyncfs/status, under the lock; NULL */
	void (*status)(void *arg, struct buf *b);
	void *status_arg;
};

struct view;
/* dirfd: the store's directory, taken over.  The store is borrowed. */
int view_open(struct store *s, int dirfd, const struct view_options *o,
    struct view **out);
/* Settles and syncs everything; 0 or the first error. */
int view_close(struct view *v);

void view_lock(struct view *v);
void view_unlock(struct view *v);
/*
 * How often the lock was given up.  What one call shows, another one would show,
 * too, as long as this has only grown by the first one's own.
 */
uint64_t view_turn(const struct view *v);
struct store *view_store(struct view *v);

/*
 * What the kernel should forget, told after a change it did not make itself
 * (view_kept.c).
 */
enum forget_what {
	FORGET_INODE, /* attributes and pages, also a listing, of node */
	FORGET_ATTR, /* attributes of node */
	FORGET_ENTRY, /* name in the directory node */
	FORGET_SPECIALS, /* all of .dsyncfs/ */
	/* node: a mailbox's id; its mail has changed */
	FORGET_FOLDER
};
/* The i-th file that FORGET_SPECIALS is about; false: there are no more. */
bool special_each_shown(unsigned i, uint64_t *node);
typedef void view_forget_fn(
    void *arg, enum forget_what what, uint64_t node, const char *name);
/* fn is called under the lock: it only notes. */
void view_on_forget(struct view *v, view_forget_fn *fn, void *arg);
/* Set around what a command does in this process, so that it is announced. */
void view_foreign(struct view *v, bool on);

/*
 * Names that a command changed, for programs that watch: inotify tells only of
 * what goes through the mount, so the helper process repeats each change there
 * (fs/DESIGN.md).  Paths are below the mount point; to NULL: unlinked.  fn is
 * called under the lock, after FORGET_ENTRY for both names.
 */
typedef void view_nudge_fn(
    void *arg, uint32_t mailbox, const char *from, const char *to);
void view_on_nudge(struct view *v, view_nudge_fn *fn, void *arg);
/*
 * Requests of the helper.  They change nothing, whatever has happened since:
 * 0 when the change is what a sync did and still stands, else -ENOENT.  Names
 * that messages have now are not found, so that none is taken for replaced.
 */
int view_nudge_lookup(
    struct view *v, uint64_t parent, const char *name, struct stat *st);
int view_nudge_rename(struct view *v, uint64_t from, const char *name,
    uint64_t to, const char *new_name);
int view_nudge_unlink(struct view *v, uint64_t parent, const char *name);

int view_lookup(
    struct view *v, uint64_t parent, const char *name, struct stat *st);
int view_getattr(struct view *v, uint64_t node, struct stat *st);

enum {
	SET_SIZE = 1,
	SET_MTIME = 2,
	SET_MODE = 4,
	SET_OWNER = 8,
	SET_ATIME = 16 /* kept where a real file is behind the node */
};
struct view_set {
	unsigned what; /* SET_* */
	uint64_t size;
	struct timespec mtime, atime;
	mode_t mode;
	uid_t uid; /* (uid_t)-1: as it is */
	gid_t gid;
};
int view_setattr(
    struct view *v, uint64_t node, const struct view_set *set, struct stat *st);

/* Non-zero stops; next is where the entry behind this one is. */
typedef int view_dir_fn(
    void *arg, const char *name, const struct stat *st, uint64_t next);
int view_readdir(
    struct view *v, uint64_t node, uint64_t off, view_dir_fn *fn, void *arg);

/*
 * Whom what this thread does from now on is for: owners of what is made under
 * aux/, and set-ID bits of what is written to.
 */
void view_as(uid_t uid, gid_t gid);

int view_mknod(struct view *v, uint64_t parent, const char *name, mode_t mode,
    dev_t rdev, struct stat *st);
int view_mkdir(struct view *v, uint64_t parent, const char *name, mode_t mode,
    struct stat *st);
int view_symlink(struct view *v, const char *target, uint64_t parent,
    const char *name, struct stat *st);
int view_readlink(struct view *v, uint64_t node, char *out, size_t size);
int view_unlink(struct view *v, uint64_t parent, const char *name);
int view_rmdir(struct view *v, uint64_t parent, const char *name);
/* flags: 0, RENAME_NOREPLACE, RENAME_EXCHANGE (aux only). */
int view_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name, unsigned flags);
int view_link(struct view *v, uint64_t node, uint64_t parent, const char *name,
    struct stat *st);

ssize_t view_read(
    struct view *v, uint64_t node, void *p, size_t n, uint64_t off);
ssize_t view_write(
    struct view *v, uint64_t node, const void *p, size_t n, uint64_t off);
int view_fallocate(
    struct view *v, uint64_t node, int mode, uint64_t off, uint64_t len);
int view_fsync(struct view *v, uint64_t node);
int view_statfs(struct view *v, struct statvfs *out);
/* Length, also with size 0; -ENODATA, -ERANGE. */
ssize_t view_getxattr(
    struct view *v, uint64_t node, const char *name, void *p, size_t size);
ssize_t view_listxattr(struct view *v, uint64_t node, char *p, size_t size);
/*
 * Where the bytes of a message lie: while it says the same, view_read gives the
 * same.  -EBUSY: it is being written to; -ENOENT: it is none.
 */
int view_body(struct view *v, uint64_t node, struct body_ref *out);
/* The messages that follow this one in its mailbox.  How many, -errno. */
struct view_next {
	uint64_t node;
	struct body_ref body;
};
int view_following(
    struct view *v, uint64_t node, struct view_next *out, size_t max);
/*
 * The first n bytes of a body, past what is kept open for readers.  How many,
 * -errno.
 */
ssize_t view_peek(
    struct view *v, const struct body_ref *body, void *p, size_t n);
/*
 * user.* of what is real; -EPERM: the view's own, -EOPNOTSUPP: any other name
 * or node.  flags as for setxattr(2); p NULL: it is removed.
 */
int view_setxattr(struct view *v, uint64_t node, const char *name,
    const void *p, size_t size, int flags);
/* The kernel has dropped the node. */
void view_forget(struct view *v, uint64_t node, uint64_t count);

/*
 * Once a second from the commit thread: settles what has been quiet, makes
 * durable what is older than the commit time, checkpoints.
 */
int view_tick(struct view *v, unsigned commit_ms);
int view_sync(struct view *v); /* group commit */
/* Waits, without the lock, until a flush that runs has ended. */
void view_wait_sync(struct view *v);

/* Nodes that a watcher of this mailbox listens on: 0 = all of them. */
typedef int view_poke_fn(void *arg, const char *path);
int view_box_paths(
    struct view *v, uint32_t mailbox, view_poke_fn *fn, void *arg);

#endif
