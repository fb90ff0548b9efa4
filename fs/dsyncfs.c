/*
 * dsyncfs -- main of the mount: opens the store, mounts the view, runs until
 * it is unmounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/buf.h"
#include "base/log.h"
#include "fs/loop.h"
#include "fs/metrics.h"
#include "fs/mount.h"
#include "fs/mount_point.h"
#include "fs/mount_remotes.h"
#include "fs/mount_say.h"

#define TICK_MS 200
#define METRICS_SECONDS 5
#define THREADS_MAX 16

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
		broker_left_terminal(m->broker);
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
			metrics_write(
			    m->config.metrics_file, m->scheduler, m->broker);
		}
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return (NULL);
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
	vo.status = mount_put_file_status;
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
	struct scheduler_ops ops = mount_scheduler_ops;
	int rc = m->config.post_sync_command == NULL
	    ? 0
	    : mount_hook_start(m->broker, &m->hook);

	ops.arg = m;
	if (rc == 0)
		rc = scheduler_start(
		    m->remotes, m->n_remotes, &ops, m->network, &m->scheduler);
	if (rc == 0)
		m->network = -1;
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

/*
 * From here on all that the process can reach is what it has: its store, the
 * kernel, the broker, whoever calls at its socket.
 */
static int
close_off(struct mount *m)
{
	int error = loop_load();

	if (error != 0)
		return (error);
	/* It has said why not; the mail can be used all the same. */
	(void)control_listen(m->location.path, &m->control);
	mount_say_connect();
	m->network = scheduler_network();
	return (
	    m->config.sandbox ? m->backends->sandbox->close(SANDBOX_MOUNT) : 0);
}

static int
start(struct mount *m, int helper)
{
	int error = loop_use(m->session);

	if (error == 0)
		error = notifier_start(
		    m->view, m->session, m->mountpoint, helper, &m->notifier);
	if (error == 0)
		error = ahead_start(m->view, m->session, &m->fs.ahead);
	if (error == 0)
		error = listing_new(m->view, &m->fs.listing);
	if (error == 0)
		error = start_threads(m);
	if (error == 0 && m->control != NULL)
		error = control_start(m->control, mount_on_request, m);
	if (error != 0)
		log_error("%s: the threads of the mount cannot be started: %s",
		    m->location.path, strerror(-error));
	return (error);
}

/* libfuse would start a program for it; it sees then that it is done. */
static void
unmount(struct mount *m)
{
	struct pollfd p = { .fd = fuse_session_fd(m->session),
		.events = POLLIN };

	if (poll(&p, 1, 0) != 1 || (p.revents & POLLERR) == 0)
		broker_unmount(m->broker);
	fuse_session_unmount(m->session);
}

static void
loop(struct mount *m)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (config == NULL)
		return;
	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	(void)fuse_session_loop_mt(m->session, config);
	fuse_loop_cfg_destroy(config);
}

static int
serve(struct mount *m, int helper)
{
	struct sigaction usr1 = { .sa_handler = on_usr1 };
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
	error = close_off(m);
	if (error == 0)
		error = start(m, helper);
	if (error == 0)
		loop(m);
	error = error != 0 ? EX_FAIL : 0;
	mount_say_manager("STOPPING=1\n");
	m->ending = 1; /* nor does a caller wait for its turn */
	control_server_stop(m->control);
	stop_threads(m);
	/*
	 * Both may wait for a request that nobody answers any more; the end of
	 * the connection ends it.
	 */
	loop_leave();
	unmount(m);
	notifier_stop(m->notifier);
	m->notifier = NULL;
	ahead_stop(m->fs.ahead);
	m->fs.ahead = NULL;
	listing_free(m->fs.listing);
	m->fs.listing = NULL;
	loop_end();
      signals:
	fuse_remove_signal_handlers(m->session);
	return (error);
}

static int
start_broker(struct mount *m)
{
	const struct broker_settings s = { .mountpoint = m->mountpoint,
		.store = m->location.text,
		.config = m->config.file,
		.post_sync_command = m->config.post_sync_command,
		.metrics_file = m->config.metrics_file,
		.remotes = m->remotes,
		.n_remotes = m->n_remotes };

	if (broker_start(&s, &m->broker) != 0)
		return (EX_FAIL);
	m->syncs = mount_sync_new(m->broker, m->remotes, m->n_remotes,
	    &m->ending, mount_run_again, m);
	return (m->syncs == NULL ? EX_FAIL : 0);
}

/* Everything in the process that stays: gives the exit status. */
static int
run(struct mount *m)
{
	pid_t helper_pid = -1;
	int status, error, helper = -1;

	if ((status = find_store(m)) == 0 && (status = open_store(m)) == 0 &&
	    (status = find_sync(m)) == 0 && (status = make_session(m)) == 0 &&
	    (status = start_broker(m)) == 0) {
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
	broker_stop(m->broker);
	mount_sync_free(m->syncs);
	if (m->network >= 0)
		(void)close(m->network);
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

	m.backends = &backends_all;
	m.parent = m.network = -1;
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
