/*
 * importer_internal -- the plan that importer.c makes and importer_apply.c
 * carries out.
 *
 * I1  Nothing is changed before the plan is whole and the guard has seen it.
 * I2  Each message is looked at again right before it is changed; one that
 * changed since the plan is left alone and the next run takes it. I3  New UIDs
 * are given in ascending order, since UIDs only grow. I4  Expunges come last:
 * until then their bodies can be copied, and a killed run has lost nothing.
 */
#ifndef DSYNCFS_SYNC_IMPORTER_INTERNAL_H
#define DSYNCFS_SYNC_IMPORTER_INTERNAL_H

#include <uthash.h>

#include "sync/brain_internal.h"

/* A change to a message that is here. */
struct op {
	uint32_t uid;
	/* under which UID its hints are known */
	uint32_t hint_uid;
	uint64_t modseq; /* when it was planned */
	const char *guid;
	const struct item_change *row; /* the other side's state */
	/* an expunge: the UID that it got over there; 0: it is gone there */
	uint32_t moved_to;
	bool moved; /* an expunge that became a move */
	/* an expunge of a message that the peer has in another mailbox */
	bool elsewhere;
};

struct ops {
	struct op *op; /* owned */
	size_t n, cap, next;
};

/* A body that a mailbox needs once or several times. */
enum fetch_state {
	FETCH_LOCAL,
	FETCH_NEEDED,
	FETCH_PARKED,
	FETCH_SAVED,
	FETCH_FAILED
};
struct fetch {
	/* the GUID, or "#UID" for a message without one */
	const char *key;
	enum fetch_state state;
	uint32_t uid; /* at the peer */
	uint32_t saved_uid;
	bool requested;
	struct item *mail; /* FETCH_PARKED; owned */
	struct spool *spool; /* FETCH_PARKED; owned */
	UT_hash_handle hh;
};

/* A message under a new UID: moved from another one, or new here. */
struct create {
	uint32_t final;
	uint32_t from; /* 0: new */
	/*
	 * `from` was expunged there and this one saved, which looks like a
	 * move; nobody says that it was one
	 */
	bool expunged;
	/* `from` is gone: it is only noted under its UID at the other side */
	bool gone;
	const char *guid;
	const struct item_change *row; /* NULL: only renumbered */
	struct fetch *fetch;
};

/* A few UIDs, in the order they came. */
struct uid_set {
	uint32_t *uid; /* owned */
	size_t n, cap;
};

struct local {
	uint32_t uid;
	const char *guid;
	bool filtered;
};

struct importer {
	struct brain *b;
	struct arena arena; /* the plan's strings */
	/* owned; those that the plan refers to */
	struct item **rows;
	size_t n_rows, cap_rows;
	uint32_t last_uid; /* of the rows so far */
	/* Local messages above the common UID, a batch at a time. */
	struct arena batch_arena;
	struct local batch[BATCH];
	size_t n_batch, next_local;
	uint32_t next_uid;
	bool locals_done;
	struct merge_queue queue;
	/* With another kind of peer (importer_foreign.c). */
	bool found; /* the last common UID is known */
	uint32_t match; /* the last common UID so far */
	struct item **maybe; /* owned array; rows that may be new */
	size_t n_maybe, cap_maybe;
	/* owned; local UIDs that may have been expunged there */
	uint32_t *doubt;
	size_t n_doubt, cap_doubt;
	struct ops flags, expunges;
	/* local UIDs that expunges take: they are in nobody's queue */
	struct uid_set doomed;
	/* local UIDs with flags planned by a row of their older UID there */
	struct uid_set elsewhere;
	/* UIDs of the other side that were expunged here under older UIDs */
	struct uid_set buried;
	/* owned: what the other side expunged, since its history begins */
	struct guid *told_gone;
	size_t n_told_gone, cap_told_gone;
	struct create *create; /* owned; sorted by final */
	size_t n_create, cap_create, next_create, next_request;
	struct fetch *fetches; /* uthash; in the arena */
	struct fetch *reading;
	struct item *reading_mail;
	struct spool *reading_spool;
	unsigned spools;
	/* backup: every UID could be reproduced */
	bool exact;
	bool changed; /* something was changed here */
	uint32_t common_uid;
};

/* importer.c */
bool importer_same_guid(const char *a, const char *b);
int importer_local_head(struct importer *im, struct local **out);
int importer_keep_row(struct importer *im, struct item *i);
int importer_queue_local(struct importer *im, const struct local *l);
int importer_queue_remote(struct importer *im, struct item *i);
int importer_plan_flags(struct importer *im, const struct msg *m,
    struct item *i, uint32_t hint_uid, bool kept);
/* moved_to: where it went over there, 0: it is gone there */
int importer_plan_expunge(
    struct importer *im, const struct msg *m, uint32_t moved_to);

/*
 * importer_foreign.c: 6.5 and 6.6 to the letter, as Dovecot's own brain
 * computes them.
 */
int importer_foreign_row(struct importer *im, struct item *i);
int importer_foreign_done(struct importer *im);

/* guard.c: looks at the plan. */
int guard_plan(struct importer *im);
/* conflict.c: UIDs that the plan changes. */
void conflicts_uids(struct importer *im);

/* importer_apply.c */
int importer_merge(struct importer *im, struct arena *a, const struct msg *m,
    const struct item_change *row, uint32_t hint_uid, struct msg_update *u,
    bool *differs, struct merge_result *merged);
struct fetch *importer_fetch(
    struct importer *im, const char *guid, uint32_t uid);
void importer_fetches_free(struct importer *im);

#endif
