/*
 * view_kept -- names, attributes and listings that the kernel keeps for ever,
 * and what it has to forget because something else changed them.
 *
 * A request tells the kernel of its own effect.  Left are: what a command in
 * this process does (view_nudge.c has its messages), what is settled later than
 * it was written, and names that are shown in another form than they were
 * given.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <string.h>

#define SHOWN_SECONDS 60 /* for a name that was given and is not shown */

void
kept_mail(struct view *v, uint32_t box)
{
	struct box *b = box_by_id(v, box);

	if (b == NULL)
		return;
	view_tell(v, FORGET_INODE, part_node(b, PART_CUR), NULL);
	view_tell(v, FORGET_INODE, part_node(b, PART_NEW), NULL);
}

void
kept_name(struct view *v, uint32_t box, enum box_part part, const char *name)
{
	struct stale s = { .box = box, .part = part };
	struct box *b = box_by_id(v, box);
	struct arena a = ARENA_INIT;
	char *base;
	struct msg m;

	if (b == NULL || part == PART_TMP ||
	    scratch_by_name(v, box, part, name) != NULL ||
	    msg_lookup(v, &a, box, part, name, &m) != -ENOENT)
		goto out;
	view_tell(v, FORGET_ENTRY, part_node(b, part), name);
	kept_mail(v, box);
	base = arena_strndup(&a, name, mail_base_len(name));
	if (base != NULL &&
	    store_msg_by_name(v->store, box, base, &a, &m) == 0) {
		s.uid = m.uid;
		s.name = arena_strdup(&a, name);
		if (s.name != NULL)
			stale_add(v, &s, SHOWN_SECONDS);
	}
out:
	arena_fini(&a);
}

/* ---- folders ---- */

/* The node of a directory under aux/ that the kernel knows; 0. */
static uint64_t
aux_node(const struct view *v, uint64_t parent, const char *name)
{
	for (const struct aux *x = v->aux; x != NULL; x = x->hh.next)
		if (x->parent == parent && x->dir && x->name != NULL &&
		    strcmp(x->name, name) == 0)
			return (x->node);
	return (0);
}

/*
 * The directories from the root to that of a folder: each of them shows another
 * listing or another link count; the last one has or had the name.
 */
void
kept_folder(struct view *v, const char *canonical, bool gone)
{
	struct arena a = ARENA_INIT;
	char *path = folder_name(v, &a, canonical), *slash;
	char *name = arena_strdup(&a, canonical), *part = name;
	uint64_t dir = NODE_ROOT;
	struct box *b;

	view_tell(v, FORGET_INODE, dir, NULL);
	/* The levels of both, side by side; Maildir++ has one. */
	while (path != NULL && part != NULL && dir != 0) {
		slash = v->o.layout == LAYOUT_FS ? strchr(path, '/') : NULL;
		part = strchr(part, '/');
		if (slash == NULL) {
			if (gone)
				view_tell(v, FORGET_ENTRY, dir, path);
			break;
		}
		*slash = '\0';
		if (part != NULL)
			*part = '\0';
		b = box_by_name(v, name);
		if (part != NULL)
			*part++ = '/';
		dir = b != NULL ? b->folder : aux_node(v, dir, path);
		if (dir != 0)
			view_tell(v, FORGET_INODE, dir, NULL);
		path = slash + 1;
	}
	arena_fini(&a);
}

/* A copy in another mailbox has one link less. */
static int
forget_links(void *arg, uint32_t box, const struct msg *m)
{
	struct view *v = arg;
	unsigned n;
	int error = store_count_ino(v->store, m->ino, &n);

	(void)box;
	if (error == 0 && n > 0)
		view_tell(v, FORGET_ATTR, m->ino, NULL);
	return (error);
}

void
kept_deleted(struct view *v, uint32_t box)
{
	(void)store_msgs_deleted(v->store, box, forget_links, v);
}

/* ---- keywords ---- */

/* Who has chosen the end of a name may see it in its usual form now. */
static int
forget_name(void *arg, uint32_t box, const struct msg *m)
{
	struct view *v = arg;
	const struct box *b = box_by_id(v, box);
	struct arena a = ARENA_INIT;
	char *name;

	if (b == NULL || m->letters == NULL || m->letters[0] != '=')
		return (0);
	if ((name = msg_file_name(v, &a, box, m)) != NULL)
		view_tell(v, FORGET_ENTRY, part_node(b, msg_part(m)), name);
	arena_fini(&a);
	return (name == NULL ? -ENOMEM : 0);
}

void
kept_keywords(struct view *v, uint32_t box)
{
	struct box *b = box_by_id(v, box);

	if (b == NULL)
		return;
	view_tell(v, FORGET_INODE, special_keywords_node(b), NULL);
	/* The first one makes the file. */
	if (!b->shows_keywords)
		view_tell(v, FORGET_INODE, b->folder, NULL);
	b->shows_keywords = special_shows_keywords(v, b);
	kept_mail(v, box);
	(void)store_msgs(v->store, box, 1, forget_name, v);
}
