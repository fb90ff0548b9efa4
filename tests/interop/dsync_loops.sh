#!/bin/bash
# dsync_loops -- what makes two Dovecot 2.3 sync for ever (specs: GUIDs swapped to and fro, another separator with deleted mailboxes,
# % in names) ends with us on one side: in one run more than needed at most, in both roles, with nothing lost.
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
mkdir -p "$TMP/bin"
chmod 755 "$TMP"
script far <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
script slave <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$HOME XDG_CONFIG_HOME=$XDG_CONFIG_HOME $SYNC -o mail_location=dsyncfs:$STORE "\$@"
C
as_master() { timeout 60 "$SYNC" -o "mail_location=dsyncfs:$STORE" "$@" mirror "$TMP/bin/far" dsync-server; }
as_slave() { timeout 60 env USER=mail HOME="$TMP/dovecot/box/home" $AS_MAIL doveadm -c "$TMP/dovecot/box/dovecot.conf" sync -f "$TMP/bin/slave" dsync-server; }
near_dump() { dump "dsyncfs:$STORE"; }
names() { near_dump | sed -n 's/^mailbox \(.*\) guid=.*/\1/p' | sed 's/\\040/ /g' | LC_ALL=C sort; }
# Without directories that hold no mail.
far_names() {
	local all name
	all=$(da box mailbox list | tr "$sep" /)
	while read -r name; do
		! da box mailbox status messages "${name//\//$sep}" >/dev/null 2>&1 || echo "$name"
	done <<<"$all" | LC_ALL=C sort
}
mails() { grep -o 'sha1=[0-9a-f]*' | LC_ALL=C sort; }
# Two runs settle it, the third has nothing to do and says 0.  A Dovecot that is the master says 2 for each % of its own, whoever the slave
# is (it tries to rename the mailbox to itself); it changes nothing by that.
settles() {	# ROLE [WORDS of a failure that is Dovecot's own]
	local i
	run_it() { "$1" >"$TMP/said" 2>&1 || { [ -n "$2" ] && grep -q "$2" "$TMP/said"; }; }
	for i in 1 2; do "$1"; done
	run_it "$@" || { echo "the third run fails"; cat "$TMP/said"; return 1; }
	before=$(near_dump)
	run_it "$@" || { echo "the fourth run fails"; cat "$TMP/said"; return 1; }
	[ "$before" = "$(near_dump)" ] || { echo "the fourth run changed something"; return 1; }
}
near_mail() {	# MAILBOX TEXT
	mkdir -p "$TMP/side${1:+/.$1}"/{cur,new,tmp}
	$MAIL one "$2" >"$TMP/side${1:+/.$1}/new/1700000000.M$2.test"
	for i in 1 2; do "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/side" >/dev/null; done
}
begin() {	# KIND SEPARATOR
	sep=$2
	rm -rf "${STORE:?}" "$TMP/side" "$TMP/mail" "$TMP/dovecot"
	mkdir "$TMP/mail"
	dovecot_conf box "$1:$TMP/mail"
	sed -i "s#separator = /#separator = $sep#" "$TMP/dovecot/box/dovecot.conf"
	da box mailbox create INBOX >/dev/null 2>&1
	near_mail "" near
	$MAIL one far | da box save -m INBOX
}
ends() {	# NAME
	check "$1: nothing is lost" test "$(near_dump | mails)" = "$(doveadm_dump box | mails)"
	equal "$1: the same mailboxes" "$(names)" "$(far_names)"
	check "$1: Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|assert' "$TMP/dovecot/box/log"
}

for role in as_master as_slave; do
	# A mailbox of one name with another GUID on either side.
	for kind in maildir sdbox; do
		begin $kind /
		near_mail Both one
		da box mailbox create Both; $MAIL one two | da box save -m Both
		check "$role: GUIDs, $kind" settles $role
		ends "$role: GUIDs, $kind"
		check "$role: GUIDs, $kind: both mails" test "$(near_dump | grep -c 'sha1=')" = 4
	done

	# A name with Dovecot's escape character.
	begin sdbox /
	da box mailbox create '100%'; $MAIL one percent | da box save -m '100%'
	near_mail '50% off' half
	own=
	[ $role = as_master ] || own="Can't rename mailbox to itself"
	check "$role: %" settles $role "$own"
	ends "$role: %"
	check "$role: % in both names" test "$(names | grep -c %)" = 2

	# Another separator, and directories that went.
	for kind in sdbox maildir; do
		begin $kind .
		da box mailbox create Top.Sub; da box mailbox create Top.Sub.Deep; da box mailbox create Gone.Sub
		$MAIL one deep | da box save -m Top.Sub.Deep
		near_mail Near.Sub nested
		check "$role: separator, $kind" settles $role
		da box mailbox delete Gone.Sub; da box mailbox subscribe Top.Sub; da box mailbox unsubscribe Top.Sub
		rm -r "$TMP/side/.Near.Sub"
		mkdir -p "$TMP/side/.New.Sub"/{cur,new,tmp}
		for i in 1 2; do "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/side" >/dev/null; done
		check "$role: separator, $kind: after deletions" settles $role
		ends "$role: separator, $kind"
		check "$role: separator, $kind: what went is gone" not grep -E 'Gone/Sub|Near/Sub' <(names)
		check "$role: separator, $kind: what came is there" grep -qx New/Sub <(far_names)
	done
done
finish
