/*
 * ops -- decodes a request, makes one call of the view, replies.
 *
 * open, create and opendir are answered ENOSYS, so the kernel asks no more and
 * keeps pages and listings; fs/DESIGN.md has the measurements behind each
 * choice.
 */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/listing.h"
#include "fs/loop.h"

#define MAX_IO (1u << 20)

static struct fs *
fs_of(fuse_req_t req)
{
	return (fuse_req_userdata(req));
}

static void
count(fuse_req_t req, enum fs_count which)
{
	(void)atomic_fetch_add_explicit(
	    &fs_of(req)->counts[which], 1, memory_order_relaxed);
}

void
fs_put_counts(const struct fs *fs, struct buf *b)
{
	static const char *const names[] = {
#define COUNT_NAME(upper, lower) [COUNT_##upper] = #lower,
		FS_COUNTS(COUNT_NAME)
	};

	for (size_t i = 0; i < COUNTS; i++)
		buf_printf(b, "requests_%s %llu\n", names[i],
		    (unsigned long long)atomic_load_explicit(
			&fs->counts[i], memory_order_relaxed));
	buf_printf(b, "pushed %llu\n", ahead_pushed(fs->ahead));
}

static struct view *
view_of(fuse_req_t req)
{
	return (fs_of(req)->view);
}

/* The same, for making something. */
static struct view *
view_for(fuse_req_t req)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);

	view_as(who->uid, who->gid);
	return (fs_of(req)->view);
}

/* It is not waited for before we end, so its number is nobody else's. */
static bool
by_helper(fuse_req_t req)
{
	return (fs_of(req)->helper > 0 &&
	    fuse_req_ctx(req)->pid == fs_of(req)->helper);
}

static void
reply_entry(fuse_req_t req, int error, const struct stat *st)
{
	struct fuse_entry_param e;

	if (error != 0) {
		fuse_reply_err(req, -error);
		return;
	}
	entry_fill(st, &e);
	fuse_reply_entry(req, &e);
}

static void
reply_attr(fuse_req_t req, int error, const struct stat *st)
{
	struct fuse_entry_param e;

	if (error != 0) {
		fuse_reply_err(req, -error);
		return;
	}
	entry_fill(st, &e);
	fuse_reply_attr(req, &e.attr, e.attr_timeout);
}

static void
op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	const unsigned take = FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
	    FUSE_CAP_READDIRPLUS;
	const unsigned leave = FUSE_CAP_READDIRPLUS_AUTO |
	    FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
	    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
	    FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
	    FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_EXPORT_SUPPORT |
	    FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;

	conn->want |= conn->capable & take;
	conn->want &= ~leave;
	conn->max_write = MAX_IO;
	conn->max_readahead = MAX_IO;
	conn->max_background = 64;
	if (fs->ready != NULL)
		fs->ready(fs->ready_arg);
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	struct stat st;
	int error;

	count(req, COUNT_LOOKUP);
	if (!by_helper(req)) {
		error = view_lookup(view_of(req), parent, name, &st);
		reply_entry(req, error, &st);
		return;
	}
	error = view_nudge_lookup(view_of(req), parent, name, &st);
	if (error != 0) {
		fuse_reply_err(req, -error);
		return;
	}
	/* What it finds is nothing for others to keep. */
	entry_fill(&st, &e);
	e.entry_timeout = e.attr_timeout = 0;
	fuse_reply_entry(req, &e);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	count(req, COUNT_FORGET);
	view_forget(view_of(req), ino, n);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *list)
{
	size_t i;

	count(req, COUNT_FORGET_MULTI);
	for (i = 0; i < n; i++)
		view_forget(view_of(req), list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	count(req, COUNT_GETATTR);
	(void)fi;
	reply_attr(req, view_getattr(view_of(req), ino, &st), &st);
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi)
{
	struct view_set set = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	struct stat st;

	count(req, COUNT_SETATTR);
	(void)fi;
	if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
		set.what |= SET_SIZE;
		set.size = (uint64_t)attr->st_size;
	}
	if ((to_set & FUSE_SET_ATTR_MTIME) != 0) {
		set.what |= SET_MTIME;
		set.mtime = attr->st_mtim;
	}
	if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
		set.what |= SET_MTIME;
		(void)clock_gettime(CLOCK_REALTIME, &set.mtime);
	}
	if ((to_set & FUSE_SET_ATTR_ATIME) != 0) {
		set.what |= SET_ATIME;
		set.atime = attr->st_atim;
	}
	if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0) {
		set.what |= SET_ATIME;
		(void)clock_gettime(CLOCK_REALTIME, &set.atime);
	}
	if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
		set.what |= SET_MODE;
		set.mode = attr->st_mode;
	}
	if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
		set.what |= SET_OWNER;
		if ((to_set & FUSE_SET_ATTR_UID) != 0)
			set.uid = attr->st_uid;
		if ((to_set & FUSE_SET_ATTR_GID) != 0)
			set.gid = attr->st_gid;
	}
	reply_attr(req, view_setattr(view_for(req), ino, &set, &st), &st);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4097];
	int error = view_readlink(view_of(req), ino, target, sizeof(target));

	count(req, COUNT_READLINK);
	if (error != 0)
		fuse_reply_err(req, -error);
	else
		fuse_reply_readlink(req, target);
}

static void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t rdev)
{
	struct stat st;

	count(req, COUNT_MKNOD);
	reply_entry(
	    req, view_mknod(view_for(req), parent, name, mode, rdev, &st), &st);
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct stat st;

	count(req, COUNT_MKDIR);
	reply_entry(
	    req, view_mkdir(view_for(req), parent, name, mode, &st), &st);
}

static void
op_symlink(
    fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct stat st;

	count(req, COUNT_SYMLINK);
	reply_entry(
	    req, view_symlink(view_for(req), target, parent, name, &st), &st);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	count(req, COUNT_UNLINK);
	fuse_reply_err(req,
	    by_helper(req) ? -view_nudge_unlink(view_of(req), parent, name)
			   : -view_unlink(view_of(req), parent, name));
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	count(req, COUNT_RMDIR);
	fuse_reply_err(req, -view_rmdir(view_of(req), parent, name));
}

static void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	count(req, COUNT_RENAME);
	fuse_reply_err(req,
	    by_helper(req) ? -view_nudge_rename(view_of(req), parent, name,
				 new_parent, new_name)
			   : -view_rename(view_of(req), parent, name,
				 new_parent, new_name, flags));
}

static void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct stat st;

	count(req, COUNT_LINK);
	reply_entry(req, view_link(view_of(req), ino, parent, name, &st), &st);
}

static void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, COUNT_OPEN);
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void
op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	count(req, COUNT_CREATE);
	(void)parent;
	(void)name;
	(void)mode;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void
op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, COUNT_FLUSH);
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	ssize_t got;
	char *p;

	count(req, COUNT_READ);
	(void)fi;
	if (size > MAX_IO)
		size = MAX_IO;
	if (off == 0 && ahead_read(fs_of(req)->ahead, req, ino, size))
		return;
	/* A mail has to be unpacked; other files mostly are in memory. */
	if ((ino & NODE_AUX) == 0)
		loop_pass();
	if ((p = malloc(size > 0 ? size : 1)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	got = view_read(view_of(req), ino, p, size, (uint64_t)off);
	if (got < 0)
		fuse_reply_err(req, (int)-got);
	else
		fuse_reply_buf(req, p, (size_t)got);
	free(p);
}

static void
op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	ssize_t put;

	count(req, COUNT_WRITE);
	(void)fi;
	put = view_write(view_for(req), ino, p, size, (uint64_t)off);
	if (put < 0)
		fuse_reply_err(req, (int)-put);
	else
		fuse_reply_write(req, (size_t)put);
}

static void
op_fsync(
    fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	count(req, COUNT_FSYNC);
	(void)datasync;
	(void)fi;
	loop_pass();
	fuse_reply_err(req, -view_fsync(view_of(req), ino));
}

static void
op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
    struct fuse_file_info *fi)
{
	count(req, COUNT_FALLOCATE);
	(void)fi;
	loop_pass();
	fuse_reply_err(req,
	    -view_fallocate(
		view_for(req), ino, mode, (uint64_t)off, (uint64_t)len));
}

static void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, COUNT_OPENDIR);
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	count(req, COUNT_READDIR);
	(void)fi;
	listing_reply(fs_of(req)->listing, req, ino, size, off, false);
}

static void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	count(req, COUNT_READDIRPLUS);
	(void)fi;
	listing_reply(fs_of(req)->listing, req, ino, size, off, true);
}

static void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int error = view_statfs(view_of(req), &st);

	count(req, COUNT_STATFS);
	(void)ino;
	if (error != 0)
		fuse_reply_err(req, -error);
	else
		fuse_reply_statfs(req, &st);
}

static void
reply_xattr(fuse_req_t req, ssize_t n, const char *p, size_t size)
{
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, p, (size_t)n);
}

static void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *p = malloc(size > 0 ? size : 1);

	count(req, COUNT_GETXATTR);
	if (p == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	reply_xattr(
	    req, view_getxattr(view_of(req), ino, name, p, size), p, size);
	free(p);
}

static void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *p = malloc(size > 0 ? size : 1);

	count(req, COUNT_LISTXATTR);
	if (p == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	reply_xattr(req, view_listxattr(view_of(req), ino, p, size), p, size);
	free(p);
}

static void
op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
    size_t size, int flags)
{
	count(req, COUNT_SETXATTR);
	fuse_reply_err(
	    req, -view_setxattr(view_of(req), ino, name, value, size, flags));
}

static void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	count(req, COUNT_REMOVEXATTR);
	fuse_reply_err(
	    req, -view_setxattr(view_of(req), ino, name, NULL, 0, 0));
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.flush = op_flush,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fsyncdir = op_fsync,
	.fallocate = op_fallocate,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
};
