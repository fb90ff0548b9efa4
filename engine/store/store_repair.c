/*
 * store_repair -- making a damaged store usable again: everything good is kept,
 * what is bad is set aside.
 *
 * The good frames give a state; it is written as a new generation of the log
 * (store_compact), and the damaged log moves to "damaged/".  Bodies that no
 * message names any more, because its frame is lost, come back into mailbox
 * "Recovered".  A message whose body is damaged stays listed and gives EIO:
 * dropping it would look like an expunge to a peer that still has it whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/store_live.h"

#define RECOVERED "Recovered"
#define RECOVER_BATCH 1000

/* ---- the small files ---- */

struct id_search {
	struct os *os;
	const char *dir;
	struct guid id;
	bool found;
};

/* Every segment of the log carries the store's id. */
static int
id_of_segment(void *arg, const struct os_dirent *e)
{
	struct id_search *f = arg;
	struct os_file *file;
	uint8_t head[24];
	char path[400];

	if (e->type != OS_FILE || f->found)
		return (0);
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, e->name);
	if (f->os->ops->open(f->os, path, OS_READ, &file) != 0)
		return (0);
	if (f->os->ops->pread(file, head, sizeof(head), 0) ==
		(ssize_t)sizeof(head) &&
	    memcmp(head, "DSFSLOG", 7) == 0) {
		memcpy(f->id.b, head + 8, sizeof(f->id.b));
		f->found = !guid_is_zero(&f->id);
	}
	f->os->ops->close(file);
	return (0);
}

struct logs {
	char name[16][40];
	size_t n;
};

static int
log_one(void *arg, const struct os_dirent *e)
{
	struct logs *l = arg;

	if (e->type == OS_DIR && strncmp(e->name, "log-", 4) == 0 &&
	    strlen(e->name) < 40 && l->n < 16)
		(void)snprintf(l->name[l->n++], 40, "%s", e->name);
	return (0);
}

static int
repair_store_file(struct os *os, bool dry, const struct logs *l)
{
	struct store s = { .os = os };
	struct id_search f = { .os = os };
	struct os_stat st;
	int error;

	for (size_t i = 0; i < l->n && !f.found; i++) {
		f.dir = l->name[i];
		if ((error = os->ops->list(os, f.dir, id_of_segment, &f)) != 0)
			return (error);
	}
	if (!f.found) {
		log_error("%s: neither \"store\" nor any log tells the store's "
			  "id; take its bodies with a new store and restore",
		    os->ops->label(os));
		return (-EIO);
	}
	log_info("%s/store: %s from the log", os->ops->label(os),
	    dry ? "would be made anew" : "is made anew");
	if (dry)
		return (0);
	s.id = f.id;
	if (os->ops->stat(os, "packs", &st) == -ENOENT)
		s.flags = STORE_SIDECAR;
	if ((error = os->ops->random(os, s.secret, sizeof(s.secret))) != 0)
		return (error);
	return (file_store_write(&s));
}

static uint64_t
gen_of(const char *log_dir)
{
	return (strtoull(log_dir + 4, NULL, 10));
}

/*
 * Of several generations without "current": a compaction was under way or just
 * done, and nothing was written since.  The older one is complete unless its
 * removal had begun, which shows as damage; so the oldest that has its first
 * segment.
 */
static int
repair_current(struct os *os, bool dry, const struct logs *l)
{
	uint64_t best = 0;
	struct os_stat st;
	char path[80];

	for (size_t i = 0; i < l->n; i++) {
		uint64_t gen = gen_of(l->name[i]);

		(void)snprintf(
		    path, sizeof(path), "%s/0000000000000001.log", l->name[i]);
		if (gen != 0 && os->ops->stat(os, path, &st) == 0 &&
		    (best == 0 || gen < best))
			best = gen;
	}
	if (best == 0)
		return (0);
	log_info("%s/current: %s, naming log-%" PRIu64, os->ops->label(os),
	    dry ? "would be made anew" : "is made anew", best);
	return (dry ? 0 : file_current_write(os, best, 0));
}

static int
segment_one(void *arg, const struct os_dirent *e)
{
	size_t n = strlen(e->name);

	*(bool *)arg = *(bool *)arg ||
	    (e->type == OS_FILE && n > 4 && strcmp(e->name + n - 4, ".log") == 0);
	return (0);
}

/*
 * Where nothing is left of the log, an empty one takes its place: what the
 * index holds is written into a new one then, and the bodies are there.
 */
static int
repair_no_log(struct store *probe, bool dry, bool *missing)
{
	struct os *os = probe->os;
	struct journal *j;
	bool any = false;
	int error;

	store_paths(probe);
	error = os->ops->list(os, probe->log_dir, segment_one, &any);
	if (any || (error != 0 && error != -ENOENT))
		return (error);
	*missing = true;
	log_info("%s/%s: is missing: what the index holds %s kept, and other "
		 "messages %s into %s",
	    os->ops->label(os), probe->log_dir, dry ? "would be" : "is",
	    dry ? "would come back" : "come back", RECOVERED);
	if (dry)
		return (0);
	error = journal_open(os, probe->log_dir, &probe->id, JOURNAL_CREATE, 0,
	    NULL, NULL, &j);
	if (error == 0)
		journal_close(j);
	return (error);
}

/* files: the small ones had to be made anew; log: it is missing. */
struct bad {
	bool files, log;
};

static int
repair_files(struct os *os, bool dry, struct bad *bad)
{
	struct store probe = { .os = os };
	struct logs l = { .n = 0 };
	struct os_stat st;
	int error;

	memset(bad, 0, sizeof(*bad));
	if ((error = os->ops->list(os, "", log_one, &l)) != 0) {
		log_error("%s: cannot be listed: %s", os->ops->label(os),
		    strerror(-error));
		return (error);
	}
	if (os->ops->stat(os, "store", &st) != 0 && l.n == 0) {
		log_error("%s: not a dsyncfs store", os->ops->label(os));
		return (-ENOENT);
	}
	if (os->ops->stat(os, "packs", &st) == -ENOENT)
		probe.flags = STORE_SIDECAR;
	error = file_store_read(&probe);
	if (error == -EPROTONOSUPPORT)
		return (error);
	if (error != 0 && error != -EINVAL) {
		bad->files = true;
		if ((error = repair_store_file(os, dry, &l)) != 0)
			return (error);
	}
	error = file_current_read(&probe);
	if (error == -EPROTONOSUPPORT)
		return (error);
	if ((error != 0 || probe.guessed) && l.n > 0) {
		bad->files = true;
		return (repair_current(os, dry, &l));
	}
	return (error != 0 || bad->files
		? 0
		: repair_no_log(&probe, dry, &bad->log));
}

/* ---- bodies without a message ---- */

struct recover {
	struct store *s;
	struct live_list live;
	struct body_ref *v; /* owned */
	size_t n, cap;
};

static int
recover_entry(void *arg, const struct pack_entry *e)
{
	struct recover *rc = arg;

	if (!e->good ||
	    live_find(&rc->live, e->ref.pack, e->ref.offset) != NULL)
		return (0);
	if (rc->n == rc->cap) {
		size_t cap = rc->cap == 0 ? 64 : rc->cap * 2;
		struct body_ref *v = realloc(rc->v, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		rc->v = v;
		rc->cap = cap;
	}
	rc->v[rc->n++] = e->ref;
	return (0);
}

static int
recover_batch(struct recover *rc, size_t from, size_t to)
{
	struct mailbox_new nb = { .name = RECOVERED };
	struct mailbox box;
	struct txn *t;
	uint32_t id;
	int error;

	if ((error = txn_begin(rc->s, NULL, &t)) != 0)
		return (error);
	error = store_mailbox_by_name(rc->s, RECOVERED, &box);
	if (error == 0 && box.selectable)
		id = box.id;
	else
		error = txn_mailbox_create(t, &nb, &id);
	for (size_t i = from; i < to && error == 0; i++) {
		struct msg m = { .body = rc->v[i], .state = MSG_NEW };

		error = txn_save(t, id, &m, NULL);
	}
	if (error != 0) {
		txn_abort(t);
		return (error);
	}
	return (txn_commit(t));
}

static int
recover_find(struct store *s, struct recover *rc)
{
	int error;

	memset(rc, 0, sizeof(*rc));
	rc->s = s;
	if (s->packs == NULL)
		return (0);
	if ((error = live_collect(&s->st, INT64_MIN, &rc->live)) != 0)
		return (error);
	return (packs_walk(s->packs, true, recover_entry, rc));
}

static int
recover_bodies(struct recover *rc)
{
	int error = 0;

	for (size_t i = 0; i < rc->n && error == 0; i += RECOVER_BATCH)
		error = recover_batch(rc, i,
		    rc->n - i > RECOVER_BATCH ? i + RECOVER_BATCH : rc->n);
	if (error == 0 && rc->n > 0)
		log_info("%s: %zu messages whose records are lost are now in "
			 "mailbox %s",
		    store_label(rc->s), rc->n, RECOVERED);
	return (error);
}

/* ---- the whole ---- */

/* Whether every page of the index can be read. */
static bool
index_whole(const struct state *st)
{
	uint64_t pages = 0, bad = 0;

	return (!st->broken && btree_verify(st->tree, &pages, &bad) == 0 &&
	    bad == 0);
}

/*
 * What the log has lost before the checkpoint the index still has.  Where it is
 * lost, its body has no message; else a body without one is one that is no
 * longer wanted.
 */
static int
repair_log(struct store *s, bool dry, const struct verify_result *r)
{
	struct recover rc = { .s = s };
	int error = 0;

	if (!index_whole(&s->st)) {
		s->damaged = true;
		error = store_state_anew(s);
	}
	s->lost = s->damaged || journal_torn(s->journal) || s->limit != 0;
	if (error == 0 && s->lost)
		error = recover_find(s, &rc);
	if (error != 0)
		goto out;
	log_info("%s: %s keep %" PRIu64
		 " good changes%s, set the damaged log aside in "
		 "damaged/, and bring back %zu messages into %s",
	    store_label(s), dry ? "would" : "will", r->frames,
	    s->lost ? "" : " and what the index has of the others", rc.n,
	    RECOVERED);
	if (dry)
		goto out;
	s->damaged = false;
	if ((error = compact_to(s, true, true, NULL)) == 0)
		error = recover_bodies(&rc);
	if (error != 0)
		s->damaged = true;
out:
	live_free(&rc.live);
	free(rc.v);
	return (error);
}

/*
 * The tail looked torn, so it was cut.  A disk that loses what it had makes it
 * look the same: the bodies are still there.
 */
static int
repair_tail(struct store *s, bool dry)
{
	struct recover rc = { .s = s };
	int error = recover_find(s, &rc);

	if (error == 0 && rc.n > 0)
		log_info("%s: %s bring back %zu messages, whose records may "
			 "have been in the log's torn tail, into %s",
		    store_label(s), dry ? "would" : "will", rc.n, RECOVERED);
	if (error == 0 && !dry)
		error = recover_bodies(&rc);
	live_free(&rc.live);
	free(rc.v);
	return (error);
}

static int
repair_opened(struct store *s, bool dry, struct verify_result *r)
{
	bool torn = journal_torn(s->journal) || s->limit != 0;
	int error;

	if ((error = store_verify(s, r)) != 0)
		return (error);
	if (s->damaged || journal_damaged(s->journal))
		return (repair_log(s, dry, r));
	if (!s->st.broken && r->problems == 0 && !torn)
		log_info("%s: nothing to repair", store_label(s));
	else if (!dry)
		error = store_rebuild(s);
	return (error == 0 && torn ? repair_tail(s, dry) : error);
}

int
store_repair(struct os *os, bool dry, struct verify_result *r)
{
	struct store *s;
	struct os_stat st;
	struct bad bad;
	unsigned flags;
	int error, closed;

	memset(r, 0, sizeof(*r));
	if ((error = repair_files(os, dry, &bad)) != 0)
		return (error);
	if (dry && (bad.files || bad.log)) {
		r->problems = 1;
		return (0);
	}
	flags = os->ops->stat(os, "packs", &st) == -ENOENT ? STORE_SIDECAR : 0;
	if ((error = store_open(os, flags | (dry ? STORE_RDONLY : 0), NULL,
		 &s)) != 0)
		return (error);
	s->damaged = s->damaged || bad.log;
	error = repair_opened(s, dry, r);
	closed = store_close(s);
	return (error != 0 ? error : closed);
}
