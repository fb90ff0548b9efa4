/*
 * exporter_row -- one message as a row: what it is, what users here did to it,
 * and what the peer needs to know it by.
 */
#include "sync/brain_internal.h"

#include <errno.h>

/* Hints are only told where they agree with the state that is told. */
static int
put_keywords(struct arena *a, struct item_change *c, const struct msg *m,
    const struct hint *h)
{
	static const struct keywords none = { NULL, 0 };
	struct keywords only_add, gone;
	int rc = keywords_copy(a, &m->keywords, &c->kw_final);

	/* kw_add: hinted and present = final - (final - hinted) */
	if (rc == 0)
		rc = keywords_apply(
		    a, &m->keywords, &none, &h->kw_add, &only_add);
	if (rc == 0)
		rc = keywords_apply(
		    a, &m->keywords, &none, &only_add, &c->kw_add);
	if (rc == 0)
		rc = keywords_apply(
		    a, &h->kw_remove, &none, &m->keywords, &gone);
	if (rc == 0)
		rc = keywords_copy(a, &gone, &c->kw_remove);
	if (rc == 0)
		rc = keywords_copy(a, &h->kw_informed, &c->kw_informed);
	return (rc);
}

static bool
is_recent(const struct brain *b, const struct msg *m)
{
	return (b->peer_dsyncfs ? (m->state & MSG_NEW) != 0
				: m->uid >= b->box.own.first_recent);
}

/* With nothing over there that it could match, no header is read for it. */
static int
put_hash(struct brain *b, struct item *i)
{
	char hash[HDR_HASH_LEN + 1] = "";
	int rc = 0;

	if (!b->box.by_hash)
		return (0);
	if (b->box.peer.messages != 0)
		rc = identity_hash(b, i->u.change.uid, hash);
	i->u.change.hdr_hash = arena_strdup(&i->arena, hash);
	return (rc);
}

/*
 * What the filters look at, and nothing else; never 0.  Between two dsyncfs
 * also the size, by which mails of one header are told apart.
 */
static int
put_filtered(struct brain *b, const struct msg *m, struct item_change *c)
{
	const struct item_handshake *p = &b->params;
	int rc = 0;

	c->virtual_size = UINT64_MAX;
	if (p->since != 0 || p->until != 0)
		c->received = m->received > 0 ? m->received : 1;
	if (p->max_size != 0 ||
	    (b->peer_dsyncfs && b->box.by_hash && b->box.peer.messages != 0))
		rc = filter_size(b, m, &c->virtual_size);
	return (rc);
}

int
exporter_row(struct brain *b, const struct msg *m, struct item **out)
{
	const struct exporter *e = b->box.ex;
	struct hint h = exporter_hint(e, m->uid);
	struct item_change *c;
	struct item *i;
	int rc = item_new(ITEM_CHANGE, &i);

	if (rc != 0)
		return (rc);
	c = &i->u.change;
	c->kind = m->uid > b->box.common_uid ? CHANGE_SAVE : CHANGE_FLAGS;
	c->uid = m->uid;
	c->guid = arena_strdup(&i->arena, identity_guid(b, m->guid));
	c->modseq = m->modseq;
	c->saved_here = exporter_saved_here(e, m->uid);
	c->fetched = exporter_fetched(e, m->uid);
	c->final = (uint8_t)((m->flags & MAIL_FLAGS) |
	    (is_recent(b, m) ? MAIL_RECENT : 0));
	c->add = h.add & m->flags;
	c->remove = h.remove & (uint8_t)~m->flags;
	c->informed = h.informed & (c->add | c->remove);
	rc = put_filtered(b, m, c);
	if (rc == 0)
		rc = put_hash(b, i);
	if (rc == 0)
		rc = put_keywords(&i->arena, c, m, &h);
	if (rc != 0 || i->arena.error != 0) {
		item_free(i);
		return (-ENOMEM);
	}
	*out = i;
	return (0);
}
