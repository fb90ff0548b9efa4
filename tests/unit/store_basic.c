/*
 * store_basic -- each member of a transaction does what store.h says, and a
 * store opened again is the same store.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_dump.h"
#include "tests/unit/lib/store_make.h"

static struct os *os;
static struct store *s;

static void
setup(void)
{
	make_quiet();
	ck_assert_int_eq(os_mem_new(1, &os), 0);
	os_mem_set_time(os, T0, 0);
	s = make_store(os);
}

static void
teardown(void)
{
	ck_assert_int_eq(store_close(s), 0);
	os->ops->close_tree(os);
}

static struct txn *
begin(void)
{
	struct txn *t;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	return (t);
}

/*
 * The same state after closing and opening, after the index is thrown away, and
 * after a compaction.
 */
static void
check_same(void)
{
	unsigned what = DUMP_BODIES | DUMP_HISTORY;
	char *before = store_dump(s, what | DUMP_PLACES), *after,
	     *plain = store_dump(s, what);
	struct verify_result r;

	ck_assert_ptr_null(strstr(before, "error"));
	s = make_reopen(os, s);
	after = store_dump(s, what | DUMP_PLACES);
	ck_assert_str_eq(before, after);
	free(after);
	ck_assert_int_eq(store_rebuild(s), 0);
	after = store_dump(s, what | DUMP_PLACES);
	ck_assert_str_eq(before, after);
	free(after);
	ck_assert_int_eq(store_verify(s, &r), 0);
	ck_assert_uint_eq(r.problems, 0);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	after = store_dump(s, what);
	ck_assert_str_eq(plain, after);
	free(after);
	ck_assert_int_eq(store_rebuild(s), 0);
	after = store_dump(s, what);
	ck_assert_str_eq(plain, after);
	free(after);
	s = make_reopen(os, s);
	after = store_dump(s, what);
	ck_assert_str_eq(plain, after);
	free(after);
	ck_assert_int_eq(store_verify(s, &r), 0);
	ck_assert_uint_eq(r.problems, 0);
	free(before);
	free(plain);
}

START_TEST(new_store_is_empty)
{
	struct mailbox m;
	struct store *other;

	ck_assert_int_eq(store_mailbox_by_name(s, "INBOX", &m), -ENOENT);
	ck_assert(!store_readonly(s));
	ck_assert(!store_damaged(s));
	ck_assert_int_eq(store_close(s), 0);
	ck_assert_int_eq(store_open(os, STORE_SIDECAR, NULL, &other), -EINVAL);
	ck_assert_int_eq(store_open(os, STORE_CREATE, NULL, &s), 0);
	check_same();
}
END_TEST

START_TEST(foreign_tree_is_refused)
{
	struct os *o;
	struct os_file *f;
	struct store *x;

	ck_assert_int_eq(os_mem_new(2, &o), 0);
	ck_assert_int_eq(store_open(o, 0, NULL, &x), -ENOENT);
	ck_assert_int_eq(
	    o->ops->open(o, "letters.txt", OS_WRITE | OS_CREATE, &f), 0);
	o->ops->close(f);
	ck_assert_int_eq(store_open(o, STORE_CREATE, NULL, &x), -EEXIST);
	ck_assert_ptr_nonnull(
	    strstr(make_said, "holds something that is not a dsyncfs store"));
	o->ops->close_tree(o);
}
END_TEST

START_TEST(second_owner_is_refused)
{
	struct store *x;

	ck_assert_int_eq(store_open(os, 0, NULL, &x), -EBUSY);
}
END_TEST

START_TEST(saved_message_is_found_every_way)
{
	uint32_t box = make_mailbox(s, "INBOX"), uid, where;
	struct arena a = ARENA_INIT;
	struct mailbox mb;
	struct msg m;
	char *text;

	uid = make_msg(s, box, "0123456789abcdef0123456789abcdef",
	    "Subject: a\n\nhello\n");
	ck_assert_uint_eq(uid, 1);
	ck_assert_int_eq(store_msg(s, box, 1, &a, &m), 0);
	ck_assert_str_eq(m.name, "0123456789abcdef0123456789abcdef");
	ck_assert_uint_eq(m.modseq, 2);
	ck_assert_uint_eq(m.body.size, 18);
	ck_assert_int_eq(m.received, T0);
	ck_assert_int_eq(store_msg_by_name(s, box, m.name, &a, &m), 0);
	ck_assert_int_eq(store_msg_by_guid(s, box, m.guid, &a, &m), 0);
	ck_assert_int_eq(store_find_guid(s, m.guid, &a, &where, &m), 0);
	ck_assert_uint_eq(where, box);
	ck_assert_int_eq(store_msg(s, box, 2, &a, &m), -ENOENT);
	ck_assert_int_eq(store_mailbox(s, box, &mb), 0);
	ck_assert_uint_eq(mb.messages, 1);
	ck_assert_uint_eq(mb.unseen, 1);
	ck_assert_uint_eq(mb.new_messages, 1);
	ck_assert_uint_eq(mb.uidnext, 2);
	ck_assert_uint_eq(mb.highestmodseq, 2);
	text = make_text(s, &m.body);
	ck_assert_str_eq(text, "Subject: a\n\nhello\n");
	free(text);
	arena_fini(&a);
	check_same();
}
END_TEST

START_TEST(names_follow_from_guids)
{
	uint32_t box = make_mailbox(s, "INBOX");
	struct arena a = ARENA_INIT;
	struct msg m;
	char longer[400];

	memset(longer, 'x', 300);
	longer[300] = '\0';
	make_msg(s, box, ".a/b:c", "one");
	make_msg(s, box, ".a/b:c", "one");
	make_msg(s, box, longer, "two");
	ck_assert_int_eq(store_msg(s, box, 1, &a, &m), 0);
	ck_assert_str_eq(m.name, "%2ea%2fb%3ac");
	ck_assert_str_eq(m.guid, ".a/b:c");
	ck_assert_int_eq(store_msg(s, box, 2, &a, &m), 0);
	ck_assert_str_eq(m.name, "%2ea%2fb%3ac.2");
	ck_assert_int_eq(store_msg(s, box, 3, &a, &m), 0);
	ck_assert_uint_eq(strlen(m.name), 33);
	ck_assert_str_eq(m.guid, longer);
	arena_fini(&a);
	check_same();
}
END_TEST

START_TEST(content_is_fixed_per_guid)
{
	uint32_t box = make_mailbox(s, "INBOX"), uid;
	struct msg m = { .guid = "g" };
	struct txn *t;

	uid = make_msg(s, box, "g", "one");
	m.body = make_body(s, "two");
	t = begin();
	ck_assert_int_eq(txn_save(t, box, &m, NULL), -EEXIST);
	ck_assert_int_eq(txn_save(t, box, &m, NULL), -EEXIST);
	ck_assert_int_eq(txn_commit(t), -EEXIST);
	make_expunge(s, box, uid);
	t = begin();
	ck_assert_int_eq(txn_save(t, box, &m, NULL), -EEXIST);
	txn_abort(t);
	make_msg(s, box, "g", "one");
	check_same();
}
END_TEST

START_TEST(flags_and_keywords_change_by_bits)
{
	uint32_t box = make_mailbox(s, "INBOX"),
		 uid = make_msg(s, box, NULL, "x");
	const char *kw1[] = { "$Forwarded", "work" },
		   *kw2[] = { "$Forwarded", "home" };
	struct msg_update u = { .add = MAIL_SEEN | MAIL_FLAGGED,
		.kw_add = { kw1, 2 } };
	struct arena a = ARENA_INIT;
	struct mailbox mb;
	struct msg m;
	struct txn *t = begin();

	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_msg(s, box, uid, &a, &m), 0);
	ck_assert_uint_eq(m.flags, MAIL_SEEN | MAIL_FLAGGED);
	ck_assert_uint_eq(m.modseq, 3);
	ck_assert_uint_eq(m.keywords.n, 2);
	u = (struct msg_update){ .remove = MAIL_SEEN | MAIL_DRAFT,
		.kw_remove = { kw1, 1 },
		.kw_add = { kw2, 2 } };
	t = begin();
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_msg(s, box, uid, &a, &m), 0);
	ck_assert_uint_eq(m.flags, MAIL_FLAGGED);
	ck_assert_uint_eq(m.modseq, 4);
	ck_assert_uint_eq(m.keywords.n, 2);
	ck_assert_str_eq(m.keywords.name[0], "home");
	ck_assert_str_eq(m.keywords.name[1], "work");
	/* Raised by a peer, silently. */
	u = (struct msg_update){ .modseq = 50 };
	t = begin();
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_msg(s, box, uid, &a, &m), 0);
	ck_assert_uint_eq(m.modseq, 50);
	ck_assert_int_eq(store_mailbox(s, box, &mb), 0);
	ck_assert_uint_eq(mb.highestmodseq, 50);
	ck_assert_uint_eq(mb.unseen, 1);
	arena_fini(&a);
	check_same();
}
END_TEST

START_TEST(local_state_is_silent)
{
	uint32_t box = make_mailbox(s, "INBOX"),
		 uid = make_msg(s, box, "guid", "x"),
		 other = make_msg(s, box, "other", "y");
	struct msg_update u = { .silent = true,
		.set_state = true,
		.name = "12.host",
		.letters = "XZ",
		.set_mtime = true,
		.mtime = 5,
		.mtime_nsec = 6,
		.set_received = true,
		.received = 7,
		.pop3_uidl = "u1",
		.pop3_order = 3 };
	struct arena a = ARENA_INIT;
	struct mailbox mb;
	struct msg m;
	struct txn *t = begin();

	(void)other;
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_msg(s, box, uid, &a, &m), 0);
	ck_assert_str_eq(m.name, "12.host");
	ck_assert_uint_eq(m.state, MSG_NAMED);
	ck_assert_uint_eq(m.modseq, 2);
	ck_assert_int_eq(m.mtime, 5);
	ck_assert_int_eq(m.received, 7);
	ck_assert_str_eq(m.letters, "XZ");
	ck_assert_str_eq(m.pop3_uidl, "u1");
	ck_assert_int_eq(store_msg_by_name(s, box, "guid", &a, &m), -ENOENT);
	ck_assert_int_eq(store_mailbox(s, box, &mb), 0);
	ck_assert_uint_eq(mb.new_messages, 1);
	ck_assert_uint_eq(mb.first_recent_uid, 2);
	t = begin();
	u = (struct msg_update){ .silent = true, .name = "other" };
	ck_assert_int_eq(txn_update(t, box, uid, &u), -EEXIST);
	txn_abort(t);
	arena_fini(&a);
	check_same();
}
END_TEST

START_TEST(move_is_one_frame)
{
	uint32_t a_box = make_mailbox(s, "INBOX"),
		 b_box = make_mailbox(s, "Archive"), uid, to;
	struct arena a = ARENA_INIT;
	struct msg before, after;
	struct txn *t;

	uid = make_msg(s, a_box, NULL, "move me");
	make_flags(s, a_box, uid, MAIL_SEEN, 0);
	ck_assert_int_eq(store_msg(s, a_box, uid, &a, &before), 0);
	t = begin();
	ck_assert_int_eq(txn_move(t, a_box, uid, b_box, NULL, &to), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_msg(s, a_box, uid, &a, &after), -ENOENT);
	ck_assert_int_eq(store_msg(s, b_box, to, &a, &after), 0);
	ck_assert_str_eq(before.guid, after.guid);
	ck_assert_str_eq(before.name, after.name);
	ck_assert_uint_eq(before.ino, after.ino);
	ck_assert_uint_eq(after.flags, MAIL_SEEN);
	/* To another UID of the same mailbox. */
	t = begin();
	ck_assert_int_eq(txn_move(t, b_box, to, b_box, NULL, &to), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_uint_eq(to, 2);
	ck_assert_int_eq(store_msg(s, b_box, to, &a, &after), 0);
	ck_assert_str_eq(before.name, after.name);
	arena_fini(&a);
	check_same();
}
END_TEST

static int
count_expunged(void *arg, const struct expunged *e)
{
	unsigned *n = arg;

	(*n)++;
	ck_assert_ptr_nonnull(e->msg.guid);
	return (0);
}

START_TEST(expunged_can_be_taken_back)
{
	uint32_t box = make_mailbox(s, "INBOX"), dead = make_mailbox(s, "Dead"),
		 uid;
	struct arena a = ARENA_INIT;
	const char *guid;
	unsigned n = 0;
	uint32_t to = 9;
	struct msg m;
	struct txn *t;

	uid = make_msg(s, box, "aaa", "keep me");
	make_msg(s, dead, "bbb", "me too");
	make_expunge(s, box, uid);
	ck_assert_int_eq(store_expunged(s, box, uid, &a, &guid, &to), 0);
	ck_assert_str_eq(guid, "aaa");
	ck_assert_uint_eq(to, 0);
	t = begin();
	ck_assert_int_eq(txn_expunge(t, box, uid), -ENOENT);
	txn_abort(t);
	t = begin();
	ck_assert_int_eq(txn_mailbox_delete(t, dead, 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_find_guid(s, "bbb", &a, NULL, &m), -ENOENT);
	ck_assert_int_eq(store_expunged_list(s, 0, count_expunged, &n), 0);
	ck_assert_uint_eq(n, 2);
	arena_fini(&a);
	check_same();
	os_mem_advance(os, 31ull * 86400 * 1000);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	n = 0;
	ck_assert_int_eq(store_expunged_list(s, 0, count_expunged, &n), 0);
	ck_assert_uint_eq(n, 0);
	check_same();
}
END_TEST

static int
note_moved(void *arg, const struct event *e)
{
	uint32_t *to = arg;

	if (e->type == EVENT_EXPUNGE)
		*to = e->moved_to;
	return (0);
}

START_TEST(a_move_within_a_mailbox_is_known_as_one)
{
	uint32_t box = make_mailbox(s, "INBOX"), other = make_mailbox(s, "B"),
		 uid, to = 0, uid2;
	struct msg as = { .uid = 7, .guid = "aaa" };
	struct arena a = ARENA_INIT;
	const char *guid;
	unsigned n = 0;
	struct msg m;
	struct txn *t;

	uid = make_msg(s, box, "aaa", "moved");
	t = begin();
	ck_assert_int_eq(txn_move(t, box, uid, box, &as, &uid2), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_uint_eq(uid2, 7);
	ck_assert_int_eq(store_events(s, box, 0, note_moved, &to), 0);
	ck_assert_uint_eq(to, 7);
	check_same();
	ck_assert_int_eq(store_compact(s, NULL), 0);
	check_same();
	to = 0;
	ck_assert_int_eq(store_expunged(s, box, uid, &a, &guid, &to), 0);
	ck_assert_uint_eq(to, 7);
	/* It is there, so it cannot be taken back. */
	ck_assert_int_eq(store_expunged_list(s, box, count_expunged, &n), 0);
	ck_assert_uint_eq(n, 0);
	/* To another mailbox it leaves this one. */
	t = begin();
	ck_assert_int_eq(txn_move(t, box, 7, other, NULL, NULL), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_expunged(s, box, 7, &a, &guid, &to), 0);
	ck_assert_uint_eq(to, 0);
	/* Its UID over there, which it never had here. */
	t = begin();
	ck_assert_int_eq(txn_expunged_as(t, box, 7, 12), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_expunged(s, box, 12, &a, &guid, &to), 0);
	ck_assert_str_eq(guid, "aaa");
	ck_assert_int_eq(store_msg(s, box, 12, &a, &m), -ENOENT);
	t = begin();
	ck_assert_int_eq(txn_expunged_as(t, box, 99, 100), -ENOENT);
	txn_abort(t);
	check_same();
	arena_fini(&a);
}
END_TEST

static int
count_deletions(void *arg, const struct deletion *d)
{
	unsigned *n = arg;

	n[d->kind]++;
	return (0);
}

START_TEST(tree_changes)
{
	uint32_t a_box = make_mailbox(s, "A"), ab = make_mailbox(s, "A/B"), id;
	struct mailbox_new dir = { .name = "D", .directory = true },
			   bad = { .name = "../x" }, again = { .name = "D" };
	struct mailbox mb;
	struct deletion d = { .kind = DELETED_MAILBOX,
		.guid = { { 9 } },
		.name = "far",
		.time = 44 };
	unsigned n[3] = { 0, 0, 0 };
	struct txn *t = begin();

	ck_assert_int_eq(txn_mailbox_rename(t, a_box, "Z", 0), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &dir, &id), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &again, &ab), 0);
	ck_assert_uint_eq(id, ab);
	ck_assert_int_eq(txn_subscribe(t, "Z/B", true, 0), 0);
	ck_assert_int_eq(txn_subscribe(t, "Only", true, 77), 0);
	ck_assert_int_eq(txn_note_deletion(t, &d), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_mailbox_by_name(s, "A", &mb), -ENOENT);
	ck_assert_int_eq(store_mailbox_by_name(s, "Z", &mb), 0);
	ck_assert_int_eq(mb.renamed, T0);
	ck_assert_int_eq(store_mailbox_by_name(s, "Z/B", &mb), 0);
	ck_assert(mb.subscribed);
	ck_assert_int_eq(mb.renamed, 0);
	ck_assert_int_eq(store_mailbox_by_name(s, "Only", &mb), 0);
	ck_assert(!mb.exists && mb.subscribed && mb.subscription_changed == 77);
	t = begin();
	ck_assert_int_eq(txn_mailbox_create(t, &bad, NULL), -EINVAL);
	txn_abort(t);
	t = begin();
	ck_assert_int_eq(txn_mailbox_rename(t, a_box, "Z/B/C", 0), -EINVAL);
	txn_abort(t);
	t = begin();
	ck_assert_int_eq(txn_mailbox_rename(t, a_box, "D", 0), -EEXIST);
	txn_abort(t);
	t = begin();
	ck_assert_int_eq(txn_mailbox_delete(t, a_box, 0), 0);
	ck_assert_int_eq(txn_subscribe(t, "Only", false, 0), 0);
	ck_assert_int_eq(txn_mailbox_delete(t, id, 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_mailbox_by_name(s, "Z/B", &mb), 0);
	ck_assert_int_eq(store_deletions(s, count_deletions, n), 0);
	ck_assert_uint_eq(n[DELETED_MAILBOX], 3);
	ck_assert_uint_eq(n[DELETED_DIR], 1);
	ck_assert_uint_eq(n[DELETED_SUBSCRIPTION], 1);
	check_same();
}
END_TEST

/* A peer's times are kept; what it does not know is not now. */
START_TEST(times_of_others_stay_and_unknown_ones_stay_unknown)
{
	struct mailbox_new n = { .name = "A", .time = 77 };
	struct txn *t = begin();
	struct mailbox m;
	uint32_t a, d;

	ck_assert_int_eq(txn_mailbox_create(t, &n, &a), 0);
	n.name = "D";
	n.directory = true;
	n.time = TIME_UNKNOWN;
	ck_assert_int_eq(txn_mailbox_create(t, &n, &d), 0);
	ck_assert_int_eq(txn_subscribe(t, "A", true, TIME_UNKNOWN), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	check_same();
	ck_assert_int_eq(store_mailbox(s, a, &m), 0);
	ck_assert_int_eq(m.renamed, 77);
	ck_assert(m.subscribed);
	ck_assert_int_eq(m.subscription_changed, 0);
	ck_assert_int_eq(store_mailbox(s, d, &m), 0);
	ck_assert_int_eq(m.renamed, 0);

	t = begin();
	ck_assert_int_eq(txn_mailbox_rename(t, a, "B", TIME_UNKNOWN), 0);
	ck_assert_int_eq(txn_mailbox_rename(t, d, "E", 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_mailbox(s, a, &m), 0);
	ck_assert_int_eq(m.renamed, 0);
	ck_assert_int_eq(store_mailbox(s, d, &m), 0);
	ck_assert_int_eq(m.renamed, T0);
	check_same();
}
END_TEST

START_TEST(abort_puts_everything_back)
{
	uint32_t box = make_mailbox(s, "INBOX"),
		 uid = make_msg(s, box, "g1", "one"), id;
	const char *kw[] = { "later" };
	struct msg_update u = { .add = MAIL_SEEN, .kw_add = { kw, 1 } };
	struct mailbox_new nb = { .name = "New" };
	struct msg m = { .guid = "g2" };
	char *before, *after;
	struct txn *t;

	m.body = make_body(s, "two");
	before = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
	for (int subs = 0; subs < 2; subs++) {
		t = begin();
		ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
		ck_assert_int_eq(txn_mailbox_create(t, &nb, &id), 0);
		ck_assert_int_eq(txn_save(t, id, &m, NULL), 0);
		ck_assert_int_eq(txn_expunge(t, box, uid), 0);
		ck_assert_int_eq(txn_mailbox_rename(t, id, "Newer/Sub", 0), 0);
		ck_assert_int_eq(txn_mailbox_delete(t, box, 0), 0);
		ck_assert_int_eq(txn_meta_set(t, "scan", "abc", 3), 0);
		if (subs)
			ck_assert_int_eq(txn_subscribe(t, "New", true, 0), 0);
		txn_abort(t);
		after = store_dump(s, DUMP_BODIES | DUMP_HISTORY);
		ck_assert_str_eq(before, after);
		free(after);
	}
	free(before);
	check_same();
}
END_TEST

START_TEST(peers_and_settings_of_any_size)
{
	struct guid peer = { { 1 } }, key = { { 2 } };
	size_t sizes[] = { 1, 999, 1000, 1001, 5000, 2000, 300000 };
	struct arena a = ARENA_INIT;
	uint8_t *data = malloc(300000);
	const uint8_t *p;
	size_t n;
	struct txn *t;

	ck_assert_ptr_nonnull(data);
	for (size_t i = 0; i < 300000; i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t = begin();
		ck_assert_int_eq(
		    txn_peer_set(t, &peer, &key, data, sizes[i]), 0);
		ck_assert_int_eq(txn_meta_set(t, "scan", data, sizes[i]), 0);
		ck_assert_int_eq(txn_commit(t), 0);
		ck_assert_int_eq(store_peer(s, &peer, &key, &a, &p, &n), 0);
		ck_assert_uint_eq(n, sizes[i]);
		ck_assert_mem_eq(p, data, n);
		ck_assert_int_eq(store_meta(s, "scan", &a, &p, &n), 0);
		ck_assert_uint_eq(n, sizes[i]);
		ck_assert_mem_eq(p, data, n);
	}
	check_same();
	t = begin();
	ck_assert_int_eq(txn_peer_set(t, &peer, &key, NULL, 0), 0);
	ck_assert_int_eq(txn_meta_set(t, "scan", NULL, 0), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(store_peer(s, &peer, &key, &a, &p, &n), -ENOENT);
	ck_assert_int_eq(store_meta(s, "scan", &a, &p, &n), -ENOENT);
	arena_fini(&a);
	free(data);
	check_same();
}
END_TEST

START_TEST(equal_bodies_are_shared)
{
	uint32_t box = make_mailbox(s, "INBOX");
	struct body_ref a, b, c;
	char *text = malloc(3u << 20);
	uint64_t vsize = 0;

	a = make_body(s, "same\n");
	make_msg(s, box, NULL, "same\n");
	b = make_body(s, "same\n");
	ck_assert(a.pack == b.pack && a.offset == b.offset && a.size == b.size);
	c = make_body(s, "sane\n");
	ck_assert(c.offset != a.offset);
	ck_assert_ptr_nonnull(text);
	for (size_t i = 0; i < 3u << 20; i++)
		text[i] = (i % 60) == 59 ? '\n' : 'a';
	a = make_body_bytes(s, text, 3u << 20, &vsize);
	ck_assert_uint_eq(vsize, (3u << 20) + (3u << 20) / 60);
	b = make_body_bytes(s, text, 3u << 20, NULL);
	ck_assert(a.pack == b.pack && a.offset == b.offset && a.size == b.size);
	free(text);
}
END_TEST

START_TEST(large_and_incompressible_bodies_come_back)
{
	size_t n = 20u << 20;
	char *data = malloc(n), *got = malloc(n);
	struct body_ref ref;
	struct body *b;
	uint64_t x = 88172645463325252ull;

	ck_assert(data != NULL && got != NULL);
	for (size_t i = 0; i < n; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(data + i, &x, 8);
	}
	memset(data + (5u << 20), 'z', 5u << 20);
	ref = make_body_bytes(s, data, n, NULL);
	ck_assert_int_eq(body_open(s, &ref, &b), 0);
	ck_assert_int_eq(body_read(b, got, n, 0), (ssize_t)n);
	ck_assert_mem_eq(data, got, n);
	ck_assert_int_eq(body_read(b, got, 100, n - 50), 50);
	ck_assert_mem_eq(data + n - 50, got, 50);
	ck_assert_int_eq(body_read(b, got, 100, n), 0);
	ck_assert_int_eq(body_read(b, got, 300000, 131000), 300000);
	ck_assert_mem_eq(data + 131000, got, 300000);
	body_close(b);
	ref = make_body_bytes(s, "", 0, NULL);
	ck_assert_int_eq(body_open(s, &ref, &b), 0);
	ck_assert_int_eq(body_read(b, got, 10, 0), 0);
	body_close(b);
	free(data);
	free(got);
}
END_TEST

START_TEST(limits_are_refused)
{
	uint32_t box = make_mailbox(s, "INBOX"),
		 uid = make_msg(s, box, NULL, "x");
	struct msg m = { .body = make_body(s, "y") };
	char longer[600], names[600][8];
	const char *kw[600];
	struct msg_update u = { .kw_add = { kw, 600 } };
	struct txn *t;

	memset(longer, 'g', 599);
	longer[599] = '\0';
	m.guid = longer;
	t = begin();
	ck_assert_int_eq(txn_save(t, box, &m, NULL), -EINVAL);
	txn_abort(t);
	m.guid = NULL;
	m.uid = 1;
	t = begin();
	ck_assert_int_eq(txn_save(t, box, &m, NULL), -EINVAL);
	txn_abort(t);
	for (unsigned i = 0; i < 600; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "k%03u", i);
		kw[i] = names[i];
	}
	t = begin();
	ck_assert_int_eq(txn_update(t, box, uid, &u), -E2BIG);
	txn_abort(t);
	t = begin();
	ck_assert_int_eq(txn_keyword(t, box, longer, -1), -EINVAL);
	txn_abort(t);
	u.kw_add.n = 400;
	t = begin();
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	check_same();
}
END_TEST

static int
stop_event(void *arg, const struct event *e)
{
	uint64_t *last = arg;

	ck_assert_uint_ge(e->modseq, *last);
	*last = e->modseq;
	return (0);
}

START_TEST(events_follow_modseqs)
{
	uint32_t box = make_mailbox(s, "INBOX"),
		 uid = make_msg(s, box, NULL, "x");
	struct msg_update u = { .add = MAIL_SEEN, .modseq = 2 };
	uint64_t last = 0;
	struct mailbox mb;
	struct txn *t;

	/* An imported change may carry a modseq that an event has already. */
	t = begin();
	ck_assert_int_eq(txn_update(t, box, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	make_flags(s, box, uid, MAIL_FLAGGED, 0);
	make_expunge(s, box, uid);
	ck_assert_int_eq(store_events(s, box, 1, stop_event, &last), 0);
	ck_assert_uint_eq(last, 4);
	check_same();
	os_mem_advance(os, 31ull * 86400 * 1000);
	make_msg(s, box, NULL, "late");
	ck_assert_int_eq(store_compact(s, NULL), 0);
	ck_assert_int_eq(store_mailbox(s, box, &mb), 0);
	ck_assert_uint_eq(mb.history_floor, 4);
	ck_assert_int_eq(store_events(s, box, 3, stop_event, &last), -ESTALE);
	ck_assert_int_eq(store_events(s, box, 4, stop_event, &last), 0);
	ck_assert_uint_eq(last, 5);
	check_same();
}
END_TEST

static int
count_log(void *arg, const struct log_entry *e)
{
	unsigned *n = arg;

	(*n)++;
	ck_assert_ptr_nonnull(e->text);
	return (0);
}

START_TEST(log_is_readable_and_goes_on)
{
	uint32_t box = make_mailbox(s, "INBOX");
	uint64_t next = 0, again = 0;
	unsigned n = 0;

	make_msg(s, box, "a b\x1b[c", "x");
	ck_assert_int_eq(store_log(s, 0, count_log, &n, &next), 0);
	ck_assert_uint_eq(n, 2);
	make_flags(s, box, 1, MAIL_SEEN, 0);
	n = 0;
	ck_assert_int_eq(store_log(s, next, count_log, &n, &again), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	n = 0;
	ck_assert_int_eq(store_log(s, again, count_log, &n, &next), 0);
	ck_assert_uint_eq(n, 0);
	make_flags(s, box, 1, 0, MAIL_SEEN);
	ck_assert_int_eq(store_log(s, next, count_log, &n, &again), 0);
	ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(compaction_gives_space_back)
{
	uint32_t box = make_mailbox(s, "INBOX"), keep;
	struct compact_result r = { 0 };
	char *text = malloc(200001);
	uint64_t x = 1;

	ck_assert_ptr_nonnull(text);
	keep = make_msg(s, box, NULL, "kept");
	(void)keep;
	for (unsigned i = 0; i < 10; i++) {
		for (size_t k = 0; k < 200000; k++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			text[k] = (char)('!' + (x >> 33) % 90);
		}
		text[200000] = '\0';
		make_expunge(s, box, make_msg(s, box, NULL, text));
	}
	free(text);
	os_mem_advance(os, 31ull * 86400 * 1000);
	ck_assert_int_eq(store_compact(s, &r), 0);
	ck_assert_uint_eq(r.bodies_dropped, 10);
	ck_assert_uint_lt(r.bytes_after, 20000);
	ck_assert_uint_gt(r.bytes_before, 1000000);
	check_same();
}
END_TEST

static void
read_body(const struct body_ref *ref, const char *want)
{
	struct body *b;
	char got[64];

	ck_assert_int_eq(body_open(s, ref, &b), 0);
	ck_assert_int_eq(
	    body_read(b, got, sizeof(got), 0), (ssize_t)strlen(want));
	ck_assert_mem_eq(got, want, strlen(want));
	body_close(b);
}

START_TEST(a_pack_is_opened_once_for_many_bodies)
{
	uint32_t box = make_mailbox(s, "INBOX");
	struct body_ref ref[100];
	char text[64];
	uint64_t opens;

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "body %d\n", i);
		ref[i] = make_body(s, text);
		make_msg(s, box, NULL, text);
	}
	opens = os_mem_calls(os, OS_MEM_OPEN);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "body %d\n", i);
		read_body(&ref[i], text);
	}
	ck_assert_uint_le(os_mem_calls(os, OS_MEM_OPEN), opens + 1);
	/* half of them go, the others to another pack */
	for (uint32_t i = 0; i < 100; i += 2)
		make_expunge(s, box, i + 1);
	os_mem_advance(os, 31ull * 86400 * 1000);
	ck_assert_int_eq(store_compact(s, NULL), 0);
	for (int i = 1; i < 100; i += 2) {
		snprintf(text, sizeof(text), "body %d\n", i);
		read_body(&ref[i], text);
	}
	check_same();
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("store_basic");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, new_store_is_empty);
	tcase_add_test(tc, foreign_tree_is_refused);
	tcase_add_test(tc, second_owner_is_refused);
	tcase_add_test(tc, saved_message_is_found_every_way);
	tcase_add_test(tc, names_follow_from_guids);
	tcase_add_test(tc, content_is_fixed_per_guid);
	tcase_add_test(tc, flags_and_keywords_change_by_bits);
	tcase_add_test(tc, local_state_is_silent);
	tcase_add_test(tc, move_is_one_frame);
	tcase_add_test(tc, expunged_can_be_taken_back);
	tcase_add_test(tc, a_move_within_a_mailbox_is_known_as_one);
	tcase_add_test(tc, tree_changes);
	tcase_add_test(tc, times_of_others_stay_and_unknown_ones_stay_unknown);
	tcase_add_test(tc, abort_puts_everything_back);
	tcase_add_test(tc, peers_and_settings_of_any_size);
	tcase_add_test(tc, equal_bodies_are_shared);
	tcase_add_test(tc, large_and_incompressible_bodies_come_back);
	tcase_add_test(tc, limits_are_refused);
	tcase_add_test(tc, events_follow_modseqs);
	tcase_add_test(tc, log_is_readable_and_goes_on);
	tcase_add_test(tc, compaction_gives_space_back);
	tcase_add_test(tc, a_pack_is_opened_once_for_many_bodies);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
