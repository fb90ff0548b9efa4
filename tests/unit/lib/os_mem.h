/*
 * os_mem -- a struct os in memory that loses power and fails on demand.
 *
 * Stricter than a disk: a file's bytes and size are durable only after sync of
 * the file, a name only after sync_dir of the directory that holds it (a rename
 * between two directories: of either, for it is one transaction, and a sync_dir
 * carries along what came before it).  Times, locks and the clock are not part
 * of the model.  An operation that fails because the power went may still have
 * happened, as far as the policy lets it.
 *
 * Every operation that changes something is counted, from 1: create (of a
 * file), pwrite, truncate (also by OS_TRUNC), sync, rename, rename_excl, link,
 * unlink, mkdir, rmdir, sync_dir.  Calls may come from several threads.
 */
#ifndef DSYNCFS_TESTS_OS_MEM_H
#define DSYNCFS_TESTS_OS_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/os.h"

enum os_mem_op {
	OS_MEM_CREATE,
	OS_MEM_PWRITE,
	OS_MEM_TRUNCATE,
	OS_MEM_SYNC,
	OS_MEM_RENAME,
	OS_MEM_LINK,
	OS_MEM_UNLINK,
	OS_MEM_MKDIR,
	OS_MEM_RMDIR,
	OS_MEM_SYNC_DIR,
	/* number of the above, those that are counted; what follows only can be
	   made to fail */
	OS_MEM_CHANGES,
	OS_MEM_OPEN = OS_MEM_CHANGES,
	OS_MEM_PREAD,
	OS_MEM_LIST,
	OS_MEM_STAT,
	OS_MEM_LOCK,
	OS_MEM_UTIMES,
	OS_MEM_RANDOM,
	OS_MEM_OPS
};

/* What survives of that which was not synced. */
enum os_mem_loss {
	OS_MEM_LOSE_ALL, /* nothing */
	OS_MEM_KEEP_ALL, /* everything */
	/* of each file a random subset of sectors (512), of each directory a
	   random first part */
	OS_MEM_LOSE_SOME
};

/*
 * An empty tree; the seed decides what random() gives.  Closed by close_tree.
 * 0 or -ENOMEM.
 */
int os_mem_new(uint64_t seed, struct os **out);

/* Changes so far (since the tree was made). */
uint64_t os_mem_changes(struct os *os);
/* Calls of one kind so far, failed ones too. */
uint64_t os_mem_calls(struct os *os, enum os_mem_op op);

/*
 * The power goes at change n (as counted by os_mem_changes; 0: never).  From
 * then on everything gives -EIO.
 */
void os_mem_cut_at(struct os *os, uint64_t n);
void os_mem_cut_now(struct os *os);
bool os_mem_is_cut(struct os *os);
/*
 * The power is back.  Handles and sub-trees opened before give -EIO and can
 * only be closed.  0 or -ENOMEM.
 */
int os_mem_reboot(struct os *os, enum os_mem_loss loss, uint64_t seed);
/*
 * The tree as it would be after such a reboot, as a new tree; the old one stays
 * as it is.
 */
int os_mem_reboot_copy(
    struct os *os, enum os_mem_loss loss, uint64_t seed, struct os **out);

/*
 * The nth call of this kind from now (1 = the next) fails with err (EIO,
 * ENOSPC, ...), and with for_ever all after it. A failing pwrite has written
 * the first half; a failing sync has lost what it was to make durable, though
 * reads still show it, as Linux does.  One rule per kind; nth 0 takes it back.
 */
void os_mem_fail(
    struct os *os, enum os_mem_op op, uint64_t nth, int err, bool for_ever);
/* Bytes of all files together; more is -ENOSPC.  0: no limit. */
void os_mem_capacity(struct os *os, uint64_t bytes);
uint64_t os_mem_used(struct os *os);

/* Damage at rest, durable at once: 0 or -errno. */
int os_mem_flip(struct os *os, const char *path, uint64_t off, uint8_t mask);
int os_mem_cut_file(struct os *os, const char *path, uint64_t size);

/*
 * Every file and directory with its full path, sorted, directories before what
 * is in them.
 */
typedef int os_mem_walk_fn(
    void *arg, const char *path, enum os_type type, uint64_t size);
int os_mem_walk(struct os *os, os_mem_walk_fn *fn, void *arg);

/* The clock stands still but for these. */
void os_mem_set_time(struct os *os, int64_t sec, uint32_t nsec);
void os_mem_advance(struct os *os, uint64_t ms);

#endif
