/*
 * fs_view_nudge -- what the view has the helper process repeat after a sync,
 * and that its requests change nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MAIL "Subject: hello\n\nworld\n"

/* "from>to" or "from>" for each, with a blank behind it. */
static char told[1024];

static void
on_nudge(void *arg, uint32_t mailbox, const char *from, const char *to)
{
	size_t n = strlen(told);

	(void)arg;
	ck_assert_uint_ne(mailbox, 0);
	(void)snprintf(
	    told + n, sizeof(told) - n, "%s>%s ", from, to != NULL ? to : "");
}

static void
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
	view_on_nudge(fs.v, on_nudge, NULL);
	told[0] = '\0';
}

static void
sync_begins(void)
{
	told[0] = '\0';
	view_lock(fs.v);
	view_foreign(fs.v, true);
}

static void
sync_ends(void)
{
	view_foreign(fs.v, false);
	view_unlock(fs.v);
}

static uint32_t
sync_saves(const char *mailbox, const char *guid)
{
	uint32_t uid, id = box(mailbox);

	sync_begins();
	uid = make_msg(fs.s, id, guid, MAIL);
	sync_ends();
	return (uid);
}

static void
sync_flags(const char *mailbox, uint32_t uid, uint8_t add, uint8_t remove)
{
	uint32_t id = box(mailbox);

	sync_begins();
	make_flags(fs.s, id, uid, add, remove);
	sync_ends();
}

static void
sync_expunges(const char *mailbox, uint32_t uid)
{
	uint32_t id = box(mailbox);

	sync_begins();
	make_expunge(fs.s, id, uid);
	sync_ends();
}

static const char *
by_number(uint64_t ino)
{
	static char name[64];

	(void)snprintf(name, sizeof(name), "message-%" PRIu64, ino);
	return (name);
}

static uint64_t
nudge_finds(const char *dir, const char *name)
{
	struct stat st;
	int error = view_nudge_lookup(fs.v, node(dir), name, &st);

	return (error == 0 ? st.st_ino : 0);
}

START_TEST(a_message_that_comes_is_renamed_in)
{
	char want[128];
	uint64_t ino;

	sync_saves("INBOX", "one");
	ino = node("new/one");
	(void)snprintf(
	    want, sizeof(want), ".dsyncfs/%s>./new/one ", by_number(ino));
	ck_assert_str_eq(told, want);
	mark();
	ck_assert_uint_ne(nudge_finds(".dsyncfs", by_number(ino)), 0);
	ck_assert_uint_ne(nudge_finds(".dsyncfs", by_number(ino)), ino);
	/* as if it replaced nothing */
	ck_assert_uint_eq(nudge_finds("new", "one"), 0);
	ck_assert_int_eq(view_nudge_rename(fs.v, node(".dsyncfs"),
			     by_number(ino), node("new"), "one"),
	    0);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_str_eq(text("new/one"), MAIL);
	/* nobody else finds it so */
	ck_assert(!there(".dsyncfs/message-1"));
	(void)snprintf(want, sizeof(want), ".dsyncfs/%s", by_number(ino));
	ck_assert(!there(want));
}
END_TEST

START_TEST(a_new_name_is_a_renaming)
{
	mail("", "cur/one:2,S", MAIL);
	sync_flags("INBOX", 1, MAIL_FLAGGED, 0);
	ck_assert_str_eq(told, "./cur/one:2,S>./cur/one:2,FS ");
	mark();
	ck_assert_uint_ne(nudge_finds("cur", "one:2,S"), 0);
	ck_assert_int_eq(view_nudge_rename(fs.v, node("cur"), "one:2,S",
			     node("cur"), "one:2,FS"),
	    0);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_str_eq(names("cur"), "one:2,FS ");
	/* what has no name of its own tells nothing */
	sync_flags("INBOX", 1, MAIL_FLAGGED, 0);
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(an_expunge_is_an_unlink)
{
	mail("", "cur/one:2,S", MAIL);
	mail("", "cur/two:2,S", MAIL);
	sync_expunges("INBOX", 1);
	ck_assert_str_eq(told, "./cur/one:2,S> ");
	ck_assert(!there("cur/one:2,S"));
	mark();
	ck_assert_uint_ne(nudge_finds("cur", "one:2,S"), 0);
	ck_assert_int_eq(view_nudge_unlink(fs.v, node("cur"), "one:2,S"), 0);
	ck_assert_int_eq(
	    view_nudge_unlink(fs.v, node("cur"), "one:2,S"), -ENOENT);
	ck_assert_uint_eq(nudge_finds("cur", "one:2,S"), 0);
	ck_assert_int_eq(
	    view_nudge_unlink(fs.v, node("cur"), "two:2,S"), -ENOENT);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_str_eq(names("cur"), "two:2,S ");
}
END_TEST

START_TEST(what_has_changed_since_is_left_alone)
{
	mail("", "cur/one:2,S", MAIL);
	mail("", "cur/two:2,S", MAIL);
	sync_expunges("INBOX", 1);
	mail("", "cur/one:2,S", MAIL);
	mark();
	ck_assert_int_eq(
	    view_nudge_unlink(fs.v, node("cur"), "one:2,S"), -ENOENT);
	ck_assert(there("cur/one:2,S"));
	sync_flags("INBOX", 2, MAIL_FLAGGED, 0);
	ck_assert_int_eq(do_rename("cur/two:2,FS", "cur/two:2,S"), 0);
	mark();
	ck_assert_int_eq(view_nudge_rename(fs.v, node("cur"), "two:2,S",
			     node("cur"), "two:2,FS"),
	    -ENOENT);
	ck_assert_int_eq(view_nudge_rename(fs.v, node("cur"), "one:2,S",
			     node("cur"), "two:2,S"),
	    -ENOENT);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_str_eq(names("cur"), "one:2,S two:2,S ");
}
END_TEST

START_TEST(a_transaction_that_is_given_up_tells_nothing)
{
	const struct msg_update u = { .add = MAIL_FLAGGED };
	uint32_t id = box("INBOX");
	struct txn *t;

	mail("", "cur/one:2,S", MAIL);
	sync_begins();
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_update(t, id, 1, &u), 0);
	txn_abort(t);
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_keyword(t, id, "word", -1), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	sync_ends();
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(a_batch_tells_of_each_message)
{
	uint32_t id = box("INBOX");
	struct txn *t;

	mail("", "cur/one:2,S", MAIL);
	mail("", "cur/two:2,S", MAIL);
	sync_begins();
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_expunge(t, id, 1), 0);
	ck_assert_int_eq(txn_expunge(t, id, 2), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	sync_ends();
	ck_assert_str_eq(told, "./cur/one:2,S> ./cur/two:2,S> ");
}
END_TEST

START_TEST(programs_are_not_told_of_their_own_changes)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,FS"), 0);
	ck_assert_int_eq(do_unlink("cur/one:2,FS"), 0);
	ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(folders_are_named_by_their_paths)
{
	folder(".Work");
	mail(".Work", "cur/one:2,S", MAIL);
	sync_expunges("Work", 1);
	ck_assert_str_eq(told, ".Work/cur/one:2,S> ");
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_nudge");
	TCase *tc = tcase_create("nudges");

	tcase_add_checked_fixture(tc, setup, fs_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_message_that_comes_is_renamed_in);
	tcase_add_test(tc, a_new_name_is_a_renaming);
	tcase_add_test(tc, an_expunge_is_an_unlink);
	tcase_add_test(tc, what_has_changed_since_is_left_alone);
	tcase_add_test(tc, a_transaction_that_is_given_up_tells_nothing);
	tcase_add_test(tc, a_batch_tells_of_each_message);
	tcase_add_test(tc, programs_are_not_told_of_their_own_changes);
	tcase_add_test(tc, folders_are_named_by_their_paths);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
