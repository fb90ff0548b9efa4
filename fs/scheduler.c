/*
 * scheduler -- one thread looks at clocks, the network and the store, five
 * times a second; a thread for each remote runs its syncs, so that a peer that
 * hangs does not make the others wait for more than the store's own turn, and
 * between them listens to what the far side says.
 */
#include "fs/scheduler.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define TICK_MS 200
#define BUSY_TICK_MS 50 /* while a burst is waited for */
/* After the last change of a burst; it costs less over an open connection. */
#define QUIET_MS 1000
#define OPEN_QUIET_MS 300
#define BURST_MS 5000 /* a burst that goes on for ever is cut */
#define PUSH_POLL 60
#define OPEN_POLL 300 /* where the far side tells what changes */
#define IDLE_MS 100 /* how long it is listened to at a time */
#define NETWORK_MS 2000 /* for a changed network to settle */
#define AGAIN_MS 1000
#define AGAIN_MAX 5
#define BACKOFF_FIRST 5000
#define BACKOFF_MAX 300000
#define COUNT_MS 1000
#define SLEPT_MS 3000 /* nobody is kept waiting that long but by a suspend */

struct remote {
	struct scheduler *s;
	struct scheduler_remote r;
	pthread_t thread;
	bool started;
	/* guarded by s->lock; times in ms of CLOCK_MONOTONIC */
	bool due, running;
	bool open; /* the session is */
	bool news; /* the far side has said so, and no sync has begun since */
	bool hangup; /* whatever it is open to is not there any more */
	int64_t next; /* 0: nothing is planned */
	uint64_t synced; /* changes() when the last sync began */
	unsigned failures, again;
	uint64_t runs, failed; /* since the mount */
	uint64_t waiting; /* changes, when they were last counted */
	struct cmd_waiting count; /* guarded with the store */
	int status;
	char *error; /* owned */
	int64_t began, success; /* seconds since 1970; 0: never */
};

struct scheduler {
	struct scheduler_ops ops;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stop;
	int netlink; /* -1: there is none */
	/* the store: its number, when that changed, when the burst began */
	uint64_t changes;
	int64_t changed, burst;
	int64_t last_tick, slept;
	/* the waiting changes were counted at: the store's number, the time */
	uint64_t counted;
	int64_t counted_at;
	struct remote *remote;
	size_t n;
};

/* ---- clocks ---- */

static int64_t
clock_ms(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return ((int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static int64_t
mono_ms(void)
{
	return (clock_ms(CLOCK_MONOTONIC));
}

/* Between three quarters and five quarters of ms. */
static int64_t
jitter(int64_t ms)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = (uint32_t)mono_ms();
	return (ms * 3 / 4 + (int64_t)(r % (uint32_t)(ms / 2 + 1)));
}

/* ---- when ---- */

static int64_t
backoff(unsigned failures)
{
	int64_t ms = BACKOFF_FIRST;

	for (unsigned i = 1; i < failures && ms < BACKOFF_MAX; i++)
		ms *= 2;
	return (jitter(ms < BACKOFF_MAX ? ms : BACKOFF_MAX));
}

static int64_t
interval(const struct remote *r)
{
	switch (r->r.when) {
	case SYNC_EVERY:
		return ((int64_t)r->r.seconds * 1000);
	case SYNC_PUSH:
		return ((r->open ? OPEN_POLL : PUSH_POLL) * 1000);
	case SYNC_MANUAL:
		break;
	}
	return (0);
}

/* After a sync.  The guard asks for a person: running sooner does not help. */
static void
plan_next(struct remote *r)
{
	int64_t now = mono_ms(), ms = interval(r), wait;

	r->again = r->status == EX_AGAIN ? r->again + 1 : 0;
	if (r->status == EX_DONE || r->status == EX_AGAIN ||
	    r->status == EX_MAX_DELETE)
		r->failures = 0;
	else
		r->failures++;
	r->next = ms == 0 ? 0 : now + ms;
	if (r->r.when == SYNC_MANUAL)
		return;
	if (r->again != 0 && r->again <= AGAIN_MAX) {
		r->next = now + AGAIN_MS;
	} else if (r->failures != 0) {
		wait = backoff(r->failures);
		/* An interval that is longer stays. */
		r->next = now + (wait > ms || ms == 0 ? wait : ms);
		if (r->r.when == SYNC_PUSH)
			r->next = now + wait;
	}
}

static bool
is_quiet(const struct scheduler *s, const struct remote *r, int64_t now)
{
	int64_t quiet = r->open ? OPEN_QUIET_MS : QUIET_MS;

	return (now - s->changed >= quiet || now - s->burst >= BURST_MS);
}

/*
 * Local changes have waited for the end of their burst.  What came from over
 * there is none.
 */
static bool
wants_push(const struct scheduler *s, struct remote *r, int64_t now)
{
	if (r->r.when != SYNC_PUSH || r->failures != 0 ||
	    r->status == EX_MAX_DELETE || s->changes == r->synced ||
	    s->counted != s->changes || !is_quiet(s, r, now))
		return (false);
	if (r->waiting == 0)
		r->synced = s->changes;
	return (r->waiting != 0);
}

/* ---- what is watched ---- */

int
scheduler_network(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK,
		.nl_groups =
		    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	int fd = socket(
	    AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		(void)close(fd);
		fd = -1;
	}
	return (fd);
}

/* Links or addresses changed: whoever could not be reached may be now. */
static bool
network_changed(struct scheduler *s)
{
	char buf[8192];
	bool any = false;

	while (s->netlink >= 0 &&
	    (recv(s->netlink, buf, sizeof(buf), 0) > 0 || errno == ENOBUFS))
		any = true;
	return (any);
}

static bool
woke_up(struct scheduler *s, int64_t now)
{
	int64_t slept = clock_ms(CLOCK_BOOTTIME) - now;
	bool woke = s->last_tick != 0 &&
	    (slept - s->slept > SLEPT_MS || now - s->last_tick > SLEPT_MS);

	s->slept = slept;
	s->last_tick = now;
	return (woke);
}

static void
look_at_store(struct scheduler *s, uint64_t changes, int64_t now)
{
	if (changes == s->changes)
		return;
	/* A burst begins when all was quiet before. */
	if (now - s->changed >= OPEN_QUIET_MS)
		s->burst = now;
	s->changes = changes;
	s->changed = now;
}

/* Whoever could not be reached may be now; an open connection is tried. */
static void
try_soon(struct remote *r, bool woke, int64_t now)
{
	if (woke)
		r->hangup = true;
	if (woke || r->failures != 0)
		r->next = now;
	else if (r->open && r->next > now + NETWORK_MS)
		r->next = now + NETWORK_MS;
	r->failures = 0;
}

static void
look(struct scheduler *s, int64_t now)
{
	bool woke = woke_up(s, now), network = network_changed(s), any = false;

	for (size_t i = 0; i < s->n; i++) {
		struct remote *r = &s->remote[i];

		if (r->running || r->due || r->r.when == SYNC_MANUAL)
			continue;
		if (woke || network)
			try_soon(r, woke, now);
		r->due =
		    (r->next != 0 && now >= r->next) || wants_push(s, r, now);
		any |= r->due;
	}
	if (any)
		pthread_cond_broadcast(&s->wake);
}

static bool
is_busy(const struct scheduler *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->remote[i].r.when == SYNC_PUSH &&
		    s->remote[i].synced != s->changes)
			return (true);
	return (false);
}

static void
wait_tick(struct scheduler *s)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (is_busy(s) ? BUSY_TICK_MS : TICK_MS) * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
}

/* When a burst has ended, and once a second in one. */
static void
count_waiting(struct scheduler *s, uint64_t changes, int64_t now)
{
	uint64_t n;
	int rc;

	if (changes == s->counted ||
	    (now - s->changed < OPEN_QUIET_MS && now - s->counted_at < COUNT_MS))
		return;
	s->counted = changes;
	s->counted_at = now;
	for (size_t i = 0; i < s->n; i++) {
		n = 0;
		rc = s->ops.waiting(s->ops.arg, &s->remote[i].r,
		    &s->remote[i].count, &n);
		if (rc != 0)
			continue;
		pthread_mutex_lock(&s->lock);
		s->remote[i].waiting = n;
		pthread_mutex_unlock(&s->lock);
	}
}

static void *
looker_main(void *arg)
{
	struct scheduler *s = arg;
	uint64_t changes;
	int64_t now;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		pthread_mutex_unlock(&s->lock);
		changes = s->ops.changes(s->ops.arg);
		now = mono_ms();
		pthread_mutex_lock(&s->lock);
		look_at_store(s, changes, now);
		pthread_mutex_unlock(&s->lock);
		count_waiting(s, changes, now);
		pthread_mutex_lock(&s->lock);
		look(s, now);
		wait_tick(s);
	}
	pthread_mutex_unlock(&s->lock);
	return (NULL);
}

/* ---- syncs ---- */

/*
 * A failure is said once, and again when it is another one.  To run again is
 * what it does by itself: that this does not help is said.
 */
static bool
is_news(const struct remote *r, int before, const char *error)
{
	if (r->status == EX_AGAIN)
		return (r->again == AGAIN_MAX);
	return (before != r->status || r->error == NULL ||
	    strcmp(r->error, error != NULL ? error : "") != 0);
}

static void
tell(const struct remote *r, int before, const char *error)
{
	if (r->status == EX_DONE) {
		if (r->failures != 0)
			log_info("sync with %s: works again", r->r.name);
	} else if (is_news(r, before, error))
		log_warning("sync with %s: status %d%s%s", r->r.name, r->status,
		    error != NULL ? ": " : "", error != NULL ? error : "");
}

static void
sync_one(struct remote *r)
{
	struct scheduler *s = r->s;
	uint64_t begin = s->ops.changes(s->ops.arg), waiting = 1, end;
	bool counted;
	char *error = NULL;
	int before, status = s->ops.sync(s->ops.arg, &r->r, &error);

	end = s->ops.changes(s->ops.arg);
	counted = s->ops.waiting(s->ops.arg, &r->r, &r->count, &waiting) == 0;
	if (status == EX_DONE && counted && waiting == 0)
		begin = end; /* what it wrote came from over there */
	pthread_mutex_lock(&s->lock);
	if (counted)
		r->waiting = waiting;
	before = r->status;
	r->status = status;
	r->runs++;
	if (status != EX_DONE && status != EX_AGAIN)
		r->failed++;
	tell(r, before, error);
	free(r->error);
	r->error = error;
	if (status == EX_DONE || status == EX_AGAIN)
		r->success = time(NULL);
	/* What was not pushed is tried again by the clock. */
	r->synced = begin;
	r->open = r->r.session != NULL && cmd_session_open(r->r.session);
	plan_next(r);
	pthread_mutex_unlock(&s->lock);
}

/* Nothing is due: the far side may have something, or nobody has. */
static void
listen_to(struct remote *r)
{
	struct scheduler *s = r->s;
	int rc;

	if (!r->open) {
		(void)pthread_cond_wait(&s->wake, &s->lock);
		return;
	}
	pthread_mutex_unlock(&s->lock);
	rc = cmd_session_idle(r->r.session, IDLE_MS);
	pthread_mutex_lock(&s->lock);
	r->news |= rc == 1;
	r->due |= r->news;
	if (rc < 0) {
		r->open = false;
		r->next = mono_ms() + jitter(AGAIN_MS);
	}
}

static void
hang_up(struct remote *r)
{
	if (r->hangup && r->r.session != NULL)
		cmd_session_close(r->r.session);
	r->hangup = false;
}

static void *
remote_main(void *arg)
{
	struct remote *r = arg;
	struct scheduler *s = r->s;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (!r->due) {
			listen_to(r);
			continue;
		}
		hang_up(r);
		r->due = r->news = false;
		r->running = true;
		r->began = time(NULL);
		pthread_mutex_unlock(&s->lock);
		sync_one(r);
		pthread_mutex_lock(&s->lock);
		r->running = false;
	}
	pthread_mutex_unlock(&s->lock);
	return (NULL);
}

/* ---- from outside ---- */

void
scheduler_now(struct scheduler *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n; i++)
		s->remote[i].due = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

static int
init(struct scheduler *s, const struct scheduler_remote *v, size_t n)
{
	pthread_condattr_t a;
	int64_t now = mono_ms();

	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->wake, &a);
	(void)pthread_condattr_destroy(&a);
	s->changes = s->ops.changes(s->ops.arg);
	s->changed = s->burst = now;
	s->remote = calloc(n + 1, sizeof(*s->remote));
	if (s->remote == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < n; i++) {
		struct remote *r = &s->remote[i];

		r->s = s;
		r->r = v[i];
		r->synced = s->changes;
		/* What changed while nothing was mounted goes at once. */
		r->next = v[i].when == SYNC_PUSH ? now : now + interval(r);
		if (v[i].when == SYNC_MANUAL)
			r->next = 0;
	}
	s->n = n;
	return (0);
}

int
scheduler_start(const struct scheduler_remote *v, size_t n,
    const struct scheduler_ops *ops, int network, struct scheduler **out)
{
	struct scheduler *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL) {
		if (network >= 0)
			(void)close(network);
		return (-ENOMEM);
	}
	s->ops = *ops;
	s->netlink = network;
	rc = init(s, v, n);
	*out = s; /* its threads look at it */
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = -pthread_create(
		    &s->remote[i].thread, NULL, remote_main, &s->remote[i]);
		s->remote[i].started = rc == 0;
	}
	if (rc == 0 && n != 0) {
		rc = -pthread_create(&s->thread, NULL, looker_main, s);
		s->started = rc == 0;
	}
	if (rc != 0) {
		*out = NULL;
		scheduler_stop(s);
	}
	return (rc);
}

static void
tell_unpushed(struct scheduler *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct scheduler_remote *r = &s->remote[i].r;
		uint64_t n = 0;

		if (r->when != SYNC_MANUAL &&
		    s->ops.waiting(s->ops.arg, r, &s->remote[i].count, &n) ==
			0 &&
		    n != 0)
			log_warning("%s: %llu changes have not been pushed yet",
			    r->name, (unsigned long long)n);
	}
}

void
scheduler_stop(struct scheduler *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	if (s->started)
		(void)pthread_join(s->thread, NULL);
	for (size_t i = 0; i < s->n; i++) {
		if (s->remote[i].started)
			(void)pthread_join(s->remote[i].thread, NULL);
		if (s->remote[i].r.session != NULL)
			cmd_session_close(s->remote[i].r.session);
	}
	if (s->started)
		tell_unpushed(s);
	for (size_t i = 0; i < s->n; i++)
		free(s->remote[i].error);
	if (s->netlink >= 0)
		(void)close(s->netlink);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->remote);
	free(s);
}

bool
scheduler_status(struct scheduler *s, size_t i, struct cmd_remote_status *out)
{
	int64_t now = mono_ms();
	const struct remote *r;

	if (i >= s->n)
		return (false);
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&s->lock);
	r = &s->remote[i];
	out->name = r->r.name;
	out->backup = r->r.backup;
	if (r->r.when == SYNC_EVERY)
		(void)snprintf(
		    out->sync, sizeof(out->sync), "%u", r->r.seconds);
	else
		(void)snprintf(out->sync, sizeof(out->sync), "%s",
		    r->r.when == SYNC_PUSH ? "push" : "manual");
	out->syncing = r->running;
	out->began = r->began;
	out->runs = r->runs;
	out->failed = r->failed;
	out->last_success = r->success;
	if (!r->running && r->next != 0)
		out->next_try =
		    time(NULL) + (r->next > now ? r->next - now : 0) / 1000;
	out->last_status = r->status;
	if (r->status != EX_DONE && r->error != NULL)
		(void)snprintf(
		    out->last_error, sizeof(out->last_error), "%s", r->error);
	out->waiting = r->waiting;
	out->connected = r->open;
	out->waiting_there = r->open && !r->running ? r->news : -1;
	pthread_mutex_unlock(&s->lock);
	return (true);
}

static void
put_time(struct buf *b, const char *what, int64_t t)
{
	char text[32] = "never";
	time_t at = (time_t)t;
	struct tm tm;

	if (t != 0 && gmtime_r(&at, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_printf(b, "    %s: %s\n", what, text);
}

static void
put_remote(struct buf *b, const struct cmd_remote_status *r)
{
	bool every = r->sync[0] >= '0' && r->sync[0] <= '9';

	buf_printf(b, "  remote %s: %s, %s%s%s\n", r->name,
	    r->backup ? "backup" : "mirror", every ? "every " : "", r->sync,
	    every ? " s" : "");
	if (r->syncing)
		put_time(b, "syncing since", r->began);
	else if (r->connected)
		buf_printf(b, "    connected: changes over there come at once\n");
	put_time(b, "last success", r->last_success);
	buf_printf(
	    b, "    waiting: %llu changes\n", (unsigned long long)r->waiting);
	buf_printf(b, "    waiting there: %s\n",
	    r->waiting_there < 0 ? "not known"
		: r->waiting_there ? "some"
				   : "none");
	if (r->last_status != EX_DONE)
		buf_printf(b, "    last error: status %d%s%s\n", r->last_status,
		    *r->last_error != '\0' ? ": " : "", r->last_error);
	if (r->next_try != 0)
		put_time(b, "next try", r->next_try);
}

void
scheduler_text(struct scheduler *s, struct buf *b)
{
	struct cmd_remote_status r;

	for (size_t i = 0; scheduler_status(s, i, &r); i++)
		put_remote(b, &r);
}
