/*
 * pack_internal -- the bytes of a pack file, and what writing, reading and
 * walking share.
 *
 * File: "DSFPACK" and version byte 1, pack number (le32), zero (le32), XXH3-64
 * of those 16 bytes (le64).
 *
 * Entry, at a multiple of 8: "BDY1" (le32), number of blocks (le32), raw size
 * (le64), length of all blocks as stored (le64), XXH3-128 of the raw bytes
 * (16), XXH3-64 of the table (le64), place of the entry: pack number (le32) and
 * offset / 8 (le32), XXH3-64 of the 56 bytes before it (le64).  Then the table,
 * for each block: stored length with the top bit set when it is zstd (le32),
 * XXH3-64 of the stored bytes (le64). Then the blocks.  A block holds 128 KiB
 * raw, the last one the rest.  The header is written last, so a torn entry has
 * none.
 */
#ifndef DSYNCFS_STORE_PACK_INTERNAL_H
#define DSYNCFS_STORE_PACK_INTERNAL_H

#include <stdatomic.h>
#include <zstd.h>
#include "base/buf.h"
#include "store/pack.h"

#define PACK_MAGIC "DSFPACK"
#define PACK_VERSION 1
#define PACK_HEADER 24u
#define ENTRY_MAGIC 0x31594442u /* "BDY1" */
#define ENTRY_HEADER 64u
#define ENTRY_BLOCK 12u
#define BLOCK_ZSTD 0x80000000u
#define PACK_PATH 300
#define SPARE_FILES 4

/* A pack that is open for reading; its header was right. */
struct pack_file {
	uint32_t id;
	struct os_file *f; /* owned */
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
	uint64_t end, durable; /* bytes written, bytes durable */
	bool new_file; /* its name is not durable yet */
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
	uint64_t size, stored;
	uint8_t hash[16];
	uint64_t table_sum;
};

void pack_path(const struct packs *p, uint32_t id, char out[PACK_PATH]);
/* -EBADMSG, -EPROTONOSUPPORT */
int pack_header_check(const uint8_t *h, size_t n, uint32_t id);
/* Bounds every field against room, the bytes of the file behind the header. */
int entry_decode(const uint8_t h[ENTRY_HEADER], uint32_t id, uint64_t offset,
    uint64_t room, struct entry *e);
uint64_t entry_blocks(uint64_t size);
/* Reads all blocks of the entry and checks them, also against the whole's hash.
 */
int pack_reader_check(struct pack_reader *r);
/* fresh: nothing is taken from an earlier reader. */
int pack_reader_new(struct packs *p, const struct body_ref *ref, bool fresh,
    struct pack_reader **out, const char **why);
void pack_file_close(struct packs *p, struct pack_file *file);
/* One of this pack that nobody uses, or NULL. */
struct pack_file *pack_file_spare(struct packs *p, uint32_t id);
/* Takes file over. */
void pack_file_give(struct packs *p, struct pack_file *file);
void pack_file_drop_spares(struct packs *p);

#endif
