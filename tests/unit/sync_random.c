/*
 * sync_random -- short random histories of two replicas: after a sync both are
 * equal, nothing that nobody expunged is lost, and a further sync finds nothing
 * to do.  The last two of four parts follow dsync's rules to the letter, as
 * with Dovecot: comparing in full, and with saved states. SYNC_SEED=n runs one
 * history, and SYNC_VERBOSE shows what its syncs do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define BOXES 3
#define MAILS 64

static const char *const boxes[BOXES] = { "INBOX", "Work", "Work/Sub" };
static struct side S[2];
static uint64_t seed;

/* Which mails may be gone: somebody expunged an instance. */
static bool made[MAILS], expunged[MAILS];
static unsigned mails;

struct pick {
	unsigned n;
	uint32_t uid;
	unsigned mail;
};

static int
on_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct pick *p = arg;

	(void)mailbox;
	p->n++;
	if (rnd(&seed, p->n) == 0) {
		p->uid = m->uid;
		p->mail = (unsigned)atoi(m->guid + 1);
	}
	return (0);
}

static bool
pick_mail(struct side *d, const char *box, struct pick *p)
{
	memset(p, 0, sizeof(*p));
	return (box_id(d, box) != 0 &&
	    store_msgs(d->s, box_id(d, box), 1, on_msg, p) == 0 && p->n != 0);
}

static void
random_save(struct side *d, const char *box)
{
	char guid[16];
	unsigned mail = mails;

	if (mails == MAILS)
		return;
	if (mails > 0 && rnd(&seed, 5) == 0)
		mail = rnd(&seed, mails); /* another instance */
	else
		mails++;
	(void)snprintf(guid, sizeof(guid), "m%u", mail);
	mail_new(d, box, guid, guid);
	made[mail] = true;
}

static void
random_op(struct side *d)
{
	const char *box = boxes[rnd(&seed, BOXES)],
		   *to = boxes[rnd(&seed, BOXES)];
	struct pick p;

	if (box_id(d, box) == 0) {
		if (rnd(&seed, 2) == 0)
			box_new(d, box);
		return;
	}
	switch (rnd(&seed, 9)) {
	case 0:
	case 1:
	case 2:
		random_save(d, box);
		break;
	case 3:
		if (pick_mail(d, box, &p)) {
			mail_expunge(d, box, p.uid);
			expunged[p.mail] = true;
		}
		break;
	case 4:
		if (pick_mail(d, box, &p) && box_id(d, to) != 0 &&
		    strcmp(box, to) != 0)
			mail_move(d, box, p.uid, to);
		break;
	case 5:
		if (pick_mail(d, box, &p))
			mail_keyword(d, box, p.uid,
			    rnd(&seed, 2) == 0 ? "k1" : NULL,
			    rnd(&seed, 2) == 0 ? "k2" : "k1");
		break;
	default:
		if (pick_mail(d, box, &p))
			mail_flags(d, box, p.uid,
			    (uint8_t)(1u << rnd(&seed, 5)),
			    (uint8_t)(1u << rnd(&seed, 5)));
	}
}

static void
check_kept(struct side *d)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	uint32_t box;
	char guid[16];

	for (unsigned i = 0; i < mails; i++) {
		(void)snprintf(guid, sizeof(guid), "m%u", i);
		if (made[i] && !expunged[i])
			ck_assert_msg(
			    store_find_guid(d->s, guid, &a, &box, &m) == 0,
			    "%s lost %s", d->label, guid);
	}
	arena_fini(&a);
}

/* Two runs at most, then nothing is left to do. */
static void
settle(struct side *a, struct side *b)
{
	struct sync_result r;
	uint64_t writes;

	ck_assert_int_eq(sync_mirror(a, b, &r), 0);
	ck_assert(!r.incomplete);
	/* A run that does not ask for another has made them equal. */
	if (r.changes_during_sync)
		ck_assert_int_eq(sync_mirror(a, b, &r), 0);
	assert_equal(a, b);
	/* With another kind of peer what is noted trails behind by a run. */
	for (int i = 0; i < 2 && sync_foreign; i++)
		ck_assert_int_eq(sync_mirror(b, a, &r), 0);
	writes = os_mem_changes(a->os) + os_mem_changes(b->os);
	ck_assert_int_eq(sync_mirror(b, a, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	ck_assert_uint_eq(
	    os_mem_changes(a->os) + os_mem_changes(b->os), writes);
	assert_equal(a, b);
	check_kept(a);
	check_kept(b);
}

static void
one_history(uint64_t n)
{
	struct sync_options mirror = { .mode = SYNC_MIRROR,
		.type = sync_mirror_type() };

	seed = n * 7919 + 1;
	mails = 0;
	memset(made, 0, sizeof(made));
	memset(expunged, 0, sizeof(expunged));
	side_new(&S[0], "A", n * 2 + 1);
	side_new(&S[1], "B", n * 2 + 2);
	for (int round = 0; round < 4; round++) {
		unsigned ops = rnd(&seed, 12);

		for (unsigned i = 0; i < ops; i++)
			random_op(&S[rnd(&seed, 2)]);
		/*
		 * Sometimes a run that is killed comes first, and life goes on
		 * before the next.
		 */
		if (rnd(&seed, 3) == 0) {
			(void)sync_steps(&S[0], &S[1], &mirror, rnd(&seed, 40));
			for (unsigned i = rnd(&seed, 5); i > 0; i--)
				random_op(&S[rnd(&seed, 2)]);
		}
		settle(&S[round % 2], &S[1 - round % 2]);
	}
	side_free(&S[0]);
	side_free(&S[1]);
}

START_TEST(histories_converge)
{
	const char *one = getenv("SYNC_SEED");

	sync_foreign = _i >= 50;
	sync_stateful = _i >= 75;
	if (one != NULL) {
		one_history((uint64_t)atoll(one));
		return;
	}
	for (uint64_t n = 0; n < 40; n++) {
		seed = (uint64_t)_i * 40 + n;
		if (getenv("SYNC_VERBOSE") != NULL)
			fprintf(
			    stderr, "history %llu\n", (unsigned long long)seed);
		one_history(seed);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_random");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, histories_converge, 0, 100);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
