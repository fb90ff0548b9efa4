/*
 * doveadm -- what a doveadm server says until dsync starts (dsync-protocol.md
 * 1.2, protocol version 1.0: nothing is multiplexed).
 */
#include "backends/transport/transport_internal.h"

#include <string.h>

static enum doveadm_event
greeting(struct doveadm *d)
{
	if (strcmp(d->line, "-") == 0) {
		d->state = DOVEADM_AUTH;
		return (DOVEADM_ASKS);
	}
	if (strcmp(d->line, "+") == 0) {
		d->state = DOVEADM_OUTPUT;
		return (DOVEADM_LET_IN);
	}
	return (DOVEADM_GARBAGE);
}

static enum doveadm_event
auth(struct doveadm *d)
{
	if (strcmp(d->line, "-") == 0)
		return (DOVEADM_REFUSED);
	if (strcmp(d->line, "+") != 0)
		return (DOVEADM_GARBAGE);
	d->state = DOVEADM_OUTPUT;
	return (DOVEADM_LET_IN);
}

static enum doveadm_event
one_line(struct doveadm *d)
{
	switch (d->state) {
	case DOVEADM_GREETING:
		return (greeting(d));
	case DOVEADM_AUTH:
		return (auth(d));
	case DOVEADM_OUTPUT:
		if (*d->line != '\0')
			return (DOVEADM_GARBAGE);
		d->state = DOVEADM_RESULT;
		return (DOVEADM_MORE);
	case DOVEADM_RESULT:
		if (strcmp(d->line, "+") == 0)
			return (DOVEADM_STARTED);
		return (*d->line == '-' ? DOVEADM_FAILED : DOVEADM_GARBAGE);
	case DOVEADM_OVER:
		break;
	}
	return (DOVEADM_GARBAGE);
}

enum doveadm_event
doveadm_input(struct doveadm *d, const char *p, size_t n, size_t *used)
{
	enum doveadm_event e = DOVEADM_MORE;
	size_t i;

	for (i = 0; i < n && e == DOVEADM_MORE; i++) {
		if (p[i] == '\n') {
			d->line[d->n] = '\0';
			d->n = 0;
			e = one_line(d);
		} else if (p[i] == '\0' || d->n + 1 >= sizeof(d->line))
			e = DOVEADM_GARBAGE;
		else
			d->line[d->n++] = p[i];
	}
	if (e == DOVEADM_STARTED || e == DOVEADM_REFUSED ||
	    e == DOVEADM_FAILED || e == DOVEADM_GARBAGE)
		d->state = DOVEADM_OVER;
	*used = i;
	return (e);
}
