/*
 * journal_internal -- the log's bytes, and what scanning and writing share.
 *
 * Segment: magic "DSFSLOG" and version byte 1, store id (16), LSN of the first
 * frame (le64), XXH3-64 of the 32 bytes before it (le64).
 *
 * Frame: magic "DFR1" (le32), payload length (le32), LSN (le64), LSN up to
 * which the log was durable when the frame was written (le64), time (le64,
 * signed), XXH3-64 (le64), payload.  The checksum is taken over the whole
 * frame with XXH3-64(store id) in its own place, so a frame of another store
 * is a bad frame.
 */
#ifndef DSYNCFS_JOURNAL_JOURNAL_INTERNAL_H
#define DSYNCFS_JOURNAL_JOURNAL_INTERNAL_H

#include "journal/journal.h"

#define SEGMENT_MAGIC "DSFSLOG"
#define SEGMENT_VERSION 1
#define SEGMENT_HEADER 40u
#define FRAME_MAGIC 0x31524644u /* "DFR1" */
#define FRAME_HEADER 40u
#define FRAME_HASH_AT 32u
#define SEGMENT_NAME_LEN 20 /* 16 hex digits, ".log" */
#define JOURNAL_FIRST_LSN 1
#define JOURNAL_PATH_BYTES 512
#define JOURNAL_DAMAGES_MAX 1024 /* more are met, but no longer listed */
/* No segment holds more behind its header. */
#define SEGMENT_MAX (JOURNAL_SEGMENT_BYTES + FRAME_HEADER + JOURNAL_FRAME_MAX)

struct segment {
	uint64_t first; /* LSN of its first frame */
};

struct journal {
	struct os *os; /* borrowed */
	char *dir; /* owned */
	struct guid id;
	uint64_t seed; /* XXH3-64 of id */
	bool readonly, poisoned, torn;
	struct segment *segment; /* owned, ascending */
	size_t segments, segments_cap;
	/* owned: the newest segment; NULL when readonly */
	struct os_file *file;
	/* owned: older ones that a sync may still use */
	struct os_file **retired;
	size_t n_retired;
	bool syncing;
	uint64_t end, durable;
	/* greatest durable LSN that a good frame named */
	uint64_t proven;
	uint64_t opened; /* end when it was opened */
	struct journal_damage *damage; /* owned; its file strings too */
	size_t damages;
};

void journal_segment_path(
    const struct journal *j, uint64_t first, char out[JOURNAL_PATH_BYTES]);
/* Checksum of a frame in memory, header and payload. */
uint64_t journal_frame_hash(
    const struct journal *j, const uint8_t *frame, size_t len);

/* What journal_scan found at the end. */
struct scan_end {
	uint64_t end; /* LSN behind the last good frame */
	size_t segment; /* index of the segment it is in */
	bool torn; /* bytes behind it belong to no frame */
	/* the newest segment's header is torn */
	bool bad_header;
	uint64_t torn_bytes;
	bool damaged; /* damage was met, noted or not */
};
/*
 * Checks frames from LSN `from` (0: the first) to the log's end, hands the
 * good ones to fn.  note: damage is reported and kept in j->damage.
 */
int journal_scan(struct journal *j, uint64_t from, bool note,
    journal_frame_fn *fn, void *arg, struct scan_end *end);

#endif
