/*
 * guid -- 128-bit identities of mailboxes, stores and messages.
 *
 * A message's GUID is a free string (../shared/specs/dsync-protocol.md 6.2);
 * its 128-bit form is the string's 16 bytes when it is exactly 32 hex digits,
 * else the last 16 bytes of SHA-1 over the string.
 */
#ifndef DSYNCFS_BASE_GUID_H
#define DSYNCFS_BASE_GUID_H

#include <stdbool.h>
#include <stdint.h>

struct guid {
	uint8_t b[16];
};

#define GUID_HEX_LEN 32

bool guid_is_zero(const struct guid *g);
bool guid_eq(const struct guid *a, const struct guid *b);
/* memcmp order */
int guid_cmp(const struct guid *a, const struct guid *b);
/* exactly 32 hex digits; 0 or -EINVAL */
int guid_parse(const char *hex, struct guid *out);
/* Lower-case hex into out[33]; returns out. */
const char *guid_hex(const struct guid *g, char out[GUID_HEX_LEN + 1]);
/* 0 or -ENOMEM */
int guid128_of_string(const char *s, struct guid *out);
/*
 * First 16 bytes of SHA-1 over a mailbox name: how dsync names deleted
 * directories (specs/dsync-protocol.md 2.4).
 */
int guid128_of_name(const char *name, struct guid *out);

#endif
