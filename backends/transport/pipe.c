/*
 * pipe -- a command as a link: its standard input and output are the stream,
 * its standard error is reported.
 *
 * Its input is a socket, because MSG_NOSIGNAL is there for sockets only, and a
 * library has no business with SIGPIPE.  Its output and error are pipes, so
 * that it can open /dev/stdout and /dev/stderr.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"

#define PIPE_BYTES (1 << 20) /* asked for, not needed */

struct pipe_link {
	struct link link;
	char *peer; /* owned */
	struct child child;
	struct pipe_hook hook;
	struct link_limits limits;
	struct lines lines;
	int in, out, err; /* ours: its standard files; -1 closed */
	int error; /* final, reported */
	bool ended; /* read has given 0 */
	bool in_broken; /* it takes no more */
};

static struct pipe_link *
pipe_of(struct link *l)
{
	return ((struct pipe_link *)(void *)l);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void
read_lines(struct pipe_link *p)
{
	if (p->err >= 0 && lines_read(&p->lines, p->err) == -EPIPE)
		close_fd(&p->err);
}

/*
 * Waits for the child to end and hears out its standard error; a grandchild
 * that keeps that open (ssh's ControlPersist) is not waited for.
 */
static int
wait_for_end(struct pipe_link *p, int64_t end)
{
	struct pollfd f[2];
	int r = 0;

	while (!child_ended(&p->child) && r >= 0) {
		if (p->err < 0 || p->child.pidfd < 0) {
			r = child_wait(&p->child, end, &p->limits);
			continue;
		}
		f[0] =
		    (struct pollfd){ .fd = p->child.pidfd, .events = POLLIN };
		f[1] = (struct pollfd){ .fd = p->err, .events = POLLIN };
		r = poll_until(f, 2, end, &p->limits);
		read_lines(p);
		if (r > 0 && until_ms(end) == 0)
			r = -ETIMEDOUT;
	}
	read_lines(p);
	lines_end(&p->lines);
	return (child_ended(&p->child) ? 0 : r);
}

/* What its end means; reports when it failed. */
static int
judge(struct pipe_link *p)
{
	char words[128];
	int r;

	if ((r = child_error(&p->child)) == 0)
		return (0);
	if (p->hook.ended != NULL) {
		int said = p->hook.ended(p->hook.arg, &p->child, p->peer);

		if (said != 0)
			return (said);
	}
	child_words(&p->child, words, sizeof(words));
	log_error("%s: the command %s", p->peer, words);
	return (r);
}

/*
 * Its output has ended, or it has itself.  One that reads until its input ends
 * would not end before.
 */
static ssize_t
at_end(struct pipe_link *p)
{
	close_fd(&p->out);
	close_fd(&p->in);
	p->ended = true;
	if (wait_for_end(p, grace_end(&p->limits)) == 0)
		p->error = judge(p);
	return (p->error);
}

static ssize_t
pipe_read(struct link *l, void *buf, size_t n)
{
	struct pipe_link *p = pipe_of(l);
	ssize_t r;

	if (p->error != 0 || p->ended)
		return (p->error);
	/* once more after its end: what it wrote before that is there then */
	for (int last = 0;; last++) {
		do
			r = read(p->out, buf, n);
		while (r < 0 && errno == EINTR);
		if (r > 0)
			return (r);
		if (r < 0 && errno != EAGAIN)
			break;
		if (r == 0 || last == 1)
			return (at_end(p));
		if (!child_ended(&p->child))
			return (-EAGAIN);
	}
	p->error = -errno;
	log_error(
	    "%s: cannot read what it says: %s", p->peer, strerror(-p->error));
	return (p->error);
}

static ssize_t
pipe_write(struct link *l, const void *buf, size_t n)
{
	struct pipe_link *p = pipe_of(l);
	ssize_t r;

	if (p->error != 0)
		return (p->error);
	if (p->in < 0 || p->in_broken)
		return (-EPIPE);
	do
		r = send(p->in, buf, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return (r);
	if (errno == EAGAIN || errno == ENOBUFS)
		return (-EAGAIN);
	if (errno == EPIPE || errno == ECONNRESET) {
		p->in_broken = true;
		return (-EPIPE);
	}
	p->error = -errno;
	log_error("%s: cannot send: %s", p->peer, strerror(-p->error));
	return (p->error);
}

static int
pipe_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct pipe_link *p = pipe_of(l);
	int64_t end = timeout_ms < 0 ? INT64_MAX : mono_ms() + timeout_ms;
	struct pollfd f[5];
	int r;

	if (p->error != 0 || p->ended || (want_write && p->in_broken))
		return (0);
	for (;;) {
		f[0] = (struct pollfd){ .fd = p->out, .events = POLLIN };
		f[1] = (struct pollfd){ .fd = want_write ? p->in : -1,
			.events = POLLOUT };
		f[2] =
		    (struct pollfd){ .fd = p->child.pidfd, .events = POLLIN };
		f[3] = (struct pollfd){ .fd = p->err, .events = POLLIN };
		f[4] = (struct pollfd){ .fd = also, .events = POLLIN };
		r = poll(f, 5, timeout_ms < 0 ? -1 : until_ms(end));
		if (r < 0)
			return (-errno);
		if (r == 0)
			return (-ETIMEDOUT);
		if (f[3].revents != 0)
			read_lines(p);
		if ((f[0].revents | f[1].revents | f[2].revents |
			f[4].revents) != 0)
			return (0);
		/* lines alone do not make the wait longer */
		if (until_ms(end) == 0)
			return (-ETIMEDOUT);
	}
}

static int
pipe_shut(struct link *l)
{
	struct pipe_link *p = pipe_of(l);

	if (p->error != 0)
		return (p->error);
	close_fd(&p->in);
	return (0);
}

static void
pipe_close(struct link *l)
{
	struct pipe_link *p = pipe_of(l);
	char words[128];
	int r;

	close_fd(&p->in);
	close_fd(&p->out);
	r = wait_for_end(p, grace_end(&p->limits));
	if (r != 0) {
		if (r != -ECANCELED)
			log_warning(
			    "%s: the command does not end: killed", p->peer);
		child_kill(&p->child);
	} else if (p->error == 0 && child_error(&p->child) != 0) {
		child_words(&p->child, words, sizeof(words));
		log_warning("%s: the command %s", p->peer, words);
	}
	read_lines(p);
	lines_end(&p->lines);
	close_fd(&p->err);
	if (p->hook.free != NULL)
		p->hook.free(p->hook.arg);
	free(p->peer);
	free(p);
}

static const struct link_ops pipe_ops = { pipe_read, pipe_write, pipe_wait,
	pipe_shut, pipe_close };

/* pair[0] ours and not blocking, pair[1] the child's; each above 2 */
static int
make_pair(int pair[2], bool is_socket)
{
	int r;

	if (is_socket)
		r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	else
		r = pipe2(pair, O_CLOEXEC);
	if (r != 0) {
		r = -errno;
		pair[0] = pair[1] = -1;
		return (r);
	}
	for (int i = 0; i < 2; i++)
		if ((pair[i] = fd_above(pair[i])) < 0)
			return (pair[i]);
	return (fd_nonblock(pair[0]));
}

static int
start(struct pipe_link *p, const struct link_pipe_options *o)
{
	int pairs[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } }, fds[3];
	int r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		r = make_pair(pairs[i], i == 0);
		fds[i] = pairs[i][1];
	}
	if (r == 0)
		r = child_start(&p->child, o->argv, fds, o->terminal);
	for (int i = 0; i < 3; i++) {
		if (pairs[i][1] >= 0)
			(void)close(pairs[i][1]);
		if (r != 0 && pairs[i][0] >= 0)
			(void)close(pairs[i][0]);
	}
	if (r != 0)
		return (r);
	p->in = pairs[0][0];
	p->out = pairs[1][0];
	p->err = pairs[2][0];
	(void)fcntl(p->out, F_SETPIPE_SZ, PIPE_BYTES);
	return (0);
}

int
pipe_new(const struct link_pipe_options *o, const struct pipe_hook *hook,
    struct link **out)
{
	struct pipe_link *p = NULL;
	const char *name;
	int r;

	if (o->argv == NULL || o->argv[0] == NULL || o->argv[0][0] == '\0') {
		log_error("a command line without a command");
		return (-EINVAL);
	}
	name = o->peer != NULL ? o->peer : o->argv[0];
	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->peer = strdup(name)) == NULL) {
		r = -ENOMEM;
		goto fail;
	}
	p->link.ops = &pipe_ops;
	p->link.peer = p->peer;
	p->in = p->out = p->err = -1;
	if (o->limits != NULL)
		p->limits = *o->limits;
	lines_init(&p->lines, p->peer);
	if (hook != NULL) {
		p->hook = *hook;
		p->lines.seen = hook->seen;
		p->lines.arg = hook->arg;
	}
	if ((r = start(p, o)) != 0)
		goto fail;
	*out = &p->link;
	return (0);
fail:
	if (hook == NULL || !hook->quiet)
		log_error("%s: cannot run %s: %s", name, o->argv[0],
		    r == -ENOENT ? "no such command" : strerror(-r));
	if (p != NULL)
		free(p->peer);
	free(p);
	return (r);
}

int
link_pipe_new(const struct link_pipe_options *o, struct link **out)
{
	return (pipe_new(o, NULL, out));
}
