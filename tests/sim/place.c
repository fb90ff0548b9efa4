/*
 * place -- one replica of a running history: opened, closed, killed, cut off
 * from its power.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/maildir/maildir.h"
#include "backends/maildir/maildir_internal.h"
#include "backends/os_posix.h"
#include "tests/unit/lib/os_mem.h"

void
world_fail(struct world *w, const char *fmt, ...)
{
	char text[800];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)snprintf(w->why, sizeof(w->why), "%s %u: %s",
	    w->settling ? "settling after step" : "step",
	    w->at == NULL ? 0 : w->at->id, text);
	longjmp(w->failed, 1);
}

void
world_say(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->verbose)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
}

/* ---- up and down ---- */

static int
up_maildir(struct place *p)
{
	const char *sidecar =
	    p->kind == KIND_MAILDIR_FS ? MD_SIDECAR_FS : MD_SIDECAR_PLUS;
	struct maildir_config c = { .fs = p->kind == KIND_MAILDIR_FS,
		.lock_wait_ms = 50 };
	int rc = p->os->ops->sub(p->os, "", &c.root);

	if (rc == 0 && (rc = os_mkdirs(p->os, sidecar)) == 0)
		rc = p->os->ops->sub(p->os, sidecar, &c.sidecar);
	if (rc == 0)
		rc = maildir_replica_new(&c, NULL, p->label, &p->r);
	if (rc != 0) {
		if (c.sidecar != NULL)
			c.sidecar->ops->close_tree(c.sidecar);
		if (c.root != NULL)
			c.root->ops->close_tree(c.root);
		p->r = NULL;
		return (rc);
	}
	p->s = p->r->store;
	return (0);
}

static void
lock_view(void *arg)
{
	view_lock(arg);
	view_foreign(arg, true);
}

static void
unlock_view(void *arg)
{
	view_foreign(arg, false);
	view_unlock(arg);
}

static int
up_view(struct place *p)
{
	struct view_options o = { .uid = getuid(),
		.gid = getgid(),
		.umask = 077,
		.stale_names = 60 };
	struct replica_native_hooks hooks = { .lock = lock_view,
		.unlock = unlock_view };
	int dir = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	rc = dir < 0 ? -errno : view_open(p->s, dir, &o, &p->v);
	if (rc != 0) {
		p->v = NULL;
		return (rc);
	}
	hooks.arg = p->v;
	return (replica_native_new(p->s, p->label, false, &hooks, &p->r));
}

/* Every store that was ever mounted has one. */
static int
make_inbox(struct place *p)
{
	struct mailbox_new m = { .name = "INBOX" };
	struct mailbox there;
	struct txn *t;
	int rc = store_mailbox_by_name(p->s, m.name, &there);

	if (rc != -ENOENT)
		return (rc);
	rc = txn_begin(p->s, NULL, &t);
	if (rc == 0 && (rc = txn_mailbox_create(t, &m, NULL)) == 0)
		return (txn_commit(t));
	return (rc);
}

static int
up(struct place *p)
{
	int rc;

	if (p->kind == KIND_MAILDIR || p->kind == KIND_MAILDIR_FS)
		return (up_maildir(p));
	rc = store_open(p->os, STORE_CREATE, NULL, &p->s);
	if (rc != 0) {
		p->s = NULL;
		return (rc);
	}
	rc = make_inbox(p);
	if (rc == 0)
		rc = p->kind == KIND_MOUNT
		    ? up_view(p)
		    : replica_native_new(p->s, p->label, true, NULL, &p->r);
	if (rc != 0)
		place_down(p);
	return (rc);
}

void
place_down(struct place *p)
{
	if (p->r != NULL)
		(void)p->r->ops->close(p->r);
	p->r = NULL;
	if (p->kind == KIND_MOUNT) {
		if (p->v != NULL)
			(void)view_close(p->v);
		if (p->s != NULL)
			(void)store_close(p->s);
	}
	p->v = NULL;
	p->s = NULL;
}

void
place_up(struct world *w, struct place *p)
{
	int rc;

	os_mem_fail(p->os, OS_MEM_PWRITE, 0, 0, false);
	os_mem_fail(p->os, OS_MEM_SYNC, 0, 0, false);
	os_mem_fail(p->os, OS_MEM_CREATE, 0, 0, false);
	os_mem_fail(p->os, OS_MEM_RENAME, 0, 0, false);
	p->faulty = false;
	/* Dovecot's locks that a kill left behind are old by then. */
	os_mem_advance(p->os, 300000);
	rc = up(p);
	if (rc != 0 && os_mem_is_cut(p->os) &&
	    os_mem_reboot(p->os, OS_MEM_LOSE_SOME, 1) == 0) {
		model_forget_uids(w, p);
		p->lost_power = true;
		rc = up(p);
	}
	if (rc != 0)
		world_fail(
		    w, "%s cannot be opened: %s", p->label, strerror(-rc));
	if (store_damaged(p->s))
		world_fail(w, "%s is damaged", p->label);
}

void
place_new(struct world *w, unsigned number)
{
	struct place *p = &w->place[number];
	char *tmp = getenv("TMPDIR");

	p->number = number;
	p->kind = w->h->kind[number];
	(void)snprintf(p->label, sizeof(p->label), "%c", 'A' + (int)number);
	if (os_mem_new(w->h->seed * REPLICAS + number + 1, &p->os) != 0)
		world_fail(w, "no memory");
	/* Nobody's clock is right. */
	os_mem_set_time(p->os, 1700000000 + 7 * (int64_t)number, 0);
	if (p->kind == KIND_MAILDIR || p->kind == KIND_MAILDIR_FS) {
		(void)os_mkdirs(p->os, "cur");
		(void)os_mkdirs(p->os, "new");
		(void)os_mkdirs(p->os, "tmp");
	}
	if (p->kind == KIND_MOUNT) {
		(void)snprintf(p->dir, sizeof(p->dir), "%.40s/sim.XXXXXX",
		    tmp == NULL ? "/tmp" : tmp);
		if (mkdtemp(p->dir) == NULL)
			world_fail(w, "%s: %s", p->dir, strerror(errno));
	}
	place_up(w, p);
	if (p->r->ops->commit(p->r) != 0)
		world_fail(w, "%s cannot be made", p->label);
}

void
place_free(struct place *p)
{
	struct os *dir;

	place_down(p);
	snap_fini(&p->durable);
	snap_fini(&p->last);
	if (p->os != NULL)
		p->os->ops->close_tree(p->os);
	if (p->dir[0] == '\0' || os_posix_open(p->dir, false, &dir) != 0)
		return;
	(void)md_remove_tree(dir, "aux");
	(void)md_remove_tree(dir, "scratch");
	dir->ops->close_tree(dir);
	(void)rmdir(p->dir);
}

void
place_lock(struct place *p)
{
	p->r->ops->lock(p->r);
}

void
place_unlock(struct place *p)
{
	p->r->ops->unlock(p->r);
}

int
place_refresh(struct world *w, struct place *p)
{
	unsigned problems = 0;
	int rc;

	if (p->kind != KIND_MAILDIR && p->kind != KIND_MAILDIR_FS)
		return (0);
	/* Stamps of the last two seconds say nothing yet. */
	os_mem_advance(p->os, 3000);
	place_lock(p);
	rc = p->r->ops->refresh(p->r, NULL, &problems);
	place_unlock(p);
	if (rc != 0 && !place_troubled(p))
		world_fail(
		    w, "%s cannot be looked at: %s", p->label, strerror(-rc));
	if (problems != 0 && !place_troubled(p))
		world_fail(w, "%s: %u problems in it", p->label, problems);
	return (rc);
}

bool
place_troubled(const struct place *p)
{
	return (p->faulty || os_mem_is_cut(p->os));
}

void
place_look(struct world *w, struct place *p)
{
	bool both = p == w->side[0] || p == w->side[1];
	struct place *side[2] = { both ? w->side[0] : p,
		both ? w->side[1] : NULL };
	struct snap after[2];

	for (int i = 0; i < 2; i++) {
		p = side[i];
		if (p == NULL || p->r == NULL || os_mem_is_cut(p->os) ||
		    place_refresh(w, p) != 0) {
			side[i] = NULL;
			continue;
		}
		snap_take(w, p, &after[i]);
		model_merged(w, p, &after[i]);
	}
	if (w->one_way && side[0] != NULL && side[1] != NULL)
		model_same_names(w, &after[0], &after[1]);
	for (int i = 0; i < 2; i++) {
		if (side[i] == NULL)
			continue;
		model_synced(w, side[i], &after[i]);
		snap_fini(&side[i]->last);
		side[i]->last = after[i];
	}
}

/* ---- disasters ---- */

static void
reboot(struct world *w, struct place *p, enum os_mem_loss loss, uint64_t seed)
{
	os_mem_cut_now(p->os);
	place_down(p);
	if (os_mem_reboot(p->os, loss, seed) != 0)
		world_fail(w, "no memory");
	/* A disk that failed has not kept all. */
	if (loss != OS_MEM_KEEP_ALL || p->faulty)
		model_forget_uids(w, p);
	place_up(w, p);
	/* What was lost of Dovecot's files is said, and counted, once. */
	p->faulty = true;
	(void)place_refresh(w, p);
	p->faulty = false;
}

void
place_kill(struct world *w, struct place *p)
{
	/* Nor did it have written all that it had. */
	p->lost_power |= p->faulty;
	reboot(w, p, OS_MEM_KEEP_ALL, 0);
	w->tally->killed++;
}

void
place_power(struct world *w, struct place *p, uint32_t how)
{
	static const enum os_mem_loss loss[] = { OS_MEM_LOSE_ALL,
		OS_MEM_LOSE_SOME, OS_MEM_LOSE_SOME, OS_MEM_KEEP_ALL };

	reboot(w, p, loss[how % 4], how);
	w->tally->power++;
}
