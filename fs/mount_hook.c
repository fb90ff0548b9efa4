/*
 * mount_hook -- post_sync_command of a mount, in a thread of its own.  It may
 * ask the mount for another sync, so no sync waits for it.
 */
#include "fs/mount_hook.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/cmd.h"

struct mount_hook {
	struct broker *broker;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	char **name; /* owned, with the names; guarded by lock */
	size_t n, cap;
	atomic_int stop;
};

static bool
has(const struct mount_hook *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->name[i], name) == 0)
			return (true);
	return (false);
}

static int
add(struct mount_hook *h, const char *name)
{
	if (has(h, name))
		return (0);
	if (h->n == h->cap) {
		size_t cap = h->cap * 2 + 16;
		char **v = reallocarray(h->name, cap, sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		h->name = v;
		h->cap = cap;
	}
	h->name[h->n] = strdup(name);
	return (h->name[h->n] == NULL ? -ENOMEM : (h->n++, 0));
}

void
mount_hook_add(void *hook, const char *const *names, size_t n)
{
	struct mount_hook *h = hook;
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add(h, names[i]);
	pthread_cond_signal(&h->more);
	pthread_mutex_unlock(&h->lock);
	if (rc != 0)
		log_error("post_sync_command: out of memory");
}

static void
free_names(char **name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(name[i]);
	free(name);
}

static void *
run(void *arg)
{
	struct mount_hook *h = arg;
	char **name;
	size_t n;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		while (h->n == 0 && !h->stop)
			(void)pthread_cond_wait(&h->more, &h->lock);
		if (h->stop)
			break;
		name = h->name;
		n = h->n;
		h->name = NULL;
		h->n = h->cap = 0;
		pthread_mutex_unlock(&h->lock);
		(void)broker_hook(
		    h->broker, (const char *const *)name, n, &h->stop);
		free_names(name, n);
		pthread_mutex_lock(&h->lock);
	}
	pthread_mutex_unlock(&h->lock);
	return (NULL);
}

int
mount_hook_start(struct broker *broker, struct mount_hook **out)
{
	struct mount_hook *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return (-ENOMEM);
	h->broker = broker;
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_cond_init(&h->more, NULL);
	rc = -pthread_create(&h->thread, NULL, run, h);
	if (rc != 0) {
		free(h);
		return (rc);
	}
	*out = h;
	return (0);
}

void
mount_hook_stop(struct mount_hook *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = 1;
	pthread_cond_signal(&h->more);
	pthread_mutex_unlock(&h->lock);
	(void)pthread_join(h->thread, NULL);
	free_names(h->name, h->n);
	(void)pthread_cond_destroy(&h->more);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}
