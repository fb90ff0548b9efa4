/*
 * table -- a hash table from strings to numbers; the strings belong to the
 * caller.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

void
table_init(struct table *t)
{
	memset(t, 0, sizeof(*t));
}

void
table_fini(struct table *t)
{
	free(t->slot);
	table_init(t);
}

/* The slot of the key, or the free one where it would go. */
static struct table_slot *
slot_of(struct table_slot *slot, size_t cap, const char *key)
{
	size_t i = (size_t)table_hash(key, strlen(key)) & (cap - 1);

	while (slot[i].key != NULL && strcmp(slot[i].key, key) != 0)
		i = (i + 1) & (cap - 1);
	return (&slot[i]);
}

static int
grow(struct table *t)
{
	size_t cap = t->cap == 0 ? 64 : t->cap * 2;
	struct table_slot *slot = calloc(cap, sizeof(*slot));

	if (slot == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < t->cap; i++)
		if (t->slot[i].key != NULL)
			*slot_of(slot, cap, t->slot[i].key) = t->slot[i];
	free(t->slot);
	t->slot = slot;
	t->cap = cap;
	return (0);
}

int
table_set(struct table *t, const char *key, uint32_t value)
{
	struct table_slot *s;
	int rc;

	if (t->n >= t->cap / 4 * 3 && (rc = grow(t)) != 0)
		return (rc);
	s = slot_of(t->slot, t->cap, key);
	if (s->key == NULL)
		t->n++;
	s->key = key;
	s->value = value;
	return (0);
}

bool
table_get(const struct table *t, const char *key, uint32_t *value)
{
	const struct table_slot *s;

	if (t->n == 0)
		return (false);
	s = slot_of(t->slot, t->cap, key);
	if (s->key == NULL)
		return (false);
	*value = s->value;
	return (true);
}
