/*
 * keywords -- dovecot-keywords: "<number> <name>" lines; the number of a
 * keyword is its letter in file names.
 *
 * A number is never given to another name, whatever becomes of it: file names
 * would change their meaning.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NUMBER_MAX                                                             \
	4096 /* Dovecot writes no higher ones; a hostile one shall not cost    \
		memory */

void
kwtable_fini(struct kwtable *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->name[i]);
	free(k->name);
	memset(k, 0, sizeof(*k));
}

static int
reserve(struct kwtable *k, size_t n)
{
	size_t cap = k->cap == 0 ? MD_LETTERS : k->cap;
	char **v;

	while (cap < n)
		cap *= 2;
	if (cap == k->cap)
		return (0);
	if ((v = realloc(k->name, cap * sizeof(*v))) == NULL)
		return (-ENOMEM);
	k->name = v;
	k->cap = cap;
	return (0);
}

int
kwtable_set(struct kwtable *k, size_t number, const char *name)
{
	char *copy;
	int rc;

	if (number >= NUMBER_MAX ||
	    (number < k->n && k->name[number] != NULL) ||
	    kwtable_find(k, name) >= 0)
		return (-EEXIST);
	if ((rc = reserve(k, number + 1)) != 0)
		return (rc);
	if ((copy = strdup(name)) == NULL)
		return (-ENOMEM);
	while (k->n <= number)
		k->name[k->n++] = NULL;
	k->name[number] = copy;
	return (0);
}

/* "<number> <name>"; -EINVAL. */
static int
parse_line(struct kwtable *k, const char *p, size_t n)
{
	char name[256];
	size_t number = 0, i = 0;

	while (i < n && p[i] >= '0' && p[i] <= '9' && number < NUMBER_MAX)
		number = number * 10 + (size_t)(p[i++] - '0');
	if (i == 0 || i >= n || p[i] != ' ')
		return (-EINVAL);
	p += i + 1;
	n -= i + 1;
	if (n == 0 || n >= sizeof(name) || memchr(p, 0, n) != NULL)
		return (-EINVAL);
	memcpy(name, p, n);
	name[n] = 0;
	if (!keyword_valid(name))
		return (-EINVAL);
	return (kwtable_set(k, number, name));
}

int
kwtable_parse(struct kwtable *k, const char *p, size_t n, unsigned *bad)
{
	const char *end, *lf;
	int rc;

	if (n == 0)
		return (0);
	for (end = p + n; p < end; p = lf + 1) {
		if ((lf = memchr(p, '\n', (size_t)(end - p))) == NULL)
			lf = end;
		if (lf == p)
			continue;
		if ((rc = parse_line(k, p, (size_t)(lf - p))) == -ENOMEM)
			return (rc);
		if (rc != 0)
			(*bad)++;
	}
	return (0);
}

void
kwtable_format(struct buf *b, const struct kwtable *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->name[i] != NULL)
			buf_printf(b, "%zu %s\n", i, k->name[i]);
}

int
kwtable_find(const struct kwtable *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->name[i] != NULL && strcasecmp(k->name[i], name) == 0)
			return ((int)i);
	return (-1);
}

int
kwtable_add(struct kwtable *k, const char *name)
{
	size_t number = k->n;
	int rc;

	if (number >= MD_LETTERS)
		return (-ENOSPC);
	return ((rc = kwtable_set(k, number, name)) != 0 ? rc : (int)number);
}
