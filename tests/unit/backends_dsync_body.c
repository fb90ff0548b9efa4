/*
 * backends_dsync_body -- bodies over the dsync channel: every byte, in any
 * pieces, in little memory; and what happens when they break.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/dsync/dsync_internal.h"
#include "lib/check_main.h"
#include "lib/dsync_help.h"
#include "lib/store_make.h"
#include "lib/sync_help.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct link_mem_rules rules[] = {
	{ 0, 0, 0, false },
	{ 1, 0, 0, false },
	{ 1, 1, 5, false },
	{ 50, 40, 6, false },
	{ 0, 3000, 7, false },
};

static struct item *
mail_of(const void *p, size_t n)
{
	struct item *i = item_make(ITEM_MAIL);

	i->u.mail.guid = "g";
	ck_assert_int_eq(stream_from_memory(p, n, &i->u.mail.body), 0);
	return (i);
}

/* Passes a body from a to b, with an item behind it, and compares. */
static void
pass_body(struct talk *t, const void *p, size_t n, size_t piece)
{
	struct item *i;
	uint8_t *got;
	size_t len;
	int rc;

	ck_assert_int_eq(t->a->ops->send(t->a, mail_of(p, n)), 0);
	ck_assert_int_eq(t->a->ops->send(t->a, item_make(ITEM_END)), 0);
	ck_assert_int_eq(talk_recv(t, &i), 0);
	ck_assert_ptr_nonnull(i->u.mail.body);
	got = talk_body(t, i->u.mail.body, piece, &len, &rc);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(len, n);
	ck_assert_int_eq(n == 0 ? 0 : memcmp(got, p, n), 0);
	ck_assert_int_eq((int)stream_read(i->u.mail.body, got, 1), 0);
	free(got);
	item_free(i);
	ck_assert_int_eq(talk_recv(t, &i), 0);
	ck_assert_int_eq(i->type, ITEM_END);
	item_free(i);
}

#define BODY(s)                                                                \
	{                                                                      \
		s, sizeof(s) - 1                                               \
	}
static const struct {
	const char *p;
	size_t n;
} bodies[] = {
	BODY(""),
	BODY("x"),
	BODY("Subject: x\n\nHello.\n"),
	BODY("Subject: x\r\n\r\nHello.\r\n"),
	BODY("no newline at the end"),
	BODY("\n"),
	BODY("\r"),
	BODY("\r\n"),
	BODY("\n\r"),
	BODY("a\r"),
	BODY("a\r\r"),
	BODY("a\r\n\r"),
	BODY("."),
	BODY(".\n"),
	BODY(".\r\n"),
	BODY(".."),
	BODY("..\n"),
	BODY("\n."),
	BODY("\n.\n"),
	BODY("\n..\n"),
	BODY("\r\n.\r\n"),
	BODY("\r\n.\r\n\r\n.\r\n"),
	BODY("\n.\rx"),
	BODY("\n.\r\r\n"),
	BODY("\n.!\n"),
	BODY("\r\n.!\r\n"),
	BODY("a\0b\0"),
	BODY("\0"),
	BODY("\n\0.\n"),
	BODY("a\rb\rc"),
	BODY("X\n"),
	BODY("VERSION\tdsync\t3\t5\n.\n"),
};

START_TEST(bodies_arrive_byte_by_byte_as_they_are)
{
	static const size_t pieces[] = { 1, 3, 4096 };
	struct talk t;

	talk_begin(&t, &rules[_i], NULL, NULL);
	for (size_t k = 0; k < LENGTH(bodies); k++)
		for (size_t p = 0; p < LENGTH(pieces); p++)
			pass_body(&t, bodies[k].p, bodies[k].n, pieces[p]);
	talk_end(&t);
}
END_TEST

START_TEST(random_bodies_arrive_as_they_are)
{
	static const char letters[] = "...\r\n\n\r!a\0";
	uint64_t seed = (uint64_t)_i + 1;
	struct link_mem_rules r = { .chunk = 1 + rnd(&seed, 30),
		.capacity = 1 + rnd(&seed, 60),
		.seed = seed };
	/* as Dovecot writes and reads, too */
	const struct channel_dsync_options o = { .plain = _i % 2 == 1 };
	struct talk t;
	char body[300];

	talk_begin(&t, &r, &o, &o);
	for (int k = 0; k < 100; k++) {
		size_t n = rnd(&seed, sizeof(body));

		for (size_t j = 0; j < n; j++)
			body[j] = letters[rnd(&seed, sizeof(letters) - 1)];
		pass_body(&t, body, n, 1 + rnd(&seed, 20));
	}
	talk_end(&t);
}
END_TEST

/* ---- Dovecot's side of it ---- */

START_TEST(first_dot_is_doubled)
{
	static const struct {
		const char *body, *wire;
	} t[] = {
		{ ".x\n.y\n", "..x\n..y\n\r\n.\r\n" },
		{ ".\n", "..\n\r\n.\r\n" },
		{ "", "\r\n.\r\n" },
		{ "x\r", "x\r\r\n.\r\n" },
		{ "\n.", "\n..\r\n.\r\n" },
	};
	struct alone a;
	struct item *none;
	struct buf want = BUF_INIT;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &none), -EAGAIN);
	for (size_t k = 0; k < LENGTH(t); k++) {
		ck_assert_int_eq(
		    a.c->ops->send(a.c, mail_of(t[k].body, strlen(t[k].body))),
		    0);
		buf_printf(
		    &want, "Mg\t\x02\t\t\x02\t\x02\t\x02\t\n%s", t[k].wire);
	}
	ck_assert_str_eq(alone_said(&a), buf_cstr(&want));
	buf_fini(&want);
	alone_end(&a);
}
END_TEST

START_TEST(streams_of_dovecot_are_read_as_it_writes_them)
{
	static const struct {
		const char *wire, *body;
	} t[] = {
		/* an old one does not double the first dot, a newer one does */
		{ ".x\r\n.\r\n", ".x" },
		{ "..x\r\n.\r\n", ".x" },
		{ "...x\r\n.\r\n", "..x" },
		{ ".\r\n.\r\n", "." },
		{ "..\r\n.\r\n", "." },
		{ ".\n\r\n.\r\n", ".\n" },
		{ "..\n\r\n.\r\n", ".\n" },
		{ "\r\n.\r\n", "" },
		{ "a\n..b\n\r\n.\r\n", "a\n.b\n" },
		/* both kinds of line ends */
		{ "a\r\n.\n", "a" },
		{ "a\n.\n", "a" },
		{ "a\n.\r\n", "a" },
		{ "a\r\n..\r\n\r\n.\r\n", "a\r\n.\r\n" },
		/* a dot that no encoder leaves so: it goes, as there */
		{ "a\n.b\r\n.\r\n", "a\nb" },
		{ "a\n.\rb\r\n.\r\n", "a\n\rb" },
		{ "a\n.\r\r\n.\r\n", "a\n\r" },
		/* to a Dovecot this is text */
		{ "a\r\n.!\r\n.\r\n", "a\r\n!" },
	};
	struct alone a;
	struct item *i;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	for (size_t k = 0; k < LENGTH(t); k++) {
		char got[64];
		ssize_t n;
		size_t at = 0;

		alone_hears(&a, "Mg\t\x02\t\t\x02\t\x02\t\x02\t\n");
		alone_hears(&a, t[k].wire);
		ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
		while ((n = stream_read(i->u.mail.body, got + at, 1)) > 0)
			at += (size_t)n;
		ck_assert_int_eq((int)n, 0);
		got[at] = '\0';
		ck_assert_str_eq(got, t[k].body);
		item_free(i);
	}
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	alone_end(&a);
}
END_TEST

/* ---- order ---- */

START_TEST(nothing_is_taken_past_a_body_that_is_not_read)
{
	struct item *i, *next;
	struct talk t;
	char c;

	talk_begin(&t, &rules[_i], NULL, NULL);
	ck_assert_int_eq(t.a->ops->send(t.a, mail_of("one\n.\n", 6)), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, mail_of("two", 3)), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, item_make(ITEM_END)), 0);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	for (int k = 0; k < 50; k++) {
		ck_assert_int_eq(t.b->ops->recv(t.b, &next), -EAGAIN);
		(void)t.a->ops->flush(t.a);
	}
	while (stream_read(i->u.mail.body, &c, 1) == -EAGAIN)
		(void)t.a->ops->flush(t.a);
	ck_assert_int_eq(c, 'o');
	/* closing skips the rest */
	item_free(i);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	ck_assert_int_eq(i->type, ITEM_MAIL);
	item_free(i);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	ck_assert_int_eq(i->type, ITEM_END);
	item_free(i);
	talk_end(&t);
}
END_TEST

START_TEST(attribute_streams_are_passed_over)
{
	struct item *i = item_make(ITEM_ATTRIBUTE);
	struct talk t;

	i->u.attribute.type = 'p';
	i->u.attribute.key = "big";
	ck_assert_int_eq(
	    stream_from_memory("X\n.\nF\n", 6, &i->u.attribute.stream), 0);
	talk_begin(&t, &rules[_i], NULL, NULL);
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, item_make(ITEM_END)), 0);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	ck_assert_str_eq(i->u.attribute.key, "big");
	ck_assert_ptr_null(i->u.attribute.value);
	ck_assert_ptr_nonnull(i->u.attribute.stream);
	item_free(i);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	ck_assert_int_eq(i->type, ITEM_END);
	item_free(i);
	talk_end(&t);
}
END_TEST

START_TEST(body_outlives_its_channel_but_ends)
{
	struct item *i;
	struct talk t;
	char c;

	talk_begin(&t, NULL, NULL, NULL);
	i = talk_pass(&t, mail_of("abc", 3));
	talk_end(&t);
	ck_assert_int_eq((int)stream_read(i->u.mail.body, &c, 1), -EPIPE);
	item_free(i);
}
END_TEST

/* ---- large ones ---- */

/* Bytes that are made when they are asked for. */
struct made {
	struct stream s;
	uint64_t given, size;
	int rc; /* at the end */
	bool *closed; /* may be NULL */
};

static void
make_bytes(uint8_t *p, size_t n, uint64_t at)
{
	static const char line[] = "A line of some length, and its end\n.\r\n";
	size_t off = at % (sizeof(line) - 1);

	while (n-- > 0) {
		*p++ = (uint8_t)line[off++];
		if (off == sizeof(line) - 1)
			off = 0;
	}
}

static ssize_t
made_read(struct stream *s, void *p, size_t n)
{
	struct made *m = (struct made *)(void *)s;
	uint64_t left = m->size - m->given;

	if (left == 0)
		return (m->rc);
	if (n > left)
		n = left;
	make_bytes(p, n, m->given);
	m->given += n;
	return ((ssize_t)n);
}

static void
made_close(struct stream *s)
{
	struct made *m = (struct made *)(void *)s;

	if (m->closed != NULL)
		*m->closed = true;
	free(m);
}

static const struct stream_ops made_ops = { made_read, made_close };

static struct item *
mail_made(uint64_t size, int rc, struct made **out)
{
	struct item *i = item_make(ITEM_MAIL);
	struct made *m = calloc(1, sizeof(*m));

	ck_assert_ptr_nonnull(m);
	m->s.ops = &made_ops;
	m->size = size;
	m->rc = rc;
	i->u.mail.guid = "large";
	i->u.mail.body = &m->s;
	if (out != NULL)
		*out = m;
	return (i);
}

#define ON_ITS_WAY ((uint64_t)1 << 20) /* at most, everything together */

START_TEST(large_body_goes_through_little_memory)
{
	struct link_mem_rules r = { .capacity = 65536, .forget = true };
	uint64_t size = (uint64_t)(getenv("TEST_SHORT") ? 20 : 200) << 20;
	uint64_t got = 0;
	static uint8_t piece[50000], want[50000];
	struct made *m;
	struct talk t;
	struct item *i;
	bool closed = false;

	talk_begin(&t, &r, NULL, NULL);
	i = mail_made(size, 0, &m);
	m->closed = &closed;
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	ck_assert(t.a->ops->full(t.a));
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	for (;;) {
		ssize_t n = stream_read(i->u.mail.body, piece, sizeof(piece));

		(void)t.a->ops->flush(t.a);
		if (n == 0)
			break;
		if (n == -EAGAIN)
			continue;
		ck_assert_int_gt((int)n, 0);
		make_bytes(want, (size_t)n, got);
		ck_assert_int_eq(memcmp(piece, want, (size_t)n), 0);
		got += (uint64_t)n;
		if (!closed)
			ck_assert_uint_le(m->given - got, ON_ITS_WAY);
	}
	ck_assert_uint_eq(got, size);
	ck_assert(closed);
	ck_assert(!t.a->ops->full(t.a));
	item_free(i);
	talk_end(&t);
}
END_TEST

START_TEST(body_is_not_read_ahead_of_a_peer_that_takes_nothing)
{
	struct link_mem_rules r = { .capacity = 4096 };
	struct made *m;
	struct talk t;
	struct item *i;

	talk_begin(&t, &r, NULL, NULL);
	i = talk_pass(&t, item_make(ITEM_END));
	item_free(i);
	i = mail_made((uint64_t)100 << 20, 0, &m);
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	for (int k = 0; k < 1000; k++) {
		ck_assert(t.a->ops->full(t.a));
		ck_assert_int_eq(t.a->ops->flush(t.a), -EAGAIN);
	}
	ck_assert_uint_lt(m->given, 200000);
	talk_end(&t);
}
END_TEST

START_TEST(skipping_a_large_body_gives_others_their_turn)
{
	struct alone a;
	struct item *i;
	static uint8_t piece[1 << 20];
	unsigned turns = 0;
	int rc;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, "Mg\t\x02\t\t\x02\t\x02\t\x02\t\n");
	for (int k = 0; k < 40; k++)
		link_mem_put(a.peer, piece, sizeof(piece));
	alone_hears(&a, "\r\n.\r\n.\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	item_free(i);
	while ((rc = a.c->ops->recv(a.c, &i)) == -EAGAIN)
		turns++;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(i->type, ITEM_END);
	ck_assert_uint_gt(turns, 5);
	item_free(i);
	alone_end(&a);
}
END_TEST

START_TEST(sending_a_large_body_gives_others_their_turn)
{
	struct link_mem_rules r = { .forget = true };
	struct made *m;
	struct talk t;
	struct item *i;

	talk_begin(&t, &r, NULL, NULL);
	item_free(talk_pass(&t, item_make(ITEM_END)));
	i = mail_made((uint64_t)40 << 20, 0, &m);
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	ck_assert_uint_lt(m->given, (uint64_t)4 << 20);
	ck_assert_int_eq(t.a->ops->flush(t.a), -EAGAIN);
	ck_assert_uint_lt(m->given, (uint64_t)8 << 20);
	talk_end(&t);
}
END_TEST

/* A link that is never quite empty: the buffer before it has no end either. */
START_TEST(slow_link_costs_no_memory)
{
	struct link_mem_rules r = { .capacity = 1000, .forget = true };
	const struct dsync *d;
	struct talk t;
	struct item *i;
	char piece[1000];
	ssize_t n;

	talk_begin(&t, &r, NULL, NULL);
	d = (const struct dsync *)(const void *)t.a;
	ck_assert_int_eq(
	    t.a->ops->send(t.a, mail_made((uint64_t)10 << 20, 0, NULL)), 0);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	while ((n = stream_read(i->u.mail.body, piece, sizeof(piece))) != 0) {
		ck_assert(n > 0 || n == -EAGAIN);
		(void)t.a->ops->flush(t.a);
		ck_assert_uint_le(d->out.cap, ON_ITS_WAY);
	}
	item_free(i);
	talk_end(&t);
}
END_TEST

/* ---- broken ones ---- */

START_TEST(unreadable_body_costs_a_dsyncfs_one_mail)
{
	struct talk t;
	struct item *i;
	uint8_t *got;
	size_t n;
	int rc;

	talk_begin(&t, &rules[_i], NULL, NULL);
	ck_assert_int_eq(t.a->ops->send(t.a, mail_made(1000, -EIO, NULL)), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, mail_of("two", 3)), 0);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	got = talk_body(&t, i->u.mail.body, 100, &n, &rc);
	ck_assert_int_eq(rc, -EIO);
	ck_assert_uint_eq(n, 1000);
	ck_assert_int_eq((int)stream_read(i->u.mail.body, got, 1), -EIO);
	free(got);
	item_free(i);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	got = talk_body(&t, i->u.mail.body, 100, &n, &rc);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(n, 3);
	free(got);
	item_free(i);
	talk_end(&t);
}
END_TEST

START_TEST(unreadable_body_never_looks_whole_to_a_dovecot)
{
	struct alone a;
	struct item *i;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	ck_assert_int_eq(
	    a.c->ops->send(a.c, mail_made(100000, -EIO, NULL)), -EIO);
	ck_assert(strstr(make_said, "half a mail") != NULL);
	ck_assert_ptr_null(strstr(alone_said(&a), "\r\n.\r\n"));
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EIO);
	ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_ABORT)), -EIO);
	alone_end(&a);
}
END_TEST

static struct item *
bad_end(void)
{
	struct item *i = item_make(ITEM_FINISH);

	i->u.finish.error = "stopped by max_delete";
	i->u.finish.mail_error = 13;
	return (i);
}

START_TEST(last_words_do_not_wait_for_a_body)
{
	struct link_mem_rules r = { .capacity = 4096 };
	struct talk t;
	struct item *i;
	bool closed = false;
	struct made *m;
	uint8_t *got;
	size_t n;
	int rc;

	talk_begin(&t, &r, NULL, NULL);
	item_free(talk_pass(&t, item_make(ITEM_END)));
	i = mail_made((uint64_t)100 << 20, 0, &m);
	m->closed = &closed;
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, item_make(ITEM_END)), 0);
	ck_assert_int_eq(t.a->ops->send(t.a, bad_end()), 0);
	ck_assert(closed);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	got = talk_body(&t, i->u.mail.body, 4096, &n, &rc);
	ck_assert_int_eq(rc, -EIO);
	free(got);
	item_free(i);
	ck_assert_int_eq(talk_recv(&t, &i), 0);
	ck_assert_int_eq(i->type, ITEM_FINISH);
	ck_assert_str_eq(i->u.finish.error, "stopped by max_delete");
	item_free(i);
	talk_end(&t);
}
END_TEST

START_TEST(a_dovecot_is_told_nothing_in_the_midst_of_a_body)
{
	struct link_mem_rules r = { .capacity = 4096 };
	struct talk t;
	struct item *i;
	size_t n, later;

	/* The other end only lends its opening here. */
	talk_begin(
	    &t, &r, &(struct channel_dsync_options){ .plain = true }, NULL);
	item_free(talk_pass(&t, item_make(ITEM_END)));
	i = mail_made((uint64_t)100 << 20, 0, NULL);
	ck_assert_int_eq(t.a->ops->send(t.a, i), 0);
	(void)link_mem_written(t.la, &n);
	ck_assert_int_eq(
	    t.a->ops->send(t.a, _i == 0 ? bad_end() : item_make(ITEM_ABORT)),
	    0);
	ck_assert_int_eq(t.a->ops->flush(t.a), 0);
	(void)link_mem_written(t.la, &later);
	ck_assert_uint_eq(n, later);
	talk_end(&t);
}
END_TEST

/* Of "M...", a body and its end, only the first n bytes arrive; true: all did.
 */
static bool
cut_after(size_t n)
{
	struct link_mem_rules r = { .chunk = 7 };
	struct talk t;
	struct item *i;
	uint8_t *got;
	size_t before, len = 0, after;
	int rc;

	talk_begin(&t, &r, NULL, NULL);
	item_free(talk_pass(&t, item_make(ITEM_END)));
	(void)link_mem_written(t.la, &before);
	link_mem_cut(t.la, n);
	ck_assert_int_eq(t.a->ops->send(t.a, mail_of("0123\n.56789\n", 12)), 0);
	(void)t.a->ops->flush(t.a);
	(void)link_mem_written(t.la, &after);
	rc = talk_recv(&t, &i);
	if (rc == 0) {
		got = talk_body(&t, i->u.mail.body, 4, &len, &rc);
		free(got);
		item_free(i);
	}
	ck_assert(rc == -EPIPE || (rc == 0 && len == 12));
	ck_assert_int_eq(t.b->ops->recv(t.b, &i), -EPIPE);
	talk_end(&t);
	return (rc == 0);
}

START_TEST(connection_cut_within_a_body_is_no_end_of_it)
{
	size_t n = 0;

	while (!cut_after(n))
		n++;
	/* the row, the body with its doubled dot, CR LF . CR LF */
	ck_assert_uint_eq(n, 13 + 13 + 5);
}
END_TEST

/* ---- a peer that is gone ---- */

START_TEST(peer_that_takes_nothing_more_is_heard_out)
{
	struct alone a;
	struct item *i;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	link_mem_fail(a.l, 0, -EPIPE);
	alone_hears(&a, "Fno space\t6\nX\n");
	ck_assert_int_eq(a.c->ops->send(a.c, mail_made(1000000, 0, NULL)), 0);
	ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_END)), 0);
	ck_assert(!a.c->ops->full(a.c));
	ck_assert_int_eq(a.c->ops->flush(a.c), 0);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_str_eq(i->u.finish.error, "no space");
	item_free(i);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_int_eq(i->type, ITEM_ABORT);
	item_free(i);
	link_mem_cut(a.peer, 0);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EPIPE);
	alone_end(&a);
}
END_TEST

START_TEST(a_few_lines_go_together)
{
	struct alone a;
	struct item *i;
	uint64_t before;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	ck_assert_int_eq(a.c->ops->flush(a.c), 0);
	before = a.c->sent;
	for (int k = 0; k < 10; k++)
		ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_END)), 0);
	ck_assert_uint_eq(a.c->sent, before);
	ck_assert_int_eq(a.c->ops->flush(a.c), 0);
	ck_assert_uint_eq(a.c->sent, before + 20);
	/* many do not wait */
	for (int k = 0; k < 20000; k++)
		ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_END)), 0);
	ck_assert_uint_gt(a.c->sent, before + 20);
	alone_end(&a);
}
END_TEST

START_TEST(errors_of_the_link_are_passed_on)
{
	struct alone a;
	struct item *i;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	if (_i == 0) {
		link_mem_fail(a.l, -ECONNRESET, 0);
	} else {
		link_mem_fail(a.l, 0, -EIO);
		ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_END)), 0);
		ck_assert_int_eq(a.c->ops->flush(a.c), -EIO);
		ck_assert_int_eq(
		    a.c->ops->send(a.c, item_make(ITEM_END)), -EIO);
	}
	for (int k = 0; k < 2; k++)
		ck_assert_int_eq(
		    a.c->ops->recv(a.c, &i), _i == 0 ? -ECONNRESET : -EIO);
	alone_end(&a);
}
END_TEST

struct rawlog {
	struct buf side[2];
};

static void
on_raw(void *arg, bool sent, const void *p, size_t n)
{
	struct rawlog *r = arg;

	buf_put(&r->side[sent], p, n);
}

START_TEST(raw_log_gets_every_byte_both_ways)
{
	struct rawlog r = { { BUF_INIT, BUF_INIT } };
	const struct channel_dsync_options o = { .raw = on_raw, .raw_arg = &r };
	struct talk t;
	const uint8_t *p;
	size_t n;

	talk_begin(&t, &rules[3], &o, NULL);
	pass_body(&t, "one\n.two\n", 9, 2);
	p = link_mem_written(t.la, &n);
	ck_assert_uint_eq(r.side[1].len, n);
	ck_assert_int_eq(memcmp(r.side[1].data, p, n), 0);
	ck_assert_uint_eq(t.a->sent, n);
	p = link_mem_written(t.lb, &n);
	ck_assert_uint_eq(r.side[0].len, n);
	ck_assert_int_eq(memcmp(r.side[0].data, p, n), 0);
	ck_assert_uint_eq(t.a->received, n);
	buf_fini(&r.side[0]);
	buf_fini(&r.side[1]);
	talk_end(&t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_dsync_body");
	TCase *t = tcase_create("bodies");
	int n = (int)LENGTH(rules);

	make_quiet();
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, bodies_arrive_byte_by_byte_as_they_are, 0, n);
	tcase_add_loop_test(t, random_bodies_arrive_as_they_are, 0, 20);
	tcase_add_test(t, first_dot_is_doubled);
	tcase_add_test(t, streams_of_dovecot_are_read_as_it_writes_them);
	tcase_add_loop_test(
	    t, nothing_is_taken_past_a_body_that_is_not_read, 0, n);
	tcase_add_loop_test(t, attribute_streams_are_passed_over, 0, n);
	tcase_add_test(t, body_outlives_its_channel_but_ends);
	tcase_add_test(t, large_body_goes_through_little_memory);
	tcase_add_test(t, body_is_not_read_ahead_of_a_peer_that_takes_nothing);
	tcase_add_test(t, skipping_a_large_body_gives_others_their_turn);
	tcase_add_test(t, sending_a_large_body_gives_others_their_turn);
	tcase_add_test(t, slow_link_costs_no_memory);
	tcase_add_loop_test(t, unreadable_body_costs_a_dsyncfs_one_mail, 0, n);
	tcase_add_test(t, unreadable_body_never_looks_whole_to_a_dovecot);
	tcase_add_test(t, last_words_do_not_wait_for_a_body);
	tcase_add_loop_test(
	    t, a_dovecot_is_told_nothing_in_the_midst_of_a_body, 0, 2);
	tcase_add_test(t, connection_cut_within_a_body_is_no_end_of_it);
	tcase_add_test(t, peer_that_takes_nothing_more_is_heard_out);
	tcase_add_test(t, a_few_lines_go_together);
	tcase_add_loop_test(t, errors_of_the_link_are_passed_on, 0, 2);
	tcase_add_test(t, raw_log_gets_every_byte_both_ways);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
