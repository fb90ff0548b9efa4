/*
 * view_placed -- where messages are listed whose UID says nothing of when their
 * name came.
 *
 * Messages are listed by UID, behind them files that are none yet, by node.  A
 * file in new or cur that settles gets a UID, and a message that was written to
 * in place another one, under a name that was there all the time.  Of a listing
 * only the last offset is known, and it may be read slowly: it would miss the
 * one, which is now among those that were given already, and give the other
 * twice.  So both go on being listed where they were, until no listing can be
 * under way any more.
 */
#include "fs/view_internal.h"

#include <stdlib.h>
#include <string.h>

#define OVER_MS 60000 /* a listing of which no page was asked for so long */
#define PLACED_MAX ((size_t)1 << 17) /* in all */

struct placed {
	uint32_t box, uid; /* the key of hh */
	uint64_t at;
	UT_hash_handle hh;
};

static struct placed *
find(const struct view *v, uint32_t box, uint32_t uid)
{
	const uint32_t key[2] = { box, uid };
	struct placed *p;

	HASH_FIND(hh, v->placed, key, sizeof(key), p);
	return (p);
}

/* The first of v->placed_order that is not before that. */
static size_t
order_of(const struct view *v, uint32_t box, uint64_t at)
{
	size_t lo = 0, hi = v->n_placed, mid;
	const struct placed *p;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		p = v->placed_order[mid];
		if (p->box < box || (p->box == box && p->at < at))
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo);
}

static bool
make_room(struct view *v)
{
	size_t cap = v->placed_cap == 0 ? 64 : v->placed_cap * 2;
	void *p;

	if (v->n_placed < v->placed_cap)
		return (true);
	p = realloc(v->placed_order, cap * sizeof(*v->placed_order));
	if (p == NULL)
		return (false);
	v->placed_order = p;
	v->placed_cap = cap;
	return (true);
}

void
placed_put(
    struct view *v, uint32_t box, uint32_t was, uint32_t uid, uint64_t at)
{
	struct placed *p = was == 0 ? NULL : find(v, box, was);
	size_t i;

	v->placed_ms = view_now_ms(v);
	if (p != NULL) {
		HASH_DELETE(hh, v->placed, p);
		p->uid = uid;
		HASH_ADD(hh, v->placed, box, 2 * sizeof(uint32_t), p);
		return;
	}
	if (v->n_placed == PLACED_MAX)
		placed_end(v);
	/* Without memory it is listed by its UID. */
	if (!make_room(v) || (p = calloc(1, sizeof(*p))) == NULL)
		return;
	p->box = box;
	p->uid = uid;
	p->at = at;
	i = order_of(v, box, at);
	memmove(v->placed_order + i + 1, v->placed_order + i,
	    (v->n_placed - i) * sizeof(*v->placed_order));
	v->placed_order[i] = p;
	v->n_placed++;
	HASH_ADD(hh, v->placed, box, 2 * sizeof(uint32_t), p);
}

bool
placed_is(const struct view *v, uint32_t box, uint32_t uid)
{
	return (v->n_placed > 0 && find(v, box, uid) != NULL);
}

uint32_t
placed_next(const struct view *v, uint32_t box, uint64_t from, uint64_t *at)
{
	size_t i = order_of(v, box, from);

	if (i == v->n_placed || v->placed_order[i]->box != box)
		return (0);
	*at = v->placed_order[i]->at;
	return (v->placed_order[i]->uid);
}

void
placed_listed(struct view *v)
{
	if (v->n_placed > 0)
		v->placed_ms = view_now_ms(v);
}

void
placed_tick(struct view *v, uint64_t now)
{
	if (v->n_placed > 0 && now >= v->placed_ms + OVER_MS)
		placed_end(v);
}

void
placed_end(struct view *v)
{
	struct placed *p, *next;

	HASH_ITER (hh, v->placed, p, next) {
		HASH_DELETE(hh, v->placed, p);
		free(p);
	}
	free(v->placed_order);
	v->placed_order = NULL;
	v->n_placed = v->placed_cap = 0;
}
