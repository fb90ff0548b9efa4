/*
 * flush -- brings local changes over to the remotes.
 */
#include <string.h>
#include "cmd/cmd_internal.h"

#define FLUSH_SOON_MS 500
#define FLUSH_MS 5000

/* What a section is synced with by itself is flushed to. */
static bool
is_flushed(const struct config_remote *r)
{
	unsigned seconds;
	bool push;

	return (r->sync.text != NULL &&
	    config_sync(r->sync.text, &push, &seconds) == 0 &&
	    (push || seconds != 0));
}

struct flushed {
	size_t n;
	int status; /* of all */
};

/* true: this is the process of this one sync, whose status it is. */
static bool
flush_to(struct cmd *c, const char *name, bool backup, struct flushed *f)
{
	char nothing;
	int one;

	if (!closing_wanted(c) || closing_apart(c, &nothing, 0, &one))
		one = sync_named(c, name, backup);
	f->n++;
	f->status = c->apart ? one : many_worse(f->status, one);
	return (c->apart);
}

static void
flush_all(struct cmd *c, struct flushed *f)
{
	const struct config *k = &c->cfg;
	bool asked = k->remote.origin != NULL &&
	    strcmp(k->remote.origin, "option -o") == 0;
	const struct cmd_remote *given =
	    c->local != NULL && !asked ? c->local->remotes : NULL;
	const struct config_remote *first = k->remote.text == NULL
	    ? NULL
	    : config_remote_find(k, k->remote.text);

	for (; given != NULL && given->name != NULL; given++)
		if (flush_to(c, given->name, given->backup, f))
			return;
	if (f->n != 0)
		return;
	if (k->remote.text != NULL && first == NULL &&
	    flush_to(c, k->remote.text, false, f))
		return;
	for (size_t i = 0; i < k->n_remotes; i++) {
		const struct config_remote *r = &k->remotes[i];

		if (r != first && (asked || !is_flushed(r)))
			continue;
		if (flush_to(c, r->name,
			r->mode.text != NULL &&
			    strcmp(r->mode.text, "backup") == 0,
			f))
			return;
	}
}

/* In the mount that has the store, which knows with what it syncs. */
static int
flush_once(struct cmd *c, bool *known)
{
	static const char *const drop[] = { "wait", NULL };
	struct forward f = { .command = "flush", .drop = drop };
	struct buf held = BUF_INIT;
	struct flushed flushed = { 0, EX_DONE };
	struct place first;
	int status;

	*known = true;
	if (c->local == NULL) {
		/* A mistake in it is told by the syncs, if there are any. */
		c->held = &held;
		status = place_first(c, &first);
		c->held = NULL;
		buf_fini(&held);
		if (status == 0 && place_forward(c, &first, &f, &status))
			return (status);
	}
	flush_all(c, &flushed);
	*known = flushed.n != 0;
	return (flushed.status);
}

/* What may be otherwise in a while. */
static bool
may_pass(int status)
{
	return (
	    status == EX_AGAIN || status == EX_PEER || status == EX_TRY_LATER);
}

int
cmd_flush(struct cmd *c)
{
	bool known;
	int status = flush_once(c, &known);

	while (c->o->wait && known && !c->apart && may_pass(status) &&
	    !cmd_stopped(c)) {
		cmd_sleep(c, status == EX_AGAIN ? FLUSH_SOON_MS : FLUSH_MS);
		status = flush_once(c, &known);
	}
	if (known)
		return (status);
	log_error("flush: no remote is configured: set 'remote = LOCATION2' "
		  "in the configuration, or give -o remote=LOCATION2");
	return (EX_BAD_CONFIG);
}
