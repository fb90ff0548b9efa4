/*
 * ops -- FUSE requests, each one call of the view.
 */
#ifndef DSYNCFS_FS_OPS_H
#define DSYNCFS_FS_OPS_H

#include <fuse_lowlevel.h>
#include <sys/types.h>

#include "fs/view.h"

/* What the session's userdata points to; filled in by main. */
struct fs {
	struct view *view;
	double timeout; /* of entries and attributes, seconds */
	bool readonly;
	/* whose requests only repeat what is done (view_nudge_*); -1: nobody */
	pid_t helper;
	/* the kernel has said hello; may be NULL */
	void (*ready)(void *arg);
	void *ready_arg;
};

extern const struct fuse_lowlevel_ops fs_ops;

#endif
