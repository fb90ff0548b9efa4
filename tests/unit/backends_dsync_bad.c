/*
 * backends_dsync_bad -- what a broken or hostile peer may say: one clear line,
 * one code, for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/dsync_help.h"
#include "lib/store_make.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define GUID "c7dba016bab9046b4d7f000083ecc375"

/*
 * After what was put, recv gives -EBADMSG, says want, in one line, and says it
 * once.
 */
static void
refused(struct alone *a, const char *want)
{
	unsigned before = make_errors;
	struct item *i;
	int rc;

	while ((rc = a->c->ops->recv(a->c, &i)) == 0)
		item_free(i);
	ck_assert_msg(rc == -EBADMSG, "%d instead of: %s", rc, want);
	ck_assert_uint_eq(make_errors, before + 1);
	ck_assert_msg(strstr(make_said, want) != NULL, "'%s' instead of: %s",
	    make_said, want);
	ck_assert(strstr(make_said, "b.example: ") == make_said);
	for (const char *p = make_said; *p != '\0'; p++)
		ck_assert_uint_ge((unsigned char)*p, 0x20);
	ck_assert_int_eq(a->c->ops->recv(a->c, &i), -EBADMSG);
	ck_assert_uint_eq(make_errors, before + 1);
}

/* ---- records ---- */

static const struct {
	const char *line, *want;
} rows[] = {
	/* no records */
	{ "\n", "a line that is no record: ''" },
	{ "Z1\n", "a line that is no record: 'Z1'" },
	{ "..\n", "a line that is no record: '..'" },
	{ "cflags\tt\n", "a line that is no record: 'cflags?t'" },
	{ "\x1b[31mred\n", "a line that is no record: '?[31mred'" },
	/* columns that must be there */
	{ "H\n", "record H, hostname: is missing" },
	{ "H\x02\tx\n", "record H, hostname: is missing" },
	{ "S" GUID "\t1\t1\t1\n", "record S, last_common_pvt_modseq" },
	{ "S\x02\t1\t1\t1\t1\n", "record S, mailbox_guid: is missing" },
	{ "Na\n", "record N, existence: is missing" },
	{ "N\x02\ty\n", "record N, name: is missing" },
	{ "D\n", "record D, hierarchy_sep: is missing" },
	{ "B" GUID "\t1\t1\t1\t1\t1\n", "record B, highest_pvt_modseq" },
	{ "Ap\n", "record A, key: is missing" },
	{ "Cs\n", "record C, uid: is missing" },
	{ "M\x02\t1\n", "record M, guid: is missing" },
	{ "R\n", "record R, guid: neither GUID nor UID" },
	{ "R\x02\t\x02\n", "record R, guid: neither GUID nor UID" },
	/* GUIDs */
	{ "S1234\t1\t1\t1\t1\n", "record S, mailbox_guid: not 32 hex" },
	{ "Na\ty\t" GUID "0\n", "record N, mailbox_guid: not 32 hex" },
	{ "Na\ty\tg7dba016bab9046b4d7f000083ecc375\n", "record N, mailbox_g" },
	{ "B00000000000000000000000000000000\t1\t1\t1\t1\t1\t0\n",
	    "record B, mailbox_guid: no mailbox has such" },
	{ "S00000000000000000000000000000000\t1\t1\t1\t1\n",
	    "record S, mailbox_guid: no mailbox has such" },
	{ "Ce\t1\tabc\n", "record C, guid: not 32 hex" },
	{ "Hx\t\x02\t\x02\tabc\n", "record H, sync_box_guid: not 32" },
	/* numbers */
	{ "Cs\t0\tg\n", "record C, uid: not a number, or not one that can be" },
	{ "Cs\t4294967296\tg\n", "record C, uid: not a number" },
	{ "Cs\t18446744073709551617\tg\n", "record C, uid: not a number" },
	{ "Cs\t-1\tg\n", "record C, uid: not a number" },
	{ "Cs\t+1\tg\n", "record C, uid: not a number" },
	{ "Cs\t 1\tg\n", "record C, uid: not a number" },
	{ "Cs\t1a\tg\n", "record C, uid: not a number" },
	{ "Cs\t\tg\n", "record C, uid: not a number" },
	{ "Cs\t1\tg\t\x02\t18446744073709551616\n", "record C, modseq" },
	{ "B" GUID "\t1\t1\t4294967296\t1\t1\t1\n", "record B, messages_" },
	{ "S" GUID "\t1\t1\tx\t1\n", "record S, last_common_modseq" },
	{ "Na\ty\t" GUID "\t4294967296\n", "record N, uid_validity" },
	{ "Na\ty\t" GUID "\t1\t1\t9223372036854775808\n",
	    "record N, last_renamed_or_created: not a time" },
	{ "Na\ty\t" GUID "\t1\t1\t--1\n", "record N, last_renamed" },
	{ "R\x02\t0\n", "record R, uid" },
	{ "Mg\t0\n", "record M, uid" },
	{ "Mg\t\x02\t\t\x02\tyesterday\n", "record M, received_date" },
	{ "F\x02\t2147483648\n", "record F, mail_error" },
	{ "Hx\t\x02\t\x02\t\x02\tc\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t0\n",
	    "record H, lock_timeout" },
	{ "Hx\t\x02\t\x02\t\x02\tc\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
	  "\x02\t\x02\t\x02\t\x02\t0\n",
	    "record H, sync_since_timestamp: no time to filter by" },
	/* flags and other hexadecimals */
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t100\n", "record C, add_flags" },
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t0x1\n", "record C, remove_fl" },
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t\x02\tg\n", "record C, final_f" },
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
	  "8000000000000000\n",
	    "record C, received_timestamp" },
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
	  "10000000000000000\n",
	    "record C, virtual_size" },
	/* letters and characters */
	{ "Cx\t1\tg\n", "record C, type: is unknown: 'x'" },
	{ "Css\t1\tg\n", "record C, type: is unknown: 'ss'" },
	{ "C\t1\tg\n", "record C, type: is unknown: ''" },
	{ "Na\tz\n", "record N, existence: is unknown: 'z'" },
	{ "Aq\tkey\n", "record A, type: is unknown: 'q'" },
	{ "Hx\t\x02\t\x02\t\x02\tz\n", "record H, sync_type: is unknown" },
	{ "D\t%\n", "record D, hierarchy_sep: no character" },
	{ "D//\n", "record D, hierarchy_sep: more than one character" },
	{ "D/\t%%\n", "record D, escape_char: more than one character" },
	/* names, lists */
	{ "N\ty\n", "record N, name: a mailbox without a name" },
	{ "D/\t%\t" GUID "\n", "record D, mailboxes: not a GUID and a time" },
	{ "D/\t%\t" GUID " \n", "record D, mailboxes: not a GUID and a time" },
	{ "D/\t%\t" GUID " 1 \n", "record D, mailboxes: not a GUID" },
	{ "D/\t%\t" GUID " x\n", "record D, mailboxes: not a GUID" },
	{ "D/\t%\t" GUID "  1\n", "record D, mailboxes: not a GUID" },
	{ "D/\t%\t\x02\t" GUID " 1 " GUID "1\n", "record D, dirs: not a" },
	{ "D/\t%\t\x02\t\x02\tx\n", "record D, unsubscribes: not a GUID" },
	{ "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t*kw\n",
	    "record C, keyword_changes: an unknown prefix: '*kw'" },
	/* escapes */
	{ "Na\x01\ty\n", "record N, name: a NUL, or a broken escape" },
	{ "Na\x01"
	  "0b\ty\n",
	    "record N, name: a NUL" },
	{ "Na\x01"
	  "1\ty\n",
	    "record N, name: a broken escape" },
	{ "Na\x01"
	  "1"
	  "0\ty\n",
	    "record N, name: a broken escape" },
	{ "Hvm\x01\n", "record H, hostname: a NUL, or a broken escape" },
	{ "Fgone\x01"
	  "0\n",
	    "record F, error: a NUL" },
};

START_TEST(broken_record_is_refused_by_name)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, rows[_i].line);
	refused(&a, rows[_i].want);
	alone_end(&a);
}
END_TEST

START_TEST(raw_nul_is_refused)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	link_mem_put(a.peer, "Na\0b\ty\n", 7);
	refused(&a, "record N, name: a NUL, or a broken escape: 'a?b'");
	alone_end(&a);
}
END_TEST

/* The peer of a dsyncfs: own columns are checked as well. */
static const struct {
	const char *line, *want;
} own_rows[] = {
	{ "Bdigest\t" GUID "\n", "record B, dsyncfs_digest: not 32 hex" },
	{ "B\x02\t" GUID "\t4294967296\n", "record B, dsyncfs_common_uid" },
	{ "Hvm\tx\n", "record H, dsyncfs_replica: not 32 hex" },
	{ "Hvm\t" GUID "\t-1\n", "record H, dsyncfs_max_delete_percent" },
};

START_TEST(broken_own_column_is_refused_by_name)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a,
	    "VERSION\tdsync\t3\t5\n"
	    "Hhostname\tdsyncfs_replica\tdsyncfs_max_delete_percent\n"
	    "Smailbox_guid\tlast_uidvalidity\tlast_common_uid\t"
	    "last_common_modseq\tlast_common_pvt_modseq\n"
	    "Nname\texistence\nDhierarchy_sep\n"
	    "Bdsyncfs_digest\tmailbox_guid\tdsyncfs_common_uid\tuid_validity\t"
	    "uid_next\tmessages_count\tfirst_recent_uid\thighest_modseq\t"
	    "highest_pvt_modseq\n"
	    "Atype\tkey\nCtype\tuid\nRguid\nMguid\nFerror\ncname\tdecision\n"
	    ".\n");
	if (*own_rows[_i].line == 'B') {
		link_mem_put(
		    a.peer, own_rows[_i].line, strlen(own_rows[_i].line) - 1);
		alone_hears(&a,
		    _i == 0 ? "\t1\t1\t1\t1\t1\t1\t1\n"
			    : "\t1\t1\t1\t1\t1\t1\n");
	} else {
		alone_hears(&a, own_rows[_i].line);
	}
	refused(&a, own_rows[_i].want);
	alone_end(&a);
}
END_TEST

/* ---- opening ---- */

static const struct {
	const char *text, *want;
} openings[] = {
	{ "Welcome to \x1b[1mhost\x1b[0m!\r\n",
	    "no dsync; it says 'Welcome to ?[1mhost?[0m!'" },
	{ "\n\r\n\nLast login: today\n", "it says 'Last login: today'" },
	{ "VERSION\tdoveadm-server\t1\t2\n", "speaks 'doveadm-server?1?2'" },
	{ "VERSION\tdsync\t2\t1\n", "speaks version '2?1' of dsync" },
	{ "VERSION\tdsync\t31\t1\n", "speaks version '31?1' of dsync" },
	{ "VERSION\tdsync\t3\n", "speaks version '3' of dsync" },
	{ "VERSION\tdsync\t3\tx\n", "speaks version '3?x' of dsync" },
	{ "VERSION\tdsync\t3\t5\t6\n", "speaks version '3?5?6' of dsync" },
	{ "VERSION\tdsync\t3\t99999999999\n", "speaks version '3?999" },
	{ "VERSION dsync 3 5\n", "it says 'VERSION dsync 3 5'" },
	{ "VERSION\tdsync\t3\t5\n.\n", "has no line for record H" },
	{ "VERSION\tdsync\t3\t5\nHsync_type\n.\n", "record H has no column" },
};

START_TEST(what_is_no_dsync_is_named)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, openings[_i].text);
	if (strstr(openings[_i].want, "record H has") != NULL)
		alone_hears(&a, strchr(dovecot_opening, '\n') + 1);
	refused(&a, openings[_i].want);
	alone_end(&a);
}
END_TEST

START_TEST(words_without_a_newline_are_named_at_the_end)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, "sh: dsync: not found");
	link_mem_cut(a.peer, 0);
	refused(&a, "it says 'sh: dsync: not found'");
	alone_end(&a);
}
END_TEST

START_TEST(silence_and_a_cut_opening_are_an_end)
{
	static const char *const text[] = { "", "VERS", "VERSION\tdsync\t3\t5",
		"VERSION\tdsync\t3\t5\n", "VERSION\tdsync\t3\t5\nHhost" };
	struct alone a;
	struct item *i;

	alone_begin(&a, NULL);
	alone_hears(&a, text[_i]);
	link_mem_cut(a.peer, 0);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EPIPE);
	alone_end(&a);
}
END_TEST

START_TEST(each_required_column_of_an_opening_is_needed)
{
	/* each header line with its last required key taken out */
	static const struct {
		const char *key;
		char letter;
	} t[] = {
		{ "hostname\t", 'H' },
		{ "last_common_pvt_modseq\t", 'S' },
		{ "existence\t", 'N' },
		{ "hierarchy_sep\t", 'D' },
		{ "highest_pvt_modseq\t", 'B' },
		{ "key\t", 'A' },
		{ "uid\t", 'C' },
		{ "decision\t", 'c' },
	};
	struct alone a;
	char line[2] = { '\n', t[_i].letter }, want[64];
	const char *at =
	    memmem(dovecot_opening, strlen(dovecot_opening), line, 2);

	ck_assert_ptr_nonnull(at);
	at = strstr(at, t[_i].key);
	ck_assert_ptr_nonnull(at);
	alone_begin(&a, NULL);
	link_mem_put(a.peer, dovecot_opening, (size_t)(at - dovecot_opening));
	alone_hears(&a, at + strlen(t[_i].key));
	(void)snprintf(
	    want, sizeof(want), "record %c has no column", t[_i].letter);
	refused(&a, want);
	alone_end(&a);
}
END_TEST

/* ---- what has no end ---- */

/* n times c */
static void
hears_many(struct alone *a, char c, size_t n)
{
	char *p = malloc(n);

	ck_assert_ptr_nonnull(p);
	memset(p, c, n);
	link_mem_put(a->peer, p, n);
	free(p);
}

START_TEST(line_without_an_end_is_bounded)
{
	static const struct {
		const char *opening, *start;
		size_t n; /* one less is taken */
		const char *want;
	} t[] = {
		{ "", "W", 8192, "no dsync; it says 'Waaaa" },
		{ "VERSION\tdsync\t3\t5\n", "H", 5000, "longer than 5000" },
		{ dovecot_opening, "N", 5000,
		    "begins with 'N' is longer than "
		    "5000 bytes" },
		{ dovecot_opening, "\x01", 5000, "begins with '?' is longer" },
		{ dovecot_opening, "D/\t%\t", 20000, "longer than 20000" },
		{ dovecot_opening, "B", 20000, "longer than 20000" },
	};
	const struct channel_dsync_options o = { .max_line = 5000,
		.max_long_line = 20000 };
	size_t n = t[_i].n - strlen(t[_i].start);
	struct alone a;
	struct item *i;

	alone_begin(&a, &o);
	alone_hears(&a, t[_i].opening);
	alone_hears(&a, t[_i].start);
	hears_many(&a, 'a', n);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	hears_many(&a, 'a', 1);
	refused(&a, t[_i].want);
	alone_end(&a);
	/* and not with its end at hand either */
	alone_begin(&a, &o);
	alone_hears(&a, t[_i].opening);
	alone_hears(&a, t[_i].start);
	hears_many(&a, 'a', n + 1);
	alone_hears(&a, "\n");
	refused(&a, t[_i].want);
	alone_end(&a);
}
END_TEST

START_TEST(opening_without_an_end_is_bounded)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, _i == 0 ? "" : "VERSION\tdsync\t3\t5\n");
	for (int k = 0; k < 2000; k++)
		alone_hears(&a, _i == 0 ? "\n" : "Zunknown\n");
	refused(&a, _i == 0 ? "no dsync" : "its opening has no end");
	alone_end(&a);
}
END_TEST

START_TEST(header_line_with_too_many_columns_is_refused)
{
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, "VERSION\tdsync\t3\t5\nH");
	hears_many(&a, '\t', 256);
	alone_hears(&a, "\n");
	refused(&a, "record H has more than 256 columns");
	alone_end(&a);
}
END_TEST

START_TEST(own_long_lines_are_taken_to_the_byte)
{
	const struct channel_dsync_options o = { .max_line = 5000 };
	struct item *i;
	struct alone a;

	alone_begin(&a, &o);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, "F");
	hears_many(&a, 'e', 4999);
	alone_hears(&a, "\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_uint_eq(strlen(i->u.finish.error), 4999);
	item_free(i);
	alone_end(&a);
}
END_TEST

/* ---- an X ---- */

START_TEST(abort_is_an_item_whatever_follows_the_letter)
{
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a, "X\nXtra\n");
	for (int k = 0; k < 2; k++) {
		ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
		ck_assert_int_eq(i->type, ITEM_ABORT);
		item_free(i);
	}
	alone_end(&a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_dsync_bad");
	TCase *t = tcase_create("bad");

	make_quiet();
	tcase_add_loop_test(
	    t, broken_record_is_refused_by_name, 0, (int)LENGTH(rows));
	tcase_add_test(t, raw_nul_is_refused);
	tcase_add_loop_test(
	    t, broken_own_column_is_refused_by_name, 0, (int)LENGTH(own_rows));
	tcase_add_loop_test(
	    t, what_is_no_dsync_is_named, 0, (int)LENGTH(openings));
	tcase_add_test(t, words_without_a_newline_are_named_at_the_end);
	tcase_add_loop_test(t, silence_and_a_cut_opening_are_an_end, 0, 5);
	tcase_add_loop_test(
	    t, each_required_column_of_an_opening_is_needed, 0, 8);
	tcase_add_loop_test(t, line_without_an_end_is_bounded, 0, 6);
	tcase_add_loop_test(t, opening_without_an_end_is_bounded, 0, 2);
	tcase_add_test(t, header_line_with_too_many_columns_is_refused);
	tcase_add_test(t, own_long_lines_are_taken_to_the_byte);
	tcase_add_test(t, abort_is_an_item_whatever_follows_the_letter);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
