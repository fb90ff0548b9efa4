/*
 * backends_temp -- trees for a dry run: copies, and directories that go again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/os_copy.h"
#include "backends/os_posix.h"
#include "base/buf.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"

#define BIG 200000u /* more than is copied at once */

static char top[64];
static struct os *mem, *temp;

static void
setup(void)
{
	char *tmp = getenv("TMPDIR");

	(void)snprintf(
	    top, sizeof(top), "%.40s/temp.XXXXXX", tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(setenv("TMPDIR", top, 1), 0);
	ck_assert_int_eq(os_mem_new(1, &mem), 0);
	ck_assert_int_eq(os_posix_temp(&temp), 0);
}

/* rmdir shows that the temporary tree went with all that was in it. */
static void
teardown(void)
{
	temp->ops->close_tree(temp);
	mem->ops->close_tree(mem);
	ck_assert_int_eq(rmdir(top), 0);
}

static void
fill(void)
{
	char *big = malloc(BIG);

	ck_assert_ptr_nonnull(big);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 >> 3);
	ck_assert_int_eq(os_mkdirs(mem, "a/b/c"), 0);
	ck_assert_int_eq(os_mkdirs(mem, "empty"), 0);
	ck_assert_int_eq(os_replace_file(mem, "none", "", 0), 0);
	ck_assert_int_eq(os_replace_file(mem, "a/b/c/big", big, BIG), 0);
	ck_assert_int_eq(os_replace_file(mem, "a/small", "abc", 3), 0);
	free(big);
}

struct listing {
	struct os *os;
	struct buf text;
};

static int
add(void *arg, const char *path, enum os_type type, uint64_t size)
{
	struct listing *l = arg;
	size_t n = 0;
	char *p = NULL;

	if (type == OS_FILE) {
		ck_assert_int_eq(os_read_file(l->os, path, BIG, &p, &n), 0);
		ck_assert_uint_eq(n, size);
	}
	buf_printf(&l->text, "%s %u %zu\n", path, (unsigned)type, n);
	if (n != 0)
		buf_put(&l->text, p, n);
	free(p);
	return (0);
}

static void
assert_same(struct os *a, struct os *b)
{
	struct listing x = { a, BUF_INIT }, y = { b, BUF_INIT };

	ck_assert_int_eq(os_mem_walk(a, add, &x), 0);
	ck_assert_int_eq(os_mem_walk(b, add, &y), 0);
	ck_assert_uint_eq(x.text.len, y.text.len);
	ck_assert_mem_eq(x.text.data, y.text.data, x.text.len);
	buf_fini(&x.text);
	buf_fini(&y.text);
}

START_TEST(a_copy_of_a_copy_is_the_tree)
{
	struct os *back;
	uint64_t changes;

	fill();
	changes = os_mem_changes(mem);
	ck_assert_int_eq(os_copy_tree(mem, temp), 0);
	ck_assert_uint_eq(os_mem_changes(mem), changes);
	ck_assert_int_eq(os_mem_new(2, &back), 0);
	ck_assert_int_eq(os_copy_tree(temp, back), 0);
	ck_assert_uint_eq(os_mem_calls(back, OS_MEM_SYNC), 0);
	assert_same(mem, back);
	back->ops->close_tree(back);
}
END_TEST

/* A socket, a link: what a mount has there, and what leads out of the tree. */
START_TEST(only_files_and_directories_are_copied)
{
	struct os *back;
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/fifo", temp->ops->label(temp));
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	(void)snprintf(path, sizeof(path), "%s/link", temp->ops->label(temp));
	ck_assert_int_eq(symlink("none", path), 0);
	fill();
	ck_assert_int_eq(os_copy_tree(mem, temp), 0);
	ck_assert_int_eq(os_mem_new(2, &back), 0);
	ck_assert_int_eq(os_copy_tree(temp, back), 0);
	assert_same(mem, back);
	back->ops->close_tree(back);
}
END_TEST

static const struct {
	enum os_mem_op op;
	bool to; /* fails at the copy */
} failing[] = { { OS_MEM_LIST, false }, { OS_MEM_OPEN, false },
	{ OS_MEM_PREAD, false }, { OS_MEM_PWRITE, true },
	{ OS_MEM_CREATE, true }, { OS_MEM_MKDIR, true } };

START_TEST(a_copy_that_fails_says_so)
{
	struct os *to;

	fill();
	ck_assert_int_eq(os_mem_new(2, &to), 0);
	os_mem_fail(failing[_i].to ? to : mem, failing[_i].op, 2, EIO, true);
	ck_assert_int_eq(os_copy_tree(mem, to), -EIO);
	to->ops->close_tree(to);
}
END_TEST

START_TEST(a_temporary_tree_goes_and_takes_nothing_along)
{
	char path[200], victim[80];
	FILE *f;

	ck_assert(strncmp(temp->ops->label(temp), top, strlen(top)) == 0);
	(void)snprintf(victim, sizeof(victim), "%s/kept", top);
	ck_assert_int_eq(mkdir(victim, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/file", victim);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fclose(f), 0);
	fill();
	ck_assert_int_eq(os_copy_tree(mem, temp), 0);
	(void)snprintf(path, sizeof(path), "%s/link", temp->ops->label(temp));
	ck_assert_int_eq(symlink(victim, path), 0);
	(void)snprintf(path, sizeof(path), "%s", temp->ops->label(temp));
	temp->ops->close_tree(temp);
	ck_assert_int_eq(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/file", victim);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(victim), 0);
	ck_assert_int_eq(os_posix_temp(&temp), 0); /* for teardown */
}
END_TEST

START_TEST(no_temporary_tree_without_a_place_for_it)
{
	struct os *none;

	ck_assert_int_eq(setenv("TMPDIR", "/dev/null/none", 1), 0);
	ck_assert_int_eq(os_posix_temp(&none), -ENOTDIR);
}
END_TEST

START_TEST(what_can_be_made_is_told_without_making_it)
{
	char path[80];

	(void)snprintf(path, sizeof(path), "%s/new", top);
	ck_assert(os_posix_can_make(path));
	ck_assert_int_eq(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/no/new", top);
	ck_assert(!os_posix_can_make(path));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_temp");
	TCase *t = tcase_create("trees for a dry run");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_copy_of_a_copy_is_the_tree);
	tcase_add_test(t, only_files_and_directories_are_copied);
	tcase_add_loop_test(t, a_copy_that_fails_says_so, 0,
	    (int)(sizeof(failing) / sizeof(failing[0])));
	tcase_add_test(t, a_temporary_tree_goes_and_takes_nothing_along);
	tcase_add_test(t, no_temporary_tree_without_a_place_for_it);
	tcase_add_test(t, what_can_be_made_is_told_without_making_it);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
