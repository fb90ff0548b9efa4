/*
 * pack -- append-only files of message bodies.
 *
 * packs/%08x.pack: a header, then entries back to back, each self-describing
 * (header with lengths, codec, XXH3-128 of the raw bytes and a checksum of the
 * header itself; then blocks of at most 128 KiB raw, each stored or
 * zstd-compressed, whichever is smaller, with a table of their lengths and
 * XXH3s), so that packs can be walked without the index.  dsyncfs-format(5) has
 * the bytes.
 *
 * P1  Entries are never changed; a torn entry at the end of the newest pack is
 * skipped over by starting a new pack. P2  Reading checks each block's XXH3
 * before handing out a byte of it, and bounds every length before allocating.
 * P3  pack_sync makes everything appended before it durable (the file, then its
 * name).  P4  A body may be appended raw, to be compressed later: its whole pack
 * is then written anew ("squeezed") beside the old file, made durable, and takes
 * the old one's name by one rename.  Both hold the same bodies at the same
 * places: the offset of a body_ref is a place, which a squeezing leaves as it
 * is.  A pack with any damage is not squeezed.  P5  A squeezed pack's table of
 * places only saves a walk: an entry counts when its own header says its place.
 */
#ifndef DSYNCFS_STORE_PACK_H
#define DSYNCFS_STORE_PACK_H

#include <stdbool.h>
#include "base/mail.h"
#include "base/os.h"

#define PACK_MAX_BYTES (64u << 20) /* a new pack is begun after this */
#define PACK_BLOCK (128u << 10)

struct packs; /* the set of packs in a directory */

int packs_open(struct os *os, const char *dir, int zstd_level, bool rdonly,
    struct packs **out);
void packs_close(struct packs *p);

/*
 * raw: gives the body's bytes again from offset 0 on, so that hashing and
 * writing can be two passes; n bytes exactly or -errno.
 */
typedef int pack_raw_fn(void *arg, void *p, size_t n, uint64_t off);
/* later: stored as it is until its pack is squeezed (level 0: for ever) */
int packs_append(struct packs *p, uint64_t size, const uint8_t hash[16],
    bool later, pack_raw_fn *raw, void *arg, struct body_ref *ref);

/* one body; several may be open, each used by one thread at a time */
struct pack_reader;
/* -EIO reported */
int pack_reader_open(
    struct packs *p, const struct body_ref *ref, struct pack_reader **out);
ssize_t pack_read(struct pack_reader *r, void *buf, size_t n, uint64_t off);
void pack_reader_close(struct pack_reader *r);
/*
 * Is the whole body there and right?  0; -ENOENT, -EBADMSG (neither reported);
 * -EIO, -ENOMEM.
 */
int packs_check(struct packs *p, const struct body_ref *ref);
/*
 * Bodies that a process before this one appended, and may not have made
 * durable: renew writes each once more (a failed sync leaves behind what
 * readers see and the disk has not), renewed makes them durable.
 */
int packs_renew(struct packs *p, const struct body_ref *ref);
int packs_renewed(struct packs *p);
/*
 * Begins a new pack with the next append, so that none is appended to while
 * others are rewritten.
 */
int packs_seal(struct packs *p);
/* is there a pack of this number */
bool packs_have(struct packs *p, uint32_t id);

struct packs_sync {
	struct os_file *file;
	uint32_t pack;
	uint64_t end;
	bool new_file;
};
bool packs_dirty(const struct packs *p);
void packs_sync_begin(struct packs *p, struct packs_sync *s);
int packs_sync_run(struct packs *p, struct packs_sync *s);
void packs_sync_done(struct packs *p, const struct packs_sync *s, int error);

/*
 * Walks every entry of every pack, oldest first; a bad one is handed over with
 * good = false and skipped to the next that is found.
 */
/*
 * torn: bad, and nothing follows.  table: nothing is lost, but the pack's table
 * of places is damaged.
 */
struct pack_entry {
	struct body_ref ref;
	bool good, torn, table;
	uint64_t stored;
	const char *why;
};
typedef int pack_entry_fn(void *arg, const struct pack_entry *e);
int packs_walk(
    struct packs *p, bool check_blocks, pack_entry_fn *fn, void *arg);
/* malloc'd, ascending */
int packs_list(struct packs *p, uint32_t **ids, size_t *n);
/* unlinks a pack that nobody refers to */
int packs_drop(struct packs *p, uint32_t id);
uint64_t packs_bytes(struct packs *p);

/* ---- compressing later (P4) ---- */

struct packs_raw {
	uint64_t bytes; /* that wait to be compressed, at most */
	uint64_t sealed; /* of them, in packs that are not appended to any more */
	uint64_t appended; /* bodies so far, raw or not */
};
void packs_raw(const struct packs *p, struct packs_raw *out);
/*
 * Packs that were there before this process may have raw entries: looks at one
 * of them, for packs_raw to count it.  1: there are more; -errno.
 */
int packs_raw_look(struct packs *p);
/* Does its header say that it has raw entries? */
bool packs_raw_hint(struct packs *p, uint32_t id);

/*
 * Squeezes the pack with the most raw bytes; one at a time.  begin and swap
 * under the owner's lock, run and end without it.
 */
struct packs_squeeze;
/*
 * -EALREADY: none waits; -EBUSY: one is under way; -EAGAIN: what was appended
 * to the pack has to be made durable first.
 */
int packs_squeeze_begin(struct packs *p, struct packs_squeeze **out);
/*
 * Writes about so many raw bytes more: 1 there are more, 0 all of it is written
 * and durable.  -EBADMSG: the pack is damaged and stays as it is; it is not
 * begun with again.  Other errors are reported, once until one succeeds.
 */
int packs_squeeze_run(struct packs_squeeze *q, uint64_t bytes);
/*
 * The new file takes the old one's place, when run has given 0; its error else;
 * -ECANCELED: stopped.
 */
int packs_squeeze_swap(struct packs_squeeze *q);
/* After swap: makes the name durable; frees q in any case. */
int packs_squeeze_end(struct packs_squeeze *q);
/* Under the owner's lock: one that is under way will not swap any more. */
void packs_squeeze_stop(struct packs *p);

#endif
