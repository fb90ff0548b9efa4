/*
 * metrics -- figures of a mount as a file for Prometheus.
 */
#include "fs/metrics.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* By rename, so that who reads it sees all or nothing. */
static int
write_file(const char *file, const struct buf *b)
{
	char tmp[PATH_MAX];
	FILE *f;
	int e = 0;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", file) >= (int)sizeof(tmp))
		return (-ENAMETOOLONG);
	if ((f = fopen(tmp, "we")) == NULL)
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

	scheduler_metrics(s, &b);
	e = b.error != 0 ? b.error : write_file(file, &b);
	if (e != 0 && e != failed)
		log_warning("metrics_file: %s: %s", file, strerror(-e));
	failed = e;
	buf_fini(&b);
}
