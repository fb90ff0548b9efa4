/*
 * store_squeeze -- compressing bodies that were stored raw, for the owner of
 * the store (packs do it: pack_squeeze.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

#define SLICE (1u << 20)

struct store_squeeze {
	struct packs_squeeze *q; /* owned */
};

void
store_raw(const struct store *s, struct store_raw *out)
{
	struct packs_raw raw = { 0 };

	if (s->packs != NULL)
		packs_raw(s->packs, &raw);
	out->bytes = raw.bytes;
	out->sealed = raw.sealed;
	out->appended = raw.appended;
}

int
store_raw_look(struct store *s)
{
	int error = s->packs == NULL ? 0 : packs_raw_look(s->packs);

	if (error < 0)
		log_debug("%s/packs: cannot be looked at: %s", store_label(s),
		    strerror(-error));
	return (error);
}

int
store_squeeze_begin(struct store *s, struct store_squeeze **out)
{
	struct store_squeeze *y;
	int error;

	if ((error = store_writable(s)) != 0)
		return (error);
	if (s->packs == NULL)
		return (-EALREADY);
	if ((y = calloc(1, sizeof(*y))) == NULL)
		return (-ENOMEM);
	if ((error = packs_squeeze_begin(s->packs, &y->q)) != 0)
		free(y);
	else
		*out = y;
	return (error);
}

int
store_squeeze_run(struct store_squeeze *y, uint64_t bytes)
{
	return (packs_squeeze_run(y->q, bytes));
}

int
store_squeeze_swap(struct store_squeeze *y)
{
	return (packs_squeeze_swap(y->q));
}

int
store_squeeze_end(struct store_squeeze *y)
{
	int error = packs_squeeze_end(y->q);

	free(y);
	return (error);
}

int
store_squeeze(struct store *s)
{
	struct store_squeeze *y;
	int error, ended;

	if ((error = store_sync(s)) != 0 ||
	    (error = store_squeeze_begin(s, &y)) != 0)
		return (error);
	while (store_squeeze_run(y, SLICE) == 1)
		;
	error = store_squeeze_swap(y);
	ended = store_squeeze_end(y);
	return (error != 0 ? error : ended);
}
