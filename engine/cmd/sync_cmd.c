/*
 * sync_cmd -- mirror, backup, flush: two locations, one sync, what is said and
 * remembered of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cmd/cmd_internal.h"
#include "sync/state.h"

#define CONFLICTS_KEPT 200 /* of one sync */

struct run {
	struct cmd *c;
	struct progress progress;
	/* CONFLICTS_KEPT of them, in c->arena */
	struct conflict_memory *conflict;
	size_t conflicts;
	/* label of the other location */
	const char *peer;
	int64_t begun;
	bool took; /* something was expunged or deleted, on either side */
	bool reverse;
	const char *name; /* of the command */
	struct place first, second;
	/* that the second is named by; NULL */
	const struct config_remote *remote;
	/* of -s; owned */
	struct state_list states;
	size_t words; /* of the second, when it is a command line */
};

/* ---- what the brains tell ---- */

static void
counts_json(struct json *j, const struct sync_counts *n)
{
	json_uint(j, "saved", n->saved);
	json_uint(j, "copied", n->copied);
	json_uint(j, "flags", n->flags);
	json_uint(j, "expunged", n->expunged);
	json_uint(j, "renumbered", n->renumbered);
	json_uint(j, "bytes", n->bytes);
}

void
counts_text(struct buf *b, const struct sync_counts *n)
{
	char size[16];

	buf_printf(b,
	    "%llu saved, %llu copied, %llu flag changes, %llu expunged, %llu "
	    "renumbered, %s",
	    (unsigned long long)n->saved, (unsigned long long)n->copied,
	    (unsigned long long)n->flags, (unsigned long long)n->expunged,
	    (unsigned long long)n->renumbered, bytes_text(n->bytes, size));
}

static void
on_mailbox(void *arg, const char *name, const struct sync_counts *n)
{
	struct run *run = arg;
	struct buf b = BUF_INIT;
	struct json j;

	run->progress.mailboxes_done++;
	if (run->c->o->json) {
		json_begin(&j, "mailbox");
		json_str(&j, "mailbox", name);
		counts_json(&j, n);
		json_end(run->c, &j);
	}
	if (!run->c->o->verbose)
		return;
	buf_printf(&b, "%s: ", name);
	counts_text(&b, n);
	if (buf_cstr(&b) != NULL)
		err_line(run->c, (const char *)b.data);
	buf_fini(&b);
}

static void
on_progress(void *arg, const char *mailbox, uint64_t done, uint64_t total,
    uint64_t bytes)
{
	struct run *run = arg;

	progress_show(&run->progress, mailbox, done, total, bytes);
}

static void
on_conflict(void *arg, const char *mailbox, uint32_t uid, const char *what,
    const char *rule, const char *outcome)
{
	struct run *run = arg;
	struct arena *a = &run->c->arena;
	struct conflict_memory *m;
	struct json j;

	log_verbose("%s uid %u: conflict: %s; %s: %s", mailbox, uid, what, rule,
	    outcome);
	if (run->c->o->json) {
		json_begin(&j, "conflict");
		json_str(&j, "mailbox", mailbox);
		json_uint(&j, "uid", uid);
		json_str(&j, "what", what);
		json_str(&j, "rule", rule);
		json_str(&j, "outcome", outcome);
		json_end(run->c, &j);
	}
	if (run->conflicts == CONFLICTS_KEPT)
		return;
	m = &run->conflict[run->conflicts++];
	*m = (struct conflict_memory){ .time = run->begun,
		.uid = uid,
		.mailbox = arena_strdup(a, mailbox),
		.what = arena_strdup(a, what),
		.rule = arena_strdup(a, rule),
		.outcome = arena_strdup(a, outcome) };
}

static void
on_change(void *arg, const char *mailbox, uint32_t uid, const char *what)
{
	struct run *run = arg;
	struct json j;

	if (strncmp(what, "expunge", 7) == 0 ||
	    strncmp(what, "delete ", 7) == 0)
		run->took = true;
	if (!run->c->o->json && !run->c->o->dry_run) {
		log_debug("%s uid %u: %s", mailbox, uid, what);
		return;
	}
	if (run->c->o->json) {
		json_begin(&j, "change");
		json_str(&j, "mailbox", mailbox);
		json_uint(&j, "uid", uid);
		json_str(&j, "change", what);
		json_bool(&j, "planned", run->c->o->dry_run);
		json_end(run->c, &j);
	} else if (uid != 0)
		out_printf(run->c, "%s uid=%u %s\n", mailbox, uid, what);
	else
		out_printf(run->c, "%s %s\n", mailbox, what);
}

/* ---- what is remembered ---- */

static void
peer_begin(struct store *s, const struct guid *peer, const char *label,
    struct arena *a, struct peer_memory *m)
{
	if (memory_peer(s, peer, a, m) != 0)
		*m = (struct peer_memory){ .peer = *peer, .error = "" };
	m->label = label;
}

/*
 * Notes the end of a sync in r's store.  lsn: where its log stood when the sync
 * began.
 */
static void
remember(struct run *run, struct replica *r, const struct guid *other,
    const char *label, uint64_t lsn, int status)
{
	struct store *s = r->store;
	struct peer_memory m;
	bool took = false;

	if (!replica_native(r) || store_readonly(s))
		return;
	replica_lock(r);
	peer_begin(s, other, label, &run->c->arena, &m);
	/* The log knows on which side; else it need not be read. */
	if (run->took && memory_took_away(s, other, lsn, &took) == 0 && took)
		m.begun = run->begun;
	m.tried = store_now(s);
	m.status = status;
	m.error = "";
	if (status == EX_DONE || status == EX_AGAIN) {
		m.success = m.tried;
		m.lsn = lsn;
	} else if (run->c->last_error != NULL)
		m.error = run->c->last_error;
	for (size_t i = 0; i < run->conflicts; i++)
		run->conflict[i].peer = label;
	/* A failure has been reported; the sync itself is as it is. */
	(void)memory_peer_set(s, &m);
	if (run->conflicts != 0)
		(void)memory_conflicts_add(s, run->conflict, run->conflicts);
	replica_unlock(r);
}

/*
 * The other side could not be opened: noted with the peer that was there the
 * last time.  Who only asked whether we answer is no failure.
 */
static void
remember_failure(
    struct run *run, struct replica *r, const char *label, int status)
{
	struct peer_memory m;

	if (status == EX_DONE || !replica_native(r) || store_readonly(r->store))
		return;
	replica_lock(r);
	if (memory_peer_by_label(r->store, label, &run->c->arena, &m) == 0) {
		m.tried = store_now(r->store);
		m.status = status;
		m.error = run->c->last_error != NULL ? run->c->last_error : "";
		(void)memory_peer_set(r->store, &m);
	}
	replica_unlock(r);
}

/* Where the log of r ends, as a sync begins. */
static uint64_t
log_begins(struct replica *r)
{
	uint64_t lsn = 0;

	if (!replica_native(r))
		return (0);
	replica_lock(r);
	lsn = store_log_end(r->store);
	replica_unlock(r);
	return (lsn);
}

/* ---- states from outside ---- */

/* A string that cannot be used costs comparing everything. */
static int
take_states(struct run *run, struct sync_options *so)
{
	const struct options *o = run->c->o;
	const char *problem = "";
	int r;

	if (o->state == NULL)
		return (0);
	so->states = &run->states;
	/* As in dsync: -f looks at no state, and gives one. */
	if (o->full)
		return (0);
	r = state_parse(&run->states, o->state, &problem);
	if (r != -EINVAL)
		return (r);
	log_error("option -s: the state is not valid: %s; everything is "
		  "compared instead",
	    problem);
	so->type = SYNC_FULL;
	return (0);
}

/*
 * The state after the run, on a line of its own; an empty one when the next run
 * has to begin without.
 */
static void
put_states(struct run *run, const struct sync_result *res)
{
	const struct options *o = run->c->o;
	struct buf b = BUF_INIT;
	const char *text = "";
	struct json j;

	if (o->state == NULL || o->dry_run)
		return;
	if (!res->require_full_resync) {
		state_format(&run->states, &b);
		text = buf_cstr(&b) != NULL ? (const char *)b.data : "";
	}
	if (o->json) {
		json_begin(&j, "state");
		json_str(&j, "state", text);
		json_end(run->c, &j);
	} else {
		out_printf(run->c, "%s\n", text);
	}
	buf_fini(&b);
}

/* ---- the sync ---- */

static void
fill_options(const struct run *run, struct sync_options *so)
{
	const struct cmd *c = run->c;
	const struct options *o = c->o;

	memset(so, 0, sizeof(*so));
	so->mode = strcmp(run->name, "backup") != 0 ? SYNC_MIRROR
	    : run->reverse                          ? SYNC_BACKUP_REVERSE
						    : SYNC_BACKUP;
	so->one_way = o->one_way;
	so->type = o->full ? SYNC_FULL : SYNC_STATE;
	so->mailbox = o->mailbox;
	so->mailboxes = o->n_mailbox;
	so->exclude = o->exclude;
	so->excludes = o->n_exclude;
	so->mailbox_guid = o->mailbox_guid;
	so->since = o->since;
	so->until = o->until;
	so->max_size = o->max_size;
	so->flag = o->flag;
	so->alt_char = o->alt_char != 0 ? o->alt_char : c->cfg.alt_char;
	so->max_delete_percent = o->max_delete >= 0 ? (unsigned)o->max_delete
						    : c->cfg.max_delete_percent;
	so->max_delete_min = c->cfg.max_delete_min;
	so->dry_run = o->dry_run;
	so->stay = c->local != NULL && c->local->session != NULL &&
	    so->mode == SYNC_MIRROR;
	so->stop = c->stop;
}

static void
summary(struct run *run, const struct sync_result *res, int status)
{
	const struct sync_counts *n = &res->counts;
	struct buf b = BUF_INIT;
	struct json j;

	if (run->c->o->json || run->c->of_many) {
		json_begin(&j, "summary");
		json_int(&j, "status", status);
		json_bool(&j, "run_again", status == EX_AGAIN);
		json_bool(&j, "dry_run", run->c->o->dry_run);
		counts_json(&j, n);
		json_uint(&j, "mailboxes_created", n->mailboxes_created);
		json_uint(&j, "mailboxes_renamed", n->mailboxes_renamed);
		json_uint(&j, "mailboxes_deleted", n->mailboxes_deleted);
		json_uint(&j, "subscriptions", n->subscriptions);
		json_uint(&j, "mailboxes_synced", n->mailboxes_synced);
		json_uint(&j, "mailboxes_unchanged", n->mailboxes_unchanged);
		json_end(run->c, &j);
	}
	if (!run->c->o->verbose)
		return;
	buf_printf(&b, "%s: ",
	    status == EX_DONE        ? "done"
		: status == EX_AGAIN ? "done, run again"
				     : "failed");
	counts_text(&b, n);
	buf_printf(&b,
	    "; mailboxes: %llu compared, %llu unchanged, %llu created, %llu "
	    "renamed, %llu deleted",
	    (unsigned long long)n->mailboxes_synced,
	    (unsigned long long)n->mailboxes_unchanged,
	    (unsigned long long)n->mailboxes_created,
	    (unsigned long long)n->mailboxes_renamed,
	    (unsigned long long)n->mailboxes_deleted);
	if (buf_cstr(&b) != NULL)
		err_line(run->c, (const char *)b.data);
	buf_fini(&b);
}

static int
count_mailbox(void *arg, const struct mailbox *m)
{
	uint64_t *n = arg;

	*n += m->exists && m->selectable;
	return (0);
}

static uint64_t
mailboxes_of(struct replica *r)
{
	uint64_t n = 0;

	replica_lock(r);
	/* only for the progress line */
	(void)store_mailboxes(r->store, count_mailbox, &n);
	replica_unlock(r);
	return (n);
}

static int
begin(struct run *run, struct replica *a)
{
	run->begun = store_now(a->store);
	run->conflict = arena_zalloc(
	    &run->c->arena, CONFLICTS_KEPT * sizeof(*run->conflict));
	return (run->conflict == NULL ? -ENOMEM : 0);
}

static int
status_of(int r, const struct sync_result *res)
{
	return (r != 0                                        ? cmd_status_of(r)
		: res->changes_during_sync || res->incomplete ? EX_AGAIN
							      : EX_DONE);
}

struct half {
	struct run *run;
	struct replica *a;
	struct far_session *s;
	struct brain *b;
	const char *label;
	uint64_t lsn; /* where the log of a stood */
};

/*
 * The replica's half of a sync over s.  A peer whose name never came has no
 * identity: its failure is noted with the one that was there the last time.
 */
static int
run_half(void *arg)
{
	const struct half *h = arg;
	struct run *run = h->run;
	struct cmd *c = run->c;
	struct replica *a = h->a;
	struct sync_result res;
	int status;

	progress_begin(&run->progress, c, mailboxes_of(a));
	status = far_run(h->s, h->b);
	brain_result(h->b, &res);
	sync_counts_add(&res.counts, &res.peer);
	status = status_of(status, &res);
	progress_clear(c);
	if (c->arena.error == 0 && !c->o->dry_run) {
		if (guid_is_zero(brain_peer(h->b)))
			remember_failure(run, a, h->label, status);
		else
			remember(run, a, brain_peer(h->b), h->label, h->lsn,
			    status);
	}
	if (a->ops->commit(a) != 0 && status == EX_DONE)
		status = EX_FAIL;
	put_states(run, &res);
	summary(run, &res, status);
	return (status);
}

static int
sync_half(struct half *h, bool children)
{
	struct cmd *c = h->run->c;
	int status;

	h->lsn = log_begins(h->a);
	status = closing_run(c, children, run_half, h);
	hook_after(c, h->a, brain_peer(h->b), h->lsn);
	return (status);
}

/*
 * *gone: the link that had stayed was none any more, so this says nothing of the
 * far side.
 */
static int
sync_far_once(struct run *run, struct replica *a, bool *gone)
{
	const struct sync_events events = { on_mailbox, on_progress,
		on_conflict, on_change, run };
	const char *label = run->second.far.text;
	struct sync_result none = { .incomplete = false };
	struct sync_options so;
	struct far_session s;
	struct brain *b;
	int status;

	if (begin(run, a) != 0)
		return (EX_FAIL);
	status = far_dial(run->c, &run->second, &s);
	if (status != 0) {
		remember_failure(run, a, label, status);
		summary(run, &none, status);
		return (status);
	}
	fill_options(run, &so);
	/*
	 * Where only one side takes, a Dovecot aborts over a mailbox of which
	 * it is told no state (its line "type != SAVE"), and what the peer is
	 * shows only after this has to be said.
	 */
	if ((so.mode != SYNC_MIRROR || so.one_way) && so.type == SYNC_STATE) {
		so.type = SYNC_FULL;
		so.own_state = true;
	}
	if (take_states(run, &so) != 0 ||
	    brain_new_master(a, s.ch, &so, &events, &b) != 0)
		status = EX_FAIL;
	else {
		status = sync_half(
		    &(struct half){ run, a, &s, b, label, 0 }, true);
		brain_free(b);
	}
	*gone = s.again && !s.stays && s.ch->received == 0;
	far_close(&s);
	return (status);
}

static int
sync_far(struct run *run, struct replica *a)
{
	bool gone = false;
	int status = sync_far_once(run, a, &gone);

	if (!gone)
		return (status);
	if (run->c->local->gone != NULL)
		*run->c->local->gone = true;
	return (EX_TRY_LATER);
}

struct both {
	struct run *run;
	struct replica *a, *b;
	uint64_t lsn_a, lsn_b; /* where their logs stood */
};

static int
run_both(void *arg)
{
	const struct both *w = arg;
	struct run *run = w->run;
	const struct sync_events events = { on_mailbox, on_progress,
		on_conflict, on_change, run };
	struct cmd *c = run->c;
	struct replica *a = w->a, *b = w->b;
	struct sync_options so;
	struct sync_result res;
	uint64_t n = mailboxes_of(a);
	int r, status;

	memset(&res, 0, sizeof(res));
	if (mailboxes_of(b) > n)
		n = mailboxes_of(b);
	progress_begin(&run->progress, c, n);
	fill_options(run, &so);
	r = take_states(run, &so);
	if (r == 0)
		r = sync_run_local(a, b, &so, &events, &res);
	status = status_of(r, &res);
	progress_clear(c);
	if (c->arena.error == 0 && !c->o->dry_run) {
		remember(run, a, replica_id(b), b->label, w->lsn_a, status);
		remember(run, b, replica_id(a), a->label, w->lsn_b, status);
	}
	if (a->ops->commit(a) != 0 && status != EX_MAX_DELETE)
		status = status == EX_DONE ? EX_FAIL : status;
	put_states(run, &res);
	summary(run, &res, status);
	return (status);
}

static int
sync_opened(struct run *run, struct replica *a, struct replica *b)
{
	struct both w = { .run = run, .a = a, .b = b };
	struct sync_result none = { .incomplete = false };
	struct cmd *c = run->c;
	int status;

	if (guid_eq(replica_id(a), replica_id(b))) {
		log_error(
		    "%s and %s are the same store, or one is a copy of the "
		    "other's files: make the second with backup instead",
		    a->label, b->label);
		summary(run, &none, EX_FAIL);
		return (EX_FAIL);
	}
	if (begin(run, a) != 0)
		return (EX_FAIL);
	w.lsn_a = log_begins(a);
	w.lsn_b = log_begins(b);
	status = closing_run(c, false, run_both, &w);
	hook_after(c, a, replica_id(b), w.lsn_a);
	return (status);
}

/* A location that may be written is made when it is missing. */
static unsigned
open_flags(const struct run *run, bool source)
{
	return ((run->c->o->dry_run ? LOCATION_DRY : 0) |
	    (source ? 0 : LOCATION_CREATE));
}

static int
run_here(struct run *run)
{
	struct cmd *c = run->c;
	struct replica *a = NULL, *b = NULL;
	bool backup = strcmp(run->name, "backup") == 0;
	int status, r;

	/* The mount is not here for this command: it cannot take a part of it. */
	status = place_by_mount(c, &run->second);
	if (status == 0)
		status = closing_prepare(c);
	if (status == 0)
		status = place_open(c, &run->first,
		    open_flags(run, backup && !run->reverse), &a);
	if (status != 0)
		return (status);
	if (run->second.is_far)
		status = sync_far(run, a);
	else if ((status = place_open(c, &run->second,
		      open_flags(run, backup && run->reverse), &b)) != 0)
		remember_failure(run, a, place_text(c, &run->second), status);
	else {
		status = sync_opened(run, a, b);
		r = b->ops->close(b);
		if (r != 0 && status == EX_DONE)
			status = cmd_status_of(r);
	}
	r = a->ops->close(a);
	return (r != 0 && status == EX_DONE ? cmd_status_of(r) : status);
}

/* ---- in a mount ---- */

/* What its client could not reach is remembered here. */
static int
not_reached(struct run *run)
{
	struct cmd *c = run->c;
	const struct sync_result none = { .incomplete = false };
	char *why;
	long status = strtol(c->o->unreached, &why, 10);

	if (status <= 0 || status > 255 || *why != ' ')
		return (cmd_usage_error(c, "option --unreached is not for people"));
	free(c->last_error);
	c->last_error = why[1] != '\0' ? strdup(why + 1) : NULL;
	if (begin(run, c->local->replica) != 0)
		return (EX_FAIL);
	remember_failure(
	    run, c->local->replica, run->second.far.text, (int)status);
	summary(run, &none, (int)status);
	return ((int)status);
}

/* The other location is at the end of the link that came along. */
static int
run_in_mount(struct run *run)
{
	struct cmd *c = run->c;

	if (place_is_local(c, &run->second)) {
		log_error("%s: this is the first location itself: LOCATION2 "
			  "has to be another one",
		    run->second.l.text);
		return (EX_BAD_USAGE);
	}
	run->second.far.text = place_text(c, &run->second);
	if (run->second.far.text == NULL)
		return (EX_FAIL);
	return (c->o->unreached != NULL ? not_reached(run)
					: sync_far(run, c->local->replica));
}

/* ---- the far side ---- */

/*
 * Of what the watched directories show this sync has seen all, or again is
 * set: both are found under one lock.
 */
static void
look_back(struct run *run, struct replica *a, const struct guid *peer,
    const struct place *p, struct serve_end *end)
{
	struct peer_memory m;
	uint64_t n = 0;
	int64_t oldest;

	replica_lock(a);
	end->again =
	    memory_peer(a->store, peer, &run->c->arena, &m) == 0 &&
	    memory_waiting(a->store, &m, &n, &oldest) == 0 && n != 0;
	end->mark = watch_mark(place_watched(run->c, p), &p->l);
	replica_unlock(a);
}

int
sync_serve(struct cmd *c, struct replica *a, int in, int out,
    const struct place *p, struct serve_end *end)
{
	struct run run = { .c = c, .name = "dsync-server" };
	const struct sync_events events = { on_mailbox, on_progress,
		on_conflict, on_change, &run };
	struct far_session s;
	struct brain *b;
	int status;

	if (begin(&run, a) != 0)
		return (EX_FAIL);
	status = far_serve(c, in, out, &s);
	if (status != 0)
		return (status);
	if (brain_new_slave(a, s.ch, &events, &b) != 0)
		status = EX_FAIL;
	else {
		brain_set_stop(b, c->stop);
		brain_slave_guard(b, c->cfg.max_delete_percent,
		    c->cfg.max_delete_min, c->cfg.max_delete_set);
		if (p != NULL)
			brain_slave_stays(b);
		status = sync_half(
		    &(struct half){ &run, a, &s, b, "dsync-server", 0 }, false);
		end->stays = s.stays && (status == EX_DONE || status == EX_AGAIN);
		if (end->stays)
			look_back(&run, a, brain_peer(b), p, end);
		brain_free(b);
	}
	far_close(&s);
	/* The master was told that it has to run again, and says so itself. */
	return (status == EX_AGAIN ? EX_DONE : status);
}

static int
sync_places(struct run *run)
{
	struct cmd *c = run->c;
	int status;

	run->reverse = c->o->reverse;
	if (c->local != NULL)
		return (run_in_mount(run));
	status = place_first(c, &run->first);
	if (status != 0)
		return (status);
	if (place_same(&run->first, &run->second)) {
		log_error("%s: this is the first location itself: LOCATION2 "
			  "has to be another one",
		    run->second.l.text);
		return (EX_BAD_USAGE);
	}
	if (sync_by_mount(c,
		&(struct mount_sync){ run->name, &run->first, &run->second,
		    run->remote, run->reverse },
		&status))
		return (status);
	return (run_here(run));
}

/* With LOCATION2, whose filters hold where it is a remote section's name. */
static int
sync_words(
    struct cmd *c, const char *command, const char *const *words, size_t n)
{
	struct run run = { .c = c, .name = command, .words = n };
	const struct options *given = c->o;
	struct options filtered;
	int status;

	state_list_init(&run.states);
	status = place_second(c, words, n, &run.second, &run.remote);
	if (status == 0 && run.remote != NULL) {
		status = filters_apply(
		    c, run.remote, strcmp(command, "backup") == 0, &filtered);
		c->o = status == 0 ? &filtered : given;
	}
	if (status == 0)
		status = sync_places(&run);
	c->o = given;
	state_list_fini(&run.states);
	return (status);
}

int
cmd_mirror(struct cmd *c)
{
	return (sync_words(c, "mirror", c->o->args, c->o->n_args));
}

int
cmd_backup(struct cmd *c)
{
	return (sync_words(c, "backup", c->o->args, c->o->n_args));
}

int
sync_named(struct cmd *c, const char *name, bool backup)
{
	return (sync_words(c, backup ? "backup" : "mirror", &name, 1));
}
