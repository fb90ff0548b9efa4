#!/bin/bash
# mu -- mu indexes the mount, with its database outside and inside of it.
. "$(dirname "$0")/../real.sh"
needs mu
check "the store is mounted" mount_store "$STORE" "$MNT"
mkdir -p "$MNT/.Work/cur" "$MNT/.Work/new" "$MNT/.Work/tmp"
$MAIL deliver "$MNT" 20 a
$MAIL deliver "$MNT/.Work" 10 b
deliver_one "$MNT" 1700000001.M1needle.x needle

found() { mu find --muhome="$1" --fields=l "${@:2}" 2>/dev/null | wc -l; }
for where in "$HOME/mu" "$MNT/.mu"; do
	n="muhome ${where#"$TMP/"}"
	check "$n: mu init" mu init --muhome="$where" --maildir="$MNT"
	check "$n: mu index" mu index --quiet --muhome="$where"
	equal "$n: all are found" 31 "$(found "$where" "")"
	equal "$n: one is found by subject" 1 "$(found "$where" subject:needle)"
	f=$(mail_of "$MNT" "Subject: needle")
	equal "$n: where it is" "$f" "$(mu find --muhome="$where" --fields=l subject:needle)"
	if [ "$where" = "$HOME/mu" ]; then
		mv "$f" "$MNT/cur/$(basename "${f%:2,*}"):2,FS"
	else
		mv "$f" "${f%:2,*}:2,S"
	fi
	deliver_one "$MNT/.Work" "1700000002.M${#where}later.x" later
	check "$n: mu index again" mu index --quiet --muhome="$where"
	equal "$n: the flags are new" "$([ "$where" = "$HOME/mu" ] && echo FS || echo S)" \
		"$(mu find --muhome="$where" --fields=g subject:needle | tr -d 'Naulx\n')"
	equal "$n: new mail is found" 1 "$(found "$where" subject:later)"
	rm "$(mail_of "$MNT/.Work" "Subject: later")"
	check "$n: mu index once more" mu index --quiet --muhome="$where"
	equal "$n: removed mail is gone" 0 "$(found "$where" subject:later)"
	equal "$n: the rest is there" 31 "$(found "$where" "")"
	before=$(find "$MNT" -path "$MNT/.mu" -prune -o -path '*/cur*' -printf '%i %T@ %p\n' | sort)
	check "$n: nothing to do" grep -q 'updated/new: 0' <(mu index --muhome="$where" 2>&1)
	equal "$n: names, inodes and times are as they were" "$before" \
		"$(find "$MNT" -path "$MNT/.mu" -prune -o -path '*/cur*' -printf '%i %T@ %p\n' | sort)"
done
note mail state
note index eval 'mu find --muhome="$MNT/.mu" --fields="l g s" "" | sed "s|/[0-9]*\.M[^ ]*||" | sort'
if mounted; then
	equal "dump has them all" 31 "$(ds dump | grep -c sha1=)"
	check "the database in the mount is no mailbox" not grep -q mu <(ds mailboxes | cut -d' ' -f1)
fi
finish
