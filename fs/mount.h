/*
 * mount -- what the files of the main share: everything of a running mount.
 */
#ifndef DSYNCFS_FS_MOUNT_H
#define DSYNCFS_FS_MOUNT_H

#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "control/control.h"
#include "fs/broker.h"
#include "fs/mount_hook.h"
#include "fs/mount_options.h"
#include "fs/mount_sync.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scheduler.h"

struct mount {
	const struct backends *backends;
	struct mount_options o;
	struct config config;
	struct arena arena;
	struct location location;
	char mountpoint[PATH_MAX];
	char *status; /* owned: head of .dsyncfs/status */
	struct os *os;
	struct store *store;
	struct view *view;
	struct replica *replica;
	struct fs fs;
	struct fuse_session *session;
	struct notifier *notifier;
	struct control_server *control;
	struct mount_hook *hook; /* NULL: no command is set */
	struct broker *broker;
	struct mount_sync *syncs;
	struct scheduler *scheduler;
	pthread_t ticker;
	pthread_mutex_t lock;
	pthread_mutex_t commands; /* one at a time of those that sync */
	pthread_cond_t wake;
	atomic_int ending; /* a sync of ours ends at its next good point */
	bool ticking, stop;
	struct scheduler_remote *remotes;
	size_t n_remotes;
	struct cmd_remote *flushed; /* those of them that are not manual */
	int network; /* that the scheduler takes over; -1 */
	int parent; /* pipe to the starter, -1 */
};

/* ---- commands (mount_commands.c), for the parts above ---- */

/* What status shows first; .dsyncfs/status has figures behind it. */
void mount_put_status(void *mount, struct buf *b);
void mount_put_file_status(void *mount, struct buf *b);
/* A request of the control socket. */
int mount_on_request(void *mount, const struct control_request *req,
    control_reply_fn *reply, void *reply_arg);
/* The same command as before, over a link that stayed. */
int mount_run_again(void *mount, int argc, const char *const *argv,
    const struct cmd_io *io, struct cmd_session *session, bool *gone);
/* Of the scheduler. */
extern const struct scheduler_ops mount_scheduler_ops; /* arg is to be set */

#endif
