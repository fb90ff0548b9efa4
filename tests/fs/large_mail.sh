#!/bin/bash
# large_mail -- one large mail: delivered into a mount and read back, rewritten there, mirrored to other stores, here and over a pipe, backed up
# to a Maildir and imported from it, stored raw and compressed.  Every byte arrives, and no process of ours ever holds much of it.
#
#	large_mail.sh [MB]		its size; seven times that is needed below TMPDIR
. "$(dirname "$0")/../real.sh"
needs python3 cmp base64
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

size=${1:-64}
limit=24576		# KiB
PEAK="python3 $ROOT/tests/interop/peak.py $TMP/peaks"
BIG=$TMP/big
script far <<-C
	#!/bin/sh
	exec $PEAK far $SYNC -o mail_location=dsyncfs:$TMP/far "\$@"
C
on() { local store=$1; shift; $PEAK "$1" "$SYNC" -o "mail_location=dsyncfs:$TMP/$store" "$@"; }
# Half of it cannot be compressed and is hard to carry, the other half can.
make_mail() { { $MAIL large big $((size / 2)); $MAIL large more $((size * 3 / 8)) | base64; } >"$BIG"; }
deliver() { dd if="$BIG" of="$MNT/tmp/big" bs=64k status=none && mv "$MNT/tmp/big" "$MNT/new/big"; }
grep_peak() { awk '$1 == "VmHWM:" { print "mount", $2 }' "/proc/$(mounted_process "$STORE" | head -1)/status" >>"$TMP/peaks"; }
packs() { du -bc "$1"/packs/*.pack | tail -1 | cut -f1; }
below() { [ "$(packs "$1")" -lt "$2" ]; }
whole() { stat -c %s "$BIG"; }
there() { cmp "$BIG" "$(find "$1" -type f -name '*big*')"; }
small() {	# WHAT PROCESSES
	check "$1: each process was seen" [ "$(wc -l <"$TMP/peaks")" -ge "$2" ]
	check "$1: none took more than $limit KiB: $(tr '\n' ' ' <"$TMP/peaks")" awk -v l=$limit '$2 > l { exit 1 }' "$TMP/peaks"
	: >"$TMP/peaks"
}
# NAME: what is in the mount's store is carried to others and comes back whole.
carried() {
	rm -rf "$TMP"/{second,far,backup,third}
	check "$1: mirror by the mount" again on store mirror "dsyncfs:$TMP/second"
	check "$1: over a pipe, by the mount" again on store mirror "$TMP/bin/far" dsync-server
	grep_peak
	small "$1: from the mount" 5
	rm -rf "$TMP/far"
	check "$1: over a pipe" again on second mirror "$TMP/bin/far" dsync-server
	check "$1: backup to a Maildir" again on far backup "maildir:$TMP/backup"
	check "$1: every byte is there" there "$TMP/backup"
	check "$1: import from a Maildir" again on third mirror "maildir:$TMP/backup"
	$PEAK dump "$SYNC" dump "dsyncfs:$TMP/third" >"$TMP/dump"
	check "$1: its hash" grep -q "$(hash_of "$BIG" | cut -d' ' -f1)" "$TMP/dump"
	check "$1: verify" on third verify
	check "$1: compact" on third compact
	check "$1: verify after that" on third verify
	small "$1: without a mount" 10
}

make_mail
printf 'zstd_level = 0\n' >"$TMP/conf"
chmod 600 "$TMP/conf"
mkdir -p "$MNT"
: >"$TMP/peaks"
check "mount" "$MOUNT" -c "$TMP/conf" "dsyncfs:$STORE" "$MNT"
check "it comes" deliver
check "and reads as it came" cmp "$BIG" "$MNT/new/big"
check "it is stored raw" not below "$STORE" "$(whole)"
carried raw
check "unmount" umount_store "$STORE" "$MNT"

rm -rf "$STORE"
check "mount where it is compressed" mount_store "$STORE" "$MNT"
check "it comes" deliver
check "and is compressed when it is quiet" within 600 below "$STORE" $(($(whole) * 15 / 16))
check "and reads as it came" cmp "$BIG" "$MNT/new/big"
carried compressed

# In place, as an editor that thinks it may: a copy of it is a new message.
check "a byte of it is changed" python3 -c "
import os
for name in ('$MNT/new/big', '$BIG'):
    with open(name, 'r+b') as f:
        f.seek($size * 500000)
        f.write(b'#')
        f.flush()
        os.fsync(f.fileno())
"
check "and reads as it was changed" cmp "$BIG" "$MNT/new/big"
grep_peak
small "changed in place" 1
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
finish
