/*
 * dovecot -- takes mail_location from a Dovecot configuration, read by
 * Dovecot's own doveconf(1).
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/log.h"
#include "cmd/cmd_internal.h"

#define ANSWER_MAX 65536u

/* A line that begins with the word, as in Dovecot's files and nowhere in ours.
 */
static bool
has_line(const char *text, const char *word)
{
	size_t n = strlen(word);
	const char *p = text;

	while (p != NULL) {
		p += strspn(p, " \t\n\r");
		if (strncmp(p, word, n) == 0 && strchr(" \t={", p[n]) != NULL)
			return (true);
		p = strchr(p, '\n');
	}
	return (false);
}

bool
dovecot_config_looks(const char *text)
{
	static const char *const words[] = { "dovecot_config_version",
		"protocols", "!include", "!include_try", "namespace", "passdb",
		"userdb", "service", "protocol", "mail_plugins", "ssl_cert" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (has_line(text, words[i]))
			return (true);
	return (false);
}

static int
read_answer(int fd, struct buf *b)
{
	ssize_t n;
	int r;

	for (;;) {
		r = buf_reserve(b, 4096);
		if (r != 0)
			return (r);
		n = read(fd, b->data + b->len, 4096);
		if (n < 0 && errno != EINTR)
			return (-errno);
		if (n == 0)
			return (0);
		if (n > 0)
			b->len += (size_t)n;
		if (b->len > ANSWER_MAX)
			return (-EFBIG);
	}
}

/*
 * Runs doveconf with a clean environment and reads what it says.  *code is its
 * exit status.
 */
static int
run_doveconf(const char *file, struct buf *b, int *code)
{
	const char *argv[] = { "doveconf", "-c", file, "-h", "mail_location",
		NULL };
	char path[] =
	    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *envp[] = { path, NULL };
	posix_spawn_file_actions_t actions;
	int fd[2], r, status = 0;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0)
		return (-errno);
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(
		    &actions, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawnp(&pid, "doveconf", &actions, NULL,
		    (char *const *)(uintptr_t)argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	if (r != 0) {
		close(fd[0]);
		return (-r);
	}
	r = read_answer(fd[0], b);
	close(fd[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	return (r);
}

int
dovecot_mail_location(const char *file, char **out)
{
	struct buf b = BUF_INIT;
	int r, code = 0;

	r = run_doveconf(file, &b, &code);
	if (r == -ENOENT)
		log_error(
		    "%s: a Dovecot configuration, and doveconf is not "
		    "installed: install dovecot-core, or write a dsyncfs.conf",
		    file);
	else if (r != 0)
		log_error("%s: a Dovecot configuration, and doveconf cannot be "
			  "run: %s",
		    file, strerror(-r));
	else if (code != 0 || b.len == 0 || b.data[0] == '\n') {
		log_error("%s: a Dovecot configuration, and doveconf finds no "
			  "mail_location in it: set one, or give -o "
			  "mail_location=...",
		    file);
		r = -EINVAL;
	} else if (buf_cstr(&b) == NULL)
		r = -ENOMEM;
	if (r != 0) {
		buf_fini(&b);
		return (r == -ENOENT ? -EINVAL : r);
	}
	b.data[strcspn((char *)b.data, "\n")] = '\0';
	*out = (char *)b.data;
	return (0);
}
