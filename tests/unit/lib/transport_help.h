/*
 * transport_help -- what the tests of links share: the log as text, and bytes
 * both ways over any link.
 */
#ifndef DSYNCFS_TESTS_TRANSPORT_HELP_H
#define DSYNCFS_TESTS_TRANSPORT_HELP_H

#include <stdbool.h>
#include <stddef.h>
#include "base/link.h"

#define HELP_MS 20000 /* an upper bound: nothing here takes that long */

/* From now on lines of the log are kept, each with a newline. */
void said_begin(void);
bool said(const char *text);
const char *said_all(void);
unsigned said_lines(void);

/* Reads until the end or an error, which it returns; *n bytes in p. */
int link_read_all(struct link *l, char *p, size_t size, size_t *n);
/* 0 or an error; what is to be read meanwhile is left. */
int link_write_all(struct link *l, const void *p, size_t n);
int link_shut_all(struct link *l);
/*
 * n bytes of a pattern there and back at once, by writing whenever that can go
 * on and reading whenever there is something; then shut, then to the end. 0, or
 * the error; the test fails when other bytes come back.
 */
int link_echo(struct link *l, size_t n);

#endif
