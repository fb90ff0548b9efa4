/*
 * user_files -- a user's act as the file operations of mail programs: through
 * the view of a mount, or on the files of a Maildir.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/maildir/maildir_internal.h"
#include "base/name.h"
#include "tests/unit/lib/os_mem.h"

/* ---- one shape for both: paths below the root ---- */

struct files {
	struct place *p;
	struct arena a;
	bool nested;
};

static const char *
folder(struct files *f, const char *name)
{
	char *s;

	if (strcmp(name, "INBOX") == 0)
		return ("");
	if (name_is_child("INBOX", name) || strchr(name, '.') != NULL)
		return (NULL); /* how it is spelled is not the point here */
	s = mutf7_encode(&f->a, name);
	if (s == NULL || f->nested)
		return (s);
	for (char *c = s; *c != '\0'; c++)
		if (*c == '/')
			*c = '.';
	return (arena_printf(&f->a, ".%s", s));
}

static const char *
in(struct files *f, const char *dir, const char *sub, const char *name)
{
	return (arena_printf(&f->a, "%s%s%s%s%s", dir, *dir == '\0' ? "" : "/",
	    sub, *name == '\0' ? "" : "/", name));
}

/* The directory of a path in the view, and its last name. */
static int
parent(struct files *f, const char *path, uint64_t *dir, const char **name)
{
	const char *slash;
	struct stat st;
	int rc;

	*dir = NODE_ROOT;
	for (; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		rc = view_lookup(f->p->v, *dir,
		    arena_strndup(&f->a, path, (size_t)(slash - path)), &st);
		if (rc != 0)
			return (rc);
		*dir = st.st_ino;
	}
	*name = path;
	return (0);
}

static int
mount_write(struct files *f, const char *path, const char *text)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	ssize_t n;
	int rc = parent(f, path, &dir, &name);

	if (rc == 0)
		rc = view_mknod(f->p->v, dir, name, S_IFREG | 0600, 0, &st);
	if (rc != 0)
		return (rc);
	n = view_write(f->p->v, st.st_ino, text, strlen(text), 0);
	if (n != (ssize_t)strlen(text))
		return (n < 0 ? (int)n : -EIO);
	return (view_fsync(f->p->v, st.st_ino));
}

static int
disk_write(struct files *f, const char *path, const char *text)
{
	struct os *os = f->p->os;
	struct os_file *file;
	int rc = os->ops->open(os, path, OS_WRITE | OS_CREATE | OS_EXCL, &file);

	if (rc != 0)
		return (rc);
	rc = os->ops->pwrite(file, text, strlen(text), 0);
	if (rc == 0)
		rc = os->ops->sync(file);
	os->ops->close(file);
	return (rc);
}

static int
put(struct files *f, const char *path, const char *text)
{
	return (f->p->v != NULL ? mount_write(f, path, text)
				: disk_write(f, path, text));
}

static int
move(struct files *f, const char *from, const char *to)
{
	const char *a, *b;
	uint64_t da, db;
	int rc;

	if (f->p->v == NULL)
		return (f->p->os->ops->rename(f->p->os, from, to));
	rc = parent(f, from, &da, &a);
	if (rc == 0)
		rc = parent(f, to, &db, &b);
	return (rc != 0 ? rc : view_rename(f->p->v, da, a, db, b, 0));
}

static int
drop(struct files *f, const char *path)
{
	const char *name;
	uint64_t dir;
	int rc;

	if (f->p->v == NULL)
		return (f->p->os->ops->unlink(f->p->os, path));
	rc = parent(f, path, &dir, &name);
	return (rc != 0 ? rc : view_unlink(f->p->v, dir, name));
}

static int
make_dir(struct files *f, const char *path)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	int rc;

	if (f->p->v == NULL)
		return (f->p->os->ops->mkdir(f->p->os, path));
	rc = parent(f, path, &dir, &name);
	return (rc != 0 ? rc : view_mkdir(f->p->v, dir, name, 0700, &st));
}

static int
link_file(struct files *f, const char *from, const char *to)
{
	const char *a, *b;
	uint64_t da, db;
	struct stat st;
	int rc;

	if (f->p->v == NULL)
		return (f->p->os->ops->link(f->p->os, from, to));
	rc = parent(f, from, &da, &a);
	if (rc == 0)
		rc = view_lookup(f->p->v, da, a, &st);
	if (rc == 0)
		rc = parent(f, to, &db, &b);
	return (rc != 0 ? rc : view_link(f->p->v, st.st_ino, db, b, &st));
}

/* ---- finding a message's file ---- */

struct find {
	struct files *f;
	const char *base, *found;
};

static int
match(struct find *x, const char *name)
{
	size_t n = mail_base_len(name);

	if (strlen(x->base) != n || strncmp(name, x->base, n) != 0)
		return (0);
	x->found = arena_strdup(&x->f->a, name);
	return (1);
}

static int
match_disk(void *arg, const struct os_dirent *e)
{
	return (match(arg, e->name));
}

static int
match_view(void *arg, const char *name, const struct stat *st, uint64_t next)
{
	(void)st;
	(void)next;
	return (match(arg, name));
}

static const char *
find_in(struct files *f, const char *dir, const char *sub, const char *base)
{
	struct find x = { f, base, NULL };
	const char *path = in(f, dir, sub, ""), *name;
	struct stat st;
	uint64_t up;

	if (f->p->v == NULL)
		(void)f->p->os->ops->list(f->p->os, path, match_disk, &x);
	else if (parent(f, path, &up, &name) == 0 &&
	    view_lookup(f->p->v, up, name, &st) == 0)
		(void)view_readdir(f->p->v, st.st_ino, 0, match_view, &x);
	return (x.found == NULL ? NULL : in(f, dir, sub, x.found));
}

static const char *
file_of(struct files *f, const char *dir, const struct target *t)
{
	const char *path = find_in(f, dir, "cur", t->name);

	return (path != NULL ? path : find_in(f, dir, "new", t->name));
}

/* ---- acts on messages ---- */

static int
deliver(struct files *f, const struct step *s, const char *dir)
{
	static const char *const info[] = { "", ":2,", ":2,S", ":2,FRS" };
	const char *name = arena_printf(&f->a, "g%u", s->id),
		   *tmp = in(f, dir, "tmp", name), *to;
	int rc = put(f, tmp, mail_text(&f->a, name));

	if (s->r[2] % 3 == 0)
		to = in(f, dir, "cur",
		    arena_printf(&f->a, "%s%s", name, info[1 + s->r[1] % 3]));
	else
		to = in(f, dir, "new", name);
	if (rc != 0)
		return (rc);
	if (s->r[2] % 2 == 0)
		return (move(f, tmp, to));
	rc = link_file(f, tmp, to);
	return (rc != 0 ? rc : drop(f, tmp));
}

/* The same name with one letter more or less, in cur. */
static int
reletter(struct files *f, const char *dir, const char *path,
    const struct target *t, char letter)
{
	const char *old = mail_info_text(strrchr(path, '/') + 1);
	char info[64];
	size_t n = 0;
	bool had = strchr(old, letter) != NULL, done = had;

	for (const char *c = old; *c != '\0' && n < 60; c++) {
		if (!done && *c > letter) {
			info[n++] = letter;
			done = true;
		}
		if (*c != letter)
			info[n++] = *c;
	}
	if (!done)
		info[n++] = letter;
	info[n] = '\0';
	return (move(f, path,
	    in(f, dir, "cur", arena_printf(&f->a, "%s:2,%s", t->name, info))));
}

static int
message_act(struct files *f, const struct step *s, const struct target *t,
    const char *dir)
{
	const char *path = file_of(f, dir, t), *to = folder(f, t->to), *name;

	if (path == NULL)
		return (-ENOENT);
	name = arena_printf(&f->a, "g%u", s->id);
	switch (s->act) {
	case ACT_FLAG:
		return (reletter(f, dir, path, t, "DFRST"[s->r[2] % 5]));
	case ACT_EXPUNGE:
		return (drop(f, path));
	case ACT_REWRITE: /* as programs do that edit a mail */
		path = in(f, dir, "tmp", name);
		if (put(f, path, mail_text(&f->a, name)) != 0 ||
		    move(f, path,
			in(f, dir, "cur",
			    arena_printf(&f->a, "%s:2,S", name))) != 0)
			return (-ENOENT);
		return (drop(f, file_of(f, dir, t)));
	case ACT_MOVE:
		if (to == NULL || strcmp(to, dir) == 0)
			return (-ENOENT);
		return (
		    move(f, path, in(f, to, "cur", strrchr(path, '/') + 1)));
	case ACT_COPY:
		if (to == NULL || strcmp(to, dir) == 0)
			return (-ENOENT);
		return (link_file(
		    f, path, in(f, to, "cur", strrchr(path, '/') + 1)));
	default:
		return (-ENOENT);
	}
}

/* ---- acts on folders ---- */

static int
make_folder(struct files *f, const char *dir)
{
	int rc = make_dir(f, dir);

	for (int i = 0; i < 3 && rc == 0; i++) {
		static const char *const sub[] = { "cur", "new", "tmp" };

		rc = make_dir(f, in(f, dir, sub[i], ""));
		if (rc == -EEXIST && f->p->v != NULL)
			rc = 0; /* a mount makes them itself */
	}
	if (rc == 0 && f->p->v == NULL && !f->nested)
		rc = put(f, in(f, dir, "maildirfolder", ""), "");
	return (rc);
}

struct children {
	struct files *f;
	const char *dir;
	const char *name[32];
	size_t n;
};

static int
on_child(void *arg, const struct os_dirent *e)
{
	struct children *c = arg;
	size_t n = strlen(c->dir);

	if (strncmp(e->name, c->dir, n) == 0 &&
	    (e->name[n] == '\0' || e->name[n] == '.') && c->n < 32)
		c->name[c->n++] = arena_strdup(&c->f->a, e->name);
	return (0);
}

/* In a Maildir++ each folder below it is renamed too. */
static int
move_folder(struct files *f, const char *from, const char *to)
{
	struct children c = { .f = f, .dir = from };
	struct os_stat st;
	int rc = 0;

	if (f->p->v != NULL)
		return (move(f, from, to));
	if (f->p->os->ops->stat(f->p->os, to, &st) == 0)
		return (-EEXIST);
	if (f->nested)
		return (name_is_child(from, to) ? -EINVAL : move(f, from, to));
	if (strncmp(to, from, strlen(from)) == 0 &&
	    (to[strlen(from)] == '.' || to[strlen(from)] == '\0'))
		return (-EINVAL);
	rc = f->p->os->ops->list(f->p->os, "", on_child, &c);
	for (size_t i = 0; i < c.n && rc == 0; i++)
		rc = move(f, c.name[i],
		    arena_printf(&f->a, "%s%s", to, c.name[i] + strlen(from)));
	return (rc);
}

static int
drop_folder(struct files *f, const char *dir)
{
	static const char *const sub[] = { "cur", "new", "tmp" };
	const char *name;
	uint64_t up;
	int rc = 0;

	if (f->p->v != NULL) {
		rc = parent(f, dir, &up, &name);
		return (rc != 0 ? rc : view_rmdir(f->p->v, up, name));
	}
	if (!f->nested)
		return (md_remove_tree(f->p->os, dir));
	for (int i = 0; i < 3 && rc == 0; i++)
		rc = md_remove_tree(f->p->os, in(f, dir, sub[i], ""));
	(void)f->p->os->ops->unlink(
	    f->p->os, in(f, dir, "dovecot-uidlist", ""));
	(void)f->p->os->ops->unlink(
	    f->p->os, in(f, dir, "dovecot-keywords", ""));
	(void)f->p->os->ops->rmdir(f->p->os, dir);
	return (rc);
}

static int
folder_act(struct files *f, const struct step *s, const struct target *t)
{
	static const char *const names[] = { "Work", "Work/Sub", "Arkiv", "Job",
		"Trash" };
	const char *to = folder(f, names[s->r[2] % 5]),
		   *dir = t->box == NULL ? NULL : folder(f, t->box);

	if (s->act == ACT_BOX_NEW)
		return (make_folder(f, to));
	if (dir == NULL || *dir == '\0')
		return (-ENOENT);
	if (s->act == ACT_BOX_RENAME)
		return (move_folder(f, dir, to));
	if (s->act == ACT_BOX_DELETE)
		return (drop_folder(f, dir));
	return (-ENOENT);
}

static int
files_act(struct files *f, const struct step *s, const struct target *t)
{
	const char *dir;

	if (s->act >= ACT_BOX_NEW)
		return (folder_act(f, s, t));
	if (t->box == NULL || (dir = folder(f, t->box)) == NULL)
		return (-ENOENT);
	if (s->act == ACT_DELIVER)
		return (deliver(f, s, dir));
	return (t->uid == 0 ? -ENOENT : message_act(f, s, t, dir));
}

int
mount_act(struct world *w, struct place *p, const struct step *s,
    const struct target *t)
{
	struct files f = { .p = p, .a = ARENA_INIT };
	int rc = files_act(&f, s, t);

	(void)w;
	arena_fini(&f.a);
	return (rc);
}

int
maildir_act(struct world *w, struct place *p, const struct step *s,
    const struct target *t)
{
	struct files f = {
		.p = p, .a = ARENA_INIT, .nested = p->kind == KIND_MAILDIR_FS
	};
	int rc = files_act(&f, s, t);

	(void)w;
	arena_fini(&f.a);
	return (rc);
}
