/*
 * scan_tree -- brings the sidecar's tree of mailboxes up to date with the
 * directories.
 *
 * A mailbox is known by its GUID (first line of its list) and by its directory.
 * The same GUID in another directory is a rename; in two directories the copy
 * gets a GUID of its own.  Another GUID and UIDVALIDITY in a known directory is
 * another mailbox, unless messages that we know lie there: then only the list
 * was lost and made anew, and nothing must look as if a user had deleted the
 * mailbox.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"

#define INBOX_DIR ".INBOX"

struct node { /* a mailbox or directory of the sidecar */
	uint32_t id;
	struct guid guid;
	uint32_t uidvalidity;
	bool selectable;
	const char *name;
	const char *dir; /* NULL: none is known */
	struct stamp list;
	struct folder *at; /* where it is now */
	/* another UIDVALIDITY: its messages are entered anew */
	bool replaced;
	bool guid_changed; /* and nothing else */
	const char *want; /* the name it shall have */
};

struct tree {
	struct maildir *m;
	struct arena arena;
	struct folder *folder; /* owned; sorted by directory */
	size_t folders;
	struct node *node; /* owned */
	size_t nodes, cap;
	unsigned problems;
};

/* ---- what is known ---- */

static int
on_node(void *arg, const struct mailbox *m)
{
	struct tree *t = arg;
	struct node *n;

	if (!m->exists)
		return (0);
	if (t->nodes == t->cap) {
		size_t cap = t->cap == 0 ? 32 : t->cap * 2;
		struct node *v = realloc(t->node, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		t->node = v;
		t->cap = cap;
	}
	n = &t->node[t->nodes++];
	memset(n, 0, sizeof(*n));
	n->id = m->id;
	n->guid = m->guid;
	n->uidvalidity = m->uidvalidity;
	n->selectable = m->selectable;
	n->name = arena_strdup(&t->arena, m->name);
	return (n->name == NULL ? -ENOMEM : 0);
}

static int
load_nodes(struct tree *t)
{
	int rc = store_mailboxes(t->m->r.store, on_node, t);

	for (size_t i = 0; rc == 0 && i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct box_state st;

		n->want = n->name;
		if (!n->selectable)
			continue;
		rc = md_state_get(t->m, n->id, &t->arena, &st);
		if (rc == 0) {
			n->dir = st.dir;
			n->list = st.s_list;
		} else if (rc == -ENOENT) {
			rc = 0;
		}
	}
	return (rc);
}

static struct folder *
folder_at(struct tree *t, const char *dir)
{
	size_t lo = 0, hi = t->folders, mid;

	while (dir != NULL && lo < hi) {
		int c = strcmp(t->folder[mid = lo + (hi - lo) / 2].dir, dir);

		if (c == 0)
			return (&t->folder[mid]);
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (NULL);
}

static struct node *
node_of_guid(struct tree *t, const struct guid *g)
{
	for (size_t i = 0; i < t->nodes; i++)
		if (!guid_is_zero(g) && guid_eq(&t->node[i].guid, g))
			return (&t->node[i]);
	return (NULL);
}

static int
read_head(struct tree *t, struct folder *f)
{
	char *ctl = md_ctl_of_dir(t->m, &t->arena, f->dir);
	int rc = ctl == NULL
	    ? -ENOMEM
	    : md_list_head(t->m, ctl, &f->uidvalidity, &f->guid);

	if (rc == -ENOMEM || rc == 0)
		return (rc);
	/* unreadable: the mailbox is as it was */
	t->problems++;
	return (0);
}

static void
match(struct node *n, struct folder *f)
{
	n->at = f;
	f->id = n->id;
}

/* ---- who is where ---- */

/* Mailboxes that are where they were. */
static int
match_stayed(struct tree *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->folders; i++) {
		struct folder *f = &t->folder[i];
		char *ctl, *path;

		if (!f->mailbox)
			continue;
		if ((ctl = md_ctl_of_dir(t->m, &t->arena, f->dir)) == NULL ||
		    (path = md_path(&t->arena, ctl, "dovecot-uidlist")) == NULL)
			return (-ENOMEM);
		if ((rc = md_look(t->m->control, path, &f->list)) == -ENOMEM)
			return (rc);
		rc = 0;
	}
	for (size_t i = 0; rc == 0 && i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct folder *f = n->selectable ? folder_at(t, n->dir) : NULL;

		if (f == NULL || !f->mailbox || f->id != 0)
			continue;
		if (stamp_eq(&f->list, &n->list)) {
			f->guid = n->guid;
			f->uidvalidity = n->uidvalidity;
			match(n, f);
			continue;
		}
		if ((rc = read_head(t, f)) != 0)
			break;
		if (guid_eq(&f->guid, &n->guid)) {
			match(n, f);
			n->replaced = f->uidvalidity != 0 &&
			    f->uidvalidity != n->uidvalidity;
		}
	}
	return (rc);
}

/*
 * Without a list, and none of that GUID elsewhere: it was lost.  Else a new
 * mailbox was made where the one that moved had been.
 */
static void
match_listless(struct tree *t)
{
	for (size_t i = 0; i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct folder *f = n->selectable && n->at == NULL
		    ? folder_at(t, n->dir)
		    : NULL;

		if (f == NULL || !f->mailbox || f->id != 0 ||
		    !guid_is_zero(&f->guid))
			continue;
		match(n, f);
		n->replaced =
		    f->uidvalidity != 0 && f->uidvalidity != n->uidvalidity;
	}
}

/* Mailboxes that moved, and copies of others. */
static int
match_moved(struct tree *t)
{
	int rc;

	for (size_t i = 0; i < t->folders; i++) {
		struct folder *f = &t->folder[i];
		struct node *n;

		if (!f->mailbox || f->id != 0)
			continue;
		if (guid_is_zero(&f->guid) && (rc = read_head(t, f)) != 0)
			return (rc);
		if ((n = node_of_guid(t, &f->guid)) == NULL)
			continue;
		if (n->at != NULL) {
			f->copied = true;
		} else {
			match(n, f);
			if (strcmp(n->name, "INBOX") != 0 && *f->dir != 0 &&
			    (rc = md_name_of_dir(
				 t->m, &t->arena, f->dir, &n->want)) != 0)
				return (rc);
			n->replaced = f->uidvalidity != 0 &&
			    f->uidvalidity != n->uidvalidity;
		}
	}
	return (0);
}

struct known_mail {
	struct tree *t;
	uint32_t id;
};

static int
is_known(void *arg, const struct os_dirent *e)
{
	struct known_mail *k = arg;
	struct arena a = ARENA_INIT;
	char *base = arena_strndup(&a, e->name, mail_base_len(e->name));
	struct msg m;
	int rc = base == NULL
	    ? -ENOMEM
	    : store_msg_by_name(k->t->m->r.store, k->id, base, &a, &m);

	arena_fini(&a);
	return (rc == 0 ? 1 : rc == -ENOENT ? 0 : rc);
}

/* 1: a message of the sidecar's mailbox lies in the directory. */
static int
has_known_mail(struct tree *t, const struct node *n, const struct folder *f)
{
	static const char *const subs[] = { "cur", "new" };
	struct known_mail k = { t, n->id };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2; i++) {
		char *dir = md_path(&t->arena, f->dir, subs[i]);

		rc = dir == NULL
		    ? -ENOMEM
		    : t->m->root->ops->list(t->m->root, dir, is_known, &k);
		if (rc == -ENOENT)
			rc = 0;
		else if (rc < 0 && rc != -ENOMEM)
			(void)md_fail(t->m->root, dir, "listed", rc);
	}
	return (rc);
}

/* Mailboxes whose list says another GUID than it did. */
static int
match_changed(struct tree *t)
{
	for (size_t i = 0; i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct folder *f = n->selectable && n->at == NULL
		    ? folder_at(t, n->dir)
		    : NULL;
		struct box *b;
		int rc;

		if (f == NULL || !f->mailbox || f->id != 0)
			continue;
		/*
		 * A copy that was one before has its GUID in the sidecar, where
		 * its list may not be written, or was not yet.
		 */
		if (f->copied) {
			match(n, f);
			if (!t->m->rdonly && md_box(t->m, n->id, &b) == 0)
				b->guid_new = true;
		} else if (f->uidvalidity == n->uidvalidity) {
			match(n, f);
			n->guid_changed = true;
		} else if ((rc = *f->dir == 0 ? 1 : has_known_mail(t, n, f)) ==
		    1) {
			match(n, f);
			n->replaced = f->keep_guid = true;
			f->guid = n->guid;
			log_warning("%s: the list of UIDs of mailbox %s was "
				    "made anew by another program; its "
				    "messages are entered again",
			    t->m->r.label, n->name);
		} else if (rc < 0) {
			return (rc);
		}
	}
	return (0);
}

/* ---- changes ---- */

static int
finish(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static int
drop_node(struct tree *t, struct node *n)
{
	struct txn *x;
	struct box *b;
	int rc;

	if (n->selectable && md_box(t->m, n->id, &b) == 0)
		md_box_forget(t->m, b);
	if ((rc = txn_begin(t->m->r.store, NULL, &x)) != 0)
		return (rc);
	if ((rc = txn_mailbox_delete(x, n->id, 0)) == 0)
		rc = md_state_drop(x, n->id);
	n->id = 0;
	return (finish(x, rc));
}

/* The sidecar's mailboxes without a directory; children before parents. */
static int
drop_gone(struct tree *t)
{
	int rc = 0;

	for (size_t i = t->nodes; rc == 0 && i-- > 0;) {
		struct node *n = &t->node[i];
		const char *dir;
		bool changed;
		struct folder *f;

		if (n->selectable && n->at == NULL &&
		    strcmp(n->name, "INBOX") == 0) {
			t->problems++;
			log_error("%s: the INBOX has none of cur, new and tmp "
				  "any more; it is left as it was",
			    t->m->r.label);
		} else if (n->selectable && (n->at == NULL || n->replaced)) {
			if (n->at != NULL)
				n->at->id = 0;
			rc = drop_node(t, n);
		} else if (!n->selectable && t->m->fs) {
			if ((rc = md_dir_of_name(t->m, &t->arena, n->name,
				 &changed, &dir)) != 0)
				break;
			f = folder_at(t, dir);
			if (f == NULL)
				rc = drop_node(t, n);
		}
	}
	return (rc);
}

static int
rename_node(struct tree *t, const struct node *n, const char *name)
{
	struct txn *x;
	int rc = txn_begin(t->m->r.store, NULL, &x);

	return (
	    rc != 0 ? rc : finish(x, txn_mailbox_rename(x, n->id, name, 0)));
}

/* A free name for n: this one with a number behind it. */
static int
aside(struct tree *t, const struct node *n, const char *base)
{
	struct mailbox m;

	for (unsigned i = 1; i < 1000; i++) {
		const char *name = arena_printf(&t->arena, "%s_%u", base, i);

		if (name == NULL)
			return (-ENOMEM);
		if (store_mailbox_by_name(t->m->r.store, name, &m) == -ENOENT &&
		    name_valid(name))
			return (rename_node(t, n, name));
	}
	return (-EEXIST);
}

/* The sidecar's directory node in the way of a mailbox. */
static int
make_way(struct tree *t, const char *name)
{
	struct mailbox m;
	struct txn *x;
	int rc = store_mailbox_by_name(t->m->r.store, name, &m);

	if (rc == -ENOENT || (rc == 0 && !m.exists))
		return (0);
	if (rc != 0 || m.selectable)
		return (rc == 0 ? -EEXIST : rc);
	if ((rc = txn_begin(t->m->r.store, NULL, &x)) != 0)
		return (rc);
	return (finish(x, txn_mailbox_delete(x, m.id, 0)));
}

static int
settle_guids(struct tree *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct mailbox_update u = { .min_uidnext = 0 };
		struct txn *x;

		if (!n->guid_changed || n->id == 0)
			continue;
		u.guid = n->at->guid;
		if ((rc = txn_begin(t->m->r.store, NULL, &x)) == 0)
			rc = finish(x, txn_mailbox_update(x, n->id, &u));
	}
	return (rc);
}

/* 1: renamed; 0: is right; -EEXIST: the name is not free. */
static int
settle_name(struct tree *t, struct node *n)
{
	struct mailbox now;
	int rc;

	if (n->at == NULL || n->replaced || n->id == 0)
		return (0);
	if ((rc = store_mailbox(t->m->r.store, n->id, &now)) != 0 ||
	    strcmp(now.name, n->want) == 0)
		return (rc);
	if ((rc = make_way(t, n->want)) != 0)
		return (rc);
	/* Into itself: out of its own way first. */
	if (name_is_child(now.name, n->want)) {
		const char *name = arena_strdup(&t->arena, now.name);

		rc = name == NULL ? -ENOMEM : aside(t, n, name);
	} else {
		rc = rename_node(t, n, n->want);
	}
	return (rc == 0 ? 1 : rc == -EINVAL ? -EEXIST : rc);
}

/*
 * Names follow the directories; children go along with a parent, so all are
 * looked at until nothing changes.
 */
static int
settle_names(struct tree *t)
{
	for (size_t pass = 0; pass < t->nodes + 2; pass++) {
		struct node *stuck = NULL;
		bool any = false;

		for (size_t i = 0; i < t->nodes; i++) {
			int rc = settle_name(t, &t->node[i]);

			if (rc == -EEXIST)
				stuck = &t->node[i];
			else if (rc < 0)
				return (rc);
			any |= rc == 1;
		}
		if (!any && stuck == NULL)
			return (0);
		if (!any) {
			/* Another has the wanted name for good. */
			int rc = aside(t, stuck, stuck->want);

			if (rc != 0)
				return (rc);
		}
	}
	return (0);
}

/* Directories of those that moved. */
static int
settle_dirs(struct tree *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->nodes; i++) {
		struct node *n = &t->node[i];
		struct box_state st;
		struct txn *x;
		struct box *b;

		if (n->at == NULL || n->id == 0 || n->replaced ||
		    (n->dir != NULL && strcmp(n->dir, n->at->dir) == 0))
			continue;
		rc = md_state_get(t->m, n->id, &t->arena, &st);
		if (rc != 0 && rc != -ENOENT)
			return (rc);
		st.dir = n->at->dir;
		st.settled = false;
		if ((rc = txn_begin(t->m->r.store, NULL, &x)) == 0)
			rc = finish(x, md_state_put(x, n->id, &st));
		if (rc == 0 && (rc = md_box(t->m, n->id, &b)) == 0)
			rc = md_box_dir_set(t->m, b, n->at->dir);
	}
	return (rc);
}

/* ---- new ones ---- */

static int
free_name(struct tree *t, const char *dir, bool mailbox, const char **name)
{
	const char *base;
	struct mailbox m;
	int rc = md_name_of_dir(t->m, &t->arena, dir, &base);

	*name = base;
	for (unsigned i = 2; rc == 0 && i < 1000; i++) {
		rc = store_mailbox_by_name(t->m->r.store, *name, &m);
		if (rc == -ENOENT ||
		    (rc == 0 && (!m.exists || (mailbox && !m.selectable))))
			return (0);
		if (rc == 0 &&
		    (*name = arena_printf(&t->arena, "%s_%u", base, i)) == NULL)
			rc = -ENOMEM;
	}
	return (rc == 0 ? -EEXIST : rc);
}

/*
 * A mailbox that another program made may go with the power; once it is in the
 * sidecar that would look as if it had been deleted, to the peers too.
 */
static int
make_durable(struct tree *t, const char *dir)
{
	struct os *root = t->m->root;
	char *path, *slash;
	int rc = 0;

	if (t->m->rdonly)
		return (0);
	path = arena_strdup(&t->arena, dir);
	if (path == NULL)
		return (-ENOMEM);
	while ((rc = root->ops->sync_dir(root, path)) == 0 && *path != '\0') {
		slash = strrchr(path, '/');
		*(slash == NULL ? path : slash) = '\0';
	}
	return (rc == 0 || rc == -ENOENT
		? 0
		: md_fail(root, dir, "made durable", rc));
}

static int
make_mailbox(struct tree *t, struct folder *f)
{
	struct mailbox_new new = { .guid = f->guid,
		.uidvalidity = f->uidvalidity };
	struct box_state st = { .dir = f->dir };
	struct txn *x;
	struct box *b;
	int rc;

	if (f->copied)
		memset(&new.guid, 0, sizeof(new.guid));
	if ((rc = free_name(t, f->dir, true, &new.name)) != 0 ||
	    (rc = make_durable(t, f->dir)) != 0 ||
	    (rc = txn_begin(t->m->r.store, NULL, &x)) != 0)
		return (rc);
	if ((rc = txn_mailbox_create(x, &new, &f->id)) == 0)
		rc = md_state_put(x, f->id, &st);
	if ((rc = finish(x, rc)) != 0)
		return (rc);
	if (f->keep_guid && (rc = md_box(t->m, f->id, &b)) == 0)
		b->guid_new = true;
	if (f->copied) {
		log_warning("%s/%s: is a copy of another mailbox, with its "
			    "GUID; it gets one of its own",
		    t->m->root->ops->label(t->m->root), f->dir);
		if ((rc = md_box(t->m, f->id, &b)) == 0)
			b->guid_new = true;
	}
	return (rc);
}

static int
make_directory(struct tree *t, const struct folder *f)
{
	struct mailbox_new new = { .directory = true };
	struct mailbox m;
	struct txn *x;
	int rc = md_name_of_dir(t->m, &t->arena, f->dir, &new.name);

	if (rc != 0)
		return (rc);
	rc = store_mailbox_by_name(t->m->r.store, new.name, &m);
	if (rc != -ENOENT && (rc != 0 || m.exists))
		return (rc);
	if ((rc = txn_begin(t->m->r.store, NULL, &x)) != 0)
		return (rc);
	return (finish(x, txn_mailbox_create(x, &new, NULL)));
}

/*
 * Of a directory that others lie in nothing is said: their names say it, and so
 * it is in the other layout.
 */
static bool
holds_others(const struct tree *t, size_t i)
{
	const char *dir = t->folder[i].dir;
	size_t n = strlen(dir);

	/* All that begin with the same bytes stand together. */
	for (i++; i < t->folders && strncmp(t->folder[i].dir, dir, n) == 0; i++)
		if (t->folder[i].dir[n] == '/')
			return (true);
	return (false);
}

static bool
is_inbox_twin(const struct tree *t, const struct folder *f)
{
	return (strcmp(f->dir, t->m->fs ? &INBOX_DIR[1] : INBOX_DIR) == 0);
}

static int
make_new(struct tree *t)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->folders; i++) {
		struct folder *f = &t->folder[i];

		if (f->mailbox && f->id == 0 && is_inbox_twin(t, f)) {
			t->problems++;
			log_error(
			    "%s/%s: would be a second INBOX; it is left out",
			    t->m->root->ops->label(t->m->root), f->dir);
		} else if (f->mailbox && f->id == 0) {
			rc = make_mailbox(t, f);
		} else if (!f->mailbox && !is_inbox_twin(t, f) &&
		    !holds_others(t, i)) {
			rc = make_directory(t, f);
		}
		if (rc == -EEXIST || rc == -EINVAL) {
			t->problems++;
			log_error("%s/%s: cannot be shown as a mailbox; it is "
				  "left out",
			    t->m->root->ops->label(t->m->root), f->dir);
			rc = 0;
		}
	}
	return (rc);
}

int
md_scan_tree(struct maildir *m, unsigned *problems)
{
	struct tree t = { .m = m };
	int rc;

	arena_init(&t.arena);
	if ((rc = md_folders(
		 m, &t.arena, &t.folder, &t.folders, &t.problems)) == 0 &&
	    (rc = load_nodes(&t)) == 0 && (rc = match_stayed(&t)) == 0 &&
	    (rc = match_moved(&t)) == 0 &&
	    (match_listless(&t), rc = match_changed(&t)) == 0 &&
	    (rc = drop_gone(&t)) == 0 && (rc = settle_guids(&t)) == 0 &&
	    (rc = settle_names(&t)) == 0 && (rc = settle_dirs(&t)) == 0)
		rc = make_new(&t);
	*problems += t.problems;
	free(t.folder);
	free(t.node);
	arena_fini(&t.arena);
	return (rc);
}
