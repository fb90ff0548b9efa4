/*
 * ssh_key -- what a key file holds, as far as that can be seen without its
 * passphrase (OpenSSH's PROTOCOL.key, RFC 4716's relatives in PEM).
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <string.h>

#define BEGIN_OPENSSH "-----BEGIN OPENSSH PRIVATE KEY-----"
#define END_OPENSSH "-----END OPENSSH PRIVATE KEY-----"

const char *
ssh_key_why(const char *type)
{
	static const char *const good[] = { "ssh-ed25519",
		"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
		"ecdsa-sha2-nistp521" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(type, good[i]) == 0)
			return (NULL);
	if (strstr(type, "-cert-v0") != NULL)
		return ("a certificate");
	if (strncmp(type, "sk-", 3) == 0)
		return ("a FIDO key");
	if (strncmp(type, "ssh-rsa", 7) == 0 ||
	    strncmp(type, "rsa-sha2", 8) == 0)
		return ("an RSA key");
	return ("a key of a type that libssh2 does not have");
}

/* Where in text, which has no NUL at its end; NULL. */
static const char *
find(const char *text, size_t n, const char *what)
{
	return (memmem(text, n, what, strlen(what)));
}

/* What libssh2 1.10 can decrypt. */
static bool
cipher_is_known(const uint8_t *name, size_t n)
{
	static const char list[] = "none,aes256-ctr,aes192-ctr,aes128-ctr,"
				   "aes256-cbc,aes192-cbc,aes128-cbc";

	return (in_list(list, (const char *)name, n));
}

/* raw holds the private part too, behind what is read here */
static int
openssh_public(
    struct arena *a, const uint8_t *raw, size_t len, struct ssh_key *k)
{
	static const char magic[] = "openssh-key-v1"; /* with its NUL */
	const uint8_t *cipher, *kdf, *key;
	struct blob b;
	size_t cipher_n = 0, kdf_n = 0, n = 0;

	if (len < sizeof(magic) || memcmp(raw, magic, sizeof(magic)) != 0)
		return (-EINVAL);
	b = (struct blob){ .p = raw + sizeof(magic),
		.left = len - sizeof(magic) };
	cipher = blob_string(&b, &cipher_n);
	kdf = blob_string(&b, &kdf_n);
	(void)blob_string(&b, &n);
	if (blob_u32(&b) != 1)
		return (-EINVAL);
	key = blob_string(&b, &n);
	if (b.bad || cipher == NULL || kdf == NULL)
		return (-EINVAL);
	if ((k->type = blob_type(a, key, n)) == NULL ||
	    (k->key = arena_memdup(a, key, n)) == NULL)
		return (a->error != 0 ? a->error : -EINVAL);
	k->n = n;
	k->is_private = true;
	k->encrypted = !in_list("none", (const char *)cipher, cipher_n);
	k->why_program = ssh_key_why(k->type);
	if (k->why_program == NULL && !cipher_is_known(cipher, cipher_n))
		k->why_program = "encrypted in a way that libssh2 does not "
				 "have";
	return (0);
}

static int
openssh_key(struct arena *a, const char *text, size_t n, struct ssh_key *k)
{
	const char *end = find(text, n, END_OPENSSH);
	uint8_t *raw;
	size_t len = 0;
	int r;

	if (end == NULL)
		return (-EINVAL);
	raw = base64_decode(a, text, (size_t)(end - text), &len);
	if (raw == NULL)
		return (a->error != 0 ? a->error : -EINVAL);
	r = openssh_public(a, raw, len, k);
	explicit_bzero(raw, len);
	return (r);
}

/* TYPE BASE64 [COMMENT] */
static int
public_key(struct arena *a, const char *text, size_t n, struct ssh_key *k)
{
	const char *end = memchr(text, '\n', n), *space;
	size_t line = end != NULL ? (size_t)(end - text) : n, len;
	const char *type;

	if ((space = memchr(text, ' ', line)) == NULL)
		return (-EINVAL);
	len = (size_t)(space - text);
	text = space + 1;
	line -= len + 1;
	space = memchr(text, ' ', line);
	k->key = base64_decode(
	    a, text, space != NULL ? (size_t)(space - text) : line, &k->n);
	type = k->key != NULL ? blob_type(a, k->key, k->n) : NULL;
	if (type == NULL || strlen(type) != len ||
	    strncmp(text - len - 1, type, len) != 0)
		return (a->error != 0 ? a->error : -EINVAL);
	k->type = type;
	return (0);
}

int
ssh_key_parse(struct arena *a, const char *text, size_t n, struct ssh_key *k)
{
	const char *at, *end;

	memset(k, 0, sizeof(*k));
	if ((at = find(text, n, BEGIN_OPENSSH)) != NULL) {
		at += strlen(BEGIN_OPENSSH);
		return (openssh_key(a, at, n - (size_t)(at - text), k));
	}
	if ((at = find(text, n, "-----BEGIN ")) != NULL) {
		n -= (size_t)(at - text);
		end = memchr(at, '\n', n);
		n = end != NULL ? (size_t)(end - at) : n;
		if (find(at, n, "PRIVATE KEY-----") == NULL)
			return (-EINVAL);
		k->is_private = true;
		k->why_program = find(at, n, "BEGIN RSA") != NULL
		    ? "an RSA key"
		    : "not in OpenSSH's format";
		return (0);
	}
	return (public_key(a, text, n, k));
}
