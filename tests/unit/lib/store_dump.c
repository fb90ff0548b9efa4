/*
 * store_dump -- a store's state as text (store_dump.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/digest.h"
#include "tests/unit/lib/store_dump.h"

struct dump {
	struct store *s;
	struct buf b;
	unsigned what;
	uint32_t ids[4096];
	uint64_t floor[4096];
	size_t n;
};

static void
put_hex(struct dump *d, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(&d->b, "%02x", ((const uint8_t *)p)[i]);
}

static void
put_keywords(struct dump *d, const char *label, const struct keywords *k)
{
	buf_printf(&d->b, " %s", label);
	for (size_t i = 0; i < k->n; i++)
		buf_printf(&d->b, "%s%s", i > 0 ? "," : "", k->name[i]);
}

static void
put_body(struct dump *d, const struct body_ref *ref)
{
	struct body *body;
	struct digest *h;
	uint8_t data[8192], hash[16];
	uint64_t off = 0;
	ssize_t n;
	int error;

	if ((error = body_open(d->s, ref, &body)) != 0) {
		buf_printf(&d->b, " body=error%d", error);
		return;
	}
	if (digest_new(DIGEST_XXH3_128, &h) != 0)
		abort();
	while ((n = body_read(body, data, sizeof(data), off)) > 0) {
		(void)digest_add(h, data, (size_t)n);
		off += (uint64_t)n;
	}
	(void)digest_final(h, hash);
	digest_free(h);
	body_close(body);
	if (n < 0) {
		buf_printf(&d->b, " body=error%zd", n);
		return;
	}
	buf_printf(&d->b, " body=%" PRIu64 ":", off);
	put_hex(d, hash, sizeof(hash));
}

static void
put_msg(struct dump *d, const struct msg *m)
{
	buf_printf(&d->b,
	    "uid=%" PRIu32 " modseq=%" PRIu64
	    " flags=%02x state=%02x guid=%s name=%s letters=%s",
	    m->uid, m->modseq, m->flags, m->state, m->guid, m->name,
	    m->letters != NULL ? m->letters : "");
	put_keywords(d, "kw=", &m->keywords);
	buf_printf(&d->b,
	    " uidl=%s order=%" PRIu32 " received=%" PRId64 " saved=%" PRId64
	    " mtime=%" PRId64 ".%" PRIu32 " ino=%" PRIu64 " vsize=%" PRIu64
	    " size=%" PRIu64 " hash=",
	    m->pop3_uidl != NULL ? m->pop3_uidl : "-", m->pop3_order,
	    m->received, m->saved, m->mtime, m->mtime_nsec, m->ino, m->vsize,
	    m->body.size);
	put_hex(d, m->body.hash, 16);
	if (d->what & DUMP_PLACES)
		buf_printf(&d->b, " at=%" PRIu32 "/%" PRIu64, m->body.pack,
		    m->body.offset);
	if (d->what & DUMP_BODIES)
		put_body(d, &m->body);
	buf_printf(&d->b, "\n");
}

static int
one_mailbox(void *arg, const struct mailbox *m)
{
	struct dump *d = arg;

	buf_printf(&d->b, "mailbox %" PRIu32 " ", m->id);
	put_hex(d, m->guid.b, 16);
	buf_printf(&d->b,
	    " %s exists=%d selectable=%d subscribed=%d uidvalidity=%" PRIu32
	    " uidnext=%" PRIu32 " recent=%" PRIu32 " highest=%" PRIu64
	    " floor=%" PRIu64 " messages=%" PRIu32 " unseen=%" PRIu32
	    " new=%" PRIu32 " renamed=%" PRId64 " sub=%" PRId64
	    " changed=%" PRId64 ".%" PRIu32 " changed_new=%" PRId64 ".%" PRIu32
	    "\n",
	    m->name, m->exists, m->selectable, m->subscribed, m->uidvalidity,
	    m->uidnext, m->first_recent_uid, m->highestmodseq, m->history_floor,
	    m->messages, m->unseen, m->new_messages, m->renamed,
	    m->subscription_changed, m->changed, m->changed_nsec,
	    m->changed_new, m->changed_new_nsec);
	if (m->selectable && d->n < 4096) {
		d->floor[d->n] = m->history_floor;
		d->ids[d->n++] = m->id;
	}
	return (0);
}

static int
one_deletion(void *arg, const struct deletion *e)
{
	struct dump *d = arg;

	buf_printf(&d->b, "deletion %d ", e->kind);
	put_hex(d, e->guid.b, 16);
	buf_printf(&d->b, " %s %" PRId64 "\n", e->name, e->time);
	return (0);
}

static int
one_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct dump *d = arg;
	struct arena a = ARENA_INIT;
	struct msg again;

	buf_printf(&d->b, "msg %" PRIu32 " ", mailbox);
	put_msg(d, m);
	/* The other ways to it lead to the same message. */
	if (store_msg_by_name(d->s, mailbox, m->name, &a, &again) != 0 ||
	    again.uid != m->uid)
		buf_printf(&d->b, "error not found by name\n");
	if (m->guid[0] != '\0' &&
	    store_msg_by_guid(d->s, mailbox, m->guid, &a, &again) != 0)
		buf_printf(&d->b, "error not found by guid\n");
	if (store_msg(d->s, mailbox, m->uid, &a, &again) != 0)
		buf_printf(&d->b, "error not found by uid\n");
	arena_fini(&a);
	return (0);
}

static int
one_event(void *arg, const struct event *e)
{
	struct dump *d = arg;

	buf_printf(&d->b,
	    "event %d modseq=%" PRIu64 " uid=%" PRIu32 " +%02x -%02x", e->type,
	    e->modseq, e->uid, e->add, e->remove);
	put_keywords(d, "+kw=", &e->kw_add);
	put_keywords(d, "-kw=", &e->kw_remove);
	buf_printf(
	    &d->b, " guid=%s time=%" PRId64 " origin=", e->guid, e->time);
	put_hex(d, e->origin.b, 16);
	buf_printf(&d->b, "\n");
	return (0);
}

static int
one_expunged(void *arg, const struct expunged *e)
{
	struct dump *d = arg;

	buf_printf(&d->b, "expunged %" PRIu32 " %s %" PRId64 " ", e->mailbox,
	    e->mailbox_name, e->time);
	put_hex(d, e->origin.b, 16);
	buf_printf(&d->b, " ");
	put_msg(d, &e->msg);
	return (0);
}

static int
one_peer(void *arg, const struct guid *peer, const struct guid *key,
    const uint8_t *p, size_t len)
{
	struct dump *d = arg;

	buf_printf(&d->b, "peer ");
	put_hex(d, peer->b, 16);
	buf_printf(&d->b, " ");
	put_hex(d, key->b, 16);
	buf_printf(&d->b, " %zu %016" PRIx64 "\n", len, xxh3_64(p, len));
	return (0);
}

static void
dump_mailbox(struct dump *d, size_t i)
{
	struct arena a = ARENA_INIT;
	const char *const *names;
	size_t n;
	int error;

	if ((error = store_keyword_table(d->s, d->ids[i], &a, &names, &n)) != 0)
		buf_printf(&d->b, "error keywords %d\n", error);
	else
		for (size_t k = 0; k < n; k++)
			buf_printf(&d->b, "keyword %" PRIu32 " %zu %s\n",
			    d->ids[i], k, names[k]);
	if ((error = store_msgs(d->s, d->ids[i], 0, one_msg, d)) != 0)
		buf_printf(&d->b, "error messages %d\n", error);
	if ((d->what & DUMP_HISTORY) &&
	    (error = store_events(
		 d->s, d->ids[i], d->floor[i], one_event, d)) != 0)
		buf_printf(&d->b, "error events %d\n", error);
	arena_fini(&a);
}

char *
store_dump(struct store *s, unsigned what)
{
	struct dump *d = calloc(1, sizeof(*d));
	char *out;
	int error;

	if (d == NULL)
		abort();
	d->s = s;
	d->what = what;
	buf_init(&d->b);
	if ((error = store_mailboxes(s, one_mailbox, d)) != 0)
		buf_printf(&d->b, "error mailboxes %d\n", error);
	for (size_t i = 0; i < d->n; i++)
		dump_mailbox(d, i);
	if ((error = store_deletions(s, one_deletion, d)) != 0)
		buf_printf(&d->b, "error deletions %d\n", error);
	if ((what & DUMP_HISTORY) &&
	    (error = store_expunged_list(s, 0, one_expunged, d)) != 0)
		buf_printf(&d->b, "error expunged %d\n", error);
	if ((error = store_peers(s, one_peer, d)) != 0)
		buf_printf(&d->b, "error peers %d\n", error);
	if (buf_cstr(&d->b) == NULL || (out = strdup(buf_cstr(&d->b))) == NULL)
		abort();
	buf_fini(&d->b);
	free(d);
	return (out);
}
