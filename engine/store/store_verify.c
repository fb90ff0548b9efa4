/*
 * store_verify -- checking everything, making the index anew, and counting what
 * there is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_live.h"

struct verify {
	struct store *s;
	struct live_list live;
	struct verify_result r;
};

static int
verify_entry(void *arg, const struct pack_entry *e)
{
	struct verify *v = arg;
	struct live *l;

	if (e->good) {
		v->r.bodies++;
		if ((l = live_find(&v->live, e->ref.pack, e->ref.offset)) !=
		    NULL)
			l->seen = l->size == e->ref.size &&
			    memcmp(l->hash, e->ref.hash, sizeof(l->hash)) == 0;
		return (0);
	}
	/*
	 * Bytes that no message misses may be what a loss of power left of a
	 * body that was never acknowledged; what a message misses is counted
	 * with the message.
	 */
	log_warning("%s/packs/%08" PRIx32 ".pack: at byte %" PRIu64 ": %s",
	    store_label(v->s), e->ref.pack, e->ref.offset, e->why);
	return (0);
}

/* Bodies that only expunged messages name. */
static void
verify_rest(struct verify *v)
{
	for (size_t i = 0; i < v->live.n; i++) {
		struct live *l = &v->live.v[i];

		if (l->seen || l->told)
			continue;
		v->r.problems++;
		log_error("%s/packs/%08" PRIx32 ".pack: at byte %" PRIu64
			  ": the body of an expunged message is damaged or "
			  "lost; it cannot "
			  "be restored",
		    store_label(v->s), l->pack, l->offset);
	}
}

/* Each message has its body; the counts of a mailbox are those of its messages.
 */
static int
verify_mailbox(struct verify *v, const struct node *n)
{
	struct state *st = &v->s->st;
	struct arena a = ARENA_INIT;
	struct btree_cursor c;
	struct key k;
	struct live *l;
	uint32_t count = 0, unseen = 0, fresh = 0;
	int error;

	key_table(&k, T_MSG);
	key_u32(&k, n->id);
	for (error = idx_seek(st, &k, &c);
	     error == 0 && idx_under(&c, &k) && c.klen == 9;
	     error = idx_next(st, &c)) {
		struct msg m = { .uid = get_be32(c.key + 5) };
		struct kwset kw;

		if ((error = msg_decode(&a, c.value, c.vlen, &m, &kw)) != 0)
			break;
		count++;
		v->r.messages++;
		unseen += !(m.flags & MAIL_SEEN);
		fresh += (m.state & MSG_NEW) != 0;
		if (m.body.pack != 0 &&
		    ((l = live_find(&v->live, m.body.pack, m.body.offset)) ==
			    NULL ||
			!l->seen)) {
			if (l != NULL)
				l->told = true;
			v->r.problems++;
			log_error(
			    "%s: %s: the body of message %" PRIu32
			    " (guid %s) is damaged or lost (pack %08" PRIx32
			    ", byte %" PRIu64 ")",
			    store_label(v->s), n->name, m.uid, m.guid,
			    m.body.pack, m.body.offset);
		}
		arena_fini(&a);
	}
	arena_fini(&a);
	if (error != 0)
		return (error);
	if (count != n->messages || unseen != n->unseen || fresh != n->fresh) {
		v->r.problems++;
		log_error("%s: %s: the index counts %" PRIu32
			  " messages where there are %" PRIu32
			  "; run verify --rebuild",
		    store_label(v->s), n->name, n->messages, count);
	}
	return (0);
}

static int
verify_index(struct verify *v)
{
	struct state *st = &v->s->st;
	struct node *n, *next;
	uint64_t pages = 0, bad = 0;
	int error;

	error = btree_verify(st->tree, &pages, &bad);
	if (error != 0 && error != -EBADMSG)
		return (error);
	if (bad > 0 || error != 0) {
		v->r.problems += bad > 0 ? bad : 1;
		log_error("%s/%s: %" PRIu64 " pages of %" PRIu64
			  " are damaged; run verify --rebuild",
		    store_label(v->s), v->s->index_path, bad, pages);
	}
	HASH_ITER (hh_id, st->by_id, n, next) {
		error = verify_mailbox(v, n);
		if (error == -ENOMEM)
			return (error);
		if (error != 0) {
			v->r.problems++;
			log_error("%s: %s: the messages cannot all be listed; "
				  "run verify --rebuild",
			    store_label(v->s), n->name);
		}
	}
	return (0);
}

int
store_verify(struct store *s, struct verify_result *r)
{
	struct verify v = { .s = s };
	uint64_t bytes, problems = journal_damage_count(s->journal);
	int error;

	error = journal_verify(s->journal, &v.r.frames, &bytes);
	v.r.problems += journal_damage_count(s->journal) > problems
	    ? journal_damage_count(s->journal) - problems
	    : error == -EBADMSG;
	if (error != 0 && error != -EBADMSG)
		return (error);
	if (s->index_ahead)
		v.r.problems++;
	if (s->packs != NULL) {
		error = live_collect(&s->st, INT64_MIN, &v.live);
		if (error == -ENOMEM)
			return (error);
		if (error == 0)
			error = packs_walk(s->packs, true, verify_entry, &v);
		if (error != 0) {
			v.r.problems++;
			if (error == -ENOMEM)
				goto out;
		}
	}
	if ((error = verify_index(&v)) == 0) {
		verify_rest(&v);
		*r = v.r;
	}
out:
	live_free(&v.live);
	return (error);
}

/*
 * The old state stays in use (its file is unlinked, not gone) when the new one
 * cannot be made.
 */
int
store_state_anew(struct store *s)
{
	struct state old = s->st;
	uint64_t lsn = s->ckpt_lsn;
	int error;

	if ((error = store_reset_index(s)) == 0)
		error = store_replay(s);
	if (error != 0) {
		if (s->st.tree != NULL)
			state_close(&s->st);
		s->st = old;
		s->ckpt_lsn = lsn;
		s->ckpt_failed = true;
		return (error);
	}
	state_close(&old);
	return (0);
}

int
store_rebuild(struct store *s)
{
	uint64_t frames, bytes;
	int error;

	if (s->txn != NULL || s->syncing)
		return (-EBUSY);
	if (s->poisoned)
		return (-EIO);
	if (!s->rdonly && !s->damaged && (error = store_sync(s)) != 0)
		return (error);
	error = journal_verify(s->journal, &frames, &bytes);
	if (error == -EBADMSG || s->index_ahead) {
		log_error("%s/%s: is kept as it is: the log is damaged, and "
			  "the index may hold what that has lost; see "
			  "dsyncfs-sync verify --repair",
		    store_label(s), s->index_path);
		return (-EROFS);
	}
	if (error != 0 || (error = store_state_anew(s)) != 0)
		return (error);
	return (s->rdonly || s->damaged ? 0 : store_checkpoint(s, true));
}

/* ---- counting ---- */

struct dir_size {
	struct os *os;
	const char *dir;
	uint64_t bytes, files;
};

static int
size_one(void *arg, const struct os_dirent *e)
{
	struct dir_size *d = arg;
	struct os_stat st;
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s", d->dir, e->name);
	if (e->type == OS_FILE && d->os->ops->stat(d->os, path, &st) == 0) {
		d->bytes += st.size;
		d->files++;
	}
	return (0);
}

static int
count_bodies(struct state *st, uint64_t *n)
{
	struct btree_cursor c;
	struct key k;
	int error;

	*n = 0;
	key_table(&k, T_BODY);
	for (error = idx_seek(st, &k, &c); error == 0 && idx_under(&c, &k);
	     error = idx_next(st, &c))
		(*n)++;
	return (error);
}

int
store_info(struct store *s, struct store_info *out)
{
	struct dir_size log = { .os = s->os, .dir = s->log_dir };
	struct node *n, *next;
	uint32_t *ids = NULL;
	size_t count = 0;
	int error;

	memset(out, 0, sizeof(*out));
	if ((error = s->os->ops->list(s->os, s->log_dir, size_one, &log)) !=
		0 &&
	    error != -ENOENT)
		return (error);
	out->log_bytes = log.bytes;
	out->log_segments = log.files;
	if (s->packs != NULL) {
		out->pack_bytes = packs_bytes(s->packs);
		if ((error = packs_list(s->packs, &ids, &count)) != 0)
			return (error);
		free(ids);
		out->packs = count;
	}
	out->index_bytes = btree_file_bytes(s->st.tree);
	HASH_ITER (hh_id, s->st.by_id, n, next)
		if (!n->deleted)
			out->messages += n->messages;
	out->tail_bytes = journal_end(s->journal) > s->ckpt_lsn
	    ? journal_end(s->journal) - s->ckpt_lsn
	    : 0;
	return (count_bodies(&s->st, &out->bodies));
}
