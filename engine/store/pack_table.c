/*
 * pack_table -- the table of places at the end of a squeezed pack
 * (pack_internal.h has its bytes), written and asked.
 *
 * It is asked page by page, so that opening a body costs one page however many
 * entries its pack has; and the page that was read last is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/pack_internal.h"

#define PAGE_PLACES 511u
#define PLACE 8u
#define FOOTER 40u
#define FOOTER_MAGIC "DSFTABLE"
#define PAGE_MAX (8 + PAGE_PLACES * PLACE)

struct pack_table {
	uint64_t start; /* of the first page */
	uint32_t places, pages;
	uint32_t kept, n; /* number of the page plus 1, 0: none; its places */
	uint8_t page[PAGE_MAX];
	uint32_t first[]; /* of each page, place / 8 */
};

static uint32_t
pages_of(uint32_t places)
{
	return (places / PAGE_PLACES + (places % PAGE_PLACES != 0));
}

/* ---- writing ---- */

void
pack_table_add(struct buf *places, uint64_t place, uint64_t at)
{
	buf_put_le32(places, (uint32_t)(place / 8));
	buf_put_le32(places, (uint32_t)(at / 8));
}

void
pack_table_put(
    struct buf *out, const struct buf *places, uint32_t id, uint64_t start)
{
	struct buf top = BUF_INIT, foot = BUF_INIT;
	size_t n = places->len / PLACE;

	for (size_t i = 0; i < n; i += PAGE_PLACES) {
		const uint8_t *page = places->data + i * PLACE;
		size_t len = n - i < PAGE_PLACES ? n - i : PAGE_PLACES;

		buf_put_le64(out, xxh3_64(page, len * PLACE));
		buf_put(out, page, len * PLACE);
		buf_put(&top, page, 4);
	}
	buf_put(out, top.data, top.len);
	buf_put(&foot, FOOTER_MAGIC, 8);
	buf_put_le32(&foot, id);
	buf_put_le32(&foot, (uint32_t)n);
	buf_put_le64(&foot, start);
	buf_put_le64(&foot, xxh3_64(top.data, top.len));
	if (foot.error == 0)
		buf_put_le64(&foot, xxh3_64(foot.data, foot.len));
	buf_put(out, foot.data, foot.len);
	if (out->error == 0)
		out->error = top.error != 0 ? top.error : foot.error;
	buf_fini(&top);
	buf_fini(&foot);
}

/* ---- asking ---- */

static int
read_all(struct os *os, struct os_file *f, void *buf, size_t n, uint64_t off)
{
	ssize_t got = os->ops->pread(f, buf, n, off);

	return (got < 0 ? (int)got : (size_t)got == n ? 0 : -EBADMSG);
}

/* What the footer says is held against the file's size before it is used. */
static int
footer_check(const uint8_t h[FOOTER], uint32_t id, uint64_t size,
    struct pack_table *t, uint64_t *top_sum)
{
	struct rd r;
	uint64_t start, sum;
	uint32_t pack;

	rd_init(&r, h + 8, FOOTER - 8);
	pack = rd_le32(&r);
	t->places = rd_le32(&r);
	start = rd_le64(&r);
	*top_sum = rd_le64(&r);
	sum = rd_le64(&r);
	if (memcmp(h, FOOTER_MAGIC, 8) != 0 || sum != xxh3_64(h, FOOTER - 8) ||
	    pack != id || start < PACK_HEADER || start % 8 != 0 || start > size)
		return (-EBADMSG);
	t->start = start;
	t->pages = pages_of(t->places);
	if (size - start !=
		(uint64_t)t->places * PLACE + (uint64_t)t->pages * 12 +
		    FOOTER ||
	    (start - PACK_HEADER) / ENTRY_HEADER < t->places)
		return (-EBADMSG);
	return (0);
}

static int
top_read(struct os *os, struct os_file *f, struct pack_table *t, uint64_t sum)
{
	size_t n = (size_t)t->pages * 4;
	uint8_t *b = malloc(n + 1);
	struct rd r;
	int error;

	if (b == NULL)
		return (-ENOMEM);
	error = read_all(os, f, b, n,
	    t->start + (uint64_t)t->places * PLACE + (uint64_t)t->pages * 8);
	if (error == 0 && xxh3_64(b, n) != sum)
		error = -EBADMSG;
	rd_init(&r, b, n);
	for (uint32_t i = 0; i < t->pages && error == 0; i++) {
		t->first[i] = rd_le32(&r);
		if (i > 0 && t->first[i] <= t->first[i - 1])
			error = -EBADMSG;
	}
	free(b);
	return (error);
}

int
pack_table_read(
    struct os *os, struct os_file *f, uint32_t id, struct pack_table **out)
{
	struct pack_table head = { .kept = 0 }, *t;
	uint8_t h[FOOTER];
	struct os_stat st;
	uint64_t sum;
	int error;

	if ((error = os->ops->fstat(f, &st)) != 0)
		return (error);
	if (st.size < PACK_HEADER + FOOTER)
		return (-EBADMSG);
	if ((error = read_all(os, f, h, FOOTER, st.size - FOOTER)) != 0 ||
	    (error = footer_check(h, id, st.size, &head, &sum)) != 0)
		return (error);
	t = malloc(sizeof(*t) + head.pages * sizeof(t->first[0]));
	if (t == NULL)
		return (-ENOMEM);
	*t = head;
	if ((error = top_read(os, f, t, sum)) != 0)
		free(t);
	else
		*out = t;
	return (error);
}

bool
pack_has_table(struct os *os, struct os_file *f, uint32_t id)
{
	struct pack_table *t;

	if (pack_table_read(os, f, id, &t) != 0)
		return (false);
	pack_table_free(t);
	return (true);
}

/* Page i becomes the kept one; nothing of it is looked at before it is right.
 */
static int
page_keep(struct os *os, struct os_file *f, struct pack_table *t, uint32_t i)
{
	uint32_t left = t->places - i * PAGE_PLACES;
	uint32_t n = left < PAGE_PLACES ? left : PAGE_PLACES;
	struct rd r;
	int error;

	if (t->kept == i + 1)
		return (0);
	t->kept = 0;
	error = read_all(
	    os, f, t->page, 8 + n * PLACE, t->start + (uint64_t)i * PAGE_MAX);
	if (error != 0)
		return (error);
	rd_init(&r, t->page, 8);
	if (rd_le64(&r) != xxh3_64(t->page + 8, n * PLACE))
		return (-EBADMSG);
	t->kept = i + 1;
	t->n = n;
	return (0);
}

static void
place_get(const struct pack_table *t, uint32_t i, uint32_t *place, uint32_t *at)
{
	struct rd r;

	rd_init(&r, t->page + 8 + i * PLACE, PLACE);
	*place = rd_le32(&r);
	*at = rd_le32(&r);
}

int
pack_table_find(struct os *os, struct os_file *f, struct pack_table *t,
    uint64_t place, uint64_t *at)
{
	uint32_t low = 0, high = t->pages, is, where;
	int error;

	if (t->pages == 0 || place / 8 > UINT32_MAX)
		return (-ENOENT);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (t->first[mid] <= place / 8)
			low = mid;
		else
			high = mid;
	}
	if ((error = page_keep(os, f, t, low)) != 0)
		return (error);
	for (low = 0, high = t->n; low < high;) {
		uint32_t mid = low + (high - low) / 2;

		place_get(t, mid, &is, &where);
		if (is == place / 8 && (uint64_t)where * 8 < t->start) {
			*at = (uint64_t)where * 8;
			return (0);
		}
		if (is < place / 8)
			low = mid + 1;
		else
			high = mid;
	}
	return (-ENOENT);
}

int
pack_table_check(struct os *os, struct os_file *f, struct pack_table *t)
{
	uint32_t place, at, last_place = 0, last_at = 0;
	int error;

	for (uint32_t i = 0; i < t->pages; i++) {
		if ((error = page_keep(os, f, t, i)) != 0)
			return (error);
		for (uint32_t k = 0; k < t->n; k++) {
			place_get(t, k, &place, &at);
			if (place <= last_place || at <= last_at ||
			    at > place || (uint64_t)at * 8 >= t->start)
				return (-EBADMSG);
			last_place = place;
			last_at = at;
		}
	}
	return (0);
}

uint64_t
pack_table_start(const struct pack_table *t)
{
	return (t->start);
}

void
pack_table_free(struct pack_table *t)
{
	free(t);
}
