/*
 * fuzz_config -- a configuration file of any bytes; its text as what -o of a
 * command line says, too.
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "cmd/config_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c;
	char *text = strndup((const char *)data, size);

	if (text == NULL)
		return (0);
	log_set_sink(quiet, NULL);
	memset(&c, 0, sizeof(c));
	arena_init(&c.arena);
	(void)config_text(&c, "/fuzz.conf", (const char *)data, size);
	for (size_t i = 0; i < c.n_remotes; i++)
		if (config_remote_find(&c, c.remotes[i].name) == NULL)
			__builtin_trap();
	(void)config_override(&c, text);
	config_fini(&c);
	free(text);
	return (0);
}
