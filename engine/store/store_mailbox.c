/*
 * store_mailbox -- the tree of mailboxes: looking at it, and the members of a
 * transaction that change it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/name.h"
#include "store/store_internal.h"

/* A name that only carries a subscription: it has no id. */
static void
sub_export(const struct sub *sub, struct mailbox *m)
{
	memset(m, 0, sizeof(*m));
	m->name = sub->name;
	m->subscribed = sub->on;
	m->subscription_changed = sub->time;
	m->uidnext = 1;
	m->first_recent_uid = 1;
	m->highestmodseq = 1;
}

static int
cmp_sub(const void *a, const void *b)
{
	return (strcmp(
	    (*(struct sub *const *)a)->name, (*(struct sub *const *)b)->name));
}

/* Subscriptions without a node, sorted. */
static int
lone_subs(struct state *st, struct sub ***out, size_t *n)
{
	struct sub *s, *next,
	    **v = malloc((HASH_COUNT(st->subs) + 1) * sizeof(*v));

	if (v == NULL)
		return (-ENOMEM);
	*n = 0;
	HASH_ITER (hh, st->subs, s, next)
		if (s->on && node_by_name(st, s->name) == NULL)
			v[(*n)++] = s;
	if (*n > 1)
		qsort(v, *n, sizeof(*v), cmp_sub);
	*out = v;
	return (0);
}

int
store_mailboxes(struct store *s, mailbox_fn *fn, void *arg)
{
	struct state *st = &s->st;
	struct mailbox m;
	struct sub **subs;
	size_t nsubs, i = 0, j = 0;
	int error;

	if ((error = state_sorted(st)) != 0 ||
	    (error = lone_subs(st, &subs, &nsubs)) != 0)
		return (error);
	while (error == 0 && (i < st->nsorted || j < nsubs)) {
		if (j >= nsubs ||
		    (i < st->nsorted &&
			strcmp(st->sorted[i]->name, subs[j]->name) < 0))
			node_export(st, st->sorted[i++], &m);
		else
			sub_export(subs[j++], &m);
		error = fn(arg, &m);
	}
	free(subs);
	return (error);
}

int
store_mailbox(struct store *s, uint32_t id, struct mailbox *out)
{
	struct node *n = node_live(&s->st, id);

	if (n == NULL)
		return (-ENOENT);
	node_export(&s->st, n, out);
	return (0);
}

int
store_mailbox_by_name(struct store *s, const char *name, struct mailbox *out)
{
	struct node *n = node_by_name(&s->st, name);
	struct sub *sub;

	if (n != NULL) {
		node_export(&s->st, n, out);
		return (0);
	}
	if ((sub = sub_find(&s->st, name)) == NULL || !sub->on)
		return (-ENOENT);
	sub_export(sub, out);
	return (0);
}

int
store_mailbox_by_guid(
    struct store *s, const struct guid *guid, struct mailbox *out)
{
	struct node *n = node_by_guid(&s->st, guid);

	if (n == NULL)
		return (-ENOENT);
	node_export(&s->st, n, out);
	return (0);
}

/* Of a thing that is there again nothing is said (specs/dsync-protocol.md 4.2).
 */
static bool
deletion_holds(struct store *s, const struct deletion *d)
{
	struct sub *sub;

	switch (d->kind) {
	case DELETED_MAILBOX:
		return (node_by_guid(&s->st, &d->guid) == NULL);
	case DELETED_DIR:
		return (d->name[0] == '\0' ||
		    node_by_name(&s->st, d->name) == NULL);
	case DELETED_SUBSCRIPTION:
		if (d->name[0] == '\0')
			return (true);
		sub = sub_find(&s->st, d->name);
		return (node_by_name(&s->st, d->name) == NULL &&
		    (sub == NULL || !sub->on));
	}
	return (false);
}

int
store_deletions(struct store *s, deletion_fn *fn, void *arg)
{
	struct buf b = BUF_INIT;
	struct arena a = ARENA_INIT;
	struct key k;
	struct rd r;
	int error;

	key_table(&k, T_DELETION);
	while ((error = blob_next(&s->st, &k, 18, &b)) == 0) {
		struct deletion d = { .kind = (enum deletion_kind)k.b[1] };
		const uint8_t *name;
		size_t n;

		memcpy(d.guid.b, k.b + 2, sizeof(d.guid.b));
		rd_init(&r, b.data, b.len);
		d.time = rd_svarint(&r);
		name = rd_blob(&r, &n);
		if (r.bad || (d.name = arena_strndup(&a, name, n)) == NULL) {
			error = r.bad ? -EIO : -ENOMEM;
			break;
		}
		if (deletion_holds(s, &d) && (error = fn(arg, &d)) != 0)
			break;
		key_u16(&k, 0xffff);
	}
	buf_fini(&b);
	arena_fini(&a);
	return (error == -ENOENT ? 0 : error);
}

int
store_keyword_table(struct store *s, uint32_t mailbox, struct arena *a,
    const char *const **names, size_t *n)
{
	struct node *node = node_live(&s->st, mailbox);
	const char **v;

	if (node == NULL)
		return (-ENOENT);
	if ((v = arena_alloc(a, (node->keywords + 1) * sizeof(*v))) == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < node->keywords; i++)
		if ((v[i] = arena_strdup(a,
			 node->keyword[i] != NULL ? node->keyword[i] : "")) ==
		    NULL)
			return (-ENOMEM);
	*names = v;
	*n = node->keywords;
	return (0);
}

/* ---- changes ---- */

static int64_t
time_of(const struct txn *t, int64_t time)
{
	return (time == 0 ? t->head.sec : time < 0 ? 0 : time);
}

int
txn_mailbox_create(struct txn *t, const struct mailbox_new *m, uint32_t *id)
{
	struct state *st = &t->s->st;
	struct record r = { .type = RECORD_MAILBOX_CREATE,
		.name = m->name,
		.guid = m->guid,
		.on = m->directory,
		.uidvalidity = m->uidvalidity,
		.time = m->time };
	struct node *n;
	int error;

	if (t->error != 0)
		return (t->error);
	if (!name_valid(m->name))
		return (txn_fail(t, -EINVAL));
	n = node_by_name(st, m->name);
	if (n != NULL && (m->directory || !guid_is_zero(&n->guid)))
		return (txn_fail(t, -EEXIST));
	if (m->directory) {
		memset(&r.guid, 0, sizeof(r.guid));
		r.uidvalidity = 0;
		r.time = time_of(t, r.time);
	} else {
		if (r.time < 0)
			r.time = 0;
		if (guid_is_zero(&r.guid) &&
		    (error = os_guid(t->s->os, r.guid.b)) != 0)
			return (txn_fail(t, error));
		if (node_by_guid(st, &r.guid) != NULL)
			return (txn_fail(t, -EEXIST));
		if (r.uidvalidity == 0) {
			r.uidvalidity =
			    t->head.sec > 0 && t->head.sec < UINT32_MAX
			    ? (uint32_t)t->head.sec
			    : 1;
			if (r.uidvalidity <= st->last_uidvalidity)
				r.uidvalidity =
				    st->last_uidvalidity == UINT32_MAX
				    ? 1
				    : st->last_uidvalidity + 1;
		}
	}
	if (n == NULL && st->next_id == UINT32_MAX)
		return (txn_fail(t, -ENOSPC));
	r.mailbox = n != NULL ? n->id : st->next_id;
	if ((error = txn_record(t, &r)) != 0)
		return (error);
	txn_note(t, WATCH_MAILBOXES, r.mailbox, 0, 0);
	if (id != NULL)
		*id = r.mailbox;
	return (0);
}

/* Every name below moves along: each must be free and not too long. */
static int
rename_check(struct state *st, const struct node *top, const char *name)
{
	struct node *n, *next;
	struct arena a = ARENA_INIT;
	size_t len = strlen(top->name);
	const char *to;
	int error = 0;

	HASH_ITER (hh_name, st->by_name, n, next) {
		if (n != top && !name_is_child(top->name, n->name))
			continue;
		if ((to = arena_printf(&a, "%s%s", name, n->name + len)) ==
		    NULL)
			error = -ENOMEM;
		else if (!name_valid(to))
			error = -EINVAL;
		else if (node_by_name(st, to) != NULL)
			error = -EEXIST;
		if (error != 0)
			break;
	}
	arena_fini(&a);
	return (error);
}

int
txn_mailbox_rename(struct txn *t, uint32_t id, const char *name, int64_t time)
{
	struct record r = { .type = RECORD_MAILBOX_RENAME,
		.mailbox = id,
		.name = name,
		.time = time };
	struct node *n;
	int error;

	if ((error = txn_check(t, id, &n)) != 0)
		return (error);
	if (!name_valid(name) || strcmp(name, "INBOX") == 0 ||
	    strcmp(n->name, "INBOX") == 0 || name_is_child(n->name, name))
		return (txn_fail(t, -EINVAL));
	if (strcmp(name, n->name) == 0)
		return (txn_fail(t, -EEXIST));
	if ((error = rename_check(&t->s->st, n, name)) != 0)
		return (txn_fail(t, error));
	r.time = time_of(t, time);
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MAILBOXES, id, 0, 0);
	return (error);
}

int
txn_mailbox_delete(struct txn *t, uint32_t id, int64_t time)
{
	struct record r = { .type = RECORD_MAILBOX_DELETE,
		.mailbox = id,
		.name = "",
		.time = time,
		.on = true };
	struct node *n, *other, *next;
	int error;

	if ((error = txn_check(t, id, &n)) != 0)
		return (error);
	HASH_ITER (hh_name, t->s->st.by_name, other, next)
		if (other != n && name_is_child(n->name, other->name))
			r.on = false;
	if (r.time == 0)
		r.time = t->head.sec;
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MAILBOXES, id, 0, 0);
	return (error);
}

int
txn_subscribe(struct txn *t, const char *name, bool on, int64_t time)
{
	struct record r = {
		.type = RECORD_SUBSCRIBE, .name = name, .on = on, .time = time
	};
	struct sub *sub;
	struct node *n;
	int error;

	if (t->error != 0)
		return (t->error);
	if (!name_valid(name))
		return (txn_fail(t, -EINVAL));
	sub = sub_find(&t->s->st, name);
	if ((sub != NULL && sub->on) == on &&
	    (time <= 0 || (sub != NULL && sub->time >= time)))
		return (0);
	r.time = time_of(t, time);
	n = node_by_name(&t->s->st, name);
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_SUBSCRIPTIONS | WATCH_MAILBOXES,
		    n != NULL ? n->id : 0, 0, 0);
	return (error);
}

int
txn_note_deletion(struct txn *t, const struct deletion *d)
{
	struct record r = { .type = RECORD_DELETION,
		.kind = (uint8_t)d->kind,
		.guid = d->guid,
		.name = d->name != NULL ? d->name : "",
		.time = d->time };

	if (t->error != 0)
		return (t->error);
	if (d->kind > DELETED_SUBSCRIPTION || strlen(r.name) > NAME_MAX_BYTES ||
	    (r.name[0] == '\0' && guid_is_zero(&d->guid)))
		return (txn_fail(t, -EINVAL));
	return (txn_record(t, &r));
}

int
txn_mailbox_update(struct txn *t, uint32_t id, const struct mailbox_update *u)
{
	struct record r = { .type = RECORD_MAILBOX_UPDATE,
		.mailbox = id,
		.name = "",
		.guid = u->guid };
	struct node *n, *other;
	int error;

	if ((error = txn_check(t, id, &n)) != 0)
		return (error);
	if (guid_is_zero(&n->guid))
		return (txn_fail(t, -ENOENT));
	if (!guid_is_zero(&u->guid) &&
	    (other = node_by_guid(&t->s->st, &u->guid)) != NULL && other != n)
		return (txn_fail(t, -EEXIST));
	if (guid_eq(&r.guid, &n->guid))
		memset(&r.guid, 0, sizeof(r.guid));
	if (u->uidvalidity != n->uidvalidity)
		r.uidvalidity = u->uidvalidity;
	if (u->min_uidnext > n->uidnext)
		r.uidnext = u->min_uidnext;
	if (u->min_first_recent > n->first_recent)
		r.first_recent = u->min_first_recent;
	if (u->min_highestmodseq > n->highestmodseq)
		r.highestmodseq = u->min_highestmodseq;
	if (guid_is_zero(&r.guid) && r.uidvalidity == 0 && r.uidnext == 0 &&
	    r.first_recent == 0 && r.highestmodseq == 0)
		return (0);
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MAILBOXES, id, 0, 0);
	return (error);
}

int
txn_keyword(struct txn *t, uint32_t mailbox, const char *name, int number)
{
	struct record r = {
		.type = RECORD_KEYWORD, .mailbox = mailbox, .name = name
	};
	struct node *n;
	int error;

	if ((error = txn_check(t, mailbox, &n)) != 0)
		return (error);
	if (name[0] == '\0' || strlen(name) > RECORD_KEYWORD_MAX || number < -1)
		return (txn_fail(t, -EINVAL));
	for (size_t i = 0; i < n->keywords; i++)
		if (n->keyword[i] != NULL && strcmp(n->keyword[i], name) == 0)
			return (number < 0 || (size_t)number == i
				? 0
				: txn_fail(t, -EEXIST));
	r.number = number >= 0 ? (uint32_t)number : (uint32_t)n->keywords;
	if (r.number >= RECORD_TABLE_MAX)
		return (txn_fail(t, -E2BIG));
	if (r.number < n->keywords && n->keyword[r.number] != NULL &&
	    !keyword_reserved(n->keyword[r.number]))
		return (txn_fail(t, -EEXIST));
	if ((error = txn_record(t, &r)) == 0)
		txn_note(t, WATCH_MESSAGES, mailbox, 0, 0);
	return (error);
}
