#!/bin/bash
# clock -- the calendar jumps, years back and forth, past 2038 and 2106, under a mount and the commands: what programs deliver, mark,
# move and delete is there, once, with its flags and the time it came at, after each sync with a Maildir, compaction and mount.
. "$(dirname "$0")/../real.sh"
CLOCK=$BIN/tests/interop/clock.so
needs python3 "$CLOCK"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
PEER=$TMP/peer
YEAR=31557600

export TEST_CLOCK=$TMP/ahead
jump() { python3 -c 'import struct, sys
open(sys.argv[1], "r+b").write(struct.pack("<q", int(sys.argv[2])))' "$TEST_CLOCK" "$1"; }
now() { LD_PRELOAD=$CLOCK python3 -c 'import time; print(int(time.time()))'; }
printf '\0\0\0\0\0\0\0\0' >"$TEST_CLOCK"
check "the calendar is ours" test $(($(jump 1000000; now) - $(jump 0; now))) -ge 999990
jump 0

# What a round changes, and what is there then: "FOLDER SUBJECT FLAGS" in $TMP/wanted.
cat >"$TMP/round.py" <<'P'
import os, sys
box, peer, n, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
state = {}
if os.path.exists(wanted):
    for line in open(wanted):
        folder, subject, flags = line.rstrip("\n").split("|")
        state[subject] = (folder, flags)

def where(root, folder):
    return root + ("" if folder == "INBOX" else "/." + folder)

def deliver(root, subject, durable=False):
    tmp = "%s/tmp/%s" % (root, subject)
    with open(tmp, "w") as f:
        f.write("Subject: %s\n\nbody of %s\n" % (subject, subject))
        if durable:
            f.flush()
            os.fsync(f.fileno())
    os.rename(tmp, "%s/new/%s" % (root, subject))
    state[subject] = ("INBOX", "")

def path(root, subject):
    folder, _ = state[subject]
    for sub in "new", "cur":
        d = "%s/%s" % (where(root, folder), sub)
        for name in os.listdir(d):
            if name.startswith("."):
                continue
            with open(d + "/" + name) as f:
                if f.readline() == "Subject: %s\n" % subject:
                    return d + "/" + name
    raise SystemExit("%s is not in %s" % (subject, where(root, folder)))

def put(root, subject, folder, flags):
    old = path(root, subject)
    base = os.path.basename(old).split(":")[0]
    os.rename(old, "%s/cur/%s:2,%s" % (where(root, folder), base, flags))
    state[subject] = (folder, flags)

for i in range(4):
    deliver(box, "m%d.%d" % (n, i), durable=i == 1)
deliver(peer, "p%d" % n)
put(box, "m%d.0" % n, "INBOX", "FS")
put(box, "m%d.1" % n, "Other", "S")
os.unlink(path(box, "m%d.2" % n))
del state["m%d.2" % n]
if n > 0:       # what the other calendar made
    put(box, "m%d.0" % (n - 1), "Other", "RS")
    put(peer, "p%d" % (n - 1), "INBOX", "T" if n % 2 else "S")
    os.unlink(path(peer, "m%d.3" % (n - 1)))
    del state["m%d.3" % (n - 1)]
with open(wanted, "w") as f:
    for subject in sorted(state):
        f.write("%s|%s|%s\n" % (state[subject][0], subject, state[subject][1]))
P
cat >"$TMP/found.py" <<'P'
import os, sys
root, found = sys.argv[1], []
for folder in "INBOX", "Other":
    for sub in "new", "cur":
        d = "%s/%s" % (root + ("" if folder == "INBOX" else "/." + folder), sub)
        for name in os.listdir(d):
            if not name.startswith("."):
                with open(d + "/" + name) as f:
                    subject = f.readline()[9:-1]
                flags = name.split(":2,")[1] if ":2," in name else ""
                found.append("%s|%s|%s" % (folder, subject, flags))
print("\n".join(sorted(found, key=lambda s: s.split("|")[1])))
P
jumpy() { LD_PRELOAD=$CLOCK "$@"; }
mirror() { jumpy ds mirror "maildir:$PEER"; }
round() {	# N
	check "round $1: mail comes and goes" python3 "$TMP/round.py" "$MNT" "$PEER" "$1" "$TMP/wanted"
	check "round $1: a sync" again mirror
	equal "round $1: the mount has it" "$(cat "$TMP/wanted")" "$(python3 "$TMP/found.py" "$MNT")"
	equal "round $1: the other side has it" "$(cat "$TMP/wanted")" "$(python3 "$TMP/found.py" "$PEER")"
	equal "round $1: alike in all that is kept" "$(jumpy dump "dsyncfs:$STORE")" "$(jumpy dump "maildir:$PEER")"
}
mount_again() { umount_store "$STORE" "$MNT" && ds verify && jumpy mount_store "$STORE" "$MNT"; }
came_at() { stat -c %Y "$(mail_of "$1" "body of $2\$")"; }

check "mount" jumpy mount_store "$STORE" "$MNT"
mkdir -p "$PEER/cur" "$PEER/new" "$PEER/tmp" "$MNT/.Other/cur" "$MNT/.Other/new" "$MNT/.Other/tmp"
check "the first sync" again mirror

real=$(date +%s)
n=0
for ahead in 0 $((40 * YEAR)) $((-20 * YEAR)) $((100 * YEAR)) $((1000 - real)) -7200 $((-YEAR)) 86400 0; do
	jump "$ahead"
	round $n
	if [ $((n % 3)) = 1 ]; then
		check "round $n: mount again" mount_again
		equal "round $n: all is there" "$(cat "$TMP/wanted")" "$(python3 "$TMP/found.py" "$MNT")"
	elif [ $((n % 3)) = 2 ]; then
		check "round $n: what is old is dropped" jumpy ds compact
		equal "round $n: nothing else" "$(cat "$TMP/wanted")" "$(python3 "$TMP/found.py" "$MNT")"
	fi
	n=$((n + 1))
done
for subject in m1.0 m3.0 m4.0; do
	equal "$subject came at the same time on both sides" "$(came_at "$PEER/.Other" $subject)" "$(came_at "$MNT/.Other" $subject)"
done
check "it came in the next century" test "$(came_at "$MNT/.Other" m3.0)" -gt 4294967295
finish
