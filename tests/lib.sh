# lib -- shared by the test scripts: `. "$(dirname "$0")/../lib.sh"`.
#
#   check NAME COMMAND...        "ok NAME" when the command succeeds, else "FAIL NAME" and its output
#   check_not NAME COMMAND...    the other way round
#   check_fast NAME COMMAND...   a check of how little time or memory something takes, which a sanitizer changes: not made with one
#   status N COMMAND...          succeeds when the command exits with N
#   says TEXT COMMAND...         succeeds when the output (both streams) holds TEXT
#   one_line COMMAND...          succeeds when the command says exactly one line on stderr
#   no_word COMMAND...           succeeds when the command does and says nothing at all
#   again COMMAND...             a sync until it does not say "run again", and once more
#   wait_for COMMAND...          until it succeeds, at most 20 s (times $SLOWNESS)
#   finish                       ends the script: non-zero when a check failed
#
# $TMP is a fresh directory, removed at the end; on_exit COMMAND adds to what is done then.
# $ROOT is the clone, $BIN the programs, $SYNC and $MOUNT the two of them.
# FLAVOUR says how they were built (release); asan, tsan and valgrind: sanitize/lib.sh.
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BIN=$ROOT/build/${FLAVOUR:-release}
SYNC=$BIN/dsyncfs-sync
MOUNT=$BIN/dsyncfs
SLOWNESS=1		# of programs that are looked at
MOUNT_RUNS=$MOUNT	# how the command line of a mount begins
TMP=$(mktemp -d "${TMPDIR:-/tmp}/dsyncfs-test.XXXXXX")
checks=0 failures=0
exit_commands=()
sanitized_end() { :; }
on_exit() { exit_commands+=("$*"); }
lib_exit() {
	local i rc=$?
	for ((i = ${#exit_commands[@]} - 1; i >= 0; i--)); do eval "${exit_commands[i]}"; done
	sanitized_end || rc=1
	[ -n "${KEEP:-}" ] || { chmod -R u+rwX "$TMP" 2>/dev/null; rm -rf "$TMP"; }
	exit $rc
}
case ${FLAVOUR:-} in asan | tsan | valgrind) . "$ROOT/tests/sanitize/lib.sh" ;; esac
trap lib_exit EXIT
trap 'exit 1' INT TERM
export HOME=$TMP/home XDG_CONFIG_HOME=$TMP/config XDG_DATA_HOME=$TMP/data
mkdir -p "$HOME" "$XDG_CONFIG_HOME" "$XDG_DATA_HOME"
unset XDG_STATE_HOME XDG_CACHE_HOME

report() {	# RC NAME OUTPUT
	checks=$((checks + 1))
	if [ "$1" = 0 ]; then
		echo "ok ${WHERE:-}$2"
	else
		failures=$((failures + 1))
		echo "FAIL ${WHERE:-}$2"
		printf '%s\n' "$3" | head -20 | sed 's/^/    | /'
	fi
}
check() { local name=$1 text; shift; text=$("$@" 2>&1); report $? "$name" "$text"; }
check_not() { local name=$1 text; shift; if text=$("$@" 2>&1); then report 1 "$name" "$text"; else report 0 "$name" ""; fi; }
check_fast() {
	case ${FLAVOUR:-} in
	asan | tsan | valgrind) echo "-- not with $FLAVOUR: $1" ;;
	*) check "$@" ;;
	esac
}
status() {
	local want=$1 rc
	shift
	"$@"; rc=$?
	[ $rc = "$want" ] || { echo "exit status $rc, not $want: $*"; return 1; }
}
says() {
	local want=$1 text
	shift
	text=$("$@" 2>&1)
	case $text in *"$want"*) return 0 ;; esac
	echo "does not say '$want': $*"; printf '%s\n' "$text"; return 1
}
one_line() {
	local text
	text=$("$@" 2>&1 >/dev/null)
	[ -n "$text" ] && [ "$(printf '%s\n' "$text" | wc -l)" = 1 ] || { echo "not one line: $*"; printf '%s\n' "$text"; return 1; }
}
no_word() { local text; text=$("$@" 2>&1) && [ -z "$text" ] || { echo "exit $?: $text"; return 1; }; }
again() { local i; for i in 1 2 3; do "$@"; [ $? = 2 ] || break; done; "$@"; }
wait_for() {
	local end=$((SECONDS + 20 * SLOWNESS))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.05
	done
}
# maildir_new DIR; mail DIR N [FLAGS] [SUBJECT]: one message, in cur when it has flags
maildir_new() { mkdir -p "$1/cur" "$1/new" "$1/tmp"; }
mail() {
	local d=$1/new name=17000000$2.M$2.test info=
	[ -z "${3:-}" ] || { d=$1/cur; info=:2,$3; }
	printf 'From: a@example.org\nTo: b@example.org\nDate: Sun, 01 Mar 2026 12:00:00 +0000\nMessage-ID: <%s@test>\nSubject: %s\n\nbody %s\n' \
		"$2" "${4:-mail $2}" "$2" >"$d/$name$info"
}
finish() {
	echo "$((checks - failures)) of $checks checks passed"
	[ $failures = 0 ] && [ $checks != 0 ]
	exit
}
