/*
 * world -- the replicas of a running history, and what is known of their mail.
 *
 * The model knows nothing of how things are done: it looks at a replica before
 * and after each step.  A difference that a user's step made is a wish of that
 * user; a difference that a sync made has to follow from somebody's wish.
 */
#ifndef DSYNCFS_TESTS_SIM_WORLD_H
#define DSYNCFS_TESTS_SIM_WORLD_H

#include <setjmp.h>

#include "fs/view.h"
#include "tests/sim/sim.h"

#define BITS 7 /* five flags, two keywords */
#define GUIDS 1024
#define BOXES 256

struct row {
	uint32_t box; /* id */
	unsigned model_box;
	uint32_t uid;
	unsigned guid; /* in the model */
	uint8_t bits;
};

struct box_row {
	uint32_t id;
	unsigned model_box;
	const char *name;
	uint32_t uidvalidity, uidnext;
	uint64_t highestmodseq, history_floor;
};

/* What a replica holds at one moment. */
struct snap {
	struct arena arena;
	struct row *row; /* by box, then UID */
	size_t n;
	struct box_row *box; /* by name */
	size_t boxes;
};

/* One replica, and the machine that it is on. */
struct place {
	enum kind kind;
	unsigned number;
	char label[4];
	struct os *os; /* os_mem; outlives kills and power cuts */
	char dir[64]; /* of a mount, for what is no mail; "" = none */
	struct store *s;
	struct replica *r; /* NULL: down */
	struct view *v;
	/* a failure of the disk is armed, or has made the store unusable */
	bool faulty;
	/*
	 * The power went in a user's act: whether it was done is seen when it
	 * is back.  What it was to take away (takes) is in row, or all that
	 * was in its mailbox.
	 */
	struct {
		bool any, takes, whole_box, restores;
		struct row row;
	} in_flight;
	/* the same as if it went, in a kill or while this was opened */
	bool lost_power;
	/* what was there when all was last made durable */
	struct snap durable;
	bool has_durable;
	/* what the last sync or look left, for the checks of a sync */
	struct snap last;
};

struct world {
	const struct history *h;
	struct place place[REPLICAS];
	struct model *model;
	bool verbose;
	bool settling;
	const struct step *at;
	struct tally *tally;
	jmp_buf failed;
	char why[1024];
	unsigned told; /* changes in the sync that runs */
	/* the sync that runs */
	struct place *side[2];
	bool one_way;
};

/* The history is over: something that must hold does not. */
void world_fail(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void world_say(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* place.c */
void place_new(struct world *w, unsigned number);
/* Opens what is there; a failure ends the history unless the disk failed. */
void place_up(struct world *w, struct place *p);
/* Closes; errors do not matter. */
void place_down(struct place *p);
void place_free(struct place *p);
void place_lock(struct place *p);
void place_unlock(struct place *p);
/* Takes in what others did to it: of a Maildir, what lies there now. */
int place_refresh(struct world *w, struct place *p);
/* Its disk has failed or is about to. */
bool place_troubled(const struct place *p);
/* What changed since the last look was a sync, of both that sync just now. */
void place_look(struct world *w, struct place *p);
void place_kill(struct world *w, struct place *p);
void place_power(struct world *w, struct place *p, uint32_t how);

/* user.c: one act of a user; what cannot be done there is not done. */
void user_act(struct world *w, struct place *p, const struct step *s);

/* user_files.c: the same on the files of a mount or a Maildir. */
struct target {
	const char *box; /* mailbox name */
	uint32_t box_id;
	uint32_t uid; /* 0: none there */
	const char *guid, *name; /* of the message */
	uint8_t bits;
	bool is_new;
	const char *to; /* another mailbox */
	uint32_t to_id;
};
int mount_act(struct world *w, struct place *p, const struct step *s,
    const struct target *t);
int maildir_act(struct world *w, struct place *p, const struct step *s,
    const struct target *t);
/* The text of the mail that is called guid; in the arena. */
const char *mail_text(struct arena *a, const char *guid);

/* model.c */
struct model *model_new(void);
void model_free(struct model *m);
void snap_take(struct world *w, struct place *p, struct snap *out);
void snap_fini(struct snap *s);
/* A user of p made after of before; restored: took something back. */
void model_user(struct world *w, struct place *p, const struct snap *before,
    const struct snap *after, bool restored);
/*
 * Mailboxes that got another GUID, or lost their old history: before
 * model_synced, of all replicas.
 */
void model_merged(struct world *w, struct place *p, const struct snap *after);
/*
 * The same in the middle of a sync that changes p: after it the power may be
 * gone, and the merge with it, while the other end already has the mail of
 * both.
 */
void model_merging(struct world *w, struct place *p);
/* A one-way source keeps its GUIDs: there the name says which is which. */
void model_same_names(
    struct world *w, const struct snap *a, const struct snap *b);
/* A sync did. */
void model_synced(struct world *w, struct place *p, const struct snap *after);
/*
 * Both ends of a sync as they are after it.  complete: everything was compared
 * and nothing was left for another run.
 */
void model_flags(
    struct world *w, struct place *a, struct place *b, bool complete);
/* The power went in a user's act that was about t. */
void model_in_flight(struct place *p, enum act act, const struct target *t);
/* p was killed: what was written stays, so that act was done, or what shows. */
void model_landed(struct world *w, struct place *p);
/* Nothing changed while p was down, but for (power) what was not durable. */
void model_same(struct world *w, struct place *p, const struct snap *before,
    const struct snap *after, bool power);
/* A UID that was not durable may be given to something else. */
void model_forget_uids(struct world *w, struct place *p);
/*
 * What was expunged or changed longer ago than history reaches may come back
 * from who was away as long.
 */
void model_forgot(struct world *w);
void model_durable(struct world *w, struct place *p);
/* Everything is settled: who has what. */
void model_end(struct world *w);

#endif
