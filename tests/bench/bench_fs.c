/*
 * bench_fs -- the hands of bench_fs.sh: fills a Maildir, works on it block by
 * block as mail programs do and tells how long that took, compares two.
 *
 *	bench_fs fill MAILDIR MESSAGES
 *	bench_fs time [-p CPU] OPERATION MAILDIR [BLOCK COUNT]
 *	bench_fs same MAILDIR MAILDIR
 *
 * fill writes into cur.  Message n is the same wherever it is made: its size is
 * drawn so that the median is 6.3 KiB, one in ten is over 31 KiB and one in a
 * hundred over 150 KiB; its text packs about as mail does.
 *
 * time prints seconds and how often it did it.  What reads (the listing is part
 * of it, files are taken by inode number):
 *	list	readdir of cur
 *	stat	and stat of each
 *	heads	and open, fstat, read of 4 KiB, close of each
 *	whole	the same, read to the end
 * What changes, COUNT messages of BLOCK, which has names and texts of its own:
 *	deliver	write into tmp, rename to new
 *	link	write into tmp, link to new, unlink in tmp
 *	fsync	as deliver, with fsync of the file
 *	fsync2	and of new
 *	cur	rename from new to cur, of what deliver made
 *	flag	rename within cur, of what cur moved
 *	unlink	of what flag named
 * -p: on that CPU.
 *
 * same wants the same mail in both: names without flags and contents.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define HEAD 4096
#define SIZE_MIN 600u
#define SIZE_MAX_MAIL (4u << 20)
#define WORDS 6000u
#define FIRST_CHANGED 1000000000ul /* numbers of what blocks deliver */
#define BLOCK 1000000ul

static void
die(const char *what)
{
	fprintf(stderr, "bench_fs: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *
need(void *p)
{
	if (p == NULL)
		die("memory");
	return (p);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

/* ---- message n ---- */

struct text {
	char *p; /* owned */
	size_t len, cap;
};

/* Scattered, the same on every machine. */
static uint64_t
scatter(uint64_t n)
{
	n = (n ^ (n >> 31)) * 0x7fb5d329728ea185u;
	n = (n ^ (n >> 27)) * 0x81dadef4bc2dd44du;
	return (n ^ (n >> 33));
}

static uint64_t
next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return (scatter(*state));
}

static double
unit(uint64_t *state)
{
	return (((double)(next(state) >> 11) + 0.5) / 9007199254740992.0);
}

/* The logarithm of the size over a normal variate, straight between points. */
static size_t
size_of(uint64_t *state)
{
	const double z =
	    sqrt(-2 * log(unit(state))) * cos(6.283185307179586 * unit(state));
	const double p90 = 1.2816, steep = 1.51, flat = 1.243;
	double size = 6.3 * 1024 *
	    exp(z < p90 ? z * flat : p90 * flat + (z - p90) * steep);

	if (size < SIZE_MIN)
		return (SIZE_MIN);
	return (size > SIZE_MAX_MAIL ? SIZE_MAX_MAIL : (size_t)size);
}

static void
room(struct text *t, size_t n)
{
	if (t->len + n <= t->cap)
		return;
	t->cap = (t->len + n) * 2;
	t->p = need(realloc(t->p, t->cap));
}

static void
put(struct text *t, const char *s, size_t n)
{
	room(t, n);
	memcpy(t->p + t->len, s, n);
	t->len += n;
}

static void __attribute__((format(printf, 2, 3)))
say(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	room(t, 1024);
	va_start(ap, format);
	n = vsnprintf(t->p + t->len, 1024, format, ap);
	va_end(ap);
	t->len += (size_t)n;
}

/* Common words are short and many. */
static size_t
word(uint64_t *state, char out[16])
{
	static const char *const part[] = { "an", "re", "ti", "on", "ver", "ma",
		"le", "sto", "in", "ter", "de", "ca", "mi", "ly", "pro", "un" };
	double u = unit(state);
	uint64_t r;
	unsigned rank = (unsigned)(u * u * u * WORDS);
	size_t n = 0;
	int k, parts = rank < 60 ? 1 : rank < 1000 ? 2 : 3;

	r = scatter(rank + 1);
	for (k = 0; k < parts; k++, r >>= 8) {
		const char *p = part[r % 16];

		memcpy(out + n, p, strlen(p));
		n += strlen(p);
	}
	if ((r & 3) == 0)
		out[n++] = (char)('a' + (r >> 2) % 26);
	return (n);
}

/* What an answer repeats of what stands above. */
static void
put_quote(struct text *t, uint64_t *state, size_t begin)
{
	size_t at, n = t->len - begin;
	char line[64];

	if (n < 2 * sizeof(line))
		return;
	at = begin + next(state) % (n - sizeof(line));
	memcpy(line, t->p + at, sizeof(line));
	put(t, "> ", 2);
	put(t, line, sizeof(line));
	put(t, "\n", 1);
}

static void
put_words(struct text *t, uint64_t *state, size_t end)
{
	size_t begin = t->len, line = t->len, n;
	char w[16];

	while (t->len + 1 < end) {
		n = word(state, w);
		put(t, w, n);
		if (t->len - line > 66) {
			put(t, "\n", 1);
			if (next(state) % 4 == 0)
				put_quote(t, state, begin);
			line = t->len;
		} else if (next(state) % 11 == 0)
			put(t, ", ", 2);
		else
			put(t, " ", 1);
	}
	put(t, "\n", 1);
}

/* What attachments are made of. */
static void
put_base64(struct text *t, uint64_t *state, size_t end)
{
	static const char digit[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char line[77];
	uint64_t r = 0;
	int i;

	while (t->len + sizeof(line) < end) {
		for (i = 0; i < 76; i++, r >>= 6) {
			if (i % 10 == 0)
				r = next(state);
			line[i] = digit[r & 63];
		}
		line[76] = '\n';
		put(t, line, sizeof(line));
	}
}

static void
put_head(struct text *t, uint64_t *state, unsigned long n)
{
	uint64_t r = next(state);
	char w[16];
	int i;

	say(t,
	    "Return-Path: <user%u@example.org>\n"
	    "Delivered-To: me@example.net\n"
	    "Received: from mx%u.example.org (mx%u.example.org [192.0.2.%u])\n"
	    "\tby mail.example.net (Postfix) with ESMTPS id %010" PRIX64 "\n"
	    "\tfor <me@example.net>; Tue, 14 Nov 2023 22:%02u:%02u +0000\n"
	    "Received: from [198.51.100.%u] by mx%u.example.org\n"
	    "\twith esmtpsa (TLS1.3:AES256-GCM-SHA384:256)\n",
	    (unsigned)(r % 500), (unsigned)(r % 7), (unsigned)(r % 7),
	    (unsigned)(r % 250), next(state) & 0xffffffffff, (unsigned)(r % 60),
	    (unsigned)(r / 60 % 60), (unsigned)(r % 251), (unsigned)(r % 7));
	say(t, "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=mail;\n");
	for (i = 0; i < 5; i++)
		say(t, "\t%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n",
		    next(state), next(state), next(state));
	say(t,
	    "From: User %u <user%u@example.org>\n"
	    "To: me@example.net\n"
	    "Subject:",
	    (unsigned)(r % 500), (unsigned)(r % 500));
	for (i = 0; i < 4; i++) {
		put(t, " ", 1);
		put(t, w, word(state, w));
	}
	say(t,
	    " %lu\n"
	    "Date: Tue, 14 Nov 2023 22:%02u:%02u +0000\n"
	    "Message-ID: <%016" PRIx64 ".%lu@example.org>\n"
	    "User-Agent: Mail %u.%u\n"
	    "MIME-Version: 1.0\n",
	    n, (unsigned)(r % 60), (unsigned)(r / 60 % 60), next(state), n,
	    (unsigned)(r % 9), (unsigned)(r % 30));
}

static void
text_of(struct text *t, unsigned long n)
{
	uint64_t state = scatter(n + 1);
	size_t size = size_of(&state);
	bool parts = size > 30000 && next(&state) % 2 != 0;

	t->len = 0;
	put_head(t, &state, n);
	if (!parts) {
		say(t, "Content-Type: text/plain; charset=utf-8\n\n");
		put_words(t, &state, size);
		return;
	}
	say(t,
	    "Content-Type: multipart/mixed; boundary=\"=-part\"\n\n"
	    "--=-part\nContent-Type: text/plain; charset=utf-8\n\n");
	put_words(t, &state, t->len + size / 6);
	say(t,
	    "--=-part\nContent-Type: application/octet-stream\n"
	    "Content-Transfer-Encoding: base64\n\n");
	put_base64(t, &state, size);
	say(t, "--=-part--\n");
}

static void
name_of(char out[96], unsigned long n)
{
	snprintf(out, 96, "%lu.M%luP%u.mail", 1700000000 + n % 100000, n,
	    (unsigned)(scatter(n) % 30000));
}

/* ---- fill ---- */

static void
enter(const char *maildir)
{
	if (chdir(maildir) != 0)
		die(maildir);
}

static void
make_dirs(const char *maildir)
{
	static const char *const sub[] = { "", "cur", "new", "tmp" };
	char path[PATH_MAX];

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", maildir, sub[i]);
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			die(path);
	}
}

static int
write_new(const char *path, const struct text *t)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, t->p, t->len) != (ssize_t)t->len)
		die(path);
	return (fd);
}

static void
fill(const char *maildir, unsigned long messages)
{
	struct text t = { NULL, 0, 0 };
	char name[96], path[128];

	make_dirs(maildir);
	enter(maildir);
	for (unsigned long n = 0; n < messages; n++) {
		uint64_t r = scatter(n + 77);

		text_of(&t, n);
		name_of(name, n);
		snprintf(path, sizeof(path), "cur/%s:2,%s%s%s", name,
		    r % 31 == 0 ? "F" : "", r % 11 == 0 ? "R" : "",
		    r % 10 < 7 ? "S" : "");
		if (close(write_new(path, &t)) != 0)
			die(path);
	}
	free(t.p);
}

/* ---- reading ---- */

struct file {
	uint64_t ino;
	char *name; /* owned */
};

struct files {
	struct file *v; /* owned */
	size_t n, cap;
};

static int
by_inode(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return ((x->ino > y->ino) - (x->ino < y->ino));
}

static void
add_file(struct files *f, const struct dirent *e)
{
	if (f->n == f->cap) {
		f->cap = f->cap * 2 + 1024;
		f->v = need(realloc(f->v, f->cap * sizeof(*f->v)));
	}
	f->v[f->n].ino = e->d_ino;
	f->v[f->n++].name = need(strdup(e->d_name));
}

/* Without what begins with a dot. */
static void
list(const char *path, struct files *f)
{
	struct dirent *e;
	DIR *d = opendir(path);

	if (d == NULL)
		die(path);
	while (errno = 0, (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			add_file(f, e);
	if (errno != 0)
		die(path);
	closedir(d);
}

static void
free_files(struct files *f)
{
	while (f->n > 0)
		free(f->v[--f->n].name);
	free(f->v);
}

static char buffer[1 << 20];

static void
read_one(int dir, const char *name, bool whole)
{
	struct stat st;
	ssize_t got;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0)
		die(name);
	do {
		got = read(fd, buffer, whole ? sizeof(buffer) : HEAD);
		if (got < 0)
			die(name);
	} while (whole && got > 0);
	close(fd);
}

static size_t
scan(const char *op)
{
	bool only_stat = strcmp(op, "stat") == 0;
	bool whole = strcmp(op, "whole") == 0;
	struct files f = { NULL, 0, 0 };
	struct stat st;
	size_t i, n;
	int dir;

	list("cur", &f);
	if (strcmp(op, "list") != 0) {
		if ((dir = open("cur", O_RDONLY | O_DIRECTORY)) < 0)
			die("cur");
		qsort(f.v, f.n, sizeof(*f.v), by_inode);
		for (i = 0; i < f.n; i++)
			if (!only_stat)
				read_one(dir, f.v[i].name, whole);
			else if (fstatat(dir, f.v[i].name, &st, 0) != 0)
				die(f.v[i].name);
		close(dir);
	}
	n = f.n;
	free_files(&f);
	return (n);
}

/* ---- changing ---- */

struct change {
	char name[96];
	struct text text;
};

enum { DELIVER_LINK = 1, DELIVER_FSYNC = 2, DELIVER_FSYNC_DIR = 4 };

static void
deliver_one(const struct change *c, unsigned how, int new)
{
	char from[128], to[128];
	int fd;

	snprintf(from, sizeof(from), "tmp/%s", c->name);
	snprintf(to, sizeof(to), "new/%s", c->name);
	fd = write_new(from, &c->text);
	if ((how & DELIVER_FSYNC) != 0 && fsync(fd) != 0)
		die(from);
	if (close(fd) != 0)
		die(from);
	if ((how & DELIVER_LINK) == 0) {
		if (rename(from, to) != 0)
			die(to);
	} else if (link(from, to) != 0 || unlink(from) != 0)
		die(to);
	if ((how & DELIVER_FSYNC_DIR) != 0 && fsync(new) != 0)
		die("new");
}

static void
move_one(const struct change *c, const char *from, const char *end,
    const char *to_end)
{
	char a[128], b[128];

	snprintf(a, sizeof(a), "%s/%s%s", from, c->name, end);
	snprintf(b, sizeof(b), "cur/%s%s", c->name, to_end);
	if (rename(a, b) != 0)
		die(a);
}

static void
unlink_one(const struct change *c)
{
	char path[128];

	snprintf(path, sizeof(path), "cur/%s:2,S", c->name);
	if (unlink(path) != 0)
		die(path);
}

static double
do_changes(const char *op, const struct change *c, size_t n)
{
	static const struct {
		const char *op;
		unsigned how;
	} deliveries[] = { { "deliver", 0 }, { "link", DELIVER_LINK },
		{ "fsync", DELIVER_FSYNC },
		{ "fsync2", DELIVER_FSYNC | DELIVER_FSYNC_DIR } };
	int new = open("new", O_RDONLY | O_DIRECTORY);
	double t = seconds();
	size_t i, k;

	if (new < 0)
		die("new");
	for (k = 0; k < 4; k++)
		for (i = 0; i < n && strcmp(op, deliveries[k].op) == 0; i++)
			deliver_one(&c[i], deliveries[k].how, new);
	for (i = 0; i < n && strcmp(op, "cur") == 0; i++)
		move_one(&c[i], "new", "", ":2,");
	for (i = 0; i < n && strcmp(op, "flag") == 0; i++)
		move_one(&c[i], "cur", ":2,", ":2,S");
	for (i = 0; i < n && strcmp(op, "unlink") == 0; i++)
		unlink_one(&c[i]);
	t = seconds() - t;
	close(new);
	return (t);
}

/* Texts are made, and what was written before is on its way, when it begins. */
static double
change(const char *op, unsigned long block, size_t n)
{
	struct change *c = need(calloc(n, sizeof(*c)));
	double t;
	size_t i;

	for (i = 0; i < n; i++) {
		unsigned long k = FIRST_CHANGED + block * BLOCK + i;

		name_of(c[i].name, k);
		text_of(&c[i].text, k);
	}
	sync();
	t = do_changes(op, c, n);
	for (i = 0; i < n; i++)
		free(c[i].text.p);
	free(c);
	return (t);
}

/* ---- same ---- */

struct mail {
	char *name; /* owned */
	XXH128_hash_t hash;
};

static int
by_name(const void *a, const void *b)
{
	const struct mail *x = a, *y = b;

	return (strcmp(x->name, y->name));
}

static XXH128_hash_t
hash_of(int dir, const char *name)
{
	XXH3_state_t *state = need(XXH3_createState());
	XXH128_hash_t hash;
	ssize_t got;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(name);
	XXH3_128bits_reset(state);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		XXH3_128bits_update(state, buffer, (size_t)got);
	if (got < 0)
		die(name);
	close(fd);
	hash = XXH3_128bits_digest(state);
	XXH3_freeState(state);
	return (hash);
}

static struct mail *
mail_in(const char *maildir, size_t *n)
{
	struct mail *m = NULL;
	size_t i;

	*n = 0;
	for (int k = 0; k < 2; k++) {
		struct files f = { NULL, 0, 0 };
		char path[PATH_MAX];
		int dir;

		snprintf(path, sizeof(path), "%s/%s", maildir,
		    k == 0 ? "cur" : "new");
		list(path, &f);
		dir = open(path, O_RDONLY | O_DIRECTORY);
		m = need(realloc(m, (*n + f.n + 1) * sizeof(*m)));
		for (i = 0; i < f.n; i++, (*n)++) {
			m[*n].hash = hash_of(dir, f.v[i].name);
			m[*n].name = need(strdup(f.v[i].name));
			m[*n].name[strcspn(m[*n].name, ":")] = '\0';
		}
		close(dir);
		free_files(&f);
	}
	qsort(m, *n, sizeof(*m), by_name);
	return (m);
}

static int
same(const char *a, const char *b)
{
	size_t n_a, n_b, i;
	struct mail *m_a = mail_in(a, &n_a), *m_b = mail_in(b, &n_b);
	int bad = n_a != n_b;

	if (bad)
		fprintf(stderr, "bench_fs: %s has %zu messages, %s %zu\n", a,
		    n_a, b, n_b);
	for (i = 0; i < n_a && !bad; i++) {
		bad = strcmp(m_a[i].name, m_b[i].name) != 0 ||
		    !XXH128_isEqual(m_a[i].hash, m_b[i].hash);
		if (bad)
			fprintf(stderr, "bench_fs: %s/%s is not %s/%s\n", a,
			    m_a[i].name, b, m_b[i].name);
	}
	while (n_a > 0)
		free(m_a[--n_a].name);
	while (n_b > 0)
		free(m_b[--n_b].name);
	free(m_a);
	free(m_b);
	return (bad);
}

/* ---- main ---- */

static void
pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(strtoul(cpu, NULL, 10) % CPU_SETSIZE, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		die(cpu);
}

static bool
is_one_of(const char *op, const char *const *list_of)
{
	for (; *list_of != NULL; list_of++)
		if (strcmp(op, *list_of) == 0)
			return (true);
	return (false);
}

static int
time_it(int argc, char **argv)
{
	static const char *const reads[] = { "list", "stat", "heads", "whole",
		NULL };
	static const char *const changes[] = { "deliver", "link", "fsync",
		"fsync2", "cur", "flag", "unlink", NULL };
	double t;
	size_t n;

	if (argc > 2 && strcmp(argv[0], "-p") == 0) {
		pin(argv[1]);
		argc -= 2;
		argv += 2;
	}
	if (argc == 2 && is_one_of(argv[0], reads)) {
		enter(argv[1]);
		t = seconds();
		n = scan(argv[0]);
		t = seconds() - t;
	} else if (argc == 4 && is_one_of(argv[0], changes)) {
		enter(argv[1]);
		n = strtoul(argv[3], NULL, 10);
		t = change(argv[0], strtoul(argv[2], NULL, 10), n);
	} else
		return (64);
	printf("%.9f %zu\n", t, n);
	return (0);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int rc = 64;

	if (argc == 4 && strcmp(what, "fill") == 0) {
		fill(argv[2], strtoul(argv[3], NULL, 10));
		rc = 0;
	} else if (argc == 4 && strcmp(what, "same") == 0)
		rc = same(argv[2], argv[3]);
	else if (strcmp(what, "time") == 0)
		rc = time_it(argc - 2, argv + 2);
	if (rc == 64)
		fprintf(stderr,
		    "usage: bench_fs fill|time|same ..., see its beginning\n");
	return (rc);
}
