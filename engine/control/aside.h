/*
 * aside -- a process beside this one that is asked over a socket, and messages
 * with descriptors (unix(7), SCM_RIGHTS).
 */
#ifndef DSYNCFS_CONTROL_ASIDE_H
#define DSYNCFS_CONTROL_ASIDE_H

#include <stddef.h>
#include <sys/types.h>

#define ASIDE_FDS 3 /* most descriptors of a message */

struct aside {
	int fd; /* owned: packets */
	pid_t pid;
};

/* Never returns. */
typedef void aside_fn(const void *arg, int fd);
/*
 * Forks: the child is called name (15 bytes at most), has its end of the
 * socket and the standard streams and nothing else open, and runs fn.  -errno.
 */
int aside_start(
    const char *name, aside_fn *fn, const void *arg, struct aside *out);
/* Closes the socket, which is the child's end, and waits for that. */
void aside_stop(struct aside *a);

/* As sendmsg, with MSG_NOSIGNAL; the descriptors stay the caller's.  -errno. */
ssize_t aside_send(int fd, const void *p, size_t n, const int *fds,
    size_t n_fds, int flags);
/*
 * As recvmsg, 0 at the end.  Descriptors that came along go to the members of
 * fds, n_fds of them, that are -1; without such a place they are closed, and it
 * is -EBADMSG.  -errno.
 */
ssize_t aside_recv(int fd, void *p, size_t n, int *fds, size_t n_fds);

#endif
