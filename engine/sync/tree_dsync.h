/*
 * tree_dsync -- what two trees become when the peer is another kind of dsync
 * (specs/dsync-protocol.md 4).
 *
 * Such a peer computes its own half by dsync's rules: a walk over both trees
 * that renames step by step.  The result depends on every step, so they are
 * followed to the letter, with these exceptions, none of which the other half
 * can tell from the outside:
 *
 * - A node that is left with a temporary name is really renamed to its final
 *   one, so that what follows names only what is there.
 * - A backup's destination keeps a mailbox that the source has (also one of the
 *   same name under another GUID, which it takes over) and drops directories
 *   that the source has not.
 * - The destination of a one-way merge deletes nothing.
 * - INBOX is never deleted.
 */
#ifndef DSYNCFS_SYNC_TREE_DSYNC_H
#define DSYNCFS_SYNC_TREE_DSYNC_H

#include "sync/tree.h"

/*
 * Fills box, drop and action of *out; the trees live as long as the plan.  A
 * mailbox that both sides made on their own has the larger GUID in guid and the
 * other in other, but in a backup the source's GUID alone: dsync's versions
 * differ in which one they take, so the one that its master names in B decides
 * (4.5).
 *
 * -ENOMEM; -ELOOP (reported): the renames of the two sides do not settle;
 * -E2BIG (reported).
 */
int tree_dsync(const struct tree *local, const struct tree *remote,
    enum tree_mode mode, char alt_char, struct tree_plan *out);

/*
 * How a side with that separator and escape character (0: none, alt_char
 * stands in) hashes a name in D.  -ENOMEM.
 */
int tree_name_id(
    const char *name, char sep, char escape, char alt_char, struct guid *out);

#endif
