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
	/* Who has it uses the remote's session, and the members below. */
	pthread_mutex_t lock;
	bool called; /* a client has been asked for */
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
	struct again *again; /* one for each remote */
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
	for (size_t i = 0; i < n; i++)
		(void)pthread_mutex_init(&m->again[i].lock, NULL);
	return (m);
}

void
mount_sync_free(struct mount_sync *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++) {
		arena_fini(&m->again[i].arena);
		(void)pthread_mutex_destroy(&m->again[i].lock);
	}
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

static void
keep(struct again *k, int argc, const char *const *argv)
{
	const char **v;

	arena_fini(&k->arena);
	k->argc = 0;
	v = arena_zalloc(&k->arena, ((size_t)argc + 1) * sizeof(*v));
	for (int i = 0; v != NULL && i < argc; i++)
		v[i] = arena_strdup(&k->arena, argv[i]);
	if (k->arena.error != 0)
		return;
	k->argv = v;
	k->argc = argc;
}

const struct scheduler_remote *
mount_sync_begin(struct mount_sync *m, int argc, const char *const *argv)
{
	bool session = false;
	size_t n = 0;

	for (int i = 1; i < argc; i++)
		session |= strcmp(argv[i], "--session") == 0;
	if (!session)
		return (NULL);
	while (n < m->n &&
	    (m->remote[n].session == NULL ||
		strcmp(m->remote[n].name, argv[argc - 1]) != 0))
		n++;
	if (n == m->n)
		return (NULL);
	pthread_mutex_lock(&m->again[n].lock);
	if (!m->again[n].called) {
		pthread_mutex_unlock(&m->again[n].lock);
		return (NULL);
	}
	keep(&m->again[n], argc, argv);
	return (&m->remote[n]);
}

void
mount_sync_end(struct mount_sync *m, const struct scheduler_remote *r)
{
	if (r != NULL)
		pthread_mutex_unlock(&m->again[index_of(m, r)].lock);
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

/* A client that was killed may still have its sync here: that ends first. */
static void
call(struct again *k, bool called)
{
	pthread_mutex_lock(&k->lock);
	k->called = called;
	pthread_mutex_unlock(&k->lock);
}

static int
sync_anew(struct mount_sync *m, const struct scheduler_remote *r,
    struct last_words *w)
{
	struct again *k = &m->again[index_of(m, r)];
	int status;

	call(k, true);
	status = broker_sync(
	    m->broker, index_of(m, r), last_words_bytes, w, m->ending);
	call(k, false);
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
