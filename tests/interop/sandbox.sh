#!/bin/bash
# sandbox -- tries to break out of the processes that read a peer's bytes: a debugger has them make calls that they never make, while
# they wait for a peer that is held; afterwards the sync goes on.  Then the kernels that lack something, and the secrets.
#
# Nobody but root may look into such a process, not even its own user: as another user this is run in a user namespace.
[ "$(id -u)" = 0 ] || exec unshare --user --map-root-user bash "$0" "$@"
. "$(dirname "$0")/../real.sh"
needs gdb gcore strace python3 pgrep base64 openssl sshd ssh ssh-keygen
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
LANDLOCK=$(python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))')
FAR=$TMP/far-store MD=$TMP/Maildir
near=("$SYNC" -o "mail_location=dsyncfs:$STORE") far=("$SYNC" -o "mail_location=dsyncfs:$FAR")
near() { "${near[@]}" "$@"; }
maildir_new "$MD"
mail "$MD" 1
mail "$MD" 2 S
check "mail to begin with" near mirror "maildir:$MD"
echo outside >"$TMP/outside"
mkdir "$TMP/dir"
same() { equal "$1" "$(dump "dsyncfs:$STORE")" "$(dump "dsyncfs:$FAR")"; }

# NAME PID: a child of this script ends well
ended() { wait "$2"; report $? "$1" "$(cat "$TMP/out")"; }

# ---- breaking out ----

# NAME | ERRNO of it | the call, and its type.  13 is EACCES, 1 EPERM, 0 success.
tries() {	# DIRECTORY: that the process may use
	local d=$1 no=13 path='int(*)(const char*,...)' o='int(*)(const char*,int,int)'
	# Without Landlock these are what the user may do.
	[ "$LANDLOCK" -ge 2 ] || no=0
	cat <<-T
		read a file of its own|0|($o)open|"$d/$(cd "$d" && find . -type f ! -name socket | head -1)",0,0
		list its directory|0|($o)open|"$d",65536,0
		read /etc/passwd|$no|($o)open|"/etc/passwd",0,0
		read another file of the user's|$no|($o)open|"$TMP/outside",0,0
		read it by .. from its directory|$no|($o)open|"$d/../outside",0,0
		read it by a link in its directory|$no|($o)open|"$d/link",0,0
		list a directory by a link in its own|$no|($o)open|"$d/dirlink",65536,0
		read its environment|$no|($o)open|"/proc/self/environ",0,0
		read its memory|$no|($o)open|"/proc/self/mem",2,0
		write outside|$no|($o)open|"$TMP/outside",1,0
		make a file outside|$no|($o)open|"$TMP/dir/made",65,384
		truncate outside|$no|(int(*)(const char*,long))truncate|"$TMP/outside",1
		make a directory outside|$no|(int(*)(const char*,int))mkdir|"$TMP/dir/made.d",448
		unlink outside|$no|(int(*)(const char*))unlink|"$TMP/dir/victim"
		make a link outside|1|(int(*)(const char*,const char*))symlink|"/etc","$TMP/dir/made.l"
		make a fifo outside|1|(int(*)(const char*,int,long))mknod|"$TMP/dir/made.f",4480,0
		a file for everybody|1|(int(*)(const char*,int))chmod|"$TMP/outside",511
		another owner|1|(int(*)(const char*,int,int))chown|"$TMP/outside",0,0
		an attribute|1|(int(*)(const char*,const char*,const char*,long,int))setxattr|"$TMP/outside","user.x","1",1,0
		a program|1|(int(*)(const char*,void*,void*))execve|"/bin/true",0,0
		a process|1|(int(*)(void))fork|
		trace its parent|1|(long(*)(long,long,long,long))ptrace|16,getppid(),0,0
		memory of its parent|1|(long(*)(int,void*,long,void*,long,long))process_vm_readv|getppid(),0,0,0,0,0
		a socket to the network|1|(int(*)(int,int,int))socket|2,1,0
		a socket to this machine|1|(int(*)(int,int,int))socket|1,1,0
		connect|1|(int(*)(int,void*,int))connect|0,0,0
		mount|1|(int(*)(const char*,const char*,const char*,long,void*))mount|"x","/","tmpfs",0,0
		unmount|1|(int(*)(const char*,int))umount2|"/nowhere",0
		another root|1|(int(*)(const char*))chroot|"/"
		a namespace|1|(int(*)(int))unshare|268435456
		another's namespace|1|(int(*)(int,int))setns|0,0
		a user|1|(int(*)(int))setuid|65534
		groups|1|(int(*)(long,void*))setgroups|0,0
		a file by its handle|1|(int(*)(int,void*,int))open_by_handle_at|0,0,0
		typing into its terminal|1|(int(*)(int,long,const char*))ioctl|0,21522,"x"
	T
}
# PID DIRECTORY [THREAD]: each of them; what happens otherwise than it should is said.  A thread does not try what the C library
# does in all threads of a process.
break_out() {
	local name want call args got errno bad=0 n=0
	echo keep >"$TMP/dir/victim"
	ln -sfn "$TMP/outside" "$2/link"
	ln -sfn "$TMP/dir" "$2/dirlink"
	tries "$2" | if [ -n "${3:-}" ]; then grep -v '^a user|\|^groups|'; else cat; fi >"$TMP/tries"
	{
		printf 'set pagination off\npython\nfor t in gdb.selected_inferior().threads():\n if t.ptid[1] == %s: t.switch()\nend\n' "${3:-$1}"
		echo 'set scheduler-locking on'
		while IFS='|' read -r name want call args; do
			args=${args//getppid()/((int(*)(void))getppid)()}
			[ "$call" = "${call#*)}" ] || call="(${call})"
			echo "set \$r = (long)($call)($args)"
			echo "printf \"TRY %ld %d\\n\", \$r, *((int*(*)(void))__errno_location)()"
		done <"$TMP/tries"
	} >"$TMP/tries.gdb"
	timeout 120 gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'set auto-load off' -p "$1" -x "$TMP/tries.gdb" >"$TMP/gdb.out" 2>&1
	grep '^TRY ' "$TMP/gdb.out" >"$TMP/got"
	[ "$(wc -l <"$TMP/got")" = "$(wc -l <"$TMP/tries")" ] || { echo "not all could be tried"; tail -5 "$TMP/gdb.out"; return 1; }
	while IFS='|' read -r name want call args && read -r _ got errno <&3; do
		n=$((n + 1))
		if [ "$want" = 0 ]; then [ "$got" -ge 0 ]; else [ "$got" = -1 ] && [ "$errno" = "$want" ]; fi ||
			{ echo "$name: $got, errno $errno, not $want"; bad=1; }
	done <"$TMP/tries" 3<"$TMP/got"
	[ "$(cat "$TMP/outside")" = outside ] && [ "$(ls "$TMP/dir")" = victim ] || { [ "$LANDLOCK" -lt 2 ] || { echo "it changed something"; bad=1; }; }
	rm -f "$2/link" "$2/dirlink"
	echo "$n tries"
	return $bad
}
field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
is_closed() { [ "$(field "$1" Seccomp)" = 2 ] && [ "$(field "$1" NoNewPrivs)" = 1 ]; }
no_core() { grep -q '^Max core file size  *0  *0 ' "/proc/$1/limits"; }
closed_child() { local p; for p in $(pgrep -P "$1"); do is_closed "$p" && { echo "$p" >"$TMP/child"; return; }; done; return 1; }

# A far side that says nothing before $TMP/go is there.
cat >"$TMP/held" <<H
#!/bin/sh
while [ ! -e $TMP/go ]; do sleep 0.05; done
exec $SYNC -o mail_location=dsyncfs:$FAR dsync-server
H
chmod +x "$TMP/held"

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
check "nothing gets out of it" break_out "$(cat "$TMP/child")" "$FAR"
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

# In a mount it is the thread of a sync that is closed; what it has to do for its programs goes on in others.
rm "$TMP/go" "$TMP/hooked"
closed_thread() { local t; for t in /proc/"$1"/task/*; do is_closed "$1/task/${t##*/}" && { echo "${t##*/}" >"$TMP/thread"; return; }; done; return 1; }
check "a mount" mount_store "$STORE" "$MNT"
mounted=$(mounted_process "$STORE" | head -1)
mail "$MNT" 100
"${near[@]}" mirror "$TMP/held" dsync-server >"$TMP/out" 2>&1 &
pid=$!
check "a mirror in a mount has a closed thread" wait_for closed_thread "$mounted"
check "the others are as they were" test "$(field "$mounted" Seccomp)" = 0
check "nothing gets out of it" break_out "$mounted" "$STORE" "$(cat "$TMP/thread")"
check "the mount is used meanwhile" eval 'mail "$MNT" 101 && ls "$MNT/new" | grep -q M101'
: >"$TMP/go"
ended "the sync goes on" $pid
check "which ends with it" test ! -d "/proc/$mounted/task/$(cat "$TMP/thread")"
check "unmount" umount_store "$STORE" "$MNT"
check "the mail that came meanwhile" near mirror "$TMP/held" dsync-server
same "both have the same afterwards"

# Two Maildirs, one with its sidecar and its lists elsewhere, are all that such a mirror has.
mkdir "$TMP/control" "$TMP/sidecar"
check "a Maildir with directories of its own" near mirror "maildir:$TMP/second:CONTROL=$TMP/control:SIDECAR=$TMP/sidecar"
check "is whole" says "170000004.M4.test" ls -R "$TMP/second"
check "a dry run leaves no copy behind" env TMPDIR="$TMP/dir" "$SYNC" -o "mail_location=dsyncfs:$STORE" --dry-run mirror "maildir:$TMP/third"
equal "but what there was" victim "$(ls "$TMP/dir")"

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
# PID NAME: in no core of it, nor in what others can see of it
unknown() {
	gcore -o "$TMP/core" "$1" >"$TMP/gcore.out" 2>&1 || { cat "$TMP/gcore.out"; return 1; }
	! grep -qaF -e "$SECRET" -e "${CODED%%=*}" "$TMP/core.$1" "/proc/$1/cmdline" "/proc/$1/environ"
}
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
	"${near[@]}" -D -o "doveadm_password_file=$TMP/secret" -o "ssl_client_ca_file=$TMP/cert.pem" -u "$(id -un)" \
		mirror "$1:127.0.0.1:$(cat "$TMP/port")" >"$TMP/out" 2>&1 &
	pid=$!
	check "a server that asks for a password" wait_for test -e "$TMP/at-asked"
	check "has it, and nothing here has it any more" unknown $pid
	equal "nor leaves it a core of its own" 0 "$(gdb -nx -batch -iex 'set debuginfod enabled off' -p $pid \
		-ex 'printf "IS %d\n", ((int(*)(int,...))prctl)(3,0,0,0,0)' 2>/dev/null | sed -n 's/^IS //p')"
	: >"$TMP/pass-asked"
	check "when it was let in" wait_for test -e "$TMP/at-in"
	check "neither" unknown $pid
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

# The passphrase of a key, and the key: an sshd, whose command waits for $TMP/go.
. "$ROOT/tests/sshd.sh"
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
K=$TMP/keys
mkdir "$K" "$TMP/path"
ssh-keygen -q -t ed25519 -N '' -f "$K/host_ed25519"
ssh-keygen -q -t ed25519 -N "$SECRET" -f "$K/id"
cp "$K/id.pub" "$TMP/authorized_keys"
host_up main ed25519
echo "[127.0.0.1]:${port[main]} $(cut -d' ' -f1,2 "$K/host_ed25519.pub")" >"$TMP/known_hosts"
cat >"$TMP/ssh_config" <<C
Host there
HostName 127.0.0.1
Port ${port[main]}
User $(id -un)
IdentitiesOnly yes
IdentityFile $K/id
UserKnownHostsFile $TMP/known_hosts
GlobalKnownHostsFile none
C
# ssh(1) reads the configuration of whom the password file says; so the ssh that is found here has one of ours.
printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$TMP/ssh_config" >"$TMP/path/ssh"
chmod +x "$TMP/path/ssh"
rm -f "$TMP/go"
mail "$MD" $((++n))
near mirror "maildir:$MD" >/dev/null
PATH=$TMP/path:$PATH "${near[@]}" -D -o "ssh_passphrase_command=cat $TMP/secret" -o "dsync_remote_cmd=$TMP/held" mirror there >"$TMP/out" 2>&1 &
pid=$!
check "an ssh host, by a key with a passphrase: closed" wait_for is_closed $pid
check "by libssh2" grep -q 'logged in as' "$TMP/out"
check "nothing here has the passphrase" unknown $pid
check_not "nor the key" grep -qaF "$(sed -n 3p "$K/id")" "$TMP/core.$pid"
check "nothing gets out of it" break_out $pid "$STORE"
: >"$TMP/go"
ended "the sync goes on" $pid
same "both have the same afterwards"
check_not "nothing said it" grep -qF "$SECRET" "$TMP/out"
finish
