/*
 * decode -- a line as an item (specs/dsync-protocol.md 1.5 and 2).
 *
 * The line is cut into columns where it lies; a column is unescaped there when
 * it is asked for, and what an item keeps is copied into its arena.  The first
 * thing that is wrong is reported, with the record, the column and an excerpt;
 * from then on every answer is "absent", so it is checked once, at the end.
 */
#include "backends/dsync/dsync_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

struct row {
	const struct codec *k;
	enum record record;
	const struct record_type *type;
	struct item *item;
	char *at[COLUMNS_MAX]; /* in the line; NULL: absent */
	size_t len[COLUMNS_MAX];
	bool stream;
	int rc;
};

static void
bad(struct row *r, unsigned col, const char *s, size_t n, const char *why)
{
	char text[EXCERPT_BYTES];

	if (r->rc != 0)
		return;
	log_error("%s: breaks the protocol: record %c, %s: %s: '%s'",
	    r->k->peer, r->type->letter, r->type->column[col].key, why,
	    value_excerpt(s, n, text));
	r->rc = -EBADMSG;
}

static void
cut(struct row *r, char *line, size_t n)
{
	const struct header *h = &r->k->header[r->record];
	char *end = line + n, *p = line, *tab;

	/* nothing but the letter: no column at all */
	for (size_t i = 0; n > 0 && i < h->n && p <= end; i++, p = tab + 1) {
		tab = memchr(p, '\t', (size_t)(end - p));
		if (tab == NULL)
			tab = end;
		if (h->map[i] < 0 || (tab == p + 1 && *p == 0x02))
			continue;
		r->at[h->map[i]] = p;
		r->len[h->map[i]] = (size_t)(tab - p);
	}
	for (unsigned i = 0; i < r->type->columns; i++)
		if (r->type->column[i].required && r->at[i] == NULL)
			bad(r, i, line, n, "is missing");
}

/* ---- one column ---- */

static bool
has(const struct row *r, unsigned col)
{
	return (r->rc == 0 && r->at[col] != NULL);
}

/* Unescaped, lent by the line; NULL: absent.  A column is asked for once. */
static char *
get(struct row *r, unsigned col, size_t *len)
{
	char *s = r->at[col];

	if (!has(r, col))
		return (NULL);
	if (*s == 0x02) {
		s++;
		r->len[col]--;
	}
	if (value_unescape(s, r->len[col], len) != 0) {
		bad(r, col, s, r->len[col], "a NUL, or a broken escape");
		return (NULL);
	}
	return (s);
}

static const char *
text(struct row *r, unsigned col)
{
	size_t n;
	char *s = get(r, col, &n), *copy;

	if (s == NULL)
		return (NULL);
	copy = arena_strndup(&r->item->arena, s, n);
	if (copy == NULL)
		r->rc = -ENOMEM;
	return (copy);
}

static uint64_t
number(struct row *r, unsigned col, uint64_t min, uint64_t max)
{
	uint64_t v = 0;
	size_t n;
	char *s = get(r, col, &n);

	if (s == NULL)
		return (0);
	if (value_u64(s, 10, max, &v) != 0 || v < min) {
		bad(r, col, s, n, "not a number, or not one that can be");
		return (0);
	}
	return (v);
}

static uint32_t
number32(struct row *r, unsigned col, uint32_t min)
{
	return ((uint32_t)number(r, col, min, UINT32_MAX));
}

static uint64_t
hex(struct row *r, unsigned col, uint64_t max)
{
	uint64_t v = 0;
	size_t n;
	char *s = get(r, col, &n);

	if (s == NULL)
		return (0);
	if (value_u64(s, 16, max, &v) != 0)
		bad(r, col, s, n,
		    "not a hexadecimal number, or not one that can be");
	return (v);
}

static int64_t
date(struct row *r, unsigned col)
{
	int64_t v = 0;
	size_t n;
	char *s = get(r, col, &n);

	if (s != NULL && value_seconds(s, &v) != 0)
		bad(r, col, s, n, "not a time");
	return (v);
}

/* false: absent */
static bool
guid(struct row *r, unsigned col, struct guid *out)
{
	size_t n;
	char *s = get(r, col, &n);

	if (s == NULL)
		return (false);
	if (guid_parse(s, out) == 0)
		return (true);
	bad(r, col, s, n, "not 32 hexadecimal digits");
	return (false);
}

/* A mailbox that a record is about. */
static void
mailbox_guid(struct row *r, unsigned col, struct guid *out)
{
	if (guid(r, col, out) && guid_is_zero(out))
		bad(r, col, "0", 1, "no mailbox has such a GUID");
}

/* One of the letters, or 0 when absent. */
static char
letter(struct row *r, unsigned col, const char *known)
{
	size_t n;
	char *s = get(r, col, &n);

	if (s == NULL)
		return ('\0');
	if (n == 1 && strchr(known, *s) != NULL)
		return (*s);
	bad(r, col, s, n, "is unknown");
	return ('\0');
}

/* Any one character; none: 0. */
static char
character(struct row *r, unsigned col)
{
	size_t n;
	char *s = get(r, col, &n);

	if (s != NULL && n > 1)
		bad(r, col, s, n, "more than one character");
	return (s == NULL ? '\0' : *s);
}

/* ---- lists ---- */

/* The array is in the arena, the elements are still in the line. */
static const char **
list(struct row *r, unsigned col, bool empty_ones, size_t *n)
{
	size_t len, k = 0, most = 1, used;
	char *s = get(r, col, &len), *end, *tab;
	const char **out;

	*n = 0;
	if (s == NULL)
		return (NULL);
	end = s + len;
	for (char *p = s; (p = memchr(p, '\t', (size_t)(end - p))) != NULL; p++)
		most++;
	out = arena_alloc(&r->item->arena, most * sizeof(*out));
	if (out == NULL) {
		r->rc = -ENOMEM;
		return (NULL);
	}
	for (; s <= end; s = tab + 1) {
		tab = memchr(s, '\t', (size_t)(end - s));
		if (tab == NULL)
			tab = end;
		if (value_unescape(s, (size_t)(tab - s), &used) != 0) {
			bad(r, col, s, (size_t)(tab - s), "a broken escape");
			return (NULL);
		}
		if (used > 0 || empty_ones)
			out[k++] = s;
	}
	*n = k;
	return (out);
}

static const char *const *
strings(struct row *r, unsigned col, bool empty_ones, size_t *n)
{
	const char **l = list(r, col, empty_ones, n);

	if (*n == 1 && l[0][0] == '\0') /* of an empty list */
		*n = 0;
	for (size_t i = 0; i < *n; i++) {
		l[i] = arena_strdup(&r->item->arena, l[i]);
		if (l[i] == NULL)
			r->rc = -ENOMEM;
	}
	return (l);
}

/* ---- H ---- */

static void
own_handshake(struct row *r, struct item_handshake *h)
{
	h->has_replica = guid(r, H_REPLICA, &h->replica);
	h->dry_run = has(r, H_DRY_RUN);
	h->own_state = has(r, H_OWN_STATE);
	h->stay = has(r, H_STAY);
	h->max_delete_percent = number32(r, H_MAX_DELETE_PERCENT, 0);
	h->max_delete_min = number32(r, H_MAX_DELETE_MIN, 0);
	if (has(r, H_BOXES))
		h->mailbox = strings(r, H_BOXES, false, &h->mailboxes);
}

static int64_t
filter_date(struct row *r, unsigned col)
{
	bool there = has(r, col);
	int64_t t = date(r, col);

	if (there && t <= 0)
		bad(r, col, "", 0, "no time to filter by");
	return (t);
}

static void
decode_handshake(struct row *r, struct item_handshake *h)
{
	const char **one;

	h->hostname = text(r, H_HOSTNAME);
	if (has(r, H_BOX)) {
		one = arena_alloc(&r->item->arena, sizeof(*one));
		if (one == NULL) {
			r->rc = -ENOMEM;
			return;
		}
		*one = text(r, H_BOX);
		h->mailbox = one;
		h->mailboxes = 1;
	}
	(void)guid(r, H_BOX_GUID, &h->mailbox_guid);
	h->type = (enum sync_type)letter(r, H_TYPE, "fcs");
	h->debug = has(r, H_DEBUG);
	h->exclude = strings(r, H_EXCLUDE, false, &h->excludes);
	h->send_mail_requests = has(r, H_REQUESTS);
	h->backup_send = has(r, H_BACKUP_SEND);
	h->backup_recv = has(r, H_BACKUP_RECV);
	h->lock_timeout = number32(r, H_LOCK_TIMEOUT, 1);
	h->no_mail_sync = has(r, H_NO_MAIL_SYNC);
	h->no_backup_overwrite = has(r, H_NO_OVERWRITE);
	h->since = filter_date(r, H_SINCE);
	h->max_size = number(r, H_MAX_SIZE, 1, UINT64_MAX);
	h->flag = text(r, H_FLAGS);
	h->until = filter_date(r, H_UNTIL);
	h->empty_hdr_workaround = has(r, H_EMPTY_HDR);
	/* A Dovecot's list ends with an empty name: encode.c says why not ours.
	 */
	h->hashed_headers =
	    strings(r, H_HASHED_HEADERS, true, &h->n_hashed_headers);
	h->alt_char = character(r, H_ALT_CHAR);
	h->minor = r->k->minor;
	own_handshake(r, h);
}

/* ---- S N D B A ---- */

static void
decode_state(struct row *r, struct item_state *s)
{
	mailbox_guid(r, S_MAILBOX, &s->mailbox);
	s->last_uidvalidity = number32(r, S_UIDVALIDITY, 0);
	s->last_common_uid = number32(r, S_UID, 0);
	s->last_common_modseq = number(r, S_MODSEQ, 0, UINT64_MAX);
	s->last_common_pvt_modseq = number(r, S_PVT_MODSEQ, 0, UINT64_MAX);
	s->last_messages_count = number32(r, S_MESSAGES, 0);
	s->changes_during_sync = has(r, S_CHANGES);
	s->end_modseq = number(r, S_END_MODSEQ, 0, UINT64_MAX);
	(void)guid(r, S_TOKEN, &s->token);
}

/*
 * Parts become levels.  A '/' within a part cannot be in a canonical name: it
 * becomes a control character, which whoever repairs the name replaces.
 */
static void
node_name(struct row *r, struct item_node *out)
{
	size_t n, len, at = 0;
	const char **part = list(r, N_NAME, true, &n);
	char *name;

	if (r->rc != 0)
		return;
	if (n == 1 && part[0][0] == '\0') {
		bad(r, N_NAME, "", 0, "a mailbox without a name");
		return;
	}
	len = n;
	for (size_t i = 0; i < n; i++)
		len += strlen(part[i]);
	name = arena_alloc(&r->item->arena, len);
	if (name == NULL) {
		r->rc = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		for (const char *p = part[i]; *p != '\0'; p++)
			name[at++] = *p == '/' ? '\x01' : *p;
		name[at++] = i + 1 < n ? '/' : '\0';
	}
	out->name = name;
}

static void
decode_node(struct row *r, struct item_node *n)
{
	node_name(r, n);
	n->existence = (enum existence)letter(r, N_EXISTENCE, "ynd");
	(void)guid(r, N_MAILBOX, &n->mailbox);
	n->uidvalidity = number32(r, N_UIDVALIDITY, 0);
	n->uidnext = number32(r, N_UIDNEXT, 0);
	n->renamed = date(r, N_RENAMED);
	if (n->renamed < 0 && !codec_to_dsyncfs(r->k))
		n->renamed = 0;
	n->subscribed = has(r, N_SUBSCRIBED);
	n->subscription_changed = date(r, N_SUBSCRIPTION_CHANGED);
}

#define DELETE_LEAST (GUID_HEX_LEN + 2) /* "GUID SP digit" */

/* "GUID SP secs" pairs, joined by a space; they are made from where they lie.
 */
static const struct item_delete *
deletes(struct row *r, unsigned col, size_t *n)
{
	size_t len, k = 0;
	char *s = get(r, col, &len), *end, *space;
	struct item_delete *out;

	*n = 0;
	if (s == NULL || len == 0)
		return (NULL);
	out = arena_alloc(
	    &r->item->arena, (len / DELETE_LEAST + 1) * sizeof(*out));
	if (out == NULL) {
		r->rc = -ENOMEM;
		return (NULL);
	}
	for (end = s + len; s < end; s = space + 1) {
		if (end - s < (ptrdiff_t)DELETE_LEAST || s[GUID_HEX_LEN] != ' ')
			break;
		s[GUID_HEX_LEN] = '\0';
		space = strchr(s + GUID_HEX_LEN + 1, ' ');
		if (space == NULL)
			space = end;
		*space = '\0';
		if (guid_parse(s, &out[k].id) != 0 ||
		    value_seconds(s + GUID_HEX_LEN + 1, &out[k].time) != 0)
			break;
		k++;
	}
	if (s <= end)
		bad(r, col, s, (size_t)(end - s), "not a GUID and a time");
	*n = k;
	return (out);
}

static void
decode_deletes(struct row *r, struct item_deletes *d)
{
	d->sep = character(r, D_SEP);
	if (r->rc == 0 && d->sep == '\0')
		bad(r, D_SEP, "", 0, "no character");
	d->escape = character(r, D_ESCAPE);
	d->mailbox = deletes(r, D_MAILBOXES, &d->mailboxes);
	d->dir = deletes(r, D_DIRS, &d->dirs);
	d->unsubscribe = deletes(r, D_UNSUBSCRIBES, &d->unsubscribes);
}

static void
decode_mailbox(struct row *r, struct item_mailbox *b)
{
	struct guid g;

	mailbox_guid(r, B_MAILBOX, &b->mailbox);
	b->uidvalidity = number32(r, B_UIDVALIDITY, 0);
	b->uidnext = number32(r, B_UIDNEXT, 0);
	b->messages = number32(r, B_MESSAGES, 0);
	b->first_recent = number32(r, B_FIRST_RECENT, 0);
	b->highestmodseq = number(r, B_MODSEQ, 0, UINT64_MAX);
	b->highest_pvt_modseq = number(r, B_PVT_MODSEQ, 0, UINT64_MAX);
	b->lost = has(r, B_LOST);
	b->ignore = has(r, B_IGNORE);
	b->have_guids = has(r, B_HAVE_GUIDS);
	b->have_save_guids =
	    has(r, B_SAVE_GUIDS) || (b->have_guids && r->k->minor < 2);
	b->have_only_guid128 = has(r, B_ONLY_GUID128);
	b->has_digest = guid(r, B_DIGEST, &g);
	if (b->has_digest)
		memcpy(b->digest, g.b, sizeof(b->digest));
	b->common_uid = number32(r, B_COMMON_UID, 0);
	b->common_modseq = number(r, B_COMMON_MODSEQ, 0, UINT64_MAX);
}

static void
decode_attribute(struct row *r, struct item_attribute *a)
{
	a->type = letter(r, A_TYPE, "ps");
	a->key = text(r, A_KEY);
	r->stream = has(r, A_STREAM);
	if (!r->stream)
		a->value = text(r, A_VALUE);
	a->deleted = has(r, A_DELETED);
	a->last_change = date(r, A_LAST_CHANGE);
	a->modseq = number(r, A_MODSEQ, 0, UINT64_MAX);
}

/* ---- C ---- */

struct keyword_lists {
	const char **name[3]; /* added, removed, final */
	size_t n[3];
};
enum { KW_ADD, KW_REMOVE, KW_FINAL };

static void
keyword(struct row *r, struct keyword_lists *l, const char *s)
{
	bool added = *s == '+' || *s == '&', final = *s == '=' || *s == '&';

	if (!added && !final && *s != '-') {
		bad(r, C_KEYWORDS, s, strlen(s), "an unknown prefix");
		return;
	}
	/* as Dovecot, which passes over what cannot be a keyword */
	if (!keyword_valid(s + 1)) {
		log_verbose(
		    "%s: a keyword that cannot be one is left out", r->k->peer);
		return;
	}
	if (added)
		l->name[KW_ADD][l->n[KW_ADD]++] = s + 1;
	if (final)
		l->name[KW_FINAL][l->n[KW_FINAL]++] = s + 1;
	if (*s == '-')
		l->name[KW_REMOVE][l->n[KW_REMOVE]++] = s + 1;
}

static void
keywords(struct row *r, struct item_change *c)
{
	struct keywords *out[3] = { &c->kw_add, &c->kw_remove, &c->kw_final };
	struct arena *a = &r->item->arena;
	struct keyword_lists l = { 0 };
	size_t n;
	const char **all = list(r, C_KEYWORDS, false, &n);

	if (n == 0)
		return;
	for (int i = 0; i < 3 && r->rc == 0; i++) {
		l.name[i] = arena_alloc(a, n * sizeof(*l.name[i]));
		if (l.name[i] == NULL)
			r->rc = -ENOMEM;
	}
	for (size_t i = 0; i < n && r->rc == 0; i++)
		keyword(r, &l, all[i]);
	for (int i = 0; i < 3 && r->rc == 0; i++)
		r->rc = keywords_make(a, l.name[i], l.n[i], out[i]);
}

static void
own_change(struct row *r, struct item_change *c)
{
	size_t n, kept = 0;
	const char **l;

	c->saved_here = has(r, C_SAVED_HERE);
	c->fetched = has(r, C_FETCHED);
	c->moved_to = number32(r, C_MOVED_TO, 1);
	c->elsewhere = has(r, C_ELSEWHERE);
	c->informed = (uint8_t)hex(r, C_INFORMED, UINT8_MAX);
	l = list(r, C_KW_INFORMED, false, &n);
	for (size_t i = 0; i < n; i++)
		if (keyword_valid(l[i]))
			l[kept++] = l[i];
	if (r->rc == 0 && kept > 0)
		r->rc =
		    keywords_make(&r->item->arena, l, kept, &c->kw_informed);
}

static const char *
change_guid(struct row *r, const struct item_change *c)
{
	const char *s = text(r, C_GUID);
	struct guid g;

	if (s == NULL || c->kind != CHANGE_EXPUNGE)
		return (s);
	/* not known is said by leaving it out, or by nothing in it */
	if (s[0] == '\0')
		return (NULL);
	if (guid_parse(s, &g) != 0)
		bad(r, C_GUID, s, strlen(s), "not 32 hexadecimal digits");
	return (s);
}

static void
decode_change(struct row *r, struct item_change *c)
{
	c->kind = (enum change_kind)letter(r, C_TYPE, "sfe");
	c->uid = number32(r, C_UID, 1);
	c->guid = change_guid(r, c);
	c->hdr_hash = text(r, C_HDR_HASH);
	c->modseq = number(r, C_MODSEQ, 0, UINT64_MAX);
	c->pvt_modseq = number(r, C_PVT_MODSEQ, 0, UINT64_MAX);
	c->add = (uint8_t)hex(r, C_ADD, UINT8_MAX);
	c->remove = (uint8_t)hex(r, C_REMOVE, UINT8_MAX);
	c->final = (uint8_t)hex(r, C_FINAL, UINT8_MAX);
	c->keywords_reset = has(r, C_KEYWORDS_RESET);
	keywords(r, c);
	c->received = (int64_t)hex(r, C_RECEIVED, INT64_MAX);
	c->virtual_size = hex(r, C_VIRTUAL_SIZE, UINT64_MAX);
	own_change(r, c);
}

/* ---- R M F ---- */

static void
decode_request(struct row *r, struct item_request *q)
{
	q->guid = text(r, R_GUID);
	q->uid = number32(r, R_UID, 1);
	if (r->rc == 0 && q->uid == 0 &&
	    (q->guid == NULL || q->guid[0] == '\0'))
		bad(r, R_GUID, "", 0, "neither GUID nor UID");
}

static void
decode_mail(struct row *r, struct item_mail *m)
{
	m->guid = text(r, M_GUID);
	if (r->rc == 0 && m->guid == NULL)
		bad(r, M_GUID, "", 0, "is missing");
	m->uid = number32(r, M_UID, 1);
	m->pop3_uidl = text(r, M_POP3_UIDL);
	if (m->pop3_uidl != NULL && m->pop3_uidl[0] == '\0')
		m->pop3_uidl = NULL;
	m->pop3_order = number32(r, M_POP3_ORDER, 0);
	m->received = date(r, M_RECEIVED);
	m->saved = date(r, M_SAVED);
	r->stream = has(r, M_STREAM);
	m->seen_by_client = has(r, M_SEEN_BY_CLIENT);
}

static void
decode_finish(struct row *r, struct item_finish *f)
{
	int64_t e;

	f->error = text(r, F_ERROR);
	e = date(r, F_MAIL_ERROR);
	if (e < INT32_MIN || e > INT32_MAX)
		bad(r, F_MAIL_ERROR, "", 0, "not a number that can be");
	f->mail_error = (int)e;
	f->require_full_resync = has(r, F_FULL_RESYNC);
	f->counts = text(r, F_COUNTS);
}

static void
decode_row(struct row *r)
{
	switch (r->record) {
	case REC_H:
		decode_handshake(r, &r->item->u.handshake);
		break;
	case REC_S:
		decode_state(r, &r->item->u.state);
		break;
	case REC_N:
		decode_node(r, &r->item->u.node);
		break;
	case REC_D:
		decode_deletes(r, &r->item->u.deletes);
		break;
	case REC_B:
		decode_mailbox(r, &r->item->u.mailbox);
		break;
	case REC_A:
		decode_attribute(r, &r->item->u.attribute);
		break;
	case REC_C:
		decode_change(r, &r->item->u.change);
		break;
	case REC_R:
		decode_request(r, &r->item->u.request);
		break;
	case REC_M:
		decode_mail(r, &r->item->u.mail);
		break;
	default:
		decode_finish(r, &r->item->u.finish);
		break;
	}
}

static int
unknown(const struct codec *k, const char *line, size_t n)
{
	char text_[EXCERPT_BYTES];

	log_error("%s: breaks the protocol: a line that is no record: '%s'",
	    k->peer, value_excerpt(line, n, text_));
	return (-EBADMSG);
}

int
dsync_decode(
    struct codec *k, char *line, size_t n, struct item **out, bool *stream)
{
	struct row r = { .k = k };
	enum item_type type;

	if (n == 1 && line[0] == ITEM_END)
		type = ITEM_END;
	else if (n > 0 && line[0] == ITEM_ABORT)
		type = ITEM_ABORT;
	else {
		r.record = n == 0 ? RECORDS : record_of(line[0]);
		if (r.record == RECORDS || r.record == REC_CACHE)
			return (unknown(k, line, n));
		type = (enum item_type)line[0];
	}
	r.rc = item_new(type, &r.item);
	if (r.rc != 0)
		return (r.rc);
	if (type != ITEM_END && type != ITEM_ABORT) {
		r.type = &record_types[r.record];
		cut(&r, line + 1, n - 1);
		decode_row(&r);
	}
	if (r.rc == 0 && r.item->arena.error != 0)
		r.rc = -ENOMEM;
	if (r.rc != 0) {
		item_free(r.item);
		return (r.rc);
	}
	*out = r.item;
	*stream = r.stream;
	return (0);
}
