/*
 * canary -- does what a sanitizer is to report: canary WHAT.
 */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shared;
static volatile int sink;

static void *
writes(void *arg)
{
	shared++;
	return (arg);
}

static void
race(void)
{
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, writes, NULL) != 0)
			exit(1);
	for (int i = 0; i < 2; i++)
		(void)pthread_join(t[i], NULL);
}

static void
overflow(int n)
{
	sink = INT_MAX;
	sink = sink + n;
}

/* Out of line, so that nothing points to it any more. */
static void __attribute__((noinline)) leak(size_t n)
{
	char *volatile p = malloc(n);

	if (p != NULL)
		memset(p, 1, n);
	p = NULL;
}

/* A compiler knows what malloc gives. */
static void *(*volatile from_heap)(size_t) = malloc;

static void
heap(size_t n)
{
	char *p = from_heap(n);

	if (p != NULL)
		sink = p[n];
	free(p);
}

static void
unset(size_t n)
{
	char *p = from_heap(n);

	if (p != NULL && p[n - 1] == 1)
		(void)puts("one");
	free(p);
}

int
main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	if (strcmp(what, "race") == 0)
		race();
	else if (strcmp(what, "overflow") == 0)
		overflow(argc);
	else if (strcmp(what, "leak") == 0)
		leak((size_t)argc * 1000);
	else if (strcmp(what, "heap") == 0)
		heap((size_t)argc * 10);
	else if (strcmp(what, "unset") == 0)
		unset((size_t)argc * 10);
	else if (strcmp(what, "nothing") != 0)
		return (64);
	return (0);
}
