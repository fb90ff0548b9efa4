/*
 * store_compact -- a new generation of the log: the state as records, without
 * what retention no longer holds.
 *
 * Built beside the old one: bodies of packs with much garbage are copied to new
 * packs, the state is written as frames into log-(N+1) and applied to
 * index-(N+1), everything is synced, then "current" is replaced.  A crash
 * leaves the one or the other; what is left over goes at the next open.  The
 * index that a rebuild from the new log gives is the one that was built here,
 * since both came by the same way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_live.h"

#define FRAME_SOFT (1u << 20)
#define APPLY_PAGES 4096

struct pack_use {
	uint32_t id;
	uint64_t total, live;
	bool rewrite, keep, drop;
	bool again; /* worth it even without garbage */
};

struct compact {
	struct store *s;
	struct state st; /* the new one */
	struct journal *journal;
	uint64_t gen;
	char log_dir[32], index_path[32];
	int64_t cutoff;
	struct live_list live;
	struct pack_use *use; /* owned */
	size_t nuse;
	uint64_t dropped;
	struct frame_head head;
	struct buf payload, scratch;
};

/* ---- packs ---- */

static int
cmp_use(const void *pa, const void *pb)
{
	const struct pack_use *a = pa, *b = pb;

	return (a->id < b->id ? -1 : a->id > b->id);
}

static struct pack_use *
use_of(struct compact *c, uint32_t id)
{
	struct pack_use want = { .id = id };

	return (bsearch(&want, c->use, c->nuse, sizeof(want), cmp_use));
}

static int
count_entry(void *arg, const struct pack_entry *e)
{
	struct compact *c = arg;
	struct pack_use *u = use_of(c, e->ref.pack);

	if (u == NULL)
		return (0);
	u->total += e->stored;
	/* or a damaged header, of a pack that holds something */
	u->again = u->again || e->table || (e->ref.offset == 0 && !e->torn);
	if (e->good && live_find(&c->live, e->ref.pack, e->ref.offset) != NULL)
		u->live += e->stored;
	else if (e->good)
		c->dropped++;
	return (0);
}

static int
choose_packs(struct compact *c)
{
	uint32_t *ids = NULL;
	size_t n = 0;
	int error;

	if ((error = packs_list(c->s->packs, &ids, &n)) != 0)
		return (error);
	if ((c->use = calloc(n + 1, sizeof(*c->use))) == NULL)
		error = -ENOMEM;
	for (size_t i = 0; i < n && error == 0; i++)
		c->use[c->nuse++].id = ids[i];
	free(ids);
	if (error != 0 ||
	    (error = packs_walk(c->s->packs, false, count_entry, c)) != 0)
		return (error);
	for (size_t i = 0; i < c->live.n; i++) {
		struct pack_use *u = use_of(c, c->live.v[i].pack);

		if (u != NULL)
			u->keep = true;
	}
	for (size_t i = 0; i < c->nuse; i++) {
		struct pack_use *u = &c->use[i];

		if (pending_in_pack(c->s, u->id))
			continue;
		u->drop = !u->keep;
		u->rewrite = u->keep &&
		    (u->again || u->total - u->live > u->total / 4 ||
			packs_raw_hint(c->s->packs, u->id));
		u->keep = false;
	}
	return (0);
}

static int
raw_of_reader(void *arg, void *p, size_t n, uint64_t off)
{
	ssize_t got = pack_read(arg, p, n, off);

	return (got < 0 ? (int)got : (size_t)got == n ? 0 : -EIO);
}

static int
move_body(struct compact *c, struct live *v)
{
	struct body_ref ref = { .size = v->size,
		.offset = v->offset,
		.pack = v->pack },
			to;
	struct pack_reader *r;
	int error;

	memcpy(ref.hash, v->hash, sizeof(ref.hash));
	/* Only bytes that are right get a new checksum. */
	if ((error = packs_check(c->s->packs, &ref)) != 0)
		return (error);
	if ((error = pack_reader_open(c->s->packs, &ref, &r)) != 0)
		return (error);
	error =
	    packs_append(c->s->packs, v->size, v->hash, false, raw_of_reader, r, &to);
	pack_reader_close(r);
	if (error != 0)
		return (error);
	v->moved = true;
	v->to_pack = to.pack;
	v->to_offset = to.offset;
	return (0);
}

static int
move_bodies(struct compact *c)
{
	int error;

	for (size_t i = 0; i < c->live.n; i++) {
		struct live *v = &c->live.v[i];
		struct pack_use *u = use_of(c, v->pack);

		if (u == NULL || !u->rewrite)
			continue;
		error = move_body(c, v);
		if (error == -EBADMSG || error == -ENOENT) {
			/*
			 * What cannot be read stays where it is, and its pack
			 * with it.
			 */
			u->keep = true;
			error = 0;
		}
		if (error != 0)
			return (error);
	}
	for (size_t i = 0; i < c->nuse; i++)
		if (c->use[i].rewrite && !c->use[i].keep)
			c->use[i].drop = true;
	return (0);
}

static void
new_place(const struct compact *c, struct body_ref *ref)
{
	struct live *v = live_find(&c->live, ref->pack, ref->offset);

	if (v != NULL && v->moved) {
		ref->pack = v->to_pack;
		ref->offset = v->to_offset;
	}
}

/* ---- frames ---- */

static void
begin_frame(struct compact *c)
{
	buf_reset(&c->payload);
	frame_head_put(&c->payload, &c->head);
}

static int
flush_frame(struct compact *c)
{
	uint64_t bad = 0;
	int error;

	if (c->payload.error != 0)
		return (c->payload.error);
	if ((error = journal_append(c->journal, c->payload.data, c->payload.len,
		 c->head.sec, NULL)) != 0)
		return (error);
	if ((error = frame_apply(
		 &c->st, c->payload.data, c->payload.len, &bad)) != 0)
		return (error);
	if (bad > 0) {
		log_error("%s: compaction met a contradiction in the index and "
			  "was given up; run verify --rebuild",
		    store_label(c->s));
		return (-EIO);
	}
	begin_frame(c);
	if (btree_dirty_pages(c->st.tree) > APPLY_PAGES)
		return (checkpoint_write(
		    &c->st, &c->s->id, journal_end(c->journal)));
	return (0);
}

static int
put(struct compact *c, const struct record *r)
{
	record_put(&c->payload, &c->scratch, r);
	return (c->payload.len >= FRAME_SOFT ? flush_frame(c) : 0);
}

/* ---- the state as records ---- */

/*
 * The greatest modseq of an event that retention no longer holds, and of all
 * events.
 */
static int
find_floor(
    struct compact *c, const struct node *n, uint64_t *floor, uint64_t *last)
{
	struct state *st = &c->s->st;
	struct arena a = ARENA_INIT;
	struct btree_cursor cur;
	struct record r;
	struct key k;
	int error;

	*floor = n->floor;
	*last = 0;
	key_table(&k, T_EVENT);
	key_u32(&k, n->id);
	for (error = idx_seek(st, &k, &cur);
	     error == 0 && idx_under(&cur, &k) && cur.klen == 18;
	     error = idx_next(st, &cur)) {
		if ((error = event_decode(&a, cur.value, cur.vlen, &r)) != 0)
			break;
		*last = get_be64(cur.key + 5);
		if (r.time<c->cutoff && * last> * floor)
			*floor = *last;
		arena_fini(&a);
	}
	return (error);
}

/*
 * Those above the floor, and what happened last in any case: it names the
 * history (store_history_name).
 */
static int
put_events(
    struct compact *c, const struct node *n, uint64_t floor, uint64_t last)
{
	struct state *st = &c->s->st;
	struct arena a = ARENA_INIT;
	struct btree_cursor cur;
	struct record r;
	struct key k;
	int error;

	key_table(&k, T_EVENT);
	key_u32(&k, n->id);
	key_u64(&k, last > floor ? floor + 1 : last);
	error = idx_seek(st, &k, &cur);
	k.n = 5;
	for (; error == 0 && idx_under(&cur, &k) && cur.klen == 18;
	     error = idx_next(st, &cur)) {
		if ((error = event_decode(&a, cur.value, cur.vlen, &r)) != 0)
			break;
		r.mailbox = n->id;
		r.modseq = get_be64(cur.key + 5);
		r.uid = get_be32(cur.key + 13);
		error = put(c, &r);
		arena_fini(&a);
		if (error != 0)
			break;
	}
	arena_fini(&a);
	return (error);
}

static int
put_messages(struct compact *c, const struct node *n, enum table t)
{
	struct state *st = &c->s->st;
	struct arena a = ARENA_INIT;
	struct btree_cursor cur;
	struct expunged_rec x;
	struct key k;
	int error;

	key_table(&k, t);
	key_u32(&k, n->id);
	for (error = idx_seek(st, &k, &cur);
	     error == 0 && idx_under(&cur, &k) && cur.klen == 9;
	     error = idx_next(st, &cur)) {
		struct record r = { .type = t == T_MSG ? RECORD_MESSAGE
						       : RECORD_EXPUNGED,
			.mailbox = n->id,
			.name = "" };
		uint32_t uid = get_be32(cur.key + 5);

		memset(&x, 0, sizeof(x));
		x.msg.uid = uid;
		error = t == T_MSG
		    ? msg_decode(&a, cur.value, cur.vlen, &x.msg, &x.kw)
		    : expunged_decode(&a, uid, cur.value, cur.vlen, &x);
		if (error == 0 && (t == T_MSG || x.time >= c->cutoff)) {
			r.msg = x.msg;
			r.kw = x.kw;
			r.peer = x.origin;
			r.time = x.time;
			r.uid = uid;
			r.modseq = x.modseq;
			new_place(c, &r.msg.body);
			error = put(c, &r);
		}
		arena_fini(&a);
		if (error != 0)
			break;
	}
	return (error);
}

static int
put_node(struct compact *c, const struct node *n)
{
	struct record r = { .type = RECORD_NODE, .mailbox = n->id, .name = "" };
	struct node copy = *n;
	struct buf b = BUF_INIT;
	uint64_t floor, last;
	int error;

	if (n->deleted && n->deleted_time < c->cutoff)
		return (0);
	if ((error = find_floor(c, n, &floor, &last)) != 0)
		return (error);
	copy.floor = floor;
	node_encode(&b, &copy);
	r.data = b.data;
	r.data_len = b.len;
	error = b.error != 0 ? b.error : put(c, &r);
	buf_fini(&b);
	for (size_t i = 0; i < n->keywords && error == 0; i++) {
		struct record kr = { .type = RECORD_KEYWORD,
			.mailbox = n->id,
			.number = (uint32_t)i,
			.name = n->keyword[i] };

		if (n->keyword[i] != NULL)
			error = put(c, &kr);
	}
	if (error == 0)
		error = put_messages(c, n, T_MSG);
	if (error == 0)
		error = put_messages(c, n, T_EXPUNGED);
	return (error != 0 ? error : put_events(c, n, floor, last));
}

static int
put_deletions(struct compact *c)
{
	struct arena a = ARENA_INIT;
	struct buf b = BUF_INIT;
	struct key k;
	struct rd rd;
	int error;

	key_table(&k, T_DELETION);
	while ((error = blob_next(&c->s->st, &k, 18, &b)) == 0) {
		struct record r = { .type = RECORD_DELETION, .kind = k.b[1] };
		const uint8_t *name;
		size_t n;

		memcpy(r.guid.b, k.b + 2, sizeof(r.guid.b));
		rd_init(&rd, b.data, b.len);
		r.time = rd_svarint(&rd);
		name = rd_blob(&rd, &n);
		if (rd.bad || (r.name = arena_strndup(&a, name, n)) == NULL)
			error = rd.bad ? -EIO : -ENOMEM;
		else
			error = put(c, &r);
		arena_fini(&a);
		if (error != 0)
			break;
		key_u16(&k, 0xffff);
	}
	buf_fini(&b);
	return (error == -ENOENT ? 0 : error);
}

static int
put_blobs(struct compact *c, enum table t)
{
	struct buf b = BUF_INIT;
	struct arena a = ARENA_INIT;
	struct key k;
	struct rd rd;
	size_t n;
	int error;

	key_table(&k, t);
	while ((error = blob_next(&c->s->st, &k, t == T_PEER ? 33 : 17, &b)) ==
	    0) {
		struct record r = { .type =
					t == T_PEER ? RECORD_PEER : RECORD_META,
			.name = "" };

		rd_init(&rd, b.data, b.len);
		if (t == T_PEER) {
			memcpy(r.peer.b, k.b + 1, 16);
			memcpy(r.guid.b, k.b + 17, 16);
		} else {
			const uint8_t *name = rd_blob(&rd, &n);

			if (rd.bad ||
			    (r.name = arena_strndup(&a, name, n)) == NULL) {
				error = rd.bad ? -EIO : -ENOMEM;
				break;
			}
		}
		r.data_len = rd_left(&rd);
		r.data = rd_bytes(&rd, r.data_len);
		error = put(c, &r);
		arena_fini(&a);
		if (error != 0)
			break;
		key_u16(&k, 0xffff);
	}
	arena_fini(&a);
	buf_fini(&b);
	return (error == -ENOENT ? 0 : error);
}

static int
put_state(struct compact *c)
{
	struct state *st = &c->s->st;
	struct record r = { .type = RECORD_COUNTERS, .name = "" };
	struct node *n, *nn;
	struct sub *sub, *ns;
	int error;

	r.counter[0] = st->next_id;
	r.counter[1] = st->last_uidvalidity;
	r.counter[2] = st->next_ino;
	begin_frame(c);
	if ((error = put(c, &r)) != 0)
		return (error);
	HASH_ITER (hh_id, st->by_id, n, nn)
		if ((error = put_node(c, n)) != 0)
			return (error);
	HASH_ITER (hh, st->subs, sub, ns) {
		struct record sr = { .type = RECORD_SUBSCRIBE,
			.name = sub->name,
			.on = sub->on,
			.time = sub->time };

		if ((error = put(c, &sr)) != 0)
			return (error);
	}
	/* What was in common with a peer may be lost: it is to be compared. */
	if ((error = put_deletions(c)) != 0 ||
	    (!c->s->lost && (error = put_blobs(c, T_PEER)) != 0) ||
	    (error = put_blobs(c, T_META)) != 0)
		return (error);
	return (flush_frame(c));
}

/* ---- the switch ---- */

static void
remove_generation(struct os *os, const char *log_dir, const char *index_path)
{
	int error = remove_tree_dir(os, log_dir);

	if (error == 0 && (error = os->ops->unlink(os, index_path)) == -ENOENT)
		error = 0;
	if (error != 0)
		log_warning(
		    "%s: %s and %s are left over and cannot be removed: %s",
		    os->ops->label(os), log_dir, index_path, strerror(-error));
}

static int
open_generation(struct compact *c)
{
	struct store *s = c->s;
	const void *user;
	size_t n;
	int error;

	c->gen = s->gen + 1;
	(void)snprintf(c->log_dir, sizeof(c->log_dir), "log-%" PRIu64, c->gen);
	(void)snprintf(
	    c->index_path, sizeof(c->index_path), "index-%" PRIu64, c->gen);
	if ((error = remove_tree_dir(s->os, c->log_dir)) != 0 ||
	    ((error = s->os->ops->unlink(s->os, c->index_path)) != 0 &&
		error != -ENOENT)) {
		log_error("%s/%s: a leftover cannot be removed: %s",
		    store_label(s), c->log_dir, strerror(-error));
		return (error);
	}
	if ((error = journal_open(s->os, c->log_dir, &s->id, JOURNAL_CREATE, 0,
		 NULL, NULL, &c->journal)) != 0)
		return (error);
	if ((error = state_open(s->os, c->index_path, s->set.cache_bytes, false,
		 &c->st, &user, &n)) != 0)
		log_error("%s/%s: cannot be made: %s", store_label(s),
		    c->index_path, strerror(-error));
	return (error);
}

/* Everything the new generation needs is durable before its name is. */
static int
make_durable(struct compact *c)
{
	struct packs_sync ps;
	int error;

	if (c->s->packs != NULL) {
		packs_sync_begin(c->s->packs, &ps);
		error = packs_sync_run(c->s->packs, &ps);
		packs_sync_done(c->s->packs, &ps, error);
		if (error != 0)
			return (error);
	}
	if ((error = journal_sync(c->journal)) != 0)
		return (error);
	return (checkpoint_write(&c->st, &c->s->id, journal_end(c->journal)));
}

static int
switch_generation(struct compact *c)
{
	struct store *s = c->s;
	uint64_t base = s->base + journal_end(s->journal);
	int error;

	if ((error = file_current_write(s->os, c->gen, base)) != 0) {
		/*
		 * Which of the two it names now is not known: nothing more may
		 * be written to either.
		 */
		s->poisoned = true;
		return (error);
	}
	journal_close(s->journal);
	state_close(&s->st);
	s->journal = c->journal;
	s->st = c->st;
	s->gen = c->gen;
	s->base = base;
	s->ckpt_lsn = journal_end(s->journal);
	s->ckpt_failed = false;
	s->index_ahead = false;
	c->journal = NULL;
	memset(&c->st, 0, sizeof(c->st));
	return (0);
}

static void
drop_old(
    struct compact *c, const char *log_dir, const char *index_path, bool repair)
{
	struct store *s = c->s;
	char aside[64];
	int error;

	if (repair) {
		(void)snprintf(aside, sizeof(aside), "damaged/%s", log_dir);
		if ((error = os_mkdirs(s->os, "damaged")) != 0 ||
		    (error = s->os->ops->rename(s->os, log_dir, aside)) != 0)
			log_warning("%s/%s: cannot be set aside: %s",
			    store_label(s), log_dir, strerror(-error));
		else
			log_info("%s: the damaged log was set aside as %s",
			    store_label(s), aside);
		(void)s->os->ops->unlink(s->os, index_path);
	} else {
		remove_generation(s->os, log_dir, index_path);
	}
	for (size_t i = 0; i < c->nuse; i++)
		if (c->use[i].drop)
			(void)packs_drop(s->packs, c->use[i].id);
}

static void
compact_fini(struct compact *c, bool discard)
{
	if (c->st.tree != NULL)
		state_close(&c->st);
	journal_close(c->journal);
	if (discard && c->gen != 0)
		remove_generation(c->s->os, c->log_dir, c->index_path);
	live_free(&c->live);
	free(c->use);
	buf_fini(&c->payload);
	buf_fini(&c->scratch);
}

static int
compact_prepare(struct compact *c, bool repair)
{
	struct store *s = c->s;
	int error;

	/*
	 * A repair leaves the packs alone: bodies that no message names are
	 * still to be brought back.
	 */
	if (s->packs == NULL || repair)
		return (open_generation(c));
	if ((error = live_collect(&s->st, c->cutoff, &c->live)) != 0)
		return (error);
	/*
	 * Copies go to new packs only, so that the old ones can be judged and
	 * dropped.
	 */
	if ((error = packs_seal(s->packs)) != 0 ||
	    (error = choose_packs(c)) != 0 || (error = move_bodies(c)) != 0)
		return (error);
	return (open_generation(c));
}

int
compact_to(
    struct store *s, bool keep_all, bool repair, struct compact_result *r)
{
	struct compact c = { .s = s, .payload = BUF_INIT, .scratch = BUF_INIT };
	char log_dir[32], index_path[32];
	struct store_info before, after;
	int error;

	if (s->packs != NULL)
		packs_squeeze_stop(s->packs);
	s->os->ops->now(s->os, &c.head.sec, &c.head.nsec);
	c.cutoff = keep_all ? INT64_MIN : c.head.sec - s->set.expunge_retention;
	memcpy(log_dir, s->log_dir, sizeof(log_dir));
	memcpy(index_path, s->index_path, sizeof(index_path));
	if ((error = store_info(s, &before)) != 0)
		return (error);
	if ((error = compact_prepare(&c, repair)) != 0 ||
	    (error = put_state(&c)) != 0 || (error = make_durable(&c)) != 0) {
		compact_fini(&c, true);
		return (error);
	}
	if ((error = switch_generation(&c)) != 0) {
		compact_fini(&c, false);
		return (error);
	}
	store_paths(s);
	drop_old(&c, log_dir, index_path, repair);
	if (r != NULL && store_info(s, &after) == 0) {
		r->bytes_before = before.log_bytes + before.pack_bytes;
		r->bytes_after = after.log_bytes + after.pack_bytes;
		r->bodies_dropped = c.dropped;
	}
	compact_fini(&c, false);
	return (0);
}

int
store_compact(struct store *s, struct compact_result *r)
{
	int error;

	if ((error = store_writable(s)) != 0)
		return (error);
	if (s->txn != NULL || s->syncing)
		return (-EBUSY);
	if (s->st.broken && (error = store_rebuild(s)) != 0)
		return (error);
	if ((error = store_sync(s)) != 0)
		return (error);
	return (compact_to(s, s->held != 0, false, r));
}

void
store_hold(struct store *s)
{
	s->held++;
}

void
store_release(struct store *s)
{
	s->held--;
}
