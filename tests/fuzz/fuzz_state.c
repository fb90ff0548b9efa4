/*
 * fuzz_state -- any text as a state string: what is taken from it is written
 * again and reads back the same.
 */
#include "sync/state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
same(void *arg, const struct item_state *s)
{
	const struct item_state *o = state_find(arg, &s->mailbox);

	if (o == NULL || o->last_uidvalidity != s->last_uidvalidity ||
	    o->last_common_uid != s->last_common_uid ||
	    o->last_common_modseq != s->last_common_modseq ||
	    o->last_common_pvt_modseq != s->last_common_pvt_modseq ||
	    o->last_messages_count != s->last_messages_count)
		abort();
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_list a, b;
	struct buf out = BUF_INIT;
	const char *problem = NULL;
	char *text = malloc(size + 1);

	if (text == NULL)
		return (0);
	memcpy(text, data, size);
	text[size] = '\0';
	state_list_init(&a);
	state_list_init(&b);
	if (state_parse(&a, text, &problem) == 0) {
		state_format(&a, &out);
		if (state_parse(&b, buf_cstr(&out), &problem) != 0 ||
		    b.n != a.n)
			abort();
		(void)state_each(&a, same, &b);
	} else if (problem == NULL || a.n != 0) {
		abort();
	}
	buf_fini(&out);
	state_list_fini(&b);
	state_list_fini(&a);
	free(text);
	return (0);
}
