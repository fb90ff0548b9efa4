/*
 * listing -- pages of a directory.
 *
 * For each page the kernel makes names and inodes of what the last one held,
 * and asks for the next one; without a cache that takes some times as long as
 * making a page here.  So the page behind one that followed another is made
 * while the kernel is busy.  It is given only when nobody has had the view's
 * lock meanwhile: it is what would be made then.
 */
#include "fs/listing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EVER (365 * 86400.0) /* it is told when something changes */
/* Offsets 1 and 2 are "." and ".."; the view's own stand above them. */
#define DOTS 2

struct page {
	fuse_ino_t node;
	off_t off, next; /* it begins behind off; the next one behind next */
	size_t size, used;
	bool plus;
	char *data; /* owned; NULL: there is none */
};

struct listing {
	struct view *view;
	pthread_mutex_t lock;
	struct page ready; /* guarded by lock */
	uint64_t turn; /* the view's when it was made; guarded by lock */
	/* Where the last page that was given ends; guarded by lock. */
	fuse_ino_t node;
	off_t next;
};

void
entry_fill(const struct stat *st, struct fuse_entry_param *e)
{
	double t = (st->st_ino & NODE_SPECIAL) != 0 ? 0 : FOR_EVER;

	memset(e, 0, sizeof(*e));
	e->ino = st->st_ino;
	e->attr = *st;
	if ((st->st_ino & (NODE_BOX | NODE_SPECIAL | NODE_AUX)) == 0 &&
	    (st->st_ino & NODE_STALE) != 0) {
		/* Another node, but the same file, and not for ever. */
		e->attr.st_ino &= ~NODE_STALE;
		t = 0;
	}
	e->attr_timeout = t;
	e->entry_timeout = t;
}

int
listing_new(struct view *v, struct listing **out)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return (-ENOMEM);
	l->view = v;
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return (0);
}

void
listing_free(struct listing *l)
{
	if (l == NULL)
		return;
	free(l->ready.data);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- a page ---- */

static uint64_t
off_up(uint64_t off)
{
	return (off > INT64_MAX - DOTS ? INT64_MAX : off + DOTS);
}

static uint64_t
off_down(uint64_t off)
{
	return (off == INT64_MAX ? INT64_MAX : off - DOTS);
}

/* false: there is no room.  libfuse has no use for a request here. */
static bool
add(struct page *p, const char *name, const struct fuse_entry_param *e,
    off_t next)
{
	size_t room = p->size - p->used;
	size_t n = p->plus ? fuse_add_direntry_plus(NULL, p->data + p->used,
				 room, name, e, next)
			   : fuse_add_direntry(NULL, p->data + p->used, room,
				 name, &e->attr, next);

	if (n > room)
		return (false);
	p->used += n;
	p->next = next;
	return (true);
}

/* Neither has a node of its own here: the kernel knows them. */
static bool
add_dots(struct page *p)
{
	const struct fuse_entry_param e = {
		.attr = { .st_ino = p->node, .st_mode = S_IFDIR } };

	for (off_t off = p->off; off < DOTS; off++)
		if (!add(p, off == 0 ? "." : "..", &e, off + 1))
			return (false);
	return (true);
}

static int
add_entry(void *arg, const char *name, const struct stat *st, uint64_t next)
{
	struct fuse_entry_param e;

	entry_fill(st, &e);
	return (add(arg, name, &e, (off_t)off_up(next)) ? 0 : 1);
}

/* -errno. */
static int
make(struct view *v, struct page *p)
{
	p->next = p->off;
	p->used = 0;
	if ((p->data = malloc(p->size > 0 ? p->size : 1)) == NULL)
		return (-ENOMEM);
	return (add_dots(p) ? view_readdir(v, p->node,
				  p->off < DOTS ? 0 : off_down((uint64_t)p->off),
				  add_entry, p)
			    : 0);
}

/* ---- the next one ---- */

/*
 * Folders of mail: that a file of another kind is listed is counted, as the
 * kernel counts it.
 */
static bool
can_wait(const struct page *p)
{
	return (p->plus && (p->node & NODE_BOX) != 0 &&
	    (p->node & 3) != PART_FOLDER);
}

static bool
take_ready(struct listing *l, struct page *p)
{
	struct page *r = &l->ready;
	bool fits;

	pthread_mutex_lock(&l->lock);
	fits = r->data != NULL && r->node == p->node && r->off == p->off &&
	    r->size == p->size && r->plus == p->plus &&
	    l->turn == view_turn(l->view);
	if (fits) {
		*p = *r;
		r->data = NULL;
	}
	pthread_mutex_unlock(&l->lock);
	return (fits);
}

/* Has it followed the one before? */
static bool
follows(struct listing *l, const struct page *p)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = l->node == p->node && l->next == p->off;
	l->node = p->node;
	l->next = p->next;
	pthread_mutex_unlock(&l->lock);
	return (yes);
}

static void
make_ready(struct listing *l, const struct page *last)
{
	struct page p = *last;
	uint64_t turn = view_turn(l->view);

	p.off = last->next;
	if (make(l->view, &p) != 0 || view_turn(l->view) != turn + 1) {
		free(p.data);
		return;
	}
	pthread_mutex_lock(&l->lock);
	free(l->ready.data);
	l->ready = p;
	l->turn = turn + 1;
	pthread_mutex_unlock(&l->lock);
}

void
listing_reply(struct listing *l, fuse_req_t req, fuse_ino_t node, size_t size,
    off_t off, bool plus)
{
	struct page p = {
		.node = node, .off = off, .size = size, .plus = plus };
	int error = 0;

	if (!take_ready(l, &p))
		error = make(l->view, &p);
	if (error != 0)
		fuse_reply_err(req, -error);
	else
		fuse_reply_buf(req, p.data, p.used);
	free(p.data);
	if (error == 0 && follows(l, &p) && p.used > 0 && can_wait(&p))
		make_ready(l, &p);
}
