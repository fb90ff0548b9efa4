/*
 * fuzz_dsync_stream -- whatever a peer may say to the dsync channel: recv until
 * it ends, bodies read, closed half-way or left.  What an item says is said
 * again and has to be understood alike.
 *
 * Input: link_fuzz.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include "backends/dsync/dsync.h"
#include "link_fuzz.h"
#include "tests/unit/lib/item_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A codec that knows all columns on both sides. */
static void
codec_all(struct codec *k, unsigned minor)
{
	struct buf b = BUF_INIT;
	char *line, *lf;

	columns_put_opening(&b, false);
	line = (char *)(uintptr_t)buf_cstr(&b);
	for (line = strchr(line, '\n') + 1; *line != '.'; line = lf + 1) {
		lf = strchr(line, '\n');
		if (columns_take_header(k, line, (size_t)(lf - line)) != 0)
			abort();
	}
	k->peer = "again";
	k->minor = minor;
	buf_fini(&b);
}

/* What is said in one way only may be heard in several. */
static void
settle(struct item *i)
{
	if (i->type == ITEM_CHANGE && i->u.change.kind != CHANGE_EXPUNGE &&
	    i->u.change.guid == NULL)
		i->u.change.guid = "";
}

static void
say_again(struct codec *k, struct item *i)
{
	struct buf line = BUF_INIT, was = BUF_INIT, is = BUF_INIT;
	struct item *again;
	bool stream;

	settle(i);
	item_text(i, &was);
	if (dsync_encode(k, i, &line) != 0)
		abort();
	if (dsync_decode(k, (char *)line.data, line.len - 1, &again, &stream) !=
	    0)
		abort();
	if (again->type == ITEM_MAIL && stream)
		again->u.mail.body = i->u.mail.body;
	if (again->type == ITEM_ATTRIBUTE && stream)
		again->u.attribute.stream = i->u.attribute.stream;
	item_text(again, &is);
	if (strcmp(buf_cstr(&was), buf_cstr(&is)) != 0) {
		(void)fprintf(
		    stderr, "%sbecame\n%s", buf_cstr(&was), buf_cstr(&is));
		abort();
	}
	if (again->type == ITEM_MAIL)
		again->u.mail.body = NULL;
	if (again->type == ITEM_ATTRIBUTE)
		again->u.attribute.stream = NULL;
	item_free(again);
	buf_fini(&line);
	buf_fini(&was);
	buf_fini(&is);
}

static void
read_body(struct stream *s, unsigned how)
{
	char piece[64];
	ssize_t n;
	unsigned reads = 0;

	if (s == NULL)
		return;
	do
		n = stream_read(s, piece, 1 + how % sizeof(piece));
	while ((n > 0 || n == -EAGAIN) && (how % 3 != 0 || reads++ < how));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_dsync_options o = { .max_line = 4096,
		.max_long_line = 16384 };
	struct codec k = { 0 };
	struct buf opening = BUF_INIT;
	struct channel *c;
	struct link_fuzz l;
	struct item *i;
	unsigned n = 0;
	int rc;

	if (size == 0)
		return (0);
	log_set_sink(link_fuzz_quiet, NULL);
	link_fuzz_init(&l, data, size, &opening);
	o.plain = (data[0] & MODE_PLAIN) != 0;
	if (channel_dsync_new(&l.l, &o, &c) != 0)
		abort();
	for (;;) {
		rc = c->ops->recv(c, &i);
		if (rc == -EAGAIN)
			continue;
		if (rc != 0)
			break;
		if (n++ == 0)
			codec_all(&k,
			    i->type == ITEM_HANDSHAKE ? i->u.handshake.minor
						      : 5);
		if (i->type != ITEM_HANDSHAKE ||
		    i->u.handshake.minor == k.minor)
			say_again(&k, i);
		read_body(i->type == ITEM_MAIL      ? i->u.mail.body
			: i->type == ITEM_ATTRIBUTE ? i->u.attribute.stream
						    : NULL,
		    n);
		item_free(i);
	}
	if (c->ops->recv(c, &i) != rc)
		abort();
	c->ops->close(c);
	buf_fini(&opening);
	buf_fini(&k.scratch);
	buf_fini(&k.element);
	return (0);
}
