/*
 * broker -- does for a mount what that cannot do once it is closed: starts the
 * programs that it needs, writes the file of metrics, unmounts.
 *
 * A process of its own, forked before.  What it can be asked for is fixed then:
 * a sync with one of the places of the configuration, post_sync_command, the
 * one file, the one mount point.  So who has got hold of the mount can have
 * done what it does anyway, and nothing else.
 */
#ifndef DSYNCFS_FS_BROKER_H
#define DSYNCFS_FS_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "fs/scheduler.h"

/* All borrowed, and copied by the fork. */
struct broker_settings {
	const char *mountpoint, *store; /* a location */
	const char *config; /* NULL: none was read */
	const char *post_sync_command, *metrics_file; /* NULL */
	const struct scheduler_remote *remotes;
	size_t n_remotes;
};

struct broker;
/* There may be no other thread.  -errno, reported. */
int broker_start(const struct broker_settings *s, struct broker **out);
/*
 * A dsyncfs-sync that syncs the mounted store with the i-th remote, as a client
 * of the mount.  err gets what it says.  Any thread.  The exit status, or
 * -errno; *stop ends it.
 */
int broker_sync(struct broker *b, size_t i,
    void (*err)(void *arg, const char *text, size_t n), void *arg,
    const atomic_int *stop);
/* As hook_run, of post_sync_command. */
int broker_hook(struct broker *b, const char *const *names, size_t n,
    const atomic_int *stop);
/* Replaces the file of metrics.  -errno */
int broker_metrics(struct broker *b, const void *p, size_t n);
/* The mount has left the terminal; so does the broker. */
void broker_left_terminal(struct broker *b);
/* What is mounted on the mount point. */
void broker_unmount(struct broker *b);
/* Waits for its end.  NULL is fine. */
void broker_stop(struct broker *b);

#endif
