/*
 * conf_cmd -- init-config and check-config.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

/* Where a configuration is looked for first. */
static int
user_file(char out[PATH_MAX])
{
	const char *dir = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (dir != NULL && *dir == '/')
		n = snprintf(out, PATH_MAX, "%s/dsyncfs/dsyncfs.conf", dir);
	else if (home != NULL && *home == '/')
		n = snprintf(
		    out, PATH_MAX, "%s/.config/dsyncfs/dsyncfs.conf", home);
	else
		return (-ENOENT);
	return (n < PATH_MAX ? 0 : -ENAMETOOLONG);
}

static int
make_dirs(char *path)
{
	int r = 0;

	for (char *at = path + 1; r == 0 && (at = strchr(at, '/')) != NULL;
	     at++) {
		*at = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			r = -errno;
		*at = '/';
	}
	return (r);
}

static int
write_new(const char *file, const char *text)
{
	size_t n = strlen(text), at = 0;
	ssize_t k;
	int fd, r = 0;

	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return (-errno);
	while (r == 0 && at < n) {
		k = write(fd, text + at, n - at);
		if (k >= 0)
			at += (size_t)k;
		else if (errno != EINTR)
			r = -errno;
	}
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	if (close(fd) != 0 && r == 0)
		r = -errno;
	if (r != 0)
		/* half a configuration is worse than none */
		(void)unlink(file);
	return (r);
}

int
cmd_init_config(struct cmd *c)
{
	char path[PATH_MAX] = "";
	const char *file = c->o->n_args != 0 ? c->o->args[0] : path;
	int r = 0;

	if (strcmp(file, "-") == 0) {
		out_printf(c, "%s", config_template());
		return (EX_DONE);
	}
	if (file == path) {
		r = user_file(path);
		if (r != 0) {
			log_error("init-config: no home directory to write to: "
				  "set HOME, or name a FILE");
			return (EX_BAD_USAGE);
		}
		r = make_dirs(path);
	}
	if (r == 0)
		r = write_new(file, config_template());
	if (r == -EEXIST)
		log_error("%s is there already and is left as it is: remove it "
			  "first, or write to another FILE",
		    file);
	else if (r != 0)
		log_error("%s: cannot write the configuration: %s", file,
		    strerror(-r));
	else
		out_printf(c, "%s\n", file);
	return (cmd_status_of(r));
}

/*
 * Every location that the configuration names is looked at as well: its form,
 * its driver, its options.
 */
static int
check_places(struct cmd *c)
{
	const struct config *cfg = &c->cfg;
	struct place p;
	int bad, status;

	bad = place_first(c, &p);
	for (size_t i = 0; i < cfg->n_remotes; i++)
		if ((status = place_value(c, &cfg->remotes[i].location, &p)) !=
		    0)
			bad = status;
	if (cfg->remote.text != NULL &&
	    config_remote_find(cfg, cfg->remote.text) == NULL &&
	    (status = place_value(c, &cfg->remote, &p)) != 0)
		bad = status;
	return (bad);
}

int
cmd_check_config(struct cmd *c)
{
	const char *file = c->o->n_args != 0 ? c->o->args[0] : c->o->config;
	int r, status;

	r = config_load(&c->cfg, file, c->o->overrides, c->o->n_overrides);
	if (r != 0)
		return (r == -ENOTSUP  ? EX_BAD_USAGE
			: r == -EACCES ? EX_PERMISSION
			: r == -ENOMEM ? EX_FAIL
				       : EX_BAD_CONFIG);
	status = check_places(c);
	if (status == 0 && c->cfg.file != NULL)
		out_printf(c, "%s: nothing is wrong with it\n", c->cfg.file);
	else if (status == 0)
		out_printf(c,
		    "no configuration file: the defaults hold; init-config "
		    "writes one\n");
	if (status == 0 && !c->o->no_connect)
		status = check_remotes(c);
	config_fini(&c->cfg);
	return (status);
}
