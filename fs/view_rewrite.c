/*
 * view_rewrite -- a message, subscriptions or dovecot-keywords being written
 * to in place: a copy under scratch/ takes the writes, and becomes the new
 * content when it has settled.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES (128u << 10)
#define EDIT_MAX (16u << 20)

/* ---- rewriting a message ---- */

static int
copy_body(struct view *v, const struct body_ref *ref, int fd)
{
	struct body *b;
	char *chunk;
	uint64_t off = 0;
	ssize_t got;
	int error;

	if ((error = body_open(v->store, ref, &b)) != 0)
		return (error);
	if ((chunk = malloc(COPY_BYTES)) == NULL) {
		body_close(b);
		return (-ENOMEM);
	}
	while ((got = body_read(b, chunk, COPY_BYTES, off)) > 0) {
		if (pwrite(fd, chunk, (size_t)got, (off_t)off) != got) {
			got = errno != 0 ? -errno : -EIO;
			break;
		}
		off += (uint64_t)got;
	}
	free(chunk);
	body_close(b);
	return ((int)(got < 0 ? got : 0));
}

static int
dirty_message(struct view *v, struct arena *a, uint32_t box,
    const struct msg *m, struct scratch **out)
{
	struct scratch *s = NULL;
	char name[64], *path;
	int error, fd;

	(void)snprintf(
	    name, sizeof(name), "%" PRIu32 ".%" PRIu64, m->uid, m->ino);
	if ((path = scratch_path(box, 'd', name)) == NULL)
		return (-ENOMEM);
	if ((error = scratch_box_dir(v, box, 'd')) != 0) {
		free(path);
		return (error);
	}
	error = scratch_new(v, m->ino, SCRATCH_DIRTY, box, path, &s);
	if (error != 0)
		return (error);
	fd = openat(v->dir, s->path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		error = -errno;
		goto fail;
	}
	s->fd = fd;
	if ((s->name = msg_file_name(v, a, box, m)) == NULL ||
	    (s->name = strdup(s->name)) == NULL) {
		error = -ENOMEM;
		goto fail;
	}
	s->part = msg_part(m);
	if ((error = copy_body(v, &m->body, fd)) != 0)
		goto fail;
	*out = s;
	return (0);
fail:
	scratch_drop(v, s, false);
	return (error);
}

/* A message that is gone but open: a copy for those only who have it open. */
static int
dirty_zombie(struct view *v, uint64_t ino, struct scratch **out)
{
	struct scratch *s = NULL;
	struct zombie *z;
	char path[48];
	int error, fd;

	HASH_FIND(hh, v->zombies, &ino, sizeof(ino), z);
	if (z == NULL)
		return (-ESTALE);
	scratch_gone_path(ino, path);
	error = scratch_new(v, ino, SCRATCH_DIRTY, v->inbox, strdup(path), &s);
	if (error != 0)
		return (error);
	s->unlinked = s->aside = true;
	fd = openat(v->dir, path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		error = -errno;
	else {
		s->fd = fd;
		error = copy_body(v, &z->body, fd);
	}
	if (error != 0)
		scratch_drop(v, s, false);
	else
		*out = s;
	return (error);
}

int
scratch_dirty(struct view *v, uint64_t ino, struct scratch **out)
{
	struct arena a = ARENA_INIT;
	struct msg m;
	uint32_t box;
	int error;

	error = msg_by_ino(v, &a, ino, &box, &m, NULL);
	if (error == 0)
		error = dirty_message(v, &a, box, &m, out);
	else if (error == -ENOENT)
		error = dirty_zombie(v, ino, out);
	arena_fini(&a);
	return (error);
}

struct replace {
	struct view *v;
	struct arena a;
	struct txn *t;
	struct msg as; /* the new body and dates */
	struct {
		uint32_t box, uid; /* the new one's */
		struct msg m;
	} * inst;
	size_t n;
};

static int
note_replaced(void *arg, uint32_t box, const struct msg *m)
{
	struct replace *r = arg;
	void *p = realloc(r->inst, (r->n + 1) * sizeof(*r->inst));
	struct msg *to;

	if (p == NULL)
		return (-ENOMEM);
	r->inst = p;
	r->inst[r->n].box = box;
	to = &r->inst[r->n].m;
	*to = *m;
	to->name = arena_strdup(&r->a, m->name);
	to->letters =
	    m->letters == NULL ? NULL : arena_strdup(&r->a, m->letters);
	to->pop3_uidl = NULL;
	r->n++;
	return (keywords_copy(&r->a, &m->keywords, &to->keywords));
}

/* Every name of the file gets the new content, under one new GUID. */
static int
replace_all(struct replace *r)
{
	char guid[GUID_HEX_LEN + 1];
	struct os *os = store_os(r->v->store);
	struct guid g;
	size_t i;
	int error;

	if ((error = os_guid(os, g.b)) != 0 ||
	    (error = txn_begin(r->v->store, NULL, &r->t)) != 0)
		return (error);
	for (i = 0; i < r->n && error == 0; i++) {
		struct msg m = r->inst[i].m;

		error = txn_expunge(r->t, r->inst[i].box, m.uid);
		m.uid = 0;
		m.modseq = 0;
		m.guid = guid_hex(&g, guid);
		m.body = r->as.body;
		m.vsize = r->as.vsize;
		m.mtime = r->as.mtime;
		m.mtime_nsec = r->as.mtime_nsec;
		m.saved = r->as.saved;
		m.state |= MSG_NAMED;
		if (error == 0)
			error = txn_save(
			    r->t, r->inst[i].box, &m, &r->inst[i].uid);
	}
	error = view_finish(r->t, error);
	for (i = 0; i < r->n && error == 0; i++)
		placed_put(r->v, r->inst[i].box, r->inst[i].m.uid,
		    r->inst[i].uid, list_offset(r->inst[i].m.uid));
	return (error);
}

/*
 * Expunged meanwhile elsewhere: what was written is kept, under its name or,
 * where another message has that by now, beside it.
 */
static int
save_apart(struct view *v, struct scratch *s)
{
	size_t base = mail_base_len(s->name);
	char *name;
	int error;

	if (box_by_id(v, s->box) == NULL)
		s->box = v->inbox;
	error = scratch_save(v, s, s->box, s->part, s->name);
	if (error == -EEXIST) {
		if (asprintf(&name, "%.*s.%" PRIu64 "%s", (int)base, s->name,
			s->node, s->name + base) < 0)
			return (-ENOMEM);
		error = scratch_save(v, s, s->box, s->part, name);
		free(name);
	}
	if (error == 0)
		kept_mail(v, s->box);
	return (error);
}

int
scratch_settle_dirty(struct view *v, struct scratch *s)
{
	struct replace r = { .v = v };
	int error;

	error = store_msgs_by_ino(v->store, s->node, note_replaced, &r);
	if (error == 0)
		error = scratch_body(v, s, &r.as);
	if (error != 0)
		goto out;
	if (r.n == 0)
		error = save_apart(v, s);
	else if (!scratch_same_body(&r.inst[0].m.body, &r.as.body))
		error = replace_all(&r);
	for (size_t i = 0; error == 0 && i < r.n; i++)
		kept_mail(v, r.inst[i].box);
	if (error == 0) {
		view_tell(v, FORGET_ATTR, s->node, NULL);
		error = scratch_set_aside(v, s);
	}
	if (error == 0)
		scratch_drop(v, s, true);
out:
	free(r.inst);
	arena_fini(&r.a);
	return (error);
}

/* ---- subscriptions and keywords ---- */

int
scratch_read_all(struct view *v, struct scratch *s, char **p, size_t *n)
{
	struct stat st;
	ssize_t got;
	int fd = scratch_fd(v, s);
	char *text;

	if (fd < 0)
		return (fd);
	if (fstat(fd, &st) != 0)
		return (-errno);
	if (st.st_size > (off_t)EDIT_MAX)
		return (-EFBIG);
	if ((text = malloc((size_t)st.st_size + 1)) == NULL)
		return (-ENOMEM);
	if ((got = pread(fd, text, (size_t)st.st_size, 0)) < 0) {
		free(text);
		return (-errno);
	}
	text[got] = '\0';
	*p = text;
	*n = (size_t)got;
	return (0);
}

int
scratch_edit(struct view *v, uint64_t node, struct scratch **out)
{
	struct scratch *s;
	char *path, *text;
	size_t n;
	int error, fd;

	if (asprintf(&path, "scratch/edit/%" PRIx64, node) < 0)
		return (-ENOMEM);
	error =
	    scratch_new(v, node, SCRATCH_EDIT, special_box(v, node), path, &s);
	if (error != 0)
		return (error);
	fd = openat(v->dir, path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		error = -errno;
		goto fail;
	}
	s->fd = fd;
	if ((error = special_text(v, node, &text, &n)) != 0)
		goto fail;
	if (pwrite(fd, text, n, 0) != (ssize_t)n)
		error = errno != 0 ? -errno : -EIO;
	free(text);
	if (error != 0)
		goto fail;
	*out = s;
	return (0);
fail:
	scratch_drop(v, s, false);
	return (error);
}

int
scratch_settle_edit(struct view *v, struct scratch *s)
{
	uint64_t node = s->node;
	char *text;
	size_t n;
	int error;

	if ((error = scratch_read_all(v, s, &text, &n)) == 0) {
		error = special_apply(v, node, text, n);
		free(text);
	}
	scratch_drop(v, s, false);
	view_tell(v, FORGET_INODE, node, NULL);
	return (error);
}
