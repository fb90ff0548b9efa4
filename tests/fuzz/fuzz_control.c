/*
 * fuzz_control -- whatever the other end of the control socket may send, read
 * as both ends read it.
 */
#include "control/control_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct rd body, again;
	const char *const *argv, *text;
	enum control_stream stream;
	enum control_kind kind;
	struct buf b = BUF_INIT;
	size_t used, n, at = 0;
	uint8_t type;
	int argc, status;

	while (control_frame(data + at, size - at, &used, &type, &body) > 0) {
		at += used;
		again = body;
		if (control_decode_request(&again, &a, &kind, &argc, &argv) == 0) {
			if (argv[argc] != NULL ||
			    control_encode_request(&b, kind, argc, argv) != 0)
				__builtin_trap();
		}
		again = body;
		if (control_decode_output(&again, &stream, &text, &n) == 0 &&
		    n > size)
			__builtin_trap();
		again = body;
		(void)control_decode_status(&again, &status);
		buf_reset(&b);
		arena_fini(&a);
	}
	buf_fini(&b);
	arena_fini(&a);
	return (0);
}
