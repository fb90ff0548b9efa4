/*
 * fs_view_folders -- mailboxes as folders, in both layouts, and the names of
 * folders both ways.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MAIL "Subject: hello\n\nworld\n"

static void
setup_flat(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

static void
setup_nested(void)
{
	fs_up(LAYOUT_FS);
}

/* ---- making and removing ---- */

START_TEST(the_root_is_inbox)
{
	ck_assert_str_eq(names(""), "cur new tmp ");
	ck_assert_uint_eq(node("cur") & NODE_BOX, NODE_BOX);
	ck_assert_int_eq(do_mkdir("cur"), -EEXIST);
	ck_assert_int_eq(do_rmdir("cur"), -EBUSY);
	ck_assert_int_eq(do_rename("cur", "other"), -EBUSY);
	ck_assert_uint_eq(links(""), 5);
	ck_assert_uint_eq(box("INBOX"), 1);
}
END_TEST

START_TEST(a_folder_with_its_parts_is_a_mailbox)
{
	struct stat before, after;
	uint32_t id;

	ck_assert_int_eq(do_mkdir(".Foo"), 0);
	ck_assert_uint_eq(box("Foo"), 0);
	ck_assert_int_eq(do_stat(".Foo", &before), 0);
	ck_assert_int_eq(do_mkdir(".Foo/tmp"), 0);
	ck_assert_uint_ne(id = box("Foo"), 0);
	ck_assert_int_eq(do_stat(".Foo", &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	/* The other parts are there when they have been made. */
	ck_assert_str_eq(names(".Foo"), "tmp ");
	ck_assert(!there(".Foo/cur"));
	ck_assert_uint_eq(links(".Foo"), 3);
	ck_assert_int_eq(do_mkdir(".Foo/tmp"), -EEXIST);
	ck_assert_int_eq(do_mkdir(".Foo/new"), 0);
	ck_assert_int_eq(do_mkdir(".Foo/cur"), 0);
	ck_assert_str_eq(names(".Foo"), "cur new tmp ");
	ck_assert_str_eq(names(""), ".Foo cur new tmp ");
	ck_assert_int_eq(do_mkdir(".Foo"), -EEXIST);
	ck_assert_uint_eq(batches(), 1);
	fs_again();
	ck_assert_str_eq(names(".Foo"), "cur new tmp ");
	ck_assert_uint_eq(box("Foo"), id);
}
END_TEST

START_TEST(a_folder_without_its_parts_can_be_removed)
{
	folder(".Foo");
	mail(".Foo", "new/one", MAIL);
	ck_assert_int_eq(do_rmdir(".Foo"), -ENOTEMPTY);
	ck_assert_int_eq(do_rmdir(".Foo/new"), -ENOTEMPTY);
	ck_assert_int_eq(do_rmdir(".Foo/cur"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/cur"), -ENOENT);
	ck_assert_int_eq(do_unlink(".Foo/new/one"), 0);
	ck_assert_int_eq(do_make(".Foo/tmp/x", "x"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/tmp"), -ENOTEMPTY);
	ck_assert_int_eq(do_unlink(".Foo/tmp/x"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/tmp"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/new"), 0);
	ck_assert_int_eq(do_make(".Foo/maildirfolder", ""), 0);
	ck_assert_int_eq(do_rmdir(".Foo"), -ENOTEMPTY);
	ck_assert_int_eq(do_unlink(".Foo/maildirfolder"), 0);
	ck_assert_uint_ne(box("Foo"), 0);
	ck_assert_int_eq(do_rmdir(".Foo"), 0);
	ck_assert_uint_eq(box("Foo"), 0);
	ck_assert(!there(".Foo"));
	ck_assert_str_eq(names(""), "cur new tmp ");
	/* And made anew it is another one. */
	folder(".Foo");
	ck_assert_str_eq(names(".Foo/new"), "");
}
END_TEST

static int
count_deletion(void *arg, const struct deletion *d)
{
	unsigned *n = arg;

	*n += d->kind == DELETED_MAILBOX && strcmp(d->name, "Foo") == 0 &&
	    d->time != 0;
	return (0);
}

START_TEST(a_removed_folder_is_told_to_peers_with_its_time)
{
	unsigned n = 0;

	folder(".Foo");
	ck_assert_int_eq(do_rmdir(".Foo/cur"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/new"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/tmp"), 0);
	ck_assert_int_eq(do_rmdir(".Foo"), 0);
	ck_assert_int_eq(store_deletions(fs.s, count_deletion, &n), 0);
	ck_assert_uint_eq(n, 1);
}
END_TEST

/* ---- renaming ---- */

START_TEST(siblings_stay_when_a_folder_is_renamed)
{
	uint32_t foo, bar;
	uint64_t was;

	folder(".Foo");
	folder(".Foo.Bar");
	mail(".Foo", "cur/one:2,S", MAIL);
	foo = box("Foo");
	bar = box("Foo/Bar");
	was = node(".Foo/cur/one:2,S");
	mark();
	ck_assert_int_eq(do_rename(".Foo", ".New"), 0);
	ck_assert_uint_eq(batches(), 1);
	ck_assert_uint_eq(box("New"), foo);
	ck_assert_uint_eq(box("Foo/Bar"), bar);
	ck_assert_str_eq(names(""), ".Foo.Bar .New cur new tmp ");
	ck_assert_uint_eq(node(".New/cur/one:2,S"), was);
	ck_assert(!there(".Foo"));
	ck_assert_int_ne((int)boxed("New").renamed, 0);
	folder(".Foo");
	ck_assert_int_eq(do_rename(".New", ".Foo"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename(".New", ".New"), 0);
	/* The engine has no name below itself for a mailbox. */
	ck_assert_int_eq(do_rename(".New", ".New.Deeper"), -EINVAL);
	ck_assert_int_eq(do_rename(".New", ".Other.Deeper.Still"), 0);
	ck_assert_uint_eq(box("Other/Deeper/Still"), foo);
	ck_assert_str_eq(text(".Other.Deeper.Still/cur/one:2,S"), MAIL);
}
END_TEST

START_TEST(children_go_along_where_folders_nest)
{
	uint32_t bar, deep;

	folder("Foo");
	folder("Foo/Bar");
	mail("Foo/Bar", "cur/one:2,S", MAIL);
	bar = box("Foo/Bar");
	ck_assert_uint_ne(bar, 0);
	ck_assert_str_eq(names(""), "Foo cur new tmp ");
	ck_assert_str_eq(names("Foo"), "Bar cur new tmp ");
	ck_assert_int_eq(do_rename("Foo", "New"), 0);
	ck_assert_uint_eq(box("New/Bar"), bar);
	ck_assert_uint_eq(box("Foo"), 0);
	ck_assert_str_eq(names(""), "New cur new tmp ");
	ck_assert_str_eq(text("New/Bar/cur/one:2,S"), MAIL);
	ck_assert_int_eq(do_rename("New/Bar", "Bar"), 0);
	ck_assert_uint_eq(box("Bar"), bar);
	ck_assert_str_eq(names(""), "Bar New cur new tmp ");
	ck_assert_str_eq(names("New"), "cur new tmp ");
	/* A directory that is none itself moves those below it. */
	ck_assert_int_eq(do_mkdir("plain"), 0);
	folder("plain/deep");
	ck_assert_uint_ne(deep = box("plain/deep"), 0);
	ck_assert_int_eq(do_rename("plain", "other"), 0);
	ck_assert_uint_eq(box("other/deep"), deep);
	ck_assert_str_eq(names("other"), "deep ");
	ck_assert_str_eq(names("other/deep"), "cur new tmp ");
	fs_again();
	ck_assert_str_eq(names("other/deep"), "cur new tmp ");
	ck_assert_str_eq(names(""), "Bar New cur new other tmp ");
}
END_TEST

START_TEST(a_folder_with_children_is_not_removed)
{
	folder("Foo");
	folder("Foo/Bar");
	ck_assert_int_eq(do_rmdir("Foo/cur"), 0);
	ck_assert_int_eq(do_rmdir("Foo/new"), 0);
	ck_assert_int_eq(do_rmdir("Foo/tmp"), 0);
	ck_assert_int_eq(do_rmdir("Foo"), -ENOTEMPTY);
	ck_assert_int_eq(do_rmdir("Foo/Bar/cur"), 0);
	ck_assert_int_eq(do_rmdir("Foo/Bar/new"), 0);
	ck_assert_int_eq(do_rmdir("Foo/Bar/tmp"), 0);
	ck_assert_int_eq(do_rmdir("Foo/Bar"), 0);
	ck_assert_int_eq(do_rmdir("Foo"), 0);
	ck_assert_uint_eq(box("Foo"), 0);
	ck_assert_str_eq(names(""), "cur new tmp ");
}
END_TEST

/* Dovecot's way to delete a mailbox: out of the tree, then bit by bit. */
START_TEST(a_folder_renamed_out_of_the_mailboxes_is_deleted)
{
	folder(".Foo");
	mail(".Foo", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make(".Foo/dovecot.index.log", "log"), 0);
	ck_assert_int_eq(do_rename(".Foo", "..DOVECOT-TRASHED"), 0);
	ck_assert_uint_eq(box("Foo"), 0);
	ck_assert(!there(".Foo"));
	ck_assert_str_eq(names(""), "..DOVECOT-TRASHED cur new tmp ");
	ck_assert_str_eq(names("..DOVECOT-TRASHED"), "dovecot.index.log ");
	ck_assert_int_eq(do_unlink("..DOVECOT-TRASHED/dovecot.index.log"), 0);
	ck_assert_int_eq(do_rmdir("..DOVECOT-TRASHED"), 0);
	ck_assert_str_eq(names(""), "cur new tmp ");
	folder(".Foo");
	ck_assert_str_eq(names(".Foo/cur"), "");
}
END_TEST

START_TEST(a_folder_with_mail_has_no_place_outside_of_the_mailboxes)
{
	folder(".Foo");
	mail(".Foo", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_mkdir("arch"), 0);
	mark();
	ck_assert_int_eq(do_rename(".Foo", "arch/Foo"), -EXDEV);
	ck_assert_int_eq(do_rename(".Foo", "plain"), -EXDEV);
	ck_assert_int_eq(do_rename(".Foo", "arch/..DOVECOT-TRASHED"), -EXDEV);
	ck_assert_str_eq(text(".Foo/cur/one:2,S"), MAIL);
	ck_assert_str_eq(names("arch"), "");
	ck_assert_uint_eq(batches(), 0);
	/* Without mail and places for it, it is a directory. */
	ck_assert_int_eq(do_unlink(".Foo/cur/one:2,S"), 0);
	ck_assert_int_eq(do_rename(".Foo", "plain"), -EXDEV);
	ck_assert_int_eq(do_make(".Foo/own", "own"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/cur"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/new"), 0);
	ck_assert_int_eq(do_rmdir(".Foo/tmp"), 0);
	ck_assert_int_eq(do_rename(".Foo", "plain"), 0);
	ck_assert_str_eq(text("plain/own"), "own");
	ck_assert_uint_eq(box("Foo"), 0);
}
END_TEST

START_TEST(nested_folders_have_no_place_outside_of_the_mailboxes)
{
	folder("Foo");
	folder("Foo/Bar");
	mail("Foo/Bar", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_rename("Foo", ".out"), -EXDEV);
	ck_assert_int_eq(do_rmdir("Foo/cur"), 0);
	ck_assert_int_eq(do_rmdir("Foo/new"), 0);
	ck_assert_int_eq(do_rmdir("Foo/tmp"), 0);
	ck_assert_int_eq(do_rename("Foo", ".out"), -EXDEV);
	ck_assert_str_eq(text("Foo/Bar/cur/one:2,S"), MAIL);
}
END_TEST

START_TEST(mailboxes_do_not_change_places)
{
	folder(".Foo");
	folder(".Bar");
	mail(".Foo", "cur/one:2,S", MAIL);
	mail(".Bar", "cur/two:2,S", MAIL);
	ck_assert_int_eq(do_make("subscriptions", "Foo\n"), 0);
	ck_assert_int_eq(do_fsync("subscriptions"), 0);
	ck_assert_int_eq(do_mkdir("dir"), 0);
	ck_assert_int_eq(do_make("file", "Bar\n"), 0);
	mark();
	ck_assert_int_eq(
	    do_rename_flags(".Foo", ".Bar", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags(".Foo", "dir", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags("dir", ".Foo", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags(".Foo", "file", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags("file", "subscriptions", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags("subscriptions", "file", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(do_rename_flags("file", "file2", 4), -EINVAL);
	ck_assert_int_eq(
	    do_rename_flags("file", "subscriptions", RENAME_NOREPLACE),
	    -EEXIST);
	ck_assert_int_eq(
	    do_rename_flags(".Foo", "dir", RENAME_NOREPLACE), -EEXIST);
	ck_assert_str_eq(text(".Foo/cur/one:2,S"), MAIL);
	ck_assert_str_eq(text(".Bar/cur/two:2,S"), MAIL);
	ck_assert_str_eq(text("subscriptions"), "V\t2\n\nFoo\n");
	ck_assert_str_eq(names("dir"), "");
	ck_assert_uint_eq(batches(), 0);
	ck_assert_int_eq(do_rename_flags("dir", "file", RENAME_EXCHANGE), 0);
	ck_assert_str_eq(text("dir"), "Bar\n");
	ck_assert_int_eq(do_rename_flags(".Foo", ".New", RENAME_NOREPLACE), 0);
	ck_assert_uint_ne(box("New"), 0);
}
END_TEST

START_TEST(nested_mailboxes_do_not_change_places)
{
	ck_assert_int_eq(do_mkdir("a"), 0);
	ck_assert_int_eq(do_mkdir("b"), 0);
	ck_assert_int_eq(do_mkdir("c"), 0);
	folder("a/deep");
	mail("a/deep", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_rename_flags("a", "b", RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(do_rename_flags("b", "a", RENAME_EXCHANGE), -EINVAL);
	ck_assert_str_eq(text("a/deep/cur/one:2,S"), MAIL);
	ck_assert_int_eq(do_make("b/x", "x"), 0);
	ck_assert_int_eq(do_rename_flags("b", "c", RENAME_EXCHANGE), 0);
	ck_assert_str_eq(text("c/x"), "x");
}
END_TEST

START_TEST(a_rename_that_fails_moves_no_mailbox)
{
	ck_assert_int_eq(do_mkdir("a"), 0);
	folder("a/deep");
	mail("a/deep", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_mkdir("b"), 0);
	ck_assert_int_eq(do_make("b/x", "x"), 0);
	ck_assert_int_eq(do_make("file", "x"), 0);
	ck_assert_int_eq(do_mkdir("c"), 0);
	folder("c/deep");
	folder("box");
	mark();
	ck_assert_int_eq(do_rename("a", "b"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename("a", "file"), -ENOTDIR);
	ck_assert_int_eq(do_rename("a", "c"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename("b", "c"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename("box", "b"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename("box", "c"), -ENOTEMPTY);
	ck_assert_int_eq(do_rename("box", "file"), -ENOTDIR);
	ck_assert_int_eq(do_rename("a", ".out"), -EXDEV);
	ck_assert_int_eq(do_rename("a", "a/deep/a"), -EINVAL);
	ck_assert_str_eq(text("a/deep/cur/one:2,S"), MAIL);
	ck_assert_str_eq(names("c"), "deep ");
	ck_assert(!there(".out"));
	ck_assert_uint_eq(batches(), 0);
}
END_TEST

START_TEST(files_that_are_not_mail_go_with_their_folder)
{
	folder(".Foo");
	ck_assert_int_eq(do_make(".Foo/dovecot-uidlist", "3 V1 N1\n"), 0);
	ck_assert_int_eq(do_mkdir(".Foo/dir"), 0);
	ck_assert_int_eq(do_make(".Foo/dir/deep", "deep"), 0);
	mark();
	ck_assert_int_eq(do_rename(".Foo", ".Bar"), 0);
	ck_assert_str_eq(names(".Bar"), "cur dir dovecot-uidlist new tmp ");
	ck_assert_str_eq(text(".Bar/dovecot-uidlist"), "3 V1 N1\n");
	ck_assert_str_eq(text(".Bar/dir/deep"), "deep");
	ck_assert_uint_eq(batches(), 1);
	fs_again();
	ck_assert_str_eq(text(".Bar/dir/deep"), "deep");
}
END_TEST

START_TEST(what_was_in_the_directory_before_stays_in_it)
{
	ck_assert_int_eq(do_mkdir(".Foo"), 0);
	ck_assert_int_eq(do_make(".Foo/maildirfolder", "x"), 0);
	ck_assert_int_eq(do_mkdir(".Foo/cur"), 0);
	ck_assert_str_eq(names(".Foo"), "cur maildirfolder ");
	ck_assert_str_eq(text(".Foo/maildirfolder"), "x");
	fs_again();
	ck_assert_str_eq(text(".Foo/maildirfolder"), "x");
}
END_TEST

/* ---- names ---- */

START_TEST(names_of_folders_both_ways)
{
	static const struct {
		const char *dir, *name;
	} as[] = { { ".Foo", "Foo" }, { ".Foo.Bar", "Foo/Bar" },
		{ ".Entw&APw-rfe", "Entw\303\274rfe" }, { ".A &- B", "A & B" },
		{ ".v1&AC4-2", "v1.2" },
		{ ".&BBoEPgRABDcEOAQ9BDA-",
		    "\320\232\320\276\321\200\320\267\320\270\320\275\320"
		    "\260" },
		{ ".v1&AC4-2.Sub&AC4-x", "v1.2/Sub.x" } };
	size_t i;
	const char *all;

	for (i = 0; i < sizeof(as) / sizeof(*as); i++)
		folder(as[i].dir);
	fs_again();
	all = names("");
	for (i = 0; i < sizeof(as) / sizeof(*as); i++) {
		ck_assert_msg(
		    box(as[i].name) != 0, "no mailbox %s", as[i].name);
		ck_assert_msg(strstr(all, as[i].dir) != NULL, "%s not in %s",
		    as[i].dir, all);
		ck_assert_str_eq(names(as[i].dir), "cur new tmp ");
	}
	/* And one that was made elsewhere. */
	(void)make_mailbox(fs.s, "a.b/\303\274.c");
	ck_assert_str_eq(names(".a&AC4-b.&APw-&AC4-c"), "cur new tmp ");
	ck_assert(strstr(names(""), ".a&AC4-b.&APw-&AC4-c ") != NULL);
}
END_TEST

START_TEST(directories_that_can_be_no_mailbox_are_plain_ones)
{
	static const char *const dirs[] = { "plain", "..Foo", ".Foo.",
		".Foo..Bar", ".bad&name", ".INBOX", ".~x" };
	char path[64];
	size_t i;

	mark();
	for (i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		ck_assert_int_eq(do_mkdir(dirs[i]), 0);
		(void)snprintf(path, sizeof(path), "%s/cur", dirs[i]);
		ck_assert_int_eq(do_mkdir(path), 0);
		(void)snprintf(path, sizeof(path), "%s/cur/one:2,S", dirs[i]);
		ck_assert_int_eq(do_make(path, MAIL), 0);
		ck_assert_str_eq(text(path), MAIL);
	}
	ck_assert_uint_eq(batches(), 0);
}
END_TEST

START_TEST(nested_names_both_ways)
{
	folder("v1.2");
	folder("v1.2/Entw&APw-rfe");
	ck_assert_uint_ne(box("v1.2/Entw\303\274rfe"), 0);
	(void)make_mailbox(fs.s, "made/elsewhere/\303\274");
	ck_assert_str_eq(names("made/elsewhere"), "&APw- ");
	ck_assert_str_eq(names("made/elsewhere/&APw-"), "cur new tmp ");
	ck_assert_str_eq(names(""), "cur made new tmp v1.2 ");
	/* Dot directories are none here. */
	ck_assert_int_eq(do_mkdir(".Foo"), 0);
	ck_assert_int_eq(do_mkdir(".Foo/cur"), 0);
	ck_assert_uint_eq(box("Foo"), 0);
	fs_again();
	ck_assert_str_eq(names("made/elsewhere/&APw-"), "cur new tmp ");
}
END_TEST

START_TEST(nested_subscriptions_have_slashes)
{
	folder("Foo");
	folder("Foo/Bar.baz");
	ck_assert_int_eq(do_make("subscriptions", "Foo/Bar.baz\n"), 0);
	ck_assert_int_eq(do_fsync("subscriptions"), 0);
	ck_assert(boxed("Foo/Bar.baz").subscribed);
	ck_assert(!boxed("Foo").subscribed);
	ck_assert_str_eq(text("subscriptions"), "V\t2\n\nFoo\tBar.baz\n");
}
END_TEST

/* What a sync does to mailboxes is seen. */
START_TEST(mailboxes_changed_underneath)
{
	struct txn *t;
	uint32_t id;

	folder(".Foo");
	mail(".Foo", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make(".Foo/tmp/x", "x"), 0);
	id = box("Foo");
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_rename(t, id, "Bar", 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert(!there(".Foo"));
	ck_assert_str_eq(text(".Bar/cur/one:2,S"), MAIL);
	ck_assert_str_eq(text(".Bar/tmp/x"), "x");
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_delete(t, id, 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert(!there(".Bar"));
	ck_assert_str_eq(names(""), "cur new tmp ");
	fs_again();
	ck_assert_str_eq(names(""), "cur new tmp ");
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_folders");
	TCase *flat = tcase_create("flat"), *nested = tcase_create("nested");

	tcase_add_checked_fixture(flat, setup_flat, fs_down);
	tcase_set_timeout(flat, 60);
	tcase_add_test(flat, the_root_is_inbox);
	tcase_add_test(flat, a_folder_with_its_parts_is_a_mailbox);
	tcase_add_test(flat, a_folder_without_its_parts_can_be_removed);
	tcase_add_test(flat, a_removed_folder_is_told_to_peers_with_its_time);
	tcase_add_test(flat, siblings_stay_when_a_folder_is_renamed);
	tcase_add_test(flat, a_folder_renamed_out_of_the_mailboxes_is_deleted);
	tcase_add_test(
	    flat, a_folder_with_mail_has_no_place_outside_of_the_mailboxes);
	tcase_add_test(flat, mailboxes_do_not_change_places);
	tcase_add_test(flat, files_that_are_not_mail_go_with_their_folder);
	tcase_add_test(flat, what_was_in_the_directory_before_stays_in_it);
	tcase_add_test(flat, names_of_folders_both_ways);
	tcase_add_test(flat, directories_that_can_be_no_mailbox_are_plain_ones);
	tcase_add_test(flat, mailboxes_changed_underneath);
	suite_add_tcase(su, flat);
	tcase_add_checked_fixture(nested, setup_nested, fs_down);
	tcase_set_timeout(nested, 60);
	tcase_add_test(nested, the_root_is_inbox);
	tcase_add_test(nested, children_go_along_where_folders_nest);
	tcase_add_test(nested, a_folder_with_children_is_not_removed);
	tcase_add_test(
	    nested, nested_folders_have_no_place_outside_of_the_mailboxes);
	tcase_add_test(nested, nested_mailboxes_do_not_change_places);
	tcase_add_test(nested, a_rename_that_fails_moves_no_mailbox);
	tcase_add_test(nested, nested_names_both_ways);
	tcase_add_test(nested, nested_subscriptions_have_slashes);
	suite_add_tcase(su, nested);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
