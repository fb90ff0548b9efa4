/*
 * transport -- the ways to reach the far side of a sync, each a struct link
 * (base/link.h): a command, our own standard input and output, doveadm's
 * protocol over TCP or TLS, ssh.
 *
 * Constructors give 0 and the link, or -errno, reported (the codes are those of
 * base/link.h; -EINVAL: an option that cannot be; -ECANCELED: stopped, said by
 * nobody).  They return when the far side can be talked to, as far as that can
 * be known.  Strings and callbacks in options are borrowed until the
 * constructor returns, those in limits until the link is closed.
 */
#ifndef DSYNCFS_BACKENDS_TRANSPORT_H
#define DSYNCFS_BACKENDS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/link.h"

/* Upper bounds; 0 means the default. */
struct link_limits {
	unsigned connect_ms; /* to reach and to be let in; 30 s */
	unsigned grace_ms; /* for the far side to end by itself; 10 s */
	/*
	 * Asked a few times a second, and when a signal comes, while a
	 * constructor or close waits: true ends the wait.  NULL: never.
	 */
	bool (*stop)(void *arg);
	void *arg;
};

/*
 * Puts the secret (a password or passphrase) and a NUL into out.  what names it
 * for people ("passphrase of /home/u/.ssh/id_ed25519").  -ENOENT: there is
 * none, not reported; other -errno reported.
 */
typedef int link_secret_fn(void *arg, const char *what, char *out, size_t size);

/* ---- a command ---- */

struct link_pipe_options {
	const char *const *argv; /* NULL-terminated; run without a shell */
	const char *peer; /* for messages; NULL: argv[0] */
	/*
	 * It may ask on our terminal, and gets the terminal's signals with us.
	 * Otherwise it has a session and process group of its own, and no
	 * terminal.
	 */
	bool terminal;
	const struct link_limits *limits; /* NULL: defaults */
};

/*
 * A child with the link as its standard input and output.  Its standard error
 * is reported line by line, its environment is cleared but for what transport
 * DESIGN.md lists.  -ENOENT: no such program.
 */
int link_pipe_new(const struct link_pipe_options *o, struct link **out);

/*
 * The same for a command line that a user wrote: one of ssh(1) is told by what
 * it says and by its status 255 whether the host was reached at all.
 */
int link_command_new(const struct link_pipe_options *o, struct link **out);

/* ---- the other end of a command ---- */

/*
 * Our own standard input and output (a dsync server) as two descriptors of the
 * caller's.  From here on descriptor 0 is /dev/null and 1 is standard error, so
 * that nothing else can get into the stream, and SIGPIPE is ignored.
 */
int link_take_stdio(const char *peer, int *in, int *out);
/*
 * A link over two descriptors, which it owns; they may be one.  SIGPIPE from a
 * pipe without a reader is the caller's affair.
 */
int link_fds_new(int in, int out, const char *peer, struct link **link);

/* ---- a link that another process has ---- */

/* Two that are connected; close-on-exec, above 2.  -errno. */
int relay_pair(struct relay_ends *a, struct relay_ends *b);
/*
 * In the process that has l: passes bytes on until l ends or the other has
 * closed its link.  Closes l and the ends.
 */
void relay_run(struct link *l, const struct relay_ends *e);
/*
 * A line for the other, of a level of base/log.h; lost when it does not listen.
 */
void relay_say(const struct relay_ends *e, int level, const char *line);
/*
 * Without a link: who is there, before all else; and what the other's read is to
 * give at the end of the bytes, which closes the ends.
 */
void relay_begin(const struct relay_ends *e, const char *peer);
void relay_end(const struct relay_ends *e, int error);
/*
 * The other process: a link over these ends, which it owns from here on.  It
 * fails as the link over there does, whose words are reported here.
 */
int link_relay_new(const struct relay_ends *e, const struct link_limits *limits,
    struct link **out);

/* ---- tcp: and tcps: ---- */

struct link_tcp_options {
	const char *host;
	unsigned port; /* 1-65535 */
	bool tls;
	const char *ca_file; /* PEM; NULL: the system's */
	const char *user; /* whose mail; given as -u */
	link_secret_fn *password; /* doveadm_password; NULL: none */
	void *password_arg;
	const struct link_limits *limits;
};

/* Starts dsync-server there; the link is plain dsync. */
int link_tcp_new(const struct link_tcp_options *o, struct link **out);

/* ---- ssh ---- */

struct link_ssh_options {
	const char *host; /* a name of ssh_config, or of DNS, or an address */
	unsigned port; /* 0: ssh_config's */
	const char *login; /* NULL: ssh_config's */
	const char *user; /* whose mail; NULL: left to the far side */
	/*
	 * dsync_remote_cmd: what runs over there, %{login}, %{host} and %u (or
	 * %{user}) replaced; a word whose values are all absent is left out. A
	 * command whose first word is ssh is, as in Dovecot, a whole command
	 * line for this machine.  NULL: dsyncfs-sync or else doveadm.
	 */
	const char *remote_cmd;
	const char *config_file; /* ssh -F; NULL: ssh's own */
	bool program; /* always by ssh(1) */
	link_secret_fn *passphrase; /* of key files; NULL: none */
	void *passphrase_arg;
	const struct link_limits *limits;
};

/*
 * By libssh2, or where that cannot do what host, key or configuration need,
 * by ssh(1), which is said with -v.  An unknown or changed host key is refused,
 * never asked about.
 */
int link_ssh_new(const struct link_ssh_options *o, struct link **out);

/* ---- what people write ---- */

/*
 * "[tcp:|tcps:]HOST:PORT" with or without the scheme, HOST an address in
 * brackets or not.  Fills host (in a), port and tls.  -EINVAL, reported with
 * origin.
 */
int link_tcp_parse(struct arena *a, const char *text, const char *origin,
    struct link_tcp_options *o);
/*
 * "[WHO@]HOST".  Dovecot takes WHO for the mail user, not for ssh's login: the
 * caller decides.  *who may become NULL.  -EINVAL, reported.
 */
int link_ssh_parse(struct arena *a, const char *text, const char *origin,
    const char **who, const char **host);
/*
 * A command line in one string: words between blanks, with '...', "..." and \
 * as in a shell, and no shell: what only a shell can do is refused (-EINVAL,
 * reported), never done otherwise.  NULL-terminated, in a.
 */
int link_words(struct arena *a, const char *text, const char *origin,
    const char *const **argv);

/* ---- where secrets come from ---- */

/*
 * The first line of a file that only its owner, we or root, can read.  -EACCES
 * otherwise; reported.
 */
int link_secret_file(const char *path, char *out, size_t size);
/*
 * The first line that a command prints.  Its standard error is reported.
 * Reported: -EACCES when it fails or prints nothing, and what link_pipe_new
 * reports.
 */
int link_secret_command(const char *const *argv, bool terminal,
    const struct link_limits *limits, char *out, size_t size);

#endif
