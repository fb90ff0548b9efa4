#!/bin/bash
# mount_kept -- what the kernel keeps of a mount: looking again asks the mount nothing, what a sync changes is forgotten exactly, and
# random changes by programs and by syncs leave nothing that is not so (kept.py; SEED, ROUNDS).
. "$(dirname "$0")/../real.sh"
needs python3
SIDE=$TMP/side
maildir_new "$SIDE"
for i in $(seq 200 260); do mail "$SIDE" "$i"; done
# Larger ones among them: more than one read, and more than is pushed.
for i in 5 9 12 13; do
	{ printf 'Subject: large %s\n\n' $i; seq $((i * 3000)); } >"$SIDE/new/17000${i}0000.M$i.large"
done
check "mount" mount_store "$STORE" "$MNT"
check "mail comes" again ds mirror "maildir:$SIDE"

# Requests since the last call, by name, but for those that looking costs.
# Past the page cache, so that each look costs the same.
requests() { dd if="$MNT/.dsyncfs/status" iflag=direct bs=64k count=1 status=none | sed -n "s/^requests_//p"; }
# Who empties the machine's caches meanwhile makes it all for nothing: then it is done again.
drops() { grep ^drop_ /proc/vmstat; }
# CHANGE: what looking asks the mount after that, when all was looked at before.
after() {
	local before i
	for i in 1 2 3 4 5 6 7 8; do
		before=$(drops)
		# A read makes the kernel forget when the file was last read: it asks that once.
		look >/dev/null
		look >/dev/null
		"$1" "$i" >/dev/null 2>&1
		requests >"$TMP/a"
		look >/dev/null
		requests >"$TMP/b"
		requests >"$TMP/c"
		[ "$before" != "$(drops)" ] || break
	done
	paste -d' ' "$TMP/a" "$TMP/b" "$TMP/c" | awk '{ n = $4 - $2 - ($6 - $4); if (n != 0 && $1 !~ /^(forget|statfs)/) print $1, n }'
}
sync_it() { again ds mirror "maildir:$SIDE"; }
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
check_not "the command's status has no such figures" says requests_ ds status
equal "looking again asks nothing" "" "$(after true)"
equal "nor after a sync that brings nothing" "" "$(after sync_it)"
one_comes() { mail "$SIDE" $((300 + $1)); sync_it; }
equal "of a new one, its mail alone is read" 1 "$(after one_comes | sed -n 's/^read //p')"
check "all are there" test "$(ls "$MNT/new" | wc -l)" = "$(ls "$SIDE/new" | wc -l)"
one_changes() { name=$(ls "$SIDE/new" | head -1); mv "$SIDE/new/$name" "$SIDE/cur/$name:2,S"; sync_it; }
one_changes
check_not "a name that a sync changed is not listed" eval 'ls "$MNT/new" | grep -qF "$name"'
check "the new one is" test -e "$MNT/cur/$name:2,S"
again=$(after one_changes | sed -n 's/^read //p')
check "no other mail is read again for that" test "${again:-0}" -le 1
one_goes() { name=$(ls "$SIDE/new" | head -1); rm "$SIDE/new/$name"; sync_it; }
one_goes
check_not "what a sync expunged is gone" test -e "$MNT/new/$name"
equal "nor for that" "" "$(after one_goes | sed -n 's/^read //p')"
check "unmount" umount_store "$STORE" "$MNT"

# A new mount has nothing in the page cache: a scan is read ahead.
check "mount" mount_store "$STORE" "$MNT"
whole() { python3 - "$MNT/new" <<'P'
import hashlib, os, sys
for e in sorted(os.scandir(sys.argv[1]), key=lambda e: e.inode()):
    with open(e.path, "rb") as f:
        print(hashlib.sha1(f.read()).hexdigest())
P
}
for i in 1 2 3 4 5 6 7 8; do
	before=$(drops)
	whole | sort >"$TMP/whole"
	[ "$before" != "$(drops)" ] || break
	umount_store "$STORE" "$MNT" && mount_store "$STORE" "$MNT"
done
check "the mails are what they are" diff "$TMP/whole" <(cd "$SIDE/new" && sha1sum -- * | cut -c1-40 | sort)
reads=$(sed -n 's/^requests_read //p' "$MNT/.dsyncfs/status") pushed=$(sed -n 's/^pushed //p' "$MNT/.dsyncfs/status")
check "most were there before they were asked for: $pushed pushed, $reads reads" test "$pushed" -ge 40 -a "$reads" -le 20
check "unmount" umount_store "$STORE" "$MNT"

# Messages without a byte, as a full disk leaves them, among those that are read ahead.
check "mount" mount_store "$TMP/empty.store" "$MNT"
python3 - "$MNT" <<'P'
import os, sys
for i in range(1000):
    name = "17000%05d.M1P1.empty" % i
    with open(sys.argv[1] + "/tmp/" + name, "w") as f:
        f.write("" if i % 5 == 0 else "Subject: %d\n\n%s\n" % (i, "x" * (i % 30 * 1000)))
    os.rename(sys.argv[1] + "/tmp/" + name, sys.argv[1] + "/new/" + name)
P
first=$(whole)
for i in 1 2 3; do
	check "mount again" eval 'umount_store "$TMP/empty.store" "$MNT" && mount_store "$TMP/empty.store" "$MNT"'
	equal "what is empty is, and the rest is there" "$first" "$(whole)"
done
check "unmount" umount_store "$TMP/empty.store" "$MNT"

# tmp/ is read by who copies a whole Maildir, too.
check "mount" mount_store "$STORE" "$MNT"
check "a file that grows is read as far as it was written" timeout 300 python3 "$ROOT/tests/fs/growing.py" "$MNT/tmp" 40 4
check "unmount" umount_store "$STORE" "$MNT"

# A page of a listing that was made ahead is given only while it is true.
SIDE=$TMP/pages
maildir_new "$SIDE"
check "mount" mount_store "$TMP/pages.store" "$MNT"
script read_there <<-S
	#!/bin/sh
	sync_it() { "$SYNC" -o "mail_location=dsyncfs:$TMP/pages.store" mirror "maildir:$SIDE"; }
	sync_it && mv "$SIDE/new/\$1" "$SIDE/cur/\$1:2,S" && sync_it
S
check "names that go while a folder is listed" python3 "$ROOT/tests/fs/pages.py" "$MNT" 3000 "$TMP/bin/read_there"
check "unmount" umount_store "$TMP/pages.store" "$MNT"

# Files that were copied in and are not yet messages stand elsewhere in the listing than messages do.
maildir_new "$TMP/slowly"
check "a listing that is read slowly, on a disk" timeout 300 python3 "$ROOT/tests/fs/slowly.py" "$TMP/slowly"
check "mount" mount_store "$TMP/slowly.store" "$MNT"
check "and of the mount" timeout 300 python3 "$ROOT/tests/fs/slowly.py" "$MNT"
check "unmount" umount_store "$TMP/slowly.store" "$MNT"

# The same folder made on both sides: its UIDVALIDITY may change, and with it the time of tmp.
SIDE=$TMP/both
mkdir -p "$SIDE/cur" "$SIDE/new" "$SIDE/tmp" "$TMP/both.mnt"
check "mount" "$MOUNT" "dsyncfs:$TMP/both.store" "$TMP/both.mnt"
mkdir -p "$TMP/both.mnt/.Both/cur" "$TMP/both.mnt/.Both/new" "$TMP/both.mnt/.Both/tmp" "$SIDE/.Both/cur" "$SIDE/.Both/new" "$SIDE/.Both/tmp"
printf '3 V%s N1 G%032x\n' 2000000000 7 >"$SIDE/.Both/dovecot-uidlist"
before=$(stat -c %Y "$TMP/both.mnt/.Both/tmp")
check "a sync gives it the other UIDVALIDITY" "$SYNC" -o "mail_location=dsyncfs:$TMP/both.store" mirror "maildir:$SIDE"
stat -c %Y "$TMP/both.mnt/.Both/tmp" >"$TMP/both.kept"
check "unmount" umount_store "$TMP/both.store" "$TMP/both.mnt"
check "mount" "$MOUNT" "dsyncfs:$TMP/both.store" "$TMP/both.mnt"
check "its time is told anew" diff <(stat -c %Y "$TMP/both.mnt/.Both/tmp") "$TMP/both.kept"
check_not "and it is another one" test "$before" = "$(cat "$TMP/both.kept")"
# A copy in a folder that a sync deletes is a link less.
printf 'Subject: twice\n\ntwice\n' >"$TMP/both.mnt/new/1.twice"
ln "$TMP/both.mnt/new/1.twice" "$TMP/both.mnt/.Both/new/1.twice.copy"
check "a message has two names" test "$(stat -c %h "$TMP/both.mnt/new/1.twice")" = 2
check "sync" "$SYNC" -o "mail_location=dsyncfs:$TMP/both.store" mirror "maildir:$SIDE"
rm -r "$SIDE/.Both"
check "sync that deletes the folder of one" "$SYNC" -o "mail_location=dsyncfs:$TMP/both.store" mirror "maildir:$SIDE"
check_not "the folder is gone" test -e "$TMP/both.mnt/.Both"
check "it has one" test "$(stat -c %h "$TMP/both.mnt/new/1.twice")" = 1
check "unmount" umount_store "$TMP/both.store" "$TMP/both.mnt"

for layout in maildir++ fs; do
	seed=${SEED:-$((RANDOM))}
	mkdir "$TMP/kept.$layout"
	check "random changes, layout=$layout, seed $seed" timeout 900 python3 "$ROOT/tests/fs/kept.py" "$MOUNT" "$SYNC" "$TMP/kept.$layout" "$seed" \
		"${ROUNDS:-3}" "$layout"
	fusermount3 -uzq "$TMP/kept.$layout/mnt"
done
finish
