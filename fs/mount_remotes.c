/*
 * mount_remotes -- with what a mount syncs, and when.
 */
#include "fs/mount_remotes.h"

#include <string.h>

#include "base/log.h"
#include "cmd/cmd.h"

static int
set_when(struct scheduler_remote *r, const char *sync)
{
	bool push = false;

	if (sync != NULL && config_sync(sync, &push, &r->seconds) != 0) {
		log_error("sync=%s: it is manual, push or a time from 1s to 1d",
		    sync);
		return (EX_BAD_USAGE);
	}
	r->when = push ? SYNC_PUSH : r->seconds != 0 ? SYNC_EVERY : SYNC_MANUAL;
	if (!push || r->backup)
		return (0);
	r->session = cmd_session_new();
	return (r->session == NULL ? EX_FAIL : 0);
}

static int
take_section(
    struct scheduler_remote *r, const struct config_remote *s, const char *sync)
{
	r->name = s->name;
	r->location = s->location.text;
	r->backup = s->mode.text != NULL && strcmp(s->mode.text, "backup") == 0;
	return (set_when(r, sync != NULL ? sync : s->sync.text));
}

/* remote=: a location, or the name of a section. */
static int
take_first(struct scheduler_remote *r, const struct config *c,
    const char *remote, const char *sync)
{
	const struct config_remote *s = config_remote_find(c, remote);

	if (s != NULL)
		return (take_section(r, s, sync));
	r->name = r->location = remote;
	return (set_when(r, sync));
}

int
mount_remotes(struct arena *a, const struct mount_options *o,
    const struct config *c, bool of_config, struct scheduler_remote **v,
    size_t *n)
{
	const char *first = o->remote != NULL ? o->remote : c->remote.text,
		   *sync = o->sync != NULL ? o->sync : c->sync.text;
	int rc = 0;

	*n = 0;
	*v = arena_zalloc(a, (c->n_remotes + 1) * sizeof(**v));
	if (*v == NULL)
		return (EX_FAIL);
	if (first != NULL)
		rc = take_first(&(*v)[(*n)++], c, first, sync);
	for (size_t i = 0;
	     rc == 0 && of_config && o->remote == NULL && i < c->n_remotes;
	     i++) {
		if (*n != 0 && strcmp((*v)[0].name, c->remotes[i].name) == 0)
			continue;
		rc = take_section(&(*v)[(*n)++], &c->remotes[i], NULL);
	}
	if (rc == 0 && *n == 0 && sync != NULL && strcmp(sync, "manual") != 0) {
		log_error("sync=%s: with what? set remote=LOCATION", sync);
		rc = EX_BAD_USAGE;
	}
	return (rc);
}

int
mount_remotes_flushed(struct arena *a, const struct mount_options *o,
    const struct config *c, const struct scheduler_remote *v, size_t n,
    struct cmd_remote **out)
{
	bool has_first = o->remote != NULL || c->remote.text != NULL;
	struct cmd_remote *f = arena_zalloc(a, (n + 1) * sizeof(*f));

	*out = f;
	if (f == NULL)
		return (EX_FAIL);
	for (size_t i = 0; i < n; i++)
		if (v[i].when != SYNC_MANUAL || (i == 0 && has_first))
			*f++ = (struct cmd_remote){ v[i].name, v[i].backup };
	return (0);
}

void
mount_remotes_free(struct scheduler_remote *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cmd_session_free(v[i].session);
}
