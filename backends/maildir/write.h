/*
 * write -- what the members that change messages share.
 */
#ifndef DSYNCFS_BACKENDS_MAILDIR_WRITE_H
#define DSYNCFS_BACKENDS_MAILDIR_WRITE_H

#include "backends/maildir/maildir_internal.h"

/*
 * The mailbox locked, its list read, its directories there; other mailboxes'
 * locks are given up.  *box is lent until the store changes.
 */
int md_begin(
    struct maildir *m, uint32_t mailbox, struct mailbox *box, struct box **out);
/* Gives the lock up; a list with two lines for a file is written anew before.
 */
int md_release(struct maildir *m, struct box *b);
/*
 * Path that a message's file is to have (msg->name is its base); in_new: in
 * new/.
 */
int md_target(const struct box *b, struct arena *a, const struct msg *msg,
    bool passed, const char **path, bool *in_new);

#endif
