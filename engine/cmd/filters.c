/*
 * filters -- the filters of a remote section: keys that stand for options of
 * mirror and backup, and what a sync with that section makes of them.
 */
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"
#include "cmd/config_internal.h"

static const struct filter_key {
	const char *key, *option;
	bool list; /* may stand several times */
} filter_keys[] = { { "mailbox", "mailbox", true },
	{ "exclude", "exclude", true }, { "since", "since", false },
	{ "until", "until", false }, { "max_size", "max-size", false },
	{ "flag", "flag", false }, { "one_way", "one-way", false } };

/* ---- in the file ---- */

static const struct filter_key *
find_key(const char *key)
{
	for (size_t i = 0; i < sizeof(filter_keys) / sizeof(filter_keys[0]);
	     i++)
		if (strcmp(filter_keys[i].key, key) == 0)
			return (&filter_keys[i]);
	return (NULL);
}

static bool
is_one_way(const char *option)
{
	return (strcmp(option, "one-way") == 0);
}

static const struct config_filter *
find_filter(const struct config_remote *r, const char *option)
{
	for (size_t i = 0; i < r->n_filters; i++)
		if (strcmp(r->filter[i].option, option) == 0)
			return (&r->filter[i]);
	return (NULL);
}

static bool
wants_one_way(const struct config_remote *r)
{
	const struct config_filter *f = find_filter(r, "one-way");

	return (f != NULL && strcmp(f->value.text, "yes") == 0);
}

/* The value is judged as that of the option is: NULL, or what would be right.
 */
static const char *
judge(const struct filter_key *k, const char *value)
{
	struct options o;

	if (is_one_way(k->option))
		return (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0
			? NULL
			: "yes or no");
	memset(&o, 0, sizeof(o));
	return (option_take(&o, k->option, value));
}

/* Twice as many whenever the number is a power of two. */
static int
add_filter(struct arena *a, struct config_remote *r, const char *option,
    const struct config_value *v)
{
	size_t n = r->n_filters;
	struct config_filter *more;

	if ((n & (n - 1)) == 0) {
		more = arena_alloc(a, (n + 1) * 2 * sizeof(*more));
		if (more == NULL)
			return (-ENOMEM);
		if (n != 0)
			memcpy(more, r->filter, n * sizeof(*more));
		r->filter = more;
	}
	r->filter[r->n_filters++] = (struct config_filter){ option, *v };
	return (0);
}

int
filter_set(struct arena *a, struct config_remote *r, const char *key,
    const struct config_value *v)
{
	const struct filter_key *k = find_key(key);
	const struct config_filter *before;
	const char *right;

	if (k == NULL)
		return (-ENOENT);
	right = judge(k, v->text);
	if (right != NULL) {
		log_error("%s: %s = '%.200s' is not valid: it takes %s",
		    v->origin, key, v->text, right);
		return (-EINVAL);
	}
	before = k->list ? NULL : find_filter(r, k->option);
	if (before != NULL) {
		log_error("%s: %s is set twice: first at %s", v->origin, key,
		    before->value.origin);
		return (-EINVAL);
	}
	return (add_filter(a, r, k->option, v));
}

int
filters_check(const struct config_remote *r)
{
	if (!wants_one_way(r) || r->mode.text == NULL ||
	    strcmp(r->mode.text, "backup") != 0)
		return (0);
	log_error("%s: one_way does not go with mode = backup, which deletes "
		  "over there: it takes mode = mirror",
	    find_filter(r, "one-way")->value.origin);
	return (-EINVAL);
}

/* ---- in a sync ---- */

static bool
was_given(const struct options *o, const char *name)
{
	for (size_t i = 0; i < o->n_given; i++)
		if (strcmp(o->given[i].name, name) == 0)
			return (true);
	return (false);
}

/* The command line has said something of this kind: it alone holds. */
static bool
is_replaced(const struct options *o, const char *option)
{
	return (was_given(o, option) ||
	    (strcmp(option, "mailbox") == 0 && was_given(o, "guid")));
}

/* The values of a list, in the arena. */
static int
take_list(struct arena *a, const struct config_remote *r, const char *option,
    const char *const **list, size_t *n)
{
	const char **v = arena_alloc(a, (r->n_filters + 1) * sizeof(*v));

	if (v == NULL)
		return (-ENOMEM);
	*n = 0;
	for (size_t i = 0; i < r->n_filters; i++)
		if (strcmp(r->filter[i].option, option) == 0)
			v[(*n)++] = r->filter[i].value.text;
	*list = v;
	return (0);
}

static void
take(struct options *out, const struct config_filter *f, struct given *g)
{
	bool flag = is_one_way(f->option);

	/* It was found valid when the file was read. */
	(void)option_take(out, f->option, f->value.text);
	*g = (struct given){ f->option, flag ? NULL : f->value.text };
}

int
filters_apply(struct cmd *c, const struct config_remote *r, bool backup,
    struct options *out)
{
	const struct options *o = c->o;
	struct arena *a = &c->arena;
	struct given *g;

	if (backup && wants_one_way(r)) {
		log_error("%s: one_way is not for 'backup', which deletes over "
			  "there: mirror with '%.100s', or back up to its "
			  "location itself",
		    find_filter(r, "one-way")->value.origin, r->name);
		return (EX_BAD_USAGE);
	}
	*out = *o;
	g = arena_alloc(a, (o->n_given + r->n_filters + 1) * sizeof(*g));
	if (g == NULL ||
	    (!is_replaced(o, "mailbox") &&
		take_list(a, r, "mailbox", &out->mailbox, &out->n_mailbox) !=
		    0) ||
	    (!is_replaced(o, "exclude") &&
		take_list(a, r, "exclude", &out->exclude, &out->n_exclude) !=
		    0))
		return (EX_FAIL);
	if (o->n_given != 0)
		memcpy(g, o->given, o->n_given * sizeof(*g));
	for (size_t i = 0; i < r->n_filters; i++) {
		const struct config_filter *f = &r->filter[i];

		if (!is_replaced(o, f->option) &&
		    (!is_one_way(f->option) || wants_one_way(r)))
			take(out, f, &g[out->n_given++]);
	}
	out->given = g;
	return (EX_DONE);
}
