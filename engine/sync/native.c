/*
 * native -- a store as a replica: each member is one transaction.
 *
 * Nobody but the owner changes a store, so there is nothing to refresh; commit
 * is the store's group commit, with the lock given up while it waits for the
 * disk.
 */
#include "sync/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct native {
	struct replica r;
	bool own;
	struct replica_native_hooks hooks;
};

static struct native *
native_of(struct replica *r)
{
	return ((struct native *)(void *)r);
}

static int
native_refresh(struct replica *r, const char *mailbox, unsigned *problems)
{
	(void)r;
	(void)mailbox;
	(void)problems;
	return (0);
}

/* Ends a transaction of one member: rc is what the member said. */
static int
finish(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static int
native_mailbox_create(struct replica *r, const struct mailbox_new *m,
    const struct guid *origin, uint32_t *id)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0 ? rc : finish(t, txn_mailbox_create(t, m, id)));
}

static int
native_mailbox_rename(struct replica *r, uint32_t id, const char *name,
    int64_t time, const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (
	    rc != 0 ? rc : finish(t, txn_mailbox_rename(t, id, name, time)));
}

static int
native_mailbox_delete(
    struct replica *r, uint32_t id, int64_t time, const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0 ? rc : finish(t, txn_mailbox_delete(t, id, time)));
}

static int
native_mailbox_update(struct replica *r, uint32_t id,
    const struct mailbox_update *u, const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0 ? rc : finish(t, txn_mailbox_update(t, id, u)));
}

static int
native_subscribe(struct replica *r, const char *name, bool on, int64_t time,
    const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0 ? rc : finish(t, txn_subscribe(t, name, on, time)));
}

/*
 * A UID that is below uidnext (never asked for, or taken meanwhile) becomes the
 * next free one.
 */
static int
save_in(struct txn *t, struct store *s, uint32_t mailbox, const struct msg *m,
    uint32_t *uid)
{
	struct mailbox box;
	struct msg as = *m;
	int rc = store_mailbox(s, mailbox, &box);

	if (rc != 0)
		return (rc);
	if (as.uid < box.uidnext)
		as.uid = 0;
	return (txn_save(t, mailbox, &as, uid));
}

static int
native_save(struct replica *r, uint32_t mailbox, const struct msg *m,
    struct stream *body, const struct guid *origin, uint32_t *uid)
{
	struct msg as = *m;
	struct txn *t;
	int rc = store_body_from_stream(r->store, body, &as.body, &as.vsize);

	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	return (
	    rc != 0 ? rc : finish(t, save_in(t, r->store, mailbox, &as, uid)));
}

static int
native_copy(struct replica *r, uint32_t mailbox, const struct msg *m,
    uint32_t from_mailbox, uint32_t from_uid, const struct guid *origin,
    uint32_t *uid)
{
	struct arena a = ARENA_INIT;
	struct msg from, as = *m;
	struct txn *t;
	int rc = store_msg(r->store, from_mailbox, from_uid, &a, &from);

	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0) {
		as.body = from.body;
		as.vsize = from.vsize;
		rc = finish(t, save_in(t, r->store, mailbox, &as, uid));
	}
	arena_fini(&a);
	return (rc);
}

static int
native_renumber(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg *m, const struct guid *origin, uint32_t *new_uid)
{
	struct arena a = ARENA_INIT;
	struct msg from, as = *m;
	struct mailbox box;
	struct txn *t;
	int rc = store_msg(r->store, mailbox, uid, &a, &from);

	if (rc == 0)
		rc = store_mailbox(r->store, mailbox, &box);
	if (rc == 0)
		rc = txn_begin(r->store, origin, &t);
	if (rc == 0) {
		/*
		 * Programs hold the file by its name and inode number: both
		 * stay.
		 */
		as.name = from.name;
		as.ino = from.ino;
		as.state = (uint8_t)((as.state & ~MSG_NAMED) |
		    (from.state & MSG_NAMED));
		as.letters = from.letters;
		as.mtime = from.mtime;
		as.mtime_nsec = from.mtime_nsec;
		as.body = from.body;
		as.vsize = from.vsize;
		if (as.uid < box.uidnext)
			as.uid = 0;
		rc =
		    finish(t, txn_move(t, mailbox, uid, mailbox, &as, new_uid));
	}
	arena_fini(&a);
	return (rc);
}

static int
native_update(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg_update *u, const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0 ? rc : finish(t, txn_update(t, mailbox, uid, u)));
}

static int
native_expunge(struct replica *r, uint32_t mailbox, uint32_t uid,
    uint32_t moved_to, const struct guid *origin)
{
	struct txn *t;
	int rc = txn_begin(r->store, origin, &t);

	return (rc != 0
		? rc
		: finish(t, txn_expunge_moved(t, mailbox, uid, moved_to)));
}

static int
native_body(
    struct replica *r, uint32_t mailbox, uint32_t uid, struct stream **out)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	int rc = store_msg(r->store, mailbox, uid, &a, &m);

	if (rc == 0)
		rc = body_stream(r->store, &m.body, out);
	arena_fini(&a);
	return (rc);
}

static void
native_lock(struct replica *r)
{
	struct native *n = native_of(r);

	if (n->hooks.lock != NULL)
		n->hooks.lock(n->hooks.arg);
}

static void
native_unlock(struct replica *r)
{
	struct native *n = native_of(r);

	if (n->hooks.unlock != NULL)
		n->hooks.unlock(n->hooks.arg);
}

static int
native_commit(struct replica *r)
{
	struct native *n = native_of(r);
	struct store_sync *y;
	int rc;

	for (;;) {
		native_lock(r);
		rc = store_sync_begin(r->store, &y);
		native_unlock(r);
		/*
		 * A sync of the owner that began before our changes does not
		 * cover them.
		 */
		if (rc != -EBUSY || n->hooks.pause == NULL)
			break;
		n->hooks.pause(n->hooks.arg);
	}
	if (rc != 0)
		return (rc == -EALREADY ? 0 : rc);
	(void)store_sync_run(y); /* done tells its error */
	native_lock(r);
	rc = store_sync_done(y);
	native_unlock(r);
	return (rc);
}

static int
native_close(struct replica *r)
{
	struct native *n = native_of(r);
	int rc = native_commit(r);

	if (n->own) {
		struct os *os = store_os(r->store);
		int closed = store_close(r->store);

		if (native_of(r)->hooks.own_tree)
			os->ops->close_tree(os);

		rc = rc != 0 ? rc : closed;
	}
	free((char *)(uintptr_t)r->label);
	free(n);
	return (rc);
}

static const struct replica_ops native_ops = {
	.driver = "dsyncfs",
	.caps = REPLICA_MODSEQS | REPLICA_GUIDS | REPLICA_SAVE_GUIDS,
	.refresh = native_refresh,
	.mailbox_create = native_mailbox_create,
	.mailbox_rename = native_mailbox_rename,
	.mailbox_delete = native_mailbox_delete,
	.mailbox_update = native_mailbox_update,
	.subscribe = native_subscribe,
	.save = native_save,
	.copy = native_copy,
	.renumber = native_renumber,
	.update = native_update,
	.expunge = native_expunge,
	.body = native_body,
	.commit = native_commit,
	.lock = native_lock,
	.unlock = native_unlock,
	.close = native_close,
};

int
replica_native_new(struct store *s, const char *label, bool own,
    const struct replica_native_hooks *hooks, struct replica **out)
{
	struct native *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return (-ENOMEM);
	n->r.ops = &native_ops;
	n->r.store = s;
	n->r.label = strdup(label);
	n->own = own;
	if (hooks != NULL)
		n->hooks = *hooks;
	if (n->r.label == NULL) {
		free(n);
		return (-ENOMEM);
	}
	*out = &n->r;
	return (0);
}
