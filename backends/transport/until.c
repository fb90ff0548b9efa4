/*
 * until -- waiting that has an end, and that a stop can end.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

/*
 * A mount's stop is no signal to the thread that waits: so often it is looked
 * for.
 */
#define LOOK_MS 250

int64_t
mono_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

int64_t
connect_end(const struct link_limits *l)
{
	return (mono_ms() +
	    (l != NULL && l->connect_ms != 0 ? l->connect_ms : CONNECT_MS));
}

int64_t
grace_end(const struct link_limits *l)
{
	return (mono_ms() +
	    (l != NULL && l->grace_ms != 0 ? l->grace_ms : GRACE_MS));
}

int
until_ms(int64_t end)
{
	int64_t left = end - mono_ms();

	return (left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
}

static bool
stopped(const struct link_limits *l)
{
	return (l != NULL && l->stop != NULL && l->stop(l->arg));
}

/* What is waited at once, until end at most. */
static int
slice_ms(int64_t end, const struct link_limits *l)
{
	int ms = until_ms(end);

	return (l != NULL && l->stop != NULL && ms > LOOK_MS ? LOOK_MS : ms);
}

int
poll_until(struct pollfd *p, nfds_t n, int64_t end, const struct link_limits *l)
{
	int r;

	for (;;) {
		if (stopped(l))
			return (-ECANCELED);
		r = poll(p, n, slice_ms(end, l));
		if (r > 0)
			return (r);
		if (r == 0 && until_ms(end) == 0)
			return (-ETIMEDOUT);
		if (r < 0 && errno != EINTR)
			return (-errno);
	}
}

int
link_wait_until(
    struct link *link, int want_write, int64_t end, const struct link_limits *l)
{
	int r;

	do {
		if (stopped(l))
			return (-ECANCELED);
		r = link->ops->wait(link, want_write, -1, slice_ms(end, l));
	} while (r == -EINTR || (r == -ETIMEDOUT && until_ms(end) > 0));
	return (r);
}
