/*
 * trees -- the directory trees that this process has open.
 */
#include "backends/trees.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct tree {
	struct tree *next;
	int fd;
	bool temporary;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tree *trees; /* owned; guarded by lock */

int
trees_add(int fd)
{
	struct tree *t = malloc(sizeof(*t));

	if (t == NULL)
		return (-ENOMEM);
	*t = (struct tree){ .fd = fd };
	pthread_mutex_lock(&lock);
	t->next = trees;
	trees = t;
	pthread_mutex_unlock(&lock);
	return (0);
}

void
trees_temporary(int fd)
{
	pthread_mutex_lock(&lock);
	for (struct tree *t = trees; t != NULL; t = t->next)
		if (t->fd == fd)
			t->temporary = true;
	pthread_mutex_unlock(&lock);
}

void
trees_remove(int fd)
{
	struct tree **at = &trees, *t;

	pthread_mutex_lock(&lock);
	while (*at != NULL && (*at)->fd != fd)
		at = &(*at)->next;
	t = *at;
	if (t != NULL)
		*at = t->next;
	pthread_mutex_unlock(&lock);
	free(t);
}

int
trees_each(int (*fn)(void *arg, int fd, bool temporary), void *arg)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	for (const struct tree *t = trees; t != NULL && r == 0; t = t->next)
		r = fn(arg, t->fd, t->temporary);
	pthread_mutex_unlock(&lock);
	return (r);
}
