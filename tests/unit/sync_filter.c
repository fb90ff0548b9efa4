/*
 * sync_filter -- masks of mailbox names: as the plainest way of trying them says,
 * and in no time whatever a peer sends.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/name.h"
#include "lib/check_main.h"
#include "sync/brain_internal.h"

/* -m (list) or -x. */
static bool
taken(const char *mask, const char *name, bool list)
{
	const char *masks[] = { mask };
	struct item_handshake p = { 0 };

	if (list) {
		p.mailbox = masks;
		p.mailboxes = 1;
		return (brain_filter_name(&p, name));
	}
	p.exclude = masks;
	p.excludes = 1;
	return (!brain_filter_name(&p, name));
}

static const struct {
	const char *mask, *name;
	bool m, x; /* does it match as one of -m, of -x */
} known[] = {
	{ "INBOX", "INBOX", true, true },
	{ "INBOX", "INBOXES", false, false },
	{ "INBO", "INBOX", false, false },
	{ "*", "a/b/c", true, true },
	{ "%", "a", true, false },
	{ "%", "a/b", false, false },
	{ "%/%", "a/b", true, false },
	{ "%/%", "a/b/c", false, false },
	{ "a*c", "a/b/c", true, true },
	{ "a%c", "a/b/c", false, false },
	{ "*%", "a/b", true, false },
	{ "%*", "a/b", true, false },
	{ "%%b", "aab", true, false },
	{ "*a*b*c*", "xxaxxbxxcxx", true, true },
	{ "*ab", "aab", true, true },
	{ "*aab", "aaaab", true, true },
	{ "a?c", "abc", false, true },
	{ "a?c", "a?c", true, true },
	{ "a?", "a", false, false },
	{ "100%", "100%", true, true },
	{ "", "a", false, false },
	{ "*x", "abc", false, false },
	{ "\\Trash", "Trash", true, true },
	{ "\\Trash", "Trash2", false, false },
};

START_TEST(masks_match_what_they_say)
{
	ck_assert_msg(taken(known[_i].mask, known[_i].name, true) == known[_i].m,
	    "-m '%s' and %s", known[_i].mask, known[_i].name);
	ck_assert_msg(
	    taken(known[_i].mask, known[_i].name, false) == known[_i].x,
	    "-x '%s' and %s", known[_i].mask, known[_i].name);
}
END_TEST

/* One way after the other. */
static bool
plainly(const char *mask, const char *name, bool list)
{
	if (*mask == '\0')
		return (*name == '\0');
	if (*mask == '*' || (list && *mask == '%'))
		return (plainly(mask + 1, name, list) ||
		    (*name != '\0' && (*mask == '*' || *name != '/') &&
			plainly(mask, name + 1, list)));
	return (*name != '\0' &&
	    (*mask == *name || (!list && *mask == '?')) &&
	    plainly(mask + 1, name + 1, list));
}

static uint32_t
draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return ((*seed >> 8) % below);
}

START_TEST(random_masks_match_as_plainly)
{
	static const char letters[] = "ab/ab*%?";
	unsigned yes = 0, n;
	uint32_t seed = 1;

	for (n = 0; n < 200000; n++) {
		char mask[8], name[9];
		bool list = draw(&seed, 2) == 1, want;
		size_t k = 1 + draw(&seed, sizeof(mask) - 1), i;

		for (i = 0; i < k; i++)
			mask[i] = letters[draw(&seed, 8)];
		mask[i] = '\0';
		k = 1 + draw(&seed, sizeof(name) - 1);
		for (i = 0; i < k; i++)
			name[i] = letters[draw(&seed, 3)];
		name[i] = '\0';
		want = plainly(mask, name, list);
		yes += want;
		ck_assert_msg(taken(mask, name, list) == want, "%s '%s' and %s",
		    list ? "-m" : "-x", mask, name);
	}
	ck_assert_uint_gt(yes, n / 50);
}
END_TEST

/* One way after the other these take longer than anybody lives. */
START_TEST(hostile_masks_are_tried_at_once)
{
	static char mask[3 * NAME_MAX_BYTES + 4], name[2 * NAME_MAX_BYTES];
	size_t at = 0;

	for (size_t i = 0; i < NAME_MAX_BYTES; i++) {
		memcpy(mask + at, _i == 0 ? "*a" : "%*a", 3);
		at += _i == 0 ? 2 : 3;
	}
	memset(name, 'a', NAME_MAX_BYTES);
	ck_assert(taken(mask, name, true));
	(void)strcpy(mask + at, "b");
	ck_assert(!taken(mask, name, true));
	name[NAME_MAX_BYTES - 1] = 'b';
	ck_assert(!taken(mask, name, true));
	mask[at - (_i == 0 ? 2u : 3u)] = 'b';
	mask[at - (_i == 0 ? 1u : 2u)] = '\0';
	ck_assert(taken(mask, name, true));
	/* no name is that long */
	memset(name, 'a', sizeof(name) - 1);
	ck_assert(!taken("*", name, true));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_filter");
	TCase *t = tcase_create("masks");

	tcase_add_loop_test(t, masks_match_what_they_say, 0,
	    sizeof(known) / sizeof(known[0]));
	tcase_add_test(t, random_masks_match_as_plainly);
	tcase_add_loop_test(t, hostile_masks_are_tried_at_once, 0, 2);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
