/*
 * strindex -- finds the elements of a growing array by a string of theirs, at
 * four to eleven bytes an element.
 *
 * It holds numbers only; the strings stay where they are, and are asked for.
 */
#ifndef DSYNCFS_SYNC_STRINDEX_H
#define DSYNCFS_SYNC_STRINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The string of element i, the same each time. */
typedef const char *strindex_fn(const void *arg, uint32_t i);

struct strindex {
	/* owned: numbers plus 1, 0 = free; cap is a power of two or 0 */
	uint32_t *slot;
	size_t cap, n;
	strindex_fn *key;
	const void *arg; /* borrowed */
};

void strindex_init(struct strindex *x, strindex_fn *key, const void *arg);
void strindex_fini(struct strindex *x);
bool strindex_find(const struct strindex *x, const char *key, uint32_t *i);
/* Element i, whose string is not in it yet; i < UINT32_MAX.  -ENOMEM. */
int strindex_add(struct strindex *x, uint32_t i);

#endif
