/*
 * ssh_config -- what ssh(1) makes of its configuration for a host, as ssh -G
 * prints it: a keyword and its value a line.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIST_MAX 64

struct parser {
	struct arena *a;
	struct ssh_config *c;
	const char *identity[LIST_MAX + 1];
	const char *user_hosts[LIST_MAX], *system_hosts[LIST_MAX];
	size_t identities, users, systems;
};

/* 0 for what is no number. */
static unsigned
number(const char *s)
{
	unsigned n = 0;

	for (; *s >= '0' && *s <= '9' && n < 100000000; s++)
		n = n * 10 + (unsigned)(*s - '0');
	return (*s == '\0' ? n : 0);
}

static bool
is_yes(const char *s)
{
	return (strcmp(s, "yes") == 0 || strcmp(s, "true") == 0);
}

/* Words between blanks. */
static void
split(struct parser *p, const char *s, const char **v, size_t *n)
{
	size_t k;

	for (s += strspn(s, " \t"); *s != '\0' && *n < LIST_MAX;
	     s += strspn(s, " \t")) {
		k = strcspn(s, " \t");
		v[(*n)++] = arena_strndup(p->a, s, k);
		s += k;
	}
}

/* Keywords that are about something that libssh2 does not have. */
static const char *
beyond_libssh2(const char *key, const char *value)
{
	static const struct {
		const char *key, *unless, *why;
	} t[] = { { "proxycommand", "none", "ssh_config has a ProxyCommand" },
		{ "proxyjump", "none", "ssh_config has a ProxyJump" },
		{ "controlpath", "none",
		    "ssh_config shares connections (ControlPath)" },
		{ "certificatefile", "none",
		    "ssh_config has a CertificateFile" },
		{ "pkcs11provider", "none", "ssh_config has a PKCS11Provider" },
		{ "knownhostscommand", "none",
		    "ssh_config has a KnownHostsCommand" },
		{ "revokedhostkeys", "none", "ssh_config has RevokedHostKeys" },
		{ "verifyhostkeydns", "false",
		    "ssh_config has VerifyHostKeyDNS" },
		{ "bindaddress", "none", "ssh_config has a BindAddress" },
		{ "bindinterface", "none", "ssh_config has a BindInterface" },
		{ "pubkeyauthentication", "true",
		    "ssh_config has no PubkeyAuthentication" } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (strcmp(key, t[i].key) == 0)
			return (strcmp(value, t[i].unless) == 0 ||
				    (strcmp(t[i].unless, "true") == 0 &&
					is_yes(value)) ||
				    (strcmp(t[i].unless, "false") == 0 &&
					strcmp(value, "no") == 0)
				? NULL
				: t[i].why);
	return (NULL);
}

static bool
take_text(struct ssh_config *c, const char *key, const char *value)
{
	const struct {
		const char *key, **to;
	} t[] = { { "hostname", &c->hostname }, { "user", &c->user },
		{ "hostkeyalias", &c->host_key_alias },
		{ "identityagent", &c->agent }, { "kexalgorithms", &c->kex },
		{ "hostkeyalgorithms", &c->host_keys },
		{ "ciphers", &c->ciphers }, { "macs", &c->macs },
		{ "pubkeyacceptedalgorithms", &c->user_keys },
		/* its name before OpenSSH 8.5 */
		{ "pubkeyacceptedkeytypes", &c->user_keys } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (strcmp(key, t[i].key) == 0) {
			*t[i].to = value;
			return (true);
		}
	return (false);
}

static void
take(struct parser *p, const char *key, const char *value)
{
	struct ssh_config *c = p->c;
	const char *why;

	if (take_text(c, key, value))
		return;
	if (strcmp(key, "port") == 0)
		c->port = number(value);
	else if (strcmp(key, "addressfamily") == 0)
		c->family = strcmp(value, "inet") == 0 ? AF_INET
		    : strcmp(value, "inet6") == 0      ? AF_INET6
						       : AF_UNSPEC;
	else if (strcmp(key, "identityfile") == 0) {
		if (p->identities < LIST_MAX)
			p->identity[p->identities++] = value;
	} else if (strcmp(key, "userknownhostsfile") == 0)
		split(p, value, p->user_hosts, &p->users);
	else if (strcmp(key, "globalknownhostsfile") == 0)
		split(p, value, p->system_hosts, &p->systems);
	else if (strcmp(key, "identitiesonly") == 0)
		c->identities_only = is_yes(value);
	else if (strcmp(key, "gssapiauthentication") == 0)
		c->gssapi = is_yes(value);
	else if (strcmp(key, "serveraliveinterval") == 0)
		c->alive_s = number(value);
	else if (strcmp(key, "serveralivecountmax") == 0)
		c->alive_tries = number(value);
	else if (c->why_program == NULL &&
	    (why = beyond_libssh2(key, value)) != NULL)
		c->why_program = why;
}

static int
finish(struct parser *p)
{
	struct ssh_config *c = p->c;
	const char **known;

	if (c->hostname == NULL || *c->hostname == '\0' || c->user == NULL ||
	    *c->user == '\0' || c->port == 0 || c->port > 65535)
		return (-EPROTO);
	c->identities = arena_memdup(
	    p->a, p->identity, (p->identities + 1) * sizeof(*p->identity));
	known =
	    arena_zalloc(p->a, (p->users + p->systems + 1) * sizeof(*known));
	if (known == NULL || p->a->error != 0)
		return (-ENOMEM);
	memcpy(known, p->user_hosts, p->users * sizeof(*known));
	memcpy(known + p->users, p->system_hosts, p->systems * sizeof(*known));
	c->known_hosts = known;
	c->user_known_hosts = p->users;
	return (0);
}

int
ssh_config_parse(
    struct arena *a, const char *text, size_t n, struct ssh_config *c)
{
	struct parser p = { .a = a, .c = c };
	const char *end = text + n, *nl;
	char *line, *value;

	memset(c, 0, sizeof(*c));
	c->family = AF_UNSPEC;
	for (; text < end; text = nl + 1) {
		if ((nl = memchr(text, '\n', (size_t)(end - text))) == NULL)
			nl = end;
		line = arena_strndup(a, text, (size_t)(nl - text));
		if (line == NULL)
			return (-ENOMEM);
		value = line + strcspn(line, " ");
		if (*value != '\0')
			*value++ = '\0';
		take(&p, line, value);
		if (nl == end)
			break;
	}
	return (finish(&p));
}

/* ---- file names ---- */

static const char *
home_of(const char *user, size_t n)
{
	char name[256];
	struct passwd *pw;

	if (n >= sizeof(name))
		return (NULL);
	memcpy(name, user, n);
	name[n] = '\0';
	pw = getpwnam(name);
	return (pw != NULL ? pw->pw_dir : NULL);
}

/* ~ and ~user at the beginning; *text behind it. */
static bool
put_tilde(struct buf *b, const struct ssh_names *names, const char **text)
{
	size_t n = strcspn(*text, "/");
	const char *home;

	home = n == 1 ? names->home : home_of(*text + 1, n - 1);
	if (home == NULL)
		return (false);
	buf_put(b, home, strlen(home));
	*text += n;
	return (true);
}

static bool
put_token(struct buf *b, const struct ssh_config *c,
    const struct ssh_names *names, char token)
{
	const char *s = NULL;

	switch (token) {
	case '%':
		s = "%";
		break;
	case 'd':
		s = names->home;
		break;
	case 'h':
		s = c->hostname;
		break;
	case 'i':
		buf_printf(b, "%u", (unsigned)getuid());
		return (true);
	case 'k':
		s = c->host_key_alias != NULL ? c->host_key_alias
					      : names->given_host;
		break;
	case 'n':
		s = names->given_host;
		break;
	case 'p':
		buf_printf(b, "%u", c->port);
		return (true);
	case 'r':
		s = c->user;
		break;
	case 'u':
		s = names->local_user;
		break;
	default:
		break;
	}
	if (s == NULL)
		return (false);
	buf_put(b, s, strlen(s));
	return (true);
}

/* ${VAR}; *text at the $, then behind the }. */
static bool
put_variable(struct buf *b, const char **text)
{
	const char *name = *text + 2, *end = strchr(name, '}'), *value;
	char var[128];

	if (end == NULL || (size_t)(end - name) >= sizeof(var))
		return (false);
	memcpy(var, name, (size_t)(end - name));
	var[end - name] = '\0';
	if ((value = getenv(var)) == NULL)
		return (false);
	buf_put(b, value, strlen(value));
	*text = end + 1;
	return (true);
}

const char *
ssh_config_path(struct arena *a, const struct ssh_config *c,
    const struct ssh_names *names, const char *text)
{
	struct buf b = BUF_INIT;
	const char *path = NULL;
	bool good = true;

	if (*text == '~')
		good = put_tilde(&b, names, &text);
	while (good && *text != '\0') {
		if (text[0] == '$' && text[1] == '{')
			good = put_variable(&b, &text);
		else if (*text == '%') {
			good = put_token(&b, c, names, text[1]);
			text += 2;
		} else
			buf_put_u8(&b, (uint8_t)*text++);
	}
	if (good && buf_cstr(&b) != NULL)
		path = arena_strndup(a, b.data, b.len);
	buf_fini(&b);
	return (path);
}
