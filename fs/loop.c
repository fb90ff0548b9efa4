/*
 * loop -- which thread reads the next request, and how it waits for one.
 *
 * A program that changes mail makes one request after the other.  Left to the
 * kernel each of them wakes another idle thread, mostly on another CPU, which
 * costs more than answering it.  So one thread reads, answers and reads again,
 * and looks for the next request some time before it goes to sleep.
 *
 * Looking is in vain where the program needs the CPU that it is done on; that
 * shows by a request that comes as soon as the thread sleeps.  Then it is given
 * up, and tried again ever more rarely.
 */
#include "fs/loop.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOOKS 100 /* about 50 us */
#define SOON_NS 200000
#define REST_MIN 64u /* requests */
#define REST_MAX 4096u

/* A semaphore, since a thread that libfuse cancels leaves it as it is. */
static sem_t chair;
static _Thread_local bool mine;
static atomic_uint answering; /* without the chair */
static _Thread_local bool counted;

/* Of whoever has the chair. */
static unsigned rest = REST_MIN, resting;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
}

static void
take_chair(void)
{
	if (counted) {
		counted = false;
		(void)atomic_fetch_sub(&answering, 1);
	}
	while (!mine)
		mine = sem_wait(&chair) == 0;
}

void
loop_pass(void)
{
	if (!mine)
		return;
	mine = false;
	counted = true;
	(void)atomic_fetch_add(&answering, 1);
	(void)sem_post(&chair);
}

/* Is a request there already, or soon? */
static bool
look(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (unsigned i = 0; i < LOOKS; i++)
		if (poll(&p, 1, 0) != 0)
			return (true);
	return (false);
}

static void
looked_in_vain(bool soon)
{
	if (!soon)
		return;
	resting = rest;
	if (rest < REST_MAX)
		rest *= 2;
}

static ssize_t
read_request(int fd, void *buf, size_t n, void *arg)
{
	uint64_t slept = 0;
	ssize_t got;

	(void)arg;
	take_chair();
	if (resting > 0)
		resting--;
	/* Who is being answered may need the CPU, and asks nothing. */
	else if (atomic_load(&answering) == 0) {
		if (look(fd))
			rest = REST_MIN;
		else
			slept = now_ns();
	}
	got = read(fd, buf, n);
	if (slept != 0 && got > 0)
		looked_in_vain(now_ns() - slept < SOON_NS);
	return (got);
}

static ssize_t
write_reply(int fd, struct iovec *v, int n, void *arg)
{
	(void)arg;
	return (writev(fd, v, n));
}

int
loop_use(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = read_request,
		.writev = write_reply };

	if (sem_init(&chair, 0, 1) != 0)
		return (-errno);
	return (fuse_session_custom_io(se, &io, fuse_session_fd(se)));
}
