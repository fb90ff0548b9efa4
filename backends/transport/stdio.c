/*
 * stdio -- two descriptors as a link: our standard input and output when we are
 * the far side.
 *
 * They are shared with whoever started us, and O_NONBLOCK belongs to the open
 * file, not to the descriptor: set here it would be set for others.  So a
 * socket is used with MSG_DONTWAIT, and on a pipe poll is asked first: one that
 * is writable takes PIPE_BUF bytes without blocking.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

struct fds_link {
	struct link link;
	char *peer; /* owned */
	int in, out; /* owned; out is -1 after shut; may be one */
	bool in_socket, out_socket;
	int error; /* final, reported */
	bool broken; /* the peer takes no more */
	bool ended; /* the peer says no more, and read has said so */
};

static struct fds_link *
fds_of(struct link *l)
{
	return ((struct fds_link *)(void *)l);
}

static bool
is_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return (poll(&p, 1, 0) > 0);
}

static ssize_t
fail_with(struct fds_link *f, int error)
{
	f->error = -error;
	log_error("%s: the connection was cut: %s", f->peer, strerror(error));
	return (f->error);
}

static ssize_t
fds_read(struct link *l, void *p, size_t n)
{
	struct fds_link *f = fds_of(l);
	ssize_t r;

	if (f->error != 0)
		return (f->error);
	if (!f->in_socket && !is_ready(f->in, POLLIN))
		return (-EAGAIN);
	do
		r = f->in_socket ? recv(f->in, p, n, MSG_DONTWAIT)
				 : read(f->in, p, n);
	while (r < 0 && errno == EINTR);
	f->ended |= r == 0 && n != 0;
	if (r >= 0)
		return (r);
	return (errno == EAGAIN ? -EAGAIN : fail_with(f, errno));
}

static ssize_t
fds_write(struct link *l, const void *p, size_t n)
{
	struct fds_link *f = fds_of(l);
	ssize_t r;

	if (f->error != 0)
		return (f->error);
	if (f->out < 0 || f->broken)
		return (-EPIPE);
	if (!f->out_socket) {
		if (!is_ready(f->out, POLLOUT))
			return (-EAGAIN);
		n = n < PIPE_BUF ? n : PIPE_BUF;
	}
	do
		r = f->out_socket
		    ? send(f->out, p, n, MSG_DONTWAIT | MSG_NOSIGNAL)
		    : write(f->out, p, n);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return (r);
	if (errno == EAGAIN)
		return (-EAGAIN);
	if (errno == EPIPE || errno == ECONNRESET) {
		f->broken = true;
		return (-EPIPE);
	}
	return (fail_with(f, errno));
}

static int
fds_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct fds_link *f = fds_of(l);
	/* an end that is known is nothing to write on */
	bool done = want_write && f->ended && f->out >= 0;
	struct pollfd p[3] = { { .fd = done ? -1 : f->in, .events = POLLIN },
		{ .fd = want_write ? f->out : -1, .events = POLLOUT },
		{ .fd = also, .events = POLLIN } };
	int r;

	if (f->error != 0 || (want_write && f->broken))
		return (0);
	r = poll(p, 3, timeout_ms);
	return (r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno);
}

static int
fds_shut(struct link *l)
{
	struct fds_link *f = fds_of(l);

	if (f->error != 0)
		return (f->error);
	if (f->out_socket && f->out >= 0)
		(void)shutdown(f->out, SHUT_WR);
	if (f->out >= 0 && f->out != f->in)
		(void)close(f->out);
	f->out = -1;
	return (0);
}

static void
fds_close(struct link *l)
{
	struct fds_link *f = fds_of(l);

	if (f->out >= 0 && f->out != f->in)
		(void)close(f->out);
	(void)close(f->in);
	free(f->peer);
	free(f);
}

static const struct link_ops fds_ops = { fds_read, fds_write, fds_wait,
	fds_shut, fds_close };

static bool
is_socket(int fd)
{
	struct stat st;

	return (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
}

int
link_fds_new(int in, int out, const char *peer, struct link **link)
{
	struct fds_link *f = calloc(1, sizeof(*f));

	if (f == NULL || (f->peer = strdup(peer)) == NULL) {
		free(f);
		log_error("%s: out of memory", peer);
		return (-ENOMEM);
	}
	f->link.ops = &fds_ops;
	f->link.peer = f->peer;
	f->in = in;
	f->out = out;
	f->in_socket = is_socket(in);
	f->out_socket = is_socket(out);
	*link = &f->link;
	return (0);
}

/* A copy above 2, close-on-exec, of fd, which becomes one of file. */
static int
take_over(int fd, int file, int *copy)
{
	int r = 0;

	*copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (*copy < 0 || dup2(file, fd) < 0)
		r = -errno;
	return (r);
}

int
link_take_stdio(const char *peer, int *in, int *out)
{
	int null, r;

	*in = *out = -1;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = null < 0 ? -errno : 0;
	if (r == 0)
		r = take_over(STDIN_FILENO, null, in);
	if (r == 0)
		r = take_over(STDOUT_FILENO, STDERR_FILENO, out);
	if (null > STDERR_FILENO)
		(void)close(null);
	if (r == 0) {
		(void)signal(SIGPIPE, SIG_IGN);
		return (0);
	}
	log_error("%s: cannot use standard input and output: %s", peer,
	    strerror(-r));
	if (*in >= 0)
		(void)close(*in);
	if (*out >= 0)
		(void)close(*out);
	*in = *out = -1;
	return (r);
}
