/*
 * sync_stateful -- syncs with another kind of peer that rest on what both had
 * in common: states from outside (-s), saved ones, and those that a foreign
 * master sends (specs/dsync-protocol.md 5).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"
#include "sync/state.h"

static struct side A, B;
static struct state_list states;

/* ---- what passed between the two ---- */

static struct {
	unsigned states, boxes, lost;
	/* rows of both, by kind */
	unsigned save, flags, expunge;
	/* flags of rows of a UID at or below the last common one */
	uint32_t low_save;
} seen;
/* what the hook does to the slave's B */
static uint32_t move_uidvalidity;
/* ... and to its S */
static bool slave_distrusts;
static uint32_t common_uid;

static void
hook(bool by_master, struct item *i)
{
	switch (i->type) {
	case ITEM_STATE:
		if (by_master)
			seen.states++;
		else if (slave_distrusts)
			i->u.state.last_uidvalidity = 0;
		break;
	case ITEM_MAILBOX:
		seen.boxes++;
		seen.lost += i->u.mailbox.lost;
		if (!by_master && move_uidvalidity != 0)
			i->u.mailbox.uidvalidity = move_uidvalidity;
		break;
	case ITEM_CHANGE:
		seen.save += i->u.change.kind == CHANGE_SAVE;
		seen.flags += i->u.change.kind == CHANGE_FLAGS;
		seen.expunge += i->u.change.kind == CHANGE_EXPUNGE;
		if (i->u.change.kind == CHANGE_SAVE &&
		    i->u.change.uid <= common_uid)
			seen.low_save++;
		break;
	default:
		break;
	}
}

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	state_list_init(&states);
	sync_foreign = true;
	sync_watch = hook;
	move_uidvalidity = common_uid = 0;
	slave_distrusts = false;
}

static void
teardown(void)
{
	state_list_fini(&states);
	side_free(&A);
	side_free(&B);
}

static int
run(struct state_list *with, enum sync_mode mode, struct sync_result *r)
{
	struct sync_options o = {
		.mode = mode, .type = SYNC_STATE, .states = with
	};

	memset(&seen, 0, sizeof(seen));
	return (sync_with(&A, &B, &o, r));
}

/* A run that ends well, with both sides equal. */
static void
mirror(struct state_list *with)
{
	struct sync_result r;

	ck_assert_int_eq(run(with, SYNC_MIRROR, &r), 0);
	ck_assert(!r.changes_during_sync && !r.incomplete);
	ck_assert(!r.require_full_resync);
	assert_equal(&A, &B);
}

static struct item_state *
record(const char *box)
{
	struct mailbox m;

	ck_assert_int_eq(store_mailbox_by_name(A.s, box, &m), 0);
	return (state_find(&states, &m.guid));
}

/* Three messages that both have, and the states of that run. */
static void
common(void)
{
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	mail_new(&A, "INBOX", "g3", "three");
	mirror(&states);
	ck_assert_uint_eq(seen.save, 3);
	common_uid = 3;
}

/* ---- as master ---- */

START_TEST(the_state_of_a_run_says_what_both_have)
{
	struct mailbox m;
	struct item_state *s;

	common();
	ck_assert_int_eq(store_mailbox_by_name(A.s, "INBOX", &m), 0);
	ck_assert_uint_eq(states.n, 1);
	s = record("INBOX");
	ck_assert_uint_eq(s->last_uidvalidity, m.uidvalidity);
	ck_assert_uint_eq(s->last_common_uid, 3);
	ck_assert_uint_eq(s->last_messages_count, 3);
	ck_assert_uint_le(s->last_common_modseq, m.highestmodseq);
	/* Once nothing moves any more the record holds the very numbers. */
	mirror(&states);
	mirror(&states);
	ck_assert_int_eq(store_mailbox_by_name(A.s, "INBOX", &m), 0);
	ck_assert_uint_eq(record("INBOX")->last_common_modseq, m.highestmodseq);
}
END_TEST

START_TEST(only_what_changed_since_the_state_is_told)
{
	uint8_t flags;

	common();
	mirror(&states);
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_expunge(&B, "INBOX", 2);
	mail_new(&A, "INBOX", "g4", "four");
	mail_new(&B, "INBOX", "g5", "five");
	mirror(&states);
	ck_assert_uint_eq(seen.states, 2); /* the list's, the mailbox's */
	ck_assert_uint_eq(seen.save, 2);
	ck_assert_uint_eq(seen.flags, 1);
	ck_assert_uint_eq(seen.expunge, 1);
	ck_assert_uint_eq(seen.low_save, 0);
	ck_assert(mail_get(&B, "INBOX", 1, &flags));
	ck_assert_uint_eq(flags, MAIL_FLAGGED);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 4);
}
END_TEST

START_TEST(what_only_the_slave_changed_is_noticed)
{
	uint8_t flags;

	common();
	mirror(&states);
	mirror(&states);
	mail_flags(&B, "INBOX", 2, MAIL_SEEN, 0);
	mirror(&states);
	ck_assert(mail_get(&A, "INBOX", 2, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN);
}
END_TEST

START_TEST(a_state_that_does_not_fit_is_not_sent)
{
	struct item_state *s;

	common();
	mirror(&states);
	s = record("INBOX");
	if (_i == 0)
		s->last_uidvalidity++;
	else if (_i == 1)
		s->last_common_uid = 4;
	else
		s->last_common_modseq = s->end_modseq = 1000;
	mail_expunge(&A, "INBOX", 3);
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	mirror(&states);
	ck_assert_uint_eq(seen.states, 1);
	ck_assert_uint_eq(seen.flags, 0);
	ck_assert_uint_eq(record("INBOX")->last_messages_count, 2);
}
END_TEST

START_TEST(states_of_mailboxes_that_are_gone_are_dropped)
{
	struct item_state none = { .mailbox = { { 9 } }, .last_common_uid = 5 };

	box_new(&A, "Work");
	common();
	ck_assert_uint_eq(states.n, 2);
	ck_assert_int_eq(state_put(&states, &none), 0);
	box_delete(&A, "Work", 0);
	mirror(&states);
	ck_assert_uint_eq(states.n, 1);
	ck_assert_ptr_nonnull(record("INBOX"));
}
END_TEST

START_TEST(states_of_mailboxes_left_out_stay)
{
	static const char *const only[] = { "Work" };
	struct sync_options o = { .type = SYNC_STATE,
		.states = &states,
		.mailbox = only,
		.mailboxes = 1 };
	struct item_state before;

	box_new(&A, "Work");
	common();
	before = *record("INBOX");
	mail_new(&A, "INBOX", "g4", "four");
	mail_new(&A, "Work", "w1", "w1");
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert_uint_eq(states.n, 2);
	ck_assert_int_eq(memcmp(&before, record("INBOX"), sizeof(before)), 0);
	ck_assert_uint_eq(record("Work")->last_common_uid, 1);
}
END_TEST

START_TEST(an_empty_mailbox_has_a_state_too)
{
	mirror(&states);
	ck_assert_uint_eq(record("INBOX")->last_common_uid, 0);
	mirror(&states);
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&B, "INBOX", "b", "b");
	mirror(&states);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	mirror(&states);
}
END_TEST

START_TEST(what_came_after_an_empty_mailbox_is_new)
{
	mirror(&states);
	mirror(&states);
	mail_new(&A, "INBOX", "same", "same");
	mail_new(&B, "INBOX", "same", "same");
	mail_expunge(&B, "INBOX", 1);
	mirror(&states);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 1);
}
END_TEST

START_TEST(a_state_that_the_peer_distrusts_is_forgotten)
{
	struct sync_result r;

	common();
	mirror(NULL);
	ck_assert_uint_eq(seen.states, 2);
	slave_distrusts = true;
	ck_assert_int_eq(run(NULL, SYNC_MIRROR, &r), 0);
	ck_assert(r.require_full_resync);
	slave_distrusts = false;
	mirror(NULL);
	ck_assert_uint_eq(seen.states, 1);
}
END_TEST

START_TEST(another_uidvalidity_ends_a_session_with_a_state)
{
	struct sync_result r;

	common();
	move_uidvalidity = 77;
	ck_assert_int_eq(
	    run(_i == 0 ? &states : NULL, SYNC_MIRROR, &r), -ESTALE);
	ck_assert(r.require_full_resync);
	assert_equal(&A, &B);
	/* Nothing of the state is used again. */
	move_uidvalidity = 0;
	mirror(NULL);
	ck_assert_uint_eq(seen.states, 1);
}
END_TEST

START_TEST(a_peer_that_lost_its_history_is_compared_in_full_next_time)
{
	struct os *old;
	struct sync_result r;

	common();
	mirror(&states);
	old = side_snapshot(&B);
	for (int i = 0; i < 5; i++)
		mail_flags(&A, "INBOX", 1, i % 2 ? 0 : MAIL_SEEN,
		    i % 2 ? MAIL_SEEN : 0);
	mirror(&states);
	mirror(&states);
	side_restore(&B, old);
	ck_assert_int_eq(run(_i == 0 ? &states : NULL, SYNC_MIRROR, &r), 0);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert(r.changes_during_sync && r.require_full_resync);
	state_list_fini(&states);
	mirror(_i == 0 ? &states : NULL);
	ck_assert_uint_eq(seen.flags, 0);
}
END_TEST

START_TEST(a_wrong_state_is_found_out_by_its_rows)
{
	struct sync_result r;

	common();
	mirror(&states);
	/* B is filled anew under the same numbers. */
	mail_expunge(&B, "INBOX", 3);
	mail_new(&B, "INBOX", "other", "other");
	mail_expunge(&A, "INBOX", 3);
	mail_new(&A, "INBOX", "g4", "four");
	mail_flags(&A, "INBOX", 4, MAIL_SEEN, 0);
	record("INBOX")->last_common_uid = 4;
	record("INBOX")->last_common_modseq = 3;
	record("INBOX")->end_modseq = 3;
	common_uid = 4;
	ck_assert_int_eq(run(&states, SYNC_MIRROR, &r), 0);
	ck_assert(r.require_full_resync && r.changes_during_sync);
	state_list_fini(&states);
	mirror(&states);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 4);
}
END_TEST

START_TEST(backup_with_a_state_undoes_what_was_changed_there)
{
	enum sync_mode mode = _i == 0 ? SYNC_BACKUP : SYNC_BACKUP_REVERSE;
	struct side *dest = _i == 0 ? &B : &A, *source = _i == 0 ? &A : &B;
	struct sync_result r;

	common();
	state_list_fini(&states);
	ck_assert_int_eq(run(&states, mode, &r), 0);
	mail_flags(source, "INBOX", 1, MAIL_SEEN, 0);
	ck_assert_int_eq(run(&states, mode, &r), 0);
	ck_assert_uint_eq(seen.save, 0);
	ck_assert_uint_eq(seen.flags, 1);
	ck_assert(!r.require_full_resync);
	assert_equal(&A, &B);
	mail_flags(dest, "INBOX", 2, MAIL_DRAFT, 0);
	ck_assert_int_eq(run(&states, mode, &r), 0);
	if (r.require_full_resync) {
		state_list_fini(&states);
		ck_assert_int_eq(run(&states, mode, &r), 0);
	}
	ck_assert(!r.changes_during_sync);
	assert_equal(&A, &B);
}
END_TEST

/* ---- as slave ---- */

START_TEST(history_that_does_not_reach_back_makes_the_mailbox_lost)
{
	struct store_settings keep_nothing;
	struct sync_result r;
	struct mailbox m;

	store_settings_default(&keep_nothing);
	keep_nothing.expunge_retention = 0;
	common();
	mirror(&states);
	side_close(&B);
	ck_assert_int_eq(store_open(B.os, 0, &keep_nothing, &B.s), 0);
	ck_assert_int_eq(replica_native_new(B.s, "B", true, NULL, &B.r), 0);
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 1, MAIL_DRAFT, 0);
	os_mem_advance(B.os, 60000);
	ck_assert_int_eq(store_compact(B.s, NULL), 0);
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &m), 0);
	ck_assert_uint_gt(m.history_floor, record("INBOX")->last_common_modseq);
	ck_assert_int_eq(run(&states, SYNC_MIRROR, &r), 0);
	ck_assert_uint_eq(seen.lost, 1);
	ck_assert(r.require_full_resync);
	state_list_fini(&states);
	mirror(&states);
}
END_TEST

static int
run_changed(struct sync_result *r)
{
	struct sync_options o = { .type = SYNC_CHANGED };

	memset(&seen, 0, sizeof(seen));
	return (sync_with(&A, &B, &o, r));
}

START_TEST(equal_numbers_of_different_changes_are_shown_to_a_foreign_master)
{
	struct sync_result r;
	struct mailbox a, b;
	uint8_t flags;

	common();
	mirror(NULL);
	ck_assert_int_eq(run_changed(&r), 0);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, 0);
	ck_assert_int_eq(store_mailbox_by_name(A.s, "INBOX", &a), 0);
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &b), 0);
	ck_assert_uint_eq(a.highestmodseq, b.highestmodseq);
	ck_assert_uint_eq(a.uidnext, b.uidnext);
	ck_assert_int_eq(run_changed(&r), 0);
	assert_equal(&A, &B);
	ck_assert(mail_get(&A, "INBOX", 2, &flags));
	ck_assert_uint_eq(flags, MAIL_FLAGGED);
}
END_TEST

static void
raise_modseq(struct side *d, uint64_t to)
{
	struct mailbox_update u = { .min_highestmodseq = to };

	ck_assert_int_eq(
	    d->r->ops->mailbox_update(d->r, box_id(d, "INBOX"), &u, NULL), 0);
}

/* What another replica gave keeps its modseq, which may have been long ago. */
START_TEST(so_is_a_message_that_came_from_a_third_replica)
{
	struct sync_result r;
	struct mailbox a, b;

	common();
	raise_modseq(&A, 50);
	raise_modseq(&B, 50);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	ck_assert_int_eq(run_changed(&r), 0);
	mail_from_third(&B, "INBOX", "g4", "of C");
	mail_new(&A, "INBOX", "g5", "of A");
	raise_modseq(&A, 100);
	raise_modseq(&B, 100);
	ck_assert_int_eq(store_mailbox_by_name(A.s, "INBOX", &a), 0);
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &b), 0);
	ck_assert_uint_eq(a.uidnext, b.uidnext);
	ck_assert_uint_eq(a.messages, b.messages);
	ck_assert_int_eq(run_changed(&r), 0);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 5);
	assert_equal(&A, &B);
}
END_TEST

START_TEST(a_mailbox_that_stayed_is_skipped_for_a_foreign_master)
{
	struct sync_result r;
	uint64_t writes;

	common();
	ck_assert_int_eq(run_changed(&r), 0);
	ck_assert_int_eq(run_changed(&r), 0);
	writes = os_mem_changes(B.os);
	ck_assert_int_eq(run_changed(&r), 0);
	ck_assert_uint_eq(seen.save, 0);
	ck_assert_uint_eq(os_mem_changes(B.os), writes);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_stateful");
	TCase *t = tcase_create("stateful");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_state_of_a_run_says_what_both_have);
	tcase_add_test(t, only_what_changed_since_the_state_is_told);
	tcase_add_test(t, what_only_the_slave_changed_is_noticed);
	tcase_add_loop_test(t, a_state_that_does_not_fit_is_not_sent, 0, 3);
	tcase_add_test(t, states_of_mailboxes_that_are_gone_are_dropped);
	tcase_add_test(t, states_of_mailboxes_left_out_stay);
	tcase_add_test(t, an_empty_mailbox_has_a_state_too);
	tcase_add_test(t, what_came_after_an_empty_mailbox_is_new);
	tcase_add_test(t, a_state_that_the_peer_distrusts_is_forgotten);
	tcase_add_loop_test(
	    t, another_uidvalidity_ends_a_session_with_a_state, 0, 2);
	tcase_add_loop_test(t,
	    a_peer_that_lost_its_history_is_compared_in_full_next_time, 0, 2);
	tcase_add_test(t, a_wrong_state_is_found_out_by_its_rows);
	tcase_add_loop_test(
	    t, backup_with_a_state_undoes_what_was_changed_there, 0, 2);
	tcase_add_test(
	    t, history_that_does_not_reach_back_makes_the_mailbox_lost);
	tcase_add_test(t,
	    equal_numbers_of_different_changes_are_shown_to_a_foreign_master);
	tcase_add_test(t, so_is_a_message_that_came_from_a_third_replica);
	tcase_add_test(
	    t, a_mailbox_that_stayed_is_skipped_for_a_foreign_master);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
