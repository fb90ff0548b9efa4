/*
 * exporter -- what this side says of a mailbox: rows for messages and expunges,
 * and the bodies that the peer asks for.
 *
 * With an agreed state it reads the events since then, and the messages above
 * the last common UID; else all of them.  Rows are made batch by batch while
 * the mailbox lives on: a message is described as it is when its row is made,
 * and what comes later is found by the next sync, since the saved state says so
 * (box.c).
 *
 * Rows go out for every event since the state, also for what the peer itself
 * did: a peer that lost power may have forgotten it.  Hints are only made of
 * what others than the peer did.
 */
#include "sync/exporter_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#define READ_AT_ONCE 16384
#define HELD_BYTES 65536

int
exporter_new(struct brain *b, struct exporter **out)
{
	struct exporter *e = calloc(1, sizeof(*e));
	int rc = 0;

	if (e == NULL)
		return (-ENOMEM);
	e->b = b;
	e->next_uid = b->box.common_uid + 1;
	if (b->box.id != 0)
		rc = store_events(
		    b->r->store, b->box.id, b->box.since, exporter_on_event, e);
	if (rc != 0)
		goto fail;
	e->seen_modseq = b->box.own.highestmodseq;
	rc = exporter_sort(e);
	if (rc != 0)
		goto fail;
	*out = e;
	return (0);
fail:
	exporter_free(e);
	return (rc);
}

void
exporter_free(struct exporter *e)
{
	if (e == NULL)
		return;
	HASH_CLEAR(hh, e->changes);
	free(e->sorted);
	free(e->saved.v);
	free(e->fetched.v);
	free(e->request);
	arena_fini(&e->arena);
	arena_fini(&e->request_arena);
	free(e);
}

/* ---- rows ---- */

static int
any_instance(void *arg, uint32_t mailbox, const struct msg *m)
{
	(void)arg;
	(void)mailbox;
	(void)m;
	return (1);
}

static int
send_expunge(struct exporter *e, const struct change *c)
{
	const char *guid = identity_guid(e->b, c->guid);
	struct item *i;
	struct guid g;
	char hex[GUID_HEX_LEN + 1];
	int rc = item_new(ITEM_CHANGE, &i);

	if (rc != 0)
		return (rc);
	e->last_uid = c->uid;
	i->u.change.kind = CHANGE_EXPUNGE;
	i->u.change.uid = c->uid;
	i->u.change.saved_here = exporter_saved_here(e, c->uid);
	i->u.change.moved_to = exporter_moved_to(e, c->uid);
	if (guid[0] != '\0' && guid128_of_string(guid, &g) == 0)
		i->u.change.guid = arena_strdup(&i->arena, guid_hex(&g, hex));
	i->u.change.elsewhere = c->guid[0] != '\0' &&
	    store_msgs_by_guid(e->b->r->store, c->guid, any_instance, NULL) ==
		1;
	return (brain_send(e->b, i));
}

static int
send_message(struct exporter *e, const struct msg *m)
{
	struct change *c;
	struct item *i;
	int rc = exporter_row(e->b, m, &i);

	HASH_FIND(hh, e->changes, &m->uid, sizeof(m->uid), c);
	if (c != NULL)
		c->late_told = true;
	e->last_uid = m->uid;
	return (rc != 0 ? rc : brain_send(e->b, i));
}

/* Expunges and changed old messages with a UID below `before`. */
static int
send_changed_before(struct exporter *e, uint32_t before, unsigned *budget)
{
	struct brain *b = e->b;

	while (e->next_change < e->n &&
	    e->sorted[e->next_change]->uid<before && * budget> 0) {
		const struct change *c = e->sorted[e->next_change++];
		struct arena a = ARENA_INIT;
		struct msg m;
		int rc = 0;

		/*
		 * A foreign peer takes no expunge above the common UID; UIDs of
		 * another UIDVALIDITY say nothing.
		 */
		if (c->expunged && b->box.trust_uids &&
		    (b->peer_dsyncfs || b->box.common_uid == 0 ||
			c->uid <= b->box.common_uid)) {
			rc = send_expunge(e, c);
			(*budget)--;
		} else if (!c->expunged && c->uid <= b->box.common_uid) {
			rc = store_msg(b->r->store, b->box.id, c->uid, &a, &m);
			rc = rc == -ENOENT ? 0
			    : rc != 0      ? rc
					   : send_message(e, &m);
			(*budget)--;
		}
		arena_fini(&a);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

struct walk {
	struct exporter *e;
	unsigned budget;
	int rc;
	/* messages of which something has to be read */
	uint32_t uid[BATCH];
	size_t n;
};

/* 1: no more now */
static int
list_message(struct walk *w, const struct msg *m)
{
	struct exporter *e = w->e;

	w->rc = send_changed_before(e, m->uid, &w->budget);
	if (w->rc != 0 || w->budget == 0)
		return (1);
	/*
	 * An expunge row of this very UID cannot be: UIDs are not given twice.
	 * Its change is told by its own row.
	 */
	if (e->next_change < e->n && e->sorted[e->next_change]->uid == m->uid)
		e->next_change++;
	w->rc = send_message(e, m);
	e->next_uid = m->uid + 1;
	return (w->rc != 0 || --w->budget == 0);
}

static int
on_message(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct walk *w = arg;

	(void)mailbox;
	if (m->uid >= w->e->b->box.own.uidnext) {
		w->e->messages_done = true;
		return (1);
	}
	if (!w->e->b->box.by_hash && w->e->b->params.max_size == 0)
		return (list_message(w, m));
	w->uid[w->n++] = m->uid;
	return (w->n == BATCH);
}

/* Reading a mail may change the store: not while it is walked through. */
static int
list_later(struct walk *w)
{
	struct brain *b = w->e->b;
	int rc = 0;

	for (size_t i = 0; i < w->n && rc == 0; i++) {
		struct arena a = ARENA_INIT;
		struct msg m;

		rc = store_msg(b->r->store, b->box.id, w->uid[i], &a, &m);
		if (rc == 0 && list_message(w, &m) != 0)
			rc = w->rc != 0 ? w->rc : 1;
		if (rc == -ENOENT)
			rc = 0;
		arena_fini(&a);
	}
	if (rc == 1)
		w->e->messages_done = false;
	return (rc == 1 ? 0 : rc);
}

int
exporter_changes(struct exporter *e)
{
	struct brain *b = e->b;
	struct walk w = { .e = e, .budget = BATCH };
	int rc = 0;

	if (b->c->ops->full(b->c))
		return (1);
	if (b->box.id != 0 && !e->messages_done)
		rc = store_events(b->r->store, b->box.id, e->seen_modseq,
		    exporter_on_late_event, e);
	if (rc == -ESTALE) /* compacted meanwhile: told by the next run */
		rc = 0;
	if (rc != 0)
		return (rc);
	/*
	 * While batches were sent, messages may have come that were changed
	 * before their turn: they are listed below.
	 */
	if (!e->messages_done && b->box.id != 0) {
		rc = store_msgs(
		    b->r->store, b->box.id, e->next_uid, on_message, &w);
		if (rc < 0 || w.rc != 0)
			return (rc < 0 ? rc : w.rc);
		if (rc == 0)
			e->messages_done = true;
		rc = list_later(&w);
		if (rc != 0)
			return (rc);
		if (!e->messages_done)
			return (1);
	}
	rc = send_changed_before(e, UINT32_MAX, &w.budget);
	if (rc != 0)
		return (rc);
	return (e->next_change < e->n);
}

/* ---- bodies ---- */

int
exporter_request(struct exporter *e, const struct item_request *r)
{
	struct request q = { .uid = r->uid };

	if (r->guid != NULL && r->guid[0] != '\0')
		q.guid = arena_strdup(&e->request_arena, r->guid);
	if (e->request_arena.error != 0)
		return (-ENOMEM);
	if (e->n_request == e->cap_request) {
		size_t cap = e->cap_request == 0 ? 16 : e->cap_request * 2;
		struct request *p = reallocarray(e->request, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		e->request = p;
		e->cap_request = cap;
	}
	e->request[e->n_request++] = q;
	return (0);
}

/* The message of this UID, also where it has got another one since. */
static int
find_moved(struct exporter *e, uint32_t uid, struct arena *a, struct msg *m)
{
	struct brain *b = e->b;
	const char *guid;
	uint32_t to;
	int rc;

	for (;;) {
		rc = store_msg(b->r->store, b->box.id, uid, a, m);
		if (rc != -ENOENT)
			return (rc);
		rc = store_expunged(b->r->store, b->box.id, uid, a, &guid, &to);
		if (rc != 0)
			return (rc);
		if (to <= uid) /* UIDs only grow */
			return (-ENOENT);
		uid = to;
	}
}

static int
find_requested(
    struct exporter *e, const struct request *q, struct arena *a, struct msg *m)
{
	struct brain *b = e->b;
	int rc;

	/*
	 * The UID first, since a GUID may have several instances, or the peer
	 * may not know it.
	 */
	if (q->uid != 0) {
		rc = find_moved(e, q->uid, a, m);
		if (rc == 0 &&
		    (q->guid == NULL || strcmp(m->guid, q->guid) == 0))
			return (0);
		if (rc != 0 && rc != -ENOENT)
			return (rc);
	}
	return (q->guid == NULL
		? -ENOENT
		: store_msg_by_guid(b->r->store, b->box.id, q->guid, a, m));
}

/*
 * Another kind of peer cannot be told in the midst of a body that the rest is
 * lost, so it is read through before.  A short one is kept: *held is what to
 * send then, else NULL.
 */
static int
check_body(struct brain *b, uint32_t uid, struct stream **held)
{
	struct buf all = BUF_INIT;
	struct stream *s;
	bool keep = true;
	ssize_t n = 0;
	int rc = b->r->ops->body(b->r, b->box.id, uid, &s);

	if (rc != 0)
		return (rc);
	*held = NULL;
	do {
		rc = buf_reserve(&all, READ_AT_ONCE);
		if (rc == 0)
			n = stream_read(s, all.data + all.len, READ_AT_ONCE);
		keep = keep && n >= 0 && all.len + (size_t)n <= HELD_BYTES;
		if (keep)
			all.len += (size_t)n;
	} while (rc == 0 && n > 0);
	stream_close(s);
	if (rc == 0 && n < 0)
		rc = (int)n;
	if (rc == 0 && keep)
		rc = stream_from_memory(all.data, all.len, held);
	buf_fini(&all);
	return (rc);
}

static int
fill_mail(struct exporter *e, const struct request *q, struct item *i)
{
	struct brain *b = e->b;
	struct item_mail *mail = &i->u.mail;
	struct msg m;
	int rc;

	mail->guid = arena_strdup(&i->arena, q->guid == NULL ? "" : q->guid);
	mail->uid = q->guid == NULL ? q->uid : 0;
	rc = mail->guid == NULL ? -ENOMEM : find_requested(e, q, &i->arena, &m);
	if (rc == 0 && !b->peer_dsyncfs)
		rc = check_body(b, m.uid, &mail->body);
	if (rc == 0 && mail->body == NULL)
		rc = b->r->ops->body(b->r, b->box.id, m.uid, &mail->body);
	if (rc == -ENOMEM)
		return (rc);
	if (rc != 0) {
		/*
		 * Gone meanwhile, or unreadable (reported): the peer is told
		 * that there is none.
		 */
		mail->body = NULL;
		if (rc == -ENOENT)
			b->box.changes = true;
		else
			b->box.incomplete = true;
		return (0);
	}
	/* It saves what its own rows have made the plan here expunge. */
	if (b->imports && !b->peer_dsyncfs &&
	    importer_expunges(b->box.im, m.guid))
		b->box.changes = true;
	mail->pop3_uidl = m.pop3_uidl;
	mail->pop3_order = m.pop3_order;
	mail->received = m.received;
	mail->saved = m.saved;
	mail->seen_by_client = (m.state & MSG_NEW) == 0;
	return (0);
}

static int
request_cmp(const void *a, const void *b)
{
	const struct request *x = a, *y = b;

	return (x->uid < y->uid ? -1 : x->uid > y->uid);
}

/*
 * A Dovecot asks in no order and saves mails as they come, some of them at
 * once, and UIDs only grow there: it gets them as another Dovecot would send
 * them.  false: it has not asked for all yet.
 */
static bool
in_order(struct exporter *e)
{
	if (e->b->peer_dsyncfs || e->ordered)
		return (true);
	if (e->b->box.rx <= RX_REQUEST)
		return (false);
	if (e->n_request > 1)
		qsort(
		    e->request, e->n_request, sizeof(*e->request), request_cmp);
	e->ordered = true;
	return (true);
}

int
exporter_mails(struct exporter *e)
{
	if (!in_order(e))
		return (0);
	for (unsigned n = 0; e->next_request < e->n_request; n++) {
		struct item *i;
		int rc;

		if (n == BATCH / 4 || e->b->c->ops->full(e->b->c))
			return (1);
		rc = item_new(ITEM_MAIL, &i);
		if (rc != 0)
			return (rc);
		rc = fill_mail(e, &e->request[e->next_request], i);
		if (rc != 0) {
			item_free(i);
			return (rc);
		}
		e->next_request++;
		rc = brain_send(e->b, i);
		if (rc != 0)
			return (rc);
	}
	return (0);
}
