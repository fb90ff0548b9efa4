/*
 * backends_sandbox -- what a process can do once it is closed, each in one of
 * its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/os_posix.h"
#include "backends/sandbox.h"
#include "base/os.h"
#include "lib/check_main.h"

static char dir[64];

static void
make_dirs(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, sizeof(dir), "%.40s/sandbox.XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(mkdir("in", 0700), 0);
	ck_assert_int_eq(mkdir("out", 0700), 0);
	ck_assert_int_eq(close(open("out/f", O_WRONLY | O_CREAT, 0600)), 0);
	ck_assert_int_eq(symlink("../out/f", "in/link"), 0);
}

static void
remove_dirs(void)
{
	(void)unlink("in/link");
	(void)unlink("in/f");
	(void)unlink("out/f");
	(void)rmdir("in");
	(void)rmdir("out");
	(void)rmdir(dir);
}

#ifndef UNSANDBOXED

static bool
has_landlock(void)
{
	return (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 2);
}

/* Of a call: 0, or its errno. */
static int
err(long result)
{
	return (result < 0 ? errno : 0);
}

static int
opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600), e = err(fd);

	if (fd >= 0)
		(void)close(fd);
	return (e);
}

/* In a child: 0 when what it finds is right, else the line of the mistake. */
static int
closed(unsigned flags, int (*look)(void))
{
	struct os *os;
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (os_posix_open("in", false, &os) != 0 ||
		    sandbox_linux.close(flags) != 0)
			_exit(255);
		status = look();
		os->ops->close_tree(os);
		_exit(status > 254 ? 254 : status);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return (WEXITSTATUS(status));
}

#define WANT(x)                                                                \
	do {                                                                   \
		if (!(x))                                                      \
			return (__LINE__);                                     \
	} while (0)

static int
look_at_files(void)
{
	int no = has_landlock() ? EACCES : 0;

	WANT(opens("in/f", O_RDWR | O_CREAT) == 0);
	WANT(opens("in", O_RDONLY | O_DIRECTORY) == 0);
	WANT(opens("out/f", O_RDONLY) == no);
	WANT(opens("in/link", O_RDONLY) == no);
	WANT(opens("in/../out/f", O_RDONLY) == no);
	WANT(opens("/etc/passwd", O_RDONLY) == no);
	WANT(opens("out/g", O_WRONLY | O_CREAT) == no || no == 0);
	WANT(err(chmod("out/f", 0666)) == EPERM);
	WANT(err(symlink("x", "in/y")) == EPERM);
	return (0);
}

START_TEST(only_open_trees_are_left)
{
	ck_assert_int_eq(closed(0, look_at_files), 0);
}
END_TEST

static int
look_at_calls(void)
{
	static const char *const argv[] = { "true", NULL };

	WANT(err(execve("/bin/true", (char *const *)(uintptr_t)argv, NULL)) ==
	    EPERM);
	WANT(err(fork()) == EPERM);
	WANT(err(socket(AF_UNIX, SOCK_STREAM, 0)) == EPERM);
	WANT(err(socket(AF_INET, SOCK_STREAM, 0)) == EPERM);
	WANT(err(setuid(getuid())) == EPERM);
	return (0);
}

START_TEST(no_program_process_or_socket_is_made)
{
	ck_assert_int_eq(closed(0, look_at_calls), 0);
}
END_TEST

static pid_t other;

static int
look_at_signals(void)
{
	WANT(err(kill(other, 0)) == 0);
	return (0);
}

/* For a process that has to end the program it talks to. */
START_TEST(signals_are_sent_where_that_was_asked_for)
{
	other = getpid();
	ck_assert_int_eq(closed(SANDBOX_SIGNALS, look_at_signals), 0);
}
END_TEST

#endif

static int
close_temporary(void)
{
	struct os *os;

	if (os_posix_temp(&os) != 0 || sandbox_linux.close(0) != 0)
		return (1);
	if (os->ops->mkdir(os, "a") != 0 || os->ops->mkdir(os, "a/b") != 0)
		return (2);
	os->ops->close_tree(os);
	return (0);
}

START_TEST(a_temporary_tree_is_still_removed)
{
	int status;
	pid_t pid;

	ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
	if ((pid = fork()) == 0)
		_exit(close_temporary());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(unlink("in/link"), 0);
	ck_assert_int_eq(unlink("out/f"), 0);
	ck_assert_int_eq(rmdir("in"), 0);
	ck_assert_int_eq(rmdir("out"), 0);
	/* which is empty then */
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("backends_sandbox");
	TCase *t = tcase_create("closed");

	tcase_add_checked_fixture(t, make_dirs, remove_dirs);
#ifndef UNSANDBOXED
	tcase_add_test(t, only_open_trees_are_left);
	tcase_add_test(t, no_program_process_or_socket_is_made);
	tcase_add_test(t, signals_are_sent_where_that_was_asked_for);
#endif
	tcase_add_test(t, a_temporary_tree_is_still_removed);
	suite_add_tcase(suite, t);
	return (run_suite(suite));
}
