/*
 * btree -- the index's file: a copy-on-write B+tree of checksummed pages, read
 * as needed.
 *
 * Keys and values are byte strings (key 1..255 bytes, compared by memcmp and
 * then length; value up to 1024 bytes; longer ones are the caller's to split).
 * Changes are made in memory; btree_checkpoint writes the changed pages to free
 * places, syncs, then writes one of two alternating head pages and syncs again:
 * after a crash the tree is as it was at the last checkpoint.  A checkpoint
 * costs the pages changed. The head carries `user` bytes of the owner (the
 * log's LSN, counters).
 *
 * B1  A page that the last durable head reaches is never overwritten.
 * B2  Every page carries its own number and an XXH3 over it, checked when it is
 * read; a bad page gives -EBADMSG (not reported here: the owner rebuilds),
 * never wrong data.  A page is checked for its inner form too: hostile bytes
 * cannot crash. B3  At most cache_bytes of clean pages are held in memory, plus
 * the changed ones.
 */
#ifndef DSYNCFS_STORE_BTREE_H
#define DSYNCFS_STORE_BTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/os.h"

#define BTREE_KEY_MAX 255
#define BTREE_VALUE_MAX 1024
#define BTREE_USER_MAX 256

struct btree;

/*
 * Opens `path`, making an empty tree when it is missing (rdonly: in memory
 * only).  -EBADMSG damaged, -EPROTONOSUPPORT newer version, else os errors.
 */
int btree_open(struct os *os, const char *path, size_t cache_bytes, bool rdonly,
    struct btree **out);
/* without a checkpoint: changes since the last are dropped */
void btree_close(struct btree *t);

/* The owner's bytes of the last checkpoint; len 0 in a new tree. */
const void *btree_user(const struct btree *t, size_t *len);
int btree_checkpoint(struct btree *t, const void *user, size_t len);
size_t btree_dirty_pages(const struct btree *t);
uint64_t btree_file_bytes(const struct btree *t);

/*
 * 0; -ENOENT; -EBADMSG; -EIO; -ENOMEM.  *v is lent until the next call on the
 * tree.
 */
int btree_get(
    struct btree *t, const void *k, size_t klen, const void **v, size_t *vlen);
/* inserts or replaces */
int btree_put(
    struct btree *t, const void *k, size_t klen, const void *v, size_t vlen);
/* -ENOENT */
int btree_del(struct btree *t, const void *k, size_t klen);

/*
 * A cursor stands on an entry or at the end.  It survives no change of the
 * tree: after one, seek again with the key last seen.
 */
struct btree_cursor {
	struct btree *tree;
	/* lent until the next call on the tree; NULL at the end */
	const uint8_t *key, *value;
	size_t klen, vlen;
	struct {
		uint64_t page;
		unsigned slot;
	} path[16];
	unsigned depth;
	/* the tree's state it belongs to; -EBUSY from btree_next after a change
	 */
	uint64_t change;
};
/* first entry >= k */
int btree_seek(
    struct btree *t, const void *k, size_t klen, struct btree_cursor *c);
/* 0, also when it comes to the end (key NULL) */
int btree_next(struct btree_cursor *c);
/* Is the cursor still where it was, though others have looked meanwhile? */
bool btree_stands(const struct btree_cursor *c);
/* greatest entry < k; key NULL when none */
int btree_last_below(
    struct btree *t, const void *k, size_t klen, struct btree_cursor *c);

/*
 * Reads and checks every page that the last head reaches; *bad counts those
 * that are not right.
 */
int btree_verify(struct btree *t, uint64_t *pages, uint64_t *bad);

#endif
