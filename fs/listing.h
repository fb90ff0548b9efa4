/*
 * listing -- pages of a directory for READDIR and READDIRPLUS; who reads one
 * after the other finds the next one ready.
 */
#ifndef DSYNCFS_FS_LISTING_H
#define DSYNCFS_FS_LISTING_H

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "fs/view.h"

/* What the kernel is told of a node: attributes, and for how long. */
void entry_fill(const struct stat *st, struct fuse_entry_param *e);

struct listing;
int listing_new(struct view *v, struct listing **out);
void listing_free(struct listing *l); /* NULL is fine */
/*
 * Answers req, for at most size bytes of node's entries behind off; plus: with
 * their attributes.  May then go on for a moment, for the next request.
 */
void listing_reply(struct listing *l, fuse_req_t req, fuse_ino_t node,
    size_t size, off_t off, bool plus);

#endif
