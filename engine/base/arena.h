/*
 * arena -- memory for what lives and dies together (a decoded item, a plan, a
 * listing).
 *
 * Allocations are never freed singly.  All pointers but those to strings are
 * aligned for any type, strings take their bytes and no more.  A failed
 * allocation gives NULL and sets the arena's sticky error.
 */
#ifndef DSYNCFS_BASE_ARENA_H
#define DSYNCFS_BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
	struct arena_block *head; /* owned */
	size_t used; /* bytes handed out, for limits */
	int error; /* 0 or -ENOMEM */
};

#define ARENA_INIT                                                             \
	{                                                                      \
		NULL, 0, 0                                                     \
	}

void arena_init(struct arena *a);
/* frees everything; the arena can be used again */
void arena_fini(struct arena *a);
void *arena_alloc(struct arena *a, size_t n); /* uninitialised */
void *arena_zalloc(struct arena *a, size_t n);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, const char *s); /* NULL stays NULL */
char *arena_strndup(struct arena *a, const void *s, size_t n); /* adds a NUL */
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
