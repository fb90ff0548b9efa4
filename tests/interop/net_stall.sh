#!/bin/bash
# net_stall -- nothing waits for the network: while a mount's sync stands still (a peer that says half a record or reads no more, a link
# that is silent or out in the middle, hosts and name servers that never answer) programs go on with their mail, and the mount can be
# unmounted and says what it has not pushed.
#
# No time here is measured: the limits are there so that a program that waits for the network fails instead of never ending.
. "$(dirname "$0")/../netns.sh"
. "$(dirname "$0")/../real.sh"
needs python3 ss mount
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
. "$ROOT/tests/sshd.sh"
FAR=$TMP/far.store OUT=$TMP/out
hosts_up
ssh_up
far_is() { far_program dsyncfs-sync env "HOME=$HOME" "$SYNC" -o "mail_location=dsyncfs:$1"; }
far_is "$FAR"

# ---- far sides that are none ----
script half <<<"#!/bin/sh
echo \$\$ >>$TMP/far.pids
printf 'VERSION\tdsync\t3\t5\nHma'
: >$TMP/stuck
exec sleep 100000"
script far <<<"#!/bin/sh
exec $TMP/ours/dsyncfs-sync \"\$@\""
# Listens at b and takes in what comes, for ever: mute.py tcp|udp PORT
cat >"$TMP/mute.py" <<-P
	import socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM)
	s.bind(("$B_IP", int(sys.argv[2])))
	if sys.argv[1] == "tcp":
	    s.listen(50)
	open("$TMP/mute.%s" % sys.argv[1], "w").close()
	kept = []
	while True:
	    kept.append(s.accept() if sys.argv[1] == "tcp" else s.recv(9999))
	    open("$TMP/stuck", "w").close()
P
MUTE=$(in_b python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
mute() { nsenter --net="/proc/$B_PID/ns/net" python3 "$TMP/mute.py" "$@" & background+=($!); disown; within 20 test -e "$TMP/mute.$1"; }
mute tcp "$MUTE" || exit 1
mute udp 53 || exit 1
cat - "$TMP/ssh_config" >"$TMP/ssh_config.new" <<-C
	Host mute
	HostName $B_IP
	Port $MUTE
	Host nameless
	HostName nameless.example.org
C
mv "$TMP/ssh_config.new" "$TMP/ssh_config"
# A name server that takes questions, and a program that has patience.
printf 'nameserver %s\noptions timeout:60 attempts:5\n' $B_IP >"$TMP/resolv.conf"
[ -e /etc/resolv.conf ] || { echo "FAIL: no /etc/resolv.conf to put another one in the place of"; exit 1; }
mount --bind "$TMP/resolv.conf" "$(realpath /etc/resolv.conf)" 2>/dev/null ||
	python3 - "$TMP/resolv.conf" "$(realpath /etc/resolv.conf)" <<-P || exit 1
		import ctypes, sys
		sys.exit(ctypes.CDLL(None).mount(sys.argv[1].encode(), sys.argv[2].encode(), None, 4096, None))
	P

# ---- what programs do ----
now() { timeout 20 "$@" || { echo "exit $?: $*"; return 1; }; }
delivery() {	# MNT NAME
	now python3 - "$@" <<-P
		import os, sys
		box, name = sys.argv[1:]
		with open(box + "/tmp/" + name, "xb") as f:
		    f.write(b"From: a@example.org\nSubject: %s\n\nwhile all waits\n" % name.encode())
		    f.flush()
		    os.fsync(f.fileno())
		os.rename(box + "/tmp/" + name, box + "/new/" + name)
		d = os.open(box + "/new", os.O_RDONLY)
		os.fsync(d)
	P
}
programs() {	# MNT STORE
	local m=$1 n
	n=1700000000.M$(date +%s%N).here
	delivery "$m" "$n" && now ls -l "$m/new" "$m/cur" && now mv "$m/new/$n" "$m/cur/$n:2,S" &&
		now mv "$m/cur/$n:2,S" "$m/.Work/cur/$n:2,FS" && now cat "$m/.Work/cur/$n:2,FS" &&
		now rm "$m/.Work/cur/$n:2,FS" && now mkdir "$m/.F$n" && now stat -f "$m" && now cat "$m/.dsyncfs/status" &&
		now "$SYNC" -o "mail_location=dsyncfs:$2" status && now "$SYNC" -o "mail_location=dsyncfs:$2" mailboxes &&
		delivery "$m" "$n.stays" && now test -e "$m/new/$n.stays"
}

# ---- a mount whose sync stands still ----
since() { timeout 20 grep "syncing since" "$MNT/.dsyncfs/status"; }
# $stuck: what else shows that it stands still
stands_still() { since && eval "$stuck"; }
gets_stuck() { kill -USR1 $(mounted_process "$STORE") 2>/dev/null; within 5 stands_still; }
# The same sync stands there before and after.
programs_meanwhile() {
	local i before
	for i in 1 2 3 4 5 6 7 8; do
		within 120 gets_stuck || return 1
		before=$(since)
		programs "$MNT" "$STORE" || return 1
		[ "$before" != "$(since)" ] || return 0
	done
	echo "it never stood still for long enough"
	return 1
}
mount_here() {	# REMOTE
	mkdir -p "$MNT"
	"$MOUNT" -f -o "remote=$1,sync=push" "dsyncfs:$STORE" "$MNT" >"$OUT" 2>&1 </dev/null &
	pid=$!
	background+=("$pid")
	disown
	within 20 mountpoint -q "$MNT" || { cat "$OUT"; return 1; }
}
unmounted() {
	timeout 20 fusermount3 -u "$MNT" || return 1
	within 60 not test -d "/proc/$pid" || { cat "/proc/$pid/task/"*/wchan; return 1; }
	! grep -q Sanitizer "$OUT" && grep -q '[1-9][0-9]* changes have not been pushed yet' "$OUT" || { cat "$OUT"; return 1; }
}
# NAME REMOTE STUCK [BEFORE [AFTER]]: commands; AFTER is done when all is over
stall() {
	local name=$1 stuck=$3
	STORE=$TMP/${name//[^a-z]/_}.store MNT=$TMP/${name//[^a-z]/_}
	rm -rf "$FAR" "$TMP/stuck" "$TMP/hold" "$TMP/hold.held"
	: >"$TMP/far.pids"
	eval "${4:-}"
	# The sync begins with the mount: there is mail before.
	"$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/side" >/dev/null 2>&1
	mount_here "$2"
	report $? "$name: mounted" "$(cat "$OUT")"
	check "$name: the sync stands still" within 120 gets_stuck
	check "$name: programs do not wait" programs_meanwhile
	check "$name: it stands still again" within 120 gets_stuck
	check "$name: it ends, and says what it has not pushed" unmounted
	eval "${5:-}"
	rm -f "$TMP/hold"
	check "$name: nothing is left behind" within 60 gone
	check "$name: the store is whole" "$SYNC" -o "mail_location=dsyncfs:$STORE" verify
}
gone() { local p; for p in $(cat "$TMP/far.pids"); do [ ! -d "/proc/$p" ] || return 1; done; }
held='test -e $TMP/hold.held'

maildir_new "$TMP/side"
mkdir -p "$TMP/side/.Work"/{cur,new,tmp}
for i in 1 2 3; do mail "$TMP/side" $i; mail "$TMP/side/.Work" 1$i; done
for i in 1 2 3; do $MAIL large "large$i" 3 >"$TMP/side/new/1700000020$i.M1.large"; done

stall "half an opening" "$TMP/bin/half dsync-server" 'test -e $TMP/stuck'
stall "half a record" "$TMP/bin/far dsync-server" "$held" 'echo "out 333" >$TMP/hold'
stall "no more is read" "$TMP/bin/far dsync-server" "$held" 'echo "in 99999" >$TMP/hold'
stall "half a record by ssh" b "$held" 'echo "out 333" >$TMP/hold'
stall "no more is read over there" b "$held" 'echo "in 99999" >$TMP/hold'
# Silent as soon as it stands: what was under way never arrives.
stall "silent in the middle" b "$held && silence" 'echo "in 99999" >$TMP/hold' sound
stall "out in the middle" b "$held && link_down" 'echo "in 99999" >$TMP/hold' link_up
stall "nobody takes the call" b '[ -n "$(ss -Htn state syn-sent)" ]' silence sound
stall "a host that is mute" mute 'test -e $TMP/stuck'
stall "a host that is mute to ssh" "ssh -oBatchMode=yes mute dsync-server" 'test -e $TMP/stuck'
stall "a server that is mute" "tcp:$B_IP:$MUTE" 'test -e $TMP/stuck'
stall "name servers are mute" nameless 'test -e $TMP/stuck'
stall "name servers are mute to tcp" "tcp:nameless.example.org:$MUTE" 'test -e $TMP/stuck'

# ---- the other end of a sync that stands still ----
STORE=$TMP/called.store MNT=$TMP/called
far_is "$STORE"
check "called: mounted" mount_store "$STORE" "$MNT"
mkdir -p "$MNT/.Work"/{cur,new,tmp}
echo "in 99999" >"$TMP/hold"
rm -f "$TMP/hold.held"
"$SYNC" -o "mail_location=maildir:$TMP/side" mirror b >"$OUT" 2>&1 &
caller=$!
check "called: the sync stands still" within 60 test -e "$TMP/hold.held"
check "called: programs do not wait" programs "$MNT" "$STORE"
check "called: it still stands" test -d "/proc/$caller"
check "called: it ends" umount_store "$STORE" "$MNT"
rm -f "$TMP/hold"
wait $caller
check "called: the caller is told" test $? != 0
finish
