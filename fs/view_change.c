/*
 * view_change -- making, removing and renaming names, in every kind of
 * directory.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define HIDE_ALL 7u
#define NAME_LIMIT 255
/* Where Dovecot moves a mailbox to before it removes what it finds there. */
#define DOVECOT_TRASH "..DOVECOT-TRASHED"

/* What a name in a directory is about. */
enum place_kind {
	PLACE_PART, /* a file in cur, new or tmp */
	PLACE_PART_DIR, /* cur, new or tmp itself */
	PLACE_BOX, /* a mailbox's folder */
	PLACE_SPECIAL,
	PLACE_AUX
};

struct place {
	enum place_kind kind;
	uint64_t dir;
	const char *name;
	/* of PART, PART_DIR; the folder of BOX */
	struct box *box;
	enum box_part part;
	uint64_t special;
};

static int
begin(struct view *v)
{
	view_lock(v);
	if (v->o.readonly)
		return (-EROFS);
	return (view_boxes(v));
}

static bool
part_dir_name(const char *name, enum box_part *part)
{
	*part = strcmp(name, "cur") == 0 ? PART_CUR
	    : strcmp(name, "new") == 0   ? PART_NEW
	    : strcmp(name, "tmp") == 0   ? PART_TMP
					 : PART_FOLDER;
	return (*part != PART_FOLDER);
}

static int
find_place(struct view *v, uint64_t dir, const char *name, struct place *p)
{
	struct arena a = ARENA_INIT;
	char *canonical;
	struct box *b;

	memset(p, 0, sizeof(*p));
	p->dir = dir;
	p->name = name;
	if (strlen(name) > NAME_LIMIT)
		return (-ENAMETOOLONG);
	if ((p->box = box_of_part(v, dir, &p->part)) != NULL) {
		p->kind = PLACE_PART;
		return (0);
	}
	if ((dir & NODE_BOX) != 0 && box_of_folder(v, dir) == NULL)
		return (-ESTALE);
	b = box_of_folder(v, dir);
	if (b != NULL && part_dir_name(name, &p->part)) {
		p->kind = PLACE_PART_DIR;
		p->box = b;
		return (0);
	}
	if ((p->special = special_lookup(v, dir, name)) != 0) {
		p->kind = PLACE_SPECIAL;
		return (0);
	}
	if (special_is_dir(dir))
		return (-EPERM);
	canonical = canonical_name(v, &a, dir, name);
	if (canonical != NULL && (b = box_by_name(v, canonical)) != NULL) {
		p->kind = PLACE_BOX;
		p->box = b;
	} else
		p->kind = PLACE_AUX;
	arena_fini(&a);
	return (0);
}

/* ---- files ---- */

static int
mknod_in_part(
    struct view *v, const struct place *p, mode_t mode, struct stat *st)
{
	struct arena a = ARENA_INIT;
	struct scratch *s;
	struct msg m;
	int error;

	if (!S_ISREG(mode))
		return (-EPERM);
	if (scratch_by_name(v, p->box->id, p->part, p->name) != NULL)
		return (-EEXIST);
	if (p->part != PART_TMP) {
		error = msg_lookup(v, &a, p->box->id, p->part, p->name, &m);
		arena_fini(&a);
		if (error != -ENOENT)
			return (error == 0 ? -EEXIST : error);
	}
	error = scratch_create(v, p->box->id, p->part, p->name, &s);
	return (error != 0 ? error : scratch_stat(v, s, st));
}

/* They show themselves once they hold something. */
static int
make_special(struct view *v, uint64_t node, struct stat *st)
{
	struct scratch *s;
	int error;

	if (!special_writable(node) || scratch_by_node(v, node) != NULL)
		return (-EEXIST);
	if ((error = special_getattr(v, node, st)) != 0)
		return (error);
	if (st->st_size > 0)
		return (-EEXIST);
	error = scratch_edit(v, node, &s);
	return (error != 0 ? error : scratch_stat(v, s, st));
}

static int
unlink_special(struct view *v, uint64_t node)
{
	struct scratch *s = scratch_by_node(v, node);

	if (!special_writable(node))
		return (-EACCES);
	if (s != NULL)
		scratch_drop(v, s, false);
	return (special_unlink(v, node));
}

int
view_mknod(struct view *v, uint64_t parent, const char *name, mode_t mode,
    dev_t rdev, struct stat *st)
{
	struct place p;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, parent, name, &p)) == 0)
		switch (p.kind) {
		case PLACE_PART:
			error = mknod_in_part(v, &p, mode, st);
			break;
		case PLACE_SPECIAL:
			error = make_special(v, p.special, st);
			break;
		case PLACE_AUX:
			error =
			    aux_create(v, parent, name, mode, rdev, NULL, st);
			break;
		case PLACE_PART_DIR:
		case PLACE_BOX:
		default:
			error = -EEXIST;
		}
	view_unlock(v);
	return (error);
}

int
view_symlink(struct view *v, const char *target, uint64_t parent,
    const char *name, struct stat *st)
{
	struct place p;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, parent, name, &p)) == 0)
		error = p.kind == PLACE_AUX
		    ? aux_create(v, parent, name, S_IFLNK, 0, target, st)
		    : p.kind == PLACE_PART ? -EPERM
					   : -EEXIST;
	view_unlock(v);
	return (error);
}

static int
unlink_in_part(struct view *v, const struct place *p)
{
	struct scratch *s = scratch_by_name(v, p->box->id, p->part, p->name);

	if (s != NULL)
		return (scratch_unlink(v, s));
	if (p->part == PART_TMP)
		return (-ENOENT);
	return (msg_unlink(v, p->box->id, p->part, p->name));
}

int
view_unlink(struct view *v, uint64_t parent, const char *name)
{
	struct place p;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, parent, name, &p)) == 0)
		switch (p.kind) {
		case PLACE_PART:
			error = unlink_in_part(v, &p);
			break;
		case PLACE_SPECIAL:
			error = unlink_special(v, p.special);
			break;
		case PLACE_AUX:
			error = aux_unlink(v, parent, name, false);
			break;
		case PLACE_PART_DIR:
		case PLACE_BOX:
		default:
			error = -EISDIR;
		}
	view_unlock(v);
	return (error);
}

int
view_link(struct view *v, uint64_t node, uint64_t parent, const char *name,
    struct stat *st)
{
	struct scratch *s;
	struct place p;
	int error = begin(v);

	node = real_node(v, node);
	if (error == 0)
		error = find_place(v, parent, name, &p);
	if (error != 0)
		goto out;
	s = scratch_by_node(v, node);
	/* What lies in cur or new becomes the message that it is to be. */
	if (p.kind == PLACE_PART && s != NULL && s->kind == SCRATCH_FILE &&
	    s->part != PART_TMP && scratch_become(v, s) == 0)
		s = scratch_by_node(v, node);
	if (p.kind == PLACE_AUX && (node & NODE_AUX) != 0)
		error = aux_link(v, node, parent, name, st);
	else if (p.kind != PLACE_PART || (node & NODE_AUX) != 0)
		error = p.kind == PLACE_PART_DIR || p.kind == PLACE_BOX
		    ? -EEXIST
		    : -EXDEV;
	else if (scratch_by_name(v, p.box->id, p.part, name) != NULL)
		error = -EEXIST;
	else if (s != NULL && s->kind == SCRATCH_FILE && !s->unlinked) {
		struct arena a = ARENA_INIT;
		struct msg m;

		/* Delivery by link: a message, and still the name in tmp. */
		if (p.part == PART_TMP)
			error = -EPERM;
		else if (msg_lookup(v, &a, p.box->id, p.part, name, &m) == 0)
			error = -EEXIST;
		else
			error = scratch_save(v, s, p.box->id, p.part, name);
		arena_fini(&a);
		if (error == 0)
			s->kind = SCRATCH_SAVED;
	} else {
		if (s != NULL && (error = scratch_settle(v, s)) != 0)
			goto out;
		error = msg_link(v, node, p.box->id, p.part, name);
	}
	if (error == 0 && p.kind == PLACE_PART)
		kept_name(v, p.box->id, p.part, name);
out:
	view_unlock(v);
	if (error == 0 && (node & NODE_AUX) == 0)
		error = view_getattr(v, node, st);
	return (error);
}

/* ---- directories ---- */

static int
mkdir_aux(struct view *v, uint64_t parent, const char *name, mode_t mode,
    struct stat *st)
{
	enum box_part part;
	struct box *b;
	int error;

	if (!part_dir_name(name, &part) || aux_find(v, parent) == NULL)
		return (
		    aux_create(v, parent, name, S_IFDIR | mode, 0, NULL, st));
	error = box_begin_as_dir(v, parent, part);
	if (error == -ENOENT)
		return (
		    aux_create(v, parent, name, S_IFDIR | mode, 0, NULL, st));
	if (error != 0)
		return (error);
	if ((b = box_of_folder(v, parent)) == NULL)
		return (-EIO);
	return (stat_part(v, b, part, st));
}

int
view_mkdir(struct view *v, uint64_t parent, const char *name, mode_t mode,
    struct stat *st)
{
	struct place p;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, parent, name, &p)) == 0)
		switch (p.kind) {
		case PLACE_PART:
			error = -EPERM; /* no directories among mail */
			break;
		case PLACE_PART_DIR:
			if ((p.box->hidden & 1u << p.part) == 0) {
				error = -EEXIST;
				break;
			}
			p.box->hidden &= ~(1u << p.part);
			error = stat_part(v, p.box, p.part, st);
			break;
		case PLACE_AUX:
			error = mkdir_aux(v, parent, name, mode & 07777, st);
			break;
		case PLACE_SPECIAL:
		case PLACE_BOX:
		default:
			error = -EEXIST;
		}
	view_unlock(v);
	return (error);
}

static int
in_this_part(void *arg, uint32_t box, const struct msg *m)
{
	enum box_part *part = arg;

	(void)box;
	return (msg_part(m) == *part ? 1 : 0);
}

static int
part_is_empty(struct view *v, const struct box *b, enum box_part part)
{
	struct scratch *s;
	struct mailbox m;
	int error;

	for (s = v->scratch; s != NULL; s = s->next)
		if (s->key != NULL && s->box == b->id && s->part == part)
			return (-ENOTEMPTY);
	if (part == PART_TMP)
		return (0);
	if ((error = store_mailbox(v->store, b->id, &m)) != 0)
		return (error);
	if ((part == PART_NEW ? m.new_messages : m.messages - m.new_messages) ==
	    0)
		return (0);
	error = store_msgs(v->store, b->id, 1, in_this_part, &part);
	return (error == 1 ? -ENOTEMPTY : error);
}

static int
rmdir_box(struct view *v, const struct box *b)
{
	if (b->folder == NODE_ROOT)
		return (-EBUSY);
	if ((b->hidden & HIDE_ALL) != HIDE_ALL || box_has_children(v, b) ||
	    !aux_empty(v, b->folder))
		return (-ENOTEMPTY);
	return (box_delete(v, b));
}

int
view_rmdir(struct view *v, uint64_t parent, const char *name)
{
	struct place p;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, parent, name, &p)) == 0)
		switch (p.kind) {
		case PLACE_PART_DIR:
			if ((p.box->hidden & 1u << p.part) != 0)
				error = -ENOENT;
			else if (p.box->folder == NODE_ROOT)
				error = -EBUSY;
			else if ((error = part_is_empty(v, p.box, p.part)) == 0)
				p.box->hidden |= 1u << p.part;
			break;
		case PLACE_BOX:
			error = rmdir_box(v, p.box);
			break;
		case PLACE_AUX:
			error = boxes_below(v, parent, name)
			    ? -ENOTEMPTY
			    : aux_unlink(v, parent, name, true);
			break;
		case PLACE_PART:
		case PLACE_SPECIAL:
		default:
			error = special_is_dir(p.special) ? -EBUSY : -ENOTDIR;
		}
	view_unlock(v);
	return (error);
}

/* ---- renaming ---- */

/*
 * To a name that is no mailbox's.  Mail has no place there: it would be lost,
 * so mv(1) is to copy it.  Only Dovecot asks for that loss.
 */
static int
leave_mailboxes(struct view *v, const struct box *b, const struct place *to)
{
	bool trash =
	    to->dir == NODE_ROOT && strcmp(to->name, DOVECOT_TRASH) == 0;
	int error;

	if (!trash &&
	    ((b->hidden & HIDE_ALL) != HIDE_ALL || box_has_children(v, b)))
		return (-EXDEV);
	error = aux_leave_dir(v, b, to->dir, to->name);
	return (error != 0 ? error : box_delete(v, b));
}

static int
rename_folder(struct view *v, const struct place *from, const struct place *to)
{
	struct arena a = ARENA_INIT;
	struct box *b = from->box;
	struct txn *t;
	char *canonical;
	int error;

	if (b->folder == NODE_ROOT)
		return (-EBUSY);
	if (to->kind == PLACE_BOX)
		return (to->box == b ? 0 : -ENOTEMPTY);
	if (to->kind != PLACE_AUX)
		return (-EINVAL);
	canonical = canonical_name(v, &a, to->dir, to->name);
	if (canonical == NULL) {
		error = leave_mailboxes(v, b, to);
		goto out;
	}
	if (boxes_below(v, to->dir, to->name)) {
		error = -ENOTEMPTY;
		goto out;
	}
	if ((error = box_rename_begin(v, b, canonical, &t)) != 0)
		goto out;
	/* An empty directory may be in its place, as for rename(2). */
	if (aux_exists(v, to->dir, to->name))
		error = aux_unlink(v, to->dir, to->name, true);
	if (error == 0)
		error = txn_commit(t);
	else
		txn_abort(t);
out:
	arena_fini(&a);
	return (error);
}

/* An aux file takes the place of subscriptions or dovecot-keywords. */
static int
rename_onto_special(
    struct view *v, const struct place *from, const struct place *to)
{
	struct scratch *s = scratch_by_node(v, to->special);
	char buf[65536], *text = NULL;
	size_t n = 0;
	struct aux *x;
	struct stat st;
	ssize_t got;
	char *grown;
	int fd, error;

	if (!special_writable(to->special))
		return (-EPERM);
	if ((error = aux_lookup(v, from->dir, from->name, &st)) != 0)
		return (error);
	if (!S_ISREG(st.st_mode))
		return (-EINVAL);
	if ((fd = aux_open(v, st.st_ino, 0)) < 0)
		return (fd);
	while ((got = read(fd, buf, sizeof(buf))) > 0) {
		if ((grown = realloc(text, n + (size_t)got + 1)) == NULL) {
			error = -ENOMEM;
			break;
		}
		text = grown;
		memcpy(text + n, buf, (size_t)got);
		n += (size_t)got;
	}
	if (got < 0)
		error = -errno;
	(void)close(fd);
	if (error == 0)
		error =
		    special_apply(v, to->special, text == NULL ? "" : text, n);
	free(text);
	if (error != 0)
		return (error);
	if (s != NULL)
		scratch_drop(v, s, false);
	view_tell(v, FORGET_INODE, to->special, NULL);
	view_tell(v, FORGET_ENTRY, to->dir, to->name);
	if ((error = aux_unlink(v, from->dir, from->name, false)) != 0)
		return (error);
	if ((x = aux_find(v, st.st_ino)) != NULL)
		x->special = to->special;
	return (0);
}

static int
rename_in_parts(struct view *v, const struct place *from,
    const struct place *to, unsigned flags)
{
	struct scratch *s =
	    scratch_by_name(v, from->box->id, from->part, from->name);
	struct arena a = ARENA_INIT;
	struct scratch *there;
	struct msg m;
	bool old, as_given;
	int error;

	there = scratch_by_name(v, to->box->id, to->part, to->name);
	if (flags != 0 && flags != RENAME_NOREPLACE)
		return (-EINVAL);
	if (flags != 0 &&
	    (there != NULL ||
		(to->part != PART_TMP &&
		    msg_lookup(v, &a, to->box->id, to->part, to->name, &m) ==
			0))) {
		arena_fini(&a);
		return (-EEXIST);
	}
	arena_fini(&a);
	if (s != NULL) {
		error = scratch_rename(v, s, to->box->id, to->part, to->name);
		if (error == 0)
			kept_name(v, to->box->id, to->part, to->name);
		return (error);
	}
	if (from->part == PART_TMP)
		return (-ENOENT);
	/* Being rewritten: the new content goes under the new name. */
	if (v->scratch != NULL) {
		error = msg_lookup_any(
		    v, &a, from->box->id, from->part, from->name, &m, &old);
		if (error == 0 && (s = scratch_by_node(v, m.ino)) != NULL &&
		    s->kind == SCRATCH_DIRTY)
			error = scratch_settle(v, s);
		arena_fini(&a);
		if (error != 0)
			return (error);
	}
	error = msg_rename(v, from->box->id, from->part, from->name,
	    to->box->id, to->part, to->name, flags, &as_given);
	if (error == 0 && there != NULL)
		error = scratch_unlink(v, there);
	if (error == 0 && !as_given)
		kept_name(v, to->box->id, to->part, to->name);
	return (error);
}

/*
 * Mailboxes below a directory move with it: their transaction is tried first,
 * and committed when the directory has been renamed.
 */
static int
rename_aux(struct view *v, const struct place *from, const struct place *to,
    unsigned flags)
{
	struct arena a = ARENA_INIT;
	struct txn *t = NULL;
	char *was = NULL, *will = NULL;
	int error = 0;

	if (v->o.layout == LAYOUT_FS) {
		was = canonical_name(v, &a, from->dir, from->name);
		will = canonical_name(v, &a, to->dir, to->name);
	}
	if (boxes_below(v, to->dir, to->name))
		error = -ENOTEMPTY;
	else if (was != NULL && will != NULL)
		error = boxes_rename_begin(v, was, will, &t);
	else if (boxes_below(v, from->dir, from->name))
		error = -EXDEV; /* none of them can be there */
	arena_fini(&a);
	if (error == 0)
		error = aux_rename(
		    v, from->dir, from->name, to->dir, to->name, flags);
	if (error != 0) {
		txn_abort(t);
		return (error);
	}
	if (t != NULL && (error = txn_commit(t)) != 0)
		(void)aux_rename(v, to->dir, to->name, from->dir, from->name,
		    RENAME_NOREPLACE);
	return (error);
}

/*
 * Only files and directories that are real on both sides, and hold no mailbox,
 * can change places.  RENAME_NOREPLACE: the kernel has looked, but a name may
 * have come since.
 */
static int
flags_fit(struct view *v, const struct place *from, const struct place *to,
    unsigned flags)
{
	struct stat st;

	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
		return (-EINVAL);
	if ((flags & RENAME_EXCHANGE) != 0)
		return (from->kind != PLACE_AUX || to->kind != PLACE_AUX ||
			    boxes_below(v, from->dir, from->name) ||
			    boxes_below(v, to->dir, to->name)
			? -EINVAL
			: 0);
	if (flags == 0 || to->kind == PLACE_PART)
		return (0);
	if (to->kind == PLACE_SPECIAL)
		return (
		    special_getattr(v, to->special, &st) == 0 && st.st_size > 0
			? -EEXIST
			: 0);
	return (to->kind != PLACE_AUX || aux_exists(v, to->dir, to->name)
		? -EEXIST
		: 0);
}

int
view_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name, unsigned flags)
{
	struct place a, b;
	int error = begin(v);

	if (error == 0 && (error = find_place(v, from, name, &a)) == 0)
		error = find_place(v, to, new_name, &b);
	if (error == 0)
		error = flags_fit(v, &a, &b, flags);
	if (error != 0)
		goto out;
	if (a.kind == PLACE_PART && b.kind == PLACE_PART)
		error = rename_in_parts(v, &a, &b, flags);
	else if (a.kind == PLACE_PART || b.kind == PLACE_PART)
		error = -EXDEV;
	else if (a.kind == PLACE_PART_DIR || b.kind == PLACE_PART_DIR)
		error = -EBUSY;
	else if (a.kind == PLACE_SPECIAL)
		error = -EPERM;
	else if (b.kind == PLACE_SPECIAL)
		error = a.kind == PLACE_AUX ? rename_onto_special(v, &a, &b)
					    : -EEXIST;
	else if (a.kind == PLACE_BOX)
		error = rename_folder(v, &a, &b);
	else if (b.kind == PLACE_BOX)
		error = -ENOTEMPTY;
	else
		error = rename_aux(v, &a, &b, flags);
out:
	view_unlock(v);
	return (error);
}
