/*
 * mount_point -- where a store can be, and be mounted.
 */
#ifndef DSYNCFS_FS_MOUNT_POINT_H
#define DSYNCFS_FS_MOUNT_POINT_H

#include <limits.h>

/*
 * A directory that nothing of ours is mounted on; out: its absolute path.  0 or
 * the exit status, reported.
 */
int mount_point_check(const char *given, char out[PATH_MAX]);

/* Makes a directory and what it lies in, for its user alone; -errno. */
int mount_point_parents(const char *path);

/*
 * Waits, for some seconds at most, until no command has the store that lies
 * there: a sync, or a mount that is just ending.
 */
void mount_point_turn(const char *path);

#endif
