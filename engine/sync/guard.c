/*
 * guard -- stops a sync that would take away more than max_delete allows: mail
 * that went by an accident (a disk that is not mounted, a store restored to an
 * old day) looks to the other side as if it had been deleted.
 *
 * It looks at the plan of a mailbox before anything is changed in it, on either
 * side: a side applies its plan when the peer's plan has passed (box.c).  What
 * merely moved does not count.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* A mailbox with fewer messages is emptied by hand often enough. */
#define EMPTIED_MIN 6

#define HOW_TO "If that is right, run again with --no-max-delete"

/* 0 is no guard, as 100. */
static unsigned
share(unsigned percent)
{
	return (percent == 0 ? 100 : percent);
}

void
guard_of_slave(struct brain *b)
{
	if (b->peer_dsyncfs &&
	    (!b->own_max_delete_firm ||
		share(b->own_max_delete) >= share(b->o.max_delete_percent)))
		return;
	b->o.max_delete_percent = b->own_max_delete;
	b->o.max_delete_min = b->own_max_delete_min;
}

int
guard_source(const struct brain *b)
{
	if (!b->source || !store_damaged(b->r->store))
		return (0);
	log_error("%s: is damaged: a backup of it would take away from %s what "
		  "it has lost; see dsyncfs-sync verify --repair",
	    b->r->label, b->peer_name);
	return (-EIO);
}

/* n of all messages would go. */
static bool
too_many(const struct sync_options *o, uint64_t n, uint64_t all)
{
	uint64_t few =
	    o->max_delete_min < EMPTIED_MIN ? o->max_delete_min : EMPTIED_MIN;

	if (o->max_delete_percent == 0 || o->max_delete_percent >= 100 ||
	    n == 0)
		return (false);
	return ((n >= all && all >= few) ||
	    (all >= o->max_delete_min &&
		n * 100 > all * o->max_delete_percent));
}

bool
guard_allows(const struct brain *b, uint64_t n)
{
	return (!too_many(&b->o, n, b->box.own.messages));
}

int
guard_mailbox(struct brain *b, uint64_t n)
{
	uint64_t all = b->box.own.messages;

	if (!too_many(&b->o, n, all))
		return (0);
	(void)snprintf(b->why, sizeof(b->why),
	    "mailbox %s would lose %llu of its %llu messages, which "
	    "max_delete = %u%% does not allow; nothing was changed in "
	    "it. " HOW_TO,
	    b->box.name, (unsigned long long)n, (unsigned long long)all,
	    b->o.max_delete_percent);
	log_error("%s: %s", b->r->label, b->why);
	return (-ECANCELED);
}

static int
is_other(void *arg, uint32_t mailbox, const struct msg *m)
{
	const struct importer *im = arg;

	(void)m;
	return (mailbox != im->b->box.id);
}

/* Expunges that come from the peer; what lies elsewhere as well is not lost. */
int
guard_plan(struct importer *im)
{
	struct store *s = im->b->r->store;
	uint64_t n = 0;

	for (size_t i = 0; i < im->expunges.n; i++)
		n += !im->expunges.op[i].moved && !im->expunges.op[i].elsewhere;
	if (guard_allows(im->b, n))
		return (0);
	n = 0;
	for (size_t i = 0; i < im->expunges.n; i++) {
		const struct op *o = &im->expunges.op[i];
		int rc = o->moved || o->elsewhere
		    ? 1
		    : store_msgs_by_guid(s, o->guid, is_other, im);

		if (rc < 0)
			return (rc);
		n += rc == 0;
	}
	return (guard_mailbox(im->b, n));
}

/* ---- whole mailboxes ---- */

struct count {
	struct brain *b;
	uint64_t lost;
	int rc;
};

/* In a mailbox that stays. */
static int
lies_elsewhere(void *arg, uint32_t mailbox, const struct msg *m)
{
	const struct count *c = arg;
	const struct tree_plan *p = &c->b->plan;

	(void)m;
	for (size_t i = 0; i < p->drops; i++)
		if (p->drop[i]->id == mailbox)
			return (0);
	return (1);
}

static int
count_lost(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct count *c = arg;
	int rc;

	(void)mailbox;
	rc = store_msgs_by_guid(c->b->r->store, m->guid, lies_elsewhere, c);
	c->lost += rc == 0;
	c->rc = rc < 0 ? rc : 0;
	return (c->rc);
}

int
guard_tree(struct brain *b)
{
	for (size_t i = 0; i < b->plan.drops; i++) {
		const struct tree_node *n = b->plan.drop[i];
		struct count c = { .b = b };
		int rc;

		/* Only those that could stop it are read. */
		if (guid_is_zero(&n->guid) ||
		    !too_many(&b->o, n->messages, n->messages))
			continue;
		rc = store_msgs(b->r->store, n->id, 1, count_lost, &c);
		if (rc < 0)
			return (rc);
		if (!too_many(&b->o, c.lost, n->messages))
			continue;
		(void)snprintf(b->why, sizeof(b->why),
		    "mailbox %s with its %u message%s would be deleted, which "
		    "max_delete = %u%% does not allow; nothing was "
		    "deleted. " HOW_TO,
		    n->name, n->messages, n->messages == 1 ? "" : "s",
		    b->o.max_delete_percent);
		log_error("%s: %s", b->r->label, b->why);
		return (-ECANCELED);
	}
	return (0);
}
