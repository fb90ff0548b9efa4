/*
 * backends_os -- one contract suite over every struct os, and tests of the
 * model that loses power.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/os_posix.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"

enum { POSIX, MEM, KINDS };

static struct os *os;
static char top[64];

static void
setup(int kind)
{
	char *tmp = getenv("TMPDIR");

	if (kind == MEM) {
		ck_assert_int_eq(os_mem_new(1, &os), 0);
		return;
	}
	(void)snprintf(
	    top, sizeof(top), "%.40s/os.XXXXXX", tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(os_posix_open(top, false, &os), 0);
}

static int
remove_one(void *arg, const struct os_dirent *e)
{
	char path[4096];
	int rc;

	(void)snprintf(path, sizeof(path), "%s%s%s", (const char *)arg,
	    *(const char *)arg == 0 ? "" : "/", e->name);
	if (e->type != OS_DIR)
		return (os->ops->unlink(os, path));
	if ((rc = os->ops->list(os, path, remove_one, path)) != 0)
		return (rc);
	return (os->ops->rmdir(os, path));
}

static void
teardown(int kind)
{
	char none[] = "";

	ck_assert_int_eq(os->ops->list(os, "", remove_one, none), 0);
	os->ops->close_tree(os);
	if (kind == POSIX)
		ck_assert_int_eq(rmdir(top), 0);
}

static struct os_file *
opened(const char *path, unsigned flags)
{
	struct os_file *f = NULL;

	ck_assert_int_eq(os->ops->open(os, path, flags, &f), 0);
	ck_assert_ptr_nonnull(f);
	return (f);
}

static void
put(const char *path, const char *text)
{
	struct os_file *f = opened(path, OS_WRITE | OS_CREATE | OS_TRUNC);

	ck_assert_int_eq(os->ops->pwrite(f, text, strlen(text), 0), 0);
	ck_assert_int_eq(os->ops->sync(f), 0);
	os->ops->close(f);
}

/* NULL: the file is not there. */
static void
holds(struct os *in, const char *path, const char *text)
{
	char *p = NULL;
	size_t n;
	int rc = os_read_file(in, path, 1 << 20, &p, &n);

	if (text == NULL) {
		ck_assert_int_eq(rc, -ENOENT);
		return;
	}
	ck_assert_msg(rc == 0, "%s: %d", path, rc);
	ck_assert_str_eq(p, text);
	ck_assert_uint_eq(n, strlen(text));
	free(p);
}

START_TEST(files_hold_what_is_written)
{
	struct os_file *f, *g;
	struct os_stat st;
	char got[16];

	setup(_i);
	ck_assert_int_eq(os->ops->open(os, "f", OS_READ, &g), -ENOENT);
	f = opened("f", OS_WRITE | OS_CREATE | OS_EXCL);
	ck_assert_int_eq(
	    os->ops->open(os, "f", OS_WRITE | OS_CREATE | OS_EXCL, &g),
	    -EEXIST);
	ck_assert_int_eq(os->ops->pwrite(f, "world", 5, 3), 0);
	ck_assert_int_eq(os->ops->pread(f, got, 16, 0), 8);
	ck_assert_mem_eq(got, "\0\0\0world", 8);
	ck_assert_int_eq(os->ops->pread(f, got, 3, 5), 3);
	ck_assert_int_eq(os->ops->pread(f, got, 3, 8), 0);
	ck_assert_int_eq(os->ops->pread(f, got, 3, 1 << 20), 0);
	ck_assert_int_eq(os->ops->truncate(f, 4), 0);
	ck_assert_int_eq(os->ops->truncate(f, 6), 0);
	ck_assert_int_eq(os->ops->sync(f), 0);
	ck_assert_int_eq(os->ops->fstat(f, &st), 0);
	ck_assert(st.type == OS_FILE && st.size == 6 && st.nlink == 1 &&
	    st.mode == 0600);
	ck_assert_int_eq(os->ops->pwrite(f, "x", 1, UINT64_MAX), -EFBIG);
	ck_assert_int_eq(os->ops->pwrite(f, "", 0, 0), 0);
	ck_assert_int_eq(os->ops->pread(f, got, 16, 0), 6);
	ck_assert_mem_eq(got, "\0\0\0w\0\0", 6);
	os->ops->close(f);
	f = opened("f", OS_WRITE | OS_TRUNC);
	ck_assert_int_eq(os->ops->fstat(f, &st), 0);
	ck_assert_uint_eq(st.size, 0);
	os->ops->close(f);
	f = opened("f", OS_READ);
	ck_assert_int_lt(os->ops->pwrite(f, "x", 1, 0), 0);
	os->ops->close(f);
	os->ops->close(NULL);
	teardown(_i);
}
END_TEST

START_TEST(paths_stay_in_the_tree)
{
	static const char *const bad[] = { "", "/", "/etc", "..", "../x",
		"a/..", "a/../b", ".", "a/.", "a//b", "a/" };
	struct os_file *f;
	struct os_stat st;
	size_t i;

	setup(_i);
	ck_assert_int_eq(os->ops->mkdir(os, "a"), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(
		    os->ops->open(os, bad[i], OS_READ, &f), -EINVAL);
		ck_assert_int_eq(os->ops->mkdir(os, bad[i]), -EINVAL);
		ck_assert_int_eq(os->ops->unlink(os, bad[i]), -EINVAL);
		ck_assert_int_eq(os->ops->rename(os, "a", bad[i]), -EINVAL);
		if (i > 0)
			ck_assert_int_eq(
			    os->ops->stat(os, bad[i], &st), -EINVAL);
	}
	put("a/f", "x");
	ck_assert_int_eq(os->ops->open(os, "a", OS_READ, &f), -EISDIR);
	ck_assert_int_eq(os->ops->open(os, "a/f/x", OS_READ, &f), -ENOTDIR);
	ck_assert_int_eq(os->ops->open(os, "b/f", OS_READ, &f), -ENOENT);
	teardown(_i);
}
END_TEST

START_TEST(names_move_and_go)
{
	struct os_stat st, st2;

	setup(_i);
	put("f", "1");
	put("g", "2");
	ck_assert_int_eq(os->ops->mkdir(os, "d"), 0);
	ck_assert_int_eq(os->ops->mkdir(os, "d"), -EEXIST);
	ck_assert_int_eq(os->ops->rename_excl(os, "f", "g"), -EEXIST);
	ck_assert_int_eq(os->ops->rename_excl(os, "f", "d/f"), 0);
	holds(os, "f", NULL);
	holds(os, "d/f", "1");
	ck_assert_int_eq(os->ops->rename(os, "d/f", "g"), 0);
	holds(os, "g", "1");
	ck_assert_int_eq(os->ops->rename(os, "nix", "g"), -ENOENT);
	ck_assert_int_eq(os->ops->rename(os, "g", "d"), -EISDIR);
	ck_assert_int_eq(os->ops->rename(os, "d", "g"), -ENOTDIR);
	ck_assert_int_eq(os->ops->rename(os, "d", "d/e"), -EINVAL);
	ck_assert_int_eq(os->ops->link(os, "g", "d/h"), 0);
	ck_assert_int_eq(os->ops->link(os, "g", "d/h"), -EEXIST);
	ck_assert_int_eq(os->ops->link(os, "d", "e"), -EPERM);
	ck_assert_int_eq(os->ops->stat(os, "g", &st), 0);
	ck_assert_int_eq(os->ops->stat(os, "d/h", &st2), 0);
	ck_assert(st.ino == st2.ino && st.dev == st2.dev && st.nlink == 2);
	/* one file: nothing happens */
	ck_assert_int_eq(os->ops->rename(os, "g", "d/h"), 0);
	holds(os, "g", "1");
	ck_assert_int_eq(os->ops->rmdir(os, "d"), -ENOTEMPTY);
	ck_assert_int_eq(os->ops->rmdir(os, "g"), -ENOTDIR);
	ck_assert_int_eq(os->ops->unlink(os, "d"), -EISDIR);
	ck_assert_int_eq(os->ops->unlink(os, "d/h"), 0);
	ck_assert_int_eq(os->ops->unlink(os, "d/h"), -ENOENT);
	ck_assert_int_eq(os->ops->sync_dir(os, "d"), 0);
	ck_assert_int_eq(os->ops->sync_dir(os, ""), 0);
	ck_assert_int_eq(os->ops->sync_dir(os, "nix"), -ENOENT);
	ck_assert_int_eq(os->ops->rmdir(os, "d"), 0);
	ck_assert_int_eq(os->ops->utimes(os, "g", 1234567890, 42), 0);
	ck_assert_int_eq(os->ops->stat(os, "g", &st), 0);
	ck_assert(st.mtime == 1234567890 && st.mtime_nsec == 42);
	ck_assert_int_eq(os->ops->stat(os, "", &st), 0);
	ck_assert_int_eq(st.type, OS_DIR);
	teardown(_i);
}
END_TEST

static int
count_one(void *arg, const struct os_dirent *e)
{
	unsigned *seen = arg;

	if (strcmp(e->name, "f") == 0 && e->type == OS_FILE)
		*seen |= 1;
	else if (strcmp(e->name, "d") == 0 && e->type == OS_DIR)
		*seen |= 2;
	else
		*seen |= 4;
	return (0);
}

static int
stop(void *arg, const struct os_dirent *e)
{
	(void)e;
	(*(unsigned *)arg)++;
	return (77);
}

START_TEST(listings_and_sub_trees)
{
	struct os *sub, *whole = os;
	unsigned seen = 0;

	setup(_i);
	put("f", "x");
	ck_assert_int_eq(os->ops->mkdir(os, "d"), 0);
	ck_assert_int_eq(os->ops->list(os, "", count_one, &seen), 0);
	ck_assert_uint_eq(seen, 3);
	seen = 0;
	ck_assert_int_eq(os->ops->list(os, "", stop, &seen), 77);
	ck_assert_uint_eq(seen, 1);
	ck_assert_int_eq(os->ops->list(os, "f", stop, &seen), -ENOTDIR);
	ck_assert_int_eq(os->ops->list(os, "nix", stop, &seen), -ENOENT);
	ck_assert_int_eq(os->ops->sub(os, "nix", &sub), -ENOENT);
	ck_assert_int_eq(os->ops->sub(os, "d", &sub), 0);
	ck_assert_ptr_nonnull(strstr(sub->ops->label(sub), os->ops->label(os)));
	whole = os;
	os = sub;
	put("g", "y");
	os = whole;
	holds(os, "d/g", "y");
	/* the handle goes along */
	ck_assert_int_eq(os->ops->rename(os, "d", "e"), 0);
	holds(sub, "g", "y");
	sub->ops->close_tree(sub);
	teardown(_i);
}
END_TEST

START_TEST(a_lock_is_exclusive_between_handles)
{
	struct os_file *f, *g;

	setup(_i);
	f = opened("l", OS_WRITE | OS_CREATE);
	g = opened("l", OS_WRITE);
	ck_assert_int_eq(os->ops->lock(f), 0);
	ck_assert_int_eq(os->ops->lock(f), 0);
	ck_assert_int_eq(os->ops->lock(g), -EAGAIN);
	os->ops->close(f);
	ck_assert_int_eq(os->ops->lock(g), 0);
	os->ops->close(g);
	teardown(_i);
}
END_TEST

START_TEST(small_files_and_the_rest)
{
	unsigned char a[16], b[16];
	int64_t sec;
	uint32_t nsec;
	uint64_t ms;
	char *p;
	size_t n;

	setup(_i);
	ck_assert_int_eq(os_mkdirs(os, "x/y/z"), 0);
	ck_assert_int_eq(os_mkdirs(os, "x/y"), 0);
	ck_assert_int_eq(os_mkdirs(os, ""), 0);
	ck_assert_int_eq(os_replace_file(os, "x/y/f", "one", 3), 0);
	ck_assert_int_eq(os_replace_file(os, "x/y/f", "two!", 4), 0);
	holds(os, "x/y/f", "two!");
	holds(os, "x/y/f.tmp", NULL);
	ck_assert_int_eq(os_replace_file(os, "e", NULL, 0), 0);
	holds(os, "e", "");
	ck_assert_int_eq(os_mkdirs(os, "e"), -ENOTDIR);
	ck_assert_int_eq(os_mkdirs(os, "e/x"), -ENOTDIR);
	ck_assert_int_eq(os_read_file(os, "x/y/f", 3, &p, &n), -EFBIG);
	ck_assert_int_eq(os_guid(os, a), 0);
	ck_assert_int_eq(os_guid(os, b), 0);
	ck_assert_mem_ne(a, b, 16);
	os->ops->now(os, &sec, &nsec);
	ck_assert(sec > 1600000000 && nsec < 1000000000);
	ms = os->ops->mono_ms(os);
	ck_assert_uint_le(ms, os->ops->mono_ms(os));
	teardown(_i);
}
END_TEST

START_TEST(posix_follows_no_link)
{
	struct os_file *f;
	struct os_stat st;
	struct os *sub;
	unsigned seen = 0;
	char path[128];

	setup(POSIX);
	put("f", "x");
	ck_assert_int_eq(os->ops->mkdir(os, "d"), 0);
	ck_assert_int_eq(symlinkat("f", os_posix_dirfd(os), "lf"), 0);
	ck_assert_int_eq(symlinkat("d", os_posix_dirfd(os), "ld"), 0);
	ck_assert_int_eq(symlinkat("/", os_posix_dirfd(os), "d/up"), 0);
	ck_assert_int_eq(mkfifoat(os_posix_dirfd(os), "fifo", 0600), 0);
	ck_assert_int_eq(os->ops->open(os, "lf", OS_READ, &f), -ELOOP);
	ck_assert_int_eq(
	    os->ops->open(os, "lf", OS_WRITE | OS_CREATE, &f), -ELOOP);
	ck_assert_int_lt(
	    os->ops->open(os, "ld/x", OS_WRITE | OS_CREATE, &f), 0);
	ck_assert_int_lt(os->ops->open(os, "d/up/etc/passwd", OS_READ, &f), 0);
	ck_assert_int_lt(os->ops->list(os, "ld", count_one, &seen), 0);
	ck_assert_int_lt(os->ops->list(os, "d/up", count_one, &seen), 0);
	ck_assert_int_lt(os->ops->sync_dir(os, "ld"), 0);
	ck_assert_int_lt(os->ops->sub(os, "ld", &sub), 0);
	ck_assert_int_lt(os->ops->rename(os, "f", "ld/f"), 0);
	ck_assert_int_eq(os->ops->stat(os, "lf", &st), 0);
	ck_assert_int_eq(st.type, OS_SYMLINK);
	ck_assert_int_eq(os->ops->utimes(os, "lf", 5, 0), 0);
	ck_assert_int_eq(os->ops->stat(os, "f", &st), 0);
	ck_assert_int_ne(st.mtime, 5);
	ck_assert_int_eq(os->ops->open(os, "fifo", OS_READ, &f), -EINVAL);
	/* The tree's own path may lead over a link. */
	(void)snprintf(path, sizeof(path), "%s/ld", top);
	ck_assert_int_eq(os_posix_open(path, false, &sub), 0);
	ck_assert_str_eq(strrchr(sub->ops->label(sub), '/'), "/d");
	sub->ops->close_tree(sub);
	(void)snprintf(path, sizeof(path), "%s/new", top);
	ck_assert_int_eq(os_posix_open(path, false, &sub), -ENOENT);
	ck_assert_int_eq(os_posix_open(path, true, &sub), 0);
	sub->ops->close_tree(sub);
	ck_assert_int_eq(os_posix_open(path, true, &sub), 0);
	sub->ops->close_tree(sub);
	(void)snprintf(path, sizeof(path), "%s/f", top);
	ck_assert_int_eq(os_posix_open(path, true, &sub), -ENOTDIR);
	teardown(POSIX);
}
END_TEST

/* ---- the model ---- */

START_TEST(only_what_was_synced_survives)
{
	struct os_file *f;

	setup(MEM);
	put("a", "one");
	ck_assert_int_eq(os->ops->sync_dir(os, ""), 0);
	f = opened("a", OS_WRITE);
	ck_assert_int_eq(os->ops->pwrite(f, "TWO and more", 12, 0), 0);
	put("b", "synced bytes, name not");
	ck_assert_int_eq(os->ops->rename(os, "a", "c"), 0);
	os_mem_cut_now(os);
	ck_assert_int_eq(os->ops->pwrite(f, "x", 1, 0), -EIO);
	ck_assert_int_eq(os->ops->mkdir(os, "x"), -EIO);
	if (_i == 0) {
		ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 1), 0);
		holds(os, "a", "one");
		holds(os, "b", NULL);
		holds(os, "c", NULL);
	} else {
		ck_assert_int_eq(os_mem_reboot(os, OS_MEM_KEEP_ALL, 1), 0);
		holds(os, "a", NULL);
		holds(os, "b", "synced bytes, name not");
		holds(os, "c", "TWO and more");
	}
	/* a handle of before */
	ck_assert_int_eq(os->ops->pwrite(f, "x", 1, 0), -EIO);
	os->ops->close(f);
	teardown(MEM);
}
END_TEST

START_TEST(a_part_may_survive_in_sectors)
{
	bool mixed = false, shorter = false, whole = false, old = false;
	char bytes[2048], *p;
	struct os_file *f;
	struct os *copy;
	uint64_t seed;
	size_t i, n, fresh;

	setup(MEM);
	memset(bytes, 'o', 1024);
	f = opened("f", OS_WRITE | OS_CREATE);
	ck_assert_int_eq(os->ops->pwrite(f, bytes, 1024, 0), 0);
	ck_assert_int_eq(os->ops->sync(f), 0);
	ck_assert_int_eq(os->ops->sync_dir(os, ""), 0);
	memset(bytes, 'n', 2048);
	ck_assert_int_eq(os->ops->pwrite(f, bytes, 2048, 0), 0);
	for (seed = 0; seed < 200; seed++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_LOSE_SOME, seed, &copy), 0);
		ck_assert_int_eq(os_read_file(copy, "f", 4096, &p, &n), 0);
		ck_assert(n >= 1024 && n % 512 == 0);
		for (i = fresh = 0; i < n; i += 512) {
			ck_assert(p[i] == 'n' || (p[i] == 'o' && i < 1024) ||
			    (p[i] == 0 && i >= 1024));
			ck_assert(memcmp(p + i, p + i + 1, 511) == 0);
			fresh += p[i] == 'n';
		}
		mixed |= fresh > 0 && fresh < 4;
		shorter |= n < 2048;
		whole |= fresh == 4;
		old |= fresh == 0;
		free(p);
		copy->ops->close_tree(copy);
	}
	ck_assert(mixed && shorter && whole && old);
	os->ops->close(f);
	holds(os, "g", NULL);
	teardown(MEM);
}
END_TEST

static bool
there(struct os *in, const char *path)
{
	struct os_stat st;

	return (in->ops->stat(in, path, &st) == 0);
}

/* Between directories too, and whatever else is pending in them. */
START_TEST(a_rename_never_loses_both_names)
{
	unsigned kept = 0, moved = 0;
	struct os *copy;
	uint64_t seed;

	setup(MEM);
	ck_assert_int_eq(os_mkdirs(os, "a"), 0);
	ck_assert_int_eq(os_mkdirs(os, "b"), 0);
	put("a/f", "x");
	ck_assert_int_eq(os->ops->sync_dir(os, "a"), 0);
	put("b/1", "1");
	put("a/2", "2");
	ck_assert_int_eq(os->ops->rename(os, "a/f", "b/g"), 0);
	ck_assert_int_eq(os->ops->rename(os, "b/g", "b/h"), 0);
	put("a/3", "3");
	for (seed = 0; seed < 100; seed++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_LOSE_SOME, seed, &copy), 0);
		ck_assert_int_eq(there(copy, "a/f") + there(copy, "b/g") +
			there(copy, "b/h"),
		    1);
		kept += there(copy, "a/f");
		moved += there(copy, "b/h");
		if (there(copy, "a/3"))
			/* in the order of the directory */
			ck_assert(there(copy, "a/2") && !there(copy, "a/f"));
		copy->ops->close_tree(copy);
	}
	ck_assert(kept > 0 && moved > 0);
	ck_assert_int_eq(os->ops->sync_dir(os, "a"), 0);
	ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 0), 0);
	holds(os, "b/g", "x");
	holds(os, "b/1", "1");
	holds(os, "a/3", "3");
	holds(os, "b/h", NULL);
	teardown(MEM);
}
END_TEST

/*
 * The loop every user of the model runs: a dry run counts, then the power goes
 * at each change.
 */
START_TEST(replace_file_is_old_or_new_at_every_cut)
{
	static const enum os_mem_loss losses[] = { OS_MEM_LOSE_ALL,
		OS_MEM_KEEP_ALL, OS_MEM_LOSE_SOME };
	uint64_t n, total = 0, before;
	struct os *copy;
	size_t k, len;
	char *p;
	int rc;

	for (n = 0; n == 0 || n <= total; n++) {
		setup(MEM);
		ck_assert_int_eq(os_replace_file(os, "f", "old", 3), 0);
		before = os_mem_changes(os);
		if (n > 0)
			os_mem_cut_at(os, before + n);
		rc = os_replace_file(os, "f", "newer", 5);
		if (n == 0) {
			ck_assert_int_eq(rc, 0);
			total = os_mem_changes(os) - before;
			/* create, pwrite, sync, rename, sync_dir */
			ck_assert_uint_eq(total, 5);
		} else {
			ck_assert_int_eq(rc, -EIO);
			ck_assert(os_mem_is_cut(os));
		}
		for (k = 0; k < 12; k++) {
			ck_assert_int_eq(os_mem_reboot_copy(os,
					     losses[k < 2 ? k : 2], k, &copy),
			    0);
			ck_assert_int_eq(
			    os_read_file(copy, "f", 10, &p, &len), 0);
			ck_assert(strcmp(p, "newer") == 0 ||
			    (n > 0 && strcmp(p, "old") == 0));
			free(p);
			copy->ops->close_tree(copy);
		}
		ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 0), 0);
		teardown(MEM);
	}
}
END_TEST

START_TEST(failures_come_as_ordered)
{
	struct os_file *f;
	struct os_stat st;
	char *p;
	size_t n;

	setup(MEM);
	f = opened("f", OS_WRITE | OS_CREATE);
	os_mem_fail(os, OS_MEM_PWRITE, 2, ENOSPC, false);
	ck_assert_int_eq(os->ops->pwrite(f, "aaaa", 4, 0), 0);
	ck_assert_int_eq(os->ops->pwrite(f, "bbbb", 4, 0), -ENOSPC);
	/* poisoned */
	ck_assert_int_eq(os->ops->pwrite(f, "cccc", 4, 0), -EIO);
	ck_assert_int_eq(os->ops->sync(f), -EIO);
	os->ops->close(f);
	holds(os, "f", "bbaa");
	f = opened("f", OS_WRITE);
	os_mem_fail(os, OS_MEM_SYNC, 1, EIO, true);
	ck_assert_int_eq(os->ops->sync(f), -EIO);
	os->ops->close(f);
	f = opened("f", OS_WRITE);
	ck_assert_int_eq(os->ops->sync(f), -EIO);
	os_mem_fail(os, OS_MEM_SYNC, 0, 0, false);
	os->ops->close(f);
	f = opened("f", OS_WRITE);
	ck_assert_int_eq(os->ops->sync(f), 0);
	os->ops->close(f);
	ck_assert_int_eq(os->ops->sync_dir(os, ""), 0);
	ck_assert_uint_eq(os_mem_calls(os, OS_MEM_SYNC), 4);
	ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 0), 0);
	/* what a failed sync lost is lost */
	holds(os, "f", "");
	os_mem_fail(os, OS_MEM_STAT, 1, EACCES, false);
	ck_assert_int_eq(os->ops->stat(os, "f", &st), -EACCES);
	ck_assert_int_eq(os->ops->stat(os, "f", &st), 0);
	os_mem_capacity(os, 10);
	f = opened("g", OS_WRITE | OS_CREATE);
	ck_assert_int_eq(os->ops->pwrite(f, "0123456789", 10, 0), 0);
	ck_assert_int_eq(os->ops->pwrite(f, "xy", 2, 9), -ENOSPC);
	os->ops->close(f);
	ck_assert_uint_eq(os_mem_used(os), 10);
	f = opened("f", OS_WRITE);
	ck_assert_int_eq(os->ops->truncate(f, 1), -ENOSPC);
	os->ops->close(f);
	ck_assert_int_eq(os->ops->unlink(os, "g"), 0);
	ck_assert_uint_eq(os_mem_used(os), 0);
	put("g", "full");
	ck_assert_int_eq(os_mem_flip(os, "g", 1, 0x20), 0);
	ck_assert_int_eq(os_mem_flip(os, "g", 4, 1), -EINVAL);
	holds(os, "g", "fUll");
	ck_assert_int_eq(os_mem_cut_file(os, "g", 2), 0);
	ck_assert_int_eq(os_read_file(os, "g", 5, &p, &n), 0);
	ck_assert_str_eq(p, "fU");
	free(p);
	teardown(MEM);
}
END_TEST

static int
add_path(void *arg, const char *path, enum os_type type, uint64_t size)
{
	char *all = arg, one[64];

	(void)snprintf(one, sizeof(one), "%s%s%d ", path,
	    type == OS_DIR ? "/" : "=", (int)size);
	(void)strcat(all, one);
	return (0);
}

START_TEST(the_clock_and_chance_are_the_tests)
{
	unsigned char a[8], b[8];
	char all[256] = "";
	struct os *other;
	uint32_t nsec;
	int64_t sec;
	int i;

	setup(MEM);
	ck_assert_int_eq(os_mem_new(1, &other), 0);
	ck_assert_int_eq(os->ops->random(os, a, 8), 0);
	ck_assert_int_eq(other->ops->random(other, b, 8), 0);
	ck_assert_mem_eq(a, b, 8);
	other->ops->close_tree(other);
	os_mem_set_time(os, 1000, 999000000);
	os_mem_advance(os, 2002);
	os->ops->now(os, &sec, &nsec);
	ck_assert(
	    sec == 1003 && nsec == 1000000 && os->ops->mono_ms(os) == 2002);
	ck_assert_int_eq(os_mkdirs(os, "d/e"), 0);
	put("d/f", "abc");
	put("a", "");
	ck_assert_int_eq(os_mem_walk(os, add_path, all), 0);
	ck_assert_str_eq(all, "a=0 d/0 d/e/0 d/f=3 ");
	for (i = 0; i < 1000; i++) { /* what is gone is given back */
		ck_assert_int_eq(os_replace_file(os, "r", "x", 1), 0);
		if (i % 10 == 0)
			put("q", "y");
	}
	teardown(MEM);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_os");
	TCase *t = tcase_create("contract"), *m = tcase_create("model");

	tcase_add_loop_test(t, files_hold_what_is_written, 0, KINDS);
	tcase_add_loop_test(t, paths_stay_in_the_tree, 0, KINDS);
	tcase_add_loop_test(t, names_move_and_go, 0, KINDS);
	tcase_add_loop_test(t, listings_and_sub_trees, 0, KINDS);
	tcase_add_loop_test(t, a_lock_is_exclusive_between_handles, 0, KINDS);
	tcase_add_loop_test(t, small_files_and_the_rest, 0, KINDS);
	tcase_add_test(t, posix_follows_no_link);
	suite_add_tcase(s, t);
	tcase_add_loop_test(m, only_what_was_synced_survives, 0, 2);
	tcase_add_test(m, a_part_may_survive_in_sectors);
	tcase_add_test(m, a_rename_never_loses_both_names);
	tcase_add_test(m, replace_file_is_old_or_new_at_every_cut);
	tcase_add_test(m, failures_come_as_ordered);
	tcase_add_test(m, the_clock_and_chance_are_the_tests);
	suite_add_tcase(s, m);
	return (run_suite(s));
}
