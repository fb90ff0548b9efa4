/*
 * view_box -- making, moving and removing mailboxes, as folders ask for it.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <string.h>

#include "base/name.h"

#define HIDE_ALL 7u

static int
create_box(struct view *v, const char *canonical, uint32_t *id)
{
	struct mailbox_new new = { .name = canonical };
	struct txn *t;
	int error;

	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	return (view_finish(t, txn_mailbox_create(t, &new, id)));
}

/*
 * A plain directory gets its first cur, new or tmp: it is a mailbox now.  Only
 * that part is shown until the others are made too.
 */
int
box_begin_as_dir(struct view *v, uint64_t dir, enum box_part part)
{
	struct arena a = ARENA_INIT;
	struct aux *x = aux_find(v, dir);
	char *canonical;
	struct box *b;
	uint32_t id;
	int error;

	if (x == NULL || x->name == NULL)
		return (-ENOENT);
	canonical = canonical_name(v, &a, x->parent, x->name);
	if (canonical == NULL) {
		error = -ENOENT;
		goto out;
	}
	if ((error = create_box(v, canonical, &id)) != 0 ||
	    (error = aux_becomes_box(v, dir, id)) != 0)
		goto out;
	v->boxes_stale = true;
	if ((error = view_boxes(v)) != 0)
		goto out;
	if ((b = box_by_id(v, id)) == NULL) {
		error = -EIO;
		goto out;
	}
	/* The kernel knows the folder by this number. */
	HASH_DELETE(hh_folder, v->by_folder, b);
	b->folder = dir;
	HASH_ADD(hh_folder, v->by_folder, folder, sizeof(b->folder), b);
	b->hidden = HIDE_ALL & ~(1u << part);
out:
	arena_fini(&a);
	return (error);
}

bool
box_has_children(struct view *v, const struct box *b)
{
	struct box *c, *next;

	if (v->o.layout != LAYOUT_FS)
		return (false);
	HASH_ITER (hh_id, v->by_id, c, next)
		if (c != b && name_is_child(b->name, c->name))
			return (true);
	return (false);
}

int
box_delete(struct view *v, const struct box *b)
{
	struct txn *t;
	int error;

	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	return (view_finish(t, txn_mailbox_delete(t, b->id, 0)));
}

static bool
any_below(struct view *v, const char *canonical)
{
	struct box *c, *next;

	HASH_ITER (hh_id, v->by_id, c, next)
		if (name_is_child(canonical, c->name))
			return (true);
	return (false);
}

bool
boxes_below(struct view *v, uint64_t parent, const char *name)
{
	struct arena a = ARENA_INIT;
	char *canonical = NULL;
	bool found;

	if (v->o.layout == LAYOUT_FS)
		canonical = canonical_name(v, &a, parent, name);
	found = canonical != NULL && any_below(v, canonical);
	arena_fini(&a);
	return (found);
}

/*
 * Maildir++ folders are siblings: renaming one leaves those named below it.
 * The engine moves them along, so they are moved back in the same batch.
 */
int
box_rename_begin(
    struct view *v, const struct box *b, const char *to, struct txn **out)
{
	struct box *c, *next;
	struct txn *t;
	int error;

	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	error = txn_mailbox_rename(t, b->id, to, 0);
	if (v->o.layout == LAYOUT_MAILDIRPP)
		HASH_ITER (hh_id, v->by_id, c, next) {
			if (error != 0)
				break;
			if (c != b && name_is_child(b->name, c->name))
				error =
				    txn_mailbox_rename(t, c->id, c->name, 0);
		}
	if (error == 0)
		*out = t;
	else
		txn_abort(t);
	return (error);
}

/* Does another mailbox between that directory and this one take it along? */
static bool
goes_along(struct view *v, const struct box *b, const char *from)
{
	struct box *c, *next;

	HASH_ITER (hh_id, v->by_id, c, next)
		if (c != b && name_is_child(from, c->name) &&
		    name_is_child(c->name, b->name))
			return (true);
	return (false);
}

static int
rename_boxes_below(
    struct view *v, struct txn *t, const char *from, const char *to)
{
	struct arena a = ARENA_INIT;
	struct box *c, *next;
	char *name;
	int error = 0;

	HASH_ITER (hh_id, v->by_id, c, next) {
		if (!name_is_child(from, c->name) || goes_along(v, c, from))
			continue;
		name = arena_printf(&a, "%s%s", to, c->name + strlen(from));
		error = name == NULL ? -ENOMEM
				     : txn_mailbox_rename(t, c->id, name, 0);
		if (error != 0)
			break;
	}
	arena_fini(&a);
	return (error);
}

int
boxes_rename_begin(
    struct view *v, const char *from, const char *to, struct txn **out)
{
	struct mailbox m;
	struct txn *t;
	int error = store_mailbox_by_name(v->store, from, &m);
	bool node = error == 0 && m.exists;

	if (error != 0 && error != -ENOENT)
		return (error);
	if (!node && !any_below(v, from)) {
		*out = NULL;
		return (0);
	}
	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	error = node ? txn_mailbox_rename(t, m.id, to, 0)
		     : rename_boxes_below(v, t, from, to);
	if (error == 0)
		*out = t;
	else
		txn_abort(t);
	return (error);
}
