/*
 * tree_dsync -- the steps of specs/dsync-protocol.md 4.3 to 4.7 around the
 * walk: deletions, creations, directories, subscriptions, and the plan.
 */
#include "sync/tree_dsync_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/name.h"

/* Some ten seconds; ten thousand mailboxes, each renamed, need a third of it.
 */
#define STEPS 400000000

int
tree_name_id(
    const char *name, char sep, char escape, char alt_char, struct guid *out)
{
	struct buf b = BUF_INIT;
	int rc;

	for (; *name != '\0'; name++) {
		if (*name == NAME_SEP)
			buf_put_u8(&b, (uint8_t)sep);
		else if (escape != '\0' && (*name == escape || *name == sep))
			buf_printf(&b, "%c%02x", escape, (unsigned char)*name);
		else if (*name == sep)
			buf_put_u8(
			    &b, (uint8_t)(alt_char == '\0' ? '_' : alt_char));
		else
			buf_put_u8(&b, (uint8_t)*name);
	}
	rc = b.error != 0 ? b.error : guid128_of_name(buf_cstr(&b), out);
	buf_fini(&b);
	return (rc);
}

/* ---- the trees ---- */

/* Times are added to; nobody has renamed anything before 1970. */
static int64_t
sane(int64_t time)
{
	return (time < 0 ? 0 : time > INT64_MAX / 2 ? INT64_MAX / 2 : time);
}

static struct dnode *
add_level(struct dsync *w, struct dtree *t, struct dnode *parent,
    const char *name, size_t len)
{
	char level[NAME_MAX_BYTES + 1];
	const char *copy;
	struct dnode *n;

	if (len > NAME_MAX_BYTES)
		len = NAME_MAX_BYTES;
	memcpy(level, name, len);
	level[len] = '\0';
	n = dnode_find(t, parent, level);
	if (n != NULL)
		return (n);
	copy = arena_strdup(w->a, level);
	if (copy == NULL) {
		w->error = -ENOMEM;
		return (NULL);
	}
	return (dnode_new(w, t, parent, copy));
}

static const struct dnode *
find_path(const struct dtree *t, const char *name)
{
	const struct dnode *n = &t->root;
	char level[NAME_MAX_BYTES + 1];

	for (;; name++) {
		size_t len = strcspn(name, "/");

		if (len > NAME_MAX_BYTES)
			return (NULL);
		memcpy(level, name, len);
		level[len] = '\0';
		n = dnode_find(t, n, level);
		name += len;
		if (n == NULL || *name == '\0')
			return (n);
	}
}

static struct dnode *
add_path(struct dsync *w, struct dtree *t, const char *name)
{
	struct dnode *n = &t->root;

	for (;; name++) {
		size_t len = strcspn(name, "/");

		n = add_level(w, t, n, name, len);
		name += len;
		if (n == NULL || *name == '\0')
			return (n);
	}
}

static void
build(struct dsync *w, int side, const struct tree *from)
{
	struct dtree *t = &w->t[side];

	t->root.name = "";
	t->root.existence = PLACEHOLDER;
	for (size_t i = 0; i < from->n && w->error == 0; i++) {
		const struct tree_node *f = &from->node[i];
		struct dnode *n = add_path(w, t, f->name);

		if (n == NULL)
			return;
		n->was = f;
		n->existence = f->existence == EXISTS ? EXISTS : PLACEHOLDER;
		n->renamed = sane(f->renamed);
		n->subscribed = f->subscribed;
		n->subscription_changed = sane(f->subscription_changed);
		if (!tree_is_mailbox(f))
			continue;
		n->guid = f->guid;
		n->uidvalidity = f->uidvalidity;
		if (dnode_add_guid(t, n) != 0)
			w->error = -ENOMEM;
	}
}

/* ---- 4.3: deletions ---- */

struct hashed {
	struct guid id;
	struct dnode *node;
};

struct hashes {
	struct hashed *v;
	size_t n;
};

static int
hashed_cmp(const void *a, const void *b)
{
	return (guid_cmp(
	    &((const struct hashed *)a)->id, &((const struct hashed *)b)->id));
}

static void
hash_below(struct dsync *w, struct dnode *n, const struct tree *sender,
    struct hashes *h)
{
	for (n = n->child; n != NULL && w->error == 0; n = n->next) {
		struct arena a = ARENA_INIT;
		const char *name = dnode_path(&a, n);

		h->v[h->n].node = n;
		if (name == NULL ||
		    tree_name_id(name, sender->sep, sender->escape, w->alt_char,
			&h->v[h->n++].id) != 0)
			w->error = -ENOMEM;
		arena_fini(&a);
		hash_below(w, n, sender, h);
	}
}

/* All names of a tree as the sender of the records spells them. */
static void
hash_names(struct dsync *w, struct dtree *t, const struct tree *sender,
    struct hashes *h)
{
	h->n = 0;
	h->v = NULL;
	if (sender->n_gone[GONE_DIR] + sender->n_gone[GONE_SUBSCRIPTION] == 0)
		return;
	h->v = calloc(t->n + 1, sizeof(*h->v));
	if (h->v == NULL)
		w->error = -ENOMEM;
	else
		hash_below(w, &t->root, sender, h);
	if (h->n > 1)
		qsort(h->v, h->n, sizeof(*h->v), hashed_cmp);
}

static struct dnode *
of_hash(const struct hashes *h, const struct guid *id)
{
	struct hashed key = { .id = *id }, *found = NULL;

	if (h->n > 0)
		found = bsearch(&key, h->v, h->n, sizeof(key), hashed_cmp);
	return (found == NULL ? NULL : found->node);
}

/* base still has what the record is about, target is the deleter's tree. */
static void
delete_one(struct dsync *w, const struct dnode *base, struct dtree *target,
    int kind, const struct item_delete *d)
{
	struct dnode *n = dnode_like(w, target, base);

	/* It has been made again there. */
	if (n == NULL ||
	    (n->existence == EXISTS &&
		(!dnode_is_dir(n) || kind != GONE_MAILBOX)))
		return;
	if (kind == GONE_SUBSCRIPTION) {
		n->subscription_changed = sane(d->time);
		n->subscribed = false;
		return;
	}
	n->existence = DELETED;
	n->gone = sane(d->time);
	if (kind != GONE_MAILBOX)
		return;
	n->guid = base->guid;
	if (dnode_add_guid(target, n) != 0)
		w->error = -ENOMEM;
}

static bool
counts(const struct dsync *w, int base, int kind, const struct dnode *n,
    const struct item_delete *d)
{
	if (kind == GONE_SUBSCRIPTION)
		return (d->time > n->subscription_changed);
	if (base == LOCAL && w->mode == TREE_NO_DELETE)
		return (false);
	if (kind == GONE_DIR)
		return (d->time > n->renamed);
	return (!(base == LOCAL && dnode_is_inbox(&w->t[LOCAL], n)));
}

static void
apply_gone(struct dsync *w, int base, const struct tree *sender)
{
	struct hashes h;

	hash_names(w, &w->t[base], sender, &h);
	for (int kind = 0; kind < 3; kind++)
		for (size_t i = 0; i < sender->n_gone[kind] && w->error == 0;
		     i++) {
			const struct item_delete *d = &sender->gone[kind][i];
			struct dnode *n = kind == GONE_MAILBOX
			    ? dnode_of_guid(&w->t[base], &d->id)
			    : of_hash(&h, &d->id);

			if (n != NULL && counts(w, base, kind, n, d))
				delete_one(w, n, &w->t[!base], kind, d);
		}
	free(h.v);
}

/* ---- 4.4, steps A, B and E ---- */

static void
delete_box(struct dsync *w, int side, struct dnode *n, int64_t time)
{
	struct tree_action *a;

	if (side == LOCAL && n->existence != DELETED && n->was != NULL &&
	    (a = dsync_todo(w, TREE_DELETE_BOX, dnode_name(w, n), NULL)) !=
		NULL) {
		a->guid = n->guid;
		a->time = time;
		w->todo[w->n - 1].was = n->was;
	}
	dnode_set_deleted(n);
}

static void
delete_and_sort(struct dsync *w, int side, struct dnode *parent)
{
	dnode_sort_children(w, parent);
	for (struct dnode *n = parent->child; n != NULL && w->error == 0;
	     n = n->next) {
		delete_and_sort(w, side, n);
		if (n->existence != DELETED || dnode_is_dir(n))
			continue;
		if (w->mode != TREE_REMOTE_IS_SOURCE && n->twin != NULL)
			delete_box(w, !side, n->twin, n->gone);
		dnode_set_deleted(n);
	}
}

static void
find_twins(struct dsync *w, struct dnode *parent)
{
	for (struct dnode *n = parent->child; n != NULL; n = n->next) {
		n->twin = dnode_of_guid(&w->t[REMOTE], &n->guid);
		if (n->twin != NULL)
			n->twin->twin = n;
		find_twins(w, n);
	}
}

static void
push_times(struct dnode *n)
{
	for (struct dnode *c = n->child; c != NULL; c = c->next) {
		if (c->renamed < n->renamed)
			c->renamed = n->renamed;
		push_times(c);
	}
}

/* What the source of a backup has not; wanted is the same place there. */
static void
delete_unwanted(
    struct dsync *w, struct dnode *parent, const struct dnode *wanted)
{
	const struct dnode *there;

	for (struct dnode *n = parent->child; n != NULL && w->error == 0;
	     n = n->next) {
		there = wanted == NULL
		    ? NULL
		    : dnode_find(&w->t[REMOTE], wanted, n->name);
		delete_unwanted(w, n, there);
		if (n->existence != EXISTS || dnode_is_dir(n) ||
		    n->twin != NULL ||
		    (there != NULL && there->existence == EXISTS &&
			!dnode_is_dir(there)))
			continue;
		delete_box(w, LOCAL, n, there == NULL ? 0 : there->gone);
	}
}

/* ---- 4.5 ---- */

static void
make_box(struct dsync *w, enum tree_act act, struct dnode *n,
    const struct dnode *like)
{
	struct tree_action *a = dsync_todo(w, act, dnode_name(w, n), n);

	if (a == NULL)
		return;
	a->guid = like->guid;
	a->uidvalidity = like->uidvalidity;
	a->time = like->was == NULL ? 0 : sane(like->was->renamed);
}

/*
 * dsync forgets what it has made when it begins again, and makes a second
 * mailbox of that GUID when the place has another name by then; here the first
 * one stays, for the next run to rename.
 */
static void
create(struct dsync *w, int side, struct dnode *n)
{
	struct dnode *o = n->twin;

	if (o == NULL)
		o = n->made != NULL ? n->made : dnode_like(w, &w->t[!side], n);
	if (o == NULL)
		return;
	if (dnode_is_dir(o)) {
		o->existence = EXISTS;
		o->uidvalidity = n->uidvalidity;
		o->guid = n->guid;
		o->twin = n;
		if (side == REMOTE)
			make_box(w, TREE_CREATE_BOX, o, n);
	} else if (side == LOCAL || guid_eq(&o->guid, &n->guid)) {
		return;
	} else if (n->made != o) {
		make_box(w, TREE_MERGE_BOX, o, n);
	}
	n->made = o;
	o->made = n;
}

static void
create_below(struct dsync *w, int side, struct dnode *n)
{
	for (n = n->child; n != NULL && w->error == 0; n = n->next) {
		if (!dnode_is_dir(n))
			create(w, side, n);
		create_below(w, side, n);
	}
}

/* ---- 4.7 ---- */

static bool
local_subscription_wins(
    const struct dsync *w, const struct dnode *l, const struct dnode *r)
{
	return (w->mode != TREE_REMOTE_IS_SOURCE &&
	    (l->subscription_changed > r->subscription_changed ||
		(l->subscription_changed == r->subscription_changed &&
		    l->subscribed)));
}

static struct tree_action *
subscribe(struct dsync *w, const char *name, bool on, int64_t time)
{
	struct tree_action *a =
	    dsync_todo(w, on ? TREE_SUBSCRIBE : TREE_UNSUBSCRIBE, name, NULL);

	if (a != NULL)
		a->time = time;
	return (a);
}

/* Where dsync itself leaves the two lists of names different. */
static void
subscribe_extra(struct dsync *w, const char *name, bool on, int64_t time)
{
	struct tree_action *a = subscribe(w, name, on, time);

	if (a != NULL)
		a->extra = true;
}

static bool
was_subscribed(const struct dsync *w, int side, const char *name)
{
	const struct tree_node *n = tree_by_name(w->from[side], name);

	return (n != NULL && n->subscribed);
}

/*
 * Both sides go by what a node says, and a node that was renamed says what was
 * true of its old name: each side changes its list of names only where the
 * nodes differ.  acts: the own side does.
 */
static void
names_differ(
    struct dsync *w, const struct dnode *l, const struct dnode *r, bool acts)
{
	struct arena a = ARENA_INIT;
	const char *name = dnode_path(&a, l);
	int64_t time = r->subscription_changed;
	bool here, there;

	if (name == NULL) {
		w->error = -ENOMEM;
		return;
	}
	here = acts ? r->subscribed : was_subscribed(w, LOCAL, name);
	there = was_subscribed(w, REMOTE, name);
	if (!acts && l->subscribed != r->subscribed) {
		there = l->subscribed;
		time = l->subscription_changed;
	}
	if (here != there && (there || w->mode == TREE_REMOTE_IS_SOURCE))
		subscribe_extra(w, dnode_name(w, l), there, time);
	else if (here != there)
		w->unsettled = true;
	arena_fini(&a);
}

static void
subscription(struct dsync *w, struct dnode *l, struct dnode *r)
{
	bool acts =
	    l->subscribed != r->subscribed && !local_subscription_wins(w, l, r);

	if (acts)
		(void)subscribe(w, dnode_name(w, l), r->subscribed,
		    r->subscription_changed);
	if (w->moved)
		names_differ(w, l, r, acts);
}

/* A name that no node has any more is still in a list of names. */
static void
left_subscription(struct dsync *w, int side, const struct tree_node *n)
{
	if (!n->subscribed || was_subscribed(w, !side, n->name) ||
	    (find_path(&w->t[side], n->name) != NULL &&
		find_path(&w->t[!side], n->name) != NULL))
		return;
	if (w->mode != TREE_REMOTE_IS_SOURCE)
		w->unsettled = true;
	else
		subscribe_extra(w, n->name, side == REMOTE,
		    side == REMOTE ? n->subscription_changed : 0);
}

static void
left_subscriptions(struct dsync *w)
{
	for (int s = 0; s < 2 && w->moved; s++)
		for (size_t i = 0; i < w->from[s]->n; i++)
			left_subscription(w, s, &w->from[s]->node[i]);
}

/* The directory here goes when the other side deleted, or never had it. */
static bool
drops_dir(struct dsync *w, const struct dnode *l, const struct dnode *r)
{
	return (l->existence == EXISTS && dnode_is_dir(l) &&
	    (r->existence == DELETED ||
		(w->mode == TREE_REMOTE_IS_SOURCE && r->existence != EXISTS)) &&
	    !dnode_has_existing(w, l, false));
}

static void dirs(struct dsync *w, struct dnode *l, struct dnode *r);

static void
dir_pair(struct dsync *w, struct dnode *l, struct dnode *r)
{
	struct tree_action *a;

	if (l->existence == EXISTS && r->existence == PLACEHOLDER &&
	    w->mode != TREE_REMOTE_IS_SOURCE) {
		r->existence = EXISTS;
	} else if (r->existence == EXISTS && l->existence == PLACEHOLDER) {
		l->existence = EXISTS;
		a = dsync_todo(w, TREE_CREATE_DIR, dnode_name(w, l), l);
		if (a != NULL)
			a->time = r->was == NULL ? 0 : sane(r->was->renamed);
	}
	dirs(w, l, r);
	subscription(w, l, r);
	if (l->existence == DELETED && r->existence == EXISTS &&
	    !dnode_has_existing(w, l, false)) {
		r->existence = PLACEHOLDER;
	} else if (drops_dir(w, l, r)) {
		l->existence = PLACEHOLDER;
		a = dsync_todo(w, TREE_DELETE_DIR, dnode_name(w, l), NULL);
		if (a != NULL)
			a->time = r->gone;
	}
}

/* What has no counterpart is a place that leads nowhere any more. */
static void
dirs(struct dsync *w, struct dnode *l, struct dnode *r)
{
	l = l->child;
	r = r->child;
	while (l != NULL && r != NULL && dsync_step(w)) {
		int c = strcmp(l->name, r->name);

		if (c == 0)
			dir_pair(w, l, r);
		if (c <= 0)
			l = l->next;
		if (c >= 0)
			r = r->next;
	}
}

/* ---- the plan ---- */

/* What n was, where it is still that. */
static const struct tree_node *
was_local(const struct dnode *n)
{
	return (n->was != NULL && n->was->existence == EXISTS &&
		    guid_eq(&n->was->guid, &n->guid)
		? n->was
		: NULL);
}

static void
add_box(struct dsync *w, struct tree_plan *p, struct dnode *n,
    const struct dnode *there)
{
	const struct dnode *r = n->twin != NULL ? n->twin : there;
	struct tree_box *b = &p->box[p->n];

	b->name = dnode_name(w, n);
	if (b->name == NULL) {
		w->error = -ENOMEM;
		return;
	}
	b->guid = n->guid;
	b->local = was_local(n);
	b->remote = r == NULL ? NULL : r->was;
	b->id = b->local == NULL ? 0 : b->local->id;
	b->renamed = n->renamed;
	n->box = p->n++;
}

/* there: the same place in the other tree, or NULL */
static void
add_boxes(struct dsync *w, struct tree_plan *p, struct dnode *parent,
    const struct dnode *there)
{
	for (struct dnode *n = parent->child; n != NULL && w->error == 0;
	     n = n->next) {
		const struct dnode *r = there == NULL
		    ? NULL
		    : dnode_find(&w->t[REMOTE], there, n->name);

		if (n->existence == EXISTS)
			add_box(w, p, n, r);
		add_boxes(w, p, n, r);
	}
}

/* Both sides made it: which GUID it gets (tree_dsync.h). */
static void
merge_guids(const struct dsync *w, struct tree_box *b, const struct guid *g)
{
	b->merged = true;
	if (w->mode == TREE_REMOTE_IS_SOURCE) {
		b->guid = *g;
	} else if (guid_cmp(g, &b->guid) > 0) {
		b->other = b->guid;
		b->guid = *g;
	} else {
		b->other = *g;
	}
}

static int
make_plan(struct dsync *w, struct tree_plan *p)
{
	size_t most = w->t[LOCAL].n + 1;

	p->box = arena_zalloc(w->a, most * sizeof(*p->box));
	p->drop = arena_alloc(w->a, most * sizeof(*p->drop));
	p->drop_time = arena_alloc(w->a, most * sizeof(*p->drop_time));
	p->action = arena_alloc(w->a, (w->n + 1) * sizeof(*p->action));
	if (w->a->error != 0)
		return (-ENOMEM);
	add_boxes(w, p, &w->t[LOCAL].root, &w->t[REMOTE].root);
	for (size_t i = 0; i < w->n && w->error == 0; i++) {
		struct tree_action *a = &p->action[p->actions++];

		*a = w->todo[i].a;
		a->box =
		    w->todo[i].node == NULL ? SIZE_MAX : w->todo[i].node->box;
		if (a->act == TREE_MERGE_BOX && a->box != SIZE_MAX)
			merge_guids(w, &p->box[a->box], &a->guid);
		if (a->act != TREE_DELETE_BOX)
			continue;
		p->drop[p->drops] = w->todo[i].was;
		p->drop_time[p->drops++] = a->time;
	}
	return (w->error);
}

/* Steps A to G; D can only be followed by the whole again. */
static void
settle(struct dsync *w)
{
	size_t again = 0, nodes;
	bool temps;

	find_twins(w, &w->t[LOCAL].root);
	do {
		temps = false;
		nodes = w->t[LOCAL].n + w->t[REMOTE].n;
		delete_and_sort(w, REMOTE, &w->t[REMOTE].root);
		delete_and_sort(w, LOCAL, &w->t[LOCAL].root);
		w->sorted = true;
		push_times(&w->t[LOCAL].root);
		push_times(&w->t[REMOTE].root);
		dsync_renames(w, nodes, &temps);
		if (w->mode == TREE_REMOTE_IS_SOURCE)
			delete_unwanted(
			    w, &w->t[LOCAL].root, &w->t[REMOTE].root);
		create_below(w, REMOTE, &w->t[REMOTE].root);
		if (w->mode != TREE_REMOTE_IS_SOURCE)
			create_below(w, LOCAL, &w->t[LOCAL].root);
	} while (temps && w->error == 0 && again++ <= nodes * 3);
	dirs(w, &w->t[LOCAL].root, &w->t[REMOTE].root);
	left_subscriptions(w);
}

/* The source of a backup stays as it is, whatever the peer has. */
static const struct tree *
peer_tree(const struct tree *remote, enum tree_mode mode)
{
	static const struct tree nothing;

	return (mode == TREE_LOCAL_IS_SOURCE ? &nothing : remote);
}

int
tree_dsync(const struct tree *local, const struct tree *remote,
    enum tree_mode mode, char alt_char, struct tree_plan *out)
{
	struct dsync w = { .mode = mode,
		.alt_char = alt_char,
		.a = &out->arena,
		.from = { local, peer_tree(remote, mode) },
		.steps = STEPS };
	int rc;

	memset(out, 0, sizeof(*out));
	arena_init(&out->arena);
	build(&w, LOCAL, local);
	build(&w, REMOTE, peer_tree(remote, mode));
	if (mode != TREE_LOCAL_IS_SOURCE) {
		apply_gone(&w, LOCAL, remote);
		if (mode != TREE_REMOTE_IS_SOURCE)
			apply_gone(&w, REMOTE, local);
	}
	if (w.error == 0)
		settle(&w);
	rc = w.error != 0 ? w.error : make_plan(&w, out);
	out->unsettled = w.unsettled;
	if (rc == 0)
		rc = tree_plan_index(out);
	free(w.todo);
	dtree_fini(&w.t[LOCAL]);
	dtree_fini(&w.t[REMOTE]);
	if (rc != 0)
		tree_plan_fini(out);
	return (rc);
}
