/*
 * brain -- one side of a sync: handshake, tree, mailbox after mailbox, end
 * (specs/dsync-protocol.md 3.1).
 *
 * phase       master                          slave                       goes
 * on when HELLO       sends H                         sends H the peer's H has
 * come STATES      sends S* . (type s)             takes S* . (type s) at its
 * end TREE        refreshes, sends N* . D         the same always TREE_WAIT
 * takes N* . D, changes its tree  the same                    at its end NEXT
 * sends B of the next, or .       takes B or . BOX         the mailbox (box.c)
 * the same                    it is finished FINISH      takes F sends F DONE
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MAIL_ERROR_LIMIT 13 /* specs/dsync-protocol.md 2.11: the guard */
#define MINOR 5 /* of the protocol */

/* ---- saying ---- */

int
brain_send(struct brain *b, struct item *i)
{
	int rc;

	if (i->arena.error != 0) {
		item_free(i);
		return (-ENOMEM);
	}
	rc = b->c->ops->send(b->c, i);
	if (rc == -EPIPE)
		log_error(
		    "%s: the connection ended before the sync was finished",
		    b->peer_name);
	return (rc);
}

int
brain_send_end(struct brain *b)
{
	struct item *i;
	int rc = item_new(ITEM_END, &i);

	return (rc != 0 ? rc : brain_send(b, i));
}

int
brain_protocol(struct brain *b, const struct item *i, const char *expected)
{
	log_error("%s: breaks the protocol: '%c' came where %s was expected",
	    b->peer_name, i->type, expected);
	item_free((struct item *)(uintptr_t)i);
	return (-EBADMSG);
}

void
brain_change(
    struct brain *b, const char *mailbox, uint32_t uid, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (b->ev.change == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	b->ev.change(b->ev.arg, mailbox, uid, text);
}

int
brain_bad_item(struct brain *b, int rc)
{
	switch (rc) {
	case -EINVAL:
	case -EEXIST:
	case -ENOENT:
	case -E2BIG:
	case -EFBIG:
	case -EBADMSG:
	case -EILSEQ:
	case -ENAMETOOLONG:
		b->box.incomplete = true;
		b->result.incomplete = true;
		return (0);
	default:
		return (rc);
	}
}

/* ---- making ---- */

static int
brain_new(struct replica *r, struct channel *c, const struct sync_events *e,
    bool master, struct brain **out)
{
	struct brain *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return (-ENOMEM);
	b->r = r;
	b->c = c;
	b->master = master;
	if (e != NULL)
		b->ev = *e;
	tree_init(&b->local);
	tree_init(&b->remote);
	state_list_init(&b->states);
	b->peer_name = strdup(c->peer == NULL ? "peer" : c->peer);
	store_hold(r->store);
	if (b->peer_name == NULL) {
		brain_free(b);
		return (-ENOMEM);
	}
	*out = b;
	return (0);
}

void
brain_share_events(struct brain *b)
{
	b->shares_events = true;
}

void
brain_slave_guard(struct brain *b, unsigned percent, unsigned min, bool firm)
{
	b->own_max_delete = percent;
	b->own_max_delete_min = min;
	b->own_max_delete_firm = firm;
}

static const char *const *
copy_list(struct arena *a, const char *const *list, size_t n)
{
	const char **out = arena_alloc(a, (n + 1) * sizeof(*out));

	for (size_t i = 0; out != NULL && i < n; i++)
		out[i] = arena_strdup(a, list[i]);
	return (out);
}

static void
handshake_from_options(struct item *i, const struct sync_options *o)
{
	struct item_handshake *h = &i->u.handshake;

	h->mailbox = copy_list(&i->arena, o->mailbox, o->mailboxes);
	h->mailboxes = o->mailboxes;
	h->exclude = copy_list(&i->arena, o->exclude, o->excludes);
	h->excludes = o->excludes;
	h->mailbox_guid = o->mailbox_guid;
	h->type = o->type == 0 ? SYNC_STATE : o->type;
	h->send_mail_requests = true;
	/* From the slave's point of view (specs/dsync-protocol.md 2.1). */
	h->backup_recv =
	    o->mode == SYNC_BACKUP || (o->one_way && o->mode == SYNC_MIRROR);
	h->backup_send = o->mode == SYNC_BACKUP_REVERSE;
	h->no_backup_overwrite = o->one_way;
	h->since = o->since;
	h->until = o->until;
	h->max_size = o->max_size;
	h->flag = arena_strdup(&i->arena, o->flag);
	h->alt_char = o->alt_char;
	h->empty_hdr_workaround = o->empty_hdr_workaround;
	h->dry_run = o->dry_run;
	h->own_state = o->own_state;
	h->max_delete_percent = o->max_delete_percent;
	h->max_delete_min = o->max_delete_min;
}

/*
 * '~' sorts high, so that a Dovecot on the other side takes its user's lock.
 */
static const char *
own_hostname(const struct brain *b, struct arena *a)
{
	char hex[GUID_HEX_LEN + 1];

	return (
	    arena_printf(a, "~dsyncfs-%s", guid_hex(replica_id(b->r), hex)));
}

static int
hello_new(struct brain *b, struct item **out)
{
	struct item *i;
	int rc = item_new(ITEM_HANDSHAKE, &i);

	if (rc != 0)
		return (rc);
	i->u.handshake.hostname = own_hostname(b, &i->arena);
	i->u.handshake.minor = MINOR;
	i->u.handshake.has_replica = true;
	i->u.handshake.replica = *replica_id(b->r);
	i->u.handshake.hashed_headers = identity_headers;
	i->u.handshake.n_hashed_headers = IDENTITY_HEADERS;
	i->u.handshake.stay = b->o.stay;
	if (b->master)
		handshake_from_options(i, &b->o);
	if (i->arena.error != 0) {
		item_free(i);
		return (-ENOMEM);
	}
	*out = i;
	return (0);
}

int
brain_new_master(struct replica *r, struct channel *c,
    const struct sync_options *o, const struct sync_events *e,
    struct brain **out)
{
	struct brain *b;
	int rc = brain_new(r, c, e, true, &b);

	if (rc != 0)
		return (rc);
	b->o = *o;
	rc = hello_new(b, &b->params_item);
	if (rc != 0) {
		brain_free(b);
		return (rc);
	}
	b->params = b->params_item->u.handshake;
	*out = b;
	return (0);
}

int
brain_new_slave(struct replica *r, struct channel *c,
    const struct sync_events *e, struct brain **out)
{
	return (brain_new(r, c, e, false, out));
}

void
brain_free(struct brain *b)
{
	if (b == NULL)
		return;
	box_fini(b);
	dry_fini(b);
	tree_plan_fini(&b->plan);
	tree_fini(&b->local);
	tree_fini(&b->remote);
	item_free(b->params_item);
	state_list_fini(&b->states);
	store_release(b->r->store);
	free(b->peer_name);
	free(b);
}

void
brain_result(const struct brain *b, struct sync_result *out)
{
	*out = b->result;
}

/* ---- hello ---- */

static void
set_roles(struct brain *b)
{
	bool to_slave = b->params.backup_recv,
	     to_master = b->params.backup_send;

	if (b->peer_dsyncfs && b->params.own_state)
		b->params.type = SYNC_STATE;
	b->exports = b->imports = true;
	if (to_slave || to_master) {
		b->imports = b->master ? to_master : to_slave;
		b->exports = !b->imports;
		b->source = b->exports;
		b->reverts = b->imports && !b->params.no_backup_overwrite;
	}
	b->o.dry_run = b->params.dry_run;
	b->o.max_delete_percent = b->params.max_delete_percent;
	b->o.max_delete_min = b->params.max_delete_min;
	if (!b->master)
		guard_of_slave(b);
}

static int
check_params(struct brain *b)
{
	const struct item_handshake *p = &b->params;

	if (p->backup_recv && p->backup_send) {
		log_error(
		    "%s: breaks the protocol: asks for a backup both ways",
		    b->peer_name);
		return (-EBADMSG);
	}
	if (!p->send_mail_requests) {
		log_error("%s: wants mails sent without asking for them, which "
			  "is not supported; is it a very old dsync?",
		    b->peer_name);
		return (-EPROTONOSUPPORT);
	}
	if (p->type != SYNC_FULL && p->type != SYNC_STATE)
		b->params.type = SYNC_CHANGED;
	return (identity_check_headers(b));
}

static int
recv_hello(struct brain *b, struct item *i)
{
	struct item_handshake *h = &i->u.handshake;
	const char *own = own_hostname(b, &i->arena);
	int rc;

	if (i->type != ITEM_HANDSHAKE || h->hostname == NULL)
		return (brain_protocol(b, i, "the handshake"));
	b->peer_dsyncfs = h->has_replica;
	b->peer_minor = h->minor;
	b->hash_version = h->minor < 4 ? 1 : 3;
	if (h->has_replica) {
		b->peer = h->replica;
	} else {
		rc = own == NULL ? -ENOMEM
				 : guid128_of_string(h->hostname, &b->peer);
		if (rc != 0)
			goto fail;
		b->deletes_last = strcmp(own, h->hostname) > 0;
	}
	if (guid_eq(&b->peer, replica_id(b->r)) || guid_is_zero(&b->peer)) {
		log_error(
		    "%s and %s have the same identity: one is a copy of the "
		    "other, or both are the same place. Give the copy a new "
		    "identity by making a new store and a backup into it",
		    b->r->label, b->peer_name);
		rc = -EINVAL;
		goto fail;
	}
	/* Only who gives nothing but its mail can be read without knowing. */
	if (b->master && b->params.dry_run && !b->peer_dsyncfs &&
	    !b->params.backup_send) {
		log_error("%s: is not a dsyncfs, and would do what a dry run "
			  "only plans; a dry run of backup -R is possible",
		    b->peer_name);
		rc = -ENOTSUP;
		goto fail;
	}
	if (!b->master) {
		b->params = *h;
		b->params_item = i;
		i = NULL;
		rc = check_params(b);
		if (rc != 0)
			goto fail;
	}
	b->stays = b->o.stay && h->stay;
	set_roles(b);
	if ((rc = guard_source(b)) != 0)
		goto fail;
	b->got_hello = true;
	item_free(i);
	return (0);
fail:
	item_free(i);
	return (rc);
}

/* ---- states ---- */

/* The states that are sent must fit the mailboxes as they are now. */
static int
refresh(struct brain *b)
{
	unsigned problems = 0;
	int rc = 0;

	if (!b->refreshed)
		rc = b->r->ops->refresh(b->r, NULL, &problems);
	if (problems != 0)
		b->result.incomplete = true;
	b->refreshed = rc == 0;
	return (rc);
}

static int
send_states(struct brain *b)
{
	int rc = refresh(b);

	if (rc == 0)
		rc = box_states_send(b);
	return (rc != 0 ? rc : brain_send_end(b));
}

static int
recv_state(struct brain *b, struct item *i)
{
	struct item_state *st = &i->u.state;
	int rc;

	if (i->type == ITEM_END) {
		b->got_states = true;
		item_free(i);
		return (0);
	}
	if (i->type != ITEM_STATE)
		return (brain_protocol(b, i, "a saved state"));
	st->end_modseq = st->last_common_modseq;
	rc = state_put(&b->states, st);
	if (rc == -E2BIG)
		return (brain_protocol(b, i, "the end of the saved states"));
	item_free(i);
	return (rc);
}

/* ---- mailboxes ---- */

bool
brain_stopped(const struct brain *b)
{
	return (b->o.stop != NULL && *b->o.stop != 0);
}

void
brain_set_stop(struct brain *b, const atomic_int *stop)
{
	b->o.stop = stop;
}

void
brain_slave_stays(struct brain *b)
{
	b->o.stay = true;
}

bool
brain_stays(const struct brain *b)
{
	return (b->stays && b->phase == PHASE_DONE && b->failed == 0);
}

const struct guid *
brain_peer(const struct brain *b)
{
	return (&b->peer);
}

static int
say_stopped(const struct brain *b)
{
	log_info("%s: stopped; what was done is complete", b->r->label);
	return (-EINTR);
}

static int
finish_phase(struct brain *b)
{
	b->phase = PHASE_FINISH;
	b->want_commit = !b->params.dry_run;
	return (conflicts_tree_done(b));
}

static int
next_box(struct brain *b)
{
	int rc;

	if (brain_stopped(b))
		return (say_stopped(b));
	for (; b->next < b->plan.n; b->next++) {
		const struct tree_box *t = &b->plan.box[b->next];

		rc = box_state_outdated(b, t);
		if (rc < 0)
			return (rc);
		if (rc == 1 || guid_is_zero(&t->guid) ||
		    (t->id == 0 && !b->params.dry_run) ||
		    (b->source && t->local == NULL))
			continue;
		b->next++;
		b->phase = PHASE_BOX;
		return (box_start_master(b, t));
	}
	rc = finish_phase(b);
	return (rc != 0 ? rc : brain_send_end(b));
}

static int
box_done(struct brain *b)
{
	box_fini(b);
	b->phase = PHASE_NEXT;
	return (BRAIN_PROGRESS);
}

static int
recv_next(struct brain *b, struct item *i)
{
	int rc;

	if (i->type == ITEM_END) {
		item_free(i);
		return (finish_phase(b));
	}
	if (i->type != ITEM_MAILBOX)
		return (brain_protocol(b, i, "a mailbox"));
	if (brain_stopped(b)) {
		item_free(i);
		return (say_stopped(b));
	}
	b->phase = PHASE_BOX;
	rc = box_start_slave(b, i);
	return (rc == BRAIN_DONE ? box_done(b) : rc);
}

/* ---- end ---- */

static int
send_finish(struct brain *b)
{
	struct item *i;
	int rc = item_new(ITEM_FINISH, &i);

	if (rc != 0)
		return (rc);
	i->u.finish.require_full_resync = b->result.require_full_resync;
	i->u.finish.counts = sync_counts_text(&i->arena, &b->result.counts);
	rc = brain_send(b, i);
	b->phase = PHASE_DONE;
	if (b->stays) {
		b->c->deaf = true;
		return (rc);
	}
	/* nobody may be left to read it */
	if (rc == 0 && (rc = item_new(ITEM_ABORT, &i)) == 0)
		(void)b->c->ops->send(b->c, i);
	return (rc);
}

static int
peer_failed(struct brain *b, struct item *i)
{
	/* Dovecot goes when a state does not fit its mailbox. */
	int rc = b->result.require_full_resync ? -ESTALE : -ECONNABORTED;

	if (i->type == ITEM_FINISH && i->u.finish.error != NULL) {
		log_error("%s: %s", b->peer_name, i->u.finish.error);
		if (b->peer_dsyncfs &&
		    i->u.finish.mail_error == MAIL_ERROR_LIMIT)
			rc = -ECANCELED;
	} else {
		log_error("%s: stopped the sync; its own messages say why",
		    b->peer_name);
	}
	item_free(i);
	return (rc);
}

static int
recv_finish(struct brain *b, struct item *i)
{
	if (i->type != ITEM_FINISH)
		return (brain_protocol(b, i, "the end"));
	if (i->u.finish.error != NULL)
		return (peer_failed(b, i));
	if (i->u.finish.require_full_resync)
		b->result.changes_during_sync = b->result.require_full_resync =
		    true;
	sync_counts_take(i->u.finish.counts, &b->result.peer);
	item_free(i);
	b->c->deaf = b->stays;
	b->phase = PHASE_DONE;
	return (0);
}

/* ---- steps ---- */

static bool
wants_item(const struct brain *b)
{
	switch (b->phase) {
	case PHASE_HELLO:
		return (!b->got_hello);
	case PHASE_STATES:
		return (!b->master && !b->got_states);
	case PHASE_NEXT:
		return (!b->master);
	case PHASE_TREE_WAIT:
		return (!b->got_deletes);
	case PHASE_BOX:
		return (box_wants_item(b));
	case PHASE_FINISH:
		return (b->master && b->peer_minor >= MINOR_FINISH);
	default:
		return (false);
	}
}

static int
take_item(struct brain *b, struct item *i)
{
	int rc;

	if (i->type == ITEM_ABORT && !b->master && b->phase == PHASE_HELLO) {
		item_free(i);
		b->phase = PHASE_DONE;
		return (0);
	}
	if (i->type == ITEM_ABORT ||
	    (i->type == ITEM_FINISH && b->phase != PHASE_FINISH))
		return (peer_failed(b, i));
	switch (b->phase) {
	case PHASE_HELLO:
		return (recv_hello(b, i));
	case PHASE_STATES:
		return (recv_state(b, i));
	case PHASE_TREE_WAIT:
		return (brain_tree_recv(b, i));
	case PHASE_NEXT:
		return (recv_next(b, i));
	case PHASE_BOX:
		rc = box_recv(b, i);
		return (rc == BRAIN_DONE ? box_done(b) : rc);
	default:
		return (recv_finish(b, i));
	}
}

static int
tree_start(struct brain *b)
{
	int rc = refresh(b);

	if (rc == 0)
		rc = brain_tree_build(b);
	if (rc == 0)
		rc = brain_tree_send(b);
	b->phase = PHASE_TREE_WAIT;
	return (rc);
}

static int
tree_finish(struct brain *b)
{
	int rc;

	if (!b->got_deletes)
		return (BRAIN_WAIT);
	b->phase = PHASE_NEXT;
	rc = brain_tree_apply(b);
	return (rc != 0 ? rc : box_states_drop_gone(b));
}

static int
hello_step(struct brain *b)
{
	struct item *i;
	int rc;

	if (!b->sent_hello) {
		b->sent_hello = true;
		rc = os_guid(store_os(b->r->store), &b->token);
		if (rc == 0)
			rc = hello_new(b, &i);
		return (rc != 0 ? rc : brain_send(b, i));
	}
	if (!b->got_hello)
		return (BRAIN_WAIT);
	b->phase = b->params.type == SYNC_STATE ? PHASE_STATES : PHASE_TREE;
	return (BRAIN_PROGRESS);
}

static int
work(struct brain *b)
{
	int rc;

	switch (b->phase) {
	case PHASE_HELLO:
		return (hello_step(b));
	case PHASE_STATES:
		if (!b->master && !b->got_states)
			return (BRAIN_WAIT);
		b->phase = PHASE_TREE;
		return (b->master ? send_states(b) : BRAIN_PROGRESS);
	case PHASE_TREE:
		return (tree_start(b));
	case PHASE_TREE_WAIT:
		return (tree_finish(b));
	case PHASE_NEXT:
		return (b->master ? next_box(b) : BRAIN_WAIT);
	case PHASE_BOX:
		rc = box_work(b);
		return (rc == BRAIN_DONE ? box_done(b) : rc);
	case PHASE_FINISH:
		if (!b->master)
			return (send_finish(b));
		if (b->peer_minor >= MINOR_FINISH)
			return (BRAIN_WAIT);
		b->phase = PHASE_DONE;
		return (BRAIN_DONE);
	default:
		return (BRAIN_DONE);
	}
}

static int
step_locked(struct brain *b)
{
	bool progress = false;
	struct item *i;
	int rc;

	for (unsigned n = 0; n < BATCH && wants_item(b); n++) {
		rc = b->c->ops->recv(b->c, &i);
		if (rc == -EAGAIN)
			break;
		if (rc == -EPIPE)
			log_error("%s: the connection ended before the sync "
				  "was finished",
			    b->peer_name);
		if (rc == 0)
			rc = take_item(b, i);
		if (rc < 0)
			return (rc);
		progress = true;
		if (b->want_commit)
			return (BRAIN_PROGRESS);
	}
	rc = work(b);
	return (rc == BRAIN_WAIT && progress ? BRAIN_PROGRESS : rc);
}

/* Tells the peer that nothing more will come, as far as it can be told. */
static int
fail(struct brain *b, int rc)
{
	struct item *i;

	b->failed = rc;
	if (rc == -EPIPE || b->phase == PHASE_DONE)
		return (rc);
	if (item_new(b->peer_dsyncfs && rc != -ECONNABORTED ? ITEM_FINISH
							    : ITEM_ABORT,
		&i) != 0)
		return (rc);
	if (i->type == ITEM_FINISH) {
		i->u.finish.error = arena_printf(
		    &i->arena, "%s", rc == -ECANCELED ? b->why : strerror(-rc));
		i->u.finish.mail_error =
		    rc == -ECANCELED ? MAIL_ERROR_LIMIT : 1;
	}
	(void)b->c->ops->send(b->c, i);
	return (rc);
}

static int
commit(struct brain *b)
{
	uint64_t end;
	int rc;

	b->want_commit = false;
	b->r->ops->lock(b->r);
	end = store_log_end(b->r->store);
	b->r->ops->unlock(b->r);
	rc = b->r->ops->commit(b->r);
	if (rc == 0)
		b->committed = end;
	return (rc);
}

int
brain_step(struct brain *b)
{
	int rc = BRAIN_WAIT;

	if (b->failed != 0)
		return (b->failed);
	if (b->want_commit) {
		rc = commit(b);
		return (rc != 0 ? fail(b, rc) : BRAIN_PROGRESS);
	}
	if (b->phase == PHASE_BOX && box_working_unlocked(b)) {
		rc = box_work_unlocked(b);
		if (rc < 0)
			return (fail(b, rc));
		if (rc == BRAIN_PROGRESS)
			return (rc);
	}
	b->r->ops->lock(b->r);
	rc = step_locked(b);
	b->r->ops->unlock(b->r);
	return (rc < 0 ? fail(b, rc) : rc);
}
