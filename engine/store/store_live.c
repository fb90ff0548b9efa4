/*
 * store_live -- which bodies the messages name (store_live.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_live.h"

static int
cmp_live(const void *pa, const void *pb)
{
	const struct live *a = pa, *b = pb;

	if (a->pack != b->pack)
		return (a->pack < b->pack ? -1 : 1);
	return (a->offset < b->offset ? -1 : a->offset > b->offset);
}

/* The heap below v[at] is one, but for v[at] itself. */
static void
sift(struct live *v, size_t at, size_t n)
{
	struct live moving = v[at];
	size_t child;

	while ((child = 2 * at + 1) < n) {
		if (child + 1 < n && cmp_live(&v[child], &v[child + 1]) < 0)
			child++;
		if (cmp_live(&moving, &v[child]) >= 0)
			break;
		v[at] = v[child];
		at = child;
	}
	v[at] = moving;
}

/* In place: qsort would take as much again. */
static void
sort(struct live *v, size_t n)
{
	struct live last;
	size_t i = 1;

	while (i < n && cmp_live(&v[i - 1], &v[i]) <= 0)
		i++;
	if (i >= n)
		return;
	for (i = n / 2; i > 0; i--)
		sift(v, i - 1, n);
	for (i = n - 1; i > 0; i--) {
		last = v[i];
		v[i] = v[0];
		v[0] = last;
		sift(v, 0, i);
	}
}

static int
add(struct live_list *l, const struct body_ref *ref)
{
	struct live *v;

	if (ref->pack == 0)
		return (0);
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 1024 : l->cap * 2;

		if ((v = realloc(l->v, cap * sizeof(*v))) == NULL)
			return (-ENOMEM);
		l->v = v;
		l->cap = cap;
	}
	v = &l->v[l->n++];
	memset(v, 0, sizeof(*v));
	v->pack = ref->pack;
	v->offset = ref->offset;
	v->size = ref->size;
	memcpy(v->hash, ref->hash, sizeof(v->hash));
	return (0);
}

static int
collect(struct state *st, enum table t, int64_t cutoff, struct live_list *l)
{
	struct arena a = ARENA_INIT;
	struct btree_cursor c;
	struct expunged_rec x;
	struct node *n;
	struct key k;
	int error;

	key_table(&k, t);
	for (error = idx_seek(st, &k, &c);
	     error == 0 && idx_under(&c, &k) && c.klen == 9;
	     error = idx_next(st, &c)) {
		n = node_by_id(st, get_be32(c.key + 1));
		memset(&x, 0, sizeof(x));
		if (t == T_MSG)
			error = msg_decode(&a, c.value, c.vlen, &x.msg, &x.kw);
		else
			error = expunged_decode(&a, 0, c.value, c.vlen, &x);
		if (error == 0 && n != NULL &&
		    (t == T_MSG || x.time >= cutoff) &&
		    (!n->deleted || n->deleted_time >= cutoff))
			error = add(l, &x.msg.body);
		arena_fini(&a);
		if (error != 0)
			break;
	}
	if (error == -EBADMSG) {
		st->broken = true;
		log_error("%s: the index is damaged; it is rebuilt from the "
			  "log when the store is opened next",
		    st->os->ops->label(st->os));
		error = -EIO;
	}
	return (error);
}

int
live_collect(struct state *st, int64_t cutoff, struct live_list *l)
{
	size_t m = 0;
	int error;

	memset(l, 0, sizeof(*l));
	if ((error = collect(st, T_MSG, cutoff, l)) != 0 ||
	    (error = collect(st, T_EXPUNGED, cutoff, l)) != 0) {
		live_free(l);
		return (error);
	}
	sort(l->v, l->n);
	for (size_t i = 0; i < l->n; i++)
		if (m == 0 || cmp_live(&l->v[m - 1], &l->v[i]) != 0)
			l->v[m++] = l->v[i];
	l->n = m;
	return (0);
}

struct live *
live_find(const struct live_list *l, uint32_t pack, uint64_t offset)
{
	struct live want = { .pack = pack, .offset = offset };

	return (l->n == 0
		? NULL
		: bsearch(&want, l->v, l->n, sizeof(*l->v), cmp_live));
}

void
live_free(struct live_list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}
