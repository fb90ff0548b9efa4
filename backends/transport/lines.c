/*
 * lines -- what a far side says on its standard error, a line at a time.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"

#define LINES_MAX 10000 /* from one peer; a log is not a place to fill */

void
lines_init(struct lines *l, const char *prefix)
{
	memset(l, 0, sizeof(*l));
	l->prefix = prefix;
}

static void
tell(struct lines *l)
{
	size_t n = l->n;

	if (n > 0 && l->text[n - 1] == '\r' && !l->cut)
		n--;
	l->text[n] = '\0';
	if (n > 0 && l->count < LINES_MAX) {
		if (++l->count == LINES_MAX)
			log_warning("%s: says more than %d lines; the rest is "
				    "left out",
			    l->prefix, LINES_MAX);
		else
			log_info("%s: %s%s", l->prefix, l->text,
			    l->cut ? "..." : "");
	}
	if (n > 0 && l->seen != NULL)
		l->seen(l->arg, l->text);
	l->n = 0;
	l->cut = false;
}

void
lines_put(struct lines *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			tell(l);
		else if (l->n + 1 < sizeof(l->text))
			/* a NUL would end the text for whoever reads it */
			l->text[l->n++] = p[i] == '\0' ? '?' : p[i];
		else
			l->cut = true;
	}
}

void
lines_end(struct lines *l)
{
	if (l->n != 0)
		tell(l);
}

int
lines_read(struct lines *l, int fd)
{
	char text[4096];
	ssize_t n;

	for (int i = 0; i < 64; i++) {
		n = read(fd, text, sizeof(text));
		if (n > 0)
			lines_put(l, text, (size_t)n);
		else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			lines_end(l);
			return (-EPIPE);
		} else if (errno == EAGAIN)
			return (-EAGAIN);
	}
	/* it never stops: others want their turn */
	return (-EAGAIN);
}
