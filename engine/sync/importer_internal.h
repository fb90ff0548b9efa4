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

#include "sync/brain_internal.h"
#include "sync/strindex.h"

struct row_keywords {
	struct keywords final, add, remove, informed;
};

/*
 * A row of the other side.  First a view of the item that brought it; what the
 * plan needs of it is kept, and there may be as many as the mailbox has
 * messages: so it is small.
 */
struct row {
	/* as in struct item_change */
	const char *guid;
	const char *key; /* importer_key.c; NULL: of an expunge */
	uint64_t modseq;
	const struct row_keywords *kw; /* NULL: none of any kind */
	uint32_t uid;
	uint32_t moved_to;
	uint8_t add, remove, final, informed;
	bool expunge : 1;
	bool elsewhere : 1;
	bool saved_here : 1;
	bool fetched : 1;
	bool filtered : 1; /* -t -e -I -O leave it out */
	bool kept : 1; /* in the importer's arena */
};

/* A change to a message that is here. */
struct op {
	uint32_t uid;
	/* under which UID its hints are known */
	uint32_t hint_uid;
	uint64_t modseq; /* when it was planned */
	const char *guid;
	const struct row *row; /* the other side's state */
	/* an expunge: the UID that it got over there; 0: it is gone there */
	uint32_t moved_to;
	/*
	 * Expunges of one GUID are a stack: its first one says which is on top,
	 * each one which is under it; OP_NONE: none
	 */
	uint32_t top, under;
	bool moved; /* an expunge that became a move */
	/* an expunge of a message that the peer has in another mailbox */
	bool elsewhere;
	/* the modseq is raised, also where no flag changes */
	bool raise;
	/* flags: written as a change of a user here */
	bool own;
};

#define OP_NONE UINT32_MAX

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

/* A mail that has come and waits for its turn. */
struct parked {
	struct item *mail; /* owned */
	struct spool *spool; /* owned */
};

struct fetch {
	/* the GUID, or "#UID" for a message without one */
	const char *key;
	struct parked *parked; /* owned; FETCH_PARKED */
	uint32_t uid; /* at the peer */
	uint32_t saved_uid;
	enum fetch_state state;
	bool requested;
};

/* A message under a new UID: moved from another one, or new here. */
struct create {
	const char *guid; /* here; "": the location gives one */
	const struct row *row; /* NULL: only renumbered */
	uint32_t final;
	uint32_t from; /* 0: new */
	uint32_t fetch; /* of a new one: which of the fetches */
	/*
	 * `from` was expunged there and this one saved, which looks like a
	 * move; nobody says that it was one
	 */
	bool expunged;
	/* `from` is gone: it is only noted under its UID at the other side */
	bool gone;
};

/* UIDs, hashed. */
struct uid_set {
	uint32_t *slot; /* owned; 0: free */
	size_t n, cap;
};

struct local {
	uint32_t uid;
	const char *guid; /* the store's */
	const char *key; /* importer_key.c; NULL: not yet known */
	uint64_t size; /* as in struct msg; 0: not known */
	bool filtered;
	bool unsized; /* whether it is filtered depends on its size, too */
};

#define KEY_SIZE (HDR_HASH_LEN + 24)

struct importer {
	struct brain *b;
	struct arena arena; /* the plan's rows and strings */
	uint32_t last_uid; /* of the rows so far */
	char row_key[KEY_SIZE]; /* of the row at hand */
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
	const struct row **maybe; /* owned array; rows that may be new */
	size_t n_maybe, cap_maybe;
	/* owned; local UIDs that may have been expunged there */
	uint32_t *doubt;
	size_t n_doubt, cap_doubt;
	struct ops flags, expunges;
	/*
	 * Once all rows have come, of expunges: of each GUID the first one; and
	 * those with moved_to, sorted by it (owned)
	 */
	bool indexed;
	struct strindex expunged;
	uint32_t *movers;
	size_t n_movers;
	/* local UIDs that expunges take: they are in nobody's queue */
	struct uid_set doomed;
	/* local UIDs with flags planned by a row of their older UID there */
	struct uid_set elsewhere;
	/* UIDs of the other side that were expunged here under older UIDs */
	struct uid_set buried;
	/* GUIDs (in hex) that the other side expunged, since its history begins
	 */
	struct strindex told_gone;
	const char **told; /* owned array; what told_gone finds */
	size_t n_told, cap_told;
	struct create *create; /* owned; sorted by final */
	size_t n_create, cap_create, next_create, next_request;
	struct fetch *fetch; /* owned */
	size_t n_fetch, cap_fetch;
	struct strindex fetch_of; /* by key */
	/* number plus 1; 0: none */
	uint32_t reading;
	/* mails that wait, and the bytes of them in memory */
	unsigned waiting;
	size_t waiting_bytes;
	struct item *reading_mail;
	struct spool *reading_spool;
	unsigned spools;
	/* backup: every UID could be reproduced */
	bool exact;
	/*
	 * backup: the source has a message whose header nobody could read, so
	 * any that is left over here may be that
	 */
	bool blind;
	bool changed; /* something was changed here */
	uint32_t common_uid;
};

/* importer.c */
int importer_local_head(struct importer *im, struct local **out);
/* *kept: r, or its copy in the arena */
int importer_keep_row(
    struct importer *im, const struct row *r, const struct row **kept);
int importer_queue_local(struct importer *im, struct local *l);
int importer_queue_remote(struct importer *im, const struct row *r);
int importer_plan_flags(struct importer *im, const struct msg *m,
    const struct row *r, uint32_t hint_uid);
/*
 * The same of a message that both have above the common UID.  A Dovecot leaves
 * the flags of its instance as they are (6.6): where it would have to change
 * them the next run compares in full, and does.
 */
int importer_plan_pair(struct importer *im, const struct msg *m,
    const struct row *r);
/* moved_to: where it went over there, 0: it is gone there */
int importer_plan_expunge(
    struct importer *im, const struct msg *m, uint32_t moved_to);

int importer_ops_add(struct ops *l, const struct op *o);
bool importer_uids_have(const struct uid_set *s, uint32_t uid);
/* Takes back what was planned for a message. */
void importer_spare(struct ops *o, uint32_t uid);

/* importer_key.c: what messages are told apart by, GUIDs or header hashes. */
/* Sets r->key: lent by c, or until the next row. */
int importer_row_key(
    struct importer *im, const struct item_change *c, struct row *r);
/* Lent until the next batch; read when it is asked for first.  -ENOMEM. */
int importer_local_key(struct importer *im, struct local *l, const char **key);
/*
 * By what it is linked with a message of another UID; "": by nothing.  Dovecot
 * links by GUIDs alone; where it need not come to the same UIDs hashes do as
 * well, unless they say nothing.
 */
const char *importer_link_key(const struct importer *im, const char *key);
void importer_filter_local(
    const struct brain *b, const struct msg *m, struct local *l);
/* What could not be done while the store was walked through. */
int importer_size_locals(struct importer *im);

/* importer_plan.c; importer_changes_done is there */
void importer_plan_init(struct importer *im);
int importer_expunge_add(struct importer *im, const struct op *o);

/*
 * importer_foreign.c: 6.5 and 6.6 to the letter, as Dovecot's own brain
 * computes them.
 */
int importer_foreign_row(struct importer *im, const struct row *r);
/* The row is of an older UID of m. */
int importer_plan_moved(
    struct importer *im, const struct msg *m, const struct row *r);
int importer_foreign_done(struct importer *im);
/*
 * What users here saved since the sync of the mailbox began, under UIDs that
 * are common now, gets others: the peer would take it for expunged over there.
 */
int importer_foreign_late(struct importer *im);

/* guard.c: looks at the plan. */
int guard_plan(struct importer *im);
/* conflict.c: UIDs that the plan changes. */
void conflicts_uids(struct importer *im);
/* A row of a message that was expunged here. */
void conflict_expunged_here(struct brain *b, const struct row *row);

/* importer_apply.c */
int importer_merge(struct importer *im, struct arena *a, const struct msg *m,
    const struct row *row, uint32_t hint_uid, struct msg_update *u,
    bool *differs, struct merge_result *merged);

/* importer_fetch.c */
/* The body of a row's message is needed; guid: what it would have here. */
int importer_fetch(struct importer *im, const struct row *row, const char *guid,
    uint32_t *fetch);
struct fetch *importer_fetch_of(struct importer *im, const struct create *c);
/* What has come for it, if anything, is let go. */
void importer_unpark(struct importer *im, struct fetch *f);
void importer_fetches_init(struct importer *im);
void importer_fetches_free(struct importer *im);

#endif
