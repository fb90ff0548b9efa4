/*
 * dsync_internal -- what the files of the dsync channel share.
 *
 * Invariants:
 *
 * D1  Every line is bounded before it is kept, every number before it is used.
 * D2  Of an error in what the peer sent, one line is reported; after it recv
 * gives the same code for ever.
 * D3  At most one body is on its way in each direction.  No byte behind an
 * incoming body is looked at before its end has been found.
 * D4  Own columns are filled only when the peer has shown them too.
 * D5  Strings of an item lie in its arena; nothing of it points into a buffer
 * of the channel, but for its body.
 */
#ifndef DSYNCFS_BACKENDS_DSYNC_INTERNAL_H
#define DSYNCFS_BACKENDS_DSYNC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/dsync/dsync.h"
#include "base/buf.h"

/* ---- columns.c: the tables of specs/dsync-protocol.md 2, header lines ---- */

/* In the order in which their header lines are sent. */
enum record {
	REC_H,
	REC_S,
	REC_N,
	REC_D,
	REC_B,
	REC_A,
	REC_C,
	REC_R,
	REC_M,
	REC_F,
	REC_CACHE,
	RECORDS
};

enum column_h {
	H_HOSTNAME,
	H_NS_PREFIX,
	H_BOX,
	H_BOX_GUID,
	H_TYPE,
	H_DEBUG,
	H_VISIBLE_NS,
	H_EXCLUDE,
	H_REQUESTS,
	H_BACKUP_SEND,
	H_BACKUP_RECV,
	H_LOCK_TIMEOUT,
	H_NO_MAIL_SYNC,
	H_NO_OVERWRITE,
	H_PURGE,
	H_NO_NOTIFY,
	H_SINCE,
	H_MAX_SIZE,
	H_FLAGS,
	H_UNTIL,
	H_VIRTUAL_ALL,
	H_EMPTY_HDR,
	H_HASHED_HEADERS,
	H_ALT_CHAR,
	H_REPLICA, /* own from here on */
	H_DRY_RUN,
	H_OWN_STATE,
	H_MAX_DELETE_PERCENT,
	H_MAX_DELETE_MIN,
	H_BOXES, /* sync_box, when there are several */
	H_STAY,
	H_COLUMNS
};
enum column_s {
	S_MAILBOX,
	S_UIDVALIDITY,
	S_UID,
	S_MODSEQ,
	S_PVT_MODSEQ,
	S_MESSAGES,
	S_CHANGES,
	S_END_MODSEQ, /* own from here on */
	S_TOKEN,
	S_COLUMNS
};
enum column_n {
	N_NAME,
	N_EXISTENCE,
	N_MAILBOX,
	N_UIDVALIDITY,
	N_UIDNEXT,
	N_RENAMED,
	N_SUBSCRIBED,
	N_SUBSCRIPTION_CHANGED,
	N_COLUMNS
};
enum column_d {
	D_SEP,
	D_ESCAPE,
	D_MAILBOXES,
	D_DIRS,
	D_UNSUBSCRIBES,
	D_COLUMNS
};
enum column_b {
	B_MAILBOX,
	B_UIDVALIDITY,
	B_UIDNEXT,
	B_MESSAGES,
	B_FIRST_RECENT,
	B_MODSEQ,
	B_PVT_MODSEQ,
	B_LOST,
	B_IGNORE,
	B_CACHE_FIELDS,
	B_HAVE_GUIDS,
	B_SAVE_GUIDS,
	B_ONLY_GUID128,
	B_DIGEST, /* own from here on */
	B_COMMON_UID,
	B_COMMON_MODSEQ,
	B_COLUMNS
};
enum column_a {
	A_TYPE,
	A_KEY,
	A_VALUE,
	A_STREAM,
	A_DELETED,
	A_LAST_CHANGE,
	A_MODSEQ,
	A_COLUMNS
};
enum column_c {
	C_TYPE,
	C_UID,
	C_GUID,
	C_HDR_HASH,
	C_MODSEQ,
	C_PVT_MODSEQ,
	C_ADD,
	C_REMOVE,
	C_FINAL,
	C_KEYWORDS_RESET,
	C_KEYWORDS,
	C_RECEIVED,
	C_VIRTUAL_SIZE,
	C_SAVED_HERE, /* own from here on */
	C_FETCHED,
	C_MOVED_TO,
	C_ELSEWHERE,
	C_INFORMED,
	C_KW_INFORMED,
	C_COLUMNS
};
enum column_r { R_GUID, R_UID, R_COLUMNS };
enum column_m {
	M_GUID,
	M_UID,
	M_POP3_UIDL,
	M_POP3_ORDER,
	M_RECEIVED,
	M_SAVED,
	M_STREAM,
	M_SEEN_BY_CLIENT, /* own */
	M_COLUMNS
};
enum column_f {
	F_ERROR,
	F_MAIL_ERROR,
	F_FULL_RESYNC,
	F_COUNTS, /* own */
	F_COLUMNS
};

#define COLUMNS_MAX H_COLUMNS /* the longest of the above */
/* columns of a peer's header line; more are not believed */
#define PEER_COLUMNS_MAX 256

struct column {
	const char *key;
	bool required;
};

struct record_type {
	char letter;
	/* from this minor version on there must be a header line */
	unsigned min_minor;
	bool long_line;
	const struct column *column;
	unsigned columns;
};

extern const struct record_type record_types[RECORDS];

/* RECORDS: none */
enum record record_of(char letter);
/* begins with dsyncfs_ */
bool column_is_own(const struct column *c);

/* What a peer's header line says of one record. */
struct header {
	bool seen;
	bool shown[COLUMNS_MAX];
	/* the peer's column -> ours, or -1 */
	int8_t map[PEER_COLUMNS_MAX];
	size_t n;
};

/* VERSION, header lines and the dot. */
void columns_put_opening(struct buf *out, bool plain);

/* What both directions of translation need. */
struct codec {
	const char *peer; /* borrowed; for messages */
	unsigned minor; /* of the peer */
	bool plain;
	struct header header[RECORDS];
	/* a list that is being made; one element of it */
	struct buf scratch, element;
	unsigned elements;
};

/* A header line without its newline; is changed.  0 or -EBADMSG, reported. */
int columns_take_header(struct codec *k, char *line, size_t n);
/* All header lines have come. */
int columns_check(const struct codec *k);
/* The peer shows our columns: it is a dsyncfs too. */
static inline bool
codec_to_dsyncfs(const struct codec *k)
{
	return (k->header[REC_M].shown[M_SEEN_BY_CLIENT]);
}

/* ---- value.c: texts, numbers, lists ---- */

/* Tab-escaped (1.5), also NUL. */
void value_put(struct buf *out, const void *p, size_t n);
/* The same as a whole value: a leading 02 is doubled. */
void value_put_text(struct buf *out, const void *p, size_t n);
/*
 * Undoes value_put in place and puts a NUL behind; s[n] is writable.  -EINVAL:
 * a NUL, a tab, or an escape that was cut off.
 */
int value_unescape(char *s, size_t n, size_t *len);
/* Digits only, at most max; 0 or -EINVAL. */
int value_u64(const char *s, unsigned base, uint64_t max, uint64_t *out);
/* decimal, may be negative */
int value_seconds(const char *s, int64_t *out);
/* Printable and short, for messages. */
#define EXCERPT_BYTES 64
const char *value_excerpt(const void *p, size_t n, char out[EXCERPT_BYTES]);

/* ---- encode.c, decode.c: one record ---- */

/*
 * The whole line (of a body, the line before it).  0, -ENOMEM, -EOPNOTSUPP
 * (reported).
 */
int dsync_encode(struct codec *k, const struct item *i, struct buf *out);
/*
 * line: n bytes without the newline, with one writable byte behind; is changed.
 * *stream: the item has a body, which follows.  0, -ENOMEM, -EBADMSG
 * (reported).
 */
int dsync_decode(
    struct codec *k, char *line, size_t n, struct item **out, bool *stream);

/* ---- dots.c: bodies (1.6) ---- */

struct dots_out {
	bool after_lf;
};
void dots_out_begin(struct dots_out *d);
void dots_out_put(
    struct dots_out *d, const uint8_t *p, size_t n, struct buf *out);
void dots_out_end(struct buf *out);
/* The body ends here, and it is not whole; only to a dsyncfs. */
void dots_out_broken(struct buf *out);

enum dots { DOTS_MORE, DOTS_END, DOTS_BROKEN };
struct dots_in {
	uint8_t state;
	bool cr; /* a CR stands before the LF that is held back */
	bool may_break; /* the sender is a dsyncfs */
	/* found out, not yet given out */
	uint8_t pending[4], pendings;
	enum dots result;
};
void dots_in_begin(struct dots_in *d, bool may_break);
/*
 * Takes from *in, gives to out; ends when either is used up, or the body has
 * ended.  *got is set to what was given.  DOTS_MORE: call again with more.
 */
enum dots dots_in_take(struct dots_in *d, const uint8_t **in, size_t *n,
    uint8_t *out, size_t room, size_t *got);

/* ---- channel.c, input.c, output.c ---- */

enum in_state { IN_VERSION, IN_HEADER, IN_ITEMS, IN_BODY };

struct dsync;
/* An incoming body; lives until it is closed, also after the channel. */
struct body {
	struct stream s;
	struct dsync *d; /* NULL: the channel is closed */
	bool ended;
	int rc; /* why it ended, 0 = well */
};

struct waiting {
	struct item *item; /* owned */
	struct waiting *next;
};

struct dsync {
	struct channel c;
	struct link *l; /* borrowed */
	char *peer; /* owned */
	struct channel_dsync_options o;
	struct codec k;

	enum in_state in_state;
	int in_rc; /* what recv gives from now on */
	struct buf in;
	size_t in_at; /* bytes before are done with */
	size_t scanned; /* up to here there is no LF */
	/* why the link gives no more; -EPIPE: its end, or an error */
	int read_rc;
	bool ended; /* it was its end, which nobody has reported */
	/* before the dot; empty ones before VERSION too */
	unsigned header_lines;
	struct dots_in dots_in;
	struct body *body; /* being read; NULL: skipped */

	struct buf out;
	size_t out_at;
	int out_rc; /* what send gives from now on */
	bool out_gone; /* the peer takes nothing any more */
	struct item *sending; /* its body is going out; owned */
	struct dots_out dots_out;
	struct waiting *first, **last;
};

/* input.c */
int dsync_recv(struct channel *c, struct item **out);
/* Takes in what is there, up to a bound. */
void dsync_read_ahead(struct dsync *d);
void dsync_input_fini(struct dsync *d);

/* output.c */
int dsync_send(struct channel *c, struct item *i);
bool dsync_full(struct channel *c);
/* 0 all is gone, -EAGAIN, other -errno */
int dsync_pump(struct dsync *d);
void dsync_output_fini(struct dsync *d);

#endif
