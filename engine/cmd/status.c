/*
 * status -- status and mailboxes: the store as it is now.
 */
#include <errno.h>
#include <string.h>
#include "cmd/cmd_internal.h"

struct view {
	struct cmd *c;
	struct store *s;
	uint64_t mailboxes, messages, unseen;
	uint64_t peers;
};

static int
add_mailbox(void *arg, const struct mailbox *m)
{
	struct view *v = arg;

	if (!m->exists || !m->selectable)
		return (0);
	v->mailboxes++;
	v->messages += m->messages;
	v->unseen += m->unseen;
	return (0);
}

static void
peer_json(struct view *v, const struct peer_memory *m, uint64_t waiting,
    int64_t oldest)
{
	char hex[GUID_HEX_LEN + 1];
	struct json j;

	json_begin(&j, "peer");
	json_str(&j, "peer", guid_hex(&m->peer, hex));
	json_str(&j, "location", m->label);
	json_int(&j, "last_success", m->success);
	json_int(&j, "last_try", m->tried);
	json_int(&j, "last_status", m->status);
	json_str(&j, "last_error", *m->error != '\0' ? m->error : NULL);
	json_uint(&j, "waiting", waiting);
	json_int(&j, "oldest_waiting", waiting != 0 ? oldest : 0);
	json_end(v->c, &j);
}

static int
show_peer(void *arg, const struct peer_memory *m)
{
	struct view *v = arg;
	uint64_t waiting = 0;
	int64_t oldest = 0, lag;
	char a[32], b[32];
	int r;

	v->peers++;
	r = memory_waiting(v->s, m, &waiting, &oldest);
	if (r != 0)
		return (r);
	if (v->c->o->json) {
		peer_json(v, m, waiting, oldest);
		return (0);
	}
	out_printf(v->c, "peer %s\n  last sync: %s\n  waiting: %llu changes",
	    m->label, time_text(m->success, a), (unsigned long long)waiting);
	if (waiting != 0) {
		lag = store_now(v->s) - oldest;
		out_printf(v->c, ", the oldest since %s (%lld s)",
		    time_text(oldest, a), (long long)(lag > 0 ? lag : 0));
	}
	out_printf(v->c, "\n");
	if (m->status != EX_DONE)
		out_printf(v->c, "  last try: %s, status %d%s%s\n",
		    time_text(m->tried, b), m->status,
		    *m->error != '\0' ? ": " : "", m->error);
	return (0);
}

static void
store_json(
    struct view *v, const struct replica *r, const struct store_info *info)
{
	char hex[GUID_HEX_LEN + 1];
	struct json j;

	json_begin(&j, "store");
	json_str(&j, "location", r->label);
	json_str(&j, "id", guid_hex(replica_id(r), hex));
	json_bool(&j, "mounted", v->c->local != NULL);
	json_bool(&j, "readonly", store_readonly(v->s) && v->c->local != NULL);
	json_bool(&j, "damaged", store_damaged(v->s));
	json_uint(&j, "mailboxes", v->mailboxes);
	json_uint(&j, "messages", v->messages);
	json_uint(&j, "unseen", v->unseen);
	json_uint(&j, "bodies", info->bodies);
	json_uint(&j, "log_bytes", info->log_bytes);
	json_uint(&j, "pack_bytes", info->pack_bytes);
	json_uint(&j, "index_bytes", info->index_bytes);
	json_end(v->c, &j);
}

static void
remotes_json(struct view *v)
{
	const struct cmd_local *local = v->c->local;
	struct cmd_remote_status s;
	struct json j;

	if (local == NULL || local->remote_status == NULL)
		return;
	for (size_t i = 0; local->remote_status(local->remote_arg, i, &s);
	     i++) {
		json_begin(&j, "remote");
		json_str(&j, "remote", s.name);
		json_str(&j, "mode", s.backup ? "backup" : "mirror");
		json_str(&j, "sync", s.sync);
		json_bool(&j, "syncing", s.syncing);
		json_bool(&j, "connected", s.connected);
		if (s.waiting_there >= 0)
			json_bool(&j, "waiting_there", s.waiting_there != 0);
		json_int(&j, "last_success", s.last_success);
		json_int(&j, "last_status", s.last_status);
		json_str(&j, "last_error",
		    *s.last_error != '\0' ? s.last_error : NULL);
		json_int(&j, "next_try", s.next_try);
		json_uint(&j, "waiting", s.waiting);
		json_end(v->c, &j);
	}
}

static void
store_text(
    struct view *v, const struct replica *r, const struct store_info *info)
{
	char hex[GUID_HEX_LEN + 1], a[16], b[16], d[16];
	const struct cmd_local *local = v->c->local;

	out_printf(v->c, "store %s\n  id: %s\n", r->label,
	    guid_hex(replica_id(r), hex));
	if (local != NULL)
		out_printf(v->c, "  mounted: yes%s\n",
		    store_readonly(v->s) ? ", read-only" : "");
	if (local != NULL && local->status_text != NULL)
		out_printf(v->c, "%s%s", local->status_text,
		    *local->status_text != '\0' &&
			    local->status_text[strlen(local->status_text) -
				1] != '\n'
			? "\n"
			: "");
	if (store_damaged(v->s))
		out_printf(v->c,
		    "  damaged: yes; run verify, then verify --repair "
		    "--dry-run\n");
	out_printf(v->c, "  mailboxes: %llu\n  messages: %llu, %llu unseen\n",
	    (unsigned long long)v->mailboxes, (unsigned long long)v->messages,
	    (unsigned long long)v->unseen);
	out_printf(v->c, "  on disk: log %s, bodies %s, index %s\n",
	    bytes_text(info->log_bytes, a), bytes_text(info->pack_bytes, b),
	    bytes_text(info->index_bytes, d));
}

static int
status_of(struct cmd *c, struct replica *r)
{
	struct view v = { .c = c, .s = r->store };
	struct store_info info;
	int e;

	memset(&info, 0, sizeof(info));
	replica_lock(r);
	e = store_mailboxes(v.s, add_mailbox, &v);
	if (e == 0)
		e = store_info(v.s, &info);
	if (e == 0 && c->o->json)
		store_json(&v, r, &info);
	else if (e == 0)
		store_text(&v, r, &info);
	if (e == 0)
		e = memory_peers(v.s, show_peer, &v);
	replica_unlock(r);
	if (e == 0 && c->o->json)
		remotes_json(&v);
	if (e == 0 && v.peers == 0 && !c->o->json)
		out_printf(c,
		    "no peers: nothing has been synced with this location "
		    "yet\n");
	if (c->o->json)
		json_summary(c, cmd_status_of(e));
	return (cmd_status_of(e));
}

int
cmd_status(struct cmd *c)
{
	struct subject s;
	bool done;
	int status = EX_FAIL, r;

	r = subject_open(c, NULL, 0, LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	return (subject_close(&s, status_of(c, s.r)));
}

/* ---- mailboxes ---- */

static int
show_mailbox(void *arg, const struct mailbox *m)
{
	struct cmd *c = arg;
	char hex[GUID_HEX_LEN + 1];
	struct json j;

	if (c->o->json) {
		json_begin(&j, "mailbox");
		json_str(&j, "mailbox", m->name);
		json_str(&j, "guid",
		    m->exists && m->selectable ? guid_hex(&m->guid, hex)
					       : NULL);
		json_bool(&j, "exists", m->exists);
		json_bool(&j, "selectable", m->selectable);
		json_bool(&j, "subscribed", m->subscribed);
		json_uint(&j, "uidvalidity", m->uidvalidity);
		json_uint(&j, "uidnext", m->uidnext);
		json_uint(&j, "highestmodseq", m->highestmodseq);
		json_uint(&j, "messages", m->messages);
		json_uint(&j, "unseen", m->unseen);
		json_end(c, &j);
	} else if (m->exists && m->selectable)
		out_printf(c,
		    "%s guid=%s uidvalidity=%u uidnext=%u highestmodseq=%llu "
		    "messages=%u unseen=%u subscribed=%d\n",
		    m->name, guid_hex(&m->guid, hex), m->uidvalidity,
		    m->uidnext, (unsigned long long)m->highestmodseq,
		    m->messages, m->unseen, m->subscribed);
	else
		out_printf(c, "%s %s subscribed=%d\n", m->name,
		    m->exists ? "noselect" : "nonexistent", m->subscribed);
	return (0);
}

int
cmd_mailboxes(struct cmd *c)
{
	struct subject s;
	unsigned problems = 0;
	bool done;
	int status = EX_FAIL, r;

	r = subject_open(c, NULL, 0, LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	replica_lock(s.r);
	r = s.r->ops->refresh(s.r, NULL, &problems);
	if (r == 0)
		r = store_mailboxes(s.r->store, show_mailbox, c);
	replica_unlock(s.r);
	status = r != 0 ? cmd_status_of(r) : problems != 0 ? EX_FAIL : EX_DONE;
	if (c->o->json)
		json_summary(c, status);
	return (subject_close(&s, status));
}
