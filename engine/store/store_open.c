/*
 * store_open -- opening, making and closing a store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

void
store_settings_default(struct store_settings *s)
{
	s->expunge_retention = 30 * 86400;
	s->zstd_level = 1;
	s->cache_bytes = 32u << 20;
	s->dirty_bytes = 16u << 20;
}

const char *
store_label(const struct store *s)
{
	return (s->os->ops->label(s->os));
}

/* ---- a new store ---- */

static int
foreign_one(void *arg, const struct os_dirent *e)
{
	static const char *const ours[] = { "lock", "store.tmp", "spool", "aux",
		"scratch", "socket", "damaged" };
	const char **found = arg;

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(e->name, ours[i]) == 0)
			return (0);
	*found = strdup(e->name);
	return (1);
}

static int
check_empty(struct store *s)
{
	const char *found = NULL;
	int error = s->os->ops->list(s->os, "", foreign_one, &found);

	if (error < 0) {
		log_error("%s: cannot be listed: %s", store_label(s),
		    strerror(-error));
		return (error);
	}
	if (error == 0)
		return (0);
	log_error("%s: holds something that is not a dsyncfs store (%s); "
		  "choose an empty directory",
	    store_label(s), found != NULL ? found : "?");
	free((void *)(uintptr_t)found);
	return (-EEXIST);
}

static int
create_store(struct store *s)
{
	int error;

	if ((error = check_empty(s)) != 0)
		return (error);
	if ((error = os_guid(s->os, s->id.b)) != 0 ||
	    (error = s->os->ops->random(s->os, s->secret, sizeof(s->secret))) !=
		0) {
		log_error("%s: no random bytes for a new store: %s",
		    store_label(s), strerror(-error));
		return (error);
	}
	return (file_store_write(s));
}

/*
 * The rest of making a store, also after a crash in the middle of it: "store"
 * was there first.
 */
static int
create_log(struct store *s)
{
	struct journal *j;
	uint32_t *ids = NULL;
	size_t n = 0;
	int error;

	if (s->packs != NULL && (error = packs_list(s->packs, &ids, &n)) != 0)
		return (error);
	free(ids);
	if (n > 0) {
		log_error(
		    "%s: the log is missing; run dsyncfs-sync verify --repair",
		    store_label(s));
		return (-EIO);
	}
	s->gen = 1;
	s->base = 0;
	store_paths(s);
	if ((error = journal_open(s->os, s->log_dir, &s->id, JOURNAL_CREATE, 0,
		 NULL, NULL, &j)) != 0)
		return (error);
	journal_close(j);
	return (file_current_write(s->os, s->gen, s->base));
}

/* ---- opening ---- */

static int
take_lock(struct store *s)
{
	int error =
	    s->os->ops->open(s->os, "lock", OS_WRITE | OS_CREATE, &s->lock);

	if (error == -EROFS && s->rdonly) {
		s->lock = NULL; /* nobody can write there */
		return (0);
	}
	if (error == 0) {
		error = s->os->ops->lock(s->lock);
		if (error == -EAGAIN) {
			log_error(
			    "%s: in use by another process (a mount or a sync)",
			    store_label(s));
			return (-EBUSY);
		}
	} else {
		s->lock = NULL;
	}
	if (error != 0)
		log_error("%s/lock: cannot be locked: %s", store_label(s),
		    strerror(-error));
	return (error);
}

static int
find_store(struct store *s)
{
	struct os_stat st;
	int error = s->os->ops->stat(s->os, "store", &st);

	if (error != 0 && error != -ENOENT) {
		log_error("%s/store: cannot be looked at: %s", store_label(s),
		    strerror(-error));
		return (error);
	}
	if (error == 0)
		return (0);
	if (!(s->flags & STORE_CREATE) || s->rdonly) {
		log_error("%s: not a dsyncfs store", store_label(s));
		return (-ENOENT);
	}
	return (1);
}

static int
open_files(struct store *s)
{
	int error;

	if ((error = find_store(s)) < 0)
		return (error);
	if (error == 1 && (error = check_empty(s)) != 0)
		return (error);
	if ((error = take_lock(s)) != 0)
		return (error);
	/* Once more under the lock: another process may just have made it. */
	if ((error = find_store(s)) < 0)
		return (error);
	if (error == 1)
		error = create_store(s);
	else
		error = file_store_read(s);
	if (error != 0)
		return (error);
	if (!(s->flags & STORE_SIDECAR) &&
	    (error = packs_open(
		 s->os, "packs", s->set.zstd_level, s->rdonly, &s->packs)) != 0)
		return (error);
	error = file_current_read(s);
	if (error == -ENOENT && s->rdonly) {
		log_error(
		    "%s: the log is missing; see dsyncfs-sync verify --repair",
		    store_label(s));
		return (-EIO);
	}
	if (error == -ENOENT)
		error = create_log(s);
	store_paths(s);
	return (error);
}

static void
store_free(struct store *s)
{
	if (s->txn != NULL)
		txn_abort(s->txn);
	pending_clear(s);
	if (s->st.tree != NULL)
		state_close(&s->st);
	journal_close(s->journal);
	packs_close(s->packs);
	if (s->lock != NULL)
		s->os->ops->close(s->lock);
	free(s);
}

int
store_open(struct os *os, unsigned flags, const struct store_settings *settings,
    struct store **out)
{
	struct store *s = calloc(1, sizeof(*s));
	int error;

	if (s == NULL)
		return (-ENOMEM);
	s->os = os;
	s->flags = flags;
	s->rdonly = (flags & STORE_RDONLY) != 0;
	if (settings != NULL)
		s->set = *settings;
	else
		store_settings_default(&s->set);
	if ((error = open_files(s)) != 0)
		goto fail;
	if (!s->rdonly && (error = tree_leftovers(s)) != 0)
		goto fail;
	if ((error = store_start_log(s)) != 0)
		goto fail;
	*out = s;
	return (0);
fail:
	store_free(s);
	return (error);
}

int
store_close(struct store *s)
{
	int error = 0;

	if (s == NULL)
		return (0);
	if (s->txn != NULL)
		txn_abort(s->txn);
	if (store_writable(s) == 0) {
		error = store_sync(s);
		if (error == 0 && !s->st.broken)
			(void)store_checkpoint(s, true);
		else if (s->st.broken)
			(void)s->os->ops->unlink(s->os, s->index_path);
	} else if (s->poisoned) {
		error = -EIO;
	}
	store_free(s);
	return (error);
}

struct os *
store_os(struct store *s)
{
	return (s->os);
}

const struct guid *
store_id(const struct store *s)
{
	return (&s->id);
}

bool
store_readonly(const struct store *s)
{
	return (s->rdonly || s->damaged || s->poisoned);
}

bool
store_damaged(const struct store *s)
{
	return (s->damaged);
}

int64_t
store_now(struct store *s)
{
	int64_t sec;
	uint32_t nsec;

	s->os->ops->now(s->os, &sec, &nsec);
	return (sec);
}

void
store_watch(struct store *s, watch_fn *fn, void *arg)
{
	s->watch = fn;
	s->watch_arg = arg;
}

void
store_watch_msgs(struct store *s, watch_msg_fn *fn, void *arg)
{
	s->watch_msg = fn;
	s->watch_msg_arg = arg;
}
