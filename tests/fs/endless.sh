#!/bin/bash
# endless -- a mailbox that stays small is used for a long time (endless.py; OPERATIONS): the mount's memory does not grow with what has been,
# and neither does the index once what was expunged is not kept any more.
. "$(dirname "$0")/../real.sh"
needs python3 fusermount3 "$BIN/tests/interop/heap.so"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
# Pages of the index are memory that may grow up to this.
printf 'cache_size = 1M\nexpunge_retention = 0\n' >"$TMP/conf"
chmod 600 "$TMP/conf"
mkdir -p "$MNT"
# In the foreground: heap.so has a thread, which would not be in a child.
LD_PRELOAD=$BIN/tests/interop/heap.so TEST_HEAP=$TMP/heap GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=131072 \
	"$MOUNT" -f -c "$TMP/conf" "dsyncfs:$STORE" "$MNT" >"$TMP/mount.log" 2>&1 &
pid=$!
background+=($pid)
check "mount" within 20 mountpoint -q "$MNT"
endless() {
	timeout 3000 python3 "$ROOT/tests/fs/endless.py" "$MNT" $pid "$TMP/heap" "${OPERATIONS:-40000}" \
		"$SYNC" -o "mail_location=dsyncfs:$STORE" compact >"$TMP/said" 2>&1
	local rc=$?
	cat "$TMP/said"
	return $rc
}
check "memory stays what it was" endless
tail -1 "$TMP/said"
check "the index is one of 400 messages" [ "$(stat -c %s "$STORE"/index-*)" -lt 1000000 ]
check "unmount" umount_store "$STORE" "$MNT"
check "the mount has said nothing" not grep . "$TMP/mount.log"
check "the store is whole" "$SYNC" -o "mail_location=dsyncfs:$STORE" verify
finish
