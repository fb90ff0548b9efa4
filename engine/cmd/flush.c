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

/* Asked for on the command line: a mount has no say in it. */
static bool
is_asked(const struct config *k)
{
	return (k->remote.origin != NULL &&
	    strcmp(k->remote.origin, "option -o") == 0);
}

static void
flush_all(struct cmd *c, struct flushed *f)
{
	const struct config *k = &c->cfg;
	const struct config_remote *first = k->remote.text == NULL
	    ? NULL
	    : config_remote_find(k, k->remote.text);

	if (k->remote.text != NULL && first == NULL &&
	    flush_to(c, k->remote.text, false, f))
		return;
	for (size_t i = 0; i < k->n_remotes; i++) {
		const struct config_remote *r = &k->remotes[i];

		if (r != first && (is_asked(k) || !is_flushed(r)))
			continue;
		if (flush_to(c, r->name,
			r->mode.text != NULL &&
			    strcmp(r->mode.text, "backup") == 0,
			f))
			return;
	}
}

/* ---- with what a mount syncs ---- */

/* Lines of "mirror LOCATION2" and "backup LOCATION2". */
static int
tell_remotes(struct cmd *c)
{
	const struct cmd_remote *r = c->local->remotes;

	for (; r != NULL && r->name != NULL; r++)
		out_printf(
		    c, "%s %s\n", r->backup ? "backup" : "mirror", r->name);
	return (EX_DONE);
}

static void
flush_told(struct cmd *c, char *lines, struct flushed *f)
{
	char *line, *at = NULL, *name;

	for (line = strtok_r(lines, "\n", &at); line != NULL;
	     line = strtok_r(NULL, "\n", &at)) {
		name = strchr(line, ' ');
		if (name != NULL &&
		    flush_to(c, name + 1, *line == 'b', f))
			return;
	}
}

/* false: no mount has the store, or it syncs with nothing. */
static bool
flush_of_mount(struct cmd *c, const struct place *p, struct flushed *flushed)
{
	static const char *const drop[] = { "wait", NULL };
	struct buf said = BUF_INIT;
	struct forward f = { .command = "flush",
		.drop = drop,
		.add = { "--remotes" },
		.said = &said };

	if (place_forward(c, p, &f, &flushed->status)) {
		if (flushed->status != EX_DONE)
			flushed->n = 1;
		else if (buf_cstr(&said) != NULL)
			flush_told(c, (char *)said.data, flushed);
	}
	buf_fini(&said);
	return (flushed->n != 0);
}

static int
flush_once(struct cmd *c, bool *known)
{
	struct buf held = BUF_INIT;
	struct flushed flushed = { 0, EX_DONE };
	struct place first;
	int status;

	/* A mistake in it is told by the syncs, if there are any. */
	c->held = &held;
	status = place_first(c, &first);
	c->held = NULL;
	buf_fini(&held);
	if (status != 0 || is_asked(&c->cfg) ||
	    !flush_of_mount(c, &first, &flushed))
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
	int status;

	if (c->local != NULL)
		return (tell_remotes(c));
	status = flush_once(c, &known);
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
