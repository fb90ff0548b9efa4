/*
 * mount_options -- the words of dsyncfs's command line and of -o.
 */
#include "fs/mount_options.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"

const char mount_usage[] =
    "usage: dsyncfs [-f] [-d] [-c FILE] [-u USER] [-o OPT[,OPT...]] [STORE] "
    "MOUNTPOINT\n"
    "Mounts a store as a Maildir.  STORE is dsyncfs:PATH (made when missing);\n"
    "without it mail_location of the configuration.\n"
    "  -f       stay in the foreground     -d  say what is done\n"
    "  -o OPT   layout=maildir++|fs remote=LOCATION sync=manual|push|SECONDS\n"
    "           commit=SECONDS stale_names=SECONDS ro allow_other uid= gid=\n"
    "           umask= setuid=USER and what mount.fuse3(8) knows\n"
    "Unmount with: fusermount3 -u MOUNTPOINT.  See dsyncfs(1).\n";

static int
number(const char *opt, const char *value, int base, long max, long *out)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, base);
	if (errno != 0 || end == value || *end != '\0' || n < 0 || n > max) {
		log_error("option -o %s: '%s' is not a number from 0 to %ld",
		    opt, value, max);
		return (-EINVAL);
	}
	*out = n;
	return (0);
}

/* Words of fstab that mean nothing to a mounted file system. */
static bool
is_for_others(const char *opt)
{
	static const char *const words[] = { "rw", "defaults", "auto", "noauto",
		"user", "nouser", "users", "nofail", "fail", "_netdev", "group",
		"owner", "async", NULL };
	size_t i;

	for (i = 0; words[i] != NULL; i++)
		if (strcmp(opt, words[i]) == 0)
			return (true);
	return (strncmp(opt, "x-", 2) == 0 || strncmp(opt, "comment=", 8) == 0);
}

static int
pass_on(struct mount_options *o, const char *opt)
{
	char *grown;

	if (asprintf(&grown, "%s%s%s", o->fuse, o->fuse[0] != '\0' ? "," : "",
		opt) < 0)
		return (-ENOMEM);
	free(o->fuse);
	o->fuse = grown;
	return (0);
}

static const char *
value_of(const char *opt, const char *key)
{
	size_t n = strlen(key);

	return (
	    strncmp(opt, key, n) == 0 && opt[n] == '=' ? opt + n + 1 : NULL);
}

static int
one_option(struct mount_options *o, const char *opt)
{
	const char *v;
	long n = 0;
	int error;

	if (opt[0] == '\0' || is_for_others(opt))
		return (0);
	if (strcmp(opt, "ro") == 0) {
		o->readonly = true;
		return (pass_on(o, opt));
	}
	if (strcmp(opt, "allow_other") == 0) {
		o->allow_other = true;
		return (pass_on(o, opt));
	}
	if ((v = value_of(opt, "layout")) != NULL) {
		o->layout = v;
		return (0);
	}
	if ((v = value_of(opt, "remote")) != NULL) {
		o->remote = v;
		return (0);
	}
	if ((v = value_of(opt, "sync")) != NULL) {
		o->sync = v;
		return (0);
	}
	/* As mount.fuse3(8) has it, which fstab may not have in between. */
	if ((v = value_of(opt, "setuid")) != NULL) {
		o->user = v;
		return (0);
	}
	if ((v = value_of(opt, "commit")) != NULL)
		return (number("commit", v, 10, 3600, &o->commit));
	if ((v = value_of(opt, "stale_names")) != NULL)
		return (number("stale_names", v, 10, 86400, &o->stale_names));
	if ((v = value_of(opt, "uid")) != NULL) {
		if ((error = number("uid", v, 10, UINT32_MAX - 1, &n)) == 0)
			o->uid = (uid_t)n;
		return (error);
	}
	if ((v = value_of(opt, "gid")) != NULL) {
		if ((error = number("gid", v, 10, UINT32_MAX - 1, &n)) == 0)
			o->gid = (gid_t)n;
		return (error);
	}
	if ((v = value_of(opt, "umask")) != NULL) {
		if ((error = number("umask", v, 8, 0777, &n)) == 0)
			o->umask = (mode_t)n;
		return (error);
	}
	return (pass_on(o, opt));
}

/* Commas part options; a backslash keeps one (mount(8) writes them so). */
static int
option_list(struct mount_options *o, char *list)
{
	char *from = list, *to = list, *start = list;
	int error = 0;

	for (; error == 0; from++) {
		if (*from == '\\' && from[1] != '\0') {
			*to++ = *++from;
			continue;
		}
		if (*from != ',' && *from != '\0') {
			*to++ = *from;
			continue;
		}
		{
			bool last = *from == '\0';

			*to = '\0';
			error = one_option(o, start);
			start = to = from + 1;
			if (last)
				break;
		}
	}
	return (error);
}

int
mount_options_parse(struct mount_options *o, int argc, char **argv)
{
	int c, error = 0;

	memset(o, 0, sizeof(*o));
	o->commit = o->stale_names = -1;
	o->uid = getuid();
	o->gid = getgid();
	o->umask = 077;
	if ((o->fuse = strdup("")) == NULL)
		return (-ENOMEM);
	opterr = 0;
	while (error == 0 && (c = getopt(argc, argv, "fdc:u:o:hVsnv")) != -1)
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'd':
			o->debug = o->foreground = true;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'o':
			error = option_list(o, optarg);
			break;
		case 'h':
			o->help = true;
			break;
		case 'V':
			o->version = true;
			break;
		case 's': /* mount(8) may hand these on */
		case 'n':
		case 'v':
			break;
		default:
			log_error("option -%c: not known, or its value is "
				  "missing; see dsyncfs -h",
			    optopt);
			error = -EINVAL;
		}
	if (error != 0 || o->help || o->version)
		return (error);
	if (argc - optind < 1 || argc - optind > 2) {
		log_error("%s; usage: dsyncfs [options] [STORE] MOUNTPOINT",
		    argc - optind < 1 ? "no mount point given"
				      : "too many arguments");
		return (-EINVAL);
	}
	o->mountpoint = argv[argc - 1];
	if (argc - optind == 2)
		o->store = argv[optind];
	return (0);
}

/*
 * A system's manager, which mounts what fstab has, says of nobody where he is
 * at home.
 */
int
mount_options_user(struct mount_options *o)
{
	const struct passwd *pw;
	int status;

	if (o->user != NULL) {
		if ((status = user_switch(o->user)) != 0)
			return (status);
		o->uid = getuid();
		o->gid = getgid();
	} else if (getenv("HOME") == NULL && (pw = getpwuid(getuid())) != NULL)
		(void)setenv("HOME", pw->pw_dir, 1);
	return (0);
}

void
mount_options_fini(struct mount_options *o)
{
	free(o->fuse);
	o->fuse = NULL;
}

void
mount_options_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}
