/*
 * many -- -A and -F: one process for each user, a few at a time.
 *
 * M1  A child has the user's rights, and no others that it could take back,
 *     before it reads anything of that user and before it meets any peer
 *     (many_child.c).
 * M2  What a child says is passed on in whole lines, each with the user's name.
 * M3  However a child ends, its user gets one summary line, and the others go
 * on. M4  Told to stop, no child is begun; those that run are told once and
 * waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"

#define PIECE 65536 /* of reading; no line is longer */
/* Read of a child that has ended: more than a pipe has. */
#define LAST_PIECES 4
#define LOOK_MS 100 /* between looks for children that have ended */

struct voice {
	int fd; /* -1: at its end */
	struct buf line; /* what has come of the next one */
};
struct slot {
	const struct user *u;
	pid_t pid; /* 0: the slot is free */
	struct voice out, err;
	char *summary; /* owned; the line that the sync itself gave, or NULL */
};
struct many {
	struct cmd *c;
	struct user_list users;
	struct slot *slot;
	size_t slots, running, next;
	size_t done, again, failed;
	int status;
	bool told;
};

/* ---- exit statuses ---- */

static const struct {
	int status;
	const char *words;
} outcomes[] = { { EX_DONE, "done" }, { EX_AGAIN, "done, run again" },
	{ EX_TRY_LATER, "try again later" }, { EX_PEER, "peer not reachable" },
	{ EX_MAX_DELETE, "stopped by max_delete" },
	{ EX_BAD_USAGE, "wrong usage" },
	{ EX_BAD_CONFIG, "wrong configuration" },
	{ EX_PERMISSION, "not permitted" }, { EX_FAIL, "failed" } };
#define OUTCOMES (sizeof(outcomes) / sizeof(outcomes[0]))

/*
 * The order of the table: what a later run mends by itself, what somebody has
 * to decide or to mend, and last what nobody has foreseen.
 */
static size_t
rank(int status)
{
	size_t i = 0;

	while (i + 1 < OUTCOMES && outcomes[i].status != status)
		i++;
	return (i);
}

int
many_worse(int a, int b)
{
	return (outcomes[rank(a) > rank(b) ? rank(a) : rank(b)].status);
}

/* ---- what is said of each user ---- */

static uint64_t
number(const char *line, const char *key)
{
	char want[64];
	const char *at;

	snprintf(want, sizeof(want), "\"%s\":", key);
	at = strstr(line, want);
	return (at == NULL ? 0 : strtoull(at + strlen(want), NULL, 10));
}

static void
summary_text(struct cmd *c, const struct slot *s, const char *words)
{
	const char *line = s->summary;
	struct buf b = BUF_INIT;
	struct sync_counts n;

	buf_printf(&b, "%s: %s", s->u->name, words);
	if (line != NULL) {
		memset(&n, 0, sizeof(n));
		n.saved = number(line, "saved");
		n.copied = number(line, "copied");
		n.flags = number(line, "flags");
		n.expunged = number(line, "expunged");
		n.renumbered = number(line, "renumbered");
		n.bytes = number(line, "bytes");
		buf_printf(&b, ": ");
		counts_text(&b, &n);
	}
	if (buf_cstr(&b) != NULL)
		out_printf(c, "%s\n", (const char *)b.data);
	buf_fini(&b);
}

/* The counts are those of the sync's own summary, as they came. */
static void
summary_json(struct cmd *c, const struct slot *s, int status, const char *words)
{
	const char *rest =
	    s->summary == NULL ? NULL : strstr(s->summary, ",\"run_again\":");
	struct json j;
	size_t n;

	json_begin(&j, "user");
	json_str(&j, "user", s->u->name);
	json_int(&j, "status", status);
	json_str(&j, "outcome", words);
	if (rest != NULL && (n = strlen(rest)) > 1 && rest[n - 1] == '}')
		buf_put(&j.b, rest, n - 1);
	json_end(c, &j);
}

/* words NULL: those of the status. */
static void
user_ended(struct many *m, const struct slot *s, int status, const char *words)
{
	struct cmd *c = m->c;

	if (words == NULL)
		words = outcomes[rank(status)].words;
	if (c->o->json)
		summary_json(c, s, status, words);
	else
		summary_text(c, s, words);
	out_flush(c);
	m->status = many_worse(m->status, status);
	m->done += status == EX_DONE;
	m->again += status == EX_AGAIN;
	m->failed += status != EX_DONE && status != EX_AGAIN;
}

/* ---- what children say (M2) ---- */

static bool
starts(const char *line, const char *with)
{
	return (strncmp(line, with, strlen(with)) == 0);
}

static void
say(struct cmd *c, const struct user *u, const char *line)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s: %s", u->name, line);
	if (buf_cstr(&b) != NULL)
		err_line(c, (const char *)b.data);
	buf_fini(&b);
}

/*
 * A mount that did the work writes JSON also where text was asked for, so that
 * there are counts; its other events are not wanted then.
 */
static void
out_line(struct many *m, struct slot *s, const char *line)
{
	struct cmd *c = m->c;
	size_t n = strlen(line);
	struct buf b = BUF_INIT;

	if (starts(line, "{\"event\":\"summary\",")) {
		free(s->summary);
		s->summary = strdup(line);
	} else if (c->o->json && starts(line, "{\"event\":") &&
	    line[n - 1] == '}') {
		buf_put(&b, line, n - 1);
		buf_put(&b, ",\"user\":", 8);
		json_quote(&b, s->u->name);
		if (buf_cstr(&b) != NULL)
			out_printf(c, "%s}\n", (const char *)b.data);
	} else if (c->o->json)
		say(c, s->u, line);
	else if (c->o->dry_run || !starts(line, "{\"event\":"))
		out_printf(c, "%s: %s\n", s->u->name, line);
	out_flush(c);
	buf_fini(&b);
}

static void
take_line(struct many *m, struct slot *s, struct voice *t)
{
	char *line = t->line.error == 0 && buf_cstr(&t->line) != NULL
	    ? (char *)t->line.data
	    : NULL;

	if (line != NULL) {
		log_disarm(line);
		if (t == &s->out)
			out_line(m, s, line);
		else
			say(m->c, s->u, line);
	}
	buf_reset(&t->line);
}

static void
take_bytes(
    struct many *m, struct slot *s, struct voice *t, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' || t->line.len >= PIECE)
			take_line(m, s, t);
		if (p[i] != '\n')
			buf_put_u8(
			    &t->line, (uint8_t)(p[i] == '\0' ? '?' : p[i]));
	}
}

/* False: nothing more for now. */
static bool
take_piece(struct many *m, struct slot *s, struct voice *t)
{
	static char piece[PIECE];
	ssize_t n;

	if (t->fd < 0)
		return (false);
	n = read(t->fd, piece, sizeof(piece));
	if (n > 0) {
		take_bytes(m, s, t, piece, (size_t)n);
		return (true);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return (false);
	(void)close(t->fd);
	t->fd = -1;
	return (false);
}

/*
 * Of one that has ended: a program that it left behind may hold the pipe open,
 * and is not waited for.
 */
static void
take_last(struct many *m, struct slot *s, struct voice *t)
{
	for (int i = 0; i < LAST_PIECES && take_piece(m, s, t); i++)
		;
	if (t->line.len != 0)
		take_line(m, s, t);
	if (t->fd >= 0)
		(void)close(t->fd);
	t->fd = -1;
	buf_fini(&t->line);
}

/* ---- beginning and ending children ---- */

/* Away from the three that a child has, whatever our caller had closed. */
static int
make_pipe(int fd[2])
{
	int low[2], r = 0;

	if (pipe2(low, O_CLOEXEC) != 0)
		return (-errno);
	for (int i = 0; i < 2; i++)
		if ((fd[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3)) < 0)
			r = -errno;
	(void)close(low[0]);
	(void)close(low[1]);
	/* only our end: a child waits when we are slow */
	if (r == 0 && fcntl(fd[0], F_SETFL, O_NONBLOCK) != 0)
		r = -errno;
	for (int i = 0; r != 0 && i < 2; i++)
		if (fd[i] >= 0)
			(void)close(fd[i]);
	return (r);
}

static struct slot *
free_slot(struct many *m)
{
	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].pid == 0)
			return (&m->slot[i]);
	return (NULL);
}

static void
begun(struct many *m, const struct user *u, pid_t pid, int out, int err)
{
	struct slot *s = free_slot(m);

	memset(s, 0, sizeof(*s));
	buf_init(&s->out.line);
	buf_init(&s->err.line);
	s->u = u;
	s->pid = pid;
	s->out.fd = out;
	s->err.fd = err;
	m->running++;
}

static void
cannot_begin(struct many *m, const struct user *u, int status, const char *why)
{
	struct slot s = { .u = u };

	say(m->c, u, why);
	user_ended(m, &s, status, NULL);
}

/*
 * Gives true in the child, with *status: whether it is that user now.  Signals
 * wait until it has its own way with them.
 */
static bool
begin_process(struct many *m, const struct user *u, int *status)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, r;
	sigset_t all, before;
	pid_t pid = -1, parent = getpid();

	r = make_pipe(out);
	if (r == 0 && (r = make_pipe(err)) != 0) {
		(void)close(out[0]);
		(void)close(out[1]);
	}
	if (r == 0) {
		(void)sigfillset(&all);
		(void)sigprocmask(SIG_SETMASK, &all, &before);
		pid = fork();
		if (pid == 0)
			*status = many_child(u, out[1], err[1], parent);
		r = pid < 0 ? -errno : 0;
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		if (pid == 0)
			return (true);
		(void)close(out[1]);
		(void)close(err[1]);
	}
	if (r == 0) {
		begun(m, u, pid, out[0], err[0]);
		return (false);
	}
	if (out[0] >= 0 && err[0] >= 0) {
		(void)close(out[0]);
		(void)close(err[0]);
	}
	cannot_begin(m, u, EX_TRY_LATER, strerror(-r));
	return (false);
}

static bool
begin_user(struct many *m, const struct user *u, int *status)
{
	if (u->error != 0)
		cannot_begin(m, u, EX_TRY_LATER, strerror(u->error));
	else if (!u->known)
		cannot_begin(m, u, EX_BAD_USAGE,
		    "there is no such user on this machine");
	else if (!user_name_ok(u->name))
		cannot_begin(m, u, EX_BAD_USAGE,
		    "a user name is of letters, digits and . _ @ + -");
	else if (u->uid == 0 && geteuid() == 0)
		cannot_begin(m, u, EX_PERMISSION,
		    "this user has root's rights: give -u to sync his mail");
	else
		return (begin_process(m, u, status));
	return (false);
}

static void
ended(struct many *m, struct slot *s, int how)
{
	char words[64];
	int status = WIFEXITED(how) ? WEXITSTATUS(how) : EX_FAIL;

	take_last(m, s, &s->out);
	take_last(m, s, &s->err);
	snprintf(words, sizeof(words), "killed by signal %d",
	    WIFSIGNALED(how) ? WTERMSIG(how) : 0);
	user_ended(m, s, status, WIFSIGNALED(how) ? words : NULL);
	free(s->summary);
	memset(s, 0, sizeof(*s));
	m->running--;
}

static void
look(struct many *m)
{
	int how;

	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].pid != 0 &&
		    waitpid(m->slot[i].pid, &how, WNOHANG) == m->slot[i].pid)
			ended(m, &m->slot[i], how);
}

/* Until a child says something, or for a moment. */
static void
listen_to_all(struct many *m, struct pollfd *p)
{
	nfds_t n = 0;
	int ms = LOOK_MS;

	for (size_t i = 0; i < m->slots; i++) {
		const struct slot *s = &m->slot[i];

		if (s->pid == 0)
			continue;
		/* it is about to end */
		if (s->out.fd < 0 || s->err.fd < 0)
			ms = LOOK_MS / 10;
		p[n++] = (struct pollfd){ s->out.fd, POLLIN, 0 };
		p[n++] = (struct pollfd){ s->err.fd, POLLIN, 0 };
	}
	if (poll(p, n, ms) <= 0)
		return;
	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].pid != 0) {
			(void)take_piece(m, &m->slot[i], &m->slot[i].out);
			(void)take_piece(m, &m->slot[i], &m->slot[i].err);
		}
}

/* M4 */
static void
stop_all(struct many *m)
{
	struct slot none = { 0 };

	if (m->told)
		return;
	m->told = true;
	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].pid != 0)
			(void)kill(m->slot[i].pid, SIGTERM);
	for (; m->next < m->users.n; m->next++) {
		none.u = &m->users.user[m->next];
		user_ended(m, &none, EX_TRY_LATER, "not begun");
	}
}

/* True: this is a child, and *status whether it is its user. */
static bool
run_all(struct many *m, struct pollfd *p, int *status)
{
	while (m->running > 0 || m->next < m->users.n) {
		while (!cmd_stopped(m->c) && m->next < m->users.n &&
		    m->running < m->slots)
			if (begin_user(m, &m->users.user[m->next++], status))
				return (true);
		if (cmd_stopped(m->c))
			stop_all(m);
		if (m->running > 0)
			listen_to_all(m, p);
		look(m);
	}
	return (false);
}

static void
all_ended(struct many *m)
{
	struct cmd *c = m->c;
	struct json j;

	log_verbose("%zu users: %zu done, %zu to run again, %zu failed",
	    m->users.n, m->done, m->again, m->failed);
	if (!c->o->json)
		return;
	json_begin(&j, "summary");
	json_int(&j, "status", m->status);
	json_uint(&j, "users", m->users.n);
	json_uint(&j, "done", m->done);
	json_uint(&j, "run_again", m->again);
	json_uint(&j, "failed", m->failed);
	json_end(c, &j);
}

/* What a child has of its parent's. */
static void
forget(struct many *m)
{
	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].pid != 0) {
			buf_fini(&m->slot[i].out.line);
			buf_fini(&m->slot[i].err.line);
			free(m->slot[i].summary);
		}
}

int
many_run(struct cmd *c, bool *child)
{
	struct many m = { .c = c, .slots = c->cfg.max_parallel };
	struct pollfd *p;
	int status;

	*child = false;
	status = users_find(c, &m.users);
	if (status != EX_DONE)
		return (status);
	if (m.users.n == 0)
		log_warning("option -A: the user database has no user from "
			    "first_valid_uid on");
	m.slot = arena_zalloc(&c->arena, m.slots * sizeof(*m.slot));
	p = arena_zalloc(&c->arena, 2 * m.slots * sizeof(*p));
	if (m.slot == NULL || p == NULL)
		return (EX_FAIL);
	out_flush(c);
	*child = run_all(&m, p, &status);
	if (*child) {
		forget(&m);
		return (status != EX_DONE
			? status
			: many_child_command(c, &m.users.user[m.next - 1]));
	}
	all_ended(&m);
	return (m.status);
}
