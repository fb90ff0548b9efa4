/*
 * last_words -- why a sync failed: the last line that it says, and the one
 * before, which may be what the far side said of it.
 */
#ifndef DSYNCFS_FS_LAST_WORDS_H
#define DSYNCFS_FS_LAST_WORDS_H

#include <stddef.h>

struct last_words {
	char *before, *last; /* owned; NULL: there was none */
	/* of a line that has not ended yet */
	char part[1024];
	size_t n;
};

#define LAST_WORDS_INIT                                                        \
	{                                                                      \
		.n = 0                                                         \
	}

/* As a command's err: arg is a struct last_words. */
void last_words_take(void *arg, const char *text, size_t n);
/* The same where lines come in pieces. */
void last_words_bytes(void *arg, const char *text, size_t n);
/* Both in one line, malloc'd, or NULL. */
char *last_words_text(const struct last_words *w);
void last_words_fini(struct last_words *w);

#endif
