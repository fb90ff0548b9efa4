/*
 * os_copy -- copies the files of one tree into another.
 */
#ifndef DSYNCFS_BACKENDS_OS_COPY_H
#define DSYNCFS_BACKENDS_OS_COPY_H

#include "base/os.h"

/*
 * Regular files and directories, into a tree that is empty; other things are
 * left out.  Nothing is synced, nothing is written to from.  0 or -errno, not
 * reported; what was copied before a failure stays.
 */
int os_copy_tree(struct os *from, struct os *to);

#endif
