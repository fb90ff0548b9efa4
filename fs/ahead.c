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
 *     that answers others pushes, and no READ is queued behind a push: a busy
 *     pusher takes none.
 * A2  Only messages are pushed, whose bytes do not change.  One that somebody
 *     began to write to meanwhile is forgotten again.
 */
#include "fs/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define SCANS 4 /* that are followed at a time */
#define IN_ROW 3 /* ascending reads that make a scan */
#define WINDOW_FIRST 4
#define WINDOW_MAX 128
#define WHOLE_MAX (64u << 10) /* of a larger message only its head */
#define HEAD 4096

struct scan {
	uint64_t last; /* node of the last read, or of the last push */
	unsigned in_row;
	unsigned window;
	uint64_t used;
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
	char *buf; /* of the pusher alone */
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
	/* A reply that is shorter than what was asked for ends the file. */
	if (size <= WHOLE_MAX && s->in_row >= IN_ROW && a->req == NULL &&
	    !a->stop) {
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

/* false: the kernel has no such inode, nor those behind it. */
static bool
push(struct ahead *a, uint64_t node)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(0);
	struct body_ref before, after;
	ssize_t n;

	if (view_body(a->view, node, &before) != 0 ||
	    (n = view_read(a->view, node, a->buf, WHOLE_MAX, 0)) <= 0)
		return (true);
	/* Of a page that is not whole the kernel believes only the last. */
	if (n == WHOLE_MAX)
		n = HEAD;
	v.buf[0].mem = a->buf;
	v.buf[0].size = (size_t)n;
	if (fuse_lowlevel_notify_store(a->se, node, 0, &v, 0) != 0)
		return (false);
	if (view_body(a->view, node, &after) != 0 ||
	    after.pack != before.pack || after.offset != before.offset)
		(void)fuse_lowlevel_notify_inval_inode(a->se, node, 0, 0);
	atomic_fetch_add(&a->pushed, 1);
	return (true);
}

static uint64_t
push_window(struct ahead *a, uint64_t node, size_t window)
{
	uint64_t next[WINDOW_MAX], last = node;
	int n = view_following(a->view, node, next, window);

	for (int i = 0; i < n; i++) {
		/*
		 * A second name of the message: the kernel holds its pages
		 * until the read that is under way here has its answer.
		 */
		if (next[i] == node)
			continue;
		if (!push(a, next[i]))
			break;
		last = next[i];
	}
	return (last);
}

static void
answer(struct ahead *a, fuse_req_t req, uint64_t node, size_t size)
{
	ssize_t n = view_read(a->view, node, a->buf, size, 0);

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, a->buf, (size_t)n);
}

static void *
run(void *arg)
{
	struct ahead *a = arg;
	uint64_t node, last;
	size_t window;

	pthread_mutex_lock(&a->lock);
	for (;;) {
		while (a->req == NULL && !a->stop)
			pthread_cond_wait(&a->more, &a->lock);
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
	}
	pthread_mutex_unlock(&a->lock);
	return (NULL);
}

int
ahead_start(struct view *v, struct fuse_session *se, struct ahead **out)
{
	struct ahead *a = calloc(1, sizeof(*a));
	sigset_t all, was;
	int error = -ENOMEM;

	if (a == NULL || (a->buf = malloc(WHOLE_MAX)) == NULL)
		goto fail;
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
	if (a != NULL)
		free(a->buf);
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
	free(a->buf);
	free(a);
}
