/*
 * btree_checkpoint -- writing the changed pages, the free list and the head.
 *
 * The free list is a stack of pages.  In memory is its top one (and those that
 * were needed since the last checkpoint): a checkpoint writes these anew, with
 * what has become free, on top of the rest, so that it costs the change.
 */
#include "store/btree_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

static int
write_page(struct btree *t, struct page *p)
{
	uint64_t at = (uint64_t)p->no * PAGE_BYTES;
	int error;

	page_set_u32(p->data + 8, p->no);
	page_set_u32(p->data + 18, (uint32_t)(t->generation + 1));
	page_set_u64(
	    p->data, xxh3_64(p->data + PAGE_HASHED, PAGE_BYTES - PAGE_HASHED));
	error = t->os->ops->pwrite(t->file, p->data, PAGE_BYTES, at);
	if (error == 0 && t->file_size < at + PAGE_BYTES)
		t->file_size = at + PAGE_BYTES;
	return (error);
}

/* What will be free once the next head counts, and where that is written. */
struct free_plan {
	struct page_set free, in; /* owned */
	size_t top; /* numbers in the first page of `in` */
};

static int
plan_free_list(struct btree *t, struct free_plan *plan)
{
	size_t i;
	int error = 0;

	for (i = 0; i < t->pending.n && error == 0; i++)
		error = page_set_add(&plan->free, t->pending.no[i]);
	for (i = 0; i < t->list_pages.n && error == 0; i++)
		error = page_set_add(&plan->free, t->list_pages.no[i]);
	/* The list's own pages come from what may be taken already. */
	while (error == 0 &&
	    plan->in.n * FREE_PER_PAGE < plan->free.n + t->unused.n) {
		if (t->unused.n > 0) {
			error = page_set_add(
			    &plan->in, t->unused.no[t->unused.n - 1]);
			if (error == 0)
				t->unused.n--;
		} else if (t->pages == UINT32_MAX)
			error = -EFBIG;
		else if ((error = page_set_add(&plan->in, t->pages)) == 0)
			t->pages++;
	}
	for (i = 0; i < t->unused.n && error == 0; i++)
		error = page_set_add(&plan->free, t->unused.no[i]);
	if (plan->in.n > 0)
		plan->top = plan->free.n - (plan->in.n - 1) * FREE_PER_PAGE;
	return (error);
}

/* The plan comes to nothing: its pages can be taken again. */
static void
drop_plan(struct btree *t, struct free_plan *plan)
{
	size_t i;

	/* A number lost for want of memory costs a page of disk. */
	for (i = 0; i < plan->in.n; i++)
		(void)page_set_add(&t->unused, plan->in.no[i]);
	free(plan->free.no);
	free(plan->in.no);
}

static int
write_free_list(struct btree *t, const struct free_plan *plan)
{
	struct page *p;
	size_t i, k, n, at = 0;
	int error = 0;

	if ((p = malloc(sizeof(*p))) == NULL)
		return (-ENOMEM);
	for (i = 0; i < plan->in.n && error == 0; i++) {
		memset(p->data, 0, PAGE_BYTES);
		p->no = plan->in.no[i];
		p->data[12] = PAGE_FREE;
		page_set_u32(p->data + PAGE_HEADER,
		    i + 1 < plan->in.n ? plan->in.no[i + 1] : t->list_next);
		n = i == 0 ? plan->top : FREE_PER_PAGE;
		for (k = 0; k < n; k++)
			page_set_u32(p->data + PAGE_HEADER + 4 + 4 * k,
			    plan->free.no[at++]);
		page_set_u16(p->data + 14, (uint16_t)n);
		error = write_page(t, p);
	}
	free(p);
	return (error);
}

/* Everything that the next head will reach, durable in free places. */
static int
write_body(struct btree *t, const struct free_plan *plan)
{
	struct page *p;
	uint64_t size;
	int error = 0;

	for (p = t->dirty.tail; p != NULL && error == 0; p = p->prev)
		error = write_page(t, p);
	if (error == 0)
		error = write_free_list(t, plan);
	/* Pages that were taken and given back may never have been written. */
	size = (uint64_t)t->pages * PAGE_BYTES;
	if (error == 0 && t->file_size < size) {
		error = t->os->ops->truncate(t->file, size);
		if (error == 0)
			t->file_size = size;
	}
	return (error);
}

static int
write_head(struct btree *t, uint32_t list, const void *user, size_t len)
{
	uint8_t head[PAGE_BYTES];
	uint64_t generation = t->generation + 1;
	int error;

	btree_head_bytes(t, generation, list, user, len, head);
	error = t->os->ops->pwrite(
	    t->file, head, PAGE_BYTES, (generation & 1) * PAGE_BYTES);
	if (error == 0)
		error = t->os->ops->sync(t->file);
	return (error);
}

static void
settle(struct btree *t, struct free_plan *plan)
{
	btree_page_settle(t);
	free(t->unused.no);
	free(t->list_pages.no);
	t->unused = plan->free;
	t->list_pages = plan->in;
	t->pending.n = 0;
	t->unused.n = plan->top;
	if (plan->in.n > 1)
		t->list_next = plan->in.no[1];
	if (plan->in.n > 0)
		t->list_pages.n = 1;
}

/*
 * No space for the pages: nothing that counts was touched, so the tree stays as
 * it is and can be tried again, by a new handle (a failed write ends one,
 * os.h).
 */
static int
reopen(struct btree *t, int error)
{
	struct os_file *f;

	if (t->os->ops->open(t->os, t->path, OS_WRITE, &f) != 0) {
		t->poisoned = true;
		return (error);
	}
	t->os->ops->close(t->file);
	t->file = f;
	return (error);
}

int
btree_checkpoint(struct btree *t, const void *user, size_t len)
{
	struct free_plan plan = { { 0 }, { 0 }, 0 };
	uint32_t list;
	int error;

	if (t->rdonly || t->file == NULL)
		return (-EROFS);
	if (t->poisoned)
		return (-EIO);
	if (len > BTREE_USER_MAX)
		return (-EINVAL);
	if ((error = plan_free_list(t, &plan)) != 0) {
		drop_plan(t, &plan);
		return (error);
	}
	error = write_body(t, &plan);
	if (error == -ENOSPC || error == -EDQUOT) {
		drop_plan(t, &plan);
		return (reopen(t, error));
	}
	list = plan.in.n > 0 ? plan.in.no[0] : t->list_next;
	if (error == 0)
		error = t->os->ops->sync(t->file);
	if (error == 0)
		error = write_head(t, list, user, len);
	if (error != 0) {
		t->poisoned = true;
		drop_plan(t, &plan);
		return (error);
	}
	t->generation++;
	t->head_root = t->root;
	t->head_list = list;
	t->user_len = len;
	if (len > 0)
		memmove(t->user, user, len);
	settle(t, &plan);
	btree_trim(t);
	return (0);
}
