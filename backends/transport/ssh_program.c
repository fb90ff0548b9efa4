/*
 * ssh_program -- ssh(1) as the transport, where libssh2 cannot, with the same
 * strictness: no question, no new host key.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "base/log.h"

#define ARGS_MAX 32
#define OWN_FAILURE 255 /* ssh(1)'s own; others are the command's */

int
ssh_command_ended(
    const char *peer, bool default_command, int status, const char *signal)
{
	if (signal != NULL) {
		log_error("%s: the command over there was killed by signal "
			  "%.32s",
		    peer, signal);
		return (-EPIPE);
	}
	switch (status) {
	case 0:
		return (0);
	case 126:
	case 127:
		if (default_command)
			log_error("%s: neither dsyncfs-sync nor doveadm is "
				  "found over there: install one of them, or "
				  "say by dsync_remote_cmd where it is",
			    peer);
		else
			log_error("%s: the command of dsync_remote_cmd is not "
				  "found over there (status %d)",
			    peer, status);
		return (-ENOENT);
	default:
		log_error("%s: the command over there ended with status %d",
		    peer, status);
		return (-EPIPE);
	}
}

/* ---- what ssh(1) says about itself ---- */

struct watch {
	bool by_user; /* a command line of theirs */
	bool default_command;
	int seen; /* what its last telling line means, or 0 */
};

static void
see(void *arg, const char *line)
{
	static const struct {
		const char *text;
		int error;
	} t[] = { { "Permission denied (", -EACCES },
		{ "Host key verification failed", -EACCES },
		{ "Too many authentication failures", -EACCES },
		{ "Could not resolve hostname", -EHOSTUNREACH },
		{ "Connection refused", -ECONNREFUSED },
		{ "No route to host", -EHOSTUNREACH },
		{ "Network is unreachable", -EHOSTUNREACH },
		{ "Connection timed out", -EHOSTUNREACH },
		{ "Operation timed out", -EHOSTUNREACH },
		{ "not responding.", -ETIMEDOUT },
		{ "Connection reset", -ECONNRESET },
		{ "closed by remote host", -ECONNRESET },
		{ "Broken pipe", -ECONNRESET } };
	struct watch *w = arg;

	/* The way to it has ended: why is what the ssh on that way has said. */
	if (w->seen != 0 &&
	    (strncmp(line, "kex_exchange_identification: ", 29) == 0 ||
		strstr(line, "closed by UNKNOWN port") != NULL))
		return;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (strstr(line, t[i].text) != NULL) {
			w->seen = t[i].error;
			return;
		}
}

static int
ended(void *arg, const struct child *child, const char *peer)
{
	const struct watch *w = arg;
	int status;

	if (!WIFEXITED(child->status))
		return (0);
	status = WEXITSTATUS(child->status);
	if (w->by_user && status == 127) {
		log_error("%s: the command is not found over there "
			  "(status 127)",
		    peer);
		return (-ENOENT);
	}
	if (status != OWN_FAILURE)
		return (
		    ssh_command_ended(peer, w->default_command, status, NULL));
	switch (w->seen) {
	case -EACCES:
		log_error("%s: permission denied, or not the host that it "
			  "should be: what ssh(1) said is above",
		    peer);
		break;
	case -EHOSTUNREACH:
	case -ECONNREFUSED:
		log_error(
		    "%s: not reachable by ssh(1): what it said is above", peer);
		break;
	case -ETIMEDOUT:
		log_error("%s: it does not answer any more", peer);
		break;
	default:
		log_error("%s: the connection of ssh(1) was cut", peer);
		return (-ECONNRESET);
	}
	return (w->seen);
}

/* ---- running it ---- */

static int
run(const struct link_pipe_options *o, const struct watch *how,
    struct link **out)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct pipe_hook hook = {
		.seen = see, .ended = ended, .free = free, .arg = w
	};
	int r;

	if (w == NULL) {
		log_error("%s: out of memory", o->argv[0]);
		return (-ENOMEM);
	}
	*w = *how;
	if ((r = pipe_new(o, &hook, out)) != 0)
		free(w);
	return (r);
}

int
ssh_program_run(struct ssh_call *c, const char *const *argv, struct link **out)
{
	const struct link_pipe_options o = {
		.argv = argv, .peer = c->peer, .limits = c->o->limits
	};
	const struct watch how = { .default_command = c->default_command };

	return (run(&o, &how, out));
}

int
link_command_new(const struct link_pipe_options *o, struct link **out)
{
	const struct watch how = { .by_user = true };
	const char *name = o->argv != NULL ? o->argv[0] : NULL, *slash;

	if (name != NULL && (slash = strrchr(name, '/')) != NULL)
		name = slash + 1;
	return (name != NULL && strcmp(name, "ssh") == 0
		? run(o, &how, out)
		: link_pipe_new(o, out));
}

int
ssh_program_start(struct ssh_call *c, struct link **out)
{
	static const char *const fixed[] = { "ssh", "-T", "-a", "-x",
		"-oBatchMode=yes", "-oStrictHostKeyChecking=yes",
		"-oClearAllForwardings=yes", "-oPermitLocalCommand=no",
		"-oRemoteCommand=none" };
	const struct link_ssh_options *o = c->o;
	const char *argv[ARGS_MAX] = { NULL };
	char port[16], timeout[40];
	unsigned ms = CONNECT_MS;
	size_t n = sizeof(fixed) / sizeof(fixed[0]);

	log_verbose("%s: ssh(1) makes the connection: %s", c->peer, c->why);
	memcpy(argv, fixed, sizeof(fixed));
	if (o->limits != NULL && o->limits->connect_ms != 0)
		ms = o->limits->connect_ms;
	(void)snprintf(
	    timeout, sizeof(timeout), "-oConnectTimeout=%u", ms / 1000 + 1);
	argv[n++] = timeout;
	if (c->config.alive_s == 0)
		argv[n++] = "-oServerAliveInterval=30";
	if (o->config_file != NULL) {
		argv[n++] = "-F";
		argv[n++] = o->config_file;
	}
	if (o->port != 0) {
		(void)snprintf(port, sizeof(port), "-p%u", o->port);
		argv[n++] = port;
	}
	if (o->login != NULL) {
		argv[n++] = "-l";
		argv[n++] = o->login;
	}
	argv[n++] = "--";
	argv[n++] = o->host;
	argv[n] = c->command;
	return (ssh_program_run(c, argv, out));
}
