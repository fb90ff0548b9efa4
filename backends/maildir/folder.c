/*
 * folder -- mailboxes made, renamed and deleted, in the tree first and then in
 * the sidecar; subscriptions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/maildir/write.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/name.h"

#define LIST "dovecot-uidlist"
#define SUBS "subscriptions"

static int
may_write(struct maildir *m)
{
	if (!m->rdonly)
		return (0);
	log_error("%s: is opened for reading only", m->r.label);
	return (-EROFS);
}

static int
finish(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static bool
is_dir(struct os *os, const char *path)
{
	struct os_stat st;

	return (os->ops->stat(os, path, &st) == 0 && st.type == OS_DIR);
}

static bool
there(struct os *os, const char *path)
{
	struct os_stat st;

	return (os->ops->stat(os, path, &st) != -ENOENT);
}

/* ---- where a new mailbox goes ---- */

struct lodger {
	struct maildir *m;
	const char *dir;
};

static int
lives_there(void *arg, const struct mailbox *box)
{
	struct lodger *l = arg;
	struct arena a = ARENA_INIT;
	struct box_state st;
	int rc = box->exists && box->selectable
	    ? md_state_get(l->m, box->id, &a, &st)
	    : -ENOENT;

	if (rc == 0)
		rc = strcmp(st.dir, l->dir) == 0;
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/* 1: a mailbox whose name the layout cannot hold lies in this directory. */
static int
is_taken(struct maildir *m, const char *dir)
{
	struct lodger l = { m, dir };

	return (there(m->root, dir)
		? store_mailboxes(m->r.store, lives_there, &l)
		: 0);
}

/*
 * A directory for the name.  -EEXIST: another program has made that mailbox
 * since the last look.
 */
static int
pick_dir(struct maildir *m, struct arena *a, const char *name, bool mail,
    const char **dir)
{
	const char *base;
	struct os_stat st;
	bool changed;
	char *cur;
	int rc = md_dir_of_name(m, a, name, &changed, &base);

	if (rc != 0)
		return (rc);
	*dir = base;
	if (!changed && mail && *base != 0) {
		if ((rc = is_taken(m, base)) < 0)
			return (rc);
		changed = rc == 1;
	}
	for (unsigned i = 2; changed; i++) {
		rc = m->root->ops->stat(m->root, *dir, &st);
		if (rc == -ENOENT)
			break;
		if (rc != 0)
			return (md_fail(m->root, *dir, "looked at", rc));
		if ((*dir = arena_printf(a, "%s_%u", base, i)) == NULL)
			return (-ENOMEM);
	}
	if (changed)
		log_warning("%s: mailbox %s cannot be held under this name; it "
			    "lies in '%s'",
		    m->r.label, name, *dir);
	if ((cur = md_path(a, *dir, "cur")) == NULL)
		return (-ENOMEM);
	/* INBOX is where the sidecar may lie before there is any mail. */
	if (**dir != 0 && mail && is_dir(m->root, cur)) {
		log_error("%s: mailbox %s was made by another program "
			  "meanwhile; run again",
		    m->r.label, name);
		return (-EEXIST);
	}
	return (0);
}

static int
make_parts(struct maildir *m, struct arena *a, const char *dir)
{
	static const char *const parts[] = { "tmp", "new", "cur" };
	int rc = os_mkdirs(m->root, dir);

	for (size_t i = 0; rc == 0 && i < 3; i++) {
		char *path = md_path(a, dir, parts[i]);

		rc =
		    path == NULL ? -ENOMEM : m->root->ops->mkdir(m->root, path);
		rc = rc == -EEXIST ? 0 : rc;
	}
	/* Tells delivery agents that the quota is counted one level up. */
	if (rc == 0 && !m->fs && *dir != 0) {
		char *path = md_path(a, dir, "maildirfolder");
		struct os_file *f;

		rc = path == NULL ? -ENOMEM
				  : m->root->ops->open(m->root, path,
					OS_WRITE | OS_CREATE, &f);
		if (rc == 0)
			m->root->ops->close(f);
	}
	if (rc == 0)
		rc = m->root->ops->sync_dir(m->root, dir);
	return (rc == 0 ? 0 : md_fail(m->root, dir, "made", rc));
}

static uint32_t
last_uidvalidity(struct maildir *m)
{
	unsigned long v = 0;
	char *p, *end;
	size_t n;

	if (os_read_file(m->control, "dovecot-uidvalidity", 64, &p, &n) == 0) {
		v = strtoul(p, &end, 16);
		if (end != p + 8 || v > UINT32_MAX)
			v = 0;
		free(p);
	}
	return ((uint32_t)v);
}

static int
first_list(struct maildir *m, struct arena *a, const char *dir,
    const struct mailbox_new *n)
{
	char *ctl = md_ctl_of_dir(m, a, dir),
	     *path = ctl == NULL ? NULL : md_path(a, ctl, LIST);
	struct buf b = BUF_INIT;
	struct uidlist l;
	int rc;

	if (path == NULL)
		return (-ENOMEM);
	uidlist_init(&l);
	l.uidvalidity = n->uidvalidity;
	l.guid = n->guid;
	uidlist_format(&b, &l);
	uidlist_fini(&l);
	rc = b.error;
	if (rc == 0 && m->control != m->root)
		rc = os_mkdirs(m->control, ctl);
	if (rc == 0)
		rc = os_replace_file(m->control, path, b.data, b.len);
	buf_fini(&b);
	return (rc == 0 ? 0 : md_fail(m->control, path, "written", rc));
}

/* A GUID and a UIDVALIDITY above those that were used here. */
static int
complete(struct maildir *m, struct mailbox_new *n)
{
	int64_t sec;
	uint32_t nsec, last = last_uidvalidity(m);
	int rc;

	if (guid_is_zero(&n->guid) && (rc = os_guid(m->root, n->guid.b)) != 0)
		return (rc);
	if (n->uidvalidity != 0)
		return (0);
	m->root->ops->now(m->root, &sec, &nsec);
	n->uidvalidity = sec > 0 && sec < UINT32_MAX ? (uint32_t)sec : 1;
	if (n->uidvalidity <= last && last < UINT32_MAX)
		n->uidvalidity = last + 1;
	return (0);
}

static int
enter(struct maildir *m, const struct mailbox_new *n, const char *dir,
    const struct guid *origin, uint32_t *id)
{
	struct box_state st = { .dir = dir };
	struct txn *t;
	uint32_t got;
	int rc = txn_begin(m->r.store, origin, &t);

	if (rc != 0)
		return (rc);
	if ((rc = txn_mailbox_create(t, n, &got)) == 0 && !n->directory)
		rc = md_state_put(t, got, &st);
	if ((rc = finish(t, rc)) == 0 && id != NULL)
		*id = got;
	return (rc);
}

int
md_mailbox_create(struct replica *r, const struct mailbox_new *in,
    const struct guid *origin, uint32_t *id)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct mailbox_new n = *in;
	struct mailbox box;
	const char *dir = "";
	int rc = may_write(m);

	if (rc == 0 && !name_valid(n.name))
		rc = -EINVAL;
	if (rc == 0 &&
	    (rc = store_mailbox_by_name(r->store, n.name, &box)) == 0)
		rc =
		    box.exists && (n.directory || box.selectable) ? -EEXIST : 0;
	else if (rc == -ENOENT)
		rc = 0;
	if (rc == 0 && !n.directory && !guid_is_zero(&n.guid) &&
	    store_mailbox_by_guid(r->store, &n.guid, &box) == 0)
		rc = -EEXIST;
	/*
	 * Maildir++ has no directories without mail: the sidecar alone knows of
	 * them.
	 */
	if (rc == 0 && (m->fs || !n.directory))
		rc = pick_dir(m, &a, n.name, !n.directory, &dir);
	if (rc == 0 && n.directory && m->fs &&
	    (rc = os_mkdirs(m->root, dir)) != 0)
		(void)md_fail(m->root, dir, "made", rc);
	if (rc == 0 && !n.directory) {
		rc = complete(m, &n);
		if (rc == 0)
			rc = make_parts(m, &a, dir);
		if (rc == 0)
			rc = first_list(m, &a, dir, &n);
	}
	if (rc == 0)
		rc = enter(m, &n, dir, origin, id);
	arena_fini(&a);
	return (rc);
}

/* ---- rename ---- */

struct move {
	uint32_t id;
	const char *from, *to;
};

struct moves {
	struct maildir *m;
	struct arena *a;
	/* name and directories of what is renamed */
	const char *old, *from, *to;
	struct move *v;
	size_t n, cap;
	int rc;
};

static int
collect(void *arg, const struct mailbox *box)
{
	struct moves *s = arg;
	struct box_state st;
	size_t len = strlen(s->from);

	if (!box->exists || !box->selectable ||
	    !name_is_child(s->old, box->name))
		return (0);
	if ((s->rc = md_state_get(s->m, box->id, s->a, &st)) != 0)
		return (s->rc == -ENOENT ? (s->rc = 0) : s->rc);
	/* A directory whose name is another anyway stays where it is. */
	if (strncmp(st.dir, s->from, len) != 0 ||
	    (st.dir[len] != 0 && st.dir[len] != (s->m->fs ? '/' : '.')))
		return (0);
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 16 : s->cap * 2;
		struct move *v = arena_alloc(s->a, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		if (s->n != 0)
			memcpy(v, s->v, s->n * sizeof(*v));
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n].id = box->id;
	s->v[s->n].from = st.dir;
	s->v[s->n].to = arena_printf(s->a, "%s%s", s->to, st.dir + len);
	return (s->v[s->n++].to == NULL ? -ENOMEM : 0);
}

/* A directory with nothing in it but such directories; parents first. */
struct hollow {
	struct arena *a;
	const char *dir[64];
	size_t n, at;
};

static int
on_hollow(void *arg, const struct os_dirent *e)
{
	struct hollow *h = arg;

	if (e->type != OS_DIR || h->n == sizeof(h->dir) / sizeof(h->dir[0]) ||
	    strcmp(e->name, "cur") == 0 || strcmp(e->name, "new") == 0 ||
	    strcmp(e->name, "tmp") == 0)
		return (-ENOTEMPTY);
	h->dir[h->n] = arena_printf(h->a, "%s/%s", h->dir[h->at], e->name);
	return (h->dir[h->n++] == NULL ? -ENOMEM : 0);
}

static int
refill(struct os *os, const struct hollow *h)
{
	int rc = 0;

	for (size_t i = 1; i < h->n && rc == 0; i++)
		if ((rc = os_mkdirs(os, h->dir[i])) == 0)
			rc = os->ops->sync_dir(os, h->dir[i]);
	return (rc == 0 && h->n > 1 ? os->ops->sync_dir(os, h->dir[0]) : rc);
}

/*
 * Directories of a name that a mailbox shall have are nobody's loss, unless
 * something is in them; what is left below the name is made again afterwards.
 */
static int
move_over(struct os *os, struct arena *a, const char *from, const char *to)
{
	struct hollow h = { .a = a, .dir = { to }, .n = 1 };
	size_t i;
	int rc = 0, rc2;

	for (; h.at < h.n && rc == 0; h.at++)
		rc = os->ops->list(os, h.dir[h.at], on_hollow, &h);
	if (rc == -ENOENT || rc == -ENOTDIR)
		h.n = 0;
	else if (rc != 0)
		return (rc == -ENOTEMPTY ? -EEXIST : rc);
	for (i = h.n, rc = 0; rc == 0 && i > 0; i--)
		rc = os->ops->rmdir(os, h.dir[i - 1]);
	if (rc == 0)
		rc = os->ops->rename_excl(os, from, to);
	else if (rc == -ENOTEMPTY)
		rc = -EEXIST; /* somebody was faster */
	rc2 = refill(os, &h);
	return (rc != 0 ? rc : rc2);
}

static int
move_dir(struct os *os, struct arena *a, const char *from, const char *to)
{
	char *up = arena_strdup(a, to),
	     *slash = up == NULL ? NULL : strrchr(up, '/');
	char *old = arena_strdup(a, from),
	     *old_slash = old == NULL ? NULL : strrchr(old, '/');
	int rc = a->error != 0 ? -ENOMEM : 0;

	if (up != NULL)
		*(slash == NULL ? up : slash) = 0;
	if (old != NULL)
		*(old_slash == NULL ? old : old_slash) = 0;
	if (rc == 0)
		rc = os_mkdirs(os, up);
	if (rc == 0)
		rc = move_over(os, a, from, to);
	if (rc == 0)
		rc = os->ops->sync_dir(os, up);
	if (rc == 0 && strcmp(old, up) != 0)
		rc = os->ops->sync_dir(os, old);
	return (rc);
}

static int
move_both(struct maildir *m, struct arena *a, const char *from, const char *to)
{
	char *cfrom, *cto;
	int rc = move_dir(m->root, a, from, to);

	if (rc == -ENOENT)
		/* nothing there: the next look finds what became of it */
		return (0);
	if (rc == -EEXIST)
		return (rc); /* other mailboxes lie there: the caller's */
	if (rc != 0)
		return (md_fail(m->root, from, "renamed", rc));
	if (m->control == m->root)
		return (0);
	cfrom = md_ctl_of_dir(m, a, from);
	cto = md_ctl_of_dir(m, a, to);
	rc = cfrom == NULL || cto == NULL ? -ENOMEM
					  : move_dir(m->control, a, cfrom, cto);
	return (rc == 0 || rc == -ENOENT
		? 0
		: md_fail(
		      m->control, cfrom == NULL ? from : cfrom, "renamed", rc));
}

static void
forget_all(struct maildir *m)
{
	while (m->boxes != NULL)
		md_box_forget(m, m->boxes);
}

static int
tell_moves(const struct moves *s, struct txn *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n; i++) {
		struct box_state st;

		if ((rc = md_state_get(s->m, s->v[i].id, s->a, &st)) != 0)
			break;
		st.dir = s->v[i].to;
		st.settled = false;
		rc = md_state_put(t, s->v[i].id, &st);
	}
	return (rc);
}

static int
give_up_locks(struct maildir *m)
{
	int rc = 0, rc2;

	for (struct box *b = m->boxes; b != NULL; b = b->next) {
		if ((rc2 = md_box_sync(m, b)) != 0)
			rc = rc2;
		if ((rc2 = md_release(m, b)) != 0)
			rc = rc2;
	}
	forget_all(m);
	return (rc);
}

/* The directories of what is renamed and of all below it. */
static int
move_all(struct moves *s)
{
	int rc = 0;

	if (s->m->fs)
		return (move_both(s->m, s->a, s->from, s->to));
	for (size_t i = 0; rc == 0 && i < s->n; i++)
		rc = move_both(s->m, s->a, s->v[i].from, s->v[i].to);
	return (rc);
}

static int
rename_check(struct maildir *m, const struct mailbox *box, const char *name)
{
	struct mailbox other;

	if (!name_valid(name) || strcmp(name, "INBOX") == 0 ||
	    strcmp(box->name, "INBOX") == 0 || name_is_child(box->name, name))
		return (-EINVAL);
	if (store_mailbox_by_name(m->r.store, name, &other) == 0 &&
	    other.exists)
		return (-EEXIST);
	return (0);
}

int
md_mailbox_rename(struct replica *r, uint32_t id, const char *name,
    int64_t time, const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct moves s = { .m = m, .a = &a };
	struct box_state st;
	struct mailbox box;
	struct txn *t;
	bool changed;
	int rc = may_write(m);

	if (rc == 0)
		rc = store_mailbox(r->store, id, &box);
	if (rc == 0)
		rc = rename_check(m, &box, name);
	if (rc == 0)
		rc = give_up_locks(m);
	if (rc != 0)
		goto out;
	s.old = arena_strdup(&a, box.name);
	if ((rc = md_state_get(m, id, &a, &st)) == 0)
		s.from = st.dir;
	else if (rc == -ENOENT)
		rc = s.old == NULL
		    ? -ENOMEM
		    : md_dir_of_name(m, &a, s.old, &changed, &s.from);
	if (rc == 0)
		rc = pick_dir(m, &a, name, true, &s.to);
	if (rc == 0)
		rc = store_mailboxes(r->store, collect, &s);
	if (rc == 0)
		rc = move_all(&s);
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0) {
		if ((rc = txn_mailbox_rename(t, id, name, time)) == 0)
			rc = tell_moves(&s, t);
		rc = finish(t, rc);
	}
out:
	arena_fini(&a);
	return (rc);
}
