#!/bin/bash
# damage -- a store that a mount and syncs have made is damaged, each time in another place, and looked at with the programs
# that people have (damage.py).
#
#	damage.sh [ARGUMENTS OF damage.py]	without any: a short share of the cases, always the same
#
# `make damage` is all of them; FLAVOUR=asan takes the programs with the sanitizers.
#
# Nothing here is about what a lost power supply leaves: in memory it goes ten times as fast.
[ ! -w /dev/shm ] || TMPDIR=/dev/shm
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
export TMP
PEER=$TMP/peer

# Whatever is saved in a body is told from all others by its size.
bodies() { python3 - "$@" <<'P'
import glob, hashlib, json, os, sys
found = {}
for d in sys.argv[1:]:
    for f in glob.glob(d + "/*"):
        data = open(f, "rb").read()
        found[len(data)] = hashlib.sha1(data).hexdigest()
print(json.dumps([{"size": n, "sha1": h} for n, h in found.items()]))
P
}
mkdir "$TMP/mails"
# FOLDER NAME WORDS...: a mail that is delivered, and whose file was fsynced
fsynced() {
	number=$((number + 1))
	{ printf 'From: a@example.org\nSubject: %s\nMessage-ID: <%s@test>\n\n%s\n' "$2" "$2" "${*:3}"; printf '%*s\n' $((number * 30)) x; } >"$TMP/mails/$2"
	cp "$TMP/mails/$2" "$1/tmp/$2" && sync "$1/tmp/$2" && mv "$1/tmp/$2" "$1/new/$2"
}
number=0
# FOLDER NAME INFO: a program looks at a mail
seen() { mv "$1/new/$2" "$1/cur/$2:2,$3"; }
synced() { "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "dsyncfs:$PEER"; }

# closed: what a mount and two syncs have left, with a peer that is in step.
check "mount" mount_store "$STORE" "$MNT"
mkdir -p "$MNT"/.Work/{cur,new,tmp} "$MNT"/.Old/{cur,new,tmp}
for i in 1 2 3 4; do fsynced "$MNT" in$i some text of mail $i; done
for i in 1 2 3; do fsynced "$MNT/.Work" work$i 8 bits: äöü €; done
# More than 1 MiB, so that the mount compresses its pack when it ends; of what hardly takes room then.
{ printf 'Subject: large\n\n'; yes "a line of a large mail that says the same again and again" | head -n 20000; } >"$TMP/mails/large"
cp "$TMP/mails/large" "$MNT/tmp/large" && mv "$MNT/tmp/large" "$MNT/new/large"
printf '0 urgent\n1 later\n' >"$MNT/dovecot-keywords"
seen "$MNT" in1 FS
seen "$MNT" in2 Sab
seen "$MNT" in3 S
mv "$MNT/cur/in3:2,S" "$MNT/.Work/cur/in3:2,S"
seen "$MNT/.Work" work1 R
rm "$MNT/.Work/new/work3"
fsynced "$MNT/.Old" old1 an old one
mv "$MNT/.Old" "$MNT/.Older"
printf 'INBOX\nWork\n' >"$MNT/subscriptions"
echo "what a program notes" >"$MNT/notes"
check "unmount" umount_store "$STORE" "$MNT"
check "a sync with a peer" again synced
check "mount the peer" mount_store "$PEER" "$MNT"
fsynced "$MNT" peer1 of the peer
fsynced "$MNT/.Work" peer2 of the peer, too
mv "$MNT/new/in4" "$MNT/cur/in4:2,F"
check "unmount the peer" umount_store "$PEER" "$MNT"
check "a sync back" again synced
cp -a "$STORE" "$TMP/closed"

# steady: the same, and the index was deleted.
cp -a "$STORE" "$TMP/steady"
rm "$TMP"/steady/index-*

# compacted: a later generation of the log.
check "compact" ds compact
mv "$STORE" "$TMP/compacted"
cp -a "$TMP/closed" "$STORE"

# killed: the mount is killed, so the log has what the index has not.
check "mount" mount_store "$STORE" "$MNT" commit=60
fsynced "$MNT" late1 late one
fsynced "$MNT/.Work" late2 late two
seen "$MNT" late1 S
fsynced "$MNT" late3 late three
echo "left in tmp" >"$MNT/tmp/intmp"
sync "$MNT/tmp/intmp"
kill -9 "$(mounted_process "$STORE" | head -1)"
fusermount3 -uz "$MNT"
within 5 not mountpoint -q "$MNT" >/dev/null
cp -a "$STORE" "$TMP/killed"

# bare: so, and the index was deleted.
cp -a "$STORE" "$TMP/bare"
rm "$TMP"/bare/index-*
# power: what had been flushed when the power went instead: scratch/synced, and neither log nor pack.
cp -a "$TMP/closed" "$TMP/power"
cp -a "$STORE/scratch/synced" "$TMP/power/scratch/synced"
check "the mount has left what had been fsynced" grep -q SYN1 "$TMP/power/scratch/synced"
bodies "$TMP/mails" >"$TMP/bodies"

# maildir: one whose sidecar is a store without bodies; maildirbare: the sidecar's index was deleted.
$MAIL maildir "$TMP/maildir" 8
check "a Maildir with a sidecar" "$SYNC" -o "mail_location=maildir:$TMP/maildir" mirror "dsyncfs:$TMP/maildirpeer"
cp -a "$TMP/maildir" "$TMP/maildirbare"
rm "$TMP"/maildirbare/dsyncfs-sidecar/index-*

check "what is wrong is noticed" "$ROOT/tests/interop/damage.py" -b
[ $# -gt 0 ] || set -- -n "${CASES:-200}" -s "${SEED:-1}"
"$ROOT/tests/interop/damage.py" "$@" >"$TMP.said" 2>&1
rc=$?
tail -n 100 "$TMP.said" | cut -c1-1500
report $rc "damage: $(tail -n 1 "$TMP.said" | cut -c1-200)" ""
rm -f "$TMP.said"
finish
