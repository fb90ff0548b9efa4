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
static int
make_file(const char *path)
{
	(void)unlink(path);
	return (open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
}

static int
copy(int from, int to)
{
	char text[8192];
	ssize_t n;

	while ((n = read(from, text, sizeof(text))) > 0)
		if (write(to, text, (size_t)n) != n)
			return (errno != 0 ? -errno : -EIO);
	return (n < 0 ? -errno : 0);
}

/* By rename, so that who reads it sees all or nothing. */
int
metrics_save(const char *file, int fd)
{
	char tmp[PATH_MAX];
	int out, e;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", file) >= (int)sizeof(tmp))
		return (-ENAMETOOLONG);
	if ((out = make_file(tmp)) < 0)
		return (-errno);
	e = copy(fd, out);
	if (close(out) != 0 && e == 0)
		e = -errno;
	if (e == 0 && rename(tmp, file) != 0)
		e = -errno;
	return (e);
}

void
metrics_write(const char *file, struct scheduler *s, struct broker *broker)
{
	static int failed;
	struct buf b = BUF_INIT;
	int e;

	put_all(s, &b);
	e = b.error != 0 ? b.error : broker_metrics(broker, b.data, b.len);
	if (e != 0 && e != failed)
		log_warning("metrics_file: %s: %s", file, strerror(-e));
	failed = e;
	buf_fini(&b);
}
