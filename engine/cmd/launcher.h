/*
 * launcher -- runs post_sync_command for a process that has closed itself and
 * cannot run a program any more.
 *
 * It is forked before.  All that it takes is a file of names; the command is
 * the configuration's, as it was when it was forked.
 */
#ifndef DSYNCFS_CMD_LAUNCHER_H
#define DSYNCFS_CMD_LAUNCHER_H

#include <stdatomic.h>
#include <stddef.h>

struct launcher;

/* -errno, reported.  There may be no other thread. */
int launcher_start(const char *command, struct launcher **out);
/* As hook_run. */
int launcher_hook(struct launcher *l, const char *const *names, size_t n,
    const atomic_int *stop);
/* NULL is fine.  Waits for its end. */
void launcher_free(struct launcher *l);

#endif
