/*
 * ssh_host -- is it the host that it should be?  Which methods may be agreed
 * on, and what known_hosts says about the key.
 */
#include "backends/transport/ssh_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"

#define KNOWN_FILE_MAX (16u << 20)

static int
out_of_memory(const struct ssh_call *c)
{
	log_error("%s: out of memory", c->peer);
	return (-ENOMEM);
}

static int
add_file(
    struct ssh_call *c, const char *path, const char *name, const char *plain)
{
	const char *text;
	unsigned mode;
	size_t n;
	int r;

	r = ssh_read_file(&c->mem, path, KNOWN_FILE_MAX, &text, &n, &mode);
	if (r == -ENOENT || r == -ENOTDIR)
		return (0);
	if (r == 0)
		r = known_hosts_add(&c->known, &c->mem, path, text, n, name);
	if (r == 0 && plain != NULL)
		r = known_hosts_add(
		    &c->known_plain, &c->mem, path, text, n, plain);
	if (r == 0)
		return (0);
	log_error("%s: %s cannot be used: %s", c->peer, path,
	    r == -E2BIG ? "too many keys for one host" : strerror(-r));
	return (r == -ENOMEM ? r : -EACCES);
}

/* Are host keys known, but none of a type that libssh2 has? */
static bool
knows_only_others(const struct known_hosts *k)
{
	bool any = false;

	for (size_t i = 0; i < k->n; i++) {
		if (k->v[i].kind != KNOWN_KEY)
			continue;
		if (ssh_key_why(k->v[i].type) == NULL)
			return (false);
		any = true;
	}
	return (any);
}

int
ssh_read_known_hosts(struct ssh_call *c)
{
	const struct ssh_config *n = &c->config;
	const char *path, *name, *plain = NULL;
	char *lower;
	int r;

	lower = arena_strdup(&c->mem,
	    n->host_key_alias != NULL ? n->host_key_alias : n->hostname);
	if (lower == NULL)
		return (out_of_memory(c));
	for (char *p = lower; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	name = lower;
	/* an alias has no port */
	if (n->port != 22 && n->host_key_alias == NULL) {
		plain = lower;
		name = arena_printf(&c->mem, "[%s]:%u", lower, n->port);
		if (name == NULL)
			return (out_of_memory(c));
	}
	for (size_t i = 0; n->known_hosts[i] != NULL; i++) {
		if (strcmp(n->known_hosts[i], "none") == 0)
			continue;
		path = n->known_hosts[i];
		if (*path == '~')
			path = ssh_config_path(&c->mem, n, &c->names, path);
		if (path != NULL && (r = add_file(c, path, name, plain)) != 0)
			return (r);
	}
	if (known_hosts_has(&c->known, KNOWN_AUTHORITY, NULL) ||
	    known_hosts_has(&c->known_plain, KNOWN_AUTHORITY, NULL)) {
		c->why = "known_hosts trusts a certificate authority for it";
		return (SSH_PROGRAM);
	}
	if (knows_only_others(c->known.n != 0 ? &c->known : &c->known_plain)) {
		c->why = "its known host key is of a type that libssh2 cannot "
			 "check";
		return (SSH_PROGRAM);
	}
	return (0);
}

/* ---- what may be agreed on ---- */

/* Those of ours that allowed (NULL: all) has, in our order. */
static void
put_allowed(struct buf *b, const char *ours, const char *allowed)
{
	size_t n;

	for (; *ours != '\0'; ours += n + (ours[n] == ',')) {
		n = strcspn(ours, ",");
		if (allowed != NULL && !in_list(allowed, ours, n))
			continue;
		if (b->len != 0)
			buf_put_u8(b, ',');
		buf_put(b, ours, n);
	}
}

/*
 * Those of list that this libssh2 has, into b.  It would drop the others by
 * itself, but 1.10 does that with a memcpy onto itself.
 */
static void
put_supported(struct buf *b, struct ssh_call *c, int method, const char *list)
{
	LIBSSH2_SESSION *s = c->session->s;
	const char **has = NULL;
	size_t n;
	int k, i;

	k = libssh2_session_supported_algs(s, method, &has);
	for (; *list != '\0'; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		for (i = 0; i < k; i++)
			if (strlen(has[i]) == n &&
			    strncmp(has[i], list, n) == 0)
				break;
		if (i >= k)
			continue;
		if (b->len != 0)
			buf_put_u8(b, ',');
		buf_put(b, list, n);
	}
	if (k > 0)
		libssh2_free(s, (void *)has);
}

/* allowed: a list that put_allowed has made */
static int
prefer(struct ssh_call *c, int method, struct buf *allowed)
{
	struct buf b = BUF_INIT;
	int r = 0;

	if (buf_cstr(allowed) != NULL)
		put_supported(&b, c, method, (const char *)allowed->data);
	if (allowed->error != 0 || buf_cstr(&b) == NULL)
		r = out_of_memory(c);
	else if (b.len == 0 ||
	    libssh2_session_method_pref(
		c->session->s, method, (const char *)b.data) != 0) {
		c->why = "libssh2 has none of the methods that ssh_config "
			 "allows";
		r = SSH_PROGRAM;
	}
	buf_fini(&b);
	return (r);
}

/*
 * Types whose key is known come first, or a host would show another one, and
 * be refused for it.
 */
static int
prefer_host_keys(struct ssh_call *c)
{
	static const char *const types[] = { "ssh-ed25519",
		"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
		"ecdsa-sha2-nistp521" };
	const struct known_hosts *k =
	    c->known.n != 0 ? &c->known : &c->known_plain;
	struct buf b = BUF_INIT;
	int r;

	for (int known = 1; known >= 0; known--)
		for (size_t i = 0; i < 4; i++)
			if (known_hosts_has(k, KNOWN_KEY, types[i]) == known)
				put_allowed(&b, types[i], c->config.host_keys);
	r = prefer(c, LIBSSH2_METHOD_HOSTKEY, &b);
	buf_fini(&b);
	return (r);
}

int
ssh_set_methods(struct ssh_call *c)
{
	static const char kex[] =
	    "curve25519-sha256,curve25519-sha256@libssh.org,"
	    "ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
	    "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,"
	    "diffie-hellman-group-exchange-sha256,"
	    "diffie-hellman-group14-sha256";
	/*
	 * Without strict key exchange a prefix can be cut off (Terrapin,
	 * CVE-2023-48795) from ChaCha20-Poly1305 and from encrypt-then-mac;
	 * these are neither.
	 */
	static const char ciphers[] =
	    "aes256-gcm@openssh.com,aes128-gcm@openssh.com,"
	    "aes256-ctr,aes192-ctr,aes128-ctr";
	static const char macs[] = "hmac-sha2-256,hmac-sha2-512";
	const struct {
		int method;
		const char *ours, *allowed;
	} t[] = { { LIBSSH2_METHOD_KEX, kex, c->config.kex },
		{ LIBSSH2_METHOD_CRYPT_CS, ciphers, c->config.ciphers },
		{ LIBSSH2_METHOD_CRYPT_SC, ciphers, c->config.ciphers },
		{ LIBSSH2_METHOD_MAC_CS, macs, c->config.macs },
		{ LIBSSH2_METHOD_MAC_SC, macs, c->config.macs } };
	struct buf b = BUF_INIT;
	int r = 0;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]) && r == 0; i++) {
		buf_reset(&b);
		put_allowed(&b, t[i].ours, t[i].allowed);
		r = prefer(c, t[i].method, &b);
	}
	buf_fini(&b);
	return (r == 0 ? prefer_host_keys(c) : r);
}

/* ---- the key ---- */

/* ssh's words for the host, for the remedies: "-p 2222 host" */
static const char *
ssh_words(struct ssh_call *c)
{
	const struct link_ssh_options *o = c->o;
	const char *s;

	s = arena_printf(&c->mem, "%s%s%s%s",
	    o->config_file != NULL ? "-F " : "",
	    o->config_file != NULL ? o->config_file : "",
	    o->config_file != NULL ? " " : "", o->host);
	if (s != NULL && o->port != 0)
		s = arena_printf(&c->mem, "-p %u %s", o->port, s);
	return (s != NULL ? s : o->host);
}

static void
say_unknown(struct ssh_call *c, const char *type, const char *print)
{
	const char *const *file = c->config.known_hosts;

	while (*file != NULL && strcmp(*file, "none") == 0)
		file++;
	log_error("%s: its host key is not known, so nothing was sent: %s %s "
		  "is not in %s. If its owner names that fingerprint, run "
		  "'ssh %s' once and accept it",
	    c->peer, type, print, *file != NULL ? *file : "any known_hosts",
	    ssh_words(c));
}

static void
say_changed(struct ssh_call *c, const char *type, const char *print,
    const struct known_key *at)
{
	const struct ssh_config *n = &c->config;
	char old[64];

	fingerprint(at->key, at->n, old);
	if (n->port != 22)
		log_error("%s: ITS HOST KEY HAS CHANGED, so nothing was sent: "
			  "it shows %s %s, but %s line %u has %s. Somebody "
			  "may be in between; if its owner says that the key "
			  "is new, run 'ssh-keygen -f %s -R [%s]:%u' and 'ssh "
			  "%s' once",
		    c->peer, type, print, at->file, at->line, old, at->file,
		    n->hostname, n->port, ssh_words(c));
	else
		log_error("%s: ITS HOST KEY HAS CHANGED, so nothing was sent: "
			  "it shows %s %s, but %s line %u has %s. Somebody "
			  "may be in between; if its owner says that the key "
			  "is new, run 'ssh-keygen -f %s -R %s' and 'ssh %s' "
			  "once",
		    c->peer, type, print, at->file, at->line, old, at->file,
		    n->hostname, ssh_words(c));
}

int
ssh_check_host(struct ssh_call *c)
{
	const struct known_key *at = NULL, *at_plain = NULL;
	enum known_verdict v, plain;
	const uint8_t *key;
	const char *type;
	char print[64];
	size_t n = 0;
	int ignored;

	key = (const uint8_t *)libssh2_session_hostkey(
	    c->session->s, &n, &ignored);
	type = key != NULL ? blob_type(&c->mem, key, n) : NULL;
	if (type == NULL) {
		log_error("%s: it shows no host key", c->peer);
		return (-EACCES);
	}
	fingerprint(key, n, print);
	v = known_hosts_check(&c->known, key, n, type, &at);
	/* as ssh does: a key known for the host counts at any port */
	plain = known_hosts_check(&c->known_plain, key, n, type, &at_plain);
	if (plain == KNOWN_BAD || (v == KNOWN_UNKNOWN && plain == KNOWN_GOOD)) {
		v = plain;
		at = at_plain;
	}
	switch (v) {
	case KNOWN_GOOD:
		log_verbose("%s: %s %s, as in %s line %u", c->peer, type, print,
		    at->file, at->line);
		return (0);
	case KNOWN_BAD:
		log_error("%s: its host key %s %s is revoked by %s line %u: "
			  "nothing was sent",
		    c->peer, type, print, at->file, at->line);
		return (-EACCES);
	case KNOWN_CHANGED:
		say_changed(c, type, print, at);
		return (-EACCES);
	case KNOWN_UNKNOWN:
		break;
	}
	say_unknown(c, type, print);
	return (-EACCES);
}
