/*
 * tcp -- a doveadm server over TCP or TLS as a link.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/log.h"

#define WRITE_MAX 16384 /* a TLS record */

struct tcp_link {
	struct link link;
	char *peer; /* owned */
	struct sock sock;
	struct tls *tls; /* owned; NULL without TLS */
	struct buf rest; /* read with the end of the doveadm protocol */
	size_t rest_at;
	int error; /* final, reported */
	bool shut; /* its end is queued */
};

static struct tcp_link *
tcp_of(struct link *l)
{
	return ((struct tcp_link *)(void *)l);
}

static ssize_t
tcp_read(struct link *l, void *p, size_t n)
{
	struct tcp_link *t = tcp_of(l);
	size_t left = t->rest.len - t->rest_at;
	ssize_t r;

	if (left != 0) {
		n = n < left ? n : left;
		memcpy(p, t->rest.data + t->rest_at, n);
		t->rest_at += n;
		return ((ssize_t)n);
	}
	if (t->error != 0)
		return (t->error);
	(void)sock_flush(&t->sock);
	r = t->tls != NULL ? tls_read(t->tls, p, n) : sock_recv(&t->sock, p, n);
	if (r >= 0 || r == -EAGAIN)
		return (r);
	if (r == -EPROTO) {
		log_error("%s: what comes is not TLS", t->peer);
		t->error = -EPROTO;
	} else
		t->error = sock_report(t->peer, (int)r);
	return (t->error);
}

static ssize_t
tcp_write(struct link *l, const void *p, size_t n)
{
	struct tcp_link *t = tcp_of(l);
	int r;

	if (t->error != 0)
		return (t->error);
	if (t->shut || t->sock.send_error != 0)
		return (-EPIPE);
	(void)sock_flush(&t->sock);
	if (sock_queued(&t->sock) >= SOCK_QUEUE_LOW)
		return (-EAGAIN);
	n = n < WRITE_MAX ? n : WRITE_MAX;
	r = t->tls != NULL ? tls_write(t->tls, p, n)
			   : sock_send(&t->sock, p, n);
	if (t->sock.send_error != 0)
		return (-EPIPE);
	if (r != 0) {
		log_error("%s: TLS cannot send", t->peer);
		t->error = r;
		return (r);
	}
	return ((ssize_t)n);
}

static bool
may_go_on(const struct tcp_link *t, int want_write)
{
	if (t->error != 0 || t->rest.len != t->rest_at ||
	    (t->tls != NULL && tls_pending(t->tls)))
		return (true);
	if (!want_write)
		return (false);
	/* after shut only an empty queue is news */
	return (t->sock.send_error != 0 ||
	    (t->shut ? sock_queued(&t->sock) == 0
		     : sock_queued(&t->sock) < SOCK_QUEUE_LOW));
}

static int
tcp_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct tcp_link *t = tcp_of(l);
	int64_t end = timeout_ms < 0 ? INT64_MAX : mono_ms() + timeout_ms;
	struct pollfd p[2] = { { .fd = t->sock.fd },
		{ .fd = also, .events = POLLIN } };
	int r;

	for (;;) {
		(void)sock_flush(&t->sock);
		if (may_go_on(t, want_write))
			return (0);
		p[0].events = POLLIN;
		if (t->sock.send_error == 0 && sock_queued(&t->sock) != 0)
			p[0].events |= POLLOUT;
		r = poll(p, 2, timeout_ms < 0 ? -1 : until_ms(end));
		if (r < 0)
			return (-errno);
		if (r == 0)
			return (-ETIMEDOUT);
		if ((p[0].revents & ~POLLOUT) != 0 || p[1].revents != 0)
			return (0);
	}
}

static int
tcp_shut(struct link *l)
{
	struct tcp_link *t = tcp_of(l);
	int r;

	if (t->error != 0)
		return (t->error);
	if (!t->shut && t->tls != NULL)
		tls_shut(t->tls);
	t->shut = true;
	if ((r = sock_flush(&t->sock)) == -EAGAIN)
		return (r);
	if (r == -EPIPE || r == -ECONNRESET)
		return (0);
	if (r != 0) {
		t->error = sock_report(t->peer, r);
		return (t->error);
	}
	if (t->tls == NULL)
		(void)shutdown(t->sock.fd, SHUT_WR);
	return (0);
}

static void
tcp_close(struct link *l)
{
	struct tcp_link *t = tcp_of(l);

	tls_free(t->tls);
	sock_fini(&t->sock);
	buf_fini(&t->rest);
	free(t->peer);
	free(t);
}

static const struct link_ops tcp_ops = { tcp_read, tcp_write, tcp_wait,
	tcp_shut, tcp_close };

static int
check_options(const struct link_tcp_options *o)
{
	static const char origin[] = "tcp";

	if (check_host(o->host, origin) != 0)
		return (-EINVAL);
	if (o->port == 0 || o->port > 65535) {
		log_error("tcp:%s has no port: write tcp:HOST:PORT, with the "
			  "doveadm_port of the server (it has no default)",
		    o->host);
		return (-EINVAL);
	}
	if (o->user == NULL || *o->user == '\0') {
		log_error("tcp:%s:%u: whose mail? give the user with -u",
		    o->host, o->port);
		return (-EINVAL);
	}
	return (check_user(o->user, origin));
}

static int
make(const struct link_tcp_options *o, struct tcp_link **out)
{
	struct tcp_link *t = calloc(1, sizeof(*t));

	if (t == NULL ||
	    asprintf(&t->peer,
		strchr(o->host, ':') != NULL ? "%s:[%s]:%u" : "%s:%s:%u",
		o->tls ? "tcps" : "tcp", o->host, o->port) < 0) {
		free(t);
		log_error("tcp:%s: out of memory", o->host);
		return (-ENOMEM);
	}
	t->link.ops = &tcp_ops;
	t->link.peer = t->peer;
	sock_init(&t->sock, -1);
	buf_init(&t->rest);
	*out = t;
	return (0);
}

int
link_tcp_new(const struct link_tcp_options *o, struct link **out)
{
	int64_t end = connect_end(o->limits);
	struct dial d = { .host = o->host,
		.port = o->port,
		.family = AF_UNSPEC,
		.limits = o->limits };
	struct tcp_link *t;
	int fd, r;

	if ((r = check_options(o)) != 0 || (r = make(o, &t)) != 0)
		return (r);
	d.peer = t->peer;
	if ((r = dial(&d, end, &fd)) != 0)
		goto fail;
	sock_init(&t->sock, fd);
	t->sock.secret = true;
	if (o->tls &&
	    (r = tls_new(&t->sock, o->host, o->ca_file, t->peer, end, o->limits,
		 &t->tls)) != 0)
		goto fail;
	if (!o->tls)
		log_verbose("%s: without TLS: passwords and mail can be read "
			    "on the way",
		    t->peer);
	if ((r = doveadm_start(&t->link, o, end, &t->rest)) != 0)
		goto fail;
	t->sock.secret = false;
	*out = &t->link;
	return (0);
fail:
	tcp_close(&t->link);
	return (r);
}
