/*
 * store_apply -- what each change record does to the index.
 *
 * Deterministic: a record and the state before it give the state after it, so a
 * log read again gives the same index.  A record that cannot belong to the
 * state (a UID twice, a message that is not there) gives -EBADMSG and has
 * changed nothing that matters: the store then opens read-only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/name.h"
#include "store/store_apply.h"

int
msg_load(struct state *st, uint32_t mailbox, uint32_t uid, struct arena *a,
    struct msg *m, struct kwset *kw)
{
	struct key k;
	const void *v;
	size_t n;
	int error;

	key_msg(&k, T_MSG, mailbox, uid);
	if ((error = idx_get(st, &k, &v, &n)) != 0)
		return (error);
	m->uid = uid;
	if ((error = msg_decode(a, v, n, m, kw)) == -EBADMSG) {
		log_error("%s: the index's entry of message %u is damaged; it "
			  "is rebuilt when the store is opened next",
		    st->os->ops->label(st->os), uid);
		st->broken = true;
		error = -EIO;
	}
	return (error);
}

int
msg_keywords(struct state *st, struct arena *a, const struct node *n,
    const struct kwset *kw, struct keywords *out)
{
	const char **names;
	size_t count = 0;

	(void)st;
	*out = (struct keywords){ NULL, 0 };
	if (kw->len == 0)
		return (0);
	if ((names = arena_alloc(a, kw->len * sizeof(*names))) == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < kw->len; i++)
		if (kw->n[i] < n->keywords && n->keyword[kw->n[i]] != NULL)
			names[count++] = n->keyword[kw->n[i]];
	return (keywords_make(a, names, count, out));
}

void
key_deletion(struct key *k, uint8_t kind, const struct guid *g)
{
	key_table(k, T_DELETION);
	key_u8(k, kind);
	key_bytes(k, g->b, sizeof(g->b));
}

void
key_peer(struct key *k, const struct guid *peer, const struct guid *key)
{
	key_table(k, T_PEER);
	key_bytes(k, peer->b, sizeof(peer->b));
	key_bytes(k, key->b, sizeof(key->b));
}

void
key_meta(struct key *k, const char *name)
{
	struct guid g = { { 0 } };

	(void)guid128_of_name(name, &g);
	key_table(k, T_META);
	key_bytes(k, g.b, sizeof(g.b));
}

/* ---- entries of one message ---- */

static int
msg_store(struct state *st, uint32_t mailbox, const struct msg *m,
    const struct kwset *kw)
{
	struct key k;

	buf_reset(&st->scratch);
	msg_encode(&st->scratch, m, kw);
	if (st->scratch.error != 0)
		return (st->scratch.error);
	key_msg(&k, T_MSG, mailbox, m->uid);
	return (idx_put(st, &k, st->scratch.data, st->scratch.len));
}

static int
guid_entry(struct state *st, enum table t, uint32_t mailbox,
    const struct msg *m, bool on)
{
	struct key k;
	struct guid g;
	int error;

	if (m->guid[0] == '\0')
		return (0);
	if ((error = guid128_of_string(m->guid, &g)) != 0)
		return (error);
	key_table(&k, t);
	key_bytes(&k, g.b, sizeof(g.b));
	key_u32(&k, mailbox);
	key_u32(&k, m->uid);
	return (on ? idx_put(st, &k, NULL, 0) : idx_del(st, &k));
}

static int
ino_entry(struct state *st, uint32_t mailbox, const struct msg *m, bool on)
{
	struct key k;

	key_table(&k, T_INO);
	key_u64(&k, m->ino);
	key_u32(&k, mailbox);
	key_u32(&k, m->uid);
	if (m->ino >= st->next_ino && m->ino < UINT64_MAX)
		st->next_ino = m->ino + 1;
	return (on ? idx_put(st, &k, NULL, 0) : idx_del(st, &k));
}

static int
name_entry(struct state *st, uint32_t mailbox, const struct msg *m, bool on)
{
	struct key k;
	uint8_t uid[4] = { (uint8_t)(m->uid >> 24), (uint8_t)(m->uid >> 16),
		(uint8_t)(m->uid >> 8), (uint8_t)m->uid };

	key_name(&k, mailbox, m->name);
	return (on ? idx_put(st, &k, uid, sizeof(uid)) : idx_del(st, &k));
}

static int
body_entry(struct state *st, const struct msg *m)
{
	struct key k;

	if (m->body.pack == 0)
		return (0);
	key_body(&k, &m->body);
	return (idx_put(st, &k, NULL, 0));
}

/* ---- counts and times of a mailbox ---- */

static void
node_count(struct node *n, const struct msg *m, int sign)
{
	n->messages += (uint32_t)sign;
	if (!(m->flags & MAIL_SEEN))
		n->unseen += (uint32_t)sign;
	if (m->state & MSG_NEW)
		n->fresh += (uint32_t)sign;
}

/* Strictly increasing, also when the clock stands still or goes back. */
void
apply_stamp(int64_t *sec, uint32_t *nsec, const struct frame_head *h)
{
	if (h->sec > *sec || (h->sec == *sec && h->nsec > *nsec)) {
		*sec = h->sec;
		*nsec = h->nsec;
	} else if (*nsec >= 999999999) {
		(*sec)++;
		*nsec = 0;
	} else {
		(*nsec)++;
	}
}

static void
node_changed(struct node *n, uint8_t state, const struct frame_head *h)
{
	if (state & MSG_NEW)
		apply_stamp(&n->changed_new, &n->changed_new_nsec, h);
	else
		apply_stamp(&n->changed, &n->changed_nsec, h);
}

void
apply_raise(uint64_t *v, uint64_t to)
{
	if (to > *v)
		*v = to;
}

/* ---- messages ---- */

/* Puts a message that is not there; SAVE and MESSAGE share it. */
static int
msg_add(struct state *st, struct node *n, const struct record *r)
{
	const struct msg *m = &r->msg;
	struct key k;
	const void *v;
	size_t len;
	int error;

	for (size_t i = 0; i < r->kw.len; i++)
		if (r->kw.n[i] >= n->keywords || n->keyword[r->kw.n[i]] == NULL)
			return (-EBADMSG);
	key_name(&k, n->id, m->name);
	if ((error = idx_get(st, &k, &v, &len)) != -ENOENT)
		return (error == 0 ? -EBADMSG : error);
	if ((error = msg_store(st, n->id, m, &r->kw)) != 0 ||
	    (error = name_entry(st, n->id, m, true)) != 0 ||
	    (error = guid_entry(st, T_GUID, n->id, m, true)) != 0 ||
	    (error = ino_entry(st, n->id, m, true)) != 0 ||
	    (error = body_entry(st, m)) != 0)
		return (error);
	node_count(n, m, 1);
	node_touch(st, n);
	return (0);
}

static int
apply_save(struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);
	struct record e = { .type = RECORD_EVENT,
		.kind = EVENT_SAVE,
		.mailbox = r->mailbox,
		.uid = r->msg.uid,
		.modseq = r->msg.modseq,
		.peer = h->origin,
		.time = h->sec,
		.guid_string = "" };
	int error;

	if (n == NULL || guid_is_zero(&n->guid) || r->msg.uid < n->uidnext ||
	    r->msg.uid == UINT32_MAX)
		return (-EBADMSG);
	if ((error = msg_add(st, n, r)) != 0)
		return (error);
	n->uidnext = r->msg.uid + 1;
	apply_raise(&n->highestmodseq, r->msg.modseq);
	node_changed(n, r->msg.state, h);
	return (event_put(st, &e));
}

static int
apply_message(struct state *st, const struct record *r)
{
	struct node *n = node_by_id(st, r->mailbox);
	struct key k;
	const void *v;
	size_t len;
	int error;

	if (n == NULL || guid_is_zero(&n->guid) || r->msg.uid == 0 ||
	    r->msg.uid >= n->uidnext)
		return (-EBADMSG);
	key_msg(&k, T_MSG, n->id, r->msg.uid);
	if ((error = idx_get(st, &k, &v, &len)) != -ENOENT)
		return (error == 0 ? -EBADMSG : error);
	return (msg_add(st, n, r));
}

static bool
kw_known(const struct node *n, const struct kwset *k)
{
	for (size_t i = 0; i < k->len; i++)
		if (k->n[i] >= n->keywords || n->keyword[k->n[i]] == NULL)
			return (false);
	return (true);
}

static int
kw_apply(struct arena *a, struct kwset *kw, const struct kwset *add,
    const struct kwset *remove)
{
	uint32_t *out = arena_alloc(a, (kw->len + add->len + 1) * sizeof(*out));
	size_t i = 0, j = 0, n = 0;

	if (out == NULL)
		return (-ENOMEM);
	while (i < kw->len || j < add->len) {
		uint32_t v;

		if (j >= add->len || (i < kw->len && kw->n[i] <= add->n[j])) {
			if (j < add->len && kw->n[i] == add->n[j])
				j++;
			v = kw->n[i++];
		} else {
			v = add->n[j++];
		}
		if (!kwset_has(remove, v))
			out[n++] = v;
	}
	kw->n = out;
	kw->len = n;
	return (n > RECORD_KEYWORDS_MAX ? -E2BIG : 0);
}

static int
apply_flags(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);
	struct msg m = { 0 };
	struct kwset kw;
	struct record e = { .type = RECORD_EVENT,
		.kind = EVENT_FLAGS,
		.mailbox = r->mailbox,
		.uid = r->uid,
		.add = r->add,
		.remove = r->remove,
		.kw_add = r->kw_add,
		.kw_remove = r->kw_remove,
		.peer = h->origin,
		.time = h->sec,
		.guid_string = "" };
	int error;

	if (n == NULL || !kw_known(n, &r->kw_add) ||
	    !kw_known(n, &r->kw_remove))
		return (-EBADMSG);
	if ((error = msg_load(st, r->mailbox, r->uid, &st->tmp, &m, &kw)) != 0)
		return (error == -ENOENT ? -EBADMSG : error);
	node_count(n, &m, -1);
	m.flags = (uint8_t)((m.flags | r->add) & ~r->remove);
	apply_raise(&m.modseq, r->modseq);
	e.modseq = m.modseq;
	node_count(n, &m, 1);
	node_touch(st, n);
	apply_raise(&n->highestmodseq, r->modseq);
	if ((error = kw_apply(&st->tmp, &kw, &r->kw_add, &r->kw_remove)) != 0 ||
	    (error = msg_store(st, n->id, &m, &kw)) != 0)
		return (error);
	if ((r->add | r->remove) == 0 && r->kw_add.len == 0 &&
	    r->kw_remove.len == 0)
		return (0);
	node_changed(n, m.state, h);
	return (event_put(st, &e));
}

static int
change_name(struct state *st, struct node *n, struct msg *m, const char *name)
{
	struct key k;
	const void *v;
	size_t len;
	int error;

	key_name(&k, n->id, name);
	if ((error = idx_get(st, &k, &v, &len)) == 0)
		return (strcmp(name, m->name) == 0 ? 0 : -EBADMSG);
	if (error != -ENOENT || (error = name_entry(st, n->id, m, false)) != 0)
		return (error);
	m->name = name;
	return (name_entry(st, n->id, m, true));
}

static int
apply_state(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);
	struct msg m = { 0 };
	struct kwset kw;
	uint8_t was;
	int error;

	if (n == NULL)
		return (-EBADMSG);
	if ((error = msg_load(st, r->mailbox, r->uid, &st->tmp, &m, &kw)) != 0)
		return (error == -ENOENT ? -EBADMSG : error);
	was = m.state;
	node_count(n, &m, -1);
	if (r->mask & STATE_STATE)
		m.state = r->msg.state;
	node_count(n, &m, 1);
	node_touch(st, n);
	if ((r->mask & STATE_NAME) &&
	    (error = change_name(st, n, &m, r->msg.name)) != 0)
		return (error);
	if (r->mask & STATE_LETTERS)
		m.letters = r->msg.letters;
	if (r->mask & STATE_MTIME) {
		m.mtime = r->msg.mtime;
		m.mtime_nsec = r->msg.mtime_nsec;
	}
	if (r->mask & STATE_RECEIVED)
		m.received = r->msg.received;
	if (r->mask & STATE_POP3) {
		m.pop3_uidl = r->msg.pop3_uidl;
		m.pop3_order = r->msg.pop3_order;
	}
	if ((was & MSG_NEW) && !(m.state & MSG_NEW) &&
	    m.uid + 1 > n->first_recent)
		n->first_recent = m.uid + 1;
	if (((was ^ m.state) & MSG_NEW) ||
	    (r->mask & (STATE_NAME | STATE_LETTERS)))
		node_changed(n, was, h);
	if ((was ^ m.state) & MSG_NEW)
		node_changed(n, m.state, h);
	return (msg_store(st, n->id, &m, &kw));
}

static int
expunged_put(struct state *st, uint32_t mailbox, const struct expunged_rec *x)
{
	struct key k;

	buf_reset(&st->scratch);
	buf_put_u8(&st->scratch, !guid_is_zero(&x->origin));
	if (!guid_is_zero(&x->origin))
		buf_put(&st->scratch, x->origin.b, sizeof(x->origin.b));
	buf_put_svarint(&st->scratch, x->time);
	buf_put_varint(&st->scratch, x->modseq);
	msg_encode(&st->scratch, &x->msg, &x->kw);
	if (st->scratch.error != 0)
		return (st->scratch.error);
	key_msg(&k, T_EXPUNGED, mailbox, x->msg.uid);
	return (idx_put(st, &k, st->scratch.data, st->scratch.len));
}

int
expunged_decode(struct arena *a, uint32_t uid, const void *p, size_t n,
    struct expunged_rec *out)
{
	struct rd r;
	const uint8_t *g = NULL;
	size_t left;

	memset(out, 0, sizeof(*out));
	rd_init(&r, p, n);
	if (rd_u8(&r) != 0 && (g = rd_bytes(&r, sizeof(out->origin.b))) != NULL)
		memcpy(out->origin.b, g, sizeof(out->origin.b));
	out->time = rd_svarint(&r);
	out->modseq = rd_varint(&r);
	out->msg.uid = uid;
	left = rd_left(&r);
	g = rd_bytes(&r, left);
	return (r.bad ? -EBADMSG : msg_decode(a, g, left, &out->msg, &out->kw));
}

static int
apply_expunge(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);
	struct expunged_rec x = {
		.time = h->sec, .origin = h->origin, .modseq = r->modseq
	};
	struct record e = { .type = RECORD_EVENT,
		.kind = EVENT_EXPUNGE,
		.mailbox = r->mailbox,
		.uid = r->uid,
		.modseq = r->modseq,
		.moved_to = r->moved_to,
		.peer = h->origin,
		.time = h->sec };
	struct key k;
	int error;

	if (n == NULL)
		return (-EBADMSG);
	if ((error = msg_load(
		 st, r->mailbox, r->uid, &st->tmp, &x.msg, &x.kw)) != 0)
		return (error == -ENOENT ? -EBADMSG : error);
	key_msg(&k, T_MSG, n->id, r->uid);
	if ((error = idx_del(st, &k)) != 0 ||
	    (error = name_entry(st, n->id, &x.msg, false)) != 0 ||
	    (error = guid_entry(st, T_GUID, n->id, &x.msg, false)) != 0 ||
	    (error = ino_entry(st, n->id, &x.msg, false)) != 0 ||
	    (error = guid_entry(st, T_GONE, n->id, &x.msg, true)) != 0 ||
	    (error = expunged_put(st, n->id, &x)) != 0)
		return (error);
	node_count(n, &x.msg, -1);
	node_touch(st, n);
	apply_raise(&n->highestmodseq, r->modseq);
	node_changed(n, x.msg.state, h);
	e.guid_string = x.msg.guid;
	return (event_put(st, &e));
}

static int
apply_expunged(struct state *st, const struct record *r)
{
	struct expunged_rec x = { .time = r->time,
		.origin = r->peer,
		.modseq = r->modseq,
		.msg = r->msg,
		.kw = r->kw };
	int error;

	if (node_by_id(st, r->mailbox) == NULL)
		return (-EBADMSG);
	if ((error = guid_entry(st, T_GONE, r->mailbox, &x.msg, true)) != 0 ||
	    (error = body_entry(st, &x.msg)) != 0)
		return (error);
	if (x.msg.ino >= st->next_ino && x.msg.ino < UINT64_MAX)
		st->next_ino = x.msg.ino + 1;
	return (expunged_put(st, r->mailbox, &x));
}

/* ---- the rest ---- */

static int
apply_meta(struct state *st, const struct record *r)
{
	struct buf b = BUF_INIT;
	struct key k;
	int error;

	key_meta(&k, r->name);
	if (r->data_len == 0)
		return (blob_put(st, &k, NULL, 0));
	buf_put_str(&b, r->name);
	buf_put(&b, r->data, r->data_len);
	error = b.error != 0 ? b.error : blob_put(st, &k, b.data, b.len);
	buf_fini(&b);
	return (error);
}

static int
apply_peer(struct state *st, const struct record *r)
{
	struct key k;

	key_peer(&k, &r->peer, &r->guid);
	return (
	    blob_put(st, &k, r->data_len > 0 ? r->data : NULL, r->data_len));
}

static int
apply_counters(struct state *st, const struct record *r)
{
	if (r->counter[0] > UINT32_MAX || r->counter[1] > UINT32_MAX)
		return (-EBADMSG);
	if (r->counter[0] > st->next_id)
		st->next_id = (uint32_t)r->counter[0];
	if (r->counter[1] > st->last_uidvalidity)
		st->last_uidvalidity = (uint32_t)r->counter[1];
	apply_raise(&st->next_ino, r->counter[2]);
	return (0);
}

/* Its messages follow and are counted then. */
static int
apply_node(struct state *st, const struct record *r)
{
	struct node *n;
	int error;

	if ((error = node_decode(st, r->mailbox, r->data, r->data_len, &n)) !=
	    0)
		return (error);
	n->messages = n->unseen = n->fresh = 0;
	node_touch(st, n);
	return (0);
}

int
state_apply(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	switch (r->type) {
	case RECORD_MAILBOX_CREATE:
		return (apply_create(st, h, r));
	case RECORD_MAILBOX_RENAME:
		return (apply_rename(st, r));
	case RECORD_MAILBOX_DELETE:
		return (apply_delete(st, h, r));
	case RECORD_SUBSCRIBE:
		return (apply_subscribe(st, r));
	case RECORD_DELETION:
		return (r->kind > DELETED_SUBSCRIPTION
			? -EBADMSG
			: deletion_put(
			      st, r->kind, &r->guid, r->name, r->time));
	case RECORD_MAILBOX_UPDATE:
		return (apply_mailbox_update(st, r));
	case RECORD_KEYWORD:
		return (apply_keyword(st, r));
	case RECORD_SAVE:
		return (apply_save(st, h, r));
	case RECORD_FLAGS:
		return (apply_flags(st, h, r));
	case RECORD_STATE:
		return (apply_state(st, h, r));
	case RECORD_EXPUNGE:
		return (apply_expunge(st, h, r));
	case RECORD_PEER:
		return (apply_peer(st, r));
	case RECORD_META:
		return (apply_meta(st, r));
	case RECORD_COUNTERS:
		return (apply_counters(st, r));
	case RECORD_NODE:
		return (apply_node(st, r));
	case RECORD_MESSAGE:
		return (apply_message(st, r));
	case RECORD_EVENT:
		return (node_by_id(st, r->mailbox) == NULL ? -EBADMSG
							   : event_put(st, r));
	case RECORD_EXPUNGED:
		return (apply_expunged(st, r));
	}
	return (-EBADMSG);
}
