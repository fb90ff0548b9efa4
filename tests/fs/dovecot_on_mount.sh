#!/bin/bash
# dovecot_on_mount -- Dovecot has its Maildir on the mount: it delivers, changes
# flags and keywords, copies, moves, expunges, makes and renames mailboxes; what it
# then says of all mail is what the store says (UIDs and mailbox GUIDs are its own).
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
check "the store is mounted" mount_store "$STORE" "$MNT"
dovecot_conf box "maildir:$MNT"

for i in 0 1 2 3 4 5 8 11; do check "dovecot-lda delivers mail $i" lda box <<<"$($MAIL show $i | tr -d '\0')"; done
check "dovecot-lda delivers to a new mailbox" eval '$MAIL one work1 | lda box -m Work'
check "dovecot-lda delivers to it again" eval '$MAIL one work2 | lda box -m Work'
equal "all are there" 8 "$(da box search mailbox INBOX all | wc -l)"
check "flags" da box flags add '\Seen \Flagged' mailbox INBOX 1:3
check "flags replaced" da box flags replace '\Answered' mailbox INBOX 4
check "keywords" no_word da box flags add '$Forwarded Junk lab-a' mailbox INBOX 1:2
check "a keyword removed" da box flags remove Junk mailbox INBOX 2
check "a flag removed" da box flags remove '\Seen' mailbox INBOX 3
check "mailbox create" da box mailbox create Archive/2024 Lists Gone
check "mailbox subscribe" da box mailbox subscribe Archive/2024 Lists
check "mailbox unsubscribe" da box mailbox unsubscribe Lists
check "copy" da box copy Archive/2024 mailbox INBOX 1:2
check "move" da box move Lists mailbox INBOX 5
check "expunge" da box expunge mailbox INBOX 6
check "save" eval '$MAIL one saved | da box save -m Lists'
check "mailbox rename" da box mailbox rename Lists Listor/Räk
check "mailbox delete" da box mailbox delete Gone
check "force-resync" da box force-resync '*'
check "purge" da box purge
equal "INBOX has six" 6 "$(da box search mailbox INBOX all | wc -l)"
equal "the copies" 2 "$(da box search mailbox Archive/2024 all | wc -l)"
equal "moved and saved, under the new name" 2 "$(da box search mailbox Listor/Räk all | wc -l)"
check "Dovecot has no complaint" not grep -E 'Error|Panic|Warning|Broken|Corrupt' "$TMP/dovecot/box/log"
if mounted; then
	ours() {
		ds dump --no-modseqs | python3 -c '
import re, sys
boxes = []
for line in sys.stdin:
    line = line.rstrip("\n")
    if line.startswith(("mailbox ", "subscription ")):
        boxes.append((re.sub(r" guid=\S* uidvalidity=\d+ uidnext=\d+", "", line), []))
    else:
        boxes[-1][1].append(re.sub(r"^\d+ guid=\S* ", "", line))
for head, mail in boxes:
    print(head, *sorted(mail), sep="\n")'
	}
	check "each keyword has its name" eval 'ds dump | grep -q "keywords=[^ ]*lab-a" && ! ds dump | grep -q unknown-'
	theirs() { doveadm_dump box --no-uid | sed 's/^guid=[^ ]* //'; }
	equal "doveadm and the store say the same" "$(theirs | LC_ALL=C sort)" "$(ours | LC_ALL=C sort)"
	check "unmount" umount_store "$STORE" "$MNT"
	before=$(ds dump)
	check "mount again" mount_store "$STORE" "$MNT"
	equal "Dovecot still says the same" "$(theirs | LC_ALL=C sort)" "$(ours | LC_ALL=C sort)"
	equal "and looking changed nothing" "$before" "$(ds dump)"
	check "Dovecot has no complaint then" not grep -E 'Error|Panic|Warning|Broken|Corrupt' "$TMP/dovecot/box/log"
	check "the store is whole" ds verify
fi
finish
