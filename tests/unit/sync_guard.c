/*
 * sync_guard -- max_delete: what stops a sync, what does not, and that both
 * sides are then as they were.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

static struct side A, B;
static struct sync_options o;
/* the reports of a run */
static char said[1024];
static unsigned lines;

static void
on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	if (level > LOG_LEVEL_ERROR)
		return;
	lines++;
	(void)snprintf(said, sizeof(said), "%s", line);
}

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	box_new(&A, "Work");
	o = (struct sync_options){ .type = SYNC_STATE,
		.max_delete_percent = 50,
		.max_delete_min = 20 };
	log_set_sink(on_line, NULL);
	sync_foreign = false;
}

static void
teardown(void)
{
	log_set_sink(NULL, NULL);
	side_free(&A);
	side_free(&B);
}

static int
run(void)
{
	lines = 0;
	said[0] = '\0';
	return (sync_with(&A, &B, &o, NULL));
}

/* n messages in a mailbox that both have. */
static void
fill(const char *box, unsigned n)
{
	char guid[32];

	for (unsigned i = 1; i <= n; i++) {
		(void)snprintf(guid, sizeof(guid), "%s%u", box, i);
		mail_new(&A, box, guid, guid);
	}
	ck_assert_int_eq(run(), 0);
}

static void
expunge(struct side *d, const char *box, uint32_t first, uint32_t last)
{
	for (uint32_t uid = first; uid <= last; uid++)
		mail_expunge(d, box, uid);
}

/* The run is stopped, with one line, and both sides are as they were. */
static void
assert_stops(void)
{
	char *a = side_dump(&A), *b = side_dump(&B), *now;
	uint64_t end_a = store_log_end(A.s), end_b = store_log_end(B.s);

	ck_assert_int_eq(run(), -ECANCELED);
	ck_assert_uint_eq(lines, 1);
	now = side_dump(&A);
	ck_assert_str_eq(now, a);
	free(now);
	now = side_dump(&B);
	ck_assert_str_eq(now, b);
	free(now);
	ck_assert_uint_eq(store_log_end(A.s), end_a);
	ck_assert_uint_eq(store_log_end(B.s), end_b);
	free(a);
	free(b);
}

static void
assert_goes_on(void)
{
	ck_assert_int_eq(run(), 0);
	assert_equal(&A, &B);
}

/* _i 0: the slave would lose them, 1: the master. */
static struct side *
other_side(int i)
{
	return (i == 0 ? &A : &B);
}

START_TEST(more_than_the_share_stops)
{
	fill("INBOX", 20);
	expunge(other_side(_i), "INBOX", 1, 10);
	assert_goes_on();
	fill("INBOX", 10);
	expunge(other_side(_i), "INBOX", 11, 21);
	assert_stops();
	ck_assert_ptr_nonnull(strstr(said,
	    "mailbox INBOX would lose 11 of its 20 messages, which max_delete "
	    "= 50% does not allow"));
	ck_assert_ptr_nonnull(strstr(said, "--no-max-delete"));
	o.max_delete_percent = 0;
	assert_goes_on();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 9);
}
END_TEST

START_TEST(nothing_of_the_mailbox_is_changed_on_either_side)
{
	fill("INBOX", 20);
	expunge(other_side(_i), "INBOX", 1, 11);
	mail_flags(&A, "INBOX", 15, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 16, MAIL_SEEN, 0);
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	mail_move(&B, "INBOX", 17, "Work");
	assert_stops();
	o.max_delete_percent = 0;
	assert_goes_on();
}
END_TEST

/* The brain of the first one takes as many steps as it can for one of the
 * other.
 */
static int
run_uneven(bool slave_fast)
{
	struct channel *ca, *cb;
	struct brain *m, *s, *fast, *slow;
	int rc = 0, r = 0;

	sync_pair(&A, &B, &ca, &cb);
	ck_assert_int_eq(brain_new_master(A.r, ca, &o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(B.r, cb, NULL, &s), 0);
	fast = slave_fast ? s : m;
	slow = slave_fast ? m : s;
	while (rc >= 0 && (rc != BRAIN_DONE || r != BRAIN_DONE)) {
		rc = brain_step(slow);
		do
			r = brain_step(fast);
		while (r == BRAIN_PROGRESS);
		rc = r < 0 ? r : rc;
	}
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
	return (rc);
}

START_TEST(a_faster_side_waits_for_the_others_guard)
{
	struct side *fast = _i == 0 ? &A : &B, *slow = _i == 0 ? &B : &A;
	char *before, *after;

	fill("INBOX", 400);
	expunge(fast, "INBOX", 1, 390);
	mail_flags(slow, "INBOX", 395, MAIL_SEEN, 0);
	before = side_dump(fast);
	ck_assert_int_eq(run_uneven(_i == 1), -ECANCELED);
	after = side_dump(fast);
	ck_assert_str_eq(before, after);
	ck_assert_uint_eq(mail_count(slow, "INBOX"), 400);
	free(before);
	free(after);
	o.max_delete_percent = 0;
	ck_assert_int_eq(run_uneven(_i == 1), BRAIN_DONE);
	assert_equal(&A, &B);
}
END_TEST

START_TEST(small_mailboxes_are_not_watched_but_for_being_emptied)
{
	fill("INBOX", 19);
	fill("Work", 5);
	expunge(other_side(_i), "INBOX", 1, 18);
	expunge(other_side(_i), "Work", 1, 5);
	assert_goes_on();
	expunge(other_side(_i), "INBOX", 19, 19);
	assert_goes_on();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 0);
}
END_TEST

START_TEST(an_emptied_mailbox_stops)
{
	fill("INBOX", 6);
	expunge(other_side(_i), "INBOX", 1, 6);
	assert_stops();
	ck_assert_ptr_nonnull(strstr(said, "6 of its 6 messages"));
	/* Also when new mail came into it. */
	mail_new(other_side(_i), "INBOX", "new", "new");
	assert_stops();
	o.max_delete_percent = 100;
	assert_goes_on();
}
END_TEST

START_TEST(the_smaller_limit_holds_for_being_emptied)
{
	fill("INBOX", 3);
	o.max_delete_min = 3;
	expunge(other_side(_i), "INBOX", 1, 3);
	assert_stops();
	o.max_delete_min = 4;
	assert_goes_on();
}
END_TEST

START_TEST(moved_mail_does_not_count)
{
	/* Later and earlier than the mailbox it leaves. */
	const char *to = _i < 2 ? "Work" : "Archive";

	box_new(&A, "Archive");
	fill("INBOX", 20);
	for (uint32_t uid = 1; uid <= 20; uid++)
		mail_move(other_side(_i % 2), "INBOX", uid, to);
	assert_goes_on();
	ck_assert_uint_eq(mail_count(&A, to), 20);
	ck_assert_uint_eq(mail_count(&B, to), 20);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 0);
}
END_TEST

START_TEST(new_uids_do_not_count)
{
	fill("INBOX", 2);
	/* One UID for two mails, twenty times: all get new UIDs. */
	for (unsigned i = 0; i < 20; i++) {
		char a[8], b[8];

		(void)snprintf(a, sizeof(a), "a%u", i);
		(void)snprintf(b, sizeof(b), "b%u", i);
		mail_new(&A, "INBOX", a, a);
		mail_new(&B, "INBOX", b, b);
	}
	assert_goes_on();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 42);
}
END_TEST

START_TEST(a_deleted_mailbox_with_mail_stops)
{
	fill("Work", 6);
	fill("INBOX", 1);
	box_delete(other_side(_i), "Work", 0);
	mail_new(&A, "INBOX", "new", "new");
	assert_stops();
	ck_assert_ptr_nonnull(strstr(said,
	    "mailbox Work with its 6 messages would be deleted, which "
	    "max_delete = 50% does not allow"));
	o.max_delete_percent = 0;
	assert_goes_on();
	ck_assert_uint_eq(box_id(&A, "Work"), 0);
	ck_assert_uint_eq(box_id(&B, "Work"), 0);
}
END_TEST

START_TEST(a_deleted_mailbox_with_a_few_messages_goes)
{
	fill("Work", 5);
	box_delete(other_side(_i), "Work", 0);
	assert_goes_on();
	ck_assert_uint_eq(box_id(&A, "Work"), 0);
}
END_TEST

START_TEST(copies_in_another_deleted_mailbox_do_not_help)
{
	const char *kept = _i < 2 ? "Copy" : "INBOX";
	char guid[8];

	box_new(&A, "Copy");
	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(guid, sizeof(guid), "g%u", i);
		mail_new(&A, "Work", guid, guid);
		mail_new(&A, kept, guid, guid);
	}
	ck_assert_int_eq(run(), 0);
	box_delete(other_side(_i % 2), "Work", 0);
	box_delete(other_side(_i % 2), "Copy", 0);
	if (_i < 2)
		assert_stops();
	else
		assert_goes_on();
}
END_TEST

START_TEST(backup_is_stopped_too)
{
	fill("INBOX", 10);
	o.mode = _i == 0 ? SYNC_BACKUP : SYNC_BACKUP_REVERSE;
	expunge(_i == 0 ? &A : &B, "INBOX", 1, 10);
	assert_stops();
	o.max_delete_percent = 0;
	assert_goes_on();
}
END_TEST

START_TEST(a_dry_run_is_stopped_alike)
{
	fill("INBOX", 20);
	expunge(other_side(_i), "INBOX", 1, 11);
	o.dry_run = true;
	assert_stops();
}
END_TEST

/* ---- a slave whose master is of another kind ---- */

static int
run_slave(unsigned percent)
{
	struct channel *ca, *cb;
	struct brain *m, *s;
	int rm = 0, rs = 0;

	sync_foreign = true;
	lines = 0;
	sync_pair(&A, &B, &ca, &cb);
	ck_assert_int_eq(brain_new_master(A.r, ca, &o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(B.r, cb, NULL, &s), 0);
	brain_slave_guard(s, percent, 20, false);
	while (rm >= 0 && rs >= 0 && (rm != BRAIN_DONE || rs != BRAIN_DONE)) {
		rm = brain_step(m);
		if (rm >= 0)
			rs = brain_step(s);
	}
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
	sync_foreign = false;
	return (rs);
}

START_TEST(a_slave_has_a_guard_of_its_own_for_other_masters)
{
	char *before, *after;

	o.type = SYNC_FULL;
	ck_assert_int_eq(run_slave(50), BRAIN_DONE);
	for (unsigned i = 0; i < 20; i++)
		mail_new(&A, "INBOX", NULL, "x");
	ck_assert_int_eq(run_slave(50), BRAIN_DONE);
	expunge(&A, "INBOX", 1, 11);
	before = side_dump(&B);
	ck_assert_int_eq(run_slave(50), -ECANCELED);
	after = side_dump(&B);
	ck_assert_str_eq(before, after);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 20);
	ck_assert_int_eq(run_slave(0), BRAIN_DONE);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 9);
	free(before);
	free(after);
}
END_TEST

START_TEST(the_masters_choice_holds_on_a_slave_of_its_kind)
{
	fill("INBOX", 20);
	expunge(&A, "INBOX", 1, 11);
	o.max_delete_percent = 60;
	assert_goes_on();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_guard");
	TCase *t = tcase_create("guard");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, more_than_the_share_stops, 0, 2);
	tcase_add_loop_test(
	    t, nothing_of_the_mailbox_is_changed_on_either_side, 0, 2);
	tcase_add_loop_test(t, a_faster_side_waits_for_the_others_guard, 0, 2);
	tcase_add_loop_test(
	    t, small_mailboxes_are_not_watched_but_for_being_emptied, 0, 2);
	tcase_add_loop_test(t, an_emptied_mailbox_stops, 0, 2);
	tcase_add_loop_test(t, the_smaller_limit_holds_for_being_emptied, 0, 2);
	tcase_add_loop_test(t, moved_mail_does_not_count, 0, 4);
	tcase_add_test(t, new_uids_do_not_count);
	tcase_add_loop_test(t, a_deleted_mailbox_with_mail_stops, 0, 2);
	tcase_add_loop_test(
	    t, a_deleted_mailbox_with_a_few_messages_goes, 0, 2);
	tcase_add_loop_test(
	    t, copies_in_another_deleted_mailbox_do_not_help, 0, 4);
	tcase_add_loop_test(t, backup_is_stopped_too, 0, 2);
	tcase_add_loop_test(t, a_dry_run_is_stopped_alike, 0, 2);
	tcase_add_test(t, a_slave_has_a_guard_of_its_own_for_other_masters);
	tcase_add_test(t, the_masters_choice_holds_on_a_slave_of_its_kind);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
