/*
 * ssh_auth -- logging in with a key: of the agent, then of files.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

#define KEY_FILE_MAX (64u << 10)
#define IDENTITIES_MAX 64

struct identity {
	const char *path;
	struct ssh_key key;
	bool certificate; /* there is one beside it */
	bool tried;
};

struct login {
	struct ssh_call *c;
	struct identity id[IDENTITIES_MAX];
	size_t n;
	unsigned offered; /* keys that the host did not take */
	const char *why; /* a key that only ssh(1) can use; NULL */
	const char *locked; /* a key file whose passphrase nobody has */
	bool done;
};

static bool
may_offer(const struct login *l, const char *type)
{
	const char *list = l->c->config.user_keys;

	return (list == NULL || in_list(list, type, strlen(type)));
}

static void
only_program(struct login *l, const char *what, const char *why)
{
	if (l->why == NULL)
		l->why = arena_printf(&l->c->mem, "%s is %s", what, why);
}

/* ---- which keys there are ---- */

/* 0 with the key, -errno without; the text is wiped. */
static int
look_at(struct login *l, const char *path, struct ssh_key *k, unsigned *mode)
{
	struct arena *a = &l->c->mem;
	const char *text;
	size_t n;
	int r;

	r = ssh_read_file(a, path, KEY_FILE_MAX, &text, &n, mode);
	if (r != 0)
		return (r);
	r = ssh_key_parse(a, text, n, k);
	explicit_bzero((void *)(uintptr_t)text, n);
	return (r);
}

static void
add_identity(struct login *l, const char *written)
{
	struct ssh_call *c = l->c;
	struct identity *id = &l->id[l->n];
	struct ssh_key beside;
	const char *path, *name;
	unsigned mode = 0;
	int r;

	path = ssh_config_path(&c->mem, &c->config, &c->names, written);
	if (path == NULL) {
		only_program(l, written, "a file name that only ssh(1) reads");
		return;
	}
	r = look_at(l, path, &id->key, &mode);
	if (r != 0 && r != -ENOENT)
		log_verbose("%s: the key %s cannot be used: %s", c->peer, path,
		    strerror(-r));
	if (r == 0 && id->key.is_private && (mode & 077) != 0) {
		log_warning("%s: the key %s can be read by others: not used "
			    "(chmod 600 it)",
		    c->peer, path);
		return;
	}
	/* the agent may have what the file does not show */
	name = arena_printf(&c->mem, "%s.pub", path);
	if (name != NULL && id->key.key == NULL &&
	    look_at(l, name, &beside, &mode) == 0 && !beside.is_private) {
		id->key.type = beside.type;
		id->key.key = beside.key;
		id->key.n = beside.n;
	}
	if (r != 0 && id->key.key == NULL)
		return;
	name = arena_printf(&c->mem, "%s-cert.pub", path);
	id->certificate = name != NULL && look_at(l, name, &beside, &mode) == 0;
	id->path = path;
	l->n++;
}

static struct identity *
identity_of(struct login *l, const uint8_t *key, size_t n)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->id[i].key.key != NULL && l->id[i].key.n == n &&
		    memcmp(l->id[i].key.key, key, n) == 0)
			return (&l->id[i]);
	return (NULL);
}

/* ---- what came of an attempt ---- */

/* 0: go on (l->done: logged in); -errno, reported. */
static int
outcome(struct login *l, int rc, const char *what)
{
	struct ssh_session *s = l->c->session;

	if (rc == 0) {
		log_verbose("%s: logged in as %s with %s", l->c->peer,
		    l->c->config.user, what);
		l->done = true;
		return (0);
	}
	if (ssh_session_cut(s)) {
		if (*s->goodbye == '\0')
			return (ssh_session_failed(s, rc, "logging in"));
		log_error("%s: permission denied: it ended the login: %s",
		    l->c->peer, s->goodbye);
		return (-EACCES);
	}
	l->offered++;
	log_verbose("%s: %s is not accepted", l->c->peer, what);
	return (0);
}

/* ---- the agent ---- */

static int
agent_key(struct login *l, LIBSSH2_AGENT *agent,
    struct libssh2_agent_publickey *k, bool in_files)
{
	struct ssh_call *c = l->c;
	struct identity *id = identity_of(l, k->blob, k->blob_len);
	const char *type = blob_type(&c->mem, k->blob, k->blob_len);
	const char *why, *what;
	int r, rc;

	if ((id != NULL) != in_files || type == NULL)
		return (0);
	what = arena_printf(&c->mem, "the agent's %s key%s%s", type,
	    id != NULL ? " for " : "", id != NULL ? id->path : "");
	if (what == NULL)
		return (0);
	if ((why = ssh_key_why(type)) != NULL) {
		only_program(l, what, why);
		return (0);
	}
	if (!may_offer(l, type))
		return (0);
	if (id != NULL)
		id->tried = true;
	SSH_CALL(c->session, r, rc,
	    libssh2_agent_userauth(agent, c->config.user, k));
	return (r != 0 ? r : outcome(l, rc, what));
}

/* Keys that the configuration names first: a host counts the others. */
static int
agent_keys(struct login *l, LIBSSH2_AGENT *agent)
{
	struct libssh2_agent_publickey *k, *last;
	int r = 0;

	for (int round = 0; round < 2; round++) {
		if (round == 1 && l->c->config.identities_only)
			break;
		last = NULL;
		while (r == 0 && !l->done && !l->c->session->agent_dead &&
		    libssh2_agent_get_identity(agent, &k, last) == 0) {
			r = agent_key(l, agent, k, round == 0);
			last = k;
		}
	}
	return (r);
}

/* The socket of IdentityAgent; NULL: none is to be used. */
static const char *
agent_path(struct ssh_call *c)
{
	const char *s = c->config.agent;

	if (s == NULL || strcmp(s, "SSH_AUTH_SOCK") == 0)
		return (getenv("SSH_AUTH_SOCK"));
	if (strcmp(s, "none") == 0)
		return (NULL);
	if (*s == '$' && s[1] != '{')
		return (getenv(s + 1));
	return (ssh_config_path(&c->mem, &c->config, &c->names, s));
}

static int
by_agent(struct login *l)
{
	struct ssh_session *s = l->c->session;
	const char *path = agent_path(l->c);
	LIBSSH2_AGENT *agent;
	int r = 0;

	if (path == NULL || *path == '\0')
		return (0);
	if ((agent = libssh2_agent_init(s->s)) == NULL)
		return (0);
	libssh2_agent_set_identity_path(agent, path);
	if (libssh2_agent_connect(agent) != 0) {
		log_verbose("%s: no ssh agent answers at %s", l->c->peer, path);
	} else {
		if (libssh2_agent_list_identities(agent) == 0)
			r = agent_keys(l, agent);
		else
			log_verbose(
			    "%s: the ssh agent gives no keys", l->c->peer);
		(void)libssh2_agent_disconnect(agent);
	}
	libssh2_agent_free(agent);
	return (r);
}

/* ---- files ---- */

static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(sign_nothing)
{
	bool *asked = *abstract;

	(void)session;
	(void)sig;
	(void)sig_len;
	(void)data;
	(void)data_len;
	*asked = true;
	return (-1);
}

/*
 * Would the host take it?  Asks as for a login and then signs nothing, so that
 * nobody has to give a passphrase for nothing.
 */
static int
would_take(struct login *l, const struct identity *id, bool *yes)
{
	struct ssh_session *s = l->c->session;
	void *arg = yes;
	int r, rc;

	*yes = false;
	SSH_CALL(s, r, rc,
	    libssh2_userauth_publickey(s->s, l->c->config.user, id->key.key,
		id->key.n, sign_nothing, &arg));
	if (r != 0 || *yes)
		return (r);
	return (outcome(l, rc, id->path));
}

static int
get_passphrase(struct login *l, const struct identity *id, char *out)
{
	const struct link_ssh_options *o = l->c->o;
	char what[512];
	int r;

	if (o->passphrase == NULL)
		return (-ENOENT);
	(void)snprintf(what, sizeof(what), "passphrase of %s", id->path);
	r = o->passphrase(o->passphrase_arg, what, out, SECRET_MAX);
	/* somebody may have typed it */
	l->c->session->end = connect_end(o->limits);
	return (r);
}

static int
with_file(struct login *l, struct identity *id, const char *passphrase)
{
	struct ssh_session *s = l->c->session;
	const char *text;
	unsigned mode;
	size_t n;
	int r, rc;

	r = ssh_read_file(&l->c->mem, id->path, KEY_FILE_MAX, &text, &n, &mode);
	if (r != 0)
		return (0);
	SSH_CALL(s, r, rc,
	    libssh2_userauth_publickey_frommemory(s->s, l->c->config.user,
		strlen(l->c->config.user), NULL, 0, text, n, passphrase));
	explicit_bzero((void *)(uintptr_t)text, n);
	if (r != 0)
		return (r);
	if (rc != 0 && passphrase != NULL && !ssh_session_cut(s) &&
	    rc != LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
		log_warning("%s: the passphrase of %s is wrong, or the key is "
			    "damaged",
		    l->c->peer, id->path);
		l->offered++;
		return (0);
	}
	return (outcome(l, rc, id->path));
}

static int
by_file(struct login *l, struct identity *id)
{
	char passphrase[SECRET_MAX];
	bool wanted;
	int r;

	if (!id->key.is_private || id->tried)
		return (0);
	if (id->key.why_program != NULL) {
		only_program(l, id->path, id->key.why_program);
		return (0);
	}
	if (!may_offer(l, id->key.type))
		return (0);
	if (!id->key.encrypted)
		return (with_file(l, id, NULL));
	if ((r = would_take(l, id, &wanted)) != 0 || !wanted)
		return (r);
	r = get_passphrase(l, id, passphrase);
	if (r == 0)
		r = with_file(l, id, passphrase);
	else if (r == -ENOENT) {
		l->locked = id->path;
		r = 0;
	}
	explicit_bzero(passphrase, sizeof(passphrase));
	return (r);
}

static int
by_keys(struct login *l)
{
	const struct ssh_config *n = &l->c->config;
	int r;

	for (size_t i = 0; n->identities[i] != NULL && l->n < IDENTITIES_MAX;
	     i++)
		add_identity(l, n->identities[i]);
	r = by_agent(l);
	for (size_t i = 0; i < l->n && r == 0 && !l->done; i++)
		r = by_file(l, &l->id[i]);
	for (size_t i = 0; i < l->n && l->why == NULL; i++)
		if (l->id[i].certificate)
			only_program(
			    l, l->id[i].path, "a key with a certificate");
	return (r);
}

/* ---- all of it ---- */

/* The methods that the host offers; NULL: logged in, or *r. */
static const char *
offered_methods(struct login *l, int *r)
{
	struct ssh_session *s = l->c->session;
	const char *user = l->c->config.user;
	char *list;

	*r = 0;
	for (;;) {
		list =
		    libssh2_userauth_list(s->s, user, (unsigned)strlen(user));
		if (list != NULL)
			/* libssh2's, and gone with its next packet */
			return (arena_strdup(&l->c->mem, list));
		if (libssh2_session_last_errno(s->s) != LIBSSH2_ERROR_EAGAIN)
			break;
		if ((*r = ssh_session_wait(s)) != 0)
			return (NULL);
	}
	if (libssh2_userauth_authenticated(s->s))
		(void)outcome(l, 0, "nothing: it asks for no key");
	else
		*r = ssh_session_failed(
		    s, libssh2_session_last_errno(s->s), "logging in");
	return (NULL);
}

static int
not_let_in(struct login *l, const char *methods)
{
	struct ssh_call *c = l->c;

	if (l->why == NULL && c->config.gssapi &&
	    in_list(methods, "gssapi-with-mic", 15))
		l->why = "it offers GSSAPI, which libssh2 does not have";
	if (l->why != NULL) {
		c->why = l->why;
		return (SSH_PROGRAM);
	}
	if (l->locked != NULL)
		log_error("%s: permission denied for %s: the key %s needs its "
			  "passphrase: add the key to an agent (ssh-add), or "
			  "set a command that prints the passphrase",
		    c->peer, c->config.user, l->locked);
	else if (l->offered == 0)
		log_error("%s: permission denied for %s: there is no key to "
			  "log in with: add one to an agent (ssh-add) or name "
			  "it by IdentityFile in ssh_config; it offers %s",
		    c->peer, c->config.user, methods);
	else
		log_error("%s: permission denied for %s: none of %u keys is "
			  "accepted: add one to authorized_keys over there",
		    c->peer, c->config.user, l->offered);
	return (-EACCES);
}

int
ssh_log_in(struct ssh_call *c)
{
	struct login *l = calloc(1, sizeof(*l));
	const char *methods;
	int r;

	if (l == NULL) {
		log_error("%s: out of memory", c->peer);
		return (-ENOMEM);
	}
	l->c = c;
	methods = offered_methods(l, &r);
	if (methods != NULL) {
		if (in_list(methods, "publickey", 9))
			r = by_keys(l);
		if (r == 0 && !l->done)
			r = not_let_in(l, methods);
	}
	free(l);
	return (r);
}
