/*
 * user -- -u: that user's environment, and as root his rights instead of ours.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

/* For good: the saved ids go too, and that is checked. */
static int
drop_to(const struct passwd *pw)
{
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 ||
	    setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		return (-errno);
	if (pw->pw_uid != 0 && setuid(0) == 0)
		return (-EPERM);
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
	if (geteuid() == 0 && (r = drop_to(pw)) != 0) {
		log_error("option -u: cannot become user '%.100s': %s", name,
		    strerror(-r));
		return (EX_PERMISSION);
	}
	if (setenv("HOME", pw->pw_dir, 1) != 0 ||
	    setenv("USER", pw->pw_name, 1) != 0 ||
	    setenv("LOGNAME", pw->pw_name, 1) != 0)
		return (EX_FAIL);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_CACHE_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	return (EX_DONE);
}
