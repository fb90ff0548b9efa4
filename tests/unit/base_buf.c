/*
 * base_buf -- tests of buf, arena, stream and log.
 */
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/stream.h"
#include "tests/unit/lib/check_main.h"

START_TEST(what_was_put_is_read)
{
	static const uint64_t v[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX,
		(uint64_t)UINT32_MAX + 1, UINT64_MAX };
	static const int64_t sv[] = { 0, -1, 1, -64, 64, INT64_MIN, INT64_MAX };
	struct buf b = BUF_INIT;
	struct rd r;
	size_t i, n;

	buf_put_u8(&b, 0xfe);
	buf_put_le16(&b, 0x1234);
	buf_put_le32(&b, 0x12345678);
	buf_put_le64(&b, 0x123456789abcdef0u);
	for (i = 0; i < 9; i++)
		buf_put_varint(&b, v[i]);
	for (i = 0; i < 7; i++)
		buf_put_svarint(&b, sv[i]);
	buf_put_str(&b, "hej");
	buf_put_str(&b, NULL);
	buf_printf(&b, "%d-%s", 42, "x");
	ck_assert_int_eq(b.error, 0);
	ck_assert_mem_eq(b.data + 1, "\x34\x12\x78\x56\x34\x12", 6);

	rd_init(&r, b.data, b.len);
	ck_assert_uint_eq(rd_u8(&r), 0xfe);
	ck_assert_uint_eq(rd_le16(&r), 0x1234);
	ck_assert_uint_eq(rd_le32(&r), 0x12345678);
	ck_assert_uint_eq(rd_le64(&r), 0x123456789abcdef0u);
	for (i = 0; i < 9; i++)
		ck_assert_uint_eq(rd_varint(&r), v[i]);
	for (i = 0; i < 7; i++)
		ck_assert_int_eq(rd_svarint(&r), sv[i]);
	ck_assert_mem_eq(rd_blob(&r, &n), "hej", 3);
	ck_assert_uint_eq(n, 3);
	ck_assert_ptr_nonnull(rd_blob(&r, &n));
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(rd_left(&r), 4);
	ck_assert_mem_eq(rd_bytes(&r, 4), "42-x", 4);
	ck_assert(!r.bad);
	ck_assert_uint_eq(rd_u8(&r), 0);
	ck_assert(r.bad);
	buf_fini(&b);
}
END_TEST

START_TEST(hostile_varints_are_bad)
{
	static const struct {
		const char *p;
		size_t n;
	} bad[] = {
		{ "", 0 },
		{ "\x80", 1 },
		{ "\xff\xff\xff", 3 },
		/* not the shortest */
		{ "\x80\x00", 2 },
		/* 65 bits */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },
		/* 11 bytes */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01", 11 },
	};
	struct rd r;
	size_t i, n;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rd_init(&r, bad[i].p, bad[i].n);
		ck_assert_uint_eq(rd_varint(&r), 0);
		ck_assert_msg(r.bad, "case %zu", i);
		ck_assert_uint_eq(rd_left(&r), 0);
		ck_assert_uint_eq(rd_u8(&r), 0);
	}
	rd_init(&r, "\x80\x80\x80\x80\x10", 5);
	ck_assert_uint_eq(rd_varint32(&r), 0);
	ck_assert(r.bad);
	/* a length no memory has */
	rd_init(&r, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01 abc", 14);
	ck_assert_ptr_null(rd_blob(&r, &n));
	ck_assert(r.bad && n == 0);
	rd_init(&r, "ab", 2);
	ck_assert_ptr_null(rd_bytes(&r, SIZE_MAX));
	ck_assert(r.bad);
	rd_init(&r, NULL, 0);
	ck_assert_uint_eq(rd_left(&r), 0);
	ck_assert_ptr_nonnull(rd_bytes(&r, 0));
}
END_TEST

START_TEST(an_error_of_a_buf_sticks)
{
	struct buf b = BUF_INIT;

	ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -ENOMEM);
	buf_put_str(&b, "x");
	ck_assert_uint_eq(b.len, 0);
	ck_assert_ptr_null(buf_cstr(&b));
	buf_reset(&b);
	buf_put(&b, "x", 1);
	ck_assert_str_eq(buf_cstr(&b), "x");
	ck_assert_uint_eq(b.len, 1);
	buf_fini(&b);
}
END_TEST

START_TEST(strings_in_an_arena_take_their_bytes)
{
	struct arena a = ARENA_INIT;

	for (int i = 0; i < 100; i++)
		ck_assert_str_eq(arena_strdup(&a, "four"), "four");
	ck_assert_uint_eq(a.used, 500);
	ck_assert_uint_eq(
	    (uintptr_t)arena_alloc(&a, 8) % alignof(max_align_t), 0);
	arena_fini(&a);
}
END_TEST

START_TEST(an_arena_is_aligned_and_whole)
{
	struct arena a = ARENA_INIT;
	unsigned char *p[300];
	size_t i, k;

	for (i = 0; i < 300; i++) {
		p[i] = arena_alloc(&a, i * 7);
		ck_assert_uint_eq((uintptr_t)p[i] % _Alignof(max_align_t), 0);
		memset(p[i], (int)(i & 0xff), i * 7);
	}
	for (i = 0; i < 300; i++)
		for (k = 0; k < i * 7; k++)
			ck_assert_uint_eq(p[i][k], i & 0xff);
	ck_assert_ptr_nonnull(arena_zalloc(&a, 1 << 20));
	ck_assert_str_eq(arena_strndup(&a, "abcdef", 3), "abc");
	ck_assert_str_eq(arena_printf(&a, "%s/%d", "x", 7), "x/7");
	ck_assert_ptr_null(arena_strdup(&a, NULL));
	ck_assert_int_eq(a.error, 0);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 3));
	ck_assert_int_eq(a.error, -ENOMEM);
	arena_fini(&a);
	ck_assert_str_eq(arena_strdup(&a, "again"), "again");
	arena_fini(&a);
}
END_TEST

START_TEST(a_memory_stream_gives_all_its_bytes)
{
	struct stream *s;
	char got[8];

	ck_assert_int_eq(stream_from_memory("hello", 5, &s), 0);
	ck_assert_uint_eq(s->size, 5);
	ck_assert_int_eq(stream_read(s, got, 3), 3);
	ck_assert_int_eq(stream_read(s, got + 3, 5), 2);
	ck_assert_mem_eq(got, "hello", 5);
	ck_assert_int_eq(stream_read(s, got, 5), 0);
	stream_close(s);
	stream_close(NULL);
}
END_TEST

static char last[5000];
static int lines;

static void
keep(void *arg, enum log_level level, const char *line)
{
	(void)level;
	ck_assert_ptr_eq(arg, &lines);
	(void)strncpy(last, line, sizeof(last) - 1);
	lines++;
}

START_TEST(a_log_line_cannot_drive_a_terminal)
{
	char *big = malloc(20000);

	log_set_sink(keep, &lines);
	errno = EBUSY;
	log_error("a\x1b[31m\nb\xc2\x9b c \xc3\xa5 %s", "\r");
	ck_assert_int_eq(errno, EBUSY);
	ck_assert_str_eq(last, "a?[31m?b?? c \xc3\xa5 ?");
	log_debug("not shown");
	ck_assert_int_eq(lines, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	ck_assert_int_eq(lines, 2);
	memset(big, 'x', 20000);
	big[19999] = 0;
	log_info("%s", big);
	ck_assert_uint_lt(strlen(last), 4097);
	ck_assert_str_eq(last + strlen(last) - 4, "x...");
	log_set_sink(NULL, NULL);
	log_set_level(LOG_LEVEL_INFO);
	free(big);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_buf");
	TCase *t = tcase_create("buf");

	tcase_add_test(t, what_was_put_is_read);
	tcase_add_test(t, hostile_varints_are_bad);
	tcase_add_test(t, an_error_of_a_buf_sticks);
	tcase_add_test(t, strings_in_an_arena_take_their_bytes);
	tcase_add_test(t, an_arena_is_aligned_and_whole);
	tcase_add_test(t, a_memory_stream_gives_all_its_bytes);
	tcase_add_test(t, a_log_line_cannot_drive_a_terminal);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
