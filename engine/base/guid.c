/*
 * guid -- 128-bit identities of mailboxes, stores and messages.
 */
#include "base/guid.h"

#include <string.h>
#include "base/digest.h"

bool
guid_is_zero(const struct guid *g)
{
	static const struct guid zero;

	return (guid_eq(g, &zero));
}

bool
guid_eq(const struct guid *a, const struct guid *b)
{
	return (guid_cmp(a, b) == 0);
}

int
guid_cmp(const struct guid *a, const struct guid *b)
{
	return (memcmp(a->b, b->b, sizeof(a->b)));
}

int
guid_parse(const char *hex, struct guid *out)
{
	return (hex_decode(hex, sizeof(out->b), out->b));
}

const char *
guid_hex(const struct guid *g, char out[GUID_HEX_LEN + 1])
{
	hex_encode(g->b, sizeof(g->b), out);
	return (out);
}

int
guid128_of_string(const char *s, struct guid *out)
{
	uint8_t h[SHA1_LEN];
	int rc;

	if (guid_parse(s, out) == 0)
		return (0);
	if ((rc = sha1(s, strlen(s), h)) != 0)
		return (rc);
	memcpy(out->b, h + SHA1_LEN - sizeof(out->b), sizeof(out->b));
	return (0);
}

int
guid128_of_name(const char *name, struct guid *out)
{
	uint8_t h[SHA1_LEN];
	int rc;

	if ((rc = sha1(name, strlen(name), h)) != 0)
		return (rc);
	memcpy(out->b, h, sizeof(out->b));
	return (0);
}
