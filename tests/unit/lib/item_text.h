/*
 * item_text -- an item with all its fields as text, to compare by.
 */
#ifndef DSYNCFS_TESTS_ITEM_TEXT_H
#define DSYNCFS_TESTS_ITEM_TEXT_H

#include "base/buf.h"
#include "sync/item.h"

/*
 * Appends one line; of a body only whether there is one.  Control characters
 * are shown as \ooo.  No memory: out->error.
 */
void item_text(const struct item *i, struct buf *out);

#endif
