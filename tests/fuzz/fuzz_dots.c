/*
 * fuzz_dots -- any bytes as a body: however they are cut, what goes over the
 * wire ends once, at its end, and is the same bytes again; and any bytes as
 * what comes over the wire end at the same place however they are cut.
 *
 * The first byte says how they are cut, its high bit that the sender is a
 * dsyncfs.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/dsync/dsync_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM 16

/* Taken from p in pieces; *used bytes of it. */
static enum dots
take(const uint8_t *p, size_t n, size_t piece, bool own, struct buf *out,
    size_t *used)
{
	const uint8_t *in = p;
	enum dots r = DOTS_MORE;
	uint8_t room[ROOM];
	struct dots_in d;
	size_t left, got;

	dots_in_begin(&d, own);
	while (r == DOTS_MORE && (in < p + n || d.pendings != 0)) {
		left = (size_t)(p + n - in);
		if (left > piece)
			left = piece;
		r = dots_in_take(&d, &in, &left, room, 1 + piece % ROOM, &got);
		if (got > ROOM || in > p + n)
			abort();
		buf_put(out, room, got);
	}
	*used = (size_t)(in - p);
	return (r);
}

static void
there_and_back(const uint8_t *p, size_t n, size_t piece, bool own)
{
	struct buf wire = BUF_INIT, back = BUF_INIT;
	struct dots_out d;
	size_t used, part;

	dots_out_begin(&d);
	for (size_t at = 0; at < n; at += part) {
		part = n - at < piece ? n - at : piece;
		dots_out_put(&d, p + at, part, &wire);
	}
	if (own && piece % 5 == 0)
		dots_out_broken(&wire);
	else
		dots_out_end(&wire);
	/* what comes behind it is not touched */
	buf_put(&wire, "\n.\n", 3);
	if (take(wire.data, wire.len, piece, own, &back, &used) !=
		(own && piece % 5 == 0 ? DOTS_BROKEN : DOTS_END) ||
	    used != wire.len - 3 || back.len != n ||
	    (n != 0 && memcmp(back.data, p, n) != 0))
		abort();
	buf_fini(&wire);
	buf_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	size_t piece, used[2];
	bool own;

	if (size == 0)
		return (0);
	own = (data[0] & 0x80) != 0;
	piece = 1 + data[0] % 19;
	data++;
	size--;
	there_and_back(data, size, piece, own);
	if (take(data, size, piece, own, &a, &used[0]) !=
		take(data, size, size + 1, own, &b, &used[1]) ||
	    used[0] != used[1] || a.len != b.len ||
	    (a.len != 0 && memcmp(a.data, b.data, a.len) != 0))
		abort();
	buf_fini(&a);
	buf_fini(&b);
	return (0);
}
