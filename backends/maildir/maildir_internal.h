/*
 * maildir_internal -- what the files of the Maildir backend share.
 *
 * Invariants:
 *
 * M1  A file in new/ or cur/ is a whole message: it was synced in tmp/ before
 * it was renamed. M2  The sidecar follows the files.  Every member changes the
 * files first, then the sidecar; a crash in between leaves a change that the
 * next refresh finds, with the same GUID, and takes for done by a user. M3 UIDs
 * are given under the lock of dovecot-uidlist only, and each is above all that
 * the list or the sidecar ever held. M4  A GUID that is not the base name
 * stands in the list, on disk, before the file gets its place. M5  The lock is
 * held during a batch of changes at most, never while the replica's lock is
 * given up. M6  No member follows a symbolic link or leaves the trees (struct
 * os sees to it); names read from disk are checked first.
 */
#ifndef DSYNCFS_BACKENDS_MAILDIR_INTERNAL_H
#define DSYNCFS_BACKENDS_MAILDIR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/maildir/maildir.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail.h"
#include "base/os.h"
#include "sync/replica.h"

#define MD_LETTERS 26 /* keywords that a file name can hold */
#define MD_SIDECAR_PLUS "dsyncfs-sidecar"
#define MD_SIDECAR_FS "cur/.dsyncfs-sidecar"
#define MD_TRASH                                                               \
	"cur/" /* with MD_TRASH_PREFIX and hex digits: a mailbox on its way    \
		  out */
#define MD_TRASH_PREFIX ".dsyncfs-deleted-"
#define MD_LIST_MAX (1024u << 20) /* larger metadata files are not believed */
#define MD_DEPTH_MAX 64 /* levels of nested mailboxes */

/* ---- table.c: strings to numbers ---- */

struct table_slot {
	const char *key; /* borrowed; NULL: free */
	uint32_t value;
};

struct table {
	struct table_slot *slot; /* owned */
	size_t cap, n;
};

void table_init(struct table *t);
void table_fini(struct table *t);
/* replaces; 0 or -ENOMEM */
int table_set(struct table *t, const char *key, uint32_t value);
bool table_get(const struct table *t, const char *key, uint32_t *value);

/* ---- name.c: file names of messages (specs/mailbox-formats.md 1.1) ---- */

struct maildir_name {
	size_t base_len;
	const char *info; /* after ":2,", or "" */
	bool has_size, has_vsize;
	uint64_t size, vsize; /* of ,S= and ,W= */
};

void maildir_name_parse(const char *file, struct maildir_name *out);
/* Names no message, though the file may hold one: it needs another name first.
 */
bool maildir_name_ok(const char *file);
/*
 * What a base name must be so that we choose it ourselves, and so that it tells
 * no wrong sizes.
 */
bool maildir_base_fits(const char *base, uint64_t size, uint64_t vsize);
/* <sec>.M<usec>R<random>.dsyncfs,S=<size>,W=<vsize>, in the arena. */
int maildir_base_new(struct os *os, struct arena *a, uint64_t size,
    uint64_t vsize, const char **out);
void maildir_name_format(
    struct buf *b, const char *base, const struct mail_info *info);
/*
 * Leading time stamp, then bytes: the order in which unlisted files get their
 * UIDs.
 */
int maildir_name_cmp(const char *a, const char *b);

/* ---- uidlist.c: dovecot-uidlist (1.4) ---- */

struct uidrec {
	uint32_t uid;
	uint32_t pop3_order;
	const char *base; /* strings: in the list's arena */
	const char *guid; /* NULL: the base name */
	const char *pop3_uidl; /* NULL: none; "": the base name */
	uint64_t vsize; /* W; 0: not given */
	/* keys that we do not read, as text: " S12 Xy", or "" */
	const char *rest;
};

struct uidlist {
	struct arena arena;
	uint32_t uidvalidity; /* 0: there was no list */
	/* above every UID of the list and its N */
	uint32_t next;
	struct guid guid; /* zero: none */
	/* header keys that we do not read, as text */
	const char *rest;
	struct uidrec *rec; /* owned; ascending UIDs */
	size_t n, cap;
	struct table by_base; /* to indices of rec */
	/* not to be appended to: old version, bad or torn lines, no GUID */
	bool rewrite;
	const char *problem; /* NULL: none; a constant */
	unsigned problem_line;
};

void uidlist_init(struct uidlist *l);
void uidlist_fini(struct uidlist *l);
/*
 * Takes any bytes: 0 with what could be used, *problem saying why not all;
 * -ENOMEM.
 */
int uidlist_parse(struct uidlist *l, const char *p, size_t n);
const struct uidrec *uidlist_find(const struct uidlist *l, const char *base);
const struct uidrec *uidlist_find_uid(const struct uidlist *l, uint32_t uid);
/* Copies the strings; the UID must be above the last one (-EINVAL). */
int uidlist_add(struct uidlist *l, const struct uidrec *r);
/* The values can stand in a line. */
bool uidlist_value_ok(const char *value);
void uidlist_put_record(struct buf *b, const struct uidrec *r);
void uidlist_format(struct buf *b, const struct uidlist *l);

/* ---- keywords.c: dovecot-keywords (1.5) ---- */

struct kwtable {
	/* owned, by number; NULL: none of that number */
	char **name;
	size_t n, cap;
};

void kwtable_fini(struct kwtable *k);
/* Takes any bytes: 0, *bad counts lines that were left out; -ENOMEM. */
int kwtable_parse(struct kwtable *k, const char *p, size_t n, unsigned *bad);
void kwtable_format(struct buf *b, const struct kwtable *k);
/* The number of a name, compared without case; -1: none. */
int kwtable_find(const struct kwtable *k, const char *name);
/* 0, -EEXIST, -ENOMEM */
int kwtable_set(struct kwtable *k, size_t number, const char *name);
/* The next number, when it is still a letter: the number; -ENOSPC, -ENOMEM. */
int kwtable_add(struct kwtable *k, const char *name);

/* ---- subs.c: subscriptions (1.8) ---- */

struct sub_line {
	const char *raw; /* in the arena */
	const char *name; /* levels as on disk, joined by '/' */
};

struct subs {
	struct arena arena;
	bool v1;
	char sep; /* of version 1 */
	struct sub_line *line; /* owned */
	size_t n, cap;
	unsigned bad; /* lines that were left out */
};

void subs_init(struct subs *s, char sep);
void subs_fini(struct subs *s);
int subs_parse(struct subs *s, const char *p, size_t n); /* 0, -ENOMEM */
bool subs_has(const struct subs *s, const char *name);
/* at the end; there already is fine */
int subs_add(struct subs *s, const char *name);
void subs_remove(struct subs *s, const char *name);
void subs_format(struct buf *b, const struct subs *s);

/* ---- dotlock.c (1.4) ---- */

struct dotlock {
	struct os *os;
	char *path; /* owned; NULL: not held */
	uint64_t ino;
	uint64_t touched; /* mono_ms */
};

#define DOTLOCK_STALE 120 /* seconds without a touch */
#define DOTLOCK_WAIT_MS 30000u

/*
 * content: what the lock file holds, NULL: who we are.  -EAGAIN: another
 * program keeps it; reported, as all errors but -EROFS and -EACCES.
 */
int dotlock_take(struct dotlock *d, struct os *os, const char *path,
    unsigned wait_ms, const void *content, size_t n);
void dotlock_touch(struct dotlock *d); /* at most about every 10 s */
void dotlock_release(struct dotlock *d);
/* The lock file becomes the file it guards. */
int dotlock_replace(struct dotlock *d, const char *path);

/* ---- the replica ---- */

/* What tells that a file or directory is as it was. */
struct stamp {
	bool there;
	uint64_t ino, size;
	int64_t mtime, ctime;
	uint32_t mtime_nsec, ctime_nsec;
};

struct box {
	struct box *next;
	uint32_t id; /* in the sidecar */
	/* owned; in root, "" is the root itself */
	char *dir;
	char *ctl; /* owned; in control */
	struct dotlock lock;
	struct uidlist list;
	/* of what was read; there: list is as on disk */
	struct stamp list_stamp;
	bool list_read;
	struct kwtable kw;
	struct stamp kw_stamp;
	bool kw_read;
	/* said that there are too many keywords */
	bool kw_full;
	bool guid_lost; /* said that a GUID cannot be written */
	/* redo_note has told of it since the last commit */
	bool redo;
	/* the list has another GUID, and shall get the sidecar's */
	bool guid_new;
	/* not yet synced */
	bool dirty_new, dirty_cur, dirty_ctl, dirty_list;
};

struct maildir {
	struct replica r; /* first */
	/* owned; control is root when they are one */
	struct os *root, *control, *sidecar;
	bool fs, utf8, rdonly;
	unsigned lock_wait_ms;
	struct box *boxes; /* owned: those in use */
	/* redo_note has told of a mailbox since the last commit */
	bool redo;
	/* names of folders, the file of subscriptions */
	bool dirty_root, dirty_control;
};

struct maildir *maildir_of(struct replica *r);

/* Reports and gives error back: "LABEL/path: cannot be VERB: why". */
int md_fail(struct os *os, const char *path, const char *verb, int error);
/* 0 also when it is not there */
int md_stamp(struct os *os, const char *path, struct stamp *out);
/* the same, reported */
int md_look(struct os *os, const char *path, struct stamp *out);
bool stamp_eq(const struct stamp *a, const struct stamp *b);
/* dir + "/" + name, or the one that is not empty; NULL: no memory. */
char *md_path(struct arena *a, const char *dir, const char *name);
/* Reads a metadata file; -ENOENT is not reported. */
int md_read(struct os *os, const char *path, char **p, size_t *n);

/* folder names (folder_name.c) */
int md_dir_of_name(const struct maildir *m, struct arena *a, const char *name,
    bool *changed, const char **dir);
int md_name_of_dir(const struct maildir *m, struct arena *a, const char *dir,
    const char **name);
char *md_ctl_of_dir(const struct maildir *m, struct arena *a, const char *dir);

/* box.c */
int md_box(struct maildir *m, uint32_t id, struct box **out);
void md_box_forget(struct maildir *m, struct box *b);
int md_box_dir_set(struct maildir *m, struct box *b, const char *dir);
int md_list_read(struct maildir *m, struct box *b);
/* Does it have to be written? */
bool md_list_behind(const struct box *b, const struct mailbox *box);
/* all of it; the lock is held */
int md_list_write(struct maildir *m, struct box *b);
/*
 * UIDVALIDITY and GUID of the list of a control directory; 0 and zero where
 * there is none.
 */
int md_list_head(struct maildir *m, const char *ctl, uint32_t *uidvalidity,
    struct guid *guid);
int md_list_append(
    struct maildir *m, struct box *b, const struct uidrec *r, bool sync);
/*
 * Takes the lock and reads the list, which is written anew when it cannot be
 * appended to; held already is fine.  quiet: -EROFS and -EACCES unsaid.
 */
int md_box_lock(struct maildir *m, struct box *b, bool quiet);
void md_boxes_unlock(struct maildir *m);
void md_box_unlock(struct maildir *m, struct box *b);
int md_box_sync(struct maildir *m, struct box *b);
uint32_t md_next_uid(const struct box *b, const struct mailbox *box);

/* box_kw.c */
int md_kw_read(
    struct maildir *m, struct box *b, const char *const *known, size_t n);
/*
 * Gives every keyword that has none a letter, as far as there are any; takes
 * the lock when it has to.
 */
int md_kw_need(struct maildir *m, struct box *b, const struct keywords *k);
void md_info_make(const struct box *b, uint8_t flags, const struct keywords *k,
    const char *letters, bool passed, struct mail_info *out);
/*
 * Keywords of a file: those of its letters, in the spelling of `old` where it
 * has them, and what of `old` has no letter.
 */
int md_info_keywords(const struct box *b, const struct mail_info *info,
    struct arena *a, const struct keywords *old, struct keywords *out);

/* find.c */
/*
 * Path of the message's file, in the arena; looks again when it is not under
 * the expected name.  -ENOENT not reported.
 */
int md_find(struct maildir *m, struct box *b, const struct msg *msg,
    struct arena *a, const char **path);
/* By its base name alone, in the directories of a mailbox; needs no lock. */
int md_find_base(struct os *os, const char *box, const char *base,
    struct arena *a, const char **path);

/* state.c: the sidecar's memory of a mailbox, in its setting "box.ID" */
struct box_state {
	const char *dir; /* in the arena */
	bool settled; /* the stamps can be trusted */
	struct stamp s_new, s_cur, s_list, s_kw;
	const char **kw; /* names by letter, "" none */
	size_t kws;
};
/* -ENOENT */
int md_state_get(
    struct maildir *m, uint32_t id, struct arena *a, struct box_state *out);
int md_state_put(struct txn *t, uint32_t id, const struct box_state *s);
int md_state_drop(struct txn *t, uint32_t id);

/* scan_*.c */
/* There are as many as files: what the name says is parsed when it is needed. */
struct md_file {
	const char *name; /* strings: in the look's arena, or constants */
	const char *base;
	const char *guid; /* may be base */
	const char *pop3_uidl;
	const char *rest;
	uint64_t vsize;
	uint32_t pop3_order;
	uint32_t uid; /* as it shall be; 0: to be given */
	/* known to the sidecar under this UID; 0: not known */
	uint32_t from;
	bool known; /* ... and its UID stays */
	bool in_new;
	bool skip; /* cannot be taken in */
};

struct md_change { /* of a message that stays, or (gone) one without a file */
	uint32_t uid;
	bool gone;
	struct msg_update u;
};

struct scan {
	struct maildir *m;
	struct box *b;
	struct mailbox box;
	struct arena arena;
	struct arena looked; /* of what the last look at all has found */
	struct box_state old, now;
	struct md_file *file; /* owned */
	size_t n, cap;
	struct table by_base;
	struct md_change *change; /* owned */
	size_t changes, change_cap;
	/* a known message had no file at the first look */
	bool missing;
	/* the list lacks what the sidecar knows, or says otherwise */
	bool relist;
	bool arrivals; /* files that need a UID */
	/* the mailbox may be changed, and the lock is held when need be */
	bool writable;
	/* a second look: what is wrong has been said */
	bool quiet;
	unsigned problems;
};

struct folder { /* a directory of the tree */
	const char *dir;
	bool mailbox;
	struct stamp list;
	struct guid guid;
	uint32_t uidvalidity;
	/* of the sidecar's mailbox, 0: none yet */
	uint32_t id;
	bool copied; /* its GUID is another mailbox's */
	/* guid is the sidecar's, not the list's */
	bool keep_guid;
};

void md_problem(
    struct scan *s, const char *sub, const char *name, const char *what);
int md_refresh(struct replica *r, const char *mailbox, unsigned *problems);
int md_scan_box(struct maildir *m, uint32_t id, unsigned *problems);
int md_scan_tree(struct maildir *m, unsigned *problems);
int md_gather(struct scan *s);
int md_store_scan(struct scan *s);
int md_folders(struct maildir *m, struct arena *a, struct folder **out,
    size_t *n, unsigned *problems);
int md_scan_subs(struct maildir *m, unsigned *problems);

/* write.c */
int md_save(struct replica *r, uint32_t mailbox, const struct msg *m,
    struct stream *body, const struct guid *origin, uint32_t *uid);
int md_copy(struct replica *r, uint32_t mailbox, const struct msg *m,
    uint32_t from_mailbox, uint32_t from_uid, const struct guid *origin,
    uint32_t *uid);
int md_renumber(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg *m, const struct guid *origin, uint32_t *new_uid);
int md_update(struct replica *r, uint32_t mailbox, uint32_t uid,
    const struct msg_update *u, const struct guid *origin);
int md_expunge(struct replica *r, uint32_t mailbox, uint32_t uid,
    uint32_t moved_to, const struct guid *origin);
int md_body(
    struct replica *r, uint32_t mailbox, uint32_t uid, struct stream **out);
int md_dirs_make(struct maildir *m, struct box *b);

/*
 * redo.c: flag changes and expunges that the sidecar kept in a power cut, but
 * the directories did not
 */
/* before the first such change of a mailbox */
int md_redo_note(struct maildir *m, struct box *b);
int md_redo_clear(struct maildir *m); /* all is durable */
/* right after opening */
int md_redo(struct maildir *m);

/* folder.c */
int md_mailbox_create(struct replica *r, const struct mailbox_new *m,
    const struct guid *origin, uint32_t *id);
int md_mailbox_rename(struct replica *r, uint32_t id, const char *name,
    int64_t time, const struct guid *origin);
int md_mailbox_delete(
    struct replica *r, uint32_t id, int64_t time, const struct guid *origin);
int md_mailbox_update(struct replica *r, uint32_t id,
    const struct mailbox_update *u, const struct guid *origin);
int md_subscribe(struct replica *r, const char *name, bool on, int64_t time,
    const struct guid *origin);
/* Removes a directory with all that is in it. */
int md_remove_tree(struct os *os, const char *path);
/* The name under which a mailbox is subscribed on disk. */
int md_sub_name(
    struct maildir *m, struct arena *a, const char *name, const char **out);

#endif
