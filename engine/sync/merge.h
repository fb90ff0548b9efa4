/*
 * merge -- the rules by which two states of a message, and two lists of
 * messages, become one (specs/dsync-protocol.md 6.6, 6.9).
 *
 * Pure functions: both brains compute with roles swapped and must come to the
 * same result.
 */
#ifndef DSYNCFS_SYNC_MERGE_H
#define DSYNCFS_SYNC_MERGE_H

#include "base/arena.h"
#include "base/mail.h"
#include "sync/strindex.h"

/*
 * One side's view of a message: its complete state, and what its users did
 * since the common state.
 */
struct merge_side {
	uint8_t final, add, remove;
	/* of add and remove: who did it knew of the other side's change */
	uint8_t informed;
	struct keywords kw_final, kw_add, kw_remove, kw_informed;
	uint64_t modseq;
};

struct merge_result {
	/* what the local message gets */
	uint8_t add, remove;
	struct keywords kw_add, kw_remove;
	bool local_changes, remote_changes;
	/* both touched the same bit in opposite ways; those that end up set */
	uint8_t fought, fought_set;
	struct keywords kw_fought, kw_fought_set;
};

/*
 * tie_remote: on equal modseqs the remote side is preferred (true on the
 * slave).  Strings are borrowed from the input.  -ENOMEM.
 */
int merge_flags(struct arena *a, const struct merge_side *local,
    const struct merge_side *remote, bool tie_remote, struct merge_result *out);

/*
 * One message above the last common UID that the other side does not have under
 * the same UID.  Those of one side are added in ascending order of UIDs.
 */
struct merge_entry {
	const char *guid;
	/* entries of one message have one key; "" is of no other */
	const char *key;
	const void *row; /* the caller's */
	uint32_t uid;
	uint32_t final; /* assigned UID */
	/* the same message on the other side */
	uint32_t link;
	/* of the same key on the same side; MERGE_NONE: the last */
	uint32_t next;
	/* of a key's first entry, when it has several: number plus 1 */
	uint32_t chain;
	/* it was expunged here, as this UID, and only gets its number */
	uint32_t gone;
	bool remote : 1;
	/* its UID is free on both sides */
	bool usable : 1;
	/*
	 * not taken over by the other side (filtered): keeps its UID, takes no
	 * number
	 */
	bool keep : 1;
	bool linked : 1;
};

#define MERGE_NONE UINT32_MAX

struct merge_queue {
	struct merge_entry *entry; /* owned */
	size_t n, cap;
	struct strindex first; /* of each key, to its first entry */
	struct merge_chain *chain; /* owned */
	size_t chains, cap_chains;
};

void merge_queue_init(struct merge_queue *q);
void merge_queue_fini(struct merge_queue *q);
/* Appends and links (6.6); e's strings are borrowed.  -ENOMEM, -EOVERFLOW. */
int merge_queue_add(struct merge_queue *q, const struct merge_entry *e);
/* Gives every entry its final UID; the result is the next free one. */
uint32_t merge_assign(struct merge_queue *q, uint32_t next);
/* One side has several instances of this message in the queue. */
bool merge_several(const struct merge_queue *q, const struct merge_entry *e);

#endif
