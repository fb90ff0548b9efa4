/*
 * importer -- reads the other side's rows and makes the plan for one mailbox
 * (specs/dsync-protocol.md 6.5 to 6.8).
 *
 * Between two dsyncfs a message counts as expunged only when an expunge row or
 * the own log proves it; a message that is merely missing is saved there again.
 * With another kind of peer, which may know less, a message missing below one
 * that both have is expunged, as dsync does it.
 *
 * Backup: what the source does not have is expunged; a message whose UID is
 * taken or lies below uidnext cannot get that UID (UIDs only grow), so it keeps
 * or gets the next free one.  The mailbox then equals the source in everything
 * but those UIDs, no state is saved, and the next run pairs it by GUID.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

int
importer_new(struct brain *b, struct importer **out)
{
	struct importer *im = calloc(1, sizeof(*im));

	if (im == NULL)
		return (-ENOMEM);
	im->b = b;
	im->next_uid = b->box.common_uid + 1;
	im->locals_done = b->box.id == 0;
	im->exact = true;
	/* A state of an empty mailbox too: then all there is now is new. */
	im->found = b->box.common_uid != 0 ||
	    (b->box.agreed && b->params.type == SYNC_STATE);
	im->match = b->box.common_uid;
	merge_queue_init(&im->queue);
	*out = im;
	return (0);
}

void
importer_free(struct importer *im)
{
	if (im == NULL)
		return;
	importer_fetches_free(im);
	for (size_t i = 0; i < im->n_rows; i++)
		item_free(im->rows[i]);
	free(im->rows);
	free(im->maybe);
	free(im->doubt);
	item_free(im->reading_mail);
	spool_free(im->reading_spool);
	merge_queue_fini(&im->queue);
	free(im->flags.op);
	free(im->expunges.op);
	free(im->doomed.uid);
	free(im->buried.uid);
	free(im->elsewhere.uid);
	free(im->told_gone);
	free(im->create);
	arena_fini(&im->batch_arena);
	arena_fini(&im->arena);
	free(im);
}

uint32_t
importer_common_uid(const struct importer *im)
{
	return (im->common_uid);
}

/* ---- small growing things ---- */

int
importer_keep_row(struct importer *im, struct item *i)
{
	if (i->kept)
		return (0);
	if (im->n_rows == im->cap_rows) {
		size_t cap = im->cap_rows == 0 ? 32 : im->cap_rows * 2;
		struct item **p = reallocarray(im->rows, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->rows = p;
		im->cap_rows = cap;
	}
	im->rows[im->n_rows++] = i;
	i->kept = true;
	return (0);
}

static int
ops_add(struct ops *l, const struct op *o)
{
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 32 : l->cap * 2;
		struct op *p = reallocarray(l->op, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		l->op = p;
		l->cap = cap;
	}
	l->op[l->n++] = *o;
	return (0);
}

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

static int
uids_add(struct uid_set *s, uint32_t uid)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 16 : s->cap * 2;
		uint32_t *p = reallocarray(s->uid, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		s->uid = p;
		s->cap = cap;
	}
	s->uid[s->n++] = uid;
	return (0);
}

static bool
uids_have(const struct uid_set *s, uint32_t uid)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->uid[i] == uid)
			return (true);
	return (false);
}

/* ---- single messages ---- */

/*
 * The same message: as strings, or as 128 bits when one is only known so (an
 * expunge row).
 */
bool
importer_same_guid(const char *a, const char *b)
{
	struct guid x, y;

	if (a == NULL || b == NULL || a[0] == '\0' || b[0] == '\0')
		return (false);
	if (strcmp(a, b) == 0)
		return (true);
	return (guid128_of_string(a, &x) == 0 &&
	    guid128_of_string(b, &y) == 0 && guid_eq(&x, &y));
}

int
importer_plan_flags(struct importer *im, const struct msg *m, struct item *i,
    uint32_t hint_uid, bool kept)
{
	struct arena a = ARENA_INIT;
	struct msg_update u;
	struct merge_result merged;
	bool differs;
	int rc = importer_merge(
	    im, &a, m, &i->u.change, hint_uid, &u, &differs, &merged);
	struct op o = { .uid = m->uid,
		.hint_uid = hint_uid,
		.modseq = m->modseq,
		.row = &i->u.change };

	if (rc == 0)
		conflict_flags(im->b, m->uid, &merged);
	if (rc == 0 && differs)
		conflict_reverted_flags(im->b, m->uid);
	arena_fini(&a);
	if (rc != 0 || !differs)
		return (rc);
	o.guid = arena_strdup(&im->arena, m->guid);
	rc = o.guid == NULL ? -ENOMEM : kept ? 0 : importer_keep_row(im, i);
	return (rc != 0 ? rc : ops_add(&im->flags, &o));
}

int
importer_plan_expunge(
    struct importer *im, const struct msg *m, uint32_t moved_to)
{
	struct op o = { .uid = m->uid,
		.hint_uid = m->uid,
		.moved_to = moved_to,
		.modseq = m->modseq,
		.guid = arena_strdup(&im->arena, m->guid) };

	if (o.guid == NULL)
		return (-ENOMEM);
	if (im->b->params.no_backup_overwrite)
		return (0);
	if (moved_to == 0)
		conflict_expunge(im->b, m->uid);
	return (ops_add(&im->expunges, &o));
}

/* A row of the peer says so. */
static int
plan_expunge_row(
    struct importer *im, const struct msg *m, const struct item_change *c)
{
	size_t n = im->expunges.n;
	int rc = importer_plan_expunge(im, m, c->moved_to);

	if (im->expunges.n > n)
		im->expunges.op[n].elsewhere = c->elsewhere;
	return (rc);
}

/* What became of a message that is not here under a UID of the other side. */
enum fate {
	FATE_UNKNOWN,
	FATE_GONE, /* expunged here */
	FATE_MOVED /* here under a UID that another sync gave it */
};

static int
fate_of(struct importer *im, const struct item_change *c, struct arena *a,
    struct msg *m, enum fate *out)
{
	struct store *s = im->b->r->store;
	uint32_t uid = c->uid, to;
	const char *was;
	int rc;

	*out = FATE_UNKNOWN;
	while (
	    (rc = store_expunged(s, im->b->box.id, uid, a, &was, &to)) == 0) {
		if (!importer_same_guid(was, c->guid))
			return (0);
		*out = FATE_GONE;
		if (to <= uid) /* UIDs only grow */
			return (0);
		uid = to;
	}
	if (rc != -ENOENT || uid == c->uid)
		return (rc == -ENOENT ? 0 : rc);
	rc = store_msg(s, im->b->box.id, uid, a, m);
	if (rc == 0 && importer_same_guid(m->guid, c->guid))
		*out = FATE_MOVED;
	return (rc == -ENOENT ? 0 : rc);
}

/*
 * A row of a message that is not here under that UID.  *known: its fate is, and
 * what the row says is planned.
 */
static int
absent_row(struct importer *im, struct item *i, struct arena *a, bool *known)
{
	struct item_change *c = &i->u.change;
	enum fate fate;
	struct msg m;
	int rc = fate_of(im, c, a, &m, &fate);

	*known = rc == 0 && fate != FATE_UNKNOWN;
	if (!*known)
		return (rc);
	if (c->kind != CHANGE_EXPUNGE) {
		if (fate == FATE_GONE) {
			conflict_expunged_here(im->b, c);
			return (0);
		}
		rc = importer_plan_flags(im, &m, i, m.uid, false);
		return (rc != 0 ? rc : uids_add(&im->elsewhere, m.uid));
	}
	/*
	 * Who expunged it did not know of the new UID: it is gone under that
	 * one too, on whichever side that is.
	 */
	if (fate == FATE_GONE)
		return (
		    c->moved_to != 0 ? uids_add(&im->buried, c->moved_to) : 0);
	/* Another kind of peer does not say that it only gave it a new UID. */
	if (c->moved_to != 0 || im->b->params.no_backup_overwrite ||
	    !im->b->peer_dsyncfs)
		return (0);
	rc = plan_expunge_row(im, &m, c);
	return (rc != 0 ? rc : uids_add(&im->doomed, m.uid));
}

/* An old message that both have, or had. */
static int
old_row(struct importer *im, struct item *i, struct arena *a)
{
	struct brain *b = im->b;
	struct item_change *c = &i->u.change;
	bool known;
	struct msg m;
	int rc = store_msg(b->r->store, b->box.id, c->uid, a, &m);

	if (rc == 0) {
		if (!importer_same_guid(m.guid, c->guid) &&
		    !(c->kind == CHANGE_EXPUNGE && c->guid == NULL)) {
			log_warning("%s: %s: UID %u is another message at %s; "
				    "the mailbox is compared in full next time",
			    b->r->label, b->box.name, c->uid, b->peer_name);
			b->box.distrust = b->box.changes = true;
			return (0);
		}
		return (c->kind == CHANGE_EXPUNGE
			? plan_expunge_row(im, &m, c)
			: importer_plan_flags(im, &m, i, c->uid, false));
	}
	if (rc != -ENOENT)
		return (rc);
	rc = absent_row(im, i, a, &known);
	if (rc == 0 && !known && c->kind != CHANGE_EXPUNGE)
		b->box.distrust = b->box.changes = true;
	return (rc);
}

/* ---- messages above the common UID ---- */

static bool
local_filtered(const struct brain *b, const struct msg *m)
{
	struct item_change c = { .final = m->flags,
		.kw_final = m->keywords,
		.received = m->received,
		.virtual_size = m->vsize != 0 ? m->vsize : m->body.size };

	return (filter_active(&b->params) && !filter_takes(&b->params, &c));
}

static int
on_local(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct importer *im = arg;
	struct local *l;

	(void)mailbox;
	/*
	 * What was delivered since the sync of this mailbox began is for the
	 * next one.
	 */
	if (m->uid >= im->b->box.own.uidnext || im->n_batch == BATCH)
		return (1);
	l = &im->batch[im->n_batch];
	l->uid = m->uid;
	l->filtered = local_filtered(im->b, m);
	l->guid = arena_strdup(&im->batch_arena, m->guid);
	if (l->guid == NULL)
		return (-ENOMEM);
	im->n_batch++;
	im->next_uid = m->uid + 1;
	return (0);
}

/* The first local message not yet looked at; NULL: none left. */
int
importer_local_head(struct importer *im, struct local **out)
{
	int rc;

	if (im->next_local == im->n_batch && !im->locals_done) {
		arena_fini(&im->batch_arena);
		im->n_batch = im->next_local = 0;
		rc = store_msgs(
		    im->b->r->store, im->b->box.id, im->next_uid, on_local, im);
		if (rc < 0)
			return (rc);
		if (im->n_batch == 0)
			im->locals_done = true;
	}
	*out = im->next_local < im->n_batch ? &im->batch[im->next_local] : NULL;
	return (0);
}

int
importer_queue_local(struct importer *im, const struct local *l)
{
	struct brain *b = im->b;
	struct merge_entry e = { .uid = l->uid,
		.guid = arena_strdup(&im->arena, l->guid),
		.keep = l->filtered };

	if (e.guid == NULL)
		return (-ENOMEM);
	if (uids_have(&im->doomed, l->uid))
		return (0);
	/* One-way: the source never learns of new UIDs here, so none are given.
	 */
	e.usable =
	    l->uid >= b->box.peer.uidnext || b->params.no_backup_overwrite;
	return (merge_queue_add(&im->queue, &e));
}

static int
note_told_gone(struct importer *im, const char *guid)
{
	if (guid == NULL)
		return (0);
	if (im->n_told_gone == im->cap_told_gone) {
		size_t cap = im->cap_told_gone * 2 + 16;
		struct guid *p = reallocarray(im->told_gone, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->told_gone = p;
		im->cap_told_gone = cap;
	}
	return (guid128_of_string(guid, &im->told_gone[im->n_told_gone++]));
}

static bool
told_gone(const struct importer *im, const char *guid)
{
	struct guid g;

	if (guid128_of_string(guid, &g) != 0)
		return (true);
	for (size_t i = 0; i < im->n_told_gone; i++)
		if (guid_eq(&im->told_gone[i], &g))
			return (true);
	return (false);
}

/*
 * A message that came from here, or went from there to here, and was expunged
 * here since: where UIDs do not tell (before there is a common state, or when
 * one of the two had to give it another UID), its GUID does.  Not when the
 * other side expunged and saved it again.
 */
static int
expunged_since(struct importer *im, const struct item_change *c, uint32_t *uid)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = -EEXIST;

	*uid = 0;
	if (!b->peer_dsyncfs || !b->imports || !b->exports || b->box.id == 0 ||
	    c->guid[0] == '\0')
		return (0);
	if (store_msg_by_guid(b->r->store, b->box.id, c->guid, &a, &m) != 0)
		rc = store_gone_by_guid(b->r->store, b->box.id, c->guid, uid);
	arena_fini(&a);
	if (rc != 0 ||
	    (!c->fetched &&
		(!exporter_fetched(b->box.ex, *uid) || told_gone(im, c->guid))))
		*uid = 0;
	return (rc == -ENOENT || rc == -EEXIST ? 0 : rc);
}

int
importer_queue_remote(struct importer *im, struct item *i)
{
	struct brain *b = im->b;
	struct item_change *c = &i->u.change;
	struct merge_entry e = {
		.uid = c->uid, .guid = c->guid, .remote = true, .row = i
	};
	int rc = importer_keep_row(im, i);

	if (rc == 0)
		rc = expunged_since(im, c, &e.gone);
	e.usable = c->uid >= b->box.own.uidnext;
	e.keep = filter_active(&b->params) && !filter_takes(&b->params, c);
	return (rc != 0 ? rc : merge_queue_add(&im->queue, &e));
}

/*
 * Both sides saved a message of this GUID under this UID, each on its own: then
 * the expunge of the one says nothing about the other.
 */
static bool
saved_apart(const struct importer *im, const struct item_change *c)
{
	return (c->saved_here && exporter_saved_here(im->b->box.ex, c->uid));
}

/* A row above the common UID that nobody here has under that UID. */
static int
new_row(struct importer *im, struct item *i, struct arena *a)
{
	struct brain *b = im->b;
	struct item_change *c = &i->u.change;
	bool known = false;
	int rc = 0;

	if (c->kind != CHANGE_EXPUNGE && uids_have(&im->buried, c->uid))
		return (0);
	/*
	 * It was here and is not any more: it was expunged, or got another UID
	 * and is known by that.
	 */
	if (b->box.trust_uids && !b->reverts && b->box.id != 0 &&
	    c->uid < b->box.own.uidnext && !saved_apart(im, c))
		rc = absent_row(im, i, a, &known);
	if (rc != 0 || known || c->kind == CHANGE_EXPUNGE)
		return (rc);
	return (importer_queue_remote(im, i));
}

/* Takes back what was planned for a message. */
static void
spare(struct ops *o, uint32_t uid)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->n; i++)
		if (o->op[i].uid != uid)
			o->op[kept++] = o->op[i];
	o->n = kept;
}

static int
same_uid(struct importer *im, struct local *l, struct item *i, struct arena *a)
{
	struct brain *b = im->b;
	struct item_change *c = &i->u.change;
	bool same = importer_same_guid(l->guid, c->guid) ||
	    (l->guid[0] == '\0' && (c->guid == NULL || c->guid[0] == '\0'));
	struct msg m;
	int rc;

	if (same && c->kind == CHANGE_EXPUNGE && saved_apart(im, c))
		return (0);
	if (uids_have(&im->doomed, l->uid)) {
		/* The other side has it too: what it expunged was another. */
		if (same && c->kind != CHANGE_EXPUNGE)
			spare(&im->expunges, l->uid);
		else
			im->next_local++;
		if (!same)
			return (c->kind == CHANGE_EXPUNGE
				? 0
				: importer_queue_remote(im, i));
	}
	if (same) {
		im->next_local++;
		/* What is over there under this very UID says what it is. */
		if (uids_have(&im->elsewhere, c->uid))
			spare(&im->flags, c->uid);
		rc = store_msg(b->r->store, b->box.id, c->uid, a, &m);
		if (rc == -ENOENT) {
			b->box.changes = true;
			return (0);
		}
		if (rc != 0)
			return (rc);
		if (c->kind != CHANGE_EXPUNGE)
			return (importer_plan_flags(im, &m, i, c->uid, false));
		return (c->guid == NULL ? 0 : plan_expunge_row(im, &m, c));
	}
	if (c->kind == CHANGE_EXPUNGE || uids_have(&im->buried, c->uid))
		return (0);
	/* The order of the queue must be the same on both sides. */
	if (strcmp(l->guid, c->guid) < 0) {
		im->next_local++;
		rc = importer_queue_local(im, l);
		return (rc != 0 ? rc : importer_queue_remote(im, i));
	}
	rc = importer_queue_remote(im, i);
	im->next_local++;
	return (rc != 0 ? rc : importer_queue_local(im, l));
}

static int
fresh_row(struct importer *im, struct item *i, struct arena *a)
{
	struct item_change *c = &i->u.change;
	struct local *l;
	int rc;

	for (;;) {
		rc = importer_local_head(im, &l);
		if (rc != 0)
			return (rc);
		if (l == NULL || l->uid > c->uid)
			return (new_row(im, i, a));
		if (l->uid == c->uid)
			return (same_uid(im, l, i, a));
		im->next_local++;
		rc = importer_queue_local(im, l);
		if (rc != 0)
			return (rc);
	}
}

static int
check_row(struct importer *im, const struct item_change *c)
{
	bool bad = c->uid == 0 || c->uid <= im->last_uid ||
	    (c->kind != CHANGE_EXPUNGE && c->guid == NULL) ||
	    (c->kind == CHANGE_SAVE && c->uid <= im->b->box.common_uid) ||
	    (c->kind == CHANGE_FLAGS && c->uid > im->b->box.common_uid);

	if (bad)
		log_error("%s: mailbox %s: row '%c' for UID %u after %u breaks "
			  "the protocol",
		    im->b->peer_name, im->b->box.name, c->kind, c->uid,
		    im->last_uid);
	return (bad ? -EBADMSG : 0);
}

int
importer_change(struct importer *im, struct item *i)
{
	struct item_change *c = &i->u.change;
	struct arena a = ARENA_INIT;
	int rc = check_row(im, c);

	if (rc == 0 && (c->kind == CHANGE_EXPUNGE && !im->b->box.trust_uids))
		goto out;
	if (rc == 0 && c->kind == CHANGE_EXPUNGE && c->moved_to == 0)
		rc = note_told_gone(im, c->guid);
	if (rc == 0) {
		im->last_uid = c->uid;
		if (c->uid <= im->b->box.common_uid)
			rc = old_row(im, i, &a);
		else if (im->b->peer_dsyncfs || im->b->reverts)
			rc = fresh_row(im, i, &a);
		else
			rc = importer_foreign_row(im, i);
	}
out:
	arena_fini(&a);
	if (!i->kept)
		item_free(i);
	return (rc);
}

/* ---- the plan ---- */

/*
 * The message that the other side says it moved to this UID, or an instance of
 * this GUID that it expunged: the new message is that one, moved.
 */
static struct op *
find_expunge(struct importer *im, const struct merge_entry *e)
{
	struct op *alike = NULL;

	if (e->guid[0] == '\0')
		return (NULL);
	for (size_t i = im->expunges.n; i > 0; i--) {
		struct op *o = &im->expunges.op[i - 1];

		if (o->moved || strcmp(o->guid, e->guid) != 0)
			continue;
		if (o->moved_to == e->uid)
			return (o);
		if (alike == NULL && o->moved_to == 0)
			alike = o;
	}
	return (alike);
}

/*
 * The flags of a message that gets another UID are merged before it does, so
 * that the log tells of them, for third replicas.
 */
static int
plan_flags_of(struct importer *im, uint32_t uid, struct item *row)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, uid, &a, &m);

	if (rc == 0)
		rc = importer_plan_flags(im, &m, row, uid, true);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

static int
plan_new(struct importer *im, const struct merge_entry *e)
{
	int rc = 0;
	struct item *row = e->row;
	struct create c = {
		.final = e->final, .guid = e->guid, .row = &row->u.change
	};
	struct op *gone = e->gone != 0 ? NULL : find_expunge(im, e);

	if (e->gone != 0) {
		c.from = e->gone;
		c.gone = true;
	} else if (gone != NULL) {
		gone->moved = true;
		c.from = gone->uid;
		c.expunged = gone->moved_to == 0;
		if (!c.expunged)
			rc = plan_flags_of(im, gone->uid, row);
	} else {
		c.fetch = importer_fetch(im, e->guid, e->uid);
		if (c.fetch == NULL)
			return (-ENOMEM);
	}
	return (rc != 0 ? rc : create_add(im, &c));
}

static int
plan_local(struct importer *im, const struct merge_entry *e)
{
	struct item *row = e->linked ? im->queue.entry[e->link].row : NULL;
	struct create c = { .final = e->final,
		.from = e->uid,
		.guid = e->guid,
		.row = row == NULL ? NULL : &row->u.change };
	int rc = row == NULL ? 0 : plan_flags_of(im, e->uid, row);

	return (rc != 0 || e->final == e->uid ? rc : create_add(im, &c));
}

static int
plan_extra(struct importer *im, const struct merge_entry *e)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(im->b->r->store, im->b->box.id, e->uid, &a, &m);

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
	if (rc != 0)
		return (rc);
	if (b->reverts)
		assign_reverting(im);
	else
		im->common_uid = merge_assign(&im->queue, next) - 1;
	for (size_t i = 0; i < im->queue.n && rc == 0; i++) {
		const struct merge_entry *e = &im->queue.entry[i];

		if (e->remote && !e->linked && !e->keep)
			rc = plan_new(im, e);
		else if (!e->remote && b->reverts && !e->linked && !e->keep)
			rc = plan_extra(im, e);
		else if (!e->remote)
			rc = plan_local(im, e);
	}
	if (rc == 0 && im->n_create > 1)
		qsort(
		    im->create, im->n_create, sizeof(*im->create), create_cmp);
	if (rc == 0)
		rc = guard_plan(im);
	if (rc == 0)
		conflicts_uids(im);
	return (rc);
}
