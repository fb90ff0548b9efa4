/*
 * memory_peers -- what a store remembers of its peers: when a sync was tried,
 * what came of it, and where the log stood.
 *
 * A file for each peer, peers/HEX (HEX: the peer's id): u8 version, le64 XXH3
 * of what follows, then varints success, begun, tried, status, lsn, and label
 * and error as blobs.  It is replaced whole and not synced: a run that changes
 * no mail writes nothing else, and losing the file costs nothing but what
 * people are shown.  One that does not read is as if it were not there.
 *
 * In older stores these are settings, "peers" (ids of 16 bytes) and "peer:HEX"
 * (as in the file, without the checksum): read where there is no file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "cmd/cmd_internal.h"

#define DIR "peers"
#define PEERS 64
#define VERSION 1
#define FILE_MAX 4096
#define TEXT_MAX 400 /* of label and error */

struct list {
	struct guid id[PEERS];
	size_t n;
};

static void
peer_path(const struct guid *peer, const char *suffix, char path[64])
{
	char hex[GUID_HEX_LEN + 1];

	(void)snprintf(path, 64, DIR "/%s%s", guid_hex(peer, hex), suffix);
}

/* ---- reading ---- */

static char *
take_text(struct rd *r, struct arena *a)
{
	const uint8_t *p;
	size_t n;

	p = rd_blob(r, &n);
	return (
	    r->bad ? NULL : arena_strndup(a, n != 0 ? (const void *)p : "", n));
}

/* What is behind the version and the checksum. */
static int
decode(struct rd *r, const struct guid *peer, struct arena *a,
    struct peer_memory *out)
{
	struct peer_memory m = { .peer = *peer };

	m.success = (int64_t)rd_varint(r);
	m.begun = (int64_t)rd_varint(r);
	m.tried = (int64_t)rd_varint(r);
	m.status = (int)(rd_varint(r) & 0xff);
	m.lsn = rd_varint(r);
	m.label = take_text(r, a);
	m.error = take_text(r, a);
	if (a->error != 0)
		return (-ENOMEM);
	if (r->bad)
		return (-ENOENT);
	*out = m;
	return (0);
}

static int
read_file(struct store *s, const struct guid *peer, struct arena *a,
    struct peer_memory *out)
{
	struct os *os = store_os(s);
	char path[64], *p;
	struct rd r;
	size_t n;
	int e;

	peer_path(peer, "", path);
	e = os_read_file(os, path, FILE_MAX, &p, &n);
	if (e != 0)
		return (e == -ENOMEM ? e : -ENOENT);
	rd_init(&r, p, n);
	e = -ENOENT;
	if (rd_u8(&r) == VERSION && n > 9 &&
	    rd_le64(&r) == xxh3_64(p + 9, n - 9))
		e = decode(&r, peer, a, out);
	free(p);
	return (e);
}

static int
read_setting(struct store *s, const struct guid *peer, struct arena *a,
    struct peer_memory *out)
{
	char key[64], hex[GUID_HEX_LEN + 1];
	const uint8_t *p;
	struct rd r;
	size_t n;
	int e;

	(void)snprintf(key, sizeof(key), "peer:%s", guid_hex(peer, hex));
	e = store_meta(s, key, a, &p, &n);
	if (e != 0)
		return (e);
	rd_init(&r, p, n);
	return (rd_u8(&r) == VERSION ? decode(&r, peer, a, out) : -ENOENT);
}

int
memory_peer(struct store *s, const struct guid *peer, struct arena *a,
    struct peer_memory *out)
{
	int e = read_file(s, peer, a, out);

	return (e == -ENOENT ? read_setting(s, peer, a, out) : e);
}

static void
list_add(struct list *l, const struct guid *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (guid_eq(&l->id[i], id))
			return;
	if (l->n < PEERS)
		l->id[l->n++] = *id;
}

static int
on_file(void *arg, const struct os_dirent *e)
{
	struct guid id;

	if (guid_parse(e->name, &id) == 0)
		list_add(arg, &id);
	return (0);
}

static int
list_peers(struct store *s, struct list *l)
{
	struct os *os = store_os(s);
	struct arena a = ARENA_INIT;
	const uint8_t *p;
	struct guid id;
	size_t n;
	int e;

	l->n = 0;
	e = os->ops->list(os, DIR, on_file, l);
	if (e == 0 || e == -ENOENT)
		e = store_meta(s, "peers", &a, &p, &n);
	for (size_t i = 0; e == 0 && i + 16 <= n; i += 16) {
		memcpy(id.b, p + i, 16);
		list_add(l, &id);
	}
	arena_fini(&a);
	return (e == -ENOENT ? 0 : e);
}

static int
newest_first(const void *a, const void *b)
{
	const struct peer_memory *x = a, *y = b;

	if (x->tried != y->tried)
		return (x->tried > y->tried ? -1 : 1);
	return (guid_cmp(&x->peer, &y->peer));
}

int
memory_peers(struct store *s, peer_memory_fn *fn, void *arg)
{
	struct peer_memory *m = calloc(PEERS, sizeof(*m));
	struct arena a = ARENA_INIT;
	struct list l;
	size_t n = 0;
	int r;

	if (m == NULL)
		return (-ENOMEM);
	r = list_peers(s, &l);
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		r = memory_peer(s, &l.id[i], &a, &m[n]);
		n += r == 0;
		r = r == -ENOENT ? 0 : r;
	}
	if (n > 1)
		qsort(m, n, sizeof(*m), newest_first);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = fn(arg, &m[i]);
	arena_fini(&a);
	free(m);
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

/* ---- writing ---- */

struct oldest {
	const struct guid *keep;
	struct peer_memory m;
	size_t n;
};

static int
find_oldest(void *arg, const struct peer_memory *m)
{
	struct oldest *o = arg;

	o->n++;
	if (!guid_eq(&m->peer, o->keep))
		o->m = *m; /* newest first */
	return (0);
}

/* A new peer takes the place of the one that was tried longest ago. */
static int
make_room(struct store *s, const struct guid *peer)
{
	struct oldest o = { .keep = peer };
	struct os *os = store_os(s);
	char path[64];
	int e = memory_peers(s, find_oldest, &o);

	if (e != 0 || o.n < PEERS)
		return (e);
	peer_path(&o.m.peer, "", path);
	e = os->ops->unlink(os, path);
	return (e == -ENOENT ? 0 : e);
}

static int
write_file(struct store *s, const struct guid *peer, const struct buf *b)
{
	struct os *os = store_os(s);
	char path[64], tmp[64];
	struct os_stat st;
	struct os_file *f;
	int e;

	peer_path(peer, "", path);
	peer_path(peer, ".tmp", tmp);
	e = os->ops->stat(os, path, &st);
	if (e == -ENOENT)
		e = make_room(s, peer);
	if (e == 0)
		e = os->ops->mkdir(os, DIR);
	if (e == 0 || e == -EEXIST)
		e = os->ops->open(os, tmp, OS_WRITE | OS_CREATE | OS_TRUNC, &f);
	if (e != 0)
		return (e);
	e = os->ops->pwrite(f, b->data, b->len, 0);
	os->ops->close(f);
	if (e == 0)
		e = os->ops->rename(os, tmp, path);
	if (e != 0)
		(void)os->ops->unlink(os, tmp);
	return (e);
}

int
memory_peer_set(struct store *s, const struct peer_memory *m)
{
	struct buf b = BUF_INIT, all = BUF_INIT;
	int e;

	buf_put_varint(&b, (uint64_t)m->success);
	buf_put_varint(&b, (uint64_t)m->begun);
	buf_put_varint(&b, (uint64_t)m->tried);
	buf_put_varint(&b, (uint64_t)m->status);
	buf_put_varint(&b, m->lsn);
	buf_put_bytes(&b, m->label, strnlen(m->label, TEXT_MAX));
	buf_put_bytes(&b, m->error, strnlen(m->error, TEXT_MAX));
	buf_put_u8(&all, VERSION);
	if (b.error == 0) {
		buf_put_le64(&all, xxh3_64(b.data, b.len));
		buf_put(&all, b.data, b.len);
	}
	e = b.error != 0 ? b.error : all.error;
	if (e == 0)
		e = write_file(s, &m->peer, &all);
	if (e != 0)
		log_warning("%s: cannot note when the last sync was: %s",
		    store_os(s)->ops->label(store_os(s)), strerror(-e));
	buf_fini(&all);
	buf_fini(&b);
	return (e);
}
