/*
 * tree -- the mailboxes of one side, and what both trees together should become
 * (specs/dsync-protocol.md 4).
 *
 * tree_merge is a pure function of two trees.  Both brains call it with the
 * roles swapped and get the same names, GUIDs and subscriptions, so each only
 * has to bring its own side there.
 */
#ifndef DSYNCFS_SYNC_TREE_H
#define DSYNCFS_SYNC_TREE_H

#include "sync/item.h"

struct tree_node {
	const char *name;
	enum existence existence;
	/* zero: a directory, or only a subscription */
	struct guid guid;
	uint32_t uidvalidity, uidnext, messages;
	/* in the own store, 0 in the peer's tree */
	uint32_t id;
	int64_t renamed, subscription_changed;
	bool subscribed;
	/* name is not the peer's own (name_fix): of two the other one stays */
	bool fixed;
};

struct tree {
	struct arena arena;
	/* owned; sorted by name after tree_done */
	struct tree_node *node;
	size_t n, cap;
	/*
	 * owned; mailboxes, directories, subscriptions that are no more; sorted
	 * by id after tree_done
	 */
	struct item_delete *gone[3];
	size_t n_gone[3], cap_gone[3];
	/* nodes that tree_done left out since their name was taken */
	size_t doubles;
	/* with which names in gone[1] and gone[2] are hashed; escape 0: none */
	char sep, escape;
};

enum { GONE_MAILBOX, GONE_DIR, GONE_SUBSCRIPTION };

void tree_init(struct tree *t);
void tree_fini(struct tree *t);
/* copies the name; NULL: no memory */
struct tree_node *tree_add(struct tree *t, const char *name);
int tree_add_gone(struct tree *t, int kind, const struct item_delete *d);
/*
 * Sorts; forgets deletions of what is there.  Of two nodes of one name the
 * second is left out; -EBADMSG: two of one GUID (both reported).
 */
int tree_done(struct tree *t, const char *who);
/*
 * Of mailboxes with one GUID all but the one with the largest name get another
 * one, which fn chooses (specs/dsync-protocol.md 4.2).  Before tree_done.
 */
typedef int tree_guid_fn(
    void *arg, const struct tree_node *n, struct guid *out);
int tree_part_guids(struct tree *t, tree_guid_fn *fn, void *arg);
const struct tree_node *tree_by_name(const struct tree *t, const char *name);
/* The newest deletion of that kind and id, or NULL. */
const struct item_delete *tree_find_gone(
    const struct tree *t, int kind, const struct guid *id);
bool tree_is_mailbox(const struct tree_node *n);
/* A node lies below name.  After tree_done. */
bool tree_has_below(const struct tree *t, const char *name);

enum tree_mode {
	TREE_TWO_WAY,
	TREE_NO_DELETE,
	TREE_LOCAL_IS_SOURCE,
	TREE_REMOTE_IS_SOURCE
};

struct tree_box {
	const char *name;
	struct guid guid;
	/* of the local node, 0: to be created */
	uint32_t id;
	const struct tree_node *local, *remote; /* what they were */
	int64_t renamed;
	/* both sides made it on their own: two GUIDs became one */
	bool merged;
	/* zero, or the GUID that the peer may call it by as well (tree_dsync.h)
	 */
	struct guid other;
};

struct tree_subscription {
	const char *name;
	bool on;
	int64_t time;
};

/* What tree_dsync has to be done here, in this order. */
enum tree_act {
	TREE_DELETE_BOX,
	TREE_DELETE_DIR,
	TREE_RENAME, /* what lies below goes along */
	TREE_CREATE_BOX,
	TREE_MERGE_BOX, /* is there under another GUID */
	TREE_CREATE_DIR,
	TREE_SUBSCRIBE,
	TREE_UNSUBSCRIBE
};

struct tree_action {
	enum tree_act act;
	/* as it is called when it comes to this action */
	const char *name;
	const char *to; /* TREE_RENAME */
	struct guid guid; /* of a mailbox */
	uint32_t uidvalidity; /* TREE_CREATE_BOX */
	/* the peer's time of that change; 0: the peer does not know it */
	int64_t time;
	/* TREE_CREATE_BOX, TREE_MERGE_BOX: index into box */
	size_t box;
	/* so that both end alike; dsync does not do it */
	bool extra;
};

struct tree_plan {
	struct arena arena;
	/*
	 * tree_merge: sorted by name; tree_dsync: depth-first.  Directories
	 * have a zero GUID.
	 */
	struct tree_box *box;
	size_t n;
	/* the mailboxes among them, sorted by GUID */
	const struct tree_box **by_guid;
	size_t mailboxes;
	/* local nodes to delete, mailboxes and directories */
	const struct tree_node **drop;
	int64_t *drop_time;
	size_t drops;
	/* of tree_merge */
	struct tree_subscription *sub;
	size_t subs;
	/* of tree_dsync */
	struct tree_action *action;
	size_t actions;
	/* subscriptions or names will differ: the next run settles them */
	bool unsettled;
};

int tree_merge(const struct tree *local, const struct tree *remote,
    enum tree_mode mode, struct tree_plan *out);
void tree_plan_fini(struct tree_plan *p);
/* Makes by_guid, also again after a box got another GUID.  -ENOMEM. */
int tree_plan_index(struct tree_plan *p);
const struct tree_box *tree_plan_by_guid(
    const struct tree_plan *p, const struct guid *g);

#endif
