/*
 * hdr_hash -- the hash of a message's header by which dsync tells messages
 * apart that have no GUID on both sides (specs/dsync-protocol.md 6.3).
 *
 * Of the header it takes, in their order, the fields that a list names, each
 * as it is written with its continuation lines, and then one empty line, also
 * where the header had none.  CRLF counts as LF.  Version 1 takes these bytes
 * as they are; version 2 takes one '?' for each run of control characters
 * (but TAB and LF), bytes from 0x7f on and '?'; version 3 also leaves out
 * spaces, which end such a run.
 *
 * Bytes come in chunks of any size, and memory does not depend on them.
 */
#ifndef DSYNCFS_BASE_HDR_HASH_H
#define DSYNCFS_BASE_HDR_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "stream.h"

#define HDR_HASH_LEN 32 /* lower-case hex digits of an MD5 */
/* No field of a longer name is found. */
#define HDR_HASH_NAME_MAX 255
/* A header ends here at the latest, counted with LF line ends. */
#define HDR_HASH_HEADER_MAX (10u << 20)
/* What a header has in which no field was found. */
#define HDR_HASH_EMPTY "68b329da9893e34099c7d8ad5cb9c940"

struct hdr_hash;

/*
 * version 1, 2 or 3; names are compared without case, borrowed until free;
 * empty ones name nothing.  -ENOMEM.
 */
int hdr_hash_new(unsigned version, const char *const *names, size_t n,
    struct hdr_hash **out);
/*
 * The next bytes of the message.  1: the header is over, whatever comes after
 * it does not matter; 0: go on; -ENOMEM.
 */
int hdr_hash_add(struct hdr_hash *h, const void *p, size_t n);
/* The end of what there is; h may then only be freed.  -ENOMEM. */
int hdr_hash_final(struct hdr_hash *h, char out[HDR_HASH_LEN + 1]);
void hdr_hash_free(struct hdr_hash *h); /* NULL is fine */

/*
 * All three over a message, of which no more is read than its header.  Gives
 * the stream's errors, -ENOMEM.
 */
int hdr_hash_stream(unsigned version, const char *const *names, size_t n,
    struct stream *in, char out[HDR_HASH_LEN + 1]);

#endif
