/*
 * maildir -- Maildir++ and nested Maildirs as a location:
 * "maildir:PATH[:LAYOUT=fs][:CONTROL=DIR][:UTF-8][:SIDECAR=DIR]".
 */
#ifndef DSYNCFS_BACKENDS_MAILDIR_H
#define DSYNCFS_BACKENDS_MAILDIR_H

#include "sync/location.h"

extern const struct driver maildir_driver;

struct maildir_config {
	/* the Maildir; owned by the replica once it is made */
	struct os *root;
	/* NULL: beside the mail; else owned, as root is */
	struct os *control;
	/* the tree of the sidecar's store; owned, as root is */
	struct os *sidecar;
	/* nested directories instead of Maildir++ */
	bool fs;
	/* names on disk are UTF-8, not modified UTF-7 */
	bool utf8;
	/* the Maildir is never written; the sidecar is */
	bool rdonly;
	/* how long to wait for another program's lock; 0: the default */
	unsigned lock_wait_ms;
};

/*
 * A Maildir whose trees are opened.  On success the replica owns the trees of
 * *c; on failure the caller keeps them.
 */
int maildir_replica_new(const struct maildir_config *c,
    const struct store_settings *settings, const char *label,
    struct replica **out);

#endif
