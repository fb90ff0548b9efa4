/*
 * link_fuzz -- a peer that says given bytes and takes whatever it is told.
 */
#ifndef DSYNCFS_TESTS_LINK_FUZZ_H
#define DSYNCFS_TESTS_LINK_FUZZ_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "backends/dsync/dsync_internal.h"
#include "base/link.h"
#include "base/log.h"

struct link_fuzz {
	struct link l;
	/* said in turn, then the end */
	const void *text[2];
	size_t n[2], at;
	int which;
	size_t piece; /* bytes a call; 0: all */
};

static inline ssize_t
link_fuzz_read(struct link *l, void *p, size_t n)
{
	struct link_fuzz *f = (struct link_fuzz *)(void *)l;
	size_t left;

	if (f->which < 2 && f->at == f->n[f->which]) {
		f->which++;
		f->at = 0;
	}
	if (f->which == 2)
		return (0);
	left = f->n[f->which] - f->at;
	if (n > left)
		n = left;
	if (f->piece != 0 && n > f->piece)
		n = f->piece;
	if (n == 0)
		return (-EAGAIN);
	memcpy(p, (const char *)f->text[f->which] + f->at, n);
	f->at += n;
	return ((ssize_t)n);
}

static inline ssize_t
link_fuzz_write(struct link *l, const void *p, size_t n)
{
	(void)l;
	(void)p;
	return ((ssize_t)n);
}

/* There is always something, if only the end. */
static inline int
link_fuzz_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	(void)l;
	(void)want_write;
	(void)also;
	(void)timeout_ms;
	return (0);
}

static inline int
link_fuzz_shut(struct link *l)
{
	(void)l;
	return (0);
}

static const struct link_ops link_fuzz_ops = { .read = link_fuzz_read,
	.write = link_fuzz_write,
	.wait = link_fuzz_wait,
	.shut = link_fuzz_shut };

/* Lines are formatted, so that what goes into them is looked at, and dropped.
 */
static inline void
link_fuzz_quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/*
 * The first byte of an input: bit 0, the opening of a Dovecot stands before the
 * rest; bit 1, that of a dsyncfs; bit 2, one byte a call; bit 3, plain.
 */
enum { MODE_DOVECOT = 1, MODE_DSYNCFS = 2, MODE_BYTES = 4, MODE_PLAIN = 8 };

/* opening is made for as long as f is used. */
static inline void
link_fuzz_init(
    struct link_fuzz *f, const uint8_t *data, size_t size, struct buf *opening)
{
	memset(f, 0, sizeof(*f));
	f->l.ops = &link_fuzz_ops;
	f->l.peer = "peer";
	f->piece = (data[0] & MODE_BYTES) != 0;
	if ((data[0] & (MODE_DOVECOT | MODE_DSYNCFS)) != 0)
		columns_put_opening(opening, (data[0] & MODE_DSYNCFS) == 0);
	f->text[0] = opening->data;
	f->n[0] = opening->len;
	f->text[1] = data + 1;
	f->n[1] = size - 1;
}

#endif
