/*
 * view_scratch -- files that are being written and are not (or not yet again)
 * messages.
 *
 * scratch/BOX.t, BOX.n, BOX.c	files in tmp, new, cur, by name
 * scratch/BOX.d/UID.INO	a message that is being rewritten
 * scratch/edit/NODE		subscriptions, dovecot-keywords being rewritten
 * scratch/done/BOX.INO.N	saved, but its frame is not yet durable (V2)
 * scratch/gone/NODE		unlinked, but perhaps still open; here and in
 * aux/
 */
#include "fs/view_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define FDS_MAX 64

static const char part_letter[] = "cnt";

static int
make_dir(struct view *v, const char *path)
{
	if (mkdirat(v->dir, path, 0700) == 0 || errno == EEXIST)
		return (0);
	return (-errno);
}

char *
scratch_path(uint32_t box, char letter, const char *name)
{
	char *p;

	return (asprintf(&p, "scratch/%" PRIu32 ".%c/%s", box, letter, name) < 0
		? NULL
		: p);
}

int
scratch_box_dir(struct view *v, uint32_t box, char letter)
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "scratch/%" PRIu32 ".%c", box, letter);
	return (make_dir(v, dir));
}

static char *
make_key(uint32_t box, enum box_part part, const char *name)
{
	char *p;

	return (asprintf(&p, "%" PRIu32 "/%d/%s", box, (int)part, name) < 0
		? NULL
		: p);
}

struct scratch *
scratch_by_node(struct view *v, uint64_t node)
{
	struct scratch *s;

	HASH_FIND(hh_node, v->scratch_by_node, &node, sizeof(node), s);
	return (s);
}

struct scratch *
scratch_by_name(
    struct view *v, uint32_t box, enum box_part part, const char *name)
{
	struct scratch *s;
	char *key = make_key(box, part, name);

	if (key == NULL)
		return (NULL);
	HASH_FIND(hh_name, v->scratch_by_name, key, strlen(key), s);
	free(key);
	return (s);
}

static void
forget_name(struct view *v, struct scratch *s)
{
	if (s->key == NULL) {
		free(s->name);
		s->name = NULL;
		return;
	}
	HASH_DELETE(hh_name, v->scratch_by_name, s);
	free(s->key);
	free(s->name);
	s->key = s->name = NULL;
}

static int
take_name(struct view *v, struct scratch *s, uint32_t box, enum box_part part,
    const char *name)
{
	char *key = make_key(box, part, name), *copy = strdup(name);

	if (key == NULL || copy == NULL) {
		free(key);
		free(copy);
		return (-ENOMEM);
	}
	forget_name(v, s);
	s->key = key;
	s->name = copy;
	s->box = box;
	s->part = part;
	HASH_ADD_KEYPTR(hh_name, v->scratch_by_name, s->key, strlen(s->key), s);
	return (0);
}

/* Takes path over in any case. */
int
scratch_new(struct view *v, uint64_t node, enum scratch_kind kind, uint32_t box,
    char *path, struct scratch **out)
{
	struct scratch *s = calloc(1, sizeof(*s));

	if (s == NULL || path == NULL) {
		free(s);
		free(path);
		return (-ENOMEM);
	}
	s->node = node;
	s->kind = kind;
	s->box = box;
	s->path = path;
	s->fd = -1;
	s->touched_ms = view_now_ms(v);
	s->prev = v->scratch_last;
	if (s->prev != NULL)
		s->prev->next = s;
	else
		v->scratch = s;
	v->scratch_last = s;
	HASH_ADD(hh_node, v->scratch_by_node, node, sizeof(s->node), s);
	*out = s;
	return (0);
}

void
scratch_drop(struct view *v, struct scratch *s, bool keep_file)
{
	if (s->unlinked ? s->aside : !keep_file)
		(void)unlinkat(v->dir, s->path, 0);
	if (s->unlinked && !s->aside)
		v->held--;
	forget_name(v, s);
	HASH_DELETE(hh_node, v->scratch_by_node, s);
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		v->scratch = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	else
		v->scratch_last = s->prev;
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->path);
	free(s);
}

/* Not the only thing that is left of it. */
static bool
may_close(const struct scratch *s)
{
	return (s->fd >= 0 && (!s->unlinked || s->aside));
}

static void
close_some(struct view *v)
{
	struct scratch *s;
	size_t open = 0;

	for (s = v->scratch; s != NULL; s = s->next)
		open += may_close(s);
	for (s = v->scratch; s != NULL && open >= FDS_MAX; s = s->next)
		if (may_close(s)) {
			(void)close(s->fd);
			s->fd = -1;
			open--;
		}
}

void
scratch_gone_path(uint64_t node, char out[48])
{
	(void)snprintf(out, 48, "scratch/gone/%" PRIx64, node);
}

/* Its name goes; it can be opened by another one that nobody sees. */
static int
put_aside(struct view *v, struct scratch *s)
{
	char path[48], *copy;

	scratch_gone_path(s->node, path);
	if ((copy = strdup(path)) == NULL)
		return (-ENOMEM);
	if (renameat(v->dir, s->path, v->dir, path) != 0) {
		free(copy);
		return (-errno);
	}
	free(s->path);
	s->path = copy;
	s->aside = true;
	return (0);
}

int
scratch_fd(struct view *v, struct scratch *s)
{
	if (s->fd >= 0)
		return (s->fd);
	close_some(v);
	s->fd = openat(v->dir, s->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return (s->fd < 0 ? -errno : s->fd);
}

int
scratch_create(struct view *v, uint32_t box, enum box_part part,
    const char *name, struct scratch **out)
{
	char *path = scratch_path(box, part_letter[part], name);
	struct scratch *s;
	int error, fd;

	if (path == NULL)
		return (-ENOMEM);
	if ((error = scratch_box_dir(v, box, part_letter[part])) != 0)
		goto fail;
	fd = openat(v->dir, path,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		error = -errno;
		goto fail;
	}
	error = scratch_new(
	    v, store_new_ino(v->store), SCRATCH_FILE, box, path, &s);
	if (error != 0) {
		(void)close(fd);
		return (error);
	}
	close_some(v);
	s->fd = fd;
	if ((error = take_name(v, s, box, part, name)) != 0) {
		scratch_drop(v, s, false);
		return (error);
	}
	*out = s;
	return (0);
fail:
	free(path);
	return (error);
}

int
scratch_stat(struct view *v, struct scratch *s, struct stat *st)
{
	struct arena a = ARENA_INIT;
	struct stat real;
	struct msg m;
	unsigned n = 0;
	int fd, error = 0;

	if (s->kind == SCRATCH_SAVED) {
		error = msg_by_ino(v, &a, s->node, NULL, &m, &n);
		if (error == 0)
			stat_msg(v, &m, n + 1, st);
		arena_fini(&a);
		if (error != -ENOENT)
			return (error);
	}
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	if (fstat(fd, &real) != 0)
		return (-errno);
	if (s->kind == SCRATCH_DIRTY) {
		(void)msg_by_ino(v, &a, s->node, NULL, &m, &n);
		arena_fini(&a);
	}
	memset(st, 0, sizeof(*st));
	st->st_ino = s->node;
	st->st_mode = S_IFREG | (0666 & ~v->o.umask);
	st->st_nlink = s->unlinked ? 0 : n > 0 ? n : 1;
	st->st_uid = v->o.uid;
	st->st_gid = v->o.gid;
	st->st_size = real.st_size;
	st->st_blksize = 4096;
	st->st_blocks = real.st_blocks;
	st->st_atim = st->st_mtim = real.st_mtim;
	st->st_ctim = real.st_ctim;
	return (0);
}

/* ---- to a message ---- */

struct file_stream {
	struct stream stream;
	int fd; /* borrowed */
	off_t at;
};

static ssize_t
file_read(struct stream *st, void *p, size_t n)
{
	struct file_stream *f = (struct file_stream *)st;
	ssize_t got;

	do
		got = pread(f->fd, p, n, f->at);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return (-errno);
	f->at += got;
	return (got);
}

static void
file_close(struct stream *st)
{
	(void)st;
}

static const struct stream_ops file_ops = { file_read, file_close };

/* The file's bytes go into a pack; dates come from the file. */
int
scratch_body(struct view *v, struct scratch *s, struct msg *m)
{
	struct file_stream f = { { &file_ops, STREAM_SIZE_UNKNOWN }, -1, 0 };
	struct stat st;

	if ((f.fd = scratch_fd(v, s)) < 0)
		return (f.fd);
	if (fstat(f.fd, &st) != 0)
		return (-errno);
	f.stream.size = (uint64_t)st.st_size;
	m->received = st.st_mtim.tv_sec;
	m->mtime = st.st_mtim.tv_sec;
	m->mtime_nsec = (uint32_t)st.st_mtim.tv_nsec;
	m->saved = store_now(v->store);
	return (
	    store_body_from_stream(v->store, &f.stream, &m->body, &m->vsize));
}

bool
scratch_same_body(const struct body_ref *a, const struct body_ref *b)
{
	return (a->size == b->size && memcmp(a->hash, b->hash, 16) == 0);
}

/*
 * The base name is the GUID (as Dovecot has it) unless that stands for other
 * bytes already (DESIGN.md 9, 1).
 */
static const char *
guid_for(struct view *v, struct arena *a, const char *base,
    const struct body_ref *body)
{
	struct msg known;

	if (store_find_guid(v->store, base, a, NULL, &known) == 0 &&
	    !scratch_same_body(&known.body, body))
		return (NULL);
	return (base);
}

static int
save_once(struct view *v, uint32_t box, const struct msg *m, uint32_t victim)
{
	struct txn *t;
	int error;

	if ((error = txn_begin(v->store, NULL, &t)) != 0)
		return (error);
	if (victim != 0)
		error = txn_expunge(t, box, victim);
	if (error == 0 && (error = reserve_letters(v, t, box, m->letters)) == 0)
		error = txn_save(t, box, m, NULL);
	if (error == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (error);
}

int
scratch_save(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name)
{
	struct arena a = ARENA_INIT;
	struct msg m = { 0 }, victim, taken;
	struct file_name says;
	uint32_t gone = 0;
	int error;

	if ((error = parse_file_name(v, &a, box, part, name, &says)) != 0)
		goto out;
	if (msg_lookup(v, &a, box, part, name, &victim) == 0)
		gone = victim.uid;
	else if (store_msg_by_name(v->store, box, says.base, &a, &taken) == 0) {
		error = -EEXIST;
		goto out;
	}
	if ((error = scratch_body(v, s, &m)) != 0)
		goto out;
	m.name = says.base;
	m.letters = says.letters;
	m.flags = says.flags;
	m.keywords = says.keywords;
	m.state = MSG_NAMED | (part == PART_NEW ? MSG_NEW : 0);
	m.ino = s->node;
	m.guid = guid_for(v, &a, says.base, &m.body);
	error = save_once(v, box, &m, gone);
	if (error == -EEXIST && m.guid != NULL) {
		m.guid = NULL;
		error = save_once(v, box, &m, gone);
	}
	if (error == 0 && gone != 0)
		msg_gone(v, &victim);
out:
	arena_fini(&a);
	return (error);
}

/* Its message is logged; the bytes stay until that is durable (V2). */
int
scratch_set_aside(struct view *v, struct scratch *s)
{
	char path[96], **done;
	char *copy;

	/* Numbered: a message may be rewritten again while a flush runs. */
	(void)snprintf(path, sizeof(path),
	    "scratch/done/%" PRIu32 ".%" PRIu64 ".%" PRIu64, s->box, s->node,
	    ++v->done_seq);
	if ((copy = strdup(path)) == NULL)
		return (-ENOMEM);
	done = realloc(v->done, (v->n_done + 1) * sizeof(*done));
	if (done == NULL) {
		free(copy);
		return (-ENOMEM);
	}
	v->done = done;
	if (renameat(v->dir, s->path, v->dir, path) != 0) {
		free(copy);
		return (-errno);
	}
	v->done[v->n_done++] = copy;
	return (0);
}

void
scratch_done_durable(struct view *v, size_t n)
{
	size_t i;

	if (n == 0)
		return;
	for (i = 0; i < n; i++) {
		(void)unlinkat(v->dir, v->done[i], 0);
		free(v->done[i]);
	}
	v->n_done -= n;
	if (n > 0)
		memmove(v->done, v->done + n, v->n_done * sizeof(*v->done));
}

int
scratch_unlink(struct view *v, struct scratch *s)
{
	int error;

	if (s->kind == SCRATCH_SAVED) {
		error = scratch_set_aside(v, s);
		scratch_drop(v, s, true);
		return (error);
	}
	/* Whoever has it open goes on, until the kernel forgets it. */
	if (v->held >= v->held_max) {
		if ((error = put_aside(v, s)) != 0)
			return (error);
	} else {
		if ((error = scratch_fd(v, s)) < 0)
			return (error);
		if (unlinkat(v->dir, s->path, 0) != 0)
			return (-errno);
		v->held++;
	}
	s->unlinked = true;
	forget_name(v, s);
	return (0);
}

static bool
is_mail_place(enum box_part part, const char *name)
{
	return (part != PART_TMP && name[0] != '.' && name[0] != ':');
}

int
scratch_rename(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name)
{
	struct scratch *there = scratch_by_name(v, box, part, name);
	char *path;
	int error;

	if (there == s)
		return (0);
	if (s->kind == SCRATCH_SAVED) {
		/* The message is there already under another name. */
		if (is_mail_place(part, name))
			error = msg_link(v, s->node, box, part, name);
		else
			return (-EXDEV);
		return (error != 0 ? error : scratch_unlink(v, s));
	}
	if (is_mail_place(part, name)) {
		if ((error = scratch_save(v, s, box, part, name)) != 0)
			return (error);
		if (there != NULL)
			(void)scratch_unlink(v, there);
		s->box = box;
		error = scratch_set_aside(v, s);
		scratch_drop(v, s, true);
		return (error);
	}
	if ((path = scratch_path(box, part_letter[part], name)) == NULL)
		return (-ENOMEM);
	if ((error = scratch_box_dir(v, box, part_letter[part])) != 0)
		goto fail;
	if (there != NULL && (error = scratch_unlink(v, there)) != 0)
		goto fail;
	if (renameat(v->dir, s->path, v->dir, path) != 0) {
		error = -errno;
		goto fail;
	}
	free(s->path);
	s->path = path;
	return (take_name(v, s, box, part, name));
fail:
	free(path);
	return (error);
}

int
scratch_settle(struct view *v, struct scratch *s)
{
	struct stat st;
	int fd, error;

	if (v->o.readonly || s->unlinked)
		return (0);
	switch (s->kind) {
	case SCRATCH_DIRTY:
		return (scratch_settle_dirty(v, s));
	case SCRATCH_EDIT:
		return (scratch_settle_edit(v, s));
	case SCRATCH_SAVED:
		return (0);
	case SCRATCH_FILE:
	default:
		break;
	}
	if (!is_mail_place(s->part, s->name))
		return (0);
	if ((fd = scratch_fd(v, s)) < 0)
		return (fd);
	if (fstat(fd, &st) != 0)
		return (-errno);
	if (st.st_size == 0)
		return (0);
	if ((error = scratch_save(v, s, s->box, s->part, s->name)) != 0) {
		/* Not again every second. */
		if (s->touched_ms != UINT64_MAX)
			log_warning("%s/%s: cannot become a message (%s) and "
				    "stays a file; rename it",
			    s->part == PART_NEW ? "new" : "cur", s->name,
			    strerror(-error));
		s->touched_ms = UINT64_MAX;
		return (error);
	}
	kept_mail(v, s->box);
	view_tell(v, FORGET_ATTR, s->node, NULL);
	error = scratch_set_aside(v, s);
	scratch_drop(v, s, true);
	return (error);
}

/* ---- after a crash ---- */

typedef int scratch_name_fn(
    struct view *v, uint32_t box, char letter, const char *name);

static int
each_name(struct view *v, const char *path, uint32_t box, char letter,
    scratch_name_fn *fn)
{
	struct dirent *d;
	DIR *dir;
	int fd, error = 0;

	fd = openat(
	    v->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return (errno == ENOENT ? 0 : -errno);
	if ((dir = fdopendir(fd)) == NULL) {
		error = -errno;
		(void)close(fd);
		return (error);
	}
	while (error == 0 && (d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			error = fn(v, box, letter, d->d_name);
	(void)closedir(dir);
	return (error);
}

static int
recover_file(struct view *v, uint32_t box, char letter, const char *name)
{
	struct scratch *s;
	enum box_part part;
	char *path;
	uint64_t node;
	int error;

	if ((path = scratch_path(box, letter, name)) == NULL)
		return (-ENOMEM);
	if (letter == 'd') {
		const char *dot = strchr(name, '.');

		node = dot == NULL ? 0 : strtoull(dot + 1, NULL, 10);
		if (node == 0) {
			free(path);
			return (0);
		}
		error = scratch_new(v, node, SCRATCH_DIRTY, box, path, &s);
		if (error != 0)
			return (error);
		s->name = strdup("rewritten");
		if (s->name != NULL && scratch_settle_dirty(v, s) != 0)
			log_warning("scratch/%u.d/%s: what was being written "
				    "to a message is kept there",
			    box, name);
		return (0);
	}
	part = letter == 't' ? PART_TMP : letter == 'n' ? PART_NEW : PART_CUR;
	error = scratch_new(
	    v, store_new_ino(v->store), SCRATCH_FILE, box, path, &s);
	return (error != 0 ? error : take_name(v, s, box, part, name));
}

/* A file whose message did not make it into the log is back in tmp. */
static int
recover_done(struct view *v, uint32_t box, char letter, const char *name)
{
	struct arena a = ARENA_INIT;
	const char *dot = strchr(name, '.');
	char from[NAME_MAX + 32], to[64], *path;
	struct msg m;
	uint64_t ino;
	int error;

	(void)box;
	(void)letter;
	if (dot == NULL)
		return (0);
	box = (uint32_t)strtoul(name, NULL, 10);
	ino = strtoull(dot + 1, NULL, 10);
	store_reserve_ino(v->store, ino);
	(void)snprintf(from, sizeof(from), "scratch/done/%s", name);
	error = msg_by_ino(v, &a, ino, NULL, &m, NULL);
	arena_fini(&a);
	if (error == 0)
		return (unlinkat(v->dir, from, 0) == 0 ? 0 : -errno);
	if (box_by_id(v, box) == NULL)
		box = v->inbox;
	(void)snprintf(to, sizeof(to), "recovered.%s", dot + 1);
	if ((error = scratch_box_dir(v, box, 't')) != 0)
		return (error);
	if ((path = scratch_path(box, 't', to)) == NULL)
		return (-ENOMEM);
	if (renameat(v->dir, from, v->dir, path) != 0)
		error = -errno;
	else
		log_warning("tmp/%s: a delivery that had been synced but not "
			    "finished when the power went is there again",
		    to);
	free(path);
	return (error);
}

/* Nobody has it open any more. */
static int
recover_gone(struct view *v, uint32_t box, char letter, const char *name)
{
	char path[NAME_MAX + 16];

	(void)box;
	(void)letter;
	(void)snprintf(path, sizeof(path), "scratch/gone/%s", name);
	return (unlinkat(v->dir, path, 0) == 0 ? 0 : -errno);
}

static int
recover_dir(struct view *v, uint32_t none, char letter, const char *name)
{
	char path[NAME_MAX + 16];
	char *end;
	unsigned long box;

	(void)none;
	(void)letter;
	box = strtoul(name, &end, 10);
	if (end == name || *end != '.' || end[1] == '\0' || end[2] != '\0' ||
	    strchr("cntd", end[1]) == NULL || box > UINT32_MAX ||
	    box_by_id(v, (uint32_t)box) == NULL)
		return (0);
	(void)snprintf(path, sizeof(path), "scratch/%s", name);
	return (each_name(v, path, (uint32_t)box, end[1], recover_file));
}

int
scratch_recover(struct view *v)
{
	int error;

	if (v->o.readonly)
		return (0);
	if ((error = make_dir(v, "scratch")) != 0 ||
	    (error = make_dir(v, "scratch/edit")) != 0 ||
	    (error = make_dir(v, "scratch/done")) != 0 ||
	    (error = make_dir(v, "scratch/gone")) != 0) {
		log_error("scratch: cannot be made in the store: %s",
		    strerror(-error));
		return (error);
	}
	if ((error = each_name(v, "scratch/gone", 0, 0, recover_gone)) != 0 ||
	    (error = each_name(v, "scratch/done", 0, 0, recover_done)) != 0)
		return (error);
	return (each_name(v, "scratch", 0, 0, recover_dir));
}

/* Its mailbox is gone: files that nobody can reach any more go too. */
int
scratch_box_gone(struct view *v, uint32_t box)
{
	struct scratch *s, *next;

	for (s = v->scratch; s != NULL; s = next) {
		next = s->next;
		if (s->box == box && s->kind == SCRATCH_FILE && !s->unlinked)
			(void)scratch_unlink(v, s);
	}
	return (aux_box_gone(v, box));
}
