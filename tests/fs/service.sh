#!/bin/bash
# service -- what a mount tells the service manager that started it (sd_notify(3)): ready, status, that it works, that it ends.
. "$(dirname "$0")/../real.sh"
needs python3 strace
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

# The manager: a line for each datagram, in $TMP/told, with milliseconds before it.
export NOTIFY_SOCKET=$TMP/notify
python3 - "$NOTIFY_SOCKET" >"$TMP/told" <<'P' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    text = s.recv(4096).decode()
    for line in text.rstrip("\n").split("\n"):
        print(int(time.monotonic() * 1000), line, flush=True)
P
background+=($!)
within 10 test -S "$NOTIFY_SOCKET"
told() { cut -d' ' -f2- "$TMP/told"; }
told_times() { [ "$(told | grep -cx -e "$1")" -ge "$2" ]; }
within_told() { within 30 told_times "$@"; }
mkdir -p "$MNT"
maildir_new "$TMP/md"
mail "$TMP/md" 1
start() {	# COMMAND...: starts a mount, in the foreground
	: >"$TMP/told"
	"$@" -f -o remote="maildir:$TMP/md" "dsyncfs:$STORE" "$MNT" </dev/null >"$TMP/fg.log" 2>&1 &
	fg=$!
	check "READY=1" within_told READY=1 1
}
stop() {
	fusermount3 -u "$MNT"
	wait $fg
	equal "it ends with 0" 0 $?
}

# Without a watchdog.
start "$MOUNT"
check "the status says what is where" within_told "STATUS=$STORE is on $MNT" 1
kill -USR1 $fg
check "and what was done" within_told "STATUS=synced with maildir:$TMP/md" 1
check "after it was begun" within_told "STATUS=syncing with maildir:$TMP/md" 1
rm -r "$TMP/md" && : >"$TMP/md"
kill -USR1 $fg
check "and what went wrong" within 30 eval 'told | grep -qx "STATUS=the last sync with maildir:$TMP/md failed: .*"'
stop
equal "STOPPING=1 is the last word" STOPPING=1 "$(told | tail -n 1)"
check_not "nobody asked for a watchdog" told_times WATCHDOG=1 1

# With one; and with one for another process.
export WATCHDOG_USEC=1000000
start "$MOUNT"
check "WATCHDOG=1, again and again" within_told WATCHDOG=1 4
stop
WATCHDOG_PID=1 start "$MOUNT"
kill -USR1 $fg
check "with another's, it does something for a while" within 30 eval 'told | grep -q "STATUS=the last sync"'
stop
check_not "and says nothing for it" told_times WATCHDOG=1 1

# It is said only by one that has just been through the store: while the disk lets a commit wait, nothing is.
longest_silence() { awk '$2 == "WATCHDOG=1" { if (last && $1 - last > most) most = $1 - last; last = $1 } END { print most + 0 }' "$TMP/told"; }
silent_for() { [ "$(longest_silence)" -ge "$1" ] || { longest_silence; return 1; }; }
start strace -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:delay_enter=3000000 "$MOUNT"
check "WATCHDOG=1" within_told WATCHDOG=1 2
printf 'Subject: slow\n\nx\n' >"$MNT/tmp/1.slow" && mv "$MNT/tmp/1.slow" "$MNT/new/"
check "a commit that waits keeps it silent" within 60 silent_for 3000
n=$(told | grep -c WATCHDOG=1)
check "and then it is said again" within_told WATCHDOG=1 $((n + 2))
stop
finish
