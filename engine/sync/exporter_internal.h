/*
 * exporter_internal -- what the exporter knows: of exporter_events.c, and what
 * is told of it (exporter.c).
 */
#ifndef DSYNCFS_SYNC_EXPORTER_INTERNAL_H
#define DSYNCFS_SYNC_EXPORTER_INTERNAL_H

#include "base/hash.h"

#include "sync/brain_internal.h"

struct change {
	uint32_t uid;
	struct hint hint;
	/* what the peer's syncs changed, as hints */
	struct hint heard;
	bool expunged;
	uint32_t moved_to; /* expunged: it goes on under this UID */
	uint32_t moved_from; /* and where it came from */
	const char *guid; /* of the expunge */
	/* modseq of the last change of flags, and whether the row told it */
	uint64_t late;
	bool late_told;
	UT_hash_handle hh;
};

struct request {
	const char *guid; /* NULL: by uid */
	uint32_t uid;
};

struct range {
	uint32_t first, last;
};

/* UIDs; mostly one range. */
struct ranges {
	struct range *v; /* owned; sorted when all are known */
	size_t n, cap;
};

struct exporter {
	struct brain *b;
	/* events up to here are known */
	uint64_t seen_modseq;
	size_t cap_sorted;
	struct arena arena; /* owns the changes */
	struct change *changes;
	struct change **sorted;
	size_t n, next_change;
	struct ranges saved; /* by users here */
	struct ranges fetched; /* by syncs with this peer */
	/* messages from here on are still to be listed */
	uint32_t next_uid;
	uint32_t last_uid; /* of the last row */
	/* somebody here changed something */
	bool here;
	bool messages_done;
	struct arena request_arena; /* their GUIDs */
	struct request *request; /* owned */
	size_t n_request, cap_request, next_request;
	bool ordered; /* the requests, by UID */
};

/* event_fn of the events since the common state; arg: the exporter */
int exporter_on_event(void *arg, const struct event *ev);
/* All of those are known: sorts them. */
int exporter_sort(struct exporter *e);
/* event_fn of what comes while rows are told */
int exporter_on_late_event(void *arg, const struct event *ev);

#endif
