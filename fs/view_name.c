/*
 * view_name -- file names and folder names, both ways.
 */
#include "fs/view_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"

/* ---- folders ---- */

/* Modified UTF-7 of a level; a '.' that would part levels is shifted too. */
static char *
encode_level(struct view *v, struct arena *a, const char *level)
{
	char *m = mutf7_encode(a, level), *out, *o;

	if (m == NULL || v->o.layout == LAYOUT_FS || strchr(m, '.') == NULL)
		return (m);
	if ((out = arena_alloc(a, 6 * strlen(m) + 1)) == NULL)
		return (NULL);
	for (o = out; *m != '\0'; m++)
		if (*m == '.') {
			memcpy(o, "&AC4-", 5);
			o += 5;
		} else
			*o++ = *m;
	*o = '\0';
	return (out);
}

char *
folder_name(struct view *v, struct arena *a, const char *canonical)
{
	char *copy = arena_strdup(a, canonical), *level, *save, *out, *enc;

	if (copy == NULL || (out = arena_strdup(a, "")) == NULL)
		return (NULL);
	for (level = strtok_r(copy, "/", &save); level != NULL;
	     level = strtok_r(NULL, "/", &save)) {
		if ((enc = encode_level(v, a, level)) == NULL)
			return (NULL);
		if (v->o.layout == LAYOUT_FS)
			out = out[0] == '\0'
			    ? enc
			    : arena_printf(a, "%s/%s", out, enc);
		else
			out = arena_printf(a, "%s.%s", out, enc);
		if (out == NULL)
			return (NULL);
	}
	return (out);
}

char *
dir_prefix(struct view *v, struct arena *a, uint64_t node)
{
	const char *level[NAME_MAX_BYTES / 2], *top;
	struct box *b;
	struct aux *x;
	char *out, *at;
	size_t n = 0, len = 0;

	while (node != NODE_ROOT && (b = box_of_folder(v, node)) == NULL) {
		/* Deeper down than names go there are no mailboxes. */
		if (v->o.layout != LAYOUT_FS || n == NAME_MAX_BYTES / 2 ||
		    (x = aux_find(v, node)) == NULL || x->name == NULL ||
		    (level[n] = mutf7_decode(a, x->name)) == NULL)
			return (NULL);
		if ((len += strlen(level[n++]) + 1) > NAME_MAX_BYTES)
			return (NULL);
		node = x->parent;
	}
	top = node == NODE_ROOT ? "" : b->name;
	if ((out = arena_alloc(a, strlen(top) + len + 1)) == NULL)
		return (NULL);
	at = stpcpy(out, top);
	while (n > 0) {
		if (at != out)
			*at++ = '/';
		at = stpcpy(at, level[--n]);
	}
	return (out);
}

static char *
decode_level(struct arena *a, const char *level)
{
	char *plain = arena_strdup(a, level), *dot;

	if (plain == NULL)
		return (NULL);
	while ((dot = strstr(plain, "&AC4-")) != NULL) {
		*dot = '.';
		memmove(dot + 1, dot + 5, strlen(dot + 5) + 1);
	}
	return (mutf7_decode(a, plain));
}

static char *
maildirpp_name(struct arena *a, const char *name)
{
	char *copy, *level, *save, *dec, *out = NULL;

	if (name[0] != '.' || name[1] == '.' || name[1] == '\0' ||
	    name[strlen(name) - 1] == '.' || strstr(name, "..") != NULL)
		return (NULL);
	if ((copy = arena_strdup(a, name + 1)) == NULL)
		return (NULL);
	for (level = strtok_r(copy, ".", &save); level != NULL;
	     level = strtok_r(NULL, ".", &save)) {
		dec = decode_level(a, level);
		if (dec == NULL || strchr(dec, '/') != NULL)
			return (NULL);
		out = out == NULL ? dec : arena_printf(a, "%s/%s", out, dec);
		if (out == NULL)
			return (NULL);
	}
	return (out);
}

char *
canonical_name(
    struct view *v, struct arena *a, uint64_t parent, const char *name)
{
	char *prefix, *level, *out;

	if (v->o.layout == LAYOUT_MAILDIRPP) {
		if (parent != NODE_ROOT)
			return (NULL);
		out = maildirpp_name(a, name);
	} else {
		if (name[0] == '.' || strcmp(name, "cur") == 0 ||
		    strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0)
			return (NULL);
		if ((prefix = dir_prefix(v, a, parent)) == NULL ||
		    (level = mutf7_decode(a, name)) == NULL ||
		    strchr(level, '/') != NULL)
			return (NULL);
		out = prefix[0] == '\0'
		    ? level
		    : arena_printf(a, "%s/%s", prefix, level);
	}
	return (out != NULL && name_valid(out) && strcmp(out, "INBOX") != 0
		? out
		: NULL);
}

/* ---- messages ---- */

enum box_part
msg_part(const struct msg *m)
{
	return ((m->state & MSG_NEW) != 0 ? PART_NEW : PART_CUR);
}

/*
 * A program may use a letter first and name it later, as Dovecot does.  Until
 * then the letter says nothing, stays in the name (msg.letters), and its number
 * is reserved, so that no keyword of a sync gets it.
 */
static bool
number_named(const char *const *table, size_t size, size_t number)
{
	return (number < size && table[number] != NULL &&
	    table[number][0] != '\0' && !keyword_reserved(table[number]));
}

/* *unnamed gets those of the letters that no keyword has yet. */
static int
letters_to_keywords(struct view *v, struct arena *a, uint32_t box,
    const struct mail_info *info, struct keywords *out, uint32_t *unnamed)
{
	const char *const *table = NULL;
	const char *names[28];
	size_t n = 0, i, size = 0;
	int error;

	*unnamed = 0;
	if (info->letters != 0) {
		error = store_keyword_table(v->store, box, a, &table, &size);
		if (error != 0)
			return (error);
	}
	for (i = 0; i < 26; i++) {
		if ((info->letters & 1u << i) == 0)
			continue;
		if (number_named(table, size, i))
			names[n++] = table[i];
		else
			*unnamed |= 1u << i;
	}
	if (info->forwarded)
		names[n++] = KEYWORD_FORWARDED;
	return (keywords_make(a, names, n, out));
}

int
reserve_letters(
    struct view *v, struct txn *t, uint32_t box, const char *letters)
{
	struct arena a = ARENA_INIT;
	const char *const *table;
	struct mail_info info;
	char name[8];
	size_t size, i;
	int error = 0;

	if (letters == NULL || letters[0] != '=')
		return (0);
	mail_info_parse(mail_info_text(letters + 1), &info);
	if (info.letters != 0)
		error = store_keyword_table(v->store, box, &a, &table, &size);
	for (i = 0; i < 26 && error == 0; i++)
		if ((info.letters & 1u << i) != 0 &&
		    (i >= size || table[i] == NULL || table[i][0] == '\0')) {
			(void)snprintf(name, sizeof(name), "(%zu)", i);
			error = txn_keyword(t, box, name, (int)i);
		}
	arena_fini(&a);
	return (error);
}

/* The usual info letters of a message. */
static int
usual_letters(struct view *v, struct arena *a, uint32_t box,
    const struct msg *m, char out[64])
{
	struct mail_info info = { .flags = m->flags };
	const char *const *table;
	size_t n, i, k;
	struct mail_info own = { 0 };
	int error;

	if (m->letters != NULL && m->letters[0] == '=') {
		mail_info_parse(mail_info_text(m->letters + 1), &own);
		memcpy(info.other, own.other, sizeof(info.other));
	} else if (m->letters != NULL)
		memcpy(info.other, m->letters,
		    strnlen(m->letters, sizeof(info.other) - 1));
	info.forwarded = keywords_has(&m->keywords, KEYWORD_FORWARDED);
	if (m->keywords.n > 0 || own.letters != 0) {
		error = store_keyword_table(v->store, box, a, &table, &n);
		if (error != 0)
			return (error);
		for (i = 0; i < 26; i++)
			if (!number_named(table, n, i))
				info.letters |= own.letters & 1u << i;
		for (k = 0; k < m->keywords.n; k++)
			for (i = 0; i < n && i < 26; i++)
				if (strcmp(table[i], m->keywords.name[k]) ==
					0 &&
				    strcmp(table[i], KEYWORD_FORWARDED) != 0)
					info.letters |= 1u << i;
	}
	mail_info_format(&info, out);
	return (0);
}

/* Does the end that a program chose still say what the message is? */
static int
own_form_holds(struct view *v, struct arena *a, uint32_t box,
    const struct msg *m, const struct mail_info *info, bool *holds)
{
	struct msg says = *m, is = *m;
	char want[64], have[64];
	uint32_t unnamed;
	int error;

	error = letters_to_keywords(v, a, box, info, &says.keywords, &unnamed);
	if (error != 0)
		return (error);
	says.flags = info->flags;
	says.letters = is.letters = NULL;
	if ((error = usual_letters(v, a, box, &says, have)) != 0 ||
	    (error = usual_letters(v, a, box, &is, want)) != 0)
		return (error);
	*holds = strcmp(have, want) == 0;
	return (0);
}

/*
 * A program may write a name's end in its own way (none in cur, letters out of
 * order).  It is kept as "=" and the text, and shown as long as it says what
 * the usual form would; after that only letters that say nothing stay.
 */
char *
msg_file_name(
    struct view *v, struct arena *a, uint32_t box, const struct msg *m)
{
	struct mail_info info;
	char letters[64], *out;
	size_t base, n;
	bool holds;

	if (m->letters != NULL && m->letters[0] == '=') {
		mail_info_parse(mail_info_text(m->letters + 1), &info);
		if (own_form_holds(v, a, box, m, &info, &holds) != 0)
			return (NULL);
		if (holds)
			return (
			    arena_printf(a, "%s%s", m->name, m->letters + 1));
	}
	if (usual_letters(v, a, box, m, letters) != 0)
		return (NULL);
	if (msg_part(m) == PART_NEW && letters[0] == '\0')
		return (arena_strdup(a, m->name));
	/* Once for each message of a listing: no printf. */
	base = strlen(m->name);
	n = strlen(letters) + 1;
	if ((out = arena_alloc(a, base + 3 + n)) == NULL)
		return (NULL);
	memcpy(out, m->name, base);
	memcpy(out + base, ":2,", 3);
	memcpy(out + base + 3, letters, n);
	return (out);
}

int
parse_file_name(struct view *v, struct arena *a, uint32_t box,
    enum box_part part, const char *name, struct file_name *out)
{
	size_t base = mail_base_len(name);
	const char *end = name + base;
	struct mail_info info;
	char usual[72];
	uint32_t unnamed;
	size_t said;
	int error;

	if (base == 0 || name[0] == '.')
		return (-EINVAL);
	mail_info_parse(mail_info_text(name), &info);
	out->flags = info.flags;
	error = letters_to_keywords(v, a, box, &info, &out->keywords, &unnamed);
	if (error != 0)
		return (error);
	out->named = info.letters & ~unnamed;
	if ((out->base = arena_strndup(a, name, base)) == NULL)
		return (-ENOMEM);
	/*
	 * A letter for $Forwarded is shown as P, beside which it is one too
	 * many, and one that no keyword has is only in the text: not the usual
	 * form then.
	 */
	said = (size_t)__builtin_popcount(out->named) + info.forwarded;
	if (unnamed != 0 || out->keywords.n < said ||
	    (keywords_has(&out->keywords, KEYWORD_FORWARDED) &&
		!info.forwarded))
		goto own_form;
	memcpy(usual, ":2,", 4);
	mail_info_format(&info, usual + 3);
	if (strcmp(end, usual) == 0 && (part == PART_CUR || usual[3] != '\0'))
		out->letters = arena_strdup(a, info.other);
	else if (end[0] == '\0' && part == PART_NEW)
		out->letters = arena_strdup(a, "");
	else
	own_form:
		out->letters = arena_printf(a, "=%s", end);
	return (out->letters == NULL ? -ENOMEM : 0);
}
