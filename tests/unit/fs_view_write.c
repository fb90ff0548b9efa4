/*
 * fs_view_write -- what is written in place (messages, subscriptions,
 * dovecot-keywords), dates, and .dsyncfs.
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
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

/* ---- messages ---- */

START_TEST(a_rewritten_message_is_seen_at_once_and_settled_by_fsync)
{
	uint64_t was;
	struct msg m;

	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	mark();
	ck_assert_int_eq(do_write("cur/one:2,S", "HELLO", 9), 0);
	ck_assert_str_eq(text("cur/one:2,S"), "Subject: HELLO\n\nworld\n");
	ck_assert_int_eq(do_write("cur/one:2,S", "WORLD\nmore\n", 16), 0);
	ck_assert_str_eq(
	    text("cur/one:2,S"), "Subject: HELLO\n\nWORLD\nmore\n");
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one), save 2");
	ck_assert_uint_eq(batches(), 1);
	m = msg("INBOX", "one");
	ck_assert_uint_eq(strlen(m.guid), 32);
	ck_assert_uint_eq(m.flags, MAIL_SEEN);
	ck_assert_uint_eq(m.ino, was);
	ck_assert_uint_eq(node("cur/one:2,S"), was);
	ck_assert_str_eq(names("cur"), "one:2,S ");
	ck_assert_str_eq(
	    text("cur/one:2,S"), "Subject: HELLO\n\nWORLD\nmore\n");
	ck_assert(!store_dirty(fs.s));
	fs_again();
	ck_assert_uint_eq(node("cur/one:2,S"), was);
	ck_assert_str_eq(
	    text("cur/one:2,S"), "Subject: HELLO\n\nWORLD\nmore\n");
}
END_TEST

START_TEST(the_same_bytes_written_again_change_nothing)
{
	mail("", "cur/one:2,S", MAIL);
	mark();
	ck_assert_int_eq(do_write("cur/one:2,S", "Subject", 0), 0);
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_str_eq(msg("INBOX", "one").guid, "one");
	ck_assert_str_eq(text("cur/one:2,S"), MAIL);
}
END_TEST

START_TEST(a_rename_settles_what_was_written)
{
	mail("", "cur/one:2,", MAIL);
	mark();
	ck_assert_int_eq(do_write("cur/one:2,", "X-", 0), 0);
	ck_assert_int_eq(do_rename("cur/one:2,", "cur/one:2,S"), 0);
	ck_assert_str_eq(
	    events("INBOX"), "expunge 1 (one), save 2, flags 2 +08");
	ck_assert_str_eq(text("cur/one:2,S"), "X-bject: hello\n\nworld\n");
}
END_TEST

START_TEST(closing_settles_what_was_written)
{
	mail("", "cur/one:2,", MAIL);
	ck_assert_int_eq(do_write("cur/one:2,", "X-", 0), 0);
	fs_again();
	ck_assert_str_eq(text("cur/one:2,"), "X-bject: hello\n\nworld\n");
	ck_assert_str_ne(msg("INBOX", "one").guid, "one");
}
END_TEST

START_TEST(a_truncated_message_is_a_rewritten_one)
{
	struct stat st;

	mail("", "cur/one:2,S", MAIL);
	mark();
	ck_assert_int_eq(do_truncate("cur/one:2,S", 9), 0);
	ck_assert_str_eq(text("cur/one:2,S"), "Subject: ");
	ck_assert_int_eq(do_stat("cur/one:2,S", &st), 0);
	ck_assert_int_eq(st.st_size, 9);
	ck_assert_uint_eq(st.st_nlink, 1);
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one), save 2");
	ck_assert_str_eq(text("cur/one:2,S"), "Subject: ");
	/* As programs rewrite: to nothing, then anew. */
	ck_assert_int_eq(do_truncate("cur/one:2,S", 0), 0);
	ck_assert_int_eq(do_write("cur/one:2,S", "anew\n", 0), 0);
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_str_eq(text("cur/one:2,S"), "anew\n");
	ck_assert_uint_eq(boxed("INBOX").messages, 1);
}
END_TEST

START_TEST(every_link_of_a_rewritten_message_changes)
{
	folder(".Foo");
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_link("cur/one:2,S", ".Foo/cur/one:2,F"), 0);
	mark();
	ck_assert_int_eq(do_write(".Foo/cur/one:2,F", "X-", 0), 0);
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_uint_eq(batches(), 1);
	ck_assert_str_eq(msg("INBOX", "one").guid, msg("Foo", "one").guid);
	ck_assert_str_eq(text("cur/one:2,S"), "X-bject: hello\n\nworld\n");
	ck_assert_uint_eq(msg("Foo", "one").flags, MAIL_FLAGGED);
	ck_assert_uint_eq(msg("INBOX", "one").flags, MAIL_SEEN);
}
END_TEST

START_TEST(an_unlinked_message_that_is_open_can_be_written_to)
{
	struct view_set set = { .what = SET_SIZE, .size = 4 };
	struct stat st;
	char got[64];
	uint64_t n;

	mail("", "cur/one:2,S", MAIL);
	n = node("cur/one:2,S");
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	mark();
	ck_assert_int_eq(view_write(fs.v, n, "XX", 2, 0), 2);
	ck_assert_int_eq(
	    view_read(fs.v, n, got, sizeof(got), 0), (ssize_t)strlen(MAIL));
	ck_assert_mem_eq(got, "XX", 2);
	ck_assert_mem_eq(got + 2, MAIL + 2, strlen(MAIL) - 2);
	ck_assert_int_eq(view_getattr(fs.v, n, &st), 0);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(view_setattr(fs.v, n, &set, &st), 0);
	ck_assert_int_eq((int)st.st_size, 4);
	ck_assert_int_eq(view_fsync(fs.v, n), 0);
	ck_assert_str_eq(names("cur"), "");
	ck_assert_uint_eq(batches(), 0);
	view_forget(fs.v, n, 1);
	ck_assert_int_eq(view_getattr(fs.v, n, &st), -ESTALE);
	ck_assert_int_eq(view_write(fs.v, n, "XX", 2, 0), -ESTALE);
	fs_again();
	ck_assert_str_eq(names("cur"), "");
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_uint_eq(batches(), 0);
}
END_TEST

START_TEST(an_open_message_has_what_was_written_before_its_last_name_went)
{
	uint64_t n;

	folder(".Foo");
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_link("cur/one:2,S", ".Foo/cur/one:2,F"), 0);
	n = node("cur/one:2,S");
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	ck_assert_int_eq(do_write(".Foo/cur/one:2,F", "X-", 0), 0);
	ck_assert_int_eq(do_fsync(".Foo/cur/one:2,F"), 0);
	ck_assert_int_eq(do_unlink(".Foo/cur/one:2,F"), 0);
	ck_assert_str_eq(text_of_node(n), "X-bject: hello\n\nworld\n");
}
END_TEST

START_TEST(an_unlinked_message_that_was_written_to_is_gone)
{
	uint64_t was;

	mail("", "cur/one:2,S", MAIL);
	was = node("cur/one:2,S");
	ck_assert_int_eq(do_write("cur/one:2,S", "X-", 0), 0);
	mark();
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	ck_assert_str_eq(events("INBOX"), "expunge 1 (one)");
	ck_assert_str_eq(text_of_node(was), "X-bject: hello\n\nworld\n");
	view_forget(fs.v, was, 1);
	fs_again();
	ck_assert_str_eq(names("cur"), "");
	ck_assert_uint_eq(boxed("INBOX").messages, 0);
}
END_TEST

START_TEST(a_file_made_in_cur_is_a_message_once_it_settles)
{
	uint64_t was;

	ck_assert_int_eq(do_make("cur/one:2,F", MAIL), 0);
	was = node("cur/one:2,F");
	ck_assert_str_eq(names("cur"), "one:2,F ");
	ck_assert_str_eq(text("cur/one:2,F"), MAIL);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_int_eq(do_make("cur/one:2,F", MAIL), -EEXIST);
	ck_assert_int_eq(do_fsync("cur/one:2,F"), 0);
	ck_assert_str_eq(events("INBOX"), "save 1");
	ck_assert_uint_eq(msg("INBOX", "one").flags, MAIL_FLAGGED);
	ck_assert_uint_eq(node("cur/one:2,F"), was);
	ck_assert_str_eq(names("cur"), "one:2,F ");
	ck_assert_str_eq(text("cur/one:2,F"), MAIL);
	ck_assert(!store_dirty(fs.s));
	ck_assert_int_eq(do_make("cur/one:2,F", MAIL), -EEXIST);
	/* Empty ones are not mail yet. */
	ck_assert_int_eq(do_make("new/two", ""), 0);
	ck_assert_int_eq(do_fsync("new/two"), 0);
	ck_assert_str_eq(events("INBOX"), "save 1");
	ck_assert_int_eq(do_write("new/two", MAIL, 0), 0);
	ck_assert_int_eq(do_fsync("new/two"), 0);
	ck_assert_str_eq(events("INBOX"), "save 1, save 2");
}
END_TEST

static struct os_ops faster;
static const struct os_ops *real_ops;
static uint64_t hurry;

static uint64_t
faster_ms(struct os *os)
{
	return (real_ops->mono_ms(os) + hurry);
}

START_TEST(a_quiet_second_settles)
{
	real_ops = fs.os->ops;
	faster = *real_ops;
	faster.mono_ms = faster_ms;
	fs.os->ops = &faster;
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make("cur/two:2,S", MAIL), 0);
	ck_assert_int_eq(do_make("tmp/three", MAIL), 0);
	hurry += 600000;
	mark();
	ck_assert_int_eq(do_write("cur/one:2,S", "X-", 0), 0);
	ck_assert_int_eq(view_tick(fs.v, 1000000), 0);
	ck_assert_str_eq(events("INBOX"), "save 2");
	ck_assert(store_dirty(fs.s));
	hurry += 600000;
	ck_assert_int_eq(view_tick(fs.v, 1000), 0);
	ck_assert_str_eq(events("INBOX"), "save 2, expunge 1 (one), save 3");
	ck_assert_str_eq(names("tmp"), "three ");
	hurry += 600000;
	ck_assert_int_eq(view_tick(fs.v, 1000), 0);
	ck_assert(!store_dirty(fs.s));
	fs.os->ops = real_ops;
}
END_TEST

START_TEST(a_file_that_cannot_be_a_message_is_said_once_and_kept)
{
	unsigned said;

	real_ops = fs.os->ops;
	faster = *real_ops;
	faster.mono_ms = faster_ms;
	fs.os->ops = &faster;
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make("cur/one:2,F", "other\n"), 0);
	said = make_warnings;
	hurry += 600000;
	ck_assert_int_eq(view_tick(fs.v, 1000), 0);
	ck_assert_uint_eq(make_warnings, said + 1);
	hurry += 600000;
	ck_assert_int_eq(view_tick(fs.v, 1000), 0);
	ck_assert_int_eq(do_fsync("cur/one:2,F"), -EEXIST);
	ck_assert_uint_eq(make_warnings, said + 1);
	fs.os->ops = real_ops;
	fs_again();
	ck_assert_str_eq(names("cur"), "one:2,F one:2,S ");
	ck_assert_str_eq(text("cur/one:2,F"), "other\n");
	ck_assert_int_eq(do_rename("cur/one:2,F", "cur/two:2,F"), 0);
	ck_assert_uint_eq(boxed("INBOX").messages, 2);
}
END_TEST

START_TEST(a_message_that_is_replaced_takes_what_was_written_to_it_along)
{
	mail("", "cur/one:2,S", MAIL);
	mail("", "cur/two:2,S", MAIL);
	ck_assert_int_eq(do_write("cur/two:2,S", "X-", 0), 0);
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/two:2,S"), 0);
	ck_assert_str_eq(text("cur/two:2,S"), MAIL);
	ck_assert_int_eq(do_write("cur/two:2,S", "Y-", 0), 0);
	mail("", "cur/two:2,S", "third\n");
	ck_assert_str_eq(text("cur/two:2,S"), "third\n");
	fs_again();
	ck_assert_str_eq(names("cur"), "two:2,S ");
	ck_assert_str_eq(text("cur/two:2,S"), "third\n");
}
END_TEST

/* ---- files that are not mail ---- */

START_TEST(other_files_are_real_ones)
{
	struct stat st;
	char to[16];
	uint64_t was;

	mark();
	ck_assert_int_eq(do_make("a", "first"), 0);
	ck_assert_int_eq(do_make("b", "second"), 0);
	ck_assert_int_eq(do_rename_flags("a", "b", RENAME_EXCHANGE), 0);
	ck_assert_str_eq(text("a"), "second");
	ck_assert_str_eq(text("b"), "first");
	ck_assert_int_eq(do_rename_flags("a", "b", RENAME_NOREPLACE), -EEXIST);
	was = node("b");
	ck_assert_int_eq(do_rename("a", "b"), 0);
	ck_assert_str_eq(text("b"), "second");
	ck_assert_str_eq(text_of_node(was), "first");
	ck_assert_int_eq(do_mkdir("dir"), 0);
	ck_assert_int_eq(do_link("b", "dir/c"), 0);
	ck_assert_uint_eq(links("b"), 2);
	ck_assert_int_eq(do_rmdir("dir"), -ENOTEMPTY);
	ck_assert_int_eq(
	    view_symlink(fs.v, "../b", node("dir"), "sym", &st), 0);
	ck_assert_int_eq(view_readlink(fs.v, st.st_ino, to, sizeof(to)), 0);
	ck_assert_str_eq(to, "../b");
	ck_assert_int_eq(do_truncate("dir/c", 3), 0);
	ck_assert_str_eq(text("b"), "sec");
	ck_assert_int_eq(do_fsync("b"), 0);
	was = node("dir/c");
	ck_assert_int_eq(do_unlink("dir/c"), 0);
	ck_assert_int_eq(do_unlink("b"), 0);
	ck_assert_str_eq(text_of_node(was), "sec");
	ck_assert_str_eq(names(""), "cur dir new tmp ");
	ck_assert_uint_eq(batches(), 0);
}
END_TEST

START_TEST(a_link_to_tmp_is_refused_and_dot_files_are_no_mail)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_link("cur/one:2,S", "tmp/x"), -EXDEV);
	mark();
	ck_assert_int_eq(do_make("cur/.nfs0001", MAIL), 0);
	ck_assert_int_eq(do_fsync("cur/.nfs0001"), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_str_eq(names("cur"), ".nfs0001 one:2,S ");
	ck_assert_int_eq(do_rename("cur/.nfs0001", "cur/two:2,"), 0);
	ck_assert_str_eq(names("cur"), "one:2,S two:2, ");
}
END_TEST

START_TEST(an_empty_file_in_cur_that_is_linked_is_a_message)
{
	folder(".Foo");
	ck_assert_int_eq(do_make("cur/one:2,R", ""), 0);
	ck_assert_str_eq(events("INBOX"), "");
	ck_assert_int_eq(do_link("cur/one:2,R", "cur/two:2,"), 0);
	ck_assert_uint_eq(boxed("INBOX").messages, 2);
	ck_assert_int_eq(do_rename("cur/one:2,R", ".Foo/cur/one:2,R"), 0);
	ck_assert_str_eq(names("cur"), "two:2, ");
	ck_assert_str_eq(names(".Foo/cur"), "one:2,R ");
	ck_assert_uint_eq(boxed("Foo").messages, 1);
}
END_TEST

/* ---- dates ---- */

START_TEST(mtime_is_the_received_date)
{
	struct stat st;
	uint64_t modseq;

	ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
	ck_assert_int_eq(do_mtime("tmp/x", 1000000000, 5), 0);
	ck_assert_int_eq(do_rename("tmp/x", "new/x"), 0);
	ck_assert_int_eq(msg("INBOX", "x").received, 1000000000);
	ck_assert_int_eq(do_stat("new/x", &st), 0);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1000000000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 5);
	modseq = msg("INBOX", "x").modseq;
	ck_assert_int_eq(do_mtime("new/x", 1100000000, 7), 0);
	ck_assert_int_eq(do_stat("new/x", &st), 0);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1100000000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 7);
	ck_assert_int_eq(msg("INBOX", "x").received, 1100000000);
	ck_assert_uint_eq(msg("INBOX", "x").modseq, modseq);
}
END_TEST

START_TEST(directories_change_their_mtime_with_the_mail_in_them)
{
	struct stat a, b;

	ck_assert_int_eq(do_stat("new", &a), 0);
	mail("", "new/one", MAIL);
	ck_assert_int_eq(do_stat("new", &b), 0);
	ck_assert(memcmp(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim)) != 0);
	ck_assert_int_eq(do_stat("cur", &a), 0);
	ck_assert_int_eq(do_rename("new/one", "cur/one:2,"), 0);
	ck_assert_int_eq(do_stat("cur", &b), 0);
	ck_assert(memcmp(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim)) != 0);
	ck_assert_int_eq(do_stat("new", &a), 0);
	ck_assert_int_eq(do_rename("cur/one:2,", "cur/one:2,S"), 0);
	ck_assert_int_eq(do_stat("cur", &a), 0);
	ck_assert(memcmp(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim)) != 0);
	ck_assert_int_eq(do_unlink("cur/one:2,S"), 0);
	ck_assert_int_eq(do_stat("cur", &b), 0);
	ck_assert(memcmp(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim)) != 0);
}
END_TEST

/* ---- subscriptions, dovecot-keywords ---- */

START_TEST(subscriptions_are_written_in_both_formats)
{
	folder(".Foo");
	folder(".Foo.Bar");
	ck_assert(!there("subscriptions"));
	ck_assert_int_eq(do_make("subscriptions", "Foo\nFoo.Bar\n"), 0);
	ck_assert_int_eq(do_fsync("subscriptions"), 0);
	ck_assert(boxed("Foo").subscribed);
	ck_assert(boxed("Foo/Bar").subscribed);
	ck_assert_str_eq(text("subscriptions"), "V\t2\n\nFoo\nFoo\tBar\n");
	mark();
	ck_assert_int_eq(do_truncate("subscriptions", 0), 0);
	ck_assert_int_eq(
	    do_write("subscriptions", "V\t2\n\nFoo\tBar\nBox.dot\n", 0), 0);
	ck_assert(boxed("Foo").subscribed);
	ck_assert_int_eq(do_fsync("subscriptions"), 0);
	ck_assert(!boxed("Foo").subscribed);
	ck_assert(boxed("Foo/Bar").subscribed);
	ck_assert(boxed("Box.dot").subscribed);
	ck_assert(!boxed("Box.dot").exists);
	ck_assert_uint_eq(batches(), 1);
	fs_again();
	ck_assert_str_eq(text("subscriptions"), "V\t2\n\nBox.dot\nFoo\tBar\n");
	ck_assert_int_eq(do_unlink("subscriptions"), 0);
	ck_assert(!boxed("Foo/Bar").subscribed);
	ck_assert(!there("subscriptions"));
}
END_TEST

START_TEST(subscriptions_are_replaced_by_a_rename)
{
	uint64_t was;

	folder(".Foo");
	ck_assert_int_eq(do_make("subscriptions.lock", "V\t2\n\nFoo\n"), 0);
	was = node("subscriptions.lock");
	ck_assert_int_eq(do_rename("subscriptions.lock", "subscriptions"), 0);
	ck_assert(boxed("Foo").subscribed);
	ck_assert(!there("subscriptions.lock"));
	ck_assert_str_eq(text("subscriptions"), "V\t2\n\nFoo\n");
	/* The kernel knows it by the other number until it forgets that. */
	ck_assert_str_eq(text_of_node(was), "V\t2\n\nFoo\n");
	ck_assert_int_eq(do_rename("subscriptions", "elsewhere"), -EPERM);
	ck_assert_int_eq(do_make("subscriptions.lock", "V\t2\n\n"), 0);
	ck_assert_int_eq(do_rename("subscriptions.lock", "subscriptions"), 0);
	ck_assert(!boxed("Foo").subscribed);
}
END_TEST

START_TEST(keywords_are_added_but_not_renumbered)
{
	folder(".Foo");
	ck_assert(!there(".Foo/dovecot-keywords"));
	ck_assert_int_eq(do_make(".Foo/dovecot-keywords", "0 work\n"), 0);
	ck_assert_int_eq(do_fsync(".Foo/dovecot-keywords"), 0);
	ck_assert_str_eq(text(".Foo/dovecot-keywords"), "0 work\n");
	ck_assert_int_eq(do_write(".Foo/dovecot-keywords", "1 home\n", 7), 0);
	ck_assert_int_eq(do_fsync(".Foo/dovecot-keywords"), 0);
	ck_assert_str_eq(text(".Foo/dovecot-keywords"), "0 work\n1 home\n");
	ck_assert_int_eq(
	    do_write(".Foo/dovecot-keywords", "0 home\n1 work\n", 0), 0);
	ck_assert_int_eq(do_fsync(".Foo/dovecot-keywords"), -EPERM);
	ck_assert_str_eq(text(".Foo/dovecot-keywords"), "0 work\n1 home\n");
	/* As Dovecot does it. */
	ck_assert_int_eq(
	    do_make(".Foo/dovecot-keywords.lock", "0 work\n1 home\n2 third\n"),
	    0);
	ck_assert_int_eq(
	    do_rename(".Foo/dovecot-keywords.lock", ".Foo/dovecot-keywords"),
	    0);
	ck_assert_str_eq(
	    text(".Foo/dovecot-keywords"), "0 work\n1 home\n2 third\n");
	ck_assert_int_eq(do_make(".Foo/dovecot-keywords.lock", "0 third\n"), 0);
	ck_assert_int_eq(
	    do_rename(".Foo/dovecot-keywords.lock", ".Foo/dovecot-keywords"),
	    -EPERM);
	ck_assert_str_eq(
	    text(".Foo/dovecot-keywords"), "0 work\n1 home\n2 third\n");
	ck_assert(!there("dovecot-keywords"));
	ck_assert_int_eq(do_write(".Foo/dovecot-keywords", "nonsense", 0), 0);
	ck_assert_int_eq(do_fsync(".Foo/dovecot-keywords"), -EINVAL);
}
END_TEST

static int64_t
seconds(const char *path)
{
	struct stat st;

	ck_assert_int_eq(view_getattr(fs.v, node(path), &st), 0);
	return (st.st_mtim.tv_sec);
}

/* Dovecot reads the names anew only when the time is another. */
START_TEST(the_time_of_keywords_grows_with_each_change)
{
	const char *at = ".Foo/dovecot-keywords";
	char names[128] = "";
	int64_t was = 0, is;
	int i;

	folder(".Foo");
	for (i = 0; i < 5; i++) {
		(void)snprintf(names + strlen(names),
		    sizeof(names) - strlen(names), "%d name%d\n", i, i);
		ck_assert_int_eq(do_make(".Foo/new-names", names), 0);
		ck_assert_int_eq(do_rename(".Foo/new-names", at), 0);
		is = seconds(at);
		ck_assert_int_gt(is, was);
		ck_assert_int_eq(seconds(at), is);
		was = is;
	}
	/* Not looked at in between, the last one has been told, too. */
	ck_assert_int_eq(do_make(".Foo/new-names", "5 a\n"), 0);
	ck_assert_int_eq(do_rename(".Foo/new-names", at), 0);
	ck_assert_int_eq(do_make(".Foo/new-names", "6 b\n"), 0);
	ck_assert_int_eq(do_rename(".Foo/new-names", at), 0);
	is = seconds(at);
	ck_assert_int_ge(is, was + 2);
	folder(".Bar");
	ck_assert_int_eq(seconds(at), is);
}
END_TEST

START_TEST(a_letter_for_forwarded_stays_beside_p)
{
	mail("", "cur/one:2,P", MAIL); /* $Forwarded has the number of a */
	mail("", "cur/two:2,PTa", MAIL);
	mail("", "cur/three:2,a", MAIL);
	ck_assert_str_eq(names("cur"), "one:2,P three:2,a two:2,PTa ");
	ck_assert_int_eq(do_rename("cur/two:2,PTa", "cur/two:2,FPa"), 0);
	ck_assert_str_eq(names("cur"), "one:2,P three:2,a two:2,FPa ");
	ck_assert_int_eq(do_rename("cur/two:2,FPa", "cur/two:2,F"), 0);
	ck_assert_uint_eq(msg("INBOX", "two").keywords.n, 0);
	ck_assert_str_eq(names("cur"), "one:2,P three:2,a two:2,F ");
}
END_TEST

START_TEST(a_letter_may_be_used_before_it_has_a_name)
{
	struct txn *t;

	mail("", "cur/one:2,Sa", MAIL);
	ck_assert_uint_eq(msg("INBOX", "one").keywords.n, 0);
	ck_assert(!there("dovecot-keywords"));
	/* A keyword that a sync brings gets another number, its flags too. */
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_keyword(t, box("INBOX"), "theirs", -1), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	make_flags(fs.s, box("INBOX"), 1, MAIL_FLAGGED, MAIL_SEEN);
	ck_assert_str_eq(names("cur"), "one:2,Fa ");
	fs_again();
	ck_assert_str_eq(names("cur"), "one:2,Fa ");
	ck_assert_str_eq(text("dovecot-keywords"), "1 theirs\n");
	ck_assert_int_eq(do_rename("cur/one:2,Fa", "cur/one:2,FSa"), 0);
	mark();
	ck_assert_int_eq(
	    do_make("dovecot-keywords.lock", "0 ours\n1 theirs\n"), 0);
	ck_assert_int_eq(
	    do_rename("dovecot-keywords.lock", "dovecot-keywords"), 0);
	ck_assert_uint_eq(msg("INBOX", "one").keywords.n, 1);
	ck_assert_str_eq(msg("INBOX", "one").keywords.name[0], "ours");
	ck_assert_str_ne(events("INBOX"), "");
	ck_assert_str_eq(names("cur"), "one:2,FSa ");
	fs_again();
	ck_assert_str_eq(text("dovecot-keywords"), "0 ours\n1 theirs\n");
	ck_assert_str_eq(names("cur"), "one:2,FSa ");
	ck_assert_int_eq(do_rename("cur/one:2,FSa", "cur/one:2,FS"), 0);
	ck_assert_uint_eq(msg("INBOX", "one").keywords.n, 0);
}
END_TEST

/* ---- what a name cannot say ---- */

START_TEST(attributes_tell_what_names_cannot)
{
	char list[512], hex[40];
	struct mailbox m;
	ssize_t n;

	mail("", "cur/one:2,P", MAIL);
	ck_assert_str_eq(xattr("cur/one:2,P", "user.dsyncfs.uid"), "1");
	ck_assert_str_eq(xattr("cur/one:2,P", "user.dsyncfs.guid"), "one");
	ck_assert_str_eq(
	    xattr("cur/one:2,P", "user.dsyncfs.keywords"), "$Forwarded");
	ck_assert_str_eq(xattr("cur/one:2,P", "user.other"), strerror(ENODATA));
	m = boxed("INBOX");
	(void)snprintf(hex, sizeof(hex), "%u", m.uidvalidity);
	ck_assert_str_eq(xattr("", "user.dsyncfs.uidvalidity"), hex);
	ck_assert_str_eq(xattr("cur", "user.dsyncfs.uidnext"), "2");
	ck_assert_str_eq(
	    xattr("", "user.dsyncfs.guid"), guid_hex(&m.guid, hex));
	ck_assert_int_eq(
	    (int)view_getxattr(fs.v, NODE_ROOT, "user.dsyncfs.guid", NULL, 0),
	    32);
	ck_assert_int_eq(
	    (int)view_getxattr(fs.v, NODE_ROOT, "user.dsyncfs.guid", hex, 5),
	    -ERANGE);
	ck_assert_int_gt((int)(n = view_listxattr(fs.v, node("cur/one:2,P"),
				   list, sizeof(list))),
	    0);
	ck_assert_str_eq(list, "user.dsyncfs.uid");
	ck_assert_int_eq(
	    (int)view_listxattr(fs.v, node("cur/one:2,P"), NULL, 0), (int)n);
	ck_assert_int_eq(do_make("tmp/x", "x"), 0);
	ck_assert_int_eq(
	    (int)view_listxattr(fs.v, node("tmp/x"), list, sizeof(list)), 0);
}
END_TEST

START_TEST(dsyncfs_shows_what_goes_on)
{
	const struct guid peer = { { 1, 2, 3 } };
	struct guid inbox = boxed("INBOX").guid;
	struct stat st, later;
	struct txn *t;

	ck_assert_ptr_null(strstr(names(""), ".dsyncfs"));
	ck_assert_str_eq(names(".dsyncfs"), "changes peers status ");
	ck_assert_ptr_nonnull(strstr(text(".dsyncfs/status"), "mount test\n"));
	ck_assert_ptr_nonnull(strstr(text(".dsyncfs/status"), "messages 0\n"));
	ck_assert_int_eq(do_stat(".dsyncfs/changes", &st), 0);
	ck_assert_uint_eq(strlen(text(".dsyncfs/changes")), (size_t)st.st_size);
	mail("", "new/one", MAIL);
	ck_assert_int_eq(do_stat(".dsyncfs/changes", &later), 0);
	ck_assert_int_gt(later.st_size, st.st_size);
	ck_assert_ptr_nonnull(strstr(text(".dsyncfs/changes") + st.st_size,
	    "INBOX: save uid=1 guid=one"));
	ck_assert_ptr_nonnull(strstr(text(".dsyncfs/status"), "messages 1\n"));
	ck_assert_str_eq(text(".dsyncfs/peers"), "");
	ck_assert_int_eq(txn_begin(fs.s, NULL, &t), 0);
	ck_assert_int_eq(txn_peer_set(t, &peer, &inbox, "abc", 3), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_ptr_nonnull(strstr(text(".dsyncfs/peers"), "peer 010203"));
	ck_assert_int_eq(do_write(".dsyncfs/status", "x", 0), -EPERM);
	ck_assert_int_eq(do_make(".dsyncfs/new", "x"), -EPERM);
	ck_assert_int_eq(do_rmdir(".dsyncfs"), -EBUSY);
	ck_assert_int_eq(do_mkdir(".dsyncfs"), -EEXIST);
	ck_assert_int_eq(do_unlink(".dsyncfs/status"), -EACCES);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_write");
	TCase *tc = tcase_create("write");

	tcase_add_checked_fixture(tc, setup, fs_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(
	    tc, a_rewritten_message_is_seen_at_once_and_settled_by_fsync);
	tcase_add_test(tc, the_same_bytes_written_again_change_nothing);
	tcase_add_test(tc, a_rename_settles_what_was_written);
	tcase_add_test(tc, closing_settles_what_was_written);
	tcase_add_test(tc, a_truncated_message_is_a_rewritten_one);
	tcase_add_test(tc, every_link_of_a_rewritten_message_changes);
	tcase_add_test(tc, an_unlinked_message_that_is_open_can_be_written_to);
	tcase_add_test(
	    tc, an_open_message_has_what_was_written_before_its_last_name_went);
	tcase_add_test(tc, an_unlinked_message_that_was_written_to_is_gone);
	tcase_add_test(tc, a_file_made_in_cur_is_a_message_once_it_settles);
	tcase_add_test(tc, a_quiet_second_settles);
	tcase_add_test(
	    tc, a_file_that_cannot_be_a_message_is_said_once_and_kept);
	tcase_add_test(
	    tc, a_message_that_is_replaced_takes_what_was_written_to_it_along);
	tcase_add_test(tc, other_files_are_real_ones);
	tcase_add_test(tc, a_link_to_tmp_is_refused_and_dot_files_are_no_mail);
	tcase_add_test(tc, an_empty_file_in_cur_that_is_linked_is_a_message);
	tcase_add_test(tc, mtime_is_the_received_date);
	tcase_add_test(
	    tc, directories_change_their_mtime_with_the_mail_in_them);
	tcase_add_test(tc, subscriptions_are_written_in_both_formats);
	tcase_add_test(tc, subscriptions_are_replaced_by_a_rename);
	tcase_add_test(tc, keywords_are_added_but_not_renumbered);
	tcase_add_test(tc, the_time_of_keywords_grows_with_each_change);
	tcase_add_test(tc, a_letter_for_forwarded_stays_beside_p);
	tcase_add_test(tc, a_letter_may_be_used_before_it_has_a_name);
	tcase_add_test(tc, attributes_tell_what_names_cannot);
	tcase_add_test(tc, dsyncfs_shows_what_goes_on);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
