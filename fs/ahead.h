/*
 * ahead -- mail that is about to be read, given to the kernel before it asks.
 */
#ifndef DSYNCFS_FS_AHEAD_H
#define DSYNCFS_FS_AHEAD_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs/view.h"

struct ahead;
/* Borrows view and session until ahead_stop.  -errno. */
int ahead_start(struct view *v, struct fuse_session *se, struct ahead **out);
/* After the session has been unmounted.  NULL is fine. */
void ahead_stop(struct ahead *a);
/*
 * A program reads node from its beginning.  true: this request is answered by
 * the pusher.  a may be NULL.
 */
bool ahead_read(struct ahead *a, fuse_req_t req, uint64_t node, size_t size);
/* Messages that were pushed so far. */
unsigned long long ahead_pushed(struct ahead *a);

#endif
