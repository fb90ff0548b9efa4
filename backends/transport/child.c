/*
 * child -- a program that we run, from its start to its end.
 *
 * posix_spawn, not fork: a mount has threads, and much memory.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_MS 2000 /* from SIGTERM to SIGKILL */
#define NAP_MS 20 /* between two looks, without pidfds */

extern char **environ;

/*
 * What a child may know: who we are, where, in which language and time zone,
 * and how to reach the user's agents and screen (a command that asks for a
 * password needs them).  Nothing else: doveadm, for one, would take a parent's
 * DOVECONF_ENV for its own configuration.
 */
static bool
is_kept(const char *var)
{
	static const char *const names[] = { "PATH", "HOME", "USER", "LOGNAME",
		"SHELL", "LANG", "LANGUAGE", "TERM", "TZ", "TMPDIR",
		"SSH_AUTH_SOCK", "SSH_ASKPASS", "KRB5CCNAME", "DISPLAY",
		"WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS",
		"GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_DIR" };
	size_t n = strcspn(var, "=");

	if (strncmp(var, "LC_", 3) == 0 || strncmp(var, "XDG_", 4) == 0)
		return (true);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == n && strncmp(var, names[i], n) == 0)
			return (true);
	return (false);
}

/* Owned by the caller; the strings are the environment's. */
static char **
kept_environment(void)
{
	size_t n = 0, k = 0;
	char **env;

	while (environ != NULL && environ[n] != NULL)
		n++;
	env = calloc(n + 1, sizeof(*env));
	for (size_t i = 0; env != NULL && i < n; i++)
		if (is_kept(environ[i]))
			env[k++] = environ[i];
	return (env);
}

static int
set_attributes(posix_spawnattr_t *at, bool terminal)
{
	sigset_t all, none;
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	if (!terminal)
		flags |= POSIX_SPAWN_SETSID;
	if ((r = posix_spawnattr_setsigdefault(at, &all)) == 0 &&
	    (r = posix_spawnattr_setsigmask(at, &none)) == 0)
		r = posix_spawnattr_setflags(at, flags);
	return (r);
}

static int
set_files(posix_spawn_file_actions_t *fa, const int fd[3])
{
	int r = 0;

	for (int i = 0; i < 3 && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(fa, fd[i], i);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(fa, 3);
	return (r);
}

int
child_start(
    struct child *c, const char *const *argv, const int fd[3], bool terminal)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	char **env;
	pid_t pid;
	int r;

	memset(c, 0, sizeof(*c));
	c->pidfd = -1;
	if ((env = kept_environment()) == NULL)
		return (-ENOMEM);
	if ((r = posix_spawn_file_actions_init(&fa)) != 0)
		goto no_files;
	if ((r = posix_spawnattr_init(&at)) != 0)
		goto no_attributes;
	if ((r = set_attributes(&at, terminal)) == 0 &&
	    (r = set_files(&fa, fd)) == 0)
		/* it does not write to argv: the type is older than const */
		r = posix_spawnp(&pid, argv[0], &fa, &at,
		    (char *const *)(uintptr_t)argv, env);
	if (r == 0) {
		c->pid = pid;
		c->group = !terminal;
		c->pidfd = pidfd_open(pid, 0);
	}
	(void)posix_spawnattr_destroy(&at);
no_attributes:
	(void)posix_spawn_file_actions_destroy(&fa);
no_files:
	free(env);
	return (-r);
}

static void
has_ended(struct child *c, bool known, int status)
{
	c->known = known;
	c->status = status;
	c->pid = 0;
	if (c->pidfd >= 0)
		(void)close(c->pidfd);
	c->pidfd = -1;
}

bool
child_ended(struct child *c)
{
	int status;
	pid_t r;

	if (c->pid == 0)
		return (true);
	do
		r = waitpid(c->pid, &status, WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return (false);
	/* ECHILD: somebody else ignores or reaps our children */
	has_ended(c, r > 0, r > 0 ? status : 0);
	return (true);
}

int
child_wait(struct child *c, int64_t end, const struct link_limits *l)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
	int64_t nap;
	int r;

	while (!child_ended(c)) {
		nap = mono_ms() + NAP_MS;
		r = poll_until(
		    &p, p.fd >= 0, p.fd < 0 && nap < end ? nap : end, l);
		if (r == -ECANCELED)
			return (r);
		if (r == -ETIMEDOUT && until_ms(end) == 0)
			return (child_ended(c) ? 0 : r);
	}
	return (0);
}

void
child_kill(struct child *c)
{
	static const int signals[] = { SIGTERM, SIGKILL };

	for (size_t i = 0; i < 2 && !child_ended(c); i++) {
		(void)kill(c->group ? -c->pid : c->pid, signals[i]);
		(void)child_wait(c, mono_ms() + KILL_MS, NULL);
	}
}

void
child_words(const struct child *c, char *out, size_t size)
{
	if (!c->known)
		(void)snprintf(out, size, "has ended");
	else if (WIFSIGNALED(c->status))
		(void)snprintf(out, size, "was killed by signal %d (%s)",
		    WTERMSIG(c->status), strsignal(WTERMSIG(c->status)));
	else if (WEXITSTATUS(c->status) == 127)
		(void)snprintf(
		    out, size, "ended with status 127: command not found");
	else if (WEXITSTATUS(c->status) == 126)
		(void)snprintf(out, size,
		    "ended with status 126: the command cannot be run");
	else
		(void)snprintf(
		    out, size, "ended with status %d", WEXITSTATUS(c->status));
}

int
child_error(const struct child *c)
{
	if (!c->known)
		return (0);
	if (!WIFEXITED(c->status))
		return (-EPIPE);
	switch (WEXITSTATUS(c->status)) {
	case 0:
		return (0);
	case 126:
	case 127:
		return (-ENOENT);
	default:
		return (-EPIPE);
	}
}

int
fd_above(int fd)
{
	int high, error = 0;

	if (fd > STDERR_FILENO)
		return (fd);
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (high < 0)
		error = -errno;
	(void)close(fd);
	return (high < 0 ? error : high);
}

int
fd_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return (-errno);
	return (0);
}
