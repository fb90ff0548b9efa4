/*
 * cmd -- runs one command: options, configuration, the command itself, its exit
 * status.
 */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "cmd/launcher.h"

const struct command cmd_commands[] = {
	{ CMD_MIRROR, "mirror", "LOCATION2",
	    "merges both locations, so that both have what either has", 1, -1,
	    cmd_mirror },
	{ CMD_BACKUP, "backup", "LOCATION2",
	    "makes LOCATION2 exactly like the first location (-R: the other "
	    "way round)",
	    1, -1, cmd_backup },
	{ CMD_FLUSH, "flush", "[--wait]",
	    "mirrors with the configured remote now", 0, 0, cmd_flush },
	{ CMD_STATUS, "status", "", "the store, its peers, what waits for them",
	    0, 0, cmd_status },
	{ CMD_MAILBOXES, "mailboxes", "", "the mailboxes, a line each", 0, 0,
	    cmd_mailboxes },
	{ CMD_DUMP, "dump", "[LOCATION]",
	    "all mail state as text, made to be compared", 0, 1, cmd_dump },
	{ CMD_LOG, "log", "[MAILBOX] [--follow]", "the change log, newest last",
	    0, 1, cmd_log },
	{ CMD_CONFLICTS, "conflicts", "",
	    "the conflicts that syncs have settled", 0, 0, cmd_conflicts },
	{ CMD_RESTORE, "restore",
	    "[MAILBOX] [--guid GUID] [--uid UIDS] [--since TIME] [--sync] "
	    "[--list]",
	    "takes expunges back", 0, 1, cmd_restore },
	{ CMD_VERIFY, "verify",
	    "[LOCATION2] [--rebuild | --repair [--dry-run]]",
	    "checks the store, or compares it with LOCATION2", 0, 1,
	    cmd_verify },
	{ CMD_COMPACT, "compact", "", "drops what retention no longer holds", 0,
	    0, cmd_compact },
	{ CMD_DSYNC_SERVER, "dsync-server", "",
	    "the far side of a sync, on standard input and output", 0, 1,
	    cmd_dsync_server },
	{ CMD_INIT_CONFIG, "init-config", "[FILE | -]",
	    "writes a commented configuration", 0, 1, cmd_init_config },
	{ CMD_CHECK_CONFIG, "check-config", "[--no-connect] [FILE]",
	    "says what is wrong with a configuration, and tries its remotes", 0,
	    1, cmd_check_config },
	{ 0, NULL, NULL, NULL, 0, 0, NULL }
};

static const char help_options[] =
    "\nOptions (dsyncfs-sync(1) has them all):\n"
    "  -c FILE              configuration file\n"
    "  -o KEY=VALUE         overrides a setting\n"
    "  -u USER              that user's environment and mail\n"
    "  -A, -F FILE          mirror, backup: all users; the users in a file\n"
    "  -v, -D               verbose, debug\n"
    "  -l SECS              waits for a busy store\n"
    "  --json               one JSON object a line\n"
    "  --progress WHEN      auto, always or never\n"
    "  --help, --version\n"
    "of mirror, backup and flush:\n"
    "  -f                   compares everything\n"
    "  -m NAME, -g GUID     only this mailbox\n"
    "  -x MASK              not these mailboxes\n"
    "  -R                   backup from LOCATION2\n"
    "  -1                   mirror: only adds to LOCATION2, deletes nothing "
    "there\n"
    "  -t DATE, -e DATE     only mail since, until\n"
    "  -O FLAG, -I SIZE     only mail with (-FLAG: without) a flag; up to a "
    "size\n"
    "  -C CHAR              stands for what a mailbox name may not have\n"
    "  -T SECS              gives up on a silent peer\n"
    "  --max-delete N%      stops when a mailbox would lose more; "
    "--no-max-delete\n"
    "  -r FILE              copies what goes over the wire\n"
    "  --dry-run            prints what would be done\n";

/* The command that runs in this thread; its reports go to its own output. */
static __thread struct cmd *current;

void
cmd_enter(struct cmd *c)
{
	current = c;
}

int
cmd_status_of(int error)
{
	switch (error) {
	case 0:
		return (EX_DONE);
	case -ECANCELED:
		return (EX_MAX_DELETE);
	case -EBUSY:
	case -EINTR:
	case -ESTALE:
	case -ECONNABORTED:
	case -ECONNRESET:
	case -ETIMEDOUT:
	case -EPIPE:
		return (EX_TRY_LATER);
	case -EACCES:
	case -EPERM:
		return (EX_PERMISSION);
	case -ECONNREFUSED:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return (EX_PEER);
	default:
		return (EX_FAIL);
	}
}

int64_t
cmd_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

bool
cmd_stopped(const struct cmd *c)
{
	return (c->stop != NULL && *c->stop != 0);
}

void
cmd_sleep(const struct cmd *c, int ms)
{
	int64_t end = cmd_mono_ms() + ms, left;

	while (!cmd_stopped(c) && (left = end - cmd_mono_ms()) > 0)
		(void)poll(NULL, 0, left > 100 ? 100 : (int)left);
}

int
cmd_usage_error(struct cmd *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	(void)c;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s", text);
	return (EX_BAD_USAGE);
}

bool
cmd_log_line(enum log_level level, const char *line)
{
	struct cmd *c = current;
	struct buf b = BUF_INIT;

	if (c == NULL)
		return (false);
	buf_printf(&b, "dsyncfs-sync: %s%s",
	    level == LOG_LEVEL_WARNING ? "warning: " : "", line);
	if (buf_cstr(&b) == NULL) {
		buf_fini(&b);
		return (false);
	}
	if (level == LOG_LEVEL_ERROR) {
		free(c->last_error);
		c->last_error = strdup(line);
	}
	if (c->relay != NULL)
		c->backends->dialer->relay_say(c->relay, (int)level, line);
	else if (c->held != NULL) {
		buf_reset(c->held);
		buf_put(c->held, b.data, b.len);
	} else
		err_line(c, (const char *)b.data);
	buf_fini(&b);
	return (true);
}

static int
help(struct cmd *c)
{
	char head[64];

	out_printf(c,
	    "dsyncfs-sync [OPTIONS] mirror LOCATION2\ndsyncfs-sync [OPTIONS] "
	    "backup LOCATION2\n"
	    "dsyncfs-sync [OPTIONS] COMMAND [ARG...]\n\nCommands:\n");
	for (const struct command *k = cmd_commands; k->name != NULL; k++) {
		snprintf(head, sizeof(head), "%s %s", k->name,
		    strlen(k->name) + strlen(k->usage) < 28 ? k->usage : "...");
		out_printf(c, "  %-28s %s\n", head, k->help);
	}
	out_printf(c, "%s", help_options);
	return (EX_DONE);
}

/* A mistake in the files is the configuration's, one in -o the command line's.
 */
static int
load_config(struct cmd *c)
{
	const struct options *o = c->o;
	int r;

	/* A mount is told what its client has read. */
	r = c->local != NULL
	    ? config_given(&c->cfg, o->config, o->config_text, o->overrides,
		  o->n_overrides)
	    : config_load(
		  &c->cfg, o->config, o->overrides, o->n_overrides);
	if (r == 0)
		return (EX_DONE);
	if (r == -ENOTSUP)
		return (EX_BAD_USAGE);
	return (r == -EACCES   ? EX_PERMISSION
		: r == -ENOMEM ? EX_FAIL
			       : EX_BAD_CONFIG);
}

/* A service has no HOME; our own configuration is looked for all the same. */
static void
set_home(void)
{
	const struct passwd *pw;

	if (getenv("HOME") == NULL && (pw = getpwuid(geteuid())) != NULL)
		(void)setenv("HOME", pw->pw_dir, 1);
}

/*
 * -A, -F.  *here: this is the process of one of the users, and his command is
 * still to be run.
 */
static int
run_many(struct cmd *c, bool *here)
{
	int status;

	*here = false;
	if (c->local != NULL)
		return (cmd_usage_error(c, "-A and -F are not for a mount"));
	set_home();
	status = load_config(c);
	if (status != 0)
		return (status);
	status = many_run(c, here);
	*here = *here && status == 0;
	config_fini(&c->cfg);
	return (status);
}

static int
run_command(struct cmd *c)
{
	const struct options *o = c->o;
	int status;

	if (o->version) {
		out_printf(c, "dsyncfs-sync " DSYNCFS_VERSION "\n");
		return (EX_DONE);
	}
	if (o->help)
		return (help(c));
	if (o->all_users || o->user_file != NULL) {
		bool here;

		status = run_many(c, &here);
		if (!here)
			return (status);
		o = c->o;
	} else if (o->user != NULL && c->local == NULL) {
		status = user_switch(o->user);
		if (status != 0)
			return (status);
	}
	if ((o->command->id & (CMD_INIT_CONFIG | CMD_CHECK_CONFIG)) != 0)
		return (o->command->run(c));
	status = load_config(c);
	if (status != 0)
		return (status);
	status = o->command->run(c);
	config_fini(&c->cfg);
	return (status);
}

static enum log_level
wanted_level(const struct options *o)
{
	return (o->debug     ? LOG_LEVEL_DEBUG
		: o->verbose ? LOG_LEVEL_VERBOSE
			     : LOG_LEVEL_INFO);
}

/*
 * In a mount the level is the program's and put back; there -v shows this
 * command's own lines all the same.
 */
static enum log_level
present_level(void)
{
	enum log_level level = LOG_LEVEL_ERROR;

	while (level < LOG_LEVEL_DEBUG && log_enabled(level + 1))
		level++;
	return (level);
}

int
cmd_run(int argc, const char *const *argv, const struct backends *known,
    const struct cmd_local *local, const struct cmd_io *io,
    const atomic_int *stop)
{
	struct options o;
	struct cmd c = { .o = &o,
		.backends = known,
		.known = known->drivers,
		.local = local,
		.io = io,
		.stop = stop };
	struct cmd *before = current;
	enum log_level level = present_level();
	int r, status;

	arena_init(&c.arena);
	buf_init(&c.out);
	current = &c;
	r = options_parse(&o, argc, argv);
	if (r != 0) {
		status = r == -ENOMEM ? EX_FAIL : EX_BAD_USAGE;
	} else {
		if (wanted_level(&o) > level || local == NULL)
			log_set_level(wanted_level(&o));
		c.progress_wanted = o.progress == PROGRESS_ALWAYS ||
		    (o.progress == PROGRESS_AUTO && io->progress != NULL);
		status = run_command(&c);
	}
	launcher_free(c.launcher);
	out_flush(&c);
	progress_clear(&c);
	if (c.out_failed && status == EX_DONE)
		status = EX_FAIL;
	log_set_level(level);
	current = before;
	free(c.last_error);
	buf_fini(&c.out);
	arena_fini(&c.arena);
	options_fini(&o);
	return (status);
}
