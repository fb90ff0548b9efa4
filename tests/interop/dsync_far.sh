#!/bin/bash
# dsync_far -- a far dsyncfs-sync: by command line, by ssh through a throw-away sshd, by tcp; what the exit status says when it cannot
# be reached, dies, is cut off or is silent; and mounts on the near side, on the far side, and on both.
. "$(dirname "$0")/../real.sh"
needs python3 sshd ssh-keygen
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY
chmod 755 "$TMP"
mkdir -p "$TMP/bin"
FAR=$TMP/far-store
far_is() { script far <<<"#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=$1 \"\$@\""; }
far() { ds "$@" "$TMP/bin/far" dsync-server; }		# OPTIONS... COMMAND
same() { equal "$1" "$(dump "dsyncfs:$STORE")" "$(dump "${2:-dsyncfs:$FAR}")"; }
moved_no_mail() { ! grep -aq '^[IO]: M[^g]' "$1"; }
# STATUS WORDS COMMAND...: exits so, and one of its lines has the words
fails() {
	local want=$1 words=$2 text rc
	shift 2
	text=$("$@" 2>&1)
	rc=$?
	echo "$text"
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
	grep -qE -- "$words" <<<"$text" || { echo "does not say /$words/"; return 1; }
}

# ---- by command line ----
SIDE=$TMP/side
maildir_new "$SIDE"
for i in 1 2 3 4 5; do mail "$SIDE" $i S; done
mkdir -p "$SIDE/.Work"/{cur,new,tmp}
mail "$SIDE/.Work" 6 F
echo Work >"$SIDE/subscriptions"
check "the near store" again ds mirror "maildir:$SIDE"
far_is "dsyncfs:$FAR"
check "the far store is made" far mirror
same "both say the same"
check "a second run has nothing to do" far -r "$TMP/raw" mirror
check "and moves no mail" moved_no_mail "$TMP/raw"
check "the copy of the traffic is ours alone" test "$(stat -c %a "$TMP/raw")" = 600
check "one string is a command line too" ds mirror "'$TMP/bin/far' dsync-server"
check "the word dsync-server is added" ds mirror "$TMP/bin/far -v"
maildir_new "$TMP/side2"
check "a Maildir can be the far side" far_is "maildir:$TMP/side2"
check "mirror" again far mirror
same "both say the same" "maildir:$TMP/side2"
far_is "dsyncfs:$FAR"
mail "$SIDE" 7; again ds mirror "maildir:$SIDE" >/dev/null
check "one way" far -1 mirror
check "gives" grep -q 170000007.M7.test <(dump "dsyncfs:$FAR")
again far mirror
mail "$SIDE" 8; again ds mirror "maildir:$SIDE" >/dev/null
check "backup" far backup
same "both say the same"
compares() { [[ $(far -v "${@:2}" backup 2>&1) == *"mailboxes: $1 compared"* ]]; }
check "a second backup compares no mailbox" compares 0
check "unless told" compares 2 -f
want=$(dump "dsyncfs:$FAR")
mail "$SIDE" 9; again ds mirror "maildir:$SIDE" >/dev/null
check "backup -R" again far -R backup
equal "the source is as it was" "$want" "$(dump "dsyncfs:$FAR")"
equal "and the destination like it, but for UIDs that were used" "$(sed 's/ uidnext=.*//' <<<"$want")" \
	"$(dump "dsyncfs:$STORE" | sed 's/ uidnext=.*//')"
check "--json has a summary" says '"event":"summary","status":0' far --json mirror
check "status names the peer" says "peer $TMP/bin/far dsync-server" ds status
cat >"$TMP/remotes.conf" <<-C
	remote there {
	  location = $TMP/bin/far dsync-server
	}
C
check "a remote section" ds -c "$TMP/remotes.conf" mirror there
check "flush" ds -c "$TMP/remotes.conf" -o remote=there flush
check "dsync-server says nothing but dsync" eval '[ "$("$TMP/bin/far" dsync-server </dev/null 2>/dev/null | head -1)" = "VERSION	dsync	3	5" ]'
check "and fails when its peer is gone" fails 75 "ended before" "$TMP/bin/far" dsync-server </dev/null

# ---- what the exit status says ----
check "no such program" fails 69 "no such|not found|cannot" ds mirror /nonexistent/server dsync-server
check "a program that fails" fails 75 "status 3" ds mirror sh -c "exit 3"
check "one that is killed" fails 75 "signal 9" ds mirror sh -c 'kill -9 $$'
check "one that speaks something else" fails 1 "" ds mirror sh -c 'echo hello; cat'
check "one that is silent" fails 75 "silent for 1 s" ds -T 1 mirror sh -c 'cat >/dev/null; true'
check "a port where nobody listens" fails 69 "cannot reach" ds mirror tcp:127.0.0.1:1
check "a host that is not there" fails 69 "address" ds mirror tcp:nowhere.invalid:12345
check "a port that is none" fails 64 "port" ds mirror tcp:localhost:x
printf 'remote x {\nlocation = tcp:localhost\n}\n' >"$TMP/port.conf"
check "the same in a configuration" fails 78 "port" ds -o remote=tcp:localhost -c "$TMP/port.conf" mirror x
check "imap is told apart" fails 64 "an IMAP server" ds mirror imap://user@host/
check "the first location is near" fails 64 "has to be on this machine" "$SYNC" -o mail_location=host.example mirror "maildir:$SIDE"
check "verify needs a near one" fails 64 "far side" ds verify host.example
# the far store is owned by a third program
mkfifo "$TMP/open"
"$TMP/bin/far" -l 20 dsync-server <"$TMP/open" >/dev/null 2>&1 &
holder=$!
background+=($holder)
exec 7>"$TMP/open"
within 10 fails 75 "" "$SYNC" -o "mail_location=dsyncfs:$FAR" mailboxes
check "a far store that is busy" fails 75 "busy|owned|in use" far mirror
exec 7>&-
wait $holder
check "and free again" within 10 far mirror
# cut in the middle of a long sync
mkdir -p "$TMP/many"/{cur,new,tmp}
for i in $(seq 1 300); do mail "$TMP/many" 9$i; done
ds mirror "maildir:$TMP/many" >/dev/null; ds mirror "maildir:$TMP/many" >/dev/null
script cutter <<C
#!/bin/sh
# what comes from the near side ends after 30 kB
python3 -c '
import os
left = 30000
while left > 0:
    some = os.read(0, left)
    if not some: break
    left -= len(some)
    while some: some = some[os.write(1, some):]
' | $TMP/bin/far dsync-server
C
check "cut in the middle" fails 75 "" ds -T 20 mirror "$TMP/bin/cutter" dsync-server
check "the next run finishes" again far mirror
same "without a loss"
equal "or a duplicate" "" "$(dump "dsyncfs:$FAR" | grep -o 'guid=[^ ]*' | sort | uniq -d)"

# ---- by ssh ----
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd	# a fixed name in sshd
for k in host other id; do ssh-keygen -q -t ed25519 -N '' -f "$TMP/$k"; done
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$TMP/sshd" <<C
ListenAddress 127.0.0.1:$PORT
HostKey $TMP/host
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AuthorizedKeysFile $TMP/id.pub
SetEnv PATH=$TMP/bin:/usr/bin:/bin
C
"$(command -v sshd)" -D -e -f "$TMP/sshd" 2>"$TMP/sshd.log" &
background+=($!)
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
check "sshd answers" wait_for answers "$PORT"
known() { echo "[127.0.0.1]:$PORT $(cut -d' ' -f1,2 "$TMP/$1.pub")" >"$TMP/known_hosts"; }
known host
cat >"$TMP/ssh_config" <<C
Host *
User $(id -un)
HostName 127.0.0.1
Port $PORT
IdentitiesOnly yes
IdentityFile $TMP/id
UserKnownHostsFile $TMP/known_hosts
GlobalKnownHostsFile none
BatchMode yes
C
script dsyncfs-sync <<C
#!/bin/sh
echo "\$*" >$TMP/called
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR dsync-server
C
by_ssh() { ds "${@:1:$#-1}" "${@: -1}" ssh -F "$TMP/ssh_config" there dsyncfs-sync dsync-server; }
mail "$SIDE" 10; again ds mirror "maildir:$SIDE" >/dev/null
check "a command line with ssh" again by_ssh mirror
same "both say the same"
mkdir -p "$HOME/.ssh"; cp "$TMP/ssh_config" "$HOME/.ssh/config"; chmod 600 "$HOME/.ssh/config"
mail "$SIDE" 11; again ds mirror "maildir:$SIDE" >/dev/null
REAL_HOME=$(getent passwd "$(id -un)" | cut -d: -f6)
host() { ds -o "dsync_remote_cmd=ssh -F $TMP/ssh_config %{host} dsyncfs-sync dsync-server -u%u" "$@"; }
check "USER@HOST, with Dovecot's dsync_remote_cmd" again host mirror somebody@there
equal "USER is the far side's -u" "dsync-server -usomebody" "$(cat "$TMP/called")"
same "both say the same"
check "HOST alone" host mirror there
equal "has no -u" "dsync-server" "$(cat "$TMP/called")"
known other
check "another host key" fails 77 "[Hh]ost key" host mirror there
known host

# ---- mounts ----
FARMNT=$TMP/farmnt
within 10 store_is_free "$STORE"
check "the far store is mounted" mount_store "$FAR" "$FARMNT"
before=$(count "$FARMNT")
mail "$SIDE" 12; again ds mirror "maildir:$SIDE" >/dev/null
check "mirror with a mounted far side" again far mirror
check "its mail is in the mount" has_mail "$FARMNT" "body 12"
equal "one more" $((before + 1)) "$(count "$FARMNT")"
deliver_one "$FARMNT" 1700000400.M1.far fromfarmount
check "and what was delivered there" again far mirror
check "is here" grep -q 1700000400.M1.far <(dump "dsyncfs:$STORE")
check "the near store is mounted" mount_store "$STORE" "$MNT"
deliver_one "$MNT" 1700000401.M1.near fromnearmount
check "both mounted: mirror" again far mirror
check "near mail is in the far mount" has_mail "$FARMNT" fromnearmount
f=$(mail_of "$FARMNT" fromnearmount)
mv "$f" "$FARMNT/cur/1700000401.M1.near:2,FS"
check "a flag set there" again far mirror
check "shows here without remount" has_flag "$MNT" fromnearmount F
same "both say the same"
check "status names the peer" says "peer $TMP/bin/far dsync-server" ds status
check "a program from here, run by the mount" eval 'cd "$TMP" && again ds mirror bin/far dsync-server'
check "in one word" eval 'cd "$TMP" && again ds mirror "./bin/far dsync-server"'
# the same without a command: one mount calls the other
deliver_one "$MNT" 1700000411.M1.near calledout
deliver_one "$FARMNT" 1700000412.M1.far calledin
check "both mounted: a plan" ds --dry-run mirror "dsyncfs:$FAR"
check_not "does nothing" has_mail "$FARMNT" calledout
check "both mounted: mirror by location" again ds mirror "dsyncfs:$FAR"
check "near mail is in the far mount" has_mail "$FARMNT" calledout
check "far mail is in the near mount" has_mail "$MNT" calledin
same "both say the same"
check "a mount is no second location of its own" fails 64 "first location itself" ds mirror "dsyncfs:$STORE"
check "the near mount ends" umount_store "$STORE" "$MNT"
SIDE3=$TMP/side3
maildir_new "$SIDE3"
mail "$SIDE3" 31
check "one way into a mount" "$SYNC" -o "mail_location=maildir:$SIDE3" -1 mirror "dsyncfs:$FAR"
check "its mail is there" has_mail "$FARMNT" "body 31"
check "the near store is mounted again" mount_store "$STORE" "$MNT"
check "and takes it" again ds mirror "dsyncfs:$FAR"
check "what the far side lacks is said" fails 69 "no such|not found|cannot" ds mirror /nonexistent/server dsync-server
check "the copy of the traffic of a mount" eval 'cd "$TMP" && far -r raw2 mirror && test -s raw2'
check "the near mount alone" umount_store "$FAR" "$FARMNT"
deliver_one "$MNT" 1700000402.M1.near second
check "mirror" again far mirror
check "went there" grep -q 1700000402.M1.near <(dump "dsyncfs:$FAR")
check "the mounts end" umount_store "$STORE" "$MNT"
check "a mount that mirrors by itself" mount_store "$STORE" "$MNT" "remote=$TMP/bin/far dsync-server,sync=1"
deliver_one "$MNT" 1700000403.M1.near third
arrived() { dump "dsyncfs:$FAR" | grep -q 1700000403.M1.near; }
check "gives what is delivered" within 15 arrived
check "and ends" umount_store "$STORE" "$MNT"
script grumbler <<<"#!/bin/sh
printf 'one thing\nand another\n' >&2
exec $TMP/bin/far \"\$@\""
check "the far side says things to a mount that mirrors by itself" \
	mount_store "$STORE" "$MNT" "remote=$TMP/bin/grumbler dsync-server,sync=1"
deliver_one "$MNT" 1700000404.M1.near fourth
arrived() { dump "dsyncfs:$FAR" | grep -q 1700000404.M1.near; }
check "and has the mail" within 15 arrived
check "the mount lives on" test -e "$MNT/new/1700000404.M1.near"
check "and ends" umount_store "$STORE" "$MNT"

# What the far side's own configuration says is not for us to say.
printf 'mail_location = dsyncfs:%s\n' "$TMP/guarded" >"$TMP/guarded.conf"
cp "$TMP/guarded.conf" "$TMP/firm.conf"
echo 'max_delete = 50%' >>"$TMP/firm.conf"
chmod 600 "$TMP/guarded.conf" "$TMP/firm.conf"
GUARD=$TMP/guard
maildir_new "$GUARD"
for i in $(seq 51 80); do mail "$GUARD" "$i"; done
to_guarded() { "$SYNC" -o "mail_location=maildir:$GUARD" mirror "${@:2}" -- "$SYNC" -c "$TMP/$1.conf" dsync-server; }
check "thirty mails go there" again to_guarded firm
find "$GUARD/cur" "$GUARD/new" -type f | head -25 | xargs rm
check "most of them are gone here: not without a word" status 4 to_guarded firm
check "nor with one, where the far side says so" status 4 to_guarded firm --no-max-delete
equal "all are there" 30 "$(dump "dsyncfs:$TMP/guarded" | grep -c sha1=)"
check "where it does not, they go" again to_guarded guarded --no-max-delete
equal "five are left" 5 "$(dump "dsyncfs:$TMP/guarded" | grep -c sha1=)"
finish
