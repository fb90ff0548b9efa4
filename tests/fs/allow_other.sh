#!/bin/bash
# allow_other -- who else may use a mount, and what for: as mode, owner and group say, and never without the option.  As root, with
# nobody for the other; another user only sees that the option brings the check of modes along.
. "$(dirname "$0")/../real.sh"
needs setpriv fusermount3 python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
options() { awk -v m="$MNT" '$2 == m { print $4 }' /proc/self/mounts; }

if [ "$(id -u)" != 0 ]; then
	check "a mount of one's own" mount_store "$STORE" "$MNT"
	check_not "is nobody else's" grep -q allow_other <(options)
	check "unmount" umount_store "$STORE" "$MNT"
	finish
fi

chmod 755 "$TMP"
other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
# COMMAND...: the other may not
denied() {
	local text
	if text=$(LC_ALL=C other "$@" 2>&1); then echo "he may: $*"; return 1; fi
	case $text in *"Permission denied"* | *"Operation not permitted"*) return 0 ;; esac
	echo "$text"
	return 1
}
fill() {
	$MAIL deliver "$MNT" 3 && mkdir -p "$MNT/.Work/cur" "$MNT/.Work/new" "$MNT/.Work/tmp" && $MAIL deliver "$MNT/.Work" 2 &&
		echo note >"$MNT/private" && chmod 600 "$MNT/private" && mkdir -m 700 "$MNT/notes" && echo x >"$MNT/notes/x"
}
a_mail() { find "$MNT/new" "$MNT/cur" -type f | sort | head -1; }

check "a mount" mount_store "$STORE" "$MNT"
check "with mail" fill
check "without allow_other others see nothing" denied ls "$MNT"
check "no mail" denied cat "$(a_mail)"
check "unmount" umount_store "$STORE" "$MNT"

check "a mount with allow_other" mount_store "$STORE" "$MNT" allow_other
check "modes are checked" grep -q 'default_permissions.*allow_other\|allow_other.*default_permissions' <(options)
equal "mail is 600" 600 "$(stat -c %a "$(a_mail)")"
check "others cannot read it" denied cat "$(a_mail)"
check "nor list a folder" denied ls "$MNT/.Work/new"
check "nor the top" denied ls "$MNT"
check "nor deliver" denied sh -c "echo x >'$MNT/tmp/x'"
check "nor look at what happens" denied cat "$MNT/.dsyncfs/status"
check "unmount" umount_store "$STORE" "$MNT"

check "a mount that others may read" mount_store "$STORE" "$MNT" allow_other,umask=022
mail=$(a_mail)
equal "mail is 644" 644 "$(stat -c %a "$mail")"
check "they read it" grep -q ^Subject: <(other cat "$mail")
check "they do not deliver" denied sh -c "echo x >'$MNT/tmp/x'"
check "nor make a folder" denied mkdir "$MNT/.Theirs"
check "nor delete" denied rm -f "$mail"
check "nor set a flag" denied mv "$mail" "$MNT/cur/$(basename "${mail%%:2,*}"):2,T"
check "nor change a mode" denied chmod 777 "$mail"
check "nor take what is theirs to take" denied python3 -c "import os; os.setxattr('$mail', 'user.dsyncfs.keywords', b'x')"
check "nor write over it" denied sh -c "echo x >>'$mail'"
check "a private file is private" denied cat "$MNT/private"
check "nor is it written" denied sh -c "echo x >>'$MNT/private'"
check "a private directory, too" denied ls "$MNT/notes"
check "nor what is in it" denied cat "$MNT/notes/x"
# What he may write to is his, and a link there leads him nowhere but where he could go himself.
mkdir -m 1777 "$MNT/open"
echo outside >"$TMP/outside"
chmod 600 "$TMP/outside"
check "in an open directory they may write" other sh -c "umask 077; echo his >'$MNT/open/his' && ln -s '$TMP/outside' '$MNT/open/link'"
equal "it is theirs" 65534:65534 "$(stat -c %u:%g "$MNT/open/his")"
check "a link to what is not theirs stays closed" denied cat "$MNT/open/link"
check "and cannot be opened up" denied chmod 666 "$MNT/open/link"
equal "it is as it was" 600 "$(stat -c %a "$TMP/outside")"
check "unmount" umount_store "$STORE" "$MNT"
finish
