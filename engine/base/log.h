/*
 * log -- the one way a part says something to the user.
 *
 * Whoever meets an error first reports it here, naming the object, the cause
 * and the remedy in one line; callers only pass the code on.  Nothing secret is
 * ever handed to this module.  Safe from any thread.
 */
#ifndef DSYNCFS_BASE_LOG_H
#define DSYNCFS_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_VERBOSE,
	LOG_LEVEL_DEBUG
};

/* Takes one finished line without its newline; lent until it returns. */
typedef void log_sink_fn(void *arg, enum log_level level, const char *line);

/* NULL: back to the default sink, which writes "dsyncfs: LINE" to stderr. */
void log_set_sink(log_sink_fn *sink, void *arg);
/* default LOG_LEVEL_INFO */
void log_set_level(enum log_level level);
int log_enabled(enum log_level level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * C0, DEL, and C1 in its UTF-8 form, which a terminal may take for commands,
 * become '?'; the log's own lines are so already.
 */
void log_disarm(char *line);

#endif
