/*
 * sync_cost -- what a sync costs grows with what changed, not with what is
 * there: counted in reads, writes, items and bytes of memory, never in time.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/store_make.h"
#include "lib/sync_help.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifdef UNDER_ASAN
/* of its runtime; gcc has no header for it */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

#define BOXES 20u
#define CHANGED_BOXES 10u

static struct side A, B;

/* Bytes of memory in use. */
static size_t
heap(void)
{
#ifdef UNDER_ASAN
	return (__sanitizer_get_current_allocated_bytes());
#else
	struct mallinfo2 m = mallinfo2();

	return (m.uordblks + m.hblkhd);
#endif
}

/* With few pages of the index in memory, so that rereading them shows. */
static void
open_side(struct side *d)
{
	struct store_settings set;

	store_settings_default(&set);
	set.cache_bytes = 64u << 10;
	ck_assert_int_eq(store_open(d->os, STORE_CREATE, &set, &d->s), 0);
	ck_assert_int_eq(
	    replica_native_new(d->s, d->label, true, NULL, &d->r), 0);
}

static void
new_side(struct side *d, const char *label, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->label = label;
	ck_assert_int_eq(os_mem_new(seed, &d->os), 0);
	os_mem_set_time(d->os, T0, 0);
	open_side(d);
}

static void
reopen(void)
{
	side_close(&A);
	side_close(&B);
	open_side(&A);
	open_side(&B);
}

static void
teardown(void)
{
	side_free(&A);
	side_free(&B);
}

static uint32_t
box(struct side *d, unsigned i)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "box%02u", i);
	return (box_id(d, name));
}

static void
fill(struct side *d, unsigned boxes, unsigned each)
{
	char guid[48], text[64];

	for (unsigned i = 0; i < boxes; i++) {
		(void)snprintf(text, sizeof(text), "box%02u", i);
		uint32_t id = make_mailbox(d->s, text);

		for (unsigned k = 0; k < each; k++) {
			(void)snprintf(guid, sizeof(guid),
			    "17000%05u.M%uP%u.test", k, k * 37 % 1000, i);
			(void)snprintf(text, sizeof(text),
			    "Subject: %u of %u\n\nbody\n", k, i);
			(void)make_msg(d->s, id, guid, text);
		}
	}
}

/* Ten changes in each of ten mailboxes. */
static void
change(struct side *d, unsigned each)
{
	char text[64];

	for (unsigned i = 0; i < CHANGED_BOXES; i++) {
		uint32_t id = box(d, i), first = each / 2;

		for (unsigned k = 0; k < 4; k++) {
			(void)snprintf(
			    text, sizeof(text), "Subject: %u in %u\n\n", k, i);
			(void)make_msg(d->s, id, NULL, text);
			make_flags(d->s, id, first + k, MAIL_FLAGGED, 0);
		}
		make_expunge(d->s, id, first + 4);
		make_expunge(d->s, id, first + 5);
	}
}

/* ---- a sync that is counted ---- */

struct cost {
	/* of both stores; logged: bytes of their logs */
	uint64_t reads, writes, syncs, logged;
	/* items by type, both ways */
	unsigned item[128];
	size_t memory; /* at most, above what there was at the beginning */
	/* when the first mail was sent */
	size_t planned;
	struct sync_result r;
};

static struct cost cost;
static size_t heap_before;
static struct channel_ops counting;
static int (*real_send)(struct channel *, struct item *);

static size_t
heap_more(void)
{
	size_t now = heap();

	return (now > heap_before ? now - heap_before : 0);
}

static int
counting_send(struct channel *c, struct item *i)
{
	cost.item[i->type & 127]++;
	if (i->type == ITEM_MAIL && cost.planned == 0)
		cost.planned = heap_more();
	return (real_send(c, i));
}

static uint64_t
calls(enum os_mem_op op)
{
	return (os_mem_calls(A.os, op) + os_mem_calls(B.os, op));
}

static void
run(void)
{
	const struct sync_options o = { .mode = SYNC_MIRROR };
	struct channel *ca, *cb;
	struct brain *m, *s;
	int rm = 0, rs = 0;

	ck_assert_int_eq(channel_memory_pair("A", "B", &ca, &cb), 0);
	counting = *ca->ops;
	real_send = counting.send;
	counting.send = counting_send;
	ca->ops = cb->ops = &counting;
	heap_before = heap();
	ck_assert_int_eq(brain_new_master(A.r, ca, &o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(B.r, cb, NULL, &s), 0);
	while (rm != BRAIN_DONE || rs != BRAIN_DONE) {
		ck_assert_int_ge(rm = brain_step(m), 0);
		ck_assert_int_ge(rs = brain_step(s), 0);
		if (heap_more() > cost.memory)
			cost.memory = heap_more();
	}
	brain_result(m, &cost.r);
	ck_assert(!cost.r.changes_during_sync && !cost.r.incomplete);
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
}

/* From closed stores to closed stores. */
static struct cost
sync_cost(void)
{
	uint64_t reads, writes, syncs,
	    logged = store_log_end(A.s) + store_log_end(B.s);

	side_close(&A);
	side_close(&B);
	memset(&cost, 0, sizeof(cost));
	reads = calls(OS_MEM_PREAD);
	writes = calls(OS_MEM_PWRITE);
	syncs = calls(OS_MEM_SYNC) + calls(OS_MEM_SYNC_DIR);
	open_side(&A);
	open_side(&B);
	run();
	cost.logged = store_log_end(A.s) + store_log_end(B.s) - logged;
	side_close(&A);
	side_close(&B);
	cost.reads = calls(OS_MEM_PREAD) - reads;
	cost.writes = calls(OS_MEM_PWRITE) - writes;
	cost.syncs = calls(OS_MEM_SYNC) + calls(OS_MEM_SYNC_DIR) - syncs;
	open_side(&A);
	open_side(&B);
	if (getenv("SYNC_VERBOSE") != NULL)
		fprintf(stderr,
		    "reads %llu writes %llu syncs %llu rows %u requests %u "
		    "mails %u "
		    "memory %zu planned %zu compared %llu\n",
		    (unsigned long long)cost.reads,
		    (unsigned long long)cost.writes,
		    (unsigned long long)cost.syncs, cost.item[ITEM_CHANGE],
		    cost.item[ITEM_REQUEST], cost.item[ITEM_MAIL], cost.memory,
		    cost.planned,
		    (unsigned long long)cost.r.counts.mailboxes_synced);
	return (cost);
}

static void
two_equal_sides(unsigned each)
{
	new_side(&A, "A", 1);
	new_side(&B, "B", 2);
	fill(&A, BOXES, each);
	(void)sync_cost();
	ck_assert_uint_eq(cost.item[ITEM_MAIL], BOXES * each);
}

static unsigned
large(void)
{
	return (getenv("TEST_SHORT") != NULL ? 100 : 500);
}

/* ---- the tests ---- */

START_TEST(a_sync_without_changes_reads_no_mailbox_and_writes_nothing)
{
	struct cost small, big;

	two_equal_sides(5);
	small = sync_cost();
	teardown();
	two_equal_sides(large());
	big = sync_cost();
	ck_assert_uint_eq(big.logged, 0);
	ck_assert_uint_eq(big.writes, 0);
	ck_assert_uint_eq(big.syncs, 0);
	ck_assert_uint_eq(big.item[ITEM_CHANGE], 0);
	ck_assert_uint_eq(big.item[ITEM_MAILBOX], 2 * BOXES);
	ck_assert_uint_eq(big.r.counts.mailboxes_unchanged, BOXES);
	/* The index is one or two levels deeper. */
	ck_assert_uint_le(big.reads, small.reads + 20);
	ck_assert_uint_le(big.memory, small.memory + 64 * 1024);
}
END_TEST

START_TEST(a_hundred_changes_cost_the_same_in_a_larger_store)
{
	struct cost small, big;

	two_equal_sides(50);
	change(&A, 50);
	small = sync_cost();
	assert_equal(&A, &B);
	teardown();
	two_equal_sides(large());
	change(&A, large());
	big = sync_cost();
	assert_equal(&A, &B);
	ck_assert_uint_eq(big.r.counts.mailboxes_synced, CHANGED_BOXES);
	for (int i = 0; i < 128; i++)
		ck_assert_uint_eq(big.item[i], small.item[i]);
	ck_assert_uint_eq(big.item[ITEM_MAIL], 40);
	ck_assert_uint_le(big.item[ITEM_CHANGE], 100 + 100);
	ck_assert_uint_le(big.reads, small.reads * 2);
	ck_assert_uint_le(big.writes, small.writes * 2);
	ck_assert_uint_le(big.memory, small.memory * 2);
}
END_TEST

/* Expunges and flags cost the two sides different numbers of modseqs. */
START_TEST(what_a_sync_did_itself_is_no_work_for_the_next)
{
	struct cost c;

	two_equal_sides(50);
	change(&A, 50);
	change(&B, 20);
	(void)sync_cost();
	assert_equal(&A, &B);
	c = sync_cost();
	ck_assert_uint_eq(c.r.counts.mailboxes_unchanged, BOXES);
	ck_assert_uint_eq(c.item[ITEM_CHANGE], 0);
	ck_assert_uint_eq(c.logged, 0);
	ck_assert_uint_eq(c.writes, 0);
}
END_TEST

/* What the plan of a first sync holds of each message. */
START_TEST(a_first_sync_holds_little_of_a_message)
{
	unsigned n[2] = { 1000, 5000 };
	size_t planned[2];

	for (int i = 0; i < 2; i++) {
		new_side(&A, "A", 1);
		new_side(&B, "B", 2);
		fill(&A, 1, n[i]);
		reopen();
		planned[i] = sync_cost().planned;
		ck_assert_uint_eq(cost.item[ITEM_MAIL], n[i]);
		if (i == 0)
			teardown();
	}
	ck_assert_uint_gt(planned[0], 0);
	ck_assert_uint_le(planned[1] - planned[0], (n[1] - n[0]) * 350);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_cost");
	TCase *t = tcase_create("cost");

	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(
	    t, a_sync_without_changes_reads_no_mailbox_and_writes_nothing);
	tcase_add_test(t, a_hundred_changes_cost_the_same_in_a_larger_store);
	tcase_add_test(t, what_a_sync_did_itself_is_no_work_for_the_next);
	tcase_add_test(t, a_first_sync_holds_little_of_a_message);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
