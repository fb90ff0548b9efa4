/*
 * store_internal -- what the files of the store share; nobody else includes it.
 *
 * struct state is the index with what is held in memory of it: every mailbox (a
 * node) and every subscription, but no message.  Frames are applied to it by
 * state_apply, whether they were just written, are read again after a crash, or
 * come out of a compaction.
 *
 * N1  A node and its entry in the index are equal outside a transaction:
 * state_flush writes the touched ones before the frame is written. N2  Between
 * state_mark and state_keep every change of the index is on the undo list;
 * state_undo puts all of it back.
 */
#ifndef DSYNCFS_STORE_INTERNAL_H
#define DSYNCFS_STORE_INTERNAL_H

/*
 * uthash must not exit when there is no memory: an element that was not added
 * has no table, which is checked.
 */
#define HASH_NONFATAL_OOM 1
#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "journal/journal.h"
#include "store/btree.h"
#include "store/pack.h"
#include "store/record.h"
#include "store/store.h"

/*
 * Tables of the index: the first byte of a key.  Numbers in keys are
 * big-endian.  dsyncfs-format(5) lists keys and values.
 */
enum table {
	T_NODE = 'A', /* id, chunk -> node */
	T_BODY = 'B', /* XXH3-128, size, pack, offset -> () */
	/* kind, guid or name hash, chunk -> time, name */
	T_DELETION = 'D',
	T_EVENT = 'E', /* mailbox, modseq, uid, n -> event */
	T_GUID = 'G', /* guid128, mailbox, uid -> () */
	/* guid128, mailbox, uid -> () of expunged ones */
	T_GONE = 'H',
	T_INO = 'I', /* ino, mailbox, uid -> () */
	T_KEYWORDS = 'K', /* mailbox, chunk -> names */
	T_MSG = 'M', /* mailbox, uid -> message */
	T_NAME = 'N', /* mailbox, base name -> uid */
	T_PEER = 'P', /* peer, key, chunk -> bytes */
	T_SUB = 'S', /* name hash, chunk -> on, time, name */
	/* mailbox, uid -> time, origin, modseq, message */
	T_EXPUNGED = 'X',
	T_META = 'Y' /* name hash, chunk -> name, bytes */
};

#define KEY_MAX 255

struct key {
	uint8_t b[KEY_MAX];
	size_t n;
};

void key_table(struct key *k, enum table t);
void key_u8(struct key *k, uint8_t v);
void key_u16(struct key *k, uint16_t v);
void key_u32(struct key *k, uint32_t v);
void key_u64(struct key *k, uint64_t v);
void key_bytes(struct key *k, const void *p, size_t n);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);
void key_msg(struct key *k, enum table t, uint32_t mailbox, uint32_t uid);
void key_name(struct key *k, uint32_t mailbox, const char *base);
void key_body(struct key *k, const struct body_ref *ref);

/*
 * A mailbox, or a directory without mail, or (deleted) what is left of one
 * whose messages can still be restored.
 */
struct node {
	uint32_t id;
	struct guid guid; /* zero: a directory */
	char *name; /* owned; the last one when deleted */
	bool deleted;
	int64_t deleted_time;
	struct guid deleted_origin;
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t highestmodseq, floor;
	uint32_t messages, unseen, fresh;
	int64_t renamed;
	int64_t changed, changed_new;
	uint32_t changed_nsec, changed_new_nsec;
	/* owned, with its strings; NULL where a number was never given */
	char **keyword;
	size_t keywords;
	bool touched; /* on the state's touched list */
	struct node *touched_next;
	/* the last two only when not deleted */
	UT_hash_handle hh_id, hh_name, hh_guid;
};

struct sub {
	char *name; /* owned */
	bool on;
	int64_t time;
	UT_hash_handle hh;
};

struct undo {
	/* owned, one allocation; value NULL: the key was not there */
	uint8_t *key, *value;
	size_t klen, vlen;
};

struct state {
	struct os *os; /* borrowed */
	struct btree *tree; /* owned */
	struct node *by_id, *by_name, *by_guid;
	struct sub *subs;
	struct node *touched;
	struct node **sorted; /* owned; NULL when stale */
	size_t nsorted;
	uint32_t next_id, last_uidvalidity;
	uint64_t next_ino;
	uint64_t mark_counter[3];
	bool marked; /* undo is kept */
	/* the index is damaged or could not be put back */
	bool broken;
	bool subs_touched;
	struct undo *undo;
	size_t nundo, capundo;
	struct arena tmp; /* of one record */
	struct buf val, scratch;
};

/*
 * store_index.c: entries of the index.  -EBADMSG is reported once and becomes
 * -EIO.
 */
int idx_get(struct state *st, const struct key *k, const void **v, size_t *n);
int idx_put(struct state *st, const struct key *k, const void *v, size_t n);
/* 0 also when it is not there */
int idx_del(struct state *st, const struct key *k);
int idx_seek(struct state *st, const struct key *k, struct btree_cursor *c);
int idx_next(struct state *st, struct btree_cursor *c);
/* The entry behind k, where c stood before others looked at the index. */
int idx_next_after(
    struct state *st, const struct key *k, struct btree_cursor *c);
bool idx_under(const struct btree_cursor *c, const struct key *prefix);
/* Bytes of any length under k, split into chunks; n 0 with p NULL deletes. */
int blob_put(struct state *st, const struct key *k, const void *p, size_t n);
/* -ENOENT */
int blob_get(struct state *st, const struct key *k, struct buf *out);
/*
 * The next blob at or behind k (of klen bytes without the chunk number); k
 * becomes its key.  -ENOENT at the end of the table.
 */
int blob_next(struct state *st, struct key *k, size_t klen, struct buf *out);
void state_mark(struct state *st);
void state_keep(struct state *st);
int state_undo(struct state *st);

/* store_node.c */
int state_open(struct os *os, const char *path, size_t cache, bool rdonly,
    struct state *st, const void **user, size_t *n);
void state_close(struct state *st);
/* nodes and subscriptions from the index */
int state_load(struct state *st);
void state_clear(struct state *st);
/* also deleted ones */
struct node *node_by_id(struct state *st, uint32_t id);
struct node *node_live(struct state *st, uint32_t id);
struct node *node_by_name(struct state *st, const char *name);
struct node *node_by_guid(struct state *st, const struct guid *g);
int node_add(struct state *st, uint32_t id, const struct guid *guid,
    const char *name, struct node **out);
/* out of the hashes by name and GUID */
void node_unlist(struct state *st, struct node *n);
void node_list(struct state *st, struct node *n);
void node_free(struct state *st, struct node *n);
void node_touch(struct state *st, struct node *n);
int node_decode(
    struct state *st, uint32_t id, const void *p, size_t n, struct node **out);
void node_encode(struct buf *b, const struct node *n);
int node_keyword_set(
    struct state *st, struct node *n, uint32_t number, const char *name);
int node_keywords_put(struct state *st, const struct node *n);
/* touched nodes into the index */
int state_flush(struct state *st);
int state_sorted(struct state *st);
struct sub *sub_find(struct state *st, const char *name);
int sub_put(struct state *st, const char *name, bool on, int64_t time);
void node_export(struct state *st, const struct node *n, struct mailbox *m);

/* store_apply.c */
/* -EBADMSG: contradicts the state */
int state_apply(
    struct state *st, const struct frame_head *h, const struct record *r);
int msg_load(struct state *st, uint32_t mailbox, uint32_t uid, struct arena *a,
    struct msg *m, struct kwset *kw);
int msg_keywords(struct state *st, struct arena *a, const struct node *n,
    const struct kwset *kw, struct keywords *out);
void key_deletion(struct key *k, uint8_t kind, const struct guid *g);
void key_peer(struct key *k, const struct guid *peer, const struct guid *key);
void key_meta(struct key *k, const char *name);

struct expunged_rec {
	int64_t time;
	struct guid origin;
	uint64_t modseq;
	struct msg msg;
	struct kwset kw;
};
int expunged_decode(struct arena *a, uint32_t uid, const void *p, size_t n,
    struct expunged_rec *out);
/* store_events.c: EVENT's record without mailbox. */
void event_encode(struct buf *b, const struct record *r);
int event_decode(struct arena *a, const void *p, size_t n, struct record *out);
int event_put(struct state *st, const struct record *r);
/* What is kept of an expunged message; -ENOENT, -EIO (reported). */
int expunged_get(struct store *s, uint32_t mailbox, uint32_t uid,
    struct arena *a, struct expunged_rec *x);

struct pending { /* a body that no frame names yet */
	struct body_ref ref;
	uint8_t place[12]; /* pack and offset */
	UT_hash_handle hh; /* by hash */
	UT_hash_handle hh_place;
};

struct store {
	struct os *os; /* borrowed */
	struct os_file *lock; /* owned */
	struct store_settings set;
	struct guid id;
	uint8_t secret[32];
	unsigned flags;
	uint64_t gen; /* of the log */
	/* LSN that the present log's first byte stands for */
	uint64_t base;
	char log_dir[32], index_path[32];
	struct journal *journal; /* owned */
	struct packs *packs; /* owned; NULL in a sidecar */
	struct state st;
	/* up to which the index on disk holds the log */
	uint64_t ckpt_lsn;
	struct txn *txn; /* open, or NULL */
	unsigned held; /* store_hold */
	bool rdonly, damaged, poisoned, syncing, ckpt_failed;
	uint64_t spool_next;
	struct pending *pending, *pending_place;
	watch_fn *watch;
	void *watch_arg;
	watch_msg_fn *watch_msg;
	void *watch_msg_arg;
	/* the index holds what the damaged log has lost */
	bool index_ahead;
	/* "current" is lost, gen is that of the only log */
	bool guessed;
	/* being repaired: there were changes that the state lacks */
	bool lost;
	/*
	 * read-only: changes from this LSN on lack their bodies and do not
	 * count; 0: none
	 */
	uint64_t limit;
	uint64_t problems; /* found while frames were applied */
};

struct txn {
	struct store *s;
	struct frame_head head;
	struct buf payload, scratch;
	struct arena arena; /* of one member */
	int error; /* of a member: only abort is left */
	bool dirty;
	struct watch_event what;
	bool several_mailboxes, several_msgs;
};

const char *store_label(const struct store *s);
int store_writable(struct store *s);
/* store_txn.c */
int txn_check(struct txn *t, uint32_t mailbox, struct node **n);
int txn_fail(struct txn *t, int error);
int txn_record(struct txn *t, const struct record *r);
void txn_note(
    struct txn *t, unsigned what, uint32_t mailbox, uint32_t uid, uint64_t ino);
uint64_t node_next_modseq(const struct node *n);
int txn_keyword_numbers(struct txn *t, struct node *n, const struct keywords *k,
    bool add, struct kwset *out);

/* store_replay.c */
int store_replay(struct store *s);
int frame_apply(struct state *st, const uint8_t *p, size_t n, uint64_t *bad);
int store_start_log(struct store *s);
void store_paths(struct store *s);
int store_reset_index(struct store *s);
/* The state once more, from the log alone; as it was after an error. */
int store_state_anew(struct store *s);
int checkpoint_write(struct state *st, const struct guid *id, uint64_t lsn);

/* store_files.c */
int file_store_write(struct store *s);
int file_store_read(struct store *s);
int file_current_write(struct os *os, uint64_t gen, uint64_t base);
int file_current_read(struct store *s);
int tree_leftovers(struct store *s);
int remove_tree_dir(struct os *os, const char *dir);

/* store_body.c */
void pending_drop(struct store *s, const struct body_ref *ref);
void pending_clear(struct store *s);
bool pending_in_pack(struct store *s, uint32_t pack);

/* store_compact.c */
int compact_to(
    struct store *s, bool keep_all, bool repair, struct compact_result *r);

#endif
