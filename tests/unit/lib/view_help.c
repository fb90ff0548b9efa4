/*
 * view_help -- a view over a real store, and the calls of a program on it
 * (view_help.h).
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/os_posix.h"
#include "base/buf.h"
#include "tests/unit/lib/store_make.h"
#include "tests/unit/lib/view_help.h"

#define MARKS_MAX 64

struct mounted fs;

static struct arena strings = ARENA_INIT;
static struct {
	uint32_t box;
	uint64_t modseq;
} marks[MARKS_MAX];
static size_t n_marks;
static uint64_t log_mark;

/* ---- up and down ---- */

void
fs_open(void)
{
	int dir = open(fs.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(dir, 0);
	ck_assert_int_eq(os_posix_open(fs.top, false, &fs.os), 0);
	ck_assert_int_eq(store_open(fs.os, STORE_CREATE, NULL, &fs.s), 0);
	ck_assert_int_eq(view_open(fs.s, dir, &fs.o, &fs.v), 0);
}

void
fs_close(void)
{
	ck_assert_int_eq(view_close(fs.v), 0);
	ck_assert_int_eq(store_close(fs.s), 0);
	fs.os->ops->close_tree(fs.os);
	fs.v = NULL;
	fs.s = NULL;
	fs.os = NULL;
}

static void
put_status(void *arg, struct buf *b)
{
	(void)arg;
	buf_printf(b, "mount test\n");
}

void
fs_up(enum view_layout layout)
{
	char *tmp = getenv("TMPDIR");

	make_quiet();
	fs.o = (struct view_options){ .layout = layout,
		.uid = getuid(),
		.gid = getgid(),
		.umask = 077,
		.stale_names = 60,
		.status = put_status };
	(void)snprintf(fs.top, sizeof(fs.top), "%.40s/view.XXXXXX",
	    tmp == NULL ? "/tmp" : tmp);
	ck_assert_ptr_nonnull(mkdtemp(fs.top));
	fs_open();
	mark();
}

static int
remove_one(void *arg, const struct os_dirent *e)
{
	struct os *os = fs.os;
	char path[4096];
	int rc;

	(void)snprintf(path, sizeof(path), "%s%s%s", (const char *)arg,
	    *(const char *)arg == 0 ? "" : "/", e->name);
	if (e->type != OS_DIR)
		return (os->ops->unlink(os, path));
	if ((rc = os->ops->list(os, path, remove_one, path)) != 0)
		return (rc);
	return (os->ops->rmdir(os, path));
}

void
fs_down(void)
{
	char none[] = "";

	if (fs.v != NULL)
		fs_close();
	arena_fini(&strings);
	ck_assert_int_eq(os_posix_open(fs.top, false, &fs.os), 0);
	ck_assert_int_eq(fs.os->ops->list(fs.os, "", remove_one, none), 0);
	fs.os->ops->close_tree(fs.os);
	ck_assert_int_eq(rmdir(fs.top), 0);
}

void
fs_again(void)
{
	fs_close();
	fs_open();
}

void
fs_kill(void (*work)(void))
{
	int status;
	pid_t pid;

	fs_close();
	ck_assert_int_ge(pid = fork(), 0);
	if (pid == 0) {
		fs_open();
		work();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

void
fs_killed(void (*work)(void))
{
	fs_kill(work);
	fs_open();
}

/* ---- paths ---- */

/* The directory of a path, and its last name. */
static int
parent_of(const char *path, uint64_t *dir, const char **name)
{
	const char *slash;
	struct stat st;
	char level[512];
	int error;

	*dir = NODE_ROOT;
	for (; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		(void)snprintf(
		    level, sizeof(level), "%.*s", (int)(slash - path), path);
		if ((error = view_lookup(fs.v, *dir, level, &st)) != 0)
			return (error);
		*dir = st.st_ino;
	}
	*name = path;
	return (0);
}

int
do_stat(const char *path, struct stat *st)
{
	const char *name;
	uint64_t dir;
	int error = parent_of(path, &dir, &name);

	if (error != 0)
		return (error);
	return (*name == '\0' ? view_getattr(fs.v, dir, st)
			      : view_lookup(fs.v, dir, name, st));
}

uint64_t
node(const char *path)
{
	struct stat st;
	int error = do_stat(path, &st);

	ck_assert_msg(error == 0, "%s: %s", path, strerror(-error));
	return (st.st_ino);
}

bool
there(const char *path)
{
	struct stat st;
	int error = do_stat(path, &st);

	ck_assert_msg(
	    error == 0 || error == -ENOENT, "%s: %s", path, strerror(-error));
	return (error == 0);
}

unsigned
links(const char *path)
{
	struct stat st;

	ck_assert_int_eq(do_stat(path, &st), 0);
	return ((unsigned)st.st_nlink);
}

/* ---- calls ---- */

int
do_write(const char *path, const char *t, uint64_t off)
{
	struct stat st;
	ssize_t n;
	int error = do_stat(path, &st);

	if (error != 0 || *t == '\0')
		return (error);
	n = view_write(fs.v, st.st_ino, t, strlen(t), off);
	return (n < 0 ? (int)n : (size_t)n == strlen(t) ? 0 : -EIO);
}

int
do_make(const char *path, const char *t)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	int error = parent_of(path, &dir, &name);

	if (error == 0)
		error = view_mknod(fs.v, dir, name, S_IFREG | 0600, 0, &st);
	if (error != 0 || *t == '\0')
		return (error);
	ck_assert_int_eq(
	    view_write(fs.v, st.st_ino, t, strlen(t), 0), (ssize_t)strlen(t));
	return (0);
}

static int
set(const char *path, const struct view_set *what)
{
	struct stat st;
	int error = do_stat(path, &st);

	return (error != 0 ? error : view_setattr(fs.v, st.st_ino, what, &st));
}

int
do_truncate(const char *path, uint64_t size)
{
	struct view_set what = { .what = SET_SIZE, .size = size };

	return (set(path, &what));
}

int
do_mtime(const char *path, int64_t sec, long nsec)
{
	struct view_set what = { .what = SET_MTIME, .mtime = { sec, nsec } };

	return (set(path, &what));
}

int
do_fsync(const char *path)
{
	struct stat st;
	int error = do_stat(path, &st);

	return (error != 0 ? error : view_fsync(fs.v, st.st_ino));
}

int
do_mkdir(const char *path)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	int error = parent_of(path, &dir, &name);

	return (error != 0 ? error : view_mkdir(fs.v, dir, name, 0700, &st));
}

int
do_rmdir(const char *path)
{
	const char *name;
	uint64_t dir;
	int error = parent_of(path, &dir, &name);

	return (error != 0 ? error : view_rmdir(fs.v, dir, name));
}

int
do_unlink(const char *path)
{
	const char *name;
	uint64_t dir;
	int error = parent_of(path, &dir, &name);

	return (error != 0 ? error : view_unlink(fs.v, dir, name));
}

int
do_rename_flags(const char *from, const char *to, unsigned flags)
{
	const char *name, *new_name;
	uint64_t dir, new_dir;
	int error = parent_of(from, &dir, &name);

	if (error == 0)
		error = parent_of(to, &new_dir, &new_name);
	return (error != 0
		? error
		: view_rename(fs.v, dir, name, new_dir, new_name, flags));
}

int
do_rename(const char *from, const char *to)
{
	return (do_rename_flags(from, to, 0));
}

int
do_link(const char *from, const char *to)
{
	const char *name;
	struct stat st;
	uint64_t dir;
	int error = do_stat(from, &st);

	if (error == 0)
		error = parent_of(to, &dir, &name);
	return (
	    error != 0 ? error : view_link(fs.v, st.st_ino, dir, name, &st));
}

static const char *
in_folder(const char *path, const char *name)
{
	char *p = arena_printf(
	    &strings, "%s%s%s", path, path[0] == '\0' ? "" : "/", name);

	ck_assert_ptr_nonnull(p);
	return (p);
}

void
mail(const char *path, const char *as, const char *t)
{
	ck_assert_int_eq(do_make(in_folder(path, "tmp/being-delivered"), t), 0);
	ck_assert_int_eq(do_fsync(in_folder(path, "tmp/being-delivered")), 0);
	ck_assert_int_eq(do_rename(in_folder(path, "tmp/being-delivered"),
			     in_folder(path, as)),
	    0);
}

void
folder(const char *path)
{
	ck_assert_int_eq(do_mkdir(path), 0);
	ck_assert_int_eq(do_mkdir(in_folder(path, "cur")), 0);
	ck_assert_int_eq(do_mkdir(in_folder(path, "new")), 0);
	ck_assert_int_eq(do_mkdir(in_folder(path, "tmp")), 0);
}

/* ---- looking ---- */

const char *
text_of_node(uint64_t n)
{
	struct buf b = BUF_INIT;
	char part[1000], *out;
	ssize_t got;

	while ((got = view_read(fs.v, n, part, sizeof(part), b.len)) > 0)
		buf_put(&b, part, (size_t)got);
	ck_assert_msg(got == 0, "reading: %s", strerror((int)-got));
	out = b.len == 0 ? arena_strdup(&strings, "")
			 : arena_strndup(&strings, (char *)b.data, b.len);
	ck_assert_ptr_nonnull(out);
	buf_fini(&b);
	return (out);
}

const char *
text(const char *path)
{
	return (text_of_node(node(path)));
}

struct listed {
	char *name[1000];
	size_t n;
};

static int
list_one(void *arg, const char *name, const struct stat *st, uint64_t next)
{
	struct listed *l = arg;

	(void)next;
	ck_assert_uint_ne(st->st_ino, 0);
	ck_assert_uint_lt(l->n, 1000);
	ck_assert_ptr_nonnull(l->name[l->n++] = arena_strdup(&strings, name));
	return (0);
}

static int
by_name(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

const char *
names(const char *path)
{
	struct listed l = { .n = 0 };
	const char *out = "";
	size_t i;

	ck_assert_int_eq(
	    view_readdir(
		fs.v, *path == '\0' ? NODE_ROOT : node(path), 0, list_one, &l),
	    0);
	qsort(l.name, l.n, sizeof(*l.name), by_name);
	for (i = 0; i < l.n; i++)
		ck_assert_ptr_nonnull(
		    out = arena_printf(&strings, "%s%s ", out, l.name[i]));
	return (out);
}

const char *
xattr(const char *path, const char *name)
{
	char value[512];
	ssize_t n =
	    view_getxattr(fs.v, node(path), name, value, sizeof(value) - 1);

	if (n < 0)
		return (strerror((int)-n));
	value[n] = '\0';
	return (arena_strdup(&strings, value));
}

uint32_t
box(const char *name)
{
	struct mailbox m;

	return (
	    store_mailbox_by_name(fs.s, name, &m) == 0 && m.exists ? m.id : 0);
}

struct mailbox
boxed(const char *name)
{
	struct mailbox m;

	ck_assert_int_eq(store_mailbox_by_name(fs.s, name, &m), 0);
	return (m);
}

bool
has(const char *mailbox, const char *base)
{
	struct msg m;

	return (box(mailbox) != 0 &&
	    store_msg_by_name(fs.s, box(mailbox), base, &strings, &m) == 0);
}

struct msg
msg(const char *mailbox, const char *base)
{
	struct msg m;

	ck_assert_msg(has(mailbox, base), "%s: no message %s", mailbox, base);
	ck_assert_int_eq(
	    store_msg_by_name(fs.s, box(mailbox), base, &strings, &m), 0);
	return (m);
}

/* ---- the log ---- */

static int
mark_one(void *arg, const struct mailbox *m)
{
	(void)arg;
	ck_assert_uint_lt(n_marks, MARKS_MAX);
	marks[n_marks].box = m->id;
	marks[n_marks++].modseq = m->highestmodseq;
	return (0);
}

void
mark(void)
{
	n_marks = 0;
	ck_assert_int_eq(store_mailboxes(fs.s, mark_one, NULL), 0);
	log_mark = store_log_end(fs.s);
}

static int
put_event(void *arg, const struct event *e)
{
	struct buf *b = arg;
	size_t i;

	if (b->len > 0)
		buf_printf(b, ", ");
	switch (e->type) {
	case EVENT_SAVE:
		buf_printf(b, "save %u", e->uid);
		break;
	case EVENT_EXPUNGE:
		buf_printf(b, "expunge %u (%s)", e->uid, e->guid);
		break;
	case EVENT_FLAGS:
	default:
		buf_printf(b, "flags %u", e->uid);
		if (e->add != 0)
			buf_printf(b, " +%02x", e->add);
		if (e->remove != 0)
			buf_printf(b, " -%02x", e->remove);
		for (i = 0; i < e->kw_add.n; i++)
			buf_printf(b, " +%s", e->kw_add.name[i]);
		for (i = 0; i < e->kw_remove.n; i++)
			buf_printf(b, " -%s", e->kw_remove.name[i]);
	}
	return (b->error);
}

const char *
events(const char *mailbox)
{
	struct mailbox m = boxed(mailbox);
	struct buf b = BUF_INIT;
	uint64_t since = m.history_floor;
	char *out;
	size_t i;

	for (i = 0; i < n_marks; i++)
		if (marks[i].box == m.id && marks[i].modseq > since)
			since = marks[i].modseq;
	ck_assert_int_eq(store_events(fs.s, m.id, since, put_event, &b), 0);
	out = b.len == 0 ? arena_strdup(&strings, "")
			 : arena_strndup(&strings, (char *)b.data, b.len);
	ck_assert_ptr_nonnull(out);
	buf_fini(&b);
	return (out);
}

struct frames {
	unsigned n;
	uint64_t last;
};

static int
count_frame(void *arg, const struct log_entry *e)
{
	struct frames *f = arg;

	if (f->n == 0 || e->lsn != f->last)
		f->n++;
	f->last = e->lsn;
	return (0);
}

unsigned
batches(void)
{
	struct frames f = { 0, 0 };
	uint64_t next;

	ck_assert_int_eq(store_log(fs.s, log_mark, count_frame, &f, &next), 0);
	return (f.n);
}
