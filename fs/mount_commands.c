/*
 * mount_commands -- commands of dsyncfs-sync that run in the mount: for clients
 * of its socket, and for itself.
 */
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/buf.h"
#include "fs/mount.h"

/* Commands that must not meet another of them in one store. */
static bool
is_alone(int argc, const char *const *argv)
{
	static const char *const words[] = { "mirror", "backup", "compact",
		"restore", "verify" };
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

void
mount_put_status(void *arg, struct buf *b)
{
	struct mount *m = arg;

	if (m->status != NULL)
		buf_printf(b, "%s", m->status);
	if (m->scheduler != NULL)
		scheduler_text(m->scheduler, b);
}

/* The command would only drown in figures. */
void
mount_put_file_status(void *arg, struct buf *b)
{
	struct mount *m = arg;

	mount_put_status(m, b);
	fs_put_counts(&m->fs, b);
}

static bool
remote_status(void *arg, size_t i, struct cmd_remote_status *out)
{
	struct mount *m = arg;

	return (m->scheduler != NULL && scheduler_status(m->scheduler, i, out));
}

/* Of a mount's own command: what came with a request, or will stay for more. */
struct given {
	const int *fd; /* CONTROL_FDS; NULL: nothing has come */
	bool serves;
	struct cmd_session *session;
	bool *gone;
};

static int
run_command(struct mount *m, int argc, const char *const *argv,
    const struct cmd_io *io, const atomic_int *stop, const struct given *g)
{
	struct buf text = BUF_INIT;
	struct cmd_local local = { .replica = m->replica,
		.path = m->location.path,
		.remotes = m->flushed,
		.remote_status = remote_status,
		.remote_arg = m,
		.in = g->fd != NULL ? g->fd[0] : -1,
		.out = g->fd != NULL ? g->fd[1] : -1,
		.raw = g->fd != NULL ? g->fd[2] : -1,
		.session = g->session,
		.ending = &m->ending,
		.gone = g->gone,
		.changed = m->hook != NULL ? mount_hook_add : NULL,
		.arg = m->hook };
	bool alone = g->serves || is_alone(argc, argv);
	int status;

	mount_put_status(m, &text);
	local.status_text = buf_cstr(&text);

	if (g->serves && !lock_soon(m)) {
		io->err(io->arg, busy, sizeof(busy) - 1);
		buf_fini(&text);
		return (EX_TRY_LATER);
	}
	if (alone && !g->serves)
		pthread_mutex_lock(&m->commands);
	status = cmd_run(argc, argv, m->backends, &local, io, stop);
	if (alone)
		pthread_mutex_unlock(&m->commands);
	/* What it did is seen by whoever waits for its end. */
	notifier_wait(m->notifier);
	buf_fini(&text);
	return (status);
}

int
mount_run_again(void *arg, int argc, const char *const *argv,
    const struct cmd_io *io, struct cmd_session *session, bool *gone)
{
	struct mount *m = arg;

	return (run_command(m, argc, argv, io, &m->ending,
	    &(struct given){ .session = session, .gone = gone }));
}

static int
sync_with(void *arg, const struct scheduler_remote *r, char **error)
{
	struct mount *m = arg;

	return (mount_sync_with(m->syncs, r, error));
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

int
mount_on_request(void *arg, const struct control_request *req,
    control_reply_fn *reply, void *reply_arg)
{
	struct mount *m = arg;
	struct replying r = { reply, reply_arg };
	const struct cmd_io io = { reply_out, reply_err, reply_progress, &r };
	const struct scheduler_remote *own = req->kind == CONTROL_SYNC
	    ? mount_sync_begin(m->syncs, req->argc, req->argv)
	    : NULL;
	struct given g = { .fd = req->fd,
		.serves = req->kind == CONTROL_SERVE,
		.session = own != NULL ? own->session : NULL };
	int status =
	    run_command(m, req->argc, req->argv, &io, req->cancelled, &g);

	mount_sync_end(m->syncs, own);
	return (status);
}

const struct scheduler_ops mount_scheduler_ops = {
	.sync = sync_with, .changes = store_changes, .waiting = changes_waiting
};
