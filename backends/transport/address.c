/*
 * address -- tcp:HOST:PORT and USER@HOST, as people write them.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"

static int
out_of_memory(const char *origin)
{
	log_error("%s: out of memory", origin);
	return (-ENOMEM);
}

/* Decimal, 1 to 65535, nothing else around it; 0 otherwise. */
static unsigned
port_number(const char *s)
{
	unsigned n = 0;

	if (strspn(s, "0123456789") != strlen(s) || strlen(s) > 5)
		return (0);
	for (; *s != '\0'; s++)
		n = n * 10 + (unsigned)(*s - '0');
	return (n <= 65535 ? n : 0);
}

int
link_tcp_parse(struct arena *a, const char *text, const char *origin,
    struct link_tcp_options *o)
{
	const char *at = text, *end, *port, *host;
	bool tls = strncmp(text, "tcps:", 5) == 0;

	if (tls || strncmp(text, "tcp:", 4) == 0)
		at = strchr(text, ':') + 1;
	if (*at == '[') {
		end = strchr(++at, ']');
		port = end != NULL && end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(at, ':');
		port = end != NULL ? end + 1 : NULL;
		if (port != NULL && strchr(port, ':') != NULL) {
			log_error("%s: '%.200s': an IPv6 address is written "
				  "in brackets: [%s]:PORT",
			    origin, text, "2001:db8::1");
			return (-EINVAL);
		}
	}
	if (port == NULL || *port == '\0') {
		log_error("%s: '%.200s' has no port: write %s:HOST:PORT, with "
			  "the doveadm_port of the server (it has no default)",
		    origin, text, tls ? "tcps" : "tcp");
		return (-EINVAL);
	}
	if (port_number(port) == 0) {
		log_error("%s: '%.200s': the port '%.20s' is not a number from "
			  "1 to 65535",
		    origin, text, port);
		return (-EINVAL);
	}
	if ((host = arena_strndup(a, at, (size_t)(end - at))) == NULL)
		return (out_of_memory(origin));
	if (check_host(host, origin) != 0)
		return (-EINVAL);
	o->host = host;
	o->port = port_number(port);
	o->tls = tls;
	return (0);
}

int
link_ssh_parse(struct arena *a, const char *text, const char *origin,
    const char **who, const char **host)
{
	const char *at = strrchr(text, '@'), *user = NULL, *name = text;

	if (at != NULL) {
		user = arena_strndup(a, text, (size_t)(at - text));
		name = at + 1;
		if (user == NULL)
			return (out_of_memory(origin));
		if (check_user(user, origin) != 0)
			return (-EINVAL);
	}
	if ((name = arena_strdup(a, name)) == NULL)
		return (out_of_memory(origin));
	if (check_host(name, origin) != 0)
		return (-EINVAL);
	*who = user;
	*host = name;
	return (0);
}
