/*
 * link_mem -- two ends of a link in memory that deliver in pieces, hold little,
 * and can be cut.
 */
#ifndef DSYNCFS_TESTS_LINK_MEM_H
#define DSYNCFS_TESTS_LINK_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include "base/link.h"
#include "base/os.h"

/* All zero: everything at once, without bound. */
struct link_mem_rules {
	size_t chunk; /* bytes a call at most */
	size_t capacity; /* bytes on their way at most */
	/* 0: always the most; else pieces of any size, and -EAGAIN in between
	 */
	uint64_t seed;
	/* what was read is not kept */
	bool forget;
};

/* Each end is closed by its user; tests end when there is no memory. */
void link_mem_pair(
    const struct link_mem_rules *rules, struct link **a, struct link **b);
/*
 * Of what this end writes, n bytes more reach the other, which then sees the
 * end; writing gives -EPIPE.
 */
void link_mem_cut(struct link *l, size_t n);
/* What this end's operations give from now on, other than 0: reading, writing.
 */
void link_mem_fail(struct link *l, int read_rc, int write_rc);
/* Written by this end so far; kept when the other has read it, unless told not
 * to. */
const uint8_t *link_mem_written(struct link *l, size_t *n);
/* Puts all of it on its way, past the rules. */
void link_mem_put(struct link *l, const void *p, size_t n);
/*
 * While l waits, fn lets others work; it gives false when nothing can come any
 * more.  Then the wait ends with -ETIMEDOUT, and the clock of os (unless NULL)
 * goes on by as much.
 */
void link_mem_on_wait(
    struct link *l, bool (*fn)(void *arg), void *arg, struct os *os);
/* waits so far */
unsigned link_mem_waits(const struct link *l);

#endif
