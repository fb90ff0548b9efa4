/*
 * known_hosts -- which keys a known_hosts file has for a host: plain names,
 * patterns, negations, hashed names, markers (sshd(8), SSH_KNOWN_HOSTS FILE
 * FORMAT).
 *
 * libssh2's own reader knows neither markers nor patterns, and cannot say which
 * types of key are known before a host has chosen one.
 */
#include "backends/transport/ssh_internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "base/digest.h"

/* A part of a line, not ended by a NUL. */
struct piece {
	const char *p;
	size_t n;
};

static struct piece
next_word(struct piece *line)
{
	struct piece w;

	while (line->n != 0 && (*line->p == ' ' || *line->p == '\t')) {
		line->p++;
		line->n--;
	}
	w.p = line->p;
	while (line->n != 0 && *line->p != ' ' && *line->p != '\t') {
		line->p++;
		line->n--;
	}
	w.n = (size_t)(line->p - w.p);
	return (w);
}

static bool
is_word(struct piece w, const char *s)
{
	return (w.n == strlen(s) && strncmp(w.p, s, w.n) == 0);
}

static bool
same_char(char a, char b)
{
	return (tolower((unsigned char)a) == tolower((unsigned char)b));
}

/*
 * '*' and '?' in the pattern.  Only the last '*' is ever gone back to: the time
 * is the product of both lengths at most.
 */
static bool
matches(struct piece pattern, const char *name)
{
	const char *p = pattern.p, *end = p + pattern.n, *star = NULL;
	const char *back = NULL;

	while (*name != '\0') {
		if (p < end && *p == '*') {
			star = p++;
			back = name;
		} else if (p < end && (*p == '?' || same_char(*p, *name))) {
			p++;
			name++;
		} else if (star != NULL) {
			p = star + 1;
			name = ++back;
		} else
			return (false);
	}
	while (p < end && *p == '*')
		p++;
	return (p == end);
}

/* |1|SALT|HASH: HMAC-SHA1 of the name with the salt as its key. */
static bool
matches_hashed(struct arena *a, struct piece w, const char *name)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	const uint8_t *salt, *hash;
	const char *bar;
	size_t salt_n, hash_n;
	unsigned n = 0;

	if (w.n < 4 || strncmp(w.p, "|1|", 3) != 0 || w.n > 200)
		return (false);
	w.p += 3;
	w.n -= 3;
	if ((bar = memchr(w.p, '|', w.n)) == NULL)
		return (false);
	salt = base64_decode(a, w.p, (size_t)(bar - w.p), &salt_n);
	hash =
	    base64_decode(a, bar + 1, w.n - (size_t)(bar - w.p) - 1, &hash_n);
	if (salt == NULL || hash == NULL || hash_n != SHA1_LEN ||
	    HMAC(EVP_sha1(), salt, (int)salt_n, (const unsigned char *)name,
		strlen(name), sum, &n) == NULL)
		return (false);
	return (n == hash_n && CRYPTO_memcmp(sum, hash, n) == 0);
}

static bool
is_for(struct arena *a, struct piece hosts, const char *name)
{
	struct piece one;
	bool found = false, negated;
	const char *comma;

	if (hosts.n != 0 && *hosts.p == '|')
		return (matches_hashed(a, hosts, name));
	while (hosts.n != 0) {
		comma = memchr(hosts.p, ',', hosts.n);
		one.p = hosts.p;
		one.n = comma != NULL ? (size_t)(comma - hosts.p) : hosts.n;
		hosts.p += one.n + (comma != NULL);
		hosts.n -= one.n + (comma != NULL);
		if ((negated = one.n != 0 && *one.p == '!')) {
			one.p++;
			one.n--;
		}
		if (!matches(one, name))
			continue;
		if (negated)
			return (false);
		found = true;
	}
	return (found);
}

static int
add_key(struct known_hosts *k, struct arena *a, enum known_kind kind,
    struct piece type, struct piece text, const char *file, unsigned line)
{
	struct known_key *e = &k->v[k->n];
	const uint8_t *key;
	const char *inside;
	size_t n = 0;

	if (k->n == KNOWN_MAX)
		return (-E2BIG);
	key = base64_decode(a, text.p, text.n, &n);
	inside = key != NULL ? blob_type(a, key, n) : NULL;
	if (inside == NULL || !is_word(type, inside))
		return (a->error);
	*e = (struct known_key){ .kind = kind,
		.type = inside,
		.key = key,
		.n = n,
		.file = file,
		.line = line };
	k->n++;
	return (0);
}

static int
one_line(struct known_hosts *k, struct arena *a, const char *file,
    struct piece line, unsigned number, const char *name)
{
	enum known_kind kind = KNOWN_KEY;
	struct piece w = next_word(&line), type;

	if (w.n == 0 || *w.p == '#')
		return (0);
	if (*w.p == '@') {
		if (is_word(w, "@revoked"))
			kind = KNOWN_REVOKED;
		else if (is_word(w, "@cert-authority"))
			kind = KNOWN_AUTHORITY;
		else
			return (0);
		w = next_word(&line);
	}
	if (!is_for(a, w, name))
		return (a->error);
	type = next_word(&line);
	w = next_word(&line);
	return (add_key(k, a, kind, type, w, file, number));
}

int
known_hosts_add(struct known_hosts *k, struct arena *a, const char *file,
    const char *text, size_t n, const char *name)
{
	const char *end = text + n, *nl;
	struct piece line;
	unsigned number = 0;
	int r = 0;

	for (; text < end && r == 0; text = nl + 1) {
		if ((nl = memchr(text, '\n', (size_t)(end - text))) == NULL)
			nl = end;
		number++;
		line.p = text;
		line.n = (size_t)(nl - text);
		if (line.n != 0 && line.p[line.n - 1] == '\r')
			line.n--;
		r = one_line(k, a, file, line, number, name);
		if (nl == end)
			break;
	}
	return (r);
}

enum known_verdict
known_hosts_check(const struct known_hosts *k, const uint8_t *key, size_t n,
    const char *type, const struct known_key **at)
{
	enum known_verdict v = KNOWN_UNKNOWN;

	for (size_t i = 0; i < k->n; i++) {
		const struct known_key *e = &k->v[i];
		bool same = e->n == n && memcmp(e->key, key, n) == 0;

		if (e->kind == KNOWN_REVOKED && same) {
			*at = e;
			return (KNOWN_BAD);
		}
		if (e->kind != KNOWN_KEY || v == KNOWN_GOOD)
			continue;
		if (same) {
			*at = e;
			v = KNOWN_GOOD;
		} else if (v == KNOWN_UNKNOWN && strcmp(e->type, type) == 0) {
			*at = e;
			v = KNOWN_CHANGED;
		}
	}
	return (v);
}

bool
known_hosts_has(
    const struct known_hosts *k, enum known_kind kind, const char *type)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].kind == kind &&
		    (type == NULL || strcmp(k->v[i].type, type) == 0))
			return (true);
	return (false);
}
