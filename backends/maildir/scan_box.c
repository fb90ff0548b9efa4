/*
 * scan_box -- brings the sidecar up to date with the files of one mailbox.
 *
 * A mailbox whose directories, list and keywords look as they did at the last
 * scan is left alone; stamps younger than the coarsest clock of a file system
 * are not trusted (settled).  Else the names are read and compared with the
 * sidecar, without a lock; only where something is to be written (UIDs for new
 * files, a list that is missing or broken) all is done again under the lock.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define COARSE 2 /* seconds */

/* ---- comparing ---- */

static struct md_change *
new_change(struct scan *s, uint32_t uid)
{
	if (s->changes == s->change_cap) {
		size_t cap = s->change_cap == 0 ? 64 : s->change_cap * 2;
		struct md_change *v = realloc(s->change, cap * sizeof(*v));

		if (v == NULL)
			return (NULL);
		s->change = v;
		s->change_cap = cap;
	}
	memset(&s->change[s->changes], 0, sizeof(*s->change));
	s->change[s->changes].uid = uid;
	return (&s->change[s->changes++]);
}

static int
note_flags(struct scan *s, const struct md_file *f,
    const struct mail_info *info, const struct msg *m)
{
	static const struct keywords none = { NULL, 0 };
	struct arena *a = &s->looked;
	struct keywords now, old;
	struct md_change *c = new_change(s, m->uid);
	int rc = c == NULL ? -ENOMEM : keywords_copy(a, &m->keywords, &old);

	if (rc == 0)
		rc = md_info_keywords(s->b, info, a, &old, &now);
	if (rc != 0)
		return (rc);
	c->u.add = (uint8_t)(info->flags & ~m->flags);
	c->u.remove = (uint8_t)(m->flags & ~info->flags);
	c->u.set_state = true;
	c->u.state = f->in_new ? MSG_NEW : 0;
	if ((c->u.letters = arena_strdup(a, info->other)) == NULL)
		return (-ENOMEM);
	rc = keywords_apply(a, &now, &none, &old, &c->u.kw_add);
	return (
	    rc != 0 ? rc
		    : keywords_apply(a, &old, &none, &now, &c->u.kw_remove));
}

static int
compare_flags(struct scan *s, const struct md_file *f, const struct msg *m)
{
	const char *letters = m->letters == NULL ? "" : m->letters;
	struct arena a = ARENA_INIT;
	struct mail_info info;
	struct keywords now;
	int rc;

	mail_info_parse(mail_info_text(f->name), &info);
	/* Of most messages nothing is kept. */
	rc = md_info_keywords(s->b, &info, &a, &m->keywords, &now);
	if (rc == 0 &&
	    (info.flags != m->flags || !keywords_eq(&now, &m->keywords) ||
		f->in_new != ((m->state & MSG_NEW) != 0) ||
		strcmp(letters, info.other) != 0))
		rc = note_flags(s, f, &info, m);
	arena_fini(&a);
	return (rc);
}

/*
 * What the list says of the file's UID, and what is to be done when it is not
 * what the sidecar says.
 */
static void
compare_uid(struct scan *s, struct md_file *f, const struct msg *m)
{
	const struct uidrec *rec = uidlist_find(&s->b->list, f->base), *other;
	uint32_t i;

	f->from = m->uid;
	f->uid = m->uid;
	f->known = true;
	if (rec != NULL && rec->uid == m->uid)
		return;
	if (rec != NULL && rec->uid >= s->box.uidnext) {
		f->uid = rec->uid; /* another program gave it a new one */
		f->known = false;
		return;
	}
	if (!s->writable)
		return;
	s->relist = true;
	other = rec != NULL ? rec : uidlist_find_uid(&s->b->list, m->uid);
	if (other != NULL && table_get(&s->by_base, other->base, &i)) {
		f->uid = 0; /* taken */
		f->known = false;
	}
}

static int
compare_one(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct scan *s = arg;
	struct md_change *c;
	struct md_file *f;
	uint32_t i;

	(void)mailbox;
	if (!table_get(&s->by_base, m->name, &i)) {
		s->missing = true;
		if ((c = new_change(s, m->uid)) == NULL)
			return (-ENOMEM);
		c->gone = true;
		return (0);
	}
	f = &s->file[i];
	f->guid = strcmp(m->guid, f->base) == 0
	    ? f->base
	    : arena_strdup(&s->looked, m->guid);
	if (f->guid == NULL)
		return (-ENOMEM);
	f->vsize = m->vsize;
	compare_uid(s, f, m);
	return (compare_flags(s, f, m));
}

/* What is there once for all of them takes no memory for each. */
static const char *
keep(struct scan *s, const char *text)
{
	if (text != NULL && *text == '\0')
		return ("");
	return (arena_strdup(&s->looked, text));
}

/* What the list knows of a file. */
static int
take_record(struct scan *s, struct md_file *f)
{
	const struct uidrec *rec = uidlist_find(&s->b->list, f->base);
	struct maildir_name name;

	f->rest = "";
	if (rec != NULL) {
		f->rest = keep(s, rec->rest);
		f->pop3_uidl = keep(s, rec->pop3_uidl);
		f->pop3_order = rec->pop3_order;
		f->vsize = rec->vsize;
		if (f->guid == NULL)
			f->guid = keep(s, rec->guid);
		if (f->from == 0 && rec->uid >= s->box.uidnext)
			f->uid = rec->uid;
		else if (f->from == 0 && s->writable)
			s->relist = true; /* a line of its old life */
	}
	maildir_name_parse(f->base, &name);
	if (name.has_vsize)
		f->vsize = name.vsize;
	if (f->guid == NULL || *f->guid == 0)
		f->guid = f->base;
	if (f->uid == 0)
		s->arrivals = true;
	return (s->looked.error);
}

static int
compare(struct scan *s)
{
	int rc;

	s->changes = 0;
	s->missing = s->relist = s->arrivals = false;
	rc = store_msgs(s->m->r.store, s->box.id, 1, compare_one, s);
	for (size_t i = 0; rc == 0 && i < s->n; i++)
		rc = take_record(s, &s->file[i]);
	return (rc);
}

/* ---- a look at all ---- */

static int
stamps(struct scan *s)
{
	struct arena *a = &s->arena;
	struct maildir *m = s->m;
	char *new = md_path(a, s->b->dir, "new"),
	     *cur = md_path(a, s->b->dir, "cur");
	char *list = md_path(a, s->b->ctl, "dovecot-uidlist"),
	     *kw = md_path(a, s->b->ctl, "dovecot-keywords");
	int rc;

	if (new == NULL || cur == NULL || list == NULL || kw == NULL)
		return (-ENOMEM);
	if ((rc = md_look(m->root, new, &s->now.s_new)) != 0 ||
	    (rc = md_look(m->root, cur, &s->now.s_cur)) != 0 ||
	    (rc = md_look(m->control, list, &s->now.s_list)) != 0)
		return (rc);
	return (md_look(m->control, kw, &s->now.s_kw));
}

static bool
old_enough(const struct stamp *s, int64_t now)
{
	return (
	    !s->there || (s->mtime < now - COARSE && s->ctime < now - COARSE));
}

static bool
as_before(const struct scan *s)
{
	return (s->old.settled && stamp_eq(&s->old.s_new, &s->now.s_new) &&
	    stamp_eq(&s->old.s_cur, &s->now.s_cur) &&
	    stamp_eq(&s->old.s_list, &s->now.s_list) &&
	    stamp_eq(&s->old.s_kw, &s->now.s_kw));
}

static void
forget_files(struct scan *s)
{
	table_fini(&s->by_base);
	arena_fini(&s->looked);
	s->n = s->changes = 0;
}

static int
keywords_state(struct scan *s)
{
	const struct kwtable *k = &s->b->kw;

	s->now.kws = k->n < MD_LETTERS ? k->n : MD_LETTERS;
	if ((s->now.kw = arena_zalloc(
		 &s->arena, (s->now.kws + 1) * sizeof(*s->now.kw))) == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < s->now.kws; i++)
		if ((s->now.kw[i] = arena_strdup(&s->arena,
			 k->name[i] == NULL ? "" : k->name[i])) == NULL)
			return (-ENOMEM);
	return (0);
}

/* Letters that no table has a name for get the one that Dovecot gives them. */
static int
name_letters(struct scan *s)
{
	struct mail_info info;
	uint32_t seen = 0;
	int rc = 0;

	for (size_t i = 0; i < s->n; i++) {
		mail_info_parse(mail_info_text(s->file[i].name), &info);
		seen |= info.letters;
	}
	for (unsigned i = 0; rc == 0 && i < MD_LETTERS; i++)
		if ((seen & 1u << i) &&
		    (i >= s->b->kw.n || s->b->kw.name[i] == NULL)) {
			const char *name =
			    arena_printf(&s->arena, "unknown-%u", i);

			rc = name == NULL ? -ENOMEM
					  : kwtable_set(&s->b->kw, i, name);
			if (rc == -EEXIST)
				rc = 0;
		}
	return (rc);
}

/*
 * Reads everything once; a message that seems to be gone is looked for again,
 * since a rename can hide a name from a listing.
 */
static int
look(struct scan *s)
{
	int64_t sec;
	uint32_t nsec;
	int rc;

	forget_files(s);
	s->problems = 0;
	s->m->root->ops->now(s->m->root, &sec, &nsec);
	if ((rc = stamps(s)) != 0 || (rc = md_list_read(s->m, s->b)) != 0 ||
	    (rc = md_kw_read(s->m, s->b, s->old.kw, s->old.kws)) != 0)
		return (rc);
	s->now.settled = old_enough(&s->now.s_new, sec) &&
	    old_enough(&s->now.s_cur, sec) && old_enough(&s->now.s_list, sec) &&
	    old_enough(&s->now.s_kw, sec);
	if (s->b->list.problem != NULL)
		s->problems++;
	if ((rc = md_gather(s)) == 0 && (rc = name_letters(s)) == 0)
		rc = compare(s);
	if (rc == 0 && s->missing && (rc = md_gather(s)) == 0) {
		for (size_t i = 0; i < s->n; i++)
			s->file[i] = (struct md_file){ .name = s->file[i].name,
				.base = s->file[i].base,
				.in_new = s->file[i].in_new };
		rc = compare(s);
	}
	return (rc != 0 ? rc : keywords_state(s));
}

/*
 * The list belongs to another mailbox than the sidecar's: the tree will be
 * looked at again.
 */
static bool
is_other(const struct scan *s)
{
	const struct uidlist *l = &s->b->list;

	return (l->uidvalidity != 0 && !s->b->guid_new &&
	    ((!guid_is_zero(&l->guid) && !guid_eq(&l->guid, &s->box.guid)) ||
		l->uidvalidity != s->box.uidvalidity));
}

/* ---- UIDs ---- */

static int
by_uid(const void *a, const void *b)
{
	const struct md_file *x = a, *y = b;
	uint32_t u = x->uid == 0 ? UINT32_MAX : x->uid,
		 v = y->uid == 0 ? UINT32_MAX : y->uid;

	return (u != v ? (u < v ? -1 : 1) : maildir_name_cmp(x->name, y->name));
}

static struct uidrec
record_of(const struct md_file *f)
{
	struct uidrec r = { .uid = f->uid,
		.base = f->base,
		.pop3_uidl = f->pop3_uidl,
		.pop3_order = f->pop3_order,
		.rest = f->rest };
	struct maildir_name name;

	if (strcmp(f->guid, f->base) != 0 && uidlist_value_ok(f->guid))
		r.guid = f->guid;
	maildir_name_parse(f->base, &name);
	if (!name.has_vsize)
		r.vsize = f->vsize;
	return (r);
}

/* The list as it should be: every file, and nothing else. */
static int
rewrite_list(struct scan *s)
{
	struct uidlist *l = &s->b->list, fresh;
	int rc = 0;

	uidlist_init(&fresh);
	if ((fresh.rest = arena_strdup(&fresh.arena, l->rest)) == NULL)
		rc = -ENOMEM;
	fresh.next = l->next;
	for (size_t i = 0; rc == 0 && i < s->n; i++) {
		struct uidrec r = record_of(&s->file[i]);

		if (!s->file[i].skip)
			rc = uidlist_add(&fresh, &r);
	}
	if (rc != 0) {
		uidlist_fini(&fresh);
		return (rc);
	}
	uidlist_fini(l);
	*l = fresh;
	return (md_list_write(s->m, s->b));
}

/* Gives UIDs to the files that have none, on disk first. */
static int
give_uids(struct scan *s)
{
	uint32_t next = md_next_uid(s->b, &s->box);
	int rc = 0;

	if (s->n > 1)
		qsort(s->file, s->n, sizeof(*s->file), by_uid);
	for (size_t i = 0; rc == 0 && i < s->n; i++) {
		struct md_file *f = &s->file[i];

		if (f->uid != 0 || f->skip)
			continue;
		if (next == UINT32_MAX) {
			f->skip = true;
			md_problem(s, f->in_new ? "new" : "cur", f->name,
			    "there is no UID left in this mailbox");
			continue;
		}
		f->uid = next++;
		if (s->writable && !s->relist) {
			struct uidrec r = record_of(f);

			rc = md_list_append(s->m, s->b, &r, false);
		}
	}
	return (rc == 0 && s->writable && s->relist ? rewrite_list(s) : rc);
}

/* ---- all of it ---- */

static int
scan_locked(struct scan *s)
{
	unsigned problems = s->problems;
	int rc = md_box_lock(s->m, s->b, true);

	if (rc == -EROFS || rc == -EACCES || rc == -EPERM) {
		log_verbose("%s: mailbox %s cannot be written; its UIDs are "
			    "kept in the sidecar",
		    s->m->r.label, s->box.name);
		s->writable = false;
	} else if (rc != 0) {
		return (rc);
	}
	s->quiet = true;
	rc = look(s);
	s->quiet = false;
	if (s->problems < problems)
		s->problems = problems;
	if (rc == 0 && !is_other(s))
		rc = give_uids(s);
	return (rc);
}

/* The tree takes the list for known where its stamp is: not this one. */
static int
ask_tree(struct scan *s)
{
	struct box_state st = s->old;
	struct txn *t;
	int rc = txn_begin(s->m->r.store, NULL, &t);

	memset(&st.s_list, 0, sizeof(st.s_list));
	st.settled = false;
	if (rc != 0)
		return (rc);
	if ((rc = md_state_put(t, s->box.id, &st)) == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static int
scan(struct scan *s)
{
	bool lock;
	int rc;

	if ((rc = stamps(s)) != 0)
		return (rc);
	if (as_before(s))
		return (0);
	if ((rc = look(s)) != 0)
		return (rc);
	if (is_other(s)) {
		log_verbose("%s: mailbox %s: another one was put in its place; "
			    "it is looked at next time",
		    s->m->r.label, s->box.name);
		return (s->m->rdonly ? 0 : ask_tree(s));
	}
	lock = s->writable &&
	    (s->arrivals || s->relist || s->b->list.rewrite || s->b->guid_new);
	rc = lock ? scan_locked(s) : give_uids(s);
	if (rc == 0 && lock && is_other(s))
		return (ask_tree(s));
	if (rc != 0)
		return (rc);
	s->now.settled = s->now.settled && s->problems == 0;
	return (md_store_scan(s));
}

int
md_scan_box(struct maildir *m, uint32_t id, unsigned *problems)
{
	struct scan s = { .m = m, .writable = !m->rdonly };
	int rc;

	arena_init(&s.arena);
	arena_init(&s.looked);
	table_init(&s.by_base);
	if ((rc = md_box(m, id, &s.b)) == 0 &&
	    (rc = store_mailbox(m->r.store, id, &s.box)) == 0 &&
	    (rc = md_state_get(m, id, &s.arena, &s.old)) == 0) {
		s.box.name = arena_strdup(&s.arena, s.box.name);
		s.now.dir = s.old.dir;
		rc = s.box.name == NULL ? -ENOMEM : scan(&s);
		md_box_unlock(m, s.b);
	}
	*problems += s.problems;
	table_fini(&s.by_base);
	free(s.file);
	free(s.change);
	arena_fini(&s.looked);
	arena_fini(&s.arena);
	return (rc);
}
