/*
 * fuzz_uidlist -- any bytes as dovecot-uidlist: what is taken from them holds
 * its promises, and what we write of it reads back the same.
 */
#include "backends/maildir/maildir_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same(const struct uidlist *a, const struct uidlist *b)
{
	if (a->uidvalidity != b->uidvalidity || a->next != b->next ||
	    !guid_eq(&a->guid, &b->guid) || strcmp(a->rest, b->rest) != 0)
		abort();
	for (size_t i = 0; i < b->n; i++) {
		const struct uidrec *r = uidlist_find(a, b->rec[i].base),
				    *s = &b->rec[i];

		if (r == NULL || r->uid != s->uid ||
		    r->pop3_order != s->pop3_order || r->vsize != s->vsize ||
		    strcmp(r->rest, s->rest) != 0)
			abort();
		if ((r->guid == NULL) != (s->guid == NULL) ||
		    (r->guid != NULL && strcmp(r->guid, s->guid) != 0))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uidlist a, b;
	struct buf out = BUF_INIT;

	uidlist_init(&a);
	uidlist_init(&b);
	if (uidlist_parse(&a, (const char *)data, size) != 0)
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (a.rec[i].uid == 0 || a.rec[i].uid >= a.next ||
		    (i > 0 && a.rec[i].uid <= a.rec[i - 1].uid) ||
		    uidlist_find_uid(&a, a.rec[i].uid) != &a.rec[i] ||
		    strchr(a.rec[i].base, '/') != NULL)
			abort();
	if (a.uidvalidity != 0 && !guid_is_zero(&a.guid)) {
		uidlist_format(&out, &a);
		if (uidlist_parse(&b, (const char *)out.data, out.len) != 0 ||
		    b.problem != NULL || b.rewrite)
			abort();
		same(&a, &b);
	}
	buf_fini(&out);
	uidlist_fini(&b);
	uidlist_fini(&a);
	return (0);
}
