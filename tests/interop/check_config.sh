#!/bin/bash
# check_config -- check-config tries each remote: places on this machine, commands, ssh, tcp; what it says of each, what it exits with,
# and that nothing is changed here or there.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 sshd ssh-keygen
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
chmod 755 "$TMP"
K=$TMP/keys
mkdir "$K" "$TMP/path"
ssh-keygen -q -t ed25519 -N '' -f "$K/host_ed25519"
ssh-keygen -q -t ed25519 -N '' -f "$K/host_other"
ssh-keygen -q -t ed25519 -N '' -f "$K/id"
cp "$K/id.pub" "$TMP/authorized_keys"
. "$ROOT/tests/sshd.sh"

# LOCATION...: a configuration with a section for each, a, b, c, ...
conf() {
	local l n=a
	{
		echo "mail_location = dsyncfs:$STORE"
		for l in "$@"; do
			printf 'remote %s {\n\tlocation = %s\n}\n' "$n" "$l"
			n=$(tr a-y b-z <<<"$n")
		done
	} >"$TMP/conf"
}
try() { "$SYNC" "$@" check-config "$TMP/conf"; }
# STATUS WORDS LOCATION [OPTION...]: of one remote, and one line says why when it does not work
of() {
	local want=$1 words=$2 text rc
	conf "$3"
	shift 3
	text=$(try "$@" 2>"$TMP/err")
	rc=$?
	echo "$text"; cat "$TMP/err"
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	grep -qxF "$TMP/conf: nothing is wrong with it" <<<"$text" || { echo "the file is not said to be good"; return 1; }
	if [ "$want" = 0 ]; then
		grep -qF "): works: $words" <<<"$text" && [ ! -s "$TMP/err" ]
	else
		grep -qF "): does not work: status $want" <<<"$text" && grep -qE -- "$words" "$TMP/err" &&
			[ "$(grep -c '^dsyncfs-sync: ' "$TMP/err")" -le "${LINES_AT_MOST:-1}" ]
	fi
}
# All files below DIRECTORY, with times.
files() { find "$@" -type s -o -printf '%p %s %T@ %C@\n' 2>/dev/null | sort; }

# ---- places on this machine ----
maildir_new "$TMP/md"; mail "$TMP/md" 1 S
maildir_new "$TMP/other"; mail "$TMP/other" 2 S
mkdir "$TMP/empty" "$TMP/notastore"; echo x >"$TMP/notastore/x"; echo x >"$TMP/file"
check "a store" again ds mirror "maildir:$TMP/md"
check "another" again ds mirror "dsyncfs:$TMP/second"
before=$(files "$TMP/md" "$TMP/other" "$TMP/second" "$TMP/store" "$TMP/empty")
check "a store is there" of 0 "it can be opened" "dsyncfs:$TMP/second"
check "a Maildir is there" of 0 "it can be opened" "maildir:$TMP/md"
check "one without a sidecar" of 0 "it can be opened" "maildir:$TMP/other"
check "an empty directory" of 0 "it can be opened" "dsyncfs:$TMP/empty"
check "a store that will be made" of 0 "a sync will make it" "dsyncfs:$TMP/new"
check "a Maildir, too" of 0 "a sync will make it" "maildir:$TMP/new"
check "where nothing can be made" of 1 "no such directory" "dsyncfs:$TMP/no/where"
check "nor a Maildir" of 1 "does not exist" "maildir:$TMP/no/where"
check "what is none" of 1 "" "dsyncfs:$TMP/notastore"
check "a file" of 1 "not a directory" "dsyncfs:$TMP/file"
check "the first location itself" of 78 "$TMP/conf:3: this is the first location itself" "dsyncfs:$STORE"
equal "nothing has been changed" "$before" "$(files "$TMP/md" "$TMP/other" "$TMP/second" "$TMP/store" "$TMP/empty")"
check_not "or made" test -e "$TMP/new"
if [ "$(id -u)" = 0 ]; then
	mkdir "$TMP/theirs"; maildir_new "$TMP/theirs/md"; chmod 755 "$TMP/theirs" "$HOME" "$TMP/theirs/md"; chmod 644 "$TMP/conf"
	check "one that may not be written" of 77 "may not be written" "maildir:$TMP/theirs/md" -u nobody -o "mail_location=dsyncfs:$TMP/none"
	chmod 700 "$TMP/theirs/md"
	check "one that may not be read" of 77 "" "maildir:$TMP/theirs/md" -u nobody -o "mail_location=dsyncfs:$TMP/none"
fi
check "a store is mounted" mount_store "$TMP/second" "$MNT"
check "its mount has it" of 0 "a running mount has it" "dsyncfs:$TMP/second"
check "it ends" umount_store "$TMP/second" "$MNT"
check "the first is mounted" mount_store "$STORE" "$MNT"
check "that is no hindrance" of 0 "it can be opened" "dsyncfs:$TMP/second"
check "it ends" umount_store "$STORE" "$MNT"

# ---- commands ----
script far <<<"#!/bin/sh
echo this is it >>$TMP/called
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$TMP/far \"\$@\""
check "a far store" again ds mirror "$TMP/bin/far" dsync-server
before=$(files "$TMP/far")
check "it answers" of 0 "a dsyncfs answers" "$TMP/bin/far dsync-server"
equal "nothing has been changed there, and nothing noted" "$before" "$(files "$TMP/far")"
check "a far mount" mount_store "$TMP/far" "$MNT"
check "it answers, too" of 0 "a dsyncfs answers" "$TMP/bin/far dsync-server"
check_not "and has nobody to show" says "status 75" "$TMP/bin/far" status
check "it ends" umount_store "$TMP/far" "$MNT"
dovecot_conf box "sdbox:$TMP/box"
: >"$TMP/dovecot/box/log"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
script dovecot <<<"#!/bin/sh
export USER=mail HOME=$TMP/dovecot/box/home
exec $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf dsync-server"
check "a Dovecot with mail" again ds mirror "$TMP/bin/dovecot" dsync-server
before=$(doveadm_dump box; files "$TMP/box")
: >"$TMP/dovecot/box/log"
check "it answers" of 0 "a Dovecot (dsync) answers" "$TMP/bin/dovecot dsync-server"
equal "nothing has been changed there" "$before" "$(doveadm_dump box; files "$TMP/box")"
equal "it has no complaint" "" "$(cat "$TMP/dovecot/box/log")"
check "no such program" of 69 "not found|no such|cannot" "/nonexistent/server dsync-server"
check "one that fails" of 75 "status 3" "sh -c 'exit 3'"
check "one that ends without a word" of 75 "ended before a dsync server has answered" "sh -c 'exit 0'"
check "one that says something else" of 69 "no dsync; it says 'hello'" "sh -c 'echo hello; cat >/dev/null'"
check "one that is silent" of 75 "no dsync server has answered for 1 s" "sh -c 'cat >/dev/null; true'" -T 1
check "one that says the same as we" of 75 "no dsync server has answered for 1 s" "sh -c 'cat; true'" -T 1
mkfifo "$TMP/open"
"$TMP/bin/far" -l 20 dsync-server <"$TMP/open" >/dev/null 2>&1 & background+=($!)
exec 7>"$TMP/open"
is_busy() { "$SYNC" -o "mail_location=dsyncfs:$TMP/far" mailboxes >/dev/null 2>&1; [ $? = 75 ]; }
within 10 is_busy
LINES_AT_MOST=2 check "one whose store is busy" of 75 "busy|owned|in use" "$TMP/bin/far dsync-server"
exec 7>&-
within 10 not is_busy
check "a form that is none" eval 'conf imap://host/; try; [ $? = 78 ]'

# ---- tcp ----
check "a port where nobody listens" of 69 "cannot reach" "tcp:127.0.0.1:1"
python3 -c '
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(5)
print(s.getsockname()[1], flush=True)
time.sleep(600)' >"$TMP/port" & background+=($!)
within 10 test -s "$TMP/port"
took() { local start=$SECONDS; "$@" || return; [ $((SECONDS - start)) -le 15 ] || { echo "took $((SECONDS - start)) s"; return 1; }; }
check "one who says nothing" took of 75 "does not answer" "tcp:127.0.0.1:$(cat "$TMP/port")" -T 2

# ---- ssh ----
host_up main ed25519 "SetEnv PATH=$TMP/path:/usr/bin:/bin"
port[nobody]=$(free_port)
cat >"$TMP/path/dsyncfs-sync" <<C
#!/bin/sh
exec $TMP/bin/far "\$@"
C
chmod 755 "$TMP/path/dsyncfs-sync"
cat >"$TMP/path/ssh" <<C
#!/bin/sh
exec $(command -v ssh) -F $TMP/ssh_config "\$@"
C
chmod 755 "$TMP/path/ssh"
PATH=$TMP/path:$PATH
{
	printf 'Host there\nPort %s\nHost nobody\nPort %s\n' "${port[main]}" "${port[nobody]}"
	cat <<-C
		Host *
		User $(id -un)
		HostName 127.0.0.1
		IdentitiesOnly yes
		IdentityFile $K/id
		UserKnownHostsFile $TMP/known_hosts
		GlobalKnownHostsFile none
		GSSAPIAuthentication no
	C
} >"$TMP/ssh_config"
known() { echo "[127.0.0.1]:${port[main]} $(cut -d' ' -f1,2 "$K/host_$1.pub")" >"$TMP/known_hosts"; }
known ed25519
before=$(files "$TMP/far")
check "a host" of 0 "a dsyncfs answers" there
check "a host by ssh(1)" of 0 "a dsyncfs answers" "ssh there dsyncfs-sync dsync-server"
equal "nothing has been changed there" "$before" "$(files "$TMP/far")"
check "a host that is away" of 69 "nobody: cannot reach" nobody
LINES_AT_MOST=2 check "one without a server" of 69 "not found over there" there -o "dsync_remote_cmd=nothing-like-it"
known other
check "another host key" of 77 "HAS CHANGED" there
known ed25519

# ---- several ----
conf "maildir:$TMP/md" "tcp:127.0.0.1:1" there "dsyncfs:$TMP/no/where"
check_status "the worst of all" 1 try
equal "a line each" "$TMP/conf: nothing is wrong with it
remote a (maildir:$TMP/md): works: it can be opened
remote b (tcp:127.0.0.1:1): does not work: status 69
remote c (there): works: a dsyncfs answers
remote d (dsyncfs:$TMP/no/where): does not work: status 1" "$(try 2>/dev/null)"
calls=$(wc -l <"$TMP/called")
check "none is tried" try --no-connect
equal "really" "$TMP/conf: nothing is wrong with it" "$(try --no-connect 2>&1)"
equal "nobody was called" "$calls" "$(wc -l <"$TMP/called")"
echo "commit = never" >>"$TMP/conf"
check_status "nor with a mistake in the file" 78 try
equal "nobody was called" "$calls" "$(wc -l <"$TMP/called")"
conf there
sed -i "1a remote = maildir:$TMP/other" "$TMP/conf"
check "remote is tried, too" says "remote maildir:$TMP/other: works: it can be opened" try
sed -i "2s/.*/remote = a/" "$TMP/conf"
equal "once" "remote a (there): works: a dsyncfs answers" "$(try | sed 1d)"
finish
