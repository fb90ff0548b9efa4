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
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "base/log.h"

struct change {
	uint32_t uid;
	struct hint hint;
	/* what the peer's syncs changed, as hints */
	struct hint heard;
	bool expunged;
	uint32_t moved_to; /* expunged: it goes on under this UID */
	uint32_t moved_from; /* and where it came from */
	const char *guid; /* of the expunge */
	/* modseq of the last change that came while rows are told, and was */
	uint64_t late;
	bool late_told;
	UT_hash_handle hh;
};

struct request {
	const char *guid; /* NULL: by uid */
	uint32_t uid;
};

struct range {
	uint32_t first, last;
};

/* UIDs; mostly one range. */
struct ranges {
	struct range *v; /* owned; sorted when all are known */
	size_t n, cap;
};

struct exporter {
	struct brain *b;
	/* events up to here are known */
	uint64_t seen_modseq;
	size_t cap_sorted;
	struct arena arena; /* owns the changes */
	struct change *changes;
	struct change **sorted;
	size_t n, next_change;
	struct ranges saved; /* by users here */
	struct ranges fetched; /* by syncs with this peer */
	/* messages from here on are still to be listed */
	uint32_t next_uid;
	uint32_t last_uid; /* of the last row */
	/* somebody here changed something */
	bool here;
	bool messages_done;
	struct arena request_arena; /* their GUIDs */
	struct request *request; /* owned */
	size_t n_request, cap_request, next_request;
	bool ordered; /* the requests, by UID */
};

static struct change *
change_of(struct exporter *e, uint32_t uid)
{
	struct change *c;

	HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
	if (c != NULL)
		return (c);
	c = arena_zalloc(&e->arena, sizeof(*c));
	if (c == NULL)
		return (NULL);
	c->uid = uid;
	HASH_ADD(hh, e->changes, uid, sizeof(c->uid), c);
	e->n++;
	return (c);
}

/* The later change of a bit or name is the one that counts. */
static int
hint_add(struct arena *a, struct hint *h, const struct event *e)
{
	struct keywords add, remove;
	int rc;

	h->add = (uint8_t)((h->add | e->add) & ~e->remove);
	h->remove = (uint8_t)((h->remove | e->remove) & ~e->add);
	if (e->kw_add.n == 0 && e->kw_remove.n == 0)
		return (0);
	rc = keywords_apply(a, &h->kw_add, &e->kw_add, &e->kw_remove, &add);
	if (rc == 0)
		rc = keywords_apply(
		    a, &h->kw_remove, &e->kw_remove, &e->kw_add, &remove);
	if (rc == 0) {
		h->kw_add = add;
		h->kw_remove = remove;
	}
	return (rc);
}

/* In either set of both pairs. */
static int
kw_answers(struct arena *a, const struct event *e, const struct hint *heard,
    struct keywords *out)
{
	static const struct keywords none = { NULL, 0 };
	struct keywords rest, x, y;
	int rc = keywords_apply(a, &e->kw_add, &none, &heard->kw_remove, &rest);

	if (rc == 0)
		rc = keywords_apply(a, &e->kw_add, &none, &rest, &x);
	if (rc == 0)
		rc = keywords_apply(
		    a, &e->kw_remove, &none, &heard->kw_add, &rest);
	if (rc == 0)
		rc = keywords_apply(a, &e->kw_remove, &none, &rest, &y);
	return (rc != 0 ? rc : keywords_apply(a, &x, &y, &none, out));
}

/*
 * Which of this change answer one that a sync with the peer had brought: they
 * are the later ones, whatever the modseqs say.
 */
static int
note_answers(struct arena *a, struct change *c, const struct event *e)
{
	static const struct keywords none = { NULL, 0 };
	struct hint *h = &c->hint;
	struct keywords answers, left, less;
	int rc;

	h->informed &= (uint8_t) ~(e->add | e->remove);
	h->informed |= (e->add & c->heard.remove) | (e->remove & c->heard.add);
	if (e->kw_add.n == 0 && e->kw_remove.n == 0)
		return (0);
	rc = kw_answers(a, e, &c->heard, &answers);
	if (rc == 0)
		rc = keywords_apply(
		    a, &h->kw_informed, &none, &e->kw_add, &less);
	if (rc == 0)
		rc = keywords_apply(a, &less, &none, &e->kw_remove, &left);
	return (rc != 0
		? rc
		: keywords_apply(a, &left, &answers, &none, &h->kw_informed));
}

static int
ranges_add(struct ranges *l, uint32_t uid)
{
	if (l->n > 0 && uid == l->v[l->n - 1].last + 1) {
		l->v[l->n - 1].last = uid;
		return (0);
	}
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 8 : l->cap * 2;
		struct range *p = reallocarray(l->v, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		l->v = p;
		l->cap = cap;
	}
	l->v[l->n++] = (struct range){ uid, uid };
	return (0);
}

static int
range_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->last < y->first ? -1 : x->first > y->last);
}

/*
 * What was done to a message under its old UID was done to it under the new
 * one.
 */
static int
carry_over(struct exporter *e, const struct change *c)
{
	struct change *to = change_of(e, c->moved_to);
	struct event ev = { .add = c->hint.add,
		.remove = c->hint.remove,
		.kw_add = c->hint.kw_add,
		.kw_remove = c->hint.kw_remove };

	if (to == NULL)
		return (-ENOMEM);
	to->moved_from = c->uid;
	to->heard = c->heard;
	to->hint.informed = c->hint.informed;
	to->hint.kw_informed = c->hint.kw_informed;
	return (hint_add(&e->arena, &to->hint, &ev));
}

static bool
ranges_have(const struct ranges *l, uint32_t uid)
{
	struct range key = { uid, uid };

	return (l->n > 0 &&
	    bsearch(&key, l->v, l->n, sizeof(key), range_cmp) != NULL);
}

static void
ranges_sort(struct ranges *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), range_cmp);
}

bool
exporter_saved_here(const struct exporter *e, uint32_t uid)
{
	return (ranges_have(&e->saved, uid));
}

bool
exporter_fetched(const struct exporter *e, uint32_t uid)
{
	struct change *c;

	while (!ranges_have(&e->fetched, uid)) {
		HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
		if (c == NULL || c->moved_from == 0 || c->moved_from >= uid)
			return (false);
		uid = c->moved_from;
	}
	return (true);
}

static int
on_event(void *arg, const struct event *ev)
{
	struct exporter *e = arg;
	struct brain *b = e->b;
	bool by_peer = guid_eq(&ev->origin, &b->peer);
	struct change *c;
	int rc;

	if (!by_peer)
		e->here = true;
	if (ev->type == EVENT_SAVE && guid_is_zero(&ev->origin))
		return (ranges_add(&e->saved, ev->uid));
	if (ev->type == EVENT_SAVE)
		return (by_peer ? ranges_add(&e->fetched, ev->uid) : 0);
	/* Another kind of peer knows of no answers. */
	if (ev->type == EVENT_FLAGS && by_peer && !b->peer_dsyncfs &&
	    ev->uid > b->box.common_uid)
		return (0);
	c = change_of(e, ev->uid);
	if (c == NULL)
		return (-ENOMEM);
	if (ev->type == EVENT_EXPUNGE) {
		c->expunged = true;
		c->moved_to = ev->moved_to;
		c->guid =
		    arena_strdup(&e->arena, ev->guid == NULL ? "" : ev->guid);
		return (c->guid == NULL    ? -ENOMEM
			: c->moved_to == 0 ? 0
					   : carry_over(e, c));
	}
	if (by_peer)
		return (hint_add(&e->arena, &c->heard, ev));
	rc = b->peer_dsyncfs ? note_answers(&e->arena, c, ev) : 0;
	return (rc != 0 ? rc : hint_add(&e->arena, &c->hint, ev));
}

/* A change that came while rows are told: its row is still to come. */
static int
add_sorted(struct exporter *e, struct change *c)
{
	size_t at = e->next_change;

	if (e->n > e->cap_sorted) {
		struct change **p =
		    reallocarray(e->sorted, e->n * 2, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		e->sorted = p;
		e->cap_sorted = e->n * 2;
	}
	while (at < e->n - 1 && e->sorted[at]->uid < c->uid)
		at++;
	memmove(&e->sorted[at + 1], &e->sorted[at],
	    (e->n - 1 - at) * sizeof(*e->sorted));
	e->sorted[at] = c;
	return (0);
}

/*
 * While the mailbox is listed batch by batch its users go on.  What they
 * expunge before its turn is told as that: a message that is in no row would be
 * given a new UID over there.  And their flags are told as changes, or the next
 * run would tell them once more, as if they were later than the other side's.
 */
static int
on_late_event(void *arg, const struct event *ev)
{
	struct exporter *e = arg;
	struct change *c;
	bool known;
	int rc = 0;

	if (ev->modseq > e->seen_modseq)
		e->seen_modseq = ev->modseq;
	if (ev->type == EVENT_SAVE || ev->moved_to != 0 ||
	    guid_eq(&ev->origin, &e->b->peer) || ev->uid <= e->last_uid ||
	    ev->uid >= e->b->box.own.uidnext)
		return (0);
	HASH_FIND(hh, e->changes, &ev->uid, sizeof(ev->uid), c);
	known = c != NULL;
	c = change_of(e, ev->uid);
	if (c == NULL)
		return (-ENOMEM);
	c->late = ev->modseq;
	if (ev->type == EVENT_EXPUNGE) {
		c->expunged = true;
		c->guid =
		    arena_strdup(&e->arena, ev->guid == NULL ? "" : ev->guid);
		rc = c->guid == NULL ? -ENOMEM : 0;
	} else {
		if (e->b->peer_dsyncfs)
			rc = note_answers(&e->arena, c, ev);
		if (rc == 0)
			rc = hint_add(&e->arena, &c->hint, ev);
	}
	return (rc != 0 || known ? rc : add_sorted(e, c));
}

static int
change_cmp(const void *a, const void *b)
{
	const struct change *const *x = a, *const *y = b;

	return ((*x)->uid < (*y)->uid ? -1 : (*x)->uid > (*y)->uid);
}

int
exporter_new(struct brain *b, struct exporter **out)
{
	struct exporter *e = calloc(1, sizeof(*e));
	size_t i = 0;
	int rc = 0;

	if (e == NULL)
		return (-ENOMEM);
	e->b = b;
	e->next_uid = b->box.common_uid + 1;
	if (b->box.id != 0)
		rc = store_events(
		    b->r->store, b->box.id, b->box.since, on_event, e);
	if (rc != 0)
		goto fail;
	e->seen_modseq = b->box.own.highestmodseq;
	e->cap_sorted = e->n + 1;
	e->sorted = calloc(e->cap_sorted, sizeof(*e->sorted));
	rc = -ENOMEM;
	if (e->sorted == NULL)
		goto fail;
	for (struct change *c = e->changes; c != NULL; c = c->hh.next)
		e->sorted[i++] = c;
	ranges_sort(&e->saved);
	ranges_sort(&e->fetched);
	if (e->n > 1)
		qsort(e->sorted, e->n, sizeof(*e->sorted), change_cmp);
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

struct hint
exporter_hint(const struct exporter *e, uint32_t uid)
{
	struct change *c;

	HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
	return (c == NULL ? (struct hint){ 0 } : c->hint);
}

bool
exporter_expunged_here(const struct exporter *e, uint32_t uid)
{
	struct change *c;

	HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
	return (c != NULL && c->expunged);
}

uint32_t
exporter_moved_to(const struct exporter *e, uint32_t uid)
{
	uint32_t to = 0;
	struct change *c;

	for (;;) {
		HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
		if (c == NULL || !c->expunged)
			return (to);
		/* UIDs only grow, so this ends. */
		if (c->moved_to <= uid)
			return (0);
		uid = to = c->moved_to;
	}
}

bool
exporter_told_late(const struct exporter *e, uint32_t uid, uint64_t modseq)
{
	struct change *c;

	HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
	return (c != NULL && c->late_told && modseq <= c->late);
}

bool
exporter_changed_here(const struct exporter *e)
{
	return (e->here);
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
		rc = store_events(
		    b->r->store, b->box.id, e->seen_modseq, on_late_event, e);
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
 * lost, so it is read through before.
 */
static int
check_body(struct brain *b, uint32_t uid)
{
	char waste[16384];
	struct stream *s;
	ssize_t n;
	int rc = b->r->ops->body(b->r, b->box.id, uid, &s);

	if (rc != 0)
		return (rc);
	do
		n = stream_read(s, waste, sizeof(waste));
	while (n > 0);
	stream_close(s);
	return ((int)n);
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
		rc = check_body(b, m.uid);
	if (rc == 0)
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
