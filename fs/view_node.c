/*
 * view_node -- every call of the view: which kind of node it is about.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"

#define HIDE_ALL 7u
#define NAME_LIMIT 255

const char *const part_name[3] = { "cur", "new", "tmp" };

/* ---- attributes ---- */

void
stat_msg(struct view *v, const struct msg *m, unsigned nlink, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = m->ino;
	st->st_mode = S_IFREG | (0666 & ~v->o.umask);
	st->st_nlink = nlink;
	st->st_uid = v->o.uid;
	st->st_gid = v->o.gid;
	st->st_size = (off_t)m->body.size;
	st->st_blksize = 4096;
	st->st_blocks = (blkcnt_t)((m->body.size + 511) / 512);
	st->st_mtim.tv_sec = m->mtime != 0 ? m->mtime : m->received;
	st->st_mtim.tv_nsec = m->mtime != 0 ? (long)m->mtime_nsec : 0;
	st->st_atim = st->st_mtim;
	st->st_ctim.tv_sec = m->saved != 0 ? m->saved : st->st_mtim.tv_sec;
}

void
stat_dir(struct view *v, uint64_t node, int64_t sec, uint32_t nsec,
    unsigned nlink, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = node;
	st->st_mode = S_IFDIR | (0777 & ~v->o.umask);
	st->st_nlink = nlink;
	st->st_uid = v->o.uid;
	st->st_gid = v->o.gid;
	st->st_blksize = 4096;
	st->st_mtim.tv_sec = sec;
	st->st_mtim.tv_nsec = (long)nsec;
	st->st_atim = st->st_ctim = st->st_mtim;
}

static void
at_least(struct stat *st, const struct timespec *t)
{
	if (t->tv_sec > st->st_mtim.tv_sec ||
	    (t->tv_sec == st->st_mtim.tv_sec &&
		t->tv_nsec > st->st_mtim.tv_nsec))
		st->st_mtim = st->st_ctim = st->st_atim = *t;
}

int
stat_part(
    struct view *v, const struct box *b, enum box_part part, struct stat *st)
{
	struct mailbox m;
	struct stat real;
	char dir[64];
	int error;

	if ((error = store_mailbox(v->store, b->id, &m)) != 0)
		return (error);
	/* Where nothing was ever delivered: mostly when the mailbox was made. */
	stat_dir(v, part_node(b, part),
	    part == PART_TMP       ? (int64_t)m.uidvalidity
		: part == PART_NEW ? m.changed_new
				   : m.changed,
	    part == PART_TMP       ? 0
		: part == PART_NEW ? m.changed_new_nsec
				   : m.changed_nsec,
	    2, st);
	/* Files that are not yet messages count too. */
	(void)snprintf(
	    dir, sizeof(dir), "scratch/%" PRIu32 ".%c", b->id, "cnt"[part]);
	if (fstatat(v->dir, dir, &real, AT_SYMLINK_NOFOLLOW) == 0)
		at_least(st, &real.st_mtim);
	if (part == PART_TMP)
		at_least(st, &b->tmp_changed);
	return (0);
}

bool
is_child_of(struct view *v, struct arena *a, const struct box *b,
    const char *prefix, uint64_t dir)
{
	size_t n;

	(void)a;
	if (b->folder == NODE_ROOT)
		return (false);
	if (v->o.layout == LAYOUT_MAILDIRPP)
		return (dir == NODE_ROOT);
	if (prefix == NULL)
		return (false);
	n = strlen(prefix);
	if (n == 0)
		return (strchr(b->name, '/') == NULL);
	return (strncmp(b->name, prefix, n) == 0 && b->name[n] == '/' &&
	    strchr(b->name + n + 1, '/') == NULL);
}

unsigned
count_children(struct view *v, uint64_t dir)
{
	struct arena a = ARENA_INIT;
	char *prefix = dir_prefix(v, &a, dir);
	struct box *b, *next;
	unsigned n = 0;

	HASH_ITER (hh_id, v->by_id, b, next)
		n += is_child_of(v, &a, b, prefix, dir);
	arena_fini(&a);
	return (n);
}

int
stat_folder(struct view *v, const struct box *b, struct stat *st)
{
	struct timespec real = { 0 };
	unsigned dirs, hidden = b->hidden & HIDE_ALL;
	struct mailbox m;
	int error;

	if ((error = store_mailbox(v->store, b->id, &m)) != 0)
		return (error);
	dirs = aux_subdirs(v, b->folder, &real);
	dirs += count_children(v, b->folder) + 3 -
	    (unsigned)__builtin_popcount(hidden);
	stat_dir(v, b->folder, m.renamed, 0, 2 + dirs, st);
	at_least(st, &real);
	return (0);
}

int
node_getattr(struct view *v, uint64_t node, struct stat *st)
{
	struct arena a = ARENA_INIT;
	enum box_part part;
	struct scratch *s;
	struct zombie *z;
	struct box *b;
	struct msg m;
	unsigned n;
	int error;

	if ((error = view_boxes(v)) != 0)
		return (error);
	if ((b = box_of_folder(v, node)) != NULL)
		return (stat_folder(v, b, st));
	if ((b = box_of_part(v, node, &part)) != NULL)
		return (stat_part(v, b, part, st));
	if ((s = scratch_by_node(v, node)) != NULL) {
		if (s->kind != SCRATCH_EDIT)
			return (scratch_stat(v, s, st));
		error = scratch_stat(v, s, st);
		st->st_nlink = 1;
		return (error);
	}
	if ((node & NODE_SPECIAL) != 0)
		return (special_getattr(v, node, st));
	if ((node & NODE_AUX) != 0 || aux_find(v, node) != NULL)
		return (aux_getattr(v, node, st));
	if ((node & NODE_BOX) != 0)
		return (-ESTALE);
	error = msg_by_ino(v, &a, node, NULL, &m, &n);
	if (error == 0)
		stat_msg(v, &m, n, st);
	arena_fini(&a);
	if (error == -ENOENT) {
		HASH_FIND(hh, v->zombies, &node, sizeof(node), z);
		if (z == NULL)
			return (-ESTALE);
		*st = z->st;
		return (0);
	}
	return (error);
}

int
view_getattr(struct view *v, uint64_t node, struct stat *st)
{
	int error;

	view_lock(v);
	if ((error = node_getattr(v, real_node(v, node), st)) == 0)
		st->st_ino = node;
	view_unlock(v);
	return (error);
}

/* ---- lookup ---- */

static int
lookup_in_part(struct view *v, const struct box *b, enum box_part part,
    const char *name, struct stat *st)
{
	struct scratch *s = scratch_by_name(v, b->id, part, name);
	struct arena a = ARENA_INIT;
	unsigned n = 1;
	struct msg m;
	bool old;
	int error;

	if (s != NULL)
		return (scratch_stat(v, s, st));
	if (part == PART_TMP)
		return (-ENOENT);
	error = msg_lookup_any(v, &a, b->id, part, name, &m, &old);
	if (error == 0 && (s = scratch_by_node(v, m.ino)) != NULL)
		error = scratch_stat(v, s, st);
	else if (error == 0 &&
	    (error = store_count_ino(v->store, m.ino, &n)) == 0)
		stat_msg(v, &m,
		    n + (alias_of(v, b->id, m.uid) != NULL), st);
	if (error == 0 && old)
		st->st_ino |= NODE_STALE;
	arena_fini(&a);
	return (error);
}

static int
part_of_name(const struct box *b, const char *name, enum box_part *part)
{
	int i;

	for (i = 0; i < 3; i++)
		if (strcmp(name, part_name[i]) == 0) {
			*part = (enum box_part)i;
			return ((b->hidden & 1u << i) != 0 ? -ENOENT : 0);
		}
	return (-EINVAL);
}

static struct box *
child_box(struct view *v, uint64_t parent, const char *name)
{
	struct arena a = ARENA_INIT;
	char *canonical = canonical_name(v, &a, parent, name);
	struct box *b = NULL;

	if (canonical != NULL)
		b = box_by_name(v, canonical);
	arena_fini(&a);
	return (b);
}

static int
lookup(struct view *v, uint64_t parent, const char *name, struct stat *st)
{
	enum box_part part;
	struct box *b;
	uint64_t special;
	int error;

	if ((error = view_boxes(v)) != 0)
		return (error);
	if (strlen(name) > NAME_LIMIT)
		return (-ENAMETOOLONG);
	if ((b = box_of_part(v, parent, &part)) != NULL)
		return (lookup_in_part(v, b, part, name, st));
	if ((b = box_of_folder(v, parent)) != NULL) {
		error = part_of_name(b, name, &part);
		if (error == 0)
			return (stat_part(v, b, part, st));
		if (error == -ENOENT)
			return (error);
	}
	if ((special = special_lookup(v, parent, name)) != 0) {
		error = node_getattr(v, special, st);
		if (error == 0 && special_writable(special) &&
		    st->st_size == 0 && scratch_by_node(v, special) == NULL)
			return (-ENOENT); /* nothing in it yet: no file */
		return (error);
	}
	if (special_is_dir(parent))
		return (-ENOENT);
	if ((b = child_box(v, parent, name)) != NULL)
		return (stat_folder(v, b, st));
	return (aux_lookup(v, parent, name, st));
}

int
view_lookup(struct view *v, uint64_t parent, const char *name, struct stat *st)
{
	int error;

	view_lock(v);
	error = lookup(v, parent, name, st);
	view_unlock(v);
	return (error);
}

/* ---- reading, writing ---- */

ssize_t
view_read(struct view *v, uint64_t node, void *p, size_t n, uint64_t off)
{
	struct scratch *s;
	ssize_t got;

	view_lock(v);
	node = real_node(v, node);
	s = scratch_by_node(v, node);
	if (s != NULL && s->kind != SCRATCH_SAVED)
		got = scratch_read(v, s, p, n, off);
	else if ((node & NODE_SPECIAL) != 0)
		got = special_read(v, node, p, n, off);
	else if ((node & NODE_AUX) != 0)
		got = aux_read(v, node, p, n, off);
	else
		got = msg_read(v, node, p, n, off);
	view_unlock(v);
	return (got);
}

/* The scratch file that writing to this node goes to. */
static int
writable(struct view *v, uint64_t node, struct scratch **out)
{
	struct scratch *s = scratch_by_node(v, node);

	if (v->o.readonly)
		return (-EROFS);
	if (s != NULL && s->kind == SCRATCH_SAVED) {
		/* The message is rewritten; its name in tmp has served. */
		int error = scratch_unlink(v, s);

		if (error != 0)
			return (error);
		s = NULL;
	}
	if (s == NULL && (node & NODE_SPECIAL) != 0) {
		if (!special_writable(node))
			return (-EPERM);
		return (scratch_edit(v, node, out));
	}
	if (s == NULL)
		return (scratch_dirty(v, node, out));
	*out = s;
	return (0);
}

ssize_t
view_write(struct view *v, uint64_t node, const void *p, size_t n, uint64_t off)
{
	struct scratch *s;
	ssize_t put;
	int error;

	view_lock(v);
	node = real_node(v, node);
	if ((node & NODE_AUX) != 0)
		put = aux_write(v, node, p, n, off);
	else if ((error = writable(v, node, &s)) != 0)
		put = error;
	else
		put = scratch_write(v, s, p, n, off);
	view_unlock(v);
	return (put);
}

int
view_fallocate(
    struct view *v, uint64_t node, int mode, uint64_t off, uint64_t len)
{
	struct scratch *s;
	int error;

	view_lock(v);
	node = real_node(v, node);
	if ((node & NODE_AUX) != 0)
		error = aux_fallocate(v, node, mode, off, len);
	else if ((error = writable(v, node, &s)) == 0)
		error = scratch_fallocate(v, s, mode, off, len);
	view_unlock(v);
	return (error);
}

static int
setattr(struct view *v, uint64_t node, const struct view_set *set)
{
	struct scratch *s = scratch_by_node(v, node);
	enum box_part part;
	int error;

	if (v->o.readonly)
		return (-EROFS);
	if (box_of_folder(v, node) != NULL ||
	    box_of_part(v, node, &part) != NULL || special_is_dir(node))
		return ((set->what & SET_SIZE) != 0 ? -EISDIR : 0);
	if ((node & NODE_AUX) != 0 || aux_find(v, node) != NULL)
		return (aux_setattr(v, node, set));
	if ((set->what & SET_SIZE) != 0 &&
	    (s == NULL || s->kind == SCRATCH_SAVED)) {
		if ((error = writable(v, node, &s)) != 0)
			return (error);
	}
	if (s != NULL && s->kind != SCRATCH_SAVED)
		return (scratch_setattr(v, s, set));
	if ((node & NODE_SPECIAL) != 0)
		return (0);
	return (msg_setattr(v, node, set));
}

int
view_setattr(
    struct view *v, uint64_t node, const struct view_set *set, struct stat *st)
{
	int error;

	view_lock(v);
	if ((error = view_boxes(v)) == 0 &&
	    (error = setattr(v, real_node(v, node), set)) == 0)
		error = node_getattr(v, real_node(v, node), st);
	if (error == 0)
		st->st_ino = node;
	view_unlock(v);
	return (error);
}

int
view_readlink(struct view *v, uint64_t node, char *out, size_t size)
{
	int error;

	view_lock(v);
	error =
	    (node & NODE_AUX) != 0 ? aux_readlink(v, node, out, size) : -EINVAL;
	view_unlock(v);
	return (error);
}

void
view_forget(struct view *v, uint64_t node, uint64_t count)
{
	struct scratch *s;
	struct zombie *z;

	view_lock(v);
	if ((s = scratch_by_node(v, node)) != NULL && s->unlinked)
		scratch_drop(v, s, true);
	HASH_FIND(hh, v->zombies, &node, sizeof(node), z);
	if (z != NULL) {
		HASH_DEL(v->zombies, z);
		free(z);
	}
	if ((node & NODE_AUX) != 0)
		aux_forget(v, node, count);
	view_unlock(v);
}
