/*
 * find -- the file of a message.
 *
 * It is where its state in the sidecar says, unless another program changed it
 * meanwhile: then the directories are read, as the base name stays.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <string.h>

struct search {
	const char *base;
	size_t len;
	struct arena *a;
	const char *found;
};

static int
on_entry(void *arg, const struct os_dirent *e)
{
	struct search *s = arg;

	if (strncmp(e->name, s->base, s->len) != 0 ||
	    (e->name[s->len] != 0 && e->name[s->len] != ':') ||
	    e->type != OS_FILE)
		return (0);
	s->found = arena_strdup(s->a, e->name);
	return (s->found == NULL ? -ENOMEM : 1);
}

static int
search_dir(struct os *os, const char *box, const char *sub, const char *base,
    struct arena *a, const char **path)
{
	struct search s = { base, strlen(base), a, NULL };
	char *dir = md_path(a, box, sub);
	int rc = dir == NULL ? -ENOMEM : os->ops->list(os, dir, on_entry, &s);

	if (rc < 0)
		return (rc == -ENOENT || rc == -ENOMEM
			? rc
			: md_fail(os, dir, "listed", rc));
	if (s.found == NULL)
		return (-ENOENT);
	return ((*path = md_path(a, dir, s.found)) == NULL ? -ENOMEM : 0);
}

int
md_find_base(struct os *os, const char *box, const char *base, struct arena *a,
    const char **path)
{
	int rc = -ENOENT;

	/* Twice: a rename can hide a name from one listing. */
	for (int i = 0; i < 2 && rc == -ENOENT; i++) {
		rc = search_dir(os, box, "cur", base, a, path);
		if (rc == -ENOENT)
			rc = search_dir(os, box, "new", base, a, path);
	}
	return (rc);
}

static int
try_one(struct maildir *m, struct box *b, const char *sub, const char *name,
    struct arena *a, const char **path)
{
	char *dir = md_path(a, b->dir, sub),
	     *p = dir == NULL ? NULL : md_path(a, dir, name);
	struct os_stat st;
	int rc;

	if (p == NULL)
		return (-ENOMEM);
	if ((rc = m->root->ops->stat(m->root, p, &st)) == 0 &&
	    st.type == OS_FILE)
		*path = p;
	return (rc == 0 && st.type != OS_FILE ? -ENOENT : rc);
}

/* Names that the sidecar's state leads to, the likeliest first. */
static int
try_expected(struct maildir *m, struct box *b, const struct msg *msg,
    struct arena *a, const char **path)
{
	struct buf name = BUF_INIT;
	struct mail_info info;
	int rc = -ENOENT;

	if ((msg->state & MSG_NEW) &&
	    (rc = try_one(m, b, "new", msg->name, a, path)) != -ENOENT)
		return (rc);
	for (int passed = 0; passed < 2 && rc == -ENOENT; passed++) {
		buf_reset(&name);
		md_info_make(b, msg->flags, &msg->keywords, msg->letters,
		    passed != 0, &info);
		if (passed != 0 && !info.forwarded)
			break;
		maildir_name_format(&name, msg->name, &info);
		rc = buf_cstr(&name) == NULL
		    ? -ENOMEM
		    : try_one(m, b, msg->state & MSG_NEW ? "new" : "cur",
			  buf_cstr(&name), a, path);
	}
	buf_fini(&name);
	if (rc == -ENOENT && !(msg->state & MSG_NEW))
		rc = try_one(m, b, "cur", msg->name, a, path);
	return (rc);
}

int
md_find(struct maildir *m, struct box *b, const struct msg *msg,
    struct arena *a, const char **path)
{
	struct box_state st;
	int rc = md_state_get(m, b->id, a, &st);

	if (rc == 0 || rc == -ENOENT)
		rc = md_kw_read(m, b, st.kw, st.kws);
	if (rc != 0)
		return (rc);
	rc = try_expected(m, b, msg, a, path);
	/* A name too long to be looked up is not there under that name. */
	if (rc == -ENOENT || rc == -ENAMETOOLONG)
		rc = md_find_base(m->root, b->dir, msg->name, a, path);
	return (rc);
}
