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
 * The remote whose link a client's request may leave here (--session), or NULL:
 * only while mount_sync_with waits for such a client, which goes on when it has
 * ended.  The command is what is run again over that link.
 */
const struct scheduler_remote *mount_sync_begin(
    struct mount_sync *m, int argc, const char *const *argv);
void mount_sync_end(
    struct mount_sync *m, const struct scheduler_remote *r); /* NULL is fine */

#endif
