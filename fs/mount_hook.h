/*
 * mount_hook -- runs post_sync_command for a mount, one at a time: what changes
 * while it runs is told by the next.
 */
#ifndef DSYNCFS_FS_MOUNT_HOOK_H
#define DSYNCFS_FS_MOUNT_HOOK_H

#include <stddef.h>

#include "fs/broker.h"

struct mount_hook;
/* broker is borrowed, and runs it.  0, -errno. */
int mount_hook_start(struct broker *broker, struct mount_hook **out);
/* Any thread; the names are copied. */
void mount_hook_add(void *hook, const char *const *names, size_t n);
/* Ends one that runs, and runs none for what is left.  NULL is fine. */
void mount_hook_stop(struct mount_hook *h);

#endif
