#!/bin/bash
# ssh_sync -- `dsyncfs-sync mirror [USER@]HOST` through throw-away sshds: keys, agents, host keys, proxies, what runs over there, and what
# becomes of a sync when nobody is there, or the connection ends in its middle.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 sshd ssh ssh-keygen ssh-agent ssh-add
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
chmod 755 "$TMP"
K=$TMP/keys FAR=$TMP/far-store SIDE=$TMP/side ME=$(id -un)
mkdir "$K" "$TMP/ours" "$TMP/theirs" "$TMP/path"
for t in ed25519 ecdsa rsa; do
	ssh-keygen -q -t $t -N '' -C "host $t" -f "$K/host_$t"
	ssh-keygen -q -t $t -N '' -C "$t" -f "$K/id_$t"
done
ssh-keygen -q -t ed25519 -N '' -f "$K/host_other"
ssh-keygen -q -t ed25519 -N 'open sesame' -C locked -f "$K/id_locked"
cat "$K"/id_*.pub >"$TMP/authorized_keys"
. "$ROOT/tests/sshd.sh"

# ---- what the far sides have ----
program() { cat >"$TMP/$1"; chmod 755 "$TMP/$1"; }	# DIRECTORY/NAME: its text on stdin
ln -s "$(command -v sh)" "$TMP/theirs/sh"
program ours/dsyncfs-sync <<C
#!/bin/sh
echo "\$*" >$TMP/called
PATH=/usr/bin:/bin
echo "this is \$0" >&2
[ ! -f $TMP/hold ] || { python3 $TMP/holder | exec env HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR "\$@"; exit; }
exec env HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR "\$@"
C
# What comes from the near side stops after 30 kB.
cat >"$TMP/holder" <<C
import os
left = 30000
while left > 0:
    some = os.read(0, left)
    if not some: break
    left -= len(some)
    while some: some = some[os.write(1, some):]
open("$TMP/held", "w").write(str(os.getppid()))
while os.read(0, 65536): pass
C
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
dovecot_conf box "sdbox:$TMP/box"
: >"$TMP/dovecot/box/log"
program theirs/doveadm <<C
#!/bin/sh
PATH=/usr/bin:/bin
echo "\$*" >$TMP/called
exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$1"
C
host_up main "ed25519 ecdsa" "SetEnv PATH=$TMP/ours:/usr/bin:/bin"
host_up rsa "rsa" "SetEnv PATH=$TMP/ours:/usr/bin:/bin"
host_up theirs "ed25519" "SetEnv PATH=$TMP/theirs"
port[nobody]=$(free_port)

# ---- what this side has ----
# ssh(1) reads the configuration of whom the password file says; so the ssh that is found here has one of ours.
program path/ssh <<C
#!/bin/sh
exec $(command -v ssh) -F $TMP/ssh_config "\$@"
C
PATH=$TMP/path:$PATH
known() { echo "[127.0.0.1]:${port[$1]} $(cut -d' ' -f1,2 "$K/host_$2.pub")"; }	# HOST KEY
all_known() { { known main ed25519; known rsa rsa; known theirs ed25519; known nobody ed25519; } >"$TMP/known_hosts"; }
conf() {	# LINE...: for the host there; the others are as they are
	local h
	{
		for h in main rsa theirs nobody; do printf 'Host %s\nPort %s\n' $h "${port[$h]}"; done
		printf 'Host there\n'
		printf '%s\n' "$@"
		cat <<-C
			Host there
			Port ${port[main]}
			Host *
			User $ME
			HostName 127.0.0.1
			IdentitiesOnly yes
			IdentityFile $K/id_ed25519
			UserKnownHostsFile $TMP/known_hosts
			GlobalKnownHostsFile none
			GSSAPIAuthentication no
		C
	} >"$TMP/ssh_config"
}
only() { conf "${@:2}"; sed -i "s|^IdentityFile .*id_ed25519|IdentityFile $K/$1|" "$TMP/ssh_config"; }	# KEY LINE...
all_known
conf

# ---- checks ----
same() { equal "$1" "$(dump "dsyncfs:$STORE")" "$(dump "dsyncfs:$FAR")"; }
maildir_new "$SIDE"
fresh=0
fresh_mail() { fresh=$((fresh + 1)); mail "$SIDE" "$fresh"; again ds mirror "maildir:$SIDE" >/dev/null 2>&1; }
arrived() { dump "dsyncfs:$FAR" | grep -q "M$fresh\.test"; }
talk() { ds -v "$@" >"$TMP/out" 2>&1; local rc=$?; cat "$TMP/out"; return $rc; }
by_libssh2() { ! grep -q 'ssh(1) makes' "$TMP/out" && grep -q 'logged in as' "$TMP/out"; }
by_ssh() { grep -q "ssh(1) makes the connection: .*$1" "$TMP/out"; }
# HOW HOST [OPTION...]: a new mail gets there, by libssh2 (HOW "") or by ssh(1) because of HOW
gets() {
	local how=$1 host=$2
	shift 2
	fresh_mail
	again talk "$@" mirror "$host" && arrived || return 1
	if [ -z "$how" ]; then by_libssh2; else by_ssh "$how"; fi
}
# STATUS WORDS OPTION...: exits so, one line has the words, and there are no more than one line of our own without -v
refused() {
	local want=$1 words=$2 text rc
	shift 2
	text=$(ds "$@" 2>&1)
	rc=$?
	echo "$text"
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	grep -qE -- "$words" <<<"$text" || { echo "does not say /$words/"; return 1; }
	[ "$(grep -c '^dsyncfs-sync: ' <<<"$text")" -le "${LINES_AT_MOST:-1}" ] || { echo "more than one line"; return 1; }
}

check "an ed25519 key" gets "" there
same "both say the same"
equal "HOST alone has no -u" "dsync-server" "$(cat "$TMP/called")"
check "what is said over there has its host's name" grep -q "there: this is $TMP/ours/dsyncfs-sync" "$TMP/out"
check "USER@HOST" gets "" "$ME@there"
equal "USER is the far side's -u" "dsync-server -u $ME" "$(cat "$TMP/called")"
only id_ecdsa; check "an ecdsa key" gets "" there
only id_locked; check "an encrypted key" gets "" there -o "ssh_passphrase_command=echo 'open sesame'"
check_not "the passphrase is not said" grep -q sesame "$TMP/out"
LINES_AT_MOST=2 check "a wrong passphrase" refused 77 "passphrase of .*id_locked is wrong" -o "ssh_passphrase_command=echo friend" mirror there
check "no passphrase" refused 77 "needs its passphrase" mirror there
eval "$(ssh-agent -a "$TMP/agent" -s)" >/dev/null
background+=("$SSH_AGENT_PID")
ssh-add -q "$K/id_ecdsa"
only nothing "IdentitiesOnly no"; check "a key of the agent" gets "" there
unset SSH_AUTH_SOCK
conf

# ---- host keys ----
check "the names can be hashed" ssh-keygen -q -H -f "$TMP/known_hosts"
check "a hashed name" gets "" there
known rsa rsa >"$TMP/known_hosts"; check "an unknown host key" refused 77 "host key is not known.*run 'ssh" mirror there
{ known main other; } >"$TMP/known_hosts"; check "a changed host key" refused 77 "HAS CHANGED.*ssh-keygen -f $TMP/known_hosts -R" mirror there
LINES_AT_MOST=99 check "the same by a command line with ssh" refused 77 "not the host that it should be" \
	mirror ssh -oBatchMode=yes there dsyncfs-sync dsync-server
all_known

# ---- by ssh(1) ----
conf "ProxyCommand bash -c \"exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3\""
check "a ProxyCommand" gets ProxyCommand there
conf "ProxyJump theirs"; check "a ProxyJump" gets ProxyJump there
conf; check "a host with an RSA key only" gets "of a type" rsa
check "a command line with ssh" again ds mirror ssh there dsyncfs-sync dsync-server
check "in one word" again ds mirror "ssh there dsyncfs-sync dsync-server"

# ---- what runs over there ----
program ours/other <<<"#!/bin/sh
printf '<%s>' \"\$@\" >$TMP/values
exec dsyncfs-sync dsync-server"
check "dsync_remote_cmd" gets "" "o'brien@there" -o 'dsync_remote_cmd=other %{host} %u %{user}'
equal "its values" "<there><o'brien><o'brien>" "$(cat "$TMP/values")"
check "USER is not who logs in" grep -q "logged in as $ME" "$TMP/out"
conf "User nobody-there"
check "unless %{login} is in it" gets "" "$ME@there" -o 'dsync_remote_cmd=other %{host} %{login} %u'
equal "its values" "<there><$ME><$ME>" "$(cat "$TMP/values")"
check "USER is who logs in" grep -q "logged in as $ME" "$TMP/out"
check "one that is Dovecot's" again ds -o "dsync_remote_cmd=ssh -l%{login} %{host} other -u%u" mirror "$ME@there"
equal "its values" "<-u$ME>" "$(cat "$TMP/values")"
conf
LINES_AT_MOST=2 check "one that is not there" refused 69 "there: .*not found over there" -o "dsync_remote_cmd=nothing-like-it" mirror there
LINES_AT_MOST=2 check "the same on a command line" refused 69 "not found over there" mirror ssh there nothing-like-it dsync-server
check "doveadm, where there is no dsyncfs-sync" again ds mirror somebody@theirs
equal "gets -u" "dsync-server -u somebody" "$(cat "$TMP/called")"
equal "both say the same" "$(doveadm_dump box)" "$(dump "dsyncfs:$STORE")"
mv "$TMP/theirs/doveadm" "$TMP/doveadm.away"
LINES_AT_MOST=9 check "neither" refused 69 "theirs: neither dsyncfs-sync nor doveadm is found over there" mirror theirs
check "Dovecot has no complaint" not grep -E 'Error|Panic|Fatal' "$TMP/dovecot/box/log"

# ---- nobody there ----
check "nobody there" refused 69 "nobody: cannot reach 127.0.0.1 port ${port[nobody]}: Connection refused" mirror nobody
conf "ProxyJump nobody"; LINES_AT_MOST=9 check "nobody there, by ssh(1)" refused 69 "there: not reachable by ssh" mirror there
conf
LINES_AT_MOST=2 check "nobody there, by a command line" refused 69 "not reachable by ssh" mirror ssh nobody dsyncfs-sync dsync-server
LINES_AT_MOST=2 check "in one word" refused 69 "not reachable by ssh" mirror "$(command -v ssh) nobody dsyncfs-sync dsync-server"
conf "HostName nowhere.invalid"; check "a name that nobody has" refused 69 "there: .*nowhere.invalid" mirror there
conf

# ---- cut ----
mkdir -p "$TMP/many"/{cur,new,tmp}
# HOW STATUS WORDS OPTION...: HOW is done in the middle of a sync, with $far and $sshd; the next run finishes it
cut_short() {
	local how=$1 want=$2 words=$3 rc=0 far sshd i job batch
	shift 3
	batch=9$(ls "$TMP/many/new" | wc -l)
	for i in $(seq 1 40); do
		mail "$TMP/many" "$batch$i"
		head -c 3000 /dev/urandom | base64 >>"$TMP/many/new/17000000$batch$i.M$batch$i.test"
	done
	again ds mirror "maildir:$TMP/many" >/dev/null 2>&1
	rm -f "$TMP/held"
	: >"$TMP/hold"
	ds "$@" >"$TMP/out" 2>&1 &
	job=$!
	wait_for test -s "$TMP/held" || { kill $job; cat "$TMP/out"; return 1; }
	far=$(cat "$TMP/held")
	sshd=$(ps -o ppid= -p "$far" | tr -d ' ')
	eval "$how"
	wait $job; rc=$?
	kill -CONT "$sshd" 2>/dev/null
	rm "$TMP/hold"
	cat "$TMP/out"
	wait_for test ! -d "/proc/$far" || { echo "the far side is left behind"; return 1; }
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	grep -qE -- "$words" "$TMP/out" || { echo "does not say /$words/"; return 1; }
	[ "$(grep -vcE '^dsyncfs-sync: (there|ssh): (this is|Connection|Killed|dsyncfs-sync: )' "$TMP/out")" -le "${LINES_AT_MOST:-1}" ] ||
		{ echo "too many lines"; return 1; }
	within 20 check_store "$FAR" || return 1
	again ds mirror there >/dev/null 2>&1 || { echo "the next run fails"; return 1; }
	diff <(dump "dsyncfs:$STORE") <(dump "dsyncfs:$FAR") || return 1
	[ -z "$(dump "dsyncfs:$FAR" | grep -o 'guid=[^ ]*' | sort | uniq -d)" ]
}
check_store() { "$SYNC" -o "mail_location=dsyncfs:$1" verify; }
check "sshd is killed" cut_short 'kill -9 $sshd' 75 "there: the connection was cut" mirror there
check "the far side is killed" cut_short 'kill -9 $far' 75 "there: the command over there was killed by signal KILL" mirror there
check "sshd is killed under a command line" cut_short 'kill -9 $sshd' 75 "ssh: the connection of ssh\(1\) was cut" \
	mirror ssh there dsyncfs-sync dsync-server
check "the far side is killed under a command line" cut_short 'kill_tree $far' 75 "ssh: " mirror ssh there dsyncfs-sync dsync-server
conf "ServerAliveInterval 2" "ServerAliveCountMax 1"
check "sshd stands still" cut_short 'kill -STOP $sshd' 75 "there: it has not answered for [0-9]+ s: given up" mirror there
conf

# ---- in a mount ----
within 10 store_is_free "$STORE"
check "the store is mounted" mount_store "$STORE" "$MNT"
deliver_one "$MNT" 1700000400.M1.near frommount
check "the mount goes there by libssh2" again talk mirror there
check "really" by_libssh2
same "both say the same"
check "nobody there" refused 69 "nobody: cannot reach" mirror nobody
known main other >"$TMP/known_hosts"; check "a changed host key" refused 77 "HAS CHANGED" mirror there; all_known
check "the mount ends" umount_store "$STORE" "$MNT"
finish
