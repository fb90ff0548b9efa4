# lib -- shared by the benchmarks: `. "$(dirname "$0")/lib.sh"`, with the build's directory as the script's first argument.
#
#	must COMMAND...			it has to succeed; its output is in $TMP/out
#	dovecot_for_bench NAME LOCATION	a configuration as dovecot_conf makes it, that makes durable what it says is there
#	change_dovecot NAME ROUND MESSAGES BOXES	100 changes of a round by doveadm: as many as `bench_sync change` makes
#	$UNITS				awk functions: median of v[1..n], bytes and time as text
#
# $TOOL is bench_sync, $COSTS the file to which figures go.
# Where nothing is timed the disk need not take part.
[ -z "${BENCH_SHORT:-}" ] || [ ! -w /dev/shm ] || TMPDIR=${TMPDIR:-/dev/shm}
export TMPDIR=${TMPDIR:-/var/tmp}
. "$(dirname "${BASH_SOURCE[0]}")/../real.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../dovecot.sh"
[ -z "${1:-}" ] || BIN=$(cd "$1" && pwd)
SYNC=$BIN/dsyncfs-sync
TOOL=$BIN/tests/bench/bench_sync
COSTS=$TMP/costs
needs awk "$TOOL"
: >"$COSTS"

must() {
	"$@" >"$TMP/out" 2>&1 && return
	echo "FAIL (exit $?): $*"
	tail -5 "$TMP/out"
	exit 1
}

dovecot_for_bench() {
	dovecot_conf "$@"
	sed -i 's/^mail_fsync.*/mail_fsync = optimized/' "$TMP/dovecot/$1/dovecot.conf"
}

change_dovecot() {
	local conf=$1 r=$2 boxes=$4 i box first=$((1 + $2 * 7 % ($3 / $4 - 6)))
	rm -rf "$TMP/new"
	must "$TOOL" deliveries "maildir:$TMP/new" $boxes $r
	must da $conf import "maildir:$TMP/new" "" all
	for ((i = 0; i < 10; i++)); do
		box=INBOX
		[ $i = 0 ] || printf -v box 'box%03d' $i
		must da $conf flags add '\Flagged' mailbox "$box" $first:$((first + 3))
		must da $conf expunge mailbox "$box" $((first + 4)):$((first + 5))
	done
}

UNITS='
function median(v, n,	i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j] < v[j - 1]; j--) {
			t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
		}
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function bytes(n) {
	return n >= 1e9 ? sprintf("%.1f GB", n / 1e9) : n >= 1e6 ? \
	    sprintf("%.1f MB", n / 1e6) : sprintf("%.1f kB", n / 1e3)
}
function time(s) {
	return s >= 1 ? sprintf("%.2f s", s) : sprintf("%.1f ms", s * 1e3)
}
'
