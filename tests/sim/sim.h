/*
 * sim -- whole lives of a few replicas: what users, programs, disks and links
 * do to them, drawn from a seed, and what must hold whatever that was.
 *
 * A history is a list of steps, each with numbers that say which of the things
 * that are there it is about, so that it still means something when steps
 * before it are left out (shrinking).  Nothing depends on the time of day, on
 * addresses or on the order of anything but the steps: a history gives the
 * same every time.
 */
#ifndef DSYNCFS_TESTS_SIM_H
#define DSYNCFS_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/guid.h"
#include "base/os.h"
#include "sync/brain.h"

#define REPLICAS 4
#define STEPS 400

enum kind {
	KIND_STORE, /* a store, changed by transactions as a mount makes them */
	KIND_MOUNT, /* a store under the view, changed by file operations */
	KIND_MAILDIR, /* a Maildir++, changed by other programs */
	KIND_MAILDIR_FS, /* the same, nested */
	KINDS
};

enum act {
	/* what a user does, at one replica */
	ACT_DELIVER,
	ACT_AGAIN, /* delivers a mail that is there once more */
	ACT_FLAG,
	ACT_KEYWORD,
	ACT_EXPUNGE,
	ACT_MOVE,
	ACT_COPY,
	ACT_REWRITE,
	ACT_DATE,
	ACT_RESTORE,
	ACT_BOX_NEW,
	ACT_BOX_DIR,
	ACT_BOX_RENAME,
	ACT_BOX_DELETE,
	ACT_BOX_AGAIN, /* deletes and makes it again */
	ACT_SUBSCRIBE,
	ACT_UNSUBSCRIBE,
	/* what happens to a replica */
	ACT_FLUSH,
	ACT_COMPACT,
	ACT_REOPEN,
	ACT_KILL, /* of its process: what was written stays */
	ACT_POWER, /* what was not flushed is lost, or a part of it */
	ACT_CUT_AT, /* the power goes at a later change, maybe in a sync */
	ACT_FAIL, /* a later call of the disk fails */
	ACT_CLOCK, /* jumps */
	/* what happens between two */
	ACT_SYNC,
	ACT_SYNC_FULL,
	ACT_SYNC_CHANGED, /* without saved states */
	ACT_SYNC_BOX, /* of one mailbox */
	ACT_SYNC_ONE_WAY,
	ACT_SYNC_DRY,
	ACTS
};

struct step {
	enum act act;
	/* runs while the sync before it does */
	bool inner;
	/* replica, or for a sync the pair */
	uint8_t who;
	/* the same in a shrunken history: names what the step makes */
	unsigned id;
	uint32_t r[3];
};

struct history {
	uint64_t seed;
	unsigned replicas;
	enum kind kind[REPLICAS];
	/* this one, at the end, is only ever written by backups */
	bool sink;
	/* all hang on the first; else each on the one before it */
	bool star;
	/* both follow dsync to the letter, as with Dovecot (two replicas) */
	bool foreign;
	struct step step[STEPS];
	size_t n;
};

/* history.c */
void history_make(struct history *h, uint64_t seed);
void history_print(const struct history *h, FILE *to);
/* 0 or -EINVAL: prints what is wrong */
int history_read(struct history *h, FILE *from);
/* Numbers that follow from *state alone. */
uint32_t draw(uint64_t *state, uint32_t below);

/*
 * Leaves out of *h whatever it fails without, as long as fails(h) holds; prints
 * nothing.
 */
void history_shrink(struct history *h, bool (*fails)(const struct history *h));

/* run.c */
struct tally {
	uint64_t histories, steps, syncs, cut, killed, power, failed, rounds;
};
/*
 * Lives the history.  true: everything held.  Otherwise *why (a static text)
 * says what did not, and at which step.
 */
bool history_run(
    const struct history *h, bool verbose, struct tally *t, const char **why);

#endif
