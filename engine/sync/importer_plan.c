/*
 * importer_plan -- what all rows together make of the mailbox: which messages
 * get which UIDs, which come new, which go.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* ---- expunges, found by what they expunge ---- */

static const char *
expunge_guid(const void *arg, uint32_t i)
{
	const struct importer *im = arg;

	return (im->expunges.op[i].guid);
}

void
importer_plan_init(struct importer *im)
{
	strindex_init(&im->expunged, expunge_guid, im);
}

static void
push_expunge(struct importer *im, uint32_t first, uint32_t i)
{
	struct op *op = im->expunges.op;

	op[i].under = op[first].top;
	op[first].top = i;
}

static int
index_expunge(struct importer *im, uint32_t i)
{
	struct op *o = &im->expunges.op[i];
	uint32_t first = i;

	if (o->guid[0] == '\0' || o->moved_to != 0)
		return (0);
	o->top = OP_NONE;
	if (!strindex_find(&im->expunged, o->guid, &first)) {
		int rc = strindex_add(&im->expunged, i);

		if (rc != 0)
			return (rc);
	}
	push_expunge(im, first, i);
	return (0);
}

static int
mover_cmp(const void *a, const void *b, void *arg)
{
	const struct importer *im = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint32_t p = im->expunges.op[x].moved_to,
		 q = im->expunges.op[y].moved_to;

	return (p != q ? (p < q ? -1 : 1) : (x > y) - (x < y));
}

static int
index_expunges(struct importer *im)
{
	struct ops *l = &im->expunges;
	int rc = 0;

	if (l->n >= OP_NONE)
		return (-EOVERFLOW);
	im->movers = calloc(l->n + 1, sizeof(*im->movers));
	if (im->movers == NULL)
		return (-ENOMEM);
	for (uint32_t i = 0; i < l->n && rc == 0; i++) {
		if (l->op[i].moved_to != 0)
			im->movers[im->n_movers++] = i;
		rc = index_expunge(im, i);
	}
	if (im->n_movers > 1)
		qsort_r(im->movers, im->n_movers, sizeof(*im->movers),
		    mover_cmp, im);
	im->indexed = true;
	return (rc);
}

/*
 * The last one that the other side says it moved to this UID; guid NULL: nobody
 * can say more.
 */
static struct op *
mover_to(struct importer *im, uint32_t uid, const char *guid)
{
	size_t lo = 0, hi = im->n_movers, mid;
	struct op *op = im->expunges.op;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (op[im->movers[mid]].moved_to <= uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo > 0 && op[im->movers[lo - 1]].moved_to == uid; lo--)
		if (!op[im->movers[lo - 1]].moved &&
		    (guid == NULL ||
			strcmp(op[im->movers[lo - 1]].guid, guid) == 0))
			return (&op[im->movers[lo - 1]]);
	return (NULL);
}

int
importer_expunge_add(struct importer *im, const struct op *o)
{
	int rc = im->expunges.n < OP_NONE ? importer_ops_add(&im->expunges, o)
					  : -EOVERFLOW;

	return (rc != 0 || !im->indexed
		? rc
		: index_expunge(im, (uint32_t)im->expunges.n - 1));
}

bool
importer_expunges(const struct importer *im, const char *guid)
{
	uint32_t first;

	return (strindex_find(&im->expunged, guid, &first));
}

/* ---- the plan ---- */

static int
create_add(struct importer *im, const struct create *c)
{
	if (im->n_create == im->cap_create) {
		size_t cap = im->cap_create == 0 ? 32 : im->cap_create * 2;
		struct create *p = reallocarray(im->create, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->create = p;
		im->cap_create = cap;
	}
	im->create[im->n_create++] = *c;
	return (0);
}

/*
 * The message that the other side says it moved to this UID, or an instance of
 * this GUID that it expunged: the new message is that one, moved.
 */
static struct op *
take_expunge(struct importer *im, const struct merge_entry *e, const char *guid)
{
	struct op *op = im->expunges.op, *taken;
	uint32_t first;

	if (guid[0] == '\0' && !im->b->box.by_hash)
		return (NULL);
	taken = mover_to(im, e->uid, im->b->box.by_hash ? NULL : guid);
	/* A dsyncfs would say so; what it does not is another instance. */
	if (taken == NULL && !im->b->peer_dsyncfs && guid[0] != '\0' &&
	    strindex_find(&im->expunged, guid, &first) &&
	    op[first].top != OP_NONE) {
		taken = &op[op[first].top];
		op[first].top = taken->under;
	}
	if (taken != NULL)
		taken->moved = true;
	return (taken);
}

/*
 * The flags of a message that gets another UID are merged before it does, so
 * that the log tells of them, for third replicas.
 */
static int
plan_flags_of(
    struct importer *im, uint32_t uid, const struct row *row, bool pair)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, uid, &a, &m);

	if (rc == 0)
		rc = pair ? importer_plan_pair(im, &m, row)
			  : importer_plan_flags(im, &m, row, uid);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

static int
plan_new(struct importer *im, const struct merge_entry *e)
{
	struct create c = { .final = e->final, .row = e->row };
	struct op *gone = NULL;
	int rc = identity_local(im->b, &im->arena, c.row->guid, &c.guid);

	if (rc == 0 && e->gone == 0)
		gone = take_expunge(im, e, c.guid);
	if (rc != 0 || e->gone != 0) {
		c.from = e->gone;
		c.gone = true;
	} else if (gone != NULL) {
		c.from = gone->uid;
		c.expunged = gone->moved_to == 0;
		if (!c.expunged)
			rc = plan_flags_of(im, c.from, c.row, false);
	} else {
		rc = importer_fetch(im, c.row, c.guid, &c.fetch);
	}
	return (rc != 0 ? rc : create_add(im, &c));
}

static int
plan_local(struct importer *im, const struct merge_entry *e)
{
	const struct row *row = e->linked ? im->queue.entry[e->link].row : NULL;
	struct create c = {
		.final = e->final, .from = e->uid, .guid = e->guid, .row = row
	};
	int rc = 0;

	if (row != NULL) {
		/* Paired with another instance, which says what it is. */
		if (importer_uids_have(&im->elsewhere, e->uid))
			importer_spare(&im->flags, e->uid);
		rc = plan_flags_of(im, e->uid, row, true);
	}
	return (rc != 0 || e->final == e->uid ? rc : create_add(im, &c));
}

static int
plan_extra(struct importer *im, const struct merge_entry *e)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc;

	if (im->blind) {
		log_warning("%s: %s: UID %u is kept: it may be a message that "
			    "cannot be read at %s",
		    im->b->r->label, im->b->box.name, e->uid, im->b->peer_name);
		im->b->box.incomplete = true;
		return (0);
	}
	rc = store_msg(im->b->r->store, im->b->box.id, e->uid, &a, &m);
	if (rc == 0)
		rc = importer_plan_expunge(im, &m, 0);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/* Backup: final UIDs are the source's wherever that can be. */
static void
assign_reverting(struct importer *im)
{
	struct brain *b = im->b;
	uint32_t next = b->box.own.uidnext > b->box.peer.uidnext
	    ? b->box.own.uidnext
	    : b->box.peer.uidnext;

	for (size_t i = 0; i < im->queue.n; i++) {
		struct merge_entry *e = &im->queue.entry[i];
		struct merge_entry *o =
		    e->linked ? &im->queue.entry[e->link] : NULL;

		if (!e->remote) {
			if (o == NULL)
				e->final = e->uid;
			continue;
		}
		if (e->uid >= b->box.own.uidnext)
			e->final = e->uid;
		else
			e->final = o != NULL ? o->uid : next++;
		if (o != NULL)
			o->final = e->final;
		if (e->final != e->uid && !e->keep)
			im->exact = false;
	}
	im->common_uid = im->exact ? b->box.peer.uidnext - 1 : 0;
}

/*
 * Where there are several of a message a Dovecot gives its instances new UIDs
 * by their order (6.7), so their flags come to lie under others than here.
 */
static void
look_for_swaps(struct importer *im)
{
	struct brain *b = im->b;

	if (b->peer_dsyncfs || b->reverts || !b->exports)
		return;
	for (size_t i = 0; i < im->queue.n; i++) {
		const struct merge_entry *e = &im->queue.entry[i];

		if (e->remote && e->final != e->uid &&
		    merge_several(&im->queue, e))
			b->box.distrust = b->box.changes = true;
	}
}

static int
create_cmp(const void *a, const void *b)
{
	const struct create *x = a, *y = b;

	return (x->final < y->final ? -1 : x->final > y->final);
}

int
importer_changes_done(struct importer *im)
{
	struct brain *b = im->b;
	struct local *l;
	uint32_t next = b->box.own.uidnext > b->box.peer.uidnext
	    ? b->box.own.uidnext
	    : b->box.peer.uidnext;
	int rc;

	rc = im->found || b->peer_dsyncfs || b->reverts
	    ? 0
	    : importer_foreign_done(im);
	if (rc != 0)
		return (rc);
	while ((rc = importer_local_head(im, &l)) == 0 && l != NULL) {
		im->next_local++;
		rc = importer_queue_local(im, l);
		if (rc != 0)
			return (rc);
	}
	if (rc == 0)
		rc = index_expunges(im);
	if (rc != 0)
		return (rc);
	if (b->reverts)
		assign_reverting(im);
	else
		im->common_uid = merge_assign(&im->queue, next) - 1;
	look_for_swaps(im);
	for (size_t i = 0; i < im->queue.n && rc == 0; i++) {
		const struct merge_entry *e = &im->queue.entry[i];

		if (e->remote && !e->linked && !e->keep)
			rc = plan_new(im, e);
		else if (!e->remote && b->reverts && !e->linked && !e->keep)
			rc = plan_extra(im, e);
		else if (!e->remote)
			rc = plan_local(im, e);
	}
	if (rc == 0)
		rc = guard_plan(im);
	if (rc == 0)
		conflicts_uids(im);
	/* Its strings are in the arena. */
	merge_queue_fini(&im->queue);
	if (rc == 0 && im->n_create > 1)
		qsort(
		    im->create, im->n_create, sizeof(*im->create), create_cmp);
	return (rc);
}
