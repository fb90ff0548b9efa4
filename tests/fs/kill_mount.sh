#!/bin/bash
# kill_mount -- the mount is killed (SIGKILL) while programs deliver with fsync,
# again and again.  What was acknowledged is there after the next mount, once, byte
# by byte, and the store is whole.
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
rounds=${1:-12}

# Delivers until the mount is gone; a line in ACK for each mail that is acknowledged.
cat >"$TMP/deliver.py" <<'P'
import hashlib, os, sys
box, tag, ack, limit = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
out = os.open(ack, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
try:
    d = os.open(box + "/new", os.O_RDONLY)
    for i in range(limit):
        name = "%s.%d" % (tag, i)
        data = b"From: a@example.org\nSubject: %s\n\n%s\n" % (name.encode(), (name.encode() + b" ") * (i % 700 + 1))
        fd = os.open(box + "/tmp/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        os.rename(box + "/tmp/" + name, box + "/new/" + name)
        os.fsync(d)
        os.write(out, b"%s %s\n" % (name.encode(), hashlib.sha1(data).hexdigest().encode()))
except OSError:
    pass
P
acknowledged() { cat "$TMP"/ack.* 2>/dev/null | wc -l; }
more_than() { [ "$(acknowledged)" -gt "$1" ]; }

for ((r = 1; r <= rounds; r++)); do
	check "round $r: mount" mount_store "$STORE" "$MNT" || break
	pid=$(mounted_process "$STORE" | head -1)
	had=$(acknowledged)
	workers=()
	for w in 1 2 3; do
		python3 "$TMP/deliver.py" "$MNT" "r$r.w$w" "$TMP/ack.$w" 100000 2>/dev/null &
		workers+=($!)
	done
	check "round $r: deliveries are under way" within 15 more_than $((had + r * 23))
	# Every process of the mount that would answer: the owner of the store and its helper go with it.
	kill -9 $pid
	wait "${workers[@]}"
	fusermount3 -uz "$MNT" 2>/dev/null
	within 5 not mountpoint -q "$MNT" >/dev/null
done
check "last mount" mount_store "$STORE" "$MNT"
cat "$TMP"/ack.* | sort >"$TMP/acknowledged"
echo "     $(wc -l <"$TMP/acknowledged") deliveries acknowledged in $rounds rounds"
(cd "$MNT" && find new cur -type f -exec sha1sum {} +) | sed 's|^\([0-9a-f]*\)  [a-z]*/\([^:]*\).*|\2 \1|' | sort >"$TMP/found"
equal "nothing acknowledged is lost" "" "$(comm -23 "$TMP/acknowledged" "$TMP/found" | head)"
equal "nothing is there twice" "" "$(cut -d' ' -f1 "$TMP/found" | uniq -d | head)"
# What was not acknowledged may be there or not, but never half.
equal "nothing is torn" "" "$(comm -13 "$TMP/acknowledged" "$TMP/found" | while read -r name sum; do
	i=${name##*.}
	want=$(python3 -c "n='$name'; i=$i; print('From: a@example.org\nSubject: %s\n\n%s' % (n, (n + ' ') * (i % 700 + 1)))" | sha1sum)
	[ "${want%% *}" = "$sum" ] || echo "$name"
done)"
equal "dump has as many" "$(wc -l <"$TMP/found")" "$(ds dump | grep -c sha1=)"
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
check "and opens again" mount_store "$STORE" "$MNT"
equal "with the same mail" "$(wc -l <"$TMP/found")" "$(count "$MNT")"
finish
