#!/bin/bash
# dovecot_clients -- IMAP clients of a Dovecot whose Maildir is the mount, dovecot-lda and LMTP with a sieve script that lies there:
# each word of Dovecot's, and the mail that is there in the end, is the same on a plain Maildir.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 sievec
chmod 755 "$TMP"
for i in 1 2 8 9 11; do $MAIL show $i | tr -d '\0' >"$TMP/$i.eml"; done
for i in $(seq 8); do $MAIL one "app$i" >"$TMP/app$i.eml"; done
talk() { USER=mail python3 "$ROOT/tests/fs/imap_talk.py" "$TMP/bin/imap-$SIDE" 2>>"$WORK/imap.err"; }
complaints() { grep -hE 'Error|Panic|Fatal|Warning|Broken|Corrupt' "$TMP/dovecot/$SIDE/log" "$WORK/imap.err" | grep -v 'master: Warning: Killed with signal 15'; }

script_of_one_client() {
	cat <<-S
	CAPABILITY
	LIST "" "*"
	STATUS INBOX (MESSAGES UNSEEN UIDNEXT RECENT)
	SELECT INBOX
	$(for i in 1 2 8 9 11; do echo "APPEND INBOX (\\Seen) \"0$((i % 9 + 1))-Mar-2026 10:00:00 +0000\" {@$TMP/$i.eml}"; done)
	$(for i in $(seq 8); do echo "APPEND INBOX \"1$i-Mar-2026 10:00:00 +0000\" {@$TMP/app$i.eml}"; done)
	NOOP
	UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)
	UID FETCH 1:* (BODY.PEEK[])
	UID STORE 6 +FLAGS (\\Flagged \\Answered)
	UID STORE 7 +FLAGS (\\Seen \$Forwarded Junk lab-a)
	UID STORE 8:9 FLAGS (\\Draft NonJunk)
	UID STORE 7 -FLAGS (Junk)
	UID STORE 1:2 -FLAGS.SILENT (\\Seen)
	UID FETCH 1:* (FLAGS)
	UID SEARCH SUBJECT app
	UID SEARCH BODY "Body of app4"
	UID SEARCH TEXT gamma
	UID SEARCH KEYWORD lab-a
	UID SEARCH UNSEEN NOT FLAGGED
	UID SEARCH LARGER 5000 SENTSINCE 1-Jan-2000
	UID SEARCH SINCE 12-Mar-2026 BEFORE 15-Mar-2026
	UID SORT (REVERSE DATE SUBJECT) UTF-8 ALL
	UID THREAD REFERENCES UTF-8 ALL
	CREATE Work
	CREATE Archive/2024
	CREATE "R&AOQ-k"
	CREATE Gone
	CREATE Work
	SUBSCRIBE Work
	SUBSCRIBE Archive/2024
	LIST "" "*"
	LSUB "" "*"
	UID COPY 6:8 Work
	UID MOVE 9 Archive/2024
	UID MOVE 10:11 Work
	UID COPY 1 Nowhere
	STATUS Work (MESSAGES UNSEEN UIDNEXT)
	STATUS Archive/2024 (MESSAGES UNSEEN UIDNEXT)
	UID STORE 2,4 +FLAGS.SILENT (\\Deleted)
	UID EXPUNGE 4
	EXPUNGE
	UID FETCH 1:* (FLAGS INTERNALDATE)
	SELECT Work
	UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])
	UID FETCH 1 (BODY[TEXT])
	UID FETCH 1 (FLAGS)
	UID COPY 1 INBOX
	CLOSE
	RENAME Work Sorted/Work
	RENAME Archive Old
	RENAME Gone Work
	LIST "" "*"
	DELETE Work
	DELETE Nowhere
	SELECT Sorted/Work
	UID FETCH 1:* (FLAGS)
	UNSELECT
	SELECT Old/2024
	UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])
	STORE 1 +FLAGS.SILENT (\\Deleted)
	CLOSE
	EXAMINE INBOX
	UID SEARCH ALL
	CREATE Odd/.dot
	CREATE "a b/c\$d"
	DELETE "a b"
	LIST "" "*" RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES))
	SELECT INBOX
	LOGOUT
	S
}

# What others do to the folder while a client idles: Dovecot is told by inotify, its own look comes after minutes.
script_of_an_idler() {
	cat <<-S
	SELECT INBOX
	IDLE
	!$MAIL one idle1 >"$MNT/tmp/1900000001.M1.x" && mv "$MNT/tmp/1900000001.M1.x" "$MNT/new/"
	?EXISTS
	!$MAIL one idle2 >"$MNT/tmp/1900000002.M2.x" && ln "$MNT/tmp/1900000002.M2.x" "$MNT/new/1900000002.M2.x" && rm "$MNT/tmp/1900000002.M2.x"
	?EXISTS
	!cd "$MNT/cur" && mv 1900000001.M1.x* 1900000001.M1.x:2,FS
	?FETCH .*Flagged
	!rm "$MNT"/cur/1900000001.M1.x*
	?EXPUNGE
	NOOP
	UID FETCH 1:* (FLAGS)
	LOGOUT
	S
}

# What a sync does: on the plain side a program does the same.
script_of_a_watcher() {
	local peer=$WORK/peer do
	if mounted; then
		do="\"$SYNC\" -o mail_location=dsyncfs:$STORE mirror --no-max-delete maildir:$peer >/dev/null"
		ds mirror "maildir:$peer" >/dev/null || echo "the first sync: $?"
		f=$(mail_of "$peer" "Subject: app8")
	else
		peer=$MNT do=true
		f=$(mail_of "$MNT" "Subject: app8")
	fi
	cat <<-S
	SELECT INBOX
	IDLE
	!$MAIL one synced >"$peer/tmp/1900000005.M5.x" && mv "$peer/tmp/1900000005.M5.x" "$peer/new/" && $do
	?EXISTS
	!mv "$f" "${f%:2,*}:2,DS" && $do
	?FETCH .*Draft
	!rm "${f%:2,*}:2,DS" && $do
	?EXPUNGE
	NOOP
	UID FETCH 1:* (FLAGS)
	LOGOUT
	S
}

sieve_script() {
	cat <<-S
	require ["fileinto", "imap4flags", "mailbox", "copy", "body"];
	if header :contains "subject" "list" { setflag ["\\\\Flagged", "listig"]; fileinto :create "Lists/one"; stop; }
	if header :contains "subject" "both" { fileinto :copy :create "Copies"; }
	if header :contains "subject" "spam" { discard; stop; }
	if body :text :contains "Body of read" { addflag "\\\\Seen"; }
	S
}

deliveries() {	# HOW
	local n
	for n in "$1 to me" "$1 list" "$1 both" "$1 spam" "read $1" "$1 list again"; do
		$MAIL one "$n" >"$WORK/in.eml"
		case $1 in
		lda) check "$1: $n" lda $SIDE -f a@example.org <"$WORK/in.eml" ;;
		lmtp) check "$1: $n" lmtp_send $SIDE a@example.org mail@example.org "$WORK/in.eml" ;;
		esac
	done
}

all() {
	dovecot_conf $SIDE "maildir:$MNT"
	cat >>"$TMP/dovecot/$SIDE/dovecot.conf" <<-C
	mailbox_idle_check_interval = 10 mins
	protocol lda {
	  mail_plugins = sieve
	}
	protocol lmtp {
	  mail_plugins = sieve
	}
	plugin {
	  sieve = $MNT/.dovecot.sieve
	}
	C
	imap_of $SIDE
	sieve_script >"$MNT/.dovecot.sieve"
	check "sievec" sievec -c "$TMP/dovecot/$SIDE/dovecot.conf" "$MNT/.dovecot.sieve"
	script_of_one_client | note a-client talk
	deliveries lda
	check "Dovecot for LMTP starts" dovecot_lmtp_up $SIDE
	deliveries lmtp
	check "Dovecot ends" dovecot_lmtp_down $SIDE
	script_of_an_idler | note an-idler talk
	script_of_a_watcher >"$WORK/watcher.talk"
	note a-watcher eval 'talk <"$WORK/watcher.talk" | grep -v "^> !"'
	check "the watcher too" grep -q "LOGOUT" "$NOTES/$SIDE/a-watcher"
	note mail state
	note subscriptions sort "$MNT/subscriptions"
	equal "Dovecot has no complaint" "" "$(complaints)"
	check "the client got through" grep -q "LOGOUT" "$NOTES/$SIDE/a-client"
	equal "nothing was refused but what had to be" "$(printf '%s\n' CREATE COPY DELETE CREATE DELETE)" \
		"$(awk '/^> /{c=$2; if (c == "UID") c = $3} /^t[0-9]+ (NO|BAD)/{print c}' "$NOTES/$SIDE/a-client")"
	check "the idler too" grep -q "LOGOUT" "$NOTES/$SIDE/an-idler"
	check "mail and keywords are there" grep -q "^.Lists.one cur F listig .* lmtp list$" "$NOTES/$SIDE/mail"
}
on_both all
finish
