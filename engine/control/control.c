/*
 * control -- the control socket's address, the check of who is at the other
 * end, and the frames.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control/control_internal.h"

int
control_address(const char *store_dir, struct sockaddr_un *sa, int *dir_fd)
{
	int fd;

	fd = open(store_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return (-errno);
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	snprintf(
	    sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/socket", fd);
	*dir_fd = fd;
	return (0);
}

int
control_check_peer(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return (-errno);
	if (cred.uid != geteuid() && cred.uid != 0)
		return (-EACCES);
	return (0);
}

int
control_frame(
    const uint8_t *p, size_t n, size_t *used, uint8_t *type, struct rd *body)
{
	struct rd r;
	uint32_t len;

	if (n < 4)
		return (0);
	rd_init(&r, p, n);
	len = rd_le32(&r);
	if (len < 1 || len > CONTROL_MAX)
		return (-EBADMSG);
	if (rd_left(&r) < len)
		return (0);
	*type = rd_u8(&r);
	rd_init(body, p + 5, len - 1);
	*used = (size_t)len + 4;
	return (1);
}

void
control_put_frame(
    struct buf *b, enum control_type type, const void *p, size_t n)
{
	buf_put_le32(b, (uint32_t)(n + 1));
	buf_put_u8(b, (uint8_t)type);
	buf_put(b, p, n);
}

int
control_encode_request(struct buf *b, enum control_kind kind, int argc,
    const char *const *argv)
{
	struct buf body = BUF_INIT;
	int r = 0;

	if (argc < 0 || argc > CONTROL_ARGS)
		return (-E2BIG);
	buf_put_u8(&body, CONTROL_VERSION);
	buf_put_u8(&body, (uint8_t)kind);
	buf_put_varint(&body, (uint64_t)argc);
	for (int i = 0; i < argc; i++)
		buf_put_str(&body, argv[i]);
	if (body.error != 0)
		r = body.error;
	else if (body.len + 1 > CONTROL_MAX)
		r = -E2BIG;
	else
		control_put_frame(b, CONTROL_REQUEST, body.data, body.len);
	buf_fini(&body);
	return (r != 0 ? r : b->error);
}

int
control_decode_request(struct rd *r, struct arena *a, enum control_kind *kind,
    int *argc, const char *const **argv)
{
	const char **v;
	const uint8_t *p;
	uint64_t count;
	uint8_t what;
	size_t n;

	if (rd_u8(r) != CONTROL_VERSION ||
	    (what = rd_u8(r)) >= CONTROL_KINDS)
		return (-EBADMSG);
	*kind = (enum control_kind)what;
	count = rd_varint(r);
	if (r->bad || count > CONTROL_ARGS || count > rd_left(r))
		return (-EBADMSG);
	v = arena_zalloc(a, ((size_t)count + 1) * sizeof(*v));
	if (v == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < count; i++) {
		p = rd_blob(r, &n);
		if (r->bad || (n != 0 && memchr(p, 0, n) != NULL))
			return (-EBADMSG);
		v[i] = arena_strndup(a, n != 0 ? (const void *)p : "", n);
		if (v[i] == NULL)
			return (-ENOMEM);
	}
	if (rd_left(r) != 0)
		return (-EBADMSG);
	*argc = (int)count;
	*argv = v;
	return (0);
}

int
control_decode_output(
    struct rd *r, enum control_stream *stream, const char **text, size_t *n)
{
	const uint8_t *p;
	uint8_t which;
	size_t len;

	which = rd_u8(r);
	p = rd_blob(r, &len);
	if (r->bad || rd_left(r) != 0 || which < CONTROL_OUT ||
	    which > CONTROL_PROGRESS)
		return (-EBADMSG);
	*stream = (enum control_stream)which;
	*text = len != 0 ? (const char *)p : "";
	*n = len;
	return (0);
}

int
control_decode_status(struct rd *r, int *status)
{
	uint8_t v;

	v = rd_u8(r);
	if (r->bad || rd_left(r) != 0)
		return (-EBADMSG);
	*status = v;
	return (0);
}

int
control_send_fds(
    int fd, const void *p, size_t n, int ms, const int *fds, size_t n_fds)
{
	struct pollfd pfd = { fd, POLLOUT, 0 };
	const uint8_t *at = p;
	ssize_t k;
	int r;

	while (n > 0) {
		/* they go with the first byte */
		k = aside_send(fd, at, n, fds, n_fds, MSG_DONTWAIT);
		if (k >= 0) {
			at += k;
			n -= (size_t)k;
			n_fds = 0;
			continue;
		}
		if (k != -EAGAIN)
			return ((int)k);
		r = poll(&pfd, 1, ms);
		if (r == 0)
			return (-ETIMEDOUT);
		if (r < 0 && errno != EINTR)
			return (-errno);
	}
	return (0);
}

int
control_send(int fd, const void *p, size_t n, int ms)
{
	return (control_send_fds(fd, p, n, ms, NULL, 0));
}
