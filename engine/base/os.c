/*
 * os -- whole small files, made of the members of struct os.
 *
 * Like the members, these report nothing: the caller knows what the file was
 * for.
 */
#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
os_read_file(struct os *os, const char *path, size_t max, char **p, size_t *n)
{
	struct os_file *f = NULL;
	struct os_stat st;
	char *data = NULL;
	ssize_t got;
	int rc;

	if ((rc = os->ops->open(os, path, OS_READ, &f)) != 0)
		return (rc);
	if ((rc = os->ops->fstat(f, &st)) != 0)
		goto fail;
	if (st.size > max || st.size > SIZE_MAX / 2) {
		rc = -EFBIG;
		goto fail;
	}
	if ((data = malloc((size_t)st.size + 1)) == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	if ((got = os->ops->pread(f, data, (size_t)st.size, 0)) < 0) {
		rc = (int)got;
		goto fail;
	}
	os->ops->close(f);
	data[got] = 0;
	*p = data;
	*n = (size_t)got;
	return (0);
fail:
	free(data);
	os->ops->close(f);
	return (rc);
}

/* The directory a path lies in ("" for the root), malloc'd. */
static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return (strndup(path, slash == NULL ? 0 : (size_t)(slash - path)));
}

static int
write_synced(struct os *os, const char *path, const void *p, size_t n)
{
	struct os_file *f;
	int rc;

	if ((rc = os->ops->open(
		 os, path, OS_WRITE | OS_CREATE | OS_TRUNC, &f)) != 0)
		return (rc);
	if (n > 0)
		rc = os->ops->pwrite(f, p, n, 0);
	if (rc == 0)
		rc = os->ops->sync(f);
	os->ops->close(f);
	return (rc);
}

int
os_replace_file(struct os *os, const char *path, const void *p, size_t n)
{
	char *tmp = NULL, *dir = NULL;
	int rc = -ENOMEM;

	if ((dir = parent_of(path)) == NULL ||
	    asprintf(&tmp, "%s.tmp", path) < 0) {
		tmp = NULL;
		goto fail;
	}
	if ((rc = write_synced(os, tmp, p, n)) != 0 ||
	    (rc = os->ops->rename(os, tmp, path)) != 0) {
		/*
		 * The first error is the one to tell; a leftover is truncated
		 * next time.
		 */
		(void)os->ops->unlink(os, tmp);
		goto fail;
	}
	rc = os->ops->sync_dir(os, dir);
fail:
	free(tmp);
	free(dir);
	return (rc);
}

/* One level: made with its name durable, or there already. */
static int
mkdir_one(struct os *os, const char *path)
{
	struct os_stat st;
	char *dir;
	int rc;

	if ((rc = os->ops->mkdir(os, path)) == -EEXIST) {
		if ((rc = os->ops->stat(os, path, &st)) != 0)
			return (rc);
		return (st.type == OS_DIR ? 0 : -ENOTDIR);
	}
	if (rc != 0)
		return (rc);
	if ((dir = parent_of(path)) == NULL)
		return (-ENOMEM);
	rc = os->ops->sync_dir(os, dir);
	free(dir);
	return (rc);
}

int
os_mkdirs(struct os *os, const char *path)
{
	char *copy, *slash;
	int rc = 0;

	if (*path == 0)
		return (0);
	if ((copy = strdup(path)) == NULL)
		return (-ENOMEM);
	for (slash = strchr(copy, '/'); rc == 0 && slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		rc = mkdir_one(os, copy);
		*slash = '/';
	}
	if (rc == 0)
		rc = mkdir_one(os, copy);
	free(copy);
	return (rc);
}

int
os_guid(struct os *os, void *guid16)
{
	static const unsigned char zero[16];
	unsigned char g[16];
	int rc;

	do {
		if ((rc = os->ops->random(os, g, sizeof(g))) != 0)
			return (rc);
	} while (memcmp(g, zero, sizeof(g)) == 0);
	memcpy(guid16, g, sizeof(g));
	return (0);
}
