/*
 * tree_dsync_internal -- the two trees while tree_dsync works on them.
 *
 * D1  Siblings have different names, and are sorted by them once the deletions
 *     are known.
 * D2  by_place holds every node but the root, by_guid those mailboxes that a
 *     side had before the sync, or is said to have deleted.
 * D3  A node's twin is the mailbox of its GUID that was in the other tree
 * before the sync and was not deleted by it. D4  No node lies deeper than
 * DEPTH_MAX, so recursion is safe.
 */
#ifndef DSYNCFS_SYNC_TREE_DSYNC_INTERNAL_H
#define DSYNCFS_SYNC_TREE_DSYNC_INTERNAL_H

#include "sync/tree_dsync.h"

#define DEPTH_MAX 3000 /* names have 2048 levels at most */
#define NODES_MAX 2000000 /* of one tree */

enum { LOCAL, REMOTE };

struct dnode {
	struct dnode *parent, *prev, *next, *child;
	const char *name; /* of its level; in the plan's arena */
	enum existence existence;
	/* zero: a directory, or a place that only leads to others */
	struct guid guid;
	/* D3; NULL: none */
	struct dnode *twin;
	uint32_t uidvalidity;
	int64_t renamed, subscription_changed;
	bool subscribed;
	bool temp; /* its name is a temporary one */
	/* NULL: not there before the sync */
	const struct tree_node *was;
	/* what was made from, or merged with, it in the other tree */
	struct dnode *made;
	/* time of the record that deleted it */
	int64_t gone;
	/* index into the plan's boxes, once they are made */
	size_t box;
};

struct dtree {
	struct dnode root;
	/* tsearch(3) trees of dnodes */
	void *by_place, *by_guid;
	size_t n; /* nodes, without the root */
};

struct todo {
	struct tree_action a;
	const struct dnode *node; /* whose box it makes, or NULL */
	const struct tree_node *was; /* what it deletes, or NULL */
};

struct dsync {
	struct dtree t[2];
	enum tree_mode mode;
	char alt_char;
	struct arena *a; /* the plan's */
	struct todo *todo; /* owned */
	size_t n, cap;
	/* D1 holds */
	bool sorted;
	/* something was renamed; then: subscriptions or names will differ */
	bool moved, unsettled;
	const struct tree *from[2];
	/* steps that are left, so that no peer can keep us busy for ever */
	uint64_t steps;
	/* sticky: -ENOMEM, -ELOOP, -E2BIG */
	int error;
};

static inline bool
dnode_is_dir(const struct dnode *n)
{
	return (guid_is_zero(&n->guid));
}

/* tree_dsync_node.c */
struct dnode *dnode_find(
    const struct dtree *t, const struct dnode *parent, const char *name);
/* zero finds nothing */
struct dnode *dnode_of_guid(const struct dtree *t, const struct guid *g);
/* the first of its siblings: dsync_delete_and_sort puts it right; NULL: error
 */
struct dnode *dnode_new(
    struct dsync *w, struct dtree *t, struct dnode *parent, const char *name);
/* behind prev (NULL: as the first), its right place among the siblings */
struct dnode *dnode_insert(struct dsync *w, struct dtree *t,
    struct dnode *parent, struct dnode *prev, const char *name);
/* The node at other's path, made where there is none. */
struct dnode *dnode_like(
    struct dsync *w, struct dtree *t, const struct dnode *other);
/*
 * To another parent, or name, or both.  near: a node that may stand right
 * before the new place, or NULL.
 */
void dnode_place(struct dsync *w, struct dtree *t, struct dnode *n,
    struct dnode *parent, const char *name, struct dnode *near);
/*
 * True: the name is free below parent, or has become so, since nothing exists
 * there.
 */
bool dnode_give_up(
    struct dsync *w, struct dtree *t, struct dnode *parent, const char *name);
void dnode_sort_children(struct dsync *w, struct dnode *n);
int dnode_add_guid(struct dtree *t, struct dnode *n);
void dnode_set_deleted(struct dnode *n);
void dtree_fini(struct dtree *t);
const char *dnode_path(struct arena *a, const struct dnode *n);
/* As the store can have it: the walk may have made the name too long. */
const char *dnode_name(struct dsync *w, const struct dnode *n);
/* Something below it exists; mailboxes: directories do not count. */
bool dnode_has_existing(struct dsync *w, const struct dnode *n, bool mailboxes);
/* it, or something below it, exists */
bool dnode_existent(struct dsync *w, const struct dnode *n);
/* n is ancestor, or below it */
bool dnode_inside(const struct dnode *n, const struct dnode *ancestor);
bool dnode_is_inbox(const struct dtree *t, const struct dnode *n);
/* False (and the error): there are no steps left. */
bool dsync_step(struct dsync *w);
/* Appends; node may be NULL.  NULL: no memory. */
struct tree_action *dsync_todo(struct dsync *w, enum tree_act act,
    const char *name, const struct dnode *node);

/* tree_dsync_rename.c: steps C and D.  Sets *temps when D named something. */
void dsync_renames(struct dsync *w, size_t nodes, bool *temps);

#endif
