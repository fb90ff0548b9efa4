/*
 * location -- parses "driver:path[:KEY=VALUE...]" and hands it to its driver.
 *
 * A ':' that is part of a path is written "::".
 */
#include "sync/location.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

static const struct driver *
driver_find(drivers known, const char *name, size_t n)
{
	for (size_t i = 0; known[i] != NULL; i++)
		if (strlen(known[i]->name) == n &&
		    memcmp(known[i]->name, name, n) == 0)
			return (known[i]);
	return (NULL);
}

static int
unknown_driver(drivers known, const char *text, size_t n, const char *origin)
{
	struct buf b = BUF_INIT;
	const char *list;

	for (size_t i = 0; known[i] != NULL; i++)
		buf_printf(&b, "%s%s", i == 0 ? "" : ", ", known[i]->name);
	list = buf_cstr(&b);
	log_error("%s: location '%s': unknown kind '%.*s'; known are: %s",
	    origin, text, (int)n, text, list == NULL ? "" : list);
	buf_fini(&b);
	return (-EPROTONOSUPPORT);
}

/*
 * The next part of the text up to a single ':'; "::" stands for one.  *p moves
 * behind it, NULL at the end.
 */
static char *
next_part(struct arena *a, const char **p)
{
	size_t n = strlen(*p), used = 0;
	char *out = arena_alloc(a, n + 1);
	const char *s = *p;

	if (out == NULL)
		return (NULL);
	for (; *s != '\0'; s++) {
		if (*s == ':') {
			if (s[1] != ':')
				break;
			s++;
		}
		out[used++] = *s;
	}
	out[used] = '\0';
	*p = *s == ':' ? s + 1 : NULL;
	return (out);
}

static void
put_user(struct buf *b, char what)
{
	const char *user = getenv("USER");
	const char *at;

	if (user == NULL)
		user = getenv("LOGNAME");
	if (user == NULL)
		user = "";
	at = strchr(user, '@');
	if (what == 'u')
		buf_printf(b, "%s", user);
	else if (what == 'd')
		buf_printf(b, "%s", at == NULL ? "" : at + 1);
	else
		buf_printf(b, "%.*s",
		    at == NULL ? (int)strlen(user) : (int)(at - user), user);
}

/* "~" at the start and %h %u %n %d %% anywhere. */
static int
expand(struct arena *a, const char *path, const char *text, const char *origin,
    const char **out)
{
	const char *home = getenv("HOME");
	struct buf b = BUF_INIT;
	const char *s = path, *done;
	int rc = 0;

	if (s[0] == '~' && (s[1] == '/' || s[1] == '\0')) {
		if (home == NULL)
			goto no_home;
		buf_printf(&b, "%s", home);
		s++;
	}
	for (; *s != '\0'; s++) {
		if (*s != '%') {
			buf_put_u8(&b, (uint8_t)*s);
			continue;
		}
		s++;
		if (*s == 'h') {
			if (home == NULL)
				goto no_home;
			buf_printf(&b, "%s", home);
		} else if (*s == 'u' || *s == 'n' || *s == 'd') {
			put_user(&b, *s);
		} else if (*s == '%') {
			buf_put_u8(&b, '%');
		} else {
			log_error("%s: location '%s': '%%' must be followed by "
				  "h, u, n, d or %%",
			    origin, text);
			rc = -EINVAL;
			goto fail;
		}
	}
	while (b.len > 1 && b.data[b.len - 1] == '/')
		b.len--;
	done = buf_cstr(&b);
	*out = done == NULL ? NULL : arena_strdup(a, done);
	rc = *out == NULL ? -ENOMEM : 0;
fail:
	buf_fini(&b);
	return (rc);
no_home:
	log_error("%s: location '%s': no home directory is known; set HOME or "
		  "write the whole path",
	    origin, text);
	rc = -EINVAL;
	goto fail;
}

static bool
option_known(const struct driver *d, const char *option)
{
	size_t n = strcspn(option, "=");

	for (size_t i = 0; d->options != NULL && d->options[i] != NULL; i++)
		if (strlen(d->options[i]) == n &&
		    strncmp(d->options[i], option, n) == 0)
			return (true);
	return (false);
}

static int
parse_options(struct arena *a, const struct driver *d, const char *p,
    const char *text, const char *origin, struct location *l)
{
	const char **list;
	size_t max = 1;

	for (const char *s = p; s != NULL && *s != '\0'; s++)
		if (*s == ':')
			max++;
	list = arena_alloc(a, max * sizeof(*list));
	if (list == NULL)
		return (-ENOMEM);
	l->option = list;
	l->options = 0;
	while (p != NULL) {
		const char *o = next_part(a, &p);

		if (o == NULL)
			return (-ENOMEM);
		if (*o == '\0')
			continue;
		if (!option_known(d, o)) {
			log_error(
			    "%s: location '%s': '%s' has no option '%.*s'",
			    origin, text, d->name, (int)strcspn(o, "="), o);
			return (-ENOTSUP);
		}
		list[l->options++] = o;
	}
	return (0);
}

int
location_parse(struct arena *a, drivers known, const char *text,
    const char *origin, struct location *out)
{
	struct location l = { .text = arena_strdup(a, text),
		.origin = arena_strdup(a, origin) };
	const char *colon = strchr(text, ':'), *p;
	const struct driver *d;
	char *path;
	int rc;

	if (l.text == NULL || l.origin == NULL)
		return (-ENOMEM);
	if (colon == NULL || colon == text) {
		log_error("%s: location '%s' is not of the form KIND:PATH",
		    origin, text);
		return (-EINVAL);
	}
	d = driver_find(known, text, (size_t)(colon - text));
	if (d == NULL)
		return (unknown_driver(
		    known, text, (size_t)(colon - text), origin));
	l.driver = d->name;
	p = colon + 1;
	path = next_part(a, &p);
	if (path == NULL)
		return (-ENOMEM);
	if (*path == '\0') {
		log_error("%s: location '%s': the path is missing after '%s:'",
		    origin, text, d->name);
		return (-EINVAL);
	}
	rc = expand(a, path, text, origin, &l.path);
	if (rc == 0)
		rc = parse_options(a, d, p, text, origin, &l);
	if (rc == 0)
		*out = l;
	return (rc);
}

const char *
location_option(const struct location *l, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < l->options; i++)
		if (strncmp(l->option[i], key, n) == 0) {
			if (l->option[i][n] == '=')
				return (l->option[i] + n + 1);
			if (l->option[i][n] == '\0')
				return ("");
		}
	return (NULL);
}

int
location_open(drivers known, const struct location *l,
    const struct store_settings *settings, unsigned flags, struct replica **out)
{
	const struct driver *d =
	    driver_find(known, l->driver, strlen(l->driver));

	if (d == NULL)
		return (unknown_driver(
		    known, l->text, strcspn(l->text, ":"), l->origin));
	return (d->open(l, settings, flags, out));
}
