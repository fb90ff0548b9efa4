/*
 * helper -- pokes folders of the mount, in a process of its own.
 *
 * A request is one packet: the mount point and a folder below it, each ended by
 * NUL.
 */
#include "fs/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"

#define FUSE_MAGIC 0x65735546
#define PACKET_MAX (2 * PATH_MAX)

/* ---- in the helper ---- */

static void
touch_part(int mnt, const char *folder, const char *part)
{
	char path[PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, part);
	(void)utimensat(mnt, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/*
 * What fails here is only seen later, by somebody who looks again: there is
 * nothing to say.  The mount point may be a plain directory by now.
 */
static void
obey(const char *packet, size_t n)
{
	size_t folder = strnlen(packet, n) + 1;
	struct statfs fs;
	int mnt;

	if (folder >= n || packet[n - 1] != '\0')
		return;
	mnt = open(packet, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mnt < 0)
		return;
	if (fstatfs(mnt, &fs) == 0 && fs.f_type == FUSE_MAGIC) {
		touch_part(mnt, packet + folder, "new");
		touch_part(mnt, packet + folder, "cur");
	}
	(void)close(mnt);
}

static void
close_others(int keep)
{
	if (keep > 3)
		(void)close_range(3, (unsigned)keep - 1, 0);
	(void)close_range((unsigned)keep + 1, UINT_MAX, 0);
}

static _Noreturn void
run(int fd)
{
	static char packet[PACKET_MAX];
	ssize_t n;

	for (;;) {
		n = recv(fd, packet, sizeof(packet), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		obey(packet, (size_t)n);
	}
}

/*
 * It says nothing, and whoever started the mount may wait for its output to
 * end.
 */
static void
silence(void)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
}

static void
ignore_signals(void)
{
	static const int which[] = { SIGINT, SIGHUP, SIGTERM, SIGUSR1,
		SIGPIPE };
	sigset_t none;
	size_t i;

	/* It ends with its socket, so that the mount is unmounted first. */
	for (i = 0; i < sizeof(which) / sizeof(which[0]); i++)
		(void)signal(which[i], SIG_IGN);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- in the mount ---- */

int
helper_start(pid_t *pid)
{
	int pair[2], error;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		error = -errno;
		goto fail;
	}
	if ((child = fork()) < 0) {
		error = -errno;
		(void)close(pair[0]);
		(void)close(pair[1]);
		goto fail;
	}
	if (child == 0) {
		ignore_signals();
		silence();
		close_others(pair[1]);
		(void)prctl(PR_SET_NAME, "dsyncfs-helper");
		if (chdir("/") != 0)
			_exit(1);
		run(pair[1]);
	}
	(void)close(pair[1]);
	*pid = child;
	return (pair[0]);
fail:
	log_error("the process that wakes up watching programs cannot be "
		  "started: %s",
	    strerror(-error));
	return (error);
}

int
helper_poke(int helper, const char *mountpoint, const char *folder)
{
	char packet[PACKET_MAX];
	size_t n = strlen(mountpoint) + 1, k = strlen(folder) + 1;
	ssize_t sent;

	if (n > PATH_MAX || k > PATH_MAX)
		return (-ENAMETOOLONG);
	memcpy(packet, mountpoint, n);
	memcpy(packet + n, folder, k);
	do
		sent = send(helper, packet, n + k, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (0);
	return (errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE);
}
