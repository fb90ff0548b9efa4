/*
 * scan -- reading the log: good frames, torn tails, damage.
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

/* One segment in memory, from file offset `base` on. */
struct window {
	uint8_t *data; /* owned */
	size_t len;
	uint64_t base; /* file offset of data[0] */
	uint64_t first; /* of the segment */
	uint64_t file_size;
};

struct frame {
	uint64_t lsn, durable;
	int64_t time;
	size_t payload; /* length */
};

uint64_t
journal_frame_hash(const struct journal *j, const uint8_t *frame, size_t len)
{
	uint8_t head[FRAME_HEADER];
	uint64_t part[3];
	size_t i;

	memcpy(head, frame, FRAME_HEADER);
	for (i = 0; i < 8; i++)
		head[FRAME_HASH_AT + i] = (uint8_t)(j->seed >> (8 * i));
	part[0] = xxh3_64(head, FRAME_HEADER);
	part[1] = xxh3_64(frame + FRAME_HEADER, len - FRAME_HEADER);
	part[2] = len;
	for (i = 0; i < 3; i++) {
		uint64_t v = part[i];
		size_t k;

		for (k = 0; k < 8; k++)
			head[8 * i + k] = (uint8_t)(v >> (8 * k));
	}
	return (xxh3_64(head, 24));
}

static uint64_t
lsn_at(const struct window *w, size_t at)
{
	return (w->first + (w->base + at - SEGMENT_HEADER));
}

/* NULL when a whole good frame stands at `at`; else what is wrong. */
static const char *
frame_at(
    const struct journal *j, const struct window *w, size_t at, struct frame *f)
{
	struct rd r;
	uint32_t magic, len;
	uint64_t hash;

	if (w->len - at < FRAME_HEADER)
		return ("the file ends inside a frame's header");
	rd_init(&r, w->data + at, FRAME_HEADER);
	magic = rd_le32(&r);
	len = rd_le32(&r);
	f->lsn = rd_le64(&r);
	f->durable = rd_le64(&r);
	f->time = (int64_t)rd_le64(&r);
	hash = rd_le64(&r);
	if (magic != FRAME_MAGIC)
		return ("no frame begins here");
	if (len > JOURNAL_FRAME_MAX)
		return ("a frame claims to be too long");
	if (len > w->len - at - FRAME_HEADER)
		return ("the file ends inside a frame");
	if (f->lsn != lsn_at(w, at) || f->durable > f->lsn)
		return ("a frame is not the one that belongs here");
	if (hash != journal_frame_hash(j, w->data + at, FRAME_HEADER + len))
		return ("a frame's checksum is wrong");
	f->payload = len;
	return (NULL);
}

/* The next good frame behind `at`; false when there is none. */
static bool
next_good(const struct journal *j, const struct window *w, size_t at,
    size_t *found, struct frame *f)
{
	static const uint8_t magic[4] = { 'D', 'F', 'R', '1' };
	const uint8_t *p;

	for (at++; at + FRAME_HEADER <= w->len;
	     at = (size_t)(p - w->data) + 1) {
		p = memmem(w->data + at, w->len - at, magic, sizeof(magic));
		if (p == NULL)
			return (false);
		if (frame_at(j, w, (size_t)(p - w->data), f) == NULL) {
			*found = (size_t)(p - w->data);
			return (true);
		}
	}
	return (false);
}

/* Does any good frame behind `at` say that LSN `lsn` was durable? */
static bool
proven_durable(
    const struct journal *j, const struct window *w, size_t at, uint64_t lsn)
{
	struct frame f;

	while (next_good(j, w, at, &at, &f)) {
		if (f.durable > lsn)
			return (true);
		at += FRAME_HEADER + f.payload - 1;
	}
	return (false);
}

/* Once per place: the log may be checked again and again. */
static bool
is_noted(
    const struct journal *j, uint64_t lsn, const char *path, uint64_t offset)
{
	size_t i;

	for (i = 0; i < j->damages; i++)
		if (j->damage[i].lsn == lsn && j->damage[i].offset == offset &&
		    strcmp(j->damage[i].file, path) == 0)
			return (true);
	return (false);
}

static int
note_damage(struct journal *j, uint64_t first, uint64_t lsn, uint64_t offset,
    uint64_t resume, const char *why)
{
	char path[JOURNAL_PATH_BYTES];
	struct journal_damage *d;

	journal_segment_path(j, first, path);
	if (j->damages == JOURNAL_DAMAGES_MAX || is_noted(j, lsn, path, offset))
		return (0);
	d = realloc(j->damage, (j->damages + 1) * sizeof(*d));
	if (d == NULL)
		return (-ENOMEM);
	j->damage = d;
	d += j->damages;
	if ((d->file = strdup(path)) == NULL)
		return (-ENOMEM);
	j->damages++;
	d->lsn = lsn;
	d->resume = resume;
	d->offset = offset;
	d->why = why;
	log_error("%s/%s: damaged at byte %" PRIu64 ": %s; the store is opened "
		  "read-only, see dsyncfs-sync verify --repair",
	    j->os->ops->label(j->os), path, d->offset, why);
	return (0);
}

static int
read_window(struct journal *j, uint64_t first, uint64_t base, struct window *w)
{
	char path[JOURNAL_PATH_BYTES];
	struct os_file *f;
	struct os_stat st;
	ssize_t got;
	int error;

	memset(w, 0, sizeof(*w));
	w->first = first;
	w->base = base;
	journal_segment_path(j, first, path);
	if ((error = j->os->ops->open(j->os, path, OS_READ, &f)) != 0)
		goto report;
	if ((error = j->os->ops->fstat(f, &st)) != 0)
		goto close;
	w->file_size = st.size;
	if (st.size > base) {
		/* No good frame ends behind this; a longer file is damage. */
		w->len = SEGMENT_MAX < st.size - base
		    ? SEGMENT_MAX
		    : (size_t)(st.size - base);
		if ((w->data = malloc(w->len)) == NULL) {
			error = -ENOMEM;
			goto close;
		}
		got = j->os->ops->pread(f, w->data, w->len, base);
		if (got < 0)
			error = (int)got;
		else
			w->len = (size_t)got;
	}
close:
	j->os->ops->close(f);
	if (error == 0)
		return (0);
	free(w->data);
	w->data = NULL;
	if (error == -EINVAL)
		return (error);
report:
	log_error("%s/%s: cannot be read: %s", j->os->ops->label(j->os), path,
	    strerror(-error));
	return (error);
}

/* 0 good; 1 bad; -errno for a log that is not ours to read. */
static int
check_header(struct journal *j, const struct segment *s)
{
	char path[JOURNAL_PATH_BYTES];
	uint8_t head[SEGMENT_HEADER];
	struct os_file *f;
	struct rd r;
	const uint8_t *id;
	uint64_t hash;
	uint8_t version;
	ssize_t got;
	int error;

	journal_segment_path(j, s->first, path);
	got = 0;
	if ((error = j->os->ops->open(j->os, path, OS_READ, &f)) == 0) {
		got = j->os->ops->pread(f, head, sizeof(head), 0);
		error = got < 0 ? (int)got : 0;
		j->os->ops->close(f);
	}
	if (error != 0) {
		log_error("%s/%s: cannot be read: %s", j->os->ops->label(j->os),
		    path, strerror(-error));
		return (error);
	}
	if ((size_t)got < sizeof(head) || memcmp(head, SEGMENT_MAGIC, 7) != 0)
		return (1);
	version = head[7];
	rd_init(&r, head + 32, 8);
	hash = rd_le64(&r);
	if (version > SEGMENT_VERSION) {
		/* A newer format, or a flipped bit in an old one? */
		head[7] = SEGMENT_VERSION;
		if (hash == xxh3_64(head, 32))
			return (1);
		log_error("%s/%s: log of version %u, this program knows %u: "
			  "a newer dsyncfs made it",
		    j->os->ops->label(j->os), path, version, SEGMENT_VERSION);
		return (-EPROTONOSUPPORT);
	}
	if (version != SEGMENT_VERSION || hash != xxh3_64(head, 32))
		return (1);
	id = head + 8;
	if (memcmp(id, j->id.b, sizeof(j->id.b)) != 0) {
		log_error("%s/%s: belongs to another store",
		    j->os->ops->label(j->os), path);
		return (-EINVAL);
	}
	rd_init(&r, head + 24, 8);
	return (rd_le64(&r) == s->first ? 0 : 1);
}

struct scan {
	struct journal *j;
	bool note;
	bool bad; /* damage was met */
	journal_frame_fn *fn;
	void *arg;
	struct scan_end *end;
};

static int
found_damage(struct scan *s, uint64_t first, uint64_t lsn, uint64_t offset,
    uint64_t resume, const char *why)
{
	s->bad = true;
	if (!s->note)
		return (0);
	return (note_damage(s->j, first, lsn, offset, resume, why));
}

static int
hand_over(
    struct scan *s, const struct window *w, size_t at, const struct frame *f)
{
	struct journal_frame out = {
		.lsn = f->lsn,
		.next = f->lsn + FRAME_HEADER + f->payload,
		.time = f->time,
		.payload = w->data + at + FRAME_HEADER,
		.len = f->payload,
	};

	if (f->durable > s->j->proven)
		s->j->proven = f->durable;
	return (s->fn == NULL ? 0 : s->fn(s->arg, &out));
}

/*
 * Frames of one window.  next: where the next segment begins, 0 for the newest.
 * Only in the newest may a bad frame be a torn tail; otherwise the next
 * segment's being there proves that this one was durable to its end (J4).
 */
static int
scan_window(struct scan *s, const struct window *w, uint64_t next)
{
	size_t at = 0, found;
	struct frame f;
	const char *why;
	uint64_t lsn;
	int error;

	while (at < w->len) {
		lsn = lsn_at(w, at);
		if ((why = frame_at(s->j, w, at, &f)) == NULL) {
			if ((error = hand_over(s, w, at, &f)) != 0)
				return (error);
			at += FRAME_HEADER + f.payload;
			s->end->end = lsn_at(w, at);
			continue;
		}
		if (next == 0 && lsn >= s->j->durable &&
		    !proven_durable(s->j, w, at, lsn)) {
			s->end->torn = true;
			s->end->torn_bytes = w->len - at;
			return (0);
		}
		if (!next_good(s->j, w, at, &found, &f))
			found = w->len;
		if ((error = found_damage(s, w->first, lsn, w->base + at,
			 found < w->len ? f.lsn : next, why)) != 0)
			return (error);
		at = found;
		s->end->end = lsn_at(w, at);
	}
	return (0);
}

/* An older segment ends exactly where the next begins (J4). */
static int
check_joint(struct scan *s, const struct window *w, uint64_t next)
{
	uint64_t size = SEGMENT_HEADER + (next - w->first), end = s->end->end;

	s->end->end = next;
	if (w->file_size > size)
		return (found_damage(s, w->first, next, size, next,
		    "bytes behind the segment's end"));
	if (end >= next)
		return (0);
	return (
	    found_damage(s, w->first, end, SEGMENT_HEADER + (end - w->first),
		next, "the segment ends early, or one is missing"));
}

/*
 * `from` lies inside segment first, and no good frame stands there.  Is it
 * a place where a frame begins at all?  -EINVAL when not: then nothing there
 * may be called torn.
 */
static int
check_from(struct scan *s, uint64_t first, uint64_t from)
{
	struct window w;
	struct frame f;
	const char *why = NULL;
	size_t at = 0;
	int error;

	if ((error = read_window(s->j, first, SEGMENT_HEADER, &w)) != 0)
		return (error);
	while (lsn_at(&w, at) < from && at < w.len) {
		if ((why = frame_at(s->j, &w, at, &f)) != NULL)
			break;
		at += FRAME_HEADER + f.payload;
	}
	if (why != NULL)
		error =
		    found_damage(s, first, lsn_at(&w, at), w.base + at, 0, why);
	else if (lsn_at(&w, at) != from)
		error = -EINVAL;
	free(w.data);
	return (error);
}

static size_t
first_segment(const struct journal *j, uint64_t from)
{
	size_t i = 0;

	while (i + 1 < j->segments && j->segment[i + 1].first <= from)
		i++;
	return (i);
}

/* Segment i from LSN start on. */
static int
scan_segment(struct scan *s, size_t i, uint64_t start)
{
	struct journal *j = s->j;
	uint64_t first = j->segment[i].first;
	uint64_t next = i + 1 < j->segments ? j->segment[i + 1].first : 0;
	struct window w;
	struct frame f;
	int error, bad;

	if ((bad = check_header(j, &j->segment[i])) < 0)
		return (bad);
	error = read_window(j, first, SEGMENT_HEADER + (start - first), &w);
	if (error != 0)
		return (error);
	/* The header is durable before the first frame is written. */
	if (bad != 0 && next == 0 && w.file_size <= SEGMENT_HEADER &&
	    start == first && j->durable <= first) {
		s->end->bad_header = true;
		goto out;
	}
	if (bad != 0)
		error = found_damage(
		    s, first, first, 0, first, "the segment's header is bad");
	if (error == 0 && start > first) {
		if (w.base > w.file_size)
			error = -EINVAL;
		else if (w.len > 0 && frame_at(j, &w, 0, &f) != NULL)
			error = check_from(s, first, start);
	}
	if (next != 0 && next - start < w.len)
		w.len = (size_t)(next - start);
	if (error == 0)
		error = scan_window(s, &w, next);
	if (error == 0 && next != 0)
		error = check_joint(s, &w, next);
out:
	free(w.data);
	return (error);
}

int
journal_scan(struct journal *j, uint64_t from, bool note, journal_frame_fn *fn,
    void *arg, struct scan_end *end)
{
	struct scan s = { j, note, false, fn, arg, end };
	uint64_t start;
	size_t i;
	int error;

	memset(end, 0, sizeof(*end));
	if (from == 0 && j->segment[0].first != JOURNAL_FIRST_LSN &&
	    (error = found_damage(&s, JOURNAL_FIRST_LSN, JOURNAL_FIRST_LSN, 0,
		 j->segment[0].first, "the log's beginning is missing")) != 0)
		return (error);
	for (i = first_segment(j, from); i < j->segments; i++) {
		start = from > j->segment[i].first ? from : j->segment[i].first;
		end->end = start;
		end->segment = i;
		if ((error = scan_segment(&s, i, start)) != 0)
			return (error);
	}
	end->damaged = s.bad;
	return (0);
}
