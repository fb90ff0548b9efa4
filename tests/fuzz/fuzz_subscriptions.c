/*
 * fuzz_subscriptions -- any bytes as a file of subscriptions: names come and
 * go, and no other line is touched.
 */
#include "backends/maildir/maildir_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT;
	struct subs a, b;
	char sep = '.';

	if (size > 0)
		sep = *data & 1 ? '/' : '.';
	subs_init(&a, sep);
	subs_init(&b, sep);
	if (subs_parse(&a, (const char *)data, size) != 0 ||
	    subs_add(&a, "one/two") != 0 || !subs_has(&a, "one/two"))
		abort();
	subs_format(&out, &a);
	if (subs_parse(&b, (const char *)out.data, out.len) != 0 ||
	    a.n != b.n || a.v1 != b.v1)
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (strcmp(a.line[i].raw, b.line[i].raw) != 0 ||
		    strcmp(a.line[i].name, b.line[i].name) != 0)
			abort();
	subs_remove(&a, "one/two");
	if (subs_has(&a, "one/two"))
		abort();
	buf_fini(&out);
	subs_fini(&b);
	subs_fini(&a);
	return (0);
}
