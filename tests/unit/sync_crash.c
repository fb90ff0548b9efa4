/*
 * sync_crash -- a sync that is killed anywhere, or loses its power, is finished
 * by the next one.
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
static const struct sync_options mirror = { .mode = SYNC_MIRROR,
	.type = SYNC_STATE };
static const struct sync_options backup = { .mode = SYNC_BACKUP,
	.type = SYNC_STATE };

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/*
 * Two stores that were synced once and went on apart: every kind of change on
 * both sides.
 */
static void
history(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	box_new(&A, "Work");
	for (char g[2] = "a"; g[0] < 'g'; g[0]++)
		mail_new(&A, "INBOX", g, g);
	mail_new(&A, "Work", "w", "w");
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_keyword(&B, "INBOX", 2, "kw", NULL);
	mail_expunge(&A, "INBOX", 3);
	mail_expunge(&B, "INBOX", 4);
	mail_new(&A, "INBOX", "n1", "n1");
	mail_new(&A, "INBOX", "n2", "n2");
	mail_new(&B, "INBOX", "m1", "m1");
	mail_move(&B, "INBOX", 5, "Work");
	box_new(&A, "New");
	mail_new(&A, "New", "n1", "n1");
	box_rename(&B, "Work", "Job", 1800000000);
	box_subscribe(&B, "Job", true, 0);
	ck_assert_int_eq(store_sync(A.s), 0);
	ck_assert_int_eq(store_sync(B.s), 0);
}

static void
check_mails(struct side *d, bool killed)
{
	static const char *const inbox[] = { "a", "b", "f", "n1", "n2", "m1" };

	for (size_t i = 0; i < sizeof(inbox) / sizeof(inbox[0]); i++)
		ck_assert_msg(mail_uid(d, "INBOX", inbox[i]) != 0,
		    "mail %s is lost", inbox[i]);
	ck_assert_uint_eq(mail_uid(d, "INBOX", "c"), 0);
	ck_assert_uint_eq(mail_uid(d, "INBOX", "d"), 0);
	ck_assert_uint_eq(mail_count(d, "INBOX"), 6);
	ck_assert_uint_eq(mail_count(d, "Job"), 2);
	ck_assert_uint_eq(mail_count(d, "New"), 1);
	(void)killed;
}

/*
 * The next run (or the one after it) brings both to the same, without doubles,
 * and then nothing is left to do.
 */
static void
finish(bool is_backup)
{
	const struct sync_options *o = is_backup ? &backup : &mirror;
	struct sync_result r;
	uint8_t flags;

	ck_assert_int_eq(sync_with(&A, &B, o, &r), 0);
	if (r.changes_during_sync)
		ck_assert_int_eq(sync_with(&A, &B, o, &r), 0);
	ck_assert(!r.incomplete);
	if (!is_backup) {
		assert_equal(&A, &B);
		check_mails(&A, true);
		ck_assert(mail_get(&B, "INBOX", 1, &flags));
		ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
	}
	ck_assert_int_eq(sync_with(&A, &B, o, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
}

START_TEST(killed_at_every_step)
{
	const struct sync_options *o = _i == 0 ? &mirror : &backup;
	bool done = false;

	for (unsigned n = 0; !done; n++) {
		history();
		done = sync_steps(&A, &B, o, n);
		side_close(&A);
		side_close(&B);
		ck_assert_int_eq(side_open(&A), 0);
		ck_assert_int_eq(side_open(&B), 0);
		finish(_i == 1);
		side_free(&A);
		side_free(&B);
		ck_assert_uint_lt(n, 10000);
	}
}
END_TEST

static struct side *live;

static void
live_changes(void)
{
	uint32_t uid = mail_uid(live, "INBOX", "b");

	mail_new(live, "INBOX", "live", "live");
	mail_flags(live, "INBOX", uid, MAIL_ANSWERED, 0);
	mail_flags(live, "INBOX", mail_uid(live, "INBOX", "a"), MAIL_DRAFT, 0);
}

/* A program works in the mailbox while it is synced. */
START_TEST(changes_at_every_step_are_kept)
{
	unsigned steps = 1;

	live = _i == 0 ? &A : &B;
	for (unsigned n = 0; n < steps; n++) {
		struct sync_result r = { .changes_during_sync = true };
		uint8_t flags;

		history();
		ck_assert_int_eq(
		    sync_with_hook(&A, &B, &mirror, n, live_changes, &steps),
		    0);
		for (int run = 0; run < 3 && r.changes_during_sync; run++)
			ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
		ck_assert(!r.changes_during_sync && !r.incomplete);
		assert_equal(&A, &B);
		ck_assert_uint_eq(mail_count(&A, "INBOX"), 7);
		ck_assert(
		    mail_get(&A, "INBOX", mail_uid(&A, "INBOX", "b"), &flags));
		ck_assert_uint_eq(flags, MAIL_ANSWERED);
		ck_assert(
		    mail_get(&B, "INBOX", mail_uid(&B, "INBOX", "a"), &flags));
		ck_assert_uint_eq(flags, MAIL_DRAFT | MAIL_SEEN | MAIL_FLAGGED);
		side_free(&A);
		side_free(&B);
	}
}
END_TEST

static unsigned live_count;

static void
live_flags(void)
{
	for (unsigned i = 0; i < live_count; i++)
		mail_flags(&A, "INBOX", mail_uid(&A, "INBOX", "b"),
		    i % 2 == 0 ? MAIL_ANSWERED : 0,
		    i % 2 == 0 ? 0 : MAIL_ANSWERED);
}

/*
 * The sides tell different ends: B repeats A's expunges behind the flag that A
 * changed last.  What comes in A while they settle on the larger one has
 * modseqs below it, at it or above it.
 */
START_TEST(changes_between_two_ends_are_told)
{
	unsigned steps = 1;

	live_count = (unsigned)_i;
	for (unsigned n = 0; n < steps; n++) {
		struct sync_result r;
		uint8_t flags;

		side_new(&A, "A", 1);
		side_new(&B, "B", 2);
		box_new(&A, "INBOX");
		mail_new(&A, "INBOX", "b", "b");
		for (unsigned k = 0; k < 4; k++)
			mail_new(&A, "INBOX", NULL, "gone");
		ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
		for (uint32_t uid = 2; uid < 6; uid++)
			mail_expunge(&A, "INBOX", uid);
		mail_flags(&A, "INBOX", 1, MAIL_DRAFT, 0);
		ck_assert_int_eq(
		    sync_with_hook(&A, &B, &mirror, n, live_flags, &steps), 0);
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
		ck_assert_uint_eq(result_changes(&r), 0);
		assert_equal(&A, &B);
		ck_assert(mail_get(&B, "INBOX", 1, &flags));
		ck_assert_uint_eq(flags,
		    MAIL_DRAFT | (live_count % 2 == 1 ? MAIL_ANSWERED : 0));
		side_free(&A);
		side_free(&B);
	}
}
END_TEST

/* _i: which side, and what survives. */
START_TEST(power_loss_at_every_operation)
{
	struct side *d = _i % 2 == 0 ? &A : &B;
	static const enum os_mem_loss losses[] = { OS_MEM_LOSE_ALL,
		OS_MEM_KEEP_ALL, OS_MEM_LOSE_SOME };
	enum os_mem_loss loss = losses[_i / 2];
	bool cut = true;

	log_set_sink(quiet, NULL);
	for (unsigned n = 1; cut; n++) {
		history();
		os_mem_cut_at(d->os, os_mem_changes(d->os) + n);
		(void)sync_mirror(&A, &B, NULL);
		cut = os_mem_is_cut(d->os);
		side_drop(d);
		if (!cut)
			os_mem_cut_now(d->os);
		ck_assert_int_eq(os_mem_reboot(d->os, loss, n), 0);
		ck_assert_int_eq(side_open(d), 0);
		finish(false);
		side_free(&A);
		side_free(&B);
	}
	log_set_sink(NULL, NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_crash");
	TCase *t = tcase_create("crash");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, killed_at_every_step, 0, 2);
	tcase_add_loop_test(t, changes_at_every_step_are_kept, 0, 2);
	tcase_add_loop_test(t, changes_between_two_ends_are_told, 1, 9);
	tcase_add_loop_test(t, power_loss_at_every_operation, 0, 6);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
