/*
 * client -- dsyncfs-sync's end of the control socket: one request, its output,
 * its status.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "control/control_internal.h"

#define LOOK_MS 250 /* how often a waiting client looks at its stop flag */
#define SEND_MS 30000

struct control_client {
	int fd;
	/* bytes of frames that are not yet whole */
	struct buf in;
	const atomic_int *stop; /* borrowed, may be NULL */
	enum control_kind kind;
	int fds[CONTROL_FDS]; /* to go with the request */
	size_t n_fds;
	bool cancelled;
};

int
control_connect(const char *store_dir, struct control_client **out)
{
	struct sockaddr_un sa;
	struct control_client *c;
	int dir = -1, fd = -1, r;

	r = control_address(store_dir, &sa, &dir);
	if (r == -ENOTDIR || r == -ENOENT)
		return (-ENOENT);
	if (r != 0) {
		log_error("%s: cannot look for a running mount there: %s",
		    store_dir, strerror(-r));
		return (r);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		r = errno == ECONNREFUSED || errno == ENOENT ? -ENOENT : -errno;
		if (r != -ENOENT)
			log_error("%s/socket: cannot connect: %s", store_dir,
			    strerror(-r));
		goto fail;
	}
	r = control_check_peer(fd);
	if (r != 0) {
		log_error(
		    "%s/socket: the program behind it runs as another user: "
		    "not asked; remove the socket if it is not yours",
		    store_dir);
		goto fail;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		r = -ENOMEM;
		goto fail;
	}
	c->fd = fd;
	close(dir);
	*out = c;
	return (0);
fail:
	if (fd >= 0)
		close(fd);
	close(dir);
	return (r);
}

void
control_set_stop(struct control_client *c, const atomic_int *stop)
{
	c->stop = stop;
}

void
control_set_kind(struct control_client *c, enum control_kind kind)
{
	c->kind = kind;
}

void
control_set_fds(struct control_client *c, const int *fd, size_t n)
{
	c->n_fds = n < CONTROL_FDS ? n : CONTROL_FDS;
	memcpy(c->fds, fd, c->n_fds * sizeof(*fd));
}

int
control_cancel(struct control_client *c)
{
	struct buf b = BUF_INIT;
	int r;

	control_put_frame(&b, CONTROL_CANCEL, NULL, 0);
	r = b.error != 0 ? b.error
			 : control_send(c->fd, b.data, b.len, SEND_MS);
	buf_fini(&b);
	c->cancelled = true;
	return (r);
}

/*
 * Takes the whole frames off the front of what came.  1: the status was among
 * them.
 */
static int
take_frames(
    struct control_client *c, control_output_fn *fn, void *arg, int *status)
{
	enum control_stream stream;
	const char *text;
	struct rd body;
	uint8_t type;
	size_t used, n, at = 0;
	int r;

	while ((r = control_frame(c->in.data + at, c->in.len - at, &used, &type,
		    &body)) > 0) {
		at += used;
		if (type == CONTROL_STATUS) {
			r = control_decode_status(&body, status);
			return (r != 0 ? r : 1);
		}
		if (type != CONTROL_OUTPUT)
			return (-EBADMSG);
		r = control_decode_output(&body, &stream, &text, &n);
		if (r != 0)
			return (r);
		fn(arg, stream, text, n);
	}
	if (r < 0)
		return (r);
	if (at != 0) {
		memmove(c->in.data, c->in.data + at, c->in.len - at);
		c->in.len -= at;
	}
	return (0);
}

/* Waits for bytes and adds them to c->in.  0, -EPIPE at the end, -errno. */
static int
read_more(struct control_client *c)
{
	struct pollfd pfd = { c->fd, POLLIN, 0 };
	ssize_t n;
	int r;

	for (;;) {
		if (c->stop != NULL && *c->stop != 0 && !c->cancelled)
			/* a mount that is gone shows as -EPIPE below */
			(void)control_cancel(c);
		r = poll(&pfd, 1, LOOK_MS);
		if (r > 0)
			break;
		if (r < 0 && errno != EINTR)
			return (-errno);
	}
	if ((r = buf_reserve(&c->in, CONTROL_PIECE)) != 0)
		return (r);
	n = recv(c->fd, c->in.data + c->in.len, CONTROL_PIECE, 0);
	if (n < 0)
		return (errno == EINTR        ? 0
			: errno == ECONNRESET ? -EPIPE
					      : -errno);
	if (n == 0)
		return (-EPIPE);
	c->in.len += (size_t)n;
	return (0);
}

int
control_run(struct control_client *c, int argc, const char *const *argv,
    control_output_fn *fn, void *arg, int *status)
{
	struct buf b = BUF_INIT;
	int r;

	r = control_encode_request(&b, c->kind, argc, argv);
	if (r == 0)
		r = control_send_fds(
		    c->fd, b.data, b.len, SEND_MS, c->fds, c->n_fds);
	buf_fini(&b);
	if (r == -E2BIG)
		log_error("the command line is too long for the mount (at most "
			  "%u bytes in %d arguments)",
		    CONTROL_MAX, CONTROL_ARGS);
	while (r == 0) {
		r = read_more(c);
		if (r == 0)
			r = take_frames(c, fn, arg, status);
	}
	if (r == 1)
		return (0);
	if (r == -EPIPE || r == -ECONNRESET) {
		log_error("the mount went away before it had finished the "
			  "command: look into its log, then run it again");
		r = -EPIPE;
	} else if (r == -EBADMSG)
		log_error("the mount answered something that is no answer: it "
			  "may be another version of dsyncfs; mount it again");
	else if (r != -E2BIG)
		log_error("talking to the mount failed: %s", strerror(-r));
	return (r);
}

void
control_close(struct control_client *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	buf_fini(&c->in);
	free(c);
}
