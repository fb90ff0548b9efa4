/*
 * config_line -- the syntax of one line: `key = value`, `section name {`, `}`,
 * # comments, quotes.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "base/buf.h"
#include "cmd/config_internal.h"

static bool
blank(char ch)
{
	return (ch == ' ' || ch == '\t' || ch == '\r');
}

static size_t
word_len(const char *p, const char *end)
{
	const char *at = p;

	while (at < end &&
	    (isalnum((unsigned char)*at) || *at == '_' || *at == '-' ||
		*at == '.'))
		at++;
	return ((size_t)(at - p));
}

static const char *
skip(const char *p, const char *end)
{
	while (p < end && blank(*p))
		p++;
	return (p);
}

/* A quoted value at p: \" and \\ in double quotes stand for themselves. */
static const char *
quoted(struct arena *a, const char *p, const char *end, const char **value)
{
	struct buf b = BUF_INIT;
	char quote = *p++;

	for (; p < end && *p != quote; p++) {
		if (quote == '"' && *p == '\\' && p + 1 < end &&
		    (p[1] == '"' || p[1] == '\\'))
			p++;
		buf_put_u8(&b, (uint8_t)*p);
	}
	if (p >= end) {
		buf_fini(&b);
		return ("the closing quote is missing");
	}
	p = skip(p + 1, end);
	*value = b.error != 0
	    ? NULL
	    : arena_strndup(a, b.len != 0 ? (const void *)b.data : "", b.len);
	buf_fini(&b);
	if (p < end && *p != '#')
		return ("text after the closing quote");
	return (NULL);
}

static const char *
setting(
    struct arena *a, const char *p, const char *end, struct config_line *out)
{
	const char *stop = p;

	out->type = LINE_SETTING;
	if (p < end && (*p == '"' || *p == '\''))
		return (quoted(a, p, end, &out->value));
	/*
	 * A # begins a comment only behind a blank: mailbox names and passwords
	 * hold them.
	 */
	while (stop < end && !(*stop == '#' && (stop == p || blank(stop[-1]))))
		stop++;
	while (stop > p && blank(stop[-1]))
		stop--;
	out->value = arena_strndup(a, p, (size_t)(stop - p));
	return (NULL);
}

static const char *
section(
    struct arena *a, const char *p, const char *end, struct config_line *out)
{
	size_t n = word_len(p, end);

	out->type = LINE_SECTION;
	if (n != 0)
		out->value = arena_strndup(a, p, n);
	p = skip(p + n, end);
	if (p >= end || *p != '{')
		return ("neither 'key = value' nor 'section name {'");
	p = skip(p + 1, end);
	if (p < end && *p != '#')
		return ("text after '{': put it on a line of its own");
	return (NULL);
}

const char *
config_line(
    struct arena *a, const char *text, size_t len, struct config_line *out)
{
	const char *p, *end = text + len;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (memchr(text, 0, len) != NULL)
		return ("a NUL byte: this is not a text file");
	p = skip(text, end);
	if (p == end || *p == '#')
		return (NULL);
	if (*p == '}') {
		p = skip(p + 1, end);
		out->type = LINE_SECTION_END;
		return (p < end && *p != '#'
			? "text after '}': put it on a line of its own"
			: NULL);
	}
	n = word_len(p, end);
	if (n == 0)
		return ("neither 'key = value' nor 'section name {'");
	out->key = arena_strndup(a, p, n);
	p = skip(p + n, end);
	if (p < end && *p == '=')
		return (setting(a, skip(p + 1, end), end, out));
	return (section(a, p, end, out));
}
