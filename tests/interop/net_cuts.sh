#!/bin/bash
# net_cuts -- two mounts on two hosts keep each other's mail by ssh while programs change it on both, the link is cut or silent, and
# processes are killed or stand still, most often in the middle of a sync: in the end both are equal and nothing is lost.
#
#	ROUNDS=12 SEED=1 net_cuts.sh	so many troubles for `sync = push`, half as many for `sync = 1s`
. "$(dirname "$0")/../netns.sh"
. "$(dirname "$0")/../real.sh"
needs python3 shuf
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
. "$ROOT/tests/sshd.sh"
. "$ROOT/tests/net_trouble.sh"
ROUNDS=${ROUNDS:-12}
echo "     ROUNDS=$ROUNDS SEED=$SEED"
hosts_up
# A peer that has gone without a word is not waited for as long as the default has it.
ssh_up "ClientAliveInterval 5" "ClientAliveCountMax 3"
far_program dsyncfs-sync env "HOME=$HOME" "$SYNC" -o "mail_location=dsyncfs:$B"
script mount_there <<<"#!/bin/sh
exec nsenter --net=/proc/$B_PID/ns/net $MOUNT \"\$@\""
mount_a() { mount_store "$A" "$TMP/a" "remote=b,sync=$when"; }
mount_b() { MOUNT=$TMP/bin/mount_there mount_store "$B" "$TMP/b"; }
dump_b() { dump "dsyncfs:$B"; }

history() {	# WHEN ROUNDS
	when=$1
	check "$when: b is mounted" within 20 mount_b
	check "$when: a is mounted" mount_a
	rounds "$when" "$2" link_is_out link_is_silent server_is_killed mount_b_is_killed mount_a_is_killed server_stands_still \
		answers_are_lost session_is_killed mount_b_stands_still mount_a_is_killed_in_silence session_stands_still \
		mount_a_stands_still link_is_out_there link_flaps
	judge "$when: a" "$TMP/a"
	judge "$when: b" "$TMP/b"
	check "$when: a ends" umount_store "$A" "$TMP/a"
	check "$when: b ends" umount_store "$B" "$TMP/b"
	check "$when: a is whole" "$SYNC" -o "mail_location=dsyncfs:$A" verify
	check "$when: b is whole" "$SYNC" -o "mail_location=dsyncfs:$B" verify
}
history push "$ROUNDS"
history 1s $((ROUNDS / 2))
finish
