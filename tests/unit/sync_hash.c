/*
 * sync_hash -- syncs where a side has no GUIDs, or cannot set them: messages
 * are told apart by the hashes of their headers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hdr_hash.h"
#include "lib/check_main.h"
#include "lib/hidden.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define NONE 0u
#define GUIDS ((unsigned)REPLICA_GUIDS)
#define FULL ((unsigned)(REPLICA_GUIDS | REPLICA_SAVE_GUIDS))

static struct side A, B;

/* Pairs of sides of which one cannot set GUIDs; each with both kinds of peer.
 */
static const unsigned kinds[][2] = { { NONE, NONE }, { NONE, FULL },
	{ FULL, NONE }, { GUIDS, FULL }, { FULL, GUIDS }, { GUIDS, NONE } };
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))
#define BOTH_PEERS (2 * KINDS)

static void
make_sides(int n)
{
	sync_foreign = n >= KINDS;
	side_new_hidden(&A, "A", 1, kinds[n % KINDS][0]);
	side_new_hidden(&B, "B", 2, kinds[n % KINDS][1]);
	box_new(&A, "INBOX");
}

static void
free_sides(void)
{
	side_free(&A);
	side_free(&B);
}

static void
teardown(void)
{
	sync_foreign = false;
	sync_watch = NULL;
}

/* Both are equal, and a further run finds nothing to do. */
static void
settle(void)
{
	struct sync_result r;

	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert(!r.incomplete && !r.changes_during_sync);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert(!r.incomplete && !r.changes_during_sync);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&B, &A, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
}

/*
 * Each side has GUIDs, and they are not the other's.  Dovecot then takes what
 * was expunged for a mail that is missing, and brings it back; the two sides
 * may need some runs.
 */
static bool
guids_differ(int n)
{
	return (n == KINDS + 4);
}

static void
settle_later(void)
{
	struct sync_result r;

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
}

/* A mail whose header is that of others, with a body of its own. */
static uint32_t
mail_like(struct side *d, const char *id, const char *body)
{
	char raw[256];

	(void)snprintf(raw, sizeof(raw),
	    "Date: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-ID: <%s@x>\n\n%s\n",
	    id, body);
	return (mail_raw(d, "INBOX", NULL, raw));
}

static bool
has_body(struct side *d, const char *text)
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

/* ---- mirror ---- */

START_TEST(mails_of_both_sides_reach_the_other)
{
	uint8_t flags;

	make_sides(_i);
	mail_new(&A, "INBOX", NULL, "a1");
	mail_new(&A, "INBOX", NULL, "a2");
	mail_flags(&A, "INBOX", 2, MAIL_SEEN | MAIL_FLAGGED, 0);
	mail_keyword(&A, "INBOX", 2, "work", NULL);
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(mail_get(&B, "INBOX", 2, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
	mail_new(&B, "INBOX", NULL, "b1");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	free_sides();
}
END_TEST

START_TEST(flags_of_both_sides_merge)
{
	uint8_t flags;

	make_sides(_i);
	mail_new(&A, "INBOX", NULL, "a1");
	mail_flags(&A, "INBOX", 1, MAIL_DRAFT, 0);
	settle();
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, MAIL_DRAFT);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_keyword(&B, "INBOX", 1, "x", NULL);
	settle();
	ck_assert(mail_get(&A, "INBOX", 1, &flags));
	ck_assert_uint_eq(flags, MAIL_SEEN | MAIL_FLAGGED);
	free_sides();
}
END_TEST

START_TEST(expunges_of_both_sides_reach_the_other)
{
	static const char *const left[] = { "m1", "m4", "m5" };

	make_sides(_i);
	for (int i = 1; i <= 5; i++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "m%d", i);
		mail_new(&A, "INBOX", NULL, text);
	}
	settle();
	mail_expunge(&A, "INBOX", 2);
	mail_expunge(&B, "INBOX", 3);
	if (guids_differ(_i)) {
		settle_later();
	} else {
		settle();
		ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	}
	for (size_t i = 0; i < 3; i++)
		ck_assert(has_body(&B, left[i]));
	free_sides();
}
END_TEST

START_TEST(one_uid_for_two_mails_gives_both_a_new_one)
{
	make_sides(_i);
	mail_new(&A, "INBOX", NULL, "common");
	settle();
	mail_new(&A, "INBOX", NULL, "from A");
	mail_new(&B, "INBOX", NULL, "from B");
	mail_new(&B, "INBOX", NULL, "more of B");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 4);
	ck_assert(!mail_get(&A, "INBOX", 2, NULL));
	ck_assert(has_body(&A, "from B") && has_body(&B, "from A"));
	free_sides();
}
END_TEST

START_TEST(mails_of_one_header_are_all_kept)
{
	make_sides(_i);
	mail_like(&A, "same", "first body");
	mail_like(&A, "same", "second body");
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(has_body(&B, "first body") && has_body(&B, "second body"));
	mail_like(&B, "same", "third body");
	mail_expunge(&A, "INBOX", 1);
	if (guids_differ(_i)) {
		settle_later();
	} else {
		settle();
		ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	}
	ck_assert(has_body(&A, "second body") && has_body(&A, "third body"));
	free_sides();
}
END_TEST

START_TEST(mails_of_one_header_pair_up_in_order)
{
	make_sides(_i);
	box_new(&B, "INBOX");
	for (int i = 0; i < 2; i++)
		mail_like(&A, "same", "body");
	for (int i = 0; i < 3; i++)
		mail_like(&B, "same", "body");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	free_sides();
}
END_TEST

/* Dovecot does not see it under another UID: there they are doubled. */
START_TEST(sides_filled_apart_become_one)
{
	unsigned want;

	make_sides(_i);
	want = sync_foreign ? 5 : 3;
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "x");
	mail_new(&A, "INBOX", NULL, "y");
	mail_new(&B, "INBOX", NULL, "y");
	mail_new(&B, "INBOX", NULL, "x");
	mail_new(&B, "INBOX", NULL, "z");
	settle();
	ck_assert_uint_ge(mail_count(&A, "INBOX"), 3);
	ck_assert_uint_le(mail_count(&A, "INBOX"), want);
	ck_assert(has_body(&A, "z"));
	free_sides();
}
END_TEST

/* Of one header under different UIDs: sizes tell them apart. */
START_TEST(mails_of_one_header_and_other_sizes_are_not_one)
{
	make_sides(_i);
	box_new(&B, "INBOX");
	mail_like(&A, "same", "short body");
	mail_new(&B, "INBOX", NULL, "other");
	mail_like(&B, "same", "a longer body");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	ck_assert(has_body(&A, "longer") && has_body(&B, "short"));
	free_sides();
}
END_TEST

/* Mails without the hashed headers are not mixed up under different UIDs. */
START_TEST(mails_without_headers_are_told_apart_by_uid)
{
	make_sides(_i);
	box_new(&B, "INBOX");
	mail_raw(&A, "INBOX", NULL, "Subject: p\n\nbody p\n");
	mail_new(&B, "INBOX", NULL, "q");
	mail_raw(&B, "INBOX", NULL, "Subject: r\n\nbody r\n");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	ck_assert(has_body(&A, "body r") && has_body(&B, "body p"));
	free_sides();
}
END_TEST

/*
 * Both deliver a mail under one UID; one below it was expunged on one side and
 * is another mail on the other.  dsync's rules alone lose it.
 */
START_TEST(a_mail_that_the_peer_never_had_is_not_expunged)
{
	make_sides(KINDS + _i);
	mail_new(&A, "INBOX", NULL, "common");
	settle();
	mail_new(&A, "INBOX", NULL, "short-lived");
	mail_expunge(&A, "INBOX", 2);
	mail_new(&B, "INBOX", NULL, "only of B");
	mail_new(&A, "INBOX", NULL, "both");
	mail_new(&B, "INBOX", NULL, "both");
	settle_later();
	ck_assert(has_body(&A, "only of B") && has_body(&B, "only of B"));
	free_sides();
}
END_TEST

/* Nothing is known of old UIDs but what both saved. */
START_TEST(a_full_run_brings_nothing_back)
{
	struct sync_options o = { .type = SYNC_FULL };
	struct sync_result r;

	make_sides(_i);
	for (int i = 0; i < 6; i++)
		mail_new(&A, "INBOX", NULL, "abcdef" + i);
	settle();
	mail_expunge(&A, "INBOX", 2);
	mail_expunge(&B, "INBOX", 4);
	if (guids_differ(_i)) {
		settle_later();
		free_sides();
		return;
	}
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(r.counts.saved + r.counts.copied, 0);
	ck_assert_uint_eq(r.counts.expunged, 2);
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 4);
	free_sides();
}
END_TEST

/* More than a step's worth of rows. */
START_TEST(many_mails_and_expunges_all_arrive)
{
	char text[16];

	make_sides(_i);
	for (int i = 0; i < 150; i++) {
		(void)snprintf(text, sizeof(text), "m%d", i);
		mail_new(&A, "INBOX", NULL, text);
	}
	for (uint32_t uid = 2; uid <= 120; uid += 2)
		mail_expunge(&A, "INBOX", uid);
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 90);
	for (uint32_t uid = 1; uid <= 120; uid += 2) {
		mail_flags(&A, "INBOX", uid, MAIL_SEEN, 0);
		if (uid % 3 == 0)
			mail_expunge(&A, "INBOX", uid);
	}
	if (!guids_differ(_i))
		settle();
	free_sides();
}
END_TEST

/* With a third one, one of the two had to give a mail another UID. */
START_TEST(a_move_for_a_third_replica_is_a_move_here)
{
	struct sync_result r;
	unsigned flagged = 0;
	uint8_t flags;
	struct side C;

	make_sides(_i);
	mail_new(&A, "INBOX", NULL, "one");
	settle();
	side_new_hidden(&C, "C", 3, FULL);
	box_new(&C, "INBOX");
	mail_new(&C, "INBOX", NULL, "other");
	ck_assert_int_eq(sync_mirror(&B, &C, &r), 0);
	ck_assert(!mail_get(&B, "INBOX", 1, NULL));
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, 0);
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 1);
	ck_assert_uint_eq(r.counts.renumbered, 1);
	ck_assert_uint_eq(r.counts.expunged, 0);
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	for (uint32_t uid = 2; uid <= 3; uid++)
		if (mail_get(&B, "INBOX", uid, &flags))
			flagged += (flags & MAIL_FLAGGED) != 0;
	ck_assert_uint_eq(flagged, 1);
	side_free(&C);
	free_sides();
}
END_TEST

/*
 * A disk that went back in time: it has what both expunged.  The other side
 * tells it no more; until it does, no number may mean two mails.
 */
START_TEST(a_side_that_went_back_in_time_is_made_equal)
{
	struct sync_result r;
	struct os *old;

	make_sides(_i);
	for (int i = 0; i < 4; i++)
		mail_new(&A, "INBOX", NULL, "abcd" + i);
	settle();
	side_close(&B);
	ck_assert_int_eq(os_mem_reboot_copy(B.os, OS_MEM_KEEP_ALL, 1, &old), 0);
	ck_assert_int_eq(side_open(&B), 0);
	mail_expunge(&A, "INBOX", 2);
	settle();
	side_close(&B);
	B.os->ops->close_tree(B.os);
	B.os = old;
	ck_assert_int_eq(side_open(&B), 0);
	mail_new(&A, "INBOX", NULL, "new of A");
	mail_new(&B, "INBOX", NULL, "new of B");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(&A, &B);
	ck_assert(has_body(&A, "new of B") && has_body(&B, "new of A"));
	free_sides();
}
END_TEST

/* ---- one way ---- */

static void
one_way(struct sync_options *o, int way, struct sync_result *r)
{
	static const enum sync_mode modes[] = { SYNC_BACKUP,
		SYNC_BACKUP_REVERSE };
	struct store_info before, after;

	ck_assert_int_eq(store_info(A.s, &before), 0);
	o->mode = o->one_way && way == 0 ? SYNC_MIRROR : modes[way];
	/* Another kind of peer's states are not ours to test. */
	o->type = sync_foreign ? SYNC_FULL : SYNC_STATE;
	ck_assert_int_eq(
	    way == 0 ? sync_with(&A, &B, o, r) : sync_with(&B, &A, o, r), 0);
	ck_assert_int_eq(store_info(A.s, &after), 0);
	ck_assert_uint_eq(before.log_bytes, after.log_bytes);
}

/* Each pair of kinds, each kind of peer, and both directions of asking. */
#define WAYS (2 * BOTH_PEERS)

START_TEST(backup_makes_the_destination_the_source)
{
	struct sync_options o = { 0 };
	struct sync_result r;
	int way = _i / BOTH_PEERS;

	make_sides(_i % BOTH_PEERS);
	for (int i = 0; i < 4; i++)
		mail_new(&A, "INBOX", NULL, "abcd" + i);
	mail_flags(&A, "INBOX", 2, MAIL_SEEN, 0);
	box_new(&B, "Extra");
	one_way(&o, way, &r);
	assert_equal(&A, &B);
	one_way(&o, way, &r);
	ck_assert_uint_eq(told_changes, 0);
	/* What the destination did is undone. */
	mail_flags(&B, "INBOX", 2, MAIL_FLAGGED, MAIL_SEEN);
	mail_flags(&A, "INBOX", 1, MAIL_DRAFT, 0);
	mail_expunge(&A, "INBOX", 3);
	one_way(&o, way, &r);
	assert_equal(&A, &B);
	mail_new(&B, "INBOX", NULL, "of the destination");
	one_way(&o, way, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
	ck_assert(!has_body(&B, "of the destination"));
	one_way(&o, way, &r);
	ck_assert_uint_eq(told_changes, 0);
	free_sides();
}
END_TEST

START_TEST(backup_finds_its_mails_under_other_uids)
{
	struct sync_options o = { 0 };
	struct sync_result r;
	int way = _i / BOTH_PEERS;

	make_sides(_i % BOTH_PEERS);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "one");
	mail_new(&A, "INBOX", NULL, "two");
	mail_new(&B, "INBOX", NULL, "other");
	mail_new(&B, "INBOX", NULL, "another");
	mail_new(&B, "INBOX", NULL, "one");
	one_way(&o, way, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(has_body(&B, "one") && has_body(&B, "two"));
	/* With GUIDs in use the source's "one" is another mail. */
	ck_assert_uint_eq(r.counts.saved,
	    kinds[_i % KINDS][0] == GUIDS && kinds[_i % KINDS][1] == FULL ? 2
									  : 1);
	one_way(&o, way, &r);
	ck_assert_uint_eq(told_changes, 0);
	mail_expunge(&A, "INBOX", 1);
	one_way(&o, way, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 1);
	ck_assert(has_body(&B, "two"));
	free_sides();
}
END_TEST

START_TEST(one_way_takes_deletes_and_doubles_nothing)
{
	struct sync_options o = { .one_way = true };
	struct sync_result r;
	int way = _i / BOTH_PEERS;

	make_sides(_i % BOTH_PEERS);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "one");
	mail_new(&A, "INBOX", NULL, "two");
	mail_new(&B, "INBOX", NULL, "mine");
	one_way(&o, way, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
	one_way(&o, way, &r);
	ck_assert_uint_eq(told_changes, 0);
	mail_expunge(&A, "INBOX", 1);
	mail_new(&A, "INBOX", NULL, "three");
	one_way(&o, way, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 4);
	ck_assert(has_body(&B, "mine") && has_body(&B, "three"));
	free_sides();
}
END_TEST

/* ---- what is said ---- */

static unsigned rows, hashes, guids, requests, requests_by_uid;
static char seen_hash[HDR_HASH_LEN + 1];

static void
count_items(bool by_master, struct item *i)
{
	const struct item_change *c = &i->u.change;

	if (i->type == ITEM_REQUEST) {
		requests++;
		requests_by_uid += i->u.request.guid == NULL;
	}
	if (i->type != ITEM_CHANGE || !by_master || c->kind == CHANGE_EXPUNGE)
		return;
	rows++;
	hashes += c->hdr_hash != NULL;
	guids += c->guid[0] != '\0';
	(void)snprintf(seen_hash, sizeof(seen_hash), "%s",
	    c->hdr_hash == NULL ? "none" : c->hdr_hash);
}

static void
watch(void)
{
	rows = hashes = guids = requests = requests_by_uid = 0;
	sync_watch = count_items;
}

START_TEST(guids_are_used_where_the_receiving_side_can_set_them)
{
	struct sync_options o = { .mode = SYNC_BACKUP };

	sync_foreign = _i == 1;
	side_new_hidden(&A, "A", 1, GUIDS);
	side_new_hidden(&B, "B", 2, FULL);
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "g1", "one");
	watch();
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert_uint_eq(rows, 1);
	ck_assert_uint_eq(hashes, 0);
	ck_assert_uint_eq(guids, 1);
	ck_assert_uint_eq(mail_uid(&B, "INBOX", "g1"), 1);
	/* The other way round, or both ways, they are not enough. */
	mail_new(&B, "INBOX", "g2", "two");
	watch();
	ck_assert_int_eq(sync_mirror(&B, &A, NULL), 0);
	ck_assert_uint_eq(rows, 2);
	ck_assert_uint_eq(hashes, 2);
	ck_assert_uint_eq(guids, 2);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	ck_assert_uint_eq(mail_uid(&A, "INBOX", "g2"), 0);
	free_sides();
}
END_TEST

/*
 * What goes to another kind of peer is read through before: a short one is
 * kept, a long one read once more.
 */
START_TEST(a_body_is_read_through_before_it_goes_to_another_kind_of_peer)
{
	static const size_t sizes[] = { 1, 65535, 65536, 65537, 300000 };
	char *p = malloc(sizes[4]);

	ck_assert_ptr_nonnull(p);
	for (size_t i = 0; i < sizes[4]; i++)
		p[i] = (char)('a' + i % 23);
	make_sides(KINDS * _i + 1);
	for (int i = 0; i < 5; i++)
		mail_bytes(&A, "INBOX", NULL, p, sizes[i]);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(hidden_opened(A.r), sync_foreign ? 7 : 5);
	ck_assert(sides_equal(&A, &B));
	free(p);
	free_sides();
}
END_TEST

START_TEST(an_empty_side_is_told_no_hashes)
{
	make_sides(KINDS * _i + 1);
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g2", "two");
	watch();
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(rows, 2);
	ck_assert_uint_eq(hashes, 2);
	ck_assert_uint_eq(guids, 0);
	ck_assert_str_eq(seen_hash, "");
	ck_assert_uint_eq(requests, 2);
	ck_assert_uint_eq(requests_by_uid, 2);
	/* No header was read, only both mails. */
	ck_assert_uint_eq(hidden_opened(A.r), 2);
	free_sides();
}
END_TEST

START_TEST(each_header_is_read_once)
{
	struct sync_options o = { .type = SYNC_FULL };

	make_sides(KINDS * _i);
	for (int i = 0; i < 20; i++)
		mail_new(&A, "INBOX", NULL, "abcdefghijklmnopqrst" + i);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(hidden_opened(A.r), 20);
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert_uint_eq(hidden_opened(A.r), 40);
	ck_assert_uint_eq(hidden_opened(B.r), 20);
	free_sides();
}
END_TEST

/* Between sources that have GUIDs a body crosses once, by its GUID. */
START_TEST(instances_are_copied_by_the_guid_that_the_source_gives)
{
	struct sync_result r;

	make_sides(KINDS * _i + 3);
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g1", "one");
	box_new(&A, "Copy");
	mail_new(&A, "Copy", "g1", "one");
	watch();
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(requests, 1);
	ck_assert_uint_eq(requests_by_uid, 0);
	ck_assert_uint_eq(r.counts.saved, 1);
	ck_assert_uint_eq(r.counts.copied, 2);
	sync_watch = NULL;
	settle();
	free_sides();
}
END_TEST

START_TEST(instances_cross_once_even_where_no_guid_is_kept)
{
	struct sync_result r;

	make_sides(KINDS * _i + 2);
	mail_new(&A, "INBOX", "g1", "one");
	mail_new(&A, "INBOX", "g1", "one");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 1);
	ck_assert_uint_eq(r.counts.copied, 1);
	settle();
	free_sides();
}
END_TEST

static unsigned minor;

static void
set_minor(bool by_master, struct item *i)
{
	count_items(by_master, i);
	if (i->type == ITEM_HANDSHAKE)
		i->u.handshake.minor = minor;
	/* An old side does not know have_save_guids. */
	if (i->type == ITEM_MAILBOX && minor < 2)
		i->u.mailbox.have_save_guids = false;
}

START_TEST(the_peers_version_chooses_the_hash)
{
	/* md5sum of "Date: a ?? b", and of "Date:a?b" */
	static const char *const v1 = "5f105e97446068a2eae9f3a49101566e",
				 *const v3 = "bd8da3ce85dc995f3cdae409a8b01e26";

	make_sides(KINDS);
	box_new(&B, "INBOX");
	mail_raw(&A, "INBOX", NULL, "Date: a ?? b\n\n");
	mail_new(&B, "INBOX", NULL, "other");
	minor = (unsigned)_i;
	watch();
	sync_watch = set_minor;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_str_eq(seen_hash, _i < 4 ? v1 : v3);
	free_sides();
}
END_TEST

START_TEST(an_old_peer_that_has_guids_can_set_them)
{
	sync_foreign = true;
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "g1", "one");
	minor = _i == 0 ? 1 : 2;
	watch();
	sync_watch = set_minor;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_uint_eq(rows, 1);
	ck_assert_uint_eq(hashes, 0);
	ck_assert_uint_eq(mail_uid(&B, "INBOX", "g1"), 1);
	free_sides();
}
END_TEST

static const char *const *listed;
static size_t n_listed;

static void
set_hashed(bool by_master, struct item *i)
{
	if (i->type == ITEM_HANDSHAKE && by_master) {
		i->u.handshake.hashed_headers = listed;
		i->u.handshake.n_hashed_headers = n_listed;
	}
}

static void
slaves_hash(bool by_master, struct item *i)
{
	set_hashed(by_master, i);
	if (i->type == ITEM_CHANGE && !by_master)
		count_items(true, i);
}

START_TEST(the_slave_hashes_what_the_master_lists)
{
	static const char *const subject[] = { "Subject" };

	make_sides(KINDS * _i);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "other");
	mail_raw(&B, "INBOX", NULL, "Subject: s\nDate: a\n\n");
	listed = subject;
	n_listed = 1;
	watch();
	sync_watch = slaves_hash;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	/* md5sum of "Subject:s" and an empty line */
	ck_assert_str_eq(seen_hash, "67d247eeeecd066b50bf5aad194976da");
	free_sides();
}
END_TEST

START_TEST(a_master_that_lists_no_headers_means_the_usual_ones)
{
	static const char *const nothing[] = { "", "" };

	make_sides(KINDS * (_i % 2));
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "other");
	mail_raw(&B, "INBOX", NULL, "Date: a ?? b\nSubject: s\n\n");
	listed = nothing;
	n_listed = _i < 2 ? 0 : 2;
	watch();
	sync_watch = slaves_hash;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_str_eq(seen_hash, "bd8da3ce85dc995f3cdae409a8b01e26");
	free_sides();
}
END_TEST

static void
no_hash(bool by_master, struct item *i)
{
	(void)by_master;
	if (i->type == ITEM_CHANGE)
		i->u.change.hdr_hash = NULL;
}

/* Or all its mails would be doubled. */
START_TEST(a_peer_that_tells_no_hashes_is_refused)
{
	make_sides(KINDS * _i);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "one");
	mail_new(&B, "INBOX", NULL, "one");
	sync_watch = no_hash;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), -EBADMSG);
	free_sides();
}
END_TEST

START_TEST(a_hostile_list_of_headers_is_refused)
{
	static const char *many[65];
	static char longest[HDR_HASH_NAME_MAX + 2];
	static const char *one[] = { longest };

	make_sides(0);
	for (size_t i = 0; i < 65; i++)
		many[i] = "X";
	memset(longest, 'x', sizeof(longest) - 1);
	listed = _i == 0 ? many : one;
	n_listed = _i == 0 ? 65 : 1;
	sync_watch = set_hashed;
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), -EBADMSG);
	free_sides();
}
END_TEST

/* ---- what cannot be read ---- */

/* The damaged mail keeps its good copy, and nothing else is held up. */
START_TEST(a_damaged_mail_does_not_cost_its_copy)
{
	struct sync_options o = { 0 };
	struct sync_result r;
	int way = _i / BOTH_PEERS;

	make_sides(_i % BOTH_PEERS);
	for (int i = 0; i < 4; i++)
		mail_new(&A, "INBOX", NULL, "abcd" + i);
	one_way(&o, way, &r);
	assert_equal(&A, &B);
	hidden_unreadable(A.r, 2);
	mail_flags(&A, "INBOX", 3, MAIL_SEEN, 0);
	mail_expunge(&A, "INBOX", 4);
	o.type = SYNC_FULL;
	ck_assert_int_eq(
	    way == 0 ? sync_with(&A, &B, &o, &r) : sync_with(&B, &A, &o, &r),
	    0);
	ck_assert_uint_ge(mail_count(&B, "INBOX"), 3);
	ck_assert(mail_get(&B, "INBOX", 2, NULL));
	ck_assert(has_body(&B, "body of bcd"));
	hidden_unreadable(A.r, 0);
	ck_assert_int_eq(
	    way == 0 ? sync_with(&A, &B, &o, &r) : sync_with(&B, &A, &o, &r),
	    0);
	ck_assert(!r.incomplete);
	assert_equal(&A, &B);
	free_sides();
}
END_TEST

/* Under another UID nobody knows which one it is: all that is left over stays.
 */
START_TEST(a_damaged_mail_keeps_a_copy_under_another_uid)
{
	struct sync_options o = { 0 };
	struct sync_result r;

	make_sides(_i);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "one");
	mail_new(&A, "INBOX", NULL, "two");
	mail_new(&B, "INBOX", NULL, "other");
	one_way(&o, 0, &r);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(!mail_get(&B, "INBOX", 1, NULL));
	hidden_unreadable(A.r, 1);
	mail_new(&B, "INBOX", NULL, "extra");
	one_way(&o, 0, &r);
	ck_assert(r.incomplete);
	ck_assert(has_body(&B, "body of one"));
	hidden_unreadable(A.r, 0);
	one_way(&o, 0, &r);
	ck_assert(!r.incomplete);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert(has_body(&B, "body of one") && has_body(&B, "body of two"));
	free_sides();
}
END_TEST

START_TEST(a_damaged_mail_is_told_and_stays_on_both_sides)
{
	struct sync_options o = { .type = SYNC_FULL };
	struct sync_result r;

	make_sides(_i);
	for (int i = 0; i < 4; i++)
		mail_new(&A, "INBOX", NULL, "abcd" + i);
	settle();
	hidden_unreadable(A.r, 2);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert(r.incomplete);
	ck_assert_uint_eq(r.counts.expunged, 0);
	ck_assert(has_body(&B, "body of bcd"));
	ck_assert(sync_foreign || mail_get(&B, "INBOX", 2, NULL));
	hidden_unreadable(A.r, 0);
	ck_assert(has_body(&A, "body of bcd"));
	free_sides();
}
END_TEST

/* ---- the workaround for empty headers ---- */

START_TEST(an_empty_header_can_be_taken_for_any)
{
	struct sync_options o = { .type = SYNC_FULL,
		.empty_hdr_workaround = _i % 2 == 1 };
	struct sync_result r;

	make_sides(_i < 2 ? 0 : KINDS);
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", NULL, "a");
	mail_raw(&B, "INBOX", NULL, "Subject: lost its headers\n\nbody\n");
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(
	    mail_count(&A, "INBOX"), o.empty_hdr_workaround ? 1 : 2);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	free_sides();
}
END_TEST

/* ---- GUIDs of 128 bits ---- */

START_TEST(long_guids_meet_their_short_form)
{
	struct sync_result r;

	sync_foreign = _i == 1;
	side_new_hidden(&A, "A", 1, FULL);
	side_new_hidden(&B, "B", 2, FULL | REPLICA_GUID128);
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "a long one", "one");
	mail_new(&A, "INBOX", "a long one", "one");
	mail_new(&A, "INBOX", "another", "two");
	watch();
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(hashes, 0);
	ck_assert_uint_eq(r.counts.saved, 2);
	ck_assert_uint_eq(r.counts.copied, 1);
	sync_watch = NULL;
	ck_assert_uint_eq(mail_uid(&B, "INBOX", "another"), 0);
	settle();
	mail_expunge(&A, "INBOX", 1);
	mail_expunge(&B, "INBOX", 3);
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 1);
	mail_new(&A, "INBOX", "third", "three");
	mail_new(&B, "INBOX", NULL, "four");
	settle();
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
	/* Its body is found by the short form, too. */
	box_new(&A, "Copy");
	mail_new(&A, "Copy", "third", "three");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert_uint_eq(r.counts.saved, 0);
	ck_assert_uint_eq(r.counts.copied, 1);
	free_sides();
}
END_TEST

/* Between two dsyncfs also under different UIDs. */
START_TEST(short_guids_pair_under_other_uids)
{
	side_new_hidden(&A, "A", 1, FULL);
	side_new_hidden(&B, "B", 2, FULL | REPLICA_GUID128);
	box_new(&A, "INBOX");
	box_new(&B, "INBOX");
	mail_new(&A, "INBOX", "first", "one");
	/* SHA-1 of "first", its last 16 bytes */
	mail_new(&B, "INBOX", NULL, "two");
	mail_new(&B, "INBOX", "c13d44c3b06074939d43fa3759bd32c1", "one");
	settle();
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	free_sides();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_hash");
	TCase *t = tcase_create("hash");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(
	    t, mails_of_both_sides_reach_the_other, 0, BOTH_PEERS);
	tcase_add_loop_test(t, flags_of_both_sides_merge, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, expunges_of_both_sides_reach_the_other, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, one_uid_for_two_mails_gives_both_a_new_one, 0, BOTH_PEERS);
	tcase_add_loop_test(t, mails_of_one_header_are_all_kept, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, mails_of_one_header_pair_up_in_order, 0, BOTH_PEERS);
	tcase_add_loop_test(t, sides_filled_apart_become_one, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, mails_of_one_header_and_other_sizes_are_not_one, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, mails_without_headers_are_told_apart_by_uid, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, a_mail_that_the_peer_never_had_is_not_expunged, 0, KINDS);
	tcase_add_loop_test(t, a_full_run_brings_nothing_back, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, many_mails_and_expunges_all_arrive, 0, BOTH_PEERS);
	tcase_add_loop_test(
	    t, a_move_for_a_third_replica_is_a_move_here, 0, KINDS);
	tcase_add_loop_test(
	    t, a_side_that_went_back_in_time_is_made_equal, 0, KINDS);
	tcase_add_loop_test(
	    t, backup_makes_the_destination_the_source, 0, WAYS);
	tcase_add_loop_test(
	    t, backup_finds_its_mails_under_other_uids, 0, WAYS);
	tcase_add_loop_test(
	    t, one_way_takes_deletes_and_doubles_nothing, 0, WAYS);
	tcase_add_loop_test(
	    t, guids_are_used_where_the_receiving_side_can_set_them, 0, 2);
	tcase_add_loop_test(t,
	    a_body_is_read_through_before_it_goes_to_another_kind_of_peer, 0,
	    2);
	tcase_add_loop_test(t, an_empty_side_is_told_no_hashes, 0, 2);
	tcase_add_loop_test(t, each_header_is_read_once, 0, 2);
	tcase_add_loop_test(
	    t, instances_are_copied_by_the_guid_that_the_source_gives, 0, 2);
	tcase_add_loop_test(
	    t, instances_cross_once_even_where_no_guid_is_kept, 0, 2);
	tcase_add_loop_test(t, the_peers_version_chooses_the_hash, 0, 6);
	tcase_add_loop_test(t, an_old_peer_that_has_guids_can_set_them, 0, 2);
	tcase_add_loop_test(t, the_slave_hashes_what_the_master_lists, 0, 2);
	tcase_add_loop_test(
	    t, a_master_that_lists_no_headers_means_the_usual_ones, 0, 4);
	tcase_add_loop_test(t, a_peer_that_tells_no_hashes_is_refused, 0, 2);
	tcase_add_loop_test(t, a_hostile_list_of_headers_is_refused, 0, 2);
	tcase_add_loop_test(t, a_damaged_mail_does_not_cost_its_copy, 0, WAYS);
	tcase_add_loop_test(
	    t, a_damaged_mail_keeps_a_copy_under_another_uid, 0, 2);
	tcase_add_loop_test(
	    t, a_damaged_mail_is_told_and_stays_on_both_sides, 0, BOTH_PEERS);
	tcase_add_loop_test(t, an_empty_header_can_be_taken_for_any, 0, 4);
	tcase_add_loop_test(t, long_guids_meet_their_short_form, 0, 2);
	tcase_add_test(t, short_guids_pair_under_other_uids);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
