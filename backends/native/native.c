/*
 * native -- opens a directory, the store in it, and makes a replica of them.
 */
#include "backends/native/native.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "backends/os_posix.h"
#include "base/log.h"

static void
complain(const struct location *l, int error)
{
	switch (error) {
	case -ENOENT:
		log_error("%s (from %s): there is no such directory; a store "
			  "is made only where its parent directory is",
		    l->text, l->origin);
		break;
	case -ENOTDIR:
		log_error(
		    "%s (from %s): is not a directory", l->text, l->origin);
		break;
	default:
		log_error("%s (from %s): cannot be opened: %s", l->text,
		    l->origin, strerror(-error));
	}
}

static int
native_tree(const struct location *l, struct os **out)
{
	int error = os_posix_open(l->path, false, out);

	if (error != 0)
		complain(l, error);
	return (error);
}

static int
any_entry(void *arg, const struct os_dirent *e)
{
	(void)arg;
	(void)e;
	return (1);
}

/*
 * A dry run: a store that is there is only read.  Where one would be made, in a
 * directory that is missing or empty, a temporary one is.
 */
static int
open_dry(const struct location *l, bool create, struct os **os, unsigned *how)
{
	int error = os_posix_open(l->path, false, os);

	*how = STORE_RDONLY;
	if (error == 0 && create &&
	    (*os)->ops->list(*os, "", any_entry, NULL) == 0) {
		(*os)->ops->close_tree(*os);
		error = -ENOENT;
	} else if (error != -ENOENT || !create ||
	    (strcmp(l->origin, "default") != 0 &&
		!os_posix_can_make(l->path))) {
		return (error);
	}
	*how = STORE_CREATE;
	return (os_posix_temp(os));
}

static int
native_open(const struct location *l, const struct store_settings *settings,
    unsigned flags, struct replica **out)
{
	const struct replica_native_hooks hooks = { .own_tree = true };
	bool create = (flags & LOCATION_CREATE) != 0;
	unsigned how = 0;
	struct store *s;
	struct os *os;
	int error;

	if ((flags & LOCATION_DRY) != 0) {
		error = open_dry(l, create, &os, &how);
	} else {
		error = os_posix_open(l->path, create, &os);
		how |= create ? STORE_CREATE : 0;
		how |= (flags & LOCATION_RDONLY) != 0 ? STORE_RDONLY : 0;
	}
	if (error != 0) {
		complain(l, error);
		return (error);
	}
	if ((error = store_open(os, how, settings, &s)) != 0)
		goto close_tree;
	if ((error = replica_native_new(s, l->text, true, &hooks, out)) != 0)
		goto close_store;
	return (0);
close_store:
	(void)store_close(s);
close_tree:
	os->ops->close_tree(os);
	return (error);
}

static const char *
native_socket_dir(struct arena *a, const struct location *l)
{
	return (arena_strdup(a, l->path));
}

/* Generations of the log; there is more than one while a new one is made. */
#define LOGS_MAX 8

static const char *const *
native_watched(struct arena *a, const struct location *l)
{
	const char **dirs = arena_zalloc(a, (LOGS_MAX + 2) * sizeof(*dirs));
	DIR *d = dirs == NULL ? NULL : opendir(l->path);
	const struct dirent *e;
	size_t n = 0;

	if (d == NULL)
		return (NULL);
	dirs[n++] = l->path;
	while (n <= LOGS_MAX && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "log-", 4) == 0)
			dirs[n++] =
			    arena_printf(a, "%s/%s", l->path, e->d_name);
	(void)closedir(d);
	return (a->error != 0 ? NULL : dirs);
}

static const char *const no_options[] = { NULL };

const struct driver native_driver = {
	.name = "dsyncfs",
	.options = no_options,
	.open = native_open,
	.socket_dir = native_socket_dir,
	.tree = native_tree,
	.repair_tree = native_tree,
	.watched = native_watched,
};
