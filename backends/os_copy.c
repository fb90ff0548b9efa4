/*
 * os_copy -- copies the files of one tree into another.
 */
#include "backends/os_copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK 65536u

struct copy {
	struct os *from, *to;
	const char *dir;
	char *chunk; /* owned by os_copy_tree */
};

static int
copy_file(struct copy *c, const char *path)
{
	struct os_file *in, *out;
	uint64_t off = 0;
	ssize_t n;
	int rc = c->from->ops->open(c->from, path, OS_READ, &in);

	if (rc != 0)
		return (rc);
	rc =
	    c->to->ops->open(c->to, path, OS_WRITE | OS_CREATE | OS_EXCL, &out);
	if (rc != 0) {
		c->from->ops->close(in);
		return (rc);
	}
	while ((n = c->from->ops->pread(in, c->chunk, CHUNK, off)) > 0) {
		rc = c->to->ops->pwrite(out, c->chunk, (size_t)n, off);
		if (rc != 0)
			break;
		off += (uint64_t)n;
	}
	c->to->ops->close(out);
	c->from->ops->close(in);
	return (rc == 0 && n < 0 ? (int)n : rc);
}

static int copy_dir(struct copy *c, const char *dir);

static int
copy_one(void *arg, const struct os_dirent *e)
{
	struct copy *c = arg;
	char *path = NULL;
	int rc = 0;

	if (asprintf(
		&path, "%s%s%s", c->dir, *c->dir != 0 ? "/" : "", e->name) < 0)
		return (-ENOMEM);
	if (e->type == OS_FILE)
		rc = copy_file(c, path);
	else if (e->type == OS_DIR) {
		rc = c->to->ops->mkdir(c->to, path);
		if (rc == 0)
			rc = copy_dir(c, path);
	}
	free(path);
	return (rc);
}

static int
copy_dir(struct copy *c, const char *dir)
{
	const char *above = c->dir;
	int rc;

	c->dir = dir;
	rc = c->from->ops->list(c->from, dir, copy_one, c);
	c->dir = above;
	return (rc);
}

int
os_copy_tree(struct os *from, struct os *to)
{
	struct copy c = { .from = from, .to = to, .chunk = malloc(CHUNK) };
	int rc = c.chunk == NULL ? -ENOMEM : copy_dir(&c, "");

	free(c.chunk);
	return (rc);
}
