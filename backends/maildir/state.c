/*
 * state -- what the sidecar remembers of a mailbox beside its messages: its
 *directory, how its files looked at the last scan, its letters.
 *
 *	u8 version (1), bytes dir, u8 settled, 4 stamps (new, cur, list,
 *keywords), varint n, n times bytes name
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATE_VERSION 1

static void
key_of(uint32_t id, char key[32])
{
	(void)snprintf(key, 32, "box.%u", id);
}

static void
stamp_put(struct buf *b, const struct stamp *s)
{
	buf_put_u8(b, s->there);
	buf_put_varint(b, s->ino);
	buf_put_varint(b, s->size);
	buf_put_svarint(b, s->mtime);
	buf_put_varint(b, s->mtime_nsec);
	buf_put_svarint(b, s->ctime);
	buf_put_varint(b, s->ctime_nsec);
}

static void
stamp_get(struct rd *r, struct stamp *s)
{
	s->there = rd_u8(r) != 0;
	s->ino = rd_varint(r);
	s->size = rd_varint(r);
	s->mtime = rd_svarint(r);
	s->mtime_nsec = rd_varint32(r);
	s->ctime = rd_svarint(r);
	s->ctime_nsec = rd_varint32(r);
}

static const char *
str_get(struct rd *r, struct arena *a)
{
	size_t n;
	const uint8_t *p = rd_blob(r, &n);

	return (p == NULL && n != 0
		? NULL
		: arena_strndup(
		      a, p == NULL ? (const void *)"" : p, p == NULL ? 0 : n));
}

int
md_state_get(
    struct maildir *m, uint32_t id, struct arena *a, struct box_state *out)
{
	struct box_state s = { .dir = NULL };
	char key[32];
	const uint8_t *p;
	struct rd r;
	size_t n;
	int rc;

	key_of(id, key);
	if ((rc = store_meta(m->r.store, key, a, &p, &n)) != 0)
		return (rc);
	rd_init(&r, p, n);
	if (rd_u8(&r) != STATE_VERSION)
		return (-ENOENT);
	s.dir = str_get(&r, a);
	s.settled = rd_u8(&r) != 0;
	stamp_get(&r, &s.s_new);
	stamp_get(&r, &s.s_cur);
	stamp_get(&r, &s.s_list);
	stamp_get(&r, &s.s_kw);
	s.kws = (size_t)rd_varint(&r);
	/*
	 * It is our own file, yet a wrong count must not become a wild
	 * allocation.
	 */
	if (r.bad || s.dir == NULL || s.kws > rd_left(&r))
		return (-ENOENT);
	if ((s.kw = arena_zalloc(a, (s.kws + 1) * sizeof(*s.kw))) == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < s.kws; i++)
		if ((s.kw[i] = str_get(&r, a)) == NULL)
			return (a->error != 0 ? -ENOMEM : -ENOENT);
	if (r.bad)
		return (-ENOENT);
	*out = s;
	return (0);
}

int
md_state_put(struct txn *t, uint32_t id, const struct box_state *s)
{
	struct buf b = BUF_INIT;
	char key[32];
	int rc;

	key_of(id, key);
	buf_put_u8(&b, STATE_VERSION);
	buf_put_str(&b, s->dir);
	buf_put_u8(&b, s->settled);
	stamp_put(&b, &s->s_new);
	stamp_put(&b, &s->s_cur);
	stamp_put(&b, &s->s_list);
	stamp_put(&b, &s->s_kw);
	buf_put_varint(&b, s->kws);
	for (size_t i = 0; i < s->kws; i++)
		buf_put_str(&b, s->kw[i]);
	rc = b.error != 0 ? b.error : txn_meta_set(t, key, b.data, b.len);
	buf_fini(&b);
	return (rc);
}

int
md_state_drop(struct txn *t, uint32_t id)
{
	char key[32];

	key_of(id, key);
	return (txn_meta_set(t, key, NULL, 0));
}
