/*
 * importer_key -- what messages are told apart by while they are compared:
 * their GUIDs, or the hashes of their headers; and what of a local message has
 * to be read before it can be.
 *
 * Between two dsyncfs a size stands behind a hash, which helps where mails of
 * one header lie under different UIDs.
 */
#include "sync/importer_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Dovecot's queue goes by the strings, however long GUIDs it can keep. */
static bool
short_guids(const struct importer *im)
{
	return (im->b->box.guid128 && (im->b->peer_dsyncfs || im->b->reverts));
}

static void
hash_key(const struct importer *im, const char *hash, uint64_t size,
    char out[KEY_SIZE])
{
	if (im->b->peer_dsyncfs && hash[0] != '\0')
		(void)snprintf(out, KEY_SIZE, "%s/%" PRIu64, hash, size);
	else
		(void)snprintf(out, KEY_SIZE, "%s", hash);
}

int
importer_row_key(
    struct importer *im, const struct item_change *c, struct row *r)
{
	struct guid g;
	int rc;

	if (im->b->box.by_hash) {
		hash_key(im, c->hdr_hash, c->virtual_size, im->row_key);
		r->key = im->row_key;
		return (0);
	}
	r->key = c->guid;
	if (!short_guids(im) || c->guid[0] == '\0')
		return (0);
	rc = guid128_of_string(c->guid, &g);
	if (rc == 0)
		r->key = guid_hex(&g, im->row_key);
	return (rc);
}

/* Of a message above the last common UID. */
static int
local_hash(struct importer *im, const struct local *l, char out[KEY_SIZE])
{
	struct brain *b = im->b;
	struct msg m = { .uid = l->uid, .vsize = l->size };
	char hash[HDR_HASH_LEN + 1] = "";
	uint64_t size = l->size;
	int rc = 0;

	/* Nothing comes that it could match. */
	if (b->box.peer.messages != 0)
		rc = identity_hash(b, l->uid, hash);
	if (rc == 0 && hash[0] != '\0' && b->peer_dsyncfs)
		rc = filter_size(b, &m, &size);
	if (rc == 0)
		hash_key(im, hash, size, out);
	return (rc);
}

int
importer_local_key(struct importer *im, struct local *l, const char **key)
{
	const char *guid = identity_guid(im->b, l->guid);
	char made[KEY_SIZE];
	struct guid g;
	int rc = 0;

	if (l->key == NULL && im->b->box.by_hash) {
		rc = local_hash(im, l, made);
		if (rc == 0)
			l->key = arena_strdup(&im->batch_arena, made);
	} else if (l->key == NULL && short_guids(im) && guid[0] != '\0') {
		rc = guid128_of_string(guid, &g);
		if (rc == 0)
			l->key =
			    arena_strdup(&im->batch_arena, guid_hex(&g, made));
	} else if (l->key == NULL) {
		l->key = guid;
	}
	if (rc == 0 && l->key == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		*key = l->key;
	return (rc);
}

const char *
importer_link_key(const struct importer *im, const char *key)
{
	const struct brain *b = im->b;

	if (!b->box.by_hash)
		return (key);
	return ((b->peer_dsyncfs || !b->exports) && identity_hash_tells(key)
		? key
		: "");
}

/* ---- filters ---- */

void
importer_filter_local(
    const struct brain *b, const struct msg *m, struct local *l)
{
	struct item_change c = { .final = m->flags,
		.kw_final = m->keywords,
		.received = m->received,
		.virtual_size = m->vsize != 0 ? m->vsize : UINT64_MAX };

	if (m->uid >= b->box.own.first_recent)
		c.final |= MAIL_RECENT;
	l->size = m->vsize;
	l->filtered =
	    filter_active(&b->params) && !filter_takes(&b->params, &c);
	l->unsized = !l->filtered && b->params.max_size != 0 && m->vsize == 0;
}

int
importer_size_locals(struct importer *im)
{
	struct brain *b = im->b;
	int rc = 0;

	for (size_t i = 0; i < im->n_batch && rc == 0; i++) {
		struct local *l = &im->batch[i];
		struct msg m = { .uid = l->uid };

		if (!l->unsized)
			continue;
		rc = filter_size(b, &m, &l->size);
		if (rc == 0)
			l->filtered = l->size > b->params.max_size;
	}
	return (rc);
}
