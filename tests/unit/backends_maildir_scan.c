/*
 * backends_maildir_scan -- the Maildir's own files read and written, and
 * refresh: what others do to a Maildir is seen, and what is wrong with one
 * costs nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir/maildir_internal.h"
#include "backends/os_posix.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/os_mem.h"
#include "tests/unit/lib/store_make.h"

/* ---- a Maildir in memory ---- */

/* the last two: directories of the first */
static struct os *disk, *root, *side;
static struct replica *rep;
static unsigned problems;

static void
put(const char *path, const char *text)
{
	char dir[600];
	struct os_file *f;

	(void)snprintf(dir, sizeof(dir), "%s", path);
	if (strrchr(dir, '/') != NULL) {
		*strrchr(dir, '/') = 0;
		ck_assert_int_eq(os_mkdirs(root, dir), 0);
	}
	/* A new file, since the tree in memory keeps no time of changes. */
	(void)root->ops->unlink(root, path);
	ck_assert_int_eq(
	    root->ops->open(root, path, OS_WRITE | OS_CREATE, &f), 0);
	if (*text != 0)
		ck_assert_int_eq(
		    root->ops->pwrite(f, text, strlen(text), 0), 0);
	root->ops->close(f);
}

static void
box_dirs(const char *dir)
{
	static const char *const sub[] = { "cur", "new", "tmp" };
	char p[600];

	for (int i = 0; i < 3; i++) {
		(void)snprintf(
		    p, sizeof(p), "%s%s%s", dir, *dir == 0 ? "" : "/", sub[i]);
		ck_assert_int_eq(os_mkdirs(root, p), 0);
	}
}

static void
mv(const char *from, const char *to)
{
	ck_assert_int_eq(root->ops->rename(root, from, to), 0);
}

static char *
get(const char *path)
{
	char *p;
	size_t n;

	if (os_read_file(root, path, 1 << 20, &p, &n) != 0)
		return (NULL);
	return (p);
}

static void
open_as(bool fs, bool rdonly)
{
	struct maildir_config c = {
		.fs = fs, .rdonly = rdonly, .lock_wait_ms = 100
	};

	c.root = root;
	c.sidecar = side;
	ck_assert_int_eq(
	    maildir_replica_new(&c, NULL, "maildir:test", &rep), 0);
}

static void
refresh(void)
{
	problems = 0;
	os_mem_advance(disk, 5000);
	ck_assert_int_eq(rep->ops->refresh(rep, NULL, &problems), 0);
}

static void
trees(void)
{
	ck_assert_int_eq(disk->ops->sub(disk, "m", &root), 0);
	ck_assert_int_eq(disk->ops->sub(disk, "s", &side), 0);
}

static void
setup(void)
{
	make_quiet();
	ck_assert_int_eq(os_mem_new(1, &disk), 0);
	os_mem_set_time(disk, 1700000000, 0);
	ck_assert_int_eq(disk->ops->mkdir(disk, "m"), 0);
	ck_assert_int_eq(disk->ops->mkdir(disk, "s"), 0);
	trees();
	box_dirs("");
	rep = NULL;
}

/* The trees go with the replica, or by themselves when there is none. */
static void
shut(void)
{
	if (rep != NULL) {
		(void)rep->ops->close(rep);
	} else {
		root->ops->close_tree(root);
		side->ops->close_tree(side);
	}
	rep = NULL;
}

static void
teardown(void)
{
	shut();
	disk->ops->close_tree(disk);
}

static int
on_msg(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct buf *b = arg;
	struct mail_info i = { .flags = m->flags };
	char letters[64];

	(void)mailbox;
	mail_info_format(&i, letters);
	buf_printf(b, "%u %s %s%s", m->uid, m->guid, letters,
	    m->state & MSG_NEW ? " new" : "");
	for (size_t k = 0; k < m->keywords.n; k++)
		buf_printf(b, " %s", m->keywords.name[k]);
	buf_printf(b, "\n");
	return (0);
}

/* The messages of a mailbox, a line each: UID, GUID, flags, "new", keywords. */
static const char *
box_says(const char *name)
{
	static struct buf b = BUF_INIT;
	struct mailbox m;

	buf_reset(&b);
	if (store_mailbox_by_name(rep->store, name, &m) != 0 || !m.selectable)
		return ("none");
	ck_assert_int_eq(store_msgs(rep->store, m.id, 1, on_msg, &b), 0);
	return (buf_cstr(&b));
}

static int
on_node(void *arg, const struct mailbox *m)
{
	struct buf *b = arg;

	if (m->exists)
		buf_printf(b, "%s%s ", m->name, m->selectable ? "" : "/");
	return (0);
}

static const char *
tree_says(void)
{
	static struct buf b = BUF_INIT;

	buf_reset(&b);
	ck_assert_int_eq(store_mailboxes(rep->store, on_node, &b), 0);
	return (buf_cstr(&b));
}

static int
on_deletion(void *arg, const struct deletion *d)
{
	(*(unsigned *)arg) += d->kind == DELETED_MAILBOX;
	return (0);
}

static unsigned
deletions(void)
{
	unsigned n = 0;

	ck_assert_int_eq(store_deletions(rep->store, on_deletion, &n), 0);
	return (n);
}

/* ---- the codecs ---- */

#define LIST3 "3 V1795469170 N6 Gd868be1471af046bbd40000083ecc375"

static void
list_of(const char *text, struct uidlist *l)
{
	uidlist_init(l);
	ck_assert_int_eq(uidlist_parse(l, text, strlen(text)), 0);
}

START_TEST(a_list_keeps_every_key)
{
	static const char text[] =
	    "3 V7 N60 G00112233445566778899aabbccddee01 Px Zy\n"
	    "10 Gabc W221 :a.x,S=209\n50 Pmyuidl O7 W227 S12 Qq :b.x\n";
	static const char again[] =
	    "3 V7 N60 G00112233445566778899aabbccddee01 Px Zy\n"
	    "10 Gabc W221 :a.x,S=209\n50 Pmyuidl O7 W227 S12 Qq :b.x\n";
	struct buf b = BUF_INIT;
	struct uidlist l;

	list_of(text, &l);
	ck_assert_ptr_null(l.problem);
	ck_assert(!l.rewrite);
	uidlist_format(&b, &l);
	ck_assert_str_eq(buf_cstr(&b), again);
	buf_fini(&b);
	uidlist_fini(&l);
}
END_TEST

START_TEST(next_uid_is_above_the_last_line)
{
	struct uidlist l;

	list_of(LIST3 "\n1 :a\n9 :b\n", &l);
	ck_assert_uint_eq(l.next, 10);
	uidlist_fini(&l);
}
END_TEST

START_TEST(courier_list_is_read)
{
	struct uidlist l;

	list_of("1 1795469170 12\n3 a\n7 b:2,S\n", &l);
	ck_assert_uint_eq(l.uidvalidity, 1795469170);
	ck_assert_uint_eq(l.next, 12);
	ck_assert_uint_eq(uidlist_find(&l, "b")->uid, 7);
	ck_assert(l.rewrite);
	uidlist_fini(&l);
}
END_TEST

START_TEST(lines_after_a_disorder_are_not_believed)
{
	static const char *const bad[] = { "5 :c\n", "0 :c\n", "x :c\n",
		"4294967295 :c\n", "99999999999 :c\n", ":c\n" };
	char text[400];
	struct uidlist l;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(
		    text, sizeof(text), LIST3 "\n1 :a\n5 :b\n%s9 :d\n", bad[i]);
		list_of(text, &l);
		ck_assert_ptr_nonnull(l.problem);
		ck_assert_uint_eq(l.problem_line, 4);
		ck_assert_uint_eq(l.n, 2);
		ck_assert_ptr_null(uidlist_find(&l, "d"));
		uidlist_fini(&l);
	}
}
END_TEST

START_TEST(a_torn_line_is_not_believed)
{
	struct uidlist l;

	list_of(LIST3 "\n1 :a\n2 :bcd", &l);
	ck_assert_uint_eq(l.n, 1);
	ck_assert(l.rewrite);
	uidlist_fini(&l);
}
END_TEST

START_TEST(hostile_lists_give_no_paths)
{
	static const char *const bad[] = { "1 :../x\n", "1 :a/b\n", "1 :.x\n",
		"1 :\n", "1 ::x\n" };
	char text[400];
	struct uidlist l;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text), LIST3 "\n%s2 :b\n", bad[i]);
		list_of(text, &l);
		ck_assert_uint_eq(l.n, 1);
		ck_assert_str_eq(l.rec[0].base, "b");
		uidlist_fini(&l);
	}
	list_of("3 V0 N1\n1 :a\n", &l);
	ck_assert_uint_eq(l.uidvalidity, 0);
	ck_assert_uint_eq(l.n, 0);
	uidlist_fini(&l);
}
END_TEST

START_TEST(keyword_numbers_are_permanent)
{
	static const char text[] =
	    "0 $Forwarded\n2 NonJunk\n2 other\n40 far\nx y\n3 \n7 (bad\n";
	struct kwtable k = { NULL, 0, 0 };
	struct buf b = BUF_INIT;
	unsigned bad = 0;

	ck_assert_int_eq(kwtable_parse(&k, text, strlen(text), &bad), 0);
	ck_assert_uint_eq(bad, 4);
	ck_assert_int_eq(kwtable_find(&k, "nonjunk"), 2);
	ck_assert_int_eq(kwtable_find(&k, "far"), 40);
	ck_assert_int_eq(kwtable_add(&k, "more"), -ENOSPC);
	kwtable_format(&b, &k);
	ck_assert_str_eq(buf_cstr(&b), "0 $Forwarded\n2 NonJunk\n40 far\n");
	buf_fini(&b);
	kwtable_fini(&k);
}
END_TEST

START_TEST(subscriptions_of_both_versions)
{
	static const char v2[] =
	    "V\t2\n\nINBOX\nArkiv\tR&AOQ-kningar\na\001tb\n",
			  v1[] = "INBOX\nArkiv.x\n";
	struct buf b = BUF_INIT;
	struct subs s;

	subs_init(&s, '.');
	ck_assert_int_eq(subs_parse(&s, v2, strlen(v2)), 0);
	ck_assert(subs_has(&s, "Arkiv/R&AOQ-kningar"));
	ck_assert(subs_has(&s, "a\tb"));
	ck_assert_int_eq(subs_add(&s, "x/y"), 0);
	subs_remove(&s, "INBOX");
	subs_format(&b, &s);
	ck_assert_str_eq(
	    buf_cstr(&b), "V\t2\n\nArkiv\tR&AOQ-kningar\na\001tb\nx\ty\n");
	subs_fini(&s);
	buf_reset(&b);
	subs_init(&s, '.');
	ck_assert_int_eq(subs_parse(&s, v1, strlen(v1)), 0);
	ck_assert(subs_has(&s, "Arkiv/x"));
	ck_assert_int_eq(subs_add(&s, "a/b"), 0);
	subs_format(&b, &s);
	ck_assert_str_eq(buf_cstr(&b), "INBOX\nArkiv.x\na.b\n");
	subs_fini(&s);
	buf_fini(&b);
}
END_TEST

START_TEST(sizes_in_names)
{
	struct maildir_name n;

	maildir_name_parse("a,S=12,W=34:2,FS", &n);
	ck_assert(n.has_size && n.has_vsize);
	ck_assert_uint_eq(n.size, 12);
	ck_assert_uint_eq(n.vsize, 34);
	maildir_name_parse("a,S=99999999999999999999999,W=x", &n);
	ck_assert(!n.has_size && !n.has_vsize);
	ck_assert(maildir_base_fits("a,S=12", 12, 0));
	ck_assert(!maildir_base_fits("a,S=12", 13, 0));
	ck_assert(!maildir_base_fits(".a", 1, 1) &&
	    !maildir_base_fits("a b", 1, 1) &&
	    !maildir_base_fits("a\xff", 1, 1));
}
END_TEST

/* ---- what others do ---- */

START_TEST(a_maildir_without_a_list_gets_one)
{
	char *list;

	put("cur/200.b:2,S", "b\n");
	put("new/100.a", "a\n");
	put("new/300.c:2,F", "c\n");
	open_as(false, false);
	refresh();
	ck_assert_uint_eq(problems, 0);
	ck_assert_str_eq(
	    box_says("INBOX"), "1 100.a  new\n2 200.b S\n3 300.c F new\n");
	ck_assert_ptr_nonnull(list = get("dovecot-uidlist"));
	ck_assert_ptr_nonnull(strstr(list, "\n1 :100.a\n2 :200.b\n3 :300.c\n"));
	free(list);
	ck_assert_ptr_null(get("dovecot-uidlist.lock"));
}
END_TEST

START_TEST(an_unchanged_mailbox_is_not_listed_again)
{
	uint64_t lists;

	put("cur/200.b:2,S", "b\n");
	open_as(false, false);
	refresh();
	refresh();
	lists = os_mem_calls(disk, OS_MEM_LIST);
	refresh();
	/* the root */
	ck_assert_uint_eq(os_mem_calls(disk, OS_MEM_LIST), lists + 1);
	put("new/300.c", "c\n");
	refresh();
	ck_assert_str_eq(box_says("INBOX"), "1 200.b S\n2 300.c  new\n");
}
END_TEST

START_TEST(changes_by_others_are_seen)
{
	put("cur/1.a:2,S", "a\n");
	put("new/2.b", "b\n");
	put("cur/3.c:2,F", "c\n");
	open_as(false, false);
	refresh();
	mv("cur/1.a:2,S", "cur/1.a:2,RS");
	mv("new/2.b", "cur/2.b:2,S");
	ck_assert_int_eq(root->ops->unlink(root, "cur/3.c:2,F"), 0);
	put("new/4.d", "d\n");
	refresh();
	ck_assert_str_eq(box_says("INBOX"), "1 1.a RS\n2 2.b S\n4 4.d  new\n");
	ck_assert_uint_eq(problems, 0);
}
END_TEST

START_TEST(letters_are_keywords)
{
	put("dovecot-keywords", "0 NonJunk\n1 $Label1\n");
	put("cur/1.a:2,Sab", "a\n");
	put("cur/2.b:2,PSd", "b\n");
	open_as(false, false);
	refresh();
	ck_assert_str_eq(box_says("INBOX"),
	    "1 1.a S $Label1 NonJunk\n2 2.b S $Forwarded unknown-3\n");
	/* A table that is lost keeps its meaning. */
	ck_assert_int_eq(root->ops->unlink(root, "dovecot-keywords"), 0);
	mv("cur/1.a:2,Sab", "cur/1.a:2,Sb");
	refresh();
	ck_assert_str_eq(box_says("INBOX"),
	    "1 1.a S $Label1\n2 2.b S $Forwarded unknown-3\n");
}
END_TEST

START_TEST(uids_guids_and_uidls_come_from_the_list)
{
	struct arena a = ARENA_INIT;
	struct mailbox box;
	struct msg m;

	put("dovecot-uidlist",
	    "3 V77 N20 G00112233445566778899aabbccddee01\n5 Gmine P O3 W9 "
	    ":1.a\n8 Pu :2.b\n");
	put("cur/1.a:2,S", "a\n");
	put("cur/2.b:2,", "b\n");
	open_as(false, false);
	refresh();
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "INBOX", &box), 0);
	ck_assert_uint_eq(box.uidvalidity, 77);
	ck_assert_uint_eq(box.uidnext, 20);
	ck_assert_int_eq(store_msg(rep->store, box.id, 5, &a, &m), 0);
	ck_assert_str_eq(m.guid, "mine");
	ck_assert_str_eq(m.pop3_uidl, "1.a");
	ck_assert_uint_eq(m.pop3_order, 3);
	ck_assert_uint_eq(m.vsize, 9);
	ck_assert_int_eq(store_msg(rep->store, box.id, 8, &a, &m), 0);
	ck_assert_str_eq(m.pop3_uidl, "u");
	arena_fini(&a);
}
END_TEST

START_TEST(a_lost_or_broken_list_is_mended_from_the_sidecar)
{
	char *list, *before;

	put("cur/1.a:2,S", "a\n");
	put("cur/2.b:2,", "b\n");
	put("cur/3.c:2,", "c\n");
	open_as(false, false);
	refresh();
	before = get("dovecot-uidlist");
	ck_assert_int_eq(root->ops->unlink(root, "dovecot-uidlist"), 0);
	refresh();
	ck_assert_str_eq(box_says("INBOX"), "1 1.a S\n2 2.b \n3 3.c \n");
	list = get("dovecot-uidlist");
	ck_assert_ptr_nonnull(strstr(list, "\n1 :1.a\n2 :2.b\n3 :3.c\n"));
	ck_assert_int_eq(strncmp(list, before, strcspn(before, " ") + 1), 0);
	free(list);
	(void)strcpy(strstr(before, "2 :2.b"), "1 :2.b\n3 :3.c\n");
	put("dovecot-uidlist", before);
	free(before);
	refresh();
	ck_assert_uint_gt(problems, 0);
	ck_assert_str_eq(box_says("INBOX"), "1 1.a S\n2 2.b \n3 3.c \n");
	refresh();
	ck_assert_uint_eq(problems, 0);
	list = get("dovecot-uidlist");
	ck_assert_ptr_nonnull(strstr(list, "\n1 :1.a\n2 :2.b\n3 :3.c\n"));
	free(list);
}
END_TEST

START_TEST(uids_that_another_program_gave_anew_are_taken)
{
	char *list, *at;

	put("cur/1.a:2,S", "a\n");
	put("cur/2.b:2,", "b\n");
	open_as(false, false);
	refresh();
	list = get("dovecot-uidlist");
	at = strstr(list, "1 :1.a");
	*at = 0;
	put("dovecot-uidlist", list);
	free(list);
	list = get("dovecot-uidlist");
	list = realloc(list, strlen(list) + 40);
	(void)strcat(list, "2 :2.b\n9 :1.a\n");
	put("dovecot-uidlist", list);
	free(list);
	refresh();
	ck_assert_str_eq(box_says("INBOX"), "2 2.b \n9 1.a S\n");
	ck_assert_uint_eq(problems, 0);
}
END_TEST

START_TEST(a_list_made_anew_is_no_deletion)
{
	struct mailbox box;

	put(".X/cur/1.a:2,S", "a\n");
	put(".X/dovecot-uidlist",
	    "3 V77 N2 G00112233445566778899aabbccddee01\n1 :1.a\n");
	put("cur/1.a:2,S", "a\n");
	put("dovecot-uidlist",
	    "3 V78 N9 G00112233445566778899aabbccddee02\n8 :1.a\n");
	open_as(false, false);
	refresh();
	put(".X/dovecot-uidlist",
	    "3 V99 N2 G00112233445566778899aabbccddee03\n1 :1.a\n");
	put("dovecot-uidlist",
	    "3 V99 N2 G00112233445566778899aabbccddee04\n1 :1.a\n");
	refresh();
	refresh();
	ck_assert_uint_eq(deletions(), 0);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "X", &box), 0);
	ck_assert_uint_eq(box.uidvalidity, 99);
	ck_assert_str_eq(box_says("INBOX"), "1 1.a S\n");
	ck_assert_str_eq(box_says("X"), "1 1.a S\n");
}
END_TEST

START_TEST(another_mailbox_in_its_place_is_a_deletion)
{
	put(".X/cur/1.a:2,S", "a\n");
	put(".X/dovecot-uidlist",
	    "3 V77 N2 G00112233445566778899aabbccddee01\n1 :1.a\n");
	open_as(false, false);
	refresh();
	mv(".X/cur/1.a:2,S", ".X/cur/2.b:2,");
	put(".X/dovecot-uidlist",
	    "3 V99 N2 G00112233445566778899aabbccddee03\n1 :2.b\n");
	refresh();
	ck_assert_uint_eq(deletions(), 1);
	ck_assert_str_eq(box_says("X"), "1 2.b \n");
}
END_TEST

/* ---- folders ---- */

START_TEST(folders_come_go_and_move)
{
	struct mailbox a, b;

	box_dirs(".A");
	box_dirs(".A.B&AOQ-");
	box_dirs(".C");
	open_as(false, false);
	refresh();
	ck_assert_str_eq(tree_says(), "A A/Bä C INBOX ");
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A", &a), 0);
	ck_assert_int_eq(md_remove_tree(root, ".C"), 0);
	mv(".A", ".D");
	mv(".A.B&AOQ-", ".D.B&AOQ-");
	refresh();
	ck_assert_str_eq(tree_says(), "D D/Bä INBOX ");
	ck_assert_uint_eq(deletions(), 1);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "D", &b), 0);
	ck_assert(guid_eq(&a.guid, &b.guid));
	/* Only the parent moves: in this layout its child stays. */
	mv(".D", ".E");
	refresh();
	ck_assert_str_eq(tree_says(), "D/Bä E INBOX ");
	ck_assert_uint_eq(deletions(), 1);
}
END_TEST

START_TEST(folders_may_swap_names)
{
	struct mailbox a, b, m;

	box_dirs(".A");
	box_dirs(".B");
	open_as(false, false);
	refresh();
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A", &a), 0);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "B", &b), 0);
	mv(".A", ".T");
	mv(".B", ".A");
	mv(".T", ".B");
	refresh();
	ck_assert_str_eq(tree_says(), "A B INBOX ");
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A", &m), 0);
	ck_assert(guid_eq(&m.guid, &b.guid));
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "B", &m), 0);
	ck_assert(guid_eq(&m.guid, &a.guid));
	ck_assert_uint_eq(deletions(), 0);
}
END_TEST

START_TEST(a_folder_may_go_below_its_own_name)
{
	bool fs = _i == 1;
	struct mailbox a, b;

	box_dirs(fs ? "A" : ".A");
	box_dirs(fs ? "C" : ".A.C");
	open_as(fs, false);
	refresh();
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A", &a), 0);
	mv(fs ? "A" : ".A", "T");
	if (fs)
		ck_assert_int_eq(os_mkdirs(root, "A"), 0);
	mv("T", fs ? "A/B" : ".A.B");
	refresh();
	ck_assert_str_eq(tree_says(), fs ? "A/B C INBOX " : "A/B A/C INBOX ");
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A/B", &b), 0);
	ck_assert(guid_eq(&a.guid, &b.guid));
	ck_assert_uint_eq(deletions(), 0);
}
END_TEST

START_TEST(a_copied_folder_gets_its_own_guid)
{
	struct mailbox a, b;
	char *list;

	put(".A/cur/1.a:2,S", "a\n");
	put(".A/dovecot-uidlist",
	    "3 V77 N2 G00112233445566778899aabbccddee01\n1 :1.a\n");
	open_as(false, false);
	refresh();
	put(".B/cur/1.a:2,S", "a\n");
	put(".B/dovecot-uidlist",
	    "3 V77 N2 G00112233445566778899aabbccddee01\n1 :1.a\n");
	refresh();
	refresh();
	ck_assert_str_eq(tree_says(), "A B INBOX ");
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A", &a), 0);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "B", &b), 0);
	ck_assert(!guid_eq(&a.guid, &b.guid));
	ck_assert_ptr_nonnull(list = get(".B/dovecot-uidlist"));
	ck_assert_ptr_null(strstr(list, "ddee01"));
	free(list);
}
END_TEST

START_TEST(nested_folders_have_directories)
{
	box_dirs("A/B");
	box_dirs("C");
	ck_assert_int_eq(os_mkdirs(root, "D"), 0);
	ck_assert_int_eq(os_mkdirs(root, ".notmuch/xapian"), 0);
	open_as(true, false);
	refresh();
	ck_assert_str_eq(tree_says(), "A/B C D/ INBOX ");
	ck_assert_int_eq(root->ops->rmdir(root, "D"), 0);
	mv("C", "A/C");
	refresh();
	ck_assert_str_eq(tree_says(), "A/B A/C INBOX ");
}
END_TEST

START_TEST(subscriptions_follow_the_file)
{
	struct mailbox m;

	box_dirs(".A.B&AOQ-");
	put("subscriptions", "V\t2\n\nA\tB&AOQ-\nGone\n");
	open_as(false, false);
	refresh();
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A/Bä", &m), 0);
	ck_assert(m.subscribed);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "Gone", &m), 0);
	ck_assert(m.subscribed && !m.exists);
	put("subscriptions", "V\t2\n\nINBOX\n");
	refresh();
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "A/Bä", &m), 0);
	ck_assert(!m.subscribed);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, "INBOX", &m), 0);
	ck_assert(m.subscribed);
}
END_TEST

/* ---- what is wrong ---- */

START_TEST(bad_entries_are_told_and_cost_nothing)
{
	static const char long_name[] =
	    "cur/"
	    "1."
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaa";
	unsigned said;

	ck_assert_int_eq(os_mkdirs(root, "cur/dir"), 0);
	put("cur/.hidden", "x");
	put(long_name, "x\n");
	put("cur/2.\xff\xfe:2,S", "x\n");
	put("cur/3.c:2,S:2,T", "x\n");
	put("cur/4.d,S=999:2,S", "x\n");
	put("cur/README", "x\n");
	open_as(false, false);
	said = make_errors;
	refresh();
	ck_assert_uint_eq(problems, 1);
	ck_assert_uint_eq(make_errors, said + 1);
	ck_assert_ptr_nonnull(strstr(make_said, "cur/dir"));
	ck_assert_ptr_nonnull(strstr(box_says("INBOX"), "3.c S\n"));
	ck_assert_ptr_nonnull(strstr(box_says("INBOX"), " README "));
	ck_assert_ptr_nonnull(strstr(box_says("INBOX"), "4.d,S=999 S\n"));
	ck_assert_ptr_null(strstr(box_says("INBOX"), "hidden"));
	/* Still wrong: still told. */
	refresh();
	ck_assert_uint_eq(problems, 1);
}
END_TEST

START_TEST(twins_get_names_of_their_own)
{
	const char *text;
	unsigned lines = 0;

	put("cur/1.a:2,S", "one\n");
	put("new/1.a", "two\n");
	put("cur/2.b:2,S", "b\n");
	ck_assert_int_eq(root->ops->link(root, "cur/2.b:2,S", "cur/2.b:2,"), 0);
	put("cur/:2,S", "odd\n");
	open_as(false, false);
	refresh();
	ck_assert_uint_eq(problems, 2);
	text = box_says("INBOX");
	for (const char *p = text; *p != 0; p++)
		lines += *p == '\n';
	ck_assert_uint_eq(lines, 4);
	refresh();
	ck_assert_uint_eq(problems, 0);
	ck_assert_str_eq(box_says("INBOX"), text);
}
END_TEST

static int
add_name(void *arg, const char *path, enum os_type type, uint64_t size)
{
	uint64_t *h = arg;

	if (strncmp(path, "m/", 2) == 0)
		for (*h += size + (uint64_t)type; *path != 0; path++)
			*h = *h * 31 + (unsigned char)*path;
	return (0);
}

/* Every name and size in the Maildir. */
static uint64_t
tree_hash(void)
{
	uint64_t h = 0;

	ck_assert_int_eq(os_mem_walk(disk, add_name, &h), 0);
	return (h);
}

START_TEST(a_source_is_never_written)
{
	uint64_t before;

	put("new/1.a", "a\n");
	put(".X/new/1.a", "a\n");
	put(".X/new/1.a:2,S", "b\n");
	put(".Y/dovecot-uidlist",
	    "3 V77 N2 G00112233445566778899aabbccddee01\n1 :1.a\n1 :1.b\n");
	box_dirs(".Y");
	before = tree_hash();
	open_as(false, true);
	refresh();
	refresh();
	ck_assert_uint_eq(tree_hash(), before);
	ck_assert_str_eq(box_says("INBOX"), "1 1.a  new\n");
	ck_assert_int_eq(rep->ops->subscribe(rep, "X", true, 0, NULL), -EROFS);
	put("new/2.b", "b\n");
	refresh();
	ck_assert_str_eq(box_says("INBOX"), "1 1.a  new\n2 2.b  new\n");
}
END_TEST

START_TEST(a_stale_lock_is_broken_a_live_one_is_not)
{
	put("new/1.a", "a\n");
	put("dovecot-uidlist.lock", "");
	open_as(false, false);
	refresh();
	ck_assert_uint_eq(problems, 1);
	ck_assert_str_eq(box_says("INBOX"), "");
	os_mem_advance(disk, 200000);
	refresh();
	ck_assert_uint_eq(problems, 0);
	ck_assert_str_eq(box_says("INBOX"), "1 1.a  new\n");
	ck_assert_ptr_null(get("dovecot-uidlist.lock"));
}
END_TEST

/*
 * What a scan left half done, the next one finishes: power lost at each change,
 * of the Maildir or the sidecar.
 */
/* Else it would look like an expunge, or like a change taken back. */
START_TEST(what_a_scan_saw_stays)
{
	struct os_stat st;

	put("new/1.a", "a\n");
	put("cur/2.b:2,", "b\n");
	put("cur/3.c:2,", "c\n");
	open_as(false, false);
	refresh();
	ck_assert_int_eq(rep->ops->commit(rep), 0);
	ck_assert_int_eq(disk->ops->sync_dir(disk, ""), 0);
	ck_assert_int_eq(root->ops->sync_dir(root, ""), 0);
	put("new/4.d", "d\n");
	mv("cur/2.b:2,", "cur/2.b:2,S");
	ck_assert_int_eq(root->ops->unlink(root, "cur/3.c:2,"), 0);
	refresh();
	os_mem_cut_now(disk);
	shut();
	ck_assert_int_eq(os_mem_reboot(disk, OS_MEM_LOSE_ALL, 1), 0);
	trees();
	ck_assert_int_eq(root->ops->stat(root, "new/1.a", &st), 0);
	ck_assert_int_eq(root->ops->stat(root, "new/4.d", &st), 0);
	ck_assert_int_eq(root->ops->stat(root, "cur/2.b:2,S", &st), 0);
	ck_assert_int_eq(root->ops->stat(root, "cur/3.c:2,", &st), -ENOENT);
}
END_TEST

START_TEST(a_scan_survives_power_loss_anywhere)
{
	static const enum os_mem_loss loss[] = { OS_MEM_LOSE_ALL,
		OS_MEM_KEEP_ALL, OS_MEM_LOSE_SOME };
	const enum os_mem_loss how = loss[_i];
	bool done = false;

	for (uint64_t n = 1; !done && n < 500; n++) {
		if (n > 1) {
			teardown();
			setup();
		}
		put("cur/2.b:2,S", "b\n");
		put("new/1.a", "a\n");
		put(".X/cur/3.c:2,F", "c\n");
		put(".X/dovecot-uidlist",
		    "3 V77 N2 G00112233445566778899aabbccddee01\n7 Gmine "
		    ":3.c\n7 :4.d\n");
		shut();
		ck_assert_int_eq(os_mem_reboot(disk, OS_MEM_KEEP_ALL, 1), 0);
		trees();
		os_mem_cut_at(disk, os_mem_changes(disk) + n);
		if (maildir_replica_new(&(struct maildir_config){ .root = root,
					    .sidecar = side,
					    .lock_wait_ms = 100 },
			NULL, "maildir:test", &rep) == 0) {
			problems = 0;
			if (rep->ops->refresh(rep, NULL, &problems) == 0)
				(void)rep->ops->commit(rep);
		}
		done = !os_mem_is_cut(disk);
		shut();
		ck_assert_int_eq(os_mem_reboot(disk, how, n), 0);
		trees();
		open_as(false, false);
		/* a lock left behind is stale */
		os_mem_advance(disk, 300000);
		refresh();
		ck_assert_str_eq(box_says("INBOX"), "1 1.a  new\n2 2.b S\n");
		ck_assert_str_eq(box_says("X"), "7 mine F\n");
		ck_assert_uint_eq(deletions(), 0);
	}
	ck_assert(done);
}
END_TEST

/* ---- stores that Dovecot wrote ---- */

struct sample {
	const char *dir, *tar, *expected;
	bool fs;
};

static const struct sample samples[] = {
	{ "maildir", "store", "expected.txt", false },
	{ "maildir", "store-indexed", "expected-indexed.txt", false },
	{ "maildirfs", "store", "expected.txt", true },
	{ "maildirfs", "store-indexed", "expected-indexed.txt", true },
};

static void
expect_flags(const char *text, const struct msg *m)
{
	static const char *const names[] = { "\\Answered", "\\Flagged",
		"\\Deleted", "\\Seen", "\\Draft" };
	char copy[300], *word, *save;
	unsigned flags = 0, keywords = 0;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (word = strtok_r(copy, " \n", &save); word != NULL;
	     word = strtok_r(NULL, " \n", &save)) {
		if (strcmp(word, "\\Recent") == 0)
			continue;
		for (unsigned i = 0; i < 5; i++)
			if (strcmp(word, names[i]) == 0)
				flags |= 1u << i;
		if (*word != '\\') {
			keywords++;
			ck_assert_msg(keywords_has(&m->keywords, word),
			    "%u lacks %s", m->uid, word);
		}
	}
	ck_assert_uint_eq(flags, m->flags);
	ck_assert_uint_eq(keywords, m->keywords.n);
}

static void
expect_status(const char *line)
{
	char name[200], guid[40], hex[GUID_HEX_LEN + 1];
	const char *p = strstr(line, " messages=");
	unsigned messages, uidnext, uidvalidity;
	struct mailbox m;

	(void)snprintf(name, sizeof(name), "%.*s", (int)(p - line), line);
	ck_assert_int_eq(sscanf(p, " messages=%u", &messages), 1);
	ck_assert_int_eq(
	    sscanf(strstr(p, "uidnext="), "uidnext=%u", &uidnext), 1);
	ck_assert_int_eq(
	    sscanf(strstr(p, "uidvalidity="), "uidvalidity=%u", &uidvalidity),
	    1);
	ck_assert_int_eq(sscanf(strstr(p, " guid="), " guid=%32s", guid), 1);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, name, &m), 0);
	ck_assert_uint_eq(m.messages, messages);
	ck_assert_uint_eq(m.uidnext, uidnext);
	ck_assert_uint_eq(m.uidvalidity, uidvalidity);
	ck_assert_str_eq(guid_hex(&m.guid, hex), guid);
}

static void
expect_subscribed(const char *line)
{
	char name[200];
	struct mailbox m;

	(void)snprintf(
	    name, sizeof(name), "%.*s", (int)strcspn(line, "\n"), line);
	ck_assert_int_eq(store_mailbox_by_name(rep->store, name, &m), 0);
	ck_assert(m.subscribed);
}

/* Reads what Dovecot printed of the store, and finds all of it in the sidecar.
 */
static unsigned
compare_expected(const char *path)
{
	struct arena a = ARENA_INIT;
	char line[1000], *v;
	struct mailbox box = { .id = 0 };
	struct msg m = { .uid = 0 };
	unsigned n = 0, part = 0;
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "---", 3) == 0)
			part++;
		else if (part == 1)
			expect_status(line);
		else if (part == 2)
			expect_subscribed(line);
		else if ((v = strstr(line, ": ")) == NULL)
			continue;
		else if (v += 2, strncmp(line, "mailbox:", 8) == 0)
			ck_assert_int_eq(
			    store_mailbox_by_name(rep->store, v, &box), 0);
		else if (strncmp(line, "uid:", 4) == 0)
			ck_assert_int_eq(store_msg(rep->store, box.id,
					     (uint32_t)atoi(v), &a, &m) +
				0 * (int)n++,
			    0);
		else if (strncmp(line, "guid:", 5) == 0)
			ck_assert_str_eq(m.guid, v);
		else if (strncmp(line, "flags:", 6) == 0)
			expect_flags(v, &m);
		else if (strncmp(line, "size.virtual:", 13) == 0)
			ck_assert_uint_eq(m.vsize, (unsigned)atoi(v));
		else if (strncmp(line, "date.received:", 14) == 0) {
			struct tm tm = { .tm_year = 0 };

			ck_assert_ptr_nonnull(
			    strptime(v, "%Y-%m-%d %H:%M:%S", &tm));
			ck_assert_int_eq(timegm(&tm), m.received);
		}
	}
	(void)fclose(f);
	arena_fini(&a);
	return (n);
}

START_TEST(stores_of_dovecot_are_read)
{
	const struct sample *s = &samples[_i];
	char tmp[] = "/tmp/dsyncfs-test.XXXXXX", cmd[600], path[300];
	struct maildir_config c = { .fs = s->fs };

	ck_assert_ptr_nonnull(mkdtemp(tmp));
	(void)snprintf(cmd, sizeof(cmd),
	    "tar xzf tests/data/%s/%s.tar.gz -C %s && mkdir %s/side", s->dir,
	    s->tar, tmp, tmp);
	ck_assert_int_eq(system(cmd), 0);
	(void)snprintf(path, sizeof(path), "%s/%s/Maildir", tmp, s->tar);
	ck_assert_int_eq(os_posix_open(path, false, &c.root), 0);
	(void)snprintf(path, sizeof(path), "%s/side", tmp);
	ck_assert_int_eq(os_posix_open(path, false, &c.sidecar), 0);
	c.rdonly = (_i & 1) != 0;
	ck_assert_int_eq(
	    maildir_replica_new(&c, NULL, "maildir:sample", &rep), 0);
	problems = 0;
	ck_assert_int_eq(rep->ops->refresh(rep, NULL, &problems), 0);
	ck_assert_uint_eq(problems, 0);
	(void)snprintf(
	    path, sizeof(path), "tests/data/%s/%s", s->dir, s->expected);
	ck_assert_uint_eq(compare_expected(path), 8);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", tmp);
	ck_assert_int_eq(rep->ops->close(rep), 0);
	rep = NULL;
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("maildir_scan");
	TCase *codecs = tcase_create("codecs"), *scan = tcase_create("scan"),
	      *dovecot = tcase_create("dovecot");

	tcase_add_test(codecs, a_list_keeps_every_key);
	tcase_add_test(codecs, next_uid_is_above_the_last_line);
	tcase_add_test(codecs, courier_list_is_read);
	tcase_add_test(codecs, lines_after_a_disorder_are_not_believed);
	tcase_add_test(codecs, a_torn_line_is_not_believed);
	tcase_add_test(codecs, hostile_lists_give_no_paths);
	tcase_add_test(codecs, keyword_numbers_are_permanent);
	tcase_add_test(codecs, subscriptions_of_both_versions);
	tcase_add_test(codecs, sizes_in_names);
	suite_add_tcase(s, codecs);
	tcase_add_checked_fixture(scan, setup, teardown);
	tcase_set_timeout(scan, 60);
	tcase_add_test(scan, a_maildir_without_a_list_gets_one);
	tcase_add_test(scan, an_unchanged_mailbox_is_not_listed_again);
	tcase_add_test(scan, changes_by_others_are_seen);
	tcase_add_test(scan, letters_are_keywords);
	tcase_add_test(scan, uids_guids_and_uidls_come_from_the_list);
	tcase_add_test(scan, a_lost_or_broken_list_is_mended_from_the_sidecar);
	tcase_add_test(scan, uids_that_another_program_gave_anew_are_taken);
	tcase_add_test(scan, a_list_made_anew_is_no_deletion);
	tcase_add_test(scan, another_mailbox_in_its_place_is_a_deletion);
	tcase_add_test(scan, folders_come_go_and_move);
	tcase_add_test(scan, folders_may_swap_names);
	tcase_add_loop_test(scan, a_folder_may_go_below_its_own_name, 0, 2);
	tcase_add_test(scan, a_copied_folder_gets_its_own_guid);
	tcase_add_test(scan, nested_folders_have_directories);
	tcase_add_test(scan, subscriptions_follow_the_file);
	tcase_add_test(scan, bad_entries_are_told_and_cost_nothing);
	tcase_add_test(scan, twins_get_names_of_their_own);
	tcase_add_test(scan, what_a_scan_saw_stays);
	tcase_add_test(scan, a_source_is_never_written);
	tcase_add_test(scan, a_stale_lock_is_broken_a_live_one_is_not);
	tcase_add_loop_test(scan, a_scan_survives_power_loss_anywhere, 0, 3);
	suite_add_tcase(s, scan);
	tcase_add_loop_test(dovecot, stores_of_dovecot_are_read, 0,
	    (int)(sizeof(samples) / sizeof(samples[0])));
	suite_add_tcase(s, dovecot);
	return (s);
}

int
main(void)
{
	return (run_suite(suite()));
}
