#!/bin/bash
# net_cuts_dovecot -- a mount keeps itself mirrored by ssh with a real Dovecot on another host, whose mail doveadm changes, while the link
# is cut or silent and processes are killed or stand still: in the end both say the same and nothing is lost.
#
#	ROUNDS=8 SEED=1 net_cuts_dovecot.sh [sdbox|maildir]
#
# TROUBLES are those of net_trouble.sh to take (`more`: none); APART= lets both sides bring mail into every mailbox.
. "$(dirname "$0")/../netns.sh"
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3 shuf
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
. "$ROOT/tests/sshd.sh"
. "$ROOT/tests/net_trouble.sh"
ROUNDS=${ROUNDS:-8} KIND=${1:-sdbox}
echo "     ROUNDS=$ROUNDS SEED=$SEED $KIND"
hosts_up
ssh_up "ClientAliveInterval 5" "ClientAliveCountMax 3"
dovecot_conf box "$KIND:$TMP/box"
as=()
[ "$(id -u)" != 0 ] || as=(unshare --user --map-user=1000 --map-group=1000)
dovecot=(env -i PATH=/usr/bin:/bin "HOME=$TMP/dovecot/box/home" USER=mail "${as[@]}" doveadm -c "$TMP/dovecot/box/dovecot.conf")
far_program doveadm "${dovecot[@]}"
# A cut can leave a message with another UID there than here, and what then happens to it on one side cannot be told a Dovecot, for which
# an expunge has a UID: then the mail is kept.  So this only asks that nothing is lost; and there are fewer such UIDs when no two sides
# bring mail into one mailbox.
judge_how=kept
apart=${APART--apart}
mail_of[b]="doveadm ${dovecot[*]}"
mount_a() { mount_store "$A" "$TMP/a" "remote=b,sync=push"; }
dump_b() { doveadm_dump box; }

check "a is mounted" mount_a
TROUBLES=${TROUBLES:-link_is_out link_is_silent server_is_killed mount_a_is_killed server_stands_still answers_are_lost
	session_is_killed session_stands_still mount_a_stands_still link_flaps}
rounds "$KIND" "$ROUNDS" $TROUBLES
judge "a" "$TMP/a"
check "a ends" umount_store "$A" "$TMP/a"
check "a is whole" "$SYNC" -o "mail_location=dsyncfs:$A" verify
finish
