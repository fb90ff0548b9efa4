/*
 * brain_internal -- what the files of the brain share.
 *
 * A brain goes through enum phase once, and for each mailbox through two tracks
 * that run side by side: what it receives (rx) and what it sends (tx).  Waits
 * between the two are those of specs/dsync-protocol.md 3.2.
 *
 *   rx         next item expected          goes on when
 *   ATTRIBUTE  A or .                      always
 *   CHANGE     C or .                      always
 *   REQUEST    R or .                      always
 *   MAIL       M or .                      the importer took the mail (which
 * may wait for its body) STATE      S                           tx has sent its
 * S DONE
 *
 *   tx         sends                       goes on when
 *   ATTRIBUTE  .                           always
 *   CHANGE     C* .                        the channel is not full
 *   REQUEST    R* .                        rx is past CHANGE; the plan is made
 * here APPLY      nothing                     batches of changes to what is
 * there MAIL       M* .                        rx is past REQUEST COMMIT
 * nothing                     rx is past MAIL and all mails are saved STATE S
 *   DONE
 *
 * A side that does not import skips rx ATTRIBUTE, CHANGE, MAIL and tx REQUEST,
 * APPLY; one that does not export skips rx REQUEST and tx ATTRIBUTE, CHANGE,
 * MAIL.
 */
#ifndef DSYNCFS_SYNC_BRAIN_INTERNAL_H
#define DSYNCFS_SYNC_BRAIN_INTERNAL_H

#include "base/hdr_hash.h"
#include "sync/brain.h"
#include "sync/merge.h"
#include "sync/peer.h"
#include "sync/state.h"
#include "sync/tree.h"

#define BATCH 64 /* messages a step, so that a mount stays responsive */

/* From which minor version of the peer on (specs/dsync-protocol.md 1.4) ... */
enum {
	MINOR_ATTRIBUTES = 1, /* there is a list of attributes */
	MINOR_FINISH = 3 /* the slave says F */
};

enum phase {
	PHASE_HELLO,
	PHASE_STATES,
	PHASE_TREE,
	PHASE_TREE_WAIT,
	PHASE_NEXT,
	PHASE_BOX,
	PHASE_FINISH,
	PHASE_DONE
};
enum rx {
	RX_BOX,
	RX_ATTRIBUTE,
	RX_CHANGE,
	RX_REQUEST,
	RX_MAIL,
	RX_STATE,
	RX_DONE
};
enum tx {
	TX_BOX,
	TX_ATTRIBUTE,
	TX_CHANGE,
	TX_REQUEST,
	TX_APPLY,
	TX_MAIL,
	TX_COMMIT,
	TX_STATE,
	TX_DONE
};

struct conflict;
struct dry_gone;
struct dry_saved;
struct exporter;
struct hash_slot;
struct importer;

/* The mailbox that is being synced. */
struct box {
	/* lent by the brain's plan; NULL: no such mailbox here */
	const struct tree_box *plan;
	/* 0: would be created (dry run) */
	uint32_t id;
	const char *name;
	struct item_mailbox own, peer; /* as sent, but for the next */
	/* the UIDVALIDITY that the peer was told */
	uint32_t told_uidvalidity;
	bool agreed;
	/* as it was saved; as it will be */
	struct peer_state loaded, state;
	struct guid token; /* of S; source of a backup */
	uint32_t common_uid; /* 0: compared in full */
	/* own changes after this modseq are exported, and are hints */
	uint64_t since;
	/* since then the two have not been synced, but before */
	bool since_sync;
	/* an old UID means the same message, or its GUID says so */
	bool trust_uids;
	/* messages are told apart by their headers (identity.c) */
	bool by_hash;
	/* GUIDs are compared in their 128-bit form */
	bool guid128;
	/* up to here a UID is known to mean the same message on both sides */
	uint32_t known_uid;
	struct hash_slot *hashes; /* owned; NULL: none read yet */
	enum rx rx;
	enum tx tx;
	struct exporter *ex;
	struct importer *im;
	/* the importer has made its plan */
	bool planned;
	/* distrust: the saved state was wrong, forget it */
	bool changes, incomplete, distrust;
	struct item_state sent, got;
	struct sync_counts counts;
	/* to be told when the mailbox is done; in the arena */
	struct conflict *conflicts, *last_conflict;
	struct arena conflict_arena;
};

struct brain {
	struct replica *r;
	struct channel *c;
	struct sync_options o;
	struct sync_events ev;
	bool master;
	enum phase phase;
	/* the code that every later step gives */
	int failed;
	bool sent_hello, sent_end;
	/* before the next step, without the lock */
	bool want_commit;
	/*
	 * The log up to here is durable, but for states, which need not be (P1)
	 */
	uint64_t committed;
	/* the master's; strings in params_item */
	struct item_handshake params;
	struct item *params_item;
	bool peer_dsyncfs;
	unsigned peer_minor, hash_version;
	/* replica id, or one made from the host name */
	struct guid peer;
	struct guid token; /* random, of this sync */
	bool shares_events;
	char *peer_name; /* owned; for messages */
	/* source: never changed by this sync */
	bool imports, exports, reverts, source;
	struct tree local, remote;
	bool got_nodes, got_deletes, got_hello, got_states, sent_deletes;
	bool refreshed;
	/* the own D is sent after the peer's (brain_tree.c) */
	bool deletes_last;
	/* with another kind of peer: the states that both know */
	struct state_list states;
	struct tree_plan plan;
	/* master: index into plan.box */
	size_t next;
	struct box box;
	/* what a slave does where the master has no guard */
	unsigned own_max_delete, own_max_delete_min;
	bool own_max_delete_firm;
	bool stays; /* another sync follows on this link */
	char why[400]; /* the guard's reason, for the peer too */
	/* uthash, owned; dry.c */
	struct dry_saved *dry_saved;
	struct dry_gone *dry_gone;
	struct sync_result result;
};

/* brain.c */
int brain_send(struct brain *b, struct item *i);
int brain_send_end(struct brain *b);
/* reports, frees, -EBADMSG */
int brain_protocol(struct brain *b, const struct item *i, const char *expected);
void brain_change(struct brain *b, const char *mailbox, uint32_t uid,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* -m -x */
bool brain_filter_name(const struct item_handshake *p, const char *name);
bool brain_stopped(const struct brain *b);
/*
 * One bad item: counted and forgotten; other errors are passed on.  Already
 * reported.
 */
int brain_bad_item(struct brain *b, int rc);

/* brain_tree.c */
int brain_tree_build(struct brain *b);
int brain_tree_send(struct brain *b);
int brain_tree_send_nodes(struct brain *b, const struct tree *t);
/* brain_tree_dsync.c: the peer is told its own tree. */
bool brain_tree_echoes(const struct brain *b);
int brain_tree_echo(struct brain *b);
/* takes i over */
int brain_tree_recv(struct brain *b, struct item *i);
int brain_tree_apply(struct brain *b);
/* What an action gave: 0 where it is a reason to run again only. */
int brain_tree_result(struct brain *b, int rc);
/* m->time 0: unknown; t: of the plan, or NULL */
int brain_tree_create(
    struct brain *b, const struct mailbox_new *m, struct tree_box *t);
/* time 0: unknown; the caller tells of it */
int brain_tree_rename(
    struct brain *b, uint32_t id, const char *name, int64_t time);
int brain_tree_subscribe(
    struct brain *b, const char *name, bool on, int64_t time);
int brain_tree_empty_inbox(struct brain *b, uint32_t id);

/* brain_tree_dsync.c: with another kind of peer. */
int brain_tree_apply_dsync(struct brain *b);
/*
 * The mailbox that the peer calls by this GUID, or NULL.  One that both sides
 * made goes by both GUIDs until one of them is taken.
 */
const struct tree_box *brain_tree_box(struct brain *b, const struct guid *g);
/* The mailbox has this GUID from now on.  t is in b->plan. */
int brain_tree_take_guid(
    struct brain *b, const struct tree_box *t, const struct guid *g);

/* box.c */
int box_start_master(struct brain *b, const struct tree_box *t);
/* takes i over */
int box_start_slave(struct brain *b, struct item *i);
/* takes i over */
int box_recv(struct brain *b, struct item *i);
bool box_wants_item(const struct brain *b);
/* BRAIN_*; BRAIN_DONE: the mailbox is finished */
int box_work(struct brain *b);
bool box_working_unlocked(const struct brain *b);
int box_work_unlocked(struct brain *b);
void box_fini(struct brain *b);

/*
 * box_state.c: what earlier syncs left of a mailbox.  Members work on b->box
 * unless they say otherwise.
 */
/* Between two dsyncfs: the saved state, for own, if the numbers here agree. */
int box_state_load(struct brain *b, const struct mailbox *m);
/* Between two dsyncfs: the name of a source's history, for own. */
int box_state_name(struct brain *b, const struct mailbox *m);
/* Between two dsyncfs: sets agreed; !needs: the same on both sides. */
int box_state_decide(struct brain *b, bool *needs);
/* Master, another kind of peer: chooses the states of the session, sends S*. */
int box_states_send(struct brain *b);
/* Sets agreed, common_uid, own_since from the record that both know. */
void box_state_agree(struct brain *b);
/*
 * The record that both know has to fit this mailbox.  When it does not: a slave
 * answers that the mailbox is lost (*lost), a master gets -ESTALE, reported.
 */
int box_state_check(struct brain *b, bool *lost);
/* The peer has said that the mailbox is lost. */
/* 1: the mailbox cannot be synced in this session (the master's). */
int box_state_outdated(struct brain *b, const struct tree_box *t);
int box_state_lost(struct brain *b);
/*
 * Slave, both records equal: another kind of master would skip the mailbox.
 * When it was changed here, or nobody knows, HIGHESTMODSEQ is raised.
 */
int box_state_raise(struct brain *b);
/*
 * A modseq of the peer's as it is taken over here: whatever it says, ours stay
 * far from 2^63, where modseqs end (RFC 7162 section 3.1) and no change could
 * follow.
 */
uint64_t box_modseq(const struct brain *b, uint64_t theirs);
/* No UID of a peer's, and no UIDNEXT above it: new mail here needs UIDs too. */
uint32_t box_uid_most(const struct brain *b);
/* Makes b->box.state, once all changes are done here. */
int box_state_make(struct brain *b);
/* Both sides have made it durable: remembers it (P1). */
int box_state_save(struct brain *b);
/* The record of -s after a sync; of a mailbox that is the same on both sides.
 */
int box_state_result(struct brain *b);
int box_state_same(struct brain *b);
/* Forgets the records of -s of mailboxes that are not here any more. */
int box_states_drop_gone(struct brain *b);

/*
 * conflict.c: tells of what both sides did to the same thing.  SEEN_BOTH: the
 * other brain sees it too.
 */
struct conflict_text {
	const char *what, *rule, *outcome;
};
enum seen { SEEN_HERE, SEEN_BOTH };
/* In a mailbox: told when that is done. */
void brain_conflict(struct brain *b, enum seen seen, const char *mailbox,
    uint32_t uid, const struct conflict_text *text);
void conflicts_flush(struct brain *b);
/* The result of a merge of flags. */
void conflict_flags(
    struct brain *b, uint32_t uid, const struct merge_result *r);
/* A backup gives a message the source's flags. */
void conflict_reverted_flags(struct brain *b, uint32_t uid);
/* The other side's expunge of this message is planned. */
void conflict_expunge(struct brain *b, uint32_t uid);
/* Before the trees are made the same; at the end of a sync. */
int conflicts_tree(struct brain *b);
int conflicts_tree_done(struct brain *b);

/* dry.c: what a dry run has planned.  -ENOMEM. */
int dry_save(struct brain *b, const char *guid);
int dry_expunge(struct brain *b, uint32_t mailbox, uint32_t uid);
/* A message of this GUID would be here by now. */
int dry_has(struct brain *b, const char *guid, bool *has);
void dry_fini(struct brain *b);

/*
 * guard.c: -ECANCELED, reported: the sync must not go on.  Nothing has been
 * changed yet.
 */
/* This mailbox may lose n messages. */
bool guard_allows(const struct brain *b, uint64_t n);
/* This mailbox would lose n messages. */
int guard_mailbox(struct brain *b, uint64_t n);
/* Mailboxes would be deleted: what the plan of the trees says. */
int guard_tree(struct brain *b);
/* A slave's own limits, where the master's would let more go. */
void guard_of_slave(struct brain *b);
/* -EIO, reported: the source of a backup, which ours is, is damaged. */
int guard_source(const struct brain *b);

/* The headers that are hashed where the master names none. */
#define IDENTITY_HEADERS 2
extern const char *const identity_headers[IDENTITY_HEADERS];
/* Those of the handshake, or ours for none; -EBADMSG, reported. */
int identity_check_headers(struct brain *b);

/*
 * identity.c: by what two messages are the same, their GUIDs or the hashes of
 * their headers.
 */
/* what this replica can do, for its B record */
void identity_own(const struct brain *b, struct item_mailbox *own);
/* From both B records and trust_uids: by_hash, guid128, known_uid. */
void identity_decide(struct brain *b);
void identity_fini(struct box *x);
/* A GUID of the store as a peer hears it: "" where it is the store's alone. */
const char *identity_guid(const struct brain *b, const char *guid);
/* A peer's GUID as this location has it; "" where it has none.  -ENOMEM. */
int identity_local(
    const struct brain *b, struct arena *a, const char *guid, const char **out);
/* ... as it is given to save; NULL: the location gives one. */
const char *identity_saved(const struct brain *b, const char *guid);
/*
 * A peer tells of a message with this GUID of the store, or that it was
 * expunged; false: not known.
 */
bool identity_same_guid(
    const struct brain *b, const char *guid, const char *told, bool expunge);
/*
 * The header hash of a message here; "" when its header cannot be read, which
 * is reported.  -ENOMEM.
 */
int identity_hash(struct brain *b, uint32_t uid, char out[HDR_HASH_LEN + 1]);
/* What stands behind the hashes does not count. */
bool identity_same_hash(const struct brain *b, const char *x, const char *y);
/* false: it says nothing, since the header is empty or not known */
bool identity_hash_tells(const char *hash);

/* exporter.c, exporter_events.c: what this side says of a mailbox. */
struct hint {
	uint8_t add, remove;
	/* those of them that answer a change of the peer (merge.h) */
	uint8_t informed;
	struct keywords kw_add, kw_remove, kw_informed;
};
int exporter_new(struct brain *b, struct exporter **out);
void exporter_free(struct exporter *e);
/* 1: more, 0: all sent */
int exporter_changes(struct exporter *e);
int exporter_request(struct exporter *e, const struct item_request *r);
/* 1: more, 0: all sent so far */
int exporter_mails(struct exporter *e);
/* What users here did to a message since the common state; zero when nothing.
 */
struct hint exporter_hint(const struct exporter *e, uint32_t uid);
/*
 * The UID that a message of this UID got since the common state; 0: none, or it
 * is gone.
 */
uint32_t exporter_moved_to(const struct exporter *e, uint32_t uid);
/* A user here, not a sync, saved this UID since the common state. */
bool exporter_saved_here(const struct exporter *e, uint32_t uid);
/* A sync with the peer brought this UID since the common state. */
bool exporter_fetched(const struct exporter *e, uint32_t uid);
/* It is told to have been expunged since the common state. */
bool exporter_expunged_here(const struct exporter *e, uint32_t uid);
/* exporter_row.c: the row of a message.  -ENOMEM. */
int exporter_row(struct brain *b, const struct msg *m, struct item **out);
/* The row of this UID had a change of flags that came while rows were told. */
bool exporter_told_late(
    const struct exporter *e, uint32_t uid, uint64_t modseq);
/* a change that is not the peer's */
bool exporter_changed_here(const struct exporter *e);

/* importer.c, importer_apply.c: what the other side's changes do here. */
int importer_new(struct brain *b, struct importer **out);
void importer_free(struct importer *im);
/* takes i over when it keeps it: *kept */
int importer_change(struct importer *im, struct item *i);
/* makes the plan; -ECANCELED: the guard */
int importer_changes_done(struct importer *im);
/* sends R*; 1: more, 0: all sent */
int importer_requests(struct importer *im);
int importer_apply(struct importer *im); /* 1: more */
/* takes i over */
int importer_mail(struct importer *im, struct item *i);
int importer_mails_done(struct importer *im);
bool importer_busy(const struct importer *im);
/* a body is being read: importer_read_body, without the lock */
bool importer_can_save(const struct importer *im);
/* ... and enough of them wait: they are saved before more are taken */
bool importer_full(const struct importer *im);
/* BRAIN_PROGRESS or BRAIN_WAIT */
int importer_read_body(struct importer *im);
/* numbers of the mailbox; the plan is done */
int importer_finish(struct importer *im);
/* The plan, once it is made, takes an instance of this GUID away. */
bool importer_expunges(const struct importer *im, const char *guid);
uint32_t importer_common_uid(const struct importer *im);

/* filter.c */
bool filter_active(const struct item_handshake *p);
bool filter_takes(const struct item_handshake *p, const struct item_change *c);
/*
 * The size that -I goes by, at least 1; read from the body where the location
 * does not know it (not from a callback of the store).  -ENOMEM.
 */
int filter_size(struct brain *b, const struct msg *m, uint64_t *size);

/*
 * spool.c: a body on its way, in memory or, when larger, in a file of the
 * store's tree.
 */
struct spool;
int spool_new(struct os *os, unsigned number, struct spool **out);
void spool_free(struct spool *s);
/* Takes what there is: 1 at the end, 0 more to come, -EAGAIN nothing now. */
int spool_fill(struct spool *s, struct stream *in);
/* bytes of it that are held in memory */
size_t spool_memory(const struct spool *s);
/* lent by the spool, until spool_free */
int spool_stream(struct spool *s, struct stream **out);

#endif
