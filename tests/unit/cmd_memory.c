/*
 * cmd_memory -- what is remembered of peers beside the log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd_internal.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"

static struct os *os;
static struct store *s;
static struct arena arena;

static void
setup(void)
{
	arena_init(&arena);
	ck_assert_int_eq(os_mem_new(1, &os), 0);
	os_mem_set_time(os, 1700000000, 0);
	ck_assert_int_eq(store_open(os, STORE_CREATE, NULL, &s), 0);
}

static void
teardown(void)
{
	arena_fini(&arena);
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
}

static struct guid
peer(uint8_t n)
{
	struct guid g = { { n, 1 } };

	return (g);
}

static void
set(uint8_t n, int64_t tried)
{
	struct peer_memory m = { .peer = peer(n),
		.label = "there",
		.success = 5,
		.begun = 6,
		.tried = tried,
		.status = 75,
		.error = "it was busy",
		.lsn = 99 };

	ck_assert_int_eq(memory_peer_set(s, &m), 0);
}

static int
get(uint8_t n, struct peer_memory *m)
{
	struct guid g = peer(n);

	return (memory_peer(s, &g, &arena, m));
}

/* As versions before wrote it: into the log. */
static void
set_setting(uint8_t n, int64_t tried)
{
	struct buf b = BUF_INIT;
	struct guid g = peer(n);
	char key[64], hex[GUID_HEX_LEN + 1];
	struct txn *t;

	buf_put_u8(&b, 1);
	buf_put_varint(&b, 1);
	buf_put_varint(&b, 2);
	buf_put_varint(&b, (uint64_t)tried);
	buf_put_varint(&b, 0);
	buf_put_varint(&b, 7);
	buf_put_bytes(&b, "old", 3);
	buf_put_bytes(&b, "", 0);
	(void)snprintf(key, sizeof(key), "peer:%s", guid_hex(&g, hex));
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_meta_set(t, key, b.data, b.len), 0);
	ck_assert_int_eq(txn_meta_set(t, "peers", g.b, sizeof(g.b)), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	buf_fini(&b);
}

START_TEST(a_peer_reads_back_as_it_was_noted)
{
	struct peer_memory m;

	ck_assert_int_eq(get(1, &m), -ENOENT);
	set(1, 8);
	set(1, 9);
	ck_assert_int_eq(get(1, &m), 0);
	ck_assert_str_eq(m.label, "there");
	ck_assert_str_eq(m.error, "it was busy");
	ck_assert_int_eq(m.success, 5);
	ck_assert_int_eq(m.begun, 6);
	ck_assert_int_eq(m.tried, 9);
	ck_assert_int_eq(m.status, 75);
	ck_assert_uint_eq(m.lsn, 99);
	ck_assert_int_eq(memory_peer_by_label(s, "there", &arena, &m), 0);
	ck_assert_int_eq(memory_peer_by_label(s, "else", &arena, &m), -ENOENT);
}
END_TEST

START_TEST(a_note_writes_no_log_and_waits_for_no_disk)
{
	uint64_t end = store_log_end(s), syncs;

	set(1, 8);
	syncs =
	    os_mem_calls(os, OS_MEM_SYNC) + os_mem_calls(os, OS_MEM_SYNC_DIR);
	set(1, 9);
	ck_assert_uint_eq(store_log_end(s), end);
	ck_assert_uint_eq(
	    os_mem_calls(os, OS_MEM_SYNC) + os_mem_calls(os, OS_MEM_SYNC_DIR),
	    syncs);
	ck_assert(!store_dirty(s));
}
END_TEST

START_TEST(settings_of_older_stores_are_read)
{
	struct peer_memory m;

	set_setting(3, 4);
	ck_assert_int_eq(get(3, &m), 0);
	ck_assert_str_eq(m.label, "old");
	ck_assert_uint_eq(m.lsn, 7);
	ck_assert_int_eq(memory_peer_by_label(s, "old", &arena, &m), 0);
	set(3, 8);
	ck_assert_int_eq(get(3, &m), 0);
	ck_assert_str_eq(m.label, "there");
}
END_TEST

static const char *
path_of(uint8_t n)
{
	static char path[64];
	struct guid g = peer(n);
	char hex[GUID_HEX_LEN + 1];

	(void)snprintf(path, sizeof(path), "peers/%s", guid_hex(&g, hex));
	return (path);
}

START_TEST(a_damaged_note_is_none)
{
	struct peer_memory m;
	struct os_stat st;

	set(1, 8);
	ck_assert_int_eq(os->ops->stat(os, path_of(1), &st), 0);
	for (uint64_t off = 0; off < st.size; off++) {
		ck_assert_int_eq(os_mem_flip(os, path_of(1), off, 4), 0);
		ck_assert_int_eq(get(1, &m), -ENOENT);
		ck_assert_int_eq(os_mem_flip(os, path_of(1), off, 4), 0);
	}
	ck_assert_int_eq(get(1, &m), 0);
	for (uint64_t n = 0; n < st.size; n++) {
		set(1, 8);
		ck_assert_int_eq(os_mem_cut_file(os, path_of(1), n), 0);
		ck_assert_int_eq(get(1, &m), -ENOENT);
	}
}
END_TEST

struct seen {
	uint8_t id[80];
	unsigned n;
};

static int
on_peer(void *arg, const struct peer_memory *m)
{
	struct seen *v = arg;

	v->id[v->n++] = m->peer.b[0];
	return (0);
}

START_TEST(peers_are_listed_the_last_first)
{
	struct seen v = { .n = 0 };

	set(1, 20);
	set(2, 30);
	set_setting(3, 25);
	ck_assert_int_eq(memory_peers(s, on_peer, &v), 0);
	ck_assert_uint_eq(v.n, 3);
	ck_assert_uint_eq(v.id[0], 2);
	ck_assert_uint_eq(v.id[1], 3);
	ck_assert_uint_eq(v.id[2], 1);
}
END_TEST

START_TEST(the_oldest_makes_room_for_a_new_one)
{
	struct seen v = { .n = 0 };
	struct peer_memory m;

	for (uint8_t n = 1; n <= 70; n++)
		set(n, n == 40 ? 1 : 100 + n);
	ck_assert_int_eq(memory_peers(s, on_peer, &v), 0);
	ck_assert_uint_eq(v.n, 64);
	ck_assert_int_eq(get(70, &m), 0);
	ck_assert_int_eq(get(40, &m), -ENOENT);
	ck_assert_int_eq(get(1, &m), -ENOENT);
}
END_TEST

static bool
took(uint64_t lsn)
{
	struct guid g = peer(7);
	bool any;

	ck_assert_int_eq(memory_took_away(s, &g, lsn, &any), 0);
	return (any);
}

/* One change of a mailbox by a user or, who 7, by a peer. */
static void
change(uint8_t who, uint32_t box, char what)
{
	struct guid g = peer(who);
	struct msg m = { .guid = NULL };
	struct msg_update u = { .add = MAIL_SEEN };
	struct stream *in;
	struct txn *t;

	if (what == 's') {
		ck_assert_int_eq(stream_from_memory("x", 1, &in), 0);
		ck_assert_int_eq(
		    store_body_from_stream(s, in, &m.body, &m.vsize), 0);
		stream_close(in);
	}
	ck_assert_int_eq(txn_begin(s, who == 0 ? NULL : &g, &t), 0);
	if (what == 's')
		ck_assert_int_eq(txn_save(t, box, &m, NULL), 0);
	else if (what == 'f')
		ck_assert_int_eq(txn_update(t, box, 1, &u), 0);
	else if (what == 'm')
		ck_assert_int_eq(txn_move(t, box, 1, box, NULL, NULL), 0);
	else if (what == 'e')
		ck_assert_int_eq(txn_expunge(t, box, 2), 0);
	else
		ck_assert_int_eq(txn_mailbox_delete(t, box, 5), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

static uint32_t
mailbox(void)
{
	struct mailbox_new m = { .name = "X" };
	struct txn *t;
	uint32_t box;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &m, &box), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (box);
}

START_TEST(what_a_sync_took_away_is_known)
{
	uint32_t box = mailbox();
	uint64_t lsn;

	lsn = store_log_end(s);
	change(7, box, 's');
	change(7, box, 'f');
	change(7, box, 'm');
	ck_assert(!took(lsn));
	change(0, box, 'e');
	ck_assert(!took(lsn));
	change(0, box, 's');
	change(_i == 0 ? 0 : 7, box, 'd');
	ck_assert_int_eq(took(lsn), _i == 1);
	ck_assert(!took(store_log_end(s)));
}
END_TEST

START_TEST(an_expunge_of_a_sync_is_known)
{
	uint32_t box = mailbox();
	uint64_t lsn;

	change(0, box, 's');
	change(0, box, 's');
	lsn = store_log_end(s);
	change(7, box, 'e');
	ck_assert(took(lsn));
}
END_TEST

#define PEER 7 /* who syncs */

/* A good sync with "there", when the log stood at that LSN. */
static void
synced(uint64_t lsn)
{
	struct peer_memory m = {
		.peer = peer(PEER), .label = "there", .error = "", .lsn = lsn
	};

	ck_assert_int_eq(memory_peer_set(s, &m), 0);
}

static uint64_t
waiting(struct cmd_waiting *k)
{
	ck_assert_int_eq(cmd_waiting(s, "there", k), 0);
	return (k->n);
}

/* What memory_waiting counts, from the last sync on each time. */
static uint64_t
counted_anew(void)
{
	struct peer_memory m;
	uint64_t n;
	int64_t oldest;

	ck_assert_int_eq(get(PEER, &m), 0);
	ck_assert_int_eq(memory_waiting(s, &m, &n, &oldest), 0);
	return (n);
}

START_TEST(all_waits_for_a_place_without_a_sync)
{
	struct cmd_waiting k = { .n = 0 }, here = { .n = 0 };
	uint32_t id = mailbox();
	uint64_t all;

	change(0, id, 's');
	ck_assert_int_eq(cmd_waiting(s, "there", &k), 0);
	all = k.n;
	ck_assert_uint_gt(all, 0);
	change(0, id, 's');
	ck_assert_uint_eq(waiting(&k), all + 1);
	synced(store_log_end(s));
	ck_assert_int_eq(cmd_waiting(s, "elsewhere", &here), 0);
	ck_assert_uint_eq(here.n, all + 1);
	ck_assert_uint_eq(waiting(&k), 0);
}
END_TEST

START_TEST(what_the_peer_did_itself_does_not_wait)
{
	struct cmd_waiting k = { .n = 0 };
	uint32_t box = mailbox();

	synced(store_log_end(s));
	change(PEER, box, 's');
	change(PEER, box, 'f');
	ck_assert_uint_eq(waiting(&k), 0);
	change(0, box, 's');
	change(PEER, box, 's');
	change(2, box, 's');
	ck_assert_uint_eq(waiting(&k), 2);
	ck_assert_uint_eq(counted_anew(), 2);
}
END_TEST

START_TEST(counting_goes_on_from_where_it_was)
{
	struct cmd_waiting k = { .n = 0 };
	uint32_t box = mailbox();
	uint64_t lsn = store_log_end(s);

	synced(lsn);
	for (uint64_t n = 1; n <= 5; n++) {
		change(0, box, 's');
		ck_assert_uint_eq(waiting(&k), n);
		ck_assert_uint_eq(waiting(&k), n);
		ck_assert_uint_eq(k.from, lsn);
		ck_assert_uint_eq(k.next, store_log_end(s));
		ck_assert_uint_eq(counted_anew(), n);
	}
	/* what lies before the cursor is not looked at */
	k.n = 100;
	change(0, box, 's');
	ck_assert_uint_eq(waiting(&k), 101);
}
END_TEST

START_TEST(a_good_sync_begins_the_count_again)
{
	struct cmd_waiting k = { .n = 0 };
	uint32_t box = mailbox();
	uint64_t first = store_log_end(s), second;

	synced(first);
	change(0, box, 's');
	second = store_log_end(s);
	change(0, box, 's');
	change(0, box, 's');
	ck_assert_uint_eq(waiting(&k), 3);
	synced(second);
	ck_assert_uint_eq(waiting(&k), 2);
	ck_assert_uint_eq(k.from, second);
	synced(store_log_end(s));
	ck_assert_uint_eq(waiting(&k), 0);
	change(0, box, 's');
	ck_assert_uint_eq(waiting(&k), 1);
	/* to before where it was, too */
	synced(first);
	ck_assert_uint_eq(waiting(&k), 4);
}
END_TEST

/* Without its power a log ends where it was last made durable. */
START_TEST(a_log_that_went_back_is_counted_again)
{
	struct cmd_waiting k = { .n = 0 };
	uint32_t box = mailbox();
	struct os *copy;
	uint64_t end;

	synced(store_log_end(s));
	change(0, box, 's');
	change(0, box, 's');
	end = store_log_end(s);
	ck_assert_int_eq(store_sync(s), 0);
	change(0, box, 's');
	change(0, box, 's');
	change(0, box, 's');
	ck_assert_uint_eq(waiting(&k), 5);
	ck_assert_int_eq(os_mem_reboot_copy(os, OS_MEM_LOSE_ALL, 1, &copy), 0);
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
	os = copy;
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	ck_assert_uint_le(store_log_end(s), end);
	synced(k.from);
	ck_assert_uint_eq(waiting(&k), 2);
	ck_assert_uint_eq(k.next, store_log_end(s));
	change(0, box, 's');
	ck_assert_uint_eq(waiting(&k), 3);
}
END_TEST

START_TEST(a_crash_leaves_a_note_or_none)
{
	struct peer_memory m;

	for (uint64_t n = 1; n < 8; n++) {
		struct os *copy;

		set(1, 8);
		os_mem_cut_at(os, os_mem_changes(os) + n);
		{
			struct peer_memory next = { .peer = peer(1),
				.label = "there",
				.error = "",
				.tried = 9 };

			(void)memory_peer_set(s, &next);
		}
		ck_assert_int_eq(
		    os_mem_reboot_copy(os, OS_MEM_LOSE_SOME, n, &copy), 0);
		(void)store_close(s);
		os->ops->close_tree(os);
		os = copy;
		ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
		if (get(1, &m) == 0)
			ck_assert(m.tried == 8 || m.tried == 9);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cmd_memory");
	TCase *t = tcase_create("memory");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_peer_reads_back_as_it_was_noted);
	tcase_add_test(t, a_note_writes_no_log_and_waits_for_no_disk);
	tcase_add_test(t, settings_of_older_stores_are_read);
	tcase_add_test(t, a_damaged_note_is_none);
	tcase_add_test(t, peers_are_listed_the_last_first);
	tcase_add_test(t, the_oldest_makes_room_for_a_new_one);
	tcase_add_loop_test(t, what_a_sync_took_away_is_known, 0, 2);
	tcase_add_test(t, an_expunge_of_a_sync_is_known);
	tcase_add_test(t, all_waits_for_a_place_without_a_sync);
	tcase_add_test(t, what_the_peer_did_itself_does_not_wait);
	tcase_add_test(t, counting_goes_on_from_where_it_was);
	tcase_add_test(t, a_good_sync_begins_the_count_again);
	tcase_add_test(t, a_log_that_went_back_is_counted_again);
	tcase_add_test(t, a_crash_leaves_a_note_or_none);
	suite_add_tcase(suite, t);
	return (run_suite(suite));
}
