/*
 * write -- new messages: saved from a stream, or linked from another mailbox.
 *
 * The order is: the file whole and synced in tmp/, its line in the list, its
 * name in new/ or cur/ with that directory synced, the sidecar. So a power cut
 * never leaves a message in the sidecar whose file is gone: the next scan would
 * take that for a user's expunge.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "backends/maildir/write.h"

#define CHUNK 65536

int
md_dirs_make(struct maildir *m, struct box *b)
{
	static const char *const parts[] = { "tmp", "new", "cur" };
	struct arena a = ARENA_INIT;
	bool made = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 3; i++) {
		char *path = md_path(&a, b->dir, parts[i]);

		rc =
		    path == NULL ? -ENOMEM : m->root->ops->mkdir(m->root, path);
		made = made || rc == 0;
		if (rc == -EEXIST)
			rc = 0;
		else if (rc != 0)
			(void)md_fail(
			    m->root, path == NULL ? b->dir : path, "made", rc);
	}
	if (rc == 0 && made &&
	    (rc = m->root->ops->sync_dir(m->root, b->dir)) != 0)
		(void)md_fail(m->root, b->dir, "made durable", rc);
	arena_fini(&a);
	return (rc);
}

int
md_release(struct maildir *m, struct box *b)
{
	struct mailbox box;
	int rc = 0;

	if (b->lock.path != NULL && b->list_read &&
	    store_mailbox(m->r.store, b->id, &box) == 0 &&
	    md_list_behind(b, &box)) {
		rc = md_list_write(m, b);
		b->list_read = false; /* its old lines are still in memory */
	}
	md_box_unlock(m, b);
	return (rc);
}

int
md_begin(
    struct maildir *m, uint32_t mailbox, struct mailbox *box, struct box **out)
{
	int rc;

	if (m->rdonly) {
		log_error("%s: is opened for reading only", m->r.label);
		return (-EROFS);
	}
	if ((rc = store_mailbox(m->r.store, mailbox, box)) != 0)
		return (rc);
	if (!box->exists || !box->selectable)
		return (-ENOENT);
	/*
	 * One lock at a time: who waits for one of ours while we wait for his
	 * would wait for ever.
	 */
	for (struct box *b = m->boxes; b != NULL; b = b->next) {
		if (b->id == mailbox || b->lock.path == NULL)
			continue;
		if ((rc = md_box_sync(m, b)) != 0 ||
		    (rc = md_release(m, b)) != 0)
			return (rc);
	}
	if ((rc = md_box(m, mailbox, out)) != 0)
		return (rc);
	if ((*out)->lock.path != NULL) {
		dotlock_touch(&(*out)->lock);
		return (0);
	}
	if ((rc = md_dirs_make(m, *out)) == 0)
		rc = md_box_lock(m, *out, false);
	return (rc);
}

/* ---- the file in tmp/ ---- */

struct fresh {
	char *path; /* in tmp/, in the arena */
	uint64_t size, vsize;
};

static void
count(struct fresh *f, const char *p, size_t n, char *last)
{
	f->size += n;
	f->vsize += n;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' && *last != '\r')
			f->vsize++;
		*last = p[i];
	}
}

static int
pour(struct maildir *m, struct os_file *file, const char *path,
    struct stream *body, struct fresh *f)
{
	char *chunk = malloc(CHUNK), last = 0;
	ssize_t n;
	int rc = chunk == NULL ? -ENOMEM : 0;

	while (rc == 0) {
		if ((n = stream_read(body, chunk, CHUNK)) <= 0) {
			rc = (int)n;
			break;
		}
		if ((rc = m->root->ops->pwrite(
			 file, chunk, (size_t)n, f->size)) != 0)
			(void)md_fail(m->root, path, "written", rc);
		else
			count(f, chunk, (size_t)n, &last);
	}
	free(chunk);
	return (rc);
}

static int
spool(struct maildir *m, const struct box *b, struct arena *a,
    const struct msg *msg, struct stream *body, struct fresh *f)
{
	struct os_file *file;
	char hex[17], *name;
	uint8_t r[8];
	int rc;

	memset(f, 0, sizeof(*f));
	if ((rc = m->root->ops->random(m->root, r, sizeof(r))) != 0)
		return (
		    md_fail(m->root, b->dir, "written: no random bytes", rc));
	hex_encode(r, sizeof(r), hex);
	if ((name = arena_printf(a, "tmp/%s.dsyncfs", hex)) == NULL ||
	    (f->path = md_path(a, b->dir, name)) == NULL)
		return (-ENOMEM);
	if ((rc = m->root->ops->open(
		 m->root, f->path, OS_WRITE | OS_CREATE | OS_EXCL, &file)) != 0)
		return (md_fail(m->root, f->path, "made", rc));
	rc = pour(m, file, f->path, body, f);
	if (rc == 0 && msg->received != 0 &&
	    (rc = m->root->ops->utimes(m->root, f->path, msg->received, 0)) !=
		0)
		(void)md_fail(m->root, f->path, "given its received date", rc);
	if (rc == 0 && (rc = m->root->ops->sync(file)) != 0)
		(void)md_fail(m->root, f->path, "made durable", rc);
	m->root->ops->close(file);
	if (rc != 0)
		(void)m->root->ops->unlink(m->root, f->path);
	return (rc);
}

/* ---- its name ---- */

static bool
base_free(
    struct maildir *m, const struct box *b, struct arena *a, const char *base)
{
	struct msg other;

	return (
	    store_msg_by_name(m->r.store, b->id, base, a, &other) == -ENOENT &&
	    uidlist_find(&b->list, base) == NULL);
}

/*
 * The GUID where it can be a name, so that both ends and every copy call the
 * message the same.
 */
static int
choose_base(struct maildir *m, const struct box *b, struct arena *a,
    const char *wish, const struct fresh *f, const char **base)
{
	int rc;

	if (wish != NULL && maildir_base_fits(wish, f->size, f->vsize) &&
	    base_free(m, b, a, wish)) {
		*base = wish;
		return (0);
	}
	if ((rc = maildir_base_new(m->root, a, f->size, f->vsize, base)) != 0)
		return (rc);
	/* Of a copy the size in CRLF may not be known: then it is not told. */
	if (f->vsize == 0 && f->size != 0 &&
	    (*base = arena_strndup(
		 a, *base, (size_t)(strstr(*base, ",W=") - *base))) == NULL)
		return (-ENOMEM);
	return (0);
}

/*
 * Path of a message: new/ when no client has seen it and it has no flags, else
 * cur/ with letters.
 */
int
md_target(const struct box *b, struct arena *a, const struct msg *msg,
    bool passed, const char **path, bool *in_new)
{
	struct buf name = BUF_INIT;
	struct mail_info info;
	char letters[64];
	const char *p;

	md_info_make(
	    b, msg->flags, &msg->keywords, msg->letters, passed, &info);
	mail_info_format(&info, letters);
	*in_new = (msg->state & MSG_NEW) != 0 && letters[0] == 0;
	if (*in_new)
		buf_printf(&name, "new/%s", msg->name);
	else
		buf_printf(&name, "cur/%s:2,%s", msg->name, letters);
	p = buf_cstr(&name);
	*path = p == NULL ? NULL : md_path(a, b->dir, p);
	buf_fini(&name);
	return (*path == NULL ? -ENOMEM : 0);
}

static int
list_line(struct maildir *m, struct box *b, const struct msg *msg,
    const struct fresh *f)
{
	struct uidrec r = { .uid = msg->uid,
		.base = msg->name,
		.pop3_order = msg->pop3_order,
		.rest = "" };
	struct maildir_name name;

	if (strcmp(msg->guid, msg->name) != 0 && msg->guid[0] != 0) {
		if (uidlist_value_ok(msg->guid)) {
			r.guid = msg->guid;
		} else if (!b->guid_lost) {
			b->guid_lost = true;
			log_warning("%s: the mailbox in '%s' cannot hold the "
				    "GUID '%s'; it is kept in the sidecar only",
			    m->r.label, b->dir, msg->guid);
		}
	}
	if (msg->pop3_uidl != NULL && uidlist_value_ok(msg->pop3_uidl))
		r.pop3_uidl = msg->pop3_uidl;
	maildir_name_parse(msg->name, &name);
	if (!name.has_vsize)
		r.vsize = f->vsize;
	return (md_list_append(m, b, &r, r.guid != NULL));
}

/* ---- into the mailbox ---- */

struct placing {
	struct maildir *m;
	struct box *b;
	const struct mailbox *box;
	const struct guid *origin;
	bool link; /* the file stays where it was, too */
	const char *wish; /* for the base name */
};

static int
sync_place(const struct placing *p, struct arena *a, bool in_new)
{
	char *dir = md_path(a, p->b->dir, in_new ? "new" : "cur");
	int rc =
	    dir == NULL ? -ENOMEM : p->m->root->ops->sync_dir(p->m->root, dir);

	return (rc == 0 ? 0
			: md_fail(p->m->root, dir == NULL ? p->b->dir : dir,
			      "made durable", rc));
}

static int
to_sidecar(const struct placing *p, const struct msg *as, uint32_t *uid)
{
	struct txn *t;
	int rc = txn_begin(p->m->r.store, p->origin, &t);

	if (rc != 0)
		return (rc);
	if ((rc = txn_save(t, p->b->id, as, uid)) == 0)
		return (txn_commit(t));
	log_error("%s: %s: message %s cannot be entered in the sidecar: %s",
	    p->m->r.label, p->box->name, as->guid, strerror(-rc));
	txn_abort(t);
	return (rc);
}

/*
 * Gives the file at f->path its line, its name and its entry in the sidecar.
 * -EEXIST: the name is taken on disk.
 */
static int
place(const struct placing *p, struct arena *a, const struct msg *msg,
    struct fresh *f, uint32_t *uid)
{
	struct os *os = p->m->root;
	struct msg as = *msg;
	const char *target;
	uint32_t next = md_next_uid(p->b, p->box);
	bool in_new;
	int rc;

	if (next == 0 || next == UINT32_MAX) {
		log_error(
		    "%s: %s: has no UIDs left", p->m->r.label, p->box->name);
		return (-EOVERFLOW);
	}
	if (as.uid < next)
		as.uid = next;
	if ((rc = choose_base(p->m, p->b, a, p->wish, f, &as.name)) != 0)
		return (rc);
	if (as.guid == NULL)
		as.guid = as.name;
	/* a number of the sidecar: those of the disk are used again */
	as.ino = 0;
	as.vsize = f->vsize;
	memset(&as.body, 0, sizeof(as.body));
	as.state = (uint8_t)(as.state | MSG_NAMED);
	if ((rc = md_target(p->b, a, &as, false, &target, &in_new)) != 0 ||
	    (rc = list_line(p->m, p->b, &as, f)) != 0)
		return (rc);
	if (!in_new)
		as.state &= (uint8_t)~MSG_NEW;
	rc = p->link ? os->ops->link(os, f->path, target)
		     : os->ops->rename_excl(os, f->path, target);
	if (rc == -EEXIST ||
	    (p->link &&
		(rc == -EXDEV || rc == -EMLINK || rc == -EPERM ||
		    rc == -ENOTSUP || rc == -ENOENT)))
		return (rc);
	if (rc != 0)
		return (md_fail(os, target, "made", rc));
	if ((rc = sync_place(p, a, in_new)) == 0)
		rc = to_sidecar(p, &as, uid);
	if (rc != 0)
		(void)os->ops->unlink(os, target);
	return (rc);
}

static int
save_stream(const struct placing *p, struct arena *a, const struct msg *msg,
    struct stream *body, uint32_t *uid)
{
	struct placing again = *p;
	struct fresh f;
	int rc;

	again.link = false;
	if ((rc = spool(p->m, p->b, a, msg, body, &f)) != 0)
		return (rc);
	if ((rc = place(&again, a, msg, &f, uid)) == -EEXIST) {
		/* A delivery that no scan has seen yet has the name. */
		again.wish = NULL;
		rc = place(&again, a, msg, &f, uid);
	}
	if (rc != 0)
		(void)p->m->root->ops->unlink(p->m->root, f.path);
	return (rc);
}

int
md_save(struct replica *r, uint32_t mailbox, const struct msg *msg,
    struct stream *body, const struct guid *origin, uint32_t *uid)
{
	struct arena a = ARENA_INIT;
	struct mailbox box;
	struct placing p = { .m = maildir_of(r),
		.box = &box,
		.origin = origin,
		.wish = msg->guid };
	uint32_t got = 0;
	int rc = md_begin(p.m, mailbox, &box, &p.b);

	if (rc == 0)
		rc = md_kw_need(p.m, p.b, &msg->keywords);
	if (rc == 0)
		rc = save_stream(&p, &a, msg, body, &got);
	if (rc == 0 && uid != NULL)
		*uid = got;
	arena_fini(&a);
	return (rc);
}

/* ---- copies ---- */

/* A link when the file system can, else the bytes. */
static int
copy_file(const struct placing *p, struct arena *a, const struct msg *msg,
    const struct msg *from, uint32_t from_mailbox, const char *path,
    uint32_t *uid)
{
	struct fresh f = { .path = (char *)(uintptr_t)path,
		.vsize = from->vsize };
	struct placing again = *p;
	struct stream *body;
	struct os_stat st;
	int rc = p->m->root->ops->stat(p->m->root, path, &st);

	if (rc != 0)
		return (rc);
	f.size = st.size;
	again.link = true;
	/* A link shares its date. */
	rc = msg->received == 0 || msg->received == st.mtime
	    ? place(&again, a, msg, &f, uid)
	    : -EXDEV;
	if (rc == -EEXIST) {
		again.wish = NULL;
		rc = place(&again, a, msg, &f, uid);
	}
	if (rc != -EXDEV && rc != -EMLINK && rc != -EPERM && rc != -ENOTSUP)
		return (rc);
	if ((rc = md_body(&p->m->r, from_mailbox, from->uid, &body)) != 0)
		return (rc);
	rc = save_stream(p, a, msg, body, uid);
	stream_close(body);
	return (rc);
}

int
md_copy(struct replica *r, uint32_t mailbox, const struct msg *msg,
    uint32_t from_mailbox, uint32_t from_uid, const struct guid *origin,
    uint32_t *uid)
{
	struct arena a = ARENA_INIT;
	struct mailbox box;
	struct placing p = {
		.m = maildir_of(r), .box = &box, .origin = origin
	};
	struct box *source;
	struct msg from;
	const char *path;
	uint32_t got = 0;
	int rc = store_msg(r->store, from_mailbox, from_uid, &a, &from);

	if (rc == 0)
		rc = md_begin(p.m, mailbox, &box, &p.b);
	if (rc == 0)
		rc = md_box(p.m, from_mailbox, &source);
	if (rc == 0)
		rc = md_find(p.m, source, &from, &a, &path);
	if (rc == 0)
		rc = md_kw_need(p.m, p.b, &msg->keywords);
	if (rc == 0) {
		p.wish = from.name;
		rc = copy_file(&p, &a, msg, &from, from_mailbox, path, &got);
	}
	if (rc == -ENOENT)
		log_warning("%s: %s: UID %u was removed by another program "
			    "before it could be copied",
		    r->label, box.name, from_uid);
	if (rc == 0 && uid != NULL)
		*uid = got;
	arena_fini(&a);
	return (rc);
}
