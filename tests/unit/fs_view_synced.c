/*
 * fs_view_synced -- files in tmp that were fsynced: one file holds them, and
 * what it holds outlives a kill, but for what was taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MAIL "Subject: hello\n\nworld\n"
#define ROOM (8u << 20) /* of the file */
#define MUCH (200u << 10) /* of one mail, less than goes to a file of its own */
#define DAMAGED_AT 60 /* inside of the first record */

static void
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

static int
open_synced(int flags)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/scratch/synced", fs.top);
	return (open(path, flags | O_CLOEXEC));
}

static bool
is_there(void)
{
	int fd = open_synced(O_RDONLY);

	if (fd >= 0)
		(void)close(fd);
	return (fd >= 0);
}

static const char *
much(char c)
{
	static char text[MUCH + 1];

	memset(text, c, MUCH);
	text[MUCH - 1] = '\n';
	return (text);
}

/* ---- what comes back ---- */

static void
sync_some(void)
{
	ck_assert_int_eq(do_make("tmp/a", MAIL), 0);
	ck_assert_int_eq(do_mtime("tmp/a", 1234567890, 42), 0);
	ck_assert_int_eq(do_fsync("tmp/a"), 0);
	/* twice: what it was then */
	ck_assert_int_eq(do_make("tmp/b", "first"), 0);
	ck_assert_int_eq(do_fsync("tmp/b"), 0);
	ck_assert_int_eq(do_write("tmp/b", "again and longer", 0), 0);
	ck_assert_int_eq(do_fsync("tmp/b"), 0);
	ck_assert_int_eq(do_write("tmp/b", "not synced", 0), 0);
	ck_assert_int_eq(do_make("tmp/empty", ""), 0);
	ck_assert_int_eq(do_fsync("tmp/empty"), 0);
	folder(".Foo");
	ck_assert_int_eq(do_make(".Foo/tmp/c", MAIL), 0);
	ck_assert_int_eq(do_fsync(".Foo/tmp/c"), 0);
	ck_assert_int_eq(do_make("tmp/never", MAIL), 0);
	ck_assert(is_there());
}

START_TEST(what_was_fsynced_is_back)
{
	struct stat st;

	fs_killed(sync_some);
	ck_assert_str_eq(names("tmp"), "a b empty ");
	ck_assert_str_eq(text("tmp/a"), MAIL);
	ck_assert_str_eq(text("tmp/b"), "again and longer");
	ck_assert_str_eq(text("tmp/empty"), "");
	ck_assert_str_eq(names(".Foo/tmp"), "c ");
	ck_assert_str_eq(text(".Foo/tmp/c"), MAIL);
	ck_assert_int_eq(do_stat("tmp/a", &st), 0);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1234567890);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 42);
	ck_assert(!is_there());
	/* It can be delivered, and is not back once more. */
	ck_assert_int_eq(do_rename("tmp/a", "new/a"), 0);
	fs_again();
	ck_assert_str_eq(names("tmp"), "b empty ");
	ck_assert_str_eq(text("new/a"), MAIL);
}
END_TEST

static void
take_back(void)
{
	/* stays, so that the others are dropped one by one */
	ck_assert_int_eq(do_make("tmp/stays", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/stays"), 0);
	ck_assert_int_eq(do_make("tmp/unlinked", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/unlinked"), 0);
	ck_assert_int_eq(do_unlink("tmp/unlinked"), 0);
	ck_assert_int_eq(do_make("tmp/renamed", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/renamed"), 0);
	ck_assert_int_eq(do_rename("tmp/renamed", "tmp/other"), 0);
	mail("", "new/delivered", MAIL);
	mail("", "new/expunged", MAIL);
	ck_assert_int_eq(view_sync(fs.v), 0);
	ck_assert_int_eq(do_unlink("new/expunged"), 0);
	ck_assert_int_eq(view_sync(fs.v), 0);
	/* larger than what is kept there */
	ck_assert_int_eq(do_make("tmp/grown", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/grown"), 0);
	ck_assert_int_eq(do_write("tmp/grown", "end", 300000), 0);
	ck_assert_int_eq(do_truncate("tmp/grown", 7), 0);
}

START_TEST(what_was_taken_back_is_not)
{
	fs_killed(take_back);
	ck_assert_str_eq(names("tmp"), "grown other stays ");
	ck_assert_str_eq(text("tmp/grown"), "Subject");
	ck_assert_str_eq(text("tmp/other"), MAIL);
	ck_assert_str_eq(names("new"), "delivered ");
	ck_assert_uint_eq(boxed("INBOX").messages, 1);
}
END_TEST

static void
take_all_back(void)
{
	mail("", "new/expunged", MAIL);
	ck_assert_int_eq(view_sync(fs.v), 0);
	ck_assert_int_eq(do_unlink("new/expunged"), 0);
	ck_assert_int_eq(do_make("tmp/unlinked", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/unlinked"), 0);
	ck_assert_int_eq(do_unlink("tmp/unlinked"), 0);
}

START_TEST(when_nothing_is_left_nothing_is_back)
{
	fs_killed(take_all_back);
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_str_eq(names("new"), "");
	mail("", "new/x", MAIL);
	ck_assert(is_there());
	fs_again();
	ck_assert(!is_there());
	ck_assert_str_eq(names("tmp"), "");
	ck_assert_str_eq(text("new/x"), MAIL);
}
END_TEST

/* ---- deliveries ---- */

static void
run(const char *command)
{
	char line[400];

	(void)snprintf(line, sizeof(line), "S=%s; %s", fs.top, command);
	ck_assert_int_eq(system(line), 0);
}

/*
 * The power goes: of what work did, only scratch/ reached the disk.
 */
static void
powerless(void (*work)(void))
{
	fs_close();
	run("rm -rf $S.before && cp -a $S $S.before");
	fs_open();
	fs_kill(work);
	run("rm -rf $S.before/scratch && mv $S/scratch $S.before/");
	run("rm -rf $S && mv $S.before $S");
	fs_open();
}

static void
fsync_dir(const char *path)
{
	ck_assert_int_eq(view_fsync(fs.v, node(path)), 0);
}

static void
deliver(void)
{
	/* what was before is durable */
	ck_assert_int_eq(view_sync(fs.v), 0);
	mail("", "new/x", MAIL);
	fsync_dir("new");
	ck_assert(store_dirty(fs.s));
	mail("", "cur/y:2,FS", MAIL "more\n");
	ck_assert_int_eq(do_make("tmp/z", MAIL "linked\n"), 0);
	ck_assert_int_eq(do_fsync("tmp/z"), 0);
	ck_assert_int_eq(do_link("tmp/z", ".Foo/cur/z:2,"), 0);
	ck_assert_int_eq(do_unlink("tmp/z"), 0);
	fsync_dir("cur");
	ck_assert(store_dirty(fs.s));
	/* nobody was promised this one but in tmp */
	mail("", "new/late", MAIL);
}

START_TEST(what_was_delivered_is_there)
{
	folder(".Foo");
	mail("", "new/before", MAIL);
	powerless(deliver);
	ck_assert_str_eq(text("new/x"), MAIL);
	ck_assert_str_eq(text("new/before"), MAIL);
	ck_assert_str_eq(text("cur/y:2,FS"), MAIL "more\n");
	ck_assert_str_eq(text(".Foo/cur/z:2,"), MAIL "linked\n");
	ck_assert_str_eq(names("cur"), "y:2,FS ");
	ck_assert_str_eq(names(".Foo/cur"), "z:2, ");
	ck_assert(msg("INBOX", "y").flags == (MAIL_FLAGGED | MAIL_SEEN));
	ck_assert_str_eq(msg("INBOX", "x").guid, "x");
	ck_assert_str_eq(names("tmp"), "");
	/* It may be here or not: its record was not flushed, but is there. */
	ck_assert_str_eq(names("new"), "before late x ");
	ck_assert(!store_dirty(fs.s));
	fs_again();
	ck_assert_uint_eq(boxed("INBOX").messages, 4);
}
END_TEST

static void
change_too(void)
{
	ck_assert_int_eq(view_sync(fs.v), 0);
	mail("", "new/x", MAIL);
	ck_assert_int_eq(do_rename("new/old", "cur/old:2,S"), 0);
	fsync_dir("new");
	/* More than deliveries: all of it went to the log. */
	ck_assert(!store_dirty(fs.s));
	mail("", "new/y", MAIL);
	ck_assert_int_eq(do_write("new/y", "later", 0), 0);
	ck_assert_int_eq(do_fsync("new/y"), 0);
	ck_assert(!store_dirty(fs.s));
	ck_assert_int_eq(do_make("tmp/changed", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/changed"), 0);
	ck_assert_int_eq(do_write("tmp/changed", "after", 0), 0);
	ck_assert_int_eq(do_rename("tmp/changed", "new/changed"), 0);
	fsync_dir("new");
	ck_assert(!store_dirty(fs.s));
}

START_TEST(other_changes_are_flushed)
{
	mail("", "new/old", MAIL);
	fs_killed(change_too);
	ck_assert_str_eq(names("new"), "changed x y ");
	ck_assert_str_eq(names("cur"), "old:2,S ");
	ck_assert_str_eq(names("tmp"), "");
}
END_TEST

static void
deliver_and_expunge(void)
{
	mail("", "new/x", MAIL);
	fsync_dir("new");
	mail("", "new/y", MAIL);
	fsync_dir("new");
	ck_assert_int_eq(do_unlink("new/x"), 0);
	ck_assert_int_eq(do_rename("new/y", "cur/y:2,S"), 0);
}

START_TEST(what_was_expunged_since_is_not)
{
	fs_killed(deliver_and_expunge);
	ck_assert_str_eq(names("new"), "");
	ck_assert_str_eq(names("cur"), "y:2,S ");
	ck_assert_str_eq(names("tmp"), "");
}
END_TEST

static void
deliver_x(void)
{
	ck_assert_int_eq(view_sync(fs.v), 0);
	mail("", "new/x", MAIL);
	fsync_dir("new");
}

static void
deliver_y(void)
{
	mail("", "new/y", MAIL);
}

/* The next mount has nothing left to bring back. */
START_TEST(it_is_delivered_once)
{
	powerless(deliver_x);
	ck_assert_str_eq(text("new/x"), MAIL);
	ck_assert_uint_eq(boxed("INBOX").messages, 1);
	fs_killed(deliver_y);
	ck_assert_str_eq(names("new"), "x y ");
	ck_assert_uint_eq(boxed("INBOX").messages, 2);
}
END_TEST

/* ---- its room ---- */

static void
fill(void)
{
	char name[32];

	ck_assert_int_eq(do_make("tmp/stays", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/stays"), 0);
	for (unsigned i = 0; i < 3 * ROOM / MUCH; i++) {
		(void)snprintf(name, sizeof(name), "new/%c%u",
		    (char)('a' + i % 26), i);
		mail("", name, much((char)('a' + i % 26)));
	}
	ck_assert_int_eq(do_make("tmp/late", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/late"), 0);
}

START_TEST(more_than_it_has_room_for)
{
	char name[32];

	fs_killed(fill);
	ck_assert_str_eq(names("tmp"), "late stays ");
	ck_assert_str_eq(text("tmp/stays"), MAIL);
	ck_assert_str_eq(text("tmp/late"), MAIL);
	ck_assert_uint_eq(boxed("INBOX").messages, 3 * ROOM / MUCH);
	for (unsigned i = 0; i < 3 * ROOM / MUCH; i += 11) {
		(void)snprintf(name, sizeof(name), "new/%c%u",
		    (char)('a' + i % 26), i);
		ck_assert_str_eq(text(name), much((char)('a' + i % 26)));
	}
}
END_TEST

static void
fill_tmp(void)
{
	char name[32];

	for (unsigned i = 0; i < 2 * ROOM / MUCH; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%u", i);
		ck_assert_int_eq(do_make(name, much((char)('a' + i % 26))), 0);
		ck_assert_int_eq(do_fsync(name), 0);
	}
}

START_TEST(more_that_stays_in_tmp)
{
	char name[32];

	fs_killed(fill_tmp);
	for (unsigned i = 0; i < 2 * ROOM / MUCH; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%u", i);
		ck_assert_str_eq(text(name), much((char)('a' + i % 26)));
	}
}
END_TEST

/* ---- damage ---- */

static void
sync_three(void)
{
	ck_assert_int_eq(do_make("tmp/one", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/one"), 0);
	ck_assert_int_eq(do_make("tmp/two", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/two"), 0);
	ck_assert_int_eq(do_make("tmp/three", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/three"), 0);
}

/* As fs_killed, and of what the file is then only the first n bytes are left,
 * or of all of them one is another. */
static void
cut(off_t n, bool flip)
{
	uint8_t byte;
	int fd;

	fs_kill(sync_three);
	ck_assert_int_ge(fd = open_synced(O_RDWR), 0);
	if (flip) {
		ck_assert_int_eq(pread(fd, &byte, 1, n), 1);
		byte ^= 0x55;
		ck_assert_int_eq(pwrite(fd, &byte, 1, n), 1);
	} else
		ck_assert_int_eq(ftruncate(fd, n), 0);
	(void)close(fd);
	fs_open();
}

START_TEST(a_torn_record_is_none)
{
	static const char *const three[] = { "tmp/one", "tmp/two",
		"tmp/three" };
	unsigned n = 0, before = 3;
	off_t at;

	for (at = 300; at >= 0; at -= 4) {
		cut(at, false);
		for (n = 0; n < 3 && there(three[n]); n++)
			ck_assert_str_eq(text(three[n]), MAIL);
		/* The first of them, whole. */
		ck_assert_uint_le(n, before);
		before = n;
		for (unsigned i = 0; i < n; i++)
			ck_assert_int_eq(do_unlink(three[i]), 0);
		ck_assert_str_eq(names("tmp"), "");
	}
	ck_assert_uint_eq(n, 0);
}
END_TEST

/* The others are back, and the file is kept. */
static void
two_generations(void)
{
	ck_assert_int_eq(do_make("tmp/a", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/a"), 0);
	ck_assert_int_eq(do_make("tmp/b", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/b"), 0);
	ck_assert_int_eq(do_unlink("tmp/a"), 0);
	ck_assert_int_eq(do_unlink("tmp/b"), 0);
	/* As long as the one of a, so that the one of b is behind it. */
	ck_assert_int_eq(do_make("tmp/c", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/c"), 0);
}

START_TEST(an_older_record_behind_the_last_one_is_no_damage)
{
	fs_killed(two_generations);
	ck_assert_str_eq(names("tmp"), "c ");
	ck_assert_str_eq(text("tmp/c"), MAIL);
	run("test ! -e $S/damaged");
}
END_TEST

START_TEST(a_changed_byte_costs_its_record)
{
	char path[128];

	cut(DAMAGED_AT, true);
	ck_assert(!there("tmp/one"));
	ck_assert_str_eq(text("tmp/two"), MAIL);
	ck_assert_str_eq(text("tmp/three"), MAIL);
	ck_assert(!is_there());
	(void)snprintf(path, sizeof(path), "%s/damaged/synced-1", fs.top);
	ck_assert_int_eq(access(path, R_OK), 0);
	mail("", "new/x", MAIL);
	ck_assert_str_eq(text("new/x"), MAIL);
}
END_TEST

/* A name would lead elsewhere; a link in its place is not followed. */
START_TEST(a_link_in_its_place_is_not_followed)
{
	char path[128], victim[128];
	FILE *f;

	fs_close();
	(void)snprintf(victim, sizeof(victim), "%s/victim", fs.top);
	ck_assert_ptr_nonnull(f = fopen(victim, "w"));
	ck_assert_int_ge(fputs("mine", f), 0);
	ck_assert_int_eq(fclose(f), 0);
	(void)snprintf(path, sizeof(path), "%s/scratch/synced", fs.top);
	ck_assert_int_eq(symlink(victim, path), 0);
	fs_open();
	mail("", "new/x", MAIL);
	ck_assert_str_eq(text("new/x"), MAIL);
	ck_assert_int_eq(do_make("tmp/y", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/y"), 0);
	fs_again();
	ck_assert_str_eq(text("tmp/y"), MAIL);
	ck_assert_ptr_nonnull(f = fopen(victim, "r"));
	ck_assert_ptr_nonnull(fgets(path, sizeof(path), f));
	ck_assert_str_eq(path, "mine");
	(void)fclose(f);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("fs_view_synced");
	TCase *t = tcase_create("synced");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, fs_down);
	tcase_add_test(t, what_was_fsynced_is_back);
	tcase_add_test(t, what_was_taken_back_is_not);
	tcase_add_test(t, when_nothing_is_left_nothing_is_back);
	tcase_add_test(t, what_was_delivered_is_there);
	tcase_add_test(t, other_changes_are_flushed);
	tcase_add_test(t, what_was_expunged_since_is_not);
	tcase_add_test(t, it_is_delivered_once);
	tcase_add_test(t, more_than_it_has_room_for);
	tcase_add_test(t, more_that_stays_in_tmp);
	tcase_add_test(t, a_torn_record_is_none);
	tcase_add_test(t, an_older_record_behind_the_last_one_is_no_damage);
	tcase_add_test(t, a_changed_byte_costs_its_record);
	tcase_add_test(t, a_link_in_its_place_is_not_followed);
	suite_add_tcase(s, t);
	return (s);
}

int
main(void)
{
	return (run_suite(suite()));
}
