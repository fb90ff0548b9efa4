/*
 * fs_view_aux -- files that are not mail, where the view has to do more than to
 * pass a call on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/view_help.h"

static void
setup_flat(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

static void
setup_nested(void)
{
	fs_up(LAYOUT_FS);
}

/* ---- names ---- */

#define DEPTH 1500

static uint64_t
make_dir(uint64_t parent, const char *name)
{
	struct stat st;

	ck_assert_int_eq(view_mkdir(fs.v, parent, name, 0700, &st), 0);
	return (st.st_ino);
}

/* Deeper than any path: each level is made in the one above, as openat does. */
START_TEST(depth_has_no_limit)
{
	static uint64_t at[DEPTH + 1];
	struct stat st;
	char got[8];
	uint64_t half;
	size_t i;

	at[0] = NODE_ROOT;
	for (i = 1; i <= DEPTH; i++)
		at[i] = make_dir(at[i - 1], "dir");
	ck_assert_int_eq(
	    view_mknod(fs.v, at[DEPTH], "file", S_IFREG | 0600, &st), 0);
	ck_assert_int_eq(view_write(fs.v, st.st_ino, "deep", 4, 0), 4);
	ck_assert_int_eq(view_read(fs.v, st.st_ino, got, 8, 0), 4);
	ck_assert_int_eq(view_getattr(fs.v, st.st_ino, &st), 0);
	ck_assert_int_eq((int)st.st_size, 4);
	/* Made deeper by a rename. */
	half = make_dir(NODE_ROOT, "half");
	(void)make_dir(half, "in");
	ck_assert_int_eq(
	    view_rename(fs.v, NODE_ROOT, "half", at[DEPTH], "half", 0), 0);
	ck_assert_int_eq(view_lookup(fs.v, half, "in", &st), 0);
	ck_assert_int_eq(view_rmdir(fs.v, half, "in"), 0);
	ck_assert_int_eq(view_rmdir(fs.v, at[DEPTH], "half"), 0);
	ck_assert_int_eq(view_unlink(fs.v, at[DEPTH], "file"), 0);
	for (i = DEPTH; i > 0; i--)
		ck_assert_int_eq(view_rmdir(fs.v, at[i - 1], "dir"), 0);
	ck_assert_str_eq(names(""), "cur new tmp ");
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_aux");
	TCase *flat = tcase_create("flat"), *nested = tcase_create("nested");

	tcase_add_checked_fixture(flat, setup_flat, fs_down);
	tcase_set_timeout(flat, 60);
	tcase_add_test(flat, depth_has_no_limit);
	suite_add_tcase(su, flat);
	tcase_add_checked_fixture(nested, setup_nested, fs_down);
	tcase_set_timeout(nested, 60);
	tcase_add_test(nested, depth_has_no_limit);
	suite_add_tcase(su, nested);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
