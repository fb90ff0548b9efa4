/*
 * view_recover -- files under scratch/ that another mount has left: after a
 * crash, and those in tmp.
 */
#include "fs/view_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

typedef int scratch_name_fn(
    struct view *v, uint32_t box, char letter, const char *name);

static int
each_name(struct view *v, const char *path, uint32_t box, char letter,
    scratch_name_fn *fn)
{
	struct dirent *d;
	DIR *dir;
	int fd, error = 0;

	fd = openat(
	    v->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return (errno == ENOENT ? 0 : -errno);
	if ((dir = fdopendir(fd)) == NULL) {
		error = -errno;
		(void)close(fd);
		return (error);
	}
	while (error == 0 && (d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			error = fn(v, box, letter, d->d_name);
	(void)closedir(dir);
	return (error);
}

static int
recover_file(struct view *v, uint32_t box, char letter, const char *name)
{
	struct scratch *s;
	enum box_part part;
	char *path;
	uint64_t node;
	int error;

	if ((path = scratch_path(box, letter, name)) == NULL)
		return (-ENOMEM);
	if (letter == 'd') {
		const char *dot = strchr(name, '.');

		node = dot == NULL ? 0 : strtoull(dot + 1, NULL, 10);
		if (node == 0) {
			free(path);
			return (0);
		}
		error = scratch_new(v, node, SCRATCH_DIRTY, box, path, &s);
		if (error != 0)
			return (error);
		s->name = strdup("rewritten");
		if (s->name != NULL && scratch_settle_dirty(v, s) != 0)
			log_warning("scratch/%u.d/%s: what was being written "
				    "to a message is kept there",
			    box, name);
		return (0);
	}
	part = letter == 't' ? PART_TMP : letter == 'n' ? PART_NEW : PART_CUR;
	error = scratch_new(
	    v, store_new_ino(v->store), SCRATCH_FILE, box, path, &s);
	return (error != 0 ? error : scratch_take_name(v, s, box, part, name));
}

/* A file whose message did not make it into the log is back in tmp. */
static int
recover_done(struct view *v, uint32_t box, char letter, const char *name)
{
	struct arena a = ARENA_INIT;
	const char *dot = strchr(name, '.');
	char from[NAME_MAX + 32], to[64], *path;
	struct msg m;
	uint64_t ino;
	int error;

	(void)box;
	(void)letter;
	if (dot == NULL)
		return (0);
	box = (uint32_t)strtoul(name, NULL, 10);
	ino = strtoull(dot + 1, NULL, 10);
	store_reserve_ino(v->store, ino);
	(void)snprintf(from, sizeof(from), "scratch/done/%s", name);
	error = msg_by_ino(v, &a, ino, NULL, &m, NULL);
	arena_fini(&a);
	if (error == 0)
		return (unlinkat(v->dir, from, 0) == 0 ? 0 : -errno);
	if (box_by_id(v, box) == NULL)
		box = v->inbox;
	(void)snprintf(to, sizeof(to), "recovered.%s", dot + 1);
	if ((error = scratch_box_dir(v, box, 't')) != 0)
		return (error);
	if ((path = scratch_path(box, 't', to)) == NULL)
		return (-ENOMEM);
	if (renameat(v->dir, from, v->dir, path) != 0)
		error = -errno;
	else
		log_warning("tmp/%s: a delivery that had been synced but not "
			    "finished when the power went is there again",
		    to);
	free(path);
	return (error);
}

/* Nobody has it open any more. */
static int
recover_gone(struct view *v, uint32_t box, char letter, const char *name)
{
	char path[NAME_MAX + 16];

	(void)box;
	(void)letter;
	(void)snprintf(path, sizeof(path), "scratch/gone/%s", name);
	return (unlinkat(v->dir, path, 0) == 0 ? 0 : -errno);
}

static int
recover_dir(struct view *v, uint32_t none, char letter, const char *name)
{
	char path[NAME_MAX + 16];
	char *end;
	unsigned long box;

	(void)none;
	(void)letter;
	box = strtoul(name, &end, 10);
	if (end == name || *end != '.' || end[1] == '\0' || end[2] != '\0' ||
	    strchr("cntd", end[1]) == NULL || box > UINT32_MAX ||
	    box_by_id(v, (uint32_t)box) == NULL)
		return (0);
	(void)snprintf(path, sizeof(path), "scratch/%s", name);
	return (each_name(v, path, (uint32_t)box, end[1], recover_file));
}

int
scratch_recover(struct view *v)
{
	int error;

	if (v->o.readonly)
		return (0);
	if ((error = scratch_make_dir(v, "scratch")) != 0 ||
	    (error = scratch_make_dir(v, "scratch/edit")) != 0 ||
	    (error = scratch_make_dir(v, "scratch/done")) != 0 ||
	    (error = scratch_make_dir(v, "scratch/gone")) != 0) {
		log_error("scratch: cannot be made in the store: %s",
		    strerror(-error));
		return (error);
	}
	if ((error = each_name(v, "scratch/gone", 0, 0, recover_gone)) != 0 ||
	    (error = each_name(v, "scratch/done", 0, 0, recover_done)) != 0)
		return (error);
	synced_recover(v);
	return (each_name(v, "scratch", 0, 0, recover_dir));
}
