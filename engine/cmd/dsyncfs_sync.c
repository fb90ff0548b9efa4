/*
 * dsyncfs_sync -- main of dsyncfs-sync: signals, file descriptors, and the list
 * of backends.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "backends/registry.h"
#include "base/log.h"
#include "cmd/cmd.h"

/* set by a signal: end at the next consistent point */
static atomic_int stop;

struct fds {
	int error; /* of writing to standard output; 0 */
};

static void
on_signal(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

static int
write_all(int fd, const char *p, size_t n)
{
	struct pollfd pfd = { fd, POLLOUT, 0 };
	ssize_t k;

	while (n > 0) {
		k = write(fd, p, n);
		if (k >= 0) {
			p += k;
			n -= (size_t)k;
		} else if (errno == EAGAIN)
			(void)poll(&pfd, 1, -1);
		else if (errno != EINTR)
			return (-errno);
	}
	return (0);
}

/*
 * Whoever read our output has gone, or it cannot be stored: what is being done
 * ends at the next consistent point.
 */
static void
to_stdout(void *arg, const char *text, size_t n)
{
	struct fds *f = arg;

	if (f->error != 0)
		return;
	f->error = write_all(STDOUT_FILENO, text, n);
	if (f->error != 0)
		stop = 1;
}

static void
to_stderr(void *arg, const char *text, size_t n)
{
	(void)arg;
	/* there is nobody left to tell */
	(void)write_all(STDERR_FILENO, text, n);
}

static void
log_sink(void *arg, enum log_level level, const char *line)
{
	if (cmd_log_line(level, line))
		return;
	to_stderr(arg, "dsyncfs-sync: ", 14);
	to_stderr(arg, line, strlen(line));
	to_stderr(arg, "\n", 1);
}

static void
catch_signals(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sigemptyset(&sa.sa_mask);
	sa.sa_handler = on_signal;
	/* the second one ends the program at once */
	sa.sa_flags = (int)SA_RESETHAND;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sa.sa_flags = 0;
	sigaction(SIGPIPE, &sa, NULL);
	/* who started us may have ignored it: then no child could be waited for */
	sa.sa_handler = SIG_DFL;
	sigaction(SIGCHLD, &sa, NULL);
}

int
main(int argc, char **argv)
{
	struct fds fds = { 0 };
	struct cmd_io io = { to_stdout, to_stderr, NULL, &fds };
	int status;

	catch_signals();
	log_set_sink(log_sink, &fds);
	if (isatty(STDERR_FILENO))
		io.progress = to_stderr;
	status = cmd_run(
	    argc, (const char *const *)argv, &backends_all, NULL, &io, &stop);
	if (fds.error != 0 && fds.error != -EPIPE)
		log_error("standard output: %s", strerror(-fds.error));
	if (fds.error != 0 && (status == EX_DONE || status == EX_TRY_LATER))
		status = EX_FAIL;
	return (status);
}
