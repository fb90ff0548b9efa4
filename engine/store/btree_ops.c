/*
 * btree_ops -- finding, putting and deleting entries.
 */
#include "store/btree_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX (3u + BTREE_KEY_MAX + BTREE_VALUE_MAX)
#define ROOM (PAGE_BYTES - PAGE_HEADER)
#define MERGE_BELOW (ROOM / 4)

unsigned
page_lower_bound(const struct page *p, const void *k, size_t klen, bool *exact)
{
	unsigned lo = 0, hi = page_count(p), mid;
	const uint8_t *key;
	size_t len;
	int c;

	*exact = false;
	while (lo < hi) {
		mid = (lo + hi) / 2;
		key = cell_key(p, page_cell(p, mid), &len);
		c = key_cmp(key, len, k, klen);
		if (c < 0)
			lo = mid + 1;
		else {
			hi = mid;
			if (c == 0)
				*exact = true;
		}
	}
	return (lo);
}

/* The child of an inner page that holds k. */
static unsigned
child_slot(const struct page *p, const void *k, size_t klen)
{
	unsigned lo = 1, hi = page_count(p), mid;
	const uint8_t *key;
	size_t len;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		key = cell_key(p, page_cell(p, mid), &len);
		if (key_cmp(key, len, k, klen) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo - 1);
}

int
btree_descend(struct btree *t, const void *k, size_t klen, struct btree_path *w)
{
	uint32_t no = t->root;
	struct page *p;
	unsigned slot;
	int error;

	for (w->depth = 0; w->depth < BTREE_DEPTH_MAX;) {
		if ((error = btree_page(t, no, &p)) != 0)
			return (error);
		w->step[w->depth].page = p;
		if (!page_is_tree(p) ||
		    (w->depth > 0 &&
			page_level(p) + 1 !=
			    page_level(w->step[w->depth - 1].page)))
			return (-EBADMSG);
		if (page_kind(p) == PAGE_LEAF) {
			w->depth++;
			return (0);
		}
		slot = child_slot(p, k, klen);
		w->step[w->depth++].slot = slot;
		no = cell_child(page_cell(p, slot));
	}
	return (-EBADMSG);
}

int
btree_get(
    struct btree *t, const void *k, size_t klen, const void **v, size_t *vlen)
{
	struct btree_path w;
	const uint8_t *cell;
	struct page *leaf;
	unsigned slot;
	bool exact;
	int error;

	btree_trim(t);
	if (t->root == 0)
		return (-ENOENT);
	if ((error = btree_descend(t, k, klen, &w)) != 0)
		return (error);
	leaf = w.step[w.depth - 1].page;
	slot = page_lower_bound(leaf, k, klen, &exact);
	if (!exact)
		return (-ENOENT);
	cell = page_cell(leaf, slot);
	*v = cell + 3 + cell[0];
	*vlen = page_u16(cell + 1);
	return (0);
}

/* ---- cells ---- */

static size_t
used_bytes(const struct page *p)
{
	unsigned i, n = page_count(p);
	size_t sum = 2 * n;

	for (i = 0; i < n; i++)
		sum += page_cell_size(p, page_cell(p, i));
	return (sum);
}

static void
remove_cell(struct page *p, unsigned slot)
{
	unsigned n = page_count(p);
	uint8_t *slots = p->data + PAGE_HEADER;

	memmove(slots + 2 * slot, slots + 2 * (slot + 1),
	    2 * (size_t)(n - slot - 1));
	page_set_u16(p->data + 14, (uint16_t)(n - 1));
}

/* False when the page has no room for it. */
static bool
insert_cell(struct page *p, unsigned slot, const uint8_t *cell, size_t size)
{
	unsigned n = page_count(p), low = page_u16(p->data + 16);
	uint8_t *slots = p->data + PAGE_HEADER;

	if (PAGE_HEADER + 2 * (n + 1) + size > low) {
		if (used_bytes(p) + 2 + size > ROOM)
			return (false);
		page_compact(p);
		low = page_u16(p->data + 16);
	}
	low -= (unsigned)size;
	memcpy(p->data + low, cell, size);
	memmove(
	    slots + 2 * (slot + 1), slots + 2 * slot, 2 * (size_t)(n - slot));
	page_set_u16(slots + 2 * slot, (uint16_t)low);
	page_set_u16(p->data + 14, (uint16_t)(n + 1));
	page_set_u16(p->data + 16, (uint16_t)low);
	p->last = slot;
	return (true);
}

/*
 * Would the page be in order with this cell at `slot`?  In a tree that reads
 * well always; a forged one may have keys that its parents do not promise.
 */
static bool
in_order(const struct page *p, unsigned slot, const uint8_t *cell)
{
	unsigned first = page_level(p) == 0 ? 0 : 1;
	const uint8_t *key, *other;
	size_t klen, len;

	key = cell_key(p, cell, &klen);
	if (slot > first) {
		other = cell_key(p, page_cell(p, slot - 1), &len);
		if (key_cmp(other, len, key, klen) >= 0)
			return (false);
	}
	if (slot >= first && slot < page_count(p)) {
		other = cell_key(p, page_cell(p, slot), &len);
		if (key_cmp(key, klen, other, len) >= 0)
			return (false);
	}
	return (true);
}

static size_t
make_leaf_cell(uint8_t out[CELL_MAX], const void *k, size_t klen, const void *v,
    size_t vlen)
{
	out[0] = (uint8_t)klen;
	page_set_u16(out + 1, (uint16_t)vlen);
	memcpy(out + 3, k, klen);
	if (vlen > 0)
		memcpy(out + 3 + klen, v, vlen);
	return (3 + klen + vlen);
}

static size_t
make_inner_cell(
    uint8_t out[CELL_MAX], const void *k, size_t klen, uint32_t child)
{
	out[0] = (uint8_t)klen;
	page_set_u32(out + 1, child);
	memcpy(out + 5, k, klen);
	return (5 + klen);
}

/* ---- putting ---- */

/* Makes every page of the path changeable and its parent point to it. */
static int
touch_path(struct btree *t, struct btree_path *w)
{
	struct page *p, *parent;
	unsigned i, at;
	int error;

	for (i = 0; i < w->depth; i++) {
		p = w->step[i].page;
		if ((error = btree_page_touch(t, p)) != 0)
			return (error);
		if (i == 0) {
			t->root = p->no;
			continue;
		}
		parent = w->step[i - 1].page;
		at = page_u16(
		    parent->data + PAGE_HEADER + 2 * w->step[i - 1].slot);
		page_set_u32(parent->data + at + 1, p->no);
	}
	return (0);
}

/* A full page and the cell that shall go into it at `slot`. */
struct full {
	const struct page *page;
	unsigned slot;
	const uint8_t *cell;
	size_t size;
};

/* Cell i of the page as if the new one were in it already. */
static const uint8_t *
full_cell(const struct full *u, unsigned i, size_t *size)
{
	const uint8_t *cell;

	if (i == u->slot) {
		*size = u->size;
		return (u->cell);
	}
	cell = page_cell(u->page, i < u->slot ? i : i - 1);
	*size = page_cell_size(u->page, cell);
	return (cell);
}

/*
 * How many cells stay left.  At the end of the page the new cell goes right
 * alone, and in a run of ascending keys elsewhere what is behind the run goes
 * right, so that the run's pages are left full.
 */
static unsigned
cut_at(const struct full *u)
{
	unsigned i, n = page_count(u->page);
	size_t size, sum = 0, half;

	if (u->slot == n)
		return (n);
	half = (used_bytes(u->page) + 2 + u->size) / 2;
	if (u->slot > 0 && u->slot == u->page->last + 1) {
		for (i = 0; i <= u->slot; i++) {
			(void)full_cell(u, i, &size);
			sum += 2 + size;
		}
		if (sum <= ROOM)
			return (u->slot + 1);
		sum = 0;
	}
	for (i = 0; i < n && sum < half; i++) {
		(void)full_cell(u, i, &size);
		sum += 2 + size;
	}
	return (i);
}

static int insert_into(struct btree *t, struct btree_path *w, unsigned level,
    unsigned slot, const uint8_t *cell, size_t size);

static int
new_root(struct btree *t, struct page *left, const void *k, size_t klen,
    struct page *right)
{
	uint8_t cell[CELL_MAX];
	struct page *root;
	size_t size;
	int error;

	if (page_level(left) + 1 >= BTREE_DEPTH_MAX)
		return (-EFBIG);
	if ((error = btree_page_new(
		 t, PAGE_INNER, page_level(left) + 1, &root)) != 0)
		return (error);
	size = make_inner_cell(cell, "", 0, left->no);
	(void)insert_cell(root, 0, cell, size);
	size = make_inner_cell(cell, k, klen, right->no);
	(void)insert_cell(root, 1, cell, size);
	t->root = root->no;
	return (0);
}

/*
 * The key that parts two pages: for leaves no more of the right one's first key
 * than it takes to be above the left one's last.
 */
static size_t
separator(const struct page *left, const struct page *right,
    uint8_t out[BTREE_KEY_MAX])
{
	const uint8_t *a, *b;
	size_t alen, blen, n = 0;

	b = cell_key(right, page_cell(right, 0), &blen);
	if (page_kind(right) == PAGE_LEAF) {
		a = cell_key(
		    left, page_cell(left, page_count(left) - 1), &alen);
		while (n < alen && n < blen && a[n] == b[n])
			n++;
		if (n < blen)
			blen = n + 1;
	}
	memcpy(out, b, blen);
	return (blen);
}

/* Parts the cells of a full page and the new one between it and `right`. */
static bool
share_out(struct page *left, struct page *right, unsigned slot,
    const uint8_t *cell, size_t size)
{
	struct full u = { left, slot, cell, size };
	unsigned i, n = page_count(left), cut = cut_at(&u);
	const uint8_t *moved;
	size_t len;

	for (i = cut; i <= n; i++) {
		moved = full_cell(&u, i, &len);
		if (!insert_cell(right, i - cut, moved, len))
			return (false);
	}
	page_set_u16(left->data + 14, (uint16_t)(slot < cut ? cut - 1 : cut));
	page_compact(left);
	if (slot >= cut)
		right->last = slot - cut;
	return (slot >= cut || insert_cell(left, slot, cell, size));
}

static int
split(struct btree *t, struct btree_path *w, unsigned level, unsigned slot,
    const uint8_t *cell, size_t size)
{
	struct page *left = w->step[level].page, *right;
	uint8_t up[CELL_MAX], sep[BTREE_KEY_MAX];
	size_t klen, usize;
	int error;

	error = btree_page_new(t, page_kind(left), page_level(left), &right);
	if (error != 0)
		return (error);
	if (!share_out(left, right, slot, cell, size))
		return (-EFBIG);
	klen = separator(left, right, sep);
	if (level == 0)
		return (new_root(t, left, sep, klen, right));
	usize = make_inner_cell(up, sep, klen, right->no);
	return (insert_into(
	    t, w, level - 1, w->step[level - 1].slot + 1, up, usize));
}

static int
insert_into(struct btree *t, struct btree_path *w, unsigned level,
    unsigned slot, const uint8_t *cell, size_t size)
{
	if (!in_order(w->step[level].page, slot, cell))
		return (-EBADMSG);
	if (insert_cell(w->step[level].page, slot, cell, size))
		return (0);
	return (split(t, w, level, slot, cell, size));
}

int
btree_put(
    struct btree *t, const void *k, size_t klen, const void *v, size_t vlen)
{
	uint8_t cell[CELL_MAX];
	struct page *leaf;
	struct btree_path w;
	unsigned slot;
	bool exact;
	int error;

	if (klen == 0 || klen > BTREE_KEY_MAX || vlen > BTREE_VALUE_MAX)
		return (-EINVAL);
	if (t->poisoned)
		return (-EIO);
	/* The value may be lent from a page that is about to change. */
	(void)make_leaf_cell(cell, k, klen, v, vlen);
	btree_trim(t);
	t->change++;
	if (t->root == 0) {
		if ((error = btree_page_new(t, PAGE_LEAF, 0, &leaf)) != 0)
			return (error);
		t->root = leaf->no;
	}
	if ((error = btree_descend(t, cell + 3, klen, &w)) != 0 ||
	    (error = touch_path(t, &w)) != 0)
		return (error);
	leaf = w.step[w.depth - 1].page;
	slot = page_lower_bound(leaf, cell + 3, klen, &exact);
	if (exact) {
		uint8_t *old =
		    leaf->data + page_u16(leaf->data + PAGE_HEADER + 2 * slot);

		if (page_u16(old + 1) == vlen) {
			memcpy(old + 3 + klen, cell + 3 + klen, vlen);
			return (0);
		}
		remove_cell(leaf, slot);
	}
	error = insert_into(t, &w, w.depth - 1, slot, cell, 3 + klen + vlen);
	/* Half a split must never become a checkpoint. */
	if (error != 0)
		t->poisoned = true;
	return (error);
}

/* ---- deleting ---- */

/* Moves all of right's cells behind left's; false when they do not fit. */
static bool
join(struct page *left, struct page *right, const void *sep, size_t seplen)
{
	uint8_t cell[CELL_MAX];
	const uint8_t *from;
	unsigned i, n = page_count(right);
	size_t size;

	if (used_bytes(left) + used_bytes(right) + seplen > ROOM)
		return (false);
	for (i = 0; i < n; i++) {
		from = page_cell(right, i);
		size = page_cell_size(right, from);
		if (i == 0 && page_kind(right) == PAGE_INNER)
			size = make_inner_cell(
			    cell, sep, seplen, cell_child(from));
		else
			memcpy(cell, from, size);
		if (!in_order(left, page_count(left), cell) ||
		    !insert_cell(left, page_count(left), cell, size))
			return (false);
	}
	return (true);
}

/* Page `level` of the path has become thin: join it with its right or left. */
static int
join_neighbour(struct btree *t, struct btree_path *w, unsigned level)
{
	struct page *parent = w->step[level - 1].page, *left, *right;
	unsigned slot = w->step[level - 1].slot, at;
	uint8_t sep[BTREE_KEY_MAX];
	const uint8_t *key;
	size_t klen;
	int error;

	if (page_count(parent) < 2)
		return (0);
	if (slot + 1 == page_count(parent))
		slot--;
	error = btree_page(t, cell_child(page_cell(parent, slot)), &left);
	if (error == 0)
		error = btree_page(
		    t, cell_child(page_cell(parent, slot + 1)), &right);
	if (error != 0)
		return (error);
	if (left == right || !page_is_tree(left) || !page_is_tree(right) ||
	    page_level(left) + 1 != page_level(parent) ||
	    page_level(right) + 1 != page_level(parent))
		return (-EBADMSG);
	key = cell_key(parent, page_cell(parent, slot + 1), &klen);
	memcpy(sep, key, klen);
	if (used_bytes(left) + used_bytes(right) + klen > ROOM)
		return (0);
	if ((error = btree_page_touch(t, left)) != 0)
		return (error);
	at = page_u16(parent->data + PAGE_HEADER + 2 * slot);
	page_set_u32(parent->data + at + 1, left->no);
	if (!join(left, right, sep, klen))
		return (-EBADMSG);
	btree_page_free(t, right);
	remove_cell(parent, slot + 1);
	return (0);
}

/* An empty page goes; its parent may become empty by that. */
static void
drop_empty(struct btree *t, struct btree_path *w)
{
	unsigned level = w->depth - 1;

	while (page_count(w->step[level].page) == 0) {
		btree_page_free(t, w->step[level].page);
		if (level == 0) {
			t->root = 0;
			w->depth = 0;
			return;
		}
		w->depth = level;
		level--;
		remove_cell(w->step[level].page, w->step[level].slot);
	}
}

static int
shrink_root(struct btree *t)
{
	struct page *p;
	uint32_t child;
	int error;

	while (t->root != 0) {
		if ((error = btree_page(t, t->root, &p)) != 0)
			return (error);
		if (page_kind(p) != PAGE_INNER || page_count(p) > 1)
			return (0);
		child = cell_child(page_cell(p, 0));
		btree_page_free(t, p);
		t->root = child;
	}
	return (0);
}

/* The leaf of the path has lost an entry. */
static int
rejoin(struct btree *t, struct btree_path *w)
{
	unsigned level;
	int error;

	if (page_count(w->step[w->depth - 1].page) == 0) {
		drop_empty(t, w);
		return (shrink_root(t));
	}
	for (level = w->depth - 1; level > 0; level--) {
		if (used_bytes(w->step[level].page) >= MERGE_BELOW)
			break;
		if ((error = join_neighbour(t, w, level)) != 0)
			return (error);
	}
	return (shrink_root(t));
}

int
btree_del(struct btree *t, const void *k, size_t klen)
{
	struct btree_path w;
	struct page *leaf;
	unsigned slot;
	bool exact;
	int error;

	if (t->poisoned)
		return (-EIO);
	btree_trim(t);
	if (t->root == 0)
		return (-ENOENT);
	if ((error = btree_descend(t, k, klen, &w)) != 0)
		return (error);
	leaf = w.step[w.depth - 1].page;
	slot = page_lower_bound(leaf, k, klen, &exact);
	if (!exact)
		return (-ENOENT);
	t->change++;
	if ((error = touch_path(t, &w)) != 0)
		return (error);
	remove_cell(leaf, slot);
	if ((error = rejoin(t, &w)) != 0)
		t->poisoned = true;
	return (error);
}
