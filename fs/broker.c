/*
 * broker -- what is done for a mount that has closed itself.
 *
 * A request is one packet: a letter and which remote, and with it one
 * descriptor or two: the line, on which the answer comes, an int; and what the
 * request reads or writes.  The end of the line before the answer is a stop.
 * Each is done by a process of its own, which starts what has to be started
 * and waits for it.
 */
#include "fs/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "control/aside.h"
#include "fs/metrics.h"
#include "fs/mount_say.h"

#define LOOK_MS 200 /* between two looks at the stop flag */
#define NAP_MS 20 /* between two looks at a child, without pidfds */
#define ENDING_MS 20000 /* for a sync that was stopped */

extern char **environ;

enum letter {
	ASK_SYNC = 'S',
	ASK_HOOK = 'H',
	ASK_METRICS = 'M',
	ASK_TERMINAL = 'T',
	ASK_UNMOUNT = 'U'
};

struct request {
	uint8_t letter;
	uint32_t remote;
};

struct broker {
	struct aside at;
};

/* ---- what it starts ---- */

static const char *
program(char path[PATH_MAX])
{
	static const char name[] = "dsyncfs-sync";
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return (name);
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL || (size_t)(slash - path) + sizeof(name) >= PATH_MAX)
		return (name);
	memcpy(slash + 1, name, sizeof(name));
	return (access(path, X_OK) == 0 ? path : name);
}

/* In a group of its own, with its words on err; err -1: with none. */
static int
start(const char *const *argv, int err, pid_t *pid)
{
	posix_spawn_file_actions_t f;
	posix_spawnattr_t a;
	sigset_t none, all;
	int e = posix_spawn_file_actions_init(&f);

	if (e != 0)
		return (-e);
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	if ((e = posix_spawnattr_init(&a)) == 0) {
		(void)posix_spawnattr_setsigmask(&a, &none);
		(void)posix_spawnattr_setsigdefault(&a, &all);
		(void)posix_spawnattr_setpgroup(&a, 0);
		(void)posix_spawnattr_setflags(&a,
		    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
			POSIX_SPAWN_SETPGROUP);
		for (int fd = 0; fd <= STDERR_FILENO && e == 0; fd++)
			e = fd == STDERR_FILENO && err >= 0
			    ? posix_spawn_file_actions_adddup2(&f, err, fd)
			    : posix_spawn_file_actions_addopen(
				  &f, fd, "/dev/null", O_RDWR, 0);
		if (e == 0)
			e = posix_spawnp(pid, argv[0], &f, &a,
			    (char *const *)(uintptr_t)argv, environ);
		(void)posix_spawnattr_destroy(&a);
	}
	(void)posix_spawn_file_actions_destroy(&f);
	return (-e);
}

/* Told to stop by the line it is told, too, and has its time. */
static int
wait_for(pid_t pid, int line)
{
	struct pollfd p[2] = { { .fd = pidfd_open(pid, 0), .events = POLLIN },
		{ .fd = line, .events = POLLIN } };
	int status = 0, left = ENDING_MS;
	bool told = false;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 ||
	    (got < 0 && errno == EINTR)) {
		if (!told && p[1].revents != 0) {
			(void)kill(-pid, SIGTERM);
			told = true;
			p[1].fd = -1;
		}
		if (told && (left -= NAP_MS) <= 0)
			(void)kill(-pid, SIGKILL);
		/* poll passes over a descriptor below 0 */
		(void)poll(p, 2, told || p[0].fd < 0 ? NAP_MS : LOOK_MS);
	}
	if (got < 0)
		return (-errno);
	return (WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR);
}

static int
run(const char *const *argv, int err, int line)
{
	pid_t pid = 0;
	int e = start(argv, err, &pid);

	return (e != 0 ? e : wait_for(pid, line));
}

static int
do_sync(const struct broker_settings *s, size_t i, int err, int line)
{
	const char *argv[12];
	char path[PATH_MAX], *location = NULL, *config = NULL;
	size_t n = 0;
	int r = -ENOMEM;

	if (i >= s->n_remotes)
		return (-EINVAL);
	argv[n++] = program(path);
	if (asprintf(&location, "mail_location=%s", s->store) < 0 ||
	    asprintf(
		&config, "--config=%s", s->config != NULL ? s->config : "") < 0)
		goto out;
	if (s->config != NULL)
		argv[n++] = config;
	argv[n++] = "-o";
	argv[n++] = location;
	if (s->remotes[i].session != NULL)
		argv[n++] = "--session";
	argv[n++] = s->remotes[i].backup ? "backup" : "mirror";
	argv[n++] = "--";
	argv[n++] = s->remotes[i].name;
	argv[n] = NULL;
	r = run(argv, err, line);
out:
	free(location);
	free(config);
	return (r);
}

static int
do_unmount(const struct broker_settings *s, int line)
{
	const char *const argv[] = { "fusermount3", "-u", "-q", "-z", "--",
		s->mountpoint, NULL };

	if (umount2(s->mountpoint, MNT_DETACH) == 0)
		return (0);
	return (geteuid() == 0 ? -errno : run(argv, -1, line));
}

static int
act(const struct broker_settings *s, const struct request *q, int line,
    int other)
{
	switch (q->letter) {
	case ASK_SYNC:
		return (do_sync(s, q->remote, other, line));
	case ASK_HOOK:
		return (s->post_sync_command == NULL
			? -EINVAL
			: hook_run_file(
			      s->post_sync_command, other, NULL, line));
	case ASK_METRICS:
		return (s->metrics_file == NULL
			? -EINVAL
			: metrics_save(s->metrics_file, other));
	case ASK_UNMOUNT:
		return (do_unmount(s, line));
	default:
		return (-EINVAL);
	}
}

/* ---- the broker itself ---- */

static void
set_signals(void (*handler)(int signal_number))
{
	static const int which[] = { SIGINT, SIGHUP, SIGTERM, SIGUSR1, SIGPIPE,
		SIGCHLD };
	sigset_t none;

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++)
		(void)signal(which[i], handler);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	mount_say_left_terminal();
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
}

static void
obey(const struct broker_settings *s, int fd, const struct request *q,
    const int fds[2])
{
	pid_t pid = fork();
	int r;

	if (pid > 0)
		return;
	r = -errno;
	if (pid == 0) {
		(void)close(fd);
		set_signals(SIG_DFL); /* what it starts inherits them */
		r = act(s, q, fds[0], fds[1]);
	}
	(void)send(fds[0], &r, sizeof(r), MSG_NOSIGNAL);
	if (pid == 0)
		_exit(0);
}

static void
serve(const void *arg, int fd)
{
	const struct broker_settings *s = arg;
	int fds[2] = { -1, -1 };
	struct request q;

	/* It ends with its socket, so that the mount is unmounted first. */
	set_signals(SIG_IGN);
	(void)setsid();
	while (aside_recv(fd, &q, sizeof(q), fds, 2) == sizeof(q)) {
		if (q.letter == ASK_TERMINAL)
			leave_terminal();
		else
			obey(s, fd, &q, fds);
		for (int i = 0; i < 2; i++) {
			if (fds[i] >= 0)
				(void)close(fds[i]);
			fds[i] = -1;
		}
	}
}

/* ---- the mount ---- */

int
broker_start(const struct broker_settings *s, struct broker **out)
{
	struct broker *b = calloc(1, sizeof(*b));
	int r = b == NULL ? -ENOMEM
			  : aside_start("dsyncfs-broker", serve, s, &b->at);

	if (r == 0) {
		*out = b;
		return (0);
	}
	log_error("the process that starts programs for the mount cannot be "
		  "started: %s",
	    strerror(-r));
	free(b);
	return (r);
}

/* One that is under way. */
struct asked {
	int line; /* owned */
	bool told; /* to stop */
};

/* other stays the caller's. */
static int
ask(struct broker *b, enum letter letter, size_t remote, int other,
    struct asked *k)
{
	const struct request q = { (uint8_t)letter, (uint32_t)remote };
	int pair[2], fds[2];
	ssize_t sent;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return (-errno);
	fds[0] = pair[1];
	fds[1] = other;
	sent = aside_send(b->at.fd, &q, sizeof(q), fds, other < 0 ? 1 : 2, 0);
	(void)close(pair[1]);
	if (sent < 0)
		(void)close(pair[0]);
	*k = (struct asked){ .line = pair[0] };
	return (sent < 0 ? (int)sent : 0);
}

static void
look_at_stop(struct asked *k, const atomic_int *stop)
{
	if (k->told || stop == NULL || !*stop)
		return;
	(void)shutdown(k->line, SHUT_WR);
	k->told = true;
}

static int
answer(struct asked *k, const atomic_int *stop)
{
	struct pollfd p = { .fd = k->line, .events = POLLIN };
	int r, got;

	do
		look_at_stop(k, stop);
	while (poll(&p, 1, LOOK_MS) <= 0);
	got = recv(k->line, &r, sizeof(r), 0) == sizeof(r) ? r : -EPIPE;
	(void)close(k->line);
	return (got);
}

int
broker_sync(struct broker *b, size_t i,
    void (*err)(void *arg, const char *text, size_t n), void *arg,
    const atomic_int *stop)
{
	struct asked k;
	struct pollfd p = { .events = POLLIN };
	char text[4096];
	ssize_t n = 1;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return (-errno);
	r = ask(b, ASK_SYNC, i, ends[1], &k);
	(void)close(ends[1]);
	p.fd = ends[0];
	while (r == 0 && n != 0) {
		look_at_stop(&k, stop);
		if (poll(&p, 1, LOOK_MS) <= 0)
			continue;
		n = read(ends[0], text, sizeof(text));
		if (n > 0)
			err(arg, text, (size_t)n);
		else if (n < 0 && errno != EINTR)
			break;
	}
	(void)close(ends[0]);
	return (r != 0 ? r : answer(&k, stop));
}

int
broker_hook(struct broker *b, const char *const *names, size_t n,
    const atomic_int *stop)
{
	int in = hook_names(names, n), r = in < 0 ? in : 0;
	struct asked k;

	if (r == 0)
		r = ask(b, ASK_HOOK, 0, in, &k);
	if (in >= 0)
		(void)close(in);
	if (r == 0)
		return (answer(&k, stop));
	log_error("post_sync_command: cannot be run: %s", strerror(-r));
	return (r);
}

int
broker_metrics(struct broker *b, const void *p, size_t n)
{
	int fd = memfd_create("metrics", MFD_CLOEXEC), r = 0;
	struct asked k;

	if (fd < 0)
		return (-errno);
	if (write(fd, p, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
		r = errno != 0 ? -errno : -EIO;
	if (r == 0)
		r = ask(b, ASK_METRICS, 0, fd, &k);
	(void)close(fd);
	return (r != 0 ? r : answer(&k, NULL));
}

void
broker_left_terminal(struct broker *b)
{
	struct asked k;

	if (ask(b, ASK_TERMINAL, 0, -1, &k) == 0)
		(void)answer(&k, NULL);
}

void
broker_unmount(struct broker *b)
{
	struct asked k;

	if (ask(b, ASK_UNMOUNT, 0, -1, &k) == 0)
		(void)answer(&k, NULL);
}

void
broker_stop(struct broker *b)
{
	if (b == NULL)
		return;
	aside_stop(&b->at);
	free(b);
}
