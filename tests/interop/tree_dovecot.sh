#!/bin/bash
# tree_dovecot -- two Dovecots sync random trees of mailboxes with each other, and
# what they make of them has to be what tree_dsync predicts for both halves.
#
# The N and D records that go over the wire are what both halves compute from, so
# they are the input of the prediction (tree_predict).
#
# Dovecot 2.3.19.1 is known to go other ways in some places, which are avoided:
#	Maildir takes over every GUID		the locations are sdbox
#	another separator hangs it		both have '/'
#	% in a name is renamed to and fro	there is none
#	directories of directories without	names have two levels at most, and only
#	mail are matched one level too deep	mailboxes of one level are moved about
. "$(dirname "$0")/../real.sh"
. "$(dirname "$0")/../dovecot.sh"
needs python3
PREDICT=$BIN/tests/interop/tree_predict
[ -x "$PREDICT" ] || { echo "FAIL: $PREDICT is not built: make interop-programs"; exit 1; }

sides=(a b)
tops=(A B C D)
below=(A/x A/y B/x B/y C/x D/y)
RANDOM=${SEED:-4711}

for s in "${sides[@]}"; do
	mkdir "$TMP/mail-$s"
	dovecot_conf "$s" "sdbox:$TMP/mail-$s"
	# It takes a mailbox that was deleted and made again for the old one.
	echo 'mailbox_list_index = no' >>"$TMP/dovecot/$s/dovecot.conf"
	da "$s" mailbox create INBOX || echo "FAIL: no INBOX"
done
cat >"$TMP/slave" <<W
#!/bin/bash
d=$TMP/dovecot/b
tee $TMP/m2s |
	env -i PATH="$PATH" USER=mail HOME="\$d/home" doveadm -c "\$d/dovecot.conf" dsync-server |
	tee $TMP/s2m
W
chmod +x "$TMP/slave"

change() {	# SIDE: something that a user does; not all of it can be done
	local t=${tops[RANDOM % 4]} u=${tops[RANDOM % 4]} x=${below[RANDOM % 6]} y=${below[RANDOM % 6]} any
	any=$t
	[ $((RANDOM % 2)) = 0 ] || any=$x
	case $((RANDOM % 9)) in
	0 | 1 | 2) set -- "$1" create "$any" ;;
	3) set -- "$1" rename "$t" "$u" ;;
	4 | 5) set -- "$1" rename "$x" "$y" ;;
	6) set -- "$1" delete "$any" ;;
	7) set -- "$1" subscribe "$any" ;;
	8) set -- "$1" unsubscribe "$any" ;;
	esac
	echo "$*" >>"$TMP/history"
	da "$1" mailbox "${@:2}" 2>/dev/null
}

# Dovecot notes changes by the second.  So that the order matters without waiting,
# each record of its log gets a time of its own in the last minute.
spread_times() {
	local log=$TMP/mail-$1/dovecot.mailbox.log
	[ ! -e "$log" ] || python3 - "$log" $RANDOM <<'P'
import random, struct, sys
random.seed(int(sys.argv[2]))
b = bytearray(open(sys.argv[1], 'rb').read())
done = len(b)
try:
	done = int(open(sys.argv[1] + '.done').read())
except OSError:
	done = 0
for i in range(done, len(b) // 24 * 24, 24):
	t = struct.unpack('>I', b[i + 20:i + 24])[0]
	b[i + 20:i + 24] = struct.pack('>I', t - random.randrange(4))
open(sys.argv[1], 'r+b').write(b)
open(sys.argv[1] + '.done', 'w').write(str(len(b)))
P
}

state_of() {	# SIDE LABEL
	da "$1" -f tab mailbox status guid '*' | sed -n 's/^\(.*\)\t\([0-9a-f]\{32\}\)$/\1 \2/p' | sed "s/^/$2 /"
	da "$1" mailbox list -s | sed "s/.*/$2 & subscribed/"
}

sync_once() {
	local want got rc
	da a sync "$TMP/slave" 2>"$TMP/sync.err"
	rc=$?
	echo "sync $rc" >>"$TMP/history"
	if [ $rc != 0 ] && [ $rc != 2 ]; then
		echo "doveadm sync ended with $rc:"; cat "$TMP/sync.err"; return 1
	fi
	"$PREDICT" "$TMP/m2s" "$TMP/s2m" >"$TMP/predicted" || return 1
	grep '^do ' "$TMP/predicted" >>"$TMP/done"
	want=$(grep -v '^do ' "$TMP/predicted" | LC_ALL=C sort)
	got=$({ state_of a master; state_of b slave; } | LC_ALL=C sort)
	[ "$want" = "$got" ] && return
	diff <(echo "$want") <(echo "$got")
	(cd "$TMP" && grep -a '^[ND]' m2s s2m | tr '\001\002' '^-')
	echo "after:"
	tail -20 "$TMP/history"
	return 1
}

for ((round = 1; round <= ${ROUNDS:-16}; round++)); do
	for ((i = 0; i < 8; i++)); do change ${sides[RANDOM % 2]}; done
	spread_times a
	spread_times b
	check "round $round: Dovecot does what is predicted" sync_once
	check "round $round: and again" sync_once
done
# Else it has shown nothing.
for act in delete rename create merge subscribe unsubscribe; do
	check "there was something to $act" grep -q "^do $act" "$TMP/done"
done
check "a name was in the way of another" grep -q -e '-temp-1' "$TMP/done"
finish
