/*
 * session -- the connection to a far place that stays open between two syncs of
 * a mount, so that the far side can say when something has changed there.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/link.h"
#include "cmd/cmd_internal.h"

#define SILENT_MS (3 * SERVER_BEAT_MS)
#define SEND_MS 10000

struct cmd_session {
	struct link *l; /* owned; NULL: not connected, or a sync has it */
	int64_t heard; /* monotonic ms */
};

struct cmd_session *
cmd_session_new(void)
{
	return (calloc(1, sizeof(struct cmd_session)));
}

void
cmd_session_close(struct cmd_session *k)
{
	if (k->l != NULL)
		k->l->ops->close(k->l);
	k->l = NULL;
}

void
cmd_session_free(struct cmd_session *k)
{
	if (k == NULL)
		return;
	cmd_session_close(k);
	free(k);
}

bool
cmd_session_open(const struct cmd_session *k)
{
	return (k->l != NULL);
}

struct link *
session_take(struct cmd_session *k)
{
	struct link *l = k->l;

	k->l = NULL;
	return (l);
}

/* From here on the far side may speak by itself. */
static int
say_ready(struct link *l)
{
	int64_t end = cmd_mono_ms() + SEND_MS;
	ssize_t n;

	for (;;) {
		n = l->ops->write(l, SERVER_BEAT, 1);
		if (n == 1)
			return (0);
		if (n != -EAGAIN)
			return ((int)n);
		if (cmd_mono_ms() >= end)
			return (-ETIMEDOUT);
		(void)l->ops->wait(l, 1, -1, 100);
	}
}

void
session_keep(struct cmd_session *k, struct link *l)
{
	cmd_session_close(k);
	if (say_ready(l) != 0) {
		l->ops->close(l);
		return;
	}
	k->l = l;
	k->heard = cmd_mono_ms();
}

/* 1: it has something; 0: it is there; -EPROTO. */
static int
take(const struct link *l, const char *p, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i] == SERVER_NEWS[0])
			r = 1;
		else if (p[i] != SERVER_BEAT[0]) {
			log_error("%s: says something although nothing was "
				  "asked; the connection is given up",
			    l->peer);
			return (-EPROTO);
		}
	return (r);
}

int
cmd_session_idle(struct cmd_session *k, int ms)
{
	char buf[256];
	ssize_t n;
	int r;

	(void)k->l->ops->wait(k->l, 0, -1, ms);
	n = k->l->ops->read(k->l, buf, sizeof(buf));
	if (n > 0) {
		k->heard = cmd_mono_ms();
		r = take(k->l, buf, (size_t)n);
	} else if (n == -EAGAIN) {
		r = cmd_mono_ms() - k->heard < SILENT_MS ? 0 : -ETIMEDOUT;
	} else {
		r = n == 0 ? -EPIPE : (int)n;
	}
	if (r < 0)
		cmd_session_close(k);
	return (r);
}
