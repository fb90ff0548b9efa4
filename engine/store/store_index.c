/*
 * store_index -- keys and entries of the index, long values in chunks, and the
 * undo list of a transaction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/store_internal.h"

#define CHUNK 1000

void
key_table(struct key *k, enum table t)
{
	k->b[0] = (uint8_t)t;
	k->n = 1;
}

void
key_bytes(struct key *k, const void *p, size_t n)
{
	if (n > KEY_MAX - k->n)
		n = KEY_MAX - k->n;
	if (n > 0)
		memcpy(k->b + k->n, p, n);
	k->n += n;
}

void
key_u8(struct key *k, uint8_t v)
{
	key_bytes(k, &v, 1);
}

void
key_u16(struct key *k, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	key_bytes(k, b, sizeof(b));
}

void
key_u32(struct key *k, uint32_t v)
{
	key_u16(k, (uint16_t)(v >> 16));
	key_u16(k, (uint16_t)v);
}

void
key_u64(struct key *k, uint64_t v)
{
	key_u32(k, (uint32_t)(v >> 32));
	key_u32(k, (uint32_t)v);
}

uint32_t
get_be32(const uint8_t *p)
{
	return ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3]);
}

uint64_t
get_be64(const uint8_t *p)
{
	return ((uint64_t)get_be32(p) << 32 | get_be32(p + 4));
}

void
key_msg(struct key *k, enum table t, uint32_t mailbox, uint32_t uid)
{
	key_table(k, t);
	key_u32(k, mailbox);
	key_u32(k, uid);
}

/*
 * A long name goes by its hash; whoever finds an entry compares the message's
 * name.
 */
void
key_name(struct key *k, uint32_t mailbox, const char *base)
{
	size_t n = strlen(base);
	uint8_t hash[16];

	key_table(k, T_NAME);
	key_u32(k, mailbox);
	if (n <= 200) {
		key_u8(k, 0);
		key_bytes(k, base, n);
	} else {
		xxh3_128(base, n, hash);
		key_u8(k, 1);
		key_bytes(k, hash, sizeof(hash));
	}
}

void
key_body(struct key *k, const struct body_ref *ref)
{
	key_table(k, T_BODY);
	key_bytes(k, ref->hash, sizeof(ref->hash));
	key_u64(k, ref->size);
	key_u32(k, ref->pack);
	key_u64(k, ref->offset);
}

static int
idx_error(struct state *st, int error)
{
	if (error == -EBADMSG) {
		if (!st->broken)
			log_error("%s: the index is damaged; it is rebuilt "
				  "from the log when the store is opened next",
			    st->os->ops->label(st->os));
		st->broken = true;
		return (-EIO);
	}
	if (error != -ENOENT && error != -ENOMEM) {
		log_error("%s: the index cannot be read: %s",
		    st->os->ops->label(st->os), strerror(-error));
		st->broken = true;
	}
	return (error);
}

int
idx_get(struct state *st, const struct key *k, const void **v, size_t *n)
{
	int error = btree_get(st->tree, k->b, k->n, v, n);

	return (error == 0 ? 0 : idx_error(st, error));
}

static int
undo_note(struct state *st, const struct key *k)
{
	const void *v = NULL;
	size_t n = 0;
	struct undo *u;
	int error;

	if (!st->marked)
		return (0);
	if (st->nundo == st->capundo) {
		size_t cap = st->capundo == 0 ? 64 : st->capundo * 2;

		if ((u = realloc(st->undo, cap * sizeof(*u))) == NULL)
			return (-ENOMEM);
		st->undo = u;
		st->capundo = cap;
	}
	if ((error = idx_get(st, k, &v, &n)) != 0 && error != -ENOENT)
		return (error);
	u = &st->undo[st->nundo];
	if ((u->key = malloc(k->n + n + 1)) == NULL)
		return (-ENOMEM);
	memcpy(u->key, k->b, k->n);
	u->klen = k->n;
	u->value = NULL;
	u->vlen = n;
	if (error == 0) {
		u->value = u->key + k->n;
		if (n > 0)
			memcpy(u->value, v, n);
	}
	st->nundo++;
	return (0);
}

int
idx_put(struct state *st, const struct key *k, const void *v, size_t n)
{
	int error;

	if (n > BTREE_VALUE_MAX)
		return (-E2BIG);
	if ((error = undo_note(st, k)) != 0)
		return (error);
	error = btree_put(st->tree, k->b, k->n, n > 0 ? v : "", n);
	return (error == 0 ? 0 : idx_error(st, error));
}

int
idx_del(struct state *st, const struct key *k)
{
	int error;

	if ((error = undo_note(st, k)) != 0)
		return (error);
	error = btree_del(st->tree, k->b, k->n);
	return (error == 0 || error == -ENOENT ? 0 : idx_error(st, error));
}

int
idx_seek(struct state *st, const struct key *k, struct btree_cursor *c)
{
	int error = btree_seek(st->tree, k->b, k->n, c);

	return (error == 0 ? 0 : idx_error(st, error));
}

int
idx_next(struct state *st, struct btree_cursor *c)
{
	int error = btree_next(c);

	return (error == 0 ? 0 : idx_error(st, error));
}

int
idx_next_after(struct state *st, const struct key *k, struct btree_cursor *c)
{
	int error = 0;

	if (btree_stands(c)) {
		/* What it lent may be gone. */
		c->key = k->b;
		c->klen = k->n;
	} else
		error = idx_seek(st, k, c);
	return (error != 0 ? error : idx_next(st, c));
}

bool
idx_under(const struct btree_cursor *c, const struct key *prefix)
{
	return (c->key != NULL && c->klen >= prefix->n &&
	    memcmp(c->key, prefix->b, prefix->n) == 0);
}

/* ---- long values ---- */

static void
key_chunk(struct key *k, const struct key *from, unsigned chunk)
{
	*k = *from;
	key_u16(k, (uint16_t)chunk);
}

/*
 * Chunks are full but for the last, which is shorter (and may be empty), so
 * that the end is known.
 */
int
blob_put(struct state *st, const struct key *k, const void *p, size_t n)
{
	const uint8_t *from = p;
	struct key ck;
	const void *v;
	size_t len;
	unsigned chunk = 0;
	int error;

	if (n / CHUNK >= 65000)
		return (-E2BIG);
	if (p != NULL) {
		for (;;) {
			size_t m = n < CHUNK ? n : CHUNK;

			key_chunk(&ck, k, chunk++);
			if ((error = idx_put(st, &ck, from, m)) != 0)
				return (error);
			from += m;
			n -= m;
			if (m < CHUNK)
				break;
		}
	}
	for (;; chunk++) {
		key_chunk(&ck, k, chunk);
		if ((error = idx_get(st, &ck, &v, &len)) != 0)
			return (error == -ENOENT ? 0 : error);
		if ((error = idx_del(st, &ck)) != 0)
			return (error);
	}
}

int
blob_get(struct state *st, const struct key *k, struct buf *out)
{
	struct key ck;
	const void *v;
	size_t n;
	int error;

	buf_reset(out);
	for (unsigned chunk = 0; chunk < 65536; chunk++) {
		key_chunk(&ck, k, chunk);
		if ((error = idx_get(st, &ck, &v, &n)) != 0)
			return (error == -ENOENT && chunk > 0
				? idx_error(st, -EBADMSG)
				: error);
		buf_put(out, v, n);
		if (out->error != 0)
			return (out->error);
		if (n < CHUNK)
			return (0);
	}
	return (idx_error(st, -EBADMSG));
}

int
blob_next(struct state *st, struct key *k, size_t klen, struct buf *out)
{
	struct btree_cursor c;
	uint8_t table = k->b[0];
	int error;

	if ((error = idx_seek(st, k, &c)) != 0)
		return (error);
	if (c.key == NULL || c.key[0] != table)
		return (-ENOENT);
	if (c.klen != klen + 2)
		return (idx_error(st, -EBADMSG));
	memcpy(k->b, c.key, klen);
	k->n = klen;
	if ((error = blob_get(st, k, out)) != 0)
		return (error == -ENOENT ? idx_error(st, -EBADMSG) : error);
	return (0);
}

/* ---- undo ---- */

void
state_mark(struct state *st)
{
	st->marked = true;
	st->mark_counter[0] = st->next_id;
	st->mark_counter[1] = st->last_uidvalidity;
	st->mark_counter[2] = st->next_ino;
}

static void
undo_free(struct state *st)
{
	for (size_t i = 0; i < st->nundo; i++)
		free(st->undo[i].key);
	st->nundo = 0;
	if (st->capundo > 4096) {
		free(st->undo);
		st->undo = NULL;
		st->capundo = 0;
	}
	st->marked = false;
}

void
state_keep(struct state *st)
{
	for (struct node *n = st->touched; n != NULL; n = n->touched_next)
		n->touched = false;
	st->touched = NULL;
	undo_free(st);
	st->subs_touched = false;
}

/* Nodes are read again from their entries, which are as before by then. */
static int
nodes_undo(struct state *st)
{
	struct node *n, *next;
	struct buf b = BUF_INIT;
	struct key k;
	uint32_t id;
	int error = 0, one;

	for (n = st->touched; n != NULL; n = next) {
		next = n->touched_next;
		id = n->id;
		node_unlist(st, n);
		node_free(st, n);
		key_table(&k, T_NODE);
		key_u32(&k, id);
		one = blob_get(st, &k, &b);
		if (one == 0)
			one = node_decode(st, id, b.data, b.len, NULL);
		if (one != 0 && one != -ENOENT)
			error = one;
	}
	st->touched = NULL;
	buf_fini(&b);
	return (error);
}

int
state_undo(struct state *st)
{
	int error = 0, one;

	for (size_t i = st->nundo; i-- > 0;) {
		struct undo *u = &st->undo[i];

		one = u->value != NULL
		    ? btree_put(st->tree, u->key, u->klen, u->value, u->vlen)
		    : btree_del(st->tree, u->key, u->klen);
		if (one != 0 && one != -ENOENT)
			error = one;
	}
	undo_free(st);
	st->next_id = (uint32_t)st->mark_counter[0];
	st->last_uidvalidity = (uint32_t)st->mark_counter[1];
	if (error == 0 && st->subs_touched) {
		/* Rare: everything is read again. */
		st->touched = NULL;
		error = state_load(st);
	} else if (error == 0) {
		error = nodes_undo(st);
	}
	st->subs_touched = false;
	if (error != 0) {
		log_error("%s: a change could not be taken back in the index "
			  "(%s); open the store again to rebuild it",
		    st->os->ops->label(st->os), strerror(-error));
		st->broken = true;
	}
	return (error);
}
