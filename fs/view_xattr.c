/*
 * view_xattr -- user.dsyncfs.*: what a Maildir's names cannot say; and the
 * attributes of real files.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define USER "user."
#define PREFIX "user.dsyncfs."

static const char *const msg_names[] = { "uid", "guid", "modseq", "keywords",
	NULL };
static const char *const box_names[] = { "uidvalidity", "uidnext",
	"highestmodseq", "guid", NULL };

static int
msg_value(const struct msg *m, const char *name, struct buf *b)
{
	size_t i;

	if (strcmp(name, "uid") == 0)
		buf_printf(b, "%" PRIu32, m->uid);
	else if (strcmp(name, "guid") == 0)
		buf_printf(b, "%s", m->guid);
	else if (strcmp(name, "modseq") == 0)
		buf_printf(b, "%" PRIu64, m->modseq);
	else if (strcmp(name, "keywords") == 0)
		for (i = 0; i < m->keywords.n; i++)
			buf_printf(
			    b, "%s%s", i > 0 ? "," : "", m->keywords.name[i]);
	else
		return (-ENODATA);
	return (b->error);
}

static int
box_value(const struct mailbox *m, const char *name, struct buf *b)
{
	char hex[GUID_HEX_LEN + 1];

	if (strcmp(name, "uidvalidity") == 0)
		buf_printf(b, "%" PRIu32, m->uidvalidity);
	else if (strcmp(name, "uidnext") == 0)
		buf_printf(b, "%" PRIu32, m->uidnext);
	else if (strcmp(name, "highestmodseq") == 0)
		buf_printf(b, "%" PRIu64, m->highestmodseq);
	else if (strcmp(name, "guid") == 0)
		buf_printf(b, "%s", guid_hex(&m->guid, hex));
	else
		return (-ENODATA);
	return (b->error);
}

/* The names a node has: a message's, a folder's, or none. */
static const char *const *
names_of(struct view *v, uint64_t node)
{
	enum box_part part;
	struct arena a = ARENA_INIT;
	struct msg m;
	int error;

	if (box_of_folder(v, node) != NULL ||
	    box_of_part(v, node, &part) != NULL)
		return (box_names);
	if ((node & (NODE_AUX | NODE_SPECIAL | NODE_BOX)) != 0)
		return (NULL);
	error = msg_by_ino(v, &a, node, NULL, &m, NULL);
	arena_fini(&a);
	return (error == 0 ? msg_names : NULL);
}

static int
value_of(struct view *v, uint64_t node, const char *name, struct buf *b)
{
	struct arena a = ARENA_INIT;
	enum box_part part;
	struct mailbox mb;
	struct box *box;
	struct msg m;
	int error;

	if ((box = box_of_folder(v, node)) != NULL ||
	    (box = box_of_part(v, node, &part)) != NULL) {
		error = store_mailbox(v->store, box->id, &mb);
		return (error != 0 ? error : box_value(&mb, name, b));
	}
	if ((node & (NODE_AUX | NODE_SPECIAL | NODE_BOX)) != 0)
		return (-ENODATA);
	error = msg_by_ino(v, &a, node, NULL, &m, NULL);
	if (error == 0)
		error = msg_value(&m, name, b);
	arena_fini(&a);
	return (error == -ENOENT ? -ENODATA : error);
}

static ssize_t
give(const struct buf *b, void *p, size_t size)
{
	if (size == 0)
		return ((ssize_t)b->len);
	if (size < b->len)
		return (-ERANGE);
	if (b->len > 0)
		memcpy(p, b->data, b->len);
	return ((ssize_t)b->len);
}

/* ---- of real files ---- */

static bool
is_ours(const char *name)
{
	return (strncmp(name, PREFIX, strlen(PREFIX)) == 0);
}

/*
 * What is real behind the node, as a path: an aux file, or the directory of a
 * folder's files.  -EOPNOTSUPP: nothing is; else the descriptor.
 */
static int
real_path(struct view *v, uint64_t node, char self[64])
{
	int fd;

	if (box_of_folder(v, node) != NULL)
		fd = v->o.readonly ? -EOPNOTSUPP : aux_open_dir(v, node);
	else if ((node & NODE_AUX) != 0)
		fd = aux_open(v, node, O_PATH | O_NOFOLLOW);
	else
		return (-EOPNOTSUPP);
	if (fd >= 0)
		(void)snprintf(self, 64, "/proc/self/fd/%d", fd);
	return (fd);
}

static ssize_t
real_get(struct view *v, uint64_t node, const char *name, void *p, size_t size)
{
	char self[64];
	int fd = real_path(v, node, self);
	ssize_t n;

	if (fd < 0)
		return (fd == -EOPNOTSUPP ? -ENODATA : fd);
	n = getxattr(self, name, p, size);
	if (n < 0)
		n = errno == EOPNOTSUPP ? -ENODATA : -errno;
	(void)close(fd);
	return (n);
}

/* Those that a program has given it, all but what the system adds. */
static int
real_list(struct view *v, uint64_t node, struct buf *b)
{
	char self[64], *all = NULL, *at;
	int fd = real_path(v, node, self), error = 0;
	ssize_t n;

	if (fd < 0)
		return (fd == -EOPNOTSUPP ? 0 : fd);
	if ((n = listxattr(self, NULL, 0)) > 0) {
		if ((all = malloc((size_t)n)) == NULL)
			error = -ENOMEM;
		else
			n = listxattr(self, all, (size_t)n);
	}
	if (error == 0 && n < 0 && errno != EOPNOTSUPP)
		error = -errno;
	for (at = all; error == 0 && n > 0 && at < all + n;
	     at += strlen(at) + 1)
		if (strncmp(at, USER, strlen(USER)) == 0 && !is_ours(at))
			buf_put(b, at, strlen(at) + 1);
	free(all);
	(void)close(fd);
	return (error);
}

int
view_setxattr(struct view *v, uint64_t node, const char *name, const void *p,
    size_t size, int flags)
{
	char self[64];
	int fd, error;

	if (strncmp(name, USER, strlen(USER)) != 0)
		return (-EOPNOTSUPP);
	if (is_ours(name))
		return (-EPERM);
	view_lock(v);
	error = v->o.readonly ? -EROFS : view_boxes(v);
	if (error == 0) {
		fd = real_path(v, real_node(v, node), self);
		if (fd < 0)
			error = fd;
		else {
			if (p == NULL
				? removexattr(self, name) != 0
				: setxattr(self, name, p, size, flags) != 0)
				error = -errno;
			(void)close(fd);
		}
	}
	view_unlock(v);
	return (error);
}

/* ---- as calls ---- */

ssize_t
view_getxattr(
    struct view *v, uint64_t node, const char *name, void *p, size_t size)
{
	struct buf b = BUF_INIT;
	ssize_t n;
	int error;

	/* The kernel asks for some of its own with each write. */
	if (strncmp(name, USER, strlen(USER)) != 0)
		return (-ENODATA);
	view_lock(v);
	node = real_node(v, node);
	if (!is_ours(name)) {
		error = view_boxes(v);
		n = error != 0 ? error : real_get(v, node, name, p, size);
		view_unlock(v);
		return (n);
	}
	if ((error = view_boxes(v)) == 0)
		error = value_of(v, node, name + strlen(PREFIX), &b);
	view_unlock(v);
	n = error != 0 ? error : give(&b, p, size);
	buf_fini(&b);
	return (n);
}

ssize_t
view_listxattr(struct view *v, uint64_t node, char *p, size_t size)
{
	const char *const *names;
	struct buf b = BUF_INIT;
	ssize_t n;
	int error;

	view_lock(v);
	node = real_node(v, node);
	error = view_boxes(v);
	names = error == 0 ? names_of(v, node) : NULL;
	if (error == 0)
		error = real_list(v, node, &b);
	view_unlock(v);
	for (; names != NULL && *names != NULL; names++) {
		buf_printf(&b, PREFIX "%s", *names);
		buf_put_u8(&b, 0);
	}
	if (error == 0)
		error = b.error;
	n = error != 0 ? error : give(&b, p, size);
	buf_fini(&b);
	return (n);
}
