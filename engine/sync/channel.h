/*
 * channel -- carries items between two brains: in memory, or as the dsync
 * stream over a link.
 */
#ifndef DSYNCFS_SYNC_CHANNEL_H
#define DSYNCFS_SYNC_CHANNEL_H

#include "sync/item.h"

struct channel;
struct channel_ops {
	/*
	 * Takes the item over in any case.  Never waits: what is not yet gone
	 * is queued, and a little may wait for flush, so that many items go
	 * together.  -EPIPE the peer is gone, -EIO, -ENOMEM.
	 */
	int (*send)(struct channel *c, struct item *i);
	/*
	 * More should not be sent now (a sender that makes many items asks, so
	 * that the queue stays short).
	 */
	bool (*full)(struct channel *c);
	/*
	 * The next item, owned by the caller.  -EAGAIN none yet; -EPIPE the
	 * stream ended; -EBADMSG the peer broke the protocol (reported).
	 */
	int (*recv)(struct channel *c, struct item **out);
	/*
	 * Moves what can be moved now: what is queued goes out, and a little of
	 * what came in is taken in.  0 all is gone, -EAGAIN the peer takes no
	 * more for the moment; other errors as for send.
	 */
	int (*flush)(struct channel *c);
	void (*close)(struct channel *c);
};

struct channel {
	const struct channel_ops *ops;
	const char *peer; /* name for messages; borrowed */
	/* bytes that have come and gone so far; 0 where there are none */
	uint64_t received, sent;
	/*
	 * Set by its owner when nothing more is for this channel: flush takes
	 * nothing in, and what follows is left to the link's next reader.
	 */
	bool deaf;
};

/*
 * Two ends of an in-memory channel; bodies are handed over as streams.  Each
 * end is closed by its user.
 */
int channel_memory_pair(const char *name_a, const char *name_b,
    struct channel **a, struct channel **b);

#endif
