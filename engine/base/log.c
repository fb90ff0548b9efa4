/*
 * log -- the one way a part says something to the user.
 *
 * Lines are built on the stack: saying that memory has run out must not need
 * memory.  Names of mailboxes and texts of peers end up here, so control
 * characters are replaced: a terminal must not obey a mail.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

/* guards the two below */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static log_sink_fn *the_sink;
static void *the_arg;
static atomic_int the_level = LOG_LEVEL_INFO;

void
log_set_sink(log_sink_fn *sink, void *arg)
{
	(void)pthread_mutex_lock(&lock);
	the_sink = sink;
	the_arg = arg;
	(void)pthread_mutex_unlock(&lock);
}

void
log_set_level(enum log_level level)
{
	atomic_store(&the_level, (int)level);
}

int
log_enabled(enum log_level level)
{
	return ((int)level <= atomic_load(&the_level));
}

void
log_disarm(char *line)
{
	unsigned char *p = (unsigned char *)line;

	for (; *p != 0; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
	}
}

/* A line that did not fit ends in "...", and not within a character. */
static void
mark_cut(char *line)
{
	size_t n = LINE_MAX_BYTES - 4;

	while (n > 0 && ((unsigned char)line[n] & 0xc0) == 0x80)
		n--;
	memcpy(line + n, "...", 4);
}

static void __attribute__((format(printf, 2, 0)))
say(enum log_level level, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES];
	int saved = errno, n;

	if (!log_enabled(level))
		return;
	n = vsnprintf(line, sizeof(line), fmt, ap);
	if (n < 0)
		(void)snprintf(line, sizeof(line), "%s",
		    "(a message that could not be formatted)");
	else if ((size_t)n >= sizeof(line))
		mark_cut(line);
	log_disarm(line);
	(void)pthread_mutex_lock(&lock);
	if (the_sink != NULL)
		the_sink(the_arg, level, line);
	else
		(void)fprintf(stderr, "dsyncfs: %s\n", line);
	(void)pthread_mutex_unlock(&lock);
	errno = saved;
}

void
log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
}

void
log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_INFO, fmt, ap);
	va_end(ap);
}

void
log_verbose(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_VERBOSE, fmt, ap);
	va_end(ap);
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_DEBUG, fmt, ap);
	va_end(ap);
}
