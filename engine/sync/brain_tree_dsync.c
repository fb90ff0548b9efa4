/*
 * brain_tree_dsync -- brings the own tree to what tree_dsync says, when the
 * peer is another kind of dsync: one action after the other, by name, since
 * each counts on those before it (specs/dsync-protocol.md 4.8).
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"
#include "sync/tree_dsync.h"

/* ---- what the peer is told ---- */

/*
 * A Dovecot that is the source of a backup has nothing to do with what was here
 * before, and may abort over it ("key not found from hash"): it is told its own
 * tree, as soon as that has come, and no deletions.
 */
bool
brain_tree_echoes(const struct brain *b)
{
	return (b->reverts && !b->peer_dsyncfs);
}

int
brain_tree_echo(struct brain *b)
{
	struct item *i;
	int rc = brain_tree_send_nodes(b, &b->remote);

	if (rc == 0)
		rc = item_new(ITEM_DELETES, &i);
	if (rc != 0)
		return (rc);
	b->sent_deletes = true;
	i->u.deletes.sep = b->local.sep;
	return (brain_send(b, i));
}

/* ---- renaming ---- */

struct below {
	const char *from, *to;
	struct arena arena;
	/* the last one taken: what lies below it goes along */
	const char *top;
	struct rename {
		struct rename *next;
		uint32_t id;
		const char *to;
	} * first, **end;
};

static int
on_below(void *arg, const struct mailbox *m)
{
	struct below *w = arg;
	struct rename *r;

	if (!m->exists || !name_is_child(w->from, m->name) ||
	    (w->top != NULL && name_is_child(w->top, m->name)))
		return (0);
	r = arena_zalloc(&w->arena, sizeof(*r));
	if (r == NULL)
		return (-ENOMEM);
	r->id = m->id;
	w->top = arena_strdup(&w->arena, m->name);
	r->to =
	    arena_printf(&w->arena, "%s%s", w->to, m->name + strlen(w->from));
	*w->end = r;
	w->end = &r->next;
	return (w->arena.error);
}

/*
 * A place that is no mailbox of its own has no entry here: what lies right
 * below it is renamed.
 */
static int
rename_path(struct brain *b, const struct tree_action *a)
{
	struct below w = { .from = a->name, .to = a->to };
	int rc = 0;

	w.end = &w.first;
	arena_init(&w.arena);
	if (!b->params.dry_run) {
		rc = store_mailboxes(b->r->store, on_below, &w);
		if (rc == 0 && w.first == NULL)
			rc = -ENOENT;
	}
	for (struct rename *r = w.first; r != NULL && rc == 0; r = r->next)
		rc = brain_tree_rename(b, r->id, r->to, a->time);
	arena_fini(&w.arena);
	if (rc == 0) {
		b->result.counts.mailboxes_renamed++;
		brain_change(b, a->name, 0, "rename mailbox to %s", a->to);
	}
	return (brain_tree_result(b, rc));
}

/* ---- deleting ---- */

static int
delete_node(struct brain *b, const struct tree_action *a)
{
	bool box = a->act == TREE_DELETE_BOX;
	struct mailbox m;
	int rc = box ? store_mailbox_by_guid(b->r->store, &a->guid, &m)
		     : store_mailbox_by_name(b->r->store, a->name, &m);

	if (rc == 0 && box && strcmp(m.name, "INBOX") == 0)
		return (brain_tree_empty_inbox(b, m.id));
	if (rc == 0 && !box && (!m.exists || m.selectable))
		rc = m.exists ? -EEXIST : -ENOENT;
	if (rc == 0 && !b->params.dry_run)
		rc = b->r->ops->mailbox_delete(b->r, m.id, a->time, &b->peer);
	if (b->params.dry_run)
		rc = 0; /* a rename before it was not made */
	if (rc == 0 && box)
		b->result.counts.mailboxes_deleted++;
	if (rc == 0)
		brain_change(
		    b, a->name, 0, box ? "delete mailbox" : "delete directory");
	return (brain_tree_result(b, rc));
}

/* ---- making ---- */

static bool
is_or_below(const char *name, const char *what)
{
	return (strcmp(name, what) == 0 || name_is_child(name, what));
}

/* In a dry run: what the actions before this one would have left there. */
static bool
would_be_here(struct brain *b, const struct tree_action *a)
{
	struct mailbox m;
	bool here =
	    store_mailbox_by_name(b->r->store, a->name, &m) == 0 && m.exists;

	for (const struct tree_action *p = b->plan.action; p < a; p++) {
		if ((p->act == TREE_RENAME && is_or_below(p->name, a->name)) ||
		    (p->act == TREE_DELETE_DIR &&
			strcmp(p->name, a->name) == 0))
			here = false;
		if ((p->act == TREE_RENAME && is_or_below(a->name, p->to)) ||
		    ((p->act == TREE_CREATE_BOX || p->act == TREE_CREATE_DIR) &&
			is_or_below(a->name, p->name)))
			here = true;
	}
	return (here);
}

static int
make(struct brain *b, const struct tree_action *a)
{
	struct mailbox_new m = { .name = a->name,
		.guid = a->guid,
		.uidvalidity = a->uidvalidity,
		.directory = a->act == TREE_CREATE_DIR,
		.time = a->time };

	if (m.directory && b->params.dry_run && would_be_here(b, a))
		return (0);
	return (brain_tree_create(
	    b, &m, a->box == SIZE_MAX ? NULL : &b->plan.box[a->box]));
}

/* The other's GUID is that of another mailbox here: a filter left it out. */
static bool
are_two(struct brain *b, const struct tree_box *t)
{
	const struct guid *g =
	    guid_eq(&t->guid, &t->local->guid) ? &t->other : &t->guid;
	struct mailbox m;

	return (!guid_is_zero(g) &&
	    store_mailbox_by_guid(b->r->store, g, &m) == 0 && m.id != t->id);
}

/*
 * Which GUID stays is settled when the master names one; the source of a
 * backup has settled it.
 */
static int
merge(struct brain *b, const struct tree_action *a)
{
	struct tree_box *t = a->box == SIZE_MAX ? NULL : &b->plan.box[a->box];

	if (t == NULL)
		return (0);
	if (t->local != NULL && are_two(b, t)) {
		t->guid = t->local->guid;
		memset(&t->other, 0, sizeof(t->other));
		return (tree_plan_index(&b->plan));
	}
	brain_change(b, a->name, 0, "merge mailbox");
	if (!b->reverts || b->params.dry_run)
		return (0);
	return (brain_tree_result(b, brain_tree_take_guid(b, t, &t->guid)));
}

int
brain_tree_take_guid(
    struct brain *b, const struct tree_box *t, const struct guid *g)
{
	struct mailbox_update u = { .guid = *g };
	struct tree_box *mine = &b->plan.box[t - b->plan.box];
	struct mailbox m;
	int rc = 0;

	if (!b->source && !b->params.dry_run) {
		rc = store_mailbox(b->r->store, t->id, &m);
		if (rc == 0 && !guid_eq(&m.guid, g)) {
			rc = b->r->ops->mailbox_update(
			    b->r, t->id, &u, &b->peer);
			if (rc == 0)
				rc =
				    peer_states_rename(b->r->store, &m.guid, g);
		}
	}
	if (rc != 0)
		return (rc);
	mine->guid = *g;
	memset(&mine->other, 0, sizeof(mine->other));
	return (tree_plan_index(&b->plan));
}

const struct tree_box *
brain_tree_box(struct brain *b, const struct guid *g)
{
	const struct tree_box *t = tree_plan_by_guid(&b->plan, g);

	if (b->peer_dsyncfs)
		return (t);
	for (size_t i = 0; i < b->plan.n && t == NULL; i++)
		if (guid_eq(&b->plan.box[i].other, g) && !guid_is_zero(g))
			t = &b->plan.box[i];
	return (t);
}

/* ---- all of it ---- */

static int
act(struct brain *b, const struct tree_action *a)
{
	switch (a->act) {
	case TREE_DELETE_BOX:
	case TREE_DELETE_DIR:
		return (delete_node(b, a));
	case TREE_RENAME:
		return (rename_path(b, a));
	case TREE_CREATE_BOX:
	case TREE_CREATE_DIR:
		return (make(b, a));
	case TREE_MERGE_BOX:
		return (merge(b, a));
	case TREE_SUBSCRIBE:
	case TREE_UNSUBSCRIBE:
		break;
	}
	return (brain_tree_subscribe(
	    b, a->name, a->act == TREE_SUBSCRIBE, a->time));
}

/* The source of a one-way merge goes by its own GUID first. */
static int
prefer_own(struct brain *b)
{
	for (size_t i = 0; i < b->plan.n; i++) {
		struct tree_box *t = &b->plan.box[i];

		if (!t->merged || t->local == NULL ||
		    guid_eq(&t->guid, &t->local->guid))
			continue;
		t->other = t->guid;
		t->guid = t->local->guid;
	}
	return (tree_plan_index(&b->plan));
}

int
brain_tree_apply_dsync(struct brain *b)
{
	enum tree_mode mode = TREE_TWO_WAY;
	int rc;

	if (b->reverts)
		mode = TREE_REMOTE_IS_SOURCE;
	else if (b->source && !b->params.no_backup_overwrite)
		mode = TREE_LOCAL_IS_SOURCE;
	else if (b->params.no_backup_overwrite && !b->source)
		mode = TREE_NO_DELETE;
	rc = tree_dsync(
	    &b->local, &b->remote, mode, b->params.alt_char, &b->plan);
	if (rc == 0 && b->source)
		rc = prefer_own(b);
	if (rc == 0 && b->plan.unsettled && b->imports)
		b->result.changes_during_sync = true;
	if (rc != 0 || b->source)
		return (rc);
	rc = guard_tree(b);
	if (rc == 0)
		rc = conflicts_tree(b);
	for (size_t i = 0; i < b->plan.actions && rc == 0; i++)
		rc = act(b, &b->plan.action[i]);
	return (rc);
}
