/*
 * dsync_peer -- one brain over a command's pipes or its own: for tests with a
 * real dsync at the other end.
 *
 * dsync_peer [-b|-r] [-1] [-f] [-m BOX] [-T SECS] [-w FILE] master LOCATION
 * CMD... dsync_peer [-T SECS] [-w FILE] slave LOCATION
 *
 * -b backup, -r backup the other way, -1 one way, -f in full, -w copies what
 * goes over the wire to FILE.in and FILE.out.  Exit status: 0, 2 run again, 1
 * failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/dsync/dsync.h"
#include "backends/registry.h"
#include "base/log.h"
#include "sync/brain.h"

/* ---- a link over two descriptors ---- */

struct fds {
	struct link l;
	int in, out;
};

static ssize_t
result(ssize_t n, const char *what)
{
	int e = errno;

	if (n >= 0)
		return (n);
	if (e == EAGAIN || e == EINTR)
		return (-EAGAIN);
	if (e != EPIPE)
		log_error("%s: %s", what, strerror(e));
	return (-e);
}

static ssize_t
fds_read(struct link *l, void *p, size_t n)
{
	return (result(read(((struct fds *)(void *)l)->in, p, n), l->peer));
}

static ssize_t
fds_write(struct link *l, const void *p, size_t n)
{
	return (result(write(((struct fds *)(void *)l)->out, p, n), l->peer));
}

static int
fds_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct fds *f = (struct fds *)(void *)l;
	struct pollfd p[3] = { { f->in, POLLIN, 0 },
		{ want_write ? f->out : -1, POLLOUT, 0 }, { also, POLLIN, 0 } };
	int n = poll(p, 3, timeout_ms);

	return (n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno);
}

static int
fds_shut(struct link *l)
{
	struct fds *f = (struct fds *)(void *)l;

	if (f->out >= 0)
		(void)close(f->out);
	f->out = -1;
	return (0);
}

static void
fds_close(struct link *l)
{
	(void)fds_shut(l);
	(void)close(((struct fds *)(void *)l)->in);
}

static const struct link_ops fds_ops = { fds_read, fds_write, fds_wait,
	fds_shut, fds_close };

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static pid_t
start(char **argv, struct fds *f)
{
	int to[2], from[2];
	pid_t pid;

	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		if (dup2(to[0], 0) < 0 || dup2(from[1], 1) < 0)
			_exit(127);
		(void)execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	f->in = from[0];
	f->out = to[1];
	return (pid);
}

/* ---- the sync ---- */

struct wire {
	FILE *f[2];
};

static void
on_raw(void *arg, bool sent, const void *p, size_t n)
{
	struct wire *w = arg;

	if (fwrite(p, 1, n, w->f[sent]) != n || fflush(w->f[sent]) != 0)
		fail("wire log");
}

static void
open_wire(const char *name, struct wire *w, struct channel_dsync_options *o)
{
	char path[4096];

	for (int i = 0; i < 2; i++) {
		(void)snprintf(
		    path, sizeof(path), "%s.%s", name, i == 0 ? "in" : "out");
		w->f[i] = fopen(path, "wb");
		if (w->f[i] == NULL)
			fail(path);
	}
	o->raw = on_raw;
	o->raw_arg = w;
}

static void
on_change(void *arg, const char *mailbox, uint32_t uid, const char *what)
{
	(void)arg;
	(void)fprintf(stderr, "  %s %u: %s\n", mailbox, uid, what);
}

static const struct sync_events loud = { .change = on_change };

static int
run(struct replica *r, struct fds *f, bool master, const struct sync_options *o,
    const struct channel_dsync_options *co, unsigned timeout)
{
	const struct sync_events *e = getenv("LOUD") != NULL ? &loud : NULL;
	struct sync_result res = { 0 };
	struct brain *b = NULL;
	struct channel *c;
	unsigned problems = 0;
	int rc;

	r->ops->lock(r);
	rc = r->ops->refresh(r, NULL, &problems);
	r->ops->unlock(r);
	if (rc == 0)
		rc = channel_dsync_new(&f->l, co, &c);
	if (rc != 0)
		return (1);
	rc = master ? brain_new_master(r, c, o, e, &b)
		    : brain_new_slave(r, c, e, &b);
	if (rc == 0)
		rc = sync_run_link(b, &f->l, timeout, 0);
	if (b != NULL)
		brain_result(b, &res);
	brain_free(b);
	c->ops->close(c);
	if (rc != 0)
		return (1);
	return (res.changes_during_sync || res.incomplete ? 2 : 0);
}

static void
usage(void)
{
	(void)fputs("usage: dsync_peer [-b|-r] [-1] [-f] [-m BOX] [-T SECS] "
		    "[-w FILE] master LOCATION CMD...\n"
		    "       dsync_peer [-T SECS] [-w FILE] slave LOCATION\n",
	    stderr);
	exit(64);
}

static void
nonblocking(int fd)
{
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		fail("fcntl");
}

int
main(int argc, char **argv)
{
	struct sync_options o = { .type = SYNC_STATE };
	struct channel_dsync_options co = { .peer = "dsync" };
	struct fds f = { { &fds_ops, "dsync" }, 0, 1 };
	struct arena a = ARENA_INIT;
	struct location l;
	struct replica *r;
	struct wire w;
	const char *box;
	unsigned timeout = 60;
	pid_t pid = 0;
	bool master;
	int opt, rc, status = 0;

	while ((opt = getopt(argc, argv, "+br1fm:T:w:")) != -1) {
		switch (opt) {
		case 'b':
			o.mode = SYNC_BACKUP;
			break;
		case 'r':
			o.mode = SYNC_BACKUP_REVERSE;
			break;
		case '1':
			o.one_way = true;
			break;
		case 'f':
			o.type = SYNC_FULL;
			break;
		case 'm':
			box = optarg;
			o.mailbox = &box;
			o.mailboxes = 1;
			break;
		case 'T':
			timeout = (unsigned)atoi(optarg);
			break;
		case 'w':
			open_wire(optarg, &w, &co);
			break;
		default:
			usage();
		}
	}
	argc -= optind;
	argv += optind;
	master = argc > 2 && strcmp(argv[0], "master") == 0;
	/* Dovecot puts "dsync-server" behind a destination's command. */
	if (!master && (argc < 2 || strcmp(argv[0], "slave") != 0))
		usage();
	(void)signal(SIGPIPE, SIG_IGN);
	if (location_parse(
		&a, backends_registry, argv[1], "command line", &l) != 0 ||
	    location_open(backends_registry, &l, NULL, LOCATION_CREATE, &r) !=
		0)
		return (1);
	if (master)
		pid = start(argv + 2, &f);
	nonblocking(f.in);
	nonblocking(f.out);
	rc = run(r, &f, master, &o, &co, timeout);
	f.l.ops->close(&f.l);
	if (r->ops->close(r) != 0)
		rc = 1;
	if (pid != 0 && waitpid(pid, &status, 0) == pid && status != 0)
		(void)fprintf(stderr, "dsync_peer: %s ended with status %d\n",
		    argv[2], status);
	arena_fini(&a);
	return (rc);
}
