/*
 * ssh_link -- a command at the other end of a libssh2 session, as a link.
 *
 * libssh2 reads whatever has come at every call, also at a write, and keeps
 * what nobody asked for; so what is there is found by asking it (pump), and the
 * socket is polled only after that.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

/*
 * What libssh2 sends at a time, and what is read at a time, of both streams:
 * 1.10 makes the window as much larger as the reader's buffer asks for, and
 * when new keys come between the message and the account, a reader with a
 * smaller buffer makes the account less than the message, and loses data.
 */
#define PIECE 32000
#define ROUNDS 16 /* for one that never stops: others want their turn */
#define THROW_MAX (4u << 20) /* read after close, at most */
#define ALIVE_S 30u
#define ALIVE_TRIES 3u

struct ssh_link {
	struct link link;
	char *peer; /* owned */
	struct ssh_session *session; /* owned */
	LIBSSH2_CHANNEL *channel; /* the session's */
	struct link_limits limits;
	struct lines lines;
	/*
	 * Taken from the caller, not yet by libssh2: after an EAGAIN (in the
	 * middle of new keys) that wants the same bytes again.
	 */
	char out[PIECE];
	size_t out_n, out_at;
	char in[PIECE], err[PIECE];
	size_t in_n, in_at;
	unsigned alive_ms, alive_tries;
	int64_t silent_ms; /* waited in vain so long */
	int error; /* final, reported */
	int failed; /* libssh2's error, not yet reported */
	bool eof, judged, shut, broken, default_command;
};

static struct ssh_link *
ssh_of(struct link *l)
{
	return ((struct ssh_link *)(void *)l);
}

static bool
has_failed(const struct ssh_link *s)
{
	return (s->error != 0 || s->failed != 0);
}

/* ---- what there is ---- */

static void
fill(struct ssh_link *s)
{
	ssize_t n;

	if (s->in_at != s->in_n || s->eof || has_failed(s))
		return;
	n = libssh2_channel_read(s->channel, s->in, sizeof(s->in));
	if (n > 0) {
		s->in_at = 0;
		s->in_n = (size_t)n;
	} else if (n == 0)
		s->eof = libssh2_channel_eof(s->channel) == 1;
	else if (n != LIBSSH2_ERROR_EAGAIN)
		s->failed = (int)n;
}

static void
read_lines(struct ssh_link *s)
{
	ssize_t n = 1;

	for (int i = 0; i < ROUNDS && n > 0; i++) {
		n = libssh2_channel_read_stderr(
		    s->channel, s->err, sizeof(s->err));
		if (n > 0)
			lines_put(&s->lines, s->err, (size_t)n);
	}
}

/* Is there standard error and no more of the stream?  (1 asks for either.) */
static bool
only_lines(struct ssh_link *s)
{
	return (libssh2_poll_channel_read(s->channel, 1) == 1 &&
	    libssh2_poll_channel_read(s->channel, 0) == 0);
}

/*
 * Either reader may bring in what the other wants.  While there is more of the
 * stream somebody will come again for it.
 */
static void
pump(struct ssh_link *s)
{
	int i = 0;

	do {
		read_lines(s);
		fill(s);
	} while (++i < ROUNDS && !has_failed(s) && only_lines(s));
}

/* Hands what was taken to libssh2, and that to the socket. */
static void
push(struct ssh_link *s)
{
	ssize_t n;

	while (s->out_at != s->out_n && !s->broken && !has_failed(s) &&
	    sock_queued(&s->session->sock) < SOCK_QUEUE_LOW) {
		n = libssh2_channel_write(
		    s->channel, s->out + s->out_at, s->out_n - s->out_at);
		if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
			break;
		if (n < 0)
			/* reading tells why */
			s->broken = true;
		else
			s->out_at += (size_t)n;
	}
	(void)sock_flush(&s->session->sock);
	if (s->session->sock.send_error != 0)
		s->broken = true;
}

/* ---- how it ended ---- */

/* Reads on until the command's verdict is there, the end, or a cut. */
static int
wait_closed(struct ssh_link *s, int64_t end)
{
	struct pollfd p = { .fd = s->session->sock.fd, .events = POLLIN };
	int rc, r;

	while ((rc = libssh2_channel_wait_closed(s->channel)) ==
	    LIBSSH2_ERROR_EAGAIN) {
		(void)sock_flush(&s->session->sock);
		if ((r = poll_until(&p, 1, end, &s->limits)) < 0)
			return (r);
		if (until_ms(end) == 0)
			return (-ETIMEDOUT);
	}
	return (rc == 0 ? 0 : -ECONNRESET);
}

/* closing: nobody reads any more, so that it is only worth a warning. */
static int
verdict(struct ssh_link *s, bool closing)
{
	int status = libssh2_channel_get_exit_status(s->channel), r = 0;
	char *name = NULL;
	size_t n = 0;

	(void)libssh2_channel_get_exit_signal(
	    s->channel, &name, &n, NULL, NULL, NULL, NULL);
	if (!closing)
		r = ssh_command_ended(
		    s->peer, s->default_command, status, name);
	else if (name != NULL)
		log_warning("%s: the command over there was killed by signal "
			    "%.32s",
		    s->peer, name);
	else if (status != 0)
		log_warning("%s: the command over there ended with status %d",
		    s->peer, status);
	if (name != NULL)
		libssh2_free(s->session->s, name);
	return (r);
}

static void
judge(struct ssh_link *s, bool closing)
{
	bool heard;

	if (s->judged)
		return;
	s->judged = true;
	/* without a verdict it is a whole stream still */
	heard = wait_closed(s, grace_end(&s->limits)) == 0;
	read_lines(s);
	lines_end(&s->lines);
	if (heard)
		s->error = verdict(s, closing);
}

static void
report(struct ssh_link *s)
{
	if (s->failed == 0 || s->error != 0)
		return;
	lines_end(&s->lines);
	s->error = ssh_session_failed(s->session, s->failed, "the connection");
}

/* ---- the link ---- */

static ssize_t
ssh_read(struct link *l, void *p, size_t n)
{
	struct ssh_link *s = ssh_of(l);

	if (s->error == 0) {
		push(s);
		pump(s);
	}
	if (s->in_at != s->in_n) {
		n = n < s->in_n - s->in_at ? n : s->in_n - s->in_at;
		memcpy(p, s->in + s->in_at, n);
		s->in_at += n;
		return ((ssize_t)n);
	}
	report(s);
	if (s->error == 0 && s->eof)
		judge(s, false);
	if (s->error != 0)
		return (s->error);
	return (s->eof ? 0 : -EAGAIN);
}

static ssize_t
ssh_write(struct link *l, const void *p, size_t n)
{
	struct ssh_link *s = ssh_of(l);

	if (s->error != 0)
		return (s->error);
	push(s);
	if (s->shut || s->broken || s->failed != 0)
		return (-EPIPE);
	if (s->out_at != s->out_n)
		return (-EAGAIN);
	n = n < sizeof(s->out) ? n : sizeof(s->out);
	memcpy(s->out, p, n);
	s->out_n = n;
	s->out_at = 0;
	push(s);
	return ((ssize_t)n);
}

static bool
may_go_on(struct ssh_link *s, int want_write)
{
	if (has_failed(s) || s->eof || s->in_at != s->in_n)
		return (true);
	if (!want_write)
		return (false);
	return (s->broken ||
	    (s->out_at == s->out_n &&
		(!s->shut || sock_queued(&s->session->sock) == 0)));
}

/*
 * Time counts against the host only while it is waited for: who computes for a
 * minute has not heard it in that minute.
 */
static void
stay_alive(struct ssh_link *s, int64_t waited_ms)
{
	s->silent_ms += waited_ms;
	if (s->silent_ms < (int64_t)s->alive_ms * (s->alive_tries + 1))
		return;
	log_error("%s: it has not answered for %lld s: given up", s->peer,
	    (long long)(s->silent_ms / 1000));
	s->error = -ETIMEDOUT;
}

static int
ssh_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct ssh_link *s = ssh_of(l);
	int64_t end = timeout_ms < 0 ? INT64_MAX : mono_ms() + timeout_ms;
	int64_t begun, limit;
	struct pollfd p[2] = { { .fd = s->session->sock.fd },
		{ .fd = also, .events = POLLIN } };
	int next = 0, r;

	for (;;) {
		if (s->error == 0) {
			push(s);
			pump(s);
		}
		if (may_go_on(s, want_write))
			return (0);
		(void)libssh2_keepalive_send(s->session->s, &next);
		(void)sock_flush(&s->session->sock);
		p[0].events = POLLIN;
		if (sock_queued(&s->session->sock) != 0 && !s->broken)
			p[0].events |= POLLOUT;
		begun = mono_ms();
		limit = begun + (next > 0 ? next : 1) * 1000;
		r = poll(p, 2, until_ms(limit < end ? limit : end));
		if (r < 0)
			return (-errno);
		if ((p[0].revents & ~POLLOUT) != 0 && r > 0)
			s->silent_ms = 0;
		else if (p[1].revents != 0 && r > 0)
			return (0);
		else
			stay_alive(s, mono_ms() - begun);
		if (until_ms(end) == 0 && s->error == 0)
			return (-ETIMEDOUT);
	}
}

static int
ssh_shut(struct link *l)
{
	struct ssh_link *s = ssh_of(l);
	int rc;

	if (s->error != 0)
		return (s->error);
	push(s);
	if (s->broken || s->failed != 0)
		return (0);
	if (s->out_at != s->out_n)
		return (-EAGAIN);
	if (!s->shut) {
		rc = libssh2_channel_send_eof(s->channel);
		if (rc == LIBSSH2_ERROR_EAGAIN)
			return (-EAGAIN);
		s->shut = true;
	}
	return (sock_flush(&s->session->sock) == -EAGAIN ? -EAGAIN : 0);
}

/* Its input ends, and what it still says is thrown away until it ends. */
static void
let_end(struct ssh_link *s)
{
	int64_t end = grace_end(&s->limits);
	size_t thrown = 0;
	int r;

	while (!s->eof && !has_failed(s)) {
		(void)ssh_shut(&s->link);
		thrown += s->in_n - s->in_at;
		s->in_at = s->in_n;
		if (thrown > THROW_MAX)
			/* it has much to say: the connection is its end */
			return;
		pump(s);
		if (s->eof || s->in_at != s->in_n)
			continue;
		r = link_wait_until(&s->link, !s->shut, end, &s->limits);
		if (r == 0)
			continue;
		if (r == -ETIMEDOUT)
			log_warning("%s: the command over there does not end: "
				    "left alone",
			    s->peer);
		return;
	}
	if (s->eof && !has_failed(s))
		judge(s, true);
}

static void
ssh_close(struct link *l)
{
	struct ssh_link *s = ssh_of(l);

	let_end(s);
	lines_end(&s->lines);
	if (!has_failed(s)) {
		(void)libssh2_session_disconnect(s->session->s, "done");
		(void)sock_flush(&s->session->sock);
	}
	ssh_session_free(s->session);
	free(s->peer);
	free(s);
}

static const struct link_ops ssh_ops = { ssh_read, ssh_write, ssh_wait,
	ssh_shut, ssh_close };

/* ---- its beginning ---- */

static int
open_channel(struct ssh_call *c, LIBSSH2_CHANNEL **out)
{
	struct ssh_session *s = c->session;
	int rc, r;

	while ((*out = libssh2_channel_open_session(s->s)) == NULL) {
		rc = libssh2_session_last_errno(s->s);
		if (rc != LIBSSH2_ERROR_EAGAIN)
			return (ssh_session_failed(s, rc, "opening a session"));
		if ((r = ssh_session_wait(s)) != 0)
			return (r);
	}
	SSH_CALL(s, r, rc, libssh2_channel_exec(*out, c->command));
	if (r != 0)
		return (r);
	if (rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED) {
		log_error("%s: it does not let us run a command", c->peer);
		return (-EACCES);
	}
	return (
	    rc == 0 ? 0 : ssh_session_failed(s, rc, "starting the command"));
}

int
ssh_link_start(struct ssh_call *c, struct link **out)
{
	const struct ssh_config *n = &c->config;
	struct ssh_link *s = NULL;
	LIBSSH2_CHANNEL *channel;
	int r;

	if ((r = open_channel(c, &channel)) != 0)
		return (r);
	if ((s = calloc(1, sizeof(*s))) == NULL ||
	    (s->peer = strdup(c->peer)) == NULL) {
		free(s);
		log_error("%s: out of memory", c->peer);
		return (-ENOMEM);
	}
	s->link.ops = &ssh_ops;
	s->link.peer = s->peer;
	s->session = c->session;
	s->session->peer = s->peer;
	s->session->limits = &s->limits;
	s->channel = channel;
	if (c->o->limits != NULL)
		s->limits = *c->o->limits;
	lines_init(&s->lines, s->peer);
	s->default_command = c->default_command;
	s->alive_tries = n->alive_tries != 0 ? n->alive_tries : ALIVE_TRIES;
	s->alive_ms = 1000 * (n->alive_s != 0 ? n->alive_s : ALIVE_S);
	libssh2_keepalive_config(s->session->s, 1, s->alive_ms / 1000);
	c->session = NULL;
	*out = &s->link;
	return (0);
}
