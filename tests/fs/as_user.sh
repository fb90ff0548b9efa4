#!/bin/bash
# as_user -- an ordinary user mounts with fusermount3, and fstab's way:
# mount -t fuse.dsyncfs, through the programs as `make install` puts them.
. "$(dirname "$0")/../real.sh"
needs fusermount3 mount.fuse3 unshare setpriv mknod strace
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

check "make install" make -s -C "$ROOT" install DESTDIR="$TMP/root" PREFIX=/usr/local
check "programs, helper and manual are there" test -x "$TMP/root/usr/local/bin/dsyncfs" -a -x "$TMP/root/usr/local/bin/dsyncfs-sync" \
	-a -L "$TMP/root/usr/local/sbin/mount.fuse.dsyncfs" -a -f "$TMP/root/usr/local/share/man/man1/dsyncfs.1"

# In a mount namespace of its own, with a device node that all may open, as most systems have.
cat >"$TMP/user.sh" <<'S'
set -eu
cd "$1"
bin=$1/root/usr/local/bin
mkdir mnt
"$bin/dsyncfs" "dsyncfs:$1/store" "$1/mnt"
mountpoint mnt
printf 'Subject: mine\n\nhello\n' >mnt/tmp/1.x
mv mnt/tmp/1.x mnt/new/1.x
cat mnt/new/1.x
[ "$(stat -c %u mnt/new/1.x)" = "$(id -u)" ]
# A file that is written through the descriptor that made it, and is read-only for everybody who comes later.
(umask 0222; echo text >mnt/protected)
[ "$(cat mnt/protected)" = text ] && [ "$(stat -c %a mnt/protected)" = 444 ]
cp -p mnt/protected mnt/copy && [ "$(cat mnt/copy)" = text ]
rm -f mnt/protected mnt/copy
"$bin/dsyncfs-sync" -o "mail_location=dsyncfs:$1/store" dump
fusermount3 -u mnt
for i in $(seq 100); do mountpoint -q mnt || break; sleep 0.05; done
! mountpoint -q mnt
for i in $(seq 100); do "$bin/dsyncfs-sync" -o "mail_location=dsyncfs:$1/store" verify && exit 0; sleep 0.05; done
exit 1
S
cat >"$TMP/fstab.sh" <<'S'
set -eu
cd "$1"
# mount(8) runs mount.fuse3, which runs the program that the type names, from a PATH of its own that has /usr/local/bin: there
# the installed files appear, for this mount namespace only.
mount --bind "$1/root/usr/local" /usr/local
bin=/usr/local/bin
mkdir -p fmnt
mount -t fuse.dsyncfs "$1/fstore" "$1/fmnt" -o rw,commit=1
mountpoint fmnt
findmnt -no FSTYPE "$1/fmnt" | grep -x fuse.dsyncfs
printf 'Subject: fstab\n\nhello\n' >fmnt/tmp/1.x
mv fmnt/tmp/1.x fmnt/new/1.x
umount "$1/fmnt"
for i in $(seq 100); do "$bin/dsyncfs-sync" -o "mail_location=dsyncfs:$1/fstore" dump | grep -q sha1= && break; sleep 0.05; done
mount -t fuse.dsyncfs "dsyncfs:$1/fstore" "$1/fmnt" -o ro
cat fmnt/new/1.x
if touch fmnt/new/no 2>err; then echo "ro is not read-only"; exit 1; fi
grep -i "read-only" err
umount "$1/fmnt"
for i in $(seq 100); do "$bin/dsyncfs-sync" -o "mail_location=dsyncfs:$1/fstore" verify && break; sleep 0.05; done
# The helper, as mount(8) calls it where it is installed below /sbin.
/usr/local/sbin/mount.fuse.dsyncfs "$1/fstore" "$1/fmnt" -o rw,noexec,nosuid,nodev,user
mountpoint fmnt
cat fmnt/new/1.x
umount "$1/fmnt"
S
cat >"$TMP/manager.sh" <<'S'
set -eu
cd "$1"
mount --bind "$1/root/usr/local" /usr/local
mount --bind "$2" /dev/fuse
helper=/usr/local/sbin/mount.fuse.dsyncfs
# A system's manager says of nobody where he is at home.
env -i PATH="$PATH" $helper "$1/mstore" "$1/mmnt"
mountpoint mmnt
umount "$1/mmnt"
# setuid= makes it a user's mount, whether or not mount.fuse3 is in between.
env -i PATH="$PATH" mount -t fuse.dsyncfs "$1/mine/store1" "$1/mine/mnt" -o setuid=nobody
awk -v m="$1/mine/mnt" '$2 == m && $4 ~ /user_id=65534/ { f = 1 } END { exit !f }' /proc/self/mounts
umount "$1/mine/mnt"
env -i PATH="$PATH" $helper "$1/mine/store2" "$1/mine/mnt" -o rw,setuid=nobody
awk -v m="$1/mine/mnt" '$2 == m && $4 ~ /user_id=65534/ { f = 1 } END { exit !f }' /proc/self/mounts
umount "$1/mine/mnt"
[ "$(stat -c %u mine/store1 mine/store2 | xargs)" = "65534 65534" ]
# An automounter lets only its own process group through to the directory, until the mount is there.
strace -f -qq -e trace=mount,setsid -e signal=none -o calls /usr/local/bin/dsyncfs "$1/mstore" "$1/mmnt" >/dev/null 2>&1 &
for i in $(seq 400); do ! mountpoint -q mmnt || break; sleep 0.05; done
umount "$1/mmnt"
wait
awk '/ mount\(/ && / = 0$/ { mount = $1 } / setsid\(/ && $1 == mount { after = 1 } / setsid\(/ && !mount { early[$1] = 1 }
	END { if (!after || early[mount]) exit 1 }' calls || { cat calls; exit 1; }
# What cannot be mounted says so, and ends.
mount --bind /dev/null /dev/fuse
rc=0
timeout 30 /usr/local/bin/dsyncfs "$1/mstore" "$1/mmnt" 2>err || rc=$?
cat err
[ $rc = 1 ]
grep -q "cannot be mounted on" err
S
W=$TMP/user
mkdir "$W" && cp -a "$TMP/root" "$W/root"
chmod 755 "$TMP"
if [ "$(id -u)" = 0 ]; then
	chown -R 65534:65534 "$W"
	mknod -m 666 "$TMP/fuse" c 10 229
	as_user() {
		timeout 50 unshare --mount sh -c 'mount --bind "$1" /dev/fuse && shift && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
			env -u XDG_CONFIG_HOME -u XDG_DATA_HOME HOME="$1" USER=nobody bash "$2" "$1"' _ "$TMP/fuse" "$W" "$TMP/user.sh"
	}
else
	as_user() { bash "$TMP/user.sh" "$W"; }
fi
check "an ordinary user mounts, delivers, dumps, unmounts" as_user
F=$TMP/fstab
mkdir "$F" && cp -a "$TMP/root" "$F/root"
if [ "$(id -u)" = 0 ]; then
	check "mount -t fuse.dsyncfs, as from fstab" timeout 50 unshare --mount bash "$TMP/fstab.sh" "$F"
	mkdir -p "$TMP/manager/mmnt" "$TMP/manager/mine/mnt" && cp -a "$TMP/root" "$TMP/manager/root"
	chown -R 65534:65534 "$TMP/manager/mine"
	check "as a system's manager mounts it" timeout 100 unshare --mount bash "$TMP/manager.sh" "$TMP/manager" "$TMP/fuse"
else
	report 1 "mount -t fuse.dsyncfs, as from fstab" "mount(8) has to run as root"
fi
check "make uninstall" make -s -C "$ROOT" uninstall DESTDIR="$TMP/root" PREFIX=/usr/local
equal "leaves no file" "" "$(find "$TMP/root" ! -type d)"
finish
