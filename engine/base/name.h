/*
 * name -- mailbox names: the canonical form, and IMAP's modified UTF-7.
 *
 * Canonical: valid UTF-8, levels joined by '/', no empty level, no level "." or
 * "..", no control character, no leading
 * '~', a level at most 255 bytes (also as modified UTF-7), the whole at most
 * 4096.  "INBOX" in any case is "INBOX" when it is the whole name or the first
 * level.
 */
#ifndef DSYNCFS_BASE_NAME_H
#define DSYNCFS_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include "arena.h"

#define NAME_MAX_BYTES 4096
#define NAME_SEP '/'

bool utf8_valid(const char *s, size_t n);
bool name_valid(const char *name);
/*
 * The nearest canonical name, in the arena: bad bytes, control characters and
 * forbidden levels are replaced by alt ('_' by default), too long levels are
 * cut on a character.  Never gives an empty name.  NULL: no memory.
 */
char *name_fix(struct arena *a, const char *name, char alt);
/* RFC 3501 5.1.3.  in: canonical level or name; NULL on bad input or no memory.
 */
char *mutf7_encode(struct arena *a, const char *utf8);
/* NULL when it is not valid mUTF-7 */
char *mutf7_decode(struct arena *a, const char *mutf7);
/* True for equal names, or parent "A" and child "A/B". */
bool name_is_child(const char *parent, const char *child);

#endif
