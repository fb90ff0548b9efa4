/*
 * store_replay -- from files to a state: the index as far as it goes, then the
 * log's tail.
 *
 * A frame above what the log proves durable may have outlived its bodies when
 * the power went.  It was acknowledged to nobody, since bodies are synced first
 * (S2): the log is cut there before anything of it is applied.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

#define USER_VERSION 1
#define REPLAY_PAGES 4096
#define PROBLEMS_SHOWN 10

int
checkpoint_write(struct state *st, const struct guid *id, uint64_t lsn)
{
	struct buf b = BUF_INIT;
	int error;

	buf_put_u8(&b, USER_VERSION);
	buf_put(&b, id->b, sizeof(id->b));
	buf_put_le64(&b, lsn);
	buf_put_le32(&b, st->next_id);
	buf_put_le32(&b, st->last_uidvalidity);
	buf_put_le64(&b, st->next_ino);
	error =
	    b.error != 0 ? b.error : btree_checkpoint(st->tree, b.data, b.len);
	buf_fini(&b);
	return (error);
}

/*
 * 0: the index belongs to this store and says how far it goes; else it is made
 * anew.
 */
static int
user_read(struct store *s, const void *p, size_t n, uint64_t *lsn)
{
	struct state *st = &s->st;
	const uint8_t *id;
	struct rd r;

	*lsn = 0;
	if (n == 0)
		return (0);
	rd_init(&r, p, n);
	if (rd_u8(&r) != USER_VERSION || (id = rd_bytes(&r, 16)) == NULL ||
	    memcmp(id, s->id.b, 16) != 0)
		return (-EBADMSG);
	*lsn = rd_le64(&r);
	st->next_id = rd_le32(&r);
	st->last_uidvalidity = rd_le32(&r);
	st->next_ino = rd_le64(&r);
	return (
	    r.bad || rd_left(&r) != 0 || st->next_id == 0 || st->next_ino == 0
		? -EBADMSG
		: 0);
}

/*
 * An empty index in place of s->st, which the caller has closed or kept.  In a
 * store that may not be written it lives in memory only.
 */
int
store_reset_index(struct store *s)
{
	const void *user;
	size_t n;
	bool ro = s->rdonly || s->damaged;
	int error = 0;

	memset(&s->st, 0, sizeof(s->st));
	if (!ro &&
	    (error = s->os->ops->unlink(s->os, s->index_path)) == -ENOENT)
		error = 0;
	if (error == 0)
		error = state_open(s->os, ro ? "index-none" : s->index_path,
		    s->set.cache_bytes, ro, &s->st, &user, &n);
	if (error != 0)
		log_error("%s/%s: the index cannot be made anew: %s",
		    store_label(s), s->index_path, strerror(-error));
	s->ckpt_lsn = 0;
	s->ckpt_failed = false;
	return (error);
}

/*
 * Opens the index; whatever is wrong with it only costs the time to read the
 * whole log.
 */
static int
open_index(struct store *s, uint64_t *lsn)
{
	const void *user;
	size_t n;
	int error;

	error = state_open(s->os, s->index_path, s->set.cache_bytes, s->rdonly,
	    &s->st, &user, &n);
	if (error == -ENOMEM)
		return (error);
	if (error == 0)
		error = user_read(s, user, n, lsn);
	if (error == 0)
		error = state_load(&s->st);
	if (error == 0 && !s->st.broken)
		return (0);
	if (error == -ENOMEM)
		return (error);
	log_warning("%s/%s: the index is damaged; it is made anew from the log",
	    store_label(s), s->index_path);
	*lsn = 0;
	state_close(&s->st);
	return (store_reset_index(s));
}

/* ---- applying ---- */

/*
 * Whether a frame saves into a mailbox that is not there: the log has lost what
 * made it.
 */
static bool
saves_nowhere(struct state *st, const uint8_t *p, size_t n)
{
	struct arena a = ARENA_INIT;
	struct frame_head h;
	struct record rec;
	bool nowhere = false, made = false;
	struct rd r;

	rd_init(&r, p, n);
	if (frame_head_get(&r, &h) != 0)
		return (false);
	while (rd_left(&r) > 0 && !r.bad) {
		if (record_get(&r, &a, &rec) == 0) {
			made = made || rec.type == RECORD_MAILBOX_CREATE;
			nowhere = nowhere ||
			    (rec.type == RECORD_SAVE &&
				node_by_id(st, rec.mailbox) == NULL);
		}
		arena_fini(&a);
	}
	return (nowhere && !made);
}

/*
 * Records that contradict the state are counted in *bad and left out; and what
 * moved to where nothing is stays where it was.
 */
int
frame_apply(struct state *st, const uint8_t *p, size_t n, uint64_t *bad)
{
	struct frame_head h;
	struct record rec;
	struct rd r;
	int error, nowhere = -1; /* -1: not looked for yet */

	rd_init(&r, p, n);
	if ((error = frame_head_get(&r, &h)) == -EBADMSG) {
		(*bad)++;
		return (0);
	}
	if (error != 0)
		return (error);
	while (rd_left(&r) > 0) {
		error = record_get(&r, &st->tmp, &rec);
		if (error == 0 && rec.type == RECORD_EXPUNGE && nowhere < 0)
			nowhere = saves_nowhere(st, p, n);
		if (error == 0 && rec.type == RECORD_EXPUNGE && nowhere)
			error = -EBADMSG;
		if (error == 0)
			error = state_apply(st, &h, &rec);
		arena_fini(&st->tmp);
		if (error == -EBADMSG || error == -E2BIG)
			(*bad)++;
		else if (error < 0)
			return (error);
		if (r.bad)
			break;
	}
	if ((error = state_flush(st)) != 0)
		return (error);
	state_keep(st);
	return (0);
}

struct replay {
	struct store *s;
	/* frames from here on are not applied; 0: all */
	uint64_t limit;
};

static int
replay_one(void *arg, const struct journal_frame *f)
{
	struct replay *rp = arg;
	struct store *s = rp->s;
	uint64_t bad = 0;
	int error;

	if (rp->limit != 0 && f->lsn >= rp->limit)
		return (0);
	error = frame_apply(&s->st, f->payload, f->len, &bad);
	if (error == -EPROTONOSUPPORT)
		log_error("%s/%s: a change of a newer version at LSN %" PRIu64
			  ": a newer dsyncfs wrote it",
		    store_label(s), s->log_dir, f->lsn);
	if (error != 0)
		return (error);
	if (bad > 0 && ++s->problems <= PROBLEMS_SHOWN)
		log_error("%s/%s: the change at LSN %" PRIu64
			  " does not fit what is before it; the store is "
			  "opened read-only, "
			  "see dsyncfs-sync verify --repair",
		    store_label(s), s->log_dir, f->lsn);
	if (bad > 0)
		s->damaged = true;
	if (!s->rdonly && !s->damaged && !s->ckpt_failed &&
	    btree_dirty_pages(s->st.tree) > REPLAY_PAGES) {
		if (checkpoint_write(&s->st, &s->id, f->next) == 0)
			s->ckpt_lsn = f->next;
		else
			s->ckpt_failed = true;
	}
	return (0);
}

/* ---- bodies of the tail ---- */

struct tail {
	struct store *s;
	/* first frame that names a body which is not there; 0: none */
	uint64_t from, missing;
};

static int
tail_one(void *arg, const struct journal_frame *f)
{
	struct tail *t = arg;
	struct arena a = ARENA_INIT;
	struct frame_head h;
	struct record rec;
	struct rd r;
	int error = 0;

	if (f->lsn < t->from || t->missing != 0)
		return (0);
	rd_init(&r, f->payload, f->len);
	if (frame_head_get(&r, &h) != 0)
		return (0);
	while (rd_left(&r) > 0 && !r.bad && error == 0 && t->missing == 0) {
		if (record_get(&r, &a, &rec) == 0 && rec.type == RECORD_SAVE &&
		    rec.msg.body.pack != 0) {
			error = packs_check(t->s->packs, &rec.msg.body);
			if (error == -ENOENT || error == -EBADMSG) {
				t->missing = f->lsn;
				error = 0;
			} else if (error == 0 && !t->s->rdonly) {
				error = packs_renew(t->s->packs, &rec.msg.body);
			}
		}
		arena_fini(&a);
	}
	return (error);
}

/* *limit gets where the log ends for us when it may not be cut. */
static int
check_tail(struct store *s, uint64_t from, uint64_t *limit)
{
	struct tail t = { .s = s };
	int error;

	*limit = 0;
	if (s->packs == NULL || journal_damaged(s->journal))
		return (0);
	t.from = journal_proven(s->journal);
	if (t.from < from)
		t.from = from;
	/*
	 * From now on the log calls these frames durable: so must be what they
	 * name (S2).
	 */
	if ((error = journal_read(s->journal, from, tail_one, &t)) != 0 ||
	    (error = packs_renewed(s->packs)) != 0)
		return (error);
	if (t.missing == 0)
		return (0);
	if (!s->rdonly)
		return (journal_cut(s->journal, t.missing));
	log_warning("%s/%s: the changes from LSN %" PRIu64
		    " on are passed over: messages of them had not been "
		    "written, nothing of them had been acknowledged",
	    store_label(s), s->log_dir, t.missing);
	*limit = t.missing;
	return (0);
}

static int
open_log(struct store *s, uint64_t from)
{
	return (journal_open(s->os, s->log_dir, &s->id,
	    s->rdonly ? JOURNAL_RDONLY : 0, from, NULL, NULL, &s->journal));
}

/*
 * The index holds more than the log: a checkpoint is only written when the log
 * is durable, so acknowledged changes were lost from the log.  The index still
 * has them: it is kept, the log is left as it is, and a repair writes a new log
 * from the index.
 */
static int
open_shorter_log(struct store *s, uint64_t lsn)
{
	int error = journal_open(s->os, s->log_dir, &s->id, JOURNAL_RDONLY, 0,
	    NULL, NULL, &s->journal);

	if (error != 0)
		return (error);
	log_error("%s/%s: the log ends at LSN %" PRIu64
		  ", but changes up to LSN %" PRIu64
		  " were durable; the store is opened read-only from "
		  "its index, see dsyncfs-sync verify --repair",
	    store_label(s), s->log_dir, journal_end(s->journal), lsn);
	s->damaged = true;
	s->index_ahead = true;
	return (0);
}

int
store_replay(struct store *s)
{
	struct replay rp = { .s = s, .limit = s->limit };
	int error;

	error = journal_read(s->journal, s->ckpt_lsn, replay_one, &rp);
	if (s->problems > PROBLEMS_SHOWN)
		log_error("%s/%s: %" PRIu64 " changes do not fit in all",
		    store_label(s), s->log_dir, s->problems);
	s->problems = 0;
	return (error);
}

/* Index, log, tail. */
int
store_start_log(struct store *s)
{
	uint64_t lsn;
	int error;

	if ((error = open_index(s, &lsn)) != 0)
		return (error);
	error = open_log(s, lsn);
	if (error == -EINVAL && lsn != 0)
		error = open_shorter_log(s, lsn);
	if (error == -ENOENT) {
		log_error("%s/%s: the log is missing; see dsyncfs-sync verify "
			  "--repair",
		    store_label(s), s->log_dir);
		return (-EIO);
	}
	if (error != 0)
		return (error);
	s->ckpt_lsn = lsn;
	if (journal_damaged(s->journal))
		s->damaged = true;
	if ((error = check_tail(s, lsn, &s->limit)) != 0)
		return (error);
	error = store_replay(s);
	if (error == -EIO && s->st.broken) {
		/*
		 * The index turned out to be bad while it was used: once more,
		 * from the beginning, which nobody has read yet.
		 */
		uint64_t frames, bytes;

		error = journal_verify(s->journal, &frames, &bytes);
		if (error == -EBADMSG)
			s->damaged = true;
		else if (error != 0)
			return (error);
		state_close(&s->st);
		if ((error = store_reset_index(s)) == 0)
			error = store_replay(s);
	}
	return (error);
}
