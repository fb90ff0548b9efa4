/*
 * base_hdr_hash -- the header hash of dsync, against vectors of its
 * specification and of real Dovecots.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hdr_hash.h"
#include "tests/unit/lib/check_main.h"

#define BYTES(s) s, sizeof(s) - 1

static const char *const usual[] = { "Date", "Message-ID" };

/* In chunks of n bytes. */
static const char *
hash_in(unsigned version, const char *const *names, size_t n_names,
    const char *p, size_t len, size_t n)
{
	static char out[HDR_HASH_LEN + 1];
	struct hdr_hash *h;

	memset(out, 'x', sizeof(out));
	ck_assert_int_eq(hdr_hash_new(version, names, n_names, &h), 0);
	for (size_t at = 0; at < len; at += n) {
		int rc = hdr_hash_add(h, p + at, len - at < n ? len - at : n);

		ck_assert(rc == 0 || rc == 1);
	}
	ck_assert_int_eq(hdr_hash_final(h, out), 0);
	hdr_hash_free(h);
	return (out);
}

static const char *
hash(unsigned version, const char *p, size_t len)
{
	return (hash_in(version, usual, 2, p, len, len));
}

static const char first[] = "Date: Mon, 01 Jan 2024 10:00:00 +0000\n"
			    "Message-ID: <m1@example.org>\n\n";
static const char second[] = "date:   Mon, 01 Jan 2024  11:00:00 +0000\n"
			     "Message-Id: <m2@\n example.org>\n"
			     "Date: second\tdate \303\251\303\251?\? x\n\n";

START_TEST(version_3_meets_the_vectors_of_the_specification)
{
	ck_assert_str_eq(
	    hash(3, BYTES(first)), "0ccb5d6e81c6a9d084862730b2cda81c");
	ck_assert_str_eq(
	    hash(3, BYTES(second)), "35893f4b75968adf8be97fc22ddf0ab0");
}
END_TEST

START_TEST(no_listed_field_gives_the_hash_of_an_empty_line)
{
	for (unsigned v = 1; v <= 3; v++) {
		ck_assert_str_eq(hash(v, BYTES("")), HDR_HASH_EMPTY);
		ck_assert_str_eq(
		    hash(v, BYTES("Subject: x\n\nDate: y\n")), HDR_HASH_EMPTY);
		ck_assert_str_eq(hash(v, BYTES("\n")), HDR_HASH_EMPTY);
		ck_assert_str_eq(
		    hash_in(v, NULL, 0, BYTES(first), 7), HDR_HASH_EMPTY);
	}
}
END_TEST

/*
 * Made with md5sum of the lines that 6.3 says: as they are; with "a?b ? ? c",
 * "? ?"; with "a?b??c", "??".
 */
START_TEST(versions_differ_in_what_they_fold)
{
	static const char in[] = "Date: a?b \1\2 ?\?\377 c\n\t? ?\n"
				 "Subject: no\nMessage-ID: <x y>\n\n";

	ck_assert_str_eq(
	    hash(1, BYTES(in)), "fd45e229c6aabfe420764302e64ef790");
	ck_assert_str_eq(
	    hash(2, BYTES(in)), "aa824345d139ccae632a053dc925493d");
	ck_assert_str_eq(
	    hash(3, BYTES(in)), "9ff830bcef45485d5ef39e54ccd0fb65");
	ck_assert_str_eq(
	    hash(1, BYTES(first)), "a6e52b6402e3135a572d99d3b3a89305");
	ck_assert_str_eq(
	    hash(2, BYTES(first)), "a6e52b6402e3135a572d99d3b3a89305");
	ck_assert_str_eq(
	    hash(1, BYTES(second)), "3147678a0d21fc167bcaa25fb0efb8f1");
	ck_assert_str_eq(
	    hash(2, BYTES(second)), "551c4ca8f1c307165e4ecb553facc03c");
}
END_TEST

/* Mails in a Maildir, and hdr_hash in the C rows that Dovecot 2.3.19.1 sent. */
static const struct vector {
	const char *mail;
	size_t len;
	const char *hash;
} dovecot[] = {
	{ BYTES("Date: Mon, 01 Jan 2024 10:00:00 +0000\r\n"
		"Message-ID: <m1@example.org>\r\n"
		"Subject: a\r\n\r\nbody\r\n"),
	    "0ccb5d6e81c6a9d084862730b2cda81c" },
	{ BYTES("date:   Mon, 01 Jan 2024  11:00:00 +0000\nX: y\n"
		"Message-Id: <m2@\n example.org>\n"
		"Date: second\tdate \303\251\303\251?\? x\n\n"
		"Date: in the body\n"),
	    "35893f4b75968adf8be97fc22ddf0ab0" },
	{ BYTES("no header at all\n"), HDR_HASH_EMPTY },
	{ BYTES("Date : space before\nMessage-ID\t : <tab@x>\n\n"),
	    "9a4ce93f8a8dd4918543b9f1441132ef" },
	{ BYTES("Date:\n\n"), "6621d37c101fdebcfae14988d3ac519c" },
	{ BYTES("Date: last line without newline"),
	    "ac522646546bcbf62b7ac020cf62213b" },
	{ BYTES("Subject: x\nDate: last line, then eof\n"),
	    "4cffe47095f5b68636dfc5130991e7fc" },
	{ BYTES("Date: a\001\002b? ?c\177\200\377\n\tgo on \000 here\n"
		"Message-ID:x\n\nb"),
	    "f1a724de33377d92bd90e694822f4fb1" },
	{ BYTES(" Date: starts with a blank\nDate: real\n\nb"),
	    "a9fad2b6f78e115cd3eeeb458201cfa4" },
	{ BYTES("From someone Mon Jan\nDate: after a From_ line\n more\n"
		"Message-ID: <q@x>\n\nb"),
	    "3217cf7db58b63fbddf2a39cb655ec7c" },
	{ BYTES("Date: mixed ends\r\n cont \nMessage-ID: <w\r@x>\r\r\n"
		"Message-ID: z\r\n\r\nbody"),
	    "f25a5f433cde3f8ff10ed9053cbd5488" },
	{ BYTES("Subject: a\n \nDate: after a blank continuation\n  \n"
		"Message-ID: k\n\t\n\nb"),
	    "76537b5836e359645a9f25b9acc4e7df" },
	{ BYTES("Dates: no\nX-Date: no\nDate:yes\n"
		"MESSAGE-id:   a   b   \n\nb"),
	    "505a405762381a03ddbe6342761dc980" },
	{ BYTES("\nDate: body only\n"), HDR_HASH_EMPTY },
	{ BYTES("Date\000x: nul in name\nDate: y\n\nb"),
	    "4afc12e9db2df81d63c744eff7f5672f" },
	{ BYTES("\tDate: tab first\nMessage-ID: ok\n\nb"),
	    "39e7d0e6717ca57e0d450c36b9440138" },
	{ BYTES("Date: a\n:empty name\n: b\nMessage-ID: ok\n\nb"),
	    "bbc189048fd3e77212421d09aeb096b8" },
	{ BYTES("Date: x\rMessage-ID: y\n\nb"),
	    "348b7fe4a06e1e8e22a4b549d0d9fdb7" },
};

START_TEST(odd_headers_hash_as_dovecot_hashes_them)
{
	const struct vector *v = &dovecot[_i];

	for (size_t n = 1; n <= v->len; n++)
		ck_assert_str_eq(
		    hash_in(3, usual, 2, v->mail, v->len, n), v->hash);
}
END_TEST

START_TEST(a_long_line_needs_no_memory_of_its_length)
{
	char *p = malloc(20000), *at = p;

	at = stpcpy(at, "Date: ");
	for (int i = 0; i < 3000; i++)
		at = stpcpy(at, "long ");
	at = stpcpy(at, "\nMessage-ID: <l@x>\n\nb");
	for (size_t n = 1; n < 5000; n = n * 3 + 1)
		ck_assert_str_eq(hash_in(3, usual, 2, p, (size_t)(at - p), n),
		    "9c4c8d3b5ac77dd096a4b24027855044");
	free(p);
}
END_TEST

START_TEST(other_fields_can_be_listed_and_empty_names_are_none)
{
	static const char *const names[] = { "", "sUBJECT" };

	ck_assert_str_eq(
	    hash_in(3, names, 2, BYTES("Subject: a\nno colon\n: b\n\n"), 3),
	    "7cd1e911cedaf31a83659016154a0b9f");
}
END_TEST

START_TEST(a_name_too_long_to_be_listed_hides_nothing)
{
	char line[600];

	memset(line, 'x', sizeof(line));
	memcpy(line + 500, ":y\nDate: a\n", 12);
	ck_assert_str_eq(hash(3, line, 511), hash(3, BYTES("Date: a\n")));
}
END_TEST

/* A stream that must not be read after the header. */
struct counted {
	struct stream s;
	const char *p;
	size_t left, reads, fail_at;
};

static ssize_t
counted_read(struct stream *st, void *p, size_t n)
{
	struct counted *c = (struct counted *)(void *)st;
	size_t k = c->left < n ? c->left : n;

	if (++c->reads == c->fail_at)
		return (-EIO);
	if (k > 64)
		k = 64;
	memcpy(p, c->p, k);
	c->p += k;
	c->left -= k;
	return ((ssize_t)k);
}

static const struct stream_ops counted_ops = { .read = counted_read };

START_TEST(a_stream_is_read_to_the_end_of_its_header)
{
	static char mail[100000];
	struct counted c = { .s = { .ops = &counted_ops } };
	char out[HDR_HASH_LEN + 1] = "untouched";

	memset(mail, 'b', sizeof(mail));
	memcpy(mail, first, sizeof(first) - 1);
	c.p = mail;
	c.left = sizeof(mail);
	ck_assert_int_eq(hdr_hash_stream(3, usual, 2, &c.s, out), 0);
	ck_assert_str_eq(out, "0ccb5d6e81c6a9d084862730b2cda81c");
	ck_assert_uint_eq(c.reads, 2);
	c.p = mail;
	c.left = sizeof(mail);
	c.reads = 0;
	c.fail_at = 2;
	memcpy(out, "untouched", 10);
	ck_assert_int_eq(hdr_hash_stream(3, usual, 2, &c.s, out), -EIO);
	ck_assert_str_eq(out, "untouched");
}
END_TEST

/* The same header, whatever comes after the limit. */
START_TEST(an_endless_header_ends_at_the_limit)
{
	size_t len = HDR_HASH_HEADER_MAX + 1000;
	char *p = malloc(len), a[HDR_HASH_LEN + 1];
	struct hdr_hash *h;

	memset(p, 'b', len);
	memcpy(p, "Date: ", 6);
	ck_assert_int_eq(hdr_hash_new(3, usual, 2, &h), 0);
	ck_assert_int_eq(hdr_hash_add(h, p, HDR_HASH_HEADER_MAX), 0);
	ck_assert_int_eq(hdr_hash_add(h, p, 1), 1);
	ck_assert_int_eq(hdr_hash_final(h, a), 0);
	hdr_hash_free(h);
	ck_assert_str_eq(hash(3, p, len), a);
	ck_assert_str_eq(hash(3, p, HDR_HASH_HEADER_MAX), a);
	ck_assert_str_ne(hash(3, p, HDR_HASH_HEADER_MAX - 1), a);
	free(p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base_hdr_hash");
	TCase *t = tcase_create("hdr_hash");

	tcase_add_test(t, version_3_meets_the_vectors_of_the_specification);
	tcase_add_test(t, no_listed_field_gives_the_hash_of_an_empty_line);
	tcase_add_test(t, versions_differ_in_what_they_fold);
	tcase_add_loop_test(t, odd_headers_hash_as_dovecot_hashes_them, 0,
	    (int)(sizeof(dovecot) / sizeof(dovecot[0])));
	tcase_add_test(t, a_long_line_needs_no_memory_of_its_length);
	tcase_add_test(t, other_fields_can_be_listed_and_empty_names_are_none);
	tcase_add_test(t, a_name_too_long_to_be_listed_hides_nothing);
	tcase_add_test(t, a_stream_is_read_to_the_end_of_its_header);
	tcase_add_test(t, an_endless_header_ends_at_the_limit);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
