#!/bin/bash
# ssh -- the ssh transport against a throw-away sshd on loopback: keys, agents,
# known_hosts, what libssh2 cannot and ssh(1) does, ends of all kinds.
. "$(dirname "$0")/../lib.sh"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
CAT=$BIN/tests/interop/link_cat
for p in sshd ssh ssh-keygen ssh-agent ssh-add python3; do
	command -v $p >/dev/null || { echo "FAIL: $p is not installed: make deps"; exit 1; }
done
[ -x "$CAT" ] || { echo "FAIL: $CAT is not built: make interop-programs"; exit 1; }
ME=$(id -un)
chmod 755 "$TMP"
K=$TMP/keys
mkdir "$K" "$TMP/bin"

# ---- hosts ----
for t in ed25519 ecdsa rsa; do
	ssh-keygen -q -t $t -N '' -C "host $t" -f "$K/host_$t"
	ssh-keygen -q -t $t -N '' -C "$t" -f "$K/id_$t"
done
ssh-keygen -q -t ed25519 -N '' -f "$K/other_host"
ssh-keygen -q -t ed25519 -N 'open sesame' -C locked -f "$K/id_locked"
ssh-keygen -q -t ecdsa -b 521 -N 'open sesame' -C locked521 -f "$K/id_locked521"
ssh-keygen -q -t ed25519 -N '' -C stranger -f "$K/id_stranger"
ssh-keygen -q -t ecdsa -m PEM -N '' -C pem -f "$K/id_pem"
cat "$K"/id_{ed25519,ecdsa,rsa,locked,locked521,pem}.pub >"$TMP/authorized_keys"
echo "command=\"cat >/dev/null; echo forced\" $(cat "$K/id_stranger.pub")" >"$TMP/forced_keys"
ln -s "$(command -v sh)" "$TMP/bin/sh"

. "$ROOT/tests/sshd.sh"
host_up main "ed25519 ecdsa rsa" "RekeyLimit 4M"
host_up ecdsa "ecdsa rsa"
host_up rsa "rsa"
host_up modern "ed25519" "Ciphers chacha20-poly1305@openssh.com"
host_up bare "ed25519" "SetEnv PATH=$TMP/bin"
host_up forced "ed25519" "AuthorizedKeysFile $TMP/forced_keys"
host_up password "ed25519" "PubkeyAuthentication no" "PasswordAuthentication yes"

# known NAME KEYFILE: a line of known_hosts
known() { echo "[127.0.0.1]:${port[$1]} $(cut -d' ' -f1,2 "$K/host_$2.pub")"; }
{
	for h in main ecdsa bare forced modern password; do
		[ $h = ecdsa ] || known $h ed25519
	done
	known ecdsa ecdsa
	known rsa rsa
} >"$TMP/known_hosts"

# conf NAME LINE...: an ssh_config with lines before the common ones
conf() {
	local f=$TMP/conf_$1
	shift
	{
		printf '%s\n' "$@"
		cat <<-C
			Host *
			User $ME
			HostName 127.0.0.1
			IdentitiesOnly yes
			IdentityFile $K/id_ed25519
			UserKnownHostsFile $TMP/known_hosts
			GlobalKnownHostsFile none
			GSSAPIAuthentication no
		C
	} >"$f"
	echo "$f"
}
CONF=$(conf plain)

# run NAME OPTIONS...: "hello" there and back; output in $TMP/out, talk in $TMP/err
run() {
	local h=$1
	shift
	printf hello | timeout -s KILL 60 "$CAT" -v -F "$CONF" -p "${port[$h]}" -c cat "$@" >"$TMP/out" 2>"$TMP/err"
	local rc=$?
	cat "$TMP/err"
	return $rc
}
echoed() { [ "$(cat "$TMP/out")" = hello ]; }
by_libssh2() { ! grep -q 'ssh(1) makes' "$TMP/err" && grep -q 'logged in as' "$TMP/err"; }
by_ssh() { grep -q "ssh(1) makes the connection: .*$1" "$TMP/err"; }
lib() { run "$@" ssh there && echoed && by_libssh2; }		# by libssh2, all well
prog() { local w=$1; shift; run "$@" ssh there && echoed && by_ssh "$w"; }	# by ssh(1), because
# refused STATUS WORDS NAME OPTIONS...: exits so, nothing comes back, one line has the words
refused() {
	local want=$1 words=$2 rc
	shift 2
	run "$@" ssh there
	rc=$?
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	[ ! -s "$TMP/out" ] || { echo "something came back"; return 1; }
	grep -qE -- "$words" "$TMP/err" || { echo "does not say /$words/"; return 1; }
}
with() { local CONF; CONF=$(conf with "${@:2}"); $1; }	# CHECK LINE...: with lines in ssh_config

# ---- keys ----
check "an ed25519 key" lib main
key() { CONF=$(conf key "IdentityFile $K/$1") lib main; }
only() { CONF=$(conf only "IdentityFile $K/$1"); sed -i "/id_ed25519/d" "$CONF"; }
only id_ecdsa; check "an ecdsa key" lib main
only id_locked; check "an encrypted key, its passphrase from a command" lib main -P "echo open sesame"
check "it was asked for by its file" grep -q "asked for: passphrase of $K/id_locked" "$TMP/err"
only id_locked521; check "an encrypted ecdsa key" lib main -P "echo open sesame"
printf 'open sesame\n' >"$TMP/pass"; chmod 600 "$TMP/pass"
only id_locked; check "a passphrase from a file" lib main -K "$TMP/pass"
chmod 644 "$TMP/pass"
check "but not from one that others can read" refused 77 "chmod 600" main -K "$TMP/pass"
check "a wrong passphrase" refused 77 "passphrase of .*id_locked is wrong" main -P "echo friend"
check "no passphrase" refused 77 "needs its passphrase: add the key to an agent" main
check "a command that gives none" refused 77 "" main -P "false"
check_not "a passphrase is never said" grep -q "sesame" "$TMP/err"
only id_stranger; check "a key that is not known over there" refused 77 "permission denied for $ME: none of 1 keys is accepted" main
only id_locked; sed -i s/id_locked/id_stranger/ "$CONF"; ssh-keygen -q -p -P '' -N x -f "$K/id_stranger" >/dev/null
check "nobody is asked for the passphrase of such a key" refused 77 "none of 1 keys" main -P "echo x"
check_not "really" grep -q "asked for" "$TMP/err"
ssh-keygen -q -p -P x -N '' -f "$K/id_stranger" >/dev/null
only nothing; check "no key at all" refused 77 "there is no key to log in with" main
CONF=$(conf plain); chmod 640 "$K/id_ed25519"
check "a key file that others can read is not used" refused 77 "can be read by others: not used" main
chmod 600 "$K/id_ed25519"
check "a host that takes only passwords" refused 77 "permission denied" password

# ---- agent ----
eval "$(ssh-agent -a "$TMP/agent" -s)" >/dev/null
on_exit "kill $SSH_AGENT_PID"
ssh-add -q "$K/id_ecdsa"
only "nothing
IdentitiesOnly no"; check "a key of the agent" lib main
check "really of the agent" grep -q "with the agent's ecdsa-sha2-nistp256 key" "$TMP/err"
only nothing; check "IdentitiesOnly keeps it from being offered" refused 77 "no key to log in with" main
cp "$K/id_ecdsa.pub" "$K/public.pub"
only public.pub; check "a public key names one of the agent's" lib main
SOCK=$SSH_AUTH_SOCK; unset SSH_AUTH_SOCK
only "nothing
IdentitiesOnly no
IdentityAgent $SOCK"; check "IdentityAgent" lib main
export SSH_AUTH_SOCK=$SOCK
only "nothing
IdentitiesOnly no
IdentityAgent none"; check "IdentityAgent none" refused 77 "no key to log in with" main
ssh-add -q -D
ssh-add -q "$K/id_rsa"
only "nothing
IdentitiesOnly no"; check "the agent's RSA key is ssh(1)'s" prog "agent's ssh-rsa key is an RSA key" main
export SSH_AUTH_SOCK=$TMP/nothing
CONF=$(conf plain "IdentitiesOnly no"); check "an agent that does not answer" lib main
unset SSH_AUTH_SOCK

# ---- what libssh2 cannot ----
only id_rsa; check "an RSA key is ssh(1)'s" prog "id_rsa is an RSA key" main
only id_pem; check "a key in another format is ssh(1)'s" prog "id_pem is not in OpenSSH's format" main
CONF=$(conf plain)
check "a host with an RSA key only" prog "known host key is of a type" rsa
check "a host with other ciphers only" prog "no methods or host key type in common" modern
check "told to" prog "so it is configured" main -s
CONF=$(conf proxy "ProxyCommand socat - TCP:%h:%p")
sed -i 's|socat.*|bash -c "exec 3<>/dev/tcp/%h/%p; cat <\&3 \& exec cat >\&3"|' "$CONF"
check "a ProxyCommand" prog "has a ProxyCommand" main
cat >"$TMP/conf_jump" <<C
Host there
ProxyJump jump
Host jump
Port ${port[ecdsa]}
$(cat "$TMP/conf_plain")
C
CONF=$TMP/conf_jump; check "a ProxyJump, to a known host" says "exit 0" sh -c "
	printf hello | timeout 60 $CAT -v -F $CONF -p ${port[main]} -c cat ssh there; echo exit \$?"
CONF=$(conf control "ControlPath $TMP/control" "ControlMaster auto" "ControlPersist 1")
check "a shared connection" prog "shares connections" main
ssh-keygen -q -s "$K/host_ed25519" -h -I host -n 127.0.0.1 "$K/host_ecdsa.pub"
CONF=$(conf ciphers "Ciphers aes128-gcm@openssh.com"); check "ssh_config that allows other ciphers only" prog "none of the methods" main
CONF=$(conf plain)

# ---- known_hosts ----
# in_known LINES: the file for the next check
in_known() { printf '%s\n' "$@" >"$TMP/known_hosts.test"; CONF=$(conf known "UserKnownHostsFile $TMP/known_hosts.test"); }
hashed() { in_known "$1"; ssh-keygen -q -H -f "$TMP/known_hosts.test" >/dev/null 2>&1; }
P=${port[main]} PRINT=$(ssh-keygen -lf "$K/host_ed25519.pub" | cut -d' ' -f2 | sed 's/+/\\+/g')
ed=$(cut -d' ' -f1,2 "$K/host_ed25519.pub") ec=$(cut -d' ' -f1,2 "$K/host_ecdsa.pub") rsa=$(cut -d' ' -f1,2 "$K/host_rsa.pub")
wrong=$(cut -d' ' -f1,2 "$K/other_host.pub")
hashed "$(known main ed25519)"
check "the names are hashed" grep -q '^|1|' "$TMP/known_hosts.test"
check "a hashed name" lib main
in_known "127.0.0.1 $ed"; check "a name without the port" lib main
in_known "[127.0.0.*]:$P,x $ed"; check "a pattern" lib main
in_known "# $ed" "" "not a line" "[127.0.0.1]:$P $ec"; check "the other type of key" lib main
check "is the one that was shown" grep -q "ecdsa-sha2-nistp256 SHA256" "$TMP/err"
in_known "[127.0.0.1]:$P $wrong" "[127.0.0.1]:$P $ed"; check "one of two keys" lib main
CONF=$(conf alias "HostKeyAlias mailhost" "UserKnownHostsFile $TMP/known_hosts.test"); printf 'mailhost %s\n' "$ed" >"$TMP/known_hosts.test"
check "HostKeyAlias" lib main
CONF=$(conf global "UserKnownHostsFile none" "GlobalKnownHostsFile $TMP/known_hosts"); check "the system's known_hosts" lib main
in_known ""; check "an unknown key is refused" refused 77 "host key is not known, so nothing was sent: ssh-ed25519 $PRINT is not in $TMP/known_hosts.test.*run 'ssh" main
in_known "[127.0.0.1]:$P $wrong"; check "a changed key is refused" refused 77 "HAS CHANGED.*$PRINT, but $TMP/known_hosts.test line 1 has SHA256:.*ssh-keygen -f $TMP/known_hosts.test -R \[127.0.0.1\]:$P" main
in_known "[127.0.0.1]:$P,!127.* $ed" "![127.0.0.1]:$P,* $ed"; check "one known for all but this host" refused 77 "" rsa
in_known "![127.0.0.1]:$P,[127.0.0.1]:* $ed"; check "a negated name" refused 77 "is not known" main
in_known "[127.0.0.1]:$P $ed" "@revoked * $ed"; check "a revoked key is refused" refused 77 "$PRINT is revoked by $TMP/known_hosts.test line 2" main
in_known "[127.0.0.1]:1 $ed"; check "one for another port" refused 77 "is not known" main
in_known "[127.0.0.1]:$P $rsa"; check "only the RSA key is known" prog "type that libssh2 cannot check" main
in_known "[127.0.0.1]:${port[rsa]} $ed"; check "an RSA host with another key: ssh(1) refuses" refused 77 "ssh\(1\) makes.*" rsa
in_known ""; check "an unknown RSA host: ssh(1) refuses" refused 77 "permission denied, or not the host" rsa
cp "$TMP/known_hosts.test" "$TMP/known_hosts.before"
for strict in no accept-new ask; do
	CONF=$(conf strict "StrictHostKeyChecking $strict" "UserKnownHostsFile $TMP/known_hosts.test")
	check "StrictHostKeyChecking $strict lets nobody in" refused 77 "is not known" main
	check "nor by ssh(1)" refused 77 "not the host" rsa
done
check "known_hosts is never written" cmp "$TMP/known_hosts.before" "$TMP/known_hosts.test"
in_known "@cert-authority [127.0.0.1]:$P $ed"; check "a certificate authority is ssh(1)'s" refused 77 "ssh\(1\) makes the connection: known_hosts trusts a certificate authority" main
CONF=$(conf plain)

# ---- names ----
for h in -oProxyCommand=touch\ x '-v' 'a;b' '$(x)' 'a b' "a'b" $'a\nb' ''; do
	check "the host '${h//$'\n'/\\n}' is refused" status 64 "$CAT" -F "$CONF" ssh -- "$h"
done
for l in '-oX' 'a;b' 'a b'; do check "the login '$l' is refused" status 64 "$CAT" -F "$CONF" -l "$l" ssh there; done
for u in '-x' $'a\nb'; do check "the user '${u//$'\n'/\\n}' is refused" status 64 "$CAT" -F "$CONF" -u "$u" ssh there; done
CONF=$(conf evil "HostName -oProxyCommand=x"); check "a HostName of ssh_config that begins with -" status 64 "$CAT" -F "$CONF" ssh there
CONF=$(conf broken "Nonsense yes"); check "an ssh_config that ssh does not accept" refused 64 "does not accept its configuration" main
CONF=$(conf plain)

# ---- not reachable ----
port[nobody]=$(free_port); check "nobody there" refused 69 "cannot reach 127.0.0.1 port ${port[nobody]}: Connection refused" nobody
check "nobody there, by ssh(1)" refused 69 "not reachable by ssh\(1\)" nobody -s
python3 -c '
import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept(); c.sendall(sys.argv[1].encode().decode("unicode_escape").encode()); sys.argv.append(c)
' 'SSH-2.0-x\r\n' >"$TMP/silent.port" &
sshds+=($!)
disown
wait_for test -s "$TMP/silent.port"; port[silent]=$(cat "$TMP/silent.port")
known silent ed25519 >>"$TMP/known_hosts"
check "one that says hello and nothing more" refused 75 "does not answer: is it an ssh server" silent -t 300
python3 -c '
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"* OK IMAP4rev1 ready\r\n"); c.close()
' >"$TMP/imap.port" &
sshds+=($!)
disown
wait_for test -s "$TMP/imap.port"; port[imap]=$(cat "$TMP/imap.port")
known imap ed25519 >>"$TMP/known_hosts"
check "one that is no ssh server" refused 75 "cut" imap

# ---- the command ----
check "the far side's lines are shown with its name" run main -c "sh -c 'echo one >&2; printf two >&2; cat'" ssh there
check "all of them" says "there: one
there: two" cat "$TMP/err"
check "what a failing command said comes first" status 75 run main -c "sh -c 'cat; exit 3'" ssh there
check "its status" grep -q "there: the command over there ended with status 3" "$TMP/err"
check "and its output" echoed
check "a command that is killed" status 75 run main -c "sh -c 'kill -9 \$\$'" ssh there
check "by which signal" grep -q "killed by signal KILL" "$TMP/err"
check "a command that is not there" status 69 run main -c "/nonexistent/dsync" ssh there
check "is said so" grep -q "not found over there (status 127)" "$TMP/err"
check "and by ssh(1)" status 69 run main -s -c "/nonexistent/dsync" ssh there
check "too" grep -q "not found over there (status 127)" "$TMP/err"
bare() { printf hello | timeout 60 "$CAT" -v -F "$CONF" -p "${port[bare]}" "$@" ssh there >"$TMP/out" 2>"$TMP/err"; }
check "neither of our commands" status 69 bare
check "one line says so" says "there: neither dsyncfs-sync nor doveadm is found over there" cat "$TMP/err"
for p in doveadm dsyncfs-sync; do
	printf '#!/bin/sh\nprintf "%s"; printf "<%%s>" "$@"\n' $p >"$TMP/bin/$p"
	chmod 755 "$TMP/bin/$p"
	check "$p is found" bare -u "O'Brien \$x"
	check "and gets the user as one word" says "$p<dsync-server><-u><O'Brien \$x>" cat "$TMP/out"
done
check "without a user" bare
check "there is no -u" says "dsyncfs-sync<dsync-server>" cat "$TMP/out"
check "the same by ssh(1)" bare -s -u "O'Brien \$x"
check "with the user" says "dsyncfs-sync<dsync-server><-u><O'Brien \$x>" cat "$TMP/out"
check "a command of ours with values" run main -u "a b" -c 'printf %%s-%%s %u %{host}' ssh there
check "each a word" says "a b-there" cat "$TMP/out"
check "Dovecot's form is run here" run main -u "a;b" -c "ssh -F $CONF -p $P -l%{login} %{host} echo -u%u" ssh there
check "and its values are words over there" says "-ua;b" cat "$TMP/out"
only id_stranger; check "a forced command" run forced ssh there
check "is what runs" says forced cat "$TMP/out"
CONF=$(conf plain)

# ---- much ----
head -c 50000000 /dev/urandom >"$TMP/big"
big() {
	timeout -s KILL 120 "$CAT" -v -F "$CONF" -p "$P" -c cat "$@" ssh there <"$TMP/big" 2>"$TMP/err" | cmp - "$TMP/big" ||
		{ tail -3 "$TMP/err"; return 1; }
}
check "50 MB there and back, with new keys on the way" big
check "by libssh2" by_libssh2
check "50 MB there and back by ssh(1)" big -s
noisy="sh -c 'head -c 3000000 /dev/zero | tr \\\\0 x >&2; cat'"
check "and beside much on standard error" big -c "$noisy"

# ---- closed by us ----
for how in "" -s; do
	early() { "$CAT" -F "$CONF" -p "$P" -c "sh -c 'echo \$\$; exec cat /dev/zero'" $how ssh there </dev/null 2>"$TMP/err" | head -1 >"$TMP/out"; }
	check "closed while it has much to say${how:+, by ssh(1)}" timeout 20 bash -c "$(declare -f early); CAT=$CAT CONF=$CONF P=$P TMP=$TMP how=$how; early"
	check "and it is gone" wait_for test ! -d "/proc/$(cat "$TMP/out")"
done

# ---- cut ----
# cut_short HOW STATUS WORDS OPTIONS...: the far side says its pid, then HOW (with $remote and $sshd) is done
cut_short() {
	local how=$1 want=$2 words=$3 rc fifo=$TMP/fifo job remote
	shift 3
	rm -f "$fifo" "$TMP/out"; mkfifo "$fifo"
	timeout -s KILL 60 "$CAT" -F "$CONF" -p "${port[main]}" -c "sh -c 'echo \$\$; exec cat'" "$@" ssh there <"$fifo" >"$TMP/out" 2>"$TMP/err" &
	job=$!
	exec 8>"$fifo"
	wait_for test -s "$TMP/out" || return 1
	remote=$(cat "$TMP/out")
	sshd=$(ps -o ppid= -p "$remote")
	eval "$how"
	wait $job; rc=$?
	exec 8>&-
	kill -CONT "$sshd" 2>/dev/null
	wait_for test ! -d "/proc/$remote" || { echo "the command is left behind"; return 1; }
	cat "$TMP/err"
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	grep -qE -- "$words" "$TMP/err" || { echo "does not say /$words/"; return 1; }
	[ "$(wc -l <"$TMP/err")" -le "${LINES_AT_MOST:-1}" ] || { echo "not one line"; return 1; }
}
check "the command is killed" cut_short 'kill -9 $remote' 75 "there: the command over there was killed by signal KILL"
check "the command is terminated" cut_short 'kill $remote' 75 "killed by signal TERM"
check "sshd is killed" cut_short 'kill -9 $sshd' 75 "there: the connection was cut by the other side"
export LINES_AT_MOST=2
check "sshd is killed under ssh(1)" cut_short 'kill -9 $sshd' 75 "there: the connection of ssh\(1\) was cut" -s
check "the command is killed under ssh(1)" cut_short 'kill -9 $remote' 75 "there: " -s
unset LINES_AT_MOST
CONF=$(conf alive "ServerAliveInterval 2" "ServerAliveCountMax 1")
check "sshd stands still" cut_short 'kill -STOP $sshd' 75 "there: it has not answered for [0-9]+ s: given up"
finish
