/*
 * last_words -- why a sync failed: the last line that it says, and the one
 * before, which may be what the far side said of it.
 */
#ifndef DSYNCFS_FS_LAST_WORDS_H
#define DSYNCFS_FS_LAST_WORDS_H

#include <stddef.h>

struct last_words {
	char *before, *last; /* owned; NULL: there was none */
};

/* As a command's err: arg is a struct last_words. */
void last_words_take(void *arg, const char *text, size_t n);
/* Both in one line, malloc'd, or NULL. */
char *last_words_text(const struct last_words *w);
void last_words_fini(struct last_words *w);

#endif
