/*
 * record -- what a frame of the change log says: a head, then change records.
 *
 * Payload of a frame: u8 version (1), u8 bits (1: an origin follows), svarint
 * seconds, varint nanoseconds, [16 bytes origin], then records: varint type,
 * varint length, that many bytes.  Records are complete (they carry every
 * number that was given out), so that applying them again gives the same index.
 * An unknown type is skipped by its length and stays in the log.
 * dsyncfs-format(5) has the fields.
 *
 * R1  Decoding takes any bytes: it gives a record within the limits below, or
 * -EBADMSG. R2  encode(decode(x)) decodes to the same record.
 */
#ifndef DSYNCFS_STORE_RECORD_H
#define DSYNCFS_STORE_RECORD_H

#include "base/buf.h"
#include "base/mail.h"

#define RECORD_VERSION 1
#define RECORD_GUID_MAX 512
#define RECORD_NAME_MAX 255 /* base name of a message */
#define RECORD_UIDL_MAX 255
#define RECORD_LETTERS_MAX 31
#define RECORD_KEYWORD_MAX 255
#define RECORD_KEYWORDS_MAX 500 /* of one message */
#define RECORD_TABLE_MAX 65536 /* keywords of one mailbox */
#define RECORD_DATA_MAX (16u << 20) /* a peer state, a setting */

enum record_type {
	RECORD_MAILBOX_CREATE = 1,
	RECORD_MAILBOX_RENAME = 2,
	RECORD_MAILBOX_DELETE = 3,
	RECORD_SUBSCRIBE = 4,
	RECORD_DELETION = 5,
	RECORD_MAILBOX_UPDATE = 6,
	RECORD_KEYWORD = 7,
	RECORD_SAVE = 8,
	RECORD_FLAGS = 9,
	RECORD_STATE = 10,
	RECORD_EXPUNGE = 11,
	RECORD_PEER = 12,
	RECORD_META = 13,
	/* These are only written by compaction: state without a change. */
	RECORD_COUNTERS = 14,
	RECORD_NODE = 15,
	RECORD_MESSAGE = 16,
	RECORD_EVENT = 17,
	RECORD_EXPUNGED = 18,
	RECORD_TYPES
};

/* Which fields a RECORD_STATE sets. */
enum {
	STATE_STATE = 0x01,
	STATE_NAME = 0x02,
	STATE_LETTERS = 0x04,
	STATE_MTIME = 0x08,
	STATE_RECEIVED = 0x10,
	STATE_POP3 = 0x20,
	STATE_ALL = 0x3f
};

/* Keyword numbers of a mailbox's table, ascending. */
struct kwset {
	const uint32_t *n;
	size_t len;
};

struct record {
	unsigned type;
	uint32_t mailbox;
	uint32_t uid; /* FLAGS STATE EXPUNGE EVENT EXPUNGED */
	/* EXPUNGE, EVENT of one: the UID it went on under, 0: none */
	uint32_t moved_to;
	/* SAVE (in msg), FLAGS, EXPUNGE, EVENT */
	uint64_t modseq;
	/* of a mailbox, keyword, deletion, subscription, setting; never NULL */
	const char *name;
	struct guid guid; /* mailbox, deletion, peer key */
	struct guid peer; /* peer; origin of EVENT, EXPUNGED */
	int64_t time;
	uint8_t kind; /* deletion kind, event type */
	/*
	 * SUBSCRIBE; MAILBOX_CREATE: a directory; MAILBOX_DELETE: no children
	 * remained
	 */
	bool on;
	uint32_t number; /* KEYWORD */
	uint32_t uidvalidity, uidnext, first_recent;
	uint64_t highestmodseq;
	/* COUNTERS: next mailbox id, last uidvalidity, next ino */
	uint64_t counter[3];
	uint8_t mask; /* STATE_* */
	uint8_t add, remove;
	struct kwset kw_add, kw_remove;
	/*
	 * SAVE MESSAGE EXPUNGED; STATE: the fields of mask.  keywords unused:
	 * see kw
	 */
	struct msg msg;
	struct kwset kw;
	const char *guid_string; /* EVENT of an expunge */
	const uint8_t *data; /* PEER META NODE */
	size_t data_len;
};

struct frame_head {
	struct guid origin;
	int64_t sec;
	uint32_t nsec;
};

void frame_head_put(struct buf *b, const struct frame_head *h);
/* -EBADMSG; -EPROTONOSUPPORT */
int frame_head_get(struct rd *r, struct frame_head *h);

void record_put(struct buf *b, struct buf *scratch, const struct record *r);
/*
 * 0; 1: unknown type, skipped; -EBADMSG; -ENOMEM.  Strings in the arena or in
 * the input.
 */
int record_get(struct rd *r, struct arena *a, struct record *out);

/* The message as the index holds it (uid apart). */
void msg_encode(struct buf *b, const struct msg *m, const struct kwset *kw);
/* -EBADMSG, -ENOMEM */
int msg_decode(
    struct arena *a, const void *p, size_t n, struct msg *m, struct kwset *kw);

/*
 * The base name that a message gets from its GUID (DESIGN.md 9, 2); "" gives
 * NULL.  NULL also when there is no memory.
 */
char *name_of_guid(struct arena *a, const char *guid);
bool base_name_valid(const char *name);

void kwset_put(struct buf *b, const struct kwset *k);
int kwset_get(struct rd *r, struct arena *a, struct kwset *k);
bool kwset_has(const struct kwset *k, uint32_t n);

#endif
