/*
 * store_log -- the change log as text, for people.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

/*
 * Bytes of strangers: nothing that a terminal would act on, no blank that would
 * end the word.
 */
static void
put_word(struct buf *b, const char *s)
{
	if (*s == '\0')
		buf_put(b, "\"\"", 2);
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= 0x20 || c == 0x7f || c == '\\')
			buf_printf(b, "\\x%02x", c);
		else
			buf_put_u8(b, c);
	}
}

static void
put_flag_names(struct buf *b, const char *sign, uint8_t flags,
    const struct node *n, const struct kwset *kw, bool *any)
{
	static const char *const name[] = { "\\Answered", "\\Flagged",
		"\\Deleted", "\\Seen", "\\Draft" };

	for (unsigned i = 0; i < 5; i++) {
		if (!(flags & 1u << i))
			continue;
		buf_printf(b, "%s%s%s", *any ? "," : "", sign, name[i]);
		*any = true;
	}
	for (size_t i = 0; i < kw->len; i++) {
		buf_printf(b, "%s%s", *any ? "," : "", sign);
		if (n != NULL && kw->n[i] < n->keywords &&
		    n->keyword[kw->n[i]] != NULL)
			put_word(b, n->keyword[kw->n[i]]);
		else
			buf_printf(b, "keyword-%" PRIu32, kw->n[i]);
		*any = true;
	}
}

static void
put_flag_change(struct buf *b, const struct record *r, const struct node *n)
{
	bool any = false;

	buf_printf(b, "flags uid=%" PRIu32 " ", r->uid);
	put_flag_names(b, "+", r->add, n, &r->kw_add, &any);
	put_flag_names(b, "-", r->remove, n, &r->kw_remove, &any);
	if (!any)
		buf_printf(b, "modseq");
}

static void
put_save(struct buf *b, const struct record *r, const struct node *n)
{
	const struct msg *m = &r->msg;
	bool any = false;

	buf_printf(b, "save uid=%" PRIu32 " guid=", m->uid);
	put_word(b, m->guid);
	buf_printf(b, " flags=");
	put_flag_names(b, "", m->flags, n, &r->kw, &any);
	buf_printf(b, " size=%" PRIu64 " name=", m->body.size);
	put_word(b, m->name);
}

static void
put_state(struct buf *b, const struct record *r)
{
	buf_printf(b, "set uid=%" PRIu32, r->uid);
	if (r->mask & STATE_STATE)
		buf_printf(b, " in=%s", r->msg.state & MSG_NEW ? "new" : "cur");
	if (r->mask & STATE_NAME) {
		buf_printf(b, " name=");
		put_word(b, r->msg.name);
	}
	if (r->mask & STATE_LETTERS) {
		buf_printf(b, " letters=");
		put_word(b, r->msg.letters);
	}
	if (r->mask & STATE_MTIME)
		buf_printf(b, " mtime=%" PRId64, r->msg.mtime);
	if (r->mask & STATE_RECEIVED)
		buf_printf(b, " received=%" PRId64, r->msg.received);
	if (r->mask & STATE_POP3) {
		buf_printf(b, " pop3-uidl=");
		put_word(b, r->msg.pop3_uidl);
	}
}

static void
put_tree(struct buf *b, const struct record *r)
{
	char hex[GUID_HEX_LEN + 1];
	static const char *const kind[] = { "mailbox", "directory",
		"subscription" };

	switch (r->type) {
	case RECORD_MAILBOX_CREATE:
		buf_printf(b, "create %s", r->on ? "directory=" : "mailbox=");
		put_word(b, r->name);
		if (!r->on)
			buf_printf(b, " guid=%s uidvalidity=%" PRIu32,
			    guid_hex(&r->guid, hex), r->uidvalidity);
		break;
	case RECORD_MAILBOX_RENAME:
		buf_printf(b, "rename to=");
		put_word(b, r->name);
		break;
	case RECORD_MAILBOX_DELETE:
		buf_printf(b, "delete");
		break;
	case RECORD_SUBSCRIBE:
		buf_printf(b, r->on ? "subscribe name=" : "unsubscribe name=");
		put_word(b, r->name);
		break;
	case RECORD_DELETION:
		buf_printf(b, "deletion of=%s name=",
		    kind[r->kind <= DELETED_SUBSCRIPTION ? r->kind : 0]);
		put_word(b, r->name);
		break;
	case RECORD_MAILBOX_UPDATE:
		buf_printf(b,
		    "mailbox uidvalidity=%" PRIu32 " uidnext=%" PRIu32
		    " highestmodseq=%" PRIu64,
		    r->uidvalidity, r->uidnext, r->highestmodseq);
		break;
	case RECORD_KEYWORD:
		buf_printf(b, "keyword number=%" PRIu32 " name=", r->number);
		put_word(b, r->name);
		break;
	}
}

static void
put_event(struct buf *b, const struct record *r, const struct node *n)
{
	switch (r->kind) {
	case EVENT_SAVE:
		buf_printf(b, "save uid=%" PRIu32, r->uid);
		break;
	case EVENT_FLAGS:
		put_flag_change(b, r, n);
		break;
	default:
		buf_printf(b, "expunge uid=%" PRIu32 " guid=", r->uid);
		put_word(b, r->guid_string);
		if (r->moved_to != 0)
			buf_printf(b, " moved-to=%" PRIu32, r->moved_to);
	}
}

static void
put_record(struct buf *b, const struct record *r, const struct node *n)
{
	char hex[GUID_HEX_LEN + 1];

	switch (r->type) {
	case RECORD_SAVE:
		put_save(b, r, n);
		break;
	case RECORD_FLAGS:
		put_flag_change(b, r, n);
		break;
	case RECORD_STATE:
		put_state(b, r);
		break;
	case RECORD_EXPUNGE:
		buf_printf(b, "expunge uid=%" PRIu32, r->uid);
		if (r->moved_to != 0)
			buf_printf(b, " moved-to=%" PRIu32, r->moved_to);
		break;
	case RECORD_PEER:
		buf_printf(b, "peer %s bytes=%zu", guid_hex(&r->peer, hex),
		    r->data_len);
		break;
	case RECORD_META:
		buf_printf(b, "setting bytes=%zu name=", r->data_len);
		put_word(b, r->name);
		break;
	case RECORD_EVENT:
		put_event(b, r, n);
		break;
	default:
		put_tree(b, r);
	}
}

struct reading {
	struct store *s;
	log_entry_fn *fn;
	void *arg;
	uint64_t from, next;
	struct buf text;
};

/*
 * What a compaction wrote is state, no change, but for the history it carried
 * over; who follows the log has seen that.
 */
static bool
shown(const struct reading *rd, const struct record *r)
{
	switch (r->type) {
	case RECORD_COUNTERS:
	case RECORD_NODE:
	case RECORD_MESSAGE:
	case RECORD_EXPUNGED:
		return (false);
	case RECORD_EVENT:
		return (rd->from == 0);
	}
	return (true);
}

static int
give(struct reading *rd, const struct journal_frame *f,
    const struct frame_head *h, const struct record *r)
{
	struct node *n =
	    r->mailbox != 0 ? node_by_id(&rd->s->st, r->mailbox) : NULL;
	struct log_entry e = { .lsn = rd->s->base + f->lsn,
		.time = h->sec,
		.origin = h->origin,
		.mailbox = n != NULL ? n->name : "",
		.modseq = r->modseq };

	if (r->type == RECORD_EVENT) {
		e.time = r->time;
		e.origin = r->peer;
	}
	buf_reset(&rd->text);
	put_record(&rd->text, r, n);
	if ((e.text = buf_cstr(&rd->text)) == NULL)
		return (-ENOMEM);
	return (rd->fn(rd->arg, &e));
}

static int
log_frame(void *arg, const struct journal_frame *f)
{
	struct reading *rd = arg;
	struct arena a = ARENA_INIT;
	struct frame_head h;
	struct record rec;
	struct rd r;
	int error;

	rd_init(&r, f->payload, f->len);
	error = frame_head_get(&r, &h);
	while (error == 0 && rd_left(&r) > 0 && !r.bad) {
		error = record_get(&r, &a, &rec);
		if (error == 0 && shown(rd, &rec))
			error = give(rd, f, &h, &rec);
		else if (error == 1 || error == -EBADMSG)
			error = 0;
		arena_fini(&a);
	}
	arena_fini(&a);
	rd->next = rd->s->base + f->next;
	return (error == -EBADMSG || error == -EPROTONOSUPPORT ? 0 : error);
}

int
store_log(
    struct store *s, uint64_t from, log_entry_fn *fn, void *arg, uint64_t *next)
{
	struct reading rd = {
		.s = s, .fn = fn, .arg = arg, .from = from, .text = BUF_INIT
	};
	int error;

	rd.next = from > s->base + journal_end(s->journal)
	    ? from
	    : s->base + journal_end(s->journal);
	error = journal_read(
	    s->journal, from > s->base ? from - s->base : 0, log_frame, &rd);
	buf_fini(&rd.text);
	if (next != NULL)
		*next = rd.next;
	return (error);
}

uint64_t
store_log_end(const struct store *s)
{
	return (s->base + journal_end(s->journal));
}
