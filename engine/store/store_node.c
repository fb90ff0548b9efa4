/*
 * store_node -- the mailboxes and subscriptions that are held in memory, and
 * their entries in the index.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

#define NODE_VERSION 1

int
state_open(struct os *os, const char *path, size_t cache, bool rdonly,
    struct state *st, const void **user, size_t *n)
{
	int error;

	memset(st, 0, sizeof(*st));
	st->os = os;
	st->next_id = 1;
	/*
	 * smaller ones are left to whoever shows a store as files: 1 is its
	 * root
	 */
	st->next_ino = 16;
	arena_init(&st->tmp);
	buf_init(&st->val);
	buf_init(&st->scratch);
	if ((error = btree_open(os, path, cache, rdonly, &st->tree)) != 0)
		return (error);
	*user = btree_user(st->tree, n);
	return (0);
}

void
state_clear(struct state *st)
{
	struct node *n, *nn;
	struct sub *s, *ns;

	HASH_CLEAR(hh_name, st->by_name);
	HASH_CLEAR(hh_guid, st->by_guid);
	HASH_ITER (hh_id, st->by_id, n, nn) {
		HASH_DELETE(hh_id, st->by_id, n);
		n->hh_id.tbl = NULL;
		node_free(NULL, n);
	}
	HASH_ITER (hh, st->subs, s, ns) {
		HASH_DELETE(hh, st->subs, s);
		free(s->name);
		free(s);
	}
	free(st->sorted);
	st->sorted = NULL;
	st->touched = NULL;
}

void
state_close(struct state *st)
{
	state_keep(st);
	free(st->undo);
	state_clear(st);
	if (st->tree != NULL)
		btree_close(st->tree);
	arena_fini(&st->tmp);
	buf_fini(&st->val);
	buf_fini(&st->scratch);
	memset(st, 0, sizeof(*st));
}

struct node *
node_by_id(struct state *st, uint32_t id)
{
	struct node *n;

	HASH_FIND(hh_id, st->by_id, &id, sizeof(id), n);
	return (n);
}

struct node *
node_live(struct state *st, uint32_t id)
{
	struct node *n = node_by_id(st, id);

	return (n != NULL && !n->deleted ? n : NULL);
}

struct node *
node_by_name(struct state *st, const char *name)
{
	struct node *n;

	HASH_FIND(hh_name, st->by_name, name, strlen(name), n);
	return (n);
}

struct node *
node_by_guid(struct state *st, const struct guid *g)
{
	struct node *n;

	HASH_FIND(hh_guid, st->by_guid, g, sizeof(*g), n);
	return (n);
}

void
node_unlist(struct state *st, struct node *n)
{
	if (n->hh_name.tbl != NULL)
		HASH_DELETE(hh_name, st->by_name, n);
	n->hh_name.tbl = NULL;
	if (n->hh_guid.tbl != NULL)
		HASH_DELETE(hh_guid, st->by_guid, n);
	n->hh_guid.tbl = NULL;
	free(st->sorted);
	st->sorted = NULL;
}

void
node_list(struct state *st, struct node *n)
{
	HASH_ADD_KEYPTR(hh_name, st->by_name, n->name, strlen(n->name), n);
	if (!guid_is_zero(&n->guid))
		HASH_ADD(hh_guid, st->by_guid, guid, sizeof(n->guid), n);
	if (n->hh_name.tbl == NULL ||
	    (!guid_is_zero(&n->guid) && n->hh_guid.tbl == NULL))
		st->broken = true;
	free(st->sorted);
	st->sorted = NULL;
}

/* st NULL: it is in no hash any more. */
void
node_free(struct state *st, struct node *n)
{
	if (st != NULL && n->hh_id.tbl != NULL)
		HASH_DELETE(hh_id, st->by_id, n);
	for (size_t i = 0; i < n->keywords; i++)
		free(n->keyword[i]);
	free(n->keyword);
	free(n->name);
	free(n);
}

/* Not listed by name and GUID yet. */
static int
node_new(struct state *st, uint32_t id, const char *name, struct node **out)
{
	struct node *n;

	if ((n = calloc(1, sizeof(*n))) == NULL)
		return (-ENOMEM);
	if ((n->name = strdup(name)) == NULL) {
		free(n);
		return (-ENOMEM);
	}
	n->id = id;
	n->uidnext = 1;
	n->first_recent = 1;
	n->highestmodseq = 1;
	HASH_ADD(hh_id, st->by_id, id, sizeof(n->id), n);
	if (n->hh_id.tbl == NULL) {
		node_free(NULL, n);
		return (-ENOMEM);
	}
	if (id >= st->next_id && id < UINT32_MAX)
		st->next_id = id + 1;
	*out = n;
	return (0);
}

int
node_add(struct state *st, uint32_t id, const struct guid *guid,
    const char *name, struct node **out)
{
	struct node *n;
	int error;

	if ((error = node_new(st, id, name, &n)) != 0)
		return (error);
	n->guid = *guid;
	node_list(st, n);
	node_touch(st, n);
	*out = n;
	return (0);
}

void
node_touch(struct state *st, struct node *n)
{
	if (n->touched)
		return;
	n->touched = true;
	n->touched_next = st->touched;
	st->touched = n;
}

void
node_encode(struct buf *b, const struct node *n)
{
	buf_put_u8(b, NODE_VERSION);
	buf_put_u8(b, n->deleted);
	buf_put(b, n->guid.b, sizeof(n->guid.b));
	buf_put_str(b, n->name);
	buf_put_varint(b, n->uidvalidity);
	buf_put_varint(b, n->uidnext);
	buf_put_varint(b, n->first_recent);
	buf_put_varint(b, n->highestmodseq);
	buf_put_varint(b, n->floor);
	buf_put_varint(b, n->messages);
	buf_put_varint(b, n->unseen);
	buf_put_varint(b, n->fresh);
	buf_put_svarint(b, n->renamed);
	buf_put_svarint(b, n->changed);
	buf_put_varint(b, n->changed_nsec);
	buf_put_svarint(b, n->changed_new);
	buf_put_varint(b, n->changed_new_nsec);
	if (n->deleted) {
		buf_put_svarint(b, n->deleted_time);
		buf_put(b, n->deleted_origin.b, sizeof(n->deleted_origin.b));
	}
}

static void
rd_guid(struct rd *r, struct guid *g)
{
	const uint8_t *p = rd_bytes(r, sizeof(g->b));

	if (p != NULL)
		memcpy(g->b, p, sizeof(g->b));
}

static void
node_fields(struct rd *r, struct node *n)
{
	n->uidvalidity = rd_varint32(r);
	n->uidnext = rd_varint32(r);
	n->first_recent = rd_varint32(r);
	n->highestmodseq = rd_varint(r);
	n->floor = rd_varint(r);
	n->messages = rd_varint32(r);
	n->unseen = rd_varint32(r);
	n->fresh = rd_varint32(r);
	n->renamed = rd_svarint(r);
	n->changed = rd_svarint(r);
	n->changed_nsec = rd_varint32(r);
	n->changed_new = rd_svarint(r);
	n->changed_new_nsec = rd_varint32(r);
	if (n->deleted) {
		n->deleted_time = rd_svarint(r);
		rd_guid(r, &n->deleted_origin);
	}
	if (n->uidnext == 0 || n->highestmodseq == 0 || rd_left(r) != 0)
		r->bad = true;
}

static int
keywords_load(struct state *st, struct node *n)
{
	struct buf b = BUF_INIT;
	struct key k;
	struct rd r;
	char name[RECORD_KEYWORD_MAX + 1];
	int error;

	key_table(&k, T_KEYWORDS);
	key_u32(&k, n->id);
	if ((error = blob_get(st, &k, &b)) != 0) {
		buf_fini(&b);
		return (error == -ENOENT ? 0 : error);
	}
	rd_init(&r, b.data, b.len);
	for (uint32_t i = 0; rd_left(&r) > 0 && error == 0; i++) {
		size_t len;
		const uint8_t *p = rd_blob(&r, &len);

		if (r.bad || len > RECORD_KEYWORD_MAX ||
		    i >= RECORD_TABLE_MAX) {
			error = -EBADMSG;
		} else if (len > 0) {
			memcpy(name, p, len);
			name[len] = '\0';
			error = node_keyword_set(st, n, i, name);
		}
	}
	buf_fini(&b);
	return (error);
}

/*
 * An id that is there already, or a live name or GUID twice, is a
 * contradiction: -EBADMSG.
 */
int
node_decode(
    struct state *st, uint32_t id, const void *p, size_t n, struct node **out)
{
	struct rd r;
	struct node *node;
	char *name;
	const uint8_t *s;
	uint8_t version, deleted;
	struct guid guid = { { 0 } };
	size_t len;
	int error;

	rd_init(&r, p, n);
	version = rd_u8(&r);
	deleted = rd_u8(&r);
	rd_guid(&r, &guid);
	s = rd_blob(&r, &len);
	if (r.bad || version != NODE_VERSION || deleted > 1 || len == 0 ||
	    len > 4096 || memchr(s, 0, len) != NULL)
		return (-EBADMSG);
	if ((name = strndup((const char *)s, len)) == NULL)
		return (-ENOMEM);
	if (id == 0 || node_by_id(st, id) != NULL ||
	    (!deleted &&
		(node_by_name(st, name) != NULL ||
		    (!guid_is_zero(&guid) &&
			node_by_guid(st, &guid) != NULL)))) {
		free(name);
		return (-EBADMSG);
	}
	error = node_new(st, id, name, &node);
	free(name);
	if (error != 0)
		return (error);
	node->guid = guid;
	node->deleted = deleted != 0;
	node_fields(&r, node);
	error = r.bad ? -EBADMSG : keywords_load(st, node);
	if (error != 0) {
		node_free(st, node);
		return (error);
	}
	if (!node->deleted)
		node_list(st, node);
	if (node->uidvalidity > st->last_uidvalidity)
		st->last_uidvalidity = node->uidvalidity;
	if (out != NULL)
		*out = node;
	return (0);
}

int
node_keyword_set(
    struct state *st, struct node *n, uint32_t number, const char *name)
{
	char *copy, **table;

	(void)st;
	if (number >= RECORD_TABLE_MAX)
		return (-E2BIG);
	if ((copy = strdup(name)) == NULL)
		return (-ENOMEM);
	if (number >= n->keywords) {
		if ((table = realloc(
			 n->keyword, (number + 1) * sizeof(*table))) == NULL) {
			free(copy);
			return (-ENOMEM);
		}
		memset(table + n->keywords, 0,
		    (number + 1 - n->keywords) * sizeof(*table));
		n->keyword = table;
		n->keywords = number + 1;
	}
	free(n->keyword[number]);
	n->keyword[number] = copy;
	return (0);
}

int
node_keywords_put(struct state *st, const struct node *n)
{
	struct buf b = BUF_INIT;
	struct key k;
	int error;

	for (size_t i = 0; i < n->keywords; i++)
		buf_put_str(&b, n->keyword[i] != NULL ? n->keyword[i] : "");
	key_table(&k, T_KEYWORDS);
	key_u32(&k, n->id);
	error = b.error != 0 ? b.error : blob_put(st, &k, b.data, b.len);
	buf_fini(&b);
	return (error);
}

int
state_flush(struct state *st)
{
	struct node *n;
	struct buf b = BUF_INIT;
	struct key k;
	int error = 0;

	for (n = st->touched; n != NULL && error == 0; n = n->touched_next) {
		buf_reset(&b);
		node_encode(&b, n);
		key_table(&k, T_NODE);
		key_u32(&k, n->id);
		error =
		    b.error != 0 ? b.error : blob_put(st, &k, b.data, b.len);
	}
	buf_fini(&b);
	if (error != 0)
		return (error);
	return (0);
}

static int
subs_load(struct state *st)
{
	struct key k;
	struct rd r;
	int error;

	key_table(&k, T_SUB);
	while ((error = blob_next(st, &k, 17, &st->val)) == 0) {
		struct sub *s;
		const uint8_t *name;
		size_t n;
		bool on;
		int64_t time;

		rd_init(&r, st->val.data, st->val.len);
		on = rd_u8(&r) != 0;
		time = rd_svarint(&r);
		name = rd_blob(&r, &n);
		if (r.bad || n > 4096)
			return (-EBADMSG);
		if ((s = calloc(1, sizeof(*s))) == NULL ||
		    (s->name = strndup((const char *)name, n)) == NULL) {
			free(s);
			return (-ENOMEM);
		}
		s->on = on;
		s->time = time;
		HASH_ADD_KEYPTR(hh, st->subs, s->name, strlen(s->name), s);
		if (s->hh.tbl == NULL)
			st->broken = true;
		key_u16(&k, 0xffff);
	}
	return (error == -ENOENT ? 0 : error);
}

int
state_load(struct state *st)
{
	struct key k;
	int error;

	state_clear(st);
	key_table(&k, T_NODE);
	while ((error = blob_next(st, &k, 5, &st->val)) == 0) {
		if ((error = node_decode(st, get_be32(k.b + 1), st->val.data,
			 st->val.len, NULL)) != 0)
			return (error);
		key_u16(&k, 0xffff);
	}
	return (error == -ENOENT ? subs_load(st) : error);
}

static int
cmp_name(const void *a, const void *b)
{
	return (strcmp((*(struct node *const *)a)->name,
	    (*(struct node *const *)b)->name));
}

int
state_sorted(struct state *st)
{
	struct node *n;
	size_t count = HASH_CNT(hh_name, st->by_name), i = 0;

	if (st->sorted != NULL)
		return (0);
	if ((st->sorted = malloc((count + 1) * sizeof(*st->sorted))) == NULL)
		return (-ENOMEM);
	for (n = st->by_name; n != NULL; n = n->hh_name.next)
		st->sorted[i++] = n;
	qsort(st->sorted, i, sizeof(*st->sorted), cmp_name);
	st->nsorted = i;
	return (0);
}

struct sub *
sub_find(struct state *st, const char *name)
{
	struct sub *s;

	HASH_FIND(hh, st->subs, name, strlen(name), s);
	return (s);
}

int
sub_put(struct state *st, const char *name, bool on, int64_t time)
{
	struct sub *s = sub_find(st, name);
	struct buf b = BUF_INIT;
	struct guid hash;
	struct key k;
	int error;

	if ((error = guid128_of_name(name, &hash)) != 0)
		return (error);
	if (s == NULL) {
		if ((s = calloc(1, sizeof(*s))) == NULL ||
		    (s->name = strdup(name)) == NULL) {
			free(s);
			return (-ENOMEM);
		}
		HASH_ADD_KEYPTR(hh, st->subs, s->name, strlen(s->name), s);
		if (s->hh.tbl == NULL)
			st->broken = true;
	}
	s->on = on;
	s->time = time;
	st->subs_touched = true;
	buf_put_u8(&b, on);
	buf_put_svarint(&b, time);
	buf_put_str(&b, name);
	key_table(&k, T_SUB);
	key_bytes(&k, hash.b, sizeof(hash.b));
	error = b.error != 0 ? b.error : blob_put(st, &k, b.data, b.len);
	buf_fini(&b);
	return (error);
}

void
node_export(struct state *st, const struct node *n, struct mailbox *m)
{
	struct sub *s = sub_find(st, n->name);

	memset(m, 0, sizeof(*m));
	m->id = n->id;
	m->guid = n->guid;
	m->name = n->name;
	m->exists = true;
	m->selectable = !guid_is_zero(&n->guid);
	m->uidvalidity = n->uidvalidity;
	m->uidnext = n->uidnext;
	m->first_recent_uid = n->first_recent;
	m->highestmodseq = n->highestmodseq;
	m->history_floor = n->floor;
	m->messages = n->messages;
	m->unseen = n->unseen;
	m->new_messages = n->fresh;
	m->renamed = n->renamed;
	if (s != NULL) {
		m->subscribed = s->on;
		m->subscription_changed = s->time;
	}
	m->changed = n->changed;
	m->changed_nsec = n->changed_nsec;
	m->changed_new = n->changed_new;
	m->changed_new_nsec = n->changed_new_nsec;
}
