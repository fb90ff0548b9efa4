/*
 * store_sync -- making changes durable (bodies first, S2), and bringing the
 * index on disk up to the log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_internal.h"

#define TAIL_WORTH (1u << 20)

struct store_sync {
	struct store *s;
	struct packs_sync packs;
	struct journal_sync log;
	int packs_error, log_error;
};

bool
store_dirty(const struct store *s)
{
	return (s->journal != NULL &&
	    ((s->packs != NULL && packs_dirty(s->packs)) ||
		journal_durable(s->journal) < journal_end(s->journal)));
}

int
store_sync_begin(struct store *s, struct store_sync **out)
{
	struct store_sync *y;

	if (s->poisoned)
		return (-EIO);
	if (s->syncing)
		return (-EBUSY);
	if (s->rdonly || s->damaged || !store_dirty(s))
		return (-EALREADY);
	if ((y = calloc(1, sizeof(*y))) == NULL)
		return (-ENOMEM);
	y->s = s;
	if (s->packs != NULL)
		packs_sync_begin(s->packs, &y->packs);
	journal_sync_begin(s->journal, &y->log);
	s->syncing = true;
	*out = y;
	return (0);
}

int
store_sync_run(struct store_sync *y)
{
	if (y->s->packs != NULL)
		y->packs_error = packs_sync_run(y->s->packs, &y->packs);
	/* Without its bodies the log must not be called durable. */
	y->log_error = y->packs_error != 0
	    ? y->packs_error
	    : journal_sync_run(y->s->journal, &y->log);
	return (y->log_error);
}

int
store_sync_done(struct store_sync *y)
{
	struct store *s = y->s;
	int error = y->log_error;

	if (s->packs != NULL)
		packs_sync_done(s->packs, &y->packs, y->packs_error);
	journal_sync_done(s->journal, &y->log, y->log_error);
	s->syncing = false;
	if (error != 0)
		s->poisoned = true;
	free(y);
	return (error);
}

int
store_sync(struct store *s)
{
	struct store_sync *y;
	int error = store_sync_begin(s, &y);

	if (error != 0)
		return (error == -EALREADY ? 0 : error);
	(void)store_sync_run(y);
	return (store_sync_done(y));
}

int
store_checkpoint(struct store *s, bool force)
{
	uint64_t end = journal_end(s->journal);
	int error;

	if (s->rdonly || s->damaged || s->ckpt_failed || end == s->ckpt_lsn)
		return (0);
	if (!force && end - s->ckpt_lsn < TAIL_WORTH)
		return (0);
	if (s->txn != NULL || s->syncing)
		return (-EBUSY);
	if (s->st.broken)
		return (-EIO);
	if ((error = store_sync(s)) != 0)
		return (error);
	if ((error = checkpoint_write(&s->st, &s->id, end)) != 0) {
		log_error("%s/%s: the index cannot be written: %s; changes are "
			  "safe in the log, but opening takes longer",
		    store_label(s), s->index_path, strerror(-error));
		s->ckpt_failed = true;
		return (error);
	}
	s->ckpt_lsn = end;
	return (0);
}
