/*
 * fuzz_known_hosts -- any bytes as a known_hosts file (behind a first line with
 * the host's name): every key that is taken is found again.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/transport/ssh_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct known_hosts k;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = size > 0 ? memchr(data, '\n', size) : NULL;
	struct arena a = ARENA_INIT;
	const struct known_key *at = NULL;
	enum known_verdict v;
	size_t n;
	char *name;

	if (nl == NULL)
		return (0);
	n = (size_t)(nl - data);
	if ((name = arena_strndup(&a, data, n)) == NULL)
		abort();
	k.n = 0;
	(void)known_hosts_add(
	    &k, &a, "file", (const char *)nl + 1, size - n - 1, name);
	for (size_t i = 0; i < k.n; i++) {
		const struct known_key *e = &k.v[i];

		v = known_hosts_check(&k, e->key, e->n, e->type, &at);
		if (e->kind == KNOWN_REVOKED && v != KNOWN_BAD)
			abort();
		if (e->kind == KNOWN_KEY && v != KNOWN_GOOD && v != KNOWN_BAD)
			abort();
		if (v != KNOWN_UNKNOWN && (at < k.v || at >= k.v + k.n))
			abort();
		if (!known_hosts_has(&k, e->kind, e->type))
			abort();
	}
	arena_fini(&a);
	return (0);
}
