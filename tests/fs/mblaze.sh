#!/bin/bash
# mblaze -- mblaze delivers, lists, flags, takes in and refiles on the mount.
. "$(dirname "$0")/../real.sh"
needs mdeliver mlist mscan mflag minc mrefile mmkdir mshow mseq mhdr
export MBLAZE=$HOME/mblaze
mkdir -p "$MBLAZE"
check "the store is mounted" mount_store "$STORE" "$MNT"

check "mmkdir makes a folder" mmkdir "$MNT/.Lists"
check "which is a Maildir" test -d "$MNT/.Lists/cur" -a -d "$MNT/.Lists/new" -a -d "$MNT/.Lists/tmp"
for n in 1 2 3 4 5; do $MAIL one "mail$n" | mdeliver "$MNT" >/dev/null || report 1 "mdeliver $n" ""; done
equal "mdeliver put five into new" 5 "$(ls "$MNT/new" | wc -l)"
check "mdeliver -c into cur with flags" eval '$MAIL one flagged | mdeliver -c -X F "$MNT"'
check "the flag is in the name" has_flag "$MNT" "Subject: flagged" F
for i in 1 2 8 9 11; do $MAIL show $i | tee "$TMP/$i.eml" | mdeliver "$MNT/.Lists" >/dev/null; done
for i in 1 2 8 9 11; do
	check "mail $i comes out as it went in" cmp "$TMP/$i.eml" "$(mail_of "$MNT/.Lists" "^Subject: mail$i ")"
done
equal "mlist lists all" 6 "$(mlist "$MNT" | wc -l)"
equal "mlist -N lists the unseen" 5 "$(mlist -N "$MNT" | wc -l)"
check "minc takes new into cur" minc -q "$MNT"
equal "new is empty" 0 "$(ls "$MNT/new" | wc -l)"
equal "all are in cur" 6 "$(ls "$MNT/cur" | wc -l)"
mlist "$MNT" | mseq -S >/dev/null
equal "mscan has a line each" 6 "$(mlist "$MNT" | mscan 2>/dev/null | wc -l)"
check "mscan shows a subject" grep -q mail3 <(mlist "$MNT" | mscan 2>/dev/null)
check "mhdr reads a header" grep -qx mail4 <(mhdr -h subject "$(mail_of "$MNT" "Subject: mail4")")
check "mshow shows a body" grep -q "Body of mail2" <(mshow "$(mail_of "$MNT" "Subject: mail2")")
mflag -S "$(mail_of "$MNT" "Subject: mail1")" >/dev/null
check "mflag -S sets S" has_flag "$MNT" "Subject: mail1" S
mflag -FR "$(mail_of "$MNT" "Subject: mail2")" >/dev/null
equal "mflag -FR sets F and R" FR "$(flags_of "$MNT" "Subject: mail2")"
mflag -f "$(mail_of "$MNT" "Subject: mail2")" >/dev/null
equal "mflag -f takes F off" R "$(flags_of "$MNT" "Subject: mail2")"
check "mrefile moves" mrefile "$(mail_of "$MNT" "Subject: mail3")" "$MNT/.Lists"
check "the mail is there" has_mail "$MNT/.Lists" "Subject: mail3"
check "and no longer here" not has_mail "$MNT" "Subject: mail3"
check "mrefile -k copies" mrefile -k "$(mail_of "$MNT" "Subject: mail4")" "$MNT/.Lists"
check "both have it" eval 'has_mail "$MNT" "Subject: mail4" && has_mail "$MNT/.Lists" "Subject: mail4"'
rm "$(mail_of "$MNT" "Subject: mail5")"
equal "a removed mail is gone" 4 "$(mlist "$MNT" | wc -l)"
note mail state
if mounted; then
	equal "dump counts the same" "4 7" "$(dump_of INBOX | wc -l) $(dump_of Lists | wc -l)"
	for i in 1 2 8 9 11; do
		read -r sum size _ < <(hash_of "$TMP/$i.eml")
		check "dump has mail $i, byte by byte" grep -q "size=$size sha1=$sum" \
			<(dump_of Lists)
	done
	check "the log has the move as one batch: save there, expunge here" eval \
		'ds log | grep -q "Lists.*\(save\|copy\)" && ds log | grep -q "INBOX.*expunge"'
	check "mailboxes: INBOX and Lists" eval 'ds mailboxes | grep -q "^INBOX\\b" && ds mailboxes | grep -q "^Lists\\b"'
fi
finish
