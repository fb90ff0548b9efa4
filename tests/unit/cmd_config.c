/*
 * cmd_config -- each mistake in a configuration and the line that is said about
 * it.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"
#include "cmd/config_internal.h"

static char said[65536];

static void
sink(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static int
text(struct config *c, const char *s)
{
	said[0] = '\0';
	log_set_sink(sink, NULL);
	memset(c, 0, sizeof(*c));
	arena_init(&c->arena);
	return (config_text(c, "/f", s, strlen(s)));
}

static const struct {
	const char *file, *says;
} wrong[] = { { "x = 1\n", "/f:1: unknown key 'x'" },
	{ "\nmail_locatoin = dsyncfs:/x\n",
	    "/f:2: unknown key 'mail_locatoin' (did you mean "
	    "'mail_location'?)" },
	{ "commit = never\n",
	    "/f:1: commit = 'never' is not valid: it takes a time from 1s to "
	    "1h" },
	{ "commit = 0\n", "it takes a time from 1s to 1h" },
	{ "sync = sometimes\n", "manual, push or a time from 1s to 1d" },
	{ "layout = flat\n", "maildir++ or fs" },
	{ "max_delete = 101%\n", "a percentage such as 50%" },
	{ "max_delete_min = -1\n", "a number of messages" },
	{ "alt_char = ab\n", "one ASCII character" },
	{ "alt_char = /\n", "one ASCII character" },
	{ "expunge_retention = 3 moons\n", "a time such as 30d" },
	{ "zstd_level = 20\n", "from 0 (never compress) to 19" },
	{ "cache_size = 5\n", "at least 1M" },
	{ "max_parallel = 0\n", "a number of users from 1 to 1000" },
	{ "max_parallel = all\n", "a number of users from 1 to 1000" },
	{ "sandbox = maybe\n", "sandbox = 'maybe' is not valid: it takes yes or no" },
	{ "first_valid_uid = -1\n", "a user ID" },
	{ "last_valid_uid = 4294967295\n", "a user ID" },
	{ "cache_size = 99999999999999999999G\n", "at least 1M" },
	{ "mail_location =\n", "a location, such as" },
	{ "mail_location\n",
	    "/f:1: neither 'key = value' nor 'section name {'" },
	{ "= x\n", "/f:1: neither" },
	{ "commit = 1\ncommit = 2\n",
	    "/f:2: commit is set twice: first at /f:1" },
	{ "mail_location = \"a\n", "/f:1: the closing quote is missing" },
	{ "mail_location = 'a' b\n", "/f:1: text after the closing quote" },
	{ "remote {\n}\n", "/f:1: the section has no name" },
	{ "remote a {\n}\n", "/f:1: remote 'a' has no location" },
	{ "remote a { location = x }\n", "/f:1: text after '{'" },
	{ "remote a {\nlocation = x\n} x\n", "/f:3: text after '}'" },
	{ "remote a {\nlocation = x\n", "/f:1: the section is not closed" },
	{ "remote a {\nlocation = x\nlocation = y\n}\n",
	    "/f:3: location is set twice: first at /f:2" },
	{ "remote a {\nlocation = x\n}\nremote a {\nlocation = x\n}\n",
	    "/f:4: a second 'remote a'" },
	{ "remote a {\nremote b {\n",
	    "/f:2: a section in a section: close the one from /f:1" },
	{ "remote a {\nlocation = x\nmode = both\n}\n",
	    "/f:3: mode = 'both' is not valid: it takes mirror or backup" },
	{ "remote a {\nloction = x\n}\n",
	    "/f:2: unknown key of section 'remote' 'loction' (did you mean "
	    "'location'?)" },
	{ "remote a {\nlocation = x\nmailbox =\n}\n",
	    "/f:3: mailbox = '' is not valid: it takes a value that is not "
	    "empty" },
	{ "remote a {\nlocation = x\nexclude =\n}\n", "/f:3: exclude = ''" },
	{ "remote a {\nsince = someday\nlocation = x\n}\n",
	    "/f:2: since = 'someday' is not valid: it takes a date: "
	    "2026-03-01" },
	{ "remote a {\nlocation = x\nuntil = 2026-02-30\n}\n",
	    "/f:3: until = '2026-02-30' is not valid: it takes a date" },
	{ "remote a {\nlocation = x\nmax_size = big\n}\n",
	    "/f:3: max_size = 'big' is not valid: it takes a size such as "
	    "50M" },
	{ "remote a {\nlocation = x\nflag = -\n}\n",
	    "/f:3: flag = '-' is not valid: it takes a flag or keyword" },
	{ "remote a {\nlocation = x\none_way = maybe\n}\n",
	    "/f:3: one_way = 'maybe' is not valid: it takes yes or no" },
	{ "remote a {\nlocation = x\nsince = 1d\nsince = 2d\n}\n",
	    "/f:4: since is set twice: first at /f:3" },
	{ "remote a {\nlocation = x\none_way = no\none_way = yes\n}\n",
	    "/f:4: one_way is set twice: first at /f:3" },
	{ "remote a {\none_way = yes\nlocation = x\nmode = backup\n}\n",
	    "/f:2: one_way does not go with mode = backup" },
	{ "remote a {\nlocation = x\nmax-size = 1M\n}\n",
	    "/f:3: unknown key of section 'remote' 'max-size' (did you mean "
	    "'max_size'?)" },
	{ "since = 1d\n", "/f:1: unknown key 'since'" },
	{ "remotes a {\n}\n",
	    "/f:1: unknown section 'remotes' (did you mean 'remote'?)" },
	{ "}\n", "/f:1: '}' without a section" } };

START_TEST(mistake_is_named_with_its_line)
{
	struct config c;
	int n = text(&c, wrong[_i].file);

	ck_assert_int_gt(n, 0);
	ck_assert_msg(strstr(said, wrong[_i].says) != NULL, "said: %s, not: %s",
	    said, wrong[_i].says);
	config_fini(&c);
}
END_TEST

START_TEST(every_mistake_is_named)
{
	struct config c;

	ck_assert_int_eq(text(&c, "a1 = 1\ncommit = 2\nb2 = 1\n}\n"), 3);
	ck_assert_ptr_nonnull(strstr(said, "/f:1:"));
	ck_assert_ptr_nonnull(strstr(said, "/f:3:"));
	ck_assert_ptr_nonnull(strstr(said, "/f:4:"));
	config_fini(&c);
}
END_TEST

START_TEST(nul_is_refused)
{
	struct config c;

	(void)text(&c, "");
	ck_assert_int_eq(config_text(&c, "/f", "commit\0= 1\n", 11), 1);
	ck_assert_ptr_nonnull(strstr(said, "NUL"));
	config_fini(&c);
}
END_TEST

START_TEST(values_are_taken)
{
	static const char file[] =
	    "# c\n  mail_location = maildir:~/a#b   # c\r\nremote = \"a "
	    "\\\"q\\\\\"\nsync=5min\ncommit = 2 s\n"
	    "max_delete = no\nexpunge_retention = 2w\ncache_size = "
	    "2M\nalt_char = '-'\nremote lap.top-1 {\n\tlocation = 'x # "
	    "y'\n\tmode = backup\n}";
	struct config c;
	const struct config_remote *r;

	ck_assert_int_eq(text(&c, file), 0);
	ck_assert_str_eq(c.mail_location.text, "maildir:~/a#b");
	ck_assert_str_eq(c.mail_location.origin, "/f:2");
	ck_assert_str_eq(c.remote.text, "a \"q\\");
	ck_assert_str_eq(c.sync.text, "5min");
	ck_assert_uint_eq(c.commit, 2);
	ck_assert_uint_eq(c.max_delete_percent, 0);
	ck_assert_int_eq(c.store.expunge_retention, 14 * 86400);
	ck_assert_uint_eq(c.store.cache_bytes, 2u << 20);
	ck_assert_uint_eq(c.store.dirty_bytes, 4u << 20);
	ck_assert_int_eq(c.alt_char, '-');
	r = config_remote_find(&c, "lap.top-1");
	ck_assert_ptr_nonnull(r);
	ck_assert_str_eq(r->location.text, "x # y");
	ck_assert_str_eq(r->mode.text, "backup");
	ck_assert_ptr_null(config_remote_find(&c, "x"));
	config_fini(&c);
}
END_TEST

static void
apply(struct cmd *c, struct options *o, struct options *out,
    const struct config_remote *r, int argc, const char *const *argv)
{
	ck_assert_int_eq(options_parse(o, argc, argv), 0);
	memset(c, 0, sizeof(*c));
	c->o = o;
	arena_init(&c->arena);
	ck_assert_int_eq(filters_apply(c, r, false, out), 0);
}

static const char filtered[] =
    "remote a {\nlocation = x\nmailbox = INBOX\nmailbox = Work/%\n"
    "exclude = \\Trash\nsince = 1d\nuntil = 2026-03-01\nmax_size = 2M\n"
    "flag = \"-\\\\Seen\"\none_way = yes\n}\n"
    "remote b {\nlocation = y\none_way = no\n}\n";

START_TEST(filters_are_options)
{
	const char *argv[] = { "x", "-v", "mirror", "a" },
		   *want[] = { "verbose", "mailbox", "mailbox", "exclude",
			   "since", "until", "max-size", "flag", "one-way" };
	struct options o, f;
	struct config k;
	struct cmd c;

	ck_assert_msg(text(&k, filtered) == 0, "%s", said);
	apply(&c, &o, &f, config_remote_find(&k, "a"), 4, argv);
	ck_assert_uint_eq(f.n_mailbox, 2);
	ck_assert_str_eq(f.mailbox[0], "INBOX");
	ck_assert_str_eq(f.mailbox[1], "Work/%");
	ck_assert_uint_eq(f.n_exclude, 1);
	ck_assert_str_eq(f.exclude[0], "\\Trash");
	ck_assert_int_le(f.since, (int64_t)time(NULL) - 86400);
	ck_assert_int_ge(f.since, (int64_t)time(NULL) - 86400 - 60);
	ck_assert_int_ne(f.until, 0);
	ck_assert_uint_eq(f.max_size, 2u << 20);
	ck_assert_str_eq(f.flag, "-\\Seen");
	ck_assert(f.one_way && f.verbose);
	ck_assert_uint_eq(f.n_given, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < f.n_given; i++)
		ck_assert_str_eq(f.given[i].name, want[i]);
	ck_assert_str_eq(f.given[4].value, "1d");
	ck_assert_ptr_null(f.given[8].value);
	ck_assert_uint_eq(o.n_given, 1);
	ck_assert_int_eq(
	    filters_apply(&c, config_remote_find(&k, "a"), true, &f), 64);
	ck_assert_ptr_nonnull(strstr(said, "/f:10: one_way is not for "));
	arena_fini(&c.arena);
	options_fini(&o);
	config_fini(&k);
}
END_TEST

START_TEST(option_replaces_filter)
{
	const char *argv[] = { "x", "-mB", "-t0", "-I1k", "mirror", "a" },
		   *guid[] = { "x", "-g", "00112233445566778899aabbccddeeff",
			   "-xC", "-e", "1700000000", "-O\\Draft", "mirror",
			   "a" };
	struct options o, f;
	struct config k;
	struct cmd c;

	ck_assert_int_eq(text(&k, filtered), 0);
	apply(&c, &o, &f, config_remote_find(&k, "a"), 6, argv);
	ck_assert_uint_eq(f.n_mailbox, 1);
	ck_assert_str_eq(f.mailbox[0], "B");
	ck_assert_uint_eq(f.n_exclude, 1);
	ck_assert_int_eq(f.since, 0);
	ck_assert_uint_eq(f.max_size, 1024);
	ck_assert_str_eq(f.flag, "-\\Seen");
	ck_assert_uint_eq(f.n_given, 7);
	arena_fini(&c.arena);
	options_fini(&o);
	apply(&c, &o, &f, config_remote_find(&k, "a"), 9, guid);
	ck_assert_uint_eq(f.n_mailbox, 0);
	ck_assert_str_eq(f.exclude[0], "C");
	ck_assert_int_eq(f.until, 1700000000);
	ck_assert_str_eq(f.flag, "\\Draft");
	arena_fini(&c.arena);
	options_fini(&o);
	apply(&c, &o, &f, config_remote_find(&k, "b"), 6, argv);
	ck_assert(!f.one_way);
	ck_assert_uint_eq(f.n_given, 3);
	ck_assert_int_eq(
	    filters_apply(&c, config_remote_find(&k, "b"), true, &f), 0);
	arena_fini(&c.arena);
	options_fini(&o);
	config_fini(&k);
}
END_TEST

START_TEST(template_is_valid_as_it_is_and_uncommented)
{
	struct config c;
	char plain[8192], *to = plain;

	ck_assert_int_eq(text(&c, config_template()), 0);
	config_fini(&c);
	for (const char *p = config_template(); *p != '\0'; p++)
		if (!(*p == '#' && (p == config_template() || p[-1] == '\n') &&
			(p[1] >= 'a' || p[1] == '\t')))
			*to++ = *p;
	*to = '\0';
	ck_assert_msg(text(&c, plain) == 0, "%s", said);
	ck_assert_uint_eq(c.n_remotes, 1);
	ck_assert_uint_eq(c.max_delete_percent, 50);
	config_fini(&c);
}
END_TEST

START_TEST(file_is_searched_and_overridden)
{
	char dir[] = "/tmp/dsyncfs-config.XXXXXX", path[300], data[300];
	const char *over[] = { "commit=7" }, *bad[] = { "comit=7" };
	struct config c;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("XDG_CONFIG_HOME", dir, 1);
	setenv("XDG_DATA_HOME", dir, 1);
	ck_assert_int_eq(config_load(&c, NULL, NULL, 0), 0);
	snprintf(data, sizeof(data), "dsyncfs:%s/dsyncfs", dir);
	ck_assert_str_eq(c.mail_location.text, data);
	ck_assert_str_eq(c.mail_location.origin, "default");
	ck_assert_uint_eq(c.max_delete_min, 20);
	config_fini(&c);

	snprintf(path, sizeof(path), "%s/dsyncfs", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	strcat(path, "/dsyncfs.conf");
	f = fopen(path, "w");
	fputs("commit = 3\nzstd_level = 0\n", f);
	fclose(f);
	ck_assert_int_eq(config_load(&c, NULL, over, 1), 0);
	ck_assert_uint_eq(c.commit, 7);
	ck_assert_int_eq(c.store.zstd_level, 0);
	ck_assert_str_eq(c.file, path);
	config_fini(&c);
	said[0] = '\0';
	log_set_sink(sink, NULL);
	ck_assert_int_eq(config_load(&c, NULL, bad, 1), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(
	    said, "option -o: unknown key 'comit' (did you mean 'commit'?)"));
	ck_assert_int_eq(
	    config_load(&c, "/nonexistent.conf", NULL, 0), -ENOENT);
	ck_assert_int_eq(config_load(&c, dir, NULL, 0), -EISDIR);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	rmdir(dir);
}
END_TEST

START_TEST(dovecot_files_are_recognised)
{
	ck_assert(dovecot_config_looks("# 2.3\nprotocols = imap\n"));
	ck_assert(dovecot_config_looks("  !include conf.d/*.conf\n"));
	ck_assert(dovecot_config_looks("dovecot_config_version = 2.4.0\n"));
	ck_assert(dovecot_config_looks("namespace {\n"));
	ck_assert(!dovecot_config_looks(config_template()));
	ck_assert(!dovecot_config_looks(
	    "mail_location = maildir:~/x\n# protocols\n"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, mistake_is_named_with_its_line, 0,
	    sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, every_mistake_is_named);
	tcase_add_test(t, nul_is_refused);
	tcase_add_test(t, values_are_taken);
	tcase_add_test(t, filters_are_options);
	tcase_add_test(t, option_replaces_filter);
	tcase_add_test(t, template_is_valid_as_it_is_and_uncommented);
	tcase_add_test(t, file_is_searched_and_overridden);
	tcase_add_test(t, dovecot_files_are_recognised);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return (failed == 0 ? 0 : 1);
}
