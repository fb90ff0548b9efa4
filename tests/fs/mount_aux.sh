#!/bin/bash
# mount_aux -- files that are not mail are real files: full POSIX, and nothing of
# them is logged.
. "$(dirname "$0")/../real.sh"
needs strace python3 getfattr
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
check "mount" mount_store "$STORE" "$MNT"
lines() { ds log | wc -l; }
mkdir -p "$MNT/.Box/cur" "$MNT/.Box/new" "$MNT/.Box/tmp"
before=$(lines)

# Files of programs, at the root and in a mailbox's folder.
for d in "$MNT" "$MNT/.Box"; do
	n=${d#"$MNT"}
	for f in .mbsyncstate dovecot-uidlist dovecot.index.log maildirfolder .uidvalidity msmtp-queue; do
		check "create and read ${n}/$f" eval 'echo "text of $f" >"$d/$f" && [ "$(cat "$d/$f")" = "text of $f" ]'
	done
	check "append" eval 'echo more >>"$d/.mbsyncstate" && [ "$(wc -l <"$d/.mbsyncstate")" = 2 ]'
	check "truncate and write anew" eval 'printf xyzz >"$d/.mbsyncstate" && [ "$(cat "$d/.mbsyncstate")" = xyzz ]'
	check "rename over a file" eval 'echo new >"$d/a.lock" && mv "$d/a.lock" "$d/.mbsyncstate" && [ "$(cat "$d/.mbsyncstate")" = new ] && [ ! -e "$d/a.lock" ]'
	check "hard link: one inode, two links" eval 'ln "$d/.mbsyncstate" "$d/second" && [ "$(stat -c "%i %h" "$d/second")" = "$(stat -c %i "$d/.mbsyncstate") 2" ]'
	check "what is written through one is read through the other" eval 'echo shared >>"$d/second" && grep -q shared "$d/.mbsyncstate"'
	check "unlink of one leaves the other" eval 'rm "$d/second" && [ "$(stat -c %h "$d/.mbsyncstate")" = 1 ] && grep -q shared "$d/.mbsyncstate"'
	check "symlink" eval 'ln -s .mbsyncstate "$d/sym" && [ "$(readlink "$d/sym")" = .mbsyncstate ] && grep -q shared "$d/sym"'
	check "dangling symlink, removed" eval 'ln -sfn nowhere "$d/sym" && [ -L "$d/sym" ] && [ ! -e "$d/sym" ] && rm "$d/sym"'
	check "mode and time" eval 'chmod 640 "$d/maildirfolder" && touch -d @1500000000.25 "$d/maildirfolder" && [ "$(stat -c "%a %.2Y" "$d/maildirfolder")" = "640 1500000000.25" ]'
	check "a fifo works or is refused, it does not hang" eval 'timeout 5 mkfifo "$d/fifo"; rm -f "$d/fifo"'
done

# Directories.
check "a dot directory at the root" mkdir "$MNT/.notmuch"
check "nested" mkdir -p "$MNT/.notmuch/xapian/a/b/c"
check "is no mailbox" eval '! ds mailboxes | grep -q notmuch'
check "files in it" eval 'for i in $(seq 300); do echo $i >"$MNT/.notmuch/xapian/f$i"; done; [ "$(ls "$MNT/.notmuch/xapian" | wc -l)" = 301 ]'
equal "link count: 2 and one for each directory" 3 "$(stat -c %h "$MNT/.notmuch/xapian")"
check "rename of a directory with all in it" eval 'mv "$MNT/.notmuch/xapian" "$MNT/.notmuch/db" && [ "$(cat "$MNT/.notmuch/db/f299")" = 299 ]'
check "rmdir of a full one fails" eval '! rmdir "$MNT/.notmuch/db" 2>"$TMP/e" && grep -q "not empty" "$TMP/e"'
check "into another directory" eval 'mkdir "$MNT/plain" && mv "$MNT/.notmuch/db" "$MNT/plain/db" && [ -f "$MNT/plain/db/f1" ]'
check "a directory not under itself" eval '! mv "$MNT/plain" "$MNT/plain/db/" 2>/dev/null'
check "rm -r while it is read" eval 'rm -r "$MNT/plain/db" && [ -z "$(ls -A "$MNT/plain")" ]'
check "a tree deeper than any path is made and removed" python3 - "$MNT/deep" <<'P'
import os, subprocess, sys
top = os.getcwd()
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
for i in range(1500):
    os.mkdir("dir")
    os.chdir("dir")
open("file", "w").write("deep")
assert open("file").read() == "deep"
os.chdir(top)
sys.exit(subprocess.call(["rm", "-r", sys.argv[1]]))
P
check "a plain directory that holds cur is left alone in this layout" eval 'mkdir -p "$MNT/plain/md/cur" && echo x >"$MNT/plain/md/cur/x" && [ -f "$MNT/plain/md/cur/x" ] && rm -r "$MNT/plain"'
check "a dot directory becomes a mailbox with its first cur" eval \
	'mkdir "$MNT/.Late" && echo own >"$MNT/.Late/own" && mkdir "$MNT/.Late/cur" "$MNT/.Late/new" "$MNT/.Late/tmp" && [ "$(cat "$MNT/.Late/own")" = own ] && ds mailboxes | grep -q ^Late'
check "mv of a mailbox to where none can be copies its mail" eval \
	'mkdir -p "$MNT/.Old/cur" "$MNT/.Old/new" "$MNT/.Old/tmp" "$MNT/arch" && printf "Subject: kept\n\nx\n" >"$MNT/.Old/tmp/1.x" && mv "$MNT/.Old/tmp/1.x" "$MNT/.Old/new/" && mv "$MNT/.Old" "$MNT/arch/Old" && grep -q kept "$MNT/arch/Old/new/1.x" && [ ! -e "$MNT/.Old" ] && rm -r "$MNT/arch"'
check "a fifo does not become subscriptions" eval 'mkfifo "$MNT/fifo" && ! timeout 5 mv "$MNT/fifo" "$MNT/subscriptions" 2>/dev/null; rm "$MNT/fifo"'
before=$(lines)
check "an aux file cannot become mail by a link" eval '! ln "$MNT/dovecot-uidlist" "$MNT/cur/x" 2>/dev/null'

# Descriptors.
cat >"$TMP/fd.py" <<'P'
import mmap, os, sys, fcntl, struct
d = sys.argv[1]
p = d + "/fd.test"
f = os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(f, b"0123456789" * 1000)
try:
    os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    sys.exit("O_EXCL gave a second one")
except FileExistsError:
    pass
a = os.open(p, os.O_WRONLY | os.O_APPEND)
os.write(a, b"tail")
assert os.pread(f, 4, 10000) == b"tail"
m = mmap.mmap(f, 0)
m[0:4] = b"mmap"
m.flush()
assert os.pread(f, 4, 0) == b"mmap", os.pread(f, 4, 0)
os.pwrite(f, b"WRIT", 100)
assert m[100:104] == b"WRIT"
m.close()
os.ftruncate(f, 3)
assert os.fstat(f).st_size == 3
os.pwrite(f, b"x", 5000)
assert os.pread(f, 10, 2) == b"a" + b"\0" * 9
fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
if os.fork() == 0:
    try:
        g = os.open(p, os.O_RDWR)
        fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(1)
    except OSError:
        os._exit(0)
assert os.wait()[1] == 0, "a lock was given twice"
fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.posix_fallocate(f, 0, 100000)
assert os.fstat(f).st_size == 100000
os.fsync(f)
# Unlinked, still open; then renamed over, still open.
os.unlink(p)
os.pwrite(f, b"still", 0)
assert os.pread(f, 5, 0) == b"still"
assert os.fstat(f).st_nlink == 0
os.close(f); os.close(a)
one = os.open(p, os.O_RDWR | os.O_CREAT, 0o600)
os.write(one, b"old")
with open(p + ".new", "w") as w:
    w.write("new")
os.rename(p + ".new", p)
assert os.pread(one, 3, 0) == b"old"
assert open(p).read() == "new"
os.pwrite(one, b"OLD", 0)
assert open(p).read() == "new"
os.close(one)
os.unlink(p)
dirfd = os.open(d, os.O_RDONLY)
os.fsync(dirfd)
big = os.open(p, os.O_RDWR | os.O_CREAT, 0o600)
block = os.urandom(1 << 20)
for i in range(20):
    os.write(big, block)
assert os.pread(big, 1 << 20, 7 << 20) == block
os.close(big)
os.unlink(p)
P
for d in "$MNT" "$MNT/.Box"; do
	check "O_EXCL, O_APPEND, mmap, holes, locks, unlinked and replaced files in ${d#"$TMP/"}" python3 "$TMP/fd.py" "$d"
done
pid() { mounted_process "$STORE" | sort -n | head -1; }	# not its helper
descriptors() { ls "/proc/$(pid)/fd" | wc -l; }
check "removing one of two names of many files keeps no descriptor" eval \
	'mkdir "$MNT/one" && for i in $(seq 200); do echo $i >"$MNT/one/$i"; done && n=$(descriptors) && [ "$n" -gt 5 ] && cp -al "$MNT/one" "$MNT/two" && rm -r "$MNT/two" && [ "$(cat "$MNT/one/77")" = 77 ] && [ "$(descriptors)" -lt $((n + 100)) ] && rm -r "$MNT/one"'
check "as many descriptors as there may be" eval \
	'awk "/open files/ { exit \$4 != \$5 }" "/proc/$(pid)/limits"'
check "a mode is what its maker's mask makes of it" eval \
	'(umask 002; mkdir "$MNT/mdir"; echo >"$MNT/mdir/f"; umask 0; mkfifo "$MNT/mdir/p") && [ "$(cd "$MNT/mdir" && stat -c %a . f p | tr "\n" " ")" = "775 664 666 " ] && rm -r "$MNT/mdir"'
check "access times, and times of symbolic links" eval \
	'echo x >"$MNT/t" && ln -s t "$MNT/tl" && touch -a -d @1234.5 "$MNT/t" && touch -m -d @2345.25 "$MNT/t" && touch -h -d @3456 "$MNT/tl" && [ "$(stat -c %.2X:%.2Y "$MNT/t")" = 1234.50:2345.25 ] && [ "$(stat -c %X:%Y "$MNT/tl")" = 3456:3456 ] && rm "$MNT/t" "$MNT/tl"'
cat >"$TMP/xattr.py" <<'P'
import errno, os, sys
m, store = sys.argv[1:]
def fails(code, f, *a, **k):
    try:
        f(*a, **k)
    except OSError as e:
        assert e.errno == code, (a, e)
    else:
        sys.exit("no error: %r" % (a,))
# As where the store is.
probe = store + "/aux/probe"
open(probe, "w").close()
try:
    os.setxattr(probe, "user.x", b"1")
    able = True
except OSError as e:
    able = False
os.unlink(probe)
os.makedirs(m + "/xd", exist_ok=True)
open(m + "/xf", "w").close()
for f in (m + "/xf", m + "/xd", m + "/.Box", m):
    if not able:
        fails(errno.ENOTSUP, os.setxattr, f, "user.one", b"v")
        continue
    own = os.listxattr(f)
    os.setxattr(f, "user.one", b"value")
    os.setxattr(f, "user.two", b"", os.XATTR_CREATE)
    fails(errno.EEXIST, os.setxattr, f, "user.two", b"", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, f, "user.three", b"", os.XATTR_REPLACE)
    assert os.getxattr(f, "user.one") == b"value"
    assert sorted(os.listxattr(f)) == sorted(own + ["user.one", "user.two"]), os.listxattr(f)
    os.removexattr(f, "user.one")
    os.removexattr(f, "user.two")
    fails(errno.ENODATA, os.getxattr, f, "user.one")
    assert os.listxattr(f) == own
for f in (m + "/xf", m + "/.Box"):
    fails(errno.EPERM, os.setxattr, f, "user.dsyncfs.uid", b"1")
    fails(errno.EPERM, os.removexattr, f, "user.dsyncfs.uid")
fails(errno.ENOTSUP, os.setxattr, m + "/xf", "trusted.x", b"1")
os.unlink(m + "/xf"); os.rmdir(m + "/xd")
P
check "extended attributes, as where the store is" python3 "$TMP/xattr.py" "$MNT" "$STORE"
check "a mail is all data" python3 - "$MNT" <<'P'
import errno, os, sys
m = sys.argv[1]
open(m + "/tmp/1.seek", "w").write("Subject: x\n\n")
os.rename(m + "/tmp/1.seek", m + "/cur/1.seek:2,")
f = os.open(m + "/cur/1.seek:2,", os.O_RDONLY)
assert os.lseek(f, 3, os.SEEK_DATA) == 3
assert os.lseek(f, 3, os.SEEK_HOLE) == 12
for what in (os.SEEK_DATA, os.SEEK_HOLE):
    try:
        os.lseek(f, 12, what)
        sys.exit("behind the end")
    except OSError as e:
        assert e.errno == errno.ENXIO
os.unlink(m + "/cur/1.seek:2,")
P
before=$(lines)
mkdir "$MNT/x"
check "the same in a plain directory" python3 "$TMP/fd.py" "$MNT/x"
check "sqlite's way: many small writes by four processes" python3 - "$MNT/x" <<'P'
import os, sys
d = sys.argv[1]
kids = []
for k in range(4):
    pid = os.fork()
    if pid == 0:
        f = os.open(d + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for i in range(300):
            os.write(f, b"%d %05d\n" % (k, i))
        os._exit(0)
    kids.append(pid)
bad = [p for p in kids if os.waitpid(p, 0)[1]]
lines = open(d + "/log").read().split("\n")[:-1]
sys.exit(0 if not bad and len(lines) == 1200 and len(set(lines)) == 1200 else "lines: %d" % len(lines))
P
check "rename exchange or a clear refusal" python3 - "$MNT/x" <<'P'
import ctypes, os, sys
d = sys.argv[1].encode()
open(d + b"/l", "w").write("l"); open(d + b"/r", "w").write("r")
libc = ctypes.CDLL(None, use_errno=True)
if libc.renameat2(-100, d + b"/l", -100, d + b"/r", 2) == 0:
    assert open(d + b"/l").read() == "r" and open(d + b"/r").read() == "l"
else:
    assert ctypes.get_errno() == 22
P
equal "nothing of all this was logged" "$before" "$(lines)"

# They stay with their mailbox.
echo state >"$MNT/.Box/.mbsyncstate"
check "renaming the mailbox keeps its files" eval 'mv "$MNT/.Box" "$MNT/.Crate" && [ "$(cat "$MNT/.Crate/.mbsyncstate")" = state ]'
want=$(cd "$MNT" && find . ! -path './.dsyncfs*' -type f -exec sha1sum {} + | sort)
check "unmount" umount_store "$STORE" "$MNT"
check "mount again" mount_store "$STORE" "$MNT"
equal "all files are there again" "$want" "$(cd "$MNT" && find . ! -path './.dsyncfs*' -type f -exec sha1sum {} + | sort)"
check "rm -r of the mailbox with them" rm -r "$MNT/.Crate"
check "gone" eval '[ ! -e "$MNT/.Crate" ] && ! ds mailboxes | grep -q ^Crate'

# Who is not root takes a file its set-ID bits by changing it; root does not.  One that is written to often is asked about once.
check "unmount" umount_store "$STORE" "$MNT"
check "mount for all" mount_store "$STORE" "$MNT" allow_other,umask=0
chmod 711 "$TMP"
as_other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
ids() { printf 'x' >"$MNT/ids" && chown 65534:65534 "$MNT/ids" && chmod "$1" "$MNT/ids"; }
ids 6777
check "set-ID bits are there" test "$(stat -c %a "$MNT/ids")" = 6777
check "root writes" eval 'echo more >>"$MNT/ids"'
check "they stay" test "$(stat -c %a "$MNT/ids")" = 6777
# Asked for its mode alone the kernel says what it knows, until it is told.
check "another user writes" as_other sh -c "echo more >>'$MNT/ids'"
check "they are gone" wait_for eval '[ "$(stat -c %a "$MNT/ids")" = 777 ]'
ids 6777
check "another user truncates" as_other truncate -s 1 "$MNT/ids"
check "they are gone" test "$(stat -c %a "$MNT/ids")" = 777
ids 2767
check "another user writes" as_other sh -c "echo more >>'$MNT/ids'"
check "a lock's bit stays" test "$(stat -c %a "$MNT/ids")" = 2767
asked() { sed -n 's/^requests_getxattr //p' "$MNT/.dsyncfs/status"; }
had=$(asked)
check "a hundred writes" python3 -c "
import os
fd = os.open('$MNT/often', os.O_WRONLY | os.O_CREAT, 0o600)
for i in range(100):
    os.pwrite(fd, b'text', i * 5000)"
check "one question" test "$(($(asked) - had))" -le 2

# The fsync of a folder is one of its directory of other files, too.
pid=$(mounted_process "$STORE" | head -1)
strace -f -y -qq -e trace=fsync,fdatasync -o "$TMP/fsyncs" -p "$pid" 2>"$TMP/strace" &
tracer=$!
sync_folder() {
	python3 -c "
import os
os.replace('$MNT/often', '$MNT/seldom')
d = os.open('$MNT', os.O_RDONLY)
os.fsync(d)
os.replace('$MNT/seldom', '$MNT/often')"
	grep -q 'fsync([0-9]*<.*/aux/[0-9]*>) *= 0' "$TMP/fsyncs"
}
check "a folder's fsync reaches its other files" wait_for sync_folder
kill -INT $tracer
wait $tracer 2>/dev/null
finish
