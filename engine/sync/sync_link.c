/*
 * sync_link -- one brain over a link, stepped until it is done.
 *
 * The only place of the engine that waits, and it does so by the link.  Time is
 * that of the replica's tree.
 */
#include "sync/brain_internal.h"

#include <errno.h>

#include "base/link.h"
#include "base/log.h"

#define TIMEOUT_DEFAULT 600
/* how often a stop is looked for, and how long a silent peer delays one */
#define LOOK_MS 500
/* what is still unsent when a sync has failed gets this long */
#define LAST_WORDS_MS 5000

struct run {
	struct brain *b;
	struct link *l;
	struct os *os;
	uint64_t moved; /* bytes both ways when last looked at ... */
	/* ... and when they last changed, or the brain last had work to do */
	uint64_t since;
	uint64_t limit; /* ms */
	uint64_t first; /* ms; of a peer of which nothing has come yet */
	bool last_words; /* a stop does not cut them short */
};

static uint64_t
now(const struct run *r)
{
	return (r->os->ops->mono_ms(r->os));
}

/* true: bytes have come or gone since the last call. */
static bool
has_moved(struct run *r)
{
	uint64_t moved = r->b->c->received + r->b->c->sent;

	if (moved == r->moved)
		return (false);
	r->moved = moved;
	r->since = now(r);
	return (true);
}

static uint64_t
limit_of(const struct run *r)
{
	return (r->b->c->received == 0 && r->first < r->limit ? r->first
							      : r->limit);
}

/*
 * Until bytes can come or, with want_write, go.  0 also for nothing: the caller
 * looks again.
 */
static int
wait_for_link(struct run *r, bool want_write)
{
	uint64_t silent = now(r) - r->since, limit = limit_of(r), left;
	int rc;

	if (silent >= limit)
		return (-ETIMEDOUT);
	if (silent >= LOOK_MS && brain_stopped(r->b) && !r->last_words)
		return (-EINTR);
	left = limit - silent;
	rc = r->l->ops->wait(
	    r->l, want_write, -1, left < LOOK_MS ? (int)left : LOOK_MS);
	/* Whether it was long enough is for the clock to say. */
	return (rc == -EINTR || (rc == -ETIMEDOUT && now(r) - r->since < limit)
		? 0
		: rc);
}

/* What was said in a step goes out together. */
static int
flush(struct run *r)
{
	int rc = r->b->c->ops->flush(r->b->c);

	return (rc == -EAGAIN ? 0 : rc);
}

static int
wait_for_peer(struct run *r)
{
	struct channel *c = r->b->c;
	int rc = c->ops->flush(c);

	if (has_moved(r))
		return (0);
	if (rc != 0 && rc != -EAGAIN)
		return (rc);
	rc = wait_for_link(r, rc == -EAGAIN);
	if (rc == -EINTR)
		log_info(
		    "%s: stopped; what was done is complete", r->b->r->label);
	if (rc == -ETIMEDOUT)
		log_error("%s: silent for %llu s; given up. -T allows it more",
		    r->b->peer_name, (unsigned long long)(limit_of(r) / 1000));
	return (rc);
}

/* Everything unsent leaves, as far as the peer takes it; and the end. */
static void
drain(struct run *r)
{
	struct channel *c = r->b->c;
	int rc;

	r->since = now(r);
	r->last_words = true;
	do {
		rc = c->ops->flush(c);
		if (rc == 0 && !brain_stays(r->b))
			rc = r->l->ops->shut(r->l);
		if (rc == -EAGAIN && !has_moved(r))
			rc = wait_for_link(r, true) == 0 ? -EAGAIN : 0;
	} while (rc == -EAGAIN);
}

static void
say_abort(struct brain *b)
{
	struct item *i;

	if (item_new(ITEM_ABORT, &i) == 0)
		(void)b->c->ops->send(b->c, i);
}

int
sync_run_link(
    struct brain *b, struct link *l, unsigned timeout_s, unsigned first_s)
{
	struct run r = { .b = b, .l = l, .os = store_os(b->r->store) };
	int rc, step;

	r.limit =
	    1000 * (uint64_t)(timeout_s == 0 ? TIMEOUT_DEFAULT : timeout_s);
	r.first = first_s == 0 ? r.limit : 1000 * (uint64_t)first_s;
	r.since = now(&r);
	do {
		step = rc = brain_step(b);
		if (step == BRAIN_PROGRESS) {
			r.since = now(&r);
			rc = flush(&r);
		} else if (step == BRAIN_WAIT) {
			(void)has_moved(&r);
			rc = wait_for_peer(&r);
			if (rc != 0)
				say_abort(b);
		}
	} while (rc >= 0 && step != BRAIN_DONE);
	if (rc < 0)
		r.limit = LAST_WORDS_MS;
	/*
	 * A peer that has what it needs may leave before the last word
	 * (specs/dsync-protocol.md 1.8); a failure has been told.
	 */
	drain(&r);
	return (rc < 0 ? rc : 0);
}
