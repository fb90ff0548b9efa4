/*
 * far -- what people write for a far location, and which link it becomes.
 */
#include "backends/far.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "backends/dsync/dsync.h"
#include "backends/transport/transport.h"
#include "base/buf.h"
#include "base/log.h"

#define SERVER_WORD "dsync-server"

enum how_kind { HOW_COMMAND, HOW_TCP, HOW_SSH };

struct how {
	enum how_kind kind;
	const char *const *argv; /* HOW_COMMAND */
	struct link_tcp_options tcp; /* HOW_TCP: host, port, tls */
	const char *host; /* HOW_SSH */
	const char *user; /* HOW_TCP, HOW_SSH; NULL: not said */
};

/* ---- what people write ---- */

static size_t
count(const char *const *argv)
{
	size_t n = 0;

	while (argv[n] != NULL)
		n++;
	return (n);
}

/* The words, and dsync-server behind them where it is not among them. */
static int
add_server(struct arena *a, const char *const *words, size_t n, struct how *h)
{
	const char **v = arena_zalloc(a, (n + 2) * sizeof(*v));
	bool has = false;

	if (v == NULL)
		return (-ENOMEM);
	for (size_t i = 0; i < n; i++) {
		v[i] = arena_strdup(a, words[i]);
		has |= strcmp(words[i], SERVER_WORD) == 0;
	}
	if (!has)
		v[n] = SERVER_WORD;
	h->kind = HOW_COMMAND;
	h->argv = v;
	return (a->error);
}

/* So that link_words makes the same words of it. */
static const char *
words_text(struct arena *a, const char *const *words, size_t n)
{
	struct buf b = BUF_INIT;
	const char *s, *text = NULL;

	for (size_t i = 0; i < n; i++) {
		s = words[i];
		if (i != 0)
			buf_put_u8(&b, ' ');
		if (*s != '\0' && strpbrk(s, " \t'\"\\|&;<>()$`\n") == NULL) {
			buf_put(&b, s, strlen(s));
			continue;
		}
		buf_put_u8(&b, '\'');
		for (; *s != '\0'; s++)
			if (*s == '\'')
				buf_put(&b, "'\\''", 4);
			else
				buf_put_u8(&b, (uint8_t)*s);
		buf_put_u8(&b, '\'');
	}
	if (buf_cstr(&b) != NULL)
		text = arena_strdup(a, (const char *)b.data);
	buf_fini(&b);
	return (text);
}

/* Blanks, and not in the path or an option of a location on this machine. */
static bool
is_command_line(const char *s)
{
	const char *blank = strpbrk(s, " \t"), *colon = strchr(s, ':');

	return (blank != NULL &&
	    (colon == NULL || blank < colon || *s == '/' || *s == '.'));
}

/*
 * A path is no host: somebody left out what kind of location it is.  ':' may
 * only stand in an address in brackets.
 */
static bool
is_host(const char *s)
{
	const char *host = strrchr(s, '@');

	host = host != NULL ? host + 1 : s;
	return (*host != '\0' && strchr(host, '/') == NULL && *host != '~' &&
	    *host != '.' && strchr(host, ':') == NULL);
}

/* "tcp:[USER@]HOST:PORT": the user is taken out, the rest the link's. */
static int
parse_tcp(struct arena *a, const char *word, const char *origin, struct how *h)
{
	const char *scheme_end = strchr(word, ':') + 1;
	const char *at = strrchr(scheme_end, '@');

	h->kind = HOW_TCP;
	if (at != NULL) {
		h->user =
		    arena_strndup(a, scheme_end, (size_t)(at - scheme_end));
		word = arena_printf(
		    a, "%.*s%s", (int)(scheme_end - word), word, at + 1);
		if (a->error != 0)
			return (-ENOMEM);
	}
	return (link_tcp_parse(a, word, origin, &h->tcp));
}

static int
parse_one(struct arena *a, const char *word, const char *origin, struct how *h)
{
	const char *const *argv;
	int r;

	if (strncmp(word, "tcp:", 4) == 0 || strncmp(word, "tcps:", 5) == 0)
		return (parse_tcp(a, word, origin, h));
	if (is_command_line(word)) {
		r = link_words(a, word, origin, &argv);
		return (r != 0 ? r : add_server(a, argv, count(argv), h));
	}
	if (!is_host(word))
		return (-ENOENT);
	h->kind = HOW_SSH;
	return (link_ssh_parse(a, word, origin, &h->user, &h->host));
}

static int
far_parse(struct arena *a, const char *const *words, size_t n,
    const char *origin, struct far *out)
{
	struct how *h = arena_zalloc(a, sizeof(*h));
	struct far f = { .how = h };
	int r;

	if (h == NULL)
		return (-ENOMEM);
	r = n > 1 ? add_server(a, words, n, h)
		  : parse_one(a, words[0], origin, h);
	if (r != 0)
		return (r);
	f.text = n > 1 ? words_text(a, words, n) : arena_strdup(a, words[0]);
	f.origin = arena_strdup(a, origin);
	if (a->error != 0)
		return (-ENOMEM);
	*out = f;
	return (0);
}

/* ---- secrets ---- */

struct asking {
	const struct far_settings *s;
	const struct link_limits *limits;
};

/* The first line that the command of a setting prints. */
static int
ask_command(const struct asking *k, const char *setting, const char *text,
    char *out, size_t size)
{
	struct arena a = ARENA_INIT;
	const char *const *argv;
	int r = link_words(&a, text, setting, &argv);

	if (r == 0)
		r = link_secret_command(
		    argv, k->s->terminal, k->limits, out, size);
	arena_fini(&a);
	return (r);
}

static int
password(void *arg, const char *what, char *out, size_t size)
{
	const struct asking *k = arg;

	(void)what;
	if (k->s->password_file != NULL)
		return (link_secret_file(k->s->password_file, out, size));
	if (k->s->password_command == NULL)
		return (-ENOENT);
	return (ask_command(
	    k, "doveadm_password_command", k->s->password_command, out, size));
}

static int
passphrase(void *arg, const char *what, char *out, size_t size)
{
	const struct asking *k = arg;

	(void)what;
	if (k->s->passphrase_command == NULL)
		return (-ENOENT);
	return (ask_command(
	    k, "ssh_passphrase_command", k->s->passphrase_command, out, size));
}

/* ---- dialing ---- */

/* arg outlives the settings: a link may stay for another sync. */
static bool
is_stopped(void *arg)
{
	const atomic_int *stop = arg;

	return (stop != NULL && *stop != 0);
}

/* Whose mail: doveadm's protocol always says so. */
static const char *
own_user(const struct far_settings *s)
{
	const char *user = s->user != NULL ? s->user : getenv("USER");
	struct passwd *pw;

	if (user == NULL)
		user = getenv("LOGNAME");
	if (user == NULL && (pw = getpwuid(geteuid())) != NULL)
		user = pw->pw_name;
	return (user);
}

static int
dial_tcp(const struct how *h, const struct asking *k, struct link **l)
{
	struct link_tcp_options o = h->tcp;

	o.ca_file = k->s->ca_file;
	o.user = h->user != NULL ? h->user : own_user(k->s);
	if (k->s->password_file != NULL || k->s->password_command != NULL)
		o.password = password;
	o.password_arg = (void *)(uintptr_t)k;
	o.limits = k->limits;
	return (link_tcp_new(&o, l));
}

/*
 * USER is whose mail it is; for a dsync_remote_cmd that has %{login}, as Dovecot's
 * has, it is who logs in, and the mail is that of our own -u, or else the same.
 */
static int
dial_ssh(const struct how *h, const struct asking *k, struct link **l)
{
	struct link_ssh_options o = { .host = h->host,
		.user = h->user != NULL ? h->user : k->s->user,
		.remote_cmd = k->s->remote_cmd,
		.limits = k->limits };

	if (o.remote_cmd != NULL && strstr(o.remote_cmd, "%{login}") != NULL) {
		o.login = h->user;
		o.user = k->s->user != NULL ? k->s->user : h->user;
	}
	if (k->s->passphrase_command != NULL)
		o.passphrase = passphrase;
	o.passphrase_arg = (void *)(uintptr_t)k;
	return (link_ssh_new(&o, l));
}

static int
dial_command(const struct how *h, const struct asking *k, struct link **l)
{
	struct link_pipe_options o = {
		.argv = h->argv, .terminal = k->s->terminal, .limits = k->limits
	};

	return (link_command_new(&o, l));
}

static int
far_again(struct link *l, const struct far_settings *s, struct channel **c)
{
	struct channel_dsync_options o = { .raw = s->raw,
		.raw_arg = s->raw_arg };
	int r = channel_dsync_new(l, &o, c);

	if (r != 0)
		log_error("%s: out of memory", l->peer);
	return (r);
}

/* The channel over *l, which is closed when there is none. */
static int
put_channel(const struct far_settings *s, struct link *l, struct channel **c)
{
	int r = far_again(l, s, c);

	if (r != 0)
		l->ops->close(l);
	return (r);
}

static int
far_dial(const struct far *f, const struct far_settings *s, struct link **l,
    struct channel **c)
{
	const struct how *h = f->how;
	const struct link_limits limits = { .connect_ms = s->connect_ms,
		.stop = is_stopped,
		.arg = (void *)(uintptr_t)s->stop };
	struct asking k = { s, &limits };
	struct link *link = NULL;
	int r;

	r = h->kind == HOW_TCP   ? dial_tcp(h, &k, &link)
	    : h->kind == HOW_SSH ? dial_ssh(h, &k, &link)
				 : dial_command(h, &k, &link);
	if (r == 0 && c != NULL)
		r = put_channel(s, link, c);
	if (r != 0)
		return (r == -ECANCELED ? -EINTR : r);
	*l = link;
	return (0);
}

/* ---- being dialed ---- */

static int
far_take_stdio(int *in, int *out)
{
	return (link_take_stdio("peer", in, out));
}

static int
far_serve(int in, int out, const struct far_settings *s, struct link **l,
    struct channel **c)
{
	int a = fcntl(in, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int b = fcntl(out, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	struct link *link = NULL;
	int r = a < 0 || b < 0 ? -errno : link_fds_new(a, b, "peer", &link);

	if (r != 0) {
		log_error("peer: %s", strerror(-r));
		(void)close(a);
		(void)close(b);
		return (r);
	}
	r = put_channel(s, link, c);
	if (r == 0)
		*l = link;
	return (r);
}

/* ---- dialed by another process ---- */

static int
far_join(const struct relay_ends *e, const struct far_settings *s,
    struct link **l, struct channel **c)
{
	const struct link_limits limits = { .stop = is_stopped,
		.arg = (void *)(uintptr_t)s->stop };
	struct relay_ends own = { fcntl(e->data, F_DUPFD_CLOEXEC,
				      STDERR_FILENO + 1),
		fcntl(e->talk, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) };
	struct link *link = NULL;
	int r = link_relay_new(&own, &limits, &link);

	if (r == 0)
		r = put_channel(s, link, c);
	if (r == 0)
		*l = link;
	return (r);
}

const struct dialer far_dialer = { .parse = far_parse,
	.dial = far_dial,
	.again = far_again,
	.take_stdio = far_take_stdio,
	.serve = far_serve,
	.relay_pair = relay_pair,
	.relay = relay_run,
	.relay_say = relay_say,
	.relay_begin = relay_begin,
	.relay_end = relay_end,
	.join = far_join };
