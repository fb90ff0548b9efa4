/*
 * identity -- by what two messages are the same: their GUIDs, or, where a side
 * has none, the hashes of their headers (specs/dsync-protocol.md 6.1 to 6.3).
 *
 * Both sides decide it from the two B records, and see the same hashes, so they
 * pair alike.  A header is read when its hash is first needed; the last ones
 * are kept, since what is listed and what is compared go through a mailbox side
 * by side.
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MAX_HASHED 64 /* header names */
#define SLOTS 1024u /* by UID; a mailbox may be larger */

const char *const identity_headers[IDENTITY_HEADERS] = { "Date", "Message-ID" };

/* Each header line of each mail will be compared with each name. */
int
identity_check_headers(struct brain *b)
{
	struct item_handshake *p = &b->params;
	bool bad = p->n_hashed_headers > MAX_HASHED, any = false;

	for (size_t i = 0; i < p->n_hashed_headers && !bad; i++) {
		bad = strlen(p->hashed_headers[i]) > HDR_HASH_NAME_MAX;
		any |= p->hashed_headers[i][0] != '\0';
	}
	if (bad) {
		log_error("%s: breaks the protocol: wants too many or too long "
			  "headers hashed",
		    b->peer_name);
		return (-EBADMSG);
	}
	if (!any) {
		p->hashed_headers = identity_headers;
		p->n_hashed_headers = IDENTITY_HEADERS;
	}
	return (0);
}

struct hash_slot {
	uint32_t uid; /* 0: empty */
	char hash[HDR_HASH_LEN + 1];
};

static unsigned
caps(const struct brain *b)
{
	return (b->r->ops->caps);
}

void
identity_own(const struct brain *b, struct item_mailbox *own)
{
	own->have_guids = (caps(b) & REPLICA_GUIDS) != 0;
	own->have_save_guids = (caps(b) & REPLICA_SAVE_GUIDS) != 0;
	own->have_only_guid128 = (caps(b) & REPLICA_GUID128) != 0;
}

void
identity_decide(struct brain *b)
{
	struct box *x = &b->box;
	const struct item_mailbox *own = &x->own, *peer = &x->peer,
				  *src = b->imports ? peer : own,
				  *dest = b->imports ? own : peer;

	if (!b->peer_dsyncfs && b->peer_minor < 2)
		x->peer.have_save_guids = x->peer.have_guids;
	x->by_hash = !(own->have_save_guids && peer->have_save_guids);
	if (!(b->imports && b->exports) && src->have_guids &&
	    dest->have_save_guids)
		x->by_hash = false;
	x->guid128 = own->have_only_guid128 || peer->have_only_guid128;
	/*
	 * What both remember of an earlier sync, if they do not agree on more.
	 * A UID of one UIDVALIDITY stays the same message for ever.
	 */
	x->known_uid = !b->peer_dsyncfs || !x->trust_uids ? 0
	    : own->common_uid < peer->common_uid          ? own->common_uid
							  : peer->common_uid;
}

void
identity_fini(struct box *x)
{
	free(x->hashes);
	x->hashes = NULL;
}

/* ---- GUIDs ---- */

const char *
identity_guid(const struct brain *b, const char *guid)
{
	return ((caps(b) & REPLICA_GUIDS) != 0 ? guid : "");
}

int
identity_local(
    const struct brain *b, struct arena *a, const char *guid, const char **out)
{
	struct guid g;
	char hex[GUID_HEX_LEN + 1];
	int rc;

	guid = identity_guid(b, guid);
	if ((caps(b) & REPLICA_GUID128) != 0 && guid[0] != '\0') {
		rc = guid128_of_string(guid, &g);
		if (rc == 0)
			guid = arena_strdup(a, guid_hex(&g, hex));
		if (rc != 0 || guid == NULL)
			return (-ENOMEM);
	}
	*out = guid;
	return (0);
}

const char *
identity_saved(const struct brain *b, const char *guid)
{
	return ((caps(b) & REPLICA_SAVE_GUIDS) != 0 && guid[0] != '\0' ? guid
								       : NULL);
}

bool
identity_same_guid(
    const struct brain *b, const char *guid, const char *told, bool expunge)
{
	struct guid x, y;

	guid = identity_guid(b, guid);
	if (guid[0] == '\0' || told == NULL || told[0] == '\0')
		return (false);
	/* An expunge is only told as 128 bits. */
	if (!expunge && !b->box.guid128)
		return (strcmp(guid, told) == 0);
	return (guid128_of_string(guid, &x) == 0 &&
	    guid128_of_string(told, &y) == 0 && guid_eq(&x, &y));
}

/* ---- header hashes ---- */

/* "" when the header cannot be read: one bad item, or one that has gone. */
static int
read_hash(struct brain *b, uint32_t uid, char out[HDR_HASH_LEN + 1])
{
	const struct item_handshake *p = &b->params;
	struct stream *s = NULL;
	int rc = b->r->ops->body(b->r, b->box.id, uid, &s);

	if (rc == 0)
		rc = hdr_hash_stream(b->hash_version, p->hashed_headers,
		    p->n_hashed_headers, s, out);
	stream_close(s);
	if (rc == 0 || rc == -ENOMEM)
		return (rc);
	out[0] = '\0';
	if (rc == -ENOENT) {
		b->box.changes = true;
		return (0);
	}
	log_warning("%s: %s: the header of UID %u cannot be read; it is taken "
		    "for the message that has this UID there",
	    b->r->label, b->box.name, uid);
	b->box.incomplete = true;
	return (0);
}

int
identity_hash(struct brain *b, uint32_t uid, char out[HDR_HASH_LEN + 1])
{
	struct hash_slot *s;
	int rc;

	if (b->box.hashes == NULL)
		b->box.hashes = calloc(SLOTS, sizeof(*b->box.hashes));
	if (b->box.hashes == NULL)
		return (-ENOMEM);
	s = &b->box.hashes[uid % SLOTS];
	if (s->uid != uid) {
		s->uid = 0;
		rc = read_hash(b, uid, s->hash);
		if (rc != 0)
			return (rc);
		s->uid = uid;
	}
	memcpy(out, s->hash, sizeof(s->hash));
	return (0);
}

static bool
is_empty(const char *hash)
{
	return (strncmp(hash, HDR_HASH_EMPTY, HDR_HASH_LEN) == 0);
}

bool
identity_same_hash(const struct brain *b, const char *x, const char *y)
{
	return (strncmp(x, y, HDR_HASH_LEN) == 0 ||
	    (b->params.empty_hdr_workaround && (is_empty(x) || is_empty(y))));
}

bool
identity_hash_tells(const char *hash)
{
	return (hash[0] != '\0' && !is_empty(hash));
}
