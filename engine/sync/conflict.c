/*
 * conflict -- tells of what both sides did to the same thing, by which rule it
 * was settled, and what came of it.
 *
 * Texts say what is, not who is meant by "ours": both sides keep them.  What
 * both brains see of one conflict is told once when they share their events.
 * What a mailbox's plan settles is told when the mailbox is done, since until
 * then the run may still stop.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define REVERTS "a backup makes it like the source"

struct conflict {
	struct conflict *next;
	uint32_t uid;
	const char *what, *rule, *outcome;
};

static void
tell(struct brain *b, const char *mailbox, uint32_t uid, const char *what,
    const char *rule, const char *outcome)
{
	if (b->ev.conflict != NULL)
		b->ev.conflict(b->ev.arg, mailbox, uid, what, rule, outcome);
}

void
brain_conflict(struct brain *b, enum seen seen, const char *mailbox,
    uint32_t uid, const struct conflict_text *text)
{
	struct box *x = &b->box;
	struct conflict *c;

	if (b->ev.conflict == NULL || (seen == SEEN_BOTH && b->shares_events))
		return;
	if (b->phase != PHASE_BOX) {
		tell(b, mailbox, uid, text->what, text->rule, text->outcome);
		return;
	}
	c = arena_zalloc(&x->conflict_arena, sizeof(*c));
	if (c == NULL)
		return; /* it is settled all the same */
	c->uid = uid;
	c->what = arena_strdup(&x->conflict_arena, text->what);
	c->rule = arena_strdup(&x->conflict_arena, text->rule);
	c->outcome = arena_strdup(&x->conflict_arena, text->outcome);
	if (x->conflict_arena.error != 0)
		return;
	if (x->conflicts == NULL)
		x->conflicts = c;
	else
		x->last_conflict->next = c;
	x->last_conflict = c;
}

void
conflicts_flush(struct brain *b)
{
	for (struct conflict *c = b->box.conflicts; c != NULL; c = c->next)
		tell(b, b->box.name, c->uid, c->what, c->rule, c->outcome);
	b->box.conflicts = NULL;
}

/* ---- messages ---- */

static const char *const flag_names[] = { "\\Answered", "\\Flagged",
	"\\Deleted", "\\Seen", "\\Draft" };

static void
put_flags(struct buf *b, uint8_t flags, const struct keywords *k)
{
	for (unsigned i = 0; i < 5; i++)
		if (flags & (1u << i))
			buf_printf(
			    b, "%s%s", b->len == 0 ? "" : " ", flag_names[i]);
	for (size_t i = 0; i < k->n; i++)
		buf_printf(b, "%s%s", b->len == 0 ? "" : " ", k->name[i]);
}

void
conflict_flags(struct brain *b, uint32_t uid, const struct merge_result *r)
{
	struct buf all = BUF_INIT, set = BUF_INIT, what = BUF_INIT;
	struct conflict_text t = { .rule = "the higher modseq wins" };

	if (r->fought == 0 && r->kw_fought.n == 0)
		return;
	put_flags(&all, r->fought, &r->kw_fought);
	put_flags(&set, r->fought & r->fought_set, &r->kw_fought_set);
	if (buf_cstr(&all) != NULL)
		buf_printf(&what,
		    "set on one side and cleared on the other: %s",
		    buf_cstr(&all));
	t.what = buf_cstr(&what);
	t.outcome = set.len == 0 ? "cleared"
	    : set.len == all.len ? "set"
				 : "some set, some cleared";
	if (t.what != NULL && set.error == 0)
		brain_conflict(b, SEEN_BOTH, b->box.name, uid, &t);
	buf_fini(&what);
	buf_fini(&set);
	buf_fini(&all);
}

static bool
hinted(const struct hint *h)
{
	return (h->add != 0 || h->remove != 0 || h->kw_add.n != 0 ||
	    h->kw_remove.n != 0);
}

void
conflict_reverted_flags(struct brain *b, uint32_t uid)
{
	static const struct conflict_text t = {
		"flags were changed in the destination", REVERTS, "undone"
	};
	struct hint h = exporter_hint(b->box.ex, uid);

	if (b->reverts && hinted(&h))
		brain_conflict(b, SEEN_HERE, b->box.name, uid, &t);
}

void
conflict_expunge(struct brain *b, uint32_t uid)
{
	static const struct conflict_text flags = {
		"expunged on one side, flags changed on the other",
		"an expunge wins", "expunged"
	};
	static const struct conflict_text saved = { "saved in the destination",
		REVERTS, "expunged" };
	struct hint h = exporter_hint(b->box.ex, uid);

	if (b->reverts && exporter_saved_here(b->box.ex, uid))
		brain_conflict(b, SEEN_HERE, b->box.name, uid, &saved);
	else if (hinted(&h))
		brain_conflict(b, b->reverts ? SEEN_HERE : SEEN_BOTH,
		    b->box.name, uid, &flags);
}

void
conflict_expunged_here(struct brain *b, const struct row *row)
{
	static const struct conflict_text t = {
		"expunged on one side, flags changed on the other",
		"an expunge wins", "expunged"
	};

	if (row->add != 0 || row->remove != 0 ||
	    (row->kw != NULL && row->kw->add.n + row->kw->remove.n != 0))
		brain_conflict(b, SEEN_BOTH, b->box.name, row->uid, &t);
}

static void
tell_uid(struct importer *im, const struct merge_entry *e)
{
	struct brain *b = im->b;
	const struct merge_entry *o =
	    e->linked ? &im->queue.entry[e->link] : NULL;
	char what[128], outcome[64];
	struct conflict_text t = { what,
		"it gets the next UID that is free "
		"on both sides",
		outcome };

	if (o == NULL)
		(void)snprintf(what, sizeof(what),
		    "both sides have used UID %u, for different messages",
		    e->uid);
	else
		(void)snprintf(what, sizeof(what),
		    "both sides have this message, as UID %u and as UID %u",
		    e->uid < o->uid ? e->uid : o->uid,
		    e->uid < o->uid ? o->uid : e->uid);
	(void)snprintf(outcome, sizeof(outcome), "now UID %u", e->final);
	brain_conflict(b, SEEN_BOTH, b->box.name, e->uid, &t);
}

/* The source's UID cannot be given here, or the message is here already. */
static void
tell_backup_uid(struct importer *im, const struct merge_entry *e)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	char what[128], outcome[64];
	const char *was;
	uint32_t to;
	struct conflict_text t = { what, "a UID is never given twice",
		outcome };
	bool expunged = store_expunged(b->r->store, b->box.id, e->uid, &a, &was,
			    &to) == 0 &&
	    to == 0 &&
	    identity_same_guid(
		b, was, ((const struct row *)e->row)->guid, false);

	if (expunged)
		(void)snprintf(what, sizeof(what),
		    "UID %u of the source was expunged in the destination",
		    e->uid);
	else
		(void)snprintf(what, sizeof(what),
		    "UID %u of the source was another message in the "
		    "destination",
		    e->uid);
	(void)snprintf(
	    outcome, sizeof(outcome), "there it is UID %u", e->final);
	arena_fini(&a);
	brain_conflict(b, SEEN_HERE, b->box.name, e->final, &t);
}

void
conflicts_uids(struct importer *im)
{
	for (size_t i = 0; i < im->queue.n; i++) {
		const struct merge_entry *e = &im->queue.entry[i];
		const struct merge_entry *o =
		    e->linked ? &im->queue.entry[e->link] : NULL;

		if (e->keep)
			continue;
		if (im->b->reverts) {
			if (e->remote && o == NULL && e->final != e->uid)
				tell_backup_uid(im, e);
		} else if (o == NULL ? e->final != e->uid
				     : !e->remote && e->uid != o->uid) {
			tell_uid(im, e);
		}
	}
}

/* ---- the tree ---- */

/*
 * When both trees were last seen to be the same, in the peer's state under the
 * zero key: u8 version 1, svarint time.  What changed on both sides since then
 * is a conflict.
 */
#define TIME_VERSION 1

static const struct guid whole = { { 0 } };

static int
load_time(struct brain *b, int64_t *t)
{
	struct arena a = ARENA_INIT;
	const uint8_t *p;
	struct rd r;
	size_t n;
	int rc = store_peer(b->r->store, &b->peer, &whole, &a, &p, &n);

	if (rc == 0) {
		rd_init(&r, p, n);
		if (rd_u8(&r) != TIME_VERSION)
			rc = -ENOENT;
		*t = rd_svarint(&r);
		if (r.bad)
			rc = -ENOENT;
	}
	arena_fini(&a);
	return (rc);
}

/* Of all renames and subscriptions. */
static int64_t
newest(const struct tree *t, int64_t time)
{
	for (size_t i = 0; i < t->n_gone[GONE_SUBSCRIPTION]; i++)
		if (t->gone[GONE_SUBSCRIPTION][i].time > time)
			time = t->gone[GONE_SUBSCRIPTION][i].time;
	for (size_t i = 0; i < t->n; i++) {
		if (t->node[i].renamed > time)
			time = t->node[i].renamed;
		if (t->node[i].subscription_changed > time)
			time = t->node[i].subscription_changed;
	}
	return (time);
}

int
conflicts_tree_done(struct brain *b)
{
	struct buf v = BUF_INIT;
	struct txn *t;
	int64_t seen;
	int rc;

	if (b->params.dry_run || b->source || b->params.mailboxes != 0 ||
	    b->params.excludes != 0 || !guid_is_zero(&b->params.mailbox_guid))
		return (0);
	/* Nothing is written where nothing is newer. */
	if (load_time(b, &seen) == 0 &&
	    newest(&b->local, newest(&b->remote, seen)) == seen)
		return (0);
	buf_put_u8(&v, TIME_VERSION);
	buf_put_svarint(
	    &v, newest(&b->local, newest(&b->remote, store_now(b->r->store))));
	rc = v.error != 0 ? v.error : txn_begin(b->r->store, NULL, &t);
	if (rc == 0) {
		rc = txn_peer_set(t, &b->peer, &whole, v.data, v.len);
		if (rc == 0)
			rc = txn_commit(t);
		else
			txn_abort(t);
	}
	buf_fini(&v);
	return (rc);
}

static void
tell_merged(struct brain *b, const struct tree_box *t)
{
	struct conflict_text text = {
		"both sides have made a mailbox of this name",
		!b->imports || !b->exports ? "the source's GUID stays"
		    : b->peer_dsyncfs      ? "the larger GUID stays"
					   : "the larger GUID stays, if the "
					     "peer takes it",
		"one mailbox with the mail of both"
	};

	/* Every location has an INBOX; an unused one is nobody's doing. */
	if (strcmp(t->name, "INBOX") == 0 &&
	    ((t->local != NULL && t->local->uidnext <= 1) ||
		(t->remote != NULL && t->remote->uidnext <= 1)))
		return;
	brain_conflict(b, SEEN_BOTH, t->name, 0, &text);
}

static void
tell_rename(struct brain *b, const struct tree_box *t, int64_t since)
{
	const char *l = t->local->name, *r = t->remote->name;
	bool swap = strcmp(l, r) > 0;
	struct conflict_text text = { .rule = "the newer name wins" };
	struct buf what = BUF_INIT, outcome = BUF_INIT;

	if (strcmp(l, r) == 0 || t->local->renamed <= since ||
	    (!b->reverts && t->remote->renamed <= since))
		return;
	buf_printf(&what,
	    b->reverts ? "named %s in the source, renamed to %s"
		       : "renamed to %s on one side and to %s on the other",
	    b->reverts || swap ? r : l, b->reverts || swap ? l : r);
	buf_printf(&outcome, "now %s", t->name);
	text.what = buf_cstr(&what);
	text.outcome = buf_cstr(&outcome);
	if (b->reverts)
		text.rule = REVERTS;
	if (text.what != NULL && text.outcome != NULL)
		brain_conflict(
		    b, b->reverts ? SEEN_HERE : SEEN_BOTH, t->name, 0, &text);
	buf_fini(&what);
	buf_fini(&outcome);
}

static int
on_event(void *arg, const struct event *e)
{
	return (!guid_eq(&e->origin, arg));
}

/* A mailbox goes that users here have changed since both knew it. */
static int
tell_drop(struct brain *b, const struct tree_node *n)
{
	static const struct conflict_text
	    changed = { "deleted on one side, its mail changed on the other",
		    "a deletion wins", "deleted" },
	    made = { "made in the destination", REVERTS, "deleted" };
	struct peer_state st;
	int rc;

	if (guid_is_zero(&n->guid))
		return (0);
	if (b->reverts) {
		if (tree_find_gone(&b->remote, GONE_MAILBOX, &n->guid) == NULL)
			brain_conflict(b, SEEN_HERE, n->name, 0, &made);
		return (0);
	}
	rc = peer_state_load(b->r->store, &b->peer, &n->guid, &st);
	if (rc == 0)
		rc = store_events(
		    b->r->store, n->id, st.own_since, on_event, &b->peer);
	if (rc == 1)
		brain_conflict(b, SEEN_HERE, n->name, 0, &changed);
	return (rc == -ENOENT || rc == -ESTALE || rc == 1 ? 0 : rc);
}

/* What the other tree says of a subscription; false: nothing. */
static bool
subscription(const struct tree *t, const char *name, bool *on, int64_t *time)
{
	const struct tree_node *n = tree_by_name(t, name);
	const struct item_delete *d;
	struct guid id;

	if (n != NULL) {
		*on = n->subscribed;
		*time = n->subscription_changed;
		return (true);
	}
	if (t->sep != '/' || guid128_of_name(name, &id) != 0)
		return (false);
	d = tree_find_gone(t, GONE_SUBSCRIPTION, &id);
	if (d == NULL)
		return (false);
	*on = false;
	*time = d->time;
	return (true);
}

static void
tell_subscription(struct brain *b, const char *name, int64_t since)
{
	bool l, r, on;
	int64_t lt, rt;
	struct conflict_text t = {
		"subscribed on one side, unsubscribed on the other",
		"the newer change wins", "subscribed"
	};

	if (!subscription(&b->local, name, &l, &lt) ||
	    !subscription(&b->remote, name, &r, &rt) || l == r || lt <= since ||
	    (!b->reverts && rt <= since))
		return;
	on = b->reverts || rt > lt ? r : lt > rt ? l : true;
	if (b->reverts) {
		t.what = l ? "subscribed in the destination"
			   : "unsubscribed in the destination";
		t.rule = REVERTS;
	}
	if (!on)
		t.outcome = "unsubscribed";
	brain_conflict(b, b->reverts ? SEEN_HERE : SEEN_BOTH, name, 0, &t);
}

int
conflicts_tree(struct brain *b)
{
	int64_t since = 0;
	bool known = load_time(b, &since) == 0;
	int rc = 0;

	if (b->ev.conflict == NULL || b->source)
		return (0);
	for (size_t i = 0; i < b->plan.n; i++) {
		const struct tree_box *t = &b->plan.box[i];

		if (t->merged)
			tell_merged(b, t);
		else if (known && t->local != NULL && t->remote != NULL)
			tell_rename(b, t, since);
	}
	for (size_t i = 0; i < b->plan.drops && rc == 0; i++)
		rc = tell_drop(b, b->plan.drop[i]);
	for (size_t i = 0; known && i < b->local.n; i++)
		tell_subscription(b, b->local.node[i].name, since);
	for (size_t i = 0; known && i < b->remote.n; i++)
		if (tree_by_name(&b->local, b->remote.node[i].name) == NULL)
			tell_subscription(b, b->remote.node[i].name, since);
	return (rc);
}
