/*
 * check -- tries the places of a configuration: whether a sync with each would
 * find it.  Nothing is made or changed, here or there.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/link.h"
#include "cmd/cmd_internal.h"
#include "sync/channel.h"

#define ANSWER_SECS 30 /* without -T: to be answered by a dsync server */
#define LOOK_MS 500 /* how often a stop is looked for */
#define LAST_WORDS_MS 5000 /* for what is still unsent */

/* ---- a far one ---- */

static unsigned
answer_secs(const struct cmd *c)
{
	return (c->o->timeout_secs != 0 ? c->o->timeout_secs : ANSWER_SECS);
}

/* The first item from over there, or why none came, reported. */
static int
wait_item(struct cmd *c, struct far_session *s, struct item **out)
{
	int64_t end = cmd_mono_ms() + (int64_t)answer_secs(c) * 1000, left;
	int r;

	for (;;) {
		bool unsent = s->ch->ops->flush(s->ch) == -EAGAIN;

		r = s->ch->ops->recv(s->ch, out);
		if (r == -EPIPE)
			log_error("%s: the connection ended before a dsync "
				  "server has answered",
			    s->ch->peer);
		if (r != -EAGAIN)
			return (r);
		if (cmd_stopped(c))
			return (-EINTR);
		left = end - cmd_mono_ms();
		if (left <= 0) {
			log_error("%s: no dsync server has answered for %u s; "
				  "given up. -T allows it more",
			    s->ch->peer, answer_secs(c));
			return (-ETIMEDOUT);
		}
		r = s->l->ops->wait(
		    s->l, unsent, -1, left < LOOK_MS ? (int)left : LOOK_MS);
		if (r != 0 && r != -ETIMEDOUT && r != -EINTR)
			return (r);
	}
}

/* Who answers says so in a handshake, without waiting for ours. */
static int
take_hello(const struct far_session *s, const struct item *i, bool *dovecot)
{
	if (i->type == ITEM_HANDSHAKE) {
		*dovecot = !i->u.handshake.has_replica;
		return (0);
	}
	if (i->type == ITEM_ABORT || i->type == ITEM_FINISH) {
		log_error("%s: has stopped at once; its own messages say why",
		    s->ch->peer);
		return (-ECONNABORTED);
	}
	log_error("%s: breaks the protocol: '%c' came where the handshake was "
		  "expected",
	    s->ch->peer, i->type);
	return (-EBADMSG);
}

/*
 * An abort before our handshake: so a dsync server knows that nothing is wanted
 * of it (a Dovecot says nothing about it, and nothing is noted).
 */
static void
hang_up(struct far_session *s)
{
	int64_t end = cmd_mono_ms() + LAST_WORDS_MS;
	struct item *i;
	int r;

	if (item_new(ITEM_ABORT, &i) == 0)
		(void)s->ch->ops->send(s->ch, i);
	do {
		r = s->ch->ops->flush(s->ch);
		if (r == 0)
			r = s->l->ops->shut(s->l);
		if (r == -EAGAIN &&
		    s->l->ops->wait(s->l, true, -1, LOOK_MS) == -ETIMEDOUT)
			break;
	} while (r == -EAGAIN && cmd_mono_ms() < end);
}

/* That a program is missing, or is none of dsync, shows only now. */
static int
answer_status(const struct far_session *s, int r)
{
	bool nobody = r == -EBADMSG || (r == -ENOENT && s->ch->received == 0);

	return (nobody ? EX_PEER : cmd_status_of(r));
}

static int
try_far(struct cmd *c, const struct place *p, bool *dovecot)
{
	struct buf unheard = BUF_INIT;
	struct far_session s;
	struct item *i = NULL;
	int r, status = far_dial(c, p, &s);

	if (status != 0)
		return (status);
	status = closing_now(c, true);
	r = status == 0 ? wait_item(c, &s, &i) : -EPERM;
	if (r == 0)
		r = take_hello(&s, i, dovecot);
	item_free(i);
	if (status == 0)
		status = answer_status(&s, r);
	/* Of one that has answered: a Dovecot's status is 75 now. */
	if (status == EX_DONE)
		c->held = &unheard;
	hang_up(&s);
	far_close(&s);
	c->held = NULL;
	buf_fini(&unheard);
	return (status);
}

/* c->apart afterwards: this is the process of this one. */
static int
try_far_apart(struct cmd *c, const struct place *p, const char **who)
{
	bool dovecot = false;
	int status;

	if (!closing_wanted(c))
		status = try_far(c, p, &dovecot);
	else if (closing_apart(c, &dovecot, sizeof(dovecot), &status)) {
		status = try_far(c, p, &dovecot);
		closing_tell(c, &dovecot, sizeof(dovecot));
	}
	*who = dovecot ? "a Dovecot (dsync) answers" : "a dsyncfs answers";
	return (status);
}

/* ---- one on this machine ---- */

/* A sync writes to it, and a mount that has it is asked to. */
static int
try_near(struct cmd *c, const struct place *p, const char **who)
{
	struct replica *r;
	struct stat st;
	int status;

	if (place_mounted(c, p)) {
		*who = "a running mount has it";
		return (EX_DONE);
	}
	*who = stat(p->l.path, &st) == 0 ? "it can be opened"
					 : "a sync will make it";
	status = place_open(c, p, LOCATION_CREATE | LOCATION_DRY, &r);
	if (status != 0)
		return (status);
	status = cmd_status_of(r->ops->close(r));
	if (status != 0 || access(p->l.path, W_OK) == 0 || errno == ENOENT)
		return (status);
	log_error("%s (from %s): may not be written: %s; run as its owner",
	    p->l.text, p->origin, strerror(errno));
	return (EX_PERMISSION);
}

/* ---- all of them ---- */

static int
try_place(struct cmd *c, const char *name, const struct config_value *v)
{
	const char *who = NULL,
		   *head = name == NULL
	    ? v->text
	    : arena_printf(&c->arena, "%s (%s)", name, v->text);
	struct place first, p;
	int status = head == NULL ? EX_FAIL : place_value(c, v, &p);

	if (status == 0)
		status = place_first(c, &first);
	if (status == 0 && place_same(&first, &p)) {
		log_error("%s: this is the first location itself: a remote "
			  "has to be another one",
		    p.origin);
		status = p.from_config ? EX_BAD_CONFIG : EX_BAD_USAGE;
	}
	if (status == 0)
		status = p.is_far ? try_far_apart(c, &p, &who)
				  : try_near(c, &p, &who);
	if (c->apart)
		return (status);
	if (status == 0)
		out_printf(c, "remote %s: works: %s\n", head, who);
	else
		out_printf(
		    c, "remote %s: does not work: status %d\n", head, status);
	out_flush(c);
	return (status);
}

int
check_remotes(struct cmd *c)
{
	const struct config *k = &c->cfg;
	int status = EX_DONE, one;

	if (k->remote.text != NULL &&
	    config_remote_find(k, k->remote.text) == NULL)
		status = try_place(c, NULL, &k->remote);
	for (size_t i = 0; i < k->n_remotes && !cmd_stopped(c) && !c->apart;
	     i++) {
		one = try_place(
		    c, k->remotes[i].name, &k->remotes[i].location);
		status = c->apart ? one : many_worse(status, one);
	}
	return (cmd_stopped(c) ? EX_TRY_LATER : status);
}
