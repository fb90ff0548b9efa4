/*
 * tree_merge -- two trees become one plan.
 *
 * The result is computed directly instead of by a walk that renames step by
 * step: a mailbox is a pair of nodes with one GUID; the side where it was
 * renamed last names its last level, and its parent's own result names the
 * rest, so that what was created below a renamed mailbox goes along.  Every
 * choice is made by values that both sides see alike, never by who is local.
 */
#include "sync/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"

struct pair {
	struct guid guid;
	const struct tree_node *side[2]; /* 0 local, 1 remote */
	const char *final;
	int64_t renamed;
	bool dead, merged, visiting;
};

struct work {
	const struct tree *tree[2];
	enum tree_mode mode;
	/* sorted by GUID (before merging by name) */
	struct pair *pair;
	size_t n;
	/* by index of the node in its tree */
	struct pair **of_node[2];
	struct tree_plan *plan;
	struct arena *a;
};

static int
pair_cmp(const void *a, const void *b)
{
	return (guid_cmp(
	    &((const struct pair *)a)->guid, &((const struct pair *)b)->guid));
}

static size_t
index_of(const struct tree *t, const struct tree_node *n)
{
	return ((size_t)(n - t->node));
}

/* One pair per GUID, then the way back from nodes to pairs. */
static int
make_pairs(struct work *w)
{
	size_t max = w->tree[0]->n + w->tree[1]->n, n = 0, kept = 0;

	w->pair = arena_zalloc(w->a, (max + 1) * sizeof(*w->pair));
	for (int s = 0; s < 2; s++)
		w->of_node[s] = arena_zalloc(
		    w->a, (w->tree[s]->n + 1) * sizeof(*w->of_node[s]));
	if (w->a->error != 0)
		return (-ENOMEM);
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < w->tree[s]->n; i++)
			if (tree_is_mailbox(&w->tree[s]->node[i])) {
				w->pair[n].guid = w->tree[s]->node[i].guid;
				w->pair[n++].side[s] = &w->tree[s]->node[i];
			}
	if (n > 1)
		qsort(w->pair, n, sizeof(*w->pair), pair_cmp);
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 &&
		    guid_eq(&w->pair[kept - 1].guid, &w->pair[i].guid)) {
			for (int s = 0; s < 2; s++)
				if (w->pair[i].side[s] != NULL)
					w->pair[kept - 1].side[s] =
					    w->pair[i].side[s];
		} else {
			w->pair[kept++] = w->pair[i];
		}
	}
	w->n = kept;
	for (size_t i = 0; i < w->n; i++)
		for (int s = 0; s < 2; s++)
			if (w->pair[i].side[s] != NULL)
				w->of_node[s][index_of(w->tree[s],
				    w->pair[i].side[s])] = &w->pair[i];
	return (0);
}

static struct pair *
pair_at(const struct work *w, int s, const char *name)
{
	const struct tree_node *n = tree_by_name(w->tree[s], name);

	return (n == NULL ? NULL : w->of_node[s][index_of(w->tree[s], n)]);
}

/* A name as the other side hashed it. */
static const struct item_delete *
find_gone_name(struct work *w, const struct tree *t, int kind, const char *name)
{
	struct guid id;
	char *copy;

	if (t->n_gone[kind] == 0 || (copy = arena_strdup(w->a, name)) == NULL)
		return (NULL);
	for (char *p = copy; *p != '\0'; p++)
		if (*p == NAME_SEP)
			*p = t->sep;
	if (guid128_of_name(copy, &id) != 0)
		return (NULL);
	return (tree_find_gone(t, kind, &id));
}

/*
 * A mailbox that one side deleted is deleted, unless that side made a new one
 * of that name that the other does not know: then the two merge.
 */
static void
apply_deletions(struct work *w)
{
	if (w->mode != TREE_TWO_WAY)
		return;
	for (size_t i = 0; i < w->n; i++) {
		struct pair *p = &w->pair[i], *again;
		int s = p->side[0] != NULL ? 0 : 1;

		if (p->side[0] != NULL && p->side[1] != NULL)
			continue;
		if (strcmp(p->side[s]->name, "INBOX") == 0 ||
		    tree_find_gone(w->tree[!s], GONE_MAILBOX, &p->guid) == NULL)
			continue;
		again = pair_at(w, !s, p->side[s]->name);
		p->dead = again == NULL || again->side[s] != NULL;
	}
}

static bool
deleted_once(const struct work *w, const struct guid *g)
{
	return (tree_find_gone(w->tree[0], GONE_MAILBOX, g) != NULL ||
	    tree_find_gone(w->tree[1], GONE_MAILBOX, g) != NULL);
}

static bool
first_stays(const struct work *w, const struct guid *a, const struct guid *b)
{
	bool a_gone = deleted_once(w, a), b_gone = deleted_once(w, b);

	return (a_gone != b_gone ? b_gone : guid_cmp(a, b) > 0);
}

/*
 * Same name, and neither side knows the other's GUID: one mailbox, under the
 * larger GUID (backup: the source's).  One that was deleted somewhere does not
 * come back: a third replica that knows of that would delete the mailbox again.
 */
static void
merge_same_names(struct work *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct pair *p = &w->pair[i], *q;

		if (p->side[0] == NULL || p->side[1] != NULL || p->dead)
			continue;
		q = pair_at(w, 1, p->side[0]->name);
		if (q == NULL || q == p || q->dead || q->side[0] != NULL)
			continue;
		q->side[0] = p->side[0];
		q->merged = true;
		w->of_node[0][index_of(w->tree[0], p->side[0])] = q;
		p->dead = true;
		p->side[0] = NULL;
		if (w->mode == TREE_LOCAL_IS_SOURCE ||
		    (w->mode != TREE_REMOTE_IS_SOURCE &&
			first_stays(w, &p->guid, &q->guid)))
			q->guid = p->guid;
	}
}

static const char *
parent_name(struct arena *a, const char *name)
{
	const char *slash = strrchr(name, NAME_SEP);

	return (slash == NULL ? NULL
			      : arena_strndup(a, name, (size_t)(slash - name)));
}

static const char *
leaf_name(const char *name)
{
	const char *slash = strrchr(name, NAME_SEP);

	return (slash == NULL ? name : slash + 1);
}

/* When a node got its path: the newest rename of it or of one above it. */
static int64_t
effective_renamed(struct work *w, int s, const struct tree_node *n)
{
	int64_t t = n->renamed;

	for (const char *up = parent_name(w->a, n->name); up != NULL;
	     up = parent_name(w->a, up)) {
		const struct tree_node *p = tree_by_name(w->tree[s], up);

		if (p != NULL && p->renamed > t)
			t = p->renamed;
	}
	return (t);
}

/* The same name lies below different mailboxes on the two sides: these decide.
 */
static int
compare_above(struct work *w, const char *name)
{
	static const struct guid none;
	int c = 0;

	for (const char *up = parent_name(w->a, name); up != NULL && c == 0;
	     up = parent_name(w->a, up)) {
		struct pair *l = pair_at(w, 0, up), *r = pair_at(w, 1, up);

		c = guid_cmp(l == NULL || l->dead ? &none : &l->guid,
		    r == NULL || r->dead ? &none : &r->guid);
	}
	return (c);
}

static int
winner(struct work *w, const struct pair *p, int64_t *renamed)
{
	int64_t l, r;
	int c;

	if (w->mode == TREE_LOCAL_IS_SOURCE || p->side[1] == NULL) {
		*renamed = p->side[0] == NULL ? 0 : p->side[0]->renamed;
		return (p->side[0] == NULL ? 1 : 0);
	}
	if (w->mode == TREE_REMOTE_IS_SOURCE || p->side[0] == NULL) {
		*renamed = p->side[1]->renamed;
		return (1);
	}
	l = effective_renamed(w, 0, p->side[0]);
	r = effective_renamed(w, 1, p->side[1]);
	*renamed = l > r ? l : r;
	if (l != r)
		return (l > r ? 0 : 1);
	c = strcmp(p->side[0]->name, p->side[1]->name);
	if (c == 0)
		c = compare_above(w, p->side[0]->name);
	return (c <= 0 ? 0 : 1);
}

static const char *resolve(struct work *w, struct pair *p);

/* What becomes of a path of tree s. */
static const char *
resolve_path(struct work *w, int s, const char *name)
{
	struct pair *p = pair_at(w, s, name);
	const char *up, *res;

	if (p != NULL && !p->dead && !p->visiting)
		return (resolve(w, p));
	up = parent_name(w->a, name);
	if (up == NULL || (p != NULL && p->visiting))
		return (name);
	res = resolve_path(w, s, up);
	return (res == NULL
		? NULL
		: arena_printf(w->a, "%s/%s", res, leaf_name(name)));
}

static const char *
resolve(struct work *w, struct pair *p)
{
	const char *up, *res, *name;
	int s;

	if (p->final != NULL)
		return (p->final);
	s = winner(w, p, &p->renamed);
	name = p->side[s]->name;
	for (int k = 0; k < 2; k++)
		if (p->side[k] != NULL &&
		    strcmp(p->side[k]->name, "INBOX") == 0 &&
		    w->mode < TREE_LOCAL_IS_SOURCE)
			name = "INBOX";
	up = parent_name(w->a, name);
	p->visiting = true;
	/*
	 * Backup takes the source's names as they are.  Names that would become
	 * too long stay as they were.
	 */
	res = up == NULL || w->mode >= TREE_LOCAL_IS_SOURCE
	    ? NULL
	    : resolve_path(w, s, up);
	p->visiting = false;
	if (res != NULL)
		res = arena_printf(w->a, "%s/%s", res, leaf_name(name));
	p->final = res != NULL && name_valid(res) ? res : name;
	return (p->final);
}

/* ---- collisions ---- */

/*
 * Who keeps the name: the one that both sides know, the newer, the smaller
 * GUID.
 */
static int
claim_cmp(const void *a, const void *b)
{
	const struct pair *x = *(struct pair *const *)a,
			  *y = *(struct pair *const *)b;
	bool bx = x->side[0] != NULL && x->side[1] != NULL,
	     by = y->side[0] != NULL && y->side[1] != NULL;
	int c = strcmp(x->final, y->final);

	if (c != 0)
		return (c);
	if (bx != by)
		return (bx ? -1 : 1);
	if (x->renamed != y->renamed)
		return (x->renamed > y->renamed ? -1 : 1);
	return (guid_cmp(&x->guid, &y->guid));
}

static int
guid_order(const void *a, const void *b)
{
	const struct pair *const *x = a, *const *y = b;

	return (guid_cmp(&(*x)->guid, &(*y)->guid));
}

static const char *
other_name(struct work *w, const struct pair *p)
{
	char hex[GUID_HEX_LEN + 1];
	size_t n = strlen(p->final), leaf = strlen(leaf_name(p->final));

	guid_hex(&p->guid, hex);
	if (leaf > 200)
		n -= leaf - 200;
	while (n > 0 && ((unsigned char)p->final[n] & 0xc0) == 0x80)
		n--;
	return (arena_printf(w->a, "%.*s-%s", (int)n, p->final, hex));
}

static int
settle_names(struct work *w, struct pair ***sorted, size_t *n)
{
	struct pair **list = arena_alloc(w->a, (w->n + 1) * sizeof(*list));
	size_t used = 0;

	if (list == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < w->n; i++)
		if (!w->pair[i].dead)
			list[used++] = &w->pair[i];
	/*
	 * Where names depend on each other in a circle the first one decides,
	 * so the order must be the same on both sides.
	 */
	if (used > 1)
		qsort(list, used, sizeof(*list), guid_order);
	for (size_t i = 0; i < used; i++)
		(void)resolve(w, list[i]);
	if (w->a->error != 0)
		return (-ENOMEM);
	if (used > 1)
		qsort(list, used, sizeof(*list), claim_cmp);
	for (size_t i = 1, first = 0; i < used; i++) {
		if (strcmp(list[first]->final, list[i]->final) != 0) {
			first = i;
			continue;
		}
		list[i]->final = other_name(w, list[i]);
		if (list[i]->final == NULL)
			return (-ENOMEM);
		/* Keep comparing with the first: its name did not change. */
	}
	if (used > 1)
		qsort(list, used, sizeof(*list), claim_cmp);
	*sorted = list;
	*n = used;
	return (0);
}

/* ---- the plan ---- */

static int
box_cmp(const void *a, const void *b)
{
	return (strcmp(((const struct tree_box *)a)->name,
	    ((const struct tree_box *)b)->name));
}

static bool
has_box(const struct tree_plan *p, size_t mailboxes, const char *name)
{
	struct tree_box key = { .name = name };

	return (mailboxes > 0 &&
	    bsearch(&key, p->box, mailboxes, sizeof(key), box_cmp) != NULL);
}

/* In the result something lies below name. */
static bool
has_children(struct work *w, size_t mailboxes, const char *name)
{
	const char *below = arena_printf(w->a, "%s/", name);
	const struct tree_box *box = w->plan->box;
	size_t lo = 0, hi = mailboxes, mid;

	while (below != NULL && lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (strcmp(box[mid].name, below) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (below != NULL && lo < mailboxes &&
	    strncmp(box[lo].name, below, strlen(below)) == 0);
}

static bool
side_counts(const struct work *w, int s)
{
	return (!(w->mode == TREE_LOCAL_IS_SOURCE && s == 1) &&
	    !(w->mode == TREE_REMOTE_IS_SOURCE && s == 0));
}

static bool
dir_deleted(struct work *w, int s, const struct tree_node *n)
{
	const struct item_delete *d;
	const struct tree_node *o = tree_by_name(w->tree[!s], n->name);

	if (w->mode != TREE_TWO_WAY || (o != NULL && o->existence == EXISTS))
		return (false);
	d = find_gone_name(w, w->tree[!s], GONE_DIR, n->name);
	return (d != NULL && d->time > n->renamed);
}

static int
add_dirs(struct work *w, size_t mailboxes)
{
	struct tree_plan *p = w->plan;
	size_t kept = mailboxes;

	for (int s = 0; s < 2; s++)
		for (size_t i = 0; side_counts(w, s) && i < w->tree[s]->n;
		     i++) {
			const struct tree_node *n = &w->tree[s]->node[i];
			const char *final;

			if (n->existence != EXISTS || !guid_is_zero(&n->guid))
				continue;
			final = w->mode >= TREE_LOCAL_IS_SOURCE
			    ? n->name
			    : resolve_path(w, s, n->name);
			if (final == NULL)
				return (-ENOMEM);
			if (has_box(p, mailboxes, final) ||
			    (dir_deleted(w, s, n) &&
				!has_children(w, mailboxes, final)))
				continue;
			p->box[p->n++] = (struct tree_box){ .name = final,
				.renamed = n->renamed,
				.id = s == 0 ? n->id : 0,
				.local = s == 0 ? n : NULL,
				.remote = s == 1 ? n : NULL };
		}
	if (p->n > 1)
		qsort(p->box, p->n, sizeof(*p->box), box_cmp);
	/* The same directory from both sides is one. */
	for (size_t i = kept = 0; i < p->n; i++) {
		if (kept > 0 &&
		    strcmp(p->box[kept - 1].name, p->box[i].name) == 0) {
			if (p->box[kept - 1].local == NULL) {
				p->box[kept - 1].local = p->box[i].local;
				p->box[kept - 1].id = p->box[i].id;
			}
			if (p->box[kept - 1].remote == NULL)
				p->box[kept - 1].remote = p->box[i].remote;
			continue;
		}
		p->box[kept++] = p->box[i];
	}
	p->n = kept;
	return (0);
}

/* Which local nodes the result uses, by index. */
static bool *
used_nodes(struct work *w)
{
	const struct tree *l = w->tree[0];
	bool *used = arena_zalloc(w->a, (l->n + 1) * sizeof(*used));

	for (size_t i = 0; used != NULL && i < w->plan->n; i++)
		if (w->plan->box[i].local != NULL)
			used[index_of(l, w->plan->box[i].local)] = true;
	return (used);
}

/* What the local side has and the result has not. */
static int
add_drops(struct work *w)
{
	const struct tree *l = w->tree[0];
	struct tree_plan *p = w->plan;
	bool *used = used_nodes(w);

	p->drop = arena_alloc(w->a, (l->n + 1) * sizeof(*p->drop));
	p->drop_time = arena_zalloc(w->a, (l->n + 1) * sizeof(*p->drop_time));
	if (w->a->error != 0)
		return (-ENOMEM);
	if (w->mode != TREE_TWO_WAY && w->mode != TREE_REMOTE_IS_SOURCE)
		return (0);
	for (size_t i = 0; i < l->n; i++) {
		const struct tree_node *n = &l->node[i];
		const struct item_delete *d;
		bool dir = guid_is_zero(&n->guid);

		if (n->existence != EXISTS || used[i])
			continue;
		/*
		 * A directory that merely went elsewhere, or became a mailbox,
		 * is dropped only when the other side said so.
		 */
		if (dir && w->mode == TREE_TWO_WAY &&
		    (has_box(p, p->n, n->name) || !dir_deleted(w, 0, n)))
			continue;
		if (dir && has_box(p, p->n, n->name))
			continue;
		d = dir ? find_gone_name(w, w->tree[1], GONE_DIR, n->name)
			: tree_find_gone(w->tree[1], GONE_MAILBOX, &n->guid);
		p->drop_time[p->drops] = d == NULL ? 0 : d->time;
		p->drop[p->drops++] = n;
	}
	return (0);
}

struct sub_view {
	bool on;
	int64_t time;
};

static struct sub_view
sub_of(struct work *w, int s, const char *name)
{
	const struct tree_node *n = tree_by_name(w->tree[s], name);
	const struct item_delete *d;

	if (n != NULL)
		return ((struct sub_view){
		    n->subscribed, n->subscription_changed });
	d = find_gone_name(w, w->tree[s], GONE_SUBSCRIPTION, name);
	return ((struct sub_view){ false, d == NULL ? 0 : d->time });
}

static int
add_subscriptions(struct work *w)
{
	struct tree_plan *p = w->plan;

	p->sub = arena_alloc(
	    w->a, (w->tree[0]->n + w->tree[1]->n + 1) * sizeof(*p->sub));
	if (p->sub == NULL)
		return (-ENOMEM);
	if (w->mode == TREE_LOCAL_IS_SOURCE)
		return (0);
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < w->tree[s]->n; i++) {
			const char *name = w->tree[s]->node[i].name;
			struct sub_view l, r;
			bool take;

			if (s == 1 && tree_by_name(w->tree[0], name) != NULL)
				continue;
			l = sub_of(w, 0, name);
			r = sub_of(w, 1, name);
			take = w->mode == TREE_REMOTE_IS_SOURCE ||
			    r.time > l.time || (r.time == l.time && r.on);
			if (l.on == r.on || !take)
				continue;
			p->sub[p->subs++] =
			    (struct tree_subscription){ name, r.on, r.time };
		}
	return (w->a->error);
}

static int
box_guid_cmp(const void *a, const void *b)
{
	const struct tree_box *const *x = a, *const *y = b;

	return (guid_cmp(&(*x)->guid, &(*y)->guid));
}

int
tree_plan_index(struct tree_plan *p)
{
	if (p->by_guid == NULL)
		p->by_guid =
		    arena_alloc(&p->arena, (p->n + 1) * sizeof(*p->by_guid));
	if (p->by_guid == NULL)
		return (-ENOMEM);
	p->mailboxes = 0;
	for (size_t i = 0; i < p->n; i++)
		if (!guid_is_zero(&p->box[i].guid))
			p->by_guid[p->mailboxes++] = &p->box[i];
	if (p->mailboxes > 1)
		qsort(p->by_guid, p->mailboxes, sizeof(*p->by_guid),
		    box_guid_cmp);
	return (0);
}

int
tree_merge(const struct tree *local, const struct tree *remote,
    enum tree_mode mode, struct tree_plan *out)
{
	struct work w = { .tree = { local, remote },
		.mode = mode,
		.plan = out,
		.a = &out->arena };
	struct pair **sorted;
	size_t n;
	int rc;

	memset(out, 0, sizeof(*out));
	arena_init(&out->arena);
	rc = make_pairs(&w);
	if (rc != 0)
		goto fail;
	apply_deletions(&w);
	merge_same_names(&w);
	for (size_t i = 0; i < w.n; i++)
		for (int s = 0; s < 2; s++)
			if (!side_counts(&w, s) && w.pair[i].side[!s] == NULL)
				w.pair[i].dead = true;
	rc = settle_names(&w, &sorted, &n);
	if (rc != 0)
		goto fail;
	out->box = arena_zalloc(
	    w.a, (n + local->n + remote->n + 1) * sizeof(*out->box));
	rc = out->box == NULL ? -ENOMEM : 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		out->box[out->n++] =
		    (struct tree_box){ .name = sorted[i]->final,
			    .guid = sorted[i]->guid,
			    .local = sorted[i]->side[0],
			    .remote = sorted[i]->side[1],
			    .id = sorted[i]->side[0] == NULL
				? 0
				: sorted[i]->side[0]->id,
			    .renamed = sorted[i]->renamed,
			    .merged = sorted[i]->merged };
	if (rc == 0)
		rc = add_dirs(&w, n);
	if (rc == 0)
		rc = tree_plan_index(out);
	if (rc == 0)
		rc = add_drops(&w);
	if (rc == 0)
		rc = add_subscriptions(&w);
	if (rc == 0)
		return (0);
fail:
	tree_plan_fini(out);
	return (rc);
}

void
tree_plan_fini(struct tree_plan *p)
{
	arena_fini(&p->arena);
	memset(p, 0, sizeof(*p));
}

const struct tree_box *
tree_plan_by_guid(const struct tree_plan *p, const struct guid *g)
{
	size_t lo = 0, hi = p->mailboxes, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (guid_cmp(&p->by_guid[mid]->guid, g) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo < p->mailboxes && guid_eq(&p->by_guid[lo]->guid, g)
		? p->by_guid[lo]
		: NULL);
}
