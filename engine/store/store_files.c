/*
 * store_files -- the two small text files of a store ("store", "current"), and
 * what may lie beside them.
 *
 * Both are lines "key value", the first one naming format and version, the last
 * one "xxh3 HEX" over everything before it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "store/store_internal.h"

#define FILE_MAX 4096

static int
file_write(struct os *os, const char *path, struct buf *b)
{
	int error;

	if (b->error == 0)
		buf_printf(
		    b, "xxh3 %016" PRIx64 "\n", xxh3_64(b->data, b->len));
	error = b->error != 0 ? b->error
			      : os_replace_file(os, path, b->data, b->len);
	if (error != 0)
		log_error("%s/%s: cannot be written: %s", os->ops->label(os),
		    path, strerror(-error));
	buf_fini(b);
	return (error);
}

/*
 * The text without its checksum line, NUL-terminated and malloc'd; magic is
 * "dsyncfs store ".
 */
static int
file_read(struct os *os, const char *path, const char *magic, char **out)
{
	char *text = NULL, *sum, want[32];
	size_t n = 0, len = strlen(magic);
	int error;

	if ((error = os_read_file(os, path, FILE_MAX, &text, &n)) != 0) {
		if (error != -ENOENT)
			log_error("%s/%s: cannot be read: %s",
			    os->ops->label(os), path, strerror(-error));
		return (error == -EFBIG ? -EBADMSG : error);
	}
	sum = n > 22 ? text + n - 22 : text;
	(void)snprintf(want, sizeof(want), "xxh3 %016" PRIx64 "\n",
	    xxh3_64(text, n > 22 ? n - 22 : 0));
	if (n <= 22 || strcmp(sum, want) != 0 || strlen(text) != n ||
	    strncmp(text, magic, len) != 0) {
		log_error("%s/%s: damaged (wrong checksum); see dsyncfs-sync "
			  "verify --repair",
		    os->ops->label(os), path);
		free(text);
		return (-EBADMSG);
	}
	if (strncmp(text + len, "1\n", 2) != 0) {
		log_error("%s/%s: of a newer version than this program knows: "
			  "a newer dsyncfs made it",
		    os->ops->label(os), path);
		free(text);
		return (-EPROTONOSUPPORT);
	}
	*sum = '\0';
	*out = text;
	return (0);
}

/* Value of "key VALUE\n", or NULL. */
static const char *
field(const char *text, const char *key, char out[128])
{
	size_t n = strlen(key);

	for (const char *line = text; line != NULL && *line != '\0';
	     line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, key, n) == 0 && line[n] == ' ') {
			(void)snprintf(out, 128, "%.*s",
			    (int)strcspn(line + n + 1, "\n"), line + n + 1);
			return (out);
		}
	}
	return (NULL);
}

int
file_store_write(struct store *s)
{
	struct buf b = BUF_INIT;
	char id[GUID_HEX_LEN + 1], secret[65];

	hex_encode(s->secret, sizeof(s->secret), secret);
	buf_printf(&b, "dsyncfs store 1\nid %s\nsidecar %d\nsecret %s\n",
	    guid_hex(&s->id, id), (s->flags & STORE_SIDECAR) != 0, secret);
	return (file_write(s->os, "store", &b));
}

int
file_store_read(struct store *s)
{
	char *text, v[128];
	bool sidecar;
	int error;

	if ((error = file_read(s->os, "store", "dsyncfs store ", &text)) != 0)
		return (error == -EBADMSG ? -EIO : error);
	if (field(text, "id", v) == NULL || guid_parse(v, &s->id) != 0 ||
	    field(text, "secret", v) == NULL || strlen(v) != 64 ||
	    hex_decode(v, 32, s->secret) != 0 ||
	    field(text, "sidecar", v) == NULL) {
		log_error("%s/store: damaged (a field is missing); see "
			  "dsyncfs-sync verify --repair",
		    store_label(s));
		error = -EIO;
	} else {
		sidecar = strcmp(v, "1") == 0;
		if (sidecar != ((s->flags & STORE_SIDECAR) != 0)) {
			log_error("%s: %s", store_label(s),
			    sidecar ? "is the sidecar of another location, not "
				      "a store"
				    : "is a store of its own, not a sidecar");
			error = -EINVAL;
		}
	}
	free(text);
	return (error);
}

int
file_current_write(struct os *os, uint64_t gen, uint64_t base)
{
	struct buf b = BUF_INIT;

	buf_printf(&b,
	    "dsyncfs current 1\ngeneration %" PRIu64 "\nbase %" PRIu64 "\n",
	    gen, base);
	return (file_write(os, "current", &b));
}

/* The only log directory there is, when "current" is lost. */
struct gens {
	uint64_t gen;
	unsigned n;
};

static int
find_gen(void *arg, const struct os_dirent *e)
{
	struct gens *g = arg;
	uint64_t v;
	char *end;

	if (e->type != OS_DIR || strncmp(e->name, "log-", 4) != 0)
		return (0);
	v = strtoull(e->name + 4, &end, 10);
	if (*end != '\0' || v == 0)
		return (0);
	g->n++;
	g->gen = v;
	return (0);
}

static int
current_guess(struct store *s)
{
	struct gens g = { 0, 0 };
	struct os_stat st;
	char path[80];
	int error;

	if ((error = s->os->ops->list(s->os, "", find_gen, &g)) != 0)
		return (error);
	if (g.n > 1) {
		log_error("%s/current: lost, and there is more than one log; "
			  "run dsyncfs-sync verify --repair",
		    store_label(s));
		return (-EIO);
	}
	if (g.n == 0)
		return (-ENOENT);
	(void)snprintf(
	    path, sizeof(path), "log-%" PRIu64 "/0000000000000001.log", g.gen);
	if (g.gen == 1 && s->os->ops->stat(s->os, path, &st) == -ENOENT)
		/* the store was just being made */
		return (-ENOENT);
	log_warning("%s/current: missing; there is only one log, log-%" PRIu64
		    ", and it is taken",
	    store_label(s), g.gen);
	s->gen = g.gen;
	s->base = 0;
	s->guessed = true;
	return (0);
}

/* -ENOENT: neither it nor a log is there, so the store was just being made. */
int
file_current_read(struct store *s)
{
	char *text, v[128], *end;
	int error;

	error = file_read(s->os, "current", "dsyncfs current ", &text);
	if (error == -ENOENT || error == -EBADMSG) {
		int guess = current_guess(s);

		return (guess == -ENOENT && error == -EBADMSG ? -EIO : guess);
	}
	if (error != 0)
		return (error);
	s->gen =
	    field(text, "generation", v) != NULL ? strtoull(v, &end, 10) : 0;
	s->base = field(text, "base", v) != NULL ? strtoull(v, &end, 10) : 0;
	free(text);
	if (s->gen != 0)
		return (0);
	log_error("%s/current: damaged (a field is missing); see dsyncfs-sync "
		  "verify --repair",
	    store_label(s));
	return (-EIO);
}

void
store_paths(struct store *s)
{
	(void)snprintf(s->log_dir, sizeof(s->log_dir), "log-%" PRIu64, s->gen);
	(void)snprintf(
	    s->index_path, sizeof(s->index_path), "index-%" PRIu64, s->gen);
}

/* ---- leftovers ---- */

struct leftovers {
	struct store *s;
	char name[32][64];
	size_t n;
};

static bool
is_leftover(const struct store *s, const char *name)
{
	static const char *const prefix[] = { "log-", "index-" };
	const char *keep[] = { s->log_dir, s->index_path };

	for (size_t i = 0; i < 2; i++)
		if (strncmp(name, prefix[i], strlen(prefix[i])) == 0 &&
		    strcmp(name, keep[i]) != 0)
			return (true);
	return (
	    strcmp(name, "store.tmp") == 0 || strcmp(name, "current.tmp") == 0);
}

static int
leftover_one(void *arg, const struct os_dirent *e)
{
	struct leftovers *l = arg;

	if (l->n < 32 && strlen(e->name) < 64 && is_leftover(l->s, e->name))
		(void)snprintf(l->name[l->n++], 64, "%s", e->name);
	return (0);
}

struct dir_names {
	struct arena a;
	const char **name;
	size_t n, cap;
};

static int
name_one(void *arg, const struct os_dirent *e)
{
	struct dir_names *d = arg;

	if (d->n == d->cap) {
		size_t cap = d->cap == 0 ? 32 : d->cap * 2;
		const char **v = realloc(d->name, cap * sizeof(*v));

		if (v == NULL)
			return (-ENOMEM);
		d->name = v;
		d->cap = cap;
	}
	d->name[d->n] = arena_strdup(&d->a, e->name);
	return (d->name[d->n++] == NULL ? -ENOMEM : 0);
}

/* Empties a flat directory and removes it, unless it is "spool", which stays.
 */
int
remove_tree_dir(struct os *os, const char *dir)
{
	struct dir_names d = { .a = ARENA_INIT };
	char path[400];
	int error = os->ops->list(os, dir, name_one, &d);

	for (size_t i = 0; i < d.n && error == 0; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, d.name[i]);
		error = os->ops->unlink(os, path);
	}
	arena_fini(&d.a);
	free(d.name);
	if (error == 0 && strcmp(dir, "spool") != 0)
		error = os->ops->rmdir(os, dir);
	return (error == -ENOENT ? 0 : error);
}

/*
 * What a crash left: temporary bodies, the other generation of a compaction.
 * Nothing of it counts, so a failure only warns.
 */
int
tree_leftovers(struct store *s)
{
	struct leftovers l = { .s = s };
	int error;

	if ((error = s->os->ops->list(s->os, "", leftover_one, &l)) != 0)
		return (error);
	for (size_t i = 0; i < l.n; i++) {
		error = strncmp(l.name[i], "log-", 4) == 0
		    ? remove_tree_dir(s->os, l.name[i])
		    : s->os->ops->unlink(s->os, l.name[i]);
		if (error != 0)
			log_warning("%s/%s: a leftover cannot be removed: %s",
			    store_label(s), l.name[i], strerror(-error));
	}
	/* A pack that was being compressed is there as it was. */
	error = s->os->ops->unlink(s->os, "packs/squeeze.tmp");
	if (error != 0 && error != -ENOENT)
		log_warning("%s/packs/squeeze.tmp: a leftover cannot be "
			    "removed: %s",
		    store_label(s), strerror(-error));
	if ((error = remove_tree_dir(s->os, "spool")) != 0)
		log_warning("%s/spool: cannot be emptied: %s", store_label(s),
		    strerror(-error));
	return (0);
}
