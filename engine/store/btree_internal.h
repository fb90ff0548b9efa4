/*
 * btree_internal -- the index file's bytes, and its pages in memory.
 *
 * The file is pages of 4096 bytes.  Pages 0 and 1 are heads, written in turn:
 * magic "DSFSIDX" and version byte 1, generation (le64), root page (le32, 0 =
 * empty), page count (le32), first page of the free list (le32, 0 = none),
 * length of the owner's bytes (le16), the owner's bytes; XXH3-64 of the first
 * 4088 bytes at 4088.  The good head with the higher generation counts.
 *
 * Any other page: XXH3-64 of the rest (le64), its own number (le32), kind (u8:
 * 1 leaf, 2 inner, 3 free list), level (u8: 0 for a leaf, else one more than
 * its children's), count (le16), lowest byte used by cells (le16), low 32 bits
 * of the generation it was written for (le32), two zero bytes; then in a tree
 * page `count` slots (le16, the offset of a cell) in key order, cells filling
 * the page from its end. A leaf's cell: key length (u8), value length (le16),
 * key, value. An inner cell: key length (u8), child page (le32), key; the child
 * holds keys
 * >= this one's; the first cell's key is not looked at.
 * A free list page: next page of the list (le32), then `count` le32 numbers.
 * Only the list's first page is held in memory; the others as they are needed.
 */
#ifndef DSYNCFS_STORE_BTREE_INTERNAL_H
#define DSYNCFS_STORE_BTREE_INTERNAL_H

#include "store/btree.h"

#define PAGE_BYTES 4096u
#define PAGE_HEADER 24u
#define PAGE_HASHED 8u /* the checksum covers from here on */
#define BTREE_DEPTH_MAX 16u
#define HEAD_HASH_AT 4088u
#define FREE_PER_PAGE ((PAGE_BYTES - PAGE_HEADER - 4) / 4)

enum page_kind { PAGE_LEAF = 1, PAGE_INNER = 2, PAGE_FREE = 3 };

struct page {
	uint32_t no;
	bool dirty;
	/* slot of the newest entry; a guess is fine */
	unsigned last;
	struct page *prev, *next; /* in the clean or the dirty list */
	struct page *chain; /* in its bucket */
	uint8_t data[PAGE_BYTES];
};

struct page_list {
	struct page *head, *tail;
	size_t n;
};

struct page_set { /* numbers, unordered */
	uint32_t *no; /* owned */
	size_t n, cap;
};

struct btree {
	struct os *os; /* borrowed */
	char *path; /* owned */
	struct os_file *file; /* owned; NULL in memory only */
	uint64_t file_size;
	bool rdonly, poisoned;
	size_t cache_pages;
	uint64_t generation;
	uint64_t change; /* counts changes, for cursors */
	uint32_t root, pages;
	/*
	 * owned: chains of the pages that are in memory, by the low bits of
	 * their numbers, which lie side by side; so a large index costs nothing
	 */
	struct page **bucket;
	size_t buckets; /* a power of two */
	struct page_list clean, dirty; /* clean: least recently used last */
	struct page_set unused; /* may be taken now */
	/* may be taken after the next checkpoint */
	struct page_set pending;
	struct page_set list_pages; /* hold `unused` on disk */
	/* page of the free list that is not in memory, 0 = none */
	uint32_t list_next;
	uint32_t head_root, head_list; /* as the last head has them */
	uint8_t user[BTREE_USER_MAX];
	size_t user_len;
};

uint16_t page_u16(const uint8_t *p);
uint32_t page_u32(const uint8_t *p);
uint64_t page_u64(const uint8_t *p);
void page_set_u16(uint8_t *p, uint16_t v);
void page_set_u32(uint8_t *p, uint32_t v);
void page_set_u64(uint8_t *p, uint64_t v);

static inline enum page_kind
page_kind(const struct page *p)
{
	return ((enum page_kind)p->data[12]);
}

static inline unsigned
page_level(const struct page *p)
{
	return (p->data[13]);
}

static inline unsigned
page_count(const struct page *p)
{
	return (page_u16(p->data + 14));
}

static inline const uint8_t *
page_cell(const struct page *p, unsigned slot)
{
	return (p->data + page_u16(p->data + PAGE_HEADER + 2 * slot));
}

/* Key of a cell, for both kinds. */
static inline const uint8_t *
cell_key(const struct page *p, const uint8_t *cell, size_t *klen)
{
	*klen = cell[0];
	return (cell + (page_kind(p) == PAGE_LEAF ? 3 : 5));
}

static inline uint32_t
cell_child(const uint8_t *cell)
{
	return (page_u32(cell + 1));
}

static inline bool
page_is_tree(const struct page *p)
{
	return (page_kind(p) == PAGE_LEAF || page_kind(p) == PAGE_INNER);
}

struct btree_step {
	struct page *page;
	unsigned slot;
};

struct btree_path {
	struct btree_step step[BTREE_DEPTH_MAX];
	unsigned depth; /* steps in use; the last is the leaf */
};

/* From the root to the leaf that holds k, or would. */
int btree_descend(
    struct btree *t, const void *k, size_t klen, struct btree_path *w);
/* First slot with a key >= k; *exact when it is k. */
unsigned page_lower_bound(
    const struct page *p, const void *k, size_t klen, bool *exact);

/* The page from memory or disk, checked (B2). */
int btree_page(struct btree *t, uint32_t no, struct page **out);
/* From disk into p, checked; whatever is in memory. */
int btree_page_read(struct btree *t, uint32_t no, struct page *p);
int btree_page_new(
    struct btree *t, enum page_kind kind, unsigned level, struct page **out);
/* The page may be changed now: it has another number if it was clean (B1). */
int btree_page_touch(struct btree *t, struct page *p);
void btree_page_free(struct btree *t, struct page *p);
/* Lets clean pages go that are over the budget; at the start of a call. */
void btree_trim(struct btree *t);
/* Cells lie side by side at the page's end again. */
void page_compact(struct page *p);
size_t page_cell_size(const struct page *p, const uint8_t *cell);
int page_set_add(struct page_set *s, uint32_t no);
/* Takes the numbers of the free list's next page into memory. */
int btree_load_free(struct btree *t);
/* every dirty page is clean now */
void btree_page_settle(struct btree *t);
void btree_head_bytes(const struct btree *t, uint64_t generation, uint32_t list,
    const void *user, size_t len, uint8_t out[PAGE_BYTES]);
int key_cmp(const void *a, size_t alen, const void *b, size_t blen);

#endif
