/*
 * fuzz_btree -- any bytes as an index: opened, checked, walked, changed in
 * memory.
 *
 * The first byte says how: 1 puts right the pages' checksums, 2 changes the
 * tree.  The rest is the file.
 */
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/log.h"
#include "store/btree.h"
#include "tests/unit/lib/os_mem.h"

#define PAGE 4096u
#define ENTRIES_MAX 1000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void
seal(uint8_t *p, size_t no)
{
	uint64_t h = no < 2 ? xxh3_64(p, PAGE - 8) : xxh3_64(p + 8, PAGE - 8);
	size_t at = no < 2 ? PAGE - 8 : 0, i;

	for (i = 0; i < 8; i++)
		p[at + i] = (uint8_t)(h >> (8 * i));
}

/* Keys come in order and end some time. */
static void
walk(struct btree *t)
{
	uint8_t last[BTREE_KEY_MAX];
	size_t n = 0, len = 0, common;
	struct btree_cursor c;
	int error, order;

	for (error = btree_seek(t, "", 0, &c); error == 0 && c.key != NULL;
	     error = btree_next(&c)) {
		common = len < c.klen ? len : c.klen;
		order = memcmp(last, c.key, common);
		if (n++ > ENTRIES_MAX ||
		    (n > 1 && (order > 0 || (order == 0 && len >= c.klen))))
			__builtin_trap();
		memcpy(last, c.key, len = c.klen);
	}
}

static void
change(struct btree *t, const uint8_t *data, size_t size)
{
	struct btree_cursor c;
	const void *v;
	size_t i, n, klen;

	for (i = 0; i < 64 && size > 256; i++) {
		klen = 1 + data[(i * 37) % (size - 255)] % 32;
		if (i % 3 == 0)
			(void)btree_put(
			    t, data + i * 5 % (size - 255), klen, data, i * 16);
		else if (i % 3 == 1)
			(void)btree_get(
			    t, data + i * 7 % (size - 255), klen, &v, &n);
		else if (btree_seek(
			     t, data + i * 11 % (size - 255), klen, &c) == 0 &&
		    c.key != NULL) {
			uint8_t k[BTREE_KEY_MAX];

			memcpy(k, c.key, n = c.klen);
			(void)btree_last_below(t, k, n, &c);
			(void)btree_del(t, k, n);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct os_file *f;
	struct btree *t;
	struct os *os;
	uint64_t pages, bad;
	uint8_t *copy;
	size_t i;

	log_set_sink(quiet, NULL);
	if (size < 2 || os_mem_new(1, &os) != 0)
		return (0);
	if ((copy = malloc(size)) == NULL)
		goto out;
	memcpy(copy, data + 1, size - 1);
	if ((data[0] & 1) != 0)
		for (i = 0; (i + 1) * PAGE <= size - 1; i++)
			seal(copy + i * PAGE, i);
	if (os->ops->open(os, "index", OS_WRITE | OS_CREATE, &f) != 0)
		goto out;
	(void)os->ops->pwrite(f, copy, size - 1, 0);
	os->ops->close(f);
	if (btree_open(os, "index", PAGE, true, &t) == 0) {
		(void)btree_verify(t, &pages, &bad);
		walk(t);
		if ((data[0] & 2) != 0) {
			change(t, data, size);
			walk(t);
		}
		btree_close(t);
	}
out:
	free(copy);
	os->ops->close_tree(os);
	return (0);
}
