/*
 * fuzz_dsync_slave -- whatever a master may say to the slave's brain, which has
 * a small store: the sync ends, and the store is whole.
 *
 * Input: link_fuzz.h.
 */
#include <stdlib.h>
#include "backends/dsync/dsync.h"
#include "link_fuzz.h"
#include "sync/brain.h"
#include "tests/unit/lib/os_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool right)
{
	if (!right)
		abort();
}

static void
save(struct store *s, struct txn *t, uint32_t box, const char *guid)
{
	struct msg m = {
		.guid = guid, .received = 1600000000, .flags = MAIL_SEEN
	};
	struct stream *in;
	uint32_t uid;

	must(stream_from_memory("Subject: x\n\nx\n", 14, &in) == 0);
	must(store_body_from_stream(s, in, &m.body, &m.vsize) == 0);
	stream_close(in);
	must(txn_save(t, box, &m, &uid) == 0);
}

/* Mailboxes and mails that the seeds speak of. */
static void
fill(struct store *s)
{
	struct mailbox_new m = { .name = "INBOX", .uidvalidity = 1795471802 };
	struct txn *t;
	uint32_t box;

	must(guid_parse("c7dba016bab9046b4d7f000083ecc375", &m.guid) == 0);
	must(txn_begin(s, NULL, &t) == 0);
	must(txn_mailbox_create(t, &m, &box) == 0);
	must(txn_commit(t) == 0);
	must(txn_begin(s, NULL, &t) == 0);
	save(s, t, box, "1795471802.M378663P32589.vm,S=152,W=162");
	save(s, t, box, "g2");
	save(s, t, box, "g3");
	must(txn_expunge(t, box, 2) == 0);
	must(txn_commit(t) == 0);
	m = (struct mailbox_new){ .name = "Work" };
	must(txn_begin(s, NULL, &t) == 0);
	must(txn_mailbox_create(t, &m, &box) == 0);
	must(txn_commit(t) == 0);
}

static int
one_line(void *arg, const char *line)
{
	size_t *n = arg;

	*n += strlen(line);
	return (0);
}

/* All of it can be read, and its bodies are what was saved. */
static void
check(struct replica *r)
{
	const struct dump_options o = { .modseqs = true };
	unsigned problems = 0;
	size_t n = 0;

	must(replica_dump(r, &o, one_line, &n, &problems) == 0);
	must(problems == 0 && n > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_dsync_options o = { .max_line = 4096,
		.max_long_line = 16384 };
	struct buf opening = BUF_INIT;
	struct channel *c;
	struct link_fuzz l;
	struct replica *r;
	struct store *s;
	struct brain *b;
	struct os *os;

	if (size == 0)
		return (0);
	log_set_sink(link_fuzz_quiet, NULL);
	must(os_mem_new(1, &os) == 0);
	os_mem_set_time(os, 1700000000, 0);
	must(store_open(os, STORE_CREATE, NULL, &s) == 0);
	fill(s);
	must(replica_native_new(s, "store", true, NULL, &r) == 0);
	link_fuzz_init(&l, data, size, &opening);
	o.plain = (data[0] & MODE_PLAIN) != 0;
	must(channel_dsync_new(&l.l, &o, &c) == 0);
	must(brain_new_slave(r, c, NULL, &b) == 0);
	(void)sync_run_link(b, &l.l, 60, 0);
	brain_free(b);
	check(r);
	c->ops->close(c);
	must(r->ops->close(r) == 0);
	os->ops->close_tree(os);
	buf_fini(&opening);
	return (0);
}
