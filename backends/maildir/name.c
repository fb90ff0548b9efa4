/*
 * name -- file names of messages: <base>[,S=<size>][,W=<vsize>][:2,<letters>].
 */
#include "backends/maildir/maildir_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/digest.h"

#define BASE_OWN_MAX                                                           \
	200 /* leaves room for ":2," and all letters in 255 bytes */

/* Decimal digits up to ',' or ':' or the end. */
static bool
number(const char *p, const char *end, uint64_t *out)
{
	uint64_t v = 0;
	const char *s = p;

	for (; s < end && *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX - 9) / 10)
			return (false);
		v = v * 10 + (uint64_t)(*s - '0');
	}
	if (s == p || (s < end && *s != ','))
		return (false);
	*out = v;
	return (true);
}

void
maildir_name_parse(const char *file, struct maildir_name *out)
{
	const char *end, *p;

	memset(out, 0, sizeof(*out));
	out->base_len = mail_base_len(file);
	out->info = mail_info_text(file);
	end = file + out->base_len;
	for (p = memchr(file, ',', out->base_len); p != NULL;
	     p = memchr(p + 1, ',', (size_t)(end - p - 1))) {
		if (end - p < 3 || p[2] != '=')
			continue;
		if (p[1] == 'S' && !out->has_size)
			out->has_size = number(p + 3, end, &out->size);
		else if (p[1] == 'W' && !out->has_vsize)
			out->has_vsize = number(p + 3, end, &out->vsize);
	}
}

bool
maildir_name_ok(const char *file)
{
	size_t n = mail_base_len(file);

	return (n > 0 && n <= 255 && file[0] != '.' &&
	    memchr(file, '\n', n) == NULL && memchr(file, '\r', n) == NULL);
}

bool
maildir_base_fits(const char *base, uint64_t size, uint64_t vsize)
{
	size_t n = strnlen(base, BASE_OWN_MAX + 1);
	struct maildir_name name;

	if (n == 0 || n > BASE_OWN_MAX || base[0] == '.')
		return (false);
	for (size_t i = 0; i < n; i++)
		if (base[i] <= ' ' || base[i] > '~' || base[i] == '/' ||
		    base[i] == ':')
			return (false);
	maildir_name_parse(base, &name);
	return ((!name.has_size || name.size == size) &&
	    (!name.has_vsize || name.vsize == vsize));
}

int
maildir_base_new(struct os *os, struct arena *a, uint64_t size, uint64_t vsize,
    const char **out)
{
	char hex[17];
	uint8_t r[8];
	uint32_t nsec;
	int64_t sec;
	int rc;

	os->ops->now(os, &sec, &nsec);
	if ((rc = os->ops->random(os, r, sizeof(r))) != 0)
		return (rc);
	hex_encode(r, sizeof(r), hex);
	*out = arena_printf(a,
	    "%" PRId64 ".M%uR%s.dsyncfs,S=%" PRIu64 ",W=%" PRIu64, sec,
	    nsec / 1000, hex, size, vsize);
	return (*out == NULL ? -ENOMEM : 0);
}

void
maildir_name_format(
    struct buf *b, const char *base, const struct mail_info *info)
{
	char letters[64];

	mail_info_format(info, letters);
	buf_printf(b, "%s:2,%s", base, letters);
}

static uint64_t
time_stamp(const char *s)
{
	uint64_t v = 0;

	for (; *s >= '0' && *s <= '9' && v < UINT64_MAX / 100; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return (v);
}

int
maildir_name_cmp(const char *a, const char *b)
{
	uint64_t x = time_stamp(a), y = time_stamp(b);

	return (x != y ? (x < y ? -1 : 1) : strcmp(a, b));
}
