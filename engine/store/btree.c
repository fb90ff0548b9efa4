/*
 * btree -- the index's pages: opening the file, reading, caching.
 *
 * The bytes stand in btree_internal.h, the promises B1 to B3 in btree.h.
 */
#include "store/btree_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

#define BTREE_MAGIC "DSFSIDX"
#define BTREE_VERSION 1
#define FIRST_PAGE 2u
#define BUCKETS 256u /* to begin with; a power of two */

uint16_t
page_u16(const uint8_t *p)
{
	return ((uint16_t)(p[0] | p[1] << 8));
}

uint32_t
page_u32(const uint8_t *p)
{
	return ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24);
}

uint64_t
page_u64(const uint8_t *p)
{
	return (page_u32(p) | (uint64_t)page_u32(p + 4) << 32);
}

void
page_set_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void
page_set_u32(uint8_t *p, uint32_t v)
{
	page_set_u16(p, (uint16_t)v);
	page_set_u16(p + 2, (uint16_t)(v >> 16));
}

void
page_set_u64(uint8_t *p, uint64_t v)
{
	page_set_u32(p, (uint32_t)v);
	page_set_u32(p + 4, (uint32_t)(v >> 32));
}

int
key_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return (c != 0 ? c : (alen > blen) - (alen < blen));
}

static void
list_push(struct page_list *l, struct page *p)
{
	p->prev = NULL;
	p->next = l->head;
	if (l->head != NULL)
		l->head->prev = p;
	else
		l->tail = p;
	l->head = p;
	l->n++;
}

static void
list_drop(struct page_list *l, struct page *p)
{
	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		l->head = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	else
		l->tail = p->prev;
	l->n--;
}

int
page_set_add(struct page_set *s, uint32_t no)
{
	size_t cap = s->cap == 0 ? 64 : s->cap * 2;
	uint32_t *p;

	if (s->n == s->cap) {
		if ((p = realloc(s->no, cap * sizeof(*p))) == NULL)
			return (-ENOMEM);
		s->no = p;
		s->cap = cap;
	}
	s->no[s->n++] = no;
	return (0);
}

/* ---- which are in memory ---- */

static struct page *
page_find(const struct btree *t, uint32_t no)
{
	struct page *p = t->bucket[no & (t->buckets - 1)];

	while (p != NULL && p->no != no)
		p = p->chain;
	return (p);
}

static void
chain(struct page **bucket, size_t buckets, struct page *p)
{
	struct page **at = &bucket[p->no & (buckets - 1)];

	p->chain = *at;
	*at = p;
}

/* Without memory the chains stay longer. */
static void
more_buckets(struct btree *t)
{
	size_t n = t->buckets * 2;
	struct page **bucket = calloc(n, sizeof(struct page *)), *p, *next;

	if (bucket == NULL)
		return;
	for (size_t i = 0; i < t->buckets; i++)
		for (p = t->bucket[i]; p != NULL; p = next) {
			next = p->chain;
			chain(bucket, n, p);
		}
	free(t->bucket);
	t->bucket = bucket;
	t->buckets = n;
}

static void
page_enter(struct btree *t, struct page *p)
{
	if (t->clean.n + t->dirty.n > t->buckets)
		more_buckets(t);
	chain(t->bucket, t->buckets, p);
}

static void
page_leave(struct btree *t, const struct page *p)
{
	struct page **at = &t->bucket[p->no & (t->buckets - 1)];

	while (*at != p)
		at = &(*at)->chain;
	*at = p->chain;
}

size_t
page_cell_size(const struct page *p, const uint8_t *cell)
{
	return (page_kind(p) == PAGE_LEAF ? 3u + cell[0] + page_u16(cell + 1)
					  : 5u + cell[0]);
}

void
page_compact(struct page *p)
{
	uint8_t old[PAGE_BYTES];
	unsigned i, n = page_count(p), low = PAGE_BYTES;
	const uint8_t *cell;
	size_t size;

	memcpy(old, p->data, PAGE_BYTES);
	for (i = 0; i < n; i++) {
		cell = old + page_u16(old + PAGE_HEADER + 2 * i);
		size = page_cell_size(p, cell);
		low -= (unsigned)size;
		memcpy(p->data + low, cell, size);
		page_set_u16(p->data + PAGE_HEADER + 2 * i, (uint16_t)low);
	}
	page_set_u16(p->data + 16, (uint16_t)low);
}

/* Marks n bytes of a page, a bit each; false: one had been marked already. */
static bool
take_bytes(uint64_t taken[PAGE_BYTES / 64], unsigned at, size_t n)
{
	while (n > 0) {
		unsigned bit = at % 64;
		size_t span = n < 64 - bit ? n : 64 - bit;
		uint64_t mask = (UINT64_MAX >> (64 - span)) << bit;

		if ((taken[at / 64] & mask) != 0)
			return (false);
		taken[at / 64] |= mask;
		at += (unsigned)span;
		n -= span;
	}
	return (true);
}

/* A cell of a page that lies in it, and holds what may be put. */
static bool
cell_well_formed(const struct btree *t, const struct page *p, unsigned at)
{
	const uint8_t *cell = p->data + at;
	size_t room = PAGE_BYTES - at;

	if (room < (page_level(p) == 0 ? 3 : 5) ||
	    page_cell_size(p, cell) > room)
		return (false);
	return (page_level(p) == 0
		? cell[0] > 0 && page_u16(cell + 1) <= BTREE_VALUE_MAX
		: cell_child(cell) >= FIRST_PAGE &&
		    cell_child(cell) < t->pages);
}

/*
 * Every slot and cell inside the page, keys in order, no byte part of two cells
 * (so that page_compact is safe, and a cell that is changed changes no other).
 */
static bool
cells_well_formed(const struct btree *t, const struct page *p)
{
	unsigned i, n = page_count(p), at, low = page_u16(p->data + 16);
	const uint8_t *cell, *key, *before = NULL;
	uint64_t taken[PAGE_BYTES / 64] = { 0 };
	size_t klen, before_len = 0;

	if ((page_kind(p) == PAGE_LEAF) != (page_level(p) == 0) ||
	    page_level(p) >= BTREE_DEPTH_MAX)
		return (false);
	if (PAGE_HEADER + 2 * n > low || low > PAGE_BYTES)
		return (false);
	for (i = 0; i < n; i++) {
		at = page_u16(p->data + PAGE_HEADER + 2 * i);
		if (at < low || at >= PAGE_BYTES || !cell_well_formed(t, p, at))
			return (false);
		cell = p->data + at;
		if (!take_bytes(taken, at, page_cell_size(p, cell)))
			return (false);
		key = cell_key(p, cell, &klen);
		if (i > (page_kind(p) == PAGE_INNER ? 1u : 0u) &&
		    key_cmp(before, before_len, key, klen) >= 0)
			return (false);
		before = key;
		before_len = klen;
	}
	return (n > 0);
}

static bool
well_formed(const struct btree *t, const struct page *p)
{
	switch (p->data[12]) {
	case PAGE_LEAF:
	case PAGE_INNER:
		return (cells_well_formed(t, p));
	case PAGE_FREE:
		return (page_count(p) <= FREE_PER_PAGE);
	default:
		return (false);
	}
}

int
btree_page_read(struct btree *t, uint32_t no, struct page *p)
{
	ssize_t got;

	if (t->file == NULL || no < FIRST_PAGE || no >= t->pages)
		return (-EBADMSG);
	got = t->os->ops->pread(
	    t->file, p->data, PAGE_BYTES, (uint64_t)no * PAGE_BYTES);
	if (got < 0)
		return ((int)got);
	p->no = no;
	if ((size_t)got != PAGE_BYTES || page_u32(p->data + 8) != no ||
	    page_u64(p->data) !=
		xxh3_64(p->data + PAGE_HASHED, PAGE_BYTES - PAGE_HASHED) ||
	    !well_formed(t, p))
		return (-EBADMSG);
	/* Of a checkpoint that does not count: its place was reused. */
	if ((int32_t)(page_u32(p->data + 18) - (uint32_t)t->generation) > 0)
		return (-EBADMSG);
	return (0);
}

int
btree_page(struct btree *t, uint32_t no, struct page **out)
{
	struct page *p;
	int error;

	if (no < FIRST_PAGE || no >= t->pages)
		return (-EBADMSG);
	if ((p = page_find(t, no)) != NULL) {
		if (!p->dirty && t->clean.head != p) {
			list_drop(&t->clean, p);
			list_push(&t->clean, p);
		}
		*out = p;
		return (0);
	}
	if ((p = malloc(sizeof(*p))) == NULL)
		return (-ENOMEM);
	if ((error = btree_page_read(t, no, p)) != 0) {
		free(p);
		return (error);
	}
	p->dirty = false;
	p->last = PAGE_BYTES;
	list_push(&t->clean, p);
	page_enter(t, p);
	*out = p;
	return (0);
}

void
btree_trim(struct btree *t)
{
	struct page *p;

	while (t->clean.n > t->cache_pages) {
		p = t->clean.tail;
		list_drop(&t->clean, p);
		page_leave(t, p);
		free(p);
	}
}

static int
take_number(struct btree *t, uint32_t *no)
{
	int error;

	while (t->unused.n == 0 && t->list_next != 0)
		if ((error = btree_load_free(t)) != 0)
			return (error);
	if (t->unused.n > 0) {
		*no = t->unused.no[--t->unused.n];
		/* A free page is in nobody's use, unless the list lies. */
		return (page_find(t, *no) == NULL ? 0 : -EBADMSG);
	}
	if (t->pages == UINT32_MAX)
		return (-EFBIG);
	*no = t->pages++;
	return (0);
}

int
btree_page_new(
    struct btree *t, enum page_kind kind, unsigned level, struct page **out)
{
	struct page *p = calloc(1, sizeof(*p));
	int error;

	if (p == NULL)
		return (-ENOMEM);
	if ((error = take_number(t, &p->no)) != 0) {
		free(p);
		return (error);
	}
	p->data[12] = (uint8_t)kind;
	p->data[13] = (uint8_t)level;
	page_set_u16(p->data + 16, PAGE_BYTES);
	p->dirty = true;
	list_push(&t->dirty, p);
	page_enter(t, p);
	*out = p;
	return (0);
}

int
btree_page_touch(struct btree *t, struct page *p)
{
	uint32_t no;
	int error;

	if (p->dirty)
		return (0);
	if ((error = take_number(t, &no)) != 0)
		return (error);
	if ((error = page_set_add(&t->pending, p->no)) != 0)
		return (error);
	/* Cells that overlap, as only a forger makes them, must not stay so. */
	page_compact(p);
	list_drop(&t->clean, p);
	page_leave(t, p);
	p->no = no;
	p->dirty = true;
	list_push(&t->dirty, p);
	page_enter(t, p);
	return (0);
}

void
btree_page_free(struct btree *t, struct page *p)
{
	list_drop(p->dirty ? &t->dirty : &t->clean, p);
	page_leave(t, p);
	/*
	 * A page no checkpoint has seen can be taken at once.  Losing a number
	 * for want of memory costs a page of disk until the index is rebuilt.
	 */
	(void)page_set_add(p->dirty ? &t->unused : &t->pending, p->no);
	free(p);
}

void
btree_page_settle(struct btree *t)
{
	struct page *p;

	while ((p = t->dirty.tail) != NULL) {
		list_drop(&t->dirty, p);
		p->dirty = false;
		list_push(&t->clean, p);
	}
}

/* ---- opening ---- */

int
btree_load_free(struct btree *t)
{
	struct page *p;
	unsigned i;
	int error;

	/* A list with more pages than the file walks in a circle. */
	if (t->list_pages.n > t->pages)
		return (-EBADMSG);
	if ((p = malloc(sizeof(*p))) == NULL)
		return (-ENOMEM);
	if ((error = btree_page_read(t, t->list_next, p)) != 0)
		goto out;
	if (page_kind(p) != PAGE_FREE)
		error = -EBADMSG;
	else
		error = page_set_add(&t->list_pages, t->list_next);
	for (i = 0; error == 0 && i < page_count(p); i++) {
		uint32_t no = page_u32(p->data + PAGE_HEADER + 4 + 4 * i);

		if (no < FIRST_PAGE || no >= t->pages)
			error = -EBADMSG;
		else
			error = page_set_add(&t->unused, no);
	}
	if (error == 0)
		t->list_next = page_u32(p->data + PAGE_HEADER);
	else
		t->poisoned = true; /* half a page's numbers were taken */
out:
	free(p);
	return (error);
}

struct head {
	uint64_t generation;
	uint32_t root, pages, free_list;
	size_t user_len;
};

/* 0; -EBADMSG; -EPROTONOSUPPORT. */
static int
parse_head(const uint8_t *p, struct head *h)
{
	if (memcmp(p, BTREE_MAGIC, 7) != 0 ||
	    page_u64(p + HEAD_HASH_AT) != xxh3_64(p, HEAD_HASH_AT))
		return (-EBADMSG);
	if (p[7] != BTREE_VERSION)
		return (-EPROTONOSUPPORT);
	h->generation = page_u64(p + 8);
	h->root = page_u32(p + 16);
	h->pages = page_u32(p + 20);
	h->free_list = page_u32(p + 24);
	h->user_len = page_u16(p + 28);
	if (h->user_len > BTREE_USER_MAX || h->pages < FIRST_PAGE ||
	    h->root >= h->pages || h->free_list >= h->pages)
		return (-EBADMSG);
	return (0);
}

static int
read_heads(struct btree *t)
{
	uint8_t *both = calloc(2, PAGE_BYTES);
	struct head h[2];
	ssize_t got;
	int r[2], i, best = -1, error;

	if (both == NULL)
		return (-ENOMEM);
	got = t->os->ops->pread(t->file, both, 2 * PAGE_BYTES, 0);
	if (got < 0) {
		error = (int)got;
		goto out;
	}
	for (i = 0; i < 2; i++) {
		r[i] = parse_head(both + (size_t)i * PAGE_BYTES, &h[i]);
		if (r[i] == 0 &&
		    (best < 0 || h[i].generation > h[best].generation))
			best = i;
	}
	error = 0;
	/* Neither is good, or one is of a version that this program is not. */
	if (best < 0 || r[0] == -EPROTONOSUPPORT || r[1] == -EPROTONOSUPPORT) {
		error = best < 0 && r[0] == r[1] ? r[0]
		    : r[0] == -EPROTONOSUPPORT || r[1] == -EPROTONOSUPPORT
		    ? -EPROTONOSUPPORT
		    : -EBADMSG;
		goto out;
	}
	t->generation = h[best].generation;
	t->root = t->head_root = h[best].root;
	t->list_next = t->head_list = h[best].free_list;
	t->pages = h[best].pages;
	t->user_len = h[best].user_len;
	memcpy(t->user, both + (size_t)best * PAGE_BYTES + 30, t->user_len);
out:
	free(both);
	return (error);
}

void
btree_head_bytes(const struct btree *t, uint64_t generation, uint32_t list,
    const void *user, size_t len, uint8_t out[PAGE_BYTES])
{
	memset(out, 0, PAGE_BYTES);
	memcpy(out, BTREE_MAGIC, 7);
	out[7] = BTREE_VERSION;
	page_set_u64(out + 8, generation);
	page_set_u32(out + 16, t->root);
	page_set_u32(out + 20, t->pages);
	page_set_u32(out + 24, list);
	page_set_u16(out + 28, (uint16_t)len);
	if (len > 0)
		memcpy(out + 30, user, len);
	page_set_u64(out + HEAD_HASH_AT, xxh3_64(out, HEAD_HASH_AT));
}

/* A file that is there has a good head from the beginning. */
static int
create(struct btree *t)
{
	uint8_t *both = calloc(2, PAGE_BYTES);
	int error;

	if (both == NULL)
		return (-ENOMEM);
	btree_head_bytes(t, 1, 0, NULL, 0, both + PAGE_BYTES);
	error = os_replace_file(t->os, t->path, both, 2 * PAGE_BYTES);
	free(both);
	return (error);
}

static int
open_file(struct btree *t)
{
	struct os_stat st;
	unsigned flags = t->rdonly ? OS_READ : OS_WRITE;
	int error;

	error = t->os->ops->open(t->os, t->path, flags, &t->file);
	if (error == -ENOENT) {
		t->file = NULL;
		if (t->rdonly)
			return (0);
		if ((error = create(t)) == 0)
			error =
			    t->os->ops->open(t->os, t->path, flags, &t->file);
	}
	if (error != 0) {
		t->file = NULL;
		return (error);
	}
	if ((error = t->os->ops->fstat(t->file, &st)) != 0 ||
	    (error = read_heads(t)) != 0)
		return (error);
	t->file_size = st.size;
	/* More pages than the file has are a lie. */
	if ((uint64_t)t->pages * PAGE_BYTES > st.size)
		return (-EBADMSG);
	return (t->list_next == 0 ? 0 : btree_load_free(t));
}

int
btree_open(struct os *os, const char *path, size_t cache_bytes, bool rdonly,
    struct btree **out)
{
	struct btree *t = calloc(1, sizeof(*t));
	int error;

	if (t == NULL)
		return (-ENOMEM);
	t->os = os;
	t->rdonly = rdonly;
	t->cache_pages = cache_bytes / sizeof(struct page);
	if (t->cache_pages < BTREE_DEPTH_MAX)
		t->cache_pages = BTREE_DEPTH_MAX;
	t->pages = FIRST_PAGE;
	t->buckets = BUCKETS;
	error = -ENOMEM;
	if ((t->path = strdup(path)) == NULL ||
	    (t->bucket = calloc(t->buckets, sizeof(struct page *))) == NULL ||
	    (error = open_file(t)) != 0) {
		btree_close(t);
		return (error);
	}
	*out = t;
	return (0);
}

void
btree_close(struct btree *t)
{
	struct page *p;

	if (t == NULL)
		return;
	while ((p = t->clean.head) != NULL) {
		list_drop(&t->clean, p);
		free(p);
	}
	while ((p = t->dirty.head) != NULL) {
		list_drop(&t->dirty, p);
		free(p);
	}
	if (t->file != NULL)
		t->os->ops->close(t->file);
	free(t->unused.no);
	free(t->pending.no);
	free(t->list_pages.no);
	free(t->bucket);
	free(t->path);
	free(t);
}

const void *
btree_user(const struct btree *t, size_t *len)
{
	*len = t->user_len;
	return (t->user);
}

size_t
btree_dirty_pages(const struct btree *t)
{
	return (t->dirty.n);
}

uint64_t
btree_file_bytes(const struct btree *t)
{
	return ((uint64_t)t->pages * PAGE_BYTES);
}
