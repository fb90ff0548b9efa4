/*
 * mount_point -- where a store can be mounted.
 */
#ifndef DSYNCFS_FS_MOUNT_POINT_H
#define DSYNCFS_FS_MOUNT_POINT_H

#include <limits.h>

/*
 * A directory that nothing of ours is mounted on; out: its absolute path.  0 or
 * the exit status, reported.
 */
int mount_point_check(const char *given, char out[PATH_MAX]);

#endif
