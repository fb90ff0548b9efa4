/*
 * merge -- flags bit by bit, and UIDs for messages that both sides must agree
 * on.
 */
#include "sync/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

/* A set of up to 8 bits at once: final, added, removed. */
struct bits {
	uint8_t final, add, remove;
};

/* Steps 1 to 3 of 6.9: what the local side ends with. */
static uint8_t
merge_bits(struct bits l, struct bits r, bool prefer_remote, uint8_t *fought)
{
	uint8_t fight_add = l.add & r.remove, fight_remove = l.remove & r.add,
		differ = l.final ^ r.final;
	uint8_t add, rem, lw, rw;

	*fought = (fight_add | fight_remove) & differ;
	if (prefer_remote) {
		l.add &= (uint8_t)~fight_add;
		l.remove &= (uint8_t)~fight_remove;
	} else {
		r.remove &= (uint8_t)~fight_add;
		r.add &= (uint8_t)~fight_remove;
	}
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
	    keywords_has(&s->kw_add, name),
	    keywords_has(&s->kw_remove, name) });
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
			      local->remove & MAIL_FLAGS },
	    (struct bits){
		rf, remote->add & MAIL_FLAGS, remote->remove & MAIL_FLAGS },
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

#define NONE SIZE_MAX

/* The entries of one GUID, in the order they came. */
struct merge_guid {
	const char *guid; /* borrowed; the key */
	size_t *entry; /* owned */
	size_t n, cap;
	UT_hash_handle hh;
};

void
merge_queue_init(struct merge_queue *q)
{
	memset(q, 0, sizeof(*q));
}

void
merge_queue_fini(struct merge_queue *q)
{
	struct merge_guid *g, *next;

	HASH_ITER (hh, q->by_guid, g, next) {
		HASH_DEL(q->by_guid, g);
		free(g->entry);
		free(g);
	}
	free(q->entry);
	merge_queue_init(q);
}

static struct merge_guid *
guid_list(struct merge_queue *q, const char *guid)
{
	struct merge_guid *g;

	HASH_FIND_STR(q->by_guid, guid, g);
	if (g != NULL)
		return (g);
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return (NULL);
	g->guid = guid;
	HASH_ADD_KEYPTR(hh, q->by_guid, g->guid, strlen(g->guid), g);
	return (g);
}

/*
 * Links entry i with the first earlier one of the other side; an earlier one
 * with the same UID is usable after all.
 */
static int
link_entry(struct merge_queue *q, size_t i)
{
	struct merge_entry *e = &q->entry[i];
	struct merge_guid *g = guid_list(q, e->guid);

	if (g == NULL)
		return (-ENOMEM);
	if (g->n == g->cap) {
		size_t cap = g->cap == 0 ? 2 : g->cap * 2;
		size_t *p = reallocarray(g->entry, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		g->entry = p;
		g->cap = cap;
	}
	for (size_t k = 0; k < g->n; k++) {
		struct merge_entry *o = &q->entry[g->entry[k]];

		if (o->uid == e->uid)
			o->usable = true;
		if (!e->linked && !o->linked && o->remote != e->remote) {
			e->linked = o->linked = true;
			e->link = g->entry[k];
			o->link = i;
		}
	}
	g->entry[g->n++] = i;
	return (0);
}

int
merge_queue_add(struct merge_queue *q, const struct merge_entry *e)
{
	if (q->n == q->cap) {
		size_t cap = q->cap == 0 ? 16 : q->cap * 2;
		struct merge_entry *p = reallocarray(q->entry, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		q->entry = p;
		q->cap = cap;
	}
	q->entry[q->n] = *e;
	q->entry[q->n].linked = false;
	q->entry[q->n].link = NONE;
	q->entry[q->n].final = 0;
	q->n++;
	return (e->guid[0] == '\0' ? 0 : link_entry(q, q->n - 1));
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
