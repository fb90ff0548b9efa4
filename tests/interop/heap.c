/*
 * heap -- preloaded into a real program: each 50 ms it writes into the file
 * $TEST_HEAP how many bytes the program has allocated and not freed, in small
 * pieces and in large ones (two little-endian uint64).
 *
 * What is resident also has what the allocator keeps for later; this is what
 * the program itself still holds.  Chunks in a thread's cache count as held,
 * and what is large changes with time, so it is run with GLIBC_TUNABLES=
 * glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=131072.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int file = -1;

static void *
tell(void *arg)
{
	const struct timespec moment = { .tv_nsec = 50000000 };

	(void)arg;
	for (;;) {
		struct mallinfo2 m = mallinfo2();
		const uint64_t held[2] = { m.uordblks, m.hblkhd };

		(void)!pwrite(file, held, sizeof(held), 0);
		(void)nanosleep(&moment, NULL);
	}
	return (NULL);
}

__attribute__((constructor)) static void
heap_init(void)
{
	const char *path = getenv("TEST_HEAP");
	pthread_t thread;

	/* Not in what the program starts. */
	(void)unsetenv("TEST_HEAP");
	if (path == NULL ||
	    (file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return;
	(void)pthread_create(&thread, NULL, tell, NULL);
}
