/*
 * hidden -- a replica that can do less.
 *
 * The store keeps GUIDs of its own, as a sidecar does; what it is asked to save
 * gets one of those.
 */
#include "hidden.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#define GUID_CAPS (REPLICA_GUIDS | REPLICA_SAVE_GUIDS | REPLICA_GUID128)

struct hidden {
	struct replica r;
	struct replica *in; /* owned */
	struct replica_ops ops;
	uint32_t unreadable; /* UID, 0: none */
	unsigned opened;
};

static struct hidden *
hidden_of(const struct replica *r)
{
	return ((struct hidden *)(uintptr_t)r);
}

static int
hidden_refresh(struct replica *r, const char *mailbox, unsigned *problems)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->refresh(in, mailbox, problems));
}

static int
hidden_mailbox_create(struct replica *r, const struct mailbox_new *m,
    const struct guid *origin, uint32_t *id)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->mailbox_create(in, m, origin, id));
}

static int
hidden_mailbox_rename(struct replica *r, uint32_t id, const char *name,
    int64_t time, const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->mailbox_rename(in, id, name, time, origin));
}

static int
hidden_mailbox_delete(
    struct replica *r, uint32_t id, int64_t time, const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->mailbox_delete(in, id, time, origin));
}

static int
hidden_mailbox_update(struct replica *r, uint32_t id,
    const struct mailbox_update *u, const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->mailbox_update(in, id, u, origin));
}

static int
hidden_subscribe(struct replica *r, const char *name, bool on, int64_t time,
    const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->subscribe(in, name, on, time, origin));
}

/* As it is saved: the location chooses the GUID, or cuts it down. */
static void
own_guid(struct hidden *h, struct msg *m, char hex[GUID_HEX_LEN + 1])
{
	struct guid g;

	if ((h->ops.caps & REPLICA_SAVE_GUIDS) == 0) {
		ck_assert_ptr_null(m->guid);
	} else if ((h->ops.caps & REPLICA_GUID128) != 0 && m->guid != NULL) {
		ck_assert_int_eq(guid128_of_string(m->guid, &g), 0);
		m->guid = guid_hex(&g, hex);
	}
}

static int
hidden_save(struct replica *r, uint32_t mailbox, const struct msg *m,
    struct stream *body, const struct guid *origin, uint32_t *uid)
{
	struct hidden *h = hidden_of(r);
	char hex[GUID_HEX_LEN + 1];
	struct msg as = *m;

	own_guid(h, &as, hex);
	return (h->in->ops->save(h->in, mailbox, &as, body, origin, uid));
}

static int
hidden_copy(struct replica *r, uint32_t mailbox, const struct msg *m,
    uint32_t from_mailbox, uint32_t from_uid, const struct guid *origin,
    uint32_t *uid)
{
	struct hidden *h = hidden_of(r);
	char hex[GUID_HEX_LEN + 1];
	struct msg as = *m;

	own_guid(h, &as, hex);
	return (h->in->ops->copy(
	    h->in, mailbox, &as, from_mailbox, from_uid, origin, uid));
}

static int
hidden_renumber(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg *m, const struct guid *origin, uint32_t *new_uid)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->renumber(in, mailbox, uid, m, origin, new_uid));
}

static int
hidden_update(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg_update *u, const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->update(in, mailbox, uid, u, origin));
}

static int
hidden_expunge(struct replica *r, uint32_t mailbox, uint32_t uid,
    uint32_t moved_to, const struct guid *origin)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->expunge(in, mailbox, uid, moved_to, origin));
}

static int
hidden_body(
    struct replica *r, uint32_t mailbox, uint32_t uid, struct stream **out)
{
	struct hidden *h = hidden_of(r);

	h->opened++;
	if (uid == h->unreadable)
		return (-EIO);
	return (h->in->ops->body(h->in, mailbox, uid, out));
}

static int
hidden_commit(struct replica *r)
{
	struct replica *in = hidden_of(r)->in;

	return (in->ops->commit(in));
}

static void
hidden_lock(struct replica *r)
{
	struct replica *in = hidden_of(r)->in;

	in->ops->lock(in);
}

static void
hidden_unlock(struct replica *r)
{
	struct replica *in = hidden_of(r)->in;

	in->ops->unlock(in);
}

static int
hidden_close(struct replica *r)
{
	struct hidden *h = hidden_of(r);
	int rc = h->in->ops->close(h->in);

	free(h);
	return (rc);
}

struct replica *
replica_hidden(struct replica *inner, unsigned guids)
{
	struct hidden *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	h->in = inner;
	h->ops = (struct replica_ops){
		.driver = inner->ops->driver,
		.caps = (inner->ops->caps & ~(unsigned)GUID_CAPS) |
		    (guids & GUID_CAPS),
		.refresh = hidden_refresh,
		.mailbox_create = hidden_mailbox_create,
		.mailbox_rename = hidden_mailbox_rename,
		.mailbox_delete = hidden_mailbox_delete,
		.mailbox_update = hidden_mailbox_update,
		.subscribe = hidden_subscribe,
		.save = hidden_save,
		.copy = hidden_copy,
		.renumber = hidden_renumber,
		.update = hidden_update,
		.expunge = hidden_expunge,
		.body = hidden_body,
		.commit = hidden_commit,
		.lock = hidden_lock,
		.unlock = hidden_unlock,
		.close = hidden_close,
	};
	h->r.ops = &h->ops;
	h->r.store = inner->store;
	h->r.label = inner->label;
	return (&h->r);
}

void
hidden_unreadable(struct replica *r, uint32_t uid)
{
	hidden_of(r)->unreadable = uid;
}

unsigned
hidden_opened(const struct replica *r)
{
	return (hidden_of(r)->opened);
}
