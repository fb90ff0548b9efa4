/*
 * last_words -- the last two lines of a command.
 */
#include "fs/last_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
last_words_take(void *arg, const char *text, size_t n)
{
	static const char name[] = "dsyncfs-sync: ";
	struct last_words *w = arg;
	char *line;

	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (n > strlen(name) && strncmp(text, name, strlen(name)) == 0) {
		text += strlen(name);
		n -= strlen(name);
	}
	if (n == 0 || (line = strndup(text, n)) == NULL)
		return;
	free(w->before);
	w->before = w->last;
	w->last = line;
}

void
last_words_bytes(void *arg, const char *text, size_t n)
{
	struct last_words *w = arg;

	for (size_t i = 0; i < n; i++) {
		if (text[i] != '\n') {
			if (w->n < sizeof(w->part))
				w->part[w->n++] = text[i];
			continue;
		}
		last_words_take(w, w->part, w->n);
		w->n = 0;
	}
}

char *
last_words_text(const struct last_words *w)
{
	char *text;

	if (w->last == NULL)
		return (NULL);
	if (w->before == NULL)
		return (strdup(w->last));
	return (asprintf(&text, "%s; %s", w->before, w->last) < 0 ? NULL
								  : text);
}

void
last_words_fini(struct last_words *w)
{
	free(w->before);
	free(w->last);
	w->before = w->last = NULL;
	w->n = 0;
}
