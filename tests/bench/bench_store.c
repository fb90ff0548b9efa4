/*
 * bench_store -- the store's three promises at size: opening costs the log's
 * tail, memory stays small, an append costs the same as in an empty store.
 *
 * usage: bench_store DIR MESSAGES
 * Fills a store with MESSAGES messages in one mailbox, closes it, opens it
 * again, and appends to it and to an empty store in turn, batch by batch.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/os_posix.h"
#include "store/store.h"

#define BATCH 200
#define ROUNDS 31

static void
die(const char *what, int error)
{
	fprintf(stderr, "bench_store: %s: %s\n", what, strerror(-error));
	exit(1);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

/* Anonymous resident memory of this process, in bytes. */
static double
anonymous(void)
{
	char line[256];
	double kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	if (f == NULL)
		die("/proc/self/status", -2);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "RssAnon:", 8) == 0)
			kib = strtod(line + 8, NULL);
	fclose(f);
	return (kib * 1024);
}

static struct store *
open_store(const char *dir, const char *name, struct os **os)
{
	char path[4096];
	struct store *s;
	int error;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((error = os_posix_open(path, true, os)) != 0)
		die(path, error);
	if ((error = store_open(*os, STORE_CREATE, NULL, &s)) != 0)
		die(path, error);
	return (s);
}

static void
close_store(struct store *s, struct os *os)
{
	int error;

	if ((error = store_close(s)) != 0)
		die("store_close", error);
	os->ops->close_tree(os);
}

static uint32_t
inbox(struct store *s)
{
	struct mailbox_new new = { .name = "INBOX" };
	struct mailbox m;
	struct txn *t;
	uint32_t id;
	int error;

	if (store_mailbox_by_name(s, "INBOX", &m) == 0)
		return (m.id);
	if ((error = txn_begin(s, NULL, &t)) != 0 ||
	    (error = txn_mailbox_create(t, &new, &id)) != 0 ||
	    (error = txn_commit(t)) != 0)
		die("INBOX", error);
	return (id);
}

/* One message of its own bytes in a transaction of its own. */
static void
append(struct store *s, uint32_t box, unsigned long n)
{
	static const char text[] =
	    "From: a@example.org\nTo: b@example.org\nSubject: bench\n\n"
	    "The quick brown fox jumps over the lazy dog.\n";
	char head[64];
	struct body_writer *w;
	struct msg m = { .received = 1700000000 };
	struct txn *t;
	int error;

	snprintf(head, sizeof(head), "Message-ID: <%lu@bench>\n", n);
	if ((error = body_writer_new(s, &w)) != 0 ||
	    (error = body_writer_add(w, head, strlen(head))) != 0 ||
	    (error = body_writer_add(w, text, sizeof(text) - 1)) != 0 ||
	    (error = body_writer_finish(w, &m.body, &m.vsize)) != 0)
		die("body", error);
	body_writer_free(w);
	if ((error = txn_begin(s, NULL, &t)) != 0 ||
	    (error = txn_save(t, box, &m, NULL)) != 0 ||
	    (error = txn_commit(t)) != 0)
		die("save", error);
}

static double
batch(struct store *s, uint32_t box, unsigned long *n)
{
	double t = seconds();
	int i, error;

	for (i = 0; i < BATCH; i++)
		append(s, box, (*n)++);
	if ((error = store_sync(s)) != 0)
		die("store_sync", error);
	return (seconds() - t);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static void
compare_appends(const char *dir, unsigned long messages)
{
	double ratio[ROUNDS], large, small;
	struct os *os_large, *os_small;
	struct store *l = open_store(dir, "large", &os_large);
	struct store *e = open_store(dir, "empty", &os_small);
	uint32_t lbox = inbox(l), ebox = inbox(e);
	unsigned long n = messages, k = 1ul << 40;
	int i;

	batch(l, lbox, &n);
	batch(e, ebox, &k);
	for (i = 0; i < ROUNDS; i++) {
		large = batch(l, lbox, &n);
		small = batch(e, ebox, &k);
		ratio[i] = large / small;
	}
	qsort(ratio, ROUNDS, sizeof(ratio[0]), by_value);
	printf("append: cost in the large store / in an empty one, "
	       "median of %d paired rounds: %.2f\n",
	    ROUNDS, ratio[ROUNDS / 2]);
	close_store(l, os_large);
	close_store(e, os_small);
}

int
main(int argc, char **argv)
{
	unsigned long messages, n = 0;
	double t, base, mem, fill;
	struct os *os;
	struct store *s;
	struct mailbox m;
	uint32_t box;
	int error;

	if (argc != 3 || (messages = strtoul(argv[2], NULL, 10)) == 0) {
		fprintf(stderr, "usage: bench_store DIR MESSAGES\n");
		return (64);
	}
	s = open_store(argv[1], "large", &os);
	box = inbox(s);
	t = seconds();
	while (n < messages)
		append(s, box, n++);
	fill = seconds() - t;
	close_store(s, os);
	malloc_trim(0);

	base = anonymous();
	t = seconds();
	s = open_store(argv[1], "large", &os);
	t = seconds() - t;
	if ((error = store_mailbox_by_name(s, "INBOX", &m)) != 0)
		die("INBOX", error);
	if (m.messages != messages)
		die("messages are missing", -5);
	printf("store of %lu messages: filled in %.1f s (%.1f us a message)\n",
	    messages, fill, fill / (double)messages * 1e6);
	printf("open: %.1f ms\n", t * 1e3);
	/* Touch what a program would: every message once, in order. */
	for (n = 1; n <= messages; n++) {
		struct arena a = ARENA_INIT;
		struct msg msg;

		if ((error = store_msg(s, m.id, (uint32_t)n, &a, &msg)) != 0)
			die("store_msg", error);
		arena_fini(&a);
	}
	mem = anonymous() - base;
	printf("memory: %.1f anonymous bytes a message, after reading each\n",
	    mem / (double)messages);
	close_store(s, os);
	compare_appends(argv[1], messages);
	return (0);
}
