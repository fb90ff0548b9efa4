/*
 * fuzz_words -- any bytes as command lines, addresses and names: words hold
 * what was written, and a quoted word is one word again.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/transport/transport_internal.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* Quotes as link_words reads them, when no character is the shell's alone. */
static void
quote_and_back(struct arena *a, const char *s)
{
	const char *const *v = NULL;
	struct buf b = BUF_INIT;

	shell_quote(&b, s);
	if (buf_cstr(&b) == NULL ||
	    link_words(a, (const char *)b.data, "x", &v) != 0 || v[0] == NULL ||
	    v[1] != NULL || strcmp(v[0], s) != 0)
		abort();
	buf_fini(&b);
}

static void
expand(struct arena *a, const char *tmpl, const char *user)
{
	struct command_values v = { .host = "h", .user = user };
	const char *const *argv;
	const char *text = NULL;

	if (command_remote(a, tmpl, &v, &text) == 0 &&
	    (*text == '\0' || strpbrk(text, "\r\n") != NULL))
		abort();
	(void)command_local(a, tmpl, &v, &argv);
	(void)command_is_local(tmpl);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct link_tcp_options o = { 0 };
	struct arena a = ARENA_INIT;
	const char *who, *host, *const *v;
	char *s, *second;

	log_set_sink(quiet, NULL);
	if ((s = arena_strndup(&a, data, size)) == NULL)
		abort();
	/* two texts, cut at a 0x01 */
	if ((second = strchr(s, '\1')) != NULL)
		*second++ = '\0';
	if (link_words(&a, s, "x", &v) == 0 && v[0] == NULL)
		abort();
	quote_and_back(&a, s);
	expand(&a, s, second);
	if (link_tcp_parse(&a, s, "x", &o) == 0 &&
	    (*o.host == '-' || *o.host == '\0' || o.port == 0 ||
		o.port > 65535))
		abort();
	if (link_ssh_parse(&a, s, "x", &who, &host) == 0 &&
	    (*host == '-' || strpbrk(host, " \t\n'\"\\$`;|&<>()") != NULL))
		abort();
	arena_fini(&a);
	return (0);
}
