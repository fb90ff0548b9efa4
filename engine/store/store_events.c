/*
 * store_events -- a mailbox's history, and what was expunged but can still be
 * taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/store_internal.h"

void
event_encode(struct buf *b, const struct record *r)
{
	buf_put_u8(b, r->kind);
	buf_put_u8(b, !guid_is_zero(&r->peer));
	if (!guid_is_zero(&r->peer))
		buf_put(b, r->peer.b, sizeof(r->peer.b));
	buf_put_svarint(b, r->time);
	if (r->kind == EVENT_FLAGS) {
		buf_put_u8(b, r->add);
		buf_put_u8(b, r->remove);
		kwset_put(b, &r->kw_add);
		kwset_put(b, &r->kw_remove);
	} else if (r->kind == EVENT_EXPUNGE) {
		buf_put_str(b, r->guid_string);
		if (r->moved_to != 0)
			buf_put_varint(b, r->moved_to);
	}
}

int
event_decode(struct arena *a, const void *p, size_t n, struct record *out)
{
	struct rd r;
	const uint8_t *s;
	size_t len;

	memset(out, 0, sizeof(*out));
	out->type = RECORD_EVENT;
	out->name = out->guid_string = "";
	rd_init(&r, p, n);
	out->kind = rd_u8(&r);
	if (rd_u8(&r) != 0 && (s = rd_bytes(&r, sizeof(out->peer.b))) != NULL)
		memcpy(out->peer.b, s, sizeof(out->peer.b));
	out->time = rd_svarint(&r);
	if (out->kind == EVENT_FLAGS) {
		out->add = rd_u8(&r);
		out->remove = rd_u8(&r);
		(void)kwset_get(&r, a, &out->kw_add);
		(void)kwset_get(&r, a, &out->kw_remove);
	} else if (out->kind == EVENT_EXPUNGE) {
		s = rd_blob(&r, &len);
		if (!r.bad &&
		    (out->guid_string = arena_strndup(a, s, len)) == NULL)
			return (-ENOMEM);
		if (!r.bad && rd_left(&r) != 0)
			out->moved_to = rd_varint32(&r);
	}
	if (a->error != 0)
		return (a->error);
	return (r.bad || rd_left(&r) != 0 || out->kind < EVENT_SAVE ||
		    out->kind > EVENT_EXPUNGE
		? -EBADMSG
		: 0);
}

/*
 * Imported changes can share a modseq, and even a UID: the last byte of the key
 * tells them apart, in the order they came.
 */
int
event_put(struct state *st, const struct record *r)
{
	struct key k;
	const void *v;
	size_t n;
	int error;

	key_table(&k, T_EVENT);
	key_u32(&k, r->mailbox);
	key_u64(&k, r->modseq);
	key_u32(&k, r->uid);
	key_u8(&k, 0);
	while ((error = idx_get(st, &k, &v, &n)) == 0 && k.b[k.n - 1] < 255)
		k.b[k.n - 1]++;
	if (error != 0 && error != -ENOENT)
		return (error);
	buf_reset(&st->scratch);
	event_encode(&st->scratch, r);
	if (st->scratch.error != 0)
		return (st->scratch.error);
	return (idx_put(st, &k, st->scratch.data, st->scratch.len));
}

static int
event_give(struct store *s, const struct node *n, const struct btree_cursor *c,
    struct arena *a, event_fn *fn, void *arg)
{
	struct record r;
	struct event e = { 0 };
	int error;

	if (c->klen != 18 ||
	    (error = event_decode(a, c->value, c->vlen, &r)) == -EBADMSG) {
		log_error("%s: an event of mailbox %s is damaged in the index; "
			  "run verify --rebuild",
		    store_label(s), n->name);
		s->st.broken = true;
		return (-EIO);
	}
	if (error != 0)
		return (error);
	e.type = (enum event_type)r.kind;
	e.modseq = get_be64(c->key + 5);
	e.uid = get_be32(c->key + 13);
	e.add = r.add;
	e.remove = r.remove;
	e.guid = r.guid_string;
	e.moved_to = r.moved_to;
	e.origin = r.peer;
	e.time = r.time;
	if ((error = msg_keywords(&s->st, a, n, &r.kw_add, &e.kw_add)) != 0 ||
	    (error = msg_keywords(&s->st, a, n, &r.kw_remove, &e.kw_remove)) !=
		0)
		return (error);
	return (fn(arg, &e));
}

/* All that are still there, also below the floor. */
static int
events_from(struct store *s, const struct node *n, uint64_t since, event_fn *fn,
    void *arg)
{
	struct arena a = ARENA_INIT;
	struct btree_cursor c;
	struct key k, prefix;
	int error;

	if (since == UINT64_MAX)
		return (0);
	key_table(&prefix, T_EVENT);
	key_u32(&prefix, n->id);
	k = prefix;
	key_u64(&k, since + 1);
	error = idx_seek(&s->st, &k, &c);
	while (error == 0 && idx_under(&c, &prefix)) {
		k.n = 0;
		key_bytes(&k, c.key, c.klen);
		if ((error = event_give(s, n, &c, &a, fn, arg)) != 0)
			break;
		arena_fini(&a);
		/*
		 * The callback may have read the tree: stand on the entry
		 * again, then go on.
		 */
		error = idx_next_after(&s->st, &k, &c);
	}
	arena_fini(&a);
	return (error);
}

int
store_events(
    struct store *s, uint32_t mailbox, uint64_t since, event_fn *fn, void *arg)
{
	struct node *n = node_live(&s->st, mailbox);

	if (n == NULL)
		return (-ENOENT);
	return (since < n->floor ? -ESTALE : events_from(s, n, since, fn, arg));
}

/* ---- the name of a history ---- */

struct last {
	uint64_t until, modseq;
	uint32_t max_uid;
	/* of all events of that modseq, but for the messages' GUIDs */
	struct buf text;
	/* saves among them */
	struct buf saved;
};

static void
put_keywords(struct buf *b, const struct keywords *k)
{
	buf_put_varint(b, k->n);
	for (size_t i = 0; i < k->n; i++)
		buf_put_str(b, k->name[i]);
}

static int
on_last(void *arg, const struct event *e)
{
	struct last *l = arg;

	if (e->modseq > l->until)
		return (1);
	if (e->type == EVENT_SAVE && e->uid > l->max_uid)
		return (0);
	if (e->modseq != l->modseq) {
		buf_reset(&l->text);
		buf_reset(&l->saved);
		l->modseq = e->modseq;
	}
	buf_put_u8(&l->text, (uint8_t)e->type);
	buf_put_varint(&l->text, e->modseq);
	buf_put_varint(&l->text, e->uid);
	buf_put_svarint(&l->text, e->time);
	buf_put(&l->text, e->origin.b, sizeof(e->origin.b));
	buf_put_u8(&l->text, e->add);
	buf_put_u8(&l->text, e->remove);
	put_keywords(&l->text, &e->kw_add);
	put_keywords(&l->text, &e->kw_remove);
	buf_put_str(&l->text, e->guid);
	if (e->type == EVENT_SAVE)
		buf_put_le32(&l->saved, e->uid);
	return (l->text.error != 0 ? l->text.error : l->saved.error);
}

/* A save's event says nothing of what was saved: its GUID does. */
static int
put_saved(struct store *s, uint32_t mailbox, struct last *l)
{
	struct arena a = ARENA_INIT;
	const char *guid;
	uint32_t to;
	struct msg m;
	struct rd r;
	int error = 0;

	rd_init(&r, l->saved.data, l->saved.len);
	while (error == 0 && rd_left(&r) != 0) {
		uint32_t uid = rd_le32(&r);

		error = store_msg(s, mailbox, uid, &a, &m);
		guid = m.guid;
		if (error == -ENOENT)
			error = store_expunged(s, mailbox, uid, &a, &guid, &to);
		if (error == 0)
			buf_put_str(&l->text, guid);
		arena_fini(&a);
	}
	return (error != 0 ? error : l->text.error);
}

/*
 * Modseqs have gaps, so ever more of the past is looked at.  Of what compaction
 * dropped the last one is still there.
 */
static int
find_last(struct store *s, const struct node *n, struct last *l)
{
	uint64_t width = 32, since;
	int error;

	do {
		since = l->until > width ? l->until - width : 0;
		error = events_from(s, n, since, on_last, l);
		width *= 16;
	} while (error >= 0 && l->modseq == 0 && since != 0);
	if (error < 0)
		return (error);
	return (l->modseq == 0 && n->floor != 0 ? -ENOENT : 0);
}

int
store_history_name(struct store *s, uint32_t mailbox, uint64_t modseq,
    uint32_t max_uid, uint8_t name[16])
{
	struct last l = { .until = modseq, .max_uid = max_uid };
	struct node *n = node_live(&s->st, mailbox);
	uint8_t hash[SHA256_LEN];
	struct digest *d = NULL;
	int error;

	if (n == NULL || modseq < n->floor)
		return (-ENOENT);
	if ((error = find_last(s, n, &l)) != 0 ||
	    (error = put_saved(s, mailbox, &l)) != 0 ||
	    (error = digest_new(DIGEST_SHA256, &d)) != 0)
		goto out;
	if ((error = digest_add(d, l.text.data, l.text.len)) == 0 &&
	    (error = digest_final(d, hash)) == 0)
		memcpy(name, hash, 16);
out:
	digest_free(d);
	buf_fini(&l.text);
	buf_fini(&l.saved);
	return (error);
}

int
expunged_get(struct store *s, uint32_t mailbox, uint32_t uid, struct arena *a,
    struct expunged_rec *x)
{
	struct key k;
	const void *v;
	size_t n;
	int error;

	key_msg(&k, T_EXPUNGED, mailbox, uid);
	if ((error = idx_get(&s->st, &k, &v, &n)) != 0)
		return (error);
	if ((error = expunged_decode(a, uid, v, n, x)) != -EBADMSG)
		return (error);
	log_error("%s: the entry of expunged message %u is damaged in the "
		  "index; run verify --rebuild",
	    store_label(s), uid);
	s->st.broken = true;
	return (-EIO);
}

/*
 * Retention goes by the time, history by modseqs: after a clock that was wrong
 * an expunge can be kept, for restore, below what events still tell.  Who goes
 * by it would know more than its peers are told, and other UIDs would follow.
 */
static bool
before_history(struct store *s, uint32_t mailbox, const struct expunged_rec *x)
{
	const struct node *n = node_by_id(&s->st, mailbox);

	return (n != NULL && x->modseq <= n->floor);
}

/*
 * The event of the expunge says where the message went; without it (compaction
 * dropped it) it is just gone.
 */
static int
moved_to(struct store *s, uint32_t mailbox, uint32_t uid, uint64_t modseq,
    uint32_t *to)
{
	struct arena a = ARENA_INIT;
	struct record r;
	struct key k;
	const void *v;
	size_t n;
	int error;

	*to = 0;
	key_table(&k, T_EVENT);
	key_u32(&k, mailbox);
	key_u64(&k, modseq);
	key_u32(&k, uid);
	key_u8(&k, 0);
	while ((error = idx_get(&s->st, &k, &v, &n)) == 0) {
		error = event_decode(&a, v, n, &r);
		if (error != 0 || r.kind == EVENT_EXPUNGE) {
			*to = error == 0 ? r.moved_to : 0;
			break;
		}
		if (k.b[k.n - 1]++ == 255)
			break;
	}
	arena_fini(&a);
	return (error == -ENOENT ? 0 : error);
}

int
store_expunged(struct store *s, uint32_t mailbox, uint32_t uid, struct arena *a,
    const char **guid, uint32_t *to)
{
	struct expunged_rec x;
	int error;

	if ((error = expunged_get(s, mailbox, uid, a, &x)) == 0 &&
	    before_history(s, mailbox, &x))
		error = -ENOENT;
	if (error != 0 ||
	    (error = moved_to(s, mailbox, uid, x.modseq, to)) != 0)
		return (error);
	*guid = x.msg.guid;
	return (0);
}

int
store_gone_by_guid(struct store *s, uint32_t mailbox, const char *guid,
    uint32_t below, uint32_t *uid)
{
	struct arena a = ARENA_INIT;
	struct key k, prefix;
	struct expunged_rec x;
	struct btree_cursor c;
	uint32_t found = 0, to;
	struct guid g;
	int error = guid128_of_string(guid, &g);

	if (error != 0)
		return (error);
	key_table(&prefix, T_GONE);
	key_bytes(&prefix, g.b, sizeof(g.b));
	key_u32(&prefix, mailbox);
	k = prefix;
	error = idx_seek(&s->st, &k, &c);
	while (error == 0 && idx_under(&c, &prefix) && c.klen == 25) {
		uint32_t at = get_be32(c.key + 21);

		if (at >= below)
			break;
		k.n = 0;
		key_bytes(&k, c.key, c.klen);
		if ((error = expunged_get(s, mailbox, at, &a, &x)) != 0 ||
		    (error = moved_to(s, mailbox, at, x.modseq, &to)) != 0)
			break;
		if (to == 0 && strcmp(x.msg.guid, guid) == 0 &&
		    !before_history(s, mailbox, &x))
			found = at;
		arena_fini(&a);
		error = idx_next_after(&s->st, &k, &c);
	}
	arena_fini(&a);
	if (error != 0 && error != -ENOENT)
		return (error);
	if (found == 0)
		return (-ENOENT);
	*uid = found;
	return (0);
}

int
txn_expunged_as(struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t as_uid)
{
	struct arena a = ARENA_INIT;
	struct expunged_rec x;
	struct node *n;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0)
		return (error);
	if ((error = expunged_get(t->s, mailbox, uid, &a, &x)) != 0 ||
	    (error = msg_keywords(&t->s->st, &a, n, &x.kw, &x.msg.keywords)) !=
		0) {
		error = txn_fail(t, error);
		goto out;
	}
	x.msg.uid = as_uid;
	x.msg.modseq = 0;
	x.msg.ino = 0;
	x.msg.name = NULL;
	x.msg.state &= (uint8_t)~MSG_NAMED;
	error = txn_save(t, mailbox, &x.msg, NULL);
	if (error == 0)
		error = txn_expunge(t, mailbox, as_uid);
out:
	arena_fini(&a);
	return (error);
}

/* ---- the list of what can be restored ---- */

struct gone {
	int64_t time;
	uint32_t mailbox, uid;
	bool alive; /* a message of a deleted mailbox */
};
struct gone_list {
	struct gone *v;
	size_t n, cap;
};

static int
gone_add(struct gone_list *l, int64_t time, uint32_t mailbox, uint32_t uid,
    bool alive)
{
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 256 : l->cap * 2;
		struct gone *v = realloc(l->v, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct gone){ time, mailbox, uid, alive };
	return (0);
}

static int
gone_scan(struct store *s, enum table t, uint32_t mailbox, struct gone_list *l)
{
	struct btree_cursor c;
	struct key k;
	struct rd r;
	uint32_t box;
	int64_t time;
	struct node *n;
	int error;

	key_table(&k, t);
	if (mailbox != 0)
		key_u32(&k, mailbox);
	for (error = idx_seek(&s->st, &k, &c); error == 0 && idx_under(&c, &k);
	     error = idx_next(&s->st, &c)) {
		if (c.klen != 9)
			return (-EIO);
		box = get_be32(c.key + 1);
		n = node_by_id(&s->st, box);
		if (t == T_MSG) {
			time = n == NULL ? 0 : n->deleted_time;
		} else {
			rd_init(&r, c.value, c.vlen);
			if (rd_u8(&r) != 0)
				(void)rd_bytes(&r, 16);
			time = rd_svarint(&r);
		}
		if (n != NULL &&
		    (error = gone_add(
			 l, time, box, get_be32(c.key + 5), t == T_MSG)) != 0)
			return (error);
	}
	return (error);
}

static int
cmp_gone(const void *pa, const void *pb)
{
	const struct gone *a = pa, *b = pb;

	if (a->time != b->time)
		return (a->time < b->time ? 1 : -1);
	if (a->mailbox != b->mailbox)
		return (a->mailbox < b->mailbox ? -1 : 1);
	return (a->uid < b->uid ? 1 : a->uid > b->uid ? -1 : 0);
}

static int
gone_give(struct store *s, const struct gone *g, expunged_fn *fn, void *arg)
{
	struct node *n = node_by_id(&s->st, g->mailbox);
	struct arena a = ARENA_INIT;
	struct expunged_rec x = { 0 };
	struct expunged e = { 0 };
	uint32_t to = 0;
	int error;

	if (g->alive) {
		x.time = n->deleted_time;
		x.origin = n->deleted_origin;
		error = msg_load(&s->st, g->mailbox, g->uid, &a, &x.msg, &x.kw);
	} else {
		error = expunged_get(s, g->mailbox, g->uid, &a, &x);
		if (error == 0)
			error = moved_to(s, g->mailbox, g->uid, x.modseq, &to);
	}
	if (to != 0)
		goto out; /* it is there, under another UID */
	if (error == 0)
		error = msg_keywords(&s->st, &a, n, &x.kw, &x.msg.keywords);
	if (error == 0) {
		e.mailbox = g->mailbox;
		e.mailbox_name = n->name;
		e.time = x.time;
		e.origin = x.origin;
		e.msg = x.msg;
		error = fn(arg, &e);
	}
out:
	arena_fini(&a);
	return (error);
}

int
store_expunged_list(
    struct store *s, uint32_t mailbox, expunged_fn *fn, void *arg)
{
	struct gone_list l = { NULL, 0, 0 };
	struct node *n, *next;
	int error;

	if ((error = gone_scan(s, T_EXPUNGED, mailbox, &l)) != 0)
		goto out;
	HASH_ITER (hh_id, s->st.by_id, n, next) {
		if (n->deleted && (mailbox == 0 || mailbox == n->id) &&
		    (error = gone_scan(s, T_MSG, n->id, &l)) != 0)
			goto out;
	}
	if (l.n > 1)
		qsort(l.v, l.n, sizeof(*l.v), cmp_gone);
	for (size_t i = 0; i < l.n && error == 0; i++)
		error = gone_give(s, &l.v[i], fn, arg);
out:
	free(l.v);
	return (error);
}
