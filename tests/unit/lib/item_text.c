/*
 * item_text -- an item with all its fields as text.
 */
#include "item_text.h"

#include <inttypes.h>

static void
put_str(struct buf *b, const char *name, const char *s)
{
	if (s == NULL) {
		buf_printf(b, " %s=-", name);
		return;
	}
	buf_printf(b, " %s='", name);
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == '\'' || *s == '\\')
			buf_printf(b, "\\%03o", (unsigned char)*s);
		else
			buf_put(b, s, 1);
	buf_printf(b, "'");
}

static void
put_list(struct buf *b, const char *name, const char *const *s, size_t n)
{
	buf_printf(b, " %s[%zu]", name, n);
	for (size_t i = 0; i < n; i++)
		put_str(b, "", s[i]);
}

static void
put_guid(struct buf *b, const char *name, const struct guid *g)
{
	char hex[GUID_HEX_LEN + 1];

	buf_printf(b, " %s=%s", name, guid_hex(g, hex));
}

#define U(field) buf_printf(b, " " #field "=%" PRIu64, (uint64_t)x->field)
#define I(field) buf_printf(b, " " #field "=%" PRId64, (int64_t)x->field)
#define S(field) put_str(b, #field, x->field)
#define G(field) put_guid(b, #field, &x->field)

static void
handshake(struct buf *b, const struct item_handshake *x)
{
	S(hostname);
	put_list(b, "mailbox", x->mailbox, x->mailboxes);
	put_list(b, "exclude", x->exclude, x->excludes);
	G(mailbox_guid);
	U(type);
	U(debug);
	U(send_mail_requests);
	U(backup_send);
	U(backup_recv);
	U(no_mail_sync);
	U(no_backup_overwrite);
	U(lock_timeout);
	I(since);
	I(until);
	U(max_size);
	S(flag);
	put_list(b, "hashed_headers", x->hashed_headers, x->n_hashed_headers);
	U(alt_char);
	U(empty_hdr_workaround);
	U(minor);
	U(has_replica);
	G(replica);
	U(dry_run);
	U(own_state);
	U(stay);
	U(max_delete_percent);
	U(max_delete_min);
}

static void
state(struct buf *b, const struct item_state *x)
{
	G(mailbox);
	U(last_uidvalidity);
	U(last_common_uid);
	U(last_messages_count);
	U(last_common_modseq);
	U(last_common_pvt_modseq);
	U(changes_during_sync);
	U(end_modseq);
	G(token);
}

static void
node(struct buf *b, const struct item_node *x)
{
	S(name);
	U(existence);
	G(mailbox);
	U(uidvalidity);
	U(uidnext);
	I(renamed);
	I(subscription_changed);
	U(subscribed);
}

static void
deletes(struct buf *b, const struct item_deletes *x)
{
	const struct item_delete *d[] = { x->mailbox, x->dir, x->unsubscribe };
	size_t n[] = { x->mailboxes, x->dirs, x->unsubscribes };

	U(sep);
	U(escape);
	for (int k = 0; k < 3; k++) {
		buf_printf(b, " %zu:", n[k]);
		for (size_t i = 0; i < n[k]; i++) {
			put_guid(b, "id", &d[k][i].id);
			buf_printf(b, " %" PRId64, d[k][i].time);
		}
	}
}

static void
mailbox(struct buf *b, const struct item_mailbox *x)
{
	G(mailbox);
	U(lost);
	U(ignore);
	U(have_guids);
	U(have_save_guids);
	U(have_only_guid128);
	U(uidvalidity);
	U(uidnext);
	U(messages);
	U(first_recent);
	U(highestmodseq);
	U(highest_pvt_modseq);
	U(has_digest);
	put_guid(b, "digest", (const struct guid *)(const void *)x->digest);
	U(common_uid);
	U(common_modseq);
}

static void
attribute(struct buf *b, const struct item_attribute *x)
{
	U(type);
	S(key);
	S(value);
	buf_printf(b, " stream=%d", x->stream != NULL);
	U(deleted);
	I(last_change);
	U(modseq);
}

static void
change(struct buf *b, const struct item_change *x)
{
	U(kind);
	U(uid);
	S(guid);
	S(hdr_hash);
	U(modseq);
	U(pvt_modseq);
	U(add);
	U(remove);
	U(final);
	U(keywords_reset);
	put_list(b, "kw_add", x->kw_add.name, x->kw_add.n);
	put_list(b, "kw_remove", x->kw_remove.name, x->kw_remove.n);
	put_list(b, "kw_final", x->kw_final.name, x->kw_final.n);
	I(received);
	U(virtual_size);
	U(saved_here);
	U(fetched);
	U(moved_to);
	U(elsewhere);
	U(informed);
	put_list(b, "kw_informed", x->kw_informed.name, x->kw_informed.n);
}

static void
mail(struct buf *b, const struct item_mail *x)
{
	S(guid);
	U(uid);
	S(pop3_uidl);
	U(pop3_order);
	I(received);
	I(saved);
	buf_printf(b, " body=%d", x->body != NULL);
	U(seen_by_client);
}

static void
request(struct buf *b, const struct item_request *x)
{
	S(guid);
	U(uid);
}

static void
finish(struct buf *b, const struct item_finish *x)
{
	S(error);
	I(mail_error);
	U(require_full_resync);
	S(counts);
}

void
item_text(const struct item *i, struct buf *out)
{
	buf_printf(out, "%c", i->type);
	switch (i->type) {
	case ITEM_HANDSHAKE:
		handshake(out, &i->u.handshake);
		break;
	case ITEM_STATE:
		state(out, &i->u.state);
		break;
	case ITEM_NODE:
		node(out, &i->u.node);
		break;
	case ITEM_DELETES:
		deletes(out, &i->u.deletes);
		break;
	case ITEM_MAILBOX:
		mailbox(out, &i->u.mailbox);
		break;
	case ITEM_ATTRIBUTE:
		attribute(out, &i->u.attribute);
		break;
	case ITEM_CHANGE:
		change(out, &i->u.change);
		break;
	case ITEM_REQUEST:
		request(out, &i->u.request);
		break;
	case ITEM_MAIL:
		mail(out, &i->u.mail);
		break;
	case ITEM_FINISH:
		finish(out, &i->u.finish);
		break;
	case ITEM_END:
	case ITEM_ABORT:
		break;
	}
	buf_printf(out, "\n");
}
