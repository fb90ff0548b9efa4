/*
 * uidlist -- dovecot-uidlist: version 3 read and written, version 1 (Courier's)
 *read.
 *
 *	3 V<uidvalidity> N<next uid> G<mailbox guid>[ <other key><value>]...
 *	<uid>[ <key><value>]... :<file name>
 *
 * Lines are in ascending order of UIDs; the first that is not ends what is
 *believed (U1).  The file name may carry old letters, so only its base counts.
 *Of two lines with one base the later counts, as it does for Dovecot.  Keys
 *that we do not read are kept.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GUID_MAX 512
#define UIDL_MAX 255
#define REST_MAX 1024

struct cut { /* what is left of a line */
	const char *p, *end;
};

void
uidlist_init(struct uidlist *l)
{
	memset(l, 0, sizeof(*l));
	arena_init(&l->arena);
	table_init(&l->by_base);
	l->rest = "";
	l->next = 1;
}

void
uidlist_fini(struct uidlist *l)
{
	table_fini(&l->by_base);
	free(l->rec);
	arena_fini(&l->arena);
	uidlist_init(l);
}

static bool
number32(struct cut *c, uint32_t *out)
{
	const char *p = c->p;
	uint64_t v = 0;

	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		if ((v = v * 10 + (uint64_t)(*c->p - '0')) > UINT32_MAX)
			return (false);
	*out = (uint32_t)v;
	return (c->p > p);
}

/* The next word, up to a space; false at the end. */
static bool
word(struct cut *c, struct cut *out)
{
	while (c->p < c->end && *c->p == ' ')
		c->p++;
	if (c->p == c->end)
		return (false);
	out->p = c->p;
	while (c->p < c->end && *c->p != ' ')
		c->p++;
	out->end = c->p;
	return (true);
}

static bool
all_digits(struct cut w, uint32_t *out)
{
	return (number32(&w, out) && w.p == w.end);
}

static int
problem(struct uidlist *l, const char *what, unsigned line)
{
	l->problem = what;
	l->problem_line = line;
	l->rewrite = true;
	return (1);
}

static int
keep_word(struct buf *rest, struct cut w)
{
	if (rest->len + (size_t)(w.end - w.p) < REST_MAX &&
	    memchr(w.p, 0, (size_t)(w.end - w.p)) == NULL)
		buf_printf(rest, " %.*s", (int)(w.end - w.p), w.p);
	return (rest->error);
}

static bool
guid_of(struct cut w, struct guid *g)
{
	char hex[GUID_HEX_LEN + 1];

	if (w.end - w.p != GUID_HEX_LEN)
		return (false);
	memcpy(hex, w.p, GUID_HEX_LEN);
	hex[GUID_HEX_LEN] = 0;
	return (strlen(hex) == GUID_HEX_LEN && guid_parse(hex, g) == 0);
}

/* 1: the list is of no use. */
static int
parse_header(struct uidlist *l, struct cut c)
{
	struct buf rest = BUF_INIT;
	bool bad = false;
	struct cut w;
	int rc = 0;

	while (rc == 0 && word(&c, &w)) {
		char key = *w.p++;

		if (key == 'V')
			bad |= !all_digits(w, &l->uidvalidity);
		else if (key == 'N')
			bad |= !all_digits(w, &l->next);
		else if (key == 'G')
			bad |= !guid_of(w, &l->guid);
		else
			rc = keep_word(&rest, (struct cut){ w.p - 1, w.end });
	}
	if (rc == 0 && rest.len > 0 &&
	    (l->rest = arena_strdup(&l->arena, buf_cstr(&rest))) == NULL)
		rc = -ENOMEM;
	buf_fini(&rest);
	if (rc != 0)
		return (rc);
	if (l->uidvalidity == 0)
		return (problem(l, "the first line has no UIDVALIDITY", 1));
	if (bad)
		(void)problem(l, "a value in the first line is not right", 1);
	if (guid_is_zero(&l->guid))
		l->rewrite = true;
	if (l->next == 0)
		l->next = 1;
	return (0);
}

static int
parse_header_v1(struct uidlist *l, struct cut c)
{
	struct cut v, n;

	l->rewrite = true;
	if (!word(&c, &v) || !all_digits(v, &l->uidvalidity) ||
	    l->uidvalidity == 0 || !word(&c, &n) || !all_digits(n, &l->next)) {
		l->uidvalidity = 0;
		return (problem(l, "the first line is not right", 1));
	}
	if (l->next == 0)
		l->next = 1;
	return (0);
}

static const char *
dup_word(struct uidlist *l, struct cut w, size_t max)
{
	size_t n = (size_t)(w.end - w.p);

	return (n > max || memchr(w.p, 0, n) != NULL
		? ""
		: arena_strndup(&l->arena, w.p, n));
}

/* The keys before " :"; unreadable values are as good as none. */
static int
parse_keys(struct uidlist *l, struct cut *c, struct uidrec *r)
{
	struct buf rest = BUF_INIT;
	struct cut w;
	uint32_t v;
	int rc = 0;

	while (rc == 0) {
		while (c->p < c->end && *c->p == ' ')
			c->p++;
		if (c->p == c->end || *c->p == ':' || !word(c, &w))
			break;
		switch (*w.p++) {
		case 'G':
			r->guid = dup_word(l, w, GUID_MAX);
			rc = r->guid == NULL ? -ENOMEM : 0;
			if (rc == 0 && *r->guid == 0)
				r->guid = NULL;
			break;
		case 'P':
			r->pop3_uidl = dup_word(l, w, UIDL_MAX);
			rc = r->pop3_uidl == NULL ? -ENOMEM : 0;
			break;
		case 'O':
			if (all_digits(w, &v))
				r->pop3_order = v;
			break;
		case 'W':
			if (all_digits(w, &v))
				r->vsize = v;
			break;
		default:
			rc = keep_word(&rest, (struct cut){ w.p - 1, w.end });
		}
	}
	if (rc == 0 && rest.len > 0 &&
	    (r->rest = arena_strdup(&l->arena, buf_cstr(&rest))) == NULL)
		rc = -ENOMEM;
	buf_fini(&rest);
	return (rc);
}

static int
append(struct uidlist *l, const struct uidrec *r)
{
	uint32_t old;
	int rc;

	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 64 : l->cap * 2;
		struct uidrec *v = realloc(l->rec, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		l->rec = v;
		l->cap = cap;
	}
	if (table_get(&l->by_base, r->base, &old))
		/* two lines for one file must not stay */
		l->rewrite = true;
	if ((rc = table_set(&l->by_base, r->base, (uint32_t)l->n)) != 0)
		return (rc);
	l->rec[l->n++] = *r;
	if (r->uid >= l->next)
		l->next = r->uid == UINT32_MAX ? UINT32_MAX : r->uid + 1;
	return (0);
}

/* 1: what follows is not believed. */
static int
parse_record(struct uidlist *l, struct cut c, unsigned line, bool v1)
{
	struct uidrec r = { .rest = "" };
	size_t n;
	int rc;

	if (!number32(&c, &r.uid) || r.uid == 0 || r.uid == UINT32_MAX ||
	    c.p == c.end || *c.p != ' ')
		return (problem(l, "a line does not begin with a UID", line));
	if (l->n > 0 && r.uid <= l->rec[l->n - 1].uid)
		return (problem(l, "UIDs are not in order", line));
	if (v1) {
		c.p++;
	} else {
		if ((rc = parse_keys(l, &c, &r)) != 0)
			return (rc);
		if (c.p == c.end) /* no file: a leftover */
			return (0);
		c.p++;
	}
	n = (size_t)(c.end - c.p);
	if (memchr(c.p, ':', n) != NULL)
		n = (size_t)((const char *)memchr(c.p, ':', n) - c.p);
	if (n == 0 || n > 255 || memchr(c.p, 0, n) != NULL ||
	    memchr(c.p, '/', n) != NULL || *c.p == '.') {
		(void)problem(l, "a line has no file name", line);
		if (r.uid >= l->next)
			l->next = r.uid + 1;
		return (0);
	}
	if ((r.base = arena_strndup(&l->arena, c.p, n)) == NULL)
		return (-ENOMEM);
	return (append(l, &r));
}

static int
parse_first(struct uidlist *l, struct cut c, bool *v1)
{
	struct cut w;

	if (!word(&c, &w) || w.end - w.p != 1 || (*w.p != '1' && *w.p != '3')) {
		return (problem(
		    l, "the first line names no version that is known", 1));
	}
	*v1 = *w.p == '1';
	return (*v1 ? parse_header_v1(l, c) : parse_header(l, c));
}

int
uidlist_parse(struct uidlist *l, const char *p, size_t n)
{
	const char *end = p + n, *lf;
	unsigned line = 1;
	bool v1 = false;
	int rc = 0;

	if (n == 0) {
		l->rewrite = true;
		return (0);
	}
	for (; rc == 0 && p < end; p = lf + 1, line++) {
		/*
		 * A line without an end was being written when something
		 * stopped.
		 */
		if ((lf = memchr(p, '\n', (size_t)(end - p))) == NULL) {
			l->rewrite = true;
			break;
		}
		if (line == 1)
			rc = parse_first(l, (struct cut){ p, lf }, &v1);
		else
			rc = parse_record(l, (struct cut){ p, lf }, line, v1);
	}
	return (rc < 0 ? rc : 0);
}

const struct uidrec *
uidlist_find(const struct uidlist *l, const char *base)
{
	uint32_t i;

	return (table_get(&l->by_base, base, &i) ? &l->rec[i] : NULL);
}

const struct uidrec *
uidlist_find_uid(const struct uidlist *l, uint32_t uid)
{
	size_t lo = 0, hi = l->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (l->rec[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo < l->n && l->rec[lo].uid == uid ? &l->rec[lo] : NULL);
}

static int
copy_str(struct uidlist *l, const char **s)
{
	if (*s != NULL && **s == '\0')
		*s = "";
	else if (*s != NULL && (*s = arena_strdup(&l->arena, *s)) == NULL)
		return (-ENOMEM);
	return (0);
}

int
uidlist_add(struct uidlist *l, const struct uidrec *in)
{
	struct uidrec r = *in;

	if (r.uid == 0 || r.uid == UINT32_MAX ||
	    (l->n > 0 && r.uid <= l->rec[l->n - 1].uid))
		return (-EINVAL);
	if (r.rest == NULL)
		r.rest = "";
	if (copy_str(l, &r.base) != 0 || copy_str(l, &r.guid) != 0 ||
	    copy_str(l, &r.pop3_uidl) != 0 || copy_str(l, &r.rest) != 0)
		return (-ENOMEM);
	return (append(l, &r));
}

bool
uidlist_value_ok(const char *value)
{
	for (; *value != 0; value++)
		if (*value == ' ' || *value == '\n' || *value == '\r')
			return (false);
	return (true);
}

void
uidlist_put_record(struct buf *b, const struct uidrec *r)
{
	buf_printf(b, "%" PRIu32, r->uid);
	if (r->guid != NULL)
		buf_printf(b, " G%s", r->guid);
	if (r->pop3_uidl != NULL)
		buf_printf(b, " P%s", r->pop3_uidl);
	if (r->pop3_order != 0)
		buf_printf(b, " O%" PRIu32, r->pop3_order);
	if (r->vsize != 0)
		buf_printf(b, " W%" PRIu64, r->vsize);
	buf_printf(b, "%s :%s\n", r->rest == NULL ? "" : r->rest, r->base);
}

void
uidlist_format(struct buf *b, const struct uidlist *l)
{
	char hex[GUID_HEX_LEN + 1];

	buf_printf(b, "3 V%" PRIu32 " N%" PRIu32 " G%s%s\n", l->uidvalidity,
	    l->next, guid_hex(&l->guid, hex), l->rest);
	/* Of two lines with one base only the later is written. */
	for (size_t i = 0; i < l->n; i++)
		if (uidlist_find(l, l->rec[i].base) == &l->rec[i])
			uidlist_put_record(b, &l->rec[i]);
}
