/*
 * ahead -- recognises a program that reads one message after the other, and
 * pushes those that follow into the kernel's page cache.
 *
 * A scan's READ is held by one pusher thread while it pushes, so that the
 * program waits once for a window of messages instead of once for each; a
 * pusher beside the program would stay in step with it and gain nothing
 * (specs/fuse.md 3).
 *
 * A1  Pushing waits for the pages of a READ that is under way, so no thread
 *     that answers others pushes, no READ is queued behind a push (a busy
 *     pusher takes none), and of the message whose READ it holds nothing is
 *     pushed.
 * A2  Only messages are pushed, whose bytes do not change.  One that somebody
 *     began to write to meanwhile is forgotten again.
 */
#include "fs/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define SCANS 4 /* that are followed at a time */
#define IN_ROW 3 /* ascending reads that make a scan */
#define WINDOW_FIRST 4
#define WINDOW_MAX 128
#define WHOLE_MAX (64u << 10) /* of a larger message only its head */
#define HEAD 4096
#define KEPT_SECONDS 2

struct scan {
	uint64_t last; /* node of the last read, or of the last push */
	unsigned in_row;
	unsigned window;
	uint64_t used;
};

/* A message that can be pushed. */
struct ready {
	uint64_t node;
	struct body_ref body;
	char *p; /* owned */
	ssize_t n; /* bytes of p; none: it is passed over */
};

struct ahead {
	struct view *view;
	struct fuse_session *se;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct scan scan[SCANS]; /* guarded by lock */
	uint64_t clock;
	/* what the pusher has to do; req NULL: it is idle.  Guarded by lock */
	fuse_req_t req;
	uint64_t node;
	size_t size, window;
	struct scan *of;
	bool stop;
	atomic_ullong pushed;
	/* of the pusher alone: from at_ready on, what it has prepared */
	struct ready ready[WINDOW_MAX];
	size_t at_ready, n_ready;
};

/* ---- scans ---- */

/* The scan that this read goes on, or one that begins with it. */
static struct scan *
scan_of(struct ahead *a, uint64_t node)
{
	struct scan *oldest = &a->scan[0];

	for (size_t i = 0; i < SCANS; i++) {
		struct scan *s = &a->scan[i];

		/* Numbers ascend; what others do lies further off. */
		if (s->in_row != 0 && node > s->last &&
		    node - s->last <= 2 * WINDOW_MAX) {
			s->in_row++;
			s->last = node;
			return (s);
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	*oldest = (struct scan){ .last = node, .in_row = 1 };
	return (oldest);
}

bool
ahead_read(struct ahead *a, fuse_req_t req, uint64_t node, size_t size)
{
	bool takes = false;
	struct scan *s;

	if (a == NULL || (node & (NODE_BOX | NODE_SPECIAL | NODE_AUX)) != 0)
		return (false);
	pthread_mutex_lock(&a->lock);
	s = scan_of(a, node);
	s->used = ++a->clock;
	if (s->in_row >= IN_ROW && a->req == NULL && !a->stop) {
		s->window = s->window == 0 ? WINDOW_FIRST
		    : s->window < WINDOW_MAX ? s->window * 2
					     : WINDOW_MAX;
		a->req = req;
		a->node = node;
		a->size = size;
		a->window = s->window;
		a->of = s;
		takes = true;
		pthread_cond_signal(&a->more);
	}
	pthread_mutex_unlock(&a->lock);
	return (takes);
}

unsigned long long
ahead_pushed(struct ahead *a)
{
	return (a == NULL ? 0 : atomic_load(&a->pushed));
}

/* ---- the pusher ---- */

/* What *r had is gone already. */
static void
load(struct ahead *a, const struct view_next *next, struct ready *r)
{
	size_t n = next->body.size < WHOLE_MAX ? (size_t)next->body.size
					       : WHOLE_MAX;

	r->node = next->node;
	r->body = next->body;
	r->p = n > 0 ? malloc(n) : NULL;
	r->n = r->p == NULL ? 0 : view_peek(a->view, &next->body, r->p, n);
}

static void
unload(struct ready *r)
{
	free(r->p);
	r->p = NULL;
}

/* false: the kernel has no such inode, nor those behind it. */
static bool
push(struct ahead *a, const struct ready *r)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(0);
	struct body_ref now;

	if (r->n <= 0)
		return (true);
	v.buf[0].mem = r->p;
	/* Of a page that is not whole the kernel believes only the last. */
	v.buf[0].size = r->body.size <= WHOLE_MAX ? (size_t)r->n : HEAD;
	if (fuse_lowlevel_notify_store(a->se, r->node, 0, &v, 0) != 0)
		return (false);
	if (view_body(a->view, r->node, &now) != 0 ||
	    now.pack != r->body.pack || now.offset != r->body.offset)
		(void)fuse_lowlevel_notify_inval_inode(a->se, r->node, 0, 0);
	atomic_fetch_add(&a->pushed, 1);
	return (true);
}

static void
drop_ready(struct ahead *a)
{
	while (a->at_ready < a->n_ready)
		unload(&a->ready[a->at_ready++]);
	a->at_ready = a->n_ready = 0;
}

/* Those behind this message stay, if it is one of them or right before them. */
static void
find_ready(struct ahead *a, uint64_t node)
{
	size_t i = a->at_ready;

	while (i < a->n_ready && a->ready[i].node != node)
		i++;
	if (i == a->n_ready)
		drop_ready(a);
	else
		while (a->at_ready <= i)
			unload(&a->ready[a->at_ready++]);
}

/*
 * A copy of the message whose READ is held has the pages that are asked for
 * (A1): nothing is pushed from there on.
 */
static uint64_t
push_window(struct ahead *a, uint64_t node, size_t window)
{
	struct view_next next[WINDOW_MAX];
	uint64_t last = node;
	bool more = true;
	int n;

	find_ready(a, node);
	for (; more && window > 0 && a->at_ready < a->n_ready; window--) {
		struct ready *r = &a->ready[a->at_ready];

		if ((more = r->node != node && push(a, r))) {
			last = r->node;
			unload(r);
			a->at_ready++;
		}
	}
	if (!more || window == 0)
		return (last);
	n = view_following(a->view, last, next, window);
	for (int i = 0; more && i < n; i++) {
		struct ready r;

		if (next[i].node == node)
			break;
		load(a, &next[i], &r);
		if ((more = push(a, &r)))
			last = r.node;
		unload(&r);
	}
	return (last);
}

static bool
asked(struct ahead *a)
{
	bool yes;

	pthread_mutex_lock(&a->lock);
	yes = a->req != NULL || a->stop;
	pthread_mutex_unlock(&a->lock);
	return (yes);
}

/*
 * While the program reads what it was given: unpacks what comes next, so that
 * this is only to be pushed when it asks again.
 */
static void
prepare(struct ahead *a, uint64_t last, size_t window)
{
	struct view_next next[WINDOW_MAX];
	int n;

	if (a->at_ready < a->n_ready)
		return;
	a->at_ready = a->n_ready = 0;
	/* It asks for the first of them, and is given those behind that. */
	n = view_following(a->view, last, next,
	    window < WINDOW_MAX ? window + 1 : window);
	for (int i = 0; i < n && !asked(a); i++)
		load(a, &next[i], &a->ready[a->n_ready++]);
}

static void
answer(struct ahead *a, fuse_req_t req, uint64_t node, size_t size)
{
	/* All of it: a short answer is the end of the file. */
	char *p = malloc(size > 0 ? size : 1);
	ssize_t n =
	    p == NULL ? -ENOMEM : view_read(a->view, node, p, size, 0);

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, p, (size_t)n);
	free(p);
}

/* With the lock.  What is ready and not asked for soon is not kept. */
static void
wait_for_read(struct ahead *a)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += KEPT_SECONDS;
	while (a->req == NULL && !a->stop)
		if (a->at_ready == a->n_ready)
			pthread_cond_wait(&a->more, &a->lock);
		else if (pthread_cond_clockwait(&a->more, &a->lock,
			     CLOCK_MONOTONIC, &until) == ETIMEDOUT)
			drop_ready(a);
}

static void *
run(void *arg)
{
	struct ahead *a = arg;
	struct scan *of = NULL;
	uint64_t node, last;
	bool again;
	size_t window;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		wait_for_read(a);
		if (a->req == NULL)
			break;
		node = a->node;
		window = a->stop ? 0 : a->window;
		pthread_mutex_unlock(&a->lock);
		last = push_window(a, node, window);
		answer(a, a->req, node, a->size);
		pthread_mutex_lock(&a->lock);
		if (a->of->last == node)
			a->of->last = last;
		a->req = NULL;
		/* Two that read in turn would both have it in vain. */
		again = a->of == of;
		of = a->of;
		pthread_mutex_unlock(&a->lock);
		if (last != node && again)
			prepare(a, last, window);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	drop_ready(a);
	return (NULL);
}

int
ahead_start(struct view *v, struct fuse_session *se, struct ahead **out)
{
	struct ahead *a = calloc(1, sizeof(*a));
	sigset_t all, was;
	int error;

	if (a == NULL)
		return (-ENOMEM);
	a->view = v;
	a->se = se;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &was);
	error = -pthread_create(&a->thread, NULL, run, a);
	(void)pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (error != 0)
		goto fail;
	*out = a;
	return (0);
fail:
	free(a);
	return (error);
}

void
ahead_stop(struct ahead *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->more);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
