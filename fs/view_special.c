/*
 * view_special -- files that the view makes: subscriptions, dovecot-keywords,
 * and .dsyncfs/, the mount's own /proc.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/name.h"

enum special {
	SPECIAL_DIR = 1,
	SPECIAL_STATUS,
	SPECIAL_CHANGES,
	SPECIAL_PEERS,
	SPECIAL_SUBSCRIPTIONS,
	SPECIAL_KEYWORDS
};

#define CHANGES_WHOLE                                                          \
	(4u << 20) /* a log up to this is shown from its start                 \
		    */
#define CHANGES_MAX (16u << 20)

static enum special
kind_of(uint64_t node)
{
	return ((enum special)(node & 0xff));
}

static uint64_t
node_of(enum special kind)
{
	return (NODE_SPECIAL | (uint64_t)kind);
}

uint64_t
special_subscriptions_node(void)
{
	return (node_of(SPECIAL_SUBSCRIPTIONS));
}

uint64_t
special_keywords_node(const struct box *b)
{
	return (NODE_SPECIAL | (uint64_t)b->id << 8 | SPECIAL_KEYWORDS);
}

uint32_t
special_box(struct view *v, uint64_t node)
{
	return (kind_of(node) == SPECIAL_KEYWORDS
		? (uint32_t)((node & ~NODE_SPECIAL) >> 8)
		: v->inbox);
}

bool
special_is_dir(uint64_t node)
{
	return ((node & NODE_SPECIAL) != 0 && kind_of(node) == SPECIAL_DIR);
}

bool
special_writable(uint64_t node)
{
	return (kind_of(node) == SPECIAL_SUBSCRIPTIONS ||
	    kind_of(node) == SPECIAL_KEYWORDS);
}

uint64_t
special_lookup(struct view *v, uint64_t parent, const char *name)
{
	struct box *b;

	if (special_is_dir(parent)) {
		if (strcmp(name, "status") == 0)
			return (node_of(SPECIAL_STATUS));
		if (strcmp(name, "changes") == 0)
			return (node_of(SPECIAL_CHANGES));
		return (
		    strcmp(name, "peers") == 0 ? node_of(SPECIAL_PEERS) : 0);
	}
	if (parent == NODE_ROOT && strcmp(name, ".dsyncfs") == 0)
		return (node_of(SPECIAL_DIR));
	if (parent == NODE_ROOT && strcmp(name, "subscriptions") == 0)
		return (node_of(SPECIAL_SUBSCRIPTIONS));
	if (strcmp(name, "dovecot-keywords") == 0 &&
	    (b = box_of_folder(v, parent)) != NULL)
		return (special_keywords_node(b));
	return (0);
}

/* ---- .dsyncfs ---- */

static int
status_text(struct view *v, struct buf *b)
{
	struct store_info i = { 0 };
	char hex[GUID_HEX_LEN + 1];
	int error = store_info(v->store, &i);

	if (error != 0)
		return (error);
	if (v->o.status != NULL)
		v->o.status(v->o.status_arg, b);
	buf_printf(b, "store %s\n", guid_hex(store_id(v->store), hex));
	buf_printf(b, "state %s\n",
	    store_damaged(v->store)        ? "damaged"
		: store_readonly(v->store) ? "read-only"
					   : "good");
	buf_printf(b, "mailboxes %u\n", HASH_CNT(hh_id, v->by_id));
	buf_printf(b, "messages %" PRIu64 "\n", i.messages);
	buf_printf(b,
	    "log_bytes %" PRIu64 "\npack_bytes %" PRIu64
	    "\nindex_bytes %" PRIu64 "\n",
	    i.log_bytes, i.pack_bytes, i.index_bytes);
	buf_printf(b, "durable %s\n", store_dirty(v->store) ? "no" : "yes");
	return (b->error);
}

static int
change_line(void *arg, const struct log_entry *e)
{
	struct buf *b = arg;
	char when[32], who[GUID_HEX_LEN + 1];
	struct tm tm;
	time_t t = (time_t)e->time;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(when, sizeof(when), "%" PRId64, e->time);
	buf_printf(b, "%s %" PRIu64 " %s %s: %s\n", when, e->modseq,
	    guid_is_zero(&e->origin) ? "mount" : guid_hex(&e->origin, who),
	    e->mailbox, e->text);
	return (b->error);
}

/* Takes in what the log got since the last look. */
static int
changes_update(struct view *v)
{
	struct buf b = { (uint8_t *)v->changes, v->changes_len, v->changes_cap,
		0 };
	struct store_info i;
	uint64_t next;
	int error;

	if (v->changes_next == 0 && store_info(v->store, &i) == 0 &&
	    i.log_bytes > CHANGES_WHOLE)
		/* Too long to be shown whole: from now on. */
		v->changes_next = store_log_end(v->store);
	if (b.len > CHANGES_MAX)
		b.len = 0;
	error = store_log(v->store, v->changes_next, change_line, &b, &next);
	v->changes = (char *)b.data;
	v->changes_len = b.len;
	v->changes_cap = b.cap;
	if (error == 0)
		v->changes_next = next;
	return (error);
}

static int
peer_line(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	char a[GUID_HEX_LEN + 1], c[GUID_HEX_LEN + 1];
	struct buf *b = arg;

	(void)p;
	buf_printf(b, "peer %s mailbox %s state %zu bytes\n", guid_hex(peer, a),
	    guid_hex(key, c), len);
	return (b->error);
}

/* ---- subscriptions ---- */

static void
put_escaped(struct buf *b, const char *level)
{
	for (; *level != '\0'; level++)
		switch (*level) {
		case '\t':
			buf_put(b, "\001t", 2);
			break;
		case '\n':
			buf_put(b, "\001n", 2);
			break;
		case '\r':
			buf_put(b, "\001r", 2);
			break;
		case '\001':
			buf_put(b, "\0011", 2);
			break;
		default:
			buf_put_u8(b, (uint8_t)*level);
		}
}

static int
subscription_line(void *arg, const struct mailbox *m)
{
	struct arena a = ARENA_INIT;
	struct buf *b = arg;
	char *copy, *level, *save, *enc;
	bool first = true;

	if (!m->subscribed)
		return (0);
	if ((copy = arena_strdup(&a, m->name)) == NULL)
		return (-ENOMEM);
	for (level = strtok_r(copy, "/", &save); level != NULL;
	     level = strtok_r(NULL, "/", &save)) {
		if ((enc = mutf7_encode(&a, level)) == NULL)
			break;
		if (!first)
			buf_put_u8(b, '\t');
		first = false;
		put_escaped(b, enc);
	}
	buf_put_u8(b, '\n');
	arena_fini(&a);
	return (b->error);
}

static char *
unescape(struct arena *a, const char *s, size_t n)
{
	char *out = arena_alloc(a, n + 1), *o = out;
	size_t i;

	if (out == NULL)
		return (NULL);
	for (i = 0; i < n; i++) {
		if (s[i] != '\001' || i + 1 == n) {
			*o++ = s[i];
			continue;
		}
		switch (s[++i]) {
		case 't':
			*o++ = '\t';
			break;
		case 'n':
			*o++ = '\n';
			break;
		case 'r':
			*o++ = '\r';
			break;
		case '1':
			*o++ = '\001';
			break;
		default:
			*o++ = s[i];
		}
	}
	*o = '\0';
	return (out);
}

/* One line's canonical name, NULL when it is none. */
static char *
subscription_name(struct arena *a, const char *line, size_t n, char sep)
{
	const char *end = line + n, *p;
	char *out = NULL, *raw, *level;

	for (; line <= end; line = p + 1) {
		p = memchr(line, sep, (size_t)(end - line));
		if (p == NULL)
			p = end;
		raw = unescape(a, line, (size_t)(p - line));
		if (raw == NULL || (level = mutf7_decode(a, raw)) == NULL)
			return (NULL);
		out =
		    out == NULL ? level : arena_printf(a, "%s/%s", out, level);
		if (out == NULL || p == end)
			break;
	}
	return (out != NULL && name_valid(out) ? out : NULL);
}

struct unwanted {
	struct arena *a;
	const struct keywords *keep;
	const char **name; /* owned */
	size_t n;
};

static int
note_unwanted(void *arg, const struct mailbox *m)
{
	struct unwanted *u = arg;
	const char **p;

	if (!m->subscribed || keywords_has(u->keep, m->name))
		return (0);
	if ((p = realloc(u->name, (u->n + 1) * sizeof(*p))) == NULL)
		return (-ENOMEM);
	u->name = p;
	if ((u->name[u->n] = arena_strdup(u->a, m->name)) == NULL)
		return (-ENOMEM);
	u->n++;
	return (0);
}

static int
parse_subscriptions(struct view *v, struct arena *a, const char *p, size_t n,
    struct keywords *out)
{
	char sep = v->o.layout == LAYOUT_FS ? '/' : '.';
	const char *end = p + n, *nl;
	const char **names = NULL, **grown;
	size_t count = 0;
	char *name;
	int error = 0;

	if (n >= 4 && memcmp(p, "V\t2\n", 4) == 0) {
		sep = '\t';
		p += 4;
	}
	for (; p < end && error == 0; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			nl = end;
		if (nl == p)
			continue;
		name = subscription_name(a, p, (size_t)(nl - p), sep);
		if (name == NULL) {
			log_warning("subscriptions: line '%.*s' is no mailbox "
				    "name and is left out",
			    (int)(nl - p), p);
			continue;
		}
		grown = realloc(names, (count + 1) * sizeof(*names));
		if (grown == NULL)
			error = -ENOMEM;
		else {
			names = grown;
			names[count++] = name;
		}
	}
	if (error == 0)
		error = keywords_make(a, names, count, out);
	free(names);
	return (error);
}

static int
apply_subscriptions(struct view *v, const char *p, size_t n)
{
	struct arena a = ARENA_INIT;
	struct keywords want;
	struct unwanted gone = { .a = &a, .keep = &want };
	struct mailbox m;
	struct txn *t;
	size_t i;
	int error;

	if ((error = parse_subscriptions(v, &a, p, n, &want)) != 0 ||
	    (error = store_mailboxes(v->store, note_unwanted, &gone)) != 0 ||
	    (error = txn_begin(v->store, NULL, &t)) != 0)
		goto out;
	for (i = 0; i < want.n && error == 0; i++) {
		if (store_mailbox_by_name(v->store, want.name[i], &m) == 0 &&
		    m.subscribed)
			continue;
		error = txn_subscribe(t, want.name[i], true, 0);
	}
	for (i = 0; i < gone.n && error == 0; i++)
		error = txn_subscribe(t, gone.name[i], false, 0);
	error = view_finish(t, error);
out:
	free(gone.name);
	arena_fini(&a);
	return (error);
}

/* ---- dovecot-keywords ---- */

static int
keywords_text(struct view *v, uint32_t box, struct buf *b)
{
	struct arena a = ARENA_INIT;
	const char *const *names;
	struct box *shown = box_by_id(v, box);
	size_t n, i;
	int error = store_keyword_table(v->store, box, &a, &names, &n);

	/* Removed by a program; it is there again with the next name. */
	if (shown != NULL && shown->keywords_removed == n)
		n = 0;
	for (i = 0; error == 0 && i < n; i++)
		if (names[i] != NULL && names[i][0] != '\0' &&
		    !keyword_reserved(names[i]))
			buf_printf(b, "%zu %s\n", i, names[i]);
	arena_fini(&a);
	return (error != 0 ? error : b->error);
}

struct bearers {
	unsigned letter;
	struct buf uids;
};

static int
note_bearer(void *arg, uint32_t box, const struct msg *m)
{
	struct bearers *b = arg;
	struct mail_info info;

	(void)box;
	if (m->letters == NULL || m->letters[0] != '=')
		return (0);
	mail_info_parse(mail_info_text(m->letters + 1), &info);
	if ((info.letters & 1u << b->letter) != 0)
		buf_put_le32(&b->uids, m->uid);
	return (b->uids.error);
}

bool
special_shows_keywords(struct view *v, const struct box *box)
{
	struct buf b = BUF_INIT;
	bool shows = keywords_text(v, box->id, &b) == 0 && b.len > 0;

	buf_fini(&b);
	return (shows);
}

/* The messages that have the letter have the keyword from now on. */
static int
name_letter(struct view *v, struct txn *t, uint32_t box, unsigned letter,
    const char *name)
{
	struct arena a = ARENA_INIT;
	struct bearers b = { .letter = letter, .uids = BUF_INIT };
	struct msg_update u = { 0 };
	struct rd r;
	int error;

	if ((error = store_msgs(v->store, box, 1, note_bearer, &b)) == 0)
		error = keywords_make(&a, &name, 1, &u.kw_add);
	rd_init(&r, b.uids.data, b.uids.len);
	while (error == 0 && rd_left(&r) > 0)
		error = txn_update(t, box, rd_le32(&r), &u);
	buf_fini(&b.uids);
	arena_fini(&a);
	return (error);
}

/* Names may be added; what a number means never changes (DESIGN.md 9, 9). */
static int
apply_keywords(struct view *v, uint32_t box, char *text)
{
	struct box *shown;
	struct arena a = ARENA_INIT;
	const char *const *names;
	char *line, *save, *end;
	struct txn *t;
	size_t n;
	unsigned long number;
	int error;

	if ((error = store_keyword_table(v->store, box, &a, &names, &n)) != 0 ||
	    (error = txn_begin(v->store, NULL, &t)) != 0)
		goto out;
	for (line = strtok_r(text, "\n", &save); line != NULL && error == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		number = strtoul(line, &end, 10);
		if (end == line || *end != ' ' || number > INT32_MAX ||
		    !keyword_valid(end + 1))
			error = -EINVAL;
		else if (number >= n || names[number] == NULL ||
		    names[number][0] == '\0')
			error = txn_keyword(t, box, end + 1, (int)number);
		else if (!keyword_reserved(names[number]))
			error =
			    strcmp(names[number], end + 1) == 0 ? 0 : -EPERM;
		else if ((error = txn_keyword(t, box, end + 1, (int)number)) ==
		    0)
			error =
			    name_letter(v, t, box, (unsigned)number, end + 1);
	}
	error = view_finish(t, error);
	if (error == 0 && (shown = box_by_id(v, box)) != NULL)
		shown->keywords_removed = 0;
	if (error == -EPERM)
		log_warning("dovecot-keywords: a number cannot get another "
			    "name, every message that has it would change");
out:
	arena_fini(&a);
	return (error);
}

int
special_unlink(struct view *v, uint64_t node)
{
	struct arena a = ARENA_INIT;
	struct box *b = box_by_id(v, special_box(v, node));
	const char *const *names;
	size_t n;
	int error;

	if (kind_of(node) == SPECIAL_SUBSCRIPTIONS)
		return (apply_subscriptions(v, "", 0));
	if (kind_of(node) != SPECIAL_KEYWORDS || b == NULL)
		return (-EPERM);
	/* What the letters mean stays: messages still have them. */
	error = store_keyword_table(v->store, b->id, &a, &names, &n);
	if (error == 0) {
		b->keywords_removed = n;
		b->shows_keywords = false;
	}
	arena_fini(&a);
	return (error);
}

int
special_apply(struct view *v, uint64_t node, const char *p, size_t n)
{
	struct stat st;
	char *copy;
	int error;

	if (kind_of(node) == SPECIAL_SUBSCRIPTIONS)
		return (apply_subscriptions(v, p, n));
	if ((copy = strndup(p, n)) == NULL)
		return (-ENOMEM);
	error = apply_keywords(v, special_box(v, node), copy);
	free(copy);
	/* This change has a time, whether or not another follows at once. */
	if (error == 0)
		(void)special_getattr(v, node, &st);
	return (error);
}

/* ---- as files ---- */

int
special_text(struct view *v, uint64_t node, char **p, size_t *n)
{
	struct buf b = BUF_INIT;
	int error = 0;

	switch (kind_of(node)) {
	case SPECIAL_STATUS:
		error = status_text(v, &b);
		break;
	case SPECIAL_CHANGES:
		if ((error = changes_update(v)) == 0)
			buf_put(&b, v->changes, v->changes_len);
		break;
	case SPECIAL_PEERS:
		error = store_peers(v->store, peer_line, &b);
		break;
	case SPECIAL_SUBSCRIPTIONS:
		buf_put(&b, "V\t2\n\n", 5);
		error = store_mailboxes(v->store, subscription_line, &b);
		/* Nothing subscribed: there is no such file. */
		if (b.len == 5)
			buf_reset(&b);
		break;
	case SPECIAL_KEYWORDS:
		error = keywords_text(v, special_box(v, node), &b);
		break;
	case SPECIAL_DIR:
	default:
		error = -EISDIR;
	}
	if (error == 0 && buf_cstr(&b) == NULL)
		error = -ENOMEM;
	if (error != 0) {
		buf_fini(&b);
		return (error);
	}
	*p = (char *)b.data;
	*n = b.len;
	return (0);
}

/*
 * Its time grows with each change, in whole seconds: by these Dovecot knows
 * whether another one has added keywords meanwhile, also within one second.
 */
static int64_t
text_mtime(struct view *v, uint64_t node, int64_t now, const char *p, size_t n)
{
	struct box *b = box_by_id(v, special_box(v, node));
	struct shown_text *shown;
	uint64_t hash = xxh3_64(p, n);

	if (kind_of(node) == SPECIAL_SUBSCRIPTIONS)
		shown = &v->subscriptions;
	else if (kind_of(node) == SPECIAL_KEYWORDS && b != NULL)
		shown = &b->keywords;
	else
		return (now);
	if (shown->mtime == 0 || shown->hash != hash) {
		shown->mtime = now > shown->mtime ? now : shown->mtime + 1;
		shown->hash = hash;
	}
	return (shown->mtime);
}

int
special_getattr(struct view *v, uint64_t node, struct stat *st)
{
	struct os *os = store_os(v->store);
	uint32_t nsec;
	char *text;
	size_t n;
	int64_t sec;
	int error;

	memset(st, 0, sizeof(*st));
	st->st_ino = node;
	st->st_uid = v->o.uid;
	st->st_gid = v->o.gid;
	os->ops->now(os, &sec, &nsec);
	st->st_mtim.tv_sec = st->st_ctim.tv_sec = st->st_atim.tv_sec = sec;
	st->st_blksize = 4096;
	if (kind_of(node) == SPECIAL_DIR) {
		st->st_mode = S_IFDIR | 0500;
		st->st_nlink = 2;
		return (0);
	}
	/* Its text changes without the store; what is read now is not kept. */
	if (kind_of(node) == SPECIAL_STATUS)
		view_tell(v, FORGET_SPECIALS, 0, NULL);
	st->st_mode = S_IFREG | (special_writable(node) ? 0600 : 0400);
	st->st_nlink = 1;
	if (kind_of(node) == SPECIAL_CHANGES) {
		error = changes_update(v);
		st->st_size = (off_t)v->changes_len;
		return (error);
	}
	if ((error = special_text(v, node, &text, &n)) != 0)
		return (error);
	st->st_mtim.tv_sec = st->st_ctim.tv_sec =
	    text_mtime(v, node, sec, text, n);
	free(text);
	st->st_size = (off_t)n;
	return (0);
}

ssize_t
special_read(struct view *v, uint64_t node, void *p, size_t n, uint64_t off)
{
	char *text;
	size_t len;
	int error;

	if ((error = special_text(v, node, &text, &len)) != 0)
		return (error);
	n = off >= len ? 0 : n < len - off ? n : (size_t)(len - off);
	if (n > 0)
		memcpy(p, text + off, n);
	free(text);
	return ((ssize_t)n);
}

int
special_readdir(struct view *v, uint64_t off, view_dir_fn *fn, void *arg)
{
	static const char *const names[] = { "changes", "peers", "status" };
	struct stat st;
	uint64_t i, node;
	int error;

	for (i = off; i < 3; i++) {
		node = special_lookup(v, node_of(SPECIAL_DIR), names[i]);
		if ((error = special_getattr(v, node, &st)) != 0 ||
		    (error = fn(arg, names[i], &st, i + 1)) != 0)
			return (error);
	}
	return (0);
}

void
special_announce(struct view *v, unsigned what)
{
	view_tell(v, FORGET_SPECIALS, 0, NULL);
	if ((what & WATCH_SUBSCRIPTIONS) != 0) {
		view_tell(
		    v, FORGET_INODE, node_of(SPECIAL_SUBSCRIPTIONS), NULL);
		/* The first one makes the file, the last takes it away. */
		view_tell(v, FORGET_INODE, NODE_ROOT, NULL);
	}
}

bool
special_each_shown(unsigned i, uint64_t *node)
{
	static const unsigned kinds[] = { SPECIAL_STATUS, SPECIAL_CHANGES,
		SPECIAL_PEERS };

	if (i >= sizeof(kinds) / sizeof(kinds[0]))
		return (false);
	*node = node_of(kinds[i]);
	return (true);
}
