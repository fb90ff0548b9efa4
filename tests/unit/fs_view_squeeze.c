/*
 * fs_view_squeeze -- deliveries are stored as they come, and compressed at the
 * latest when the view is closed, if that is worth it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

static void
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

static uint64_t
waiting(void)
{
	struct store_raw raw;

	store_raw(fs.s, &raw);
	return (raw.bytes);
}

static uint64_t
pack_bytes(void)
{
	struct store_info info;

	ck_assert_int_eq(store_info(fs.s, &info), 0);
	return (info.pack_bytes);
}

static const char *
letter(int i)
{
	static char b[20001];

	for (size_t n = 0; n + 20 < sizeof(b);)
		n += (size_t)snprintf(
		    b + n, sizeof(b) - n, "line of mail %d\n", i);
	return (b);
}

static void
deliver(int from, int to)
{
	char name[32];

	for (int i = from; i < to; i++) {
		(void)snprintf(name, sizeof(name), "new/m%d", i);
		mail("", name, letter(i));
	}
}

static void
check_mail(int to)
{
	char path[32];

	for (int i = 0; i < to; i++) {
		(void)snprintf(path, sizeof(path), "new/m%d", i);
		ck_assert_str_eq(text(path), letter(i));
	}
}

START_TEST(the_end_compresses_what_is_worth_it)
{
	deliver(0, 60);
	ck_assert_uint_gt(waiting(), 60 * 19000);
	ck_assert_uint_gt(pack_bytes(), waiting());
	check_mail(60);
	fs_again();
	ck_assert_uint_lt(pack_bytes(), 200000);
	check_mail(60);
}
END_TEST

START_TEST(a_little_stays_as_it_is)
{
	deliver(0, 20);
	fs_again();
	ck_assert_uint_gt(pack_bytes(), 20 * 19000);
	check_mail(20);
}
END_TEST

/* A message that is written to is stored in the same way. */
START_TEST(rewritten_messages_wait_too)
{
	uint64_t before;

	deliver(0, 1);
	before = waiting();
	ck_assert_int_eq(do_write("new/m0", "X", 0), 0);
	ck_assert_int_eq(do_fsync("new/m0"), 0);
	ck_assert_uint_eq(waiting(), 2 * before);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_squeeze");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, fs_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_end_compresses_what_is_worth_it);
	tcase_add_test(tc, a_little_stays_as_it_is);
	tcase_add_test(tc, rewritten_messages_wait_too);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
