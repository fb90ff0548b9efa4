/*
 * folder_name -- directories of a Maildir tree, and the canonical names of the
 * mailboxes in them.
 *
 * Maildir++: ".A.B" is A/B and the root is INBOX.  LAYOUT=fs: "A/B".  Levels
 * are modified UTF-7 unless the location says UTF-8.  What a layout cannot hold
 * gets a directory that is like it; the sidecar remembers which mailbox lies
 * there, under its true name.
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/name.h"

static bool
level_reserved(const char *p, size_t n)
{
	return (n == 3 &&
	    (memcmp(p, "cur", 3) == 0 || memcmp(p, "new", 3) == 0 ||
		memcmp(p, "tmp", 3) == 0));
}

/*
 * cur, new and tmp are parts of a mailbox, and a leading dot is for what is
 * none.
 */
static bool
fs_levels(const char *in, char *out)
{
	bool changed = false;

	for (;;) {
		size_t n = strcspn(in, "/");

		memcpy(out, in, n);
		if (in[0] == '.') {
			out[0] = '_';
			changed = true;
		}
		out += n;
		if (level_reserved(in, n)) {
			*out++ = '_';
			changed = true;
		}
		in += n;
		*out++ = *in;
		if (*in++ == 0)
			return (changed);
	}
}

int
md_dir_of_name(const struct maildir *m, struct arena *a, const char *name,
    bool *changed, const char **dir)
{
	char *s, *out;

	*changed = false;
	*dir = "";
	if (strcmp(name, "INBOX") == 0)
		return (0);
	if ((s = m->utf8 ? arena_strdup(a, name) : mutf7_encode(a, name)) ==
	    NULL)
		return (a->error != 0 ? -ENOMEM : -EINVAL);
	if (m->fs) {
		if ((out = arena_alloc(a, strlen(s) * 2 + 2)) == NULL)
			return (-ENOMEM);
		*changed = fs_levels(s, out);
		*dir = out;
		return (0);
	}
	for (char *p = s; *p != 0; p++)
		if (*p == '.') {
			*p = '_';
			*changed = true;
		} else if (*p == '/') {
			*p = '.';
		}
	*dir = arena_printf(a, ".%s", s);
	return (*dir == NULL ? -ENOMEM : 0);
}

int
md_name_of_dir(const struct maildir *m, struct arena *a, const char *dir,
    const char **name)
{
	char *raw, *text;

	if (*dir == 0) {
		*name = "INBOX";
		return (0);
	}
	if ((raw = arena_strdup(a, m->fs ? dir : dir + 1)) == NULL)
		return (-ENOMEM);
	for (char *p = raw; !m->fs && *p != 0; p++)
		if (*p == '.')
			*p = '/';
	text = m->utf8 ? raw : mutf7_decode(a, raw);
	if (a->error != 0)
		return (-ENOMEM);
	/* What is no modified UTF-7 is shown as it stands there. */
	*name = name_fix(a, text == NULL ? raw : text, '_');
	return (*name == NULL ? -ENOMEM : 0);
}

char *
md_ctl_of_dir(const struct maildir *m, struct arena *a, const char *dir)
{
	if (m->control != m->root && *dir == 0)
		return (arena_strdup(a, m->fs ? "INBOX" : ".INBOX"));
	return (arena_strdup(a, dir));
}

int
md_sub_name(
    struct maildir *m, struct arena *a, const char *name, const char **out)
{
	*out = m->utf8 ? arena_strdup(a, name) : mutf7_encode(a, name);
	return (*out != NULL ? 0 : a->error != 0 ? -ENOMEM : -EINVAL);
}
