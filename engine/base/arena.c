/*
 * arena -- memory for what lives and dies together.
 *
 * A list of blocks, the one being filled first.  Blocks double up to a limit; a
 * request that would waste a block gets one of its own behind the first.
 */
#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MIN ((size_t)1024)
#define BLOCK_MAX ((size_t)256 * 1024)
#define ALIGN alignof(max_align_t)

struct arena_block {
	struct arena_block *next; /* owned */
	size_t cap;
	size_t used;
	alignas(max_align_t) unsigned char data[];
};

void
arena_init(struct arena *a)
{
	memset(a, 0, sizeof(*a));
}

void
arena_fini(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->head; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	arena_init(a);
}

static struct arena_block *
block_new(size_t cap)
{
	struct arena_block *b;

	if ((b = malloc(sizeof(*b) + cap)) == NULL)
		return (NULL);
	b->next = NULL;
	b->cap = cap;
	b->used = 0;
	return (b);
}

/* A block with room for n, already linked in; NULL: no memory. */
static struct arena_block *
block_for(struct arena *a, size_t n)
{
	struct arena_block *b = a->head;
	size_t cap = BLOCK_MIN;

	if (b != NULL && b->cap - b->used >= n)
		return (b);
	if (b != NULL && n > BLOCK_MAX / 4) {
		if ((b = block_new(n)) == NULL)
			return (NULL);
		b->next = a->head->next;
		a->head->next = b;
		return (b);
	}
	if (b != NULL)
		cap = b->cap * 2 < BLOCK_MAX ? b->cap * 2 : BLOCK_MAX;
	if ((b = block_new(cap < n ? n : cap)) == NULL)
		return (NULL);
	b->next = a->head;
	a->head = b;
	return (b);
}

/* align: a power of two, at most ALIGN. */
static void *
alloc(struct arena *a, size_t n, size_t align)
{
	struct arena_block *b = a->head;
	size_t pad;
	void *p;

	if (n == 0)
		n = 1;
	if (n > SIZE_MAX / 2 || a->used > SIZE_MAX / 2)
		goto fail;
	pad = b == NULL ? 0 : (align - b->used % align) % align;
	if ((b = block_for(a, n + pad)) == NULL)
		goto fail;
	/* A fresh block needs none. */
	pad = (align - b->used % align) % align;
	p = b->data + b->used + pad;
	b->used += n + pad;
	a->used += n + pad;
	return (p);
fail:
	a->error = -ENOMEM;
	return (NULL);
}

void *
arena_alloc(struct arena *a, size_t n)
{
	return (alloc(a, n, ALIGN));
}

void *
arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	if (p != NULL)
		memset(p, 0, n);
	return (p);
}

void *
arena_memdup(struct arena *a, const void *p, size_t n)
{
	void *q = arena_alloc(a, n);

	if (q != NULL && n > 0)
		memcpy(q, p, n);
	return (q);
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return (s == NULL ? NULL : arena_strndup(a, s, strlen(s)));
}

char *
arena_strndup(struct arena *a, const void *s, size_t n)
{
	char *q;

	if (n == SIZE_MAX) {
		a->error = -ENOMEM;
		return (NULL);
	}
	if ((q = alloc(a, n + 1, 1)) == NULL)
		return (NULL);
	if (n > 0)
		memcpy(q, s, n);
	q[n] = 0;
	return (q);
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *q;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		a->error = -ENOMEM;
		return (NULL);
	}
	if ((q = alloc(a, (size_t)n + 1, 1)) == NULL)
		return (NULL);
	va_start(ap, fmt);
	(void)vsnprintf(q, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return (q);
}
