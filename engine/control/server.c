/*
 * server -- the mount's end of the control socket.
 *
 * Four threads.  The listener accepts, reads requests and watches every client
 *for CANCEL and for going away; it never runs a command and never waits for one
 *client.  A worker runs whole requests, oldest first, one at a time, and
 *writes their output: one worker for each kind.
 *
 * A client is in one state, guarded by the mutex:
 *
 *	state      fd is read by   fields valid                      next
 *	FREE       -               none                              READING
 *(accept) READING    listener        in, deadline                      READY (a
 *whole request), FREE (bad, late, gone) READY      listener        in, args,
 *argc, argv, order       RUNNING (worker takes it), FREE (gone) RUNNING
 *listener        the same                          DONE (worker has sent the
 *status) DONE       -               the same                          FREE
 *(listener closes)
 *
 * While RUNNING the worker only writes to the fd and only the listener closes
 *it, in FREE; so no number is used after it was closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "control/control_internal.h"

#define CLIENTS 16 /* more wait in the kernel's queue */
#define REQUEST_MS 10000 /* a client has this long to say what it wants */
#define REPLY_MS 30000 /* and may leave its output lying this long */

enum client_state {
	CLIENT_FREE,
	CLIENT_READING,
	CLIENT_READY,
	CLIENT_RUNNING,
	CLIENT_DONE
};

struct client {
	enum client_state state;
	int fd;
	struct buf in;
	struct arena args;
	int argc;
	const char *const *argv;
	/* of READY clients the lowest is next */
	uint64_t order;
	int64_t deadline; /* of READING, monotonic ms */
	/* writing failed: nothing more is sent */
	atomic_bool dead;
	atomic_int cancelled;
	enum control_kind kind;
	/* descriptors that came with the request, owned; -1 */
	int fds[CONTROL_FDS];
};

struct control_server {
	int dir, fd, wake;
	control_handler_fn *fn;
	void *arg; /* borrowed */
	pthread_t listener;
	bool listening;
	struct worker {
		struct control_server *s;
		pthread_t thread;
		enum control_kind kind;
		bool running;
	} worker[CONTROL_KINDS];
	/* guards stopping, next_order, client[].state */
	pthread_mutex_t mutex;
	pthread_cond_t ready;
	bool stopping;
	uint64_t next_order;
	struct client client[CLIENTS];
};

static int64_t
mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

static void
wake(struct control_server *s)
{
	uint64_t one = 1;
	ssize_t n;

	n = write(s->wake, &one, sizeof(one));
	/* full means that it is awake already */
	(void)n;
}

static void
client_free(struct client *c)
{
	close(c->fd);
	for (int i = 0; i < CONTROL_FDS; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
	buf_fini(&c->in);
	arena_fini(&c->args);
	c->fd = -1;
	c->state = CLIENT_FREE;
}

static void
accept_one(struct control_server *s)
{
	struct client *c = NULL;
	int fd;

	fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (size_t i = 0; i < CLIENTS && c == NULL; i++)
		if (s->client[i].state == CLIENT_FREE)
			c = &s->client[i];
	if (c == NULL || control_check_peer(fd) != 0) {
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	arena_init(&c->args);
	buf_init(&c->in);
	c->fd = fd;
	for (int i = 0; i < CONTROL_FDS; i++)
		c->fds[i] = -1;
	c->deadline = mono_ms() + REQUEST_MS;
	c->state = CLIENT_READING;
}

/*
 * One frame of a client.  -EBADMSG when it has no place in the client's state
 * (C2).
 */
static int
client_frame(
    struct control_server *s, struct client *c, uint8_t type, struct rd *body)
{
	int r;

	if (c->state != CLIENT_READING) {
		if (type != CONTROL_CANCEL || rd_left(body) != 0)
			return (-EBADMSG);
		c->cancelled = 1;
		return (0);
	}
	if (type != CONTROL_REQUEST)
		return (-EBADMSG);
	r = control_decode_request(
	    body, &c->args, &c->kind, &c->argc, &c->argv);
	if (r != 0)
		return (r);
	c->order = s->next_order++;
	c->state = CLIENT_READY;
	pthread_cond_broadcast(&s->ready);
	return (0);
}

/* Reads what a client has sent.  -errno: the client is of no more use. */
static int
client_read(struct control_server *s, struct client *c)
{
	/* behind a request there is no place for any */
	size_t places = c->state == CLIENT_READING ? CONTROL_FDS : 0;
	struct rd body;
	uint8_t type;
	size_t used;
	ssize_t n;
	int r;

	if ((r = buf_reserve(&c->in, 4096)) != 0)
		return (r);
	n = aside_recv(
	    c->fd, c->in.data + c->in.len, 4096, c->fds, places);
	if (n < 0)
		return (n == -EAGAIN ? 0 : (int)n);
	if (n == 0)
		return (-EPIPE);
	c->in.len += (size_t)n;
	while ((r = control_frame(c->in.data, c->in.len, &used, &type, &body)) >
	    0) {
		r = client_frame(s, c, type, &body);
		if (r != 0)
			return (r);
		memmove(c->in.data, c->in.data + used, c->in.len - used);
		c->in.len -= used;
	}
	return (r);
}

static void
client_event(struct control_server *s, struct client *c)
{
	if (client_read(s, c) == 0)
		return;
	c->cancelled = 1;
	c->dead = true;
	if (c->state != CLIENT_RUNNING)
		client_free(c);
}

/*
 * Fills pfd and the clients they stand for; gives their number, sets the time
 * until something is due.
 */
static nfds_t
watched(struct control_server *s, struct pollfd *pfd, struct client **who,
    int *timeout)
{
	int64_t now = mono_ms(), left;
	nfds_t n = 2;
	bool room = false;

	*timeout = -1;
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->state == CLIENT_DONE ||
		    (c->state == CLIENT_READING && c->deadline <= now))
			client_free(c);
		if (c->state == CLIENT_FREE)
			room = true;
		if (c->state == CLIENT_FREE || c->dead)
			continue;
		left = c->deadline - now;
		if (c->state == CLIENT_READING &&
		    (*timeout < 0 || left < *timeout))
			*timeout = (int)left;
		who[n] = c;
		pfd[n++] = (struct pollfd){ c->fd, POLLIN, 0 };
	}
	pfd[0] = (struct pollfd){ s->wake, POLLIN, 0 };
	pfd[1] = (struct pollfd){ room ? s->fd : -1, POLLIN, 0 };
	return (n);
}

static void *
listener(void *arg)
{
	struct control_server *s = arg;
	struct pollfd pfd[CLIENTS + 2];
	struct client *who[CLIENTS + 2];
	uint64_t count;
	ssize_t k;
	nfds_t n;
	int timeout;

	for (;;) {
		pthread_mutex_lock(&s->mutex);
		if (s->stopping) {
			pthread_mutex_unlock(&s->mutex);
			return (NULL);
		}
		n = watched(s, pfd, who, &timeout);
		pthread_mutex_unlock(&s->mutex);

		if (poll(pfd, n, timeout) < 0)
			continue; /* EINTR, or no memory for a moment */

		pthread_mutex_lock(&s->mutex);
		if (pfd[0].revents != 0) {
			k = read(s->wake, &count, sizeof(count));
			(void)k;
		}
		if (pfd[1].revents != 0)
			accept_one(s);
		for (nfds_t i = 2; i < n; i++)
			if (pfd[i].revents != 0)
				client_event(s, who[i]);
		pthread_mutex_unlock(&s->mutex);
	}
}

static void
client_send(struct client *c, enum control_type type, const void *p, size_t n)
{
	struct buf b = BUF_INIT;
	int r;

	if (c->dead)
		return;
	control_put_frame(&b, type, p, n);
	r = b.error != 0 ? b.error
			 : control_send(c->fd, b.data, b.len, REPLY_MS);
	buf_fini(&b);
	if (r != 0) {
		c->dead = true;
		c->cancelled = 1;
	}
}

static void
reply(void *arg, enum control_stream stream, const char *text, size_t n)
{
	struct client *c = arg;
	struct buf b = BUF_INIT;
	size_t k;

	for (; n > 0 && !c->dead; text += k, n -= k) {
		k = n < CONTROL_PIECE ? n : CONTROL_PIECE;
		buf_reset(&b);
		buf_put_u8(&b, (uint8_t)stream);
		buf_put_bytes(&b, text, k);
		if (b.error != 0)
			break;
		client_send(c, CONTROL_OUTPUT, b.data, b.len);
	}
	buf_fini(&b);
}

static struct client *
next_ready(struct control_server *s, enum control_kind kind)
{
	struct client *best = NULL;

	for (size_t i = 0; i < CLIENTS; i++)
		if (s->client[i].state == CLIENT_READY &&
		    s->client[i].kind == kind &&
		    (best == NULL || s->client[i].order < best->order))
			best = &s->client[i];
	return (best);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct control_server *s = w->s;
	struct control_request req;
	struct client *c;
	uint8_t status;

	pthread_mutex_lock(&s->mutex);
	while (!s->stopping) {
		c = next_ready(s, w->kind);
		if (c == NULL) {
			pthread_cond_wait(&s->ready, &s->mutex);
			continue;
		}
		c->state = CLIENT_RUNNING;
		pthread_mutex_unlock(&s->mutex);

		req = (struct control_request){ c->argc, c->argv, &c->cancelled,
			c->kind, c->fds };
		status = (uint8_t)s->fn(s->arg, &req, reply, c);
		client_send(c, CONTROL_STATUS, &status, 1);

		pthread_mutex_lock(&s->mutex);
		c->state = CLIENT_DONE;
		wake(s);
	}
	pthread_mutex_unlock(&s->mutex);
	return (NULL);
}

/*
 * Binds the socket with mode 0600 from its first moment: its inode takes the
 * mode that the socket has before bind.
 */
static int
bind_socket(struct control_server *s, const char *store_dir)
{
	struct sockaddr_un sa;
	int r;

	r = control_address(store_dir, &sa, &s->dir);
	if (r != 0)
		goto fail;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0 || s->wake < 0 || fchmod(s->fd, 0600) != 0) {
		r = -errno;
		goto fail;
	}
	if (unlinkat(s->dir, "socket", 0) != 0 && errno != ENOENT) {
		r = -errno;
		goto fail;
	}
	if (bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
	    listen(s->fd, 64) != 0) {
		r = -errno;
		goto fail;
	}
	return (0);
fail:
	log_warning("%s/socket: cannot listen there: %s; while this is mounted, "
		    "dsyncfs-sync cannot use the store",
	    store_dir, strerror(-r));
	return (r);
}

static void
server_free(struct control_server *s)
{
	for (size_t i = 0; i < CLIENTS; i++)
		if (s->client[i].state != CLIENT_FREE)
			client_free(&s->client[i]);
	if (s->fd >= 0)
		close(s->fd);
	if (s->wake >= 0)
		close(s->wake);
	if (s->dir >= 0)
		close(s->dir);
	pthread_cond_destroy(&s->ready);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

static void
end_threads(struct control_server *s)
{
	pthread_mutex_lock(&s->mutex);
	s->stopping = true;
	for (size_t i = 0; i < CLIENTS; i++)
		s->client[i].cancelled = 1;
	pthread_cond_broadcast(&s->ready);
	pthread_mutex_unlock(&s->mutex);
	wake(s);
	for (int i = 0; i < CONTROL_KINDS; i++)
		if (s->worker[i].running)
			pthread_join(s->worker[i].thread, NULL);
	if (s->listening)
		pthread_join(s->listener, NULL);
}

int
control_listen(const char *store_dir, struct control_server **out)
{
	struct control_server *s;
	int r;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return (-ENOMEM);
	s->dir = s->fd = s->wake = -1;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->ready, NULL);
	r = bind_socket(s, store_dir);
	if (r != 0) {
		server_free(s);
		return (r);
	}
	*out = s;
	return (0);
}

int
control_start(struct control_server *s, control_handler_fn *fn, void *arg)
{
	int r;

	s->fn = fn;
	s->arg = arg;
	r = -pthread_create(&s->listener, NULL, listener, s);
	s->listening = r == 0;
	for (int i = 0; r == 0 && i < CONTROL_KINDS; i++) {
		s->worker[i] =
		    (struct worker){ .s = s, .kind = (enum control_kind)i };
		r = -pthread_create(
		    &s->worker[i].thread, NULL, worker_main, &s->worker[i]);
		s->worker[i].running = r == 0;
	}
	if (r != 0)
		log_error("no thread to listen with on the control socket: %s",
		    strerror(-r));
	return (r);
}

void
control_server_stop(struct control_server *s)
{
	if (s == NULL)
		return;
	end_threads(s);
	(void)unlinkat(s->dir, "socket", 0);
	server_free(s);
}
