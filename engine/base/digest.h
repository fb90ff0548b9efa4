/*
 * digest -- hashes: XXH3 for damage, cryptographic ones (by libcrypto) for
 * identity.
 */
#ifndef DSYNCFS_BASE_DIGEST_H
#define DSYNCFS_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_LEN 20
#define MD5_LEN 16
#define SHA256_LEN 32

uint64_t xxh3_64(const void *p, size_t n);
/*
 * The same with a key that is chance anew in each process: for tables in memory
 * whose keys others choose, so that nobody can make them all meet.
 */
uint64_t table_hash(const void *p, size_t n);
/* canonical (big-endian) byte order */
void xxh3_128(const void *p, size_t n, uint8_t out[16]);

/* One-shot; they cannot fail but for -ENOMEM. */
int sha1(const void *p, size_t n, uint8_t out[SHA1_LEN]);
int md5(const void *p, size_t n, uint8_t out[MD5_LEN]);

/* Streaming. */
enum digest_kind { DIGEST_SHA1, DIGEST_MD5, DIGEST_SHA256, DIGEST_XXH3_128 };
struct digest;
int digest_new(enum digest_kind kind, struct digest **out);
int digest_add(struct digest *d, const void *p, size_t n);
/* out holds the kind's length; d may then only be freed */
int digest_final(struct digest *d, uint8_t *out);
void digest_free(struct digest *d);

/*
 * Keyed 128 bits over p (SHA-256 of key, then p, truncated): for content
 * identity (DESIGN.md 9, 6).
 */
int keyed128(const uint8_t key[32], const void *p, size_t n, uint8_t out[16]);

/* Lower-case hex of n bytes and a NUL into out[2n + 1]. */
void hex_encode(const void *p, size_t n, char *out);
/* Exactly 2n hex digits of either case; 0 or -EINVAL. */
int hex_decode(const char *hex, size_t n, void *out);

#endif
