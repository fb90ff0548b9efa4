/*
 * words -- host names, users and command lines, which end up in a program's
 * arguments or in another machine's shell.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

#define NAME_MAX_BYTES 255
#define WORDS_MAX 1000

/* ASCII only, whatever the locale says. */
static bool
is_alnum(char c)
{
	return ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9'));
}

static bool
is_control(char c)
{
	return ((unsigned char)c < 0x20 || c == 0x7f);
}

/* extra: allowed beside letters and digits; NULL: all but controls. */
static int
check(const char *what, const char *s, const char *extra, const char *origin)
{
	const char *wrong = NULL;

	if (*s == '\0')
		wrong = "is empty";
	else if (strlen(s) > NAME_MAX_BYTES)
		wrong = "is longer than 255 bytes";
	else if (*s == '-')
		wrong = "begins with '-', which a program may take for an "
			"option";
	for (const char *p = s; *p != '\0' && wrong == NULL; p++) {
		if (is_control(*p))
			wrong = "has a control character";
		else if (extra != NULL && !is_alnum(*p) &&
		    strchr(extra, *p) == NULL)
			wrong = "has a character that no such name has";
	}
	if (wrong == NULL)
		return (0);
	log_error("%s: the %s '%.100s' %s: refused", origin, what, s, wrong);
	return (-EINVAL);
}

int
check_host(const char *host, const char *origin)
{
	return (check("host", host, "._-:%", origin));
}

int
check_login(const char *login, const char *origin)
{
	return (check("login", login, "._-@+", origin));
}

int
check_user(const char *user, const char *origin)
{
	return (check("user", user, NULL, origin));
}

/* ---- quoting ---- */

static bool
is_plain(const char *s)
{
	if (*s == '\0')
		return (false);
	for (; *s != '\0'; s++)
		if (!is_alnum(*s) && strchr("@%+:,./_-", *s) == NULL)
			return (false);
	return (true);
}

/*
 * Within '...' only ' ends it in every shell, but fish takes \ before a quote
 * or another \ for an escape: both stand in "..." of their own.
 */
void
shell_quote(struct buf *b, const char *s)
{
	if (is_plain(s)) {
		buf_put(b, s, strlen(s));
		return;
	}
	buf_put_u8(b, '\'');
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			buf_put(b, "'\"'\"'", 5);
		else if (*s == '\\')
			buf_put(b, "'\"\\\\\"'", 6);
		else
			buf_put_u8(b, (uint8_t)*s);
	}
	buf_put_u8(b, '\'');
}

/* ---- a command line in one string ---- */

/* What a shell would do more with than we do. */
#define SHELL_ONLY "|&;<>()$`\n"

/* One word from *at on, unquoted into b; *at behind it. NULL or what is wrong*/
static const char *
one_word(const char **at, struct buf *b)
{
	const char *p = *at;
	char quote = '\0';

	for (; *p != '\0' && (quote != '\0' || (*p != ' ' && *p != '\t'));
	     p++) {
		if (*p == quote) {
			quote = '\0';
		} else if (quote == '\0' && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else if (*p == '\\' && quote != '\'') {
			if (p[1] == '\0')
				return ("ends with a \\");
			/* within "...", \ is itself but before these */
			if (quote == '"' && strchr("\\\"$`", p[1]) == NULL)
				buf_put_u8(b, '\\');
			buf_put_u8(b, (uint8_t) * ++p);
		} else if (quote == '\0' && strchr(SHELL_ONLY, *p) != NULL) {
			return ("needs a shell for what stands in it: write "
				"sh -c '...', or quote it");
		} else if (quote == '"' && strchr("$`", *p) != NULL) {
			return ("needs a shell for a $ or ` in \"...\": write "
				"sh -c '...', or use '...'");
		} else
			buf_put_u8(b, (uint8_t)*p);
	}
	*at = p;
	return (quote != '\0' ? "has a quote that is not closed" : NULL);
}

/* A copy in the arena; NULL after an error of either. */
static const char *
kept(struct arena *a, struct buf *b)
{
	const char *text = buf_cstr(b);

	return (text == NULL ? NULL : arena_strndup(a, text, b->len));
}

static const char *
skip_blanks(const char *p)
{
	return (p + strspn(p, " \t"));
}

int
link_words(struct arena *a, const char *text, const char *origin,
    const char *const **argv)
{
	const char **v = arena_zalloc(a, (WORDS_MAX + 1) * sizeof(*v));
	const char *at = skip_blanks(text), *wrong = NULL;
	struct buf b = BUF_INIT;
	size_t n = 0;
	int r = -EINVAL;

	if (*at == '\0')
		wrong = "is empty";
	while (wrong == NULL && v != NULL && *at != '\0') {
		buf_reset(&b);
		if (n == WORDS_MAX) {
			wrong = "has too many words";
			break;
		}
		wrong = one_word(&at, &b);
		v[n++] = kept(a, &b);
		at = skip_blanks(at);
	}
	if (wrong != NULL)
		log_error(
		    "%s: the command line '%.200s' %s", origin, text, wrong);
	else if (v == NULL || a->error != 0 || b.error != 0) {
		log_error("%s: out of memory", origin);
		r = -ENOMEM;
	} else {
		*argv = v;
		r = 0;
	}
	buf_fini(&b);
	return (r);
}

/* ---- dsync_remote_cmd ---- */

struct expansion {
	const struct command_values *v;
	bool quote; /* %u stands where a shell reads it */
	bool named, found; /* in this word: a value, one that is there */
};

/* NULL, or the value of the name at p (behind the %); *end behind it. */
static const char *
value_at(const struct command_values *v, const char *p, const char **end,
    bool *known)
{
	static const char *const names[] = { "{login}", "{host}", "{user}",
		"u" };
	const char *values[] = { v->login, v->host, v->user, v->user };

	*known = false;
	for (size_t i = 0; i < 4; i++)
		if (strncmp(p, names[i], strlen(names[i])) == 0) {
			*end = p + strlen(names[i]);
			*known = true;
			return (values[i]);
		}
	return (NULL);
}

/* word expanded into b; -EINVAL reported. */
static int
expand(struct buf *b, const char *word, struct expansion *e)
{
	const char *value;
	bool known;

	e->named = e->found = false;
	while (*word != '\0') {
		if (*word != '%') {
			buf_put_u8(b, (uint8_t)*word++);
			continue;
		}
		if (word[1] == '%') {
			buf_put_u8(b, '%');
			word += 2;
			continue;
		}
		value = value_at(e->v, word + 1, &word, &known);
		if (!known) {
			log_error("dsync_remote_cmd: '%.100s' is none of "
				  "%%{login}, %%{host}, %%{user}, %%u, %%%%",
			    word);
			return (-EINVAL);
		}
		e->named = true;
		if (value == NULL || *value == '\0')
			continue;
		e->found = true;
		if (e->quote)
			shell_quote(b, value);
		else
			buf_put(b, value, strlen(value));
	}
	return (0);
}

/* "-u%u" without a user is left out, as Dovecot does; "%u" is "". */
static bool
left_out(const struct expansion *e, const struct buf *b)
{
	return (e->named && !e->found && b->len != 0);
}

static int
check_values(const struct command_values *v)
{
	static const char origin[] = "dsync_remote_cmd";

	if ((v->login != NULL && check_login(v->login, origin) != 0) ||
	    (v->host != NULL && check_host(v->host, origin) != 0) ||
	    (v->user != NULL && check_user(v->user, origin) != 0))
		return (-EINVAL);
	return (0);
}

bool
command_is_local(const char *tmpl)
{
	const char *p = skip_blanks(tmpl);

	return (strncmp(p, "ssh", 3) == 0 && (p[3] == ' ' || p[3] == '\t'));
}

/* A value that needs quotes cannot stand where quotes are already. */
static int
check_quotes(const char *tmpl, const struct command_values *v)
{
	if (v->user == NULL || is_plain(v->user) ||
	    strpbrk(tmpl, "'\"\\") == NULL)
		return (0);
	log_error("dsync_remote_cmd has quotes, and the user '%.100s' would "
		  "need some within them: write a script over there",
	    v->user);
	return (-EINVAL);
}

static int
out_of_memory(void)
{
	log_error("dsync_remote_cmd: out of memory");
	return (-ENOMEM);
}

int
command_remote(struct arena *a, const char *tmpl,
    const struct command_values *v, const char **text)
{
	struct expansion e = { .v = v, .quote = true };
	struct buf all = BUF_INIT, word = BUF_INIT;
	const char *p, *copy;
	size_t n;
	int r;

	if ((r = check_values(v)) != 0 || (r = check_quotes(tmpl, v)) != 0)
		goto out;
	/* at blanks only, and put together again: the shell reads the rest */
	for (p = skip_blanks(tmpl); r == 0 && *p != '\0'; p = skip_blanks(p)) {
		n = strcspn(p, " \t");
		buf_reset(&word);
		if ((copy = arena_strndup(a, p, n)) == NULL)
			break;
		r = expand(&word, copy, &e);
		p += n;
		if (left_out(&e, &word))
			continue;
		if (all.len != 0)
			buf_put_u8(&all, ' ');
		buf_put(&all, word.data, word.len);
	}
	if (r != 0)
		goto out;
	copy = kept(a, &all);
	if (copy == NULL || a->error != 0 || word.error != 0) {
		r = out_of_memory();
	} else if (*copy == '\0' || strpbrk(copy, "\r\n") != NULL) {
		log_error("dsync_remote_cmd is no command");
		r = -EINVAL;
	} else
		*text = copy;
out:
	buf_fini(&word);
	buf_fini(&all);
	return (r);
}

int
command_local(struct arena *a, const char *tmpl, const struct command_values *v,
    const char *const **argv)
{
	struct expansion e = { .v = v, .quote = true };
	const char *const *words, **out;
	struct buf word = BUF_INIT;
	size_t n = 0, k = 0;
	int r;

	/* ssh gives what follows the host to a shell over there */
	if ((r = check_values(v)) != 0 || (r = check_quotes(tmpl, v)) != 0 ||
	    (r = link_words(a, tmpl, "dsync_remote_cmd", &words)) != 0)
		return (r);
	while (words[n] != NULL)
		n++;
	out = arena_zalloc(a, (n + 1) * sizeof(*out));
	for (size_t i = 0; out != NULL && r == 0 && i < n; i++) {
		buf_reset(&word);
		r = expand(&word, words[i], &e);
		if (r == 0 && !left_out(&e, &word))
			out[k++] = kept(a, &word);
	}
	if (r == 0 && (a->error != 0 || word.error != 0))
		r = out_of_memory();
	buf_fini(&word);
	if (r == 0)
		*argv = out;
	return (r);
}
