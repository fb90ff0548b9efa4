#!/bin/bash
# kill_sync -- dsyncfs-sync is killed (SIGKILL) at many points of a mirror: after
# growing times, and at the Nth system call of each kind that changes a file.  The
# next run completes, both sides are equal, nothing is lost and nothing there twice.
. "$(dirname "$0")/../real.sh"
needs strace python3 rsync
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }

# A store and a Maildir that have been in step, then changed on both sides; kept as a template.
$MAIL maildir "$TMP/far" 24
ds mirror "maildir:$TMP/far" >/dev/null || echo "first mirror failed"
$MAIL deliver "$TMP/far" 13 far
f=$(messages "$TMP/far/.Work" | sort | head -1)
mv "$f" "${f%%:2,*}:2,FRS"
rm "$(messages "$TMP/far" | sort | head -1)"
check "a mount to change the store by" mount_store "$STORE" "$MNT"
$MAIL deliver "$MNT" 9 near
mkdir -p "$MNT/.New/cur" "$MNT/.New/new" "$MNT/.New/tmp"
$MAIL deliver "$MNT/.New" 5 new
f=$(messages "$MNT/.Work" | sort | tail -1)
mv "$f" "$MNT/.Work/cur/$(basename "${f%%:2,*}"):2,T"
check "unmount" umount_store "$STORE" "$MNT"
mv "$STORE" "$TMP/store.was"
mv "$TMP/far" "$TMP/far.was"
fresh() {
	rm -rf "$STORE" "$TMP/far"
	cp -a "$TMP/store.was" "$STORE"
	cp -a "$TMP/far.was" "$TMP/far"
}
state() { sed 's/ \(modseq\|highestmodseq\|guid\|uidvalidity\|uidnext\)=[^ ]*//g; s/^[0-9]* //' | LC_ALL=C sort; }
# -l: a process that was killed may take a moment to be gone.  A lock that it left must not cost the next run minutes.
again() {
	local i
	for i in 1 2 3; do
		timeout -s KILL 20 "$SYNC" -l 5 -o "mail_location=dsyncfs:$STORE" "$@" >/dev/null 2>"$TMP/again.err"
		r=$?
		[ $r = 2 ] || break
	done
	[ $r = 0 ]
}

fresh
check "the mirror that is not killed" again mirror "maildir:$TMP/far"
want=$(ds dump --no-modseqs | state)
equal "has all mail" $((24 + 13 + 9 + 5 - 1)) "$(grep -c sha1= <<<"$want")"

slowest=0
# After a kill: the next run ends well, both sides are what an undisturbed run gives.
judge() {	# WHAT
	local a b took begun
	begun=$(($(date +%s%N) / 1000000))
	if ! again mirror "maildir:$TMP/far"; then
		echo "$1: the next run ends with $r"; cat "$TMP/again.err"
		return 1
	fi
	took=$(($(date +%s%N) / 1000000 - begun))
	[ $took -le "$slowest" ] || { slowest=$took; echo "$took ms: $1" >"$TMP/slowest"; }
	a=$(ds dump --no-modseqs) b=$(ds dump --no-modseqs "maildir:$TMP/far")
	[ "$a" = "$b" ] || { echo "$1: the two sides differ"; diff <(echo "$a") <(echo "$b") | head; return 1; }
	[ "$(state <<<"$a")" = "$want" ] || { echo "$1: not what it should be"; diff <(echo "$want") <(state <<<"$a") | head; return 1; }
}

by_time() {
	local ms bad=0 runs=0
	for ms in 1 2 4 6 8 10 13 16 20 25 30 40 60 90; do
		fresh
		timeout -s KILL "$(printf '0.%03d' $ms)" "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/far" >/dev/null 2>&1
		judge "killed after $ms ms" || bad=1
		runs=$((runs + 1))
	done
	echo "$runs runs"
	return $bad
}
check "killed after growing times" by_time

# How often the undisturbed run makes each call says where it can be killed.
calls() { fresh; strace -f -qq -e trace="$1" -o "$TMP/trace" "$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/far" >/dev/null 2>&1; grep -c "$1(" "$TMP/trace"; }
by_call() {	# CALL POINTS
	local total n step bad=0 runs=0
	total=$(calls "$1")
	echo "$total $1" >>"$TMP/calls"
	step=$(((total + $2 - 1) / $2))
	for ((n = 1; n <= total; n += step)); do
		fresh
		# dsyncfs-sync dies at its Nth call; the call itself is not made.
		strace -f -qq -o /dev/null -e trace="$1" -e inject="$1:signal=KILL:when=$n" \
			"$SYNC" -o "mail_location=dsyncfs:$STORE" mirror "maildir:$TMP/far" >/dev/null 2>&1
		judge "killed at $1 number $n of $total" || bad=1
		runs=$((runs + 1))
	done
	echo $runs >>"$TMP/kills"
	return $bad
}
for c in fsync fdatasync renameat renameat2 pwrite64 write writev pwritev linkat unlinkat openat mkdirat utimensat ftruncate; do
	check "killed at $c" by_call $c "${KILL_POINTS:-6}"
done
echo "     calls of an undisturbed run: $(paste -sd, "$TMP/calls" | sed 's/,/, /g')"
echo "     the slowest next run: $(cat "$TMP/slowest")"
kills=$(awk '{n += $1} END {print n}' "$TMP/kills")
check "it was killed at $kills places, enough of them" test "$kills" -ge 30
check "the store is whole" ds verify
finish
