/*
 * view_msg -- messages: finding them by name, and what changing a name means.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sync/peer.h"

#define ZOMBIES_MAX 20000

/* ---- other names of a message ---- */

struct alias *
alias_find(struct view *v, uint32_t box, enum box_part part, const char *name)
{
	struct alias *a;

	for (a = v->aliases; a != NULL; a = a->next)
		if (a->box == box && a->part == part &&
		    strcmp(a->name, name) == 0)
			return (a);
	return (NULL);
}

struct alias *
alias_of(struct view *v, uint32_t box, uint32_t uid)
{
	struct alias *a;

	for (a = v->aliases; a != NULL; a = a->next)
		if (a->box == box && a->uid == uid)
			return (a);
	return (NULL);
}

void
alias_drop(struct view *v, struct alias *a)
{
	struct alias **at;

	for (at = &v->aliases; *at != a; at = &(*at)->next)
		;
	*at = a->next;
	free(a->name);
	free(a);
}

static int
alias_add(struct view *v, uint32_t box, uint32_t uid, enum box_part part,
    const char *name)
{
	struct alias *a = calloc(1, sizeof(*a));

	if (a == NULL || (a->name = strdup(name)) == NULL) {
		free(a);
		return (-ENOMEM);
	}
	a->box = box;
	a->uid = uid;
	a->part = part;
	a->next = v->aliases;
	v->aliases = a;
	return (0);
}

/* ---- finding ---- */

int
msg_lookup(struct view *v, struct arena *a, uint32_t box, enum box_part part,
    const char *name, struct msg *out)
{
	struct alias *other = alias_find(v, box, part, name);
	size_t base = mail_base_len(name);
	char *copy, *shown;
	int error;

	if (other != NULL)
		return (store_msg(v->store, box, other->uid, a, out));
	if (base == 0 || name[0] == '.')
		return (-ENOENT);
	if ((copy = arena_strndup(a, name, base)) == NULL)
		return (-ENOMEM);
	if ((error = store_msg_by_name(v->store, box, copy, a, out)) != 0)
		return (error);
	if ((shown = msg_file_name(v, a, box, out)) == NULL)
		return (-ENOMEM);
	if (msg_part(out) == part && strcmp(shown, name) == 0)
		return (0);
	return (-ENOENT);
}

struct instances {
	struct arena *a;
	uint32_t box;
	struct msg *out;
	unsigned n;
};

static char *
copy_text(struct arena *a, const char *s)
{
	return (s == NULL ? NULL : arena_strdup(a, s));
}

static int
note_instance(void *arg, uint32_t box, const struct msg *m)
{
	struct instances *i = arg;

	if (i->n++ > 0)
		return (0);
	i->box = box;
	*i->out = *m;
	i->out->guid = copy_text(i->a, m->guid);
	i->out->name = copy_text(i->a, m->name);
	i->out->letters = copy_text(i->a, m->letters);
	i->out->pop3_uidl = copy_text(i->a, m->pop3_uidl);
	return (keywords_copy(i->a, &m->keywords, &i->out->keywords));
}

int
msg_by_ino(struct view *v, struct arena *a, uint64_t ino, uint32_t *box,
    struct msg *out, unsigned *count)
{
	struct instances i = { .a = a, .out = out };
	int error = store_msgs_by_ino(v->store, ino, note_instance, &i);

	if (error != 0)
		return (error);
	if (i.n == 0)
		return (-ENOENT);
	if (box != NULL)
		*box = i.box;
	if (count != NULL)
		*count = i.n + (alias_of(v, i.box, out->uid) != NULL);
	return (0);
}

void
zombie_add(
    struct view *v, const struct stat *st, const struct body_ref *body)
{
	uint64_t node = st->st_ino;
	struct zombie *z;

	HASH_FIND(hh, v->zombies, &node, sizeof(node), z);
	if (z == NULL) {
		if (HASH_COUNT(v->zombies) >= ZOMBIES_MAX) {
			z = v->zombies;
			HASH_DEL(v->zombies, z);
			free(z);
		}
		if ((z = calloc(1, sizeof(*z))) == NULL)
			return;
		z->node = node;
		HASH_ADD(hh, v->zombies, node, sizeof(z->node), z);
	}
	/* One name may have gone before what was written under another. */
	z->body = *body;
	z->st = *st;
	z->st.st_nlink = 0;
}

void
msg_gone(struct view *v, const struct msg *m)
{
	struct scratch *s = scratch_by_node(v, m->ino);
	struct arena a = ARENA_INIT;
	struct stat st;
	struct msg other;

	stat_msg(v, m, 0, &st);
	zombie_add(v, &st, &m->body);
	/* What was written to it goes with its last name. */
	if (s != NULL && s->kind == SCRATCH_DIRTY &&
	    msg_by_ino(v, &a, m->ino, NULL, &other, NULL) == -ENOENT)
		(void)scratch_unlink(v, s);
	arena_fini(&a);
}

/* ---- changing ---- */

int
view_finish(struct txn *t, int error)
{
	if (error == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (error);
}

static int
keyword_difference(struct arena *a, const struct keywords *from,
    const struct keywords *minus, struct keywords *out)
{
	static const struct keywords none;

	return (keywords_apply(a, from, &none, minus, out));
}

/*
 * What changing a name from one form to another asks for: exactly the bits
 * that differ between the two names, whatever the message has by now.
 */
static int
make_update(struct view *v, struct arena *a, uint32_t box, enum box_part fpart,
    const char *from, enum box_part tpart, const char *to, const struct msg *m,
    struct msg_update *u)
{
	struct file_name was, will;
	int error;

	memset(u, 0, sizeof(*u));
	if ((error = parse_file_name(v, a, box, fpart, from, &was)) != 0 ||
	    (error = parse_file_name(v, a, box, tpart, to, &will)) != 0 ||
	    (error = keyword_difference(
		 a, &will.keywords, &was.keywords, &u->kw_add)) != 0 ||
	    (error = keyword_difference(
		 a, &was.keywords, &will.keywords, &u->kw_remove)) != 0)
		return (error);
	u->add = will.flags & (uint8_t)~was.flags;
	u->remove = was.flags & (uint8_t)~will.flags;
	u->set_state = true;
	u->state = tpart == PART_NEW ? MSG_NEW : 0;
	u->silent = u->add == 0 && u->remove == 0 && u->kw_add.n == 0 &&
	    u->kw_remove.n == 0;
	if (strcmp(m->name, will.base) != 0)
		u->name = will.base;
	u->letters = will.letters;
	return (0);
}

static int
update_txn(struct view *v, uint32_t box, uint32_t uid, uint32_t victim,
    const struct msg_update *u)
{
	struct txn *t;
	int error = txn_begin(v->store, NULL, &t);

	if (error != 0)
		return (error);
	if (victim != 0)
		error = txn_expunge(t, box, victim);
	if (error == 0 && (error = reserve_letters(v, t, box, u->letters)) == 0)
		error = txn_update(t, box, uid, u);
	return (view_finish(t, error));
}

int
msg_unlink(struct view *v, uint32_t box, enum box_part part, const char *name)
{
	struct arena a = ARENA_INIT;
	struct alias *other = alias_find(v, box, part, name);
	struct msg_update u;
	struct txn *t;
	struct msg m;
	bool old;
	int error;

	if (other != NULL) {
		alias_drop(v, other);
		return (0);
	}
	error = msg_lookup_any(v, &a, box, part, name, &m, &old);
	if (error != 0)
		goto out;
	if ((other = alias_of(v, box, m.uid)) != NULL) {
		/* It lives on under its other name: that was a renaming. */
		error = make_update(
		    v, &a, box, part, name, other->part, other->name, &m, &u);
		if (error == 0)
			error = update_txn(v, box, m.uid, 0, &u);
		if (error == 0)
			alias_drop(v, other);
		goto out;
	}
	if ((error = txn_begin(v->store, NULL, &t)) == 0)
		error = view_finish(t, txn_expunge(t, box, m.uid));
	if (error == 0)
		msg_gone(v, &m);
out:
	arena_fini(&a);
	return (error);
}

/* What m, of that name, is as another message that is given the new name. */
static int
become(struct view *v, struct arena *a, uint32_t from, enum box_part fpart,
    const char *name, const struct msg *m, uint32_t to, enum box_part tpart,
    const char *new_name, struct msg *as)
{
	struct file_name was, will;
	struct keywords add, gone;
	int error;

	*as = *m;

	if ((error = parse_file_name(v, a, from, fpart, name, &was)) != 0 ||
	    (error = parse_file_name(v, a, to, tpart, new_name, &will)) != 0)
		return (error);
	/*
	 * Letters have each mailbox's own meaning, and a name moved as it is
	 * carries the old one: an unchanged end keeps the keywords.
	 */
	if (strcmp(mail_info_text(name), mail_info_text(new_name)) != 0) {
		if ((error = keyword_difference(
			 a, &will.keywords, &was.keywords, &add)) != 0 ||
		    (error = keyword_difference(
			 a, &was.keywords, &will.keywords, &gone)) != 0 ||
		    (error = keywords_apply(
			 a, &m->keywords, &add, &gone, &as->keywords)) != 0)
			return (error);
	} else if (will.letters[0] == '=' && was.named != 0)
		will.letters = arena_strdup(a, "");
	as->flags =
	    (uint8_t)((m->flags | will.flags) & ~(was.flags & ~will.flags));
	as->name = will.base;
	as->letters = will.letters;
	as->state = MSG_NAMED | (tpart == PART_NEW ? MSG_NEW : 0);
	as->uid = 0;
	as->modseq = 0;
	return (as->letters == NULL ? -ENOMEM : 0);
}

/* Into another mailbox: one batch, copy there and expunge here. */
static int
move_out(struct view *v, struct arena *a, uint32_t from, enum box_part fpart,
    const char *name, const struct msg *m, uint32_t to, enum box_part tpart,
    const char *new_name, uint32_t victim)
{
	struct msg as;
	struct txn *t;
	int error;

	if ((error = become(v, a, from, fpart, name, m, to, tpart, new_name,
		 &as)) != 0 ||
	    (error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	if (victim != 0)
		error = txn_expunge(t, to, victim);
	if (error == 0 && (error = reserve_letters(v, t, to, as.letters)) == 0)
		error = txn_move(t, from, m->uid, to, &as, NULL);
	return (view_finish(t, error));
}

/*
 * What a renaming of m from name would replace.  Of one base name there is one
 * message in a mailbox, so mostly that is known without looking.
 */
static int
lookup_victim(struct view *v, struct arena *a, const struct msg *m, bool old,
    uint32_t from, enum box_part fpart, const char *name, uint32_t to,
    enum box_part tpart, const char *new_name, struct msg *victim)
{
	size_t base = mail_base_len(name);

	if (from != to || old || v->aliases != NULL ||
	    base != mail_base_len(new_name) ||
	    memcmp(name, new_name, base) != 0)
		return (msg_lookup(v, a, to, tpart, new_name, victim));
	*victim = *m;
	return (fpart == tpart && strcmp(name, new_name) == 0 ? 0 : -ENOENT);
}

/* Is the message, which was m, shown by the name that it was just given? */
static bool
shown_as(struct view *v, struct arena *a, uint32_t box, const struct msg *m,
    const struct msg_update *u, const char *name)
{
	struct msg is = *m;
	char *shown;

	/* Keywords may have got a number by this. */
	if (u->kw_add.n > 0 || u->kw_remove.n > 0 || u->letters[0] == '=')
		return (false);
	is.flags = (uint8_t)((m->flags | u->add) & ~u->remove);
	is.letters = u->letters;
	is.state = u->state;
	if (u->name != NULL)
		is.name = u->name;
	shown = msg_file_name(v, a, box, &is);
	return (shown != NULL && strcmp(shown, name) == 0);
}

int
msg_rename(struct view *v, uint32_t from, enum box_part fpart, const char *name,
    uint32_t to, enum box_part tpart, const char *new_name, unsigned flags,
    bool *as_given)
{
	struct arena a = ARENA_INIT;
	struct alias *other = alias_find(v, from, fpart, name);
	struct msg m, victim;
	struct msg_update u;
	uint32_t gone = 0;
	bool old;
	int error;

	*as_given = false;
	if (tpart == PART_TMP || (flags & (unsigned)~RENAME_NOREPLACE) != 0)
		return (flags > RENAME_NOREPLACE ? -EINVAL : -EXDEV);
	error = msg_lookup_any(v, &a, from, fpart, name, &m, &old);
	if (error != 0)
		goto out;
	error = lookup_victim(v, &a, &m, old, from, fpart, name, to, tpart,
	    new_name, &victim);
	if (error == 0 && from == to && victim.uid == m.uid)
		goto out; /* two names of one file: nothing */
	if (error == 0 && (flags & RENAME_NOREPLACE) != 0)
		error = -EEXIST;
	if (error == 0) {
		if (victim.ino == m.ino)
			goto out;
		gone = victim.uid;
	} else if (error != -ENOENT)
		goto out;
	if (other != NULL) {
		/* A second name that moves on; the first stays. */
		if (from != to || gone != 0) {
			error = -EXDEV;
			goto out;
		}
		alias_drop(v, other);
		error = alias_add(v, from, m.uid, tpart, new_name);
		goto out;
	}
	if (from != to)
		error = move_out(
		    v, &a, from, fpart, name, &m, to, tpart, new_name, gone);
	else {
		error = make_update(
		    v, &a, from, fpart, name, tpart, new_name, &m, &u);
		if (error == 0)
			error = update_txn(v, from, m.uid, gone, &u);
		if (error == 0)
			*as_given = shown_as(v, &a, to, &m, &u, new_name);
	}
	if (error == 0 && gone != 0)
		msg_gone(v, &victim);
out:
	arena_fini(&a);
	return (error);
}

int
msg_link(struct view *v, uint64_t ino, uint32_t to, enum box_part part,
    const char *name)
{
	struct arena a = ARENA_INIT;
	struct msg m, there, as;
	struct txn *t;
	uint32_t box;
	char *is;
	int error;

	if (part == PART_TMP)
		return (-EXDEV);
	if ((error = msg_by_ino(v, &a, ino, &box, &m, NULL)) != 0)
		goto out;
	if ((is = msg_file_name(v, &a, box, &m)) == NULL) {
		error = -ENOMEM;
		goto out;
	}
	if ((error = become(v, &a, box, msg_part(&m), is, &m, to, part, name,
		 &as)) != 0)
		goto out;
	if (msg_lookup(v, &a, to, part, name, &there) == 0) {
		error = -EEXIST;
		goto out;
	}
	if (box == to && strcmp(m.name, as.name) == 0 &&
	    alias_of(v, box, m.uid) == NULL) {
		error = alias_add(v, box, m.uid, part, name);
		goto out;
	}
	if ((error = txn_begin(v->store, NULL, &t)) == 0)
		error = view_finish(t,
		    (error = reserve_letters(v, t, to, as.letters)) != 0
			? error
			: txn_save(t, to, &as, NULL));
out:
	arena_fini(&a);
	return (error);
}

static int
collect_instance(void *arg, uint32_t box, const struct msg *m)
{
	struct buf *b = arg;

	buf_put_le32(b, box);
	buf_put_le32(b, m->uid);
	return (b->error);
}

struct carried {
	struct view *v;
	struct guid mailbox;
	uint32_t uid;
};

static int
carried_by(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	struct carried *c = arg;
	struct peer_state st;

	(void)p;
	(void)len;
	return (guid_eq(key, &c->mailbox) &&
		    peer_state_load(c->v->store, peer, key, &st) == 0 &&
		    c->uid <= st.common_uid
		? 1
		: 0);
}

/* Has a sync given the message to somebody?  Its date is fixed then. */
static bool
was_carried(struct view *v, uint32_t box, uint32_t uid)
{
	struct carried c = { .v = v, .uid = uid };
	struct mailbox m;

	if (store_mailbox(v->store, box, &m) != 0)
		return (true);
	c.mailbox = m.guid;
	return (store_peers(v->store, carried_by, &c) != 0);
}

int
msg_setattr(struct view *v, uint64_t ino, const struct view_set *set)
{
	struct msg_update u = { .silent = true, .set_mtime = true };
	struct buf list = BUF_INIT;
	struct txn *t;
	struct rd r;
	int error;

	if ((set->what & SET_OWNER) != 0 &&
	    ((set->uid != (uid_t)-1 && set->uid != v->o.uid) ||
		(set->gid != (gid_t)-1 && set->gid != v->o.gid)))
		return (-EPERM);
	if ((set->what & SET_MTIME) == 0)
		return (0);
	u.mtime = u.received = set->mtime.tv_sec;
	u.mtime_nsec = (uint32_t)set->mtime.tv_nsec;
	error = store_msgs_by_ino(v->store, ino, collect_instance, &list);
	if (error != 0 || (error = txn_begin(v->store, NULL, &t)) != 0)
		goto out;
	rd_init(&r, list.data, list.len);
	while (error == 0 && rd_left(&r) > 0) {
		uint32_t box = rd_le32(&r), uid = rd_le32(&r);

		u.set_received = !was_carried(v, box, uid);
		error = txn_update(t, box, uid, &u);
	}
	error = view_finish(t, error);
out:
	buf_fini(&list);
	return (error);
}

/* ---- bodies ---- */

int
view_body(struct view *v, uint64_t node, struct body_ref *out)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int error;

	view_lock(v);
	error = scratch_by_node(v, node) != NULL
	    ? -EBUSY
	    : msg_by_ino(v, &a, node, NULL, &m, NULL);
	if (error == 0)
		*out = m.body;
	view_unlock(v);
	arena_fini(&a);
	return (error);
}

struct following {
	struct view_next *out;
	size_t n, max;
};

static int
note_following(void *arg, uint32_t box, const struct msg *m)
{
	struct following *f = arg;

	(void)box;
	if (f->n == f->max)
		return (1);
	f->out[f->n].node = m->ino;
	f->out[f->n++].body = m->body;
	return (0);
}

int
view_following(
    struct view *v, uint64_t node, struct view_next *out, size_t max)
{
	struct following f = { out, 0, max };
	struct arena a = ARENA_INIT;
	struct msg m;
	uint32_t box;
	int error;

	view_lock(v);
	error = msg_by_ino(v, &a, node, &box, &m, NULL);
	if (error == 0)
		error = store_msgs(
		    v->store, box, m.uid + 1, note_following, &f);
	view_unlock(v);
	arena_fini(&a);
	return (error < 0 ? error : (int)f.n);
}

/* A body opened for this one read, without the lock. */
static ssize_t
read_once(
    struct view *v, const struct body_ref *ref, void *p, size_t n, uint64_t off)
{
	struct body *b;
	ssize_t got;
	int error;

	if ((error = body_open(v->store, ref, &b)) != 0)
		return (error);
	view_unlock(v);
	got = body_read(b, p, n, off);
	view_lock(v);
	body_close(b);
	return (got);
}

ssize_t
view_peek(struct view *v, const struct body_ref *body, void *p, size_t n)
{
	ssize_t got;

	view_lock(v);
	got = read_once(v, body, p, n, 0);
	view_unlock(v);
	return (got);
}

#define BODIES_OPEN 16

/*
 * The last few bodies that were read from, so that a block is not unpacked anew
 * for each page of it.
 */
struct body_cache {
	struct open_body {
		uint64_t node;
		struct body_ref ref;
		struct body *body; /* owned */
		uint64_t used;
		unsigned readers;
		pthread_mutex_t lock;
	} slot[BODIES_OPEN];
	uint64_t clock;
};

void
body_cache_free(struct body_cache *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < BODIES_OPEN; i++) {
		body_close(c->slot[i].body);
		pthread_mutex_destroy(&c->slot[i].lock);
	}
	free(c);
}

void
bodies_close_idle(struct view *v)
{
	struct body_cache *c = v->bodies;

	for (size_t i = 0; c != NULL && i < BODIES_OPEN; i++)
		if (c->slot[i].readers == 0) {
			body_close(c->slot[i].body);
			c->slot[i].body = NULL;
		}
}

static struct open_body *
body_slot(struct view *v, uint64_t node, const struct body_ref *ref, int *error)
{
	struct body_cache *c = v->bodies;
	struct open_body *b, *oldest = NULL;
	size_t i;

	if (c == NULL) {
		if ((c = calloc(1, sizeof(*c))) == NULL) {
			*error = -ENOMEM;
			return (NULL);
		}
		for (i = 0; i < BODIES_OPEN; i++)
			pthread_mutex_init(&c->slot[i].lock, NULL);
		v->bodies = c;
	}
	for (i = 0; i < BODIES_OPEN; i++) {
		b = &c->slot[i];
		if (b->body != NULL && b->node == node &&
		    b->ref.pack == ref->pack && b->ref.offset == ref->offset) {
			b->used = ++c->clock;
			return (b);
		}
		if (b->readers == 0 &&
		    (oldest == NULL || b->used < oldest->used))
			oldest = b;
	}
	if (oldest == NULL) {
		*error = -EAGAIN;
		return (NULL);
	}
	body_close(oldest->body);
	oldest->body = NULL;
	if ((*error = body_open(v->store, ref, &oldest->body)) != 0)
		return (NULL);
	oldest->node = node;
	oldest->ref = *ref;
	oldest->used = ++c->clock;
	return (oldest);
}

/* Called with the lock, which is given up while a block is unpacked. */
ssize_t
msg_read(struct view *v, uint64_t ino, void *p, size_t n, uint64_t off)
{
	struct arena a = ARENA_INIT;
	struct open_body *b;
	struct body_ref ref;
	struct zombie *z;
	struct msg m;
	ssize_t got;
	int error;

	error = msg_by_ino(v, &a, ino, NULL, &m, NULL);
	ref = m.body;
	arena_fini(&a);
	if (error == -ENOENT) {
		HASH_FIND(hh, v->zombies, &ino, sizeof(ino), z);
		if (z == NULL)
			return (-ESTALE);
		ref = z->body;
	} else if (error != 0)
		return (error);
	if ((b = body_slot(v, ino, &ref, &error)) == NULL)
		return (
		    error == -EAGAIN ? read_once(v, &ref, p, n, off) : error);
	b->readers++;
	view_unlock(v);
	pthread_mutex_lock(&b->lock);
	got = body_read(b->body, p, n, off);
	pthread_mutex_unlock(&b->lock);
	view_lock(v);
	b->readers--;
	return (got);
}
