/*
 * cmd_users -- the file of -F, names of users, what of them stands in
 * LOCATION2, and the exit status of many.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"

static char said[65536];
static struct arena arena;

static void
sink(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static void
set_up(void)
{
	said[0] = '\0';
	log_set_sink(sink, NULL);
	arena_init(&arena);
}

static void
tear_down(void)
{
	arena_fini(&arena);
}

static const struct {
	const char *text, *names;
} good[] = { { "joe\n", "joe" }, { "joe", "joe" },
	{ "# all of us\n\njoe\n \t\r\n  ann\t# the boss\r\n#bob\n", "joe ann" },
	{ "joe\nann\njoe\n", "joe ann" },
	{ "joe@example.org\nj.o-e_2+x@b\n", "joe@example.org j.o-e_2+x@b" },
	{ ".joe\n0\n", ".joe 0" } };

START_TEST(file_names_users)
{
	struct user_list l;
	char names[256] = "";

	ck_assert_int_eq(
	    users_parse(&arena, good[_i].text, strlen(good[_i].text), "/f", &l),
	    0);
	for (size_t i = 0; i < l.n; i++) {
		strcat(names, i == 0 ? "" : " ");
		strcat(names, l.user[i].name);
		ck_assert(!l.user[i].known);
	}
	ck_assert_str_eq(names, good[_i].names);
	ck_assert_str_eq(said, "");
}
END_TEST

static const struct {
	const char *text, *says;
} bad[] = { { "", "/f: no user is named" }, { "# joe\n\n", "/f: no user" },
	{ "joe\nann bob\n", "/f:2: 'ann bob' is not valid" },
	{ "joe#1\n", "/f:1: 'joe#1' is not valid" },
	{ "-joe\n", "/f:1: '-joe' is not valid" },
	{ ".\n", "/f:1: '.' is not valid" },
	{ "\n..\n", "/f:2: '..' is not valid" },
	{ "a/b\n", "/f:1: 'a/b' is not valid" },
	{ "a:b\n", "/f:1: 'a:b' is not valid" },
	{ "a%u\n", "/f:1: 'a%u' is not valid" },
	{ "a;b\n", "/f:1: 'a;b' is not valid" },
	{ "$a\n", "/f:1: '$a' is not valid" },
	{ "j\xc3\xb6rg\n", "/f:1: 'j\xc3\xb6rg' is not valid" },
	{ "a,\njoe\n\nb,\n", "/f:4: 'b,' is not valid" } };

START_TEST(mistake_is_named_with_its_line)
{
	struct user_list l;

	ck_assert_int_eq(
	    users_parse(&arena, bad[_i].text, strlen(bad[_i].text), "/f", &l),
	    -EINVAL);
	ck_assert_msg(strstr(said, bad[_i].says) != NULL, "said: %s, not: %s",
	    said, bad[_i].says);
}
END_TEST

START_TEST(nul_and_length_are_refused)
{
	struct user_list l;
	char name[300];

	ck_assert_int_eq(users_parse(&arena, "a\0b\n", 4, "/f", &l), -EINVAL);
	memset(name, 'a', sizeof(name));
	ck_assert_int_eq(users_parse(&arena, name, 255, "/f", &l), 0);
	ck_assert_uint_eq(l.n, 1);
	ck_assert_int_eq(users_parse(&arena, name, 256, "/f", &l), -EINVAL);
}
END_TEST

START_TEST(many_names_are_kept_in_order)
{
	struct buf b = BUF_INIT;
	struct user_list l;
	char name[16];

	for (unsigned i = 0; i < 1000; i++)
		buf_printf(&b, "u%u\n", i);
	ck_assert_int_eq(
	    users_parse(&arena, (char *)b.data, b.len, "/f", &l), 0);
	ck_assert_uint_eq(l.n, 1000);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		ck_assert_str_eq(l.user[i].name, name);
	}
	buf_fini(&b);
}
END_TEST

static const struct {
	const char *text, *user, *home, *out;
} expand[] = { { "host", "joe", "/home/joe", "host" },
	{ "", "joe", "/home/joe", "" },
	{ "%u", "joe@x.org", "/h", "joe@x.org" },
	{ "-u%n", "joe@x.org", "/h", "-ujoe" },
	{ "%d/%n", "joe@x.org", "/h", "x.org/joe" },
	{ "%d/%n", "joe", "/h", "/joe" }, { "%d", "a@b@c", "/h", "b@c" },
	{ "%h/Mail", "joe", "/home/joe", "/home/joe/Mail" },
	{ "%%u%%", "joe", "/h", "%u%" }, { "%u%u", "%u", "/h", "%u%u" },
	{ "%h", "joe", "/home/j\xc3\xb6", "/home/j\xc3\xb6" },
	/* not ours to read where it is not asked for */
	{ "%u", "joe", "/home/a b", "joe" }, { "%", "joe", "/h", NULL },
	{ "%x", "joe", "/h", NULL }, { "a %s", "joe", "/h", NULL },
	{ "%{user}", "joe", "/h", NULL }, { "%h", "joe", "/home/a b", NULL },
	{ "%h", "joe", "/home/$(x)", NULL },
	{ "%h", "joe", "/home/a'b", NULL } };

START_TEST(variables_stand_for_the_user)
{
	const char *out = "untouched";
	int r = users_expand(&arena, expand[_i].text, expand[_i].user,
	    expand[_i].home, "/f:1", &out);

	if (expand[_i].out == NULL) {
		ck_assert_int_eq(r, -EINVAL);
		ck_assert_str_eq(out, "untouched");
		ck_assert_ptr_eq(strstr(said, "/f:1: "), said);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(out, expand[_i].out);
	ck_assert_str_eq(said, "");
}
END_TEST

/* What is written here goes on with the path of a location, on this machine. */
START_TEST(location_has_the_same_variables)
{
	static const char *const none[] = { NULL };
	static const struct driver d = { .name = "fake", .options = none };
	static const struct driver *const known[] = { &d, NULL };
	struct location l;

	setenv("USER", "joe@x.org", 1);
	setenv("HOME", "/home/joe d", 1);
	ck_assert_int_eq(
	    location_parse(&arena, known, "fake:/b/%d/%n/%u%%", "x", &l), 0);
	ck_assert_str_eq(l.path, "/b/x.org/joe/joe@x.org%");
	ck_assert_int_eq(
	    location_parse(&arena, known, "fake:%h/m", "x", &l), 0);
	ck_assert_str_eq(l.path, "/home/joe d/m");
	ck_assert_int_eq(
	    location_parse(&arena, known, "fake:/%s", "x", &l), -EINVAL);
	ck_assert_ptr_nonnull(strstr(said, "followed by h, u, n, d or %"));
	setenv("USER", "joe", 1);
	ck_assert_int_eq(
	    location_parse(&arena, known, "fake:/b/%d/%n", "x", &l), 0);
	ck_assert_str_eq(l.path, "/b//joe");
}
END_TEST

/* From the best to the worst. */
static const int order[] = { 0, 2, 75, 69, 4, 64, 78, 77, 1 };
#define ORDER (sizeof(order) / sizeof(order[0]))

START_TEST(worst_status_is_that_of_all)
{
	for (size_t i = 0; i < ORDER; i++)
		for (size_t k = 0; k < ORDER; k++)
			ck_assert_int_eq(many_worse(order[i], order[k]),
			    order[i > k ? i : k]);
	/* of something that is no status of ours */
	ck_assert_int_eq(many_worse(0, 99), 1);
	ck_assert_int_eq(many_worse(77, 99), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("users");
	TCase *t = tcase_create("users");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(
	    t, file_names_users, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(
	    t, mistake_is_named_with_its_line, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, nul_and_length_are_refused);
	tcase_add_test(t, many_names_are_kept_in_order);
	tcase_add_loop_test(t, variables_stand_for_the_user, 0,
	    sizeof(expand) / sizeof(expand[0]));
	tcase_add_test(t, location_has_the_same_variables);
	tcase_add_test(t, worst_status_is_that_of_all);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return (failed == 0 ? 0 : 1);
}
