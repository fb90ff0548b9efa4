/*
 * tree_dsync_node -- nodes of the two trees: finding, making, moving.
 */
#include "sync/tree_dsync_internal.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"

bool
dsync_step(struct dsync *w)
{
	if (w->error != 0)
		return (false);
	if (w->steps > 0) {
		w->steps--;
		return (true);
	}
	log_error("the mailboxes of both sides were renamed in so many ways "
		  "that no common tree can be found; rename some on one side "
		  "by hand, then run again");
	w->error = -ELOOP;
	return (false);
}

struct tree_action *
dsync_todo(struct dsync *w, enum tree_act act, const char *name,
    const struct dnode *node)
{
	struct todo *t;

	if (name == NULL)
		w->error = -ENOMEM;
	if (w->n == w->cap && w->error == 0) {
		size_t cap = w->cap == 0 ? 32 : w->cap * 2;

		t = reallocarray(w->todo, cap, sizeof(*t));
		if (t == NULL) {
			w->error = -ENOMEM;
			return (NULL);
		}
		w->todo = t;
		w->cap = cap;
	}
	if (w->error != 0)
		return (NULL);
	t = &w->todo[w->n++];
	memset(t, 0, sizeof(*t));
	t->a.act = act;
	t->a.name = name;
	t->node = node;
	return (&t->a);
}

/* ---- finding ---- */

static int
place_cmp(const void *a, const void *b)
{
	const struct dnode *x = a, *y = b;

	if (x->parent != y->parent)
		return ((uintptr_t)x->parent < (uintptr_t)y->parent ? -1 : 1);
	return (strcmp(x->name, y->name));
}

static int
guid_order(const void *a, const void *b)
{
	return (guid_cmp(&((const struct dnode *)a)->guid,
	    &((const struct dnode *)b)->guid));
}

struct dnode *
dnode_find(const struct dtree *t, const struct dnode *parent, const char *name)
{
	struct dnode key = { .parent = (struct dnode *)(uintptr_t)parent,
		.name = name };
	struct dnode *const *found = tfind(&key, &t->by_place, place_cmp);

	return (found == NULL ? NULL : *found);
}

struct dnode *
dnode_of_guid(const struct dtree *t, const struct guid *g)
{
	struct dnode key = { .guid = *g };
	struct dnode *const *found =
	    guid_is_zero(g) ? NULL : tfind(&key, &t->by_guid, guid_order);

	return (found == NULL ? NULL : *found);
}

const char *
dnode_path(struct arena *a, const struct dnode *n)
{
	const struct dnode *p;
	size_t len = 0, part;
	char *out;

	for (p = n; p->parent != NULL; p = p->parent)
		len += strlen(p->name) + 1;
	out = arena_alloc(a, len + 1);
	if (out == NULL)
		return (NULL);
	/* A root has the empty name. */
	out[len > 0 ? --len : 0] = '\0';
	for (p = n; p->parent != NULL; p = p->parent) {
		part = strlen(p->name);
		memcpy(out + (len -= part), p->name, part);
		if (len > 0)
			out[--len] = NAME_SEP;
	}
	return (out);
}

const char *
dnode_name(struct dsync *w, const struct dnode *n)
{
	const char *path = dnode_path(w->a, n);

	if (path != NULL && !name_valid(path))
		path = name_fix(w->a, path, w->alt_char);
	return (path);
}

bool
dnode_inside(const struct dnode *n, const struct dnode *ancestor)
{
	for (; n != NULL; n = n->parent)
		if (n == ancestor)
			return (true);
	return (false);
}

bool
dnode_is_inbox(const struct dtree *t, const struct dnode *n)
{
	return (n->parent == &t->root && strcmp(n->name, "INBOX") == 0);
}

bool
dnode_has_existing(struct dsync *w, const struct dnode *n, bool mailboxes)
{
	for (n = n->child; n != NULL && dsync_step(w); n = n->next)
		if ((n->existence == EXISTS &&
			!(mailboxes && dnode_is_dir(n))) ||
		    dnode_has_existing(w, n, mailboxes))
			return (true);
	return (false);
}

bool
dnode_existent(struct dsync *w, const struct dnode *n)
{
	return (n->existence == EXISTS || dnode_has_existing(w, n, false));
}

/* ---- changing ---- */

static int
enter(struct dtree *t, struct dnode *n)
{
	struct dnode **at = tsearch(n, &t->by_place, place_cmp);

	/* D1: whoever gives a name has seen that it is free. */
	assert(at == NULL || *at == n);
	return (at == NULL ? -ENOMEM : 0);
}

static void
leave(struct dtree *t, struct dnode *n)
{
	(void)tdelete(n, &t->by_place, place_cmp);
	if (n->prev == NULL)
		n->parent->child = n->next;
	else
		n->prev->next = n->next;
	if (n->next != NULL)
		n->next->prev = n->prev;
}

static void
link_behind(struct dnode *n, struct dnode *prev)
{
	struct dnode **at = prev == NULL ? &n->parent->child : &prev->next;

	n->prev = prev;
	n->next = *at;
	if (n->next != NULL)
		n->next->prev = n;
	*at = n;
}

static struct dnode *
make(struct dsync *w, struct dtree *t, struct dnode *parent, const char *name)
{
	struct dnode *n;

	if (t->n == NODES_MAX) {
		if (w->error == 0)
			log_error("there are too many mailboxes, or too many "
				  "levels of them, on one side");
		w->error = -E2BIG;
		return (NULL);
	}
	n = arena_zalloc(w->a, sizeof(*n));
	if (n == NULL) {
		w->error = -ENOMEM;
		return (NULL);
	}
	n->existence = PLACEHOLDER;
	n->name = name;
	n->parent = parent;
	n->box = SIZE_MAX;
	if (enter(t, n) != 0) {
		w->error = -ENOMEM;
		return (NULL);
	}
	t->n++;
	return (n);
}

struct dnode *
dnode_insert(struct dsync *w, struct dtree *t, struct dnode *parent,
    struct dnode *prev, const char *name)
{
	struct dnode *n = make(w, t, parent, name);

	if (n != NULL)
		link_behind(n, prev);
	return (n);
}

struct dnode *
dnode_new(
    struct dsync *w, struct dtree *t, struct dnode *parent, const char *name)
{
	return (dnode_insert(w, t, parent, NULL, name));
}

/* Behind whom a name belongs; NULL: it is the first. */
static struct dnode *
predecessor(struct dnode *parent, const char *name, struct dnode *near)
{
	struct dnode *next;

	if (near != NULL &&
	    (near->parent != parent || strcmp(near->name, name) >= 0))
		near = NULL;
	next = near == NULL ? parent->child : near->next;
	for (; next != NULL && strcmp(next->name, name) < 0; next = next->next)
		near = next;
	return (near);
}

struct dnode *
dnode_like(struct dsync *w, struct dtree *t, const struct dnode *other)
{
	struct dnode *parent, *n;

	if (other->parent == NULL)
		return (&t->root);
	parent = dnode_like(w, t, other->parent);
	if (parent == NULL)
		return (NULL);
	n = dnode_find(t, parent, other->name);
	if (n == NULL)
		n = dnode_insert(w, t, parent,
		    w->sorted ? predecessor(parent, other->name, NULL) : NULL,
		    other->name);
	return (n);
}

static unsigned
height(struct dsync *w, const struct dnode *n)
{
	unsigned most = 0;

	for (n = n->child; n != NULL && dsync_step(w); n = n->next) {
		unsigned h = height(w, n);

		most = h > most ? h : most;
	}
	return (most + 1);
}

void
dnode_place(struct dsync *w, struct dtree *t, struct dnode *n,
    struct dnode *parent, const char *name, struct dnode *near)
{
	unsigned depth = height(w, n);

	for (const struct dnode *up = parent; up != NULL; up = up->parent)
		depth++;
	if (depth > DEPTH_MAX && w->error == 0) {
		w->steps = 0; /* D4 */
		(void)dsync_step(w);
	}
	if (w->error != 0)
		return;
	if (near == n)
		near = n->prev;
	leave(t, n);
	n->parent = parent;
	n->name = name;
	link_behind(n, predecessor(parent, name, near));
	if (enter(t, n) != 0)
		w->error = -ENOMEM;
}

bool
dnode_give_up(
    struct dsync *w, struct dtree *t, struct dnode *parent, const char *name)
{
	struct dnode *n = dnode_find(t, parent, name);

	if (n == NULL)
		return (true);
	if (dnode_existent(w, n))
		return (false);
	leave(t, n);
	return (true);
}

static int
sibling_cmp(const void *a, const void *b)
{
	return (strcmp((*(struct dnode *const *)a)->name,
	    (*(struct dnode *const *)b)->name));
}

void
dnode_sort_children(struct dsync *w, struct dnode *n)
{
	struct dnode **v, *c;
	size_t count = 0, i = 0;

	for (c = n->child; c != NULL; c = c->next)
		count++;
	if (count < 2)
		return;
	v = reallocarray(NULL, count, sizeof(struct dnode *));
	if (v == NULL) {
		w->error = -ENOMEM;
		return;
	}
	for (c = n->child; c != NULL; c = c->next)
		v[i++] = c;
	qsort(v, count, sizeof(struct dnode *), sibling_cmp);
	n->child = v[0];
	for (i = 0; i < count; i++) {
		v[i]->prev = i > 0 ? v[i - 1] : NULL;
		v[i]->next = i + 1 < count ? v[i + 1] : NULL;
	}
	free(v);
}

int
dnode_add_guid(struct dtree *t, struct dnode *n)
{
	return (tsearch(n, &t->by_guid, guid_order) == NULL ? -ENOMEM : 0);
}

/* For the rest of this sync it is as if it were done. */
void
dnode_set_deleted(struct dnode *n)
{
	static const struct guid none;

	if (n->twin != NULL)
		n->twin->twin = NULL;
	n->twin = NULL;
	n->existence = DELETED;
	n->guid = none;
	n->uidvalidity = 0;
}

static void
forget(void *node)
{
	(void)node; /* the arena's */
}

void
dtree_fini(struct dtree *t)
{
	tdestroy(t->by_place, forget);
	tdestroy(t->by_guid, forget);
}
