/*
 * journal_log -- the change log: what it keeps over power loss and errors, and
 * what it makes of damage.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "journal/journal.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"

#define HEADER 40u /* of a segment, and of a frame */
#define FIRST "log/0000000000000001.log"
#define FRAMES_MAX 64
#define BIG (6u << 20)

static const struct guid id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16 } };

static struct model {
	uint64_t lsn[FRAMES_MAX];
	size_t n; /* appended */
	size_t tried; /* of which an append began */
	size_t durable; /* acknowledged by a sync */
} model;

static struct got {
	size_t n;
	uint64_t next;
	size_t first; /* index of the first frame expected */
} got;

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static size_t
size_of(size_t i, size_t big_every)
{
	return (big_every != 0 && i % big_every == 1 ? BIG : (i * 397) % 1300);
}

static uint8_t *
payload_of(size_t i, size_t len)
{
	uint8_t *p = malloc(len + 1);
	uint64_t x = i * 2654435761u + 1;
	size_t k;

	ck_assert_ptr_nonnull(p);
	for (k = 0; k < len; k++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		p[k] = (uint8_t)(x >> 56);
	}
	return (p);
}

/*
 * Frames come in order, whole, with the bytes they were given; their time is
 * their index.
 */
static int
on_frame(void *arg, const struct journal_frame *f)
{
	size_t i = (size_t)f->time;
	uint8_t *want;

	(void)arg;
	ck_assert_uint_lt(i, FRAMES_MAX);
	ck_assert_uint_ge(i, got.first);
	ck_assert_uint_eq(f->next, f->lsn + HEADER + f->len);
	ck_assert_uint_ge(f->lsn, got.next);
	want = payload_of(i, f->len);
	ck_assert_int_eq(memcmp(want, f->payload, f->len), 0);
	free(want);
	if (i < model.n)
		ck_assert_uint_eq(model.lsn[i], f->lsn);
	else
		model.lsn[i] = f->lsn;
	got.first = i + 1;
	got.next = f->next;
	got.n++;
	return (0);
}

static int
open_log(struct os *os, unsigned flags, uint64_t from, struct journal **j)
{
	memset(&got, 0, sizeof(got));
	return (journal_open(os, "log", &id, flags, from, on_frame, NULL, j));
}

static struct os *
new_os(void)
{
	struct os *os;

	ck_assert_int_eq(os_mem_new(7, &os), 0);
	memset(&model, 0, sizeof(model));
	return (os);
}

static int
append(struct journal *j, size_t big_every)
{
	size_t len = size_of(model.n, big_every);
	uint8_t *p = payload_of(model.n, len);
	int error;

	model.tried = model.n + 1;
	error =
	    journal_append(j, p, len, (int64_t)model.n, &model.lsn[model.n]);
	free(p);
	if (error == 0)
		model.n++;
	return (error);
}

static int
sync_log(struct journal *j)
{
	int error = journal_sync(j);

	if (error == 0) {
		ck_assert_uint_eq(journal_durable(j), journal_end(j));
		model.durable = model.n;
	}
	return (error);
}

/* What every loop runs: n frames, a sync after each third. */
static int
script(struct os *os, size_t n, size_t big_every)
{
	struct journal *j;
	size_t i;
	int error;

	if ((error = open_log(os, JOURNAL_CREATE, 0, &j)) != 0)
		return (error);
	for (i = 0; i < n && error == 0; i++) {
		error = append(j, big_every);
		if (error == 0 && i % 3 == 2)
			error = sync_log(j);
	}
	journal_close(j);
	return (error);
}

/*
 * After anything but damage at rest: a clean prefix that holds all that was
 * acknowledged, and the log goes on.
 */
static void
expect_prefix(struct os *os)
{
	struct journal *j;
	size_t n;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	ck_assert(!journal_damaged(j));
	ck_assert_uint_ge(got.n, model.durable);
	ck_assert_uint_le(got.n, model.tried);
	ck_assert_uint_eq(got.first, got.n);
	ck_assert_uint_eq(journal_durable(j), journal_end(j));
	n = model.n = got.n;
	ck_assert_int_eq(append(j, 0), 0);
	ck_assert_int_eq(sync_log(j), 0);
	journal_close(j);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_uint_eq(got.n, n + 1);
	journal_close(j);
}

static void
lose_power_everywhere(size_t n, size_t big_every)
{
	struct os *os = new_os();
	uint64_t ops, at;
	int loss;

	ck_assert_int_eq(script(os, n, big_every), 0);
	ops = os_mem_changes(os);
	os->ops->close_tree(os);
	for (at = 1; at <= ops; at++)
		for (loss = OS_MEM_LOSE_ALL; loss <= OS_MEM_LOSE_SOME + 2;
		     loss++) {
			enum os_mem_loss how = loss > OS_MEM_LOSE_SOME
			    ? OS_MEM_LOSE_SOME
			    : (enum os_mem_loss)loss;

			os = new_os();
			os_mem_cut_at(os, at);
			ck_assert_int_ne(script(os, n, big_every), 0);
			ck_assert_int_eq(
			    os_mem_reboot(os, how, at * 10 + (uint64_t)loss),
			    0);
			expect_prefix(os);
			os->ops->close_tree(os);
		}
}

START_TEST(
    power_loss_at_every_operation_leaves_a_prefix_with_all_that_was_acknowledged)
{
	lose_power_everywhere(14, 0);
}
END_TEST

/*
 * The switch comes at frame 8, with two frames before it that nobody has
 * synced.
 */
START_TEST(power_loss_around_segment_switches_is_no_different)
{
	lose_power_everywhere(10, 3);
}
END_TEST

/* Power lost twice: also while the torn tail of the first loss is being cut. */
START_TEST(power_loss_during_recovery_changes_nothing)
{
	struct os *os, *again;
	uint64_t at, cut, before;

	for (at = 4; at < 16; at++) {
		os = new_os();
		os_mem_cut_at(os, at);
		(void)script(os, 14, 0);
		ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_SOME, at), 0);
		before = os_mem_changes(os);
		for (cut = 1; cut < 6; cut++) {
			struct model keep = model;
			struct journal *j = NULL;

			ck_assert_int_eq(
			    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &again),
			    0);
			os_mem_cut_at(again, os_mem_changes(again) + cut);
			model.n = 0;
			if (open_log(again, JOURNAL_CREATE, 0, &j) == 0)
				journal_close(j);
			model = keep;
			ck_assert_int_eq(
			    os_mem_reboot(again, OS_MEM_LOSE_SOME, cut), 0);
			expect_prefix(again);
			again->ops->close_tree(again);
			model = keep;
		}
		ck_assert_uint_eq(before, os_mem_changes(os));
		os->ops->close_tree(os);
	}
}
END_TEST

static bool
log_is_poisoned(struct journal *j)
{
	uint64_t end = journal_end(j);

	return (journal_append(j, "x", 1, 0, NULL) == -EIO &&
	    journal_sync(j) == -EIO && journal_end(j) == end);
}

/* The nth operation of a kind fails with err. */
static bool
fail_once(enum os_mem_op op, uint64_t nth, int err, size_t big_every)
{
	struct os *os = new_os();
	struct os *copy;
	struct journal *j;
	struct model keep;
	int error = 0, loss;
	size_t i;

	os_mem_fail(os, op, nth, err, false);
	if ((error = open_log(os, JOURNAL_CREATE, 0, &j)) == 0) {
		for (i = 0; i < 12 && error == 0; i++) {
			error = append(j, big_every);
			/* nothing kept, and the log goes on */
			if (error == -ENOSPC) {
				ck_assert_int_eq(err, ENOSPC);
				ck_assert_int_eq(append(j, big_every), 0);
				error = 0;
			}
			if (error == 0 && i % 3 == 2)
				error = sync_log(j);
			if (error != 0)
				ck_assert(log_is_poisoned(j));
		}
		if (error == 0)
			ck_assert_int_eq(sync_log(j), 0);
		journal_close(j);
	}
	if (os_mem_calls(os, op) < nth) {
		os->ops->close_tree(os);
		return (false);
	}
	os_mem_fail(os, op, 0, 0, false);
	keep = model;
	for (loss = OS_MEM_LOSE_ALL; loss <= OS_MEM_LOSE_SOME; loss++) {
		model = keep;
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, (enum os_mem_loss)loss, nth, &copy),
		    0);
		expect_prefix(copy);
		copy->ops->close_tree(copy);
	}
	model = keep;
	if (op != OS_MEM_SYNC) /* what a failed sync lost still reads well, so
				  only a reboot tells */
		expect_prefix(os);
	os->ops->close_tree(os);
	return (true);
}

START_TEST(an_error_at_every_operation_loses_nothing_acknowledged)
{
	static const enum os_mem_op op[] = { OS_MEM_CREATE, OS_MEM_PWRITE,
		OS_MEM_SYNC, OS_MEM_SYNC_DIR, OS_MEM_MKDIR };
	static const int err[] = { EIO, ENOSPC };
	size_t i, e, big;
	uint64_t n;

	for (i = 0; i < sizeof(op) / sizeof(*op); i++)
		for (e = 0; e < 2; e++)
			for (big = 0; big <= 3; big += 3)
				for (n = 1; fail_once(op[i], n, err[e], big);
				     n++)
					;
}
END_TEST

START_TEST(a_full_disk_stops_nothing_once_there_is_room_again)
{
	struct os *os = new_os();
	struct journal *j;
	uint64_t end;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(append(j, 0), 0);
	end = journal_end(j);
	os_mem_capacity(os, os_mem_used(os) + 100);
	ck_assert_int_eq(append(j, 0), -ENOSPC);
	ck_assert_int_eq(append(j, 0), -ENOSPC);
	ck_assert_uint_eq(journal_end(j), end);
	os_mem_capacity(os, 0);
	ck_assert_int_eq(append(j, 0), 0);
	ck_assert_int_eq(sync_log(j), 0);
	journal_close(j);
	ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 1), 0);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_uint_eq(got.n, 7);
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_segment_switch_between_the_halves_of_a_sync_is_safe)
{
	struct os *os = new_os();
	struct journal_sync s;
	struct journal *j;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	ck_assert_int_eq(append(j, 0), 0);
	journal_sync_begin(j, &s);
	for (i = 0; i < 9; i++)
		ck_assert_int_eq(append(j, 1 + 1), 0);
	model.durable = 1;
	/* the switch made the old segment durable */
	ck_assert_uint_gt(journal_durable(j), s.end);
	ck_assert_int_eq(journal_sync_run(j, &s), 0);
	journal_sync_done(j, &s, 0);
	ck_assert_uint_lt(journal_durable(j), journal_end(j));
	for (model.durable = 0; model.durable < model.n &&
	     model.lsn[model.durable] < journal_durable(j);)
		model.durable++;
	journal_close(j);
	ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 1), 0);
	expect_prefix(os);
	os->ops->close_tree(os);
}
END_TEST

/*
 * Six frames, all durable, each naming those before it so; *size gets the
 * file's.
 */
static struct os *
six_frames(uint64_t *size)
{
	struct os *os = new_os();
	struct os_stat st;
	struct journal *j;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(append(j, 0), 0);
		ck_assert_int_eq(sync_log(j), 0);
	}
	journal_close(j);
	ck_assert_int_eq(os->ops->stat(os, FIRST, &st), 0);
	*size = st.size;
	return (os);
}

START_TEST(every_flipped_byte_is_damage_or_the_last_frame)
{
	struct os *os, *copy;
	struct os_stat st;
	struct journal *j;
	uint64_t size, at;
	int error;

	os = six_frames(&size);
	for (at = 0; at < size; at++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		ck_assert_int_eq(
		    os_mem_flip(copy, FIRST, at, (uint8_t)(1u << (at % 8))), 0);
		error = open_log(copy, 0, 0, &j);
		ck_assert_int_eq(error, 0);
		if (at < HEADER) {
			ck_assert_uint_eq(got.n, 6);
			ck_assert(journal_damaged(j));
			ck_assert_uint_eq(journal_damage_at(j, 0)->offset, 0);
		} else {
			ck_assert_uint_eq(got.n, 5);
			ck_assert_int_eq(journal_damaged(j),
			    at - HEADER < model.lsn[5] - model.lsn[0]);
		}
		/* nothing is written, nothing cut */
		if (journal_damaged(j)) {
			ck_assert_uint_eq(journal_damage_count(j), 1);
			ck_assert_int_eq(
			    journal_append(j, "x", 1, 0, NULL), -EROFS);
			ck_assert_int_eq(copy->ops->stat(copy, FIRST, &st), 0);
			ck_assert_uint_eq(st.size, size);
		}
		journal_close(j);
		copy->ops->close_tree(copy);
	}
	os->ops->close_tree(os);
}
END_TEST

START_TEST(every_cut_length_gives_the_frames_before_it)
{
	struct os *os, *copy;
	struct journal *j;
	uint64_t size, at;
	size_t want;

	os = six_frames(&size);
	for (at = 0; at < size; at++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		ck_assert_int_eq(os_mem_cut_file(copy, FIRST, at), 0);
		ck_assert_int_eq(open_log(copy, JOURNAL_RDONLY, 0, &j), 0);
		for (want = 0;
		     want < 5 && at >= HEADER + model.lsn[want + 1] - 1; want++)
			;
		ck_assert_uint_eq(got.n, want);
		ck_assert(!journal_damaged(j));
		journal_close(j);
		copy->ops->close_tree(copy);
	}
	os->ops->close_tree(os);
}
END_TEST

START_TEST(an_unproven_bad_frame_takes_the_good_ones_behind_it_along)
{
	struct os *os = new_os();
	struct journal *j;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(append(j, 0), 0);
		if (i == 2)
			ck_assert_int_eq(sync_log(j), 0);
	}
	journal_close(j);
	ck_assert_int_eq(
	    os_mem_flip(os, FIRST, HEADER + model.lsn[4] - 1 + 50, 1), 0);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert(!journal_damaged(j));
	ck_assert_uint_eq(got.n, 4);
	ck_assert_uint_eq(journal_end(j), model.lsn[4]);
	journal_close(j);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_uint_eq(got.n, 4);
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(from_must_be_a_frame_of_the_log)
{
	struct os *os;
	struct journal *j;
	struct os_stat st;
	uint64_t size, from;
	size_t i;

	os = six_frames(&size);
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(open_log(os, 0, model.lsn[i], &j), 0);
		ck_assert_uint_eq(got.n, 6 - i);
		journal_close(j);
	}
	/* the end */
	ck_assert_int_eq(open_log(os, 0, size - HEADER + 1, &j), 0);
	ck_assert_uint_eq(got.n, 0);
	journal_close(j);
	for (from = 2; from < size - HEADER + 300; from++) {
		for (i = 0; i < 6 && model.lsn[i] != from; i++)
			;
		if (i < 6 || from == size - HEADER + 1)
			continue;
		ck_assert_int_eq(open_log(os, 0, from, &j), -EINVAL);
		ck_assert_uint_eq(got.n, 0);
	}
	ck_assert_int_eq(os->ops->stat(os, FIRST, &st), 0);
	ck_assert_uint_eq(st.size, size);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(opening_from_a_checkpoint_does_not_read_what_is_before_it)
{
	struct os *os = new_os();
	struct journal *j;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(append(j, 2), 0);
	ck_assert_int_eq(sync_log(j), 0);
	journal_close(j);
	ck_assert_int_eq(os_mem_flip(os, FIRST, 3, 1), 0);
	ck_assert_int_eq(os_mem_flip(os, FIRST, 100000, 1), 0);
	ck_assert_int_eq(open_log(os, 0, model.lsn[9], &j), 0);
	ck_assert_uint_eq(got.n, 1);
	ck_assert(!journal_damaged(j));
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

static int
segment_at(void *arg, const struct os_dirent *e)
{
	size_t *n = arg;

	ck_assert_uint_eq(strlen(e->name), 20);
	++*n;
	return (0);
}

START_TEST(a_missing_segment_is_damage_with_a_name)
{
	struct os *os = new_os(), *copy;
	struct journal *j;
	char path[64];
	size_t n = 0, i, k;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 16; i++)
		ck_assert_int_eq(append(j, 2), 0);
	ck_assert_int_eq(sync_log(j), 0);
	journal_close(j);
	ck_assert_int_eq(os->ops->list(os, "log", segment_at, &n), 0);
	ck_assert_uint_eq(n, 3);
	for (i = 0, k = 0; i < 16 && k < 2; i++) {
		(void)snprintf(path, sizeof(path), "log/%016llx.log",
		    (unsigned long long)model.lsn[i]);
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		if (copy->ops->unlink(copy, path) == 0) {
			k++;
			ck_assert_int_eq(open_log(copy, 0, 0, &j), 0);
			ck_assert(journal_damaged(j));
			ck_assert_uint_eq(
			    journal_damage_at(j, 0)->lsn, model.lsn[i]);
			ck_assert_uint_gt(
			    journal_damage_at(j, 0)->resume, model.lsn[i]);
			ck_assert_uint_gt(got.n, 0);
			journal_close(j);
		}
		copy->ops->close_tree(copy);
	}
	ck_assert_uint_eq(k, 2);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_log_of_another_store_or_a_newer_version_is_refused_and_kept)
{
	static const struct guid other = { { 9 } };
	struct os *os;
	struct os_stat st;
	struct os_file *f;
	struct journal *j;
	uint64_t size;

	os = six_frames(&size);
	ck_assert_int_eq(journal_open(os, "log", &other, JOURNAL_CREATE, 0,
			     on_frame, NULL, &j),
	    -EINVAL);
	/* Another version has another header, with its checksum somewhere else.
	 */
	ck_assert_int_eq(os->ops->open(os, FIRST, OS_WRITE, &f), 0);
	ck_assert_int_eq(
	    os->ops->pwrite(
		f, "DSFSLOG\2abcdefghijklmnopqrstuvwxyz012345", 40, 0),
	    0);
	os->ops->close(f);
	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), -EPROTONOSUPPORT);
	ck_assert_int_eq(os->ops->stat(os, FIRST, &st), 0);
	ck_assert_uint_eq(st.size, size);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(reading_only_never_writes)
{
	struct os *os;
	struct journal *j;
	uint64_t size, before, frames, bytes;

	os = six_frames(&size);
	ck_assert_int_eq(os_mem_cut_file(os, FIRST, size - 1), 0);
	before = os_mem_changes(os);
	ck_assert_int_eq(open_log(os, JOURNAL_RDONLY, 0, &j), 0);
	ck_assert_uint_eq(got.n, 5);
	ck_assert_int_eq(journal_append(j, "x", 1, 0, NULL), -EROFS);
	ck_assert_int_eq(journal_sync(j), 0);
	ck_assert_int_eq(journal_verify(j, &frames, &bytes), 0);
	ck_assert_uint_eq(frames, 5);
	ck_assert_uint_eq(bytes, model.lsn[5] - model.lsn[0]);
	journal_close(j);
	ck_assert_uint_eq(os_mem_changes(os), before);
	ck_assert_int_eq(os_mem_cut_file(os, FIRST, 3), 0);
	before = os_mem_changes(os);
	ck_assert_int_eq(open_log(os, JOURNAL_RDONLY, 0, &j), 0);
	ck_assert_uint_eq(journal_end(j), 1);
	journal_close(j);
	ck_assert_uint_eq(os_mem_changes(os), before);
	os->ops->close_tree(os);
	os = new_os();
	ck_assert_int_eq(
	    open_log(os, JOURNAL_RDONLY | JOURNAL_CREATE, 0, &j), -ENOENT);
	ck_assert_int_eq(open_log(os, 0, 0, &j), -ENOENT);
	ck_assert_uint_eq(os_mem_changes(os), 0);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(verify_finds_what_happened_to_a_log_in_use)
{
	struct os *os;
	struct journal *j;
	uint64_t size, frames, bytes;

	os = six_frames(&size);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_int_eq(journal_verify(j, &frames, &bytes), 0);
	ck_assert_uint_eq(frames, 6);
	ck_assert(!journal_damaged(j));
	/* The last frame: no other calls it durable, but this process knows. */
	ck_assert_int_eq(os_mem_flip(os, FIRST, size - 1, 1), 0);
	ck_assert_int_eq(journal_verify(j, &frames, &bytes), -EBADMSG);
	ck_assert_int_eq(journal_verify(j, &frames, &bytes), -EBADMSG);
	ck_assert_uint_eq(frames, 5);
	ck_assert_uint_eq(journal_damage_count(j), 1);
	ck_assert_uint_eq(journal_damage_at(j, 0)->lsn, model.lsn[5]);
	memset(&got, 0, sizeof(got));
	ck_assert_int_eq(journal_read(j, model.lsn[2], on_frame, NULL), 0);
	ck_assert_uint_eq(got.n, 3);
	memset(&got, 0, sizeof(got));
	ck_assert_int_eq(journal_read(j, journal_end(j), on_frame, NULL), 0);
	ck_assert_uint_eq(got.n, 0);
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(only_what_is_not_proven_durable_can_be_cut_and_only_after_opening)
{
	struct os *os = new_os();
	struct journal *j;
	int i;

	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(append(j, 0), 0);
		if (i == 2)
			ck_assert_int_eq(sync_log(j), 0);
	}
	journal_close(j);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_uint_eq(journal_proven(j), model.lsn[3]);
	ck_assert_int_eq(journal_cut(j, model.lsn[2]), -EINVAL);
	ck_assert_int_eq(journal_cut(j, journal_end(j) + 1), -EINVAL);
	ck_assert_int_eq(journal_cut(j, model.lsn[4]), 0);
	ck_assert_uint_eq(journal_end(j), model.lsn[4]);
	model.n = 4;
	ck_assert_int_eq(append(j, 0), 0);
	ck_assert_int_eq(journal_cut(j, model.lsn[4]), -EINVAL);
	ck_assert_int_eq(sync_log(j), 0);
	journal_close(j);
	ck_assert_int_eq(os_mem_reboot(os, OS_MEM_LOSE_ALL, 1), 0);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_uint_eq(got.n, 5);
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_frame_that_is_too_long_is_refused)
{
	struct os *os = new_os();
	struct journal *j;
	char *p = calloc(1, JOURNAL_FRAME_MAX + 1);

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(open_log(os, JOURNAL_CREATE, 0, &j), 0);
	ck_assert_int_eq(
	    journal_append(j, p, JOURNAL_FRAME_MAX + 1, 0, NULL), -EFBIG);
	ck_assert_int_eq(journal_append(j, p, 0, 0, NULL), 0);
	ck_assert_uint_eq(journal_end(j), 1 + HEADER);
	journal_close(j);
	free(p);
	os->ops->close_tree(os);
}
END_TEST

static int
stop_at_two(void *arg, const struct journal_frame *f)
{
	(void)arg;
	return (f->time == 2 ? 42 : 0);
}

START_TEST(what_the_callback_returns_ends_the_reading)
{
	struct os *os;
	struct journal *j;
	uint64_t size;

	os = six_frames(&size);
	ck_assert_int_eq(
	    journal_open(os, "log", &id, 0, 0, stop_at_two, NULL, &j), 42);
	ck_assert_int_eq(open_log(os, 0, 0, &j), 0);
	ck_assert_int_eq(journal_read(j, 0, stop_at_two, NULL), 42);
	journal_close(j);
	os->ops->close_tree(os);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("journal_log");
	TCase *t = tcase_create("log");

	log_set_sink(quiet, NULL);
	tcase_set_timeout(t, 300);
	tcase_add_test(t,
	    power_loss_at_every_operation_leaves_a_prefix_with_all_that_was_acknowledged);
	tcase_add_test(t, power_loss_around_segment_switches_is_no_different);
	tcase_add_test(t, power_loss_during_recovery_changes_nothing);
	tcase_add_test(
	    t, an_error_at_every_operation_loses_nothing_acknowledged);
	tcase_add_test(t, a_full_disk_stops_nothing_once_there_is_room_again);
	tcase_add_test(
	    t, a_segment_switch_between_the_halves_of_a_sync_is_safe);
	tcase_add_test(t, every_flipped_byte_is_damage_or_the_last_frame);
	tcase_add_test(t, every_cut_length_gives_the_frames_before_it);
	tcase_add_test(
	    t, an_unproven_bad_frame_takes_the_good_ones_behind_it_along);
	tcase_add_test(t, from_must_be_a_frame_of_the_log);
	tcase_add_test(
	    t, opening_from_a_checkpoint_does_not_read_what_is_before_it);
	tcase_add_test(t, a_missing_segment_is_damage_with_a_name);
	tcase_add_test(
	    t, a_log_of_another_store_or_a_newer_version_is_refused_and_kept);
	tcase_add_test(t, reading_only_never_writes);
	tcase_add_test(t, verify_finds_what_happened_to_a_log_in_use);
	tcase_add_test(t,
	    only_what_is_not_proven_durable_can_be_cut_and_only_after_opening);
	tcase_add_test(t, a_frame_that_is_too_long_is_refused);
	tcase_add_test(t, what_the_callback_returns_ends_the_reading);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
