/*
 * item -- what two brains say to each other: dsync's items as structs
 * (specs/dsync-protocol.md 2).
 *
 * An item and all it points to live in an arena that whoever holds the item
 * owns.  Absent text is NULL, absent numbers are 0.  Keys that only dsyncfs
 * knows are marked; another kind of peer leaves them absent.  Each field has
 * its column in backends/dsync.
 */
#ifndef DSYNCFS_SYNC_ITEM_H
#define DSYNCFS_SYNC_ITEM_H

#include "base/arena.h"
#include "base/mail.h"
#include "base/stream.h"

enum item_type {
	ITEM_HANDSHAKE = 'H',
	ITEM_STATE = 'S',
	ITEM_NODE = 'N',
	ITEM_DELETES = 'D',
	ITEM_MAILBOX = 'B',
	ITEM_ATTRIBUTE = 'A',
	ITEM_CHANGE = 'C',
	ITEM_REQUEST = 'R',
	ITEM_MAIL = 'M',
	ITEM_FINISH = 'F',
	ITEM_END = '.',
	ITEM_ABORT = 'X'
};

enum sync_type { SYNC_CHANGED = 'c', SYNC_FULL = 'f', SYNC_STATE = 's' };

struct item_handshake {
	const char *hostname;
	/* -m, names or masks or "\Special"; sync_box */
	const char *const *mailbox;
	size_t mailboxes;
	const char *const *exclude; /* -x */
	size_t excludes;
	struct guid mailbox_guid; /* -g; zero = none */
	enum sync_type type;
	bool debug, send_mail_requests, backup_send, backup_recv, no_mail_sync,
	    no_backup_overwrite;
	uint32_t lock_timeout;
	int64_t since, until; /* 0 = none */
	uint64_t max_size; /* 0 = none */
	const char *flag; /* -O */
	const char *const *hashed_headers;
	size_t n_hashed_headers;
	char alt_char; /* 0 = '_' */
	/* a header hash of nothing matches any other */
	bool empty_hdr_workaround;
	/*
	 * the sender's minor protocol version (specs/dsync-protocol.md 1.4), as
	 * it announced it; set by the channel that received the item
	 */
	unsigned minor;
	bool has_replica; /* dsyncfs: replica is set */
	/* dsyncfs: the sender's replica id */
	struct guid replica;
	bool dry_run; /* dsyncfs */
	/* dsyncfs: type is for others; two that know this use saved states */
	bool own_state;
	/*
	 * dsyncfs: from a master: another sync will follow on this connection;
	 * from a slave: it may
	 */
	bool stay;
	/* dsyncfs: the guard (brain.h) holds on both sides */
	unsigned max_delete_percent, max_delete_min;
};

struct item_state {
	struct guid mailbox;
	uint32_t last_uidvalidity, last_common_uid, last_messages_count;
	uint64_t last_common_modseq, last_common_pvt_modseq;
	bool changes_during_sync;
	/* dsyncfs: up to this modseq the sender has told all of its changes */
	uint64_t end_modseq;
	/*
	 * dsyncfs: two-way: random, for the session; of a backup's source: the
	 * name of its history (store.h).  Zero: none
	 */
	struct guid token;
};

enum existence { EXISTS = 'y', PLACEHOLDER = 'n', DELETED = 'd' };
struct item_node {
	/* canonical, '/' between levels */
	const char *name;
	enum existence existence;
	struct guid mailbox; /* zero: \Noselect */
	uint32_t uidvalidity, uidnext;
	/* renamed: dsyncfs: negative: before all times */
	int64_t renamed, subscription_changed;
	bool subscribed;
};

/* a mailbox GUID, or guid128_of_name of a name */
struct item_delete {
	struct guid id;
	int64_t time;
};
struct item_deletes {
	/* names were hashed with this separator */
	char sep, escape;
	const struct item_delete *mailbox, *dir, *unsubscribe;
	size_t mailboxes, dirs, unsubscribes;
};

struct item_mailbox {
	struct guid mailbox;
	bool lost, ignore, have_guids, have_save_guids, have_only_guid128;
	uint32_t uidvalidity, uidnext, messages, first_recent;
	uint64_t highestmodseq, highest_pvt_modseq;
	bool has_digest; /* dsyncfs */
	/*
	 * dsyncfs: the session of the saved state (peer.h); of a backup's
	 * source: the name of its history
	 */
	uint8_t digest[16];
	/*
	 * dsyncfs: of the sender's saved peer state, also where the rest of it
	 * is not used; 0 = has none
	 */
	uint32_t common_uid;
	/*
	 * dsyncfs: the receiver's modseq up to which the sender knows its
	 * changes
	 */
	uint64_t common_modseq;
};

/* specs/dsync-protocol.md 2.7: read, and dropped by who gets it */
struct item_attribute {
	char type; /* 'p' private, 's' shared */
	const char *key;
	const char *value; /* NULL: a stream, or deleted */
	/* owned by the item until taken; NULL: value, or deleted */
	struct stream *stream;
	bool deleted;
	int64_t last_change;
	uint64_t modseq;
};

enum change_kind {
	CHANGE_SAVE = 's',
	CHANGE_FLAGS = 'f',
	CHANGE_EXPUNGE = 'e'
};
struct item_change {
	enum change_kind kind;
	uint32_t uid;
	/* expunge: 32 hex digits (guid128) or NULL */
	const char *guid;
	/*
	 * dsyncfs: expunge of a message that got this UID instead (a UID
	 * conflict with a third replica); 0: it is gone
	 */
	uint32_t moved_to;
	/* HDR_HASH_LEN hex digits, or "": not known; NULL: not told */
	const char *hdr_hash;
	uint64_t modseq, pvt_modseq;
	uint8_t add, remove, final; /* with MAIL_RECENT */
	/*
	 * dsyncfs: of add and remove, and of their keywords: made in answer to
	 * a change that the receiver had told before
	 */
	uint8_t informed;
	struct keywords kw_informed;
	bool keywords_reset;
	/* kw_final is the complete present set */
	struct keywords kw_add, kw_remove, kw_final;
	int64_t received;
	uint64_t virtual_size; /* UINT64_MAX = unknown */
	/*
	 * dsyncfs: a user of the sender saved it (also before an expunge) since
	 * the common state
	 */
	bool saved_here;
	/* dsyncfs: a sync with the receiver brought it since then */
	bool fetched;
	/*
	 * dsyncfs: of an expunge: the sender has the message in another mailbox
	 */
	bool elsewhere;
};

struct item_request {
	const char *guid;
	uint32_t uid;
};

struct item_mail {
	const char *guid; /* never NULL */
	uint32_t uid;
	const char *pop3_uidl;
	uint32_t pop3_order;
	int64_t received, saved;
	/* owned by the item until taken; NULL: no longer there */
	struct stream *body;
	/* dsyncfs: !MSG_NEW at the sender */
	bool seen_by_client;
};

struct item_finish {
	const char *error;
	int mail_error;
	bool require_full_resync;
	/* dsyncfs: what the sender has done, numbers between blanks; NULL */
	const char *counts;
};

struct item {
	enum item_type type;
	struct arena arena; /* owns all strings below */
	union {
		struct item_handshake handshake;
		struct item_state state;
		struct item_node node;
		struct item_deletes deletes;
		struct item_mailbox mailbox;
		struct item_attribute attribute;
		struct item_change change;
		struct item_request request;
		struct item_mail mail;
		struct item_finish finish;
	} u;
};

/* zeroed, with an empty arena */
int item_new(enum item_type type, struct item **out);
/* closes an untaken body or stream */
void item_free(struct item *i);

#endif
