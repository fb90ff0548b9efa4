/*
 * sync_tree_dsync -- the rules of specs/dsync-protocol.md 4, one by one, and
 * what both halves together make of the trees.
 *
 * L is one side, R the other; both halves are computed, so L's is what a
 * dsyncfs does and R's what the peer does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "lib/check_main.h"
#include "lib/sync_help.h"
#include "lib/tree_model.h"

enum { L, R };

static struct tree T[2];
static struct tree_plan P[2];
static struct buf text[2];

static void
setup(void)
{
	for (int s = 0; s < 2; s++) {
		tree_init(&T[s]);
		memset(&P[s], 0, sizeof(P[s]));
		buf_init(&text[s]);
	}
}

static void
teardown(void)
{
	for (int s = 0; s < 2; s++) {
		tree_plan_fini(&P[s]);
		tree_fini(&T[s]);
		buf_fini(&text[s]);
	}
}

/* ---- short words ---- */

/* "a": that byte sixteen times; 32 digits: themselves; "": a directory */
static struct guid
guid(const char *s)
{
	struct guid g;

	memset(&g, s[0], sizeof(g));
	if (strlen(s) == GUID_HEX_LEN)
		ck_assert_int_eq(guid_parse(s, &g), 0);
	return (g);
}

static struct tree_node *
node(int side, const char *name, const char *g, int64_t renamed)
{
	struct tree_node *n = tree_add(&T[side], name);

	ck_assert_ptr_nonnull(n);
	n->existence = EXISTS;
	n->guid = guid(g);
	n->uidvalidity = 1;
	n->uidnext = 1;
	n->renamed = renamed;
	n->id = (uint32_t)T[side].n;
	return (n);
}

static void
sub(struct tree_node *n, bool on, int64_t time)
{
	n->subscribed = on;
	n->subscription_changed = time;
}

/* Not there, but subscribed. */
static void
lone_sub(int side, const char *name, int64_t time)
{
	struct tree_node *n = tree_add(&T[side], name);

	ck_assert_ptr_nonnull(n);
	n->existence = PLACEHOLDER;
	sub(n, true, time);
}

static void
gone(int side, const char *g, int64_t time)
{
	struct item_delete d = { .id = guid(g), .time = time };

	ck_assert_int_eq(tree_add_gone(&T[side], GONE_MAILBOX, &d), 0);
}

static void
gone_name(int side, int kind, const char *spelled, int64_t time)
{
	struct item_delete d = { .time = time };

	ck_assert_int_eq(guid128_of_name(spelled, &d.id), 0);
	ck_assert_int_eq(tree_add_gone(&T[side], kind, &d), 0);
}

static void
tell(struct buf *b, const struct tree_action *a)
{
	static const char *const word[] = { "delete", "rmdir", "rename",
		"create", "merge", "mkdir", "subscribe", "unsubscribe" };

	buf_printf(
	    b, "%s%s %s", b->len == 0 ? "" : "; ", word[a->act], a->name);
	if (a->to != NULL)
		buf_printf(b, " %s", a->to);
	if (a->time != 0)
		buf_printf(b, " @%lld", (long long)a->time);
}

static const enum tree_mode other_mode[] = { [TREE_TWO_WAY] = TREE_TWO_WAY,
	[TREE_NO_DELETE] = TREE_TWO_WAY,
	[TREE_LOCAL_IS_SOURCE] = TREE_REMOTE_IS_SOURCE,
	[TREE_REMOTE_IS_SOURCE] = TREE_LOCAL_IS_SOURCE };

/* Both halves; did(side) says then what the side has to do. */
static void
compute(enum tree_mode mode)
{
	for (int s = 0; s < 2; s++)
		ck_assert_int_eq(tree_done(&T[s], s == L ? "L" : "R"), 0);
	for (int s = 0; s < 2; s++) {
		ck_assert_int_eq(
		    tree_dsync(&T[s], &T[!s], s == L ? mode : other_mode[mode],
			0, &P[s]),
		    0);
		for (size_t i = 0; i < P[s].actions; i++)
			tell(&text[s], &P[s].action[i]);
	}
}

static const char *
did(int side)
{
	return (buf_cstr(&text[side]));
}

/* ---- 4.3 deletions ---- */

START_TEST(a_deletion_beats_a_rename_and_keeps_its_time)
{
	node(L, "Renamed", "a", 99);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "delete Renamed @5");
	ck_assert_str_eq(did(R), "");
	ck_assert_uint_eq(P[L].drops, 1);
	ck_assert_str_eq(P[L].drop[0]->name, "Renamed");
	ck_assert_int_eq(P[L].drop_time[0], 5);
	ck_assert_uint_eq(P[L].n, 0);
}
END_TEST

START_TEST(what_lies_below_a_deleted_mailbox_stays)
{
	node(L, "A", "a", 0);
	node(L, "A/b", "b", 0);
	node(R, "A/b", "b", 0);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "delete A @5");
	ck_assert_str_eq(did(R), "");
	ck_assert_uint_eq(P[L].n, 1);
}
END_TEST

START_TEST(deleted_and_made_again_merges)
{
	node(L, "A", "a", 0);
	node(R, "A", "z", 0);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "merge A");
	ck_assert_str_eq(did(R), "merge A");
}
END_TEST

START_TEST(a_mailbox_made_again_as_a_directory_is_deleted)
{
	node(L, "A", "a", 0);
	node(R, "A", "", 0);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "delete A @5");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(only_a_newer_record_deletes_a_directory)
{
	node(L, "Old", "", 4);
	node(L, "New", "", 5);
	gone_name(R, GONE_DIR, "Old", 5);
	gone_name(R, GONE_DIR, "New", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rmdir Old @5");
	ck_assert_str_eq(did(R), "mkdir New @5");
}
END_TEST

START_TEST(a_deleted_directory_with_children_stays)
{
	node(L, "D", "", 0);
	node(L, "D/x", "a", 0);
	gone_name(R, GONE_DIR, "D", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "create D/x");
}
END_TEST

START_TEST(names_are_hashed_as_their_sender_spells_them)
{
	T[R].sep = '.';
	T[R].escape = '%';
	node(L, "a.b/c%d", "", 0);
	node(L, "a/b", "", 0);
	gone_name(R, GONE_DIR, "a%2eb.c%25d", 5);
	gone_name(R, GONE_DIR, "a.b", 6);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rmdir a/b @6; rmdir a.b/c%d @5");
}
END_TEST

START_TEST(without_an_escape_character_the_substitute_is_hashed)
{
	T[R].sep = '.';
	node(L, "a.b/c%d", "", 0);
	gone_name(R, GONE_DIR, "a_b.c%d", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rmdir a.b/c%d @5");
}
END_TEST

START_TEST(a_newer_unsubscription_wins)
{
	sub(node(L, "A", "a", 0), true, 4);
	sub(node(L, "B", "b", 0), true, 5);
	lone_sub(L, "Gone", 4);
	node(R, "B", "b", 0);
	lone_sub(L, "Kept", 5);
	gone_name(R, GONE_SUBSCRIPTION, "A", 5);
	gone_name(R, GONE_SUBSCRIPTION, "B", 5);
	gone_name(R, GONE_SUBSCRIPTION, "Kept", 5);
	gone_name(R, GONE_SUBSCRIPTION, "Gone", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "unsubscribe A @5; unsubscribe Gone @5");
	ck_assert_str_eq(did(R), "create A; subscribe B @5; subscribe Kept @5");
}
END_TEST

START_TEST(inbox_is_never_deleted)
{
	node(L, "INBOX", "a", 0);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_uint_eq(P[L].n, 1);
}
END_TEST

/* Neither side can rename INBOX, so both names stay with one mailbox. */
START_TEST(a_mailbox_is_no_directory_that_can_be_dropped)
{
	node(L, "M", "a", 0);
	node(R, "INBOX", "a", 0);
	gone_name(R, GONE_DIR, "M", 5);
	compute(TREE_TWO_WAY);
	ck_assert_ptr_null(strstr(did(L), "rmdir"));
}
END_TEST

/* ---- 4.4 renames ---- */

START_TEST(the_newer_rename_wins_with_its_time)
{
	node(L, "Old", "a", 6);
	node(R, "New", "a", 7);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rename Old New @7");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(equal_times_take_the_first_in_depth_first_order)
{
	node(L, "Y", "a", 0);
	node(R, "X", "a", 0);
	node(L, "P a", "b", 3);
	node(R, "P/b", "b", 3);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rename P a P/b @3; rename Y X");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(a_rename_carries_all_that_lies_below)
{
	node(L, "Work", "a", 0);
	node(L, "Work/Sub", "b", 0);
	node(L, "Work/New", "c", 0);
	node(R, "Job", "a", 7);
	node(R, "Job/Sub", "b", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rename Work Job @7");
	ck_assert_str_eq(did(R), "create Job/New");
}
END_TEST

/* The child's own rename is older than its parent's. */
START_TEST(a_parents_time_counts_for_what_lies_below)
{
	node(L, "P", "p", 9);
	node(L, "P/a", "a", 0);
	node(R, "Q", "p", 0);
	node(R, "Q/b", "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "rename Q P @9; rename P/b P/a @9");
}
END_TEST

/* Where the other side has no directory at the old place there is no pair. */
START_TEST(mailboxes_of_a_renamed_directory_go_one_by_one)
{
	node(L, "D1", "", 0);
	node(L, "D1/m", "a", 0);
	node(L, "D1/n", "b", 0);
	node(R, "D2", "", 9);
	node(R, "D2/m", "a", 0);
	node(R, "D2/n", "b", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "rename D1/m D2/m @9; rename D1/n D2/n @9; mkdir D2 @9");
	ck_assert_str_eq(did(R), "mkdir D1");
}
END_TEST

START_TEST(a_directory_goes_where_its_mailboxes_are)
{
	node(L, "D1/m", "a", 0);
	node(L, "D3", "", 0);
	node(L, "D3/o", "c", 0);
	node(R, "D1", "", 8);
	node(R, "D1/o", "c", 0);
	node(R, "D2/m", "a", 9);
	compute(TREE_TWO_WAY);
	/* D1 has no entry here, but something below it. */
	ck_assert_str_eq(did(L),
	    "rename D1 D1-temp-1; rename D3 D1 @8; rename D1-temp-1/m D2/m @9");
	ck_assert_str_eq(did(R), "");
}
END_TEST

/* "One level up": what is known lies two levels below. */
START_TEST(a_directory_of_directories_goes_along)
{
	node(L, "D1/k/m", "a", 0);
	node(L, "D3", "", 0);
	node(L, "D3/k/o", "c", 0);
	node(R, "D1", "", 8);
	node(R, "D1/k/o", "c", 0);
	node(R, "D2/k/m", "a", 9);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L),
	    "rename D1 D1-temp-1; rename D3 D1 @8; rename D1-temp-1/k/m D2/k/m "
	    "@9");
	ck_assert_str_eq(did(R), "");
}
END_TEST

/*
 * The first rename makes both directories look like one, which is as dsync has
 * it.
 */
START_TEST(directories_that_swapped_what_they_hold_become_one)
{
	node(L, "D1/m", "a", 0);
	node(L, "D2/o", "c", 0);
	node(R, "D1/o", "c", 8);
	node(R, "D2/m", "a", 9);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "rename D2/o D1/o @8");
	ck_assert_str_eq(did(R),
	    "rename D1 D1-temp-1; rename D2 D1; rename D1-temp-1/o D1/o @8");
	for (int s = 0; s < 2; s++) {
		ck_assert_uint_eq(P[s].n, 2);
		ck_assert_str_eq(P[s].box[0].name, "D1/m");
		ck_assert_str_eq(P[s].box[1].name, "D1/o");
	}
}
END_TEST

/* RESOLVE 3a: the peer does not have the mailbox that is in the way. */
START_TEST(what_is_in_the_way_gets_a_temporary_name)
{
	node(L, "A", "a", 9);
	node(R, "B", "a", 0);
	node(R, "A", "x", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "create A-temp-78787878787878787878787878787878");
	ck_assert_str_eq(did(R),
	    "rename A A-temp-1; rename B A @9; rename A-temp-1 "
	    "A-temp-78787878787878787878787878787878");
}
END_TEST

START_TEST(swapped_names_are_swapped)
{
	node(L, "A", "a", 0);
	node(L, "B", "b", 0);
	node(R, "B", "a", 7);
	node(R, "A", "b", 8);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "rename A A-temp-1; rename B A @8; rename A-temp-1 B @7");
	ck_assert_str_eq(did(R), "");
}
END_TEST

/* RESOLVE 3b: nothing to do at this place, the other one decides. */
START_TEST(a_chain_of_renames_is_followed)
{
	node(L, "A", "a", 9);
	node(L, "B", "b", 9);
	node(L, "C", "c", 9);
	node(R, "B", "a", 0);
	node(R, "C", "b", 0);
	node(R, "D", "c", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "rename B A @9; rename C B @9; rename D C @9");
}
END_TEST

START_TEST(each_moved_below_the_other_ends_the_same_on_both_sides)
{
	node(L, "X", "a", 0);
	node(L, "X/Y", "b", 5);
	node(R, "Y", "b", 0);
	node(R, "Y/X", "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_uint_eq(P[L].n, 2);
	ck_assert_uint_eq(P[R].n, 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_str_eq(P[L].box[i].name, P[R].box[i].name);
		ck_assert(guid_eq(&P[L].box[i].guid, &P[R].box[i].guid));
	}
}
END_TEST

/* MOVE: the new parent lies below what moves. */
START_TEST(nothing_is_moved_into_itself)
{
	node(L, "1", "1", 0);
	node(L, "1/2", "2", 0);
	node(R, "1/2", "1", 3);
	node(R, "1", "2", 4);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(R), "");
	ck_assert_str_eq(did(L),
	    "rename 1 1-temp-1; rename 1-temp-1/2 1 @4; rename 1-temp-1 1/2 "
	    "@4");
}
END_TEST

/* RESOLVE 3d, and then the temporary name, which is older than all others. */
START_TEST(nothing_is_moved_below_the_place_where_it_was)
{
	node(L, "A", "a", 0);
	node(R, "A/x", "a", 7);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "rename A/x x-temp-1; rename x-temp-1 A");
}
END_TEST

/* A place that is only made to mirror a temporary name is temporary as well. */
START_TEST(places_for_temporary_names_are_temporary)
{
	node(L, "b", "z", 0);
	node(R, "b", "b", 0);
	node(R, "b/a", "z", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L),
	    "rename b b-temp-1; rename b-temp-1 a-temp-1; rename a-temp-1 "
	    "a-temp-7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a; create b");
	ck_assert_str_eq(did(R),
	    "rename b/a a-temp-1; rename a-temp-1 "
	    "a-temp-7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a");
}
END_TEST

START_TEST(inbox_is_never_renamed)
{
	node(L, "INBOX", "a", 0);
	node(L, "Foo", "b", 0);
	node(R, "Foo", "a", 9);
	node(R, "INBOX", "b", 9);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(a_long_name_is_cut_for_its_temporary_name)
{
	char name[201], want[512];

	memset(name, 'n', 200);
	name[200] = '\0';
	node(L, name, "a", 9);
	node(R, "B", "a", 0);
	node(R, name, "x", 0);
	compute(TREE_TWO_WAY);
	/* 67 and the GUID are 99. */
	(void)snprintf(want, sizeof(want), "create %.67s%s", name,
	    "78787878787878787878787878787878");
	ck_assert_str_eq(did(L), want);
	(void)snprintf(
	    want, sizeof(want), "rename %s %.86s-temp-1; ", name, name);
	ck_assert_int_eq(strncmp(did(R), want, strlen(want)), 0);
}
END_TEST

/* 86 bytes end inside a character: the name must be one that can be made. */
START_TEST(a_cut_name_stays_valid)
{
	char name[201] = "n";

	for (int i = 0; i < 90; i++)
		strcat(name, "\xc3\xa9");
	node(L, "B", "a", 0);
	node(L, name, "x", 0);
	node(R, name, "a", 9);
	compute(TREE_TWO_WAY);
	ck_assert_ptr_nonnull(strstr(did(L), "\xc3\xa9_-temp-1;"));
}
END_TEST

START_TEST(the_first_unused_number_makes_a_temporary_name)
{
	node(L, "A", "a", 9);
	node(R, "B", "a", 0);
	node(R, "A", "x", 0);
	node(R, "A-temp-1", "y", 0);
	node(L, "A-temp-1", "y", 0);
	compute(TREE_TWO_WAY);
	ck_assert_int_eq(strncmp(did(R), "rename A A-temp-2; ", 19), 0);
}
END_TEST

START_TEST(a_taken_final_name_is_counted_up)
{
	node(L, "A", "a", 9);
	node(R, "B", "a", 0);
	node(R, "A", "x", 0);
	node(R, "A-temp-78787878787878787878787878787878", "y", 0);
	node(L, "A-temp-78787878787878787878787878787878", "y", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "create A-temp-78787878787878787878787878787879");
}
END_TEST

/* Step D: the directory's name is a hash over the first mailbox in it. */
START_TEST(a_directory_in_the_way_is_named_by_what_it_holds)
{
	char want[256], hex[33];
	struct buf b = BUF_INIT;
	struct guid x = guid("x");
	uint8_t sum[16];

	node(L, "A", "a", 9);
	node(R, "B", "a", 0);
	node(R, "A", "", 0);
	node(R, "A/m", "x", 0);
	buf_put(&b, x.b, sizeof(x.b));
	buf_put(&b, "m", 1);
	ck_assert_int_eq(md5(b.data, b.len, sum), 0);
	hex_encode(sum, sizeof(sum), hex);
	buf_fini(&b);
	compute(TREE_TWO_WAY);
	(void)snprintf(want, sizeof(want),
	    "create A-temp-%s/m; mkdir A-temp-%s", hex, hex);
	ck_assert_str_eq(did(L), want);
}
END_TEST

START_TEST(an_empty_directory_in_the_way_is_dropped)
{
	node(L, "A", "a", 9);
	node(R, "B", "a", 0);
	node(R, "A", "", 0);
	node(R, "A/d", "", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R),
	    "rename A A-temp-1; rename B A @9; rmdir A-temp-1/d; rmdir "
	    "A-temp-1");
}
END_TEST

/* Both halves see it, and say so, instead of walking for ever. */
START_TEST(renames_that_do_not_settle_fail_on_both_sides)
{
	node(L, "1", "a", 0);
	node(L, "1/0", "b", 0);
	node(R, "0", "", 0);
	node(R, "0/1/0", "c", 0);
	node(R, "0/1/0/2", "a", 0);
	node(R, "0/2/2", "b", 0);
	for (int s = 0; s < 2; s++)
		ck_assert_int_eq(tree_done(&T[s], "x"), 0);
	for (int s = 0; s < 2; s++)
		ck_assert_int_eq(
		    tree_dsync(&T[s], &T[!s], TREE_TWO_WAY, 0, &P[s]), -ELOOP);
}
END_TEST

START_TEST(the_deepest_names_are_walked)
{
	char name[4096];

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 == 0 ? 'a' : '/';
	name[sizeof(name) - 1] = '\0';
	node(L, name, "a", 0);
	name[sizeof(name) - 2] = 'b';
	node(R, name, "a", 9);
	node(R, "a", "b", 9);
	compute(TREE_TWO_WAY);
	ck_assert_uint_eq(P[L].n, 2);
	ck_assert_uint_eq(P[R].n, 2);
	ck_assert_str_eq(P[L].box[1].name, P[R].box[1].name);
}
END_TEST

START_TEST(a_tree_that_becomes_too_deep_is_refused)
{
	char name[4096];

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 == 0 ? 'a' : '/';
	name[sizeof(name) - 1] = '\0';
	node(L, "a", "a", 0);
	node(L, name, "b", 0);
	name[0] = 'b';
	node(R, name, "a", 9);
	for (int s = 0; s < 2; s++)
		ck_assert_int_eq(tree_done(&T[s], "x"), 0);
	for (int s = 0; s < 2; s++)
		ck_assert_int_eq(
		    tree_dsync(&T[s], &T[!s], TREE_TWO_WAY, 0, &P[s]), -ELOOP);
}
END_TEST

/* ---- 4.5 creation ---- */

START_TEST(what_one_side_lacks_is_made_with_its_guid_and_time)
{
	node(R, "A", "a", 7)->uidvalidity = 77;
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "create A @7");
	ck_assert(guid_eq(&P[L].action[0].guid, &P[L].box[0].guid));
	ck_assert_uint_eq(P[L].action[0].uidvalidity, 77);
	ck_assert_uint_eq(P[L].action[0].box, 0);
	ck_assert_uint_eq(P[L].box[0].id, 0);
}
END_TEST

START_TEST(a_directory_becomes_the_mailbox_of_its_name)
{
	node(L, "A", "", 5);
	node(R, "A", "a", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "create A");
	ck_assert_str_eq(did(R), "");
	ck_assert_uint_eq(P[L].box[0].id, 0);
}
END_TEST

START_TEST(a_mailbox_that_both_made_goes_by_both_guids)
{
	struct guid a = guid("a"), z = guid("z");

	node(L, "A", "a", 0);
	node(R, "A", "z", 0);
	compute(TREE_TWO_WAY);
	for (int s = 0; s < 2; s++) {
		ck_assert_str_eq(did(s), "merge A");
		ck_assert(P[s].box[0].merged);
		ck_assert_uint_eq(P[s].box[0].id, 1);
		ck_assert(guid_eq(&P[s].box[0].guid, &z));
		ck_assert(guid_eq(&P[s].box[0].other, &a));
	}
}
END_TEST

/* Step G: what is in the way here has everything done twice. */
START_TEST(what_both_made_is_merged_once_however_often_all_begins_again)
{
	struct guid a = guid("a"), z = guid("z");

	node(L, "D/m", "m", 0);
	node(L, "D/a/n", "n", 0);
	node(R, "D/a/n", "m", 0);
	node(L, "Both", "a", 0);
	node(R, "Both", "z", 0);
	compute(TREE_TWO_WAY);
	for (int s = 0; s < 2; s++) {
		const char *at = strstr(did(s), "merge Both");

		ck_assert_ptr_nonnull(strstr(did(s), "-temp-6e6e"));
		ck_assert_ptr_nonnull(at);
		ck_assert_ptr_null(strstr(at + 1, "merge Both"));
		ck_assert(guid_eq(&P[s].box[0].guid, &z));
		ck_assert(guid_eq(&P[s].box[0].other, &a));
	}
}
END_TEST

/* The names that step D gives are places of their own when it begins again. */
START_TEST(directories_follow_a_final_name)
{
	node(L, "A", "z", 0);
	node(R, "A/c/a", "z", 0);
	node(R, "A/a/b", "d", 0);
	node(R, "A/b/c", "", 0);
	compute(TREE_TWO_WAY);
	ck_assert_uint_eq(P[L].n, 3);
	ck_assert_uint_eq(P[R].n, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_str_eq(P[L].box[i].name, P[R].box[i].name);
}
END_TEST

/* ---- 4.6 backup ---- */

START_TEST(a_backup_drops_only_what_the_source_has_not)
{
	node(R, "Kept", "k", 0)->uidnext = 5;
	node(L, "Kept", "k", 0)->uidnext = 9;
	T[L].node[0].uidvalidity = 4;
	node(L, "Extra", "e", 0);
	node(L, "Extra/below", "f", 0);
	node(L, "Dir", "", 0);
	compute(TREE_REMOTE_IS_SOURCE);
	ck_assert_str_eq(did(L), "delete Extra/below; delete Extra; rmdir Dir");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(a_backup_keeps_what_the_source_has_under_another_name)
{
	node(L, "INBOX", "a", 0);
	node(R, "Foo", "a", 0);
	compute(TREE_REMOTE_IS_SOURCE);
	ck_assert_str_eq(did(L), "mkdir Foo");
	ck_assert_uint_eq(P[L].drops, 0);
}
END_TEST

START_TEST(a_backup_takes_over_the_guid_of_a_name)
{
	struct guid a = guid("a");

	node(L, "A", "z", 99);
	node(R, "A", "a", 0);
	compute(TREE_REMOTE_IS_SOURCE);
	ck_assert_str_eq(did(L), "merge A");
	ck_assert(guid_eq(&P[L].box[0].guid, &a));
	ck_assert(guid_is_zero(&P[L].box[0].other));
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(a_backup_takes_the_sources_names_however_old)
{
	node(L, "New", "a", 99);
	node(R, "Old", "a", 0);
	sub(node(L, "S", "s", 0), true, 99);
	sub(node(R, "S", "s", 0), false, 1);
	compute(TREE_REMOTE_IS_SOURCE);
	ck_assert_str_eq(did(L), "rename New Old; unsubscribe S @1");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(a_backup_brings_back_what_was_deleted_here)
{
	node(R, "A", "a", 0);
	node(R, "D", "", 0);
	gone(L, "a", 50);
	gone_name(L, GONE_DIR, "D", 50);
	compute(TREE_REMOTE_IS_SOURCE);
	ck_assert_str_eq(did(L), "create A; mkdir D");
}
END_TEST

START_TEST(the_source_of_a_backup_has_nothing_to_do)
{
	node(L, "A", "a", 0);
	node(R, "B", "a", 99);
	node(R, "C", "c", 0);
	lone_sub(R, "A", 9);
	compute(TREE_LOCAL_IS_SOURCE);
	ck_assert_str_eq(did(L), "");
	ck_assert_uint_eq(P[L].n, 1);
	ck_assert_str_eq(P[L].box[0].name, "A");
}
END_TEST

START_TEST(a_one_way_merge_deletes_nothing_and_remembers_its_own_deletions)
{
	node(L, "A", "a", 0);
	node(L, "D", "", 0);
	gone(R, "a", 50);
	gone_name(R, GONE_DIR, "D", 50);
	node(R, "B", "b", 0);
	gone(L, "b", 50);
	compute(TREE_NO_DELETE);
	ck_assert_str_eq(did(L), "");
	ck_assert_uint_eq(P[L].n, 2);
}
END_TEST

/* ---- 4.7 directories, subscriptions; 4.8 order ---- */

START_TEST(a_directory_without_mail_is_made_with_its_time)
{
	node(R, "D", "", 6);
	node(R, "D/E", "", 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "mkdir D @6; mkdir D/E");
}
END_TEST

START_TEST(the_newer_subscription_wins_and_equal_means_subscribed)
{
	static const struct {
		const char *name;
		bool l, r;
		int64_t tl, tr;
	} s[] = { { "A", false, true, 3, 2 }, { "B", false, true, 2, 3 },
		{ "C", false, true, 3, 3 }, { "D", true, false, 3, 3 },
		{ "E", true, false, 2, 3 }, { "F", true, true, 2, 3 } };

	for (size_t i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
		sub(node(L, s[i].name, s[i].name, 0), s[i].l, s[i].tl);
		sub(node(R, s[i].name, s[i].name, 0), s[i].r, s[i].tr);
	}
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "subscribe B @3; subscribe C @3; unsubscribe E @3");
	ck_assert_str_eq(did(R), "unsubscribe A @3; subscribe D @3");
}
END_TEST

START_TEST(a_subscription_follows_its_mailbox_through_a_rename)
{
	sub(node(L, "Old", "a", 0), true, 3);
	node(R, "New", "a", 9);
	compute(TREE_TWO_WAY);
	/* The other half names it by its node, so the own list has to follow.
	 */
	ck_assert_str_eq(did(L), "rename Old New @9; subscribe New @3");
	ck_assert_str_eq(did(R), "subscribe New @3");
	ck_assert(P[L].unsettled); /* Old is only in the list here */
}
END_TEST

START_TEST(deletions_come_first_and_then_renames)
{
	node(L, "A", "a", 0);
	node(L, "B", "b", 0);
	node(R, "A", "b", 9);
	node(R, "C", "c", 0);
	lone_sub(R, "S", 1);
	gone(R, "a", 5);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L),
	    "rename A A-temp-1; rename B A @9; rename "
	    "A-temp-1 A-temp-61616161616161616161616161616161; "
	    "create C; subscribe S @1");
	/* A Dovecot keeps the temporary name on its side. */
	ck_assert(P[R].unsettled && !P[L].unsettled);
}
END_TEST

/* 5.1 */
START_TEST(mailboxes_come_depth_first)
{
	static const char *const order[] = { "A", "A/x", "A-", "B" };

	for (int i = 3; i >= 0; i--)
		node(L, order[i], &order[i][strlen(order[i]) - 1], 0);
	compute(TREE_TWO_WAY);
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(P[L].box[i].name, order[i]);
}
END_TEST

/* ---- captured sessions (specs/dsync-protocol.md 9), L is the slave ---- */

#define G_INBOX "c7dba016bab9046b4d7f000083ecc375"
#define G_WORK "75b6c62fbab9046bb87f000083ecc375"
#define G_SUB "76b6c62fbab9046bb87f000083ecc375"

START_TEST(captured_rename)
{
	node(L, "INBOX", G_INBOX, 0);
	sub(node(L, "Work", G_WORK, 0), true, 1795471802);
	node(L, "Work/Sub", G_SUB, 0);
	lone_sub(R, "Work", 1795471802);
	node(R, "INBOX", G_INBOX, 0);
	node(R, "Job", G_WORK, 1795471804);
	node(R, "Job/Sub", G_SUB, 0);
	T[L].sep = T[R].sep = '.';
	T[L].escape = T[R].escape = '%';
	compute(TREE_TWO_WAY);
	/* That the old name stays subscribed is said again. */
	ck_assert_str_eq(did(L),
	    "rename Work Job @1795471804; subscribe Job @1795471802; "
	    "subscribe Work @1795471802");
	ck_assert_str_eq(did(R), "subscribe Job @1795471802");
	ck_assert(!P[L].unsettled);
}
END_TEST

/* What the master's tree of this capture shows is what captured_rename led to.
 */
START_TEST(captured_deletion_and_unsubscription)
{
	lone_sub(L, "Work", 1795471802);
	node(L, "INBOX", G_INBOX, 0);
	node(L, "Job", G_WORK, 1795471804);
	node(L, "Job/Sub", G_SUB, 0);
	node(R, "INBOX", G_INBOX, 0);
	sub(node(R, "Job", G_WORK, 1795471804), true, 1795471804);
	T[L].sep = T[R].sep = '.';
	T[L].escape = T[R].escape = '%';
	gone(R, G_SUB, 1795471805);
	for (int kind = GONE_DIR; kind <= GONE_SUBSCRIPTION; kind++) {
		struct item_delete d = { .time = 1795471805 };

		d.id =
		    guid(kind == GONE_DIR ? "bb473855c62d3a75bd3a971221fbf13d"
					  : "00040bab8a787438c2c0cf5248ac0256");
		ck_assert_int_eq(tree_add_gone(&T[R], kind, &d), 0);
	}
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L),
	    "delete Job/Sub @1795471805; subscribe Job @1795471804; "
	    "unsubscribe Work @1795471805");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(captured_swap)
{
	node(L, "AA", "f810423abfb9046b620b000083ecc375", 0);
	node(L, "BB", "f910423abfb9046b620b000083ecc375", 0);
	node(L, "BB/sub", "fb10423abfb9046b620b000083ecc375", 0);
	node(R, "AA", "f910423abfb9046b620b000083ecc375", 1795471809);
	node(R, "AA/sub", "fb10423abfb9046b620b000083ecc375", 0);
	node(R, "BB", "f810423abfb9046b620b000083ecc375", 1795471809);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L),
	    "rename AA AA-temp-1; rename BB AA @1795471809; rename AA-temp-1 "
	    "BB @1795471809");
	ck_assert_str_eq(did(R), "");
}
END_TEST

START_TEST(captured_temporary_name)
{
	node(L, "INBOX", "27e1f319c1b9046b130c000083ecc375", 0);
	node(L, "W", "25e1f319c1b9046b130c000083ecc375", 1795471810);
	node(L, "X", "26e1f319c1b9046b130c000083ecc375", 1795471810);
	node(R, "X", "9990be2cc1b9046b460c000083ecc375", 0);
	node(R, "Y", "26e1f319c1b9046b130c000083ecc375", 0);
	node(R, "INBOX", "27e1f319c1b9046b130c000083ecc375", 0);
	node(R, "Z", "25e1f319c1b9046b130c000083ecc375", 1795471809);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(
	    did(L), "create X-temp-9990be2cc1b9046b460c000083ecc375");
	ck_assert_str_eq(did(R),
	    "rename Z W @1795471810; rename X X-temp-1; rename Y X "
	    "@1795471810; rename X-temp-1 "
	    "X-temp-9990be2cc1b9046b460c000083ecc375");
}
END_TEST

START_TEST(captured_guid_conflict)
{
	node(L, "Same", "44a62b2ebfb9046bac0a000083ecc375", 0);
	node(L, "INBOX", "3242a832bfb9046be70a000083ecc375", 0);
	node(R, "Same", "770c0e20beb9046b1905000083ecc375", 0);
	node(R, "INBOX", "61619b30bfb9046bbf0a000083ecc375", 0);
	compute(TREE_TWO_WAY);
	for (int s = 0; s < 2; s++)
		ck_assert_str_eq(did(s), "merge INBOX; merge Same");
}
END_TEST

START_TEST(captured_directory_deletion)
{
	struct item_delete d = { .time = 1795471617,
		.id = guid("0a9a495f880cca1a79c3caf5761a56ff") };

	for (int s = 0; s < 2; s++) {
		node(s, "a", "", 0);
		node(s, "a/b", "", 0);
		node(s, "a/b/c", "86b22e25ffb8046b8833000083ecc375", 0);
		node(s, "INBOX", "e404d927ffb8046b8a33000083ecc375", 0);
	}
	node(R, "dironly", "", 0);
	ck_assert_int_eq(tree_add_gone(&T[L], GONE_DIR, &d), 0);
	compute(TREE_TWO_WAY);
	ck_assert_str_eq(did(L), "");
	ck_assert_str_eq(did(R), "rmdir dironly @1795471617");
}
END_TEST

/* ---- both halves, executed ---- */

#define NAMES 12
#define GUIDS 200

static const char *const names[NAMES] = { "A", "B", "C", "A/x", "A/y", "B/x",
	"A/x/z", "B/x/z", "INBOX", "INBOX/x", "D/x", "D" };
static struct model M[2];
static uint64_t seed;
static unsigned guids;
/* what somebody deleted, or what is called by a larger GUID now */
static bool may_miss[GUIDS];
static unsigned rounds_needed[4];

static struct guid
numbered(unsigned i)
{
	struct guid g;

	memset(&g, (int)i, sizeof(g));
	return (g);
}

static void
merged(struct model *m, const struct tree_action *a)
{
	const struct model_node *n = model_find(m, a->name);

	ck_assert_ptr_nonnull(n);
	may_miss[guid_cmp(&n->guid, &a->guid) < 0 ? n->guid.b[0]
						  : a->guid.b[0]] = true;
	model_merge(m, a->name, &a->guid);
}

/* False: no common tree could be found, and neither side did. */
static bool
one_round(void)
{
	struct tree t[2];
	struct tree_plan p[2];
	int rc[2];

	for (int s = 0; s < 2; s++)
		model_tree(&M[s], s == 0 ? '/' : '.', 0, &t[s]);
	for (int s = 0; s < 2; s++)
		rc[s] = tree_dsync(&t[s], &t[!s], TREE_TWO_WAY, 0, &p[s]);
	ck_assert_int_eq(rc[0], rc[1]);
	for (int s = 0; s < 2; s++) {
		for (size_t i = 0; i < p[s].actions; i++)
			if (p[s].action[i].act == TREE_MERGE_BOX)
				merged(&M[s], &p[s].action[i]);
			else
				ck_assert_msg(model_do(&M[s], &p[s].action[i]),
				    "%s cannot do what it has to with %s",
				    M[s].label, p[s].action[i].name);
		tree_plan_fini(&p[s]);
	}
	for (int s = 0; s < 2; s++)
		tree_fini(&t[s]);
	return (rc[0] == 0);
}

static void
settle(void)
{
	unsigned n = 0;

	do {
		if (!one_round())
			return;
		n++;
	} while (n < 3 && model_difference(&M[0], &M[1]) != NULL);
	rounds_needed[n]++;
	if (model_difference(&M[0], &M[1]) != NULL) {
		model_print(&M[0]);
		model_print(&M[1]);
		ck_abort_msg("seed: %d", (int)n);
	}
	for (unsigned i = 1; i <= guids; i++) {
		struct guid g = numbered(i);

		for (int s = 0; s < 2 && !may_miss[i]; s++)
			ck_assert_msg(model_of_guid(&M[s], &g) != NULL,
			    "%s lost mailbox %u", M[s].label, i);
	}
}

static void
random_change(struct model *m, int64_t now)
{
	const char *a = names[rnd(&seed, NAMES)], *b = names[rnd(&seed, NAMES)];
	const struct model_node *n = model_find(m, a);
	struct guid g = numbered(guids + 1);

	switch (rnd(&seed, 8)) {
	case 0:
	case 1:
		guids += model_create(m, a, &g);
		break;
	case 2:
		(void)model_mkdir(m, a, now);
		break;
	case 3:
		g = n == NULL ? numbered(0) : n->guid;
		may_miss[g.b[0]] |= model_delete(m, a, now);
		break;
	case 4:
		model_subscribe(m, a, true, now);
		break;
	case 5:
		if (model_subscribed(m, a))
			model_subscribe(m, a, false, now);
		break;
	default:
		(void)model_rename(m, a, b, now);
	}
}

static void
begin_models(void)
{
	model_init(&M[0], "L");
	model_init(&M[1], "R");
	guids = 0;
	memset(may_miss, 0, sizeof(may_miss));
}

static void
end_models(void)
{
	model_fini(&M[0]);
	model_fini(&M[1]);
}

/* Clocks of one second: several changes may have the same time. */
START_TEST(random_histories_come_together)
{
	memset(rounds_needed, 0, sizeof(rounds_needed));
	for (unsigned h = 0; h < 500; h++) {
		int64_t now = 10;

		seed = (uint64_t)_i * 500 + h;
		begin_models();
		for (int round = 0; round < 3; round++) {
			for (unsigned k = rnd(&seed, 8); k > 0; k--) {
				now += rnd(&seed, 2);
				random_change(&M[rnd(&seed, 2)], now);
			}
			settle();
		}
		end_models();
	}
	/* Nearly all in one, and hardly any in three. */
	ck_assert_uint_gt(rounds_needed[1], 20 * rounds_needed[2]);
	ck_assert_uint_le(rounds_needed[3], 2);
}
END_TEST

static void
random_node(struct model *m)
{
	static const char *const level[] = { "0", "1", "2" };
	char name[64] = "";
	unsigned depth = 1 + rnd(&seed, 4), g = rnd(&seed, 10);
	struct guid id = numbered(g == 0 ? 0 : g - 1);
	int64_t renamed = rnd(&seed, 2) == 0 ? 0 : (int64_t)rnd(&seed, 6);

	if (rnd(&seed, 12) == 0)
		strcat(name, "INBOX/");
	while (depth-- > 0) {
		strcat(name, level[rnd(&seed, 3)]);
		if (depth > 0)
			strcat(name, "/");
	}
	if (guid_is_zero(&id))
		(void)model_mkdir(m, name, renamed);
	else if (model_create(m, name, &id))
		model_find(m, name)->renamed = renamed;
	if (rnd(&seed, 3) == 0)
		model_subscribe(m, name, true, rnd(&seed, 4));
}

/* Nobody could have made these two trees from one; they become one all the
 * same.
 */
START_TEST(unrelated_trees_come_together)
{
	unsigned failed = 0;

	memset(rounds_needed, 0, sizeof(rounds_needed));
	for (unsigned h = 0; h < 500; h++) {
		seed = (uint64_t)_i * 500 + h + 1000000;
		begin_models();
		for (unsigned k = 0; k < 16; k++)
			random_node(&M[k % 2]);
		for (unsigned i = 1; i < 9; i++) {
			struct guid g = numbered(i);

			may_miss[i] = model_of_guid(&M[0], &g) == NULL &&
			    model_of_guid(&M[1], &g) == NULL;
		}
		guids = 8;
		settle();
		end_models();
	}
	for (int n = 1; n < 4; n++)
		failed += rounds_needed[n];
	/* dsync itself gives up on some. */
	ck_assert_uint_ge(failed, 498);
	ck_assert_uint_le(rounds_needed[3], 6);
}
END_TEST

/* ---- 4.2 ---- */

static int
next_guid(void *arg, const struct tree_node *n, struct guid *out)
{
	unsigned *i = arg;

	(void)n;
	*out = numbered(++*i);
	return (0);
}

START_TEST(of_mailboxes_with_one_guid_the_largest_name_keeps_it)
{
	struct guid a = guid("a"), b = guid("b");
	unsigned given = 0;

	node(L, "M", "a", 0);
	node(L, "Z", "a", 0);
	node(L, "B", "b", 0);
	node(L, "A", "a", 0);
	ck_assert_int_eq(tree_part_guids(&T[L], next_guid, &given), 0);
	ck_assert_uint_eq(given, 2);
	ck_assert_int_eq(tree_done(&T[L], "L"), 0);
	ck_assert(guid_eq(&tree_by_name(&T[L], "Z")->guid, &a));
	ck_assert(guid_eq(&tree_by_name(&T[L], "B")->guid, &b));
	ck_assert(!guid_eq(&tree_by_name(&T[L], "M")->guid, &a));
	ck_assert(!guid_eq(&tree_by_name(&T[L], "A")->guid, &a));
}
END_TEST

START_TEST(a_peer_with_one_guid_twice_is_refused)
{
	node(R, "A", "a", 0);
	node(R, "B", "a", 0);
	ck_assert_int_eq(tree_done(&T[R], "R"), -EBADMSG);
}
END_TEST

START_TEST(of_two_nodes_of_one_name_the_peers_own_spelling_stays)
{
	node(R, "A", "a", 0)->fixed = true;
	node(R, "A", "z", 0);
	ck_assert_int_eq(tree_done(&T[R], "R"), 0);
	ck_assert_uint_eq(T[R].n, 1);
	ck_assert_uint_eq(T[R].doubles, 1);
	ck_assert(!T[R].node[0].fixed);
}
END_TEST

START_TEST(what_lies_below_a_name_is_found)
{
	node(L, "A", "a", 0);
	node(L, "A b", "b", 0);
	node(L, "A/c", "c", 0);
	node(L, "B", "d", 0);
	ck_assert_int_eq(tree_done(&T[L], "L"), 0);
	ck_assert(tree_has_below(&T[L], "A"));
	ck_assert(!tree_has_below(&T[L], "A b"));
	ck_assert(!tree_has_below(&T[L], "A/c"));
	ck_assert(!tree_has_below(&T[L], "B"));
	ck_assert(!tree_has_below(&T[L], "0"));
}
END_TEST

static void
rules(TCase *t)
{
	tcase_add_test(t, a_deletion_beats_a_rename_and_keeps_its_time);
	tcase_add_test(t, what_lies_below_a_deleted_mailbox_stays);
	tcase_add_test(t, deleted_and_made_again_merges);
	tcase_add_test(t, a_mailbox_made_again_as_a_directory_is_deleted);
	tcase_add_test(t, only_a_newer_record_deletes_a_directory);
	tcase_add_test(t, a_deleted_directory_with_children_stays);
	tcase_add_test(t, names_are_hashed_as_their_sender_spells_them);
	tcase_add_test(t, without_an_escape_character_the_substitute_is_hashed);
	tcase_add_test(t, a_newer_unsubscription_wins);
	tcase_add_test(t, inbox_is_never_deleted);
	tcase_add_test(t, a_mailbox_is_no_directory_that_can_be_dropped);
	tcase_add_test(t, the_newer_rename_wins_with_its_time);
	tcase_add_test(t, equal_times_take_the_first_in_depth_first_order);
	tcase_add_test(t, a_rename_carries_all_that_lies_below);
	tcase_add_test(t, a_parents_time_counts_for_what_lies_below);
	tcase_add_test(t, mailboxes_of_a_renamed_directory_go_one_by_one);
	tcase_add_test(t, a_directory_goes_where_its_mailboxes_are);
	tcase_add_test(t, a_directory_of_directories_goes_along);
	tcase_add_test(t, directories_that_swapped_what_they_hold_become_one);
	tcase_add_test(t, what_is_in_the_way_gets_a_temporary_name);
	tcase_add_test(t, swapped_names_are_swapped);
	tcase_add_test(t, a_chain_of_renames_is_followed);
	tcase_add_test(
	    t, each_moved_below_the_other_ends_the_same_on_both_sides);
	tcase_add_test(t, nothing_is_moved_into_itself);
	tcase_add_test(t, nothing_is_moved_below_the_place_where_it_was);
	tcase_add_test(t, places_for_temporary_names_are_temporary);
	tcase_add_test(t, inbox_is_never_renamed);
	tcase_add_test(t, a_long_name_is_cut_for_its_temporary_name);
	tcase_add_test(t, a_cut_name_stays_valid);
	tcase_add_test(t, the_first_unused_number_makes_a_temporary_name);
	tcase_add_test(t, a_taken_final_name_is_counted_up);
	tcase_add_test(t, a_directory_in_the_way_is_named_by_what_it_holds);
	tcase_add_test(t, an_empty_directory_in_the_way_is_dropped);
	tcase_add_test(t, renames_that_do_not_settle_fail_on_both_sides);
	tcase_add_test(t, the_deepest_names_are_walked);
	tcase_add_test(t, a_tree_that_becomes_too_deep_is_refused);
}

static void
more_rules(TCase *t)
{
	tcase_add_test(t, what_one_side_lacks_is_made_with_its_guid_and_time);
	tcase_add_test(t, a_directory_becomes_the_mailbox_of_its_name);
	tcase_add_test(t, a_mailbox_that_both_made_goes_by_both_guids);
	tcase_add_test(
	    t, what_both_made_is_merged_once_however_often_all_begins_again);
	tcase_add_test(t, directories_follow_a_final_name);
	tcase_add_test(t, a_backup_drops_only_what_the_source_has_not);
	tcase_add_test(
	    t, a_backup_keeps_what_the_source_has_under_another_name);
	tcase_add_test(t, a_backup_takes_over_the_guid_of_a_name);
	tcase_add_test(t, a_backup_takes_the_sources_names_however_old);
	tcase_add_test(t, a_backup_brings_back_what_was_deleted_here);
	tcase_add_test(t, the_source_of_a_backup_has_nothing_to_do);
	tcase_add_test(
	    t, a_one_way_merge_deletes_nothing_and_remembers_its_own_deletions);
	tcase_add_test(t, a_directory_without_mail_is_made_with_its_time);
	tcase_add_test(
	    t, the_newer_subscription_wins_and_equal_means_subscribed);
	tcase_add_test(t, a_subscription_follows_its_mailbox_through_a_rename);
	tcase_add_test(t, deletions_come_first_and_then_renames);
	tcase_add_test(t, mailboxes_come_depth_first);
	tcase_add_test(t, captured_rename);
	tcase_add_test(t, captured_deletion_and_unsubscription);
	tcase_add_test(t, captured_swap);
	tcase_add_test(t, captured_temporary_name);
	tcase_add_test(t, captured_guid_conflict);
	tcase_add_test(t, captured_directory_deletion);
	tcase_add_test(t, of_mailboxes_with_one_guid_the_largest_name_keeps_it);
	tcase_add_test(t, a_peer_with_one_guid_twice_is_refused);
	tcase_add_test(
	    t, of_two_nodes_of_one_name_the_peers_own_spelling_stays);
	tcase_add_test(t, what_lies_below_a_name_is_found);
}

int
main(void)
{
	Suite *s = suite_create("sync_tree_dsync");
	TCase *t = tcase_create("rules"), *m = tcase_create("more"),
	      *r = tcase_create("random");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_checked_fixture(m, setup, teardown);
	rules(t);
	more_rules(m);
	tcase_add_loop_test(r, random_histories_come_together, 0, 20);
	tcase_add_loop_test(r, unrelated_trees_come_together, 0, 20);
	suite_add_tcase(s, t);
	suite_add_tcase(s, m);
	suite_add_tcase(s, r);
	return (run_suite(s));
}
