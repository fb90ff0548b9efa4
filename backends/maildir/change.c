/*
 * change -- messages that are there: flags and keywords by rename, another UID
 * by a new list, expunges.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/maildir/write.h"
#include "base/log.h"

static int
finish(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

/* Where the file lies: new/ or cur/. */
static void
touched(struct box *b, const char *path)
{
	const char *rest = path + strlen(b->dir) + (*b->dir != 0 ? 1 : 0);

	if (strncmp(rest, "new/", 4) == 0)
		b->dirty_new = true;
	else
		b->dirty_cur = true;
}

static int
gone(struct maildir *m, const struct mailbox *box, uint32_t uid)
{
	log_warning("%s: %s: UID %u was removed by another program meanwhile",
	    m->r.label, box->name, uid);
	return (-ENOENT);
}

/* What stands behind the letters in a file name ("S,extra") goes along. */
static const char *
extra_of(const char *path)
{
	const char *slash = strrchr(path, '/'),
		   *info = mail_info_text(slash == NULL ? path : slash + 1);

	return (strchr(info, ',') != NULL ? strchr(info, ',') : "");
}

/* Renames the message's file so that it says what *as says. */
static int
rename_file(struct maildir *m, struct box *b, struct arena *a,
    const struct msg *was, const struct msg *as)
{
	const char *path, *target, *info;
	bool in_new, passed;
	int rc = md_find(m, b, was, a, &path);

	if (rc != 0)
		return (rc);
	info = mail_info_text(strrchr(path, '/') + 1);
	passed = memchr(info, 'P', strcspn(info, ",")) != NULL;
	if ((rc = md_target(b, a, as, passed, &target, &in_new)) != 0)
		return (rc);
	if (!in_new &&
	    (target = arena_printf(a, "%s%s", target, extra_of(path))) == NULL)
		return (-ENOMEM);
	if (strcmp(path, target) == 0)
		return (0);
	if ((rc = m->root->ops->rename_excl(m->root, path, target)) != 0)
		return (
		    rc == -ENOENT ? rc : md_fail(m->root, path, "renamed", rc));
	touched(b, path);
	touched(b, target);
	return (0);
}

static int
changed_msg(struct arena *a, const struct msg *m, const struct msg_update *u,
    struct msg *as)
{
	*as = *m;
	as->flags = (uint8_t)(((m->flags | u->add) & ~u->remove) & MAIL_FLAGS);
	if (u->set_state)
		as->state =
		    (uint8_t)((m->state & ~MSG_NEW) | (u->state & MSG_NEW));
	if (u->letters != NULL)
		as->letters = u->letters;
	return (keywords_apply(
	    a, &m->keywords, &u->kw_add, &u->kw_remove, &as->keywords));
}

static bool
shows_in_name(const struct msg *a, const struct msg *b)
{
	return (a->flags != b->flags ||
	    ((a->state ^ b->state) & MSG_NEW) != 0 ||
	    !keywords_eq(&a->keywords, &b->keywords) ||
	    strcmp(a->letters == NULL ? "" : a->letters,
		b->letters == NULL ? "" : b->letters) != 0);
}

int
md_update(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg_update *u, const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct msg_update as_u = *u;
	struct mailbox box;
	struct msg msg, as;
	struct box *b;
	struct txn *t;
	int rc = md_begin(m, mailbox, &box, &b);

	/*
	 * Names are ours to choose: a program's wish for another one is of the
	 * mount only.
	 */
	as_u.name = NULL;
	if (rc == 0)
		rc = store_msg(r->store, mailbox, uid, &a, &msg);
	if (rc == 0)
		rc = changed_msg(&a, &msg, u, &as);
	if (rc == 0 && shows_in_name(&msg, &as)) {
		rc = md_kw_need(m, b, &as.keywords);
		if (rc == 0)
			rc = md_redo_note(m, b);
		if (rc == 0)
			rc = rename_file(m, b, &a, &msg, &as);
		if (rc == -ENOENT)
			rc = gone(m, &box, uid);
		/* A message with letters lies in cur/. */
		if (rc == 0 && (msg.state & MSG_NEW) &&
		    (as.flags != 0 || as.keywords.n != 0) && !as_u.set_state) {
			as_u.set_state = true;
			as_u.state = (uint8_t)(msg.state & ~MSG_NEW);
		}
	}
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0)
		rc = finish(t, txn_update(t, mailbox, uid, &as_u));
	arena_fini(&a);
	return (rc);
}

/* ---- another UID ---- */

/*
 * The file keeps its name; the list gets a second line for it at its end, of
 * which the later counts, for Dovecot too.  The list is written anew without
 * the first one when the lock is given up (md_release): once for all that got
 * new UIDs, not for each.
 */
static int
new_line(struct maildir *m, struct box *b, const struct msg *as)
{
	const struct uidrec *old = uidlist_find(&b->list, as->name);
	struct uidrec r = { .base = as->name,
		.vsize = as->vsize,
		.pop3_order = as->pop3_order,
		.rest = "" };

	if (old != NULL)
		r = *old;
	r.uid = as->uid;
	if (r.guid == NULL && as->guid[0] != 0 &&
	    strcmp(as->guid, as->name) != 0 && uidlist_value_ok(as->guid))
		r.guid = as->guid;
	if (r.pop3_uidl == NULL && as->pop3_uidl != NULL &&
	    uidlist_value_ok(as->pop3_uidl))
		r.pop3_uidl = as->pop3_uidl;
	return (md_list_append(m, b, &r, true));
}

/* With what the file and the sidecar know better than the caller. */
static void
keep_local(struct msg *as, const struct msg *from)
{
	as->guid = from->guid;
	as->name = from->name;
	as->ino = from->ino;
	as->letters = from->letters;
	as->state = from->state | MSG_NAMED;
	as->mtime = from->mtime;
	as->mtime_nsec = from->mtime_nsec;
	as->body = from->body;
	as->vsize = from->vsize;
	if (as->pop3_uidl == NULL)
		as->pop3_uidl = from->pop3_uidl;
	if (as->pop3_order == 0)
		as->pop3_order = from->pop3_order;
	if (as->flags != 0 || as->keywords.n != 0)
		as->state &= (uint8_t)~MSG_NEW;
}

int
md_renumber(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg *msg, const struct guid *origin, uint32_t *new_uid)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct msg from, as = *msg;
	struct mailbox box;
	struct box *b;
	struct txn *t;
	int rc = md_begin(m, mailbox, &box, &b);

	if (rc == 0)
		rc = store_msg(r->store, mailbox, uid, &a, &from);
	if (rc == 0)
		rc = md_kw_need(m, b, &msg->keywords);
	if (rc == 0) {
		keep_local(&as, &from);
		if (as.uid < md_next_uid(b, &box))
			as.uid = md_next_uid(b, &box);
		if (shows_in_name(&from, &as) &&
		    (rc = rename_file(m, b, &a, &from, &as)) == -ENOENT)
			rc = gone(m, &box, uid);
	}
	/*
	 * New letters that a power cut takes back would look like a user's
	 * change.
	 */
	if (rc == 0 && shows_in_name(&from, &as))
		rc = md_box_sync(m, b);
	if (rc == 0)
		rc = new_line(m, b, &as);
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0)
		rc =
		    finish(t, txn_move(t, mailbox, uid, mailbox, &as, new_uid));
	arena_fini(&a);
	return (rc);
}

/* ---- expunge ---- */

int
md_expunge(struct replica *r, uint32_t mailbox, uint32_t uid, uint32_t moved_to,
    const struct guid *origin)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct mailbox box;
	struct msg msg;
	struct box *b;
	const char *path;
	struct txn *t;
	int rc = md_begin(m, mailbox, &box, &b);

	if (rc == 0)
		rc = store_msg(r->store, mailbox, uid, &a, &msg);
	if (rc == 0)
		rc = md_redo_note(m, b);
	if (rc != 0)
		goto out;
	if ((rc = md_find(m, b, &msg, &a, &path)) == 0) {
		if ((rc = m->root->ops->unlink(m->root, path)) == 0)
			touched(b, path);
		else if (rc != -ENOENT)
			(void)md_fail(m->root, path, "removed", rc);
	}
	/*
	 * Its line stays in the list until somebody rewrites that, as Dovecot
	 * leaves it too.
	 */
	if (rc == 0 || rc == -ENOENT)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0)
		rc = finish(t, txn_expunge_moved(t, mailbox, uid, moved_to));
out:
	arena_fini(&a);
	return (rc);
}
