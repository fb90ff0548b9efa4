/*
 * mount_options -- the words of dsyncfs's command line and of -o.
 */
#ifndef DSYNCFS_FS_MOUNT_OPTIONS_H
#define DSYNCFS_FS_MOUNT_OPTIONS_H

#include <sys/types.h>

#include "cmd/config.h"
#include "fs/view.h"

struct mount_options {
	const char *store; /* as given, NULL: from configuration */
	const char *mountpoint;
	const char *config; /* -c */
	const char *user; /* -u */
	bool foreground, debug, help, version;
	bool readonly, allow_other;
	const char *remote, *sync; /* NULL: from configuration */
	const char *layout;
	long commit; /* seconds, -1: from configuration */
	long stale_names;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	/* owned: what is left for libfuse, "" */
	char *fuse;
};

/* 0; -EINVAL, reported.  Strings are borrowed from argv, which is kept. */
int mount_options_parse(struct mount_options *o, int argc, char **argv);
/* Becomes the user, and finds the home directory; 0, or the exit status. */
int mount_options_user(struct mount_options *o);
void mount_options_fini(struct mount_options *o);
extern const char mount_usage[];
/* As many descriptors as the process may have; programs keep files open. */
void mount_options_descriptors(void);

#endif
