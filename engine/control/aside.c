/*
 * aside -- a process beside this one, and messages with descriptors.
 */
#include "control/aside.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void
begin(const char *name, aside_fn *fn, const void *arg, int fd)
{
	(void)prctl(PR_SET_NAME, name);
	if (fd > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, UINT_MAX, 0);
	fn(arg, fd);
	_exit(0);
}

int
aside_start(const char *name, aside_fn *fn, const void *arg, struct aside *out)
{
	int pair[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return (-errno);
	if ((out->pid = fork()) < 0)
		r = -errno;
	if (out->pid == 0) {
		(void)close(pair[0]);
		begin(name, fn, arg, pair[1]);
	}
	(void)close(pair[1]);
	if (r != 0)
		(void)close(pair[0]);
	out->fd = r != 0 ? -1 : pair[0];
	return (r);
}

void
aside_stop(struct aside *a)
{
	(void)close(a->fd);
	while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- messages ---- */

union rights {
	char room[CMSG_SPACE(ASIDE_FDS * sizeof(int))];
	struct cmsghdr align;
};

ssize_t
aside_send(int fd, const void *p, size_t n, const int *fds, size_t n_fds,
    int flags)
{
	union rights u;
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t sent;

	if (n_fds > ASIDE_FDS)
		return (-EINVAL);
	if (n_fds != 0) {
		memset(&u, 0, sizeof(u));
		m.msg_control = u.room;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		sent = sendmsg(fd, &m, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	return (sent < 0 ? -errno : sent);
}

static bool
place(int got, int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i] < 0) {
			fds[i] = got;
			return (true);
		}
	return (false);
}

static int
take_fds(struct msghdr *m, int *fds, size_t n_fds)
{
	int fd, r = (m->msg_flags & MSG_CTRUNC) != 0 ? -EBADMSG : 0;
	size_t n;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
	     c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (r == 0 && place(fd, fds, n_fds))
				continue;
			(void)close(fd);
			r = -EBADMSG;
		}
	}
	return (r);
}

ssize_t
aside_recv(int fd, void *p, size_t n, int *fds, size_t n_fds)
{
	union rights u;
	struct iovec v = { p, n };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = u.room,
		.msg_controllen = sizeof(u.room) };
	ssize_t got;
	int r;

	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return (-errno);
	r = take_fds(&m, fds, n_fds);
	return (r != 0 ? r : got);
}
