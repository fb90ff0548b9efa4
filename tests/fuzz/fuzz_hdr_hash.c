/*
 * fuzz_hdr_hash -- the header hash in chunks of any sizes, against the same
 * computed over the whole message at once.
 *
 * The first byte says the version, the second how the chunks grow; the rest is
 * the message.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/buf.h"
#include "base/digest.h"
#include "base/hdr_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = { "Date", "", "Message-ID", "X" };
#define NAMES (sizeof(names) / sizeof(names[0]))

static bool
listed(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t n;

	if (colon == NULL || colon - line > HDR_HASH_NAME_MAX + 1)
		return (false);
	n = (size_t)(colon - line);
	while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
		n--;
	n = strnlen(line, n);
	for (size_t i = 0; i < NAMES && n > 0; i++)
		if (strlen(names[i]) == n &&
		    strncasecmp(names[i], line, n) == 0)
			return (true);
	return (false);
}

/* The listed fields of a message with LF line ends, and the empty line. */
static void
pick(struct buf *out, const char *p, size_t size)
{
	bool keep = false;

	for (size_t at = 0; at < size && p[at] != '\n';) {
		const char *line = p + at, *end = memchr(line, '\n', size - at);
		size_t len = end == NULL ? size - at : (size_t)(end - line);

		if (at == 0 || (line[0] != ' ' && line[0] != '\t'))
			keep = listed(line, len);
		if (keep) {
			buf_put(out, line, len);
			buf_put_u8(out, '\n');
		}
		at += len + 1;
	}
	buf_put_u8(out, '\n');
}

static void
fold(struct buf *out, const struct buf *in, unsigned version)
{
	bool run = false;

	for (size_t i = 0; i < in->len; i++) {
		uint8_t c = in->data[i];
		bool odd =
		    c == '?' || c > 0x7e || (c < ' ' && c != '\t' && c != '\n');

		if (version == 1)
			buf_put_u8(out, c);
		else if (odd && !run)
			buf_put_u8(out, '?');
		else if (!odd && (c != ' ' || version == 2))
			buf_put_u8(out, c);
		run = odd;
	}
}

static void
whole(unsigned version, const uint8_t *data, size_t size, char *hex)
{
	struct buf lf = BUF_INIT, picked = BUF_INIT, folded = BUF_INIT;
	uint8_t sum[MD5_LEN];

	for (size_t i = 0; i < size; i++)
		if (data[i] != '\r' || i + 1 == size || data[i + 1] != '\n')
			buf_put_u8(&lf, data[i]);
	pick(&picked, (const char *)lf.data, lf.len);
	fold(&folded, &picked, version);
	if (md5(folded.data, folded.len, sum) != 0)
		abort();
	hex_encode(sum, sizeof(sum), hex);
	buf_fini(&lf);
	buf_fini(&picked);
	buf_fini(&folded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char a[HDR_HASH_LEN + 1], b[HDR_HASH_LEN + 1];
	struct hdr_hash *h;
	unsigned version, grow;
	size_t n = 1;

	if (size < 2)
		return (0);
	version = 1 + data[0] % 3;
	grow = data[1];
	data += 2;
	size -= 2;
	if (hdr_hash_new(version, names, NAMES, &h) != 0)
		abort();
	for (size_t at = 0; at < size; at += n, n = 1 + (n * 7 + grow) % 50)
		if (hdr_hash_add(h, data + at, size - at < n ? size - at : n) <
		    0)
			abort();
	if (hdr_hash_final(h, a) != 0)
		abort();
	hdr_hash_free(h);
	whole(version, data, size, b);
	if (strcmp(a, b) != 0)
		abort();
	return (0);
}
