/*
 * history -- drawing a history from a seed, its text, and making it smaller.
 *
 * The text is what a failing seed prints and what tests/sim/histories holds:
 *
 *	seed 7 replicas store,maildir shape chain
 *	1 deliver 0 12 5 9
 *	2 sync 0 1 0 3
 *	| 3 flag 1 4 4 4		while that sync runs
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[KINDS] = { "store", "mount", "maildir",
	"maildir-fs" };

/* How often each is drawn. */
static const struct {
	const char *name;
	unsigned weight;
} acts[ACTS] = {
	[ACT_DELIVER] = { "deliver", 24 },
	[ACT_AGAIN] = { "again", 3 },
	[ACT_FLAG] = { "flag", 16 },
	[ACT_KEYWORD] = { "keyword", 6 },
	[ACT_EXPUNGE] = { "expunge", 10 },
	[ACT_MOVE] = { "move", 7 },
	[ACT_COPY] = { "copy", 4 },
	[ACT_REWRITE] = { "rewrite", 2 },
	[ACT_DATE] = { "date", 1 },
	[ACT_RESTORE] = { "restore", 3 },
	[ACT_BOX_NEW] = { "mkbox", 7 },
	[ACT_BOX_DIR] = { "mkdir", 1 },
	[ACT_BOX_RENAME] = { "mvbox", 5 },
	[ACT_BOX_DELETE] = { "rmbox", 2 },
	[ACT_BOX_AGAIN] = { "rebox", 1 },
	[ACT_SUBSCRIBE] = { "subscribe", 2 },
	[ACT_UNSUBSCRIBE] = { "unsubscribe", 2 },
	[ACT_FLUSH] = { "flush", 5 },
	[ACT_COMPACT] = { "compact", 2 },
	[ACT_REOPEN] = { "reopen", 2 },
	[ACT_KILL] = { "kill", 3 },
	[ACT_POWER] = { "power", 2 },
	[ACT_CUT_AT] = { "cut-at", 2 },
	[ACT_FAIL] = { "fail", 2 },
	[ACT_CLOCK] = { "clock", 2 },
	[ACT_SYNC] = { "sync", 26 },
	[ACT_SYNC_FULL] = { "sync-full", 3 },
	[ACT_SYNC_CHANGED] = { "sync-changed", 3 },
	[ACT_SYNC_BOX] = { "sync-box", 2 },
	[ACT_SYNC_ONE_WAY] = { "sync-one-way", 2 },
	[ACT_SYNC_DRY] = { "sync-dry", 2 },
};

uint32_t
draw(uint64_t *state, uint32_t below)
{
	/* splitmix64 */
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return ((uint32_t)((z ^ (z >> 31)) >> 32) % below);
}

static bool
is_sync(enum act a)
{
	return (a >= ACT_SYNC);
}

static enum act
draw_act(uint64_t *s, bool inner)
{
	unsigned sum = 0, at;

	for (int i = 0; i < ACTS; i++)
		sum += acts[i].weight;
	for (;;) {
		at = draw(s, sum);
		for (int i = 0; i < ACTS; i++) {
			if (at < acts[i].weight) {
				/* A sync is not run within another one, nor is
				 * a replica closed under it. */
				if (!inner || i < ACT_REOPEN ||
				    i == ACT_CUT_AT || i == ACT_FAIL)
					return ((enum act)i);
				break;
			}
			at -= acts[i].weight;
		}
	}
}

/* Half of them are as they mostly are in life: two stores, no disasters. */
static enum kind
draw_kind(uint64_t *s, bool plain)
{
	uint32_t n = draw(s, 20);

	if (plain || n < 11)
		return (KIND_STORE);
	return (n < 14 ? KIND_MOUNT : n < 18 ? KIND_MAILDIR : KIND_MAILDIR_FS);
}

void
history_make(struct history *h, uint64_t seed)
{
	uint64_t s = seed * 2654435761u + 12345;
	bool plain, calm;
	size_t want;

	memset(h, 0, sizeof(*h));
	h->seed = seed;
	h->replicas = 2 + (draw(&s, 2) == 0 ? draw(&s, REPLICAS - 1) : 0);
	h->star = draw(&s, 2) == 0;
	h->foreign = h->replicas == 2 && draw(&s, 4) == 0;
	h->sink = !h->foreign && draw(&s, 5) == 0;
	plain = draw(&s, 2) == 0;
	calm = draw(&s, 2) == 0;
	for (unsigned i = 0; i < h->replicas; i++)
		h->kind[i] = draw_kind(&s, plain);
	want = 8 + draw(&s, draw(&s, 3) == 0 ? 120 : 40);
	for (unsigned left = 0; h->n < want; h->n++) {
		struct step *p = &h->step[h->n];

		p->inner = left > 0;
		if (left > 0)
			left--;
		do
			p->act = draw_act(&s, p->inner);
		while (calm && p->act >= ACT_KILL && p->act <= ACT_FAIL);
		p->id = (unsigned)h->n + 1;
		p->who = (uint8_t)draw(&s, h->replicas);
		for (int i = 0; i < 3; i++)
			p->r[i] = draw(&s, 1000);
		/* Most syncs go through undisturbed. */
		if (is_sync(p->act) && (calm || draw(&s, 3) != 0))
			p->r[1] = 0;
		if (is_sync(p->act) && draw(&s, 4) == 0)
			left = draw(&s, 5);
	}
}

/* ---- text ---- */

void
history_print(const struct history *h, FILE *to)
{
	fprintf(to, "seed %llu replicas ", (unsigned long long)h->seed);
	for (unsigned i = 0; i < h->replicas; i++)
		fprintf(to, "%s%s", i == 0 ? "" : ",", kinds[h->kind[i]]);
	fprintf(to, " shape %s%s%s\n", h->star ? "star" : "chain",
	    h->sink ? " sink" : "", h->foreign ? " foreign" : "");
	for (size_t i = 0; i < h->n; i++) {
		const struct step *p = &h->step[i];

		fprintf(to, "%s%u %s %u %u %u %u\n", p->inner ? "| " : "",
		    p->id, acts[p->act].name, p->who, p->r[0], p->r[1],
		    p->r[2]);
	}
}

static int
read_kinds(struct history *h, char *list)
{
	char *save = NULL;

	for (char *k = strtok_r(list, ",", &save); k != NULL;
	     k = strtok_r(NULL, ",", &save)) {
		int i;

		for (i = 0; i < KINDS && strcmp(k, kinds[i]) != 0; i++)
			;
		if (i == KINDS || h->replicas == REPLICAS)
			return (-EINVAL);
		h->kind[h->replicas++] = (enum kind)i;
	}
	return (h->replicas >= 2 ? 0 : -EINVAL);
}

static int
read_head(struct history *h, const char *line)
{
	char list[128], shape[16], more[2][16] = { "", "" };
	unsigned long long seed;

	if (sscanf(line, "seed %llu replicas %127s shape %15s %15s %15s", &seed,
		list, shape, more[0], more[1]) < 3)
		return (-EINVAL);
	h->seed = seed;
	h->star = strcmp(shape, "star") == 0;
	for (int i = 0; i < 2; i++) {
		h->sink |= strcmp(more[i], "sink") == 0;
		h->foreign |= strcmp(more[i], "foreign") == 0;
	}
	return (read_kinds(h, list));
}

static int
read_step(struct history *h, const char *line)
{
	struct step *p = &h->step[h->n];
	char name[32];
	unsigned who;

	if (h->n == STEPS)
		return (-EINVAL);
	p->inner = line[0] == '|';
	if (p->inner)
		line++;
	if (sscanf(line, "%u %31s %u %u %u %u", &p->id, name, &who, &p->r[0],
		&p->r[1], &p->r[2]) != 6)
		return (-EINVAL);
	p->who = (uint8_t)who;
	for (int i = 0; i < ACTS; i++)
		if (strcmp(acts[i].name, name) == 0) {
			p->act = (enum act)i;
			h->n++;
			return (0);
		}
	return (-EINVAL);
}

int
history_read(struct history *h, FILE *from)
{
	char line[512];
	int rc = 0;

	memset(h, 0, sizeof(*h));
	while (rc == 0 && fgets(line, sizeof(line), from) != NULL) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		rc = h->replicas == 0 ? read_head(h, line) : read_step(h, line);
		if (rc != 0)
			fprintf(stderr, "not a line of a history: %s", line);
	}
	if (rc == 0 && h->replicas == 0) {
		fprintf(stderr, "no history\n");
		rc = -EINVAL;
	}
	return (rc);
}

/* ---- making it smaller ---- */

static void
without(const struct history *h, size_t from, size_t n, struct history *out)
{
	*out = *h;
	memmove(&out->step[from], &h->step[from + n],
	    (h->n - from - n) * sizeof(h->step[0]));
	out->n = h->n - n;
	/* What ran within a sync that is gone runs by itself. */
	for (size_t i = 0; i < out->n; i++)
		if (out->step[i].inner &&
		    (i == 0 ||
			(!out->step[i - 1].inner &&
			    !is_sync(out->step[i - 1].act))))
			out->step[i].inner = false;
}

static bool
shrink_steps(struct history *h, bool (*fails)(const struct history *h))
{
	struct history *t = malloc(sizeof(*t));
	bool any = false;

	if (t == NULL)
		return (false);
	for (size_t n = h->n / 2; n > 0; n /= 2)
		for (size_t from = h->n; from > 0;) {
			size_t k = from < n ? from : n;

			from -= k;
			without(h, from, k, t);
			if (fails(t)) {
				*h = *t;
				any = true;
				if (from > h->n)
					from = h->n;
			}
		}
	free(t);
	return (any);
}

/* Undisturbed syncs, plain kinds, fewer replicas. */
static bool
shrink_rest(struct history *h, bool (*fails)(const struct history *h))
{
	struct history *t = malloc(sizeof(*t));
	bool any = false;

	if (t == NULL)
		return (false);
	for (size_t i = 0; i < h->n; i++)
		for (int k = 0; k < 2; k++) {
			*t = *h;
			if (k == 0 && is_sync(h->step[i].act))
				t->step[i].r[1] = 0;
			else if (k == 1 && h->step[i].inner)
				t->step[i].inner = false;
			if (memcmp(t, h, sizeof(*t)) != 0 && fails(t)) {
				*h = *t;
				any = true;
			}
		}
	for (unsigned i = 0; i < h->replicas; i++) {
		*t = *h;
		t->kind[i] = KIND_STORE;
		if (h->kind[i] != KIND_STORE && fails(t)) {
			*h = *t;
			any = true;
		}
	}
	*t = *h;
	t->replicas--;
	if (h->replicas > 2 && fails(t)) {
		*h = *t;
		any = true;
	}
	free(t);
	return (any);
}

void
history_shrink(struct history *h, bool (*fails)(const struct history *h))
{
	for (int i = 0; i < 6; i++) {
		bool a = shrink_steps(h, fails), b = shrink_rest(h, fails);

		if (!a && !b)
			return;
	}
}
