#!/bin/bash
# random_kills -- random operations on mail, on a mount and on a disk at once; the mount is killed and mounted again in between: what is
# in cur and new is alike each time, nothing was damaged, and the store is whole at the end.
#	SEED (1), RUNS (2), KILLS (6)
. "$(dirname "$0")/../real.sh"
needs python3 fusermount3 pgrep
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

for ((seed = ${SEED:-1}; seed < ${SEED:-1} + ${RUNS:-2}; seed++)); do
	store=$TMP/store.$seed plain=$TMP/plain.$seed
	mkdir "$plain"
	check "seed $seed: mount" mount_store "$store" "$MNT"
	check "seed $seed: all mail is there after each kill" timeout 600 \
		python3 "$ROOT/tests/fs/random_kills.py" "$MNT" "$plain" "$seed" "${KILLS:-6}" "$MOUNT" "$store"
	check "seed $seed: unmount" umount_store "$store" "$MNT"
	check "seed $seed: the store is whole" "$SYNC" -o "mail_location=dsyncfs:$store" verify
	check_not "seed $seed: nothing was damaged" test -e "$store/damaged"
done
finish
