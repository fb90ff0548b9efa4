/*
 * sync_help -- replicas for tests of the sync.
 */
#include "sync_help.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "hidden.h"
#include "os_mem.h"

unsigned told_changes, told_conflicts;

void
side_new(struct side *d, const char *label, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->label = label;
	ck_assert_int_eq(os_mem_new(seed, &d->os), 0);
	os_mem_set_time(d->os, 1700000000, 0);
	ck_assert_int_eq(side_open(d), 0);
}

void
side_new_hidden(
    struct side *d, const char *label, uint64_t seed, unsigned guids)
{
	side_new(d, label, seed);
	d->hidden = true;
	d->guids = guids;
	d->r = replica_hidden(d->r, guids);
}

int
side_open(struct side *d)
{
	int rc = store_open(d->os, STORE_CREATE, NULL, &d->s);

	if (rc != 0)
		return (rc);
	ck_assert_int_eq(
	    replica_native_new(d->s, d->label, true, NULL, &d->r), 0);
	if (d->hidden)
		d->r = replica_hidden(d->r, d->guids);
	return (0);
}

void
side_drop(struct side *d)
{
	if (d->r != NULL)
		(void)d->r->ops->close(d->r);
	d->r = NULL;
	d->s = NULL;
}

void
side_close(struct side *d)
{
	ck_assert_int_eq(d->r->ops->close(d->r), 0);
	d->r = NULL;
	d->s = NULL;
}

void
side_free(struct side *d)
{
	side_drop(d);
	d->os->ops->close_tree(d->os);
	d->os = NULL;
}

struct os *
side_snapshot(struct side *d)
{
	struct os *copy;

	ck_assert_int_eq(
	    os_mem_reboot_copy(d->os, OS_MEM_KEEP_ALL, 1, &copy), 0);
	return (copy);
}

void
side_restore(struct side *d, struct os *snapshot)
{
	int64_t sec;
	uint32_t nsec;

	d->os->ops->now(d->os, &sec, &nsec);
	side_free(d);
	d->os = snapshot;
	os_mem_set_time(d->os, sec, nsec);
	ck_assert_int_eq(side_open(d), 0);
}

static struct txn *
begin(struct side *d)
{
	struct txn *t;

	os_mem_advance(d->os, 1000);
	ck_assert_int_eq(txn_begin(d->s, NULL, &t), 0);
	return (t);
}

uint32_t
box_new(struct side *d, const char *name)
{
	struct mailbox_new m = { .name = name };
	struct txn *t = begin(d);
	uint32_t id;

	ck_assert_int_eq(txn_mailbox_create(t, &m, &id), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (id);
}

uint32_t
box_id(struct side *d, const char *name)
{
	struct mailbox m;

	if (store_mailbox_by_name(d->s, name, &m) != 0 || !m.exists ||
	    !m.selectable)
		return (0);
	return (m.id);
}

void
box_rename(struct side *d, const char *from, const char *to, int64_t time)
{
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_mailbox_rename(t, box_id(d, from), to, time), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

void
box_delete(struct side *d, const char *name, int64_t time)
{
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_mailbox_delete(t, box_id(d, name), time), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

void
box_subscribe(struct side *d, const char *name, bool on, int64_t time)
{
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_subscribe(t, name, on, time), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

uint32_t
mail_bytes(
    struct side *d, const char *box, const char *guid, const void *p, size_t n)
{
	struct msg m = { .guid = guid,
		.received = 1600000000,
		.saved = 1600000001,
		.state = MSG_NEW };
	struct stream *in;
	struct txn *t;
	uint32_t uid;

	ck_assert_int_eq(stream_from_memory(p, n, &in), 0);
	ck_assert_int_eq(
	    store_body_from_stream(d->s, in, &m.body, &m.vsize), 0);
	stream_close(in);
	t = begin(d);
	ck_assert_int_eq(txn_save(t, box_id(d, box), &m, &uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (uid);
}

uint32_t
mail_raw(struct side *d, const char *box, const char *guid, const char *raw)
{
	return (mail_bytes(d, box, guid, raw, strlen(raw)));
}

uint32_t
mail_new(struct side *d, const char *box, const char *guid, const char *text)
{
	char raw[512];
	int n = snprintf(raw, sizeof(raw),
	    "Subject: %s\r\nMessage-ID: <%s@x>\n\nbody of %s\n", text, text,
	    text);

	ck_assert_int_lt(n, (int)sizeof(raw));
	return (mail_raw(d, box, guid, raw));
}

void
mail_from_third(
    struct side *d, const char *box, const char *guid, const char *text)
{
	const struct guid third = { { 3 } };
	struct msg m = { .guid = guid, .modseq = 2, .received = 1600000000 };
	struct stream *in;

	ck_assert_int_eq(stream_from_memory(text, strlen(text), &in), 0);
	ck_assert_int_eq(
	    d->r->ops->save(d->r, box_id(d, box), &m, in, &third, NULL), 0);
	stream_close(in);
}

void
mail_flags(
    struct side *d, const char *box, uint32_t uid, uint8_t add, uint8_t remove)
{
	struct msg_update u = { .add = add, .remove = remove };
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_update(t, box_id(d, box), uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

void
mail_keyword(struct side *d, const char *box, uint32_t uid, const char *add,
    const char *remove)
{
	struct msg_update u = { .kw_add = { &add, add != NULL },
		.kw_remove = { &remove, remove != NULL } };
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_update(t, box_id(d, box), uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

void
mail_expunge(struct side *d, const char *box, uint32_t uid)
{
	struct txn *t = begin(d);

	ck_assert_int_eq(txn_expunge(t, box_id(d, box), uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

uint32_t
mail_move(struct side *d, const char *box, uint32_t uid, const char *to)
{
	struct txn *t = begin(d);
	uint32_t new_uid;

	ck_assert_int_eq(
	    txn_move(t, box_id(d, box), uid, box_id(d, to), NULL, &new_uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (new_uid);
}

bool
mail_get(struct side *d, const char *box, uint32_t uid, uint8_t *flags)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(d->s, box_id(d, box), uid, &a, &m);

	if (rc == 0 && flags != NULL)
		*flags = m.flags;
	arena_fini(&a);
	return (rc == 0);
}

uint32_t
mail_uid(struct side *d, const char *box, const char *guid)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	uint32_t uid =
	    store_msg_by_guid(d->s, box_id(d, box), guid, &a, &m) == 0 ? m.uid
								       : 0;

	arena_fini(&a);
	return (uid);
}

unsigned
mail_count(struct side *d, const char *box)
{
	struct mailbox m;

	return (store_mailbox_by_name(d->s, box, &m) == 0 ? m.messages : 0);
}

static int
on_line(void *arg, const char *line)
{
	buf_printf(arg, "%s\n", line);
	return (0);
}

static char *
dump_text(struct side *d, bool guids)
{
	struct dump_options o = { .modseqs = false, .no_guids = !guids };
	struct buf b = BUF_INIT;
	unsigned problems = 0;
	char *out;

	ck_assert_int_eq(replica_dump(d->r, &o, on_line, &b, &problems), 0);
	ck_assert_uint_eq(problems, 0);
	out = strdup(buf_cstr(&b));
	buf_fini(&b);
	return (out);
}

char *
side_dump(struct side *d)
{
	return (dump_text(d, true));
}

bool
sides_equal(struct side *a, struct side *b)
{
	bool guids = !a->hidden && !b->hidden;
	char *x = dump_text(a, guids), *y = dump_text(b, guids);
	bool same = strcmp(x, y) == 0;

	free(x);
	free(y);
	return (same);
}

void
assert_equal(struct side *a, struct side *b)
{
	bool guids = !a->hidden && !b->hidden;
	char *x = dump_text(a, guids), *y = dump_text(b, guids);

	if (strcmp(x, y) != 0)
		fprintf(
		    stderr, "--- %s\n%s--- %s\n%s", a->label, x, b->label, y);
	ck_assert_int_eq(strcmp(x, y), 0);
	free(x);
	free(y);
}

static void
on_change(void *arg, const char *mailbox, uint32_t uid, const char *what)
{
	(void)arg;
	if (getenv("SYNC_VERBOSE") != NULL)
		fprintf(stderr, "  %s %u: %s\n", mailbox, uid, what);
	told_changes++;
}

static void
on_conflict(void *arg, const char *mailbox, uint32_t uid, const char *what,
    const char *rule, const char *outcome)
{
	(void)arg;
	(void)mailbox;
	(void)uid;
	(void)what;
	(void)rule;
	(void)outcome;
	told_conflicts++;
}

static const struct sync_events events = { .change = on_change,
	.conflict = on_conflict };

/* ---- peers that do not know each other's kind ---- */

bool sync_foreign, sync_stateful;
void (*sync_on_send)(struct item *i);
void (*sync_watch)(bool by_master, struct item *i);
int (*sync_over)(struct side *a, struct side *b, const struct sync_options *o,
    const struct sync_events *e, struct sync_result *res);
static struct channel_ops watched_ops;
static const struct channel *masters;
static int (*real_send)(struct channel *, struct item *);

static int
watched_send(struct channel *c, struct item *i)
{
	if (i->type == ITEM_HANDSHAKE && sync_foreign)
		i->u.handshake.has_replica = false;
	if (sync_watch != NULL)
		sync_watch(c == masters, i);
	if (sync_on_send != NULL)
		sync_on_send(i);
	if (i->type != 0)
		return (real_send(c, i));
	item_free(i);
	return (0);
}

void
sync_pair(
    struct side *a, struct side *b, struct channel **ca, struct channel **cb)
{
	ck_assert_int_eq(channel_memory_pair(a->label, b->label, ca, cb), 0);
	masters = *ca;
	watched_ops = *(*ca)->ops;
	real_send = watched_ops.send;
	watched_ops.send = watched_send;
	(*ca)->ops = (*cb)->ops = &watched_ops;
}

static int
run_watched(struct side *a, struct side *b, const struct sync_options *o,
    struct sync_result *res)
{
	struct channel *ca, *cb;
	struct brain *m, *s;
	struct sync_result r;
	int rm = 0, rs = 0;

	sync_pair(a, b, &ca, &cb);
	ck_assert_int_eq(brain_new_master(a->r, ca, o, &events, &m), 0);
	ck_assert_int_eq(brain_new_slave(b->r, cb, &events, &s), 0);
	while (rm >= 0 && rs >= 0 && (rm != BRAIN_DONE || rs != BRAIN_DONE)) {
		rm = brain_step(m);
		rs = brain_step(s);
		ck_assert(rm != BRAIN_WAIT || rs != BRAIN_WAIT);
	}
	brain_result(m, res);
	brain_result(s, &r);
	res->changes_during_sync |= r.changes_during_sync;
	res->incomplete |= r.incomplete;
	res->require_full_resync |= r.require_full_resync;
	res->counts.saved += r.counts.saved;
	res->counts.copied += r.counts.copied;
	res->counts.flags += r.counts.flags;
	res->counts.expunged += r.counts.expunged;
	res->counts.renumbered += r.counts.renumbered;
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
	return (rm < 0 ? rm : rs < 0 ? rs : 0);
}

int
sync_with(struct side *a, struct side *b, const struct sync_options *o,
    struct sync_result *res)
{
	struct sync_result r = { 0 };
	int rc;

	told_changes = told_conflicts = 0;
	if (sync_over != NULL)
		rc = sync_over(a, b, o, &events, &r);
	else if (sync_foreign || sync_watch != NULL || sync_on_send != NULL)
		rc = run_watched(a, b, o, &r);
	else
		rc = sync_run_local(a->r, b->r, o, &events, &r);
	if (res != NULL)
		*res = r;
	return (rc);
}

enum sync_type
sync_mirror_type(void)
{
	return (sync_foreign && !sync_stateful ? SYNC_FULL : SYNC_STATE);
}

int
sync_mirror(struct side *a, struct side *b, struct sync_result *res)
{
	struct sync_options o = { .mode = SYNC_MIRROR,
		.type = sync_mirror_type() };

	return (sync_with(a, b, &o, res));
}

uint64_t
result_changes(const struct sync_result *r)
{
	const struct sync_counts *c = &r->counts;

	return (c->saved + c->copied + c->flags + c->expunged + c->renumbered +
	    c->mailboxes_created + c->mailboxes_renamed + c->mailboxes_deleted +
	    c->subscriptions);
}

bool
sync_steps(
    struct side *a, struct side *b, const struct sync_options *o, unsigned n)
{
	struct channel *ca, *cb;
	struct brain *m, *s;
	int rm = 0, rs = 0;

	sync_pair(a, b, &ca, &cb);
	ck_assert_int_eq(brain_new_master(a->r, ca, o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(b->r, cb, NULL, &s), 0);
	for (unsigned i = 0; i < n && rm >= 0 && rs >= 0 &&
	     (rm != BRAIN_DONE || rs != BRAIN_DONE);
	     i++) {
		if (i % 2 == 0)
			rm = brain_step(m);
		else
			rs = brain_step(s);
	}
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
	return (rm == BRAIN_DONE && rs == BRAIN_DONE);
}

int
sync_with_hook(struct side *a, struct side *b, const struct sync_options *o,
    unsigned n, void (*hook)(void), unsigned *steps)
{
	struct channel *ca, *cb;
	struct brain *m, *s;
	unsigned i;
	int rm = 0, rs = 0;

	sync_pair(a, b, &ca, &cb);
	ck_assert_int_eq(brain_new_master(a->r, ca, o, NULL, &m), 0);
	ck_assert_int_eq(brain_new_slave(b->r, cb, NULL, &s), 0);
	for (i = 0;
	     rm >= 0 && rs >= 0 && (rm != BRAIN_DONE || rs != BRAIN_DONE);
	     i++) {
		if (i == n)
			hook();
		if (i % 2 == 0)
			rm = brain_step(m);
		else
			rs = brain_step(s);
	}
	brain_free(m);
	brain_free(s);
	ca->ops->close(ca);
	cb->ops->close(cb);
	*steps = i;
	return (rm < 0 ? rm : rs < 0 ? rs : 0);
}

uint32_t
rnd(uint64_t *state, uint32_t below)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return ((uint32_t)(*state >> 33) % below);
}
