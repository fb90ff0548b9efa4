/*
 * tree_model -- mailboxes of one side as a short list, that users and the
 * actions of tree_dsync change.
 */
#ifndef DSYNCFS_TESTS_TREE_MODEL_H
#define DSYNCFS_TESTS_TREE_MODEL_H

#include "sync/tree_dsync.h"

struct model_node {
	char *name;
	struct guid guid; /* zero: a directory */
	uint32_t uidvalidity;
	int64_t renamed;
};

struct model_sub {
	char *name;
	bool on;
	int64_t time;
};

struct model_gone {
	int kind; /* GONE_* */
	struct guid guid;
	char *name;
	int64_t time;
};

struct model {
	const char *label;
	struct model_node *node;
	size_t n;
	struct model_sub *sub;
	size_t subs;
	struct model_gone *gone;
	size_t n_gone;
};

void model_init(struct model *m, const char *label);
void model_fini(struct model *m);
struct model_node *model_find(const struct model *m, const char *name);
struct model_node *model_of_guid(const struct model *m, const struct guid *g);

/* What users do; false: it cannot be done now, nothing has changed. */
bool model_create(struct model *m, const char *name, const struct guid *guid);
bool model_mkdir(struct model *m, const char *name, int64_t time);
bool model_rename(
    struct model *m, const char *from, const char *to, int64_t time);
bool model_delete(struct model *m, const char *name, int64_t time);
void model_subscribe(struct model *m, const char *name, bool on, int64_t time);
bool model_subscribed(const struct model *m, const char *name);

/* As the brain sees it: names hashed with sep and escape. */
void model_tree(const struct model *m, char sep, char escape, struct tree *out);
/*
 * Does it, but for TREE_MERGE_BOX.  False: it names what is not there, or makes
 * what is.
 */
bool model_do(struct model *m, const struct tree_action *a);
/* Both made it: the larger GUID stays. */
void model_merge(struct model *m, const char *name, const struct guid *guid);

/* NULL: the same names, GUIDs and subscriptions; else the first difference. */
const char *model_difference(const struct model *a, const struct model *b);
void model_print(const struct model *m);

#endif
