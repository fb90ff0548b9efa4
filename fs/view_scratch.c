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

int
scratch_make_dir(struct view *v, const char *path)
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
	return (scratch_make_dir(v, dir));
}

int
scratch_sync_path(struct view *v, const char *path)
{
	int error = 0, fd = openat(v->dir, path,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return (-errno);
	if (fsync(fd) != 0)
		error = -errno;
	(void)close(fd);
	return (error);
}

int
scratch_sync_dir(struct view *v, uint32_t box)
{
	char path[64];
	int error;

	(void)snprintf(path, sizeof(path), "scratch/%" PRIu32 ".t", box);
	error = scratch_sync_path(v, path);
	return (error != 0 ? error : scratch_sync_path(v, "scratch"));
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

int
scratch_take_name(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name)
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
	if (s->memory == NULL && (s->unlinked ? s->aside : !keep_file))
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
	memory_give(v, s->memory);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->path);
	free(s);
}

/* Not the only thing that is left of it. */
static bool
may_close(const struct scratch *s)
{
	return ((s->fd >= 0 || (s->memory != NULL && !s->synced)) &&
	    (!s->unlinked || s->aside));
}

static void
close_some(struct view *v)
{
	struct scratch *s;
	size_t open = 0;

	for (s = v->scratch; s != NULL; s = s->next)
		open += may_close(s);
	for (s = v->scratch; s != NULL && open >= FDS_MAX; s = s->next)
		if (may_close(s) && memory_to_disk(v, s) == 0) {
			if (s->fd >= 0)
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
	int error;

	if ((error = memory_to_disk(v, s)) != 0)
		return (error);
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
	int error;

	if (s->memory != NULL && (error = memory_to_disk(v, s)) != 0)
		return (error);
	if (s->fd >= 0)
		return (s->fd);
	close_some(v);
	s->fd = openat(v->dir, s->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return (s->fd < 0 ? -errno : s->fd);
}

/* A descriptor. */
static int
make_file(
    struct view *v, uint32_t box, enum box_part part, const char *path)
{
	int error = scratch_box_dir(v, box, part_letter[part]);
	int fd = error != 0 ? error
			    : openat(v->dir, path,
				  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW |
				      O_CLOEXEC,
				  0600);

	return (error != 0 || fd >= 0 ? fd : -errno);
}

int
scratch_create(struct view *v, uint32_t box, enum box_part part,
    const char *name, struct scratch **out)
{
	char *path = scratch_path(box, part_letter[part], name);
	struct memory *memory = NULL;
	struct scratch *s;
	int error = 0, fd = -1;

	if (path == NULL)
		return (-ENOMEM);
	if (part == PART_TMP)
		error = (memory = memory_take(v)) == NULL ? -ENOMEM : 0;
	else if ((fd = make_file(v, box, part, path)) < 0)
		error = fd;
	if (error != 0) {
		free(path);
		return (error);
	}
	error = scratch_new(
	    v, store_new_ino(v->store), SCRATCH_FILE, box, path, &s);
	if (error != 0) {
		memory_give(v, memory);
		if (fd >= 0)
			(void)close(fd);
		return (error);
	}
	close_some(v);
	s->fd = fd;
	s->memory = memory;
	if (part == PART_TMP)
		memory_tmp_changed(v, box);
	if ((error = scratch_take_name(v, s, box, part, name)) != 0) {
		scratch_drop(v, s, false);
		return (error);
	}
	*out = s;
	return (0);
}

/* ---- to a message ---- */

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
	return (view_finish(t, error));
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
	v->saving = s->synced && s->as_synced && gone == 0;
	error = save_once(v, box, &m, gone);
	if (error == -EEXIST && m.guid != NULL) {
		m.guid = NULL;
		error = save_once(v, box, &m, gone);
	}
	if (error == 0 && v->saving)
		synced_named(v, s, box, part, name);
	v->saving = false;
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

	if (s->memory != NULL) {
		/* Without an fsync nobody was promised that it stays. */
		if (s->synced)
			synced_saved(v, s);
		return (0);
	}

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

	if (s->part == PART_TMP)
		memory_tmp_changed(v, s->box);
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
		if (s->memory == NULL &&
		    ((error = scratch_fd(v, s)) < 0))
			return (error);
		if (s->memory == NULL && unlinkat(v->dir, s->path, 0) != 0)
			return (-errno);
		v->held++;
	}
	synced_drop(v, s);
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
	if (s->part == PART_TMP)
		memory_tmp_changed(v, s->box);
	if (part == PART_TMP)
		memory_tmp_changed(v, box);
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
	/* What is in memory has no other name than its path, nor a record. */
	if ((part != PART_TMP || s->synced) && s->memory != NULL &&
	    (error = memory_to_disk(v, s)) != 0)
		return (error);
	if ((path = scratch_path(box, part_letter[part], name)) == NULL)
		return (-ENOMEM);
	if (s->memory == NULL &&
	    (error = scratch_box_dir(v, box, part_letter[part])) != 0)
		goto fail;
	if (there != NULL && (error = scratch_unlink(v, there)) != 0)
		goto fail;
	if (s->memory == NULL &&
	    renameat(v->dir, s->path, v->dir, path) != 0) {
		error = -errno;
		goto fail;
	}
	free(s->path);
	s->path = path;
	return (scratch_take_name(v, s, box, part, name));
fail:
	free(path);
	return (error);
}

/* Its name has been there before it is a message. */
static void
place(struct view *v, const struct scratch *s)
{
	struct arena a = ARENA_INIT;
	char *base = arena_strndup(&a, s->name, mail_base_len(s->name));
	struct msg m;

	if (base != NULL &&
	    store_msg_by_name(v->store, s->box, base, &a, &m) == 0)
		placed_put(
		    v, s->box, 0, m.uid, list_offset_scratch(s->node));
	arena_fini(&a);
}

int
scratch_become(struct view *v, struct scratch *s)
{
	int error;

	if (v->o.readonly || s->unlinked || s->kind != SCRATCH_FILE ||
	    !is_mail_place(s->part, s->name))
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
	place(v, s);
	kept_mail(v, s->box);
	view_tell(v, FORGET_ATTR, s->node, NULL);
	error = scratch_set_aside(v, s);
	scratch_drop(v, s, true);
	return (error);
}

int
scratch_settle(struct view *v, struct scratch *s)
{
	struct stat st;
	int error;

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
	if ((error = scratch_real(v, s, &st)) != 0)
		return (error);
	return (st.st_size == 0 ? 0 : scratch_become(v, s));
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
