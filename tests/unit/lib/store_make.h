/*
 * store_make -- short ways to fill a store in tests; each stops the test when
 * it fails.
 */
#ifndef DSYNCFS_TESTS_STORE_MAKE_H
#define DSYNCFS_TESTS_STORE_MAKE_H

#include "store/store.h"

#define T0 1700000000

struct store *make_store(struct os *os);
struct store *make_reopen(struct os *os, struct store *s);
uint32_t make_mailbox(struct store *s, const char *name);
/* A body of the bytes of text. */
struct body_ref make_body(struct store *s, const char *text);
struct body_ref make_body_bytes(
    struct store *s, const void *p, size_t n, uint64_t *vsize);
/* guid NULL: a random one. */
uint32_t make_msg(
    struct store *s, uint32_t mailbox, const char *guid, const char *text);
/* From now on bodies are stored raw, to be compressed later. */
extern bool make_later;
void make_flags(struct store *s, uint32_t mailbox, uint32_t uid, uint8_t add,
    uint8_t remove);
void make_expunge(struct store *s, uint32_t mailbox, uint32_t uid);
/* All bytes of a body as a malloc'd text; NULL when it cannot be read. */
char *make_text(struct store *s, const struct body_ref *ref);
/* Says nothing to stderr; what was said last stands in make_said. */
void make_quiet(void);
extern char make_said[1024];
extern unsigned make_errors, make_warnings; /* lines so far */

#endif
