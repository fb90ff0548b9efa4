#!/bin/bash
# hash_dovecot -- with a Dovecot that keeps mail in mbox, which has GUIDs but
# can be told none: messages are told apart by the hashes of their headers.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3

AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
mkdir -p "$TMP/bin"
chmod 755 "$TMP"
cat >"$TMP/bin/far" <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
chmod 755 "$TMP/bin/far"
dovecot_conf box "mbox:$TMP/dovecot/box/home/mail"
mkdir -p "$TMP/dovecot/box/home/mail"
printf 'mbox_dirty_syncs = no\nmbox_lazy_writes = no\n' >>"$TMP/dovecot/box/dovecot.conf"

far() { ds "${@:1:$#-1}" "${@: -1}" "$TMP/bin/far" dsync-server; }		# OPTIONS... COMMAND
# All but the GUIDs of messages, which differ.
messages() { sed -n 's/^\([0-9]* \)guid=[^ ]* /\1/p' | sort -n; }
near_messages() { "$SYNC" dump --no-modseqs "dsyncfs:$STORE" | messages; }
far_messages() { doveadm_dump box | messages; }
same() { equal "$1" "$(far_messages)" "$(near_messages)"; }
nothing() {	# NAME COMMAND...: it has nothing to do
	local name=$1
	shift
	check "$name" says "done: 0 saved, 0 copied, 0 flag changes, 0 expunged, 0 renumbered" "$@"
}
mail() {	# ID EXTRA-HEADER-LINES
	printf 'Date: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-ID: <%s@x>\n%bSubject: %s\n\nbody of %s\n' "$1" "${2:-}" "$1" "$1"
}
put_near() {
	again ds mirror "maildir:$TMP/side" >/dev/null
	mail "$@" >"$TMP/side/new/1700000000.M$1.test"
	again ds mirror "maildir:$TMP/side" >/dev/null
}

mail one | da box save -m INBOX
mail two 'a line without a colon\n' | da box save -m INBOX
mail three 'Date:\tfolded \303\244??\n  once\n' | da box save -m INBOX
check "the first mirror" again far mirror
equal "all have come" 3 "$(near_messages | wc -l)"
same "both have the same"
nothing "in full there is nothing to do" far -v -f mirror

mkdir -p "$TMP"/side/{cur,new,tmp}
put_near four 'another line without a colon\nMessage-ID : <second@x>\n'
put_near five
da box flags add '\Seen' mailbox INBOX uid 2
check "both have changed" again far mirror
equal "the new ones are over there" 5 "$(far_messages | wc -l)"
same "both have the same again"
nothing "their hashes are the same on both sides" far -v -f mirror

da box expunge mailbox INBOX uid 1
check "an expunge over there" again far -f mirror
equal "comes here" 4 "$(near_messages | wc -l)"
same "both have the same after it"
nothing "and is not undone" far -v -f mirror

want=$(near_messages)
mail six | da box save -m INBOX
put_near seven
check "one way" far -1 mirror
check "gives" grep -q "$(mail seven | sha1sum | cut -d' ' -f1)" <(far_messages)
check "and takes nothing" not grep -q "$(mail six | sha1sum | cut -d' ' -f1)" <(near_messages)
equal "with all else as it was" "$want" "$(near_messages | head -4)"
check "a backup from there" far -R --no-max-delete backup
# Its GUIDs are not those that the mails had here, so some get other UIDs.
equal "has it all, and nothing else" "$(far_messages | cut -d' ' -f2- | sort)" "$(near_messages | cut -d' ' -f2- | sort)"
# mbox takes GUIDs from nobody, but gives its own.
equal "with its GUIDs" "$(doveadm_dump box | grep -o ' guid=[^ ]*' | sort)" \
	"$("$SYNC" dump "dsyncfs:$STORE" | grep -o ' guid=[^ ]*' | sort)"
check "Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|assert' "$TMP/dovecot/box/log"
finish
