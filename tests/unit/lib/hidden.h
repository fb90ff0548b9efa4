/*
 * hidden -- a replica as its location would be if it could do less: without
 * GUIDs, or with GUIDs that nobody can set; and with mails that cannot be read.
 */
#ifndef DSYNCFS_TESTS_HIDDEN_H
#define DSYNCFS_TESTS_HIDDEN_H

#include "sync/replica.h"

/*
 * Of inner's capabilities that have to do with GUIDs only `guids` (REPLICA_*)
 * are left.  Closing it closes inner.  Ends the test when there is no memory.
 */
struct replica *replica_hidden(struct replica *inner, unsigned guids);
/* From now on the body of this UID, in any mailbox, is an I/O error. */
void hidden_unreadable(struct replica *r, uint32_t uid);
/* How many bodies were opened so far. */
unsigned hidden_opened(const struct replica *r);

#endif
