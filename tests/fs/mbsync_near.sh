#!/bin/bash
# mbsync_near -- mbsync keeps the mount the same as a Dovecot: flags, new mail both ways, expunges, folders.  After each round the mail
# on both sides, and mbsync's own state, are what they are with a plain Maildir.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs mbsync python3
chmod 755 "$TMP"

mbsync_run() { mbsync -q -c "$WORK/mbsyncrc" -a; }
far() { $MAIL one "$2" | da $SIDE save -m "$1"; }
# The mail of the far side; UIDs are alike on both of them.
far_mail() { doveadm_dump $SIDE | sed 's/guid=[^ ]*//; s/uidvalidity=[0-9]*//; s/received=[0-9]*//; s/\(size\|sha1\)=[^ ]*//g; s/saved=[0-9]*//'; }
# Messages by UID: what mbsync wrote in their names.
uids() { (cd "$MNT" && find . -path './.dsyncfs' -prune -o -name '*,U=*' -print | sed 's#/\(new\|cur\)/.*\(,U=[0-9]*\)#/\1 \2#' | sort); }
# mbsync's state, without what is new each time.
sync_state() {
	(cd "$MNT" && for f in $(find . -name '.mbsyncstate' | sort); do echo "$f"; sed '/Validity/d' "$f"; done
	find . \( -name '.mbsyncstate*' -o -name .uidvalidity \) | sort)
}
rename_to() { local f; f=$(mail_of "$1" "$2") && mv "$f" "$1/cur/$(basename "${f%%:2,*}"):2,$3"; }

round() {	# NAME
	check "round $1" mbsync_run
	note "$1-near" state X-TUID
	note "$1-far" far_mail
	note "$1-uids" uids
	note "$1-state" sync_state
}

all() {
	dovecot_conf $SIDE "mdbox:$TMP/dovecot/$SIDE/mdbox"
	imap_of $SIDE
	cat >"$WORK/mbsyncrc" <<-C
	IMAPStore far
	Tunnel "$TMP/bin/imap-$SIDE"

	MaildirStore near
	Inbox $MNT
	SubFolders Maildir++

	Channel mail
	Far :far:
	Near :near:
	Patterns *
	Create Both
	Remove Both
	Expunge Both
	CopyArrivalDate yes
	Sync All
	SyncState *
	C
	da $SIDE mailbox create -s Work Work/Sub Räk Empty
	for i in 1 2 3 4 5 6; do far INBOX in$i; done
	far Work work1; far Work work2; far Work/Sub sub; far Räk räk
	da $SIDE flags add '\Seen' mailbox INBOX 1
	da $SIDE flags add '\Flagged \Answered' mailbox INBOX 2
	da $SIDE flags add '$Forwarded' mailbox INBOX 3
	round 1first
	round 1nothing
	equal "a round with nothing to do changes nothing" "$(cat "$NOTES/$SIDE/1first-near" "$NOTES/$SIDE/1first-state")" \
		"$(cat "$NOTES/$SIDE/1nothing-near" "$NOTES/$SIDE/1nothing-state")"
	# Here.
	deliver_one "$MNT" 1700000001.M1P1.near near1
	deliver_one "$MNT/.Work" 1700000002.M1P1.near near2
	check "a flag here" rename_to "$MNT" "Subject: in3" FS
	check "a flag taken off here" rename_to "$MNT" "Subject: in2" R
	check "deleted here" rename_to "$MNT" "Subject: in4" ST
	rm "$(mail_of "$MNT" "Subject: in5")"
	maildir_new "$MNT/.Here.Made"
	deliver_one "$MNT/.Here.Made" 1700000003.M1P1.near near3
	f=$(mail_of "$MNT/.Work" "Subject: work1")
	check "moved here, as mutt does with maildir_trash off" mv "$f" "$MNT/.Here.Made/cur/1700000004.M1P1.near:2,S"
	round 2here
	# There.
	far INBOX far1; far Work far2
	da $SIDE flags add '\Draft' mailbox INBOX header subject in1
	da $SIDE flags remove '\Answered' mailbox INBOX header subject in2
	da $SIDE expunge mailbox INBOX header subject in6
	da $SIDE move Work mailbox INBOX header subject near1
	da $SIDE mailbox create Far/Made && far Far/Made made
	round 3there
	# On both sides at once.
	deliver_one "$MNT" 1700000005.M1P1.near near5; far INBOX far5
	check "a flag here of a message" rename_to "$MNT" "Subject: in1" DFS
	da $SIDE flags add '\Answered' mailbox INBOX header subject in1
	rm "$(mail_of "$MNT" "Subject: far1")"
	da $SIDE expunge mailbox INBOX header subject in3
	da $SIDE expunge mailbox Räk all
	round 4both
	# A mailbox goes there, empty as mbsync wants it; another has no mail any more.
	da $SIDE mailbox delete Räk
	da $SIDE expunge mailbox Work/Sub all
	round 5gone
	check "removed there, removed here" test ! -e "$MNT/.R&AOQ-k"
	equal "INBOX here" "far5 in1 in2 near5" "$(messages "$MNT" | xargs -d '\n' sed -n 's/^Subject: //p' | tr -d '\r' | sort | xargs)"
	equal "no temporary file is left" "" "$(cd "$MNT" && find . -path '*/tmp/*' -o -name '*.lock' -o -name '.mbsyncstate.new')"
	# What mbsync has of a message it finds again after all that.
	before=$(uids)
	check "mbsync starts from its state anew" mbsync_run
	equal "UIDs are as they were" "$before" "$(uids)"
}
on_both all
finish
