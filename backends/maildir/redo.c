/*
 * redo -- flag changes and expunges of a sync are done again when a power cut
 * took them from the directories, but not from the sidecar.
 *
 * To sync a directory after each rename would cost a flush a change; so the
 * names become durable at commit.  Until then the sidecar may be ahead of them
 * on disk, and the next scan would take the old name for a user's change of
 * mind.  Before the first change of a mailbox its modseq is therefore noted in
 * the sidecar, durably, in the setting "redo" (n times: varint id, varint
 * modseq); commit clears it.  When it is there at opening, the changes since
 * that modseq which came from a sync are applied to the file names again: only
 * their own bits, so that what a user did meanwhile stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/maildir/maildir_internal.h"
#include "base/log.h"

#define KEY "redo"

static int
set(struct maildir *m, const void *p, size_t n)
{
	struct txn *t;
	int rc = txn_begin(m->r.store, NULL, &t);

	if (rc != 0)
		return (rc);
	if ((rc = txn_meta_set(t, KEY, p, n)) == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static bool
noted(const uint8_t *p, size_t n, uint32_t id)
{
	struct rd r;

	rd_init(&r, p, n);
	while (rd_left(&r) > 0 && !r.bad) {
		if (rd_varint32(&r) == id)
			return (true);
		(void)rd_varint(&r);
	}
	return (false);
}

int
md_redo_note(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	struct buf out = BUF_INIT;
	struct mailbox box;
	const uint8_t *p = NULL;
	size_t n = 0;
	int rc;

	if (b->redo)
		return (0);
	if ((rc = store_meta(m->r.store, KEY, &a, &p, &n)) == -ENOENT)
		rc = 0;
	if (rc == 0)
		rc = store_mailbox(m->r.store, b->id, &box);
	if (rc == 0 && !noted(p, n, b->id)) {
		if (n != 0)
			buf_put(&out, p, n);
		buf_put_varint(&out, b->id);
		buf_put_varint(&out, box.highestmodseq);
		rc = out.error != 0 ? out.error : set(m, out.data, out.len);
		if (rc == 0)
			rc = store_sync(m->r.store);
	}
	if (rc == 0)
		b->redo = m->redo = true;
	buf_fini(&out);
	arena_fini(&a);
	return (rc);
}

int
md_redo_clear(struct maildir *m)
{
	int rc;

	if (!m->redo)
		return (0);
	if ((rc = set(m, NULL, 0)) != 0)
		return (rc);
	m->redo = false;
	for (struct box *b = m->boxes; b != NULL; b = b->next)
		b->redo = false;
	return (0);
}

/* ---- after a power cut ---- */

struct again {
	struct maildir *m;
	struct box *b;
	struct arena a;
};

/* The event's bits on the file's own letters. */
static int
flags_again(struct again *g, const struct event *e)
{
	static const struct keywords none = { NULL, 0 };
	struct os *os = g->m->root;
	struct keywords k;
	struct mail_info info, now;
	struct buf name = BUF_INIT;
	const char *path, *to = NULL, *file;
	struct msg msg;
	int rc = store_msg(g->m->r.store, g->b->id, e->uid, &g->a, &msg);

	if (rc == 0)
		rc = md_find(g->m, g->b, &msg, &g->a, &path);
	if (rc != 0)
		return (rc == -ENOENT ? 0 : rc);
	file = strrchr(path, '/') + 1;
	mail_info_parse(mail_info_text(file), &info);
	rc = md_info_keywords(g->b, &info, &g->a, &none, &k);
	if (rc == 0)
		rc = keywords_apply(&g->a, &k, &e->kw_add, &e->kw_remove, &k);
	if (rc != 0)
		return (rc);
	md_info_make(g->b, (uint8_t)((info.flags | e->add) & ~e->remove), &k,
	    info.other, info.forwarded, &now);
	if (now.flags == info.flags && now.letters == info.letters &&
	    now.forwarded == info.forwarded)
		return (0);
	maildir_name_format(&name, msg.name, &now);
	if (buf_cstr(&name) != NULL)
		to = arena_printf(&g->a, "%s%scur/%s", g->b->dir,
		    *g->b->dir != 0 ? "/" : "", buf_cstr(&name));
	buf_fini(&name);
	rc = to == NULL ? -ENOMEM : os->ops->rename_excl(os, path, to);
	g->b->dirty_cur = g->b->dirty_new = true;
	return (rc == 0 || rc == -ENOENT ? 0
		: rc == -ENOMEM          ? rc
					 : md_fail(os, path, "renamed", rc));
}

/* The sidecar has forgotten the name; the list still has it. */
static int
expunge_again(struct again *g, const struct event *e)
{
	struct os *os = g->m->root;
	const struct uidrec *rec = uidlist_find_uid(&g->b->list, e->uid);
	struct msg msg = { .guid = "", .name = rec != NULL ? rec->base : "" };
	const char *path;
	int rc;

	if (rec == NULL ||
	    strcmp(rec->guid != NULL ? rec->guid : rec->base, e->guid) != 0 ||
	    uidlist_find(&g->b->list, rec->base) != rec)
		return (0);
	if ((rc = md_find(g->m, g->b, &msg, &g->a, &path)) == 0)
		rc = os->ops->unlink(os, path);
	g->b->dirty_cur = g->b->dirty_new = true;
	return (rc == 0 || rc == -ENOENT ? 0
		: rc == -ENOMEM          ? rc
				: md_fail(os, msg.name, "removed", rc));
}

static int
on_event(void *arg, const struct event *e)
{
	struct again *g = arg;

	if (guid_is_zero(&e->origin) || e->type == EVENT_SAVE)
		return (0);
	return (
	    e->type == EVENT_FLAGS ? flags_again(g, e) : expunge_again(g, e));
}

static int
redo_box(struct maildir *m, uint32_t id, uint64_t since)
{
	struct again g = { .m = m, .a = ARENA_INIT };
	int rc = md_box(m, id, &g.b);

	if (rc == 0)
		rc = md_box_lock(m, g.b, false);
	if (rc == 0) {
		log_info("%s: the mailbox in '%s': the last run was cut off; "
			 "its changes are done again",
		    m->r.label, g.b->dir);
		rc = store_events(m->r.store, id, since, on_event, &g);
		if (rc == 0)
			rc = md_box_sync(m, g.b);
		md_box_unlock(m, g.b);
	}
	arena_fini(&g.a);
	/* Deleted since, or too long ago to be told. */
	return (rc == -ENOENT || rc == -ESTALE ? 0 : rc);
}

int
md_redo(struct maildir *m)
{
	struct arena a = ARENA_INIT;
	const uint8_t *p;
	struct rd r;
	size_t n;
	int rc = store_meta(m->r.store, KEY, &a, &p, &n);

	if (rc != 0 || m->rdonly || store_readonly(m->r.store)) {
		arena_fini(&a);
		return (rc == -ENOENT ? 0 : rc);
	}
	rd_init(&r, p, n);
	while (rc == 0 && rd_left(&r) > 0 && !r.bad) {
		uint32_t id = rd_varint32(&r);
		uint64_t since = rd_varint(&r);

		if (!r.bad)
			rc = redo_box(m, id, since);
	}
	if (rc == 0 && (rc = set(m, NULL, 0)) == 0)
		rc = store_sync(m->r.store);
	arena_fini(&a);
	return (rc);
}
