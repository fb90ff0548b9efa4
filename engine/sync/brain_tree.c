/*
 * brain_tree -- exchanges the trees and brings the own one to what tree_merge
 * says (specs/dsync-protocol.md 4).
 *
 * With another kind of peer D is sent with its separator and escape character
 * (Dovecot 2.3.19 hangs otherwise), so after its D has come.  That it does not
 * wait for ours is certain; should it do so all the same, the one with the
 * smaller host name goes on.  Ours sorts behind all others.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"
#include "sync/tree_dsync.h"

#define MAX_NODES 1000000 /* of a peer */
#define RENAME_PASSES 8
/*
 * When a mailbox got a temporary name: before every rename of a user, so that
 * no other side takes it over when this run is killed.
 */
#define RENAMED_ASIDE (-2)

/* ---- the own tree ---- */

static bool
in_scope(const struct brain *b, const char *name, const struct guid *g)
{
	if (!guid_is_zero(&b->params.mailbox_guid))
		return (g != NULL && guid_eq(g, &b->params.mailbox_guid));
	return (brain_filter_name(&b->params, name));
}

static int
on_mailbox(void *arg, const struct mailbox *m)
{
	struct brain *b = arg;
	struct tree_node *n;

	if (!in_scope(b, m->name, &m->guid) ||
	    (!m->exists && m->subscription_changed == 0 && !m->subscribed))
		return (0);
	n = tree_add(&b->local, m->name);
	if (n == NULL)
		return (-ENOMEM);
	n->existence = m->exists ? EXISTS : PLACEHOLDER;
	n->id = m->exists ? m->id : 0;
	if (m->exists && m->selectable)
		n->guid = m->guid;
	n->uidvalidity = m->uidvalidity;
	n->uidnext = m->uidnext;
	n->messages = m->messages;
	/* Other kinds of peer know no time before all times. */
	n->renamed = m->renamed < 0 && !b->peer_dsyncfs ? 0 : m->renamed;
	n->subscribed = m->subscribed;
	n->subscription_changed = m->subscription_changed;
	return (0);
}

static int
on_deletion(void *arg, const struct deletion *d)
{
	static const int kind[] = { [DELETED_MAILBOX] = GONE_MAILBOX,
		[DELETED_DIR] = GONE_DIR,
		[DELETED_SUBSCRIPTION] = GONE_SUBSCRIPTION };
	struct item_delete x = { .id = d->guid, .time = d->time };
	struct brain *b = arg;
	int rc = 0;

	if (!in_scope(b, d->name == NULL ? "" : d->name, &d->guid) ||
	    (d->kind == DELETED_DIR && tree_has_below(&b->local, d->name)))
		return (0);
	if (d->kind != DELETED_MAILBOX && d->name[0] != '\0')
		rc = tree_name_id(d->name, b->local.sep, b->local.escape,
		    b->params.alt_char, &x.id);
	return (rc != 0 ? rc : tree_add_gone(&b->local, kind[d->kind], &x));
}

/* Two mailboxes with one GUID: this one gets another. */
static int
part_guid(void *arg, const struct tree_node *n, struct guid *out)
{
	struct mailbox_update u = { 0 };
	struct brain *b = arg;
	int rc = os_guid(store_os(b->r->store), u.guid.b);

	if (rc != 0)
		return (rc);
	log_warning("%s: mailbox %s has the GUID of another mailbox; it gets "
		    "one of its own",
	    b->r->label, n->name);
	if (!b->params.dry_run && !b->source)
		rc = b->r->ops->mailbox_update(b->r, n->id, &u, &b->peer);
	if (rc == 0)
		*out = u.guid;
	return (rc);
}

int
brain_tree_build(struct brain *b)
{
	int rc = store_mailboxes(b->r->store, on_mailbox, b);

	if (rc == 0)
		rc = tree_part_guids(&b->local, part_guid, b);
	return (rc != 0 ? rc : tree_done(&b->local, b->r->label));
}

static int
send_node(struct brain *b, const struct tree_node *n)
{
	struct item *i;
	int rc = item_new(ITEM_NODE, &i);

	if (rc != 0)
		return (rc);
	i->u.node.name = arena_strdup(&i->arena, n->name);
	i->u.node.existence = n->existence;
	i->u.node.mailbox = n->guid;
	i->u.node.uidvalidity = n->uidvalidity;
	i->u.node.uidnext = n->uidnext;
	i->u.node.renamed = n->renamed;
	i->u.node.subscribed = n->subscribed;
	i->u.node.subscription_changed = n->subscription_changed;
	return (brain_send(b, i));
}

static int
send_deletes(struct brain *b)
{
	const struct tree *t = &b->local;
	struct item *i;
	int rc = store_deletions(b->r->store, on_deletion, b);

	/* What is there again meanwhile is not deleted. */
	if (rc == 0)
		rc = tree_done(&b->local, b->r->label);
	if (rc == 0)
		rc = item_new(ITEM_DELETES, &i);
	if (rc != 0)
		return (rc);
	b->sent_deletes = true;
	i->u.deletes.sep = t->sep;
	i->u.deletes.escape = t->escape;
	i->u.deletes.mailbox = arena_memdup(&i->arena, t->gone[GONE_MAILBOX],
	    t->n_gone[GONE_MAILBOX] * sizeof(struct item_delete));
	i->u.deletes.mailboxes = t->n_gone[GONE_MAILBOX];
	i->u.deletes.dir = arena_memdup(&i->arena, t->gone[GONE_DIR],
	    t->n_gone[GONE_DIR] * sizeof(struct item_delete));
	i->u.deletes.dirs = t->n_gone[GONE_DIR];
	i->u.deletes.unsubscribe =
	    arena_memdup(&i->arena, t->gone[GONE_SUBSCRIPTION],
		t->n_gone[GONE_SUBSCRIPTION] * sizeof(struct item_delete));
	i->u.deletes.unsubscribes = t->n_gone[GONE_SUBSCRIPTION];
	return (brain_send(b, i));
}

int
brain_tree_send_nodes(struct brain *b, const struct tree *t)
{
	int rc = 0;

	for (size_t k = 0; k < t->n && rc == 0; k++)
		if (!t->node[k].fixed)
			rc = send_node(b, &t->node[k]);
	return (rc != 0 ? rc : brain_send_end(b));
}

int
brain_tree_send(struct brain *b)
{
	int rc = brain_tree_echoes(b) ? 0 : brain_tree_send_nodes(b, &b->local);

	return (rc != 0 || brain_tree_echoes(b) || b->deletes_last
		? rc
		: send_deletes(b));
}

/* ---- the peer's ---- */

static int
recv_node(struct brain *b, const struct item_node *in)
{
	const char *name = in->name;
	struct tree_node *n;

	if (name == NULL || name[0] == '\0' || b->remote.n >= MAX_NODES) {
		log_error("%s: breaks the protocol: a mailbox without a name, "
			  "or too many",
		    b->peer_name);
		return (-EBADMSG);
	}
	if (!name_valid(name)) {
		name = name_fix(&b->remote.arena, name, b->params.alt_char);
		if (name == NULL)
			return (-ENOMEM);
		log_verbose(
		    "%s: a mailbox name that cannot be used here becomes '%s'",
		    b->peer_name, name);
	}
	if (!in_scope(b, name, &in->mailbox))
		return (0);
	n = tree_add(&b->remote, name);
	if (n == NULL)
		return (-ENOMEM);
	n->fixed = name != in->name;
	n->existence = in->existence;
	n->guid =
	    in->existence == EXISTS ? in->mailbox : (struct guid){ { 0 } };
	n->uidvalidity = in->uidvalidity;
	n->uidnext = in->uidnext;
	n->renamed = in->renamed;
	n->subscribed = in->subscribed;
	n->subscription_changed = in->subscription_changed;
	return (0);
}

static int
recv_deletes(struct brain *b, const struct item_deletes *d)
{
	const struct item_delete *list[3] = { d->mailbox, d->dir,
		d->unsubscribe };
	size_t n[3] = { d->mailboxes, d->dirs, d->unsubscribes };
	int rc = 0;

	b->remote.sep = d->sep;
	b->remote.escape = d->escape;
	for (int k = 0; k < 3; k++)
		for (size_t i = 0; i < n[k] && rc == 0; i++)
			rc = tree_add_gone(&b->remote, k, &list[k][i]);
	if (rc == 0)
		rc = tree_done(&b->remote, b->peer_name);
	if (b->remote.doubles != 0)
		b->result.incomplete = true;
	b->got_deletes = true;
	if (rc == 0 && !b->sent_deletes) {
		b->local.sep = d->sep;
		b->local.escape = d->escape;
		rc = send_deletes(b);
	}
	return (rc);
}

int
brain_tree_recv(struct brain *b, struct item *i)
{
	int rc;

	if (!b->got_nodes && i->type == ITEM_NODE)
		rc = recv_node(b, &i->u.node);
	else if (!b->got_nodes && i->type == ITEM_END) {
		b->got_nodes = true;
		rc = brain_tree_echoes(b) ? brain_tree_echo(b) : 0;
	} else if (b->got_nodes && i->type == ITEM_DELETES)
		rc = recv_deletes(b, &i->u.deletes);
	else
		return (brain_protocol(b, i, "the list of mailboxes"));
	item_free(i);
	return (rc);
}

/* ---- deleting ---- */

struct uids {
	uint32_t uid[BATCH];
	size_t n;
};

static int
on_uid(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct uids *u = arg;

	(void)mailbox;
	u->uid[u->n++] = m->uid;
	return (u->n == BATCH);
}

/* INBOX is never deleted: it is emptied. */
int
brain_tree_empty_inbox(struct brain *b, uint32_t id)
{
	struct uids u;
	uint32_t next = 1;
	int rc;

	do {
		u.n = 0;
		rc = store_msgs(b->r->store, id, next, on_uid, &u);
		for (size_t i = 0; i < u.n && rc >= 0; i++) {
			b->result.counts.expunged++;
			brain_change(b, "INBOX", u.uid[i], "expunge");
			if (!b->params.dry_run)
				rc = b->r->ops->expunge(
				    b->r, id, u.uid[i], 0, &b->peer);
			next = u.uid[i] + 1;
		}
	} while (rc >= 0 && u.n == BATCH);
	return (rc < 0 ? rc : 0);
}

/*
 * What the tree said may have changed since: that is a reason to run again, not
 * to fail.
 */
int
brain_tree_result(struct brain *b, int rc)
{
	if (rc == -EEXIST || rc == -ENOENT || rc == -ENOTEMPTY) {
		b->result.changes_during_sync = true;
		return (0);
	}
	return (brain_bad_item(b, rc));
}

static int
apply_drops(struct brain *b)
{
	for (size_t i = b->plan.drops; i > 0; i--) {
		const struct tree_node *n = b->plan.drop[i - 1];
		int rc = 0;

		if (strcmp(n->name, "INBOX") == 0) {
			rc = brain_tree_empty_inbox(b, n->id);
			if (rc != 0)
				return (rc);
			continue;
		}
		if (!b->params.dry_run)
			rc = b->r->ops->mailbox_delete(
			    b->r, n->id, b->plan.drop_time[i - 1], &b->peer);
		if (rc == 0) {
			b->result.counts.mailboxes_deleted++;
			brain_change(b, n->name, 0, "delete mailbox");
		}
		rc = brain_tree_result(b, rc);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

/* ---- names ---- */

/* A mailbox above it that is renamed too takes it along to its name. */
static bool
goes_along(const struct brain *b, const struct tree_box *t)
{
	for (size_t i = 0; i < b->plan.n; i++) {
		const struct tree_box *up = &b->plan.box[i];
		size_t n, m;

		if (up == t || up->id == 0 || guid_is_zero(&up->guid) ||
		    strcmp(up->local->name, up->name) == 0 ||
		    !name_is_child(up->local->name, t->local->name))
			continue;
		n = strlen(up->local->name);
		m = strlen(up->name);
		if (strncmp(up->name, t->name, m) == 0 &&
		    strcmp(t->name + m, t->local->name + n) == 0)
			return (true);
	}
	return (false);
}

/*
 * Tells of the renames as a user would see them, whatever steps they took; in a
 * dry run as they would be.
 */
static int
tell_renames(struct brain *b)
{
	for (size_t i = 0; i < b->plan.n; i++) {
		const struct tree_box *t = &b->plan.box[i];
		struct mailbox m;
		int rc;

		if (t->id == 0 || guid_is_zero(&t->guid) ||
		    strcmp(t->local->name, t->name) == 0 || goes_along(b, t))
			continue;
		rc = store_mailbox(b->r->store, t->id, &m);
		if (rc != 0 && rc != -ENOENT)
			return (rc);
		if (!b->params.dry_run &&
		    (rc != 0 || strcmp(m.name, t->name) != 0))
			continue;
		b->result.counts.mailboxes_renamed++;
		brain_change(
		    b, t->local->name, 0, "rename mailbox to %s", t->name);
	}
	return (0);
}

int
brain_tree_rename(struct brain *b, uint32_t id, const char *name, int64_t time)
{
	return (b->r->ops->mailbox_rename(
	    b->r, id, name, time == 0 ? TIME_UNKNOWN : time, &b->peer));
}

/* Out of the way, to be named again by a later pass. */
static int
set_aside(struct brain *b, uint32_t id, const char *from)
{
	struct arena a = ARENA_INIT;
	struct mailbox m;
	const char *name;
	int rc = -EEXIST;

	for (unsigned i = 1; i < 1000 && rc == -EEXIST; i++) {
		name = arena_printf(&a, "%.86s-temp-%u",
		    strrchr(from, NAME_SEP) == NULL
			? from
			: strrchr(from, NAME_SEP) + 1,
		    i);
		if (name == NULL) {
			rc = -ENOMEM;
			break;
		}
		if (store_mailbox_by_name(b->r->store, name, &m) == -ENOENT)
			rc = b->r->ops->mailbox_rename(
			    b->r, id, name, RENAMED_ASIDE, &b->peer);
	}
	arena_fini(&a);
	return (rc);
}

/*
 * The directory of that name cannot go while mailboxes lie in it: they do, and
 * come back under their names in a later pass.
 */
static int
clear_below(struct brain *b, const char *name)
{
	int rc = 0;

	for (size_t i = 0; i < b->plan.n && rc == 0; i++) {
		const struct tree_box *t = &b->plan.box[i];
		struct arena a = ARENA_INIT;
		struct mailbox m;

		if (t->id != 0 && !guid_is_zero(&t->guid) &&
		    store_mailbox(b->r->store, t->id, &m) == 0 &&
		    strcmp(m.name, name) != 0 && name_is_child(name, m.name)) {
			const char *from = arena_strdup(&a, m.name);

			rc = from == NULL ? -ENOMEM : set_aside(b, t->id, from);
		}
		arena_fini(&a);
	}
	return (rc);
}

/* What stands at a name that something else shall have. */
static int
make_room(struct brain *b, const struct mailbox *m, const char *name)
{
	return (m->selectable
		? set_aside(b, m->id, name)
		: b->r->ops->mailbox_delete(b->r, m->id, 0, &b->peer));
}

/* c would go along to a name that is taken. */
static int
part_child(struct brain *b, struct tree_box *c, const char *name,
    const char *to, const struct mailbox *in_way)
{
	struct mailbox m;
	int rc;

	if (strcmp(c->name, to) == 0)
		return (make_room(b, in_way, to));
	rc = store_mailbox(b->r->store, c->id, &m);
	if (rc == 0)
		rc = make_room(b, &m, name);
	/* apply_boxes makes the directory again. */
	if (rc == 0 && guid_is_zero(&c->guid))
		c->id = 0;
	return (rc);
}

/* A child that stays, or goes elsewhere, must not be carried along. */
static int
part_children(struct brain *b, const struct tree_box *t, const char *from)
{
	struct arena a = ARENA_INIT;
	struct mailbox m, in_way;
	int rc = 0;

	for (size_t i = 0; i < b->plan.n && rc == 0; i++) {
		struct tree_box *c = &b->plan.box[i];
		const char *name, *to;

		if (c == t || c->id == 0 ||
		    store_mailbox(b->r->store, c->id, &m) != 0 ||
		    !name_is_child(from, m.name))
			continue;
		name = arena_strdup(&a, m.name);
		to = arena_printf(&a, "%s%s", t->name, m.name + strlen(from));
		if (a.error != 0)
			rc = -ENOMEM;
		else if (store_mailbox_by_name(b->r->store, to, &in_way) == 0 &&
		    in_way.exists)
			rc = part_child(b, c, name, to, &in_way);
	}
	arena_fini(&a);
	return (rc);
}

/* 1: something was renamed. */
static int
rename_one(struct brain *b, const struct tree_box *t)
{
	struct arena a = ARENA_INIT;
	struct mailbox m, in_way;
	const char *from;
	int rc = store_mailbox(b->r->store, t->id, &m);

	if (rc != 0 || strcmp(m.name, t->name) == 0)
		return (rc == -ENOENT ? 0 : rc);
	from = arena_strdup(&a, m.name);
	if (from == NULL)
		return (-ENOMEM);
	rc = store_mailbox_by_name(b->r->store, t->name, &in_way);
	/*
	 * Into itself; or to where a directory is that it lies in, which can
	 * only go when nothing is left in it.
	 */
	if (name_is_child(from, t->name) ||
	    (rc == 0 && in_way.exists && name_is_child(t->name, from))) {
		rc = set_aside(b, t->id, from);
	} else {
		if (rc == 0 && in_way.exists && in_way.id != t->id)
			rc = make_room(b, &in_way, t->name);
		else if (rc == -ENOENT)
			rc = 0;
		if (rc == 0)
			rc = part_children(b, t, from);
		if (rc == 0)
			rc = brain_tree_rename(b, t->id, t->name, t->renamed);
		if (rc == -EEXIST && (rc = clear_below(b, t->name)) == 0)
			rc = brain_tree_rename(b, t->id, t->name, t->renamed);
	}
	arena_fini(&a);
	rc = brain_tree_result(b, rc);
	return (rc != 0 ? rc : 1);
}

/*
 * Children go along with their parent, so names are looked at again until all
 * are right.
 */
static int
apply_renames(struct brain *b)
{
	for (int pass = 0; pass < RENAME_PASSES; pass++) {
		bool any = false;

		for (size_t i = 0; i < b->plan.n; i++) {
			const struct tree_box *t = &b->plan.box[i];
			int rc;

			if (t->id == 0 || guid_is_zero(&t->guid))
				continue;
			rc = rename_one(b, t);
			if (rc < 0)
				return (rc);
			any |= rc == 1;
		}
		if (!any)
			return (0);
	}
	log_warning("%s: the mailboxes' names are not settled yet; run again",
	    b->r->label);
	b->result.changes_during_sync = true;
	return (0);
}

/* ---- making ---- */

/*
 * The peer knows that the mailbox of the old GUID was deleted.  So must be
 * known here, now that it has another, or a third replica would bring the old
 * one back, and this one and that would give each other's for ever.
 */
static int
note_deleted(struct brain *b, const struct tree_box *t)
{
	const struct item_delete *gone =
	    tree_find_gone(&b->remote, GONE_MAILBOX, &t->local->guid);
	struct deletion d = {
		.kind = DELETED_MAILBOX, .guid = t->local->guid, .name = t->name
	};
	struct txn *txn;
	int rc;

	if (gone == NULL)
		return (0);
	d.time = gone->time;
	rc = txn_begin(b->r->store, &b->peer, &txn);
	if (rc != 0)
		return (rc);
	rc = txn_note_deletion(txn, &d);
	if (rc == 0)
		return (txn_commit(txn));
	txn_abort(txn);
	return (rc);
}

/* It is here under a name that this sync was told to leave out. */
static int
leave_out(struct brain *b, struct tree_box *t)
{
	if (t == NULL)
		return (0);
	memset(&t->guid, 0, sizeof(t->guid));
	return (tree_plan_index(&b->plan));
}

/*
 * Where the other's GUID is here already, under a name that is left out, the
 * two of that name are not one: each keeps its mail until all is synced.
 */
static int
apply_guid(struct brain *b, struct tree_box *t)
{
	struct mailbox_update u = { .guid = t->guid };
	struct mailbox there;
	int rc = 0;

	if (store_mailbox_by_guid(b->r->store, &t->guid, &there) == 0)
		return (leave_out(b, t));
	brain_change(b, t->name, 0, "merge mailbox");
	if (!b->params.dry_run)
		rc = b->r->ops->mailbox_update(b->r, t->id, &u, &b->peer);
	if (rc == 0 && !b->params.dry_run)
		rc = peer_states_rename(b->r->store, &t->local->guid, &t->guid);
	if (rc == 0 && !b->params.dry_run)
		rc = note_deleted(b, t);
	return (brain_tree_result(b, rc));
}

/* By now it would have been deleted, or renamed with what it lies in. */
static bool
would_be_gone(const struct brain *b, const struct mailbox *m)
{
	for (size_t i = 0; i < b->plan.drops; i++)
		if (b->plan.drop[i]->id == m->id)
			return (true);
	for (size_t i = 0; i < b->plan.n; i++) {
		const struct tree_box *t = &b->plan.box[i];

		if (t->id != 0 && strcmp(t->name, t->local->name) != 0 &&
		    (t->id == m->id || name_is_child(t->local->name, m->name)))
			return (true);
	}
	return (false);
}

/* In a dry run, with another kind of peer, the caller knows. */
static bool
dir_is_here(const struct brain *b, const char *name)
{
	struct mailbox m;

	return ((b->peer_dsyncfs || !b->params.dry_run) &&
	    store_mailbox_by_name(b->r->store, name, &m) == 0 && m.exists &&
	    !(b->params.dry_run && would_be_gone(b, &m)));
}

int
brain_tree_create(
    struct brain *b, const struct mailbox_new *m, struct tree_box *t)
{
	struct mailbox_new as = *m;
	struct mailbox there;
	uint32_t id = 0;
	int rc = 0;

	if (as.time == 0)
		as.time = TIME_UNKNOWN;
	if (!m->directory &&
	    store_mailbox_by_guid(b->r->store, &m->guid, &there) == 0)
		return (leave_out(b, t));
	if (m->directory && dir_is_here(b, m->name))
		return (0);
	if (!b->params.dry_run)
		rc = b->r->ops->mailbox_create(b->r, &as, &b->peer, &id);
	if (rc == 0) {
		if (t != NULL)
			t->id = id;
		b->result.counts.mailboxes_created++;
		brain_change(b, m->name, 0,
		    m->directory ? "create directory" : "create mailbox");
	} else if (rc == -EINVAL || rc == -ENAMETOOLONG) {
		log_error(
		    "%s: mailbox %s cannot be made here", b->r->label, m->name);
	}
	return (brain_tree_result(b, rc));
}

static int
create(struct brain *b, struct tree_box *t)
{
	struct mailbox_new m = { .name = t->name,
		.guid = t->guid,
		.directory = guid_is_zero(&t->guid),
		.time = t->renamed };

	if (t->remote != NULL)
		m.uidvalidity = t->remote->uidvalidity;
	return (brain_tree_create(b, &m, t));
}

static int
apply_boxes(struct brain *b)
{
	for (size_t i = 0; i < b->plan.n; i++) {
		struct tree_box *t = &b->plan.box[i];
		int rc = 0;

		if (t->id == 0)
			rc = create(b, t);
		else if (t->merged && !guid_eq(&t->local->guid, &t->guid))
			rc = apply_guid(b, t);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

int
brain_tree_subscribe(struct brain *b, const char *name, bool on, int64_t time)
{
	int rc = 0;

	if (!b->params.dry_run)
		rc = b->r->ops->subscribe(
		    b->r, name, on, time == 0 ? TIME_UNKNOWN : time, &b->peer);
	if (rc == 0) {
		b->result.counts.subscriptions++;
		brain_change(b, name, 0, on ? "subscribe" : "unsubscribe");
	}
	return (brain_tree_result(b, rc));
}

static int
apply_subscriptions(struct brain *b)
{
	int rc = 0;

	for (size_t i = 0; i < b->plan.subs && rc == 0; i++) {
		const struct tree_subscription *s = &b->plan.sub[i];

		rc = brain_tree_subscribe(b, s->name, s->on, s->time);
	}
	return (rc);
}

int
brain_tree_apply(struct brain *b)
{
	enum tree_mode mode = TREE_TWO_WAY;
	int rc;

	if (!b->peer_dsyncfs)
		return (brain_tree_apply_dsync(b));
	if (b->params.no_backup_overwrite)
		mode = TREE_NO_DELETE;
	else if (b->reverts)
		mode = TREE_REMOTE_IS_SOURCE;
	else if (b->source)
		mode = TREE_LOCAL_IS_SOURCE;
	rc = tree_merge(&b->local, &b->remote, mode, &b->plan);
	if (rc != 0 || b->source)
		return (rc);
	rc = guard_tree(b);
	if (rc == 0)
		rc = conflicts_tree(b);
	if (rc == 0)
		rc = apply_drops(b);
	if (rc == 0 && !b->params.dry_run)
		rc = apply_renames(b);
	if (rc == 0)
		rc = tell_renames(b);
	if (rc == 0)
		rc = apply_boxes(b);
	return (rc != 0 ? rc : apply_subscriptions(b));
}
