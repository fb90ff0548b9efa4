/*
 * subs -- the file of subscriptions: version 2 ("V\t2", an empty line, levels
 * separated by TAB) and the old one without a header.
 *
 * Lines stay as they were read, in their order; only what is added is written
 * anew.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 8192

static const char header[] = "V\t2\n\n";

void
subs_init(struct subs *s, char sep)
{
	memset(s, 0, sizeof(*s));
	arena_init(&s->arena);
	s->sep = sep;
}

void
subs_fini(struct subs *s)
{
	free(s->line);
	arena_fini(&s->arena);
	s->line = NULL;
	s->n = s->cap = 0;
}

static int
push(struct subs *s, const char *raw, const char *name)
{
	if (raw == NULL || name == NULL)
		return (-ENOMEM);
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 32 : s->cap * 2;
		struct sub_line *v = realloc(s->line, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		s->line = v;
		s->cap = cap;
	}
	s->line[s->n++] = (struct sub_line){ raw, name };
	return (0);
}

/* One escaped character; 0: not one. */
static char
unescaped(char c)
{
	static const char from[] = "tnr1", to[] = "\t\n\r\001";
	const char *p = c == 0 ? NULL : strchr(from, c);

	return (p == NULL ? 0 : to[p - from]);
}

/* Levels joined by '/'; NULL with *bad for what is no name. */
static char *
decode(struct subs *s, const char *p, size_t n, bool *bad)
{
	char *out = arena_alloc(&s->arena, n + 1);
	size_t used = 0;

	*bad = false;
	for (size_t i = 0; out != NULL && i < n; i++) {
		char c = p[i];

		if (c == 0 || (c == '/' && (!s->v1 || s->sep != '/')))
			*bad = true;
		else if (s->v1)
			c = c == s->sep ? '/' : c;
		else if (c == '\t')
			c = '/';
		else if (c == 1 && (++i == n || (c = unescaped(p[i])) == 0))
			*bad = true;
		out[used++] = c;
	}
	if (out != NULL)
		out[used] = 0;
	return (out);
}

static int
parse_line(struct subs *s, const char *p, size_t n)
{
	bool bad = n > LINE_MAX_BYTES;
	char *name;
	int rc;

	/* The header further down would become one when the lines above it go.
	 */
	if (bad || memchr(p, 0, n) != NULL ||
	    (s->v1 && n == 3 && memcmp(p, header, 3) == 0)) {
		s->bad++;
		return (0);
	}
	if ((name = decode(s, p, n, &bad)) == NULL)
		return (-ENOMEM);
	if (bad)
		s->bad++;
	/* A line that we cannot read stays in the file. */
	rc = push(s, arena_strndup(&s->arena, p, n), bad ? "" : name);
	return (rc);
}

int
subs_parse(struct subs *s, const char *p, size_t n)
{
	const char *end, *lf;
	int rc;

	s->v1 = n > 0;
	if (n == 0)
		return (0);
	end = p + n;
	if (n >= 3 && memcmp(p, header, 3) == 0 && (n == 3 || p[3] == '\n')) {
		s->v1 = false;
		p += n > 3 ? 4 : 3;
	}
	for (; p < end; p = lf + 1) {
		if ((lf = memchr(p, '\n', (size_t)(end - p))) == NULL)
			lf = end;
		if (lf != p && (rc = parse_line(s, p, (size_t)(lf - p))) != 0)
			return (rc);
		if (lf == end)
			break;
	}
	return (0);
}

bool
subs_has(const struct subs *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->line[i].name, name) == 0)
			return (true);
	return (false);
}

/* The line of a name. */
static const char *
encode(struct subs *s, const char *name)
{
	char *out = arena_alloc(&s->arena, 2 * strlen(name) + 1);
	size_t used = 0;

	for (; out != NULL && *name != 0; name++) {
		const char *p = *name == '\t' ? "t"
		    : *name == '\n'           ? "n"
		    : *name == '\r'           ? "r"
		    : *name == 1              ? "1"
					      : NULL;

		if (*name == '/') {
			out[used++] = s->v1 ? s->sep : '\t';
		} else if (p != NULL && !s->v1) {
			out[used++] = 1;
			out[used++] = *p;
		} else {
			out[used++] = *name;
		}
	}
	if (out != NULL)
		out[used] = 0;
	return (out);
}

int
subs_add(struct subs *s, const char *name)
{
	if (*name == 0 || subs_has(s, name))
		return (0);
	return (push(s, encode(s, name), arena_strdup(&s->arena, name)));
}

void
subs_remove(struct subs *s, const char *name)
{
	size_t used = 0;

	for (size_t i = 0; i < s->n; i++)
		if (*name == 0 || strcmp(s->line[i].name, name) != 0)
			s->line[used++] = s->line[i];
	s->n = used;
}

void
subs_format(struct buf *b, const struct subs *s)
{
	if (!s->v1)
		buf_put(b, header, sizeof(header) - 1);
	for (size_t i = 0; i < s->n; i++)
		buf_printf(b, "%s\n", s->line[i].raw);
}
