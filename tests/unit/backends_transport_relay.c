/*
 * backends_transport_relay -- a link that another process has: bytes both ways,
 * its words, its ends; and a process that lies.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/transport/transport_internal.h"
#include "base/log.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/transport_help.h"

#define BIG (5u << 20)

static char in[1 << 16];
static size_t got;
static pid_t child;

static void
to_relay(void *arg, enum log_level level, const char *line)
{
	relay_say(arg, (int)level, line);
}

/* The process that has the link to a shell with this script. */
static _Noreturn void
have(const char *script, struct relay_ends *e)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct link_pipe_options o = { .argv = argv, .peer = "far" };
	struct link *l;

	log_set_sink(to_relay, e);
	if (link_pipe_new(&o, &l) == 0)
		relay_run(l, e);
	_exit(0);
}

static struct link *
run_sh(const char *script)
{
	struct relay_ends ours, theirs;
	struct link *l = NULL;

	said_begin();
	ck_assert_int_eq(relay_pair(&ours, &theirs), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		(void)close(ours.data);
		(void)close(ours.talk);
		have(script, &theirs);
	}
	(void)close(theirs.data);
	(void)close(theirs.talk);
	ck_assert_int_eq(link_relay_new(&ours, NULL, &l), 0);
	ck_assert_str_eq(l->peer, "far");
	return (l);
}

static void
end(struct link *l)
{
	int status;

	l->ops->close(l);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
assert_said(const char *text)
{
	ck_assert_msg(said(text), "'%s' is not in: %.2000s", text, said_all());
}

START_TEST(bytes_go_to_and_fro)
{
	struct link *l = run_sh("cat");

	ck_assert_int_eq(link_write_all(l, "hello", 5), 0);
	ck_assert_int_eq(link_shut_all(l), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 5);
	ck_assert_mem_eq(in, "hello", 5);
	/* the end stays */
	ck_assert_int_eq(l->ops->read(l, in, 1), 0);
	end(l);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(much_goes_both_ways_without_deadlock)
{
	struct link *l = run_sh("cat");

	ck_assert_int_eq(link_echo(l, BIG), 0);
	end(l);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(how_it_ended_is_told_here)
{
	struct link *l = run_sh("echo out; echo words >&2; exit 3");

	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -EPIPE);
	ck_assert_uint_eq(got, 4);
	assert_said("far: words\n");
	assert_said("far: the command ended with status 3\n");
	ck_assert_int_eq(l->ops->read(l, in, 1), -EPIPE);
	ck_assert_int_eq(l->ops->write(l, in, 1), -EPIPE);
	end(l);
	ck_assert_uint_eq(said_lines(), 2);
}
END_TEST

START_TEST(a_program_that_is_missing_is_told_here)
{
	struct link *l = run_sh("exec /nowhere/at-all");

	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -ENOENT);
	end(l);
}
END_TEST

START_TEST(one_that_takes_no_more_can_still_be_read)
{
	struct link *l = run_sh("exec <&-; sleep 0.2; echo words; sleep 0.2");
	ssize_t n;

	do {
		ck_assert_int_eq(l->ops->wait(l, 1, -1, HELP_MS), 0);
		n = l->ops->write(l, in, sizeof(in));
	} while (n > 0 || n == -EAGAIN);
	ck_assert_int_eq(n, -EPIPE);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 6);
	end(l);
}
END_TEST

START_TEST(to_close_it_hangs_up_over_there)
{
	struct link *l = run_sh("echo x; cat >/dev/null; exit 0");

	ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	ck_assert_int_eq(l->ops->read(l, in, 1), 1);
	end(l);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(what_is_said_meanwhile_is_told)
{
	struct link *l = run_sh("echo words >&2; read x; echo y");

	while (!said("far: words\n"))
		(void)l->ops->wait(l, 0, -1, 50);
	ck_assert_int_eq(l->ops->wait(l, 0, -1, 1), -ETIMEDOUT);
	ck_assert_int_eq(link_write_all(l, "go\n", 3), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 2);
	end(l);
}
END_TEST

START_TEST(a_descriptor_of_the_callers_ends_a_wait)
{
	struct link *l = run_sh("cat");
	int other[2];

	ck_assert_int_eq(pipe(other), 0);
	ck_assert_int_eq(l->ops->wait(l, 0, other[0], 1), -ETIMEDOUT);
	ck_assert_int_eq(write(other[1], "x", 1), 1);
	ck_assert_int_eq(l->ops->wait(l, 0, other[0], HELP_MS), 0);
	ck_assert_int_eq(l->ops->read(l, in, 1), -EAGAIN);
	(void)close(other[0]);
	(void)close(other[1]);
	end(l);
}
END_TEST

START_TEST(a_process_that_dies_is_a_cut_connection)
{
	struct link *l = run_sh("exec sleep 60");

	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -ECONNRESET);
	assert_said("far: the connection was cut\n");
	l->ops->close(l);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* ---- a process that lies ---- */

static struct link *
lies(const char *packet, size_t n)
{
	struct relay_ends ours = { -1, -1 }, theirs;
	struct link *l = NULL;

	said_begin();
	ck_assert_int_eq(relay_pair(&ours, &theirs), 0);
	ck_assert_int_eq(send(theirs.talk, "Pfar", 4, 0), 4);
	if (n != 0)
		ck_assert_int_eq(send(theirs.talk, packet, n, 0), (ssize_t)n);
	(void)close(theirs.talk);
	(void)close(theirs.data);
	ck_assert_int_eq(link_relay_new(&ours, NULL, &l), 0);
	return (l);
}

static const struct {
	const char *packet;
	size_t n;
	int error;
	const char *said;
} lie[] = { { "", 0, -ECONNRESET, "far: the connection was cut\n" },
	{ "Z", 1, -ECONNRESET, "far: the connection was cut\n" },
	{ "E", 1, -ECONNRESET, "far: the connection was cut\n" },
	{ "E\x01\0\0\0", 5, 0, "" }, { "E\0\0\0\x80", 5, 0, "" },
	{ "E\xfb\xff\xff\xff", 5, -EIO, "" },
	{ "L\x7fline", 6, -ECONNRESET, "far: the connection was cut\n" },
	{ "L\x02\033[31mred", 10, -ECONNRESET, "?[31mred\n" },
	{ "Pother", 6, -ECONNRESET, "far: the connection was cut\n" } };

START_TEST(lies_do_no_harm)
{
	struct link *l = lies(lie[_i].packet, lie[_i].n);

	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), lie[_i].error);
	assert_said(lie[_i].said);
	l->ops->close(l);
}
END_TEST

START_TEST(one_that_says_nothing_is_given_up)
{
	const struct link_limits limits = { .connect_ms = 50 };
	struct relay_ends ours, theirs;
	struct link *l = NULL;

	said_begin();
	ck_assert_int_eq(relay_pair(&ours, &theirs), 0);
	ck_assert_int_eq(link_relay_new(&ours, &limits, &l), -EPROTO);
	assert_said("says nothing of it\n");
	(void)close(theirs.talk);
	(void)close(theirs.data);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("backends_transport_relay");
	TCase *t = tcase_create("relay");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, bytes_go_to_and_fro);
	tcase_add_test(t, much_goes_both_ways_without_deadlock);
	tcase_add_test(t, how_it_ended_is_told_here);
	tcase_add_test(t, a_program_that_is_missing_is_told_here);
	tcase_add_test(t, one_that_takes_no_more_can_still_be_read);
	tcase_add_test(t, to_close_it_hangs_up_over_there);
	tcase_add_test(t, what_is_said_meanwhile_is_told);
	tcase_add_test(t, a_descriptor_of_the_callers_ends_a_wait);
	tcase_add_test(t, a_process_that_dies_is_a_cut_connection);
	tcase_add_loop_test(
	    t, lies_do_no_harm, 0, (int)(sizeof(lie) / sizeof(lie[0])));
	tcase_add_test(t, one_that_says_nothing_is_given_up);
	suite_add_tcase(s, t);
	return (s);
}

int
main(void)
{
	return (run_suite(suite()));
}
