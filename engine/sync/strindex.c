/*
 * strindex -- open addressing with linear probing, at most three quarters full.
 */
#include "sync/strindex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

#define FIRST 64

void
strindex_init(struct strindex *x, strindex_fn *key, const void *arg)
{
	memset(x, 0, sizeof(*x));
	x->key = key;
	x->arg = arg;
}

void
strindex_fini(struct strindex *x)
{
	free(x->slot);
	x->slot = NULL;
	x->cap = x->n = 0;
}

/* Where the string is, or the free slot where it would be. */
static size_t
probe(const struct strindex *x, const char *key)
{
	size_t at = (size_t)table_hash(key, strlen(key)) & (x->cap - 1);

	while (x->slot[at] != 0 &&
	    strcmp(x->key(x->arg, x->slot[at] - 1), key) != 0)
		at = (at + 1) & (x->cap - 1);
	return (at);
}

bool
strindex_find(const struct strindex *x, const char *key, uint32_t *i)
{
	size_t at;

	if (x->n == 0)
		return (false);
	at = probe(x, key);
	if (x->slot[at] == 0)
		return (false);
	*i = x->slot[at] - 1;
	return (true);
}

static int
grow(struct strindex *x)
{
	struct strindex big = *x;

	big.cap = x->cap == 0 ? FIRST : x->cap * 2;
	big.slot = calloc(big.cap, sizeof(*big.slot));
	if (big.slot == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < x->cap; i++)
		if (x->slot[i] != 0)
			big.slot[probe(&big, x->key(x->arg, x->slot[i] - 1))] =
			    x->slot[i];
	free(x->slot);
	*x = big;
	return (0);
}

int
strindex_add(struct strindex *x, uint32_t i)
{
	int rc = x->n >= x->cap / 4 * 3 ? grow(x) : 0;

	if (rc != 0)
		return (rc);
	x->slot[probe(x, x->key(x->arg, i))] = i + 1;
	x->n++;
	return (0);
}
