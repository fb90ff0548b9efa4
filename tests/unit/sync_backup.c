/*
 * sync_backup -- one-way syncs, and the mailbox tree of both kinds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

/*
 * What was written to a side's disk.  Making durable what its users wrote is no
 * writing: a source that loses its power must not take back what it told.
 */
static uint64_t
writes_of(struct side *d)
{
	uint64_t n = 0;

	for (int op = OS_MEM_CREATE; op < OS_MEM_CHANGES; op++)
		if (op != OS_MEM_SYNC && op != OS_MEM_SYNC_DIR)
			n += os_mem_calls(d->os, (enum os_mem_op)op);
	return (n);
}

static struct side A, B;

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	box_new(&B, "INBOX");
}

static void
teardown(void)
{
	side_free(&A);
	side_free(&B);
}

/* A is the source; reverse: B is the master and the destination. */
static void
backup(bool reverse)
{
	struct sync_options o = { .mode = reverse ? SYNC_BACKUP_REVERSE
						  : SYNC_BACKUP,
		.type = SYNC_STATE };
	char *before = side_dump(&A), *after;
	uint64_t writes = writes_of(&A);
	struct sync_result r;

	ck_assert_int_eq(
	    reverse ? sync_with(&B, &A, &o, &r) : sync_with(&A, &B, &o, &r), 0);
	ck_assert(!r.changes_during_sync && !r.incomplete);
	after = side_dump(&A);
	ck_assert_str_eq(before, after);
	ck_assert_uint_eq(writes_of(&A), writes);
	free(before);
	free(after);
}

/* The destination equals the source, and a second run finds nothing. */
static void
settle(bool reverse)
{
	uint64_t writes;

	backup(reverse);
	assert_equal(&A, &B);
	writes = os_mem_changes(B.os);
	backup(reverse);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert_uint_eq(os_mem_changes(B.os), writes);
}

START_TEST(destination_becomes_the_source)
{
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	mail_flags(&A, "INBOX", 2, MAIL_SEEN, 0);
	box_new(&A, "Work/Deep");
	mail_new(&A, "Work/Deep", "g1", "one");
	box_subscribe(&A, "Work/Deep", true, 0);
	box_new(&B, "Extra");
	mail_new(&B, "Extra", "e1", "extra");
	box_subscribe(&B, "Extra", true, 0);
	settle(_i == 1);
	ck_assert_uint_eq(box_id(&B, "Extra"), 0);
}
END_TEST

START_TEST(changes_of_the_destination_are_undone)
{
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	settle(_i == 1);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_keyword(&B, "INBOX", 2, "mine", NULL);
	box_new(&B, "Mine");
	settle(_i == 1);
}
END_TEST

START_TEST(mail_of_a_third_replica_is_undone)
{
	struct mailbox m;

	mail_new(&A, "INBOX", "g1", "one");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	settle(_i == 1);
	mail_from_third(&B, "INBOX", "g2", "stray");
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &m), 0);
	ck_assert_uint_eq(m.messages, 2);
	backup(_i == 1);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 1);
}
END_TEST

/* What UIDs cannot give: all but them is equal. */
static void
equal_but_uids(void)
{
	uint8_t a, b;

	ck_assert_uint_eq(mail_count(&A, "INBOX"), mail_count(&B, "INBOX"));
	for (uint32_t uid = 1; uid < 20; uid++)
		for (const char *g = "abcdef"; *g != '\0'; g++) {
			char guid[2] = { *g, '\0' };

			if (mail_uid(&A, "INBOX", guid) != uid)
				continue;
			ck_assert_uint_ne(mail_uid(&B, "INBOX", guid), 0);
			ck_assert(mail_get(&A, "INBOX", uid, &a));
			ck_assert(mail_get(
			    &B, "INBOX", mail_uid(&B, "INBOX", guid), &b));
			ck_assert_uint_eq(a, b);
		}
}

START_TEST(clashing_uids_end_with_the_sources_mail)
{
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&A, "INBOX", "b", "b");
	mail_new(&B, "INBOX", "c", "c");
	mail_new(&B, "INBOX", "b", "b");
	mail_new(&B, "INBOX", "d", "d");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	backup(_i == 1);
	equal_but_uids();
	backup(_i == 1);
	ck_assert_uint_eq(told_changes, 0);
	mail_new(&A, "INBOX", "e", "e");
	mail_flags(&A, "INBOX", 2, MAIL_FLAGGED, 0);
	backup(_i == 1);
	equal_but_uids();
	mail_expunge(&A, "INBOX", 1);
	backup(_i == 1);
	equal_but_uids();
}
END_TEST

START_TEST(expunged_at_the_destination_comes_back)
{
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&A, "INBOX", "b", "b");
	settle(_i == 1);
	mail_expunge(&B, "INBOX", 1);
	backup(_i == 1);
	equal_but_uids();
	backup(_i == 1);
	ck_assert_uint_eq(told_changes, 0);
}
END_TEST

START_TEST(one_way_takes_and_deletes_nothing)
{
	struct sync_options o = {
		.mode = SYNC_MIRROR, .one_way = true, .type = SYNC_STATE
	};
	struct sync_result r;
	uint64_t writes;

	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	box_new(&B, "Mine");
	writes = writes_of(&A);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert_uint_ne(box_id(&B, "Mine"), 0);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	mail_expunge(&A, "INBOX", 1);
	writes = writes_of(&A);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert_uint_eq(writes_of(&A), writes);
}
END_TEST

START_TEST(guard_keeps_a_whole_mailbox)
{
	struct sync_options o = { .mode = SYNC_BACKUP,
		.type = SYNC_STATE,
		.max_delete_percent = 50,
		.max_delete_min = 1 };

	box_new(&B, "Extra");
	mail_new(&B, "Extra", "e1", "extra");
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), -ECANCELED);
	ck_assert_uint_ne(box_id(&B, "Extra"), 0);
}
END_TEST

/* ---- the tree, two-way ---- */

static void
mirror(void)
{
	struct sync_result r;

	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert(!r.changes_during_sync && !r.incomplete);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
}

START_TEST(mailboxes_are_made_renamed_and_deleted)
{
	box_new(&A, "Work");
	box_new(&A, "Work/Sub");
	mail_new(&A, "Work/Sub", "w", "w");
	box_new(&B, "Other");
	mirror();
	box_rename(&A, "Work", "Job", 1800000000);
	box_new(&B, "Work/New");
	box_delete(&B, "Other", 0);
	mirror();
	ck_assert_uint_ne(box_id(&B, "Job/Sub"), 0);
	ck_assert_uint_ne(box_id(&A, "Job/New"), 0);
	ck_assert_uint_eq(box_id(&A, "Other"), 0);
	ck_assert_uint_eq(mail_count(&B, "Job/Sub"), 1);
}
END_TEST

START_TEST(both_rename_the_newest_wins)
{
	box_new(&A, "X");
	mirror();
	box_rename(&A, "X", "Y", 1800000000);
	box_rename(&B, "X", "Z", 1800000001);
	mirror();
	ck_assert_uint_ne(box_id(&A, "Z"), 0);
}
END_TEST

START_TEST(swapped_names)
{
	box_new(&A, "X");
	box_new(&A, "Y");
	mail_new(&A, "X", "x", "x");
	mirror();
	box_rename(&A, "X", "T", 1800000000);
	box_rename(&A, "Y", "X", 1800000001);
	box_rename(&A, "T", "Y", 1800000002);
	mirror();
	ck_assert_uint_eq(mail_count(&B, "Y"), 1);
}
END_TEST

START_TEST(deleted_here_and_made_again_merges)
{
	box_new(&A, "X");
	mail_new(&A, "X", "x", "x");
	mirror();
	box_delete(&A, "X", 0);
	box_new(&A, "X");
	mail_new(&A, "X", "y", "y");
	mail_new(&B, "X", "z", "z");
	mirror();
	ck_assert_uint_eq(mail_count(&A, "X"), 3);
}
END_TEST

START_TEST(same_name_made_on_both_sides_merges)
{
	box_new(&A, "X");
	box_new(&B, "X");
	mail_new(&A, "X", "x", "x");
	mail_new(&B, "X", "y", "y");
	mirror();
	ck_assert_uint_eq(mail_count(&A, "X"), 2);
}
END_TEST

START_TEST(subscriptions_follow_the_newest_change)
{
	box_new(&A, "X");
	box_subscribe(&A, "X", true, 1800000000);
	mirror();
	box_subscribe(&B, "X", false, 1800000001);
	mirror();
	box_subscribe(&A, "Gone", true, 1800000002);
	mirror();
}
END_TEST

START_TEST(moved_into_itself)
{
	box_new(&A, "X");
	mirror();
	box_rename(&A, "X", "T", 1800000000);
	box_rename(&A, "T", "X/Y", 1800000001);
	mirror();
	ck_assert_uint_ne(box_id(&B, "X/Y"), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_backup");
	TCase *t = tcase_create("backup");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, destination_becomes_the_source, 0, 2);
	tcase_add_loop_test(t, changes_of_the_destination_are_undone, 0, 2);
	tcase_add_loop_test(t, mail_of_a_third_replica_is_undone, 0, 2);
	tcase_add_loop_test(t, clashing_uids_end_with_the_sources_mail, 0, 2);
	tcase_add_loop_test(t, expunged_at_the_destination_comes_back, 0, 2);
	tcase_add_test(t, one_way_takes_and_deletes_nothing);
	tcase_add_test(t, guard_keeps_a_whole_mailbox);
	tcase_add_test(t, mailboxes_are_made_renamed_and_deleted);
	tcase_add_test(t, both_rename_the_newest_wins);
	tcase_add_test(t, swapped_names);
	tcase_add_test(t, deleted_here_and_made_again_merges);
	tcase_add_test(t, same_name_made_on_both_sides_merges);
	tcase_add_test(t, subscriptions_follow_the_newest_change);
	tcase_add_test(t, moved_into_itself);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
