/*
 * view -- opening, the table of mailboxes, group commit.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define SETTLE_MS 1000
#define BUSY_NS 1000000
#define HELD_MAX 16384

void
view_lock(struct view *v)
{
	pthread_mutex_lock(&v->lock);
}

void
view_unlock(struct view *v)
{
	(void)atomic_fetch_add(&v->turn, 1);
	pthread_mutex_unlock(&v->lock);
}

uint64_t
view_turn(const struct view *v)
{
	return (atomic_load(&v->turn));
}

void
view_await_sync(struct view *v)
{
	(void)atomic_fetch_add(&v->turn, 1);
	pthread_cond_wait(&v->synced, &v->lock);
}

struct store *
view_store(struct view *v)
{
	return (v->store);
}

uint64_t
view_now_ms(struct view *v)
{
	struct os *os = store_os(v->store);

	return (os->ops->mono_ms(os));
}

void
view_on_forget(struct view *v, view_forget_fn *fn, void *arg)
{
	v->forget = fn;
	v->forget_arg = arg;
}

void
view_foreign(struct view *v, bool on)
{
	v->foreign = on;
}

void
view_tell(
    struct view *v, enum forget_what what, uint64_t node, const char *name)
{
	if (v->forget != NULL)
		v->forget(v->forget_arg, what, node, name);
}

/* ---- mailboxes ---- */

static void
box_free(struct view *v, struct box *b)
{
	HASH_DELETE(hh_id, v->by_id, b);
	HASH_DELETE(hh_name, v->by_name, b);
	HASH_DELETE(hh_folder, v->by_folder, b);
	free(b->name);
	free(b);
}

struct reload {
	struct view *v;
	struct box *old; /* those not seen yet, by id */
	bool changed; /* some of them have come, or have another name */
};

static uint64_t
default_folder(struct view *v, const struct mailbox *m)
{
	if (strcmp(m->name, "INBOX") == 0) {
		v->inbox = m->id;
		return (NODE_ROOT);
	}
	return (NODE_BOX | (uint64_t)m->id << 2 | PART_FOLDER);
}

static int
reload_one(void *arg, const struct mailbox *m)
{
	struct reload *r = arg;
	struct view *v = r->v;
	struct box *b, *was;

	if (!m->exists || !m->selectable)
		return (0);
	HASH_FIND(hh_id, r->old, &m->id, sizeof(m->id), was);
	if ((b = calloc(1, sizeof(*b))) == NULL)
		return (-ENOMEM);
	b->id = m->id;
	if ((b->name = strdup(m->name)) == NULL) {
		free(b);
		return (-ENOMEM);
	}
	b->hidden = was != NULL ? was->hidden : 0;
	b->keywords_removed = was != NULL ? was->keywords_removed : 0;
	if (was != NULL)
		b->keywords = was->keywords;
	b->shows_keywords = was != NULL && was->shows_keywords;
	if (was != NULL)
		b->tmp_changed = was->tmp_changed;
	/* A folder that began as a plain directory keeps its node. */
	b->folder = was != NULL ? was->folder : default_folder(v, m);
	b->uidvalidity = m->uidvalidity;
	if (was != NULL && was->uidvalidity != b->uidvalidity)
		view_tell(v, FORGET_ATTR, part_node(b, PART_TMP), NULL);
	if (strcmp(m->name, "INBOX") == 0)
		b->folder = default_folder(v, m);
	HASH_ADD(hh_id, v->by_id, id, sizeof(b->id), b);
	HASH_ADD_KEYPTR(hh_name, v->by_name, b->name, strlen(b->name), b);
	HASH_ADD(hh_folder, v->by_folder, folder, sizeof(b->folder), b);
	if (was == NULL || strcmp(was->name, b->name) != 0)
		r->changed = true;
	return (0);
}

/* In the fs layout a mailbox's parents are directories, also without mail. */
static int
make_parents(struct view *v)
{
	struct box *b, *next;
	struct arena a = ARENA_INIT;
	char *dir, *slash;
	int error = 0;

	if (v->o.layout != LAYOUT_FS || v->o.readonly)
		return (0);
	HASH_ITER (hh_id, v->by_id, b, next) {
		if ((dir = arena_strdup(&a, b->name)) == NULL) {
			error = -ENOMEM;
			break;
		}
		while ((slash = strrchr(dir, '/')) != NULL) {
			*slash = '\0';
			if (box_by_name(v, dir) != NULL)
				break;
		}
		if (slash != NULL || strchr(b->name, '/') == NULL)
			continue;
		/* No parent is a mailbox: all of them are directories. */
		dir = arena_strdup(&a, b->name);
		if (dir == NULL) {
			error = -ENOMEM;
			break;
		}
		*strrchr(dir, '/') = '\0';
		if ((error = aux_mkdirs(v, dir)) != 0)
			break;
	}
	arena_fini(&a);
	return (error);
}

int
view_boxes(struct view *v)
{
	struct reload r = { v, NULL, false };
	struct box *b, *next, *found;
	int error;

	if (!v->boxes_stale)
		return (0);
	r.old = v->by_id;
	v->by_id = NULL;
	HASH_CLEAR(hh_name, v->by_name);
	HASH_CLEAR(hh_folder, v->by_folder);
	error = store_mailboxes(v->store, reload_one, &r);
	HASH_ITER (hh_id, r.old, b, next) {
		HASH_DELETE(hh_id, r.old, b);
		HASH_FIND(hh_id, v->by_id, &b->id, sizeof(b->id), found);
		if (found == NULL && error == 0)
			(void)scratch_box_gone(v, b->id);
		if (v->foreign &&
		    (found == NULL || strcmp(found->name, b->name) != 0))
			kept_folder(v, b->name, true);
		if (v->foreign && found == NULL && error == 0)
			kept_deleted(v, b->id);
		free(b->name);
		free(b);
	}
	if (error != 0)
		return (error);
	v->boxes_stale = false;
	error = make_parents(v);
	if (v->foreign && r.changed)
		HASH_ITER (hh_id, v->by_id, b, next)
			kept_folder(v, b->name, false);
	return (error);
}

struct box *
box_by_id(struct view *v, uint32_t id)
{
	struct box *b;

	HASH_FIND(hh_id, v->by_id, &id, sizeof(id), b);
	return (b);
}

struct box *
box_by_name(struct view *v, const char *name)
{
	struct box *b;

	HASH_FIND(hh_name, v->by_name, name, strlen(name), b);
	return (b);
}

struct box *
box_of_folder(struct view *v, uint64_t node)
{
	struct box *b;

	HASH_FIND(hh_folder, v->by_folder, &node, sizeof(node), b);
	return (b);
}

uint64_t
part_node(const struct box *b, enum box_part part)
{
	return (part == PART_FOLDER ? b->folder
				    : NODE_BOX | (uint64_t)b->id << 2 | part);
}

struct box *
box_of_part(struct view *v, uint64_t node, enum box_part *part)
{
	if ((node & NODE_BOX) == 0 || (node & 3) == PART_FOLDER)
		return (NULL);
	*part = (enum box_part)(node & 3);
	return (box_by_id(v, (uint32_t)((node & ~NODE_BOX) >> 2)));
}

/* ---- what changes underneath ---- */

static void
tell_box(struct view *v, uint32_t id)
{
	kept_mail(v, id);
	if (box_by_id(v, id) != NULL)
		view_tell(v, FORGET_FOLDER, id, NULL);
}

static void
on_change(void *arg, const struct watch_event *e)
{
	struct view *v = arg;
	struct box *b, *next;

	if (v->dirty_since_ms == 0)
		v->dirty_since_ms = view_now_ms(v);
	v->changed = v->changed || !v->saving;
	if ((e->what & WATCH_MAILBOXES) != 0)
		v->boxes_stale = true;
	special_announce(v, e->what);
	if (!v->foreign)
		return;
	/* Nobody may ask before the kernel has heard of it. */
	if ((e->what & WATCH_MAILBOXES) != 0)
		(void)view_boxes(v);
	if ((e->what & WATCH_MESSAGES) == 0)
		return;
	nudge_after(v);
	if (e->mailbox != 0)
		tell_box(v, e->mailbox);
	else
		HASH_ITER (hh_id, v->by_id, b, next)
			tell_box(v, b->id);
	if (e->ino != 0)
		view_tell(v, FORGET_ATTR, e->ino, NULL);
}

/* ---- opening, closing ---- */

static int
make_inbox(struct view *v)
{
	struct mailbox_new new = { .name = "INBOX" };
	struct mailbox m;
	struct txn *t;
	int error;

	error = store_mailbox_by_name(v->store, "INBOX", &m);
	if (error == 0 && m.exists && m.selectable)
		return (0);
	if (error != 0 && error != -ENOENT)
		return (error);
	if (v->o.readonly) {
		log_error(
		    "the store has no INBOX yet and is mounted read-only");
		return (-EROFS);
	}
	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	if ((error = txn_mailbox_create(t, &new, NULL)) != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

/* The other half is for everything else. */
static size_t
half_of_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return (0);
	return (r.rlim_cur < HELD_MAX * 2 ? (size_t)r.rlim_cur / 2 : HELD_MAX);
}

int
view_open(
    struct store *s, int dirfd, const struct view_options *o, struct view **out)
{
	struct view *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;
	int error;

	if (v == NULL) {
		(void)close(dirfd);
		return (-ENOMEM);
	}
	v->store = s;
	v->dir = dirfd;
	v->o = *o;
	v->boxes_stale = true;
	v->changed = true;
	v->held_max = half_of_descriptors();
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_cond_init(&v->synced, &attr);
	pthread_condattr_destroy(&attr);
	/* 0 and the root's are nobody else's. */
	store_reserve_ino(s, NODE_ROOT);
	store_watch(s, on_change, v);
	store_watch_msgs(s, nudge_before, v);
	if ((error = make_inbox(v)) != 0 || (error = aux_init(v)) != 0 ||
	    (error = view_boxes(v)) != 0 || (error = scratch_recover(v)) != 0) {
		(void)view_close(v);
		return (error);
	}
	*out = v;
	return (0);
}

static int
settle_all(struct view *v, bool only_quiet)
{
	struct scratch *s, *next;
	uint64_t now = view_now_ms(v);
	int error = 0, e;

	for (s = v->scratch; s != NULL; s = next) {
		next = s->next;
		/* Ahead of now: it could not be, and that has been said. */
		if (s->touched_ms > now ||
		    (only_quiet && now - s->touched_ms < SETTLE_MS))
			continue;
		if ((e = scratch_settle(v, s)) != 0 && error == 0)
			error = e;
	}
	return (error);
}

int
view_close(struct view *v)
{
	struct box *b, *next;
	struct zombie *z, *znext;
	int error, e;

	if (v == NULL)
		return (0);
	view_lock(v);
	error = v->by_id == NULL ? 0 : settle_all(v, false);
	view_unlock(v);
	if ((e = view_sync(v)) != 0 && error == 0)
		error = e;
	squeeze_end(v);
	store_watch(v->store, NULL, NULL);
	store_watch_msgs(v->store, NULL, NULL);
	memory_end(v);
	placed_end(v);
	synced_end(v);
	while (v->scratch != NULL)
		scratch_drop(v, v->scratch, true);
	while (v->aliases != NULL)
		alias_drop(v, v->aliases);
	HASH_ITER (hh, v->zombies, z, znext) {
		HASH_DEL(v->zombies, z);
		free(z);
	}
	aux_free(v);
	HASH_ITER (hh_id, v->by_id, b, next)
		box_free(v, b);
	stale_free(v);
	nudge_free(v);
	body_cache_free(v->bodies);
	memory_free(v);
	free(v->done);
	free(v->changes);
	pthread_cond_destroy(&v->synced);
	pthread_mutex_destroy(&v->lock);
	(void)close(v->dir);
	free(v);
	return (error);
}

/* ---- group commit ---- */

/*
 * One flush for all who wait: the first to come runs it without the lock (V3),
 * those who come meanwhile wait for the next one together.
 */
static int
flush_once(struct view *v)
{
	struct store_sync *y;
	const struct timespec moment = { 0, BUSY_NS };
	uint64_t wanted = v->sync_wanted;
	size_t done = v->n_done, saved = synced_waiting(v);
	bool changed = v->changed;
	int error;

	v->syncing = true;
	v->dirty_since_ms = 0;
	v->changed = false;
	/* A command that runs in this process may be at it. */
	while ((error = store_sync_begin(v->store, &y)) == -EBUSY) {
		view_unlock(v);
		(void)nanosleep(&moment, NULL);
		view_lock(v);
	}
	if (error == 0) {
		view_unlock(v);
		(void)store_sync_run(y);
		view_lock(v);
		error = store_sync_done(y);
	} else if (error == -EALREADY)
		error = 0;
	if (error == 0) {
		scratch_done_durable(v, done);
		synced_durable(v, saved);
	} else
		v->changed = v->changed || changed;
	v->sync_error = error;
	v->sync_finished = wanted;
	v->syncing = false;
	pthread_cond_broadcast(&v->synced);
	return (error);
}

int
view_sync_locked(struct view *v)
{
	uint64_t mine = ++v->sync_wanted;
	int error = 0;

	while (v->sync_finished < mine) {
		if (v->syncing) {
			view_await_sync(v);
			error = v->sync_error;
		} else
			error = flush_once(v);
	}
	return (error);
}

int
view_sync(struct view *v)
{
	int error;

	view_lock(v);
	error = view_sync_locked(v);
	view_unlock(v);
	return (error);
}

void
view_wait_sync(struct view *v)
{
	const struct timespec moment = { 0, BUSY_NS };

	view_lock(v);
	if (v->syncing)
		view_await_sync(v);
	view_unlock(v);
	/* Between two tries somebody has to get on. */
	(void)nanosleep(&moment, NULL);
}

int
view_tick(struct view *v, unsigned commit_ms)
{
	uint64_t now;
	int error = 0;

	view_lock(v);
	now = view_now_ms(v);
	(void)settle_all(v, true);
	memory_tick(v);
	placed_tick(v, now);
	if (v->dirty_since_ms != 0 && now - v->dirty_since_ms >= commit_ms)
		error = view_sync_locked(v);
	if (error == 0 && !v->o.readonly)
		error = store_checkpoint(v->store, false);
	view_unlock(v);
	if (error == 0)
		squeeze_tick(v);
	return (error);
}

int
view_fsync(struct view *v, uint64_t node)
{
	struct scratch *s;
	int error = 0, fd = -1;

	view_lock(v);
	node = real_node(v, node);
	s = scratch_by_node(v, node);
	if (s != NULL && s->memory != NULL && s->kind == SCRATCH_FILE) {
		error = synced_fsync(v, s);
		goto out;
	}
	if (s != NULL && s->kind == SCRATCH_FILE) {
		/* A file in tmp is only itself made durable. */
		if ((fd = scratch_fd(v, s)) < 0)
			error = fd;
		else if ((fd = dup(fd)) < 0)
			error = -errno;
		if (error == 0 && s->part != PART_TMP && !s->unlinked) {
			(void)close(fd);
			fd = -1;
			error = scratch_settle(v, s);
		}
	} else if (s != NULL && s->kind != SCRATCH_SAVED)
		error = scratch_settle(v, s);
	else if (aux_find(v, node) != NULL) {
		error = aux_fsync(v, node);
		goto out;
	}
	/* Messages that came from tmp are durable by that. */
	if (error == 0 && fd < 0)
		error = !v->changed && synced_covers(v)
		    ? synced_flush(v)
		    : view_sync_locked(v);
	/* Names of files that are not mail lie in a folder, too. */
	if (error == 0 && fd < 0)
		fd = aux_folder_fd(v, node);
out:
	view_unlock(v);
	if (fd >= 0) {
		if (error == 0 && fsync(fd) != 0)
			error = -errno;
		(void)close(fd);
	}
	return (error);
}

int
view_statfs(struct view *v, struct statvfs *out)
{
	return (fstatvfs(v->dir, out) == 0 ? 0 : -errno);
}

int
view_box_paths(struct view *v, uint32_t mailbox, view_poke_fn *fn, void *arg)
{
	struct arena a = ARENA_INIT;
	struct box *b, *next;
	char *dir;
	int error = 0;

	view_lock(v);
	HASH_ITER (hh_id, v->by_id, b, next) {
		if (mailbox != 0 && b->id != mailbox)
			continue;
		dir = b->id == v->inbox ? arena_strdup(&a, ".")
					: folder_name(v, &a, b->name);
		if (dir == NULL) {
			error = -ENOMEM;
			break;
		}
		if ((error = fn(arg, dir)) != 0)
			break;
	}
	view_unlock(v);
	arena_fini(&a);
	return (error);
}
