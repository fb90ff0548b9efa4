/*
 * link -- bytes to and from one peer: what a transport (ssh, pipe, tcp, tls)
 * gives the dsync stream.
 */
#ifndef DSYNCFS_BASE_LINK_H
#define DSYNCFS_BASE_LINK_H

#include <stddef.h>
#include <sys/types.h>

struct link;
struct link_ops {
	/*
	 * Bytes moved; 0 from read at the end of the stream; -EAGAIN nothing
	 * now; other -errno reported, the link is dead then.
	 */
	ssize_t (*read)(struct link *l, void *p, size_t n);
	ssize_t (*write)(struct link *l, const void *p, size_t n);
	/*
	 * Waits until reading (or, with want_write, writing) can go on, at most
	 * timeout_ms.  -ETIMEDOUT.
	 */
	int (*wait)(struct link *l, int want_write, int timeout_ms);
	int (*shut)(struct link *l); /* no more writing; flushed */
	void (*close)(struct link *l); /* frees it */
};

struct link {
	const struct link_ops *ops;
	/* for messages; owned by the link */
	const char *peer;
};

#endif
