/*
 * scan_store -- writes what a scan found into the sidecar, in batches; each is
 * one transaction of the user of this location.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define BATCH 500

static bool
one_bad_item(int rc)
{
	return (rc == -EINVAL || rc == -E2BIG || rc == -EEXIST || rc == -EFBIG);
}

static int
put_change(struct scan *s, struct txn *t, const struct md_change *c)
{
	if (c->gone)
		return (txn_expunge(t, s->box.id, c->uid));
	return (txn_update(t, s->box.id, c->uid, &c->u));
}

/* 1: the file went away meanwhile. */
static int
new_msg(struct scan *s, struct arena *a, const struct md_file *f, struct msg *m)
{
	struct os *os = s->m->root;
	const char *path = arena_printf(a, "%s%s%s/%s", s->b->dir,
	    *s->b->dir == 0 ? "" : "/", f->in_new ? "new" : "cur", f->name);
	static const struct keywords none = { NULL, 0 };
	struct mail_info info;
	struct os_stat st;
	int rc;

	if (path == NULL)
		return (-ENOMEM);
	rc = os->ops->stat(os, path, &st);
	if (rc == -ENOENT)
		return (1);
	if (rc != 0) {
		(void)md_fail(os, path, "looked at", rc);
		s->problems++;
		return (1);
	}
	mail_info_parse(mail_info_text(f->name), &info);
	memset(m, 0, sizeof(*m));
	m->uid = f->uid;
	m->guid = f->guid;
	m->name = f->base;
	m->flags = info.flags;
	m->state = f->in_new ? MSG_NEW : 0;
	if ((m->letters = arena_strdup(a, info.other)) == NULL)
		return (-ENOMEM);
	m->received = st.mtime;
	m->saved = st.ctime;
	m->vsize = f->vsize;
	m->pop3_uidl =
	    f->pop3_uidl != NULL && *f->pop3_uidl == 0 ? f->base : f->pop3_uidl;
	m->pop3_order = f->pop3_order;
	return (md_info_keywords(s->b, &info, a, &none, &m->keywords));
}

/* A message that another program gave a new UID: the same, but for that. */
static int
put_moved(
    struct scan *s, struct arena *a, struct txn *t, const struct md_file *f)
{
	struct msg old, as;
	int rc = store_msg(s->m->r.store, s->box.id, f->from, a, &old);

	if (rc != 0)
		return (rc);
	as = old;
	as.uid = f->uid;
	as.modseq = 0;
	return (txn_move(t, s->box.id, f->from, s->box.id, &as, NULL));
}

static int
put_file(struct scan *s, struct txn *t, const struct md_file *f)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc;

	if (f->from != 0)
		rc = put_moved(s, &a, t, f);
	else if ((rc = new_msg(s, &a, f, &m)) == 0)
		rc = txn_save(t, s->box.id, &m, NULL);
	else if (rc == 1)
		rc = 0;
	arena_fini(&a);
	return (rc);
}

/* Items [from, to) in one transaction: first the changes, then the files. */
static int
put_range(struct scan *s, size_t from, size_t to)
{
	struct txn *t;
	int rc = txn_begin(s->m->r.store, NULL, &t);

	if (rc != 0)
		return (rc);
	for (size_t i = from; rc == 0 && i < to; i++) {
		const struct md_file *f =
		    i < s->changes ? NULL : &s->file[i - s->changes];

		if (f == NULL)
			rc = put_change(s, t, &s->change[i]);
		else if (!f->known && !f->skip)
			rc = put_file(s, t, f);
	}
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static void
bad_item(struct scan *s, size_t i, int rc)
{
	const struct md_file *f;

	if (i < s->changes) {
		s->problems++;
		log_error(
		    "%s: mailbox %s: a change of UID %u cannot be recorded: %s",
		    s->m->r.label, s->box.name, s->change[i].uid,
		    strerror(-rc));
		return;
	}
	f = &s->file[i - s->changes];
	md_problem(s, f->in_new ? "new" : "cur", f->name,
	    rc == -E2BIG ? "has too many or too long attributes to be "
			   "recorded; it is left out"
			 : "cannot be recorded; it is left out");
}

/* The first item from i on that has something to say. */
static size_t
next_item(const struct scan *s, size_t i)
{
	size_t end = s->changes + s->n;

	while (i < end && i >= s->changes &&
	    (s->file[i - s->changes].known || s->file[i - s->changes].skip))
		i++;
	return (i);
}

static bool
state_same(const struct scan *s)
{
	const struct box_state *a = &s->old, *b = &s->now;

	if (a->settled != b->settled || a->kws != b->kws ||
	    !stamp_eq(&a->s_new, &b->s_new) ||
	    !stamp_eq(&a->s_cur, &b->s_cur) ||
	    !stamp_eq(&a->s_list, &b->s_list) || !stamp_eq(&a->s_kw, &b->s_kw))
		return (false);
	for (size_t i = 0; i < a->kws; i++)
		if (strcmp(a->kw[i], b->kw[i]) != 0)
			return (false);
	return (true);
}

static int
put_state(struct scan *s)
{
	struct mailbox_update u = { .min_uidnext = md_next_uid(s->b, &s->box) };
	struct txn *t;
	int rc;

	if (s->b->list_read)
		s->now.s_list = s->b->list_stamp;
	if (state_same(s) && u.min_uidnext <= s->box.uidnext)
		return (0);
	if ((rc = txn_begin(s->m->r.store, NULL, &t)) != 0)
		return (rc);
	if ((rc = md_state_put(t, s->box.id, &s->now)) == 0)
		rc = txn_mailbox_update(t, s->box.id, &u);
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

/*
 * Who delivered, renamed or removed a file may not have waited for the disk.
 * Once the sidecar knows, and a peer, a power cut that takes it back would look
 * like a user: a lost mail like an expunged one.
 */
static int
keep_names(struct scan *s)
{
	if (!s->writable || next_item(s, 0) == s->changes + s->n)
		return (0);
	s->b->dirty_new = s->b->dirty_cur = true;
	return (md_box_sync(s->m, s->b));
}

int
md_store_scan(struct scan *s)
{
	size_t end = s->changes + s->n, i = 0, batch = BATCH, alone = 0;
	int rc = keep_names(s);

	if (rc != 0)
		return (rc);
	for (i = next_item(s, 0); i < end; i = next_item(s, i)) {
		size_t to = end - i < batch ? end : i + batch;

		rc = put_range(s, i, to);
		if (rc == 0) {
			i = to;
			if (batch == 1 && --alone == 0)
				batch = BATCH;
		} else if (!one_bad_item(rc)) {
			return (rc);
		} else if (batch > 1) {
			/* one of these: each by itself */
			alone = to - i;
			batch = 1;
		} else {
			bad_item(s, i, rc);
			i++;
			if (--alone == 0)
				batch = BATCH;
		}
	}
	return (put_state(s));
}
