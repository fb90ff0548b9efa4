/*
 * store_damage -- damage at rest: every byte flipped, every file cut at many
 * lengths.  A store opens or refuses with a named problem, never crashes, never
 * hands out wrong bytes; intact messages stay right; repair brings back what is
 * good.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_dump.h"
#include "tests/unit/lib/store_make.h"

#define MESSAGES 6
#define FILES_MAX 16

static char bodies[MESSAGES][3000];
static struct {
	char path[64];
	uint64_t size;
} file[FILES_MAX];
static size_t files;
static char *intact;

static int
note_file(void *arg, const char *path, enum os_type type, uint64_t size)
{
	(void)arg;
	if (type == OS_FILE && size > 0 && files < FILES_MAX) {
		(void)snprintf(
		    file[files].path, sizeof(file[files].path), "%s", path);
		file[files++].size = size;
	}
	return (0);
}

static struct os *
copy_of(struct os *os)
{
	struct os *copy;

	ck_assert_int_eq(os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
	return (copy);
}

/*
 * The small store all tests damage; the last changes are in the tail.  Its
 * first bodies are in a squeezed pack, the others wait for it.
 */
static struct os *
make(void)
{
	char guid[16];
	struct store *s;
	struct os *os, *copy;
	uint32_t box;

	ck_assert_int_eq(os_mem_new(3, &os), 0);
	os_mem_set_time(os, T0, 0);
	s = make_store(os);
	make_later = true;
	box = make_mailbox(s, "INBOX");
	for (size_t i = 0; i < MESSAGES; i++) {
		for (size_t k = 0; k + 1 < sizeof(bodies[i]); k++)
			bodies[i][k] = (char)(k % 7 == 6
				? '\n'
				: 'a' + (int)((k * (i + 3)) % 26));
		if (i < 4)
			bodies[i][100 + i] = '\0';
		(void)snprintf(guid, sizeof(guid), "guid-%zu", i);
		make_msg(s, box, guid, bodies[i]);
		if (i == 2)
			ck_assert_int_eq(store_checkpoint(s, true), 0);
		ck_assert_int_eq(store_sync(s), 0);
		if (i == 3)
			ck_assert_int_eq(store_squeeze(s), 0);
	}
	make_flags(s, box, 1, MAIL_SEEN, 0);
	make_expunge(s, box, 2);
	ck_assert_int_eq(store_sync(s), 0);
	/* As a killed process leaves it. */
	copy = copy_of(os);
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
	return (copy);
}

static struct os *base;

static void
setup(void)
{
	struct store *s;
	struct os *os;

	make_quiet();
	base = make();
	os = copy_of(base);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	intact = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	(void)store_close(s);
	os->ops->close_tree(os);
	files = 0;
	ck_assert_int_eq(os_mem_walk(base, note_file, NULL), 0);
	ck_assert_uint_ge(files, 4);
}

static void
teardown(void)
{
	free(intact);
	base->ops->close_tree(base);
}

struct look {
	struct store *s;
	unsigned good, unreadable;
};

/* A message that is listed has its own bytes or none. */
static int
look_one(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct look *l = arg;
	char *text;
	size_t i = (size_t)atoi(
	    strchr(m->guid, '-') != NULL ? strchr(m->guid, '-') + 1 : "0");

	(void)mailbox;
	if (strncmp(m->guid, "guid-", 5) != 0)
		return (0);
	ck_assert_uint_eq(m->uid, i + 1);
	if ((text = make_text(l->s, &m->body)) == NULL) {
		l->unreadable++;
		return (0);
	}
	ck_assert_str_eq(text, bodies[i]);
	free(text);
	l->good++;
	return (0);
}

static void
look(struct store *s, struct look *l)
{
	struct mailbox box;

	memset(l, 0, sizeof(*l));
	l->s = s;
	if (store_mailbox_by_name(s, "INBOX", &box) == 0)
		(void)store_msgs(s, box.id, 0, look_one, l);
}

/*
 * What is damaged shows: as a refusal, as a damaged store, or in verify; or the
 * text is as it was.
 */
static void
check_open(struct os *os, const char *path, uint64_t at, bool cut)
{
	struct verify_result v = { 0 };
	struct store *s = NULL;
	struct look l;
	char *got;
	int error;

	make_said[0] = '\0';
	make_warnings = 0;
	error = store_open(os, 0, NULL, &s);
	if (error != 0) {
		ck_assert_msg(make_said[0] != '\0',
		    "%s at %llu: open gives %d without a word", path,
		    (unsigned long long)at, error);
		return;
	}
	look(s, &l);
	got = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	error = store_verify(s, &v);
	if (strcmp(got, intact) != 0 && !store_damaged(s) && error == 0 &&
	    v.problems == 0) {
		/*
		 * At the log's end, where nothing proves that a frame was
		 * durable, damage is a torn tail: cut, with a warning.
		 */
		bool tail =
		    strncmp(path, "log-", 4) == 0 && (cut || make_warnings > 0);

		if (!tail)
			fprintf(stderr, "%s\nwas\n%s\n", got, intact);
		ck_assert_msg(tail, "%s at %llu: changed and not noticed%s",
		    path, (unsigned long long)at, cut ? " (cut)" : "");
	}
	free(got);
	(void)store_close(s);
}

START_TEST(flipped_bytes_never_pass)
{
	struct os *os;

	for (size_t f = 0; f < files; f++) {
		uint64_t by = file[f].size > 6000 ? file[f].size / 1500 : 1;

		for (uint64_t at = 0; at < file[f].size; at += by) {
			os = copy_of(base);
			ck_assert_int_eq(os_mem_flip(os, file[f].path, at,
					     (uint8_t)(1u << at % 8)),
			    0);
			check_open(os, file[f].path, at, false);
			os->ops->close_tree(os);
		}
	}
}
END_TEST

START_TEST(cut_files_never_crash)
{
	struct os *os;

	for (size_t f = 0; f < files; f++) {
		uint64_t by = file[f].size > 1000 ? file[f].size / 250 : 1;

		for (uint64_t at = 0; at < file[f].size; at += by) {
			os = copy_of(base);
			ck_assert_int_eq(
			    os_mem_cut_file(os, file[f].path, at), 0);
			check_open(os, file[f].path, at, true);
			os->ops->close_tree(os);
		}
	}
}
END_TEST

START_TEST(missing_index_is_rebuilt)
{
	struct os *os = copy_of(base);
	struct store *s;
	char *got;

	ck_assert_int_eq(os->ops->unlink(os, "index-1"), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	got = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_str_eq(got, intact);
	free(got);
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
}
END_TEST

/* A store file with that version and a right checksum. */
START_TEST(newer_version_is_refused)
{
	struct os *os = copy_of(base);
	struct store *s;

	/*
	 * The same text with version 2 has another checksum; so this one counts
	 * as damage, which is named too.
	 */
	ck_assert_int_eq(os_mem_flip(os, "store", 14, '1' ^ '2'), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), -EIO);
	ck_assert_ptr_nonnull(strstr(make_said, "store"));
	os->ops->close_tree(os);
}
END_TEST

START_TEST(damaged_log_opens_read_only_and_is_repaired)
{
	struct os *os;
	struct store *s;
	struct verify_result v;
	struct look l;
	struct txn *t;
	uint64_t size = 0;

	for (size_t f = 0; f < files; f++)
		if (strncmp(file[f].path, "log-", 4) == 0)
			size = file[f].size;
	for (uint64_t at = 41; at < size; at += 29) {
		os = copy_of(base);
		ck_assert_int_eq(os->ops->unlink(os, "index-1"), 0);
		ck_assert_int_eq(
		    os_mem_flip(os, "log-1/0000000000000001.log", at, 0x10), 0);
		ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
		if (!store_damaged(s)) {
			/* The last frame: nothing proves that it was durable.
			 */
			ck_assert_uint_gt(at, size * 4 / 5);
			(void)store_close(s);
			os->ops->close_tree(os);
			continue;
		}
		ck_assert_int_eq(txn_begin(s, NULL, &t), -EROFS);
		ck_assert_int_eq(store_close(s), 0);
		ck_assert_int_eq(store_repair(os, true, &v), 0);
		ck_assert_uint_gt(v.problems, 0);
		ck_assert_int_eq(store_repair(os, false, &v), 0);
		ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
		ck_assert(!store_damaged(s));
		look(s, &l);
		ck_assert_uint_eq(l.unreadable, 0);
		ck_assert_int_eq(store_verify(s, &v), 0);
		ck_assert_msg(v.problems == 0, "flip at %llu: %s",
		    (unsigned long long)at, make_said);
		ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
		txn_abort(t);
		ck_assert_int_eq(store_close(s), 0);
		os->ops->close_tree(os);
	}
}
END_TEST

START_TEST(lost_small_files_are_repaired)
{
	static const char *const lost[] = { "store", "current" };
	struct verify_result v;
	struct store *s;
	struct os *os;
	char *got;

	for (size_t i = 0; i < 2; i++) {
		os = copy_of(base);
		ck_assert_int_eq(os_mem_cut_file(os, lost[i], 5), 0);
		ck_assert_int_eq(store_repair(os, false, &v), 0);
		ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
		got = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
		ck_assert_str_eq(got, intact);
		free(got);
		ck_assert_int_eq(store_close(s), 0);
		os->ops->close_tree(os);
	}
}
END_TEST

/* As it is closed: the index has all of the log. */
static struct os *
closed_copy(void)
{
	struct os *os = copy_of(base);
	struct store *s;

	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	ck_assert_int_eq(store_close(s), 0);
	return (os);
}

/* All is there as it was, and nothing is wrong with it any more. */
static void
check_whole(struct os *os)
{
	struct verify_result v;
	struct store *s;
	char *got;

	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	ck_assert(!store_damaged(s));
	got = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	ck_assert_str_eq(got, intact);
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_uint_eq(v.problems, 0);
	ck_assert_int_eq(store_close(s), 0);
	free(got);
}

START_TEST(what_the_index_has_of_a_damaged_log_is_kept)
{
	struct verify_result v;
	struct store *s;
	struct os *os;
	uint64_t size = 0;

	for (size_t f = 0; f < files; f++)
		if (strncmp(file[f].path, "log-", 4) == 0)
			size = file[f].size;
	for (uint64_t at = 0; at < size; at += 13) {
		os = closed_copy();
		ck_assert_int_eq(
		    os_mem_flip(os, "log-1/0000000000000001.log", at, 0x20), 0);
		ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
		ck_assert_int_eq(store_rebuild(s), -EROFS);
		(void)store_close(s);
		ck_assert_int_eq(store_repair(os, true, &v), 0);
		ck_assert_int_eq(store_repair(os, false, &v), 0);
		ck_assert_uint_gt(v.problems, 0);
		check_whole(os);
		os->ops->close_tree(os);
	}
}
END_TEST

START_TEST(without_the_log_the_index_makes_one)
{
	struct verify_result v;
	struct store *s;
	struct os *os = closed_copy();

	ck_assert_int_eq(
	    os->ops->unlink(os, "log-1/0000000000000001.log"), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), -EIO);
	ck_assert_int_eq(store_repair(os, true, &v), 0);
	ck_assert_uint_gt(v.problems, 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), -EIO);
	ck_assert_int_eq(store_repair(os, false, &v), 0);
	check_whole(os);
	os->ops->close_tree(os);
}
END_TEST

/* Without log and index all that is left are bodies. */
START_TEST(without_both_the_bodies_come_back)
{
	struct verify_result v;
	struct store *s;
	struct mailbox box;
	struct os *os = closed_copy();

	ck_assert_int_eq(
	    os->ops->unlink(os, "log-1/0000000000000001.log"), 0);
	ck_assert_int_eq(os->ops->unlink(os, "index-1"), 0);
	ck_assert_int_eq(store_repair(os, false, &v), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	ck_assert_int_eq(store_mailbox_by_name(s, "Recovered", &box), 0);
	ck_assert_uint_eq(box.messages, MESSAGES);
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_damaged_header_of_a_pack_costs_nothing)
{
	struct look l;
	struct store *s;
	struct os *os;

	for (size_t f = 0; f < files; f++)
		for (uint64_t at = 0;
		     strncmp(file[f].path, "packs/", 6) == 0 && at < 24; at++) {
			os = copy_of(base);
			ck_assert_int_eq(
			    os_mem_flip(os, file[f].path, at, 0xff), 0);
			ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
			look(s, &l);
			ck_assert_uint_eq(l.unreadable, 0);
			ck_assert_uint_eq(l.good, MESSAGES - 1);
			ck_assert_int_eq(store_close(s), 0);
			os->ops->close_tree(os);
		}
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("store_damage");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, flipped_bytes_never_pass);
	tcase_add_test(tc, cut_files_never_crash);
	tcase_add_test(tc, missing_index_is_rebuilt);
	tcase_add_test(tc, newer_version_is_refused);
	tcase_add_test(tc, damaged_log_opens_read_only_and_is_repaired);
	tcase_add_test(tc, lost_small_files_are_repaired);
	tcase_add_test(tc, what_the_index_has_of_a_damaged_log_is_kept);
	tcase_add_test(tc, without_the_log_the_index_makes_one);
	tcase_add_test(tc, without_both_the_bodies_come_back);
	tcase_add_test(tc, a_damaged_header_of_a_pack_costs_nothing);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
