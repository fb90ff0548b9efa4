#!/bin/bash
# random_ops -- random operations on mail (made, delivered, renamed, linked, written to in place, mapped, removed while it is open) end
# on a mount as on a disk, and so does all that is there then, after mounting it again, too.
#	SEED (1), RUNS (2), STEPS (400)
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

for ((seed = ${SEED:-1}; seed < ${SEED:-1} + ${RUNS:-2}; seed++)); do
	store=$TMP/store.$seed plain=$TMP/plain.$seed
	mkdir "$plain"
	check "seed $seed: mount" mount_store "$store" "$MNT"
	check "seed $seed: all is alike" timeout 600 python3 "$ROOT/tests/fs/random_ops.py" "$MNT" "$plain" "$seed" "${STEPS:-400}"
	check "seed $seed: unmount" umount_store "$store" "$MNT"
	check "seed $seed: the store is whole" "$SYNC" -o "mail_location=dsyncfs:$store" verify
	check "seed $seed: mount again" mount_store "$store" "$MNT"
	check "seed $seed: the same is there" python3 "$ROOT/tests/fs/random_ops.py" "$MNT" "$plain" "$seed" 0
	check "seed $seed: unmount at the end" umount_store "$store" "$MNT"
done
finish
