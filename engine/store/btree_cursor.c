/*
 * btree_cursor -- walking the entries in order.
 */
#include "store/btree_internal.h"

#include <errno.h>
#include <string.h>

static void
cursor_end(struct btree_cursor *c)
{
	c->key = c->value = NULL;
	c->klen = c->vlen = 0;
	c->depth = 0;
}

static void
cursor_show(struct btree_cursor *c, const struct page *leaf, unsigned slot)
{
	const uint8_t *cell = page_cell(leaf, slot);

	c->klen = cell[0];
	c->key = cell + 3;
	c->vlen = page_u16(cell + 1);
	c->value = cell + 3 + cell[0];
}

/* From page `no`, whose parent has the level `above`, down its left edge. */
static int
leftmost(struct btree_cursor *c, uint32_t no, unsigned above)
{
	struct page *p;
	int error;

	while (c->depth < BTREE_DEPTH_MAX) {
		if ((error = btree_page(c->tree, no, &p)) != 0)
			return (error);
		if (!page_is_tree(p) || page_level(p) + 1 != above)
			return (-EBADMSG);
		above = page_level(p);
		c->path[c->depth].page = no;
		c->path[c->depth++].slot = 0;
		if (page_kind(p) == PAGE_LEAF) {
			cursor_show(c, p, 0);
			return (0);
		}
		no = cell_child(page_cell(p, 0));
	}
	return (-EBADMSG);
}

/* The leaf's last slot was passed: the next leaf, or the end. */
static int
next_leaf(struct btree_cursor *c)
{
	struct page *p;
	int error;

	for (c->depth--; c->depth > 0; c->depth--) {
		unsigned level = c->depth - 1;

		error = btree_page(c->tree, (uint32_t)c->path[level].page, &p);
		if (error != 0)
			return (error);
		if (c->path[level].slot + 1 < page_count(p)) {
			c->path[level].slot++;
			return (leftmost(c,
			    cell_child(page_cell(p, c->path[level].slot)),
			    page_level(p)));
		}
	}
	cursor_end(c);
	return (0);
}

int
btree_seek(struct btree *t, const void *k, size_t klen, struct btree_cursor *c)
{
	struct btree_path w;
	struct page *leaf;
	unsigned i, slot;
	bool exact;
	int error;

	memset(c, 0, sizeof(*c));
	c->tree = t;
	c->change = t->change;
	btree_trim(t);
	if (t->root == 0)
		return (0);
	if ((error = btree_descend(t, k, klen, &w)) != 0)
		return (error);
	for (i = 0; i < w.depth; i++) {
		c->path[i].page = w.step[i].page->no;
		c->path[i].slot = w.step[i].slot;
	}
	c->depth = w.depth;
	leaf = w.step[w.depth - 1].page;
	slot = page_lower_bound(leaf, k, klen, &exact);
	c->path[w.depth - 1].slot = slot;
	if (slot < page_count(leaf)) {
		cursor_show(c, leaf, slot);
		return (0);
	}
	if ((error = next_leaf(c)) != 0)
		return (error);
	/* A caller that seeks on from the last key must not go in circles. */
	if (c->key != NULL && key_cmp(c->key, c->klen, k, klen) < 0)
		return (-EBADMSG);
	return (0);
}

bool
btree_stands(const struct btree_cursor *c)
{
	return (c->depth > 0 && c->change == c->tree->change);
}

int
btree_next(struct btree_cursor *c)
{
	uint8_t before[BTREE_KEY_MAX];
	size_t before_len = c->klen;
	struct page *leaf;
	unsigned last;
	int error;

	if (c->key == NULL)
		return (0);
	if (c->change != c->tree->change)
		return (-EBUSY);
	memcpy(before, c->key, before_len);
	btree_trim(c->tree);
	last = c->depth - 1;
	error = btree_page(c->tree, (uint32_t)c->path[last].page, &leaf);
	if (error != 0)
		return (error);
	if (c->path[last].slot + 1 < page_count(leaf)) {
		cursor_show(c, leaf, ++c->path[last].slot);
		return (0);
	}
	if ((error = next_leaf(c)) != 0)
		return (error);
	/* Keys that do not ascend would walk in circles. */
	if (c->key != NULL && key_cmp(before, before_len, c->key, c->klen) >= 0)
		return (-EBADMSG);
	return (0);
}

/* The greatest entry of the subtree under no. */
static int
rightmost(struct btree_cursor *c, uint32_t no, unsigned above)
{
	struct page *p;
	unsigned slot;
	int error;

	while (c->depth < BTREE_DEPTH_MAX) {
		if ((error = btree_page(c->tree, no, &p)) != 0)
			return (error);
		if (!page_is_tree(p) || page_level(p) + 1 != above)
			return (-EBADMSG);
		above = page_level(p);
		slot = page_count(p) - 1;
		c->path[c->depth].page = no;
		c->path[c->depth++].slot = slot;
		if (page_kind(p) == PAGE_LEAF) {
			cursor_show(c, p, slot);
			return (0);
		}
		no = cell_child(page_cell(p, slot));
	}
	return (-EBADMSG);
}

int
btree_last_below(
    struct btree *t, const void *k, size_t klen, struct btree_cursor *c)
{
	struct btree_path w;
	unsigned i, slot;
	bool exact;
	int error;

	memset(c, 0, sizeof(*c));
	c->tree = t;
	c->change = t->change;
	btree_trim(t);
	if (t->root == 0)
		return (0);
	if ((error = btree_descend(t, k, klen, &w)) != 0)
		return (error);
	for (i = 0; i < w.depth; i++) {
		c->path[i].page = w.step[i].page->no;
		c->path[i].slot = w.step[i].slot;
	}
	i = w.depth - 1;
	slot = page_lower_bound(w.step[i].page, k, klen, &exact);
	if (slot > 0) {
		c->depth = w.depth;
		c->path[i].slot = slot - 1;
		cursor_show(c, w.step[i].page, slot - 1);
		return (0);
	}
	while (i-- > 0)
		if (c->path[i].slot > 0) {
			c->path[i].slot--;
			c->depth = i + 1;
			error = rightmost(c,
			    cell_child(
				page_cell(w.step[i].page, c->path[i].slot)),
			    page_level(w.step[i].page));
			if (error == 0 &&
			    key_cmp(c->key, c->klen, k, klen) >= 0)
				error = -EBADMSG;
			return (error);
		}
	cursor_end(c);
	return (0);
}
