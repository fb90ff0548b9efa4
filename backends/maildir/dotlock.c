/*
 * dotlock -- lock files as Dovecot makes them: made exclusively, "<pid>:<host>"
 * inside, touched while held.
 *
 * A lock is stale when its process is dead (on this host) or when nobody
 * touched it for two minutes.  To break it, it is first renamed to a name of
 * our own: of several that break the same lock one wins, and whoever finds that
 * he took a fresh lock gives it back.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/log.h"

#define TOUCH_MS 10000u
#define POLL_MS 50u
#define OWNER_MAX 320

static void
who_am_i(char *out, size_t n)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(out, n, "%ld:%s", (long)getpid(), host);
}

/* The lock names a process of this host that is no more. */
static bool
owner_dead(struct os *os, const char *path)
{
	char host[256] = "", *p = NULL, *colon;
	bool dead = false;
	size_t n;
	long pid;

	if (os_read_file(os, path, OWNER_MAX, &p, &n) != 0)
		return (false);
	(void)gethostname(host, sizeof(host) - 1);
	p[strcspn(p, "\n")] = 0;
	colon = strchr(p, ':');
	if (colon != NULL && strcmp(colon + 1, host) == 0) {
		pid = strtol(p, NULL, 10);
		dead = pid > 1 && pid <= INT_MAX && kill((pid_t)pid, 0) != 0 &&
		    errno == ESRCH;
	}
	free(p);
	return (dead);
}

static bool
is_stale(struct os *os, const char *path, const struct os_stat *st)
{
	int64_t sec, touched = st->mtime > st->ctime ? st->mtime : st->ctime;
	uint32_t nsec;

	os->ops->now(os, &sec, &nsec);
	/* From the future: the clock was set back since it was made. */
	return (sec - touched > DOTLOCK_STALE ||
	    touched - sec > DOTLOCK_STALE || owner_dead(os, path));
}

/* 0: it is out of the way, or changed meanwhile. */
static int
break_lock(struct os *os, const char *path, const struct os_stat *st)
{
	struct arena a = ARENA_INIT;
	struct os_stat now;
	char *aside, hex[17];
	uint8_t r[8];
	int rc;

	if ((rc = os->ops->random(os, r, sizeof(r))) != 0)
		return (rc);
	hex_encode(r, sizeof(r), hex);
	if ((aside = arena_printf(&a, "%s.stale-%s", path, hex)) == NULL)
		rc = -ENOMEM;
	else
		rc = os->ops->rename(os, path, aside);
	if (rc == 0 && os->ops->stat(os, aside, &now) == 0 &&
	    now.ino != st->ino) {
		(void)os->ops->rename_excl(os, aside, path);
	} else if (rc == 0) {
		log_warning("%s/%s: left behind by a program that is gone or "
			    "hangs; the lock was taken over",
		    os->ops->label(os), path);
		rc = os->ops->unlink(os, aside);
	}
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

/*
 * Under a name of its own first: a lock that we are killed in the middle of
 * making must not look like one that nobody owns.
 */
static int
write_aside(struct os *os, const char *aside, const void *content, size_t n,
    bool durable, struct os_stat *st)
{
	struct os_file *f;
	int rc;

	/*
	 * One that an earlier run left is used again: the sidecar's lock lets
	 * one of us in here at a time.
	 */
	if ((rc = os->ops->unlink(os, aside)) != 0 && rc != -ENOENT)
		return (rc);
	if ((rc = os->ops->open(
		 os, aside, OS_WRITE | OS_CREATE | OS_EXCL, &f)) != 0)
		return (rc);
	rc = os->ops->pwrite(f, content, n, 0);
	if (rc == 0 && durable)
		rc = os->ops->sync(f);
	if (rc == 0)
		rc = os->ops->fstat(f, st);
	os->ops->close(f);
	return (rc);
}

static int
make_lock(struct dotlock *d, struct os *os, const char *path,
    const void *content, size_t n)
{
	struct arena a = ARENA_INIT;
	struct os_stat st = { 0 };
	/* it is going to be the file itself: dotlock_replace */
	bool durable = content != NULL;
	char me[OWNER_MAX], *aside;
	int rc;

	if (content == NULL) {
		who_am_i(me, sizeof(me));
		content = me;
		n = strlen(me);
	}
	if (os->ops->stat(os, path, &st) == 0)
		return (-EEXIST);
	aside = arena_printf(&a, "%s.dsyncfs", path);
	if (aside == NULL || (d->path = strdup(path)) == NULL)
		rc = -ENOMEM;
	else if ((rc = write_aside(os, aside, content, n, durable, &st)) == 0)
		rc = os->ops->rename_excl(os, aside, path);
	if (rc != 0) {
		if (aside != NULL)
			(void)os->ops->unlink(os, aside);
		free(d->path);
		d->path = NULL;
	} else {
		d->os = os;
		d->ino = st.ino;
		d->touched = os->ops->mono_ms(os);
	}
	arena_fini(&a);
	return (rc);
}

int
dotlock_take(struct dotlock *d, struct os *os, const char *path,
    unsigned wait_ms, const void *content, size_t n)
{
	const struct timespec pause = { 0, (long)POLL_MS * 1000000 };
	struct os_stat st;
	int rc;

	/*
	 * Tries are counted, not time: a clock that stands still must not hold
	 * us here.
	 */
	for (unsigned left = wait_ms / POLL_MS + 1;; left--) {
		if ((rc = make_lock(d, os, path, content, n)) != -EEXIST)
			break;
		if ((rc = os->ops->stat(os, path, &st)) == 0 &&
		    st.type == OS_FILE && is_stale(os, path, &st)) {
			if ((rc = break_lock(os, path, &st)) != 0)
				break;
			if (left > 0)
				continue;
		}
		if (rc != 0 && rc != -ENOENT)
			break;
		if (left == 0) {
			log_error("%s/%s: another program holds this lock; try "
				  "again when it is done",
			    os->ops->label(os), path);
			return (-EAGAIN);
		}
		(void)nanosleep(&pause, NULL);
	}
	if (rc != 0 && rc != -EROFS && rc != -EACCES && rc != -EPERM)
		return (md_fail(os, path, "made", rc));
	return (rc);
}

void
dotlock_touch(struct dotlock *d)
{
	uint64_t now;
	int64_t sec;
	uint32_t nsec;

	if (d->path == NULL ||
	    (now = d->os->ops->mono_ms(d->os)) - d->touched < TOUCH_MS)
		return;
	d->os->ops->now(d->os, &sec, &nsec);
	/* When this fails the lock only looks older than it is. */
	(void)d->os->ops->utimes(d->os, d->path, sec, nsec);
	d->touched = now;
}

static bool
still_ours(const struct dotlock *d)
{
	struct os_stat st;

	return (d->os->ops->stat(d->os, d->path, &st) == 0 && st.ino == d->ino);
}

void
dotlock_release(struct dotlock *d)
{
	int rc;

	if (d->path == NULL)
		return;
	if (!still_ours(d))
		log_warning(
		    "%s/%s: another program broke the lock while we held it",
		    d->os->ops->label(d->os), d->path);
	else if ((rc = d->os->ops->unlink(d->os, d->path)) != 0)
		(void)md_fail(d->os, d->path, "removed", rc);
	free(d->path);
	d->path = NULL;
}

int
dotlock_replace(struct dotlock *d, const char *path)
{
	int rc;

	if (!still_ours(d)) {
		log_error("%s/%s: another program broke the lock while we held "
			  "it; run again",
		    d->os->ops->label(d->os), d->path);
		rc = -EAGAIN;
	} else if ((rc = d->os->ops->rename(d->os, d->path, path)) != 0) {
		(void)md_fail(d->os, path, "replaced", rc);
		(void)d->os->ops->unlink(d->os, d->path);
	}
	free(d->path);
	d->path = NULL;
	return (rc);
}
