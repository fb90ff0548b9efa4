/*
 * sync_dry -- a dry run changes nothing, and tells just what the real run then
 * does: in random histories, in every mode.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define BOXES 5
#define LINES 4096

static const char *const boxes[BOXES] = { "INBOX", "Work", "Work/Sub", "Deep/A",
	"Archive" };
static struct side S[2];
static uint64_t seed;
static unsigned mails;

/* ---- what a run tells ---- */

struct told {
	char *line[LINES];
	size_t n;
};

static void
on_change(void *arg, const char *mailbox, uint32_t uid, const char *what)
{
	struct told *t = arg;

	ck_assert_uint_lt(t->n, LINES);
	ck_assert_int_ge(
	    asprintf(&t->line[t->n++], "%s %u %s", mailbox, uid, what), 0);
}

static int
line_cmp(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

static void
told_fini(struct told *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->line[i]);
	t->n = 0;
}

static void
run(const struct sync_options *o, struct told *t, struct sync_result *r)
{
	struct sync_events e = { .change = on_change, .arg = t };

	ck_assert_int_eq(sync_run_local(S[0].r, S[1].r, o, &e, r), 0);
	if (t->n > 1)
		qsort(t->line, t->n, sizeof(*t->line), line_cmp);
}

static void
assert_same_lines(struct told *dry, struct told *real)
{
	for (size_t i = 0, k = 0; i < dry->n || k < real->n;) {
		int c = i == dry->n ? 1
		    : k == real->n  ? -1
				    : strcmp(dry->line[i], real->line[k]);

		if (c < 0)
			fprintf(stderr, "only planned: %s\n", dry->line[i]);
		else if (c > 0)
			fprintf(stderr, "not planned: %s\n", real->line[k]);
		ck_assert_int_eq(c, 0);
		i++;
		k++;
	}
}

/* ---- histories ---- */

struct pick {
	unsigned n;
	uint32_t uid;
};

static int
on_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct pick *p = arg;

	(void)mailbox;
	if (rnd(&seed, ++p->n) == 0)
		p->uid = m->uid;
	return (0);
}

static uint32_t
pick_mail(struct side *d, const char *box)
{
	struct pick p = { 0 };

	if (box_id(d, box) == 0)
		return (0);
	ck_assert_int_eq(store_msgs(d->s, box_id(d, box), 1, on_msg, &p), 0);
	return (p.uid);
}

static bool
rename_ok(struct side *d, const char *from, const char *to)
{
	struct mailbox m;

	return (box_id(d, from) != 0 && strcmp(from, "INBOX") != 0 &&
	    strcmp(to, "INBOX") != 0 && strncmp(from, to, strlen(from)) != 0 &&
	    store_mailbox_by_name(d->s, to, &m) != 0);
}

static void
tree_op(struct side *d, const char *box, const char *to)
{
	static int64_t now = 1800000000;

	switch (rnd(&seed, 4)) {
	case 0:
		if (box_id(d, box) != 0 && strcmp(box, "INBOX") != 0)
			box_delete(d, box, ++now);
		break;
	case 1:
		if (rename_ok(d, box, to))
			box_rename(d, box, to, ++now);
		break;
	case 2:
		box_subscribe(d, box, rnd(&seed, 2) == 0, ++now);
		break;
	default:
		if (box_id(d, box) == 0)
			box_new(d, box);
	}
}

static void
random_op(struct side *d)
{
	const char *box = boxes[rnd(&seed, BOXES)],
		   *to = boxes[rnd(&seed, BOXES)];
	uint32_t uid = pick_mail(d, box);
	char guid[16];

	switch (rnd(&seed, 10)) {
	case 0:
	case 1:
	case 2:
		(void)snprintf(guid, sizeof(guid), "m%u",
		    rnd(&seed, 4) == 0 ? rnd(&seed, mails + 1) : mails++);
		if (box_id(d, box) == 0)
			box_new(d, box);
		mail_new(d, box, guid, guid);
		break;
	case 3:
		if (uid != 0)
			mail_expunge(d, box, uid);
		break;
	case 4:
		if (uid != 0 && box_id(d, to) != 0 && strcmp(box, to) != 0)
			mail_move(d, box, uid, to);
		break;
	case 5:
		if (uid != 0)
			mail_keyword(d, box, uid, "k1", "k2");
		break;
	case 6:
	case 7:
		if (uid != 0)
			mail_flags(d, box, uid, (uint8_t)(1u << rnd(&seed, 5)),
			    (uint8_t)(1u << rnd(&seed, 5)));
		break;
	default:
		tree_op(d, box, to);
	}
}

static void
random_ops(unsigned max)
{
	for (unsigned n = rnd(&seed, max); n > 0; n--)
		random_op(&S[rnd(&seed, 2)]);
}

static void
check_dry(struct sync_options o)
{
	struct told dry = { .n = 0 }, real = { .n = 0 };
	char *before[2], *after;
	uint64_t writes[2];
	struct sync_result r;

	for (int i = 0; i < 2; i++) {
		before[i] = side_dump(&S[i]);
		writes[i] = os_mem_changes(S[i].os);
	}
	o.dry_run = true;
	run(&o, &dry, &r);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(os_mem_changes(S[i].os), writes[i]);
		after = side_dump(&S[i]);
		ck_assert_str_eq(before[i], after);
		free(after);
		free(before[i]);
	}
	o.dry_run = false;
	run(&o, &real, &r);
	assert_same_lines(&dry, &real);
	told_fini(&dry);
	told_fini(&real);
}

static void
one_history(uint64_t n, const struct sync_options *o)
{
	seed = n * 7919 + 13;
	mails = 0;
	side_new(&S[0], "A", n * 2 + 1);
	side_new(&S[1], "B", n * 2 + 2);
	box_new(&S[0], "INBOX");
	for (int round = 0; round < 3; round++) {
		random_ops(16);
		check_dry(*o);
	}
	side_free(&S[0]);
	side_free(&S[1]);
}

static const struct sync_options modes[] = { { .type = SYNC_STATE },
	{ .type = SYNC_FULL }, { .type = SYNC_STATE, .mode = SYNC_BACKUP },
	{ .type = SYNC_STATE, .mode = SYNC_BACKUP_REVERSE },
	{ .type = SYNC_STATE, .one_way = true } };
#define MODES (int)(sizeof(modes) / sizeof(modes[0]))

START_TEST(what_is_planned_is_what_is_done)
{
	const char *one = getenv("SYNC_SEED");

	if (one != NULL) {
		one_history((uint64_t)atoll(one), &modes[_i / 10]);
		return;
	}
	for (uint64_t n = 0; n < 30; n++) {
		if (getenv("SYNC_VERBOSE") != NULL)
			fprintf(stderr, "mode %d history %d\n", _i / 10,
			    _i % 10 * 30 + (int)n);
		one_history((uint64_t)(_i % 10) * 30 + n, &modes[_i / 10]);
	}
}
END_TEST

/* ---- what random histories seldom have ---- */

static void
two_sides(void)
{
	side_new(&S[0], "A", 1);
	side_new(&S[1], "B", 2);
	box_new(&S[0], "INBOX");
}

static void
sync_once(void)
{
	ck_assert_int_eq(sync_mirror(&S[0], &S[1], NULL), 0);
}

START_TEST(moves_are_planned_as_they_will_be)
{
	static const char *const to[] = { "Archive", "Work" };
	struct sync_options o = { .type = SYNC_STATE };

	two_sides();
	box_new(&S[0], "Archive");
	box_new(&S[0], "Work");
	mail_new(&S[0], "INBOX", "g1", "one");
	mail_new(&S[0], "INBOX", "g2", "two");
	sync_once();
	/* Into a mailbox that comes before, and one that comes after. */
	mail_move(&S[0], "INBOX", 1, to[_i]);
	check_dry(o);
	assert_equal(&S[0], &S[1]);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

START_TEST(one_body_in_several_new_mailboxes)
{
	struct sync_options o = { .type = SYNC_STATE };

	two_sides();
	box_new(&S[0], "X");
	box_new(&S[0], "Y");
	mail_new(&S[0], "X", "g", "g");
	mail_new(&S[0], "X", "g", "g");
	mail_new(&S[0], "Y", "g", "g");
	check_dry(o);
	assert_equal(&S[0], &S[1]);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

START_TEST(children_go_along_with_a_renamed_mailbox)
{
	struct sync_options o = { .type = SYNC_STATE };

	two_sides();
	box_new(&S[0], "Work");
	box_new(&S[0], "Work/Sub");
	box_new(&S[0], "X");
	box_new(&S[0], "Y");
	sync_once();
	box_rename(&S[0], "Work", "Job/Deep", 1800000000);
	box_rename(&S[0], "X", "T", 1800000001);
	box_rename(&S[0], "Y", "X", 1800000002);
	box_rename(&S[0], "T", "Y", 1800000003);
	check_dry(o);
	assert_equal(&S[0], &S[1]);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

static void
dir_new(struct side *d, const char *name)
{
	struct mailbox_new m = { .name = name, .directory = true };
	struct txn *t;

	ck_assert_int_eq(txn_begin(d->s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &m, NULL), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

START_TEST(a_directory_above_a_renamed_mailbox)
{
	struct sync_options o = { .type = SYNC_STATE };

	two_sides();
	box_new(&S[0], "Work");
	sync_once();
	dir_new(&S[0], "Job");
	dir_new(&S[0], "Empty/Deep");
	box_rename(&S[0], "Work", "Job/Deep", 1800000000);
	check_dry(o);
	assert_equal(&S[0], &S[1]);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

START_TEST(a_mailbox_that_is_here_under_a_name_left_out)
{
	static const char *const not [] = { "Hidden" };
	struct sync_options o = {
		.type = SYNC_STATE, .exclude = not, .excludes = 1
	};

	two_sides();
	box_new(&S[0], "Work");
	mail_new(&S[0], "Work", "w", "w");
	sync_once();
	box_rename(&S[1], "Work", "Hidden", 1800000000);
	mail_new(&S[0], "Work", "w2", "w2");
	check_dry(o);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

/* The two of that name are not one: one of them is here under another name. */
START_TEST(a_new_mailbox_of_the_old_name_of_one_left_out)
{
	static const char *const not [] = { "Hidden" };
	struct sync_options o = {
		.type = SYNC_STATE, .exclude = not, .excludes = 1
	};
	struct mailbox_new work = { .name = "Work" };
	struct side *old = &S[_i], *new = &S[1 - _i];
	struct txn *t;

	two_sides();
	memset(work.guid.b, 0xff, sizeof(work.guid.b)); /* the larger one */
	ck_assert_int_eq(txn_begin(old->s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &work, NULL), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	mail_new(old, "Work", "w", "w");
	sync_once();
	box_rename(new, "Work", "Hidden", 1800000000);
	box_new(new, "Work");
	mail_new(new, "Work", "n", "n");
	mail_new(old, "Work", "w2", "w2");
	check_dry(o);
	ck_assert_uint_eq(mail_count(new, "Work"), 1);
	ck_assert_uint_eq(mail_count(old, "Work"), 2);
	sync_once();
	assert_equal(old, new);
	for (int k = 0; k < 2; k++) {
		ck_assert_uint_ne(mail_uid(&S[k], "Work", "n"), 0);
		ck_assert_uint_eq(mail_count(&S[k], "Hidden"), 2);
		ck_assert_uint_eq(mail_count(&S[k], "Work"), 1);
	}
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

/* Another kind of peer does not know of dry runs. */
static void
unaware(bool by_master, struct item *i)
{
	(void)by_master;
	if (i->type == ITEM_HANDSHAKE)
		i->u.handshake.dry_run = false;
}

START_TEST(another_kind_of_peer_is_only_read)
{
	struct sync_options o = { .type = SYNC_FULL,
		.mode = _i == 0 ? SYNC_MIRROR
		    : _i == 1   ? SYNC_BACKUP
				: SYNC_BACKUP_REVERSE,
		.dry_run = true };
	char *a, *b, *now;

	two_sides();
	sync_once();
	mail_new(&S[0], "INBOX", "a", "a");
	mail_new(&S[1], "INBOX", "b", "b");
	a = side_dump(&S[0]);
	b = side_dump(&S[1]);
	sync_foreign = true;
	sync_watch = unaware;
	ck_assert_int_eq(
	    sync_with(&S[0], &S[1], &o, NULL), _i == 2 ? 0 : -ENOTSUP);
	ck_assert(_i != 2 || told_changes != 0);
	sync_foreign = false;
	now = side_dump(&S[0]);
	ck_assert_str_eq(now, a);
	free(now);
	now = side_dump(&S[1]);
	ck_assert_str_eq(now, b);
	free(now);
	free(a);
	free(b);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

START_TEST(a_long_inbox_is_emptied)
{
	struct sync_options o = { .type = SYNC_STATE, .mode = SYNC_BACKUP };

	side_new(&S[0], "A", 1);
	side_new(&S[1], "B", 2);
	box_new(&S[1], "INBOX");
	for (unsigned i = 0; i < 150; i++)
		mail_new(&S[1], "INBOX", NULL, "x");
	check_dry(o);
	ck_assert_uint_eq(mail_count(&S[1], "INBOX"), 0);
	side_free(&S[0]);
	side_free(&S[1]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_dry");
	TCase *t = tcase_create("dry");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, what_is_planned_is_what_is_done, 0, MODES * 10);
	tcase_add_loop_test(t, moves_are_planned_as_they_will_be, 0, 2);
	tcase_add_test(t, one_body_in_several_new_mailboxes);
	tcase_add_test(t, children_go_along_with_a_renamed_mailbox);
	tcase_add_test(t, a_directory_above_a_renamed_mailbox);
	tcase_add_test(t, a_mailbox_that_is_here_under_a_name_left_out);
	tcase_add_loop_test(
	    t, a_new_mailbox_of_the_old_name_of_one_left_out, 0, 2);
	tcase_add_loop_test(t, another_kind_of_peer_is_only_read, 0, 3);
	tcase_add_test(t, a_long_inbox_is_emptied);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
