/*
 * control_socket -- the control socket with both its ends in this process, and
 * with ends that do not keep to the protocol.
 */
#include <stdatomic.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "control/control_internal.h"

static char dir[256];
static char seen[3][200000];
static size_t seen_n[3];

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void
setup(void)
{
	strcpy(dir, "/tmp/dsyncfs-control.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	memset(seen_n, 0, sizeof(seen_n));
	log_set_sink(quiet, NULL);
}

static void
teardown(void)
{
	/* the socket has gone with its server */
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
on_output(void *arg, enum control_stream stream, const char *text, size_t n)
{
	(void)arg;
	ck_assert_uint_le(seen_n[stream - 1] + n, sizeof(seen[0]));
	memcpy(seen[stream - 1] + seen_n[stream - 1], text, n);
	seen_n[stream - 1] += n;
}

/*
 * echo: its arguments; big: 150000 bytes; wait: until it is cancelled; status
 * N.
 */
static int
handler(void *arg, const struct control_request *req, control_reply_fn *reply,
    void *reply_arg)
{
	static char big[150000];

	(void)arg;
	if (req->argc > 1 && strcmp(req->argv[1], "big") == 0) {
		memset(big, 'x', sizeof(big));
		reply(reply_arg, CONTROL_OUT, big, sizeof(big));
		return (0);
	}
	if (req->argc > 1 && strcmp(req->argv[1], "wait") == 0) {
		reply(reply_arg, CONTROL_OUT, "waiting", 7);
		while (!*req->cancelled)
			(void)poll(NULL, 0, 5);
		return (75);
	}
	if (req->argc > 1 && strcmp(req->argv[1], "pair") == 0) {
		char byte = 0;

		if (req->fd[0] < 0 || read(req->fd[0], &byte, 1) != 1)
			return (9);
		byte++;
		if (req->fd[2] >= 0 && write(req->fd[2], "c", 1) != 1)
			return (7);
		return (write(req->fd[1], &byte, 1) == 1 ? 0 : 8);
	}
	if (req->argc > 2 && strcmp(req->argv[1], "status") == 0)
		return (atoi(req->argv[2]));
	for (int i = 0; i < req->argc; i++) {
		reply(reply_arg, i % 2 == 0 ? CONTROL_OUT : CONTROL_ERR,
		    req->argv[i], strlen(req->argv[i]));
		reply(reply_arg, CONTROL_PROGRESS, ".", 1);
	}
	return (0);
}

static struct control_server *
serve(const char *where)
{
	struct control_server *s;

	ck_assert_int_eq(control_listen(where, &s), 0);
	ck_assert_int_eq(control_start(s, handler, NULL), 0);
	return (s);
}

static int
run(const char *where, int argc, const char *const *argv)
{
	struct control_client *c;
	int status = -1;

	ck_assert_int_eq(control_connect(where, &c), 0);
	ck_assert_int_eq(
	    control_run(c, argc, argv, on_output, NULL, &status), 0);
	control_close(c);
	return (status);
}

static int
raw_connect(void)
{
	struct sockaddr_un sa;
	int fd, d;

	ck_assert_int_eq(control_address(dir, &sa, &d), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(d);
	return (fd);
}

/* pair: an 'a' goes in, and the same but one higher has to come out. */
static void
run_pair(size_t n)
{
	const char *argv[] = { "a", "pair" };
	struct control_client *c;
	int to[2], from[2], third[2], fds[3], status = -1;
	char byte = 'a';

	ck_assert(pipe(to) == 0 && pipe(from) == 0 && pipe(third) == 0);
	fds[0] = to[0];
	fds[1] = from[1];
	fds[2] = third[1];
	ck_assert_int_eq(write(to[1], &byte, 1), 1);
	ck_assert_int_eq(control_connect(dir, &c), 0);
	control_set_kind(c, CONTROL_SERVE);
	control_set_fds(c, fds, n);
	ck_assert_int_eq(control_run(c, 2, argv, on_output, NULL, &status), 0);
	ck_assert_int_eq(status, 0);
	control_close(c);
	ck_assert_int_eq(read(from[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'b');
	/* the server has let its copies go */
	close(from[1]);
	ck_assert_int_eq(read(from[0], &byte, 1), 0);
	close(third[1]);
	ck_assert_int_eq(read(third[0], &byte, 1), n == 3);
	close(third[0]);
	close(to[0]);
	close(to[1]);
	close(from[0]);
}

START_TEST(descriptors_come_with_a_request)
{
	const char *argv[] = { "a", "pair" };
	struct control_server *s = serve(dir);

	run_pair(2);
	run_pair(3);
	ck_assert_int_eq(run(dir, 2, argv), 9);
	control_server_stop(s);
}
END_TEST

START_TEST(another_kind_runs_beside_the_others)
{
	const char *argv[] = { "a", "wait" };
	struct control_server *s = serve(dir);
	struct buf b = BUF_INIT;
	char answer[64];
	int fd = raw_connect();

	ck_assert_int_eq(control_encode_request(&b, CONTROL_ASK, 2, argv), 0);
	ck_assert_int_eq(control_send(fd, b.data, b.len, 1000), 0);
	ck_assert_int_gt(recv(fd, answer, sizeof(answer), 0), 0);
	run_pair(2);
	close(fd);
	buf_fini(&b);
	control_server_stop(s);
}
END_TEST

/* n descriptors with a request; true: the server ended the connection. */
static bool
refuses(int n)
{
	union {
		char room[CMSG_SPACE(5 * sizeof(int))];
		struct cmsghdr align;
	} u = { .room = { 0 } };
	const char *argv[] = { "a", "pair" };
	const int fds[5] = { 0 };
	struct buf b = BUF_INIT;
	struct iovec iov;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	char answer;
	int fd = raw_connect();
	bool ended;

	ck_assert_int_eq(control_encode_request(&b, CONTROL_ASK, 2, argv), 0);
	iov = (struct iovec){ b.data, b.len };
	m.msg_control = u.room;
	m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
	ck_assert_int_eq(sendmsg(fd, &m, 0), (ssize_t)b.len);
	ended = recv(fd, &answer, 1, 0) <= 0;
	close(fd);
	buf_fini(&b);
	return (ended);
}

START_TEST(more_descriptors_end_the_connection)
{
	struct control_server *s = serve(dir);

	ck_assert(refuses(4));
	ck_assert(refuses(5));
	run_pair(2);
	control_server_stop(s);
}
END_TEST

START_TEST(output_and_status_come_back)
{
	const char *argv[] = { "a", "b", "", "\xff\n" };
	const char *status[] = { "a", "status", "78" };
	struct control_server *s = serve(dir);

	ck_assert_int_eq(run(dir, 4, argv), 0);
	ck_assert_uint_eq(seen_n[0], 1);
	ck_assert_mem_eq(seen[1], "b\xff\n", 3);
	ck_assert_uint_eq(seen_n[2], 4);
	ck_assert_int_eq(run(dir, 3, status), 78);
	control_server_stop(s);
}
END_TEST

START_TEST(long_output_comes_whole)
{
	const char *argv[] = { "a", "big" };
	struct control_server *s = serve(dir);

	ck_assert_int_eq(run(dir, 2, argv), 0);
	ck_assert_uint_eq(seen_n[0], 150000);
	control_server_stop(s);
}
END_TEST

START_TEST(nobody_there_is_enoent)
{
	struct control_client *c;
	struct sockaddr_un sa;
	int d, fd;

	ck_assert_int_eq(control_connect(dir, &c), -ENOENT);
	ck_assert_int_eq(control_connect("/nonexistent/dir", &c), -ENOENT);
	/* A socket whose server died. */
	ck_assert_int_eq(control_address(dir, &sa, &d), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	ck_assert_int_eq(control_connect(dir, &c), -ENOENT);
	control_server_stop(serve(dir)); /* replaces and removes it */
	close(d);
}
END_TEST

START_TEST(path_may_be_longer_than_an_address)
{
	const char *argv[] = { "a" };
	char path[1200], part[101];
	size_t n = strlen(dir);
	struct control_server *s;
	struct stat st;

	memset(part, 'd', 100);
	part[0] = '/';
	part[100] = '\0';
	strcpy(path, dir);
	for (int i = 0; i < 5; i++) {
		strcat(path, part);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	s = serve(path);
	ck_assert_int_eq(run(path, 1, argv), 0);
	strcat(path, "/socket");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	path[strlen(path) - 7] = '\0';
	control_server_stop(s);
	while (strlen(path) > n) {
		ck_assert_int_eq(rmdir(path), 0);
		path[strlen(path) - 100] = '\0';
	}
}
END_TEST

static atomic_int stop_flag;

static void
stop_on_output(
    void *arg, enum control_stream stream, const char *text, size_t n)
{
	on_output(arg, stream, text, n);
	stop_flag = 1;
}

START_TEST(stop_flag_cancels)
{
	const char *argv[] = { "a", "wait" };
	struct control_server *s = serve(dir);
	struct control_client *c;
	int status = -1;

	stop_flag = 0;
	ck_assert_int_eq(control_connect(dir, &c), 0);
	control_set_stop(c, &stop_flag);
	ck_assert_int_eq(
	    control_run(c, 2, argv, stop_on_output, NULL, &status), 0);
	ck_assert_int_eq(status, 75);
	control_close(c);
	control_server_stop(s);
}
END_TEST

START_TEST(client_that_goes_away_cancels)
{
	const char *argv[] = { "a", "wait" }, *next[] = { "a" };
	struct control_server *s = serve(dir);
	struct buf b = BUF_INIT;
	char got[64];
	int fd = raw_connect();

	ck_assert_int_eq(control_encode_request(&b, CONTROL_ASK, 2, argv), 0);
	ck_assert_int_eq(control_send(fd, b.data, b.len, 1000), 0);
	ck_assert_int_gt(recv(fd, got, sizeof(got), 0), 0); /* it runs */
	close(fd);
	/* so the worker is free again */
	ck_assert_int_eq(run(dir, 1, next), 0);
	buf_fini(&b);
	control_server_stop(s);
}
END_TEST

START_TEST(silent_clients_stop_nobody)
{
	const char *argv[] = { "a" };
	struct control_server *s = serve(dir);
	int fd[10];

	for (int i = 0; i < 10; i++) {
		fd[i] = raw_connect();
		ck_assert_int_eq(control_send(fd[i], "\x10\x00", 2, 1000), 0);
	}
	ck_assert_int_eq(run(dir, 1, argv), 0);
	control_server_stop(s);
	for (int i = 0; i < 10; i++)
		close(fd[i]);
}
END_TEST

static const struct {
	const char *name;
	const char *bytes;
	size_t n;
} hostile[] = { { "length 0", "\0\0\0\0R", 5 },
	{ "length 4 GiB", "\xff\xff\xff\xffR", 5 },
	{ "length above the limit", "\x01\x00\x10\x00R", 5 },
	{ "unknown type", "\x01\0\0\0Z", 5 },
	{ "cancel before a request", "\x01\0\0\0C", 5 },
	{ "another version", "\x04\0\0\0R\x09\0\x00", 8 },
	{ "an unknown kind", "\x04\0\0\0R\x02\x03\x00", 8 },
	{ "more arguments than bytes", "\x05\0\0\0R\x02\0\x7f\x00", 9 },
	{ "argument longer than the frame", "\x06\0\0\0R\x02\0\x01\x7f\x61", 10 },
	{ "NUL in an argument", "\x07\0\0\0R\x02\0\x01\x02\x61\x00", 11 },
	{ "bytes behind the arguments", "\x07\0\0\0R\x02\0\x01\x01\x61\x61", 11 },
	{ "endless varint",
	    "\x0d\0\0\0R\x02\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17 } };

START_TEST(hostile_frames_end_the_connection)
{
	const char *argv[] = { "a" };
	struct control_server *s = serve(dir);
	int fd = raw_connect();
	char got;

	ck_assert_int_eq(
	    control_send(fd, hostile[_i].bytes, hostile[_i].n, 1000), 0);
	ck_assert_msg(
	    recv(fd, &got, 1, 0) <= 0, "%s was answered", hostile[_i].name);
	close(fd);
	ck_assert_int_eq(run(dir, 1, argv), 0); /* the server lives */
	control_server_stop(s);
}
END_TEST

static void *
stop_thread(void *arg)
{
	control_server_stop(arg);
	return (NULL);
}

static void
stop_server_on_output(
    void *arg, enum control_stream stream, const char *text, size_t n)
{
	static pthread_t t;

	(void)stream;
	(void)text;
	(void)n;
	ck_assert_int_eq(pthread_create(&t, NULL, stop_thread, arg), 0);
	pthread_detach(t);
}

START_TEST(stopping_ends_what_runs)
{
	const char *argv[] = { "a", "wait" };
	struct control_server *s = serve(dir);
	struct control_client *c;
	char path[300];
	int status = -1, r;

	ck_assert_int_eq(control_connect(dir, &c), 0);
	r = control_run(c, 2, argv, stop_server_on_output, s, &status);
	ck_assert(r == -EPIPE || (r == 0 && status == 75));
	control_close(c);
	snprintf(path, sizeof(path), "%s/socket", dir);
	while (access(path, F_OK) == 0)
		(void)poll(NULL, 0, 5);
}
END_TEST

/*
 * Needs root: a server of another user is not asked, a client of another user
 * is not heard.
 */
START_TEST(other_users_are_refused)
{
	struct control_server *s;
	struct control_client *c;
	const char *argv[] = { "a" };
	int status, r;
	pid_t pid;

	if (geteuid() != 0)
		return;
	s = serve(dir);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		char path[300];

		snprintf(path, sizeof(path), "%s/socket", dir);
		if (chmod(path, 0666) != 0 || setgid(65534) != 0 ||
		    setuid(65534) != 0)
			_exit(9);
		r = control_connect(dir, &c);
		/*
		 * root's server may be asked by anybody it lets in; it lets
		 * nobody in
		 */
		if (r == 0)
			r = control_run(c, 1, argv, on_output, NULL, &status);
		_exit(r == -EPIPE || r == -EACCES ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	control_server_stop(s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control");
	TCase *t = tcase_create("socket");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, output_and_status_come_back);
	tcase_add_test(t, descriptors_come_with_a_request);
	tcase_add_test(t, another_kind_runs_beside_the_others);
	tcase_add_test(t, more_descriptors_end_the_connection);
	tcase_add_test(t, long_output_comes_whole);
	tcase_add_test(t, nobody_there_is_enoent);
	tcase_add_test(t, path_may_be_longer_than_an_address);
	tcase_add_test(t, stop_flag_cancels);
	tcase_add_test(t, client_that_goes_away_cancels);
	tcase_add_test(t, silent_clients_stop_nobody);
	tcase_add_loop_test(t, hostile_frames_end_the_connection, 0,
	    sizeof(hostile) / sizeof(hostile[0]));
	tcase_add_test(t, stopping_ends_what_runs);
	tcase_add_test(t, other_users_are_refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return (failed == 0 ? 0 : 1);
}
