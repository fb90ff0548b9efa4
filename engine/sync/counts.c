/*
 * counts -- what a side has done, as a text for the other one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sync/brain.h"

void
sync_counts_add(struct sync_counts *t, const struct sync_counts *c)
{
	t->saved += c->saved;
	t->copied += c->copied;
	t->flags += c->flags;
	t->expunged += c->expunged;
	t->renumbered += c->renumbered;
	t->mailboxes_created += c->mailboxes_created;
	t->mailboxes_renamed += c->mailboxes_renamed;
	t->mailboxes_deleted += c->mailboxes_deleted;
	t->subscriptions += c->subscriptions;
	t->bytes += c->bytes;
}

/* In the order of struct sync_counts, but the last two. */
#define COUNTS_SENT 10

const char *
sync_counts_text(struct arena *a, const struct sync_counts *c)
{
	const uint64_t v[COUNTS_SENT] = { c->saved, c->copied, c->flags,
		c->expunged, c->renumbered, c->mailboxes_created,
		c->mailboxes_renamed, c->mailboxes_deleted, c->subscriptions,
		c->bytes };
	char text[COUNTS_SENT * 21 + 1];
	size_t n = 0;

	for (size_t i = 0; i < COUNTS_SENT; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%" PRIu64,
		    i != 0 ? " " : "", v[i]);
	return (arena_strdup(a, text));
}

void
sync_counts_take(const char *text, struct sync_counts *c)
{
	uint64_t v[COUNTS_SENT];
	char *end;

	if (text == NULL)
		return;
	for (size_t i = 0; i < COUNTS_SENT; i++) {
		if (*text < '0' || *text > '9')
			return;
		v[i] = strtoull(text, &end, 10);
		text = end + (*end == ' ');
	}
	*c = (struct sync_counts){ v[0], v[1], v[2], v[3], v[4], v[5], v[6],
		v[7], v[8], v[9], 0, 0 };
}
