#!/bin/bash
# mirror_dovecot -- a store, mounted and not, is mirrored and backed up with a
# Maildir of both layouts, and a real Dovecot judges the Maildir: its doveadm and
# `dsyncfs-sync dump` have to say the same of every message.
#
#	mirror_dovecot.sh [LAYOUT]	one of maildir++ fs; both without
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
needs python3

store_dump() { ds dump --no-modseqs | sed 's/ highestmodseq=[0-9]*//'; }
same() { equal "$n: $1" "$(store_dump)" "$(doveadm_dump box)"; }
clean() { check "$n: $1" not grep -E 'Error|Panic|Warning|Broken|Corrupt' "$TMP/dovecot/box/log"; }
# A mirror that changes nothing: exit 0, no new line in the log, the Maildir as it was.
idle() {
	local log files
	log=$(ds log) files=$(find "$FAR" -printf '%P %i %T@ %s\n' | grep -v dsyncfs | sort)
	check "$n: $1: the next mirror ends with 0" ds mirror "$LOC"
	equal "$n: $1: it put nothing in the log" "$log" "$(ds log)"
	equal "$n: $1: it touched nothing in the Maildir" "$files" "$(find "$FAR" -printf '%P %i %T@ %s\n' | grep -v dsyncfs | sort)"
	check "$n: $1: -f finds nothing to do" ds -f mirror "$LOC"
	equal "$n: $1: nothing in the log" "$log" "$(ds log)"
	check "$n: $1: status has the peer" grep -qF "$FAR" <(ds status)
}

fill_by_mount() {
	check "$n: mount" mount_store "$STORE" "$MNT"
	$MAIL maildir "$TMP/$n.src" 40
	rsync -a --exclude=/tmp "$TMP/$n.src/" "$MNT/"
	printf 'V\t2\n\nWork\nArchive\t2024\n' >"$MNT/subscriptions.new" && mv "$MNT/subscriptions.new" "$MNT/subscriptions"
}

first_mirror() {
	check "$n: the first mirror, through the mount" ds mirror "$LOC"
	same "Dovecot says of the Maildir what the store says"
	clean "Dovecot has no complaint"
	equal "$n: all forty are there" 40 "$(doveadm_dump box | grep -c sha1=)"
	idle "first"
}

change_there() {
	local u
	u=$(da box -f flow fetch uid mailbox Work all | head -1 | cut -d= -f2) &&
	da box flags add '\Seen \Answered' mailbox INBOX 1:4 &&
	da box flags remove '\Flagged' mailbox INBOX 1:4 &&
	da box flags add 'Junk lab-a' mailbox Work all &&
	$MAIL one there1 | da box save -m INBOX &&
	$MAIL one there2 | lda box -m Lists/New &&
	da box expunge mailbox Work uid "$u" &&
	da box mailbox create -s Fresh &&
	da box mailbox rename Archive/2024 Archive/Old &&
	da box mailbox subscribe Archive/Old &&
	da box copy Fresh mailbox INBOX 2 &&
	da box move Fresh mailbox INBOX 3
}

change_here() {
	local f d=$MNT
	f=$(messages "$d" | sort | tail -1)
	mv "$f" "$d/cur/$(basename "${f%:2,*}"):2,FS"
	deliver_one "$d" 1700000001.M1.here here1
	mkdir -p "$d/.Mine/cur" "$d/.Mine/new" "$d/.Mine/tmp"
	deliver_one "$d/.Mine" 1700000002.M2.here here2
	rm "$(messages "$d/.Work" | sort | tail -1)"
	mv "$(messages "$d/.Entw&APw-rfe" | sort | head -1)" "$d/.Mine/cur/"
}

# Whole numbers of messages by body, so that neither side's changes can have cost one.
bodies() { grep -o 'sha1=.*' | sort -u; }

later_than() { [ "$(date +%s)" -gt "$1" ]; }

merge() {
	local before made
	before=$(doveadm_dump box | bodies)
	# The newer of two names wins, by the second, as in dsync: let the rename be newer than the making.
	made=$(date +%s)
	within 5 later_than "$made" >/dev/null
	check "$n: Dovecot changes the Maildir" change_there
	change_here
	check "$n: both sides have changed: mirror" again ds mirror "$LOC"
	same "after the merge both say the same"
	clean "Dovecot has no complaint after it"
	for m in here1 here2 there1 there2; do
		check "$n: $m is in the Maildir" test -n "$(da box -f flow fetch uid subject $m)"
	done
	check "$n: the keywords came over" grep -q 'keywords=.*lab-a' <(dump_of Work)
	check "$n: the renamed mailbox" grep -q "^mailbox Archive/Old .*subscribed=1" <(store_dump)
	check "$n: the created mailbox, subscribed" grep -q "^mailbox Fresh .*subscribed=1" <(store_dump)
	check "$n: the mount shows it too" within 10 has_mail "$MNT" "Subject: there1"
	check "$n: and its renamed folder" test -d "$MNT/.Archive.Old/cur" -a ! -e "$MNT/.Archive.2024"
	# Two messages were deleted, one on each side; each other body is still there.
	equal "$n: nothing is lost but what was deleted" 2 "$(comm -23 <(echo "$before") <(store_dump | bodies) | wc -l)"
	idle "merge"
}

# The same without a mount: the store is opened by dsyncfs-sync.
unmounted() {
	check "$n: unmount" umount_store "$STORE" "$MNT"
	same "unmounted, the store says the same"
	idle "unmounted"
	da box flags add '\Draft' mailbox INBOX 1
	da box mailbox delete Fresh
	check "$n: mirror without a mount" ds mirror "$LOC"
	same "both say the same"
	check "$n: the deleted mailbox is gone" not grep -q '^mailbox Fresh ' <(store_dump)
	check "$n: verify compares them equal" ds verify "$LOC"
	idle "without a mount"
}

but_uids() { sed 's/^[0-9]* //; s/ uidnext=[0-9]*//' | LC_ALL=C sort; }

backups() {
	local want
	want=$(store_dump)
	da box expunge mailbox INBOX 1:2
	$MAIL one stray | da box save -m INBOX
	da box mailbox create Stray
	check "$n: backup" again ds backup "$LOC"
	equal "$n: backup left the source as it was" "$want" "$(store_dump)"
	# Expunged mail comes back under new UIDs, since Dovecot has given the old ones before.
	check "$n: backup: a second one finds nothing" ds backup "$LOC"
	equal "$n: the Maildir is exactly the source but for UIDs" "$(store_dump | but_uids)" "$(doveadm_dump box | but_uids)"
	da box flags add '\Seen' mailbox Work all
	da box expunge mailbox INBOX 1
	want=$(doveadm_dump box)
	check "$n: backup -R" again ds backup -R "$LOC"
	equal "$n: backup -R left the Maildir as it was" "$want" "$(doveadm_dump box)"
	same "the store is exactly the Maildir"
	# A new store from the Maildir.
	STORE=$TMP/$n.second
	check "$n: backup -R into a new store" again ds backup -R "$LOC"
	same "it is exactly the Maildir"
	check "$n: both stores are whole" ds verify
}

run_layout() {	# LAYOUT
	n=$1 STORE=$TMP/$1.store MNT=$TMP/$1.mnt FAR=$TMP/$1.far LOC=maildir:$TMP/$1.far
	[ "$1" = fs ] && LOC=$LOC:LAYOUT=fs
	rm -rf "$TMP/dovecot/box"
	dovecot_conf box "$LOC"
	: >"$TMP/dovecot/box/log"
	fill_by_mount
	first_mirror
	merge
	unmounted
	backups
}

for layout in ${1:-maildir++ fs}; do run_layout "$layout"; done

# Exit statuses of a sync.
n=status STORE=$TMP/status.store
mkdir -p "$TMP/few/"{cur,new,tmp}
$MAIL deliver "$TMP/few" 40 x
check_status "0: done" 0 ds mirror "maildir:$TMP/few"
rm "$TMP"/few/new/*
check_status "4: stopped by max_delete" 4 ds mirror "maildir:$TMP/few"
equal "and nothing was deleted" 40 "$(ds dump | grep -c sha1=)"
check_status "0: told that it is meant" 0 ds --no-max-delete mirror "maildir:$TMP/few"
equal "now all is" 0 "$(ds dump | grep -c sha1=)"
check_status "64: usage" 64 ds mirror
check_status "64: an unknown kind of location" 64 ds mirror "nonsense:$TMP/few"
finish
