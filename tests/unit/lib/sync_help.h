/*
 * sync_help -- two or more native replicas on os_mem trees, and short words for
 * what tests do to them.
 *
 * Failures of a helper end the test, but for those that give a code.
 */
#ifndef DSYNCFS_TESTS_SYNC_HELP_H
#define DSYNCFS_TESTS_SYNC_HELP_H

#include "sync/brain.h"

struct side {
	struct os *os;
	struct store *s;
	struct replica *r;
	const char *label;
	/* its location can do less (hidden.h) */
	bool hidden;
	unsigned guids; /* REPLICA_*, as far as hidden */
};

void side_new(struct side *d, const char *label, uint64_t seed);
/* ... that of GUIDs can do only this */
void side_new_hidden(
    struct side *d, const char *label, uint64_t seed, unsigned guids);
/* Opens what is in d->os; 0 or -errno. */
int side_open(struct side *d);
void side_close(struct side *d); /* the tree stays */
/* without caring for errors (after a power cut) */
void side_drop(struct side *d);
void side_free(struct side *d);
/* The files as they are now; what becomes of it: side_restore, or closed. */
struct os *side_snapshot(struct side *d);
/* Back to the files of a snapshot, which is used up; the clock goes on. */
void side_restore(struct side *d, struct os *snapshot);

uint32_t box_new(struct side *d, const char *name);
uint32_t box_id(struct side *d, const char *name); /* 0: none */
void box_rename(struct side *d, const char *from, const char *to, int64_t time);
void box_delete(struct side *d, const char *name, int64_t time);
void box_subscribe(struct side *d, const char *name, bool on, int64_t time);
/* guid NULL: random; the body follows from the text. */
uint32_t mail_new(
    struct side *d, const char *box, const char *guid, const char *text);
/* As a sync with a third replica saves it: with a modseq of long ago. */
void mail_from_third(
    struct side *d, const char *box, const char *guid, const char *text);
/* The whole mail. */
uint32_t mail_raw(
    struct side *d, const char *box, const char *guid, const char *raw);
uint32_t mail_bytes(
    struct side *d, const char *box, const char *guid, const void *p, size_t n);
void mail_flags(
    struct side *d, const char *box, uint32_t uid, uint8_t add, uint8_t remove);
void mail_keyword(struct side *d, const char *box, uint32_t uid,
    const char *add, const char *remove);
void mail_expunge(struct side *d, const char *box, uint32_t uid);
uint32_t mail_move(
    struct side *d, const char *box, uint32_t uid, const char *to);
bool mail_get(struct side *d, const char *box, uint32_t uid, uint8_t *flags);
/* 0: none */
uint32_t mail_uid(struct side *d, const char *box, const char *guid);
unsigned mail_count(struct side *d, const char *box);

/* The dump as one malloc'd string. */
char *side_dump(struct side *d);
/* But for GUIDs of messages where a side is hidden. */
bool sides_equal(struct side *a, struct side *b);
void assert_equal(struct side *a, struct side *b);

/* A mirror with the defaults; result may be NULL.  The code of sync_run_local.
 */
int sync_mirror(struct side *a, struct side *b, struct sync_result *res);
/* a is the master. */
int sync_with(struct side *a, struct side *b, const struct sync_options *o,
    struct sync_result *res);
uint64_t result_changes(const struct sync_result *r);
/* Counts the changes that a sync told of. */
extern unsigned told_changes, told_conflicts;

/*
 * From now on brains take each other for another kind of peer, and follow dsync
 * to the letter.
 */
extern bool sync_foreign;
/* With sync_foreign: saved states are used, instead of comparing in full. */
extern bool sync_stateful;
/* What sync_mirror uses. */
enum sync_type sync_mirror_type(void);
/* Looks at, and may change, what the brains say; NULL: nobody does. */
extern void (*sync_on_send)(struct item *i);
/*
 * Sees, and may change, each item that is sent; by_master says by whom.  One
 * whose type it makes 0 is lost.  NULL: nobody looks.
 */
extern void (*sync_watch)(bool by_master, struct item *i);

/* Two ends for brains that a test makes itself. */
void sync_pair(
    struct side *a, struct side *b, struct channel **ca, struct channel **cb);

/* Runs every sync of sync_with when it is set: over another channel. */
extern int (*sync_over)(struct side *a, struct side *b,
    const struct sync_options *o, const struct sync_events *e,
    struct sync_result *res);

/*
 * Steps the brains by hand and drops them after n steps; true when they were
 * done before.
 */
bool sync_steps(
    struct side *a, struct side *b, const struct sync_options *o, unsigned n);

/*
 * A whole sync during which hook is called before step n; *steps gets how many
 * there were.  The code of the brain that failed, or 0.
 */
int sync_with_hook(struct side *a, struct side *b, const struct sync_options *o,
    unsigned n, void (*hook)(void), unsigned *steps);

/* A small generator, the same on every machine. */
uint32_t rnd(uint64_t *state, uint32_t below);

#endif
