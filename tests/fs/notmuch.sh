#!/bin/bash
# notmuch -- notmuch indexes the mount, its tags and the flags follow each
# other, and nothing is found again when nothing has changed.
. "$(dirname "$0")/../real.sh"
needs notmuch
check "the store is mounted" mount_store "$STORE" "$MNT"
mkdir -p "$MNT/.Work/cur" "$MNT/.Work/new" "$MNT/.Work/tmp"
$MAIL deliver "$MNT" 20 a
$MAIL deliver "$MNT/.Work" 10 b
deliver_one "$MNT" 1700000001.M1needle.x needle
export NOTMUCH_CONFIG=$HOME/notmuch-config
cat >"$NOTMUCH_CONFIG" <<C
[database]
path=$MNT
[user]
name=Ann
primary_email=ann@example.org
[new]
tags=unread;inbox
ignore=.dsyncfs;dovecot-keywords;subscriptions
[maildir]
synchronize_flags=true
C
total=31
check "notmuch new" notmuch new
equal "all mail is found" $total "$(notmuch count '*')"
check "its database is in the mount, beside the mail" test -d "$MNT/.notmuch/xapian"
out=$(notmuch new 2>&1)
check "a second run finds nothing" grep -q "No new mail" <<<"$out"
check "and nothing removed or renamed" not grep -qE "emoved|ename" <<<"$out"

check "a tag taken off" notmuch tag -unread -- subject:needle
check "sets S in the name" has_flag "$MNT" "Subject: needle" S
check "the message is in cur now" test -n "$(mail_of "$MNT" "Subject: needle" | grep /cur/)"
check "a tag put on" notmuch tag +flagged +replied -- subject:needle
equal "sets F and R" FRS "$(flags_of "$MNT" "Subject: needle")"
check "tags on all" notmuch tag +passed -- '*'
equal "set P on all" $total "$(cat <(messages "$MNT") <(messages "$MNT/.Work") | grep -c ':2,[A-Z]*P')"
f=$(mail_of "$MNT" "Subject: needle")
check "a flag changed by another program" mv "$f" "${f%:2,*}:2,S"
check "notmuch new sees a rename" grep -qi "renam" <(notmuch new 2>&1)
equal "and the tags follow" "inbox" "$(notmuch search --output=tags subject:needle)"
equal "no mail more or less" $total "$(notmuch count '*')"

check "notmuch insert" eval '$MAIL one inserted | notmuch insert --folder=.Work +mine -unread'
check "the inserted mail is a file in Work" has_mail "$MNT/.Work" "Subject: inserted"
equal "and is tagged" "inbox mine" "$(notmuch search --output=tags subject:inserted | sort | xargs)"
deliver_one "$MNT/.Work" 1700000002.M2later.x later
check "new mail" grep -q "Added 1 new" <(notmuch new 2>&1)
equal "is the one found" 1 "$(notmuch count subject:later)"
rm "$(mail_of "$MNT/.Work" "Subject: later")"
check "a removed file" grep -q "Removed 1" <(notmuch new 2>&1)

# What notmuch goes by must stay as it is: directory times, inodes, names.
look() { find "$MNT" -name .notmuch -prune -o \( -path '*/cur*' -o -path '*/new*' \) -printf '%i %T@ %p\n' | sort; }
before=$(look)
out=$(notmuch new 2>&1)
check "nothing is found again" grep -q "No new mail" <<<"$out"
equal "names, inodes and times are as they were" "$before" "$(look)"
note mail state
note tags eval 'notmuch dump | sort'
note found notmuch search --output=files --format=text subject:needle
if mounted; then
	equal "dump has them all" 32 "$(ds dump | grep -c sha1=)"
	check "dump has the flags" grep -q 'flags=\\Seen keywords=[^ ]* .*'"sha1=$(hash_of "$(mail_of "$MNT" "Subject: needle")" | cut -d' ' -f1)" <(ds dump)
	check "the database is aux, not mail" not grep -qi notmuch <(ds mailboxes)
	check "unmount" umount_store "$STORE" "$MNT"
	check "mount again" mount_store "$STORE" "$MNT"
	equal "names, inodes and times survive a mount" "$before" "$(look)"
	check "the database too: nothing to find" grep -q "No new mail" <(notmuch new 2>&1)
	equal "notmuch has it all still" 32 "$(notmuch count '*')"
fi
finish
