#!/bin/bash
# sandbox -- tries to break out of the processes that read a peer's bytes: a debugger has them make calls that they never make, while
# they wait for a peer that is held; afterwards the sync goes on.  Then the kernels that lack something, and the secrets.
#
# Nobody but root may look into such a process, not even its own user: as another user this is run in a user namespace.
[ "$(id -u)" = 0 ] || exec unshare --user --map-root-user --mount bash "$0" "$@"
. "$(dirname "$0")/../sandbox.sh"
needs gdb gcore strace python3 pgrep base64 openssl
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
"${near[@]}" -D -o "post_sync_command=cat >>$TMP/hooked" mirror "$TMP/held" dsync-server >"$TMP/out" 2>&1 &
pid=$!
check "a mirror is closed before its peer says a word" wait_for is_closed $pid
check "nothing gets out of it" break_out $pid "$STORE"
check "it leaves no core" no_core $pid
launcher=$(pgrep -P $pid -f "$SYNC" | head -1)
check "the launcher of its hook has no store, and no peer" test "$(ls "/proc/$launcher/fd" | wc -l)" = 4
: >"$TMP/go"
ended "and the sync goes on" $pid
same "both have the same afterwards"
[ "$LANDLOCK" -lt 2 ] || check "it says by what it is closed" grep -q 'sandbox: Landlock' "$TMP/out"

# The same for the other side: a dsync-server that is called by fifos, whose master is held.
mail "$MD" 3
check "more mail" near mirror "maildir:$MD"
mkfifo "$TMP/in" "$TMP/out.fifo"
"${far[@]}" -o "post_sync_command=cat >>$TMP/hooked" dsync-server <"$TMP/in" >"$TMP/out.fifo" 2>"$TMP/err" &
pid=$!
exec 7>"$TMP/in" 8<"$TMP/out.fifo"
check "a dsync-server is closed before its peer says a word" wait_for closed_child $pid
SILENT=1 check "nothing gets out of it" break_out "$(cat "$TMP/child")" "$FAR"
check "it leaves no core" no_core "$(cat "$TMP/child")"
cat >"$TMP/join.py" <<'J'
import os, sys, threading
def copy(a, b):
    while True:
        d = os.read(a, 65536)
        if not d: break
        while d: d = d[os.write(b, d):]
t = threading.Thread(target=copy, args=(8, 1), daemon=True)
t.start()
copy(0, 7)
os.close(7)
t.join()
J
# Descriptors above 2 are none of a command's: by names.
cat >"$TMP/joined" <<J
#!/bin/sh
exec 7>$TMP/in 8<$TMP/out.fifo
: >$TMP/up
exec python3 $TMP/join.py
J
chmod +x "$TMP/joined"
"${near[@]}" mirror "$TMP/joined" dsync-server >"$TMP/out" 2>&1 &
master=$!
check "a master for it" wait_for test -e "$TMP/up"
exec 7>&- 8<&-
ended "and the sync goes on" $master
ended "on both sides" $pid
same "both have the same afterwards"
check "post_sync_command was run" grep -qx INBOX "$TMP/hooked"

# flush has a process for each remote, and check-config for what it tries.
rm "$TMP/go"
mail "$MD" 4
near mirror "maildir:$MD" >/dev/null
"${near[@]}" -o "remote=$TMP/held dsync-server" flush >"$TMP/out" 2>&1 &
pid=$!
check "a flush is closed" wait_for closed_child $pid
check "nothing gets out of it" break_out "$(cat "$TMP/child")" "$STORE"
kill -9 $pid
wait $pid 2>/dev/null
check "which ends with its parent" wait_for test ! -d "/proc/$(cat "$TMP/child")"
: >"$TMP/go"
check "a flush goes on" near -l 20 -o "remote=$TMP/held dsync-server" flush
same "both have the same afterwards"
check "check-config still tells who answers" says "works: a dsyncfs answers" near -o "remote=$TMP/held dsync-server" check-config

# A mount is closed from its first request to its last; what it needs of others is done by its broker, which reads no peer.
rm "$TMP/go" "$TMP/hooked"
cat >"$TMP/conf" <<C
mail_location = dsyncfs:$STORE
post_sync_command = cat >>$TMP/hooked
metrics_file = $TMP/metrics
remote held {
	location = $TMP/held dsync-server
	sync = 1s
}
C
mkdir -p "$MNT"
check "a mount" timeout 20 "$MOUNT" -c "$TMP/conf" "dsyncfs:$STORE" "$MNT"
mounted=$(mounted_process "$STORE" | head -1)
all_closed() { local t; for t in /proc/"$mounted"/task/*; do is_closed "$mounted/task/${t##*/}" || { echo "thread ${t##*/} is not"; return 1; }; done; }
check "is closed, each thread of it" all_closed
check "leaves no core" no_core "$mounted"
check "nothing gets out of it" break_out "$mounted" "$STORE" mount
broker=$(pgrep -P "$mounted" -f "$MOUNT" | while read -r p; do grep -qx dsyncfs-broker "/proc/$p/comm" && echo "$p"; done)
check "its broker has no store, and no peer" test "$(ls "/proc/$broker/fd" | wc -l)" = 4
mail "$MNT" 100
relays() { pgrep -f "^$SYNC .* mirror -- held" | while read -r p; do is_closed "$p" && echo "$p"; done; }
has_relay() { [ -n "$(relays)" ]; }
check "whoever reached the far side for it is closed, too" wait_for has_relay
check "nothing gets out of that" break_out "$(relays | head -1)" "$MD" nothing
check "the mount is used meanwhile" eval 'mail "$MNT" 101 && ls "$MNT/new" | grep -q M101'
: >"$TMP/go"
check "the sync goes on" wait_for eval 'dump "dsyncfs:$FAR" | grep -q M100'
mail "$MD" 102
check "a client brings another place" near mirror "maildir:$MD"
check "the mail is there" eval 'ls "$MNT/new" | grep -q M102'
check "the hook is run by the broker" wait_for grep -qx INBOX "$TMP/hooked"
check "the metrics are written" wait_for grep -q dsyncfs_last_status "$TMP/metrics"
check "unmount" umount_store "$STORE" "$MNT"
check "its broker ends with it" wait_for test ! -d "/proc/$broker"
echo "sandbox = no" >"$TMP/conf"
check "sandbox = no" timeout 20 "$MOUNT" -c "$TMP/conf" "dsyncfs:$STORE" "$MNT"
equal "leaves it as it was" 0 "$(field "$(mounted_process "$STORE" | head -1)" Seccomp)"
check "unmount" umount_store "$STORE" "$MNT"
check "the mail that came meanwhile" near mirror "$TMP/held" dsync-server
same "both have the same afterwards"

# Two Maildirs, one with its sidecar and its lists elsewhere, are all that such a mirror has.
mkdir "$TMP/control" "$TMP/sidecar"
check "a Maildir with directories of its own" near mirror "maildir:$TMP/second:CONTROL=$TMP/control:SIDECAR=$TMP/sidecar"
check "is whole" says "170000004.M4.test" ls -R "$TMP/second"
rm -rf "${TMP:?}/dir"/*
check "a dry run" env TMPDIR="$TMP/dir" "$SYNC" -o "mail_location=dsyncfs:$STORE" --dry-run mirror "maildir:$TMP/third"
equal "leaves no copy behind" "" "$(ls "$TMP/dir")"

# ---- kernels that have less, and who wants none of it ----

rm -f "$TMP/go"
without() {	# WHAT ERROR WORDS
	strace -f -qq -o "$TMP/trace" -e "trace=$1" -e "inject=$1:error=$2" "$SYNC" -D -o "mail_location=dsyncfs:$STORE" mirror "maildir:$MD" >"$TMP/out" 2>&1 &&
		grep -q "$3" "$TMP/out" || { cat "$TMP/out"; return 1; }
}
check "without Landlock" without landlock_create_ruleset ENOSYS "sandbox: no Landlock"
check "with one that is turned off" without landlock_create_ruleset EOPNOTSUPP "sandbox: no Landlock"
check "without seccomp" without seccomp EINVAL "sandbox: no seccomp"
if [ "$LANDLOCK" -ge 2 ]; then
	fails() { strace -f -qq -o "$TMP/trace" -e trace=landlock_restrict_self -e inject=landlock_restrict_self:error=E2BIG "$SYNC" -o "mail_location=dsyncfs:$STORE" "$@"; }
	check "one that refuses to close is an error" status 1 fails mirror "maildir:$MD"
	check "which says how to do without" says "sandbox: Landlock: Argument list too long; 'sandbox = no' does without" fails mirror "maildir:$MD"
fi
"${near[@]}" -o sandbox=no mirror "$TMP/held" dsync-server >/dev/null 2>&1 &
pid=$!
wait_for pgrep -P $pid -f held >/dev/null
equal "sandbox = no" 0 "$(field $pid Seccomp)"
: >"$TMP/go"
ended "works, too" $pid

# ---- secrets ----

SECRET='xyzzy-plugh-4711'
CODED=$(printf '\0doveadm\0%s' "$SECRET" | base64)
echo "$SECRET" >"$TMP/secret"
chmod 600 "$TMP/secret"
# A doveadm server, by TLS with a certificate, that waits before it answers a password, and once more when it has let us in.
cat >"$TMP/doveadm.py" <<'P'
import os, socket, ssl, subprocess, sys, threading, time
tmp, sync, far, cert = sys.argv[1:5]
def wait(name):
    open(tmp + "/at-" + name, "w").close()
    while not os.path.exists(tmp + "/pass-" + name):
        time.sleep(0.02)
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(1)
open(tmp + "/port.new", "w").write(str(s.getsockname()[1]))
os.rename(tmp + "/port.new", tmp + "/port")
c, _ = s.accept()
if cert:
    t = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    t.load_cert_chain(cert, tmp + "/key.pem")
    c = t.wrap_socket(c, server_side=True)
def line():
    got = b""
    while not got.endswith(b"\n"):
        got += c.recv(1)
    return got
c.sendall(b"-\n")
while not line().startswith(b"PLAIN\t"): pass
wait("asked")
c.sendall(b"+\n")
line()
wait("in")
c.sendall(b"\n+\n")
p = subprocess.Popen([sync, "-o", "mail_location=dsyncfs:" + far, "dsync-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
# One thread reads the connection, the other writes to it: Python's TLS may be used so where they do not close it.
def out():
    while d := p.stdout.read(65536):
        c.sendall(d)
    if cert: c.unwrap()
    else: c.shutdown(socket.SHUT_WR)
t = threading.Thread(target=out, daemon=True)
t.start()
try:
    while d := c.recv(65536):
        p.stdin.write(d)
except OSError:
    pass
p.stdin.close()
sys.exit(p.wait())
P
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$TMP/key.pem" -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -days 2 \
	-out "$TMP/cert.pem" 2>/dev/null
n=4
password() {	# SCHEME CERTIFICATE
	WHERE="$1: "
	rm -f "$TMP"/at-* "$TMP"/pass-* "$TMP/port"
	python3 "$TMP/doveadm.py" "$TMP" "$SYNC" "$FAR" "$2" 2>"$TMP/doveadm.err" &
	server=$!
	on_exit "kill $server 2>/dev/null"
	wait_for test -e "$TMP/port"
	mail "$MD" $((++n))
	near mirror "maildir:$MD" >/dev/null
	USER=me "${near[@]}" -D -o "doveadm_password_file=$TMP/secret" -o "ssl_client_ca_file=$TMP/cert.pem" \
		mirror "$1:127.0.0.1:$(cat "$TMP/port")" >"$TMP/out" 2>&1 &
	pid=$!
	check "a server that asks for a password" wait_for test -e "$TMP/at-asked"
	check "has it, and nothing here has it any more" unknown $pid "$SECRET" "${CODED%%=*}"
	equal "nor leaves it a core of its own" 0 "$(gdb -nx -batch -iex 'set debuginfod enabled off' -p $pid \
		-ex 'printf "IS %d\n", ((int(*)(int,...))prctl)(3,0,0,0,0)' 2>/dev/null | sed -n 's/^IS //p')"
	: >"$TMP/pass-asked"
	check "when it was let in" wait_for test -e "$TMP/at-in"
	check "neither" unknown $pid "$SECRET" "${CODED%%=*}"
	: >"$TMP/pass-in"
	ended "the sync goes on" $pid
	ended "for the server, too" $server
	same "both have the same afterwards"
	check_not "nothing said it" grep -qF -e "$SECRET" -e "${CODED%%=*}" "$TMP/out"
	check_not "nor does the store have it" grep -rqF "$SECRET" "$STORE"
	WHERE=
}
password tcp ""
password tcps "$TMP/cert.pem"

finish
