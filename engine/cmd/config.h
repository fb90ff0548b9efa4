/*
 * config -- dsyncfs.conf(5): `key = value`, `section name { ... }`, # comments.
 * Unknown keys are refused with file and line.
 *
 * Read from -c FILE, else $XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf (default
 * ~/.config), else /etc/dsyncfs/dsyncfs.conf, else defaults.  A Dovecot
 * configuration given by -c is read through doveconf(1) where that is
 * installed.
 */
#ifndef DSYNCFS_CMD_CONFIG_H
#define DSYNCFS_CMD_CONFIG_H

#include "base/arena.h"
#include "store/store.h"

/* origin: "FILE:LINE", "option -o", "default" */
struct config_value {
	const char *text;
	const char *origin;
};

/* A filter of a remote section: what mirror and backup have as an option. */
struct config_filter {
	const char *option; /* its long name */
	struct config_value value; /* checked; of one-way: yes or no */
};

struct config_remote {
	const char *name;
	/* mode: mirror (default) or backup; text NULL when not set */
	struct config_value location, mode, sync;
	/* as they stand in the file; they hold where LOCATION2 is name */
	struct config_filter *filter;
	size_t n_filters;
};

struct config {
	struct arena arena;
	/* default dsyncfs:$XDG_DATA_HOME/dsyncfs */
	struct config_value mail_location;
	/* remote = LOCATION2: what a mount mirrors with; NULL */
	struct config_value remote;
	struct config_value sync; /* manual | push | SECONDS */
	struct config_value layout; /* maildir++ | fs */
	unsigned commit; /* seconds, 1 */
	unsigned stale_names; /* seconds, 60 */
	unsigned max_delete_percent; /* max_delete = 50% */
	bool max_delete_set; /* by the user */
	/* never below this many messages */
	unsigned max_delete_min;
	char alt_char;
	/* expunge_retention = 30d, zstd_level, cache_size */
	struct store_settings store;
	bool cache_given; /* store.cache_bytes is not the default */
	/* how a far side is reached; NULL where not set */
	const char *dsync_remote_cmd, *doveadm_password_file,
	    *doveadm_password_command, *ssh_passphrase_command,
	    *ssl_client_ca_file;
	/* run when a sync has changed something here; NULL */
	const char *post_sync_command;
	/* where a mount writes figures for Prometheus, absolute; NULL */
	const char *metrics_file;
	/* -A and -F: processes at a time; -A: UIDs, last 0: no end */
	unsigned max_parallel, first_valid_uid, last_valid_uid;
	/* a process that reads a peer's bytes gives up what it can */
	bool sandbox;
	struct config_remote *remotes;
	size_t n_remotes;
	/*
	 * that was read, absolute; NULL: none was there; and what it holds,
	 * NULL where that is somebody else's format
	 */
	const char *file, *text;
};

/*
 * file NULL: search.  overrides: "KEY=VALUE" of -o.  -EINVAL reported
 * (FILE:LINE: what, what would be right), -ENOENT file given but missing,
 * -EACCES.
 */
/* A mistake in an override is -ENOTSUP. */
int config_load(struct config *c, const char *file,
    const char *const *overrides, size_t n_overrides);
/* The same of a text that somebody else has read from file; both may be NULL. */
int config_given(struct config *c, const char *file, const char *text,
    const char *const *overrides, size_t n_overrides);
void config_fini(struct config *c);
const struct config_remote *config_remote_find(
    const struct config *c, const char *name);
/*
 * A value of sync: push, or an interval in seconds, or with 0 manual.  -EINVAL.
 */
int config_sync(const char *text, bool *push, unsigned *seconds);
/* The commented configuration that init-config writes. */
const char *config_template(void);

#endif
