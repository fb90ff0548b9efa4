/*
 * doveadm_start -- our half of doveadm's protocol: who we are, the password,
 * the command.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/log.h"

static int
wait_failed(struct link *l, int r)
{
	if (r == -ETIMEDOUT)
		log_error(
		    "%s: it does not answer: is it a doveadm server?", l->peer);
	return (r);
}

static int
send_all(struct link *l, const char *p, size_t n, int64_t end,
    const struct link_limits *limits)
{
	ssize_t w;
	int r;

	while (n != 0) {
		w = l->ops->write(l, p, n);
		if (w >= 0) {
			p += w;
			n -= (size_t)w;
		} else if (w == -EPIPE) {
			/* reading says why */
			return (0);
		} else if (w != -EAGAIN)
			return ((int)w);
		else if ((r = link_wait_until(l, 1, end, limits)) != 0)
			return (wait_failed(l, r));
	}
	return (0);
}

static int
send_password(struct link *l, const struct link_tcp_options *o, int64_t end)
{
	static const char login[] = "\0doveadm"; /* and a NUL behind it */
	char plain[sizeof(login) + SECRET_MAX], what[512];
	char line[16 + 4 * ((sizeof(plain) + 2) / 3) + 2];
	int n, r = -ENOENT;

	(void)snprintf(what, sizeof(what), "doveadm password of %s", l->peer);
	memcpy(plain, login, sizeof(login));
	if (o->password != NULL)
		r = o->password(
		    o->password_arg, what, plain + sizeof(login), SECRET_MAX);
	if (r == -ENOENT) {
		log_error("%s: it asks for a password: set doveadm_password to "
			  "the server's, from a file or command",
		    l->peer);
		r = -EACCES;
	}
	if (r == 0) {
		memcpy(line, "PLAIN\t", 6);
		n = EVP_EncodeBlock((unsigned char *)line + 6,
		    (const unsigned char *)plain,
		    (int)(sizeof(login) + strlen(plain + sizeof(login))));
		line[6 + n] = '\n';
		r = send_all(l, line, (size_t)n + 7, end, o->limits);
	}
	explicit_bzero(plain, sizeof(plain));
	explicit_bzero(line, sizeof(line));
	return (r);
}

static int
send_command(struct link *l, const struct link_tcp_options *o, int64_t end)
{
	char line[1024];
	int n;

	n = snprintf(
	    line, sizeof(line), "\t%s\tdsync-server\t-u%s\n", o->user, o->user);
	return (send_all(l, line, (size_t)n, end, o->limits));
}

/* doveadm's word for why a command failed. */
static int
command_failed(struct link *l, const char *user, const char *why)
{
	static const struct {
		const char *word, *text;
		int error;
	} known[] = { { "NOUSER", "there is no such user", -ENOENT },
		{ "NOTFOUND", "it is not there", -ENOENT },
		{ "NOPERM", "permission denied", -EACCES },
		{ "TEMPFAIL", "it cannot now; try again later", -EPIPE },
		{ "USAGE", "it does not know the command or its options",
		    -EPROTO },
		{ "REFERRAL", "the user's mail is on another server",
		    -EHOSTUNREACH } };
	size_t n = strcspn(why, " \t");

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].word) == n &&
		    strncmp(why, known[i].word, n) == 0) {
			log_error("%s: dsync-server for user %s: %s (%.100s)",
			    l->peer, user, known[i].text, why);
			return (known[i].error);
		}
	log_error("%s: dsync-server for user %s failed: %.100s", l->peer, user,
	    *why != '\0' ? why : "no reason given");
	return (-EPIPE);
}

static int
garbage(struct link *l)
{
	log_error("%s: it does not talk as a doveadm server does: is the port "
		  "right?",
	    l->peer);
	return (-EPROTO);
}

static int
closed(struct link *l, const struct doveadm *d)
{
	switch (d->state) {
	case DOVEADM_AUTH:
		log_error("%s: it closed the connection instead of checking "
			  "the password: has it a doveadm_password?",
		    l->peer);
		return (-EACCES);
	case DOVEADM_OUTPUT:
	case DOVEADM_RESULT:
		log_error("%s: it closed the connection instead of starting "
			  "dsync-server: do its doveadm_allowed_commands have "
			  "it?",
		    l->peer);
		return (-EACCES);
	default:
		log_error("%s: it closed the connection at once: is it a "
			  "doveadm server, and without TLS where we do not use "
			  "it?",
		    l->peer);
		return (-ECONNRESET);
	}
}

/* 0, or the next event's bytes are to be read. */
static int
answer(struct link *l, const struct link_tcp_options *o, int64_t end,
    const struct doveadm *d, enum doveadm_event e)
{
	switch (e) {
	case DOVEADM_ASKS:
		return (send_password(l, o, end));
	case DOVEADM_LET_IN:
		return (send_command(l, o, end));
	case DOVEADM_REFUSED:
		log_error(
		    "%s: permission denied: wrong doveadm password", l->peer);
		return (-EACCES);
	case DOVEADM_FAILED:
		return (command_failed(l, o->user, d->line + 1));
	case DOVEADM_GARBAGE:
		return (garbage(l));
	case DOVEADM_MORE:
	case DOVEADM_STARTED:
		break;
	}
	return (0);
}

int
doveadm_start(struct link *l, const struct link_tcp_options *o, int64_t end,
    struct buf *rest)
{
	static const char version[] = "VERSION\tdoveadm-server\t1\t0\n";
	enum doveadm_event e = DOVEADM_MORE;
	struct doveadm d = { 0 };
	char in[1024];
	ssize_t n;
	size_t used;
	int r;

	r = send_all(l, version, sizeof(version) - 1, end, o->limits);
	while (r == 0 && e != DOVEADM_STARTED) {
		n = l->ops->read(l, in, sizeof(in));
		if (n == -EAGAIN) {
			if ((r = link_wait_until(l, 0, end, o->limits)) != 0)
				r = wait_failed(l, r);
			continue;
		}
		if (n <= 0) {
			r = n == 0 ? closed(l, &d) : (int)n;
			break;
		}
		e = doveadm_input(&d, in, (size_t)n, &used);
		if (e == DOVEADM_STARTED)
			buf_put(rest, in + used, (size_t)n - used);
		else if (used != (size_t)n && e != DOVEADM_REFUSED &&
		    e != DOVEADM_FAILED)
			/* an answer to what was not yet asked */
			e = DOVEADM_GARBAGE;
		r = answer(l, o, end, &d, e);
	}
	if (r == 0 && rest->error != 0) {
		log_error("%s: out of memory", l->peer);
		r = rest->error;
	}
	return (r);
}
