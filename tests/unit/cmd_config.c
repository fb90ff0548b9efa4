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
	ck_assert_int_eq(c.alt_char, '-');
	r = config_remote_find(&c, "lap.top-1");
	ck_assert_ptr_nonnull(r);
	ck_assert_str_eq(r->location.text, "x # y");
	ck_assert_str_eq(r->mode.text, "backup");
	ck_assert_ptr_null(config_remote_find(&c, "x"));
	config_fini(&c);
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
