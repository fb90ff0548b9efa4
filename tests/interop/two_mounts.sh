#!/bin/bash
# two_mounts -- two mounts that mirror with each other by themselves, each by the other's dsync-server: neither waits for ever for the
# other, and both end with all mail.
. "$(dirname "$0")/../real.sh"
needs python3
[ -z "$TEST_PLAIN" ] || { echo "FAIL: this test has no plain stand-in"; exit 1; }
A=$TMP/a.store B=$TMP/b.store
mkdir "$TMP/bin"
server() {	# NAME STORE
	cat >"$TMP/bin/$1" <<-C
		#!/bin/sh
		echo "\$\$" >>$TMP/$1.calls
		exec env -i PATH=/usr/bin:/bin HOME=$HOME $SYNC -o mail_location=dsyncfs:$2 "\$@"
	C
	chmod 755 "$TMP/bin/$1"
	: >"$TMP/$1.calls"
}
server a "$A"
server b "$B"

check "one is mounted" mount_store "$A" "$TMP/a" "remote=$TMP/bin/b dsync-server,sync=1"
check "the other is mounted" mount_store "$B" "$TMP/b" "remote=$TMP/bin/a dsync-server,sync=1"
called() { [ "$(wc -l <"$TMP/a.calls")" -gt "$1" ] && [ "$(wc -l <"$TMP/b.calls")" -gt "$2" ]; }
# Both call at once: each is told to sync, again and again, while mail is delivered to both.  Helpers of mounts look like these.
pids=($(mounted_process "$A") $(mounted_process "$B"))
check "both run" test ${#pids[@]} -ge 2
for i in $(seq 20); do
	deliver_one "$TMP/a" "17000001$i.M1.a" "from-a-$i"
	deliver_one "$TMP/b" "17000002$i.M1.b" "from-b-$i"
	kill -USR1 "${pids[@]}"
	[ $((i % 5)) != 0 ] || sleep 0.3
done
for i in 1 2 3; do
	mv "$TMP/a/new/17000001$i.M1.a" "$TMP/a/cur/17000001$i.M1.a:2,S"
	rm "$TMP/b/new/17000002$i.M1.b"
	kill -USR1 "${pids[@]}"
done
equal_now() { [ "$(dump "dsyncfs:$A")" = "$(dump "dsyncfs:$B")" ]; }
complete() { count_is "$TMP/a" 37 && count_is "$TMP/b" 37 && equal_now; }
check "both end with all mail" within 100 complete
check "both have called" called 0 0
calls=($(wc -l <"$TMP/a.calls") $(wc -l <"$TMP/b.calls"))
check "and go on calling" within 100 called "${calls[@]}"
equal "no mail is there twice" "" "$(dump "dsyncfs:$A" | grep -o 'guid=[^ ]*' | sort | uniq -d)"
equal "both say the same" "$(dump "dsyncfs:$A")" "$(dump "dsyncfs:$B")"
check "one still answers" "$SYNC" -o "mail_location=dsyncfs:$A" mailboxes
check "the other too" "$SYNC" -o "mail_location=dsyncfs:$B" mailboxes
check "one ends" umount_store "$A" "$TMP/a"
check "the other ends" umount_store "$B" "$TMP/b"

# ---- by hand: two commands at the same moment ----
check "mounted again" mount_store "$A" "$TMP/a"
check "mounted again" mount_store "$B" "$TMP/b"
deliver_one "$TMP/a" 1700000301.M1.a last-a
deliver_one "$TMP/b" 1700000302.M1.b last-b
a_to_b() { "$SYNC" -o "mail_location=dsyncfs:$A" -T 60 mirror "$TMP/bin/b" dsync-server; }
b_to_a() { "$SYNC" -o "mail_location=dsyncfs:$B" -T 60 mirror "$TMP/bin/a" dsync-server; }
# Both can give up in one round, when their waits end at the same moment; not in each.
good() { case $1 in 0 | 2 | 75) return 0 ;; *) cat "$TMP/a.out" "$TMP/b.out"; return 1 ;; esac; }
for round in 1 2 3 4 5; do
	a_to_b >"$TMP/a.out" 2>&1 &
	job=$!
	b_to_a >"$TMP/b.out" 2>&1
	rb=$?
	wait $job
	ra=$?
	check "one ends well or is told to try again: $ra" good $ra
	check "the other too: $rb" good $rb
	[ $ra = 75 ] && [ $rb = 75 ] || break
done
check "one went through" eval '[ $ra != 75 ] || [ $rb != 75 ]'
check "then there is nothing in the way" again a_to_b
check "nor the other way" again b_to_a
equal "both say the same" "$(dump "dsyncfs:$A")" "$(dump "dsyncfs:$B")"
check "both have both" eval 'has_mail "$TMP/a" last-b && has_mail "$TMP/b" last-a'
check "one ends" umount_store "$A" "$TMP/a"
check "the other ends" umount_store "$B" "$TMP/b"
finish
