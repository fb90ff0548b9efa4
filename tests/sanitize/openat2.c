/*
 * openat2 -- stands for the system call in a build for valgrind, which does not
 * know it and answers ENOSYS: level by level, no link followed, nothing above.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

long __real_syscall(long n, ...);
long __wrap_syscall(long n, ...);

static long
open_beneath(int dir, const char *path, const struct open_how *how)
{
	char copy[PATH_MAX], *rest = copy, *name;
	int at = dir, next, error;

	if (strlen(path) >= sizeof(copy)) {
		errno = ENAMETOOLONG;
		return (-1);
	}
	(void)strcpy(copy, path);
	while ((name = strsep(&rest, "/")) != NULL) {
		if (*name == '\0' || strcmp(name, "..") == 0) {
			errno = EXDEV;
			next = -1;
		} else if (rest == NULL)
			next = openat(at, name, (int)how->flags | O_NOFOLLOW,
			    (mode_t)how->mode);
		else
			next = openat(at, name,
			    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		error = errno;
		if (at != dir)
			(void)close(at);
		errno = error;
		if ((at = next) < 0)
			return (-1);
	}
	return (at);
}

long
__wrap_syscall(long n, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, n);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (n == SYS_openat2)
		return (open_beneath((int)a[0], (const char *)a[1],
		    (const struct open_how *)a[2]));
	return (__real_syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]));
}
