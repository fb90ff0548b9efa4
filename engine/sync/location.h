/*
 * location -- where mail is: parsing, and the drivers that open it.
 *
 * driver:path[:KEY=VALUE...]; see DESIGN.md 3.  backends/registry.c has the
 * list of drivers; the two mains hand it in.
 */
#ifndef DSYNCFS_SYNC_LOCATION_H
#define DSYNCFS_SYNC_LOCATION_H

#include "base/arena.h"
#include "sync/replica.h"

struct location {
	const char *text; /* as given */
	const char *driver;
	/*
	 * "~/" and "~" replaced by the home directory, "%h" "%u" "%n" too; no
	 * trailing slashes
	 */
	const char *path;
	const char *const *option; /* "KEY=VALUE" or "KEY" */
	size_t options;
	/* where it came from, for messages: "command line", "FILE:LINE" */
	const char *origin;
};

struct driver {
	const char *name;
	/* known KEYs, NULL-terminated; others are refused */
	const char *const *options;
	/*
	 * LOCATION_CREATE: make the location when its parent directory is there
	 * (a destination); otherwise -ENOENT, reported.  LOCATION_RDONLY: look
	 * only; foreign locations still write their sidecar.  LOCATION_DRY:
	 * nothing of it is written at all: what has to be noted to plan a sync
	 * goes into a temporary copy, and with LOCATION_CREATE a location that
	 * is missing is an empty one.  -EBUSY: owned by another process
	 * (already reported).
	 */
	int (*open)(const struct location *l,
	    const struct store_settings *settings, unsigned flags,
	    struct replica **out);
	/*
	 * The directory of the store's control socket, or NULL when the driver
	 * has none; in the arena.
	 */
	const char *(*socket_dir)(struct arena *a, const struct location *l);
	/*
	 * The directory of a native store as it lies there, neither opened as a
	 * store nor owned: for store_repair.  -ENOENT, -EACCES reported.  NULL
	 * in a driver whose locations have no log of their own.
	 */
	int (*tree)(const struct location *l, struct os **out);
};

enum { LOCATION_CREATE = 1, LOCATION_RDONLY = 2, LOCATION_DRY = 4 };

/* A NULL-terminated array, handed in by main. */
typedef const struct driver *const *drivers;

/*
 * Strings in the arena.  Errors, reported with origin: -EINVAL syntax,
 * -EPROTONOSUPPORT unknown driver (names those that are known), -ENOTSUP an
 * option the driver does not know.
 */
int location_parse(struct arena *a, drivers known, const char *text,
    const char *origin, struct location *out);
/* value, "" for a bare KEY, NULL */
const char *location_option(const struct location *l, const char *key);
int location_open(drivers known, const struct location *l,
    const struct store_settings *settings, unsigned flags,
    struct replica **out);

#endif
