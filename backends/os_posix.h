/*
 * os_posix -- struct os on a real directory.
 */
#ifndef DSYNCFS_BACKENDS_OS_POSIX_H
#define DSYNCFS_BACKENDS_OS_POSIX_H

#include <stdbool.h>
#include "base/os.h"

/*
 * Opens the directory; path itself may lead through symbolic links.  With
 * create its last level is made (mode 0700) when missing.  0 or -errno; nothing
 * is reported.
 */
int os_posix_open(const char *path, bool create, struct os **out);
/* os_posix_open with create could make it: its parent is there. */
bool os_posix_can_make(const char *path);
/*
 * A new directory in $TMPDIR (default /var/tmp), which close_tree removes with
 * all that is in it.
 */
int os_posix_temp(struct os **out);
/*
 * The tree's own descriptor (O_PATH), for what needs one beside struct os (a
 * socket in it); lent by the os.
 */
int os_posix_dirfd(struct os *os);

#endif
