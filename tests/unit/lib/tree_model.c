/*
 * tree_model -- a side's mailboxes for tests of the tree sync.
 */
#include "tree_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"

static const struct guid none;

void
model_init(struct model *m, const char *label)
{
	memset(m, 0, sizeof(*m));
	m->label = label;
}

void
model_fini(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->node[i].name);
	for (size_t i = 0; i < m->subs; i++)
		free(m->sub[i].name);
	for (size_t i = 0; i < m->n_gone; i++)
		free(m->gone[i].name);
	free(m->node);
	free(m->sub);
	free(m->gone);
	model_init(m, m->label);
}

struct model_node *
model_find(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->node[i].name, name) == 0)
			return (&m->node[i]);
	return (NULL);
}

struct model_node *
model_of_guid(const struct model *m, const struct guid *g)
{
	for (size_t i = 0; i < m->n; i++)
		if (guid_eq(&m->node[i].guid, g))
			return (&m->node[i]);
	return (NULL);
}

static bool
below(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (name_is_child(name, m->node[i].name) &&
		    strcmp(name, m->node[i].name) != 0)
			return (true);
	return (false);
}

/* ---- what users do ---- */

static struct model_node *
add(struct model *m, const char *name)
{
	struct model_node *n;

	m->node = reallocarray(m->node, m->n + 1, sizeof(*m->node));
	assert(m->node != NULL);
	n = &m->node[m->n++];
	memset(n, 0, sizeof(*n));
	n->name = strdup(name);
	return (n);
}

bool
model_create(struct model *m, const char *name, const struct guid *guid)
{
	struct model_node *n = model_find(m, name);

	if ((n != NULL && !guid_is_zero(&n->guid)) || model_of_guid(m, guid))
		return (false);
	if (n == NULL)
		n = add(m, name);
	n->guid = *guid;
	n->uidvalidity = 1;
	return (true);
}

bool
model_mkdir(struct model *m, const char *name, int64_t time)
{
	if (model_find(m, name) != NULL)
		return (false);
	add(m, name)->renamed = time;
	return (true);
}

static char *
moved(const char *name, const char *from, const char *to)
{
	char *out;

	if (asprintf(&out, "%s%s", to, name + strlen(from)) < 0)
		abort();
	return (out);
}

bool
model_rename(struct model *m, const char *from, const char *to, int64_t time)
{
	struct model_node *top = model_find(m, from);

	if (name_is_child(from, to) || strcmp(from, "INBOX") == 0 ||
	    strcmp(to, "INBOX") == 0 || (top == NULL && !below(m, from)))
		return (false);
	for (size_t i = 0; i < m->n; i++) {
		char *name;
		bool taken;

		if (!name_is_child(from, m->node[i].name))
			continue;
		name = moved(m->node[i].name, from, to);
		taken = model_find(m, name) != NULL;
		free(name);
		if (taken)
			return (false);
	}
	for (size_t i = 0; i < m->n; i++) {
		struct model_node *n = &m->node[i];
		char *name;

		if (!name_is_child(from, n->name))
			continue;
		name = moved(n->name, from, to);
		free(n->name);
		n->name = name;
		/* Without a mailbox on top those below it are renamed. */
		if (n == top || top == NULL)
			n->renamed = time;
	}
	return (true);
}

static void
note(struct model *m, int kind, const struct guid *g, const char *name,
    int64_t time)
{
	struct model_gone *d;

	m->gone = reallocarray(m->gone, m->n_gone + 1, sizeof(*m->gone));
	assert(m->gone != NULL);
	d = &m->gone[m->n_gone++];
	d->kind = kind;
	d->guid = *g;
	d->name = strdup(name);
	d->time = time;
}

bool
model_delete(struct model *m, const char *name, int64_t time)
{
	struct model_node *n = model_find(m, name);

	if (n == NULL || strcmp(name, "INBOX") == 0)
		return (false);
	if (!guid_is_zero(&n->guid))
		note(m, GONE_MAILBOX, &n->guid, name, time);
	if (!below(m, name))
		note(m, GONE_DIR, &none, name, time);
	free(n->name);
	*n = m->node[--m->n];
	return (true);
}

static struct model_sub *
find_sub(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->subs; i++)
		if (strcmp(m->sub[i].name, name) == 0)
			return (&m->sub[i]);
	return (NULL);
}

bool
model_subscribed(const struct model *m, const char *name)
{
	const struct model_sub *s = find_sub(m, name);

	return (s != NULL && s->on);
}

void
model_subscribe(struct model *m, const char *name, bool on, int64_t time)
{
	struct model_sub *s = find_sub(m, name);

	if (s == NULL) {
		m->sub = reallocarray(m->sub, m->subs + 1, sizeof(*m->sub));
		assert(m->sub != NULL);
		s = &m->sub[m->subs++];
		s->name = strdup(name);
	}
	s->on = on;
	s->time = time;
	if (!on)
		note(m, GONE_SUBSCRIPTION, &none, name, time);
}

/* ---- what the brain sees ---- */

static struct tree_node *
put(struct tree *t, const struct model *m, const char *name)
{
	const struct model_sub *s = find_sub(m, name);
	struct tree_node *n = tree_add(t, name);

	assert(n != NULL);
	n->existence = PLACEHOLDER;
	if (s != NULL) {
		n->subscribed = s->on;
		n->subscription_changed = s->time;
	}
	return (n);
}

static bool
holds(const struct model *m, const struct model_gone *d)
{
	if (d->kind == GONE_MAILBOX)
		return (model_of_guid(m, &d->guid) == NULL);
	if (model_find(m, d->name) != NULL)
		return (false);
	return (d->kind == GONE_DIR ? !below(m, d->name)
				    : !model_subscribed(m, d->name));
}

void
model_tree(const struct model *m, char sep, char escape, struct tree *out)
{
	tree_init(out);
	out->sep = sep;
	out->escape = escape;
	for (size_t i = 0; i < m->n; i++) {
		struct tree_node *n = put(out, m, m->node[i].name);

		n->existence = EXISTS;
		n->guid = m->node[i].guid;
		n->uidvalidity = m->node[i].uidvalidity;
		n->uidnext = 1;
		n->renamed = m->node[i].renamed;
		n->id = (uint32_t)i + 1;
	}
	for (size_t i = 0; i < m->subs; i++)
		if (m->sub[i].on && model_find(m, m->sub[i].name) == NULL)
			(void)put(out, m, m->sub[i].name);
	for (size_t i = 0; i < m->n_gone; i++) {
		const struct model_gone *d = &m->gone[i];
		struct item_delete x = { .id = d->guid, .time = d->time };

		if (!holds(m, d))
			continue;
		if (d->kind != GONE_MAILBOX &&
		    tree_name_id(d->name, sep, escape, 0, &x.id) != 0)
			abort();
		if (tree_add_gone(out, d->kind, &x) != 0)
			abort();
	}
	if (tree_done(out, m->label) != 0)
		abort();
}

/* ---- what the sync does ---- */

void
model_merge(struct model *m, const char *name, const struct guid *guid)
{
	struct model_node *n = model_find(m, name);

	assert(n != NULL);
	if (guid_cmp(guid, &n->guid) > 0)
		n->guid = *guid;
}

bool
model_do(struct model *m, const struct tree_action *a)
{
	struct model_node *n = model_find(m, a->name);
	bool ok = true;

	switch (a->act) {
	case TREE_DELETE_BOX:
		n = model_of_guid(m, &a->guid);
		ok = n != NULL && strcmp(n->name, a->name) == 0 &&
		    model_delete(m, a->name, a->time);
		break;
	case TREE_DELETE_DIR:
		ok = n != NULL && guid_is_zero(&n->guid) &&
		    model_delete(m, a->name, a->time);
		break;
	case TREE_RENAME:
		ok = model_rename(m, a->name, a->to, a->time);
		break;
	case TREE_CREATE_BOX:
		ok = model_create(m, a->name, &a->guid);
		if (ok && n == NULL)
			model_find(m, a->name)->renamed = a->time;
		break;
	case TREE_MERGE_BOX:
		break;
	case TREE_CREATE_DIR:
		ok = model_mkdir(m, a->name, a->time);
		break;
	case TREE_SUBSCRIBE:
	case TREE_UNSUBSCRIBE:
		model_subscribe(m, a->name, a->act == TREE_SUBSCRIBE, a->time);
		break;
	}
	return (ok);
}

/* ---- comparing ---- */

static const char *
nodes_missing(const struct model *a, const struct model *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct model_node *n = model_find(b, a->node[i].name);

		if (n == NULL || !guid_eq(&n->guid, &a->node[i].guid))
			return (a->node[i].name);
	}
	for (size_t i = 0; i < a->subs; i++)
		if (a->sub[i].on && !model_subscribed(b, a->sub[i].name))
			return (a->sub[i].name);
	return (NULL);
}

const char *
model_difference(const struct model *a, const struct model *b)
{
	const char *d = nodes_missing(a, b);

	return (d != NULL ? d : nodes_missing(b, a));
}

void
model_print(const struct model *m)
{
	char hex[GUID_HEX_LEN + 1];

	fprintf(stderr, "--- %s\n", m->label);
	for (size_t i = 0; i < m->n; i++)
		fprintf(stderr, "%s %.8s renamed=%lld\n", m->node[i].name,
		    guid_is_zero(&m->node[i].guid)
			? "dir"
			: guid_hex(&m->node[i].guid, hex),
		    (long long)m->node[i].renamed);
	for (size_t i = 0; i < m->subs; i++)
		fprintf(stderr, "  %s %s %lld\n",
		    m->sub[i].on ? "subscribed" : "unsubscribed",
		    m->sub[i].name, (long long)m->sub[i].time);
	for (size_t i = 0; i < m->n_gone; i++)
		fprintf(stderr, "  gone %d %s %lld\n", m->gone[i].kind,
		    m->gone[i].name, (long long)m->gone[i].time);
}
