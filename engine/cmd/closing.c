/*
 * closing -- how a command gives up its rights before it reads what others
 * wrote, and how one that does so several times does it in processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "cmd/launcher.h"

#define LOOK_MS 200 /* between two looks at the stop flag */
#define NAP_MS 20 /* between two looks at the child, without pidfds */

/* A mount is closed already. */
bool
closing_wanted(const struct cmd *c)
{
	return (
	    c->local == NULL && c->backends->sandbox != NULL && c->cfg.sandbox);
}

int
closing_prepare(struct cmd *c)
{
	if (!closing_wanted(c) || c->launcher != NULL ||
	    c->cfg.post_sync_command == NULL || c->o->dry_run)
		return (EX_DONE);
	return (cmd_status_of(
	    launcher_start(c->cfg.post_sync_command, &c->launcher)));
}

/* Also one that has ended. */
static bool
has_child(void)
{
	siginfo_t info;

	return (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ||
	    errno != ECHILD);
}

int
closing_now(struct cmd *c, bool children)
{
	int r = 0;

	if (!closing_wanted(c) || c->closed)
		return (EX_DONE);
	r = c->backends->sandbox->close(
	    children && has_child() ? SANDBOX_SIGNALS : 0);
	c->closed = r == 0;
	return (r == 0 ? EX_DONE : EX_FAIL);
}

int
closing_run(struct cmd *c, bool children, int (*fn)(void *arg), void *arg)
{
	int status = closing_now(c, children);

	return (status == 0 ? fn(arg) : status);
}

/* ---- a process for a part ---- */

/*
 * A second signal ends the parent at once, and that this one; it does not end
 * this one alone.
 */
static void
child_begins(struct cmd *c, const int tell[2], pid_t parent)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction sa;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (sigaction(signals[i], NULL, &sa) != 0)
			continue;
		sa.sa_flags &= ~(int)SA_RESETHAND;
		(void)sigaction(signals[i], &sa, NULL);
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		(void)raise(SIGKILL);
	(void)close(tell[0]);
	c->tell = tell[1];
	c->apart = true;
}

static int
wait_for(const struct cmd *c, pid_t pid)
{
	struct pollfd p = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	bool told = false;
	int how = 0;
	pid_t got;

	while ((got = waitpid(pid, &how, WNOHANG)) == 0 ||
	    (got < 0 && errno == EINTR)) {
		if (!told && cmd_stopped(c)) {
			(void)kill(pid, SIGTERM);
			told = true;
		}
		/* poll passes over a descriptor below 0 */
		(void)poll(&p, 1, p.fd >= 0 ? LOOK_MS : NAP_MS);
	}
	if (p.fd >= 0)
		(void)close(p.fd);
	if (got == pid && WIFEXITED(how))
		return (WEXITSTATUS(how));
	log_error("the process of this sync was killed by signal %d",
	    got == pid ? WTERMSIG(how) : 0);
	return (EX_FAIL);
}

bool
closing_apart(struct cmd *c, void *result, size_t n, int *status)
{
	pid_t parent = getpid(), pid = -1;
	int tell[2];

	memset(result, 0, n);
	out_flush(c);
	progress_clear(c);
	if (pipe2(tell, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		log_error("no process for this sync: %s", strerror(errno));
		*status = EX_TRY_LATER;
		return (false);
	}
	if (pid == 0) {
		child_begins(c, tell, parent);
		return (true);
	}
	(void)close(tell[1]);
	*status = wait_for(c, pid);
	/* One packet, or nothing: it has ended. */
	if (read(tell[0], result, n) != (ssize_t)n)
		memset(result, 0, n);
	(void)close(tell[0]);
	return (false);
}

void
closing_tell(const struct cmd *c, const void *result, size_t n)
{
	/* Who does not hear it takes it for a failure. */
	(void)!write(c->tell, result, n);
}
