/*
 * mail -- keywords as sorted sets, and Maildir's info letters.
 */
#include "base/mail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEYWORD_MAX_BYTES 255

/* First index whose name is not less than the given one. */
static size_t
lower_bound(const struct keywords *k, const char *name)
{
	size_t lo = 0, hi = k->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (strcmp(k->name[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo);
}

bool
keywords_has(const struct keywords *k, const char *name)
{
	size_t i = lower_bound(k, name);

	return (i < k->n && strcmp(k->name[i], name) == 0);
}

bool
keywords_eq(const struct keywords *a, const struct keywords *b)
{
	size_t i;

	if (a->n != b->n)
		return (false);
	for (i = 0; i < a->n; i++)
		if (strcmp(a->name[i], b->name[i]) != 0)
			return (false);
	return (true);
}

static int
compare(const void *a, const void *b)
{
	return (strcmp(*(const char *const *)a, *(const char *const *)b));
}

/* Room for n names. */
static int
names_new(struct arena *a, size_t n, const char ***out)
{
	if (n > SIZE_MAX / sizeof(**out))
		return (-ENOMEM);
	return (
	    (*out = arena_alloc(a, n * sizeof(**out))) == NULL ? -ENOMEM : 0);
}

int
keywords_make(
    struct arena *a, const char *const *names, size_t n, struct keywords *out)
{
	const char **v;
	size_t i, used = 0;
	int rc;

	if (n == 0) {
		out->name = NULL;
		out->n = 0;
		return (0);
	}
	if ((rc = names_new(a, n, &v)) != 0)
		return (rc);
	memcpy(v, names, n * sizeof(*v));
	qsort(v, n, sizeof(*v), compare);
	for (i = 0; i < n; i++) {
		if (used > 0 && strcmp(v[used - 1], v[i]) == 0)
			continue;
		if ((v[used++] = arena_strdup(a, v[i])) == NULL)
			return (-ENOMEM);
	}
	out->name = v;
	out->n = used;
	return (0);
}

int
keywords_apply(struct arena *a, const struct keywords *base,
    const struct keywords *add, const struct keywords *remove,
    struct keywords *out)
{
	struct keywords all;
	const char **v;
	size_t i, used = 0;
	int rc;

	if ((rc = names_new(a, base->n + add->n, &v)) != 0)
		return (rc);
	for (i = 0; i < base->n; i++)
		if (!keywords_has(remove, base->name[i]))
			v[used++] = base->name[i];
	for (i = 0; i < add->n; i++)
		if (!keywords_has(remove, add->name[i]))
			v[used++] = add->name[i];
	if ((rc = keywords_make(a, v, used, &all)) != 0)
		return (rc);
	*out = all;
	return (0);
}

int
keywords_copy(
    struct arena *a, const struct keywords *from, struct keywords *out)
{
	return (keywords_make(a, from->name, from->n, out));
}

bool
keyword_valid(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t n = strnlen(name, KEYWORD_MAX_BYTES + 1);

	if (n == 0 || n > KEYWORD_MAX_BYTES)
		return (false);
	for (; *p != 0; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("(){%*\"\\]", *p) != NULL)
			return (false);
	return (true);
}

static const struct {
	char letter;
	uint8_t flag;
} info_flags[] = {
	{ 'D', MAIL_DRAFT },
	{ 'F', MAIL_FLAGGED },
	{ 'R', MAIL_ANSWERED },
	{ 'S', MAIL_SEEN },
	{ 'T', MAIL_DELETED },
};

#define N_INFO_FLAGS (sizeof(info_flags) / sizeof(info_flags[0]))

static uint8_t
flag_of(char letter)
{
	size_t i;

	for (i = 0; i < N_INFO_FLAGS; i++)
		if (info_flags[i].letter == letter)
			return (info_flags[i].flag);
	return (0);
}

#define LETTERS (((uint32_t)1 << 26) - 1)

/*
 * The letters of a bit set from the given first one on, in order; returns how
 * many.
 */
static size_t
put_letters(uint32_t set, char first, char *out)
{
	size_t n = 0;

	for (set &= LETTERS; set != 0; set &= set - 1)
		out[n++] = (char)(first + __builtin_ctz(set));
	return (n);
}

void
mail_info_parse(const char *info, struct mail_info *out)
{
	uint32_t other = 0;
	uint8_t flag;
	char c;

	memset(out, 0, sizeof(*out));
	for (; (c = *info) != 0; info++) {
		if (c >= 'a' && c <= 'z')
			out->letters |= (uint32_t)1 << (c - 'a');
		else if (c < 'A' || c > 'Z')
			break;
		else if (c == 'P')
			out->forwarded = true;
		else if ((flag = flag_of(c)) != 0)
			out->flags |= flag;
		else
			other |= (uint32_t)1 << (c - 'A');
	}
	out->other[put_letters(other, 'A', out->other)] = 0;
}

void
mail_info_format(const struct mail_info *in, char out[64])
{
	uint32_t upper = 0;
	size_t i, n;

	for (i = 0; i < sizeof(in->other) && in->other[i] != 0; i++)
		if (in->other[i] >= 'A' && in->other[i] <= 'Z' &&
		    in->other[i] != 'P' && flag_of(in->other[i]) == 0)
			upper |= (uint32_t)1 << (in->other[i] - 'A');
	for (i = 0; i < N_INFO_FLAGS; i++)
		if ((in->flags & info_flags[i].flag) != 0)
			upper |= (uint32_t)1 << (info_flags[i].letter - 'A');
	if (in->forwarded)
		upper |= (uint32_t)1 << ('P' - 'A');
	n = put_letters(upper, 'A', out);
	n += put_letters(in->letters, 'a', out + n);
	out[n] = 0;
}

size_t
mail_base_len(const char *file_name)
{
	return (strcspn(file_name, ":"));
}

const char *
mail_info_text(const char *file_name)
{
	const char *p = strstr(file_name, ":2,");

	return (p == NULL ? "" : p + 3);
}
