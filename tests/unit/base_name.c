/*
 * base_name -- tests of mailbox names and modified UTF-7.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/name.h"
#include "tests/unit/lib/check_main.h"

START_TEST(mutf7_meets_its_vectors)
{
	static const char *const v[][2] = {
		{ "R\xc3\xa4kningar", "R&AOQ-kningar" },
		{ "&", "&-" },
		{ "a&b", "a&-b" },
		{ "INBOX/x", "INBOX/x" },
		{ "\xe5\x8f\xb0\xe5\x8c\x97", "&U,BTFw-" },
		{ "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "&ZeVnLIqe-" },
		{ "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
		  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
		    "~peter/mail/&U,BTFw-/&ZeVnLIqe-" },
		{ "\xf0\x9f\x98\x80", "&2D3eAA-" },
		{ "\xc3\xa5&\xc3\xa5", "&AOU-&-&AOU-" },
		{ "", "" },
		{ "\t", "&AAk-" },
	};
	struct arena a = ARENA_INIT;
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		ck_assert_str_eq(mutf7_encode(&a, v[i][0]), v[i][1]);
		ck_assert_str_eq(mutf7_decode(&a, v[i][1]), v[i][0]);
	}
	arena_fini(&a);
}
END_TEST

START_TEST(bad_mutf7_is_refused)
{
	static const char *const bad[] = {
		"&",
		"a&",
		"&AOQ",
		"&A-",
		"&AO-",
		"&AOR-",
		"&AGE-",
		"&AOQ-&AOQ-",
		"&AAA-",
		"&2D0-",
		"&3gA-",
		"&2D0AYQ-",
		"&*-",
		"\xc3\xa5",
		"\t",
		"&AOQ--&AO",
		"&AOQA-",
		"&AOQ=-",
		"&U/BTFw-",
	};
	struct arena a = ARENA_INIT;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(mutf7_decode(&a, bad[i]) == NULL, "%s", bad[i]);
	ck_assert_ptr_null(mutf7_encode(&a, "\xff"));
	ck_assert_ptr_null(mutf7_encode(&a, "\xed\xa0\x80"));
	arena_fini(&a);
}
END_TEST

START_TEST(utf8_is_strict)
{
	static const char *const bad[] = {
		"\x80",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xc3",
		"\xe2\x82",
		"\xf0\x9f\x98",
		"\xc3(",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(
		    !utf8_valid(bad[i], strlen(bad[i])), "case %zu", i);
	ck_assert(utf8_valid("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80", 10));
	ck_assert(utf8_valid("", 0));
}
END_TEST

START_TEST(names_are_judged)
{
	static const char *const good[] = { "INBOX", "INBOX/a", "a/inbox",
		"...", ".a", "a~", "a/~b", "Inboxes", "a b", "R\xc3\xa4k/x" };
	static const char *const bad[] = {
		"",
		"/",
		"a/",
		"/a",
		"a//b",
		".",
		"..",
		"a/..",
		"./a",
		"~a",
		"inbox",
		"Inbox/a",
		"a\n",
		"\x7f",
		"\xff",
	};
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(name_valid(good[i]), "%s", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!name_valid(bad[i]), "%s", bad[i]);
	ck_assert(name_is_child("A", "A") && name_is_child("A", "A/B") &&
	    !name_is_child("A", "AB") && !name_is_child("A/B", "A"));
}
END_TEST

START_TEST(names_are_mended)
{
	static const char *const v[][2] = {
		{ "", "_" },
		{ "..", "__" },
		{ ".", "_" },
		{ "a/../b", "a/__/b" },
		{ "~x", "_~x" },
		{ "inbox", "INBOX" },
		{ "iNbOx/y", "INBOX/y" },
		{ "a\tb\x7f", "a_b_" },
		{ "a\xff\xc3\xa5", "a_\xc3\xa5" },
		{ "a//b", "a/_/b" },
		{ "/a/", "_/a/_" },
		{ "ok/R\xc3\xa4k", "ok/R\xc3\xa4k" },
	};
	struct arena a = ARENA_INIT;
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		ck_assert_str_eq(name_fix(&a, v[i][0], '_'), v[i][1]);
	ck_assert_str_eq(name_fix(&a, "..", '-'), "--");
	ck_assert_str_eq(name_fix(&a, "..", '.'), "__");
	ck_assert_str_eq(name_fix(&a, "\x01", '/'), "_");
	ck_assert_str_eq(name_fix(&a, "~", 0), "_~");
	arena_fini(&a);
}
END_TEST

/*
 * Bytes that meet every rule often, and many lengths; the loop's number is the
 * seed.
 */
START_TEST(a_mended_name_is_valid_and_stays)
{
	static const char *const piece[] = {
		".",
		"..",
		"/",
		"~",
		"inbox",
		"\xff",
		"\xc3\xa5",
		"\xe6\x97\xa5",
		"\xf0\x9f\x98\x80",
		"&",
		"\n",
		"x",
		"abcdefgh",
		"//",
		"\xed\xa0\x80",
	};
	struct arena a = ARENA_INIT;
	char *raw = malloc(30000), *once, *twice;
	size_t n = 0, want, len;
	const char *p;

	srand((unsigned)_i);
	want = (size_t)rand() %
	    (_i % 10 == 0         ? 20000u
		    : _i % 3 == 0 ? 700u
				  : 12u);
	while (n < want) {
		p = _i % 4 == 1 ? piece[(size_t)rand() % 3 + 6]
				: piece[(size_t)rand() %
				      (sizeof(piece) / sizeof(piece[0]))];
		len = strlen(p);
		memcpy(raw + n, p, len);
		n += len;
	}
	raw[n] = 0;
	once = name_fix(&a, raw, '_');
	ck_assert_msg(name_valid(once), "seed %d: %s", _i, once);
	twice = name_fix(&a, once, '_');
	ck_assert_str_eq(once, twice);
	if (name_valid(raw))
		ck_assert_str_eq(raw, once);
	ck_assert_str_eq(mutf7_decode(&a, mutf7_encode(&a, once)), once);
	free(raw);
	arena_fini(&a);
}
END_TEST

START_TEST(long_levels_are_cut_on_a_character)
{
	struct arena a = ARENA_INIT;
	char raw[6001];
	char *out;
	size_t i;

	for (i = 0; i < 600; i += 3)
		memcpy(raw + i, "\xe6\x97\xa5", 3);
	raw[600] = 0;
	out = name_fix(&a, raw, '_');
	ck_assert_uint_eq(strlen(out), 255);
	for (i = 0; i < 600; i += 2)
		memcpy(raw + i, "\xc3\xa5", 2);
	out = name_fix(&a, raw, '_');
	/* one more would take 256 in mUTF-7 */
	ck_assert_uint_eq(strlen(out), 2 * 94);
	ck_assert_uint_eq(strlen(mutf7_encode(&a, out)), 253);
	memset(raw, 'a', 6000);
	raw[6000] = 0;
	ck_assert_uint_eq(strlen(name_fix(&a, raw, '_')), 255);
	for (i = 1; i < 6000; i += 2)
		raw[i] = '/';
	ck_assert_uint_eq(strlen(name_fix(&a, raw, '_')), 4095);
	arena_fini(&a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_name");
	TCase *t = tcase_create("name");

	tcase_add_test(t, mutf7_meets_its_vectors);
	tcase_add_test(t, bad_mutf7_is_refused);
	tcase_add_test(t, utf8_is_strict);
	tcase_add_test(t, names_are_judged);
	tcase_add_test(t, names_are_mended);
	tcase_add_loop_test(t, a_mended_name_is_valid_and_stays, 0, 400);
	tcase_add_test(t, long_levels_are_cut_on_a_character);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
