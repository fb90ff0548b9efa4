/*
 * sync_state -- dsync's state string: the specification's example byte for
 * byte, and what must not be believed.
 */
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <zlib.h>

#include "lib/check_main.h"

#define EXAMPLE                                                                \
	"AQAAAJnttAoisgRronkAAIPsw3UisgRrAQAAAAEAAAAAAAAAAAAAAAAAAAABAAAAICu9" \
	"+A=="
#define EMPTY "AQAAAHm4+Jk="

static struct state_list l;

static void
setup(void)
{
	state_list_init(&l);
}

static void
teardown(void)
{
	state_list_fini(&l);
}

static int
parse(const char *text)
{
	const char *problem = NULL;
	int rc = state_parse(&l, text, &problem);

	if (rc == -EINVAL)
		ck_assert_ptr_nonnull(problem);
	return (rc);
}

static char *
format(void)
{
	struct buf b = BUF_INIT;
	char *out;

	state_format(&l, &b);
	ck_assert_int_eq(b.error, 0);
	out = strdup(buf_cstr(&b));
	buf_fini(&b);
	return (out);
}

static struct guid
guid_of(const char *hex)
{
	struct guid g;

	ck_assert_int_eq(guid_parse(hex, &g), 0);
	return (g);
}

START_TEST(example_of_the_specification_is_read)
{
	struct guid g = guid_of("99edb40a22b2046ba279000083ecc375");
	struct item_state *s;

	ck_assert_int_eq(parse(EXAMPLE), 0);
	ck_assert_uint_eq(l.n, 1);
	s = state_find(&l, &g);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->last_uidvalidity, 1795469858);
	ck_assert_uint_eq(s->last_common_uid, 1);
	ck_assert_uint_eq(s->last_common_modseq, 1);
	ck_assert_uint_eq(s->last_common_pvt_modseq, 0);
	ck_assert_uint_eq(s->last_messages_count, 1);
	ck_assert_uint_eq(s->end_modseq, 1);
}
END_TEST

START_TEST(example_of_the_specification_is_written)
{
	struct item_state s = { .mailbox =
				    guid_of("99edb40a22b2046ba279000083ecc375"),
		.last_uidvalidity = 1795469858,
		.last_common_uid = 1,
		.last_common_modseq = 1,
		.last_messages_count = 1 };
	char *text;

	ck_assert_int_eq(state_put(&l, &s), 0);
	text = format();
	ck_assert_str_eq(text, EXAMPLE);
	free(text);
}
END_TEST

START_TEST(empty_state_is_read_and_written)
{
	char *text = format();

	ck_assert_str_eq(text, EMPTY);
	free(text);
	ck_assert_int_eq(parse(EMPTY), 0);
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(parse(" \n"), 0);
	ck_assert_int_eq(parse(EMPTY "\n"), 0);
	ck_assert_uint_eq(l.n, 0);
}
END_TEST

/* base64 of n zero bytes with their CRC behind them. */
static char *
sealed(size_t n, uint8_t first)
{
	uint8_t raw[1024] = { first };
	char *out = malloc(2048);
	uint32_t crc = (uint32_t)crc32(0, raw, (uInt)n);

	ck_assert_uint_le(n + 4, sizeof(raw));
	for (int i = 0; i < 4; i++)
		raw[n + (size_t)i] = (uint8_t)(crc >> (8 * i));
	EVP_EncodeBlock((unsigned char *)out, raw, (int)n + 4);
	return (out);
}

START_TEST(version_0_is_an_empty_state)
{
	static const size_t sizes[] = { 0, 40, 80, 120 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *text = sealed(sizes[i], 0);

		ck_assert_int_eq(parse(text), 0);
		ck_assert_uint_eq(l.n, 0);
		free(text);
	}
}
END_TEST

START_TEST(nine_mailboxes_are_not_taken_for_version_0)
{
	struct item_state s = { .last_uidvalidity = 7 };
	struct state_list first;
	char *text;

	/* 8 + 9 * 44 = 4 + 10 * 40 */
	for (uint8_t i = 1; i <= 9; i++) {
		s.mailbox.b[3] = i;
		s.last_common_modseq = UINT64_MAX - i;
		ck_assert_int_eq(state_put(&l, &s), 0);
	}
	text = format();
	first = l;
	state_list_init(&l);
	ck_assert_int_eq(parse(text), 0);
	ck_assert_uint_eq(l.n, 9);
	for (uint8_t i = 1; i <= 9; i++) {
		s.mailbox.b[3] = i;
		ck_assert_uint_eq(
		    state_find(&l, &s.mailbox)->last_common_modseq,
		    UINT64_MAX - i);
	}
	state_list_fini(&first);
	free(text);
}
END_TEST

START_TEST(what_is_damaged_is_refused_whole)
{
	static const char *const bad[] = { "x", "AQAAAHm4+Jk", "AQAAAHm4+J==",
		"AQAA=Hm4+Jk=", "AQAAAHm4 +Jk=", "====", "AQAAAHm4-Jk=", "AQAA",
		"AA==", "AAAAAAAA",
		/* a bit of the example's GUID; its last record cut off */
		"AQAAAJnttAsisgRronkAAIPsw3UisgRrAQAAAAEAAAAAAAAAAAAAAAAAAAABAA"
		"AAICu9+A==",
		"AQAAAJnttAoisgRronkAAIPsw3UisgRrAQAAAAEAAAAAAAAAAAAAAAAAAAAgK7"
		"34" };

	ck_assert_int_eq(parse(EXAMPLE), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(parse(bad[i]), -EINVAL);
		ck_assert_uint_eq(l.n, 1);
	}
}
END_TEST

START_TEST(a_wrong_size_is_refused_with_a_right_checksum)
{
	for (size_t n = 1; n < 200; n++) {
		char *text = sealed(n, 1);
		bool fits = (n >= 4 && (n - 4) % 44 == 0) || n % 40 == 0;

		ck_assert_int_eq(parse(text), fits ? 0 : -EINVAL);
		free(text);
	}
}
END_TEST

START_TEST(a_string_beyond_the_limit_is_refused)
{
	size_t n = ((size_t)STATE_MAX * 44 + 64) / 3 * 4;
	char *text = malloc(n + 1);

	memset(text, 'A', n);
	text[n] = '\0';
	ck_assert_int_eq(parse(text), -EINVAL);
	free(text);
}
END_TEST

START_TEST(the_later_record_of_a_mailbox_counts)
{
	struct item_state s = { .mailbox = { { 5 } }, .last_common_uid = 1 };

	ck_assert_int_eq(state_put(&l, &s), 0);
	s.last_common_uid = 2;
	ck_assert_int_eq(state_put(&l, &s), 0);
	ck_assert_uint_eq(l.n, 1);
	ck_assert_uint_eq(state_find(&l, &s.mailbox)->last_common_uid, 2);
	state_drop(&l, &s.mailbox);
	state_drop(&l, &s.mailbox);
	ck_assert_uint_eq(l.n, 0);
	ck_assert_ptr_null(state_find(&l, &s.mailbox));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_state");
	TCase *t = tcase_create("state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, example_of_the_specification_is_read);
	tcase_add_test(t, example_of_the_specification_is_written);
	tcase_add_test(t, empty_state_is_read_and_written);
	tcase_add_test(t, version_0_is_an_empty_state);
	tcase_add_test(t, nine_mailboxes_are_not_taken_for_version_0);
	tcase_add_test(t, what_is_damaged_is_refused_whole);
	tcase_add_test(t, a_wrong_size_is_refused_with_a_right_checksum);
	tcase_add_test(t, a_string_beyond_the_limit_is_refused);
	tcase_add_test(t, the_later_record_of_a_mailbox_counts);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
