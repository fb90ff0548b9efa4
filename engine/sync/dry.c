/*
 * dry -- what a dry run has planned so far, as far as later decisions depend on
 * it: whether a message that is needed is here already (then it is copied, else
 * it is transferred).  Mailboxes are planned one after the other, so a real run
 * would meet in a later one what it did in those before.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct place {
	uint32_t mailbox, uid;
};

struct dry_saved {
	UT_hash_handle hh;
	char guid[]; /* the key */
};

struct dry_gone {
	struct place place; /* the key */
	UT_hash_handle hh;
};

int
dry_save(struct brain *b, const char *guid)
{
	size_t n = strlen(guid);
	struct dry_saved *s;

	HASH_FIND(hh, b->dry_saved, guid, n, s);
	if (s != NULL || n == 0)
		return (0);
	s = malloc(sizeof(*s) + n + 1);
	if (s == NULL)
		return (-ENOMEM);
	memcpy(s->guid, guid, n + 1);
	HASH_ADD_KEYPTR(hh, b->dry_saved, s->guid, n, s);
	return (0);
}

int
dry_expunge(struct brain *b, uint32_t mailbox, uint32_t uid)
{
	struct place p = { mailbox, uid };
	struct dry_gone *g;

	HASH_FIND(hh, b->dry_gone, &p, sizeof(p), g);
	if (g != NULL)
		return (0);
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return (-ENOMEM);
	g->place = p;
	HASH_ADD(hh, b->dry_gone, place, sizeof(g->place), g);
	return (0);
}

static int
stays(void *arg, uint32_t mailbox, const struct msg *m)
{
	const struct brain *b = arg;
	struct place p = { mailbox, m->uid };
	struct dry_gone *g;

	for (size_t i = 0; i < b->plan.drops; i++)
		if (b->plan.drop[i]->id == mailbox)
			return (0);
	HASH_FIND(hh, b->dry_gone, &p, sizeof(p), g);
	return (g == NULL);
}

int
dry_has(struct brain *b, const char *guid, bool *has)
{
	struct dry_saved *s;
	int rc = 0;

	HASH_FIND(hh, b->dry_saved, guid, strlen(guid), s);
	if (s == NULL)
		rc = store_msgs_by_guid(b->r->store, guid, stays, b);
	if (rc < 0)
		return (rc);
	*has = s != NULL || rc == 1;
	return (0);
}

void
dry_fini(struct brain *b)
{
	struct dry_saved *s, *next_s;
	struct dry_gone *g, *next_g;

	HASH_ITER (hh, b->dry_saved, s, next_s) {
		HASH_DEL(b->dry_saved, s);
		free(s);
	}
	HASH_ITER (hh, b->dry_gone, g, next_g) {
		HASH_DEL(b->dry_gone, g);
		free(g);
	}
}
