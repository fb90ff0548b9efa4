/*
 * sync_fields -- what rows and mails carry besides flags: dates, POP3's fields,
 * sizes, \Recent, modseqs, hints; and what filters make of them.  With both
 * kinds of peer, with GUIDs and without.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/hidden.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define FULL ((unsigned)(REPLICA_GUIDS | REPLICA_SAVE_GUIDS))

static struct side A, B;
/* strings that live to the test's end */
static struct arena keep;
static bool unsized; /* sizes are not known where mails are saved */

/* Bit 0: another kind of peer; bit 1: without GUIDs. */
#define PEERS 4

static void
make_sides(int n)
{
	sync_foreign = (n & 1) != 0;
	side_new_hidden(&A, "A", 1, (n & 2) != 0 ? 0 : FULL);
	side_new_hidden(&B, "B", 2, FULL);
	box_new(&A, "INBOX");
}

static void
teardown(void)
{
	sync_foreign = false;
	sync_watch = NULL;
	unsized = false;
	arena_fini(&keep);
	side_free(&A);
	side_free(&B);
}

static void
settle(void)
{
	struct sync_result r;

	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert(!r.incomplete && !r.changes_during_sync);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
}

/* In *m all but the body, which follows from text. */
static uint32_t
save(struct side *d, const char *box, const char *text, struct msg *m)
{
	char raw[256];
	struct stream *in;
	struct txn *t;
	uint32_t uid;

	(void)snprintf(
	    raw, sizeof(raw), "Message-ID: <%s@x>\n\n%s\n", text, text);
	ck_assert_int_eq(stream_from_memory(raw, strlen(raw), &in), 0);
	ck_assert_int_eq(
	    store_body_from_stream(d->s, in, &m->body, &m->vsize), 0);
	stream_close(in);
	if (unsized)
		m->vsize = 0;
	ck_assert_int_eq(txn_begin(d->s, NULL, &t), 0);
	ck_assert_int_eq(txn_save(t, box_id(d, box), m, &uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (uid);
}

static struct msg
get(struct side *d, const char *box, uint32_t uid)
{
	struct msg m;

	ck_assert_int_eq(store_msg(d->s, box_id(d, box), uid, &keep, &m), 0);
	return (m);
}

/* ---- mails ---- */

START_TEST(dates_and_pop3_fields_survive_saving_and_copying)
{
	struct msg m = { .guid = "g1",
		.received = 1500000001,
		.saved = 1500000002,
		.pop3_uidl = "UIDL 7",
		.pop3_order = 7,
		.flags = MAIL_SEEN };
	static const char *const boxes[] = { "INBOX", "Copy", "INBOX" };
	static const uint32_t uids[] = { 1, 1, 2 };

	make_sides(_i);
	box_new(&A, "Copy");
	save(&A, "INBOX", "one", &m);
	save(&A, "INBOX", "one", &m);
	save(&A, "Copy", "one", &m);
	settle();
	for (int i = 0; i < 3; i++) {
		struct msg got = get(&B, boxes[i], uids[i]);

		ck_assert_str_eq(got.pop3_uidl, "UIDL 7");
		ck_assert_uint_eq(got.pop3_order, 7);
		ck_assert_int_eq(got.received, 1500000001);
		ck_assert_int_eq(got.saved, 1500000002);
		ck_assert_uint_eq(got.flags, MAIL_SEEN);
	}
}
END_TEST

START_TEST(a_saved_message_keeps_its_modseq)
{
	struct msg was;

	make_sides(_i);
	for (int i = 0; i < 5; i++)
		mail_new(&A, "INBOX", NULL, "abcde" + i);
	mail_flags(&A, "INBOX", 2, MAIL_SEEN, 0);
	was = get(&A, "INBOX", 2);
	ck_assert_uint_gt(was.modseq, get(&A, "INBOX", 5).modseq);
	settle();
	ck_assert_uint_eq(get(&B, "INBOX", 2).modseq, was.modseq);
	ck_assert_uint_eq(
	    get(&B, "INBOX", 5).modseq, get(&A, "INBOX", 5).modseq);
}
END_TEST

static unsigned asked, came;
static const char *const asked_guid[] = { "b", "c", "a" };
static const uint32_t asked_uid[] = { 2, 3, 1 };
static char came_guid[4];

/* The slave asks in another order, as Dovecot does. */
static void
mix(bool by_master, struct item *i)
{
	(void)by_master;
	if (i->type == ITEM_REQUEST) {
		i->u.request.guid = asked_guid[asked];
		i->u.request.uid = asked_uid[asked++];
	} else if (i->type == ITEM_MAIL) {
		came_guid[came++] = i->u.mail.guid[0];
	}
}

START_TEST(a_dovecot_gets_mails_in_the_order_of_their_uids)
{
	sync_foreign = true;
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "a", "a");
	mail_new(&A, "INBOX", "b", "b");
	mail_new(&A, "INBOX", "c", "c");
	asked = came = 0;
	memset(came_guid, 0, sizeof(came_guid));
	sync_watch = mix;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(asked, 3);
	ck_assert_str_eq(came_guid, "abc");
	assert_equal(&A, &B);
}
END_TEST

/* ---- rows ---- */

#define ROWS 8
static struct item_change row[ROWS + 1]; /* of A's, by UID */
static unsigned rows;
/* their keywords, "+added -removed =final" in one string each */
static char words[ROWS + 1][128];

static void
note_row(bool by_master, struct item *i)
{
	const struct item_change *c = &i->u.change;
	char *w;

	if (i->type != ITEM_CHANGE || !by_master || c->uid > ROWS)
		return;
	rows++;
	row[c->uid] = *c;
	w = words[c->uid];
	*w = '\0';
	for (size_t k = 0; k < c->kw_add.n; k++)
		w += sprintf(w, "+%s ", c->kw_add.name[k]);
	for (size_t k = 0; k < c->kw_remove.n; k++)
		w += sprintf(w, "-%s ", c->kw_remove.name[k]);
	for (size_t k = 0; k < c->kw_final.n; k++)
		w += sprintf(w, "=%s ", c->kw_final.name[k]);
}

static void
watch(void)
{
	rows = 0;
	memset(row, 0, sizeof(row));
	sync_watch = note_row;
}

START_TEST(rows_tell_what_users_changed_since_the_last_run)
{
	make_sides(_i);
	mail_new(&A, "INBOX", NULL, "one");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN | MAIL_DRAFT, 0);
	mail_keyword(&A, "INBOX", 1, "old", NULL);
	mail_keyword(&A, "INBOX", 1, "gone", NULL);
	mail_keyword(&A, "INBOX", 1, "Stays", NULL);
	settle();
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, MAIL_DRAFT);
	mail_keyword(&A, "INBOX", 1, "new", "gone");
	mail_keyword(&A, "INBOX", 1, "short", NULL);
	mail_keyword(&A, "INBOX", 1, NULL, "short");
	watch();
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(rows, 1);
	ck_assert_uint_eq(row[1].final & MAIL_FLAGS, MAIL_SEEN | MAIL_FLAGGED);
	ck_assert_uint_eq(row[1].add, MAIL_FLAGGED);
	ck_assert_uint_eq(row[1].remove, MAIL_DRAFT);
	ck_assert_str_eq(words[1], "+new -gone -short =Stays =new =old ");
	ck_assert_uint_eq(row[1].modseq, get(&A, "INBOX", 1).modseq);
	assert_equal(&A, &B);
	/* What the other side did is no hint of this one. */
	mail_flags(&B, "INBOX", 1, MAIL_ANSWERED, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	watch();
	mail_flags(&A, "INBOX", 1, MAIL_DELETED, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(row[1].add, MAIL_DELETED);
	ck_assert_uint_eq(row[1].remove, 0);
	assert_equal(&A, &B);
}
END_TEST

START_TEST(dates_and_sizes_are_told_for_filters_alone)
{
	struct sync_options o = { .type = SYNC_FULL };
	struct msg old = { .received = 1 }, odd = { .received = -5 };
	struct sync_result r;

	make_sides(_i);
	save(&A, "INBOX", "one", &old);
	save(&A, "INBOX", "two", &odd);
	mail_raw(&A, "INBOX", NULL, "");
	watch();
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	for (int i = 1; i <= 3; i++) {
		ck_assert_int_eq(row[i].received, 0);
		/* Between two dsyncfs hashes are helped out by sizes. */
		ck_assert(row[i].virtual_size == UINT64_MAX || _i == 2);
	}
	o.since = 1;
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_int_eq(row[1].received, 1);
	ck_assert_int_eq(row[2].received, 1);
	ck_assert_int_eq(row[3].received, 1600000000);
	ck_assert(row[1].virtual_size == UINT64_MAX || _i == 2);
	o.since = 0;
	o.until = 1700000000;
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_int_eq(row[3].received, 1600000000);
	o.until = 0;
	o.max_size = 1000;
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_int_eq(row[1].received, 0);
	ck_assert_uint_eq(row[1].virtual_size, get(&A, "INBOX", 1).vsize);
	ck_assert_uint_eq(row[3].virtual_size, 1);
}
END_TEST

/*
 * Another kind of peer goes by UIDs, dsyncfs by what each message is; the
 * number of the mailbox follows dsync's rule.
 */
START_TEST(recent_is_told_as_the_peer_understands_it)
{
	struct mailbox m;
	struct txn *t;
	struct mailbox_update u = { .min_first_recent = 3 };
	struct msg seen = { .state = 0 };

	make_sides(_i);
	for (int i = 0; i < 3; i++)
		mail_new(&A, "INBOX", NULL, "abc" + i);
	save(&A, "INBOX", "seen", &seen);
	ck_assert_int_eq(txn_begin(A.s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_update(t, box_id(&A, "INBOX"), &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	watch();
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	for (uint32_t uid = 1; uid <= 4; uid++) {
		bool recent = (row[uid].final & MAIL_RECENT) != 0;

		ck_assert_int_eq(recent, sync_foreign ? uid >= 3 : uid != 4);
		ck_assert_int_eq(
		    (get(&B, "INBOX", uid).state & MSG_NEW) != 0, recent);
	}
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &m), 0);
	ck_assert_uint_eq(m.first_recent_uid, 3);
	/* Never above what both have in common. */
	u.min_first_recent = 9;
	ck_assert_int_eq(txn_begin(A.s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_update(t, box_id(&A, "INBOX"), &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &m), 0);
	ck_assert_uint_eq(m.first_recent_uid, 5);
}
END_TEST

/* Both move it, and the peer keeps its own flags for now. */
START_TEST(flags_of_one_message_under_two_uids_merge)
{
	struct sync_result r;
	struct mailbox before;
	uint8_t flags;

	sync_foreign = _i == 1;
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", "g", "one");
	mail_new(&B, "INBOX", "x", "two");
	mail_new(&B, "INBOX", "g", "one");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, 0);
	ck_assert_int_eq(store_mailbox_by_name(B.s, "INBOX", &before), 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	/* What was merged here wins then. */
	if (sync_foreign)
		ck_assert_uint_gt(
		    get(&A, "INBOX", mail_uid(&A, "INBOX", "g")).modseq,
		    before.highestmodseq);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	ck_assert(mail_get(&A, "INBOX", mail_uid(&A, "INBOX", "g"), &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
}
END_TEST

/* specs/dsync-protocol.md 6.7: nothing that is here crosses the wire. */
START_TEST(instances_are_copied_moved_and_expunged_but_not_sent)
{
	struct sync_result r;
	uint8_t flags;

	sync_foreign = _i == 1;
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "g", "one");
	settle();
	/* More of them. */
	mail_new(&A, "INBOX", "g", "one");
	mail_new(&A, "INBOX", "g", "one");
	mail_flags(&A, "INBOX", 3, MAIL_SEEN, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 0);
	ck_assert_uint_eq(r.counts.copied, 2);
	settle();
	/*
	 * One that went, and came again under another UID: it is moved, where
	 * the peer would not say that it had done so.
	 */
	mail_expunge(&A, "INBOX", 1);
	mail_new(&A, "INBOX", "g", "one");
	mail_flags(&A, "INBOX", 4, MAIL_DRAFT, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 0);
	ck_assert_uint_eq(r.counts.copied, sync_foreign ? 0 : 1);
	ck_assert_uint_eq(r.counts.renumbered, sync_foreign ? 1 : 0);
	settle();
	ck_assert(mail_get(&B, "INBOX", 3, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN);
	ck_assert(mail_get(&B, "INBOX", 4, &flags));
	ck_assert_uint_eq(flags, MAIL_DRAFT);
	/* Both sides have some, under UIDs that clash. */
	mail_new(&A, "INBOX", "x", "of A");
	mail_new(&A, "INBOX", "g", "one");
	mail_new(&B, "INBOX", "g", "one");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 1);
	settle();
	mail_expunge(&B, "INBOX", 2);
	mail_expunge(&B, "INBOX", 4);
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), mail_count(&B, "INBOX"));
	ck_assert_uint_ne(mail_uid(&A, "INBOX", "g"), 0);
}
END_TEST

/* ---- filters ---- */

static const char *const kw[] = { "Work" };

/* Of each, what takes `in` and leaves `out`. */
static const struct {
	struct sync_options o;
	struct msg in, out;
	bool unsized; /* the location does not know sizes */
} filters[] = {
	{ .o = { .since = 2000 },
	    .in = { .received = 2000 },
	    .out = { .received = 1999 } },
	{ .o = { .until = 2000 },
	    .in = { .received = 2000 },
	    .out = { .received = 2001 } },
	{ .o = { .since = 1000, .until = 2000 },
	    .in = { .received = 1500 },
	    .out = { .received = 5 } },
	{ .o = { .max_size = 60 } },
	{ .o = { .max_size = 60 }, .unsized = true },
	{ .o = { .flag = "\\Seen" },
	    .in = { .flags = MAIL_SEEN },
	    .out = { .flags = MAIL_DRAFT } },
	{ .o = { .flag = "-\\seen" },
	    .in = { .flags = MAIL_DRAFT },
	    .out = { .flags = MAIL_SEEN } },
	{ .o = { .flag = "wORK" },
	    .in = { .keywords = { kw, 1 } },
	    .out = { .flags = MAIL_SEEN } },
	{ .o = { .flag = "-work" },
	    .in = { .flags = MAIL_SEEN },
	    .out = { .keywords = { kw, 1 } } },
};
#define FILTERS ((int)(sizeof(filters) / sizeof(filters[0])))

/* One mail that the filter takes, one that it leaves; in this order or not. */
static void
two_mails(struct side *d, int f, const char *name, bool out_first)
{
	char text[128];
	struct msg m;

	unsized = filters[f].unsized;
	for (int i = 0; i < 2; i++) {
		bool out = out_first == (i == 0);

		m = out ? filters[f].out : filters[f].in;
		(void)snprintf(text, sizeof(text), "%s-%s%s", name,
		    out ? "out" : "in",
		    out && filters[f].o.max_size != 0
			? "-and-so-long-that-it-is-left-out-for-its-size"
			: "");
		save(d, "INBOX", text, &m);
	}
}

static bool
has_text(struct side *d, const char *text)
{
	struct mailbox m;
	bool found = false;

	ck_assert_int_eq(store_mailbox_by_name(d->s, "INBOX", &m), 0);
	for (uint32_t uid = 1; uid < m.uidnext && !found; uid++) {
		char raw[512] = "";
		struct stream *s;

		if (d->r->ops->body(d->r, m.id, uid, &s) != 0)
			continue;
		ck_assert_int_ge(stream_read(s, raw, sizeof(raw) - 1), 0);
		stream_close(s);
		found = strstr(raw, text) != NULL;
	}
	return (found);
}

static bool
one_run(const struct sync_options *filter, enum sync_mode mode, bool one_way)
{
	struct sync_options o = *filter;
	struct sync_result r;

	o.mode = mode;
	o.one_way = one_way;
	o.type = sync_foreign ? SYNC_FULL : SYNC_STATE;
	ck_assert_int_eq(mode == SYNC_BACKUP_REVERSE
		? sync_with(&B, &A, &o, &r)
		: sync_with(&A, &B, &o, &r),
	    0);
	ck_assert(!r.incomplete);
	return (told_changes != 0);
}

#define FILTER_RUNS (FILTERS * PEERS)

START_TEST(filtered_mails_stay_where_they_are)
{
	const struct sync_options *o = &filters[_i / PEERS].o, none = { 0 };

	make_sides(_i % PEERS);
	box_new(&B, "INBOX");
	two_mails(&A, _i / PEERS, "a", false);
	two_mails(&B, _i / PEERS, "b", true);
	one_run(o, SYNC_MIRROR, false);
	ck_assert(has_text(&A, "a-in") && has_text(&A, "a-out"));
	ck_assert(has_text(&A, "b-in") && !has_text(&A, "b-out"));
	ck_assert(has_text(&B, "b-in") && has_text(&B, "b-out"));
	ck_assert(has_text(&B, "a-in") && !has_text(&B, "a-out"));
	(void)one_run(o, SYNC_MIRROR, false);
	ck_assert(has_text(&A, "a-out") && has_text(&B, "b-out"));
	/* They are not forgotten. */
	if (!sync_foreign) {
		(void)one_run(&none, SYNC_MIRROR, false);
		ck_assert(has_text(&A, "b-out") && has_text(&B, "a-out"));
	}
}
END_TEST

START_TEST(backup_takes_and_undoes_only_what_the_filter_takes)
{
	const struct sync_options *o = &filters[_i / PEERS % FILTERS].o;
	enum sync_mode mode =
	    _i < FILTER_RUNS ? SYNC_BACKUP : SYNC_BACKUP_REVERSE;

	make_sides(_i % PEERS);
	box_new(&B, "INBOX");
	two_mails(&A, _i / PEERS % FILTERS, "a", true);
	two_mails(&B, _i / PEERS % FILTERS, "b", false);
	(void)one_run(o, mode, false);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	ck_assert(has_text(&B, "a-in") && !has_text(&B, "a-out"));
	ck_assert(!has_text(&B, "b-in") && has_text(&B, "b-out"));
	ck_assert(!one_run(o, mode, false));
}
END_TEST

START_TEST(one_way_takes_only_what_the_filter_takes)
{
	const struct sync_options *o = &filters[_i / PEERS % FILTERS].o;
	enum sync_mode mode =
	    _i < FILTER_RUNS ? SYNC_MIRROR : SYNC_BACKUP_REVERSE;

	make_sides(_i % PEERS);
	box_new(&B, "INBOX");
	two_mails(&A, _i / PEERS % FILTERS, "a", true);
	two_mails(&B, _i / PEERS % FILTERS, "b", false);
	(void)one_run(o, mode, true);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	ck_assert(has_text(&B, "a-in") && !has_text(&B, "a-out"));
	ck_assert(has_text(&B, "b-in") && has_text(&B, "b-out"));
	ck_assert(!one_run(o, mode, true));
}
END_TEST

static const struct sync_options *left_out;

/* A newer Dovecot does not even mention what the filter leaves out. */
static void
leave_out(bool by_master, struct item *i)
{
	const struct item_change *c = &i->u.change;

	if (by_master && i->type == ITEM_CHANGE && c->kind == CHANGE_SAVE &&
	    c->received < left_out->since)
		i->type = 0;
}

START_TEST(what_a_peer_leaves_out_is_not_taken_for_expunged)
{
	const struct sync_options *o = &filters[0].o;
	struct msg old = { .received = 1000 };

	make_sides(_i);
	save(&A, "INBOX", "before", &(struct msg){ .received = 5000 });
	save(&A, "INBOX", "old", &old);
	save(&A, "INBOX", "after", &(struct msg){ .received = 5000 });
	settle();
	left_out = o;
	sync_watch = leave_out;
	(void)one_run(o, SYNC_MIRROR, false);
	sync_watch = NULL;
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
	sync_watch = leave_out;
	(void)one_run(o, SYNC_BACKUP, false);
	sync_watch = NULL;
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
	settle();
}
END_TEST

/* As Dovecot does it. */
START_TEST(an_unknown_system_flag_filters_nothing)
{
	struct sync_options o = { .flag = _i % 2 == 0 ? "\\Foo" : "-\\Foo" };

	make_sides(_i / 2);
	mail_new(&A, "INBOX", NULL, "one");
	(void)one_run(&o, SYNC_MIRROR, false);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_fields");
	TCase *t = tcase_create("fields");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_loop_test(
	    t, dates_and_pop3_fields_survive_saving_and_copying, 0, PEERS);
	tcase_add_test(t, a_dovecot_gets_mails_in_the_order_of_their_uids);
	tcase_add_loop_test(t, a_saved_message_keeps_its_modseq, 0, PEERS);
	tcase_add_loop_test(
	    t, rows_tell_what_users_changed_since_the_last_run, 0, PEERS);
	tcase_add_loop_test(
	    t, dates_and_sizes_are_told_for_filters_alone, 0, PEERS);
	tcase_add_loop_test(
	    t, recent_is_told_as_the_peer_understands_it, 0, PEERS);
	tcase_add_loop_test(t, flags_of_one_message_under_two_uids_merge, 0, 2);
	tcase_add_loop_test(
	    t, instances_are_copied_moved_and_expunged_but_not_sent, 0, 2);
	tcase_add_loop_test(
	    t, filtered_mails_stay_where_they_are, 0, FILTER_RUNS);
	tcase_add_loop_test(t,
	    backup_takes_and_undoes_only_what_the_filter_takes, 0,
	    2 * FILTER_RUNS);
	tcase_add_loop_test(
	    t, one_way_takes_only_what_the_filter_takes, 0, 2 * FILTER_RUNS);
	tcase_add_loop_test(
	    t, what_a_peer_leaves_out_is_not_taken_for_expunged, 0, PEERS);
	tcase_add_loop_test(
	    t, an_unknown_system_flag_filters_nothing, 0, 2 * PEERS);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
