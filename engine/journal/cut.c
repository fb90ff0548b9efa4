/*
 * cut -- taking back, right after opening, frames whose bodies did not survive
 * a loss of power.
 */
#include "journal/journal_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"

bool
journal_switch_due(const struct journal *j)
{
	return (j->segments > 0 &&
	    j->end - j->segment[j->segments - 1].first >=
		JOURNAL_SEGMENT_BYTES);
}

uint64_t
journal_proven(const struct journal *j)
{
	uint64_t newest;

	/* An older segment was durable before the newest was begun (J4). */
	newest = j->segments > 0 ? j->segment[j->segments - 1].first : 0;
	return (j->proven > newest ? j->proven : newest);
}

int
journal_cut(struct journal *j, uint64_t at)
{
	char path[JOURNAL_PATH_BYTES];
	uint64_t first;
	int error;

	if (j->readonly)
		return (-EROFS);
	if (j->poisoned)
		return (-EIO);
	if (at < journal_proven(j) || at > j->end || j->end != j->opened)
		return (-EINVAL);
	first = j->segment[j->segments - 1].first;
	journal_segment_path(j, first, path);
	log_warning("%s/%s: cut %" PRIu64
		    " bytes of changes whose messages had "
		    "not been written, nothing of them had been acknowledged",
	    j->os->ops->label(j->os), path, j->end - at);
	error = j->os->ops->truncate(j->file, SEGMENT_HEADER + (at - first));
	if (error == 0)
		error = j->os->ops->sync(j->file);
	if (error != 0) {
		j->poisoned = true;
		log_error("%s/%s: cannot be cut: %s", j->os->ops->label(j->os),
		    path, strerror(-error));
		return (error);
	}
	j->end = j->durable = j->opened = at;
	j->torn = true;
	return (0);
}
