/*
 * bench_link -- runs two programs that talk over a link, and tells what each of
 * them cost and what went over it.
 *
 *	bench_link run SOCKET FILE NAME SLAVE... -- MASTER...
 *	bench_link join SOCKET
 *
 * MASTER is a program that starts its other side itself, by a command line;
 *that has to be "bench_link join SOCKET" (words behind it are passed over).  It
 *hands its standard input and output over, so that SLAVE is no descendant of
 *MASTER's and can be measured apart, and so that bytes can be counted.  They
 *are moved by splice(2) in this process, which neither side's figures contain.
 *
 * run appends a line to FILE: NAME, exit status of the master and the slave,
 *wall seconds until both have ended, CPU seconds of each, peak memory in KiB of
 *each, bytes from master to slave and back.  It fails when one of them does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE ((size_t)64 * 1024)
#define LOOK_MS 100

static void
die(const char *what)
{
	fprintf(stderr, "bench_link: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

/* ---- two descriptors from one process to another ---- */

union control {
	struct cmsghdr h;
	char room[CMSG_SPACE(2 * sizeof(int))];
};

static struct sockaddr_un
address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	memcpy(a.sun_path, path, strlen(path));
	return (a);
}

static void
send_files(int s, const int fd[2])
{
	char byte = 0;
	struct iovec v = { &byte, 1 };
	union control c = { .room = { 0 } };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &c,
		.msg_controllen = sizeof(c.room) };

	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(&c.h), fd, 2 * sizeof(int));
	if (sendmsg(s, &m, 0) != 1)
		die("sendmsg");
}

static void
receive_files(int s, int fd[2])
{
	char byte;
	struct iovec v = { &byte, 1 };
	union control c;
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &c,
		.msg_controllen = sizeof(c.room) };

	if (recvmsg(s, &m, MSG_CMSG_CLOEXEC) != 1 ||
	    c.h.cmsg_len != CMSG_LEN(2 * sizeof(int)))
		die("recvmsg");
	memcpy(fd, CMSG_DATA(&c.h), 2 * sizeof(int));
}

/* What the master starts: gives its files away and ends like the slave. */
static int
join(const char *path)
{
	struct sockaddr_un a = address(path);
	const int fd[2] = { STDIN_FILENO, STDOUT_FILENO };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned char status;

	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)) != 0)
		die(path);
	send_files(s, fd);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	return (read(s, &status, 1) == 1 ? status : 1);
}

/* ---- moving ---- */

struct way {
	pthread_t thread;
	int from, to; /* owned by the thread */
	uint64_t bytes;
};

/* Some masters give a socket that does not wait. */
static ssize_t
when_ready(ssize_t n, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		return (n);
	(void)poll(&p, 1, -1);
	return (-2);
}

static void *
move(void *arg)
{
	struct way *w = arg;
	char *b = malloc(AT_ONCE);
	ssize_t n = 0, got, at;

	if (b == NULL)
		die("malloc");
	for (got = -2; got != 0 && n != -1; w->bytes += (uint64_t)at) {
		at = 0;
		got = when_ready(read(w->from, b, AT_ONCE), w->from, POLLIN);
		if (got == -1)
			break;
		for (n = -2; at < got && n != -1; at += n > 0 ? n : 0)
			n = when_ready(write(w->to, b + at, (size_t)(got - at)),
			    w->to, POLLOUT);
	}
	if ((got == -1 || n == -1) && errno != EPIPE && errno != ECONNRESET)
		die("moving bytes");
	free(b);
	/* a master may have one socket for both ways */
	(void)shutdown(w->to, SHUT_WR);
	close(w->from);
	close(w->to);
	return (NULL);
}

static void
move_from_to(struct way *w, int from, int to)
{
	w->from = from;
	w->to = to;
	errno = pthread_create(&w->thread, NULL, move, w);
	if (errno != 0)
		die("pthread_create");
}

/* ---- the two ---- */

static pid_t
start(char **argv, int in, int out)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid != 0)
		return (pid);
	(void)signal(SIGPIPE, SIG_DFL);
	if ((in >= 0 && dup2(in, STDIN_FILENO) < 0) ||
	    (out >= 0 && dup2(out, STDOUT_FILENO) < 0))
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static bool
has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return (
	    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	    info.si_pid != 0);
}

static int
end_of(pid_t pid, struct rusage *r)
{
	int status;

	if (wait4(pid, &status, 0, r) != pid)
		die("wait4");
	return (WIFEXITED(status) ? WEXITSTATUS(status) : 255);
}

static int
listen_at(const char *path)
{
	struct sockaddr_un a = address(path);
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(l, 1) != 0)
		die(path);
	return (l);
}

/* The master's other side; -1: it ended without one. */
static int
accept_from(int l, pid_t master)
{
	struct pollfd p = { .fd = l, .events = POLLIN };

	while (poll(&p, 1, LOOK_MS) <= 0)
		if (has_ended(master))
			return (-1);
	return (accept4(l, NULL, NULL, SOCK_CLOEXEC));
}

struct pair {
	struct way up, down;
	struct rusage master, slave;
	int master_status, slave_status;
	double wall;
};

static void
run_slave(struct pair *p, int s, char **slave)
{
	int files[2], in[2], out[2];
	unsigned char status;
	pid_t pid;

	receive_files(s, files);
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		die("pipe2");
	pid = start(slave, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	move_from_to(&p->up, files[0], in[1]);
	move_from_to(&p->down, out[0], files[1]);
	p->slave_status = end_of(pid, &p->slave);
	(void)pthread_join(p->down.thread, NULL);
	status = (unsigned char)p->slave_status;
	(void)send(s, &status, 1, MSG_NOSIGNAL);
	close(s);
}

static int
run(const char *path, struct pair *p, char **slave, char **master)
{
	int l = listen_at(path), s;
	double t = seconds();
	pid_t pid = start(master, -1, -1);

	s = accept_from(l, pid);
	if (s >= 0)
		run_slave(p, s, slave);
	else
		p->slave_status = 127;
	p->master_status = end_of(pid, &p->master);
	p->wall = seconds() - t;
	if (s >= 0)
		(void)pthread_join(p->up.thread, NULL);
	return (p->master_status != 0 ? p->master_status : p->slave_status);
}

static double
cpu_of(const struct rusage *r)
{
	return ((double)r->ru_utime.tv_sec + (double)r->ru_stime.tv_sec +
	    (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6);
}

static void
tell(const char *file, const char *name, const struct pair *p)
{
	FILE *f = fopen(file, "a");

	if (f == NULL)
		die(file);
	fprintf(f, "%s %d %d %.6f %.6f %.6f %ld %ld %" PRIu64 " %" PRIu64 "\n",
	    name, p->master_status, p->slave_status, p->wall,
	    cpu_of(&p->master), cpu_of(&p->slave), p->master.ru_maxrss,
	    p->slave.ru_maxrss, p->up.bytes, p->down.bytes);
	if (fclose(f) != 0)
		die(file);
}

int
main(int argc, char **argv)
{
	struct pair p = { .master_status = 0 };
	int i, rc;

	(void)signal(SIGPIPE, SIG_IGN);
	if (argc >= 3 && strcmp(argv[1], "join") == 0)
		return (join(argv[2]));
	for (i = 6; i < argc && strcmp(argv[i], "--") != 0;)
		i++;
	if (i + 1 >= argc || strcmp(argv[1], "run") != 0) {
		fprintf(stderr,
		    "usage: bench_link run|join ..., see its beginning\n");
		return (64);
	}
	argv[i] = NULL;
	rc = run(argv[2], &p, argv + 5, argv + i + 1);
	tell(argv[3], argv[4], &p);
	return (rc);
}
