/*
 * stream -- a stream over bytes in memory.
 */
#include "base/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mem_stream {
	struct stream s; /* first */
	size_t n;
	size_t off;
	unsigned char data[];
};

static ssize_t
mem_read(struct stream *s, void *p, size_t n)
{
	struct mem_stream *m = (struct mem_stream *)s;

	if (n > m->n - m->off)
		n = m->n - m->off;
	if (n > 0)
		memcpy(p, m->data + m->off, n);
	m->off += n;
	return ((ssize_t)n);
}

static void
mem_close(struct stream *s)
{
	free(s);
}

static const struct stream_ops mem_ops = { mem_read, mem_close };

int
stream_from_memory(const void *p, size_t n, struct stream **out)
{
	struct mem_stream *m;

	if (n > SIZE_MAX / 2 || (m = malloc(sizeof(*m) + n)) == NULL)
		return (-ENOMEM);
	m->s.ops = &mem_ops;
	m->s.size = n;
	m->n = n;
	m->off = 0;
	if (n > 0)
		memcpy(m->data, p, n);
	*out = &m->s;
	return (0);
}
