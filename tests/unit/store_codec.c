/*
 * store_codec -- records and packs as bytes: what goes in comes out, and any
 * bytes give a verdict.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/pack.h"
#include "store/record.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_make.h"

static const uint32_t numbers[] = { 0, 1, 5, 26, 300, 65535 };

static struct record
sample(unsigned type)
{
	struct record r = { .type = type,
		.mailbox = 7,
		.uid = 4000000000u,
		.modseq = 1ull << 60,
		.name = "A/B \xc3\xa9",
		.time = -5,
		.kind = 2,
		.on = true,
		.number = 12,
		.uidvalidity = 1,
		.uidnext = 2,
		.first_recent = 3,
		.highestmodseq = 4,
		.counter = { 1, 2, UINT64_MAX },
		.mask = STATE_ALL,
		.add = MAIL_SEEN,
		.remove = MAIL_DRAFT,
		.guid_string = "some guid" };

	memset(r.guid.b, 0x11, 16);
	memset(r.peer.b, 0x22, 16);
	r.kw_add = (struct kwset){ numbers, 6 };
	r.kw_remove = (struct kwset){ numbers + 2, 1 };
	r.kw = (struct kwset){ numbers + 1, 3 };
	r.msg = (struct msg){ .uid = 9,
		.modseq = 77,
		.flags = MAIL_FLAGS,
		.state = MSG_NEW | MSG_NAMED,
		.guid = "g/:%",
		.name = "1.2.host",
		.letters = "XY",
		.pop3_uidl = "",
		.pop3_order = 5,
		.received = -1,
		.saved = 1,
		.mtime = 2,
		.mtime_nsec = 999999999,
		.ino = 1ull << 63,
		.vsize = 10,
		.body = {
		    .size = 9, .offset = 24, .pack = 1, .hash = { 1, 2, 3 } } };
	r.data = (const uint8_t *)"bytes\0more";
	r.data_len = 10;
	return (r);
}

START_TEST(records_come_back)
{
	struct record r = sample((unsigned)_i), out;
	struct buf a = BUF_INIT, b = BUF_INIT, scratch = BUF_INIT;
	struct arena mem = ARENA_INIT;
	struct rd in;

	record_put(&a, &scratch, &r);
	ck_assert_int_eq(a.error, 0);
	rd_init(&in, a.data, a.len);
	ck_assert_int_eq(record_get(&in, &mem, &out), 0);
	ck_assert_uint_eq(rd_left(&in), 0);
	ck_assert_uint_eq(out.type, (unsigned)_i);
	record_put(&b, &scratch, &out);
	ck_assert_uint_eq(a.len, b.len);
	ck_assert_mem_eq(a.data, b.data, a.len);
	if (_i == RECORD_SAVE) {
		ck_assert_str_eq(out.msg.name, "1.2.host");
		ck_assert_str_eq(out.msg.guid, "g/:%");
		ck_assert_uint_eq(out.msg.ino, 1ull << 63);
		ck_assert_uint_eq(out.kw.len, 3);
		ck_assert_uint_eq(out.kw.n[2], 26);
		ck_assert_str_eq(out.msg.pop3_uidl, "");
	}
	/* Every shorter form and every changed byte gives a verdict. */
	for (size_t n = 0; n < a.len; n++) {
		uint8_t was = a.data[n];

		rd_init(&in, a.data, n);
		ck_assert_int_eq(record_get(&in, &mem, &out), -EBADMSG);
		for (unsigned bit = 0; bit < 8; bit++) {
			a.data[n] = was ^ (uint8_t)(1u << bit);
			rd_init(&in, a.data, a.len);
			(void)record_get(&in, &mem, &out);
		}
		a.data[n] = was;
	}
	arena_fini(&mem);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&scratch);
}
END_TEST

START_TEST(unknown_records_are_skipped)
{
	struct buf b = BUF_INIT, scratch = BUF_INIT;
	struct arena mem = ARENA_INIT;
	struct record r = sample(RECORD_EXPUNGE), out;
	struct rd in;

	buf_put_varint(&b, 4711);
	buf_put_bytes(&b, "whatever", 8);
	record_put(&b, &scratch, &r);
	rd_init(&in, b.data, b.len);
	ck_assert_int_eq(record_get(&in, &mem, &out), 1);
	ck_assert_int_eq(record_get(&in, &mem, &out), 0);
	ck_assert_uint_eq(out.type, RECORD_EXPUNGE);
	arena_fini(&mem);
	buf_fini(&b);
	buf_fini(&scratch);
}
END_TEST

START_TEST(newer_frames_are_refused)
{
	struct buf b = BUF_INIT;
	struct frame_head h = { .sec = -3, .nsec = 5 }, out;
	struct rd in;

	frame_head_put(&b, &h);
	rd_init(&in, b.data, b.len);
	ck_assert_int_eq(frame_head_get(&in, &out), 0);
	ck_assert_int_eq(out.sec, -3);
	b.data[0] = RECORD_VERSION + 1;
	rd_init(&in, b.data, b.len);
	ck_assert_int_eq(frame_head_get(&in, &out), -EPROTONOSUPPORT);
	buf_fini(&b);
}
END_TEST

START_TEST(names_of_guids_are_file_names)
{
	struct arena a = ARENA_INIT;
	char longer[300];

	memset(longer, '/', 299);
	longer[299] = '\0';
	ck_assert_str_eq(name_of_guid(&a, "plain-guid_1.2"), "plain-guid_1.2");
	ck_assert_str_eq(name_of_guid(&a, "..x"), "%2e.x");
	ck_assert_str_eq(name_of_guid(&a, "a%\n"), "a%25%0a");
	ck_assert_ptr_null(name_of_guid(&a, ""));
	ck_assert_uint_eq(strlen(name_of_guid(&a, longer)), 33);
	ck_assert(base_name_valid(name_of_guid(&a, longer)));
	ck_assert(!base_name_valid(".x"));
	ck_assert(!base_name_valid(""));
	ck_assert(!base_name_valid("a:2,S"));
	arena_fini(&a);
}
END_TEST

/* ---- packs ---- */

struct bytes {
	const uint8_t *p;
};

static int
raw(void *arg, void *p, size_t n, uint64_t off)
{
	struct bytes *b = arg;

	memcpy(p, b->p + off, n);
	return (0);
}

static struct body_ref
append(struct packs *p, const void *data, size_t n)
{
	struct bytes b = { data };
	struct body_ref ref;
	uint8_t hash[16];

	xxh3_128(data, n, hash);
	ck_assert_int_eq(packs_append(p, n, hash, false, raw, &b, &ref), 0);
	return (ref);
}

static int
count_entry(void *arg, const struct pack_entry *e)
{
	unsigned *n = arg;

	n[e->good ? 0 : e->torn ? 2 : 1]++;
	return (0);
}

START_TEST(bodies_of_any_size_come_back)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 4096, PACK_BLOCK - 1,
		PACK_BLOCK, PACK_BLOCK + 1, 3 * PACK_BLOCK + 17 };
	uint8_t *data = malloc(4 * PACK_BLOCK), *got = malloc(4 * PACK_BLOCK);
	struct pack_reader *r;
	struct packs *p;
	struct os *os;
	unsigned n[3];

	ck_assert(data != NULL && got != NULL);
	for (int level = 0; level < 4; level += 3) {
		memset(n, 0, sizeof(n));
		ck_assert_int_eq(os_mem_new(1, &os), 0);
		ck_assert_int_eq(packs_open(os, "packs", level, false, &p), 0);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct body_ref ref;

			for (size_t k = 0; k < sizes[i]; k++)
				data[k] =
				    (uint8_t)(i % 2 ? k * 31 + (k >> 8) * 17
						    : 'x');
			ref = append(p, data, sizes[i]);
			ck_assert_int_eq(packs_check(p, &ref), 0);
			ck_assert_int_eq(pack_reader_open(p, &ref, &r), 0);
			ck_assert_int_eq(pack_read(r, got, 4 * PACK_BLOCK, 0),
			    (ssize_t)sizes[i]);
			ck_assert_mem_eq(data, got, sizes[i]);
			pack_reader_close(r);
			ref.size++;
			ck_assert_int_eq(packs_check(p, &ref), -EBADMSG);
		}
		ck_assert_int_eq(packs_walk(p, true, count_entry, n), 0);
		ck_assert_uint_eq(n[0], sizeof(sizes) / sizeof(sizes[0]));
		ck_assert_uint_eq(n[1] + n[2], 0);
		packs_close(p);
		os->ops->close_tree(os);
	}
	free(data);
	free(got);
}
END_TEST

START_TEST(a_walk_finds_what_is_behind_damage)
{
	struct packs *p;
	struct os *os;
	unsigned n[3] = { 0, 0, 0 };
	struct body_ref second;

	ck_assert_int_eq(os_mem_new(1, &os), 0);
	ck_assert_int_eq(packs_open(os, "packs", 3, false, &p), 0);
	(void)append(p, "first", 5);
	second = append(p, "second", 6);
	(void)append(p, "third", 5);
	ck_assert_int_eq(
	    os_mem_flip(os, "packs/00000001.pack", second.offset + 3, 0x40), 0);
	ck_assert_int_eq(packs_walk(p, true, count_entry, n), 0);
	ck_assert_uint_eq(n[0], 2);
	ck_assert_uint_eq(n[1], 1);
	packs_close(p);
	os->ops->close_tree(os);
}
END_TEST

static void
setup(void)
{
	make_quiet();
}

static Suite *
suite(void)
{
	Suite *su = suite_create("store_codec");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, records_come_back, 1, RECORD_TYPES);
	tcase_add_test(tc, unknown_records_are_skipped);
	tcase_add_test(tc, newer_frames_are_refused);
	tcase_add_test(tc, names_of_guids_are_file_names);
	tcase_add_test(tc, bodies_of_any_size_come_back);
	tcase_add_test(tc, a_walk_finds_what_is_behind_damage);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
