/*
 * backends_maildir -- the Maildir as a replica: every member, read again with a
 * fresh sidecar; a full disk and a power cut at every step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/maildir/maildir_internal.h"
#include "backends/os_posix.h"
#include "backends/registry.h"
#include "base/log.h"
#include "lib/check_main.h"
#include "lib/os_mem.h"
#include "lib/sync_help.h"

static struct side A, M;
static bool fs_layout;

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	if (getenv("TEST_VERBOSE") != NULL)
		fprintf(stderr, "  %s\n", line);
}

/* ---- a Maildir on a tree in memory; the tree outlives the replica ---- */

static int
md_open_as(struct side *d, const char *sidecar)
{
	struct maildir_config c = { .fs = fs_layout, .lock_wait_ms = 50 };
	int rc = d->os->ops->sub(d->os, "", &c.root);

	if (rc == 0 && (rc = os_mkdirs(d->os, sidecar)) == 0)
		rc = d->os->ops->sub(d->os, sidecar, &c.sidecar);
	if (rc == 0)
		rc = maildir_replica_new(&c, NULL, d->label, &d->r);
	if (rc != 0) {
		if (c.sidecar != NULL)
			c.sidecar->ops->close_tree(c.sidecar);
		if (c.root != NULL)
			c.root->ops->close_tree(c.root);
		d->r = NULL;
		return (rc);
	}
	d->s = d->r->store;
	return (0);
}

static int
m_open(struct side *d)
{
	return (md_open_as(d, fs_layout ? MD_SIDECAR_FS : MD_SIDECAR_PLUS));
}

static void
m_close(struct side *d)
{
	if (d->r != NULL)
		(void)d->r->ops->close(d->r);
	d->r = NULL;
	d->s = NULL;
}

static void
m_new(struct side *d, const char *label, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->label = label;
	ck_assert_int_eq(os_mem_new(seed, &d->os), 0);
	ck_assert_int_eq(m_open(d), 0);
}

static void
m_free(struct side *d)
{
	m_close(d);
	d->os->ops->close_tree(d->os);
}

static void
both_new(void)
{
	log_set_sink(quiet, NULL);
	side_new(&A, "A", 1);
	m_new(&M, "M", 2);
}

static void
both_free(void)
{
	m_free(&M);
	side_free(&A);
}

/* What a fresh sidecar finds is what the old one knew. */
static void
assert_reread(struct side *d)
{
	struct side again = { .os = d->os, .label = "again" };
	char *was, *is;

	ck_assert_int_eq(d->r->ops->commit(d->r), 0);
	was = side_dump(d);
	m_close(d);
	ck_assert_int_eq(md_open_as(&again, "dsyncfs-other"), 0);
	is = side_dump(&again);
	ck_assert_str_eq(is, was);
	m_close(&again);
	ck_assert_int_eq(md_remove_tree(d->os, "dsyncfs-other"), 0);
	ck_assert_int_eq(m_open(d), 0);
	free(was);
	free(is);
}

/* ---- every member ---- */

static void
full_store(void)
{
	box_new(&A, "INBOX");
	box_new(&A, "Work");
	box_new(&A, "Arkiv/R\xc3\xa4kningar");
	mail_new(&A, "INBOX", "a", "one");
	mail_new(
	    &A, "INBOX", "1700000000.M1P2.host,S=999,W=1000", "lying size");
	mail_new(&A, "INBOX", "guid:with/odd chars", "odd");
	mail_new(&A, "INBOX", "00112233445566778899aabbccddeeff", "hex");
	mail_new(&A, "Work", "a", "one");
	mail_flags(&A, "INBOX", 1, MAIL_SEEN | MAIL_DRAFT, 0);
	mail_keyword(&A, "INBOX", 1, "$Forwarded", NULL);
	mail_keyword(&A, "INBOX", 4, "NonJunk", NULL);
	box_subscribe(&A, "Work", true, 0);
}

START_TEST(a_mirror_into_a_maildir_carries_everything)
{
	fs_layout = _i != 0;
	both_new();
	full_store();
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	if (getenv("TEST_VERBOSE") != NULL)
		fprintf(stderr, "%s", side_dump(&M));
	/*
	 * A GUID with a space or LF cannot stand in the list: the others must
	 * all come back.
	 */
	mail_expunge(&A, "INBOX", 3);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	assert_reread(&M);
	assert_equal(&A, &M);
	both_free();
}
END_TEST

START_TEST(changes_go_both_ways)
{
	struct sync_result r;

	fs_layout = _i != 0;
	both_new();
	full_store();
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	mail_flags(&A, "INBOX", 2, MAIL_FLAGGED, 0);
	mail_flags(&A, "INBOX", 1, 0, MAIL_DRAFT);
	mail_keyword(&A, "INBOX", 1, "later", "$Forwarded");
	mail_expunge(&A, "Work", 1);
	box_rename(&A, "Work", "Job", 1800000000);
	box_rename(&A, "Arkiv/R\xc3\xa4kningar", "Archive/R", 1800000001);
	box_new(&A, "Job/Sub");
	mail_new(&A, "Job/Sub", "z", "zz");
	mail_move(&A, "INBOX", 4, "Job/Sub");
	box_subscribe(&A, "Work", false, 1800000002);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	box_delete(&A, "Job", 0);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	mail_expunge(&A, "INBOX", 3);
	ck_assert_int_eq(sync_mirror(&A, &M, &r), 0);
	assert_reread(&M);
	ck_assert_int_eq(sync_mirror(&A, &M, &r), 0);
	ck_assert_uint_eq(result_changes(&r), 0);
	assert_equal(&A, &M);
	both_free();
}
END_TEST

START_TEST(a_uid_conflict_is_settled_and_stays_so)
{
	struct side N;
	struct sync_result r;

	fs_layout = false;
	both_new();
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "a", "from A");
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	side_new(&N, "N", 9);
	ck_assert_int_eq(sync_mirror(&N, &M, NULL), 0);
	mail_new(&A, "INBOX", "b", "second of A");
	mail_new(&N, "INBOX", "c", "second of N");
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(sync_mirror(&N, &M, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	assert_reread(&M);
	ck_assert_int_eq(sync_mirror(&N, &M, &r), 0);
	ck_assert_int_eq(sync_mirror(&A, &M, &r), 0);
	assert_equal(&A, &M);
	assert_equal(&N, &M);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 3);
	side_free(&N);
	both_free();
}
END_TEST

/* As of a message that a merge saved and expunged at once. */
START_TEST(a_uid_that_no_line_shows_is_not_used_again)
{
	struct mailbox_update u = { .min_uidnext = 7 };
	struct msg_update flag = { .add = MAIL_FLAGGED };
	struct txn *t;
	size_t n;
	char *p;

	fs_layout = false;
	both_new();
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "a", "one");
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(M.r->ops->commit(M.r), 0);
	for (int i = 0; i < 2; i++) {
		if (i == 0) /* the lock is taken first, or afterwards */
			ck_assert_int_eq(M.r->ops->update(M.r,
			    box_id(&M, "INBOX"), 1, &flag, NULL), 0);
		ck_assert_int_eq(txn_begin(M.s, NULL, &t), 0);
		ck_assert_int_eq(
		    txn_mailbox_update(t, box_id(&M, "INBOX"), &u), 0);
		ck_assert_int_eq(txn_commit(t), 0);
		if (i == 1)
			ck_assert_int_eq(M.r->ops->expunge(M.r,
			    box_id(&M, "INBOX"), 1, 0, NULL), 0);
		ck_assert_int_eq(M.r->ops->commit(M.r), 0);
		ck_assert_int_eq(
		    os_read_file(M.os, "dovecot-uidlist", 4096, &p, &n), 0);
		ck_assert_ptr_nonnull(
		    memmem(p, n, i == 0 ? " N7 " : " N9 ", 4));
		free(p);
		u.min_uidnext = 9;
	}
	both_free();
}
END_TEST

START_TEST(names_that_the_layout_cannot_hold_stay_in_the_sidecar)
{
	struct sync_result r;

	fs_layout = _i != 0;
	both_new();
	box_new(&A, "INBOX");
	box_new(&A, "a.b/c");
	box_new(&A, "a_b/c");
	box_new(&A, "cur");
	box_new(&A, ".hidden/x");
	mail_new(&A, "a.b/c", "a", "one");
	mail_new(&A, "cur", "b", "two");
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	m_close(&M);
	ck_assert_int_eq(m_open(&M), 0);
	/* With LAYOUT=fs the directories between are found as such. */
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(sync_mirror(&A, &M, &r), 0);
	ck_assert_uint_eq(result_changes(&r), 0);
	assert_equal(&A, &M);
	box_rename(&A, "a.b/c", "d.e/c", 1800000000);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	both_free();
}
END_TEST

START_TEST(keywords_beyond_the_letters_are_kept)
{
	struct sync_result r;
	char name[16];

	fs_layout = false;
	both_new();
	box_new(&A, "INBOX");
	mail_new(&A, "INBOX", "a", "one");
	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "kw%d", i);
		mail_keyword(&A, "INBOX", 1, name, NULL);
	}
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	m_close(&M);
	os_mem_advance(M.os, 10000);
	ck_assert_int_eq(m_open(&M), 0);
	mail_keyword(&A, "INBOX", 1, NULL, "kw3");
	ck_assert_int_eq(sync_mirror(&A, &M, &r), 0);
	assert_equal(&A, &M);
	both_free();
}
END_TEST

/* ---- disk full, power cut ---- */

/* Both were in step once; then much happened in A, which a sync brings to M. */
static void
history(void)
{
	both_new();
	box_new(&A, "INBOX");
	box_new(&A, "Work");
	for (char g[2] = "a"; g[0] < 'g'; g[0]++)
		mail_new(&A, "INBOX", g, g);
	mail_new(&A, "Work", "w", "w");
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(M.r->ops->commit(M.r), 0);
	mail_flags(&A, "INBOX", 1, MAIL_SEEN, 0);
	mail_keyword(&A, "INBOX", 2, "kw", NULL);
	mail_expunge(&A, "INBOX", 3);
	mail_new(&A, "INBOX", "n1", "n1");
	mail_new(&A, "INBOX", "a:guid", "n2");
	mail_move(&A, "INBOX", 5, "Work");
	box_new(&A, "New");
	mail_new(&A, "New", "n1", "n1");
	box_rename(&A, "Work", "Job", 1800000000);
	box_subscribe(&A, "Job", true, 0);
	ck_assert_int_eq(store_sync(A.s), 0);
}

static void
check_mails(void)
{
	static const char *const inbox[] = { "a", "b", "d", "f", "n1",
		"a:guid" };
	uint8_t flags;

	for (size_t i = 0; i < sizeof(inbox) / sizeof(inbox[0]); i++)
		ck_assert_msg(mail_uid(&A, "INBOX", inbox[i]) != 0,
		    "mail %s is lost", inbox[i]);
	ck_assert_uint_eq(mail_count(&A, "INBOX"), 6);
	ck_assert_uint_eq(mail_count(&A, "Job"), 2);
	ck_assert_uint_eq(mail_count(&A, "New"), 1);
	ck_assert_uint_eq(mail_uid(&A, "INBOX", "c"), 0);
	/*
	 * A rename that the power took back must not look like a user's change
	 * of mind.
	 */
	ck_assert(mail_get(&A, "INBOX", mail_uid(&A, "INBOX", "a"), &flags));
	ck_assert_msg((flags & MAIL_SEEN) != 0, "the flag of mail a is lost");
}

/* Within three runs both are the same, nothing lost, nothing double. */
static void
heal(const char *when, uint64_t n)
{
	bool same = false;

	for (int i = 0; i < 3 && !same; i++) {
		ck_assert_msg(sync_mirror(&A, &M, NULL) == 0,
		    "%s %lu: the next sync fails", when, (unsigned long)n);
		same = sides_equal(&A, &M);
	}
	if (!same)
		assert_equal(&A, &M);
	if (mail_count(&A, "INBOX") != 6 && getenv("TEST_VERBOSE") != NULL)
		fprintf(stderr, "%s %lu:\n%s", when, (unsigned long)n,
		    side_dump(&A));
	check_mails();
}

static uint64_t
dry_run(void)
{
	uint64_t from, n;

	history();
	from = os_mem_changes(M.os);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	assert_equal(&A, &M);
	check_mails();
	(void)M.r->ops->commit(M.r);
	n = os_mem_changes(M.os) - from;
	both_free();
	return (n);
}

START_TEST(a_power_cut_at_any_change_is_healed)
{
	static const enum os_mem_loss losses[] = { OS_MEM_LOSE_ALL,
		OS_MEM_KEEP_ALL, OS_MEM_LOSE_SOME };
	uint64_t n, step = getenv("TEST_SHORT") != NULL ? 7 : 1;

	fs_layout = false;
	log_set_sink(quiet, NULL);
	n = dry_run();
	ck_assert_uint_gt(n, 20);
	for (uint64_t i = 1; i <= n; i += step) {
		history();
		os_mem_cut_at(M.os, os_mem_changes(M.os) + i);
		if (sync_mirror(&A, &M, NULL) == 0)
			(void)M.r->ops->commit(M.r);
		m_close(&M);
		ck_assert_int_eq(
		    os_mem_reboot(M.os, losses[_i % 3], i * 31 + (uint64_t)_i),
		    0);
		os_mem_advance(M.os, 300000);
		ck_assert_msg(m_open(&M) == 0,
		    "after change %lu the sidecar cannot be opened",
		    (unsigned long)i);
		heal("power cut at change", i);
		both_free();
	}
}
END_TEST

/*
 * The sidecar on disk may be ahead of the names: then it is right, and the
 * names follow.
 */
START_TEST(a_change_that_only_the_sidecar_kept_is_done_again)
{
	unsigned kept = 0, kept_expunge = 0;

	fs_layout = false;
	log_set_sink(quiet, NULL);
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct msg_update u = { .add = MAIL_FLAGGED };
		unsigned problems = 0;
		uint8_t flags = 0, now = 0;
		bool gone;
		struct guid peer = { { 7 } };

		both_new();
		box_new(&A, "INBOX");
		mail_new(&A, "INBOX", "a", "one");
		mail_new(&A, "INBOX", "b", "two");
		ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
		ck_assert_int_eq(M.r->ops->commit(M.r), 0);
		ck_assert_int_eq(
		    M.r->ops->update(M.r, box_id(&M, "INBOX"), 1, &u, &peer),
		    0);
		ck_assert_int_eq(
		    M.r->ops->expunge(M.r, box_id(&M, "INBOX"), 2, 0, &peer),
		    0);
		os_mem_cut_now(M.os);
		m_close(&M);
		ck_assert_int_eq(
		    os_mem_reboot(M.os, OS_MEM_LOSE_SOME, seed), 0);
		os_mem_advance(M.os, 300000);
		ck_assert_int_eq(m_open(&M), 0);
		ck_assert(mail_get(&M, "INBOX", 1, &flags));
		kept += (flags & MAIL_FLAGGED) != 0;
		gone = mail_uid(&M, "INBOX", "b") == 0;
		kept_expunge += gone;
		ck_assert_int_eq(M.r->ops->refresh(M.r, NULL, &problems), 0);
		ck_assert(mail_get(&M, "INBOX", 1, &now));
		ck_assert_msg(!(flags & ~now & MAIL_FLAGGED),
		    "seed %lu: the flag was taken back", (unsigned long)seed);
		ck_assert_msg(!gone || mail_uid(&M, "INBOX", "b") == 0,
		    "seed %lu: the message came back", (unsigned long)seed);
		both_free();
	}
	ck_assert_uint_gt(kept, 0);
	ck_assert_uint_gt(kept_expunge, 0);
}
END_TEST

START_TEST(a_full_disk_at_any_write_loses_nothing)
{
	static const enum os_mem_op ops[] = { OS_MEM_PWRITE, OS_MEM_CREATE,
		OS_MEM_RENAME, OS_MEM_LINK, OS_MEM_MKDIR, OS_MEM_SYNC_DIR };
	enum os_mem_op op = ops[_i];
	uint64_t n;

	fs_layout = false;
	log_set_sink(quiet, NULL);
	history();
	n = os_mem_calls(M.os, op);
	(void)sync_mirror(&A, &M, NULL);
	(void)M.r->ops->commit(M.r);
	n = os_mem_calls(M.os, op) - n;
	both_free();
	for (uint64_t i = 1; i <= n; i++) {
		history();
		os_mem_fail(M.os, op, i, ENOSPC, false);
		if (sync_mirror(&A, &M, NULL) == 0)
			(void)M.r->ops->commit(M.r);
		os_mem_fail(M.os, op, 0, 0, false);
		m_close(&M);
		os_mem_advance(M.os, 300000);
		ck_assert_msg(m_open(&M) == 0,
		    "after failure %lu the sidecar cannot be opened",
		    (unsigned long)i);
		heal("failure of call", i);
		both_free();
	}
}
END_TEST

/* ---- what Dovecot wrote ---- */

struct sample {
	const char *kind, *store, *expected;
	bool fs;
};

static const struct sample samples[] = {
	{ "maildir", "store", "expected.txt", false },
	{ "maildir", "store-indexed", "expected-indexed.txt", false },
	{ "maildirfs", "store", "expected.txt", true },
	{ "maildirfs", "store-indexed", "expected-indexed.txt", true },
};

static char *
slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *p = calloc(1, 1 << 20);

	ck_assert_msg(
	    f != NULL, "%s is missing: run from the clone's root", path);
	ck_assert(p != NULL);
	(void)!fread(p, 1, (1 << 20) - 1, f);
	(void)fclose(f);
	return (p);
}

/* "Key: value" of a block, copied into out; "" when there is none. */
static void
field(const char *block, const char *key, char out[512])
{
	const char *p = strstr(block, key),
		   *end = strstr(block + 1, "mailbox: ");

	out[0] = 0;
	if (p == NULL || (end != NULL && p > end))
		return;
	p += strlen(key);
	(void)snprintf(out, 512, "%.*s", (int)strcspn(p, "\n"), p);
}

static void
check_flags(const struct msg *m, const char *want)
{
	static const char *const names[] = { "\\Answered", "\\Flagged",
		"\\Deleted", "\\Seen", "\\Draft" };
	char copy[512], *save = NULL;
	uint8_t flags = 0;
	size_t keywords = 0;

	(void)snprintf(copy, sizeof(copy), "%s", want);
	for (char *w = strtok_r(copy, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save)) {
		unsigned i = 0;

		while (i < 5 && strcmp(w, names[i]) != 0)
			i++;
		if (i < 5) {
			flags |= (uint8_t)(1u << i);
		} else if (strcmp(w, "\\Recent") != 0) {
			ck_assert_msg(keywords_has(&m->keywords, w),
			    "keyword %s is missing", w);
			keywords++;
		}
	}
	ck_assert_uint_eq(m->flags, flags);
	ck_assert_uint_eq(m->keywords.n, keywords);
}

static void
check_block(struct replica *r, const char *block)
{
	struct arena a = ARENA_INIT;
	struct stream *body;
	char v[512];
	struct mailbox box;
	struct msg m;
	struct tm tm;
	time_t at;

	field(block, "mailbox: ", v);
	ck_assert_msg(store_mailbox_by_name(r->store, v, &box) == 0,
	    "mailbox %s is missing", v);
	field(block, "uid: ", v);
	ck_assert_int_eq(
	    store_msg(r->store, box.id, (uint32_t)atoi(v), &a, &m), 0);
	field(block, "guid: ", v);
	ck_assert_str_eq(m.guid, v);
	field(block, "flags: ", v);
	check_flags(&m, v);
	field(block, "size.physical: ", v);
	ck_assert_int_eq(r->ops->body(r, box.id, m.uid, &body), 0);
	ck_assert_uint_eq(body->size, strtoull(v, NULL, 10));
	stream_close(body);
	field(block, "size.virtual: ", v);
	ck_assert_uint_eq(m.vsize, strtoull(v, NULL, 10));
	field(block, "date.received: ", v);
	at = (time_t)m.received;
	ck_assert(localtime_r(&at, &tm) != NULL);
	ck_assert_msg(tm.tm_min == atoi(v + 14) && tm.tm_sec == atoi(v + 17) &&
		tm.tm_year + 1900 == atoi(v),
	    "received %s is read as %lld", v, (long long)m.received);
	arena_fini(&a);
}

START_TEST(a_store_of_dovecot_is_read_as_dovecot_reads_it)
{
	const struct sample *s = &samples[_i];
	char dir[] = "/tmp/dsyncfs-maildir.XXXXXX", cmd[512], text[256],
	     *expected;
	struct arena a = ARENA_INIT;
	struct location l;
	struct replica *r;
	unsigned problems = 0, blocks = 0;
	struct mailbox box;

	log_set_sink(quiet, NULL);
	ck_assert(mkdtemp(dir) != NULL);
	(void)snprintf(cmd, sizeof(cmd),
	    "tar xzf tests/data/%s/%s.tar.gz -C %s", s->kind, s->store, dir);
	ck_assert_int_eq(system(cmd), 0);
	(void)snprintf(text, sizeof(text), "maildir:%s/%s/Maildir%s", dir,
	    s->store, s->fs ? ":LAYOUT=fs" : "");
	ck_assert_int_eq(
	    location_parse(&a, backends_registry, text, "test", &l), 0);
	ck_assert_int_eq(location_open(backends_registry, &l, NULL, 0, &r), 0);
	ck_assert_int_eq(r->ops->refresh(r, NULL, &problems), 0);
	ck_assert_uint_eq(problems, 0);
	(void)snprintf(
	    cmd, sizeof(cmd), "tests/data/%s/%s", s->kind, s->expected);
	expected = slurp(cmd);
	for (const char *p = expected; (p = strstr(p, "mailbox: ")) != NULL;
	     p++, blocks++)
		check_block(r, p);
	ck_assert_uint_eq(blocks, 8);
	ck_assert_int_eq(store_mailbox_by_name(r->store, "INBOX", &box), 0);
	ck_assert(box.subscribed);
	ck_assert_uint_eq(box.messages, 5);
	ck_assert_uint_eq(box.uidvalidity, s->fs ? 1795469171 : 1795469170);
	ck_assert_int_eq(
	    store_mailbox_by_name(r->store, "Arkiv/R\xc3\xa4kningar", &box), 0);
	ck_assert(box.subscribed);
	ck_assert_int_eq(r->ops->close(r), 0);
	free(expected);
	arena_fini(&a);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

/* _i 1: what another program keeps in it stays, and so does the mailbox. */
START_TEST(a_mailbox_gets_the_name_of_directories)
{
	struct mailbox_new dir = { .name = "Work/Sub/Deep", .directory = true };
	struct os_file *f;
	struct os_stat st;
	struct txn *t;

	fs_layout = true;
	both_new();
	box_new(&A, "Job");
	mail_new(&A, "Job", "g", "g");
	ck_assert_int_eq(txn_begin(A.s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &dir, NULL), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(M.os->ops->stat(M.os, "Work/Sub/Deep", &st), 0);
	if (_i == 1) {
		ck_assert_int_eq(M.os->ops->open(M.os, "Work/Sub/note",
				     OS_WRITE | OS_CREATE, &f),
		    0);
		M.os->ops->close(f);
	}
	box_rename(&A, "Job", "Work/Sub", 1800000000);
	ck_assert_int_eq(sync_mirror(&A, &M, NULL), 0);
	ck_assert_int_eq(M.os->ops->stat(M.os, "Work/Sub/Deep", &st), 0);
	if (_i == 1) {
		ck_assert_int_eq(
		    M.os->ops->stat(M.os, "Work/Sub/note", &st), 0);
		ck_assert_uint_eq(mail_count(&M, "Job"), 1);
	} else {
		assert_equal(&A, &M);
		ck_assert_uint_eq(mail_count(&M, "Work/Sub"), 1);
	}
	both_free();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_maildir");
	TCase *t = tcase_create("maildir");

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(
	    t, a_store_of_dovecot_is_read_as_dovecot_reads_it, 0, 4);
	tcase_add_loop_test(
	    t, a_mirror_into_a_maildir_carries_everything, 0, 2);
	tcase_add_loop_test(t, changes_go_both_ways, 0, 2);
	tcase_add_test(t, a_uid_conflict_is_settled_and_stays_so);
	tcase_add_test(t, a_uid_that_no_line_shows_is_not_used_again);
	tcase_add_loop_test(
	    t, names_that_the_layout_cannot_hold_stay_in_the_sidecar, 0, 2);
	tcase_add_test(t, keywords_beyond_the_letters_are_kept);
	tcase_add_loop_test(t, a_mailbox_gets_the_name_of_directories, 0, 2);
	tcase_add_loop_test(t, a_power_cut_at_any_change_is_healed, 0,
	    getenv("TEST_SHORT") != NULL ? 3 : 24);
	tcase_add_test(t, a_change_that_only_the_sidecar_kept_is_done_again);
	tcase_add_loop_test(t, a_full_disk_at_any_write_loses_nothing, 0, 6);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
