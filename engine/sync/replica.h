/*
 * replica -- an opened location, as the brain sees it.
 *
 * Every replica has a store that holds its state: the native store itself, or
 * the sidecar of a foreign location (DESIGN.md 6).  State is read from that
 * store (store.h); everything that changes the location goes through these
 * members, which change the location and its store together.  So a backend says
 * only how its location differs.
 *
 * The caller holds the replica's lock (lock/unlock) around each use of the
 * store and each member, and gives it up between steps, so that a mount stays
 * responsive.  Mailboxes are given by their id in the store.
 *
 * Every member gives 0 or -errno, reported where it arose.  Common: -EROFS,
 * -ENOSPC, -EDQUOT, -EIO (the replica may be poisoned), -ENOMEM, -EACCES.
 * "Idempotent": a second call after a crash in the first does no harm.
 */
#ifndef DSYNCFS_SYNC_REPLICA_H
#define DSYNCFS_SYNC_REPLICA_H

#include "base/mail.h"
#include "base/stream.h"
#include "store/store.h"

struct replica;

enum {
	/* keeps modseqs itself (not only in a sidecar) */
	REPLICA_MODSEQS = 1,
	/* holds at most 26 keywords a mailbox; more are kept in the sidecar
	   alone */
	REPLICA_KEYWORD_LIMIT = 2,
	REPLICA_NO_RENAME_DATE = 4,
	/*
	 * Its messages have GUIDs of their own.  Without it the store's GUIDs
	 * are its own business, and no peer hears of them.
	 */
	REPLICA_GUIDS = 8,
	/* save and copy take the GUID that they are given */
	REPLICA_SAVE_GUIDS = 16,
	/* ... but keep only its 128-bit form (guid.h) */
	REPLICA_GUID128 = 32
};

/*
 * A message to be saved: *m as for txn_save with uid, guid, modseq, flags,
 * keywords, dates set; the replica chooses name and ino, and the GUID where
 * guid is NULL.
 */
struct replica_ops {
	const char *driver; /* "dsyncfs", "maildir" */
	unsigned caps; /* REPLICA_* */

	/*
	 * Brings the store up to date with what others did to the location:
	 * mailbox NULL = tree and all mailboxes, else that one mailbox. Native:
	 * nothing to do.  One bad item is reported, skipped and counted in
	 * *problems; it never stops the rest. Idempotent.
	 */
	int (*refresh)(
	    struct replica *r, const char *mailbox, unsigned *problems);

	/* Tree.  All idempotent: -EEXIST / -ENOENT tell that it is so already.
	 */
	int (*mailbox_create)(struct replica *r, const struct mailbox_new *m,
	    const struct guid *origin, uint32_t *id);
	int (*mailbox_rename)(struct replica *r, uint32_t id, const char *name,
	    int64_t time, const struct guid *origin);
	int (*mailbox_delete)(struct replica *r, uint32_t id, int64_t time,
	    const struct guid *origin);
	int (*mailbox_update)(struct replica *r, uint32_t id,
	    const struct mailbox_update *u, const struct guid *origin);
	int (*subscribe)(struct replica *r, const char *name, bool on,
	    int64_t time, const struct guid *origin);

	/*
	 * Messages.  save reads the stream to its end (it does not close it).
	 * When m->uid is below uidnext, or taken meanwhile by somebody else's
	 * delivery, the next free UID is given: the caller compares *uid.
	 * -EINVAL: content that the location cannot hold.
	 */
	int (*save)(struct replica *r, uint32_t mailbox, const struct msg *m,
	    struct stream *body, const struct guid *origin, uint32_t *uid);
	/*
	 * The body comes from a message of this replica (from_mailbox,
	 * from_uid): a copy by GUID.
	 */
	int (*copy)(struct replica *r, uint32_t mailbox, const struct msg *m,
	    uint32_t from_mailbox, uint32_t from_uid, const struct guid *origin,
	    uint32_t *uid);
	/*
	 * Moves a message of the mailbox to another UID (UID conflict): m as
	 * for save.
	 */
	int (*renumber)(struct replica *r, uint32_t mailbox, uint32_t uid,
	    const struct msg *m, const struct guid *origin, uint32_t *new_uid);
	int (*update)(struct replica *r, uint32_t mailbox, uint32_t uid,
	    const struct msg_update *u, const struct guid *origin);
	/* moved_to: the UID of the instance that goes on for it, or 0 */
	int (*expunge)(struct replica *r, uint32_t mailbox, uint32_t uid,
	    uint32_t moved_to, const struct guid *origin);

	/*
	 * The raw bytes; the stream stays valid without the lock.  -ENOENT:
	 * expunged meanwhile.
	 */
	int (*body)(struct replica *r, uint32_t mailbox, uint32_t uid,
	    struct stream **out);

	/*
	 * Everything done so far is durable, in the location and in its store.
	 * Called without the lock held; takes it itself as needed.
	 */
	int (*commit)(struct replica *r);

	void (*lock)(struct replica *r);
	void (*unlock)(struct replica *r);
	/* commits, frees; -errno when that failed */
	int (*close)(struct replica *r);
};

struct replica {
	const struct replica_ops *ops;
	/* owned or borrowed, as the constructor says */
	struct store *store;
	/* the location as the user gave it, for messages; owned */
	const char *label;
};

/* Identity for peer states and origins: the store's id. */
static inline const struct guid *
replica_id(const struct replica *r)
{
	return (store_id(r->store));
}

/*
 * The native replica.  lock/unlock may be NULL (one user).  With own, close
 * closes the store too.
 */
struct replica_native_hooks {
	void (*lock)(void *arg);
	void (*unlock)(void *arg);
	/*
	 * a moment, without the lock, while somebody else syncs the store;
	 * NULL: nobody else does
	 */
	void (*pause)(void *arg);
	void *arg;
	/* with own: close closes the store's tree too */
	bool own_tree;
};
int replica_native_new(struct store *s, const char *label, bool own,
    const struct replica_native_hooks *hooks, struct replica **out);

#endif
