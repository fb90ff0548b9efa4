/*
 * sandbox -- closes this process by Landlock and seccomp.
 *
 * B1  Landlock says where: beneath the trees that are open (trees.c), and there
 *     not to run programs, nor, but in a mount, to make devices, sockets, fifos
 *     or links that are symbolic.
 * B2  seccomp says what: calls that this program has no use for once it is
 *     closed answer EPERM.  It holds where there is no Landlock, and for what
 *     Landlock does not know of: modes and owners, sockets by name, /proc.
 * B3  Neither can be taken back, and no program that is set-user-ID gives more.
 * B4  Any call that is not named here is allowed: what a C library calls is its
 *     own affair, and a sync must not fail because another one is installed.
 */
#include "backends/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backends/trees.h"
#include "base/log.h"

/* ---- where: Landlock ---- */

/* Of Landlock's later versions, which the headers may not have. */
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset {
	uint64_t fs, net, scoped;
};

#define FS_ALL ((1ULL << 13) - 1) /* of the first version */
/* B1 */
#define FS_TREE                                                                \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |        \
	    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR |      \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |     \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER |           \
	    FS_TRUNCATE)
#define FS_MOUNT                                                               \
	(LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |        \
	    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |      \
	    LANDLOCK_ACCESS_FS_MAKE_SYM)

static long
landlock_version(void)
{
	long n = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return (n < 0 ? -errno : n);
}

static struct ruleset
all_of(long version, unsigned flags)
{
	struct ruleset r = { .fs = FS_ALL | LANDLOCK_ACCESS_FS_REFER };

	if (version >= 3)
		r.fs |= FS_TRUNCATE;
	if (version >= 4)
		r.net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (version >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (version >= 6)
		r.scoped = SCOPE_ABSTRACT_SOCKET |
		    ((flags & SANDBOX_SIGNALS) != 0 ? 0 : SCOPE_SIGNAL);
	return (r);
}

struct allowing {
	int ruleset;
	uint64_t handled, tree;
};

static int
allow(const struct allowing *a, int fd, uint64_t access)
{
	const struct landlock_path_beneath_attr rule = {
		.allowed_access = access & a->handled, .parent_fd = fd
	};

	return (syscall(SYS_landlock_add_rule, a->ruleset,
		    LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0
		? -errno
		: 0);
}

/* A temporary tree is removed from where it lies, which has to be empty then.
 */
static int
allow_tree(void *arg, int fd, bool temporary)
{
	const struct allowing *a = arg;
	int r = allow(a, fd, a->tree), up;

	if (r != 0 || !temporary)
		return (r);
	if ((up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return (-errno);
	r = allow(a, up, LANDLOCK_ACCESS_FS_REMOVE_DIR);
	(void)close(up);
	return (r);
}

/*
 * The first version lets nobody rename a file from one directory to another,
 * which is how mail is kept: it is as if there were none.
 */
static int
close_files(unsigned flags)
{
	long version = landlock_version();
	struct ruleset all = all_of(version, flags);
	struct allowing a = { .handled = all.fs,
		.tree = FS_TREE |
		    ((flags & SANDBOX_MOUNT) != 0 ? FS_MOUNT : 0) };
	long fd;
	int r;

	if (version < 2) {
		log_debug("sandbox: no Landlock: %s",
		    version < 0 ? strerror((int)-version) : "too old");
		return (0);
	}
	fd = syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (fd < 0)
		return (-errno);
	a.ruleset = (int)fd;
	r = trees_each(allow_tree, &a);
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
		r = -errno;
	(void)close((int)fd);
	if (r == 0)
		log_debug("sandbox: Landlock %ld", version);
	return (r);
}

/* ---- what: seccomp ---- */

/* Names that this libseccomp does not know are passed over. */
static const char *const refused[] = {
	/* programs and processes */
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv",
	"process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	"personality", "uselib", "modify_ldt", "unshare", "setns",
	/* sockets that there are not yet */
	"socket", "connect", "bind", "listen",
	/* rights */
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid",
	"setfsuid", "setfsgid", "setgroups", "setuid32", "setgid32",
	"setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32",
	"setfsgid32", "setgroups32", "capset", "keyctl", "add_key",
	"request_key", "open_by_handle_at",
	/* what is mounted */
	"mount", "umount", "umount2", "pivot_root", "chroot", "move_mount",
	"open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
	"fspick", "mount_setattr", "quotactl", "quotactl_fd", "swapon",
	"swapoff", "fanotify_init", "fanotify_mark",
	/* the machine */
	"init_module", "finit_module", "delete_module", "create_module",
	"kexec_load", "kexec_file_load", "reboot", "acct", "syslog",
	"sethostname", "setdomainname", "settimeofday", "clock_settime",
	"clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex",
	"stime", "iopl", "ioperm", "vhangup", "lookup_dcookie",
	/* ways around this filter, and into the kernel */
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
	"io_uring_enter", "io_uring_register", "seccomp", "vmsplice",
	/* what others share */
	"shmget", "shmat", "msgget", "msgsnd", "msgrcv", "semget", "semop",
	"semtimedop", "mq_open", "mq_unlink"
};

/* Whose a file is and what others may do with it: but in a mount. */
static const char *const refused_files[] = { "chmod", "fchmod", "fchmodat",
	"fchmodat2", "chown", "fchown", "lchown", "fchownat", "chown32",
	"fchown32", "lchown32", "setxattr", "lsetxattr", "fsetxattr",
	"setxattrat", "removexattr", "lremovexattr", "fremovexattr",
	"removexattrat", "mknod", "mknodat", "symlink", "symlinkat" };

static int
refuse(scmp_filter_ctx f, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	return (nr == __NR_SCMP_ERROR
		? 0
		: seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), nr, 0));
}

/* Threads, but no process; where the kernel cannot say which, as if old. */
static int
refuse_children(scmp_filter_ctx f)
{
#if defined(__s390__) || defined(__s390x__)
	const unsigned at = 1;
#else
	const unsigned at = 0;
#endif
	int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
	    SCMP_CMP(at, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));

	return (r != 0 ? r
		       : seccomp_rule_add(
			     f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
}

/* Typing into a terminal that a shell will read. */
static int
refuse_typing(scmp_filter_ctx f)
{
	static const unsigned long calls[] = { TIOCSTI, TIOCLINUX, TIOCSETD };
	int r = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl),
		    1, SCMP_CMP(1, SCMP_CMP_MASKED_EQ, 0xffffffffu, calls[i]));
	return (r);
}

static int
close_calls(unsigned flags)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = f == NULL ? -ENOMEM : 0;

	if (r == 0)
		r = seccomp_attr_set(
		    f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* by a tree, not one after the other: it is run for every call */
	if (r == 0)
		(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && r == 0;
	     i++)
		r = refuse(f, refused[i]);
	for (size_t i = 0; i < sizeof(refused_files) / sizeof(refused_files[0]) &&
	     r == 0 && (flags & SANDBOX_MOUNT) == 0;
	     i++)
		r = refuse(f, refused_files[i]);
	if (r == 0)
		r = refuse_children(f);
	if (r == 0)
		r = refuse_typing(f);
	if (r == 0)
		r = seccomp_load(f);
	if (f != NULL)
		seccomp_release(f);
	return (r);
}

/* A kernel without it, or a container that has one of its own and allows none.
 */
static bool
has_seccomp(void)
{
	uint32_t action = SCMP_ACT_ERRNO(EPERM) & 0x7fff0000u;

	if (syscall(
		SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &action) == 0)
		return (true);
	log_debug("sandbox: no seccomp: %s", strerror(errno));
	return (false);
}

/* ---- both ---- */

/* A sanitizer looks into the process, and writes files, at its end. */
#ifdef UNSANDBOXED
static const bool unsandboxed = true;
#else
static const bool unsandboxed = false;
#endif

static void
hide(void)
{
	if (!unsandboxed)
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* What libraries read from files when they first need it. */
static void
read_ahead(void)
{
	tzset();
	(void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
}

static int
failed(const char *what, int error)
{
	log_error("sandbox: %s: %s; 'sandbox = no' does without", what,
	    strerror(-error));
	return (error);
}

static int
close_process(unsigned flags)
{
	const struct rlimit no_core = { 0, 0 };
	int r;

	hide();
	(void)setrlimit(RLIMIT_CORE, &no_core);
	/* A mount makes files with the modes that it is told. */
	if ((flags & SANDBOX_MOUNT) == 0)
		(void)umask(077);
	if (unsandboxed)
		return (0);
	read_ahead();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		log_debug("sandbox: %s", strerror(errno));
		return (0);
	}
	if ((r = close_files(flags)) != 0)
		return (failed("Landlock", r));
	if (has_seccomp() && (r = close_calls(flags)) != 0)
		return (failed("seccomp", r));
	return (0);
}

const struct sandbox sandbox_linux = { hide, close_process };
