/*
 * watch -- whether something has changed in directories: inotify wakes up who
 * waits, names and sizes say whether it was for something.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "cmd/cmd_internal.h"

#define EVENTS (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

int
watch_open(const struct driver *d, const struct location *l)
{
	struct arena a = ARENA_INIT;
	const char *const *dirs = d->watched(&a, l);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	/* Without it, who waits looks now and then all the same. */
	for (; fd >= 0 && dirs != NULL && *dirs != NULL; dirs++)
		(void)inotify_add_watch(fd, *dirs, EVENTS | IN_ONLYDIR);
	arena_fini(&a);
	return (fd);
}

bool
watch_drain(int fd)
{
	char buf[4096] __attribute__((aligned(8)));
	bool any = false;

	while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0)
		any = true;
	return (any);
}

/* The sum does not depend on the order in which names are given. */
static uint64_t
mark_of(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t sum = 0;
	struct dirent *e;
	struct stat st;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			0 &&
		    S_ISREG(st.st_mode))
			sum += XXH3_64bits_withSeed(e->d_name,
			    strlen(e->d_name), (uint64_t)st.st_size);
	if (d != NULL)
		(void)closedir(d);
	return (sum);
}

uint64_t
watch_mark(const struct driver *d, const struct location *l)
{
	struct arena a = ARENA_INIT;
	const char *const *dirs = d->watched(&a, l);
	uint64_t mark = 0;

	for (; dirs != NULL && *dirs != NULL; dirs++)
		mark += mark_of(*dirs);
	arena_fini(&a);
	return (mark);
}
