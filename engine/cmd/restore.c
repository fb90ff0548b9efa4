/*
 * restore -- takes expunges back: the bodies are still there, so each is saved
 * again under its own GUID and a new UID.
 *
 * A message whose GUID is in its mailbox already is left alone, so that a
 * second run does nothing.  What was picked by time or by sync and still lives
 * in another mailbox was moved, not lost: it is left alone too, unless it was
 * asked for by GUID or UID.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cmd/cmd_internal.h"

struct lost {
	struct lost *next;
	const char *mailbox;
	int64_t time;
	struct msg msg; /* strings in the arena */
};

struct picking {
	struct cmd *c;
	struct arena *a;
	const char *mailbox; /* NULL: all */
	struct guid origin; /* with --sync: the peer of the last one */
	int64_t since;
	struct lost *first, **last;
	uint64_t found;
};

static bool
uid_listed(const char *list, uint32_t uid)
{
	char *end;

	while (*list != '\0') {
		unsigned long from = strtoul(list, &end, 10), to = from;

		if (*end == ':' || *end == '-')
			to = strtoul(end + 1, &end, 10);
		if (uid >= from && uid <= to)
			return (true);
		list = *end == ',' ? end + 1 : "";
	}
	return (false);
}

/* Numbers and ranges, "4,7:9". */
static bool
uids_valid(const char *list)
{
	const char *p = list;

	for (;;) {
		size_t n = strspn(p, "0123456789");

		if (n == 0 || n > 10)
			return (false);
		p += n;
		if (*p == ':' || *p == '-') {
			n = strspn(p + 1, "0123456789");
			if (n == 0 || n > 10)
				return (false);
			p += n + 1;
		}
		if (*p == '\0')
			return (true);
		if (*p++ != ',')
			return (false);
	}
}

static bool
wanted(const struct picking *p, const struct expunged *e)
{
	const struct options *o = p->c->o;

	if (p->mailbox != NULL && strcmp(p->mailbox, e->mailbox_name) != 0)
		return (false);
	if (o->guid != NULL && strcmp(o->guid, e->msg.guid) != 0)
		return (false);
	if (o->uids != NULL && !uid_listed(o->uids, e->msg.uid))
		return (false);
	if (o->last_sync && !guid_eq(&p->origin, &e->origin))
		return (false);
	return (e->time >= p->since);
}

static int
copy_msg(struct arena *a, const struct msg *from, struct msg *to)
{
	*to = *from;
	to->guid = arena_strdup(a, from->guid);
	to->name = arena_strdup(a, from->name);
	to->letters = arena_strdup(a, from->letters);
	to->pop3_uidl = arena_strdup(a, from->pop3_uidl);
	return (keywords_copy(a, &from->keywords, &to->keywords) != 0 ||
		    a->error != 0
		? -ENOMEM
		: 0);
}

static int
pick(void *arg, const struct expunged *e)
{
	struct picking *p = arg;
	struct lost *l;

	if (cmd_stopped(p->c))
		return (-EINTR);
	if (!wanted(p, e))
		return (0);
	l = arena_zalloc(p->a, sizeof(*l));
	if (l == NULL || copy_msg(p->a, &e->msg, &l->msg) != 0)
		return (-ENOMEM);
	l->mailbox = arena_strdup(p->a, e->mailbox_name);
	l->time = e->time;
	if (l->mailbox == NULL)
		return (-ENOMEM);
	*p->last = l;
	p->last = &l->next;
	p->found++;
	return (0);
}

static int
last_sync(void *arg, const struct peer_memory *m)
{
	struct peer_memory *best = arg;

	if (m->begun > best->begun) {
		best->begun = m->begun;
		best->peer = m->peer;
	}
	return (0);
}

/* What --sync means: the peer and the beginning of the last sync that took
 * something away. */
static int
set_sync(struct picking *p, struct store *s)
{
	struct peer_memory best = { .begun = 0 };
	int r;

	r = memory_peers(s, last_sync, &best);
	if (r != 0)
		return (r);
	if (best.begun == 0) {
		log_error("restore --sync: no sync has taken anything away "
			  "from this store");
		return (-ENOENT);
	}
	p->origin = best.peer;
	if (best.begun > p->since)
		p->since = best.begun;
	return (0);
}

/* ---- taking back ---- */

static int
mailbox_for(struct store *s, const char *name, uint32_t *id)
{
	struct mailbox_new create = { .name = name };
	struct mailbox m;
	struct txn *t;
	int r;

	r = store_mailbox_by_name(s, name, &m);
	if (r == 0 && m.exists && m.selectable) {
		*id = m.id;
		return (0);
	}
	if (r != 0 && r != -ENOENT)
		return (r);
	r = txn_begin(s, NULL, &t);
	if (r != 0)
		return (r);
	r = txn_mailbox_create(t, &create, id);
	if (r != 0) {
		txn_abort(t);
		return (r);
	}
	return (txn_commit(t));
}

/* 0: to be saved; 1: is there already; 2: lives in another mailbox. */
static int
present(struct picking *p, struct store *s, uint32_t mailbox,
    const struct lost *l, struct arena *a)
{
	const struct options *o = p->c->o;
	uint32_t where;
	struct msg m;

	if (store_msg_by_guid(s, mailbox, l->msg.guid, a, &m) == 0)
		return (1);
	if (o->guid == NULL && o->uids == NULL &&
	    store_find_guid(s, l->msg.guid, a, &where, &m) == 0)
		return (2);
	return (0);
}

static void
show(struct cmd *c, const struct lost *l, uint32_t uid)
{
	char when[32], size[16];
	struct json j;

	if (c->o->json) {
		json_begin(&j, uid != 0 ? "restored" : "expunged");
		json_str(&j, "mailbox", l->mailbox);
		json_uint(&j, "old_uid", l->msg.uid);
		if (uid != 0)
			json_uint(&j, "uid", uid);
		json_str(&j, "guid", l->msg.guid);
		json_int(&j, "expunged", l->time);
		json_int(&j, "received", l->msg.received);
		json_uint(&j, "size", l->msg.body.size);
		json_end(c, &j);
		return;
	}
	out_printf(c, "%s uid=%u", l->mailbox, l->msg.uid);
	if (uid != 0)
		out_printf(c, " restored as uid=%u", uid);
	out_printf(c, " guid=%s expunged=%s size=%s\n", l->msg.guid,
	    time_text(l->time, when), bytes_text(l->msg.body.size, size));
}

static int
save_one(struct store *s, uint32_t mailbox, const struct lost *l, uint32_t *uid)
{
	struct arena a = ARENA_INIT;
	struct msg m = l->msg, other;
	struct txn *t;
	int r;

	m.uid = 0;
	m.modseq = 0;
	m.ino = 0;
	if (store_msg_by_name(s, mailbox, m.name, &a, &other) == 0)
		m.name = NULL;
	arena_fini(&a);
	r = txn_begin(s, NULL, &t);
	if (r != 0)
		return (r);
	r = txn_save(t, mailbox, &m, uid);
	if (r != 0) {
		txn_abort(t);
		return (r);
	}
	return (txn_commit(t));
}

struct tally {
	uint64_t restored, present, moved;
};

static int
restore_one(
    struct picking *p, struct replica *r, const struct lost *l, struct tally *n)
{
	struct arena a = ARENA_INIT;
	uint32_t id, uid = 0;
	int e, where;

	replica_lock(r);
	e = mailbox_for(r->store, l->mailbox, &id);
	if (e == 0) {
		where = present(p, r->store, id, l, &a);
		n->present += where == 1;
		n->moved += where == 2;
		if (where == 0) {
			e = save_one(r->store, id, l, &uid);
			n->restored += e == 0;
		}
	}
	replica_unlock(r);
	arena_fini(&a);
	if (e == 0 && uid != 0)
		show(p->c, l, uid);
	return (e);
}

static int
finish(struct picking *p, const struct tally *n, int status)
{
	struct cmd *c = p->c;
	struct json j;

	if (c->o->json) {
		json_begin(&j, "summary");
		json_int(&j, "status", status);
		json_uint(&j, "found", p->found);
		json_uint(&j, "restored", n->restored);
		json_uint(&j, "present", n->present);
		json_uint(&j, "moved", n->moved);
		json_end(c, &j);
		return (status);
	}
	if (!c->o->list)
		out_printf(c, "%llu of %llu restored\n",
		    (unsigned long long)n->restored,
		    (unsigned long long)p->found);
	if (n->present != 0)
		out_printf(c, "%llu are there already\n",
		    (unsigned long long)n->present);
	if (n->moved != 0)
		out_printf(c,
		    "%llu lie in another mailbox, so they were moved: name one "
		    "by --guid to get it back here too\n",
		    (unsigned long long)n->moved);
	return (status);
}

static int
restore(struct cmd *c, struct replica *r, struct arena *a)
{
	struct picking p = { .c = c,
		.a = a,
		.mailbox = c->o->n_args != 0 ? c->o->args[0] : NULL,
		.since = c->o->since };
	struct tally n = { 0, 0, 0 };
	int e;

	p.last = &p.first;
	if (!replica_native(r)) {
		log_error("%s: only a store of dsyncfs keeps expunged mail; "
			  "this location does not",
		    r->label);
		return (EX_FAIL);
	}
	replica_lock(r);
	e = c->o->last_sync ? set_sync(&p, r->store) : 0;
	if (e == 0)
		e = store_expunged_list(r->store, 0, pick, &p);
	replica_unlock(r);
	for (const struct lost *l = p.first; e == 0 && l != NULL; l = l->next) {
		if (c->o->list)
			show(c, l, 0);
		else
			e = cmd_stopped(c) ? -EINTR : restore_one(&p, r, l, &n);
	}
	if (e == 0 && !c->o->list)
		e = r->ops->commit(r);
	return (finish(&p, &n, cmd_status_of(e)));
}

int
cmd_restore(struct cmd *c)
{
	const struct options *o = c->o;
	struct arena a = ARENA_INIT;
	struct subject s;
	bool done;
	int status = EX_FAIL, r;

	if (o->uids != NULL && (o->n_args == 0 || !uids_valid(o->uids)))
		return (cmd_usage_error(c,
		    "restore: --uid takes UIDs of one mailbox: restore MAILBOX "
		    "--uid 4,7:9"));
	if (o->n_args == 0 && o->guid == NULL && o->since == 0 &&
	    !o->last_sync && !o->list)
		return (cmd_usage_error(c,
		    "restore: say what: MAILBOX, --guid, --uid, --since or "
		    "--sync; --list shows what there is"));
	r = subject_open(
	    c, NULL, 0, o->list ? LOCATION_RDONLY : 0, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	status = restore(c, s.r, &a);
	arena_fini(&a);
	return (subject_close(&s, status));
}
