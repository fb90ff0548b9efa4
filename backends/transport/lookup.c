/*
 * lookup -- the addresses of a name, asked for by a thread of its own: a name
 * server that is silent keeps getaddrinfo for as long as it likes, and nothing
 * can end it.
 *
 * Whoever is last of the two, the thread and who waits for it, frees what they
 * share.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct asked {
	atomic_int users;
	int done; /* eventfd: there is an answer ... */
	atomic_bool answered; /* ... and it is seen by whoever reads this */
	int family;
	char *host, *port;
	int r, error; /* getaddrinfo's, and errno */
	struct addrinfo *all;
};

static void
let_go(struct asked *a)
{
	if (atomic_fetch_sub(&a->users, 1) > 1)
		return;
	if (a->all != NULL)
		freeaddrinfo(a->all);
	if (a->done >= 0)
		(void)close(a->done);
	free(a->host);
	free(a->port);
	free(a);
}

static void *
ask_main(void *arg)
{
	struct asked *a = arg;
	struct addrinfo hints = { .ai_family = a->family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV };

	a->r = getaddrinfo(a->host, a->port, &hints, &a->all);
	if (a->r == EAI_ADDRFAMILY || a->r == EAI_NONAME) {
		/* a machine with nothing but loopback has addresses too */
		hints.ai_flags &= ~AI_ADDRCONFIG;
		a->r = getaddrinfo(a->host, a->port, &hints, &a->all);
	}
	a->error = errno;
	atomic_store(&a->answered, true);
	(void)eventfd_write(a->done, 1);
	let_go(a);
	return (NULL);
}

/* -errno.  Signals are for the threads that wait. */
static int
start(struct asked *a)
{
	pthread_attr_t at;
	pthread_t thread;
	sigset_t all, before;
	int r;

	if ((r = pthread_attr_init(&at)) != 0)
		return (-r);
	(void)pthread_attr_setdetachstate(&at, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_store(&a->users, 2);
	r = pthread_create(&thread, &at, ask_main, a);
	if (r != 0)
		atomic_store(&a->users, 1);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&at);
	return (-r);
}

static int
wait_for_answer(
    struct asked *a, int64_t end, const struct link_limits *l, const char **why)
{
	struct pollfd p = { .fd = a->done, .events = POLLIN };
	int r = poll_until(&p, 1, end, l);

	if (r < 0) {
		*why =
		    r == -ETIMEDOUT ? "no name server answers" : strerror(-r);
		return (r);
	}
	if (atomic_load(&a->answered) && a->r == 0)
		return (0);
	*why = a->r == EAI_SYSTEM ? strerror(a->error) : gai_strerror(a->r);
	return (a->r == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH);
}

int
lookup(const char *host, const char *port, int family, int64_t end,
    const struct link_limits *l, struct addrinfo **out, const char **why)
{
	struct asked *a = calloc(1, sizeof(*a));
	int r = -ENOMEM;

	if (a == NULL)
		goto fail;
	atomic_init(&a->users, 1);
	a->family = family;
	a->done = eventfd(0, EFD_CLOEXEC);
	a->host = strdup(host);
	a->port = strdup(port);
	if (a->done < 0)
		r = -errno;
	else if (a->host != NULL && a->port != NULL)
		r = start(a);
	if (r != 0)
		goto fail;
	if ((r = wait_for_answer(a, end, l, why)) == 0) {
		*out = a->all;
		a->all = NULL;
	}
	let_go(a);
	return (r);
fail:
	*why = strerror(-r);
	if (a != NULL)
		let_go(a);
	return (r);
}
