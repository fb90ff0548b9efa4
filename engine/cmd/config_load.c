/*
 * config_load -- which file is the configuration, and what holds without one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/log.h"
#include "cmd/cmd_internal.h"
#include "cmd/config_internal.h"

#define SYSTEM_FILE "/etc/dsyncfs/dsyncfs.conf"

/*
 * The XDG directory of the variable, else below the home directory; NULL: no
 * memory or no home.
 */
static const char *
xdg(struct arena *a, const char *variable, const char *below_home)
{
	const char *v = getenv(variable), *home = getenv("HOME");

	if (v != NULL && *v == '/')
		return (arena_strdup(a, v));
	if (home == NULL || *home != '/')
		return (NULL);
	return (arena_printf(a, "%s/%s", home, below_home));
}

static int
defaults(struct config *c)
{
	struct buf b = BUF_INIT;
	const char *data;

	memset(c, 0, sizeof(*c));
	arena_init(&c->arena);
	store_settings_default(&c->store);
	c->sync = (struct config_value){ "manual", "default" };
	c->layout = (struct config_value){ "maildir++", "default" };
	c->commit = 1;
	c->stale_names = 60;
	c->max_delete_percent = 50;
	c->max_delete_min = 20;
	c->alt_char = '_';
	c->max_parallel = 4;
	c->first_valid_uid = 500;
	c->sandbox = true;
	data = xdg(&c->arena, "XDG_DATA_HOME", ".local/share");
	c->mail_location.origin = "default";
	if (data != NULL) {
		buf_printf(&b, "dsyncfs:");
		location_put(&b, data, true);
		buf_printf(&b, "/dsyncfs");
		c->mail_location.text = arena_strdup(&c->arena, buf_cstr(&b));
		if (c->mail_location.text == NULL)
			c->arena.error = -ENOMEM;
	}
	buf_fini(&b);
	return (c->arena.error);
}

int
config_read_file(const char *file, char **text, size_t *len)
{
	struct buf b = BUF_INIT;
	struct stat st;
	ssize_t n = 0;
	int fd, r = 0;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return (-errno);
	if (fstat(fd, &st) != 0)
		r = -errno;
	else if (S_ISDIR(st.st_mode))
		r = -EISDIR;
	while (r == 0 && b.len <= CONFIG_FILE_MAX) {
		r = buf_reserve(&b, 65536);
		n = r != 0 ? 0 : read(fd, b.data + b.len, 65536);
		if (n < 0)
			r = errno == EINTR ? 0 : -errno;
		else if (n == 0)
			break;
		else
			b.len += (size_t)n;
	}
	close(fd);
	if (r == 0 && b.len > CONFIG_FILE_MAX)
		r = -EFBIG;
	if (r == 0 && buf_cstr(&b) == NULL)
		r = -ENOMEM;
	if (r != 0) {
		buf_fini(&b);
		return (r);
	}
	*text = (char *)b.data;
	*len = b.len;
	return (0);
}

static int
from_dovecot(struct config *c, const char *file)
{
	char *value;
	int r;

	r = dovecot_mail_location(file, &value);
	if (r != 0)
		return (r);
	c->mail_location.text = arena_strdup(&c->arena, value);
	c->mail_location.origin = file;
	free(value);
	return (c->mail_location.text == NULL ? -ENOMEM : 0);
}

/* given: by the user, so that it has to be there. */
static int
load_file(struct config *c, const char *file, bool given)
{
	char *text = NULL;
	size_t n = 0;
	int r;

	r = config_read_file(file, &text, &n);
	if (r == -ENOENT && !given)
		return (r);
	if (r != 0) {
		log_error("%s: cannot read the configuration: %s", file,
		    strerror(-r));
		return (r);
	}
	c->file = arena_strdup(&c->arena, file);
	if (c->file == NULL)
		r = -ENOMEM;
	else if (given && dovecot_config_looks(text))
		r = from_dovecot(c, c->file);
	else if ((c->text = arena_strdup(&c->arena, text)) == NULL)
		r = -ENOMEM;
	else
		r = config_text(c, c->file, text, n);
	free(text);
	return (r > 0 ? -EINVAL : r);
}

/* The user's own file, else the system's, else none. */
static int
search(struct config *c)
{
	const char *dir = xdg(&c->arena, "XDG_CONFIG_HOME", ".config"),
		   *file = NULL;
	int r;

	if (dir != NULL &&
	    (file = arena_printf(&c->arena, "%s/dsyncfs/dsyncfs.conf", dir)) ==
		NULL)
		return (-ENOMEM);
	if (file != NULL && (r = load_file(c, file, false)) != -ENOENT)
		return (r);
	r = load_file(c, SYSTEM_FILE, false);
	return (r == -ENOENT ? 0 : r);
}

static int
override_all(struct config *c, const char *const *v, size_t n)
{
	int r, bad = 0;

	for (size_t i = 0; i < n; i++) {
		r = config_override(c, v[i]);
		if (r == -ENOMEM)
			return (r);
		bad |= r;
	}
	return (bad != 0 ? -ENOTSUP : 0);
}

int
config_load(struct config *c, const char *file, const char *const *overrides,
    size_t n_overrides)
{
	char *full = NULL;
	int r;

	r = defaults(c);
	if (r != 0)
		goto fail;
	if (file != NULL) {
		full = realpath(file, NULL);
		r = load_file(c, full != NULL ? full : file, true);
		free(full);
	} else
		r = search(c);
	if (r == 0)
		r = override_all(c, overrides, n_overrides);
	if (r == 0 && c->mail_location.text == NULL) {
		log_error("no mail_location, and no home directory to look for "
			  "a store in: set HOME, or give -o mail_location=...");
		r = -EINVAL;
	}
	if (r == 0)
		return (0);
fail:
	config_fini(c);
	return (r);
}

int
config_given(struct config *c, const char *file, const char *text,
    const char *const *overrides, size_t n_overrides)
{
	int r = defaults(c);

	if (r == 0 && file != NULL && text != NULL) {
		c->file = arena_strdup(&c->arena, file);
		c->text = arena_strdup(&c->arena, text);
		r = c->file == NULL || c->text == NULL
		    ? -ENOMEM
		    : config_text(c, c->file, c->text, strlen(c->text));
		r = r > 0 ? -EINVAL : r;
	}
	if (r == 0)
		r = override_all(c, overrides, n_overrides);
	if (r != 0)
		config_fini(c);
	return (r);
}

void
config_fini(struct config *c)
{
	arena_fini(&c->arena);
	memset(c, 0, sizeof(*c));
}

const char *
config_template(void)
{
	return (
	    "# dsyncfs.conf -- dsyncfs.conf(5) explains every key.  What is "
	    "commented out\n"
	    "# shows its default.  A time takes s, min, h, d or w, a size k, M "
	    "or G.\n"
	    "\n"
	    "# Where the mail is: driver:path.  Default: "
	    "$XDG_DATA_HOME/dsyncfs.\n"
	    "#mail_location = dsyncfs:~/.local/share/dsyncfs\n"
	    "\n"
	    "# What a mount keeps itself mirrored with, and `flush` mirrors "
	    "with: a location\n"
	    "# or the name of a remote section.  Default: nothing.\n"
	    "#remote = laptop\n"
	    "\n"
	    "# When the mount syncs by itself: manual, a time, or push: after "
	    "each burst of\n# changes, also of those over there.\n"
	    "#sync = manual\n"
	    "\n"
	    "# How mailboxes nest in the mounted view: maildir++ (.A.B) or fs "
	    "(A/B).\n"
	    "#layout = maildir++\n"
	    "\n"
	    "# At most this long until a change is on disk without an fsync.\n"
	    "#commit = 1s\n"
	    "\n"
	    "# How long the old name of a message can still be opened after "
	    "its flags changed.\n"
	    "#stale_names = 60s\n"
	    "\n"
	    "# A sync that would expunge more of a mailbox than this, all of "
	    "it, or delete it\n"
	    "# with its messages, stops (status 4).  no: never stops.  "
	    "max_delete_min: not for\n"
	    "# mailboxes with fewer messages; nor with fewer than 6 that "
	    "would be emptied.\n"
	    "#max_delete = 50%\n"
	    "#max_delete_min = 20\n"
	    "\n"
	    "# Stands for characters that a mailbox name may not have at the "
	    "other side.\n"
	    "#alt_char = _\n"
	    "\n"
	    "# How long an expunged message can be taken back with `restore`.\n"
	    "#expunge_retention = 30d\n"
	    "\n"
	    "# Compression of bodies: 0 (never) to 19.\n"
	    "#zstd_level = 1\n"
	    "\n"
	    "# Memory for pages of the index.\n"
	    "#cache_size = 32M\n"
	    "\n"
	    "# A far side by ssh: what runs there; %u is USER of USER@HOST.  "
	    "Default:\n"
	    "# dsyncfs-sync, or else doveadm.\n"
	    "#dsync_remote_cmd = doveadm dsync-server -u%u\n"
	    "# What prints the passphrase of a key.  Default: keys without "
	    "one, and the agent.\n"
	    "#ssh_passphrase_command = pass show ssh\n"
	    "\n"
	    "# A far side by tcp: or tcps:, a doveadm server: its "
	    "doveadm_password, in a file\n"
	    "# that only you can read, or from a command; who may sign its "
	    "certificate.\n"
	    "#doveadm_password_file = /home/me/.doveadm\n"
	    "#doveadm_password_command = pass show doveadm\n"
	    "#ssl_client_ca_file = /etc/ssl/certs/ca-certificates.crt\n"
	    "\n"
	    "# Run by sh when a sync has changed something here, with the "
	    "names of the changed\n# mailboxes on its standard input, a line "
	    "each.\n"
	    "#post_sync_command = notmuch new\n"
	    "\n"
	    "# Where a mount writes figures for Prometheus.\n"
	    "#metrics_file = /run/user/1000/dsyncfs.prom\n\n"
	    "# With -A and -F: how many users at a time; with -A: whose "
	    "UIDs (0: no end).\n"
	    "#max_parallel = 4\n"
	    "#first_valid_uid = 500\n"
	    "#last_valid_uid = 0\n\n"
	    "# no: a command that reads what others wrote keeps rights that it "
	    "does not need.\n"
	    "#sandbox = yes\n\n"
	    "# Other places, by name: `dsyncfs-sync mirror laptop`.\n"
	    "#remote laptop {\n"
	    "#\tlocation = maildir:/media/laptop/Maildir\n"
	    "#\tmode = mirror\n"
	    "#\tsync = manual\n"
	    "#\t# Only a part of the mail, as -m -x -t -e -I -O and -1 do; "
	    "mailbox and exclude\n"
	    "#\t# may stand several times.  A time ago counts from each "
	    "sync.\n"
	    "#\t#mailbox = INBOX\n#\t#exclude = \\Trash\n"
	    "#\t#since = 90d\n#\t#until = 2026-03-01\n"
	    "#\t#max_size = 10M\n#\t#flag = \\Flagged\n"
	    "#\t#one_way = no\n"
	    "#}\n");
}
