/*
 * os_mem -- a struct os in memory that loses power and fails on demand.
 *
 * Each file has its bytes as read now (live), as a disk would hold them (safe),
 * and the writes between the two in order; each directory the same with names.
 * A rename between two directories is one entry in each list with the same
 * number: making one of them durable makes the other so (commit_dir).  A power
 * cut moves a part of the lists to the safe side and drops the rest.
 *
 * N1  live = safe + pending, but for writes whose sync was made to fail: those
 * are live only. N2  what a directory (live, safe or pending), a handle or a
 * sub-tree points to is never freed within a generation; a reboot begins a new
 * generation, and older handles look at nothing but their number.
 */
#include "tests/unit/lib/os_mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

struct bytes {
	uint8_t *p; /* owned */
	uint64_t n;
	uint64_t cap;
};

struct fop { /* a change of a file that is not durable */
	struct fop *next;
	bool cut; /* truncate to off; else a write at off */
	uint64_t off;
	size_t n;
	uint8_t data[];
};

struct ent {
	char *name; /* owned */
	struct node *node;
};

struct ents { /* sorted by name */
	struct ent *v; /* owned */
	size_t n;
	size_t cap;
};

struct dop { /* a change of a directory that is not durable */
	struct dop *next;
	uint64_t seq;
	char *del; /* owned; NULL none */
	char *add; /* owned; NULL none */
	struct node *node; /* what add names */
	struct node *other; /* the other directory of a rename; NULL none */
};

struct node {
	struct node *next; /* all of them */
	struct node *copy; /* while cloning */
	bool mark; /* while collecting */
	enum os_type type;
	uint64_t ino;
	uint32_t nlink;
	unsigned handles;
	struct os_file *locker;
	int64_t mtime;
	uint32_t mtime_nsec;
	struct bytes live, safe;
	struct fop *fops, **fops_end;
	struct ents names, safe_names;
	struct dop *dops, **dops_end;
};

struct rule {
	uint64_t nth; /* 0: none */
	int err;
	bool for_ever;
};

struct fs {
	pthread_mutex_t lock;
	struct node *nodes; /* owned */
	struct node *root;
	size_t n_nodes, gc_at;
	uint64_t gen, seq, ino;
	uint64_t changes, cut_at;
	uint64_t calls[OS_MEM_OPS];
	struct rule rules[OS_MEM_OPS];
	bool cut, injected;
	uint64_t capacity, used;
	uint64_t rng;
	int64_t sec;
	uint32_t nsec;
	uint64_t mono;
	unsigned trees;
};

struct tree {
	struct os os; /* first */
	struct fs *fs;
	struct node *root; /* NULL: the whole */
	uint64_t gen;
	char *label; /* owned */
};

struct os_file {
	struct fs *fs;
	struct node *node;
	uint64_t gen;
	bool writable, poisoned;
};

static const struct os_ops mem_ops;

/* A test's helper may give up where the tested code must not. */
static void *
need(void *p)
{
	if (p == NULL) {
		(void)fprintf(stderr, "os_mem: out of memory\n");
		abort();
	}
	return (p);
}

static uint64_t
next_random(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31);
}

/* ---- bytes ---- */

static void
bytes_resize(struct bytes *b, uint64_t n)
{
	uint64_t cap = b->cap == 0 ? 256 : b->cap;

	if (n > b->cap) {
		while (cap < n)
			cap *= 2;
		b->p = need(realloc(b->p, (size_t)cap));
		b->cap = cap;
	}
	if (n > b->n)
		memset(b->p + b->n, 0, (size_t)(n - b->n));
	b->n = n;
}

static void
bytes_write(struct bytes *b, uint64_t off, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (off + n > b->n)
		bytes_resize(b, off + n);
	memcpy(b->p + off, p, n);
}

static void
bytes_set(struct bytes *b, const struct bytes *from)
{
	bytes_resize(b, from->n);
	if (from->n > 0)
		memcpy(b->p, from->p, (size_t)from->n);
}

/* ---- names ---- */

static size_t
ents_find(const struct ents *e, const char *name, bool *there)
{
	size_t lo = 0, hi = e->n, mid;
	int c;

	*there = false;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		c = strcmp(e->v[mid].name, name);
		if (c == 0) {
			*there = true;
			return (mid);
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo);
}

static struct node *
ents_get(const struct ents *e, const char *name)
{
	bool there;
	size_t i = ents_find(e, name, &there);

	return (there ? e->v[i].node : NULL);
}

static void
ents_put(struct ents *e, const char *name, struct node *node)
{
	bool there;
	size_t i = ents_find(e, name, &there);

	if (there) {
		e->v[i].node = node;
		return;
	}
	if (e->n == e->cap) {
		e->cap = e->cap == 0 ? 8 : e->cap * 2;
		e->v = need(realloc(e->v, e->cap * sizeof(*e->v)));
	}
	memmove(e->v + i + 1, e->v + i, (e->n - i) * sizeof(*e->v));
	e->v[i].name = need(strdup(name));
	e->v[i].node = node;
	e->n++;
}

static void
ents_del(struct ents *e, const char *name)
{
	bool there;
	size_t i = ents_find(e, name, &there);

	if (!there)
		return;
	free(e->v[i].name);
	e->n--;
	memmove(e->v + i, e->v + i + 1, (e->n - i) * sizeof(*e->v));
}

static void
ents_clear(struct ents *e)
{
	size_t i;

	for (i = 0; i < e->n; i++)
		free(e->v[i].name);
	free(e->v);
	memset(e, 0, sizeof(*e));
}

static void
ents_set(struct ents *e, const struct ents *from)
{
	size_t i;

	ents_clear(e);
	for (i = 0; i < from->n; i++)
		ents_put(e, from->v[i].name, from->v[i].node);
}

/* ---- nodes and what is pending in them ---- */

static struct node *
node_new(struct fs *fs, enum os_type type)
{
	struct node *n = need(calloc(1, sizeof(*n)));

	n->type = type;
	n->ino = ++fs->ino;
	n->mtime = fs->sec;
	n->mtime_nsec = fs->nsec;
	n->fops_end = &n->fops;
	n->dops_end = &n->dops;
	n->next = fs->nodes;
	fs->nodes = n;
	fs->n_nodes++;
	return (n);
}

static void
fops_drop(struct node *n)
{
	struct fop *o;

	while ((o = n->fops) != NULL) {
		n->fops = o->next;
		free(o);
	}
	n->fops_end = &n->fops;
}

static void
dop_free(struct dop *o)
{
	free(o->del);
	free(o->add);
	free(o);
}

static void
dops_drop(struct node *n)
{
	struct dop *o;

	while ((o = n->dops) != NULL) {
		n->dops = o->next;
		dop_free(o);
	}
	n->dops_end = &n->dops;
}

static void
node_free(struct node *n)
{
	fops_drop(n);
	dops_drop(n);
	ents_clear(&n->names);
	ents_clear(&n->safe_names);
	free(n->live.p);
	free(n->safe.p);
	free(n);
}

static void
fop_add(struct node *n, bool cut, uint64_t off, const void *p, size_t len)
{
	struct fop *o = need(malloc(sizeof(*o) + len));

	o->next = NULL;
	o->cut = cut;
	o->off = off;
	o->n = len;
	if (len > 0)
		memcpy(o->data, p, len);
	*n->fops_end = o;
	n->fops_end = &o->next;
}

static void
dop_add(struct node *dir, uint64_t seq, const char *del, const char *add,
    struct node *node, struct node *other)
{
	struct dop *o = need(calloc(1, sizeof(*o)));

	o->seq = seq;
	o->del = del == NULL ? NULL : need(strdup(del));
	o->add = add == NULL ? NULL : need(strdup(add));
	o->node = node;
	o->other = other;
	*dir->dops_end = o;
	dir->dops_end = &o->next;
}

static void
fop_apply(struct bytes *b, const struct fop *o)
{
	if (o->cut)
		bytes_resize(b, o->off);
	else
		bytes_write(b, o->off, o->data, o->n);
}

/*
 * Some of the sectors; sometimes the size has grown and the bytes have not
 * come.
 */
static void
fop_apply_some(struct bytes *b, const struct fop *o, uint64_t *rng)
{
	size_t at, n;

	if (o->cut) {
		if ((next_random(rng) & 1) != 0)
			bytes_resize(b, o->off);
		return;
	}
	for (at = 0; at < o->n; at += n) {
		n = SECTOR - (size_t)((o->off + at) % SECTOR);
		if (n > o->n - at)
			n = o->n - at;
		if ((next_random(rng) & 1) != 0)
			bytes_write(b, o->off + at, o->data + at, n);
	}
	if ((next_random(rng) & 3) == 0 && o->off + o->n > b->n)
		bytes_resize(b, o->off + o->n);
}

static void
commit_file(struct node *n)
{
	struct fop *o;

	for (o = n->fops; o != NULL; o = o->next)
		fop_apply(&n->safe, o);
	fops_drop(n);
}

/*
 * Makes the directory's changes up to seq durable, and what a rename ties to
 * them.
 */
static void
commit_dir(struct node *dir, uint64_t seq)
{
	struct dop *o;

	while ((o = dir->dops) != NULL && o->seq <= seq) {
		if ((dir->dops = o->next) == NULL)
			dir->dops_end = &dir->dops;
		if (o->del != NULL)
			ents_del(&dir->safe_names, o->del);
		if (o->add != NULL)
			ents_put(&dir->safe_names, o->add, o->node);
		if (o->other != NULL)
			commit_dir(o->other, o->seq);
		dop_free(o);
	}
}

static void
mark(struct node *n)
{
	struct dop *o;
	size_t i;

	if (n == NULL || n->mark)
		return;
	n->mark = true;
	for (i = 0; i < n->names.n; i++)
		mark(n->names.v[i].node);
	for (i = 0; i < n->safe_names.n; i++)
		mark(n->safe_names.v[i].node);
	for (o = n->dops; o != NULL; o = o->next) {
		mark(o->node);
		mark(o->other);
	}
}

/* Frees what nothing leads to any more (N2). */
static void
collect(struct fs *fs)
{
	struct node *n, **link;

	mark(fs->root);
	for (n = fs->nodes; n != NULL; n = n->next)
		if (n->handles > 0)
			mark(n);
	for (link = &fs->nodes; (n = *link) != NULL;) {
		if (n->mark) {
			n->mark = false;
			link = &n->next;
			continue;
		}
		*link = n->next;
		node_free(n);
		fs->n_nodes--;
	}
	fs->gc_at = 2 * fs->n_nodes + 64;
}

/* ---- power ---- */

/* Link counts and bytes used, counted anew. */
static void
recount(struct fs *fs)
{
	struct node *n;
	size_t i;

	fs->used = 0;
	for (n = fs->nodes; n != NULL; n = n->next)
		n->nlink = 0;
	for (n = fs->nodes; n != NULL; n = n->next)
		for (i = 0; i < n->names.n; i++)
			n->names.v[i].node->nlink++;
	for (n = fs->nodes; n != NULL; n = n->next)
		if (n->nlink > 0)
			fs->used += n->live.n;
}

static void
settle(struct node *n, enum os_mem_loss loss, uint64_t *rng)
{
	struct fop *o;
	struct dop *d, *last = NULL;
	uint64_t count = 0;

	if (loss == OS_MEM_KEEP_ALL) {
		commit_file(n);
		commit_dir(n, UINT64_MAX);
	} else if (loss == OS_MEM_LOSE_SOME) {
		for (o = n->fops; o != NULL; o = o->next)
			fop_apply_some(&n->safe, o, rng);
		for (d = n->dops; d != NULL; d = d->next)
			count++;
		count = next_random(rng) % (count + 1);
		for (d = n->dops; d != NULL && count > 0; d = d->next, count--)
			last = d;
		if (last != NULL)
			commit_dir(n, last->seq);
	}
}

/*
 * What lost a name or bytes has the times of before, too: with the entry goes
 * the inode that was written with it.
 */
static void
times_back(struct node *n)
{
	bool same = n->names.n == n->safe_names.n && n->fops == NULL;

	for (size_t i = 0; same && i < n->names.n; i++)
		same = n->names.v[i].node == n->safe_names.v[i].node &&
		    strcmp(n->names.v[i].name, n->safe_names.v[i].name) == 0;
	if (!same)
		n->mtime -= 3600;
}

static void
reboot(struct fs *fs, enum os_mem_loss loss, uint64_t seed)
{
	struct node *n;

	for (n = fs->nodes; n != NULL; n = n->next)
		settle(n, loss, &seed);
	for (n = fs->nodes; n != NULL; n = n->next) {
		times_back(n);
		fops_drop(n);
		dops_drop(n);
		bytes_set(&n->live, &n->safe);
		ents_set(&n->names, &n->safe_names);
		n->handles = 0;
		n->locker = NULL;
	}
	collect(fs);
	recount(fs);
	memset(fs->rules, 0, sizeof(fs->rules));
	fs->cut = false;
	fs->cut_at = 0;
	fs->gen++;
}

static struct node *
copy_of(struct node *n)
{
	return (n == NULL ? NULL : n->copy);
}

static void
node_fill(struct node *to, const struct node *from)
{
	const struct fop *f;
	const struct dop *d;
	size_t i;

	to->ino = from->ino;
	to->mtime = from->mtime;
	to->mtime_nsec = from->mtime_nsec;
	bytes_set(&to->live, &from->live);
	bytes_set(&to->safe, &from->safe);
	ents_set(&to->names, &from->names);
	ents_set(&to->safe_names, &from->safe_names);
	for (i = 0; i < to->names.n; i++)
		to->names.v[i].node = copy_of(to->names.v[i].node);
	for (i = 0; i < to->safe_names.n; i++)
		to->safe_names.v[i].node = copy_of(to->safe_names.v[i].node);
	for (f = from->fops; f != NULL; f = f->next)
		fop_add(to, f->cut, f->off, f->data, f->n);
	for (d = from->dops; d != NULL; d = d->next)
		dop_add(to, d->seq, d->del, d->add, copy_of(d->node),
		    copy_of(d->other));
}

static void
clone_nodes(struct fs *to, struct fs *from)
{
	struct node *n, *copy, *reversed = NULL;

	for (n = from->nodes; n != NULL; n = n->next)
		n->copy = node_new(to, n->type);
	/*
	 * The same order as the original's: a seed then means the same loss in
	 * both.
	 */
	while ((copy = to->nodes) != NULL) {
		to->nodes = copy->next;
		copy->next = reversed;
		reversed = copy;
	}
	to->nodes = reversed;
	for (n = from->nodes; n != NULL; n = n->next)
		node_fill(n->copy, n);
	to->root = from->root->copy;
	to->ino = from->ino;
	to->seq = from->seq;
}

/* ---- entering and leaving an operation ---- */

static struct tree *
tree_of(struct os *os)
{
	return ((struct tree *)os);
}

/*
 * Call with the lock held: counts, loses the power, injects.  0: go on (leave()
 * tells what the caller sees).
 */
static int
enter(struct fs *fs, uint64_t gen, enum os_mem_op op)
{
	struct rule *r = &fs->rules[op];

	fs->injected = false;
	if (fs->cut || gen != fs->gen)
		return (-EIO);
	fs->calls[op]++;
	if (op < OS_MEM_CHANGES && ++fs->changes == fs->cut_at)
		fs->cut = true;
	if (r->nth == 0)
		return (0);
	if (r->nth > 1) {
		r->nth--;
		return (0);
	}
	if (!r->for_ever)
		r->nth = 0;
	fs->injected = true;
	return (-r->err);
}

static int
leave(struct fs *fs, int rc)
{
	if (fs->cut)
		rc = -EIO;
	(void)pthread_mutex_unlock(&fs->lock);
	return (rc);
}

static struct fs *
hold(struct os *os)
{
	struct fs *fs = tree_of(os)->fs;

	(void)pthread_mutex_lock(&fs->lock);
	return (fs);
}

static struct node *
root_of(struct os *os)
{
	struct tree *t = tree_of(os);

	return (t->root == NULL ? t->fs->root : t->root);
}

/* The whole tree lives through a reboot; others do not. */
static uint64_t
gen_of(struct os *os)
{
	struct tree *t = tree_of(os);

	return (t->root == NULL ? t->fs->gen : t->gen);
}

/* The directory of a path's last level, and that level. */
static int
resolve(struct os *os, const char *path, struct node **dir, const char **last)
{
	struct node *at = root_of(os);
	char level[256];
	size_t n;

	for (;; path += n + 1) {
		n = strcspn(path, "/");
		if (n == 0 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return (-EINVAL);
		if (n >= sizeof(level))
			return (-ENAMETOOLONG);
		if (path[n] == 0)
			break;
		memcpy(level, path, n);
		level[n] = 0;
		if ((at = ents_get(&at->names, level)) == NULL)
			return (-ENOENT);
		if (at->type != OS_DIR)
			return (-ENOTDIR);
	}
	*dir = at;
	*last = path;
	return (0);
}

static int
find(struct os *os, const char *path, struct node **out)
{
	struct node *dir;
	const char *last;
	int rc;

	if (*path == 0) {
		*out = root_of(os);
		return (0);
	}
	if ((rc = resolve(os, path, &dir, &last)) != 0)
		return (rc);
	return ((*out = ents_get(&dir->names, last)) == NULL ? -ENOENT : 0);
}

static int
find_dir(struct os *os, const char *path, struct node **out)
{
	struct node *n;
	int rc;

	if ((rc = find(os, path, &n)) != 0)
		return (rc);
	if (n->type != OS_DIR)
		return (-ENOTDIR);
	*out = n;
	return (0);
}

static void
touch(struct fs *fs, struct node *n)
{
	n->mtime = fs->sec;
	n->mtime_nsec = fs->nsec;
}

static void
add_name(struct fs *fs, struct node *dir, const char *name, struct node *n)
{
	ents_put(&dir->names, name, n);
	n->nlink++;
	if (n->nlink == 1)
		fs->used += n->live.n;
	touch(fs, dir);
	dop_add(dir, ++fs->seq, NULL, name, n, NULL);
}

/* One link of a node less. */
static void
unname(struct fs *fs, struct node *n)
{
	if (--n->nlink == 0)
		fs->used -= n->live.n;
}

static void
set_size(struct fs *fs, struct node *n, uint64_t size)
{
	if (n->nlink > 0)
		fs->used = fs->used - n->live.n + size;
	bytes_resize(&n->live, size);
	fop_add(n, true, size, NULL, 0);
	touch(fs, n);
}

/* ---- the members ---- */

static int
open_node(struct os *os, const char *path, unsigned flags, struct node **out)
{
	struct fs *fs = tree_of(os)->fs;
	struct node *dir = NULL, *n = NULL;
	const char *last = NULL;
	enum os_mem_op op = OS_MEM_OPEN;
	int rc, found;

	if (fs->n_nodes > fs->gc_at)
		collect(fs);
	if (fs->cut || gen_of(os) != fs->gen)
		return (-EIO);
	if ((found = resolve(os, path, &dir, &last)) == 0) {
		if ((n = ents_get(&dir->names, last)) == NULL &&
		    (flags & OS_CREATE) != 0)
			op = OS_MEM_CREATE;
		else if (n != NULL && n->type == OS_FILE &&
		    (flags & OS_TRUNC) != 0 && n->live.n > 0)
			op = OS_MEM_TRUNCATE;
	}
	if ((rc = enter(fs, gen_of(os), op)) != 0 || (rc = found) != 0)
		return (rc);
	if (n == NULL && (flags & OS_CREATE) == 0)
		return (-ENOENT);
	if (n != NULL &&
	    (flags & (OS_CREATE | OS_EXCL)) == (OS_CREATE | OS_EXCL))
		return (-EEXIST);
	if (n == NULL) {
		n = node_new(fs, OS_FILE);
		add_name(fs, dir, last, n);
	} else if (n->type != OS_FILE) {
		return (-EISDIR);
	} else if (op == OS_MEM_TRUNCATE) {
		set_size(fs, n, 0);
	}
	*out = n;
	return (0);
}

static int
mem_open(struct os *os, const char *path, unsigned flags, struct os_file **out)
{
	struct fs *fs = hold(os);
	struct os_file *f;
	struct node *n;
	int rc;

	if ((rc = open_node(os, path, flags, &n)) == 0 && !fs->cut) {
		f = need(calloc(1, sizeof(*f)));
		f->fs = fs;
		f->node = n;
		f->gen = fs->gen;
		f->writable = (flags & OS_WRITE) != 0;
		n->handles++;
		*out = f;
	}
	return (leave(fs, rc));
}

static ssize_t
mem_pread(struct os_file *f, void *p, size_t n, uint64_t off)
{
	struct fs *fs = f->fs;
	const struct bytes *b;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_PREAD)) != 0)
		return (leave(fs, rc));
	b = &f->node->live;
	if (off >= b->n)
		n = 0;
	else if (n > b->n - off)
		n = (size_t)(b->n - off);
	if (n > 0)
		memcpy(p, b->p + off, n);
	(void)leave(fs, 0);
	return ((ssize_t)n);
}

/* Of a write of n bytes, how many the capacity lets in. */
static size_t
fitting(const struct fs *fs, const struct node *node, uint64_t off, size_t n)
{
	uint64_t end;

	if (fs->capacity == 0 || off + n <= node->live.n)
		return (n);
	end = node->live.n +
	    (fs->capacity > fs->used ? fs->capacity - fs->used : 0);
	if (off + n <= end)
		return (n);
	return (off >= end ? 0 : (size_t)(end - off));
}

static int
mem_pwrite(struct os_file *f, const void *p, size_t n, uint64_t off)
{
	struct fs *fs = f->fs;
	uint64_t before;
	size_t put;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_PWRITE)) != 0 && !fs->injected)
		return (leave(fs, rc));
	if (f->poisoned || !f->writable)
		return (leave(fs, f->poisoned ? -EIO : -EBADF));
	if (off > INT64_MAX || n > INT64_MAX - off)
		return (leave(fs, -EFBIG));
	put = fitting(fs, f->node, off, n);
	if (rc == 0 && put < n)
		rc = -ENOSPC;
	else if (rc != 0 && put > n / 2)
		put = n / 2;
	if (put > 0) {
		before = f->node->live.n;
		bytes_write(&f->node->live, off, p, put);
		if (f->node->nlink > 0)
			fs->used += f->node->live.n - before;
		fop_add(f->node, false, off, p, put);
		touch(fs, f->node);
	}
	f->poisoned = rc != 0;
	return (leave(fs, rc));
}

static int
mem_truncate(struct os_file *f, uint64_t size)
{
	struct fs *fs = f->fs;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_TRUNCATE)) != 0) {
		f->poisoned |= fs->injected;
		return (leave(fs, rc));
	}
	if (f->poisoned || !f->writable)
		return (leave(fs, f->poisoned ? -EIO : -EINVAL));
	if (size > INT64_MAX)
		return (leave(fs, -EFBIG));
	if (size > f->node->live.n &&
	    fitting(fs, f->node, f->node->live.n,
		(size_t)(size - f->node->live.n)) < size - f->node->live.n)
		rc = -ENOSPC;
	else
		set_size(fs, f->node, size);
	f->poisoned = rc != 0;
	return (leave(fs, rc));
}

static int
mem_sync(struct os_file *f)
{
	struct fs *fs = f->fs;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_SYNC)) != 0) {
		if (fs->injected) {
			fops_drop(f->node);
			f->poisoned = true;
		}
		return (leave(fs, rc));
	}
	if (f->poisoned)
		rc = -EIO;
	else if (!fs->cut)
		commit_file(f->node);
	return (leave(fs, rc));
}

static void
stat_put(const struct node *n, struct os_stat *st)
{
	memset(st, 0, sizeof(*st));
	st->type = n->type;
	st->size = n->live.n;
	st->ino = n->ino;
	st->dev = 1;
	st->nlink = n->type == OS_DIR ? 2 : n->nlink;
	st->mode = n->type == OS_DIR ? 0700 : 0600;
	st->mtime = st->ctime = n->mtime;
	st->mtime_nsec = st->ctime_nsec = n->mtime_nsec;
}

static int
mem_fstat(struct os_file *f, struct os_stat *st)
{
	struct fs *fs = f->fs;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_STAT)) == 0)
		stat_put(f->node, st);
	return (leave(fs, rc));
}

static int
mem_lock(struct os_file *f)
{
	struct fs *fs = f->fs;
	int rc;

	(void)pthread_mutex_lock(&fs->lock);
	if ((rc = enter(fs, f->gen, OS_MEM_LOCK)) == 0) {
		if (!f->writable)
			rc = -EBADF;
		else if (f->node->locker != NULL && f->node->locker != f)
			rc = -EAGAIN;
		else
			f->node->locker = f;
	}
	return (leave(fs, rc));
}

static void
mem_close(struct os_file *f)
{
	struct fs *fs;

	if (f == NULL)
		return;
	fs = f->fs;
	(void)pthread_mutex_lock(&fs->lock);
	if (f->gen == fs->gen) {
		f->node->handles--;
		if (f->node->locker == f)
			f->node->locker = NULL;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	free(f);
}

static int
mem_stat(struct os *os, const char *path, struct os_stat *st)
{
	struct fs *fs = hold(os);
	struct node *n;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_STAT)) == 0 &&
	    (rc = find(os, path, &n)) == 0)
		stat_put(n, st);
	return (leave(fs, rc));
}

/* The names are copied first: the callback may change the directory. */
static int
mem_list(struct os *os, const char *path, os_list_fn *fn, void *arg)
{
	struct fs *fs = hold(os);
	struct os_dirent *v = NULL;
	struct node *dir;
	size_t i, n = 0;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_LIST)) == 0 &&
	    (rc = find_dir(os, path, &dir)) == 0 && dir->names.n > 0) {
		n = dir->names.n;
		v = need(calloc(n, sizeof(*v)));
		for (i = 0; i < n; i++) {
			v[i].name = need(strdup(dir->names.v[i].name));
			v[i].type = dir->names.v[i].node->type;
			v[i].ino = dir->names.v[i].node->ino;
		}
	}
	rc = leave(fs, rc);
	for (i = 0; i < n; i++) {
		if (rc == 0)
			rc = fn(arg, &v[i]);
		free((char *)(uintptr_t)v[i].name);
	}
	free(v);
	return (rc);
}

static int
mem_mkdir(struct os *os, const char *path)
{
	struct fs *fs = hold(os);
	struct node *dir;
	const char *last;
	int rc;

	if (fs->n_nodes > fs->gc_at)
		collect(fs);
	if ((rc = enter(fs, gen_of(os), OS_MEM_MKDIR)) == 0 &&
	    (rc = resolve(os, path, &dir, &last)) == 0) {
		if (ents_get(&dir->names, last) != NULL)
			rc = -EEXIST;
		else
			add_name(fs, dir, last, node_new(fs, OS_DIR));
	}
	return (leave(fs, rc));
}

static int
remove_as(struct os *os, const char *path, enum os_mem_op op)
{
	struct fs *fs = hold(os);
	struct node *dir, *n;
	const char *last;
	int rc;

	if ((rc = enter(fs, gen_of(os), op)) != 0 ||
	    (rc = resolve(os, path, &dir, &last)) != 0)
		return (leave(fs, rc));
	if ((n = ents_get(&dir->names, last)) == NULL)
		return (leave(fs, -ENOENT));
	if (op == OS_MEM_RMDIR && n->type != OS_DIR)
		return (leave(fs, -ENOTDIR));
	if (op == OS_MEM_UNLINK && n->type == OS_DIR)
		return (leave(fs, -EISDIR));
	if (n->names.n > 0)
		return (leave(fs, -ENOTEMPTY));
	dop_add(dir, ++fs->seq, last, NULL, NULL, NULL);
	ents_del(&dir->names, last);
	unname(fs, n);
	touch(fs, dir);
	return (leave(fs, 0));
}

static int
mem_rmdir(struct os *os, const char *path)
{
	return (remove_as(os, path, OS_MEM_RMDIR));
}

static int
mem_unlink(struct os *os, const char *path)
{
	return (remove_as(os, path, OS_MEM_UNLINK));
}

/* Whether n is dir or lies beneath it (live). */
static bool
lies_in(const struct node *dir, const struct node *n)
{
	size_t i;

	if (dir == n)
		return (true);
	for (i = 0; i < dir->names.n; i++)
		if (dir->names.v[i].node->type == OS_DIR &&
		    lies_in(dir->names.v[i].node, n))
			return (true);
	return (false);
}

/* What rename(2) refuses. */
static int
may_replace(const struct node *n, const struct node *old, bool excl)
{
	if (old == NULL)
		return (0);
	if (excl)
		return (-EEXIST);
	if (n->type == OS_DIR && old->type != OS_DIR)
		return (-ENOTDIR);
	if (n->type != OS_DIR && old->type == OS_DIR)
		return (-EISDIR);
	return (old->names.n > 0 ? -ENOTEMPTY : 0);
}

static int
do_rename(struct os *os, const char *from, const char *to, bool excl)
{
	struct fs *fs = tree_of(os)->fs;
	struct node *fdir, *tdir, *n, *old;
	const char *flast, *tlast;
	int rc;

	if ((rc = resolve(os, from, &fdir, &flast)) != 0 ||
	    (rc = resolve(os, to, &tdir, &tlast)) != 0)
		return (rc);
	if ((n = ents_get(&fdir->names, flast)) == NULL)
		return (-ENOENT);
	old = ents_get(&tdir->names, tlast);
	if (old == n && !excl)
		return (0);
	if (n->type == OS_DIR && lies_in(n, tdir))
		return (-EINVAL);
	if ((rc = may_replace(n, old, excl)) != 0)
		return (rc);
	fs->seq++;
	if (fdir == tdir) {
		dop_add(fdir, fs->seq, flast, tlast, n, NULL);
	} else {
		dop_add(tdir, fs->seq, NULL, tlast, n, fdir);
		dop_add(fdir, fs->seq, flast, NULL, NULL, tdir);
	}
	ents_del(&fdir->names, flast);
	ents_put(&tdir->names, tlast, n);
	if (old != NULL)
		unname(fs, old);
	touch(fs, fdir);
	touch(fs, tdir);
	return (0);
}

static int
rename_as(struct os *os, const char *from, const char *to, bool excl)
{
	struct fs *fs = hold(os);
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_RENAME)) == 0)
		rc = do_rename(os, from, to, excl);
	return (leave(fs, rc));
}

static int
mem_rename(struct os *os, const char *from, const char *to)
{
	return (rename_as(os, from, to, false));
}

static int
mem_rename_excl(struct os *os, const char *from, const char *to)
{
	return (rename_as(os, from, to, true));
}

static int
mem_link(struct os *os, const char *from, const char *to)
{
	struct fs *fs = hold(os);
	struct node *n, *dir;
	const char *last;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_LINK)) == 0 &&
	    (rc = find(os, from, &n)) == 0 &&
	    (rc = resolve(os, to, &dir, &last)) == 0) {
		if (ents_get(&dir->names, last) != NULL)
			rc = -EEXIST;
		else if (n->type == OS_DIR)
			rc = -EPERM;
		else
			add_name(fs, dir, last, n);
	}
	return (leave(fs, rc));
}

static int
mem_utimes(struct os *os, const char *path, int64_t mtime, uint32_t nsec)
{
	struct fs *fs = hold(os);
	struct node *n;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_UTIMES)) == 0 &&
	    (rc = find(os, path, &n)) == 0) {
		n->mtime = mtime;
		n->mtime_nsec = nsec < 1000000000 ? nsec : 999999999;
	}
	return (leave(fs, rc));
}

static int
mem_sync_dir(struct os *os, const char *path)
{
	struct fs *fs = hold(os);
	struct node *dir;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_SYNC_DIR)) == 0 &&
	    (rc = find_dir(os, path, &dir)) == 0 && !fs->cut)
		commit_dir(dir, UINT64_MAX);
	return (leave(fs, rc));
}

static void
mem_now(struct os *os, int64_t *sec, uint32_t *nsec)
{
	struct fs *fs = hold(os);

	*sec = fs->sec;
	*nsec = fs->nsec;
	(void)leave(fs, 0);
}

static uint64_t
mem_mono_ms(struct os *os)
{
	struct fs *fs = hold(os);
	uint64_t ms = fs->mono;

	(void)leave(fs, 0);
	return (ms);
}

static int
mem_random(struct os *os, void *p, size_t n)
{
	struct fs *fs = hold(os);
	uint8_t *b = p;
	size_t i;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_RANDOM)) == 0)
		for (i = 0; i < n; i++)
			b[i] = (uint8_t)(next_random(&fs->rng) >> 56);
	return (leave(fs, rc));
}

static struct tree *
tree_new(struct fs *fs, struct node *root, char *label)
{
	struct tree *t = need(calloc(1, sizeof(*t)));

	t->os.ops = &mem_ops;
	t->fs = fs;
	t->root = root;
	t->gen = fs->gen;
	t->label = need(label);
	if (root != NULL)
		root->handles++;
	fs->trees++;
	return (t);
}

static int
mem_sub(struct os *os, const char *path, struct os **out)
{
	struct fs *fs = hold(os);
	struct node *dir;
	char *label;
	int rc;

	if ((rc = enter(fs, gen_of(os), OS_MEM_OPEN)) == 0 &&
	    (rc = find_dir(os, path, &dir)) == 0) {
		if (asprintf(&label, *path == 0 ? "%s" : "%s/%s",
			tree_of(os)->label, path) < 0)
			label = NULL;
		*out = &tree_new(fs, dir, label)->os;
	}
	return (leave(fs, rc));
}

static const char *
mem_label(struct os *os)
{
	return (tree_of(os)->label);
}

static void
mem_close_tree(struct os *os)
{
	struct tree *t;
	struct node *n;
	struct fs *fs;
	unsigned left;

	if (os == NULL)
		return;
	t = tree_of(os);
	fs = hold(os);
	if (t->root != NULL && t->gen == fs->gen)
		t->root->handles--;
	left = --fs->trees;
	(void)pthread_mutex_unlock(&fs->lock);
	if (left == 0) {
		while ((n = fs->nodes) != NULL) {
			fs->nodes = n->next;
			node_free(n);
		}
		(void)pthread_mutex_destroy(&fs->lock);
		free(fs);
	}
	free(t->label);
	free(t);
}

static const struct os_ops mem_ops = {
	.open = mem_open,
	.pread = mem_pread,
	.pwrite = mem_pwrite,
	.truncate = mem_truncate,
	.sync = mem_sync,
	.fstat = mem_fstat,
	.lock = mem_lock,
	.close = mem_close,
	.stat = mem_stat,
	.list = mem_list,
	.mkdir = mem_mkdir,
	.rmdir = mem_rmdir,
	.rename = mem_rename,
	.rename_excl = mem_rename_excl,
	.link = mem_link,
	.unlink = mem_unlink,
	.utimes = mem_utimes,
	.sync_dir = mem_sync_dir,
	.now = mem_now,
	.mono_ms = mem_mono_ms,
	.random = mem_random,
	.sub = mem_sub,
	.label = mem_label,
	.close_tree = mem_close_tree,
};

/* ---- what tests call ---- */

static struct fs *
fs_new(uint64_t seed)
{
	struct fs *fs = need(calloc(1, sizeof(*fs)));

	(void)pthread_mutex_init(&fs->lock, NULL);
	fs->rng = seed;
	fs->sec = 1700000000;
	fs->gc_at = 64;
	return (fs);
}

int
os_mem_new(uint64_t seed, struct os **out)
{
	struct fs *fs = fs_new(seed);

	fs->root = node_new(fs, OS_DIR);
	*out = &tree_new(fs, NULL, strdup("/mem"))->os;
	return (0);
}

uint64_t
os_mem_changes(struct os *os)
{
	struct fs *fs = hold(os);
	uint64_t n = fs->changes;

	(void)leave(fs, 0);
	return (n);
}

uint64_t
os_mem_calls(struct os *os, enum os_mem_op op)
{
	struct fs *fs = hold(os);
	uint64_t n = fs->calls[op];

	(void)leave(fs, 0);
	return (n);
}

void
os_mem_cut_at(struct os *os, uint64_t n)
{
	struct fs *fs = hold(os);

	fs->cut_at = n;
	(void)leave(fs, 0);
}

void
os_mem_cut_now(struct os *os)
{
	struct fs *fs = hold(os);

	fs->cut = true;
	(void)leave(fs, 0);
}

bool
os_mem_is_cut(struct os *os)
{
	struct fs *fs = hold(os);
	bool cut = fs->cut;

	(void)leave(fs, 0);
	return (cut);
}

int
os_mem_reboot(struct os *os, enum os_mem_loss loss, uint64_t seed)
{
	struct fs *fs = hold(os);

	reboot(fs, loss, seed);
	return (leave(fs, 0));
}

int
os_mem_reboot_copy(
    struct os *os, enum os_mem_loss loss, uint64_t seed, struct os **out)
{
	struct fs *fs = hold(os), *copy = fs_new(fs->rng ^ seed);

	copy->sec = fs->sec;
	copy->nsec = fs->nsec;
	copy->mono = fs->mono;
	copy->capacity = fs->capacity;
	clone_nodes(copy, fs);
	(void)leave(fs, 0);
	reboot(copy, loss, seed);
	*out = &tree_new(copy, NULL, strdup("/mem"))->os;
	return (0);
}

void
os_mem_fail(
    struct os *os, enum os_mem_op op, uint64_t nth, int err, bool for_ever)
{
	struct fs *fs = hold(os);

	fs->rules[op].nth = nth;
	fs->rules[op].err = err;
	fs->rules[op].for_ever = for_ever;
	(void)leave(fs, 0);
}

void
os_mem_capacity(struct os *os, uint64_t bytes)
{
	struct fs *fs = hold(os);

	fs->capacity = bytes;
	(void)leave(fs, 0);
}

uint64_t
os_mem_used(struct os *os)
{
	struct fs *fs = hold(os);
	uint64_t n = fs->used;

	(void)leave(fs, 0);
	return (n);
}

static int
find_file(struct os *os, const char *path, struct node **out)
{
	int rc;

	if ((rc = find(os, path, out)) != 0)
		return (rc);
	return ((*out)->type == OS_FILE ? 0 : -EISDIR);
}

int
os_mem_flip(struct os *os, const char *path, uint64_t off, uint8_t mask)
{
	struct fs *fs = hold(os);
	struct node *n;
	int rc;

	if ((rc = find_file(os, path, &n)) == 0) {
		if (off >= n->live.n) {
			rc = -EINVAL;
		} else {
			commit_file(n);
			n->live.p[off] ^= mask;
			if (off < n->safe.n)
				n->safe.p[off] ^= mask;
		}
	}
	(void)pthread_mutex_unlock(&fs->lock);
	return (rc);
}

int
os_mem_cut_file(struct os *os, const char *path, uint64_t size)
{
	struct fs *fs = hold(os);
	struct node *n;
	int rc;

	if ((rc = find_file(os, path, &n)) == 0) {
		set_size(fs, n, size);
		commit_file(n);
	}
	(void)pthread_mutex_unlock(&fs->lock);
	return (rc);
}

struct walk {
	struct os *os;
	const char *dir;
	os_mem_walk_fn *fn;
	void *arg;
};

static int
walk_one(void *arg, const struct os_dirent *e)
{
	struct walk *w = arg, sub = *w;
	struct os_stat st;
	char *path = NULL;
	int rc;

	if (asprintf(&path, *w->dir == 0 ? "%s%s" : "%s/%s", w->dir, e->name) <
	    0)
		return (-ENOMEM);
	sub.dir = path;
	if ((rc = w->os->ops->stat(w->os, path, &st)) == 0 &&
	    (rc = w->fn(w->arg, path, e->type, st.size)) == 0 &&
	    e->type == OS_DIR)
		rc = w->os->ops->list(w->os, path, walk_one, &sub);
	free(path);
	return (rc);
}

int
os_mem_walk(struct os *os, os_mem_walk_fn *fn, void *arg)
{
	struct walk w = { os, "", fn, arg };

	return (os->ops->list(os, "", walk_one, &w));
}

void
os_mem_set_time(struct os *os, int64_t sec, uint32_t nsec)
{
	struct fs *fs = hold(os);

	fs->sec = sec;
	fs->nsec = nsec;
	(void)leave(fs, 0);
}

void
os_mem_advance(struct os *os, uint64_t ms)
{
	struct fs *fs = hold(os);
	uint64_t nsec = fs->nsec + ms % 1000 * 1000000;

	fs->mono += ms;
	fs->sec += (int64_t)(ms / 1000 + nsec / 1000000000);
	fs->nsec = (uint32_t)(nsec % 1000000000);
	(void)leave(fs, 0);
}
