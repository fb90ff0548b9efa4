/*
 * store_crash -- power loss and failing disks at every operation: what was
 * acknowledged is there, what was not is there wholly or not at all.
 *
 * The script runs once undisturbed; the store's text after each step is kept.
 * Then it runs again for each change that it makes to the disk, and the power
 * goes there.  After the reboot the store must read like one of the texts
 * between the last acknowledged step and the one that was cut off, must be free
 * of problems, give the same text after a rebuild, and take further changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_dump.h"
#include "tests/unit/lib/store_make.h"

#define WHAT (DUMP_BODIES | DUMP_HISTORY)
#define STEPS_MAX 64

struct run {
	struct os *os;
	struct store *s;
	size_t acked; /* steps that are known to be durable */
};

static char *text[STEPS_MAX]; /* after n steps */

static int
save(struct run *r, const char *mailbox, const char *guid, const char *body,
    size_t times)
{
	struct body_writer *w = NULL;
	struct msg m = { .guid = guid, .state = MSG_NEW, .received = T0 };
	struct mailbox box;
	struct txn *t = NULL;
	int error;

	if ((error = body_writer_new(r->s, &w)) != 0)
		return (error);
	for (size_t i = 0; i < times && error == 0; i++)
		error = body_writer_add(w, body, strlen(body));
	if (error == 0)
		error = body_writer_finish(w, &m.body, &m.vsize);
	body_writer_free(w);
	if (error != 0 ||
	    (error = store_mailbox_by_name(r->s, mailbox, &box)) != 0 ||
	    (error = txn_begin(r->s, NULL, &t)) != 0)
		return (error);
	if ((error = txn_save(t, box.id, &m, NULL)) != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

static int
save_later(struct run *r, const char *guid, const char *body, size_t times)
{
	size_t n = strlen(body);
	struct msg m = { .guid = guid, .state = MSG_NEW, .received = T0 };
	struct mailbox box;
	struct stream *in = NULL;
	char *all = malloc(n * times + 1);
	struct txn *t = NULL;
	int error;

	ck_assert_ptr_nonnull(all);
	for (size_t i = 0; i < times; i++)
		memcpy(all + i * n, body, n);
	ck_assert_int_eq(stream_from_memory(all, n * times, &in), 0);
	free(all);
	error = store_body_later(r->s, in, &m.body, &m.vsize);
	stream_close(in);
	if (error != 0 ||
	    (error = store_mailbox_by_name(r->s, "INBOX", &box)) != 0 ||
	    (error = txn_begin(r->s, NULL, &t)) != 0)
		return (error);
	if ((error = txn_save(t, box.id, &m, NULL)) != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

static int
create(struct run *r, const char *name)
{
	struct mailbox_new m = { .name = name };
	struct txn *t;
	int error;

	if ((error = txn_begin(r->s, NULL, &t)) != 0)
		return (error);
	if ((error = txn_mailbox_create(t, &m, NULL)) != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

enum act { FLAGS, EXPUNGE, MOVE, RENAME, DELETE, SUBSCRIBE, PEER };

static int
change(struct run *r, enum act act, const char *mailbox, uint32_t uid,
    const char *to)
{
	const char *kw[] = { "work", "$Forwarded" };
	struct msg_update u = { .add = MAIL_SEEN, .kw_add = { kw, 2 } };
	struct guid peer = { { 7 } };
	struct mailbox box, target;
	struct txn *t;
	int error;

	if ((error = store_mailbox_by_name(r->s, mailbox, &box)) != 0 ||
	    (error = txn_begin(r->s, NULL, &t)) != 0)
		return (error);
	switch (act) {
	case FLAGS:
		error = txn_update(t, box.id, uid, &u);
		break;
	case EXPUNGE:
		error = txn_expunge(t, box.id, uid);
		break;
	case MOVE:
		if ((error = store_mailbox_by_name(r->s, to, &target)) == 0)
			error = txn_move(t, box.id, uid, target.id, NULL, NULL);
		break;
	case RENAME:
		error = txn_mailbox_rename(t, box.id, to, 0);
		break;
	case DELETE:
		error = txn_mailbox_delete(t, box.id, 0);
		break;
	case SUBSCRIBE:
		error = txn_subscribe(t, to, true, 0);
		break;
	case PEER:
		error = txn_peer_set(t, &peer, &peer, to, strlen(to));
		break;
	}
	if (error != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

static int
reopen(struct run *r)
{
	int error = store_close(r->s);

	r->s = NULL;
	return (error != 0 ? error : store_open(r->os, 0, NULL, &r->s));
}

/*
 * One step; 1: there are no more.  *durable: what was done so far is
 * acknowledged when it succeeds.
 */
static int
step(struct run *r, size_t i, bool *durable)
{
	*durable = false;
	switch (i) {
	case 0:
		return (create(r, "INBOX"));
	case 1:
		return (save(r, "INBOX", "g1", "first message\n", 1));
	case 2:
		return (save(r, "INBOX", "g2", "second message\n", 3));
	case 3:
	case 8:
	case 13:
	case 21:
	case 26:
	case 32:
	case 36:
		*durable = true;
		return (store_sync(r->s));
	case 4:
		return (change(r, FLAGS, "INBOX", 1, NULL));
	case 5:
		return (
		    save(r, "INBOX", NULL, "third, with a random GUID\n", 2));
	case 6:
		return (change(r, EXPUNGE, "INBOX", 2, NULL));
	case 7:
		return (create(r, "Sub/Deep"));
	case 9:
		return (change(r, MOVE, "INBOX", 1, "Sub/Deep"));
	case 10:
		return (change(r, RENAME, "Sub/Deep", 0, "Top"));
	case 11:
		*durable = true;
		return (store_checkpoint(r->s, true));
	case 12:
		return (save(r, "Top", "g4",
		    "a longer one, of several blocks 0123456789\n", 7000));
	case 14:
		return (change(r, SUBSCRIBE, "INBOX", 0, "Elsewhere"));
	case 15:
		*durable = true;
		return (store_compact(r->s, NULL));
	case 16:
		return (save(r, "Top", "g5", "after the compaction\n", 1));
	case 17:
		return (change(r, DELETE, "Top", 0, NULL));
	case 18:
		*durable = true;
		return (reopen(r));
	case 19:
		return (save(r, "INBOX", "g6", "after reopening\n", 1));
	case 20:
		return (change(r, PEER, "INBOX", 0, "state of a peer"));
	case 22:
		*durable = true;
		os_mem_set_time(r->os, T0 + 32 * 86400, 0);
		return (store_compact(r->s, NULL));
	case 23:
		return (
		    save(r, "INBOX", "g7", "after the second compaction\n", 1));
	case 24:
		*durable = true;
		return (store_rebuild(r->s));
	case 25:
		return (change(r, FLAGS, "INBOX", 3, NULL));
	case 27:
		return (save(r, "INBOX", "g8", "compressed at once\n", 9));
	case 28:
		return (save_later(r, "g9", "compressed later\n", 20));
	case 29:
		return (save_later(r, "g10", "the same, of several blocks\n",
		    9000));
	case 30:
		*durable = true;
		return (store_squeeze(r->s));
	case 31:
		return (save_later(r, "g11", "compressed later\n", 20));
	case 33:
		return (save_later(r, "g12", "after it, and left over\n", 7));
	case 34:
		*durable = true;
		return (reopen(r));
	case 35:
		while (store_raw_look(r->s) == 1)
			;
		return (store_squeeze(r->s));
	case 37:
		return (save_later(r, "g13", "for the compaction\n", 50));
	case 38:
		*durable = true;
		return (store_compact(r->s, NULL));
	}
	return (1);
}

static int
start(struct run *r, uint64_t cut)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(os_mem_new(5, &r->os), 0);
	os_mem_set_time(r->os, T0, 0);
	os_mem_cut_at(r->os, cut);
	return (store_open(r->os, STORE_CREATE, NULL, &r->s));
}

/* Runs until a step fails; gives how many succeeded. */
static size_t
go(struct run *r, bool keep)
{
	bool durable;
	size_t i;
	int error;

	for (i = 0;; i++) {
		if (keep)
			text[i] = store_dump(r->s, WHAT);
		if ((error = step(r, i, &durable)) != 0)
			break;
		if (durable)
			r->acked = i + 1;
	}
	ck_assert(!keep || error == 1);
	return (i);
}

static void
stop(struct run *r)
{
	if (r->s != NULL)
		(void)store_close(r->s);
	r->os->ops->close_tree(r->os);
}

static void
check_store(struct os *os, size_t from, size_t to, uint64_t cut, int loss)
{
	struct verify_result v;
	struct store *s = NULL;
	char *got, *again;
	size_t i;
	int error;

	os_mem_set_time(os, T0, 0);
	if ((error = store_open(os, to == 0 ? STORE_CREATE : 0, NULL, &s)) ==
		-ENOENT &&
	    to <= 1)
		error = store_open(os, STORE_CREATE, NULL, &s);
	ck_assert_msg(error == 0, "cut %llu loss %d: open gives %d: %s",
	    (unsigned long long)cut, loss, error, make_said);
	ck_assert_msg(!store_damaged(s), "cut %llu loss %d: damaged: %s",
	    (unsigned long long)cut, loss, make_said);
	got = store_dump(s, WHAT);
	for (i = from; i <= to; i++)
		if (strcmp(got, text[i]) == 0)
			break;
	ck_assert_msg(i <= to,
	    "cut %llu loss %d: steps %zu to %zu, got\n%s\nlast is\n%s",
	    (unsigned long long)cut, loss, from, to, got, text[to]);
	ck_assert_int_eq(store_verify(s, &v), 0);
	ck_assert_msg(v.problems == 0, "cut %llu loss %d: %s",
	    (unsigned long long)cut, loss, make_said);
	ck_assert_int_eq(store_rebuild(s), 0);
	again = store_dump(s, WHAT);
	ck_assert_str_eq(got, again);
	free(again);
	ck_assert_int_eq(
	    os->ops->stat(os, "packs/squeeze.tmp", &(struct os_stat){ 0 }),
	    -ENOENT);
	/* Compressing what the crash has left changes nothing. */
	while (store_raw_look(s) == 1)
		;
	while ((error = store_squeeze(s)) == 0 || error == -EBADMSG)
		;
	ck_assert_int_eq(error, -EALREADY);
	again = store_dump(s, WHAT);
	ck_assert_str_eq(got, again);
	free(again);
	{
		struct run r = { .os = os, .s = s };

		error = create(&r, "Later");
		ck_assert_msg(error == 0, "cut %llu loss %d: create gives %d",
		    (unsigned long long)cut, loss, error);
		ck_assert_int_eq(
		    save(&r, "Later", NULL, "and on it goes\n", 1), 0);
	}
	free(got);
	got = store_dump(s, WHAT);
	ck_assert_int_eq(store_close(s), 0);
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	again = store_dump(s, WHAT);
	ck_assert_str_eq(got, again);
	free(again);
	free(got);
	ck_assert_int_eq(store_close(s), 0);
}

static void
setup(void)
{
	struct run r;

	make_quiet();
	ck_assert_int_eq(start(&r, 0), 0);
	(void)go(&r, true);
	stop(&r);
}

static void
teardown(void)
{
	for (size_t i = 0; i < STEPS_MAX; i++) {
		free(text[i]);
		text[i] = NULL;
	}
}

static void
power_loss(enum os_mem_loss loss)
{
	struct run r;
	struct os *copy;
	size_t done;
	bool cut = true;

	for (uint64_t n = 1; cut; n++) {
		done = 0;
		if (start(&r, n) == 0)
			done = go(&r, false);
		cut = os_mem_is_cut(r.os);
		if (cut) {
			ck_assert_int_eq(
			    os_mem_reboot_copy(r.os, loss, n, &copy), 0);
			check_store(copy, r.acked, done + 1, n, loss);
			copy->ops->close_tree(copy);
		}
		stop(&r);
	}
}

START_TEST(power_loss_keeps_what_was_acknowledged)
{
	power_loss((enum os_mem_loss)_i);
}
END_TEST

/*
 * A disk that is full at any write: the step fails, nothing is lost, and with
 * space again the script goes on.
 */
static void
one_failure(enum os_mem_op op, uint64_t nth, int err, bool *reached)
{
	struct run r;
	bool durable;
	uint64_t calls;
	size_t i;
	int error;

	ck_assert_int_eq(start(&r, 0), 0);
	calls = os_mem_calls(r.os, op);
	os_mem_fail(r.os, op, nth, err, false);
	for (i = 0;; i++) {
		if ((error = step(&r, i, &durable)) == 1)
			break;
		if (error == 0)
			continue;
		/*
		 * After a failure nothing is half there; after a reopening it
		 * goes on, from this step or the next.
		 */
		if (r.s != NULL)
			(void)store_close(r.s);
		r.s = NULL;
		os_mem_fail(r.os, op, 0, 0, false);
		check_store(r.os, 0, i + 1, nth, err);
		break;
	}
	*reached = os_mem_calls(r.os, op) - calls >= nth;
	stop(&r);
}

START_TEST(full_disk_is_survived)
{
	bool reached = true;

	for (uint64_t n = 1; reached; n++)
		one_failure(OS_MEM_PWRITE, n, ENOSPC, &reached);
	reached = true;
	for (uint64_t n = 1; reached; n++)
		one_failure(OS_MEM_CREATE, n, ENOSPC, &reached);
}
END_TEST

START_TEST(failing_sync_is_survived)
{
	bool reached = true;

	for (uint64_t n = 1; reached; n++)
		one_failure(OS_MEM_SYNC, n, EIO, &reached);
	reached = true;
	for (uint64_t n = 1; reached; n++)
		one_failure(OS_MEM_SYNC_DIR, n, EIO, &reached);
	reached = true;
	for (uint64_t n = 1; reached; n++)
		one_failure(OS_MEM_RENAME, n, EIO, &reached);
}
END_TEST

START_TEST(full_disk_poisons_nothing)
{
	struct run r;
	char *before, *after;

	ck_assert_int_eq(start(&r, 0), 0);
	ck_assert_int_eq(create(&r, "INBOX"), 0);
	ck_assert_int_eq(save(&r, "INBOX", "a", "one\n", 1), 0);
	before = store_dump(r.s, WHAT);
	os_mem_fail(r.os, OS_MEM_PWRITE, 1, ENOSPC, true);
	ck_assert_int_eq(save(&r, "INBOX", "b", "two\n", 1), -ENOSPC);
	ck_assert_int_eq(change(&r, FLAGS, "INBOX", 1, NULL), -ENOSPC);
	after = store_dump(r.s, WHAT);
	ck_assert_str_eq(before, after);
	free(after);
	os_mem_fail(r.os, OS_MEM_PWRITE, 0, 0, false);
	ck_assert(!store_readonly(r.s));
	ck_assert_int_eq(save(&r, "INBOX", "b", "two\n", 1), 0);
	ck_assert_int_eq(change(&r, FLAGS, "INBOX", 1, NULL), 0);
	free(before);
	before = store_dump(r.s, WHAT);
	ck_assert_int_eq(reopen(&r), 0);
	after = store_dump(r.s, WHAT);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	stop(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *su = suite_create("store_crash");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, power_loss_keeps_what_was_acknowledged,
	    OS_MEM_LOSE_ALL, OS_MEM_LOSE_SOME + 1);
	tcase_add_test(tc, full_disk_is_survived);
	tcase_add_test(tc, failing_sync_is_survived);
	tcase_add_test(tc, full_disk_poisons_nothing);
	suite_add_tcase(su, tc);
	return (su);
}

int
main(void)
{
	return (run_suite(suite()));
}
