/*
 * run -- lives a history: its steps, its syncs with what disturbs them, and the
 * quiet at the end in which everything has to settle.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "tests/unit/lib/os_mem.h"

#define ROUNDS 10 /* until everything must have settled */
#define PATIENCE 2000 /* steps in which neither brain could do anything */

/* ---- a link: in order, with delays, until it is cut ---- */

struct wire_item {
	struct item *item;
	struct wire_item *next;
};

struct wire;
struct wire_end {
	struct channel c;
	struct wire *w;
	struct wire_item *head, **tail; /* what the other end sent */
	unsigned n;
};

struct wire {
	struct wire_end end[2];
	uint64_t luck;
	bool stalls, foreign, cut;
	unsigned left; /* items until it is cut; 0: never */
	unsigned open;
};

static struct wire_end *
end_of(struct channel *c)
{
	return ((struct wire_end *)(void *)c);
}

static struct wire_end *
far_end(struct wire_end *e)
{
	return (&e->w->end[e == &e->w->end[0]]);
}

static void
drop_after(struct wire_end *e, unsigned keep)
{
	struct wire_item **p = &e->head;

	for (; keep > 0 && *p != NULL; keep--)
		p = &(*p)->next;
	while (*p != NULL) {
		struct wire_item *i = *p;

		*p = i->next;
		item_free(i->item);
		free(i);
		e->n--;
	}
	e->tail = p;
}

/* What is on its way may still arrive, but for the tail. */
static void
cut(struct wire *w)
{
	w->cut = true;
	for (int i = 0; i < 2; i++)
		drop_after(&w->end[i],
		    w->end[i].n == 0 ? 0 : draw(&w->luck, w->end[i].n + 1));
}

/*
 * What is on a link does not go with the sender's disk: the bytes are taken
 * along, and what cannot be read stays to be met by the reader.
 */
static void
carry_body(struct item_mail *m)
{
	char text[4096];
	struct stream *copy;
	size_t got = 0;
	ssize_t n = 0;

	if (m->body == NULL || m->body->size > sizeof(text))
		return;
	while (got < m->body->size &&
	    (n = stream_read(m->body, text + got, sizeof(text) - got)) > 0)
		got += (size_t)n;
	if (n < 0 || stream_from_memory(text, got, &copy) != 0)
		return;
	stream_close(m->body);
	m->body = copy;
}

static int
wire_send(struct channel *c, struct item *i)
{
	struct wire_end *e = end_of(c), *to = far_end(e);
	struct wire *w = e->w;
	struct wire_item *n;

	if (i->type == ITEM_HANDSHAKE && w->foreign)
		i->u.handshake.has_replica = false;
	if (i->type == ITEM_MAIL)
		carry_body(&i->u.mail);
	if (w->left != 0 && --w->left == 0)
		cut(w);
	n = w->cut ? NULL : malloc(sizeof(*n));
	if (n == NULL) {
		item_free(i);
		return (w->cut ? -EPIPE : -ENOMEM);
	}
	n->item = i;
	n->next = NULL;
	*to->tail = n;
	to->tail = &n->next;
	to->n++;
	return (0);
}

static bool
wire_full(struct channel *c)
{
	return (far_end(end_of(c))->n >= 24);
}

static int
wire_recv(struct channel *c, struct item **out)
{
	struct wire_end *e = end_of(c);
	struct wire_item *i = e->head;

	if (i == NULL)
		return (e->w->cut ? -EPIPE : -EAGAIN);
	if (e->w->stalls && draw(&e->w->luck, 3) == 0)
		return (-EAGAIN);
	e->head = i->next;
	if (e->head == NULL)
		e->tail = &e->head;
	e->n--;
	*out = i->item;
	free(i);
	return (0);
}

static void
wire_close(struct channel *c)
{
	struct wire *w = end_of(c)->w;

	w->cut = true;
	drop_after(end_of(c), 0);
	if (--w->open == 0)
		free(w);
}

static const struct channel_ops wire_ops = {
	.send = wire_send,
	.full = wire_full,
	.recv = wire_recv,
	.close = wire_close,
};

static struct wire *
wire_new(const struct place *a, const struct place *b)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (w == NULL)
		abort();
	w->open = 2;
	for (int i = 0; i < 2; i++) {
		w->end[i].w = w;
		w->end[i].c.ops = &wire_ops;
		w->end[i].c.peer = i == 0 ? b->label : a->label;
		w->end[i].tail = &w->end[i].head;
	}
	return (w);
}

/* ---- one sync ---- */

struct run {
	struct world *w;
	struct place *side[2]; /* the master first */
	struct brain *brain[2];
	struct wire *wire;
	const struct step *inner;
	size_t inners;
	unsigned next_inner; /* steps until the next one */
	int rc[2];
	uint64_t luck;
	unsigned kill_at; /* steps; 0: nobody is killed */
	int victim; /* -1: nobody was killed */
};

static void replica_step(struct world *w, const struct step *s);

struct teller {
	struct world *w;
	struct place *p;
};

static void
on_change(void *arg, const char *mailbox, uint32_t uid, const char *what)
{
	struct teller *t = arg;

	world_say(t->w, "    %s: %s %u: %s\n", t->p->label, mailbox, uid, what);
	t->w->told++;
}

static void
live(struct run *x)
{
	if (x->inners == 0 || x->next_inner-- != 0)
		return;
	world_say(x->w, "  meanwhile:\n");
	x->w->at = x->inner;
	replica_step(x->w, x->inner++);
	x->inners--;
	x->next_inner = draw(&x->luck, 16);
}

static bool
over(const struct run *x)
{
	return (x->rc[0] < 0 || x->rc[1] < 0 ||
	    (x->rc[0] == BRAIN_DONE && x->rc[1] == BRAIN_DONE));
}

static void
kill_one(struct run *x)
{
	x->victim = (int)draw(&x->luck, 2);
	os_mem_cut_now(x->side[x->victim]->os);
	cut(x->wire);
	x->rc[x->victim] = -ECONNABORTED;
}

static void
step_both(struct run *x)
{
	unsigned idle = 0, n = 0;

	while (!over(x)) {
		int who = (int)draw(&x->luck, 2);

		if (++n == x->kill_at) {
			kill_one(x);
			break;
		}
		live(x);
		x->rc[who] = brain_step(x->brain[who]);
		model_merging(x->w, x->side[who]);
		idle = x->rc[who] == BRAIN_PROGRESS ? 0 : idle + 1;
		if (idle > PATIENCE)
			world_fail(x->w, "both sides wait for each other");
	}
	/* The other side sees the end of the link. */
	cut(x->wire);
	for (int who = 0; who < 2; who++)
		for (n = 0; x->rc[who] >= 0 && x->rc[who] != BRAIN_DONE; n++) {
			x->rc[who] = brain_step(x->brain[who]);
			if (n > PATIENCE * 10)
				world_fail(x->w, "%s goes on without a peer",
				    x->side[who]->label);
		}
	/* What was to be done meanwhile is done right after it. */
	while (x->inners > 0) {
		x->next_inner = 0;
		live(x);
	}
}

/* The power went, or the disk failed, somewhere in the step. */
static void
heal(struct world *w, struct place *p)
{
	struct snap after;
	bool cut_off = os_mem_is_cut(p->os);

	if (!cut_off && !p->faulty && !p->lost_power)
		return;
	world_say(w, "  %s: %s\n", p->label,
	    cut_off ? "the power is back" : "opened again after an error");
	if (cut_off) {
		place_power(w, p, (uint32_t)w->at->r[2]);
	} else if (p->faulty) {
		place_down(p);
		model_forget_uids(w, p);
		place_up(w, p);
		w->tally->failed++;
		(void)place_refresh(w, p);
	}
	p->lost_power = false;
	snap_take(w, p, &after);
	model_merged(w, p, &after);
	model_same(w, p, &p->last, &after, true);
	p->in_flight.any = false;
	snap_fini(&p->last);
	p->last = after;
}

static void
durable(struct world *w, struct place *p)
{
	if (p->kind != KIND_MAILDIR && p->kind != KIND_MAILDIR_FS)
		model_durable(w, p);
}

/* 0 or the first failure; *settled: nothing is left to be done. */
static int
run_sync(struct world *w, struct place *a, struct place *b,
    const struct sync_options *o, const struct step *s,
    const struct step *inner, size_t inners, bool *settled)
{
	struct teller who[2] = { { w, a }, { w, b } };
	const struct sync_events ev[2] = { { .change = on_change,
					       .arg = &who[0] },
		{ .change = on_change, .arg = &who[1] } };
	struct run x = { .w = w,
		.side = { a, b },
		.wire = wire_new(a, b),
		.inner = inner,
		.inners = inners,
		.luck = s == NULL ? 1 : s->id * 7919u + s->r[2],
		.victim = -1 };
	struct sync_result r[2];
	uint32_t fault = s == NULL ? 0 : s->r[1];

	x.next_inner = draw(&x.luck, 30);
	x.wire->luck = x.luck + 1;
	x.wire->foreign = w->h->foreign;
	x.wire->stalls = fault != 0;
	if (fault % 4 == 1)
		x.wire->left = 1 + fault / 4 % 90;
	else if (fault % 4 == 2)
		x.kill_at = 1 + fault / 4;
	for (int i = 0; i < 2; i++)
		os_mem_advance(x.side[i]->os, 1000);
	w->told = 0;
	if (brain_new_master(a->r, &x.wire->end[0].c, o, &ev[0], &x.brain[0]) !=
		0 ||
	    brain_new_slave(b->r, &x.wire->end[1].c, &ev[1], &x.brain[1]) != 0)
		world_fail(w, "no memory");
	step_both(&x);
	w->tally->syncs++;
	w->tally->cut += fault % 4 == 1 && x.wire->left == 0;
	for (int i = 0; i < 2; i++) {
		brain_result(x.brain[i], &r[i]);
		brain_free(x.brain[i]);
	}
	x.wire->end[0].c.ops->close(&x.wire->end[0].c);
	x.wire->end[1].c.ops->close(&x.wire->end[1].c);
	world_say(w, "  ended %d %d%s%s\n", x.rc[0], x.rc[1],
	    r[0].changes_during_sync || r[1].changes_during_sync ? ", run again"
								 : "",
	    r[0].incomplete || r[1].incomplete ? ", incomplete" : "");
	if (x.victim >= 0) {
		place_kill(w, x.side[x.victim]);
		if (place_refresh(w, x.side[x.victim]) == 0 &&
		    !x.side[x.victim]->lost_power)
			model_landed(w, x.side[x.victim]);
	}
	*settled = x.rc[0] == BRAIN_DONE && x.rc[1] == BRAIN_DONE &&
	    !r[0].changes_during_sync && !r[1].changes_during_sync &&
	    !r[0].incomplete && !r[1].incomplete;
	return (x.rc[0] < 0 ? x.rc[0] : x.rc[1] < 0 ? x.rc[1] : 0);
}

/* ---- pairs ---- */

static void
pair_of(struct world *w, unsigned n, struct place **a, struct place **b)
{
	unsigned k = n % (w->h->replicas - 1) + 1;

	*b = &w->place[k];
	*a = &w->place[w->h->star ? 0 : k - 1];
}

static bool
to_sink(const struct world *w, const struct place *b)
{
	return (w->h->sink && b->number == w->h->replicas - 1);
}

static void
options_of(struct world *w, const struct step *s, const struct place *b,
    bool turned, struct sync_options *o)
{
	static const char *const masks[] = { "INBOX", "Work*", "Arkiv" };
	static const char *mask;

	memset(o, 0, sizeof(*o));
	o->type = w->h->foreign ? SYNC_FULL : SYNC_STATE;
	if (to_sink(w, b))
		o->mode = turned ? SYNC_BACKUP_REVERSE : SYNC_BACKUP;
	if (s == NULL)
		return;
	if (s->act == ACT_SYNC_FULL)
		o->type = SYNC_FULL;
	else if (s->act == ACT_SYNC_CHANGED)
		o->type = SYNC_CHANGED;
	else if (s->act == ACT_SYNC_DRY)
		o->dry_run = true;
	else if (s->act == ACT_SYNC_ONE_WAY && !to_sink(w, b))
		o->one_way = true;
	else if (s->act == ACT_SYNC_BOX && !to_sink(w, b)) {
		mask = masks[s->r[0] / 2 % 3];
		o->mailbox = &mask;
		o->mailboxes = 1;
	}
}

/* ---- texts of all mail state ---- */

static int
on_line(void *arg, const char *line)
{
	buf_printf(arg, "%s\n", line);
	return (0);
}

static char *
dump(struct world *w, struct place *p, bool modseqs)
{
	struct dump_options o = { .modseqs = modseqs };
	struct buf b = BUF_INIT;
	unsigned problems = 0;
	char *out;

	if (replica_dump(p->r, &o, on_line, &b, &problems) != 0 ||
	    problems != 0)
		world_fail(
		    w, "%s: %u messages cannot be read", p->label, problems);
	out = strdup(buf_cstr(&b));
	buf_fini(&b);
	return (out);
}

static int
by_text(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

/*
 * Without UIDs and their bounds: a backup cannot give a UID twice, so a
 * destination that was tampered with has others.
 */
static char *
without_uids(char *text)
{
	struct buf b = BUF_INIT;
	char *lines[4000], *save = NULL, *out;
	const char *box = "mailbox ";
	size_t n = 0;

	for (char *l = strtok_r(text, "\n", &save); l != NULL && n < 4000;
	     l = strtok_r(NULL, "\n", &save)) {
		char *at;

		if (strncmp(l, "subscription ", 13) == 0) {
			lines[n++] = strdup(l);
		} else if (strncmp(l, "mailbox ", 8) == 0) {
			if ((at = strstr(l, " uidnext=")) != NULL) {
				char *end = at + 1 + strcspn(at + 1, " ");

				memmove(at, end, strlen(end) + 1);
			}
			box = l;
			lines[n++] = strdup(l);
		} else if ((at = strchr(l, ' ')) != NULL &&
		    asprintf(&lines[n], "%.40s:%s", box + 8, at) > 0) {
			n++;
		}
	}
	qsort(lines, n, sizeof(*lines), by_text);
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(text);
	out = strdup(b.len == 0 ? "" : buf_cstr(&b));
	buf_fini(&b);
	return (out);
}

static void
check_equal(struct world *w, struct place *a, struct place *b, const char *when)
{
	char *x = dump(w, a, false), *y = dump(w, b, false);
	bool same;

	if (to_sink(w, b)) {
		x = without_uids(x);
		y = without_uids(y);
	}
	same = strcmp(x, y) == 0;
	if (!same)
		world_say(w, "--- %s\n%s--- %s\n%s", a->label, x, b->label, y);
	free(x);
	free(y);
	if (!same)
		world_fail(w, "%s and %s differ %s", a->label, b->label, when);
}

/* ---- steps ---- */

static void
dry(struct world *w, struct place *a, struct place *b,
    const struct sync_options *o, const struct step *s)
{
	char *was[2] = { dump(w, a, true), dump(w, b, true) }, *is[2];
	uint64_t changes[2] = { os_mem_changes(a->os), os_mem_changes(b->os) };
	bool settled, same;

	(void)run_sync(w, a, b, o, s, NULL, 0, &settled);
	same = a->kind >= KIND_MAILDIR || b->kind >= KIND_MAILDIR ||
	    (changes[0] == os_mem_changes(a->os) &&
		changes[1] == os_mem_changes(b->os));
	is[0] = dump(w, a, true);
	is[1] = dump(w, b, true);
	same = same && strcmp(was[0], is[0]) == 0 && strcmp(was[1], is[1]) == 0;
	for (int i = 0; i < 2; i++) {
		free(was[i]);
		free(is[i]);
	}
	if (!same)
		world_fail(w, "a dry run changed something");
}

static void
sync_step(struct world *w, const struct step *s, size_t inners)
{
	struct place *a, *b, *m;
	struct sync_options o;
	bool turned = s->r[0] % 2 != 0, settled = false, plain;
	struct step quiet = *s;
	int rc;

	pair_of(w, s->who, &a, &b);
	options_of(w, s, b, turned, &o);
	m = turned ? b : a;
	w->side[0] = a;
	w->side[1] = b;
	w->one_way = o.one_way;
	place_look(w, a);
	if (o.dry_run) {
		quiet.r[1] = 0;
		if (!place_troubled(a) && !place_troubled(b))
			dry(w, m, m == a ? b : a, &o, &quiet);
		w->side[0] = w->side[1] = NULL;
		return;
	}
	rc = run_sync(w, m, m == a ? b : a, &o, s, s + 1, inners, &settled);
	plain = s->r[1] == 0 && inners == 0 && !place_troubled(a) &&
	    !place_troubled(b);
	if (plain && rc != 0)
		world_fail(w, "an undisturbed sync failed: %s", strerror(-rc));
	heal(w, a);
	heal(w, b);
	place_look(w, a);
	/* To look at a Maildir writes: the power may go only then. */
	if (os_mem_is_cut(a->os) || os_mem_is_cut(b->os)) {
		settled = false;
		heal(w, a);
		heal(w, b);
		place_look(w, a);
	}
	if (o.one_way)
		model_forgot(w); /* it brings back what its source has */
	/* A backup or a partial sync settles no wish. */
	if (!w->h->foreign && !to_sink(w, b))
		model_flags(w, a, b,
		    settled && inners == 0 && !o.one_way && o.mailboxes == 0);
	if (settled && inners == 0 && !o.one_way && o.mailboxes == 0) {
		durable(w, a);
		durable(w, b);
		w->tally->rounds++;
	}
	w->side[0] = w->side[1] = NULL;
	w->one_way = false;
}

static void
arm(struct world *w, struct place *p, const struct step *s)
{
	static const enum os_mem_op op[] = { OS_MEM_PWRITE, OS_MEM_SYNC,
		OS_MEM_CREATE, OS_MEM_RENAME };

	if (s->act == ACT_CUT_AT) {
		os_mem_cut_at(p->os, os_mem_changes(p->os) + 1 + s->r[0] % 60);
		return;
	}
	/* A Maildir's user would be the one who is told. */
	if (p->kind != KIND_STORE)
		return;
	os_mem_fail(p->os, op[s->r[0] % 4], 1 + s->r[1] % 12,
	    s->r[2] % 2 == 0 ? EIO : ENOSPC, false);
	p->faulty = true;
	(void)w;
}

static int
upkeep(struct world *w, struct place *p, const struct step *s)
{
	struct compact_result cr;
	int rc = 0;

	switch (s->act) {
	case ACT_FLUSH:
		rc = p->r->ops->commit(p->r);
		if (rc == 0 && !place_troubled(p))
			durable(w, p);
		break;
	case ACT_COMPACT:
		if (s->r[0] % 2 == 0)
			os_mem_advance(p->os, 40ull * 86400 * 1000);
		place_lock(p);
		/* Whether it gets on or not, nothing may be lost by it. */
		if (s->r[1] % 2 == 0) {
			while (store_raw_look(p->s) == 1)
				;
			(void)store_squeeze(p->s);
		}
		rc = store_compact(p->s, &cr);
		place_unlock(p);
		break;
	case ACT_CLOCK:
		os_mem_set_time(
		    p->os, 1700000000 + (int64_t)s->r[0] * 3600 - 1000000, 0);
		break;
	default:
		arm(w, p, s);
	}
	return (rc);
}

static void
down_and_up(struct world *w, struct place *p, const struct step *s)
{
	struct snap after;

	place_look(w, p);
	if (s->act == ACT_REOPEN) {
		place_down(p);
		if (os_mem_is_cut(p->os))
			return; /* in the very last moment */
		place_up(w, p);
		(void)place_refresh(w, p);
		if (os_mem_is_cut(p->os))
			return;
	} else if (s->act == ACT_KILL) {
		place_kill(w, p);
	} else {
		place_power(w, p, s->r[0]);
	}
	snap_take(w, p, &after);
	model_merged(w, p, &after);
	model_same(
	    w, p, &p->last, &after, s->act == ACT_POWER || p->lost_power);
	p->lost_power = false;
	snap_fini(&p->last);
	p->last = after;
}

/* Everything but a sync. */
static void
replica_step(struct world *w, const struct step *s)
{
	struct place *p = &w->place[s->who % w->h->replicas];
	int rc;

	if (os_mem_is_cut(p->os))
		return; /* it is off until the sync has ended */
	if (s->act < ACT_FLUSH) {
		user_act(w, p, s);
	} else if (s->act >= ACT_REOPEN && s->act <= ACT_POWER) {
		down_and_up(w, p, s);
	} else {
		place_look(w, p);
		rc = upkeep(w, p, s);
		if (rc != 0 && !place_troubled(p))
			world_fail(w, "%s: %s", p->label, strerror(-rc));
		place_look(w, p);
	}
}

static void
take_step(struct world *w, const struct step *s, size_t inners)
{
	w->at = s;
	w->tally->steps += 1 + inners;
	if (w->verbose) {
		struct history one = *w->h;

		one.step[0] = *s;
		one.n = 1;
		history_print(&one, stderr);
	}
	if (s->act >= ACT_SYNC) {
		sync_step(w, s, inners);
	} else {
		replica_step(w, s);
		/* an armed failure waits for a sync */
		if (os_mem_is_cut(w->place[s->who % w->h->replicas].os) ||
		    s->act == ACT_COMPACT)
			heal(w, &w->place[s->who % w->h->replicas]);
	}
}

/* ---- the end ---- */

static void
calm(struct world *w)
{
	for (unsigned i = 0; i < w->h->replicas; i++) {
		struct place *p = &w->place[i];

		os_mem_cut_at(p->os, 0);
		p->faulty |= os_mem_is_cut(p->os);
		heal(w, p);
		place_look(w, p);
	}
}

/* Each pair once; the number of changes that were made. */
static unsigned
round_of(struct world *w, unsigned n, bool *settled)
{
	unsigned told = 0;

	*settled = true;
	for (unsigned k = 0; k + 1 < w->h->replicas; k++) {
		struct place *a, *b;
		struct sync_options o;
		bool turned = (n + k) % 2 != 0, good;
		int rc;

		pair_of(w, k, &a, &b);
		options_of(w, NULL, b, turned, &o);
		world_say(w, "  %s and %s\n", a->label, b->label);
		rc = run_sync(w, turned ? b : a, turned ? a : b, &o, NULL, NULL,
		    0, &good);
		if (rc != 0)
			world_fail(w, "a sync of %s and %s fails: %s", a->label,
			    b->label, strerror(-rc));
		w->side[0] = a;
		w->side[1] = b;
		place_look(w, a);
		w->side[0] = w->side[1] = NULL;
		if (!w->h->foreign && !to_sink(w, b))
			model_flags(w, a, b, good);
		*settled = *settled && good;
		told += w->told;
	}
	return (told);
}

static int
on_entry(void *arg, const struct log_entry *e)
{
	world_say(arg, "    %s %llu: %s\n", e->mailbox,
	    (unsigned long long)e->modseq, e->text);
	return (0);
}

static void
check_quiet(struct world *w, struct place *p, uint64_t end)
{
	uint64_t next;

	if (store_log_end(p->s) == end)
		return;
	(void)store_log(p->s, end, on_entry, w, &next);
	world_fail(w, "%s: a run that does nothing writes", p->label);
}

static void
settle(struct world *w)
{
	uint64_t end[REPLICAS];
	bool settled = false;
	unsigned told = 1, n;
	bool quiet = false;

	w->settling = true;
	calm(w);
	for (n = 0; n < ROUNDS && !quiet; n++) {
		world_say(w, "round %u\n", n + 1);
		for (unsigned i = 0; i < w->h->replicas; i++)
			end[i] = store_log_end(w->place[i].s);
		told = round_of(w, n, &settled);
		quiet = told == 0 && settled;
		for (unsigned i = 0; i < w->h->replicas && !w->h->foreign; i++)
			quiet = quiet && end[i] == store_log_end(w->place[i].s);
	}
	if (!quiet)
		world_fail(w, "not settled after %d rounds", ROUNDS);
	for (unsigned k = 0; k + 1 < w->h->replicas; k++) {
		struct place *a, *b;

		pair_of(w, k, &a, &b);
		check_equal(w, a, b, "when all is settled");
	}
	for (unsigned i = 0; i < w->h->replicas; i++)
		end[i] = store_log_end(w->place[i].s);
	for (unsigned k = 0; k < 2; k++)
		if (round_of(w, k, &settled) != 0 || !settled)
			world_fail(w, "a run after that does something");
	for (unsigned i = 0; i < w->h->replicas && !w->h->foreign; i++)
		check_quiet(w, &w->place[i], end[i]);
	model_end(w);
}

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)level;
	world_say(arg, "    %s\n", line);
}

static void
begin(struct world *w)
{
	for (unsigned i = 0; i < w->h->replicas; i++) {
		struct place *p = &w->place[i];
		struct snap none, first;

		memset(&none, 0, sizeof(none));
		place_new(w, i);
		if (place_refresh(w, p) != 0)
			world_fail(w, "%s: cannot be looked at", p->label);
		snap_take(w, p, &first);
		model_user(w, p, &none, &first, false);
		p->last = first;
	}
}

bool
history_run(
    const struct history *h, bool verbose, struct tally *t, const char **why)
{
	static char text[1024];
	struct world *w = calloc(1, sizeof(*w));
	volatile bool good = false;

	if (w == NULL || (w->model = model_new()) == NULL)
		abort();
	w->h = h;
	w->verbose = verbose;
	w->tally = t;
	log_set_sink(quiet, w);
	if (setjmp(w->failed) == 0) {
		begin(w);
		for (size_t i = 0; i < h->n;) {
			size_t n = 1;

			while (i + n < h->n && h->step[i + n].inner)
				n++;
			take_step(w, &h->step[i], n - 1);
			i += n;
		}
		settle(w);
		good = true;
		t->histories++;
	}
	(void)snprintf(text, sizeof(text), "%s", w->why);
	*why = text;
	/* After a failure what is open may be anything: its process ends. */
	if (good)
		for (unsigned i = 0; i < h->replicas; i++)
			place_free(&w->place[i]);
	log_set_sink(NULL, NULL);
	model_free(w->model);
	free(w);
	return (good);
}
