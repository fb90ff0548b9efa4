/*
 * view_internal -- what the files of the view share.
 */
#ifndef DSYNCFS_FS_VIEW_INTERNAL_H
#define DSYNCFS_FS_VIEW_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "fs/view.h"

#define MEMORY_SPARE 8

/* The text last shown of a file that is made when it is read. */
struct shown_text {
	uint64_t hash;
	int64_t mtime; /* 0: not shown yet */
};

/* A mailbox that is shown.  Rebuilt when the store's mailboxes change. */
struct box {
	uint32_t id;
	char *name; /* owned, canonical */
	uint64_t folder; /* its folder's node */
	/* bit PART_*: not made yet, or removed */
	unsigned hidden;
	/* dovecot-keywords was, at so many names */
	size_t keywords_removed;
	struct shown_text keywords;
	/* a file in tmp came, went or was renamed; 0: not in this mount */
	struct timespec tmp_changed;
	uint32_t uidvalidity; /* when tmp was made, where nothing else tells */
	bool shows_keywords; /* the kernel knows that there is such a file */
	UT_hash_handle hh_id, hh_name, hh_folder;
};

enum scratch_kind {
	/* in tmp, cur or new, not yet a message */
	SCRATCH_FILE,
	/* its tmp name is still there, the message too */
	SCRATCH_SAVED,
	SCRATCH_DIRTY, /* a message being written to */
	/* subscriptions, dovecot-keywords being written to */
	SCRATCH_EDIT
};

/* A file's bytes, and when they last changed. */
struct memory {
	uint8_t *p; /* owned */
	size_t len, cap;
	struct timespec changed;
};

/*
 * A file being written.  Its bytes are memory, or the real file `path` under scratch/.
 * state x fields: FILE and SAVED have box, part, name; DIRTY none of them;
 * EDIT has box.  unlinked: only fd is left, for whoever has it open; or, aside,
 * path under scratch/gone.
 */
struct scratch {
	uint64_t node;
	enum scratch_kind kind;
	uint32_t box;
	enum box_part part;
	char *name; /* owned; NULL for DIRTY, EDIT */
	char *path; /* owned, under the store's directory */
	int fd; /* -1: closed for now */
	/* owned: all there is, path is where it would be; NULL: on disk */
	struct memory *memory;
	/* what an fsync promised of it is in scratch/synced */
	bool synced;
	bool as_synced; /* and has not changed since */
	bool unlinked, aside;
	uint64_t touched_ms; /* of the last write */
	struct scratch *prev, *next; /* all of them, in order of making */
	UT_hash_handle hh_node, hh_name;
	/* owned: "box/part/name" for FILE, SAVED */
	char *key;
};

/* A name of a file that has several. */
struct aux_name {
	uint64_t parent;
	char *name; /* owned */
	struct aux_name *next;
};

/*
 * Something real under aux/ that the kernel knows.  It is found by its name,
 * and without one by fd or, aside, under scratch/gone.
 */
struct aux {
	/* NODE_AUX | inode; or what a folder left behind */
	uint64_t node;
	uint64_t parent; /* an aux node, or a folder node */
	char *name; /* owned */
	struct aux_name *other; /* owned: names seen before, some of them */
	bool dir;
	/* S_IRUSR, S_IWUSR: what a program's descriptor may be good for */
	mode_t granted;
	int fd; /* -1, or what is left after unlink */
	bool aside;
	uint64_t lookups;
	uint64_t special; /* it was renamed over this file, 0 */
	UT_hash_handle hh;
};

/* A message that is gone but may still be open. */
struct zombie {
	uint64_t node;
	struct stat st;
	struct body_ref body;
	UT_hash_handle hh;
};

/*
 * An old name of a message, openable for a while (stale_names); or of one that
 * a sync has expunged (gone), which only the helper can see.
 */
struct stale {
	uint32_t box, uid;
	uint64_t ino;
	enum box_part part;
	bool gone;
	char *name; /* owned */
	uint64_t until_ms;
	struct stale *next;
};

/* Other name of one message in the same mailbox, until one of them goes. */
struct alias {
	uint32_t box, uid;
	enum box_part part;
	char *name; /* owned: full name */
	struct alias *next;
};

/* A message that a transaction of a sync is about to change. */
struct touched {
	uint32_t box, uid;
	uint64_t ino;
	enum box_part part;
	char *name; /* owned; NULL: it was not there */
	/* what an open file of it still needs */
	struct body_ref body;
	struct stat st;
};

/* Bodies that are compressed later (view_squeeze.c). */
struct squeezing {
	struct store_squeeze *run; /* owned, of the ticker alone; NULL: none */
	uint64_t appended, appended_ms; /* bodies so far, when that changed */
	uint64_t after_ms; /* not before, since it has failed */
	bool looked; /* what earlier mounts left is known */
};

struct body_cache;
struct aux_handles;

struct view {
	struct store *store; /* borrowed */
	int dir; /* owned: the store's directory */
	struct view_options o;
	pthread_mutex_t lock;
	atomic_uint_fast64_t turn; /* changed with the lock */
	uint32_t inbox;
	struct box *by_id, *by_name, *by_folder;
	bool boxes_stale;
	struct shown_text subscriptions;
	struct scratch *scratch, *scratch_last, *scratch_by_node,
	    *scratch_by_name;
	struct aux *aux;
	struct aux_handles *handles; /* owned, NULL until there are any */
	/* Descriptors of files without a name; above max such go aside. */
	size_t held, held_max;
	/* files in memory that are free for the next one (owned) */
	struct memory *memory[MEMORY_SPARE];
	size_t n_memory;
	struct synced *synced_file; /* owned, NULL until there is one */
	bool no_synced_file; /* it cannot be made */
	bool saving; /* a message, of which synced_file has all that matters */
	/* Since the last flush there was more than such messages. */
	bool changed;
	struct zombie *zombies;
	struct alias *aliases;
	/* view_placed.c: all of them, and by mailbox and offset (owned) */
	struct placed *placed, **placed_order;
	size_t n_placed, placed_cap;
	uint64_t placed_ms; /* the last one, or the last page that was asked */
	struct stale *stale;
	struct touched *touched; /* owned */
	size_t n_touched;
	view_nudge_fn *nudge;
	void *nudge_arg;
	struct body_cache *bodies;
	/* Scratch files whose message is not yet durable (V2): paths. */
	char **done;
	size_t n_done;
	uint64_t done_seq; /* of the last one */
	view_forget_fn *forget;
	void *forget_arg;
	/* a command runs: the kernel must be told */
	bool foreign;
	/* group commit */
	pthread_cond_t synced;
	bool syncing;
	uint64_t sync_wanted, sync_finished;
	int sync_error;
	uint64_t dirty_since_ms;
	struct squeezing squeezing;
	char *changes; /* .dsyncfs/changes so far (owned) */
	size_t changes_len, changes_cap;
	uint64_t changes_next; /* LSN */
};

uint64_t view_now_ms(struct view *v);
/* Group commit: gives the lock up. */
int view_sync_locked(struct view *v);
void view_await_sync(struct view *v); /* of another thread's flush */

/* ---- compressing later (view_squeeze.c) ---- */
/* Both without the lock, by one thread at a time. */
void squeeze_tick(struct view *v);
void squeeze_end(struct view *v);

/* ---- boxes (view.c) ---- */
/* brings the table up to date */
int view_boxes(struct view *v);
struct box *box_by_id(struct view *v, uint32_t id);
struct box *box_by_name(struct view *v, const char *name);
/* The mailbox whose folder the node is (the root's is INBOX), or NULL. */
struct box *box_of_folder(struct view *v, uint64_t node);
uint64_t part_node(const struct box *b, enum box_part part);
/* The mailbox and part of a cur, new or tmp node; NULL for any other node. */
struct box *box_of_part(struct view *v, uint64_t node, enum box_part *part);
void view_tell(
    struct view *v, enum forget_what what, uint64_t node, const char *name);

/* ---- mailboxes as folders (view_box.c) ---- */
/*
 * A plain directory gets its first cur, new or tmp: it is a mailbox now.  Only
 * that part is shown until the others are made too.  -ENOENT: it can be none.
 */
int box_begin_as_dir(struct view *v, uint64_t dir, enum box_part part);
int box_delete(struct view *v, const struct box *b);
/* Mailboxes that lie in its folder (layout fs). */
bool box_has_children(struct view *v, const struct box *b);
/* A plain directory of the fs layout may hold mailboxes. */
bool boxes_below(struct view *v, uint64_t parent, const char *name);
/*
 * Renaming, up to what can fail for the caller: *out is to be committed when
 * what is real has been renamed too.  The second is for a plain directory of
 * the fs layout, which moves with the mailboxes below it; NULL: there are none.
 */
int box_rename_begin(
    struct view *v, const struct box *b, const char *to, struct txn **out);
int boxes_rename_begin(
    struct view *v, const char *from, const char *to, struct txn **out);

/* ---- names (view_name.c) ---- */
/* Directory name of a mailbox below its parent's directory, in the arena. */
char *folder_name(struct view *v, struct arena *a, const char *canonical);
/*
 * Canonical name for a directory `name` in the folder `parent`; NULL when it
 * can be no mailbox there (not valid, or not a Maildir++ name).
 */
char *canonical_name(
    struct view *v, struct arena *a, uint64_t parent, const char *name);
/* The canonical name of a folder or aux directory, "" for the root. */
char *dir_prefix(struct view *v, struct arena *a, uint64_t node);
/* A message's file name in cur or new, in the arena. */
char *msg_file_name(
    struct view *v, struct arena *a, uint32_t box, const struct msg *m);
enum box_part msg_part(const struct msg *m);
/* What a file name says: base, flags, keywords, letters; all in the arena. */
struct file_name {
	char *base;
	uint8_t flags;
	struct keywords keywords; /* those that letters can say */
	uint32_t named; /* letters that say one of them */
	/* for msg.letters, "" when the usual form will do */
	char *letters;
};
int parse_file_name(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct file_name *out);

/* Of msg.letters: no keyword gets the number of one that has no name yet. */
int reserve_letters(
    struct view *v, struct txn *t, uint32_t box, const char *letters);

/* ---- attributes ---- */
void stat_msg(
    struct view *v, const struct msg *m, unsigned nlink, struct stat *st);
void stat_dir(struct view *v, uint64_t node, int64_t sec, uint32_t nsec,
    unsigned nlink, struct stat *st);
int stat_part(
    struct view *v, const struct box *b, enum box_part part, struct stat *st);
extern const char *const part_name[3];
int node_getattr(struct view *v, uint64_t node, struct stat *st);
/* prefix: the directory's, as dir_prefix gives it. */
bool is_child_of(struct view *v, struct arena *a, const struct box *b,
    const char *prefix, uint64_t dir);
/* Mailboxes whose folders lie in this directory. */
unsigned count_children(struct view *v, uint64_t dir);
int stat_folder(struct view *v, const struct box *b, struct stat *st);

/* ---- messages (view_msg.c) ---- */
/* The end of a transaction of which error was found: commits, or gives up. */
int view_finish(struct txn *t, int error);
/* The message that a name in cur or new means; -ENOENT. */
int msg_lookup(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct msg *out);
/* First instance of an inode number, and how many there are. */
int msg_by_ino(struct view *v, struct arena *a, uint64_t ino, uint32_t *box,
    struct msg *out, unsigned *count);
int msg_unlink(
    struct view *v, uint32_t box, enum box_part part, const char *name);
/* as_given: it is surely shown by the new name. */
int msg_rename(struct view *v, uint32_t from, enum box_part fpart,
    const char *name, uint32_t to, enum box_part tpart, const char *new_name,
    unsigned flags, bool *as_given);
int msg_link(struct view *v, uint64_t ino, uint32_t to, enum box_part part,
    const char *name);
int msg_setattr(struct view *v, uint64_t ino, const struct view_set *set);
ssize_t msg_read(struct view *v, uint64_t ino, void *p, size_t n, uint64_t off);
/* A program expunged it: what an open file of it still needs is kept. */
void msg_gone(struct view *v, const struct msg *m);
/* st: as it was last seen. */
void zombie_add(
    struct view *v, const struct stat *st, const struct body_ref *body);
void body_cache_free(struct body_cache *c);
/* Their files may have been replaced. */
void bodies_close_idle(struct view *v);
struct alias *alias_find(
    struct view *v, uint32_t box, enum box_part part, const char *name);
struct alias *alias_of(struct view *v, uint32_t box, uint32_t uid);
void alias_drop(struct view *v, struct alias *a);
/* The same, or a message that had this name until a sync changed it (old). */
int msg_lookup_any(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct msg *out, bool *old);
/*
 * The node that this one stands for: a message's under an old name; a special
 * file's, as long as the kernel knows it by the file renamed over it.
 */
uint64_t real_node(struct view *v, uint64_t node);
/* what->name is copied. */
void stale_add(struct view *v, const struct stale *what, unsigned seconds);
struct stale *stale_find(struct view *v, uint32_t box, enum box_part part,
    const char *name, bool gone);
void stale_drop(struct view *v, struct stale *s);
void stale_free(struct view *v);

/* ---- what watching programs are shown (view_nudge.c) ---- */
/* The message is about to change (watch_msg_fn). */
void nudge_before(void *arg, uint32_t box, uint32_t uid);
/* The transaction is through. */
void nudge_after(struct view *v);
void nudge_free(struct view *v);

/* ---- what the kernel keeps (view_kept.c) ---- */
/*
 * A program has just given a message this name.  Where it is shown by another
 * one all the same, the kernel has to ask again, and the name stays openable
 * for a while.
 */
void kept_name(
    struct view *v, uint32_t box, enum box_part part, const char *name);
/* A mailbox's mail changed by no request about its directories. */
void kept_mail(struct view *v, uint32_t box);
/* Its folder's name has gone, or come. */
void kept_folder(struct view *v, const char *canonical, bool gone);
/* A letter is about to get a meaning, which names may have used otherwise. */
void kept_keywords(struct view *v, uint32_t box);
/* Its mail went with it; copies elsewhere are still there. */
void kept_deleted(struct view *v, uint32_t box);

/* ---- scratch (view_scratch.c) ---- */
int scratch_recover(struct view *v);
struct scratch *scratch_by_node(struct view *v, uint64_t node);
struct scratch *scratch_by_name(
    struct view *v, uint32_t box, enum box_part part, const char *name);
int scratch_create(struct view *v, uint32_t box, enum box_part part,
    const char *name, struct scratch **out);
/* A descriptor of the real file, which it is from here on. */
int scratch_fd(struct view *v, struct scratch *s);
int scratch_unlink(struct view *v, struct scratch *s);
int scratch_rename(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name);
/* Makes it a message under that name; the scratch's own name stays (link). */
int scratch_save(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name);
void scratch_drop(struct view *v, struct scratch *s, bool keep_file);
/* A copy of the message to write to. */
int scratch_dirty(struct view *v, uint64_t ino, struct scratch **out);
int scratch_edit(struct view *v, uint64_t node, struct scratch **out);
int scratch_settle(struct view *v, struct scratch *s);
/*
 * What lies in cur or new is a message then, an empty one too; s may be gone.
 */
int scratch_become(struct view *v, struct scratch *s);
/* Shared with view_rewrite.c, view_recover.c, view_memory.c. */
int scratch_make_dir(struct view *v, const char *path);
int scratch_take_name(struct view *v, struct scratch *s, uint32_t box,
    enum box_part part, const char *name);
char *scratch_path(uint32_t box, char letter, const char *name);
int scratch_box_dir(struct view *v, uint32_t box, char letter);
/* A directory's names become durable; those of files in a mailbox's tmp. */
int scratch_sync_path(struct view *v, const char *path);
int scratch_sync_dir(struct view *v, uint32_t box);
/* Takes path over in any case. */
int scratch_new(struct view *v, uint64_t node, enum scratch_kind kind,
    uint32_t box, char *path, struct scratch **out);
/* ---- the bytes of scratch files (view_scratch_io.c) ---- */
int scratch_stat(struct view *v, struct scratch *s, struct stat *st);
ssize_t scratch_read(
    struct view *v, struct scratch *s, void *p, size_t n, uint64_t off);
ssize_t scratch_write(
    struct view *v, struct scratch *s, const void *p, size_t n, uint64_t off);
/* All n bytes, at off. */
int scratch_put_all(int fd, const void *p, size_t n, uint64_t off);
int scratch_fallocate(
    struct view *v, struct scratch *s, int mode, uint64_t off, uint64_t len);
int scratch_setattr(
    struct view *v, struct scratch *s, const struct view_set *set);
/* Without what is in the store about it. */
int scratch_real(struct view *v, struct scratch *s, struct stat *real);
/* The file's bytes go into a pack; dates come from the file. */
int scratch_body(struct view *v, struct scratch *s, struct msg *m);
bool scratch_same_body(const struct body_ref *a, const struct body_ref *b);
/* Its message is logged; the bytes stay until that is durable (V2). */
int scratch_set_aside(struct view *v, struct scratch *s);
int scratch_settle_dirty(struct view *v, struct scratch *s);
int scratch_settle_edit(struct view *v, struct scratch *s);
int scratch_read_all(struct view *v, struct scratch *s, char **p, size_t *n);
void scratch_done_durable(struct view *v, size_t n);
int scratch_box_gone(struct view *v, uint32_t box);
/* Where a file without a name is, that no descriptor is held for. */
void scratch_gone_path(uint64_t node, char out[48]);

/* ---- where messages are listed (view_placed.c) ---- */
/*
 * uid is listed at `at`, or, where was (0: nothing) is listed at another offset
 * than its own, there instead of it.
 */
void placed_put(
    struct view *v, uint32_t box, uint32_t was, uint32_t uid, uint64_t at);
/* Its UID does not say where it is listed. */
bool placed_is(const struct view *v, uint32_t box, uint32_t uid);
/* The UID of the first of them that is not before from; 0: there is none. */
uint32_t placed_next(
    const struct view *v, uint32_t box, uint64_t from, uint64_t *at);
/* A listing is under way. */
void placed_listed(struct view *v);
void placed_tick(struct view *v, uint64_t now);
void placed_end(struct view *v);
/* Offsets of a listing of new or cur: a message, a file that is none yet. */
uint64_t list_offset(uint32_t uid);
uint64_t list_offset_scratch(uint64_t node);

/* ---- tmp in memory (view_memory.c) ---- */
/* An empty file; NULL: no memory. */
struct memory *memory_take(struct view *v);
void memory_give(struct view *v, struct memory *m); /* NULL is fine */
void memory_free(struct view *v);
ssize_t memory_read(const struct memory *m, void *p, size_t n, uint64_t off);
ssize_t memory_write(
    struct memory *m, const void *p, size_t n, uint64_t off);
int memory_resize(struct memory *m, uint64_t size);
/* From here on its bytes are where its path says, not yet durable. */
int memory_to_disk(struct view *v, struct scratch *s);
/* It is about to be as long as end. */
int memory_room(struct view *v, struct scratch *s, uint64_t end);
void memory_tick(struct view *v);
void memory_tmp_changed(struct view *v, uint32_t box);
/* Nothing is in memory only any more. */
void memory_end(struct view *v);

/* ---- what was fsynced in tmp (view_synced.c) ---- */
/*
 * What it holds becomes durable.  Gives the lock up, so that s may be gone
 * then.
 */
int synced_fsync(struct view *v, struct scratch *s);
/* It is unlinked, or its bytes are durable elsewhere. */
void synced_drop(struct view *v, struct scratch *s);
/* A message was made of it, of that name; nothing else has changed. */
void synced_named(struct view *v, const struct scratch *s, uint32_t box,
    enum box_part part, const char *name);
/* It is nothing but that message now, which is not yet durable. */
void synced_saved(struct view *v, struct scratch *s);
/* How many are such; the first n of them have become durable. */
size_t synced_waiting(const struct view *v);
void synced_durable(struct view *v, size_t n);
/* All records are durable then.  Gives the lock up. */
int synced_flush(struct view *v);
/* Can it stand for a flush of the log? */
bool synced_covers(const struct view *v);
void synced_recover(struct view *v);
/* Nothing is there only any more. */
void synced_end(struct view *v);

/* ---- aux (view_aux.c) ---- */
/* Does this thread's request come from root (view_as)? */
bool view_for_root(void);
int aux_lookup(
    struct view *v, uint64_t parent, const char *name, struct stat *st);
int aux_getattr(struct view *v, uint64_t node, struct stat *st);
/* Is there a real file of that name in this directory? */
bool aux_exists(struct view *v, uint64_t parent, const char *name);
int aux_create(struct view *v, uint64_t parent, const char *name, mode_t mode,
    dev_t rdev, const char *target, struct stat *st);
int aux_unlink(struct view *v, uint64_t parent, const char *name, bool dir);
int aux_rename(struct view *v, uint64_t from, const char *name, uint64_t to,
    const char *new_name, unsigned flags);
int aux_link(struct view *v, uint64_t node, uint64_t parent, const char *name,
    struct stat *st);
int aux_readdir(
    struct view *v, uint64_t node, uint64_t off, view_dir_fn *fn, void *arg);
void aux_forget(struct view *v, uint64_t node, uint64_t count);
int aux_readlink(struct view *v, uint64_t node, char *out, size_t size);
/* The directory becomes mailbox `id`: its files move to the mailbox's. */
int aux_becomes_box(struct view *v, uint64_t node, uint32_t id);
int aux_box_gone(struct view *v, uint32_t id);
/* Directories for the levels of a canonical name (layout fs). */
int aux_mkdirs(struct view *v, const char *canonical);
/* A folder's files become those of a plain directory with that name. */
int aux_leave_dir(
    struct view *v, const struct box *b, uint64_t parent, const char *name);
/* Directories in the folder's aux space; 0 also when that is not known. */
unsigned aux_subdirs(struct view *v, uint64_t folder, struct timespec *mtime);
bool aux_empty(struct view *v, uint64_t folder);
int aux_init(struct view *v);
void aux_free(struct view *v);

/* ---- descriptors on aux files (view_aux_open.c) ---- */
struct aux *aux_find(struct view *v, uint64_t node);
/* A descriptor on the node itself; flags as for open(2). */
int aux_open(struct view *v, uint64_t node, int flags);
/* On an aux directory, or a folder's, which is made when it is not there. */
int aux_open_dir(struct view *v, uint64_t node);

/* ---- reading and writing them (view_aux_io.c) ---- */
/* The lock is given up meanwhile. */
ssize_t aux_read(
    struct view *v, uint64_t node, void *p, size_t n, uint64_t off);
ssize_t aux_write(
    struct view *v, uint64_t node, const void *p, size_t n, uint64_t off);
int aux_fallocate(
    struct view *v, uint64_t node, int mode, uint64_t off, uint64_t len);
int aux_fsync(struct view *v, uint64_t node);
/* The directory of what is not mail in a folder, to make it durable; -1. */
int aux_folder_fd(struct view *v, uint64_t folder);
int aux_setattr(struct view *v, uint64_t node, const struct view_set *set);
/* Closes what is kept for the node. */
void aux_drop_handles(struct view *v, uint64_t node);
void aux_free_handles(struct view *v);

/* ---- special (view_special.c) ---- */
/* A special file of that name in this directory: its node, or 0. */
uint64_t special_lookup(struct view *v, uint64_t parent, const char *name);
int special_getattr(struct view *v, uint64_t node, struct stat *st);
ssize_t special_read(
    struct view *v, uint64_t node, void *p, size_t n, uint64_t off);
bool special_is_dir(uint64_t node);
int special_readdir(struct view *v, uint64_t off, view_dir_fn *fn, void *arg);
bool special_writable(uint64_t node);
/* The whole text, malloc'd. */
int special_text(struct view *v, uint64_t node, char **p, size_t *n);
/* New content for subscriptions or dovecot-keywords. */
int special_apply(struct view *v, uint64_t node, const char *p, size_t n);
int special_unlink(struct view *v, uint64_t node);
uint32_t special_box(struct view *v, uint64_t node);
uint64_t special_subscriptions_node(void);
uint64_t special_keywords_node(const struct box *b);
/* Is there a dovecot-keywords? */
bool special_shows_keywords(struct view *v, const struct box *box);
void special_announce(struct view *v, unsigned what);

#endif
