/*
 * link_cat -- copies its standard input over a link and prints what comes back.
 *
 * usage: link_cat [OPTIONS] pipe WORD...
 *        link_cat [OPTIONS] tcp [tcp:|tcps:]HOST:PORT
 *        link_cat [OPTIONS] ssh HOST
 * -v verbose  -u MAILUSER  -l LOGIN  -p PORT  -F SSH_CONFIG  -c REMOTE_CMD
 * -s (by ssh(1))  -P COMMAND (passphrase or password)  -K FILE (the same)
 * -a CA_FILE  -t CONNECT_MS  -g GRACE_MS
 *
 * Exit status as dsyncfs-sync's: 0; 64 usage, 69 not reachable, 75 cut, 77
 * denied, 1 else.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/transport/transport.h"
#include "base/log.h"

#define SILENCE_MS 120000
#define TURN_MS 20 /* a link and our input cannot be polled together */

static const char *secret_command, *secret_file;

static void
say(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)fprintf(stderr, "%s\n", line);
}

static int
secret(void *arg, const char *what, char *out, size_t size)
{
	const char *const *argv;
	struct arena a;
	int r;

	(void)arg;
	log_verbose("asked for: %s", what);
	if (secret_file != NULL)
		return (link_secret_file(secret_file, out, size));
	if (secret_command == NULL)
		return (-ENOENT);
	arena_init(&a);
	r = link_words(&a, secret_command, "option -P", &argv);
	if (r == 0)
		r = link_secret_command(argv, false, NULL, out, size);
	arena_fini(&a);
	return (r);
}

/* Bytes of standard input on their way. */
static char out[65536];
static size_t out_n, out_at;

/* 0; -EAGAIN: nothing to be had, or the link takes none now; -errno. */
static int
feed(struct link *l, bool *done)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	if (out_at == out_n) {
		if (poll(&p, 1, 0) == 0)
			return (-EAGAIN);
		n = read(STDIN_FILENO, out, sizeof(out));
		if (n <= 0) {
			*done = true;
			return (0);
		}
		out_n = (size_t)n;
		out_at = 0;
	}
	n = l->ops->write(l, out + out_at, out_n - out_at);
	if (n == -EPIPE) {
		/* reading tells why */
		*done = true;
		return (0);
	}
	if (n < 0)
		return ((int)n);
	out_at += (size_t)n;
	return (0);
}

static bool
put(const char *p, size_t n)
{
	ssize_t w;

	for (; n != 0; p += w, n -= (size_t)w)
		if ((w = write(STDOUT_FILENO, p, n)) <= 0)
			return (false);
	return (true);
}

static int
copy(struct link *l)
{
	static char in[65536];
	bool done = false, shut = false, idle;
	ssize_t n;
	int w, r;

	for (;;) {
		w = -EAGAIN;
		if (!done)
			w = feed(l, &done);
		else if (!shut && (w = l->ops->shut(l)) == 0)
			shut = true;
		if (w != 0 && w != -EAGAIN)
			return (w);
		n = l->ops->read(l, in, sizeof(in));
		if (n == 0)
			return (0);
		if (n > 0 && !put(in, (size_t)n))
			return (-EPIPE);
		if (n < 0 && n != -EAGAIN)
			return ((int)n);
		if (n != -EAGAIN || w != -EAGAIN)
			continue;
		/* input may come at any time */
		idle = !done && out_at == out_n;
		r = l->ops->wait(
		    l, !shut && !idle, -1, idle ? TURN_MS : SILENCE_MS);
		if (r == -ETIMEDOUT && idle)
			continue;
		if (r == -ETIMEDOUT)
			log_error("%s: silent for too long", l->peer);
		if (r != 0 && r != -EINTR)
			return (r);
	}
}

static int
status_of(int r)
{
	switch (r) {
	case 0:
		return (0);
	case -EINVAL:
		return (64);
	case -ENOENT:
	case -EHOSTUNREACH:
	case -ECONNREFUSED:
		return (69);
	case -ECONNRESET:
	case -ETIMEDOUT:
	case -EPIPE:
		return (75);
	case -EACCES:
		return (77);
	default:
		return (1);
	}
}

struct options {
	struct link_limits limits;
	struct link_ssh_options ssh;
	struct link_tcp_options tcp;
};

static int
usage(void)
{
	(void)fprintf(stderr, "usage: link_cat [OPTIONS] pipe|tcp|ssh WHERE\n");
	return (64);
}

static int
parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "+vu:l:p:F:c:sP:K:a:t:g:")) != -1)
		switch (c) {
		case 'v':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'u':
			o->ssh.user = o->tcp.user = optarg;
			break;
		case 'l':
			o->ssh.login = optarg;
			break;
		case 'p':
			o->ssh.port = (unsigned)atoi(optarg);
			break;
		case 'F':
			o->ssh.config_file = optarg;
			break;
		case 'c':
			o->ssh.remote_cmd = optarg;
			break;
		case 's':
			o->ssh.program = true;
			break;
		case 'P':
			secret_command = optarg;
			break;
		case 'K':
			secret_file = optarg;
			break;
		case 'a':
			o->tcp.ca_file = optarg;
			break;
		case 't':
			o->limits.connect_ms = (unsigned)atoi(optarg);
			break;
		case 'g':
			o->limits.grace_ms = (unsigned)atoi(optarg);
			break;
		default:
			return (-EINVAL);
		}
	return (argc - optind < 2 ? -EINVAL : 0);
}

static int
open_link(struct options *o, char **argv, struct arena *a, struct link **l)
{
	struct link_pipe_options pipe = { .argv = (const char *const *)argv + 1,
		.limits = &o->limits };
	int r;

	o->ssh.limits = o->tcp.limits = &o->limits;
	o->ssh.passphrase = o->tcp.password = secret;
	if (strcmp(argv[0], "pipe") == 0)
		return (link_pipe_new(&pipe, l));
	if (strcmp(argv[0], "tcp") == 0) {
		r = link_tcp_parse(a, argv[1], "command line", &o->tcp);
		return (r == 0 ? link_tcp_new(&o->tcp, l) : r);
	}
	if (strcmp(argv[0], "ssh") != 0)
		return (-EINVAL);
	o->ssh.host = argv[1];
	return (link_ssh_new(&o->ssh, l));
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct arena a;
	struct link *l;
	int r;

	log_set_sink(say, NULL);
	if (parse(argc, argv, &o) != 0)
		return (usage());
	arena_init(&a);
	r = open_link(&o, argv + optind, &a, &l);
	if (r == 0) {
		r = copy(l);
		l->ops->close(l);
	}
	arena_fini(&a);
	return (status_of(r));
}
