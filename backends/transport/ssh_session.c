/*
 * ssh_session -- a libssh2 session on a queued socket (sock.c), with bounded
 * memory.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/log.h"

#define FREE_TRIES 16 /* with a dead socket it needs none */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_failed;

static void
init(void)
{
	init_failed = libssh2_init(0);
}

/* ---- memory: what a host can make us hold ---- */

struct head {
	_Alignas(16) size_t n;
};

static struct ssh_session *
owner(void **abstract)
{
	return (*abstract);
}

static LIBSSH2_ALLOC_FUNC(ssh_alloc)
{
	struct ssh_session *s = owner(abstract);
	struct head *h;

	if (count > SSH_MEMORY_MAX - s->memory ||
	    (h = malloc(sizeof(*h) + count)) == NULL)
		return (NULL);
	h->n = count;
	s->memory += count;
	return (h + 1);
}

static LIBSSH2_FREE_FUNC(ssh_free)
{
	struct head *h;

	if (ptr == NULL)
		return;
	h = (struct head *)ptr - 1;
	owner(abstract)->memory -= h->n;
	/* keys and passphrases went through here */
	explicit_bzero(ptr, h->n);
	free(h);
}

static LIBSSH2_REALLOC_FUNC(ssh_realloc)
{
	void *p = ssh_alloc(count, abstract);
	size_t n;

	if (p != NULL && ptr != NULL) {
		n = ((struct head *)ptr - 1)->n;
		memcpy(p, ptr, n < count ? n : count);
		ssh_free(ptr, abstract);
	}
	return (p);
}

/* ---- sockets: ours, and the agent's ---- */

/*
 * libssh2 forgets where it was when an agent's socket has nothing yet, so that
 * one is waited for here.
 */
static ssize_t
agent_io(struct ssh_session *s, int fd, void *in, const void *out, size_t n)
{
	struct pollfd p = { .fd = fd, .events = in != NULL ? POLLIN : POLLOUT };
	ssize_t r;
	int w;

	if ((w = poll_until(&p, 1, s->end, s->limits)) < 0) {
		s->agent_dead = true;
		return (w);
	}
	do
		r = in != NULL ? recv(fd, in, n, 0)
			       : send(fd, out, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r > 0)
		return (r);
	/* it would ask for the rest of a reply for ever */
	s->agent_dead = true;
	return (-EPIPE);
}

static LIBSSH2_SEND_FUNC(ssh_send)
{
	struct ssh_session *s = owner(abstract);

	(void)flags;
	if (socket != s->sock.fd)
		return (agent_io(s, socket, NULL, buffer, length));
	/* an error stays in the socket: what came before can still be read */
	(void)sock_send(&s->sock, buffer, length);
	return ((ssize_t)length);
}

static LIBSSH2_RECV_FUNC(ssh_recv)
{
	struct ssh_session *s = owner(abstract);

	(void)flags;
	if (socket != s->sock.fd)
		return (agent_io(s, socket, buffer, NULL, length));
	return (sock_recv(&s->sock, buffer, length));
}

static LIBSSH2_DISCONNECT_FUNC(ssh_goodbye)
{
	struct ssh_session *s = owner(abstract);
	size_t n = message != NULL && message_len > 0 ? (size_t)message_len : 0;

	(void)session;
	(void)reason;
	(void)language;
	(void)language_len;
	if (n >= sizeof(s->goodbye))
		n = sizeof(s->goodbye) - 1;
	if (n != 0)
		memcpy(s->goodbye, message, n);
	s->goodbye[n] = '\0';
}

/* ---- the session ---- */

int
ssh_session_new(int fd, const char *peer, const struct link_limits *l,
    int64_t end, struct ssh_session **out)
{
	struct ssh_session *s = calloc(1, sizeof(*s));

	(void)pthread_once(&once, init);
	if (s == NULL || init_failed != 0)
		goto fail;
	s->peer = peer;
	s->limits = l;
	s->end = end;
	s->s = libssh2_session_init_ex(ssh_alloc, ssh_free, ssh_realloc, s);
	if (s->s == NULL)
		goto fail;
	sock_init(&s->sock, fd);
	libssh2_session_set_blocking(s->s, 0);
	(void)libssh2_session_callback_set(
	    s->s, LIBSSH2_CALLBACK_SEND, (void *)ssh_send);
	(void)libssh2_session_callback_set(
	    s->s, LIBSSH2_CALLBACK_RECV, (void *)ssh_recv);
	(void)libssh2_session_callback_set(
	    s->s, LIBSSH2_CALLBACK_DISCONNECT, (void *)ssh_goodbye);
	*out = s;
	return (0);
fail:
	free(s);
	log_error("%s: out of memory", peer);
	return (-ENOMEM);
}

int
ssh_session_wait(struct ssh_session *s)
{
	struct pollfd p = { .fd = s->sock.fd, .events = POLLIN };
	int r;

	(void)sock_flush(&s->sock);
	if (sock_queued(&s->sock) != 0 && s->sock.send_error == 0)
		p.events |= POLLOUT;
	r = poll_until(&p, 1, s->end, s->limits);
	if (r == -ETIMEDOUT)
		log_error(
		    "%s: it does not answer: is it an ssh server?", s->peer);
	return (r < 0 ? r : 0);
}

bool
ssh_session_cut(const struct ssh_session *s)
{
	return (s->sock.eof || s->sock.error != 0 || *s->goodbye != '\0');
}

int
ssh_session_failed(struct ssh_session *s, int rc, const char *doing)
{
	char *text = NULL;

	if (rc == LIBSSH2_ERROR_ALLOC) {
		log_error(
		    "%s: %s: it sends more than can be held", s->peer, doing);
		return (-ENOMEM);
	}
	if (*s->goodbye != '\0') {
		log_error("%s: %s: it closed the connection: %s", s->peer,
		    doing, s->goodbye);
		return (-ECONNRESET);
	}
	if (s->sock.error != 0 || s->sock.eof)
		return (sock_report(s->peer, s->sock.error));
	if (s->sock.send_error != 0)
		return (sock_report(s->peer, s->sock.send_error));
	(void)libssh2_session_last_error(s->s, &text, NULL, 0);
	log_error("%s: %s: %s (libssh2 error %d)", s->peer, doing,
	    text != NULL && *text != '\0' ? text : "failed", rc);
	return (-EPROTO);
}

void
ssh_session_free(struct ssh_session *s)
{
	if (s == NULL)
		return;
	/* with a dead socket nothing in libssh2 waits for an answer */
	s->sock.send_error = -EPIPE;
	s->sock.eof = true;
	for (int i = 0; i < FREE_TRIES; i++)
		if (libssh2_session_free(s->s) != LIBSSH2_ERROR_EAGAIN)
			break;
	sock_fini(&s->sock);
	free(s);
}
