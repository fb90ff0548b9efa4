/*
 * box -- one mailbox: the two B records and the tracks of brain_internal.h.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* ---- B ---- */

static int
fill_own(struct brain *b, const struct guid *guid)
{
	struct box *x = &b->box;
	struct mailbox m;
	int rc;

	memset(&x->own, 0, sizeof(x->own));
	memset(&x->state, 0, sizeof(x->state));
	memset(&x->loaded, 0, sizeof(x->loaded));
	x->own.mailbox = *guid;
	identity_own(b, &x->own);
	/* a dry run plans as if the mailbox had been made */
	if (x->id == 0) {
		x->own.uidvalidity =
		    x->plan->remote == NULL ? 1 : x->plan->remote->uidvalidity;
		x->own.uidnext = x->own.first_recent = 1;
		x->own.highestmodseq = 1;
		return (0);
	}
	rc = store_mailbox(b->r->store, x->id, &m);
	if (rc != 0)
		return (rc);
	x->own.uidvalidity = m.uidvalidity;
	x->own.uidnext = m.uidnext;
	x->own.messages = m.messages;
	x->own.first_recent = m.first_recent_uid;
	x->own.highestmodseq = m.highestmodseq;
	rc = box_state_load(b, &m);
	return (rc != 0 ? rc : box_state_name(b, &m));
}

static bool
numbers_differ(const struct item_mailbox *a, const struct item_mailbox *b)
{
	return (a->uidvalidity != b->uidvalidity || a->uidnext != b->uidnext ||
	    a->messages != b->messages ||
	    a->highestmodseq != b->highestmodseq ||
	    a->highest_pvt_modseq != b->highest_pvt_modseq ||
	    a->first_recent != b->first_recent);
}

/*
 * A Dovecot takes over another UIDVALIDITY also where it is the source of a
 * backup or of a one-way merge (5.2), and begins its UIDs anew.  So it is told
 * its own; that something has to be done is seen all the same.
 */
static void
say_uidvalidity(struct brain *b, struct item_mailbox *m)
{
	struct box *x = &b->box;
	uint32_t its = x->peer.uidvalidity;

	if (b->master && x->plan->remote != NULL)
		its = x->plan->remote->uidvalidity;
	if (b->imports && !b->exports && !b->peer_dsyncfs && its != 0 &&
	    its != m->uidvalidity) {
		m->uidvalidity = its;
		if (!b->master && !numbers_differ(m, &x->peer))
			m->highestmodseq++;
	}
	x->told_uidvalidity = m->uidvalidity;
}

static int
send_box(struct brain *b, bool lost)
{
	struct item *i;
	int rc = item_new(ITEM_MAILBOX, &i);

	if (rc != 0)
		return (rc);
	if (lost) {
		i->u.mailbox.mailbox = b->box.peer.mailbox;
		i->u.mailbox.lost = !b->source;
		i->u.mailbox.ignore = b->source;
	} else {
		i->u.mailbox = b->box.own;
		say_uidvalidity(b, &i->u.mailbox);
	}
	return (brain_send(b, i));
}

/* ---- what both records decide ---- */

/*
 * A dsyncfs that remembers no sync of this mailbox: it has to be told all that
 * is known here, since all of it counts here.
 */
static bool
peer_knows_nothing(const struct brain *b)
{
	const struct item_mailbox *p = &b->box.peer;

	return (b->peer_dsyncfs && b->imports && b->exports && !p->has_digest &&
	    p->common_uid == 0);
}

/* Sets agreed; !*needs: the mailbox is the same on both sides. */
static int
decide(struct brain *b, bool *needs)
{
	struct box *x = &b->box;

	/* dsync tells expunges with GUIDs, whatever the UIDVALIDITYs are. */
	x->trust_uids =
	    !b->peer_dsyncfs || x->own.uidvalidity == x->peer.uidvalidity;
	*needs = false;
	if (b->params.no_mail_sync)
		return (0);
	if (b->peer_dsyncfs)
		return (box_state_decide(b, needs));
	box_state_agree(b);
	*needs =
	    b->params.type != SYNC_CHANGED || numbers_differ(&x->own, &x->peer);
	return (0);
}

static int
begin(struct brain *b)
{
	struct box *x = &b->box;
	struct mailbox m = { 0 };
	struct peer_state st;
	int rc = 0;

	if (x->id != 0)
		rc = store_mailbox(b->r->store, x->id, &m);
	if (rc != 0)
		return (rc);
	identity_decide(b);
	if (x->agreed) {
		const struct item_mailbox *dest =
		    b->imports ? &x->own : &x->peer;

		x->common_uid =
		    b->peer_dsyncfs ? dest->common_uid : x->state.common_uid;
		x->since = b->source && b->peer_dsyncfs ? dest->common_modseq
							: x->state.own_since;
		x->since_sync = true;
	} else {
		/*
		 * Compared in full.  Hints still begin where this side last
		 * knew both alike, or as far back as is known.  Modseqs go on
		 * when the UIDVALIDITY changes.
		 */
		x->common_uid = 0;
		x->since = m.history_floor;
		if (x->id != 0 && !b->source && !peer_knows_nothing(b) &&
		    peer_state_load(
			b->r->store, &b->peer, &x->own.mailbox, &st) == 0 &&
		    st.own_since > x->since &&
		    st.own_since <= m.highestmodseq &&
		    (b->peer_dsyncfs || st.uidvalidity == m.uidvalidity)) {
			x->since = st.own_since;
			x->since_sync = true;
		}
	}
	rc = exporter_new(b, &x->ex);
	if (rc == 0 && b->imports)
		rc = importer_new(b, &x->im);
	x->tx = b->exports ? TX_ATTRIBUTE : TX_REQUEST;
	x->rx = b->imports ? RX_ATTRIBUTE : RX_REQUEST;
	if (b->peer_minor < MINOR_ATTRIBUTES) {
		x->tx = b->exports ? TX_CHANGE : TX_REQUEST;
		x->rx = b->imports ? RX_CHANGE : RX_REQUEST;
	}
	return (rc);
}

/* The peer may know a mailbox that both sides made by the other GUID. */
static bool
try_other(const struct brain *b)
{
	const struct box *x = &b->box;

	return (b->master && (x->peer.lost || x->peer.ignore) &&
	    !guid_is_zero(&x->plan->other) &&
	    !guid_eq(&x->plan->other, &x->own.mailbox));
}

/* The peer has nothing to sync this mailbox with. */
static int
not_there(struct brain *b)
{
	int rc = 0;

	if (b->box.peer.lost) {
		b->result.changes_during_sync = true;
		rc = box_state_lost(b);
	}
	return (rc != 0 ? rc : BRAIN_DONE);
}

static int
master_says(struct brain *b, const struct guid *guid)
{
	bool lost;
	int rc = fill_own(b, guid);

	if (rc == 0)
		rc = box_state_check(b, &lost);
	return (rc != 0 ? rc : send_box(b, false));
}

/* Both records are known.  BRAIN_DONE: nothing to do. */
static int
both_known(struct brain *b)
{
	struct box *x = &b->box;
	bool lost, needs;
	int rc = 0;

	if (try_other(b))
		return (master_says(b, &x->plan->other));
	if (x->peer.lost || x->peer.ignore)
		return (not_there(b));
	if (!guid_is_zero(&x->plan->other))
		rc = brain_tree_take_guid(b, x->plan, &x->own.mailbox);
	if (rc == 0)
		rc = box_state_check(b, &lost);
	if (rc == 0)
		rc = decide(b, &needs);
	if (rc != 0)
		return (rc);
	if (!needs) {
		b->result.counts.mailboxes_unchanged++;
		rc = box_state_same(b);
		return (rc != 0 ? rc : BRAIN_DONE);
	}
	rc = begin(b);
	return (rc != 0 ? rc : BRAIN_PROGRESS);
}

/* Taken over, it would leave no UIDs for new mail here. */
static int
check_uidnext(const struct brain *b)
{
	if (b->box.peer.uidnext <= box_uid_most(b))
		return (0);
	log_error("%s: mailbox %s: has given UIDs up to %u, which leaves too "
		  "few; it has to be made anew over there",
	    b->peer_name, b->box.name, b->box.peer.uidnext - 1);
	return (-EBADMSG);
}

static void
box_init(struct brain *b, const struct tree_box *t)
{
	memset(&b->box, 0, sizeof(b->box));
	b->box.plan = t;
	b->box.id = t == NULL ? 0 : t->id;
	b->box.name = t == NULL ? "" : t->name;
	b->box.rx = RX_BOX;
	b->box.tx = TX_BOX;
}

int
box_start_master(struct brain *b, const struct tree_box *t)
{
	box_init(b, t);
	return (master_says(b, &t->guid));
}

int
box_start_slave(struct brain *b, struct item *i)
{
	const struct tree_box *t = brain_tree_box(b, &i->u.mailbox.mailbox);
	bool lost = false;
	int rc;

	if (t != NULL && t->id == 0 && !b->params.dry_run)
		t = NULL;
	box_init(b, t);
	b->box.peer = i->u.mailbox;
	item_free(i);
	if (t == NULL) {
		if (!b->source)
			b->result.changes_during_sync = true;
		rc = send_box(b, true);
		return (rc != 0 ? rc : BRAIN_DONE);
	}
	rc = fill_own(b, &b->box.peer.mailbox);
	if (rc == 0)
		rc = box_state_check(b, &lost);
	if (rc == 0 && lost) {
		rc = send_box(b, true);
		return (rc != 0 ? rc : BRAIN_DONE);
	}
	if (rc == 0 && !numbers_differ(&b->box.own, &b->box.peer))
		rc = box_state_raise(b);
	if (rc == 0)
		rc = check_uidnext(b);
	if (rc == 0)
		rc = send_box(b, false);
	return (rc != 0 ? rc : both_known(b));
}

void
box_fini(struct brain *b)
{
	importer_free(b->box.im);
	exporter_free(b->box.ex);
	identity_fini(&b->box);
	b->box.im = NULL;
	b->box.ex = NULL;
	b->box.conflicts = NULL;
	arena_fini(&b->box.conflict_arena);
}

/* ---- rx ---- */

bool
box_wants_item(const struct brain *b)
{
	const struct box *x = &b->box;

	if (x->rx == RX_MAIL &&
	    (importer_busy(x->im) || x->tx <= TX_APPLY || importer_full(x->im)))
		return (false);
	return (x->rx != RX_DONE && !(x->rx == RX_STATE && x->tx != TX_DONE));
}

static enum rx
after(const struct brain *b, enum rx rx)
{
	if (rx == RX_CHANGE)
		return (b->exports ? RX_REQUEST : RX_MAIL);
	if (rx == RX_REQUEST)
		return (b->imports ? RX_MAIL : RX_STATE);
	return ((enum rx)(rx + 1));
}

static int
recv_end(struct brain *b)
{
	struct box *x = &b->box;
	enum rx was = x->rx;

	x->rx = after(b, was);
	return (was == RX_MAIL ? importer_mails_done(x->im) : 0);
}

static int
recv_state(struct brain *b, struct item *i)
{
	struct box *x = &b->box;

	if (!guid_eq(&i->u.state.mailbox, &x->own.mailbox))
		return (brain_protocol(b, i, "the end of this mailbox"));
	x->got = i->u.state;
	if (x->got.end_modseq > INT64_MAX)
		return (brain_protocol(b, i, "an end below 2^63"));
	if (x->got.changes_during_sync)
		b->result.changes_during_sync = true;
	/* The peer wants all compared: what is saved led it astray. */
	if (x->got.last_uidvalidity == 0)
		x->distrust = true;
	x->rx = RX_DONE;
	item_free(i);
	return (0);
}

int
box_recv(struct brain *b, struct item *i)
{
	static const char *const expected[] = { "a mailbox", "an attribute",
		"a message", "a request", "a mail", "the end of a mailbox",
		"" };
	struct box *x = &b->box;
	int rc;

	if (x->rx == RX_BOX && i->type == ITEM_MAILBOX) {
		if (!guid_eq(&i->u.mailbox.mailbox, &x->own.mailbox))
			return (brain_protocol(b, i, "the mailbox asked for"));
		x->peer = i->u.mailbox;
		item_free(i);
		rc = check_uidnext(b);
		return (rc != 0 ? rc : both_known(b));
	}
	if (i->type == ITEM_END && x->rx >= RX_ATTRIBUTE && x->rx <= RX_MAIL) {
		item_free(i);
		return (recv_end(b));
	}
	if (x->rx == RX_ATTRIBUTE && i->type == ITEM_ATTRIBUTE) {
		item_free(i);
		return (0);
	}
	if (x->rx == RX_CHANGE && i->type == ITEM_CHANGE)
		return (importer_change(x->im, i));
	if (x->rx == RX_REQUEST && i->type == ITEM_REQUEST) {
		rc = exporter_request(x->ex, &i->u.request);
		item_free(i);
		return (rc);
	}
	if (x->rx == RX_MAIL && i->type == ITEM_MAIL)
		return (importer_mail(x->im, i));
	if (x->rx == RX_STATE && i->type == ITEM_STATE)
		return (recv_state(b, i));
	return (brain_protocol(b, i, expected[x->rx]));
}

/* ---- the end ---- */

static int
send_state(struct brain *b)
{
	struct box *x = &b->box;
	struct item *i;
	int rc;

	memset(&x->sent, 0, sizeof(x->sent));
	x->sent.mailbox = x->own.mailbox;
	x->sent.last_common_uid =
	    b->imports ? importer_common_uid(x->im) : x->own.uidnext - 1;
	x->sent.last_uidvalidity = x->distrust ? 0 : x->told_uidvalidity;
	x->sent.last_common_modseq = b->imports && !x->changes
	    ? x->peer.highestmodseq
	    : x->own.highestmodseq;
	if (x->id != 0) {
		rc = box_state_make(b);
		if (rc != 0)
			return (rc);
	}
	x->sent.last_messages_count = x->id == 0 ? 0 : x->state.messages;
	x->sent.end_modseq = x->state.own_since;
	x->sent.token = b->source ? x->token : b->token;
	/* A source may go on while it is read; what B said was told. */
	if (b->source)
		x->sent.end_modseq = x->own.highestmodseq;
	x->sent.changes_during_sync = x->changes || x->incomplete;
	rc = item_new(ITEM_STATE, &i);
	if (rc != 0)
		return (rc);
	i->u.state = x->sent;
	return (brain_send(b, i));
}

static void
add_counts(struct sync_counts *to, const struct sync_counts *c)
{
	to->saved += c->saved;
	to->copied += c->copied;
	to->flags += c->flags;
	to->expunged += c->expunged;
	to->renumbered += c->renumbered;
	to->bytes += c->bytes;
}

static bool
any_change(const struct sync_counts *c)
{
	return (
	    c->saved + c->copied + c->flags + c->expunged + c->renumbered != 0);
}

static int
finish(struct brain *b)
{
	struct box *x = &b->box;
	uint64_t end = store_log_end(b->r->store);
	int rc = box_state_save(b);

	if (rc == 0)
		rc = box_state_result(b);
	if (rc != 0)
		return (rc);
	if (end == b->committed)
		b->committed = store_log_end(b->r->store);
	add_counts(&b->result.counts, &x->counts);
	conflicts_flush(b);
	b->result.counts.mailboxes_synced++;
	b->result.changes_during_sync |= x->changes;
	b->result.require_full_resync |= x->distrust;
	b->result.incomplete |= x->incomplete;
	if (b->ev.mailbox != NULL && any_change(&x->counts))
		b->ev.mailbox(b->ev.arg, x->name, &x->counts);
	return (BRAIN_DONE);
}

/* ---- tx ---- */

/*
 * rc of a part that says 1 for "more", 0 for "done": then the list's end is
 * sent and the track goes on.
 */
static int
list_step(struct brain *b, int rc, enum tx next)
{
	if (rc < 0)
		return (rc);
	if (rc == 1)
		return (b->c->ops->full(b->c) ? BRAIN_WAIT : BRAIN_PROGRESS);
	b->box.tx = next;
	rc = brain_send_end(b);
	return (rc != 0 ? rc : BRAIN_PROGRESS);
}

static int
request_step(struct brain *b)
{
	struct box *x = &b->box;

	int rc;

	if (x->rx <= RX_CHANGE)
		return (BRAIN_WAIT);
	if (!x->planned) {
		rc = importer_changes_done(x->im);
		if (rc != 0)
			return (rc);
		x->planned = true;
	}
	return (list_step(b, importer_requests(x->im), TX_APPLY));
}

static int
apply_step(struct brain *b)
{
	int rc;

	/* The peer's requests say that its guard let its own plan pass. */
	if (b->exports && b->box.rx <= RX_REQUEST)
		return (BRAIN_WAIT);
	rc = importer_apply(b->box.im);
	if (rc < 0)
		return (rc);
	if (rc == 0)
		b->box.tx = b->exports ? TX_MAIL : TX_COMMIT;
	return (BRAIN_PROGRESS);
}

static int
mail_step(struct brain *b)
{
	struct box *x = &b->box;
	int rc;

	if (x->rx < RX_REQUEST)
		return (BRAIN_WAIT);
	rc = exporter_mails(x->ex);
	if (rc == 0 && x->rx == RX_REQUEST)
		return (BRAIN_WAIT);
	return (list_step(b, rc, TX_COMMIT));
}

static int
commit_step(struct brain *b)
{
	struct box *x = &b->box;
	int rc;

	if (x->rx != RX_STATE)
		return (BRAIN_WAIT);
	rc = x->im == NULL ? 0 : importer_finish(x->im);
	if (rc != 0)
		return (rc < 0 ? rc : BRAIN_PROGRESS);
	/*
	 * A backup's source too: what it told must not be taken back by a power
	 * cut, and its UIDs and modseqs be given to something else.  Where only
	 * states of other mailboxes were written since the last commit there is
	 * nothing that the peer relies on.
	 */
	b->want_commit =
	    !b->params.dry_run && store_log_end(b->r->store) != b->committed;
	x->tx = TX_STATE;
	return (BRAIN_PROGRESS);
}

static int
track_step(struct brain *b)
{
	struct box *x = &b->box;
	int rc;

	switch (x->tx) {
	case TX_BOX:
		return (BRAIN_WAIT);
	case TX_ATTRIBUTE:
		return (list_step(b, 0, TX_CHANGE));
	case TX_CHANGE:
		return (list_step(b, exporter_changes(x->ex),
		    b->imports ? TX_REQUEST : TX_MAIL));
	case TX_REQUEST:
		return (request_step(b));
	case TX_APPLY:
		return (apply_step(b));
	case TX_MAIL:
		return (mail_step(b));
	case TX_COMMIT:
		return (commit_step(b));
	case TX_STATE:
		x->tx = TX_DONE;
		rc = send_state(b);
		return (rc != 0 ? rc : BRAIN_PROGRESS);
	case TX_DONE:
		break;
	}
	return (x->rx == RX_DONE ? finish(b) : BRAIN_WAIT);
}

int
box_work(struct brain *b)
{
	struct box *x = &b->box;
	int rc;

	/* What has come is saved when no more is there, or enough waits. */
	if (x->im != NULL && x->rx == RX_MAIL && x->tx > TX_APPLY &&
	    !importer_busy(x->im)) {
		bool can = importer_can_save(x->im);

		rc = importer_apply(x->im);
		if (rc != 0 || can)
			return (rc < 0 ? rc : BRAIN_PROGRESS);
	}
	return (track_step(b));
}

bool
box_working_unlocked(const struct brain *b)
{
	return (b->box.im != NULL && importer_busy(b->box.im));
}

int
box_work_unlocked(struct brain *b)
{
	return (importer_read_body(b->box.im));
}
