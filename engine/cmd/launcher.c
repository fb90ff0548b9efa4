/*
 * launcher -- runs post_sync_command for a process that has closed itself.
 *
 * A request is one packet with a descriptor: the names of mailboxes, a line
 * each.  The answer is an int, what hook_run gives.  The end of the socket
 * before the answer is a stop.
 */
#include "cmd/launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "control/aside.h"

#define LOOK_MS 200 /* between two looks at the stop flag */

struct launcher {
	struct aside at;
};

/* ---- the launcher itself ---- */

static void
on_signal(int signal_number)
{
	(void)signal_number;
}

/*
 * It ends with its socket.  No signal is ignored for that: a command would
 * inherit it.
 */
static void
own_signals(void)
{
	static const int which[] = { SIGINT, SIGHUP, SIGTERM };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++)
		(void)sigaction(which[i], &sa, NULL);
}

static void
launch(const void *arg, int fd)
{
	int in = -1, r;
	char byte;

	own_signals();
	while (aside_recv(fd, &byte, 1, &in, 1) == 1 && in >= 0) {
		r = hook_run_file(arg, in, NULL, fd);
		(void)close(in);
		in = -1;
		(void)send(fd, &r, sizeof(r), MSG_NOSIGNAL);
	}
}

/* ---- who asks it ---- */

int
launcher_start(const char *command, struct launcher **out)
{
	struct launcher *l = calloc(1, sizeof(*l));
	int r = l == NULL
	    ? -ENOMEM
	    : aside_start("dsyncfs-launch", launch, command, &l->at);

	if (r == 0) {
		*out = l;
		return (0);
	}
	log_error("post_sync_command: cannot be run: %s", strerror(-r));
	free(l);
	return (r);
}

static int
answer(const struct launcher *l, const atomic_int *stop)
{
	struct pollfd p = { .fd = l->at.fd, .events = POLLIN };
	bool told = false;
	int r;

	while (poll(&p, 1, LOOK_MS) <= 0)
		if (!told && stop != NULL && *stop) {
			(void)shutdown(l->at.fd, SHUT_WR);
			told = true;
		}
	return (recv(l->at.fd, &r, sizeof(r), 0) == sizeof(r) ? r : -EPIPE);
}

int
launcher_hook(struct launcher *l, const char *const *names, size_t n,
    const atomic_int *stop)
{
	int in = hook_names(names, n), r = in;

	if (in >= 0) {
		r = (int)aside_send(l->at.fd, "", 1, &in, 1, 0);
		(void)close(in);
	}
	if (r < 0) {
		log_error("post_sync_command: cannot be run: %s", strerror(-r));
		return (r);
	}
	return (answer(l, stop));
}

void
launcher_free(struct launcher *l)
{
	if (l == NULL)
		return;
	aside_stop(&l->at);
	free(l);
}
