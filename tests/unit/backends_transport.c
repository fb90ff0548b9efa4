/*
 * backends_transport -- links over real children and descriptors, command lines
 * and addresses as people write them, secrets.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/transport/transport_internal.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/transport_help.h"

#define BIG (5u << 20)

static char in[1 << 16];
static size_t got;

static struct link *
run_with(const char *const *argv, const char *peer, unsigned grace_ms)
{
	struct link_limits limits = { .grace_ms = grace_ms };
	struct link_pipe_options o = {
		.argv = argv, .peer = peer, .limits = &limits
	};
	struct link *l;

	said_begin();
	ck_assert_int_eq(link_pipe_new(&o, &l), 0);
	return (l);
}

static struct link *
run_sh(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };

	return (run_with(argv, "far", 0));
}

/* Runs it without input; its result, output in in. */
static int
result_of(const char *script)
{
	struct link *l = run_sh(script);
	int r;

	ck_assert_int_eq(link_shut_all(l), 0);
	r = link_read_all(l, in, sizeof(in) - 1, &got);
	in[got] = '\0';
	l->ops->close(l);
	return (r);
}

static void
assert_said(const char *text)
{
	ck_assert_msg(said(text), "'%s' is not in: %.2000s", text, said_all());
}

/* ---- a command ---- */

START_TEST(a_command_gives_back_what_it_gets)
{
	const char *argv[] = { "cat", NULL };
	struct link *l = run_with(argv, NULL, 0);

	ck_assert_str_eq(l->peer, "cat");
	ck_assert_int_eq(link_write_all(l, "hello", 5), 0);
	ck_assert_int_eq(link_shut_all(l), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 5);
	ck_assert(memcmp(in, "hello", 5) == 0);
	l->ops->close(l);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(much_goes_both_ways_without_deadlock)
{
	const char *argv[] = { "cat", NULL };
	struct link *l = run_with(argv, NULL, 0);

	ck_assert_int_eq(link_echo(l, BIG), 0);
	l->ops->close(l);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(much_on_standard_error_does_not_stop_the_stream)
{
	struct link *l = run_sh("dd if=/dev/zero bs=1k count=900 2>/dev/null |"
				"tr '\\0' 'x' >&2; echo >&2; cat");

	ck_assert_int_eq(link_echo(l, BIG), 0);
	l->ops->close(l);
	ck_assert_uint_eq(said_lines(), 1);
	assert_said("xxx...\n");
}
END_TEST

START_TEST(lines_of_standard_error_are_reported_with_the_peer)
{
	ck_assert_int_eq(result_of("echo one >&2; printf 'two\\r\\n\\nthree' "
				   ">&2; printf 'a\\033[31mb\\n' >&2"),
	    0);
	assert_said("far: one\n");
	assert_said("far: two\n");
	assert_said("far: threea?[31mb\n");
	ck_assert_uint_eq(said_lines(), 3);
}
END_TEST

START_TEST(a_flood_of_lines_is_cut_and_said_so)
{
	ck_assert_int_eq(
	    result_of("i=0; while [ $i -lt 11000 ]; do echo; echo x >&2; "
		      "i=$((i+1)); done"),
	    0);
	ck_assert_uint_le(said_lines(), 10000);
	assert_said("the rest is left out");
}
END_TEST

START_TEST(a_status_is_told_in_words)
{
	static const struct {
		const char *script, *words;
		int r;
	} t[] = { { "exit 0", NULL, 0 },
		{ "exit 3", "far: the command ended with status 3", -EPIPE },
		{ "exit 127", "status 127: command not found", -ENOENT },
		{ "exit 126", "status 126: the command cannot be run",
		    -ENOENT },
		{ "kill -9 $$", "was killed by signal 9 (Killed)", -EPIPE } };

	ck_assert_int_eq(result_of(t[_i].script), t[_i].r);
	if (t[_i].words != NULL)
		assert_said(t[_i].words);
	ck_assert_uint_eq(said_lines(), t[_i].words != NULL);
}
END_TEST

START_TEST(what_a_failing_command_said_is_read_first)
{
	ck_assert_int_eq(result_of("printf last; exit 4"), -EPIPE);
	ck_assert_str_eq(in, "last");
}
END_TEST

START_TEST(an_error_stays)
{
	struct link *l = run_sh("exit 3");

	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -EPIPE);
	ck_assert_int_eq(l->ops->read(l, in, 1), -EPIPE);
	ck_assert_int_eq(l->ops->write(l, in, 1), -EPIPE);
	ck_assert_int_eq(l->ops->shut(l), -EPIPE);
	ck_assert_int_eq(l->ops->wait(l, 1, -1, HELP_MS), 0);
	l->ops->close(l);
	ck_assert_uint_eq(said_lines(), 1);
}
END_TEST

START_TEST(writing_to_a_dead_command_is_no_signal_and_read_tells_why)
{
	struct link *l = run_sh("exec <&-; printf bye; kill -15 $$");
	int r;

	do
		r = link_write_all(l, in, sizeof(in));
	while (r == 0);
	ck_assert_int_eq(r, -EPIPE);
	ck_assert_str_eq(said_all(), "");
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -EPIPE);
	ck_assert_uint_eq(got, 3);
	assert_said("was killed by signal 15");
	l->ops->close(l);
}
END_TEST

START_TEST(a_grandchild_that_holds_the_output_does_not_hold_us)
{
	/* it ends when the fifo is opened, which is after the link's end */
	char dir[] = "/tmp/dsyncfs-hold.XXXXXX", script[200], fifo[64];
	struct link *l;
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/f", dir);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	snprintf(script, sizeof(script),
	    "(trap '' TERM HUP; read x <%s) & printf out; exit 0", fifo);
	l = run_sh(script);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 3);
	l->ops->close(l);
	fd = open(fifo, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "\n", 1), 1);
	close(fd);
	unlink(fifo);
	rmdir(dir);
}
END_TEST

START_TEST(one_that_does_not_end_is_killed)
{
	const char *argv[] = { "sh", "-c",
		"trap '' PIPE; exec 3<&0; echo $$; "
		"while :; do read x || read x </dev/zero; done",
		NULL };
	struct link *l = run_with(argv, "far", 10);
	pid_t pid;

	while (l->ops->read(l, in, sizeof(in)) == -EAGAIN)
		ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	pid = (pid_t)atol(in);
	ck_assert_int_gt(pid, 1);
	ck_assert_int_eq(kill(pid, 0), 0);
	l->ops->close(l);
	assert_said("far: the command does not end: killed");
	ck_assert_int_eq(kill(pid, 0), -1);
}
END_TEST

/* It was waited for in vain, and killed, as long as its input stayed open. */
START_TEST(one_that_reads_to_its_end_may_end)
{
	const char *argv[] = { "sh", "-c",
		"echo all; exec >&-; cat >/dev/null; exit 3", NULL };
	struct link *l = run_with(argv, "far", HELP_MS);
	ssize_t n;

	while ((n = l->ops->read(l, in, sizeof(in))) == -EAGAIN || n > 0)
		if (n < 0)
			ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	/* its own end is seen, not only that of its output */
	assert_said("far: the command ended with status 3");
	l->ops->close(l);
}
END_TEST

START_TEST(waiting_has_an_end)
{
	const char *argv[] = { "cat", NULL };
	struct link *l = run_with(argv, NULL, 0);

	ck_assert_int_eq(l->ops->read(l, in, sizeof(in)), -EAGAIN);
	ck_assert_int_eq(l->ops->wait(l, 0, -1, 1), -ETIMEDOUT);
	ck_assert_int_eq(l->ops->wait(l, 1, -1, HELP_MS), 0);
	l->ops->close(l);
}
END_TEST

START_TEST(waiting_has_an_end_however_much_is_said)
{
	const char *argv[] = { "sh", "-c", "yes >&2; exit", NULL };
	struct link *l = run_with(argv, "far", 1);

	ck_assert_int_eq(l->ops->wait(l, 0, -1, 50), -ETIMEDOUT);
	assert_said("far: y\n");
	l->ops->close(l);
}
END_TEST

START_TEST(a_command_that_is_not_there_is_an_error)
{
	const char *argv[] = { "/nonexistent/dsync", "x", NULL };
	struct link_pipe_options o = { .argv = argv };
	struct link *l = NULL;

	said_begin();
	ck_assert_int_eq(link_pipe_new(&o, &l), -ENOENT);
	ck_assert_ptr_null(l);
	assert_said("cannot run /nonexistent/dsync: no such command");
	argv[0] = "";
	ck_assert_int_eq(link_pipe_new(&o, &l), -EINVAL);
}
END_TEST

START_TEST(the_environment_is_cleared)
{
	setenv("DOVECONF_ENV", "1", 1);
	setenv("LD_PRELOAD_NOT", "x", 1);
	setenv("LC_TIME", "C", 1);
	setenv("SSH_AUTH_SOCK", "/agent", 1);
	setenv("XDG_RUNTIME_DIR", "/run/x", 1);
	ck_assert_int_eq(result_of("env"), 0);
	ck_assert_ptr_null(strstr(in, "DOVECONF"));
	ck_assert_ptr_null(strstr(in, "LD_PRELOAD"));
	ck_assert_ptr_null(strstr(in, "CK_"));
	ck_assert_ptr_nonnull(strstr(in, "LC_TIME=C\n"));
	ck_assert_ptr_nonnull(strstr(in, "SSH_AUTH_SOCK=/agent\n"));
	ck_assert_ptr_nonnull(strstr(in, "XDG_RUNTIME_DIR=/run/x\n"));
	ck_assert_ptr_nonnull(strstr(in, "PATH="));
}
END_TEST

START_TEST(no_descriptor_of_ours_is_inherited)
{
	int fd = open("/dev/null", O_RDONLY);

	ck_assert_int_gt(dup2(fd, 77), 0);
	ck_assert_int_eq(result_of("ls /proc/self/fd"), 0);
	/* 3 is what ls itself opens */
	ck_assert_str_eq(in, "0\n1\n2\n3\n");
	close(77);
	close(fd);
}
END_TEST

START_TEST(it_leads_a_session_unless_it_may_use_the_terminal)
{
	const char *argv[] = { "sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat",
		NULL };
	struct link_pipe_options o = { .argv = argv };
	struct link *l;
	int pid, group, session;

	said_begin();
	o.terminal = _i;
	ck_assert_int_eq(link_pipe_new(&o, &l), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in) - 1, &got), 0);
	in[got] = '\0';
	l->ops->close(l);
	ck_assert_int_eq(sscanf(in, "%d %d %d", &pid, &group, &session), 3);
	ck_assert_int_eq(group, _i ? getpgrp() : pid);
	ck_assert_int_eq(session, _i ? getsid(0) : pid);
}
END_TEST

START_TEST(its_signals_are_the_default_ones)
{
	unsigned long mask;

	ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
	ck_assert_int_eq(result_of("grep SigIgn /proc/self/status"), 0);
	ck_assert_int_eq(sscanf(in, "SigIgn: %lx", &mask), 1);
	/* 32 and 33 are the C library's own */
	ck_assert_uint_eq(mask & 0x7fffffffu, 0);
}
END_TEST

START_TEST(one_can_open_its_standard_files_by_name)
{
	ck_assert_int_eq(
	    result_of("echo a >/dev/stdout; echo b >/dev/stderr"), 0);
	ck_assert_str_eq(in, "a\n");
	assert_said("far: b\n");
}
END_TEST

static bool
stop_now(void *arg)
{
	(void)arg;
	return (true);
}

START_TEST(a_stop_ends_the_wait_for_a_command)
{
	struct link_limits limits = { .stop = stop_now };
	const char *argv[] = { "sh", "-c", "exec 1>&-; read x", NULL };
	struct link_pipe_options o = { .argv = argv, .limits = &limits };
	struct link *l;

	said_begin();
	ck_assert_int_eq(link_pipe_new(&o, &l), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	l->ops->close(l);
	ck_assert(!said("does not end"));
}
END_TEST

/* ---- descriptors ---- */

START_TEST(descriptors_carry_much_both_ways)
{
	int a[2], b[2], s[2];
	struct link *l;
	pid_t pid;

	said_begin();
	if (_i == 0) {
		ck_assert_int_eq(pipe(a), 0);
		ck_assert_int_eq(pipe(b), 0);
	} else {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
		a[0] = b[1] = s[0];
		b[0] = a[1] = s[1];
	}
	/* the child echoes a to b */
	if ((pid = fork()) == 0) {
		dup2(a[0], 0);
		dup2(b[1], 1);
		closefrom(3);
		execlp("cat", "cat", (char *)NULL);
		_exit(127);
	}
	close(a[0]);
	if (_i == 0)
		close(b[1]);
	ck_assert_int_eq(link_fds_new(b[0], a[1], "them", &l), 0);
	ck_assert_int_eq(link_echo(l, BIG), 0);
	ck_assert_int_eq(l->ops->write(l, "x", 1), -EPIPE);
	l->ops->close(l);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(descriptors_are_not_made_non_blocking)
{
	int a[2], b[2];
	struct link *l;

	said_begin();
	ck_assert_int_eq(pipe(a), 0);
	ck_assert_int_eq(pipe(b), 0);
	ck_assert_int_eq(link_fds_new(a[0], b[1], "them", &l), 0);
	ck_assert_int_eq(l->ops->read(l, in, 1), -EAGAIN);
	ck_assert_int_eq(l->ops->wait(l, 0, -1, 1), -ETIMEDOUT);
	/* until the pipe is full */
	while (l->ops->write(l, in, sizeof(in)) > 0)
		continue;
	ck_assert_int_eq(l->ops->write(l, in, sizeof(in)), -EAGAIN);
	ck_assert_int_eq(fcntl(a[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(b[1], F_GETFL) & O_NONBLOCK, 0);
	close(a[1]);
	ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	ck_assert_int_eq(l->ops->read(l, in, 1), 0);
	/* an end that is known does not cut the wait for room short */
	ck_assert_int_eq(l->ops->wait(l, 1, -1, 1), -ETIMEDOUT);
	ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	l->ops->close(l);
	close(b[0]);
}
END_TEST

START_TEST(standard_output_is_taken_away_from_others)
{
	int to[2], from[2];
	int in_fd, out_fd;
	struct link *l;
	pid_t pid;
	FILE *f;

	ck_assert_int_eq(pipe(to), 0);
	ck_assert_int_eq(pipe(from), 0);
	if ((pid = fork()) == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		closefrom(3);
		said_begin();
		dup2(open("/dev/null", O_WRONLY), 2);
		if (link_take_stdio("them", &in_fd, &out_fd) != 0 ||
		    link_fds_new(in_fd, out_fd, "them", &l) != 0)
			_exit(1);
		/* stray output, and a reader of standard input */
		if (system("echo stray; cat") != 0 || fcntl(0, F_GETFD) != 0)
			_exit(2);
		while (l->ops->read(l, in, 1) == -EAGAIN)
			(void)l->ops->wait(l, 0, -1, HELP_MS);
		if (l->ops->write(l, in, 1) != 1 || l->ops->shut(l) != 0)
			_exit(3);
		l->ops->close(l);
		_exit(0);
	}
	close(from[1]);
	ck_assert_int_eq(write(to[1], "Q", 1), 1);
	f = fdopen(from[0], "r");
	ck_assert_uint_eq(fread(in, 1, 100, f), 1);
	ck_assert_int_eq(*in, 'Q');
	fclose(f);
	close(to[0]);
	close(to[1]);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static uint8_t piece[30000];

/* The next piece of the pattern, while there is room for it. */
static bool
queue_piece(struct sock *s, size_t *sent)
{
	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = (uint8_t)((*sent + i) * 7 >> 3);
	if (sock_queued(s) + sizeof(piece) > SOCK_QUEUE_MAX)
		return (false);
	ck_assert_int_eq(sock_send(s, piece, sizeof(piece)), 0);
	*sent += sizeof(piece);
	return (true);
}

/* What is queued arrives at the other end, up to n in all. */
static void
drain(struct sock *s, int fd, size_t *have, size_t n)
{
	static uint8_t back[30000];
	ssize_t r;

	while (*have < n) {
		r = recv(fd, back, sizeof(back), 0);
		ck_assert_int_gt(r, 0);
		for (ssize_t i = 0; i < r; i++, (*have)++)
			ck_assert_uint_eq(back[i], (uint8_t)(*have * 7 >> 3));
		ck_assert(sock_flush(s) <= 0);
	}
}

START_TEST(what_waits_for_a_socket_is_bounded_and_in_order)
{
	size_t sent = 0, have = 0;
	struct sock s;
	int pair[2], r;

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	sock_init(&s, pair[0]);
	while (queue_piece(&s, &sent))
		continue;
	ck_assert_uint_gt(sock_queued(&s), SOCK_QUEUE_LOW);
	/* room is made at the front */
	drain(&s, pair[1], &have, 400000);
	ck_assert_uint_gt(sock_queued(&s), 0);
	while (queue_piece(&s, &sent))
		continue;
	ck_assert_uint_le(s.out.cap, 4 * SOCK_QUEUE_MAX);
	drain(&s, pair[1], &have, sent);
	ck_assert_uint_eq(sock_queued(&s), 0);
	ck_assert_int_eq(s.send_error, 0);
	/* and too much is an end */
	do
		r = sock_send(&s, piece, sizeof(piece));
	while (r == 0);
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_int_eq(sock_send(&s, piece, 1), -ENOBUFS);
	sock_fini(&s);
	close(pair[1]);
}
END_TEST

/* ---- words ---- */

static struct arena mem;

static void
arena_begin(void)
{
	arena_init(&mem);
	said_begin();
}

static void
arena_end(void)
{
	arena_fini(&mem);
}

/* Words joined by '|'. */
static const char *
joined(const char *const *v)
{
	static char text[1024];

	*text = '\0';
	for (; *v != NULL; v++) {
		strcat(text, *v);
		strcat(text, "|");
	}
	return (text);
}

START_TEST(a_command_line_is_split_as_a_shell_would)
{
	static const char *const t[][2] = {
		{ "ssh -i key u@h doveadm dsync-server",
		    "ssh|-i|key|u@h|doveadm|dsync-server|" },
		{ "  a\t b  ", "a|b|" }, { "'a b' \"c d\"", "a b|c d|" },
		{ "a' 'b\"' \"c", "a b' c|" }, { "a\\ b \\'", "a b|'|" },
		{ "\"\\\\ \\\" \\x\"", "\\ \" \\x|" }, { "'\\'", "\\|" },
		{ "'' x", "|x|" },
		{ "sh -c 'a | b; $c > d'", "sh|-c|a | b; $c > d|" },
		{ "a#b ~ * ? [x] {y} =", "a#b|~|*|?|[x]|{y}|=|" },
		{ "\"a;b\"", "a;b|" }
	};
	const char *const *v;

	ck_assert_int_eq(link_words(&mem, t[_i][0], "here", &v), 0);
	ck_assert_str_eq(joined(v), t[_i][1]);
}
END_TEST

START_TEST(what_needs_a_shell_is_refused)
{
	static const char *const t[] = { "", "   ", "a | b", "a; b", "a & b",
		"a > b", "a < b", "$a", "a `b`", "(a)", "\"$a\"", "\"`a`\"",
		"a\nb", "'a", "\"a", "a\\" };
	const char *const *v = NULL;

	ck_assert_int_eq(link_words(&mem, t[_i], "here", &v), -EINVAL);
	ck_assert_ptr_null(v);
	ck_assert_uint_eq(said_lines(), 1);
	assert_said("here: the command line");
}
END_TEST

START_TEST(names_that_could_be_something_else_are_refused)
{
	static const char *const hosts[] = { "", "-oProxyCommand=x", "a;b",
		"a b", "$(x)", "`x`", "a\nb", "a'b", "a\\b", "a|b", "a/b",
		"\x80", "a@b" };
	static const char *const logins[] = { "", "-x", "a;b", "a b", "a\nb",
		"$a", "a'", "a%h" };
	static const char *const users[] = { "", "-x", "a\nb", "a\tb", "\x01",
		"a\x7f" };
	char longer[300];

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		ck_assert_int_eq(check_host(hosts[i], "x"), -EINVAL);
	for (size_t i = 0; i < sizeof(logins) / sizeof(logins[0]); i++)
		ck_assert_int_eq(check_login(logins[i], "x"), -EINVAL);
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		ck_assert_int_eq(check_user(users[i], "x"), -EINVAL);
	memset(longer, 'a', sizeof(longer));
	longer[256] = '\0';
	ck_assert_int_eq(check_host(longer, "x"), -EINVAL);
	longer[255] = '\0';
	ck_assert_int_eq(check_host(longer, "x"), 0);
	ck_assert_int_eq(check_host("fe80::1%eth0", "x"), 0);
	ck_assert_int_eq(check_host("my_host-1.example", "x"), 0);
	ck_assert_int_eq(check_login("u.x+y@example", "x"), 0);
	ck_assert_int_eq(check_user("O'Br\xc3\xaf"
				    "en <x>",
			     "x"),
	    0);
}
END_TEST

START_TEST(a_quoted_word_is_one_word_in_a_shell)
{
	static const char *const t[] = { "plain", "", "a b", "O'Brien",
		"a;b|c&d", "$(x) `y` $z", "\\", "\\'", "'\\''", "!x", "a\"b",
		"*?[x]~{a,b}", "\xc3\xa4", "-n", "a\\\\'\\b" };
	static const char *const shells[] = { "sh", "bash", "dash" };
	struct buf b = BUF_INIT;
	char script[200];

	shell_quote(&b, t[_i]);
	for (size_t i = 0; i < 3; i++) {
		const char *argv[] = { shells[i], "-c", script, NULL };
		struct link *l;

		snprintf(script, sizeof(script), "printf '%%s|' %s end",
		    buf_cstr(&b));
		l = run_with(argv, "far", 0);
		ck_assert_int_eq(link_read_all(l, in, sizeof(in) - 1, &got), 0);
		in[got] = '\0';
		l->ops->close(l);
		snprintf(script, sizeof(script), "%s|end|", t[_i]);
		ck_assert_str_eq(in, script);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(a_remote_command_gets_its_values)
{
	static const struct {
		const char *tmpl, *login, *user, *text;
	} t[] = { { "doveadm dsync-server -u%u", NULL, "me@example.org",
		      "doveadm dsync-server -ume@example.org" },
		{ "doveadm dsync-server -u%u -U", NULL, NULL,
		    "doveadm dsync-server -U" },
		{ "x  -l%{login}\t%{host} %%u", "joe", NULL,
		    "x -ljoe h.example %u" },
		{ "x -l%{login} %{host}", NULL, NULL, "x h.example" },
		{ "x -u %{user}", NULL, "a b", "x -u 'a b'" },
		{ "x %u", NULL, "O'Brien; reboot",
		    "x 'O'\"'\"'Brien; reboot'" },
		{ "x %u y", NULL, NULL, "x  y" },
		{ "PATH=$PATH:/opt/bin exec \"x\"", NULL, "plain",
		    "PATH=$PATH:/opt/bin exec \"x\"" } };
	struct command_values v = {
		.login = t[_i].login, .host = "h.example", .user = t[_i].user
	};
	const char *text;

	ck_assert_int_eq(command_remote(&mem, t[_i].tmpl, &v, &text), 0);
	ck_assert_str_eq(text, t[_i].text);
}
END_TEST

START_TEST(a_remote_command_that_cannot_be_is_refused)
{
	static const struct {
		const char *tmpl, *user;
	} t[] = { { "", NULL }, { "  ", NULL }, { "x %z", NULL },
		{ "x %", NULL }, { "x %{home}", NULL }, { "x\ny", NULL },
		{ "x %u", "-rf" }, { "x %u", "a\nb" },
		{ "sh -c 'x %u'", "a b" }, { "x \\%u", "a;b" } };
	struct command_values v = { .host = "h", .user = t[_i].user };
	const char *text = NULL;

	ck_assert_int_eq(command_remote(&mem, t[_i].tmpl, &v, &text), -EINVAL);
	ck_assert_ptr_null(text);
	ck_assert_uint_eq(said_lines(), 1);
}
END_TEST

START_TEST(dovecots_form_is_a_command_line_here)
{
	static const char dovecot[] =
	    "ssh -l%{login} %{host} doveadm dsync-server -u%u -U";
	struct command_values v = {
		.login = "joe", .host = "h", .user = "a b"
	};
	const char *const *argv;

	ck_assert(command_is_local(dovecot));
	ck_assert(!command_is_local("sshd -l"));
	ck_assert(!command_is_local("doveadm dsync-server"));
	ck_assert_int_eq(command_local(&mem, dovecot, &v, &argv), 0);
	ck_assert_str_eq(
	    joined(argv), "ssh|-ljoe|h|doveadm|dsync-server|-u'a b'|-U|");
	v.login = v.user = NULL;
	ck_assert_int_eq(command_local(&mem, dovecot, &v, &argv), 0);
	ck_assert_str_eq(joined(argv), "ssh|h|doveadm|dsync-server|-U|");
	v.host = "-oProxyCommand=x";
	ck_assert_int_eq(command_local(&mem, dovecot, &v, &argv), -EINVAL);
}
END_TEST

/* ---- addresses ---- */

START_TEST(a_tcp_address_has_a_host_and_a_port)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		bool tls;
	} t[] = { { "tcp:mail.example:12345", "mail.example", 12345, false },
		{ "tcps:mail.example:1", "mail.example", 1, true },
		{ "mail.example:65535", "mail.example", 65535, false },
		{ "tcp:[2001:db8::1]:99", "2001:db8::1", 99, false } };
	struct link_tcp_options o = { 0 };

	ck_assert_int_eq(link_tcp_parse(&mem, t[_i].text, "here", &o), 0);
	ck_assert_str_eq(o.host, t[_i].host);
	ck_assert_uint_eq(o.port, t[_i].port);
	ck_assert_int_eq(o.tls, t[_i].tls);
}
END_TEST

START_TEST(a_tcp_address_without_one_is_refused)
{
	static const char *const t[][2] = { { "tcp:host", "has no port" },
		{ "tcps:host:", "has no port" }, { "tcp:host:0", "'0' is not" },
		{ "tcp:host:65536", "not a number" },
		{ "tcp:host:12x", "not a number" },
		{ "tcp:host:-1", "not a number" },
		{ "tcp:host:123456789", "not a number" },
		{ "tcp:2001:db8::1:99", "in brackets" },
		{ "tcp::99", "is empty" }, { "tcp:[::1]99", "has no port" },
		{ "tcp:[::1", "has no port" }, { "tcp:-x:9", "begins with" },
		{ "tcp:a b:9", "no such name" } };
	struct link_tcp_options o = { 0 };

	ck_assert_int_eq(link_tcp_parse(&mem, t[_i][0], "here", &o), -EINVAL);
	assert_said(t[_i][1]);
	ck_assert_ptr_null(o.host);
}
END_TEST

START_TEST(an_ssh_address_has_a_host_and_perhaps_somebody)
{
	const char *who, *host;

	ck_assert_int_eq(link_ssh_parse(&mem, "host", "here", &who, &host), 0);
	ck_assert_ptr_null(who);
	ck_assert_str_eq(host, "host");
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "me@example.org@host", "x", &who, &host), 0);
	ck_assert_str_eq(who, "me@example.org");
	ck_assert_str_eq(host, "host");
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "-oX=y", "x", &who, &host), -EINVAL);
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "me@-oX=y", "x", &who, &host), -EINVAL);
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "-x@host", "x", &who, &host), -EINVAL);
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "@host", "x", &who, &host), -EINVAL);
	ck_assert_int_eq(
	    link_ssh_parse(&mem, "me@", "x", &who, &host), -EINVAL);
}
END_TEST

/* ---- secrets ---- */

static char secret_path[64];

static void
secret_begin(void)
{
	int fd;

	strcpy(secret_path, "/tmp/dsyncfs-secret.XXXXXX");
	fd = mkstemp(secret_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "geheim\r\nmore\n", 13), 13);
	close(fd);
	said_begin();
}

static void
secret_end(void)
{
	unlink(secret_path);
}

START_TEST(a_secret_is_the_first_line_of_a_private_file)
{
	char s[64] = "";

	ck_assert_int_eq(link_secret_file(secret_path, s, sizeof(s)), 0);
	ck_assert_str_eq(s, "geheim");
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(a_file_that_others_can_read_is_no_secret)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0644, 0601 };
	char s[64] = "x";

	ck_assert_int_eq(chmod(secret_path, modes[_i]), 0);
	ck_assert_int_eq(link_secret_file(secret_path, s, sizeof(s)), -EACCES);
	ck_assert_str_eq(s, "");
	assert_said("chmod 600");
	ck_assert(!said("geheim"));
}
END_TEST

START_TEST(no_file_no_line_no_secret)
{
	char s[64];

	ck_assert_int_eq(truncate(secret_path, 0), 0);
	ck_assert_int_eq(link_secret_file(secret_path, s, sizeof(s)), -EACCES);
	ck_assert_int_eq(
	    link_secret_file("/nonexistent", s, sizeof(s)), -EACCES);
	ck_assert_int_eq(link_secret_file("/tmp", s, sizeof(s)), -EACCES);
	ck_assert_uint_eq(said_lines(), 3);
}
END_TEST

START_TEST(a_secret_is_the_first_line_of_a_command)
{
	const char *argv[] = { "sh", "-c", "echo geheim; echo more", NULL };
	char s[64];

	ck_assert_int_eq(
	    link_secret_command(argv, false, NULL, s, sizeof(s)), 0);
	ck_assert_str_eq(s, "geheim");
	ck_assert_str_eq(said_all(), "");
}
END_TEST

START_TEST(a_command_that_fails_gives_no_secret)
{
	static const char *const t[] = { "echo geheim; exit 1", "exit 0",
		"yes geheim", "echo; echo geheim" };
	const char *argv[] = { "sh", "-c", t[_i], NULL };
	char s[64] = "x";

	ck_assert_int_eq(
	    link_secret_command(argv, false, NULL, s, sizeof(s)), -EACCES);
	ck_assert_str_eq(s, "");
	ck_assert(!said("geheim"));
	ck_assert_uint_ge(said_lines(), 1);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("backends_transport");
	TCase *t = tcase_create("pipe");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_command_gives_back_what_it_gets);
	tcase_add_test(t, much_goes_both_ways_without_deadlock);
	tcase_add_test(t, much_on_standard_error_does_not_stop_the_stream);
	tcase_add_test(t, lines_of_standard_error_are_reported_with_the_peer);
	tcase_add_test(t, a_flood_of_lines_is_cut_and_said_so);
	tcase_add_loop_test(t, a_status_is_told_in_words, 0, 5);
	tcase_add_test(t, what_a_failing_command_said_is_read_first);
	tcase_add_test(t, an_error_stays);
	tcase_add_test(
	    t, writing_to_a_dead_command_is_no_signal_and_read_tells_why);
	tcase_add_test(t, a_grandchild_that_holds_the_output_does_not_hold_us);
	tcase_add_test(t, one_that_does_not_end_is_killed);
	tcase_add_test(t, one_that_reads_to_its_end_may_end);
	tcase_add_test(t, waiting_has_an_end);
	tcase_add_test(t, waiting_has_an_end_however_much_is_said);
	tcase_add_test(t, a_command_that_is_not_there_is_an_error);
	tcase_add_test(t, the_environment_is_cleared);
	tcase_add_test(t, no_descriptor_of_ours_is_inherited);
	tcase_add_loop_test(
	    t, it_leads_a_session_unless_it_may_use_the_terminal, 0, 2);
	tcase_add_test(t, its_signals_are_the_default_ones);
	tcase_add_test(t, one_can_open_its_standard_files_by_name);
	tcase_add_test(t, a_stop_ends_the_wait_for_a_command);
	suite_add_tcase(s, t);

	t = tcase_create("descriptors");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, descriptors_carry_much_both_ways, 0, 2);
	tcase_add_test(t, descriptors_are_not_made_non_blocking);
	tcase_add_test(t, standard_output_is_taken_away_from_others);
	tcase_add_test(t, what_waits_for_a_socket_is_bounded_and_in_order);
	suite_add_tcase(s, t);

	t = tcase_create("words");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, arena_begin, arena_end);
	tcase_add_loop_test(t, a_command_line_is_split_as_a_shell_would, 0, 11);
	tcase_add_loop_test(t, what_needs_a_shell_is_refused, 0, 16);
	tcase_add_test(t, names_that_could_be_something_else_are_refused);
	tcase_add_loop_test(t, a_quoted_word_is_one_word_in_a_shell, 0, 15);
	tcase_add_loop_test(t, a_remote_command_gets_its_values, 0, 8);
	tcase_add_loop_test(
	    t, a_remote_command_that_cannot_be_is_refused, 0, 10);
	tcase_add_test(t, dovecots_form_is_a_command_line_here);
	tcase_add_loop_test(t, a_tcp_address_has_a_host_and_a_port, 0, 4);
	tcase_add_loop_test(t, a_tcp_address_without_one_is_refused, 0, 13);
	tcase_add_test(t, an_ssh_address_has_a_host_and_perhaps_somebody);
	suite_add_tcase(s, t);

	t = tcase_create("secrets");
	tcase_add_checked_fixture(t, secret_begin, secret_end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_secret_is_the_first_line_of_a_private_file);
	tcase_add_loop_test(t, a_file_that_others_can_read_is_no_secret, 0, 5);
	tcase_add_test(t, no_file_no_line_no_secret);
	tcase_add_test(t, a_secret_is_the_first_line_of_a_command);
	tcase_add_loop_test(t, a_command_that_fails_gives_no_secret, 0, 4);
	suite_add_tcase(s, t);
	return (s);
}

int
main(void)
{
	return (run_suite(suite()));
}
