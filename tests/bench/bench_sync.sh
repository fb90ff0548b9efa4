#!/bin/bash
# bench_sync -- what a sync costs: at two sizes of the same hundred mailboxes, and
# beside doveadm(1) on the same mail, in paired rounds.
#
#	bench_sync.sh [BIN]		BIN: the build's directory
#
# BENCH_SHORT=1: small sizes, to see that it runs.  BENCH_MESSAGES, BENCH_DOVECOT
# (sizes), BENCH_ROUNDS change the sizes.  A ratio is the median of the rounds'
# ratios, the other figures are medians.  Nothing fails by time; a sync that fails
# or loses a message does.
. "$(dirname "$0")/lib.sh"

large=${BENCH_MESSAGES:-1000000} small=10000 boxes=100
sizes=${BENCH_DOVECOT:-20000 100000} rounds=${BENCH_ROUNDS:-5} first_rounds=3
[ -z "${BENCH_SHORT:-}" ] || { large=2000 small=200 boxes=10 sizes=300 rounds=1 first_rounds=1; }

# NAME COMMAND...: must succeed; its cost goes to $COSTS, its output to $TMP/out
measure() {
	local name=$1
	shift
	must "$TOOL" run "$COSTS" "$name" "$@"
}
ours() { measure "$1@ours" "$SYNC" -o "mail_location=dsyncfs:$2" mirror "$3"; }
theirs() { measure "$1@theirs" "${DOVEADM[@]}" sync "${@:3}" "$2"; }

# The table of some cases: what both sides cost, and the ratio of the first to the
# second.
#	table "TITLE" SIDE1 SIDE2 CASE...
table() {
	local title=$1 a=$2 b=$3
	shift 3
	awk -v title="$title" -v a="$a" -v b="$b" -v list="$*" "$UNITS"'
	function of(name, f,	i) {
		for (i = 1; i <= count[name]; i++)
			sorted[i] = cost[name, i, f]
		return median(sorted, count[name])
	}
	function ratio(c, f,	i, n, x, y) {
		n = count[c "@" a]
		for (i = 1; i <= n; i++) {
			x = cost[c "@" a, i, f]; y = cost[c "@" b, i, f]
			sorted[i] = y > 0 ? x / y : 0
		}
		return median(sorted, n)
	}
	{
		n = ++count[$1]
		for (f = 3; f <= 7; f++)
			cost[$1, n, f] = $f
		unknown = unknown || $8
	}
	END {
		split("wall cpu peak read written", what, " ")
		printf "%s\n%-36s %-8s %11s %11s %7s\n", title, "", "", a, b, "ratio"
		cases = split(list, c, " ")
		for (i = 1; i <= cases; i++)
			for (f = 3; f <= 7; f++) {
				if (f > 5 && unknown)
					continue
				x = of(c[i] "@" a, f); y = of(c[i] "@" b, f)
				printf "%-36s %-8s %11s %11s %7.2f\n", \
				    f == 3 ? c[i] " (" count[c[i] "@" a] ")" : "", what[f - 2], \
				    f < 5 ? time(x) : bytes(f == 5 ? x * 1024 : x), \
				    f < 5 ? time(y) : bytes(f == 5 ? y * 1024 : y), ratio(c[i], f)
			}
	}' "$COSTS"
	: >"$COSTS"
}
echo "$(uname -srm), $(nproc) CPUs, Dovecot $(dovecot --version | cut -d' ' -f1); read and written are the bytes of system calls (doveadm maps its indexes)"

# ---- the same mailboxes, a hundredfold ----

two_sizes() {
	local n r
	for n in $small $large; do
		must "$TOOL" fill "dsyncfs:$TMP/a$n" $n $boxes
		measure "first@$n" "$SYNC" -o "mail_location=dsyncfs:$TMP/a$n" mirror "dsyncfs:$TMP/b$n"
	done
	for ((r = 1; r <= rounds; r++)); do
		for n in $small $large; do
			measure "no-op@$n" "$SYNC" -o "mail_location=dsyncfs:$TMP/a$n" mirror "dsyncfs:$TMP/b$n"
		done
		for n in $small $large; do
			must "$TOOL" change "dsyncfs:$TMP/a$n" $boxes $r
			measure "100-changes@$n" "$SYNC" -o "mail_location=dsyncfs:$TMP/a$n" mirror "dsyncfs:$TMP/b$n"
		done
	done
	must "$SYNC" -o "mail_location=dsyncfs:$TMP/a$small" verify "dsyncfs:$TMP/b$small"
	table "store - store, $boxes mailboxes, messages:" $large $small first no-op 100-changes
	rm -rf "$TMP"/a$small "$TMP"/b$small "$TMP"/a$large "$TMP"/b$large
}
two_sizes

# One mailbox of two sizes: what a first sync holds of each message.
one_mailbox() {
	local n
	for n in $((large / 10)) $((large / 5)); do
		must "$TOOL" fill "dsyncfs:$TMP/a" $n 1
		measure first "$SYNC" -o "mail_location=dsyncfs:$TMP/a" mirror "dsyncfs:$TMP/b"
		rm -rf "$TMP/a" "$TMP/b"
	done
	awk -v n=$((large / 10)) '{ peak[NR] = $5 * 1024 } END {
		printf "store - store, one mailbox, first sync: peak %.1f MB at %d messages, %.1f MB at %d, %.0f bytes a message between\n",
		    peak[1] / 1e6, n, peak[2] / 1e6, 2 * n, (peak[2] - peak[1]) / n }' "$COSTS"
	: >"$COSTS"
}
one_mailbox

# ---- beside doveadm ----

# mail_fsync is Dovecot's default here: both make durable what they say is there.
dovecot_for_bench box "sdbox:$TMP/d/a"
DOVEADM=(env USER=mail "HOME=$TMP/dovecot/box/home" doveadm -c "$TMP/dovecot/box/dovecot.conf")
[ "$(id -u)" != 0 ] || DOVEADM=(unshare --user --map-user=1000 --map-group=1000 "${DOVEADM[@]}")

# The same 40 deliveries, as many flags and expunges, on both sides.
#	change_both ROUND MESSAGES
change_both() {
	change_dovecot box $1 $2 $boxes
	must "$TOOL" change "dsyncfs:$TMP/o/a" $boxes $1
}

first_syncs() {
	local r
	for ((r = 0; r < first_rounds; r++)); do
		rm -rf "$TMP/o/b" "$TMP/o/m" "$TMP/d/b" "$TMP/d/m"
		ours first:store-store "$TMP/o/a" "dsyncfs:$TMP/o/b"
		theirs first:store-store "sdbox:$TMP/d/b"
		ours first:store-Maildir "$TMP/o/a" "maildir:$TMP/o/m"
		theirs first:store-Maildir "maildir:$TMP/d/m"
	done
}

# Maildirs that were just written are looked at again until their times are
# old enough to be trusted.
settled() {
	local now
	now=$(date +%s)
	until [ "$(date +%s)" -gt $((now + 3)) ] || [ -n "${BENCH_SHORT:-}" ]; do sleep 0.2; done
	must "$SYNC" -o "mail_location=dsyncfs:$TMP/o/a" mirror "maildir:$TMP/o/m"
	must "${DOVEADM[@]}" sync "maildir:$TMP/d/m"
}

again() {
	local stateful=$1 k
	for k in b m; do
		local ours=dsyncfs:$TMP/o/b dove=sdbox:$TMP/d/b name=store-store
		[ $k = b ] || ours=maildir:$TMP/o/m dove=maildir:$TMP/d/m name=store-Maildir
		if [ -z "$stateful" ]; then
			ours "$2:$name" "$TMP/o/a" "$ours"
			theirs "$2:$name" "$dove"
			must "${DOVEADM[@]}" sync -s "$(cat "$TMP/state-$k")" "$dove"
		else
			ours "$2-state:$name" "$TMP/o/a" "$ours"
			theirs "$2-state:$name" "$dove" -s "$(cat "$TMP/state-$k")"
		fi
		tail -1 "$TMP/out" >"$TMP/state-$k"
	done
}

# MESSAGES MAILBOXES: the same mail in a store and an sdbox.
fill_both() {
	rm -rf "$TMP/o" "$TMP/d"
	mkdir -p "$TMP/o" "$TMP/d"
	must "$TOOL" fill "dsyncfs:$TMP/o/a" $1 $2
	must "$TOOL" fill "maildir:$TMP/d/mail" $1 $2
	must da box -o "mail_location=maildir:$TMP/d/mail" backup "sdbox:$TMP/d/a"
}

beside_one() {
	fill_both $1 1
	first_syncs
	table "beside doveadm, one mailbox, $1 messages:" ours theirs first:store-store first:store-Maildir
}

beside() {
	local n=$1 r=0 k
	fill_both $n $boxes
	first_syncs
	for k in b m; do
		must "${DOVEADM[@]}" sync -s '' "$([ $k = b ] && echo sdbox || echo maildir):$TMP/d/$k"
		tail -1 "$TMP/out" >"$TMP/state-$k"
	done
	settled
	for ((; r < rounds; r++)); do
		again "" no-op
		again 1 no-op
		change_both $((2 * r + 1)) $n
		again "" 100-changes
		change_both $((2 * r + 2)) $n
		again 1 100-changes
		settled
	done
	same_count $((n + 2 * rounds * 20))
	table "beside doveadm, $boxes mailboxes, $n messages (store is a dsyncfs store or an sdbox; -state: doveadm sync -s):" \
	    ours theirs first:store-store first:store-Maildir \
	    no-op:store-store no-op:store-Maildir no-op-state:store-store no-op-state:store-Maildir \
	    100-changes:store-store 100-changes:store-Maildir 100-changes-state:store-store 100-changes-state:store-Maildir
}

# Every round added 40 messages and removed 20, on all sides.
same_count() {
	local want=$1 m got
	for m in "$TMP/o/m" "$TMP/d/m"; do
		got=$(find "$m" -type f \( -path '*/cur/*' -o -path '*/new/*' \) ! -path '*sidecar*' | wc -l)
		[ "$got" = "$want" ] || { echo "FAIL: $m has $got messages, not $want"; exit 1; }
	done
	must "$SYNC" -o "mail_location=dsyncfs:$TMP/o/a" verify "maildir:$TMP/o/m"
}

beside_one "${sizes%% *}"
for n in $sizes; do beside "$n"; done
