#!/bin/bash
# dsync_remote -- the commands with a far side by command line: dsyncfs-sync as master of `doveadm dsync-server` and of itself, and
# as `dsync-server` under `doveadm sync` and `doveadm backup`; how each end of a connection shows in the exit status.
#
#	dsync_remote.sh [KIND]		where Dovecot keeps mail: maildir sdbox; both without
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3

AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
mkdir -p "$TMP/bin"
chmod 755 "$TMP"
NEAR_ENV="env -i PATH=/usr/bin:/bin HOME=$HOME XDG_CONFIG_HOME=$XDG_CONFIG_HOME"
script far <<-C
	#!/bin/sh
	exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf "\$@"
C
script slave <<-C
	#!/bin/sh
	exec $NEAR_ENV $SYNC -o mail_location=dsyncfs:$STORE "\$@"
C
far() { ds "${@:1:$#-1}" "${@: -1}" "$TMP/bin/far" dsync-server; }		# OPTIONS... COMMAND
near_dump() { dump "dsyncfs:$STORE"; }
same() { equal "$n: $1" "$(doveadm_dump box)" "$(near_dump)"; }
clean() {
	check "$n: $1: Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|assert' "$TMP/dovecot/box/log"
	: >"$TMP/dovecot/box/log"
}
sha1_of() { $MAIL one "$1" | sha1sum | cut -d' ' -f1; }
subset() { [ -z "$(comm -23 <(echo "$1") <(echo "$2"))" ]; }
bodies_of() { "$@" | grep -o 'sha1=.*' | sort -u; }
# Local changes, by a Maildir that is mirrored with the store: the first time with GUIDs and UIDVALIDITYs of its own, which a
# mirror with Dovecot has to settle together with what was changed there.
SIDE=$TMP/side
put_near() {	# FOLDER TEXT: FOLDER "" is INBOX
	mkdir -p "$SIDE${1:+/.$1}"/{cur,new,tmp}
	$MAIL one "$2" >"$SIDE${1:+/.$1}/new/1700000000.M$2.test"
	again ds mirror "maildir:$SIDE" >/dev/null
}

fill_there() {
	local i
	da box mailbox create -s Work
	da box mailbox create Work/Sub
	da box mailbox create -s 'Entw&APw-rfe'
	for i in 1 2 3 4 5 6; do $MAIL one "there$i" | da box save -m INBOX; done
	$MAIL one work | da box save -m Work
	da box flags add '\Seen $Forwarded lab-a' mailbox INBOX 1:2
	da box flags add '\Flagged \Answered' mailbox INBOX 3
	da box expunge mailbox INBOX uid 4
}
moved_no_mail() { ! grep -aq '^[IO]: M[^g]' "$1"; }

run_master() {
	fill_there
	check "$n: the first mirror" again far mirror
	same "both say the same"
	check "$n: a second one has nothing to do" far -r "$TMP/raw" mirror
	check "$n: and moves no mail" moved_no_mail "$TMP/raw"
	same "and leaves everything"
	put_near "" here1
	put_near Mine here2
	da box flags add '\Draft lab-b' mailbox INBOX uid 1
	da box expunge mailbox INBOX uid 2
	da box mailbox rename Work Job
	da box mailbox unsubscribe Work
	da box mailbox create -s Fresh
	$MAIL one fromthere | da box save -m Fresh
	check "$n: both have changed" again far mirror
	same "after the merge both say the same"
	for i in here1 here2 fromthere; do check "$n: $i is there" grep -q "$(sha1_of $i)" <(doveadm_dump box); done
	check "$n: in full" far -f mirror
	same "in full changes nothing"
	check "$n: one mailbox" far -m INBOX mirror
	$MAIL one onlythere | da box save -m INBOX
	put_near "" onlyhere
	check "$n: one way" again far -1 mirror
	check "$n: gives" grep -q "$(sha1_of onlyhere)" <(doveadm_dump box)
	check "$n: and takes nothing" not grep -q "$(sha1_of onlythere)" <(near_dump)
	check "$n: and then the other way too" again far mirror
	same "both say the same again"
	clean master
	check "$n: status names the peer" says "peer $TMP/bin/far dsync-server" ds status
	check "$n: nothing waits for it" says "waiting: 0 changes" ds status
}

# Dovecot as destination deletes a mailbox that differs too much, fails, and makes it anew in the next run (specs of dsync).
retried() { "$@" || "$@"; }
run_backups() {
	local want
	want=$(near_dump)
	$MAIL one stray | da box save -m Job
	da box mailbox create Stray
	check "$n: backup" retried again far backup
	equal "$n: backup left the source as it was" "$want" "$(near_dump)"
	check "$n: backup: all of it is there" subset "$(bodies_of near_dump)" "$(bodies_of doveadm_dump box)"
	check "$n: the stray mail is not" not grep -q "$(sha1_of stray)" <(doveadm_dump box)
	want=$(doveadm_dump box)
	check "$n: backup -R" again far -R --no-max-delete backup
	equal "$n: it left Dovecot as it was" "$want" "$(doveadm_dump box)"
	same "both say the same"
	clean backups
}

run_slave() {
	slave() { da box "$@" "$TMP/bin/slave"; }
	$MAIL one slave1 | da box save -m INBOX
	put_near "" slave2
	da box flags add '\Answered' mailbox INBOX uid 1
	check "$n: doveadm sync" again slave sync
	same "as slave both say the same"
	check "$n: doveadm sync with the whole command line" da box sync "$SYNC" -o "mail_location=dsyncfs:$STORE" dsync-server
	check "$n: and the options of a Dovecot" da box sync "$TMP/bin/slave" -U
	check "$n: doveadm sync -f" slave sync -f
	same "nothing is left to do"
	$MAIL one oneway | da box save -m INBOX
	check "$n: doveadm sync -1" slave sync -1
	check "$n: its mail is here" grep -q "$(sha1_of oneway)" <(near_dump)
	$MAIL one tobackup | da box save -m Fresh
	check "$n: doveadm backup" again slave backup
	check "$n: backed up here" subset "$(bodies_of doveadm_dump box)" "$(bodies_of near_dump)"
	put_near "" frombackup
	check "$n: doveadm backup -R" again slave backup -R
	check "$n: restored there" subset "$(bodies_of near_dump)" "$(bodies_of doveadm_dump box)"
	clean slave
}

for kind in ${1:-maildir sdbox}; do
	n=$kind
	rm -rf "$TMP/dovecot/box" "$STORE" "$SIDE"
	dovecot_conf box "$kind:$TMP/$kind.far"
	: >"$TMP/dovecot/box/log"
	run_master
	run_slave
	run_backups
done
finish
