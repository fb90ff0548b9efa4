/*
 * columns -- the records and their keys, in Dovecot's order, and header lines.
 *
 * A peer's header line decides the order of its columns; unknown keys and
 * letters are passed over.  Own keys begin with dsyncfs_ and stand behind
 * Dovecot's, who passes over them in turn.
 */
#include "backends/dsync/dsync_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define OWN "dsyncfs_"

static const struct column columns_h[] = {
	[H_HOSTNAME] = { "hostname", true },
	[H_NS_PREFIX] = { "sync_ns_prefix", false },
	[H_BOX] = { "sync_box", false },
	[H_BOX_GUID] = { "sync_box_guid", false },
	[H_TYPE] = { "sync_type", false },
	[H_DEBUG] = { "debug", false },
	[H_VISIBLE_NS] = { "sync_visible_namespaces", false },
	[H_EXCLUDE] = { "exclude_mailboxes", false },
	[H_REQUESTS] = { "send_mail_requests", false },
	[H_BACKUP_SEND] = { "backup_send", false },
	[H_BACKUP_RECV] = { "backup_recv", false },
	[H_LOCK_TIMEOUT] = { "lock_timeout", false },
	[H_NO_MAIL_SYNC] = { "no_mail_sync", false },
	[H_NO_OVERWRITE] = { "no_backup_overwrite", false },
	[H_PURGE] = { "purge_remote", false },
	[H_NO_NOTIFY] = { "no_notify", false },
	[H_SINCE] = { "sync_since_timestamp", false },
	[H_MAX_SIZE] = { "sync_max_size", false },
	[H_FLAGS] = { "sync_flags", false },
	[H_UNTIL] = { "sync_until_timestamp", false },
	[H_VIRTUAL_ALL] = { "virtual_all_box", false },
	[H_EMPTY_HDR] = { "empty_hdr_workaround", false },
	[H_HASHED_HEADERS] = { "hashed_headers", false },
	[H_ALT_CHAR] = { "alt_char", false },
	[H_REPLICA] = { OWN "replica", false },
	[H_DRY_RUN] = { OWN "dry_run", false },
	[H_OWN_STATE] = { OWN "state", false },
	[H_MAX_DELETE_PERCENT] = { OWN "max_delete_percent", false },
	[H_MAX_DELETE_MIN] = { OWN "max_delete_min", false },
	[H_BOXES] = { OWN "sync_boxes", false },
	[H_STAY] = { OWN "stay", false },
};
static const struct column columns_s[] = {
	[S_MAILBOX] = { "mailbox_guid", true },
	[S_UIDVALIDITY] = { "last_uidvalidity", true },
	[S_UID] = { "last_common_uid", true },
	[S_MODSEQ] = { "last_common_modseq", true },
	[S_PVT_MODSEQ] = { "last_common_pvt_modseq", true },
	[S_MESSAGES] = { "last_messages_count", false },
	[S_CHANGES] = { "changes_during_sync", false },
	[S_END_MODSEQ] = { OWN "end_modseq", false },
	[S_TOKEN] = { OWN "token", false },
};
static const struct column columns_n[] = {
	[N_NAME] = { "name", true },
	[N_EXISTENCE] = { "existence", true },
	[N_MAILBOX] = { "mailbox_guid", false },
	[N_UIDVALIDITY] = { "uid_validity", false },
	[N_UIDNEXT] = { "uid_next", false },
	[N_RENAMED] = { "last_renamed_or_created", false },
	[N_SUBSCRIBED] = { "subscribed", false },
	[N_SUBSCRIPTION_CHANGED] = { "last_subscription_change", false },
};
static const struct column columns_d[] = {
	[D_SEP] = { "hierarchy_sep", true },
	[D_ESCAPE] = { "escape_char", false },
	[D_MAILBOXES] = { "mailboxes", false },
	[D_DIRS] = { "dirs", false },
	[D_UNSUBSCRIBES] = { "unsubscribes", false },
};
static const struct column columns_b[] = {
	[B_MAILBOX] = { "mailbox_guid", true },
	[B_UIDVALIDITY] = { "uid_validity", true },
	[B_UIDNEXT] = { "uid_next", true },
	[B_MESSAGES] = { "messages_count", true },
	[B_FIRST_RECENT] = { "first_recent_uid", true },
	[B_MODSEQ] = { "highest_modseq", true },
	[B_PVT_MODSEQ] = { "highest_pvt_modseq", true },
	[B_LOST] = { "mailbox_lost", false },
	[B_IGNORE] = { "mailbox_ignore", false },
	[B_CACHE_FIELDS] = { "cache_fields", false },
	[B_HAVE_GUIDS] = { "have_guids", false },
	[B_SAVE_GUIDS] = { "have_save_guids", false },
	[B_ONLY_GUID128] = { "have_only_guid128", false },
	[B_DIGEST] = { OWN "digest", false },
	[B_COMMON_UID] = { OWN "common_uid", false },
	[B_COMMON_MODSEQ] = { OWN "common_modseq", false },
};
static const struct column columns_a[] = {
	[A_TYPE] = { "type", true },
	[A_KEY] = { "key", true },
	[A_VALUE] = { "value", false },
	[A_STREAM] = { "stream", false },
	[A_DELETED] = { "deleted", false },
	[A_LAST_CHANGE] = { "last_change", false },
	[A_MODSEQ] = { "modseq", false },
};
static const struct column columns_c[] = {
	[C_TYPE] = { "type", true },
	[C_UID] = { "uid", true },
	[C_GUID] = { "guid", false },
	[C_HDR_HASH] = { "hdr_hash", false },
	[C_MODSEQ] = { "modseq", false },
	[C_PVT_MODSEQ] = { "pvt_modseq", false },
	[C_ADD] = { "add_flags", false },
	[C_REMOVE] = { "remove_flags", false },
	[C_FINAL] = { "final_flags", false },
	[C_KEYWORDS_RESET] = { "keywords_reset", false },
	[C_KEYWORDS] = { "keyword_changes", false },
	[C_RECEIVED] = { "received_timestamp", false },
	[C_VIRTUAL_SIZE] = { "virtual_size", false },
	[C_SAVED_HERE] = { OWN "saved_here", false },
	[C_FETCHED] = { OWN "fetched", false },
	[C_MOVED_TO] = { OWN "moved_to", false },
	[C_ELSEWHERE] = { OWN "elsewhere", false },
	[C_INFORMED] = { OWN "informed_flags", false },
	[C_KW_INFORMED] = { OWN "informed_keywords", false },
};
static const struct column columns_r[] = {
	[R_GUID] = { "guid", false },
	[R_UID] = { "uid", false },
};
static const struct column columns_m[] = {
	[M_GUID] = { "guid", false },
	[M_UID] = { "uid", false },
	[M_POP3_UIDL] = { "pop3_uidl", false },
	[M_POP3_ORDER] = { "pop3_order", false },
	[M_RECEIVED] = { "received_date", false },
	[M_SAVED] = { "saved_date", false },
	[M_STREAM] = { "stream", false },
	[M_SEEN_BY_CLIENT] = { OWN "seen_by_client", false },
};
static const struct column columns_f[] = {
	[F_ERROR] = { "error", false },
	[F_MAIL_ERROR] = { "mail_error", false },
	[F_FULL_RESYNC] = { "require_full_resync", false },
	[F_COUNTS] = { OWN "counts", false },
};
/* Index caches of Dovecot; the header line is needed, the rows are not. */
static const struct column columns_cache[] = {
	{ "name", true },
	{ "decision", true },
	{ "last_used", false },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TYPE(l, minor, long_line, c)                                           \
	{                                                                      \
		l, minor, long_line, c, COUNT(c)                               \
	}

const struct record_type record_types[RECORDS] = {
	[REC_H] = TYPE('H', 0, false, columns_h),
	[REC_S] = TYPE('S', 0, false, columns_s),
	[REC_N] = TYPE('N', 0, false, columns_n),
	[REC_D] = TYPE('D', 0, true, columns_d),
	[REC_B] = TYPE('B', 0, true, columns_b),
	[REC_A] = TYPE('A', 1, false, columns_a),
	[REC_C] = TYPE('C', 0, false, columns_c),
	[REC_R] = TYPE('R', 0, false, columns_r),
	[REC_M] = TYPE('M', 0, false, columns_m),
	[REC_F] = TYPE('F', 3, false, columns_f),
	[REC_CACHE] = TYPE('c', 0, false, columns_cache),
};

enum record
record_of(char letter)
{
	unsigned r = 0;

	while (r < RECORDS && record_types[r].letter != letter)
		r++;
	return ((enum record)r);
}

bool
column_is_own(const struct column *c)
{
	return (strncmp(c->key, OWN, sizeof(OWN) - 1) == 0);
}

void
columns_put_opening(struct buf *out, bool plain)
{
	buf_printf(out, "VERSION\tdsync\t3\t5\n");
	for (unsigned r = 0; r < RECORDS; r++) {
		const struct record_type *t = &record_types[r];

		for (unsigned i = 0; i < t->columns; i++)
			if (!plain || !column_is_own(&t->column[i]))
				buf_printf(out, "%c%s",
				    i == 0 ? t->letter : '\t',
				    t->column[i].key);
		buf_printf(out, "\n");
	}
	buf_printf(out, ".\n");
}

static int
find_column(const struct codec *k, const struct record_type *t, const char *key)
{
	for (unsigned i = 0; i < t->columns; i++)
		if (strcmp(t->column[i].key, key) == 0)
			return (k->plain && column_is_own(&t->column[i])
				? -1
				: (int)i);
	return (-1);
}

int
columns_take_header(struct codec *k, char *line, size_t n)
{
	enum record r = n == 0 ? RECORDS : record_of(line[0]);
	struct header *h;
	char *key, *end = line + n, *tab;
	int column;

	if (r == RECORDS)
		return (0);
	h = &k->header[r];
	memset(h, 0, sizeof(*h));
	h->seen = true;
	for (key = line + 1; key <= end; key = tab + 1) {
		tab = memchr(key, '\t', (size_t)(end - key));
		if (tab == NULL)
			tab = end;
		*tab = '\0';
		if (h->n == PEER_COLUMNS_MAX) {
			log_error("%s: breaks the protocol: record %c has more "
				  "than %d columns",
			    k->peer, line[0], PEER_COLUMNS_MAX);
			return (-EBADMSG);
		}
		column = find_column(k, &record_types[r], key);
		/* of two columns with one key the first counts */
		if (column >= 0 && h->shown[column])
			column = -1;
		else if (column >= 0)
			h->shown[column] = true;
		h->map[h->n++] = (int8_t)column;
	}
	return (0);
}

int
columns_check(const struct codec *k)
{
	for (unsigned r = 0; r < RECORDS; r++) {
		const struct record_type *t = &record_types[r];
		const struct header *h = &k->header[r];

		if (!h->seen && k->minor >= t->min_minor) {
			log_error("%s: breaks the protocol: its opening has no "
				  "line for record %c",
			    k->peer, t->letter);
			return (-EBADMSG);
		}
		for (unsigned i = 0; h->seen && i < t->columns; i++) {
			if (!t->column[i].required || h->shown[i])
				continue;
			log_error("%s: breaks the protocol: record %c has no "
				  "column %s",
			    k->peer, t->letter, t->column[i].key);
			return (-EBADMSG);
		}
	}
	return (0);
}
