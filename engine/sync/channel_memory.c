/*
 * channel_memory -- two brains in one process: a queue of items each way.
 *
 * The queues are bounded by asking (full), not by refusing: what a brain must
 * say it can always say.  Not thread-safe; both brains are stepped by one
 * thread.  The pair lives until both ends are closed.
 */
#include "sync/channel.h"

#include <errno.h>
#include <stdlib.h>

#define QUEUE_LIMIT 128 /* items after which a sender is asked to wait */

struct entry {
	struct item *item; /* owned */
	struct entry *next;
};

struct queue {
	struct entry *head, **tail;
	unsigned n;
};

struct pair;
struct end {
	struct channel c;
	struct pair *pair;
	struct queue in; /* what the other end sent */
	bool open;
};

struct pair {
	struct end end[2];
};

static struct end *
end_of(struct channel *c)
{
	return ((struct end *)(void *)c);
}

static struct end *
other(struct end *e)
{
	return (e == &e->pair->end[0] ? &e->pair->end[1] : &e->pair->end[0]);
}

static int
memory_send(struct channel *c, struct item *i)
{
	struct end *to = other(end_of(c));
	struct entry *e;

	if (!to->open) {
		item_free(i);
		return (-EPIPE);
	}
	e = malloc(sizeof(*e));
	if (e == NULL) {
		item_free(i);
		return (-ENOMEM);
	}
	e->item = i;
	e->next = NULL;
	*to->in.tail = e;
	to->in.tail = &e->next;
	to->in.n++;
	return (0);
}

static bool
memory_full(struct channel *c)
{
	return (other(end_of(c))->in.n >= QUEUE_LIMIT);
}

static int
memory_recv(struct channel *c, struct item **out)
{
	struct end *e = end_of(c);
	struct entry *first = e->in.head;

	if (first == NULL)
		return (other(e)->open ? -EAGAIN : -EPIPE);
	e->in.head = first->next;
	if (e->in.head == NULL)
		e->in.tail = &e->in.head;
	e->in.n--;
	*out = first->item;
	free(first);
	return (0);
}

/* What was sent is there. */
static int
memory_flush(struct channel *c)
{
	(void)c;
	return (0);
}

static void
memory_close(struct channel *c)
{
	struct end *e = end_of(c);
	struct item *i;

	while (memory_recv(c, &i) == 0)
		item_free(i);
	e->open = false;
	if (!other(e)->open)
		free(e->pair);
}

static const struct channel_ops memory_ops = {
	.send = memory_send,
	.full = memory_full,
	.recv = memory_recv,
	.flush = memory_flush,
	.close = memory_close,
};

static void
end_init(struct pair *p, struct end *e, const char *peer)
{
	e->c.ops = &memory_ops;
	e->c.peer = peer;
	e->pair = p;
	e->in.head = NULL;
	e->in.tail = &e->in.head;
	e->open = true;
}

int
channel_memory_pair(const char *name_a, const char *name_b, struct channel **a,
    struct channel **b)
{
	struct pair *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return (-ENOMEM);
	/* A channel's name is that of who is at its other end. */
	end_init(p, &p->end[0], name_b);
	end_init(p, &p->end[1], name_a);
	*a = &p->end[0].c;
	*b = &p->end[1].c;
	return (0);
}
