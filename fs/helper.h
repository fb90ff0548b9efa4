/*
 * helper -- the process that touches the mount from outside, so that programs
 * which watch it with inotify see what a sync has changed.
 *
 * A process of its own: a thread of the mount that waits in its own mount
 * cannot be killed.  It is forked before the session is mounted, so that it
 * never holds /dev/fuse, is never waited for while the mount runs, and ends
 * when the other end of its socket is closed.  It has no handle on the mount
 * between two requests.
 */
#ifndef DSYNCFS_FS_HELPER_H
#define DSYNCFS_FS_HELPER_H

#include <sys/types.h>

/* The socket to it, to be closed by the caller; -errno, reported. */
int helper_start(pid_t *pid);
/*
 * Each asks for one thing; paths are relative to mountpoint, which is absolute.
 * -EAGAIN: it is busy, try later; -EPIPE: it is gone; -ENAMETOOLONG.
 */
enum helper_do {
	HELPER_TOUCH = 'T', /* the new and cur of folder from */
	HELPER_RENAME = 'R', /* from to to */
	HELPER_UNLINK = 'U' /* from */
};
int helper_ask(int helper, enum helper_do what, const char *mountpoint,
    const char *from, const char *to);

#endif
