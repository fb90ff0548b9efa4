/*
 * launcher -- runs post_sync_command for a process that has closed itself.
 *
 * A request is one packet with a descriptor: the names of mailboxes, a line
 * each.  The answer is an int, what hook_run gives.  The end of the socket
 * before the answer is a stop.
 */
#include "cmd/launcher.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

#define LOOK_MS 200 /* between two looks at the stop flag */

struct launcher {
	int fd; /* owned */
	pid_t pid;
};

/* ---- the launcher itself ---- */

union rights {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* The descriptor of a request; -1: there will be none. */
static int
take(int socket)
{
	union rights u;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = u.space,
		.msg_controllen = sizeof(u.space) };
	const struct cmsghdr *h;
	ssize_t n;
	int fd;

	do
		n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	h = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
	if (h == NULL || h->cmsg_level != SOL_SOCKET ||
	    h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return (-1);
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return (fd);
}

static void
on_signal(int signal_number)
{
	(void)signal_number;
}

/*
 * It ends with its socket.  No signal is ignored for that: a command would
 * inherit it.
 */
static void
own_signals(void)
{
	static const int which[] = { SIGINT, SIGHUP, SIGTERM };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++)
		(void)sigaction(which[i], &sa, NULL);
}

static _Noreturn void
launch(int socket, const char *command)
{
	int in, r;

	own_signals();
	(void)prctl(PR_SET_NAME, "dsyncfs-launch");
	/* The store is not its affair, nor is the peer. */
	if (socket > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
	(void)close_range((unsigned)socket + 1, UINT_MAX, 0);
	while ((in = take(socket)) >= 0) {
		r = hook_run_file(command, in, NULL, socket);
		(void)close(in);
		(void)send(socket, &r, sizeof(r), MSG_NOSIGNAL);
	}
	_exit(0);
}

/* ---- who asks it ---- */

int
launcher_start(const char *command, struct launcher **out)
{
	struct launcher *l = calloc(1, sizeof(*l));
	int pair[2] = { -1, -1 }, r = l == NULL ? -ENOMEM : 0;

	if (r == 0 &&
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		r = -errno;
	if (r == 0 && (l->pid = fork()) < 0)
		r = -errno;
	if (r == 0 && l->pid == 0) {
		(void)close(pair[0]);
		launch(pair[1], command);
	}
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (r == 0) {
		l->fd = pair[0];
		*out = l;
		return (0);
	}
	log_error("post_sync_command: cannot be run: %s", strerror(-r));
	if (pair[0] >= 0)
		(void)close(pair[0]);
	free(l);
	return (r);
}

static int
give(const struct launcher *l, int fd)
{
	union rights u = { .space = { 0 } };
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = u.space,
		.msg_controllen = sizeof(u.space) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return (sendmsg(l->fd, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno);
}

static int
answer(const struct launcher *l, const atomic_int *stop)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	bool told = false;
	int r;

	while (poll(&p, 1, LOOK_MS) <= 0)
		if (!told && stop != NULL && *stop) {
			(void)shutdown(l->fd, SHUT_WR);
			told = true;
		}
	return (recv(l->fd, &r, sizeof(r), 0) == sizeof(r) ? r : -EPIPE);
}

int
launcher_hook(struct launcher *l, const char *const *names, size_t n,
    const atomic_int *stop)
{
	int in = hook_names(names, n), r = in < 0 ? in : give(l, in);

	if (in >= 0)
		(void)close(in);
	if (r != 0) {
		log_error("post_sync_command: cannot be run: %s", strerror(-r));
		return (r);
	}
	return (answer(l, stop));
}

void
launcher_free(struct launcher *l)
{
	if (l == NULL)
		return;
	(void)close(l->fd);
	while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(l);
}
