/*
 * peer -- saved peer states: u8 version (4), u8 1: of a backup, session,
 * then le32 id, uidvalidity, common_uid, messages, le64 own_since, own_end,
 * peer_end, peer_now.
 */
#include "sync/peer.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"

#define STATE_VERSION 4

static void
encode(struct buf *b, const struct peer_state *st)
{
	buf_put_u8(b, STATE_VERSION);
	buf_put_u8(b, st->backup);
	buf_put(b, st->session.b, sizeof(st->session.b));
	buf_put_le32(b, st->id);
	buf_put_le32(b, st->uidvalidity);
	buf_put_le32(b, st->common_uid);
	buf_put_le32(b, st->messages);
	buf_put_le64(b, st->own_since);
	buf_put_le64(b, st->own_end);
	buf_put_le64(b, st->peer_end);
	buf_put_le64(b, st->peer_now);
}

int
peer_state_load(struct store *s, const struct guid *peer,
    const struct guid *mailbox, struct peer_state *out)
{
	struct arena a = ARENA_INIT;
	struct peer_state st = { 0 };
	const uint8_t *p, *session;
	struct mailbox box;
	struct rd r;
	size_t n;
	int rc;

	/* What both had in common may be lost here. */
	if (store_damaged(s))
		return (-ENOENT);
	if ((rc = store_peer(s, peer, mailbox, &a, &p, &n)) != 0)
		goto out;
	rd_init(&r, p, n);
	rc = -ENOENT;
	if (rd_u8(&r) != STATE_VERSION)
		goto out;
	st.backup = rd_u8(&r) != 0;
	session = rd_bytes(&r, sizeof(st.session.b));
	if (session != NULL)
		memcpy(st.session.b, session, sizeof(st.session.b));
	st.id = rd_le32(&r);
	st.uidvalidity = rd_le32(&r);
	st.common_uid = rd_le32(&r);
	st.messages = rd_le32(&r);
	st.own_since = rd_le64(&r);
	st.own_end = rd_le64(&r);
	st.peer_end = rd_le64(&r);
	st.peer_now = rd_le64(&r);
	if (r.bad || rd_left(&r) != 0 ||
	    store_mailbox_by_guid(s, mailbox, &box) != 0 || box.id != st.id)
		goto out;
	*out = st;
	rc = 0;
out:
	arena_fini(&a);
	return (rc);
}

int
peer_state_save(struct store *s, const struct guid *peer,
    const struct guid *mailbox, const struct peer_state *st)
{
	struct arena a = ARENA_INIT;
	struct buf b = BUF_INIT;
	const uint8_t *old;
	struct txn *t;
	size_t n;
	int rc = store_peer(s, peer, mailbox, &a, &old, &n);

	if (rc != 0 && rc != -ENOENT)
		goto out;
	if (st != NULL)
		encode(&b, st);
	if (b.error != 0) {
		rc = b.error;
		goto out;
	}
	if (rc == -ENOENT ? st == NULL
			  : n == b.len && memcmp(old, b.data, n) == 0) {
		rc = 0;
		goto out;
	}
	rc = txn_begin(s, NULL, &t);
	if (rc != 0)
		goto out;
	rc = txn_peer_set(t, peer, mailbox, b.data, b.len);
	if (rc == 0)
		rc = txn_commit(t);
	else
		txn_abort(t);
out:
	buf_fini(&b);
	arena_fini(&a);
	return (rc);
}

struct peers {
	const struct guid *key;
	struct guid peer[64];
	size_t n;
};

static int
on_peer(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	struct peers *x = arg;

	(void)p;
	(void)len;
	if (guid_eq(key, x->key) && x->n < sizeof(x->peer) / sizeof(x->peer[0]))
		x->peer[x->n++] = *peer;
	return (0);
}

int
peer_states_rename(
    struct store *s, const struct guid *from, const struct guid *to)
{
	struct arena a = ARENA_INIT;
	struct peers x = { .key = from };
	const uint8_t *p;
	struct txn *t;
	size_t len;
	int rc = store_peers(s, on_peer, &x);

	if (rc != 0 || x.n == 0)
		return (rc);
	rc = txn_begin(s, NULL, &t);
	if (rc != 0)
		return (rc);
	for (size_t i = 0; i < x.n && rc == 0; i++) {
		rc = store_peer(s, &x.peer[i], from, &a, &p, &len);
		if (rc == 0)
			rc = txn_peer_set(t, &x.peer[i], to, p, len);
		if (rc == 0)
			rc = txn_peer_set(t, &x.peer[i], from, NULL, 0);
		arena_fini(&a);
	}
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static void
put_two(
    struct buf *b, bool first, const struct guid *own, const struct guid *peer)
{
	buf_put(b, first ? own->b : peer->b, sizeof(own->b));
	buf_put(b, first ? peer->b : own->b, sizeof(own->b));
}

int
peer_session(const struct peer_session *p, struct peer_state *st)
{
	bool first = guid_cmp(p->own, p->peer) < 0;
	uint8_t hash[SHA256_LEN];
	struct buf b = BUF_INIT;
	struct digest *d = NULL;
	int rc;

	put_two(&b, first, p->own, p->peer);
	put_two(&b, first, p->own_token, p->peer_token);
	buf_put(&b, p->mailbox->b, sizeof(p->mailbox->b));
	buf_put_le32(&b, st->uidvalidity);
	buf_put_le32(&b, st->common_uid);
	buf_put_le64(&b, st->peer_end);
	rc = b.error;
	if (rc == 0)
		rc = digest_new(DIGEST_SHA256, &d);
	if (rc == 0)
		rc = digest_add(d, b.data, b.len);
	if (rc == 0)
		rc = digest_final(d, hash);
	if (rc == 0)
		memcpy(st->session.b, hash, sizeof(st->session.b));
	digest_free(d);
	buf_fini(&b);
	return (rc);
}
