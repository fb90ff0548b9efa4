/*
 * fuzz_journal -- any bytes as a segment of the change log, or as two: opened,
 * read, checked, then opened for writing.
 *
 * The first byte says how: 1 puts right the segments' headers and those frames
 * that follow from it, 2 opens at an LSN, 4 two segments, cut in the middle, 8
 * the second begins a little behind the end of the first.  The rest is the
 * files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/log.h"
#include "journal/journal_internal.h"
#include "tests/unit/lib/os_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct guid id = { { 1, 2, 3 } };

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void
put_u64(uint8_t *p, uint64_t v)
{
	size_t i;

	for (i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/*
 * One frame in four stays as it is, so that there are bad ones between good
 * ones.
 */
static void
seal(uint8_t *p, size_t size, uint64_t first)
{
	static struct journal j;
	size_t at = SEGMENT_HEADER, len;

	if (size < SEGMENT_HEADER)
		return;
	memcpy(p, "DSFSLOG\1", 8);
	memcpy(p + 8, id.b, sizeof(id.b));
	put_u64(p + 24, first);
	put_u64(p + 32, xxh3_64(p, 32));
	j.id = id;
	j.seed = xxh3_64(id.b, sizeof(id.b));
	while (size - at >= FRAME_HEADER) {
		len = (size_t)p[at + 4] | (size_t)p[at + 5] << 8;
		if (len > size - at - FRAME_HEADER)
			break;
		if (p[at + 24] % 4 != 3) {
			memcpy(p + at, "DFR1", 4);
			p[at + 6] = p[at + 7] = 0;
			put_u64(p + at + 8, first + at - SEGMENT_HEADER);
			put_u64(p + at + FRAME_HASH_AT,
			    journal_frame_hash(&j, p + at, FRAME_HEADER + len));
		}
		at += FRAME_HEADER + len;
	}
}

/* Frames lie one behind the other and inside the input. */
static int
on_frame(void *arg, const struct journal_frame *f)
{
	uint64_t *end = arg;
	uint8_t sum = 0;
	size_t i;

	if (f->lsn < *end || f->next != f->lsn + FRAME_HEADER + f->len)
		__builtin_trap();
	*end = f->next;
	for (i = 0; i < f->len; i++)
		sum = (uint8_t)(sum + f->payload[i]);
	return (sum == 255 && f->len == 1 ? 1 : 0);
}

static void
read_log(struct os *os, unsigned flags, uint64_t from)
{
	uint64_t end = 0, frames, bytes;
	struct journal *j;

	if (journal_open(os, "log", &id, flags, from, on_frame, &end, &j) != 0)
		return;
	end = 0;
	(void)journal_read(j, from, on_frame, &end);
	if (journal_verify(j, &frames, &bytes) == 0 &&
	    frames * FRAME_HEADER > bytes)
		__builtin_trap();
	if ((flags & JOURNAL_RDONLY) == 0 && !journal_damaged(j) &&
	    (journal_append(j, "x", 1, 0, NULL) != 0 || journal_sync(j) != 0))
		__builtin_trap();
	journal_close(j);
}

static void
put_segment(
    struct os *os, const uint8_t *data, size_t size, uint64_t first, bool good)
{
	uint8_t *copy = malloc(size + 1);
	struct os_file *f;
	char path[64];

	(void)snprintf(path, sizeof(path), "log/%016" PRIx64 ".log", first);
	if (copy == NULL)
		return;
	memcpy(copy, data, size);
	if (good)
		seal(copy, size, first);
	if (os->ops->open(os, path, OS_WRITE | OS_CREATE, &f) == 0) {
		(void)os->ops->pwrite(f, copy, size, 0);
		os->ops->close(f);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t from = 0, first = JOURNAL_FIRST_LSN;
	struct os *os;
	size_t half;
	unsigned how;

	log_set_sink(quiet, NULL);
	if (size < 2 || os_mem_new(1, &os) != 0)
		return (0);
	how = data[0];
	if ((how & 2) != 0)
		from = data[1] | (uint64_t)data[size / 2] << 8;
	data++;
	size--;
	if (os_mkdirs(os, "log") != 0)
		goto out;
	half = (how & 4) != 0 ? size / 2 : size;
	put_segment(os, data, half, first, (how & 1) != 0);
	if (half < size && half > SEGMENT_HEADER) {
		first += half - SEGMENT_HEADER + ((how & 8) != 0 ? 9 : 0);
		put_segment(
		    os, data + half, size - half, first, (how & 1) != 0);
	}
	read_log(os, JOURNAL_RDONLY, from);
	read_log(os, 0, from);
	read_log(os, 0, 0);
out:
	os->ops->close_tree(os);
	return (0);
}
