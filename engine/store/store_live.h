/*
 * store_live -- which bodies the messages name, as a sorted list: for
 * compaction, verify and repair.
 */
#ifndef DSYNCFS_STORE_LIVE_H
#define DSYNCFS_STORE_LIVE_H

#include "store/store_internal.h"

/* There are as many as bodies, so it is small. */
struct live {
	uint64_t offset;
	uint32_t pack;
	/* a walk found it good; its loss was reported */
	bool seen, told;
	bool moved; /* compaction gave it a new place */
	union {
		struct { /* !moved */
			uint64_t size;
			uint8_t hash[16];
		};
		struct { /* moved */
			uint64_t to_offset;
			uint32_t to_pack;
		};
	};
};
struct live_list {
	/* owned; sorted by pack, offset; no doubles */
	struct live *v;
	size_t n, cap;
};

/* Bodies of all messages, and of expunged ones since `cutoff` (INT64_MIN: all).
 */
int live_collect(struct state *st, int64_t cutoff, struct live_list *l);
struct live *live_find(
    const struct live_list *l, uint32_t pack, uint64_t offset);
void live_free(struct live_list *l);

#endif
