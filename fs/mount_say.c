/*
 * mount_say -- what a mount says, and where: the terminal until it has left
 * that, then syslog(3); and to a service manager.
 */
#include "fs/mount_say.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"

static atomic_bool left_terminal;

static void
put_line(enum log_level level, const char *line)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_NOTICE,
		LOG_INFO, LOG_DEBUG };

	if (left_terminal)
		syslog(priority[level], "%s", line);
	else
		(void)fprintf(stderr, "dsyncfs: %s%s\n",
		    level == LOG_LEVEL_WARNING ? "warning: " : "", line);
}

/* What a command's own thread says is part of what the command says. */
static void
to_log(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	if (!cmd_log_line(level, line))
		put_line(level, line);
}

/* What libfuse says on the way: its failures get a line of ours. */
static void
from_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[1024];
	size_t n;

	(void)level;
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	n = strlen(line);
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = '\0';
	log_debug("%s", line);
}

static int manager = -1; /* a socket */

static void
connect_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (path == NULL || path[0] == '\0' ||
	    strlen(path) >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, strlen(path));
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager >= 0 &&
	    connect(manager, (struct sockaddr *)&a,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		    strlen(path))) != 0) {
		(void)close(manager);
		manager = -1;
	}
}

void
mount_say_connect(void)
{
	openlog("dsyncfs", LOG_PID | LOG_NDELAY, LOG_MAIL);
	connect_manager();
}

void
mount_say_manager(const char *text)
{
	if (manager >= 0)
		(void)send(manager, text, strlen(text), MSG_NOSIGNAL);
}

void
mount_say_status(const char *fmt, ...)
{
	char *text, *p;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	/* A line break would begin another assignment. */
	for (p = text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	if (asprintf(&p, "STATUS=%s\n", text) >= 0) {
		mount_say_manager(p);
		free(p);
	}
	free(text);
}

/* How often to say so, in milliseconds: twice as often as asked for; 0: never.
 */
static int64_t
watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid;
	long long n;
	char *end;

	if (usec == NULL || usec[0] == '\0')
		return (0);
	errno = 0;
	n = strtoll(usec, &end, 10);
	if (errno != 0 || *end != '\0' || n <= 0)
		return (0);
	pid = getenv("WATCHDOG_PID");
	if (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid())
		return (0);
	return (n / 2000 + 1);
}

void
mount_say_alive(void)
{
	static int64_t every = -1, next;
	struct timespec ts;
	int64_t now;

	if (every < 0)
		every = watchdog_ms();
	if (every == 0)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	if (now < next)
		return;
	next = now + every;
	mount_say_manager("WATCHDOG=1\n");
}

void
mount_say_start(void)
{
	log_set_sink(to_log, NULL);
	fuse_set_log_func(from_libfuse);
}

void
mount_say_left_terminal(void)
{
	left_terminal = true;
}
