/*
 * control_aside -- a process that is asked over a socket; descriptors that come
 * with a message have a place or are closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/aside.h"
#include "lib/check_main.h"

static int pair[2];

static void
setup(void)
{
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void
teardown(void)
{
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static int
lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	return (fd);
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return (fstat(a, &x) == 0 && fstat(b, &y) == 0 &&
	    x.st_ino == y.st_ino && x.st_dev == y.st_dev);
}

START_TEST(descriptors_come_in_order_into_free_places)
{
	int fds[3] = { -1, 12345, -1 };
	int sent[2] = { pair[0], pair[1] };
	char text[8];

	ck_assert_int_eq(aside_send(pair[0], "abc", 3, sent, 2, 0), 3);
	ck_assert_int_eq(aside_recv(pair[1], text, sizeof(text), fds, 3), 3);
	ck_assert_mem_eq(text, "abc", 3);
	ck_assert(same_file(fds[0], pair[0]));
	ck_assert_int_eq(fds[1], 12345);
	ck_assert(same_file(fds[2], pair[1]));
	ck_assert_int_eq(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	(void)close(fds[0]);
	(void)close(fds[2]);
}
END_TEST

/* _i places for three; more than fit a message are cut off by the kernel. */
START_TEST(those_without_a_place_are_closed)
{
	int fds[ASIDE_FDS] = { -1, -1, -1 }, next = lowest_free();
	int sent[ASIDE_FDS] = { pair[0], pair[0], pair[0] };
	char byte;

	ck_assert_int_eq(aside_send(pair[0], "x", 1, sent, ASIDE_FDS, 0), 1);
	ck_assert_int_eq(
	    aside_recv(pair[1], &byte, 1, fds, (size_t)_i), -EBADMSG);
	for (int i = 0; i < ASIDE_FDS; i++) {
		ck_assert(i < _i ? fds[i] >= 0 : fds[i] < 0);
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	ck_assert_int_eq(lowest_free(), next);
	ck_assert_int_eq(
	    aside_send(pair[0], "x", 1, sent, ASIDE_FDS + 1, 0), -EINVAL);
}
END_TEST

START_TEST(an_end_and_an_empty_socket)
{
	int none = 0;
	char byte;

	ck_assert_int_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(aside_recv(pair[1], &byte, 1, &none, 0), -EAGAIN);
	ck_assert_int_eq(shutdown(pair[0], SHUT_WR), 0);
	ck_assert_int_eq(aside_recv(pair[1], &byte, 1, &none, 0), 0);
	(void)shutdown(pair[1], SHUT_RDWR);
	ck_assert_int_eq(aside_send(pair[0], "x", 1, NULL, 0, 0), -EPIPE);
}
END_TEST

/* Says what it is asked, and which descriptors it has. */
static void
echo(const void *arg, int fd)
{
	char text[64];
	ssize_t n;
	int open_ones = 0;

	for (int i = 0; i < 256; i++)
		open_ones += fcntl(i, F_GETFD) >= 0;
	while ((n = aside_recv(fd, text, sizeof(text), NULL, 0)) > 0) {
		n = snprintf(text + n, sizeof(text) - (size_t)n, "%s%d",
			(const char *)arg, open_ones) +
		    n;
		if (aside_send(fd, text, (size_t)n, NULL, 0, 0) < 0)
			break;
	}
}

START_TEST(a_process_is_asked_and_ends_with_its_socket)
{
	struct aside a;
	char text[64] = "";

	ck_assert_int_eq(aside_start("dsyncfs-echo", echo, "-", &a), 0);
	ck_assert_int_eq(aside_send(a.fd, "ask", 3, NULL, 0, 0), 3);
	ck_assert_int_gt(aside_recv(a.fd, text, sizeof(text) - 1, NULL, 0), 0);
	ck_assert_str_eq(text, "ask-4"); /* three streams and its socket */
	aside_stop(&a);
	ck_assert_int_eq(kill(a.pid, 0), -1);
	ck_assert_int_eq(errno, ESRCH);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control_aside");
	TCase *t = tcase_create("aside");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, descriptors_come_in_order_into_free_places);
	tcase_add_loop_test(t, those_without_a_place_are_closed, 0, ASIDE_FDS);
	tcase_add_test(t, an_end_and_an_empty_socket);
	tcase_add_test(t, a_process_is_asked_and_ends_with_its_socket);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
