/*
 * record -- the codec of change records and of messages (record.h has the
 * layout).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/digest.h"
#include "store/record.h"

enum {
	/* the GUID is 32 lower-case hex digits, held as 16 bytes */
	HAS_GUID16 = 0x001,
	HAS_NAME = 0x002, /* else it follows from the GUID */
	HAS_LETTERS = 0x004,
	HAS_KEYWORDS = 0x008,
	HAS_POP3 = 0x010,
	HAS_SAVED = 0x020,
	HAS_MTIME = 0x040,
	HAS_VSIZE = 0x080,
	HAS_BODY = 0x100,
	HAS_ALL = 0x1ff
};

static char *
get_str(struct rd *r, struct arena *a, size_t max)
{
	size_t n;
	const uint8_t *p = rd_blob(r, &n);
	char *s;

	if (r->bad || n > max || (n > 0 && memchr(p, 0, n) != NULL)) {
		r->bad = true;
		return (NULL);
	}
	if ((s = arena_strndup(a, n > 0 ? (const char *)p : "", n)) == NULL)
		r->bad = true;
	return (s);
}

static void
get_guid(struct rd *r, struct guid *g)
{
	const uint8_t *p = rd_bytes(r, sizeof(g->b));

	if (p != NULL)
		memcpy(g->b, p, sizeof(g->b));
}

/*
 * A decoder's verdict: no memory shows as a bad reader too, and is told apart
 * by the arena.
 */
static int
verdict(const struct rd *r, const struct arena *a)
{
	if (a->error != 0)
		return (a->error);
	return (r->bad ? -EBADMSG : 0);
}

void
kwset_put(struct buf *b, const struct kwset *k)
{
	uint32_t prev = 0;

	buf_put_varint(b, k->len);
	for (size_t i = 0; i < k->len; i++) {
		buf_put_varint(b, k->n[i] - prev);
		prev = k->n[i] + 1;
	}
}

int
kwset_get(struct rd *r, struct arena *a, struct kwset *k)
{
	uint64_t len = rd_varint(r), next = 0;
	uint32_t *n;

	if (r->bad || len > RECORD_KEYWORDS_MAX) {
		r->bad = true;
		return (-EBADMSG);
	}
	if (len == 0) {
		*k = (struct kwset){ NULL, 0 };
		return (0);
	}
	if ((n = arena_alloc(a, len * sizeof(*n))) == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < len; i++) {
		next += rd_varint32(r);
		if (r->bad || next >= RECORD_TABLE_MAX) {
			r->bad = true;
			return (-EBADMSG);
		}
		n[i] = (uint32_t)next++;
	}
	*k = (struct kwset){ n, len };
	return (0);
}

bool
kwset_has(const struct kwset *k, uint32_t n)
{
	for (size_t i = 0; i < k->len; i++)
		if (k->n[i] == n)
			return (true);
	return (false);
}

bool
base_name_valid(const char *name)
{
	size_t n = strlen(name);

	return (n > 0 && n <= RECORD_NAME_MAX && name[0] != '.' &&
	    strpbrk(name, "/:\n") == NULL);
}

char *
name_of_guid(struct arena *a, const char *guid)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = strlen(guid), o = 0;
	struct guid g;
	char *s;

	if (n == 0)
		return (NULL);
	if ((s = arena_alloc(a, n * 3 + 1)) == NULL)
		return (NULL);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)guid[i];

		if (c < 0x20 || c == 0x7f || c == '/' || c == ':' || c == '%' ||
		    (i == 0 && c == '.')) {
			s[o++] = '%';
			s[o++] = hex[c >> 4];
			s[o++] = hex[c & 15];
		} else {
			s[o++] = (char)c;
		}
	}
	s[o] = '\0';
	if (o <= 200)
		return (s);
	if (guid128_of_string(guid, &g) != 0)
		return (NULL);
	s[0] = '%';
	(void)guid_hex(&g, s + 1);
	return (s);
}

/* Lower-case only: the string must come back as it was. */
static bool
guid16(const char *s, struct guid *g)
{
	char again[GUID_HEX_LEN + 1];

	return (strlen(s) == GUID_HEX_LEN && guid_parse(s, g) == 0 &&
	    strcmp(guid_hex(g, again), s) == 0);
}

static bool
str_is(const char *s)
{
	return (s != NULL && s[0] != '\0');
}

static bool
has_body(const struct body_ref *b)
{
	static const uint8_t zero[16];

	return (b->pack != 0 || b->size != 0 || b->offset != 0 ||
	    memcmp(b->hash, zero, sizeof(zero)) != 0);
}

void
msg_encode(struct buf *b, const struct msg *m, const struct kwset *kw)
{
	struct guid g;
	bool hex = guid16(m->guid, &g);
	unsigned mask = (hex ? HAS_GUID16 : 0) |
	    (str_is(m->name) && !(hex && strcmp(m->name, m->guid) == 0)
		    ? HAS_NAME
		    : 0) |
	    (str_is(m->letters) ? HAS_LETTERS : 0) |
	    (kw->len > 0 ? HAS_KEYWORDS : 0) |
	    (m->pop3_uidl != NULL || m->pop3_order != 0 ? HAS_POP3 : 0) |
	    (m->saved != 0 ? HAS_SAVED : 0) |
	    (m->mtime != 0 || m->mtime_nsec != 0 ? HAS_MTIME : 0) |
	    (m->vsize != 0 ? HAS_VSIZE : 0) |
	    (has_body(&m->body) ? HAS_BODY : 0);

	buf_put_varint(b, mask);
	buf_put_varint(b, m->modseq);
	buf_put_u8(b, m->flags);
	buf_put_u8(b, m->state);
	if (mask & HAS_GUID16)
		buf_put(b, g.b, sizeof(g.b));
	else
		buf_put_str(b, m->guid);
	if (mask & HAS_NAME)
		buf_put_str(b, m->name);
	if (mask & HAS_LETTERS)
		buf_put_str(b, m->letters);
	if (mask & HAS_KEYWORDS)
		kwset_put(b, kw);
	if (mask & HAS_POP3) {
		buf_put_u8(b, m->pop3_uidl != NULL);
		buf_put_str(b, m->pop3_uidl);
		buf_put_varint(b, m->pop3_order);
	}
	buf_put_svarint(b, m->received);
	if (mask & HAS_SAVED)
		buf_put_svarint(b, m->saved);
	if (mask & HAS_MTIME) {
		buf_put_svarint(b, m->mtime);
		buf_put_varint(b, m->mtime_nsec);
	}
	buf_put_varint(b, m->ino);
	if (mask & HAS_VSIZE)
		buf_put_varint(b, m->vsize);
	if (mask & HAS_BODY) {
		buf_put_varint(b, m->body.size);
		buf_put_varint(b, m->body.pack);
		buf_put_varint(b, m->body.offset);
		buf_put(b, m->body.hash, sizeof(m->body.hash));
	}
}

static void
get_names(struct rd *r, struct arena *a, unsigned mask, struct msg *m)
{
	char hex[GUID_HEX_LEN + 1];
	struct guid g = { { 0 } };

	if (mask & HAS_GUID16) {
		get_guid(r, &g);
		if ((m->guid = arena_strdup(a, guid_hex(&g, hex))) == NULL)
			r->bad = true;
	} else {
		m->guid = get_str(r, a, RECORD_GUID_MAX);
	}
	if (r->bad)
		return;
	m->name = mask & HAS_NAME ? get_str(r, a, RECORD_NAME_MAX)
				  : name_of_guid(a, m->guid);
	if (m->name == NULL || !base_name_valid(m->name))
		r->bad = true;
	if (mask & HAS_LETTERS)
		m->letters = get_str(r, a, RECORD_LETTERS_MAX);
}

int
msg_decode(
    struct arena *a, const void *p, size_t n, struct msg *out, struct kwset *kw)
{
	struct rd r;
	struct msg m = { .uid = out->uid };
	uint64_t mask;
	const uint8_t *hash;

	rd_init(&r, p, n);
	*kw = (struct kwset){ NULL, 0 };
	mask = rd_varint(&r);
	m.modseq = rd_varint(&r);
	m.flags = rd_u8(&r);
	m.state = rd_u8(&r);
	if (r.bad || (mask & ~(uint64_t)HAS_ALL) || (m.flags & ~MAIL_FLAGS) ||
	    (m.state & ~(MSG_NEW | MSG_NAMED)))
		return (-EBADMSG);
	get_names(&r, a, (unsigned)mask, &m);
	if (mask & HAS_KEYWORDS)
		(void)kwset_get(&r, a, kw);
	if (mask & HAS_POP3) {
		bool there = rd_u8(&r) != 0;
		const char *uidl = get_str(&r, a, RECORD_UIDL_MAX);

		m.pop3_uidl = there ? uidl : NULL;
		m.pop3_order = rd_varint32(&r);
	}
	m.received = rd_svarint(&r);
	m.saved = mask & HAS_SAVED ? rd_svarint(&r) : 0;
	if (mask & HAS_MTIME) {
		m.mtime = rd_svarint(&r);
		m.mtime_nsec = rd_varint32(&r);
	}
	m.ino = rd_varint(&r);
	m.vsize = mask & HAS_VSIZE ? rd_varint(&r) : 0;
	if (mask & HAS_BODY) {
		m.body.size = rd_varint(&r);
		m.body.pack = rd_varint32(&r);
		m.body.offset = rd_varint(&r);
		if ((hash = rd_bytes(&r, sizeof(m.body.hash))) != NULL)
			memcpy(m.body.hash, hash, sizeof(m.body.hash));
	}
	if (rd_left(&r) != 0 || m.mtime_nsec > 999999999)
		r.bad = true;
	if (verdict(&r, a) == 0)
		*out = m;
	return (verdict(&r, a));
}

void
frame_head_put(struct buf *b, const struct frame_head *h)
{
	buf_put_u8(b, RECORD_VERSION);
	buf_put_u8(b, !guid_is_zero(&h->origin));
	buf_put_svarint(b, h->sec);
	buf_put_varint(b, h->nsec);
	if (!guid_is_zero(&h->origin))
		buf_put(b, h->origin.b, sizeof(h->origin.b));
}

int
frame_head_get(struct rd *r, struct frame_head *h)
{
	uint8_t version = rd_u8(r), bits = rd_u8(r);

	memset(h, 0, sizeof(*h));
	if (!r->bad && version != RECORD_VERSION)
		return (version > RECORD_VERSION ? -EPROTONOSUPPORT : -EBADMSG);
	h->sec = rd_svarint(r);
	h->nsec = rd_varint32(r);
	if (bits & 1)
		get_guid(r, &h->origin);
	return (r->bad || bits > 1 || h->nsec > 999999999 ? -EBADMSG : 0);
}

static void
put_state(struct buf *b, const struct record *r)
{
	const struct msg *m = &r->msg;

	buf_put_u8(b, r->mask);
	if (r->mask & STATE_STATE)
		buf_put_u8(b, m->state);
	if (r->mask & STATE_NAME)
		buf_put_str(b, m->name);
	if (r->mask & STATE_LETTERS)
		buf_put_str(b, m->letters);
	if (r->mask & STATE_MTIME) {
		buf_put_svarint(b, m->mtime);
		buf_put_varint(b, m->mtime_nsec);
	}
	if (r->mask & STATE_RECEIVED)
		buf_put_svarint(b, m->received);
	if (r->mask & STATE_POP3) {
		buf_put_str(b, m->pop3_uidl);
		buf_put_varint(b, m->pop3_order);
	}
}

static void
get_state(struct rd *rd, struct arena *a, struct record *r)
{
	struct msg *m = &r->msg;

	r->mask = rd_u8(rd);
	if (r->mask & ~STATE_ALL)
		rd->bad = true;
	if (r->mask & STATE_STATE)
		m->state = rd_u8(rd);
	if (m->state & ~(MSG_NEW | MSG_NAMED))
		rd->bad = true;
	if (r->mask & STATE_NAME) {
		m->name = get_str(rd, a, RECORD_NAME_MAX);
		if (m->name == NULL || !base_name_valid(m->name))
			rd->bad = true;
	}
	if (r->mask & STATE_LETTERS)
		m->letters = get_str(rd, a, RECORD_LETTERS_MAX);
	if (r->mask & STATE_MTIME) {
		m->mtime = rd_svarint(rd);
		m->mtime_nsec = rd_varint32(rd);
		if (m->mtime_nsec > 999999999)
			rd->bad = true;
	}
	if (r->mask & STATE_RECEIVED)
		m->received = rd_svarint(rd);
	if (r->mask & STATE_POP3) {
		m->pop3_uidl = get_str(rd, a, RECORD_UIDL_MAX);
		m->pop3_order = rd_varint32(rd);
	}
}

static void
put_flags(struct buf *b, const struct record *r)
{
	buf_put_varint(b, r->uid);
	buf_put_varint(b, r->modseq);
	buf_put_u8(b, r->add);
	buf_put_u8(b, r->remove);
	kwset_put(b, &r->kw_add);
	kwset_put(b, &r->kw_remove);
}

static void
get_flags(struct rd *rd, struct arena *a, struct record *r)
{
	r->uid = rd_varint32(rd);
	r->modseq = rd_varint(rd);
	r->add = rd_u8(rd);
	r->remove = rd_u8(rd);
	if ((r->add | r->remove) & ~MAIL_FLAGS)
		rd->bad = true;
	(void)kwset_get(rd, a, &r->kw_add);
	(void)kwset_get(rd, a, &r->kw_remove);
}

/* Records of the tree of mailboxes. */
static bool
put_tree(struct buf *b, const struct record *r)
{
	switch (r->type) {
	case RECORD_MAILBOX_CREATE:
		buf_put_varint(b, r->mailbox);
		buf_put(b, r->guid.b, sizeof(r->guid.b));
		buf_put_str(b, r->name);
		buf_put_varint(b, r->uidvalidity);
		buf_put_u8(b, r->on);
		buf_put_svarint(b, r->time);
		return (true);
	case RECORD_MAILBOX_RENAME:
		buf_put_varint(b, r->mailbox);
		buf_put_str(b, r->name);
		buf_put_svarint(b, r->time);
		return (true);
	case RECORD_MAILBOX_DELETE:
		buf_put_varint(b, r->mailbox);
		buf_put_u8(b, r->on);
		buf_put_svarint(b, r->time);
		return (true);
	case RECORD_SUBSCRIBE:
		buf_put_str(b, r->name);
		buf_put_u8(b, r->on);
		buf_put_svarint(b, r->time);
		return (true);
	case RECORD_DELETION:
		buf_put_u8(b, r->kind);
		buf_put(b, r->guid.b, sizeof(r->guid.b));
		buf_put_str(b, r->name);
		buf_put_svarint(b, r->time);
		return (true);
	case RECORD_MAILBOX_UPDATE:
		buf_put_varint(b, r->mailbox);
		buf_put(b, r->guid.b, sizeof(r->guid.b));
		buf_put_varint(b, r->uidvalidity);
		buf_put_varint(b, r->uidnext);
		buf_put_varint(b, r->first_recent);
		buf_put_varint(b, r->highestmodseq);
		return (true);
	case RECORD_KEYWORD:
		buf_put_varint(b, r->mailbox);
		buf_put_varint(b, r->number);
		buf_put_str(b, r->name);
		return (true);
	}
	return (false);
}

static bool
get_tree(struct rd *rd, struct arena *a, struct record *r)
{
	switch (r->type) {
	case RECORD_MAILBOX_CREATE:
		r->mailbox = rd_varint32(rd);
		get_guid(rd, &r->guid);
		r->name = get_str(rd, a, 4096);
		r->uidvalidity = rd_varint32(rd);
		r->on = rd_u8(rd) != 0;
		r->time = rd_svarint(rd);
		return (true);
	case RECORD_MAILBOX_RENAME:
		r->mailbox = rd_varint32(rd);
		r->name = get_str(rd, a, 4096);
		r->time = rd_svarint(rd);
		return (true);
	case RECORD_MAILBOX_DELETE:
		r->mailbox = rd_varint32(rd);
		r->on = rd_u8(rd) != 0;
		r->time = rd_svarint(rd);
		return (true);
	case RECORD_SUBSCRIBE:
		r->name = get_str(rd, a, 4096);
		r->on = rd_u8(rd) != 0;
		r->time = rd_svarint(rd);
		return (true);
	case RECORD_DELETION:
		r->kind = rd_u8(rd);
		get_guid(rd, &r->guid);
		r->name = get_str(rd, a, 4096);
		r->time = rd_svarint(rd);
		return (true);
	case RECORD_MAILBOX_UPDATE:
		r->mailbox = rd_varint32(rd);
		get_guid(rd, &r->guid);
		r->uidvalidity = rd_varint32(rd);
		r->uidnext = rd_varint32(rd);
		r->first_recent = rd_varint32(rd);
		r->highestmodseq = rd_varint(rd);
		return (true);
	case RECORD_KEYWORD:
		r->mailbox = rd_varint32(rd);
		r->number = rd_varint32(rd);
		r->name = get_str(rd, a, RECORD_KEYWORD_MAX);
		if (r->number >= RECORD_TABLE_MAX)
			rd->bad = true;
		return (true);
	}
	return (false);
}

/* Absent when the message is gone: it is the last field. */
static void
put_moved(struct buf *b, const struct record *r)
{
	if (r->moved_to != 0)
		buf_put_varint(b, r->moved_to);
}

static void
get_moved(struct rd *rd, struct record *r)
{
	if (!rd->bad && rd_left(rd) > 0)
		r->moved_to = rd_varint32(rd);
}

static void
put_event(struct buf *b, const struct record *r)
{
	buf_put_varint(b, r->mailbox);
	buf_put_u8(b, r->kind);
	put_flags(b, r);
	buf_put(b, r->peer.b, sizeof(r->peer.b));
	buf_put_svarint(b, r->time);
	buf_put_str(b, r->guid_string);
	put_moved(b, r);
}

static void
get_event(struct rd *rd, struct arena *a, struct record *r)
{
	r->mailbox = rd_varint32(rd);
	r->kind = rd_u8(rd);
	get_flags(rd, a, r);
	get_guid(rd, &r->peer);
	r->time = rd_svarint(rd);
	r->guid_string = get_str(rd, a, RECORD_GUID_MAX);
	get_moved(rd, r);
}

static void
put_rest(struct buf *b, const struct record *r)
{
	switch (r->type) {
	case RECORD_EXPUNGED:
		buf_put(b, r->peer.b, sizeof(r->peer.b));
		buf_put_svarint(b, r->time);
		buf_put_varint(b, r->modseq);
		/* FALLTHROUGH */
	case RECORD_SAVE:
	case RECORD_MESSAGE:
		buf_put_varint(b, r->mailbox);
		buf_put_varint(b, r->msg.uid);
		msg_encode(b, &r->msg, &r->kw);
		break;
	case RECORD_FLAGS:
		buf_put_varint(b, r->mailbox);
		put_flags(b, r);
		break;
	case RECORD_STATE:
		buf_put_varint(b, r->mailbox);
		buf_put_varint(b, r->uid);
		put_state(b, r);
		break;
	case RECORD_EXPUNGE:
		buf_put_varint(b, r->mailbox);
		buf_put_varint(b, r->uid);
		buf_put_varint(b, r->modseq);
		put_moved(b, r);
		break;
	case RECORD_PEER:
		buf_put(b, r->peer.b, sizeof(r->peer.b));
		buf_put(b, r->guid.b, sizeof(r->guid.b));
		buf_put(b, r->data, r->data_len);
		break;
	case RECORD_META:
		buf_put_str(b, r->name);
		buf_put(b, r->data, r->data_len);
		break;
	case RECORD_NODE:
		buf_put_varint(b, r->mailbox);
		buf_put(b, r->data, r->data_len);
		break;
	case RECORD_COUNTERS:
		for (size_t i = 0; i < 3; i++)
			buf_put_varint(b, r->counter[i]);
		break;
	case RECORD_EVENT:
		put_event(b, r);
		break;
	}
}

static void
get_rest_data(struct rd *rd, struct record *r)
{
	r->data_len = rd_left(rd);
	r->data = rd_bytes(rd, r->data_len);
	if (r->data_len > RECORD_DATA_MAX)
		rd->bad = true;
}

static void
get_message(struct rd *rd, struct arena *a, struct record *r)
{
	size_t n;
	const uint8_t *p;

	r->mailbox = rd_varint32(rd);
	r->uid = r->msg.uid = rd_varint32(rd);
	n = rd_left(rd);
	p = rd_bytes(rd, n);
	if (rd->bad || msg_decode(a, p, n, &r->msg, &r->kw) != 0)
		rd->bad = true;
}

static void
get_rest(struct rd *rd, struct arena *a, struct record *r)
{
	switch (r->type) {
	case RECORD_EXPUNGED:
		get_guid(rd, &r->peer);
		r->time = rd_svarint(rd);
		r->modseq = rd_varint(rd);
		/* FALLTHROUGH */
	case RECORD_SAVE:
	case RECORD_MESSAGE:
		get_message(rd, a, r);
		if (r->type != RECORD_EXPUNGED)
			r->modseq = r->msg.modseq;
		break;
	case RECORD_FLAGS:
		r->mailbox = rd_varint32(rd);
		get_flags(rd, a, r);
		break;
	case RECORD_STATE:
		r->mailbox = rd_varint32(rd);
		r->uid = rd_varint32(rd);
		get_state(rd, a, r);
		break;
	case RECORD_EXPUNGE:
		r->mailbox = rd_varint32(rd);
		r->uid = rd_varint32(rd);
		r->modseq = rd_varint(rd);
		get_moved(rd, r);
		break;
	case RECORD_PEER:
		get_guid(rd, &r->peer);
		get_guid(rd, &r->guid);
		get_rest_data(rd, r);
		break;
	case RECORD_META:
		r->name = get_str(rd, a, 255);
		get_rest_data(rd, r);
		break;
	case RECORD_NODE:
		r->mailbox = rd_varint32(rd);
		get_rest_data(rd, r);
		break;
	case RECORD_COUNTERS:
		for (size_t i = 0; i < 3; i++)
			r->counter[i] = rd_varint(rd);
		break;
	case RECORD_EVENT:
		get_event(rd, a, r);
		break;
	}
}

void
record_put(struct buf *b, struct buf *scratch, const struct record *r)
{
	buf_reset(scratch);
	if (!put_tree(scratch, r))
		put_rest(scratch, r);
	buf_put_varint(b, r->type);
	buf_put_bytes(b, scratch->data, scratch->len);
	if (scratch->error != 0)
		b->error = scratch->error;
}

int
record_get(struct rd *rd, struct arena *a, struct record *out)
{
	struct rd in;
	uint64_t type = rd_varint(rd);
	size_t n;
	const uint8_t *p = rd_blob(rd, &n);

	memset(out, 0, sizeof(*out));
	out->name = "";
	if (rd->bad)
		return (-EBADMSG);
	if (type == 0 || type >= RECORD_TYPES)
		return (1);
	out->type = (unsigned)type;
	rd_init(&in, p, n);
	if (!get_tree(&in, a, out))
		get_rest(&in, a, out);
	if (rd_left(&in) != 0)
		in.bad = true;
	return (verdict(&in, a));
}
