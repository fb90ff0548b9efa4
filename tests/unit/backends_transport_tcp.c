/*
 * backends_transport_tcp -- links over TCP and TLS to a server in this process
 * that talks as doveadm does, or as it should not.
 */
#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "backends/transport/transport_internal.h"
#include "tests/unit/lib/check_main.h"
#include "tests/unit/lib/transport_help.h"

/*
 * What the server does, in order: 'R' reads a line, which must be the next of
 * want; 'W' writes the next of say; 'E' echoes until the end; 'A' reads until
 * the end; 'X' resets the connection; 'N' says no TLS goodbye.  Then it closes.
 */
struct script {
	const char *steps;
	const char *want[8];
	const char *say[8];
	size_t say_len[8]; /* 0: strlen */
};

struct server {
	const struct script *s;
	int listener;
	unsigned port;
	pthread_t thread;
	SSL_CTX *tls; /* NULL: plain */
	char wrong[600]; /* what was not as wanted */
};

static struct server srv;
static char in[1 << 16];
static size_t got;

/* ---- the server ---- */

struct conn {
	int fd;
	SSL *ssl;
};

static ssize_t
c_read(struct conn *c, void *p, size_t n)
{
	if (c->ssl == NULL)
		return (recv(c->fd, p, n, 0));
	return (SSL_read(c->ssl, p, (int)n));
}

static bool
c_write(struct conn *c, const void *p, size_t n)
{
	const char *at = p;
	ssize_t r;

	for (; n != 0; at += r, n -= (size_t)r) {
		r = c->ssl == NULL ? send(c->fd, at, n, MSG_NOSIGNAL)
				   : SSL_write(c->ssl, at, (int)n);
		if (r <= 0)
			return (false);
	}
	return (true);
}

static void
read_line(struct conn *c, const char *want)
{
	char line[256];
	size_t n = 0;

	while (n + 1 < sizeof(line) && c_read(c, line + n, 1) == 1)
		if (line[n++] == '\n')
			break;
	line[n] = '\0';
	if (strcmp(line, want) != 0 && *srv.wrong == '\0')
		snprintf(
		    srv.wrong, sizeof(srv.wrong), "'%s' not '%s'", line, want);
}

static void
echo(struct conn *c, bool back)
{
	static char b[50000];
	ssize_t n;

	while ((n = c_read(c, b, sizeof(b))) > 0)
		if (back && !c_write(c, b, (size_t)n))
			break;
}

static void
play(struct conn *c, const struct script *s)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	size_t r = 0, w = 0;

	for (const char *p = s->steps; *p != '\0'; p++) {
		switch (*p) {
		case 'R':
			read_line(c, s->want[r++]);
			break;
		case 'W':
			(void)c_write(c, s->say[w],
			    s->say_len[w] != 0 ? s->say_len[w]
					       : strlen(s->say[w]));
			w++;
			break;
		case 'N':
			break;
		case 'X':
			setsockopt(
			    c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			break;
		default:
			echo(c, *p == 'E');
		}
	}
}

static void *
serve(void *arg)
{
	struct conn c = { .fd = accept(srv.listener, NULL, NULL) };

	(void)arg;
	if (c.fd < 0)
		return (NULL);
	if (srv.tls != NULL) {
		c.ssl = SSL_new(srv.tls);
		SSL_set_fd(c.ssl, c.fd);
		if (SSL_accept(c.ssl) != 1)
			goto out;
	}
	play(&c, srv.s);
	if (c.ssl != NULL && strpbrk(srv.s->steps, "XN") == NULL)
		SSL_shutdown(c.ssl);
out:
	SSL_free(c.ssl);
	close(c.fd);
	return (NULL);
}

static void
listen_any(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);

	srv.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(srv.listener, (void *)&a, n), 0);
	ck_assert_int_eq(listen(srv.listener, 5), 0);
	ck_assert_int_eq(getsockname(srv.listener, (void *)&a, &n), 0);
	srv.port = ntohs(a.sin_port);
}

static void
start(const struct script *s)
{
	said_begin();
	srv.s = s;
	listen_any();
	ck_assert_int_eq(pthread_create(&srv.thread, NULL, serve, NULL), 0);
}

static void
finish(void)
{
	ck_assert_int_eq(pthread_join(srv.thread, NULL), 0);
	close(srv.listener);
	ck_assert_str_eq(srv.wrong, "");
}

/* ---- the client ---- */

static int
password(void *arg, const char *what, char *out, size_t size)
{
	ck_assert(strstr(what, "doveadm password of tcp") != NULL);
	if (arg == NULL)
		return (-ENOENT);
	snprintf(out, size, "%s", (const char *)arg);
	return (0);
}

static char pw[] = "geheim";

static int
connect_to(struct link **l, unsigned ms)
{
	struct link_limits limits = { .connect_ms = ms };
	struct link_tcp_options o = { .host = "127.0.0.1",
		.port = srv.port,
		.user = "me@example.org",
		.password = password,
		.password_arg = pw,
		.limits = &limits };

	return (link_tcp_new(&o, l));
}

static void
assert_said(const char *text)
{
	ck_assert_msg(said(text), "'%s' is not in: %.2000s", text, said_all());
}

#define VERSION "VERSION\tdoveadm-server\t1\t0\n"
#define PLAIN "PLAIN\tAGRvdmVhZG0AZ2VoZWlt\n"
#define COMMAND "\tme@example.org\tdsync-server\t-ume@example.org\n"

static const struct script good = { .steps = "RWRWRWE",
	.want = { VERSION, PLAIN, COMMAND },
	.say = { "-\n", "+\n", "\n+\n" } };

START_TEST(a_good_server_lets_us_in_and_carries_much)
{
	struct link *l;
	char name[64];

	start(&good);
	ck_assert_int_eq(connect_to(&l, 0), 0);
	snprintf(name, sizeof(name), "tcp:127.0.0.1:%u", srv.port);
	ck_assert_str_eq(l->peer, name);
	ck_assert_int_eq(link_echo(l, 5u << 20), 0);
	l->ops->close(l);
	finish();
	ck_assert(!said("geheim"));
}
END_TEST

START_TEST(a_server_that_asks_for_nothing_is_fine)
{
	static const struct script s = { .steps = "RWRWE",
		.want = { VERSION, COMMAND },
		.say = { "+\n", "\n+\n" } };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_to(&l, 0), 0);
	ck_assert_int_eq(link_echo(l, 1000), 0);
	l->ops->close(l);
	finish();
}
END_TEST

START_TEST(only_what_follows_the_last_line_is_dsyncs)
{
	static const struct script s = { .steps = "RWRWRWA",
		.want = { VERSION, PLAIN, COMMAND },
		.say = { "-\n", "+\n", "\n+\n\n+\nVERSION\tdsync\0x" },
		.say_len = { 0, 0, 20 } };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_to(&l, 0), 0);
	ck_assert_int_eq(link_shut_all(l), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 17);
	ck_assert(memcmp(in, "\n+\nVERSION\tdsync\0", 17) == 0);
	l->ops->close(l);
	finish();
}
END_TEST

static const struct bad {
	struct script s;
	int r;
	const char *text;
} bad[] = {
	{ { .steps = "RWRW",
	      .want = { VERSION, PLAIN },
	      .say = { "-\n", "-\n" } },
	    -EACCES, "permission denied: wrong doveadm password" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "\n-NOUSER\n" } },
	    -ENOENT, "there is no such user (NOUSER)" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "\n-NOPERM\n" } },
	    -EACCES, "permission denied (NOPERM)" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "\n-REFERRAL me@other.example\n" } },
	    -EHOSTUNREACH, "(REFERRAL me@other.example)" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "\n-\n" } },
	    -EPIPE, "failed: no reason given" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "\n-STRANGE \033[2Jthing\n" } },
	    -EPIPE, "failed: STRANGE ?[2Jthing" },
	{ { .steps = "RWRWR",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n" } },
	    -EACCES, "doveadm_allowed_commands" },
	{ { .steps = "RWR", .want = { VERSION, PLAIN }, .say = { "-\n" } },
	    -EACCES, "has it a doveadm_password?" },
	{ { .steps = "R", .want = { VERSION } }, -ECONNRESET,
	    "closed the connection at once" },
	{ { .steps = "RX", .want = { VERSION } }, -ECONNRESET,
	    "the connection" },
	{ { .steps = "W", .say = { "* OK [CAPABILITY IMAP4rev1] ready\n" } },
	    -EPROTO, "does not talk as a doveadm server" },
	{ { .steps = "W", .say = { "-\n+\n\n+\n" } }, -EPROTO,
	    "does not talk as a doveadm server" },
	{ { .steps = "RWRW",
	      .want = { VERSION, PLAIN },
	      .say = { "-\n", "+\n\n+\n" } },
	    -EPROTO, "does not talk as a doveadm server" },
	{ { .steps = "RWRWRW",
	      .want = { VERSION, PLAIN, COMMAND },
	      .say = { "-\n", "+\n", "output\n+\n" } },
	    -EPROTO, "does not talk as a doveadm server" },
	{ { .steps = "W", .say = { "\0\0\0\0" }, .say_len = { 4 } }, -EPROTO,
	    "does not talk as a doveadm server" },
};

START_TEST(a_bad_server_gets_one_clear_line)
{
	struct link *l = NULL;

	start(&bad[_i].s);
	ck_assert_int_eq(connect_to(&l, 0), bad[_i].r);
	ck_assert_ptr_null(l);
	finish();
	assert_said(bad[_i].text);
	/* and one that says there is no TLS */
	ck_assert_uint_eq(said_lines(), 2);
	ck_assert(!said("geheim"));
}
END_TEST

START_TEST(an_endless_line_is_not_waited_for)
{
	static char much[10000];
	static struct script s = { .steps = "WA", .say = { much } };
	struct link *l;

	memset(much, 'x', sizeof(much) - 1);
	start(&s);
	ck_assert_int_eq(connect_to(&l, 0), -EPROTO);
	finish();
	assert_said("does not talk as a doveadm server");
}
END_TEST

START_TEST(a_silent_server_has_its_time)
{
	static const struct script s = { .steps = "A" };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_to(&l, 20), -ETIMEDOUT);
	finish();
	assert_said("does not answer: is it a doveadm server?");
}
END_TEST

START_TEST(nobody_there_is_not_reachable)
{
	struct link *l;

	said_begin();
	listen_any();
	close(srv.listener);
	ck_assert_int_eq(connect_to(&l, 0), -ECONNREFUSED);
	assert_said("Connection refused");
	ck_assert_uint_eq(said_lines(), 1);
}
END_TEST

/* an interface that is not there: known without asking a server */
START_TEST(a_host_that_nobody_knows_is_not_reachable)
{
	struct link_tcp_options o = {
		.host = "fe80::1%none", .port = 1, .user = "u"
	};
	struct link *l;

	said_begin();
	ck_assert_int_eq(link_tcp_new(&o, &l), -EHOSTUNREACH);
	assert_said("cannot find the address of fe80::1%none");
}
END_TEST

/* ---- a name server that is silent ---- */

static pthread_mutex_t dns = PTHREAD_MUTEX_INITIALIZER; /* held: silent */
static atomic_int lookups, lookups_over;

/* The C library's, but that one name has an answer only when dns is free. */
int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
    struct addrinfo **out)
{
	int (*real)(const char *, const char *, const struct addrinfo *,
	    struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
	bool slow = strcmp(host, "slow.example") == 0;
	int r;

	if (slow) {
		lookups++;
		(void)pthread_mutex_lock(&dns);
		(void)pthread_mutex_unlock(&dns);
		host = "127.0.0.1";
	}
	r = real(host, port, hints, out);
	if (slow)
		lookups_over++;
	return (r);
}

/* Whoever is left alone by now must not be in the way of the next test. */
static void
dns_answers(void)
{
	(void)pthread_mutex_unlock(&dns);
	while (lookups_over < lookups)
		(void)poll(NULL, 0, 1);
}

static bool
stop_in_lookup(void *arg)
{
	(void)arg;
	return (lookups > lookups_over);
}

START_TEST(a_stop_ends_a_lookup)
{
	struct link_limits limits = { .stop = stop_in_lookup,
		.connect_ms = 1000000 };
	struct link_tcp_options o = { .host = "slow.example",
		.port = 1,
		.user = "u",
		.limits = &limits };
	struct link *l;

	said_begin();
	(void)pthread_mutex_lock(&dns);
	ck_assert_int_eq(link_tcp_new(&o, &l), -ECANCELED);
	ck_assert_uint_eq(said_lines(), 0);
	dns_answers();
}
END_TEST

START_TEST(a_lookup_has_its_time)
{
	struct link_limits limits = { .connect_ms = 20 };
	struct link_tcp_options o = { .host = "slow.example",
		.port = 1,
		.user = "u",
		.limits = &limits };
	struct link *l;

	said_begin();
	(void)pthread_mutex_lock(&dns);
	ck_assert_int_eq(link_tcp_new(&o, &l), -EHOSTUNREACH);
	assert_said("cannot find the address of slow.example: no name server "
		    "answers");
	dns_answers();
}
END_TEST

START_TEST(a_slow_lookup_is_fine)
{
	struct addrinfo *all;
	const char *why;
	struct sockaddr_in *a;

	ck_assert_int_eq(lookup("slow.example", "77", AF_INET,
			     mono_ms() + HELP_MS, NULL, &all, &why),
	    0);
	a = (struct sockaddr_in *)(void *)all->ai_addr;
	ck_assert_uint_eq(ntohs(a->sin_port), 77);
	ck_assert_uint_eq(ntohl(a->sin_addr.s_addr), INADDR_LOOPBACK);
	freeaddrinfo(all);
}
END_TEST

START_TEST(options_that_cannot_be_are_refused)
{
	struct link_tcp_options o = { .host = "h", .port = 0, .user = "u" };
	struct link *l;

	said_begin();
	ck_assert_int_eq(link_tcp_new(&o, &l), -EINVAL);
	assert_said("doveadm_port of the server (it has no default)");
	o.port = 1;
	o.user = NULL;
	ck_assert_int_eq(link_tcp_new(&o, &l), -EINVAL);
	assert_said("whose mail? give the user with -u");
	o.user = "a\tb";
	ck_assert_int_eq(link_tcp_new(&o, &l), -EINVAL);
	o.user = "u";
	o.host = "-h";
	ck_assert_int_eq(link_tcp_new(&o, &l), -EINVAL);
	ck_assert_uint_eq(said_lines(), 4);
}
END_TEST

START_TEST(a_password_that_nobody_has_is_said)
{
	struct link_tcp_options o = { .host = "127.0.0.1",
		.user = "me@example.org",
		.password = _i ? password : NULL };
	static const struct script s = {
		.steps = "RWA", .want = { VERSION }, .say = { "-\n" }
	};
	struct link *l;

	start(&s);
	o.port = srv.port;
	ck_assert_int_eq(link_tcp_new(&o, &l), -EACCES);
	finish();
	assert_said("it asks for a password: set doveadm_password");
}
END_TEST

START_TEST(a_connection_cut_later_is_an_error)
{
	static const struct script s = { .steps = "RWRWRWRX",
		.want = { VERSION, PLAIN, COMMAND, "go\n" },
		.say = { "-\n", "+\n", "\n+\n" } };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_to(&l, 0), 0);
	ck_assert_int_eq(link_write_all(l, "go\n", 3), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -ECONNRESET);
	assert_said("the connection was cut by the other side");
	ck_assert_int_eq(l->ops->read(l, in, 1), -ECONNRESET);
	l->ops->close(l);
	finish();
}
END_TEST

START_TEST(what_came_before_the_end_is_read_after_a_failed_write)
{
	static const struct script s = { .steps = "RWRWRWRW",
		.want = { VERSION, PLAIN, COMMAND, "go\n" },
		.say = { "-\n", "+\n", "\n+\n", "why" } };
	struct link *l;
	int r;

	start(&s);
	ck_assert_int_eq(connect_to(&l, 0), 0);
	ck_assert_int_eq(link_write_all(l, "go\n", 3), 0);
	/* the answer lies here before anything can be reset */
	ck_assert_int_eq(l->ops->wait(l, 0, -1, HELP_MS), 0);
	ck_assert_int_eq(l->ops->read(l, in, 3), 3);
	ck_assert(memcmp(in, "why", 3) == 0);
	do
		r = link_write_all(l, in, sizeof(in));
	while (r == 0);
	ck_assert_int_eq(r, -EPIPE);
	r = link_read_all(l, in, sizeof(in), &got);
	ck_assert(r == 0 || r == -ECONNRESET);
	l->ops->close(l);
	finish();
}
END_TEST

static bool
stop_now(void *arg)
{
	return (++*(int *)arg > 1);
}

START_TEST(a_stop_ends_the_talk_with_a_server)
{
	int asked = 0;
	struct link_limits limits = { .stop = stop_now, .arg = &asked };
	struct link_tcp_options o = {
		.host = "127.0.0.1", .user = "u", .limits = &limits
	};
	static const struct script s = { .steps = "A" };
	struct link *l;

	start(&s);
	o.port = srv.port;
	ck_assert_int_eq(link_tcp_new(&o, &l), -ECANCELED);
	finish();
}
END_TEST

/* As a mount's: no signal comes with it. */
static bool
stop_later(void *arg)
{
	return (++*(int *)arg > 8);
}

START_TEST(a_stop_without_a_signal_ends_the_talk_too)
{
	int asked = 0;
	struct link_limits limits = {
		.stop = stop_later, .arg = &asked, .connect_ms = 1000000
	};
	struct link_tcp_options o = {
		.host = "127.0.0.1", .user = "u", .limits = &limits
	};
	static const struct script s = { .steps = "A" };
	struct link *l;

	start(&s);
	o.port = srv.port;
	ck_assert_int_eq(link_tcp_new(&o, &l), -ECANCELED);
	finish();
}
END_TEST

/* ---- TLS ---- */

static char ca_path[] = "/tmp/dsyncfs-ca.XXXXXX";

/* A certificate for `san`, signed by itself. */
static void
certify(const char *san)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_EXTENSION *e;
	FILE *f;
	int fd;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"dsyncfs test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	ck_assert_ptr_nonnull(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	ck_assert_int_gt(X509_sign(x, key, EVP_sha256()), 0);
	strcpy(ca_path + strlen(ca_path) - 6, "XXXXXX");
	fd = mkstemp(ca_path);
	ck_assert_int_ge(fd, 0);
	f = fdopen(fd, "w");
	ck_assert_int_eq(PEM_write_X509(f, x), 1);
	fclose(f);
	srv.tls = SSL_CTX_new(TLS_server_method());
	ck_assert_int_eq(SSL_CTX_use_certificate(srv.tls, x), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(srv.tls, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int
connect_tls(const char *host, const char *ca, struct link **l, unsigned ms)
{
	struct link_limits limits = { .connect_ms = ms };
	struct link_tcp_options o = { .host = host,
		.port = srv.port,
		.tls = true,
		.ca_file = ca,
		.user = "me@example.org",
		.password = password,
		.password_arg = pw,
		.limits = &limits };

	return (link_tcp_new(&o, l));
}

static void
finish_tls(void)
{
	finish();
	SSL_CTX_free(srv.tls);
	unlink(ca_path);
}

START_TEST(tls_carries_much_both_ways)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct link *l;

	certify("IP:127.0.0.1");
	ck_assert(SSL_CTX_set_max_proto_version(srv.tls, versions[_i]) == 1);
	start(&good);
	ck_assert_int_eq(connect_tls("127.0.0.1", ca_path, &l, 0), 0);
	ck_assert_int_eq(link_echo(l, 5u << 20), 0);
	l->ops->close(l);
	finish_tls();
	assert_said(_i ? "TLSv1.3" : "TLSv1.2");
}
END_TEST

START_TEST(a_certificate_for_a_name_is_one_for_that_name)
{
	static const struct {
		const char *san, *host;
		bool good;
	} t[] = { { "DNS:localhost", "localhost", true },
		{ "DNS:otherhost", "localhost", false },
		{ "DNS:localhost", "127.0.0.1", false },
		{ "IP:127.0.0.2", "127.0.0.1", false },
		{ "DNS:127.0.0.1", "127.0.0.1", false } };
	struct link *l = NULL;
	int r;

	certify(t[_i].san);
	start(&good);
	r = connect_tls(t[_i].host, ca_path, &l, 0);
	ck_assert_int_eq(r, t[_i].good ? 0 : -EACCES);
	if (l != NULL)
		l->ops->close(l);
	else
		assert_said("is not trusted as that of");
	/* nothing was said to the wrong server */
	ck_assert_int_eq(pthread_join(srv.thread, NULL), 0);
	if (!t[_i].good)
		ck_assert_str_eq(srv.wrong, "");
	close(srv.listener);
	SSL_CTX_free(srv.tls);
	unlink(ca_path);
}
END_TEST

START_TEST(a_certificate_that_nobody_vouches_for_is_refused)
{
	struct link *l;

	certify("IP:127.0.0.1");
	start(&good);
	ck_assert_int_eq(connect_tls("127.0.0.1", NULL, &l, 0), -EACCES);
	finish_tls();
	assert_said("ssl_client_ca_file");
	ck_assert_uint_eq(said_lines(), 1);
}
END_TEST

START_TEST(a_ca_file_that_is_none_is_said)
{
	struct link *l;

	certify("IP:127.0.0.1");
	start(&good);
	ck_assert_int_eq(
	    connect_tls("127.0.0.1", "/nonexistent", &l, 0), -EACCES);
	finish_tls();
	assert_said("ssl_client_ca_file /nonexistent cannot be used");
}
END_TEST

START_TEST(old_tls_is_refused)
{
	struct link *l;

	certify("IP:127.0.0.1");
	SSL_CTX_set_security_level(srv.tls, 0);
	SSL_CTX_set_min_proto_version(srv.tls, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(srv.tls, TLS1_1_VERSION);
	start(&good);
	ck_assert_int_eq(connect_tls("127.0.0.1", ca_path, &l, 0), -EPROTO);
	finish_tls();
	assert_said("no TLS with it");
}
END_TEST

START_TEST(a_server_without_tls_is_told_from_one_with)
{
	static const struct script s = { .steps = "W",
		.say = { "* OK IMAP4rev1 ready to serve you\n" } };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_tls("127.0.0.1", NULL, &l, 0), -EPROTO);
	finish();
	assert_said("is it a TLS port?");
}
END_TEST

START_TEST(a_silent_tls_server_has_its_time)
{
	static const struct script s = { .steps = "A" };
	struct link *l;

	start(&s);
	ck_assert_int_eq(connect_tls("127.0.0.1", NULL, &l, 20), -ETIMEDOUT);
	finish();
}
END_TEST

START_TEST(tls_that_is_cut_is_no_end)
{
	static const struct script s[] = {
		{ .steps = "RWRWRWRWX",
		    .want = { VERSION, PLAIN, COMMAND, "go\n" },
		    .say = { "-\n", "+\n", "\n+\n", "half" } },
		{ .steps = "RWRWRWRWN",
		    .want = { VERSION, PLAIN, COMMAND, "go\n" },
		    .say = { "-\n", "+\n", "\n+\n", "half" } }
	};
	struct link *l;

	certify("IP:127.0.0.1");
	start(&s[_i]);
	ck_assert_int_eq(connect_tls("127.0.0.1", ca_path, &l, 0), 0);
	ck_assert_int_eq(link_write_all(l, "go\n", 3), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), -ECONNRESET);
	l->ops->close(l);
	finish_tls();
	assert_said("the connection was cut");
}
END_TEST

START_TEST(tls_that_says_goodbye_has_ended)
{
	static const struct script s = { .steps = "RWRWRWRW",
		.want = { VERSION, PLAIN, COMMAND, "go\n" },
		.say = { "-\n", "+\n", "\n+\n", "all" } };
	struct link *l;

	certify("IP:127.0.0.1");
	start(&s);
	ck_assert_int_eq(connect_tls("127.0.0.1", ca_path, &l, 0), 0);
	ck_assert_int_eq(link_write_all(l, "go\n", 3), 0);
	ck_assert_int_eq(link_read_all(l, in, sizeof(in), &got), 0);
	ck_assert_uint_eq(got, 3);
	l->ops->close(l);
	finish_tls();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("backends_transport_tcp");
	TCase *t = tcase_create("tcp");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_good_server_lets_us_in_and_carries_much);
	tcase_add_test(t, a_server_that_asks_for_nothing_is_fine);
	tcase_add_test(t, only_what_follows_the_last_line_is_dsyncs);
	tcase_add_loop_test(t, a_bad_server_gets_one_clear_line, 0,
	    sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, an_endless_line_is_not_waited_for);
	tcase_add_test(t, a_silent_server_has_its_time);
	tcase_add_test(t, nobody_there_is_not_reachable);
	tcase_add_test(t, a_host_that_nobody_knows_is_not_reachable);
	tcase_add_test(t, a_stop_ends_a_lookup);
	tcase_add_test(t, a_lookup_has_its_time);
	tcase_add_test(t, a_slow_lookup_is_fine);
	tcase_add_test(t, options_that_cannot_be_are_refused);
	tcase_add_loop_test(t, a_password_that_nobody_has_is_said, 0, 2);
	tcase_add_test(t, a_connection_cut_later_is_an_error);
	tcase_add_test(
	    t, what_came_before_the_end_is_read_after_a_failed_write);
	tcase_add_test(t, a_stop_ends_the_talk_with_a_server);
	tcase_add_test(t, a_stop_without_a_signal_ends_the_talk_too);
	suite_add_tcase(s, t);

	t = tcase_create("tls");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, tls_carries_much_both_ways, 0, 2);
	tcase_add_loop_test(
	    t, a_certificate_for_a_name_is_one_for_that_name, 0, 5);
	tcase_add_test(t, a_certificate_that_nobody_vouches_for_is_refused);
	tcase_add_test(t, a_ca_file_that_is_none_is_said);
	tcase_add_test(t, old_tls_is_refused);
	tcase_add_test(t, a_server_without_tls_is_told_from_one_with);
	tcase_add_test(t, a_silent_tls_server_has_its_time);
	tcase_add_loop_test(t, tls_that_is_cut_is_no_end, 0, 2);
	tcase_add_test(t, tls_that_says_goodbye_has_ended);
	suite_add_tcase(s, t);
	return (s);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN); /* the test's own server */
	return (run_suite(suite()));
}
