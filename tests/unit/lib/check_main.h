/*
 * check_main -- the one way a unit test's main runs its suite.
 */
#ifndef DSYNCFS_TESTS_CHECK_MAIN_H
#define DSYNCFS_TESTS_CHECK_MAIN_H

#include <check.h>

/*
 * CK_FORK, CK_RUN_CASE and the like come from the environment.  Frees the
 * suite; 0 when every test passed, else 1.
 */
static inline int
run_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return (failed == 0 ? 0 : 1);
}

#endif
