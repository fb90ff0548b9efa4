/*
 * dsync_help -- dsync channels over links in memory, and a peer that is played
 * by hand.
 */
#ifndef DSYNCFS_TESTS_DSYNC_HELP_H
#define DSYNCFS_TESTS_DSYNC_HELP_H

#include "backends/dsync/dsync.h"
#include "base/buf.h"
#include "link_mem.h"

/* Two channels that talk to each other. */
struct talk {
	struct link *la, *lb;
	struct channel *a, *b;
};
/* oa, ob may be NULL */
void talk_begin(struct talk *t, const struct link_mem_rules *rules,
    const struct channel_dsync_options *oa,
    const struct channel_dsync_options *ob);
void talk_end(struct talk *t);
/* The next item at b while a is flushed too; the code of recv. */
int talk_recv(struct talk *t, struct item **out);
/* Sends i from a; it has to arrive, and is given. */
struct item *talk_pass(struct talk *t, struct item *i);
/*
 * The whole body, malloc'd; *n gets the length.  Reads in pieces of at most
 * `piece` bytes.  -errno instead of 0 in *rc.
 */
uint8_t *talk_body(
    struct talk *t, struct stream *s, size_t piece, size_t *n, int *rc);

/* One channel, whose peer the test is. */
struct alone {
	struct link *l, *peer;
	struct channel *c;
};
void alone_begin(struct alone *a, const struct channel_dsync_options *o);
void alone_end(struct alone *a);
/* What the peer says; text may hold the words below. */
void alone_hears(struct alone *a, const char *text);
/* Opening lines as Dovecot 2.4 has them. */
extern const char dovecot_opening[];
/* Opening lines with H replaced by this header line. */
void alone_hears_opening_without(struct alone *a, char letter);
/* What the channel has said behind its own opening lines, NUL-terminated; lent.
 */
const char *alone_said(struct alone *a);

/* A new item of that type. */
struct item *item_make(enum item_type type);
/* All of a file. */
void file_read(const char *path, struct buf *out);

#endif
