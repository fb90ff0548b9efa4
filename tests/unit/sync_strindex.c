/*
 * sync_strindex -- keys that a peer chose to meet in one place do not meet.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/hash.h"
#include "lib/check_main.h"
#include "sync/strindex.h"

/* As many as fit a table of 4096 places, all with one place in XXH3. */
#define KEYS 3000
#define PLACES 4096

struct keys {
	char key[KEYS][12];
	unsigned asked;
};

static const char *
key_of(const void *arg, uint32_t i)
{
	struct keys *k = (struct keys *)(uintptr_t)arg;

	k->asked++;
	return (k->key[i]);
}

static struct keys *
keys_that_meet(void)
{
	struct keys *k = calloc(1, sizeof(*k));
	unsigned n = 0;

	ck_assert_ptr_nonnull(k);
	for (unsigned i = 0; n < KEYS; i++) {
		(void)snprintf(k->key[n], sizeof(k->key[n]), "g%08x", i);
		n += (xxh3_64(k->key[n], 9) & (PLACES - 1)) == 7;
	}
	return (k);
}

/* Counted in keys that were compared: all would be four and a half million. */
START_TEST(chosen_keys_cost_what_others_do)
{
	struct keys *k = keys_that_meet();
	struct strindex x;
	uint32_t at;

	strindex_init(&x, key_of, k);
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_int_eq(strindex_add(&x, i), 0);
	for (uint32_t i = 0; i < KEYS; i++) {
		ck_assert(strindex_find(&x, k->key[i], &at));
		ck_assert_uint_eq(at, i);
	}
	ck_assert_uint_lt(k->asked, 20 * KEYS);
	strindex_fini(&x);
	free(k);
}
END_TEST

struct entry {
	const char *key;
	UT_hash_handle hh;
};

/* uthash chains what meets: its longest chain says it. */
START_TEST(chosen_names_make_no_long_chains)
{
	struct keys *k = keys_that_meet();
	struct entry *all = calloc(KEYS, sizeof(*all)), *head = NULL;
	unsigned longest = 0;

	ck_assert_ptr_nonnull(all);
	for (size_t i = 0; i < KEYS; i++) {
		all[i].key = k->key[i];
		HASH_ADD_KEYPTR(hh, head, all[i].key, 9, &all[i]);
	}
	for (size_t i = 0; i < head->hh.tbl->num_buckets; i++)
		if (head->hh.tbl->buckets[i].count > longest)
			longest = head->hh.tbl->buckets[i].count;
	ck_assert_uint_lt(longest, 40);
	HASH_CLEAR(hh, head);
	free(all);
	free(k);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync_strindex");
	TCase *t = tcase_create("strindex");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, chosen_keys_cost_what_others_do);
	tcase_add_test(t, chosen_names_make_no_long_chains);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
