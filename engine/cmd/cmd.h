/*
 * cmd -- the commands of dsyncfs-sync, run by its main, or by a mount for a
 * client of its socket.
 */
#ifndef DSYNCFS_CMD_CMD_H
#define DSYNCFS_CMD_CMD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include "base/log.h"
#include "sync/location.h"

/* Exit statuses (specs/cli.md). */
enum {
	EX_DONE = 0,
	EX_FAIL = 1,
	EX_AGAIN = 2,
	EX_MAX_DELETE = 4,
	EX_BAD_USAGE = 64,
	EX_PEER = 69,
	EX_TRY_LATER = 75,
	EX_PERMISSION = 77,
	EX_BAD_CONFIG = 78
};
int cmd_status_of(int error); /* exit status for an -errno */

/* Where a command's data, talk and progress go. */
struct cmd_io {
	void (*out)(void *arg, const char *text, size_t n);
	void (*err)(void *arg, const char *text, size_t n);
	/* NULL: no progress wanted */
	void (*progress)(void *arg, const char *text, size_t n);
	void *arg;
};

/* How it stands with a place that a mount syncs with by itself. */
struct cmd_remote_status {
	const char *name;
	bool backup;
	char sync[16]; /* "manual", "push" or seconds */
	bool syncing;
	bool connected; /* the far side says when something changes there */
	int64_t began; /* the last sync, seconds since 1970 */
	uint64_t runs, failed; /* since the mount */
	/* seconds since 1970; 0: never, or nothing is planned */
	int64_t last_success, next_try;
	int last_status;
	char last_error[512]; /* "" */
	uint64_t waiting; /* local changes */
	/* something waits over there; -1: nobody knows */
	int waiting_there;
};
struct cmd_remote {
	const char *name; /* LOCATION2 */
	bool backup;
};

/*
 * A connection that a mount keeps between its syncs with one far place, where
 * there is a dsyncfs too.  One thread at a time.
 */
struct cmd_session;
struct cmd_session *cmd_session_new(void); /* NULL: no memory */
void cmd_session_free(struct cmd_session *k); /* NULL is fine */
bool cmd_session_open(const struct cmd_session *k);
/*
 * Of an open one, for at most ms: 1 something has changed over there; 0; other:
 * it is closed (-EPIPE, -ETIMEDOUT; others reported).
 */
int cmd_session_idle(struct cmd_session *k, int ms);
void cmd_session_close(struct cmd_session *k); /* hangs up */

/*
 * The store a mount has open already, so that a command works in place; NULL in
 * dsyncfs-sync itself. replica: borrowed, its lock members guard the store.
 */
struct cmd_local {
	struct replica *replica;
	const char *path; /* of the store's directory */
	/* extra lines for `status` (mount point, ...), may be NULL */
	const char *status_text;
	/* what the mount syncs with by itself, up to name NULL; may be NULL */
	const struct cmd_remote *remotes;
	/* of the i-th of all places; false: there is none.  May be NULL */
	bool (*remote_status)(
	    void *arg, size_t i, struct cmd_remote_status *out);
	void *remote_arg;
	/*
	 * Borrowed; -1.  For dsync-server the peer's two; for mirror and backup
	 * the data and talk of a link that their client has (base/link.h): a
	 * mount reaches nobody itself.  raw: the file of -r.
	 */
	int in, out, raw;
	/* mirror keeps its connection in it; NULL: it hangs up */
	struct cmd_session *session;
	/* what stops that, which outlives the command */
	const atomic_int *ending;
	/* set when what was kept there is of no use any more; NULL */
	bool *gone;
	/*
	 * Takes the names of mailboxes that a sync has changed, for the mount
	 * to run post_sync_command; NULL: nobody does.
	 */
	void (*changed)(void *arg, const char *const *names, size_t n);
	void *arg;
};

/*
 * The whole of dsyncfs-sync: parses argv, loads the configuration, runs the
 * command, gives the exit status.
 */
int cmd_run(int argc, const char *const *argv, const struct backends *known,
    const struct cmd_local *local, const struct cmd_io *io,
    const atomic_int *stop);

/*
 * What the program's log sink calls first: a line reported in a thread that
 * runs a command goes to that command's io (err).  false: no command runs in
 * this thread, the line is the program's own.
 */
bool cmd_log_line(enum log_level level, const char *line);

/*
 * post_sync_command with the names on its standard input; waits for it, and
 * when told to stop sends it TERM and waits no more.  0, -EINTR, or reported.
 */
int hook_run(const char *command, const char *const *names, size_t n,
    const atomic_int *stop);
/* Their names, a line each, as a file to read; -errno. */
int hook_names(const char *const *names, size_t n);
/*
 * hook_run with them; in may be the error of hook_names.  hang: something to be
 * read from this descriptor is a stop, too; -1.
 */
int hook_run_file(
    const char *command, int in, const atomic_int *stop, int hang);
/*
 * How many changes of the store (n) have not been part of a good sync with this
 * LOCATION2 yet (all, when there was none), under the store's lock.  Zeroed at
 * first, *k goes on from where it was: the cost is what is new.  -errno.
 */
struct cmd_waiting {
	uint64_t from, next; /* LSNs: of the last good sync, not yet counted */
	uint64_t n;
};
int cmd_waiting(struct store *s, const char *location, struct cmd_waiting *k);

/*
 * -u: that user's environment, and as root his rights for good.  0 or the exit
 * status, reported.
 */
int user_switch(const char *name);

#endif
