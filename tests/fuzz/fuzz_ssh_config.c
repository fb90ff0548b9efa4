/*
 * fuzz_ssh_config -- any bytes as what ssh -G prints: a configuration that can
 * be used, or a refusal.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/transport/ssh_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ssh_names names = { "/home/me", "me", "given" };
	struct arena a = ARENA_INIT;
	struct ssh_config c;
	size_t n = 0;

	if (ssh_config_parse(&a, (const char *)data, size, &c) == 0) {
		if (*c.hostname == '\0' || *c.user == '\0' || c.port == 0 ||
		    c.port > 65535)
			abort();
		while (c.known_hosts[n] != NULL)
			n++;
		if (c.user_known_hosts > n)
			abort();
		for (n = 0; c.identities[n] != NULL; n++)
			(void)ssh_config_path(&a, &c, &names, c.identities[n]);
	}
	arena_fini(&a);
	return (0);
}
