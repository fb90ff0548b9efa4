/*
 * store_history -- the name of a mailbox's history, and what compaction leaves
 * of the history.
 */
#include <errno.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "store/store.h"

#define RETENTION (30 * 86400)

static struct os *os;
static struct store *s;
static uint32_t box;

static void
reopen(void)
{
	ck_assert_int_eq(store_open(os, STORE_CREATE, NULL, &s), 0);
}

static void
setup(void)
{
	struct mailbox_new m = { .name = "INBOX" };
	struct txn *t;

	ck_assert_int_eq(os_mem_new(1, &os), 0);
	os_mem_set_time(os, 1700000000, 0);
	reopen();
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &m, &box), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

static void
teardown(void)
{
	(void)store_close(s);
	os->ops->close_tree(os);
}

static uint32_t
save_as(const char *guid, uint64_t modseq)
{
	struct msg m = { .guid = guid, .modseq = modseq };
	struct stream *in;
	struct txn *t;
	uint32_t uid;

	ck_assert_int_eq(stream_from_memory(guid, strlen(guid), &in), 0);
	ck_assert_int_eq(store_body_from_stream(s, in, &m.body, &m.vsize), 0);
	stream_close(in);
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_save(t, box, &m, &uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (uid);
}

static uint32_t
save(const char *guid)
{
	return (save_as(guid, 0));
}

static void
flag(uint32_t uid, uint8_t add, uint64_t modseq)
{
	struct msg_update u = { .add = add, .modseq = modseq };
	struct txn *t;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

static void
expunge(uint32_t uid)
{
	struct txn *t;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_expunge(t, box, uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

static struct mailbox
inbox(void)
{
	struct mailbox m;

	ck_assert_int_eq(store_mailbox(s, box, &m), 0);
	return (m);
}

struct name {
	uint8_t b[16];
};

static struct name
name_of(uint64_t modseq, uint32_t max_uid)
{
	struct name n;

	ck_assert_int_eq(store_history_name(s, box, modseq, max_uid, n.b), 0);
	return (n);
}

static struct name
name_at(uint64_t modseq)
{
	return (name_of(modseq, UINT32_MAX));
}

static struct name
name_now(void)
{
	return (name_at(inbox().highestmodseq));
}

static bool
same(struct name a, struct name b)
{
	return (memcmp(a.b, b.b, sizeof(a.b)) == 0);
}

START_TEST(a_name_stays_while_the_history_goes_on)
{
	struct name names[4];
	uint64_t at[4];

	at[0] = inbox().highestmodseq;
	names[0] = name_now();
	(void)save("a");
	at[1] = inbox().highestmodseq;
	names[1] = name_now();
	flag(1, MAIL_SEEN, 0);
	at[2] = inbox().highestmodseq;
	names[2] = name_now();
	expunge(1);
	at[3] = inbox().highestmodseq;
	names[3] = name_now();
	for (int i = 0; i < 4; i++) {
		ck_assert(same(names[i], name_at(at[i])));
		for (int k = 0; k < i; k++)
			ck_assert(!same(names[i], names[k]));
	}
	ck_assert_int_eq(store_close(s), 0);
	reopen();
	ck_assert_int_eq(store_rebuild(s), 0);
	for (int i = 0; i < 4; i++)
		ck_assert(same(names[i], name_at(at[i])));
}
END_TEST

START_TEST(the_same_number_of_another_history_has_another_name)
{
	struct name first;
	struct os *copy;
	uint64_t modseq;

	(void)save("a");
	(void)save("b");
	ck_assert_int_eq(os_mem_reboot_copy(os, OS_MEM_KEEP_ALL, 1, &copy), 0);
	if (_i == 0)
		flag(1, MAIL_SEEN, 0);
	else if (_i == 1)
		(void)save("c");
	else
		expunge(1);
	modseq = inbox().highestmodseq;
	first = name_now();
	teardown();
	os = copy;
	os_mem_set_time(os, 1700000000, 0);
	reopen();
	if (_i == 0)
		flag(1, MAIL_FLAGGED, 0);
	else if (_i == 1)
		(void)save("d");
	else
		expunge(2);
	ck_assert_uint_eq(inbox().highestmodseq, modseq);
	ck_assert(!same(first, name_now()));
}
END_TEST

START_TEST(a_name_is_found_behind_a_gap_of_modseqs)
{
	struct mailbox_update u = { .min_highestmodseq = 1000000 };
	struct name n;
	struct txn *t;

	(void)save("a");
	n = name_now();
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_update(t, box, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert(same(n, name_now()));
	flag(1, MAIL_SEEN, 5000000);
	ck_assert(!same(n, name_now()));
	ck_assert(same(n, name_at(4999999)));
}
END_TEST

START_TEST(a_name_is_not_changed_by_a_save_with_an_older_modseq)
{
	uint64_t modseq;
	struct name n;

	(void)save("a");
	flag(1, MAIL_SEEN, 0);
	modseq = inbox().highestmodseq;
	n = name_of(modseq, 1);
	ck_assert_uint_eq(save_as("b", modseq), 2);
	ck_assert(same(n, name_of(modseq, 1)));
	ck_assert(!same(n, name_of(modseq, 2)));
	ck_assert_uint_eq(save_as("c", modseq - 1), 3);
	ck_assert(same(n, name_of(modseq, 1)));
}
END_TEST

static void
compact(void)
{
	os_mem_advance(os, (uint64_t)(RETENTION + 60) * 1000);
	ck_assert_int_eq(store_compact(s, NULL), 0);
}

static int
on_event(void *arg, const struct event *e)
{
	unsigned *n = arg;

	(void)e;
	++*n;
	return (0);
}

START_TEST(compaction_keeps_what_happened_last)
{
	struct name n, gone;
	unsigned events = 0;
	uint64_t floor;

	(void)save("a");
	(void)save("b");
	flag(1, MAIL_SEEN, 0);
	n = name_now();
	compact();
	ck_assert(same(n, name_now()));
	/* As a name only: what the store knows begins behind it. */
	floor = inbox().history_floor;
	ck_assert_uint_eq(floor, inbox().highestmodseq);
	ck_assert_int_eq(store_events(s, box, floor, on_event, &events), 0);
	ck_assert_uint_eq(events, 0);
	ck_assert_int_eq(
	    store_events(s, box, floor - 1, on_event, &events), -ESTALE);
	ck_assert_int_eq(
	    store_history_name(s, box, floor - 1, UINT32_MAX, gone.b), -ENOENT);
	compact();
	ck_assert_uint_eq(inbox().history_floor, floor);
	ck_assert(same(n, name_now()));
	ck_assert_int_eq(store_rebuild(s), 0);
	ck_assert(same(n, name_now()));
	flag(2, MAIL_SEEN, 0);
	ck_assert(!same(n, name_now()));
	ck_assert(same(n, name_at(floor)));
	compact();
	ck_assert_uint_eq(inbox().history_floor, floor + 1);
}
END_TEST

START_TEST(nothing_is_forgotten_while_a_sync_goes_on)
{
	struct arena a = ARENA_INIT;
	const char *guid;
	unsigned events = 0;
	uint32_t to;

	(void)save("a");
	expunge(1);
	store_hold(s);
	compact();
	ck_assert_int_eq(store_expunged(s, box, 1, &a, &guid, &to), 0);
	ck_assert_str_eq(guid, "a");
	ck_assert_int_eq(store_events(s, box, 0, on_event, &events), 0);
	ck_assert_uint_ge(events, 1);
	arena_fini(&a);
	store_release(s);
	compact();
	ck_assert_int_eq(store_expunged(s, box, 1, &a, &guid, &to), -ENOENT);
	ck_assert_int_eq(store_events(s, box, 0, on_event, &events), -ESTALE);
	arena_fini(&a);
}
END_TEST

START_TEST(a_history_that_began_is_never_without_a_name)
{
	for (unsigned i = 0; i < 5; i++) {
		(void)save("a");
		if (i > 0)
			expunge(i);
		compact();
		(void)name_now();
	}
}
END_TEST

static int
on_expunged(void *arg, const struct expunged *e)
{
	unsigned *n = arg;

	(void)e;
	++*n;
	return (0);
}

/* It was expunged by a clock that was a month ahead. */
START_TEST(an_expunge_below_the_history_is_only_for_restore)
{
	struct arena a = ARENA_INIT;
	unsigned restorable = 0;
	const char *guid;
	uint32_t uid;

	(void)save("a");
	(void)save("b");
	os_mem_set_time(os, 1700000000 + RETENTION, 0);
	expunge(1);
	ck_assert_int_eq(store_expunged(s, box, 1, &a, &guid, &uid), 0);
	ck_assert_int_eq(store_gone_by_guid(s, box, "a", UINT32_MAX, &uid), 0);
	os_mem_set_time(os, 1700000000, 0);
	flag(2, MAIL_SEEN, 0);
	compact();
	ck_assert_uint_eq(inbox().history_floor, inbox().highestmodseq);
	ck_assert_int_eq(store_expunged(s, box, 1, &a, &guid, &uid), -ENOENT);
	ck_assert_int_eq(
	    store_gone_by_guid(s, box, "a", UINT32_MAX, &uid), -ENOENT);
	ck_assert_int_eq(
	    store_expunged_list(s, 0, on_expunged, &restorable), 0);
	ck_assert_uint_eq(restorable, 1);
	arena_fini(&a);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store_history");
	TCase *t = tcase_create("history");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_name_stays_while_the_history_goes_on);
	tcase_add_loop_test(
	    t, the_same_number_of_another_history_has_another_name, 0, 3);
	tcase_add_test(t, a_name_is_found_behind_a_gap_of_modseqs);
	tcase_add_test(t, a_name_is_not_changed_by_a_save_with_an_older_modseq);
	tcase_add_test(t, compaction_keeps_what_happened_last);
	tcase_add_test(t, nothing_is_forgotten_while_a_sync_goes_on);
	tcase_add_test(t, a_history_that_began_is_never_without_a_name);
	tcase_add_test(t, an_expunge_below_the_history_is_only_for_restore);
	suite_add_tcase(suite, t);
	return (run_suite(suite));
}
