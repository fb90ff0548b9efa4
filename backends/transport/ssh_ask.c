/*
 * ssh_ask -- what ssh(1)'s configuration has for a host, asked of ssh(1).
 */
#include "backends/transport/ssh_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

#define CONFIG_MAX (256u << 10)

int
ssh_read_file(struct arena *a, const char *path, size_t max, const char **text,
    size_t *n, unsigned *mode)
{
	int fd, r = 0;
	struct stat st;
	size_t got = 0;
	ssize_t k = 1;
	char *p;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return (-errno);
	if (fstat(fd, &st) != 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if ((uint64_t)st.st_size > max)
		r = -EFBIG;
	if (r != 0)
		goto out;
	if ((p = arena_alloc(a, (size_t)st.st_size + 1)) == NULL) {
		r = -ENOMEM;
		goto out;
	}
	while (k > 0 && got < (size_t)st.st_size) {
		k = read(fd, p + got, (size_t)st.st_size - got);
		if (k > 0)
			got += (size_t)k;
		else if (k < 0 && errno == EINTR)
			k = 1;
	}
	if (k < 0) {
		r = -errno;
		goto out;
	}
	p[got] = '\0';
	*text = p;
	*n = got;
	*mode = st.st_mode & 07777u;
	if (st.st_uid != geteuid() && st.st_uid != 0)
		*mode |= 0777; /* somebody else's, whatever it says */
out:
	(void)close(fd);
	return (r);
}

/* We are who the password file says, as for ssh(1); HOME does not count. */
static int
ask_names(struct ssh_call *c)
{
	struct passwd *pw = getpwuid(getuid());

	c->names.given_host = c->o->host;
	if (pw == NULL) {
		log_error("%s: the user %u, who we are, has no entry in the "
			  "password file",
		    c->peer, (unsigned)getuid());
		return (-EINVAL);
	}
	c->names.home = arena_strdup(&c->mem, pw->pw_dir);
	c->names.local_user = arena_strdup(&c->mem, pw->pw_name);
	return (c->mem.error);
}

/* No OpenSSH here: what it would do without any configuration. */
static int
without_ssh(struct ssh_call *c)
{
	static const char *const identities[] = { "~/.ssh/id_ed25519",
		"~/.ssh/id_ecdsa", NULL };
	static const char *const known[] = { "~/.ssh/known_hosts",
		"/etc/ssh/ssh_known_hosts", NULL };
	struct ssh_config *n = &c->config;

	memset(n, 0, sizeof(*n));
	n->hostname = c->o->host;
	n->user = c->o->login != NULL ? c->o->login : c->names.local_user;
	n->port = c->o->port != 0 ? c->o->port : 22;
	n->identities = identities;
	n->known_hosts = known;
	n->user_known_hosts = 1;
	n->alive_tries = 3;
	log_verbose("%s: ssh(1) is not installed: its configuration is not "
		    "asked",
	    c->peer);
	return (0);
}

static int
refused_config(void *arg, const struct child *child, const char *peer)
{
	(void)arg;
	(void)child;
	log_error("%s: ssh(1) does not accept its configuration for it", peer);
	return (-EINVAL);
}

static int
read_config(struct ssh_call *c, struct link *l, struct buf *b)
{
	int64_t end = connect_end(c->o->limits);
	ssize_t n;
	int r;

	for (;;) {
		if (b->len > CONFIG_MAX || buf_reserve(b, 4096) != 0)
			return (-EPROTO);
		n = l->ops->read(l, b->data + b->len, 4096);
		if (n > 0) {
			b->len += (size_t)n;
			continue;
		}
		if (n != -EAGAIN)
			return ((int)n);
		r = link_wait_until(l, 0, end, c->o->limits);
		if (r == -ETIMEDOUT)
			log_error("%s: ssh -G does not end: what does its "
				  "configuration run?",
			    c->peer);
		if (r != 0)
			return (r);
	}
}

int
ssh_ask_config(struct ssh_call *c)
{
	const char *argv[12] = { "ssh", "-G", "-T" };
	struct link_pipe_options o = {
		.argv = argv, .peer = c->peer, .limits = c->o->limits
	};
	struct pipe_hook hook = { .ended = refused_config, .quiet = true };
	struct buf b = BUF_INIT;
	struct link *l;
	size_t n = 3;
	char port[16];
	int r;

	if ((r = ask_names(c)) != 0)
		return (r);
	if (c->o->config_file != NULL) {
		argv[n++] = "-F";
		argv[n++] = c->o->config_file;
	}
	if (c->o->port != 0) {
		(void)snprintf(port, sizeof(port), "-p%u", c->o->port);
		argv[n++] = port;
	}
	if (c->o->login != NULL) {
		argv[n++] = "-l";
		argv[n++] = c->o->login;
	}
	argv[n++] = "--";
	argv[n] = c->o->host;
	r = pipe_new(&o, &hook, &l);
	if (r == -ENOENT)
		return (without_ssh(c));
	if (r != 0) {
		log_error("%s: cannot run ssh: %s", c->peer, strerror(-r));
		return (r);
	}
	(void)l->ops->shut(l);
	r = read_config(c, l, &b);
	l->ops->close(l);
	if (r == 0 &&
	    (r = ssh_config_parse(
		 &c->mem, (const char *)b.data, b.len, &c->config)) != 0)
		log_error("%s: ssh -G prints no configuration that can be "
			  "used",
		    c->peer);
	buf_fini(&b);
	return (r);
}
