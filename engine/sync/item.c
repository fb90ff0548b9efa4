/*
 * item -- making and freeing what two brains say to each other.
 */
#include "sync/item.h"

#include <errno.h>
#include <stdlib.h>

int
item_new(enum item_type type, struct item **out)
{
	struct item *i = calloc(1, sizeof(*i));

	if (i == NULL)
		return (-ENOMEM);
	i->type = type;
	arena_init(&i->arena);
	*out = i;
	return (0);
}

void
item_free(struct item *i)
{
	if (i == NULL)
		return;
	if (i->type == ITEM_MAIL)
		stream_close(i->u.mail.body);
	if (i->type == ITEM_ATTRIBUTE)
		stream_close(i->u.attribute.stream);
	arena_fini(&i->arena);
	free(i);
}
