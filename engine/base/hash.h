/*
 * hash -- uthash, with a hash that nobody outside of the process can foretell:
 * keys are GUIDs and names that peers and senders choose.  Included instead of
 * uthash.h.
 */
#ifndef DSYNCFS_BASE_HASH_H
#define DSYNCFS_BASE_HASH_H

#include "base/digest.h"

#define HASH_FUNCTION(keyptr, keylen, hashv)                                   \
	((hashv) = (unsigned)table_hash(keyptr, keylen))

#include <uthash.h>

#endif
