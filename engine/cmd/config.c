/*
 * config -- the keys of dsyncfs.conf, their values and their mistakes.
 */
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"
#include "cmd/config_internal.h"

/* Of changed pages of the index; the most is what is so by default. */
#define DIRTY_LEAST ((size_t)4 << 20)
#define DIRTY_MOST ((size_t)16 << 20)

/* Each gives NULL, or what would be right. */
typedef const char *set_fn(struct config *c, const struct config_value *v);

static const char *
set_mail_location(struct config *c, const struct config_value *v)
{
	c->mail_location = *v;
	return (
	    *v->text != '\0' ? NULL : "a location, such as maildir:~/Maildir");
}

static const char *
set_remote(struct config *c, const struct config_value *v)
{
	c->remote = *v;
	if (*v->text == '\0')
		c->remote.text = NULL;
	return (NULL);
}

int
config_sync(const char *text, bool *push, unsigned *seconds)
{
	int64_t secs;

	*push = strcmp(text, "push") == 0;
	*seconds = 0;
	if (*push || strcmp(text, "manual") == 0)
		return (0);
	if (value_duration(text, &secs) != 0 || secs < 1 || secs > 86400)
		return (-EINVAL);
	*seconds = (unsigned)secs;
	return (0);
}

static bool
sync_ok(const char *text)
{
	unsigned seconds;
	bool push;

	return (config_sync(text, &push, &seconds) == 0);
}

static const char *
set_sync(struct config *c, const struct config_value *v)
{
	c->sync = *v;
	return (
	    sync_ok(v->text) ? NULL : "manual, push or a time from 1s to 1d");
}

static const char *
set_layout(struct config *c, const struct config_value *v)
{
	c->layout = *v;
	return (strcmp(v->text, "maildir++") == 0 || strcmp(v->text, "fs") == 0
		? NULL
		: "maildir++ or fs");
}

static const char *
seconds(const struct config_value *v, unsigned max, unsigned *out)
{
	int64_t secs;

	if (value_duration(v->text, &secs) != 0 || secs > (int64_t)max)
		return ("a time such as 1s, 5min or 2h");
	*out = (unsigned)secs;
	return (NULL);
}

static const char *
set_commit(struct config *c, const struct config_value *v)
{
	return (seconds(v, 3600, &c->commit) == NULL && c->commit > 0
		? NULL
		: "a time from 1s to 1h");
}

static const char *
set_stale_names(struct config *c, const struct config_value *v)
{
	return (seconds(v, 86400, &c->stale_names) == NULL ? NULL
							   : "a time up to 1d");
}

static const char *
set_max_delete(struct config *c, const struct config_value *v)
{
	c->max_delete_set = true;
	return (value_percent(v->text, &c->max_delete_percent) == 0
		? NULL
		: "a percentage such as 50%, or no");
}

static const char *
set_max_delete_min(struct config *c, const struct config_value *v)
{
	uint64_t n;

	if (value_number(v->text, 1u << 30, &n) != 0)
		return ("a number of messages");
	c->max_delete_min = (unsigned)n;
	return (NULL);
}

static const char *
set_alt_char(struct config *c, const struct config_value *v)
{
	if (strlen(v->text) != 1 || *v->text <= ' ' || *v->text == 0x7f ||
	    strchr("/.~", *v->text) != NULL)
		return ("one ASCII character other than / . ~ and the blank");
	c->alt_char = *v->text;
	return (NULL);
}

static const char *
set_retention(struct config *c, const struct config_value *v)
{
	int64_t secs;

	if (value_duration(v->text, &secs) != 0)
		return ("a time such as 30d");
	c->store.expunge_retention = secs;
	return (NULL);
}

static const char *
set_zstd_level(struct config *c, const struct config_value *v)
{
	uint64_t n;

	if (value_number(v->text, 19, &n) != 0)
		return ("a level from 0 (never compress) to 19");
	c->store.zstd_level = (int)n;
	return (NULL);
}

static const char *
set_cache_size(struct config *c, const struct config_value *v)
{
	uint64_t n;

	if (value_size(v->text, &n) != 0 || n < (1u << 20) ||
	    n > (uint64_t)SIZE_MAX / 2)
		return ("a size of at least 1M, such as 32M");
	c->store.cache_bytes = (size_t)n;
	/* Little memory is little for changed pages, too. */
	c->store.dirty_bytes = n / 2 < DIRTY_LEAST ? DIRTY_LEAST
	    : n / 2 > DIRTY_MOST		   ? DIRTY_MOST
						   : (size_t)(n / 2);
	c->cache_given = true;
	return (NULL);
}

static const char *
set_text(const char **to, const struct config_value *v, const char *right)
{
	*to = v->text;
	return (*v->text != '\0' ? NULL : right);
}

/* Relative to nothing: a mount reads it too, which is somewhere else. */
static const char *
set_path(const char **to, const struct config_value *v)
{
	*to = v->text;
	return (*v->text == '/' ? NULL : "the path of a file, from / on");
}

static const char *
set_remote_cmd(struct config *c, const struct config_value *v)
{
	return (set_text(&c->dsync_remote_cmd, v,
	    "a command such as doveadm dsync-server -u%u"));
}

static const char *
set_password_file(struct config *c, const struct config_value *v)
{
	return (set_path(&c->doveadm_password_file, v));
}

static const char *
set_password_command(struct config *c, const struct config_value *v)
{
	return (set_text(&c->doveadm_password_command, v,
	    "a command that prints the password"));
}

static const char *
set_passphrase_command(struct config *c, const struct config_value *v)
{
	return (set_text(&c->ssh_passphrase_command, v,
	    "a command that prints the passphrase"));
}

static const char *
set_ca_file(struct config *c, const struct config_value *v)
{
	return (set_path(&c->ssl_client_ca_file, v));
}

static const char *
set_post_sync(struct config *c, const struct config_value *v)
{
	return (set_text(
	    &c->post_sync_command, v, "a command such as notmuch new"));
}

static const char *
set_metrics(struct config *c, const struct config_value *v)
{
	return (set_path(&c->metrics_file, v));
}

static const char *
set_parallel(struct config *c, const struct config_value *v)
{
	uint64_t n;

	if (value_number(v->text, 1000, &n) != 0 || n == 0)
		return ("a number of users from 1 to 1000");
	c->max_parallel = (unsigned)n;
	return (NULL);
}

static const char *
set_uid(unsigned *to, const struct config_value *v)
{
	uint64_t n;

	if (value_number(v->text, UINT32_MAX - 1, &n) != 0)
		return ("a user ID, a number");
	*to = (unsigned)n;
	return (NULL);
}

static const char *
set_first_uid(struct config *c, const struct config_value *v)
{
	return (set_uid(&c->first_valid_uid, v));
}

static const char *
set_last_uid(struct config *c, const struct config_value *v)
{
	return (set_uid(&c->last_valid_uid, v));
}

static const char *
set_sandbox(struct config *c, const struct config_value *v)
{
	c->sandbox = strcmp(v->text, "no") != 0;
	return (c->sandbox && strcmp(v->text, "yes") != 0 ? "yes or no" : NULL);
}

static const struct key {
	const char *name;
	set_fn *set;
} keys[] = { { "mail_location", set_mail_location }, { "remote", set_remote },
	{ "sync", set_sync }, { "layout", set_layout },
	{ "commit", set_commit }, { "stale_names", set_stale_names },
	{ "max_delete", set_max_delete },
	{ "max_delete_min", set_max_delete_min }, { "alt_char", set_alt_char },
	{ "expunge_retention", set_retention },
	{ "zstd_level", set_zstd_level }, { "cache_size", set_cache_size },
	{ "dsync_remote_cmd", set_remote_cmd },
	{ "post_sync_command", set_post_sync }, { "metrics_file", set_metrics },
	{ "max_parallel", set_parallel }, { "first_valid_uid", set_first_uid },
	{ "last_valid_uid", set_last_uid },
	{ "doveadm_password_file", set_password_file },
	{ "doveadm_password_command", set_password_command },
	{ "ssh_passphrase_command", set_passphrase_command },
	{ "ssl_client_ca_file", set_ca_file }, { "sandbox", set_sandbox } };
#define KEYS (sizeof(keys) / sizeof(keys[0]))
static const char *const remote_keys[] = { "location", "mode", "sync",
	"mailbox", "exclude", "since", "until", "max_size", "flag", "one_way" };
#define REMOTE_KEYS (sizeof(remote_keys) / sizeof(remote_keys[0]))

/* Reports an unknown key.  what: "key", "key of section remote", "section". */
static void
unknown(const char *origin, const char *what, const char *key,
    const char *const *known, size_t n)
{
	const char *near = value_nearest(key, known, n);

	if (near != NULL)
		log_error("%s: unknown %s '%.100s' (did you mean '%s'?)",
		    origin, what, key, near);
	else
		log_error("%s: unknown %s '%.100s': dsyncfs.conf(5) lists "
			  "those that there are",
		    origin, what, key);
}

static int
set_key(struct config *c, const char *key, const struct config_value *v)
{
	const char *names[KEYS], *right;

	for (size_t i = 0; i < KEYS; i++) {
		names[i] = keys[i].name;
		if (strcmp(key, keys[i].name) != 0)
			continue;
		right = keys[i].set(c, v);
		if (right == NULL)
			return (0);
		log_error("%s: %s = '%.200s' is not valid: it takes %s",
		    v->origin, key, v->text, right);
		return (-EINVAL);
	}
	unknown(v->origin, "key", key, names, KEYS);
	return (-EINVAL);
}

static int
set_filter(struct config *c, struct config_remote *r, const char *key,
    const struct config_value *v)
{
	int e = filter_set(&c->arena, r, key, v);

	if (e != -ENOENT)
		return (e);
	unknown(v->origin, "key of section 'remote'", key, remote_keys,
	    REMOTE_KEYS);
	return (-EINVAL);
}

static int
set_remote_key(struct config *c, struct config_remote *r, const char *key,
    const struct config_value *v)
{
	struct config_value *to = NULL;
	const char *right = NULL;

	if (strcmp(key, "location") == 0) {
		to = &r->location;
		right = *v->text != '\0'
		    ? NULL
		    : "a location, such as maildir:~/Maildir";
	} else if (strcmp(key, "mode") == 0) {
		to = &r->mode;
		right = strcmp(v->text, "mirror") == 0 ||
			strcmp(v->text, "backup") == 0
		    ? NULL
		    : "mirror or backup";
	} else if (strcmp(key, "sync") == 0) {
		to = &r->sync;
		right = sync_ok(v->text)
		    ? NULL
		    : "manual, push or a time from 1s to 1d";
	} else
		return (set_filter(c, r, key, v));
	if (right != NULL) {
		log_error("%s: %s = '%.200s' is not valid: it takes %s",
		    v->origin, key, v->text, right);
		return (-EINVAL);
	}
	if (to->text != NULL) {
		log_error("%s: %s is set twice: first at %s", v->origin, key,
		    to->origin);
		return (-EINVAL);
	}
	*to = *v;
	return (0);
}

/* ---- a file ---- */

struct reading {
	struct config *c;
	const char *file;
	unsigned line;
	struct config_remote *remote; /* the section we are in */
	/* in a section that nobody knows */
	bool skipping;
	const char *begun; /* where that section began */
	const char *seen[KEYS]; /* where a key was set first */
};

static int
begin_section(
    struct reading *d, const struct config_line *l, const char *origin)
{
	static const char *const sections[] = { "remote" };
	struct config *c = d->c;
	struct config_remote *more;

	if (d->begun != NULL) {
		log_error("%s: a section in a section: close the one from %s "
			  "with '}' first",
		    origin, d->begun);
		return (-EINVAL);
	}
	d->begun = origin;
	d->skipping = true;
	if (strcmp(l->key, "remote") != 0) {
		unknown(origin, "section", l->key, sections, 1);
		return (-EINVAL);
	}
	if (l->value == NULL) {
		log_error("%s: the section has no name: write 'remote NAME {'",
		    origin);
		return (-EINVAL);
	}
	if (config_remote_find(c, l->value) != NULL) {
		log_error(
		    "%s: a second 'remote %.100s': each name may be used once",
		    origin, l->value);
		return (-EINVAL);
	}
	more = arena_zalloc(&c->arena, (c->n_remotes + 1) * sizeof(*more));
	if (more == NULL)
		return (-ENOMEM);
	if (c->n_remotes != 0)
		memcpy(more, c->remotes, c->n_remotes * sizeof(*more));
	c->remotes = more;
	d->remote = &more[c->n_remotes++];
	d->remote->name = l->value;
	d->skipping = false;
	return (0);
}

static int
end_section(struct reading *d, const char *origin)
{
	struct config_remote *r = d->remote;
	const char *begun = d->begun;

	d->remote = NULL;
	d->skipping = false;
	d->begun = NULL;
	if (begun == NULL) {
		log_error("%s: '}' without a section: remove it", origin);
		return (-EINVAL);
	}
	if (r != NULL && r->location.text == NULL) {
		log_error(
		    "%s: remote '%.100s' has no location: add 'location = ...'",
		    begun, r->name);
		return (-EINVAL);
	}
	return (r != NULL ? filters_check(r) : 0);
}

static int
take_setting(struct reading *d, const struct config_line *l, const char *origin)
{
	struct config_value v = { l->value, origin };

	if (l->value == NULL)
		return (-ENOMEM);
	if (d->skipping)
		return (0);
	if (d->remote != NULL)
		return (set_remote_key(d->c, d->remote, l->key, &v));
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(l->key, keys[i].name) != 0)
			continue;
		if (d->seen[i] != NULL) {
			log_error("%s: %s is set twice: first at %s", origin,
			    l->key, d->seen[i]);
			return (-EINVAL);
		}
		d->seen[i] = origin;
	}
	return (set_key(d->c, l->key, &v));
}

static int
take_line(struct reading *d, const char *text, size_t n)
{
	struct config_line l;
	const char *wrong, *origin;

	origin = arena_printf(&d->c->arena, "%s:%u", d->file, d->line);
	if (origin == NULL)
		return (-ENOMEM);
	wrong = config_line(&d->c->arena, text, n, &l);
	if (d->c->arena.error != 0)
		return (-ENOMEM);
	if (wrong != NULL) {
		log_error("%s: %s", origin, wrong);
		return (-EINVAL);
	}
	switch (l.type) {
	case LINE_NOTHING:
		return (0);
	case LINE_SETTING:
		return (take_setting(d, &l, origin));
	case LINE_SECTION:
		return (begin_section(d, &l, origin));
	case LINE_SECTION_END:
		return (end_section(d, origin));
	}
	return (0);
}

int
config_text(struct config *c, const char *file, const char *text, size_t n)
{
	struct reading d = { .c = c, .file = file };
	const char *end = text + n, *eol;
	int mistakes = 0, r;

	while (text < end && mistakes < CONFIG_ERRORS) {
		d.line++;
		eol = memchr(text, '\n', (size_t)(end - text));
		if (eol == NULL)
			eol = end;
		r = take_line(&d, text, (size_t)(eol - text));
		if (r == -ENOMEM)
			return (r);
		mistakes += r != 0;
		text = eol < end ? eol + 1 : end;
	}
	if (d.begun != NULL && mistakes < CONFIG_ERRORS) {
		log_error("%s: the section is not closed: add a line with '}'",
		    d.begun);
		mistakes++;
	}
	return (mistakes);
}

const struct config_remote *
config_remote_find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_remotes; i++)
		if (strcmp(c->remotes[i].name, name) == 0)
			return (&c->remotes[i]);
	return (NULL);
}

int
config_override(struct config *c, const char *text)
{
	const char *eq = strchr(text, '='),
		   *origin = arena_printf(&c->arena, "option -o");
	struct config_value v;
	char *key;

	if (eq == NULL || eq == text) {
		log_error(
		    "option -o: '%.200s' is not valid: it takes KEY=VALUE",
		    text);
		return (-EINVAL);
	}
	key = arena_strndup(&c->arena, text, (size_t)(eq - text));
	v = (struct config_value){ arena_strdup(&c->arena, eq + 1), origin };
	if (key == NULL || v.text == NULL || origin == NULL)
		return (-ENOMEM);
	return (set_key(c, key, &v));
}
