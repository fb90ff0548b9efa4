/*
 * location -- where mail is: parsing, and the drivers that open it, or the
 * dialer that reaches it.
 *
 * driver:path[:KEY=VALUE...]; see DESIGN.md 3.  backends/registry.c has the
 * list of drivers and the dialer; the two mains hand them in.
 */
#ifndef DSYNCFS_SYNC_LOCATION_H
#define DSYNCFS_SYNC_LOCATION_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/sandbox.h"
#include "sync/replica.h"

struct location {
	const char *text; /* as given */
	const char *driver;
	/*
	 * "~/" and "~" replaced by the home directory, "%h" "%u" "%n" "%d"
	 * too; no trailing slashes
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
	 * store nor owned: for a mount.  -ENOENT, -EACCES reported.  NULL in a
	 * driver whose locations have no log of their own.
	 */
	int (*tree)(const struct location *l, struct os **out);
	/* The same, or the directory of a sidecar: for store_repair. */
	int (*repair_tree)(const struct location *l, struct os **out);
	/*
	 * The directories in which, at the moment, a file comes, goes or grows
	 * whenever mail changes, up to NULL; in the arena.  NULL: it is not
	 * there.  No member: nothing can be told.
	 */
	const char *const *(*watched)(
	    struct arena *a, const struct location *l);
};

enum { LOCATION_CREATE = 1, LOCATION_RDONLY = 2, LOCATION_DRY = 4 };

/* A NULL-terminated array, handed in by main. */
typedef const struct driver *const *drivers;

/* ---- a dsync server that is dialed, or that we are ---- */

struct link;
struct relay_ends;
struct channel;

/* A location whose other brain is another process. */
struct far {
	/* the same place in one string, for messages and memory */
	const char *text;
	const char *origin;
	const void *how; /* the dialer's */
};

/*
 * All may be NULL; borrowed as long as the channel lives, stop as long as the
 * link.
 */
struct far_settings {
	/* whose mail over there, where the location does not say */
	const char *user;
	/* as in dsyncfs.conf(5) */
	const char *remote_cmd, *password_file, *password_command,
	    *passphrase_command, *ca_file;
	bool terminal; /* it may ask there */
	unsigned connect_ms; /* to reach it and be let in; 0: the link's own */
	const atomic_int *stop;
	/* gets every byte as it goes over the link */
	void (*raw)(void *arg, bool sent, const void *p, size_t n);
	void *raw_arg;
};

struct dialer {
	/*
	 * One word, or the words of a command line.  Strings in the arena.
	 * -EINVAL reported; -ENOENT (not reported): none of its forms.
	 */
	int (*parse)(struct arena *a, const char *const *words, size_t n,
	    const char *origin, struct far *out);
	/*
	 * Reaches it.  The channel is closed before the link; c NULL: none is
	 * wanted.  The codes of base/link.h, reported; -EINTR stopped.
	 */
	int (*dial)(const struct far *f, const struct far_settings *s,
	    struct link **l, struct channel **c);
	/*
	 * Another sync over a link on which the last one has left nothing.
	 * The link stays open when this fails (reported).
	 */
	int (*again)(struct link *l, const struct far_settings *s,
	    struct channel **c);
	/*
	 * Our own standard input and output as two descriptors, which are
	 * nobody else's any more.  -errno reported.
	 */
	int (*take_stdio)(int *in, int *out);
	/* We are what somebody has dialed: over in and out, which are dup'ed. */
	int (*serve)(int in, int out, const struct far_settings *s,
	    struct link **l, struct channel **c);
	/* ---- one process dials, another one syncs (base/link.h) ---- */
	/* Two ends that are connected.  -errno. */
	int (*relay_pair)(struct relay_ends *a, struct relay_ends *b);
	/* Passes on what comes and goes until it ends.  Closes all. */
	void (*relay)(struct link *l, const struct relay_ends *e);
	/* Says a line of this log_level there. */
	void (*relay_say)(
	    const struct relay_ends *e, int level, const char *line);
	/*
	 * Who has a brain itself instead of a link says whose it is, and at the
	 * end how it ended: 0, or one of base/link.h's codes.  Closes e.
	 */
	void (*relay_begin)(const struct relay_ends *e, const char *peer);
	void (*relay_end)(const struct relay_ends *e, int error);
	/* In the process that syncs: over these, which are dup'ed. */
	int (*join)(const struct relay_ends *e, const struct far_settings *s,
	    struct link **l, struct channel **c);
};

/* All that the mains hand in. */
struct backends {
	drivers drivers;
	const struct dialer *dialer; /* NULL: nothing is far */
	const struct sandbox *sandbox; /* NULL: there is none */
};

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
