/*
 * place -- locations as commands meet them: what form one has, whether a mount
 * has it, opening it.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "control/control.h"

#define BUSY_MS 200 /* between two tries at a busy store */
/*
 * A command goes through an index once, a mount lives in it: it needs less of
 * it in memory.
 */
#define CACHE_BYTES (1u << 20)
#define DIRTY_BYTES (2u << 20)

static int
wrong(const struct place *p)
{
	return (p->from_config ? EX_BAD_CONFIG : EX_BAD_USAGE);
}

static int
parse_driver(struct cmd *c, const char *text, struct place *p)
{
	int r;

	r = location_parse(&c->arena, c->known, text, p->origin, &p->l);
	if (r == 0)
		return (0);
	return (r == -ENOMEM ? EX_FAIL : wrong(p));
}

static bool
known_driver(const struct cmd *c, const char *text)
{
	size_t n;

	for (size_t i = 0; c->known[i] != NULL; i++) {
		n = strlen(c->known[i]->name);
		if (strncmp(text, c->known[i]->name, n) == 0 && text[n] == ':')
			return (true);
	}
	return (false);
}

static bool
host_like(const char *s)
{
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && strchr("@.-_[]", *s) == NULL)
			return (false);
	return (true);
}

/* 0, -ENOENT: none of the dialer's forms; other: reported. */
static int
parse_far(struct cmd *c, const char *const *words, size_t n, struct place *p)
{
	const struct dialer *d = c->backends->dialer;
	int r;

	if (d == NULL)
		return (-ENOENT);
	r = d->parse(&c->arena, words, n, p->origin, &p->far);
	p->is_far = r == 0;
	p->l.text = p->far.text;
	return (r);
}

/* The forms of LOCATION2 that nothing here can open: which one, or NULL. */
static const char *
other_form(const char *text)
{
	static const char *const urls[][2] = {
		{ "tcp:", "doveadm's protocol over TCP" },
		{ "tcps:", "doveadm's protocol over TLS" },
		{ "imap:", "an IMAP server" },
		{ "imaps:", "an IMAP server over TLS" }
	};

	for (size_t i = 0; i < 4; i++)
		if (strncmp(text, urls[i][0], strlen(urls[i][0])) == 0)
			return (urls[i][1]);
	if (strpbrk(text, " \t") != NULL &&
	    (strchr(text, ':') == NULL ||
		strpbrk(text, " \t") < strchr(text, ':')))
		return ("a command line that runs a dsync server");
	if (*text != '\0' && strchr(text, ':') == NULL && host_like(text))
		return (strchr(text, '@') != NULL
			? "a user and host, reached by ssh"
			: "a host, reached by ssh");
	return (NULL);
}

/*
 * With -A and -F the user may stand in what is far, as he may in any location
 * here.  Gives 0 or the exit status, reported.
 */
static int
expand_words(struct cmd *c, const char **words, size_t n, const struct place *p)
{
	const char *home = getenv("HOME");
	int r;

	for (size_t i = 0; c->of_many && i < n; i++) {
		r = users_expand(&c->arena, words[i], c->o->user,
		    home != NULL ? home : "", p->origin, &words[i]);
		if (r != 0)
			return (r == -ENOMEM ? EX_FAIL : wrong(p));
	}
	return (0);
}

static int
parse_any(struct cmd *c, const char *text, struct place *p)
{
	const char *form;
	int r;

	if (known_driver(c, text))
		return (parse_driver(c, text, p));
	if ((r = expand_words(c, &text, 1, p)) != 0)
		return (r);
	if (strncmp(text, "imap", 4) != 0 || strchr(text, ':') == NULL) {
		r = parse_far(c, &text, 1, p);
		if (r != -ENOENT)
			return (r == -ENOMEM ? EX_FAIL : r != 0 ? wrong(p) : 0);
	}
	form = other_form(text);
	if (form != NULL) {
		log_error("%s: '%.200s' is %s: not supported by this version; "
			  "it takes driver:path, such as maildir:/path, or the "
			  "name of a remote "
			  "section",
		    p->origin, text, form);
		return (wrong(p));
	}
	if (strchr(text, ':') == NULL) {
		log_error("%s: '%.200s' does not say what kind of location it "
			  "is: write driver:path, such as maildir:%.200s",
		    p->origin, text, text);
		return (wrong(p));
	}
	return (parse_driver(c, text, p));
}

static void
set_origin(struct place *p, const char *origin)
{
	p->origin = strcmp(origin, "option -o") == 0 ? "option -o mail_location"
						     : origin;
	p->from_config = strchr(origin, '/') != NULL;
}

int
place_first(struct cmd *c, struct place *p)
{
	int r;

	memset(p, 0, sizeof(*p));
	set_origin(p, c->cfg.mail_location.origin);
	r = parse_any(c, c->cfg.mail_location.text, p);
	if (r != 0 || !p->is_far)
		return (r);
	log_error("%s: '%.200s': the first location has to be on this machine: "
		  "write driver:path, such as maildir:/path",
	    p->origin, p->far.text);
	return (wrong(p));
}

int
place_value(struct cmd *c, const struct config_value *v, struct place *p)
{
	memset(p, 0, sizeof(*p));
	set_origin(p, v->origin);
	if (!p->from_config)
		p->origin = "option -o";
	return (parse_any(c, v->text, p));
}

static const char *
absolute(struct cmd *c, const char *path)
{
	char cwd[PATH_MAX];

	if (*path == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
		return (path);
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	return (arena_printf(&c->arena, "%s/%s", cwd, path));
}

/*
 * A command is run by a mount, too, whose directory is another: a program that
 * is named by a path from here gets its whole path.  In one word with blanks
 * only where no quotes would be needed.
 */
static const char *
whole_program(struct cmd *c, const char *word, bool line)
{
	const char *path;

	if (*word == '/' || strchr(word, '/') == NULL ||
	    (line && (*word != '.' || strpbrk(word, " \t") == NULL)))
		return (word);
	path = absolute(c, word);
	if (line && path != NULL &&
	    strcspn(path, " \t'\"\\") < strlen(path) - strlen(word))
		return (word);
	return (path);
}

/* 0, -ENOENT: none of the dialer's forms; or the exit status, reported. */
static int
parse_words(struct cmd *c, const char *const *words, size_t n, struct place *p)
{
	const char **v = arena_memdup(&c->arena, words, n * sizeof(*words));
	int r;

	if (v == NULL || (v[0] = whole_program(c, words[0], false)) == NULL)
		return (EX_FAIL);
	if ((r = expand_words(c, v, n, p)) != 0)
		return (r);
	r = parse_far(c, v, n, p);
	return (r == -ENOMEM   ? EX_FAIL
		: r == -ENOENT ? r
		: r != 0       ? wrong(p)
			       : 0);
}

int
place_second(struct cmd *c, const char *const *words, size_t n, struct place *p,
    const struct config_remote **remote)
{
	const struct config_remote *r;

	memset(p, 0, sizeof(*p));
	p->origin = "command line";
	if (remote != NULL)
		*remote = NULL;
	if (n > 1) {
		int e = parse_words(c, words, n, p);

		if (e != -ENOENT)
			return (e);
		log_error("command line: '%.100s %.100s ...' is a command line "
			  "that runs a dsync server: not supported by this "
			  "version; it takes "
			  "driver:path, such as maildir:/path",
		    words[0], words[1]);
		return (EX_BAD_USAGE);
	}
	r = config_remote_find(&c->cfg, words[0]);
	if (r == NULL) {
		const char *text = whole_program(c, words[0], true);

		return (text == NULL ? EX_FAIL : parse_any(c, text, p));
	}
	if (remote != NULL)
		*remote = r;
	return (place_value(c, &r->location, p));
}

const char *
place_text(struct cmd *c, const struct place *p)
{
	const char *path;
	struct buf b = BUF_INIT;
	char *text = NULL;

	if (p->is_far)
		return (p->far.text);
	path = absolute(c, p->l.path);
	if (path == NULL)
		return (NULL);
	buf_printf(&b, "%s:", p->l.driver);
	location_put(&b, path, true);
	for (size_t i = 0; i < p->l.options; i++) {
		buf_put_u8(&b, ':');
		location_put(&b, p->l.option[i], false);
	}
	if (buf_cstr(&b) != NULL)
		text = arena_strdup(&c->arena, (const char *)b.data);
	buf_fini(&b);
	return (text);
}

bool
place_same(const struct place *a, const struct place *b)
{
	struct stat sa, sb;

	if (a->is_far || b->is_far || strcmp(a->l.driver, b->l.driver) != 0)
		return (false);
	if (strcmp(a->l.path, b->l.path) == 0)
		return (true);
	return (stat(a->l.path, &sa) == 0 && stat(b->l.path, &sb) == 0 &&
	    sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
}

/* ---- opening ---- */

/*
 * The directories above the default store, 0700; those that the user named are
 * his to make.
 */
static int
make_parents(const char *path)
{
	char dir[PATH_MAX];
	size_t n = strlen(path);
	int r;

	if (n >= sizeof(dir))
		return (-ENAMETOOLONG);
	memcpy(dir, path, n + 1);
	for (char *at = dir + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		if (mkdir(dir, 0700) != 0 && errno != EEXIST &&
		    errno != EISDIR) {
			r = -errno;
			log_error("%s: cannot make the directory: %s", dir,
			    strerror(-r));
			return (r);
		}
		*at = '/';
	}
	return (0);
}

int
place_open(
    struct cmd *c, const struct place *p, unsigned flags, struct replica **out)
{
	int64_t end = cmd_mono_ms() + (int64_t)c->o->lock_secs * 1000;
	struct store_settings settings = c->cfg.store;
	struct buf held = BUF_INIT;
	int r;

	if (p->is_far) {
		log_error("%s: '%.200s' is on the far side of a connection, "
			  "which only mirror, backup and flush can use",
		    p->origin, p->far.text);
		return (wrong(p));
	}
	if (!c->cfg.cache_given)
		settings.cache_bytes = CACHE_BYTES;
	settings.dirty_bytes = DIRTY_BYTES;
	if ((flags & (LOCATION_CREATE | LOCATION_DRY)) == LOCATION_CREATE &&
	    strcmp(p->origin, "default") == 0 &&
	    (r = make_parents(p->l.path)) != 0)
		return (cmd_status_of(r));
	for (;;) {
		buf_reset(&held);
		c->held = c->o->lock_secs != 0 ? &held : NULL;
		r = location_open(c->known, &p->l, &settings, flags, out);
		c->held = NULL;
		if (r != -EBUSY || cmd_mono_ms() >= end || cmd_stopped(c))
			break;
		cmd_sleep(c, BUSY_MS);
	}
	if (held.len != 0 && buf_cstr(&held) != NULL)
		err_line(c, (const char *)held.data);
	buf_fini(&held);
	return (cmd_status_of(r));
}

/* ---- a store that a mount has ---- */

static const struct driver *
driver_of(const struct cmd *c, const struct place *p)
{
	for (size_t i = 0; c->known[i] != NULL; i++)
		if (strcmp(c->known[i]->name, p->l.driver) == 0)
			return (c->known[i]);
	return (NULL);
}

/* 0, -ENOENT: no mount has it; other: reported. */
static int
connect_to(struct cmd *c, const struct place *p, struct control_client **out)
{
	const struct driver *d;
	const char *dir;

	if (p->is_far)
		return (-ENOENT);
	d = driver_of(c, p);
	if (d == NULL || d->socket_dir == NULL)
		return (-ENOENT);
	dir = d->socket_dir(&c->arena, &p->l);
	return (dir == NULL ? -ENOENT : control_connect(dir, out));
}

const struct driver *
place_watched(const struct cmd *c, const struct place *p)
{
	const struct driver *d = p->is_far ? NULL : driver_of(c, p);

	return (d != NULL && d->watched != NULL ? d : NULL);
}

bool
place_mounted(struct cmd *c, const struct place *p)
{
	struct control_client *client;

	if (connect_to(c, p, &client) != 0)
		return (false);
	control_close(client);
	return (true);
}

bool
place_is_local(const struct cmd *c, const struct place *p)
{
	struct place mounted = *p;

	if (c->local == NULL || p->is_far ||
	    strcmp(p->l.driver, c->local->replica->ops->driver) != 0)
		return (false);
	mounted.l.path = c->local->path;
	return (place_same(&mounted, p));
}

static const char *
own_program(struct cmd *c)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return ("dsyncfs-sync");
	self[n] = '\0';
	return (arena_strdup(&c->arena, self));
}

int
place_by_mount(struct cmd *c, struct place *p)
{
	const char *words[5], *text;
	size_t n = 0;
	int r;

	if (p->is_far || !place_mounted(c, p))
		return (0);
	text = place_text(c, p);
	words[n++] = own_program(c);
	if (c->cfg.file != NULL)
		words[n++] =
		    arena_printf(&c->arena, "--config=%s", c->cfg.file);
	words[n++] = "-o";
	words[n++] = text == NULL
	    ? NULL
	    : arena_printf(&c->arena, "mail_location=%s", text);
	if (c->arena.error != 0)
		return (EX_FAIL);
	r = parse_far(c, words, n, p);
	if (r != 0)
		return (r == -ENOENT ? EX_FAIL : cmd_status_of(r));
	p->far.text = p->l.text = text;
	return (0);
}

static bool
named(const char *name, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		if (strcmp(name, *list) == 0)
			return (true);
	return (false);
}

/*
 * The command line for the mount: every option in its long form, paths
 * absolute.
 */
static const char *const *
forward_argv(struct cmd *c, const struct forward *f, int *argc)
{
	static const char *const ours[] = { "config", "user", "progress",
		"lock-timeout", "rawlog", "all-users", "user-file",
		"config-text", NULL };
	static const char *const others[] = { "override", "timeout", NULL };
	const struct options *o = c->o;
	const char **v, *arg;
	size_t n = 0;

	v = arena_zalloc(&c->arena, (o->n_given + f->n_args + 12) * sizeof(*v));
	if (v == NULL)
		return (NULL);
	v[n++] = "dsyncfs-sync";
	if (c->cfg.file != NULL)
		v[n++] = arena_printf(&c->arena, "--config=%s", c->cfg.file);
	if (c->cfg.text != NULL)
		v[n++] =
		    arena_printf(&c->arena, "--config-text=%s", c->cfg.text);
	for (size_t i = 0; i < o->n_given; i++) {
		const struct given *g = &o->given[i];

		if (named(g->name, ours) || named(g->name, f->drop) ||
		    (f->other && !named(g->name, others)))
			continue;
		v[n++] = g->value != NULL
		    ? arena_printf(&c->arena, "--%s=%s", g->name, g->value)
		    : arena_printf(&c->arena, "--%s", g->name);
	}
	if (o->user != NULL)
		v[n++] = arena_printf(&c->arena, "--user=%s", o->user);
	/* for the counts, which many_run looks for */
	if (c->of_many && !o->json && !o->dry_run)
		v[n++] = "--json";
	v[n++] = c->progress_wanted ? "--progress=always" : "--progress=never";
	for (size_t i = 0; i < 2; i++)
		if (f->add[i] != NULL)
			v[n++] = f->add[i];
	v[n++] = f->command;
	v[n++] = "--";
	for (size_t i = 0; i < f->n_args; i++) {
		arg = f->args[i];
		v[n++] = arg;
	}
	*argc = (int)n;
	return (c->arena.error != 0 ? NULL : v);
}

struct hearing {
	struct cmd *c;
	struct buf *said; /* NULL: it is ours to print */
};

/* A line of another mount, for the one that this process is the other side of.
 */
static void
pass_line(struct cmd *c, const char *text, size_t n)
{
	static const char name[] = "dsyncfs-sync: ";
	char *line;

	if (n > strlen(name) && strncmp(text, name, strlen(name)) == 0) {
		text += strlen(name);
		n -= strlen(name);
	}
	line = strndup(text, n);
	if (line == NULL)
		return;
	line[strcspn(line, "\n")] = '\0';
	c->backends->dialer->relay_say(c->relay, LOG_LEVEL_ERROR, line);
	free(line);
}

static void
mount_said(void *arg, enum control_stream stream, const char *text, size_t n)
{
	const struct hearing *h = arg;
	struct cmd *c = h->c;

	if (stream == CONTROL_OUT && h->said != NULL)
		buf_put(h->said, text, n);
	else if (stream == CONTROL_OUT)
		c->io->out(c->io->arg, text, n);
	else if (stream == CONTROL_PROGRESS && c->io->progress != NULL)
		c->io->progress(c->io->arg, text, n);
	else if (c->relay != NULL)
		pass_line(c, text, n);
	else
		c->io->err(c->io->arg, text, n);
}

bool
place_forward(
    struct cmd *c, const struct place *p, const struct forward *f, int *status)
{
	struct hearing h = { c, f->said };
	struct control_client *client;
	const char *const *argv;
	int r, argc = 0;

	r = c->local != NULL ? -ENOENT : connect_to(c, p, &client);
	if (r == -ENOENT)
		return (false);
	if (r != 0) {
		*status = cmd_status_of(r);
		return (true);
	}
	out_flush(c);
	argv = forward_argv(c, f, &argc);
	control_set_stop(client, c->stop);
	control_set_kind(client, f->kind);
	control_set_fds(client, f->fd, f->n_fds);
	r = argv == NULL
	    ? -ENOMEM
	    : control_run(client, argc, argv, mount_said, &h, status);
	control_close(client);
	if (r != 0)
		*status = r == -EPIPE ? EX_TRY_LATER : EX_FAIL;
	return (true);
}

/* ---- what a command works on ---- */

/*
 * LOCATION on the command line is made the mount's own first location: it is
 * that mount's store.
 */
static bool
forward_subject(struct cmd *c, const struct subject *s, size_t n, int *status)
{
	struct forward f = { .command = c->o->command->name,
		.args = c->o->args,
		.n_args = c->o->n_args };

	if (n != 0)
		f.n_args = 0;
	return (place_forward(c, &s->place, &f, status));
}

int
subject_open(struct cmd *c, const char *const *words, size_t n, unsigned flags,
    struct subject *s, bool *done, int *status)
{
	int r;

	memset(s, 0, sizeof(*s));
	*done = false;
	if (c->local != NULL && n == 0) {
		s->r = c->local->replica;
		return (EX_DONE);
	}
	r = n != 0 ? place_second(c, words, n, &s->place, NULL)
		   : place_first(c, &s->place);
	if (r != 0)
		return (r);
	if (place_is_local(c, &s->place)) {
		s->r = c->local->replica;
		return (EX_DONE);
	}
	if (c->local == NULL && forward_subject(c, s, n, status)) {
		*done = true;
		return (EX_DONE);
	}
	r = place_open(c, &s->place, flags, &s->r);
	s->owned = r == 0;
	return (r);
}

int
subject_close(struct subject *s, int status)
{
	int r;

	if (!s->owned)
		return (status);
	r = s->r->ops->close(s->r);
	s->owned = false;
	return (r != 0 && status == EX_DONE ? cmd_status_of(r) : status);
}
