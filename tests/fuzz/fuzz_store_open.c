/*
 * fuzz_store_open -- any bytes as changes of a log: they are put into good
 * frames of a small store, which is then opened, read, verified, repaired and
 * compacted.  (Bytes with wrong checksums never get this far; journal and btree
 * have targets of their own.)
 *
 * Input: frames, each a le16 length and that many bytes of payload.  The
 * length's high bit: all up to there is durable, so that no change goes because
 * the body it speaks of is not there.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "journal/journal.h"
#include "store/store.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int
one_log(void *arg, const struct log_entry *e)
{
	size_t *n = arg;

	*n += strlen(e->text);
	return (0);
}

static void
fill(struct os *os, const struct guid *id, const uint8_t *data, size_t size)
{
	struct journal *j;

	if (journal_open(os, "log-1", id, 0, 0, NULL, NULL, &j) != 0)
		abort();
	while (size >= 2) {
		size_t n = (size_t)data[0] | (size_t)(data[1] & 0x7f) << 8;
		bool durable = (data[1] & 0x80) != 0;

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		if (journal_append(j, data, n, 1, NULL) != 0 ||
		    (durable && journal_sync(j) != 0))
			abort();
		data += n;
		size -= n;
	}
	if (journal_sync(j) != 0)
		abort();
	journal_close(j);
}

static void
look(struct os *os)
{
	struct verify_result v;
	struct store *s;
	size_t n = 0;

	if (store_open(os, 0, NULL, &s) != 0)
		return;
	free(store_dump(s, DUMP_BODIES | DUMP_HISTORY));
	(void)store_log(s, 0, one_log, &n, NULL);
	(void)store_verify(s, &v);
	(void)store_compact(s, NULL);
	free(store_dump(s, DUMP_BODIES | DUMP_HISTORY));
	(void)store_close(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verify_result v;
	struct guid id;
	struct store *s;
	struct os *os;

	log_set_sink(quiet, NULL);
	if (os_mem_new(1, &os) != 0)
		return (0);
	if (store_open(os, STORE_CREATE, NULL, &s) != 0)
		abort();
	id = *store_id(s);
	if (store_close(s) != 0)
		abort();
	(void)os->ops->unlink(os, "index-1");
	fill(os, &id, data, size);
	look(os);
	(void)store_repair(os, false, &v);
	look(os);
	os->ops->close_tree(os);
	return (0);
}
