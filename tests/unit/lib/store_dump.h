/*
 * store_dump -- everything a store says about itself, as canonical text: two
 * stores with equal text are in the same state.
 */
#ifndef DSYNCFS_TESTS_STORE_DUMP_H
#define DSYNCFS_TESTS_STORE_DUMP_H

#include "store/store.h"

enum {
	/* reads each body: size and hash of what was read, or the error */
	DUMP_BODIES = 1,
	/* where each body lies (differs after a compaction) */
	DUMP_PLACES = 2,
	DUMP_HISTORY = 4 /* events, expunged messages */
};

/*
 * malloc'd; aborts when there is no memory.  An error in the store shows as a
 * line "error ...".
 */
char *store_dump(struct store *s, unsigned what);

#endif
