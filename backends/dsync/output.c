/*
 * output -- what goes to the peer: lines in a buffer, behind them the body that
 * is going out, behind that the items that wait for it.
 *
 * A body is read only as far as the link takes it.
 */
#include "backends/dsync/dsync_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CHUNK ((size_t)32 * 1024)
/* As much may be unsent before others are asked to wait, as in Dovecot. */
#define FULL ((size_t)128 * 1024)
/* bytes a call, so that a fast link does not keep the brain from its work */
#define PUMP_MAX ((uint64_t)1 << 20)

static size_t
unsent(const struct dsync *d)
{
	return (d->out.len - d->out_at);
}

static void
drop_waiting(struct dsync *d)
{
	struct waiting *w, *next;

	for (w = d->first; w != NULL; w = next) {
		next = w->next;
		item_free(w->item);
		free(w);
	}
	d->first = NULL;
	d->last = &d->first;
}

static void
drop_all(struct dsync *d)
{
	item_free(d->sending);
	d->sending = NULL;
	drop_waiting(d);
	buf_fini(&d->out);
	d->out_at = 0;
}

static int
failed(struct dsync *d, int rc)
{
	d->out_rc = rc;
	drop_all(d);
	return (rc);
}

/*
 * The peer takes nothing any more.  It may have said why, so this is not the
 * end: what came from it is read first.
 */
static int
gone(struct dsync *d)
{
	d->out_gone = true;
	drop_all(d);
	return (0);
}

/* What is written makes room, so that a slow link costs no memory. */
static void
compact(struct dsync *d)
{
	if (d->out_at <= d->out.len / 2)
		return;
	memmove(d->out.data, d->out.data + d->out_at, unsent(d));
	d->out.len -= d->out_at;
	d->out_at = 0;
}

/* 0: all is written. */
static int
write_out(struct dsync *d)
{
	while (unsent(d) > 0) {
		const uint8_t *p = d->out.data + d->out_at;
		ssize_t n = d->l->ops->write(d->l, p, unsent(d));

		if (n == -EPIPE)
			return (gone(d));
		if (n == -EAGAIN || n == 0) {
			compact(d);
			return (-EAGAIN);
		}
		if (n < 0)
			return (failed(d, (int)n));
		if (d->o.raw != NULL)
			d->o.raw(d->o.raw_arg, true, p, (size_t)n);
		d->out_at += (size_t)n;
		d->c.sent += (uint64_t)n;
	}
	buf_reset(&d->out);
	d->out_at = 0;
	if (d->out.cap > 4 * FULL)
		buf_fini(&d->out);
	return (0);
}

/* ---- bodies ---- */

static struct stream *
body_of(const struct item *i)
{
	if (i->type == ITEM_MAIL)
		return (i->u.mail.body);
	return (i->type == ITEM_ATTRIBUTE && i->u.attribute.value == NULL
		? i->u.attribute.stream
		: NULL);
}

static void
sent_body(struct dsync *d)
{
	item_free(d->sending);
	d->sending = NULL;
}

static int
broken_body(struct dsync *d, int rc)
{
	if (codec_to_dsyncfs(&d->k)) {
		dots_out_broken(&d->out);
		sent_body(d);
		return (0);
	}
	log_error("%s: a mail could not be read to its end while it was sent; "
		  "the connection is given up, since half a mail cannot be "
		  "taken back",
	    d->c.peer);
	return (failed(d, rc));
}

static int
send_chunk(struct dsync *d)
{
	struct buf *s = &d->k.scratch;
	ssize_t n;

	buf_reset(s);
	if (buf_reserve(s, CHUNK) != 0)
		return (failed(d, -ENOMEM));
	n = stream_read(body_of(d->sending), s->data, CHUNK);
	if (n < 0)
		return (broken_body(d, (int)n));
	if (n == 0) {
		dots_out_end(&d->out);
		sent_body(d);
	} else {
		dots_out_put(&d->dots_out, s->data, (size_t)n, &d->out);
	}
	return (d->out.error != 0 ? failed(d, d->out.error) : 0);
}

/* ---- items ---- */

/* Takes i over. */
static int
put_item(struct dsync *d, struct item *i)
{
	int rc = dsync_encode(&d->k, i, &d->out);

	if (rc != 0) {
		item_free(i);
		return (failed(d, rc));
	}
	if (body_of(i) == NULL) {
		item_free(i);
		return (0);
	}
	d->sending = i;
	dots_out_begin(&d->dots_out);
	return (0);
}

static int
put_waiting(struct dsync *d)
{
	struct waiting *w = d->first;
	struct item *i = w->item;

	d->first = w->next;
	if (d->first == NULL)
		d->last = &d->first;
	free(w);
	return (put_item(d, i));
}

static bool
opened(const struct dsync *d)
{
	return (d->in_state >= IN_ITEMS);
}

int
dsync_pump(struct dsync *d)
{
	uint64_t from = d->c.sent;
	int rc = 0;

	if (d->out_rc != 0 || d->out_gone)
		return (d->out_rc);
	while (rc == 0) {
		rc = unsent(d) < CHUNK && d->sending != NULL ? send_chunk(d)
		    : unsent(d) > 0                          ? write_out(d)
		    : d->first != NULL && opened(d)          ? put_waiting(d)
							     : 1;
		if (d->out_gone)
			return (0);
		if (rc == 0 && d->c.sent - from > PUMP_MAX)
			rc = -EAGAIN;
	}
	return (rc == 1 ? 0 : rc);
}

static int
wait_in_line(struct dsync *d, struct item *i)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		item_free(i);
		return (failed(d, -ENOMEM));
	}
	w->item = i;
	*d->last = w;
	d->last = &w->next;
	return (0);
}

/*
 * The last words, which need not wait for a body that nobody will want: a
 * dsyncfs is told that it is broken, anybody else cannot be told anything in
 * the midst of one.
 */
static void
last_words(struct dsync *d)
{
	if (!opened(d))
		return;
	drop_waiting(d);
	if (d->sending == NULL)
		return;
	if (codec_to_dsyncfs(&d->k)) {
		dots_out_broken(&d->out);
		sent_body(d);
	} else {
		(void)gone(d);
	}
}

int
dsync_send(struct channel *c, struct item *i)
{
	struct dsync *d = (struct dsync *)(void *)c;
	int rc;

	if (i->type == ITEM_FINISH && i->u.finish.error != NULL)
		last_words(d);
	/* an X that follows an F has nothing to add, and nothing to cut */
	if (i->type == ITEM_ABORT && d->sending != NULL)
		last_words(d);
	if (d->out_rc != 0 || d->out_gone) {
		item_free(i);
		return (d->out_rc);
	}
	if (!opened(d) || d->sending != NULL || d->first != NULL)
		rc = wait_in_line(d, i);
	else
		rc = put_item(d, i);
	/* a few lines wait for more, or for flush */
	if (rc == 0 && (unsent(d) >= CHUNK || d->sending != NULL))
		rc = dsync_pump(d);
	return (rc == -EAGAIN ? 0 : rc);
}

bool
dsync_full(struct channel *c)
{
	struct dsync *d = (struct dsync *)(void *)c;

	(void)dsync_pump(d);
	/* To whom nobody listens everything can be said. */
	return (unsent(d) >= FULL || d->sending != NULL || d->first != NULL);
}

void
dsync_output_fini(struct dsync *d)
{
	drop_all(d);
}
