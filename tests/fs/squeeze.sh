#!/bin/bash
# squeeze -- what programs deliver is stored as it comes and compressed when it is quiet: the store gets small under the mount, each
# message reads the same before, after and while it happens, and a kill or a compaction in the middle of it loses nothing.
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
MIB=1048576

# deliver.py MNT TAG N: N mails of some 8 KiB that compress well; their hashes go to $TMP/sums.
cat >"$TMP/deliver.py" <<'P'
import hashlib, os, random, sys
box, tag, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
words = [w.encode() for w in "the quick store keeps what a program wrote and makes it small when nobody waits for it".split()]
with open(sys.argv[4], "a") as sums:
    for i in range(n):
        r = random.Random(tag + str(i))
        name = "%s.%d" % (tag, i)
        data = b"Subject: %s\n\n" % name.encode() + b" ".join(r.choice(words) for _ in range(1600)) + b"\n"
        with open(box + "/tmp/" + name, "wb") as f:
            f.write(data)
        os.rename(box + "/tmp/" + name, box + "/new/" + name)
        sums.write("%s %s\n" % (hashlib.sha1(data).hexdigest(), name))
P
# What the mount itself says, past the kernel's page cache.
cat >"$TMP/read.py" <<'P'
import hashlib, mmap, os, sys
buf = mmap.mmap(-1, 65536)
for name in sorted(os.listdir(sys.argv[1] + "/new")):
    fd = os.open(sys.argv[1] + "/new/" + name, os.O_RDONLY | os.O_DIRECT)
    n = os.preadv(fd, [buf], 0)
    os.close(fd)
    print(hashlib.sha1(buf[:n]).hexdigest(), name)
P
deliver() { python3 "$TMP/deliver.py" "$MNT" "$1" "$2" "$TMP/sums"; }
all_there() { equal "$1" "$(sort "$TMP/sums" | sha1sum)" "$(python3 "$TMP/read.py" "$MNT" | sort | sha1sum)"; }
packs() { du -bc "$STORE"/packs/*.pack | tail -1 | cut -f1; }
below() { [ "$(packs)" -lt "$1" ]; }
under_way() { [ -e "$STORE/packs/squeeze.tmp" ] || below "$1"; }

check "mount" mount_store "$STORE" "$MNT"
check "six MiB come" deliver a 750
all_there "they read the same at once"
check "the store gets small while it is mounted" wait_for below $((3 * MIB))
all_there "they read the same afterwards"
check_not "nothing is left beside it" test -e "$STORE/packs/squeeze.tmp"

check "24 MiB come" deliver b 3000
check "they are being compressed" wait_for under_way $((15 * MIB))
all_there "they read the same meanwhile"
check "and when that is done" wait_for below $((15 * MIB))
all_there "too"

check "24 MiB more come" deliver c 3000
check "a kill meets it" wait_for under_way $((28 * MIB))
kill -9 "$(mounted_process "$STORE" | head -1)"
fusermount3 -uz "$MNT" 2>/dev/null
within 5 not mountpoint -q "$MNT" >/dev/null
check "mount again" mount_store "$STORE" "$MNT"
all_there "all of it is there"
check "what the kill has left is compressed" wait_for below $((28 * MIB))
all_there "and reads the same"

check "24 MiB more come" deliver d 3000
check "a compaction meets it" wait_for under_way $((40 * MIB))
check "it does its work" ds compact
all_there "all of it is there"
check "the store is small" below $((40 * MIB))
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
check_not "nothing is left beside it" test -e "$STORE/packs/squeeze.tmp"

check "mount for a little" mount_store "$STORE" "$MNT"
check "two MiB come" deliver e 250
before=$(packs)
check "unmount" umount_store "$STORE" "$MNT"
check "the end of a mount compresses" below $((before - MIB))
check "mount at last" mount_store "$STORE" "$MNT"
all_there "all of it is there"
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
finish
