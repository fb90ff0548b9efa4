/*
 * control -- the socket between dsyncfs-sync and a running mount.
 *
 * A Unix stream socket "socket" in the store's directory, mode 0600, connected
 * and bound through a directory handle (/proc/self/fd/N/socket), since its path
 * may be longer than an address.  Both ends check the peer's uid (SO_PEERCRED):
 * same uid or root.  A message is a le32 length, a type byte and fields; at
 * most CONTROL_MAX bytes.  The client sends one request (command, arguments,
 * settings), and two
 * descriptors with it when the command works on them; the server answers with
 * any number of output lines (stdout, stderr, progress) and one final status.
 */
#ifndef DSYNCFS_CONTROL_CONTROL_H
#define DSYNCFS_CONTROL_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAX (1u << 20)

enum control_stream { CONTROL_OUT = 1, CONTROL_ERR = 2, CONTROL_PROGRESS = 3 };

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
/*
 * The request takes these two descriptors along (SCM_RIGHTS); they stay the
 * caller's.
 */
void control_set_fds(struct control_client *c, int in, int out);
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
	/* that came with it, borrowed; -1, -1: none */
	int in, out;
};
/* Gives text to the client. */
typedef void control_reply_fn(
    void *reply_arg, enum control_stream stream, const char *text, size_t n);
/*
 * Runs one request in a thread of the server; gives the exit status.  Requests
 * are run one after the other, but those with descriptors beside the others: a
 * peer at the other end of them may be waiting for what runs there.
 */
typedef int control_handler_fn(void *arg, const struct control_request *req,
    control_reply_fn *reply, void *reply_arg);
/*
 * Binds (a stale socket is replaced: the caller owns the store) and starts a
 * thread.
 */
int control_serve(const char *store_dir, control_handler_fn *fn, void *arg,
    struct control_server **out);
/* ends running requests, joins, unlinks the socket */
void control_server_stop(struct control_server *s);

#endif
