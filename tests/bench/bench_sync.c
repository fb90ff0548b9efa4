/*
 * bench_sync -- the hands of bench_sync.sh: fills locations with the same mail,
 * changes them, runs a program and tells what it cost.
 *
 *	bench_sync fill LOCATION MESSAGES MAILBOXES
 *	bench_sync change LOCATION MAILBOXES ROUND
 *	bench_sync deliveries LOCATION MAILBOXES ROUND
 *	bench_sync run FILE NAME COMMAND...
 *
 * LOCATION is dsyncfs:DIR or maildir:DIR.  Message n is the same wherever it is
 * made.  change makes 100 changes in up to 10 mailboxes of a store: 40
 * deliveries, 40 flags, 20 expunges; deliveries writes the same 40 messages
 * into a Maildir of their own, for programs that import them.  Each ROUND
 * changes other messages.
 *
 * run appends a line to FILE: NAME, exit status, wall and CPU seconds, peak
 * memory in KiB, bytes read and written by system calls, and 1 when those could
 * not be known.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/os_posix.h"
#include "base/buf.h"
#include "store/store.h"

#define IN_ONE_TXN 500
#define CHANGED_BOXES 10
#define NEW_PER_BOX 4
#define FLAGS_PER_BOX 4
#define EXPUNGES_PER_BOX 2
#define FIRST_NEW 1000000000ul /* numbers of what rounds deliver */

static void
die(const char *what, int error)
{
	fprintf(stderr, "bench_sync: %s: %s\n", what, strerror(-error));
	exit(1);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

/* ---- message n ---- */

/* Scattered, the same on every machine. */
static uint64_t
scatter(uint64_t n)
{
	n = (n ^ (n >> 31)) * 0x7fb5d329728ea185u;
	n = (n ^ (n >> 27)) * 0x81dadef4bc2dd44du;
	return (n ^ (n >> 33));
}

static void
text_of(struct buf *b, unsigned long n)
{
	static const char *const word[] = { "budget", "Re: meeting", "draft",
		"invoice", "patch", "holiday", "Fwd: report", "question" };
	uint64_t r = scatter(n);

	buf_reset(b);
	buf_printf(b,
	    "Return-Path: <user%u@example.org>\n"
	    "Received: from mx%u.example.org (mx%u.example.org [192.0.2.%u])\n"
	    "\tby mail.example.net (Postfix) with ESMTPS id %010" PRIx64 "\n"
	    "\tfor <me@example.net>; Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\n"
	    "From: User %u <user%u@example.org>\n"
	    "To: me@example.net\n"
	    "Subject: %s %lu\n"
	    "Date: Tue, 14 Nov 2023 22:13:20 +0000\n"
	    "Message-ID: <%016" PRIx64 ".%lu@example.org>\n"
	    "MIME-Version: 1.0\n"
	    "Content-Type: text/plain; charset=utf-8\n"
	    "\n"
	    "Message %lu says %016" PRIx64 ".\n",
	    (unsigned)(r % 500), (unsigned)(r % 7), (unsigned)(r % 7),
	    (unsigned)(r % 250), r & 0xffffffffff, (unsigned)(r % 500),
	    (unsigned)(r % 500), word[r % 8], n, r, n, n, scatter(r));
	if (buf_cstr(b) == NULL)
		die("a message", -ENOMEM);
}

static void
guid_of(char out[64], unsigned long n)
{
	snprintf(out, 64, "%lu.M%luP1.bench", 1700000000 + n % 100000, n);
}

static uint8_t
flags_of(unsigned long n)
{
	uint64_t r = scatter(n + 77);

	return ((uint8_t)((r % 10 < 7 ? MAIL_SEEN : 0) |
	    (r % 11 == 0 ? MAIL_ANSWERED : 0) |
	    (r % 31 == 0 ? MAIL_FLAGGED : 0)));
}

static void
name_of(char out[64], unsigned box)
{
	if (box == 0)
		snprintf(out, 64, "INBOX");
	else
		snprintf(out, 64, "box%03u", box);
}

/* ---- stores ---- */

static struct store *
open_store(const char *path, struct os **os)
{
	struct store *s;
	int error = os_posix_open(path, true, os);

	if (error == 0)
		error = store_open(*os, STORE_CREATE, NULL, &s);
	if (error != 0)
		die(path, error);
	return (s);
}

static void
close_store(struct store *s, struct os *os)
{
	int error = store_close(s);

	if (error != 0)
		die("store_close", error);
	os->ops->close_tree(os);
}

static uint32_t
store_box(struct store *s, struct txn *t, unsigned box)
{
	struct mailbox_new new = { 0 };
	struct mailbox m;
	char name[64];
	uint32_t id;
	int error;

	name_of(name, box);
	new.name = name;
	if (store_mailbox_by_name(s, name, &m) == 0)
		return (m.id);
	if ((error = txn_mailbox_create(t, &new, &id)) != 0)
		die(name, error);
	return (id);
}

static struct txn *
begin(struct store *s)
{
	struct txn *t;
	int error = txn_begin(s, NULL, &t);

	if (error != 0)
		die("txn_begin", error);
	return (t);
}

static void
commit(struct txn *t)
{
	int error = txn_commit(t);

	if (error != 0)
		die("txn_commit", error);
}

static void
store_save(struct store *s, struct txn *t, uint32_t box, struct buf *b,
    unsigned long n)
{
	char guid[64];
	struct msg m = { .guid = guid,
		.received = (int64_t)(1700000000 + n % 100000),
		.saved = 1700100000,
		.flags = flags_of(n) };
	struct body_writer *w;
	int error;

	guid_of(guid, n);
	text_of(b, n);
	if ((error = body_writer_new(s, &w)) != 0 ||
	    (error = body_writer_add(w, b->data, b->len)) != 0 ||
	    (error = body_writer_finish(w, &m.body, &m.vsize)) != 0)
		die("a body", error);
	body_writer_free(w);
	if ((error = txn_save(t, box, &m, NULL)) != 0)
		die("a save", error);
}

static void
fill_store(const char *path, unsigned long messages, unsigned boxes)
{
	struct os *os;
	struct store *s = open_store(path, &os);
	struct txn *t = begin(s);
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < boxes; i++)
		(void)store_box(s, t, i);
	commit(t);
	for (unsigned long n = 0; n < messages;) {
		t = begin(s);
		for (unsigned k = 0; k < IN_ONE_TXN && n < messages; k++, n++)
			store_save(s, t, store_box(s, t, (unsigned)(n % boxes)),
			    &b, n);
		commit(t);
	}
	buf_fini(&b);
	close_store(s, os);
}

struct pick {
	unsigned skip, n;
	uint32_t uid[FLAGS_PER_BOX + EXPUNGES_PER_BOX];
};

static int
on_pick(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct pick *p = arg;

	(void)mailbox;
	if (p->skip > 0) {
		p->skip--;
		return (0);
	}
	p->uid[p->n++] = m->uid;
	return (p->n == FLAGS_PER_BOX + EXPUNGES_PER_BOX);
}

/* The messages of a round lie together, somewhere in the mailbox. */
static void
change_box(struct store *s, struct txn *t, unsigned i, unsigned long round)
{
	uint32_t box = store_box(s, t, i);
	struct mailbox m;
	struct pick p = { 0 };
	struct buf b = BUF_INIT;
	int error = store_mailbox(s, box, &m);

	if (error == 0) {
		p.skip = (unsigned)(scatter(round * 100 + i) %
		    (m.messages > 20 ? m.messages - 10 : 1));
		error = store_msgs(s, box, 1, on_pick, &p);
	}
	for (unsigned k = 0; error >= 0 && k < p.n; k++) {
		struct msg_update u = { .kw_add = { NULL, 0 } };
		struct arena a = ARENA_INIT;
		struct msg msg;

		error = store_msg(s, box, p.uid[k], &a, &msg);
		if (error == 0 && k < FLAGS_PER_BOX) {
			u.add = MAIL_FLAGGED & (uint8_t)~msg.flags;
			u.remove = MAIL_FLAGGED & msg.flags;
			error = txn_update(t, box, p.uid[k], &u);
		} else if (error == 0) {
			error = txn_expunge(t, box, p.uid[k]);
		}
		arena_fini(&a);
	}
	if (error < 0)
		die("a change", error);
	for (unsigned k = 0; k < NEW_PER_BOX; k++)
		store_save(
		    s, t, box, &b, FIRST_NEW + round * 1000 + i * 10 + k);
	buf_fini(&b);
}

static void
change_store(const char *path, unsigned boxes, unsigned long round)
{
	struct os *os;
	struct store *s = open_store(path, &os);

	for (unsigned i = 0; i < CHANGED_BOXES && i < boxes; i++) {
		struct txn *t = begin(s);

		change_box(s, t, i, round);
		commit(t);
	}
	close_store(s, os);
}

/* ---- Maildirs ---- */

static void
make_dir(const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		die(path, -errno);
}

static void
folder_of(char out[PATH_MAX], const char *path, unsigned box)
{
	char name[64];

	name_of(name, box);
	if (box == 0)
		snprintf(out, PATH_MAX, "%s", path);
	else
		snprintf(out, PATH_MAX, "%s/.%s", path, name);
}

static void
make_folder(const char *path, unsigned box)
{
	static const char *const sub[] = { "cur", "new", "tmp" };
	char dir[PATH_MAX], full[PATH_MAX + 8];

	folder_of(dir, path, box);
	make_dir(dir);
	for (int i = 0; i < 3; i++) {
		snprintf(full, sizeof(full), "%s/%s", dir, sub[i]);
		make_dir(full);
	}
}

static void
write_mail(const char *path, unsigned box, struct buf *b, unsigned long n)
{
	char dir[PATH_MAX], guid[64], full[PATH_MAX + 128];
	uint8_t f = flags_of(n);
	int fd;

	guid_of(guid, n);
	text_of(b, n);
	folder_of(dir, path, box);
	snprintf(full, sizeof(full), "%s/cur/%s:2,%s%s%s", dir, guid,
	    (f & MAIL_FLAGGED) != 0 ? "F" : "",
	    (f & MAIL_ANSWERED) != 0 ? "R" : "",
	    (f & MAIL_SEEN) != 0 ? "S" : "");
	fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, b->data, b->len) != (ssize_t)b->len)
		die(full, -errno);
	close(fd);
}

static void
fill_maildir(const char *path, unsigned long messages, unsigned boxes)
{
	struct buf b = BUF_INIT;

	make_dir(path);
	for (unsigned i = 0; i < boxes; i++)
		make_folder(path, i);
	for (unsigned long n = 0; n < messages; n++)
		write_mail(path, (unsigned)(n % boxes), &b, n);
	buf_fini(&b);
}

static void
deliveries(const char *path, unsigned boxes, unsigned long round)
{
	struct buf b = BUF_INIT;

	make_dir(path);
	for (unsigned i = 0; i < CHANGED_BOXES && i < boxes; i++) {
		make_folder(path, i);
		for (unsigned k = 0; k < NEW_PER_BOX; k++)
			write_mail(
			    path, i, &b, FIRST_NEW + round * 1000 + i * 10 + k);
	}
	buf_fini(&b);
}

/* ---- a program ---- */

/* What system calls of a process that has ended, and is still there, moved. */
static bool
bytes_moved(pid_t pid, uint64_t *in, uint64_t *out)
{
	char path[64], line[128];
	unsigned got = 0;
	FILE *f;

	*in = *out = 0;
	snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return (false);
	while (fgets(line, sizeof(line), f) != NULL) {
		got += sscanf(line, "rchar: %" SCNu64, in) == 1;
		got += sscanf(line, "wchar: %" SCNu64, out) == 1;
	}
	fclose(f);
	return (got == 2);
}

static double
cpu_of(const struct rusage *r)
{
	return ((double)r->ru_utime.tv_sec + (double)r->ru_stime.tv_sec +
	    (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6);
}

static int
run(const char *file, const char *name, char **argv)
{
	double t = seconds();
	pid_t pid = fork();
	struct rusage r;
	uint64_t in, out;
	siginfo_t info;
	int status;
	bool known;
	FILE *f;

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0)
		die(argv[0], -errno);
	t = seconds() - t;
	known = bytes_moved(pid, &in, &out);
	if (wait4(pid, &status, 0, &r) != pid)
		die(argv[0], -errno);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	f = fopen(file, "a");
	if (f == NULL)
		die(file, -errno);
	fprintf(f, "%s %d %.6f %.6f %ld %" PRIu64 " %" PRIu64 " %d\n", name,
	    status, t, cpu_of(&r), r.ru_maxrss, in, out, !known);
	fclose(f);
	return (status);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *path, *colon;
	bool maildir;
	unsigned long n[2] = { 0 };

	if (argc > 4 && strcmp(what, "run") == 0)
		return (run(argv[2], argv[3], argv + 4));
	if (argc != 5 || (colon = strchr(argv[2], ':')) == NULL)
		goto usage;
	path = colon + 1;
	maildir = strncmp(argv[2], "maildir:", 8) == 0;
	n[0] = strtoul(argv[3], NULL, 10);
	n[1] = strtoul(argv[4], NULL, 10);
	if (strcmp(what, "fill") == 0 && n[0] > 0 && n[1] > 0)
		(maildir ? fill_maildir : fill_store)(
		    path, n[0], (unsigned)n[1]);
	else if (strcmp(what, "change") == 0 && n[0] > 0 && !maildir)
		change_store(path, (unsigned)n[0], n[1]);
	else if (strcmp(what, "deliveries") == 0 && n[0] > 0 && maildir)
		deliveries(path, (unsigned)n[0], n[1]);
	else
		goto usage;
	return (0);
usage:
	fprintf(stderr,
	    "usage: bench_sync fill|change|deliveries|run ..., see its "
	    "beginning\n");
	return (64);
}
