/*
 * transport_help -- what the tests of links share.
 */
#include "tests/unit/lib/transport_help.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

static char text[1 << 20];
static size_t len;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
keep(void *arg, enum log_level level, const char *line)
{
	size_t n = strlen(line);

	(void)arg;
	(void)level;
	(void)pthread_mutex_lock(&lock);
	if (len + n + 2 < sizeof(text)) {
		memcpy(text + len, line, n);
		len += n;
		text[len++] = '\n';
		text[len] = '\0';
	}
	(void)pthread_mutex_unlock(&lock);
}

void
said_begin(void)
{
	len = 0;
	*text = '\0';
	log_set_level(LOG_LEVEL_VERBOSE);
	log_set_sink(keep, NULL);
}

const char *
said_all(void)
{
	return (text);
}

bool
said(const char *what)
{
	return (strstr(text, what) != NULL);
}

unsigned
said_lines(void)
{
	unsigned n = 0;

	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return (n);
}

int
link_read_all(struct link *l, char *p, size_t size, size_t *n)
{
	ssize_t r;
	int w;

	*n = 0;
	for (;;) {
		ck_assert_uint_lt(*n, size);
		r = l->ops->read(l, p + *n, size - *n);
		if (r > 0)
			*n += (size_t)r;
		else if (r != -EAGAIN)
			return ((int)r);
		else if ((w = l->ops->wait(l, 0, -1, HELP_MS)) != 0 && w != -EINTR)
			return (w);
	}
}

int
link_write_all(struct link *l, const void *p, size_t n)
{
	const char *at = p;
	ssize_t r;
	int w;

	while (n != 0) {
		r = l->ops->write(l, at, n);
		if (r >= 0) {
			at += r;
			n -= (size_t)r;
		} else if (r != -EAGAIN)
			return ((int)r);
		else if ((w = l->ops->wait(l, 1, -1, HELP_MS)) != 0)
			return (w);
	}
	return (0);
}

int
link_shut_all(struct link *l)
{
	int r;

	while ((r = l->ops->shut(l)) == -EAGAIN)
		if ((r = l->ops->wait(l, 1, -1, HELP_MS)) != 0)
			return (r);
	return (r);
}

/* The pattern's byte at a place: no period that a block could hide in. */
static uint8_t
at(size_t i)
{
	return ((uint8_t)((i * 2654435761u) >> 13 ^ i));
}

static int
write_some(struct link *l, size_t *sent, size_t n)
{
	static uint8_t out[100000];
	size_t k = n - *sent < sizeof(out) ? n - *sent : sizeof(out);
	ssize_t r;

	for (size_t i = 0; i < k; i++)
		out[i] = at(*sent + i);
	r = l->ops->write(l, out, k);
	if (r > 0)
		*sent += (size_t)r;
	return (r > 0 ? 0 : (int)r);
}

static int
read_some(struct link *l, size_t *got)
{
	static uint8_t in[70000];
	ssize_t r = l->ops->read(l, in, sizeof(in));

	for (ssize_t i = 0; i < r; i++)
		if (in[i] != at((*got)++))
			ck_abort_msg("byte %zu came back changed", *got - 1);
	return (r > 0 ? 1 : (int)r);
}

int
link_echo(struct link *l, size_t n)
{
	size_t sent = 0, got = 0;
	bool shut = false;
	int r, w;

	for (;;) {
		w = -EAGAIN;
		if (sent < n)
			w = write_some(l, &sent, n);
		else if (!shut && (w = l->ops->shut(l)) == 0)
			shut = true;
		if (w != 0 && w != -EAGAIN)
			return (w);
		r = read_some(l, &got);
		if (r == 0) {
			ck_assert_uint_eq(got, n);
			return (0);
		}
		if (r < 0 && r != -EAGAIN)
			return (r);
		if (w == -EAGAIN && r == -EAGAIN &&
		    (r = l->ops->wait(l, !shut, -1, HELP_MS)) != 0 && r != -EINTR)
			return (r);
	}
}
