/*
 * secret -- passwords and passphrases, from files that only their owner can
 * read and from commands.
 */
#include "backends/transport/transport_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

#define COMMAND_MS 300000 /* somebody may have to type */

/* Ends out at its first line; an empty one is no secret. */
static bool
first_line(char *out, size_t n)
{
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return (*out != '\0');
}

static int
check_file(int fd, const char *path)
{
	struct stat st;
	const char *wrong = NULL;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		wrong = "is not a plain file";
	else if ((st.st_mode & 077) != 0)
		wrong = "can be read or written by others than its owner: "
			"chmod 600 it";
	else if (st.st_uid != geteuid() && st.st_uid != 0)
		wrong = "belongs to somebody else";
	if (wrong == NULL)
		return (0);
	log_error("%s holds a secret, but it %s", path, wrong);
	return (-EACCES);
}

/* Up to size - 1 bytes of fd, which may be fewer a time. */
static ssize_t
read_some(int fd, char *out, size_t size)
{
	size_t n = 0;
	ssize_t r = 1;

	while (n + 1 < size && r > 0) {
		do
			r = read(fd, out + n, size - 1 - n);
		while (r < 0 && errno == EINTR);
		if (r < 0)
			return (-errno);
		n += (size_t)r;
	}
	return ((ssize_t)n);
}

int
link_secret_file(const char *path, char *out, size_t size)
{
	ssize_t n;
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		r = -errno;
		log_error(
		    "%s: cannot read the secret in it: %s", path, strerror(-r));
		return (r == -ENOMEM ? r : -EACCES);
	}
	if ((r = check_file(fd, path)) == 0) {
		n = read_some(fd, out, size);
		if (n < 0 || !first_line(out, (size_t)n)) {
			log_error("%s: there is no secret in it: %s", path,
			    n < 0 ? strerror((int)-n)
				  : "the first line is empty");
			r = -EACCES;
		}
	}
	(void)close(fd);
	if (r != 0)
		explicit_bzero(out, size);
	return (r);
}

/* All that the command prints, up to size - 1; more is an error. */
static ssize_t
read_all(
    struct link *l, char *out, size_t size, const struct link_limits *limits)
{
	int64_t end = mono_ms() + COMMAND_MS;
	size_t n = 0;
	ssize_t r;

	for (;;) {
		if (n + 1 >= size)
			return (-EFBIG);
		r = l->ops->read(l, out + n, size - 1 - n);
		if (r == 0)
			return ((ssize_t)n);
		if (r == -EAGAIN) {
			r = link_wait_until(l, 0, end, limits);
			if (r != 0)
				return (r);
		} else if (r < 0)
			/* reported; a secret denied */
			return (-EACCES);
		else
			n += (size_t)r;
	}
}

int
link_secret_command(const char *const *argv, bool terminal,
    const struct link_limits *limits, char *out, size_t size)
{
	struct link_pipe_options o = {
		.argv = argv, .terminal = terminal, .limits = limits
	};
	struct link *l;
	ssize_t n;
	int r;

	if ((r = link_pipe_new(&o, &l)) != 0)
		return (r);
	(void)l->ops->shut(l);
	n = read_all(l, out, size, limits);
	if (n == -ETIMEDOUT)
		log_error("%s: it gives no secret, and does not end", argv[0]);
	else if (n == -EFBIG)
		log_error("%s: it prints more than a secret", argv[0]);
	else if (n >= 0 && !first_line(out, (size_t)n)) {
		log_error("%s: it prints no secret", argv[0]);
		n = -EACCES;
	}
	l->ops->close(l);
	if (n >= 0)
		return (0);
	explicit_bzero(out, size);
	return (n == -ECANCELED || n == -ENOMEM ? (int)n : -EACCES);
}
