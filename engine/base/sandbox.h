/*
 * sandbox -- how a process gives up what it does not need to read a peer's
 * bytes.  The real one is backends/sandbox.c.
 */
#ifndef DSYNCFS_BASE_SANDBOX_H
#define DSYNCFS_BASE_SANDBOX_H

enum {
	/*
	 * A program that was started before is still to be told to end, by a
	 * signal.
	 */
	SANDBOX_SIGNALS = 1,
	/*
	 * It is a file system for programs: also modes, owners, attributes,
	 * and files of other kinds, in its trees.
	 */
	SANDBOX_MOUNT = 2
};

struct sandbox {
	/*
	 * No other process of this user may look into this one, and it leaves
	 * no core dump.  Idempotent.
	 */
	void (*hide)(void);
	/*
	 * For good, for all threads and what they start: no file but those in
	 * the trees that are open (struct os) and those that are open
	 * themselves; no program, process, socket or rights that there are not
	 * yet.  Before it there may be no thread but the caller's.  Of what the
	 * kernel does not have, nothing is said but with debugging on; -errno
	 * reported: it has it, and would not.  Not idempotent.
	 */
	int (*close)(unsigned flags);
};

#endif
