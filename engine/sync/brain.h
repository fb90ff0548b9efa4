/*
 * brain -- one replica's half of a sync (specs/dsync-protocol.md 3 to 6).
 *
 * A brain is a state machine without waiting inside: brain_step does what can
 * be done now.  Two brains on an in-memory channel are stepped in turn
 * (sync_run_local); one brain on a link is stepped when bytes have come or
 * gone.
 */
#ifndef DSYNCFS_SYNC_BRAIN_H
#define DSYNCFS_SYNC_BRAIN_H

#include <stdatomic.h>

#include "sync/channel.h"
#include "sync/replica.h"

enum sync_mode { SYNC_MIRROR, SYNC_BACKUP, SYNC_BACKUP_REVERSE };

struct sync_counts {
	uint64_t saved, copied, flags, expunged, renumbered, mailboxes_created,
	    mailboxes_renamed, mailboxes_deleted, subscriptions;
	uint64_t bytes; /* of bodies saved */
	uint64_t mailboxes_synced, mailboxes_unchanged;
};
/* But the last two, which both sides count. */
void sync_counts_add(struct sync_counts *to, const struct sync_counts *c);
/* The same as numbers between blanks; in the arena, NULL: no memory. */
const char *sync_counts_text(struct arena *a, const struct sync_counts *c);
/* Of a peer: a text that is none, or NULL, leaves *c as it is. */
void sync_counts_take(const char *text, struct sync_counts *c);

/* What a brain tells while it works; all may be NULL.  Names are lent. */
struct sync_events {
	/* finished one */
	void (*mailbox)(void *arg, const char *name,
	    const struct sync_counts *this_mailbox);
	void (*progress)(void *arg, const char *mailbox, uint64_t done,
	    uint64_t total, uint64_t bytes);
	/*
	 * Each conflict that was settled: what, by which rule, outcome.  uid 0:
	 * of the mailbox itself.
	 */
	void (*conflict)(void *arg, const char *mailbox, uint32_t uid,
	    const char *what, const char *rule, const char *outcome);
	/* Each change made (or, in a dry run, planned) here. */
	void (*change)(
	    void *arg, const char *mailbox, uint32_t uid, const char *what);
	void *arg;
};

struct state_list;

struct sync_options {
	enum sync_mode mode;
	bool one_way; /* -1 */
	/* SYNC_STATE with saved peer states is the default; SYNC_FULL for -f */
	enum sync_type type;
	/* Saved states all the same where the peer is a dsyncfs. */
	bool own_state;
	/*
	 * -s: states from outside instead of the saved ones, which another kind
	 * of peer is told; between two dsyncfs the saved ones decide all the
	 * same, being exact.  Each mailbox that was synced has its record
	 * replaced, those that are not there any more lose theirs; so also
	 * after a failure.  NULL: none.
	 */
	struct state_list *states;
	const char *const *mailbox;
	size_t mailboxes; /* -m */
	const char *const *exclude;
	size_t excludes; /* -x */
	struct guid mailbox_guid; /* -g */
	/* -t -e -I -O */
	int64_t since, until;
	uint64_t max_size;
	const char *flag;
	char alt_char; /* -C, 0 = '_' */
	/*
	 * where messages are told apart by their headers: one that has none
	 * matches any other
	 */
	bool empty_hdr_workaround;
	/*
	 * The guard (guard.c), on both sides: a mailbox that would lose more of
	 * its messages, all of them, or be deleted with them, stops the sync
	 * (-ECANCELED).  0 and 100: no guard.
	 */
	unsigned max_delete_percent;
	/*
	 * ... once it has at least this many messages; all of them: at least
	 * this or 6
	 */
	unsigned max_delete_min;
	bool dry_run;
	/* Another sync follows on the same link, where the peer can do that. */
	bool stay;
	/* non-zero: end at the next consistent point (-EINTR); may be NULL */
	const atomic_int *stop;
};

struct sync_result {
	bool changes_during_sync; /* exit 2: run again */
	/* exit 2: some changes could not be made (reported) */
	bool incomplete;
	/* states from outside are not to be used again: start from none */
	bool require_full_resync;
	struct sync_counts counts;
	/* what the peer, another dsyncfs, says that it has done */
	struct sync_counts peer;
};

struct brain;
/* Everything is borrowed until brain_free.  events may be NULL. */
int brain_new_master(struct replica *r, struct channel *c,
    const struct sync_options *o, const struct sync_events *e,
    struct brain **out);
/*
 * A master that stops before its handshake wanted to know whether somebody
 * answers: then it is done, and brain_peer stays zero.
 */
int brain_new_slave(struct replica *r, struct channel *c,
    const struct sync_events *e, struct brain **out);
/*
 * b's peer is a brain with the same events: what both see is told by that one
 * alone.
 */
void brain_share_events(struct brain *b);
/*
 * A slave's own guard, where the master is of another kind and has none; firm:
 * also where the master's own would let more go.  Before the first step.
 */
void brain_slave_guard(
    struct brain *b, unsigned percent, unsigned min, bool firm);
/*
 * A slave has no options of its own: non-zero *stop ends it at the next
 * consistent point (-EINTR).  Before the first step.
 */
void brain_set_stop(struct brain *b, const atomic_int *stop);
/*
 * Another sync may follow on a slave's link, if the master asks.  Before the
 * first step.
 */
void brain_slave_stays(struct brain *b);
/*
 * It is done, and the peer is ready for another sync on this link, on which
 * nothing is left of this one.
 */
bool brain_stays(const struct brain *b);
/*
 * The peer's identity for what is remembered of it; zero until its handshake
 * has come.
 */
const struct guid *brain_peer(const struct brain *b);
enum brain_status { BRAIN_PROGRESS, BRAIN_WAIT, BRAIN_DONE };
/*
 * BRAIN_*, or -errno: reported; the sync has failed, both replicas are
 * consistent.  -ECANCELED: the max_delete guard.  -ESTALE: a state does not
 * hold any more; a further run compares in full.
 */
int brain_step(struct brain *b);
void brain_result(const struct brain *b, struct sync_result *out);
void brain_free(struct brain *b);

/*
 * Both brains in this process over an in-memory channel; local is the master.
 * The result is local's and remote's together.
 */
int sync_run_local(struct replica *local, struct replica *remote,
    const struct sync_options *o, const struct sync_events *e,
    struct sync_result *out);

/*
 * One brain, whose channel goes over l, until it is done or has failed; then l
 * is shut behind its last words, unless the brain stays.  A stop is seen within
 * a second, and a peer that is silent then is not waited for.  -ETIMEDOUT
 * (reported): no byte came or went for timeout_s seconds (0: 600), or before
 * the first one came for first_s (0: as long).  Else as brain_step.
 */
struct link;
int sync_run_link(struct brain *b, struct link *l, unsigned timeout_s,
    unsigned first_s);

/*
 * The canonical text of all mail state (specs/cli.md, dump), sorted; one line a
 * call, without newline.
 */
typedef int dump_line_fn(void *arg, const char *line);
/* false: leaves modseq= and highestmodseq= out */
struct dump_options {
	bool modseqs;
	/* leaves guid= of messages out */
	bool no_guids;
	/*
	 * before each line whose it is, for dump_reader: the mailbox, escaped,
	 * and a UID (0: the line is the mailbox's), a blank behind each
	 */
	bool keys;
};
int replica_dump(struct replica *r, const struct dump_options *o,
    dump_line_fn *fn, void *arg, unsigned *problems);

/*
 * Both sides compared message by message; differences are given as lines.
 * *differences counts them.
 */
int replica_compare(struct replica *a, struct replica *b, dump_line_fn *fn,
    void *arg, uint64_t *differences);

/* The same where b is in another process, which dumps it with keys. */
struct dump_reader {
	/* *line is lent until the next call.  1: there is none; -errno. */
	int (*next)(void *arg, char **line);
	void *arg;
	const char *label;
	bool no_guids; /* as it is dumped */
};
/* -EPROTO: those are no such lines. */
int replica_compare_dump(struct replica *a, const struct dump_reader *b,
    dump_line_fn *fn, void *arg, uint64_t *differences);

#endif
