/*
 * fuzz_journal -- any bytes as a segment of the change log: opened, read,
 * checked, then opened for writing.
 *
 * The first byte says how: 1 puts right the segment's header and those frames
 * that follow from it, 2 opens at an LSN.  The rest is the file.
 */
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/log.h"
#include "journal/journal_internal.h"
#include "tests/unit/lib/os_mem.h"

#define PATH "log/0000000000000001.log"

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
seal(uint8_t *p, size_t size)
{
	static struct journal j;
	size_t at = SEGMENT_HEADER, len;

	if (size < SEGMENT_HEADER)
		return;
	memcpy(p, "DSFSLOG\1", 8);
	memcpy(p + 8, id.b, sizeof(id.b));
	put_u64(p + 24, JOURNAL_FIRST_LSN);
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
			put_u64(p + at + 8,
			    JOURNAL_FIRST_LSN + at - SEGMENT_HEADER);
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct os_file *f;
	struct os *os;
	uint8_t *copy;
	uint64_t from = 0;

	log_set_sink(quiet, NULL);
	if (size < 2 || os_mem_new(1, &os) != 0)
		return (0);
	if ((copy = malloc(size)) == NULL)
		goto out;
	memcpy(copy, data + 1, size - 1);
	if ((data[0] & 1) != 0)
		seal(copy, size - 1);
	if ((data[0] & 2) != 0)
		from = data[1] | (uint64_t)data[size / 2] << 8;
	if (os_mkdirs(os, "log") != 0 ||
	    os->ops->open(os, PATH, OS_WRITE | OS_CREATE, &f) != 0)
		goto out;
	(void)os->ops->pwrite(f, copy, size - 1, 0);
	os->ops->close(f);
	read_log(os, JOURNAL_RDONLY, from);
	read_log(os, 0, from);
	read_log(os, 0, 0);
out:
	free(copy);
	os->ops->close_tree(os);
	return (0);
}
