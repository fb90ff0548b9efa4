#!/bin/bash
# mount_schedule -- a mount that syncs by itself: after bursts, with several remotes of which one is away, with one that hangs, when told;
# what it says of that; and what it says when it ends.
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
FAR=$TMP/far-store COPY=$TMP/copy
mkdir -p "$TMP/bin" "$XDG_CONFIG_HOME/dsyncfs"
CONF=$XDG_CONFIG_HOME/dsyncfs/dsyncfs.conf
script far <<<"#!/bin/sh
echo x >>$TMP/calls
[ ! -e $TMP/away ] || { echo 'the cable is out' >&2; exit 1; }
[ ! -e $TMP/hang ] || exec sleep 1000
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$FAR \"\$@\""
: >"$TMP/calls"
# WORD: from now on the far side is away, or hangs; whoever is there is not any more.
cut() {
	touch "$TMP/$1"
	pkill -f "mail_location=dsyncfs:$FAR dsync-server"
	return 0
}
has() { dump "$1" | grep -q "$2"; }
status_says() { grep -q "$1" "$MNT/.dsyncfs/status"; }
# What the section of REMOTE says, without dates.
section() { sed -n "/^  remote $1:/,/^  remote /p" "$MNT/.dsyncfs/status" | sed '1p;/^  remote/d'; }
section_says() { section "$1" | grep -q "$2"; }

cat >"$CONF" <<-C
	mail_location = dsyncfs:$STORE
	metrics_file = $TMP/metrics
	post_sync_command = cat >>$TMP/hooked; echo >>$TMP/hooked; cat $MNT/.dsyncfs/status >>$TMP/hooked
	remote far {
		location = $TMP/bin/far dsync-server
		sync = push
	}
	remote copy {
		location = maildir:$COPY
		mode = backup
		sync = 1s
	}
	remote never {
		location = maildir:$TMP/never
	}
C
maildir_new "$COPY"
mount_by_config() { mkdir -p "$MNT"; timeout 20 "$MOUNT" "$MNT" 2>&1 </dev/null && mountpoint -q "$MNT"; }
check "the configuration's store is mounted" mount_by_config
deliver_one "$MNT" 1700000501.M1.a first
check "a delivery is pushed" within 30 has "dsyncfs:$FAR" 1700000501.M1.a
check "and backed up" within 30 has "maildir:$COPY" 1700000501.M1.a
check_not "what is manual is left alone" test -e "$TMP/never"
check "status says how" status_says "remote far: mirror, push"
check "of each" status_says "remote copy: backup, every 1 s"
check "also the manual one" status_says "remote never: mirror, manual"
check "and when" within 30 section_says far "last success: 20"
json_says() { "$SYNC" --json status | grep '"event":"remote"' | grep -q "$1"; }
check "also as JSON" json_says '"remote":"copy","mode":"backup","sync":"1","syncing":'
check "the command says the same" says "remote far: mirror, push" "$SYNC" status
for i in 1 2 3 4 5; do deliver_one "$MNT" "170000051$i.M1.a" "burst$i"; done
check "a burst is pushed" within 30 has "dsyncfs:$FAR" 1700000515.M1.a
same_dumps() { [ "$(dump "dsyncfs:$STORE")" = "$(dump "dsyncfs:$FAR")" ]; }
check "both say the same" within 30 same_dumps
before=$(wc -l <"$TMP/calls")
for i in $(seq 20); do ls "$MNT/new" >/dev/null; sleep 0.1; done
equal "nothing to push, no call" "$before" "$(wc -l <"$TMP/calls")"

# ---- what comes ----
SIDE=$TMP/side
maildir_new "$SIDE"
mail "$SIDE" 41
mkdir -p "$SIDE/.Work"/{cur,new,tmp}
mail "$SIDE/.Work" 42
check_not "what went out is no change here" test -e "$TMP/hooked"
check "mail comes by a command" again "$SYNC" mirror "maildir:$SIDE"
hooked() { grep -qx "$1" "$TMP/hooked"; }
check "the hook is told of one mailbox" within 30 hooked INBOX
check "and of the other" within 30 hooked Work
check "and can look at the mount" within 30 hooked "mountpoint $MNT"
check "without a mount too" "$SYNC" -o "mail_location=maildir:$TMP/second" -o "post_sync_command=cat >$TMP/hooked2" mirror "maildir:$SIDE"
check "it is told" grep -qx Work "$TMP/hooked2"
check "a hook that fails is told" says "ended with status 3" "$SYNC" -o "mail_location=maildir:$TMP/third" -o "post_sync_command=exit 3" \
	mirror "maildir:$SIDE"
metric() { grep -q "^$1" "$TMP/metrics"; }
check "figures are written" within 30 metric 'dsyncfs_last_status{remote="far"} 0$'
check "of when" within 30 metric 'dsyncfs_last_success_timestamp_seconds{remote="copy"} [1-9]'
check "of what waits" within 30 metric 'dsyncfs_waiting_changes{remote="far"} 0$'

# ---- one is away ----
cut away
deliver_one "$MNT" 1700000521.M1.a away
check "the error is told" within 30 section_says far "last error: status .*the cable is out"
check "also in figures" within 30 metric 'dsyncfs_failed_syncs_total{remote="far"} [1-9]'
check "what waits, too" within 30 metric 'dsyncfs_waiting_changes{remote="far"} [1-9]'
check "with the next try" within 30 section_says far "next try: 20"
check "what waits is told" within 30 section_says far "waiting: [1-9][0-9]* changes"
check "all of it as JSON" within 30 json_says '"remote":"far",.*"last_status":75,"last_error":".*the cable is out.*","next_try":[1-9][0-9]*,"waiting":[1-9]'
check "the other goes on" within 30 has "maildir:$COPY" 1700000521.M1.a
rm "$TMP/away"
check_not "it is not tried at once" has "dsyncfs:$FAR" 1700000521.M1.a
mounted_by_config() { pgrep -f "^$MOUNT_RUNS $MNT\$"; }
check "unless told" within 30 eval 'kill -USR1 $(mounted_by_config); has "dsyncfs:$FAR" 1700000521.M1.a'
check "no error any more" within 30 not section_says far "last error"

# ---- by hand ----
cut away
deliver_one "$MNT" 1700000525.M1.a flushed
check "flush says that it cannot" eval '"$SYNC" flush; [ $? = 75 ]'
( while [ ! -e "$TMP/waited" ]; do sleep 0.1; done; sleep 1; rm "$TMP/away" ) & background+=($!)
flush_and_wait() { touch "$TMP/waited"; timeout 60 "$SYNC" flush --wait; }
check "flush --wait waits" flush_and_wait
check "then all is there" has "dsyncfs:$FAR" 1700000525.M1.a
check "also where it is backed up to" has "maildir:$COPY" 1700000525.M1.a
check "no error any more" within 90 not section_says far "last error"

# ---- one hangs ----
before=$(wc -l <"$TMP/calls")
cut hang
deliver_one "$MNT" 1700000531.M1.a hung
called() { [ "$(wc -l <"$TMP/calls")" -gt "$before" ]; }
check "it is called" within 30 called
check "status shows what it does" within 30 section_says far "syncing since: 20"
many() { for i in $(seq 50); do deliver_one "$MNT" "17000006$i.M1.a" "while$i" || return 1; done; }
check "deliveries go on" timeout 60 bash -c "$(declare -f many deliver_one); MNT='$MNT' TMP='$TMP' MAIL='$MAIL'; many"
check "all are there" count_is "$MNT" 60
check "flags too" timeout 20 mv "$MNT/new/1700000531.M1.a" "$MNT/cur/1700000531.M1.a:2,S"
check "commands answer" timeout 20 "$SYNC" status
rm "$TMP/hang"
check "it ends all the same" timeout 60 fusermount3 -u "$MNT"
check "its process, too" within 60 not mounted_by_config

# ---- the end ----
cut away
foreground() { "$MOUNT" -f "$MNT" >"$TMP/out" 2>&1 </dev/null & background+=($!); within 20 mountpoint -q "$MNT" || { cat "$TMP/out"; return 1; }; }
check "in the foreground" foreground
deliver_one "$MNT" 1700000701.M1.a last
check "it is tried" within 30 section_says far "last error"
check "it ends" fusermount3 -u "$MNT"
check "and says what is not pushed" within 30 grep -q "far: [0-9]* changes have not been pushed yet" "$TMP/out"
finish
