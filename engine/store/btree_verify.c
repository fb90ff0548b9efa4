/*
 * btree_verify -- reading everything that the last head reaches, from disk.
 */
#include "store/btree_internal.h"

#include <errno.h>
#include <stdlib.h>

struct check {
	struct btree *t;
	uint8_t *seen; /* owned: a bit per page */
	uint64_t pages, bad;
};

/* Keys of a subtree: not below lo, and below hi where there is one. */
struct bounds {
	const uint8_t *lo, *hi;
	size_t lolen, hilen;
};

/* Marks a page; false when it had been met already. */
static bool
meet(struct check *c, uint32_t no)
{
	uint8_t bit = (uint8_t)(1u << (no % 8));

	if (no >= c->t->pages || (c->seen[no / 8] & bit) != 0)
		return (false);
	c->seen[no / 8] = (uint8_t)(c->seen[no / 8] | bit);
	return (true);
}

/* The first key of an inner page is not looked at by anyone. */
static bool
within(const struct page *p, const struct bounds *b)
{
	unsigned i, n = page_count(p);
	const uint8_t *key;
	size_t klen;

	for (i = page_level(p) == 0 ? 0 : 1; i < n; i++) {
		key = cell_key(p, page_cell(p, i), &klen);
		if ((b->lo != NULL &&
			key_cmp(key, klen, b->lo, b->lolen) < 0) ||
		    (b->hi != NULL && key_cmp(key, klen, b->hi, b->hilen) >= 0))
			return (false);
	}
	return (true);
}

static int
check_page(struct check *c, uint32_t no, unsigned above, const struct bounds *b)
{
	struct page *p = malloc(sizeof(*p));
	struct bounds sub;
	unsigned i, n;
	int error;

	if (p == NULL)
		return (-ENOMEM);
	c->pages++;
	error = meet(c, no) ? btree_page_read(c->t, no, p) : -EBADMSG;
	if (error != 0 || page_kind(p) == PAGE_FREE ||
	    (above != BTREE_DEPTH_MAX && page_level(p) + 1 != above) ||
	    !within(p, b)) {
		c->bad++;
		error = 0;
		goto out;
	}
	n = page_level(p) == 0 ? 0 : page_count(p);
	for (i = 0; i < n && error == 0; i++) {
		sub = *b;
		if (i > 0)
			sub.lo = cell_key(p, page_cell(p, i), &sub.lolen);
		if (i + 1 < n)
			sub.hi = cell_key(p, page_cell(p, i + 1), &sub.hilen);
		error = check_page(
		    c, cell_child(page_cell(p, i)), page_level(p), &sub);
	}
out:
	free(p);
	return (error);
}

/* No page of the free list, nor one that it names, is in use. */
static int
check_free_list(struct check *c)
{
	struct page *p = malloc(sizeof(*p));
	uint32_t no;
	unsigned i;

	if (p == NULL)
		return (-ENOMEM);
	for (no = c->t->head_list; no != 0;) {
		c->pages++;
		if (!meet(c, no) || btree_page_read(c->t, no, p) != 0 ||
		    page_kind(p) != PAGE_FREE) {
			c->bad++;
			break;
		}
		for (i = 0; i < page_count(p); i++)
			if (!meet(c,
				page_u32(p->data + PAGE_HEADER + 4 + 4 * i))) {
				c->bad++;
				break;
			}
		no = page_u32(p->data + PAGE_HEADER);
	}
	free(p);
	return (0);
}

int
btree_verify(struct btree *t, uint64_t *pages, uint64_t *bad)
{
	struct check c = { t, NULL, 0, 0 };
	struct bounds all = { NULL, NULL, 0, 0 };
	int error = 0;

	if ((c.seen = calloc(t->pages / 8 + 1, 1)) == NULL)
		return (-ENOMEM);
	if (t->head_root != 0)
		error = check_page(&c, t->head_root, BTREE_DEPTH_MAX, &all);
	if (error == 0)
		error = check_free_list(&c);
	free(c.seen);
	if (error != 0)
		return (error);
	*pages = c.pages;
	*bad = c.bad;
	return (0);
}
