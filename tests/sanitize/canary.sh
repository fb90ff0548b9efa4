#!/bin/bash
# canary -- that what a sanitizer reports of any process fails a test: of one in the background too, that has no environment.
. "$(dirname "$0")/../lib.sh"
case ${FLAVOUR:-} in
asan) faults="heap:heap-buffer-overflow leak:LeakSanitizer overflow:signed.integer.overflow" ;;
tsan) faults="race:data.race" ;;
valgrind) faults="heap:Invalid.read leak:definitely.lost unset:uninitialised" ;;
*) echo "FAIL: FLAVOUR is to be asan, tsan or valgrind"; exit 1 ;;
esac
check "build" make -s -C "$ROOT" FLAVOUR="$FLAVOUR" "build/$FLAVOUR/tests/sanitize/canary"
CANARY=$TMP/canary
sanitized_program "$CANARY" "$BUILT/tests/sanitize/canary"

caught() {	# WHAT WORDS
	env -i PATH="$PATH" "$CANARY" "$1" >/dev/null 2>&1 </dev/null &
	wait
	says_so "$2"
}
says_so() { reports >"$TMP/said" && grep -q "$1" "$TMP/said"; }
check "a program without faults runs" "$CANARY" nothing
check_not "and nothing is reported" reports
for f in $faults; do
	check "${f%%:*}: reported" caught "${f%%:*}" "${f#*:}"
	rm -f "$REPORTS"/*
done
# A test of its own, all of whose checks pass.
script_of() { printf '. "%s/tests/lib.sh"\nsanitized_program "$TMP/canary" "%s"\n"$TMP/canary" %s >/dev/null 2>&1\ncheck "fine" true\nfinish\n' "$ROOT" "$BUILT/tests/sanitize/canary" "$1"; }
check "a test with a program without faults passes" bash -c "$(script_of nothing)" "$ROOT/tests/sanitize/x"
for f in $faults; do
	check "a test in which nothing else fails does not with ${f%%:*}" status 1 bash -c "$(script_of "${f%%:*}")" "$ROOT/tests/sanitize/x"
done
finish
