/*
 * view_stale -- names that messages had before a sync changed their flags.
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
drop(struct stale **at)
{
	struct stale *s = *at;

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
			drop(at);
		else
			at = &(*at)->next;
}

void
stale_add(struct view *v, const struct stale *what, unsigned seconds)
{
	uint64_t now = view_now_ms(v);
	struct stale *s;

	expire(v, now);
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return;
	*s = *what;
	if ((s->name = strdup(what->name)) == NULL) {
		free(s);
		return;
	}
	s->until_ms = now + (uint64_t)seconds * 1000;
	s->next = v->stale;
	v->stale = s;
}

struct stale *
stale_find(struct view *v, uint32_t box, enum box_part part, const char *name,
    bool gone)
{
	uint64_t now = view_now_ms(v);
	struct stale *s;

	for (s = v->stale; s != NULL; s = s->next)
		if (s->box == box && s->part == part && s->gone == gone &&
		    s->until_ms > now && strcmp(s->name, name) == 0)
			return (s);
	return (NULL);
}

void
stale_drop(struct view *v, struct stale *s)
{
	struct stale **at = &v->stale;

	while (*at != s)
		at = &(*at)->next;
	drop(at);
}

void
stale_free(struct view *v)
{
	while (v->stale != NULL)
		drop(&v->stale);
}

int
msg_lookup_any(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct msg *out, bool *old)
{
	struct stale *s;
	int error = msg_lookup(v, a, box, part, name, out);

	*old = false;
	if (error != -ENOENT || v->stale == NULL ||
	    (s = stale_find(v, box, part, name, false)) == NULL)
		return (error);
	*old = true;
	return (store_msg(v->store, box, s->uid, a, out));
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
