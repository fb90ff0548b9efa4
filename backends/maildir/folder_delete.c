/*
 * folder_delete -- mailboxes deleted, their GUID and numbers changed,
 * subscriptions.
 *
 * A mailbox that is deleted is first renamed to where no program looks for
 * mail, in one step; then it is taken apart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/maildir/write.h"
#include "base/digest.h"
#include "base/log.h"

#define SUBS "subscriptions"

static int
finish(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

/* ---- taking a directory apart ---- */

struct entries {
	struct arena *a;
	struct entry {
		struct entry *next;
		const char *name;
		bool dir;
	} * first;
};

static int
on_entry(void *arg, const struct os_dirent *e)
{
	struct entries *s = arg;
	struct entry *n = arena_alloc(s->a, sizeof(*n));

	if (n == NULL || (n->name = arena_strdup(s->a, e->name)) == NULL)
		return (-ENOMEM);
	n->dir = e->type == OS_DIR;
	n->next = s->first;
	s->first = n;
	return (0);
}

static int
remove_level(struct os *os, const char *path, unsigned depth)
{
	struct arena a = ARENA_INIT;
	struct entries s = { &a, NULL };
	int rc = depth > MD_DEPTH_MAX * 2
	    ? -ELOOP
	    : os->ops->list(os, path, on_entry, &s);

	for (struct entry *e = s.first; rc == 0 && e != NULL; e = e->next) {
		char *p = md_path(&a, path, e->name);

		rc = p == NULL ? -ENOMEM
		    : e->dir   ? remove_level(os, p, depth + 1)
			       : os->ops->unlink(os, p);
		rc = rc == -ENOENT ? 0 : rc;
	}
	arena_fini(&a);
	return (rc == 0 ? os->ops->rmdir(os, path) : rc);
}

int
md_remove_tree(struct os *os, const char *path)
{
	int rc = remove_level(os, path, 0);

	return (rc == -ENOENT ? 0 : rc);
}

/* ---- deleting ---- */

static int
trash_name(struct maildir *m, struct arena *a, const char **out)
{
	char hex[17];
	uint8_t r[8];
	int rc = m->root->ops->random(m->root, r, sizeof(r));

	if (rc != 0)
		return (rc);
	hex_encode(r, sizeof(r), hex);
	*out = arena_printf(a, "%s%s%s", MD_TRASH, MD_TRASH_PREFIX, hex);
	rc = *out == NULL ? -ENOMEM : os_mkdirs(m->root, "cur");
	return (rc);
}

/* Other mailboxes lie in its directory. */
static bool
has_children(struct entries *s)
{
	for (struct entry *e = s->first; e != NULL; e = e->next)
		if (e->dir && e->name[0] != '.' &&
		    strcmp(e->name, "cur") != 0 &&
		    strcmp(e->name, "new") != 0 && strcmp(e->name, "tmp") != 0)
			return (true);
	return (false);
}

/*
 * LAYOUT=fs: its mail goes, new/ first, since cur/ makes the mailbox; the
 * directory stays for its children.
 */
static int
strip(struct maildir *m, struct arena *a, const char *dir,
    const struct entries *s, const char *trash)
{
	static const char *const parts[] = { "new", "tmp", "cur" };
	int rc = m->root->ops->mkdir(m->root, trash);

	for (size_t i = 0; rc == 0 && i < 3; i++) {
		char *from = md_path(a, dir, parts[i]),
		     *to = md_path(a, trash, parts[i]);

		rc = from == NULL || to == NULL
		    ? -ENOMEM
		    : m->root->ops->rename_excl(m->root, from, to);
		rc = rc == -ENOENT ? 0 : rc;
	}
	for (const struct entry *e = s->first; rc == 0 && e != NULL;
	     e = e->next) {
		char *p = md_path(a, dir, e->name);

		if (p == NULL)
			return (-ENOMEM);
		if (!e->dir &&
		    (strncmp(e->name, "dovecot", 7) == 0 ||
			strcmp(e->name, "maildirfolder") == 0))
			(void)m->root->ops->unlink(m->root, p);
	}
	return (rc == 0 ? m->root->ops->sync_dir(m->root, dir) : rc);
}

static void
drop_control(struct maildir *m, struct arena *a, const char *dir)
{
	struct entries s = { a, NULL };
	char *ctl = md_ctl_of_dir(m, a, dir);

	if (m->control == m->root || ctl == NULL || *ctl == 0 ||
	    m->control->ops->list(m->control, ctl, on_entry, &s) != 0)
		return;
	for (struct entry *e = s.first; e != NULL; e = e->next) {
		char *p = e->dir ? NULL : md_path(a, ctl, e->name);

		if (p != NULL)
			(void)m->control->ops->unlink(m->control, p);
	}
	(void)m->control->ops->rmdir(m->control, ctl);
}

static int
remove_mailbox(struct maildir *m, struct arena *a, const char *dir)
{
	struct entries s = { a, NULL };
	const char *trash;
	int rc = m->root->ops->list(m->root, dir, on_entry, &s);

	if (rc == -ENOENT)
		return (0);
	if (rc == 0)
		rc = trash_name(m, a, &trash);
	if (rc == 0 && m->fs && has_children(&s))
		rc = strip(m, a, dir, &s, trash);
	else if (rc == 0)
		rc = m->root->ops->rename_excl(m->root, dir, trash);
	if (rc == 0)
		rc = m->root->ops->sync_dir(m->root, "");
	if (rc != 0)
		return (md_fail(m->root, dir, "removed", rc));
	drop_control(m, a, dir);
	/* From here on it is rubbish, which the next look takes away too. */
	if ((rc = md_remove_tree(m->root, trash)) != 0)
		log_warning("%s/%s: cannot be removed: %s",
		    m->root->ops->label(m->root), trash, strerror(-rc));
	return (0);
}

/*
 * What is left of a mailbox whose mail somebody has removed: lists, locks of a
 * program that was killed, indexes.
 */
static bool
only_leftovers(const struct entries *s)
{
	for (struct entry *e = s->first; e != NULL; e = e->next)
		if (e->dir ||
		    (strncmp(e->name, "dovecot", 7) != 0 &&
			strcmp(e->name, "maildirfolder") != 0))
			return (false);
	return (true);
}

static int
remove_directory(struct maildir *m, struct arena *a, const char *name)
{
	struct entries s = { a, NULL };
	struct os *os = m->root;
	const char *dir;
	bool changed;
	int rc;

	if (!m->fs)
		return (0);
	if ((rc = md_dir_of_name(m, a, name, &changed, &dir)) != 0)
		return (rc);
	rc = os->ops->rmdir(os, dir);
	if ((rc == -ENOTEMPTY || rc == -EEXIST) &&
	    os->ops->list(os, dir, on_entry, &s) == 0 && only_leftovers(&s))
		rc = remove_level(os, dir, 0);
	/* What still is in it belongs to somebody. */
	return (rc == 0 || rc == -ENOENT || rc == -ENOTEMPTY || rc == -EEXIST
		? 0
		: md_fail(os, dir, "removed", rc));
}

static int
close_boxes(struct maildir *m)
{
	int rc = 0, rc2;

	while (m->boxes != NULL) {
		if ((rc2 = md_box_sync(m, m->boxes)) != 0)
			rc = rc2;
		if ((rc2 = md_release(m, m->boxes)) != 0)
			rc = rc2;
		md_box_forget(m, m->boxes);
	}
	return (rc);
}

int
md_mailbox_delete(
    struct replica *r, uint32_t id, int64_t time, const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct box_state st;
	struct mailbox box;
	struct txn *t;
	bool selectable;
	int rc = m->rdonly ? -EROFS : store_mailbox(r->store, id, &box);

	if (rc != 0)
		return (rc);
	if (strcmp(box.name, "INBOX") == 0) {
		log_error(
		    "%s: INBOX cannot be deleted; it is the location itself",
		    r->label);
		return (-EINVAL);
	}
	selectable = box.selectable;
	if ((rc = close_boxes(m)) != 0)
		goto out;
	if (!selectable)
		rc = remove_directory(m, &a, box.name);
	else if ((rc = md_state_get(m, id, &a, &st)) == 0 && *st.dir != 0)
		rc = remove_mailbox(m, &a, st.dir);
	if (rc == 0 || rc == -ENOENT)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0) {
		if ((rc = txn_mailbox_delete(t, id, time)) == 0 && selectable)
			rc = md_state_drop(t, id);
		rc = finish(t, rc);
	}
out:
	arena_fini(&a);
	return (rc);
}

/* ---- GUID, UIDVALIDITY, next UID ---- */

int
md_mailbox_update(struct replica *r, uint32_t id,
    const struct mailbox_update *u, const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct mailbox box, other;
	struct box *b;
	struct txn *t;
	bool write = false;
	int rc = md_begin(m, id, &box, &b);

	if (rc != 0)
		return (rc);
	if (!guid_is_zero(&u->guid) && !guid_eq(&u->guid, &b->list.guid)) {
		if (store_mailbox_by_guid(r->store, &u->guid, &other) == 0 &&
		    other.id != id)
			return (-EEXIST);
		b->list.guid = u->guid;
		write = true;
	}
	if (u->uidvalidity != 0 && u->uidvalidity != b->list.uidvalidity) {
		b->list.uidvalidity = u->uidvalidity;
		write = true;
	}
	if (u->min_uidnext > b->list.next) {
		b->list.next = u->min_uidnext;
		write = true;
	}
	if (write)
		rc = md_list_write(m, b);
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	return (rc != 0 ? rc : finish(t, txn_mailbox_update(t, id, u)));
}

/* ---- subscriptions ---- */

static int
change_subs(struct maildir *m, const char *name, bool on)
{
	struct buf b = BUF_INIT;
	struct subs s;
	char *p = NULL;
	size_t n = 0;
	bool had;
	int rc = md_read(m->control, SUBS, &p, &n);

	subs_init(&s, m->fs ? '/' : '.');
	if (rc == 0)
		rc = subs_parse(&s, p, n);
	else if (rc == -ENOENT)
		rc = 0;
	free(p);
	had = rc == 0 && subs_has(&s, name);
	if (rc == 0 && had != on) {
		if (on)
			rc = subs_add(&s, name);
		else
			subs_remove(&s, name);
		subs_format(&b, &s);
		rc = rc != 0 ? rc : b.error;
		if (rc == 0 &&
		    (rc = os_replace_file(m->control, SUBS, b.data, b.len)) !=
			0)
			(void)md_fail(m->control, SUBS, "written", rc);
	}
	buf_fini(&b);
	subs_fini(&s);
	return (rc);
}

int
md_subscribe(struct replica *r, const char *name, bool on, int64_t time,
    const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct dotlock lock = { .path = NULL };
	struct arena a = ARENA_INIT;
	const char *text;
	struct txn *t;
	int rc = m->rdonly ? -EROFS : md_sub_name(m, &a, name, &text);

	if (rc == 0)
		rc = dotlock_take(
		    &lock, m->control, SUBS ".lock", m->lock_wait_ms, NULL, 0);
	if (rc == 0)
		rc = change_subs(m, text, on);
	dotlock_release(&lock);
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0)
		rc = finish(t, txn_subscribe(t, name, on, time));
	arena_fini(&a);
	return (rc);
}
