/*
 * backends_dsync_sync -- two brains over two dsync channels come to the same as
 * in one process, whatever the link is like; and the driver of one brain.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/dsync_help.h"
#include "lib/os_mem.h"
#include "lib/store_make.h"
#include "lib/sync_help.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static struct side A, B, C;

static void
setup(void)
{
	side_new(&A, "A", 1);
	side_new(&B, "B", 2);
	side_new(&C, "C", 3);
	box_new(&A, "INBOX");
}

static void
teardown_sides(void)
{
	side_free(&A);
	side_free(&B);
	side_free(&C);
}

static void
teardown(void)
{
	sync_over = NULL;
	sync_foreign = false;
	teardown_sides();
}

/* ---- one brain driven, the other stepped while it waits ---- */

static struct link_mem_rules rules;
static bool plain, drive_slave;
static int slave_rc, master_rc;

struct stepped {
	struct brain *b;
	struct channel *c;
	struct link *l;
	int rc;
	unsigned idle;
};

/* false: it is done, or stuck */
static bool
step_other(void *arg)
{
	struct stepped *s = arg;
	uint64_t moved = s->c->received + s->c->sent;

	if (s->rc >= 0 && s->rc != BRAIN_DONE)
		s->rc = brain_step(s->b);
	(void)s->c->ops->flush(s->c);
	if (s->rc == BRAIN_PROGRESS || s->c->received + s->c->sent != moved)
		s->idle = 0;
	return (s->idle++ < 100);
}

static void
add(struct sync_result *to, const struct sync_result *r)
{
	struct sync_counts *t = &to->counts;
	const struct sync_counts *c = &r->counts;

	to->changes_during_sync |= r->changes_during_sync;
	to->incomplete |= r->incomplete;
	t->saved += c->saved;
	t->copied += c->copied;
	t->flags += c->flags;
	t->expunged += c->expunged;
	t->renumbered += c->renumbered;
	t->mailboxes_created += c->mailboxes_created;
	t->mailboxes_renamed += c->mailboxes_renamed;
	t->mailboxes_deleted += c->mailboxes_deleted;
	t->subscriptions += c->subscriptions;
	t->bytes += c->bytes;
}

static int
over_dsync(struct side *a, struct side *b, const struct sync_options *o,
    const struct sync_events *e, struct sync_result *res)
{
	const struct channel_dsync_options co = { .plain = plain };
	struct sync_result r[2];
	struct stepped s = { 0 };
	struct brain *m, *sl;
	struct talk t;
	int rc;

	talk_begin(&t, &rules, &co, &co);
	ck_assert_int_eq(brain_new_master(a->r, t.a, o, e, &m), 0);
	ck_assert_int_eq(brain_new_slave(b->r, t.b, e, &sl), 0);
	s.b = drive_slave ? m : sl;
	s.c = drive_slave ? t.a : t.b;
	link_mem_on_wait(drive_slave ? t.lb : t.la, step_other, &s,
	    drive_slave ? b->os : a->os);
	rc = sync_run_link(drive_slave ? sl : m, drive_slave ? t.lb : t.la, 60, 0);
	/* What the driven one said last, the other has still to hear. */
	for (int i = 0; i < 1000 && s.rc >= 0 && s.rc != BRAIN_DONE; i++)
		(void)step_other(&s);
	if (s.rc == BRAIN_DONE)
		s.rc = 0;
	master_rc = drive_slave ? s.rc : rc;
	slave_rc = drive_slave ? rc : s.rc;
	brain_result(m, &r[0]);
	brain_result(sl, &r[1]);
	memset(res, 0, sizeof(*res));
	add(res, &r[0]);
	add(res, &r[1]);
	res->counts.mailboxes_synced = r[0].counts.mailboxes_synced;
	res->counts.mailboxes_unchanged = r[0].counts.mailboxes_unchanged;
	brain_free(m);
	brain_free(sl);
	talk_end(&t);
	return (master_rc != 0 ? master_rc : slave_rc);
}

static const struct link_mem_rules all_rules[] = {
	{ 0, 0, 0, false },
	{ 1, 0, 0, false },
	{ 3, 2, 9, false },
	{ 1000, 700, 10, false },
};
/*
 * 16 ways: each link with either side driven, with and without own columns. The
 * first four have a bit of everything, for slow builds.
 */
static int ways = 16;

static void
go_over_dsync(int way)
{
	rules = all_rules[way % 4];
	drive_slave = ((way ^ way >> 2) & 1) != 0;
	plain = (((way % 4 + 1) / 2 ^ way >> 3) & 1) != 0;
	sync_over = over_dsync;
}

/* ---- the same as in one process ---- */

#define TEXTS 64
/* what was noted of the syncs in one process; then compared with */
static char *texts[TEXTS];
static unsigned n_texts, n_compared;

/* At the first line that differs. */
static void
compare(const char *got, const char *want)
{
	while (*want != '\0' || *got != '\0') {
		size_t w = strcspn(want, "\n"), g = strcspn(got, "\n");

		ck_assert_msg(w == g && memcmp(want, got, w) == 0,
		    "sync %u: '%.*s' instead of '%.*s'", n_compared, (int)g,
		    got, (int)w, want);
		want += w + (want[w] == '\n');
		got += g + (got[g] == '\n');
	}
}

static void
note(struct side *x, struct side *y, int rc, const struct sync_result *r)
{
	struct buf b = BUF_INIT;
	char *da = side_dump(x), *db = side_dump(y);
	/* of kinds that do not know each other nobody adds them up */
	const struct sync_counts none = { 0 }, *c = plain ? &none : &r->counts;

	buf_printf(&b,
	    "%d: saved %llu copied %llu flags %llu expunged %llu renumbered "
	    "%llu boxes %llu %llu %llu subscriptions %llu synced %llu %llu "
	    "bytes %llu during %d incomplete %d\nA\n%s\nB\n%s",
	    rc, (unsigned long long)c->saved, (unsigned long long)c->copied,
	    (unsigned long long)c->flags, (unsigned long long)c->expunged,
	    (unsigned long long)c->renumbered,
	    (unsigned long long)c->mailboxes_created,
	    (unsigned long long)c->mailboxes_renamed,
	    (unsigned long long)c->mailboxes_deleted,
	    (unsigned long long)c->subscriptions,
	    (unsigned long long)c->mailboxes_synced,
	    (unsigned long long)c->mailboxes_unchanged,
	    (unsigned long long)c->bytes, r->changes_during_sync, r->incomplete,
	    da, db);
	free(da);
	free(db);
	if (sync_over != NULL) {
		ck_assert_uint_lt(n_compared, n_texts);
		compare(buf_cstr(&b), texts[n_compared++]);
	} else {
		ck_assert_uint_lt(n_texts, TEXTS);
		texts[n_texts++] = strdup(buf_cstr(&b));
	}
	buf_fini(&b);
}

/* A sync with these options; both sides and all counts are noted, or compared.
 */
static void
run_between(struct side *a, struct side *b, const struct sync_options *o)
{
	struct sync_options with = *o;
	struct sync_result r = { 0 };
	int rc;

	/* Saved states are not between kinds that do not know each other. */
	if (plain || sync_foreign)
		with.type = SYNC_FULL;
	rc = sync_with(a, b, &with, &r);
	note(a, b, rc, &r);
}

static void
run(const struct sync_options *o)
{
	run_between(&A, &B, o);
}

static const struct sync_options mirror = { .mode = SYNC_MIRROR,
	.type = SYNC_STATE };

static void
change_both(void)
{
	static char large[300000];

	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i % 60 == 59 ? '\n' : i % 60 ? 'a' : '.');
	mail_new(&A, "INBOX", "g1", "one");
	mail_bytes(&A, "INBOX", "g2", "", 0);
	mail_bytes(&A, "INBOX", "large", large, sizeof(large));
	box_new(&A, "Work");
	box_new(&A, "Work/Sub \xc3\xa4\xc3\xb6");
	box_subscribe(&A, "Work", true, 1700000010);
	mail_bytes(&A, "Work", "w1", "work\n.\r\n.\n", 11);
	mail_bytes(&A, "Work", NULL, ".\n\0no end of line\r", 18);
	mail_flags(&A, "Work", 1, MAIL_SEEN | MAIL_ANSWERED, 0);
	mail_keyword(&A, "Work", 1, "$Forwarded", NULL);
	box_new(&B, "Other");
	mail_new(&B, "Other", "o1", "other");
}

static void
mirrors(void)
{
	change_both();
	run(&mirror);
	run(&mirror);
	mail_flags(&A, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_flags(&B, "INBOX", 1, MAIL_SEEN, 0);
	mail_keyword(&B, "Work", 1, "mykw", "$Forwarded");
	mail_expunge(&B, "INBOX", 2);
	mail_new(&A, "INBOX", "M668", "from A");
	mail_new(&B, "INBOX", "M648", "from B");
	mail_move(&B, "Other", 1, "Work");
	box_rename(&A, "Work", "Job", 1700000020);
	box_subscribe(&A, "Work", false, 1700000021);
	run(&mirror);
	run(&mirror);
	box_delete(&B, "Other", 1700000030);
	mail_new(&A, "INBOX", "g1", "one");
	run(&mirror);
	run(&mirror);
}

static void
backups(void)
{
	struct sync_options o = { .mode = SYNC_BACKUP, .type = SYNC_STATE };

	change_both();
	run(&o);
	mail_flags(&B, "INBOX", 1, MAIL_FLAGGED, 0);
	mail_expunge(&B, "Work", 1);
	mail_new(&B, "INBOX", "stray", "stray");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	run(&o);
	run(&o);
	o.mode = SYNC_BACKUP_REVERSE;
	mail_new(&B, "INBOX", "back", "back");
	mail_expunge(&A, "INBOX", 1);
	run(&o);
	run(&o);
}

static void
one_ways(void)
{
	struct sync_options o = { .one_way = true, .type = SYNC_STATE };

	change_both();
	run(&o);
	mail_new(&A, "INBOX", "a2", "from A");
	box_new(&B, "Stays");
	mail_new(&B, "Stays", "b2", "from B");
	mail_flags(&B, "INBOX", 1, MAIL_DRAFT, 0);
	run(&o);
	o.mode = SYNC_BACKUP_REVERSE;
	run(&o);
}

static void
some_only(void)
{
	static const char *const work[] = { "Work" },
				 *const two[] = { "INBOX", "Work" };
	struct sync_options o = {
		.type = SYNC_STATE, .mailbox = work, .mailboxes = 1
	};

	change_both();
	run(&o);
	o = (struct sync_options){
		.type = SYNC_FULL, .exclude = two, .excludes = 2
	};
	run(&o);
	o = (struct sync_options){ .type = SYNC_FULL,
		.since = 1600000000,
		.until = 1800000000,
		.max_size = 1000,
		.flag = "-\\Flagged",
		.alt_char = '-' };
	run(&o);
	o = (struct sync_options){ .type = SYNC_CHANGED };
	run(&o);
}

/* ---- histories of three, at random ---- */

static uint64_t seed;
static int story_way; /* chooses the histories */

static int
pick(void *arg, uint32_t mailbox, const struct msg *m)
{
	uint32_t *uid = arg;

	(void)mailbox;
	if (*uid == 0 || rnd(&seed, 3) == 0)
		*uid = m->uid;
	return (0);
}

static void
random_change(struct side *d)
{
	static const char *const names[] = { "INBOX", "Work", "Work/Sub" };
	const char *box = names[rnd(&seed, 3)], *to = names[rnd(&seed, 3)];
	uint32_t uid = 0, what = rnd(&seed, 8);
	char guid[8];

	if (box_id(d, box) == 0) {
		box_new(d, box);
		return;
	}
	(void)snprintf(guid, sizeof(guid), "m%u", rnd(&seed, 40));
	ck_assert_int_eq(store_msgs(d->s, box_id(d, box), 1, pick, &uid), 0);
	if (uid == 0 || what < 3)
		mail_new(d, box, guid, guid);
	else if (what == 3)
		mail_expunge(d, box, uid);
	else if (what == 4 && box_id(d, to) != 0 && strcmp(box, to) != 0)
		mail_move(d, box, uid, to);
	else if (what == 5)
		mail_keyword(d, box, uid, "k1", "k2");
	else
		mail_flags(d, box, uid, (uint8_t)(1u << rnd(&seed, 5)), 0);
}

/* A few changes anywhere, then two of the three meet. */
static void
random_history(uint64_t n)
{
	struct side *side[] = { &A, &B, &C };

	seed = n;
	for (int round = 0; round < 12; round++) {
		uint32_t a = rnd(&seed, 3), b = (a + 1 + rnd(&seed, 2)) % 3;

		for (uint32_t k = rnd(&seed, 8); k > 0; k--)
			random_change(side[rnd(&seed, 3)]);
		run_between(side[a], side[b], &mirror);
	}
}

static void
random_histories(void)
{
	for (uint64_t k = 0; k < 4; k++) {
		random_history((uint64_t)story_way * 4 + k + 1);
		teardown_sides();
		setup();
	}
}

static void (*const stories[])(
    void) = { mirrors, backups, one_ways, some_only, random_histories };
#define STORIES (int)LENGTH(stories)

/* In one process first, then over dsync: what was noted has to be the same. */
START_TEST(dsync_makes_no_difference)
{
	story_way = _i % ways;
	go_over_dsync(_i % ways);
	sync_over = NULL;
	sync_foreign = plain;
	stories[_i / ways]();
	teardown();
	setup();
	go_over_dsync(_i % ways);
	stories[_i / ways]();
	ck_assert_uint_gt(n_texts, 0);
	ck_assert_uint_eq(n_compared, n_texts);
	while (n_texts > 0)
		free(texts[--n_texts]);
}
END_TEST

/* ---- what only dsyncfs can say ---- */

START_TEST(dry_run_changes_nothing_over_dsync)
{
	struct sync_options o = { .type = SYNC_STATE, .dry_run = true };
	struct sync_result r;
	char *before, *after;

	change_both();
	before = side_dump(&B);
	go_over_dsync(_i);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), plain ? -EOPNOTSUPP : 0);
	after = side_dump(&B);
	ck_assert_str_eq(before, after);
	if (!plain)
		ck_assert_uint_gt(r.counts.saved, 0);
	free(before);
	free(after);
}
END_TEST

START_TEST(several_mailboxes_are_synced_or_refused)
{
	static const char *const two[] = { "INBOX", "Work" };
	struct sync_options o = {
		.type = SYNC_FULL, .mailbox = two, .mailboxes = 2
	};
	struct sync_result r;

	change_both();
	go_over_dsync(_i);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), plain ? -EOPNOTSUPP : 0);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	if (!plain) {
		ck_assert_uint_eq(mail_count(&B, "INBOX"), 3);
		ck_assert_uint_eq(mail_count(&B, "Work"), 2);
	}
	/* neither was the one mailbox mistaken for all */
	ck_assert_uint_eq(mail_count(&B, "Other"), 1);
	ck_assert_uint_eq(box_id(&A, "Other"), 0);
}
END_TEST

START_TEST(guard_of_either_side_stops_both)
{
	struct sync_options o = { .type = SYNC_STATE,
		.max_delete_percent = 50,
		.max_delete_min = 1 };
	struct side *loses = _i % 2 == 0 ? &A : &B,
		    *kept = _i % 2 == 0 ? &B : &A;
	struct sync_result r;

	for (int i = 0; i < 10; i++)
		mail_new(&A, "INBOX", NULL, "x");
	go_over_dsync(_i / 2);
	/* only a dsyncfs is told of the other's guard */
	plain = false;
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	for (uint32_t uid = 1; uid <= 10; uid++)
		mail_expunge(loses, "INBOX", uid);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), -ECANCELED);
	ck_assert_int_eq(master_rc, -ECANCELED);
	ck_assert_int_eq(slave_rc, -ECANCELED);
	ck_assert_uint_eq(mail_count(kept, "INBOX"), 10);
}
END_TEST

/* ---- a body that is damaged ---- */

static int
find_pack(void *arg, const char *path, enum os_type type, uint64_t size)
{
	char *out = arg;

	(void)size;
	if (type == OS_FILE && strstr(path, "pack") != NULL)
		(void)snprintf(out, 64, "%s", path);
	return (0);
}

/* A mail whose last part cannot be read. */
static void
damage_mail(struct side *d, const char *box, uint32_t uid)
{
	struct arena a = ARENA_INIT;
	char path[64] = "";
	struct msg m;

	ck_assert_int_eq(d->r->ops->commit(d->r), 0);
	ck_assert_int_eq(store_msg(d->s, box_id(d, box), uid, &a, &m), 0);
	ck_assert_int_eq(os_mem_walk(d->os, find_pack, path), 0);
	ck_assert_int_eq(
	    os_mem_flip(d->os, path, m.body.offset + m.body.size - 100, 0x01),
	    0);
	arena_fini(&a);
}

START_TEST(unreadable_mail_costs_only_itself)
{
	struct sync_options o = { .type = SYNC_FULL };
	static uint8_t noise[200000];
	struct sync_result r;
	uint64_t noise_seed = 4;
	uint32_t uid;

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rnd(&noise_seed, 256);
	mail_new(&A, "INBOX", "g1", "before");
	uid = mail_bytes(&A, "INBOX", "bad", noise, sizeof(noise));
	damage_mail(&A, "INBOX", uid);
	mail_new(&A, "INBOX", "g3", "behind");
	go_over_dsync(_i);
	ck_assert_int_eq(sync_with(&A, &B, &o, &r), 0);
	ck_assert(r.incomplete);
	ck_assert_uint_eq(mail_count(&B, "INBOX"), 2);
	ck_assert_uint_ne(mail_uid(&B, "INBOX", "g3"), 0);
	ck_assert_uint_eq(mail_uid(&B, "INBOX", "bad"), 0);
}
END_TEST

/* ---- a connection that ends ---- */

static size_t cut_at;
static bool cut_slave;

/* As over_dsync, but one side's bytes stop after cut_at. */
static int
over_cut(struct side *a, struct side *b, const struct sync_options *o,
    const struct sync_events *e, struct sync_result *res)
{
	const struct link_mem_rules r = { .chunk = 100 };
	struct stepped s = { 0 };
	struct brain *m, *sl;
	struct talk t;
	size_t opening, all;
	int rc;

	memset(res, 0, sizeof(*res));
	talk_begin(&t, &r, NULL, NULL);
	(void)link_mem_written(cut_slave ? t.lb : t.la, &opening);
	if (cut_at != SIZE_MAX)
		link_mem_cut(cut_slave ? t.lb : t.la, cut_at);
	ck_assert_int_eq(brain_new_master(a->r, t.a, o, e, &m), 0);
	ck_assert_int_eq(brain_new_slave(b->r, t.b, e, &sl), 0);
	s = (struct stepped){ .b = sl, .c = t.b };
	link_mem_on_wait(t.la, step_other, &s, a->os);
	rc = sync_run_link(m, t.la, 60, 0);
	while (s.rc >= 0 && s.rc != BRAIN_DONE && step_other(&s))
		;
	(void)link_mem_written(cut_slave ? t.lb : t.la, &all);
	brain_free(m);
	brain_free(sl);
	talk_end(&t);
	if (cut_at == SIZE_MAX)
		cut_at = all - opening;
	return (rc);
}

/* Both have INBOX and a mail each, and one has a mailbox more. */
static void
begin_cut(void)
{
	struct sync_result r;

	sync_over = NULL;
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	mail_new(&A, "INBOX", "g1", "one\n");
	mail_new(&B, "INBOX", "g2", "two\n");
	box_new(&A, "Work");
	sync_over = over_cut;
}

START_TEST(cut_connection_fails_and_the_next_run_finishes)
{
	struct sync_result r;
	size_t total, step;
	int failed = 0;

	cut_slave = _i == 1;
	begin_cut();
	cut_at = SIZE_MAX;
	ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
	total = cut_at;
	step = getenv("TEST_SHORT") != NULL ? 53 : 7;
	for (size_t at = 0; at < total; at += step) {
		teardown();
		setup();
		begin_cut();
		cut_at = at;
		failed += sync_mirror(&A, &B, &r) != 0;
		sync_over = NULL;
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
		ck_assert_int_eq(sync_mirror(&A, &B, &r), 0);
		assert_equal(&A, &B);
		ck_assert_uint_eq(mail_count(&A, "INBOX"), 2);
	}
	/* but for the slave's last word, X */
	ck_assert_int_ge(failed, (int)(total / step) - 1);
}
END_TEST

/* ---- the driver alone ---- */

START_TEST(silent_peer_is_given_up_after_its_time)
{
	struct alone a;
	struct brain *m;
	uint64_t from = A.os->ops->mono_ms(A.os);
	unsigned seconds = _i == 0 ? 0 : 30;
	const char *said;

	alone_begin(&a, NULL);
	if (_i == 1)
		alone_hears(&a, dovecot_opening);
	link_mem_on_wait(a.l, NULL, NULL, A.os);
	ck_assert_int_eq(brain_new_master(A.r, a.c, &mirror, NULL, &m), 0);
	ck_assert_int_eq(sync_run_link(m, a.l, seconds, 0), -ETIMEDOUT);
	ck_assert_uint_eq(
	    A.os->ops->mono_ms(A.os) - from, _i == 0 ? 600 * 1000 : 30 * 1000);
	ck_assert(strstr(make_said,
	    _i == 0 ? "b.example: silent for 600 s"
		    : "b.example: silent for 30 s"));
	/* a peer that could hear has been told */
	said = alone_said(&a);
	ck_assert(_i == 0 || strcmp(said + strlen(said) - 2, "X\n") == 0);
	brain_free(m);
	alone_end(&a);
}
END_TEST

/* One byte at a time, each after nearly all of the time has gone by. */
struct slow {
	struct alone a;
	const char *text;
	size_t at;
};

static bool
say_one_byte(void *arg)
{
	struct slow *s = arg;

	if (s->text[s->at] == '\0')
		return (false);
	os_mem_advance(A.os, 29 * 1000);
	link_mem_put(s->a.peer, s->text + s->at++, 1);
	return (true);
}

START_TEST(slow_peer_is_not_given_up)
{
	struct slow s = { .text = dovecot_opening };
	struct brain *m;

	alone_begin(&s.a, NULL);
	link_mem_on_wait(s.a.l, say_one_byte, &s, A.os);
	ck_assert_int_eq(brain_new_master(A.r, s.a.c, &mirror, NULL, &m), 0);
	ck_assert_int_eq(sync_run_link(m, s.a.l, 30, 0), -ETIMEDOUT);
	ck_assert_uint_eq(s.at, strlen(dovecot_opening));
	brain_free(m);
	alone_end(&s.a);
}
END_TEST

static int
wake_up_early(struct link *l, int want_write, int also, int timeout_ms)
{
	(void)l;
	(void)also;
	(void)want_write;
	ck_assert_int_le(timeout_ms, 30000);
	os_mem_advance(A.os, 25000);
	return (0);
}

START_TEST(being_woken_is_no_sign_of_life)
{
	uint64_t from = A.os->ops->mono_ms(A.os);
	struct link_ops ops;
	struct alone a;
	struct brain *m;

	alone_begin(&a, NULL);
	ops = *a.l->ops;
	ops.wait = wake_up_early;
	a.l->ops = &ops;
	ck_assert_int_eq(brain_new_master(A.r, a.c, &mirror, NULL, &m), 0);
	ck_assert_int_eq(sync_run_link(m, a.l, 30, 0), -ETIMEDOUT);
	ck_assert_uint_eq(A.os->ops->mono_ms(A.os) - from, 50000);
	brain_free(m);
	alone_end(&a);
}
END_TEST

START_TEST(greeting_instead_of_dsync_fails_at_once)
{
	struct alone a;
	struct brain *m;

	alone_begin(&a, NULL);
	alone_hears(&a, "Welcome!\n");
	ck_assert_int_eq(brain_new_master(A.r, a.c, &mirror, NULL, &m), 0);
	ck_assert_int_eq(sync_run_link(m, a.l, 30, 0), -EBADMSG);
	ck_assert_uint_eq(link_mem_waits(a.l), 0);
	ck_assert(strstr(make_said, "'Welcome!'") != NULL);
	brain_free(m);
	alone_end(&a);
}
END_TEST

START_TEST(old_peer_without_attributes_and_finish_is_served)
{
	/* a slave of minor 0 that has the same empty INBOX and is done */
	struct alone a;
	struct brain *m;
	struct mailbox box;
	char hex[GUID_HEX_LEN + 1], text[512];

	ck_assert_int_eq(store_mailbox(A.s, box_id(&A, "INBOX"), &box), 0);
	(void)guid_hex(&box.guid, hex);
	(void)snprintf(text, sizeof(text),
	    "Hold\n.\nD/\nB%s\t%u\t1\t0\t1\t1\t0\t\x02\t\x02\t\t\t\n"
	    ".\n.\n.\nS%s\t%u\t0\t1\t0\t0\n",
	    hex, box.uidvalidity, hex, box.uidvalidity);
	alone_begin(&a, NULL);
	alone_hears(&a, "VERSION\tdsync\t3\t0\n");
	alone_hears(&a, strchr(dovecot_opening, '\n') + 1);
	alone_hears(&a, text);
	link_mem_cut(a.peer, 0);
	link_mem_on_wait(a.l, NULL, NULL, A.os);
	ck_assert_int_eq(
	    brain_new_master(A.r, a.c,
		&(struct sync_options){ .type = SYNC_FULL }, NULL, &m),
	    0);
	ck_assert_int_eq(sync_run_link(m, a.l, 30, 0), 0);
	/* C R M, then S, then no more mailboxes */
	ck_assert(strstr(alone_said(&a), "\n.\n.\n.\nS") != NULL);
	ck_assert_ptr_null(strstr(alone_said(&a), "\n.\n.\n.\n.\n"));
	brain_free(m);
	alone_end(&a);
}
END_TEST

#define HELLO                                                                  \
	"Hx\t\x02\t\x02\t\x02\tf\t\x02\t\x02\t\x02\t\n" /* and requests        \
							 */
#define G "c7dba016bab9046b4d7f000083ecc375"
#define BOX HELLO "NINBOX\ty\t" G "\t7\t2\n.\nD/\nB" G "\t7\t2\t1\t1\t1\t0\n"

/* Records that are right, in places that are not. */
static const struct {
	const char *text;
	int rc;
} misplaced[] = {
	{ ".\n", -EBADMSG },
	{ "F\n", -ECONNABORTED },
	{ HELLO "X\n", -ECONNABORTED },
	{ "D/\n", -EBADMSG },
	{ HELLO HELLO, -EBADMSG },
	{ HELLO "D/\n", -EBADMSG },
	{ HELLO ".\n.\n", -EBADMSG },
	{ HELLO ".\nNa\ty\n", -EBADMSG },
	{ HELLO ".\nD/\nD/\n", -EBADMSG },
	{ HELLO ".\nD/\nR\x02\t1\n", -EBADMSG },
	{ HELLO "Mg\n", -EBADMSG },
	{ HELLO "Na\ty\t" G "\nNb\ty\t" G "\n.\nD/\n", -EBADMSG },
	{ BOX "Cs\t1\tg\n", -EBADMSG },
	{ BOX ".\nR\x02\t1\n", -EBADMSG },
	{ BOX ".\nCs\t1\tg\nCs\t1\tg\n", -EBADMSG },
	{ BOX ".\nCs\t1\n", -EBADMSG },
	{ BOX ".\nCf\t1\tg\n", -EBADMSG },
	{ BOX ".\n.\nMg\n", -EBADMSG },
	{ BOX ".\n.\n.\nB" G "\t7\t2\t1\t1\t1\t0\n", -EBADMSG },
	{ BOX ".\n.\n.\n.\nS00000000000000000000000000000001\t1\t1\t1\t1\n",
	    -EBADMSG },
};

START_TEST(record_in_the_wrong_place_is_refused)
{
	struct alone a;
	struct brain *b;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, misplaced[_i].text);
	link_mem_on_wait(a.l, NULL, NULL, B.os);
	ck_assert_int_eq(brain_new_slave(B.r, a.c, NULL, &b), 0);
	ck_assert_int_eq(sync_run_link(b, a.l, 30, 0), misplaced[_i].rc);
	brain_free(b);
	alone_end(&a);
}
END_TEST

START_TEST(slave_ends_well_when_nobody_hears_its_last_word)
{
	struct alone a;
	struct brain *b;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, HELLO ".\nD/\n.\n");
	link_mem_fail(a.l, 0, -EPIPE);
	link_mem_on_wait(a.l, NULL, NULL, B.os);
	ck_assert_int_eq(brain_new_slave(B.r, a.c, NULL, &b), 0);
	ck_assert_int_eq(sync_run_link(b, a.l, 30, 0), 0);
	brain_free(b);
	alone_end(&a);
}
END_TEST

START_TEST(slave_is_done_when_its_master_says_only_that_it_stops)
{
	uint64_t end = store_log_end(B.r->store);
	struct alone a;
	struct brain *b;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, "X\n");
	link_mem_on_wait(a.l, NULL, NULL, B.os);
	ck_assert_int_eq(brain_new_slave(B.r, a.c, NULL, &b), 0);
	ck_assert_int_eq(sync_run_link(b, a.l, 30, 0), 0);
	ck_assert(guid_is_zero(brain_peer(b)));
	ck_assert_uint_eq(store_log_end(B.r->store), end);
	brain_free(b);
	alone_end(&a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_dsync_sync");
	TCase *t = tcase_create("sync");

	if (getenv("LOUD") == NULL)
		make_quiet();
	if (getenv("TEST_SHORT") != NULL)
		ways = 4;
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, dsync_makes_no_difference, 0, STORIES * ways);
	tcase_add_loop_test(t, dry_run_changes_nothing_over_dsync, 0, ways);
	tcase_add_loop_test(
	    t, several_mailboxes_are_synced_or_refused, 0, ways);
	tcase_add_loop_test(t, guard_of_either_side_stops_both, 0, 2 * ways);
	tcase_add_loop_test(t, unreadable_mail_costs_only_itself, 0, ways);
	tcase_add_loop_test(
	    t, cut_connection_fails_and_the_next_run_finishes, 0, 2);
	tcase_add_loop_test(t, silent_peer_is_given_up_after_its_time, 0, 2);
	tcase_add_test(t, slow_peer_is_not_given_up);
	tcase_add_test(t, being_woken_is_no_sign_of_life);
	tcase_add_test(t, greeting_instead_of_dsync_fails_at_once);
	tcase_add_test(t, old_peer_without_attributes_and_finish_is_served);
	tcase_add_loop_test(
	    t, record_in_the_wrong_place_is_refused, 0, (int)LENGTH(misplaced));
	tcase_add_test(t, slave_ends_well_when_nobody_hears_its_last_word);
	tcase_add_test(
	    t, slave_is_done_when_its_master_says_only_that_it_stops);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
