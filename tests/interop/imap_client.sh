#!/bin/bash
# imap_client -- an IMAP client of a Dovecot that has INBOX selected, while our syncs add, flag and expunge mail there: it sees each
# change, and nothing else.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
IMAP=/usr/lib/dovecot/imap
[ -x $IMAP ] || { echo "FAIL: $IMAP is not installed: make deps"; exit 1; }
chmod 755 "$TMP"
mkdir "$TMP/bin"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
cat >"$TMP/bin/far" <<C
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
cat >"$TMP/bin/slave" <<C
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$STORE "\$@"
C
chmod 755 "$TMP/bin/far" "$TMP/bin/slave"
SIDE=$TMP/side
near() { again ds mirror "maildir:$SIDE" >/dev/null 2>&1; }
# WAY: our sync with Dovecot, as master or as slave
sync_it() {
	near
	if [ $way = master ]; then again ds mirror "$TMP/bin/far" dsync-server; else again da box sync "$TMP/bin/slave"; fi
}
mails() { local i; for i in "$@"; do mail "$SIDE" $i; done; }
file_of() { echo "$SIDE"/{cur,new}/17000000$1.M$1.test*; }
there() { local f; for f in $(file_of $1); do [ ! -e "$f" ] || { echo "$f"; return; }; done; }
flagged() { local f; f=$(there $1); mv "$f" "$SIDE/cur/17000000$1.M$1.test:2,$2"; }
gone() { rm "$(there $1)"; }
uid_of() { da box search mailbox INBOX header subject "mail $1" | awk '{ print $2 }'; }

session() {	# WAY KIND
	local n="$2, $1" got uid u2 u5
	way=$1
	rm -rf "$TMP/dovecot/box" "$STORE" "$SIDE"
	maildir_new "$SIDE"
	dovecot_conf box "$2:$TMP/$1-$2"
	: >"$TMP/dovecot/box/log"
	mails 1 2 3 4 5
	check "$n: the first sync" sync_it
	coproc CLIENT { USER=mail HOME=$TMP/dovecot/box/home as_mail_user python3 "$ROOT/tests/interop/imap_client.py" \
		$IMAP -c "$TMP/dovecot/box/dovecot.conf" 2>"$TMP/client.err"; }
	local in=${CLIENT[1]} out=${CLIENT[0]} pid=$CLIENT_PID	# bash forgets them when it ends
	answer() { read -r -t 60 got <&$out || got="no answer: $(cat "$TMP/client.err")"; }
	look() { echo look >&$in; answer; }
	answer; equal "$n: the client has selected INBOX" ready "$got"
	look; equal "$n: nothing happens" nothing "$got"
	mails 6 7
	check "$n: two mails come" sync_it
	look; equal "$n: the client sees them" "exists 7" "$(sed 's/exists 6, //' <<<"$got")"
	flagged 2 FS
	uid=$(uid_of 2)
	check "$n: a flag comes" sync_it
	look; equal "$n: the client sees it" "flags $uid(\\Flagged \\Seen)" "$got"
	uid=$(uid_of 3)
	gone 3
	check "$n: one goes" sync_it
	look; equal "$n: the client sees it" "expunge $uid" "$got"
	check "$n: a sync with nothing to do" sync_it
	look; equal "$n: shows nothing" nothing "$got"
	u5=$(uid_of 5)
	echo "set $(uid_of 4) \\Answered" >&$in; answer
	gone 5; mails 8; flagged 2 S
	u2=$(uid_of 2)
	check "$n: all at once, and the client sets a flag" sync_it
	look; equal "$n: the client sees each" "$(printf '%s\n' "exists 6" "expunge $u5" "flags $u2(\\Seen)")" \
		"$(sed 's/, /\n/g' <<<"$got" | sort)"
	check "$n: its own flag is here" grep -q "^$(uid_of 4) .*flags=.Answered " <(ds dump)
	# Both sides give UID 9 to a mail of their own: one gets another number, as a client may see it.
	mails 9
	$MAIL one there | da box save -m INBOX
	check "$n: mail on both sides" sync_it
	look; check "$n: the client sees both, and no more than UIDs allow" grep -qE '^(exists [0-9]+(, )?|expunge [0-9None]+(, )?)+$' <<<"$got"
	echo end >&$in; answer; equal "$n: the client was never cut off" ended "$got"
	wait $pid 2>/dev/null
	equal "$n: both say the same" "$(doveadm_dump box)" "$(ds dump --no-modseqs | sed 's/ highestmodseq=[0-9]*//')"
	check "$n: Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|Warning' "$TMP/dovecot/box/log"
}
for kind in maildir sdbox; do
	session master $kind
	session slave $kind
done
finish
