/*
 * exporter_events -- what the events since the common state make of each
 * message: hints, expunges, where it went and who brought it.
 */
#include "sync/exporter_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int
exporter_on_event(void *arg, const struct event *ev)
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
	c->late = ev->modseq;
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
int
exporter_on_late_event(void *arg, const struct event *ev)
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

/* The peer's sync brought it; not only one of the UIDs that it had since. */
static bool
came_from_peer(const struct exporter *e, const struct change *c)
{
	uint32_t uid = c->uid;

	/* UIDs only grow, so this ends. */
	while (c != NULL && c->moved_from != 0 && c->moved_from < uid) {
		uid = c->moved_from;
		HASH_FIND(hh, e->changes, &uid, sizeof(uid), c);
	}
	return (ranges_have(&e->fetched, uid));
}

/*
 * A message that the peer's sync brought came with its flags, and there is no
 * event of those: all that users here did to it answers what the peer had.
 */
static int
answer_all(struct exporter *e, struct change *c)
{
	static const struct keywords none = { NULL, 0 };
	struct hint *h = &c->hint;

	if (!e->b->peer_dsyncfs || !came_from_peer(e, c))
		return (0);
	h->informed = h->add | h->remove;
	return (keywords_apply(
	    &e->arena, &h->kw_add, &h->kw_remove, &none, &h->kw_informed));
}

int
exporter_sort(struct exporter *e)
{
	size_t i = 0;
	int rc = 0;

	e->cap_sorted = e->n + 1;
	e->sorted = calloc(e->cap_sorted, sizeof(*e->sorted));
	if (e->sorted == NULL)
		return (-ENOMEM);
	for (struct change *c = e->changes; c != NULL; c = c->hh.next)
		e->sorted[i++] = c;
	ranges_sort(&e->saved);
	ranges_sort(&e->fetched);
	if (e->n > 1)
		qsort(e->sorted, e->n, sizeof(*e->sorted), change_cmp);
	for (i = 0; i < e->n && rc == 0; i++)
		rc = answer_all(e, e->sorted[i]);
	return (rc);
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
