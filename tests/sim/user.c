/*
 * user -- one act of a user at one replica: which message or mailbox it is
 * about, and, of a store, the transaction that a mount makes of it.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lib/os_mem.h"

static const char *const names[] = { "INBOX", "Work", "Work/Sub",
	"Work/Sub/Deep", "Arkiv", "Arkiv/2024", "Job", "Job/Sub", "Trash",
	"Work-temp-1", "a.b", "R\xc3\xa4k" };
#define NAMES (sizeof(names) / sizeof(names[0]))

const char *
mail_text(struct arena *a, const char *guid)
{
	return (arena_printf(a,
	    "From: a@example.org\nDate: Sun, 01 Mar 2026 12:00:00 +0000\n"
	    "Message-ID: <%s@example.org>\nSubject: %s\n\n.\n..%s\nFrom %s\n",
	    guid, guid, guid, guid));
}

/* ---- what it is about ---- */

struct list {
	struct arena *a;
	struct mailbox box[BOXES];
	size_t n;
};

static int
list_box(void *arg, const struct mailbox *m)
{
	struct list *l = arg;

	if (!m->exists || !m->selectable || l->n == BOXES)
		return (0);
	l->box[l->n] = *m;
	l->box[l->n++].name = arena_strdup(l->a, m->name);
	return (0);
}

struct nth {
	struct arena *a;
	uint32_t left;
	struct target *t;
};

static int
nth_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct nth *n = arg;

	(void)mailbox;
	if (n->left-- != 0)
		return (0);
	n->t->uid = m->uid;
	n->t->guid = arena_strdup(n->a, m->guid);
	n->t->name = arena_strdup(n->a, m->name);
	n->t->bits = m->flags;
	n->t->is_new = (m->state & MSG_NEW) != 0;
	return (1);
}

static void
find_target(
    struct place *p, const struct step *s, struct arena *a, struct target *t)
{
	struct list l = { .a = a };
	struct nth n = { .a = a, .t = t };
	const struct mailbox *b;

	memset(t, 0, sizeof(*t));
	place_lock(p);
	if (store_mailboxes(p->s, list_box, &l) == 0 && l.n != 0) {
		b = &l.box[s->r[0] % l.n];
		t->box = b->name;
		t->box_id = b->id;
		t->to = l.box[s->r[2] % l.n].name;
		t->to_id = l.box[s->r[2] % l.n].id;
		if (b->messages != 0) {
			n.left = s->r[1] % b->messages;
			(void)store_msgs(p->s, b->id, 1, nth_msg, &n);
		}
	}
	place_unlock(p);
}

/* ---- transactions ---- */

static int
end(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static int
body_of(struct place *p, const char *text, struct msg *m)
{
	struct stream *in;
	int rc = stream_from_memory(text, strlen(text), &in);

	if (rc != 0)
		return (rc);
	rc = store_body_later(p->s, in, &m->body, &m->vsize);
	stream_close(in);
	return (rc);
}

static int
save(struct place *p, const struct step *s, uint32_t box, const char *guid)
{
	struct arena a = ARENA_INIT;
	struct msg m = { .guid = guid,
		.received = 1600000000 + s->id,
		.saved = 1600000001 + s->id,
		.state = s->r[2] % 3 == 0 ? 0 : MSG_NEW,
		.flags = s->r[2] % 3 == 0 ? s->r[1] & MAIL_FLAGS : 0 };
	struct txn *t;
	int rc = body_of(p, mail_text(&a, guid), &m);

	arena_fini(&a);
	if (rc == 0)
		rc = txn_begin(p->s, NULL, &t);
	return (rc != 0 ? rc : end(t, txn_save(t, box, &m, NULL)));
}

static int
update(struct place *p, const struct target *t, const struct msg_update *u)
{
	struct txn *x;
	int rc = txn_begin(p->s, NULL, &x);

	return (rc != 0 ? rc : end(x, txn_update(x, t->box_id, t->uid, u)));
}

static int
flip(struct place *p, const struct step *s, const struct target *t)
{
	uint8_t bits = (uint8_t)(1u << s->r[2] % 5 | 1u << s->r[2] / 5 % 5);
	struct msg_update u = { .add = bits & (uint8_t)~t->bits,
		.remove = bits & t->bits,
		.set_state = true };

	return (update(p, t, &u));
}

static int
keyword(struct place *p, const struct step *s, const struct target *t)
{
	static const char *const name[2] = { "k1", "k2" };
	const struct keywords one = { &name[s->r[2] % 2], 1 };
	struct msg_update u = { .set_state = true };

	if (s->r[2] / 2 % 3 == 0)
		u.kw_remove = one;
	else
		u.kw_add = one;
	return (update(p, t, &u));
}

/* The content of a message is another one: expunged and saved as one. */
static int
rewrite(struct place *p, const struct step *s, const struct target *t)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	struct txn *x = NULL;
	char guid[32];
	int rc = store_msg(p->s, t->box_id, t->uid, &a, &m);

	(void)snprintf(guid, sizeof(guid), "g%u", s->id);
	m.guid = guid;
	m.uid = 0;
	m.modseq = 0;
	m.ino = 0;
	m.name = NULL;
	if (rc == 0)
		rc = body_of(p, mail_text(&a, guid), &m);
	if (rc == 0)
		rc = txn_begin(p->s, NULL, &x);
	if (rc == 0)
		rc = end(x,
		    (rc = txn_expunge(x, t->box_id, t->uid)) != 0
			? rc
			: txn_save(x, t->box_id, &m, NULL));
	arena_fini(&a);
	return (rc);
}

static int
copy(struct place *p, const struct target *t)
{
	struct arena a = ARENA_INIT;
	struct txn *x;
	struct msg m;
	int rc = store_msg(p->s, t->box_id, t->uid, &a, &m);

	m.uid = 0;
	m.modseq = 0;
	m.ino = 0;
	m.name = NULL;
	if (rc == 0)
		rc = txn_begin(p->s, NULL, &x);
	if (rc == 0)
		rc = end(x, txn_save(x, t->to_id, &m, NULL));
	arena_fini(&a);
	return (rc);
}

struct taken {
	struct arena a;
	struct msg m;
	uint32_t box;
	uint32_t left;
};

static int
nth_expunged(void *arg, const struct expunged *e)
{
	struct taken *t = arg;

	if (t->left-- != 0)
		return (0);
	t->box = e->mailbox;
	t->m = e->msg;
	t->m.guid = arena_strdup(&t->a, e->msg.guid);
	t->m.keywords = (struct keywords){ NULL, 0 };
	t->m.name = NULL;
	t->m.letters = NULL;
	t->m.pop3_uidl = NULL;
	t->m.uid = 0;
	t->m.modseq = 0;
	t->m.ino = 0;
	return (1);
}

/* As the command restore does. */
static int
restore(struct place *p, const struct step *s)
{
	struct taken k = { .a = ARENA_INIT, .left = s->r[1] % 8 };
	struct mailbox box;
	struct msg other;
	struct txn *x;
	int rc = store_expunged_list(p->s, 0, nth_expunged, &k);

	rc = rc == 1 ? 0 : -ENOENT;
	if (rc == 0 &&
	    (store_mailbox(p->s, k.box, &box) != 0 || !box.exists ||
		store_msg_by_guid(p->s, k.box, k.m.guid, &k.a, &other) == 0))
		rc = -ENOENT;
	if (rc == 0)
		rc = txn_begin(p->s, NULL, &x);
	if (rc == 0)
		rc = end(x, txn_save(x, k.box, &k.m, NULL));
	arena_fini(&k.a);
	return (rc);
}

static int
box_act(struct place *p, const struct step *s, const struct target *t)
{
	const char *name = names[s->r[2] % NAMES];
	struct mailbox_new m = { .name = name,
		.directory = s->act == ACT_BOX_DIR };
	struct txn *x;
	int rc;

	/* Neither a mount nor IMAP lets a user do that to INBOX. */
	if (s->act >= ACT_BOX_RENAME && s->act <= ACT_BOX_AGAIN &&
	    (t->box == NULL || strcmp(t->box, "INBOX") == 0))
		return (-EPERM);
	rc = txn_begin(p->s, NULL, &x);
	if (rc != 0)
		return (rc);
	switch (s->act) {
	case ACT_BOX_RENAME:
		return (end(x, txn_mailbox_rename(x, t->box_id, name, 0)));
	case ACT_BOX_DELETE:
		return (end(x, txn_mailbox_delete(x, t->box_id, 0)));
	case ACT_BOX_AGAIN:
		rc = txn_mailbox_delete(x, t->box_id, 0);
		m.name = t->box;
		return (end(x, rc != 0 ? rc : txn_mailbox_create(x, &m, NULL)));
	case ACT_SUBSCRIBE:
	case ACT_UNSUBSCRIBE:
		return (
		    end(x, txn_subscribe(x, name, s->act == ACT_SUBSCRIBE, 0)));
	default:
		return (end(x, txn_mailbox_create(x, &m, NULL)));
	}
}

static int
store_act(struct place *p, const struct step *s, const struct target *t)
{
	struct msg_update u = { .set_mtime = true,
		.mtime = 1500000000 + s->r[2] };
	struct txn *x;
	char guid[32];
	int rc;

	(void)snprintf(guid, sizeof(guid), "g%u", s->id);
	if (s->act >= ACT_BOX_NEW)
		return (box_act(p, s, t));
	if (s->act == ACT_RESTORE)
		return (restore(p, s));
	if (t->box == NULL || (s->act != ACT_DELIVER && t->uid == 0))
		return (-ENOENT);
	switch (s->act) {
	case ACT_DELIVER:
		return (save(p, s, t->box_id, guid));
	case ACT_AGAIN:
		return (copy(p, t));
	case ACT_FLAG:
		return (flip(p, s, t));
	case ACT_KEYWORD:
		return (keyword(p, s, t));
	case ACT_REWRITE:
		return (rewrite(p, s, t));
	case ACT_COPY:
		return (copy(p, t));
	case ACT_DATE:
		return (update(p, t, &u));
	case ACT_MOVE:
		rc =
		    t->to_id == t->box_id ? -ENOENT : txn_begin(p->s, NULL, &x);
		return (rc != 0 ? rc
				: end(x,
				      txn_move(x, t->box_id, t->uid, t->to_id,
					  NULL, NULL)));
	default:
		rc = txn_begin(p->s, NULL, &x);
		return (
		    rc != 0 ? rc : end(x, txn_expunge(x, t->box_id, t->uid)));
	}
}

/*
 * Through files where the replica has files; what its kind of program cannot
 * do (a restore) is done as dsyncfs-sync does it.
 */
static int
act(struct world *w, struct place *p, const struct step *s,
    const struct target *t)
{
	int rc;

	if (p->kind == KIND_MAILDIR || p->kind == KIND_MAILDIR_FS)
		return (maildir_act(w, p, s, t));
	if (p->kind == KIND_MOUNT && s->act != ACT_RESTORE &&
	    s->act != ACT_SUBSCRIBE && s->act != ACT_UNSUBSCRIBE)
		return (mount_act(w, p, s, t));
	place_lock(p);
	rc = store_act(p, s, t);
	place_unlock(p);
	return (rc);
}

void
user_act(struct world *w, struct place *p, const struct step *s)
{
	struct arena a = ARENA_INIT;
	struct snap after;
	struct target t;
	int rc;

	os_mem_advance(p->os, 1000 + s->r[1]);
	place_look(w, p);
	if (os_mem_is_cut(p->os))
		return;
	find_target(p, s, &a, &t);
	rc = act(w, p, s, &t);
	world_say(w, "  %s: %s uid %u guid %s: %s\n", p->label,
	    t.box == NULL ? "-" : t.box, t.uid, t.guid == NULL ? "-" : t.guid,
	    strerror(-rc));
	if (os_mem_is_cut(p->os))
		model_in_flight(p, s->act, &t);
	arena_fini(&a);
	if (!place_troubled(p) && (rc == -EIO || rc == -EROFS))
		world_fail(w, "%s: %s", p->label, strerror(-rc));
	/* Whether it was done is seen when the power is back. */
	if (os_mem_is_cut(p->os) || place_refresh(w, p) != 0)
		return;
	snap_take(w, p, &after);
	model_user(w, p, &p->last, &after, s->act == ACT_RESTORE);
	snap_fini(&p->last);
	p->last = after;
}
