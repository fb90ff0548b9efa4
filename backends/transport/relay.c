/*
 * relay -- a link that one process has and another one uses.
 *
 * A packet of the talk socket is a letter and what belongs to it:
 *
 *	P TEXT         whom the link has reached, first of all
 *	L u8 TEXT      a line of a level of base/log.h
 *	E i32          the link has ended: what its read has given; the last one
 *
 * What comes by it is believed no more than a peer: the process at the other
 * end has read the peer's bytes.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"

#define BUFFER (64u << 10)
#define PACKET_MAX 2048u
#define LINES_MAX 10000u /* as of lines.c */
#define LOOK_MS 20 /* at the link, while the other takes nothing */
#define IDLE_MS 10000
#define LAST_MS 2000 /* behind the grace of the link over there */

/* ---- both ends ---- */

static void
close_both(const struct relay_ends *e)
{
	if (e->data >= 0)
		(void)close(e->data);
	if (e->talk >= 0)
		(void)close(e->talk);
}

static int
make_socket(int type, int *a, int *b)
{
	int pair[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0)
		return (-errno);
	*a = fd_above(pair[0]);
	*b = fd_above(pair[1]);
	return (*a < 0 ? *a : *b < 0 ? *b : 0);
}

int
relay_pair(struct relay_ends *a, struct relay_ends *b)
{
	int r;

	*a = *b = (struct relay_ends){ -1, -1 };
	r = make_socket(SOCK_STREAM, &a->data, &b->data);
	if (r == 0)
		r = make_socket(SOCK_SEQPACKET, &a->talk, &b->talk);
	if (r == 0)
		return (0);
	close_both(a);
	close_both(b);
	*a = *b = (struct relay_ends){ -1, -1 };
	return (r);
}

/* ---- the process that has the link ---- */

static void
send_packet(
    const struct relay_ends *e, char letter, const void *p, size_t n, int flags)
{
	char packet[PACKET_MAX];

	if (n >= sizeof(packet))
		n = sizeof(packet) - 1;
	packet[0] = letter;
	memcpy(packet + 1, p, n);
	(void)send(e->talk, packet, n + 1, MSG_NOSIGNAL | flags);
}

void
relay_say(const struct relay_ends *e, int level, const char *line)
{
	char text[PACKET_MAX - 1];
	size_t n = strlen(line);

	if (n >= sizeof(text))
		n = sizeof(text) - 1;
	text[0] = (char)level;
	memcpy(text + 1, line, n);
	send_packet(e, 'L', text, n + 1, MSG_DONTWAIT);
}

void
relay_begin(const struct relay_ends *e, const char *peer)
{
	send_packet(e, 'P', peer, strlen(peer), 0);
}

void
relay_end(const struct relay_ends *e, int error)
{
	int32_t v = error;

	send_packet(e, 'E', &v, sizeof(v), MSG_DONTWAIT);
	close_both(e);
}

/* Bytes on their way. */
struct way {
	char *p; /* BUFFER */
	size_t from, to;
	bool over; /* no more come in */
	bool ended; /* and that has been passed on, or is of no use */
};

struct pump {
	struct link *l;
	struct relay_ends e;
	struct way in, out; /* from the link; to it */
	ssize_t error; /* what the link's read has given at its end */
	bool gone; /* the other has closed its link */
	bool moved;
};

static bool
is_empty(const struct way *w)
{
	return (w->from == w->to);
}

static void
took(struct way *w, size_t n)
{
	w->from += n;
	if (w->from == w->to)
		w->from = w->to = 0;
}

static void
read_link(struct pump *p)
{
	ssize_t n;

	if (p->in.over || !is_empty(&p->in))
		return;
	n = p->l->ops->read(p->l, p->in.p, BUFFER);
	if (n == -EAGAIN)
		return;
	p->moved = true;
	if (n > 0) {
		p->in.to = (size_t)n;
		return;
	}
	p->error = n;
	p->in.over = true;
}

static void
send_data(struct pump *p)
{
	ssize_t n;

	if (is_empty(&p->in))
		return;
	n = send(p->e.data, p->in.p + p->in.from, p->in.to - p->in.from,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		took(&p->in, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		p->gone = true;
	p->moved |= n > 0 || p->gone;
}

static void
read_data(struct pump *p)
{
	ssize_t n;

	if (p->out.over || !is_empty(&p->out))
		return;
	n = recv(p->e.data, p->out.p, BUFFER, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->moved = true;
	if (n > 0)
		p->out.to = (size_t)n;
	else
		p->out.over = true;
}

/* The far side takes no more: so says the socket then to the other. */
static void
stop_writing(struct pump *p)
{
	(void)shutdown(p->e.data, SHUT_RD);
	p->out.from = p->out.to = 0;
	p->out.over = p->out.ended = true;
}

static void
write_link(struct pump *p)
{
	ssize_t n = -EAGAIN;

	if (!is_empty(&p->out))
		n = p->l->ops->write(
		    p->l, p->out.p + p->out.from, p->out.to - p->out.from);
	else if (p->out.over && !p->out.ended) {
		n = p->l->ops->shut(p->l);
		p->out.ended = n != -EAGAIN;
	}
	if (n > 0)
		took(&p->out, (size_t)n);
	else if (n != -EAGAIN && n != 0)
		stop_writing(p);
	p->moved |= n != -EAGAIN;
}

static void
look_for_end(struct pump *p)
{
	char byte;
	ssize_t n = recv(p->e.talk, &byte, 1, MSG_DONTWAIT);

	/* Nothing is ever said there. */
	p->gone |= n >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void
wait_for_any(struct pump *p)
{
	bool want_write = !is_empty(&p->out) || (p->out.over && !p->out.ended);
	bool reading = !p->out.over && is_empty(&p->out);
	struct pollfd f[2] = { { .fd = p->e.data, .events = POLLOUT },
		{ .fd = p->e.talk, .events = POLLIN } };

	/* Once the link has ended, or while nothing can be read from it. */
	if (!is_empty(&p->in))
		(void)poll(f, 2, want_write || reading ? LOOK_MS : IDLE_MS);
	else
		(void)p->l->ops->wait(
		    p->l, want_write, reading ? p->e.data : p->e.talk, IDLE_MS);
}

static void
pump(struct pump *p)
{
	while (!p->gone && !(p->in.over && is_empty(&p->in))) {
		p->moved = false;
		read_link(p);
		send_data(p);
		read_data(p);
		write_link(p);
		look_for_end(p);
		if (!p->moved && !p->gone)
			wait_for_any(p);
	}
}

void
relay_run(struct link *l, const struct relay_ends *e)
{
	struct pump p = { .l = l, .e = *e };

	relay_begin(e, l->peer);
	p.in.p = malloc(BUFFER);
	p.out.p = malloc(BUFFER);
	if (p.in.p != NULL && p.out.p != NULL)
		pump(&p);
	else
		p.error = -ENOMEM;
	free(p.in.p);
	free(p.out.p);
	l->ops->close(l);
	relay_end(e, (int)p.error);
}

/* ---- the process that uses it ---- */

struct relay_link {
	struct link link;
	char *peer; /* owned */
	struct relay_ends e; /* owned */
	struct link_limits limits;
	unsigned lines;
	int error; /* final, reported */
	bool told; /* the end has come by talk */
	bool ended; /* read has given 0 */
	bool broken; /* it takes no more */
};

static struct relay_link *
relay_of(struct link *l)
{
	return ((struct relay_link *)(void *)l);
}

static void
say(struct relay_link *r, int level, const char *line)
{
	if (r->lines++ > LINES_MAX)
		return;
	switch (level) {
	case LOG_LEVEL_ERROR:
		log_error("%s", line);
		break;
	case LOG_LEVEL_WARNING:
		log_warning("%s", line);
		break;
	case LOG_LEVEL_INFO:
		log_info("%s", line);
		break;
	case LOG_LEVEL_VERBOSE:
		log_verbose("%s", line);
		break;
	default:
		log_debug("%s", line);
		break;
	}
}

/* -EAGAIN, or the process over there has nothing more to say. */
static int
hear_one(struct relay_link *r)
{
	char packet[PACKET_MAX + 1];
	int32_t error;
	ssize_t n;

	do
		n = recv(r->e.talk, packet, PACKET_MAX, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return (-EAGAIN);
	if (n <= 0) {
		if (!r->told)
			r->error = -ECONNRESET;
		r->told = true;
		return (-EPIPE);
	}
	packet[n] = '\0';
	if (packet[0] == 'P' && r->peer == NULL) {
		r->peer = strdup(packet + 1);
		log_disarm(r->peer != NULL ? r->peer : packet);
	} else if (packet[0] == 'L' && n > 2)
		say(r, packet[1], packet + 2);
	else if (packet[0] == 'E' && n == 1 + sizeof(error)) {
		memcpy(&error, packet + 1, sizeof(error));
		r->error = error < 0 && error > -4096 ? error : 0;
		r->told = true;
	}
	return (0);
}

static void
hear(struct relay_link *r)
{
	while (hear_one(r) == 0)
		;
}

/* The bytes have ended: why, comes by talk. */
static ssize_t
at_end(struct relay_link *r)
{
	int64_t end = grace_end(&r->limits) + LAST_MS;
	struct pollfd f = { .fd = r->e.talk, .events = POLLIN };
	int rc = 0;

	hear(r);
	while (!r->told && rc >= 0) {
		rc = poll_until(&f, 1, end, &r->limits);
		hear(r);
	}
	if (!r->told)
		r->error = -ETIMEDOUT;
	if (r->error == -ECONNRESET && rc >= 0)
		log_error("%s: the connection was cut", r->peer);
	r->ended = true;
	return (r->error);
}

static ssize_t
relay_read(struct link *l, void *p, size_t n)
{
	struct relay_link *r = relay_of(l);
	ssize_t got;

	if (r->ended)
		return (r->error);
	do
		got = recv(r->e.data, p, n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (got);
	if (got < 0 && errno == EAGAIN)
		return (-EAGAIN);
	return (at_end(r));
}

static ssize_t
relay_write(struct link *l, const void *p, size_t n)
{
	struct relay_link *r = relay_of(l);
	ssize_t put;

	if (r->ended && r->error != 0)
		return (r->error);
	if (r->broken || r->ended)
		return (-EPIPE);
	do
		put = send(r->e.data, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put >= 0)
		return (put);
	if (errno == EAGAIN || errno == ENOBUFS)
		return (-EAGAIN);
	r->broken = true;
	return (-EPIPE);
}

static int
relay_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct relay_link *r = relay_of(l);
	int64_t end = timeout_ms < 0 ? INT64_MAX : mono_ms() + timeout_ms;
	struct pollfd f[3];
	int n;

	if (r->ended || (want_write && r->broken))
		return (0);
	for (;;) {
		f[0] = (struct pollfd){ .fd = r->e.data,
			.events =
			    (short)(POLLIN | (want_write ? POLLOUT : 0)) };
		/* what follows the end of its talk is the end of the bytes */
		f[1] = (struct pollfd){ .fd = r->told ? -1 : r->e.talk,
			.events = POLLIN };
		f[2] = (struct pollfd){ .fd = also, .events = POLLIN };
		n = poll(f, 3, timeout_ms < 0 ? -1 : until_ms(end));
		if (n < 0)
			return (-errno);
		if (n == 0)
			return (-ETIMEDOUT);
		if (f[1].revents != 0)
			hear(r);
		if ((f[0].revents | f[2].revents) != 0)
			return (0);
		if (until_ms(end) == 0)
			return (-ETIMEDOUT);
	}
}

static int
relay_shut(struct link *l)
{
	struct relay_link *r = relay_of(l);

	if (r->ended && r->error != 0)
		return (r->error);
	(void)shutdown(r->e.data, SHUT_WR);
	r->broken = true;
	return (0);
}

/* The process over there closes its link then, and says how that went. */
static void
relay_close(struct link *l)
{
	struct relay_link *r = relay_of(l);
	int64_t end = grace_end(&r->limits) + LAST_MS;
	struct pollfd f = { .fd = r->e.talk, .events = POLLIN };

	(void)shutdown(r->e.data, SHUT_RDWR);
	(void)shutdown(r->e.talk, SHUT_WR);
	hear(r);
	while (!r->told && poll_until(&f, 1, end, &r->limits) > 0)
		hear(r);
	close_both(&r->e);
	free(r->peer);
	free(r);
}

static const struct link_ops relay_ops = { relay_read, relay_write, relay_wait,
	relay_shut, relay_close };

int
link_relay_new(const struct relay_ends *e, const struct link_limits *limits,
    struct link **out)
{
	struct relay_link *r = calloc(1, sizeof(*r));
	struct pollfd f = { .fd = e->talk, .events = POLLIN };
	int64_t end;

	if (r == NULL) {
		log_error("out of memory");
		close_both(e);
		return (-ENOMEM);
	}
	r->link.ops = &relay_ops;
	r->e = *e;
	if (limits != NULL)
		r->limits = *limits;
	end = connect_end(&r->limits);
	while (r->peer == NULL && !r->told &&
	    poll_until(&f, 1, end, &r->limits) > 0)
		(void)hear_one(r);
	if (r->peer == NULL) {
		log_error("the process that has reached the far side says "
			  "nothing of it");
		close_both(e);
		free(r);
		return (-EPROTO);
	}
	r->link.peer = r->peer;
	*out = &r->link;
	return (0);
}
