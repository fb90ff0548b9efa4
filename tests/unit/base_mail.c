/*
 * base_mail -- tests of guid, digest, keywords and Maildir's info letters.
 */
#include <errno.h>
#include <string.h>
#include "base/digest.h"
#include "base/guid.h"
#include "base/mail.h"
#include "tests/unit/lib/check_main.h"

/*
 * Vectors of specs/mailbox-formats.md 0 and 5.1, and of
 * specs/dsync-protocol.md 6.2.
 */
START_TEST(guid128_is_dovecots)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g;

	ck_assert_int_eq(
	    guid128_of_string("1795469169.M792350P16759.vm,S=454,W=474", &g),
	    0);
	ck_assert_str_eq(guid_hex(&g, hex), "44f28f2f670706f3869a5db727949e5f");
	ck_assert_int_eq(
	    guid128_of_string("1795469158.M713100P16422.vm,S=109,W=115", &g),
	    0);
	ck_assert_str_eq(guid_hex(&g, hex), "036df6431a2fd81b458f9289f22840b7");
	ck_assert_int_eq(
	    guid128_of_string("0123456789ABCDEF0123456789abcdef", &g), 0);
	ck_assert_str_eq(guid_hex(&g, hex), "0123456789abcdef0123456789abcdef");
	ck_assert_int_eq(guid128_of_string("", &g), 0);
	ck_assert_str_eq(guid_hex(&g, hex), "5e6b4b0d3255bfef95601890afd80709");
}
END_TEST

START_TEST(name_hashes_are_dovecots)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g;

	ck_assert_int_eq(guid128_of_name("INBOX", &g), 0);
	ck_assert_str_eq(guid_hex(&g, hex), "dc063b45c92f64f79f0d1ed01e6d5b31");
	ck_assert_int_eq(guid128_of_name("Arkiv/R\xc3\xa4kningar", &g), 0);
	ck_assert_str_eq(guid_hex(&g, hex), "4e0b14b7d8659bbfec4f18f9e15ead1e");
}
END_TEST

START_TEST(guids_parse_exactly)
{
	struct guid g, h;

	ck_assert_int_eq(guid_parse("00000000000000000000000000000000", &g), 0);
	ck_assert(guid_is_zero(&g));
	ck_assert_int_eq(guid_parse("0000000000000000000000000000000A", &h), 0);
	ck_assert(!guid_eq(&g, &h));
	ck_assert_int_lt(guid_cmp(&g, &h), 0);
	ck_assert_int_eq(guid_parse("", &g), -EINVAL);
	ck_assert_int_eq(
	    guid_parse("0000000000000000000000000000000", &g), -EINVAL);
	ck_assert_int_eq(
	    guid_parse("000000000000000000000000000000000", &g), -EINVAL);
	ck_assert_int_eq(
	    guid_parse("0000000000000000000000000000000g", &g), -EINVAL);
}
END_TEST

static void
hex_is(const uint8_t *p, size_t n, const char *want)
{
	char hex[65];

	hex_encode(p, n, hex);
	ck_assert_str_eq(hex, want);
}

START_TEST(digests_meet_their_vectors)
{
	uint8_t out[32], again[32], key[32] = { 1 };
	struct digest *d;
	int kind;

	ck_assert_int_eq(sha1("abc", 3, out), 0);
	hex_is(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
	ck_assert_int_eq(md5("abc", 3, out), 0);
	hex_is(out, 16, "900150983cd24fb0d6963f7d28e17f72");
	ck_assert_int_eq(sha1(NULL, 0, out), 0);
	hex_is(out, 20, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	ck_assert_uint_eq(xxh3_64("", 0), 0x2d06800538d394c2u);
	xxh3_128("", 0, out);
	hex_is(out, 16, "99aa06d3014798d86001c324468d497f");
	for (kind = DIGEST_SHA1; kind <= DIGEST_XXH3_128; kind++) {
		ck_assert_int_eq(digest_new((enum digest_kind)kind, &d), 0);
		ck_assert_int_eq(digest_add(d, "a", 1), 0);
		ck_assert_int_eq(digest_add(d, NULL, 0), 0);
		ck_assert_int_eq(digest_add(d, "bc", 2), 0);
		ck_assert_int_eq(digest_final(d, out), 0);
		digest_free(d);
		if (kind == DIGEST_SHA1)
			hex_is(out, 20,
			    "a9993e364706816aba3e25717850c26c9cd0d89d");
		else if (kind == DIGEST_MD5)
			hex_is(out, 16, "900150983cd24fb0d6963f7d28e17f72");
		else if (kind == DIGEST_SHA256)
			hex_is(out, 32,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb4"
			    "10ff61f20015ad");
		else {
			xxh3_128("abc", 3, again);
			ck_assert_mem_eq(out, again, 16);
		}
	}
	ck_assert_int_eq(keyed128(key, "abc", 3, out), 0);
	key[31] = 1;
	ck_assert_int_eq(keyed128(key, "abc", 3, again), 0);
	ck_assert_mem_ne(out, again, 16);
	ck_assert_int_eq(hex_decode("00fFA1", 3, out), 0);
	ck_assert_mem_eq(out, "\x00\xff\xa1", 3);
	ck_assert_int_eq(hex_decode("00fFA", 3, out), -EINVAL);
}
END_TEST

START_TEST(keywords_are_sorted_sets)
{
	static const char *const raw[] = { "b", "a", "b", "$Forwarded" },
				 *const rm[] = { "a", "zz" },
				 *const add[] = { "c", "a" };
	struct keywords k, r, p, out;
	struct arena a = ARENA_INIT;

	ck_assert_int_eq(keywords_make(&a, raw, 4, &k), 0);
	ck_assert_uint_eq(k.n, 3);
	ck_assert_str_eq(k.name[0], "$Forwarded");
	ck_assert_str_eq(k.name[1], "a");
	ck_assert_str_eq(k.name[2], "b");
	ck_assert(keywords_has(&k, "a") && !keywords_has(&k, "A") &&
	    !keywords_has(&k, "c"));
	ck_assert_int_eq(keywords_make(&a, rm, 2, &r), 0);
	ck_assert_int_eq(keywords_make(&a, add, 2, &p), 0);
	ck_assert_int_eq(keywords_apply(&a, &k, &p, &r, &out), 0);
	ck_assert_uint_eq(out.n, 3);
	ck_assert(keywords_has(&out, "c") && !keywords_has(&out, "a"));
	ck_assert_int_eq(keywords_copy(&a, &out, &k), 0);
	ck_assert(keywords_eq(&k, &out) && !keywords_eq(&k, &r));
	ck_assert_int_eq(keywords_make(&a, NULL, 0, &k), 0);
	ck_assert_int_eq(keywords_apply(&a, &k, &k, &k, &out), 0);
	ck_assert_uint_eq(out.n, 0);
	ck_assert(!keywords_has(&out, ""));
	arena_fini(&a);
}
END_TEST

START_TEST(keywords_are_atoms)
{
	static const char *const good[] = { "$Forwarded", "a", "}", "x/y",
		"Junk.1" };
	static const char *const bad[] = { "", "\\Seen", "a b", "(", ")", "{",
		"%", "*", "\"", "]", "\x7f", "\xc3\xa5", "a\n" };
	char longest[257];
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(keyword_valid(good[i]), "%s", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!keyword_valid(bad[i]), "%s", bad[i]);
	memset(longest, 'k', 256);
	longest[256] = 0;
	ck_assert(!keyword_valid(longest));
	longest[255] = 0;
	ck_assert(keyword_valid(longest));
}
END_TEST

START_TEST(info_letters_round_trip)
{
	static const struct {
		const char *in, *out;
		uint8_t flags;
	} v[] = {
		{ "", "", 0 },
		{ "S", "S", MAIL_SEEN },
		{ "TSRFD", "DFRST", MAIL_FLAGS },
		{ "SPS", "PS", MAIL_SEEN },
		{ "zaXASb", "ASXabz", MAIL_SEEN },
		{ "S,extra", "S", MAIL_SEEN },
		{ ",S", "", 0 },
		{ "F\xc3\xa5S", "F", MAIL_FLAGGED },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		    MAIL_FLAGS },
	};
	struct mail_info m, again;
	char out[64];
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		mail_info_parse(v[i].in, &m);
		ck_assert_uint_eq(m.flags, v[i].flags);
		mail_info_format(&m, out);
		ck_assert_str_eq(out, v[i].out);
		mail_info_parse(out, &again);
		ck_assert_mem_eq(&m, &again, sizeof(m));
	}
	mail_info_parse("Pb", &m);
	ck_assert(m.forwarded && m.letters == 2 && m.other[0] == 0);
	/* what no parse gave: no end, no upper case */
	memset(m.other, 'z', sizeof(m.other));
	mail_info_format(&m, out);
	ck_assert_str_eq(out, "Pb");
}
END_TEST

START_TEST(file_names_fall_apart_as_maildir_says)
{
	ck_assert_uint_eq(mail_base_len("x:2,:2,S"), 1);
	ck_assert_str_eq(mail_info_text("x:2,:2,S"), ":2,S");
	ck_assert_str_eq(mail_info_text("x:2,S:2,F"), "S:2,F");
	ck_assert_str_eq(mail_info_text("x:1,S"), "");
	ck_assert_str_eq(mail_info_text("x:2"), "");
	ck_assert_str_eq(mail_info_text(""), "");
	ck_assert_str_eq(mail_info_text(":2,"), "");
	ck_assert_uint_eq(mail_base_len("abc,S=3"), 7);
	ck_assert_uint_eq(mail_base_len(":2,S"), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_mail");
	TCase *t = tcase_create("mail");

	tcase_add_test(t, guid128_is_dovecots);
	tcase_add_test(t, name_hashes_are_dovecots);
	tcase_add_test(t, guids_parse_exactly);
	tcase_add_test(t, digests_meet_their_vectors);
	tcase_add_test(t, keywords_are_sorted_sets);
	tcase_add_test(t, keywords_are_atoms);
	tcase_add_test(t, info_letters_round_trip);
	tcase_add_test(t, file_names_fall_apart_as_maildir_says);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
