/*
 * scan_files -- the names in new/ and cur/, and what is wrong with them.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct odd { /* a file that cannot stay under its name */
	const char *name;
	bool in_new;
	/* of another with the same base; else the name is no message's */
	bool twin;
};

struct listing {
	struct scan *s;
	bool in_new;
	struct odd *odd; /* owned */
	size_t odds, odd_cap;
	struct arena trash;
	const char **gone; /* what a deletion left behind; owned */
	size_t ngone;
};

void
md_problem(struct scan *s, const char *sub, const char *name, const char *what)
{
	struct os *os = s->m->root;

	s->problems++;
	if (s->quiet)
		return;
	log_error("%s/%s%s%s/%s: %s", os->ops->label(os), s->b->dir,
	    *s->b->dir == 0 ? "" : "/", sub, name, what);
}

static const char *
sub_of(bool in_new)
{
	return (in_new ? "new" : "cur");
}

static int
push_odd(struct listing *l, const char *name, bool twin)
{
	if (l->odds == l->odd_cap) {
		size_t cap = l->odd_cap == 0 ? 8 : l->odd_cap * 2;
		struct odd *v = realloc(l->odd, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		l->odd = v;
		l->odd_cap = cap;
	}
	if ((name = arena_strdup(&l->s->looked, name)) == NULL)
		return (-ENOMEM);
	l->odd[l->odds++] = (struct odd){ name, l->in_new, twin };
	return (0);
}

static int
push_file(struct scan *s, const char *name, bool in_new)
{
	size_t base = mail_base_len(name);
	struct md_file *f;
	uint32_t i;

	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 256 : s->cap * 2;
		struct md_file *v = realloc(s->file, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		s->file = v;
		s->cap = cap;
	}
	f = &s->file[s->n];
	memset(f, 0, sizeof(*f));
	f->in_new = in_new;
	f->rest = "";
	if ((f->base = arena_strndup(&s->looked, name, base)) == NULL)
		return (-ENOMEM);
	/* Most names in new/ are nothing but a base. */
	f->name = name[base] == 0 ? f->base : arena_strdup(&s->looked, name);
	if (f->name == NULL)
		return (-ENOMEM);
	if (table_get(&s->by_base, f->base, &i))
		return (-EEXIST);
	s->n++;
	return (table_set(&s->by_base, f->base, (uint32_t)s->n - 1));
}

static int
on_trash(struct listing *l, const char *name)
{
	const char **v;

	if (strncmp(name, MD_TRASH_PREFIX, strlen(MD_TRASH_PREFIX)) != 0 ||
	    *l->s->b->dir != 0 || l->in_new || !l->s->writable)
		return (0);
	if ((v = realloc(l->gone, (l->ngone + 1) * sizeof(*v))) == NULL)
		return (-ENOMEM);
	l->gone = v;
	if ((v[l->ngone] = arena_printf(&l->trash, "%s%s", MD_TRASH, name)) ==
	    NULL)
		return (-ENOMEM);
	l->ngone++;
	return (0);
}

static int
on_entry(void *arg, const struct os_dirent *e)
{
	struct listing *l = arg;
	const char *sub = sub_of(l->in_new), *what = NULL;
	uint32_t i;
	char base[256];
	size_t n;

	if (e->name[0] == '.')
		return (on_trash(l, e->name));
	if (e->type == OS_DIR)
		what =
		    "is a directory where only messages belong; it is left out";
	else if (e->type == OS_SYMLINK)
		what = "is a symbolic link; it is not followed";
	else if (e->type != OS_FILE)
		what = "is not a regular file; it is left out";
	if (what != NULL) {
		md_problem(l->s, sub, e->name, what);
		return (0);
	}
	if (!maildir_name_ok(e->name))
		return (push_odd(l, e->name, false));
	n = mail_base_len(e->name);
	memcpy(base, e->name, n);
	base[n] = 0;
	if (!table_get(&l->s->by_base, base, &i))
		return (push_file(l->s, e->name, l->in_new));
	if (l->s->file[i].in_new == l->in_new &&
	    strcmp(l->s->file[i].name, e->name) == 0)
		return (0);
	return (push_odd(l, e->name, true));
}

static int
list_one(struct listing *l, bool in_new)
{
	struct scan *s = l->s;
	char *dir = md_path(&s->arena, s->b->dir, sub_of(in_new));
	int rc;

	if (dir == NULL)
		return (-ENOMEM);
	l->in_new = in_new;
	rc = s->m->root->ops->list(s->m->root, dir, on_entry, l);
	if (rc == -ENOENT || rc == 0 || rc == -ENOMEM)
		return (rc == -ENOENT ? 0 : rc);
	return (md_fail(s->m->root, dir, "listed", rc));
}

/* Puts a file under a name of its own; *name gets it. */
static int
rename_fresh(struct scan *s, const struct odd *o, const char **name)
{
	const char *dir = md_path(&s->arena, s->b->dir, sub_of(o->in_new)),
		   *from, *to, *base;
	struct maildir_name old;
	struct buf b = BUF_INIT;
	struct mail_info info;
	struct os_stat st;
	int rc;

	if (dir == NULL || (from = md_path(&s->arena, dir, o->name)) == NULL)
		return (-ENOMEM);
	if ((rc = s->m->root->ops->stat(s->m->root, from, &st)) != 0)
		return (rc);
	maildir_name_parse(o->name, &old);
	mail_info_parse(old.info, &info);
	if ((rc = maildir_base_new(s->m->root, &s->arena, st.size, 0, &base)) !=
	    0)
		return (rc);
	/* Nothing is known of its lines, so no W. */
	if ((base = arena_strndup(&s->arena, base, strcspn(base, ","))) == NULL)
		return (-ENOMEM);
	if (o->in_new && *old.info == 0)
		buf_printf(&b, "%s", base);
	else
		maildir_name_format(&b, base, &info);
	*name =
	    buf_cstr(&b) == NULL ? NULL : arena_strdup(&s->arena, buf_cstr(&b));
	buf_fini(&b);
	if (*name == NULL || (to = md_path(&s->arena, dir, *name)) == NULL)
		return (-ENOMEM);
	return (s->m->root->ops->rename_excl(s->m->root, from, to));
}

static const char *
path_of(struct scan *s, bool in_new, const char *name)
{
	return (arena_printf(&s->arena, "%s%s%s/%s", s->b->dir,
	    *s->b->dir == 0 ? "" : "/", sub_of(in_new), name));
}

/* 1: the odd one is settled without another name. */
static int
settle_twin(struct scan *s, const struct odd *o)
{
	char base[256];
	size_t n = mail_base_len(o->name);
	struct os_stat a, b;
	struct md_file *f;
	const char *one, *two;
	uint32_t i;
	int rc;

	memcpy(base, o->name, n);
	base[n] = 0;
	if (!table_get(&s->by_base, base, &i))
		return (push_file(s, o->name, o->in_new) == 0 ? 1 : -ENOMEM);
	f = &s->file[i];
	if ((one = path_of(s, f->in_new, f->name)) == NULL ||
	    (two = path_of(s, o->in_new, o->name)) == NULL)
		return (-ENOMEM);
	if (s->m->root->ops->stat(s->m->root, two, &b) != 0)
		return (1);
	if (s->m->root->ops->stat(s->m->root, one, &a) != 0) {
		/* It was renamed while the directories were read. */
		if ((f->name = arena_strdup(&s->looked, o->name)) == NULL)
			return (-ENOMEM);
		f->in_new = o->in_new;
		return (1);
	}
	if (a.ino != b.ino || a.dev != b.dev)
		return (0);
	if (s->writable &&
	    (rc = s->m->root->ops->unlink(s->m->root, two)) != 0 &&
	    rc != -ENOENT)
		return (md_fail(s->m->root, two, "removed", rc));
	return (1);
}

static int
settle(struct scan *s, const struct odd *o)
{
	const char *what = o->twin ? "has the base name of another message"
				   : "cannot be the name of a message";
	const char *name = NULL, *said;
	int rc;

	if (o->twin && (rc = settle_twin(s, o)) != 0)
		return (rc == 1 ? 0 : rc);
	if (!s->writable) {
		if ((said = arena_printf(
			 &s->arena, "%s; it is left out", what)) != NULL)
			md_problem(s, sub_of(o->in_new), o->name, said);
		return (0);
	}
	if ((rc = rename_fresh(s, o, &name)) == -ENOENT)
		return (0);
	if (rc == -ENOMEM)
		return (rc);
	said = rc == 0
	    ? arena_printf(&s->arena, "%s; it is called %s now", what, name)
	    : arena_printf(&s->arena,
		  "%s, and cannot be renamed: %s; it is left out", what,
		  strerror(-rc));
	if (said != NULL)
		md_problem(s, sub_of(o->in_new), o->name, said);
	s->b->dirty_new = s->b->dirty_cur = true;
	return (rc == 0 ? push_file(s, name, o->in_new) : 0);
}

int
md_gather(struct scan *s)
{
	struct listing l = { .s = s };
	unsigned problems = s->problems;
	bool again = s->n > 0, quiet = s->quiet;
	int rc;

	arena_init(&l.trash);
	s->quiet = quiet || again;
	if ((rc = list_one(&l, true)) == 0)
		rc = list_one(&l, false);
	for (size_t i = 0; rc == 0 && i < l.odds; i++)
		rc = settle(s, &l.odd[i]);
	s->quiet = quiet;
	/* At a second look the same things are wrong. */
	if (again)
		s->problems = problems;
	for (size_t i = 0; rc == 0 && i < l.ngone; i++)
		rc = md_remove_tree(s->m->root, l.gone[i]);
	free(l.odd);
	free((void *)l.gone);
	arena_fini(&l.trash);
	return (rc);
}
