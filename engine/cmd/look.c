/*
 * look -- dump, log, conflicts: what a location holds and what happened to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cmd/cmd_internal.h"

/* ---- dump ---- */

static int
dump_line(void *arg, const char *line)
{
	struct cmd *c = arg;

	out_printf(c, "%s\n", line);
	return (cmd_stopped(c) ? -EINTR : 0);
}

int
cmd_dump(struct cmd *c)
{
	const struct dump_options o = { .modseqs = !c->o->no_modseqs };
	struct subject s;
	unsigned problems = 0;
	bool done;
	int status = EX_FAIL, r;

	r = subject_open(
	    c, c->o->args, c->o->n_args, LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	r = replica_dump(s.r, &o, dump_line, c, &problems);
	status = r != 0 ? cmd_status_of(r) : problems != 0 ? EX_FAIL : EX_DONE;
	return (subject_close(&s, status));
}

/* ---- log ---- */

struct log_view {
	struct cmd *c;
	struct store *s;
	const char *mailbox; /* NULL: all */
	/* the origin that `who` names, so that it is looked up once in a row */
	struct guid known;
	char who[80];
};

static const char *
who(struct log_view *v, const struct guid *origin)
{
	struct arena a = ARENA_INIT;
	struct peer_memory m;
	char hex[GUID_HEX_LEN + 1];

	if (guid_is_zero(origin))
		return ("local");
	if (guid_eq(origin, &v->known) && v->who[0] != '\0')
		return (v->who);
	v->known = *origin;
	if (memory_peer(v->s, origin, &a, &m) == 0)
		snprintf(v->who, sizeof(v->who), "%s", m.label);
	else
		snprintf(v->who, sizeof(v->who), "%s", guid_hex(origin, hex));
	arena_fini(&a);
	return (v->who);
}

static int
log_entry(void *arg, const struct log_entry *e)
{
	struct log_view *v = arg;
	char when[32], hex[GUID_HEX_LEN + 1];
	struct json j;

	if (cmd_stopped(v->c))
		return (-EINTR);
	if (v->mailbox != NULL && strcmp(v->mailbox, e->mailbox) != 0)
		return (0);
	/*
	 * Our own bookkeeping (states with peers, when the last sync was) is no
	 * change of mail.
	 */
	if (*e->mailbox == '\0' && !v->c->o->debug &&
	    (strncmp(e->text, "peer ", 5) == 0 ||
		strncmp(e->text, "setting ", 8) == 0))
		return (0);
	if (v->c->o->json) {
		json_begin(&j, "log");
		json_uint(&j, "lsn", e->lsn);
		json_int(&j, "time", e->time);
		json_str(&j, "who", who(v, &e->origin));
		json_str(&j, "origin",
		    guid_is_zero(&e->origin) ? NULL
					     : guid_hex(&e->origin, hex));
		json_str(
		    &j, "mailbox", *e->mailbox != '\0' ? e->mailbox : NULL);
		json_uint(&j, "modseq", e->modseq);
		json_str(&j, "change", e->text);
		json_end(v->c, &j);
		return (0);
	}
	out_printf(v->c, "%s modseq=%llu who=%s %s%s%s\n",
	    time_text(e->time, when), (unsigned long long)e->modseq,
	    who(v, &e->origin), e->mailbox, *e->mailbox != '\0' ? " " : "",
	    e->text);
	return (0);
}

/* One look at the log from *from on, which is moved to where it ends. */
static int
log_once(struct cmd *c, struct replica *r, uint64_t *from)
{
	struct log_view v = { .c = c,
		.s = r->store,
		.mailbox = c->o->n_args != 0 ? c->o->args[0] : NULL };
	uint64_t next = *from;
	int e;

	replica_lock(r);
	e = store_log(r->store, *from, log_entry, &v, &next);
	replica_unlock(r);
	if (e == 0)
		*from = next;
	return (e);
}

static int
log_opened(struct cmd *c, struct replica *r)
{
	uint64_t from = c->o->from;
	int e, status;

	e = log_once(c, r, &from);
	status = cmd_status_of(e);
	/*
	 * The mount's own followers wait here no longer than one look: see
	 * control/DESIGN.md.
	 */
	if (c->o->json) {
		struct json j;

		json_begin(&j, "summary");
		json_int(&j, "status", status);
		json_uint(&j, "cursor", from);
		json_end(c, &j);
	} else if (e == 0 && c->o->cursor)
		out_printf(c, "cursor %llu\n", (unsigned long long)from);
	return (status);
}

/*
 * Follows by asking again each second, so that neither a mount nor the store is
 * held meanwhile.
 */
struct follow {
	struct cmd *c;
	const struct cmd_io *io; /* the user's */
	struct buf text, talk; /* of one look */
	uint64_t from;
};

static void
follow_out(void *arg, const char *text, size_t n)
{
	struct follow *f = arg;

	buf_put(&f->text, text, n);
}

static void
follow_err(void *arg, const char *text, size_t n)
{
	struct follow *f = arg;

	buf_put(&f->talk, text, n);
}

/* Hands on what one look gave but for its last line, the cursor. */
static void
follow_show(struct follow *f)
{
	const char *text = buf_cstr(&f->text), *last, *number;
	size_t n = f->text.len;

	if (text == NULL || n == 0)
		return;
	last = memrchr(text, '\n', n - 1);
	last = last != NULL ? last + 1 : text;
	number = strstr(last, f->c->o->json ? "\"cursor\":" : "cursor ");
	if (number != NULL) {
		f->from = strtoull(number + (f->c->o->json ? 9 : 7), NULL, 10);
		n = (size_t)(last - text);
	}
	if (n != 0)
		f->io->out(f->io->arg, text, n);
}

/*
 * One look, as a command of its own: in place, or by the mount that has the
 * store now.
 */
static int
follow_look(struct follow *f)
{
	const struct cmd_io io = { follow_out, follow_err, NULL, f };
	const struct options *o = f->c->o;
	struct arena a = ARENA_INIT;
	struct buf number = BUF_INIT;
	const char **v;
	size_t n = 0;
	int status = EX_FAIL;

	v = arena_zalloc(&a, (o->n_given + o->n_args + 8) * sizeof(*v));
	buf_printf(&number, "--from=%llu", (unsigned long long)f->from);
	if (v == NULL || buf_cstr(&number) == NULL)
		goto out;
	v[n++] = "dsyncfs-sync";
	for (size_t i = 0; i < o->n_given; i++) {
		const struct given *g = &o->given[i];

		if (strcmp(g->name, "follow") == 0 ||
		    strcmp(g->name, "from") == 0 ||
		    strcmp(g->name, "cursor") == 0 ||
		    strcmp(g->name, "user") == 0)
			continue;
		v[n++] = g->value != NULL
		    ? arena_printf(&a, "--%s=%s", g->name, g->value)
		    : arena_printf(&a, "--%s", g->name);
	}
	v[n++] = "--cursor";
	v[n++] = (const char *)number.data;
	v[n++] = "log";
	v[n++] = "--";
	for (size_t i = 0; i < o->n_args; i++)
		v[n++] = o->args[i];
	buf_reset(&f->text);
	buf_reset(&f->talk);
	if (a.error != 0)
		goto out;
	status = cmd_run((int)n, v, f->c->backends, NULL, &io, f->c->stop);
	follow_show(f);
	if (status != EX_TRY_LATER &&
	    f->talk.len != 0) /* a store that is busy just now is asked again */
		f->io->err(f->io->arg, (const char *)f->talk.data, f->talk.len);
out:
	buf_fini(&number);
	arena_fini(&a);
	return (status);
}

static int
follow(struct cmd *c)
{
	struct follow f = { .c = c, .io = c->io, .from = c->o->from };
	int status;

	do {
		status = follow_look(&f);
		if (status != EX_DONE && status != EX_TRY_LATER)
			break;
		cmd_sleep(c, 1000);
	} while (!cmd_stopped(c));
	buf_fini(&f.text);
	buf_fini(&f.talk);
	return (cmd_stopped(c) ? EX_DONE : status);
}

int
cmd_log(struct cmd *c)
{
	struct subject s;
	bool done;
	int status = EX_FAIL, r;

	if (c->o->follow && c->local == NULL)
		return (follow(c));
	r = subject_open(c, NULL, 0, LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	return (subject_close(&s, log_opened(c, s.r)));
}

/* ---- conflicts ---- */

static int
show_conflict(void *arg, const struct conflict_memory *m)
{
	struct cmd *c = arg;
	char when[32], uid[16] = "";
	struct json j;

	if (m->uid != 0)
		snprintf(uid, sizeof(uid), " uid=%u", m->uid);
	if (c->o->json) {
		json_begin(&j, "conflict");
		json_int(&j, "time", m->time);
		json_str(&j, "peer", m->peer);
		json_str(&j, "mailbox", m->mailbox);
		json_uint(&j, "uid", m->uid);
		json_str(&j, "what", m->what);
		json_str(&j, "rule", m->rule);
		json_str(&j, "outcome", m->outcome);
		json_end(c, &j);
	} else
		out_printf(c, "%s %s%s with %s: %s; %s: %s\n",
		    time_text(m->time, when), m->mailbox, uid, m->peer, m->what,
		    m->rule, m->outcome);
	return (0);
}

int
cmd_conflicts(struct cmd *c)
{
	struct subject s;
	bool done;
	int status = EX_FAIL, r;

	r = subject_open(c, NULL, 0, LOCATION_RDONLY, &s, &done, &status);
	if (r != 0 || done)
		return (r != 0 ? r : status);
	replica_lock(s.r);
	r = memory_conflicts(s.r->store, show_conflict, c);
	replica_unlock(s.r);
	status = cmd_status_of(r);
	if (c->o->json)
		json_summary(c, status);
	return (subject_close(&s, status));
}
