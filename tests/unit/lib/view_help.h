/*
 * view_help -- a view over a real store in a directory of its own, and the
 * calls of a program on it, by path.
 *
 * Paths are relative to the root ("cur/x", ".Foo/new/y").  The do_* give 0 or
 * -errno as the view did; the others end the test when they fail.
 */
#ifndef DSYNCFS_TESTS_VIEW_HELP_H
#define DSYNCFS_TESTS_VIEW_HELP_H

#include "fs/view.h"

struct mounted {
	struct os *os;
	struct store *s;
	struct view *v;
	struct view_options o;
	char top[64];
};
extern struct mounted fs;

void fs_up(enum view_layout layout); /* a new directory */
void fs_down(void); /* closes what is open, removes it */
void fs_open(void);
void fs_close(void);
void fs_again(void); /* both */
/*
 * What a process does that is killed right behind it; killed: the view is opened
 * again.
 */
void fs_kill(void (*work)(void));
void fs_killed(void (*work)(void));

/* The node and attributes of a path; -ENOENT and so on. */
int do_stat(const char *path, struct stat *st);
uint64_t node(const char *path); /* must be there */
bool there(const char *path);
unsigned links(const char *path);

int do_make(const char *path, const char *text); /* mknod and write */
int do_write(const char *path, const char *text, uint64_t off);
int do_truncate(const char *path, uint64_t size);
int do_mtime(const char *path, int64_t sec, long nsec);
int do_fsync(const char *path);
int do_mkdir(const char *path);
int do_rmdir(const char *path);
int do_unlink(const char *path);
int do_rename(const char *from, const char *to);
int do_rename_flags(const char *from, const char *to, unsigned flags);
int do_link(const char *from, const char *to);
/* Written to tmp of that folder ("" for INBOX), fsynced, renamed. */
void mail(const char *folder, const char *as, const char *text);
void folder(const char *path); /* with cur, new, tmp */

/*
 * malloc'd once and kept: the text of a node, of a path; names in a directory,
 * sorted, each followed by a blank.
 */
const char *text_of_node(uint64_t n);
const char *text(const char *path);
const char *names(const char *path);
const char *xattr(const char *path, const char *name);

uint32_t box(const char *name); /* its id; 0: none */
struct mailbox boxed(const char *name);
/* By base name; strings live as long as the test. */
bool has(const char *mailbox, const char *base);
struct msg msg(const char *mailbox, const char *base);
/*
 * "save 3, flags 2 +08 -01 +kw -kw, expunge 1 (guid)": what the mailbox's log
 * got since the last call of mark().  Deleted mailboxes have none.
 */
void mark(void);
const char *events(const char *mailbox);
/* Frames of the log since mark(). */
unsigned batches(void);

#endif
