/*
 * many_child -- how the process of one user of -A or -F becomes that user.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

/* Nothing of root's own surroundings is a user's business. */
static int
child_environment(const struct user *u)
{
	static const char *const kept[] = { "PATH", "TZ", "LANG", "LANGUAGE",
		"LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME", "TMPDIR" };
	char *value[sizeof(kept) / sizeof(kept[0])];
	const char *v;
	int r = 0;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		v = getenv(kept[i]);
		value[i] = v != NULL ? strdup(v) : NULL;
		if (v != NULL && value[i] == NULL)
			r = -ENOMEM;
	}
	if (r == 0 && clearenv() != 0)
		r = -ENOMEM;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (r == 0 && value[i] != NULL &&
		    setenv(kept[i], value[i], 1) != 0)
			r = -errno;
		free(value[i]);
	}
	if (r == 0 && *u->shell != '\0' && setenv("SHELL", u->shell, 1) != 0)
		r = -errno;
	return (r != 0 ? r : user_environment(u->name, u->home));
}

/*
 * The program's own handlers, and a second signal does not end a child at once:
 * it may come from whoever told our parent, too.
 */
static void
child_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction sa;

	for (size_t i = 0; i < 3; i++) {
		if (sigaction(signals[i], NULL, &sa) != 0)
			continue;
		sa.sa_flags &= ~(int)SA_RESETHAND;
		(void)sigaction(signals[i], &sa, NULL);
	}
}

static int
child_files(int out, int err)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || (null != 0 && dup2(null, STDIN_FILENO) < 0) ||
	    dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
		return (-errno);
	if (null == 0 && fcntl(null, F_SETFD, 0) != 0)
		return (-errno);
	return (0);
}

static int
child_rights(const struct user *u)
{
	int r;

	if (geteuid() != 0)
		return (EX_DONE);
	r = u->uid == 0 ? -EPERM : user_drop(u->name, u->uid, u->gid);
	if (r == 0)
		return (EX_DONE);
	log_error("cannot become this user: %s", strerror(-r));
	return (EX_PERMISSION);
}

static int
child_home(const struct user *u)
{
	int r;

	if (*u->home == '/' && chdir(u->home) == 0)
		return (EX_DONE);
	r = *u->home == '/' ? -errno : -ENOENT;
	log_error("the home directory '%.200s' cannot be entered: %s", u->home,
	    strerror(-r));
	return (cmd_status_of(r));
}

/*
 * Rights first, so that nothing of the user is touched with others.  A terminal
 * of ours is none of a program that a user runs: it could type into it.
 */
int
many_child(const struct user *u, int out, int err, pid_t parent)
{
	int r = child_files(out, err), status;

	(void)setsid();
	(void)umask(077);
	child_signals();
	if (r != 0)
		return (EX_FAIL);
	status = child_rights(u);
	/* Not before: the user database may have one open. */
	closefrom(STDERR_FILENO + 1);
	if (status == 0 && child_environment(u) != 0)
		status = EX_FAIL;
	if (status == 0)
		status = child_home(u);
	if (status != 0)
		return (status);
	/* Where our parent dies, this is as if it had told us to stop. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		(void)raise(SIGTERM);
	return (EX_DONE);
}

/* The command line that is this user's. */
int
many_child_command(struct cmd *c, const struct user *u)
{
	struct options *o = arena_memdup(&c->arena, c->o, sizeof(*o));

	if (o == NULL)
		return (EX_FAIL);
	o->user = u->name;
	o->all_users = false;
	o->user_file = NULL;
	/* From here on the directory is another one. */
	if (o->config != NULL && c->cfg.file != NULL)
		o->config = arena_strdup(&c->arena, c->cfg.file);
	c->o = o;
	c->of_many = true;
	c->progress_wanted = false;
	return (c->arena.error != 0 ? EX_FAIL : EX_DONE);
}
