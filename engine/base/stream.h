/*
 * stream -- bytes that are read once from front to back: a mail on its way
 * between replicas.
 */
#ifndef DSYNCFS_BASE_STREAM_H
#define DSYNCFS_BASE_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STREAM_SIZE_UNKNOWN UINT64_MAX

struct stream;
struct stream_ops {
	/*
	 * Up to n bytes; 0 at the end; -errno (already reported).  -EAGAIN:
	 * nothing yet (a channel's stream only).
	 */
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	void (*close)(struct stream *s); /* frees it */
};

struct stream {
	const struct stream_ops *ops;
	/* expected bytes, or STREAM_SIZE_UNKNOWN; a hint, never trusted */
	uint64_t size;
};

static inline ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
	return (s->ops->read(s, p, n));
}

static inline void
stream_close(struct stream *s)
{
	if (s != NULL)
		s->ops->close(s);
}

/*
 * How much to ask for at once: what it says it has and a byte to see its end,
 * but between 4 and 64 KiB.
 */
static inline size_t
stream_chunk(const struct stream *s)
{
	return (s->size < 4095    ? 4096
		: s->size < 65535 ? (size_t)s->size + 1
				  : 65536);
}

/* A stream over memory; copies the bytes.  0 or -ENOMEM. */
int stream_from_memory(const void *p, size_t n, struct stream **out);

#endif
