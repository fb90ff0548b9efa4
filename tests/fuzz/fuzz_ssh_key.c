/*
 * fuzz_ssh_key -- any bytes as a key file: a key, whose parts are whole, or
 * none.
 */
#include <stdlib.h>
#include <string.h>
#include "backends/transport/ssh_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct ssh_key k;
	const char *type;

	if (ssh_key_parse(&a, (const char *)data, size, &k) == 0) {
		if (k.type == NULL && (!k.is_private || k.why_program == NULL))
			abort();
		if (k.type != NULL) {
			type = blob_type(&a, k.key, k.n);
			if (type == NULL || strcmp(type, k.type) != 0)
				abort();
		}
		if (k.is_private && k.why_program == NULL &&
		    ssh_key_why(k.type) != NULL)
			abort();
	}
	arena_fini(&a);
	return (0);
}
