/*
 * store_msg -- looking at messages: by UID, name, GUID, inode number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

static int
msg_get(struct store *s, const struct node *n, uint32_t uid, struct arena *a,
    struct msg *out)
{
	struct msg m = { 0 };
	struct kwset kw;
	int error;

	if ((error = msg_load(&s->st, n->id, uid, a, &m, &kw)) != 0 ||
	    (error = msg_keywords(&s->st, a, n, &kw, &m.keywords)) != 0)
		return (error);
	*out = m;
	return (0);
}

int
store_msg(struct store *s, uint32_t mailbox, uint32_t uid, struct arena *a,
    struct msg *out)
{
	struct node *n = node_live(&s->st, mailbox);

	return (n == NULL ? -ENOENT : msg_get(s, n, uid, a, out));
}

int
store_msg_by_name(struct store *s, uint32_t mailbox, const char *base,
    struct arena *a, struct msg *out)
{
	struct node *n = node_live(&s->st, mailbox);
	struct key k;
	const void *v;
	size_t len;
	struct msg m;
	int error;

	if (n == NULL || !base_name_valid(base))
		return (-ENOENT);
	key_name(&k, mailbox, base);
	if ((error = idx_get(&s->st, &k, &v, &len)) != 0)
		return (error);
	if (len != 4)
		return (-EIO);
	if ((error = msg_get(s, n, get_be32(v), a, &m)) != 0)
		return (error == -ENOENT ? -EIO : error);
	if (strcmp(m.name, base) != 0)
		return (-ENOENT);
	*out = m;
	return (0);
}

/*
 * Instances by GUID, in any mailbox (mailbox 0) or one.  The key holds 128
 * bits, the message all of it.
 */
static int
each_guid(struct store *s, uint32_t mailbox, const char *guid, struct arena *a,
    msg_fn *fn, void *arg)
{
	struct btree_cursor c;
	struct key k, prefix;
	struct guid g;
	struct node *n;
	struct msg m;
	int error;

	if ((error = guid128_of_string(guid, &g)) != 0)
		return (error);
	key_table(&prefix, T_GUID);
	key_bytes(&prefix, g.b, sizeof(g.b));
	if (mailbox != 0)
		key_u32(&prefix, mailbox);
	k = prefix;
	error = idx_seek(&s->st, &k, &c);
	while (error == 0 && idx_under(&c, &prefix) && c.klen == 25) {
		uint32_t box = get_be32(c.key + 17), uid = get_be32(c.key + 21);

		k.n = 0;
		key_bytes(&k, c.key, c.klen);
		if ((n = node_live(&s->st, box)) != NULL) {
			if ((error = msg_get(s, n, uid, a, &m)) != 0)
				return (error == -ENOENT ? -EIO : error);
			if (strcmp(m.guid, guid) == 0 &&
			    (error = fn(arg, box, &m)) != 0)
				return (error);
		}
		error = idx_next_after(&s->st, &k, &c);
	}
	return (error);
}

struct first {
	uint32_t mailbox;
	struct msg *msg;
};

static int
take_first(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct first *f = arg;

	f->mailbox = mailbox;
	*f->msg = *m;
	return (1);
}

static int
find_guid(struct store *s, uint32_t mailbox, const char *guid, struct arena *a,
    uint32_t *where, struct msg *out)
{
	struct first f = { .msg = out };
	int error = each_guid(s, mailbox, guid, a, take_first, &f);

	if (error <= 0)
		return (error != 0 ? error : -ENOENT);
	if (where != NULL)
		*where = f.mailbox;
	return (0);
}

int
store_msg_by_guid(struct store *s, uint32_t mailbox, const char *guid,
    struct arena *a, struct msg *out)
{
	if (guid[0] == '\0' || node_live(&s->st, mailbox) == NULL)
		return (-ENOENT);
	return (find_guid(s, mailbox, guid, a, NULL, out));
}

int
store_find_guid(struct store *s, const char *guid, struct arena *a,
    uint32_t *mailbox, struct msg *out)
{
	return (
	    guid[0] == '\0' ? -ENOENT : find_guid(s, 0, guid, a, mailbox, out));
}

int
store_msgs_by_guid(struct store *s, const char *guid, msg_fn *fn, void *arg)
{
	struct arena a = ARENA_INIT;
	int error = guid[0] == '\0' ? 0 : each_guid(s, 0, guid, &a, fn, arg);

	arena_fini(&a);
	return (error);
}

int
store_msgs_by_ino(struct store *s, uint64_t ino, msg_fn *fn, void *arg)
{
	struct btree_cursor c;
	struct key k, prefix;
	struct arena a = ARENA_INIT;
	struct node *n;
	struct msg m;
	int error;

	key_table(&prefix, T_INO);
	key_u64(&prefix, ino);
	k = prefix;
	error = idx_seek(&s->st, &k, &c);
	while (error == 0 && idx_under(&c, &prefix) && c.klen == 17) {
		uint32_t box = get_be32(c.key + 9), uid = get_be32(c.key + 13);

		k.n = 0;
		key_bytes(&k, c.key, c.klen);
		if ((n = node_live(&s->st, box)) != NULL) {
			if ((error = msg_get(s, n, uid, &a, &m)) != 0 ||
			    (error = fn(arg, box, &m)) != 0)
				break;
			arena_fini(&a);
		}
		error = idx_next_after(&s->st, &k, &c);
	}
	arena_fini(&a);
	return (error);
}

int
store_count_ino(struct store *s, uint64_t ino, unsigned *count)
{
	struct btree_cursor c;
	struct key prefix;
	int error;

	*count = 0;
	key_table(&prefix, T_INO);
	key_u64(&prefix, ino);
	error = idx_seek(&s->st, &prefix, &c);
	for (; error == 0 && idx_under(&c, &prefix) && c.klen == 17;
	     error = idx_next(&s->st, &c))
		*count += node_live(&s->st, get_be32(c.key + 9)) != NULL;
	return (error);
}

static int
msgs_of(struct store *s, struct node *n, uint32_t from, msg_fn *fn, void *arg)
{
	uint32_t mailbox = n->id;
	struct btree_cursor c;
	struct key k, prefix;
	struct arena a = ARENA_INIT;
	struct msg m;
	struct kwset kw;
	int error;

	key_table(&prefix, T_MSG);
	key_u32(&prefix, mailbox);
	k = prefix;
	key_u32(&k, from);
	error = idx_seek(&s->st, &k, &c);
	while (error == 0 && idx_under(&c, &prefix) && c.klen == 9) {
		k.n = 0;
		key_bytes(&k, c.key, c.klen);
		memset(&m, 0, sizeof(m));
		m.uid = get_be32(c.key + 5);
		if ((error = msg_decode(&a, c.value, c.vlen, &m, &kw)) ==
		    -EBADMSG) {
			log_error("%s: %s: the index's entry of message %u is "
				  "damaged; run verify --rebuild",
			    store_label(s), n->name, m.uid);
			s->st.broken = true;
			error = -EIO;
		}
		if (error != 0 ||
		    (error = msg_keywords(&s->st, &a, n, &kw, &m.keywords)) !=
			0 ||
		    (error = fn(arg, mailbox, &m)) != 0)
			break;
		arena_fini(&a);
		/* The callback may have looked at other messages. */
		error = idx_next_after(&s->st, &k, &c);
	}
	arena_fini(&a);
	return (error);
}

int
store_msgs(
    struct store *s, uint32_t mailbox, uint32_t from, msg_fn *fn, void *arg)
{
	struct node *n = node_live(&s->st, mailbox);

	return (n == NULL ? -ENOENT : msgs_of(s, n, from, fn, arg));
}

int
store_msgs_deleted(struct store *s, uint32_t mailbox, msg_fn *fn, void *arg)
{
	struct node *n = node_by_id(&s->st, mailbox);

	return (n == NULL ? -ENOENT : msgs_of(s, n, 1, fn, arg));
}

uint64_t
store_new_ino(struct store *s)
{
	return (s->st.next_ino++);
}

void
store_reserve_ino(struct store *s, uint64_t used)
{
	if (used >= s->st.next_ino && used < UINT64_MAX)
		s->st.next_ino = used + 1;
}

/* ---- peers and settings ---- */

static int
blob_out(struct store *s, const struct key *k, struct arena *a, size_t skip_str,
    const uint8_t **p, size_t *len)
{
	struct buf b = BUF_INIT;
	struct rd r;
	size_t n;
	uint8_t *copy;
	int error;

	if ((error = blob_get(&s->st, k, &b)) == 0) {
		rd_init(&r, b.data, b.len);
		if (skip_str)
			(void)rd_blob(&r, &n);
		n = rd_left(&r);
		if ((copy = arena_alloc(a, n + 1)) == NULL) {
			error = -ENOMEM;
		} else {
			if (n > 0)
				memcpy(copy, rd_bytes(&r, n), n);
			*p = copy;
			*len = n;
		}
	}
	buf_fini(&b);
	return (error);
}

int
store_peer(struct store *s, const struct guid *peer, const struct guid *key,
    struct arena *a, const uint8_t **p, size_t *len)
{
	struct key k;

	key_peer(&k, peer, key);
	return (blob_out(s, &k, a, 0, p, len));
}

int
store_peers(struct store *s, peer_fn *fn, void *arg)
{
	struct buf b = BUF_INIT;
	struct guid peer, key;
	struct key k;
	int error;

	key_table(&k, T_PEER);
	while ((error = blob_next(&s->st, &k, 33, &b)) == 0) {
		memcpy(peer.b, k.b + 1, sizeof(peer.b));
		memcpy(key.b, k.b + 17, sizeof(key.b));
		if ((error = fn(arg, &peer, &key, b.data, b.len)) != 0)
			break;
		key_u16(&k, 0xffff);
	}
	buf_fini(&b);
	return (error == -ENOENT ? 0 : error);
}

int
store_meta(struct store *s, const char *key, struct arena *a, const uint8_t **p,
    size_t *len)
{
	struct key k;

	key_meta(&k, key);
	return (blob_out(s, &k, a, 1, p, len));
}
