/*
 * store_txn -- a transaction: members write records and apply them at once, so
 * that later members see them; commit writes the frame.
 *
 * What was applied stands on the undo list until the frame is written; abort
 * and a failed write put it back (S1).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

#define CHECKPOINT_PAGE 4096u
#define CHECKPOINT_TAIL (32u << 20)

int
store_writable(struct store *s)
{
	if (s->poisoned)
		return (-EIO);
	return (s->rdonly || s->damaged ? -EROFS : 0);
}

int
txn_begin(struct store *s, const struct guid *origin, struct txn **out)
{
	struct txn *t;
	int error;

	if ((error = store_writable(s)) != 0)
		return (error);
	if (s->txn != NULL)
		return (-EBUSY);
	if (s->st.broken && (error = store_rebuild(s)) != 0)
		return (error);
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return (-ENOMEM);
	t->s = s;
	buf_init(&t->payload);
	buf_init(&t->scratch);
	arena_init(&t->arena);
	if (origin != NULL)
		t->head.origin = *origin;
	s->os->ops->now(s->os, &t->head.sec, &t->head.nsec);
	t->what.origin = t->head.origin;
	frame_head_put(&t->payload, &t->head);
	state_mark(&s->st);
	s->txn = t;
	*out = t;
	return (0);
}

static void
txn_free(struct txn *t)
{
	t->s->txn = NULL;
	buf_fini(&t->payload);
	buf_fini(&t->scratch);
	arena_fini(&t->arena);
	free(t);
}

void
txn_abort(struct txn *t)
{
	if (t == NULL)
		return;
	(void)state_undo(&t->s->st);
	txn_free(t);
}

/* Remembers the error: from here on the transaction can only be aborted. */
int
txn_fail(struct txn *t, int error)
{
	t->error = error;
	return (error);
}

int
txn_check(struct txn *t, uint32_t mailbox, struct node **n)
{
	if (t->error != 0)
		return (t->error);
	*n = node_live(&t->s->st, mailbox);
	return (*n == NULL ? txn_fail(t, -ENOENT) : 0);
}

int
txn_record(struct txn *t, const struct record *r)
{
	int error;

	if (t->s->watch_msg != NULL &&
	    (r->type == RECORD_SAVE || r->type == RECORD_FLAGS ||
		r->type == RECORD_STATE || r->type == RECORD_EXPUNGE ||
		r->type == RECORD_KEYWORD))
		t->s->watch_msg(t->s->watch_msg_arg, r->mailbox,
		    r->type == RECORD_SAVE          ? r->msg.uid
			: r->type == RECORD_KEYWORD ? 0
						    : r->uid);
	record_put(&t->payload, &t->scratch, r);
	error = t->payload.error;
	if (error == 0 && t->payload.len > JOURNAL_FRAME_MAX)
		error = -EFBIG;
	if (error == 0)
		error = state_apply(&t->s->st, &t->head, r);
	arena_fini(&t->s->st.tmp);
	if (error == -EBADMSG) {
		log_error("%s: a change does not fit the mailbox; this is a "
			  "bug in dsyncfs, nothing was changed",
		    store_label(t->s));
		error = -EIO;
	}
	if (error != 0)
		return (txn_fail(t, error));
	t->dirty = true;
	return (0);
}

void
txn_note(
    struct txn *t, unsigned what, uint32_t mailbox, uint32_t uid, uint64_t ino)
{
	struct watch_event *w = &t->what;

	if (mailbox == 0 || (w->what != 0 && w->mailbox != mailbox))
		t->several_mailboxes = true;
	if (uid == 0 || (w->uid != 0 && w->uid != uid))
		t->several_msgs = true;
	w->what |= what;
	w->mailbox = mailbox;
	if (what & WATCH_MESSAGES) {
		if (w->ino != 0 && w->ino != ino)
			t->several_msgs = true;
		w->uid = uid;
		w->ino = ino;
	}
}

static void
txn_tell(struct store *s, const struct txn *t)
{
	struct watch_event w = t->what;

	if (s->watch == NULL || w.what == 0)
		return;
	if (t->several_mailboxes)
		w.mailbox = 0;
	if (t->several_msgs)
		w.uid = 0;
	if (t->several_msgs)
		w.ino = 0;
	s->watch(s->watch_arg, &w);
}

static int
txn_write(struct txn *t)
{
	struct store *s = t->s;
	uint64_t lsn;
	int error;

	if ((error = store_writable(s)) != 0 || (error = t->error) != 0)
		return (error);
	if (s->st.broken)
		return (-EIO);
	if ((error = state_flush(&s->st)) != 0)
		return (error);
	if (s->packs != NULL && journal_switch_due(s->journal) &&
	    (error = packs_seal(s->packs)) != 0)
		return (error);
	error = journal_append(
	    s->journal, t->payload.data, t->payload.len, t->head.sec, &lsn);
	if (error != 0 && error != -ENOSPC && error != -EFBIG &&
	    error != -EDQUOT)
		s->poisoned = true;
	return (error);
}

static bool
checkpoint_due(const struct store *s)
{
	return (btree_dirty_pages(s->st.tree) >
		s->set.dirty_bytes / CHECKPOINT_PAGE ||
	    journal_end(s->journal) - s->ckpt_lsn > CHECKPOINT_TAIL);
}

int
txn_commit(struct txn *t)
{
	struct store *s = t->s;
	int error = 0;

	if (t->error == 0 && !t->dirty) {
		txn_abort(t);
		return (0);
	}
	if ((error = txn_write(t)) != 0) {
		txn_abort(t);
		return (error);
	}
	state_keep(&s->st);
	s->txn = NULL;
	txn_tell(s, t);
	txn_free(t);
	/*
	 * The change is made; what a checkpoint meets is reported there and
	 * concerns later ones.
	 */
	if (!s->syncing && checkpoint_due(s))
		(void)store_checkpoint(s, true);
	return (0);
}

/* ---- messages ---- */

uint64_t
node_next_modseq(const struct node *n)
{
	return (n->highestmodseq + 1);
}

static int
cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x < y ? -1 : x > y);
}

static bool
keyword_number(const struct node *n, const char *name, uint32_t *number)
{
	for (size_t i = 0; i < n->keywords; i++)
		if (n->keyword[i] != NULL && strcmp(n->keyword[i], name) == 0) {
			*number = (uint32_t)i;
			return (true);
		}
	return (false);
}

/*
 * Numbers of names; with add, names that the table lacks get the next number,
 * else they are left out.
 */
int
txn_keyword_numbers(struct txn *t, struct node *n, const struct keywords *k,
    bool add, struct kwset *out)
{
	uint32_t *v;
	size_t len = 0, m = 0;
	int error;

	*out = (struct kwset){ NULL, 0 };
	if (k->n == 0)
		return (0);
	if (k->n > RECORD_KEYWORDS_MAX)
		return (txn_fail(t, -E2BIG));
	if ((v = arena_alloc(&t->arena, k->n * sizeof(*v))) == NULL)
		return (txn_fail(t, -ENOMEM));
	for (size_t i = 0; i < k->n; i++) {
		if (!keyword_number(n, k->name[i], &v[len])) {
			if (!add)
				continue;
			if ((error = txn_keyword(t, n->id, k->name[i], -1)) !=
			    0)
				return (error);
			if (!keyword_number(n, k->name[i], &v[len]))
				return (txn_fail(t, -EIO));
		}
		len++;
	}
	qsort(v, len, sizeof(*v), cmp_u32);
	for (size_t i = 0; i < len; i++)
		if (m == 0 || v[m - 1] != v[i])
			v[m++] = v[i];
	*out = (struct kwset){ v, m };
	return (0);
}

static int
name_taken(struct txn *t, const struct node *n, const char *name)
{
	struct key k;
	const void *v;
	size_t len;
	int error;

	key_name(&k, n->id, name);
	error = idx_get(&t->s->st, &k, &v, &len);
	return (error == 0 ? -EEXIST : error == -ENOENT ? 0 : error);
}

/*
 * The GUID escaped, with ".2", ".3" ... for further instances; without a GUID
 * the UID has to do.
 */
static int
name_make(struct txn *t, const struct node *n, struct msg *m)
{
	const char *base = name_of_guid(&t->arena, m->guid), *name;
	int error;

	if (base == NULL)
		base = arena_printf(&t->arena, "u%u", m->uid);
	if ((name = base) == NULL)
		return (-ENOMEM);
	for (unsigned i = 2; (error = name_taken(t, n, name)) == -EEXIST; i++)
		if ((name = arena_printf(&t->arena, "%s.%u", base, i)) == NULL)
			return (-ENOMEM);
	m->name = name;
	return (error);
}

/*
 * S4: every known message with this GUID has this body.  Bodies are the same
 * when they lie in the same place; a second place for the same bytes (its first
 * copy was unreadable) shows by size and hash.
 */
static int
guid_content(struct txn *t, const struct msg *m, enum table table)
{
	struct state *st = &t->s->st;
	struct btree_cursor c;
	struct key prefix, k;
	struct guid g;
	struct expunged_rec x = { 0 };
	const void *v;
	size_t len;
	int error;

	if ((error = guid128_of_string(m->guid, &g)) != 0)
		return (error);
	key_table(&prefix, table);
	key_bytes(&prefix, g.b, sizeof(g.b));
	for (error = idx_seek(st, &prefix, &c);
	     error == 0 && idx_under(&c, &prefix) && c.klen == 25;) {
		uint32_t box = get_be32(c.key + 17), uid = get_be32(c.key + 21);

		memset(&x, 0, sizeof(x));
		if (table == T_GUID) {
			error =
			    msg_load(st, box, uid, &t->arena, &x.msg, &x.kw);
		} else {
			key_msg(&k, T_EXPUNGED, box, uid);
			if ((error = idx_get(st, &k, &v, &len)) == 0)
				error =
				    expunged_decode(&t->arena, uid, v, len, &x);
		}
		if (error != 0)
			return (error == -ENOENT || error == -EBADMSG ? -EIO
								      : error);
		if (strcmp(x.msg.guid, m->guid) == 0) {
			bool same = x.msg.body.size == m->body.size &&
			    memcmp(x.msg.body.hash, m->body.hash, 16) == 0;

			/*
			 * All instances were checked against each other, so one
			 * tells of all.
			 */
			return (same ? 0 : -EEXIST);
		}
		prefix.n = 17;
		k = prefix;
		key_u32(&k, box);
		key_u32(&k, uid);
		if ((error = idx_seek(st, &k, &c)) == 0)
			error = idx_next(st, &c);
	}
	return (error);
}

static int
save_check(struct txn *t, const struct node *n, const struct msg *m)
{
	if (guid_is_zero(&n->guid))
		return (-ENOENT);
	if ((m->uid != 0 && m->uid < n->uidnext) || m->uid == UINT32_MAX ||
	    (m->flags & ~MAIL_FLAGS) || (m->state & ~(MSG_NEW | MSG_NAMED)) ||
	    m->mtime_nsec > 999999999)
		return (-EINVAL);
	if (n->uidnext == UINT32_MAX)
		return (-EOVERFLOW);
	if ((m->guid != NULL && strlen(m->guid) > RECORD_GUID_MAX) ||
	    (m->name != NULL && !base_name_valid(m->name)) ||
	    (m->letters != NULL && strlen(m->letters) > RECORD_LETTERS_MAX) ||
	    (m->pop3_uidl != NULL && strlen(m->pop3_uidl) > RECORD_UIDL_MAX))
		return (-EINVAL);
	if (t->s->packs != NULL && m->body.pack == 0)
		return (-EINVAL);
	return (0);
}

static int
save_guid(struct txn *t, struct msg *m)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g;
	int error;

	if (m->guid == NULL) {
		if ((error = os_guid(t->s->os, g.b)) != 0)
			return (error);
		m->guid = arena_strdup(&t->arena, guid_hex(&g, hex));
		return (m->guid == NULL ? -ENOMEM : 0);
	}
	if (m->guid[0] == '\0' || t->s->packs == NULL)
		return (0);
	if ((error = guid_content(t, m, T_GUID)) != 0)
		return (error);
	return (guid_content(t, m, T_GONE));
}

/* A message and the record of its expunge must each fit one entry of the index.
 */
static int
fits(struct txn *t, const struct msg *m, const struct kwset *kw)
{
	buf_reset(&t->scratch);
	msg_encode(&t->scratch, m, kw);
	if (t->scratch.error != 0)
		return (t->scratch.error);
	return (t->scratch.len + 48 > BTREE_VALUE_MAX ? -E2BIG : 0);
}

int
txn_save(struct txn *t, uint32_t mailbox, const struct msg *in, uint32_t *uid)
{
	struct record r = {
		.type = RECORD_SAVE, .mailbox = mailbox, .name = "", .msg = *in
	};
	struct msg *m = &r.msg;
	struct node *n;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0)
		return (error);
	if ((error = save_check(t, n, m)) != 0 ||
	    (error = save_guid(t, m)) != 0)
		goto fail;
	if (m->uid == 0)
		m->uid = n->uidnext;
	if (m->modseq == 0)
		m->modseq = node_next_modseq(n);
	if (m->ino == 0)
		m->ino = store_new_ino(t->s);
	if (m->received == 0)
		m->received = t->head.sec;
	error =
	    m->name == NULL ? name_make(t, n, m) : name_taken(t, n, m->name);
	if (error != 0)
		goto fail;
	if ((error = txn_keyword_numbers(t, n, &in->keywords, true, &r.kw)) !=
	    0)
		return (error);
	if ((error = fits(t, m, &r.kw)) != 0)
		goto fail;
	if ((error = txn_record(t, &r)) != 0)
		return (error);
	pending_drop(t->s, &m->body);
	txn_note(t, WATCH_MESSAGES, mailbox, m->uid, m->ino);
	if (uid != NULL)
		*uid = m->uid;
	arena_fini(&t->arena);
	return (0);
fail:
	return (txn_fail(t, error));
}

/* Which of the wanted keywords really come or go. */
static int
update_keywords(struct txn *t, struct node *n, const struct kwset *has,
    const struct msg_update *u, struct record *r)
{
	struct kwset add, remove;
	uint32_t *v;
	size_t len = 0;
	int error;

	if ((error = txn_keyword_numbers(
		 t, n, &u->kw_remove, false, &remove)) != 0)
		return (error);
	if (u->kw_remove.n > 0 && u->kw_add.n > 0) {
		struct keywords k;

		/*
		 * (has + add) - remove: what is removed too is not added, and
		 * needs no number.
		 */
		if ((error = keywords_apply(&t->arena, &u->kw_add,
			 &(struct keywords){ NULL, 0 }, &u->kw_remove, &k)) !=
		    0)
			return (txn_fail(t, error));
		error = txn_keyword_numbers(t, n, &k, true, &add);
	} else {
		error = txn_keyword_numbers(t, n, &u->kw_add, true, &add);
	}
	if (error != 0)
		return (error);
	if ((v = arena_alloc(
		 &t->arena, (add.len + remove.len + 1) * sizeof(*v))) == NULL)
		return (txn_fail(t, -ENOMEM));
	for (size_t i = 0; i < add.len; i++)
		if (!kwset_has(has, add.n[i]))
			v[len++] = add.n[i];
	r->kw_add = (struct kwset){ v, len };
	v += len;
	len = 0;
	for (size_t i = 0; i < remove.len; i++)
		if (kwset_has(has, remove.n[i]))
			v[len++] = remove.n[i];
	r->kw_remove = (struct kwset){ v, len };
	return (0);
}

static int
merged_fits(struct txn *t, const struct msg *m, const struct kwset *has,
    const struct kwset *add)
{
	uint32_t *v =
	    arena_alloc(&t->arena, (has->len + add->len + 1) * sizeof(*v));
	struct kwset all = { v, has->len + add->len };

	if (v == NULL)
		return (-ENOMEM);
	if (all.len > RECORD_KEYWORDS_MAX)
		return (-E2BIG);
	if (has->len > 0)
		memcpy(v, has->n, has->len * sizeof(*v));
	if (add->len > 0)
		memcpy(v + has->len, add->n, add->len * sizeof(*v));
	qsort(v, all.len, sizeof(*v), cmp_u32);
	return (fits(t, m, &all));
}

static int
update_flags(struct txn *t, struct node *n, const struct msg *m,
    const struct kwset *kw, const struct msg_update *u)
{
	struct record r = { .type = RECORD_FLAGS,
		.mailbox = n->id,
		.name = "",
		.uid = m->uid };
	uint8_t flags =
	    (uint8_t)((m->flags | (u->add & MAIL_FLAGS)) & ~u->remove);
	bool change;
	int error;

	r.add = (uint8_t)(flags & ~m->flags);
	r.remove = (uint8_t)(m->flags & ~flags);
	if ((error = update_keywords(t, n, kw, u, &r)) != 0)
		return (error);
	change = r.add != 0 || r.remove != 0 || r.kw_add.len > 0 ||
	    r.kw_remove.len > 0;
	if (!change && u->modseq <= m->modseq)
		return (0);
	if ((error = merged_fits(t, m, kw, &r.kw_add)) != 0)
		return (txn_fail(t, error));
	r.modseq = u->modseq == 0   ? node_next_modseq(n)
	    : u->modseq > m->modseq ? u->modseq
				    : m->modseq;
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MESSAGES, n->id, m->uid, m->ino);
	return (error);
}

/*
 * Fills the record's mask and *m with what changes; *m holds the message as it
 * is.
 */
static int
state_mask(struct txn *t, struct node *n, const struct msg_update *u,
    struct msg *m, uint8_t *mask)
{
	int error;

	*mask = 0;
	if (u->set_state && ((u->state ^ m->state) & MSG_NEW)) {
		m->state ^= MSG_NEW;
		*mask |= STATE_STATE;
	}
	if (u->name != NULL && strcmp(u->name, m->name) != 0) {
		if (!base_name_valid(u->name))
			return (-EINVAL);
		if ((error = name_taken(t, n, u->name)) != 0)
			return (error);
		m->name = u->name;
		m->state |= MSG_NAMED;
		*mask |= STATE_NAME | STATE_STATE;
	}
	if (u->letters != NULL &&
	    strcmp(u->letters, m->letters != NULL ? m->letters : "") != 0) {
		m->letters = u->letters;
		*mask |= STATE_LETTERS;
	}
	if (u->set_mtime &&
	    (u->mtime != m->mtime || u->mtime_nsec != m->mtime_nsec)) {
		m->mtime = u->mtime;
		m->mtime_nsec = u->mtime_nsec;
		*mask |= STATE_MTIME;
	}
	if (u->set_received && u->received != m->received) {
		m->received = u->received;
		*mask |= STATE_RECEIVED;
	}
	if (u->pop3_uidl != NULL &&
	    (m->pop3_uidl == NULL || strcmp(u->pop3_uidl, m->pop3_uidl) != 0 ||
		u->pop3_order != m->pop3_order)) {
		m->pop3_uidl = u->pop3_uidl;
		m->pop3_order = u->pop3_order;
		*mask |= STATE_POP3;
	}
	if (strlen(m->letters != NULL ? m->letters : "") > RECORD_LETTERS_MAX ||
	    m->mtime_nsec > 999999999 ||
	    (m->pop3_uidl != NULL && strlen(m->pop3_uidl) > RECORD_UIDL_MAX))
		return (-EINVAL);
	return (0);
}

int
txn_update(
    struct txn *t, uint32_t mailbox, uint32_t uid, const struct msg_update *u)
{
	struct record r = {
		.type = RECORD_STATE, .mailbox = mailbox, .name = "", .uid = uid
	};
	struct msg m = { 0 };
	struct kwset kw;
	struct node *n;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0)
		return (error);
	if ((error = msg_load(&t->s->st, mailbox, uid, &t->arena, &m, &kw)) !=
	    0)
		return (txn_fail(t, error));
	if (!u->silent && (error = update_flags(t, n, &m, &kw, u)) != 0)
		return (error);
	/*
	 * The flags may have changed the entry: what follows only looks at what
	 * they leave alone.
	 */
	r.msg = m;
	if ((error = state_mask(t, n, u, &r.msg, &r.mask)) != 0)
		return (txn_fail(t, error));
	if (r.mask != 0) {
		if ((error = msg_load(
			 &t->s->st, mailbox, uid, &t->arena, &m, &kw)) != 0 ||
		    (error = fits(t, &r.msg, &kw)) != 0)
			return (txn_fail(t, error));
		if ((error = txn_record(t, &r)) != 0)
			return (error);
		txn_note(t, WATCH_MESSAGES, mailbox, uid, m.ino);
	}
	arena_fini(&t->arena);
	return (0);
}

static int
expunge(struct txn *t, struct node *n, const struct msg *m, uint32_t moved_to)
{
	struct record r = { .type = RECORD_EXPUNGE,
		.mailbox = n->id,
		.name = "",
		.uid = m->uid,
		.moved_to = moved_to,
		.modseq = node_next_modseq(n) };
	int error;

	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MESSAGES, n->id, m->uid, m->ino);
	return (error);
}

int
txn_expunge(struct txn *t, uint32_t mailbox, uint32_t uid)
{
	return (txn_expunge_moved(t, mailbox, uid, 0));
}

int
txn_expunge_moved(
    struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t moved_to)
{
	struct msg m = { 0 };
	struct kwset kw;
	struct node *n;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0)
		return (error);
	if ((error = msg_load(&t->s->st, mailbox, uid, &t->arena, &m, &kw)) !=
	    0)
		return (txn_fail(t, error));
	error = expunge(t, n, &m, moved_to);
	arena_fini(&t->arena);
	return (error);
}

/*
 * In *as: what the caller chooses anew (all that a program can choose); the
 * body, GUID, ino and dates stay.
 */
static void
move_as(struct msg *m, const struct msg *as)
{
	m->uid = as->uid;
	m->modseq = as->modseq;
	m->flags = as->flags;
	m->keywords = as->keywords;
	m->letters = as->letters;
	m->state = (uint8_t)((as->state & MSG_NEW) |
	    (as->name != NULL ? as->state & MSG_NAMED : m->state & MSG_NAMED));
	if (as->name != NULL)
		m->name = as->name;
}

int
txn_move(struct txn *t, uint32_t mailbox, uint32_t uid, uint32_t to,
    const struct msg *as, uint32_t *new_uid)
{
	struct arena a = ARENA_INIT;
	struct msg m = { 0 };
	struct kwset kw;
	struct node *n, *target;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0 ||
	    (error = txn_check(t, to, &target)) != 0)
		return (error);
	if ((error = msg_load(&t->s->st, mailbox, uid, &a, &m, &kw)) != 0 ||
	    (error = msg_keywords(&t->s->st, &a, n, &kw, &m.keywords)) != 0) {
		error = txn_fail(t, error);
		goto out;
	}
	if (n == target)
		uid = as != NULL && as->uid != 0 ? as->uid : n->uidnext;
	else
		uid = 0;
	/* First the expunge: the name may stay the same in the same mailbox. */
	if ((error = expunge(t, n, &m, uid)) != 0)
		goto out;
	m.uid = 0;
	m.modseq = 0;
	if (as != NULL)
		move_as(&m, as);
	if (as == NULL || as->name == NULL) {
		if (!(m.state & MSG_NAMED) ||
		    name_taken(t, target, m.name) == -EEXIST) {
			m.name = NULL;
			m.state &= (uint8_t)~MSG_NAMED;
		}
	}
	error = txn_save(t, to, &m, new_uid);
out:
	arena_fini(&a);
	return (error);
}

/* ---- peers and settings ---- */

int
txn_peer_set(struct txn *t, const struct guid *peer, const struct guid *key,
    const void *p, size_t len)
{
	struct record r = { .type = RECORD_PEER,
		.name = "",
		.peer = *peer,
		.guid = *key,
		.data = p,
		.data_len = len };

	if (t->error != 0)
		return (t->error);
	return (
	    len > RECORD_DATA_MAX ? txn_fail(t, -E2BIG) : txn_record(t, &r));
}

int
txn_meta_set(struct txn *t, const char *key, const void *p, size_t len)
{
	struct record r = {
		.type = RECORD_META, .name = key, .data = p, .data_len = len
	};

	if (t->error != 0)
		return (t->error);
	if (key[0] == '\0' || strlen(key) > 255)
		return (txn_fail(t, -EINVAL));
	return (
	    len > RECORD_DATA_MAX ? txn_fail(t, -E2BIG) : txn_record(t, &r));
}
