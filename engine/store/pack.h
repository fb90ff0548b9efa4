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
 * name).
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
int packs_append(struct packs *p, uint64_t size, const uint8_t hash[16],
    pack_raw_fn *raw, void *arg, struct body_ref *ref);

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
/* torn: bad, and nothing follows */
struct pack_entry {
	struct body_ref ref;
	bool good, torn;
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

#endif
