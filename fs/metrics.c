/*
 * metrics -- figures of a mount as a file for Prometheus.
 */
#include "fs/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static void
put_name(struct buf *b, const char *name)
{
	for (; *name != '\0'; name++)
		if (*name == '"' || *name == '\\')
			buf_printf(b, "\\%c", *name);
		else if (*name == '\n')
			buf_printf(b, "\\n");
		else
			buf_put_u8(b, (uint8_t)*name);
}

struct sample {
	const char *name, *type, *help;
	int64_t (*value)(const struct cmd_remote_status *r);
};

static int64_t
last_success(const struct cmd_remote_status *r)
{
	return (r->last_success);
}

static int64_t
last_status(const struct cmd_remote_status *r)
{
	return (r->last_status);
}

static int64_t
is_running(const struct cmd_remote_status *r)
{
	return (r->syncing);
}

static int64_t
runs(const struct cmd_remote_status *r)
{
	return ((int64_t)r->runs);
}

static int64_t
failed(const struct cmd_remote_status *r)
{
	return ((int64_t)r->failed);
}

static int64_t
is_waiting(const struct cmd_remote_status *r)
{
	return ((int64_t)r->waiting);
}

static const struct sample samples[] = {
	{ "dsyncfs_last_success_timestamp_seconds", "gauge",
	    "When the last good sync ended, 0: none since the mount.",
	    last_success },
	{ "dsyncfs_last_status", "gauge", "Exit status of the last sync.",
	    last_status },
	{ "dsyncfs_syncing", "gauge", "1 while a sync runs.", is_running },
	{ "dsyncfs_syncs_total", "counter", "Syncs since the mount.", runs },
	{ "dsyncfs_failed_syncs_total", "counter",
	    "Syncs that failed since the mount.", failed },
	{ "dsyncfs_waiting_changes", "gauge",
	    "Local changes that the remote has not got yet.", is_waiting },
};

static void
put_all(struct scheduler *s, struct buf *b)
{
	struct cmd_remote_status r;

	for (size_t k = 0; k < sizeof(samples) / sizeof(samples[0]); k++) {
		const struct sample *m = &samples[k];

		buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help,
		    m->name, m->type);
		for (size_t i = 0; scheduler_status(s, i, &r); i++) {
			buf_printf(b, "%s{remote=\"", m->name);
			put_name(b, r.name);
			buf_printf(b, "\"} %lld\n", (long long)m->value(&r));
		}
	}
}

/* Others may write to its directory: it is a new file, and no link of theirs. */
static FILE *
make_file(const char *path)
{
	FILE *f;
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (f == NULL && fd >= 0)
		(void)close(fd);
	return (f);
}

/* By rename, so that who reads it sees all or nothing. */
static int
write_file(const char *file, const struct buf *b)
{
	char tmp[PATH_MAX];
	FILE *f;
	int e = 0;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", file) >= (int)sizeof(tmp))
		return (-ENAMETOOLONG);
	if ((f = make_file(tmp)) == NULL)
		return (-errno);
	if (fwrite(b->data, 1, b->len, f) != b->len)
		e = -errno;
	if (fclose(f) != 0 && e == 0)
		e = -errno;
	if (e == 0 && rename(tmp, file) != 0)
		e = -errno;
	return (e);
}

void
metrics_write(const char *file, struct scheduler *s)
{
	static int failed;
	struct buf b = BUF_INIT;
	int e;

	put_all(s, &b);
	e = b.error != 0 ? b.error : write_file(file, &b);
	if (e != 0 && e != failed)
		log_warning("metrics_file: %s: %s", file, strerror(-e));
	failed = e;
	buf_fini(&b);
}
