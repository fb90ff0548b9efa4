/*
 * sock -- a socket and what is on its way to it.
 *
 * libssh2 and OpenSSL make a record, and when the socket does not take all of
 * it, want to be called again with the same bytes before anything else; both
 * directions at once cannot be had that way.  Here a record always goes whole
 * into a queue, and how much may be queued is decided between records.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"

void
sock_init(struct sock *s, int fd)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
}

void
sock_fini(struct sock *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	if (s->secret && s->out.len != 0)
		explicit_bzero(s->out.data, s->out.len);
	buf_fini(&s->out);
	s->sent = 0;
}

size_t
sock_queued(const struct sock *s)
{
	return (s->out.len - s->sent);
}

ssize_t
sock_recv(struct sock *s, void *p, size_t n)
{
	ssize_t r;

	if (s->eof)
		return (0);
	if (s->error != 0)
		return (s->error);
	do
		r = recv(s->fd, p, n, 0);
	while (r < 0 && errno == EINTR);
	if (r == 0 && n != 0)
		s->eof = true;
	if (r >= 0)
		return (r);
	if (errno != EAGAIN)
		s->error = -errno;
	return (-errno);
}

int
sock_flush(struct sock *s)
{
	ssize_t r;

	if (s->send_error != 0)
		return (s->send_error);
	while (sock_queued(s) != 0) {
		r = send(
		    s->fd, s->out.data + s->sent, sock_queued(s), MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno == EAGAIN || errno == ENOBUFS))
			return (-EAGAIN);
		if (r < 0) {
			s->send_error = -errno;
			return (s->send_error);
		}
		s->sent += (size_t)r;
	}
	if (s->secret && s->out.len != 0)
		explicit_bzero(s->out.data, s->out.len);
	buf_reset(&s->out);
	s->sent = 0;
	return (0);
}

int
sock_send(struct sock *s, const void *p, size_t n)
{
	int r;

	if (s->send_error != 0)
		return (s->send_error);
	if (n > SOCK_QUEUE_MAX - sock_queued(s)) {
		s->send_error = -ENOBUFS;
		return (s->send_error);
	}
	if (s->sent > SOCK_QUEUE_LOW) {
		memmove(s->out.data, s->out.data + s->sent, sock_queued(s));
		s->out.len -= s->sent;
		s->sent = 0;
	}
	buf_put(&s->out, p, n);
	if (s->out.error != 0) {
		s->send_error = s->out.error;
		return (s->send_error);
	}
	r = sock_flush(s);
	return (r == -EAGAIN ? 0 : r);
}

int
sock_report(const char *peer, int error)
{
	switch (error) {
	case -ETIMEDOUT:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		log_error(
		    "%s: the connection is dead: %s", peer, strerror(-error));
		return (-ETIMEDOUT);
	case -ENOBUFS:
		log_error("%s: it does not read what it is sent", peer);
		return (-ETIMEDOUT);
	case -ENOMEM:
		log_error("%s: out of memory", peer);
		return (error);
	case -ECONNRESET:
	case -EPIPE:
	case 0:
		log_error("%s: the connection was cut by the other side", peer);
		return (-ECONNRESET);
	default:
		log_error(
		    "%s: the connection was cut: %s", peer, strerror(-error));
		return (-ECONNRESET);
	}
}
