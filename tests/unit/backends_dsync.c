/*
 * backends_dsync -- records of the dsync channel: both ways, and as Dovecot
 * wrote them.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check_main.h"
#include "lib/dsync_help.h"
#include "lib/item_text.h"
#include "lib/store_make.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct guid GUID = { { 0xc7, 0xdb, 0xa0, 0x16, 0xba, 0xb9, 0x04,
    0x6b, 0x4d, 0x7f, 0x00, 0x00, 0x83, 0xec, 0xc3, 0x75 } };
static const struct guid ONES = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
/* everything that has to be escaped, and what looks like it */
static const char ODD[] = "\x02\x01\t\r\nx\x02\x01"
			  "1 \\ \xff\xc3\xa4";

/* ---- there and back ---- */

typedef void fill_fn(struct item *i);

static void
handshake_nothing(struct item *i)
{
	i->u.handshake.hostname = "vm";
	i->u.handshake.minor = 5;
}

static void
handshake_all(struct item *i)
{
	static const char *const one[] = { ODD }, *const two[] = { "a", ODD };
	struct item_handshake *h = &i->u.handshake;

	*h = (struct item_handshake){ .hostname = ODD,
		.mailbox = one,
		.mailboxes = 1,
		.exclude = two,
		.excludes = 2,
		.mailbox_guid = GUID,
		.type = SYNC_STATE,
		.debug = true,
		.send_mail_requests = true,
		.backup_send = true,
		.backup_recv = true,
		.no_mail_sync = true,
		.no_backup_overwrite = true,
		.lock_timeout = UINT32_MAX,
		.since = INT64_MAX,
		.until = 1,
		.max_size = UINT64_MAX,
		.flag = "-\\Seen",
		.hashed_headers = two,
		.n_hashed_headers = 2,
		.alt_char = '\t',
		.empty_hdr_workaround = true,
		.minor = 5,
		.has_replica = true,
		.replica = ONES,
		.dry_run = true,
		.own_state = true,
		.stay = true,
		.max_delete_percent = 100,
		.max_delete_min = UINT32_MAX };
}

static void
handshake_many(struct item *i)
{
	static const char *const three[] = { "INBOX", "A/*", "\\Trash" };

	handshake_nothing(i);
	i->u.handshake.mailbox = three;
	i->u.handshake.mailboxes = 3;
	i->u.handshake.type = SYNC_FULL;
	i->u.handshake.has_replica = true;
}

static void
state_least(struct item *i)
{
	i->u.state.mailbox = GUID;
}

static void
state_most(struct item *i)
{
	i->u.state = (struct item_state){ .mailbox = ONES,
		.last_uidvalidity = UINT32_MAX,
		.last_common_uid = UINT32_MAX,
		.last_messages_count = UINT32_MAX,
		.last_common_modseq = UINT64_MAX,
		.last_common_pvt_modseq = UINT64_MAX,
		.changes_during_sync = true,
		.end_modseq = UINT64_MAX,
		.token = GUID };
}

static void
node_least(struct item *i)
{
	i->u.node.name = "a";
	i->u.node.existence = PLACEHOLDER;
}

static void
node_most(struct item *i)
{
	i->u.node =
	    (struct item_node){ .name = "INBOX/\x02Entw\xc3\xbcrfe\tx/\x01/ ",
		    .existence = EXISTS,
		    .mailbox = GUID,
		    .uidvalidity = UINT32_MAX,
		    .uidnext = UINT32_MAX,
		    .renamed = INT64_MAX,
		    .subscribed = true,
		    .subscription_changed = -INT64_MAX };
}

static void
node_deleted(struct item *i)
{
	i->u.node = (struct item_node){ .name = "x",
		.existence = DELETED,
		.renamed = -7,
		.subscription_changed = 5 };
}

/* no canonical name, but passed on as it is: others repair it */
static void
node_with_empty_levels(struct item *i)
{
	i->u.node = (struct item_node){ .name = "/a//", .existence = EXISTS };
}

static void
deletes_least(struct item *i)
{
	i->u.deletes.sep = '.';
}

static void
deletes_most(struct item *i)
{
	static const struct item_delete d[] = { { GUID, 0 }, { ONES, -1 },
		{ GUID, INT64_MAX } };

	i->u.deletes = (struct item_deletes){ .sep = '\t',
		.escape = '\x02',
		.mailbox = d,
		.mailboxes = 3,
		.dir = d,
		.dirs = 1,
		.unsubscribe = d + 1,
		.unsubscribes = 2 };
}

static void
deletes_one_list(struct item *i)
{
	static const struct item_delete d = { ONES, 12345 };

	i->u.deletes = (struct item_deletes){
		.sep = '/', .escape = '%', .unsubscribe = &d, .unsubscribes = 1
	};
}

static void
mailbox_lost(struct item *i)
{
	i->u.mailbox.mailbox = GUID;
	i->u.mailbox.lost = true;
}

static void
mailbox_most(struct item *i)
{
	i->u.mailbox = (struct item_mailbox){ .mailbox = GUID,
		.ignore = true,
		.have_guids = true,
		.have_save_guids = true,
		.have_only_guid128 = true,
		.uidvalidity = UINT32_MAX,
		.uidnext = UINT32_MAX,
		.messages = UINT32_MAX,
		.first_recent = UINT32_MAX,
		.highestmodseq = UINT64_MAX,
		.highest_pvt_modseq = UINT64_MAX,
		.has_digest = true,
		.common_uid = UINT32_MAX,
		.common_modseq = UINT64_MAX };
	memset(i->u.mailbox.digest, 0xab, sizeof(i->u.mailbox.digest));
}

static void
mailbox_zero_digest(struct item *i)
{
	i->u.mailbox.mailbox = ONES;
	i->u.mailbox.have_guids = true;
	i->u.mailbox.has_digest = true;
}

static void
attribute_value(struct item *i)
{
	i->u.attribute = (struct item_attribute){ .type = 's',
		.key = "vendor/x",
		.value = ODD,
		.last_change = INT64_MAX,
		.modseq = UINT64_MAX };
}

static void
attribute_deleted(struct item *i)
{
	i->u.attribute =
	    (struct item_attribute){ .type = 'p', .key = "", .deleted = true };
}

static void
change_expunge(struct item *i)
{
	i->u.change.kind = CHANGE_EXPUNGE;
	i->u.change.uid = 1;
}

static void
change_expunge_known(struct item *i)
{
	i->u.change.kind = CHANGE_EXPUNGE;
	i->u.change.uid = UINT32_MAX;
	i->u.change.guid = "9b4c4e1ccbd846b52cd422d1420835ef";
	i->u.change.saved_here = true;
	i->u.change.fetched = true;
	i->u.change.moved_to = UINT32_MAX;
	i->u.change.elsewhere = true;
}

static void
change_most(struct item *i)
{
	static const char *const set[] = { "$Forwarded", "a", "b", "z" };
	static const char *const gone[] = { "c", "n" };

	i->u.change = (struct item_change){ .kind = CHANGE_SAVE,
		.uid = 7,
		.guid = ODD,
		.hdr_hash = "",
		.modseq = UINT64_MAX,
		.pvt_modseq = UINT64_MAX,
		.add = 0xff,
		.remove = 0x80,
		.final = 0xff,
		.informed = 0xff,
		.kw_informed = { set, 2 },
		.keywords_reset = true,
		.kw_add = { set, 3 },
		.kw_remove = { gone, 2 },
		.kw_final = { set + 1, 3 },
		.received = INT64_MAX,
		.virtual_size = UINT64_MAX,
		.saved_here = true };
}

static void
change_flags(struct item *i)
{
	i->u.change = (struct item_change){ .kind = CHANGE_FLAGS,
		.uid = 2,
		.guid = "",
		.hdr_hash = "68b329da9893e34099c7d8ad5cb9c940",
		.final = 0x28,
		.virtual_size = 1 };
}

static void
request_guid(struct item *i)
{
	i->u.request.guid = ODD;
	i->u.request.uid = UINT32_MAX;
}

static void
request_uid(struct item *i)
{
	i->u.request.uid = 1;
}

static void
mail_gone(struct item *i)
{
	i->u.mail.guid = "g";
}

static void
mail_most(struct item *i)
{
	i->u.mail = (struct item_mail){ .guid = ODD,
		.uid = UINT32_MAX,
		.pop3_uidl = ODD,
		.pop3_order = UINT32_MAX,
		.received = INT64_MAX,
		.saved = -1,
		.seen_by_client = true };
	ck_assert_int_eq(stream_from_memory("x", 1, &i->u.mail.body), 0);
}

static void
mail_by_uid(struct item *i)
{
	i->u.mail.guid = "";
	i->u.mail.uid = 1;
	i->u.mail.received = -INT64_MAX;
}

static void
finish_well(struct item *i)
{
	i->u.finish.require_full_resync = false;
}

static void
finish_badly(struct item *i)
{
	i->u.finish.error = ODD;
	i->u.finish.mail_error = INT32_MIN;
	i->u.finish.require_full_resync = true;
}

static void
finish_without_words(struct item *i)
{
	i->u.finish.error = "";
}

static void
nothing(struct item *i)
{
	(void)i;
}

static const struct {
	enum item_type type;
	fill_fn *fill;
} samples[] = {
	{ ITEM_HANDSHAKE, handshake_nothing },
	{ ITEM_HANDSHAKE, handshake_all },
	{ ITEM_HANDSHAKE, handshake_many },
	{ ITEM_STATE, state_least },
	{ ITEM_STATE, state_most },
	{ ITEM_NODE, node_least },
	{ ITEM_NODE, node_most },
	{ ITEM_NODE, node_deleted },
	{ ITEM_DELETES, deletes_least },
	{ ITEM_DELETES, deletes_most },
	{ ITEM_DELETES, deletes_one_list },
	{ ITEM_MAILBOX, mailbox_lost },
	{ ITEM_MAILBOX, mailbox_most },
	{ ITEM_MAILBOX, mailbox_zero_digest },
	{ ITEM_ATTRIBUTE, attribute_value },
	{ ITEM_ATTRIBUTE, attribute_deleted },
	{ ITEM_CHANGE, change_expunge },
	{ ITEM_CHANGE, change_expunge_known },
	{ ITEM_CHANGE, change_most },
	{ ITEM_CHANGE, change_flags },
	{ ITEM_REQUEST, request_guid },
	{ ITEM_REQUEST, request_uid },
	{ ITEM_MAIL, mail_gone },
	{ ITEM_MAIL, mail_most },
	{ ITEM_MAIL, mail_by_uid },
	{ ITEM_FINISH, finish_well },
	{ ITEM_FINISH, finish_badly },
	{ ITEM_FINISH, finish_without_words },
	{ ITEM_NODE, node_with_empty_levels },
	{ ITEM_END, nothing },
	{ ITEM_ABORT, nothing },
};

static const struct link_mem_rules rules[] = {
	{ 0, 0, 0, false },
	{ 1, 0, 0, false },
	{ 1, 1, 7, false },
	{ 100, 64, 3, false },
	{ 0, 5000, 11, false },
};

static struct item *
sample(size_t s)
{
	struct item *i = item_make(samples[s].type);

	samples[s].fill(i);
	return (i);
}

START_TEST(every_item_arrives_as_it_was_sent)
{
	struct buf want = BUF_INIT, got = BUF_INIT;
	struct talk t;

	talk_begin(&t, &rules[_i], NULL, NULL);
	for (size_t s = 0; s < LENGTH(samples); s++) {
		struct item *i = sample(s);

		buf_reset(&want);
		buf_reset(&got);
		item_text(i, &want);
		i = talk_pass(&t, i);
		item_text(i, &got);
		ck_assert_str_eq(buf_cstr(&got), buf_cstr(&want));
		item_free(i);
	}
	talk_end(&t);
	buf_fini(&want);
	buf_fini(&got);
}
END_TEST

/* What a Dovecot does not know is neither said to nor heard from one. */
static void
forget_own(struct item *i)
{
	struct item_handshake *h = &i->u.handshake;
	struct item_mailbox *b = &i->u.mailbox;

	if (i->type == ITEM_HANDSHAKE) {
		h->has_replica = false;
		h->replica = (struct guid){ { 0 } };
		h->max_delete_percent = h->max_delete_min = 0;
	} else if (i->type == ITEM_NODE && i->u.node.renamed < 0) {
		i->u.node.renamed = 0;
	} else if (i->type == ITEM_STATE) {
		i->u.state.end_modseq = 0;
		i->u.state.token = (struct guid){ { 0 } };
	} else if (i->type == ITEM_MAILBOX) {
		b->has_digest = false;
		memset(b->digest, 0, sizeof(b->digest));
		b->common_uid = 0;
		b->common_modseq = 0;
	} else if (i->type == ITEM_CHANGE) {
		i->u.change.saved_here = false;
		i->u.change.fetched = i->u.change.elsewhere = false;
		i->u.change.moved_to = 0;
		i->u.change.informed = 0;
		i->u.change.kw_informed.n = 0;
	} else if (i->type == ITEM_MAIL) {
		i->u.mail.seen_by_client = false;
	}
}

START_TEST(own_columns_stay_empty_where_one_side_lacks_them)
{
	const struct channel_dsync_options plain = { .plain = true };
	struct buf want = BUF_INIT, got = BUF_INIT;
	struct talk t;

	talk_begin(&t, NULL, _i == 1 ? NULL : &plain, _i == 0 ? NULL : &plain);
	for (size_t s = 0; s < LENGTH(samples); s++) {
		struct item *i = sample(s);

		if (i->type == ITEM_HANDSHAKE) {
			i->u.handshake.dry_run = i->u.handshake.own_state =
			    i->u.handshake.stay = false;
			if (i->u.handshake.mailboxes > 1)
				i->u.handshake.mailboxes = 1;
		}
		i = talk_pass(&t, i);
		item_text(i, &got);
		item_free(i);
		i = sample(s);
		forget_own(i);
		if (i->type == ITEM_HANDSHAKE) {
			i->u.handshake.dry_run = i->u.handshake.own_state =
			    i->u.handshake.stay = false;
			if (i->u.handshake.mailboxes > 1)
				i->u.handshake.mailboxes = 1;
		}
		item_text(i, &want);
		item_free(i);
	}
	ck_assert_str_eq(buf_cstr(&got), buf_cstr(&want));
	talk_end(&t);
	buf_fini(&want);
	buf_fini(&got);
}
END_TEST

static unsigned
count_tabs(const char *line)
{
	unsigned n = 0;

	for (; *line != '\n' && *line != '\0'; line++)
		n += *line == '\t';
	return (n);
}

START_TEST(dovecot_is_told_no_column_that_it_lacks)
{
	struct item *i = sample((size_t)_i), *none;
	char start[3] = { '\n', (char)i->type, '\0' };
	const char *header = strstr(dovecot_opening, start);
	struct alone a;

	if (i->type == ITEM_HANDSHAKE) {
		i->u.handshake.dry_run = i->u.handshake.own_state =
		    i->u.handshake.stay = false;
		i->u.handshake.mailboxes = 0;
	}
	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &none), -EAGAIN);
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	ck_assert_uint_gt(strlen(alone_said(&a)), 1);
	if (header != NULL)
		ck_assert_uint_le(
		    count_tabs(alone_said(&a)), count_tabs(header + 1));
	alone_end(&a);
}
END_TEST

START_TEST(what_cannot_be_said_to_a_dovecot_is_refused)
{
	struct item *i = sample(_i == 0 ? 1 : 2);
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EOPNOTSUPP);
	ck_assert(strstr(make_said,
		      _i == 0 ? "dry run" : "run once for each") != NULL);
	ck_assert_str_eq(alone_said(&a), "");
	ck_assert_int_eq(a.c->ops->send(a.c, item_make(ITEM_END)), -EOPNOTSUPP);
	alone_end(&a);
}
END_TEST

/* ---- the wire ---- */

START_TEST(nothing_but_the_opening_goes_out_before_the_peers_has_come)
{
	struct item *i = item_make(ITEM_HANDSHAKE);
	struct alone a;

	handshake_nothing(i);
	alone_begin(&a, NULL);
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	ck_assert_str_eq(alone_said(&a), "");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EAGAIN);
	ck_assert(strncmp(alone_said(&a), "Hvm\t\x02\t", 6) == 0);
	alone_end(&a);
}
END_TEST

START_TEST(opening_has_dovecots_columns_in_its_order)
{
	const struct channel_dsync_options plain = { .plain = true };
	const char *p = dovecot_opening, *lf;
	struct alone a;
	struct buf b = BUF_INIT;
	size_t n, len;
	const char *got;

	alone_begin(&a, &plain);
	got = (const char *)link_mem_written(a.l, &n);
	ck_assert_uint_eq(n, strlen(dovecot_opening));
	ck_assert(memcmp(got, dovecot_opening, n) == 0);
	alone_end(&a);
	/* Own columns stand behind them. */
	alone_begin(&a, NULL);
	got = (const char *)link_mem_written(a.l, &n);
	buf_put(&b, got, n);
	got = buf_cstr(&b);
	for (; *p != '\0'; p = lf + 1) {
		lf = strchr(p, '\n');
		len = (size_t)(lf - p);
		ck_assert(strncmp(got, p, len) == 0);
		ck_assert(got[len] == '\n' ||
		    strncmp(got + len, "\tdsyncfs_", 9) == 0);
		got = strchr(got, '\n') + 1;
	}
	ck_assert_str_eq(got, "");
	buf_fini(&b);
	alone_end(&a);
}
END_TEST

START_TEST(columns_come_in_the_peers_order)
{
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears_opening_without(&a, 'C');
	alone_end(&a);
	alone_begin(&a, NULL);
	alone_hears(&a,
	    "VERSION\tdsync\t3\t9\r\n"
	    "Hwhatever\thostname\tsync_type\n"
	    "Zunknown\n"
	    "Smailbox_guid\tlast_uidvalidity\tlast_common_uid\t"
	    "last_common_modseq\tlast_common_pvt_modseq\n"
	    "Nname\texistence\n"
	    "Dhierarchy_sep\n"
	    "Bmailbox_guid\tuid_validity\tuid_next\tmessages_count\t"
	    "first_recent_uid\thighest_modseq\thighest_pvt_modseq\n"
	    "Akey\ttype\n"
	    "Cfinal_flags\tuid\tnonsense\tguid\ttype\tuid\n"
	    "R\n"
	    "Mguid\n"
	    "F\n"
	    "cname\tdecision\n"
	    ".\r\n"
	    "Hx\tvm\tf\r\n"
	    "C28\t7\tonly \x01 this is passed over\tg\ts\t9\ta\tb\tc\n"
	    "Ca\t4294967295\t\x02\t\x02\te\n"
	    "F\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_str_eq(i->u.handshake.hostname, "vm");
	ck_assert_int_eq(i->u.handshake.type, SYNC_FULL);
	ck_assert_uint_eq(i->u.handshake.minor, 9);
	ck_assert(!i->u.handshake.has_replica);
	item_free(i);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_int_eq(i->u.change.kind, CHANGE_SAVE);
	ck_assert_uint_eq(i->u.change.uid, 7);
	ck_assert_str_eq(i->u.change.guid, "g");
	ck_assert_uint_eq(i->u.change.final, 0x28);
	item_free(i);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_int_eq(i->u.change.kind, CHANGE_EXPUNGE);
	ck_assert_uint_eq(i->u.change.uid, UINT32_MAX);
	ck_assert_ptr_null(i->u.change.guid);
	item_free(i);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_int_eq(i->type, ITEM_FINISH);
	ck_assert_ptr_null(i->u.finish.error);
	item_free(i);
	alone_end(&a);
}
END_TEST

START_TEST(old_peers_need_fewer_header_lines)
{
	/* minor, letter left out, does it open */
	static const struct {
		const char *version;
		char letter;
		int rc;
	} gates[] = {
		{ "VERSION\tdsync\t3\t0\n", 'A', -EAGAIN },
		{ "VERSION\tdsync\t3\t1\n", 'A', -EBADMSG },
		{ "VERSION\tdsync\t3\t2\n", 'F', -EAGAIN },
		{ "VERSION\tdsync\t3\t3\n", 'F', -EBADMSG },
		{ "VERSION\tdsync\t3\t0\n", 'c', -EBADMSG },
		{ "VERSION\tdsync\t3\t0\n", 'H', -EBADMSG },
	};
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, gates[_i].version);
	for (const char *p = strchr(dovecot_opening, '\n') + 1; *p != '\0';
	     p = strchr(p, '\n') + 1)
		if (*p != gates[_i].letter)
			link_mem_put(a.peer, p, strcspn(p, "\n") + 1);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), gates[_i].rc);
	alone_end(&a);
}
END_TEST

START_TEST(save_guids_follow_from_guids_in_old_peers)
{
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(
	    &a, _i == 0 ? "VERSION\tdsync\t3\t1\n" : "VERSION\tdsync\t3\t2\n");
	alone_hears(&a, strchr(dovecot_opening, '\n') + 1);
	alone_hears(&a,
	    "Bc7dba016bab9046b4d7f000083ecc375\t1\t1\t0\t1\t1\t0\t\x02\t\x02\t"
	    "\t\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert(i->u.mailbox.have_guids);
	ck_assert_int_eq(i->u.mailbox.have_save_guids, _i == 0);
	item_free(i);
	alone_end(&a);
}
END_TEST

START_TEST(rows_are_what_dovecot_would_write)
{
	static const char *const want[] = {
		"Hvm\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
		"\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
		"\x02\t\x02\t\n",
		"Sc7dba016bab9046b4d7f000083ecc375\t0\t0\t0\t0\t0\n",
		"Na\tn\n",
		"D.\n",
		"Bc7dba016bab9046b4d7f000083ecc375\t0\t0\t0\t0\t0\t0\t\t\x02\t"
		"\n",
		"Ce\t1\n",
		"R\x02\t1\n",
		"Mg\t\x02\t\n",
		"F\n",
		".\n",
		"X\n",
	};
	static const size_t which[] = { 0, 3, 5, 8, 11, 16, 21, 22, 25, 29,
		30 };
	struct buf all = BUF_INIT;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	for (size_t k = 0; k < LENGTH(want); k++) {
		struct item *i = sample(which[k]), *none;

		ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
		ck_assert_int_eq(a.c->ops->recv(a.c, &none), -EAGAIN);
		buf_put(&all, want[k], strlen(want[k]));
	}
	ck_assert_str_eq(alone_said(&a), buf_cstr(&all));
	buf_fini(&all);
	alone_end(&a);
}
END_TEST

/* A mail without a GUID would end a Dovecot, as a row without one. */
START_TEST(guid_columns_are_never_null_where_dovecot_needs_them)
{
	struct item *i = item_make(ITEM_MAIL), *none;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &none), -EAGAIN);
	i->u.mail.uid = 3;
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	i = item_make(ITEM_CHANGE);
	i->u.change.kind = CHANGE_SAVE;
	i->u.change.uid = 3;
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	ck_assert_str_eq(alone_said(&a), "M\t3\t\nCs\t3\t\n");
	alone_end(&a);
}
END_TEST

/*
 * Dovecot's own list ends with an empty name, by which the Dovecot that reads
 * it hashes header lines without a colon, too, while the one that wrote it does
 * not.
 */
START_TEST(a_list_of_headers_ends_with_its_last_name)
{
	static const char *const names[] = { "Date", "Message-ID" };
	struct item *i = item_make(ITEM_HANDSHAKE), *none;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	ck_assert_int_eq(a.c->ops->recv(a.c, &none), -EAGAIN);
	i->u.handshake.hostname = "vm";
	i->u.handshake.hashed_headers = names;
	i->u.handshake.n_hashed_headers = 2;
	ck_assert_int_eq(a.c->ops->send(a.c, i), 0);
	ck_assert_ptr_nonnull(
	    strstr(alone_said(&a), "\tDate\x01tMessage-ID\n"));
	alone_end(&a);
}
END_TEST

START_TEST(slash_within_a_level_is_no_separator)
{
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a,
	    "NINBOX\x01ta/b\x01tc\x01"
	    "1td\ty\nNa\x01t\x01tb\tn\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_str_eq(i->u.node.name,
	    "INBOX/a\x01"
	    "b/c\td");
	item_free(i);
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_str_eq(i->u.node.name, "a//b");
	item_free(i);
	alone_end(&a);
}
END_TEST

START_TEST(keywords_that_cannot_be_are_left_out)
{
	struct item *i;
	struct alone a;

	alone_begin(&a, NULL);
	alone_hears(&a, dovecot_opening);
	alone_hears(&a,
	    "Cs\t1\tg\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t\x02\t"
	    "=ok\x01t=a b\x01t&\\Seen\x01t+\x01t-x\x01t=\x01"
	    "1nl\n");
	ck_assert_int_eq(a.c->ops->recv(a.c, &i), 0);
	ck_assert_uint_eq(i->u.change.kw_final.n, 1);
	ck_assert_str_eq(i->u.change.kw_final.name[0], "ok");
	ck_assert_uint_eq(i->u.change.kw_add.n, 0);
	ck_assert_uint_eq(i->u.change.kw_remove.n, 1);
	item_free(i);
	alone_end(&a);
}
END_TEST

/* ---- long lines ---- */

START_TEST(long_lists_of_deletions_are_taken_whole)
{
	struct item *i = item_make(ITEM_DELETES);
	struct item_delete *d;
	struct talk t;
	size_t n = 100000;

	d = arena_zalloc(&i->arena, n * sizeof(*d));
	for (size_t k = 0; k < n; k++) {
		memcpy(d[k].id.b, &k, sizeof(k));
		d[k].time = (int64_t)k * 1000;
	}
	i->u.deletes = (struct item_deletes){
		.sep = '/', .mailbox = d, .mailboxes = n, .dir = d, .dirs = n
	};
	talk_begin(&t, NULL, NULL, NULL);
	i = talk_pass(&t, i);
	ck_assert_uint_eq(i->u.deletes.mailboxes, n);
	ck_assert_uint_eq(i->u.deletes.dirs, n);
	ck_assert_uint_eq(i->u.deletes.unsubscribes, 0);
	for (size_t k = 0; k < n; k++) {
		ck_assert_int_eq(
		    memcmp(i->u.deletes.dir[k].id.b, &k, sizeof(k)), 0);
		ck_assert_int_eq(i->u.deletes.dir[k].time, (int64_t)k * 1000);
	}
	item_free(i);
	talk_end(&t);
}
END_TEST

/* ---- what Dovecot wrote ---- */

#define CAPTURES "tests/data/dsync-wire"
#define MANY_CAPTURES 200

static char *captures[MANY_CAPTURES];
static int n_captures;

static int
by_name(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

/* Before any test runs, so that there is one for each. */
static void
find_captures(void)
{
	DIR *d = opendir(CAPTURES);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot != NULL && n_captures < MANY_CAPTURES &&
		    (strcmp(dot, ".m2s") == 0 || strcmp(dot, ".s2m") == 0) &&
		    asprintf(&captures[n_captures], "%s/%s", CAPTURES,
			e->d_name) > 0)
			n_captures++;
	}
	if (d != NULL)
		(void)closedir(d);
	if (n_captures > 1)
		qsort(
		    captures, (size_t)n_captures, sizeof(captures[0]), by_name);
}

START_TEST(captures_are_there)
{
	ck_assert_int_gt(n_captures, 90);
}
END_TEST

/*
 * Of the one capture over TCP: the packets of doveadm-server taken apart, and
 * what stands before the dsync stream taken away.
 */
static void
unpack_tcp(const char *path, struct buf *b)
{
	static const char version[] = "VERSION\tdsync\t";
	struct buf plain = BUF_INIT;
	const uint8_t *p, *end, *start;
	uint32_t n;

	if (strstr(path, "tcp-doveadm-server") == NULL)
		return;
	p = b->data;
	end = b->data + b->len;
	if (strstr(path, ".s2m") != NULL) {
		p = memmem(b->data, b->len, "\n+\n", 3);
		ck_assert_ptr_nonnull(p);
		for (p += 3; end - p >= 5; p += 5 + n) {
			n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
			    (uint32_t)p[3] << 8 | p[4];
			ck_assert_uint_le(n, (size_t)(end - p - 5));
			if (p[0] == 0)
				buf_put(&plain, p + 5, n);
		}
	} else {
		buf_put(&plain, p, b->len);
	}
	start = memmem(plain.data, plain.len, version, sizeof(version) - 1);
	ck_assert_ptr_nonnull(start);
	buf_reset(b);
	buf_put(b, start, (size_t)(plain.data + plain.len - start));
	buf_fini(&plain);
}

/* An item's body as a stream of its own, so that the next can be taken. */
static void
settle_body(struct alone *a, struct item *i)
{
	struct stream **s = i->type == ITEM_MAIL ? &i->u.mail.body
	    : i->type == ITEM_ATTRIBUTE          ? &i->u.attribute.stream
						 : NULL;
	struct item *none;
	struct buf b = BUF_INIT;
	ssize_t n;

	if (s == NULL || *s == NULL)
		return;
	ck_assert_int_eq(a->c->ops->recv(a->c, &none), -EAGAIN);
	do {
		ck_assert_int_eq(buf_reserve(&b, 77), 0);
		n = stream_read(*s, b.data + b.len, 77);
		ck_assert_int_ge(n, 0);
		b.len += (size_t)n;
	} while (n > 0);
	stream_close(*s);
	ck_assert_int_eq(stream_from_memory(b.data, b.len, s), 0);
	buf_fini(&b);
}

static const char *
next_line(const char **p, size_t *n)
{
	const char *line = *p;

	*n = strcspn(line, "\n");
	*p = line[*n] == '\n' ? line + *n + 1 : line + *n;
	return (line);
}

static int
by_keyword(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return (strcmp(*x + 1, *y + 1));
}

/* A set, which Dovecot writes in the order of its index. */
static void
put_sorted(struct buf *b, const char *list, size_t n)
{
	char copy[512], *word[32], *sep;
	size_t words = 0;

	ck_assert_uint_lt(n, sizeof(copy));
	memcpy(copy, list, n);
	copy[n] = '\0';
	for (char *p = copy; p != NULL; p = sep == NULL ? NULL : sep + 2) {
		ck_assert_uint_lt(words, LENGTH(word));
		word[words++] = p;
		sep = strstr(p, "\x01t");
		if (sep != NULL)
			*sep = '\0';
	}
	qsort(word, words, sizeof(word[0]), by_keyword);
	for (size_t i = 0; i < words; i++)
		buf_printf(b, "%s%s", i == 0 ? "" : "\x01t", word[i]);
}

/*
 * The line without what we do not keep: what Dovecot caches, the order of
 * keywords, and the one column of a handshake that it has no longer itself.
 */
static void
put_line(struct buf *b, const char *line, size_t n, bool old)
{
	const char *end = line + n, *p = line, *tab;

	for (int column = 0; p <= end; column++, p = tab + 1) {
		tab = memchr(p, '\t', (size_t)(end - p));
		if (tab == NULL)
			tab = end;
		if (old && *line == 'H' && column == 22)
			continue;
		if (column > 0)
			buf_put_u8(b, '\t');
		if (*line == 'C' && column == 10)
			put_sorted(b, p, (size_t)(tab - p));
		else if (*line != 'B' || column != 9)
			buf_put(b, p, (size_t)(tab - p));
	}
	buf_put_u8(b, '\n');
}

static void
compare_rows(const char *path, const char *want, const char *got, bool old)
{
	struct buf w = BUF_INIT, g = BUF_INIT;
	const char *wl, *gl;
	size_t wn, gn;

	while (*want != '\0') {
		wl = next_line(&want, &wn);
		gl = next_line(&got, &gn);
		buf_reset(&w);
		buf_reset(&g);
		put_line(&w, wl, wn, old);
		put_line(&g, gl, gn, false);
		ck_assert_msg(strcmp(buf_cstr(&w), buf_cstr(&g)) == 0,
		    "%s: %s became %s", path, buf_cstr(&w), buf_cstr(&g));
	}
	ck_assert_str_eq(got, "");
	buf_fini(&w);
	buf_fini(&g);
}

START_TEST(captures_are_understood_and_written_alike)
{
	const char *path = captures[_i];
	struct buf b = BUF_INIT;
	struct alone from, to;
	const char *rows;
	struct item *i;
	int rc;

	file_read(path, &b);
	unpack_tcp(path, &b);
	alone_begin(&from, NULL);
	alone_begin(&to, NULL);
	link_mem_put(from.peer, b.data, b.len);
	link_mem_cut(from.peer, 0);
	alone_hears(&to, dovecot_opening);
	ck_assert_int_eq(to.c->ops->recv(to.c, &i), -EAGAIN);
	while ((rc = from.c->ops->recv(from.c, &i)) == 0) {
		settle_body(&from, i);
		ck_assert_int_eq(to.c->ops->send(to.c, i), 0);
	}
	ck_assert_int_eq(rc, -EPIPE);
	rows = strstr(buf_cstr(&b), "\n.\n");
	ck_assert_ptr_nonnull(rows);
	compare_rows(path, rows + 3, alone_said(&to),
	    strstr(buf_cstr(&b), "\timport_commit_msgs_interval\t") != NULL);
	alone_end(&from);
	alone_end(&to);
	buf_fini(&b);
}
END_TEST

START_TEST(capture_cut_anywhere_ends_in_order)
{
	const char *path = captures[_i];
	struct buf b = BUF_INIT;
	struct item *i;
	int rc;

	file_read(path, &b);
	unpack_tcp(path, &b);
	for (size_t cut = 0; cut <= b.len; cut++) {
		struct alone a;

		alone_begin(&a, NULL);
		link_mem_put(a.peer, b.data, cut);
		link_mem_cut(a.peer, 0);
		while ((rc = a.c->ops->recv(a.c, &i)) == 0) {
			struct stream *s =
			    i->type == ITEM_MAIL ? i->u.mail.body : NULL;
			char piece[100];
			ssize_t n;

			do
				n = s == NULL
				    ? 0
				    : stream_read(s, piece, sizeof(piece));
			while (n > 0);
			ck_assert(n == 0 || n == -EPIPE);
			item_free(i);
		}
		ck_assert_int_eq(rc, -EPIPE);
		ck_assert_int_eq(a.c->ops->recv(a.c, &i), -EPIPE);
		alone_end(&a);
	}
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_dsync");
	TCase *t = tcase_create("records");

	make_quiet();
	find_captures();
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(
	    t, every_item_arrives_as_it_was_sent, 0, (int)LENGTH(rules));
	tcase_add_loop_test(
	    t, own_columns_stay_empty_where_one_side_lacks_them, 0, 3);
	tcase_add_loop_test(t, dovecot_is_told_no_column_that_it_lacks, 0,
	    (int)LENGTH(samples));
	tcase_add_loop_test(
	    t, what_cannot_be_said_to_a_dovecot_is_refused, 0, 2);
	tcase_add_test(
	    t, nothing_but_the_opening_goes_out_before_the_peers_has_come);
	tcase_add_test(t, opening_has_dovecots_columns_in_its_order);
	tcase_add_test(t, columns_come_in_the_peers_order);
	tcase_add_loop_test(t, old_peers_need_fewer_header_lines, 0, 6);
	tcase_add_loop_test(t, save_guids_follow_from_guids_in_old_peers, 0, 2);
	tcase_add_test(t, rows_are_what_dovecot_would_write);
	tcase_add_test(t, guid_columns_are_never_null_where_dovecot_needs_them);
	tcase_add_test(t, a_list_of_headers_ends_with_its_last_name);
	tcase_add_test(t, slash_within_a_level_is_no_separator);
	tcase_add_test(t, keywords_that_cannot_be_are_left_out);
	tcase_add_test(t, long_lists_of_deletions_are_taken_whole);
	tcase_add_test(t, captures_are_there);
	tcase_add_loop_test(
	    t, captures_are_understood_and_written_alike, 0, n_captures);
	tcase_add_loop_test(
	    t, capture_cut_anywhere_ends_in_order, 0, n_captures);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
