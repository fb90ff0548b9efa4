/*
 * spool -- a body on its way from a peer to this replica.
 *
 * A body is collected without the replica's lock and saved with it; so a slow
 * peer never blocks a mount.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#define SPOOL_MEMORY (1u << 20)
#define SPOOL_STEP 16 /* chunks a call */
/*
 * From a link nothing says how long a mail is, and most are short: memory grows
 * with what comes, in chunks up to the largest.
 */
#define SPOOL_FIRST 4096
#define SPOOL_LEAST 512
#define SPOOL_CHUNK 65536

struct spool {
	struct os *os;
	/* all of it, or what is not yet in the file */
	struct buf mem;
	struct os_file *file; /* NULL while it fits memory */
	uint64_t size;
	char path[32];
};

struct spool_stream {
	struct stream s;
	struct spool *spool;
	uint64_t pos;
};

int
spool_new(struct os *os, unsigned number, struct spool **out)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return (-ENOMEM);
	s->os = os;
	(void)snprintf(s->path, sizeof(s->path), "sync-%u.spool", number);
	*out = s;
	return (0);
}

void
spool_free(struct spool *s)
{
	if (s == NULL)
		return;
	if (s->file != NULL) {
		s->os->ops->close(s->file);
		/* scratch: the next one truncates it */
		(void)s->os->ops->unlink(s->os, s->path);
	}
	buf_fini(&s->mem);
	free(s);
}

static int
spill(struct spool *s)
{
	int rc = 0;

	if (s->file == NULL)
		rc = s->os->ops->open(
		    s->os, s->path, OS_WRITE | OS_CREATE | OS_TRUNC, &s->file);
	if (rc == 0)
		rc = s->os->ops->pwrite(
		    s->file, s->mem.data, s->mem.len, s->size - s->mem.len);
	if (rc != 0)
		log_error(
		    "%s/%s: a mail could not be written while it arrived: %s",
		    s->os->ops->label(s->os), s->path, strerror(-rc));
	s->mem.len = 0;
	return (rc);
}

/* It may have to wait for others: in no more memory than it needs. */
static int
settle(struct spool *s)
{
	uint8_t *p = realloc(s->mem.data, s->mem.len > 0 ? s->mem.len : 1);

	if (p == NULL)
		return (-ENOMEM);
	s->mem.data = p;
	s->mem.cap = s->mem.len > 0 ? s->mem.len : 1;
	return (1);
}

/* How much to read at once, for which there is room then; or -ENOMEM. */
static ssize_t
make_room(struct spool *s, const struct stream *in)
{
	size_t want =
	    in->size == STREAM_SIZE_UNKNOWN ? SPOOL_FIRST : stream_chunk(in);
	size_t room = s->mem.cap - s->mem.len;
	int rc = room >= SPOOL_LEAST ? 0 : buf_reserve(&s->mem, want);

	room = s->mem.cap - s->mem.len;
	return (
	    rc != 0 ? rc : (ssize_t)(room < SPOOL_CHUNK ? room : SPOOL_CHUNK));
}

int
spool_fill(struct spool *s, struct stream *in)
{
	ssize_t n;
	int rc;

	for (int i = 0; i < SPOOL_STEP; i++) {
		n = make_room(s, in);
		if (n < 0)
			return ((int)n);
		n = stream_read(in, s->mem.data + s->mem.len, (size_t)n);
		if (n < 0)
			return (n == -EAGAIN && i > 0 ? 0 : (int)n);
		if (n == 0)
			return (s->file == NULL
				? settle(s)
				: ((rc = spill(s)) != 0 ? rc : 1));
		s->mem.len += (size_t)n;
		s->size += (uint64_t)n;
		if (s->mem.len >= SPOOL_MEMORY && (rc = spill(s)) != 0)
			return (rc);
	}
	return (0);
}

size_t
spool_memory(const struct spool *s)
{
	return (s->mem.len);
}

static ssize_t
spool_read(struct stream *st, void *p, size_t n)
{
	struct spool_stream *ss = (struct spool_stream *)(void *)st;
	struct spool *s = ss->spool;
	uint64_t left = s->size - ss->pos;
	ssize_t got = (ssize_t)(n < left ? n : left);

	if (got > 0 && s->file == NULL)
		memcpy(p, s->mem.data + ss->pos, (size_t)got);
	else if (got > 0)
		got = s->os->ops->pread(s->file, p, (size_t)got, ss->pos);
	if (got < 0)
		log_error("%s/%s: %s", s->os->ops->label(s->os), s->path,
		    strerror((int)-got));
	if (got == 0 && left > 0 && n > 0) {
		log_error("%s/%s: is shorter than what was written to it",
		    s->os->ops->label(s->os), s->path);
		return (-EIO);
	}
	if (got > 0)
		ss->pos += (uint64_t)got;
	return (got);
}

static void
spool_stream_close(struct stream *st)
{
	free(st);
}

static const struct stream_ops spool_stream_ops = { .read = spool_read,
	.close = spool_stream_close };

int
spool_stream(struct spool *s, struct stream **out)
{
	struct spool_stream *ss = calloc(1, sizeof(*ss));

	if (ss == NULL)
		return (-ENOMEM);
	ss->s.ops = &spool_stream_ops;
	ss->s.size = s->size;
	ss->spool = s;
	*out = &ss->s;
	return (0);
}
