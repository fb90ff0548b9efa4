#!/bin/bash
# faults -- system calls of the mount fail, one or all from one on, or it is killed in one of them (faults.py; SEED, RUNS: a number, or every call): nothing that
# was acknowledged is lost, torn or doubled, and the next mount and verify find the store whole.
. "$(dirname "$0")/../real.sh"
needs strace python3 fusermount3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
seed=${SEED:-$RANDOM}
mkdir "$TMP/faults"
check "calls that fail, seed $seed" timeout 900 python3 "$ROOT/tests/fs/faults.py" "$MOUNT" "$SYNC" "$TMP/faults" "$seed" "${RUNS:-60}"
awk -v d="$TMP/faults/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | xargs -r umount -l
finish
