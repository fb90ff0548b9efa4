/*
 * journal -- the change log: opening, appending, making durable.
 *
 * The bytes stand in journal_internal.h, the invariants J1 to J4 in journal.h.
 */
#include "journal/journal_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/log.h"

#define COPY_BYTES 65536

void
journal_segment_path(
    const struct journal *j, uint64_t first, char out[JOURNAL_PATH_BYTES])
{
	(void)snprintf(
	    out, JOURNAL_PATH_BYTES, "%s/%016" PRIx64 ".log", j->dir, first);
}

static void
complain(const struct journal *j, const char *path, const char *what, int error)
{
	log_error("%s/%s: %s: %s", j->os->ops->label(j->os), path, what,
	    strerror(-error));
}

static int
room_for_segment(struct journal *j)
{
	struct segment *s;
	size_t cap = j->segments_cap == 0 ? 8 : j->segments_cap * 2;

	if (j->segments < j->segments_cap)
		return (0);
	if ((s = realloc(j->segment, cap * sizeof(*s))) == NULL)
		return (-ENOMEM);
	j->segment = s;
	j->segments_cap = cap;
	return (0);
}

static int
add_segment(struct journal *j, uint64_t first)
{
	int error;

	if ((error = room_for_segment(j)) == 0)
		j->segment[j->segments++].first = first;
	return (error);
}

static int
list_one(void *arg, const struct os_dirent *e)
{
	struct journal *j = arg;
	uint64_t first = 0;
	size_t i;

	if (e->type != OS_FILE || strlen(e->name) != SEGMENT_NAME_LEN ||
	    strcmp(e->name + 16, ".log") != 0)
		return (0);
	for (i = 0; i < 16; i++) {
		const char *digit = strchr("0123456789abcdef", e->name[i]);

		if (digit == NULL)
			return (0);
		first = first << 4 | (uint64_t)(digit - "0123456789abcdef");
	}
	return (first == 0 ? 0 : add_segment(j, first));
}

static int
by_first(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return ((x->first > y->first) - (x->first < y->first));
}

static int
list_segments(struct journal *j)
{
	int error;

	error = j->os->ops->list(j->os, j->dir, list_one, j);
	if (error != 0 && error != -ENOENT)
		complain(j, j->dir, "cannot be listed", error);
	if (error != 0)
		return (error);
	if (j->segments > 1)
		qsort(j->segment, j->segments, sizeof(*j->segment), by_first);
	return (0);
}

static int
segment_header(const struct journal *j, uint64_t first, struct buf *b)
{
	buf_put(b, SEGMENT_MAGIC, 7);
	buf_put_u8(b, SEGMENT_VERSION);
	buf_put(b, j->id.b, sizeof(j->id.b));
	buf_put_le64(b, first);
	if (b->error == 0)
		buf_put_le64(b, xxh3_64(b->data, b->len));
	return (b->error);
}

/*
 * Makes the segment that begins at LSN first, durably: its header is on disk
 * before any frame is.  After an error it must not be there, since its name
 * alone ends the segment before it (J4): what cannot be taken back poisons.
 */
static int
begin_segment(struct journal *j, uint64_t first, struct os_file **out)
{
	const struct os_ops *ops = j->os->ops;
	char path[JOURNAL_PATH_BYTES];
	struct buf b = BUF_INIT;
	struct os_file *f = NULL;
	bool full;
	int error;

	journal_segment_path(j, first, path);
	if ((error = segment_header(j, first, &b)) == 0)
		error =
		    ops->open(j->os, path, OS_WRITE | OS_CREATE | OS_TRUNC, &f);
	if (error == 0)
		error = ops->pwrite(f, b.data, b.len, 0);
	full = error == -ENOSPC || error == -EDQUOT || error == -ENOMEM;
	if (error == 0)
		error = ops->sync(f);
	if (error == 0)
		error = ops->sync_dir(j->os, j->dir);
	buf_fini(&b);
	if (error == 0) {
		*out = f;
		return (0);
	}
	complain(j, path, "cannot begin a log segment", error);
	if (f != NULL)
		ops->close(f);
	if (full &&
	    (f == NULL ||
		(ops->unlink(j->os, path) == 0 &&
		    ops->sync_dir(j->os, j->dir) == 0)))
		return (error);
	j->poisoned = true;
	return (-EIO);
}

static int
create_log(struct journal *j, uint64_t from)
{
	int error;

	if (from > JOURNAL_FIRST_LSN)
		return (-EINVAL);
	if ((error = os_mkdirs(j->os, j->dir)) != 0) {
		complain(j, j->dir, "cannot be made", error);
		return (error);
	}
	if ((error = begin_segment(j, JOURNAL_FIRST_LSN, &j->file)) != 0)
		return (error);
	j->end = j->durable = JOURNAL_FIRST_LSN;
	return (add_segment(j, JOURNAL_FIRST_LSN));
}

/*
 * Writes the frames from LSN `from` to the end once more.  A process before
 * this one may have met a failing sync: the kernel then holds what it could not
 * write for written, and shows it to readers for as long as it stays in memory.
 */
static int
write_again(struct journal *j, uint64_t first, uint64_t from, uint64_t end)
{
	uint8_t *p = malloc(COPY_BYTES);
	int error = p == NULL ? -ENOMEM : 0;

	while (error == 0 && from < end) {
		size_t n =
		    end - from < COPY_BYTES ? (size_t)(end - from) : COPY_BYTES;
		uint64_t at = SEGMENT_HEADER + (from - first);
		ssize_t got = j->os->ops->pread(j->file, p, n, at);

		if (got <= 0)
			error = got < 0 ? (int)got : -EIO;
		else
			error = j->os->ops->pwrite(j->file, p, (size_t)got, at);
		from += got > 0 ? (uint64_t)got : 0;
	}
	free(p);
	return (error);
}

/*
 * Cuts what the scan called torn and makes the rest durable (J1, J2); what lies
 * before `from` is known to be.
 */
static int
settle_tail(struct journal *j, const struct scan_end *e, uint64_t from)
{
	uint64_t first = j->segment[e->segment].first;
	char path[JOURNAL_PATH_BYTES];
	int error;

	journal_segment_path(j, first, path);
	if (e->bad_header) {
		log_warning("%s/%s: a segment that was just being begun is "
			    "begun anew",
		    j->os->ops->label(j->os), path);
		return (begin_segment(j, first, &j->file));
	}
	error = j->os->ops->open(j->os, path, OS_WRITE, &j->file);
	if (error == 0 && e->torn) {
		log_warning("%s/%s: cut %" PRIu64 " bytes of a torn tail, "
			    "nothing of them had been acknowledged",
		    j->os->ops->label(j->os), path, e->torn_bytes);
		error = j->os->ops->truncate(
		    j->file, SEGMENT_HEADER + (e->end - first));
	}
	if (from < first)
		from = first;
	if (error == 0)
		error = write_again(j, first, from, e->end);
	if (error == 0 && (from < e->end || e->torn))
		error = j->os->ops->sync(j->file);
	if (error != 0)
		complain(j, path, "cannot be opened for writing", error);
	return (error);
}

/* What opening it for writing would cut. */
static void
tell_torn(const struct journal *j, const struct scan_end *e)
{
	uint64_t first = j->segment[e->segment].first;
	char path[JOURNAL_PATH_BYTES];

	journal_segment_path(j, first, path);
	if (e->bad_header) {
		log_warning("%s/%s: a segment that was just being begun is "
			    "passed over",
		    j->os->ops->label(j->os), path);
		return;
	}
	log_warning("%s/%s: %" PRIu64 " bytes from byte %" PRIu64
		    " on are a torn tail and are passed over, nothing of them "
		    "had been acknowledged",
	    j->os->ops->label(j->os), path, e->torn_bytes,
	    SEGMENT_HEADER + (e->end - first));
}

static int
open_log(struct journal *j, uint64_t from, journal_frame_fn *fn, void *arg)
{
	struct scan_end e;
	int error;

	if (from != 0 && from < j->segment[0].first)
		return (-EINVAL);
	if ((error = journal_scan(j, from, true, fn, arg, &e)) != 0)
		return (error);
	if (from > e.end)
		return (-EINVAL);
	j->end = j->durable = j->opened = e.end;
	j->torn = e.torn || e.bad_header;
	if (j->damages > 0)
		j->readonly = true;
	if (j->readonly && j->torn)
		tell_torn(j, &e);
	if (j->readonly)
		return (0);
	return (settle_tail(
	    j, &e, from > journal_proven(j) ? from : journal_proven(j)));
}

int
journal_open(struct os *os, const char *dir, const struct guid *id,
    unsigned flags, uint64_t from, journal_frame_fn *fn, void *arg,
    struct journal **out)
{
	struct journal *j = calloc(1, sizeof(*j));
	int error;

	if (j == NULL)
		return (-ENOMEM);
	j->os = os;
	j->id = *id;
	j->seed = xxh3_64(id->b, sizeof(id->b));
	j->readonly = (flags & JOURNAL_RDONLY) != 0;
	if ((j->dir = strdup(dir)) == NULL) {
		error = -ENOMEM;
		goto fail;
	}
	error = list_segments(j);
	if (error == -ENOENT || (error == 0 && j->segments == 0)) {
		error = -ENOENT;
		if ((flags & JOURNAL_CREATE) != 0 && !j->readonly)
			error = create_log(j, from);
	} else if (error == 0)
		error = open_log(j, from, fn, arg);
	if (error != 0)
		goto fail;
	*out = j;
	return (0);
fail:
	journal_close(j);
	return (error);
}

static void
close_retired(struct journal *j)
{
	size_t i;

	for (i = 0; i < j->n_retired; i++)
		j->os->ops->close(j->retired[i]);
	free(j->retired);
	j->retired = NULL;
	j->n_retired = 0;
}

void
journal_close(struct journal *j)
{
	size_t i;

	if (j == NULL)
		return;
	close_retired(j);
	if (j->file != NULL)
		j->os->ops->close(j->file);
	for (i = 0; i < j->damages; i++)
		free((void *)(uintptr_t)j->damage[i].file);
	free(j->damage);
	free(j->segment);
	free(j->dir);
	free(j);
}

bool
journal_damaged(const struct journal *j)
{
	return (j->damages > 0);
}

bool
journal_torn(const struct journal *j)
{
	return (j->torn);
}

size_t
journal_damage_count(const struct journal *j)
{
	return (j->damages);
}

const struct journal_damage *
journal_damage_at(const struct journal *j, size_t i)
{
	return (&j->damage[i]);
}

static int
room_to_retire(struct journal *j)
{
	struct os_file **p;

	p = realloc(j->retired, (j->n_retired + 1) * sizeof(*p));
	if (p == NULL)
		return (-ENOMEM);
	j->retired = p;
	return (0);
}

/* From now on f is written to; a sync that is running keeps the old handle. */
static void
retire(struct journal *j, struct os_file *f)
{
	j->retired[j->n_retired++] = j->file;
	j->file = f;
	if (!j->syncing)
		close_retired(j);
}

/* The old segment is durable to its end before the new one is there (J4). */
static int
switch_segment(struct journal *j)
{
	struct os_file *next;
	int error;

	/* Room for all first: once the segment is there it must be used. */
	if ((error = room_to_retire(j)) != 0 ||
	    (error = room_for_segment(j)) != 0)
		return (error);
	if ((error = j->os->ops->sync(j->file)) != 0) {
		j->poisoned = true;
		complain(j, j->dir, "the log cannot be made durable", error);
		return (-EIO);
	}
	j->durable = j->end;
	if ((error = begin_segment(j, j->end, &next)) != 0)
		return (error);
	j->segment[j->segments++].first = j->end;
	retire(j, next);
	return (0);
}

static int
encode_frame(struct journal *j, const void *payload, size_t len, int64_t time,
    struct buf *b)
{
	uint64_t hash;
	size_t i;

	buf_put_le32(b, FRAME_MAGIC);
	buf_put_le32(b, (uint32_t)len);
	buf_put_le64(b, j->end);
	buf_put_le64(b, j->durable);
	buf_put_le64(b, (uint64_t)time);
	buf_put_le64(b, 0);
	buf_put(b, payload, len);
	if (b->error != 0)
		return (b->error);
	hash = journal_frame_hash(j, b->data, b->len);
	for (i = 0; i < 8; i++)
		b->data[FRAME_HASH_AT + i] = (uint8_t)(hash >> (8 * i));
	return (0);
}

/*
 * A frame that was not wholly written must not stay.  No space is no reason to
 * stop for ever, but the handle is no longer good (os.h), so that another
 * takes its place; anything else, or no success here, poisons.
 */
static int
take_back(struct journal *j, uint64_t offset, int error)
{
	char path[JOURNAL_PATH_BYTES];
	struct os_file *f;

	if (error != -ENOSPC && error != -EDQUOT)
		goto poison;
	journal_segment_path(j, j->segment[j->segments - 1].first, path);
	if (room_to_retire(j) != 0 ||
	    j->os->ops->open(j->os, path, OS_WRITE, &f) != 0)
		goto poison;
	if (j->os->ops->truncate(f, offset) != 0) {
		j->os->ops->close(f);
		goto poison;
	}
	retire(j, f);
	return (error);
poison:
	j->poisoned = true;
	return (-EIO);
}

int
journal_append(struct journal *j, const void *payload, size_t len, int64_t time,
    uint64_t *lsn)
{
	struct buf b = BUF_INIT;
	uint64_t first, offset;
	int error;

	if (j->readonly)
		return (-EROFS);
	if (j->poisoned)
		return (-EIO);
	if (len > JOURNAL_FRAME_MAX)
		return (-EFBIG);
	first = j->segment[j->segments - 1].first;
	if (j->end - first >= JOURNAL_SEGMENT_BYTES) {
		if ((error = switch_segment(j)) != 0)
			return (error);
		first = j->end;
	}
	offset = SEGMENT_HEADER + (j->end - first);
	if ((error = encode_frame(j, payload, len, time, &b)) == 0) {
		error = j->os->ops->pwrite(j->file, b.data, b.len, offset);
		if (error != 0) {
			complain(j, j->dir, "cannot write to the log", error);
			error = take_back(j, offset, error);
		}
	}
	if (error == 0) {
		if (lsn != NULL)
			*lsn = j->end;
		j->end += b.len;
	}
	buf_fini(&b);
	return (error);
}

uint64_t
journal_end(const struct journal *j)
{
	return (j->end);
}

uint64_t
journal_durable(const struct journal *j)
{
	return (j->durable);
}

void
journal_sync_begin(struct journal *j, struct journal_sync *s)
{
	s->end = j->end;
	s->file = j->file;
	s->new_segment = false;
	j->syncing = true;
}

int
journal_sync_run(struct journal *j, struct journal_sync *s)
{
	return (s->file == NULL ? 0 : j->os->ops->sync(s->file));
}

void
journal_sync_done(struct journal *j, const struct journal_sync *s, int error)
{
	j->syncing = false;
	if (error != 0) {
		j->poisoned = true;
		complain(j, j->dir, "the log cannot be made durable", error);
	} else if (s->end > j->durable)
		j->durable = s->end;
	close_retired(j);
}

int
journal_sync(struct journal *j)
{
	struct journal_sync s;
	int error;

	if (j->readonly || j->durable == j->end)
		return (j->poisoned ? -EIO : 0);
	if (j->poisoned)
		return (-EIO);
	journal_sync_begin(j, &s);
	error = journal_sync_run(j, &s);
	journal_sync_done(j, &s, error);
	return (error);
}

int
journal_read(struct journal *j, uint64_t from, journal_frame_fn *fn, void *arg)
{
	struct scan_end e;

	if (from != 0 && from < j->segment[0].first)
		from = 0;
	if (from >= j->end && from != 0)
		return (0);
	return (journal_scan(j, from, false, fn, arg, &e));
}

struct count {
	uint64_t frames, bytes;
};

static int
count_frame(void *arg, const struct journal_frame *f)
{
	struct count *c = arg;

	c->frames++;
	c->bytes += f->next - f->lsn;
	return (0);
}

int
journal_verify(struct journal *j, uint64_t *frames, uint64_t *bytes)
{
	struct count c = { 0, 0 };
	struct scan_end e;
	int error;

	if ((error = journal_scan(j, 0, true, count_frame, &c, &e)) != 0)
		return (error);
	*frames = c.frames;
	*bytes = c.bytes;
	return (e.damaged ? -EBADMSG : 0);
}
