/*
 * mail -- what every part of the house calls a message: flags, keywords, the
 * record of a message.
 *
 * Flags are the bits of dsync's C record (specs/dsync-protocol.md 2.8).
 * Keywords are names (RFC 3501, flag-keyword), compared case-sensitively, held
 * sorted by strcmp and without doubles.
 */
#ifndef DSYNCFS_BASE_MAIL_H
#define DSYNCFS_BASE_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arena.h"
#include "guid.h"

enum {
	MAIL_ANSWERED = 0x01,
	MAIL_FLAGGED = 0x02,
	MAIL_DELETED = 0x04,
	MAIL_SEEN = 0x08,
	MAIL_DRAFT = 0x10,
	/* on the wire only; in a store it is MSG_NEW */
	MAIL_RECENT = 0x20,
	MAIL_FLAGS = 0x1f /* those that are stored */
};

/*
 * A sorted set of names; the array and names are borrowed from whoever made it
 * (an arena, a caller).
 */
struct keywords {
	const char *const *name;
	size_t n;
};

bool keywords_has(const struct keywords *k, const char *name);
bool keywords_eq(const struct keywords *a, const struct keywords *b);
/* Sorted, doubles dropped, copied into the arena; 0 or -ENOMEM. */
int keywords_make(
    struct arena *a, const char *const *names, size_t n, struct keywords *out);
/* (base + add) - remove, copied into the arena. */
int keywords_apply(struct arena *a, const struct keywords *base,
    const struct keywords *add, const struct keywords *remove,
    struct keywords *out);
int keywords_copy(
    struct arena *a, const struct keywords *from, struct keywords *out);
/* An atom of RFC 3501 that is not a system flag, at most 255 bytes. */
bool keyword_valid(const char *name);

/*
 * Where a body lies, as the store gave it; opaque to others but for size.  All
 * zero: no body here (a sidecar's).
 */
struct body_ref {
	uint64_t size; /* raw bytes */
	uint64_t offset; /* in its pack */
	uint32_t pack; /* pack number, 0 = none */
	uint8_t hash[16]; /* XXH3-128 of the raw bytes */
};

enum {
	/* not yet seen by a client: lies in new/ (DESIGN.md 9, 3) */
	MSG_NEW = 0x01,
	/* name was chosen by a program; otherwise it follows from the GUID */
	MSG_NAMED = 0x02
};

/*
 * One message of one mailbox, in its present state.  Strings belong to whoever
 * filled it in.
 */
struct msg {
	uint32_t uid;
	uint64_t modseq;
	uint8_t flags; /* MAIL_FLAGS */
	uint8_t state; /* MSG_* */
	struct keywords keywords;
	/* never NULL in a store; "" = the location has none */
	const char *guid;
	/* Maildir base name (before ":2,"), never NULL in a store */
	const char *name;
	/* unknown upper-case info letters, local only; NULL or "" = none */
	const char *letters;
	const char *pop3_uidl; /* NULL = none */
	uint32_t pop3_order; /* 0 = none */
	int64_t received; /* Unix seconds (INTERNALDATE) */
	int64_t saved; /* Unix seconds; 0 = unknown */
	/* local modification time, seconds and ... */
	int64_t mtime;
	/* ... nanoseconds; mtime 0 = as received */
	uint32_t mtime_nsec;
	/* inode number, never reused; hard links of one file share it */
	uint64_t ino;
	/* size with every bare LF counted as CRLF; 0 = not known */
	uint64_t vsize;
	struct body_ref body;
};

/*
 * Maildir's info letters (specs/mailbox-formats.md 1.1): D F R S T are flags, P
 * is the keyword $Forwarded, a-z are keyword letters by a mailbox's table,
 * other upper-case letters are carried along.
 */
struct mail_info {
	uint8_t flags;
	bool forwarded; /* P */
	uint32_t letters; /* bit n: letter 'a' + n */
	/* other upper-case letters, sorted, NUL-terminated */
	char other[32];
};

/*
 * Text after ":2," (or ""); whatever is not a letter ends it (":2,S,extra").
 * Never fails.
 */
void mail_info_parse(const char *info, struct mail_info *out);
/* Letters in ASCII order, without ":2,"; out holds 64 bytes. */
void mail_info_format(const struct mail_info *in, char out[64]);
/* Length of the base name: up to the first ':' (or the whole). */
size_t mail_base_len(const char *file_name);
/*
 * The info text of a file name: after the first ":2,", or "" when there is
 * none.
 */
const char *mail_info_text(const char *file_name);

#define KEYWORD_FORWARDED "$Forwarded"

#endif
