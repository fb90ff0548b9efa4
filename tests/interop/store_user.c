/*
 * store_user -- does to a store what a user of a mount does: for tests in which
 * the other end is a real program.
 *
 * store_user LOCATION
 *
 * Reads a command a line, words separated by TABs, and answers each with one
 * line: "ok" and what came of it, or "no" and why not.  A message is named by
 * its place in its mailbox, from 0 on, counted modulo how many there are; what
 * came of it is the first word of its Subject.  Bodies are in hex.
 *
 * boxes                                          names of all mailboxes
 * deliver BOX GUID FLAGS KEYWORD RECEIVED BODY   FLAGS: a mask; KEYWORD: or ""
 * flags BOX N ADD REMOVE        keyword BOX N +|-NAME
 * expunge BOX N      copy BOX N BOX      move BOX N BOX
 * create NAME   mkdir NAME   rename BOX NAME   delete BOX
 * subscribe NAME   unsubscribe NAME
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/registry.h"
#include "sync/location.h"
#include "sync/replica.h"

#define WORDS 8

static struct store *s;

/* One command: its words, what it is about, and what came of it. */
struct command {
	char *w[WORDS];
	struct arena a;
	struct mailbox box;
	struct msg m;
	char tag[64];
};

static int
end(struct txn *t, int rc)
{
	if (rc == 0)
		return (txn_commit(t));
	txn_abort(t);
	return (rc);
}

static struct txn *
begin(void)
{
	struct txn *t = NULL;

	if (txn_begin(s, NULL, &t) != 0)
		exit(1);
	return (t);
}

static uint32_t
number(const char *w)
{
	return ((uint32_t)strtoul(w, NULL, 0));
}

/* ---- what it is about ---- */

static int
nth(void *arg, uint32_t mailbox, const struct msg *m)
{
	uint32_t *left = arg;

	(void)mailbox;
	if ((*left)-- != 0)
		return (0);
	*left = m->uid;
	return (1);
}

static void
read_tag(struct command *c)
{
	char text[4096];
	struct stream *in;
	ssize_t n;
	char *p;

	if (body_stream(s, &c->m.body, &in) != 0)
		exit(1);
	n = stream_read(in, text, sizeof(text) - 1);
	stream_close(in);
	text[n < 0 ? 0 : n] = '\0';
	p = strstr(text, "Subject: ");
	if (p == NULL || sscanf(p, "Subject: %63s", c->tag) != 1)
		exit(1);
}

static int
find_box(struct command *c)
{
	int rc = store_mailbox_by_name(s, c->w[1], &c->box);

	return (
	    rc == 0 && !(c->box.exists && c->box.selectable) ? -ENOENT : rc);
}

static int
find_msg(struct command *c)
{
	int rc = find_box(c);
	uint32_t n;

	if (rc != 0 || c->box.messages == 0)
		return (rc != 0 ? rc : -ENOENT);
	n = number(c->w[2]) % c->box.messages;
	if (store_msgs(s, c->box.id, 1, nth, &n) != 1 ||
	    store_msg(s, c->box.id, n, &c->a, &c->m) != 0)
		exit(1);
	read_tag(c);
	return (0);
}

/* ---- messages ---- */

static int
unhex(const char *hex, struct msg *m)
{
	static char text[65536];
	size_t n = strlen(hex) / 2;
	struct stream *in;
	unsigned byte;
	int rc;

	if (n > sizeof(text))
		return (-E2BIG);
	for (size_t i = 0; i < n; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return (-EINVAL);
		text[i] = (char)byte;
	}
	rc = stream_from_memory(text, n, &in);
	if (rc != 0)
		return (rc);
	rc = store_body_from_stream(s, in, &m->body, &m->vsize);
	stream_close(in);
	return (rc);
}

static int
deliver(struct command *c)
{
	struct msg m = { .guid = c->w[2],
		.flags = (uint8_t)number(c->w[3]),
		.received = (int64_t)number(c->w[5]),
		.saved = (int64_t)number(c->w[5]) + 1 };
	const char *kw = c->w[4];
	int rc = find_box(c);

	if (m.flags == 0)
		m.state = MSG_NEW;
	if (*kw != '\0')
		m.keywords = (struct keywords){ &kw, 1 };
	if (rc == 0)
		rc = unhex(c->w[6], &m);
	if (rc == 0) {
		struct txn *t = begin();

		rc = end(t, txn_save(t, c->box.id, &m, NULL));
	}
	return (rc);
}

static int
update(struct command *c, const struct msg_update *u)
{
	struct txn *t;
	int rc = find_msg(c);

	if (rc != 0)
		return (rc);
	t = begin();
	return (end(t, txn_update(t, c->box.id, c->m.uid, u)));
}

static int
flags(struct command *c)
{
	struct msg_update u = { .add = (uint8_t)number(c->w[3]),
		.remove = (uint8_t)number(c->w[4]),
		.set_state = true };

	return (update(c, &u));
}

static int
keyword(struct command *c)
{
	const char *name = c->w[3] + 1;
	const struct keywords one = { &name, 1 };
	struct msg_update u = { .set_state = true };

	if (c->w[3][0] == '+')
		u.kw_add = one;
	else
		u.kw_remove = one;
	return (update(c, &u));
}

static int
expunge(struct command *c)
{
	struct txn *t;
	int rc = find_msg(c);

	if (rc != 0)
		return (rc);
	t = begin();
	return (end(t, txn_expunge(t, c->box.id, c->m.uid)));
}

static int
to_box(struct command *c)
{
	bool move = strcmp(c->w[0], "move") == 0;
	struct mailbox to;
	struct txn *t;
	int rc = find_msg(c);

	if (rc == 0)
		rc = store_mailbox_by_name(s, c->w[3], &to);
	if (rc == 0 &&
	    (!to.exists || !to.selectable || (move && to.id == c->box.id)))
		rc = -ENOENT;
	if (rc != 0)
		return (rc);
	t = begin();
	if (move)
		return (end(
		    t, txn_move(t, c->box.id, c->m.uid, to.id, NULL, NULL)));
	c->m.uid = 0;
	c->m.modseq = 0;
	c->m.ino = 0;
	c->m.name = NULL;
	return (end(t, txn_save(t, to.id, &c->m, NULL)));
}

/* ---- mailboxes ---- */

static int
create(struct command *c)
{
	const struct mailbox_new m = { .name = c->w[1],
		.directory = strcmp(c->w[0], "mkdir") == 0 };
	struct txn *t = begin();

	return (end(t, txn_mailbox_create(t, &m, NULL)));
}

/* Neither a mount nor IMAP lets a user do these to INBOX. */
static int
change_box(struct command *c)
{
	int rc = find_box(c);
	struct txn *t;

	if (rc == 0 && strcmp(c->w[1], "INBOX") == 0)
		rc = -EPERM;
	if (rc != 0)
		return (rc);
	t = begin();
	if (strcmp(c->w[0], "rename") == 0)
		return (end(t, txn_mailbox_rename(t, c->box.id, c->w[2], 0)));
	return (end(t, txn_mailbox_delete(t, c->box.id, 0)));
}

static int
subscribe(struct command *c)
{
	struct txn *t = begin();

	return (end(t, txn_subscribe(t, c->w[1], c->w[0][0] == 's', 0)));
}

static int
put_name(void *arg, const struct mailbox *m)
{
	(void)arg;
	if (m->exists && m->selectable)
		(void)printf("\t%s", m->name);
	return (0);
}

static int
boxes(struct command *c)
{
	(void)c;
	(void)printf("ok");
	if (store_mailboxes(s, put_name, NULL) != 0)
		exit(1);
	(void)printf("\n");
	return (1);
}

/* ---- commands ---- */

static const struct verb {
	const char *name;
	int words;
	int (*fn)(struct command *c);
} verbs[] = { { "boxes", 1, boxes }, { "deliver", 7, deliver },
	{ "flags", 5, flags }, { "keyword", 4, keyword },
	{ "expunge", 3, expunge }, { "copy", 4, to_box }, { "move", 4, to_box },
	{ "create", 2, create }, { "mkdir", 2, create },
	{ "rename", 3, change_box }, { "delete", 2, change_box },
	{ "subscribe", 2, subscribe }, { "unsubscribe", 2, subscribe } };

static void
command(char *line)
{
	struct command c = { .a = ARENA_INIT };
	int n = 0, rc = -ENOSYS;

	line[strcspn(line, "\n")] = '\0';
	while (n < WORDS && (c.w[n] = strsep(&line, "\t")) != NULL)
		n++;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, c.w[0]) == 0 && n == verbs[i].words)
			rc = verbs[i].fn(&c);
	if (rc <= 0)
		(void)printf("%s\t%s\n", rc == 0 ? "ok" : "no",
		    rc == 0 ? c.tag : strerror(-rc));
	(void)fflush(stdout);
	arena_fini(&c.a);
}

int
main(int argc, char **argv)
{
	struct arena a = ARENA_INIT;
	struct location l;
	struct replica *r;
	char *line = NULL;
	size_t size = 0;
	int rc;

	if (argc != 2) {
		(void)fputs("usage: store_user LOCATION\n", stderr);
		return (64);
	}
	if (location_parse(
		&a, backends_registry, argv[1], "command line", &l) != 0 ||
	    location_open(backends_registry, &l, NULL, LOCATION_CREATE, &r) !=
		0)
		return (1);
	s = r->store;
	while (getline(&line, &size, stdin) > 0)
		command(line);
	free(line);
	rc = r->ops->close(r);
	arena_fini(&a);
	return (rc == 0 ? 0 : 1);
}
