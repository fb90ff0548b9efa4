/*
 * importer_fetch -- the bodies that a plan needs: which are here, asking for
 * the others, taking them as they come.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/*
 * So many mails are saved together, where they come fast enough: a location
 * that locks a mailbox for it does so once.
 */
#define WAITING_MAX 32u
#define WAITING_BYTES (1u << 20)

static const char *
fetch_key(const void *arg, uint32_t i)
{
	const struct importer *im = arg;

	return (im->fetch[i].key);
}

void
importer_fetches_init(struct importer *im)
{
	strindex_init(&im->fetch_of, fetch_key, im);
}

static int
fetch_add(struct importer *im, const struct fetch *f)
{
	if (im->n_fetch >= UINT32_MAX)
		return (-EOVERFLOW);
	if (im->n_fetch == im->cap_fetch) {
		size_t cap = im->cap_fetch == 0 ? 16 : im->cap_fetch * 2;
		struct fetch *p = reallocarray(im->fetch, cap, sizeof(*p));

		if (p == NULL)
			return (-ENOMEM);
		im->fetch = p;
		im->cap_fetch = cap;
	}
	im->fetch[im->n_fetch++] = *f;
	return (strindex_add(&im->fetch_of, (uint32_t)im->n_fetch - 1));
}

/* Somewhere; in a dry run: it would be by now. */
static int
is_here(struct importer *im, const char *guid, bool *here)
{
	struct brain *b = im->b;
	struct arena a = ARENA_INIT;
	struct msg m;
	uint32_t box;

	*here = false;
	if (guid[0] == '\0')
		return (0);
	if (b->params.dry_run)
		return (dry_has(b, guid, here));
	*here = store_find_guid(b->r->store, guid, &a, &box, &m) == 0;
	arena_fini(&a);
	return (0);
}

int
importer_fetch(struct importer *im, const struct row *row, const char *guid,
    uint32_t *fetch)
{
	struct fetch f = {
		.key = row->guid, .uid = row->uid, .state = FETCH_NEEDED
	};
	bool here;
	int rc;

	if (f.key[0] == '\0')
		f.key = arena_printf(&im->arena, "#%u", row->uid);
	if (f.key == NULL)
		return (-ENOMEM);
	if (strindex_find(&im->fetch_of, f.key, fetch))
		return (0);
	rc = is_here(im, guid, &here);
	if (here)
		f.state = FETCH_LOCAL;
	if (rc == 0)
		rc = fetch_add(im, &f);
	if (rc == 0)
		*fetch = (uint32_t)im->n_fetch - 1;
	return (rc);
}

struct fetch *
importer_fetch_of(struct importer *im, const struct create *c)
{
	return (&im->fetch[c->fetch]);
}

void
importer_unpark(struct importer *im, struct fetch *f)
{
	struct parked *p = f->parked;

	if (p == NULL)
		return;
	im->waiting--;
	im->waiting_bytes -= spool_memory(p->spool);
	item_free(p->mail);
	spool_free(p->spool);
	free(p);
	f->parked = NULL;
}

void
importer_fetches_free(struct importer *im)
{
	for (size_t i = 0; i < im->n_fetch; i++)
		importer_unpark(im, &im->fetch[i]);
	strindex_fini(&im->fetch_of);
	free(im->fetch);
}

int
importer_requests(struct importer *im)
{
	struct brain *b = im->b;

	for (unsigned n = 0; im->next_request < im->n_create;
	     im->next_request++) {
		const struct create *c = &im->create[im->next_request];
		struct fetch *f;
		struct item *i;
		int rc;

		if (b->params.dry_run || c->from != 0)
			continue;
		f = importer_fetch_of(im, c);
		if (f->state != FETCH_NEEDED || f->requested)
			continue;
		if (n++ == BATCH || b->c->ops->full(b->c))
			return (1);
		rc = item_new(ITEM_REQUEST, &i);
		if (rc != 0)
			return (rc);
		i->u.request.guid = c->row->guid[0] == '\0'
		    ? NULL
		    : arena_strdup(&i->arena, c->row->guid);
		i->u.request.uid = f->uid;
		f->requested = true;
		rc = brain_send(b, i);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

int
importer_mail(struct importer *im, struct item *i)
{
	struct item_mail *mail = &i->u.mail;
	struct fetch *f;
	char by_uid[16];
	const char *key = mail->guid;
	uint32_t at;
	int rc;

	if (key == NULL || key[0] == '\0') {
		(void)snprintf(by_uid, sizeof(by_uid), "#%u", mail->uid);
		key = by_uid;
	}
	f = strindex_find(&im->fetch_of, key, &at) ? &im->fetch[at] : NULL;
	if (f == NULL || f->state != FETCH_NEEDED) {
		log_warning(
		    "%s: mailbox %s: sent a mail that was not asked for: %s",
		    im->b->peer_name, im->b->box.name, key);
		item_free(i);
		return (0);
	}
	if (mail->body == NULL) {
		log_warning("%s: mailbox %s: mail %s is no longer there or "
			    "cannot be read",
		    im->b->peer_name, im->b->box.name, key);
		f->state = FETCH_FAILED;
		im->b->box.changes = true;
		item_free(i);
		return (0);
	}
	rc = spool_new(
	    store_os(im->b->r->store), im->spools++, &im->reading_spool);
	if (rc != 0) {
		item_free(i);
		return (rc);
	}
	im->reading = at + 1;
	im->reading_mail = i;
	return (0);
}

/* A mail that has come is the next to be saved. */
bool
importer_can_save(const struct importer *im)
{
	const struct create *c;

	if (im->next_create == im->n_create)
		return (false);
	c = &im->create[im->next_create];
	return (c->from == 0 && im->fetch[c->fetch].state == FETCH_PARKED);
}

bool
importer_full(const struct importer *im)
{
	return (importer_can_save(im) &&
	    (im->waiting >= WAITING_MAX || im->waiting_bytes >= WAITING_BYTES));
}

bool
importer_busy(const struct importer *im)
{
	return (im->reading != 0);
}

/* The whole mail has come. */
static int
park(struct importer *im, struct fetch *f)
{
	struct parked *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return (-ENOMEM);
	/* What is parked holds no handle of the other end. */
	stream_close(im->reading_mail->u.mail.body);
	im->reading_mail->u.mail.body = NULL;
	p->mail = im->reading_mail;
	p->spool = im->reading_spool;
	im->reading_mail = NULL;
	im->reading_spool = NULL;
	im->waiting++;
	im->waiting_bytes += spool_memory(p->spool);
	f->parked = p;
	f->state = FETCH_PARKED;
	return (0);
}

int
importer_read_body(struct importer *im)
{
	struct brain *b = im->b;
	struct fetch *f = &im->fetch[im->reading - 1];
	int rc = spool_fill(im->reading_spool, im->reading_mail->u.mail.body);

	if (rc == 0)
		return (BRAIN_PROGRESS);
	if (rc == -EAGAIN)
		return (BRAIN_WAIT);
	im->reading = 0;
	if (rc == 1) {
		rc = park(im, f);
		return (rc != 0 ? rc : BRAIN_PROGRESS);
	}
	f->state = FETCH_FAILED;
	item_free(im->reading_mail);
	spool_free(im->reading_spool);
	im->reading_mail = NULL;
	im->reading_spool = NULL;
	/*
	 * An unreadable mail at the other end is one bad item; a dead
	 * connection is not.
	 */
	if (rc != -EIO && rc != -ENOENT)
		return (rc);
	log_error("%s: mailbox %s: mail %s could not be read; it is left out",
	    b->peer_name, b->box.name, f->key);
	b->box.incomplete = true;
	return (BRAIN_PROGRESS);
}

int
importer_mails_done(struct importer *im)
{
	if (im->b->params.dry_run)
		return (0);
	for (size_t i = 0; i < im->n_fetch; i++) {
		struct fetch *f = &im->fetch[i];

		if (f->state != FETCH_NEEDED)
			continue;
		log_warning(
		    "%s: mailbox %s: mail %s was asked for and not sent",
		    im->b->peer_name, im->b->box.name, f->key);
		f->state = FETCH_FAILED;
		im->b->box.changes = true;
	}
	return (0);
}
