/*
 * control -- the socket between dsyncfs-sync and a running mount.
 *
 * A Unix stream socket "socket" in the store's directory, mode 0600, connected
 * and bound through a directory handle (/proc/self/fd/N/socket), since its path
 * may be longer than an address.  Both ends check the peer's uid (SO_PEERCRED):
 * same uid or root.  A message is a le32 length, a type byte and fields; at
 * most CONTROL_MAX bytes.  The client sends one request (command, arguments,
 * settings), and descriptors with it when the command works on them; the server
 * answers with any number of output lines (stdout, stderr, progress) and one
 * final status.
 */
#ifndef DSYNCFS_CONTROL_CONTROL_H
#define DSYNCFS_CONTROL_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAX (1u << 20)

#define CONTROL_FDS 3 /* most descriptors of a request; ASIDE_FDS */

enum control_stream { CONTROL_OUT = 1, CONTROL_ERR = 2, CONTROL_PROGRESS = 3 };

/*
 * Of each kind one request is run at a time, and beside those of the others: a
 * sync may take long, and the peer of one may be waiting for what is served
 * here.
 */
enum control_kind {
	CONTROL_ASK, /* takes a moment */
	CONTROL_SYNC,
	CONTROL_SERVE, /* a dsync-server */
	CONTROL_KINDS
};

/* ---- client ---- */
struct control_client;
/*
 * -ENOENT: nobody listens there (no socket, or a dead one); -EACCES: not our
 * uid; other: reported.
 */
int control_connect(const char *store_dir, struct control_client **out);
/*
 * argv as dsyncfs-sync would run it in place; on_output gets each piece;
 * *status the exit status.  -EPIPE: the mount died meanwhile.
 */
typedef void control_output_fn(
    void *arg, enum control_stream stream, const char *text, size_t n);
int control_run(struct control_client *c, int argc, const char *const *argv,
    control_output_fn *fn, void *arg, int *status);
/*
 * control_run looks at *stop at least four times a second and once it is set
 * cancels by itself; NULL: never.
 */
void control_set_stop(struct control_client *c, const atomic_int *stop);
/* What the request is; CONTROL_ASK where nothing is said. */
void control_set_kind(struct control_client *c, enum control_kind kind);
/*
 * It takes these n descriptors along (SCM_RIGHTS), at most CONTROL_FDS; they
 * stay the caller's.
 */
void control_set_fds(struct control_client *c, const int *fd, size_t n);
/*
 * From a signal handler's flag: asks the server to end the running command at
 * its next consistent point.
 */
int control_cancel(struct control_client *c);
void control_close(struct control_client *c);

/* ---- server ---- */
struct control_server;
struct control_request {
	int argc;
	const char *const *argv;
	/* set when the client goes away or cancels */
	const atomic_int *cancelled;
	enum control_kind kind;
	/* that came with it, borrowed; -1: none */
	const int *fd; /* CONTROL_FDS of them */
};
/* Gives text to the client. */
typedef void control_reply_fn(
    void *reply_arg, enum control_stream stream, const char *text, size_t n);
/* Runs one request in a thread of the server; gives the exit status. */
typedef int control_handler_fn(void *arg, const struct control_request *req,
    control_reply_fn *reply, void *reply_arg);
/*
 * Binds (a stale socket is replaced: the caller owns the store); clients wait
 * until it is started.
 */
int control_listen(const char *store_dir, struct control_server **out);
/* Starts the threads.  -errno, reported; it is to be stopped then, too. */
int control_start(
    struct control_server *s, control_handler_fn *fn, void *arg);
/* ends running requests, joins, unlinks the socket; NULL is fine */
void control_server_stop(struct control_server *s);

#endif
