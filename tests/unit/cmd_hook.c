/*
 * cmd_hook -- post_sync_command: what it is given, how its end is taken, and
 * that nobody who is told to stop waits for it; and the same by a launcher.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "cmd/cmd_internal.h"
#include "cmd/launcher.h"
#include "lib/check_main.h"

static const char *const names[] = { "INBOX", "a/b c" };

static int
hook(const char *command, const atomic_int *stop)
{
	return (hook_run(command, names, 2, stop));
}

START_TEST(names_come_on_standard_input_a_line_each)
{
	ck_assert_int_eq(
	    hook("test \"$(cat)\" = \"$(printf 'INBOX\\na/b c')\"", NULL), 0);
}
END_TEST

START_TEST(a_bad_end_is_an_error)
{
	ck_assert_int_eq(hook("exit 3", NULL), -ECHILD);
	ck_assert_int_eq(hook("kill -9 $$", NULL), -ECHILD);
	ck_assert_int_eq(hook("exit 0", NULL), 0);
}
END_TEST

static atomic_int stop;

static void
on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* Told before, or by the command while it runs, which holds a pipe's end. */
START_TEST(told_to_stop_it_ends_the_command)
{
	int fd[2];
	char c;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_ptr_ne(signal(SIGUSR1, on_signal), SIG_ERR);
	stop = _i;
	ck_assert_int_eq(
	    hook(_i == 0 ? "kill -USR1 $PPID; exec sleep 1000" : "sleep 1000",
		&stop),
	    -EINTR);
	(void)close(fd[1]);
	ck_assert_int_eq(read(fd[0], &c, 1), 0);
	(void)close(fd[0]);
}
END_TEST

START_TEST(a_launcher_runs_its_command_and_no_other)
{
	struct launcher *l;

	ck_assert_int_eq(
	    launcher_start(
		"test \"$(cat)\" = \"$(printf 'INBOX\\na/b c')\"", &l),
	    0);
	ck_assert_int_eq(launcher_hook(l, names, 2, NULL), 0);
	ck_assert_int_eq(launcher_hook(l, names, 1, NULL), -ECHILD);
	ck_assert_int_eq(launcher_hook(l, names, 2, NULL), 0);
	launcher_free(l);
}
END_TEST

START_TEST(a_launcher_is_told_to_stop)
{
	struct launcher *l;

	stop = 1;
	ck_assert_int_eq(launcher_start("sleep 1000", &l), 0);
	ck_assert_int_eq(launcher_hook(l, names, 2, &stop), -EINTR);
	launcher_free(l);
}
END_TEST

/* Neither the store nor the peer is the command's affair. */
START_TEST(a_launcher_has_no_descriptor_of_ours)
{
	int fd[2];
	struct launcher *l;
	char c;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(launcher_start("true", &l), 0);
	ck_assert_int_eq(launcher_hook(l, names, 2, NULL), 0);
	(void)close(fd[1]);
	ck_assert_int_eq(read(fd[0], &c, 1), 0);
	(void)close(fd[0]);
	launcher_free(l);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cmd_hook");
	TCase *t = tcase_create("hook");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, names_come_on_standard_input_a_line_each);
	tcase_add_test(t, a_bad_end_is_an_error);
	tcase_add_loop_test(t, told_to_stop_it_ends_the_command, 0, 2);
	tcase_add_test(t, a_launcher_runs_its_command_and_no_other);
	tcase_add_test(t, a_launcher_is_told_to_stop);
	tcase_add_test(t, a_launcher_has_no_descriptor_of_ours);
	suite_add_tcase(suite, t);
	return (run_suite(suite));
}
