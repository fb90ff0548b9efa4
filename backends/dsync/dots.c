/*
 * dots -- bodies on the wire (specs/dsync-protocol.md 1.6).
 *
 * After an LF, and in the very first byte, a dot is doubled; CR LF . CR LF ends
 * the body and is not part of it.
 *
 * Each Dovecot reads so, but one without the fix of CVE-2026-33606 does not
 * double the first byte, and nothing tells which it is.  So one dot alone at
 * the start stays, and of two one goes: what is lost is a dot of a mail that
 * begins with two, from such an old Dovecot.
 *
 * Between two dsyncfs CR LF . ! CR LF ends a body that could not be read to its
 * end: no sender lets another byte than a dot or a line break follow that dot.
 */
#include "backends/dsync/dsync_internal.h"

#include <string.h>

void
dots_out_begin(struct dots_out *d)
{
	d->after_lf = true;
}

void
dots_out_put(struct dots_out *d, const uint8_t *p, size_t n, struct buf *out)
{
	const uint8_t *end = p + n, *lf;

	while (p < end) {
		if (d->after_lf && *p == '.')
			buf_put_u8(out, '.');
		lf = memchr(p, '\n', (size_t)(end - p));
		d->after_lf = lf != NULL;
		if (lf == NULL)
			lf = end - 1;
		buf_put(out, p, (size_t)(lf + 1 - p));
		p = lf + 1;
	}
}

void
dots_out_end(struct buf *out)
{
	buf_put(out, "\r\n.\r\n", 5);
}

void
dots_out_broken(struct buf *out)
{
	buf_put(out, "\r\n.!\r\n", 6);
}

/* How far into "CR LF . CR LF" the input is. */
enum {
	START,
	START_DOT,
	TEXT,
	SEEN_CR,
	SEEN_LF,
	SEEN_DOT,
	SEEN_DOT_CR,
	SEEN_MARK /* skips to the end of that line */
};

void
dots_in_begin(struct dots_in *d, bool may_break)
{
	memset(d, 0, sizeof(*d));
	d->state = START;
	d->may_break = may_break;
}

static void
give(struct dots_in *d, uint8_t c)
{
	d->pending[d->pendings++] = c;
}

/* The line break was none of the end's. */
static void
give_break(struct dots_in *d)
{
	if (d->cr)
		give(d, '\r');
	give(d, '\n');
}

/* One byte; false: it has to be looked at again in the new state. */
static bool
step(struct dots_in *d, uint8_t c)
{
	switch (d->state) {
	case START:
		d->state = c == '.' ? START_DOT : TEXT;
		return (c == '.');
	case START_DOT:
		d->state = TEXT;
		give(d, '.');
		return (c == '.');
	case TEXT:
		d->cr = c == '\r';
		if (c == '\r' || c == '\n')
			d->state = c == '\r' ? SEEN_CR : SEEN_LF;
		else
			give(d, c);
		return (true);
	case SEEN_CR:
		d->state = c == '\n' ? SEEN_LF : TEXT;
		if (c != '\n')
			give(d, '\r');
		return (c == '\n');
	case SEEN_LF:
		d->state = c == '.' ? SEEN_DOT : TEXT;
		if (c != '.')
			give_break(d);
		return (c == '.');
	case SEEN_DOT:
	case SEEN_DOT_CR:
		if (c == '\n') {
			d->result = DOTS_END;
		} else if (d->state == SEEN_DOT && c == '\r') {
			d->state = SEEN_DOT_CR;
		} else if (d->state == SEEN_DOT && c == '!' && d->may_break) {
			d->state = SEEN_MARK;
		} else {
			/* the dot was a doubled one: it goes */
			give_break(d);
			d->state = d->state == SEEN_DOT ? TEXT : SEEN_CR;
			return (false);
		}
		return (true);
	default:
		if (c == '\n')
			d->result = DOTS_BROKEN;
		return (true);
	}
}

/* Bytes from p that are text, whatever comes behind them. */
static size_t
run_of_text(const uint8_t *p, size_t n)
{
	const uint8_t *lf = memchr(p, '\n', n);

	if (lf != NULL)
		n = (size_t)(lf - p);
	while (n > 0 && p[n - 1] == '\r')
		n--;
	return (n);
}

enum dots
dots_in_take(struct dots_in *d, const uint8_t **in, size_t *n, uint8_t *out,
    size_t room, size_t *got)
{
	size_t at = 0, run;

	for (;;) {
		run = d->pendings < room - at ? d->pendings : room - at;
		memcpy(out + at, d->pending, run);
		memmove(d->pending, d->pending + run, d->pendings - run);
		d->pendings = (uint8_t)(d->pendings - run);
		at += run;
		if (d->pendings > 0 || d->result != DOTS_MORE || at == room ||
		    *n == 0)
			break;
		if (d->state == TEXT) {
			run = run_of_text(*in, *n < room - at ? *n : room - at);
			memcpy(out + at, *in, run);
			at += run;
			*in += run;
			*n -= run;
			if (run > 0)
				continue;
		}
		if (step(d, **in)) {
			(*in)++;
			(*n)--;
		}
	}
	*got = at;
	return (d->pendings > 0 ? DOTS_MORE : d->result);
}
