/*
 * fuzz_peers -- any bytes as what is remembered of a peer (peers/HEX), with a
 * right checksum or not, or as a setting of an older store: what is taken from
 * them is written and reads back the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "cmd/cmd_internal.h"
#include "tests/unit/lib/os_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "peers/01000000000000000000000000000000"

static const struct guid id = { { 1 } };
static struct os *os;
static struct store *s;

static void
put(const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT;
	struct os_file *f;

	/* The first byte says whether the checksum is made right. */
	buf_put(&b, data + 1, size - 1);
	if (data[0] % 4 != 0 && b.len > 9) {
		uint64_t h = xxh3_64(b.data + 9, b.len - 9);

		for (unsigned i = 0; i < 8; i++)
			b.data[1 + i] = (uint8_t)(h >> (8 * i));
	}
	if (b.error != 0 ||
	    os->ops->open(os, PATH, OS_WRITE | OS_CREATE | OS_TRUNC, &f) != 0)
		abort();
	if (b.len > 0 && os->ops->pwrite(f, b.data, b.len, 0) != 0)
		abort();
	os->ops->close(f);
	buf_fini(&b);
}

/* As older stores have it, when no file is there; p says nothing: none. */
static void
put_setting(const uint8_t *p, size_t n)
{
	char key[64] = "peer:", hex[GUID_HEX_LEN + 1];
	struct txn *t;

	strcat(key, guid_hex(&id, hex));
	if (txn_begin(s, NULL, &t) != 0 || txn_meta_set(t, key, p, n) != 0 ||
	    txn_meta_set(t, "peers", id.b, n == 0 ? 0 : sizeof(id.b)) != 0 ||
	    txn_commit(t) != 0)
		abort();
}

static int
one(void *arg, const struct peer_memory *m)
{
	const char **label = arg;

	if (!guid_eq(&m->peer, &id))
		abort();
	*label = strdup(m->label);
	return (0);
}

/* It is listed when it can be read, and found by its label. */
static void
listed(bool there)
{
	struct arena a = ARENA_INIT;
	struct peer_memory m;
	char *label = NULL;

	if (memory_peers(s, one, &label) != 0 || (label != NULL) != there)
		abort();
	if (memory_peer_by_label(s, there ? label : "x", &a, &m) !=
	    (there ? 0 : -ENOENT))
		abort();
	free(label);
	arena_fini(&a);
}

/* A tree in memory keeps what was never synced: from time to time a new one. */
static void
fresh(void)
{
	static unsigned runs;

	if (runs++ % 4096 != 0)
		return;
	if (s != NULL) {
		(void)store_close(s);
		os->ops->close_tree(os);
	}
	if (os_mem_new(1, &os) != 0 ||
	    store_open(os, STORE_CREATE, NULL, &s) != 0 ||
	    os->ops->mkdir(os, "peers") != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct peer_memory m, n;

	fresh();
	if (size == 0 || size > 8000)
		return (0);
	put_setting(data + 1, data[0] % 8 == 2 ? size - 1 : 0);
	put(data, size);
	if (data[0] % 8 == 2)
		(void)os->ops->unlink(os, PATH);
	listed(memory_peer(s, &id, &a, &m) == 0);
	if (memory_peer(s, &id, &a, &m) == 0) {
		if (memory_peer_set(s, &m) != 0 ||
		    memory_peer(s, &id, &a, &n) != 0 || n.tried != m.tried ||
		    n.success != m.success || n.begun != m.begun ||
		    n.status != m.status || n.lsn != m.lsn ||
		    strncmp(n.label, m.label, strlen(n.label)) != 0 ||
		    strncmp(n.error, m.error, strlen(n.error)) != 0)
			abort();
	}
	arena_fini(&a);
	return (0);
}
