/*
 * view_nudge -- what a sync did to names, for programs that watch the mount.
 *
 * The kernel tells watchers only of changes that go through the mount.  What a
 * sync changes is in the store at once; the helper process then asks for the
 * same change, and is answered as if it had made it:
 *
 *	a message came		rename of .dsyncfs/message-INO to its name
 *	its name changed	rename of the old name to the new one
 *	it was expunged		unlink of the name that it had
 *
 * N1  A request of the helper changes nothing in the store.
 * N2  Only the helper finds .dsyncfs/message-INO and the names of expunged
 *     messages.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * In one transaction: more that only come are seen by who looks again, and
 * others may be noted twice.
 */
#define TOUCHED_MAX 1024
/* how long an expunged name waits for the helper */
#define GONE_SECONDS 30
#define BY_NUMBER "message-"

void
view_on_nudge(struct view *v, view_nudge_fn *fn, void *arg)
{
	v->nudge = fn;
	v->nudge_arg = arg;
}

/* ---- what changed ---- */

static void
forget_touched(struct view *v)
{
	for (size_t i = 0; i < v->n_touched; i++)
		free(v->touched[i].name);
	v->n_touched = 0;
}

void
nudge_free(struct view *v)
{
	forget_touched(v);
	free(v->touched);
	v->touched = NULL;
}

static bool
is_touched(const struct view *v, uint32_t box, uint32_t uid)
{
	for (size_t i = 0; i < v->n_touched && i < TOUCHED_MAX; i++)
		if (v->touched[i].box == box && v->touched[i].uid == uid)
			return (true);
	return (false);
}

void
nudge_before(void *arg, uint32_t box, uint32_t uid)
{
	struct view *v = arg;
	struct touched t = { .box = box, .uid = uid }, *grown;
	struct arena a = ARENA_INIT;
	struct msg m;
	char *name;

	if (uid == 0)
		kept_keywords(v, box);
	if (uid == 0 || !v->foreign || is_touched(v, box, uid))
		return;
	if (store_msg(v->store, box, uid, &a, &m) == 0) {
		t.ino = m.ino;
		t.part = msg_part(&m);
		t.body = m.body;
		stat_msg(v, &m, 1, &t.st);
		name = msg_file_name(v, &a, box, &m);
		t.name = name != NULL ? strdup(name) : NULL;
		if (t.name == NULL)
			goto out;
	} else if (v->n_touched >= TOUCHED_MAX)
		goto out;
	grown = realloc(v->touched, (v->n_touched + 1) * sizeof(*grown));
	if (grown == NULL) {
		free(t.name);
		goto out;
	}
	v->touched = grown;
	v->touched[v->n_touched++] = t;
out:
	arena_fini(&a);
}

/* Of a file in a mailbox, below the mount point. */
static char *
path_of(struct view *v, struct arena *a, const struct box *b,
    enum box_part part, const char *name)
{
	const char *folder =
	    b->id == v->inbox ? "." : folder_name(v, a, b->name);

	return (folder == NULL
		? NULL
		: arena_printf(a, "%s/%s/%s", folder, part_name[part], name));
}

static void
nudge(struct view *v, const struct box *b, const char *from, const char *to)
{
	if (v->nudge != NULL && from != NULL)
		v->nudge(v->nudge_arg, b->id, from, to);
}

static void
left(struct view *v, struct arena *a, const struct box *b,
    const struct touched *t)
{
	const struct stale s = { .box = t->box,
		.uid = t->uid,
		.ino = t->ino,
		.part = t->part,
		.gone = true,
		.name = t->name };

	zombie_add(v, &t->st, &t->body);
	view_tell(v, FORGET_ATTR, t->ino, NULL);
	stale_add(v, &s, GONE_SECONDS);
	nudge(v, b, path_of(v, a, b, t->part, t->name), NULL);
}

/* It came, or has another name. */
static void
came(struct view *v, struct arena *a, const struct box *b,
    const struct touched *t, const struct msg *m, const char *name)
{
	char *to = path_of(v, a, b, msg_part(m), name), *from;
	const struct stale s = {
		.box = t->box, .uid = t->uid, .part = t->part, .name = t->name
	};

	view_tell(v, FORGET_ENTRY, part_node(b, msg_part(m)), name);
	/* It may be a copy: one name more. */
	if (t->name == NULL)
		view_tell(v, FORGET_ATTR, m->ino, NULL);
	if (t->name != NULL && v->o.stale_names != 0) {
		stale_add(v, &s, v->o.stale_names);
		from = path_of(v, a, b, t->part, t->name);
	} else
		from =
		    arena_printf(a, ".dsyncfs/" BY_NUMBER "%" PRIu64, m->ino);
	if (to != NULL)
		nudge(v, b, from, to);
}

static void
tell(struct view *v, const struct touched *t)
{
	struct arena a = ARENA_INIT;
	struct box *b = box_by_id(v, t->box);
	char *name = NULL;
	struct msg m;
	int error;

	if (b == NULL)
		return;
	error = store_msg(v->store, t->box, t->uid, &a, &m);
	if (error == 0)
		name = msg_file_name(v, &a, t->box, &m);
	if (name != NULL && t->name != NULL && msg_part(&m) == t->part &&
	    strcmp(name, t->name) == 0)
		goto out;
	if (t->name != NULL)
		view_tell(v, FORGET_ENTRY, part_node(b, t->part), t->name);
	if (name != NULL)
		came(v, &a, b, t, &m, name);
	else if (error == -ENOENT && t->name != NULL)
		left(v, &a, b, t);
out:
	arena_fini(&a);
}

void
nudge_after(struct view *v)
{
	for (size_t i = 0; i < v->n_touched; i++)
		tell(v, &v->touched[i]);
	forget_touched(v);
}

/* ---- the helper's requests ---- */

static uint64_t
number_of(const char *name)
{
	const size_t n = sizeof(BY_NUMBER) - 1;
	char *end;
	uint64_t ino;

	if (strncmp(name, BY_NUMBER, n) != 0 || name[n] < '1' || name[n] > '9')
		return (0);
	errno = 0;
	ino = strtoull(name + n, &end, 10);
	return (*end == '\0' && errno == 0 ? ino : 0);
}

static int
lookup_before(
    struct view *v, uint64_t parent, const char *name, struct stat *st)
{
	struct arena a = ARENA_INIT;
	struct stale *s = NULL;
	enum box_part part;
	struct box *b = box_of_part(v, parent, &part);
	struct msg m = { 0 };
	int error;

	if (b == NULL)
		error = msg_by_ino(v, &a, number_of(name), NULL, &m, NULL);
	else if ((s = stale_find(v, b->id, part, name, true)) != NULL) {
		m.ino = s->ino;
		error = 0;
	} else if ((s = stale_find(v, b->id, part, name, false)) != NULL)
		error = store_msg(v->store, b->id, s->uid, &a, &m);
	else
		error = -ENOENT;
	if (error == 0) {
		stat_msg(v, &m, 1, st);
		/* another node than the message: see view_stale.c */
		st->st_ino |= NODE_STALE;
	}
	arena_fini(&a);
	return (error);
}

int
view_nudge_lookup(
    struct view *v, uint64_t parent, const char *name, struct stat *st)
{
	enum box_part part;
	int error;

	view_lock(v);
	error = view_boxes(v);
	if (error == 0 && box_of_part(v, parent, &part) == NULL &&
	    (!special_is_dir(parent) || number_of(name) == 0)) {
		view_unlock(v);
		return (view_lookup(v, parent, name, st));
	}
	if (error == 0)
		error = lookup_before(v, parent, name, st);
	view_unlock(v);
	return (error);
}

int
view_nudge_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name)
{
	struct arena a = ARENA_INIT;
	enum box_part part, was;
	struct box *b, *f;
	struct stale *s;
	struct msg m;
	int error;

	view_lock(v);
	if ((error = view_boxes(v)) != 0)
		goto out;
	error = -ENOENT;
	if ((b = box_of_part(v, to, &part)) == NULL ||
	    msg_lookup(v, &a, b->id, part, new_name, &m) != 0)
		goto out;
	if (special_is_dir(from)) {
		if (number_of(name) == m.ino)
			error = 0;
	} else if ((f = box_of_part(v, from, &was)) == b &&
	    (s = stale_find(v, b->id, was, name, false)) != NULL &&
	    s->uid == m.uid)
		error = 0;
out:
	view_unlock(v);
	arena_fini(&a);
	return (error);
}

int
view_nudge_unlink(struct view *v, uint64_t parent, const char *name)
{
	struct arena a = ARENA_INIT;
	struct stale *s = NULL;
	enum box_part part;
	struct box *b;
	struct msg m;
	int error;

	view_lock(v);
	if ((error = view_boxes(v)) != 0)
		goto out;
	if ((b = box_of_part(v, parent, &part)) != NULL)
		s = stale_find(v, b->id, part, name, true);
	/* Another message may have the name by now. */
	if (s == NULL || msg_lookup(v, &a, b->id, part, name, &m) != -ENOENT)
		error = -ENOENT;
	if (s != NULL)
		stale_drop(v, s);
out:
	view_unlock(v);
	arena_fini(&a);
	return (error);
}
