/*
 * backends_store -- a store on a real directory, and a sidecar: the same as in
 * memory, with real locks, files and renames.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/os_posix.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_dump.h"
#include "tests/unit/lib/store_make.h"

#define WHAT (DUMP_BODIES | DUMP_HISTORY)

static char dir[64];
static struct os *os;

static void
setup(void)
{
	make_quiet();
	(void)snprintf(dir, sizeof(dir), "/tmp/dsyncfs-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(os_posix_open(dir, false, &os), 0);
}

static void
teardown(void)
{
	char cmd[100];

	os->ops->close_tree(os);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(store_works_on_disk)
{
	struct store *s = make_store(os), *other;
	struct verify_result v;
	char *before, *after, big[5000];
	struct os *os2;
	uint32_t box;

	box = make_mailbox(s, "INBOX");
	for (unsigned i = 0; i < 200; i++) {
		for (size_t k = 0; k < sizeof(big) - 1; k++)
			big[k] = (char)(' ' + (k * k + i * 7) % 90);
		big[sizeof(big) - 1] = '\0';
		make_msg(s, box, NULL, big);
		if (i % 50 == 0)
			ck_assert_int_eq(store_sync(s), 0);
		if (i % 3 == 0)
			make_expunge(s, box, i + 1);
		else
			make_flags(s, box, i + 1, MAIL_SEEN, 0);
	}
	/* Another description of the same tree is another owner. */
	ck_assert_int_eq(os_posix_open(dir, false, &os2), 0);
	ck_assert_int_eq(store_open(os2, 0, NULL, &other), -EBUSY);
	os2->ops->close_tree(os2);
	before = store_dump(s, WHAT);
	s = make_reopen(os, s);
	after = store_dump(s, WHAT);
	ck_assert_str_eq(before, after);
	free(after);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	ck_assert_int_eq(store_rebuild(s), 0);
	s = make_reopen(os, s);
	after = store_dump(s, WHAT);
	ck_assert_str_eq(before, after);
	free(after);
	free(before);
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_uint_eq(v.problems, 0);
	ck_assert_uint_eq(v.messages, 133);
	ck_assert_int_eq(store_close(s), 0);
}
END_TEST

START_TEST(sidecar_needs_no_bodies)
{
	struct store *s = NULL, *other;
	struct msg m = { .guid = "", .name = "1.M2.host", .state = MSG_NAMED };
	struct txn *t;
	uint32_t box, uid;
	char *before, *after;

	ck_assert_int_eq(
	    store_open(os, STORE_CREATE | STORE_SIDECAR, NULL, &s), 0);
	box = make_mailbox(s, "INBOX");
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_save(t, box, &m, &uid), 0);
	m.name = NULL;
	ck_assert_int_eq(txn_save(t, box, &m, &uid), 0);
	ck_assert_int_eq(txn_meta_set(t, "scan", "state", 5), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	make_expunge(s, box, 1);
	before = store_dump(s, DUMP_HISTORY);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	ck_assert_int_eq(store_close(s), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &other), -EINVAL);
	ck_assert_int_eq(store_open(os, STORE_SIDECAR, NULL, &s), 0);
	after = store_dump(s, DUMP_HISTORY);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_int_eq(store_close(s), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("backends_store");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, store_works_on_disk);
	tcase_add_test(tc, sidecar_needs_no_bodies);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
