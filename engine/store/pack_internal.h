/*
 * pack_internal -- the bytes of a pack file, and what writing, reading and
 * walking share.
 *
 * File: "DSFPACK" and version byte 1 or 2, pack number (le32), hint (u8: not 0,
 * entries may be stored raw that could be compressed; version 2: 0), three
 * zero bytes, XXH3-64 of those 16 bytes with the hint taken for 0 (le64).  The
 * hint is written by itself, in place, so it has no checksum; what it says is
 * worth a look and no more.
 *
 * Entry, at a multiple of 8: "BDY1" (le32), number of blocks (le32), raw size
 * (le64), length of all blocks as stored (le64), XXH3-128 of the raw bytes
 * (16), XXH3-64 of the table (le64), place of the entry: pack number (le32) and
 * offset / 8 (le32), XXH3-64 of the 56 bytes before it (le64).  Then the table,
 * for each block: stored length with the top bit set when it is zstd (le32),
 * XXH3-64 of the stored bytes (le64). Then the blocks.  A block holds 128 KiB
 * raw, the last one the rest.  The header is written last, so a torn entry has
 * none.
 *
 * In a file of version 1 an entry lies at its place.  In one of version 2 (P4)
 * it lies at or before its place (no block has got longer), in the order of
 * places; the table of places
 * follows the last entry, at a multiple of 8: pages of 511 pairs (the last one
 * of the rest), each XXH3-64 of its pairs (le64), then for each entry place / 8
 * and offset in this file / 8 (both le32); the first place / 8 of each page
 * (le32); the footer: "DSFTABLE", pack number (le32), number of entries (le32),
 * offset of the first page (le64), XXH3-64 of the pages' first places (le64),
 * XXH3-64 of the 32 bytes before it (le64).
 */
#ifndef DSYNCFS_STORE_PACK_INTERNAL_H
#define DSYNCFS_STORE_PACK_INTERNAL_H

#include <stdatomic.h>
#include <zstd.h>
#include "base/buf.h"
#include "store/pack.h"

#define PACK_MAGIC "DSFPACK"
#define PACK_VERSION 1
#define PACK_SQUEEZED 2 /* version of a squeezed pack */
#define PACK_HEADER 24u
#define PACK_HINT 12u /* offset of the hint */
#define ENTRY_MAGIC 0x31594442u /* "BDY1" */
#define ENTRY_HEADER 64u
#define ENTRY_BLOCK 12u
#define BLOCK_ZSTD 0x80000000u
#define PACK_PATH 300
#define PACK_SQUEEZE_PATH "squeeze.tmp"
#define SPARE_FILES 4

struct pack_tools; /* what writing an entry works with */
struct pack_table; /* the table of places of a squeezed pack */

/* A pack that is open for reading. */
struct pack_file {
	uint32_t id;
	/* header_bad: only squeezed packs' rules hold for any */
	bool squeezed, header_bad;
	/* packs.replaced when it was opened */
	unsigned replaced;
	struct os_file *f; /* owned */
	/* owned; NULL: not squeezed, or the table is damaged */
	struct pack_table *table;
};

/* A pack that is not appended to any more and has raw entries. */
struct pack_waiting {
	uint32_t id;
	uint64_t raw; /* bytes, at most */
};

struct packs {
	struct os *os; /* borrowed */
	char *dir; /* owned */
	int level;
	bool rdonly, poisoned, syncing;
	uint32_t last; /* highest number in use */
	/* owned: the pack being written, NULL before the first append */
	struct os_file *file;
	/* owned: a second handle, for syncs beside writes */
	struct os_file *sync_file;
	struct os_file *retired; /* owned: a sync is using it still */
	uint32_t pack; /* its number */
	/* owned: packs_renew's pack, NULL: none */
	struct os_file *renew_file;
	uint32_t renew_pack;
	bool renew_none; /* nothing of it needs to be */
	uint64_t end, durable; /* bytes written, bytes durable */
	uint64_t raw; /* bytes in it that could be squeezed */
	bool new_file; /* its name is not durable yet */
	bool hinted; /* its header says that there are raw entries */
	uint64_t appended; /* bodies, by this handle */
	/* owned: sealed packs with raw entries */
	struct pack_waiting *waiting;
	size_t n_waiting, cap_waiting;
	/* owned: packs of processes before, which may have raw entries */
	uint32_t *old;
	size_t n_old, at_old;
	uint32_t last_old; /* highest number when this was opened */
	bool listed_old;
	struct packs_squeeze *squeeze; /* borrowed: the one that runs */
	bool squeeze_said; /* that it fails */
	/* files of packs that were replaced or dropped: so often */
	atomic_uint replaced;
	atomic_bool table_said; /* that a table is damaged */
	/* owned: what appending works with, kept from one body to the next */
	struct pack_tools *tools;
	/* owned: for one reader at a time, taken and given back by any thread
	 */
	_Atomic(ZSTD_DCtx *) spare;
	/*
	 * owned, and used likewise: packs that were read last.  A lone reader
	 * always gets the first, which the system then reads ahead.
	 */
	_Atomic(struct pack_file *) spare_file[SPARE_FILES];
};

struct entry {
	uint32_t blocks;
	uint64_t place, size, stored;
	uint8_t hash[16];
	uint64_t table_sum;
};

struct pack_head {
	unsigned version;
	bool hint;
};

void pack_path(const struct packs *p, uint32_t id, char out[PACK_PATH]);
void pack_complain(
    const struct packs *p, uint32_t id, const char *what, int error);
void pack_header_put(
    struct buf *b, unsigned version, uint32_t id, bool hint);
/* -EBADMSG, -EPROTONOSUPPORT; *out gets what the bytes say in any case. */
int pack_header_check(
    const uint8_t *h, size_t n, uint32_t id, struct pack_head *out);
/*
 * Bounds every field against room, the bytes of the file behind the header.
 */
int entry_decode(const uint8_t h[ENTRY_HEADER], uint32_t id, uint64_t place,
    uint64_t room, struct entry *e);
/* What a header says of its own place, not checked. */
uint64_t entry_place(const uint8_t h[ENTRY_HEADER]);
uint64_t entry_blocks(uint64_t size);
/* All of its bytes. */
uint64_t entry_len(const struct entry *e);

/* ---- one entry is written (pack_entry.c) ---- */
/* Block i as it is compressed already: its length; 0: it is not. */
typedef ssize_t pack_kept_fn(void *arg, uint64_t i, uint8_t out[PACK_BLOCK]);
struct entry_out {
	struct os *os; /* all borrowed */
	struct os_file *f;
	uint64_t at; /* where in the file */
	uint32_t pack;
	uint64_t place;
	uint64_t size;
	const uint8_t *hash;
	int level; /* 0: raw */
	pack_kept_fn *kept; /* NULL: no block is */
};
int pack_tools_new(struct pack_tools **out);
void pack_tools_free(struct pack_tools *t);
int entry_write(const struct entry_out *o, struct pack_tools *t,
    pack_raw_fn *raw, void *arg, uint64_t *len);

/* ---- reading (pack_read.c) ---- */
/*
 * Reads all blocks of the entry and checks them, also against the whole's
 * hash.
 */
int pack_reader_check(struct pack_reader *r);
/* Of the entry there in f, which is lent until the reader is closed. */
int pack_reader_at(struct packs *p, struct os_file *f, uint64_t at,
    const struct body_ref *ref, struct pack_reader **out);
/* As pack_read, but nothing is reported: -EBADMSG. */
ssize_t pack_reader_get(
    struct pack_reader *r, void *buf, size_t n, uint64_t off);
pack_kept_fn pack_reader_kept;
/* fresh: nothing is taken from an earlier reader. */
int pack_reader_new(struct packs *p, const struct body_ref *ref, bool fresh,
    struct pack_reader **out, const char **why);
void pack_file_close(struct packs *p, struct pack_file *file);
/* One of this pack that nobody uses, or NULL. */
struct pack_file *pack_file_spare(struct packs *p, uint32_t id);
/* Takes file over. */
void pack_file_give(struct packs *p, struct pack_file *file);
void pack_file_drop_spares(struct packs *p);
/* Where in the file; walks over it when the table cannot tell. */
int pack_file_place(
    struct packs *p, struct pack_file *file, uint64_t place, uint64_t *at);

/* ---- walking (pack_walk.c) ---- */
/* The entry that says it is of this place; -EBADMSG. */
int pack_walk_find(
    struct packs *p, struct pack_file *file, uint64_t place, uint64_t *at);

/* ---- the table of places (pack_table.c) ---- */
/* In ascending order. */
void pack_table_add(struct buf *places, uint64_t place, uint64_t at);
/* The table as bytes, to be written at start; what fails is in out->error. */
void pack_table_put(
    struct buf *out, const struct buf *places, uint32_t id, uint64_t start);
/* -EBADMSG, -EIO, -ENOMEM; none reported */
int pack_table_read(
    struct os *os, struct os_file *f, uint32_t id, struct pack_table **out);
/* Whether it has one that reads. */
bool pack_has_table(struct os *os, struct os_file *f, uint32_t id);
/*
 * -ENOENT: not in it; -EBADMSG: damaged there.  Whoever has the file asks, one
 * thread at a time.
 */
int pack_table_find(struct os *os, struct os_file *f, struct pack_table *t,
    uint64_t place, uint64_t *at);
/* All of it. */
int pack_table_check(struct os *os, struct os_file *f, struct pack_table *t);
/* Where the entries end. */
uint64_t pack_table_start(const struct pack_table *t);
void pack_table_free(struct pack_table *t);

/* ---- squeezing (pack_squeeze.c) ---- */
/* The pack is not appended to any more.  Without memory it is forgotten. */
void pack_waiting_add(struct packs *p, uint32_t id, uint64_t raw);
void pack_waiting_drop(struct packs *p, uint32_t id);

#endif
