/*
 * tree -- one side's mailboxes, sorted and checked.
 */
#include "sync/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"

void
tree_init(struct tree *t)
{
	memset(t, 0, sizeof(*t));
	arena_init(&t->arena);
	t->sep = '/';
}

void
tree_fini(struct tree *t)
{
	free(t->node);
	for (int i = 0; i < 3; i++)
		free(t->gone[i]);
	arena_fini(&t->arena);
	tree_init(t);
}

struct tree_node *
tree_add(struct tree *t, const char *name)
{
	struct tree_node *n;

	if (t->n == t->cap) {
		size_t cap = t->cap == 0 ? 16 : t->cap * 2;

		n = reallocarray(t->node, cap, sizeof(*n));
		if (n == NULL)
			return (NULL);
		t->node = n;
		t->cap = cap;
	}
	n = &t->node[t->n];
	memset(n, 0, sizeof(*n));
	n->name = arena_strdup(&t->arena, name);
	if (n->name == NULL)
		return (NULL);
	t->n++;
	return (n);
}

int
tree_add_gone(struct tree *t, int kind, const struct item_delete *d)
{
	if (t->n_gone[kind] == t->cap_gone[kind]) {
		size_t cap =
		    t->cap_gone[kind] == 0 ? 16 : t->cap_gone[kind] * 2;
		struct item_delete *p =
		    reallocarray(t->gone[kind], cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		t->gone[kind] = p;
		t->cap_gone[kind] = cap;
	}
	t->gone[kind][t->n_gone[kind]++] = *d;
	return (0);
}

bool
tree_is_mailbox(const struct tree_node *n)
{
	return (n->existence == EXISTS && !guid_is_zero(&n->guid));
}

static int
by_name(const void *a, const void *b)
{
	return (strcmp(((const struct tree_node *)a)->name,
	    ((const struct tree_node *)b)->name));
}

/* Of one name first the one that stays, whatever the order they came in. */
static int
by_name_and_claim(const void *a, const void *b)
{
	const struct tree_node *x = a, *y = b;
	int c = by_name(a, b);

	if (c == 0)
		c = (int)x->fixed - (int)y->fixed;
	return (c != 0 ? c : guid_cmp(&x->guid, &y->guid));
}

static int
by_guid(const void *a, const void *b)
{
	const struct tree_node *const *x = a, *const *y = b;

	return (guid_cmp(&(*x)->guid, &(*y)->guid));
}

const struct tree_node *
tree_by_name(const struct tree *t, const char *name)
{
	struct tree_node key = { .name = name };

	return (t->n == 0 ? NULL
			  : bsearch(&key, t->node, t->n, sizeof(key), by_name));
}

bool
tree_has_below(const struct tree *t, const char *name)
{
	size_t lo = 0, hi = t->n, len = strlen(name);

	/* What lies below stands together: the first that is not before it. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const char *other = t->node[mid].name;
		int c = strncmp(other, name, len);

		if (c == 0)
			c = (unsigned char)other[len] - NAME_SEP;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo < t->n && strncmp(t->node[lo].name, name, len) == 0 &&
	    t->node[lo].name[len] == NAME_SEP);
}

/* A deletion of a mailbox that is there (again) says nothing. */
static void
forget_present(struct tree *t, const struct tree_node **sorted, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n_gone[GONE_MAILBOX]; i++) {
		struct tree_node node = { .guid = t->gone[GONE_MAILBOX][i].id };
		const struct tree_node *key = &node;

		if (n == 0 ||
		    bsearch(&key, sorted, n, sizeof(*sorted), by_guid) == NULL)
			t->gone[GONE_MAILBOX][kept++] =
			    t->gone[GONE_MAILBOX][i];
	}
	t->n_gone[GONE_MAILBOX] = kept;
}

static int
by_id(const void *a, const void *b)
{
	const struct item_delete *x = a, *y = b;
	int c = guid_cmp(&x->id, &y->id);

	return (c != 0 ? c : (x->time < y->time) - (x->time > y->time));
}

const struct item_delete *
tree_find_gone(const struct tree *t, int kind, const struct guid *id)
{
	size_t lo = 0, hi = t->n_gone[kind], mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (guid_cmp(&t->gone[kind][mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo < t->n_gone[kind] && guid_eq(&t->gone[kind][lo].id, id)
		? &t->gone[kind][lo]
		: NULL);
}

static void
drop_doubles(struct tree *t, const char *who)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (kept > 0 &&
		    strcmp(t->node[kept - 1].name, t->node[i].name) == 0) {
			log_error("%s: there are two mailboxes that are called "
				  "'%s' here; rename one of them",
			    who, t->node[i].name);
			t->doubles++;
			continue;
		}
		t->node[kept++] = t->node[i];
	}
	t->n = kept;
}

static int
by_guid_and_name(const void *a, const void *b)
{
	const struct tree_node *const *x = a, *const *y = b;
	int c = by_guid(a, b);

	return (c != 0 ? c : strcmp((*x)->name, (*y)->name));
}

int
tree_part_guids(struct tree *t, tree_guid_fn *fn, void *arg)
{
	struct tree_node **sorted = calloc(t->n + 1, sizeof(*sorted));
	struct guid g;
	size_t n = 0;
	int rc = 0;

	if (sorted == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < t->n; i++)
		if (tree_is_mailbox(&t->node[i]))
			sorted[n++] = &t->node[i];
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), by_guid_and_name);
	for (size_t i = 1; i < n && rc == 0; i++) {
		if (!guid_eq(&sorted[i - 1]->guid, &sorted[i]->guid))
			continue;
		rc = fn(arg, sorted[i - 1], &g);
		if (rc == 0)
			sorted[i - 1]->guid = g;
	}
	free(sorted);
	return (rc);
}

int
tree_done(struct tree *t, const char *who)
{
	const struct tree_node **sorted = calloc(t->n + 1, sizeof(*sorted));
	size_t n = 0;
	int rc = 0;

	if (sorted == NULL)
		return (-ENOMEM);
	if (t->n > 1)
		qsort(t->node, t->n, sizeof(*t->node), by_name_and_claim);
	drop_doubles(t, who);
	for (size_t i = 0; i < t->n; i++)
		if (tree_is_mailbox(&t->node[i]))
			sorted[n++] = &t->node[i];
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), by_guid);
	for (size_t i = 1; i < n; i++)
		if (guid_eq(&sorted[i - 1]->guid, &sorted[i]->guid)) {
			log_error(
			    "%s: mailboxes '%s' and '%s' have the same GUID",
			    who, sorted[i - 1]->name, sorted[i]->name);
			rc = -EBADMSG;
		}
	forget_present(t, sorted, n);
	for (int kind = 0; kind < 3; kind++)
		if (t->n_gone[kind] > 1)
			qsort(t->gone[kind], t->n_gone[kind],
			    sizeof(*t->gone[kind]), by_id);
	free(sorted);
	return (rc);
}
