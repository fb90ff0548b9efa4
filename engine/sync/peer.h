/*
 * peer -- what is remembered of a sync: per pair of replicas and mailbox, the
 * state that both had in common at its end.
 *
 * P1  A state is written only after both sides have made their changes durable
 * and said so (S); an older state is always correct, it only costs comparing
 * more. P2  Both sides hold the same session, which names the numbers that both
 * went on from; when they do not agree the mailbox is compared in full.
 */
#ifndef DSYNCFS_SYNC_PEER_H
#define DSYNCFS_SYNC_PEER_H

#include "base/guid.h"
#include "store/store.h"

struct peer_state {
	/* of a backup: session is the name of the source's history */
	bool backup;
	struct guid session;
	/*
	 * the mailbox's id in this store: one that was deleted and made again,
	 * and got the old GUID by merging, has none of the old messages
	 */
	uint32_t id;
	uint32_t uidvalidity;
	/* every message up to it is the same on both sides */
	uint32_t common_uid;
	uint32_t messages;
	/* every own change up to it has been given */
	uint64_t own_since;
	uint64_t own_end; /* own highestmodseq at the end */
	/*
	 * The peer's HIGHESTMODSEQ is this as long as nothing happens there: in
	 * a mirror of two dsyncfs the same number on both sides.
	 */
	uint64_t peer_end;
	/*
	 * Another kind of peer: what its HIGHESTMODSEQ became by that sync,
	 * unless it went further.
	 */
	uint64_t peer_now;
};

/*
 * -ENOENT when there is none, none that this version can read, or one of
 * another mailbox that had this GUID before.
 */
int peer_state_load(struct store *s, const struct guid *peer,
    const struct guid *mailbox, struct peer_state *out);
/* Writes nothing when it is so already.  NULL forgets it. */
int peer_state_save(struct store *s, const struct guid *peer,
    const struct guid *mailbox, const struct peer_state *st);
/*
 * The mailbox got another GUID, here and soon there: what was in common with
 * each peer stays so.
 */
int peer_states_rename(
    struct store *s, const struct guid *from, const struct guid *to);
/*
 * Makes the name of a session, the same on both sides; each side has given a
 * random token for it.  -ENOMEM.
 */
struct peer_session {
	const struct guid *own, *peer, *mailbox;
	const struct guid *own_token, *peer_token;
};
int peer_session(const struct peer_session *p, struct peer_state *st);

#endif
