/*
 * ssh_blob -- keys as bytes: ssh's strings, base64, fingerprints.
 */
#include "backends/transport/ssh_internal.h"

#include <stdio.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/digest.h"

uint32_t
blob_u32(struct blob *b)
{
	const uint8_t *p = b->p;

	if (b->bad || b->left < 4) {
		b->bad = true;
		return (0);
	}
	b->p += 4;
	b->left -= 4;
	return ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3]);
}

const uint8_t *
blob_string(struct blob *b, size_t *n)
{
	uint32_t len = blob_u32(b);
	const uint8_t *p = b->p;

	if (b->bad || len > b->left) {
		b->bad = true;
		return (NULL);
	}
	b->p += len;
	b->left -= len;
	*n = len;
	return (p);
}

const char *
blob_type(struct arena *a, const uint8_t *p, size_t n)
{
	struct blob b = { .p = p, .left = n };
	size_t len = 0;
	const uint8_t *type = blob_string(&b, &len);

	if (type == NULL || len == 0 || len > 64)
		return (NULL);
	for (size_t i = 0; i < len; i++)
		if (type[i] <= ' ' || type[i] >= 0x7f || type[i] == ',')
			return (NULL);
	return (arena_strndup(a, type, len));
}

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (c - 'A');
	if (c >= 'a' && c <= 'z')
		return (c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (c - '0' + 52);
	return (c == '+' ? 62 : c == '/' ? 63 : -1);
}

uint8_t *
base64_decode(struct arena *a, const char *text, size_t n, size_t *len)
{
	uint8_t *out = arena_alloc(a, n / 4 * 3 + 3);
	size_t k = 0, digits = 0, pads = 0;
	uint32_t bits = 0;
	int d;

	if (out == NULL)
		return (NULL);
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n' || text[i] == '\r')
			continue;
		if (text[i] == '=') {
			pads++;
			continue;
		}
		if ((d = digit(text[i])) < 0 || pads != 0)
			return (NULL);
		bits = bits << 6 | (uint32_t)d;
		if (++digits % 4 == 0) {
			out[k++] = (uint8_t)(bits >> 16);
			out[k++] = (uint8_t)(bits >> 8);
			out[k++] = (uint8_t)bits;
		}
	}
	if (digits % 4 == 1 || pads != (4 - digits % 4) % 4)
		return (NULL);
	if (digits % 4 >= 2)
		out[k++] = (uint8_t)(bits >> (digits % 4 == 2 ? 4 : 10));
	if (digits % 4 == 3)
		out[k++] = (uint8_t)(bits >> 2);
	*len = k;
	return (out);
}

void
fingerprint(const uint8_t *key, size_t n, char out[64])
{
	uint8_t sum[SHA256_LEN];
	unsigned char text[48];
	unsigned len = 0;

	if (EVP_Digest(key, n, sum, &len, EVP_sha256(), NULL) != 1) {
		(void)snprintf(out, 64, "(no fingerprint: out of memory)");
		return;
	}
	(void)EVP_EncodeBlock(text, sum, (int)len);
	text[strcspn((char *)text, "=")] = '\0';
	(void)snprintf(out, 64, "SHA256:%s", text);
}

bool
in_list(const char *list, const char *name, size_t n)
{
	size_t k;

	for (; *list != '\0'; list += k + (list[k] == ',')) {
		k = strcspn(list, ",");
		if (k == n && strncmp(list, name, n) == 0)
			return (true);
	}
	return (false);
}
