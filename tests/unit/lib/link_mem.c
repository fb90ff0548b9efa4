/*
 * link_mem -- a link in memory: two queues of bytes.
 */
#include "link_mem.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "os_mem.h"
#include "sync_help.h"

struct pair;
struct end {
	struct link l;
	struct pair *pair;
	struct buf out; /* all that was written */
	size_t taken; /* by the other end */
	size_t cut; /* of out, SIZE_MAX: never */
	bool open;
	int read_rc, write_rc;
	bool (*work)(void *arg);
	void *arg;
	struct os *os;
	unsigned waits;
};

struct pair {
	struct end end[2];
	struct link_mem_rules rules;
	uint64_t random;
};

static struct end *
end_of(struct link *l)
{
	return ((struct end *)(void *)l);
}

static struct end *
other(struct end *e)
{
	return (e == &e->pair->end[0] ? &e->pair->end[1] : &e->pair->end[0]);
}

/* How much of n goes at once; 0: nothing now. */
static size_t
piece(struct pair *p, size_t n)
{
	if (p->rules.chunk != 0 && n > p->rules.chunk)
		n = p->rules.chunk;
	if (p->rules.seed == 0 || n == 0)
		return (n);
	if (rnd(&p->random, 4) == 0)
		return (0);
	return (1 + rnd(&p->random, n < 1000000 ? (uint32_t)n : 1000000));
}

static size_t
readable(const struct end *e)
{
	const struct end *from = other((struct end *)(uintptr_t)e);
	size_t n = from->out.len < from->cut ? from->out.len : from->cut;

	return (n - from->taken);
}

static ssize_t
mem_read(struct link *l, void *p, size_t n)
{
	struct end *e = end_of(l), *from = other(e);
	size_t there = readable(e), k;

	if (e->read_rc != 0)
		return (e->read_rc);
	if (there == 0)
		return (from->open && from->out.len < from->cut ? -EAGAIN : 0);
	k = piece(e->pair, n < there ? n : there);
	if (k == 0)
		return (-EAGAIN);
	memcpy(p, from->out.data + from->taken, k);
	from->taken += k;
	if (e->pair->rules.forget && from->taken > from->out.len / 2) {
		memmove(from->out.data, from->out.data + from->taken,
		    from->out.len - from->taken);
		from->out.len -= from->taken;
		from->taken = 0;
	}
	return ((ssize_t)k);
}

static size_t
writable(const struct end *e)
{
	size_t cap = e->pair->rules.capacity, held = e->out.len - e->taken;

	if (cap == 0)
		return (SIZE_MAX);
	return (held < cap ? cap - held : 0);
}

static ssize_t
mem_write(struct link *l, const void *p, size_t n)
{
	struct end *e = end_of(l);
	size_t room = writable(e), k;

	if (e->write_rc != 0)
		return (e->write_rc);
	if (!other(e)->open || e->out.len >= e->cut)
		return (-EPIPE);
	k = piece(e->pair, n < room ? n : room);
	if (k == 0)
		return (-EAGAIN);
	buf_put(&e->out, p, k);
	ck_assert_int_eq(e->out.error, 0);
	return ((ssize_t)k);
}

static bool
ready(struct end *e, int want_write)
{
	struct end *from = other(e);

	if (e->read_rc != 0 || readable(e) > 0 || !from->open ||
	    from->out.len >= from->cut)
		return (true);
	return (want_write && (e->write_rc != 0 || writable(e) > 0));
}

static int
mem_wait(struct link *l, int want_write, int also, int timeout_ms)
{
	struct end *e = end_of(l);

	(void)also;
	e->waits++;
	while (!ready(e, want_write)) {
		if (e->work != NULL && e->work(e->arg))
			continue;
		if (ready(e, want_write))
			break;
		if (e->os != NULL)
			os_mem_advance(e->os, (uint64_t)timeout_ms);
		return (-ETIMEDOUT);
	}
	return (0);
}

static int
mem_shut(struct link *l)
{
	end_of(l)->cut = end_of(l)->out.len;
	return (0);
}

static void
mem_close(struct link *l)
{
	struct end *e = end_of(l);
	struct pair *p = e->pair;

	e->open = false;
	if (other(e)->open)
		return;
	buf_fini(&p->end[0].out);
	buf_fini(&p->end[1].out);
	free(p);
}

static const struct link_ops mem_ops = { mem_read, mem_write, mem_wait,
	mem_shut, mem_close };

void
link_mem_pair(
    const struct link_mem_rules *rules, struct link **a, struct link **b)
{
	struct pair *p = calloc(1, sizeof(*p));

	ck_assert_ptr_nonnull(p);
	if (rules != NULL)
		p->rules = *rules;
	p->random = p->rules.seed;
	for (int i = 0; i < 2; i++) {
		struct end *e = &p->end[i];

		e->l.ops = &mem_ops;
		e->l.peer = i == 0 ? "b.example" : "a.example";
		e->pair = p;
		e->cut = SIZE_MAX;
		e->open = true;
	}
	*a = &p->end[0].l;
	*b = &p->end[1].l;
}

void
link_mem_cut(struct link *l, size_t n)
{
	struct end *e = end_of(l);

	e->cut = e->out.len + n;
}

void
link_mem_fail(struct link *l, int read_rc, int write_rc)
{
	end_of(l)->read_rc = read_rc;
	end_of(l)->write_rc = write_rc;
}

const uint8_t *
link_mem_written(struct link *l, size_t *n)
{
	*n = end_of(l)->out.len;
	return (end_of(l)->out.data);
}

void
link_mem_put(struct link *l, const void *p, size_t n)
{
	buf_put(&end_of(l)->out, p, n);
	ck_assert_int_eq(end_of(l)->out.error, 0);
}

void
link_mem_on_wait(
    struct link *l, bool (*fn)(void *arg), void *arg, struct os *os)
{
	end_of(l)->work = fn;
	end_of(l)->arg = arg;
	end_of(l)->os = os;
}

unsigned
link_mem_waits(const struct link *l)
{
	return (((const struct end *)(const void *)l)->waits);
}
