/*
 * channel -- the dsync channel as a whole.
 */
#include "backends/dsync/dsync_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
dsync_flush(struct channel *c)
{
	struct dsync *d = (struct dsync *)(void *)c;

	dsync_read_ahead(d);
	return (dsync_pump(d));
}

static void
dsync_close(struct channel *c)
{
	struct dsync *d = (struct dsync *)(void *)c;

	dsync_input_fini(d);
	dsync_output_fini(d);
	buf_fini(&d->k.scratch);
	buf_fini(&d->k.element);
	free(d->peer);
	free(d);
}

static const struct channel_ops dsync_ops = {
	.send = dsync_send,
	.full = dsync_full,
	.recv = dsync_recv,
	.flush = dsync_flush,
	.close = dsync_close,
};

int
channel_dsync_new(
    struct link *l, const struct channel_dsync_options *o, struct channel **out)
{
	const char *peer = o != NULL && o->peer != NULL ? o->peer : l->peer;
	struct dsync *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return (-ENOMEM);
	d->peer = strdup(peer == NULL ? "peer" : peer);
	d->c.ops = &dsync_ops;
	d->c.peer = d->k.peer = d->peer;
	d->l = l;
	if (o != NULL)
		d->o = *o;
	if (d->o.max_line == 0)
		d->o.max_line = (size_t)1 << 20;
	if (d->o.max_long_line == 0)
		d->o.max_long_line = (size_t)64 << 20;
	d->k.plain = d->o.plain;
	d->last = &d->first;
	columns_put_opening(&d->out, d->k.plain);
	if (d->peer == NULL || d->out.error != 0) {
		dsync_close(&d->c);
		return (-ENOMEM);
	}
	/* What the link says to it now, it says to the next call too. */
	(void)dsync_pump(d);
	*out = &d->c;
	return (0);
}
