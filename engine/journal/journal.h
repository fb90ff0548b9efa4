/*
 * journal -- the change log: an append-only sequence of checksummed frames in
 * segment files.
 *
 * A frame is one atomic commit (a batch of records); its payload is opaque
 * here.  Segments lie in a directory of the store's tree, named by the LSN of
 * their first frame (%016llx.log).  An LSN is a frame's byte position in the
 * whole log, counted over all segments' frames; it never goes back.
 * dsyncfs-format(5) has the bytes; the invariants stand in journal.c:
 *
 * J1  A frame once made durable is never changed or cut.
 * J2  Every frame says up to which LSN the log was durable when it was written.
 * A bad frame that a later good frame calls durable is damage; a bad frame that
 * none calls durable is a torn tail and is cut when the log is opened for
 * writing. J3  A failed write or sync poisons the log: everything later gives
 * -EIO until it is opened again. J4  Only the newest segment is written to; an
 * older one ends exactly where the next begins.
 */
#ifndef DSYNCFS_JOURNAL_JOURNAL_H
#define DSYNCFS_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/guid.h"
#include "base/os.h"

#define JOURNAL_SEGMENT_BYTES                                                  \
	(16u << 20) /* a new segment is begun after this */
#define JOURNAL_FRAME_MAX                                                      \
	(64u << 20) /* a larger frame is refused with -EFBIG, and is damage    \
		       when read */

struct journal;

struct journal_frame {
	uint64_t lsn; /* of this frame */
	uint64_t next; /* of the frame behind it */
	int64_t time; /* real time of writing, Unix seconds */
	const uint8_t *payload; /* lent until the callback returns */
	size_t len;
};

struct journal_damage {
	uint64_t lsn; /* where the bad bytes begin */
	uint64_t resume; /* the next good frame, 0 = none */
	/* path in the tree; lent by the journal */
	const char *file;
	uint64_t offset; /* in the file */
	const char *why;
};

/* Non-zero stops and is returned. */
typedef int journal_frame_fn(void *arg, const struct journal_frame *f);

enum { JOURNAL_CREATE = 1, JOURNAL_RDONLY = 2 };

/*
 * Opens the log in directory dir of os and checks every frame from LSN `from`
 * on (0: all), handing each to fn in order: a store passes where its checkpoint
 * ends, so opening costs the tail.  A torn tail is cut (not with
 * JOURNAL_RDONLY) and reported as a warning.  Damage is reported as an error
 * with file and offset; the log then opens as JOURNAL_RDONLY would, frames
 * before and behind the damage having been handed to fn, and journal_damaged()
 * is true. Errors: -ENOENT no log there and no JOURNAL_CREATE; -EPROTONOSUPPORT
 * a newer version; -EINVAL `from` is not a frame of this log, or the log
 * belongs to another store (id); -EIO, -ENOMEM; what fn returned.
 */
int journal_open(struct os *os, const char *dir, const struct guid *id,
    unsigned flags, uint64_t from, journal_frame_fn *fn, void *arg,
    struct journal **out);
void journal_close(struct journal *j); /* does not sync */

bool journal_damaged(const struct journal *j);
/* Opening it met a torn tail, or journal_cut was called. */
bool journal_torn(const struct journal *j);
size_t journal_damage_count(const struct journal *j);
const struct journal_damage *journal_damage_at(
    const struct journal *j, size_t i);

/*
 * Writes one frame (not yet durable); *lsn gets its LSN.  -EROFS, -EFBIG,
 * -ENOSPC (nothing was kept of the frame), -EIO.
 */
int journal_append(struct journal *j, const void *payload, size_t len,
    int64_t time, uint64_t *lsn);
/* LSN behind the last frame */
uint64_t journal_end(const struct journal *j);
/* everything before it is durable */
uint64_t journal_durable(const struct journal *j);

/*
 * Group commit in two halves, so that the sync itself runs outside the owner's
 * lock: begin notes the end under the lock, run syncs (any thread, no lock),
 * done publishes under the lock.  One at a time.
 */
struct journal_sync {
	uint64_t end;
	struct os_file *file;
	bool new_segment; /* the directory wants a sync too */
};
void journal_sync_begin(struct journal *j, struct journal_sync *s);
int journal_sync_run(struct journal *j, struct journal_sync *s);
void journal_sync_done(
    struct journal *j, const struct journal_sync *s, int error);
int journal_sync(struct journal *j); /* all three */

/*
 * The next append begins a segment, and makes everything before it durable:
 * what the frames name has to be so by then.
 */
bool journal_switch_due(const struct journal *j);
/*
 * Up to here a good frame of those read so far says that the log was durable
 * when it was written.
 */
uint64_t journal_proven(const struct journal *j);
/*
 * Right after opening: cuts the log at LSN `at`, the beginning of a frame that
 * can have been acknowledged to nobody, since what it names is missing.  Frames
 * behind it go too.  -EINVAL: proven durable (J1), or something was appended
 * already.
 */
int journal_cut(struct journal *j, uint64_t at);

/* Reads frames [from, end) again; damage is passed over as in journal_open. */
int journal_read(
    struct journal *j, uint64_t from, journal_frame_fn *fn, void *arg);
/*
 * Checks every frame of the log: counts, and reports damage (-EBADMSG;
 * journal_damaged() is true then).  A torn tail is none.
 */
int journal_verify(struct journal *j, uint64_t *frames, uint64_t *bytes);

#endif
