#!/bin/bash
# dsync_dovecot -- the dsync protocol with a real Dovecot: our brain as master of
# `doveadm dsync-server`, and as slave of `doveadm sync` and `doveadm backup`.
# Dovecot's own doveadm and our dump have to say the same of every message.
#
#	dsync_dovecot.sh [KIND]		where Dovecot keeps mail: maildir sdbox; both without
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
PEER=$BIN/tests/interop/dsync_peer
needs python3 "$PEER"

# A destination of doveadm runs in Dovecot's user namespace; what it makes is ours again there.
programs() {
	mkdir -p "$TMP/bin"
	cat >"$TMP/bin/server" <<-C
		#!/bin/sh
		exec env -i PATH=/usr/bin:/bin HOME=$TMP/dovecot/box/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/box/dovecot.conf dsync-server 2>>$TMP/dovecot/box/log
	C
	cat >"$TMP/bin/slave" <<-C
		#!/bin/sh
		exec env -i PATH=/usr/bin:/bin HOME=$HOME $PEER -w $TMP/wire slave $NEAR
	C
	chmod 755 "$TMP/bin/server" "$TMP/bin/slave" "$TMP"
}
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"

master() { "$PEER" -w "$TMP/wire" "$@" master "$NEAR" "$TMP/bin/server"; }
dsync() { da box "$@" "$TMP/bin/slave" 2>>"$TMP/dovecot/box/log"; }
near_dump() { ds dump --no-modseqs "$NEAR" | sed 's/ highestmodseq=[0-9]*//'; }
same() { equal "$n: $1" "$(doveadm_dump box)" "$(near_dump)"; }
clean() {
	check "$n: $1: Dovecot has no complaint" not grep -E 'Error|Panic|Fatal|Warning|assert' "$TMP/dovecot/box/log"
	: >"$TMP/dovecot/box/log"
}

# Bodies with everything that a stream has to carry: name, then the bytes behind a header.  (A CR at the very end, which
# Dovecot's storage drops, has its unit test.)
odd_bodies() {
	local h='Date: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-ID: <%s@x>\nSubject: %s\n\n'
	body() { mkdir -p "$FAR_IN"; printf "$h$2" "$1" "$1" >"$FAR_IN/1700000000.M$1.test"; }
	body dots '.\n..\n.x\n...\n'
	body lastdot 'x\n.'
	body nonl 'no newline at the end'
	body crlf 'one\r\n.\r\n..two\r\n'
	body barecr 'a\rb\rc\n'
	body proto 'X\nVERSION\tdsync\t3\t5\n.\nF\n'
	body empty ''
	body umlaut 'Entw\303\274rfe \001\002\t\n'
	printf '.first: byte is a dot\n\n.\n' >"$FAR_IN/1700000000.Mfirst.test"
	python3 -c 'import sys; sys.stdout.write("Subject: large\n\n" + "".join(".line %d\n" % i for i in range(100000)))' \
		>"$FAR_IN/1700000000.Mlarge.test"
}

fill_there() {
	local i
	da box mailbox create -s Work
	da box mailbox create Work/Sub
	da box mailbox create -s 'Entw&APw-rfe' 2>/dev/null
	for i in 1 2 3 4 5 6; do $MAIL one "there$i" | da box save -m INBOX; done
	$MAIL one work | da box save -m Work
	da box flags add '\Seen $Forwarded lab-a' mailbox INBOX 1:2
	da box flags add '\Flagged \Answered' mailbox INBOX 3
	da box expunge mailbox INBOX uid 4
}

first() {
	check "$n: the first sync" again master
	same "after the first sync both say the same"
	clean first
	check "$n: a second one finds nothing to do" master
	same "and leaves everything"
	equal "$n: it moved no mail" 0 "$(cat "$TMP/wire.in" "$TMP/wire.out" | grep -ac '^M[^g]')"
}

bodies() {
	FAR_IN=$NEAR_DIR/new odd_bodies
	check "$n: odd bodies go there" again master
	same "every byte has arrived there"
	clean bodies
	FAR_IN=$TMP/odd odd_bodies
	local f
	da box mailbox create Back
	for f in "$TMP"/odd/*; do da box save -m Back <"$f"; done
	check "$n: odd bodies come from there" again master
	same "every byte has come from there"
	clean "bodies back"
}

both_change() {
	da box flags add '\Draft' mailbox INBOX uid 1
	da box flags remove '\Flagged' mailbox INBOX uid 3
	da box flags add 'lab-b' mailbox INBOX uid 3
	da box expunge mailbox INBOX uid 2
	$MAIL one fromthere | da box save -m INBOX
	da box mailbox rename Work Job
	da box mailbox unsubscribe Work
	da box mailbox create -s Fresh
	$MAIL one herefirst >"$NEAR_DIR/new/1700000100.M1.here"
	$MAIL one heresecond >"$NEAR_DIR/new/1700000101.M2.here"
	mkdir -p "$NEAR_DIR/.Mine/cur" "$NEAR_DIR/.Mine/new" "$NEAR_DIR/.Mine/tmp"
	$MAIL one mine >"$NEAR_DIR/.Mine/new/1700000102.M3.here"
	rm "$(messages "$NEAR_DIR" | grep there5 | head -1)" 2>/dev/null || rm "$(messages "$NEAR_DIR" | head -1)"
}

run_master() {
	fill_there
	first
	bodies
	both_change
	check "$n: both have changed" again master
	same "after the merge both say the same"
	check "$n: in full" again master -f
	same "in full changes nothing"
	clean merge
}

# Of INBOX a Dovecot as destination can only take back flags: it would have to delete it (specs/dsync-protocol.md 6.8).
# Any other mailbox it deletes, fails, and makes anew in the next run.
retried() { "$@" || "$@"; }
run_backups() {
	local want
	want=$(near_dump)
	da box flags add '\Draft' mailbox INBOX all
	$MAIL one stray | da box save -m Job
	da box mailbox create Stray
	check "$n: backup" retried again master -b
	equal "$n: backup left the source as it was" "$want" "$(near_dump)"
	check "$n: backup: all of it is there" subset "$(bodies_of near_dump)" "$(bodies_of 'doveadm_dump box')"
	check "$n: the stray mail is not" not grep -q "$(sha1_of stray)" <(doveadm_dump box)
	want=$(doveadm_dump box)
	$MAIL one strayhere >"$NEAR_DIR/new/1700000200.M1.here"
	check "$n: backup the other way" again master -r
	equal "$n: it left Dovecot as it was" "$want" "$(doveadm_dump box)"
	check "$n: all of it is here" subset "$(bodies_of 'doveadm_dump box')" "$(bodies_of near_dump)"
	clean backups
}
bodies_of() { $1 | grep -o 'sha1=.*' | sort -u; }
subset() { [ -z "$(comm -23 <(echo "$1") <(echo "$2"))" ]; }
sha1_of() { $MAIL one "$1" | sha1sum | cut -d' ' -f1; }

run_slave() {
	check "$n: doveadm sync" again dsync sync
	same "as slave: both say the same"
	clean slave
	$MAIL one slave1 | da box save -m INBOX
	$MAIL one slave3 | da box save -m INBOX
	$MAIL one slave2 >"$NEAR_DIR/new/1700000300.M1.here"
	da box flags add '\Answered' mailbox INBOX uid 1
	check "$n: doveadm sync of changes" again dsync sync
	same "as slave: both say the same after changes"
	check "$n: doveadm sync -f" dsync sync -f
	same "as slave: nothing is left to do"
	clean "slave, changes"
	check "$n: doveadm sync -m" dsync sync -m INBOX
	same "as slave: one mailbox alone"
	$MAIL one oneway | da box save -m INBOX
	check "$n: doveadm sync -1" dsync sync -1
	check "$n: its mail is here" grep -q "$(sha1_of oneway)" <(near_dump)
	$MAIL one tobackup | da box save -m Fresh
	check "$n: doveadm backup" again dsync backup
	check "$n: backed up here" subset "$(bodies_of 'doveadm_dump box')" "$(bodies_of near_dump)"
	$MAIL one frombackup >"$NEAR_DIR/new/1700000400.M1.here"
	check "$n: doveadm backup -R" again dsync backup -R
	check "$n: restored there" subset "$(bodies_of near_dump)" "$(bodies_of 'doveadm_dump box')"
	clean "slave, backups"
}

# With Dovecot's state string: the third run, that got the second one's state, has nothing to do.
run_state() {
	local state
	state=$(dsync sync -s '')
	check "$n: doveadm sync -s gives a state" test "${#state}" -gt 20
	$MAIL one stateful | da box save -m INBOX
	da box flags add '\Flagged' mailbox INBOX uid 1
	da box expunge mailbox INBOX uid 3
	state=$(dsync sync -s "$state")
	same "as slave: both say the same after a run with a state"
	check "$n: it gave a new one" test "${#state}" -gt 20
	state=$(dsync sync -s "$state")
	same "as slave: and after one more"
	clean "slave, states"
}

run_kind() {	# KIND
	n=$1
	NEAR_DIR=$TMP/$1.near NEAR=maildir:$TMP/$1.near
	mkdir -p "$NEAR_DIR"/{cur,new,tmp}
	rm -rf "$TMP/dovecot/box"
	dovecot_conf box "$1:$TMP/$1.far"
	: >"$TMP/dovecot/box/log"
	programs
	run_master
	run_state
	run_slave
	run_backups
}

for kind in ${1:-maildir sdbox}; do run_kind "$kind"; done
finish
