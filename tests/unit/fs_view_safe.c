/*
 * fs_view_safe -- what survives a kill, listings while entries vanish, and the
 * errors that a file system would give.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MAIL "Subject: hello\n\nworld\n"
#define MANY 300
#define LARGE 300000

static void
setup(void)
{
	fs_up(LAYOUT_MAILDIRPP);
}

/* Names in a directory under the store, but for "." and "..". */
static unsigned
real_files(const char *dir)
{
	char path[128], cmd[200], line[16];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", fs.top, dir);
	(void)snprintf(cmd, sizeof(cmd), "find %s -type f | wc -l", path);
	ck_assert_ptr_nonnull(f = popen(cmd, "r"));
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	(void)pclose(f);
	return ((unsigned)atoi(line));
}

/* Too large for memory: it is a real file. */
static void
large_mail(const char *as)
{
	ck_assert_int_eq(do_make("tmp/large", MAIL), 0);
	ck_assert_int_eq(do_write("tmp/large", "end", LARGE), 0);
	ck_assert_int_eq(do_fsync("tmp/large"), 0);
	ck_assert_int_eq(do_rename("tmp/large", as), 0);
}

/* ---- kills ---- */

static void
write_in_tmp(void)
{
	ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/x"), 0);
	ck_assert_int_eq(do_make("cur/y:2,S", MAIL), 0);
}

START_TEST(scratch_files_survive)
{
	fs_killed(write_in_tmp);
	ck_assert_str_eq(names("tmp"), "x ");
	ck_assert_str_eq(text("tmp/x"), MAIL);
	ck_assert_str_eq(names("cur"), "y:2,S ");
	ck_assert_str_eq(text("cur/y:2,S"), MAIL);
	ck_assert_uint_eq(boxed("INBOX").messages, 0);
	ck_assert_uint_ne(node("tmp/x"), node("cur/y:2,S"));
	ck_assert_int_eq(do_rename("tmp/x", "new/x"), 0);
	ck_assert_int_eq(do_fsync("cur/y:2,S"), 0);
	ck_assert_uint_eq(boxed("INBOX").messages, 2);
}
END_TEST

/* ---- files in memory ---- */

START_TEST(tmp_touches_no_disk_until_it_has_to)
{
	ck_assert_int_eq(do_make("tmp/a", MAIL), 0);
	ck_assert_int_eq(do_make("tmp/b", MAIL), 0);
	ck_assert_int_eq(do_make("tmp/c", MAIL), 0);
	ck_assert_uint_eq(real_files("scratch"), 0);
	ck_assert_int_eq(do_rename("tmp/a", "tmp/a2"), 0);
	ck_assert_int_eq(do_rename("tmp/a2", "new/a"), 0);
	ck_assert_int_eq(do_unlink("tmp/b"), 0);
	ck_assert_uint_eq(real_files("scratch"), 0);
	ck_assert_int_eq(do_fsync("tmp/c"), 0);
	ck_assert_uint_eq(real_files("scratch"), 1);
	ck_assert_str_eq(text("tmp/c"), MAIL);
	ck_assert_str_eq(text("new/a"), MAIL);
	ck_assert_str_eq(names("tmp"), "c ");
}
END_TEST

START_TEST(tmp_outlives_the_mount)
{
	struct stat st;

	ck_assert_int_eq(do_make("tmp/a", MAIL), 0);
	ck_assert_int_eq(do_mtime("tmp/a", 1234567890, 42), 0);
	fs_again();
	ck_assert_str_eq(text("tmp/a"), MAIL);
	ck_assert_int_eq(do_stat("tmp/a", &st), 0);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1234567890);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 42);
}
END_TEST

/* Larger than what is kept in memory, and more of them. */
START_TEST(tmp_holds_large_files_and_many)
{
	char name[32];

	ck_assert_int_eq(do_make("tmp/large", MAIL), 0);
	ck_assert_int_eq(do_write("tmp/large", "end", LARGE), 0);
	ck_assert_uint_eq(real_files("scratch"), 1);
	ck_assert_int_eq(strncmp(text("tmp/large"), MAIL, strlen(MAIL)), 0);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%d", i);
		ck_assert_int_eq(do_make(name, name), 0);
	}
	ck_assert_uint_gt(real_files("scratch"), 1);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%d", i);
		ck_assert_str_eq(text(name), name);
	}
	/* What was given back is empty for the next one. */
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%d", i);
		ck_assert_int_eq(do_unlink(name), 0);
	}
	ck_assert_int_eq(do_make("tmp/next", ""), 0);
	ck_assert_str_eq(text("tmp/next"), "");
}
END_TEST

static void
deliver(void)
{
	mail("", "new/x", MAIL);
	large_mail("new/large");
	ck_assert_uint_eq(real_files("scratch/done"), 1);
	ck_assert_int_eq(do_make("tmp/y", MAIL), 0);
	ck_assert_int_eq(do_fsync("tmp/y"), 0);
	ck_assert_int_eq(do_link("tmp/y", "new/y"), 0);
	/* Nobody was promised more than that this is a message. */
	ck_assert_int_eq(do_make("tmp/z", MAIL), 0);
	ck_assert_int_eq(do_link("tmp/z", "new/z"), 0);
}

START_TEST(a_delivery_is_whole_after_a_kill)
{
	fs_killed(deliver);
	ck_assert_str_eq(text("new/x"), MAIL);
	ck_assert_str_eq(text("new/y"), MAIL);
	ck_assert_str_eq(text("new/z"), MAIL);
	ck_assert_int_eq(strncmp(text("new/large"), MAIL, strlen(MAIL)), 0);
	ck_assert_uint_eq(boxed("INBOX").messages, 4);
	ck_assert_uint_eq(real_files("scratch"), 0);
	/* What is a message is not in tmp as well. */
	ck_assert_str_eq(names("tmp"), "");
}
END_TEST

/* Bytes set aside, and the frame that was to name them did not reach the disk.
 */
START_TEST(fsynced_bytes_without_a_frame_are_back_in_tmp)
{
	char path[128];
	FILE *f;

	fs_close();
	(void)snprintf(path, sizeof(path), "%s/scratch/done/1.77777", fs.top);
	ck_assert_ptr_nonnull(f = fopen(path, "w"));
	ck_assert_int_ge(fputs(MAIL, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	fs_open();
	ck_assert_str_eq(names("tmp"), "recovered.77777 ");
	ck_assert_str_eq(text("tmp/recovered.77777"), MAIL);
	ck_assert_uint_eq(real_files("scratch/done"), 0);
	ck_assert_int_eq(do_make("tmp/next", MAIL), 0);
	ck_assert_uint_gt(node("tmp/next"), 77777);
}
END_TEST

static void
settle_twice(void)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_write("cur/one:2,S", "1", 0), 0);
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,FS"), 0);
	ck_assert_int_eq(do_write("cur/one:2,FS", "2", 0), 0);
	ck_assert_int_eq(do_rename("cur/one:2,FS", "cur/one:2,S"), 0);
	ck_assert_int_eq(view_sync(fs.v), 0);
	ck_assert_uint_eq(real_files("scratch/done"), 0);
	ck_assert_int_eq(do_write("cur/one:2,S", "3", 0), 0);
}

START_TEST(what_was_written_to_a_message_survives)
{
	fs_killed(settle_twice);
	ck_assert_str_eq(text("cur/one:2,S"), "3ubject: hello\n\nworld\n");
	ck_assert_uint_eq(boxed("INBOX").messages, 1);
	ck_assert_str_eq(names("cur"), "one:2,S ");
}
END_TEST

START_TEST(done_goes_once_it_is_durable)
{
	large_mail("new/x");
	ck_assert_uint_eq(real_files("scratch/done"), 1);
	ck_assert(store_dirty(fs.s));
	ck_assert_int_eq(view_fsync(fs.v, node("new")), 0);
	ck_assert(!store_dirty(fs.s));
	ck_assert_uint_eq(real_files("scratch"), 0);
}
END_TEST

static void
edit(void)
{
	folder(".Foo");
	ck_assert_int_eq(do_make("subscriptions", "Foo\n"), 0);
	ck_assert_int_eq(view_sync(fs.v), 0);
}

START_TEST(an_unfinished_edit_does_no_harm)
{
	fs_killed(edit);
	ck_assert_uint_ne(box("Foo"), 0);
	ck_assert(!boxed("Foo").subscribed);
	ck_assert_int_eq(do_make("subscriptions", "Foo\n"), 0);
	ck_assert_int_eq(do_fsync("subscriptions"), 0);
	ck_assert(boxed("Foo").subscribed);
}
END_TEST

/* ---- listing ---- */

struct walk {
	char *seen; /* one per message */
	unsigned budget; /* entries of one call */
	uint64_t next;
	unsigned n;
	char last[64];
};

static int
walk_one(void *arg, const char *name, const struct stat *st, uint64_t next)
{
	struct walk *w = arg;
	unsigned i;

	(void)st;
	if (w->budget-- == 0)
		return (1);
	ck_assert_int_eq(sscanf(name, "m%u", &i), 1);
	ck_assert_uint_lt(i, MANY);
	ck_assert_msg(!w->seen[i], "%s twice", name);
	w->seen[i] = 1;
	w->next = next;
	w->n++;
	(void)snprintf(w->last, sizeof(w->last), "%s", name);
	return (0);
}

static void
fill(const char *dir)
{
	char path[64];
	int i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), dir, i);
		ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
		ck_assert_int_eq(do_rename("tmp/x", path), 0);
	}
}

/*
 * Each call gives a few; between two, what was given last goes, and now and
 * then one that is still to come.
 */
START_TEST(a_listing_goes_on_while_entries_vanish)
{
	char seen[MANY] = { 0 }, gone[MANY] = { 0 }, path[80];
	struct walk w = { .seen = seen };
	unsigned i, ahead = MANY - 1;

	fill("cur/m%03d:2,S");
	do {
		unsigned before = w.n;

		w.budget = 7;
		ck_assert_int_eq(
		    view_readdir(fs.v, node("cur"), w.next, walk_one, &w), 0);
		if (w.n == before)
			break;
		(void)snprintf(path, sizeof(path), "cur/%s", w.last);
		ck_assert_int_eq(do_unlink(path), 0);
		if (seen[ahead])
			continue;
		(void)snprintf(path, sizeof(path), "cur/m%03u:2,S", ahead);
		ck_assert_int_eq(do_unlink(path), 0);
		gone[ahead] = 1;
		ahead -= 2;
	} while (true);
	for (i = 0; i < MANY; i++)
		ck_assert_msg(seen[i] || gone[i], "m%03u skipped", i);
}
END_TEST

START_TEST(a_listing_to_empty_a_directory_empties_it)
{
	static const char *const dirs[] = { "tmp/m%03d", "cur/m%03d:2,S" };
	char path[80], dir[4], seen[MANY];
	struct walk w = { .seen = seen };
	size_t d;

	for (d = 0; d < 2; d++) {
		unsigned i;

		for (i = 0; i < MANY && d == 0; i++) {
			(void)snprintf(path, sizeof(path), dirs[0], i);
			ck_assert_int_eq(do_make(path, "x"), 0);
		}
		if (d == 1)
			fill(dirs[1]);
		(void)snprintf(dir, sizeof(dir), "%.3s", dirs[d]);
		memset(seen, 0, sizeof(seen));
		w.n = 0;
		w.next = 0;
		for (i = 0; i < MANY; i++) {
			w.budget = 1;
			ck_assert_int_eq(
			    view_readdir(fs.v, node(dir), w.next, walk_one, &w),
			    0);
			ck_assert_uint_eq(w.n, i + 1);
			(void)snprintf(
			    path, sizeof(path), "%s/%s", dir, w.last);
			ck_assert_int_eq(do_unlink(path), 0);
		}
		ck_assert_str_eq(names(dir), "");
	}
}
END_TEST

START_TEST(folders_are_listed_while_they_vanish)
{
	char path[32];
	struct walk w = { .seen = calloc(MANY, 1) };
	unsigned i;

	ck_assert_ptr_nonnull(w.seen);
	for (i = 0; i < 20; i++) {
		(void)snprintf(path, sizeof(path), "m%u", i);
		(void)make_mailbox(fs.s, path);
	}
	fs.o.layout = LAYOUT_FS;
	fs_again();
	w.next = 3;
	for (i = 0; i < 20; i++) {
		w.budget = 1;
		ck_assert_int_eq(
		    view_readdir(fs.v, NODE_ROOT, w.next, walk_one, &w), 0);
		ck_assert_uint_eq(w.n, i + 1);
		(void)snprintf(path, sizeof(path), "%.10s/cur", w.last);
		ck_assert_int_eq(do_rmdir(path), 0);
		memcpy(strrchr(path, '/') + 1, "new", 4);
		ck_assert_int_eq(do_rmdir(path), 0);
		memcpy(strrchr(path, '/') + 1, "tmp", 4);
		ck_assert_int_eq(do_rmdir(path), 0);
		*strrchr(path, '/') = '\0';
		ck_assert_int_eq(do_rmdir(path), 0);
	}
	ck_assert_str_eq(names(""), "cur new tmp ");
	free(w.seen);
}
END_TEST

/* ---- errors ---- */

START_TEST(errors_are_those_of_a_file_system)
{
	char name[300], path[310], long_path[310];
	struct stat st;

	memset(name, 'a', 255);
	name[255] = '\0';
	(void)snprintf(path, sizeof(path), "cur/%s", name);
	(void)snprintf(long_path, sizeof(long_path), "cur/%sa", name);
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_stat(long_path, &st), -ENAMETOOLONG);
	ck_assert_int_eq(do_make(long_path, MAIL), -ENAMETOOLONG);
	ck_assert_int_eq(do_rename("cur/one:2,S", long_path), -ENAMETOOLONG);
	ck_assert_int_eq(do_link("cur/one:2,S", long_path), -ENAMETOOLONG);
	ck_assert_int_eq(do_mkdir(strchr(long_path, '/') + 1), -ENAMETOOLONG);
	mail("", path, MAIL);
	ck_assert(there(path));
	ck_assert_int_eq(do_unlink(path), 0);
	ck_assert_int_eq(do_mkdir("cur/dir"), -EPERM);
	ck_assert_int_eq(do_mkdir("tmp/dir"), -EPERM);
	ck_assert_int_eq(
	    view_symlink(fs.v, "to", node("cur"), "sym", &st), -EPERM);
	ck_assert_int_eq(
	    view_mknod(fs.v, node("new"), "fifo", S_IFIFO | 0600, 0, &st),
	    -EPERM);
	ck_assert_int_eq(do_unlink("cur"), -EISDIR);
	ck_assert_int_eq(do_unlink("cur/none"), -ENOENT);
	ck_assert_int_eq(do_unlink("none"), -ENOENT);
	ck_assert_int_eq(do_rmdir("cur/one:2,S"), -ENOTDIR);
	ck_assert_int_eq(do_rename("cur/none:2,", "cur/other:2,"), -ENOENT);
	ck_assert_int_eq(do_rename("tmp/none", "new/none"), -ENOENT);
	ck_assert_int_eq(do_stat("cur/one:2,", &st), -ENOENT);
	ck_assert_int_eq(do_stat("new/one:2,S", &st), -ENOENT);
	ck_assert_int_eq(do_stat("none/x", &st), -ENOENT);
}
END_TEST

START_TEST(mail_and_other_files_are_two_file_systems)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make("notes", "text"), 0);
	mark();
	ck_assert_int_eq(do_rename("cur/one:2,S", "one"), -EXDEV);
	ck_assert_int_eq(do_link("cur/one:2,S", "one"), -EXDEV);
	ck_assert_int_eq(do_rename("notes", "cur/notes"), -EXDEV);
	ck_assert_int_ne(do_link("notes", "cur/notes"), 0);
	ck_assert_int_eq(do_rename("cur/one:2,S", "tmp/one"), -EXDEV);
	ck_assert_uint_eq(batches(), 0);
	ck_assert_str_eq(text("notes"), "text");
}
END_TEST

START_TEST(two_messages_with_one_base_name_are_refused)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make("tmp/x", MAIL), 0);
	ck_assert_int_eq(do_rename("tmp/x", "cur/one:2,F"), -EEXIST);
	ck_assert_int_eq(
	    do_rename_flags("tmp/x", "cur/one:2,S", RENAME_NOREPLACE), -EEXIST);
	ck_assert_str_eq(names("tmp"), "x ");
	ck_assert_str_eq(text("tmp/x"), MAIL);
	ck_assert_str_eq(names("cur"), "one:2,S ");
}
END_TEST

START_TEST(numbers_that_mean_nothing_are_stale)
{
	static const uint64_t bad[] = { 0, 99999, NODE_BOX,
		NODE_BOX | 4711 << 2, NODE_BOX | 4711 << 2 | PART_FOLDER,
		NODE_AUX | 5, NODE_SPECIAL | 99, NODE_STALE | 99999,
		UINT64_MAX };
	struct stat st;
	char c = 'x';
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_lt(view_getattr(fs.v, bad[i], &st), 0);
		ck_assert_int_lt(view_lookup(fs.v, bad[i], "x", &st), 0);
		ck_assert_int_lt((int)view_read(fs.v, bad[i], &c, 1, 0), 0);
		ck_assert_int_lt((int)view_write(fs.v, bad[i], &c, 1, 0), 0);
		ck_assert_int_lt(
		    view_mknod(fs.v, bad[i], "x", S_IFREG | 0600, 0, &st), 0);
		ck_assert_int_lt(view_mkdir(fs.v, bad[i], "x", 0700, &st), 0);
		ck_assert_int_lt(view_unlink(fs.v, bad[i], "x"), 0);
		ck_assert_int_lt(
		    view_rename(fs.v, bad[i], "x", NODE_ROOT, "y", 0), 0);
		ck_assert_int_lt(
		    view_link(fs.v, bad[i], node("cur"), "y", &st), 0);
		view_forget(fs.v, bad[i], 1);
	}
}
END_TEST

START_TEST(a_readonly_view_changes_nothing)
{
	mail("", "cur/one:2,S", MAIL);
	ck_assert_int_eq(do_make("notes", "text"), 0);
	fs.o.readonly = true;
	fs_again();
	mark();
	ck_assert_str_eq(text("cur/one:2,S"), MAIL);
	ck_assert_str_eq(text("notes"), "text");
	ck_assert_int_eq(do_make("tmp/x", MAIL), -EROFS);
	ck_assert_int_eq(do_write("cur/one:2,S", "x", 0), -EROFS);
	ck_assert_int_eq(do_write("notes", "x", 0), -EROFS);
	ck_assert_int_eq(do_truncate("cur/one:2,S", 0), -EROFS);
	ck_assert_int_eq(do_mtime("cur/one:2,S", 1, 0), -EROFS);
	ck_assert_int_eq(do_rename("cur/one:2,S", "cur/one:2,F"), -EROFS);
	ck_assert_int_eq(do_link("cur/one:2,S", "cur/two:2,F"), -EROFS);
	ck_assert_int_eq(do_unlink("cur/one:2,S"), -EROFS);
	ck_assert_int_eq(do_unlink("notes"), -EROFS);
	ck_assert_int_eq(do_mkdir(".Foo"), -EROFS);
	ck_assert_int_eq(do_rmdir("cur"), -EROFS);
	ck_assert_int_eq(do_fsync("cur/one:2,S"), 0);
	ck_assert_uint_eq(batches(), 0);
	fs.o.readonly = false;
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_safe");
	TCase *tc = tcase_create("safe");

	tcase_add_checked_fixture(tc, setup, fs_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, scratch_files_survive);
	tcase_add_test(tc, tmp_touches_no_disk_until_it_has_to);
	tcase_add_test(tc, tmp_outlives_the_mount);
	tcase_add_test(tc, tmp_holds_large_files_and_many);
	tcase_add_test(tc, a_delivery_is_whole_after_a_kill);
	tcase_add_test(tc, fsynced_bytes_without_a_frame_are_back_in_tmp);
	tcase_add_test(tc, what_was_written_to_a_message_survives);
	tcase_add_test(tc, done_goes_once_it_is_durable);
	tcase_add_test(tc, an_unfinished_edit_does_no_harm);
	tcase_add_test(tc, a_listing_goes_on_while_entries_vanish);
	tcase_add_test(tc, a_listing_to_empty_a_directory_empties_it);
	tcase_add_test(tc, folders_are_listed_while_they_vanish);
	tcase_add_test(tc, errors_are_those_of_a_file_system);
	tcase_add_test(tc, mail_and_other_files_are_two_file_systems);
	tcase_add_test(tc, two_messages_with_one_base_name_are_refused);
	tcase_add_test(tc, numbers_that_mean_nothing_are_stale);
	tcase_add_test(tc, a_readonly_view_changes_nothing);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
