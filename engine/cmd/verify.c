/*
 * verify -- verify and compact: is the store whole, are two locations equal,
 * what can go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

static int
show_result(
    struct cmd *c, const char *event, const struct verify_result *v, int status)
{
	struct json j;

	if (c->o->json) {
		json_begin(&j, event);
		json_uint(&j, "frames", v->frames);
		json_uint(&j, "bodies", v->bodies);
		json_uint(&j, "messages", v->messages);
		json_uint(&j, "problems", v->problems);
		json_end(c, &j);
		json_summary(c, status);
	} else
		out_printf(c,
		    "%llu log frames, %llu bodies, %llu messages checked: %llu "
		    "problems\n",
		    (unsigned long long)v->frames,
		    (unsigned long long)v->bodies,
		    (unsigned long long)v->messages,
		    (unsigned long long)v->problems);
	return (status);
}

static int
verify_store(struct cmd *c, struct replica *r)
{
	struct verify_result v;
	int e = 0;

	memset(&v, 0, sizeof(v));
	replica_lock(r);
	if (c->o->rebuild)
		e = store_rebuild(r->store);
	if (e == 0)
		e = store_verify(r->store, &v);
	replica_unlock(r);
	if (e != 0) {
		if (c->o->json)
			json_summary(c, cmd_status_of(e));
		return (cmd_status_of(e));
	}
	return (
	    show_result(c, "verify", &v, v.problems != 0 ? EX_FAIL : EX_DONE));
}

/* ---- repair: of a store that nobody has open ---- */

static const struct driver *
driver_named(const struct cmd *c, const char *name)
{
	for (size_t i = 0; c->known[i] != NULL; i++)
		if (strcmp(c->known[i]->name, name) == 0)
			return (c->known[i]);
	return (NULL);
}

static int
repair(struct cmd *c)
{
	const struct driver *d;
	struct verify_result v;
	struct place p;
	struct os *os;
	int r;

	r = place_first(c, &p);
	if (r != 0)
		return (r);
	if (c->local != NULL || place_mounted(c, &p)) {
		log_error("%s is mounted: unmount it, then repair it",
		    c->local != NULL ? c->local->path : p.l.text);
		return (EX_TRY_LATER);
	}
	d = driver_named(c, p.l.driver);
	if (d == NULL || d->repair_tree == NULL) {
		log_error("%s: locations of kind '%s' have no log to repair: "
			  "verify --rebuild makes their state anew",
		    p.l.text, p.l.driver);
		return (EX_BAD_USAGE);
	}
	r = d->repair_tree(&p.l, &os);
	if (r != 0)
		return (cmd_status_of(r));
	memset(&v, 0, sizeof(v));
	r = store_repair(os, c->o->dry_run, &v);
	os->ops->close_tree(os);
	if (r != 0)
		return (cmd_status_of(r));
	return (show_result(c, "repair", &v, EX_DONE));
}

/* ---- two locations ---- */

static int
difference(void *arg, const char *line)
{
	struct cmd *c = arg;
	struct json j;

	if (c->o->json) {
		json_begin(&j, "difference");
		json_str(&j, "text", line);
		json_end(c, &j);
	} else
		out_printf(c, "%s\n", line);
	return (cmd_stopped(c) ? -EINTR : 0);
}

static int
compared(struct cmd *c, int r, uint64_t n)
{
	int status = r != 0 ? cmd_status_of(r) : n != 0 ? EX_FAIL : EX_DONE;
	struct json j;

	if (c->o->json) {
		json_begin(&j, "summary");
		json_int(&j, "status", status);
		json_uint(&j, "differences", n);
		json_end(c, &j);
	} else if (r == 0)
		out_printf(c, "%llu differences\n", (unsigned long long)n);
	return (status);
}

static int
close_replica(struct replica *r, int status)
{
	int e = r->ops->close(r);

	return (e != 0 && status == EX_DONE ? cmd_status_of(e) : status);
}

/* ---- one of them is mounted: its mount reads the other's dump ---- */

static int
write_line(void *arg, const char *line)
{
	FILE *f = arg;

	return (fprintf(f, "%s\n", line) < 0 ? -EPIPE : 0);
}

static _Noreturn void
dump_to(struct replica *r, const struct dump_options *o, int fd)
{
	FILE *f = fdopen(fd, "w");
	unsigned problems = 0;

	if (f == NULL || replica_dump(r, o, write_line, f, &problems) != 0 ||
	    fclose(f) != 0)
		_exit(EX_FAIL);
	_exit(EX_DONE);
}

/* other is open, and p's store mounted. */
static int
compare_in_mount(struct cmd *c, const struct place *p, struct replica *other,
    const char *text)
{
	const struct dump_options o = { .keys = true,
		.no_guids = (other->ops->caps & REPLICA_SAVE_GUIDS) == 0 };
	struct forward f = { .command = "verify", .args = &text, .n_args = 1 };
	int ends[2] = { -1, -1 }, status = EX_FAIL, how = 0;
	pid_t pid = -1;

	out_flush(c);
	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		log_error("no process to read %s: %s", text, strerror(errno));
	if (pid == 0)
		dump_to(other, &o, ends[1]);
	if (ends[1] >= 0)
		(void)close(ends[1]);
	f.add[0] = o.no_guids ? "--no-guids" : NULL;
	f.fd[0] = ends[0];
	f.n_fds = 1;
	if (pid > 0 && !place_forward(c, p, &f, &status)) {
		log_error("%s: the mount that had it has ended", p->l.text);
		status = EX_TRY_LATER;
	}
	if (ends[0] >= 0)
		(void)close(ends[0]);
	if (pid > 0 && waitpid(pid, &how, 0) == pid && status == EX_DONE &&
	    (!WIFEXITED(how) || WEXITSTATUS(how) != 0))
		status = EX_FAIL;
	return (status);
}

struct lines {
	FILE *f;
	char *line; /* owned */
	size_t size;
};

static int
next_line(void *arg, char **line)
{
	struct lines *l = arg;
	ssize_t n = getline(&l->line, &l->size, l->f);

	if (n <= 0)
		return (ferror(l->f) ? -EIO : 1);
	if (l->line[n - 1] != '\n')
		return (-EPROTO); /* it has broken off */
	l->line[n - 1] = '\0';
	*line = l->line;
	return (0);
}

/* In the mount. */
static int
compare_dump(struct cmd *c, const struct place *second)
{
	struct lines l = { .line = NULL };
	struct dump_reader b = { .next = next_line,
		.arg = &l,
		.label = place_text(c, second),
		.no_guids = c->o->no_guids };
	int fd = fcntl(c->local->in, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), r;
	uint64_t n = 0;

	l.f = fd < 0 ? NULL : fdopen(fd, "r");
	if (l.f == NULL || b.label == NULL) {
		log_error("the mount was asked to compare with nothing");
		r = -EPROTO;
		if (fd >= 0 && l.f == NULL)
			(void)close(fd);
	} else
		r = replica_compare_dump(
		    c->local->replica, &b, difference, c, &n);
	if (l.f != NULL)
		(void)fclose(l.f);
	free(l.line);
	return (compared(c, r, n));
}

/* ---- both are here ---- */

static int
verify_here(
    struct cmd *c, const struct place *first, const struct place *second)
{
	bool mounted = place_mounted(c, first),
	     other = !mounted && place_mounted(c, second);
	struct replica *a = NULL, *b = NULL;
	uint64_t n = 0;
	int status, r;

	/* Comparing is the same from both sides. */
	if (mounted || other) {
		status = place_open(
		    c, mounted ? second : first, LOCATION_RDONLY, &a);
		return (status != 0
			? status
			: close_replica(a,
			      compare_in_mount(c, mounted ? first : second, a,
				  place_text(c, mounted ? second : first))));
	}
	status = place_open(c, first, LOCATION_RDONLY, &a);
	if (status != 0)
		return (status);
	status = place_open(c, second, LOCATION_RDONLY, &b);
	if (status == 0) {
		r = replica_compare(a, b, difference, c, &n);
		status = close_replica(b, compared(c, r, n));
	}
	return (close_replica(a, status));
}

static int
verify_both(struct cmd *c)
{
	struct place first, second;
	int status;

	status = place_second(c, c->o->args, c->o->n_args, &second, NULL);
	if (status != 0)
		return (status);
	if (c->local != NULL)
		return (compare_dump(c, &second));
	status = place_first(c, &first);
	return (status != 0 ? status : verify_here(c, &first, &second));
}

int
cmd_verify(struct cmd *c)
{
	const struct options *o = c->o;
	struct subject s;
	bool done;
	int status = EX_FAIL, r;

	if (o->rebuild + o->repair + (o->n_args != 0) > 1)
		return (cmd_usage_error(c,
		    "verify: --rebuild, --repair and LOCATION2 exclude each "
		    "other: give one"));
	if (o->dry_run && !o->repair)
		return (
		    cmd_usage_error(c, "verify: --dry-run goes with --repair"));
	if (o->repair)
		return (repair(c));
	if (o->n_args != 0)
		return (verify_both(c));
	if (c->local != NULL && o->rebuild) {
		log_error("%s is mounted: unmount it, then rebuild its index",
		    c->local->path);
		return (EX_TRY_LATER);
	}
	r = subject_open(
	    c, NULL, 0, o->rebuild ? 0 : LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	return (subject_close(&s, verify_store(c, s.r)));
}

/* A mount may just be making changes durable: after that. */
static int
compact(struct cmd *c, struct replica *r, struct compact_result *v)
{
	int error;

	do {
		replica_lock(r);
		error = store_compact(r->store, v);
		replica_unlock(r);
	} while (error == -EBUSY && !cmd_stopped(c) && r->ops->commit(r) == 0);
	return (error);
}

int
cmd_compact(struct cmd *c)
{
	struct compact_result v;
	struct subject s;
	struct json j;
	char a[16], b[16];
	bool done;
	int status = EX_FAIL, r;

	r = subject_open(c, NULL, 0, 0, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	memset(&v, 0, sizeof(v));
	r = compact(c, s.r, &v);
	status = cmd_status_of(r);
	if (c->o->json) {
		json_begin(&j, "summary");
		json_int(&j, "status", status);
		json_uint(&j, "bytes_before", v.bytes_before);
		json_uint(&j, "bytes_after", v.bytes_after);
		json_uint(&j, "bodies_dropped", v.bodies_dropped);
		json_end(c, &j);
	} else if (r == 0)
		out_printf(c, "%s before, %s now, %llu bodies dropped\n",
		    bytes_text(v.bytes_before, a), bytes_text(v.bytes_after, b),
		    (unsigned long long)v.bodies_dropped);
	return (subject_close(&s, status));
}
