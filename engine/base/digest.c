/*
 * digest -- hashes: XXH3 by libxxhash, cryptographic ones by libcrypto.
 */
#include "base/digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <openssl/evp.h>
#include <xxhash.h>

struct digest {
	enum digest_kind kind;
	EVP_MD_CTX *evp; /* owned; NULL for XXH3 */
	XXH3_state_t *xxh; /* owned; NULL but for XXH3 */
};

uint64_t
xxh3_64(const void *p, size_t n)
{
	return (XXH3_64bits(p, n));
}

/* Chance that the kernel gave the process when it began. */
static uint64_t
table_key(void)
{
	static _Atomic uint64_t key;
	uint64_t k = key;
	const void *chance;

	if (k != 0)
		return (k);
	chance = (const void *)(uintptr_t)getauxval(AT_RANDOM);
	k = (chance == NULL ? (uintptr_t)&key : XXH3_64bits(chance, 16)) | 1;
	key = k;
	return (k);
}

uint64_t
table_hash(const void *p, size_t n)
{
	return (XXH3_64bits_withSeed(p, n, table_key()));
}

static void
put_canonical(XXH128_hash_t h, uint8_t out[16])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, h);
	memcpy(out, c.digest, 16);
}

void
xxh3_128(const void *p, size_t n, uint8_t out[16])
{
	put_canonical(XXH3_128bits(p, n), out);
}

/*
 * Looked up once: libcrypto finds the method of EVP_sha1() anew for each use,
 * which costs more than hashing a name.
 */
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static const EVP_MD *fetched[DIGEST_XXH3_128];

static const EVP_MD *
fetch(const char *name, const EVP_MD *other)
{
	const EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);

	return (md != NULL ? md : other);
}

static void
fetch_all(void)
{
	fetched[DIGEST_SHA1] = fetch("SHA1", EVP_sha1());
	fetched[DIGEST_MD5] = fetch("MD5", EVP_md5());
	fetched[DIGEST_SHA256] = fetch("SHA256", EVP_sha256());
}

static const EVP_MD *
evp_of(enum digest_kind kind)
{
	(void)pthread_once(&fetch_once, fetch_all);
	return (fetched[kind]);
}

static int
once(enum digest_kind kind, const void *p, size_t n, uint8_t *out)
{
	return (EVP_Digest(n == 0 ? "" : p, n, out, NULL, evp_of(kind),
		    NULL) == 1
		? 0
		: -ENOMEM);
}

int
sha1(const void *p, size_t n, uint8_t out[SHA1_LEN])
{
	return (once(DIGEST_SHA1, p, n, out));
}

int
md5(const void *p, size_t n, uint8_t out[MD5_LEN])
{
	return (once(DIGEST_MD5, p, n, out));
}

int
digest_new(enum digest_kind kind, struct digest **out)
{
	struct digest *d;

	if ((d = calloc(1, sizeof(*d))) == NULL)
		return (-ENOMEM);
	d->kind = kind;
	if (kind == DIGEST_XXH3_128) {
		if ((d->xxh = XXH3_createState()) == NULL ||
		    XXH3_128bits_reset(d->xxh) != XXH_OK)
			goto fail;
	} else {
		if ((d->evp = EVP_MD_CTX_new()) == NULL ||
		    EVP_DigestInit_ex(d->evp, evp_of(kind), NULL) != 1)
			goto fail;
	}
	*out = d;
	return (0);
fail:
	digest_free(d);
	return (-ENOMEM);
}

int
digest_add(struct digest *d, const void *p, size_t n)
{
	if (n == 0)
		return (0);
	if (d->xxh != NULL)
		return (
		    XXH3_128bits_update(d->xxh, p, n) == XXH_OK ? 0 : -ENOMEM);
	return (EVP_DigestUpdate(d->evp, p, n) == 1 ? 0 : -ENOMEM);
}

int
digest_final(struct digest *d, uint8_t *out)
{
	if (d->xxh != NULL) {
		put_canonical(XXH3_128bits_digest(d->xxh), out);
		return (0);
	}
	return (EVP_DigestFinal_ex(d->evp, out, NULL) == 1 ? 0 : -ENOMEM);
}

void
digest_free(struct digest *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->evp);
	(void)XXH3_freeState(d->xxh);
	free(d);
}

int
keyed128(const uint8_t key[32], const void *p, size_t n, uint8_t out[16])
{
	uint8_t full[SHA256_LEN];
	struct digest *d = NULL;
	int rc;

	if ((rc = digest_new(DIGEST_SHA256, &d)) != 0 ||
	    (rc = digest_add(d, key, 32)) != 0 ||
	    (rc = digest_add(d, p, n)) != 0 ||
	    (rc = digest_final(d, full)) != 0)
		goto fail;
	memcpy(out, full, 16);
fail:
	digest_free(d);
	return (rc);
}

void
hex_encode(const void *p, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = digit[b[i] >> 4];
		out[2 * i + 1] = digit[b[i] & 15];
	}
	out[2 * n] = 0;
}

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	if (c >= 'A' && c <= 'F')
		return (c - 'A' + 10);
	return (-1);
}

int
hex_decode(const char *hex, size_t n, void *out)
{
	uint8_t *b = out;
	size_t i;

	if (strnlen(hex, 2 * n + 1) != 2 * n)
		return (-EINVAL);
	for (i = 0; i < 2 * n; i++)
		if (nibble(hex[i]) < 0)
			return (-EINVAL);
	for (i = 0; i < n; i++)
		b[i] =
		    (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	return (0);
}
