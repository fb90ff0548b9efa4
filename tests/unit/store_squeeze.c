/*
 * store_squeeze -- bodies that are stored raw and compressed later: the same
 * bytes at the same places before and after, whatever is open, damaged, full or
 * compacted meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/pack.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_dump.h"
#include "tests/unit/lib/store_make.h"

#define WHAT (DUMP_BODIES | DUMP_HISTORY | DUMP_PLACES)
#define MESSAGES 40
#define TEMPORARY "packs/squeeze.tmp"

static struct os *os;
static struct store *s;

static void
setup(void)
{
	make_quiet();
	make_later = true;
	ck_assert_int_eq(os_mem_new(1, &os), 0);
	os_mem_set_time(os, T0, 0);
	s = make_store(os);
}

static void
teardown(void)
{
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
}

/* Text that gets smaller by compressing, another for each i. */
static const char *
words(size_t i)
{
	static char b[3000];
	size_t n = 0;

	while (n + 40 < sizeof(b) - i % 900)
		n += (size_t)snprintf(b + n, sizeof(b) - n,
		    "message %zu says what it said, %zu\n", i, n % 13);
	return (b);
}

static uint32_t
fill(size_t from, size_t to)
{
	struct mailbox box;
	char guid[24];

	if (store_mailbox_by_name(s, "INBOX", &box) != 0)
		box.id = make_mailbox(s, "INBOX");
	for (size_t i = from; i < to; i++) {
		(void)snprintf(guid, sizeof(guid), "guid-%zu", i);
		make_msg(s, box.id, guid, words(i));
	}
	ck_assert_int_eq(store_sync(s), 0);
	return (box.id);
}

static uint64_t
size_of(const char *path)
{
	struct os_stat st;

	return (os->ops->stat(os, path, &st) == 0 ? st.size : 0);
}

static uint8_t
version_of(const char *path)
{
	struct os_file *f;
	uint8_t v = 0;

	ck_assert_int_eq(os->ops->open(os, path, OS_READ, &f), 0);
	ck_assert_int_eq(os->ops->pread(f, &v, 1, 7), 1);
	os->ops->close(f);
	return (v);
}

static uint64_t
waiting(void)
{
	struct store_raw raw;

	store_raw(s, &raw);
	return (raw.bytes);
}

static void
all_is_well(const char *want)
{
	struct verify_result v;
	char *got = store_dump(s, WHAT);

	ck_assert_str_eq(got, want);
	free(got);
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_msg(v.problems == 0, "%s", make_said);
}

/* ---- packs ---- */

struct bytes {
	const uint8_t *p;
};

static int
raw_of(void *arg, void *p, size_t n, uint64_t off)
{
	struct bytes *b = arg;

	memcpy(p, b->p + off, n);
	return (0);
}

static struct body_ref
append(struct packs *p, const void *data, size_t n, bool later)
{
	struct bytes b = { data };
	struct body_ref ref;
	uint8_t hash[16];

	xxh3_128(data, n, hash);
	ck_assert_int_eq(packs_append(p, n, hash, later, raw_of, &b, &ref), 0);
	return (ref);
}

static int
squeeze(struct packs *p)
{
	struct packs_squeeze *q;
	struct packs_sync sync;
	int error;

	packs_sync_begin(p, &sync);
	packs_sync_done(p, &sync, packs_sync_run(p, &sync));
	if ((error = packs_squeeze_begin(p, &q)) != 0)
		return (error);
	while (packs_squeeze_run(q, 1000) == 1)
		;
	error = packs_squeeze_swap(q);
	ck_assert_int_eq(packs_squeeze_end(q), 0);
	return (error);
}

static int
note_entry(void *arg, const struct pack_entry *e)
{
	unsigned *n = arg;

	n[e->table ? 3 : e->good ? 0 : e->torn ? 2 : 1]++;
	return (0);
}

static const size_t sizes[] = { 0, 1, 63, 64, 4096, PACK_BLOCK - 1, PACK_BLOCK,
	PACK_BLOCK + 1, 3 * PACK_BLOCK + 17, 5000, 5000, 70 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* Every third cannot be made smaller. */
static void
content(size_t i, uint8_t *data)
{
	uint32_t x = (uint32_t)i + 1;

	for (size_t k = 0; k < sizes[i]; k++) {
		x = x * 1664525 + 1013904223;
		data[k] = i % 3 == 2 ? (uint8_t)(x >> 24)
				     : (uint8_t)((size_t) "word "[k % 5] + i);
	}
}

static void
check_bodies(
    struct packs *p, const struct body_ref *ref, uint8_t *want, uint8_t *got)
{
	struct pack_reader *r;

	for (size_t i = 0; i < SIZES; i++) {
		content(i, want);
		ck_assert_int_eq(packs_check(p, &ref[i]), 0);
		ck_assert_int_eq(pack_reader_open(p, &ref[i], &r), 0);
		ck_assert_int_eq(
		    pack_read(r, got, 4 * PACK_BLOCK, 0), (ssize_t)sizes[i]);
		ck_assert_mem_eq(want, got, sizes[i]);
		pack_reader_close(r);
	}
}

START_TEST(bodies_keep_bytes_and_places)
{
	uint8_t *want = malloc(4 * PACK_BLOCK), *got = malloc(4 * PACK_BLOCK);
	struct pack_reader *r[SIZES];
	struct body_ref ref[SIZES], next;
	unsigned n[4] = { 0 };
	struct packs *p;
	uint64_t before;

	ck_assert(want != NULL && got != NULL);
	ck_assert_int_eq(packs_open(os, "packs", 3, false, &p), 0);
	for (size_t i = 0; i < SIZES; i++) {
		content(i, want);
		ref[i] = append(p, want, sizes[i], i != 3);
	}
	before = size_of("packs/00000001.pack");
	for (size_t i = 0; i < SIZES; i++)
		ck_assert_int_eq(pack_reader_open(p, &ref[i], &r[i]), 0);
	ck_assert_int_eq(squeeze(p), 0);
	ck_assert_uint_eq(version_of("packs/00000001.pack"), 2);
	ck_assert_uint_lt(size_of("packs/00000001.pack"), before * 2 / 3);
	ck_assert_uint_eq(packs_bytes(p), size_of("packs/00000001.pack"));
	/* Who had it open reads on. */
	for (size_t i = 0; i < SIZES; i++) {
		content(i, want);
		ck_assert_int_eq(
		    pack_read(r[i], got, 4 * PACK_BLOCK, 0), (ssize_t)sizes[i]);
		ck_assert_mem_eq(want, got, sizes[i]);
		pack_reader_close(r[i]);
	}
	check_bodies(p, ref, want, got);
	ck_assert_int_eq(packs_walk(p, true, note_entry, n), 0);
	ck_assert_uint_eq(n[0], SIZES);
	ck_assert_uint_eq(n[1] + n[2] + n[3], 0);
	/* What is wrong about a reference shows. */
	next = ref[5];
	next.offset += 8;
	ck_assert_int_eq(packs_check(p, &next), -EBADMSG);
	next.offset = (uint64_t)1 << 40;
	ck_assert_int_eq(packs_check(p, &next), -EBADMSG);
	/* It is not appended to. */
	next = append(p, want, 100, true);
	ck_assert_uint_eq(next.pack, 2);
	ck_assert_int_eq(squeeze(p), 0);
	ck_assert_int_eq(squeeze(p), -EALREADY);
	packs_close(p);
	ck_assert_int_eq(packs_open(os, "packs", 3, false, &p), 0);
	check_bodies(p, ref, want, got);
	packs_close(p);
	free(want);
	free(got);
}
END_TEST

/* What a higher level has made smaller stays so: nothing gets longer. */
START_TEST(compressed_blocks_are_kept)
{
	static uint8_t data[PACK_BLOCK + 9000];
	struct body_ref ref[3];
	uint64_t before, at_once;
	struct packs *p;
	uint32_t x = 1;

	for (size_t k = 0; k < sizeof(data); k++) {
		x = x * 1664525 + 1013904223;
		data[k] = (uint8_t)("abcdefghijklmnop"[x >> 28]);
		if (k > 3000 && k % 100 < 60)
			data[k] = data[k - 3000];
	}
	ck_assert_int_eq(packs_open(os, "packs", 19, false, &p), 0);
	ref[0] = append(p, data, sizeof(data), false);
	ref[1] = append(p, data, 9000, false);
	ref[2] = append(p, data, 100, true);
	before = size_of("packs/00000001.pack");
	packs_close(p);
	ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
	(void)append(p, data, sizeof(data), false);
	(void)append(p, data, 9000, false);
	at_once = size_of("packs/00000002.pack");
	ck_assert_uint_gt(at_once, before);
	ck_assert_int_eq(packs_raw_look(p), 1);
	ck_assert_int_eq(squeeze(p), 0);
	ck_assert_uint_lt(
	    size_of("packs/00000001.pack"), before + 3 * 8 + 8 + 4 + 40);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(packs_check(p, &ref[i]), 0);
	packs_close(p);
}
END_TEST

/* More entries than one page of the table has. */
START_TEST(a_table_has_many_pages)
{
	struct body_ref *ref = calloc(1600, sizeof(*ref));
	uint8_t text[200], got[200];
	struct pack_reader *r;
	unsigned n[4] = { 0 };
	struct packs *p;

	ck_assert_ptr_nonnull(ref);
	ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
	for (size_t i = 0; i < 1600; i++) {
		memset(text, (int)('a' + i % 23), sizeof(text));
		memcpy(text, &i, sizeof(i));
		ref[i] = append(p, text, 100 + i % 100, true);
	}
	ck_assert_int_eq(squeeze(p), 0);
	for (size_t i = 0; i < 1600; i++) {
		memset(text, (int)('a' + i % 23), sizeof(text));
		memcpy(text, &i, sizeof(i));
		ck_assert_int_eq(pack_reader_open(p, &ref[i], &r), 0);
		ck_assert_int_eq(pack_read(r, got, sizeof(got), 0),
		    (ssize_t)(100 + i % 100));
		ck_assert_mem_eq(text, got, 100 + i % 100);
		pack_reader_close(r);
	}
	ck_assert_int_eq(packs_walk(p, true, note_entry, n), 0);
	ck_assert_uint_eq(n[0], 1600);
	packs_close(p);
	free(ref);
}
END_TEST

/* Each byte of the table; bodies are there all the same. */
START_TEST(a_damaged_table_loses_nothing)
{
	const char *path = "packs/00000001.pack";
	struct body_ref ref[5];
	struct packs *p;
	uint64_t size, start;

	ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
	for (size_t i = 0; i < 5; i++)
		ref[i] = append(p, words(i), strlen(words(i)), true);
	ck_assert_int_eq(squeeze(p), 0);
	packs_close(p);
	size = size_of(path);
	start = size - (5 * 8 + 8 + 4 + 40);
	for (uint64_t at = start; at < size; at++) {
		unsigned n[4] = { 0 };

		ck_assert_int_eq(os_mem_flip(os, path, at, 0x20), 0);
		ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
		for (size_t i = 0; i < 5; i++)
			ck_assert_int_eq(packs_check(p, &ref[i]), 0);
		ck_assert_int_eq(packs_walk(p, true, note_entry, n), 0);
		ck_assert_uint_eq(n[0], 5);
		ck_assert_uint_eq(n[3], 1);
		ck_assert_uint_eq(n[1] + n[2], 0);
		packs_close(p);
		ck_assert_int_eq(os_mem_flip(os, path, at, 0x20), 0);
	}
}
END_TEST

/* The first or the last entry is damaged too: the others are found. */
START_TEST(a_walk_finds_what_is_around_damage)
{
	const char *path = "packs/00000001.pack";
	struct body_ref ref[5];
	unsigned n[4] = { 0 };
	struct packs *p;

	ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
	for (size_t i = 0; i < 5; i++)
		ref[i] = append(p, words(i), strlen(words(i)), true);
	ck_assert_int_eq(squeeze(p), 0);
	ck_assert_int_eq(os_mem_flip(os, path, 24 + 3, 1), 0);
	ck_assert_int_eq(packs_walk(p, true, note_entry, n), 0);
	ck_assert_uint_eq(n[0], 4);
	ck_assert_uint_eq(n[1], 1);
	ck_assert_int_eq(os_mem_flip(os, path, size_of(path) - 1, 1), 0);
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(
		    packs_check(p, &ref[i]), i == 0 ? -EBADMSG : 0);
	packs_close(p);
}
END_TEST

START_TEST(a_damaged_pack_stays_as_it_is)
{
	const char *path = "packs/00000001.pack";
	struct body_ref ref[5];
	struct packs *p;
	uint64_t size;

	ck_assert_int_eq(packs_open(os, "packs", 1, false, &p), 0);
	for (size_t i = 0; i < 5; i++)
		ref[i] = append(p, words(i), strlen(words(i)), true);
	size = size_of(path);
	ck_assert_int_eq(os_mem_flip(os, path, ref[2].offset + 90, 1), 0);
	make_errors = make_warnings = 0;
	ck_assert_int_eq(squeeze(p), -EBADMSG);
	ck_assert_uint_eq(size_of(path), size);
	ck_assert_uint_eq(version_of(path), 1);
	ck_assert_uint_eq(size_of(TEMPORARY), 0);
	ck_assert_uint_eq(make_errors + make_warnings, 0);
	/* Not again and again. */
	ck_assert_int_eq(squeeze(p), -EALREADY);
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(
		    packs_check(p, &ref[i]), i == 2 ? -EBADMSG : 0);
	packs_close(p);
}
END_TEST

/* ---- the store ---- */

START_TEST(a_store_says_the_same)
{
	struct verify_result v;
	uint64_t before;
	char *text;

	(void)fill(0, MESSAGES);
	text = store_dump(s, WHAT);
	before = size_of("packs/00000001.pack");
	ck_assert_uint_gt(waiting(), 0);
	ck_assert_int_eq(store_squeeze(s), 0);
	ck_assert_uint_eq(waiting(), 0);
	ck_assert_uint_lt(size_of("packs/00000001.pack"), before / 2);
	all_is_well(text);
	s = make_reopen(os, s);
	all_is_well(text);
	ck_assert_int_eq(store_rebuild(s), 0);
	all_is_well(text);
	ck_assert_int_eq(store_close(s), 0);
	ck_assert_int_eq(store_repair(os, false, &v), 0);
	ck_assert_uint_eq(v.problems, 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	all_is_well(text);
	free(text);
}
END_TEST

START_TEST(equal_bodies_are_shared_across_it)
{
	struct body_ref before = make_body(s, words(1)), after;

	ck_assert_int_eq(store_squeeze(s), 0);
	after = make_body(s, words(1));
	ck_assert_uint_eq(after.pack, before.pack);
	ck_assert_uint_eq(after.offset, before.offset);
	make_later = false;
	after = make_body(s, words(1));
	ck_assert_uint_eq(after.offset, before.offset);
}
END_TEST

START_TEST(a_sync_compresses_at_once)
{
	make_later = false;
	(void)fill(0, MESSAGES);
	ck_assert_uint_eq(waiting(), 0);
	ck_assert_int_eq(store_squeeze(s), -EALREADY);
}
END_TEST

START_TEST(nothing_waits_where_nothing_is_compressed)
{
	struct store_settings set;

	ck_assert_int_eq(store_close(s), 0);
	store_settings_default(&set);
	set.zstd_level = 0;
	ck_assert_int_eq(store_open(os, 0, &set, &s), 0);
	(void)fill(0, 3);
	ck_assert_uint_eq(waiting(), 0);
}
END_TEST

START_TEST(what_was_left_is_found_by_its_header)
{
	char *text;

	make_later = false;
	(void)fill(0, 3);
	/* Into a pack that was begun without it. */
	make_later = true;
	(void)fill(3, MESSAGES);
	text = store_dump(s, WHAT);
	s = make_reopen(os, s);
	make_later = false;
	(void)fill(MESSAGES, MESSAGES);
	make_body(s, "the second pack, where nothing waits");
	s = make_reopen(os, s);
	ck_assert_uint_eq(waiting(), 0);
	ck_assert_int_eq(store_squeeze(s), -EALREADY);
	ck_assert_int_eq(store_raw_look(s), 1);
	ck_assert_int_eq(store_raw_look(s), 1);
	ck_assert_int_eq(store_raw_look(s), 0);
	ck_assert_uint_eq(waiting(), size_of("packs/00000001.pack"));
	ck_assert_int_eq(store_squeeze(s), 0);
	ck_assert_uint_eq(version_of("packs/00000001.pack"), 2);
	ck_assert_int_eq(store_squeeze(s), -EALREADY);
	all_is_well(text);
	free(text);
}
END_TEST

/* The hint is no more than that. */
START_TEST(a_wrong_hint_costs_a_look)
{
	char *text;

	(void)fill(0, 5);
	text = store_dump(s, WHAT);
	s = make_reopen(os, s);
	ck_assert_int_eq(os_mem_flip(os, "packs/00000001.pack", 12, 1), 0);
	ck_assert_int_eq(store_raw_look(s), 1);
	ck_assert_uint_eq(waiting(), 0);
	all_is_well(text);
	ck_assert_int_eq(os_mem_flip(os, "packs/00000001.pack", 12, 0x80), 0);
	s = make_reopen(os, s);
	all_is_well(text);
	ck_assert_int_eq(store_raw_look(s), 1);
	ck_assert_int_eq(store_squeeze(s), 0);
	all_is_well(text);
	free(text);
}
END_TEST

START_TEST(compaction_compresses_what_waits)
{
	uint64_t before;
	char *text, *after;

	(void)fill(0, MESSAGES);
	text = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	before = size_of("packs/00000001.pack");
	s = make_reopen(os, s);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	ck_assert_uint_eq(size_of("packs/00000001.pack"), 0);
	ck_assert_uint_lt(size_of("packs/00000002.pack"), before / 2);
	ck_assert_uint_eq(waiting(), 0);
	after = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_str_eq(text, after);
	free(text);
	free(after);
}
END_TEST

START_TEST(compaction_mends_a_table)
{
	const char *path = "packs/00000001.pack";
	struct verify_result v;
	char *text, *after;

	(void)fill(0, MESSAGES);
	ck_assert_int_eq(store_squeeze(s), 0);
	text = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_int_eq(os_mem_flip(os, path, size_of(path) - 20, 4), 0);
	s = make_reopen(os, s);
	make_warnings = 0;
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_uint_eq(v.problems, 0);
	ck_assert_uint_ge(make_warnings, 1);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	after = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_str_eq(text, after);
	make_warnings = 0;
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_uint_eq(make_warnings, 0);
	free(text);
	free(after);
}
END_TEST

/* Begun, half way, done with copying: a compaction comes. */
START_TEST(compaction_ends_one_under_way)
{
	struct store_squeeze *q, *other;
	char *text, *after;

	(void)fill(0, MESSAGES);
	text = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_int_eq(store_squeeze_begin(s, &q), 0);
	ck_assert_int_eq(store_squeeze_begin(s, &other), -EBUSY);
	if (_i > 0)
		ck_assert_int_eq(store_squeeze_run(q, 5000), 1);
	if (_i > 1)
		ck_assert_int_eq(store_squeeze_run(q, UINT64_MAX), 0);
	make_errors = 0;
	ck_assert_int_eq(store_compact(s, NULL), 0);
	if (_i < 2)
		ck_assert_int_eq(store_squeeze_run(q, UINT64_MAX), -ECANCELED);
	ck_assert_int_eq(store_squeeze_swap(q), -ECANCELED);
	ck_assert_int_eq(store_squeeze_end(q), 0);
	ck_assert_uint_eq(make_errors, 0);
	ck_assert_uint_eq(size_of(TEMPORARY), 0);
	ck_assert_uint_eq(size_of("packs/00000001.pack"), 0);
	ck_assert_uint_eq(waiting(), 0);
	after = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_str_eq(text, after);
	free(text);
	free(after);
}
END_TEST

/* Appending goes on meanwhile, and what is not durable is not sealed. */
START_TEST(deliveries_go_on_meanwhile)
{
	struct store_squeeze *q;
	char *text;

	(void)fill(0, MESSAGES);
	make_body(s, words(MESSAGES));
	ck_assert_int_eq(store_squeeze_begin(s, &q), -EAGAIN);
	ck_assert_int_eq(store_sync(s), 0);
	ck_assert_int_eq(store_squeeze_begin(s, &q), 0);
	ck_assert_int_eq(store_squeeze_run(q, 5000), 1);
	(void)fill(MESSAGES + 1, 2 * MESSAGES);
	ck_assert_int_eq(store_squeeze_run(q, UINT64_MAX), 0);
	text = store_dump(s, WHAT);
	ck_assert_int_eq(store_squeeze_swap(q), 0);
	ck_assert_int_eq(store_squeeze_end(q), 0);
	all_is_well(text);
	ck_assert_uint_gt(waiting(), 0);
	ck_assert_int_eq(store_squeeze(s), 0);
	all_is_well(text);
	free(text);
}
END_TEST

static bool
fails_at(enum os_mem_op op, uint64_t nth, int err)
{
	uint64_t calls;
	char *text;
	bool reached;
	int error;

	(void)fill(0, 5);
	text = store_dump(s, WHAT);
	make_errors = 0;
	calls = os_mem_calls(os, op);
	os_mem_fail(os, op, nth, err, false);
	error = store_squeeze(s);
	reached = os_mem_calls(os, op) - calls >= nth;
	os_mem_fail(os, op, 0, 0, false);
	ck_assert_uint_eq(size_of(TEMPORARY), 0);
	ck_assert_int_eq(error != 0, reached);
	ck_assert_uint_eq(make_errors, reached ? 1 : 0);
	all_is_well(text);
	/* It comes all right the next time, or was done but for its name. */
	error = store_squeeze(s);
	ck_assert(error == 0 || error == -EALREADY);
	ck_assert_uint_eq(version_of("packs/00000001.pack"), 2);
	s = make_reopen(os, s);
	all_is_well(text);
	free(text);
	return (reached);
}

START_TEST(failures_lose_nothing)
{
	static const struct {
		enum os_mem_op op;
		int err;
	} what[] = { { OS_MEM_PWRITE, ENOSPC }, { OS_MEM_CREATE, ENOSPC },
		{ OS_MEM_SYNC, EIO }, { OS_MEM_RENAME, EIO },
		{ OS_MEM_SYNC_DIR, EIO }, { OS_MEM_OPEN, EMFILE },
		{ OS_MEM_PREAD, EIO } };
	bool reached = true;

	for (uint64_t n = 1; reached; n++) {
		reached = fails_at(what[_i].op, n, what[_i].err);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(an_error_is_said_once)
{
	(void)fill(0, 5);
	make_errors = 0;
	os_mem_fail(os, OS_MEM_CREATE, 1, ENOSPC, true);
	ck_assert_int_eq(store_squeeze(s), -ENOSPC);
	ck_assert_int_eq(store_squeeze(s), -ENOSPC);
	ck_assert_uint_eq(make_errors, 1);
	os_mem_fail(os, OS_MEM_CREATE, 0, 0, false);
	ck_assert_int_eq(store_squeeze(s), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("store_squeeze");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, bodies_keep_bytes_and_places);
	tcase_add_test(tc, compressed_blocks_are_kept);
	tcase_add_test(tc, a_table_has_many_pages);
	tcase_add_test(tc, a_damaged_table_loses_nothing);
	tcase_add_test(tc, a_walk_finds_what_is_around_damage);
	tcase_add_test(tc, a_damaged_pack_stays_as_it_is);
	tcase_add_test(tc, a_store_says_the_same);
	tcase_add_test(tc, equal_bodies_are_shared_across_it);
	tcase_add_test(tc, a_sync_compresses_at_once);
	tcase_add_test(tc, nothing_waits_where_nothing_is_compressed);
	tcase_add_test(tc, what_was_left_is_found_by_its_header);
	tcase_add_test(tc, a_wrong_hint_costs_a_look);
	tcase_add_test(tc, compaction_compresses_what_waits);
	tcase_add_test(tc, compaction_mends_a_table);
	tcase_add_loop_test(tc, compaction_ends_one_under_way, 0, 3);
	tcase_add_test(tc, deliveries_go_on_meanwhile);
	tcase_add_loop_test(tc, failures_lose_nothing, 0, 7);
	tcase_add_test(tc, an_error_is_said_once);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
