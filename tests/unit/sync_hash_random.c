/*
 * sync_hash_random -- short random histories of two replicas of which one has
 * no GUIDs, or cannot set them: after a few syncs both are equal, no mail is
 * lost that nobody expunged, and a further sync finds nothing to do.  The last
 * half follows dsync's rules to the letter.  SYNC_SEED=n runs one history, and
 * SYNC_VERBOSE shows what its syncs do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/hidden.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

#define BOXES 2
#define MAILS 64
#define LOOPS 40
#define EACH 30 /* histories a loop */

static const char *const boxes[BOXES] = { "INBOX", "Work" };
static struct side S[2];
static uint64_t seed;

/* Which mails may be gone: somebody expunged an instance. */
static bool made[MAILS], expunged[MAILS];
static unsigned mails;
/*
 * The two of another kind may give one UID to two mails of one header, and
 * dsync takes them for one then: such mails are only made between two dsyncfs.
 */
static bool alike;

/*
 * Every body ends with the number of its mail.  Of eight, three share a header
 * and one has none; nobody could tell those of two sides apart, so only one
 * makes them.
 */
static bool
is_like_others(unsigned mail)
{
	return (mail % 8 > 4);
}

static void
save_mail(struct side *d, const char *box, unsigned mail)
{
	static const char fill[] = "................................"
				   "................................";
	char raw[256];

	if (is_like_others(mail) && (d != &S[0] || !alike))
		return;
	if (mail % 8 == 7)
		(void)snprintf(raw, sizeof(raw),
		    "Subject: x\n\n%.*smail %02u\n", (int)mail, fill, mail);
	else if (is_like_others(mail))
		(void)snprintf(raw, sizeof(raw),
		    "Message-ID: <shared@x>\n\n%.*smail %02u\n", (int)mail,
		    fill, mail);
	else
		(void)snprintf(raw, sizeof(raw),
		    "Message-ID: <%u@x>\n\nmail %02u\n", mail, mail);
	mail_raw(d, box, NULL, raw);
	made[mail] = true;
}

static unsigned
mail_of(struct side *d, uint32_t box, uint32_t uid)
{
	char raw[256];
	struct stream *s;
	ssize_t n;

	ck_assert_int_eq(d->r->ops->body(d->r, box, uid, &s), 0);
	n = stream_read(s, raw, sizeof(raw) - 1);
	stream_close(s);
	ck_assert_int_gt(n, 8);
	raw[n] = '\0';
	return ((unsigned)atoi(raw + n - 3));
}

struct pick {
	unsigned n;
	uint32_t uid;
};

static int
on_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct pick *p = arg;

	(void)mailbox;
	p->n++;
	if (rnd(&seed, p->n) == 0)
		p->uid = m->uid;
	return (0);
}

static bool
pick_mail(struct side *d, const char *box, struct pick *p)
{
	memset(p, 0, sizeof(*p));
	return (
	    store_msgs(d->s, box_id(d, box), 1, on_msg, p) == 0 && p->n != 0);
}

static void
random_save(struct side *d, const char *box)
{
	if (mails > 0 && rnd(&seed, 5) == 0)
		save_mail(d, box, rnd(&seed, mails)); /* another instance */
	else if (mails < MAILS)
		save_mail(d, box, mails++);
}

static void
random_op(struct side *d)
{
	const char *box = boxes[rnd(&seed, BOXES)];
	struct pick p;

	if (box_id(d, box) == 0) {
		if (rnd(&seed, 2) == 0)
			box_new(d, box);
		return;
	}
	switch (rnd(&seed, 8)) {
	case 0:
	case 1:
	case 2:
		random_save(d, box);
		break;
	case 3:
		if (pick_mail(d, box, &p)) {
			expunged[mail_of(d, box_id(d, box), p.uid)] = true;
			mail_expunge(d, box, p.uid);
		}
		break;
	case 4:
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

static int
on_kept(void *arg, uint32_t mailbox, const struct msg *m)
{
	bool *kept = arg;

	(void)mailbox;
	kept[m->uid] = true;
	return (0);
}

static void
check_kept(struct side *d)
{
	bool uids[1000] = { false }, kept[MAILS] = { false };

	for (int b = 0; b < BOXES; b++) {
		if (box_id(d, boxes[b]) == 0)
			continue;
		memset(uids, 0, sizeof(uids));
		ck_assert_int_eq(
		    store_msgs(d->s, box_id(d, boxes[b]), 1, on_kept, uids), 0);
		for (uint32_t uid = 1; uid < 1000; uid++)
			if (uids[uid])
				kept[mail_of(d, box_id(d, boxes[b]), uid)] =
				    true;
	}
	for (unsigned i = 0; i < mails; i++)
		ck_assert_msg(!made[i] || expunged[i] || kept[i],
		    "%s lost mail %u", d->label, i);
}

static void
settle(struct side *a, struct side *b)
{
	struct sync_result r;

	for (int i = 0; i < (sync_foreign ? 4 : 2); i++) {
		ck_assert_int_eq(sync_mirror(a, b, &r), 0);
		ck_assert(!r.incomplete);
		if (!r.changes_during_sync && sides_equal(a, b))
			break;
	}
	assert_equal(a, b);
	ck_assert_int_eq(sync_mirror(b, a, &r), 0);
	ck_assert_uint_eq(told_changes, 0);
	assert_equal(a, b);
	check_kept(a);
	check_kept(b);
}

static void
one_history(uint64_t n)
{
	static const unsigned full = REPLICA_GUIDS | REPLICA_SAVE_GUIDS,
			      kinds[][2] = { { 0, 0 }, { 0, full }, { full, 0 },
				      { REPLICA_GUIDS, full },
				      { full, REPLICA_GUIDS },
				      { REPLICA_GUIDS, 0 } };
	const unsigned *kind = kinds[n % 6];
	struct sync_options mirror = { .mode = SYNC_MIRROR,
		.type = SYNC_STATE };

	sync_foreign = n >= LOOPS / 2 * EACH;
	alike = !sync_foreign;
	if (sync_foreign)
		mirror.type = SYNC_FULL;

	seed = n * 7919 + 1;
	mails = 0;
	memset(made, 0, sizeof(made));
	memset(expunged, 0, sizeof(expunged));
	side_new_hidden(&S[0], "A", n * 2 + 1, kind[0]);
	side_new_hidden(&S[1], "B", n * 2 + 2, kind[1]);
	for (int round = 0; round < 4; round++) {
		unsigned ops = rnd(&seed, 12);

		for (unsigned i = 0; i < ops; i++)
			random_op(&S[rnd(&seed, 2)]);
		/* Sometimes a run that is killed comes first. */
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

	if (one != NULL) {
		if (_i == 0)
			one_history((uint64_t)atoll(one));
		return;
	}
	for (uint64_t n = 0; n < EACH; n++) {
		uint64_t history = (uint64_t)_i * EACH + n;

		if (getenv("SYNC_VERBOSE") != NULL)
			fprintf(stderr, "history %llu\n",
			    (unsigned long long)history);
		one_history(history);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_hash_random");
	TCase *t = tcase_create("random");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, histories_converge, 0, LOOPS);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
