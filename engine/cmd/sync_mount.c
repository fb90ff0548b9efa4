/*
 * sync_mount -- a sync of a store that a mount has: the mount runs it, and the
 * other location is reached here, since a mount opens and reaches nothing but
 * its store.
 *
 * That is done by a process of its own, which passes on what comes and goes.
 * It is closed as soon as the far side is reached, and ends with the link: the
 * mount may keep that for its next syncs, when this command has long ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/link.h"
#include "cmd/cmd_internal.h"

/* What that process says first. */
struct reached {
	int32_t status;
	char why[1024]; /* the last error */
};

/* ---- the process that passes on ---- */

/* Its words go with the link, and its end comes with that. */
static void
detach(struct cmd *c, const struct relay_ends *e, int null)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_IGN);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	c->relay = e;
}

/* What it passes on to: one of these. */
struct other {
	const struct place *p;
	struct link *l; /* far */
	struct replica *r; /* a location that is open here */
	bool mounted; /* another mount's store */
};

static int
open_other(struct cmd *c, unsigned flags, struct other *o)
{
	struct far_session s;
	int status;

	if (!o->p->is_far) {
		o->mounted = place_mounted(c, o->p);
		return (
		    o->mounted ? EX_DONE : place_open(c, o->p, flags, &o->r));
	}
	status = far_link(c, o->p, &s);
	o->l = s.l;
	return (status);
}

static int
serve_here(struct cmd *c, const struct other *o, const struct relay_ends *e)
{
	struct serve_end end;
	struct buf said = BUF_INIT;
	struct forward f = { .command = "dsync-server",
		.other = true,
		.kind = CONTROL_SERVE,
		.fd = { e->data, e->data },
		.n_fds = 2,
		.said = &said };
	int status = EX_TRY_LATER, r;

	if (o->mounted) {
		(void)place_forward(c, o->p, &f, &status);
		buf_fini(&said);
		return (status);
	}
	/* What the user allows holds on both sides. */
	if (c->o->max_delete >= 0)
		c->cfg.max_delete_percent = (unsigned)c->o->max_delete;
	status = sync_serve(c, o->r, e->data, e->data, NULL, &end);
	r = o->r->ops->close(o->r);
	return (r != 0 && status == EX_DONE ? cmd_status_of(r) : status);
}

static _Noreturn void
pass_on(struct cmd *c, const struct place *p, unsigned flags,
    const struct relay_ends *e, int tell)
{
	const struct dialer *d = c->backends->dialer;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *name = place_text(c, p);
	struct reached got = { 0 };
	struct other o = { .p = p };

	c->passes_on = true;
	got.status = open_other(c, flags, &o);
	if (got.status != 0 && c->last_error != NULL)
		strncpy(got.why, c->last_error, sizeof(got.why) - 1);
	/* Another mount is called by its socket. */
	if (got.status == 0 && !o.mounted)
		got.status = closing_now(c, true);
	out_flush(c);
	if (write(tell, &got, sizeof(got)) != sizeof(got) || got.status != 0)
		_exit(EX_FAIL);
	(void)close(tell);
	detach(c, e, null);
	if (o.l != NULL)
		d->relay(o.l, e);
	else {
		d->relay_begin(e, name != NULL ? name : p->l.text);
		d->relay_end(e, serve_here(c, &o, e) == EX_DONE ? 0 : -EPIPE);
	}
	_exit(EX_DONE);
}

/* ---- who asks the mount ---- */

static void
close_ends(const struct relay_ends *e)
{
	if (e->data >= 0)
		(void)close(e->data);
	if (e->talk >= 0)
		(void)close(e->talk);
}

static void
hear(int fd, struct reached *got)
{
	size_t n = 0;
	ssize_t k = 1;

	while (n < sizeof(*got) && k != 0) {
		k = read(fd, (char *)got + n, sizeof(*got) - n);
		if (k < 0 && errno != EINTR)
			break;
		n += k > 0 ? (size_t)k : 0;
	}
	if (n != sizeof(*got))
		*got = (struct reached){ .status = EX_FAIL };
	got->why[sizeof(got->why) - 1] = '\0';
}

/*
 * The mount's ends of a link to p, which is opened with these flags where it is
 * here; *got says how that went.
 */
static int
reach(struct cmd *c, const struct place *p, unsigned flags,
    struct relay_ends *e, struct reached *got)
{
	struct relay_ends theirs = { -1, -1 };
	int tell[2] = { -1, -1 }, r;
	pid_t pid = -1;

	*e = theirs;
	out_flush(c);
	progress_clear(c);
	r = c->backends->dialer->relay_pair(e, &theirs);
	if (r == 0 && (pipe2(tell, O_CLOEXEC) != 0 || (pid = fork()) < 0))
		r = -errno;
	if (pid == 0) {
		close_ends(e);
		(void)close(tell[0]);
		pass_on(c, p, flags, &theirs, tell[1]);
	}
	close_ends(&theirs);
	if (tell[1] >= 0)
		(void)close(tell[1]);
	if (r == 0)
		hear(tell[0], got);
	else
		log_error("no process for this sync: %s", strerror(-r));
	if (tell[0] >= 0)
		(void)close(tell[0]);
	/* One that has reached it ends when the mount has done with it. */
	if (r == 0 && got->status != 0)
		(void)waitpid(pid, NULL, 0);
	return (r == 0 ? EX_DONE : EX_TRY_LATER);
}

struct asking {
	struct cmd *c;
	const struct place *mount; /* whose store is mounted */
	struct forward f;
	struct relay_ends e;
};

static int
ask(struct asking *k)
{
	int status, raw;

	status = rawlog_open(k->c, &raw);
	if (status != 0)
		return (status);
	k->f.kind = CONTROL_SYNC;
	k->f.fd[0] = k->e.data;
	k->f.fd[1] = k->e.talk;
	k->f.fd[2] = raw;
	k->f.n_fds = k->e.data < 0 ? 0 : raw < 0 ? 2 : 3;
	if (!place_forward(k->c, k->mount, &k->f, &status)) {
		log_error(
		    "%s: the mount that had it has ended", k->mount->l.text);
		status = EX_TRY_LATER;
	}
	if (raw >= 0)
		(void)close(raw);
	return (status);
}

static int
reach_and_ask(struct asking *k, const struct place *p, unsigned flags)
{
	struct reached got = { 0 };
	int status = reach(k->c, p, flags, &k->e, &got);

	if (status != 0)
		return (status);
	if (got.status != 0) {
		close_ends(&k->e);
		k->e = (struct relay_ends){ -1, -1 };
		k->f.add[1] = arena_printf(&k->c->arena, "--unreached=%d %s",
		    (int)got.status, got.why);
		if (k->f.add[1] == NULL)
			return (EX_FAIL);
	}
	status = ask(k);
	close_ends(&k->e);
	return (got.status != 0 ? got.status : status);
}

/*
 * What the mount calls it.  What is far goes by its name, which the mount finds
 * in the same configuration: its text may be another section's.
 */
static const char *
other_text(struct cmd *c, const struct mount_sync *m, bool first)
{
	if (!first)
		return (place_text(c, m->first));
	if (m->remote != NULL && m->second->is_far && !c->of_many)
		return (m->remote->name);
	return (place_text(c, m->second));
}

bool
sync_by_mount(struct cmd *c, const struct mount_sync *m, int *status)
{
	static const char *const drop[] = { "wait", "reverse", NULL };
	bool first = place_mounted(c, m->first), reverse = first == m->reverse;
	struct asking k = { .c = c, .mount = first ? m->first : m->second };
	const bool backup = strcmp(m->command, "backup") == 0;
	const char *arg;
	unsigned flags;

	if (!first && !place_mounted(c, m->second))
		return (false);
	/* Where the second is not asked to run it, run_here calls its mount. */
	if (!first && c->o->one_way)
		return (false);
	arg = other_text(c, m, first);
	if (arg == NULL) {
		*status = EX_FAIL;
		return (true);
	}
	k.f = (struct forward){
		.command = m->command, .n_args = 1, .args = &arg, .drop = drop
	};
	if (backup && reverse)
		k.f.add[0] = "--reverse";
	/* What a backup reads has to be there. */
	flags = (backup && reverse ? 0 : LOCATION_CREATE) |
	    (c->o->dry_run ? LOCATION_DRY : 0);
	*status = reach_and_ask(&k, first ? m->second : m->first, flags);
	return (true);
}
