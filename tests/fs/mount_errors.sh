#!/bin/bash
# mount_errors -- what is wrong gets one clear line and the errno a file system
# would give; nothing hangs, and what was there before is there afterwards.
. "$(dirname "$0")/../real.sh"
needs python3 strace
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
dsyncfs() { timeout 20 "$MOUNT" "$@" </dev/null; }
mkdir -p "$MNT" "$TMP/mnt2"

# The command line.
check_status "no argument at all" 64 dsyncfs
check "says how it is used" says usage dsyncfs -h
check "its version" says dsyncfs dsyncfs -V
check_status "an unknown option" 64 dsyncfs -z "dsyncfs:$STORE" "$MNT"
check_status "an unknown driver" 64 dsyncfs "nothing:$STORE" "$MNT"
check "names those that there are" says dsyncfs dsyncfs "nothing:$STORE" "$MNT"
check_status "a location that is no store" 64 dsyncfs "maildir:$TMP/md" "$MNT"
check "says what can be mounted" says "dsyncfs:" dsyncfs "maildir:$TMP/md" "$MNT"
check_not "an unknown mount option" dsyncfs -o nonsense "dsyncfs:$STORE" "$MNT"
check "is named" says nonsense dsyncfs -o nonsense "dsyncfs:$STORE" "$MNT"
check_not "a bad layout" dsyncfs -o layout=flat "dsyncfs:$STORE" "$MNT"
check "says which there are" says "maildir++" dsyncfs -o layout=flat "dsyncfs:$STORE" "$MNT"
check_not "a bad number" dsyncfs -o commit=soon "dsyncfs:$STORE" "$MNT"
check_not "sync=push without a remote" dsyncfs -o sync=push "dsyncfs:$STORE" "$MNT"
check "says so" says "with what" dsyncfs -o sync=push "dsyncfs:$STORE" "$MNT"
check_not "an interval without a remote" dsyncfs -o sync=10 "dsyncfs:$STORE" "$MNT"
mkdir -p "$XDG_CONFIG_HOME/dsyncfs"
echo 'colour = blue' >"$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf"
check_status "a mistake in the configuration" 78 dsyncfs "dsyncfs:$STORE" "$MNT"
check "is told with file and line" says "dsyncfs.conf:1" dsyncfs "dsyncfs:$STORE" "$MNT"
rm "$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf"

# The mount point.
check_not "a mount point that is missing" dsyncfs "dsyncfs:$STORE" "$TMP/nowhere"
check "one line says so" one_line dsyncfs "dsyncfs:$STORE" "$TMP/nowhere"
: >"$TMP/file"
check_not "a mount point that is a file" dsyncfs "dsyncfs:$STORE" "$TMP/file"
check "nothing is mounted by all that" eval '[ -z "$(mounts_below "$TMP")" ]'

# The store.
check "mount" mount_store "$STORE" "$MNT"
check_status "a second mount of the same store" 75 dsyncfs "dsyncfs:$STORE" "$TMP/mnt2"
check "is told in a line" one_line dsyncfs "dsyncfs:$STORE" "$TMP/mnt2"
check "the first goes on" ls "$MNT/cur"
check "unmount" umount_store "$STORE" "$MNT"
mkdir "$TMP/other"; echo x >"$TMP/other/precious"
check_not "a directory with something else in it is no store" dsyncfs "dsyncfs:$TMP/other" "$MNT"
equal "and is left as it is" precious "$(ls -A "$TMP/other")"

# As mount(8) and fstab call it.
ln -s "$MOUNT" "$TMP/mount.fuse.dsyncfs"
check "STORE MOUNTPOINT -o rw,..." timeout 20 "$TMP/mount.fuse.dsyncfs" "dsyncfs:$STORE" "$MNT" -o rw,nosuid,nodev,noatime,_netdev,nofail,user,x-systemd.automount,x-gvfs-show
check "it is mounted" mountpoint -q "$MNT"
check "with type fuse.dsyncfs" eval 'awk -v m="$MNT" "\$2 == m && \$3 == \"fuse.dsyncfs\" { f = 1 } END { exit !f }" /proc/self/mounts'
check "unmount" umount_store "$STORE" "$MNT"

# Errors of file operations.
check "mount" mount_store "$STORE" "$MNT"
text() { printf 'Subject: %s\n\nx\n' "$1"; }
text one >"$MNT/tmp/1.one"; mv "$MNT/tmp/1.one" "$MNT/new/1.one"
errno() { python3 -c 'import errno, os, sys
try:
    exec(sys.argv[2])
except OSError as e:
    got = errno.errorcode[e.errno]
else:
    got = "0"
sys.exit(0 if got in sys.argv[1].split("|") else "got " + got)' "$@"; }
check "ENOENT" errno ENOENT "os.stat('$MNT/new/none')"
check "ENOENT for a name in tmp" errno ENOENT "os.unlink('$MNT/tmp/none')"
check "EEXIST for O_EXCL in tmp" errno EEXIST "f = '$MNT/tmp/x'; open(f, 'w').close(); os.open(f, os.O_CREAT | os.O_EXCL)"
check "EEXIST for a link onto a message" errno EEXIST "os.link('$MNT/tmp/x', '$MNT/new/1.one')"
check "ENOTDIR" errno ENOTDIR "os.stat('$MNT/new/1.one/x')"
check "EISDIR" errno EISDIR "open('$MNT/new', 'w')"
mkdir -p "$MNT/.Sub/cur" "$MNT/.Sub/new" "$MNT/.Sub/tmp" "$MNT/plain/sub"; : >"$MNT/plain/file"; mkfifo "$MNT/plain/fifo"; ln -s file "$MNT/plain/link"
for d in cur new tmp .Sub/cur .Sub/new .Sub/tmp; do
	check "EPERM for a directory in $d" errno EPERM "os.mkdir('$MNT/$d/d')"
	check "EPERM for a symlink in $d" errno EPERM "os.symlink('x', '$MNT/$d/s')"
	check "EPERM for a fifo in $d" errno EPERM "os.mkfifo('$MNT/$d/f')"
	check "EPERM for a socket in $d" errno EPERM "import socket; os.chdir('$MNT/$d'); socket.socket(socket.AF_UNIX).bind('s')"
	check "EPERM for a device in $d" errno "EPERM|EINVAL" "os.mknod('$MNT/$d/d', 0o20600, os.makedev(1, 3))"
	for f in sub fifo link file; do
		check "EXDEV for a rename of another $f into $d" errno EXDEV "os.rename('$MNT/plain/$f', '$MNT/$d/y')"
	done
	for f in fifo link file; do
		check "EXDEV for a link of another $f into $d" errno "EXDEV" "os.link('$MNT/plain/$f', '$MNT/$d/y', follow_symlinks=False)"
	done
	equal "nothing of that is in $d" "" "$(ls -A "$MNT/$d" | grep -v '^1.one$' | grep -v '^x$')"
done
check "a socket among other files is one" errno 0 "import socket; os.chdir('$MNT/plain'); socket.socket(socket.AF_UNIX).bind('s')"
check "EXDEV for a message into tmp" errno EXDEV "os.rename('$MNT/new/1.one', '$MNT/tmp/1.one')"
check "EXDEV for a link of a message outside" errno EXDEV "os.link('$MNT/new/1.one', '$MNT/plain/1.one')"
check "EXDEV for a folder into a mail directory" errno "EXDEV|EINVAL" "os.rename('$MNT/.Sub', '$MNT/cur/Sub')"
check "EBUSY for rmdir of the root's cur" errno "EBUSY" "os.rmdir('$MNT/cur')"
check "ENOTEMPTY for rmdir of new with mail" errno "ENOTEMPTY|EBUSY" "os.rmdir('$MNT/new')"
check "ENAMETOOLONG" errno ENAMETOOLONG "open('$MNT/tmp/' + 'x' * 256, 'w')"
check "ENAMETOOLONG among other files" errno ENAMETOOLONG "open('$MNT/' + 'x' * 256, 'w')"
check "EXDEV: a message does not become another file" errno "EXDEV|EPERM" "os.rename('$MNT/new/1.one', '$MNT/1.one')"
check "EXDEV: nor another file a message" errno "EXDEV|EPERM" "open('$MNT/aux', 'w').close(); os.rename('$MNT/aux', '$MNT/new/aux')"
check "EXDEV for links between the two" errno EXDEV "open('$MNT/aux', 'w').close(); os.link('$MNT/aux', '$MNT/cur/aux')"
check "and the other way" errno EXDEV "os.link('$MNT/new/1.one', '$MNT/linked')"
check "EXDEV for a link to subscriptions" errno EXDEV "os.link('$MNT/aux', '$MNT/subscriptions')"
check "EEXIST for a link onto a directory" errno EEXIST "os.link('$MNT/aux', '$MNT/cur')"
check "devices among other files are refused or made as where the store is" python3 - "$MNT" "$TMP" <<'P'
import os, stat, sys
def make(d):
    said = []
    for kind, major, minor in (stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 200), (stat.S_IFCHR, 0, 0):
        name = "%s/dev.%o.%d" % (d, kind, major)
        try:
            os.mknod(name, kind | 0o640, os.makedev(major, minor))
            st = os.lstat(name)
            said.append((oct(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)))
            os.rename(name, name + ".other")
            assert os.lstat(name + ".other").st_rdev == st.st_rdev
            os.unlink(name + ".other")
        except OSError as e:
            said.append(e.errno)
    return said
here, there = make(sys.argv[1]), make(sys.argv[2])
sys.exit("%s, not %s" % (here, there) if here != there else 0)
P
check "ENODATA for an unknown attribute" errno "ENODATA" "os.getxattr('$MNT/new/1.one', 'user.dsyncfs.none')"
check "EPERM or ENOTSUP for setting one" errno "EPERM|EOPNOTSUPP|ENOTSUP|EACCES" "os.setxattr('$MNT/new/1.one', 'user.dsyncfs.uid', b'9')"
check "EACCES or EPERM for a file of .dsyncfs" errno "EACCES|EPERM|EROFS" "f = os.open('$MNT/.dsyncfs/status', os.O_WRONLY); os.write(f, b'x')"
check "no new file in .dsyncfs" errno "EACCES|EPERM|EROFS" "open('$MNT/.dsyncfs/x', 'w')"
check "chown of a message to somebody else" errno "EPERM" "os.chown('$MNT/new/1.one', 12345, -1)"
check "chown to its owner" errno 0 "os.chown('$MNT/new/1.one', os.getuid(), os.getgid())"
check "chmod of a message" errno 0 "os.chmod('$MNT/new/1.one', 0o600)"
check "unmount" umount_store "$STORE" "$MNT"

# Read-only.
want=$(ds dump)
check "mount read-only" mount_store "$STORE" "$MNT" ro
check "reading works" grep -q "Subject: one" "$MNT/new/1.one"
check "EROFS for a new file" errno EROFS "open('$MNT/tmp/y', 'w')"
check "EROFS for a rename" errno EROFS "os.rename('$MNT/new/1.one', '$MNT/cur/1.one:2,S')"
check "EROFS for unlink" errno EROFS "os.unlink('$MNT/new/1.one')"
check "EROFS for mkdir" errno EROFS "os.mkdir('$MNT/.X')"
check "unmount" umount_store "$STORE" "$MNT"
equal "nothing has changed" "$want" "$(ds dump)"

# A full disk.
mkdir "$TMP/small"
mount -t tmpfs -o size=4m none "$TMP/small"
small=$TMP/small/store
check "mount a store on a small disk" mount_store "$small" "$MNT"
text keep >"$MNT/tmp/keep"; mv "$MNT/tmp/keep" "$MNT/new/keep"; sync "$MNT/new"
cat >"$TMP/fill.py" <<'P'
import errno, os, sys
m, done = sys.argv[1], 0
for i in range(1000):
    n = "fill.%d" % i
    try:
        with open(m + "/tmp/" + n, "wb", 0) as f:
            f.write(os.urandom(60000))
            os.fsync(f.fileno())
        os.rename(m + "/tmp/" + n, m + "/new/" + n)
        done += 1
    except OSError as e:
        if e.errno != errno.ENOSPC:
            sys.exit("%s: %s" % (n, e))
        try:
            os.unlink(m + "/tmp/" + n)
        except OSError:
            pass
        print(done)
        sys.exit(0)
sys.exit("the disk never was full")
P
check "ENOSPC, and nothing else, when it is full" python3 "$TMP/fill.py" "$MNT"
check "what was there is still readable" grep -q "Subject: keep" "$MNT/new/keep"
check "and all that was acknowledged" eval 'cat "$MNT"/new/fill.* >/dev/null'
check "a message can be removed" rm "$MNT/new/fill.0"
n=$(count "$MNT")
fusermount3 -u "$MNT"; within 10 not mounted_process "$small"
dd if=/dev/zero of=/dev/null count=0 2>/dev/null
mount -o remount,size=64m "$TMP/small"
check "with room again it mounts" mount_store "$small" "$MNT"
equal "and has the same mail" "$n" "$(count "$MNT")"
check "and takes mail again" eval 'text again >"$MNT/tmp/again" && mv "$MNT/tmp/again" "$MNT/new/again" && sync "$MNT/new"'
check "unmount" umount_store "$small" "$MNT"
check "the store is whole" "$SYNC" -o "mail_location=dsyncfs:$small" verify

# Signals, and an end without a goodbye.
check "mount" mount_store "$STORE" "$MNT"
text late >"$MNT/tmp/late"; mv "$MNT/tmp/late" "$MNT/new/late"
kill -TERM "$(mounted_process "$STORE" | head -1)"
check "SIGTERM unmounts" within 10 not mountpoint -q "$MNT"
check "and leaves the store free" within 10 store_is_free "$STORE"
check "with its last change" says "guid=late" ds dump
check "mount" mount_store "$STORE" "$MNT"
kill -9 "$(mounted_process "$STORE" | head -1)"
check_not "a mount point of a dead mount" dsyncfs "dsyncfs:$STORE" "$MNT"
check "is told with what to do" says "fusermount3 -u" dsyncfs "dsyncfs:$STORE" "$MNT"
fusermount3 -uz "$MNT"
check "then it mounts again" mount_store "$STORE" "$MNT"
check "unmount" umount_store "$STORE" "$MNT"

# A command has the store: its end is waited for.
mkfifo "$TMP/open"
# It waits, as asking whether it has the store has the store, too.
ds -l 20 dsync-server <"$TMP/open" >/dev/null 2>&1 &
exec 7>"$TMP/open"
store_is_busy() { ds mailboxes >/dev/null 2>&1; [ $? = 75 ]; }
check "a command has the store" within 10 store_is_busy
"$MOUNT" "dsyncfs:$STORE" "$MNT" </dev/null >"$TMP/waited.log" 2>&1 7>&- &
sleep 1
check_not "no mount yet" mountpoint -q "$MNT"
exec 7>&-
wait $!; rc=$?
equal "then there is: $(cat "$TMP/waited.log")" 0 $rc
check "unmount" umount_store "$STORE" "$MNT"

# In the foreground, under a service manager.
python3 - "$TMP/notify" >"$TMP/notified" <<'P' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(15)
print(s.recv(200).decode().strip(), flush=True)
P
listener=$!
within 5 test -S "$TMP/notify"
NOTIFY_SOCKET=$TMP/notify "$MOUNT" -f "dsyncfs:$STORE" "$MNT" </dev/null >"$TMP/fg.log" 2>&1 &
fg=$!
check "-f says READY=1" within 15 grep -q READY=1 "$TMP/notified"
check "when the mount answers" ls "$MNT/cur"
fusermount3 -u "$MNT"
wait $fg; rc=$?
wait $listener
equal "and ends with 0 when it is unmounted" 0 $rc

# A store on a file system that has no sockets.
strace -qq -f -o /dev/null -e trace=bind -e inject=bind:error=ENOSYS "$MOUNT" "dsyncfs:$STORE" "$MNT" </dev/null >"$TMP/deaf.log" 2>&1 &
deaf=$!
check "a mount that nobody can call is one" within 15 mountpoint -q "$MNT"
check "and has the mail" ls "$MNT/cur"
check "it has said so" grep -q "warning: .*/socket: cannot listen there: Function not implemented" "$TMP/deaf.log"
check_status "a command finds the store in use" 75 ds -l 1 mailboxes
fusermount3 -u "$MNT"
wait $deaf; rc=$?
equal "it ends as any" 0 $rc
finish
