/*
 * importer_apply -- carries the plan out: flags, then messages under new UIDs
 * with the bodies as they come, then expunges.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

/* ---- flags ---- */

static const struct row_keywords no_keywords;

static const struct row_keywords *
keywords_of(const struct row *r)
{
	return (r->kw == NULL ? &no_keywords : r->kw);
}

static int
replace_flags(struct arena *a, const struct msg *m, const struct row *row,
    struct msg_update *u)
{
	static const struct keywords none = { NULL, 0 };
	uint8_t want = row->final & MAIL_FLAGS;
	int rc;

	u->add = want & (uint8_t)~m->flags;
	u->remove = m->flags & (uint8_t)~want & MAIL_FLAGS;
	rc = keywords_apply(
	    a, &keywords_of(row)->final, &none, &m->keywords, &u->kw_add);
	if (rc == 0)
		rc = keywords_apply(a, &m->keywords, &none,
		    &keywords_of(row)->final, &u->kw_remove);
	return (rc);
}

int
importer_merge(struct importer *im, struct arena *a, const struct msg *m,
    const struct row *row, uint32_t hint_uid, struct msg_update *u,
    bool *differs, struct merge_result *merged)
{
	struct brain *b = im->b;
	struct hint h = exporter_hint(b->box.ex, hint_uid),
		    now = exporter_hint(b->box.ex, m->uid);
	struct merge_side l = { .final = m->flags,
		.add = h.add | now.add,
		.remove = h.remove | now.remove,
		.informed = h.informed | now.informed,
		.kw_informed = hint_uid == m->uid || h.kw_informed.n != 0
		    ? h.kw_informed
		    : now.kw_informed,
		.kw_final = m->keywords,
		.kw_add = hint_uid == m->uid || h.kw_add.n != 0 ? h.kw_add
								: now.kw_add,
		.kw_remove = hint_uid == m->uid || h.kw_remove.n != 0
		    ? h.kw_remove
		    : now.kw_remove,
		.modseq = m->modseq };
	struct merge_side r = { .final = row->final,
		.add = row->add,
		.remove = row->remove,
		.informed = row->informed,
		.kw_informed = keywords_of(row)->informed,
		.kw_final = keywords_of(row)->final,
		.kw_add = keywords_of(row)->add,
		.kw_remove = keywords_of(row)->remove,
		.modseq = row->modseq };
	struct merge_result res = { 0 };
	uint64_t theirs = box_modseq(b, b->box.peer.highestmodseq);
	int rc;

	memset(u, 0, sizeof(*u));
	if (b->reverts) {
		rc = replace_flags(a, m, row, u);
	} else {
		l.add &= m->flags;
		l.remove &= (uint8_t)~m->flags;
		rc = merge_flags(a, &l, &r, !b->master, &res);
		u->add = res.add;
		u->remove = res.remove;
		u->kw_add = res.kw_add;
		u->kw_remove = res.kw_remove;
	}
	if (rc != 0)
		return (rc);
	*merged = res;
	*differs = u->add != 0 || u->remove != 0 || u->kw_add.n != 0 ||
	    u->kw_remove.n != 0;
	u->modseq = row->modseq;
	if (res.remote_changes && u->modseq <= theirs)
		u->modseq = theirs + 1;
	return (0);
}

/*
 * A change must have a modseq above all that were, or a third replica that asks
 * for what is new since then would miss it.
 */
static int
raise_modseq(struct importer *im, uint64_t *modseq)
{
	struct mailbox box;
	int rc = store_mailbox(im->b->r->store, im->b->box.id, &box);

	if (rc == 0 && *modseq <= box.highestmodseq)
		*modseq = box.highestmodseq + 1;
	return (rc);
}

static void
tell_flags(struct importer *im, uint32_t uid, const struct msg_update *u)
{
	static const char *const names[] = { "\\Answered", "\\Flagged",
		"\\Deleted", "\\Seen", "\\Draft" };
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < 5; i++) {
		if (u->add & (1u << i))
			buf_printf(&b, " +%s", names[i]);
		if (u->remove & (1u << i))
			buf_printf(&b, " -%s", names[i]);
	}
	for (size_t i = 0; i < u->kw_add.n; i++)
		buf_printf(&b, " +%s", u->kw_add.name[i]);
	for (size_t i = 0; i < u->kw_remove.n; i++)
		buf_printf(&b, " -%s", u->kw_remove.name[i]);
	if (buf_cstr(&b) != NULL)
		brain_change(
		    im->b, im->b->box.name, uid, "flags%s", buf_cstr(&b));
	buf_fini(&b);
}

/* The message as it was planned for; 1: it changed meanwhile or is gone. */
static int
look_again(
    struct importer *im, const struct op *o, struct arena *a, struct msg *m)
{
	struct brain *b = im->b;
	int rc = store_msg(b->r->store, b->box.id, o->uid, a, m);

	if (rc == 0 && m->modseq == o->modseq && strcmp(m->guid, o->guid) == 0)
		return (0);
	if (rc != 0 && rc != -ENOENT)
		return (rc);
	log_verbose("%s: %s: UID %u changed while it was synced", b->r->label,
	    b->box.name, o->uid);
	b->box.changes = true;
	return (1);
}

static int
apply_flags(struct importer *im, const struct op *o)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg_update u;
	struct merge_result merged;
	bool differs = false;
	struct msg m;
	int rc = look_again(im, o, &a, &m);

	if (rc == 0)
		rc = importer_merge(
		    im, &a, &m, o->row, o->hint_uid, &u, &differs, &merged);
	if (rc == 0 && (differs || o->raise) && !b->params.dry_run) {
		rc = raise_modseq(im, &u.modseq);
		/* Seen by a client over there: it does not stay in new/ here.
		 */
		if ((m.state & MSG_NEW) != 0 &&
		    (o->row->final & MAIL_RECENT) == 0) {
			u.set_state = true;
			u.state = 0;
		}
		if (rc == 0)
			rc = b->r->ops->update(b->r, b->box.id, o->uid, &u,
			    o->own ? NULL : &b->peer);
		im->changed = true;
	}
	if (rc == 0 && differs) {
		b->box.counts.flags++;
		tell_flags(im, o->uid, &u);
	}
	arena_fini(&a);
	return (rc == 1 ? 0 : brain_bad_item(b, rc));
}

/* ---- messages under new UIDs ---- */

static void
created(struct importer *im, const struct create *c, uint32_t uid)
{
	im->changed = true;
	if (uid == c->final)
		return;
	log_verbose("%s: %s: UID %u was taken meanwhile; the message got %u",
	    im->b->r->label, im->b->box.name, c->final, uid);
	im->b->box.changes = true;
}

static void
msg_from_row(const struct brain *b, const struct create *c, struct msg *m)
{
	memset(m, 0, sizeof(*m));
	m->uid = c->final;
	m->guid = identity_saved(b, c->guid);
	m->modseq = c->row->modseq;
	m->flags = c->row->final & MAIL_FLAGS;
	m->keywords = keywords_of(c->row)->final;
	m->state = (c->row->final & MAIL_RECENT) != 0 ? MSG_NEW : 0;
}

/*
 * The other side gave the message a new UID while somebody here changed its
 * flags.  It has no row of the old UID to merge them with, so they are applied
 * like a new change of a user here, which the next run carries over.
 */
static int
keep_changes(struct importer *im, uint32_t from, uint32_t uid, struct arena *a,
    const struct msg *m)
{
	struct brain *b = im->b;
	struct hint h = exporter_hint(b->box.ex, from);
	struct msg_update u = { .add = h.add & m->flags,
		.remove = h.remove & (uint8_t)~m->flags };
	static const struct keywords none = { NULL, 0 };
	struct keywords others;
	int rc;

	if (b->reverts ||
	    (h.add == 0 && h.remove == 0 && h.kw_add.n == 0 &&
		h.kw_remove.n == 0))
		return (0);
	rc = keywords_apply(a, &m->keywords, &none, &h.kw_add, &others);
	if (rc == 0)
		rc = keywords_apply(a, &m->keywords, &none, &others, &u.kw_add);
	if (rc == 0)
		rc = keywords_apply(
		    a, &h.kw_remove, &none, &m->keywords, &u.kw_remove);
	if (rc == 0)
		rc = b->r->ops->update(b->r, b->box.id, uid, &u, NULL);
	b->box.changes = true;
	return (rc);
}

/*
 * The other side has what it has made of an instance that it expunged: the one
 * here becomes that, and the log has to tell what of it changed, for third
 * replicas.
 */
static int
become(struct importer *im, const struct create *c, struct arena *a,
    const struct msg *was, struct msg *m)
{
	struct brain *b = im->b;
	struct msg_update u = { .modseq = c->row->modseq };
	int rc = replace_flags(a, was, c->row, &u);

	*m = *was;
	if (rc == 0 && (u.add | u.remove) == 0 && u.kw_add.n == 0 &&
	    u.kw_remove.n == 0) {
		m->modseq = c->row->modseq;
		return (0);
	}
	if (rc == 0)
		rc = raise_modseq(im, &u.modseq);
	if (rc == 0)
		rc = b->r->ops->update(b->r, b->box.id, c->from, &u, &b->peer);
	return (
	    rc != 0 ? rc : store_msg(b->r->store, b->box.id, c->from, a, m));
}

/* What the message is under its new UID; its flags were merged before. */
static int
moved_msg(struct importer *im, const struct create *c, struct arena *a,
    const struct msg *was, struct msg *m)
{
	int rc = 0;

	*m = *was;
	if (c->row != NULL && c->expunged)
		rc = become(im, c, a, was, m);
	else if (c->row != NULL && c->row->modseq > m->modseq)
		m->modseq = c->row->modseq;
	m->uid = c->final;
	return (rc);
}

/*
 * It was expunged here, and the other side has it under a UID that it never had
 * here: the expunge has to be one of that, for the next run to carry it over.
 */
static int
bury(struct importer *im, const struct create *c)
{
	struct brain *b = im->b;
	struct txn *t;
	int rc = txn_begin(b->r->store, NULL, &t);

	b->box.changes = true;
	if (rc != 0)
		return (rc);
	brain_change(b, b->box.name, c->final, "expunged as %u guid=%s",
	    c->from, c->guid);
	rc = txn_expunged_as(t, b->box.id, c->from, c->final);
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc == -ENOENT || rc == -EINVAL || rc == -EEXIST ? 0 : rc);
}

static int
do_move(struct importer *im, const struct create *c)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg was, m;
	uint32_t uid;
	int rc = store_msg(b->r->store, b->box.id, c->from, &a, &was);

	if (rc == -ENOENT) {
		arena_fini(&a);
		return (bury(im, c));
	}
	if (rc == 0)
		rc = moved_msg(im, c, &a, &was, &m);
	if (rc == 0)
		rc = b->r->ops->renumber(
		    b->r, b->box.id, c->from, &m, &b->peer, &uid);
	if (rc == 0) {
		created(im, c, uid);
		b->box.counts.renumbered++;
		brain_change(b, b->box.name, uid, "renumber %u guid=%s",
		    c->from, c->guid);
		if (c->expunged)
			rc = keep_changes(im, c->from, uid, &a, &was);
	}
	arena_fini(&a);
	return (brain_bad_item(b, rc));
}

static int
do_copy(struct importer *im, const struct create *c)
{
	struct brain *b = im->b;
	const struct fetch *f = importer_fetch_of(im, c);
	struct arena a = ARENA_INIT;
	struct msg from, m;
	uint32_t box = b->box.id, uid;
	int rc;

	if (f->state == FETCH_SAVED)
		rc = store_msg(b->r->store, box, f->saved_uid, &a, &from);
	else
		rc = store_find_guid(b->r->store, c->guid, &a, &box, &from);
	if (rc == 0) {
		msg_from_row(b, c, &m);
		m.received = from.received;
		m.saved = from.saved;
		m.pop3_uidl = from.pop3_uidl;
		m.pop3_order = from.pop3_order;
		rc = b->r->ops->copy(
		    b->r, b->box.id, &m, box, from.uid, &b->peer, &uid);
	}
	arena_fini(&a);
	if (rc == -ENOENT) { /* expunged since the plan was made */
		b->box.changes = true;
		return (0);
	}
	if (rc != 0)
		return (brain_bad_item(b, rc));
	created(im, c, uid);
	b->box.counts.copied++;
	brain_change(b, b->box.name, uid, "copy guid=%s", c->guid);
	return (0);
}

static int
do_save(struct importer *im, const struct create *c)
{
	struct brain *b = im->b;
	struct fetch *f = importer_fetch_of(im, c);
	const struct item_mail *mail = &f->parked->mail->u.mail;
	struct stream *body;
	struct msg m;
	uint32_t uid;
	uint64_t size;
	int rc = spool_stream(f->parked->spool, &body);

	if (rc != 0)
		return (rc);
	size = body->size;
	msg_from_row(b, c, &m);
	m.received = mail->received;
	m.saved = mail->saved;
	m.pop3_uidl = mail->pop3_uidl;
	m.pop3_order = mail->pop3_order;
	rc = b->r->ops->save(b->r, b->box.id, &m, body, &b->peer, &uid);
	stream_close(body);
	importer_unpark(im, f);
	f->state = rc == 0 ? FETCH_SAVED : FETCH_FAILED;
	if (rc != 0)
		return (brain_bad_item(b, rc));
	f->saved_uid = uid;
	created(im, c, uid);
	b->box.counts.saved++;
	b->box.counts.bytes += size;
	brain_change(b, b->box.name, uid, "save guid=%s", c->guid);
	if (b->ev.progress != NULL)
		b->ev.progress(b->ev.arg, b->box.name, im->next_create + 1,
		    im->n_create, b->box.counts.bytes);
	return (0);
}

static int
plan_create(struct importer *im, const struct create *c)
{
	struct brain *b = im->b;
	struct fetch *f;

	if (c->gone) {
		brain_change(b, b->box.name, c->final, "expunged as %u guid=%s",
		    c->from, c->guid);
	} else if (c->from != 0) {
		b->box.counts.renumbered++;
		brain_change(b, b->box.name, c->final, "renumber %u guid=%s",
		    c->from, c->guid);
	}
	if (c->from != 0)
		return (0);
	f = importer_fetch_of(im, c);
	if (f->state != FETCH_NEEDED) {
		b->box.counts.copied++;
		brain_change(b, b->box.name, c->final, "copy guid=%s", c->guid);
	} else {
		b->box.counts.saved++;
		brain_change(b, b->box.name, c->final, "save guid=%s", c->guid);
		f->state = FETCH_SAVED;
	}
	return (dry_save(b, c->guid));
}

/* 1: more could be done now; 0: done, or a body must come first. */
static int
advance(struct importer *im, unsigned *budget)
{
	for (; im->next_create < im->n_create; im->next_create++) {
		const struct create *c = &im->create[im->next_create];
		int rc = 0;

		if (*budget == 0)
			return (1);
		(*budget)--;
		if (im->b->params.dry_run)
			rc = plan_create(im, c);
		else if (c->gone)
			rc = bury(im, c);
		else if (c->from != 0)
			rc = do_move(im, c);
		else if (importer_fetch_of(im, c)->state == FETCH_NEEDED)
			return (0);
		else if (importer_fetch_of(im, c)->state == FETCH_PARKED)
			rc = do_save(im, c);
		else if (importer_fetch_of(im, c)->state != FETCH_FAILED)
			rc = do_copy(im, c);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

int
importer_apply(struct importer *im)
{
	unsigned budget = BATCH;

	for (; im->flags.next < im->flags.n; im->flags.next++) {
		int rc;

		if (budget-- == 0)
			return (1);
		rc = apply_flags(im, &im->flags.op[im->flags.next]);
		if (rc != 0)
			return (rc);
	}
	return (advance(im, &budget));
}

/* ---- the end ---- */

struct other {
	const struct op *o;
	uint32_t mailbox, uid;
};

static int
on_other(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct other *x = arg;

	if (mailbox == x->mailbox && m->uid > x->o->uid &&
	    (m->uid == x->o->moved_to ||
		(x->uid != x->o->moved_to && m->uid > x->uid)))
		x->uid = m->uid;
	return (0);
}

/*
 * The UID under which the message goes on, when it is here by another way: a
 * later row of somebody who knows the old one only is about it.  That of the
 * other side, or another one, where this very run gives both the next.
 */
static uint32_t
goes_on_as(struct importer *im, const struct op *o)
{
	struct other x = { .o = o, .mailbox = im->b->box.id };

	if (o->moved_to <= o->uid || o->guid[0] == '\0' ||
	    store_msgs_by_guid(im->b->r->store, o->guid, on_other, &x) != 0)
		return (0);
	return (x.uid);
}

static int
apply_expunge(struct importer *im, const struct op *o)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(b->r->store, b->box.id, o->uid, &a, &m);
	bool gone = rc == -ENOENT || (rc == 0 && strcmp(m.guid, o->guid) != 0);

	/* Changed flags do not save a message that the other side expunged. */
	if (rc == 0 && !gone && !b->params.dry_run) {
		uint32_t to = goes_on_as(im, o);

		rc = to == 0 ? 0 : keep_changes(im, o->uid, to, &a, &m);
		if (rc == 0)
			rc = b->r->ops->expunge(
			    b->r, b->box.id, o->uid, to, &b->peer);
		im->changed = true;
	}
	arena_fini(&a);
	if (gone)
		return (0);
	if (rc == 0) {
		b->box.counts.expunged++;
		brain_change(
		    b, b->box.name, o->uid, "expunge guid=%s", o->guid);
	}
	if (rc == 0 && b->params.dry_run)
		rc = dry_expunge(b, b->box.id, o->uid);
	return (brain_bad_item(b, rc));
}

/*
 * Backup: the source's.  dsync: that of the side with more messages, or the
 * higher.  Between two dsyncfs that of the side which has given out more UIDs
 * comes first: a mailbox that was in use keeps it when an unused one joins.
 */
static bool
takes_uidvalidity(const struct brain *b)
{
	const struct item_mailbox *own = &b->box.own, *peer = &b->box.peer;

	if (own->uidvalidity == peer->uidvalidity)
		return (false);
	if (b->reverts)
		return (true);
	if (b->peer_dsyncfs && own->uidnext != peer->uidnext)
		return (own->uidnext < peer->uidnext);
	if (own->messages != peer->messages)
		return (own->messages < peer->messages);
	return (own->uidvalidity < peer->uidvalidity);
}

static int
update_numbers(struct importer *im)
{
	struct brain *b = im->b;
	struct mailbox_update u = { 0 };
	struct mailbox box;
	uint64_t theirs = box_modseq(b, b->box.peer.highestmodseq);
	uint32_t recent = b->box.peer.first_recent;
	int rc = store_mailbox(b->r->store, b->box.id, &box);

	if (rc != 0)
		return (rc);
	if (recent > im->common_uid + 1)
		recent = im->common_uid + 1;
	if (b->box.peer.uidnext > box.uidnext)
		u.min_uidnext = b->box.peer.uidnext;
	if (theirs > box.highestmodseq)
		u.min_highestmodseq = theirs;
	else if (im->changed && box.highestmodseq == b->box.own.highestmodseq)
		/* saves that kept a lower modseq: others must see a change */
		u.min_highestmodseq = box.highestmodseq + 1;
	if (recent > box.first_recent_uid)
		u.min_first_recent = recent;
	if (takes_uidvalidity(b))
		u.uidvalidity = b->box.peer.uidvalidity;
	if (u.min_uidnext == 0 && u.min_highestmodseq == 0 &&
	    u.min_first_recent == 0 && u.uidvalidity == 0)
		return (0);
	return (b->r->ops->mailbox_update(b->r, b->box.id, &u, &b->peer));
}

/* 1: more, 0: done. */
int
importer_finish(struct importer *im)
{
	unsigned budget = BATCH;
	int rc = advance(im, &budget);

	if (rc != 0)
		return (rc);
	for (; im->expunges.next < im->expunges.n; im->expunges.next++) {
		const struct op *o = &im->expunges.op[im->expunges.next];

		if (o->moved)
			continue;
		if (budget-- == 0)
			return (1);
		rc = apply_expunge(im, o);
		if (rc != 0)
			return (rc);
	}
	rc = importer_foreign_late(im);
	if (rc != 0)
		return (rc);
	if (takes_uidvalidity(im->b))
		brain_change(im->b, im->b->box.name, 0, "uidvalidity %u",
		    im->b->box.peer.uidvalidity);
	return (im->b->params.dry_run || im->b->box.id == 0
		? 0
		: update_numbers(im));
}
