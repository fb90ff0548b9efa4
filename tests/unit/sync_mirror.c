/*
 * sync_mirror -- two-way syncs between native stores.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

static struct side A, B;

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
}

static void
teardown(void)
{
	side_free(&A);
	side_free(&B);
}

/*
 * A clean sync after which both are equal and a further one finds nothing to
 * do.
 */
static void
settle(void)
{
	struct sync_result r;

	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert(!r.changes_during_sync && !r.incomplete);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(result_changes(&r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
}

START_TEST(new_mail_reaches_the_other_side_with_everything)
{
	uint8_t flags;
	uint32_t uid;

	mail_new(&A, "INBOX", "g1", "one");
	uid = mail_new(&A, "INBOX", "g2", "two");
	mail_flags(&A, "INBOX", uid, MAIL_SEEN | MAIL_FLAGGED, 0);
	mail_keyword(&A, "INBOX", uid, "work", NULL);
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(mail_get(&B, "INBOX", uid, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
}
END_TEST

START_TEST(second_run_writes_nothing)
{
	uint64_t a, b;
	struct sync_result r;

	mail_new(&A, "INBOX", "g1", "one");
	settle();
	a = os_mem_changes(A.os);
	b = os_mem_changes(B.os);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(os_mem_changes(A.os), a);
	ck_assert_uint_eq(os_mem_changes(B.os), b);
	ck_assert_uint_eq(r.counts.mailboxes_unchanged, 1);
	ck_assert_uint_eq(r.counts.mailboxes_synced, 0);
}
END_TEST

START_TEST(flags_of_both_sides_merge)
{
	uint8_t flags;

	mail_new(&A, "INBOX", "g1", "one");
	mail_flags(&A, "INBOX", 1, MAIL_DRAFT, 0);
	settle();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, MAIL_DRAFT);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_keyword(&B, "INBOX", 1, "x", NULL);
	settle();
	ck_assert(mail_get(&A, "INBOX", 1, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
}
END_TEST

START_TEST(one_uid_for_two_mails_gives_both_a_new_one)
{
	mail_new(&A, "INBOX", "g1", "one");
	settle();
	mail_new(&A, "INBOX", "M668", "from A");
	mail_new(&B, "INBOX", "M648", "from B");
	settle();
	ck_assert_uint_eq(mail_uid(&A, "INBOX", "M648"), 3);
	ck_assert_uint_eq(mail_uid(&A, "INBOX", "M668"), 4);
}
END_TEST

START_TEST(expunge_beats_a_flag_change)
{
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	settle();
	mail_expunge(&A, "INBOX", 2);
	mail_flags(&B, "INBOX", 2, MAIL_SEEN, 0);
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 1);
}
END_TEST

START_TEST(move_between_mailboxes_reaches_the_other_side)
{
	mail_new(&A, "INBOX", "g1", "one");
	box_new(&A, "Work");
	settle();
	mail_move(&B, "INBOX", 1, "Work");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 0);
	ck_assert_uint_eq(mail_count(&A, "Work"), 1);
}
END_TEST

START_TEST(instances_of_one_guid_stay_apart)
{
	struct sync_result r;

	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g1", "one");
	box_new(&A, "Copy");
	mail_new(&A, "Copy", "g1", "one");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 1);
	ck_assert_uint_eq(r.counts.copied, 2);
	settle();
	mail_expunge(&A, "INBOX", 1);
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 1);
	ck_assert_uint_eq(mail_uid(&B, "INBOX", "g1"), 2);
}
END_TEST

START_TEST(stores_filled_apart_become_one)
{
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", "a1", "a1");
	mail_new(&A, "INBOX", "both", "both");
	mail_new(&B, "INBOX", "both", "both");
	mail_new(&B, "INBOX", "b2", "b2");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
}
END_TEST

START_TEST(three_replicas_in_a_chain_agree)
{
	struct side C;
	struct sync_result r;

	side_new(&C, "C", 3);
	mail_new(&A, "INBOX", "g1", "one");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_int_eq(sync_mirror(&B, &C, &r), 0);
	mail_flags(&C, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_new(&C, "INBOX", "c2", "c2");
	mail_new(&A, "INBOX", "a2", "a2");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_int_eq(sync_mirror(&B, &C, &r), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_int_eq(sync_mirror(&B, &C, &r), 0);
	assert_equal(&A, &B);
	assert_equal(&B, &C);
	mail_expunge(&C, "INBOX", 1);
	ck_assert_int_eq(sync_mirror(&B, &C, &r), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	assert_equal(&A, &C);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	side_free(&C);
}
END_TEST

/* _i: GUIDs of either order. */
START_TEST(a_mailbox_made_again_is_not_deleted_by_a_third)
{
	struct side C;

	side_new(&C, "C", (uint64_t)_i + 3);
	box_new(&C, "Work");
	mail_new(&C, "Work", "w", "w");
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	box_delete(&B, "Work", 1800000000);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(box_id(&A, "Work"), 0);
	box_new(&A, "Work");
	mail_new(&A, "Work", "again", "again");
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
	ck_assert_uint_ne(mail_uid(&A, "Work", "again"), 0);
	assert_equal(&A, &B);
	assert_equal(&A, &C);
	side_free(&C);
}
END_TEST

/* That a GUID was deleted goes on to those that gave it up. */
START_TEST(four_agree_on_the_guid_of_a_mailbox_made_again)
{
	struct side C, D;

	side_new(&C, "C", (uint64_t)_i + 3);
	side_new(&D, "D", (uint64_t)_i + 30);
	box_new(&C, "Work");
	ck_assert_int_eq(sync_mirror(&C, &D, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	box_delete(&B, "Work", 1800000000);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	box_new(&A, "Work");
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
		ck_assert_int_eq(sync_mirror(&C, &D, NULL), 0);
		ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	}
	assert_equal(&A, &B);
	assert_equal(&A, &C);
	assert_equal(&A, &D);
	side_free(&C);
	side_free(&D);
}
END_TEST

START_TEST(a_change_with_a_low_modseq_reaches_the_third)
{
	struct side C;
	uint8_t flags;

	side_new(&C, "C", 3);
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_int_eq(sync_mirror(&B, &C, NULL), 0);
	for (int i = 0; i < 20; i++)
		mail_flags(&B, "INBOX", 2, i % 2 ? 0 : MAIL_SEEN,
		    i % 2 ? MAIL_SEEN : 0);
	ck_assert_int_eq(sync_mirror(&B, &C, NULL), 0);
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_int_eq(sync_mirror(&B, &C, NULL), 0);
	ck_assert(mail_get(&C, "INBOX", 1, &flags));
	ck_assert_uint_eq(flags, MAIL_FLAGGED);
	side_free(&C);
}
END_TEST

START_TEST(guard_stops_before_anything_is_expunged)
{
	struct sync_options o = { .type = SYNC_STATE,
		.max_delete_percent = 50,
		.max_delete_min = 4 };
	struct sync_result r;

	for (int i = 0; i < 6; i++)
		mail_new(&A, "INBOX", NULL, "x");
	settle();
	for (uint32_t i = 1; i <= 4; i++)
		mail_expunge(&A, "INBOX", i);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), -ECANCELED);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 6);
	o.max_delete_percent = 0;
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
}
END_TEST

START_TEST(dry_run_changes_nothing_and_tells_all)
{
	struct sync_options o = { .type = SYNC_STATE, .dry_run = true };
	struct sync_result r;
	char *before, *after;
	unsigned planned;
	uint64_t a, b;

	mail_new(&A, "INBOX", "g1", "one");
	settle();
	mail_new(&A, "INBOX", "g2", "two");
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	box_new(&A, "New");
	mail_new(&A, "New", "g3", "three");
	before = side_dump(&B);
	a = os_mem_changes(A.os);
	b = os_mem_changes(B.os);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	planned = told_changes;
	ck_assert_uint_eq(os_mem_changes(A.os), a);
	ck_assert_uint_eq(os_mem_changes(B.os), b);
	after = side_dump(&B);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, planned);
}
END_TEST

START_TEST(a_copied_store_is_refused)
{
	struct side C = { .label = "C" };

	ck_assert_int_eq(
	    os_mem_reboot_copy(A.os, OS_MEM_KEEP_ALL, 1, &C.os), 0);
	ck_assert_int_eq(side_open(&C), 0);
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), -EINVAL);
	side_free(&C);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_mirror");
	TCase *t = tcase_create("mirror");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, new_mail_reaches_the_other_side_with_everything);
	tcase_add_test(t, second_run_writes_nothing);
	tcase_add_test(t, flags_of_both_sides_merge);
	tcase_add_test(t, one_uid_for_two_mails_gives_both_a_new_one);
	tcase_add_test(t, expunge_beats_a_flag_change);
	tcase_add_test(t, move_between_mailboxes_reaches_the_other_side);
	tcase_add_test(t, instances_of_one_guid_stay_apart);
	tcase_add_test(t, stores_filled_apart_become_one);
	tcase_add_test(t, three_replicas_in_a_chain_agree);
	tcase_add_loop_test(
	    t, a_mailbox_made_again_is_not_deleted_by_a_third, 0, 8);
	tcase_add_loop_test(
	    t, four_agree_on_the_guid_of_a_mailbox_made_again, 0, 8);
	tcase_add_test(t, a_change_with_a_low_modseq_reaches_the_third);
	tcase_add_test(t, guard_stops_before_anything_is_expunged);
	tcase_add_test(t, dry_run_changes_nothing_and_tells_all);
	tcase_add_test(t, a_copied_store_is_refused);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
