/*
 * fs_view -- messages in the view: each thing a program does to a file in a
 * Maildir is the right change in the log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MAIL "Subject: hello\n\nworld\n"
#define OTHER "Subject: other\n\nbytes\n"

static void
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

/* ---- delivery ---- */

START_TEST(a_file_in_tmp_is_private)
{
	ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
	ck_assert_str_eq(text("tmp/x"), MAIL);
	ck_assert_str_eq(names("tmp"), "x ");
	ck_assert_int_eq(do_fsync("tmp/x"), 0);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_int_eq(do_make("tmp/x", MAIL), -EEXIST);
	ck_assert_int_eq(do_rename("tmp/x", "tmp/y"), 0);
	ck_assert_str_eq(names("tmp"), "y ");
	ck_assert_str_eq(text("tmp/y"), MAIL);
	ck_assert_int_eq(do_unlink("tmp/y"), 0);
	ck_assert_int_eq(do_unlink("tmp/y"), -ENOENT);
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_uint_eq(batches(), 0);
}
END_TEST

START_TEST(delivery_by_rename_saves)
{
	uint64_t was;
	struct msg m;

	ck_assert_int_eq(do_make("tmp/one", MAIL), 0);
	was = node("tmp/one");
	ck_assert_int_eq(do_rename("tmp/one", "new/one"), 0);
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_str_eq(names("new"), "one ");
	ck_assert_str_eq(names("cur"), "");
	ck_assert_uint_eq(node("new/one"), was);
	ck_assert_uint_eq(links("new/one"), 1);
	ck_assert_str_eq(text("new/one"), MAIL);
	ck_assert_str_eq(events("INBOX"), "save 1");
	ck_assert_uint_eq(batches(), 1);
	m = msg("INBOX", "one");
	ck_assert_str_eq(m.guid, "one");
	ck_assert_uint_eq(m.flags, 0);
	ck_assert_uint_eq(m.state & MSG_NEW, MSG_NEW);
	ck_assert_uint_eq(m.ino, was);
	ck_assert_uint_eq(m.body.size, strlen(MAIL));
}
END_TEST

START_TEST(delivery_by_link_keeps_the_name_in_tmp)
{
	uint64_t was;

	ck_assert_int_eq(do_make("tmp/one", MAIL), 0);
	was = node("tmp/one");
	ck_assert_int_eq(do_link("tmp/one", "new/one"), 0);
	ck_assert_str_eq(events("INBOX"), "save 1");
	ck_assert_uint_eq(node("new/one"), was);
	ck_assert_uint_eq(node("tmp/one"), was);
	ck_assert_uint_eq(links("new/one"), 2);
	ck_assert_uint_eq(links("tmp/one"), 2);
	ck_assert_str_eq(text("tmp/one"), MAIL);
	ck_assert_str_eq(names("tmp"), "one ");
	ck_assert_int_eq(do_link("tmp/one", "new/one"), -EEXIST);
	ck_assert_int_eq(do_unlink("tmp/one"), 0);
	ck_assert_uint_eq(links("new/one"), 1);
	ck_assert_uint_eq(node("new/one"), was);
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_str_eq(text("new/one"), MAIL);
	ck_assert_uint_eq(batches(), 1);
	fs_again();
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_str_eq(text("new/one"), MAIL);
}
END_TEST

START_TEST(delivery_into_cur_takes_flags_from_the_name)
{
	mail("", "cur/one:2,FS", MAIL);
	ck_assert_uint_eq(msg("INBOX", "one").flags, MAIL_FLAGGED | MAIL_SEEN);
	ck_assert_uint_eq(msg("INBOX", "one").state & MSG_NEW, 0);
	ck_assert_str_eq(msg("INBOX", "one").guid, "one");
	ck_assert_str_eq(names("cur"), "one:2,FS ");
	ck_assert_str_eq(events("INBOX"), "save 1");
}
END_TEST

START_TEST(known_guid_with_other_bytes_is_not_taken)
{
	folder(".Foo");
	mail("", "new/one", MAIL);
	mail(".Foo", "new/one", OTHER);
	ck_assert_str_eq(msg("INBOX", "one").guid, "one");
	ck_assert_str_ne(msg("Foo", "one").guid, "one");
	ck_assert_uint_eq(strlen(msg("Foo", "one").guid), 32);
	ck_assert_str_eq(text("new/one"), MAIL);
	ck_assert_str_eq(text(".Foo/new/one"), OTHER);
	/* The same bytes are the same message. */
	folder(".Bar");
	mail(".Bar", "new/one", MAIL);
	ck_assert_str_eq(msg("Bar", "one").guid, "one");
	/* Also after the first was expunged, for a peer may still have it. */
	ck_assert_int_eq(do_unlink("new/one"), 0);
	ck_assert_int_eq(do_unlink(".Bar/new/one"), 0);
	mail("", "new/one", OTHER);
	ck_assert_str_eq(text("new/one"), OTHER);
}
END_TEST

START_TEST(delivery_onto_a_message_expunges_it_in_the_same_batch)
{
	uint64_t was;

	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	mark();
	mail("", "cur/one:2,S", OTHER);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one), save 2");
	ck_assert_uint_eq(batches(), 1);
	ck_assert_str_eq(text("cur/one:2,S"), OTHER);
	ck_assert_str_ne(msg("INBOX", "one").guid, "one");
	/* Whoever has the old one open goes on reading it. */
	ck_assert_uint_ne(node("cur/one:2,S"), was);
	ck_assert_str_eq(text_of_node(was), MAIL);
}
END_TEST

/* ---- flags ---- */

START_TEST(flags_change_by_exactly_the_bits)
{
	mail("", "new/one", MAIL);
	mark();
	ck_assert_int_eq(do_rename("new/one", "cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +08");
	ck_assert_str_eq(names("new"), "");
	ck_assert_str_eq(names("cur"), "one:2,S ");
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,FRT"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +07 -08");
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,"), -ENOENT);
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,FRT", "cur/one:2,"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 -07");
	ck_assert_uint_eq(msg("INBOX", "one").flags, 0);
	ck_assert_uint_eq(msg("INBOX", "one").uid, 1);
	mark();
	/* Seen by a client, no flag: nothing that a peer gets a modseq for. */
	ck_assert_int_eq(do_rename("cur/one:2,", "new/one"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_uint_eq(msg("INBOX", "one").state & MSG_NEW, MSG_NEW);
}
END_TEST

START_TEST(a_change_is_relative_to_the_old_name)
{
	struct msg m;

	mail("", "cur/one:2,S", MAIL);
	/* A sync flags it; a program that listed before marks it answered. */
	view_lock(fs.v);
	view_foreign(fs.v, true);
	make_flags(fs.s, box("INBOX"), 1, MAIL_FLAGGED, MAIL_SEEN);
	view_foreign(fs.v, false);
	view_unlock(fs.v);
	ck_assert_str_eq(names("cur"), "one:2,F ");
	ck_assert(there("cur/one:2,S"));
	ck_assert_str_eq(text("cur/one:2,S"), MAIL);
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,RS"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +01");
	m = msg("INBOX", "one");
	ck_assert_uint_eq(m.flags, MAIL_FLAGGED | MAIL_ANSWERED);
}
END_TEST

START_TEST(keyword_letters_follow_the_table)
{
	struct msg m;

	ck_assert_int_eq(do_make("dovecot-keywords", "0 $Junk\n1 work\n"), 0);
	ck_assert_int_eq(do_fsync("dovecot-keywords"), 0);
	mail("", "cur/one:2,b", MAIL);
	m = msg("INBOX", "one");
	ck_assert_uint_eq(m.keywords.n, 1);
	ck_assert_str_eq(m.keywords.name[0], "work");
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,b", "cur/one:2,Sa"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +08 +$Junk -work");
	ck_assert_str_eq(names("cur"), "one:2,Sa ");
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,Sa", "cur/one:2,PSa"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +$Forwarded");
	ck_assert_str_eq(names("cur"), "one:2,PSa ");
}
END_TEST

START_TEST(letters_without_meaning_are_kept)
{
	mail("", "cur/one:2,SXZ", MAIL);
	ck_assert_str_eq(names("cur"), "one:2,SXZ ");
	ck_assert_uint_eq(msg("INBOX", "one").flags, MAIL_SEEN);
	ck_assert_uint_eq(msg("INBOX", "one").keywords.n, 0);
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,SXZ", "cur/one:2,FSXZ"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +02");
	ck_assert_str_eq(names("cur"), "one:2,FSXZ ");
	/* They stay with the message when a sync changes its flags. */
	make_flags(fs.s, box("INBOX"), 1, MAIL_ANSWERED, MAIL_SEEN);
	ck_assert_str_eq(names("cur"), "one:2,FRXZ ");
	/* A keyword letter that no name is known for is shown back too. */
	mail("", "cur/two:2,Sq", OTHER);
	ck_assert(there("cur/two:2,Sq"));
	fs_again();
	ck_assert_str_eq(names("cur"), "one:2,FRXZ two:2,Sq ");
}
END_TEST

START_TEST(names_are_shown_as_they_were_chosen)
{
	static const struct {
		const char *name;
		uint8_t flags;
	} as[] = { { "cur/plain", 0 }, { "cur/a:2,", 0 },
		{ "cur/b:2,SF", MAIL_SEEN | MAIL_FLAGGED },
		{ "cur/c:2,S,extra", MAIL_SEEN }, { "cur/d:1,old", 0 },
		{ "cur/e:2,SS", MAIL_SEEN }, { "new/f:2,", 0 },
		{ "new/g:2,S", MAIL_SEEN },
		{ "cur/1000.M1P2.host,S=20,W=21:2,T", MAIL_DELETED },
		{ "cur/with space and \303\244:2,S", MAIL_SEEN } };
	size_t i, round;
	char base[64];

	for (i = 0; i < sizeof(as) / sizeof(*as); i++)
		mail("", as[i].name, MAIL);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < sizeof(as) / sizeof(*as); i++) {
			const char *file = as[i].name + 4;

			(void)snprintf(base, sizeof(base), "%.*s",
			    (int)strcspn(file, ":"), file);
			ck_assert_msg(
			    there(as[i].name), "%s is gone", as[i].name);
			ck_assert_uint_eq(
			    msg("INBOX", base).flags, as[i].flags);
		}
		ck_assert_str_eq(names("new"), "f:2, g:2,S ");
		fs_again();
	}
	/* A name that no longer says what is so gives way to the usual form. */
	make_flags(fs.s, box("INBOX"), msg("INBOX", "b").uid, MAIL_ANSWERED, 0);
	make_flags(fs.s, box("INBOX"), msg("INBOX", "plain").uid, MAIL_SEEN, 0);
	ck_assert(there("cur/b:2,FRS"));
	ck_assert(there("cur/plain:2,S"));
	ck_assert(!there("cur/plain"));
}
END_TEST

START_TEST(a_new_base_name_keeps_the_guid)
{
	mail("", "cur/one:2,S", MAIL);
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/two:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_str_eq(msg("INBOX", "two").guid, "one");
	ck_assert_uint_eq(msg("INBOX", "two").uid, 1);
	ck_assert(!has("INBOX", "one"));
	ck_assert_str_eq(names("cur"), "two:2,S ");
}
END_TEST

/* ---- between mailboxes ---- */

START_TEST(a_move_is_one_batch)
{
	uint64_t was;
	struct msg m;

	folder(".Foo");
	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,S", ".Foo/cur/other:2,FS"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one)");
	ck_assert_str_eq(events("Foo"), "save 1");
	ck_assert_uint_eq(batches(), 1);
	m = msg("Foo", "other");
	ck_assert_str_eq(m.guid, "one");
	ck_assert_uint_eq(m.ino, was);
	ck_assert_uint_eq(m.flags, MAIL_SEEN | MAIL_FLAGGED);
	ck_assert_uint_eq(node(".Foo/cur/other:2,FS"), was);
	ck_assert_str_eq(text(".Foo/cur/other:2,FS"), MAIL);
	ck_assert_str_eq(names("cur"), "");
}
END_TEST

START_TEST(a_move_onto_a_message_replaces_it)
{
	folder(".Foo");
	mail("", "cur/one:2,S", MAIL);
	mail(".Foo", "cur/two:2,", OTHER);
	mark();
	ck_assert_int_eq(
	    do_rename_flags("cur/one:2,S", ".Foo/cur/two:2,", RENAME_NOREPLACE),
	    -EEXIST);
	ck_assert_int_eq(do_rename("cur/one:2,S", ".Foo/cur/two:2,"), 0);
	ck_assert_str_eq(events("Foo"), "expunge 1 (two), save 2");
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one)");
	ck_assert_uint_eq(batches(), 1);
	ck_assert_str_eq(names(".Foo/cur"), "two:2, ");
	ck_assert_str_eq(text(".Foo/cur/two:2,"), MAIL);
}
END_TEST

START_TEST(a_rename_onto_a_message_replaces_it)
{
	uint64_t was;

	mail("", "cur/one:2,S", MAIL);
	mail("", "cur/two:2,", OTHER);
	was = node("cur/two:2,");
	mark();
	ck_assert_int_eq(
	    do_rename_flags("cur/one:2,S", "cur/two:2,", RENAME_NOREPLACE),
	    -EEXIST);
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/two:2,"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 2 (two), flags 1 -08");
	ck_assert_uint_eq(batches(), 1);
	ck_assert_str_eq(text("cur/two:2,"), MAIL);
	ck_assert_str_eq(text_of_node(was), OTHER);
}
END_TEST

START_TEST(a_link_to_another_mailbox_is_a_copy)
{
	uint64_t was;

	folder(".Foo");
	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	mark();
	ck_assert_int_eq(do_link("cur/one:2,S", ".Foo/cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_str_eq(events("Foo"), "save 1");
	ck_assert_str_eq(msg("Foo", "one").guid, "one");
	ck_assert_uint_eq(node(".Foo/cur/one:2,S"), was);
	ck_assert_uint_eq(links(".Foo/cur/one:2,S"), 2);
	ck_assert_uint_eq(links("cur/one:2,S"), 2);
	/* Two names of one file: rename(2) does nothing. */
	ck_assert_int_eq(do_rename("cur/one:2,S", ".Foo/cur/one:2,S"), 0);
	ck_assert(there("cur/one:2,S"));
	mark();
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one)");
	ck_assert_uint_eq(links(".Foo/cur/one:2,S"), 1);
	ck_assert_str_eq(text(".Foo/cur/one:2,S"), MAIL);
}
END_TEST

START_TEST(a_link_has_the_flags_that_its_name_says)
{
	folder(".Foo");
	mail("", "cur/one:2,PST", MAIL);
	ck_assert_int_eq(do_link("cur/one:2,PST", ".Foo/new/two"), 0);
	ck_assert_int_eq(do_link("cur/one:2,PST", ".Foo/cur/three:2,DP"), 0);
	ck_assert_int_eq(do_link(".Foo/new/two", "cur/four:2,P"), 0);
	ck_assert_int_eq(do_link("cur/one:2,PST", "cur/five:2,F"), 0);
	ck_assert_str_eq(names(".Foo/new"), "two ");
	ck_assert_str_eq(names(".Foo/cur"), "three:2,DP ");
	ck_assert_str_eq(names("cur"), "five:2,F four:2,P one:2,PST ");
}
END_TEST

START_TEST(link_and_unlink_is_a_renaming)
{
	mail("", "new/one", MAIL);
	mark();
	ck_assert_int_eq(do_link("new/one", "cur/one:2,S"), 0);
	ck_assert_str_eq(names("cur"), "one:2,S ");
	ck_assert_str_eq(names("new"), "one ");
	ck_assert_uint_eq(links("new/one"), 2);
	ck_assert_uint_eq(links("cur/one:2,S"), 2);
	ck_assert_uint_eq(node("new/one"), node("cur/one:2,S"));
	ck_assert_uint_eq(boxed("INBOX").messages, 1);
	ck_assert_int_eq(do_unlink("new/one"), 0);
	ck_assert_str_eq(events("INBOX"), "flags 1 +08");
	ck_assert_str_eq(names("cur"), "one:2,S ");
	ck_assert_str_eq(names("new"), "");
	ck_assert_uint_eq(links("cur/one:2,S"), 1);
	ck_assert_str_eq(text("cur/one:2,S"), MAIL);
	/* The other way round: the second name goes, nothing has happened. */
	mark();
	ck_assert_int_eq(do_link("cur/one:2,S", "cur/one:2,FS"), 0);
	ck_assert_int_eq(do_unlink("cur/one:2,FS"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_str_eq(names("cur"), "one:2,S ");
}
END_TEST

/* ---- away ---- */

START_TEST(unlink_expunges_and_open_files_read_on)
{
	uint64_t was;
	struct stat st;

	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	mark();
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one)");
	ck_assert(!there("cur/one:2,S"));
	ck_assert_int_eq(do_unlink("cur/one:2,S"), -ENOENT);
	ck_assert_str_eq(text_of_node(was), MAIL);
	ck_assert_int_eq(view_getattr(fs.v, was, &st), 0);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(st.st_size, (off_t)strlen(MAIL));
	view_forget(fs.v, was, 1);
	ck_assert_int_eq(view_getattr(fs.v, was, &st), -ESTALE);
}
END_TEST

START_TEST(an_unlinked_scratch_file_reads_and_writes_on)
{
	struct stat st;
	uint64_t was;

	ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
	was = node("tmp/x");
	ck_assert_int_eq(do_unlink("tmp/x"), 0);
	ck_assert_int_eq((int)view_write(fs.v, was, "!", 1, 0), 1);
	ck_assert_str_eq(text_of_node(was), "!ubject: hello\n\nworld\n");
	ck_assert_int_eq(view_getattr(fs.v, was, &st), 0);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(view_fsync(fs.v, was), 0);
	view_forget(fs.v, was, 1);
	ck_assert_int_eq(view_getattr(fs.v, was, &st), -ESTALE);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view");
	TCase *tc = tcase_create("messages");

	tcase_add_checked_fixture(tc, setup, fs_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_file_in_tmp_is_private);
	tcase_add_test(tc, delivery_by_rename_saves);
	tcase_add_test(tc, delivery_by_link_keeps_the_name_in_tmp);
	tcase_add_test(tc, delivery_into_cur_takes_flags_from_the_name);
	tcase_add_test(tc, known_guid_with_other_bytes_is_not_taken);
	tcase_add_test(
	    tc, delivery_onto_a_message_expunges_it_in_the_same_batch);
	tcase_add_test(tc, flags_change_by_exactly_the_bits);
	tcase_add_test(tc, a_change_is_relative_to_the_old_name);
	tcase_add_test(tc, keyword_letters_follow_the_table);
	tcase_add_test(tc, letters_without_meaning_are_kept);
	tcase_add_test(tc, names_are_shown_as_they_were_chosen);
	tcase_add_test(tc, a_new_base_name_keeps_the_guid);
	tcase_add_test(tc, a_move_is_one_batch);
	tcase_add_test(tc, a_move_onto_a_message_replaces_it);
	tcase_add_test(tc, a_rename_onto_a_message_replaces_it);
	tcase_add_test(tc, a_link_to_another_mailbox_is_a_copy);
	tcase_add_test(tc, a_link_has_the_flags_that_its_name_says);
	tcase_add_test(tc, link_and_unlink_is_a_renaming);
	tcase_add_test(tc, unlink_expunges_and_open_files_read_on);
	tcase_add_test(tc, an_unlinked_scratch_file_reads_and_writes_on);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
