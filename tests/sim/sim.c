/*
 * sim -- runs histories: a range of seeds, or files that failing seeds printed.
 *
 *	sim [-v] [-j PROCESSES] FIRST COUNT
 *	sim -k FIRST COUNT		goes on: a line for each seed that fails
 *	sim [-v] FILE...
 *
 * A seed that fails is made as small as it goes, printed, and ends the run
 * with status 1.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool verbose;

/* What the processes of a run tell their parent. */
struct shared {
	struct tally tally;
	uint64_t at; /* the seed that runs */
	char why[1024];
};

static struct shared *
share(void)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED) {
		perror("sim");
		exit(2);
	}
	return (s);
}

/* ---- one history in a process of its own: it may crash ---- */

static bool
run_apart(const struct history *h, bool talk, char *why, size_t n)
{
	struct shared *s = share();
	int status = 0;
	pid_t pid = fork();
	bool good;

	if (pid == 0) {
		const char *text;

		alarm(60);
		good = history_run(h, talk, &s->tally, &text);
		(void)snprintf(s->why, sizeof(s->why), "%s", text);
		_exit(good ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("sim");
		exit(2);
	}
	good = status == 0;
	if (WIFSIGNALED(status))
		(void)snprintf(why, n, "killed by signal %d", WTERMSIG(status));
	else
		(void)snprintf(why, n, "%s", s->why);
	munmap(s, sizeof(*s));
	return (good);
}

/* A crash is another failure than a broken promise. */
static char kind_of_failure[256];

static void
failure_kind(const char *why, char out[256])
{
	const char *text = strchr(why, ':');
	size_t n = 0;

	/* Which step and which message it is changes while it shrinks. */
	for (text = text == NULL ? why : text; *text != '\0' && n < 255; text++)
		if (*text < '0' || *text > '9')
			out[n++] = *text;
	out[n] = '\0';
}

static bool
fails_alike(const struct history *h)
{
	char why[1024], kind[256];

	if (run_apart(h, false, why, sizeof(why)))
		return (false);
	failure_kind(why, kind);
	/* The first words say what was promised. */
	return (strncmp(kind, kind_of_failure, 12) == 0);
}

static void
report(struct history *h, bool shrink)
{
	char why[1024];

	if (run_apart(h, false, why, sizeof(why))) {
		printf("seed %llu fails only after others: a history must not "
		       "depend on what ran before\n",
		    (unsigned long long)h->seed);
		return;
	}
	failure_kind(why, kind_of_failure);
	printf("seed %llu: %s\n", (unsigned long long)h->seed, why);
	if (shrink) {
		fflush(stdout);
		history_shrink(h, fails_alike);
		(void)run_apart(h, verbose, why, sizeof(why));
	}
	printf("# %s\n", why);
	history_print(h, stdout);
	fflush(stdout);
}

/* ---- many ---- */

static int
run_range(struct shared *s, uint64_t first, uint64_t count, uint64_t stride)
{
	struct history *h = malloc(sizeof(*h));
	const char *why;

	if (h == NULL)
		return (2);
	for (uint64_t i = 0; i < count; i += stride) {
		s->at = first + i;
		history_make(h, s->at);
		alarm(120);
		if (!history_run(h, false, &s->tally, &why))
			return (1);
	}
	free(h);
	return (0);
}

static void
add(struct tally *to, const struct tally *t)
{
	to->histories += t->histories;
	to->steps += t->steps;
	to->syncs += t->syncs;
	to->cut += t->cut;
	to->killed += t->killed;
	to->power += t->power;
	to->failed += t->failed;
	to->rounds += t->rounds;
}

static int
run_seeds(uint64_t first, uint64_t count, unsigned processes)
{
	struct shared *s[64];
	struct tally all = { 0 };
	struct history *h = malloc(sizeof(*h));
	pid_t pid[64];
	int bad = 0;

	for (unsigned i = 0; i < processes; i++) {
		s[i] = share();
		pid[i] = fork();
		if (pid[i] == 0)
			_exit(run_range(s[i], first + i,
			    count > i ? count - i : 0, processes));
	}
	for (unsigned i = 0; i < processes; i++) {
		int status;

		if (pid[i] < 0 || waitpid(pid[i], &status, 0) != pid[i]) {
			perror("sim");
			exit(2);
		}
		add(&all, &s[i]->tally);
		if (status == 0 || h == NULL)
			continue;
		bad++;
		history_make(h, s[i]->at);
		report(h, true);
	}
	free(h);
	printf("%llu histories, %llu steps, %llu syncs (%llu cut, %llu times a "
	       "process killed), %llu power cuts, %llu disk errors\n",
	    (unsigned long long)all.histories, (unsigned long long)all.steps,
	    (unsigned long long)all.syncs, (unsigned long long)all.cut,
	    (unsigned long long)all.killed, (unsigned long long)all.power,
	    (unsigned long long)all.failed);
	return (bad == 0 ? 0 : 1);
}

static int
list_failures(uint64_t first, uint64_t count)
{
	struct history *h = malloc(sizeof(*h));
	char why[1024];
	uint64_t bad = 0;

	for (uint64_t i = 0; h != NULL && i < count; i++) {
		history_make(h, first + i);
		if (run_apart(h, false, why, sizeof(why)))
			continue;
		printf("%llu %s\n", (unsigned long long)(first + i), why);
		bad++;
	}
	free(h);
	printf("%llu of %llu histories failed\n", (unsigned long long)bad,
	    (unsigned long long)count);
	return (bad == 0 ? 0 : 1);
}

static int
run_file(const char *path)
{
	struct history *h = malloc(sizeof(*h));
	FILE *f = fopen(path, "r");
	char why[1024];
	int rc = 1;

	if (f == NULL || h == NULL)
		perror(path);
	else if (history_read(h, f) == 0) {
		rc = run_apart(h, verbose, why, sizeof(why)) ? 0 : 1;
		printf("%s: %s\n", path, rc == 0 ? "ok" : why);
	}
	if (f != NULL)
		fclose(f);
	free(h);
	return (rc);
}

int
main(int argc, char **argv)
{
	unsigned processes = 2;
	bool go_on = false;
	int c, rc = 0;

	while ((c = getopt(argc, argv, "vkj:")) != -1) {
		if (c == 'v')
			verbose = true;
		else if (c == 'k')
			go_on = true;
		else if (c == 'j')
			processes = (unsigned)atoi(optarg);
		else
			return (64);
	}
	if (processes == 0 || processes > 64 || optind == argc) {
		fprintf(stderr, "usage: sim [-v] [-j N] FIRST COUNT | FILE\n");
		return (64);
	}
	if (argc - optind == 2 &&
	    strspn(argv[optind], "0123456789") == strlen(argv[optind]))
		return (go_on
			? list_failures(strtoull(argv[optind], NULL, 10),
			      strtoull(argv[optind + 1], NULL, 10))
			: run_seeds(strtoull(argv[optind], NULL, 10),
			      strtoull(argv[optind + 1], NULL, 10), processes));
	for (; optind < argc; optind++)
		rc |= run_file(argv[optind]);
	return (rc);
}
