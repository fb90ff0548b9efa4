/*
 * loop -- which thread reads the next request, and how it waits for one
 * (specs/fuse.md 4).
 *
 * The threads are libfuse's (fuse_session_loop_mt); this is how they read.
 *
 * L1  One thread at a time reads: it has the chair.  It keeps the chair while it
 *     answers what takes a moment, so that nobody is woken for that.
 * L2  Whoever may wait for something passes the chair on before.
 */
#ifndef DSYNCFS_FS_LOOP_H
#define DSYNCFS_FS_LOOP_H

#include <fuse_lowlevel.h>

/*
 * After fuse_session_mount, before the loop; one session in a process.  0,
 * -errno.
 */
int loop_use(struct fuse_session *se);
/* In an operation that may wait, as for the disk: others are answered then. */
void loop_pass(void);

#endif
