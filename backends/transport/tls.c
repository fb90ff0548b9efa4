/*
 * tls -- TLS by OpenSSL over a queued socket (sock.c).
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "base/log.h"

struct tls {
	SSL_CTX *ctx; /* owned */
	SSL *ssl; /* owned */
	BIO_METHOD *method; /* owned */
	struct sock *sock; /* borrowed */
};

/* ---- the socket as OpenSSL's BIO ---- */

static int
bio_write(BIO *b, const char *p, int n)
{
	struct sock *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	/*
	 * After an error what is sent is lost, and the socket remembers it;
	 * OpenSSL need not know, or it would read no more either.
	 */
	if (n > 0)
		(void)sock_send(s, p, (size_t)n);
	return (n);
}

static int
bio_read(BIO *b, char *p, int n)
{
	struct sock *s = BIO_get_data(b);
	ssize_t r;

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return (0);
	r = sock_recv(s, p, (size_t)n);
	if (r == -EAGAIN)
		BIO_set_retry_read(b);
	return (r < 0 ? -1 : (int)r);
}

static long
bio_ctrl(BIO *b, int what, long n, void *p)
{
	const struct sock *s = BIO_get_data(b);

	(void)n;
	(void)p;
	switch (what) {
	case BIO_CTRL_FLUSH:
		return (1);
	case BIO_CTRL_EOF:
		return (s->eof ? 1 : 0);
	default:
		return (0);
	}
}

static BIO *
make_bio(struct tls *t)
{
	BIO *b;

	t->method = BIO_meth_new(
	    BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dsyncfs socket");
	if (t->method == NULL ||
	    BIO_meth_set_write(t->method, bio_write) != 1 ||
	    BIO_meth_set_read(t->method, bio_read) != 1 ||
	    BIO_meth_set_ctrl(t->method, bio_ctrl) != 1 ||
	    (b = BIO_new(t->method)) == NULL)
		return (NULL);
	BIO_set_data(b, t->sock);
	BIO_set_init(b, 1);
	return (b);
}

/* ---- the client ---- */

static const char *
last_reason(void)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	return (why != NULL ? why : "unknown error");
}

static int
trust(struct tls *t, const char *ca_file, const char *peer)
{
	if (ca_file == NULL) {
		if (SSL_CTX_set_default_verify_paths(t->ctx) == 1)
			return (0);
		log_error("%s: the system's certificates cannot be used: %s",
		    peer, last_reason());
		return (-EACCES);
	}
	if (SSL_CTX_load_verify_file(t->ctx, ca_file) == 1)
		return (0);
	log_error("%s: ssl_client_ca_file %s cannot be used: %s", peer, ca_file,
	    last_reason());
	return (-EACCES);
}

static bool
is_address(const char *host)
{
	unsigned char a[16];

	return (inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1);
}

/* The certificate must be for this host or address, and say so itself. */
static bool
name_host(struct tls *t, const char *host)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);

	if (is_address(host))
		return (X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1);
	X509_VERIFY_PARAM_set_hostflags(
	    p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return (SSL_set1_host(t->ssl, host) == 1 &&
	    SSL_set_tlsext_host_name(t->ssl, host) == 1);
}

static int
set_up(struct tls *t, const char *host, const char *ca_file, const char *peer)
{
	BIO *b;
	int r;

	if ((t->ctx = SSL_CTX_new(TLS_client_method())) == NULL ||
	    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1)
		goto fail;
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	if ((r = trust(t, ca_file, peer)) != 0)
		return (r);
	if ((t->ssl = SSL_new(t->ctx)) == NULL || !name_host(t, host) ||
	    (b = make_bio(t)) == NULL)
		goto fail;
	SSL_set_bio(t->ssl, b, b);
	return (0);
fail:
	log_error("%s: TLS cannot be set up: %s", peer, last_reason());
	return (-ENOMEM);
}

static int
shake_failed(struct tls *t, const char *host, const char *peer)
{
	long verdict = SSL_get_verify_result(t->ssl);

	if (verdict != X509_V_OK) {
		log_error("%s: the certificate it shows is not trusted as that "
			  "of %s: %s; if it is the right server, put its CA "
			  "into ssl_client_ca_file",
		    peer, host, X509_verify_cert_error_string(verdict));
		return (-EACCES);
	}
	if (t->sock->send_error != 0 || t->sock->error != 0 || t->sock->eof)
		return (sock_report(peer,
		    t->sock->error != 0 ? t->sock->error
					: t->sock->send_error));
	log_error(
	    "%s: no TLS with it: %s: is it a TLS port?", peer, last_reason());
	return (-EPROTO);
}

static int
shake_hands(struct tls *t, const char *host, const char *peer, int64_t end,
    const struct link_limits *l)
{
	struct pollfd p = { .fd = t->sock->fd };
	int r;

	for (;;) {
		ERR_clear_error();
		r = SSL_connect(t->ssl);
		if (r == 1)
			return (0);
		if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
			return (shake_failed(t, host, peer));
		(void)sock_flush(t->sock);
		p.events = POLLIN;
		if (sock_queued(t->sock) != 0)
			p.events |= POLLOUT;
		r = poll_until(&p, 1, end, l);
		if (r == -ETIMEDOUT)
			log_error(
			    "%s: it does not answer: is it a TLS port?", peer);
		if (r < 0)
			return (r);
	}
}

int
tls_new(struct sock *s, const char *host, const char *ca_file, const char *peer,
    int64_t end, const struct link_limits *l, struct tls **out)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	if (t == NULL) {
		log_error("%s: out of memory", peer);
		return (-ENOMEM);
	}
	t->sock = s;
	if ((r = set_up(t, host, ca_file, peer)) == 0 &&
	    (r = shake_hands(t, host, peer, end, l)) == 0) {
		log_verbose("%s: %s with %s", peer, SSL_get_version(t->ssl),
		    SSL_get_cipher_name(t->ssl));
		*out = t;
		return (0);
	}
	tls_free(t);
	return (r);
}

ssize_t
tls_read(struct tls *t, void *p, size_t n)
{
	size_t got = 0;
	int r;

	ERR_clear_error();
	r = SSL_read_ex(t->ssl, p, n, &got);
	if (r == 1)
		return ((ssize_t)got);
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return (-EAGAIN);
	case SSL_ERROR_ZERO_RETURN:
		return (0);
	default:
		if (t->sock->error != 0)
			return (t->sock->error);
		/* an end that TLS did not announce: somebody cut it */
		return (t->sock->eof ? -ECONNRESET : -EPROTO);
	}
}

int
tls_write(struct tls *t, const void *p, size_t n)
{
	size_t put = 0;

	ERR_clear_error();
	return (
	    SSL_write_ex(t->ssl, p, n, &put) == 1 && put == n ? 0 : -EPROTO);
}

bool
tls_pending(const struct tls *t)
{
	return (SSL_pending(t->ssl) != 0);
}

void
tls_shut(struct tls *t)
{
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	BIO_meth_free(t->method);
	SSL_CTX_free(t->ctx);
	free(t);
}
