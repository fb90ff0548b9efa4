/*
 * scan -- refresh: the tree, the subscriptions, then each mailbox that changed.
 *
 * What is wrong with one mailbox does not stop the others; what is wrong with
 * the sidecar or the memory does.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ids {
	const char *only; /* NULL: all */
	uint32_t *v; /* owned */
	size_t n, cap;
};

static int
on_box(void *arg, const struct mailbox *m)
{
	struct ids *ids = arg;

	if (!m->exists || !m->selectable ||
	    (ids->only != NULL && strcmp(ids->only, m->name) != 0))
		return (0);
	if (ids->n == ids->cap) {
		size_t cap = ids->cap == 0 ? 32 : ids->cap * 2;
		uint32_t *v = realloc(ids->v, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		ids->v = v;
		ids->cap = cap;
	}
	ids->v[ids->n++] = m->id;
	return (0);
}

int
md_refresh(struct replica *r, const char *mailbox, unsigned *problems)
{
	struct maildir *m = maildir_of(r);
	struct ids ids = { .only = mailbox };
	int rc;

	if (store_readonly(r->store))
		return (-EROFS);
	if ((rc = md_scan_tree(m, problems)) == 0 &&
	    (rc = store_mailboxes(r->store, on_box, &ids)) == 0)
		rc = md_scan_subs(m, problems);
	for (size_t i = 0; rc == 0 && i < ids.n; i++) {
		rc = md_scan_box(m, ids.v[i], problems);
		if (rc != 0 && rc != -ENOMEM && !store_readonly(r->store)) {
			(*problems)++;
			rc = 0;
		}
	}
	free(ids.v);
	return (rc);
}
