/*
 * view_list -- directories: what they hold, in an order and with offsets that
 * stay while names come and go.
 *
 * cur, new: by UID, then second names, then files that are not yet messages;
 * view_placed.c says which messages are somewhere else.
 * Folders: cur, new, tmp, special files, mailboxes by id, then what is real.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OFF_BOX 16u /* + mailbox id */
#define OFF_MSG 16u /* + UID */
#define OFF_SCRATCH ((uint64_t)1 << 34) /* + node */
#define OFF_REAL ((uint64_t)1 << 33)
#define OFF_ALIAS OFF_REAL /* + UID; in cur and new only */

#define BATCH 64

/*
 * Messages are listed a batch at a time: their link counts are another search
 * of the index, which must not run inside this one.
 */
struct entry {
	char *name; /* in the listing's arena */
	uint32_t uid;
	struct msg m; /* its strings are gone */
};

struct listing {
	struct view *v;
	const struct box *b;
	enum box_part part;
	uint64_t off;
	view_dir_fn *fn;
	void *arg;
	struct arena a;
	struct entry *batch; /* owned */
	size_t n;
	uint64_t placed_from; /* those that were placed, which are left */
};

uint64_t
list_offset(uint32_t uid)
{
	return (OFF_MSG + (uint64_t)uid);
}

uint64_t
list_offset_scratch(uint64_t node)
{
	return (OFF_SCRATCH + node);
}

static int
note_msg(void *arg, uint32_t box, const struct msg *m)
{
	struct listing *l = arg;
	struct entry *e = &l->batch[l->n];

	if (msg_part(m) != l->part || placed_is(l->v, box, m->uid))
		return (0);
	if ((e->name = msg_file_name(l->v, &l->a, box, m)) == NULL)
		return (-ENOMEM);
	e->uid = m->uid;
	e->m = *m;
	return (++l->n == BATCH ? 1 : 0);
}

static int
give_msg(struct listing *l, const char *name, const struct msg *m, uint64_t at)
{
	struct scratch *s = scratch_by_node(l->v, m->ino);
	struct stat st;
	unsigned links;
	int error;

	if (s == NULL || scratch_stat(l->v, s, &st) != 0) {
		error = store_count_ino(l->v->store, m->ino, &links);
		if (error != 0)
			return (error);
		links += alias_of(l->v, l->b->id, m->uid) != NULL;
		stat_msg(l->v, m, links, &st);
	}
	return (l->fn(l->arg, name, &st, at));
}

/* Those that were placed before `to`. */
static int
give_placed(struct listing *l, uint64_t to)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	uint64_t at;
	uint32_t uid;
	char *name;
	int error = 0;

	while (error == 0 &&
	    (uid = placed_next(l->v, l->b->id, l->placed_from, &at)) != 0 &&
	    at < to) {
		l->placed_from = at + 1;
		error = store_msg(l->v->store, l->b->id, uid, &a, &m);
		if (error == 0 && msg_part(&m) == l->part) {
			name = msg_file_name(l->v, &a, l->b->id, &m);
			error = name == NULL ? -ENOMEM
					     : give_msg(l, name, &m, at);
		} else if (error == -ENOENT)
			error = 0;
		arena_fini(&a);
	}
	return (error);
}

static int
give_batch(struct listing *l)
{
	size_t i;
	int error;

	for (i = 0; i < l->n; i++) {
		struct entry *e = &l->batch[i];
		uint64_t at = list_offset(e->uid);

		if ((error = give_placed(l, at)) != 0 ||
		    (error = give_msg(l, e->name, &e->m, at)) != 0)
			return (error);
	}
	return (0);
}

static int
list_msgs(struct listing *l, uint32_t from)
{
	int more = 1, error = 0;

	if ((l->batch = calloc(BATCH, sizeof(*l->batch))) == NULL)
		return (-ENOMEM);
	while (error == 0 && more == 1) {
		l->n = 0;
		arena_fini(&l->a);
		more = store_msgs(l->v->store, l->b->id, from, note_msg, l);
		error = more < 0 ? more : give_batch(l);
		if (l->n > 0)
			from = l->batch[l->n - 1].uid + 1;
	}
	free(l->batch);
	l->batch = NULL;
	return (error);
}

static int
list_scratch(struct listing *l)
{
	struct scratch *s;
	struct stat st;
	int error;

	for (s = l->v->scratch; s != NULL; s = s->next) {
		if (s->key == NULL || s->box != l->b->id ||
		    s->part != l->part || OFF_SCRATCH + s->node <= l->off)
			continue;
		if (scratch_stat(l->v, s, &st) != 0)
			continue;
		error = give_placed(l, OFF_SCRATCH + s->node);
		if (error == 0)
			error = l->fn(
			    l->arg, s->name, &st, OFF_SCRATCH + s->node);
		if (error != 0)
			return (error);
	}
	return (give_placed(l, UINT64_MAX));
}

/* Second names of messages, which lie behind all first ones. */
static int
list_aliases(struct listing *l)
{
	struct alias *a;
	struct stat st;
	struct msg m;
	uint64_t at;
	int error;

	for (a = l->v->aliases; a != NULL; a = a->next) {
		at = OFF_ALIAS + (uint64_t)a->uid;
		if (a->box != l->b->id || a->part != l->part || at <= l->off)
			continue;
		error = store_msg(l->v->store, a->box, a->uid, &l->a, &m);
		if (error == -ENOENT)
			continue;
		if (error != 0)
			return (error);
		stat_msg(l->v, &m, 2, &st);
		if ((error = l->fn(l->arg, a->name, &st, at)) != 0)
			return (error);
	}
	return (0);
}

static int
list_part(struct view *v, const struct box *b, enum box_part part, uint64_t off,
    view_dir_fn *fn, void *arg)
{
	struct listing l = { v, b, part, off, fn, arg, ARENA_INIT, NULL, 0,
		off + 1 };
	struct mailbox m;
	int error = 0;

	if (off < OFF_REAL && part != PART_TMP) {
		uint32_t from =
		    off < OFF_MSG ? 1 : (uint32_t)(off - OFF_MSG) + 1;

		if ((error = store_mailbox(v->store, b->id, &m)) != 0)
			return (error);
		if ((part == PART_NEW ? m.new_messages
				      : m.messages - m.new_messages) > 0)
			error = list_msgs(&l, from);
		if (error == 0)
			error = give_placed(&l, OFF_REAL);
	}
	if (error == 0)
		error = list_aliases(&l);
	if (error == 0)
		error = list_scratch(&l);
	arena_fini(&l.a);
	if (error > 0)
		placed_listed(v);
	return (error);
}

static int
list_parts_of(struct listing *l)
{
	struct stat st;
	int i, error;

	for (i = (int)l->off; i < 3; i++) {
		if ((l->b->hidden & 1u << i) != 0)
			continue;
		error = stat_part(l->v, l->b, (enum box_part)i, &st);
		if (error != 0 ||
		    (error = l->fn(
			 l->arg, part_name[i], &st, (uint64_t)i + 1)) != 0)
			return (error);
	}
	return (0);
}

static int
list_special(struct listing *l, uint64_t dir, const char *name, uint64_t at)
{
	uint64_t node = special_lookup(l->v, dir, name);
	struct stat st;
	int error;

	if (node == 0 || l->off >= at)
		return (0);
	if ((error = node_getattr(l->v, node, &st)) != 0 || st.st_size == 0)
		return (error);
	return (l->fn(l->arg, name, &st, at));
}

/* The next mailbox by id, so that offsets stay while mailboxes come and go. */
static struct box *
next_child(struct view *v, struct arena *a, const char *prefix, uint64_t dir,
    uint64_t above)
{
	struct box *b, *next, *best = NULL;

	HASH_ITER (hh_id, v->by_id, b, next)
		if (b->id > above && (best == NULL || b->id < best->id) &&
		    is_child_of(v, a, b, prefix, dir))
			best = b;
	return (best);
}

static int
list_children(struct listing *l, uint64_t dir)
{
	char *prefix = dir_prefix(l->v, &l->a, dir), *path, *slash;
	uint64_t above = l->off > OFF_BOX ? l->off - OFF_BOX : 0;
	struct stat st;
	struct box *b;
	int error;

	while ((b = next_child(l->v, &l->a, prefix, dir, above)) != NULL) {
		above = b->id;
		if ((path = folder_name(l->v, &l->a, b->name)) == NULL)
			return (-ENOMEM);
		slash = strrchr(path, '/');
		if ((error = stat_folder(l->v, b, &st)) != 0 ||
		    (error = l->fn(l->arg, slash == NULL ? path : slash + 1,
			 &st, OFF_BOX + (uint64_t)b->id)) != 0)
			return (error);
	}
	return (0);
}

static int
list_dir(
    struct view *v, uint64_t node, uint64_t off, view_dir_fn *fn, void *arg)
{
	struct listing l = { v, box_of_folder(v, node), 0, off, fn, arg,
		ARENA_INIT, NULL, 0, 0 };
	int error = 0;

	if (off < OFF_REAL) {
		if (l.b != NULL && off < 3)
			error = list_parts_of(&l);
		if (error == 0 && node == NODE_ROOT)
			error = list_special(&l, node, "subscriptions", 4);
		if (error == 0 && l.b != NULL)
			error = list_special(&l, node, "dovecot-keywords", 5);
		if (error == 0)
			error = list_children(&l, node);
	}
	if (error == 0)
		error = aux_readdir(v, node, off, fn, arg);
	arena_fini(&l.a);
	return (error);
}

int
view_readdir(
    struct view *v, uint64_t node, uint64_t off, view_dir_fn *fn, void *arg)
{
	enum box_part part;
	struct box *b;
	int error;

	view_lock(v);
	if ((error = view_boxes(v)) == 0) {
		if ((b = box_of_part(v, node, &part)) != NULL)
			error = list_part(v, b, part, off, fn, arg);
		else if (special_is_dir(node))
			error = special_readdir(v, off, fn, arg);
		else
			error = list_dir(v, node, off, fn, arg);
	}
	view_unlock(v);
	return (error > 0 ? 0 : error);
}
