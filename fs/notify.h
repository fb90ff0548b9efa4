/*
 * notify -- tells the kernel, and programs that watch, what changed without
 * them.
 *
 * The view says what is out of date while it holds its lock; that is only noted
 * here.  A thread of its own waits a moment for more, then tells the kernel
 * without any lock: such a call waits for requests that are being answered,
 * and must not come from a thread that answers them.
 */
#ifndef DSYNCFS_FS_NOTIFY_H
#define DSYNCFS_FS_NOTIFY_H

#include <fuse_lowlevel.h>

#include "fs/helper.h"
#include "fs/view.h"

struct notifier;

/*
 * Borrows view, session and mountpoint (absolute) until notifier_stop; takes
 * helper, the socket of helper_start, over.
 */
int notifier_start(struct view *v, struct fuse_session *se,
    const char *mountpoint, int helper, struct notifier **out);
void notifier_stop(struct notifier *n);
/*
 * Until the kernel has forgotten all that the view has told so far; not from a
 * thread that answers requests.  NULL is fine.
 */
void notifier_wait(struct notifier *n);

#endif
