/*
 * memory -- where the log stands for a peer; the conflicts that syncs settled,
 * as settings of the store (store_meta).
 *
 * "conflicts"		varint: how many there were ever
 * "conflict:N"		of slot N = number modulo CONFLICTS: u8 version, varint
 * time, varint uid, five blobs
 *
 * A value that does not read is as if it were not there: nothing but what
 * people are shown depends on it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cmd/cmd_internal.h"

#define CONFLICTS 200
#define TEXT_MAX                                                               \
	150 /* of each text of a conflict, so that a value stays small */
#define VERSION 1

static char *
take_text(struct rd *r, struct arena *a)
{
	const uint8_t *p;
	size_t n;

	p = rd_blob(r, &n);
	return (
	    r->bad ? NULL : arena_strndup(a, n != 0 ? (const void *)p : "", n));
}

static void
put_text(struct buf *b, const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;

	buf_put_bytes(b, s != NULL ? s : "", n < TEXT_MAX ? n : TEXT_MAX);
}

/* ---- where the log stands ---- */

struct walk {
	const struct guid *peer; /* whose changes do not count; NULL: nobody */
	uint64_t n;
	int64_t oldest;
};

static int
count_entry(void *arg, const struct log_entry *e)
{
	struct walk *w = arg;

	if (e->modseq == 0 || (w->peer != NULL && guid_eq(&e->origin, w->peer)))
		return (0);
	if (w->n++ == 0)
		w->oldest = e->time;
	return (0);
}

struct taken {
	const struct guid *peer;
	bool any;
};

static int
on_taken(void *arg, const struct log_entry *e)
{
	struct taken *t = arg;

	if (guid_eq(&e->origin, t->peer) && *e->mailbox != '\0' &&
	    (strcmp(e->text, "delete") == 0 ||
		(strncmp(e->text, "expunge ", 8) == 0 &&
		    strstr(e->text, " moved-to=") == NULL)))
		t->any = true;
	return (0);
}

int
memory_took_away(
    struct store *s, const struct guid *peer, uint64_t lsn, bool *took)
{
	struct taken t = { .peer = peer };
	uint64_t next;
	int r = store_log(s, lsn, on_taken, &t, &next);

	*took = t.any;
	return (r);
}

int
memory_waiting(
    struct store *s, const struct peer_memory *m, uint64_t *n, int64_t *oldest)
{
	struct walk w = { .peer = &m->peer };
	uint64_t next;
	int r;

	r = store_log(s, m->lsn, count_entry, &w, &next);
	*n = w.n;
	*oldest = w.oldest;
	return (r);
}

int
cmd_waiting(struct store *s, const char *location, struct cmd_waiting *k)
{
	struct arena a = ARENA_INIT;
	struct peer_memory m;
	struct walk w = { .peer = &m.peer };
	uint64_t next;
	int r = memory_peer_by_label(s, location, &a, &m);

	if (r == -ENOENT) {
		/* no sync yet: all that there is waits */
		m.lsn = 0;
		w.peer = NULL;
		r = 0;
	}
	if (r == 0 && (m.lsn != k->from || k->next > store_log_end(s)))
		*k = (struct cmd_waiting){ .from = m.lsn, .next = m.lsn };
	if (r == 0)
		r = store_log(s, k->next, count_entry, &w, &next);
	if (r == 0) {
		k->next = next;
		k->n += w.n;
	}
	arena_fini(&a);
	return (r);
}

/* ---- conflicts ---- */

static uint64_t
conflicts_ever(struct store *s, struct arena *a)
{
	const uint8_t *p;
	struct rd r;
	uint64_t n;
	size_t len;

	if (store_meta(s, "conflicts", a, &p, &len) != 0)
		return (0);
	rd_init(&r, p, len);
	n = rd_varint(&r);
	return (r.bad ? 0 : n);
}

static int
conflict_put(struct txn *t, uint64_t number, const struct conflict_memory *m)
{
	struct buf b = BUF_INIT;
	char key[32];
	int r;

	snprintf(
	    key, sizeof(key), "conflict:%u", (unsigned)(number % CONFLICTS));
	buf_put_u8(&b, VERSION);
	buf_put_varint(&b, (uint64_t)m->time);
	buf_put_varint(&b, m->uid);
	put_text(&b, m->peer);
	put_text(&b, m->mailbox);
	put_text(&b, m->what);
	put_text(&b, m->rule);
	put_text(&b, m->outcome);
	r = b.error != 0 ? b.error : txn_meta_set(t, key, b.data, b.len);
	buf_fini(&b);
	return (r);
}

int
memory_conflicts_add(struct store *s, const struct conflict_memory *v, size_t n)
{
	struct arena a = ARENA_INIT;
	struct buf b = BUF_INIT;
	struct txn *t;
	uint64_t ever = conflicts_ever(s, &a);
	int r;

	r = txn_begin(s, NULL, &t);
	if (r != 0)
		goto out;
	for (size_t i = n > CONFLICTS ? n - CONFLICTS : 0; r == 0 && i < n; i++)
		r = conflict_put(t, ever + i, &v[i]);
	buf_put_varint(&b, ever + n);
	if (r == 0)
		r = b.error != 0 ? b.error
				 : txn_meta_set(t, "conflicts", b.data, b.len);
	if (r == 0)
		r = txn_commit(t);
	else
		txn_abort(t);
out:
	buf_fini(&b);
	arena_fini(&a);
	return (r);
}

static int
conflict_get(struct store *s, uint64_t number, struct arena *a,
    struct conflict_memory *m)
{
	const uint8_t *p;
	struct rd r;
	char key[32];
	size_t n;
	int e;

	snprintf(
	    key, sizeof(key), "conflict:%u", (unsigned)(number % CONFLICTS));
	e = store_meta(s, key, a, &p, &n);
	if (e != 0)
		return (e);
	rd_init(&r, p, n);
	if (rd_u8(&r) != VERSION)
		return (-ENOENT);
	m->time = (int64_t)rd_varint(&r);
	m->uid = rd_varint32(&r);
	m->peer = take_text(&r, a);
	m->mailbox = take_text(&r, a);
	m->what = take_text(&r, a);
	m->rule = take_text(&r, a);
	m->outcome = take_text(&r, a);
	return (a->error != 0 ? -ENOMEM : r.bad ? -ENOENT : 0);
}

int
memory_conflicts(struct store *s, conflict_memory_fn *fn, void *arg)
{
	struct arena a = ARENA_INIT;
	struct conflict_memory m;
	uint64_t ever = conflicts_ever(s, &a);
	int r = 0;

	for (uint64_t i = ever > CONFLICTS ? ever - CONFLICTS : 0;
	     r == 0 && i < ever; i++) {
		r = conflict_get(s, i, &a, &m);
		r = r == 0 ? fn(arg, &m) : r == -ENOENT ? 0 : r;
	}
	arena_fini(&a);
	return (r);
}
