#!/bin/bash
# bench_link -- what a sync over a pipe costs at each end, and on the wire: ours with a dsyncfs-sync and with a Dovecot at the
# other end, doveadm with doveadm, and mbsync with Dovecot's imap, on the same mail in the same run.  A server has the mail;
# what is near is empty at first, and takes what changes there.
#
#	bench_link.sh [BIN]		BIN: the build's directory
#
# BENCH_SHORT=1: small sizes, to see that it runs.  BENCH_LINK (sizes), BENCH_ROUNDS, BENCH_FIRST (rounds of first syncs) change
# them.  All take turns in each round, every other round the other way round; ratios are to doveadm - doveadm, medians of the rounds'
# ratios.  Nothing fails by time; a program that fails, or a side that does not have the same mail, does.
. "$(dirname "$0")/lib.sh"
LINK=$BIN/tests/bench/bench_link
SOCKET=$TMP/link
needs "$LINK" python3 mbsync imap

sizes=${BENCH_LINK:-20000 100000} boxes=100 rounds=${BENCH_ROUNDS:-5} first_rounds=${BENCH_FIRST:-3}
[ -z "${BENCH_SHORT:-}" ] || { sizes=300 boxes=10 rounds=1 first_rounds=1; }

# dsyncfs.dsyncfs takes from a store, the others from one sdbox.
pairs="dsyncfs.dsyncfs dsyncfs.doveadm doveadm.doveadm mbsync.imap"
base=doveadm.doveadm
dovecot_for_bench far "sdbox:$TMP/far.sdbox"
dovecot_for_bench near "sdbox:$TMP/near.sdbox"
sed -i 's/^protocols =.*/protocols = imap/' "$TMP/dovecot/far/dovecot.conf"
AS_MAIL=
[ "$(id -u)" != 0 ] || AS_MAIL="unshare --user --map-user=1000 --map-group=1000"
ENV="env -i PATH=$PATH TZ=UTC HOME=$HOME"
FAR="$ENV HOME=$TMP/dovecot/far/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/far/dovecot.conf"
NEAR="$ENV HOME=$TMP/dovecot/near/home USER=mail $AS_MAIL doveadm -c $TMP/dovecot/near/dovecot.conf"
OURS="$ENV $SYNC -o mail_location=dsyncfs:$TMP"
JOIN="$LINK join $SOCKET"
cat >"$TMP/mbsyncrc" <<C
IMAPStore far
Tunnel "$JOIN"

MaildirStore near
Path $TMP/near.maildir/
Inbox $TMP/near.maildir/INBOX
SubFolders Verbatim

Channel mail
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
CopyArrivalDate yes
SyncState *
C

# PAIR CASE
sync_pair() {
	local m s
	case $1 in
	dsyncfs.dsyncfs) m="$OURS/near.own mirror $JOIN" s="$OURS/far.own dsync-server" ;;
	dsyncfs.doveadm) m="$OURS/near.store mirror $JOIN" s="$FAR dsync-server" ;;
	doveadm.doveadm) m="$NEAR sync $JOIN" s="$FAR dsync-server" ;;
	mbsync.imap) m="$ENV mbsync -q -c $TMP/mbsyncrc mail" s="$FAR exec imap" ;;
	esac
	must "$LINK" run "$SOCKET" "$COSTS" "$2@$1" $s -- $m
}
turn=0
all() {		# CASE
	local p order=$pairs
	turn=$((turn + 1))
	[ $((turn % 2)) = 1 ] || order=$(tac -s' ' <<<"$pairs " | tr '\n' ' ')
	for p in $order; do sync_pair $p $1; done
}

forget_near() {
	rm -rf "$TMP/near.own" "$TMP/near.store" "$TMP/near.sdbox" "$TMP/near.maildir"
	mkdir -p "$TMP/near.maildir"
}
fill_far() {	# MESSAGES
	rm -rf "$TMP/far.own" "$TMP/far.sdbox" "$TMP/mail"
	must "$TOOL" fill "dsyncfs:$TMP/far.own" $1 $boxes
	must "$TOOL" fill "maildir:$TMP/mail" $1 $boxes
	must da far -o "mail_location=maildir:$TMP/mail" backup "sdbox:$TMP/far.sdbox"
	rm -rf "$TMP/mail"
}

# What each side has, in an order of its own: flags and hash of each message.
dump_store() { "$SYNC" dump "dsyncfs:$1" | messages_of; }
dump_dovecot() { doveadm_dump $1 | messages_of; }
messages_of() { sed -n 's/^[0-9]* guid=.* flags=\([^ ]*\).*\(sha1=.*\)/\1 \2/p' | sort; }
dump_maildir() {	# mbsync adds a line
	python3 - "$1" <<-'P' | sort
	import hashlib, os, re, sys
	words = (("R", "\\Answered"), ("F", "\\Flagged"), ("S", "\\Seen"))
	for path, _, files in os.walk(sys.argv[1]):
	    for name in files if os.path.basename(path) in ("cur", "new") else ():
	        text = re.sub(rb"(?m)^X-TUID: .*\n", b"", open(path + "/" + name, "rb").read(), count=1)
	        flags = [word for letter, word in words if letter in name.partition(":2,")[2]]
	        print(",".join(flags), "sha1=" + hashlib.sha1(text).hexdigest())
	P
}
all_equal() {	# MESSAGES
	local want
	must "$SYNC" -o "mail_location=dsyncfs:$TMP/near.own" verify "dsyncfs:$TMP/far.own"
	dump_dovecot far >"$TMP/want"
	want=$(wc -l <"$TMP/want")
	[ "$want" = "$1" ] || { echo "FAIL: the server has $want messages, not $1"; exit 1; }
	dump_store "$TMP/near.own" >"$TMP/got"
	[ "$(wc -l <"$TMP/got")" = "$1" ] || { echo "FAIL: dsyncfs.dsyncfs lost mail"; exit 1; }
	dump_store "$TMP/near.store" >"$TMP/got"
	must diff "$TMP/want" "$TMP/got"
	dump_dovecot near >"$TMP/got"
	must diff "$TMP/want" "$TMP/got"
	dump_maildir "$TMP/near.maildir" >"$TMP/got"
	must diff "$TMP/want" "$TMP/got"
}

table() {	# TITLE CASE...
	local title=$1
	shift
	awk -v title="$title" -v list="$*" -v pairs="$pairs" -v base="$base" "$UNITS"'
	function of(name, f,	i) {
		for (i = 1; i <= count[name]; i++)
			sorted[i] = cost[name, i, f]
		return median(sorted, count[name])
	}
	function ratio(c, p, f,	i, y) {
		for (i = 1; i <= count[c "@" p]; i++) {
			y = cost[c "@" base, i, f]
			sorted[i] = y > 0 ? cost[c "@" p, i, f] / y : 0
		}
		return median(sorted, count[c "@" p])
	}
	{
		n = ++count[$1]
		for (f = 4; f <= 10; f++)
			cost[$1, n, f] = $f
	}
	END {
		split("x x x wall near-cpu far-cpu near-peak far-peak sent got", what, " ")
		printf "%s\n%-20s %-9s", title, "", ""
		pairs_n = split(pairs, p, " ")
		for (k = 1; k <= pairs_n; k++)
			printf " %18s", p[k]
		print ""
		cases = split(list, c, " ")
		for (i = 1; i <= cases; i++)
			for (f = 4; f <= 10; f++) {
				printf "%-20s %-9s", f == 4 ? c[i] " (" count[c[i] "@" base] ")" : "", what[f]
				for (k = 1; k <= pairs_n; k++) {
					x = of(c[i] "@" p[k], f)
					printf " %10s %7.2f", f < 7 ? time(x) : bytes(f < 9 ? x * 1024 : x), ratio(c[i], p[k], f)
				}
				print ""
			}
	}' "$COSTS"
	: >"$COSTS"
}

# mbsync waits for the next second after its Maildir has changed.
settled() {
	local now
	now=$(date +%s)
	until [ "$(date +%s)" -gt $((now + 1)) ] || [ -n "${BENCH_SHORT:-}" ]; do sleep 0.2; done
}

size() {
	local n=$1 r
	fill_far $n
	for ((r = 0; r < first_rounds; r++)); do
		forget_near
		all first
	done
	for ((r = 1; r <= rounds; r++)); do
		settled
		all no-op
		change_dovecot far $r $n $boxes
		must "$TOOL" change "dsyncfs:$TMP/far.own" $boxes $r
		settled
		all 100-changes
	done
	all_equal $((n + rounds * 20))
	table "over a pipe, $boxes mailboxes, $n messages (ratios to $base):" first no-op 100-changes
}

echo "$(uname -srm), $(nproc) CPUs, Dovecot $(dovecot --version | cut -d' ' -f1), $(mbsync --version); near takes from far; sent and got by near"
for n in $sizes; do size $n; done
