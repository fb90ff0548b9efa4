/*
 * state -- what two replicas had in common, as dsync keeps it: records by
 * mailbox GUID, and the state string of -s (specs/dsync-protocol.md 7).
 *
 * The string is base64 of: 01 00 00 00; per mailbox 16 bytes GUID, le32
 * last_uidvalidity, le32 last_common_uid, le64 last_common_modseq, le64
 * last_common_pvt_modseq, le32 last_messages_count; le32 CRC-32 (IEEE) of all
 * before it.  Version 0 had neither the first 4 bytes nor the count.
 */
#ifndef DSYNCFS_SYNC_STATE_H
#define DSYNCFS_SYNC_STATE_H

#include "base/buf.h"
#include "sync/item.h"

/* More mailboxes than anybody has; a longer string is not valid. */
#define STATE_MAX 100000

struct state_entry;
struct state_list {
	struct state_entry *by_guid; /* owned; in the order they were put */
	size_t n;
};

void state_list_init(struct state_list *l);
void state_list_fini(struct state_list *l);
/* Replaces the record of the same mailbox.  -ENOMEM; -E2BIG: STATE_MAX. */
int state_put(struct state_list *l, const struct item_state *s);
/* lent until it is dropped; NULL: none */
struct item_state *state_find(
    const struct state_list *l, const struct guid *mailbox);
void state_drop(struct state_list *l, const struct guid *mailbox);
typedef int state_fn(void *arg, const struct item_state *s);
/*
 * In the order they were put; non-zero stops and is returned.  fn may drop the
 * record that it is given.
 */
int state_each(const struct state_list *l, state_fn *fn, void *arg);

/*
 * Adds the records of a state string; blanks around it do not matter.  A string
 * of version 0 holds none, "" neither.  end_modseq of a record is its
 * last_common_modseq.  -EINVAL: *problem says why (a constant), the list is as
 * it was; -ENOMEM.
 */
int state_parse(struct state_list *l, const char *text, const char **problem);
/* Appends the string; b->error tells of no memory. */
void state_format(const struct state_list *l, struct buf *b);

#endif
