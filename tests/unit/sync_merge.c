/*
 * sync_merge -- the pure rules: flags bit by bit, UIDs, trees.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/sync_help.h"
#include "sync/merge.h"
#include "sync/tree.h"

/* ---- flags ---- */

static uint8_t
merged(const struct merge_side *l, const struct merge_side *r, bool tie_remote)
{
	struct arena a = ARENA_INIT;
	struct merge_result m;
	uint8_t out;

	ck_assert_int_eq(merge_flags(&a, l, r, tie_remote, &m), 0);
	ck_assert_uint_eq(m.add & m.remove, 0);
	out = (uint8_t)((l->final | m.add) & ~m.remove);
	arena_fini(&a);
	return (out);
}

/*
 * specs/dsync-protocol.md 6.9, the experiment: hint \Seen stays, \Flagged
 * without a hint goes to the higher modseq.
 */
START_TEST(hints_win_over_modseqs)
{
	struct merge_side l = {
		.final = MAIL_SEEN | MAIL_FLAGGED, .add = MAIL_SEEN, .modseq = 5
	};
	struct merge_side r = { .final = MAIL_DRAFT, .modseq = 99 };

	ck_assert_uint_eq(merged(&l, &r, false), MAIL_SEEN | MAIL_DRAFT);
	ck_assert_uint_eq(merged(&r, &l, true), MAIL_SEEN | MAIL_DRAFT);
}
END_TEST

START_TEST(higher_modseq_wins_the_same_bit)
{
	struct merge_side l = {
		.final = MAIL_SEEN, .add = MAIL_SEEN, .modseq = 5
	};
	struct merge_side r = { .final = 0, .remove = MAIL_SEEN, .modseq = 6 };

	ck_assert_uint_eq(merged(&l, &r, false), 0);
	l.modseq = 7;
	ck_assert_uint_eq(merged(&l, &r, false), MAIL_SEEN);
	r.modseq = 7;
	ck_assert_uint_eq(merged(&l, &r, false), MAIL_SEEN);
	ck_assert_uint_eq(merged(&l, &r, true), 0);
}
END_TEST

/*
 * Who knew of the other side's change and undid it did so later, whatever the
 * modseqs are: something else may have raised them.
 */
START_TEST(a_change_that_answers_another_wins)
{
	const char *k[] = { "k" };
	struct merge_side l = { .final = MAIL_SEEN,
		.add = MAIL_SEEN,
		.kw_final = { k, 1 },
		.kw_add = { k, 1 },
		.modseq = 9 };
	struct merge_side r = { .remove = MAIL_SEEN,
		.informed = MAIL_SEEN,
		.kw_remove = { k, 1 },
		.kw_informed = { k, 1 },
		.modseq = 5 };
	struct arena a = ARENA_INIT;
	struct merge_result m;

	ck_assert_uint_eq(merged(&l, &r, false), 0);
	ck_assert_uint_eq(merged(&r, &l, true), 0);
	ck_assert_int_eq(merge_flags(&a, &l, &r, false, &m), 0);
	ck_assert_uint_eq(m.kw_remove.n, 1);
	ck_assert(m.fought == 0 && m.kw_fought.n == 0);
	/* Both answered: then it is the modseq again. */
	l.informed = MAIL_SEEN;
	ck_assert_uint_eq(merged(&l, &r, false), MAIL_SEEN);
	ck_assert_uint_eq(merged(&r, &l, true), MAIL_SEEN);
	arena_fini(&a);
}
END_TEST

/*
 * All states of one bit on both sides: both sides come to the same, and an
 * undisputed change is never lost.
 */
START_TEST(both_sides_come_to_the_same_flags)
{
	for (unsigned c = 0; c < 2 * 3 * 2 * 3 * 3; c++) {
		unsigned lf = c % 2, lh = c / 2 % 3, rf = c / 6 % 2,
			 rh = c / 12 % 3, order = c / 36;
		struct merge_side l = { .final = (uint8_t)lf,
			.modseq = order == 0 ? 1 : 2 };
		struct merge_side r = { .final = (uint8_t)rf,
			.modseq = order == 1 ? 1 : 2 };
		uint8_t x, y;

		/* A hint agrees with the state it explains. */
		l.add = lh == 1 && lf;
		l.remove = lh == 2 && !lf;
		r.add = rh == 1 && rf;
		r.remove = rh == 2 && !rf;
		x = merged(&l, &r, false);
		y = merged(&r, &l, true);
		ck_assert_uint_eq(x, y);
		if (l.add && !r.remove)
			ck_assert_uint_eq(x, 1);
		if (r.remove && !l.add)
			ck_assert_uint_eq(x, 0);
	}
}
END_TEST

START_TEST(keywords_merge_name_by_name)
{
	const char *ab[] = { "a", "b" }, *bc[] = { "b", "c" }, *a1[] = { "a" },
		   *c1[] = { "c" };
	struct arena a = ARENA_INIT;
	struct merge_side l = {
		.kw_final = { ab, 2 }, .kw_add = { a1, 1 }, .modseq = 1
	};
	struct merge_side r = {
		.kw_final = { bc, 2 }, .kw_add = { c1, 1 }, .modseq = 2
	};
	struct merge_result m;

	ck_assert_int_eq(merge_flags(&a, &l, &r, false, &m), 0);
	ck_assert_uint_eq(m.kw_add.n, 1);
	ck_assert_str_eq(m.kw_add.name[0], "c");
	ck_assert_uint_eq(m.kw_remove.n, 0);
	ck_assert(m.local_changes && m.remote_changes && m.fought == 0 &&
	    m.kw_fought.n == 0);
	arena_fini(&a);
}
END_TEST

/* ---- UIDs ---- */

static void
add(struct merge_queue *q, const char *guid, uint32_t uid, bool remote,
    bool usable)
{
	struct merge_entry e = {
		.key = guid, .uid = uid, .remote = remote, .usable = usable
	};

	ck_assert_int_eq(merge_queue_add(q, &e), 0);
}

START_TEST(uid_conflict_gives_both_new_uids)
{
	struct merge_queue q;

	merge_queue_init(&q);
	add(&q, "M648", 2, false, false);
	add(&q, "M668", 2, true, false);
	ck_assert_uint_eq(merge_assign(&q, 3), 5);
	ck_assert_uint_eq(q.entry[0].final, 3);
	ck_assert_uint_eq(q.entry[1].final, 4);
	merge_queue_fini(&q);
}
END_TEST

START_TEST(same_mail_under_two_uids_gets_one)
{
	struct merge_queue q;

	merge_queue_init(&q);
	add(&q, "x", 2, true, false);
	add(&q, "y", 3, false, false);
	add(&q, "x", 5, false, true);
	ck_assert_uint_eq(merge_assign(&q, 6), 7);
	ck_assert_uint_eq(q.entry[0].final, 5);
	ck_assert_uint_eq(q.entry[1].final, 6);
	ck_assert_uint_eq(q.entry[2].final, 5);
	merge_queue_fini(&q);
}
END_TEST

/* 6.6 word for word: each entry looks at all before it. */
static void
link_slowly(struct merge_entry *e, size_t i)
{
	e[i].linked = false;
	e[i].link = MERGE_NONE;
	for (size_t k = 0; k < i && e[i].key[0] != '\0'; k++) {
		if (strcmp(e[k].key, e[i].key) != 0)
			continue;
		if (e[k].uid == e[i].uid)
			e[k].usable = true;
		if (!e[i].linked && !e[k].linked &&
		    e[k].remote != e[i].remote) {
			e[i].linked = e[k].linked = true;
			e[i].link = (uint32_t)k;
			e[k].link = (uint32_t)i;
		}
	}
}

START_TEST(entries_link_as_if_each_looked_at_all_before_it)
{
	static const char *const guids[] = { "a", "b", "c", "" };
	uint64_t seed = (uint64_t)_i + 1;
	struct merge_entry want[200] = { { .key = "" } };
	struct merge_queue q;
	uint32_t uid[2] = { 0, 0 };

	merge_queue_init(&q);
	for (size_t i = 0; i < 200; i++) {
		bool remote = rnd(&seed, 2) == 0;

		uid[remote] += 1 + rnd(&seed, 2);
		want[i] = (struct merge_entry){ .key = guids[rnd(&seed, 4)],
			.uid = uid[remote],
			.remote = remote,
			.usable = rnd(&seed, 2) == 0 };
		ck_assert_int_eq(merge_queue_add(&q, &want[i]), 0);
		link_slowly(want, i);
	}
	for (size_t i = 0; i < 200; i++) {
		ck_assert_int_eq(q.entry[i].linked, want[i].linked);
		ck_assert_uint_eq(q.entry[i].link, want[i].link);
		ck_assert_int_eq(q.entry[i].usable, want[i].usable);
	}
	merge_queue_fini(&q);
}
END_TEST

static const char *
word_at(const void *arg, uint32_t i)
{
	const char(*word)[8] = arg;

	return (word[i]);
}

START_TEST(every_string_of_an_index_is_found_and_no_other)
{
	static char word[3000][8];
	struct strindex x;
	uint32_t at;

	strindex_init(&x, word_at, word);
	ck_assert(!strindex_find(&x, "w1", &at));
	for (uint32_t i = 0; i < 3000; i++) {
		(void)snprintf(word[i], sizeof(word[i]), "w%u", i);
		ck_assert(!strindex_find(&x, word[i], &at));
		ck_assert_int_eq(strindex_add(&x, i), 0);
	}
	for (uint32_t i = 0; i < 3000; i++) {
		ck_assert(strindex_find(&x, word[i], &at));
		ck_assert_uint_eq(at, i);
	}
	ck_assert(!strindex_find(&x, "w3000", &at));
	strindex_fini(&x);
}
END_TEST

/* ---- trees ---- */

static struct guid
guid_of(char c)
{
	struct guid g;

	memset(&g, c, sizeof(g));
	return (g);
}

static void
node(struct tree *t, const char *name, char guid, int64_t renamed)
{
	struct tree_node *n = tree_add(t, name);

	ck_assert_ptr_nonnull(n);
	n->existence = EXISTS;
	n->guid = guid == 0 ? (struct guid){ { 0 } } : guid_of(guid);
	n->renamed = renamed;
	n->id = (uint32_t)t->n;
}

static void
gone(struct tree *t, char guid)
{
	struct item_delete d = { .id = guid_of(guid), .time = 5 };

	ck_assert_int_eq(tree_add_gone(t, GONE_MAILBOX, &d), 0);
}

static const char *
name_in(const struct tree_plan *p, char guid)
{
	struct guid g = guid_of(guid);
	const struct tree_box *b = tree_plan_by_guid(p, &g);

	return (b == NULL ? "" : b->name);
}

/* Merges from both sides; the plans must have the same names and GUIDs. */
static void
both(struct tree *l, struct tree *r, struct tree_plan *p)
{
	struct tree_plan q;

	ck_assert_int_eq(tree_done(l, "l"), 0);
	ck_assert_int_eq(tree_done(r, "r"), 0);
	ck_assert_int_eq(tree_merge(l, r, TREE_TWO_WAY, p), 0);
	ck_assert_int_eq(tree_merge(r, l, TREE_TWO_WAY, &q), 0);
	ck_assert_uint_eq(p->n, q.n);
	for (size_t i = 0; i < p->n; i++) {
		ck_assert_str_eq(p->box[i].name, q.box[i].name);
		ck_assert(guid_eq(&p->box[i].guid, &q.box[i].guid));
		ck_assert(
		    i == 0 || strcmp(p->box[i - 1].name, p->box[i].name) != 0);
	}
	tree_plan_fini(&q);
}

static struct tree L, R;
static struct tree_plan P;

static void
setup(void)
{
	tree_init(&L);
	tree_init(&R);
	memset(&P, 0, sizeof(P));
}

static void
teardown(void)
{
	tree_fini(&L);
	tree_fini(&R);
	tree_plan_fini(&P);
}

START_TEST(newest_rename_names_a_mailbox)
{
	node(&L, "Old", 'a', 0);
	node(&R, "New", 'a', 7);
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'a'), "New");
}
END_TEST

START_TEST(equal_times_take_the_smaller_name)
{
	node(&L, "Y", 'a', 7);
	node(&R, "X", 'a', 7);
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'a'), "X");
}
END_TEST

START_TEST(children_go_along_with_a_renamed_parent)
{
	node(&L, "Work", 'a', 0);
	node(&L, "Work/Sub", 'b', 0);
	node(&L, "Work/New", 'c', 0);
	node(&R, "Job", 'a', 7);
	node(&R, "Job/Sub", 'b', 0);
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'b'), "Job/Sub");
	ck_assert_str_eq(name_in(&P, 'c'), "Job/New");
}
END_TEST

START_TEST(a_deleted_mailbox_goes_and_a_missing_one_comes_back)
{
	node(&L, "A", 'a', 0);
	node(&L, "B", 'b', 0);
	gone(&R, 'a');
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'a'), "");
	ck_assert_str_eq(name_in(&P, 'b'), "B");
	ck_assert_uint_eq(P.drops, 1);
	ck_assert_str_eq(P.drop[0]->name, "A");
}
END_TEST

START_TEST(deleted_and_made_again_merges_under_the_larger_guid)
{
	node(&L, "A", 'a', 0);
	node(&R, "A", 'z', 0);
	gone(&R, 'a');
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'z'), "A");
	ck_assert_uint_eq(P.n, 1);
	ck_assert_uint_eq(P.drops, 0);
	ck_assert(P.box[0].merged && P.box[0].id != 0);
}
END_TEST

START_TEST(mailboxes_that_swapped_names_swap)
{
	node(&L, "A", 'a', 0);
	node(&L, "B", 'b', 0);
	node(&R, "B", 'a', 7);
	node(&R, "A", 'b', 8);
	both(&L, &R, &P);
	ck_assert_str_eq(name_in(&P, 'a'), "B");
	ck_assert_str_eq(name_in(&P, 'b'), "A");
}
END_TEST

START_TEST(two_mailboxes_for_one_name_both_stay)
{
	node(&L, "A", 'a', 0);
	node(&L, "B", 'b', 0);
	node(&R, "B", 'a', 7);
	both(&L, &R, &P);
	ck_assert_uint_eq(P.n, 2);
	ck_assert_str_eq(name_in(&P, 'a'), "B");
	ck_assert_str_ne(name_in(&P, 'b'), "");
}
END_TEST

START_TEST(each_moved_below_the_other_ends_somewhere)
{
	node(&L, "X", 'a', 0);
	node(&L, "X/Y", 'b', 5);
	node(&R, "Y", 'b', 0);
	node(&R, "Y/X", 'a', 5);
	both(&L, &R, &P);
	ck_assert_uint_eq(P.n, 2);
}
END_TEST

START_TEST(random_trees_look_the_same_from_both_sides)
{
	uint64_t seed = (uint64_t)_i + 1;
	static const char *const names[] = { "A", "B", "A/C", "B/C", "A/C/D",
		"C", "INBOX", "INBOX/A" };

	for (int t = 0; t < 2; t++) {
		struct tree *tree = t == 0 ? &L : &R;

		for (char g = 'a'; g < 'g'; g++) {
			const char *name = names[rnd(&seed, 8)];
			bool taken = false;

			for (size_t i = 0; i < tree->n; i++)
				taken |= strcmp(tree->node[i].name, name) == 0;
			if (taken || rnd(&seed, 4) == 0) {
				if (rnd(&seed, 3) == 0)
					gone(tree, g);
				continue;
			}
			node(tree, name, rnd(&seed, 6) == 0 ? 0 : g,
			    rnd(&seed, 4));
		}
	}
	both(&L, &R, &P);
}
END_TEST

START_TEST(newest_subscription_wins_and_equal_means_subscribed)
{
	node(&L, "A", 'a', 0);
	node(&R, "A", 'a', 0);
	node(&L, "B", 'b', 0);
	node(&R, "B", 'b', 0);
	R.node[0].subscribed = true;
	L.node[0].subscription_changed = 3;
	R.node[0].subscription_changed = 2;
	R.node[1].subscribed = true;
	ck_assert_int_eq(tree_done(&L, "l"), 0);
	ck_assert_int_eq(tree_done(&R, "r"), 0);
	ck_assert_int_eq(tree_merge(&L, &R, TREE_TWO_WAY, &P), 0);
	ck_assert_uint_eq(P.subs, 1);
	ck_assert_str_eq(P.sub[0].name, "B");
	ck_assert(P.sub[0].on);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_merge");
	TCase *t = tcase_create("merge");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, hints_win_over_modseqs);
	tcase_add_test(t, higher_modseq_wins_the_same_bit);
	tcase_add_test(t, a_change_that_answers_another_wins);
	tcase_add_test(t, both_sides_come_to_the_same_flags);
	tcase_add_test(t, keywords_merge_name_by_name);
	tcase_add_test(t, uid_conflict_gives_both_new_uids);
	tcase_add_test(t, same_mail_under_two_uids_gets_one);
	tcase_add_loop_test(
	    t, entries_link_as_if_each_looked_at_all_before_it, 0, 100);
	tcase_add_test(t, every_string_of_an_index_is_found_and_no_other);
	tcase_add_test(t, newest_rename_names_a_mailbox);
	tcase_add_test(t, equal_times_take_the_smaller_name);
	tcase_add_test(t, children_go_along_with_a_renamed_parent);
	tcase_add_test(t, a_deleted_mailbox_goes_and_a_missing_one_comes_back);
	tcase_add_test(t, deleted_and_made_again_merges_under_the_larger_guid);
	tcase_add_test(t, mailboxes_that_swapped_names_swap);
	tcase_add_test(t, two_mailboxes_for_one_name_both_stay);
	tcase_add_test(t, each_moved_below_the_other_ends_somewhere);
	tcase_add_loop_test(
	    t, random_trees_look_the_same_from_both_sides, 0, 500);
	tcase_add_test(t, newest_subscription_wins_and_equal_means_subscribed);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
