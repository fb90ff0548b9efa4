#!/bin/bash
# mount_sync -- what a sync changes under a running mount: programs that watch it with inotify are told of each name that comes, changes
# and goes, neomutt shows it in its open folder, and nothing of that is taken for a change of the mount's own.  Far sides are a dsyncfs and
# a Dovecot.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs inotifywait neomutt notmuch mu tmux python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
chmod 755 "$TMP"
mkdir "$TMP/bin"
T="tmux -L dsyncfs-$$ -f /dev/null"
on_exit "$T kill-server 2>/dev/null"
on_exit "kill \$(cat $TMP/watchers) 2>/dev/null"
FAR=$TMP/far-store SIDE=$TMP/side

# ---- the far sides ----
# here: what the far side has changed comes through the mount.
script dsyncfs <<<"#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR \"\$@\""
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
dovecot_conf box "maildir:$TMP/box"
: >"$TMP/dovecot/box/log"
script dovecot <<C
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
here() { again ds mirror "$TMP/bin/$far" dsync-server; }
far_side() { again "$SYNC" -o "mail_location=dsyncfs:$FAR" mirror "maildir:$SIDE"; }
# put_dsyncfs FOLDER NAME TEXT, and so on: done on the far side; NAME is the base name there
put_dsyncfs() { mkdir -p "$SIDE/$1"/{cur,new,tmp}; $MAIL one "$3" >"$SIDE/$1/new/$2"; far_side; }
seen_dsyncfs() { mv "$SIDE/new/$1" "$SIDE/cur/$1:2,S"; far_side; }
flag_dsyncfs() { mv "$SIDE/cur/$1:2,S" "$SIDE/cur/$1:2,FS"; far_side; }
gone_dsyncfs() { rm "$SIDE/cur/$1:2,"*; far_side; }
put_dovecot() { $MAIL one "$3" | da box save -m "${1:-INBOX}"; }
uid_of() { da box search mailbox INBOX header subject "$1" | cut -d' ' -f2; }
by_uid() { da box "$@"; }
seen_dovecot() { by_uid flags add '\Seen' mailbox INBOX header subject "$2"; }
flag_dovecot() { by_uid flags add '\Flagged' mailbox INBOX header subject "$2"; }
gone_dovecot() { by_uid expunge mailbox INBOX header subject "$2"; }

# ---- watching ----
EVENTS=$TMP/events
watch() {
	: >"$EVENTS"
	inotifywait -m -r --format '%e %w%f' "$MNT" >"$EVENTS" 2>"$TMP/watch.err" &
	echo $! >>"$TMP/watchers" # this may be a subshell
	disown
	within 10 grep -q "Watches established" "$TMP/watch.err"
}
# Words of a line of what was watched: the event, and the path below the mount.
saw() { grep -qE "^$1 $MNT/$2\$" "$EVENTS"; }
mtime() { stat -c %y "$MNT/$1"; }
base_of() { local f; f=$(mail_of "$1" "$2"); f=${f##*/}; echo "${f%%:*}"; }

told() {	# KIND PART: dsyncfs or dovecot; where a mail is that was read but never selected
	local n=$1 part=$2 before name ino
	far=$1
	STORE=$TMP/$n.store MNT=$TMP/$n.mnt
	check "$n: the far side has mail" put_$far "" 1700000000.M1.test "$n-first"
	check "$n: the store is mounted" mount_store "$STORE" "$MNT"
	check "$n: mirror" here
	check "$n: watched" watch
	before=$(mtime new)
	check "$n: mail comes there" put_$far "" 1700000001.M2.test "$n-second"
	check "$n: mirror" here
	name=$(base_of "$MNT" "$n-second")
	check "$n: its coming is told" within 10 saw MOVED_TO "(\./)?new/$name"
	check_not "$n: new/ has another time" test "$before" = "$(mtime new)"
	ino=$(stat -c %i "$MNT/new/$name")
	check "$n: what is told can be read at once" grep -q "Body of $n-second" "$MNT/new/$name"
	before=$(mtime $part)
	check "$n: it is read there" seen_$far 1700000001.M2.test "$n-second"
	check "$n: mirror" here
	check "$n: its name says so" test -e "$MNT/$part/$name:2,S"
	check "$n: the old name goes" within 10 saw MOVED_FROM "(\./)?new/$name"
	check "$n: and becomes the new one" within 10 saw MOVED_TO "(\./)?$part/$name:2,S"
	check_not "$n: $part/ has another time" test "$before" = "$(mtime $part)"
	equal "$n: it is the same file" "$ino" "$(stat -c %i "$MNT/$part/$name:2,S")"
	check "$n: it is flagged there" flag_$far 1700000001.M2.test "$n-second"
	check "$n: mirror" here
	check "$n: another name again" within 10 saw MOVED_TO "(\./)?$part/$name:2,FS"
	before=$(mtime $part)
	check "$n: it is expunged there" gone_$far 1700000001.M2.test "$n-second"
	check "$n: mirror" here
	check "$n: its end is told" within 10 saw DELETE "(\./)?$part/$name:2,FS"
	check_not "$n: the name is gone" test -e "$MNT/$part/$name:2,FS"
	check_not "$n: $part/ has another time" test "$before" = "$(mtime $part)"
	check "$n: a message was never deleted twice" test "$(grep -cE "^DELETE .*/(new|cur)/" "$EVENTS")" = 1
	equal "$n: none of it is the mount's own doing" "" "$(ds log | awk '$3 == "mount" && / (save|flags|expunge)/')"
	check "$n: nothing is left to do" ds mirror "$TMP/bin/$far" dsync-server
}

# notmuch and mu go by the times of directories.
indexed() {
	far=dsyncfs
	export NOTMUCH_CONFIG=$HOME/notmuch-config
	printf '[database]\npath=%s\n[new]\nignore=.dsyncfs;dovecot-keywords;subscriptions\n' "$MNT" >"$NOTMUCH_CONFIG"
	# It goes by seconds, on any file system: what comes in the second of its look it misses.
	mu_index() { mu index --quiet --lazy-check --muhome="$HOME/mu" && indexed_at=$(date +%s) && within 5 eval '[ "$(date +%s)" -gt $indexed_at ]'; }
	mu_finds() { [ "$(mu find --muhome="$HOME/mu" --fields=l subject:indexed 2>/dev/null)" = "$1" ]; }
	check "notmuch new" notmuch new
	check "mu init" mu init --muhome="$HOME/mu" --maildir="$MNT"
	check "mu index" mu_index
	check "mail comes" put_dsyncfs "" 1700000005.M5.test indexed
	check "mirror" here
	check "notmuch new finds it" grep -q "Added 1 new message" <(notmuch new 2>&1)
	check "mu index --lazy-check" mu_index
	check "mu finds it" mu_finds "$MNT/new/1700000005.M5.test"
	check "it is read" seen_dsyncfs 1700000005.M5.test
	check "mirror" here
	check "notmuch new sees a rename" grep -qi "1 file rename" <(notmuch new 2>&1)
	check "mu index --lazy-check" mu_index
	# and under the old name too, as long as that can be opened (stale_names)
	check "mu knows where it is" grep -qx "$MNT/cur/1700000005.M5.test:2,S" \
		<(mu find --muhome="$HOME/mu" --fields=l subject:indexed)
	check "it goes" gone_dsyncfs 1700000005.M5.test
	check "mirror" here
	check "notmuch new sees it" grep -qi "Removed 1 message" <(notmuch new 2>&1)
	check "mu index --lazy-check" mu_index
	check "mu finds it no more" mu_finds ""
}

told dsyncfs cur
equal "dsyncfs: both say the same" "$(dump "dsyncfs:$STORE")" "$(dump "dsyncfs:$FAR")"
indexed
check "a folder with mail" put_dsyncfs .Work 1700000002.M3.test third
check "comes" here
check "watched anew" watch
check "more mail in it" put_dsyncfs .Work 1700000003.M4.test fourth
check "comes" here
check "and is told" within 10 saw MOVED_TO "\.Work/new/$(base_of "$MNT/.Work" fourth)"
for i in $(seq 700); do mail "$SIDE" "9$i"; done
check "much mail comes at once" far_side
check "with a mirror" here
# Of more than 512 a second the rest is told together; a slow machine does not get that far.
woken() { saw "ATTRIB,ISDIR" "(\./)?new/?" || [ "$(grep -c "^MOVED_TO .*new/170000009" "$EVENTS")" -gt 512 ]; }
check "those that watch are woken up" within 20 woken
check "all of it is there" test "$(count "$MNT")" -ge 700
check_not "the way to a message by its number is the helper's" test -e "$MNT/.dsyncfs/message-$(stat -c %i "$(mail_of "$MNT" "mail 91")")"
equal "nothing is the mount's own doing" "" "$(ds log | awk '$3 == "mount" && / (save|flags|expunge)/')"
check "it ends" umount_store "$STORE" "$MNT"
# For Dovecot a mail is new until a client has selected its mailbox.
told dovecot new
script slave <<<"#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$STORE \"\$@\""
$MAIL one pushed | da box save -m INBOX
check "dovecot pushes into the mount" again da box sync "$TMP/bin/slave"
check "that is told too" within 10 saw MOVED_TO "(\./)?new/$(base_of "$MNT" pushed)"
equal "dovecot: both say the same" "$(doveadm_dump box)" "$(dump "dsyncfs:$STORE")"
check "dovecot: no complaint" not grep -E 'Error|Panic|Fatal' "$TMP/dovecot/box/log"

# ---- neomutt ----
# mail_check and timeout are so long that only inotify can wake it up.
cat >"$HOME/muttrc" <<C
set folder=$MNT spoolfile=$MNT mbox_type=Maildir record="" postponed=""
set move=no delete=yes wait_key=no sleep_time=0 quit=yes
set mail_check=1000 timeout=1000 mark_old=no beep=no sort=mailbox-order check_new=yes
set realname=Ann from=ann@example.org index_format="%2C %Z %s"
mailboxes $MNT
bind index q quit
C
screen() { $T capture-pane -p -t mail; }
shows() { screen | grep -qE -- "$1"; }
$T new-session -d -s mail -x 100 -y 30 "env HOME=$HOME TERM=screen neomutt -n -F $HOME/muttrc -f $MNT"
check "neomutt opens the folder" within 20 shows "dovecot-first"
mutt_shows() {	# NAME PATTERN
	check "$1" within 20 shows "$2"
	shows "$2" || screen | sed 's/^/    | /'
}
arrives() { put_dovecot "" "" "$1"; here >/dev/null 2>&1; }
# What comes while neomutt opens the folder it misses until the next, on any file system.
for n in 1 2 3 4; do
	arrives "early-$n"
	! within 3 shows "early-$n" || break
done
mutt_shows "neomutt shows mail that comes by a sync" 'early-1'
for n in 1 2; do
	arrives "arrives-$n"
	mutt_shows "and mail $n after that" "arrives-$n"
done
flag_dovecot "" arrives-1; here >/dev/null 2>&1
mutt_shows "and a flag" '! *arrives-1'
gone_dovecot "" arrives-2; here >/dev/null 2>&1
mutt_shows "and its end" 'D. *arrives-2'
check "neomutt lives" shows "arrives-1"
$T send-keys -t mail x
check "it ends" within 10 not $T has-session -t mail

# ---- what a mount may not open itself ----
SIDE=$TMP/verify-md
check "a Maildir" ds mirror "maildir:$SIDE"
check "is compared" says "0 differences" ds verify "maildir:$SIDE"
f=$(messages "$SIDE" | head -1)
rm "$f"
check "what differs is told, with status 1" status 1 ds verify "maildir:$SIDE"
check "by both names" says "dsyncfs:$STORE: INBOX" ds verify "maildir:$SIDE"
check "the other way round, too" status 1 "$SYNC" -o "mail_location=maildir:$SIDE" verify "dsyncfs:$STORE"
check "one that is not there" status 1 ds verify "maildir:$TMP/no/where"
check "the copy of the traffic is the caller's file" eval 'ds -r "$TMP/raw" mirror "maildir:$SIDE" && grep -q "^I: VERSION" "$TMP/raw" && grep -q "^O: VERSION" "$TMP/raw"'
check "a dry run makes nothing" ds --dry-run mirror "maildir:$TMP/verify-none"
check_not "really" test -e "$TMP/verify-none"
check "a source that is missing is none" status 1 ds backup --reverse "maildir:$TMP/verify-none"
check_not "and is not made" test -e "$TMP/verify-none"

check "the mount ends" umount_store "$STORE" "$MNT"
finish
