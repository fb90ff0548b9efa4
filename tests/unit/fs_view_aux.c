/*
 * fs_view_aux -- files that are not mail, where the view has to do more than to
 * pass a call on.
 */
/* pread is our own here, so that a read can be stopped in the middle. */
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/view_help.h"

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

/* ---- names ---- */

#define DEPTH 1500

static uint64_t
make_dir(uint64_t parent, const char *name)
{
	struct stat st;

	ck_assert_int_eq(view_mkdir(fs.v, parent, name, 0700, &st), 0);
	return (st.st_ino);
}

/* Deeper than any path: each level is made in the one above, as openat does. */
START_TEST(depth_has_no_limit)
{
	static uint64_t at[DEPTH + 1];
	struct stat st;
	char got[8];
	uint64_t half;
	size_t i;

	at[0] = NODE_ROOT;
	for (i = 1; i <= DEPTH; i++)
		at[i] = make_dir(at[i - 1], "dir");
	ck_assert_int_eq(
	    view_mknod(fs.v, at[DEPTH], "file", S_IFREG | 0600, 0, &st), 0);
	ck_assert_int_eq(view_write(fs.v, st.st_ino, "deep", 4, 0), 4);
	ck_assert_int_eq(view_read(fs.v, st.st_ino, got, 8, 0), 4);
	ck_assert_int_eq(view_getattr(fs.v, st.st_ino, &st), 0);
	ck_assert_int_eq((int)st.st_size, 4);
	/* Made deeper by a rename. */
	half = make_dir(NODE_ROOT, "half");
	(void)make_dir(half, "in");
	ck_assert_int_eq(
	    view_rename(fs.v, NODE_ROOT, "half", at[DEPTH], "half", 0), 0);
	ck_assert_int_eq(view_lookup(fs.v, half, "in", &st), 0);
	ck_assert_int_eq(view_rmdir(fs.v, half, "in"), 0);
	ck_assert_int_eq(view_rmdir(fs.v, at[DEPTH], "half"), 0);
	ck_assert_int_eq(view_unlink(fs.v, at[DEPTH], "file"), 0);
	for (i = DEPTH; i > 0; i--)
		ck_assert_int_eq(view_rmdir(fs.v, at[i - 1], "dir"), 0);
	ck_assert_str_eq(names(""), "cur new tmp ");
}
END_TEST

/* ---- attributes ---- */

START_TEST(modes_are_the_callers)
{
	struct stat st;
	mode_t was = umask(077);

	ck_assert_int_eq(
	    view_mknod(fs.v, NODE_ROOT, "file", S_IFREG | 0664, 0, &st), 0);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0664);
	ck_assert_int_eq(view_mkdir(fs.v, NODE_ROOT, "dir", 0775, &st), 0);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0775);
	ck_assert_int_eq(
	    view_mknod(fs.v, NODE_ROOT, "fifo", S_IFIFO | 0622, 0, &st), 0);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0622);
	ck_assert_int_eq(
	    view_mknod(fs.v, NODE_ROOT, "suid", S_IFREG | 04755, 0, &st), 0);
	ck_assert_int_eq((int)(st.st_mode & 07777), 04755);
	(void)umask(was);
}
END_TEST

START_TEST(times_are_set_one_by_one_and_of_links)
{
	struct view_set set = { .what = SET_ATIME | SET_MTIME,
		.atime = { 1500000000, 123456789 },
		.mtime = { 1600000000, 987654321 } };
	struct stat st;
	uint64_t n[3];
	size_t i;

	ck_assert_int_eq(do_make("file", "text"), 0);
	n[0] = node("file");
	ck_assert_int_eq(do_mkdir("dir"), 0);
	n[1] = node("dir");
	/* One that leads nowhere: only its own times can be meant. */
	ck_assert_int_eq(
	    view_symlink(fs.v, "nowhere", NODE_ROOT, "link", &st), 0);
	n[2] = st.st_ino;
	for (i = 0; i < 3; i++) {
		set.what = SET_ATIME | SET_MTIME;
		set.atime.tv_sec = 1500000000;
		ck_assert_int_eq(view_setattr(fs.v, n[i], &set, &st), 0);
		ck_assert_int_eq((int)st.st_atim.tv_sec, 1500000000);
		ck_assert_int_eq((int)st.st_atim.tv_nsec, 123456789);
		ck_assert_int_eq((int)st.st_mtim.tv_sec, 1600000000);
		ck_assert_int_eq((int)st.st_mtim.tv_nsec, 987654321);
		set.what = SET_ATIME;
		set.atime.tv_sec = 1;
		ck_assert_int_eq(view_setattr(fs.v, n[i], &set, &st), 0);
		ck_assert_int_eq((int)st.st_atim.tv_sec, 1);
		ck_assert_int_eq((int)st.st_mtim.tv_sec, 1600000000);
	}
}
END_TEST

/* ---- descriptors ---- */

/* So few that the view has to do with less than one for each file. */
static void
setup_poor(void)
{
	const struct rlimit few = { 300, 300 };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	fs_up(LAYOUT_MAILDIRPP);
}

#define FILES 400

START_TEST(open_files_without_a_name_need_no_descriptor)
{
	uint64_t at[FILES];
	char name[32], got[32], want[32];
	struct stat st;
	size_t i, n;

	for (n = 0; n < 2; n++) {
		const char *dir = n == 0 ? "" : "tmp/";

		for (i = 0; i < FILES; i++) {
			(void)snprintf(name, sizeof(name), "%sf%zu", dir, i);
			ck_assert_int_eq(do_make(name, name), 0);
			at[i] = node(name);
			ck_assert_int_eq(i % 2 != 0 && n == 0
				? do_make("over", "over") == 0
				    ? do_rename("over", name)
				    : -1
				: do_unlink(name),
			    0);
		}
		for (i = 0; i < FILES; i++) {
			(void)snprintf(want, sizeof(want), "%sf%zu", dir, i);
			ck_assert_int_eq(view_getattr(fs.v, at[i], &st), 0);
			ck_assert_uint_eq(st.st_nlink, 0);
			ck_assert_int_eq(
			    (int)view_read(fs.v, at[i], got, sizeof(got), 0),
			    (int)strlen(want));
			ck_assert_mem_eq(got, want, strlen(want));
			ck_assert_int_eq(view_write(fs.v, at[i], "X", 1, 0), 1);
		}
		mail("", "new/one", "Subject: x\n\n");
		ck_assert_int_eq(do_unlink("new/one"), 0);
		if (n == 0)
			continue;
		for (i = 0; i < FILES; i++) {
			view_forget(fs.v, at[i], 1000);
			ck_assert_int_eq(
			    view_getattr(fs.v, at[i], &st), -ESTALE);
		}
	}
	fs_again();
	ck_assert_str_eq(names("tmp"), "");
}
END_TEST

START_TEST(a_second_name_takes_the_place_of_a_descriptor)
{
	char name[32], other[32];
	struct stat st;
	size_t i;

	ck_assert_int_eq(do_mkdir("d"), 0);
	ck_assert_int_eq(do_mkdir("e"), 0);
	for (i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "d/f%zu", i);
		(void)snprintf(other, sizeof(other), "e/f%zu", i);
		ck_assert_int_eq(do_make(name, name), 0);
		ck_assert_int_eq(do_link(name, other), 0);
	}
	for (i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "d/f%zu", i);
		(void)snprintf(other, sizeof(other), "e/f%zu", i);
		if (i % 3 == 0)
			ck_assert_int_eq(do_rename(other, "e/x"), 0);
		ck_assert_int_eq(do_unlink(i % 3 == 0 ? "e/x" : other), 0);
		ck_assert_int_eq(do_stat(name, &st), 0);
		ck_assert_uint_eq(st.st_nlink, 1);
		ck_assert_str_eq(text(name), name);
	}
	ck_assert_int_eq(do_rmdir("e"), 0);
	/* The last one still goes as a file that is open does. */
	ck_assert_int_eq(do_unlink(name), 0);
	ck_assert_int_eq(view_getattr(fs.v, st.st_ino, &st), 0);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(view_write(fs.v, st.st_ino, "X", 1, 0), 1);
}
END_TEST

START_TEST(types_are_told_apart_when_descriptors_are_few)
{
	size_t i;

	for (i = 0; i < FILES; i++) {
		ck_assert_int_eq(do_make("gone", ""), 0);
		ck_assert_int_eq(do_unlink("gone"), 0);
	}
	ck_assert_int_eq(do_mkdir("dir"), 0);
	ck_assert_int_eq(do_mkdir("full"), 0);
	ck_assert_int_eq(do_make("full/file", "file"), 0);
	ck_assert_int_eq(do_make("file", "file"), 0);
	ck_assert_int_eq(do_rename("dir", "file"), -ENOTDIR);
	ck_assert_int_eq(do_rename("file", "dir"), -EISDIR);
	ck_assert_int_eq(do_rename("dir", "full"), -ENOTEMPTY);
	ck_assert_int_eq(do_unlink("dir"), -EISDIR);
	ck_assert_int_eq(do_rmdir("file"), -ENOTDIR);
	ck_assert_int_eq(do_rmdir("full"), -ENOTEMPTY);
	ck_assert_str_eq(text("file"), "file");
	ck_assert_str_eq(text("full/file"), "file");
}
END_TEST

/* ---- modes ---- */

/* Root is asked for his rights like anybody else. */
static void
no_overriding(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct caps[2] = { { 0 } };

	ck_assert_int_eq((int)syscall(SYS_capget, &head, caps), 0);
	caps[0].effective &=
	    ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
	ck_assert_int_eq((int)syscall(SYS_capset, &head, caps), 0);
}

static int
set_mode(uint64_t n, mode_t mode)
{
	struct view_set set = { .what = SET_MODE, .mode = mode };
	struct stat st;
	int error = view_setattr(fs.v, n, &set, &st);

	return (error != 0 ? error : (int)(st.st_mode & 07777));
}

static int
set_size_of(uint64_t n, uint64_t size)
{
	struct view_set set = { .what = SET_SIZE, .size = size };
	struct stat st;

	return (view_setattr(fs.v, n, &set, &st));
}

START_TEST(who_has_a_file_open_may_write_whatever_its_mode)
{
	uint64_t n;
	struct stat st;
	char got[8];

	no_overriding();
	ck_assert_int_eq(
	    view_mknod(fs.v, NODE_ROOT, "object", S_IFREG | 0444, 0, &st), 0);
	n = st.st_ino;
	ck_assert_int_eq((int)(st.st_mode & 07777), 0444);
	ck_assert_int_eq(view_write(fs.v, n, "object", 6, 0), 6);
	ck_assert_int_eq(set_size_of(n, 4), 0);
	ck_assert_int_eq(view_fsync(fs.v, n), 0);
	ck_assert_int_eq(do_stat("object", &st), 0);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0444);
	ck_assert_str_eq(text("object"), "obje");
	/* Also without a name. */
	ck_assert_int_eq(
	    view_mknod(fs.v, NODE_ROOT, "gone", S_IFREG | 0444, 0, &st), 0);
	n = st.st_ino;
	ck_assert_int_eq(do_unlink("gone"), 0);
	ck_assert_int_eq(view_write(fs.v, n, "gone", 4, 0), 4);
	ck_assert_int_eq(view_read(fs.v, n, got, 8, 0), 4);
	/* Open while it may be written, then protected. */
	ck_assert_int_eq(do_make("log", ""), 0);
	n = node("log");
	ck_assert_int_eq(set_mode(n, 0), 0);
	ck_assert_int_eq(view_write(fs.v, n, "line", 4, 0), 4);
	ck_assert_int_eq(view_read(fs.v, n, got, 8, 0), 4);
	ck_assert_int_eq(view_fsync(fs.v, n), 0);
}
END_TEST

START_TEST(nobody_writes_to_a_file_that_was_protected_before)
{
	uint64_t n;
	char got[8];

	ck_assert_int_eq(do_make("object", "object"), 0);
	ck_assert_int_eq(set_mode(node("object"), 0444), 0444);
	fs_again();
	no_overriding();
	n = node("object");
	ck_assert_int_eq(view_write(fs.v, n, "x", 1, 0), -EACCES);
	ck_assert_int_eq(set_size_of(n, 0), -EACCES);
	ck_assert_int_eq(view_fallocate(fs.v, n, 0, 0, 100), -EACCES);
	ck_assert_int_eq(view_read(fs.v, n, got, 8, 0), 6);
	ck_assert_int_eq(view_fsync(fs.v, n), 0);
	ck_assert_int_eq(set_mode(n, 0600), 0600);
	ck_assert_int_eq(view_write(fs.v, n, "O", 1, 0), 1);
	ck_assert_int_eq(set_mode(n, 0444), 0444);
	ck_assert_int_eq(view_write(fs.v, n, "OB", 2, 0), 2);
	ck_assert_str_eq(text("object"), "OBject");
}
END_TEST

/* ---- at once ---- */

static sem_t in_read, go_on;
static bool stop_reads;

ssize_t
pread(int fd, void *p, size_t n, off_t off)
{
	if (stop_reads) {
		(void)sem_post(&in_read);
		while (sem_wait(&go_on) != 0)
			;
	}
	return ((ssize_t)syscall(SYS_pread64, fd, p, n, off));
}

static void *
read_one(void *arg)
{
	char got[8] = "";
	ssize_t n = view_read(fs.v, *(uint64_t *)arg, got, sizeof(got), 0);

	return (n == 4 && memcmp(got, "slow", 4) == 0 ? arg : NULL);
}

START_TEST(a_read_that_waits_stops_nobody_else)
{
	uint64_t slow;
	pthread_t t;
	void *ok;

	ck_assert_int_eq(do_make("slow", "slow"), 0);
	slow = node("slow");
	ck_assert_int_eq(sem_init(&in_read, 0, 0), 0);
	ck_assert_int_eq(sem_init(&go_on, 0, 0), 0);
	stop_reads = true;
	ck_assert_int_eq(pthread_create(&t, NULL, read_one, &slow), 0);
	while (sem_wait(&in_read) != 0)
		;
	stop_reads = false;
	/* Nor does it care for what becomes of its name and of others. */
	ck_assert_int_eq(do_make("other", "other"), 0);
	ck_assert_str_eq(text("other"), "other");
	ck_assert_int_eq(do_rename("slow", "moved"), 0);
	ck_assert_int_eq(do_unlink("moved"), 0);
	mail("", "new/one", "Subject: x\n\n");
	ck_assert_int_eq(sem_post(&go_on), 0);
	ck_assert_int_eq(pthread_join(t, &ok), 0);
	ck_assert_ptr_nonnull(ok);
	view_forget(fs.v, slow, 100);
}
END_TEST

/* More files than descriptors are kept for, by four threads. */
static void *
write_and_read(void *arg)
{
	size_t me = (size_t)arg, i;
	char name[32], got[32];
	uint64_t off;
	struct stat st;

	for (i = 0; i < 400; i++) {
		(void)snprintf(name, sizeof(name), "f%zu", (i * 7 + me) % 100);
		if (view_lookup(fs.v, NODE_ROOT, name, &st) != 0)
			return (NULL);
		off = me * 8;
		if (view_write(fs.v, st.st_ino, "12345678", 8, off) != 8 ||
		    view_read(fs.v, st.st_ino, got, 8, off) != 8 ||
		    memcmp(got, "12345678", 8) != 0)
			return (NULL);
		view_forget(fs.v, st.st_ino, 1);
	}
	return (arg);
}

START_TEST(many_files_at_once)
{
	pthread_t t[4];
	char name[32];
	size_t i;
	void *ok;

	for (i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "f%zu", i);
		ck_assert_int_eq(do_make(name, ""), 0);
	}
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_and_read,
				     (void *)(i + 1)),
		    0);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], &ok), 0);
		ck_assert_ptr_nonnull(ok);
	}
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("fs_view_aux");
	TCase *flat = tcase_create("flat"), *nested = tcase_create("nested"),
	      *poor = tcase_create("poor");

	tcase_add_checked_fixture(flat, setup_flat, fs_down);
	tcase_set_timeout(flat, 60);
	tcase_add_test(flat, depth_has_no_limit);
	tcase_add_test(flat, modes_are_the_callers);
	tcase_add_test(flat, times_are_set_one_by_one_and_of_links);
	tcase_add_test(flat, who_has_a_file_open_may_write_whatever_its_mode);
	tcase_add_test(flat, nobody_writes_to_a_file_that_was_protected_before);
	tcase_add_test(flat, a_read_that_waits_stops_nobody_else);
	tcase_add_test(flat, many_files_at_once);
	suite_add_tcase(su, flat);
	tcase_add_checked_fixture(poor, setup_poor, fs_down);
	tcase_set_timeout(poor, 60);
	tcase_add_test(poor, open_files_without_a_name_need_no_descriptor);
	tcase_add_test(poor, a_second_name_takes_the_place_of_a_descriptor);
	tcase_add_test(poor, types_are_told_apart_when_descriptors_are_few);
	suite_add_tcase(su, poor);
	tcase_add_checked_fixture(nested, setup_nested, fs_down);
	tcase_set_timeout(nested, 60);
	tcase_add_test(nested, depth_has_no_limit);
	suite_add_tcase(su, nested);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
