/*
 * sync_fast -- what a sync skips: equal numbers of different changes are found,
 * also after a side was restored from a copy of its files; history that
 * compaction dropped costs a full comparison, which deletes nothing that it
 * cannot prove.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define RETENTION (30 * 86400)

static struct side A, B;
/* of run() */
static struct sync_result res;
static enum sync_mode mode;

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	mode = SYNC_MIRROR;
}

static void
teardown(void)
{
	side_free(&A);
	side_free(&B);
}

/* A run of the mode; SYNC_BACKUP_REVERSE: B is the master, and gets A's. */
static void
run(void)
{
	struct sync_options o = { .mode = mode, .type = SYNC_STATE };

	ck_assert_int_eq(mode == SYNC_BACKUP_REVERSE
		? sync_with(&B, &A, &o, &res)
		: sync_with(&A, &B, &o, &res),
	    0);
	ck_assert(!res.incomplete);
}

/* Equal after one run, or after the second when the first says so. */
static void
settle(void)
{
	run();
	if (res.changes_during_sync)
		run();
	ck_assert(!res.changes_during_sync);
	assert_equal(&A, &B);
}

/* Equal, and the mailbox is known to be so. */
static void
known(void)
{
	settle();
	run();
	ck_assert_uint_eq(res.counts.mailboxes_unchanged, 1);
	ck_assert_uint_eq(res.counts.mailboxes_synced, 0);
}

static void
three(void)
{
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	mail_new(&A, "INBOX", "g3", "three");
	known();
}

static struct mailbox
inbox(struct side *d)
{
	struct mailbox m;

	ck_assert_int_eq(store_mailbox_by_name(d->s, "INBOX", &m), 0);
	return (m);
}

static void
assert_same_numbers(void)
{
	struct mailbox a = inbox(&A), b = inbox(&B);

	ck_assert_uint_eq(a.uidvalidity, b.uidvalidity);
	ck_assert_uint_eq(a.uidnext, b.uidnext);
	ck_assert_uint_eq(a.messages, b.messages);
	ck_assert_uint_eq(a.highestmodseq, b.highestmodseq);
}

static uint8_t
flags_of(struct side *d, uint32_t uid)
{
	uint8_t flags;

	ck_assert(mail_get(d, "INBOX", uid, &flags));
	return (flags);
}

static int
drop_state(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	struct guid *first = arg;

	(void)p;
	(void)len;
	first[0] = *peer;
	first[1] = *key;
	return (1);
}

static void
forget_states(struct side *d)
{
	struct guid id[2];
	struct txn *t;

	while (store_peers(d->s, drop_state, id) == 1) {
		ck_assert_int_eq(txn_begin(d->s, NULL, &t), 0);
		ck_assert_int_eq(txn_peer_set(t, &id[0], &id[1], NULL, 0), 0);
		ck_assert_int_eq(txn_commit(t), 0);
	}
}

/* _i: who has a saved state: both, neither, A, B. */
static void
forget(int i)
{
	if (i == 1 || i == 3)
		forget_states(&A);
	if (i == 1 || i == 2)
		forget_states(&B);
}

/* ---- equal numbers ---- */

START_TEST(one_different_mail_on_each_side)
{
	three();
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	assert_same_numbers();
	forget(_i);
	known();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 5);
}
END_TEST

START_TEST(one_different_flag_on_each_side)
{
	three();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, 0);
	assert_same_numbers();
	forget(_i);
	known();
	ck_assert_uint_eq(flags_of(&A, 1), MAIL_SEEN);
	ck_assert_uint_eq(flags_of(&A, 2), MAIL_FLAGGED);
}
END_TEST

START_TEST(one_different_expunge_on_each_side)
{
	three();
	mail_expunge(&A, "INBOX", 1);
	mail_expunge(&B, "INBOX", 2);
	assert_same_numbers();
	forget(_i);
	known();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 1);
}
END_TEST

START_TEST(a_restored_side_with_as_many_other_changes)
{
	struct side *d = _i % 2 == 0 ? &A : &B;
	struct os *old;

	three();
	old = side_snapshot(d);
	mail_flags(d, "INBOX", 1, MAIL_SEEN, 0);
	mail_new(d, "INBOX", "lost", "lost");
	known();
	side_restore(d, old);
	mail_flags(d, "INBOX", 2, MAIL_FLAGGED, 0);
	mail_new(d, "INBOX", "other", "other");
	assert_same_numbers();
	forget(_i / 2);
	known();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 5);
	ck_assert_uint_eq(flags_of(&A, 1), MAIL_SEEN);
	ck_assert_uint_eq(flags_of(&A, 2), MAIL_FLAGGED);
}
END_TEST

START_TEST(a_side_restored_from_before_the_first_sync)
{
	struct os *old;

	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	old = side_snapshot(&A);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
	side_restore(&A, old);
	mail_flags(&A, "INBOX", 2, MAIL_SEEN, 0);
	known();
	ck_assert_uint_eq(flags_of(&B, 2), MAIL_SEEN);
	ck_assert_uint_eq(flags_of(&A, 1), MAIL_SEEN);
}
END_TEST

/*
 * Both were restored, once and again, so that each holds a state of a different
 * history with the same numbers.
 */
START_TEST(states_of_two_histories_are_not_taken_for_one)
{
	struct os *a, *b, *b1;

	three();
	a = side_snapshot(&A);
	b = side_snapshot(&B);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
	b1 = side_snapshot(&B);
	side_restore(&A, a);
	side_restore(&B, b);
	mail_flags(&A, "INBOX", 2, MAIL_SEEN, 0);
	known();
	side_restore(&B, b1);
	assert_same_numbers();
	ck_assert(!sides_equal(&A, &B));
	known();
	ck_assert_uint_eq(flags_of(&A, 1), MAIL_SEEN);
	ck_assert_uint_eq(flags_of(&A, 2), MAIL_SEEN);
}
END_TEST

START_TEST(a_full_run_that_finds_nothing_writes_nothing)
{
	struct sync_options o = { .type = SYNC_FULL };
	uint64_t a, b;

	three();
	a = os_mem_changes(A.os);
	b = os_mem_changes(B.os);
	ck_assert_int_eq(sync_with(&A, &B, &o, &res), 0);
	ck_assert_uint_eq(res.counts.mailboxes_synced, 1);
	ck_assert_uint_eq(os_mem_changes(A.os), a);
	ck_assert_uint_eq(os_mem_changes(B.os), b);
	known();
}
END_TEST

/* ---- backup ---- */

/* _i 0: A is the master, 1: B is. */
static enum sync_mode
backup_mode(int i)
{
	return (i % 2 == 0 ? SYNC_BACKUP : SYNC_BACKUP_REVERSE);
}

START_TEST(backup_of_a_restored_source_with_as_many_other_changes)
{
	struct os *old;

	mode = backup_mode(_i);
	three();
	old = side_snapshot(&A);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
	side_restore(&A, old);
	mail_flags(&A, "INBOX", 2, MAIL_FLAGGED, 0);
	assert_same_numbers();
	known();
	ck_assert_uint_eq(flags_of(&B, 1), 0);
	ck_assert_uint_eq(flags_of(&B, 2), MAIL_FLAGGED);
}
END_TEST

START_TEST(backup_of_a_restored_source_with_more_changes)
{
	struct os *old;

	mode = backup_mode(_i);
	three();
	old = side_snapshot(&A);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
	side_restore(&A, old);
	mail_flags(&A, "INBOX", 2, MAIL_FLAGGED, 0);
	mail_flags(&A, "INBOX", 3, MAIL_DRAFT, 0);
	known();
	ck_assert_uint_eq(flags_of(&B, 1), 0);
}
END_TEST

START_TEST(backup_into_a_restored_destination)
{
	struct os *old;

	mode = backup_mode(_i);
	three();
	old = side_snapshot(&B);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
	side_restore(&B, old);
	if (_i >= 2)
		mail_flags(&B, "INBOX", 2, MAIL_SEEN, 0);
	known();
}
END_TEST

START_TEST(mirrors_and_backups_do_not_mislead_each_other)
{
	three();
	for (int i = 0; i < 4; i++) {
		mode = i % 2 == 0 ? backup_mode(_i) : SYNC_MIRROR;
		mail_flags(&A, "INBOX", 1, i % 2 == 0 ? MAIL_SEEN : 0,
		    i % 2 == 0 ? 0 : MAIL_SEEN);
		run();
		ck_assert(!res.changes_during_sync);
		known();
	}
}
END_TEST

/* ---- compaction ---- */

/* All that happened so far is older than what is kept. */
static void
compact(struct side *d)
{
	os_mem_advance(A.os, (uint64_t)(RETENTION + 86400) * 1000);
	os_mem_advance(B.os, (uint64_t)(RETENTION + 86400) * 1000);
	ck_assert_int_eq(store_compact(d->s, NULL), 0);
}

/* _i: who compacts: A, B, both. */
static void
compact_sides(int i)
{
	if (i % 3 != 1)
		compact(&A);
	if (i % 3 != 0)
		compact(&B);
}

START_TEST(compaction_of_what_both_know_costs_nothing)
{
	mode = _i < 3 ? SYNC_MIRROR : backup_mode(_i / 3);
	three();
	compact_sides(_i);
	run();
	ck_assert_uint_eq(res.counts.mailboxes_unchanged, 1);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	known();
}
END_TEST

START_TEST(dropped_changes_are_found_by_comparing)
{
	three();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, 0);
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	compact_sides(_i);
	known();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 5);
	ck_assert_uint_eq(flags_of(&A, 1), MAIL_SEEN);
	ck_assert_uint_eq(flags_of(&A, 2), MAIL_FLAGGED);
}
END_TEST

START_TEST(an_expunge_that_nobody_can_prove_deletes_nothing)
{
	struct side *who = _i < 3 ? &A : &B;
	bool provable = _i % 3 == (_i < 3 ? 1 : 0);

	three();
	mail_expunge(who, "INBOX", 2);
	mail_flags(who, "INBOX", 1, MAIL_SEEN, 0);
	compact_sides(_i);
	known();
	/* Only the side that expunged it knew. */
	ck_assert_uint_eq(mail_count(&A, "INBOX"), provable ? 2 : 3);
	ck_assert_uint_eq(mail_uid(&A, "INBOX", "g2") != 0, !provable);
}
END_TEST

START_TEST(an_expunge_since_the_compaction_still_counts)
{
	three();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	compact_sides(_i);
	mail_expunge(&A, "INBOX", 2);
	mail_expunge(&B, "INBOX", 3);
	known();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 1);
}
END_TEST

START_TEST(dropped_changes_of_a_backup_are_found)
{
	mode = backup_mode(_i / 3);
	three();
	mail_expunge(&A, "INBOX", 2);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_new(&A, "INBOX", "a", "a");
	if (_i >= 6)
		mail_flags(&B, "INBOX", 3, MAIL_DRAFT, 0);
	compact_sides(_i);
	known();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_fast");
	TCase *t = tcase_create("fast");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, one_different_mail_on_each_side, 0, 4);
	tcase_add_loop_test(t, one_different_flag_on_each_side, 0, 4);
	tcase_add_loop_test(t, one_different_expunge_on_each_side, 0, 4);
	tcase_add_loop_test(
	    t, a_restored_side_with_as_many_other_changes, 0, 8);
	tcase_add_test(t, a_side_restored_from_before_the_first_sync);
	tcase_add_test(t, states_of_two_histories_are_not_taken_for_one);
	tcase_add_test(t, a_full_run_that_finds_nothing_writes_nothing);
	tcase_add_loop_test(
	    t, backup_of_a_restored_source_with_as_many_other_changes, 0, 2);
	tcase_add_loop_test(
	    t, backup_of_a_restored_source_with_more_changes, 0, 2);
	tcase_add_loop_test(t, backup_into_a_restored_destination, 0, 4);
	tcase_add_loop_test(
	    t, mirrors_and_backups_do_not_mislead_each_other, 0, 2);
	tcase_add_loop_test(
	    t, compaction_of_what_both_know_costs_nothing, 0, 9);
	tcase_add_loop_test(t, dropped_changes_are_found_by_comparing, 0, 3);
	tcase_add_loop_test(
	    t, an_expunge_that_nobody_can_prove_deletes_nothing, 0, 6);
	tcase_add_loop_test(
	    t, an_expunge_since_the_compaction_still_counts, 0, 3);
	tcase_add_loop_test(t, dropped_changes_of_a_backup_are_found, 0, 12);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
