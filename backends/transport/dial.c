/*
 * dial -- a name becomes a connected socket.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"

#define ALIVE_IDLE_S 60
#define ALIVE_EVERY_S 15
#define ALIVE_TRIES 4
#define UNACKED_MS 120000u /* sent, and not acknowledged for so long */

static void
set_options(int fd)
{
	static const struct {
		int level, name, value;
	} o[] = { { SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, ALIVE_TRIES },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS } };

	/* without them it works, only not as well */
	for (size_t i = 0; i < sizeof(o) / sizeof(o[0]); i++)
		(void)setsockopt(
		    fd, o[i].level, o[i].name, &o[i].value, sizeof(o[i].value));
}

/* One address: 0, -errno (not reported). */
static int
try_address(const struct addrinfo *ai, int64_t end,
    const struct link_limits *limits, int *out)
{
	struct pollfd p = { .events = POLLOUT };
	socklen_t size = sizeof(int);
	int fd, error = 0, r = 0;

	fd = socket(ai->ai_family,
	    ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	if (fd < 0)
		return (-errno);
	if ((fd = fd_above(fd)) < 0)
		return (fd);
	set_options(fd);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 &&
	    errno != EINPROGRESS && errno != EINTR) {
		r = -errno;
		goto fail;
	}
	p.fd = fd;
	if ((r = poll_until(&p, 1, end, limits)) < 0)
		goto fail;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	if ((r = -error) != 0)
		goto fail;
	*out = fd;
	return (0);
fail:
	(void)close(fd);
	return (r);
}

static int
report(const struct dial *d, int r, unsigned tried)
{
	if (r == -ECANCELED)
		return (r);
	log_error("%s: cannot reach %s port %u%s: %s", d->peer, d->host,
	    d->port, tried > 1 ? " at any of its addresses" : "", strerror(-r));
	switch (r) {
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ENOMEM:
		return (r);
	case -EACCES:
	case -EPERM:
		return (-EACCES);
	default:
		return (-EHOSTUNREACH);
	}
}

int
dial(const struct dial *d, int64_t end, int *fd)
{
	struct addrinfo *all = NULL, *ai;
	unsigned tried = 0, left = 0;
	const char *why;
	char port[8];
	int r;

	(void)snprintf(port, sizeof(port), "%u", d->port);
	r = lookup(d->host, port, d->family, end, d->limits, &all, &why);
	if (r == -ECANCELED)
		return (r);
	if (r != 0) {
		log_error("%s: cannot find the address of %s: %s", d->peer,
		    d->host, why);
		return (r == -ENOMEM ? r : -EHOSTUNREACH);
	}
	r = -EHOSTUNREACH;
	for (ai = all; ai != NULL; ai = ai->ai_next)
		left++;
	for (ai = all; ai != NULL && r != 0 && r != -ECANCELED;
	     ai = ai->ai_next, left--) {
		tried++;
		r = try_address(
		    ai, mono_ms() + until_ms(end) / (int)left, d->limits, fd);
	}
	freeaddrinfo(all);
	return (r == 0 ? 0 : report(d, r, tried));
}
