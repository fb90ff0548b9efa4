/*
 * control_internal -- frames of the control socket, shared by its two ends.
 *
 * C1  A frame is le32 n (1 .. CONTROL_MAX, counting what follows), a type byte,
 * n - 1 bytes of fields. C2  Client to server: REQUEST (u8 version, u8
 * kind, varint argc, argc blobs without NUL), once, up to CONTROL_FDS
 * descriptors with its first byte; then CANCEL (no fields), any number of times. C3  Server to client:
 * OUTPUT (u8 stream, blob), any number; then STATUS (u8), once, and nothing
 * behind it. C4  Whatever breaks C1 to C3 ends the connection; it is never
 * answered.
 */
#ifndef DSYNCFS_CONTROL_CONTROL_INTERNAL_H
#define DSYNCFS_CONTROL_CONTROL_INTERNAL_H

#include <sys/types.h>
#include <sys/un.h>
#include "base/arena.h"
#include "base/buf.h"
#include "control/aside.h"
#include "control/control.h"

#define CONTROL_VERSION 2
#define CONTROL_ARGS 1024 /* most arguments of a request */
#define CONTROL_PIECE 65536u /* longest text of one OUTPUT frame */

enum control_type {
	CONTROL_REQUEST = 'R',
	CONTROL_CANCEL = 'C',
	CONTROL_OUTPUT = 'O',
	CONTROL_STATUS = 'S'
};

/*
 * Opens the directory; "socket" in it is then reached by the address, however
 * long the directory's path is.
 */
int control_address(const char *store_dir, struct sockaddr_un *sa, int *dir_fd);
/* 0, or -EACCES when the peer is neither our user nor root. */
int control_check_peer(int fd);

/*
 * Looks for one whole frame at the start of p.  1: there is one, *used bytes
 * long with its head, *body its fields; 0: more bytes are needed; -EBADMSG:
 * never will be one.
 */
int control_frame(
    const uint8_t *p, size_t n, size_t *used, uint8_t *type, struct rd *body);

void control_put_frame(
    struct buf *b, enum control_type type, const void *p, size_t n);
/* -E2BIG */
int control_encode_request(struct buf *b, enum control_kind kind, int argc,
    const char *const *argv);
/* Strings in the arena, argv NULL-terminated.  -EBADMSG, -ENOMEM. */
int control_decode_request(struct rd *r, struct arena *a,
    enum control_kind *kind, int *argc, const char *const **argv);
int control_decode_output(
    struct rd *r, enum control_stream *stream, const char **text, size_t *n);
int control_decode_status(struct rd *r, int *status);

/* All of it, or -errno; -ETIMEDOUT after ms without progress. */
int control_send(int fd, const void *p, size_t n, int ms);
/* The same, with descriptors. */
int control_send_fds(
    int fd, const void *p, size_t n, int ms, const int *fds, size_t n_fds);

#endif
