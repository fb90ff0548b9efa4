/*
 * fuzz_record -- any bytes as a frame's payload: decoding gives records or an
 * error (R1), and what it gives survives being written again (R2).
 */
#include <stdlib.h>
#include <string.h>
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
twice(const struct record *r)
{
	struct buf a = BUF_INIT, b = BUF_INIT, scratch = BUF_INIT;
	struct arena mem = ARENA_INIT;
	struct record again;
	struct rd in;

	record_put(&a, &scratch, r);
	rd_init(&in, a.data, a.len);
	if (a.error == 0) {
		if (record_get(&in, &mem, &again) != 0 || rd_left(&in) != 0)
			abort();
		record_put(&b, &scratch, &again);
		if (b.error == 0 &&
		    (a.len != b.len || memcmp(a.data, b.data, a.len) != 0))
			abort();
	}
	arena_fini(&mem);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena mem = ARENA_INIT;
	struct frame_head h;
	struct record r;
	struct rd in;
	int error;

	rd_init(&in, data, size);
	if (frame_head_get(&in, &h) != 0)
		return (0);
	while (rd_left(&in) > 0 && !in.bad) {
		error = record_get(&in, &mem, &r);
		if (error == 0)
			twice(&r);
		arena_fini(&mem);
		if (error < 0)
			break;
	}
	return (0);
}
