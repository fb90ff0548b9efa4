#!/bin/bash
# mount_layout_fs -- the same mail with layout=fs: nested directories, INBOX at
# the root.
. "$(dirname "$0")/../real.sh"
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
check "mount" mount_store "$STORE" "$MNT" layout=fs
text() { printf 'From: a@example.org\nSubject: %s\n\nbody of %s\n' "$1" "$1"; }
put() { text "$2" >"$1/tmp/$3" && mv "$1/tmp/$3" "$1/new/$3"; }	# FOLDER SUBJECT BASE
box() { ds mailboxes | grep -q "^$1[[:space:]]"; }
last() { ds log | tail -"${1:-1}" | sed 's/^[^ ]* *//'; }

check "INBOX is the root" put "$MNT" one 1.one
check "a directory is no mailbox yet" eval 'mkdir "$MNT/Lists" && ! box Lists'
check "its sub-directory with cur is one" eval 'mkdir "$MNT/Lists/linux" && mkdir "$MNT/Lists/linux/cur" "$MNT/Lists/linux/new" "$MNT/Lists/linux/tmp" && box Lists/linux'
check "its parent is a directory without mail" eval '! [ -e "$MNT/Lists/cur" ]'
check "rmdir of a directory that holds one fails" eval '! rmdir "$MNT/Lists" 2>"$TMP/e" && grep -q "not empty" "$TMP/e"'
check "delivery into it" put "$MNT/Lists/linux" two 2.two
check "flags" eval 'mv "$MNT/Lists/linux/new/2.two" "$MNT/Lists/linux/cur/2.two:2,S" && last 2 | grep -q Seen'
check "a move to INBOX" eval 'mv "$MNT/Lists/linux/cur/2.two:2,S" "$MNT/cur/" && has_mail "$MNT" "Subject: two"'
check "and back" eval 'mv "$MNT/cur/2.two:2,S" "$MNT/Lists/linux/cur/" && has_mail "$MNT/Lists/linux" "Subject: two"'
check "a mailbox inside a mailbox" eval 'mkdir -p "$MNT/Lists/linux/fsdevel/cur" "$MNT/Lists/linux/fsdevel/new" "$MNT/Lists/linux/fsdevel/tmp" && box Lists/linux/fsdevel'
check "delivery into that" put "$MNT/Lists/linux/fsdevel" deep 3.deep
check "a dot in a name is just a dot" eval 'mkdir -p "$MNT/v1.2/cur" "$MNT/v1.2/new" "$MNT/v1.2/tmp" && box v1.2'
check "modified UTF-7" eval 'mkdir -p "$MNT/R&AOQ-k/cur" && box Räk'
check "names of mail directories are no mailboxes" eval '! mkdir "$MNT/Lists/linux/cur/cur" 2>/dev/null'
check "a dot directory is never one" eval 'mkdir -p "$MNT/.notmuch/cur" && echo x >"$MNT/.notmuch/cur/x" && ! ds mailboxes | grep -q notmuch && rm -r "$MNT/.notmuch"'
for d in . Lists Lists/linux Lists/linux/fsdevel; do
	equal "link count of $d" "$((2 + $(find "$MNT/$d" -noleaf -mindepth 1 -maxdepth 1 -type d | wc -l)))" "$(stat -c %h "$MNT/$d")"
done
equal "find with leaf optimisation sees the same" "$(find "$MNT" -noleaf -type d | sort)" "$(find "$MNT" -type d | sort)"
check "other files beside mail" eval 'echo x >"$MNT/Lists/notes" && echo y >"$MNT/Lists/linux/.mbsyncstate" && [ "$(cat "$MNT/Lists/notes")" = x ]'

# Renames take what is below along.
check "rename of a mailbox with a mailbox in it" mv "$MNT/Lists/linux" "$MNT/Lists/kernel"
check "both are renamed" eval 'box Lists/kernel && box Lists/kernel/fsdevel && ! box Lists/linux && ! box Lists/linux/fsdevel'
check "with their mail" eval 'has_mail "$MNT/Lists/kernel" "Subject: two" && has_mail "$MNT/Lists/kernel/fsdevel" "Subject: deep"'
check "and their files" grep -q y "$MNT/Lists/kernel/.mbsyncstate"
check "rename of a plain directory with mailboxes in it" mv "$MNT/Lists" "$MNT/Sorted"
check "they are renamed" eval 'box Sorted/kernel && box Sorted/kernel/fsdevel && ! box Lists/kernel'
check "all is there" eval 'has_mail "$MNT/Sorted/kernel" "Subject: two" && has_mail "$MNT/Sorted/kernel/fsdevel" "Subject: deep" && grep -q x "$MNT/Sorted/notes"'
check_not "and nothing under the old name" test -e "$MNT/Lists"
check "a mailbox to another directory" eval 'mv "$MNT/Sorted/kernel/fsdevel" "$MNT/fsdevel" && box fsdevel && has_mail "$MNT/fsdevel" "Subject: deep"'
check_not "not into itself" mv "$MNT/fsdevel" "$MNT/fsdevel/sub"

# The other layout shows the same mail.
check "unmount" umount_store "$STORE" "$MNT"
want=$(ds dump)
check "mount as Maildir++" mount_store "$STORE" "$MNT"
check "the mailbox is .Sorted.kernel" has_mail "$MNT/.Sorted.kernel" "Subject: two"
check "a dot in a name is written as modified UTF-7" test -d "$MNT/.v1&AC4-2/cur"
check "a mailbox made here" mkdir -p "$MNT/.New.Deep/cur" "$MNT/.New.Deep/new" "$MNT/.New.Deep/tmp"
check "unmount" umount_store "$STORE" "$MNT"
check "mount with layout=fs" mount_store "$STORE" "$MNT" layout=fs
check "is New/Deep, its parent a directory" eval '[ -d "$MNT/New/Deep/cur" ] && ! [ -e "$MNT/New/cur" ]'
check "it is listed" eval 'ls "$MNT/New" | grep -qx Deep'
check "rm -r of a tree of mailboxes" rm -r "$MNT/Sorted" "$MNT/New"
check "removes them" eval '! ds mailboxes | grep -q "Sorted\|New" && [ ! -e "$MNT/Sorted" ]'
check "rmdir of an empty mailbox" eval 'mkdir -p "$MNT/E/cur" && rmdir "$MNT/E/cur" && rmdir "$MNT/E" && ! box E'
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
finish
