/*
 * body -- the bytes of a message.
 *
 * Streams wait in a channel by the hundred before the first is read, so a file
 * is open only while it is being read; that it is there and may be read is
 * known at once.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct file_stream {
	struct stream s;
	struct os *os; /* borrowed */
	/* owned; NULL before the first read and after the end */
	struct os_file *f;
	bool ended;
	uint64_t off;
	/* owned: where to look when it has another name by then */
	char *box, *base;
	char *path; /* owned */
};

static int
open_again(struct file_stream *f)
{
	struct arena a = ARENA_INIT;
	const char *path = f->path;
	int rc = -ENOENT;

	/* It may be renamed between the look and the opening, but not for ever.
	 */
	for (int i = 0; i < 5 &&
	     (rc = f->os->ops->open(f->os, path, OS_READ, &f->f)) == -ENOENT;
	     i++)
		if ((rc = md_find_base(f->os, f->box, f->base, &a, &path)) != 0)
			break;
	if (rc != 0 && rc != -ENOENT)
		(void)md_fail(f->os, path, "read", rc);
	arena_fini(&a);
	return (rc == 0 || rc == -ENOENT || rc == -ENOMEM ? rc : -EIO);
}

static ssize_t
file_read(struct stream *s, void *p, size_t n)
{
	struct file_stream *f = (struct file_stream *)(void *)s;
	ssize_t got;
	int rc;

	if (f->ended || n == 0)
		return (0);
	if (f->f == NULL && (rc = open_again(f)) != 0) {
		if (rc == -ENOENT)
			log_warning("%s/%s: was removed by another program "
				    "before it was read",
			    f->os->ops->label(f->os), f->path);
		return (rc);
	}
	if ((got = f->os->ops->pread(f->f, p, n, f->off)) < 0) {
		(void)md_fail(f->os, f->path, "read", (int)got);
		return (-EIO);
	}
	f->off += (uint64_t)got;
	if (got == 0) {
		f->ended = true;
		f->os->ops->close(f->f);
		f->f = NULL;
	}
	return (got);
}

static void
file_close(struct stream *s)
{
	struct file_stream *f = (struct file_stream *)(void *)s;

	if (f->f != NULL)
		f->os->ops->close(f->f);
	free(f->box);
	free(f->base);
	free(f->path);
	free(f);
}

static const struct stream_ops file_ops = { file_read, file_close };

/*
 * That it can be opened, and how long it is: what a name or a list says of the
 * size is not believed.
 */
static int
look_at(struct file_stream *f)
{
	struct os_stat st;
	int rc = open_again(f);

	if (rc != 0)
		return (rc);
	if ((rc = f->os->ops->fstat(f->f, &st)) != 0)
		(void)md_fail(f->os, f->path, "looked at", rc);
	else
		f->s.size = st.size;
	f->os->ops->close(f->f);
	f->f = NULL;
	return (rc);
}

int
md_body(struct replica *r, uint32_t mailbox, uint32_t uid, struct stream **out)
{
	struct maildir *m = maildir_of(r);
	struct arena a = ARENA_INIT;
	struct file_stream *f = NULL;
	const char *path;
	struct box *b;
	struct msg msg;
	int rc = store_msg(r->store, mailbox, uid, &a, &msg);

	if (rc == 0)
		rc = md_box(m, mailbox, &b);
	if (rc == 0)
		rc = md_find(m, b, &msg, &a, &path);
	if (rc == 0 && (f = calloc(1, sizeof(*f))) == NULL)
		rc = -ENOMEM;
	if (rc == 0) {
		f->s.ops = &file_ops;
		f->os = m->root;
		f->box = strdup(b->dir);
		f->base = strdup(msg.name);
		f->path = strdup(path);
		rc = f->box == NULL || f->base == NULL || f->path == NULL
		    ? -ENOMEM
		    : look_at(f);
	}
	arena_fini(&a);
	if (rc == 0)
		*out = &f->s;
	else if (f != NULL)
		file_close(&f->s);
	return (rc);
}
