/*
 * sync_local -- both brains in one process, stepped in turn until both are
 * done.
 */
#include "sync/brain.h"

#include <assert.h>
#include <errno.h>

static void
add_result(struct sync_result *to, const struct sync_result *r)
{
	to->changes_during_sync |= r->changes_during_sync;
	to->incomplete |= r->incomplete;
	to->require_full_resync |= r->require_full_resync;
	sync_counts_add(&to->counts, &r->counts);
}

static int
step_both(struct brain *master, struct brain *slave)
{
	int m, s;

	do {
		m = brain_step(master);
		if (m < 0)
			return (m);
		s = brain_step(slave);
		if (s < 0)
			return (s);
		/* Nobody can be waiting for something else than the other one.
		 */
		assert(m != BRAIN_WAIT || s != BRAIN_WAIT);
		if (m == BRAIN_WAIT && s == BRAIN_DONE)
			m = brain_step(master);
		if (m < 0)
			return (m);
	} while (m != BRAIN_DONE || s != BRAIN_DONE);
	return (0);
}

int
sync_run_local(struct replica *local, struct replica *remote,
    const struct sync_options *o, const struct sync_events *e,
    struct sync_result *out)
{
	struct channel *a, *b;
	struct brain *master = NULL, *slave = NULL;
	struct sync_result r = { 0 }, m, s;
	int rc = channel_memory_pair(local->label, remote->label, &a, &b);

	if (rc != 0)
		return (rc);
	rc = brain_new_master(local, a, o, e, &master);
	if (rc == 0)
		rc = brain_new_slave(remote, b, e, &slave);
	if (rc == 0) {
		brain_share_events(slave);
		rc = step_both(master, slave);
	}
	if (master != NULL && slave != NULL) {
		brain_result(master, &m);
		brain_result(slave, &s);
		add_result(&r, &m);
		add_result(&r, &s);
		/* Both counted the same mailboxes. */
		r.counts.mailboxes_synced = m.counts.mailboxes_synced;
		r.counts.mailboxes_unchanged = m.counts.mailboxes_unchanged;
		*out = r;
	}
	brain_free(master);
	brain_free(slave);
	a->ops->close(a);
	b->ops->close(b);
	return (rc);
}
