/*
 * store_apply_tree -- what records about mailboxes, subscriptions and keywords
 * do to the index.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/name.h"
#include "store/store_apply.h"

int
deletion_put(struct state *st, uint8_t kind, const struct guid *g,
    const char *name, int64_t time)
{
	struct buf b = BUF_INIT;
	struct guid hash = *g;
	struct key k;
	int error = 0;

	if (guid_is_zero(&hash))
		error = guid128_of_name(name, &hash);
	key_deletion(&k, kind, &hash);
	buf_put_svarint(&b, time);
	buf_put_str(&b, name);
	if (error == 0)
		error =
		    b.error != 0 ? b.error : blob_put(st, &k, b.data, b.len);
	buf_fini(&b);
	return (error);
}

static int
deletion_drop(
    struct state *st, uint8_t kind, const struct guid *g, const char *name)
{
	struct guid hash = *g;
	struct key k;
	int error;

	if (guid_is_zero(&hash) && (error = guid128_of_name(name, &hash)) != 0)
		return (error);
	key_deletion(&k, kind, &hash);
	return (blob_put(st, &k, NULL, 0));
}

int
apply_create(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_by_name(st, r->name);
	static const struct guid zero;
	int error;

	if (!name_valid(r->name) || r->mailbox == 0 ||
	    r->on != guid_is_zero(&r->guid) ||
	    (n == NULL && node_by_id(st, r->mailbox) != NULL) ||
	    (n != NULL &&
		(n->id != r->mailbox || !guid_is_zero(&n->guid) || r->on)) ||
	    (!r->on && node_by_guid(st, &r->guid) != NULL))
		return (-EBADMSG);
	if (n == NULL) {
		if ((error = node_add(st, r->mailbox, &r->guid, r->name, &n)) !=
		    0)
			return (error);
		n->renamed = r->time;
	} else {
		node_unlist(st, n);
		n->guid = r->guid;
		node_list(st, n);
		node_touch(st, n);
	}
	n->uidvalidity = r->uidvalidity;
	if (r->uidvalidity > st->last_uidvalidity)
		st->last_uidvalidity = r->uidvalidity;
	apply_stamp(&n->changed, &n->changed_nsec, h);
	apply_stamp(&n->changed_new, &n->changed_new_nsec, h);
	if (!r->on &&
	    (error = deletion_drop(st, DELETED_MAILBOX, &r->guid, r->name)) !=
		0)
		return (error);
	return (deletion_drop(st, DELETED_DIR, &zero, r->name));
}

static int
node_rename(struct state *st, struct node *n, char *name)
{
	static const struct guid zero;

	node_unlist(st, n);
	free(n->name);
	n->name = name;
	node_list(st, n);
	node_touch(st, n);
	return (deletion_drop(st, DELETED_DIR, &zero, name));
}

int
apply_rename(struct state *st, const struct record *r)
{
	struct node *top = node_live(st, r->mailbox), *n, *next;
	struct arena a = ARENA_INIT;
	char *name;
	const char *old;
	size_t len;
	int error = 0;

	if (top == NULL || !name_valid(r->name) ||
	    node_by_name(st, r->name) != NULL ||
	    name_is_child(top->name, r->name))
		return (-EBADMSG);
	if ((old = arena_strdup(&a, top->name)) == NULL)
		return (-ENOMEM);
	len = strlen(old);
	HASH_ITER (hh_id, st->by_id, n, next) {
		if (n->deleted || (n != top && !name_is_child(old, n->name)))
			continue;
		if ((name = malloc(strlen(r->name) + strlen(n->name) - len +
			 1)) == NULL) {
			error = -ENOMEM;
			break;
		}
		strcpy(name, r->name);
		strcat(name, n->name + len);
		if ((error = node_rename(st, n, name)) != 0)
			break;
	}
	top->renamed = r->time;
	arena_fini(&a);
	return (error);
}

int
apply_delete(
    struct state *st, const struct frame_head *h, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);
	static const struct guid zero;
	int error = 0;

	if (n == NULL)
		return (-EBADMSG);
	node_unlist(st, n);
	n->deleted = true;
	n->deleted_time = h->sec;
	n->deleted_origin = h->origin;
	node_touch(st, n);
	if (!guid_is_zero(&n->guid))
		error = deletion_put(
		    st, DELETED_MAILBOX, &n->guid, n->name, r->time);
	if (error == 0 && r->on)
		error = deletion_put(st, DELETED_DIR, &zero, n->name, r->time);
	return (error);
}

int
apply_subscribe(struct state *st, const struct record *r)
{
	static const struct guid zero;
	int error;

	if (!name_valid(r->name))
		return (-EBADMSG);
	if ((error = sub_put(st, r->name, r->on, r->time)) != 0)
		return (error);
	if (r->on)
		return (
		    deletion_drop(st, DELETED_SUBSCRIPTION, &zero, r->name));
	return (
	    deletion_put(st, DELETED_SUBSCRIPTION, &zero, r->name, r->time));
}

int
apply_mailbox_update(struct state *st, const struct record *r)
{
	struct node *n = node_live(st, r->mailbox);

	if (n == NULL ||
	    (!guid_is_zero(&r->guid) && !guid_eq(&r->guid, &n->guid) &&
		node_by_guid(st, &r->guid) != NULL))
		return (-EBADMSG);
	if (!guid_is_zero(&r->guid)) {
		node_unlist(st, n);
		n->guid = r->guid;
		node_list(st, n);
	}
	if (r->uidvalidity != 0)
		n->uidvalidity = r->uidvalidity;
	if (n->uidvalidity > st->last_uidvalidity)
		st->last_uidvalidity = n->uidvalidity;
	if (r->uidnext > n->uidnext)
		n->uidnext = r->uidnext;
	if (r->first_recent > n->first_recent)
		n->first_recent = r->first_recent;
	apply_raise(&n->highestmodseq, r->highestmodseq);
	node_touch(st, n);
	return (0);
}

int
apply_keyword(struct state *st, const struct record *r)
{
	struct node *n = node_by_id(st, r->mailbox);
	int error;

	if (n == NULL || r->name[0] == '\0' || r->number >= RECORD_TABLE_MAX ||
	    (r->number < n->keywords && n->keyword[r->number] != NULL &&
		!keyword_reserved(n->keyword[r->number])))
		return (-EBADMSG);
	node_touch(st, n);
	if ((error = node_keyword_set(st, n, r->number, r->name)) != 0)
		return (error);
	return (node_keywords_put(st, n));
}
