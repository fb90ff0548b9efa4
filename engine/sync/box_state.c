/*
 * box_state -- what earlier syncs left of a mailbox: which state holds in this
 * session, and what is kept of it afterwards.
 *
 * Between two dsyncfs each side's own saved state counts, and the two B records
 * alone say whether it can be used, and whether anything has to be done at all,
 * so both sides come to the same answer.  common_uid and common_modseq in B say
 * what the sender's state holds: up to which UID both have the same, and up to
 * which of the receiver's modseqs the sender knows its changes.  digest is the
 * session of that state (peer.h).
 *
 * In a backup only the destination keeps a state, since the source is never
 * written; the source's common_modseq is its history_floor then.  So that a
 * source that was restored from an old copy is noticed, its B has the name of
 * its history: of its end, or, of a slave, which knows what the master has, of
 * that point.  A master whose history went on looks itself.
 *
 * With another kind of peer the state
 * is one record that both know: the master sends its list (S* before the
 * trees), and rows are told relative to that (specs/dsync-protocol.md 5.3).  So
 * there b->states holds what was sent, or has come, and nothing else is used;
 * the peer would break off at a row that does not fit its record.
 *
 * A master only sends records that fit its own mailbox: of the others all is
 * compared, in this very session.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* Up to there all are taken over; above, so many more than ours in one sync. */
#define MODSEQ_FREE (UINT64_C(1) << 60)
#define MODSEQ_STEP (UINT64_C(1) << 32)
/* 2^28 are left */
#define UID_MOST 0xf0000000u

struct here {
	const struct guid *peer;
	bool any;
};

static int
on_event(void *arg, const struct event *e)
{
	struct here *h = arg;

	if (guid_eq(&e->origin, h->peer))
		return (0);
	h->any = true;
	return (1);
}

static int
on_message(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct here *h = arg;

	(void)mailbox;
	(void)m;
	h->any = true;
	return (1);
}

/*
 * Others than the peer changed the mailbox since; also when that is not known
 * any more.  What a sync with a third replica saved has the modseq that it had
 * there, which may lie before; its UID lies above the common one.
 */
static int
changed_here_since(struct brain *b, uint32_t mailbox, uint64_t since,
    uint32_t common_uid, bool *changed)
{
	struct here h = { .peer = &b->peer };
	int rc = store_events(b->r->store, mailbox, since, on_event, &h);

	if (rc == -ESTALE)
		h.any = true;
	else if (rc >= 0 && !h.any)
		rc = store_msgs(
		    b->r->store, mailbox, common_uid + 1, on_message, &h);
	*changed = h.any;
	return (rc < 0 && rc != -ESTALE ? rc : 0);
}

/* ---- between two dsyncfs ---- */

int
box_state_load(struct brain *b, const struct mailbox *m)
{
	struct box *x = &b->box;
	bool changed = false;
	int rc;

	if (b->params.no_backup_overwrite || b->source || !b->peer_dsyncfs)
		return (0);
	rc = peer_state_load(b->r->store, &b->peer, &x->own.mailbox, &x->state);
	if (rc != 0)
		return (rc == -ENOENT ? 0 : rc);
	x->loaded = x->state;
	/*
	 * A store keeps its UIDs when its UIDVALIDITY changes, and so does one
	 * at the other end.
	 */
	if (m->uidnext <= x->state.common_uid)
		return (0);
	x->own.common_uid = x->state.common_uid;
	if (x->state.backup != b->reverts ||
	    m->highestmodseq < x->state.own_end ||
	    m->history_floor > x->state.own_since)
		return (0);
	if (b->reverts)
		rc = changed_here_since(b, x->id, x->state.own_since,
		    x->state.common_uid, &changed);
	if (rc != 0 || changed)
		return (rc);
	x->own.common_modseq = x->state.peer_end;
	x->own.has_digest = !b->reverts || m->highestmodseq == x->state.own_end;
	memcpy(x->own.digest, x->state.session.b, sizeof(x->own.digest));
	return (0);
}

int
box_state_name(struct brain *b, const struct mailbox *m)
{
	struct box *x = &b->box;
	const struct item_mailbox *dest = &x->peer;
	uint64_t at = m->highestmodseq;
	uint32_t uid = m->uidnext - 1;
	int rc;

	if (!b->source || !b->peer_dsyncfs)
		return (0);
	x->own.common_modseq = m->history_floor;
	rc = store_history_name(b->r->store, x->id, at, uid, x->token.b);
	if (!b->master && dest->common_modseq != 0) {
		at = dest->common_modseq;
		uid = dest->common_uid;
	}
	if (rc == 0 && at <= m->highestmodseq)
		rc = store_history_name(
		    b->r->store, x->id, at, uid, x->own.digest);
	x->own.has_digest = rc == 0 && at <= m->highestmodseq;
	return (rc == -ENOENT ? 0 : rc);
}

/* ---- what both records decide ---- */

static bool
same_digest(const struct item_mailbox *a, const struct item_mailbox *b)
{
	return (a->has_digest && b->has_digest &&
	    memcmp(a->digest, b->digest, sizeof(a->digest)) == 0);
}

static bool
same_session(const struct box *x)
{
	return (same_digest(&x->own, &x->peer) &&
	    x->own.common_uid == x->peer.common_uid);
}

/*
 * A backup's destination tells what it knows; true when the source's numbers
 * can serve it.
 */
static bool
backup_agrees(const struct item_mailbox *dest, const struct item_mailbox *src)
{
	return (dest->common_modseq != 0 &&
	    src->uidvalidity == dest->uidvalidity &&
	    src->uidnext > dest->common_uid &&
	    src->highestmodseq >= dest->common_modseq &&
	    src->common_modseq <= dest->common_modseq);
}

/* The source's history up to what the destination has is another one. */
static int
check_name(struct brain *b, const struct item_mailbox *dest)
{
	struct box *x = &b->box;
	uint8_t name[16];
	int rc = store_history_name(
	    b->r->store, x->id, dest->common_modseq, dest->common_uid, name);

	if (rc == 0 && memcmp(name, dest->digest, sizeof(name)) != 0)
		rc = -ENOENT;
	if (rc != -ENOENT)
		return (rc);
	log_verbose("%s: %s: the history is not the one that %s knows; the "
		    "mailbox is compared in full next time",
	    b->r->label, x->name, b->peer_name);
	x->distrust = x->changes = true;
	return (0);
}

static int
decide_backup(struct brain *b, bool *needs)
{
	struct box *x = &b->box;
	const struct item_mailbox *dest = b->imports ? &x->own : &x->peer,
				  *src = b->imports ? &x->peer : &x->own;
	bool agreed = backup_agrees(dest, src),
	     at_end = src->highestmodseq == dest->common_modseq &&
	    src->uidnext == dest->common_uid + 1,
	     named = b->master != b->source || at_end;

	/* The name in B is of the point that the destination knows. */
	if (agreed && named)
		agreed = src->has_digest &&
		    memcmp(src->digest, dest->digest, sizeof(src->digest)) == 0;
	x->agreed = agreed && b->params.type == SYNC_STATE;
	*needs = b->params.type == SYNC_FULL || !agreed || !dest->has_digest ||
	    !at_end;
	return (x->agreed && !named && b->source ? check_name(b, dest) : 0);
}

int
box_state_decide(struct brain *b, bool *needs)
{
	struct box *x = &b->box;
	const struct item_mailbox *own = &x->own, *peer = &x->peer;
	bool same;

	if (!b->imports || !b->exports)
		return (decide_backup(b, needs));
	same = same_session(x);
	x->agreed = same && b->params.type == SYNC_STATE;
	x->trust_uids |= same;
	*needs = b->params.type == SYNC_FULL || !same ||
	    own->uidvalidity != peer->uidvalidity ||
	    own->uidnext != peer->uidnext ||
	    own->highestmodseq != peer->common_modseq ||
	    peer->highestmodseq != own->common_modseq;
	return (0);
}

/* ---- with another kind of peer: which records hold ---- */

/* The mailbox here can tell what changed since, and up to the same UIDs. */
static int
fits(struct brain *b, const struct item_state *s, const struct mailbox *m,
    bool *fit)
{
	bool changed = false;
	int rc = 0;

	*fit = s->last_uidvalidity == m->uidvalidity &&
	    m->uidnext > s->last_common_uid &&
	    m->highestmodseq >= s->end_modseq &&
	    m->history_floor <= s->end_modseq;
	/* What was changed here has to be undone: that takes all of it. */
	if (*fit && b->reverts)
		rc = changed_here_since(
		    b, m->id, s->end_modseq, s->last_common_uid, &changed);
	*fit = *fit && !changed;
	return (rc);
}

struct sending {
	struct brain *b;
	int rc;
};

static int
send_record(struct brain *b, const struct item_state *s)
{
	struct mailbox m;
	struct item *i;
	bool fit;
	int rc = store_mailbox_by_guid(b->r->store, &s->mailbox, &m);

	if (rc != 0 || !m.exists)
		return (rc == -ENOENT ? 0 : rc);
	rc = fits(b, s, &m, &fit);
	if (rc != 0)
		return (rc);
	if (!fit) {
		log_verbose("%s: %s: the saved state does not fit the mailbox; "
			    "it is compared in full",
		    b->r->label, m.name);
		return (0);
	}
	rc = state_put(&b->states, s);
	if (rc == 0)
		rc = item_new(ITEM_STATE, &i);
	if (rc != 0)
		return (rc == -E2BIG ? 0 : rc);
	i->u.state = *s;
	return (brain_send(b, i));
}

static int
on_saved(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	struct sending *s = arg;
	struct item_state record = { .mailbox = *key };
	struct peer_state st;

	(void)p;
	(void)len;
	if (!guid_eq(peer, &s->b->peer) || guid_is_zero(key) ||
	    peer_state_load(s->b->r->store, peer, key, &st) != 0)
		return (0);
	record.last_uidvalidity = st.uidvalidity;
	record.last_common_uid = st.common_uid;
	record.last_common_modseq = st.peer_end;
	record.last_messages_count = st.messages;
	record.end_modseq = st.own_since;
	s->rc = send_record(s->b, &record);
	return (s->rc != 0);
}

static int
on_given(void *arg, const struct item_state *state)
{
	struct sending *s = arg;

	s->rc = send_record(s->b, state);
	return (s->rc != 0);
}

int
box_states_send(struct brain *b)
{
	struct sending s = { .b = b };
	int rc = 0;

	if (b->peer_dsyncfs)
		return (0);
	if (b->o.states != NULL)
		(void)state_each(b->o.states, on_given, &s);
	else if (!b->source && !b->params.no_backup_overwrite)
		rc = store_peers(b->r->store, on_saved, &s);
	return (rc < 0 ? rc : s.rc);
}

/* ---- with another kind of peer: one mailbox ---- */

/* The record that both know; NULL: nothing is common. */
static const struct item_state *
record_of(const struct brain *b)
{
	const struct item_state *s = b->params.type != SYNC_STATE
	    ? NULL
	    : state_find(&b->states, &b->box.own.mailbox);

	return (
	    s == NULL || (s->last_common_uid == 0 && s->last_common_modseq == 0)
		? NULL
		: s);
}

void
box_state_agree(struct brain *b)
{
	const struct item_state *s = record_of(b);

	if (s == NULL)
		return;
	b->box.agreed = true;
	b->box.state.common_uid = s->last_common_uid;
	b->box.state.own_since = s->end_modseq;
}

/* Nothing of this mailbox is taken for granted the next time. */
static int
forget(struct brain *b)
{
	b->result.require_full_resync = true;
	/* The states of a session are the master's. */
	if (!b->master || b->params.dry_run || b->source || b->box.id == 0)
		return (0);
	return (
	    peer_state_save(b->r->store, &b->peer, &b->box.own.mailbox, NULL));
}

/*
 * The peer's tree came after the states: it has made the mailbox anew, and may
 * have taken over the GUID of the one that a state is about.
 */
int
box_state_outdated(struct brain *b, const struct tree_box *t)
{
	const struct guid *g[2] = { &t->guid, &t->other };
	bool outdated = false;
	int rc = 0;

	if (b->peer_dsyncfs || !t->merged || b->params.type != SYNC_STATE)
		return (0);
	for (int i = 0; i < 2 && rc == 0; i++) {
		if (guid_is_zero(g[i]) || state_find(&b->states, g[i]) == NULL)
			continue;
		log_verbose("%s: %s: the saved state is about the mailbox that "
			    "%s had before; it is compared in full next time",
		    b->r->label, t->name, b->peer_name);
		outdated = b->result.changes_during_sync = true;
		b->box.own.mailbox = *g[i];
		b->box.id = t->id;
		rc = forget(b);
	}
	return (rc != 0 ? rc : outdated);
}

int
box_state_lost(struct brain *b)
{
	return (b->peer_dsyncfs ? 0 : forget(b));
}

int
box_state_check(struct brain *b, bool *lost)
{
	struct box *x = &b->box;
	const struct item_state *s = b->peer_dsyncfs ? NULL : record_of(b);
	bool moved, fit = true;
	struct mailbox m;
	int rc;

	*lost = false;
	if (s == NULL || x->id == 0)
		return (0);
	moved = s->last_common_uid != 0 && x->peer.uidvalidity != 0 &&
	    x->peer.uidvalidity != x->own.uidvalidity;
	rc = store_mailbox(b->r->store, x->id, &m);
	if (rc == 0)
		rc = fits(b, s, &m, &fit);
	fit = fit && !x->plan->merged;
	if (rc != 0 || (fit && !moved))
		return (rc);
	rc = forget(b);
	if (rc != 0)
		return (rc);
	if (!b->master) {
		log_verbose("%s: %s: the peer's state does not fit; it has to "
			    "compare in full",
		    b->r->label, x->name);
		b->result.changes_during_sync = true;
		*lost = true;
		return (0);
	}
	log_error("%s: mailbox %s %s, which cannot be settled with a saved "
		  "state; run again, then it is compared in full",
	    b->r->label, x->name,
	    moved ? "has another UIDVALIDITY over there"
		  : "does not fit its saved state any more");
	return (-ESTALE);
}

int
box_state_raise(struct brain *b)
{
	struct box *x = &b->box;
	struct mailbox_update u = { .min_highestmodseq =
					x->own.highestmodseq + 1 };
	struct peer_state st;
	bool changed = true;
	int rc;

	if (b->peer_dsyncfs || b->params.type != SYNC_CHANGED || b->source ||
	    x->id == 0 || x->own.messages == 0)
		return (0);
	rc = peer_state_load(b->r->store, &b->peer, &x->own.mailbox, &st);
	/*
	 * What a sync itself did here may have brought the number to where the
	 * peer's users have brought theirs; and a mailbox that the peer has
	 * made anew is not the one that the state is about.
	 */
	if (rc == 0 && !x->plan->merged &&
	    st.uidvalidity == x->own.uidvalidity &&
	    x->own.highestmodseq >= st.own_end &&
	    x->peer.highestmodseq == st.peer_now)
		rc = changed_here_since(
		    b, x->id, st.own_since, st.common_uid, &changed);
	if (rc == -ENOENT)
		rc = 0;
	if (rc == 0 && changed) {
		rc = b->r->ops->mailbox_update(b->r, x->id, &u, &b->peer);
		x->own.highestmodseq++;
	}
	return (rc);
}

/* ---- afterwards ---- */

/*
 * Up to which modseq all own changes have been given: changes that came while
 * the mailbox was synced have not.
 */
struct late {
	const struct guid *peer;
	const struct exporter *ex;
	uint64_t first;
	uint32_t common_uid;
	bool taken;
};

static int
on_late(void *arg, const struct event *e)
{
	struct late *l = arg;

	if (guid_eq(&e->origin, l->peer) ||
	    (e->type == EVENT_FLAGS &&
		exporter_told_late(l->ex, e->uid, e->modseq)))
		return (0);
	if (l->first == 0 || e->modseq < l->first)
		l->first = e->modseq;
	if (e->type == EVENT_SAVE && e->uid <= l->common_uid)
		l->taken = true;
	/*
	 * One part of this run may have seen the message and the other not; to
	 * settle that both sides must still know who had saved it.
	 */
	if (e->type == EVENT_EXPUNGE && l->ex != NULL &&
	    exporter_saved_here(l->ex, e->uid))
		l->taken = true;
	return (0);
}

int
box_state_make(struct brain *b)
{
	struct box *x = &b->box;
	struct peer_state *st = &x->state;
	struct late l = { .peer = &b->peer,
		.ex = x->ex,
		.common_uid = x->sent.last_common_uid };
	struct mailbox m;
	int rc = store_mailbox(b->r->store, x->id, &m);

	if (rc != 0)
		return (rc);
	rc =
	    store_events(b->r->store, x->id, x->own.highestmodseq, on_late, &l);
	if (rc != 0)
		return (rc);
	memset(st, 0, sizeof(*st));
	st->id = x->id;
	st->backup = b->reverts;
	st->uidvalidity = m.uidvalidity;
	st->messages = m.messages;
	st->common_uid = x->sent.last_common_uid;
	st->own_end = m.highestmodseq;
	st->own_since = l.first != 0 ? l.first - 1 : m.highestmodseq;
	if (l.taken)
		x->changes = true;
	return (0);
}

uint64_t
box_modseq(const struct brain *b, uint64_t theirs)
{
	uint64_t most = b->box.own.highestmodseq;

	if (most < MODSEQ_FREE)
		most = MODSEQ_FREE;
	most += MODSEQ_STEP;
	return (theirs < most ? theirs : most);
}

uint32_t
box_uid_most(const struct brain *b)
{
	uint32_t own = b->box.own.uidnext;

	return (own > UID_MOST ? own : UID_MOST);
}

/*
 * Expunges that one side only repeated have cost it modseqs of its own, so the
 * two may have told different ends.  Both go on from the larger one and know
 * that of each other: whoever is behind raises its HIGHESTMODSEQ, for which
 * there is no event.  What users did here meanwhile may lie below that end
 * without having been told: then the number goes above it, so that the next run
 * looks.
 */
static int
settle_end(struct brain *b)
{
	struct box *x = &b->box;
	struct peer_state *st = &x->state;
	struct late l = { .peer = &b->peer, .ex = x->ex };
	struct mailbox_update u = { .min_highestmodseq = x->got.end_modseq };
	struct mailbox m;
	int rc = store_mailbox(b->r->store, x->id, &m);

	if (rc == 0)
		rc = store_events(b->r->store, x->id, st->own_end, on_late, &l);
	if (rc != 0)
		return (rc);
	if (x->sent.end_modseq > x->got.end_modseq)
		u.min_highestmodseq = x->sent.end_modseq;
	st->peer_end = u.min_highestmodseq;
	u.min_highestmodseq = box_modseq(b, u.min_highestmodseq);
	if (l.first == 0 && st->own_since == st->own_end)
		st->own_since = u.min_highestmodseq;
	else
		u.min_highestmodseq++;
	st->own_end = m.highestmodseq;
	if (u.min_highestmodseq <= m.highestmodseq)
		return (0);
	st->own_end = u.min_highestmodseq;
	return (b->r->ops->mailbox_update(b->r, x->id, &u, &b->peer));
}

/* A session stays when its numbers do: a run that changed nothing. */
static int
make_session(struct brain *b)
{
	struct box *x = &b->box;
	struct peer_state *st = &x->state, *was = &x->loaded;
	const struct peer_session p = { .own = replica_id(b->r),
		.peer = &b->peer,
		.mailbox = &x->own.mailbox,
		.own_token = &x->sent.token,
		.peer_token = &x->got.token };

	/* Another kind of peer remembers none. */
	if (!b->peer_dsyncfs) {
		memset(&st->session, 0, sizeof(st->session));
		return (0);
	}
	if (b->reverts) {
		st->session = x->got.token;
		return (0);
	}
	if (same_session(x) && was->uidvalidity == st->uidvalidity &&
	    was->common_uid == st->common_uid &&
	    was->peer_end == st->peer_end) {
		st->session = was->session;
		return (0);
	}
	return (peer_session(&p, st));
}

/* The smaller of what both sides say is what both have. */
static void
common(const struct box *x, uint32_t *uid, uint64_t *modseq)
{
	const struct item_state *s = &x->sent, *g = &x->got;

	*uid = s->last_common_uid < g->last_common_uid ? s->last_common_uid
						       : g->last_common_uid;
	*modseq = s->last_common_modseq < g->last_common_modseq
	    ? s->last_common_modseq
	    : g->last_common_modseq;
}

int
box_state_save(struct brain *b)
{
	struct box *x = &b->box;
	uint32_t uid;
	uint64_t modseq;
	int rc;

	common(x, &uid, &modseq);
	if (b->params.dry_run || x->id == 0 || b->source ||
	    b->params.no_backup_overwrite)
		return (0);
	if (x->distrust)
		return (peer_state_save(
		    b->r->store, &b->peer, &x->own.mailbox, NULL));
	/* What filters left out is not in common: the older state stays. */
	if (filter_active(&b->params))
		return (0);
	if (x->sent.changes_during_sync || x->got.changes_during_sync ||
	    (b->reverts && uid != x->peer.uidnext - 1))
		return (0);
	/*
	 * The peer can give UIDs that were in use here: what was expunged under
	 * them has to be told again.
	 */
	if (b->reverts && !b->peer_dsyncfs && x->own.uidnext > uid + 1)
		return (0);
	x->state.common_uid = uid;
	x->state.peer_end =
	    b->peer_dsyncfs ? x->got.end_modseq : x->peer.highestmodseq;
	x->state.peer_now = b->peer_dsyncfs ? 0 : x->peer.highestmodseq;
	if (!b->peer_dsyncfs && b->exports &&
	    x->own.highestmodseq > x->state.peer_now)
		x->state.peer_now = x->own.highestmodseq;
	if (b->peer_dsyncfs && x->state.peer_end == 0)
		return (0);
	rc = b->peer_dsyncfs && b->exports ? settle_end(b) : 0;
	if (rc == 0)
		rc = make_session(b);
	return (rc != 0 ? rc
			: peer_state_save(b->r->store, &b->peer,
			      &x->own.mailbox, &x->state));
}

/* ---- states from outside: what comes of them ---- */

int
box_state_result(struct brain *b)
{
	struct box *x = &b->box;
	struct item_state s = { .mailbox = x->own.mailbox,
		.last_uidvalidity = x->own.uidvalidity,
		.last_messages_count = x->sent.last_messages_count };

	if (b->o.states == NULL || b->params.dry_run)
		return (0);
	common(x, &s.last_common_uid, &s.last_common_modseq);
	s.end_modseq = s.last_common_modseq;
	return (state_put(b->o.states, &s));
}

int
box_state_same(struct brain *b)
{
	const struct box *x = &b->box;
	const struct item_mailbox *own = &x->own, *peer = &x->peer;
	struct item_state s = { .mailbox = own->mailbox,
		.last_uidvalidity = own->uidvalidity };

	if (b->o.states == NULL || b->params.dry_run || b->params.no_mail_sync)
		return (0);
	/* Equal numbers prove nothing when the peer is of another kind. */
	if (b->peer_dsyncfs) {
		s.last_common_uid = (b->imports ? own : peer)->common_uid;
		s.last_common_modseq = own->highestmodseq < peer->highestmodseq
		    ? own->highestmodseq
		    : peer->highestmodseq;
		s.last_messages_count = own->messages;
		s.end_modseq = s.last_common_modseq;
	}
	return (state_put(b->o.states, &s));
}

struct gone {
	struct brain *b;
	int rc;
};

static int
drop_gone(void *arg, const struct item_state *s)
{
	struct gone *g = arg;
	struct guid id = s->mailbox;
	struct mailbox m;
	int rc = store_mailbox_by_guid(g->b->r->store, &id, &m);

	if (rc == -ENOENT || (rc == 0 && !m.exists))
		state_drop(g->b->o.states, &id);
	else
		g->rc = rc;
	return (g->rc);
}

int
box_states_drop_gone(struct brain *b)
{
	struct gone g = { .b = b };

	if (b->o.states == NULL || b->params.dry_run)
		return (0);
	(void)state_each(b->o.states, drop_gone, &g);
	return (g.rc);
}
