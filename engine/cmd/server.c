/*
 * server -- the far side of syncs: one after the other over one connection, and
 * between them a look at what changes here.
 *
 * A master that asks for it keeps the connection (the handshake's "stay").
 * After each sync it says that it is ready, with one newline; then, until its
 * next sync begins, a newline of ours says that we are there, and one behind a
 * carriage return that something has changed.  A master that begins a sync at
 * that moment passes over them: they are empty lines before the opening.
 *
 * Between syncs nothing here is held: the store is free for a mount, and a
 * mount that has it runs the sync.  Else a process of its own does, which is
 * closed; this one looks for no more than newlines.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

#define LOOK_MS 250 /* how often a stop is looked for */
#define QUIET_MS 300 /* after the last change of a burst */
#define BURST_MS 2000 /* a burst that goes on for ever is cut */

struct server {
	struct cmd *c;
	struct place place;
	int in, out; /* owned */
	int raw; /* owned, for a mount: the file of -r; -1 */
	const struct driver *driver; /* that tells changes; NULL: none does */
	int watch; /* -1 */
	struct serve_end end; /* of the last sync */
};

/*
 * The argument by which a mount is told that who asks takes care of the next
 * sync; not for people.
 */
static const char *const stay_word = "stay";

/* ---- one sync ---- */

/* What a mount says of it: "stay MARK AGAIN". */
static void
put_end(struct cmd *c, const struct serve_end *end)
{
	if (end->stays)
		out_printf(
		    c, "stay %" PRIx64 " %d\n", end->mark, (int)end->again);
}

static void
take_end(struct buf *said, struct serve_end *end)
{
	int again = 0;
	const char *text = buf_cstr(said);

	end->stays = text != NULL &&
	    sscanf(text, "stay %" SCNx64 " %d", &end->mark, &again) == 2;
	end->again = again != 0;
}

static int
sync_here(struct server *s)
{
	struct cmd *c = s->c;
	struct replica *a;
	int status = closing_prepare(c), r;

	if (status == 0)
		status = place_open(c, &s->place, LOCATION_CREATE, &a);
	if (status != 0)
		return (status);
	status = sync_serve(c, a, s->in, s->out,
	    s->driver != NULL ? &s->place : NULL, &s->end);
	r = a->ops->close(a);
	return (r != 0 && status == EX_DONE ? cmd_status_of(r) : status);
}

/* In a process that ends with it, and reads of the peer what has no form yet. */
static int
sync_apart(struct server *s)
{
	int status;

	if (!closing_wanted(s->c))
		return (sync_here(s));
	if (!closing_apart(s->c, &s->end, sizeof(s->end), &status))
		return (status);
	status = sync_here(s);
	closing_tell(s->c, &s->end, sizeof(s->end));
	s->end.stays = false;
	return (status);
}

static int
sync_once(struct server *s)
{
	struct buf said = BUF_INIT;
	struct forward f = { .command = "dsync-server",
		.args = &stay_word,
		.n_args = s->driver != NULL,
		.kind = CONTROL_SERVE,
		.fd = { s->in, s->out, s->raw },
		.n_fds = s->raw >= 0 ? 3 : 2,
		.said = &said };
	int status;

	s->end = (struct serve_end){ .stays = false };
	if (!place_forward(s->c, &s->place, &f, &status))
		status = sync_apart(s);
	else if (status == EX_DONE)
		take_end(&said, &s->end);
	buf_fini(&said);
	return (status);
}

/* ---- between two ---- */

/* false: the master has gone, or we are to. */
static bool
hear_ready(const struct server *s)
{
	struct pollfd p = { .fd = s->in, .events = POLLIN };
	char byte;
	ssize_t n;

	while (!cmd_stopped(s->c)) {
		if (poll(&p, 1, LOOK_MS) <= 0)
			continue;
		n = read(s->in, &byte, 1);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		return (n == 1 && byte == SERVER_BEAT[0]);
	}
	return (false);
}

static bool
say(const struct server *s, const char *text)
{
	size_t n = strlen(text);

	return (write(s->out, text, n) == (ssize_t)n);
}

struct idle {
	int64_t beat; /* when the next one is due */
	int64_t changed, burst; /* the last change, the first; 0: none */
};

/* A change is told when it has been quiet, and when it is one. */
static bool
tell_news(struct server *s, struct idle *k, int64_t now)
{
	uint64_t mark;

	if (watch_drain(s->watch)) {
		k->changed = now;
		k->burst = k->burst != 0 ? k->burst : now;
	}
	if (k->burst == 0 ||
	    (now - k->changed < QUIET_MS && now - k->burst < BURST_MS))
		return (true);
	k->burst = 0;
	mark = watch_mark(s->driver, &s->place.l);
	if (mark == s->end.mark)
		return (true);
	s->end.mark = mark;
	return (say(s, SERVER_NEWS));
}

static bool
tell(struct server *s, struct idle *k)
{
	int64_t now = cmd_mono_ms();

	if (now >= k->beat) {
		k->beat = now + SERVER_BEAT_MS;
		if (!say(s, SERVER_BEAT))
			return (false);
		/* Where nothing is said of changes they are found by this. */
		if (k->burst == 0)
			k->burst = k->changed = now - BURST_MS;
	}
	return (tell_news(s, k, now));
}

/* true: the master begins another sync. */
static bool
idle(struct server *s)
{
	struct pollfd p[2] = { { .fd = s->in, .events = POLLIN | POLLRDHUP },
		{ .events = POLLIN } };
	struct idle k = { .beat = cmd_mono_ms() + SERVER_BEAT_MS };

	if (s->end.again && !say(s, SERVER_NEWS))
		return (false);
	/* What happened before may have been seen by nobody. */
	k.burst = k.changed = cmd_mono_ms();
	while (!cmd_stopped(s->c)) {
		if (!tell(s, &k))
			return (false);
		/* In a burst it is enough to look now and then. */
		p[1].fd = k.burst != 0 ? -1 : s->watch;
		(void)poll(p, 2, k.burst != 0 ? QUIET_MS / 3 : LOOK_MS);
		if (p[0].revents != 0)
			return ((p[0].revents & POLLIN) != 0 &&
			    (p[0].revents & (POLLRDHUP | POLLERR)) == 0);
	}
	return (false);
}

/* ---- the command ---- */

static int
serve_all(struct server *s)
{
	int status;

	do {
		status = sync_once(s);
		if (!s->end.stays)
			return (status);
		if (s->watch >= 0)
			(void)close(s->watch);
		/* The store may have been made, or its log begun anew. */
		s->watch = watch_open(s->driver, &s->place.l);
	} while (hear_ready(s) && idle(s));
	return (EX_DONE);
}

/* In a mount: one sync; whoever called for it does the rest. */
static int
serve_once(struct cmd *c)
{
	struct place p;
	struct serve_end end = { .stays = false };
	int status = place_first(c, &p);
	bool stay = c->o->n_args == 1 && strcmp(c->o->args[0], stay_word) == 0;

	if (status != 0)
		return (status);
	p.l.path = c->local->path;
	status = sync_serve(c, c->local->replica, c->local->in, c->local->out,
	    stay && place_watched(c, &p) != NULL ? &p : NULL, &end);
	put_end(c, &end);
	return (status);
}

int
cmd_dsync_server(struct cmd *c)
{
	struct server s = { .c = c, .watch = -1, .raw = -1 };
	int status;

	if (c->local != NULL)
		return (serve_once(c));
	/* a Dovecot says the word again where it is not the last one */
	if (c->o->n_args == 1 && strcmp(c->o->args[0], "dsync-server") != 0)
		return (cmd_usage_error(c,
		    "'%.100s' is one argument too many: dsyncfs-sync "
		    "dsync-server",
		    c->o->args[0]));
	status = place_first(c, &s.place);
	if (status == 0)
		status = rawlog_open(c, &s.raw);
	if (status != 0)
		return (status);
	status =
	    cmd_status_of(c->backends->dialer->take_stdio(&s.in, &s.out));
	if (status != 0)
		return (status);
	s.driver = place_watched(c, &s.place);
	status = serve_all(&s);
	if (s.watch >= 0)
		(void)close(s.watch);
	(void)close(s.in);
	(void)close(s.out);
	if (s.raw >= 0)
		(void)close(s.raw);
	return (status);
}
