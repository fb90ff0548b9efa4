/*
 * sync_tree -- whole syncs of trees of mailboxes, with both kinds of peer, and
 * with one that is played by hand.  Tests with _i: 0 a dsyncfs, 1 another kind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/name.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"
#include "sync/tree_dsync.h"

#define NOW 1700000000

static struct side A, B;

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	box_new(&A, "INBOX");
}

static void
teardown(void)
{
	sync_on_send = NULL;
	sync_foreign = false;
	side_free(&A);
	side_free(&B);
}

/* ---- short words ---- */

static struct txn *
begin(struct side *d)
{
	struct txn *t;

	os_mem_advance(d->os, 1000);
	ck_assert_int_eq(txn_begin(d->s, NULL, &t), 0);
	return (t);
}

static bool
new_box(struct side *d, const char *name, const char *guid, int64_t time)
{
	struct mailbox_new m = { .name = name, .time = time };
	struct txn *t = begin(d);
	int rc;

	m.directory = guid == NULL;
	if (guid != NULL) {
		/* not by the clock: it is no part of what is told here */
		m.uidvalidity = 7;
		memset(&m.guid, guid[0], sizeof(m.guid));
	}
	rc = txn_mailbox_create(t, &m, NULL);
	if (rc == 0)
		return (txn_commit(t) == 0);
	txn_abort(t);
	return (false);
}

static uint32_t
node_id(struct side *d, const char *name)
{
	struct mailbox m;

	return (store_mailbox_by_name(d->s, name, &m) == 0 ? m.id : 0);
}

static bool
change(struct side *d, const char *name, const char *to, int64_t time)
{
	struct txn *t = begin(d);
	uint32_t id = node_id(d, name);
	int rc = to == NULL ? txn_mailbox_delete(t, id, time)
			    : txn_mailbox_rename(t, id, to, time);

	if (rc == 0)
		return (txn_commit(t) == 0);
	txn_abort(t);
	return (false);
}

static struct mailbox
box(struct side *d, const char *name)
{
	struct mailbox m;

	ck_assert_msg(store_mailbox_by_name(d->s, name, &m) == 0,
	    "%s has no %s", d->label, name);
	return (m);
}

static bool
is_called(struct side *d, const char *name, char guid)
{
	struct mailbox m = box(d, name);
	struct guid g;

	memset(&g, guid, sizeof(g));
	return (guid_eq(&m.guid, &g));
}

static bool
has(struct side *d, const char *name)
{
	struct mailbox m;

	return (store_mailbox_by_name(d->s, name, &m) == 0 && m.exists);
}

static int
add_line(void *arg, const struct mailbox *m)
{
	char hex[GUID_HEX_LEN + 1];

	buf_printf(arg, "%s %s%s\n", m->name,
	    !m->exists          ? "-"
		: m->selectable ? guid_hex(&m->guid, hex)
				: "dir",
	    m->subscribed ? " subscribed" : "");
	return (0);
}

/* Names, GUIDs, directories, subscriptions. */
static char *
tree_text(struct side *d)
{
	struct buf b = BUF_INIT;
	char *out;

	ck_assert_int_eq(store_mailboxes(d->s, add_line, &b), 0);
	out = strdup(buf_cstr(&b));
	buf_fini(&b);
	return (out);
}

static bool
trees_equal(void)
{
	char *a = tree_text(&A), *b = tree_text(&B);
	bool same = strcmp(a, b) == 0;

	free(a);
	free(b);
	return (same);
}

/* Up to three runs, then one that finds nothing to do; the first's result. */
static struct sync_result
settle(void)
{
	struct sync_result first = { 0 }, r;

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sync_mirror(&A, &B, i == 0 ? &first : &r), 0);
		if (i == 0)
			r = first;
		ck_assert(!r.incomplete);
		if (!r.changes_during_sync && trees_equal())
			break;
	}
	assert_equal(&A, &B);
	ck_assert_int_eq(sync_mirror(&B, &A, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert(!r.changes_during_sync && !r.incomplete);
	ck_assert(trees_equal());
	return (first);
}

struct find {
	enum deletion_kind kind;
	const char *name;
	int64_t time;
};

static int
on_deletion(void *arg, const struct deletion *d)
{
	struct find *f = arg;

	if (d->kind == f->kind && strcmp(d->name, f->name) == 0)
		f->time = d->time;
	return (0);
}

/* -1: it is not known */
static int64_t
deleted_at(struct side *d, enum deletion_kind kind, const char *name)
{
	struct find f = { kind, name, -1 };

	ck_assert_int_eq(store_deletions(d->s, on_deletion, &f), 0);
	return (f.time);
}

/* ---- times ---- */

START_TEST(a_deletion_keeps_its_time)
{
	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	new_box(&A, "D", NULL, NOW);
	settle();
	ck_assert(change(&A, "M", NULL, NOW + 5));
	ck_assert(change(&A, "D", NULL, NOW + 6));
	settle();
	ck_assert(!has(&B, "M") && !has(&B, "D"));
	ck_assert_int_eq(deleted_at(&B, DELETED_MAILBOX, "M"), NOW + 5);
	ck_assert_int_eq(deleted_at(&B, DELETED_DIR, "M"), NOW + 5);
	ck_assert_int_eq(deleted_at(&B, DELETED_DIR, "D"), NOW + 6);
}
END_TEST

START_TEST(a_rename_keeps_its_time)
{
	sync_foreign = _i == 1;
	new_box(&A, "Old", "m", 0);
	settle();
	ck_assert(change(&A, "Old", "New", NOW + 5));
	settle();
	ck_assert_int_eq(box(&B, "New").renamed, NOW + 5);
}
END_TEST

/* Else the old name of a third replica would come back. */
START_TEST(a_mailbox_that_is_made_knows_of_its_rename)
{
	struct side C;

	sync_foreign = _i == 1;
	side_new(&C, "C", 3);
	new_box(&A, "Old", "m", 0);
	ck_assert_int_eq(sync_mirror(&A, &C, NULL), 0);
	ck_assert(change(&A, "Old", "New", NOW + 5));
	settle();
	ck_assert_int_eq(box(&B, "New").renamed, NOW + 5);
	ck_assert_int_eq(sync_mirror(&B, &C, NULL), 0);
	ck_assert(has(&C, "New") && !has(&C, "Old"));
	ck_assert(has(&B, "New"));
	side_free(&C);
}
END_TEST

START_TEST(subscriptions_keep_their_times)
{
	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	box_subscribe(&A, "M", true, NOW + 5);
	box_subscribe(&A, "Lone", true, NOW + 6);
	settle();
	ck_assert(box(&B, "M").subscribed && box(&B, "Lone").subscribed);
	ck_assert_int_eq(box(&B, "M").subscription_changed, NOW + 5);
	ck_assert_int_eq(box(&B, "Lone").subscription_changed, NOW + 6);
	box_subscribe(&B, "M", false, NOW + 7);
	box_subscribe(&B, "Lone", false, NOW + 8);
	settle();
	ck_assert(!box(&A, "M").subscribed && node_id(&A, "Lone") == 0);
	ck_assert_int_eq(box(&A, "M").subscription_changed, NOW + 7);
	ck_assert_int_eq(deleted_at(&A, DELETED_SUBSCRIPTION, "Lone"), NOW + 8);
}
END_TEST

/* Both names are of unknown age: the one that is taken stays so. */
START_TEST(what_nobody_knows_the_time_of_stays_unknown)
{
	sync_foreign = _i == 1;
	new_box(&A, "X", "m", 0);
	new_box(&B, "Y", "m", 0);
	new_box(&A, "D", NULL, TIME_UNKNOWN);
	box_subscribe(&A, "S", true, TIME_UNKNOWN);
	settle();
	ck_assert_int_eq(box(&B, "D").renamed, 0);
	ck_assert_int_eq(box(&B, "X").renamed, 0);
	ck_assert_int_eq(box(&B, "S").subscription_changed, 0);
}
END_TEST

/* ---- what becomes of the trees ---- */

START_TEST(directories_without_mail_come_and_go)
{
	sync_foreign = _i == 1;
	new_box(&A, "D", NULL, NOW);
	new_box(&A, "D/E", NULL, NOW);
	new_box(&B, "D/E/m", "m", 0);
	settle();
	ck_assert(has(&B, "D") && has(&B, "D/E") && has(&A, "D/E/m"));
	ck_assert(change(&A, "D/E/m", NULL, NOW + 5));
	settle();
	ck_assert(change(&B, "D/E", NULL, NOW + 6));
	settle();
	ck_assert(!has(&B, "D/E/m") && !has(&A, "D/E") && has(&A, "D"));
	ck_assert(change(&B, "D", NULL, NOW + 7));
	settle();
	ck_assert(!has(&A, "D"));
}
END_TEST

/* Something is below it again, so it is there. */
START_TEST(a_directory_that_is_in_use_again_is_not_deleted)
{
	sync_foreign = _i == 1;
	new_box(&A, "D", NULL, NOW);
	settle();
	ck_assert(change(&A, "D", NULL, NOW + 5));
	new_box(&A, "D/m", "m", 0);
	settle();
	ck_assert(has(&A, "D") && has(&B, "D") && has(&B, "D/m"));
}
END_TEST

START_TEST(deleted_and_made_again_keeps_the_mail_of_both)
{
	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	mail_new(&A, "M", "old", "old");
	settle();
	ck_assert(change(&A, "M", NULL, NOW + 5));
	new_box(&A, "M", _i == 0 ? "a" : "z", 0);
	mail_new(&A, "M", "new", "new");
	mail_new(&B, "M", "meanwhile", "meanwhile");
	settle();
	ck_assert_uint_eq(mail_count(&A, "M"), 3);
	ck_assert_uint_eq(mail_count(&B, "M"), 3);
}
END_TEST

START_TEST(a_mailbox_that_both_made_gets_the_larger_guid)
{
	sync_foreign = _i % 2 == 1;
	new_box(&A, "M", _i < 2 ? "a" : "z", 0);
	new_box(&B, "M", _i < 2 ? "z" : "a", 0);
	mail_new(&A, "M", "a", "a");
	mail_new(&B, "M", "b", "b");
	settle();
	ck_assert(is_called(&A, "M", 'z'));
	ck_assert_uint_eq(mail_count(&A, "M"), 2);
}
END_TEST

START_TEST(names_that_are_in_each_others_way_are_settled)
{
	sync_foreign = _i == 1;
	new_box(&A, "A", "a", 0);
	new_box(&A, "B", "b", 0);
	new_box(&A, "C", "c", 0);
	new_box(&A, "C/d", "d", 0);
	settle();
	/* B swaps two and puts one below another; A renames one of them. */
	ck_assert(change(&B, "A", "T", NOW + 1));
	ck_assert(change(&B, "B", "A", NOW + 2));
	ck_assert(change(&B, "T", "B", NOW + 3));
	ck_assert(change(&A, "C", "C2", NOW + 4));
	ck_assert(change(&B, "C/d", "B/d", NOW + 5));
	mail_new(&A, "A", "m", "m");
	settle();
	ck_assert_uint_eq(mail_count(&B, "B"), 1);
	ck_assert(has(&A, "B/d") && has(&B, "C2"));
}
END_TEST

/* Of another kind of peer the temporary name stays, here as there. */
START_TEST(a_name_that_two_want_is_given_to_one)
{
	sync_foreign = _i == 1;
	new_box(&A, "X", "x", 0);
	new_box(&A, "Y", "y", 0);
	mail_new(&A, "Y", "m", "m");
	settle();
	ck_assert(change(&A, "Y", "Z", NOW + 1));
	ck_assert(change(&B, "X", "Z", NOW + 2));
	settle();
	ck_assert_uint_eq(box(&A, "Z").messages, 0);
}
END_TEST

/* _i 2: a dsyncfs as the source of a backup */
START_TEST(a_dry_run_tells_every_action_and_does_none)
{
	struct sync_options o = { .type = SYNC_FULL, .dry_run = true };
	char *a, *b, *after;
	unsigned told;

	/* Of another kind only the source can be read for a dry run. */
	sync_foreign = _i == 1;
	if (_i != 0)
		o.mode = SYNC_BACKUP_REVERSE;
	new_box(&A, "Gone", "g", 0);
	new_box(&A, "Old", "o", 0);
	new_box(&A, "D", NULL, NOW);
	new_box(&A, "Moved", "v", 0);
	new_box(&B, "INBOX", "i", 0);
	settle();
	new_box(&B, "Place", NULL, NOW);
	new_box(&B, "Place/d", NULL, NOW);
	ck_assert(change(&A, "Moved", "Place", NOW + 1));
	ck_assert(change(&A, "Gone", NULL, NOW + 1));
	ck_assert(change(&A, "Old", "New", NOW + 1));
	ck_assert(change(&A, "D", NULL, NOW + 1));
	new_box(&A, "E", NULL, NOW);
	new_box(&A, "Made", "M", 0);
	new_box(&A, "Both", "1", 0);
	new_box(&B, "Both", "2", 0);
	box_subscribe(&A, "Made", true, NOW + 1);
	a = tree_text(&A);
	b = tree_text(&B);
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	told = told_changes;
	after = tree_text(&A);
	ck_assert_str_eq(after, a);
	free(after);
	after = tree_text(&B);
	ck_assert_str_eq(after, b);
	free(after);
	free(a);
	free(b);
	ck_assert_uint_ge(told, 7);
	o.dry_run = false;
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert_uint_eq(told_changes, told);
}
END_TEST

START_TEST(the_guard_stops_before_a_mailbox_is_deleted)
{
	struct sync_options o = {
		.type = SYNC_FULL, .max_delete_percent = 50, .max_delete_min = 1
	};
	char *before, *after;

	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	mail_new(&A, "M", "x", "x");
	settle();
	ck_assert(change(&A, "M", NULL, NOW + 1));
	new_box(&A, "Other", "o", 0);
	before = tree_text(&B);
	/* A slave of another kind is not told of the guard: B is the master. */
	ck_assert_int_eq(sync_with(&B, &A, &o, NULL), -ECANCELED);
	after = tree_text(&B);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_uint_eq(mail_count(&B, "M"), 1);
}
END_TEST

START_TEST(a_backup_makes_the_destination_like_the_source)
{
	struct sync_options o = { .type = SYNC_FULL, .mode = SYNC_BACKUP };
	struct sync_result r;
	char *before, *after;

	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	mail_new(&A, "M", "x", "x");
	new_box(&A, "D", NULL, NOW);
	new_box(&A, "Same", "a", 0);
	mail_new(&A, "Same", "s", "s");
	new_box(&A, "Lost", "l", 0);
	mail_new(&A, "Lost", "l", "l");
	box_subscribe(&A, "M", true, NOW);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert(trees_equal());
	/* The destination goes astray. */
	ck_assert(change(&B, "M", "Elsewhere", NOW + 9));
	new_box(&B, "M", "n", 0);
	ck_assert(change(&B, "Same", NULL, NOW + 9));
	new_box(&B, "Same", "z", 0);
	ck_assert(change(&B, "Lost", NULL, NOW + 9));
	ck_assert(change(&B, "D", NULL, NOW + 9));
	new_box(&B, "Extra", "e", 0);
	new_box(&B, "ExtraDir", NULL, NOW);
	box_subscribe(&B, "Extra", true, NOW);
	before = tree_text(&A);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
		ck_assert_uint_eq(mail_count(&B, "Lost"), 1);
	}
	after = tree_text(&A);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert(trees_equal());
	ck_assert_uint_eq(mail_count(&B, "M"), 1);
	ck_assert_uint_eq(mail_count(&B, "Same"), 1);
}
END_TEST

START_TEST(a_backup_empties_an_inbox_that_the_source_has_not)
{
	struct sync_options o = { .type = SYNC_FULL, .mode = SYNC_BACKUP };

	sync_foreign = _i == 1;
	mail_new(&A, "INBOX", "x", "x");
	new_box(&B, "M", "m", 0);
	ck_assert_int_eq(sync_with(&B, &A, &o, NULL), 0);
	ck_assert(has(&A, "INBOX") && has(&A, "M"));
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 0);
}
END_TEST

START_TEST(a_one_way_merge_deletes_nothing)
{
	struct sync_options o = { .type = SYNC_FULL, .one_way = true };
	char *before, *after;

	sync_foreign = _i == 1;
	new_box(&A, "M", "m", 0);
	new_box(&A, "Same", "a", 0);
	mail_new(&A, "Same", "s", "s");
	settle();
	ck_assert(change(&A, "M", NULL, NOW + 1));
	ck_assert(change(&A, "Same", "Named", NOW + 1));
	new_box(&A, "Both", "1", 0);
	mail_new(&A, "Both", "x", "x");
	new_box(&B, "Both", "2", 0);
	before = tree_text(&A);
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	after = tree_text(&A);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert(has(&B, "M") && has(&B, "Named"));
	ck_assert_uint_eq(mail_count(&B, "Both"), 1);
}
END_TEST

/* ---- names that cannot be used here ---- */

/*
 * B plays a peer that knows names which are not valid here: what is called
 * ALIAS in its store is RAW on the wire.
 */
static const char *raw;
#define ALIAS "zz-alias"

static void
spell(struct item *i)
{
	struct item_node *n = &i->u.node;

	if (i->type != ITEM_NODE || strncmp(n->name, ALIAS, strlen(ALIAS)) != 0)
		return;
	n->name = arena_printf(&i->arena, "%s%s", raw, n->name + strlen(ALIAS));
	ck_assert_ptr_nonnull(n->name);
}

#define E50 "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static const struct {
	const char *raw, *here;
} bad_names[] = { { "a\001b\177c", "a_b_c" }, { "bad\377utf", "bad_utf" },
	{ "../x", "__/x" }, { "~home", "_~home" }, { "inBox/x", "INBOX/x" },
	{ E50 E50 E50 E50 E50 E50, NULL /* 255 of them */ } };
#define BAD_NAMES 6

static const char *
spelled_here(int i, struct arena *a)
{
	return (bad_names[i].here != NULL
		? bad_names[i].here
		: arena_strndup(a, bad_names[i].raw, 255));
}

/* _i: name and kind of peer */
START_TEST(a_name_that_cannot_be_used_is_replaced_for_good)
{
	struct arena a = ARENA_INIT;
	const char *here = spelled_here(_i / 2, &a);
	uint64_t changes;

	sync_foreign = _i % 2 == 1;
	raw = bad_names[_i / 2].raw;
	sync_on_send = spell;
	new_box(&B, ALIAS, "m", 0);
	new_box(&B, ALIAS "/below", "n", 0);
	mail_new(&B, ALIAS, "x", "x");
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_msg(has(&A, here), "no %s", here);
	ck_assert_uint_eq(mail_count(&A, here), 1);
	/* The peer may take over this spelling, or not; but not to and fro. */
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	changes = os_mem_changes(B.os);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(i % 2 == 0 ? sync_mirror(&A, &B, NULL)
					    : sync_mirror(&B, &A, NULL),
		    0);
		ck_assert_uint_eq(told_changes, 0);
	}
	ck_assert_uint_eq(os_mem_changes(B.os), changes);
	ck_assert(has(&A, here));
	ck_assert_int_eq(box(&A, here).renamed, 0);
	arena_fini(&a);
}
END_TEST

/* The peer's user renames it: here, too, and again only once. */
START_TEST(a_rename_to_such_a_name_comes_over_once)
{
	sync_foreign = _i == 1;
	raw = "a\001b";
	sync_on_send = spell;
	new_box(&B, "Good", "m", 0);
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert(change(&B, "Good", ALIAS, NOW + 5));
	ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
	ck_assert_int_eq(box(&A, "a_b").renamed, NOW + 5);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sync_mirror(&A, &B, NULL), 0);
		ck_assert_int_eq(box(&A, "a_b").renamed, NOW + 5);
	}
	ck_assert_uint_eq(told_changes, 0);
}
END_TEST

START_TEST(the_substitute_is_what_was_asked_for)
{
	struct sync_options o = { .type = SYNC_FULL, .alt_char = '-' };

	sync_foreign = _i == 1;
	raw = "a\001b";
	sync_on_send = spell;
	new_box(&B, ALIAS, "m", 0);
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert(has(&A, "a-b"));
	/* Another one later renames it at most once, and not back again. */
	o.alt_char = '_';
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	o.alt_char = '-';
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	o.alt_char = '_';
	ck_assert_int_eq(sync_with(&A, &B, &o, NULL), 0);
	ck_assert(has(&A, "a-b") && !has(&A, "a_b"));
}
END_TEST

/* The one that is really called so stays; the other is left out, and said. */
START_TEST(of_two_names_that_become_one_the_real_one_stays)
{
	struct sync_result r;

	sync_foreign = _i == 1;
	raw = "a\001b";
	sync_on_send = spell;
	new_box(&B, ALIAS, "m", 0);
	new_box(&B, "a_b", "z", 0);
	mail_new(&B, "a_b", "x", "x");
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	ck_assert(r.incomplete);
	ck_assert_uint_eq(mail_count(&A, "a_b"), 1);
}
END_TEST

/* ---- random trees ---- */

#define NAMES 8
static const char *const names[NAMES] = { "INBOX", "A", "B", "C", "A/x", "B/x",
	"A/x/y", "C/y" };

static void
random_change(struct side *d, uint64_t *seed, unsigned *guids, int64_t now)
{
	const char *a = names[rnd(seed, NAMES)], *b = names[rnd(seed, NAMES)];
	char guid[2] = { (char)(*guids + 1), 0 };

	switch (rnd(seed, 8)) {
	case 0:
	case 1:
		*guids += new_box(d, a, guid, 0);
		break;
	case 2:
		(void)new_box(d, a, NULL, now);
		break;
	case 3:
		if (strcmp(a, "INBOX") != 0)
			(void)change(d, a, NULL, now);
		break;
	case 4:
		box_subscribe(d, a, true, now);
		break;
	case 5:
		box_subscribe(d, a, false, now);
		break;
	default:
		if (has(d, a))
			(void)change(d, a, b, now);
	}
}

START_TEST(random_trees_become_one)
{
	sync_foreign = _i % 2 == 1;
	for (uint64_t n = 0; n < 15; n++) {
		uint64_t seed = (uint64_t)_i * 15 + n;
		unsigned guids = 0;
		int64_t now = NOW;

		for (int round = 0; round < 3; round++) {
			for (unsigned k = rnd(&seed, 10); k > 0; k--) {
				now += rnd(&seed, 2);
				random_change(rnd(&seed, 2) == 0 ? &A : &B,
				    &seed, &guids, now);
			}
			settle();
		}
		teardown();
		setup();
		sync_foreign = _i % 2 == 1;
	}
}
END_TEST

/* ---- a peer that is played by hand ---- */

/*
 * As Dovecot does, it waits for nothing.  Boxes are the same on both sides, so
 * that nothing is said of messages.
 */
static struct {
	struct channel *end, *mine;
	struct brain *b;
	struct sync_result result;
	struct item_deletes deletes; /* what the brain sent */
	struct arena arena;
} play;

static bool play_one_way;

static void
put(struct item *i)
{
	ck_assert_int_eq(play.end->ops->send(play.end, i), 0);
}

static struct item *
item(enum item_type type)
{
	struct item *i;

	ck_assert_int_eq(item_new(type, &i), 0);
	return (i);
}

/* Steps the brain until it says something of that type. */
static struct item *
await(enum item_type type)
{
	for (int n = 0; n < 1000; n++) {
		struct item *i;
		int rc = brain_step(play.b);

		ck_assert_msg(rc >= 0, "brain: %d", rc);
		while (play.end->ops->recv(play.end, &i) == 0) {
			if (i->type == type)
				return (i);
			item_free(i);
		}
	}
	ck_abort_msg("nothing came");
	return (NULL);
}

static void
put_hello(void)
{
	struct item *i = item(ITEM_HANDSHAKE);

	i->u.handshake.hostname = arena_strdup(&i->arena, "mail.example.org");
	i->u.handshake.type = SYNC_CHANGED;
	i->u.handshake.send_mail_requests = true;
	put(i);
}

static void
play_begin(struct side *d, bool as_master)
{
	struct sync_options o = { .type = SYNC_CHANGED,
		.one_way = play_one_way };

	memset(&play, 0, sizeof(play));
	ck_assert_int_eq(
	    channel_memory_pair("peer", d->label, &play.mine, &play.end), 0);
	ck_assert_int_eq(as_master
		? brain_new_master(d->r, play.mine, &o, NULL, &play.b)
		: brain_new_slave(d->r, play.mine, NULL, &play.b),
	    0);
	put_hello();
}

/* The peer's tree: one mailbox M, and how it spells names in D. */
static void
put_tree(const char *guid, char sep, char escape)
{
	struct item *i;

	if (guid != NULL) {
		i = item(ITEM_NODE);
		i->u.node.name = arena_strdup(&i->arena, "M");
		i->u.node.existence = EXISTS;
		memset(&i->u.node.mailbox, guid[0], sizeof(struct guid));
		i->u.node.uidvalidity = 1;
		i->u.node.uidnext = 1;
		put(i);
	}
	put(item(ITEM_END));
	i = item(ITEM_DELETES);
	i->u.deletes.sep = sep;
	i->u.deletes.escape = escape;
	put(i);
}

/* The next B that the brain sends says this GUID; it is answered. */
static void
answer(char guid, bool lost)
{
	struct item *i = await(ITEM_MAILBOX), *out = item(ITEM_MAILBOX);
	struct guid g;

	memset(&g, guid, sizeof(g));
	ck_assert(guid_eq(&i->u.mailbox.mailbox, &g));
	out->u.mailbox = i->u.mailbox;
	out->u.mailbox.lost = lost;
	item_free(i);
	put(out);
}

static void
play_end(void)
{
	brain_result(play.b, &play.result);
	brain_free(play.b);
	play.end->ops->close(play.end);
	play.mine->ops->close(play.mine);
}

START_TEST(a_master_tries_the_larger_guid_and_takes_it)
{
	new_box(&B, "M", "a", 0);
	play_begin(&B, true);
	put_tree("z", '/', 0);
	answer('z', false);
	item_free(await(ITEM_END));
	play_end();
	ck_assert(is_called(&B, "M", 'z'));
	ck_assert(!play.result.changes_during_sync);
}
END_TEST

/* A peer that took over our GUID although its own was larger. */
START_TEST(a_master_tries_the_other_guid_when_the_first_is_lost)
{
	new_box(&B, "M", "a", 0);
	play_begin(&B, true);
	put_tree("z", '/', 0);
	answer('z', true);
	answer('a', false);
	item_free(await(ITEM_END));
	play_end();
	ck_assert(is_called(&B, "M", 'a'));
	ck_assert(!play.result.changes_during_sync);
}
END_TEST

START_TEST(a_mailbox_that_is_lost_under_both_guids_is_a_reason_to_run_again)
{
	new_box(&B, "M", "a", 0);
	play_begin(&B, true);
	put_tree("z", '/', 0);
	answer('z', true);
	answer('a', true);
	item_free(await(ITEM_END));
	play_end();
	ck_assert(is_called(&B, "M", 'a'));
	ck_assert(play.result.changes_during_sync);
}
END_TEST

START_TEST(the_source_of_a_one_way_merge_goes_by_its_own_guid_first)
{
	play_one_way = true;
	new_box(&B, "M", "a", 0);
	play_begin(&B, true);
	play_one_way = false;
	put_tree("z", '/', 0);
	answer('a', true);
	answer('z', true);
	item_free(await(ITEM_END));
	play_end();
	ck_assert(is_called(&B, "M", 'a'));
}
END_TEST

static struct item *
box_item(char guid)
{
	struct item *i = item(ITEM_MAILBOX);

	memset(&i->u.mailbox.mailbox, guid, sizeof(struct guid));
	i->u.mailbox.uidvalidity = 7;
	i->u.mailbox.uidnext = i->u.mailbox.first_recent = 1;
	i->u.mailbox.highestmodseq = 1;
	return (i);
}

/* _i: the master names the slave's own GUID, the larger one, or neither. */
START_TEST(a_slave_takes_the_guid_that_the_master_names)
{
	static const char named[] = { 'a', 'z', 'q' };
	struct item *in;

	new_box(&B, "M", "a", 0);
	play_begin(&B, false);
	put_tree("z", '/', 0);
	item_free(await(ITEM_DELETES));
	put(box_item(named[_i]));
	in = await(ITEM_MAILBOX);
	ck_assert(in->u.mailbox.lost == (_i == 2));
	item_free(in);
	/* Then it is settled: the other one is not known any more. */
	put(box_item(_i == 1 ? 'a' : _i == 0 ? 'z' : 'q'));
	in = await(ITEM_MAILBOX);
	ck_assert(in->u.mailbox.lost);
	item_free(in);
	put(item(ITEM_END));
	item_free(await(ITEM_FINISH));
	play_end();
	ck_assert(is_called(&B, "M", _i == 1 ? 'z' : 'a'));
}
END_TEST

/* Dovecot 2.3.19 does not survive names that are hashed otherwise. */
START_TEST(deleted_names_are_sent_in_the_peers_spelling)
{
	struct guid want;
	struct item *i;

	new_box(&B, "a.b", NULL, NOW);
	new_box(&B, "a.b/c%d", NULL, NOW);
	ck_assert(change(&B, "a.b/c%d", NULL, NOW + 5));
	play_begin(&B, _i == 1);
	put_tree(NULL, '.', '%');
	i = await(ITEM_DELETES);
	ck_assert_int_eq(i->u.deletes.sep, '.');
	ck_assert_int_eq(i->u.deletes.escape, '%');
	ck_assert_uint_eq(i->u.deletes.dirs, 1);
	ck_assert_int_eq(i->u.deletes.dir[0].time, NOW + 5);
	ck_assert_int_eq(guid128_of_name("a%2eb.c%25d", &want), 0);
	ck_assert(guid_eq(&i->u.deletes.dir[0].id, &want));
	item_free(i);
	play_end();
}
END_TEST

/*
 * Between the trees and the actions a user here was faster: nothing of his is
 * undone, and the sync says that it has to run again.
 */
START_TEST(what_was_changed_meanwhile_is_left_alone)
{
	struct item_delete mailbox = { .time = NOW + 99 }, dir = mailbox;
	struct item *i;

	/* The peer: M was O, and D, whatever it was, is deleted. */
	new_box(&B, _i == 0 ? "O" : "D", _i == 2 ? NULL : "m", 0);
	play_begin(&B, false);
	item_free(await(ITEM_END));
	if (_i == 0)
		ck_assert(change(&B, "O", "Other", NOW));
	else if (_i == 1)
		ck_assert(change(&B, "D", NULL, NOW));
	else
		new_box(&B, "D", "d", 0);
	if (_i == 0) {
		i = item(ITEM_NODE);
		i->u.node.name = arena_strdup(&i->arena, "M");
		i->u.node.existence = EXISTS;
		memset(&i->u.node.mailbox, 'm', sizeof(struct guid));
		i->u.node.renamed = NOW + 99;
		put(i);
	}
	put(item(ITEM_END));
	i = item(ITEM_DELETES);
	i->u.deletes.sep = '/';
	memset(&mailbox.id, 'm', sizeof(struct guid));
	ck_assert_int_eq(guid128_of_name("D", &dir.id), 0);
	i->u.deletes.mailbox = arena_memdup(&i->arena, &mailbox, sizeof(dir));
	i->u.deletes.dir = arena_memdup(&i->arena, &dir, sizeof(dir));
	i->u.deletes.mailboxes = i->u.deletes.dirs = 1;
	put(i);
	put(item(ITEM_END));
	item_free(await(ITEM_FINISH));
	play_end();
	ck_assert(play.result.changes_during_sync && !play.result.incomplete);
	ck_assert_uint_eq(result_changes(&play.result), 0);
	ck_assert(has(&B, "Other") == (_i == 0));
	ck_assert(has(&B, "D") == (_i == 2));
}
END_TEST

static void
both_kinds(TCase *t)
{
	tcase_add_loop_test(t, a_deletion_keeps_its_time, 0, 2);
	tcase_add_loop_test(t, a_rename_keeps_its_time, 0, 2);
	tcase_add_loop_test(
	    t, a_mailbox_that_is_made_knows_of_its_rename, 0, 2);
	tcase_add_loop_test(t, subscriptions_keep_their_times, 0, 2);
	tcase_add_loop_test(
	    t, what_nobody_knows_the_time_of_stays_unknown, 0, 2);
	tcase_add_loop_test(t, directories_without_mail_come_and_go, 0, 2);
	tcase_add_loop_test(
	    t, a_directory_that_is_in_use_again_is_not_deleted, 0, 2);
	tcase_add_loop_test(
	    t, deleted_and_made_again_keeps_the_mail_of_both, 0, 2);
	tcase_add_loop_test(
	    t, a_mailbox_that_both_made_gets_the_larger_guid, 0, 4);
	tcase_add_loop_test(
	    t, names_that_are_in_each_others_way_are_settled, 0, 2);
	tcase_add_loop_test(t, a_name_that_two_want_is_given_to_one, 0, 2);
	tcase_add_loop_test(
	    t, a_dry_run_tells_every_action_and_does_none, 0, 3);
	tcase_add_loop_test(
	    t, the_guard_stops_before_a_mailbox_is_deleted, 0, 2);
	tcase_add_loop_test(
	    t, a_backup_makes_the_destination_like_the_source, 0, 2);
	tcase_add_loop_test(
	    t, a_backup_empties_an_inbox_that_the_source_has_not, 0, 2);
	tcase_add_loop_test(t, a_one_way_merge_deletes_nothing, 0, 2);
	tcase_add_loop_test(t, a_name_that_cannot_be_used_is_replaced_for_good,
	    0, 2 * BAD_NAMES);
	tcase_add_loop_test(t, a_rename_to_such_a_name_comes_over_once, 0, 2);
	tcase_add_loop_test(t, the_substitute_is_what_was_asked_for, 0, 2);
	tcase_add_loop_test(
	    t, of_two_names_that_become_one_the_real_one_stays, 0, 2);
}

int
main(void)
{
	Suite *s = suite_create("sync_tree");
	TCase *t = tcase_create("both kinds"), *r = tcase_create("random"),
	      *p = tcase_create("by hand");

	tcase_add_checked_fixture(t, setup, teardown);
	both_kinds(t);
	tcase_add_checked_fixture(r, setup, teardown);
	tcase_set_timeout(r, 60);
	tcase_add_loop_test(r, random_trees_become_one, 0, 40);
	tcase_add_checked_fixture(p, setup, teardown);
	tcase_add_test(p, a_master_tries_the_larger_guid_and_takes_it);
	tcase_add_test(p, a_master_tries_the_other_guid_when_the_first_is_lost);
	tcase_add_test(p,
	    a_mailbox_that_is_lost_under_both_guids_is_a_reason_to_run_again);
	tcase_add_test(
	    p, the_source_of_a_one_way_merge_goes_by_its_own_guid_first);
	tcase_add_loop_test(p, what_was_changed_meanwhile_is_left_alone, 0, 3);
	tcase_add_loop_test(
	    p, a_slave_takes_the_guid_that_the_master_names, 0, 3);
	tcase_add_loop_test(
	    p, deleted_names_are_sent_in_the_peers_spelling, 0, 2);
	suite_add_tcase(s, t);
	suite_add_tcase(s, r);
	suite_add_tcase(s, p);
	return (run_suite(s));
}
