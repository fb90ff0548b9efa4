/*
 * transport_internal -- what the transports share: waiting with an end, lines
 * that a far side says, children, sockets with a queue.
 *
 * T1  No descriptor made here is inherited by a child (close-on-exec, and the
 *     child closes all above 2).
 * T2  Nothing here raises SIGPIPE or changes what it does, but link_take_stdio.
 * T3  A text of a peer is bounded before it is kept, and reported only through
 *     base/log.h, which disarms it.
 * T4  A secret is never in an argument, an environment or a message, and is
 *     wiped when it has been used, also where it waited to be sent.
 */
#ifndef DSYNCFS_BACKENDS_TRANSPORT_INTERNAL_H
#define DSYNCFS_BACKENDS_TRANSPORT_INTERNAL_H

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>
#include "backends/transport/transport.h"
#include "base/buf.h"

#define CONNECT_MS 30000u
#define GRACE_MS 10000u
#define SECRET_MAX 1024 /* with its NUL */

/* ---- waiting (until.c) ---- */

/* Monotonic milliseconds. */
int64_t mono_ms(void);
/* When what begins now must have ended. */
int64_t connect_end(const struct link_limits *l);
int64_t grace_end(const struct link_limits *l);
/* The time left, for poll; 0 when it is over. */
int until_ms(int64_t end);
/*
 * Until one is ready, with poll's answer; -ETIMEDOUT, -ECANCELED (stop), other
 * -errno; none reported.
 */
int poll_until(
    struct pollfd *p, nfds_t n, int64_t end, const struct link_limits *l);
/* link_ops.wait until end: 0, -ETIMEDOUT, -ECANCELED, -errno. */
int link_wait_until(struct link *link, int want_write, int64_t end,
    const struct link_limits *l);

/* ---- lines (lines.c) ---- */

/* Bytes of a far side's standard error, reported as "PREFIX: LINE". */
struct lines {
	const char *prefix; /* borrowed */
	/* NULL, or also told each line; lent until it returns */
	void (*seen)(void *arg, const char *line);
	void *arg;
	char text[1024]; /* what there is of the line */
	size_t n;
	bool cut; /* the line is longer; the rest is dropped */
	unsigned count;
};

void lines_init(struct lines *l, const char *prefix);
void lines_put(struct lines *l, const char *p, size_t n);
/* what was not ended by a newline */
void lines_end(struct lines *l);
/*
 * All that fd, which does not block, has now.  0; -EAGAIN more may come;
 * -EPIPE: it has ended.
 */
int lines_read(struct lines *l, int fd);

/* ---- children (child.c) ---- */

struct child {
	pid_t pid; /* 0: none, or waited for */
	int pidfd; /* -1 where there are none */
	bool group; /* it leads its process group */
	bool known; /* status is what it ended with */
	int status;
};

/*
 * fd: its 0, 1 and 2; they stay the caller's.  terminal as in transport.h.
 * Reports nothing.
 */
int child_start(
    struct child *c, const char *const *argv, const int fd[3], bool terminal);
/* Has it ended?  Does not wait. */
bool child_ended(struct child *c);
/* 0, -ETIMEDOUT, -ECANCELED. */
int child_wait(struct child *c, int64_t end, const struct link_limits *l);
/* Ends it (and its group), by SIGTERM and then by SIGKILL. */
void child_kill(struct child *c);
/* "ended with status 3", "was killed by signal 15 (Terminated)" */
void child_words(const struct child *c, char *out, size_t size);
/* 0 ended well; -ENOENT status 127; -EPIPE. */
int child_error(const struct child *c);
/*
 * A descriptor above 2, close-on-exec, in place of fd, which is closed. -errno
 */
int fd_above(int fd);
int fd_nonblock(int fd);

/* As link_pipe_new; hook sees the lines of its standard error. */
struct pipe_hook {
	void (*seen)(void *arg, const char *line);
	/*
	 * The child has ended; may report what that means, and gives the code
	 * (0: no idea, the pipe reports).  On failure only.
	 */
	int (*ended)(void *arg, const struct child *c, const char *peer);
	void (*free)(void *arg); /* with the link; not when new fails */
	void *arg;
	bool quiet; /* pipe_new does not report that it cannot be run */
};
int pipe_new(const struct link_pipe_options *o, const struct pipe_hook *hook,
    struct link **out);

/* ---- sockets (sock.c) ---- */

#define SOCK_QUEUE_LOW 65536u /* with less queued, more may be written */
#define SOCK_QUEUE_MAX (1u << 20) /* a peer that does not read */

/*
 * A connected socket that does not block, and bytes on their way to it.  For
 * libraries that must not be told "not now" in the middle of a record.
 */
struct sock {
	int fd; /* owned; -1 */
	struct buf out;
	size_t sent; /* of out */
	int error; /* -errno that ended reading, or 0 */
	int send_error; /* the same for sending: reading may go on */
	bool eof;
	bool secret; /* what has been sent is wiped */
};

void sock_init(struct sock *s, int fd);
void sock_fini(struct sock *s);
/* Bytes; 0 end; -EAGAIN; -errno, kept. */
ssize_t sock_recv(struct sock *s, void *p, size_t n);
/* 0: they are queued or gone; -ENOBUFS, other -errno, kept. */
int sock_send(struct sock *s, const void *p, size_t n);
/* 0: nothing queued; -EAGAIN; -errno. */
int sock_flush(struct sock *s);
size_t sock_queued(const struct sock *s);
/*
 * Reports what such an error (0: an end without one) means, and gives the code
 * of base/link.h for it.
 */
int sock_report(const char *peer, int error);

/* ---- names (lookup.c) ---- */

struct addrinfo;
/*
 * TCP addresses of host, for freeaddrinfo.  -ETIMEDOUT, -ECANCELED, other
 * -errno; not reported: *why says it.
 */
int lookup(const char *host, const char *port, int family, int64_t end,
    const struct link_limits *l, struct addrinfo **out, const char **why);

/* ---- connecting (dial.c) ---- */

struct dial {
	const char *host;
	unsigned port;
	int family; /* AF_UNSPEC */
	const char *peer; /* for messages */
	const struct link_limits *limits;
};
/*
 * A connected socket that does not block.  Every address has its share of the
 * time that is left.  Reported.
 */
int dial(const struct dial *d, int64_t end, int *fd);

/* ---- doveadm's protocol (doveadm.c, doveadm_start.c) ---- */

enum doveadm_event {
	DOVEADM_MORE, /* give it more bytes */
	DOVEADM_ASKS, /* for the password */
	DOVEADM_LET_IN, /* send the command */
	DOVEADM_STARTED, /* what follows is dsync's */
	DOVEADM_REFUSED, /* the password */
	DOVEADM_FAILED, /* the command: line says how */
	DOVEADM_GARBAGE /* no doveadm says that */
};

enum doveadm_state {
	DOVEADM_GREETING,
	DOVEADM_AUTH,
	DOVEADM_OUTPUT, /* of the command, before its result: none */
	DOVEADM_RESULT,
	DOVEADM_OVER
};

struct doveadm {
	enum doveadm_state state;
	char line[256];
	size_t n;
};

/*
 * Takes bytes of the server up to the next event; *used are taken.  After an
 * event but MORE the server has nothing to say until it is answered, and after
 * STARTED, REFUSED, FAILED and GARBAGE this machine has ended.  Begin with all
 * zero.
 */
enum doveadm_event doveadm_input(
    struct doveadm *d, const char *p, size_t n, size_t *used);
/*
 * Over a link to a doveadm server: from VERSION to the start of dsync-server.
 * rest gets what was read behind that.  Reported.
 */
int doveadm_start(struct link *l, const struct link_tcp_options *o, int64_t end,
    struct buf *rest);

/* ---- TLS (tls.c) ---- */

struct tls;
/*
 * A client on a socket: shakes hands, checks the certificate and that it is
 * host's.  Reported.  s stays the caller's, and longer than this.
 */
int tls_new(struct sock *s, const char *host, const char *ca_file,
    const char *peer, int64_t end, const struct link_limits *l,
    struct tls **out);
/* As link_ops.read, but that errors are not reported. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
/* All is queued in the socket; -EPROTO. */
int tls_write(struct tls *t, const void *p, size_t n);
bool tls_pending(const struct tls *t); /* can be read without the socket */
void tls_shut(struct tls *t); /* queues the alert that says so */
void tls_free(struct tls *t);

/* ---- names that must not be anything else (words.c) ---- */

/*
 * A host: letters, digits, . _ - : %, no - first.  -EINVAL, reported as
 * ORIGIN: ...; so are the others.
 */
int check_host(const char *host, const char *origin);
int check_login(const char *login, const char *origin); /* also @ and + */
/* A mail user: no control character, no - first. */
int check_user(const char *user, const char *origin);
/* One word for a Bourne shell, csh or fish, as plain as it can be. */
void shell_quote(struct buf *b, const char *s);

/* What stands for %{login}, %{host}, %u; NULL: absent. */
struct command_values {
	const char *login, *host, *user;
};
/* Is it a command line for this machine (first word ssh)? */
bool command_is_local(const char *tmpl);
/* A text for the far side's shell.  -EINVAL, -ENOMEM; reported. */
int command_remote(struct arena *a, const char *tmpl,
    const struct command_values *v, const char **text);
/* The words of a local one. */
int command_local(struct arena *a, const char *tmpl,
    const struct command_values *v, const char *const **argv);

#endif
