/*
 * backends_cost -- a sync with a Maildir lists and reads what changed, not what
 * is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/maildir/maildir.h"
#include "sync/brain.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_make.h"

#define BOXES 10u

static struct os *store_os_, *disk;
static struct replica *store, *maildir;

static void
open_maildir(void)
{
	struct maildir_config c = { .lock_wait_ms = 100 };

	ck_assert_int_eq(disk->ops->sub(disk, "m", &c.root), 0);
	ck_assert_int_eq(disk->ops->sub(disk, "s", &c.sidecar), 0);
	ck_assert_int_eq(
	    maildir_replica_new(&c, NULL, "maildir:test", &maildir), 0);
}

static void
open_store(void)
{
	struct store *s = make_store(store_os_);

	ck_assert_int_eq(
	    replica_native_new(s, "dsyncfs:test", true, NULL, &store), 0);
}

static void
shut(void)
{
	ck_assert_int_eq(store->ops->close(store), 0);
	ck_assert_int_eq(maildir->ops->close(maildir), 0);
}

static void
teardown(void)
{
	disk->ops->close_tree(disk);
	store_os_->ops->close_tree(store_os_);
}

static void
deliver(struct os *root, unsigned box, unsigned n)
{
	char path[96], text[96];
	struct os_file *f;

	(void)snprintf(path, sizeof(path),
	    ".box%02u/cur/17000%05u.M%uP%u.test:2,S", box, n, n, box);
	(void)snprintf(
	    text, sizeof(text), "Subject: %u\n\nbody of %u in %u\n", n, n, box);
	ck_assert_int_eq(
	    root->ops->open(root, path, OS_WRITE | OS_CREATE, &f), 0);
	ck_assert_int_eq(root->ops->pwrite(f, text, strlen(text), 0), 0);
	root->ops->close(f);
}

static void
fill(unsigned each)
{
	static const char *const sub[] = { "cur", "new", "tmp" };
	struct os *root;
	char path[96];

	ck_assert_int_eq(os_mem_new(1, &disk), 0);
	ck_assert_int_eq(os_mem_new(2, &store_os_), 0);
	os_mem_set_time(disk, T0, 0);
	os_mem_set_time(store_os_, T0, 0);
	ck_assert_int_eq(disk->ops->mkdir(disk, "m"), 0);
	ck_assert_int_eq(disk->ops->mkdir(disk, "s"), 0);
	ck_assert_int_eq(disk->ops->sub(disk, "m", &root), 0);
	for (int k = 0; k < 3; k++)
		ck_assert_int_eq(os_mkdirs(root, sub[k]), 0);
	for (unsigned i = 0; i < BOXES; i++) {
		for (int k = 0; k < 3; k++) {
			(void)snprintf(
			    path, sizeof(path), ".box%02u/%s", i, sub[k]);
			ck_assert_int_eq(os_mkdirs(root, path), 0);
		}
		for (unsigned n = 0; n < each; n++)
			deliver(root, i, n);
	}
	root->ops->close_tree(root);
}

struct cost {
	uint64_t lists, reads, writes;
	struct sync_result r;
};

/* From closed locations to closed ones; a while after what was before. */
static struct cost
mirror(void)
{
	const struct sync_options o = { .mode = SYNC_MIRROR };
	uint64_t lists, reads, writes;
	struct cost c;

	os_mem_advance(disk, 10000);
	os_mem_advance(store_os_, 10000);
	lists = os_mem_calls(disk, OS_MEM_LIST);
	reads = os_mem_calls(disk, OS_MEM_PREAD);
	writes = os_mem_calls(disk, OS_MEM_PWRITE);
	open_store();
	open_maildir();
	ck_assert_int_eq(sync_run_local(store, maildir, &o, NULL, &c.r), 0);
	ck_assert(!c.r.changes_during_sync && !c.r.incomplete);
	shut();
	c.lists = os_mem_calls(disk, OS_MEM_LIST) - lists;
	c.reads = os_mem_calls(disk, OS_MEM_PREAD) - reads;
	c.writes = os_mem_calls(disk, OS_MEM_PWRITE) - writes;
	if (getenv("SYNC_VERBOSE") != NULL)
		fprintf(stderr, "lists %llu reads %llu writes %llu\n",
		    (unsigned long long)c.lists, (unsigned long long)c.reads,
		    (unsigned long long)c.writes);
	return (c);
}

/* Until a look trusts what the one before it saw. */
static void
settle(unsigned each)
{
	struct cost c;

	fill(each);
	c = mirror();
	ck_assert_uint_eq(c.r.counts.saved, BOXES * each);
	for (int i = 0; i < 2; i++)
		(void)mirror();
}

static unsigned
large(void)
{
	return (getenv("TEST_SHORT") != NULL ? 100 : 500);
}

START_TEST(a_mirror_without_changes_lists_no_folder_again)
{
	struct cost small, big;

	settle(5);
	small = mirror();
	teardown();
	settle(large());
	big = mirror();
	ck_assert_uint_eq(big.r.counts.mailboxes_unchanged, BOXES + 1);
	ck_assert_uint_eq(big.lists, small.lists);
	/* of the sidecar's index, one or two levels deeper */
	ck_assert_uint_le(big.reads, small.reads + 20);
	ck_assert_uint_eq(big.writes, small.writes);
}
END_TEST

START_TEST(a_change_lists_its_folder_only)
{
	struct cost quiet, c;
	struct os *root;

	settle(20);
	quiet = mirror();
	ck_assert_int_eq(disk->ops->sub(disk, "m", &root), 0);
	deliver(root, 3, 1000);
	root->ops->close_tree(root);
	c = mirror();
	ck_assert_uint_eq(c.r.counts.saved, 1);
	/* new/ and cur/, once without and once with the lock */
	ck_assert_uint_le(c.lists, quiet.lists + 4);
}
END_TEST

/* Ten changes in each mailbox of the store. */
static void
change_store(unsigned each)
{
	struct store *s = make_store(store_os_);
	struct mailbox m;
	char name[64];

	for (unsigned i = 0; i < BOXES; i++) {
		(void)snprintf(name, sizeof(name), "box%02u", i);
		ck_assert_int_eq(store_mailbox_by_name(s, name, &m), 0);
		for (unsigned k = 0; k < 4; k++) {
			(void)snprintf(
			    name, sizeof(name), "Subject: %u of %u\n\n", k, i);
			(void)make_msg(s, m.id, NULL, name);
			make_flags(s, m.id, each / 2 + k, MAIL_FLAGGED, 0);
		}
		make_expunge(s, m.id, each / 2 + 4);
		make_expunge(s, m.id, each / 2 + 5);
	}
	ck_assert_int_eq(store_close(s), 0);
}

START_TEST(a_hundred_changes_cost_the_same_in_larger_folders)
{
	struct cost small, big;

	settle(20);
	change_store(20);
	small = mirror();
	teardown();
	settle(large());
	change_store(large());
	big = mirror();
	ck_assert_uint_eq(big.r.counts.saved, 40);
	ck_assert_uint_eq(big.r.counts.flags, 40);
	ck_assert_uint_eq(big.r.counts.expunged, 20);
	ck_assert_uint_eq(big.lists, small.lists);
	/* pages of the sidecar's index, which no longer lie side by side */
	ck_assert_uint_le(big.reads, small.reads + 200);
	ck_assert_uint_le(big.writes, small.writes + 200);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backends_cost");
	TCase *t = tcase_create("cost");

	make_quiet();
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, a_mirror_without_changes_lists_no_folder_again);
	tcase_add_test(t, a_change_lists_its_folder_only);
	tcase_add_test(t, a_hundred_changes_cost_the_same_in_larger_folders);
	suite_add_tcase(s, t);
	return (run_suite(s));
}
