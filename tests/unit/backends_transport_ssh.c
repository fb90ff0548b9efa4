/*
 * backends_transport_ssh -- what the ssh transport reads of others: ssh -G,
 * known_hosts, key files.  Connections are in tests/interop/ssh.sh.
 */
#include <check.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "backends/transport/ssh_internal.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/transport_help.h"

static struct arena mem;

static void
begin(void)
{
	arena_init(&mem);
	said_begin();
}

static void
end(void)
{
	arena_fini(&mem);
}

/* ---- ssh -G ---- */

#define BASE "host h\nuser joe\nhostname h.example\nport 2222\n"

static struct ssh_config
parsed(const char *text)
{
	struct ssh_config c;

	ck_assert_int_eq(ssh_config_parse(&mem, text, strlen(text), &c), 0);
	return (c);
}

START_TEST(what_ssh_says_is_taken)
{
	struct ssh_config c = parsed(
	    BASE "addressfamily inet6\nidentitiesonly yes\n"
		 "gssapiauthentication yes\nserveraliveinterval 15\n"
		 "serveralivecountmax 4\nhostkeyalias mail\n"
		 "identityfile ~/.ssh/a\nidentityfile ~/.ssh/b c\n"
		 "identityagent /run/agent\nciphers aes256-ctr\n"
		 "macs hmac-sha2-256\nkexalgorithms k\nhostkeyalgorithms h\n"
		 "pubkeyacceptedalgorithms p\n"
		 "globalknownhostsfile /etc/1 /etc/2\n"
		 "userknownhostsfile /home/1  /home/2\n"
		 "unknownkeyword of the future\n");

	ck_assert_str_eq(c.hostname, "h.example");
	ck_assert_str_eq(c.user, "joe");
	ck_assert_uint_eq(c.port, 2222);
	ck_assert_int_eq(c.family, AF_INET6);
	ck_assert(c.identities_only && c.gssapi);
	ck_assert_uint_eq(c.alive_s, 15);
	ck_assert_uint_eq(c.alive_tries, 4);
	ck_assert_str_eq(c.host_key_alias, "mail");
	ck_assert_str_eq(c.identities[0], "~/.ssh/a");
	ck_assert_str_eq(c.identities[1], "~/.ssh/b c");
	ck_assert_ptr_null(c.identities[2]);
	ck_assert_str_eq(c.agent, "/run/agent");
	ck_assert_str_eq(c.ciphers, "aes256-ctr");
	ck_assert_str_eq(c.macs, "hmac-sha2-256");
	ck_assert_str_eq(c.kex, "k");
	ck_assert_str_eq(c.host_keys, "h");
	ck_assert_str_eq(c.user_keys, "p");
	ck_assert_uint_eq(c.user_known_hosts, 2);
	ck_assert_str_eq(c.known_hosts[0], "/home/1");
	ck_assert_str_eq(c.known_hosts[1], "/home/2");
	ck_assert_str_eq(c.known_hosts[2], "/etc/1");
	ck_assert_str_eq(c.known_hosts[3], "/etc/2");
	ck_assert_ptr_null(c.known_hosts[4]);
	ck_assert_ptr_null(c.why_program);
}
END_TEST

START_TEST(what_is_not_said_has_a_default)
{
	struct ssh_config c = parsed(BASE);

	ck_assert_int_eq(c.family, AF_UNSPEC);
	ck_assert(!c.identities_only && !c.gssapi);
	ck_assert_ptr_null(c.identities[0]);
	ck_assert_ptr_null(c.known_hosts[0]);
	ck_assert_ptr_null(c.agent);
	ck_assert_ptr_null(c.ciphers);
	ck_assert_ptr_null(c.host_key_alias);
}
END_TEST

START_TEST(what_is_no_configuration_is_refused)
{
	static const char *const t[] = { "", "\n\n", "user joe\nport 22\n",
		"user joe\nhostname h\n", "hostname h\nport 22\n",
		"user joe\nhostname h\nport 0\n",
		"user joe\nhostname h\nport 65536\n",
		"user joe\nhostname h\nport 22x\n",
		"user joe\nhostname \nport 22\n", "user\nhostname h\nport 22\n",
		"usage: ssh [-46AaCfGgKkMNnqsTtVvXxYy]" };
	struct ssh_config c;

	ck_assert_int_eq(
	    ssh_config_parse(&mem, t[_i], strlen(t[_i]), &c), -EPROTO);
}
END_TEST

START_TEST(what_libssh2_does_not_have_is_named)
{
	static const char *const t[][2] = { { "proxycommand nc h 22", "Proxy" },
		{ "proxyjump j", "ProxyJump" },
		{ "controlpath /tmp/x", "ControlPath" },
		{ "certificatefile x", "CertificateFile" },
		{ "pkcs11provider x", "PKCS11" },
		{ "knownhostscommand x", "KnownHostsCommand" },
		{ "revokedhostkeys x", "RevokedHostKeys" },
		{ "verifyhostkeydns true", "VerifyHostKeyDNS" },
		{ "verifyhostkeydns ask", "VerifyHostKeyDNS" },
		{ "bindaddress 127.0.0.1", "BindAddress" },
		{ "bindinterface lo", "BindInterface" },
		{ "pubkeyauthentication no", "PubkeyAuthentication" } };
	char text[200];
	struct ssh_config c;

	snprintf(text, sizeof(text), BASE "%s\n", t[_i][0]);
	c = parsed(text);
	ck_assert_ptr_nonnull(c.why_program);
	ck_assert_ptr_nonnull(strstr(c.why_program, t[_i][1]));
}
END_TEST

START_TEST(none_is_nothing_to_name)
{
	static const char *const t[] = { "proxycommand none", "proxyjump none",
		"controlpath none", "pkcs11provider none",
		"revokedhostkeys none", "knownhostscommand none",
		"verifyhostkeydns false", "verifyhostkeydns no",
		"pubkeyauthentication true", "pubkeyauthentication yes",
		"controlmaster auto" };
	char text[200];

	snprintf(text, sizeof(text), BASE "%s\n", t[_i]);
	ck_assert_ptr_null(parsed(text).why_program);
}
END_TEST

START_TEST(a_file_name_has_its_values)
{
	static const char *const t[][2] = { { "/plain", "/plain" },
		{ "~/k", "/home/me/k" }, { "~", "/home/me" },
		{ "%d/k", "/home/me/k" }, { "a%%b", "a%b" },
		{ "/k/%h-%n-%p-%r-%u", "/k/h.example-given-2222-joe-me" },
		{ "/k/%k", "/k/given" }, { "${DSYNCFS_T}/x", "value/x" },
		{ "/a~b", "/a~b" }, { "$x", "$x" },
		/* what only ssh(1) knows */
		{ "%C", NULL }, { "%j", NULL }, { "%", NULL },
		{ "${NOT_THERE}", NULL }, { "${open", NULL },
		{ "~no-such-user/k", NULL } };
	static const struct ssh_names names = { "/home/me", "me", "given" };
	struct ssh_config c = parsed(BASE);
	const char *path;

	setenv("DSYNCFS_T", "value", 1);
	unsetenv("NOT_THERE");
	path = ssh_config_path(&mem, &c, &names, t[_i][0]);
	if (t[_i][1] == NULL)
		ck_assert_ptr_null(path);
	else
		ck_assert_str_eq(path, t[_i][1]);
}
END_TEST

START_TEST(another_users_home_is_his)
{
	static const struct ssh_names names = { "/home/me", "me", "given" };
	struct ssh_config c = parsed(BASE);
	struct passwd *pw = getpwuid(getuid());
	char text[300], want[600];

	ck_assert_ptr_nonnull(pw);
	snprintf(text, sizeof(text), "~%s/k", pw->pw_name);
	snprintf(want, sizeof(want), "%s/k", pw->pw_dir);
	ck_assert_str_eq(ssh_config_path(&mem, &c, &names, text), want);
}
END_TEST

/* ---- keys as bytes ---- */

static size_t
put_string(uint8_t *out, const void *p, size_t n)
{
	out[0] = out[1] = 0;
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
	memcpy(out + 4, p, n);
	return (n + 4);
}

struct key {
	const char *type;
	uint8_t b[256];
	size_t n;
	char text[400]; /* TYPE BASE64 */
};

/* A public key of that type; seed makes it another one. */
static struct key
make_key(const char *type, int seed)
{
	struct key k = { .type = type };
	uint8_t body[32];
	char b64[360];

	memset(body, seed, sizeof(body));
	k.n = put_string(k.b, type, strlen(type));
	k.n += put_string(k.b + k.n, body, sizeof(body));
	(void)EVP_EncodeBlock((unsigned char *)b64, k.b, (int)k.n);
	snprintf(k.text, sizeof(k.text), "%s %s", type, b64);
	return (k);
}

START_TEST(base64_is_what_it_encodes)
{
	uint8_t in[64];
	char text[100];
	size_t n;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(in); len++) {
		int k = EVP_EncodeBlock((unsigned char *)text, in, (int)len);
		const uint8_t *out = base64_decode(&mem, text, (size_t)k, &n);

		ck_assert_ptr_nonnull(out);
		ck_assert_uint_eq(n, len);
		ck_assert(memcmp(out, in, len) == 0);
	}
}
END_TEST

START_TEST(what_is_no_base64_is_refused)
{
	static const char *const t[] = { "A", "AA", "AAA",
		"AA=", "A===", "AAAA=", "AA==AA", "A AA", "A-AA", "AA=A",
		"====" };
	size_t n;

	ck_assert_ptr_null(base64_decode(&mem, t[_i], strlen(t[_i]), &n));
}
END_TEST

START_TEST(a_type_that_cannot_be_is_none)
{
	static const struct {
		const char *b;
		size_t n;
	} t[] = { { "", 0 }, { "\0\0\0", 3 }, { "\0\0\0\0", 4 },
		{ "\0\0\0\5abcd", 8 },
		{ "\xff\xff\xff\xff"
		  "abcd",
		    8 },
		{ "\0\0\0\4a\0bc", 8 }, { "\0\0\0\4a bc", 8 },
		{ "\0\0\0\4a,bc", 8 }, { "\0\0\0\4\xc3\xa4xx", 8 } };

	ck_assert_ptr_null(blob_type(&mem, (const uint8_t *)t[_i].b, t[_i].n));
}
END_TEST

START_TEST(a_fingerprint_is_ssh_keygens)
{
	/* ssh-keygen -lf of the key with 32 bytes 0x41 */
	struct key k = make_key("ssh-ed25519", 'A');
	char print[64];

	fingerprint(k.b, k.n, print);
	ck_assert_str_eq(
	    print, "SHA256:ycecTFElO4tMaWgqfHQDEUjUete0Tsl0wmvU/kkDXFc");
}
END_TEST

START_TEST(a_list_has_whole_names)
{
	ck_assert(in_list("a,bc,d", "a", 1));
	ck_assert(in_list("a,bc,d", "bc", 2));
	ck_assert(in_list("a,bc,d", "d", 1));
	ck_assert(!in_list("a,bc,d", "b", 1));
	ck_assert(!in_list("a,bc,d", "c", 1));
	ck_assert(!in_list("a,bc,d", "bcd", 3));
	ck_assert(!in_list("", "a", 1));
	ck_assert(!in_list("a,,b", "x", 1));
}
END_TEST

/* ---- known_hosts ---- */

static struct known_hosts known;

static int
add(const char *name, const char *fmt, ...)
{
	char text[8000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return (
	    known_hosts_add(&known, &mem, "file", text, strlen(text), name));
}

static enum known_verdict
verdict(const struct key *k, const struct known_key **at)
{
	return (known_hosts_check(&known, k->b, k->n, k->type, at));
}

START_TEST(a_line_is_for_the_hosts_it_names)
{
	static const struct {
		const char *hosts, *name;
		bool is;
	} t[] = { { "host", "host", true }, { "HOST", "host", true },
		{ "host", "host2", false }, { "host2", "host", false },
		{ "a,host,b", "host", true }, { "a,b", "host", false },
		{ "*", "host", true }, { "*.example", "a.b.example", true },
		{ "*.example", "example", false }, { "h?st", "host", true },
		{ "h?st", "hst", false }, { "h*t*", "hostt", true },
		{ "h**t", "host", true }, { "*a*b*c*", "xaybzc", true },
		{ "*a*b*c*", "xaycz", false }, { "*,!host", "host", false },
		{ "!host,*", "host", false }, { "!host", "other", false },
		{ "!h*,*", "other", true }, { "[host]:22", "[host]:22", true },
		{ "[host]:22", "host", false },
		{ "[host]:*", "[host]:9", true },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "fe80::1", "fe80::1", true }, { ",", "host", false },
		{ ",host,", "host", true }, { "|1|", "host", false },
		{ "|1|x|y", "host", false }, { "|2|AAAA|AAAA", "host", false },
		{ "host|x", "host", false } };
	struct key k = make_key("ssh-ed25519", 1);
	const struct known_key *at;

	ck_assert_int_eq(add(t[_i].name, "%s %s\n", t[_i].hosts, k.text), 0);
	ck_assert_int_eq(
	    verdict(&k, &at), t[_i].is ? KNOWN_GOOD : KNOWN_UNKNOWN);
}
END_TEST

START_TEST(a_hashed_name_is_found)
{
	static const uint8_t salt[20] = "any twenty bytes....";
	struct key k = make_key("ssh-ed25519", 1);
	unsigned char sum[EVP_MAX_MD_SIZE], a[60], b[60];
	const struct known_key *at;
	unsigned n = 0;

	HMAC(EVP_sha1(), salt, 20, (const unsigned char *)"[h.example]:99", 14,
	    sum, &n);
	EVP_EncodeBlock(a, salt, 20);
	EVP_EncodeBlock(b, sum, (int)n);
	ck_assert_int_eq(
	    add("[h.example]:98", "|1|%s|%s %s\n", a, b, k.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_UNKNOWN);
	ck_assert_int_eq(
	    add("[h.example]:99", "#\n|1|%s|%s %s\n", a, b, k.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_GOOD);
	ck_assert_uint_eq(at->line, 2);
	ck_assert_str_eq(at->file, "file");
}
END_TEST

START_TEST(lines_that_are_none_are_passed_over)
{
	struct key k = make_key("ssh-ed25519", 1);
	const struct known_key *at;

	ck_assert_int_eq(
	    add("host",
		"\n   \n# host %s\nhost\nhost ssh-ed25519\n"
		"host ssh-ed25519 AAA\nhost ssh-rsa %s\nhost 1024 35 1234\n"
		"@strange host %s\n@revoked\n@cert-authority host\n"
		"host ecdsa-sha2-nistp256 %s\n",
		k.text, strchr(k.text, ' ') + 1, k.text,
		strchr(k.text, ' ') + 1),
	    0);
	ck_assert_uint_eq(known.n, 0);
	ck_assert_int_eq(
	    add("host", " \thost  \t%s  a comment\r\nx", k.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_GOOD);
}
END_TEST

START_TEST(another_key_of_the_type_is_a_change)
{
	struct key k = make_key("ssh-ed25519", 1);
	struct key other = make_key("ssh-ed25519", 2);
	struct key ec = make_key("ecdsa-sha2-nistp256", 1);
	const struct known_key *at = NULL;

	ck_assert_int_eq(add("host", "host %s\n", ec.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_UNKNOWN);
	ck_assert_int_eq(add("host", "\n\nhost %s\n", other.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_CHANGED);
	ck_assert_uint_eq(at->line, 3);
	ck_assert_int_eq(add("host", "host %s", k.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_GOOD);
	ck_assert_int_eq(verdict(&other, &at), KNOWN_GOOD);
	ck_assert(known_hosts_has(&known, KNOWN_KEY, "ssh-ed25519"));
	ck_assert(known_hosts_has(&known, KNOWN_KEY, "ecdsa-sha2-nistp256"));
	ck_assert(!known_hosts_has(&known, KNOWN_KEY, "ssh-rsa"));
	ck_assert(!known_hosts_has(&known, KNOWN_REVOKED, NULL));
}
END_TEST

START_TEST(a_revoked_key_is_bad_wherever_it_stands)
{
	struct key k = make_key("ssh-ed25519", 1);
	struct key other = make_key("ssh-ed25519", 2);
	const struct known_key *at;

	ck_assert_int_eq(
	    add("host",
		_i ? "host %s\n@revoked * %s\n" : "@revoked host %s\nhost %s\n",
		k.text, k.text),
	    0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_BAD);
	ck_assert_uint_eq(at->line, _i ? 2 : 1);
	ck_assert_int_eq(verdict(&other, &at), KNOWN_CHANGED);
}
END_TEST

START_TEST(a_revoked_key_is_no_known_one)
{
	struct key k = make_key("ssh-ed25519", 1);
	struct key other = make_key("ssh-ed25519", 2);
	const struct known_key *at;

	ck_assert_int_eq(add("host", "@revoked * %s\n", other.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_UNKNOWN);
}
END_TEST

START_TEST(an_authoritys_key_is_not_the_hosts)
{
	struct key k = make_key("ssh-ed25519", 1);
	const struct known_key *at;

	ck_assert_int_eq(add("host", "@cert-authority * %s\n", k.text), 0);
	ck_assert_int_eq(verdict(&k, &at), KNOWN_UNKNOWN);
	ck_assert(known_hosts_has(&known, KNOWN_AUTHORITY, NULL));
}
END_TEST

START_TEST(keys_of_one_host_are_bounded)
{
	struct key k = make_key("ssh-ed25519", 1);

	for (int i = 0; i < KNOWN_MAX; i++)
		ck_assert_int_eq(add("host", "host %s\n", k.text), 0);
	ck_assert_int_eq(add("host", "host %s\n", k.text), -E2BIG);
	ck_assert_int_eq(add("host", "other %s\n", k.text), 0);
}
END_TEST

/* ---- key files ---- */

/* An OpenSSH private key file, as far as it is looked at. */
static const char *
private_file(const char *cipher, const char *type, uint8_t keys)
{
	static char text[2000];
	struct key k = make_key(type, 7);
	uint8_t b[1000];
	char b64[1400];
	size_t n;

	memcpy(b, "openssh-key-v1", 15);
	n = 15;
	n += put_string(b + n, cipher, strlen(cipher));
	n += put_string(b + n, "bcrypt", 6);
	n += put_string(b + n, "options", 7);
	memset(b + n, 0, 4);
	b[n + 3] = keys;
	n += 4;
	n += put_string(b + n, k.b, k.n);
	n += put_string(b + n, "the private part", 16);
	(void)EVP_EncodeBlock((unsigned char *)b64, b, (int)n);
	snprintf(text, sizeof(text),
	    "-----BEGIN OPENSSH PRIVATE KEY-----\n%.70s\n%s\n"
	    "-----END OPENSSH PRIVATE KEY-----\n",
	    b64, b64 + 70);
	return (text);
}

static int
look(const char *text, struct ssh_key *k)
{
	return (ssh_key_parse(&mem, text, strlen(text), k));
}

START_TEST(a_private_key_shows_its_public_part)
{
	static const char *const types[] = { "ssh-ed25519",
		"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
		"ecdsa-sha2-nistp521" };
	struct key want = make_key(types[_i], 7);
	struct ssh_key k;

	ck_assert_int_eq(look(private_file("none", types[_i], 1), &k), 0);
	ck_assert(k.is_private && !k.encrypted);
	ck_assert_str_eq(k.type, types[_i]);
	ck_assert_uint_eq(k.n, want.n);
	ck_assert(memcmp(k.key, want.b, k.n) == 0);
	ck_assert_ptr_null(k.why_program);
	ck_assert_int_eq(look(private_file("aes256-ctr", types[_i], 1), &k), 0);
	ck_assert(k.is_private && k.encrypted);
	ck_assert_ptr_null(k.why_program);
}
END_TEST

START_TEST(a_key_that_libssh2_cannot_use_says_why)
{
	static const char *const t[][3] = { { "none", "ssh-rsa", "RSA" },
		{ "none", "sk-ssh-ed25519@openssh.com", "FIDO" },
		{ "none", "sk-ecdsa-sha2-nistp256@openssh.com", "FIDO" },
		{ "none", "ssh-dss", "does not have" },
		{ "none", "ssh-ed25519-cert-v01@openssh.com", "certificate" },
		{ "aes256-gcm@openssh.com", "ssh-ed25519", "encrypted" },
		{ "chacha20-poly1305@openssh.com", "ssh-ed25519",
		    "encrypted" } };
	struct ssh_key k;

	ck_assert_int_eq(look(private_file(t[_i][0], t[_i][1], 1), &k), 0);
	ck_assert(k.is_private);
	ck_assert_ptr_nonnull(strstr(k.why_program, t[_i][2]));
}
END_TEST

START_TEST(other_formats_are_ssh_1s)
{
	static const char *const t[][2] = { { "RSA PRIVATE KEY", "RSA" },
		{ "EC PRIVATE KEY", "format" }, { "PRIVATE KEY", "format" },
		{ "ENCRYPTED PRIVATE KEY", "format" } };
	char text[200];
	struct ssh_key k;

	snprintf(text, sizeof(text), "-----BEGIN %s-----\nAAAA\n", t[_i][0]);
	ck_assert_int_eq(look(text, &k), 0);
	ck_assert(k.is_private);
	ck_assert_ptr_null(k.type);
	ck_assert_ptr_nonnull(strstr(k.why_program, t[_i][1]));
}
END_TEST

START_TEST(a_public_key_is_no_private_one)
{
	struct key want = make_key("ssh-ed25519", 7);
	char text[500];
	struct ssh_key k;

	snprintf(text, sizeof(text), "%s%s", want.text,
	    _i == 0       ? ""
		: _i == 1 ? "\n"
			  : " me@here and more\nx");
	ck_assert_int_eq(look(text, &k), 0);
	ck_assert(!k.is_private);
	ck_assert_str_eq(k.type, "ssh-ed25519");
	ck_assert_uint_eq(k.n, want.n);
	ck_assert(memcmp(k.key, want.b, k.n) == 0);
}
END_TEST

START_TEST(what_is_no_key_is_refused)
{
	struct key e = make_key("ssh-ed25519", 7);
	char other[500];
	struct ssh_key k;
	const char *text;

	snprintf(other, sizeof(other), "ssh-rsa %s", strchr(e.text, ' ') + 1);
	const char *const t[] = { "", "\n", "hello", "hello world",
		"ssh-ed25519 AAAA", "ssh-ed25519 ", other,
		"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
		"-----END OPENSSH PRIVATE KEY-----\n",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n!!!!\n"
		"-----END OPENSSH PRIVATE KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n" };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_int_eq(look(t[i], &k), -EINVAL);
	ck_assert_int_eq(
	    look(private_file("none", "ssh-ed25519", 2), &k), -EINVAL);
	ck_assert_int_eq(
	    look(private_file("none", "bad type", 1), &k), -EINVAL);
	/* cut anywhere in what is looked at */
	text = private_file("none", "ssh-ed25519", 1);
	for (size_t n = 0; n < 120; n++) {
		char cut[2000];

		snprintf(cut, sizeof(cut),
		    "%.*s\n-----END OPENSSH PRIVATE KEY-----\n", (int)n, text);
		ck_assert_int_eq(look(cut, &k), -EINVAL);
	}
}
END_TEST

/* ---- a session ---- */

START_TEST(what_a_host_can_make_us_hold_is_bounded)
{
	static char much[1 << 20];
	LIBSSH2_KNOWNHOSTS *hosts;
	struct ssh_session *s;
	size_t before;
	int pair[2], rc;

	memset(much, 'x', sizeof(much) - 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(ssh_session_new(pair[0], "h", NULL, 0, &s), 0);
	before = s->memory;
	/* what libssh2 allocates, whatever for */
	hosts = libssh2_knownhost_init(s->s);
	do
		rc = libssh2_knownhost_addc(hosts, "h", NULL, "AAAA", 4, much,
		    sizeof(much) - 1,
		    LIBSSH2_KNOWNHOST_TYPE_PLAIN |
			LIBSSH2_KNOWNHOST_KEYENC_BASE64 |
			LIBSSH2_KNOWNHOST_KEY_SSHRSA,
		    NULL);
	while (rc == 0);
	ck_assert_int_eq(rc, LIBSSH2_ERROR_ALLOC);
	ck_assert_uint_le(s->memory, SSH_MEMORY_MAX);
	ck_assert_uint_gt(s->memory, SSH_MEMORY_MAX - 2 * sizeof(much));
	libssh2_knownhost_free(hosts);
	ck_assert_uint_eq(s->memory, before);
	ssh_session_free(s);
	close(pair[1]);
}
END_TEST

static void
add_others(TCase *t)
{
	tcase_add_test(t, base64_is_what_it_encodes);
	tcase_add_loop_test(t, what_is_no_base64_is_refused, 0, 11);
	tcase_add_loop_test(t, a_type_that_cannot_be_is_none, 0, 9);
	tcase_add_test(t, a_fingerprint_is_ssh_keygens);
	tcase_add_test(t, a_list_has_whole_names);
	tcase_add_loop_test(t, a_line_is_for_the_hosts_it_names, 0, 30);
	tcase_add_test(t, a_hashed_name_is_found);
	tcase_add_test(t, lines_that_are_none_are_passed_over);
	tcase_add_test(t, another_key_of_the_type_is_a_change);
	tcase_add_loop_test(t, a_revoked_key_is_bad_wherever_it_stands, 0, 2);
	tcase_add_test(t, a_revoked_key_is_no_known_one);
	tcase_add_test(t, an_authoritys_key_is_not_the_hosts);
	tcase_add_test(t, keys_of_one_host_are_bounded);
	tcase_add_loop_test(t, a_private_key_shows_its_public_part, 0, 4);
	tcase_add_loop_test(t, a_key_that_libssh2_cannot_use_says_why, 0, 7);
	tcase_add_loop_test(t, other_formats_are_ssh_1s, 0, 4);
	tcase_add_loop_test(t, a_public_key_is_no_private_one, 0, 3);
	tcase_add_test(t, what_is_no_key_is_refused);
	tcase_add_test(t, what_a_host_can_make_us_hold_is_bounded);
}

int
main(void)
{
	Suite *s = suite_create("backends_transport_ssh");
	TCase *t = tcase_create("config");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, what_ssh_says_is_taken);
	tcase_add_test(t, what_is_not_said_has_a_default);
	tcase_add_loop_test(t, what_is_no_configuration_is_refused, 0, 11);
	tcase_add_loop_test(t, what_libssh2_does_not_have_is_named, 0, 12);
	tcase_add_loop_test(t, none_is_nothing_to_name, 0, 11);
	tcase_add_loop_test(t, a_file_name_has_its_values, 0, 16);
	tcase_add_test(t, another_users_home_is_his);
	suite_add_tcase(s, t);
	t = tcase_create("keys");
	tcase_add_checked_fixture(t, begin, end);
	add_others(t);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
