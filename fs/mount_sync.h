/*
 * mount_sync -- the syncs that a mount begins by itself.
 *
 * The first is asked of the broker: a dsyncfs-sync reaches the far side and
 * comes as a client.  The link that it brings may stay (cmd_session), and then
 * the next syncs are the same command again, over that.
 */
#ifndef DSYNCFS_FS_MOUNT_SYNC_H
#define DSYNCFS_FS_MOUNT_SYNC_H

#include <stdatomic.h>

#include "fs/broker.h"
#include "fs/scheduler.h"

/* Runs a command here.  gone: as in struct cmd_local. */
typedef int mount_sync_run_fn(void *arg, int argc, const char *const *argv,
    const struct cmd_io *io, struct cmd_session *session, bool *gone);

struct mount_sync;
/* All borrowed.  NULL: no memory. */
struct mount_sync *mount_sync_new(struct broker *broker,
    const struct scheduler_remote *v, size_t n, const atomic_int *ending,
    mount_sync_run_fn *run, void *arg);
void mount_sync_free(struct mount_sync *m); /* NULL is fine */

/* scheduler_ops.sync, of a thread for each remote. */
int mount_sync_with(
    struct mount_sync *m, const struct scheduler_remote *r, char **error);

/*
 * The remote whose link a client's request may leave here (--session), or NULL.
 */
const struct scheduler_remote *mount_sync_of(
    const struct mount_sync *m, int argc, const char *const *argv);
/* What to run again over that link. */
void mount_sync_keep(struct mount_sync *m, const struct scheduler_remote *r,
    int argc, const char *const *argv);

#endif
