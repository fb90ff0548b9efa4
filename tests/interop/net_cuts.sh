#!/bin/bash
# net_cuts -- two mounts on two hosts keep each other's mail by ssh while programs change it on both, the link is cut or silent, and
# processes are killed or stand still, most often in the middle of a sync: in the end both are equal and nothing is lost.
#
#	ROUNDS=12 SEED=1 net_cuts.sh	so many troubles for `sync = push`, half as many for `sync = 1s`
. "$(dirname "$0")/../netns.sh"
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
. "$ROOT/tests/sshd.sh"
ROUNDS=${ROUNDS:-12} SEED=${SEED:-1}
RANDOM=$SEED
A=$TMP/a.store B=$TMP/b.store
LEDGER="python3 $ROOT/tests/interop/net_ledger.py"
hosts_up
# A peer that has gone without a word is not waited for as long as the default has it.
ssh_up "$B" "ClientAliveInterval 5" "ClientAliveCountMax 3"
echo "     ROUNDS=$ROUNDS SEED=$SEED"

mount_a() { mount_store "$A" "$TMP/a" "remote=b,sync=$when"; }
script mount_there <<<"#!/bin/sh
exec nsenter --net=/proc/$B_PID/ns/net $MOUNT \"\$@\""
mount_b() { MOUNT=$TMP/bin/mount_there mount_store "$B" "$TMP/b"; }
remount() {	# a|b
	local store=$TMP/$1.store
	kill -9 $(mounted_process "$store")
	fusermount3 -uz "$TMP/$1" 2>/dev/null
	within 20 not mountpoint -q "$TMP/$1" && within 20 not mounted_process "$store" && within 20 "mount_$1"
}
tell_a() { kill -USR1 $(mounted_process "$A") 2>/dev/null; }
far_pid() { local p; p=$(tail -1 "$TMP/far.pids"); [ "$(cat "/proc/$p/comm" 2>/dev/null)" = dsyncfs-sync ] && echo "$p"; }

# ---- programs ----
changed=0
change() {	# SIDE...: some changes on each at once
	local s jobs=() bad=0
	changed=$((changed + 1))
	for s in "$@"; do
		$LEDGER change "$TMP/ledger.$s" "$s" "${CHANGES:-10}" "$SEED-$changed" "$TMP/$s" &
		jobs+=($!)
	done
	for s in "${jobs[@]}"; do wait "$s" || bad=1; done
	[ $bad = 0 ]
}
# Those of sshd that have a connection.
sessions() { local p; for p in "${sshds[@]}"; do pgrep -P "$p"; done; }
equal_now() { [ "$(dump "dsyncfs:$A")" = "$(dump "dsyncfs:$B")" ]; }
settle() {
	local end=$((SECONDS + 300)) asked=0
	until equal_now; do
		if [ $SECONDS -ge $end ]; then
			echo "not equal after 300 s"
			timeout 20 "$SYNC" -o "mail_location=dsyncfs:$A" status
			diff <(dump "dsyncfs:$A") <(dump "dsyncfs:$B")
			return 1
		fi
		# Not later and later, nor without a pause.
		[ $((SECONDS - asked)) -lt 2 ] || { tell_a; asked=$SECONDS; }
		sleep 0.2
	done
}

# ---- troubles: each is one while `more` happens ----
some_time() { sleep $((RANDOM % 2)).$((RANDOM % 10)); }
more() { some_time; change a b; }
link_is_out() { link_down; more; link_up; }
link_is_out_there() { b_down; more; b_up; }
link_is_silent() { silence; more; sound; }
answers_are_lost() { far_gone; more; far_back; }
link_flaps() { local i; for i in 1 2 3; do link_down; sleep 0.1; link_up; sleep 0.$((RANDOM % 10)); done; more; }
server_is_killed() { kill -9 $(far_pid) 2>/dev/null; more; }
server_stands_still() { local p; p=$(far_pid); kill -STOP $p 2>/dev/null; more; kill -CONT $p 2>/dev/null; return 0; }
session_is_killed() { kill -9 $(sessions) 2>/dev/null; more; }
session_stands_still() { local p; p=$(sessions); kill -STOP $p 2>/dev/null; more; kill -CONT $p 2>/dev/null; return 0; }
mount_a_is_killed() { remount a && more; }
mount_b_is_killed() { remount b && more; }
mount_a_is_killed_in_silence() { silence; remount a && more; sound; }
mount_b_stands_still() { local p; p=$(mounted_process "$B"); kill -STOP $p; some_time; change a; kill -CONT $p; more; }
mount_a_stands_still() { local p; p=$(mounted_process "$A"); kill -STOP $p; some_time; change b; kill -CONT $p; more; }
troubles=(link_is_out link_is_silent server_is_killed mount_b_is_killed mount_a_is_killed server_stands_still answers_are_lost
	session_is_killed mount_b_stands_still mount_a_is_killed_in_silence session_stands_still mount_a_stands_still link_is_out_there link_flaps)
# HOW: a sync is held in its middle, by chance here or there, and HOW happens
ways=(in out) held=0
trouble() {
	local rc
	echo "${ways[RANDOM % 2]} $((RANDOM % 3 * (RANDOM / 4) + RANDOM % 3000))" >"$TMP/hold"
	rm -f "$TMP/hold.held"
	change a b || return 1
	tell_a
	# Not every sync has so many bytes, and none may come while the last one failed.
	within $((1 + RANDOM % 2)) test -e "$TMP/hold.held" && held=$((held + 1))
	"$1"
	rc=$?
	rm -f "$TMP/hold"
	return $rc
}
shuffle() { local seed=$RANDOM; troubles=($(shuf -e --random-source=<(yes "$seed") "${troubles[@]}")); }

# WHEN ROUNDS
history() {
	local i how begin=$SECONDS n=${#troubles[@]}
	when=$1
	check "$when: b is mounted" within 20 mount_b
	check "$when: a is mounted" mount_a
	for ((i = 0; i < $2; i++)); do
		[ $((i % n)) != 0 ] || shuffle
		how=${troubles[i % n]}
		# Not by check, whose subshell would have other random numbers.
		trouble "$how" >"$TMP/out" 2>&1
		report $? "$when: round $((i + 1)): $how" "$(cat "$TMP/out")"
		[ $((i % 4)) != 3 ] || check "$when: both settle" settle
	done
	all_well
	check "$when: both end equal" settle
	equal "$when: to the letter" "$(dump "dsyncfs:$A")" "$(dump "dsyncfs:$B")"
	check "$when: a has what it should" $LEDGER judge "$TMP/ledger.a" "$TMP/ledger.b" "$TMP/a"
	check "$when: b has what it should" $LEDGER judge "$TMP/ledger.a" "$TMP/ledger.b" "$TMP/b"
	echo "     $($LEDGER judge "$TMP/ledger.a" "$TMP/ledger.b" "$TMP/a" | tail -1); $held syncs held; $(wc -l <"$TMP/far.pids") calls; $((SECONDS - begin)) s"
	check "$when: a ends" umount_store "$A" "$TMP/a"
	check "$when: b ends" umount_store "$B" "$TMP/b"
	check "$when: a is whole" "$SYNC" -o "mail_location=dsyncfs:$A" verify
	check "$when: b is whole" "$SYNC" -o "mail_location=dsyncfs:$B" verify
}
history push "$ROUNDS"
history 1s $((ROUNDS / 2))
finish
