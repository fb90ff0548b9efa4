/*
 * fuzz_maildir_name -- any file name of a message, and any directory as a
 * mailbox: no surprise, and canonical names only.
 */
#include "backends/maildir/maildir_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
message(const char *s)
{
	struct maildir_name n, again;
	struct buf b = BUF_INIT;
	struct mail_info info, back;

	maildir_name_parse(s, &n);
	if (n.base_len > strlen(s))
		abort();
	mail_info_parse(n.info, &info);
	if (maildir_name_ok(s) && s[n.base_len] == 0) {
		maildir_name_format(&b, s, &info);
		maildir_name_parse(buf_cstr(&b), &again);
		mail_info_parse(again.info, &back);
		if (again.base_len != n.base_len || again.size != n.size ||
		    again.vsize != n.vsize ||
		    memcmp(&info, &back, sizeof(info)) != 0)
			abort();
		buf_fini(&b);
	}
	if (maildir_base_fits(s, n.size, n.vsize) && !maildir_name_ok(s))
		abort();
	(void)maildir_name_cmp(s, s + n.base_len);
}

static void
directory(const char *s)
{
	struct arena a = ARENA_INIT;

	for (int i = 0; i < 4; i++) {
		struct maildir m = { .fs = (i & 1) != 0, .utf8 = (i & 2) != 0 };
		const char *name, *dir,
		    *in = m.fs ? s : arena_printf(&a, ".%s", s);
		bool changed;

		if (in == NULL || md_name_of_dir(&m, &a, in, &name) != 0 ||
		    !name_valid(name) ||
		    md_dir_of_name(&m, &a, name, &changed, &dir) != 0)
			abort();
		/* Never a way out, never a part of a mailbox. */
		if (dir[0] == '/' || strstr(dir, "/../") != NULL ||
		    strncmp(dir, "../", 3) == 0 || strcmp(dir, "..") == 0 ||
		    strcmp(dir, "cur") == 0 ||
		    (!m.fs && strchr(dir, '/') != NULL))
			abort();
	}
	arena_fini(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = strndup((const char *)data, size > 4096 ? 4096 : size);

	if (s == NULL)
		return (0);
	message(s);
	if (*s != 0)
		directory(s);
	free(s);
	return (0);
}
