/*
 * box -- a mailbox in use: where it lies, its list of UIDs, the lock.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define LIST "dovecot-uidlist"
#define LIST_LOCK "dovecot-uidlist.lock"

int
md_look(struct os *os, const char *path, struct stamp *out)
{
	int rc = md_stamp(os, path, out);

	return (rc == 0 ? 0 : md_fail(os, path, "looked at", rc));
}

/* ---- which one ---- */

static void
box_free(struct box *b)
{
	dotlock_release(&b->lock);
	uidlist_fini(&b->list);
	kwtable_fini(&b->kw);
	free(b->dir);
	free(b->ctl);
	free(b);
}

/* The lists are read again when they are needed again: one at a time is held.
 */
static void
box_rest(struct box *b)
{
	uidlist_fini(&b->list);
	kwtable_fini(&b->kw);
	b->list_read = b->kw_read = false;
}

int
md_box_dir_set(struct maildir *m, struct box *b, const char *dir)
{
	struct arena a = ARENA_INIT;
	char *ctl = md_ctl_of_dir(m, &a, dir), *d = strdup(dir),
	     *c = ctl == NULL ? NULL : strdup(ctl);

	arena_fini(&a);
	if (d == NULL || c == NULL) {
		free(d);
		free(c);
		return (-ENOMEM);
	}
	free(b->dir);
	free(b->ctl);
	b->dir = d;
	b->ctl = c;
	return (0);
}

int
md_box(struct maildir *m, uint32_t id, struct box **out)
{
	struct arena a = ARENA_INIT;
	struct box_state st;
	struct box *b, **p;
	int rc;

	for (p = &m->boxes; *p != NULL && (*p)->id != id; p = &(*p)->next)
		;
	if ((b = *p) != NULL) {
		*p = b->next; /* to the front */
		goto found;
	}
	if ((rc = md_state_get(m, id, &a, &st)) == 0) {
		if ((b = calloc(1, sizeof(*b))) == NULL)
			rc = -ENOMEM;
		else if ((rc = md_box_dir_set(m, b, st.dir)) != 0)
			free(b);
	}
	arena_fini(&a);
	if (rc != 0)
		return (rc);
	b->id = id;
	uidlist_init(&b->list);
found:
	if (m->boxes != NULL && m->boxes->lock.path == NULL)
		box_rest(m->boxes);
	b->next = m->boxes;
	m->boxes = b;
	*out = b;
	return (0);
}

void
md_box_forget(struct maildir *m, struct box *b)
{
	struct box **p;

	for (p = &m->boxes; *p != NULL; p = &(*p)->next)
		if (*p == b) {
			*p = b->next;
			box_free(b);
			return;
		}
}

/* ---- the list ---- */

int
md_list_read(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, LIST), *p = NULL;
	struct stamp now;
	size_t n = 0;
	int rc;

	if (path == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	if ((rc = md_look(m->control, path, &now)) != 0 ||
	    (b->list_read && stamp_eq(&now, &b->list_stamp)))
		goto out;
	uidlist_fini(&b->list);
	b->list_read = false;
	rc = now.there ? md_read(m->control, path, &p, &n) : -ENOENT;
	if (rc == 0)
		rc = uidlist_parse(&b->list, p, n);
	if (rc == -ENOENT) {
		b->list.rewrite = true;
		now.there = false;
		rc = 0;
	}
	if (rc == 0 && b->list.problem != NULL)
		log_error(
		    "%s/%s: line %u: %s; what follows is taken for unknown",
		    m->control->ops->label(m->control), path,
		    b->list.problem_line, b->list.problem);
	b->list_stamp = now;
	b->list_read = rc == 0;
out:
	free(p);
	arena_fini(&a);
	return (rc);
}

int
md_list_head(struct maildir *m, const char *ctl, uint32_t *uidvalidity,
    struct guid *guid)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, ctl, LIST), line[4096];
	struct uidlist l;
	struct os_file *f;
	ssize_t n;
	int rc = path == NULL
	    ? -ENOMEM
	    : m->control->ops->open(m->control, path, OS_READ, &f);

	*uidvalidity = 0;
	memset(guid, 0, sizeof(*guid));
	if (rc != 0)
		goto out;
	n = m->control->ops->pread(f, line, sizeof(line), 0);
	m->control->ops->close(f);
	uidlist_init(&l);
	if (n < 0)
		rc = (int)n;
	else if (memchr(line, '\n', (size_t)n) != NULL)
		rc = uidlist_parse(&l, line,
		    (size_t)((char *)memchr(line, '\n', (size_t)n) - line) + 1);
	*uidvalidity = l.uidvalidity;
	*guid = l.guid;
	uidlist_fini(&l);
out:
	if (rc != 0 && rc != -ENOENT)
		(void)md_fail(
		    m->control, path == NULL ? ctl : path, "read", rc);
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

uint32_t
md_next_uid(const struct box *b, const struct mailbox *box)
{
	return (b->list.next > box->uidnext ? b->list.next : box->uidnext);
}

/*
 * A UID can have been used without a line: of a message that was expunged right
 * after.  Dovecot knows of it by the list alone, and would use it again.
 */
bool
md_list_behind(const struct box *b, const struct mailbox *box)
{
	return (b->list.rewrite || b->list.next < box->uidnext);
}

int
md_list_write(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, LIST);
	struct buf out = BUF_INIT;
	struct mailbox box;
	int rc = store_mailbox(m->r.store, b->id, &box);

	if (rc == 0 && path == NULL)
		rc = -ENOMEM;
	if (rc != 0)
		goto out;
	if (b->list.uidvalidity == 0)
		b->list.uidvalidity = box.uidvalidity;
	if (guid_is_zero(&b->list.guid))
		b->list.guid = box.guid;
	b->list.next = md_next_uid(b, &box);
	uidlist_format(&out, &b->list);
	if ((rc = out.error) != 0)
		goto out;
	b->list_read = false;
	if ((rc = os_replace_file(m->control, path, out.data, out.len)) != 0) {
		(void)md_fail(m->control, path, "written", rc);
		goto out;
	}
	b->list.rewrite = b->guid_new = false;
	b->list.problem = NULL;
	if ((rc = md_look(m->control, path, &b->list_stamp)) == 0)
		b->list_read = true;
out:
	buf_fini(&out);
	arena_fini(&a);
	return (rc);
}

static int
append_line(struct maildir *m, struct box *b, const char *path,
    const struct buf *line, bool sync)
{
	struct os *os = m->control;
	struct os_file *f;
	int rc = os->ops->open(os, path, OS_WRITE, &f);

	if (rc != 0)
		return (md_fail(os, path, "opened", rc));
	if ((rc = os->ops->pwrite(
		 f, line->data, line->len, b->list_stamp.size)) != 0) {
		(void)md_fail(os, path, "written", rc);
		/*
		 * Half a line must not stay; nobody took it for one, as it has
		 * no end.
		 */
		(void)os->ops->truncate(f, b->list_stamp.size);
	} else if (sync && (rc = os->ops->sync(f)) != 0) {
		(void)md_fail(os, path, "synced", rc);
	}
	os->ops->close(f);
	return (rc);
}

int
md_list_append(
    struct maildir *m, struct box *b, const struct uidrec *r, bool sync)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, LIST);
	struct buf line = BUF_INIT;
	int rc;

	uidlist_put_record(&line, r);
	rc = path == NULL ? -ENOMEM : line.error;
	if (rc == 0 && (rc = uidlist_add(&b->list, r)) == 0) {
		b->list_read = false; /* until it is known what is on disk */
		b->dirty_list = b->dirty_list || !sync;
		if ((rc = append_line(m, b, path, &line, sync)) == 0 &&
		    (rc = md_look(m->control, path, &b->list_stamp)) == 0)
			b->list_read = true;
	}
	buf_fini(&line);
	arena_fini(&a);
	return (rc);
}

/* ---- the lock ---- */

static int
list_ready(struct maildir *m, struct box *b)
{
	struct mailbox box;
	int rc = md_list_read(m, b);

	if (rc == 0)
		rc = store_mailbox(m->r.store, b->id, &box);
	if (rc != 0)
		return (rc);
	if (b->guid_new) {
		b->list.guid = box.guid;
		b->list.rewrite = true;
	}
	if (!guid_is_zero(&b->list.guid) &&
	    !guid_eq(&b->list.guid, &box.guid)) {
		log_error("%s: mailbox %s: another one was put in its place "
			  "meanwhile; run again",
		    m->r.label, box.name);
		return (-EEXIST);
	}
	return (md_list_behind(b, &box) ? md_list_write(m, b) : 0);
}

int
md_box_lock(struct maildir *m, struct box *b, bool quiet)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, LIST_LOCK);
	int rc = path == NULL ? -ENOMEM : 0;

	if (b->lock.path != NULL) {
		dotlock_touch(&b->lock);
		goto out;
	}
	if (rc == 0 && m->control != m->root &&
	    (rc = os_mkdirs(m->control, b->ctl)) != 0)
		(void)md_fail(m->control, b->ctl, "made", rc);
	if (rc != 0)
		goto out;
	rc = dotlock_take(&b->lock, m->control, path, m->lock_wait_ms, NULL, 0);
	if ((rc == -EROFS || rc == -EACCES || rc == -EPERM) && !quiet)
		(void)md_fail(m->control, path, "made", rc);
	if (rc == 0 && (rc = list_ready(m, b)) != 0)
		dotlock_release(&b->lock);
out:
	arena_fini(&a);
	return (rc);
}

void
md_box_unlock(struct maildir *m, struct box *b)
{
	(void)m;
	dotlock_release(&b->lock);
}

void
md_boxes_unlock(struct maildir *m)
{
	for (struct box *b = m->boxes; b != NULL; b = b->next)
		dotlock_release(&b->lock);
}

/* ---- durability ---- */

static int
sync_one(struct os *os, const char *path)
{
	int rc = os->ops->sync_dir(os, path);

	/* A mailbox that was deleted meanwhile has nothing to keep. */
	return (rc == 0 || rc == -ENOENT ? 0 : md_fail(os, path, "synced", rc));
}

static int
sync_list(struct maildir *m, const char *path)
{
	struct os_file *f;
	int rc = m->control->ops->open(m->control, path, OS_WRITE, &f);

	if (rc == -ENOENT)
		return (0);
	if (rc == 0) {
		rc = m->control->ops->sync(f);
		m->control->ops->close(f);
	}
	return (rc == 0 ? 0 : md_fail(m->control, path, "synced", rc));
}

int
md_box_sync(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	char *list = md_path(&a, b->ctl, LIST),
	     *cur = md_path(&a, b->dir, "cur"),
	     *new = md_path(&a, b->dir, "new");
	int rc = list == NULL || cur == NULL || new == NULL ? -ENOMEM : 0;

	if (rc == 0 && b->dirty_list && (rc = sync_list(m, list)) == 0)
		b->dirty_list = false;
	if (rc == 0 && b->dirty_ctl && (rc = sync_one(m->control, b->ctl)) == 0)
		b->dirty_ctl = false;
	if (rc == 0 && b->dirty_new && (rc = sync_one(m->root, new)) == 0)
		b->dirty_new = false;
	if (rc == 0 && b->dirty_cur && (rc = sync_one(m->root, cur)) == 0)
		b->dirty_cur = false;
	arena_fini(&a);
	return (rc);
}
