/*
 * tree_dsync_rename -- steps C and D of specs/dsync-protocol.md 4.4: both trees
 * are walked at once, from the start again after each rename, until each
 * mailbox lies at the same place in both.
 *
 * A rename in the tree of the own side is something to do; one in the picture
 * of the peer's tree is what the peer is expected to do.
 */
#include "sync/tree_dsync_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"

#define TEMP_NAME_MAX 100
#define TEMP_PREFIX_MAX 86
#define PASSES_PER_NODE 3

/* ---- moving ---- */

/* What has to be done here for n's new place; from: its name before. */
static void
renamed(struct dsync *w, const struct dtree *t, const struct dnode *n,
    const char *from, int64_t time)
{
	struct tree_action *a;
	const char *to;

	w->moved = true;
	if (t != &w->t[LOCAL] || w->error != 0 || !dnode_existent(w, n))
		return;
	to = dnode_name(w, n);
	if (to == NULL)
		w->error = -ENOMEM;
	else if (strcmp(from, to) != 0 &&
	    (a = dsync_todo(w, TREE_RENAME, from, NULL)) != NULL) {
		a->to = to;
		a->time = time;
	}
}

static const char *
name_here(struct dsync *w, const struct dtree *t, const struct dnode *n)
{
	const char *name = t == &w->t[LOCAL] ? dnode_name(w, n) : "";

	if (name == NULL)
		w->error = -ENOMEM;
	return (name);
}

/*
 * TEMP.  A name that is temporary already keeps its "-temp", as in dsync: only
 * the counter is cut off.  dsync does not look whether the new name is free
 * below another parent, and may have two of one name then.
 */
static void
to_temp(struct dsync *w, struct dtree *t, struct dnode *n, struct dnode *parent)
{
	size_t keep = strnlen(n->name, TEMP_PREFIX_MAX);
	const char *from = name_here(w, t, n), *dash = strrchr(n->name, '-');
	char name[TEMP_NAME_MAX + 1];
	unsigned counter = 1;

	if (n->temp && dash != NULL && keep > (size_t)(dash - n->name))
		keep = (size_t)(dash - n->name);
	do {
		(void)snprintf(name, sizeof(name), "%.*s-temp-%x", (int)keep,
		    n->name, counter++);
	} while (dsync_step(w) &&
	    (dnode_find(t, n->parent, name) != NULL ||
		!dnode_give_up(w, t, parent, name)));
	n->temp = true;
	n->renamed = 0;
	dash = arena_strdup(w->a, name);
	if (dash == NULL)
		w->error = -ENOMEM;
	if (w->error != 0)
		return;
	dnode_place(w, t, n, parent, dash, n);
	renamed(w, t, n, from, 0);
}

/*
 * MOVE: n goes where like, in the other tree, is; victim, which is there, out
 * of its way.
 */
static void
move(struct dsync *w, struct dtree *t, struct dnode *victim, struct dnode *n,
    const struct dnode *like)
{
	struct dnode *parent = dnode_like(w, t, like->parent),
		     *near = victim->prev;
	const char *from;

	if (parent == NULL)
		return;
	if (dnode_inside(parent, n)) {
		to_temp(w, t, n, &t->root);
		return;
	}
	to_temp(w, t, victim, victim->parent);
	from = name_here(w, t, n);
	if (w->error != 0)
		return;
	n->temp = like->temp;
	n->renamed = like->renamed;
	dnode_place(w, t, n, parent, like->name, near);
	renamed(w, t, n, from, n->renamed);
}

/* ---- who wins ---- */

/* Neither a root nor INBOX is ever renamed. */
static bool
is_fixed(const struct dtree *t, const struct dnode *n)
{
	return (n != NULL && (n == &t->root || dnode_is_inbox(t, n)));
}

static int64_t
newest(const struct dnode *a, const struct dnode *b)
{
	int64_t t = 0;

	if (a != NULL && !a->temp)
		t = a->renamed + 1;
	if (b != NULL && !b->temp && b->renamed + 1 > t)
		t = b->renamed + 1;
	return (t);
}

/*
 * CMP, with the siblings that follow.  dsync compares names where all that is
 * alike; then both hold the same, and nothing is to be renamed.
 */
static int
cmp(struct dsync *w, const struct dnode *a, const struct dnode *b)
{
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		bool x = a->existence == EXISTS, y = b->existence == EXISTS;
		int c = x != y ? (x ? -1 : 1) : guid_cmp(&a->guid, &b->guid);

		if (c == 0 && dsync_step(w))
			c = cmp(w, a->child, b->child);
		if (c != 0 || w->error != 0)
			return (c);
	}
	return (a == NULL && b == NULL ? 0 : a != NULL ? -1 : 1);
}

/* < 0: the own side names them, > 0: the peer, 0: nobody. */
static int
winner(
    struct dsync *w, struct dnode *const here[2], struct dnode *const there[2])
{
	int64_t l = newest(here[LOCAL], there[LOCAL]),
		r = newest(here[REMOTE], there[REMOTE]);

	if (w->mode == TREE_REMOTE_IS_SOURCE)
		return (1);
	if (l != r)
		return (l > r ? -1 : 1);
	return (cmp(w, here[LOCAL], here[REMOTE]));
}

/* ---- the walk ---- */

/*
 * RESOLVE: here are the two nodes at the current place, there[s] what
 * corresponds in tree s to the other tree's here; it may be NULL.
 *
 * Case c cannot be: with there[s] above here[s] its place was visited before,
 * and here[o], which lies below that place, was moved from there.
 */
static bool
resolve(
    struct dsync *w, struct dnode *const here[2], struct dnode *const there[2])
{
	int c, s, o;
	struct dtree *ts, *to;

	for (s = 0; s < 2; s++)
		if (is_fixed(&w->t[s], here[s]) || is_fixed(&w->t[s], there[s]))
			return (false);
	c = winner(w, here, there);
	if (c == 0 || w->error != 0)
		return (false);
	s = c < 0 ? LOCAL : REMOTE;
	o = !s;
	ts = &w->t[s];
	to = &w->t[o];
	if (there[s] != NULL && there[o] == here[o])
		return (false);
	if (there[o] != NULL)
		move(w, to, here[o], there[o], here[s]);
	else if (there[s] == NULL)
		return (false);
	else if (w->mode != TREE_REMOTE_IS_SOURCE &&
	    dnode_inside(there[s], here[s]))
		to_temp(w, ts, there[s], here[s]->parent);
	else if (here[s]->existence == EXISTS)
		to_temp(w, to, here[o], here[o]->parent);
	else
		return (false);
	return (true);
}

static bool
conflict(struct dsync *w, struct dnode *l, struct dnode *r)
{
	struct dnode *here[2] = { l, r }, *there[2] = { r->twin, l->twin };

	for (int s = 0; s < 2; s++)
		if (there[s] != NULL && there[s]->existence == EXISTS)
			return (resolve(w, here, there));
	return (false);
}

/*
 * The directory of the other tree that holds what dir holds; only the first
 * mailbox that is known there counts.
 */
static struct dnode *
branch(struct dsync *w, const struct dnode *dir)
{
	struct dnode *found;

	for (const struct dnode *n = dir->child; n != NULL && dsync_step(w);
	     n = n->next) {
		found = dnode_is_dir(n) ? branch(w, n) : n->twin;
		if (found != NULL && found->parent != NULL)
			return (found->parent);
	}
	return (NULL);
}

static bool
same_path(const struct dnode *a, const struct dnode *b)
{
	for (; a->parent != NULL && b->parent != NULL;
	     a = a->parent, b = b->parent)
		if (strcmp(a->name, b->name) != 0)
			return (false);
	return (a->parent == NULL && b->parent == NULL);
}

static bool
directory(struct dsync *w, struct dnode *l, struct dnode *r)
{
	struct dnode *here[2] = { l, r },
		     *there[2] = { branch(w, r), branch(w, l) };

	if (there[LOCAL] == NULL || there[REMOTE] == NULL ||
	    same_path(there[REMOTE], there[LOCAL]))
		return (false);
	return (resolve(w, here, there));
}

/*
 * The next pair, behind n; where one side has no such name, it gets a place.
 * False: there is none.
 */
static bool
next_pair(struct dsync *w, struct dnode *const parent[2], struct dnode *n[2])
{
	struct dnode *next[2];
	int c, s;

	for (s = 0; s < 2; s++)
		next[s] = n[s] == NULL ? parent[s]->child : n[s]->next;
	if ((next[LOCAL] == NULL && next[REMOTE] == NULL) || !dsync_step(w))
		return (false);
	c = next[LOCAL] == NULL ? 1
	    : next[REMOTE] == NULL
	    ? -1
	    : strcmp(next[LOCAL]->name, next[REMOTE]->name);
	if (c != 0) {
		s = c > 0 ? LOCAL : REMOTE;
		next[s] =
		    dnode_insert(w, &w->t[s], parent[s], n[s], next[!s]->name);
		if (next[s] == NULL)
			return (false);
		next[s]->temp = next[!s]->temp;
	}
	n[LOCAL] = next[LOCAL];
	n[REMOTE] = next[REMOTE];
	return (true);
}

/* True: something was renamed, what was seen before is no longer so. */
static bool
walk(struct dsync *w, struct dnode *lparent, struct dnode *rparent)
{
	struct dnode *const parent[2] = { lparent, rparent };
	struct dnode *n[2] = { NULL, NULL };
	bool changed;

	while (next_pair(w, parent, n)) {
		if (dnode_is_dir(n[LOCAL]) && dnode_is_dir(n[REMOTE]))
			changed = directory(w, n[LOCAL], n[REMOTE]);
		else if (guid_eq(&n[LOCAL]->guid, &n[REMOTE]->guid))
			changed = false;
		else
			changed = conflict(w, n[LOCAL], n[REMOTE]);
		if (!changed &&
		    (n[LOCAL]->child != NULL || n[REMOTE]->child != NULL))
			changed = walk(w, n[LOCAL], n[REMOTE]);
		if (changed)
			return (true);
	}
	return (false);
}

/* ---- step D ---- */

static bool
hash_first(struct dsync *w, const struct dnode *n, struct digest *d)
{
	for (n = n->child; n != NULL && dsync_step(w); n = n->next) {
		if (n->existence == EXISTS) {
			int rc = digest_add(d, n->guid.b, sizeof(n->guid.b));

			if (rc == 0)
				rc = digest_add(d, n->name, strlen(n->name));
			if (rc != 0)
				w->error = rc;
			return (true);
		}
		if (hash_first(w, n, d))
			return (true);
	}
	return (false);
}

static void
suffix_of(struct dsync *w, const struct dnode *n, char out[2 * MD5_LEN + 1])
{
	uint8_t sum[MD5_LEN] = { 0 };
	struct digest *d;
	int rc;

	if (!dnode_is_dir(n)) {
		(void)guid_hex(&n->guid, out);
		return;
	}
	rc = digest_new(DIGEST_MD5, &d);
	if (rc == 0) {
		(void)hash_first(w, n, d);
		rc = digest_final(d, sum);
		digest_free(d);
	}
	if (rc != 0)
		w->error = rc;
	hex_encode(sum, sizeof(sum), out);
}

/* The last digit that can be is counted up; false: none. */
static bool
count_up(char *hex, size_t n)
{
	while (n-- > 0)
		if (hex[n] != 'f') {
			hex[n] = hex[n] == '9' ? 'a' : (char)(hex[n] + 1);
			return (true);
		}
	return (false);
}

static void
final_name(struct dsync *w, struct dtree *t, struct dnode *n)
{
	const char *dash = strrchr(n->name, '-'), *from = name_here(w, t, n);
	char name[TEMP_NAME_MAX + 1], suffix[2 * MD5_LEN + 1];
	size_t keep = dash == NULL ? 0 : (size_t)(dash + 1 - n->name);
	char *copy;

	suffix_of(w, n, suffix);
	if (keep > TEMP_NAME_MAX - 2 * MD5_LEN - 1)
		keep = TEMP_NAME_MAX - 2 * MD5_LEN - 1;
	(void)snprintf(
	    name, sizeof(name), "%.*s%s", (int)keep, n->name, suffix);
	while (dsync_step(w) && dnode_find(t, n->parent, name) != NULL)
		if (!count_up(name + keep, 2 * MD5_LEN))
			w->steps = 0;
	copy = arena_strdup(w->a, name);
	if (copy == NULL)
		w->error = -ENOMEM;
	if (w->error != 0)
		return;
	n->temp = false;
	/* A Dovecot does not do that: it keeps the temporary name. */
	if (t == &w->t[REMOTE])
		w->unsettled = true;
	dnode_place(w, t, n, n->parent, copy, n);
	renamed(w, t, n, from, 0);
}

/* A temporary place without mailboxes: what directories it has go, too. */
static void
drop_dirs(struct dsync *w, const struct dtree *t, struct dnode *n)
{
	for (struct dnode *c = n->child; c != NULL; c = c->next)
		drop_dirs(w, t, c);
	if (t == &w->t[LOCAL] && n->existence == EXISTS)
		(void)dsync_todo(w, TREE_DELETE_DIR, dnode_name(w, n), NULL);
	n->existence = PLACEHOLDER;
	n->temp = false;
}

/* True: one of the siblings has moved among them. */
static bool
end_temps(struct dsync *w, struct dtree *t, struct dnode *n, bool *temps)
{
	for (; n != NULL && dsync_step(w); n = n->next) {
		while (end_temps(w, t, n->child, temps))
			;
		if (!n->temp)
			continue;
		if (dnode_is_dir(n) && !dnode_has_existing(w, n, true)) {
			drop_dirs(w, t, n);
			continue;
		}
		*temps = true;
		final_name(w, t, n);
		return (true);
	}
	return (false);
}

void
dsync_renames(struct dsync *w, size_t nodes, bool *temps)
{
	size_t pass = 0;

	while (walk(w, &w->t[LOCAL].root, &w->t[REMOTE].root))
		if (pass++ == nodes * PASSES_PER_NODE)
			w->steps = 0;
	for (int s = 0; s < 2; s++)
		while (end_temps(w, &w->t[s], w->t[s].root.child, temps))
			;
}
