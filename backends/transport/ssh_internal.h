/*
 * ssh_internal -- the parts of the ssh transport.
 *
 * S1  No byte that is not the protocol's goes to a host whose key has not been
 *     found in known_hosts, and no key is ever added there.
 * S2  What libssh2 cannot do is done by ssh(1) with the same strictness, never
 *     left out: SSH_PROGRAM says so, and why.
 * S3  A host's bytes cost bounded memory: SSH_MEMORY_MAX in libssh2, and
 *     SOCK_QUEUE_MAX on the way to it.
 */
#ifndef DSYNCFS_BACKENDS_TRANSPORT_SSH_INTERNAL_H
#define DSYNCFS_BACKENDS_TRANSPORT_SSH_INTERNAL_H

#include <libssh2.h>
#include "backends/transport/transport_internal.h"

#define SSH_MEMORY_MAX (64u << 20)
#define SSH_PROGRAM 1 /* a result: ssh(1) has to do it; call.why is set */

/* ---- bytes as ssh writes them (ssh_blob.c) ---- */

/* Reads uint32 big-endian and strings; bad is sticky. */
struct blob {
	const uint8_t *p; /* borrowed */
	size_t left;
	bool bad;
};

uint32_t blob_u32(struct blob *b);
/* borrowed; NULL when bad */
const uint8_t *blob_string(struct blob *b, size_t *n);
/*
 * The type that a public key says it has, in the arena; NULL when it is none
 * that could be (-EINVAL is not told from memory, which a->error has).
 */
const char *blob_type(struct arena *a, const uint8_t *p, size_t n);
/*
 * Base64 over several lines; bytes in the arena, NULL when it is none.
 */
uint8_t *base64_decode(
    struct arena *a, const char *text, size_t n, size_t *len);
/* "SHA256:..." as ssh(1) prints it */
void fingerprint(const uint8_t *key, size_t n, char out[64]);
/* Is one of the list's elements, between commas, this? */
bool in_list(const char *list, const char *name, size_t n);

/* ---- ssh -G (ssh_config.c) ---- */

struct ssh_config {
	const char *hostname, *user; /* never NULL after parsing */
	unsigned port;
	int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
	const char *host_key_alias; /* NULL */
	/* NULL-terminated, as written */
	const char *const *identities;
	const char *const *known_hosts; /* the user's, then the system's */
	size_t user_known_hosts; /* so many of them are the user's */
	const char *agent; /* NULL: SSH_AUTH_SOCK */
	bool identities_only, gssapi;
	/* lists between commas; NULL: not said */
	const char *kex, *host_keys, *ciphers, *macs, *user_keys;
	unsigned alive_s, alive_tries;
	/* what libssh2 cannot do, in words; NULL */
	const char *why_program;
};

/*
 * What ssh -G prints, into c, strings in the arena.  -EPROTO when it is not
 * that, -ENOMEM; not reported.
 */
int ssh_config_parse(
    struct arena *a, const char *text, size_t n, struct ssh_config *c);

/* What %-tokens of a file name stand for. */
struct ssh_names {
	const char *home, *local_user, *given_host;
};
/*
 * A file name of the configuration with ~, %d %h %i %k %n %p %r %u %% and
 * ${VAR} replaced; NULL where it has others.
 */
const char *ssh_config_path(struct arena *a, const struct ssh_config *c,
    const struct ssh_names *names, const char *text);

/* ---- known_hosts (known_hosts.c) ---- */

enum known_kind { KNOWN_KEY, KNOWN_AUTHORITY, KNOWN_REVOKED };

struct known_key {
	enum known_kind kind;
	const char *type;
	const uint8_t *key;
	size_t n;
	const char *file; /* borrowed */
	unsigned line;
};

#define KNOWN_MAX 256 /* for one host */

struct known_hosts {
	struct known_key v[KNOWN_MAX];
	size_t n;
};

enum known_verdict { KNOWN_UNKNOWN, KNOWN_GOOD, KNOWN_CHANGED, KNOWN_BAD };

/*
 * Adds what a file says about name ("host" or "[host]:port").  Lines that are
 * none are passed over, as ssh does.  -ENOMEM; -E2BIG more than KNOWN_MAX.
 */
int known_hosts_add(struct known_hosts *k, struct arena *a, const char *file,
    const char *text, size_t n, const char *name);
/*
 * *at is the entry that decides: the same key (GOOD, BAD: revoked), or another
 * of its type (CHANGED).
 */
enum known_verdict known_hosts_check(const struct known_hosts *k,
    const uint8_t *key, size_t n, const char *type,
    const struct known_key **at);
bool known_hosts_has(
    const struct known_hosts *k, enum known_kind kind, const char *type);

/* ---- key files (ssh_key.c) ---- */

struct ssh_key {
	const char *type; /* of the public part; NULL: not to be seen */
	const uint8_t *key; /* the public part */
	size_t n;
	bool is_private, encrypted;
	/* a private key that libssh2 cannot use: why; NULL */
	const char *why_program;
};

/* -EINVAL: no key; -ENOMEM.  Nothing secret is kept. */
int ssh_key_parse(
    struct arena *a, const char *text, size_t n, struct ssh_key *k);
/* What keeps libssh2 from using keys of this type; NULL: nothing. */
const char *ssh_key_why(const char *type);

/* ---- a libssh2 session (ssh_session.c) ---- */

struct ssh_session {
	LIBSSH2_SESSION *s;
	struct sock sock;
	size_t memory; /* libssh2's */
	char goodbye[256]; /* the server's words when it disconnects */
	bool agent_dead; /* it did not answer in its time */
	int64_t end; /* of what is waited for while logging in */
	const struct link_limits *limits;
	const char *peer;
};

/* Takes the socket.  -ENOMEM, reported. */
int ssh_session_new(int fd, const char *peer, const struct link_limits *l,
    int64_t end, struct ssh_session **out);
/* Waits until libssh2, which said EAGAIN, may go on; reported. */
int ssh_session_wait(struct ssh_session *s);
/* Reports what libssh2's rc means for the connection; gives the code. */
int ssh_session_failed(struct ssh_session *s, int rc, const char *doing);
bool ssh_session_cut(const struct ssh_session *s);
void ssh_session_free(struct ssh_session *s);

/* rc of a call that may say EAGAIN; -errno of the wait in r, or 0 */
#define SSH_CALL(session, r, rc, call)                                         \
	do {                                                                   \
		(r) = 0;                                                       \
		(rc) = (call);                                                 \
	} while ((rc) == LIBSSH2_ERROR_EAGAIN &&                               \
	    ((r) = ssh_session_wait(session)) == 0)

/* ---- one connection on its way ---- */

struct ssh_call {
	const struct link_ssh_options *o;
	struct arena mem;
	const char *peer;
	const char *command; /* for the shell over there */
	bool default_command;
	struct ssh_names names;
	struct ssh_config config;
	struct known_hosts known, known_plain; /* with port; without */
	struct ssh_session *session; /* NULL: not yet */
	const char *why; /* with SSH_PROGRAM */
};

/* Each gives 0, SSH_PROGRAM, or -errno, reported. */
int ssh_ask_config(struct ssh_call *c); /* ssh_ask.c */
int ssh_read_known_hosts(struct ssh_call *c); /* ssh_host.c */
int ssh_set_methods(struct ssh_call *c); /* ssh_host.c */
int ssh_check_host(struct ssh_call *c); /* ssh_host.c */
int ssh_log_in(struct ssh_call *c); /* ssh_auth.c */
/* Starts the command; the link takes the session. */
int ssh_link_start(struct ssh_call *c, struct link **out); /* ssh_link.c */
/* By ssh(1). */
int ssh_program_start(struct ssh_call *c, struct link **out);
/* For a command line of the user's: not by c->config. */
int ssh_program_run(struct ssh_call *c, const char *const *argv,
    struct link **out); /* ssh_program.c */
/* Reports how a command over there ended; 0 when well. */
int ssh_command_ended(
    const char *peer, bool default_command, int status, const char *signal);
/* A whole file into the arena: -ENOENT, -EFBIG, -EACCES, ...; not reported. */
int ssh_read_file(struct arena *a, const char *path, size_t max,
    const char **text, size_t *n, unsigned *mode);

#endif
