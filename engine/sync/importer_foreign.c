/*
 * importer_foreign -- finding the last common UID, and the order of the queue,
 * with a peer that is not dsyncfs (specs/dsync-protocol.md 6.5, 6.6).
 *
 * Dovecot's brain computes the same from the same rows; what is cleverer here
 * would only make the two disagree, so it is cleverer only where a mail would
 * be lost (never_there).  While the last common UID is not found, a row that
 * this side may have expunged is kept (maybe), and a local message that the
 * peer may have expunged is noted (doubt).
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum verdict { UNDECIDED, MATCH, MISMATCH };

static int
note_doubt(struct importer *im, uint32_t uid)
{
	if (im->n_doubt == im->cap_doubt) {
		size_t cap = im->cap_doubt == 0 ? 32 : im->cap_doubt * 2;
		uint32_t *p = reallocarray(im->doubt, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->doubt = p;
		im->cap_doubt = cap;
	}
	im->doubt[im->n_doubt++] = uid;
	return (0);
}

static int
note_maybe(struct importer *im, const struct row *r)
{
	const struct row *kept;
	int rc = importer_keep_row(im, r, &kept);

	if (rc != 0)
		return (rc);
	if (im->n_maybe == im->cap_maybe) {
		size_t cap = im->cap_maybe == 0 ? 32 : im->cap_maybe * 2;
		const struct row **p = reallocarray(im->maybe, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->maybe = p;
		im->cap_maybe = cap;
	}
	im->maybe[im->n_maybe++] = kept;
	return (0);
}

/*
 * Changes to the local message of this UID, if it is (still) there.  pair: both
 * have it above the common UID.
 */
static int
plan_local(struct importer *im, uint32_t uid, const struct row *r, bool pair)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, uid, &a, &m);

	if (rc == 0)
		rc = r == NULL ? importer_plan_expunge(im, &m, 0)
		    : pair     ? importer_plan_pair(im, &m, r)
			       : importer_plan_flags(im, &m, r, uid);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/*
 * A user here saved the message of this UID since the last sync: the peer
 * never had it, so it can neither have expunged it nor mean it.  dsync only
 * compares, and can be led to think so by a later message that both saved.
 * Before a first sync a user's messages may be there all the same; GUIDs tell.
 */
static bool
never_there(const struct importer *im, uint32_t uid)
{
	return ((im->b->box.since_sync || im->b->box.by_hash) &&
	    exporter_saved_here(im->b->box.ex, uid));
}

/* ---- 6.6 ---- */

/*
 * The smaller head is taken; 0: the same message.  The workaround takes an
 * empty header for that of whatever comes next.
 */
static int
compare(struct importer *im, struct local *l, const struct row *c, int *order)
{
	const char *own;
	int rc = importer_local_key(im, l, &own);

	if (rc != 0)
		return (rc);
	*order = strcmp(own, c->key);
	if (*order != 0 && im->b->box.by_hash &&
	    identity_same_hash(im->b, own, c->key))
		*order = 0;
	else if (*order == 0)
		*order = l->uid < c->uid ? -1 : l->uid > c->uid;
	return (0);
}

static int
queue_row(struct importer *im, const struct row *c)
{
	struct local *l;
	int rc, order;

	for (;;) {
		rc = importer_local_head(im, &l);
		if (rc != 0)
			return (rc);
		if (l == NULL)
			return (importer_queue_remote(im, c));
		rc = compare(im, l, c, &order);
		if (rc != 0)
			return (rc);
		if (order > 0)
			return (importer_queue_remote(im, c));
		im->next_local++;
		if (order == 0)
			return (plan_local(im, l->uid, c, true));
		rc = importer_queue_local(im, l);
		if (rc != 0)
			return (rc);
	}
}

/* It gets a UID under which the peer will see it, in the next run. */
static int
queue_doubtful(struct importer *im, uint32_t uid)
{
	struct arena a = ARENA_INIT;
	struct local l = { .uid = uid };
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, uid, &a, &m);

	if (rc == 0) {
		l.guid = m.guid;
		l.size = m.vsize;
		im->b->box.changes = true;
		rc = importer_queue_local(im, &l);
	}
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/*
 * The last common UID is known: what was in doubt is settled, and the local
 * messages above it are gone through again.
 */
static int
found(struct importer *im)
{
	int rc = 0;

	im->found = true;
	for (size_t k = 0; k < im->n_doubt && rc == 0; k++)
		if (im->doubt[k] <= im->match)
			rc = never_there(im, im->doubt[k])
			    ? queue_doubtful(im, im->doubt[k])
			    : plan_local(im, im->doubt[k], NULL, false);
	arena_fini(&im->batch_arena);
	im->n_batch = im->next_local = 0;
	im->next_uid = im->match + 1;
	im->locals_done = im->b->box.id == 0;
	for (size_t k = 0; k < im->n_maybe && rc == 0; k++) {
		if (im->maybe[k]->uid > im->match)
			rc = queue_row(im, im->maybe[k]);
		else if (never_there(im, im->maybe[k]->uid)) {
			/* The peer drops it, and gets it again next time. */
			im->b->box.changes = true;
			rc = queue_row(im, im->maybe[k]);
		}
	}
	return (rc);
}

/* ---- 6.5 ---- */

/*
 * What the own expunge log says of this row.  Where GUIDs need not be the same
 * on both sides, only an equal one tells something.
 */
static int
expunge_log(struct importer *im, const struct row *c, enum verdict *v)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	const char *was;
	uint32_t to;
	int rc = -ENOENT;

	*v = UNDECIDED;
	if (b->box.trust_uids && b->box.id != 0)
		rc = store_expunged(
		    b->r->store, b->box.id, c->uid, &a, &was, &to);
	if (rc == 0 && identity_same_guid(b, was, c->guid, c->expunge))
		*v = MATCH;
	else if (rc == 0 && !c->expunge && !b->box.by_hash)
		*v = MISMATCH;
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/* Moves the cursor to the first local message that is not below uid. */
static int
pass_below(struct importer *im, uint32_t uid, struct local **l)
{
	int rc;

	while ((rc = importer_local_head(im, l)) == 0 && *l != NULL &&
	    (*l)->uid < uid) {
		im->next_local++;
		/* One that the filters leave out need not have been sent. */
		if (!(*l)->filtered)
			rc = note_doubt(im, (*l)->uid);
		if (rc != 0)
			break;
	}
	return (rc);
}

/* Both sides have, or had, a message of this UID. */
static int
judge_same_uid(
    struct importer *im, const struct row *c, struct local *l, enum verdict *v)
{
	const struct brain *b = im->b;
	const char *own;
	int rc;

	if (!b->box.by_hash) {
		if (c->guid != NULL && c->guid[0] != '\0')
			*v = identity_same_guid(b, l->guid, c->guid, c->expunge)
			    ? MATCH
			    : MISMATCH;
		return (0);
	}
	/* Of what was expunged nobody knows the header. */
	if (c->expunge)
		return (0);
	rc = importer_local_key(im, l, &own);
	if (rc == 0)
		*v = identity_same_hash(b, own, c->key) ? MATCH : MISMATCH;
	return (rc);
}

static int
judge(
    struct importer *im, const struct row *c, struct local *l, enum verdict *v)
{
	int rc;

	*v = UNDECIDED;
	if (l != NULL && l->uid == c->uid)
		return (judge_same_uid(im, c, l, v));
	if (l == NULL && im->b->box.own.uidnext <= c->uid) {
		*v = MISMATCH;
		return (0);
	}
	rc = expunge_log(im, c, v);
	if (l == NULL && *v == UNDECIDED)
		*v = MISMATCH;
	return (rc);
}

int
importer_foreign_row(struct importer *im, const struct row *c)
{
	bool here;
	struct local *l;
	enum verdict v;
	int rc;

	if (im->found)
		return (c->expunge ? 0 : queue_row(im, c));
	rc = pass_below(im, c->uid, &l);
	if (rc != 0)
		return (rc);
	here = l != NULL && l->uid == c->uid;
	if ((l == NULL && c->expunge) || (!here && c->filtered))
		return (0);
	rc = judge(im, c, l, &v);
	if (rc == 0 && v == MISMATCH) {
		rc = found(im);
		return (rc != 0 || c->expunge ? rc : queue_row(im, c));
	}
	if (rc != 0)
		return (rc);
	if (here)
		im->next_local++;
	if (v == MATCH) {
		im->match = c->uid;
		return (here
			? plan_local(im, c->uid, c->expunge ? NULL : c, false)
			: 0);
	}
	if (!c->expunge)
		return (note_maybe(im, c));
	return (here ? note_doubt(im, c->uid) : 0);
}

/*
 * A sync with a third replica gave the message another UID here.  A Dovecot
 * sees the old one expunged, and saves the new one as the row from here has it,
 * so what was changed there has to come back to it: as a change of a user here,
 * in a run that compares in full.
 */
int
importer_plan_moved(
    struct importer *im, const struct msg *m, const struct row *r)
{
	struct brain *b = im->b;
	size_t n = im->flags.n;
	int rc = importer_plan_flags(im, m, r, m->uid);

	if (rc == 0 && im->flags.n > n && b->exports && !b->peer_dsyncfs &&
	    !b->reverts) {
		im->flags.op[n].own = true;
		b->box.distrust = b->box.changes = true;
	}
	return (rc);
}

int
importer_foreign_done(struct importer *im)
{
	return (found(im));
}

/* ---- 6.10: what users saved meanwhile ---- */

struct late {
	const struct importer *im;
	uint32_t *uid; /* owned */
	size_t n, cap;
};

static int
on_late(void *arg, const struct event *e)
{
	struct late *l = arg;

	if (e->type != EVENT_SAVE || e->uid > l->im->common_uid ||
	    guid_eq(&e->origin, &l->im->b->peer))
		return (0);
	if (l->n == l->cap) {
		size_t cap = l->cap * 2 + 16;
		uint32_t *p = reallocarray(l->uid, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		l->uid = p;
		l->cap = cap;
	}
	l->uid[l->n++] = e->uid;
	return (0);
}

static int
lift(struct importer *im, uint32_t uid)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	uint32_t to;
	struct msg m;
	int rc = store_msg(b->r->store, b->box.id, uid, &a, &m);

	if (rc == 0) {
		m.uid = 0;
		m.modseq = 0;
		b->box.changes = true;
		rc = b->r->ops->renumber(b->r, b->box.id, uid, &m, NULL, &to);
	} else if (rc == -ENOENT) {
		arena_fini(&a);
		return (0);
	}
	if (rc == 0) {
		b->box.counts.renumbered++;
		brain_change(
		    b, b->box.name, to, "renumber %u guid=%s", uid, m.guid);
	}
	arena_fini(&a);
	return (brain_bad_item(b, rc));
}

int
importer_foreign_late(struct importer *im)
{
	struct brain *b = im->b;
	struct late l = { .im = im };
	int rc = 0;

	if (!b->peer_dsyncfs && !b->reverts && b->exports &&
	    !b->params.dry_run && b->box.id != 0)
		rc = store_events(b->r->store, b->box.id,
		    b->box.own.highestmodseq, on_late, &l);
	for (size_t i = 0; i < l.n && rc == 0; i++)
		rc = lift(im, l.uid[i]);
	free(l.uid);
	return (rc == -ESTALE ? 0 : rc);
}
