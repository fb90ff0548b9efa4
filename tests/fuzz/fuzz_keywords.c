/*
 * fuzz_keywords -- any bytes as dovecot-keywords: names keep their numbers when
 * they are written and read again.
 */
#include "backends/maildir/maildir_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kwtable a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
	struct buf out = BUF_INIT;
	unsigned bad = 0;

	if (kwtable_parse(&a, (const char *)data, size, &bad) != 0)
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (a.name[i] != NULL &&
		    (!keyword_valid(a.name[i]) ||
			kwtable_find(&a, a.name[i]) != (int)i))
			abort();
	kwtable_format(&out, &a);
	bad = 0;
	if (kwtable_parse(&b, (const char *)out.data, out.len, &bad) != 0 ||
	    bad != 0 || b.n != a.n)
		abort();
	for (size_t i = 0; i < a.n; i++)
		if ((a.name[i] == NULL) != (b.name[i] == NULL) ||
		    (a.name[i] != NULL && strcmp(a.name[i], b.name[i]) != 0))
			abort();
	buf_fini(&out);
	kwtable_fini(&b);
	kwtable_fini(&a);
	return (0);
}
