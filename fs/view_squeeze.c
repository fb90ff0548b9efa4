/*
 * view_squeeze -- when bodies are compressed: not while a program waits for its
 * delivery, but soon (store.h, store_squeeze).
 *
 * When enough of them wait and none has come for a moment, when a full pack of
 * them waits, and at the end.  The lock is held only to begin and to swap (V3).
 */
#include "fs/view_internal.h"

#include <errno.h>

#define QUIET_MS 1000
#define WORTH ((uint64_t)4 << 20)
#define SEALED_WORTH ((uint64_t)64 << 20)
#define END_WORTH ((uint64_t)1 << 20)
#define SLICE ((uint64_t)1 << 20)
#define TICK_MS 100 /* of a tick, so that it still is one */
#define AGAIN_MS 600000 /* after a failure */

/* Called with the lock. */
static bool
due(struct view *v, uint64_t now)
{
	struct squeezing *q = &v->squeezing;
	struct store_raw raw;

	store_raw(v->store, &raw);
	if (raw.appended != q->appended) {
		q->appended = raw.appended;
		q->appended_ms = now;
	}
	if (now < q->after_ms)
		return (false);
	if (raw.sealed >= SEALED_WORTH)
		return (true);
	if (now - q->appended_ms < QUIET_MS)
		return (false);
	/* One in a tick: there may be many. */
	if (!q->looked && store_raw_look(v->store) != 1)
		q->looked = true;
	return (raw.bytes >= WORTH);
}

/* Called with the lock. */
static void
failed(struct view *v, int error)
{
	/*
	 * A damaged pack stays as it is, and so does what a compaction has
	 * done: the next may be had.
	 */
	if (error == -EBADMSG || error == -ECANCELED || error == -EAGAIN ||
	    error == -EBUSY)
		return;
	v->squeezing.after_ms = view_now_ms(v) + AGAIN_MS;
}

static void
begin(struct view *v)
{
	int error = 0;

	view_lock(v);
	if (!v->o.readonly && due(v, view_now_ms(v))) {
		error = view_sync_locked(v);
		if (error == 0)
			error =
			    store_squeeze_begin(v->store, &v->squeezing.run);
		if (error != 0) {
			v->squeezing.run = NULL;
			failed(v, error);
		}
	}
	view_unlock(v);
}

static int
end(struct view *v)
{
	struct store_squeeze *y = v->squeezing.run;
	int error, ended;

	v->squeezing.run = NULL;
	view_lock(v);
	if ((error = store_squeeze_swap(y)) == 0)
		bodies_close_idle(v);
	view_unlock(v);
	ended = store_squeeze_end(y);
	error = error != 0 ? error : ended;
	if (error != 0) {
		view_lock(v);
		failed(v, error);
		view_unlock(v);
	}
	return (error);
}

void
squeeze_tick(struct view *v)
{
	uint64_t until;

	if (v->squeezing.run == NULL)
		begin(v);
	if (v->squeezing.run == NULL)
		return;
	until = view_now_ms(v) + TICK_MS;
	while (store_squeeze_run(v->squeezing.run, SLICE) == 1)
		if (view_now_ms(v) >= until)
			return;
	(void)end(v);
}

void
squeeze_end(struct view *v)
{
	struct store_raw raw;
	int error = 0;

	for (;;) {
		if (v->squeezing.run != NULL) {
			while (store_squeeze_run(v->squeezing.run, SLICE) == 1)
				;
			error = end(v);
		}
		view_lock(v);
		store_raw(v->store, &raw);
		if ((error == 0 || error == -EBADMSG) && raw.bytes >= END_WORTH)
			error =
			    store_squeeze_begin(v->store, &v->squeezing.run);
		else
			error = -EALREADY;
		view_unlock(v);
		if (error != 0)
			break;
	}
}
