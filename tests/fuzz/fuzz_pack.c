/*
 * fuzz_pack -- any bytes as a pack: walking it and reading every body that it
 * seems to hold gives right bytes or an error, and a squeezing that succeeds
 * leaves each body where it was.
 *
 * The first byte, when odd, puts right the checksums, so that what is behind
 * them is met.
 */
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/log.h"
#include "store/pack.h"
#include "tests/unit/lib/os_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int
one(void *arg, const struct pack_entry *e)
{
	struct packs *p = arg;
	struct pack_reader *r;
	uint8_t b[4096];
	uint64_t off = 0;
	ssize_t n;

	if (pack_reader_open(p, &e->ref, &r) != 0)
		return (0);
	while ((n = pack_read(r, b, sizeof(b), off)) > 0 && off < 1u << 22)
		off += (uint64_t)n;
	pack_reader_close(r);
	return (0);
}

static void
put64(uint8_t *p, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t
get32(const uint8_t *p)
{
	return ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24);
}

/* A squeezed pack's entries keep the places that they say. */
static void
seal_entry(uint8_t *e, size_t left, uint32_t place, bool squeezed)
{
	size_t table = (size_t)get32(e + 4) * 12, at = 64 + table;

	if (table < left - 64) {
		for (size_t i = 0; i < table; i += 12) {
			size_t n = get32(e + 64 + i) & 0x7fffffff;

			if (at > left || n > left - at)
				break;
			put64(e + 64 + i + 4, xxh3_64(e + at, n));
			at += n;
		}
		put64(e + 40, xxh3_64(e + 64, table));
	}
	for (size_t i = 0; i < 4; i++) {
		e[48 + i] = i == 0;
		if (!squeezed)
			e[52 + i] = (uint8_t)(place >> (8 * i));
	}
	put64(e + 56, xxh3_64(e, 56));
}

static void
seal_table(uint8_t *p, size_t n)
{
	uint8_t *foot = p + n - 40;
	size_t places = get32(foot + 12), at = get32(foot + 16), top;

	for (size_t i = 0; i < places; i += 511) {
		size_t len = (places - i < 511 ? places - i : 511) * 8;

		if (at > n || n - at < len + 8)
			return;
		put64(p + at, xxh3_64(p + at + 8, len));
		at += len + 8;
	}
	top = (places + 510) / 511 * 4;
	if (at > n || n - at < top)
		return;
	put64(foot + 24, xxh3_64(p + at, top));
	put64(foot + 32, xxh3_64(foot, 32));
}

static void
seal(uint8_t *p, size_t n)
{
	bool squeezed = n >= 64 && p[7] == 2;
	uint8_t hint;

	if (n >= 24) {
		hint = p[12];
		p[12] = 0;
		put64(p + 16, xxh3_64(p, 16));
		p[12] = hint;
	}
	for (size_t at = 24; at + 64 <= n; at += 8)
		if (memcmp(p + at, "BDY1", 4) == 0)
			seal_entry(
			    p + at, n - at, (uint32_t)(at / 8), squeezed);
	if (squeezed && memcmp(p + n - 40, "DSFTABLE", 8) == 0)
		seal_table(p, n);
}

/* ---- squeezing ---- */

struct list {
	struct body_ref v[64];
	size_t n;
};

static int
note_good(void *arg, const struct pack_entry *e)
{
	struct list *l = arg;

	if (e->good && l->n < 64)
		l->v[l->n++] = e->ref;
	return (0);
}

static void
squeeze(struct packs *p)
{
	struct list before = { .n = 0 }, after = { .n = 0 };
	struct packs_squeeze *q;
	int error;

	if (packs_walk(p, true, note_good, &before) != 0 ||
	    packs_raw_look(p) != 1 || packs_squeeze_begin(p, &q) != 0)
		return;
	while (packs_squeeze_run(q, 100) == 1)
		;
	error = packs_squeeze_swap(q);
	if (packs_squeeze_end(q) != 0)
		abort();
	if (packs_walk(p, true, note_good, &after) != 0 || before.n != after.n)
		abort();
	for (size_t i = 0; i < before.n; i++)
		if (before.v[i].offset != after.v[i].offset ||
		    before.v[i].size != after.v[i].size ||
		    packs_check(p, &before.v[i]) != 0)
			abort();
	if (error == 0)
		(void)packs_walk(p, true, one, p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packs *p = NULL;
	struct os_file *f;
	struct os *os;

	uint8_t *copy;

	log_set_sink(quiet, NULL);
	if (size == 0 || (copy = malloc(size)) == NULL)
		return (0);
	memcpy(copy, data, size);
	if (data[0] & 1)
		seal(copy + 1, size - 1);
	if (os_mem_new(1, &os) != 0)
		abort();
	if (os->ops->mkdir(os, "packs") == 0 &&
	    os->ops->open(
		os, "packs/00000001.pack", OS_WRITE | OS_CREATE, &f) == 0) {
		(void)os->ops->pwrite(f, copy + 1, size - 1, 0);
		os->ops->close(f);
	}
	if (packs_open(os, "packs", 3, false, &p) == 0) {
		(void)packs_walk(p, false, one, p);
		(void)packs_walk(p, true, one, p);
		squeeze(p);
	}
	packs_close(p);
	os->ops->close_tree(os);
	free(copy);
	return (0);
}
