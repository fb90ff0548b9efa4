/*
 * config_internal -- the lines of a configuration file, before anybody knows
 * the keys.
 */
#ifndef DSYNCFS_CMD_CONFIG_INTERNAL_H
#define DSYNCFS_CMD_CONFIG_INTERNAL_H

#include "cmd/config.h"

#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_ERRORS 20 /* after so many the rest is not worth reading */

enum config_line_type {
	LINE_NOTHING,
	LINE_SETTING,
	LINE_SECTION,
	LINE_SECTION_END
};
struct config_line {
	enum config_line_type type;
	/* of a section: its kind and name (NULL: none) */
	const char *key, *value;
};

/* Whole file, at most CONFIG_FILE_MAX, malloc'd.  -errno, nothing reported. */
int config_read_file(const char *file, char **text, size_t *len);
/*
 * One line without its newline; strings go into the arena.  NULL, or what is
 * wrong with it.
 */
const char *config_line(
    struct arena *a, const char *text, size_t n, struct config_line *out);
/*
 * A whole file's text; origin is the file's name for messages.  Gives the
 * number of mistakes, each reported; or -ENOMEM.
 */
int config_text(struct config *c, const char *file, const char *text, size_t n);
/*
 * A key of a remote section as a filter (filters.c).  -ENOENT: it is none;
 * -EINVAL reported; -ENOMEM.
 */
int filter_set(struct arena *a, struct config_remote *r, const char *key,
    const struct config_value *v);
/* Of a section that is complete.  -EINVAL reported. */
int filters_check(const struct config_remote *r);
/* "KEY=VALUE" of -o.  -EINVAL reported, -ENOMEM. */
int config_override(struct config *c, const char *text);

#endif
