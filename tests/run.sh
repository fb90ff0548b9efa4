#!/bin/bash
# run -- runs groups of tests, one line a test, and says at the end how many
# passed.  A test that cannot run fails.  Output of each test goes to
# build/test-logs/, and is shown when the test fails.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/test-logs
mkdir -p $logs
passed=0 failed=0 broken=()

one() {		# NAME COMMAND...
	local name=$1 log start=$SECONDS
	shift
	log=$logs/${name//\//_}.log
	if "$@" >"$log" 2>&1 </dev/null; then
		passed=$((passed + 1))
		printf 'ok   %-44s %4ds\n' "$name" $((SECONDS - start))
	else
		local rc=$?
		failed=$((failed + 1))
		broken+=("$name")
		printf 'FAIL %-44s %4ds (exit %d)\n' "$name" $((SECONDS - start)) $rc
		sed 's/^/     | /' "$log" | tail -60
		return 1
	fi
}

# As one, beside others that need nothing but a processor; together waits for all of them.
beside() {
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	(
		said=$(one "$@") && echo "$1" >>$logs/passed || echo "$1" >>$logs/failed
		printf '%s\n' "$said"
	) &
}
together() {
	local name
	wait
	passed=$((passed + $(wc -l <$logs/passed)))
	while read -r name; do
		failed=$((failed + 1))
		broken+=("$name")
	done <$logs/failed
}
alone() { : >$logs/passed; : >$logs/failed; }	# before the first of them

# NAME: the command of a test that tests/sanitize/list.sh names
command_of() {
	case $1 in
	judges/*) if [ -e "tests/judges/debian/${1#*/}.sh" ]; then echo "tests/judges/debian/${1#*/}.sh"; else echo "tests/judges/run.sh ${1#*/}"; fi ;;
	*) echo "tests/$1.sh" ;;
	esac
}
# WORDS...: what list.sh says for them
sanitized() {
	local flavour name how built=
	while read -r flavour name how <&3; do
		[[ " $built " = *" $flavour "* ]] || make -s -j"$jobs" FLAVOUR="$flavour" all interop-programs || exit 1
		built+=" $flavour"
		one "$flavour/$name" env FLAVOUR="$flavour" $how $(command_of "$name")
	done 3< <(tests/sanitize/list.sh "$@")
	[ -n "$built" ] || { echo "run: no such test" >&2; exit 64; }
}

jobs=$(nproc)
for group in "$@"; do
	echo "-- $group"
	case $group in
	unit)
		make -s -j"$jobs" FLAVOUR=release $(ls tests/unit/*.c |
			sed 's|tests/unit/\(.*\)\.c|build/release/tests/unit/\1|') || exit 1
		alone
		for t in tests/unit/*.c; do
			t=$(basename "$t" .c)
			beside "unit/$t" build/release/tests/unit/"$t"
		done
		together ;;
	clang)
		one "build/clang" make -s -j"$jobs" FLAVOUR=clang all ;;
	asan)
		make -s -j"$jobs" FLAVOUR=asan all $(ls tests/unit/*.c |
			sed 's|tests/unit/\(.*\)\.c|build/asan/tests/unit/\1|') || exit 1
		alone
		for t in tests/unit/*.c; do
			t=$(basename "$t" .c)
			beside "asan/$t" env TEST_SHORT=1 build/asan/tests/unit/"$t"
		done
		together ;;
	fuzz)
		make -s -j"$jobs" fuzz-build || exit 1
		for f in tests/fuzz/fuzz_*.c; do
			f=$(basename "$f" .c)
			one "fuzz/${f#fuzz_}" tests/fuzz/run.sh build/fuzz "${FUZZ_SHARE:-5}" "${f#fuzz_}"
		done
		one fuzz/coverage make -s fuzz-coverage ;;
	lint)
		one lint tests/lint.sh ;;
	sim)
		make -s -j"$jobs" build/release/tests/sim/sim || exit 1
		for t in tests/sim/*.sh; do
			one "sim/$(basename "$t" .sh)" "$t"
		done ;;
	interop | fs)
		make -s -j"$jobs" interop-programs || exit 1
		for t in tests/"$group"/*.sh; do
			one "$group/$(basename "$t" .sh)" "$t"
		done ;;
	judges)
		for t in tests/judges/debian/*.sh; do
			one "judges/$(basename "$t" .sh)" "$t"
		done ;;
	sanitize)
		sanitized short ;;
	sanitize-all)
		sanitized all ${FLAVOURS:-} ${TESTS:-}
		tests/sanitize/list.sh left ${FLAVOURS:-} ${TESTS:-} | sed 's/^/-- /' ;;
	bench)
		one bench/short env BENCH_SHORT=1 make -s bench ;;
	*)
		echo "run: no group '$group'" >&2
		exit 64 ;;
	esac
done
echo
[ $failed = 0 ] || printf 'failed: %s\n' "${broken[*]}"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
