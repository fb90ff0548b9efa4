/*
 * mount_sync -- the syncs that a mount begins by itself.
 */
#include "fs/mount_sync.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "fs/last_words.h"
#include "fs/mount_say.h"

/* A command line. */
struct again {
	struct arena arena;
	int argc;
	const char *const *argv;
};

struct mount_sync {
	struct broker *broker;
	const struct scheduler_remote *remote;
	size_t n;
	const atomic_int *ending;
	mount_sync_run_fn *run;
	void *arg;
	/* One for each remote: set while its sync runs, read before the next.
	 */
	struct again *again;
};

struct mount_sync *
mount_sync_new(struct broker *broker, const struct scheduler_remote *v,
    size_t n, const atomic_int *ending, mount_sync_run_fn *run, void *arg)
{
	struct mount_sync *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return (NULL);
	*m = (struct mount_sync){ .broker = broker,
		.remote = v,
		.n = n,
		.ending = ending,
		.run = run,
		.arg = arg };
	m->again = calloc(n + 1, sizeof(*m->again));
	if (m->again == NULL) {
		free(m);
		return (NULL);
	}
	return (m);
}

void
mount_sync_free(struct mount_sync *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++)
		arena_fini(&m->again[i].arena);
	free(m->again);
	free(m);
}

/* The scheduler has copies of them. */
static size_t
index_of(const struct mount_sync *m, const struct scheduler_remote *r)
{
	size_t i = 0;

	while (i < m->n && m->remote[i].name != r->name)
		i++;
	return (i);
}

/* ---- what a client has brought ---- */

const struct scheduler_remote *
mount_sync_of(const struct mount_sync *m, int argc, const char *const *argv)
{
	bool session = false;

	for (int i = 1; i < argc; i++)
		session |= strcmp(argv[i], "--session") == 0;
	for (size_t i = 0; session && i < m->n; i++)
		if (m->remote[i].session != NULL &&
		    strcmp(m->remote[i].name, argv[argc - 1]) == 0)
			return (&m->remote[i]);
	return (NULL);
}

void
mount_sync_keep(struct mount_sync *m, const struct scheduler_remote *r,
    int argc, const char *const *argv)
{
	struct again *k = &m->again[index_of(m, r)];
	const char **v;

	arena_fini(&k->arena);
	arena_init(&k->arena);
	k->argc = 0;
	v = arena_zalloc(&k->arena, ((size_t)argc + 1) * sizeof(*v));
	for (int i = 0; v != NULL && i < argc; i++)
		v[i] = arena_strdup(&k->arena, argv[i]);
	if (k->arena.error != 0)
		return;
	k->argv = v;
	k->argc = argc;
}

/* ---- one sync ---- */

static void
discard(void *arg, const char *text, size_t n)
{
	(void)arg;
	(void)text;
	(void)n;
}

/* Over the link that is open; *gone: that was none any more. */
static int
sync_again(struct mount_sync *m, const struct scheduler_remote *r,
    struct last_words *w, bool *gone)
{
	const struct again *k = &m->again[index_of(m, r)];
	const struct cmd_io io = { discard, last_words_take, NULL, w };

	if (k->argc == 0) {
		*gone = true;
		return (EX_TRY_LATER);
	}
	return (m->run(m->arg, k->argc, k->argv, &io, r->session, gone));
}

static int
sync_anew(struct mount_sync *m, const struct scheduler_remote *r,
    struct last_words *w)
{
	int status = broker_sync(
	    m->broker, index_of(m, r), last_words_bytes, w, m->ending);

	if (status >= 0)
		return (status);
	log_error("sync with %s: dsyncfs-sync cannot be run: %s", r->name,
	    strerror(-status));
	return (EX_FAIL);
}

int
mount_sync_with(
    struct mount_sync *m, const struct scheduler_remote *r, char **error)
{
	struct last_words w = LAST_WORDS_INIT;
	bool gone = r->session == NULL || !cmd_session_open(r->session);
	int status = EX_TRY_LATER;

	mount_say_status("syncing with %s", r->name);
	if (!gone)
		status = sync_again(m, r, &w, &gone);
	if (gone && !*m->ending) {
		last_words_fini(&w);
		status = sync_anew(m, r, &w);
	}
	if (status == EX_DONE || status == EX_AGAIN)
		mount_say_status("synced with %s", r->name);
	else
		mount_say_status("the last sync with %s failed: %s", r->name,
		    w.last != NULL ? w.last : "no reason was given");
	*error = last_words_text(&w);
	last_words_fini(&w);
	return (status);
}
