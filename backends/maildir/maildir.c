/*
 * maildir -- opens a Maildir with its sidecar, and what all files of this
 * folder use.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/maildir/write.h"
#include "backends/os_copy.h"
#include "backends/os_posix.h"
#include "base/log.h"

#define LOCK_WAIT_MS 122000u

struct maildir *
maildir_of(struct replica *r)
{
	return ((struct maildir *)(void *)r);
}

int
md_fail(struct os *os, const char *path, const char *verb, int error)
{
	log_error("%s%s%s: cannot be %s: %s", os->ops->label(os),
	    *path != 0 ? "/" : "", path, verb, strerror(-error));
	return (error);
}

int
md_stamp(struct os *os, const char *path, struct stamp *out)
{
	struct os_stat st;
	int rc = os->ops->stat(os, path, &st);

	memset(out, 0, sizeof(*out));
	if (rc == -ENOENT || rc == -ENOTDIR)
		return (0);
	if (rc != 0)
		return (rc);
	out->there = true;
	out->ino = st.ino;
	out->size = st.size;
	out->mtime = st.mtime;
	out->ctime = st.ctime;
	out->mtime_nsec = st.mtime_nsec;
	out->ctime_nsec = st.ctime_nsec;
	return (0);
}

bool
stamp_eq(const struct stamp *a, const struct stamp *b)
{
	return (a->there == b->there && a->ino == b->ino &&
	    a->size == b->size && a->mtime == b->mtime &&
	    a->ctime == b->ctime && a->mtime_nsec == b->mtime_nsec &&
	    a->ctime_nsec == b->ctime_nsec);
}

char *
md_path(struct arena *a, const char *dir, const char *name)
{
	return (arena_printf(
	    a, "%s%s%s", dir, *dir != 0 && *name != 0 ? "/" : "", name));
}

int
md_read(struct os *os, const char *path, char **p, size_t *n)
{
	int rc = os_read_file(os, path, MD_LIST_MAX, p, n);

	return (rc == 0 || rc == -ENOENT ? rc : md_fail(os, path, "read", rc));
}

/* ---- the replica ---- */

static void
md_lock(struct replica *r)
{
	/* one user; the lists are locked where they are changed */
	(void)r;
}

/* Nobody knows how long the other side of a sync lets us wait now (M5). */
static void
md_unlock(struct replica *r)
{
	struct maildir *m = maildir_of(r);

	/* What fails here has been said, and is tried again at the next change.
	 */
	for (struct box *b = m->boxes; b != NULL; b = b->next)
		(void)md_release(m, b);
}

static int
md_commit(struct replica *r)
{
	struct maildir *m = maildir_of(r);
	int rc = 0, rc2;

	for (struct box *b = m->boxes; b != NULL; b = b->next) {
		if ((rc2 = md_box_sync(m, b)) != 0)
			rc = rc2;
		if ((rc2 = md_release(m, b)) != 0)
			rc = rc2;
	}
	if (m->dirty_root && (rc2 = m->root->ops->sync_dir(m->root, "")) != 0)
		rc = md_fail(m->root, "", "made durable", rc2);
	if (m->dirty_control &&
	    (rc2 = m->control->ops->sync_dir(m->control, "")) != 0)
		rc = md_fail(m->control, "", "made durable", rc2);
	m->dirty_root = m->dirty_control = false;
	if (rc == 0)
		rc = md_redo_clear(m);
	return (rc != 0 ? rc : store_sync(r->store));
}

static void
close_trees(struct os *root, struct os *control, struct os *sidecar)
{
	if (sidecar != NULL)
		sidecar->ops->close_tree(sidecar);
	if (control != NULL && control != root)
		control->ops->close_tree(control);
	if (root != NULL)
		root->ops->close_tree(root);
}

static int
md_close(struct replica *r)
{
	struct maildir *m = maildir_of(r);
	int rc = md_commit(r), closed;

	while (m->boxes != NULL)
		md_box_forget(m, m->boxes);
	closed = store_close(r->store);
	close_trees(m->root, m->control, m->sidecar);
	free((char *)(uintptr_t)r->label);
	free(m);
	return (rc != 0 ? rc : closed);
}

static const struct replica_ops maildir_ops = {
	.driver = "maildir",
	.caps = REPLICA_KEYWORD_LIMIT | REPLICA_GUIDS | REPLICA_SAVE_GUIDS,
	.refresh = md_refresh,
	.mailbox_create = md_mailbox_create,
	.mailbox_rename = md_mailbox_rename,
	.mailbox_delete = md_mailbox_delete,
	.mailbox_update = md_mailbox_update,
	.subscribe = md_subscribe,
	.save = md_save,
	.copy = md_copy,
	.renumber = md_renumber,
	.update = md_update,
	.expunge = md_expunge,
	.body = md_body,
	.commit = md_commit,
	.lock = md_lock,
	.unlock = md_unlock,
	.close = md_close,
};

int
maildir_replica_new(const struct maildir_config *c,
    const struct store_settings *settings, const char *label,
    struct replica **out)
{
	struct maildir *m = calloc(1, sizeof(*m));
	int rc = -ENOMEM;

	if (m == NULL)
		return (-ENOMEM);
	m->r.ops = &maildir_ops;
	m->root = c->root;
	m->control = c->control != NULL ? c->control : c->root;
	m->sidecar = c->sidecar;
	m->fs = c->fs;
	m->utf8 = c->utf8;
	m->rdonly = c->rdonly;
	m->lock_wait_ms = c->lock_wait_ms != 0 ? c->lock_wait_ms : LOCK_WAIT_MS;
	if ((m->r.label = strdup(label)) == NULL)
		goto fail;
	if ((rc = store_open(m->sidecar, STORE_CREATE | STORE_SIDECAR, settings,
		 &m->r.store)) != 0)
		goto fail;
	if ((rc = md_redo(m)) != 0) {
		while (m->boxes != NULL)
			md_box_forget(m, m->boxes);
		(void)store_close(m->r.store);
		goto fail;
	}
	*out = &m->r;
	return (0);
fail:
	free((char *)(uintptr_t)m->r.label);
	free(m);
	return (rc);
}

/* ---- the driver ---- */

static int
complain(const struct location *l, const char *path, int error)
{
	switch (error) {
	case -ENOENT:
		log_error("%s (from %s): %s does not exist; a Maildir is made "
			  "only where its parent directory is",
		    l->text, l->origin, path);
		break;
	case -ENOTDIR:
		log_error("%s (from %s): %s is not a directory", l->text,
		    l->origin, path);
		break;
	case -EACCES:
		log_error("%s (from %s): %s may not be read; run as its owner",
		    l->text, l->origin, path);
		break;
	default:
		log_error("%s (from %s): %s cannot be opened: %s", l->text,
		    l->origin, path, strerror(-error));
	}
	return (error);
}

/*
 * 1: a directory where mail may be.  An error tells that the tree may be opened
 * as a path, but not read.
 */
static int
any_folder(void *arg, const struct os_dirent *e)
{
	const bool *fs = arg;

	if (e->type != OS_DIR || strcmp(e->name, MD_SIDECAR_PLUS) == 0)
		return (0);
	return (*fs || e->name[0] == '.' || strcmp(e->name, "cur") == 0 ||
	    strcmp(e->name, "new") == 0 || strcmp(e->name, "tmp") == 0);
}

static int
any_entry(void *arg, const struct os_dirent *e)
{
	(void)arg;
	(void)e;
	return (1);
}

/*
 * In a dry run a temporary directory stands for one that would be made, or is
 * empty, and may be written: *temp.
 */
static int
open_dir(const char *path, unsigned flags, struct os **out, bool *temp)
{
	bool create = (flags & LOCATION_CREATE) != 0;
	int rc;

	*temp = false;
	if ((flags & LOCATION_DRY) == 0)
		return (os_posix_open(path, create, out));
	rc = os_posix_open(path, false, out);
	if (rc == 0 && create &&
	    (*out)->ops->list(*out, "", any_entry, NULL) == 0) {
		(*out)->ops->close_tree(*out);
		*out = NULL;
		rc = -ENOENT;
	} else if (rc != -ENOENT || !create || !os_posix_can_make(path)) {
		return (rc);
	}
	*temp = true;
	return (os_posix_temp(out));
}

/*
 * A root without any mailbox may be a disk that is not mounted: then all mail
 * would look like deleted.
 */
static int
open_root(const struct location *l, unsigned flags, bool fs, struct os **out,
    bool *temp)
{
	bool create = (flags & LOCATION_CREATE) != 0;
	int rc = open_dir(l->path, flags, out, temp);

	if (rc != 0)
		return (complain(l, l->path, rc));
	rc = (*out)->ops->list(*out, "", any_folder, &fs);
	if (rc == 1 || (rc == 0 && create))
		return (0);
	(*out)->ops->close_tree(*out);
	*out = NULL;
	if (rc < 0)
		return (complain(l, l->path, rc));
	log_error("%s (from %s): there is no Maildir in %s: neither cur, new, "
		  "tmp nor a folder; is the disk mounted?",
	    l->text, l->origin, l->path);
	return (-ENOENT);
}

/*
 * A copy of the sidecar, as it is while nobody else has it; of none, an empty
 * directory.
 */
static int
copy_sidecar(const struct location *l, const struct maildir_config *c,
    const char *given, const char *path, struct os **out)
{
	struct os *real = NULL;
	struct store *s = NULL;
	struct os_stat st;
	int rc = given != NULL ? os_posix_open(given, false, &real)
			       : c->root->ops->sub(c->root, path, &real);

	if (rc == 0 && (rc = real->ops->stat(real, "store", &st)) == -ENOENT)
		real->ops->close_tree(real);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return (os_posix_temp(out));
	if (rc == 0)
		rc = store_open(real, STORE_RDONLY | STORE_SIDECAR, NULL, &s);
	if (rc != 0)
		goto out;
	rc = os_posix_temp(out);
	if (rc == 0 && (rc = os_copy_tree(real, *out)) != 0)
		(*out)->ops->close_tree(*out);
	if (rc != 0)
		log_error("%s (from %s): its sidecar cannot be copied for the "
			  "dry run: %s; TMPDIR says where to",
		    l->text, l->origin, strerror(-rc));
out:
	(void)store_close(s);
	if (real != NULL)
		real->ops->close_tree(real);
	return (rc);
}

static const char *
option(const struct location *l, const char *key)
{
	const char *value = location_option(l, key);

	return (value == NULL || *value == 0 ? NULL : value);
}

static int
open_sidecar(const struct location *l, const struct maildir_config *c,
    unsigned flags, struct os **out)
{
	const char *given = option(l, "SIDECAR"),
		   *path = c->fs ? MD_SIDECAR_FS : MD_SIDECAR_PLUS;
	int rc;

	if ((flags & LOCATION_DRY) != 0)
		return (copy_sidecar(l, c, given, path, out));
	if (given != NULL) {
		rc = os_posix_open(given, true, out);
		return (rc == 0 ? 0 : complain(l, given, rc));
	}
	if ((rc = os_mkdirs(c->root, path)) == 0)
		rc = c->root->ops->sub(c->root, path, out);
	if (rc != 0)
		log_error("%s (from %s): its sidecar %s cannot be opened: %s; "
			  "SIDECAR=DIR puts it elsewhere",
		    l->text, l->origin, path, strerror(-rc));
	return (rc);
}

/* The control directory and the sidecar of a Maildir that is there. */
static int
open_others(const struct location *l, unsigned flags, struct maildir_config *c)
{
	const char *control = option(l, "CONTROL");
	bool temp;
	int rc = 0;

	if (control != NULL &&
	    (rc = open_dir(control, flags, &c->control, &temp)) != 0)
		(void)complain(l, control, rc);
	return (rc != 0 ? rc : open_sidecar(l, c, flags, &c->sidecar));
}

/* Those of a temporary one, which may be written: where they would be. */
static int
make_others(const struct location *l, struct maildir_config *c)
{
	int rc = 0;

	if (option(l, "CONTROL") != NULL)
		rc = os_posix_temp(&c->control);
	if (rc == 0 && option(l, "SIDECAR") != NULL)
		rc = os_posix_temp(&c->sidecar);
	else if (rc == 0)
		rc = open_sidecar(l, c, 0, &c->sidecar);
	return (rc);
}

static int
driver_open(const struct location *l, const struct store_settings *settings,
    unsigned flags, struct replica **out)
{
	const char *layout = location_option(l, "LAYOUT");
	struct maildir_config c = { .utf8 =
					location_option(l, "UTF-8") != NULL };
	bool temp;
	int rc;

	if (layout != NULL && strcasecmp(layout, "fs") != 0 &&
	    strcasecmp(layout, "maildir++") != 0) {
		log_error("%s (from %s): LAYOUT=%s is not known; there are "
			  "maildir++ and fs",
		    l->text, l->origin, layout);
		return (-EINVAL);
	}
	c.fs = layout != NULL && strcasecmp(layout, "fs") == 0;
	if ((rc = open_root(l, flags, c.fs, &c.root, &temp)) != 0)
		return (rc);
	c.rdonly = !temp && (flags & (LOCATION_RDONLY | LOCATION_DRY)) != 0;
	rc = temp ? make_others(l, &c) : open_others(l, flags, &c);
	if (rc == 0)
		rc = maildir_replica_new(&c, settings, l->text, out);
	if (rc != 0)
		close_trees(c.root, c.control, c.sidecar);
	return (rc);
}

/* The sidecar's, which is a store; none is made. */
static int
driver_tree(const struct location *l, struct os **out)
{
	const char *layout = location_option(l, "LAYOUT"),
		   *given = option(l, "SIDECAR");
	bool temp, fs = layout != NULL && strcasecmp(layout, "fs") == 0;
	struct os *root;
	int rc = open_root(l, LOCATION_RDONLY, fs, &root, &temp);

	if (rc != 0)
		return (rc);
	rc = given != NULL
	    ? os_posix_open(given, false, out)
	    : root->ops->sub(root, fs ? MD_SIDECAR_FS : MD_SIDECAR_PLUS, out);
	root->ops->close_tree(root);
	if (rc != 0)
		log_error("%s (from %s): its sidecar cannot be opened: %s",
		    l->text, l->origin, strerror(-rc));
	return (rc);
}

static const char *
driver_socket_dir(struct arena *a, const struct location *l)
{
	(void)a;
	(void)l;
	return (NULL);
}

static const char *const driver_options[] = { "LAYOUT", "CONTROL", "UTF-8",
	"SIDECAR", NULL };

const struct driver maildir_driver = {
	.name = "maildir",
	.options = driver_options,
	.open = driver_open,
	.repair_tree = driver_tree,
	.socket_dir = driver_socket_dir,
};
