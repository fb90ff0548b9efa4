/*
 * importer_foreign -- finding the last common UID, and the order of the queue,
 * with a peer that is not dsyncfs (specs/dsync-protocol.md 6.5, 6.6).
 *
 * Dovecot's brain computes the same from the same rows; what is cleverer here
 * would only make the two disagree.  While the last common UID is not found, a
 * row that this side may have expunged is kept (maybe), and a local message
 * that the peer may have expunged is noted (doubt).
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

/* Changes to the local message of this UID, if it is (still) there. */
static int
plan_local(struct importer *im, uint32_t uid, const struct row *r)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, uid, &a, &m);

	if (rc == 0)
		rc = r != NULL ? importer_plan_flags(im, &m, r, uid)
			       : importer_plan_expunge(im, &m, 0);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/* ---- 6.6 ---- */

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
		order = strcmp(l->guid, c->guid);
		if (order == 0)
			order = l->uid < c->uid ? -1 : l->uid > c->uid;
		if (order > 0)
			return (importer_queue_remote(im, c));
		im->next_local++;
		if (order == 0)
			return (plan_local(im, l->uid, c));
		rc = importer_queue_local(im, l);
		if (rc != 0)
			return (rc);
	}
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
			rc = plan_local(im, im->doubt[k], NULL);
	arena_fini(&im->batch_arena);
	im->n_batch = im->next_local = 0;
	im->next_uid = im->match + 1;
	im->locals_done = im->b->box.id == 0;
	for (size_t k = 0; k < im->n_maybe && rc == 0; k++)
		if (im->maybe[k]->uid > im->match)
			rc = queue_row(im, im->maybe[k]);
	return (rc);
}

/* ---- 6.5 ---- */

/* What the own expunge log says of this row. */
static int
expunge_log(struct importer *im, const struct row *c, bool *known, bool *same)
{
	struct arena a = ARENA_INIT;
	const char *was;
	uint32_t to;
	int rc = -ENOENT;

	if (im->b->box.trust_uids && im->b->box.id != 0)
		rc = store_expunged(
		    im->b->r->store, im->b->box.id, c->uid, &a, &was, &to);
	*known = rc == 0;
	*same = rc == 0 && importer_same_guid(was, c->guid);
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
		rc = note_doubt(im, (*l)->uid);
		if (rc != 0)
			break;
	}
	return (rc);
}

static int
judge(struct importer *im, const struct row *c, const struct local *l,
    enum verdict *v)
{
	bool known, same;
	int rc;

	*v = UNDECIDED;
	if (l != NULL && l->uid == c->uid) {
		if (c->guid != NULL && c->guid[0] != '\0')
			*v = importer_same_guid(l->guid, c->guid) ? MATCH
								  : MISMATCH;
		return (0);
	}
	if (l == NULL && im->b->box.own.uidnext <= c->uid) {
		*v = MISMATCH;
		return (0);
	}
	rc = expunge_log(im, c, &known, &same);
	if (same)
		*v = MATCH;
	else if (l == NULL || (known && !c->expunge))
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
		return (
		    here ? plan_local(im, c->uid, c->expunge ? NULL : c) : 0);
	}
	if (!c->expunge)
		return (note_maybe(im, c));
	return (here ? note_doubt(im, c->uid) : 0);
}

int
importer_foreign_done(struct importer *im)
{
	return (found(im));
}
