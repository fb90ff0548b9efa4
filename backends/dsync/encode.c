/*
 * encode -- an item as a line (specs/dsync-protocol.md 1.5 and 2).
 *
 * Columns are put in the order of our own header lines; absent ones at the end
 * are left out, as Dovecot does.
 */
#include "backends/dsync/dsync_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"

struct row {
	struct codec *k;
	struct buf *out;
	enum record record;
	unsigned written;
};

static void
begin(struct row *r, struct codec *k, enum record record, struct buf *out)
{
	*r = (struct row){ .k = k, .out = out, .record = record };
	buf_put_u8(out, (uint8_t)record_types[record].letter);
}

/* Columns left out since the last one have no value. */
static void
column(struct row *r, unsigned col)
{
	assert(col >= r->written && col < record_types[r->record].columns);
	for (; r->written < col; r->written++)
		buf_printf(r->out, r->written == 0 ? "\x02" : "\t\x02");
	if (r->written++ > 0)
		buf_put_u8(r->out, '\t');
}

static bool
shown(const struct row *r, unsigned col)
{
	return (r->k->header[r->record].shown[col]);
}

/* NULL: no value. */
static void
put_text(struct row *r, unsigned col, const char *s)
{
	if (s == NULL)
		return;
	column(r, col);
	value_put_text(r->out, s, strlen(s));
}

static void
put_flag(struct row *r, unsigned col, bool set)
{
	if (set)
		column(r, col);
}

static void
put_number(struct row *r, unsigned col, uint64_t v)
{
	column(r, col);
	buf_printf(r->out, "%" PRIu64, v);
}

/* 0 is no value. */
static void
put_some(struct row *r, unsigned col, uint64_t v)
{
	if (v != 0)
		put_number(r, col, v);
}

static void
put_hex(struct row *r, unsigned col, uint64_t v)
{
	if (v == 0)
		return;
	column(r, col);
	buf_printf(r->out, "%" PRIx64, v);
}

static void
put_time(struct row *r, unsigned col, int64_t t)
{
	if (t == 0)
		return;
	column(r, col);
	buf_printf(r->out, "%" PRId64, t);
}

static void
put_guid(struct row *r, unsigned col, const struct guid *g)
{
	char hex[GUID_HEX_LEN + 1];

	column(r, col);
	buf_put(r->out, guid_hex(g, hex), GUID_HEX_LEN);
}

/* ---- lists: escaped elements, joined by tabs, escaped again ---- */

static void
list_add(struct codec *k, const char *s, size_t n)
{
	if (k->elements++ > 0)
		buf_put_u8(&k->scratch, '\t');
	value_put(&k->scratch, s, n);
}

static void
put_list(struct row *r, unsigned col)
{
	column(r, col);
	value_put_text(r->out, r->k->scratch.data, r->k->scratch.len);
	if (r->k->scratch.error != 0)
		r->out->error = r->k->scratch.error;
	buf_reset(&r->k->scratch);
	r->k->elements = 0;
}

static void
put_strings(struct row *r, unsigned col, const char *const *s, size_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		list_add(r->k, s[i], strlen(s[i]));
	put_list(r, col);
}

/* ---- H ---- */

/*
 * Said in vain they would do harm: a dry run would change something, a backup
 * would delete the mailboxes that it was not told of.
 */
static int
check_sayable(const struct row *r, const struct item_handshake *h)
{
	const char *what = NULL;

	if (h->dry_run && !shown(r, H_DRY_RUN))
		what = "a dry run";
	else if (h->mailboxes > 1 && !shown(r, H_BOXES))
		what = "more than one mailbox to sync; run once for each";
	if (what == NULL)
		return (0);
	log_error("%s: is not a dsyncfs and cannot be asked for %s", r->k->peer,
	    what);
	return (-EOPNOTSUPP);
}

static void
put_own_handshake(struct row *r, const struct item_handshake *h)
{
	if (h->has_replica && shown(r, H_REPLICA))
		put_guid(r, H_REPLICA, &h->replica);
	put_flag(r, H_DRY_RUN, h->dry_run && shown(r, H_DRY_RUN));
	put_flag(r, H_OWN_STATE, h->own_state && shown(r, H_OWN_STATE));
	if (shown(r, H_MAX_DELETE_PERCENT))
		put_some(r, H_MAX_DELETE_PERCENT, h->max_delete_percent);
	if (shown(r, H_MAX_DELETE_MIN))
		put_some(r, H_MAX_DELETE_MIN, h->max_delete_min);
	if (h->mailboxes > 1)
		put_strings(r, H_BOXES, h->mailbox, h->mailboxes);
	put_flag(r, H_STAY, h->stay && shown(r, H_STAY));
}

static int
encode_handshake(struct row *r, const struct item_handshake *h)
{
	int rc = check_sayable(r, h);

	if (rc != 0)
		return (rc);
	put_text(r, H_HOSTNAME, h->hostname);
	put_text(r, H_BOX, h->mailboxes == 1 ? h->mailbox[0] : NULL);
	if (!guid_is_zero(&h->mailbox_guid))
		put_guid(r, H_BOX_GUID, &h->mailbox_guid);
	if (h->type != 0)
		put_text(r, H_TYPE, (char[]){ (char)h->type, '\0' });
	put_flag(r, H_DEBUG, h->debug);
	put_strings(r, H_EXCLUDE, h->exclude, h->excludes);
	put_flag(r, H_REQUESTS, h->send_mail_requests);
	put_flag(r, H_BACKUP_SEND, h->backup_send);
	put_flag(r, H_BACKUP_RECV, h->backup_recv);
	put_some(r, H_LOCK_TIMEOUT, h->lock_timeout);
	put_flag(r, H_NO_MAIL_SYNC, h->no_mail_sync);
	put_flag(r, H_NO_OVERWRITE, h->no_backup_overwrite);
	put_time(r, H_SINCE, h->since);
	put_some(r, H_MAX_SIZE, h->max_size);
	put_text(r, H_FLAGS, h->flag);
	put_time(r, H_UNTIL, h->until);
	put_flag(r, H_EMPTY_HDR, h->empty_hdr_workaround);
	/*
	 * Always there.  A Dovecot puts a tab behind the last name, too; one
	 * that reads it takes the empty name for that of every header line
	 * without a colon, and comes to other hashes than its master.
	 */
	for (size_t i = 0; i < h->n_hashed_headers; i++)
		list_add(
		    r->k, h->hashed_headers[i], strlen(h->hashed_headers[i]));
	put_list(r, H_HASHED_HEADERS);
	if (h->alt_char != '\0')
		put_text(r, H_ALT_CHAR, (char[]){ h->alt_char, '\0' });
	put_own_handshake(r, h);
	return (0);
}

/* ---- S N D B A ---- */

static int
encode_state(struct row *r, const struct item_state *s)
{
	put_guid(r, S_MAILBOX, &s->mailbox);
	put_number(r, S_UIDVALIDITY, s->last_uidvalidity);
	put_number(r, S_UID, s->last_common_uid);
	put_number(r, S_MODSEQ, s->last_common_modseq);
	put_number(r, S_PVT_MODSEQ, s->last_common_pvt_modseq);
	put_number(r, S_MESSAGES, s->last_messages_count);
	put_flag(r, S_CHANGES, s->changes_during_sync);
	if (shown(r, S_END_MODSEQ))
		put_some(r, S_END_MODSEQ, s->end_modseq);
	if (!guid_is_zero(&s->token) && shown(r, S_TOKEN))
		put_guid(r, S_TOKEN, &s->token);
	return (0);
}

static int
encode_node(struct row *r, const struct item_node *n)
{
	const char *part = n->name, *sep;

	for (; (sep = strchr(part, '/')) != NULL; part = sep + 1)
		list_add(r->k, part, (size_t)(sep - part));
	list_add(r->k, part, strlen(part));
	put_list(r, N_NAME);
	put_text(r, N_EXISTENCE, (char[]){ (char)n->existence, '\0' });
	if (!guid_is_zero(&n->mailbox))
		put_guid(r, N_MAILBOX, &n->mailbox);
	put_some(r, N_UIDVALIDITY, n->uidvalidity);
	put_some(r, N_UIDNEXT, n->uidnext);
	/* before all times, which only a dsyncfs understands */
	if (n->renamed > 0 || codec_to_dsyncfs(r->k))
		put_time(r, N_RENAMED, n->renamed);
	put_flag(r, N_SUBSCRIBED, n->subscribed);
	put_time(r, N_SUBSCRIPTION_CHANGED, n->subscription_changed);
	return (0);
}

static void
put_deletes(struct row *r, unsigned col, const struct item_delete *d, size_t n)
{
	char hex[GUID_HEX_LEN + 1];

	if (n == 0)
		return;
	column(r, col);
	for (size_t i = 0; i < n; i++)
		buf_printf(r->out, "%s%s %" PRId64, i == 0 ? "" : " ",
		    guid_hex(&d[i].id, hex), d[i].time);
}

static int
encode_deletes(struct row *r, const struct item_deletes *d)
{
	put_text(r, D_SEP, (char[]){ d->sep, '\0' });
	if (d->escape != '\0')
		put_text(r, D_ESCAPE, (char[]){ d->escape, '\0' });
	put_deletes(r, D_MAILBOXES, d->mailbox, d->mailboxes);
	put_deletes(r, D_DIRS, d->dir, d->dirs);
	put_deletes(r, D_UNSUBSCRIBES, d->unsubscribe, d->unsubscribes);
	return (0);
}

static int
encode_mailbox(struct row *r, const struct item_mailbox *b)
{
	put_guid(r, B_MAILBOX, &b->mailbox);
	put_number(r, B_UIDVALIDITY, b->uidvalidity);
	put_number(r, B_UIDNEXT, b->uidnext);
	put_number(r, B_MESSAGES, b->messages);
	put_number(r, B_FIRST_RECENT, b->first_recent);
	put_number(r, B_MODSEQ, b->highestmodseq);
	put_number(r, B_PVT_MODSEQ, b->highest_pvt_modseq);
	put_flag(r, B_LOST, b->lost);
	put_flag(r, B_IGNORE, b->ignore);
	/* there, and empty, as in a Dovecot that has no cache */
	put_text(r, B_CACHE_FIELDS, "");
	put_flag(r, B_HAVE_GUIDS, b->have_guids);
	put_flag(r, B_SAVE_GUIDS, b->have_save_guids);
	put_flag(r, B_ONLY_GUID128, b->have_only_guid128);
	if (b->has_digest && shown(r, B_DIGEST)) {
		struct guid g;

		memcpy(g.b, b->digest, sizeof(g.b));
		put_guid(r, B_DIGEST, &g);
	}
	if (shown(r, B_COMMON_UID))
		put_some(r, B_COMMON_UID, b->common_uid);
	if (shown(r, B_COMMON_MODSEQ))
		put_some(r, B_COMMON_MODSEQ, b->common_modseq);
	return (0);
}

static int
encode_attribute(struct row *r, const struct item_attribute *a)
{
	put_text(r, A_TYPE, (char[]){ a->type, '\0' });
	put_text(r, A_KEY, a->key);
	put_text(r, A_VALUE, a->value);
	put_flag(r, A_STREAM, a->stream != NULL && a->value == NULL);
	put_flag(r, A_DELETED, a->deleted);
	put_time(r, A_LAST_CHANGE, a->last_change);
	put_some(r, A_MODSEQ, a->modseq);
	return (0);
}

/* ---- C ---- */

static void
keyword_add(struct codec *k, char prefix, const char *name)
{
	buf_reset(&k->element);
	buf_put_u8(&k->element, (uint8_t)prefix);
	buf_put(&k->element, name, strlen(name));
	list_add(k, (const char *)k->element.data, k->element.len);
	if (k->element.error != 0)
		k->scratch.error = k->element.error;
}

static void
put_keywords(struct row *r, const struct item_change *c)
{
	const struct keywords *f = &c->kw_final, *a = &c->kw_add,
			      *d = &c->kw_remove;

	for (size_t i = 0; i < f->n; i++)
		keyword_add(
		    r->k, keywords_has(a, f->name[i]) ? '&' : '=', f->name[i]);
	for (size_t i = 0; i < a->n; i++)
		if (!keywords_has(f, a->name[i]))
			keyword_add(r->k, '+', a->name[i]);
	for (size_t i = 0; i < d->n; i++)
		keyword_add(r->k, '-', d->name[i]);
	if (f->n + a->n + d->n > 0)
		put_list(r, C_KEYWORDS);
}

static void
put_own_change(struct row *r, const struct item_change *c)
{
	put_flag(r, C_SAVED_HERE, c->saved_here && shown(r, C_SAVED_HERE));
	put_flag(r, C_FETCHED, c->fetched && shown(r, C_FETCHED));
	if (shown(r, C_MOVED_TO))
		put_some(r, C_MOVED_TO, c->moved_to);
	put_flag(r, C_ELSEWHERE, c->elsewhere && shown(r, C_ELSEWHERE));
	if (shown(r, C_INFORMED))
		put_hex(r, C_INFORMED, c->informed);
	if (shown(r, C_KW_INFORMED))
		put_strings(
		    r, C_KW_INFORMED, c->kw_informed.name, c->kw_informed.n);
}

static int
encode_change(struct row *r, const struct item_change *c)
{
	const char *guid = c->guid;

	/* Without one a Dovecot ends abruptly (10.2). */
	if (guid == NULL && c->kind != CHANGE_EXPUNGE)
		guid = "";
	put_text(r, C_TYPE, (char[]){ (char)c->kind, '\0' });
	put_number(r, C_UID, c->uid);
	put_text(r, C_GUID, guid);
	put_text(r, C_HDR_HASH, c->hdr_hash);
	put_some(r, C_MODSEQ, c->modseq);
	put_some(r, C_PVT_MODSEQ, c->pvt_modseq);
	put_hex(r, C_ADD, c->add);
	put_hex(r, C_REMOVE, c->remove);
	put_hex(r, C_FINAL, c->final);
	put_flag(r, C_KEYWORDS_RESET, c->keywords_reset);
	put_keywords(r, c);
	if (c->received > 0)
		put_hex(r, C_RECEIVED, (uint64_t)c->received);
	put_hex(r, C_VIRTUAL_SIZE, c->virtual_size);
	put_own_change(r, c);
	return (0);
}

/* ---- R M F ---- */

static int
encode_request(struct row *r, const struct item_request *q)
{
	put_text(r, R_GUID, q->guid);
	put_some(r, R_UID, q->uid);
	return (0);
}

static int
encode_mail(struct row *r, const struct item_mail *m)
{
	put_text(r, M_GUID, m->guid == NULL ? "" : m->guid);
	put_some(r, M_UID, m->uid);
	put_text(r, M_POP3_UIDL, m->pop3_uidl == NULL ? "" : m->pop3_uidl);
	put_some(r, M_POP3_ORDER, m->pop3_order);
	put_time(r, M_RECEIVED, m->received);
	put_time(r, M_SAVED, m->saved);
	put_flag(r, M_STREAM, m->body != NULL);
	put_flag(r, M_SEEN_BY_CLIENT,
	    m->seen_by_client && shown(r, M_SEEN_BY_CLIENT));
	return (0);
}

static int
encode_finish(struct row *r, const struct item_finish *f)
{
	put_text(r, F_ERROR, f->error);
	if (f->mail_error != 0)
		put_time(r, F_MAIL_ERROR, f->mail_error);
	put_flag(r, F_FULL_RESYNC, f->require_full_resync);
	if (shown(r, F_COUNTS))
		put_text(r, F_COUNTS, f->counts);
	return (0);
}

static int
encode_row(struct row *r, const struct item *i)
{
	switch (r->record) {
	case REC_H:
		return (encode_handshake(r, &i->u.handshake));
	case REC_S:
		return (encode_state(r, &i->u.state));
	case REC_N:
		return (encode_node(r, &i->u.node));
	case REC_D:
		return (encode_deletes(r, &i->u.deletes));
	case REC_B:
		return (encode_mailbox(r, &i->u.mailbox));
	case REC_A:
		return (encode_attribute(r, &i->u.attribute));
	case REC_C:
		return (encode_change(r, &i->u.change));
	case REC_R:
		return (encode_request(r, &i->u.request));
	case REC_M:
		return (encode_mail(r, &i->u.mail));
	default:
		return (encode_finish(r, &i->u.finish));
	}
}

int
dsync_encode(struct codec *k, const struct item *i, struct buf *out)
{
	struct row r;
	size_t was = out->len;
	int rc = 0;

	if (i->type == ITEM_END || i->type == ITEM_ABORT) {
		buf_put_u8(out, (uint8_t)i->type);
	} else {
		begin(&r, k, record_of((char)i->type), out);
		rc = encode_row(&r, i);
		/* one empty column alone would be none */
		if (r.written == 1 && out->len == was + 1)
			buf_printf(out, "\t\x02");
	}
	buf_put_u8(out, '\n');
	if (rc != 0)
		out->len = was;
	return (rc != 0 ? rc : out->error);
}
