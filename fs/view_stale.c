/*
 * view_stale -- the name that a message had before a sync changed its flags.
 *
 * A program that listed the folder before may still open, rename or unlink it
 * under that name.  It is another node than the message: the kernel takes a
 * renaming between two names of one node for nothing to do, and a program
 * must be able to give a message its old flags back.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STALE_MAX 4096

static void
drop(struct view *v, struct stale **at)
{
	struct stale *s = *at;

	(void)v;
	*at = s->next;
	free(s->name);
	free(s);
}

/* Those whose time is over go, and the oldest beyond the limit. */
static void
expire(struct view *v, uint64_t now)
{
	struct stale **at = &v->stale;
	size_t n = 0;

	while (*at != NULL)
		if ((*at)->until_ms <= now || ++n >= STALE_MAX)
			drop(v, at);
		else
			at = &(*at)->next;
}

struct before {
	struct view *v;
	struct arena *a;
	struct msg *m;
	uint32_t uid;
	bool flags; /* the last change was one of flags */
};

static int
take_back(void *arg, const struct event *e)
{
	struct before *b = arg;

	if (e->type != EVENT_FLAGS || e->uid != b->uid)
		return (0);
	b->m->flags = (uint8_t)((b->m->flags & ~e->add) | e->remove);
	b->flags = true;
	return (keywords_apply(
	    b->a, &b->m->keywords, &e->kw_remove, &e->kw_add, &b->m->keywords));
}

/*
 * Called when a sync has changed the message: its last change is taken back to
 * find the name.  A message that only came has none.
 */
void
stale_add(struct view *v, uint32_t box, uint32_t uid)
{
	struct arena a = ARENA_INIT;
	uint64_t now = view_now_ms(v);
	struct box *of = box_by_id(v, box);
	struct before b = { .v = v, .a = &a, .uid = uid };
	struct stale *s;
	struct msg m;
	char *name;

	expire(v, now);
	if (v->o.stale_names == 0 || of == NULL || uid == 0 ||
	    store_msg(v->store, box, uid, &a, &m) != 0)
		goto out;
	b.m = &m;
	if (store_events(v->store, box, m.modseq - 1, take_back, &b) != 0 ||
	    !b.flags || (name = msg_file_name(v, &a, box, &m)) == NULL)
		goto out;
	view_tell(v, FORGET_ENTRY, part_node(of, msg_part(&m)), name);
	if ((s = calloc(1, sizeof(*s))) == NULL)
		goto out;
	if ((s->name = strdup(name)) == NULL) {
		free(s);
		goto out;
	}
	s->box = box;
	s->uid = uid;
	s->part = msg_part(&m);
	s->until_ms = now + (uint64_t)v->o.stale_names * 1000;
	s->next = v->stale;
	v->stale = s;
out:
	arena_fini(&a);
}

void
stale_free(struct view *v)
{
	while (v->stale != NULL)
		drop(v, &v->stale);
}

int
msg_lookup_any(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct msg *out, bool *old)
{
	struct stale *s;
	int error = msg_lookup(v, a, box, part, name, out);
	uint64_t now;

	*old = false;
	if (error != -ENOENT || v->stale == NULL)
		return (error);
	now = view_now_ms(v);
	for (s = v->stale; s != NULL; s = s->next)
		if (s->box == box && s->part == part && s->until_ms > now &&
		    strcmp(s->name, name) == 0) {
			*old = true;
			return (store_msg(v->store, box, s->uid, a, out));
		}
	return (-ENOENT);
}

uint64_t
real_node(struct view *v, uint64_t node)
{
	struct aux *x;

	if ((node & NODE_AUX) != 0)
		return ((x = aux_find(v, node)) != NULL && x->special != 0
			? x->special
			: node);
	return ((node & (NODE_BOX | NODE_SPECIAL)) == 0 ? node & ~NODE_STALE
							: node);
}
