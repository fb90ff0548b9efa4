/*
 * options -- the command line, in dsync(1)'s letters and a long name for each.
 *
 * Not getopt: commands also run in threads of a mount, and LOCATION2 may be a
 * command line with options of its own.  So of mirror and backup everything
 * behind the first word of LOCATION2 belongs to LOCATION2.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"

#define ANY 0xffffffffu

struct parse {
	struct options *o;
	struct arena *a;
	int argc;
	const char *const *argv;
	size_t at;
	const char **overrides, **mailbox, **exclude, **args;
	struct given *given;
};

struct option_def;
/* NULL, or what would be right. */
typedef const char *take_fn(
    struct options *o, const struct option_def *d, const char *value);

struct option_def {
	char letter; /* 0: none */
	const char *name;
	bool value;
	unsigned commands; /* that know it */
	take_fn *take;
	/* in struct options, for the plain kinds */
	size_t offset;
};

#define FIELD(o, d, type) ((type *)(void *)((char *)(o) + (d)->offset))

static const char *
take_bool(struct options *o, const struct option_def *d, const char *value)
{
	(void)value;
	*FIELD(o, d, bool) = true;
	return (NULL);
}

static const char *
take_text(struct options *o, const struct option_def *d, const char *value)
{
	*FIELD(o, d, const char *) = value;
	return (*value != '\0' ? NULL : "a value that is not empty");
}

/* Also the empty one. */
static const char *
take_any(struct options *o, const struct option_def *d, const char *value)
{
	*FIELD(o, d, const char *) = value;
	return (NULL);
}

/*
 * Lists are collected by the caller; this only says that an empty value is
 * wrong.
 */
static const char *
take_list(struct options *o, const struct option_def *d, const char *value)
{
	(void)o;
	(void)d;
	return (*value != '\0' ? NULL : "a value that is not empty");
}

static const char *
take_mailbox_guid(
    struct options *o, const struct option_def *d, const char *value)
{
	if (strlen(value) != GUID_HEX_LEN && o->command != NULL &&
	    (o->command->id & CMD_RESTORE) == 0)
		return ("a mailbox GUID of 32 hexadecimal digits");
	if (o->command != NULL && (o->command->id & CMD_RESTORE) != 0) {
		o->guid = value;
		return (*value != '\0' ? NULL : "the GUID of a message");
	}
	return (guid_parse(value, FIELD(o, d, struct guid)) == 0
		? NULL
		: "a mailbox GUID of 32 hexadecimal digits");
}

static const char *
take_time(struct options *o, const struct option_def *d, const char *value)
{
	if (value_time(value, (int64_t)time(NULL), FIELD(o, d, int64_t)) != 0)
		return ("a date: 2026-03-01, 2026-03-01T12:30:00Z, "
			"01-Mar-2026, seconds since 1970 with 6 or more "
			"digits, or a time ago such as 2w");
	return (NULL);
}

static const char *
take_size(struct options *o, const struct option_def *d, const char *value)
{
	return (value_size(value, FIELD(o, d, uint64_t)) == 0
		? NULL
		: "a size such as 50M");
}

static const char *
take_number(struct options *o, const struct option_def *d, const char *value)
{
	return (value_number(value, UINT64_MAX / 2, FIELD(o, d, uint64_t)) == 0
		? NULL
		: "a number");
}

static const char *
take_secs(struct options *o, const struct option_def *d, const char *value)
{
	int64_t secs;

	if (value_duration(value, &secs) != 0)
		return ("a number of seconds");
	if (d->letter == 'l')
		o->lock_secs = (uint64_t)secs;
	else
		o->timeout_secs = secs > 86400 ? 86400 : (unsigned)secs;
	return (NULL);
}

static const char *
take_alt_char(struct options *o, const struct option_def *d, const char *value)
{
	(void)d;
	if (strlen(value) != 1 || *value <= ' ' || *value == 0x7f ||
	    strchr("/.~", *value) != NULL)
		return ("one ASCII character other than / . ~ and the blank");
	o->alt_char = *value;
	return (NULL);
}

static const char *
take_flag(struct options *o, const struct option_def *d, const char *value)
{
	(void)d;
	o->flag = value;
	return (value[0] != '\0' && strcmp(value, "-") != 0
		? NULL
		: "a flag or keyword, with '-' before it for mail without");
}

static const char *
take_progress(struct options *o, const struct option_def *d, const char *value)
{
	(void)d;
	if (strcmp(value, "auto") == 0)
		o->progress = PROGRESS_AUTO;
	else if (strcmp(value, "always") == 0)
		o->progress = PROGRESS_ALWAYS;
	else if (strcmp(value, "never") == 0)
		o->progress = PROGRESS_NEVER;
	else
		return ("auto, always or never");
	return (NULL);
}

static const char *
take_max_delete(
    struct options *o, const struct option_def *d, const char *value)
{
	unsigned percent = 0;

	if (d->value && value_percent(value, &percent) != 0)
		return ("a percentage such as 80%, or no");
	o->max_delete = (int)percent;
	return (NULL);
}

/* An empty one is fine; what it holds is read when the sync begins. */
static const char *
take_state(struct options *o, const struct option_def *d, const char *value)
{
	(void)d;
	o->state = value;
	return (NULL);
}

/*
 * What a Dovecot says to a server of its own kind (dsync_remote_cmd's -U):
 * there is no user database here that could be looked into.
 */
static const char *
take_nothing(struct options *o, const struct option_def *d, const char *value)
{
	(void)o;
	(void)d;
	(void)value;
	return (NULL);
}

#define O(field) offsetof(struct options, field)
static const struct option_def defs[] = { { 'c', "config", true, ANY, take_text,
					      O(config) },
	{ 'u', "user", true, ANY, take_text, O(user) },
	{ 'o', "override", true, ANY, take_list, O(overrides) },
	{ 'D', "debug", false, ANY, take_bool, O(debug) },
	{ 'v', "verbose", false, ANY, take_bool, O(verbose) },
	{ 'l', "lock-timeout", true, ANY, take_secs, 0 },
	{ 'T', "timeout", true, ANY, take_secs, 0 },
	{ 0, "json", false,
	    ANY &
		~(unsigned)(CMD_DUMP | CMD_INIT_CONFIG | CMD_CHECK_CONFIG |
		    CMD_DSYNC_SERVER),
	    take_bool, O(json) },
	{ 0, "progress", true, ANY, take_progress, 0 },
	{ 'h', "help", false, ANY, take_bool, O(help) },
	{ 'V', "version", false, ANY, take_bool, O(version) },
	{ 'C', "alt-char", true, CMD_SYNCS, take_alt_char, 0 },
	{ 'f', "full", false, CMD_SYNCS, take_bool, O(full) },
	{ 'm', "mailbox", true, CMD_SYNCS, take_list, O(mailbox) },
	{ 'g', "guid", true, CMD_SYNCS | CMD_RESTORE, take_mailbox_guid,
	    O(mailbox_guid) },
	{ 'x', "exclude", true, CMD_SYNCS, take_list, O(exclude) },
	{ 'R', "reverse", false, CMD_BACKUP, take_bool, O(reverse) },
	{ '1', "one-way", false, CMD_MIRROR, take_bool, O(one_way) },
	{ 't', "since", true, CMD_SYNCS | CMD_RESTORE, take_time, O(since) },
	{ 'e', "until", true, CMD_SYNCS, take_time, O(until) },
	{ 'O', "flag", true, CMD_SYNCS, take_flag, 0 },
	{ 'I', "max-size", true, CMD_SYNCS, take_size, O(max_size) },
	{ 0, "max-delete", true, CMD_SYNCS, take_max_delete, 0 },
	{ 0, "no-max-delete", false, CMD_SYNCS, take_max_delete, 0 },
	{ 0, "dry-run", false, CMD_SYNCS | CMD_VERIFY, take_bool, O(dry_run) },
	{ 0, "wait", false, CMD_FLUSH, take_bool, O(wait) },
	{ 0, "no-modseqs", false, CMD_DUMP, take_bool, O(no_modseqs) },
	{ 0, "no-connect", false, CMD_CHECK_CONFIG, take_bool, O(no_connect) },
	{ 0, "follow", false, CMD_LOG, take_bool, O(follow) },
	{ 0, "from", true, CMD_LOG, take_number, O(from) },
	{ 0, "cursor", false, CMD_LOG, take_bool, O(cursor) },
	{ 0, "rebuild", false, CMD_VERIFY, take_bool, O(rebuild) },
	{ 0, "repair", false, CMD_VERIFY, take_bool, O(repair) },
	{ 0, "uid", true, CMD_RESTORE, take_text, O(uids) },
	{ 0, "sync", false, CMD_RESTORE, take_bool, O(last_sync) },
	{ 0, "list", false, CMD_RESTORE, take_bool, O(list) },
	{ 's', "state", true, CMD_MIRROR | CMD_BACKUP, take_state, 0 },
	{ 'A', "all-users", false, CMD_MIRROR | CMD_BACKUP, take_bool,
	    O(all_users) },
	{ 'F', "user-file", true, CMD_MIRROR | CMD_BACKUP, take_text,
	    O(user_file) },
	{ 'r', "rawlog", true, CMD_SYNCS | CMD_DSYNC_SERVER, take_text,
	    O(rawlog) },
	{ 'U', "no-userdb-lookup", false, CMD_DSYNC_SERVER, take_nothing, 0 } };
#define DEFS (sizeof(defs) / sizeof(defs[0]))

/* Between programs of ours: not for people. */
static const struct option_def own_defs[] = {
	{ .name = "config-text",
	    .value = true,
	    .commands = ANY,
	    .take = take_any,
	    .offset = O(config_text) },
	{ .name = "unreached",
	    .value = true,
	    .commands = CMD_MIRROR | CMD_BACKUP,
	    .take = take_any,
	    .offset = O(unreached) },
	{ .name = "session",
	    .commands = CMD_MIRROR,
	    .take = take_bool,
	    .offset = O(session) },
	{ .name = "remotes",
	    .commands = CMD_FLUSH,
	    .take = take_bool,
	    .offset = O(remotes) },
	{ .name = "no-guids",
	    .commands = CMD_VERIFY,
	    .take = take_bool,
	    .offset = O(no_guids) }
};

static const struct option_def *
find_in(const struct option_def *v, size_t count, const char *name, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(v[i].name) == n && memcmp(v[i].name, name, n) == 0)
			return (&v[i]);
	return (NULL);
}

static const struct option_def *
find_long(const char *name, size_t n)
{
	const struct option_def *d = find_in(defs, DEFS, name, n);

	return (d != NULL ? d
			  : find_in(own_defs,
				sizeof(own_defs) / sizeof(own_defs[0]), name,
				n));
}

static const struct option_def *
find_letter(char letter)
{
	for (size_t i = 0; i < DEFS; i++)
		if (defs[i].letter == letter && letter != '\0')
			return (&defs[i]);
	return (NULL);
}

const char *
option_take(struct options *o, const char *name, const char *value)
{
	const struct option_def *d = find_long(name, strlen(name));

	assert(d != NULL);
	return (d->take(o, d, value));
}

static int
unknown_long(const char *text, size_t n)
{
	const char *names[DEFS], *near;
	char name[64];

	for (size_t i = 0; i < DEFS; i++)
		names[i] = defs[i].name;
	if (n >= sizeof(name))
		n = sizeof(name) - 1;
	memcpy(name, text, n);
	name[n] = '\0';
	near = value_nearest(name, names, DEFS);
	if (near != NULL)
		log_error("option --%s is not known (did you mean --%s?)", name,
		    near);
	else
		log_error(
		    "option --%s is not known: --help lists those that are",
		    name);
	return (-EINVAL);
}

/*
 * Notes an option for its list and for a mount that may have to run the
 * command.
 */
static void
note(struct parse *p, const struct option_def *d, const char *value)
{
	struct options *o = p->o;

	if (d->offset == O(overrides) && d->take == take_list)
		p->overrides[o->n_overrides++] = value;
	else if (d->offset == O(mailbox) && d->take == take_list)
		p->mailbox[o->n_mailbox++] = value;
	else if (d->offset == O(exclude) && d->take == take_list)
		p->exclude[o->n_exclude++] = value;
	p->given[o->n_given++] = (struct given){ d->name, value };
}

/*
 * The command is looked for first, so that each option is judged by the command
 * that it is for.
 */
static int
use(struct parse *p, const struct option_def *d, const char *shown,
    const char *value)
{
	const char *right;

	if (p->o->command != NULL && (d->commands & p->o->command->id) == 0) {
		log_error("option %s is not for '%s': dsyncfs-sync(1) says "
			  "which options each command has",
		    shown, p->o->command->name);
		return (-EINVAL);
	}
	right = d->take(p->o, d, value);
	if (right != NULL) {
		log_error("option %s: '%.200s' is not valid: it takes %s",
		    shown, value, right);
		return (-EINVAL);
	}
	note(p, d, value);
	return (0);
}

static const char *
next_arg(struct parse *p)
{
	return (p->at + 1 < (size_t)p->argc ? p->argv[++p->at] : NULL);
}

static int
missing(const char *shown)
{
	log_error("option %s needs a value", shown);
	return (-EINVAL);
}

/* --name, --name=value, --name value.  apply false: only steps over it. */
static int
long_option(struct parse *p, bool apply)
{
	const char *text = p->argv[p->at] + 2, *eq = strchr(text, '='),
		   *value = NULL;
	size_t n = eq != NULL ? (size_t)(eq - text) : strlen(text);
	const struct option_def *d = find_long(text, n);
	char shown[80];

	if (d == NULL)
		return (apply ? unknown_long(text, n) : 0);
	strcpy(shown, "--");
	strcat(shown, d->name);
	if (d->value && (value = eq != NULL ? eq + 1 : next_arg(p)) == NULL)
		return (apply ? missing(shown) : 0);
	if (!d->value && eq != NULL) {
		if (apply)
			log_error("option %s takes no value", shown);
		return (-EINVAL);
	}
	return (apply ? use(p, d, shown, value) : 0);
}

/* -v, -Dv, -cFILE, -c FILE. */
static int
short_options(struct parse *p, bool apply)
{
	const struct option_def *d;
	const char *value, *at = p->argv[p->at] + 1;
	char shown[3] = "-?";
	int r;

	for (; *at != '\0'; at++) {
		shown[1] = *at;
		value = NULL;
		d = find_letter(*at);
		if (d == NULL) {
			if (apply)
				log_error("option %s is not known: --help "
					  "lists those that are",
				    shown);
			return (apply ? -EINVAL : 0);
		}
		if (d->value &&
		    (value = at[1] != '\0' ? at + 1 : next_arg(p)) == NULL)
			return (apply ? missing(shown) : 0);
		r = apply ? use(p, d, shown, value) : 0;
		if (r != 0 || d->value)
			return (r);
	}
	return (0);
}

/*
 * One pass over argv.  The first, with apply false, only finds the command and
 * the arguments.
 */
static int
pass(struct parse *p, bool apply)
{
	struct options *o = p->o;
	const char *arg, *command = NULL;
	bool only_args = false;
	size_t n = 0;
	int r;

	for (p->at = 1; p->at < (size_t)p->argc; p->at++) {
		arg = p->argv[p->at];
		if (!only_args && strcmp(arg, "--") == 0)
			only_args = true;
		else if (!only_args && arg[0] == '-' && arg[1] != '\0') {
			r = arg[1] == '-' ? long_option(p, apply)
					  : short_options(p, apply);
			if (r != 0 && apply)
				return (r);
		} else if (command == NULL) {
			command = arg;
			for (const struct command *c = cmd_commands;
			     c->name != NULL; c++)
				if (strcmp(c->name, command) == 0)
					o->command = c;
		} else {
			p->args[n++] = arg;
			if (o->command != NULL &&
			    (o->command->id & (CMD_MIRROR | CMD_BACKUP)) != 0)
				only_args = true;
		}
	}
	o->n_args = n;
	if (command != NULL && o->command == NULL && !apply) {
		log_error("'%.100s' is not a command: --help lists those that "
			  "there are",
		    command);
		return (-EINVAL);
	}
	return (0);
}

static int
count_args(const struct options *o)
{
	const struct command *c = o->command;

	if ((int)o->n_args < c->min_args) {
		log_error("'%s' needs more: dsyncfs-sync %s %s", c->name,
		    c->name, c->usage);
		return (-EINVAL);
	}
	if (c->max_args >= 0 && (int)o->n_args > c->max_args) {
		log_error(
		    "'%.100s' is one argument too many: dsyncfs-sync %s %s",
		    o->args[c->max_args], c->name, c->usage);
		return (-EINVAL);
	}
	if ((c->id & (CMD_MIRROR | CMD_BACKUP)) != 0 && o->n_args > 1 &&
	    o->args[1][0] == '-' && strchr(o->args[0], ':') != NULL) {
		log_error("option %.40s stands behind LOCATION2: options come "
			  "before it",
		    o->args[1]);
		return (-EINVAL);
	}
	return (0);
}

/* What is of one user only has no meaning for many. */
static int
check_users(const struct options *o)
{
	const char *shown = o->all_users ? "-A" : "-F",
		   *other = o->all_users && o->user_file != NULL ? "-F"
	    : o->user != NULL                                    ? "-u"
	    : o->state != NULL                                   ? "-s"
	    : o->rawlog != NULL                                  ? "-r"
								 : NULL;

	if ((!o->all_users && o->user_file == NULL) || other == NULL)
		return (0);
	log_error("options %s and %s exclude each other", shown, other);
	return (-EINVAL);
}

int
options_parse(struct options *o, int argc, const char *const *argv)
{
	struct parse p = { .o = o, .argc = argc, .argv = argv };
	size_t n = (size_t)argc + 1, letters = 1;
	int r;

	memset(o, 0, sizeof(*o));
	arena_init(&o->arena);
	o->max_delete = -1;
	for (int i = 1; i < argc; i++)
		/* a cluster holds several options */
		letters += strlen(argv[i]);
	p.overrides = arena_zalloc(&o->arena, n * sizeof(char *));
	p.mailbox = arena_zalloc(&o->arena, n * sizeof(char *));
	p.exclude = arena_zalloc(&o->arena, n * sizeof(char *));
	p.args = arena_zalloc(&o->arena, n * sizeof(char *));
	p.given = arena_zalloc(&o->arena, letters * sizeof(*p.given));
	if (o->arena.error != 0)
		return (-ENOMEM);
	o->overrides = p.overrides;
	o->mailbox = p.mailbox;
	o->exclude = p.exclude;
	o->args = p.args;
	o->given = p.given;
	r = pass(&p, false);
	if (r == 0)
		r = pass(&p, true);
	if (r != 0 || o->help || o->version)
		return (r);
	if (o->command == NULL) {
		log_error("no command: dsyncfs-sync [OPTIONS] COMMAND "
			  "[ARG...]; --help lists the commands");
		return (-EINVAL);
	}
	r = count_args(o);
	return (r != 0 ? r : check_users(o));
}

void
options_fini(struct options *o)
{
	arena_fini(&o->arena);
}
