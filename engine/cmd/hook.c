/*
 * hook -- post_sync_command: what a user wants to be done when a sync has
 * changed mailboxes here.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "cmd/launcher.h"

#define LOOK_MS 200 /* between two looks at the stop flag */
#define NAP_MS 20 /* between two looks at the child, without pidfds */

extern char **environ;

/* ---- running it ---- */

int
hook_names(const char *const *names, size_t n)
{
	int fd = memfd_create("mailboxes", MFD_CLOEXEC), e;
	struct buf b = BUF_INIT;
	ssize_t done = 0;

	if (fd < 0)
		return (-errno);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s\n", names[i]);
	e = b.error;
	for (size_t at = 0; e == 0 && at < b.len; at += (size_t)done) {
		done = write(fd, b.data + at, b.len - at);
		if (done < 0)
			e = -errno;
	}
	buf_fini(&b);
	if (e == 0 && lseek(fd, 0, SEEK_SET) != 0)
		e = -errno;
	if (e == 0)
		return (fd);
	(void)close(fd);
	return (e);
}

/* Its words go to standard error: standard output may be a sync's data. */
static int
start(const char *command, int in, pid_t *pid)
{
	const char *const argv[] = { "sh", "-c", command, NULL };
	posix_spawn_file_actions_t f;
	posix_spawnattr_t a;
	sigset_t none;
	int e = -posix_spawn_file_actions_init(&f);

	if (e != 0)
		return (e);
	(void)sigemptyset(&none);
	if ((e = -posix_spawnattr_init(&a)) == 0) {
		(void)posix_spawnattr_setsigmask(&a, &none);
		(void)posix_spawnattr_setpgroup(&a, 0);
		(void)posix_spawnattr_setflags(
		    &a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
		e = -posix_spawn_file_actions_adddup2(&f, in, STDIN_FILENO);
		if (e == 0)
			e = -posix_spawn_file_actions_adddup2(
			    &f, STDERR_FILENO, STDOUT_FILENO);
		if (e == 0)
			e = -posix_spawn(pid, "/bin/sh", &f, &a,
			    (char *const *)(uintptr_t)argv, environ);
		(void)posix_spawnattr_destroy(&a);
	}
	(void)posix_spawn_file_actions_destroy(&f);
	return (e);
}

/* 0, -EINTR: told to stop; it is on its own then. */
static int
wait_for(pid_t pid, const atomic_int *stop, int hang, int *status)
{
	struct pollfd p[2] = { { .fd = pidfd_open(pid, 0), .events = POLLIN },
		{ .fd = hang, .events = POLLIN } };
	pid_t got;
	int e = 0;

	while ((got = waitpid(pid, status, WNOHANG)) == 0 ||
	    (got < 0 && errno == EINTR)) {
		if ((stop != NULL && *stop) || p[1].revents != 0) {
			(void)kill(-pid, SIGTERM);
			e = -EINTR;
			break;
		}
		/* poll passes over a descriptor below 0 */
		(void)poll(p, 2, p[0].fd >= 0 ? LOOK_MS : NAP_MS);
	}
	if (e == 0 && got < 0)
		e = -errno;
	if (p[0].fd >= 0)
		(void)close(p[0].fd);
	return (e);
}

int
hook_run_file(const char *command, int in, const atomic_int *stop, int hang)
{
	int status = 0, e;
	pid_t pid = 0;

	e = in < 0 ? in : start(command, in, &pid);
	if (e != 0) {
		log_error("post_sync_command: cannot be run: %s", strerror(-e));
		return (e);
	}
	e = wait_for(pid, stop, hang, &status);
	if (e != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return (e);
	log_warning("post_sync_command: '%.200s' ended with %s %d", command,
	    WIFEXITED(status) ? "status" : "signal",
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return (-ECHILD);
}

int
hook_run(const char *command, const char *const *names, size_t n,
    const atomic_int *stop)
{
	int in = hook_names(names, n);
	int e = hook_run_file(command, in, stop, -1);

	if (in >= 0)
		(void)close(in);
	return (e);
}

/* ---- after a sync ---- */

struct changed {
	struct cmd *c;
	const struct guid *peer;
	const char **name;
	size_t n, cap;
};

static int
on_entry(void *arg, const struct log_entry *e)
{
	struct changed *k = arg;

	if (!guid_eq(&e->origin, k->peer) || *e->mailbox == '\0')
		return (0);
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->name[i], e->mailbox) == 0)
			return (0);
	if (k->n == k->cap) {
		size_t cap = k->cap * 2 + 16;
		const char **v = reallocarray(k->name, cap, sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		k->name = v;
		k->cap = cap;
	}
	k->name[k->n] = arena_strdup(&k->c->arena, e->mailbox);
	return (k->name[k->n++] == NULL ? -ENOMEM : 0);
}

void
hook_after(
    struct cmd *c, struct replica *r, const struct guid *peer, uint64_t lsn)
{
	struct changed k = { .c = c, .peer = peer };
	uint64_t next;
	int e;

	if (c->o->dry_run || c->passes_on ||
	    (c->local != NULL ? c->local->changed == NULL
			      : c->cfg.post_sync_command == NULL))
		return;
	replica_lock(r);
	e = store_log(r->store, lsn, on_entry, &k, &next);
	replica_unlock(r);
	if (e == 0 && k.n != 0 && c->local != NULL)
		c->local->changed(c->local->arg, k.name, k.n);
	else if (e == 0 && k.n != 0 && c->launcher != NULL)
		(void)launcher_hook(c->launcher, k.name, k.n, c->stop);
	else if (e == 0 && k.n != 0)
		(void)hook_run(c->cfg.post_sync_command, k.name, k.n, c->stop);
	free(k.name);
}
