/*
 * cmd_run -- command lines and what they exit with; values; JSON; the commands
 * see no real location here.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "cmd/cmd_internal.h"

static char out[65536], err[65536];

static void
add(char *to, const char *text, size_t n)
{
	size_t at = strlen(to);

	ck_assert_uint_lt(at + n, 65536);
	memcpy(to + at, text, n);
	to[at + n] = '\0';
}

static void
on_out(void *arg, const char *text, size_t n)
{
	(void)arg;
	add(out, text, n);
}

static void
on_err(void *arg, const char *text, size_t n)
{
	(void)arg;
	add(err, text, n);
}

static void
sink(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	if (!cmd_log_line(level, line))
		ck_abort_msg("reported outside of a command: %s", line);
}

static int opens;

static int
fake_open(const struct location *l, const struct store_settings *settings,
    unsigned flags, struct replica **replica)
{
	static const struct {
		const char *path;
		int error;
	} fail[] = { { "/busy", -EBUSY }, { "/gone", -ENOENT },
		{ "/perm", -EACCES }, { "/full", -ENOSPC },
		{ "/late", -ETIMEDOUT }, { "/far", -EHOSTUNREACH } };

	(void)settings;
	(void)flags;
	(void)replica;
	opens++;
	log_error("%s: cannot be opened", l->path);
	for (size_t i = 0; i < sizeof(fail) / sizeof(fail[0]); i++)
		if (strcmp(l->path, fail[i].path) == 0)
			return (fail[i].error);
	return (-EIO);
}

static const char *
fake_socket(struct arena *a, const struct location *l)
{
	(void)a;
	(void)l;
	return (NULL);
}

static const char *const fake_options[] = { NULL };
static const struct driver fake = { .name = "fake",
	.options = fake_options,
	.open = fake_open,
	.socket_dir = fake_socket };
static const struct driver *const known[] = { &fake, NULL };

static const struct {
	int status;
	const char *says;
	const char *argv[8];
} lines[] = { { 0, "", { "--version" } }, { 0, "", { "--help" } },
	{ 64, "no command", { NULL } },
	{ 64, "'mirrow' is not a command", { "mirrow" } },
	{ 64, "'mirror' needs more: dsyncfs-sync mirror LOCATION2",
	    { "mirror" } },
	{ 64, "one argument too many", { "status", "x" } },
	{ 64, "option --jsno is not known (did you mean --json?)",
	    { "--jsno", "status" } },
	{ 64, "option -Z is not known", { "-Z", "status" } },
	{ 64, "option --config needs a value", { "status", "--config" } },
	{ 64, "option -c needs a value", { "status", "-c" } },
	{ 64, "option --json takes no value", { "--json=1", "status" } },
	{ 64, "option --follow is not for 'status'", { "status", "--follow" } },
	{ 64, "option -R is not for 'mirror'",
	    { "-R", "mirror", "fake:/gone" } },
	{ 64, "option -1 is not for 'backup'",
	    { "-1", "backup", "fake:/gone" } },
	{ 64, "option -s is not for 'status'", { "-s", "", "status" } },
	{ 64, "option -s needs a value", { "-s" } },
	{ 64, "option -A is not for 'status'", { "-A", "status" } },
	{ 64, "option -A is not for 'flush'", { "flush", "-A" } },
	{ 64, "option -F is not for 'dsync-server'",
	    { "-F", "users", "dsync-server" } },
	{ 64, "options -A and -u exclude each other",
	    { "-A", "-u", "root", "mirror", "fake:/gone" } },
	{ 64, "options -F and -u exclude each other",
	    { "-F", "users", "-u", "root", "backup", "fake:/gone" } },
	{ 64, "options -A and -F exclude each other",
	    { "-A", "-F", "users", "mirror", "fake:/gone" } },
	{ 64, "options -A and -s exclude each other",
	    { "-A", "-s", "", "mirror", "fake:/gone" } },
	{ 64, "options -F and -r exclude each other",
	    { "-F", "users", "-rx", "mirror", "fake:/gone" } },
	{ 64, "/nonexistent/users: cannot be read",
	    { "-F", "/nonexistent/users", "mirror", "fake:/gone" } },
	{ 78, "cannot read the configuration",
	    { "-A", "-c", "/nonexistent.conf", "mirror", "fake:/gone" } },
	{ 64, "option --no-connect is not for 'status'",
	    { "--no-connect", "status" } },
	{ 64, "option -r is not for 'status'", { "-rx", "status" } },
	{ 64, "option -U is not for 'mirror'", { "-U", "mirror", "fake:/x" } },
	{ 64, "'now' is one argument too many", { "dsync-server", "now" } },
	{ 75, "cannot be opened",
	    { "-omail_location=fake:/busy", "-U", "dsync-server" } },
	{ 75, "cannot be opened",
	    { "-omail_location=fake:/busy", "dsync-server", "dsync-server" } },
	{ 64, "ssl_client_ca_file = 'ca.pem' is not valid",
	    { "-ossl_client_ca_file=ca.pem", "status" } },
	{ 64, "option -g: 'zz' is not valid",
	    { "-g", "zz", "mirror", "fake:/gone" } },
	{ 64, "option -t: 'someday' is not valid: it takes a date",
	    { "-t", "someday", "mirror", "fake:/gone" } },
	{ 64, "option -I: 'big' is not valid: it takes a size",
	    { "-I", "big", "mirror", "fake:/gone" } },
	{ 64, "option -C: '//' is not valid",
	    { "-C//", "mirror", "fake:/gone" } },
	{ 64, "option -l: 'x' is not valid",
	    { "-lx", "mirror", "fake:/gone" } },
	{ 64, "option -O: '-' is not valid",
	    { "-O", "-", "mirror", "fake:/gone" } },
	{ 64, "option --progress: 'maybe' is not valid",
	    { "--progress", "maybe", "status" } },
	{ 64, "option --max-delete: '200%' is not valid",
	    { "--max-delete=200%", "mirror", "fake:/gone" } },
	{ 64,
	    "option -o: unknown key 'mail_locatoin' (did you mean "
	    "'mail_location'?)",
	    { "-omail_locatoin=x", "status" } },
	{ 64, "option -u: there is no user",
	    { "-u", "no-such-user-here", "status" } },
	{ 64, "stands behind LOCATION2",
	    { "mirror", "fake:/gone", "--dry-run" } },
	{ 64, "a command line that runs a dsync server",
	    { "mirror", "ssh", "-i", "key", "host", "doveadm" } },
	{ 64, "a command line that runs a dsync server",
	    { "mirror", "ssh host doveadm dsync-server" } },
	{ 64, "a host, reached by ssh", { "mirror", "host.example" } },
	{ 64, "a user and host, reached by ssh",
	    { "mirror", "me@host.example" } },
	{ 64, "doveadm's protocol over TCP", { "mirror", "tcp:host:1" } },
	{ 64, "doveadm's protocol over TLS", { "mirror", "tcps:host" } },
	{ 64, "an IMAP server", { "mirror", "imaps://host/" } },
	{ 64, "does not say what kind of location",
	    { "mirror", "/home/me/Maildir" } },
	{ 64, "nosuch", { "mirror", "nosuch:/x" } },
	{ 64, "this is the first location itself",
	    { "-omail_location=fake:/gone", "mirror", "fake:/gone" } },
	{ 64, "restore: say what", { "restore" } },
	{ 64, "restore: --uid takes UIDs", { "restore", "--uid", "1" } },
	{ 64, "restore: --uid takes UIDs",
	    { "restore", "INBOX", "--uid", "1,,2" } },
	{ 64, "exclude each other", { "verify", "--rebuild", "--repair" } },
	{ 64, "--dry-run goes with --repair", { "verify", "--dry-run" } },
	{ 78, "no remote is configured", { "flush" } },
	{ 78, "cannot read the configuration",
	    { "-c", "/nonexistent.conf", "status" } },
	{ 75, "cannot be opened", { "-omail_location=fake:/busy", "status" } },
	{ 77, "cannot be opened", { "-omail_location=fake:/perm", "status" } },
	{ 75, "cannot be opened", { "-omail_location=fake:/late", "status" } },
	{ 69, "cannot be opened", { "-omail_location=fake:/far", "status" } },
	{ 1, "cannot be opened",
	    { "-omail_location=fake:/gone", "mailboxes" } },
	{ 1, "cannot be opened", { "-omail_location=fake:/full", "log" } },
	{ 1, "cannot be opened", { "dump", "fake:/gone" } },
	{ 75, "cannot be opened",
	    { "--dry-run", "-omail_location=fake:/busy", "mirror",
		"fake:/gone" } } };

static int
no_far(struct arena *a, const char *const *words, size_t n, const char *origin,
    struct far *out_far)
{
	(void)a;
	(void)words;
	(void)n;
	(void)origin;
	(void)out_far;
	return (-ENOENT);
}

static int
no_stdio(int *in, int *to)
{
	*in = open("/dev/null", O_RDWR | O_CLOEXEC);
	*to = dup(*in);
	return (*to < 0 ? -errno : 0);
}

static const struct dialer dialer = { .parse = no_far,
	.take_stdio = no_stdio };

static int
run(int argc, const char *const *argv)
{
	const struct cmd_io io = { on_out, on_err, NULL, NULL };

	out[0] = err[0] = '\0';
	log_set_sink(sink, NULL);
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	setenv("XDG_DATA_HOME", "/nonexistent", 1);
	const struct backends backends = { .drivers = known,
		.dialer = &dialer };

	return (cmd_run(argc, argv, &backends, NULL, &io, NULL));
}

START_TEST(command_line_gives_status_and_reason)
{
	const char *argv[10] = { "dsyncfs-sync" };
	int argc = 1, status;

	while (argc < 9 && lines[_i].argv[argc - 1] != NULL) {
		argv[argc] = lines[_i].argv[argc - 1];
		argc++;
	}
	status = run(argc, argv);
	ck_assert_msg(status == lines[_i].status,
	    "%s %s: status %d, not %d; said %s", argv[1], argv[2], status,
	    lines[_i].status, err);
	ck_assert_msg(strstr(err, lines[_i].says) != NULL, "said %s, not %s",
	    err, lines[_i].says);
	if (status != 0) { /* one line */
		ck_assert_int_eq(err[strlen(err) - 1], '\n');
		ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
	}
}
END_TEST

START_TEST(busy_store_is_waited_for_and_reported_once)
{
	const char *argv[] = { "dsyncfs-sync", "-l", "1",
		"-omail_location=fake:/busy", "status" };

	opens = 0;
	ck_assert_int_eq(run(5, argv), 75);
	ck_assert_int_gt(opens, 2);
	ck_assert_ptr_eq(strchr(err, '\n'), err + strlen(err) - 1);
}
END_TEST

START_TEST(options_are_taken_in_every_form)
{
	const char *argv[] = { "x", "-vDf", "-mA", "-m", "B", "--exclude=C",
		"--exclude", "D", "-x\\Trash", "-t2026-03-01", "mirror",
		"--max-size", "5M", "--no-max-delete", "fake:/a", NULL };
	struct options o;

	ck_assert_int_eq(options_parse(&o, 15, argv), 0);
	ck_assert(o.verbose && o.debug && o.full);
	ck_assert_uint_eq(o.n_mailbox, 2);
	ck_assert_str_eq(o.mailbox[1], "B");
	ck_assert_uint_eq(o.n_exclude, 3);
	ck_assert_str_eq(o.exclude[2], "\\Trash");
	ck_assert_uint_eq(o.max_size, 5u << 20);
	ck_assert_int_eq(o.max_delete, 0);
	ck_assert_uint_eq(o.n_args, 1);
	ck_assert_str_eq(o.args[0], "fake:/a");
	options_fini(&o);
}
END_TEST

START_TEST(log_options_may_follow_the_command)
{
	const char *argv[] = { "x", "log", "INBOX", "--from", "12", "--cursor",
		"--", "-odd", NULL };
	struct options o;

	ck_assert_int_eq(options_parse(&o, 6, argv), 0);
	ck_assert_uint_eq(o.from, 12);
	ck_assert(o.cursor);
	ck_assert_str_eq(o.args[0], "INBOX");
	options_fini(&o);
}
END_TEST

START_TEST(json_is_escaped)
{
	static const struct {
		const char *in, *quoted;
	} v[] = { { "plain", "\"plain\"" }, { "a\"b\\c", "\"a\\\"b\\\\c\"" },
		{ "\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\\u007f\"" },
		{ "\xc3\xa4\xf0\x9f\x93\xa7", "\"\xc3\xa4\xf0\x9f\x93\xa7\"" },
		{ "\xff", "\"\xef\xbf\xbd\"" }, { "\xc3", "\"\xef\xbf\xbd\"" },
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xf4\x90\x80\x80",
		    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" } };
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		buf_reset(&b);
		json_quote(&b, v[i].in);
		ck_assert_str_eq(buf_cstr(&b), v[i].quoted);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(values_are_read)
{
	unsigned percent;
	uint64_t n;
	int64_t t;

	ck_assert_int_eq(value_duration("30d", &t), 0);
	ck_assert_int_eq(t, 30 * 86400);
	ck_assert_int_eq(value_duration("5 minutes", &t), 0);
	ck_assert_int_eq(t, 300);
	ck_assert_int_eq(value_duration("d", &t), -EINVAL);
	ck_assert_int_eq(value_duration("99999999999", &t), -EINVAL);
	ck_assert_int_eq(value_size("10k", &n), 0);
	ck_assert_uint_eq(n, 10240);
	ck_assert_int_eq(value_size("2GiB", &n), 0);
	ck_assert_uint_eq(n, UINT64_C(2) << 30);
	ck_assert_int_eq(value_size("10x", &n), -EINVAL);
	ck_assert_int_eq(value_size("9999999999T", &n), -EINVAL);
	ck_assert_int_eq(value_percent("50%", &percent), 0);
	ck_assert_int_eq(value_percent("101", &percent), -EINVAL);
	ck_assert_int_eq(
	    value_number("18446744073709551616", UINT64_MAX, &n), -EINVAL);
	ck_assert_int_eq(value_number("", 10, &n), -EINVAL);
	ck_assert_int_eq(value_time("2026-03-01T12:30:00Z", 0, &t), 0);
	ck_assert_int_eq(t, 1772368200);
	ck_assert_int_eq(value_time("1772368200", 0, &t), 0);
	ck_assert_int_eq(t, 1772368200);
	ck_assert_int_eq(value_time("2w", 2000000, &t), 0);
	ck_assert_int_eq(t, 2000000 - 1209600);
	ck_assert_int_eq(value_time("01-Mar-2026", 0, &t), 0);
	ck_assert_int_eq(value_time("2026-02-30", 0, &t), -EINVAL);
	ck_assert_int_eq(value_time("2026-13-01", 0, &t), -EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cmd");
	TCase *t = tcase_create("run");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, command_line_gives_status_and_reason, 0,
	    sizeof(lines) / sizeof(lines[0]));
	tcase_add_test(t, busy_store_is_waited_for_and_reported_once);
	tcase_add_test(t, options_are_taken_in_every_form);
	tcase_add_test(t, log_options_may_follow_the_command);
	tcase_add_test(t, json_is_escaped);
	tcase_add_test(t, values_are_read);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return (failed == 0 ? 0 : 1);
}
