/*
 * sync_conflict -- every conflict that is settled is told, once, with what it
 * was, the rule and what came of it; and what is none is not.
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
static char told[64][512];
static unsigned n;

static void
on_conflict(void *arg, const char *mailbox, uint32_t uid, const char *what,
    const char *rule, const char *outcome)
{
	(void)arg;
	ck_assert_uint_lt(n, 64);
	(void)snprintf(told[n++], sizeof(told[0]), "%s %u: %s; %s: %s", mailbox,
	    uid, what, rule, outcome);
}

static int
run(struct sync_result *r)
{
	static const struct sync_events events = { .conflict = on_conflict };

	n = 0;
	return (sync_run_local(A.r, B.r, &o, &events, r));
}

static void
sync_ok(void)
{
	struct sync_result r;

	ck_assert_int_eq(run(&r), 0);
}

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	box_new(&A, "Work");
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	mail_new(&A, "Work", "w1", "w1");
	mail_new(&A, "Work", "w2", "w2");
	box_subscribe(&A, "Work", true, 1700000005);
	o = (struct sync_options){ .type = SYNC_STATE };
	sync_ok();
	ck_assert_uint_eq(n, 0);
	sync_ok();
	ck_assert_uint_eq(n, 0);
}

static void
teardown(void)
{
	side_free(&A);
	side_free(&B);
}

static void
told_one(const char *line)
{
	if (n != 1 || strcmp(told[0], line) != 0)
		for (unsigned i = 0; i < n; i++)
			fprintf(stderr, "told: %s\n", told[i]);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(told[0], line);
}

/* _i: both ways round. */
static struct side *
one(int i)
{
	return (i == 0 ? &A : &B);
}

static struct side *
other(int i)
{
	return (i == 0 ? &B : &A);
}

/* A run tells just this, and the next one nothing. */
static void
settles(const char *line)
{
	sync_ok();
	told_one(line);
	assert_equal(&A, &B);
	sync_ok();
	ck_assert_uint_eq(n, 0);
}

START_TEST(a_flag_set_here_and_cleared_there)
{
	mail_flags(one(_i), "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(other(_i), "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(other(_i), "INBOX", 1, 0, MAIL_SEEN);
	settles("INBOX 1: set on one side and cleared on the other: \\Seen; "
		"the higher modseq wins: cleared");
}
END_TEST

START_TEST(flags_and_keywords_in_one_message)
{
	mail_flags(one(_i), "INBOX", 1, MAIL_SEEN, 0);
	mail_keyword(one(_i), "INBOX", 1, "job", NULL);
	mail_flags(one(_i), "INBOX", 1, MAIL_DRAFT, 0);
	mail_flags(other(_i), "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(other(_i), "INBOX", 1, 0, MAIL_SEEN);
	mail_keyword(other(_i), "INBOX", 1, "job", NULL);
	mail_keyword(other(_i), "INBOX", 1, NULL, "job");
	settles("INBOX 1: set on one side and cleared on the other: \\Seen "
		"job; the higher modseq wins: cleared");
}
END_TEST

START_TEST(changes_of_different_flags_are_none)
{
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_flags(&A, "INBOX", 2, MAIL_DRAFT, 0);
	mail_flags(&B, "INBOX", 2, MAIL_DRAFT, 0);
	mail_new(&A, "INBOX", "g3", "three");
	mail_expunge(&B, "Work", 1);
	box_rename(&A, "Work", "Job", 1800000000);
	box_subscribe(&B, "INBOX", true, 1800000000);
	sync_ok();
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(expunged_here_and_changed_there)
{
	mail_expunge(one(_i), "INBOX", 2);
	mail_flags(other(_i), "INBOX", 2, MAIL_FLAGGED, 0);
	settles("INBOX 2: expunged on one side, flags changed on the other; "
		"an expunge wins: expunged");
}
END_TEST

START_TEST(one_uid_for_two_messages)
{
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	sync_ok();
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(told[0],
	    "INBOX 3: both sides have used UID 3, for different messages; it "
	    "gets the next UID that is free on both sides: now UID 4");
	ck_assert_str_eq(told[1],
	    "INBOX 3: both sides have used UID 3, for different messages; it "
	    "gets the next UID that is free on both sides: now UID 5");
	sync_ok();
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(two_uids_for_one_message)
{
	mail_new(one(_i), "INBOX", "x", "x");
	mail_expunge(one(_i), "INBOX", 3);
	mail_new(one(_i), "INBOX", "y", "y");
	mail_new(other(_i), "INBOX", "y", "y");
	settles(_i == 0
		? "INBOX 4: both sides have this message, as UID 3 and as UID "
		  "4; it gets the next UID that is free on both sides: now "
		  "UID 4"
		: "INBOX 3: both sides have this message, as UID 3 and as UID "
		  "4; it gets the next UID that is free on both sides: now "
		  "UID 4");
}
END_TEST

START_TEST(one_name_for_two_mailboxes)
{
	box_new(&A, "New");
	box_new(&B, "New");
	mail_new(&A, "New", "n", "n");
	settles("New 0: both sides have made a mailbox of this name; the "
		"larger GUID stays: one mailbox with the mail of both");
}
END_TEST

START_TEST(deleted_and_made_again)
{
	box_delete(one(_i), "Work", 1800000000);
	box_new(one(_i), "Work");
	settles("Work 0: both sides have made a mailbox of this name; the "
		"larger GUID stays: one mailbox with the mail of both");
}
END_TEST

START_TEST(renamed_on_both_sides)
{
	box_rename(one(_i), "Work", "Job", 1800000001);
	box_rename(other(_i), "Work", "Task", 1800000000);
	settles("Job 0: renamed to Job on one side and to Task on the other; "
		"the newer name wins: now Job");
	/* Again, one after the other: no conflict. */
	box_rename(one(_i), "Job", "Work", 1800000002);
	sync_ok();
	ck_assert_uint_eq(n, 0);
	box_rename(other(_i), "Work", "Job", 1800000003);
	sync_ok();
	ck_assert_uint_eq(n, 0);
	box_rename(one(_i), "Job", "X", 1800000005);
	box_rename(other(_i), "Job", "Y", 1800000004);
	settles("X 0: renamed to X on one side and to Y on the other; the "
		"newer name wins: now X");
}
END_TEST

START_TEST(deleted_here_and_new_mail_there)
{
	box_delete(one(_i), "Work", 1800000000);
	mail_new(other(_i), "Work", "w3", "w3");
	settles("Work 0: deleted on one side, its mail changed on the other; "
		"a deletion wins: deleted");
}
END_TEST

START_TEST(deleted_here_alone)
{
	box_delete(one(_i), "Work", 1800000000);
	sync_ok();
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(box_id(other(_i), "Work"), 0);
}
END_TEST

START_TEST(subscribed_here_and_unsubscribed_there)
{
	box_subscribe(one(_i), "Work", false, 1800000000);
	box_subscribe(other(_i), "Work", false, 1800000001);
	box_subscribe(other(_i), "Work", true, 1800000002);
	settles("Work 0: subscribed on one side, unsubscribed on the other; "
		"the newer change wins: subscribed");
	box_subscribe(one(_i), "Work", false, 1800000003);
	sync_ok();
	ck_assert_uint_eq(n, 0);
	box_subscribe(other(_i), "Work", true, 1800000004);
	sync_ok();
	ck_assert_uint_eq(n, 0);
}
END_TEST

/* ---- backup: what was done in the destination ---- */

/* _i 0: A is the source and the master, 1: B is the source. */
static void
backup(void)
{
	o.mode = SYNC_BACKUP;
	sync_ok();
	ck_assert_uint_eq(n, 0);
}

START_TEST(backup_undoes_flags)
{
	backup();
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	settles("INBOX 1: flags were changed in the destination; a backup "
		"makes it like the source: undone");
}
END_TEST

START_TEST(backup_expunges_what_was_saved)
{
	backup();
	mail_new(&B, "INBOX", "mine", "mine");
	sync_ok();
	told_one("INBOX 3: saved in the destination; a backup makes it like "
		 "the source: expunged");
}
END_TEST

START_TEST(backup_saves_again_what_was_expunged)
{
	backup();
	mail_expunge(&B, "INBOX", 1);
	sync_ok();
	told_one("INBOX 3: UID 1 of the source was expunged in the "
		 "destination; a UID is never given twice: there it is UID 3");
}
END_TEST

START_TEST(backup_deletes_what_was_made)
{
	backup();
	box_new(&B, "Mine");
	settles("Mine 0: made in the destination; a backup makes it like the "
		"source: deleted");
}
END_TEST

START_TEST(backup_takes_names_back)
{
	backup();
	box_rename(&B, "Work", "Mine", 1800000000);
	settles("Work 0: named Work in the source, renamed to Mine; a backup "
		"makes it like the source: now Work");
}
END_TEST

START_TEST(backup_takes_subscriptions_back)
{
	backup();
	box_subscribe(&B, "Work", false, 1800000000);
	settles("Work 0: unsubscribed in the destination; a backup makes it "
		"like the source: subscribed");
}
END_TEST

START_TEST(what_the_source_did_is_none)
{
	backup();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_expunge(&A, "INBOX", 2);
	mail_new(&A, "INBOX", "g3", "three");
	box_rename(&A, "Work", "Job", 1800000000);
	box_subscribe(&A, "Job", true, 1800000000);
	box_new(&A, "New");
	sync_ok();
	ck_assert_uint_eq(n, 0);
	box_delete(&A, "New", 1800000001);
	sync_ok();
	ck_assert_uint_eq(n, 0);
}
END_TEST

/* ---- when ---- */

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

START_TEST(a_run_that_is_stopped_tells_none)
{
	struct sync_result r;

	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, 0, MAIL_SEEN);
	mail_expunge(&A, "INBOX", 2);
	o.max_delete_percent = 10;
	o.max_delete_min = 1;
	log_set_sink(quiet, NULL);
	ck_assert_int_eq(run(&r), -ECANCELED);
	ck_assert_uint_eq(n, 0);
	log_set_sink(NULL, NULL);
	o.max_delete_percent = 0;
	sync_ok();
	ck_assert_uint_eq(n, 1);
}
END_TEST

/* Over a link each brain has its own events: both hear of it. */
START_TEST(each_side_hears_of_it_by_itself)
{
	static const struct sync_events events = { .conflict = on_conflict };
	struct channel *ca, *cb;
	struct brain *m, *s;
	unsigned by_master;

	mail_expunge(&A, "INBOX", 2);
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, 0);
	for (int side = 0; side < 2; side++) {
		int rm = 0, rs = 0;

		n = 0;
		sync_foreign = false;
		sync_pair(&A, &B, &ca, &cb);
		ck_assert_int_eq(brain_new_master(A.r, ca, &o,
				     side == 0 ? &events : NULL, &m),
		    0);
		ck_assert_int_eq(
		    brain_new_slave(B.r, cb, side == 1 ? &events : NULL, &s),
		    0);
		while (rm != BRAIN_DONE || rs != BRAIN_DONE) {
			rm = brain_step(m);
			rs = brain_step(s);
			ck_assert_int_ge(rm, 0);
			ck_assert_int_ge(rs, 0);
		}
		by_master = n;
		ck_assert_uint_eq(by_master, 1);
		brain_free(m);
		brain_free(s);
		ca->ops->close(ca);
		cb->ops->close(cb);
		if (side == 0) {
			mail_new(&A, "INBOX", "g3", "three");
			sync_ok();
			mail_expunge(&B, "INBOX", 3);
			mail_flags(&A, "INBOX", 3, MAIL_FLAGGED, 0);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_conflict");
	TCase *t = tcase_create("conflict");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_flag_set_here_and_cleared_there, 0, 2);
	tcase_add_loop_test(t, flags_and_keywords_in_one_message, 0, 2);
	tcase_add_test(t, changes_of_different_flags_are_none);
	tcase_add_loop_test(t, expunged_here_and_changed_there, 0, 2);
	tcase_add_test(t, one_uid_for_two_messages);
	tcase_add_loop_test(t, two_uids_for_one_message, 0, 2);
	tcase_add_test(t, one_name_for_two_mailboxes);
	tcase_add_loop_test(t, deleted_and_made_again, 0, 2);
	tcase_add_loop_test(t, renamed_on_both_sides, 0, 2);
	tcase_add_loop_test(t, deleted_here_and_new_mail_there, 0, 2);
	tcase_add_loop_test(t, deleted_here_alone, 0, 2);
	tcase_add_loop_test(t, subscribed_here_and_unsubscribed_there, 0, 2);
	tcase_add_test(t, backup_undoes_flags);
	tcase_add_test(t, backup_expunges_what_was_saved);
	tcase_add_test(t, backup_saves_again_what_was_expunged);
	tcase_add_test(t, backup_deletes_what_was_made);
	tcase_add_test(t, backup_takes_names_back);
	tcase_add_test(t, backup_takes_subscriptions_back);
	tcase_add_test(t, what_the_source_did_is_none);
	tcase_add_test(t, a_run_that_is_stopped_tells_none);
	tcase_add_test(t, each_side_hears_of_it_by_itself);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
