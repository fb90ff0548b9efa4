/*
 * dsyncfs -- main of the mount: opens the store, mounts the view, runs until
 * it is unmounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/buf.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "control/control.h"
#include "fs/last_words.h"
#include "fs/loop.h"
#include "fs/metrics.h"
#include "fs/mount_hook.h"
#include "fs/mount_options.h"
#include "fs/mount_point.h"
#include "fs/mount_remotes.h"
#include "fs/mount_say.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scheduler.h"

#define TICK_MS 200
#define METRICS_SECONDS 5
#define THREADS_MAX 16

struct mount {
	struct mount_options o;
	struct config config;
	struct arena arena;
	struct location location;
	char mountpoint[PATH_MAX];
	char *status; /* owned: head of .dsyncfs/status */
	struct os *os;
	struct store *store;
	struct view *view;
	struct replica *replica;
	struct fs fs;
	struct fuse_session *session;
	struct notifier *notifier;
	struct control_server *control;
	struct mount_hook *hook; /* NULL: no command is set */
	struct scheduler *scheduler;
	pthread_t ticker;
	pthread_mutex_t lock;
	pthread_mutex_t commands; /* one at a time of those that sync */
	pthread_cond_t wake;
	atomic_int ending; /* a sync of ours ends at its next good point */
	bool ticking, stop;
	struct scheduler_remote *remotes;
	size_t n_remotes;
	struct cmd_remote *flushed; /* those of them that are not manual */
	int parent; /* pipe to the starter, -1 */
};

static atomic_int sync_wanted; /* set by a signal */

/* The mount answers: whoever started it may go on. */
static void
on_ready(void *arg)
{
	struct mount *m = arg;

	mount_say_manager("READY=1\n");
	mount_say_status("%s is on %s", m->location.path, m->mountpoint);
	if (m->parent >= 0) {
		unsigned char ok = 0;

		(void)!write(m->parent, &ok, 1);
		(void)close(m->parent);
		m->parent = -1;
		mount_say_left_terminal();
		(void)dup2(STDIN_FILENO, STDOUT_FILENO);
		(void)dup2(STDIN_FILENO, STDERR_FILENO);
	}
}

/* ---- what runs beside ---- */

/* Setting the clock back stops neither commits nor the watchdog's pings. */
static void
wait_tick(struct mount *m, unsigned ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_clockwait(
	    &m->wake, &m->lock, CLOCK_MONOTONIC, &until);
}

static void
sync_asked(struct mount *m)
{
	if (m->n_remotes == 0)
		log_warning("asked to sync, but no remote is set (-o remote=)");
	else
		scheduler_now(m->scheduler);
}

static void *
ticker_main(void *arg)
{
	struct mount *m = arg;
	time_t written = 0;
	int error = 0, before;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		wait_tick(m, TICK_MS);
		pthread_mutex_unlock(&m->lock);
		before = error;
		error = view_tick(m->view, m->config.commit * 1000);
		if (error != 0 && error != before)
			mount_say_status(
			    "changes cannot be kept: %s", strerror(-error));
		/* The view's lock and the disk have just answered. */
		mount_say_alive();
		if (atomic_exchange(&sync_wanted, 0))
			sync_asked(m);
		if (m->config.metrics_file != NULL &&
		    (time(NULL) - written >= METRICS_SECONDS ||
			time(NULL) < written)) {
			written = time(NULL);
			metrics_write(m->config.metrics_file, m->scheduler);
		}
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return (NULL);
}

/* Commands that must not meet another of them in one store. */
static bool
is_alone(int argc, const char *const *argv)
{
	static const char *const words[] = { "mirror", "backup", "flush",
		"compact", "restore", "verify" };
	size_t i;
	int k;

	for (k = 1; k < argc; k++)
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strcmp(argv[k], words[i]) == 0)
				return (true);
	return (false);
}

static const char busy[] =
    "dsyncfs-sync: the store is busy with another sync: try again later\n";

/*
 * For a peer that has called.  It may itself be what the other sync here waits
 * for, so this does not wait for long: of two that have called each other the
 * one with the smaller store id gives up first, and its own call goes on.  Two
 * whose ids are near each other could both give up, each time they call: chance
 * keeps them apart.
 */
static bool
lock_soon(struct mount *m)
{
	const struct timespec step = { .tv_nsec = 100000000 };
	unsigned tries = 10 + replica_id(m->replica)->b[0] / 4u;
	uint8_t chance = 0;

	(void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
	tries += chance % 20;
	for (unsigned i = 0; i < tries && !m->ending; i++) {
		if (pthread_mutex_trylock(&m->commands) == 0)
			return (true);
		(void)nanosleep(&step, NULL);
	}
	return (false);
}

static const int no_pair[2] = { -1, -1 };

/* What status shows first. */
static void
put_status(void *arg, struct buf *b)
{
	struct mount *m = arg;

	if (m->status != NULL)
		buf_printf(b, "%s", m->status);
	if (m->scheduler != NULL)
		scheduler_text(m->scheduler, b);
}

/* .dsyncfs/status has figures, too, that the command would only drown in. */
static void
put_file_status(void *arg, struct buf *b)
{
	struct mount *m = arg;

	put_status(m, b);
	fs_put_counts(&m->fs, b);
}

static bool
remote_status(void *arg, size_t i, struct cmd_remote_status *out)
{
	struct mount *m = arg;

	return (m->scheduler != NULL && scheduler_status(m->scheduler, i, out));
}

static int
run_command(struct mount *m, int argc, const char *const *argv,
    const struct cmd_io *io, const atomic_int *stop, const int pair[2],
    struct cmd_session *session)
{
	struct buf text = BUF_INIT;
	struct cmd_local local = { .replica = m->replica,
		.path = m->location.path,
		.remotes = m->flushed,
		.remote_status = remote_status,
		.remote_arg = m,
		.in = pair[0],
		.out = pair[1],
		.session = session,
		.changed = m->hook != NULL ? mount_hook_add : NULL,
		.arg = m->hook };
	bool alone = is_alone(argc, argv);
	int status;

	put_status(m, &text);
	local.status_text = buf_cstr(&text);

	if (pair[0] >= 0) {
		alone = true;
		if (!lock_soon(m)) {
			io->err(io->arg, busy, sizeof(busy) - 1);
			buf_fini(&text);
			return (EX_TRY_LATER);
		}
	} else if (alone)
		pthread_mutex_lock(&m->commands);
	status = cmd_run(argc, argv, &backends_all, &local, io, stop);
	if (alone)
		pthread_mutex_unlock(&m->commands);
	/* What it did is seen by whoever waits for its end. */
	notifier_wait(m->notifier);
	buf_fini(&text);
	return (status);
}

static void
discard(void *arg, const char *text, size_t n)
{
	(void)arg;
	(void)text;
	(void)n;
}

static int
sync_with(void *arg, const struct scheduler_remote *r, char **error)
{
	struct mount *m = arg;
	const char *argv[6] = { "dsyncfs-sync" };
	struct last_words w = { NULL, NULL };
	const struct cmd_io io = { discard, last_words_take, NULL, &w };
	char *config = NULL;
	int argc = 1, status;

	if (m->config.file != NULL &&
	    asprintf(&config, "--config=%s", m->config.file) > 0)
		argv[argc++] = config;
	argv[argc++] = r->backup ? "backup" : "mirror";
	argv[argc++] = "--";
	argv[argc++] = r->name;
	mount_say_status("syncing with %s", r->name);
	status = run_command(
	    m, argc, argv, &io, &m->ending, no_pair, r->session);
	if (status == EX_DONE || status == EX_AGAIN)
		mount_say_status("synced with %s", r->name);
	else
		mount_say_status("the last sync with %s failed: %s", r->name,
		    w.last != NULL ? w.last : "no reason was given");
	*error = last_words_text(&w);
	last_words_fini(&w);
	free(config);
	return (status);
}

static uint64_t
store_changes(void *arg)
{
	struct mount *m = arg;
	uint64_t end;

	view_lock(m->view);
	end = store_log_end(m->store);
	view_unlock(m->view);
	return (end);
}

static int
changes_waiting(void *arg, const struct scheduler_remote *r,
    struct cmd_waiting *k, uint64_t *n)
{
	struct mount *m = arg;
	int rc;

	view_lock(m->view);
	rc = cmd_waiting(m->store, r->location, k);
	*n = k->n;
	view_unlock(m->view);
	return (rc);
}

/* ---- the socket ---- */

struct replying {
	control_reply_fn *fn;
	void *arg;
};

static void
reply_out(void *arg, const char *text, size_t n)
{
	struct replying *r = arg;

	r->fn(r->arg, CONTROL_OUT, text, n);
}

static void
reply_err(void *arg, const char *text, size_t n)
{
	struct replying *r = arg;

	r->fn(r->arg, CONTROL_ERR, text, n);
}

static void
reply_progress(void *arg, const char *text, size_t n)
{
	struct replying *r = arg;

	r->fn(r->arg, CONTROL_PROGRESS, text, n);
}

static int
on_request(void *arg, const struct control_request *req,
    control_reply_fn *reply, void *reply_arg)
{
	struct replying r = { reply, reply_arg };
	const struct cmd_io io = { reply_out, reply_err, reply_progress, &r };

	const int pair[2] = { req->in, req->out };

	return (run_command(
	    arg, req->argc, req->argv, &io, req->cancelled, pair, NULL));
}

/* ---- starting ---- */

static int
find_store(struct mount *m)
{
	const char *text = m->o.store, *origin = "command line";
	const struct driver *const *d;
	char *made;
	int error;

	if (text == NULL) {
		text = m->config.mail_location.text;
		origin = m->config.mail_location.origin;
	}
	/* fstab names a store by its directory. */
	if (text[0] == '/' || text[0] == '~' || text[0] == '.') {
		made = arena_printf(&m->arena, "dsyncfs:%s", text);
		text = made == NULL ? text : made;
	}
	error = location_parse(
	    &m->arena, backends_registry, text, origin, &m->location);
	if (error != 0)
		return (strcmp(origin, "command line") == 0 ? EX_BAD_USAGE
							    : EX_BAD_CONFIG);
	for (d = backends_registry; *d != NULL; d++)
		if (strcmp((*d)->name, m->location.driver) == 0 &&
		    (*d)->tree != NULL)
			break;
	if (*d == NULL) {
		log_error("%s (from %s): only a store can be mounted "
			  "(dsyncfs:PATH); mirror this location into one with "
			  "dsyncfs-sync",
		    text, origin);
		return (EX_BAD_USAGE);
	}
	if (!m->o.readonly &&
	    (error = mount_point_parents(m->location.path)) != 0) {
		log_error("%s (from %s): cannot be made: %s", m->location.path,
		    origin, strerror(-error));
		return (cmd_status_of(error));
	}
	if ((error = (*d)->tree(&m->location, &m->os)) != 0)
		return (cmd_status_of(error));
	return (0);
}

/* What is done between these is a command's: the kernel has to be told. */
static void
lock_view(void *arg)
{
	view_lock(arg);
	view_foreign(arg, true);
}

static void
unlock_view(void *arg)
{
	view_foreign(arg, false);
	view_unlock(arg);
}

static void
pause_view(void *arg)
{
	view_wait_sync(arg);
}

static int
open_store(struct mount *m)
{
	struct replica_native_hooks hooks = { .own_tree = false };
	struct view_options vo = { .readonly = m->o.readonly,
		.uid = m->o.uid,
		.gid = m->o.gid,
		.umask = m->o.umask };
	const char *layout = m->o.layout;
	int error, dirfd;

	if (layout == NULL)
		layout = m->config.layout.text;
	if (layout != NULL && strcmp(layout, "fs") == 0)
		vo.layout = LAYOUT_FS;
	else if (layout != NULL && strcmp(layout, "maildir++") != 0) {
		log_error(
		    "layout=%s: not known; it is maildir++ or fs", layout);
		return (EX_BAD_USAGE);
	}
	if (m->o.commit >= 0)
		m->config.commit = (unsigned)m->o.commit;
	vo.stale_names = m->o.stale_names >= 0 ? (unsigned)m->o.stale_names
					       : m->config.stale_names;
	mount_point_turn(m->location.path);
	error = store_open(m->os, m->o.readonly ? STORE_RDONLY : STORE_CREATE,
	    &m->config.store, &m->store);
	if (error != 0)
		return (cmd_status_of(error));
	vo.readonly = vo.readonly || store_readonly(m->store);
	if (asprintf(&m->status, "mountpoint %s\nlayout %s\n", m->mountpoint,
		vo.layout == LAYOUT_FS ? "fs" : "maildir++") < 0) {
		m->status = NULL;
		return (EX_FAIL);
	}
	vo.status = put_file_status;
	vo.status_arg = m;
	dirfd = open(m->location.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		log_error("%s: %s", m->location.path, strerror(errno));
		return (EX_FAIL);
	}
	if ((error = view_open(m->store, dirfd, &vo, &m->view)) != 0)
		return (cmd_status_of(error));
	hooks.lock = lock_view;
	hooks.unlock = unlock_view;
	hooks.pause = pause_view;
	hooks.arg = m->view;
	error = replica_native_new(
	    m->store, m->location.text, false, &hooks, &m->replica);
	return (error == 0 ? 0 : cmd_status_of(error));
}

/* The configuration's sections are about the configuration's store. */
static int
find_sync(struct mount *m)
{
	struct location l;
	const struct config_value *v = &m->config.mail_location;
	bool of_config = m->o.store == NULL ||
	    (location_parse(
		 &m->arena, backends_registry, v->text, v->origin, &l) == 0 &&
		strcmp(l.path, m->location.path) == 0);

	int status = mount_remotes(&m->arena, &m->o, &m->config, of_config,
	    &m->remotes, &m->n_remotes);

	if (status == 0)
		status = mount_remotes_flushed(&m->arena, &m->o, &m->config,
		    m->remotes, m->n_remotes, &m->flushed);
	return (status);
}

static int
make_session(struct mount *m)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *name = NULL;
	int error = EX_FAIL;

	if (asprintf(&name, "subtype=dsyncfs,fsname=%s%s%s%s", m->location.path,
		m->o.allow_other ? ",default_permissions" : "",
		m->o.fuse[0] != '\0' ? "," : "", m->o.fuse) < 0)
		return (EX_FAIL);
	if (fuse_opt_add_arg(&args, "dsyncfs") != 0 ||
	    fuse_opt_add_arg(&args, "-o") != 0 ||
	    fuse_opt_add_arg(&args, name) != 0 ||
	    (m->o.debug && fuse_opt_add_arg(&args, "-d") != 0))
		goto out;
	m->fs.view = m->view;
	m->fs.helper = -1;
	m->fs.ready = on_ready;
	m->fs.ready_arg = m;
	m->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), &m->fs);
	if (m->session == NULL) {
		log_error(
		    "the mount options '%s' are not all known", m->o.fuse);
		error = EX_BAD_USAGE;
		goto out;
	}
	error = 0;
out:
	fuse_opt_free_args(&args);
	free(name);
	return (error);
}

static void
on_usr1(int signal_number)
{
	(void)signal_number;
	sync_wanted = 1;
}

static int
start_threads(struct mount *m)
{
	const struct scheduler_ops ops = { sync_with, store_changes,
		changes_waiting, m };
	const char *command = m->config.post_sync_command;
	int rc = command == NULL ? 0 : mount_hook_start(command, &m->hook);

	if (rc == 0)
		rc = scheduler_start(
		    m->remotes, m->n_remotes, &ops, &m->scheduler);
	if (rc == 0)
		rc = -pthread_create(&m->ticker, NULL, ticker_main, m);
	m->ticking = rc == 0;
	return (rc);
}

static void
stop_threads(struct mount *m)
{
	m->ending = 1;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_broadcast(&m->wake);
	pthread_mutex_unlock(&m->lock);
	if (m->ticking)
		(void)pthread_join(m->ticker, NULL);
	scheduler_stop(m->scheduler);
	m->scheduler = NULL;
	mount_hook_stop(m->hook);
	m->hook = NULL;
}

static int
serve(struct mount *m, int helper)
{
	struct fuse_loop_config *config;
	struct sigaction usr1 = { .sa_handler = on_usr1 };
	const char *what = "the threads of the mount cannot be started";
	int error;

	if (fuse_set_signal_handlers(m->session) != 0)
		return (EX_FAIL);
	(void)sigaction(SIGUSR1, &usr1, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (fuse_session_mount(m->session, m->mountpoint) != 0) {
		log_error("%s: cannot be mounted on; is /dev/fuse there and "
			  "may you use it?",
		    m->mountpoint);
		error = EX_FAIL;
		goto signals;
	}
	/* Not before: an automounter lets only its own process group through.
	 */
	if (m->parent >= 0)
		(void)setsid();
	error = loop_use(m->session);
	if (error == 0)
		error = notifier_start(m->view, m->session,
		    m->mountpoint, helper, &m->notifier);
	if (error == 0)
		error = ahead_start(m->view, m->session, &m->fs.ahead);
	if (error == 0)
		error = start_threads(m);
	if (error == 0) {
		what = "the control socket cannot be opened";
		error =
		    control_serve(m->location.path, on_request, m, &m->control);
	}
	if (error != 0) {
		log_error(
		    "%s: %s: %s", m->location.path, what, strerror(-error));
		error = EX_FAIL;
	}
	if (error == 0 && (config = fuse_loop_cfg_create()) != NULL) {
		fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
		(void)fuse_session_loop_mt(m->session, config);
		fuse_loop_cfg_destroy(config);
	}
	mount_say_manager("STOPPING=1\n");
	m->ending = 1; /* nor does a caller wait for its turn */
	control_server_stop(m->control);
	stop_threads(m);
	/*
	 * Both may wait for a request that nobody answers any more; the end of
	 * the connection ends it.
	 */
	loop_leave();
	fuse_session_unmount(m->session);
	notifier_stop(m->notifier);
	m->notifier = NULL;
	ahead_stop(m->fs.ahead);
	m->fs.ahead = NULL;
	loop_end();
      signals:
	fuse_remove_signal_handlers(m->session);
	return (error);
}

/* Everything in the process that stays: gives the exit status. */
static int
run(struct mount *m)
{
	pid_t helper_pid = -1;
	int status, error, helper = -1;

	if ((status = find_store(m)) == 0 && (status = open_store(m)) == 0 &&
	    (status = find_sync(m)) == 0 && (status = make_session(m)) == 0) {
		if ((helper = helper_start(&helper_pid)) < 0) {
			log_error("the helper process cannot be started: %s",
			    strerror(-helper));
			status = EX_FAIL;
		} else {
			m->fs.helper = helper_pid;
			status = serve(m, helper);
		}
	}
	if (m->session != NULL)
		fuse_session_destroy(m->session);
	/* It ends with its socket, which would have been the notifier's. */
	if (helper >= 0 && m->notifier == NULL)
		(void)close(helper);
	if (helper_pid > 0)
		(void)waitpid(helper_pid, NULL, 0);
	if (m->replica != NULL)
		(void)m->replica->ops->close(m->replica);
	if ((error = view_close(m->view)) != 0 && status == 0)
		status = EX_FAIL;
	if (m->store != NULL && (error = store_close(m->store)) != 0 &&
	    status == 0)
		status = EX_FAIL;
	if (m->os != NULL)
		m->os->ops->close_tree(m->os);
	return (status);
}

/* The starter waits until the mount answers, or takes its failure over. */
static int
in_background(struct mount *m)
{
	unsigned char status = EX_FAIL;
	int ends[2], null;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		log_error("cannot go to the background: %s", strerror(errno));
		return (EX_FAIL);
	}
	if (pid > 0) {
		ssize_t got;

		(void)close(ends[1]);
		do
			got = read(ends[0], &status, 1);
		while (got < 0 && errno == EINTR);
		return (got == 1 ? status : EX_FAIL);
	}
	(void)close(ends[0]);
	if (chdir("/") != 0)
		return (EX_FAIL);
	null = open("/dev/null", O_RDWR);
	if (null >= 0)
		(void)dup2(null, STDIN_FILENO);
	if (null > STDERR_FILENO)
		(void)close(null);
	openlog("dsyncfs", LOG_PID, LOG_MAIL);
	m->parent = ends[1];
	status = (unsigned char)run(m);
	if (m->parent >= 0)
		(void)!write(m->parent, &status, 1);
	return (status);
}

static int
load(struct mount *m, int argc, char **argv)
{
	int error, status;

	if (mount_options_parse(&m->o, argc, argv) != 0)
		return (EX_BAD_USAGE);
	if (m->o.help || m->o.version)
		return (0);
	if (m->o.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	if ((status = mount_options_user(&m->o)) != 0)
		return (status);
	error = config_load(&m->config, m->o.config, NULL, 0);
	if (error != 0)
		return (error == -EACCES ? EX_PERMISSION : EX_BAD_CONFIG);
	if ((status = mount_point_check(m->o.mountpoint, m->mountpoint)) != 0)
		return (status);
	/* The background has another working directory. */
	if (m->o.store != NULL && m->o.store[0] == '.') {
		char real[PATH_MAX];

		if (getcwd(real, sizeof(real)) != NULL)
			m->o.store =
			    arena_printf(&m->arena, "%s/%s", real, m->o.store);
		if (m->o.store == NULL)
			return (EX_FAIL);
	}
	return (0);
}

int
main(int argc, char **argv)
{
	static struct mount m;
	int status;

	m.parent = -1;
	/* Each thread of the loop would have some MB of its own. */
	(void)mallopt(M_ARENA_MAX, 2);
	pthread_mutex_init(&m.lock, NULL);
	pthread_mutex_init(&m.commands, NULL);
	pthread_cond_init(&m.wake, NULL);
	mount_say_start();
	mount_options_descriptors();
	status = load(&m, argc, argv);
	if (status == 0 && m.o.help)
		(void)fputs(mount_usage, stdout);
	else if (status == 0 && m.o.version)
		(void)puts("dsyncfs " DSYNCFS_VERSION);
	else if (status == 0)
		status = m.o.foreground ? run(&m) : in_background(&m);
	mount_remotes_free(m.remotes, m.n_remotes);
	mount_options_fini(&m.o);
	config_fini(&m.config);
	arena_fini(&m.arena);
	free(m.status);
	return (status);
}
