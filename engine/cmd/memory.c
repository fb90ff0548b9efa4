/*
 * memory -- what a store remembers of its peers and of settled conflicts, as
 * settings of the store (store_meta).
 *
 * "peers"		peer GUIDs, 16 bytes each, newest first, at most PEERS
 * "peer:HEX"		u8 version, varints success, begun, tried, status, lsn,
 * then label and error as blobs "conflicts"		varint: how many there
 * were ever
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

#define PEERS 64
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

static void
peer_key(const struct guid *peer, char key[64])
{
	char hex[GUID_HEX_LEN + 1];

	snprintf(key, 64, "peer:%s", guid_hex(peer, hex));
}

int
memory_peer(struct store *s, const struct guid *peer, struct arena *a,
    struct peer_memory *out)
{
	struct peer_memory m = { .peer = *peer };
	const uint8_t *p;
	struct rd r;
	char key[64];
	size_t n;
	int e;

	peer_key(peer, key);
	e = store_meta(s, key, a, &p, &n);
	if (e != 0)
		return (e);
	rd_init(&r, p, n);
	if (rd_u8(&r) != VERSION)
		return (-ENOENT);
	m.success = (int64_t)rd_varint(&r);
	m.begun = (int64_t)rd_varint(&r);
	m.tried = (int64_t)rd_varint(&r);
	m.status = (int)(rd_varint(&r) & 0xff);
	m.lsn = rd_varint(&r);
	m.label = take_text(&r, a);
	m.error = take_text(&r, a);
	if (a->error != 0)
		return (-ENOMEM);
	if (r.bad)
		return (-ENOENT);
	*out = m;
	return (0);
}

/* The list of peers, at most PEERS; n 0 when there is none. */
static int
peer_list(struct store *s, struct arena *a, const uint8_t **p, size_t *n)
{
	int r;

	r = store_meta(s, "peers", a, p, n);
	if (r == -ENOENT) {
		*n = 0;
		return (0);
	}
	*n = r == 0 ? *n / 16 : 0;
	if (*n > PEERS)
		*n = PEERS;
	return (r);
}

int
memory_peers(struct store *s, peer_memory_fn *fn, void *arg)
{
	struct arena a = ARENA_INIT;
	struct peer_memory m;
	struct guid g;
	const uint8_t *p;
	size_t n;
	int r;

	r = peer_list(s, &a, &p, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		memcpy(g.b, p + 16 * i, 16);
		r = memory_peer(s, &g, &a, &m);
		r = r == 0 ? fn(arg, &m) : r == -ENOENT ? 0 : r;
	}
	arena_fini(&a);
	return (r);
}

struct by_label {
	const char *label;
	struct guid peer;
	bool found;
};

static int
match_label(void *arg, const struct peer_memory *m)
{
	struct by_label *b = arg;

	if (!b->found && strcmp(m->label, b->label) == 0) {
		b->peer = m->peer;
		b->found = true;
	}
	return (0);
}

int
memory_peer_by_label(struct store *s, const char *label, struct arena *a,
    struct peer_memory *out)
{
	struct by_label b = { .label = label };
	int r;

	r = memory_peers(s, match_label, &b);
	if (r != 0)
		return (r);
	return (b.found ? memory_peer(s, &b.peer, a, out) : -ENOENT);
}

static int
set_list(struct store *s, struct txn *t, const struct guid *peer)
{
	struct arena a = ARENA_INIT;
	struct buf b = BUF_INIT;
	const uint8_t *p;
	size_t n;
	int r;

	r = peer_list(s, &a, &p, &n);
	if (r != 0 || (n > 0 && memcmp(p, peer->b, 16) == 0))
		goto out;
	buf_put(&b, peer->b, 16);
	for (size_t i = 0; i < n && b.len < (size_t)16 * PEERS; i++)
		if (memcmp(p + 16 * i, peer->b, 16) != 0)
			buf_put(&b, p + 16 * i, 16);
	r = b.error != 0 ? b.error : txn_meta_set(t, "peers", b.data, b.len);
out:
	buf_fini(&b);
	arena_fini(&a);
	return (r);
}

int
memory_peer_set(struct store *s, const struct peer_memory *m)
{
	struct buf b = BUF_INIT;
	struct txn *t;
	char key[64];
	int r;

	buf_put_u8(&b, VERSION);
	buf_put_varint(&b, (uint64_t)m->success);
	buf_put_varint(&b, (uint64_t)m->begun);
	buf_put_varint(&b, (uint64_t)m->tried);
	buf_put_varint(&b, (uint64_t)m->status);
	buf_put_varint(&b, m->lsn);
	buf_put_bytes(&b, m->label, strnlen(m->label, 400));
	buf_put_bytes(&b, m->error, strnlen(m->error, 400));
	r = b.error != 0 ? b.error : txn_begin(s, NULL, &t);
	if (r != 0)
		goto out;
	peer_key(&m->peer, key);
	r = txn_meta_set(t, key, b.data, b.len);
	if (r == 0)
		r = set_list(s, t, &m->peer);
	if (r == 0)
		r = txn_commit(t);
	else
		txn_abort(t);
out:
	buf_fini(&b);
	return (r);
}

/* ---- where the log stands ---- */

struct walk {
	const struct guid *peer;
	uint64_t n;
	int64_t oldest;
};

static int
count_entry(void *arg, const struct log_entry *e)
{
	struct walk *w = arg;

	if (e->modseq == 0 || guid_eq(&e->origin, w->peer))
		return (0);
	if (w->n++ == 0)
		w->oldest = e->time;
	return (0);
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
