#!/bin/bash
# mount_kept -- what the kernel keeps of a mount: looking again asks the mount nothing, what a sync changes is forgotten exactly, and
# random changes by programs and by syncs leave nothing that is not so (kept.py; SEED, ROUNDS).
. "$(dirname "$0")/../real.sh"
needs python3
SIDE=$TMP/side
maildir_new "$SIDE"
for i in $(seq 200 260); do mail "$SIDE" "$i"; done
check "mount" mount_store "$STORE" "$MNT"
check "mail comes" again ds mirror "maildir:$SIDE"

# Requests since the last call, by name, but for those that looking costs.
requests() { sed -n 's/^requests_//p' "$MNT/.dsyncfs/status"; }
since() {	# COMMAND...: what it asked the mount
	requests >/dev/null
	sleep 0.2	# what was read is dropped
	requests >"$TMP/a"
	"$@" >/dev/null
	sleep 0.2
	requests >"$TMP/b"
	sleep 0.2
	requests >"$TMP/c"
	paste -d' ' "$TMP/a" "$TMP/b" "$TMP/c" | awk '{ n = $4 - $2 - ($6 - $4); if (n != 0 && $1 !~ /^(forget|statfs)/) print $1, n }'
}
look() {	# names, attributes, heads, whole
	ls "$MNT/new" "$MNT/cur" &&
		find "$MNT/new" "$MNT/cur" -printf '%p %s %T@ %n %i\n' &&
		python3 - "$MNT/new" <<'P'
import os, sys
for e in os.scandir(sys.argv[1]):
    with open(e.path, "rb") as f:
        os.fstat(f.fileno())
        f.read(4096)
        f.seek(0)
        f.read()
P
}
look >/dev/null
look >/dev/null
equal "looking again asks nothing" "" "$(since look)"
mail "$SIDE" 300
check "one more comes" again ds mirror "maildir:$SIDE"
within 10 eval 'look >"$TMP/looked"; [ "$(ls "$MNT/new" | wc -l)" = 62 ]'
look >/dev/null
equal "again nothing" "" "$(since look)"
mail "$SIDE" 301
equal "before a sync nothing is seen" 62 "$(ls "$MNT/new" | wc -l)"
again ds mirror "maildir:$SIDE" >/dev/null
reads() { since look | sed -n 's/^read //p'; }
equal "of a new one, its mail alone is read" 1 "$(reads)"
name=$(ls "$SIDE/new" | head -1)
mv "$SIDE/new/$name" "$SIDE/cur/$name:2,S"
ls "$MNT/new/$name" >/dev/null
again ds mirror "maildir:$SIDE" >/dev/null
check_not "a name that a sync changed is not listed" eval 'ls "$MNT/new" | grep -qF "$name"'
check "the new one is" test -e "$MNT/cur/$name:2,S"
equal "and its pages are still there" "" "$(reads)"
rm "$SIDE/cur/$name:2,S"
again ds mirror "maildir:$SIDE" >/dev/null
check_not "what a sync expunged is gone" test -e "$MNT/cur/$name:2,S"
equal "the others are still there" "" "$(reads)"
check "unmount" umount_store "$STORE" "$MNT"

for layout in maildir++ fs; do
	seed=${SEED:-$((RANDOM))}
	mkdir "$TMP/kept.$layout"
	check "random changes, layout=$layout, seed $seed" timeout 900 python3 "$ROOT/tests/fs/kept.py" "$MOUNT" "$SYNC" "$TMP/kept.$layout" "$seed" \
		"${ROUNDS:-3}" "$layout"
	fusermount3 -uzq "$TMP/kept.$layout/mnt"
done
finish
