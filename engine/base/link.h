/*
 * link -- bytes to and from one peer: what a transport (ssh, pipe, tcp, tls)
 * gives the dsync stream.
 *
 * One thread at a time.  Nothing blocks but wait and close, and read, for a
 * bounded time, at the end of the stream, to learn how the far side ended.  A
 * link buffers inside (TLS records, ssh packets), so it has no descriptor that
 * could be polled from outside: its owner alternates read, write and wait, and
 * hands what else it waits for in to wait, or looks at it between two waits.
 *
 * An error that is reported has said, in one line, what happened to which peer;
 * the link is dead then, and every later call but close gives the same code:
 * -ECONNRESET  the connection was cut
 * -ETIMEDOUT   (read, write) the peer is silent although it should answer
 * -EPIPE       the program over there was killed or ended with an error
 * -ENOENT      there is no such program over there
 * -EACCES      permission denied, or the host is not the one it should be
 * -EHOSTUNREACH, -ECONNREFUSED  not reachable
 * -EPROTO      what came is not what such a peer sends
 * -ENOMEM, other -errno
 */
#ifndef DSYNCFS_BASE_LINK_H
#define DSYNCFS_BASE_LINK_H

#include <stddef.h>
#include <sys/types.h>

struct link;
struct link_ops {
	/*
	 * Bytes read; 0 at the end of the stream, when the far side ended it
	 * and did not fail; -EAGAIN nothing now; other -errno reported.
	 */
	ssize_t (*read)(struct link *l, void *p, size_t n);
	/*
	 * Bytes taken (they are underway, see shut); -EAGAIN none now, and the
	 * next call may bring other bytes; -EPIPE, not reported: the far side
	 * takes no more, but what it said before can be read, and read tells
	 * why it ended; other -errno reported.
	 */
	ssize_t (*write)(struct link *l, const void *p, size_t n);
	/*
	 * Waits until read, or with want_write read or write, has something
	 * to say, or something can be read from also, a descriptor of the
	 * caller's (-1: none), at most timeout_ms (-1: for ever).  A link does
	 * its own work here: what was written leaves, the far side's error
	 * lines are reported, keepalives go out.  0: try (it may be early);
	 * -ETIMEDOUT, -EINTR (a signal came): neither reported nor final.
	 */
	int (*wait)(struct link *l, int want_write, int also, int timeout_ms);
	/*
	 * No more writing.  0: all has left, and the far side sees the end;
	 * -EAGAIN: wait with want_write and call again; other -errno reported.
	 * Reading goes on.
	 */
	int (*shut)(struct link *l);
	/*
	 * Frees it.  What was not shut may be lost.  A far side that was
	 * started for this link is given its time to end, and then ended.
	 */
	void (*close)(struct link *l);
};

struct link {
	const struct link_ops *ops;
	/* for messages; owned by the link */
	const char *peer;
};

/*
 * One end of a link that another process has: a stream socket of its bytes, and
 * a socket of packets, by which the process that has it says how it fares.
 */
struct relay_ends {
	int data, talk;
};

#endif
