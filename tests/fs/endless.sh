#!/bin/bash
# endless -- a mailbox that stays small is used for a long time (endless.py; OPERATIONS): the mount's memory does not grow with what has been.
. "$(dirname "$0")/../real.sh"
needs python3 fusermount3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
# Pages of the index are memory that may grow up to this.
printf 'cache_size = 1M\n' >"$TMP/conf"
chmod 600 "$TMP/conf"
mkdir -p "$MNT"
check "mount" "$MOUNT" -c "$TMP/conf" "dsyncfs:$STORE" "$MNT"
pid=$(mounted_process "$STORE" | head -1)
check "memory stays what it was" timeout 3000 python3 "$ROOT/tests/fs/endless.py" "$MNT" "$pid" "${OPERATIONS:-40000}"
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" "$SYNC" -o "mail_location=dsyncfs:$STORE" verify
finish
