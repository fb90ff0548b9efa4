/*
 * merge -- flags bit by bit, and UIDs for messages that both sides must agree
 * on.
 */
#include "sync/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A set of up to 8 bits at once: final, added, removed. */
struct bits {
	uint8_t final, add, remove, informed;
};

/* Steps 1 to 3 of 6.9: what the local side ends with. */
static uint8_t
merge_bits(struct bits l, struct bits r, bool prefer_remote, uint8_t *fought)
{
	uint8_t fight_add = l.add & r.remove, fight_remove = l.remove & r.add,
		differ = l.final ^ r.final;
	uint8_t add, rem, lw, rw, local_wins;

	/* A change that was made in answer to the other one is the later. */
	local_wins =
	    (uint8_t)((prefer_remote ? 0 : 0xff) | (l.informed & ~r.informed)) &
	    (uint8_t) ~(r.informed & ~l.informed);
	*fought = (fight_add | fight_remove) & differ &
	    (uint8_t) ~(l.informed ^ r.informed);
	r.remove &= (uint8_t) ~(fight_add & local_wins);
	r.add &= (uint8_t) ~(fight_remove & local_wins);
	l.add &= (uint8_t) ~(fight_add & ~local_wins);
	l.remove &= (uint8_t) ~(fight_remove & ~local_wins);
	add = (l.add | r.add) & differ;
	rem = (l.remove | r.remove) & differ;
	lw = (uint8_t)((l.final | add) & ~rem);
	rw = (uint8_t)((r.final | add) & ~rem);
	return (prefer_remote ? rw : lw);
}

/* All names that either side mentions, sorted. */
static int
all_names(struct arena *a, const struct merge_side *l,
    const struct merge_side *r, struct keywords *out)
{
	const struct keywords *in[6] = { &l->kw_final, &l->kw_add,
		&l->kw_remove, &r->kw_final, &r->kw_add, &r->kw_remove };
	const char **list;
	size_t n = 0, used = 0;

	for (size_t i = 0; i < 6; i++)
		n += in[i]->n;
	list = arena_alloc(a, (n + 1) * sizeof(*list));
	if (list == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < 6; i++)
		for (size_t k = 0; k < in[i]->n; k++)
			list[used++] = in[i]->name[k];
	return (keywords_make(a, list, n, out));
}

static struct bits
keyword_bits(const struct merge_side *s, const char *name)
{
	return ((struct bits){ keywords_has(&s->kw_final, name),
	    keywords_has(&s->kw_add, name), keywords_has(&s->kw_remove, name),
	    keywords_has(&s->kw_informed, name) });
}

static int
merge_keywords(struct arena *a, const struct merge_side *l,
    const struct merge_side *r, bool prefer_remote, struct merge_result *out)
{
	const char **add, **remove, **fought, **set;
	struct keywords all;
	int rc = all_names(a, l, r, &all);

	if (rc != 0)
		return (rc);
	add = arena_alloc(a, (all.n + 1) * sizeof(*add));
	remove = arena_alloc(a, (all.n + 1) * sizeof(*remove));
	fought = arena_alloc(a, (all.n + 1) * sizeof(*fought));
	set = arena_alloc(a, (all.n + 1) * sizeof(*set));
	if (a->error != 0)
		return (-ENOMEM);
	for (size_t i = 0; i < all.n; i++) {
		struct bits lb = keyword_bits(l, all.name[i]),
			    rb = keyword_bits(r, all.name[i]);
		uint8_t both, want = merge_bits(lb, rb, prefer_remote, &both);

		if (both != 0)
			fought[out->kw_fought.n++] = all.name[i];
		if (both != 0 && want != 0)
			set[out->kw_fought_set.n++] = all.name[i];
		if (want != rb.final)
			out->remote_changes = true;
		if (want == lb.final)
			continue;
		if (want != 0)
			add[out->kw_add.n++] = all.name[i];
		else
			remove[out->kw_remove.n++] = all.name[i];
	}
	out->kw_add.name = add;
	out->kw_remove.name = remove;
	out->kw_fought.name = fought;
	out->kw_fought_set.name = set;
	return (0);
}

int
merge_flags(struct arena *a, const struct merge_side *local,
    const struct merge_side *remote, bool tie_remote, struct merge_result *out)
{
	bool prefer_remote = local->modseq == remote->modseq
	    ? tie_remote
	    : local->modseq < remote->modseq;
	struct merge_result m = { 0 };
	uint8_t want, lf = local->final & MAIL_FLAGS,
		      rf = remote->final & MAIL_FLAGS;
	int rc;

	want = merge_bits((struct bits){ lf, local->add & MAIL_FLAGS,
			      local->remove & MAIL_FLAGS, local->informed },
	    (struct bits){ rf, remote->add & MAIL_FLAGS,
		remote->remove & MAIL_FLAGS, remote->informed },
	    prefer_remote, &m.fought);
	m.fought_set = m.fought & want;
	m.add = (uint8_t)(want & ~lf);
	m.remove = (uint8_t)(lf & ~want);
	m.remote_changes = want != rf;
	rc = merge_keywords(a, local, remote, prefer_remote, &m);
	if (rc != 0)
		return (rc);
	m.local_changes = m.add != 0 || m.remove != 0 || m.kw_add.n != 0 ||
	    m.kw_remove.n != 0;
	*out = m;
	return (0);
}

/* ---- UIDs ---- */

/*
 * The entries of a key that has several, side by side (index: remote).  Those
 * that are not linked are the last ones of one side.
 */
struct merge_chain {
	uint32_t head[2], tail[2];
	uint32_t unlinked[2]; /* the first */
	/* the last with a UID below all that the other side has */
	uint32_t below[2];
};

static const char *
key_at(const void *arg, uint32_t i)
{
	const struct merge_queue *q = arg;

	return (q->entry[i].key);
}

void
merge_queue_init(struct merge_queue *q)
{
	memset(q, 0, sizeof(*q));
	strindex_init(&q->first, key_at, q);
}

void
merge_queue_fini(struct merge_queue *q)
{
	strindex_fini(&q->first);
	free(q->chain);
	free(q->entry);
	merge_queue_init(q);
}

static void
chain_append(struct merge_queue *q, struct merge_chain *c, uint32_t i)
{
	bool side = q->entry[i].remote;

	if (c->tail[side] == MERGE_NONE)
		c->head[side] = i;
	else
		q->entry[c->tail[side]].next = i;
	c->tail[side] = i;
	if (!q->entry[i].linked && c->unlinked[side] == MERGE_NONE)
		c->unlinked[side] = i;
}

/* The chain of the key whose first entry this is. */
static int
chain_of(struct merge_queue *q, uint32_t first, struct merge_chain **out)
{
	static const struct merge_chain none = {
		{ MERGE_NONE, MERGE_NONE },
		{ MERGE_NONE, MERGE_NONE },
		{ MERGE_NONE, MERGE_NONE },
		{ MERGE_NONE, MERGE_NONE },
	};

	if (q->entry[first].chain == 0) {
		if (q->chains == q->cap_chains) {
			size_t cap =
			    q->cap_chains == 0 ? 16 : q->cap_chains * 2;
			struct merge_chain *p =
			    reallocarray(q->chain, cap, sizeof(*p));

			if (p == NULL)
				return (-ENOMEM);
			q->chain = p;
			q->cap_chains = cap;
		}
		q->chain[q->chains++] = none;
		q->entry[first].chain = (uint32_t)q->chains;
		chain_append(q, &q->chain[q->chains - 1], first);
	}
	*out = &q->chain[q->entry[first].chain - 1];
	return (0);
}

/* The other side's entry of this UID in the chain, or MERGE_NONE. */
static uint32_t
same_uid(
    const struct merge_queue *q, struct merge_chain *c, uint32_t uid, bool side)
{
	uint32_t i = c->below[side] == MERGE_NONE
	    ? c->head[side]
	    : q->entry[c->below[side]].next;

	for (; i != MERGE_NONE && q->entry[i].uid < uid; i = q->entry[i].next)
		c->below[side] = i;
	return (i != MERGE_NONE && q->entry[i].uid == uid ? i : MERGE_NONE);
}

/*
 * Links entry i with the first earlier one of the other side; an earlier one
 * with the same UID is usable after all.
 */
static int
link_entry(struct merge_queue *q, uint32_t i)
{
	struct merge_entry *e = &q->entry[i];
	struct merge_chain *c;
	uint32_t first, o;
	int rc;

	if (!strindex_find(&q->first, e->key, &first))
		return (strindex_add(&q->first, i));
	rc = chain_of(q, first, &c);
	if (rc != 0)
		return (rc);
	o = same_uid(q, c, e->uid, !e->remote);
	if (o != MERGE_NONE)
		q->entry[o].usable = true;
	o = c->unlinked[!e->remote];
	if (o != MERGE_NONE) {
		c->unlinked[!e->remote] = q->entry[o].next;
		e->linked = q->entry[o].linked = true;
		e->link = o;
		q->entry[o].link = i;
	}
	chain_append(q, c, i);
	return (0);
}

int
merge_queue_add(struct merge_queue *q, const struct merge_entry *e)
{
	struct merge_entry *to;

	if (q->n >= MERGE_NONE - 1)
		return (-EOVERFLOW);
	if (q->n == q->cap) {
		size_t cap = q->cap == 0 ? 16 : q->cap * 2;
		struct merge_entry *p = reallocarray(q->entry, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		q->entry = p;
		q->cap = cap;
	}
	to = &q->entry[q->n++];
	*to = *e;
	to->linked = false;
	to->link = to->next = MERGE_NONE;
	to->final = to->chain = 0;
	return (e->key[0] == '\0' ? 0 : link_entry(q, (uint32_t)q->n - 1));
}

uint32_t
merge_assign(struct merge_queue *q, uint32_t next)
{
	for (size_t i = 0; i < q->n; i++) {
		struct merge_entry *e = &q->entry[i];
		struct merge_entry *o = e->linked ? &q->entry[e->link] : NULL;

		if (e->final != 0)
			continue;
		if (e->usable || (e->keep && o == NULL))
			e->final = e->uid;
		else if (o != NULL && o->usable)
			e->final = o->uid;
		else
			e->final = next++;
		if (o != NULL)
			o->final = e->final;
	}
	return (next);
}

bool
merge_several(const struct merge_queue *q, const struct merge_entry *e)
{
	const struct merge_chain *c;
	uint32_t first;

	if (e->key[0] == '\0' || !strindex_find(&q->first, e->key, &first) ||
	    q->entry[first].chain == 0)
		return (false);
	c = &q->chain[q->entry[first].chain - 1];
	return (c->head[0] != c->tail[0] || c->head[1] != c->tail[1]);
}
