/*
 * mount_remotes -- with what a mount syncs, and when: from -o and the
 * configuration.
 */
#ifndef DSYNCFS_FS_MOUNT_REMOTES_H
#define DSYNCFS_FS_MOUNT_REMOTES_H

#include "cmd/config.h"
#include "fs/mount_options.h"
#include "fs/scheduler.h"

/*
 * -o remote= and remote = in the configuration first; with of_config, which
 * says that the configuration is about this store, also its remote sections.
 * What *v names is borrowed from o and c.  0 or the exit status, reported.
 */
int mount_remotes(struct arena *a, const struct mount_options *o,
    const struct config *c, bool of_config, struct scheduler_remote **v,
    size_t *n);

/* What the arena does not hold. */
void mount_remotes_free(struct scheduler_remote *v, size_t n);

/*
 * What flush is about, up to name NULL: those of the n in v that are synced
 * with by themselves, and remote= in any case.  In the arena; 0 or the exit
 * status.
 */
int mount_remotes_flushed(struct arena *a, const struct mount_options *o,
    const struct config *c, const struct scheduler_remote *v, size_t n,
    struct cmd_remote **out);

#endif
