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

static const char *
told_guid(const void *arg, uint32_t i)
{
	const struct importer *im = arg;

	return (im->told[i]);
}

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
	importer_plan_init(im);
	strindex_init(&im->told_gone, told_guid, im);
	importer_fetches_init(im);
	*out = im;
	return (0);
}

void
importer_free(struct importer *im)
{
	if (im == NULL)
		return;
	importer_fetches_free(im);
	free(im->maybe);
	free(im->doubt);
	item_free(im->reading_mail);
	spool_free(im->reading_spool);
	merge_queue_fini(&im->queue);
	free(im->flags.op);
	free(im->expunges.op);
	strindex_fini(&im->expunged);
	free(im->movers);
	free(im->doomed.slot);
	free(im->buried.slot);
	free(im->elsewhere.slot);
	strindex_fini(&im->told_gone);
	free(im->told);
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
importer_keep_row(
    struct importer *im, const struct row *r, const struct row **kept)
{
	struct row_keywords *kw = NULL;
	struct row *copy;
	int rc = 0;

	*kept = r;
	if (r->kept)
		return (0);
	copy = arena_memdup(&im->arena, r, sizeof(*r));
	if (copy == NULL)
		return (-ENOMEM);
	copy->kept = true;
	copy->guid = arena_strdup(&im->arena, r->guid);
	copy->key =
	    r->key == r->guid ? copy->guid : arena_strdup(&im->arena, r->key);
	if (r->kw != NULL) {
		kw = arena_alloc(&im->arena, sizeof(*kw));
		if (kw == NULL)
			return (-ENOMEM);
		rc = keywords_copy(&im->arena, &r->kw->final, &kw->final);
		if (rc == 0)
			rc = keywords_copy(&im->arena, &r->kw->add, &kw->add);
		if (rc == 0)
			rc = keywords_copy(
			    &im->arena, &r->kw->remove, &kw->remove);
		if (rc == 0)
			rc = keywords_copy(
			    &im->arena, &r->kw->informed, &kw->informed);
		copy->kw = kw;
	}
	*kept = copy;
	return (rc != 0 ? rc : im->arena.error);
}

int
importer_ops_add(struct ops *l, const struct op *o)
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

static size_t
uids_slot(const struct uid_set *s, uint32_t uid)
{
	size_t at = (uid * 2654435761u) & (s->cap - 1);

	while (s->slot[at] != 0 && s->slot[at] != uid)
		at = (at + 1) & (s->cap - 1);
	return (at);
}

static int
uids_add(struct uid_set *s, uint32_t uid)
{
	struct uid_set big = { .cap = s->cap == 0 ? 16 : s->cap * 2 };

	if (s->n >= s->cap / 4 * 3) {
		big.slot = calloc(big.cap, sizeof(*big.slot));
		if (big.slot == NULL)
			return (-ENOMEM);
		for (size_t i = 0; i < s->cap; i++)
			if (s->slot[i] != 0)
				big.slot[uids_slot(&big, s->slot[i])] =
				    s->slot[i];
		big.n = s->n;
		free(s->slot);
		*s = big;
	}
	s->slot[uids_slot(s, uid)] = uid;
	s->n++;
	return (0);
}

bool
importer_uids_have(const struct uid_set *s, uint32_t uid)
{
	return (s->n > 0 && uid != 0 && s->slot[uids_slot(s, uid)] == uid);
}

/* ---- single messages ---- */

static int
plan_merge(struct importer *im, const struct msg *m, const struct row *r,
    uint32_t hint_uid, bool pair)
{
	struct arena a = ARENA_INIT;
	struct msg_update u;
	struct merge_result merged;
	bool differs;
	int rc = importer_merge(im, &a, m, r, hint_uid, &u, &differs, &merged);
	struct op o = {
		.uid = m->uid, .hint_uid = hint_uid, .modseq = m->modseq
	};

	if (rc == 0)
		conflict_flags(im->b, m->uid, &merged);
	if (rc == 0 && differs)
		conflict_reverted_flags(im->b, m->uid);
	arena_fini(&a);
	o.raise = rc == 0 && pair && merged.remote_changes;
	if (o.raise)
		im->b->box.distrust = im->b->box.changes = true;
	if (rc != 0 || !(differs || o.raise))
		return (rc);
	o.guid = arena_strdup(&im->arena, m->guid);
	rc = o.guid == NULL ? -ENOMEM : importer_keep_row(im, r, &o.row);
	return (rc != 0 ? rc : importer_ops_add(&im->flags, &o));
}

int
importer_plan_flags(struct importer *im, const struct msg *m,
    const struct row *r, uint32_t hint_uid)
{
	return (plan_merge(im, m, r, hint_uid, false));
}

int
importer_plan_pair(
    struct importer *im, const struct msg *m, const struct row *r)
{
	const struct brain *b = im->b;

	return (plan_merge(
	    im, m, r, m->uid, b->exports && !b->peer_dsyncfs && !b->reverts));
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
	return (importer_expunge_add(im, &o));
}

/* A row of the peer says so. */
static int
plan_expunge_row(struct importer *im, const struct msg *m, const struct row *c)
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

/*
 * The row is of the message that is, or was, here under its UID: the GUID says
 * so, or both sides know it from before.
 */
static bool
was_here(const struct importer *im, const char *guid, const struct row *c)
{
	return (identity_same_guid(im->b, guid, c->guid, c->expunge) ||
	    (im->b->box.by_hash && c->uid <= im->b->box.known_uid));
}

static int
fate_of(struct importer *im, const struct row *c, struct arena *a,
    struct msg *m, enum fate *out)
{
	struct store *s = im->b->r->store;
	uint32_t uid = c->uid, to;
	const char *first = NULL, *was;
	int rc;

	*out = FATE_UNKNOWN;
	/* By a UID alone only what the other side is told, too. */
	if (im->b->box.by_hash && !exporter_expunged_here(im->b->box.ex, uid))
		return (0);
	while (
	    (rc = store_expunged(s, im->b->box.id, uid, a, &was, &to)) == 0) {
		if (first == NULL ? !was_here(im, was, c)
				  : strcmp(was, first) != 0)
			return (0);
		first = was;
		*out = FATE_GONE;
		if (to <= uid) /* UIDs only grow */
			return (0);
		uid = to;
	}
	if (rc != -ENOENT || uid == c->uid)
		return (rc == -ENOENT ? 0 : rc);
	rc = store_msg(s, im->b->box.id, uid, a, m);
	if (rc == 0 && strcmp(m->guid, first) == 0)
		*out = FATE_MOVED;
	return (rc == -ENOENT ? 0 : rc);
}

/*
 * A row of a message that is not here under that UID.  *known: its fate is, and
 * what the row says is planned.
 */
static int
absent_row(
    struct importer *im, const struct row *c, struct arena *a, bool *known)
{
	enum fate fate;
	struct msg m;
	int rc = fate_of(im, c, a, &m, &fate);

	*known = rc == 0 && fate != FATE_UNKNOWN;
	if (!*known)
		return (rc);
	if (!c->expunge) {
		if (fate == FATE_GONE) {
			conflict_expunged_here(im->b, c);
			return (0);
		}
		rc = importer_plan_moved(im, &m, c);
		return (rc != 0 ? rc : uids_add(&im->elsewhere, m.uid));
	}
	/*
	 * Who expunged it did not know of the new UID: it is gone under that
	 * one too, on whichever side that is.
	 */
	if (fate == FATE_GONE)
		return (
		    c->moved_to != 0 ? uids_add(&im->buried, c->moved_to) : 0);
	/*
	 * Another kind of peer does not say that it only gave it a new UID; of
	 * a source all that is there counts, not what became of it.  What both
	 * have under the new UID has a row of its own: where the other side
	 * still has the message, and has seen that UID, it expunged another.
	 */
	if ((c->elsewhere && m.uid <= im->b->box.common_uid) ||
	    c->moved_to != 0 || im->b->params.no_backup_overwrite ||
	    im->b->reverts || !im->b->peer_dsyncfs)
		return (0);
	rc = plan_expunge_row(im, &m, c);
	return (rc != 0 ? rc : uids_add(&im->doomed, m.uid));
}

/* An old message that both have, or had. */
static int
old_row(struct importer *im, const struct row *c, struct arena *a)
{
	struct brain *b = im->b;
	bool known;
	struct msg m;
	int rc = store_msg(b->r->store, b->box.id, c->uid, a, &m);

	if (rc == 0) {
		/* Without GUIDs on both sides the common UID has to do. */
		if (!b->box.by_hash &&
		    !identity_same_guid(b, m.guid, c->guid, c->expunge) &&
		    !(c->expunge && c->guid == NULL)) {
			log_warning("%s: %s: UID %u is another message at %s; "
				    "the mailbox is compared in full next time",
			    b->r->label, b->box.name, c->uid, b->peer_name);
			b->box.distrust = b->box.changes = true;
			return (0);
		}
		return (c->expunge ? plan_expunge_row(im, &m, c)
				   : importer_plan_flags(im, &m, c, c->uid));
	}
	if (rc != -ENOENT)
		return (rc);
	rc = absent_row(im, c, a, &known);
	if (rc == 0 && !known && !c->expunge)
		b->box.distrust = b->box.changes = true;
	return (rc);
}

/* ---- messages above the common UID ---- */

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
	l->key = NULL;
	importer_filter_local(im->b, m, l);
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
		if (rc >= 0)
			rc = importer_size_locals(im);
		if (rc < 0)
			return (rc);
		if (im->n_batch == 0)
			im->locals_done = true;
	}
	*out = im->next_local < im->n_batch ? &im->batch[im->next_local] : NULL;
	return (0);
}

int
importer_queue_local(struct importer *im, struct local *l)
{
	struct brain *b = im->b;
	struct merge_entry e = { .uid = l->uid, .keep = l->filtered };
	int rc;

	if (importer_uids_have(&im->doomed, l->uid))
		return (0);
	rc = importer_local_key(im, l, &e.key);
	if (rc != 0)
		return (rc);
	e.key = importer_link_key(im, e.key);
	e.guid = arena_strdup(&im->arena, l->guid);
	e.key = e.key == l->guid ? e.guid : arena_strdup(&im->arena, e.key);
	if (e.guid == NULL || e.key == NULL)
		return (-ENOMEM);
	/* One-way: the source never learns of new UIDs here, so none are given.
	 */
	e.usable =
	    l->uid >= b->box.peer.uidnext || b->params.no_backup_overwrite;
	return (merge_queue_add(&im->queue, &e));
}

static int
note_told_gone(struct importer *im, const char *guid)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g;
	uint32_t i;
	int rc = guid == NULL ? 0 : guid128_of_string(guid, &g);

	if (guid == NULL || rc != 0 ||
	    strindex_find(&im->told_gone, guid_hex(&g, hex), &i))
		return (rc);
	if (im->n_told == im->cap_told) {
		size_t cap = im->cap_told * 2 + 16;
		const char **p = reallocarray(im->told, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->told = p;
		im->cap_told = cap;
	}
	if (im->n_told >= UINT32_MAX - 1)
		return (-EOVERFLOW);
	im->told[im->n_told] = arena_strdup(&im->arena, hex);
	if (im->told[im->n_told] == NULL)
		return (-ENOMEM);
	return (strindex_add(&im->told_gone, (uint32_t)im->n_told++));
}

static bool
told_gone(const struct importer *im, const char *guid)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g;
	uint32_t i;

	return (guid128_of_string(guid, &g) != 0 ||
	    strindex_find(&im->told_gone, guid_hex(&g, hex), &i));
}

/*
 * The instance that was expunged here last, or the last that a sync with the
 * peer had brought; -ENOENT.
 */
static int
gone_here(struct importer *im, const struct row *c, bool brought, uint32_t *uid)
{
	struct brain *b = im->b;
	uint32_t below = UINT32_MAX;
	int rc;

	while ((rc = store_gone_by_guid(
		    b->r->store, b->box.id, c->guid, below, uid)) == 0 &&
	    brought && !exporter_fetched(b->box.ex, *uid))
		below = *uid;
	return (rc);
}

/*
 * A message that came from here, or went from there to here, and was expunged
 * here since: where UIDs do not tell (before there is a common state, or when
 * one of the two had to give it another UID), its GUID does.  Not when the
 * other side expunged and saved it again.
 */
static int
expunged_since(struct importer *im, const struct row *c, uint32_t *uid)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = -ENOENT;

	*uid = 0;
	if (!b->peer_dsyncfs || !b->imports || !b->exports || b->box.id == 0 ||
	    b->box.by_hash || c->guid[0] == '\0')
		return (0);
	if ((c->fetched || !told_gone(im, c->guid)) &&
	    store_msg_by_guid(b->r->store, b->box.id, c->guid, &a, &m) != 0)
		rc = gone_here(im, c, !c->fetched, uid);
	arena_fini(&a);
	if (rc != 0)
		*uid = 0;
	return (rc == -ENOENT ? 0 : rc);
}

int
importer_queue_remote(struct importer *im, const struct row *r)
{
	const struct row *kept;
	struct merge_entry e = { .uid = r->uid,
		.remote = true,
		.keep = r->filtered,
		.usable = r->uid >= im->b->box.own.uidnext };
	int rc = importer_keep_row(im, r, &kept);

	if (rc == 0)
		rc = expunged_since(im, kept, &e.gone);
	if (rc != 0)
		return (rc);
	e.guid = kept->guid;
	e.key = importer_link_key(im, kept->key);
	e.row = kept;
	return (merge_queue_add(&im->queue, &e));
}

/*
 * Both sides saved a message of this GUID under this UID, each on its own: then
 * the expunge of the one says nothing about the other.
 */
static bool
saved_apart(const struct importer *im, const struct row *c)
{
	return (c->saved_here && exporter_saved_here(im->b->box.ex, c->uid));
}

/* A row above the common UID that nobody here has under that UID. */
static int
new_row(struct importer *im, const struct row *c, struct arena *a)
{
	struct brain *b = im->b;
	bool known = false;
	int rc = 0;

	if (!c->expunge && importer_uids_have(&im->buried, c->uid))
		return (0);
	/*
	 * It was here and is not any more: it was expunged, or got another UID
	 * and is known by that.
	 */
	if (b->box.trust_uids && !b->reverts && b->box.id != 0 &&
	    c->uid < b->box.own.uidnext && !saved_apart(im, c))
		rc = absent_row(im, c, a, &known);
	if (rc != 0 || known || c->expunge)
		return (rc);
	return (importer_queue_remote(im, c));
}

void
importer_spare(struct ops *o, uint32_t uid)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->n; i++)
		if (o->op[i].uid != uid)
			o->op[kept++] = o->op[i];
	o->n = kept;
}

/*
 * Both lie under one UID: are they one message?  A header that cannot be read
 * differs from none, or a damaged mail would take its good copy along.
 */
static int
same_message(
    struct importer *im, struct local *l, const struct row *c, int *cmp)
{
	const struct brain *b = im->b;
	const char *own;
	int rc = importer_local_key(im, l, &own);

	if (rc != 0)
		return (rc);
	*cmp = strcmp(own, c->key);
	if (b->box.by_hash &&
	    (own[0] == '\0' || c->key[0] == '\0' ||
		identity_same_hash(b, own, c->key)))
		*cmp = 0;
	return (0);
}

/* A message that is here is told to be expunged there. */
static int
expunged_there(
    struct importer *im, struct local *l, const struct row *c, struct arena *a)
{
	struct msg m;
	int rc;

	if (!was_here(im, l->guid, c) || saved_apart(im, c))
		return (0);
	im->next_local++;
	if (importer_uids_have(&im->doomed, l->uid))
		return (0);
	rc = store_msg(im->b->r->store, im->b->box.id, c->uid, a, &m);
	if (rc == -ENOENT)
		im->b->box.changes = true;
	return (rc == -ENOENT ? 0 : rc != 0 ? rc : plan_expunge_row(im, &m, c));
}

/* The same message, under the same UID. */
static int
same_there(struct importer *im, const struct row *c, struct arena *a)
{
	struct msg m;
	int rc;

	/* What is over there under this very UID says what it is. */
	if (importer_uids_have(&im->elsewhere, c->uid))
		importer_spare(&im->flags, c->uid);
	rc = store_msg(im->b->r->store, im->b->box.id, c->uid, a, &m);
	if (rc == -ENOENT)
		im->b->box.changes = true;
	return (rc == -ENOENT ? 0
		: rc != 0     ? rc
			      : importer_plan_flags(im, &m, c, c->uid));
}

static int
same_uid(
    struct importer *im, struct local *l, const struct row *c, struct arena *a)
{
	bool doomed = importer_uids_have(&im->doomed, l->uid);
	int rc, cmp;

	if (c->expunge)
		return (expunged_there(im, l, c, a));
	rc = same_message(im, l, c, &cmp);
	if (rc != 0)
		return (rc);
	if (doomed && cmp != 0) {
		im->next_local++;
		return (importer_uids_have(&im->buried, c->uid)
			? 0
			: importer_queue_remote(im, c));
	}
	/* The other side has it too: what it expunged was another. */
	if (doomed)
		importer_spare(&im->expunges, l->uid);
	if (cmp == 0) {
		im->next_local++;
		return (same_there(im, c, a));
	}
	if (importer_uids_have(&im->buried, c->uid))
		return (0);
	im->next_local++;
	/* The order of the queue must be the same on both sides. */
	if (cmp < 0) {
		rc = importer_queue_local(im, l);
		return (rc != 0 ? rc : importer_queue_remote(im, c));
	}
	rc = importer_queue_remote(im, c);
	return (rc != 0 ? rc : importer_queue_local(im, l));
}

static int
fresh_row(struct importer *im, const struct row *c, struct arena *a)
{
	struct local *l;
	int rc;

	for (;;) {
		rc = importer_local_head(im, &l);
		if (rc != 0)
			return (rc);
		if (l == NULL || l->uid > c->uid)
			return (new_row(im, c, a));
		if (l->uid == c->uid)
			return (same_uid(im, l, c, a));
		im->next_local++;
		rc = importer_queue_local(im, l);
		if (rc != 0)
			return (rc);
	}
}

static int
check_row(struct importer *im, const struct item_change *c)
{
	bool bad = c->uid <= im->last_uid || c->uid >= box_uid_most(im->b) ||
	    (c->kind != CHANGE_EXPUNGE && c->guid == NULL) ||
	    (c->kind != CHANGE_EXPUNGE && c->hdr_hash == NULL &&
		im->b->box.by_hash) ||
	    (c->kind == CHANGE_SAVE && c->uid <= im->b->box.common_uid) ||
	    (c->kind == CHANGE_FLAGS && c->uid > im->b->box.common_uid);

	if (bad)
		log_error("%s: mailbox %s: row '%c' for UID %u after %u breaks "
			  "the protocol",
		    im->b->peer_name, im->b->box.name, c->kind, c->uid,
		    im->last_uid);
	return (bad ? -EBADMSG : 0);
}

/* kw: what the row points to. */
static struct row
row_of(const struct importer *im, const struct item_change *c,
    struct row_keywords *kw)
{
	const struct item_handshake *p = &im->b->params;
	struct row r = { .guid = c->guid,
		.modseq = box_modseq(im->b, c->modseq),
		.uid = c->uid,
		.moved_to = c->moved_to,
		.add = c->add,
		.remove = c->remove,
		.informed = c->informed,
		.final = c->final,
		.expunge = c->kind == CHANGE_EXPUNGE,
		.elsewhere = c->elsewhere,
		.saved_here = c->saved_here,
		.fetched = c->fetched };

	r.filtered = !r.expunge && filter_active(p) && !filter_takes(p, c);
	*kw = (struct row_keywords){ c->kw_final, c->kw_add, c->kw_remove,
		c->kw_informed };
	if (kw->final.n + kw->add.n + kw->remove.n != 0)
		r.kw = kw;
	return (r);
}

static int
take_row(struct importer *im, const struct row *r)
{
	struct arena a = ARENA_INIT;
	int rc = 0;

	if (r->expunge && r->moved_to == 0)
		rc = note_told_gone(im, r->guid);
	im->last_uid = r->uid;
	if (im->b->reverts && im->b->box.by_hash && !r->expunge &&
	    r->key[0] == '\0' && im->b->box.own.messages != 0)
		im->blind = true;
	if (rc == 0 && r->uid <= im->b->box.common_uid)
		rc = old_row(im, r, &a);
	else if (rc == 0 && (im->b->peer_dsyncfs || im->b->reverts))
		rc = fresh_row(im, r, &a);
	else if (rc == 0)
		rc = importer_foreign_row(im, r);
	arena_fini(&a);
	return (rc);
}

int
importer_change(struct importer *im, struct item *i)
{
	struct row_keywords kw;
	struct row r = row_of(im, &i->u.change, &kw);
	int rc = check_row(im, &i->u.change);

	if (rc == 0 && !r.expunge)
		rc = importer_row_key(im, &i->u.change, &r);
	if (rc == 0 && (!r.expunge || im->b->box.trust_uids))
		rc = take_row(im, &r);
	item_free(i);
	return (rc);
}
