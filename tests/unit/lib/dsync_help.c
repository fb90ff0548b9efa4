/*
 * dsync_help -- dsync channels over links in memory.
 */
#include "dsync_help.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char dovecot_opening[] =
    "VERSION\tdsync\t3\t5\n"
    "Hhostname\tsync_ns_prefix\tsync_box\tsync_box_guid\tsync_type\tdebug\t"
    "sync_visible_namespaces\texclude_mailboxes\tsend_mail_requests\t"
    "backup_send\tbackup_recv\tlock_timeout\tno_mail_sync\t"
    "no_backup_overwrite\tpurge_remote\tno_notify\tsync_since_timestamp\t"
    "sync_max_size\tsync_flags\tsync_until_timestamp\tvirtual_all_box\t"
    "empty_hdr_workaround\thashed_headers\talt_char\n"
    "Smailbox_guid\tlast_uidvalidity\tlast_common_uid\tlast_common_modseq\t"
    "last_common_pvt_modseq\tlast_messages_count\tchanges_during_sync\n"
    "Nname\texistence\tmailbox_guid\tuid_validity\tuid_next\t"
    "last_renamed_or_created\tsubscribed\tlast_subscription_change\n"
    "Dhierarchy_sep\tescape_char\tmailboxes\tdirs\tunsubscribes\n"
    "Bmailbox_guid\tuid_validity\tuid_next\tmessages_count\t"
    "first_recent_uid\thighest_modseq\thighest_pvt_modseq\tmailbox_lost\t"
    "mailbox_ignore\tcache_fields\thave_guids\thave_save_guids\t"
    "have_only_guid128\n"
    "Atype\tkey\tvalue\tstream\tdeleted\tlast_change\tmodseq\n"
    "Ctype\tuid\tguid\thdr_hash\tmodseq\tpvt_modseq\tadd_flags\t"
    "remove_flags\tfinal_flags\tkeywords_reset\tkeyword_changes\t"
    "received_timestamp\tvirtual_size\n"
    "Rguid\tuid\n"
    "Mguid\tuid\tpop3_uidl\tpop3_order\treceived_date\tsaved_date\tstream\n"
    "Ferror\tmail_error\trequire_full_resync\n"
    "cname\tdecision\tlast_used\n"
    ".\n";

void
talk_begin(struct talk *t, const struct link_mem_rules *rules,
    const struct channel_dsync_options *oa,
    const struct channel_dsync_options *ob)
{
	link_mem_pair(rules, &t->la, &t->lb);
	ck_assert_int_eq(channel_dsync_new(t->la, oa, &t->a), 0);
	ck_assert_int_eq(channel_dsync_new(t->lb, ob, &t->b), 0);
}

void
talk_end(struct talk *t)
{
	t->a->ops->close(t->a);
	t->b->ops->close(t->b);
	t->la->ops->close(t->la);
	t->lb->ops->close(t->lb);
}

static void
move(struct talk *t)
{
	(void)t->a->ops->flush(t->a);
	(void)t->b->ops->flush(t->b);
}

int
talk_recv(struct talk *t, struct item **out)
{
	struct item *early;
	int rc = -EAGAIN;

	for (int i = 0; i < 1000000 && rc == -EAGAIN; i++) {
		move(t);
		/* it has to take in the opening, and says nothing else */
		ck_assert_int_ne(t->a->ops->recv(t->a, &early), 0);
		rc = t->b->ops->recv(t->b, out);
	}
	return (rc);
}

struct item *
talk_pass(struct talk *t, struct item *i)
{
	struct item *got;

	ck_assert_int_eq(t->a->ops->send(t->a, i), 0);
	ck_assert_int_eq(talk_recv(t, &got), 0);
	return (got);
}

uint8_t *
talk_body(struct talk *t, struct stream *s, size_t piece, size_t *n, int *rc)
{
	struct buf b = BUF_INIT;
	ssize_t k;

	for (;;) {
		ck_assert_int_eq(buf_reserve(&b, piece), 0);
		k = stream_read(s, b.data + b.len, piece);
		if (k == -EAGAIN) {
			move(t);
			continue;
		}
		if (k <= 0)
			break;
		b.len += (size_t)k;
	}
	*rc = (int)k;
	*n = b.len;
	return (b.data);
}

void
alone_begin(struct alone *a, const struct channel_dsync_options *o)
{
	link_mem_pair(NULL, &a->l, &a->peer);
	ck_assert_int_eq(channel_dsync_new(a->l, o, &a->c), 0);
}

void
alone_end(struct alone *a)
{
	a->c->ops->close(a->c);
	a->l->ops->close(a->l);
	a->peer->ops->close(a->peer);
}

void
alone_hears(struct alone *a, const char *text)
{
	link_mem_put(a->peer, text, strlen(text));
}

void
alone_hears_opening_without(struct alone *a, char letter)
{
	const char *p = dovecot_opening, *lf;

	for (; *p != '\0'; p = lf + 1) {
		lf = strchr(p, '\n');
		if (*p != letter)
			link_mem_put(a->peer, p, (size_t)(lf + 1 - p));
	}
}

const char *
alone_said(struct alone *a)
{
	static char said[1 << 18];
	size_t n;
	const uint8_t *p = link_mem_written(a->l, &n), *end;

	(void)a->c->ops->flush(a->c);
	p = link_mem_written(a->l, &n);
	end = memmem(p, n, "\n.\n", 3);
	ck_assert_ptr_nonnull(end);
	n -= (size_t)(end + 3 - p);
	ck_assert_uint_lt(n, sizeof(said));
	memcpy(said, end + 3, n);
	said[n] = '\0';
	return (said);
}

struct item *
item_make(enum item_type type)
{
	struct item *i;

	ck_assert_int_eq(item_new(type, &i), 0);
	return (i);
}

void
file_read(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	char chunk[4096];
	size_t n;

	ck_assert_msg(f != NULL, "%s cannot be read", path);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_put(out, chunk, n);
	ck_assert_int_eq(ferror(f), 0);
	(void)fclose(f);
	ck_assert_int_eq(out->error, 0);
}
