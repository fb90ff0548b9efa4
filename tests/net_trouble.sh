# net_trouble -- a history of two sides, a mount (a) and what it syncs with by ssh (b), on two hosts: programs change mail on both while
# the link, processes and the other side are in trouble.  Sourced after netns.sh, real.sh and sshd.sh.
#
#	trouble HOW		a sync is held in its middle, by chance here or there, and HOW happens
#	rounds NAME N HOW...	N of them, each HOW in its turn; between them both settle
#	settle			until `equal_now`, which is the script's
#	judge NAME MNT		is all there that programs did?  With judge_how=kept: is nothing lost?
#	remount a|b		kills the mount and mounts it again by mount_a, mount_b
#
# SEED is what all is drawn from, apart a suffix of sides for net_ledger.py, mail_of[a] and mail_of[b] where mail is, in its words.
SEED=${SEED:-1}
RANDOM=$SEED
A=$TMP/a.store B=$TMP/b.store
LEDGER="python3 $ROOT/tests/interop/net_ledger.py"
declare -A mail_of=([a]=$TMP/a [b]=$TMP/b)

remount() {
	local store=$TMP/$1.store
	kill -9 $(mounted_process "$store")
	fusermount3 -uz "$TMP/$1" 2>/dev/null
	within 20 not mountpoint -q "$TMP/$1" && within 20 not mounted_process "$store" && within 20 "mount_$1"
}
tell_a() { kill -USR1 $(mounted_process "$A") 2>/dev/null; }
far_pid() { local p; p=$(tail -1 "$TMP/far.pids"); case $(cat "/proc/$p/comm" 2>/dev/null) in dsyncfs-sync | doveadm) echo "$p" ;; esac; }
# Those of sshd that have a connection.
sessions() { local p; for p in "${sshds[@]}"; do pgrep -P "$p"; done; }

changed=0 apart=
change() {	# SIDE...: some changes on each at once
	local s jobs=() bad=0
	changed=$((changed + 1))
	for s in "$@"; do
		$LEDGER change "$TMP/ledger.$s" "$s$apart" 10 "$SEED-$changed" ${mail_of[$s]} &
		jobs+=($!)
	done
	for s in "${jobs[@]}"; do wait "$s" || bad=1; done
	[ $bad = 0 ]
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
# What it had locked would keep doveadm: nobody changes mail there meanwhile.
server_stands_still() { local p; p=$(far_pid); kill -STOP $p 2>/dev/null; some_time; change a; kill -CONT $p 2>/dev/null; more; }
session_is_killed() { kill -9 $(sessions) 2>/dev/null; more; }
session_stands_still() { local p; p=$(sessions); kill -STOP $p 2>/dev/null; more; kill -CONT $p 2>/dev/null; return 0; }
mount_a_is_killed() { remount a && more; }
mount_b_is_killed() { remount b && more; }
mount_a_is_killed_in_silence() { silence; remount a && more; sound; }
mount_b_stands_still() { local p; p=$(mounted_process "$B"); kill -STOP $p; some_time; change a; kill -CONT $p; more; }
mount_a_stands_still() { local p; p=$(mounted_process "$A"); kill -STOP $p; some_time; change b; kill -CONT $p; more; }

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
settle() {
	local end=$((SECONDS + 300)) asked=0
	until equal_now; do
		if [ $SECONDS -ge $end ]; then
			echo "not equal after 300 s"
			timeout 20 "$SYNC" -o "mail_location=dsyncfs:$A" status
			diff <(dump_a) <(dump_b)
			return 1
		fi
		# Not later and later, nor without a pause.
		[ $((SECONDS - asked)) -lt 2 ] || { tell_a; asked=$SECONDS; }
		sleep 0.2
	done
}
equal_now() { [ "$(dump_a)" = "$(dump_b)" ]; }
dump_a() { dump "dsyncfs:$A"; }
rounds() {
	local name=$1 n=$2 i how seed all
	shift 2
	for ((i = 0; i < n; i++)); do
		seed=$RANDOM
		[ $((i % $#)) != 0 ] || all=($(shuf -e --random-source=<(yes "$seed") "$@"))
		how=${all[i % $#]}
		# Not by check, whose subshell would have other random numbers.
		trouble "$how" >"$TMP/out" 2>&1
		report $? "$name: round $((i + 1)): $how" "$(cat "$TMP/out")"
		[ $((i % 4)) != 3 ] || check "$name: both settle" settle
	done
	all_well
	check "$name: both end equal" settle
	equal "$name: to the letter" "$(dump_a)" "$(dump_b)"
}
judge_how=judge
judge() {
	check "$1 has what it should" $LEDGER $judge_how "$TMP/ledger.a" "$TMP/ledger.b" "$2"
	$LEDGER $judge_how "$TMP/ledger.a" "$TMP/ledger.b" "$2" | sed 's/^/     /'
	echo "     $held syncs held, $(wc -l <"$TMP/far.pids") calls"
}
