/*
 * notify -- the queue of what the kernel should forget, and its thread.
 */
#include "fs/notify.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/hash.h"

#include "base/log.h"
#include "fs/helper.h"

#define DEBOUNCE_NS (2 * 1000 * 1000)
#define RETRY_NS (100 * 1000 * 1000)
#define RETRIES 50
/*
 * With more changes of names a second, watchers are only woken up: repeating
 * each would hold up a sync that brings many.
 */
#define NUDGES_MAX 512

struct note {
	char *key; /* owned: what, node, name */
	enum forget_what what;
	uint64_t node;
	char *name; /* owned, or NULL */
	UT_hash_handle hh;
};

/* A change of a name for the helper to repeat. */
struct nudge {
	struct nudge *next;
	uint32_t mailbox;
	char *from, *to; /* owned; to NULL: unlinked */
};

struct nudges {
	struct nudge *first, **end;
	bool too_many; /* none is kept */
};

struct notifier {
	struct fuse_session *se;
	struct view *view;
	const char *mountpoint; /* borrowed */
	int helper; /* owned: its socket */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct note *notes; /* guarded by lock */
	bool specials; /* to be forgotten; guarded by lock */
	/* how many notes there were, and up to which all are told */
	uint64_t noted, told; /* guarded by lock */
	unsigned waiting; /* for told; guarded by lock */
	pthread_cond_t was_told;
	struct nudges nudges; /* guarded by lock */
	/* nudges since a second began; guarded by lock */
	size_t in_second;
	time_t second;
	bool stop; /* guarded by lock */
	bool helper_gone; /* of the thread alone */
};

static void
note_free(struct note *n)
{
	if (n == NULL)
		return;
	free(n->key);
	free(n->name);
	free(n);
}

static void
note_specials(struct notifier *n)
{
	pthread_mutex_lock(&n->lock);
	if (!n->specials)
		pthread_cond_signal(&n->more);
	n->specials = true;
	pthread_mutex_unlock(&n->lock);
}

/* Called under the view's lock: notes it, once. */
static void
on_forget(void *arg, enum forget_what what, uint64_t node, const char *name)
{
	struct notifier *n = arg;
	struct note *note, *there = NULL;

	if (what == FORGET_SPECIALS) {
		note_specials(n);
		return;
	}
	if ((note = calloc(1, sizeof(*note))) == NULL)
		return;
	if (asprintf(&note->key, "%d %jx %s", (int)what, (uintmax_t)node,
		name == NULL ? "" : name) < 0) {
		note->key = NULL;
		goto out;
	}
	note->what = what;
	note->node = node;
	if (name != NULL && (note->name = strdup(name)) == NULL)
		goto out;
	pthread_mutex_lock(&n->lock);
	n->noted++;
	HASH_FIND_STR(n->notes, note->key, there);
	if (there == NULL) {
		HASH_ADD_KEYPTR(
		    hh, n->notes, note->key, strlen(note->key), note);
		note = NULL;
		pthread_cond_signal(&n->more);
	}
	pthread_mutex_unlock(&n->lock);
out:
	note_free(note);
}

static void
nudges_free(struct nudges *w)
{
	struct nudge *g;

	while ((g = w->first) != NULL) {
		w->first = g->next;
		free(g->from);
		free(g->to);
		free(g);
	}
	memset(w, 0, sizeof(*w));
}

/* The lists change owner; the end of an empty one is its beginning. */
static struct nudges
nudges_take(struct nudges *w)
{
	struct nudges all = *w;

	memset(w, 0, sizeof(*w));
	return (all);
}

static void
put_nudge(struct nudges *w, struct nudge *g)
{
	if (w->first == NULL)
		w->end = &w->first;
	*w->end = g;
	w->end = &g->next;
}

/* Under the lock: false when there were enough in this second. */
static bool
may_nudge(struct notifier *n)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec != n->second) {
		n->second = now.tv_sec;
		n->in_second = 0;
	}
	return (++n->in_second <= NUDGES_MAX);
}

/* Called under the view's lock, after the notes that it needs. */
static void
on_nudge(void *arg, uint32_t mailbox, const char *from, const char *to)
{
	struct notifier *n = arg;
	struct nudge *g = calloc(1, sizeof(*g));
	bool good = g != NULL && (g->from = strdup(from)) != NULL &&
	    (to == NULL || (g->to = strdup(to)) != NULL);

	pthread_mutex_lock(&n->lock);
	if (may_nudge(n) && good && !n->nudges.too_many) {
		g->mailbox = mailbox;
		put_nudge(&n->nudges, g);
		g = NULL;
	} else {
		nudges_free(&n->nudges);
		n->nudges.too_many = true;
	}
	pthread_mutex_unlock(&n->lock);
	if (g != NULL) {
		free(g->from);
		free(g->to);
		free(g);
	}
}

/* ---- the thread ---- */

static void
rest(long ns)
{
	const struct timespec t = { 0, ns };

	(void)nanosleep(&t, NULL);
}

/* A helper that is busy is given time; one that is gone is not asked again. */
static void
heed(struct notifier *n, int error, int *tries)
{
	if (error == -EPIPE && !n->helper_gone) {
		n->helper_gone = true;
		log_warning(
		    "the process that wakes up watching programs has "
		    "ended; they see changes of a sync when they look again");
	}
	if (error == -EAGAIN) {
		rest(RETRY_NS);
		++*tries;
	} else
		*tries = RETRIES;
}

struct paths {
	char **path; /* owned, each owned */
	size_t n;
};

static int
keep_path(void *arg, const char *path)
{
	struct paths *p = arg;
	char **grown = realloc(p->path, (p->n + 1) * sizeof(*grown));

	if (grown == NULL)
		return (-ENOMEM);
	p->path = grown;
	if ((p->path[p->n] = strdup(path)) == NULL)
		return (-ENOMEM);
	p->n++;
	return (0);
}

static void
ask(struct notifier *n, enum helper_do what, const char *from, const char *to)
{
	int tries = 0, error;

	while (tries < RETRIES && !n->helper_gone &&
	    (error = helper_ask(n->helper, what, n->mountpoint, from,
		 to != NULL ? to : "")) != 0)
		heed(n, error, &tries);
}

static void
poke_box(struct notifier *n, uint32_t box)
{
	struct paths p = { NULL, 0 };
	size_t i;

	(void)view_box_paths(n->view, box, keep_path, &p);
	for (i = 0; i < p.n; i++) {
		ask(n, HELPER_TOUCH, p.path[i], NULL);
		free(p.path[i]);
	}
	free(p.path);
}

/*
 * Is something left that no name tells?  Programs like neomutt do not listen
 * for names that go.
 */
static bool
needs_poke(const struct nudges *w, uint32_t box)
{
	const struct nudge *g;
	bool told = false;

	for (g = w->first; g != NULL; g = g->next)
		if (g->mailbox == box) {
			if (g->to == NULL)
				return (true);
			told = true;
		}
	return (!told);
}

/* Nothing to forget (-ENOENT) is as good as forgotten. */
static void
tell_kernel(struct notifier *n, const struct note *note)
{
	if (note->what == FORGET_INODE)
		(void)fuse_lowlevel_notify_inval_inode(n->se, note->node, 0, 0);
	else if (note->what == FORGET_ATTR)
		(void)fuse_lowlevel_notify_inval_inode(
		    n->se, note->node, -1, 0);
	else if (note->what == FORGET_ENTRY)
		(void)fuse_lowlevel_notify_inval_entry(
		    n->se, note->node, note->name, strlen(note->name));
}

static void
tell_specials(struct notifier *n)
{
	uint64_t node;

	for (unsigned i = 0; special_each_shown(i, &node); i++)
		(void)fuse_lowlevel_notify_inval_inode(n->se, node, 0, 0);
}

static void
flush(struct notifier *n, struct note *notes, struct nudges *nudges,
    uint64_t noted)
{
	struct note *e, *next;
	struct nudge *g;

	HASH_ITER (hh, notes, e, next)
		tell_kernel(n, e);
	pthread_mutex_lock(&n->lock);
	n->told = noted;
	pthread_cond_broadcast(&n->was_told);
	pthread_mutex_unlock(&n->lock);
	for (g = nudges->first; g != NULL; g = g->next)
		ask(n, g->to != NULL ? HELPER_RENAME : HELPER_UNLINK, g->from,
		    g->to);
	HASH_ITER (hh, notes, e, next) {
		if (e->what == FORGET_FOLDER &&
		    needs_poke(nudges, (uint32_t)e->node))
			poke_box(n, (uint32_t)e->node);
		HASH_DEL(notes, e);
		note_free(e);
	}
	nudges_free(nudges);
}

/* More may come, unless somebody waits.  Under the lock. */
static void
debounce(struct notifier *n)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += DEBOUNCE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!n->stop && n->waiting == 0 &&
	    pthread_cond_clockwait(
		&n->more, &n->lock, CLOCK_MONOTONIC, &until) == 0)
		;
}

void
notifier_wait(struct notifier *n)
{
	uint64_t noted;

	if (n == NULL)
		return;
	pthread_mutex_lock(&n->lock);
	noted = n->noted;
	n->waiting++;
	pthread_cond_signal(&n->more);
	while (n->told < noted && !n->stop)
		pthread_cond_wait(&n->was_told, &n->lock);
	n->waiting--;
	pthread_mutex_unlock(&n->lock);
}

static void *
run(void *arg)
{
	struct notifier *n = arg;
	struct note *notes;
	struct nudges nudges;
	uint64_t noted;
	bool specials;

	pthread_mutex_lock(&n->lock);
	for (;;) {
		while (n->notes == NULL && !n->specials && !n->stop)
			pthread_cond_wait(&n->more, &n->lock);
		debounce(n);
		/* Nobody answers requests any more, for which telling waits. */
		if (n->stop)
			break;
		notes = n->notes;
		n->notes = NULL;
		noted = n->noted;
		specials = n->specials;
		n->specials = false;
		nudges = nudges_take(&n->nudges);
		pthread_mutex_unlock(&n->lock);
		if (specials)
			tell_specials(n);
		flush(n, notes, &nudges, noted);
		pthread_mutex_lock(&n->lock);
	}
	pthread_mutex_unlock(&n->lock);
	return (NULL);
}

int
notifier_start(struct view *v, struct fuse_session *se, const char *mountpoint,
    int helper, struct notifier **out)
{
	struct notifier *n = calloc(1, sizeof(*n));
	sigset_t all, was;
	int error;

	if (n == NULL)
		return (-ENOMEM);
	n->se = se;
	n->view = v;
	n->mountpoint = mountpoint;
	n->helper = helper;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->more, NULL);
	pthread_cond_init(&n->was_told, NULL);
	/* Signals are the main thread's. */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &was);
	error = pthread_create(&n->thread, NULL, run, n);
	(void)pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (error != 0) {
		log_error("a thread cannot be started: %s", strerror(error));
		free(n);
		return (-error);
	}
	view_lock(v);
	view_on_forget(v, on_forget, n);
	view_on_nudge(v, on_nudge, n);
	view_unlock(v);
	*out = n;
	return (0);
}

void
notifier_stop(struct notifier *n)
{
	struct note *e, *next;

	if (n == NULL)
		return;
	view_lock(n->view);
	view_on_forget(n->view, NULL, NULL);
	view_on_nudge(n->view, NULL, NULL);
	view_unlock(n->view);
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->more);
	pthread_cond_broadcast(&n->was_told);
	pthread_mutex_unlock(&n->lock);
	(void)pthread_join(n->thread, NULL);
	HASH_ITER (hh, n->notes, e, next) {
		HASH_DEL(n->notes, e);
		note_free(e);
	}
	nudges_free(&n->nudges);
	(void)close(n->helper);
	pthread_cond_destroy(&n->more);
	pthread_cond_destroy(&n->was_told);
	pthread_mutex_destroy(&n->lock);
	free(n);
}
