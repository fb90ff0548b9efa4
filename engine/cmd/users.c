/*
 * users -- whom -A and -F mean, and what of a user may stand in LOCATION2.
 */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmd/cmd_internal.h"
#include "cmd/config_internal.h"

#define NAME_MAX_BYTES 255
/* The kernel's overflow UID, Debian's nobody; and -1 of 16 bits: nobody's mail.
 */
#define UID_NOBODY 65534
#define UID_NONE_16 65535

/*
 * A name ends up in paths and, as %u, in command lines: nothing that either
 * could take for something else.
 */
bool
user_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_MAX_BYTES || *name == '-' ||
	    strspn(name, ".") == n)
		return (false);
	for (; *name != '\0'; name++)
		if ((unsigned char)*name >= 0x80 ||
		    (!isalnum((unsigned char)*name) &&
			strchr("._@+-", *name) == NULL))
			return (false);
	return (true);
}

/* The user that is named so, or a new one; NULL: no memory. */
static struct user *
add(struct arena *a, struct user_list *l, const char *name)
{
	size_t cap;
	struct user *more;

	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->user[i].name, name) == 0)
			return (&l->user[i]);
	if (l->n == l->cap) {
		cap = l->cap * 2 + 16;
		more = arena_zalloc(a, cap * sizeof(*more));
		if (more == NULL)
			return (NULL);
		if (l->n != 0)
			memcpy(more, l->user, l->n * sizeof(*more));
		l->user = more;
		l->cap = cap;
	}
	l->user[l->n].name = arena_strdup(a, name);
	return (l->user[l->n].name == NULL ? NULL : &l->user[l->n++]);
}

/* ---- the file of -F ---- */

static bool
is_blank(char ch)
{
	return (ch == ' ' || ch == '\t' || ch == '\r');
}

/* One line without its newline.  -EINVAL reported, -ENOMEM. */
static int
take_line(struct arena *a, const char *p, size_t n, const char *file,
    unsigned line, struct user_list *l)
{
	const char *name, *end = p + n, *stop;

	while (p < end && is_blank(*p))
		p++;
	for (stop = p; stop < end; stop++)
		if (*stop == '#' && (stop == p || is_blank(stop[-1])))
			break;
	while (stop > p && is_blank(stop[-1]))
		stop--;
	if (stop == p)
		return (0);
	name = arena_strndup(a, p, (size_t)(stop - p));
	if (name == NULL)
		return (-ENOMEM);
	if (strlen(name) == (size_t)(stop - p) && user_name_ok(name))
		return (add(a, l, name) == NULL ? -ENOMEM : 0);
	log_error("%s:%u: '%.100s' is not valid: it takes one user name a "
		  "line, of letters, digits and . _ @ + -",
	    file, line, name);
	return (-EINVAL);
}

int
users_parse(struct arena *a, const char *text, size_t n, const char *file,
    struct user_list *out)
{
	const char *end = text + n, *eol;
	unsigned line = 0, mistakes = 0;
	int r;

	memset(out, 0, sizeof(*out));
	while (text < end && mistakes < CONFIG_ERRORS) {
		line++;
		eol = memchr(text, '\n', (size_t)(end - text));
		if (eol == NULL)
			eol = end;
		r = take_line(a, text, (size_t)(eol - text), file, line, out);
		if (r == -ENOMEM)
			return (r);
		mistakes += r != 0;
		text = eol < end ? eol + 1 : end;
	}
	if (mistakes == 0 && out->n == 0) {
		log_error("%s: no user is named: it takes one user name a line",
		    file);
		mistakes++;
	}
	return (mistakes != 0 ? -EINVAL : 0);
}

/* ---- the user database ---- */

static int
take_entry(struct arena *a, struct user *u, const struct passwd *pw)
{
	u->known = true;
	u->uid = pw->pw_uid;
	u->gid = pw->pw_gid;
	u->home = arena_strdup(a, pw->pw_dir != NULL ? pw->pw_dir : "");
	u->shell = arena_strdup(a, pw->pw_shell != NULL ? pw->pw_shell : "");
	return (a->error);
}

/* Who is not there fails alone, when it is his turn. */
static int
look_up(struct arena *a, struct user_list *l)
{
	struct passwd *pw;
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++) {
		errno = 0;
		pw = getpwnam(l->user[i].name);
		if (pw != NULL)
			r = take_entry(a, &l->user[i], pw);
		else if (errno != ENOENT && errno != ESRCH && errno != EBADF &&
		    errno != EPERM)
			l->user[i].error = errno;
	}
	return (r);
}

static bool
wanted(const struct config *k, uid_t uid)
{
	return (uid >= k->first_valid_uid &&
	    (k->last_valid_uid == 0 || uid <= k->last_valid_uid) && uid != 0 &&
	    uid != UID_NOBODY && uid != UID_NONE_16);
}

static int
all(struct cmd *c, struct user_list *l)
{
	struct passwd *pw;
	struct user *u;
	size_t had;
	int r = 0;

	memset(l, 0, sizeof(*l));
	setpwent();
	while (r == 0 && (errno = 0, pw = getpwent()) != NULL) {
		if (!wanted(&c->cfg, pw->pw_uid))
			continue;
		had = l->n;
		u = add(&c->arena, l, pw->pw_name);
		/* Of two entries of one name the first one counts. */
		if (u == NULL || l->n != had)
			r = u == NULL ? -ENOMEM : take_entry(&c->arena, u, pw);
	}
	if (r == 0 && errno != 0 && errno != ENOENT)
		r = -errno;
	endpwent();
	if (r == 0)
		return (0);
	log_error("option -A: the user database cannot be read to its end: %s",
	    strerror(-r));
	return (r);
}

static int
from_file(struct cmd *c, const char *file, struct user_list *l)
{
	char *text = NULL;
	size_t n = 0;
	int r = config_read_file(file, &text, &n);

	if (r != 0) {
		log_error(
		    "option -F: %s: cannot be read: %s", file, strerror(-r));
		return (r == -EACCES ? EX_PERMISSION : EX_BAD_USAGE);
	}
	r = users_parse(&c->arena, text, n, file, l);
	free(text);
	if (r == -EINVAL)
		return (EX_BAD_USAGE);
	return (r != 0 || look_up(&c->arena, l) != 0 ? EX_FAIL : EX_DONE);
}

int
users_find(struct cmd *c, struct user_list *l)
{
	const char *file = c->o->user_file;
	int status;

	status = file != NULL ? from_file(c, file, l)
	    : all(c, l) != 0  ? EX_FAIL
			      : EX_DONE;
	if (status != EX_DONE)
		return (status);
	for (size_t i = 0; geteuid() != 0 && i < l->n; i++) {
		if (l->user[i].known && l->user[i].uid == geteuid())
			continue;
		log_error("option -%c: only root can act for user '%.100s'",
		    file != NULL ? 'F' : 'A', l->user[i].name);
		return (EX_PERMISSION);
	}
	return (EX_DONE);
}

/* ---- what stands in LOCATION2 ---- */

/* A shell over there, or our own splitting into words, must not read it. */
static bool
is_plain(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x80 && !isalnum((unsigned char)*s) &&
		    strchr("/._@+-", *s) == NULL)
			return (false);
	return (true);
}

static int
put_variable(struct buf *b, char which, const char *name, const char *home,
    const char *origin)
{
	const char *at = strchr(name, '@');
	size_t n = at != NULL ? (size_t)(at - name) : strlen(name);

	switch (which) {
	case 'u':
		buf_put(b, name, strlen(name));
		return (0);
	case 'n':
		buf_put(b, name, n);
		return (0);
	case 'd':
		if (at != NULL)
			buf_put(b, at + 1, strlen(at + 1));
		return (0);
	case '%':
		buf_put_u8(b, '%');
		return (0);
	case 'h':
		if (is_plain(home)) {
			buf_put(b, home, strlen(home));
			return (0);
		}
		log_error("%s: %%h: the home directory '%.200s' has "
			  "characters that a command line may read otherwise",
		    origin, home);
		return (-EINVAL);
	default:
		log_error(
		    "%s: '%%' must be followed by u, n, d, h or %%", origin);
		return (-EINVAL);
	}
}

int
users_expand(struct arena *a, const char *text, const char *name,
    const char *home, const char *origin, const char **out)
{
	struct buf b = BUF_INIT;
	const char *done;
	int r = 0;

	for (const char *s = text; *s != '\0' && r == 0; s++) {
		if (*s != '%')
			buf_put_u8(&b, (uint8_t)*s);
		else {
			r = put_variable(&b, s[1], name, home, origin);
			s += r == 0;
		}
	}
	if (r == 0) {
		done = buf_cstr(&b);
		*out = done == NULL ? NULL : arena_strdup(a, done);
		r = *out == NULL ? -ENOMEM : 0;
	}
	buf_fini(&b);
	return (r);
}
