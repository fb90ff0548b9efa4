/*
 * store_apply -- what store_apply.c and store_apply_tree.c share.
 *
 * Each takes a record of a frame to the state: 0, -EBADMSG when it cannot
 * belong there, or an error of the index.
 */
#ifndef DSYNCFS_STORE_STORE_APPLY_H
#define DSYNCFS_STORE_STORE_APPLY_H

#include "store/store_internal.h"

int deletion_put(struct state *st, uint8_t kind, const struct guid *g,
    const char *name, int64_t time);
int apply_create(
    struct state *st, const struct frame_head *h, const struct record *r);
int apply_rename(struct state *st, const struct record *r);
int apply_delete(
    struct state *st, const struct frame_head *h, const struct record *r);
int apply_subscribe(struct state *st, const struct record *r);
int apply_mailbox_update(struct state *st, const struct record *r);
int apply_keyword(struct state *st, const struct record *r);
void apply_stamp(int64_t *sec, uint32_t *nsec, const struct frame_head *h);
void apply_raise(uint64_t *v, uint64_t to);

#endif
