/*
 * helper -- changes names in the mount, in a process of its own.
 *
 * A request is one packet: a letter (enum helper_do), the mount point, and two
 * paths below it, each ended by NUL.
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
#define PACKET_MAX (1 + 3 * PATH_MAX)

/* ---- in the helper ---- */

static void
touch_part(int mnt, const char *folder, const char *part)
{
	char path[PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, part);
	(void)utimensat(mnt, path, NULL, AT_SYMLINK_NOFOLLOW);
}

static void
act(int mnt, enum helper_do what, const char *from, const char *to)
{
	switch (what) {
	case HELPER_TOUCH:
		touch_part(mnt, from, "new");
		touch_part(mnt, from, "cur");
		break;
	case HELPER_RENAME:
		(void)renameat(mnt, from, mnt, to);
		break;
	case HELPER_UNLINK:
		(void)unlinkat(mnt, from, 0);
		break;
	default:
		break;
	}
}

/*
 * What fails here is only seen later, by somebody who looks again: there is
 * nothing to say.  The mount point may be a plain directory by now.
 */
static void
obey(const char *packet, size_t n)
{
	const char *mountpoint = packet + 1, *end = packet + n, *from, *to;
	struct statfs fs;
	int mnt;

	if (n < 2 || end[-1] != '\0')
		return;
	from = mountpoint + strlen(mountpoint) + 1;
	if (from >= end || (to = from + strlen(from) + 1) >= end)
		return;
	mnt = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mnt < 0)
		return;
	if (fstatfs(mnt, &fs) == 0 && fs.f_type == FUSE_MAGIC)
		act(mnt, (enum helper_do)packet[0], from, to);
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
		/* Nor are a terminal's signals for it. */
		(void)setsid();
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
helper_ask(int helper, enum helper_do what, const char *mountpoint,
    const char *from, const char *to)
{
	const char *const words[] = { mountpoint, from, to };
	char packet[PACKET_MAX];
	size_t at = 1, i, k;
	ssize_t sent;

	packet[0] = (char)what;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((k = strlen(words[i]) + 1) > PATH_MAX)
			return (-ENAMETOOLONG);
		memcpy(packet + at, words[i], k);
		at += k;
	}
	do
		sent = send(helper, packet, at, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (0);
	return (errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE);
}
