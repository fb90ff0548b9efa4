/*
 * fuzz_doveadm -- any bytes as what a doveadm server says: the same events
 * however they are cut, and none after the end.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/transport/transport_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	enum doveadm_event event;
	size_t at; /* bytes taken until then */
	char line[256];
};

/* The events, from pieces of the given size; how many. */
static size_t
play(const char *p, size_t n, size_t piece, struct told *t, size_t max)
{
	struct doveadm d = { 0 };
	enum doveadm_event e;
	size_t at = 0, k = 0, used;

	while (at < n && k < max && d.state != DOVEADM_OVER) {
		used = 0;
		e = doveadm_input(
		    &d, p + at, n - at < piece ? n - at : piece, &used);
		if (used == 0 || used > n - at)
			abort();
		at += used;
		if (e == DOVEADM_MORE)
			continue;
		t[k].event = e;
		t[k].at = at;
		memcpy(t[k].line, d.line, sizeof(d.line));
		k++;
	}
	return (k);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct told a[8], b[8];
	size_t n, m;

	if (size == 0)
		return (0);
	n = play((const char *)data, size, size, a, 8);
	m = play((const char *)data, size, 1 + data[0] % 7, b, 8);
	/* a greeting, being let in, and one end */
	if (n != m || n > 3)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (a[i].event != b[i].event || a[i].at != b[i].at)
			abort();
		if (a[i].event == DOVEADM_FAILED &&
		    (strcmp(a[i].line, b[i].line) != 0 || *a[i].line != '-'))
			abort();
		if (a[i].event == DOVEADM_STARTED &&
		    (a[i].at < 2 || memcmp(data + a[i].at - 2, "+\n", 2) != 0))
			abort();
	}
	return (0);
}
