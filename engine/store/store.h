/*
 * store -- the native replica: mailboxes and messages behind a change log,
 * bodies in packs, an index made from both.
 *
 * A store is a directory tree (struct os).  The change log is the truth; the
 * index is a copy-on-write B+tree of checksummed pages, read page by page as
 * needed, that says up to which LSN it contains the log; deleting it only costs
 * time.  Format: dsyncfs-format(5). A sidecar (STORE_SIDECAR) is a store
 * without bodies, which gives a foreign location its modseqs, GUIDs and
 * expunges.
 *
 * S1  A change is in the index exactly when its frame is in the log; the index
 * never runs ahead of the written log. S2  A body is durable before the frame
 * that names it is acknowledged (store_sync syncs packs first). S3  UIDs and
 * modseqs of a mailbox only grow; no UID is given twice; every change has its
 * own modseq. S4  Content is fixed per GUID (DESIGN.md 9, 1): the caller (view,
 * importer) keeps it, txn_save reports a breach with -EEXIST. S5  Exactly one
 * process owns a store (OFD lock on "lock"); a second gets -EBUSY at once.
 *
 * Not thread-safe: the owner serialises all calls (store_sync_run and body_read
 * excepted, which say so). Errors are reported (log.h) where they arise.  After
 * -EIO from a commit or sync the store is poisoned: reads go on, writes give
 * -EIO.
 */
#ifndef DSYNCFS_STORE_STORE_H
#define DSYNCFS_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/guid.h"
#include "base/mail.h"
#include "base/os.h"
#include "base/stream.h"

struct store;
struct txn;

enum {
	STORE_CREATE = 1, /* make it when the tree is empty */
	/* look only; takes the lock all the same */
	STORE_RDONLY = 2,
	/* without bodies; must match what was created */
	STORE_SIDECAR = 4
};

struct store_settings {
	int64_t expunge_retention; /* seconds; default 30 days */
	int zstd_level; /* default 1; 0: never compress */
	/* index pages kept in memory, default 32 MiB */
	size_t cache_bytes;
	/*
	 * and changed ones, until they are written, default 16 MiB: with less
	 * they are written more often
	 */
	size_t dirty_bytes;
};
void store_settings_default(struct store_settings *s);

/*
 * settings may be NULL.  Errors: -ENOENT not a store (and no STORE_CREATE),
 * -EEXIST STORE_CREATE in a tree that holds something else, -EBUSY owned by
 * another process, -EPROTONOSUPPORT newer version, -EINVAL sidecar flag does
 * not match, -EIO, -ENOSPC, -EROFS, -ENOMEM. Damage before the log's tail:
 * opens read-only, store_damaged() is true (DESIGN.md 4).  A bad index is
 * rebuilt from the log. The store borrows os until store_close.
 */
int store_open(struct os *os, unsigned flags,
    const struct store_settings *settings, struct store **out);
/*
 * Writes a checkpoint, syncs, gives up the lock.  -errno when something
 * acknowledged could not be made durable.
 */
int store_close(struct store *s);

struct os *store_os(struct store *s);
const struct guid *store_id(const struct store *s);
bool store_readonly(const struct store *s);
bool store_damaged(const struct store *s);
int64_t store_now(struct store *s);

/* ---- mailboxes ---- */

struct mailbox {
	uint32_t id; /* local, never reused */
	/* zero: a directory without mail (\NoSelect), or only a subscription */
	struct guid guid;
	/* canonical (name.h); lent until the next change of the store */
	const char *name;
	bool exists; /* false: only carries a subscription */
	bool selectable; /* false: directory without mail */
	bool subscribed;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t first_recent_uid;
	uint64_t highestmodseq; /* at least 1 */
	/* events with a modseq above it are all still known */
	uint64_t history_floor;
	uint32_t messages, unseen;
	uint32_t new_messages; /* MSG_NEW */
	/*
	 * last created-as-directory or renamed-to, 0 = unknown
	 * (specs/dsync-protocol.md 4.2)
	 */
	int64_t renamed;
	int64_t subscription_changed; /* 0 = unknown */
	/*
	 * time of the last change to cur/, new/ as seen in the view: seconds
	 * ...
	 */
	int64_t changed, changed_new;
	uint32_t changed_nsec, changed_new_nsec;
};

typedef int mailbox_fn(void *arg, const struct mailbox *m);
/*
 * In name order (strcmp); all nodes, also directories and subscription-only
 * ones.
 */
int store_mailboxes(struct store *s, mailbox_fn *fn, void *arg);
/*
 * -ENOENT when there is none.  Names only match nodes that exist or carry a
 * subscription.
 */
int store_mailbox(struct store *s, uint32_t id, struct mailbox *out);
int store_mailbox_by_name(
    struct store *s, const char *name, struct mailbox *out);
int store_mailbox_by_guid(
    struct store *s, const struct guid *guid, struct mailbox *out);

/*
 * What was deleted or unsubscribed and is gone from the tree: dsync's D record
 * (specs/dsync-protocol.md 2.4).
 */
enum deletion_kind { DELETED_MAILBOX, DELETED_DIR, DELETED_SUBSCRIPTION };
struct deletion {
	enum deletion_kind kind;
	struct guid guid; /* DELETED_MAILBOX */
	const char *name; /* canonical name at that time */
	int64_t time;
};
typedef int deletion_fn(void *arg, const struct deletion *d);
int store_deletions(struct store *s, deletion_fn *fn, void *arg);

/*
 * The mailbox's keyword table (dovecot-keywords): names by number, numbers are
 * permanent.  Strings are put in the arena.  A name that begins with '(' is no
 * keyword: the number is reserved for a letter that has no name yet.
 */
int store_keyword_table(struct store *s, uint32_t mailbox, struct arena *a,
    const char *const **names, size_t *n);

/* ---- messages ---- */

/* Strings of *out live in the arena.  -ENOENT. */
int store_msg(struct store *s, uint32_t mailbox, uint32_t uid, struct arena *a,
    struct msg *out);
int store_msg_by_name(struct store *s, uint32_t mailbox, const char *base,
    struct arena *a, struct msg *out);
/* First instance (lowest UID) with this GUID string in the mailbox. */
int store_msg_by_guid(struct store *s, uint32_t mailbox, const char *guid,
    struct arena *a, struct msg *out);
/*
 * Any instance in any mailbox with this GUID; for copying a body instead of
 * transferring it.
 */
int store_find_guid(struct store *s, const char *guid, struct arena *a,
    uint32_t *mailbox, struct msg *out);
/* m lent until it returns; non-zero stops and is returned */
typedef int msg_fn(void *arg, uint32_t mailbox, const struct msg *m);
/* Every instance of a GUID, in all mailboxes. */
int store_msgs_by_guid(
    struct store *s, const char *guid, msg_fn *fn, void *arg);
/* Every instance of an inode number. */
int store_msgs_by_ino(struct store *s, uint64_t ino, msg_fn *fn, void *arg);
/* How many they are. */
int store_count_ino(struct store *s, uint64_t ino, unsigned *count);
/* UID order, uid >= from.  The store may not be changed from the callback. */
int store_msgs(
    struct store *s, uint32_t mailbox, uint32_t from, msg_fn *fn, void *arg);
/* Those that a mailbox had when it was deleted. */
int store_msgs_deleted(
    struct store *s, uint32_t mailbox, msg_fn *fn, void *arg);
/*
 * A number for a new file, above all that were ever used (DESIGN.md 5: stable
 * inode numbers).
 */
uint64_t store_new_ino(struct store *s);
/* numbers up to this are in use elsewhere (scratch files) */
void store_reserve_ino(struct store *s, uint64_t used);

/* ---- history ---- */

enum event_type { EVENT_SAVE = 1, EVENT_FLAGS, EVENT_EXPUNGE };
struct event {
	enum event_type type;
	uint64_t modseq;
	uint32_t uid;
	/* EVENT_FLAGS: bits that this change really added, removed */
	uint8_t add, remove;
	struct keywords kw_add, kw_remove;
	/* EVENT_EXPUNGE: the message's GUID string */
	const char *guid;
	/* EVENT_EXPUNGE: the new UID of a message that stayed; 0: it is gone */
	uint32_t moved_to;
	/* zero: a user of this replica; else the peer whose sync did it */
	struct guid origin;
	int64_t time;
};
/* lent until it returns */
typedef int event_fn(void *arg, const struct event *e);
/*
 * Events of the mailbox with modseq > since, in modseq order.  Cost: their
 * number.  -ESTALE when since < history_floor (compaction dropped some): the
 * caller compares in full.
 */
int store_events(
    struct store *s, uint32_t mailbox, uint64_t since, event_fn *fn, void *arg);
/*
 * A name for the mailbox's history up to modseq and max_uid: a hash of what
 * happened last until then.  Where a store was restored from an old copy and
 * went on otherwise, the same modseq has another name.  A sync saves messages
 * with modseqs that have been, so saves above max_uid do not count: with the
 * uidnext - 1 of then the name is that of then.  -ENOENT: not known any more.
 */
int store_history_name(struct store *s, uint32_t mailbox, uint64_t modseq,
    uint32_t max_uid, uint8_t name[16]);
/*
 * The GUID string with which uid was expunged here, and the UID under which the
 * message went on (0: none), if events still tell of that; -ENOENT.
 */
int store_expunged(struct store *s, uint32_t mailbox, uint32_t uid,
    struct arena *a, const char **guid, uint32_t *moved_to);

/*
 * The last message below a UID of this GUID string that was expunged in the
 * mailbox (and did not go on under another UID), if events still tell of that;
 * -ENOENT.
 */
int store_gone_by_guid(struct store *s, uint32_t mailbox, const char *guid,
    uint32_t below, uint32_t *uid);

/*
 * Expunged messages that can still be taken back, newest first; mailbox 0: of
 * all mailboxes, also deleted ones.
 */
struct expunged {
	uint32_t mailbox;
	const char *mailbox_name;
	int64_t time; /* of the expunge */
	struct guid origin;
	struct msg msg; /* as it was */
};
typedef int expunged_fn(void *arg, const struct expunged *e);
int store_expunged_list(
    struct store *s, uint32_t mailbox, expunged_fn *fn, void *arg);

/*
 * The whole log as text-ready changes, oldest first, from an LSN on (0: the
 * oldest kept); *next gets where to go on.
 */
struct log_entry {
	uint64_t lsn;
	int64_t time;
	struct guid origin;
	const char *mailbox; /* name as far as known, or "" */
	uint64_t modseq; /* 0 = has none */
	/* "save uid=5 guid=... flags=\\Seen" and so on, no newline */
	const char *text;
};
typedef int log_entry_fn(void *arg, const struct log_entry *e);
/* Behind the last entry: where following the log begins. */
uint64_t store_log_end(const struct store *s);
int store_log(struct store *s, uint64_t from, log_entry_fn *fn, void *arg,
    uint64_t *next);

/* ---- bodies ---- */

/*
 * Collects a body (memory up to 1 MiB, then a spool file), then appends it to a
 * pack unless the same bytes are there already. Not yet durable.  -ENOSPC and
 * other failures leave nothing behind that counts.
 */
struct body_writer;
int body_writer_new(struct store *s, struct body_writer **out);
int body_writer_add(struct body_writer *w, const void *p, size_t n);
/* w may then only be freed */
int body_writer_finish(
    struct body_writer *w, struct body_ref *ref, uint64_t *vsize);
void body_writer_free(struct body_writer *w);
int store_body_from_stream(
    struct store *s, struct stream *in, struct body_ref *ref, uint64_t *vsize);
/* later: compressed later (store_squeeze), for who waits for it */
int store_body_from_memory(struct store *s, const void *p, size_t n, bool later,
    struct body_ref *ref, uint64_t *vsize);
int store_body_later(
    struct store *s, struct stream *in, struct body_ref *ref, uint64_t *vsize);

/*
 * Random access to the raw bytes.  body_read may run in any thread, also beside
 * changes of the store.  A wrong checksum gives -EIO, is reported with pack and
 * offset, never wrong bytes.
 */
struct body;
int body_open(struct store *s, const struct body_ref *ref, struct body **out);
/* 0 at or behind the end */
ssize_t body_read(struct body *b, void *p, size_t n, uint64_t off);
void body_close(struct body *b);
int body_stream(
    struct store *s, const struct body_ref *ref, struct stream **out);

/* ---- changes ---- */

/*
 * A transaction collects changes; txn_commit writes them as one frame (all or
 * nothing) and applies them to the index.  One transaction at a time.  Members
 * validate against the state as it will be after the earlier members of the
 * same transaction.  After an error from a member the transaction may only be
 * aborted.  Common errors: -ENOENT no such mailbox or message, -EROFS, -EIO
 * (poisoned), -ENOMEM.
 *
 * origin NULL or zero: done by a user of this replica; else the peer (its
 * replica id) whose sync does it.
 */
int txn_begin(struct store *s, const struct guid *origin, struct txn **out);
/* frees t in any case; written, not yet durable */
int txn_commit(struct txn *t);
void txn_abort(struct txn *t); /* NULL is fine */

/* As a time of a change: it was long ago, nobody knows when. */
#define TIME_UNKNOWN (-1)

struct mailbox_new {
	const char *name;
	struct guid guid; /* zero: a new one */
	/* 0: a new one, above all that this store gave out before */
	uint32_t uidvalidity;
	bool directory; /* without mail */
	/*
	 * of a directory's creation, 0: now; of a mailbox's last rename
	 * elsewhere, 0: unknown
	 */
	int64_t time;
};
/*
 * A subscription-only or directory node of that name becomes the mailbox.
 * -EEXIST, -EINVAL bad name.  *id may be NULL.
 */
int txn_mailbox_create(
    struct txn *t, const struct mailbox_new *m, uint32_t *id);
/*
 * Children go along.  -EEXIST target is there, -EINVAL into itself or INBOX.
 * time 0: now; TIME_UNKNOWN.
 */
int txn_mailbox_rename(
    struct txn *t, uint32_t id, const char *name, int64_t time);
/* Messages stay restorable while retained.  Children stay.  time 0: now. */
int txn_mailbox_delete(struct txn *t, uint32_t id, int64_t time);
/* time 0: now; TIME_UNKNOWN. */
int txn_subscribe(struct txn *t, const char *name, bool on, int64_t time);
/* A deletion that a peer knows of: kept and passed on with its own time. */
int txn_note_deletion(struct txn *t, const struct deletion *d);

/*
 * Each member applies when non-zero (guid) or larger than what is there (the
 * others); uidvalidity replaces.
 */
struct mailbox_update {
	struct guid guid;
	uint32_t uidvalidity;
	uint32_t min_uidnext;
	uint32_t min_first_recent;
	uint64_t min_highestmodseq;
};
int txn_mailbox_update(
    struct txn *t, uint32_t id, const struct mailbox_update *u);
/* Does it only reserve a number? */
static inline bool
keyword_reserved(const char *name)
{
	return (name[0] == '(');
}
/*
 * Keyword table: gives `name` the number (or, with number -1, the next free
 * one).  -EEXIST when taken by another; a reserved one may be given a name.
 */
int txn_keyword(struct txn *t, uint32_t mailbox, const char *name, int number);

/*
 * Saves a message.  In *m: uid 0 = next (else it must be >= uidnext: -EINVAL);
 * modseq 0 = highest + 1 (else at least that: kept when above 0, and
 * highestmodseq is raised to it); guid NULL = a new random one; name NULL =
 * made from the GUID (DESIGN.md 9, 2); ino 0 = a new number; received 0 = now.
 * -EEXIST: the name is taken in that mailbox, or the GUID stands for other
 * bytes (S4). The keyword table gets what it lacks.  *uid gets the UID, may be
 * NULL.
 */
int txn_save(
    struct txn *t, uint32_t mailbox, const struct msg *m, uint32_t *uid);

struct msg_update {
	uint8_t add, remove; /* MAIL_FLAGS */
	struct keywords kw_add, kw_remove;
	/*
	 * 0 = highest + 1 when something changes; else raise the message to at
	 * least this
	 */
	uint64_t modseq;
	/* only state, name, letters, dates below: no modseq, nothing for peers
	 */
	bool silent;
	bool set_state; /* state & MSG_NEW is taken */
	uint8_t state;
	/* NULL = as it is; else a new base name, chosen by a program */
	const char *name;
	const char *letters; /* NULL = as they are */
	bool set_mtime;
	/* also the received date while no sync has carried the message */
	int64_t mtime;
	uint32_t mtime_nsec;
	bool set_received;
	int64_t received;
	const char *pop3_uidl; /* NULL = as it is */
	uint32_t pop3_order;
};
/*
 * Bits that are as wanted already are left out; when nothing is left and modseq
 * is 0 no record is written.
 */
int txn_update(
    struct txn *t, uint32_t mailbox, uint32_t uid, const struct msg_update *u);
int txn_expunge(struct txn *t, uint32_t mailbox, uint32_t uid);
/* The instance that goes on as moved_to (0: none) is there already. */
int txn_expunge_moved(
    struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t moved_to);
/*
 * The message that was expunged as uid has as_uid (>= uidnext) in a peer, which
 * does not know of the expunge: saved under that and expunged at once.  -ENOENT
 * nothing is known of uid.
 */
int txn_expunged_as(
    struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t as_uid);
/*
 * Move within one store: same body, GUID, ino, dates; *new_uid may be NULL. One
 * save and one expunge in this transaction; within one mailbox the expunge
 * says where the message went (struct event, moved_to).
 */
int txn_move(struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t to,
    const struct msg *as, uint32_t *new_uid);

/*
 * Peer states: opaque bytes under (peer, key), key is a mailbox GUID or zero
 * for the peer as a whole.  len 0 deletes.
 */
int txn_peer_set(struct txn *t, const struct guid *peer, const struct guid *key,
    const void *p, size_t len);
int store_peer(struct store *s, const struct guid *peer, const struct guid *key,
    struct arena *a, const uint8_t **p, size_t *len);
typedef int peer_fn(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len);
int store_peers(struct store *s, peer_fn *fn, void *arg);
/*
 * Free-standing settings of whoever owns the store (a sidecar's scan state,
 * ...): as peer states, by name.
 */
int txn_meta_set(struct txn *t, const char *key, const void *p, size_t len);
int store_meta(struct store *s, const char *key, struct arena *a,
    const uint8_t **p, size_t *len);

/*
 * Called after each commit with what changed, in the committing thread, under
 * the owner's lock.  One watcher.
 */
enum watch_what {
	WATCH_MAILBOXES = 1,
	WATCH_MESSAGES = 2,
	WATCH_SUBSCRIPTIONS = 4
};
struct watch_event {
	unsigned what; /* WATCH_* */
	uint32_t mailbox; /* 0: several or none */
	uint32_t uid; /* 0: several */
	uint64_t ino; /* of the message, 0: several */
	struct guid origin;
};
typedef void watch_fn(void *arg, const struct watch_event *e);
void store_watch(struct store *s, watch_fn *fn, void *arg);
/*
 * Called within a transaction, before a message is saved, changed or expunged:
 * it is as it was, or not there yet; and, with uid 0, before a keyword gets a
 * number in the mailbox.  It may look at the store, no more, and
 * the transaction may still be given up.  One watcher.
 */
typedef void watch_msg_fn(void *arg, uint32_t mailbox, uint32_t uid);
void store_watch_msgs(struct store *s, watch_msg_fn *fn, void *arg);

/* ---- durability ---- */

/*
 * Group commit in halves, as journal_sync_*: begin and done under the owner's
 * lock, run without it.
 */
struct store_sync;
/* -EALREADY: nothing to do */
int store_sync_begin(struct store *s, struct store_sync **out);
/* packs, then the log */
int store_sync_run(struct store_sync *y);
/* frees y; the error of run, poisoned then */
int store_sync_done(struct store_sync *y);
/* all three */
int store_sync(struct store *s);
/* something is not yet durable */
bool store_dirty(const struct store *s);
/*
 * Brings the index on disk up to the log when the tail is long enough to be
 * worth it (or force).
 */
int store_checkpoint(struct store *s, bool force);

/* ---- compressing later ---- */

/*
 * What store_body_later has left, counted; bytes and sealed also hold what
 * earlier processes left, as far as store_raw_look has found it.
 */
struct store_raw {
	uint64_t bytes; /* that wait, at most */
	uint64_t sealed; /* of them, in packs that are full */
	uint64_t appended; /* bodies so far, raw or not */
};
void store_raw(const struct store *s, struct store_raw *out);
/* Looks at one pack of an earlier process: 1 there are more, 0, -errno. */
int store_raw_look(struct store *s);
/*
 * Compresses the pack with the most of it: begin and swap under the owner's
 * lock, run and end without it.  What messages and log say stays as it is, and
 * so does the pack when anything fails; a compaction that comes meanwhile ends
 * it (-ECANCELED).
 */
struct store_squeeze;
/*
 * -EALREADY: nothing waits; -EAGAIN: store_sync first; -EBUSY: one is under
 * way; -EROFS, -EIO
 */
int store_squeeze_begin(struct store *s, struct store_squeeze **out);
/*
 * About so many bytes more: 1 there are more, 0 done, -errno reported.  -EBADMSG:
 * the pack is damaged and stays as it is.
 */
int store_squeeze_run(struct store_squeeze *q, uint64_t bytes);
/* Also after a failure of run, which it gives back then. */
int store_squeeze_swap(struct store_squeeze *q);
/* frees q in any case */
int store_squeeze_end(struct store_squeeze *q);
/* All four, for one pack; for who has the store alone. */
int store_squeeze(struct store *s);

/* ---- upkeep ---- */

/*
 * Drops bodies and history that retention no longer holds; rewrites log and
 * packs beside the old ones, switches by one rename.
 */
struct compact_result {
	uint64_t bytes_before, bytes_after, bodies_dropped;
};
int store_compact(struct store *s, struct compact_result *r);
/*
 * Between the two (they nest) compaction drops no history: a sync that told what
 * was expunged must find the same when the other side's rows come.
 */
void store_hold(struct store *s);
void store_release(struct store *s);

struct verify_result {
	uint64_t frames, bodies, messages, problems;
};
/*
 * Every checksum of log, packs, index; each message has its body.  Problems are
 * reported as errors and counted.
 */
int store_verify(struct store *s, struct verify_result *r);
/*
 * Throws the index away and makes it from log and packs.  -EROFS, reported: the
 * log is damaged, so the index, which may hold what that has lost, is kept.
 */
int store_rebuild(struct store *s);
/*
 * Repair of damage: says what it would do (dry) or does it: good frames and
 * bodies are kept, bad ones set aside in "damaged/". Bodies whose records are
 * lost come back into mailbox "Recovered".  Takes a closed store's tree.
 */
int store_repair(struct os *os, bool dry, struct verify_result *r);

struct store_info {
	uint64_t log_bytes, log_segments, pack_bytes, packs, index_bytes,
	    bodies, messages, tail_bytes;
};
int store_info(struct store *s, struct store_info *out);

#endif
