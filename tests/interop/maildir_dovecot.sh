#!/bin/bash
# maildir_dovecot -- no mount: what dsyncfs-sync writes into a Maildir a real Dovecot reads with the same UIDs, GUIDs, flags, keywords and dates,
# with and without its indexes; what doveadm changes is seen by the next look.  Both layouts.
#
#	maildir_dovecot.sh [LAYOUT]	one of maildir++ fs; both without
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3

sync_with() { "$SYNC" -o mail_location="dsyncfs:$TMP/$n/store" "$@"; }
dump_of() { "$SYNC" dump --no-modseqs "$1" | sed 's/ highestmodseq=[0-9]*//'; }
same() { equal "$n: $1" "$(dump_of "$LOC")" "$(doveadm_dump box)"; }
quiet() { check "$n: $1: Dovecot has no complaint" not grep -E 'Error|Panic|Warning|Broken|Corrupt' "$TMP/dovecot/box/log"; }
letter() { printf 'From: a@example.org\nSubject: %s\nMessage-ID: <%s@test>\n\nbody of %s\n' "$1" "$1" "$1"; }

dovecot_fills() {
	local i
	da box mailbox create -s Work Archive/2024 Räkningar 'R&D'
	for i in 1 2 3 4 5; do letter "m$i" | da box save -m INBOX; done
	letter w1 | da box save -m Work && letter w2 | da box save -m Work
	da box flags add '\Seen' mailbox INBOX 1:2
	da box flags add '\Flagged $Forwarded NonJunk' mailbox INBOX 2
	da box flags add '\Answered $label1' mailbox Work all
	da box copy Archive/2024 mailbox INBOX 3
	da box expunge mailbox INBOX 4
}

dovecot_changes() {
	letter later | da box save -m INBOX &&
	da box flags add 'fresh \Deleted' mailbox INBOX 1 &&
	da box flags remove '\Seen' mailbox INBOX 2 &&
	da box expunge mailbox Work 1 &&
	da box mailbox create New/Deep &&
	letter deep | da box save -m New/Deep &&
	da box mailbox rename Archive/2024 Archive/Old &&
	da box mailbox unsubscribe Work &&
	da box mailbox delete Räkningar
}

one_layout() {
	local l= far
	n=$1
	[ "$1" = fs ] && l=:LAYOUT=fs
	rm -rf "$TMP/dovecot/box"
	mkdir -p "$TMP/$n/far" "$TMP/$n/copy"
	LOC=maildir:$TMP/$n/far$l
	dovecot_conf box "$LOC"
	dovecot_fills
	same "what Dovecot wrote is read as Dovecot reads it"
	check "$n: the sidecar is no mailbox" not grep -qi dsyncfs <(da box mailbox list)
	check "$n: a store is mirrored with it" sync_with mirror "$LOC"
	same "after the first mirror"
	quiet "first mirror"

	check "$n: Dovecot makes changes" dovecot_changes
	same "its changes are seen"
	check "$n: they are mirrored" sync_with mirror "$LOC"
	equal "$n: the store has them" "$(dump_of "dsyncfs:$TMP/$n/store")" "$(doveadm_dump box)"
	quiet "its changes"

	far=$LOC
	LOC=maildir:$TMP/$n/copy$l
	rm -rf "$TMP/dovecot/box"
	dovecot_conf box "$LOC"
	check "$n: an empty Maildir gets all of it" sync_with backup "$LOC"
	same "Dovecot reads what only we have written"
	equal "$n: that is what the other Maildir has" "$(dump_of "$far")" "$(doveadm_dump box)"
	quiet "the copy"

	dovecot_conf box "$far"
	check "$n: more changes there" da box flags add '\Draft more' mailbox INBOX all
	check "$n: to the store" sync_with mirror "$far"
	dovecot_conf box "$LOC"
	check "$n: and on to the copy, which Dovecot has indexed" sync_with mirror "$LOC"
	same "the copy follows"
	check "$n: without Dovecot's indexes" find "$TMP/$n/copy" -name 'dovecot.*index*' -delete
	same "its own indexes do not matter"
	quiet "the end"
	check "$n: nothing is left to do" sync_with mirror "$LOC"
	equal "$n: no lock, nothing half written is left" "" "$(cd "$TMP/$n" && find far copy -name '*dsyncfs-sidecar' -prune -o \
		\( -name '*.lock' -o -name '*.tmp' -o -path '*/tmp/*' -o -name '.dsyncfs-deleted*' \) -print)"
}

for layout in ${1:-maildir++ fs}; do one_layout "$layout"; done
finish
