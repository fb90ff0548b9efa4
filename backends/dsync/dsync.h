/*
 * dsync -- Dovecot's dsync protocol as a channel over a link
 * (specs/dsync-protocol.md 1 and 2).
 *
 * Both roles are the same at this level.  The opening lines go out when the
 * channel is made; what is sent waits until the peer's opening lines have come,
 * since they say what the peer understands.
 */
#ifndef DSYNCFS_BACKENDS_DSYNC_H
#define DSYNCFS_BACKENDS_DSYNC_H

#include "base/link.h"
#include "sync/channel.h"

/* All zero: the defaults. */
struct channel_dsync_options {
	/* for messages, copied; NULL: the link's */
	const char *peer;
	/* longest record, bytes; 0 = 1 MiB */
	size_t max_line;
	/* longest B and D, whose lists have no bound of their own; 0 = 64 MiB
	 */
	size_t max_long_line;
	/* gets every byte as it went over the link (-r); may be NULL */
	void (*raw)(void *arg, bool sent, const void *p, size_t n);
	void *raw_arg;
	/*
	 * Says and understands what Dovecot does and no more, so that each end
	 * takes the other for a Dovecot.
	 */
	bool plain;
};

/*
 * l is borrowed until close.  o may be NULL.  0 or -ENOMEM; what the link says
 * about the opening lines is given by a later call.
 *
 * Members, beyond channel.h:
 *
 * send: -EOPNOTSUPP (reported) what has been asked for cannot be said to this
 * peer, and keeping it silent would do harm.  A peer that takes nothing any
 * more
 * (-EPIPE of the link) is no error here: recv has its last words, and then
 * gives -EPIPE.  Bodies are read while they go out and must not give -EAGAIN.
 * recv: -EAGAIN also while a body of the last item is neither read to its end
 * nor closed; closing it skips the rest.  A body's read gives -EAGAIN when
 * nothing has come yet, -EIO when the peer could not read it (the channel goes
 * on), -EPIPE when the connection ended (reported).
 */
int channel_dsync_new(struct link *l, const struct channel_dsync_options *o,
    struct channel **out);

#endif
