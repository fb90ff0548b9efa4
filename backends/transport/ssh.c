/*
 * ssh -- a command on another machine as a link: by libssh2, or by ssh(1) where
 * that is needed.
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

/*
 * Read by sh whatever the login shell is; $1 is the mail user, when there is
 * one.  127 as if it had been found missing.
 */
#define FIND_OURS                                                              \
	"command -v dsyncfs-sync >/dev/null 2>&1 && "                          \
	"exec dsyncfs-sync dsync-server ${1+-u \"$1\"}; "                      \
	"command -v doveadm >/dev/null 2>&1 && "                               \
	"exec doveadm dsync-server ${1+-u \"$1\"}; exit 127"

static int
default_command(struct ssh_call *c)
{
	struct buf b = BUF_INIT;
	const char *text;

	buf_printf(&b, "exec sh -c '%s' sh", FIND_OURS);
	if (c->o->user != NULL) {
		buf_put_u8(&b, ' ');
		shell_quote(&b, c->o->user);
	}
	text = buf_cstr(&b);
	c->command = text != NULL ? arena_strdup(&c->mem, text) : NULL;
	c->default_command = true;
	buf_fini(&b);
	if (c->command != NULL)
		return (0);
	log_error("%s: out of memory", c->peer);
	return (-ENOMEM);
}

static int
check_options(const struct link_ssh_options *o)
{
	static const char origin[] = "ssh";

	if (check_host(o->host, origin) != 0 ||
	    (o->login != NULL && check_login(o->login, origin) != 0) ||
	    (o->user != NULL && check_user(o->user, origin) != 0))
		return (-EINVAL);
	if (o->port > 65535) {
		log_error("%s: the port %u is above 65535", o->host, o->port);
		return (-EINVAL);
	}
	return (0);
}

static int
shake_hands(struct ssh_call *c)
{
	struct ssh_session *s = c->session;
	int r, rc;

	SSH_CALL(s, r, rc, libssh2_session_handshake(s->s, s->sock.fd));
	if (r != 0 || rc == 0)
		return (r);
	if (rc == LIBSSH2_ERROR_KEX_FAILURE && !ssh_session_cut(s)) {
		c->why = "libssh2 and the host have no methods or host key "
			 "type in common";
		return (SSH_PROGRAM);
	}
	return (ssh_session_failed(s, rc, "no ssh with it"));
}

static void
say_methods(struct ssh_call *c)
{
	LIBSSH2_SESSION *s = c->session->s;
	const char *kex = libssh2_session_methods(s, LIBSSH2_METHOD_KEX);
	const char *crypt = libssh2_session_methods(s, LIBSSH2_METHOD_CRYPT_CS);
	const char *mac = libssh2_session_methods(s, LIBSSH2_METHOD_MAC_CS);

	log_debug("%s: %s, %s, %s", c->peer, kex != NULL ? kex : "?",
	    crypt != NULL ? crypt : "?", mac != NULL ? mac : "?");
}

/* All up to the command, by libssh2. */
static int
by_library(struct ssh_call *c, struct link **out)
{
	const struct ssh_config *n = &c->config;
	int64_t end = connect_end(c->o->limits);
	struct dial d = { .host = n->hostname,
		.port = n->port,
		.family = n->family,
		.peer = c->peer,
		.limits = c->o->limits };
	int fd, r;

	if (check_host(n->hostname, "ssh_config") != 0)
		return (-EINVAL);
	if ((r = ssh_read_known_hosts(c)) != 0 ||
	    (r = dial(&d, end, &fd)) != 0 ||
	    (r = ssh_session_new(
		 fd, c->peer, c->o->limits, end, &c->session)) != 0)
		return (r);
	if ((r = ssh_set_methods(c)) != 0 || (r = shake_hands(c)) != 0)
		return (r);
	say_methods(c);
	if ((r = ssh_check_host(c)) != 0 || (r = ssh_log_in(c)) != 0)
		return (r);
	return (ssh_link_start(c, out));
}

static int
start(struct ssh_call *c, struct link **out)
{
	struct command_values v = {
		.login = c->o->login, .host = c->o->host, .user = c->o->user
	};
	const char *const *argv;
	int r;

	if (c->o->remote_cmd == NULL)
		r = default_command(c);
	else if (command_is_local(c->o->remote_cmd)) {
		r = command_local(&c->mem, c->o->remote_cmd, &v, &argv);
		return (r != 0 ? r : ssh_program_run(c, argv, out));
	} else
		r = command_remote(&c->mem, c->o->remote_cmd, &v, &c->command);
	if (r != 0 || (r = ssh_ask_config(c)) != 0)
		return (r);
	c->why = c->o->program ? "so it is configured" : c->config.why_program;
	r = c->why != NULL ? SSH_PROGRAM : by_library(c, out);
	if (r != SSH_PROGRAM)
		return (r);
	ssh_session_free(c->session);
	c->session = NULL;
	return (ssh_program_start(c, out));
}

int
link_ssh_new(const struct link_ssh_options *o, struct link **out)
{
	struct ssh_call *c;
	int r;

	if ((r = check_options(o)) != 0)
		return (r);
	if ((c = calloc(1, sizeof(*c))) == NULL) {
		log_error("%s: out of memory", o->host);
		return (-ENOMEM);
	}
	c->o = o;
	arena_init(&c->mem);
	c->peer = o->login != NULL
	    ? arena_printf(&c->mem, "%s@%s", o->login, o->host)
	    : o->host;
	if (c->peer == NULL) {
		log_error("%s: out of memory", o->host);
		r = -ENOMEM;
	} else
		r = start(c, out);
	ssh_session_free(c->session);
	arena_fini(&c->mem);
	free(c);
	return (r);
}
