/*
 * mount_point -- where a store can be, and be mounted.
 */
#include "fs/mount_point.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "control/control.h"

#define TURN_MS 10000
#define MOUNT_MS 2000
#define TURN_STEP_MS 100

static bool
is_mounted(const char *mountpoint)
{
	char path[PATH_MAX];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/.dsyncfs/status", mountpoint);
	return (stat(path, &st) == 0);
}

int
mount_point_check(const char *given, char out[PATH_MAX])
{
	struct statvfs vfs;
	struct stat st;

	/* The attributes of a dead mount may still be known: statvfs asks it.
	 */
	if (stat(given, &st) != 0 || statvfs(given, &vfs) != 0) {
		if (errno == ENOTCONN)
			log_error("%s: a mount whose program is gone is still "
				  "there; remove it with: fusermount3 -u %s",
			    given, given);
		else
			log_error("%s: cannot be the mount point: %s", given,
			    strerror(errno));
		return (EX_FAIL);
	}
	if (!S_ISDIR(st.st_mode)) {
		log_error("%s: cannot be the mount point: it is not a "
			  "directory",
		    given);
		return (EX_FAIL);
	}
	if (is_mounted(given)) {
		log_error("%s: a store is mounted there already; unmount it "
			  "first: fusermount3 -u %s",
		    given, given);
		return (EX_FAIL);
	}
	if (realpath(given, out) == NULL) {
		log_error("%s: %s", given, strerror(errno));
		return (EX_FAIL);
	}
	return (0);
}

int
mount_point_parents(const char *path)
{
	char part[PATH_MAX];
	size_t i, n = strlen(path);

	if (n >= sizeof(part))
		return (-ENAMETOOLONG);
	for (i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return (-errno);
	}
	return (0);
}

/* ms: for how long it has been so. */
static bool
will_be_free(const char *path, int lock, int ms)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct control_client *mount;

	if (fcntl(lock, F_OFD_GETLK, &fl) != 0 || fl.l_type == F_UNLCK)
		return (false);
	if (control_connect(path, &mount) != 0)
		return (ms < TURN_MS);
	/* A mount; it may be ending. */
	control_close(mount);
	return (ms < MOUNT_MS);
}

void
mount_point_turn(const char *path)
{
	const struct timespec step = { .tv_nsec = TURN_STEP_MS * 1000000L };
	char name[PATH_MAX];
	int lock;

	if (snprintf(name, sizeof(name), "%s/lock", path) >= PATH_MAX ||
	    (lock = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) <
		0)
		return;
	for (int ms = 0; will_be_free(path, lock, ms); ms += TURN_STEP_MS)
		(void)nanosleep(&step, NULL);
	(void)close(lock);
}
