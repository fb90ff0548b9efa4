/*
 * scan_subs -- subscriptions: from the file to the sidecar.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/name.h"

#define SUBS "subscriptions"
#define SUBS_MAX (16u << 20)
#define META "subscriptions"

struct subs_scan {
	struct maildir *m;
	struct arena arena;
	struct subs subs;
	/* names on disk of what the sidecar has subscribed */
	struct table ours;
	const char **off; /* owned: names to unsubscribe */
	size_t n;
	uint32_t count;
};

/* The canonical name of a line: its levels are joined by '/' as ours are. */
static int
name_of_line(
    struct maildir *m, struct arena *a, const char *line, const char **out)
{
	const char *text = m->utf8 ? line : mutf7_decode(a, line);

	*out = name_fix(a, text == NULL ? line : text, '_');
	return (*out == NULL ? -ENOMEM : 0);
}

static int
read_subs(struct maildir *m, struct subs *s)
{
	char *p = NULL;
	size_t n = 0;
	int rc = os_read_file(m->control, SUBS, SUBS_MAX, &p, &n);

	subs_init(s, m->fs ? '/' : '.');
	if (rc == 0)
		rc = subs_parse(s, p, n);
	else if (rc != -ENOENT)
		(void)md_fail(m->control, SUBS, "read", rc);
	free(p);
	return (rc == -ENOENT ? 0 : rc);
}

static int
on_box(void *arg, const struct mailbox *box)
{
	struct subs_scan *s = arg;
	const char *name = arena_strdup(&s->arena, box->name), **v;

	if (!box->subscribed)
		return (0);
	if (name == NULL ||
	    (v = realloc(s->off, (s->n + 1) * sizeof(*v))) == NULL)
		return (-ENOMEM);
	s->off = v;
	s->off[s->n++] = name;
	return (0);
}

static int
apply(struct subs_scan *s, struct txn *t)
{
	const char *name;
	uint32_t i;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < s->n; k++) {
		if ((rc = md_sub_name(s->m, &s->arena, s->off[k], &name)) !=
			0 ||
		    (rc = table_set(&s->ours, name, 1)) != 0)
			return (rc);
		if (!subs_has(&s->subs, name))
			rc = txn_subscribe(t, s->off[k], false, 0);
	}
	for (size_t k = 0; rc == 0 && k < s->subs.n; k++) {
		if (*s->subs.line[k].name == 0 ||
		    table_get(&s->ours, s->subs.line[k].name, &i))
			continue;
		if ((rc = name_of_line(
			 s->m, &s->arena, s->subs.line[k].name, &name)) == 0)
			rc = txn_subscribe(t, name, true, 0);
	}
	return (rc);
}

static int
changed(struct maildir *m, struct stamp *now, bool *yes)
{
	struct arena a = ARENA_INIT;
	const uint8_t *p;
	size_t n;
	int rc = md_look(m->control, SUBS, now);

	*yes = true;
	if (rc == 0 && (rc = store_meta(m->r.store, META, &a, &p, &n)) == 0)
		*yes = n != sizeof(*now) || memcmp(p, now, n) != 0;
	arena_fini(&a);
	return (rc == -ENOENT ? 0 : rc);
}

int
md_scan_subs(struct maildir *m, unsigned *problems)
{
	struct subs_scan s = { .m = m };
	struct txn *t = NULL;
	struct stamp now;
	bool yes;
	int rc = changed(m, &now, &yes);

	if (rc != 0 || !yes)
		return (rc);
	arena_init(&s.arena);
	table_init(&s.ours);
	if ((rc = read_subs(m, &s.subs)) == 0 &&
	    (rc = store_mailboxes(m->r.store, on_box, &s)) == 0 &&
	    (rc = txn_begin(m->r.store, NULL, &t)) == 0) {
		if ((rc = apply(&s, t)) == 0)
			rc = txn_meta_set(t, META, &now, sizeof(now));
		if (rc == 0)
			rc = txn_commit(t);
		else
			txn_abort(t);
	}
	if (s.subs.bad > 0) {
		*problems += s.subs.bad;
		log_error(
		    "%s/%s: %u lines cannot be read and are left as they are",
		    m->control->ops->label(m->control), SUBS, s.subs.bad);
	}
	subs_fini(&s.subs);
	table_fini(&s.ours);
	free(s.off);
	arena_fini(&s.arena);
	return (rc);
}
