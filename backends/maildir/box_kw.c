/*
 * box_kw -- keywords of a mailbox: letters in file names, names in
 * dovecot-keywords, and what has no letter in the sidecar alone.
 *
 * P in a file name means $Forwarded as well, as mbsync and others write it.  We
 * write the keyword's letter, which Dovecot understands, and leave a P where it
 * is as long as the keyword is set.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

#define KEYWORDS "dovecot-keywords"

int
md_kw_read(struct maildir *m, struct box *b, const char *const *known, size_t n)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, KEYWORDS), *p = NULL;
	struct stamp now;
	unsigned bad = 0;
	size_t len = 0;
	int rc = path == NULL ? -ENOMEM : 0;

	if (rc != 0 || (rc = md_look(m->control, path, &now)) != 0 ||
	    (b->kw_read && stamp_eq(&now, &b->kw_stamp)))
		goto out;
	kwtable_fini(&b->kw);
	b->kw_read = false;
	rc = now.there ? md_read(m->control, path, &p, &len) : -ENOENT;
	if (rc == 0)
		rc = kwtable_parse(&b->kw, p, len, &bad);
	if (rc == -ENOENT)
		rc = 0;
	if (bad > 0)
		log_warning("%s/%s: %u lines are not right and were left out",
		    m->control->ops->label(m->control), path, bad);
	/*
	 * A table that was lost or cut keeps its meaning: letters in file names
	 * cannot tell.
	 */
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (*known[i] != 0 && keyword_valid(known[i]) &&
		    (rc = kwtable_set(&b->kw, i, known[i])) == -EEXIST)
			rc = 0;
	b->kw_stamp = now;
	b->kw_read = rc == 0;
out:
	free(p);
	arena_fini(&a);
	return (rc);
}

/* Reads the table as the last scan knew it. */
static int
read_again(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	struct box_state st;
	int rc = md_state_get(m, b->id, &a, &st);

	if (rc == 0 || rc == -ENOENT)
		rc = md_kw_read(m, b, st.kw, st.kws);
	arena_fini(&a);
	return (rc);
}

static int
kw_write(struct maildir *m, struct box *b)
{
	struct arena a = ARENA_INIT;
	char *path = md_path(&a, b->ctl, KEYWORDS);
	struct buf out = BUF_INIT;
	int rc;

	kwtable_format(&out, &b->kw);
	b->kw_read = false;
	rc = path == NULL ? -ENOMEM : out.error;
	if (rc == 0 &&
	    (rc = os_replace_file(m->control, path, out.data, out.len)) != 0)
		(void)md_fail(m->control, path, "written", rc);
	if (rc == 0 && (rc = md_look(m->control, path, &b->kw_stamp)) == 0)
		b->kw_read = true;
	buf_fini(&out);
	arena_fini(&a);
	return (rc);
}

static bool
all_known(const struct box *b, const struct keywords *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (kwtable_find(&b->kw, k->name[i]) < 0)
			return (false);
	return (true);
}

int
md_kw_need(struct maildir *m, struct box *b, const struct keywords *k)
{
	bool added = false;
	int rc = read_again(m, b), n;

	if (rc != 0 || all_known(b, k))
		return (rc);
	if (b->kw.n < MD_LETTERS &&
	    ((rc = md_box_lock(m, b, false)) != 0 ||
		(rc = read_again(m, b)) != 0))
		return (rc);
	for (size_t i = 0; i < k->n; i++) {
		if (kwtable_find(&b->kw, k->name[i]) >= 0)
			continue;
		if ((n = kwtable_add(&b->kw, k->name[i])) == -ENOMEM)
			return (n);
		added |= n >= 0;
		if (n == -ENOSPC && !b->kw_full) {
			b->kw_full = true;
			log_warning("%s: the mailbox in '%s' has more than %d "
				    "keywords; '%s' and others are kept in the "
				    "sidecar only, where other "
				    "programs do not see them",
			    m->r.label, b->dir, MD_LETTERS, k->name[i]);
		}
	}
	return (added ? kw_write(m, b) : 0);
}

void
md_info_make(const struct box *b, uint8_t flags, const struct keywords *k,
    const char *letters, bool passed, struct mail_info *out)
{
	memset(out, 0, sizeof(*out));
	out->flags = flags;
	for (size_t i = 0; i < k->n; i++) {
		int n = kwtable_find(&b->kw, k->name[i]);

		if (n >= 0 && n < MD_LETTERS)
			out->letters |= 1u << n;
		if (passed && strcasecmp(k->name[i], KEYWORD_FORWARDED) == 0)
			out->forwarded = true;
	}
	if (letters != NULL)
		(void)strncpy(out->other, letters, sizeof(out->other) - 1);
}

/* The name of a letter: of the table, or as Dovecot calls one that has none. */
static const char *
letter_name(const struct box *b, unsigned n, struct arena *a)
{
	if (n < b->kw.n && b->kw.name[n] != NULL)
		return (b->kw.name[n]);
	return (arena_printf(a, "unknown-%u", n));
}

int
md_info_keywords(const struct box *b, const struct mail_info *info,
    struct arena *a, const struct keywords *old, struct keywords *out)
{
	const char **v = arena_alloc(a, (old->n + MD_LETTERS + 1) * sizeof(*v));
	uint32_t left = info->letters;
	bool forwarded = info->forwarded;
	size_t n = 0;

	if (v == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < old->n; i++) {
		int k = kwtable_find(&b->kw, old->name[i]);
		bool passed = strcasecmp(old->name[i], KEYWORD_FORWARDED) == 0;

		/* Without a letter of its own it is not the file that decides.
		 */
		if (k < 0 && passed ? !forwarded
				    : k >= 0 && k < MD_LETTERS &&
			    !(left & 1u << k) && !(passed && forwarded)) {
			continue;
		}
		if (k >= 0 && k < MD_LETTERS)
			left &= ~(1u << k);
		if (passed)
			forwarded = false;
		v[n++] = old->name[i];
	}
	for (unsigned i = 0; i < MD_LETTERS; i++)
		if (left & 1u << i) {
			if ((v[n] = letter_name(b, i, a)) == NULL)
				return (-ENOMEM);
			if (strcasecmp(v[n++], KEYWORD_FORWARDED) == 0)
				forwarded = false;
		}
	if (forwarded)
		v[n++] = KEYWORD_FORWARDED;
	return (keywords_make(a, v, n, out));
}
