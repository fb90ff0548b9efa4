/*
 * far -- a sync whose other brain is another process: reaching it, being
 * reached, the copy of what goes over the wire.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/link.h"
#include "cmd/cmd_internal.h"

#define CONNECT_SECS 30 /* what links take for it at most; -T may take less */
/* Until a peer says something over a link that it may have left. */
#define AGAIN_SECS 30

/* ---- the copy of the traffic ---- */

/* In a mount the name stays with whoever has opened it. */
static const char *
rawlog_name(const struct cmd *c)
{
	return (c->o->rawlog != NULL ? c->o->rawlog : "its file");
}

int
rawlog_open(const struct cmd *c, int *fd)
{
	*fd = -1;
	if (c->o->rawlog == NULL)
		return (EX_DONE);
	/* there is mail in it */
	*fd = open(c->o->rawlog,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
	    0600);
	if (*fd >= 0)
		return (EX_DONE);
	log_error("option -r: %s: cannot be written: %s", c->o->rawlog,
	    strerror(errno));
	return (EX_BAD_USAGE);
}

static int
write_out(int fd, const char *p, size_t n)
{
	ssize_t k;

	for (; n > 0; p += k, n -= (size_t)k) {
		k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			k = 0;
		else if (k < 0)
			return (-errno);
	}
	return (0);
}

/* A line begins with whose it is, and ends early when the other side speaks. */
static void
put_raw(struct buf *b, char *last, char side, const char *p, size_t n)
{
	const char *eol;
	size_t k;

	if (*last != 0 && *last != side)
		buf_put_u8(b, '\n');
	if (*last != side)
		*last = 0;
	for (; n > 0; p += k, n -= k) {
		eol = memchr(p, '\n', n);
		k = eol != NULL ? (size_t)(eol - p) + 1 : n;
		if (*last == 0)
			buf_printf(b, "%c: ", side);
		buf_put(b, p, k);
		*last = eol != NULL ? 0 : side;
	}
}

static void
on_raw(void *arg, bool sent, const void *p, size_t n)
{
	struct far_session *s = arg;
	struct buf b = BUF_INIT;
	int r;

	if (s->raw_failed)
		return;
	put_raw(&b, &s->raw_side, sent ? 'O' : 'I', p, n);
	r = b.error != 0 ? b.error : write_out(s->raw, (char *)b.data, b.len);
	buf_fini(&b);
	if (r == 0)
		return;
	log_error("option -r: %s: %s; the copy ends here, the sync goes on",
	    rawlog_name(s->c), strerror(-r));
	s->raw_failed = true;
}

static int
open_raw(struct far_session *s)
{
	const struct cmd_local *local = s->c->local;
	int status = EX_DONE;

	if (local == NULL && !s->c->passes_on)
		status = rawlog_open(s->c, &s->raw);
	else if (local != NULL && local->raw >= 0)
		s->raw =
		    fcntl(local->raw, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (s->raw < 0)
		return (status);
	s->settings.raw = on_raw;
	s->settings.raw_arg = s;
	return (EX_DONE);
}

/* ---- reaching, being reached ---- */

static int
begin(struct cmd *c, struct far_session *s)
{
	const struct config *k = &c->cfg;

	memset(s, 0, sizeof(*s));
	s->c = c;
	s->raw = -1;
	/* Secrets may come, in a mount too. */
	if (c->backends->sandbox != NULL && k->sandbox)
		c->backends->sandbox->hide();
	s->settings = (struct far_settings){ .user = c->o->user,
		.remote_cmd = k->dsync_remote_cmd,
		.password_file = k->doveadm_password_file,
		.password_command = k->doveadm_password_command,
		.passphrase_command = k->ssh_passphrase_command,
		.ca_file = k->ssl_client_ca_file,
		.connect_ms = c->o->timeout_secs < CONNECT_SECS
		    ? c->o->timeout_secs * 1000
		    : 0,
		.terminal = c->local == NULL && isatty(STDIN_FILENO) == 1,
		.stop = c->local != NULL && c->local->session != NULL
		    ? c->local->ending
		    : c->stop };
	return (open_raw(s));
}

/* Of what happens before the two talk: then nothing is reachable there. */
static int
dial_status(int r)
{
	switch (r) {
	case 0:
		return (EX_DONE);
	case -EINVAL:
		return (EX_BAD_CONFIG);
	case -ENOENT:
		return (EX_PEER);
	default:
		return (cmd_status_of(r));
	}
}

/* In a mount: over the link that stayed, or the one that its client has. */
static int
join(struct cmd *c, struct far_session *s)
{
	const struct dialer *d = c->backends->dialer;
	const struct relay_ends e = { c->local->in, c->local->out };
	struct cmd_session *k = c->local->session;

	s->l = k != NULL ? session_take(k) : NULL;
	s->again = s->l != NULL;
	if (s->again && e.data < 0)
		return (d->again(s->l, &s->settings, &s->ch));
	if (s->again)
		s->l->ops->close(s->l);
	s->l = NULL;
	s->again = false;
	if (e.data >= 0)
		return (d->join(&e, &s->settings, &s->l, &s->ch));
	log_error("the mount was asked for a sync without a connection");
	return (-EPROTO);
}

static int
reach(struct cmd *c, const struct place *p, struct far_session *s)
{
	const struct dialer *d = c->backends->dialer;

	return (c->local != NULL
		? join(c, s)
		: d->dial(&p->far, &s->settings, &s->l, &s->ch));
}

int
far_dial(struct cmd *c, const struct place *p, struct far_session *s)
{
	int status = begin(c, s);

	if (status == 0)
		status = dial_status(reach(c, p, s));
	if (status != 0)
		far_close(s);
	return (status);
}

int
far_link(struct cmd *c, const struct place *p, struct far_session *s)
{
	int status = begin(c, s);

	return (status != 0
		? status
		: dial_status(c->backends->dialer->dial(
		      &p->far, &s->settings, &s->l, NULL)));
}

int
far_serve(struct cmd *c, int in, int out, struct far_session *s)
{
	int status = begin(c, s);

	if (status == 0)
		status = cmd_status_of(c->backends->dialer->serve(
		    in, out, &s->settings, &s->l, &s->ch));
	if (status != 0)
		far_close(s);
	return (status);
}

int
far_run(struct far_session *s, struct brain *b)
{
	int r = sync_run_link(b, s->l, s->c->o->timeout_secs,
	    s->again ? AGAIN_SECS : 0);

	s->stays = brain_stays(b);

	/* By ssh, that a program is missing shows only now. */
	return (r == -ENOENT && s->ch->received == 0 ? -EHOSTUNREACH : r);
}

void
far_close(struct far_session *s)
{
	if (s->ch != NULL)
		s->ch->ops->close(s->ch);
	if (s->l != NULL && s->stays && s->c->local != NULL &&
	    s->c->local->session != NULL)
		session_keep(s->c->local->session, s->l);
	else if (s->l != NULL)
		s->l->ops->close(s->l);
	if (s->raw >= 0 && close(s->raw) != 0 && !s->raw_failed)
		log_error(
		    "option -r: %s: %s", rawlog_name(s->c), strerror(errno));
	s->ch = NULL;
	s->l = NULL;
	s->raw = -1;
}
