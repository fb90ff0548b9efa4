#!/bin/bash
# mount_basic -- every row of the table "a program does / the log gets", with
# coreutils on a real mount, judged by the log and by dump.
. "$(dirname "$0")/../real.sh"
needs getfattr python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
check "the store is made and mounted" mount_store "$STORE" "$MNT"

text() { printf 'From: a@example.org\nSubject: %s\n\nbody of %s\n' "$1" "$1"; }
put() { text "$2" >"$1/tmp/$3" && mv "$1/tmp/$3" "$1/new/$3"; }	# FOLDER SUBJECT BASE
last() { ds log | tail -"${1:-1}" | sed 's/^[^ ]* *//'; }
lines() { ds log | wc -l; }
attr() { getfattr --absolute-names --only-values -n "user.dsyncfs.$2" "$1"; }

# tmp/x -> nothing; its rename or link -> save.
before=$(lines)
text one >"$MNT/tmp/1.M1.h"
equal "a file in tmp is no mail yet: nothing is logged" "$before" "$(lines)"
ino=$(stat -c %i "$MNT/tmp/1.M1.h")
check "rename to new" mv "$MNT/tmp/1.M1.h" "$MNT/new/1.M1.h"
equal "the inode number stays" "$ino" "$(stat -c %i "$MNT/new/1.M1.h")"
check "the log has a save, with the base name as GUID" says "save uid=1 guid=1.M1.h" last
text two >"$MNT/tmp/2.M2.h"
check "link to cur, with flags" ln "$MNT/tmp/2.M2.h" "$MNT/cur/2.M2.h:2,FS"
equal "both names are one file" "2 $(stat -c %i "$MNT/tmp/2.M2.h")" "$(stat -c '%h %i' "$MNT/cur/2.M2.h:2,FS")"
check "unlink in tmp" rm "$MNT/tmp/2.M2.h"
equal "one link is left" 1 "$(stat -c %h "$MNT/cur/2.M2.h:2,FS")"
equal "tmp is empty" "" "$(ls -A "$MNT/tmp")"
check "saved with its flags" says 'flags=\Flagged,\Seen' last
equal "its bytes are what was written" "$(text two)" "$(cat "$MNT/cur/2.M2.h:2,FS")"
touch -d '2020-01-02 03:04:05 UTC' "$MNT/cur/2.M2.h:2,FS"
equal "mtime becomes the received date" 1577934245 "$(dump_of INBOX | sed -n 's/^2 .*received=\([0-9]*\).*/\1/p')"

# Flags by rename.
check "new -> cur" mv "$MNT/new/1.M1.h" "$MNT/cur/1.M1.h:2,"
check "no flag, no modseq" says "set uid=1 in=cur" last
mv "$MNT/cur/1.M1.h:2," "$MNT/cur/1.M1.h:2,RS"
check "exactly the bits added" says 'flags uid=1 +\Answered,+\Seen' last
mv "$MNT/cur/1.M1.h:2,RS" "$MNT/cur/1.M1.h:2,FS"
check "added and removed" eval 'last | grep -q Flagged && last | grep -q -- "-.*Answered"'
mv "$MNT/cur/1.M1.h:2,FS" "$MNT/cur/1.M1.h:2,FPS"
check "P is \$Forwarded" says 'keywords=$Forwarded' dump_of INBOX
mv "$MNT/cur/1.M1.h:2,FPS" "$MNT/cur/1.M1.h:2,FPSX"
equal "an unknown letter stays in the name" "1.M1.h:2,FPSX" "$(cd "$MNT/cur" && echo 1.*)"
equal "its inode number has not changed" "$ino" "$(stat -c %i "$MNT/cur/1.M1.h:2,FPSX")"
mv "$MNT/cur/1.M1.h:2,FPSX" "$MNT/cur/renamed.1:2,S"
equal "another base name keeps the GUID" 1.M1.h "$(attr "$MNT/cur/renamed.1:2,S" guid)"

# Keywords.
check "dovecot-keywords takes a name" eval 'n=$(wc -l <"$MNT/dovecot-keywords"); echo "$n work" >>"$MNT/dovecot-keywords"; sync "$MNT/dovecot-keywords"'
letter=$(awk '$2 == "work" { printf "%c", 97 + $1 }' "$MNT/dovecot-keywords")
check "a letter is a keyword" eval 'mv "$MNT/cur/renamed.1:2,S" "$MNT/cur/renamed.1:2,S$letter" && dump_of INBOX | grep -q "keywords=work"'
equal "and an attribute" work "$(attr "$MNT/cur/renamed.1:2,S$letter" keywords)"
check "rewriting the file with one name more" eval \
	'{ cat "$MNT/dovecot-keywords"; echo "$(wc -l <"$MNT/dovecot-keywords") later"; } >"$MNT/dovecot-keywords.lock" && mv "$MNT/dovecot-keywords.lock" "$MNT/dovecot-keywords" && grep -q later "$MNT/dovecot-keywords"'
check "renumbering is refused" eval 'sed "s/work/other/" "$MNT/dovecot-keywords" >"$MNT/k.tmp"; ! mv "$MNT/k.tmp" "$MNT/dovecot-keywords" 2>"$TMP/e" && grep -q "not permitted" "$TMP/e"; rm -f "$MNT/k.tmp"'
check "and nothing has changed" grep -q "work" "$MNT/dovecot-keywords"

put "$MNT" letter l.1
check "a letter without a keyword keeps its place" eval 'mv "$MNT/new/l.1" "$MNT/cur/l.1:2,Sy" && [ "$(cd "$MNT/cur" && echo l.*)" = "l.1:2,Sy" ] && ! grep -q "^24" "$MNT/dovecot-keywords" && ! dump_of INBOX | grep -q "guid=l.1 .*keywords=[^ ]"'
mkdir -p "$MNT/.Letters/cur"
check "in another mailbox too" eval 'mv "$MNT/cur/l.1:2,Sy" "$MNT/.Letters/cur/" && [ -e "$MNT/.Letters/cur/l.1:2,Sy" ] && mv "$MNT/.Letters/cur/l.1:2,Sy" "$MNT/cur/"'
rm -r "$MNT/.Letters"
check "and with other flags" eval 'mv "$MNT/cur/l.1:2,Sy" "$MNT/cur/l.1:2,FSy" && [ -e "$MNT/cur/l.1:2,FSy" ]'
check "named later it is a keyword" eval '{ cat "$MNT/dovecot-keywords"; echo "24 afterwards"; } >"$MNT/k.tmp" && mv "$MNT/k.tmp" "$MNT/dovecot-keywords" && dump_of INBOX | grep -q "guid=l.1 .*keywords=afterwards"'
equal "the name is as it was" "l.1:2,FSy" "$(cd "$MNT/cur" && echo l.*)"
check "taken off the name, taken off the mail" eval 'mv "$MNT/cur/l.1:2,FSy" "$MNT/cur/l.1:2,S" && ! dump_of INBOX | grep -q afterwards && rm "$MNT/cur/l.1:2,S"'

# Between mailboxes.
check "a folder, as maildirmake makes it" mkdir "$MNT/.Sub.Deep" "$MNT/.Sub.Deep/cur" "$MNT/.Sub.Deep/new" "$MNT/.Sub.Deep/tmp"
check "is a mailbox" says "Sub/Deep" ds mailboxes
guid=$(attr "$MNT/cur/2.M2.h:2,FS" guid)
check "a move" mv "$MNT/cur/2.M2.h:2,FS" "$MNT/.Sub.Deep/cur/2.M2.h:2,FS"
check "is an expunge and a save" eval 'last 2 | grep -q "INBOX expunge uid=2" && last 2 | grep -q "Sub/Deep save uid=1"'
equal "with the same GUID" "$guid" "$(attr "$MNT/.Sub.Deep/cur/2.M2.h:2,FS" guid)"
packs=$(du -sb "$STORE/packs" | cut -f1)
check "a hard link in another mailbox" ln "$MNT/.Sub.Deep/cur/2.M2.h:2,FS" "$MNT/cur/2.M2.h:2,F"
equal "writes no body" "$packs" "$(du -sb "$STORE/packs" | cut -f1)"
equal "has one inode number, two links" "$(stat -c %i "$MNT/.Sub.Deep/cur/2.M2.h:2,FS") 2" "$(stat -c '%i %h' "$MNT/cur/2.M2.h:2,F")"
before=$(lines)
check "a link in the same mailbox is a second name" eval 'ln "$MNT/cur/2.M2.h:2,F" "$MNT/cur/2.M2.h:2,FT"'
check "until the first goes: then it was a flag" eval 'rm "$MNT/cur/2.M2.h:2,F" && last | grep -q "flags.*Deleted" && ! ds log | tail -n +$((before + 1)) | grep -q expunge'
equal "and the name is the new one" "2.M2.h:2,FT" "$(cd "$MNT/cur" && echo 2.*)"
put "$MNT" three 3.M3.h
put "$MNT" four 4.M4.h
check "a rename over a message" mv "$MNT/new/3.M3.h" "$MNT/new/4.M4.h"
equal "replaces it" "Subject: three" "$(grep Subject "$MNT/new/4.M4.h")"
check "and expunges it" eval 'ds log | tail -3 | grep -q expunge'
before=$(lines)
check "unlink" rm "$MNT/new/4.M4.h"
check "is an expunge" says expunge last
check_not "and it is gone" test -e "$MNT/new/4.M4.h"

# Writing to a message.
put "$MNT" rewritten 5.M5.h
was=$(attr "$MNT/new/5.M5.h" guid)
exec 8<>"$MNT/new/5.M5.h"
printf 'X' >&8
check "a write is seen by readers of that name at once" grep -q "^Xrom:" "$MNT/new/5.M5.h"
check "fsync settles it" sync "$MNT/new/5.M5.h"
exec 8>&-
check "one batch: expunge and save" eval 'last 2 | grep -q expunge && last 2 | grep -q save'
check_not "with another GUID" test "$was" = "$(attr "$MNT/new/5.M5.h" guid)"
printf 'tail\n' >>"$MNT/new/5.M5.h"
check "without an fsync it settles by itself" within 10 eval 'dump_of INBOX | grep -q "size=$(stat -c %s "$MNT/new/5.M5.h") "'
check "truncate works" eval 'truncate -s 5 "$MNT/new/5.M5.h" && [ "$(cat "$MNT/new/5.M5.h")" = "Xrom:" ]'

# A file made in place.
text direct >"$MNT/cur/6.M6.h:2,S"
check "a file written directly in cur becomes a message" within 10 eval 'ds log | grep -q "guid=6.M6.h"'
check "a dot file never does" eval 'text x >"$MNT/cur/.hidden" && sleep 1.5 && ! ds log | grep -q hidden && rm "$MNT/cur/.hidden"'

# Reading while it goes away.
put "$MNT" gone 7.M7.h
exec 7<"$MNT/new/7.M7.h"
rm "$MNT/new/7.M7.h"
check "an open message stays readable after unlink" grep -q "Subject: gone" /proc/self/fd/7
exec 7<&-

# Folders.
check "rename of a folder" mv "$MNT/.Sub.Deep" "$MNT/.Neu"
check "is a mailbox rename" says rename last
equal "its mail is there" 1 "$(count "$MNT/.Neu")"
mkdir -p "$MNT/.P/cur" "$MNT/.P/new" "$MNT/.P/tmp" "$MNT/.P.child/cur" "$MNT/.P.child/new" "$MNT/.P.child/tmp"
check "a renamed Maildir++ folder leaves its children" eval 'mv "$MNT/.P" "$MNT/.Q" && [ -d "$MNT/.P.child/cur" ] && [ -d "$MNT/.Q/cur" ] && [ ! -e "$MNT/.Q.child" ]'
check "rm -r of a folder" rm -r "$MNT/.Neu"
check "is a mailbox delete" says delete last
check_not "a name that is not modified UTF-7 is no mailbox" eval 'mkdir "$MNT/.R\$ä&" 2>/dev/null && mkdir "$MNT/.R\$ä&/cur" 2>/dev/null && ds mailboxes | grep -q "^R"'
check "a mailbox with an umlaut" eval 'mkdir -p "$MNT/.R&AOQ-k/cur" && ds mailboxes | grep -q "^Räk"'
check "the root's parts cannot be removed" eval '! rmdir "$MNT/cur" 2>/dev/null && [ -d "$MNT/cur" ]'
check "no directory among mail" eval '! mkdir "$MNT/cur/dir" 2>/dev/null'
check "no fifo among mail" eval '! mkfifo "$MNT/new/fifo" 2>/dev/null'

# Subscriptions.
check "subscriptions, as Dovecot rewrites it" eval \
	'printf "V\t2\n\nQ\nP\tchild\n" >"$MNT/subscriptions.lock" && mv "$MNT/subscriptions.lock" "$MNT/subscriptions"'
check "subscribe is logged" eval 'ds mailboxes | grep "^P/child" | grep -q "subscribed=1\|1$"'
equal "it reads back in the same form" "$(printf 'V\t2\n\nP\tchild\nQ')" "$( { head -2 "$MNT/subscriptions"; tail -n +3 "$MNT/subscriptions" | sort; } )"
check "and takes the old form, in place" eval 'printf "Q\n" >"$MNT/subscriptions" && sync "$MNT/subscriptions" && ! grep -q child "$MNT/subscriptions"'

# Directory times, link counts, statfs.
t1=$(stat -c %.9Y "$MNT/new")
put "$MNT" t 8.M8.h
t2=$(stat -c %.9Y "$MNT/new")
mv "$MNT/new/8.M8.h" "$MNT/new/8.M9.h"
t3=$(stat -c %.9Y "$MNT/new")
check "a directory's mtime grows with each change, within a second too" eval 'awk "BEGIN { exit !($t1 < $t2 && $t2 < $t3) }"'
check "a folder's link count" eval '[ "$(stat -c %h "$MNT/.Q")" = 5 ]'
check "df works" df "$MNT"
check "du counts blocks" eval '[ "$(du -k "$MNT/new/8.M9.h" | cut -f1)" -ge 0 ] && [ "$(stat -c %b "$MNT/new/8.M9.h")" -ge 1 ]'

# .dsyncfs
check ".dsyncfs/status" grep -q "^mailboxes" "$MNT/.dsyncfs/status"
check "tail -f of .dsyncfs/changes follows" eval \
	'timeout 10 tail -n0 -f "$MNT/.dsyncfs/changes" >"$TMP/followed" & sleep 0.5; put "$MNT" followed 9.M9.followed; within 8 grep -q 9.M9.followed "$TMP/followed"; rc=$?; kill %% 2>/dev/null; wait 2>/dev/null; exit $rc'
check "its files cannot be written" eval '! echo x 2>/dev/null >>"$MNT/.dsyncfs/status"'
equal "attributes of a folder" "guid highestmodseq uidnext uidvalidity" \
	"$(getfattr --absolute-names "$MNT/.Q" | sed -n 's/^user.dsyncfs.//p' | sort | paste -sd' ')"

# Nothing of it is lost by unmounting.
text dirty >"$MNT/tmp/left"
printf 'settled by unmounting\n' >>"$MNT/new/8.M9.h"
want=$(cd "$MNT" && find . -type f ! -path './.dsyncfs*' -exec sha1sum {} + | sort)
check "unmount" umount_store "$STORE" "$MNT"
check "the store is whole" ds verify
check "mount again" mount_store "$STORE" "$MNT"
equal "all is as it was, tmp too" "$want" "$(cd "$MNT" && find . -type f ! -path './.dsyncfs*' -exec sha1sum {} + | sort)"
finish
