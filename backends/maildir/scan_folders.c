/*
 * scan_folders -- the directories that are mailboxes, or hold some.
 *
 * A directory with any of cur, new and tmp is a mailbox (what lacks is made
 * when something is written).  In the nested layout other directories are
 * mailboxes that cannot be selected; those with a leading dot are other
 * programs' unless they hold mail.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct walk {
	struct maildir *m;
	struct arena *a;
	struct folder *v; /* owned until it is handed out */
	size_t n, cap;
	const char *dir; /* being listed */
	unsigned problems;
};

/* Kinds of name that are no mailbox's. */
static bool
not_ours(const struct maildir *m, const char *name)
{
	if (!m->fs)
		return (name[0] != '.' || name[1] == '.' || name[1] == 0);
	return (strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 ||
	    strcmp(name, "tmp") == 0 || strncmp(name, "..", 2) == 0 ||
	    strcmp(name, MD_SIDECAR_PLUS) == 0);
}

static int
has_mail(struct maildir *m, struct arena *a, const char *dir, bool *yes)
{
	static const char *const subs[] = { "cur", "new", "tmp" };
	struct os_stat st;
	char *path;
	int rc;

	*yes = false;
	for (size_t i = 0; i < 3 && !*yes; i++) {
		if ((path = md_path(a, dir, subs[i])) == NULL)
			return (-ENOMEM);
		rc = m->root->ops->stat(m->root, path, &st);
		if (rc != 0 && rc != -ENOENT)
			return (md_fail(m->root, path, "looked at", rc));
		*yes = rc == 0 && st.type == OS_DIR;
	}
	return (0);
}

static int
on_entry(void *arg, const struct os_dirent *e)
{
	struct walk *w = arg;
	struct folder *f;

	if (not_ours(w->m, e->name) ||
	    (e->type != OS_DIR && e->type != OS_SYMLINK))
		return (0);
	if (e->type == OS_SYMLINK) {
		/* Nested, it may as well be a file of somebody's. */
		if (!w->m->fs) {
			w->problems++;
			log_error(
			    "%s/%s: is a symbolic link; it is not followed",
			    w->m->root->ops->label(w->m->root), e->name);
		}
		return (0);
	}
	if (w->n == w->cap) {
		size_t cap = w->cap == 0 ? 32 : w->cap * 2;
		struct folder *v = realloc(w->v, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		w->v = v;
		w->cap = cap;
	}
	f = &w->v[w->n++];
	memset(f, 0, sizeof(*f));
	f->dir = md_path(w->a, w->dir, e->name);
	return (f->dir == NULL ? -ENOMEM : 0);
}

static unsigned
depth(const char *dir)
{
	unsigned n = 1;

	for (; *dir != 0; dir++)
		n += *dir == '/';
	return (n);
}

static const char *
last_level(const char *dir)
{
	const char *slash = strrchr(dir, '/');

	return (slash == NULL ? dir : slash + 1);
}

/* Lists one directory; what cannot be listed is one problem. */
static int
list_dir(struct walk *w, const char *dir)
{
	int rc;

	w->dir = dir;
	rc = w->m->root->ops->list(w->m->root, dir, on_entry, w);
	if (rc == 0 || rc == -ENOMEM || (rc == -ENOENT && *dir != 0))
		return (rc == -ENOENT ? 0 : rc);
	rc = md_fail(w->m->root, dir, "listed", rc);
	if (*dir == 0)
		return (rc);
	w->problems++;
	return (0);
}

/* Drops plain directories with a leading dot. */
static void
drop_foreign(struct walk *w)
{
	size_t used = 0;

	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].mailbox ||
		    (w->m->fs && last_level(w->v[i].dir)[0] != '.'))
			w->v[used++] = w->v[i];
	w->n = used;
}

static int
by_dir(const void *a, const void *b)
{
	return (strcmp(
	    ((const struct folder *)a)->dir, ((const struct folder *)b)->dir));
}

static int
look_into(struct walk *w, size_t i)
{
	bool mail;
	int rc = has_mail(w->m, w->a, w->v[i].dir, &mail);

	if (rc == -ENOMEM)
		return (rc);
	if (rc != 0) {
		w->problems++;
		/* known ones shall not be taken for deleted */
		mail = true;
	}
	w->v[i].mailbox = mail;
	if (!w->m->fs || (last_level(w->v[i].dir)[0] == '.' && !mail))
		return (0);
	if (depth(w->v[i].dir) >= MD_DEPTH_MAX) {
		w->problems++;
		log_error("%s/%s: too deep; what lies below is left out",
		    w->m->root->ops->label(w->m->root), w->v[i].dir);
		return (0);
	}
	return (list_dir(w, w->v[i].dir));
}

int
md_folders(struct maildir *m, struct arena *a, struct folder **out, size_t *n,
    unsigned *problems)
{
	struct walk w = { .m = m, .a = a };
	bool inbox;
	int rc = list_dir(&w, "");

	/* The array grows while directories are looked into. */
	for (size_t i = 0; rc == 0 && i < w.n; i++)
		rc = look_into(&w, i);
	if (rc == 0) {
		drop_foreign(&w);
		rc = has_mail(m, a, "", &inbox);
	}
	if (rc == 0 && inbox) {
		struct folder *v = realloc(w.v, (w.n + 1) * sizeof(*v));

		if (v == NULL) {
			rc = -ENOMEM;
		} else {
			w.v = v;
			v[w.n++] =
			    (struct folder){ .dir = "", .mailbox = true };
		}
	}
	if (rc != 0) {
		free(w.v);
		return (rc);
	}
	if (w.n > 1)
		qsort(w.v, w.n, sizeof(*w.v), by_dir);
	*problems += w.problems;
	*out = w.v;
	*n = w.n;
	return (0);
}
