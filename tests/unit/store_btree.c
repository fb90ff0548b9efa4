/*
 * store_btree -- the index's tree: what it holds, over checkpoints, power loss,
 * errors, and bytes that lie.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/btree.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"

#define PATH "index"
#define PAGE 4096u
#define KEYS 400
#define STATES 12

/* value[i]: 0 the key is not there, else what its value is made from. */
struct model {
	uint32_t value[KEYS];
};

static struct model now, state[STATES + 1];
static uint64_t seed;

static uint32_t
rnd(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return ((uint32_t)(seed >> 33));
}

/* Keys of many lengths, in another order than their numbers. */
static size_t
key_of(unsigned i, uint8_t out[BTREE_KEY_MAX])
{
	size_t n = i % 7 == 0 ? 4 + (i * 31) % 252 : 4 + i % 20;

	memset(out, 'k', n);
	out[0] = (uint8_t)('a' + i % 3);
	out[1] = (uint8_t)((i * 37) >> 8);
	out[2] = (uint8_t)(i * 37);
	out[3] = (uint8_t)i;
	return (n);
}

static size_t
value_of(uint32_t v, uint8_t out[BTREE_VALUE_MAX])
{
	size_t n = v % 5 == 0 ? v % (BTREE_VALUE_MAX + 1) : v % 90, i;

	for (i = 0; i < n; i++)
		out[i] = (uint8_t)(v + i * 7);
	return (n);
}

static int
put(struct btree *t, unsigned i, uint32_t v)
{
	uint8_t k[BTREE_KEY_MAX], b[BTREE_VALUE_MAX];
	size_t klen = key_of(i, k), n = value_of(v, b);
	int error = btree_put(t, k, klen, b, n);

	if (error == 0)
		now.value[i] = v;
	return (error);
}

static int
del(struct btree *t, unsigned i)
{
	uint8_t k[BTREE_KEY_MAX];
	size_t klen = key_of(i, k);
	int error = btree_del(t, k, klen);

	if (error == 0 || error == -ENOENT) {
		ck_assert_int_eq(error == 0, now.value[i] != 0);
		now.value[i] = 0;
		error = 0;
	}
	return (error);
}

/* n changes, of which so many in ten are deletions. */
static int
change(struct btree *t, unsigned n, unsigned deletions)
{
	int error = 0;

	while (n-- > 0 && error == 0) {
		unsigned i = rnd() % KEYS;

		error = rnd() % 10 < deletions ? del(t, i)
					       : put(t, i, 1 + rnd() % 100000);
	}
	return (error);
}

static int
cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return (c != 0 ? c : (alen > blen) - (alen < blen));
}

/* The tree holds exactly m, by every way of reading. */
static void
expect(struct btree *t, const struct model *m)
{
	uint8_t k[BTREE_KEY_MAX], b[BTREE_VALUE_MAX], last[BTREE_KEY_MAX];
	size_t klen, n, vlen, have = 0, want = 0, lastlen = 0;
	uint64_t pages, bad;
	struct btree_cursor c, d;
	const void *v;
	unsigned i;

	ck_assert_int_eq(btree_seek(t, "", 0, &c), 0);
	while (c.key != NULL) {
		if (have++ > 0)
			ck_assert_int_lt(cmp(last, lastlen, c.key, c.klen), 0);
		memcpy(last, c.key, lastlen = c.klen);
		ck_assert_int_eq(btree_next(&c), 0);
	}
	for (i = 0; i < KEYS; i++) {
		klen = key_of(i, k);
		if (m->value[i] == 0) {
			ck_assert_int_eq(
			    btree_get(t, k, klen, &v, &vlen), -ENOENT);
			continue;
		}
		want++;
		n = value_of(m->value[i], b);
		ck_assert_int_eq(btree_get(t, k, klen, &v, &vlen), 0);
		ck_assert_uint_eq(vlen, n);
		ck_assert_int_eq(memcmp(v, b, n), 0);
		ck_assert_int_eq(btree_seek(t, k, klen, &c), 0);
		ck_assert_int_eq(cmp(c.key, c.klen, k, klen), 0);
		ck_assert_int_eq(btree_last_below(t, k, klen, &c), 0);
		if (c.key == NULL)
			continue;
		ck_assert_int_lt(cmp(c.key, c.klen, k, klen), 0);
		d = c;
		ck_assert_int_eq(btree_next(&d), 0);
		ck_assert_int_eq(cmp(d.key, d.klen, k, klen), 0);
	}
	ck_assert_uint_eq(have, want);
	ck_assert_int_eq(btree_verify(t, &pages, &bad), 0);
	ck_assert_uint_eq(bad, 0);
}

static struct os *
new_os(void)
{
	struct os *os;

	ck_assert_int_eq(os_mem_new(3, &os), 0);
	memset(&now, 0, sizeof(now));
	seed = 42;
	return (os);
}

static struct btree *
open_tree(struct os *os, size_t cache)
{
	struct btree *t;

	ck_assert_int_eq(btree_open(os, PATH, cache, false, &t), 0);
	return (t);
}

START_TEST(a_tree_holds_what_a_plain_array_holds)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	unsigned round, deletions;
	size_t n;

	for (round = 0; round < 60; round++) {
		deletions = round / 10 % 2 == 0 ? 3 : 8;
		ck_assert_int_eq(change(t, 150, deletions), 0);
		if (round % 4 == 1)
			ck_assert_int_eq(
			    btree_checkpoint(t, &round, sizeof(round)), 0);
		if (round % 12 == 1) {
			btree_close(t);
			t = open_tree(os, 0);
			ck_assert_uint_eq(
			    *(const unsigned *)btree_user(t, &n), round);
			ck_assert_uint_eq(n, sizeof(round));
			ck_assert_uint_eq(btree_dirty_pages(t), 0);
		}
		expect(t, &now);
	}
	for (round = 0; round < KEYS; round++)
		ck_assert_int_eq(del(t, round), 0);
	expect(t, &now);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	btree_close(t);
	t = open_tree(os, 0);
	expect(t, &now);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(the_longest_entries_split_pages_well)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	uint8_t k[BTREE_KEY_MAX], v[BTREE_VALUE_MAX + 1];
	const void *p;
	unsigned i;
	size_t n;

	memset(v, 7, sizeof(v));
	for (i = 0; i < 3000; i++) {
		memset(k, 'x', sizeof(k));
		k[254] = (uint8_t)(i * 7919 % 3000);
		k[253] = (uint8_t)(i * 7919 % 3000 >> 8);
		ck_assert_int_eq(btree_put(t, k, sizeof(k), v,
				     i % 3 == 0 ? BTREE_VALUE_MAX : i % 50),
		    0);
		ck_assert_int_eq(btree_put(t, k, 1 + i % 200, "", 0), 0);
	}
	for (i = 0; i < 3000; i++) {
		memset(k, 'x', sizeof(k));
		k[254] = (uint8_t)(i * 7919 % 3000);
		k[253] = (uint8_t)(i * 7919 % 3000 >> 8);
		ck_assert_int_eq(btree_get(t, k, sizeof(k), &p, &n), 0);
		ck_assert_uint_eq(n, i % 3 == 0 ? BTREE_VALUE_MAX : i % 50);
	}
	ck_assert_int_eq(btree_put(t, k, 0, v, 1), -EINVAL);
	ck_assert_int_eq(btree_put(t, v, 256, v, 1), -EINVAL);
	ck_assert_int_eq(btree_put(t, k, 1, v, BTREE_VALUE_MAX + 1), -EINVAL);
	ck_assert_int_eq(btree_checkpoint(t, v, BTREE_USER_MAX + 1), -EINVAL);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(an_entry_as_small_as_can_be_is_read_again)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	const void *v;
	size_t n;

	ck_assert_int_eq(btree_put(t, "a", 1, "", 0), 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	btree_close(t);
	t = open_tree(os, 0);
	ck_assert_int_eq(btree_get(t, "a", 1, &v, &n), 0);
	ck_assert_uint_eq(n, 0);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

static void
be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Three mailboxes that grow in turn: ascending in each, not in the tree. */
START_TEST(ascending_keys_leave_full_pages)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 8 << 20);
	uint8_t k[12] = { 0 }, v[60] = { 0 };
	uint32_t i, n = 30000;

	for (i = 0; i < n; i++) {
		be32(k, i % 3);
		be32(k + 4, i);
		ck_assert_int_eq(btree_put(t, k, sizeof(k), v, sizeof(v)), 0);
	}
	/* 77 bytes each with slot and lengths. */
	ck_assert_uint_lt(btree_file_bytes(t), (uint64_t)n * 77 * 115 / 100);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_lent_value_may_be_put_again)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	uint8_t k[BTREE_KEY_MAX];
	const void *v, *w;
	size_t n, m;
	unsigned i;

	ck_assert_int_eq(change(t, 500, 0), 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	for (i = 0; i < KEYS; i++) {
		size_t klen = key_of(i, k);
		uint8_t b[BTREE_VALUE_MAX];

		if (btree_get(t, k, klen, &v, &n) != 0)
			continue;
		k[3] ^= 0x80;
		ck_assert_int_eq(btree_put(t, k, klen, v, n), 0);
		ck_assert_int_eq(btree_get(t, k, klen, &w, &m), 0);
		ck_assert_uint_eq(n, m);
		ck_assert_int_eq(memcmp(w, b, value_of(now.value[i], b)), 0);
	}
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(a_cursor_tells_that_the_tree_has_changed)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	struct btree_cursor c;

	ck_assert_int_eq(change(t, 100, 0), 0);
	ck_assert_int_eq(btree_seek(t, "", 0, &c), 0);
	ck_assert_int_eq(btree_next(&c), 0);
	ck_assert_int_eq(change(t, 1, 0), 0);
	ck_assert_int_eq(btree_next(&c), -EBUSY);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(reading_only_changes_memory_only)
{
	struct os *os = new_os();
	struct btree *t;
	uint64_t before;

	ck_assert_int_eq(btree_open(os, PATH, 0, true, &t), 0);
	ck_assert_int_eq(change(t, 300, 2), 0);
	expect(t, &now);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), -EROFS);
	btree_close(t);
	ck_assert_uint_eq(os_mem_changes(os), 0);
	memset(&now, 0, sizeof(now));
	t = open_tree(os, 0);
	ck_assert_int_eq(change(t, 300, 2), 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	btree_close(t);
	before = os_mem_changes(os);
	ck_assert_int_eq(btree_open(os, PATH, 0, true, &t), 0);
	expect(t, &now);
	ck_assert_int_eq(change(t, 300, 2), 0);
	expect(t, &now);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), -EROFS);
	btree_close(t);
	ck_assert_uint_eq(os_mem_changes(os), before);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(space_is_used_again_and_a_checkpoint_costs_the_change)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 1 << 20);
	uint8_t k[8] = { 0 }, v[200] = { 0 };
	uint64_t size, writes;
	uint32_t i, round;

	for (i = 0; i < 40000; i++) {
		be32(k, i);
		ck_assert_int_eq(btree_put(t, k, sizeof(k), v, sizeof(v)), 0);
	}
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	for (i = 0; i < 39000; i++) {
		be32(k, i);
		ck_assert_int_eq(btree_del(t, k, sizeof(k)), 0);
	}
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	size = btree_file_bytes(t);
	for (round = 0; round < 500; round++) {
		be32(k, 39000 + round);
		v[0] = (uint8_t)round;
		ck_assert_int_eq(btree_put(t, k, sizeof(k), v, sizeof(v)), 0);
		writes = os_mem_calls(os, OS_MEM_PWRITE);
		ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
		/* A path of the tree, a page or two of the free list, a head.
		 */
		ck_assert_uint_le(os_mem_calls(os, OS_MEM_PWRITE) - writes, 8);
		if (round % 100 == 0) {
			btree_close(t);
			t = open_tree(os, 1 << 20);
		}
	}
	for (i = 0; i < 37000; i++) {
		be32(k, i);
		ck_assert_int_eq(btree_put(t, k, sizeof(k), v, sizeof(v)), 0);
	}
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	ck_assert_uint_le(btree_file_bytes(t), size + 4 * PAGE);
	ck_assert_int_eq(btree_verify(t, &size, &writes), 0);
	ck_assert_uint_eq(writes, 0);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

/* Pages that came and went between two checkpoints lie behind the file's end.
 */
START_TEST(a_tree_that_shrank_before_its_checkpoint_opens_again)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	unsigned i;

	ck_assert_int_eq(change(t, 1000, 0), 0);
	for (i = 0; i < KEYS; i++)
		ck_assert_int_eq(del(t, i), 0);
	ck_assert_int_eq(btree_checkpoint(t, "u", 1), 0);
	btree_close(t);
	t = open_tree(os, 0);
	expect(t, &now);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

/* ---- power and errors ---- */

/*
 * Changes and checkpoints; *acked is the last checkpoint that returned 0,
 * *tried the last that was begun.
 */
static int
script(struct os *os, uint8_t *acked, uint8_t *tried)
{
	struct btree *t;
	uint8_t i;
	int error;

	*acked = *tried = 0;
	memset(&now, 0, sizeof(now));
	seed = 42;
	if ((error = btree_open(os, PATH, 0, false, &t)) != 0)
		return (error);
	for (i = 1; i <= STATES && error == 0; i++) {
		/*
		 * It grows, shrinks so that pages join, and takes their places
		 * again at once.
		 */
		error = change(t, i == 1 ? 300 : i % 4 == 0 ? 2 : 30, 1);
		if (error == 0 && i > 4)
			error = change(t, 60, 9);
		if (error == 0 && i > 4)
			error = change(t, 30, 0);
		if (error != 0)
			break;
		*tried = i;
		state[i] = now;
		if ((error = btree_checkpoint(t, &i, 1)) == 0)
			*acked = i;
	}
	btree_close(t);
	return (error);
}

/* Exactly one of the two states, and the tree goes on from it. */
static void
expect_state(struct os *os, uint8_t acked, uint8_t tried)
{
	struct btree *t = open_tree(os, 0);
	const uint8_t *user;
	uint8_t at;
	size_t n;

	user = btree_user(t, &n);
	ck_assert_uint_le(n, 1);
	at = n == 0 ? 0 : user[0];
	ck_assert(at == acked || at == tried);
	expect(t, &state[at]);
	now = state[at];
	ck_assert_int_eq(change(t, 60, 5), 0);
	ck_assert_int_eq(btree_checkpoint(t, "z", 1), 0);
	btree_close(t);
	t = open_tree(os, 0);
	expect(t, &now);
	btree_close(t);
}

START_TEST(power_loss_at_every_operation_leaves_one_checkpoint_or_the_next)
{
	struct os *os = new_os();
	uint8_t acked, tried;
	uint64_t ops, at;
	int loss;

	ck_assert_int_eq(script(os, &acked, &tried), 0);
	ops = os_mem_changes(os);
	os->ops->close_tree(os);
	for (at = 1; at <= ops; at++)
		for (loss = OS_MEM_LOSE_ALL; loss <= OS_MEM_LOSE_SOME; loss++) {
			os = new_os();
			os_mem_cut_at(os, at);
			ck_assert_int_ne(script(os, &acked, &tried), 0);
			ck_assert_int_eq(
			    os_mem_reboot(os, (enum os_mem_loss)loss, at), 0);
			expect_state(os, acked, tried);
			os->ops->close_tree(os);
		}
}
END_TEST

static bool
fail_once(enum os_mem_op op, uint64_t nth, int err)
{
	struct os *os = new_os(), *copy;
	uint8_t acked, tried;
	int error, loss;

	os_mem_fail(os, op, nth, err, false);
	error = script(os, &acked, &tried);
	if (os_mem_calls(os, op) < nth) {
		os->ops->close_tree(os);
		return (false);
	}
	ck_assert_int_eq(error, -err);
	os_mem_fail(os, op, 0, 0, false);
	for (loss = OS_MEM_LOSE_ALL; loss <= OS_MEM_LOSE_SOME; loss++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, (enum os_mem_loss)loss, nth, &copy),
		    0);
		expect_state(copy, acked, tried);
		copy->ops->close_tree(copy);
	}
	os->ops->close_tree(os);
	return (true);
}

START_TEST(an_error_at_every_operation_leaves_one_checkpoint_or_the_next)
{
	static const enum os_mem_op op[] = { OS_MEM_CREATE, OS_MEM_PWRITE,
		OS_MEM_SYNC, OS_MEM_RENAME, OS_MEM_TRUNCATE, OS_MEM_SYNC_DIR,
		OS_MEM_PREAD };
	static const int err[] = { EIO, ENOSPC };
	size_t i, e;
	uint64_t n;

	for (i = 0; i < sizeof(op) / sizeof(*op); i++)
		for (e = 0; e < 2; e++)
			for (n = 1; fail_once(op[i], n, err[e]); n++)
				;
}
END_TEST

START_TEST(a_failed_checkpoint_poisons_but_a_full_disk_does_not)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	int i;

	ck_assert_int_eq(change(t, 200, 2), 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	ck_assert_int_eq(change(t, 200, 2), 0);
	os_mem_capacity(os, os_mem_used(os) + PAGE);
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(btree_checkpoint(t, NULL, 0), -ENOSPC);
	ck_assert_int_eq(change(t, 50, 2), 0);
	os_mem_capacity(os, 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	expect(t, &now);
	ck_assert_int_eq(change(t, 50, 2), 0);
	os_mem_fail(os, OS_MEM_SYNC, 1, EIO, false);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), -EIO);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), -EIO);
	ck_assert_int_eq(btree_put(t, "k", 1, "v", 1), -EIO);
	ck_assert_int_eq(btree_del(t, "k", 1), -EIO);
	btree_close(t);
	os->ops->close_tree(os);
}
END_TEST

/* ---- damage ---- */

/* Two checkpoints, so that both heads are in use; returns the file's size. */
static uint64_t
small_tree(struct os *os)
{
	struct btree *t = open_tree(os, 0);
	struct os_stat st;
	unsigned i;

	for (i = 0; i < 50; i++)
		ck_assert_int_eq(put(t, i, i % 10 == 3 ? 600 : 1 + i), 0);
	state[1] = now;
	ck_assert_int_eq(btree_checkpoint(t, "\1", 1), 0);
	for (i = 20; i < 40; i++)
		ck_assert_int_eq(del(t, i), 0);
	ck_assert_int_eq(put(t, 44, 999), 0);
	state[2] = now;
	ck_assert_int_eq(btree_checkpoint(t, "\2", 1), 0);
	btree_close(t);
	ck_assert_int_eq(os->ops->stat(os, PATH, &st), 0);
	return (st.size);
}

/*
 * Reads all and writes some; anything but a crash or an endless loop.  0: it
 * was whole, and reads as `m`.
 */
static int
try_tree(struct os *os, bool compare)
{
	struct btree_cursor c;
	struct btree *t;
	const uint8_t *user;
	uint64_t pages, bad;
	uint8_t at = 0;
	size_t n, count = 0;
	int error, first;

	if ((error = btree_open(os, PATH, 0, false, &t)) != 0)
		return (error);
	user = btree_user(t, &n);
	if (n > 0)
		at = user[0];
	first = btree_verify(t, &pages, &bad);
	if (first == 0 && bad > 0)
		first = -EBADMSG;
	for (error = btree_seek(t, "", 0, &c); error == 0 && c.key != NULL;
	     error = btree_next(&c))
		ck_assert_uint_lt(count++, 100000);
	if (compare && first == 0) {
		ck_assert(at == 1 || at == 2);
		ck_assert_int_eq(error, 0);
		expect(t, &state[at]);
		now = state[at];
	}
	if (first == 0)
		first = error;
	for (n = 0; n < 60; n++) {
		uint8_t k[BTREE_KEY_MAX];
		size_t klen = key_of(rnd() % KEYS, k);

		(void)(n % 2 == 0 ? btree_put(t, k, klen, k, klen)
				  : btree_del(t, k, klen));
		(void)btree_last_below(t, k, klen, &c);
	}
	(void)btree_checkpoint(t, NULL, 0);
	btree_close(t);
	return (first);
}

START_TEST(every_flipped_byte_is_seen_or_does_not_matter)
{
	struct os *os = new_os(), *copy;
	uint64_t size = small_tree(os), at, seen = 0, pages, bad;
	struct btree *t = open_tree(os, 0);

	ck_assert_int_eq(btree_verify(t, &pages, &bad), 0);
	btree_close(t);

	for (at = 0; at < size; at++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		ck_assert_int_eq(
		    os_mem_flip(copy, PATH, at, (uint8_t)(1u << (at % 8))), 0);
		seen += try_tree(copy, true) != 0;
		copy->ops->close_tree(copy);
	}
	/* The rest are the heads and what only the checkpoint before reaches.
	 */
	ck_assert_uint_eq(seen, pages * PAGE);
	os->ops->close_tree(os);
}
END_TEST

START_TEST(every_shorter_file_is_seen)
{
	struct os *os = new_os(), *copy;
	uint64_t size = small_tree(os), at;

	for (at = 0; at < size;
	     at += at % PAGE < 600 || at % PAGE > 3500 ? 7 : 101) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		ck_assert_int_eq(os_mem_cut_file(copy, PATH, at), 0);
		ck_assert_int_eq(try_tree(copy, true), -EBADMSG);
		copy->ops->close_tree(copy);
	}
	os->ops->close_tree(os);
}
END_TEST

static void
seal(uint8_t *p, uint32_t no)
{
	uint64_t h = no < 2 ? xxh3_64(p, PAGE - 8) : xxh3_64(p + 8, PAGE - 8);
	int i;

	for (i = 0; i < 8; i++)
		p[(no < 2 ? PAGE - 8 : 0) + (uint32_t)i] =
		    (uint8_t)(h >> (8 * i));
}

/*
 * Bytes that lie under a right checksum: wherever it counts most, slots and
 * headers.
 */
START_TEST(forged_pages_neither_crash_nor_loop)
{
	struct os *os = new_os(), *copy;
	uint64_t size = small_tree(os);
	uint8_t *all = malloc(size), *p;
	struct os_file *f;
	unsigned round, k;
	uint32_t no;

	ck_assert_ptr_nonnull(all);
	for (round = 0; round < 6000; round++) {
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
		ck_assert_int_eq(copy->ops->open(copy, PATH, OS_WRITE, &f), 0);
		ck_assert_int_eq(
		    copy->ops->pread(f, all, size, 0), (ssize_t)size);
		seed = round;
		for (k = 1 + rnd() % 3; k > 0; k--) {
			no = rnd() % (uint32_t)(size / PAGE);
			p = all + (size_t)no * PAGE;
			p[rnd() % 3 == 0 ? rnd() % PAGE : 12 + rnd() % 60] =
			    (uint8_t)(rnd() % 4 == 0 ? rnd() : rnd() % 12);
			seal(p, no);
		}
		ck_assert_int_eq(copy->ops->pwrite(f, all, size, 0), 0);
		copy->ops->close(f);
		(void)try_tree(copy, false);
		copy->ops->close_tree(copy);
	}
	free(all);
	os->ops->close_tree(os);
}
END_TEST

/*
 * What a tree says of which the only page has n entries, each with a value of
 * vlen bytes, which begin `apart` bytes from each other.
 */
static int
try_forged_leaf(unsigned n, unsigned vlen, unsigned apart)
{
	struct os *os = new_os();
	struct btree *t = open_tree(os, 0);
	uint8_t all[4 * PAGE], *p;
	struct os_file *f;
	uint32_t root;
	unsigned i, at;
	int error;

	ck_assert_int_eq(btree_put(t, "k", 1, "v", 1), 0);
	ck_assert_int_eq(btree_checkpoint(t, NULL, 0), 0);
	btree_close(t);
	ck_assert_int_eq(os->ops->open(os, PATH, OS_WRITE, &f), 0);
	ck_assert_int_gt(os->ops->pread(f, all, sizeof(all), 0), 2 * (int)PAGE);
	root = all[16]; /* of generation 2, in page 0 */
	ck_assert(root == 2 || root == 3);
	p = all + root * PAGE;
	for (i = 0; i < n; i++) {
		at = 2048 + apart * i;
		p[24 + 2 * i] = (uint8_t)at;
		p[25 + 2 * i] = (uint8_t)(at >> 8);
		p[at] = 1;
		p[at + 1] = (uint8_t)vlen;
		p[at + 2] = (uint8_t)(vlen >> 8);
		p[at + 3] = (uint8_t)i;
	}
	p[14] = (uint8_t)n;
	p[16] = 0;
	p[17] = 2048 >> 8;
	seal(p, root);
	ck_assert_int_eq(os->ops->pwrite(f, p, PAGE, (uint64_t)root * PAGE), 0);
	os->ops->close(f);
	error = try_tree(os, false);
	os->ops->close_tree(os);
	return (error);
}

START_TEST(cells_that_overlap_are_refused)
{
	/* Each lies in the page, all together do not. */
	ck_assert_int_eq(try_forged_leaf(50, 1000, 4), -EBADMSG);
	/* All together do, but what is put into one changes the next. */
	ck_assert_int_eq(try_forged_leaf(2, 200, 203), -EBADMSG);
	ck_assert_int_eq(try_forged_leaf(2, 200, 64), -EBADMSG);
	ck_assert_int_eq(try_forged_leaf(2, 200, 204), 0);
}
END_TEST

/* Room for cells that are moved is of that size. */
START_TEST(a_value_that_nobody_can_have_put_is_refused)
{
	ck_assert_int_eq(
	    try_forged_leaf(1, BTREE_VALUE_MAX + 1, 0), -EBADMSG);
	ck_assert_int_eq(try_forged_leaf(1, BTREE_VALUE_MAX, 0), 0);
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
	struct os *os = new_os();
	struct btree *t;
	struct os_file *f;
	uint8_t head[2 * PAGE];
	uint64_t size = small_tree(os);

	(void)size;
	ck_assert_int_eq(os->ops->open(os, PATH, OS_WRITE, &f), 0);
	ck_assert_int_eq(
	    os->ops->pread(f, head, sizeof(head), 0), (ssize_t)sizeof(head));
	head[7] = head[PAGE + 7] = 2;
	seal(head, 0);
	seal(head + PAGE, 1);
	ck_assert_int_eq(os->ops->pwrite(f, head, sizeof(head), 0), 0);
	os->ops->close(f);
	ck_assert_int_eq(btree_open(os, PATH, 0, false, &t), -EPROTONOSUPPORT);
	os->ops->close_tree(os);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store_btree");
	TCase *t = tcase_create("tree");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_tree_holds_what_a_plain_array_holds);
	tcase_add_test(t, the_longest_entries_split_pages_well);
	tcase_add_test(t, an_entry_as_small_as_can_be_is_read_again);
	tcase_add_test(t, ascending_keys_leave_full_pages);
	tcase_add_test(t, a_lent_value_may_be_put_again);
	tcase_add_test(t, a_cursor_tells_that_the_tree_has_changed);
	tcase_add_test(t, reading_only_changes_memory_only);
	tcase_add_test(
	    t, space_is_used_again_and_a_checkpoint_costs_the_change);
	tcase_add_test(t, a_tree_that_shrank_before_its_checkpoint_opens_again);
	tcase_add_test(
	    t, power_loss_at_every_operation_leaves_one_checkpoint_or_the_next);
	tcase_add_test(
	    t, an_error_at_every_operation_leaves_one_checkpoint_or_the_next);
	tcase_add_test(t, a_failed_checkpoint_poisons_but_a_full_disk_does_not);
	tcase_add_test(t, every_flipped_byte_is_seen_or_does_not_matter);
	tcase_add_test(t, every_shorter_file_is_seen);
	tcase_add_test(t, forged_pages_neither_crash_nor_loop);
	tcase_add_test(t, cells_that_overlap_are_refused);
	tcase_add_test(t, a_value_that_nobody_can_have_put_is_refused);
	tcase_add_test(t, a_newer_version_is_refused);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
