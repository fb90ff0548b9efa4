#!/bin/bash
# offlineimap -- OfflineIMAP keeps the mount the same as a Dovecot: flags, keywords as letters, new mail both ways, deletions, folders; its
# databases lie in the mount.  After each round the mail on both sides is what it is with a plain Maildir.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs offlineimap python3
chmod 755 "$TMP"

oi_run() { timeout -k 5 25 offlineimap -o -c "$WORK/offlineimaprc" </dev/null 2>&1 | tee -a "$WORK/said"; [ "${PIPESTATUS[0]}" = 0 ]; }
far() { $MAIL one "$2" | da $SIDE save -m "$1"; }
far_mail() { doveadm_dump $SIDE | sed 's/guid=[^ ]*//; s/uidvalidity=[0-9]*//; s/received=[0-9]*//; s/saved=[0-9]*//; s/\(sha1\)=[^ ]*//g'; }
# UIDs, as OfflineIMAP writes them in names.
uids() { (cd "$MNT" && find . -path './.dsyncfs' -prune -o -name '*,U=*' -print | sed 's#/\(new\|cur\)/.*\(,U=[0-9]*\).*\(:2,.*\)#/\1 \2\3#' | sort); }
rename_to() { local f; f=$(mail_of "$1" "$2") && mv "$f" "$1/cur/$(basename "${f%%:2,*}"):2,$3"; }

round() {	# NAME
	check "round $1" oi_run
	note "$1-near" state X-OfflineIMAP
	note "$1-far" far_mail
	note "$1-uids" uids
}

all() {
	dovecot_conf $SIDE "mdbox:$TMP/dovecot/$SIDE/mdbox"
	imap_of $SIDE
	cat >"$WORK/offlineimaprc" <<-C
	[general]
	accounts = me
	metadata = $MNT/.offlineimap
	ui = basic
	fsync = True
	[Account me]
	localrepository = local
	remoterepository = far
	[Repository local]
	type = Maildir
	localfolders = $MNT
	sep = .
	customflag_a = important
	customflag_b = \$Forwarded
	nametrans = lambda f: 'INBOX' if f == '' else f[1:].replace('.', '/')
	[Repository far]
	type = IMAP
	preauthtunnel = $TMP/bin/imap-$SIDE
	remoteuser = me
	nametrans = lambda f: '' if f == 'INBOX' else '.' + f.replace('/', '.')
	C
	da $SIDE mailbox create -s Work Work/Sub
	for i in 1 2 3 4 5 6; do far INBOX in$i; done
	far Work work1; far Work/Sub sub
	da $SIDE flags add '\Seen' mailbox INBOX 1
	da $SIDE flags add '\Flagged \Answered' mailbox INBOX 2
	da $SIDE flags add 'important $Forwarded' mailbox INBOX 3
	round 1first
	check "a keyword is a letter" has_flag "$MNT" "Subject: in3" ab
	round 1nothing
	equal "a round with nothing to do changes nothing" "$(cat "$NOTES/$SIDE/1first-near")" "$(cat "$NOTES/$SIDE/1nothing-near")"
	deliver_one "$MNT" 1700000001.M1P1.near near1
	deliver_one "$MNT/.Work" 1700000002.M1P1.near near2
	check "a flag here" rename_to "$MNT" "Subject: in4" FS
	check "a flag taken off here" rename_to "$MNT" "Subject: in2" R
	check "a keyword here" rename_to "$MNT" "Subject: in1" Sa
	rm "$(mail_of "$MNT" "Subject: in5")"
	maildir_new "$MNT/.Here"
	deliver_one "$MNT/.Here" 1700000003.M1P1.near near3
	far INBOX far1; far Work far2
	da $SIDE flags add '\Draft' mailbox INBOX header subject in4
	da $SIDE flags remove 'important' mailbox INBOX header subject in3
	da $SIDE expunge mailbox INBOX header subject in6
	da $SIDE mailbox create Far && far Far made
	round 2both
	da $SIDE move Work mailbox INBOX header subject near1
	da $SIDE expunge mailbox Work/Sub all
	rm "$(mail_of "$MNT" "Subject: far1")"
	round 3moved
	equal "INBOX here" "in1 in2 in3 in4" "$(messages "$MNT" | xargs -d '\n' sed -n 's/^Subject: //p' | tr -d '\r' | sort | xargs)"
	equal "no temporary file is left" "" "$(cd "$MNT" && find . -path '*/tmp/*' -o -name '*-journal')"
	equal "OfflineIMAP has no complaint" "" "$(grep -E "ERROR|Traceback|Warning" "$WORK/said")"
	for f in "$MNT"/.offlineimap/*/LocalStatus-sqlite/*; do
		check "its database is whole: ${f##*/}" python3 -c 'import sqlite3, sys
assert sqlite3.connect(sys.argv[1]).execute("pragma integrity_check").fetchall() == [("ok",)]' "$f"
	done
}
on_both all
finish
