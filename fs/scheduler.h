/*
 * scheduler -- when a mount syncs with which of its remotes: after a burst of
 * changes, at an interval, when asked; later when a peer is away, and at once
 * when the machine or its network is back.
 */
#ifndef DSYNCFS_FS_SCHEDULER_H
#define DSYNCFS_FS_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "cmd/cmd.h"

enum sync_when {
	SYNC_MANUAL, /* only when asked */
	SYNC_EVERY,
	/*
	 * after local changes, and after those over there: as soon as a far
	 * dsyncfs tells them, else every PUSH_POLL seconds
	 */
	SYNC_PUSH
};

struct scheduler_remote {
	/* borrowed: LOCATION2 of the command, a section's name or a location */
	const char *name;
	const char *location; /* borrowed: where it is */
	bool backup;
	enum sync_when when;
	unsigned seconds; /* SYNC_EVERY */
	/* borrowed: the connection that sync may leave open; NULL: none */
	struct cmd_session *session;
};

/* Called by threads of the scheduler. */
struct scheduler_ops {
	/*
	 * One sync: the exit status of mirror or backup.  *error: malloc'd, the
	 * last lines that it said, or NULL.
	 */
	int (*sync)(void *arg, const struct scheduler_remote *r, char **error);
	/* A number that grows with each change of the store. */
	uint64_t (*changes)(void *arg);
	/*
	 * How many changes have not been part of a good sync with r yet;
	 * -errno. Called by any thread, so *k is guarded by what guards the
	 * store.
	 */
	int (*waiting)(void *arg, const struct scheduler_remote *r,
	    struct cmd_waiting *k, uint64_t *n);
	void *arg;
};

/*
 * A descriptor that tells of changes of the network; -1: there is none.  The
 * scheduler takes it over.
 */
int scheduler_network(void);

struct scheduler;
/* Remotes are copied.  0, -errno. */
int scheduler_start(const struct scheduler_remote *v, size_t n,
    const struct scheduler_ops *ops, int network, struct scheduler **out);
/* Syncs with all of them now. */
void scheduler_now(struct scheduler *s);
/*
 * Ends the threads (the sync that runs has to be stopped by its owner) and says
 * what has not been pushed.  NULL is fine.
 */
void scheduler_stop(struct scheduler *s);
/* What `status` and .dsyncfs/status show, a few lines for each remote. */
void scheduler_text(struct scheduler *s, struct buf *b);
/* Of the i-th remote; false: there is none. */
bool scheduler_status(
    struct scheduler *s, size_t i, struct cmd_remote_status *out);

#endif
