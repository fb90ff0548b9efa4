/*
 * user -- -u, and each of -A and -F: that user's environment, and as root his
 * rights instead of ours.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

/* Real, effective and saved, of both kinds; and none of root's comes back. */
static bool
is_for_good(uid_t uid, gid_t gid)
{
	uid_t u[3];
	gid_t g[3];

	if (getresuid(&u[0], &u[1], &u[2]) != 0 ||
	    getresgid(&g[0], &g[1], &g[2]) != 0)
		return (false);
	for (int i = 0; i < 3; i++)
		if (u[i] != uid || g[i] != gid)
			return (false);
	if (uid == 0)
		return (true);
	return (setuid(0) != 0 && seteuid(0) != 0 &&
	    (gid == 0 || (setgid(0) != 0 && setegid(0) != 0)));
}

int
user_drop(const char *name, uid_t uid, gid_t gid)
{
	if (initgroups(name, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
		return (-errno);
	return (is_for_good(uid, gid) ? 0 : -EPERM);
}

int
user_environment(const char *name, const char *home)
{
	static const char *const xdg[] = { "XDG_CONFIG_HOME", "XDG_DATA_HOME",
		"XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR" };

	if (setenv("HOME", home, 1) != 0 || setenv("USER", name, 1) != 0 ||
	    setenv("LOGNAME", name, 1) != 0)
		return (-errno);
	for (size_t i = 0; i < sizeof(xdg) / sizeof(xdg[0]); i++)
		(void)unsetenv(xdg[i]);
	return (0);
}

int
user_switch(const char *name)
{
	struct passwd *pw;
	int r;

	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL) {
		log_error(
		    "option -u: there is no user '%.100s' on this machine%s%s",
		    name, errno != 0 ? ": " : "",
		    errno != 0 ? strerror(errno) : "");
		return (EX_BAD_USAGE);
	}
	if (geteuid() != 0 && geteuid() != pw->pw_uid) {
		log_error(
		    "option -u: only root can act for user '%.100s'", name);
		return (EX_PERMISSION);
	}
	if (geteuid() == 0 &&
	    (r = user_drop(pw->pw_name, pw->pw_uid, pw->pw_gid)) != 0) {
		log_error("option -u: cannot become user '%.100s': %s", name,
		    strerror(-r));
		return (EX_PERMISSION);
	}
	return (
	    user_environment(pw->pw_name, pw->pw_dir) != 0 ? EX_FAIL : EX_DONE);
}
