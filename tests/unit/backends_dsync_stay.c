/*
 * backends_dsync_stay -- several syncs over one link, each over channels of its
 * own: none takes what is another's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/dsync_help.h"
#include "lib/os_mem.h"
#include "lib/store_make.h"
#include "lib/sync_help.h"

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
	side_free(&A);
	side_free(&B);
}

struct half {
	struct brain *b;
	struct channel *c;
	int rc;
	unsigned idle;
};

static bool
step_slave(void *arg)
{
	struct half *h = arg;
	uint64_t moved = h->c->received + h->c->sent;

	if (h->rc >= 0 && h->rc != BRAIN_DONE)
		h->rc = brain_step(h->b);
	(void)h->c->ops->flush(h->c);
	if (h->rc == BRAIN_PROGRESS || h->c->received + h->c->sent != moved)
		h->idle = 0;
	return (h->idle++ < 100);
}

/* Whether both stay. */
static bool
sync_over_links(struct link *la, struct link *lb, bool ask, bool can,
    const struct channel_dsync_options *co)
{
	const struct sync_options o = { .type = SYNC_STATE, .stay = ask };
	struct half slave = { 0 };
	struct channel *ca;
	struct brain *m;
	bool stays;

	ck_assert_int_eq(channel_dsync_new(la, co, &ca), 0);
	ck_assert_int_eq(channel_dsync_new(lb, co, &slave.c), 0);
	ck_assert_int_eq(brain_new_master(A.r, ca, &o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(B.r, slave.c, NULL, &slave.b), 0);
	if (can)
		brain_slave_stays(slave.b);
	link_mem_on_wait(la, step_slave, &slave, A.os);
	ck_assert_int_eq(sync_run_link(m, la, 60, 0), 0);
	for (int i = 0; i < 1000 && slave.rc >= 0 && slave.rc != BRAIN_DONE;
	     i++)
		(void)step_slave(&slave);
	ck_assert_int_eq(slave.rc, BRAIN_DONE);
	(void)step_slave(&slave);
	stays = brain_stays(m);
	ck_assert(brain_stays(slave.b) == stays);
	brain_free(m);
	brain_free(slave.b);
	ca->ops->close(ca);
	slave.c->ops->close(slave.c);
	return (stays);
}

static size_t
take(struct link *l, char *p, size_t n)
{
	ssize_t got = l->ops->read(l, p, n);

	ck_assert(got >= 0 || got == -EAGAIN);
	return (got > 0 ? (size_t)got : 0);
}

START_TEST(next_sync_finds_the_link_as_if_it_were_new)
{
	const struct link_mem_rules rules = { .chunk = _i == 0 ? 0 : 3,
		.capacity = _i == 0 ? 0 : 100 };
	struct link *la, *lb;
	char text[64], name[8] = "g0";

	link_mem_pair(&rules, &la, &lb);
	for (int i = 0; i < 5; i++) {
		name[1] = (char)('0' + i);
		(void)mail_new(i % 2 == 0 ? &A : &B, "INBOX", name, name);
		ck_assert(sync_over_links(la, lb, true, true, NULL));
		assert_equal(&A, &B);
		/* Nothing is left of it, in neither direction. */
		ck_assert_uint_eq(take(la, text, sizeof(text)), 0);
		ck_assert_uint_eq(take(lb, text, sizeof(text)), 0);
		/* The far side's words in between may be left unread. */
		ck_assert_int_eq(la->ops->write(la, "\n", 1), 1);
		ck_assert_uint_eq(take(lb, text, 1), 1);
		ck_assert_int_eq(lb->ops->write(lb, "\n\r\n", 3), 3);
	}
	la->ops->close(la);
	lb->ops->close(lb);
}
END_TEST

/* What comes right behind the end of a sync is the next one's. */
START_TEST(what_follows_at_once_is_left_for_whom_it_is)
{
	const struct sync_options o = { .type = SYNC_STATE, .stay = true };
	struct half slave = { 0 };
	struct link *la, *lb;
	struct channel *ca;
	struct brain *m;
	char text[64];

	link_mem_pair(NULL, &la, &lb);
	ck_assert_int_eq(channel_dsync_new(la, NULL, &ca), 0);
	ck_assert_int_eq(channel_dsync_new(lb, NULL, &slave.c), 0);
	ck_assert_int_eq(brain_new_master(A.r, ca, &o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(B.r, slave.c, NULL, &slave.b), 0);
	brain_slave_stays(slave.b);
	link_mem_on_wait(la, step_slave, &slave, A.os);
	ck_assert_int_eq(sync_run_link(m, la, 60, 0), 0);
	link_mem_put(la, "\nVERSION", 8);
	for (int i = 0; i < 10; i++)
		(void)step_slave(&slave);
	ck_assert_int_eq(slave.rc, BRAIN_DONE);
	ck_assert_uint_eq(take(lb, text, sizeof(text)), 8);
	ck_assert_int_eq(memcmp(text, "\nVERSION", 8), 0);
	brain_free(m);
	brain_free(slave.b);
	ca->ops->close(ca);
	slave.c->ops->close(slave.c);
	la->ops->close(la);
	lb->ops->close(lb);
}
END_TEST

START_TEST(both_have_to_want_it)
{
	const struct channel_dsync_options plain = { .plain = true };
	struct link *la, *lb;

	link_mem_pair(NULL, &la, &lb);
	ck_assert(!sync_over_links(la, lb, _i == 0, _i == 1 || _i == 2,
	    _i == 2 ? &plain : NULL));
	la->ops->close(la);
	lb->ops->close(lb);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_dsync_stay");
	TCase *t = tcase_create("stay");

	if (getenv("LOUD") == NULL)
		make_quiet();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(
	    t, next_sync_finds_the_link_as_if_it_were_new, 0, 2);
	tcase_add_test(t, what_follows_at_once_is_left_for_whom_it_is);
	tcase_add_loop_test(t, both_have_to_want_it, 0, 3);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
