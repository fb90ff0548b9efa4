/*
 * cmd_internal -- what the commands share: parsed options, output, locations,
 * what is remembered of peers.
 */
#ifndef DSYNCFS_CMD_CMD_INTERNAL_H
#define DSYNCFS_CMD_CMD_INTERNAL_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "control/control.h"
#include "sync/brain.h"

/* ---- values (values.c): 0 or -EINVAL, nothing reported ---- */

int value_number(const char *s, uint64_t max, uint64_t *out);
/* 90, 90s, 5min, 12h, 30d, 2w; a space before the unit is fine */
int value_duration(const char *s, int64_t *secs);
int value_size(const char *s, uint64_t *bytes); /* 512, 10k, 5M, 2G */
int value_percent(const char *s, unsigned *percent); /* 50%, 50, no */
/*
 * Seconds since 1970, 2026-03-01[ 12:30[:00]][Z], 01-Mar-2026, or a duration
 * before now.
 */
int value_time(const char *s, int64_t now, int64_t *out);
/* The known name nearest to a mistyped one, or NULL when none is near. */
const char *value_nearest(const char *s, const char *const *known, size_t n);
/* 2026-03-01T12:30:00Z, or "never" for 0 */
const char *time_text(int64_t t, char out[32]);
const char *bytes_text(uint64_t n, char out[16]); /* 1.2 MB */

/*
 * A path or an option as it is written in a location: "::" for ':', in a path
 * "%%" for '%'.
 */
void location_put(struct buf *b, const char *s, bool path);

/* ---- options (options.c) ---- */

enum command_id {
	CMD_MIRROR = 1 << 0,
	CMD_BACKUP = 1 << 1,
	CMD_FLUSH = 1 << 2,
	CMD_STATUS = 1 << 3,
	CMD_MAILBOXES = 1 << 4,
	CMD_DUMP = 1 << 5,
	CMD_LOG = 1 << 6,
	CMD_VERIFY = 1 << 7,
	CMD_RESTORE = 1 << 8,
	CMD_COMPACT = 1 << 9,
	CMD_CONFLICTS = 1 << 10,
	CMD_INIT_CONFIG = 1 << 11,
	CMD_CHECK_CONFIG = 1 << 12,
	CMD_DSYNC_SERVER = 1 << 13,
	CMD_SYNCS = CMD_MIRROR | CMD_BACKUP | CMD_FLUSH
};

struct cmd;
struct command {
	enum command_id id;
	const char *name, *usage, *help;
	int min_args, max_args;
	int (*run)(struct cmd *c); /* gives the exit status */
};
extern const struct command cmd_commands[]; /* up to name NULL */

enum progress_when { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

/* an option as it was given; value NULL: it takes none */
struct given {
	const char *name, *value;
};

struct options {
	struct arena arena;
	const struct command *command;
	const char *const *args;
	size_t n_args;
	const struct given *given;
	size_t n_given;
	const char *config, *user, *flag, *guid, *uids;
	const char *user_file; /* -F */
	const char *state; /* -s; "": none yet; NULL: saved ones */
	const char *rawlog; /* -r */
	/* ---- what dsyncfs-sync tells a mount, or another of its own ---- */
	const char *config_text; /* of the file of config */
	/* "STATUS TEXT": the far side was not reached, and why */
	const char *unreached;
	bool session; /* the mount keeps the connection for its next syncs */
	bool remotes; /* flush: only says with what it is about */
	bool no_guids; /* verify: as the other location is dumped */
	const char *const *overrides, *const *mailbox, *const *exclude;
	size_t n_overrides, n_mailbox, n_exclude;
	struct guid mailbox_guid;
	int64_t since, until;
	uint64_t max_size, from, lock_secs;
	unsigned timeout_secs; /* -T; 0: the default */
	int max_delete; /* percent; -1: as configured */
	char alt_char; /* 0: as configured */
	enum progress_when progress;
	bool all_users; /* -A */
	bool debug, verbose, full, reverse, one_way, dry_run, json, help,
	    version;
	bool follow, cursor, rebuild, repair, last_sync, list, wait, no_modseqs,
	    no_connect;
};

/*
 * Strings are borrowed from argv.  -EINVAL reported; -ENOMEM.  options_fini in
 * any case.
 */
int options_parse(struct options *o, int argc, const char *const *argv);
void options_fini(struct options *o);
/*
 * The option of this long name, which there is: NULL, or what would be right.
 * Of -m and -x the value is only looked at.
 */
const char *option_take(struct options *o, const char *name, const char *value);

/* ---- a running command (cmd.c) ---- */

struct cmd {
	const struct options *o;
	struct config cfg;
	const struct backends *backends;
	drivers known; /* of the backends */
	/* NULL: in dsyncfs-sync itself */
	const struct cmd_local *local;
	const struct cmd_io *io;
	const atomic_int *stop;
	struct arena arena;
	struct buf out; /* text on its way to io->out */
	bool out_failed;
	/* of the line that stands on the terminal; 0: none does */
	size_t progress_width;
	bool progress_wanted;
	/* this process is for one user of -A or -F */
	bool of_many;
	int64_t progress_shown; /* monotonic ms */
	/* owned; the last line that was reported */
	char *last_error;
	/* reports go here instead while a busy store is waited for */
	struct buf *held;
	/*
	 * This process is the other side of a mount's sync (sync_mount.c): what
	 * is done once for both is done there, and reports go there, too, once
	 * relay is set.
	 */
	bool passes_on;
	const struct relay_ends *relay;
	/* ---- closing.c ---- */
	/* runs post_sync_command once this process is closed; NULL; owned */
	struct launcher *launcher;
	bool closed;
	/*
	 * This process is for a part of the command, and ends with its status;
	 * tell: where its result goes.
	 */
	bool apart;
	int tell;
};

/* What this thread reports is c's. */
void cmd_enter(struct cmd *c);
bool cmd_stopped(const struct cmd *c);
void cmd_sleep(const struct cmd *c, int ms); /* or until stopped */
int64_t cmd_mono_ms(void);
/* gives EX_BAD_USAGE */
int cmd_usage_error(struct cmd *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- least privilege (closing.c) ---- */

/* This process is to be closed before it reads what others wrote. */
bool closing_wanted(const struct cmd *c);
/*
 * What has to be there before it is closed, while there is no other thread.  0
 * or the exit status, reported.
 */
int closing_prepare(struct cmd *c);
/*
 * The locations are open, and a far side is reached: from here on nothing else
 * is.  children: a program that runs for the link, if there is one, will be
 * told to end.  0 or the exit status, reported.
 */
int closing_now(struct cmd *c, bool children);
/*
 * fn, which reads what others wrote, behind closing_now.  Gives fn's status, or
 * that of what failed before, reported.
 */
int closing_run(
    struct cmd *c, bool children, int (*fn)(void *arg), void *arg);
/*
 * For what is done more than once, so that it may be closed each time: true in
 * a new process, where c->apart is set, and whoever called returns with the
 * status of this one time at once.  False: that has ended, with *status and, by
 * closing_tell, n bytes of result (zeros when it has told nothing).  Only where
 * closing_wanted.
 */
bool closing_apart(struct cmd *c, void *result, size_t n, int *status);
void closing_tell(const struct cmd *c, const void *result, size_t n);

/* ---- output (output.c) ---- */

void out_printf(struct cmd *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void out_flush(struct cmd *c);
/* talk: past a progress line, with a newline added */
void err_line(struct cmd *c, const char *line);
/* One JSON object on a line of its own. */
struct json {
	struct buf b;
};
void json_begin(struct json *j, const char *event);
/* NULL: null; bad UTF-8 becomes U+FFFD */
void json_str(struct json *j, const char *key, const char *value);
void json_int(struct json *j, const char *key, int64_t value);
void json_uint(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_end(struct cmd *c, struct json *j);
void json_quote(struct buf *b, const char *s);
/* {"event":"summary","status":N} */
void json_summary(struct cmd *c, int status);

struct progress {
	struct cmd *c;
	uint64_t mailboxes, mailboxes_done;
	int64_t begun;
};
void progress_begin(struct progress *p, struct cmd *c, uint64_t mailboxes);
void progress_show(struct progress *p, const char *mailbox, uint64_t done,
    uint64_t total, uint64_t bytes);
void progress_clear(struct cmd *c);

/* ---- locations (place.c) ---- */

struct place {
	struct location l;
	/* is_far: l is empty, and the place is reached by the dialer */
	bool is_far;
	struct far far;
	const char *origin;
	/*
	 * a mistake in it is the configuration's (78), not the command line's
	 * (64)
	 */
	bool from_config;
};

/* The first location.  Gives 0 or the exit status, reported. */
int place_first(struct cmd *c, struct place *p);
/*
 * LOCATION2: a location, or the name of a remote section (then *remote).  Gives
 * 0 or the exit status, reported.
 */
int place_second(struct cmd *c, const char *const *words, size_t n,
    struct place *p, const struct config_remote **remote);
/* A location that a configuration key holds, text and origin from there. */
int place_value(struct cmd *c, const struct config_value *v, struct place *p);
bool place_same(const struct place *a, const struct place *b);
/*
 * driver:/absolute/path:options, or what was written of a far one, in the
 * arena; the same place wherever it is read.
 */
const char *place_text(struct cmd *c, const struct place *p);
/*
 * Opens it; waits for a busy one as long as -l says.  0 or the exit status,
 * reported.
 */
int place_open(
    struct cmd *c, const struct place *p, unsigned flags, struct replica **out);
/*
 * When a mount has p's store: runs the command there, with args instead of the
 * user's and without the options named in drop (NULL-terminated, may be NULL),
 * add first.  True: done, *status is set.  False: no mount has it.
 */
struct forward {
	const char *command;
	const char *const *args;
	size_t n_args;
	const char *const *drop;
	const char *add[2]; /* NULL */
	/* it is another command than the user's, and takes not all options */
	bool other;
	enum control_kind kind;
	int fd[CONTROL_FDS]; /* go along */
	size_t n_fds;
	struct buf *said; /* gets the command's output; NULL: the user does */
};
bool place_mounted(struct cmd *c, const struct place *p);
/* It is the store of the mount that runs this command. */
bool place_is_local(const struct cmd *c, const struct place *p);
/*
 * Where a mount has p's store, p becomes a far one: that mount, by a
 * dsync-server of ours.  0 or the exit status, reported.
 */
int place_by_mount(struct cmd *c, struct place *p);
bool place_forward(
    struct cmd *c, const struct place *p, const struct forward *f, int *status);

/* The driver, when it can tell of changes, or NULL. */
const struct driver *place_watched(const struct cmd *c, const struct place *p);

/*
 * What most commands need: the first location's replica, opened or the mount's
 * own.  *done: a mount ran the command, *status is its exit status.  Gives 0 or
 * the exit status, reported.
 */
struct subject {
	struct place place;
	struct replica *r;
	bool owned;
};
int subject_open(struct cmd *c, const char *const *words, size_t n,
    unsigned flags, struct subject *s, bool *done, int *status);
/* gives status, or that of a failed close */
int subject_close(struct subject *s, int status);

static inline void
replica_lock(struct replica *r)
{
	r->ops->lock(r);
}
static inline void
replica_unlock(struct replica *r)
{
	r->ops->unlock(r);
}
/*
 * Keeps its state itself: a store with bodies, not a foreign location with a
 * sidecar.
 */
static inline bool
replica_native(const struct replica *r)
{
	return ((r->ops->caps & REPLICA_MODSEQS) != 0);
}

/* ---- the filters of a remote section (filters.c) ---- */

/*
 * c's options, and behind them, as if they had been given too, those filters of
 * r whose kind was not given.  A time ago counts from now.  *out borrows from c
 * and is not to be freed.  0 or the exit status, reported.
 */
int filters_apply(struct cmd *c, const struct config_remote *r, bool backup,
    struct options *out);

/* ---- what is remembered of peers (memory_peers.c), conflicts (memory.c) ----
 */

struct peer_memory {
	struct guid peer;
	const char *label;
	/*
	 * end of the last good sync; begin of the last one that took mail away
	 * here; end of the last one
	 */
	int64_t success, begun, tried;
	int status; /* of the last sync */
	const char *error; /* "" */
	/* the log from here on has not been part of a good sync */
	uint64_t lsn;
};
struct conflict_memory {
	int64_t time;
	const char *peer, *mailbox, *what, *rule, *outcome;
	uint32_t uid;
};

typedef int peer_memory_fn(void *arg, const struct peer_memory *m);
/* the one tried last first */
int memory_peers(struct store *s, peer_memory_fn *fn, void *arg);
/* -ENOENT */
int memory_peer(struct store *s, const struct guid *peer, struct arena *a,
    struct peer_memory *out);
int memory_peer_by_label(struct store *s, const char *label, struct arena *a,
    struct peer_memory *out);
/*
 * Replaces what was remembered; writes nothing to the log, and nothing that has
 * to last.  Reported.
 */
int memory_peer_set(struct store *s, const struct peer_memory *m);
/* Since lsn the peer's syncs have expunged or deleted something here. */
int memory_took_away(
    struct store *s, const struct guid *peer, uint64_t lsn, bool *took);
/*
 * Changes since m->lsn that did not come from the peer; *oldest the time of the
 * first.
 */
int memory_waiting(
    struct store *s, const struct peer_memory *m, uint64_t *n, int64_t *oldest);
int memory_conflicts_add(
    struct store *s, const struct conflict_memory *v, size_t n);
typedef int conflict_memory_fn(void *arg, const struct conflict_memory *m);
/* oldest first */
int memory_conflicts(struct store *s, conflict_memory_fn *fn, void *arg);

/* mirror or backup (sync_cmd.c) with one LOCATION2; gives the exit status */
int sync_named(struct cmd *c, const char *name, bool backup);

/* ---- a sync that a mount runs (sync_mount.c) ---- */

struct mount_sync {
	const char *command; /* mirror, backup */
	const struct place *first, *second;
	const struct config_remote *remote; /* the second's; NULL */
	bool reverse;
};
/*
 * When a mount has one of the stores: reaches the other one for it, and has it
 * run the sync.  True: it was, or cannot be; *status is set.
 */
bool sync_by_mount(struct cmd *c, const struct mount_sync *m, int *status);

/* ---- after a sync (hook.c) ---- */

/* post_sync_command, when the sync with peer has changed something since lsn.
 */
void hook_after(
    struct cmd *c, struct replica *r, const struct guid *peer, uint64_t lsn);

/* ---- many users (users.c, many.c, user.c) ---- */

struct user {
	const char *name, *home, *shell;
	uid_t uid;
	gid_t gid;
	bool known; /* to this machine; else the members above are not set */
	int error; /* why he could not be looked up; 0 */
};
struct user_list {
	struct user *user; /* in an arena */
	size_t n, cap;
};

/* Letters, digits and . _ @ + -; no '-' at the start, not only dots. */
bool user_name_ok(const char *name);
/*
 * The names in the file of -F, a line each, # comments; each once.  -EINVAL
 * reported by line, -ENOMEM.
 */
int users_parse(struct arena *a, const char *text, size_t n, const char *file,
    struct user_list *out);
/*
 * Whom -A or -F means, looked up.  0 or the exit status, reported: also where
 * one of them is not for the caller to act for.
 */
int users_find(struct cmd *c, struct user_list *l);
/*
 * %u (the user), %n and %d (before and behind its @), %h (the home directory,
 * where it has none but plain characters), %%.  -EINVAL reported, -ENOMEM.
 */
int users_expand(struct arena *a, const char *text, const char *name,
    const char *home, const char *origin, const char **out);

/*
 * -A, -F: a process for each user, c->cfg.max_parallel at a time.  Gives the
 * exit status of all.  In each of those processes, *child is true: status 0,
 * and c is from here on that user's command, with his rights and environment,
 * whose configuration is still to be loaded; or the exit status, reported.
 */
int many_run(struct cmd *c, bool *child);
/* Of two exit statuses the one that all together have. */
int many_worse(int a, int b);
/*
 * In the new process, with all signals blocked: becomes u, with out and err as
 * its standard output and error, told to stop when parent dies.  0 or the exit
 * status, reported there.
 */
int many_child(const struct user *u, int out, int err, pid_t parent);
/* And c u's command.  0 or the exit status. */
int many_child_command(struct cmd *c, const struct user *u);

/* As root, name's rights for good, which is checked.  -errno */
int user_drop(const char *name, uid_t uid, gid_t gid);
/* HOME, USER, LOGNAME; no XDG directory of ours.  -ENOMEM */
int user_environment(const char *name, const char *home);

/* "3 saved, 0 copied, ..." (sync_cmd.c) */
void counts_text(struct buf *b, const struct sync_counts *n);

/* ---- the far side of a sync (far.c) ---- */

/*
 * What a dsync-server says while nothing is synced (server.c): that it is
 * there, each SERVER_BEAT_MS, and that something has changed.
 */
#define SERVER_BEAT "\n"
#define SERVER_NEWS "\r\n"
#define SERVER_BEAT_MS 20000

/* How one sync of a dsync-server ended. */
struct serve_end {
	bool stays; /* the master may begin another one */
	bool again; /* something has changed meanwhile */
	uint64_t mark; /* of the watched directories */
};
/*
 * A sync as the slave over in and out (sync_cmd.c), which are dup'ed.  p: where
 * a is, when it is watched afterwards; NULL: this sync is the only one.  Gives
 * the exit status.
 */
int sync_serve(struct cmd *c, struct replica *a, int in, int out,
    const struct place *p, struct serve_end *end);

/* Of a place that can be watched (watch.c): a descriptor to poll, or -1. */
int watch_open(const struct driver *d, const struct location *l);
/* Takes what it has; true: there was something. */
bool watch_drain(int fd);
/* Another number when a file has come, gone, grown or shrunk. */
uint64_t watch_mark(const struct driver *d, const struct location *l);

/* The link of a session that is open, or NULL; it becomes the caller's. */
struct link *session_take(struct cmd_session *k);
/* The link stays open until the next sync. */
void session_keep(struct cmd_session *k, struct link *l);

struct far_session {
	struct cmd *c; /* its local's link, where there is one */
	bool again; /* the link has had a sync before */
	bool stays; /* the link goes back to the mount's session */
	struct far_settings settings;
	struct link *l;
	struct channel *ch;
	int raw; /* file of -r; -1 */
	char raw_side; /* whose bytes are on its last line; 0: none are */
	bool raw_failed;
};
/* Give 0 or the exit status, reported.  s need not be closed after those. */
int far_dial(struct cmd *c, const struct place *p, struct far_session *s);
/* The file of -r, or -1 without.  0 or the exit status, reported. */
int rawlog_open(const struct cmd *c, int *fd);
/* Only the link, for somebody else's sync: s->l, which is the caller's. */
int far_link(struct cmd *c, const struct place *p, struct far_session *s);
int far_serve(struct cmd *c, int in, int out, struct far_session *s);
/* The sync; gives brain_step's codes, reported. */
int far_run(struct far_session *s, struct brain *b);
/* After brain_free. */
void far_close(struct far_session *s);

/*
 * Tries each remote of the configuration and prints how it went; nothing is
 * changed anywhere (check.c).  The exit status of all.
 */
int check_remotes(struct cmd *c);

/* ---- configuration by way of Dovecot (dovecot.c) ---- */
bool dovecot_config_looks(const char *text);
/* malloc'd; -errno reported */
int dovecot_mail_location(const char *file, char **out);

/* ---- the commands ---- */
int cmd_mirror(struct cmd *c);
int cmd_backup(struct cmd *c);
int cmd_flush(struct cmd *c);
int cmd_status(struct cmd *c);
int cmd_mailboxes(struct cmd *c);
int cmd_dump(struct cmd *c);
int cmd_log(struct cmd *c);
int cmd_conflicts(struct cmd *c);
int cmd_verify(struct cmd *c);
int cmd_compact(struct cmd *c);
int cmd_restore(struct cmd *c);
int cmd_dsync_server(struct cmd *c);
int cmd_init_config(struct cmd *c);
int cmd_check_config(struct cmd *c);

#endif
