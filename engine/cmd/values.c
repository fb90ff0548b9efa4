/*
 * values -- numbers, durations, sizes, dates as people write them; and how to
 * show them again.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "cmd/cmd_internal.h"

/* Digits at *s, moved past.  -EINVAL without one or above max. */
static int
take_number(const char **s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0, digit;
	const char *p = *s;

	if (!isdigit((unsigned char)*p))
		return (-EINVAL);
	for (; isdigit((unsigned char)*p); p++) {
		digit = (uint64_t)(*p - '0');
		if (v > (max - digit) / 10)
			return (-EINVAL);
		v = v * 10 + digit;
	}
	*s = p;
	*out = v;
	return (0);
}

int
value_number(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v;

	if (max < 9 || take_number(&s, max, &v) != 0 || *s != '\0')
		return (-EINVAL);
	*out = v;
	return (0);
}

int
value_duration(const char *s, int64_t *secs)
{
	static const struct {
		const char *name;
		unsigned secs;
	} unit[] = { { "", 1 }, { "s", 1 }, { "sec", 1 }, { "secs", 1 },
		{ "second", 1 }, { "seconds", 1 }, { "m", 60 }, { "min", 60 },
		{ "mins", 60 }, { "minute", 60 }, { "minutes", 60 },
		{ "h", 3600 }, { "hour", 3600 }, { "hours", 3600 },
		{ "d", 86400 }, { "day", 86400 }, { "days", 86400 },
		{ "w", 604800 }, { "week", 604800 }, { "weeks", 604800 } };
	uint64_t v;

	if (take_number(&s, 1u << 31, &v) != 0)
		return (-EINVAL);
	while (*s == ' ')
		s++;
	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]); i++)
		if (strcasecmp(s, unit[i].name) == 0) {
			*secs = (int64_t)(v * unit[i].secs);
			return (0);
		}
	return (-EINVAL);
}

int
value_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "kmgt";
	const char *at;
	unsigned shift = 0;
	uint64_t v;

	if (take_number(&s, UINT64_C(1) << 40, &v) != 0)
		return (-EINVAL);
	while (*s == ' ')
		s++;
	if (*s != '\0' &&
	    (at = strchr(units, tolower((unsigned char)*s))) != NULL) {
		shift = 10 * (unsigned)(at - units + 1);
		s++;
	}
	if (strcasecmp(s, "b") != 0 && strcasecmp(s, "ib") != 0 && *s != '\0')
		return (-EINVAL);
	if (v > (UINT64_C(1) << 62) >> shift)
		return (-EINVAL);
	*bytes = v << shift;
	return (0);
}

int
value_percent(const char *s, unsigned *percent)
{
	uint64_t v;

	if (strcmp(s, "no") == 0) {
		*percent = 0;
		return (0);
	}
	if (take_number(&s, 100, &v) != 0 ||
	    (*s != '\0' && strcmp(s, "%") != 0))
		return (-EINVAL);
	*percent = (unsigned)v;
	return (0);
}

/*
 * timegm takes what is out of range and carries it over; a date must come back
 * as it went in.
 */
static int
make_time(struct tm *tm, bool utc, int64_t *out)
{
	struct tm was = *tm;
	time_t t;

	tm->tm_isdst = -1;
	t = utc ? timegm(tm) : mktime(tm);
	if (t == (time_t)-1 || tm->tm_mday != was.tm_mday ||
	    tm->tm_mon != was.tm_mon || tm->tm_year != was.tm_year)
		return (-EINVAL);
	*out = (int64_t)t;
	return (0);
}

int
value_time(const char *s, int64_t now, int64_t *out)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S",
		"%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",
		"%Y-%m-%d", "%d-%b-%Y" };
	struct tm tm;
	const char *end;
	uint64_t v;
	int64_t d;

	if (value_number(s, INT64_MAX / 2, &v) == 0) {
		*out = (int64_t)v;
		return (0);
	}
	if (value_duration(s, &d) == 0) {
		*out = now - d;
		return (0);
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(s, forms[i], &tm);
		if (end != NULL && (*end == '\0' || strcmp(end, "Z") == 0))
			return (make_time(&tm, *end == 'Z', out));
	}
	return (-EINVAL);
}

/* Letters to be inserted, dropped or replaced to make a into b; both are short.
 */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[64], diag, up;
	size_t la = strlen(a), lb = strlen(b);

	if (la >= 64 || lb >= 64)
		return (64);
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		diag = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			up = row[j];
			row[j] = diag + (a[i - 1] != b[j - 1]);
			if (up + 1 < row[j])
				row[j] = up + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diag = up;
		}
	}
	return (row[lb]);
}

const char *
value_nearest(const char *s, const char *const *known, size_t n)
{
	const char *best = NULL;
	unsigned d, least = (unsigned)(strlen(s) / 3 + 2);

	for (size_t i = 0; i < n; i++) {
		d = distance(s, known[i]);
		if (d < least) {
			least = d;
			best = known[i];
		}
	}
	return (best);
}

const char *
time_text(int64_t t, char out[32])
{
	struct tm tm;
	time_t v = (time_t)t;

	if (t == 0 || gmtime_r(&v, &tm) == NULL ||
	    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out, 32, "never");
	return (out);
}

const char *
bytes_text(uint64_t n, char out[16])
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB",
		"EB" };
	double v = (double)n;
	size_t i = 0;

	while (v >= 1000 && i < 6) {
		v /= 1000;
		i++;
	}
	snprintf(out, 16, i == 0 ? "%.0f %s" : "%.1f %s", v, unit[i]);
	return (out);
}

void
location_put(struct buf *b, const char *s, bool path)
{
	for (; *s != '\0'; s++)
		buf_put(b,
		    *s == ':'               ? "::"
			: *s == '%' && path ? "%%"
					    : s,
		    *s == ':' || (*s == '%' && path) ? 2 : 1);
}
