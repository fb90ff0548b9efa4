/*
 * tree_predict -- what two Dovecots will make of their trees.
 *
 *	tree_predict M2S S2M
 *
 * The files are what the master and the slave of one dsync session wrote, of
 * which their N and D records are read.  Both halves are computed as our own
 * would be; what each side has to do is printed ("do ACTION NAME"), and what it
 * has afterwards, a line for a mailbox ("master NAME GUID") or a subscription
 * ("master NAME subscribed").
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lib/tree_model.h"

#define COLUMNS 16

struct table {
	char *key[COLUMNS];
	size_t n;
	char *text; /* owned: where the keys are */
};

/* Cuts at each tab. */
static size_t
split(char *s, char *part[], size_t max)
{
	size_t n = 0;

	while (n < max && (part[n++] = strsep(&s, "\t")) != NULL && s != NULL)
		;
	return (n);
}

/* A value as it was before it went on the wire; NULL: absent. */
static char *
value(const struct table *t, char *const part[], size_t parts, const char *key)
{
	for (size_t i = 0; i < t->n && i < parts; i++) {
		char *v = part[i], *to = v;

		if (strcmp(t->key[i], key) != 0 || v[0] == '\002')
			continue;
		for (; *v != '\0'; v++)
			if (v[0] == '\001' && v[1] != '\0')
				*to++ = *++v == 't' ? '\t' : *v;
			else
				*to++ = *v;
		*to = '\0';
		return (part[i]);
	}
	return (NULL);
}

static int64_t
number(const char *s)
{
	return (s == NULL ? 0 : strtoll(s, NULL, 10));
}

static void
read_node(struct tree *t, struct model *m, const struct table *keys,
    char *part[], size_t n)
{
	char *name = value(keys, part, n, "name"),
	     *guid = value(keys, part, n, "mailbox_guid");
	struct tree_node *node;

	if (name == NULL)
		errx(1, "a node without a name");
	for (char *p = name; *p != '\0'; p++)
		if (*p == '\t')
			*p = '/';
	node = tree_add(t, name);
	if (node == NULL)
		errx(1, "no memory");
	node->existence =
	    value(keys, part, n, "existence")[0] == 'y' ? EXISTS : PLACEHOLDER;
	if (guid != NULL && guid_parse(guid, &node->guid) != 0)
		errx(1, "%s: not a GUID: %s", name, guid);
	node->renamed = number(value(keys, part, n, "last_renamed_or_created"));
	node->subscribed = value(keys, part, n, "subscribed") != NULL;
	node->subscription_changed =
	    number(value(keys, part, n, "last_subscription_change"));
	if (node->subscribed)
		model_subscribe(m, name, true, 0);
	if (node->existence == EXISTS && guid_is_zero(&node->guid))
		(void)model_mkdir(m, name, 0);
	else if (node->existence == EXISTS &&
	    !model_create(m, name, &node->guid))
		errx(1, "%s is there twice", name);
}

static void
read_gone(struct tree *t, const struct table *keys, char *part[], size_t n)
{
	static const char *const key[] = { "mailboxes", "dirs",
		"unsubscribes" };
	const char *sep = value(keys, part, n, "hierarchy_sep"),
		   *escape = value(keys, part, n, "escape_char");

	t->sep = sep[0];
	t->escape = escape == NULL ? '\0' : escape[0];
	for (int kind = 0; kind < 3; kind++) {
		char *list = value(keys, part, n, key[kind]), *word;

		while (list != NULL && (word = strsep(&list, " ")) != NULL) {
			struct item_delete d = { .time = 0 };

			if (guid_parse(word, &d.id) != 0)
				errx(1, "not a GUID: %s", word);
			d.time = number(strsep(&list, " "));
			if (tree_add_gone(t, kind, &d) != 0)
				errx(1, "no memory");
		}
	}
}

static void
read_side(const char *path, struct tree *t, struct model *m)
{
	struct table keys[2] = { { .n = 0 } }; /* of N, D */
	FILE *f = fopen(path, "r");
	char *line = NULL, *part[COLUMNS];
	bool header = true, done = false;
	size_t cap = 0, n;
	ssize_t len;

	if (f == NULL)
		err(1, "%s", path);
	tree_init(t);
	while (!done && (len = getline(&line, &cap, f)) > 0) {
		struct table *k = &keys[line[0] == 'D'];

		line[len - 1] = '\0';
		if (strcmp(line, ".") == 0)
			header = false;
		if (line[0] != 'N' && line[0] != 'D')
			continue;
		if (header) {
			free(k->text);
			k->text = strdup(line + 1);
			k->n = split(k->text, k->key, COLUMNS);
			continue;
		}
		n = split(line + 1, part, COLUMNS);
		done = line[0] == 'D';
		if (done)
			read_gone(t, k, part, n);
		else
			read_node(t, m, k, part, n);
	}
	if (!done)
		errx(1, "%s: no D record", path);
	free(line);
	free(keys[0].text);
	free(keys[1].text);
	fclose(f);
	if (tree_done(t, m->label) != 0)
		errx(1, "%s: a bad tree", path);
}

/* dsync does not carry this one out, but goes on as if it had. */
static bool
is_final_name(const struct tree_action *a)
{
	const char *to = a->to == NULL ? NULL : strrchr(a->to, '-');

	return (a->act == TREE_RENAME && a->time == 0 && to != NULL &&
	    strlen(to) == GUID_HEX_LEN + 1 &&
	    strstr(a->name, "-temp-") != NULL);
}

static void
print_side(const struct model *m)
{
	char hex[GUID_HEX_LEN + 1];

	for (size_t i = 0; i < m->n; i++)
		if (!guid_is_zero(&m->node[i].guid))
			printf("%s %s %s\n", m->label, m->node[i].name,
			    guid_hex(&m->node[i].guid, hex));
	for (size_t i = 0; i < m->subs; i++)
		if (m->sub[i].on)
			printf("%s %s subscribed\n", m->label, m->sub[i].name);
}

static void
act(struct model *m, const struct tree_action *a)
{
	static const char *const word[] = { "delete", "rmdir", "rename",
		"create", "merge", "mkdir", "subscribe", "unsubscribe" };

	printf("do %s %s%s%s\n", word[a->act], a->name,
	    a->to == NULL ? "" : " ", a->to == NULL ? "" : a->to);
	if (a->act == TREE_MERGE_BOX)
		model_merge(m, a->name, &a->guid);
	else if (!is_final_name(a))
		/* Dovecot, too, goes on when it cannot. */
		(void)model_do(m, a);
}

int
main(int argc, char **argv)
{
	static const char *const label[] = { "master", "slave" };
	struct tree t[2];
	struct tree_plan p[2];
	struct model m[2];

	if (argc != 3)
		errx(64, "usage: tree_predict M2S S2M");
	for (int s = 0; s < 2; s++) {
		model_init(&m[s], label[s]);
		read_side(argv[s + 1], &t[s], &m[s]);
	}
	for (int s = 0; s < 2; s++)
		if (tree_dsync(&t[s], &t[!s], TREE_TWO_WAY, 0, &p[s]) != 0)
			errx(1, "%s: no plan", label[s]);
	for (int s = 0; s < 2; s++) {
		for (size_t i = 0; i < p[s].actions; i++)
			if (!p[s].action[i].extra)
				act(&m[s], &p[s].action[i]);
		print_side(&m[s]);
	}
	for (int s = 0; s < 2; s++) {
		model_fini(&m[s]);
		tree_plan_fini(&p[s]);
		tree_fini(&t[s]);
	}
	return (0);
}
