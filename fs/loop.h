/*
 * loop -- which thread reads the next request, and how it waits for one
 * (specs/fuse.md 4).
 *
 * The threads are libfuse's (fuse_session_loop_mt); this is how they read.
 *
 * L1  One thread at a time reads: it has the chair.  It keeps the chair while it
 *     answers, so that nobody is woken for what takes a moment.
 * L2  Whoever is going to wait passes the chair on before; from one that is
 *     found waiting it is taken.
 */
#ifndef DSYNCFS_FS_LOOP_H
#define DSYNCFS_FS_LOOP_H

#include <fuse_lowlevel.h>

/*
 * While files can be opened: libfuse ends its threads by pthread_cancel, for
 * which glibc loads a library, or aborts.  -errno.
 */
int loop_load(void);
/*
 * After fuse_session_mount, before the loop; one session in a process.  0,
 * -errno.
 */
int loop_use(struct fuse_session *se);
/*
 * When the threads of the loop have ended, before fuse_session_unmount: what
 * others still tell the kernel goes nowhere, and nothing here keeps the
 * connection.
 */
void loop_leave(void);
/* When those have ended, too. */
void loop_end(void);
/* In an operation that is going to wait: others are answered meanwhile. */
void loop_pass(void);

#endif
