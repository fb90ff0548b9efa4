/*
 * loop -- which thread reads the next request, and how it waits for one.
 *
 * A program that changes mail makes one request after the other.  Left to the
 * kernel each of them wakes another idle thread, mostly on another CPU, which
 * costs more than answering it.  So one thread reads, answers and reads again,
 * and looks for the next request some time before it goes to sleep: the device
 * does not block, and looking is reading.
 *
 * Looking is in vain where the program needs the CPU that it is done on; that
 * shows by a request that comes as soon as the thread sleeps.  Then it is given
 * up, and tried again ever more rarely.
 */
#include "fs/loop.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LOOKS 300 /* about 100 us */
#define SOON_NS 200000
#define WATCH_MS 2
#define QUIET 50 /* such looks without a request */
#define REST_MIN 64u /* requests */
#define REST_MAX 4096u

/*
 * A semaphore, since a thread that libfuse cancels leaves it as it is.  holder
 * is the ticket of the thread that has the chair, 0: nobody has, or is about
 * to.  Only who replaces the ticket there may do what it stands for.
 */
static sem_t chair;
static atomic_uint_fast64_t holder, tickets;
static _Thread_local uint_fast64_t ticket;
/*
 * Requests read so far; the ticket with which the last of them was read: while
 * that is holder's, it is being answered.
 */
static atomic_uint_fast64_t requests, busy;
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

static bool
leave_chair(uint_fast64_t of)
{
	if (of == 0 || !atomic_compare_exchange_strong(&holder, &of, 0))
		return (false);
	(void)sem_post(&chair);
	return (true);
}

static void
take_chair(void)
{
	uint_fast64_t mine = ticket, next;

	if (counted) {
		counted = false;
		(void)atomic_fetch_sub(&answering, 1);
	}
	next = atomic_fetch_add(&tickets, 1) + 1;
	if (mine == 0 ||
	    !atomic_compare_exchange_strong(&holder, &mine, next)) {
		ticket = 0;
		while (sem_wait(&chair) != 0)
			;
		atomic_store(&holder, next);
	}
	ticket = next;
}

void
loop_pass(void)
{
	if (!leave_chair(ticket))
		return;
	ticket = 0;
	counted = true;
	(void)atomic_fetch_add(&answering, 1);
}

/* ---- who does not come back ---- */

static pthread_t watcher;
static bool watching;
static atomic_bool ending;
static sem_t wanted; /* the watcher is asleep, and there are requests */
static atomic_bool asleep;

static void
pause_ms(long ms)
{
	const struct timespec ts = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static void
sleep_until_wanted(uint_fast64_t seen)
{
	atomic_store(&asleep, true);
	/* One that came right before has not seen that. */
	if (atomic_load(&requests) != seen &&
	    atomic_exchange(&asleep, false))
		return;
	while (sem_wait(&wanted) != 0)
		;
}

static void *
watch(void *arg)
{
	uint_fast64_t seen = 0, now, by;
	unsigned quiet = 0;

	(void)arg;
	while (!atomic_load(&ending)) {
		pause_ms(WATCH_MS);
		now = atomic_load(&requests);
		by = atomic_load(&holder);
		if (now != seen)
			quiet = 0;
		else if (atomic_load(&busy) == by)
			(void)leave_chair(by);
		else if (++quiet == QUIET) {
			sleep_until_wanted(now);
			quiet = 0;
		}
		seen = now;
	}
	return (NULL);
}

static void
request_came(void)
{
	atomic_store(&busy, ticket);
	(void)atomic_fetch_add(&requests, 1);
	if (atomic_load(&asleep) && atomic_exchange(&asleep, false))
		(void)sem_post(&wanted);
}

/* ---- looking ---- */

static void
looked_in_vain(bool soon)
{
	if (!soon)
		return;
	resting = rest;
	if (rest < REST_MAX)
		rest *= 2;
}

/* ---- what libfuse 3.14 does not know ---- */

/*
 * With HANDLE_KILLPRIV_V2 the kernel asks for security.capability before the
 * first write to an inode whose attributes it knows, not before each; what this
 * promises is in view_aux_io.c.
 */
/* Of the INIT request, while it is answered. */
static atomic_uint_fast64_t init_unique;

static void
see_init(const void *buf, size_t n)
{
	const struct fuse_in_header *h = buf;
	const struct fuse_init_in *in = (const void *)(h + 1);

	if (n >= sizeof(*h) + sizeof(*in) && h->opcode == FUSE_INIT &&
	    (in->flags & FUSE_HANDLE_KILLPRIV_V2) != 0)
		atomic_store(&init_unique, h->unique);
}

static void
extend_init(const struct iovec *v, int n)
{
	const struct fuse_out_header *h = v[0].iov_base;
	struct fuse_init_out *out;

	if (n == 2 && v[0].iov_len >= sizeof(*h) && h->unique == atomic_load(&init_unique) &&
	    h->error == 0 &&
	    v[1].iov_len >= offsetof(struct fuse_init_out, flags) +
		    sizeof(out->flags)) {
		out = v[1].iov_base;
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		atomic_store(&init_unique, 0);
	}
}

/* ---- a session's input and output ---- */

/* The next request, for which this may sleep since *SLEPT; 0: it has not. */
static ssize_t
next_request(int fd, void *buf, size_t n, unsigned looks, uint64_t *slept)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t got;

	*slept = 0;
	for (;;) {
		got = read(fd, buf, n);
		if (got >= 0 || errno != EAGAIN)
			return (got);
		if (looks > 0) {
			looks--;
			continue;
		}
		if (*slept == 0)
			*slept = now_ns();
		(void)poll(&p, 1, -1);
	}
}

static ssize_t
read_request(int fd, void *buf, size_t n, void *arg)
{
	bool looking = false;
	uint64_t slept;
	ssize_t got;

	(void)arg;
	take_chair();
	if (resting > 0)
		resting--;
	else /* Who is being answered may need the CPU, and asks nothing. */
		looking = atomic_load(&answering) == 0;
	got = next_request(fd, buf, n, looking ? LOOKS : 0, &slept);
	if (looking && got > 0) {
		if (slept == 0)
			rest = REST_MIN;
		else
			looked_in_vain(now_ns() - slept < SOON_NS);
	}
	if (got > 0 && atomic_load(&requests) == 0)
		see_init(buf, (size_t)got);
	request_came();
	return (got);
}

/*
 * Of its own, so that a thread which still tells the kernel something while
 * libfuse closes its descriptor does not write to what gets that number next.
 */
static int device = -1, nowhere = -1;

static ssize_t
write_reply(int fd, struct iovec *v, int n, void *arg)
{
	(void)fd;
	(void)arg;
	if (atomic_load(&init_unique) != 0)
		extend_init(v, n);
	return (writev(device, v, n));
}

void
loop_leave(void)
{
	if (device >= 0)
		(void)dup3(nowhere, device, O_CLOEXEC);
}

static void
close_device(void)
{
	if (device >= 0)
		(void)close(device);
	if (nowhere >= 0)
		(void)close(nowhere);
	device = nowhere = -1;
}

int
loop_load(void)
{
	(void)dlopen("libgcc_s.so.1", RTLD_NOW);
	nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	return (nowhere < 0 ? -errno : 0);
}

int
loop_use(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = read_request,
		.writev = write_reply };
	sigset_t all, was;
	int error, fd = fuse_session_fd(se);

	if (sem_init(&chair, 0, 1) != 0 || sem_init(&wanted, 0, 0) != 0)
		return (-errno);
	device = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (device < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		return (-errno);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &was);
	error = -pthread_create(&watcher, NULL, watch, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (error != 0)
		return (error);
	watching = true;
	return (fuse_session_custom_io(se, &io, fd));
}

void
loop_end(void)
{
	if (watching) {
		atomic_store(&ending, true);
		(void)sem_post(&wanted);
		(void)pthread_join(watcher, NULL);
		watching = false;
	}
	close_device();
}
